"""Event bytes in, messages out.

`decode` recognises an event by its shape alone. An item that cannot be decoded becomes an `Undecodable`
beside its neighbours' messages; nothing is dropped and nothing raises.
"""

from fcruntime.triggers.decode import KINDS, Kind, decode
from fcruntime.triggers.message import Message, Undecodable

__all__ = ["KINDS", "Kind", "Message", "Undecodable", "decode"]
