"""The records from which hpoq knows what was done for a message, and the stores that keep them."""
