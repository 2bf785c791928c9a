"""What becomes of a message: its key, its life cycle, its calls, its batch."""
