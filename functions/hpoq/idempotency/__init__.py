"""The memory that makes one message one experiment: records, and the stores that keep them."""
