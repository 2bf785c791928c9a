"""Read a message as the function does."""

from hpoq.processing.intake import Reader


def read_message(item, namespace="", *, watches=False):
    """Return the intake of an item of an event."""
    return Reader(namespace, watches).read(item)
