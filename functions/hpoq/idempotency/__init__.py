"""The records of what was done for each message, and the stores that keep them."""
