"""From the bytes of an event to messages.

`decode` recognizes an event by its shape alone. An item that cannot be read becomes an `Undecodable` among the
messages of the others. An event that cannot be read as a whole raises `EventUnreadable`, so that the invocation fails
and the event is delivered again.

| module | |
|---|---|
| `decode` | from the event to its items, and from each item to the source that recognizes it |
| `sources` | for each source, how to recognize a payload and to read its message |
| `message` | what comes out: `Message` and `Undecodable` |
| `identity` | what identifies a message in every delivery |
| `body` | base64 around a message body |
"""

from fcruntime.triggers.decode import EventUnreadable, UnsupportedCall, decode
from fcruntime.triggers.message import CLOUDEVENT, Message, Undecodable
from fcruntime.triggers.sources import KINDS, Kind

__all__ = [
    "CLOUDEVENT",
    "KINDS",
    "EventUnreadable",
    "Kind",
    "Message",
    "Undecodable",
    "UnsupportedCall",
    "decode",
]
