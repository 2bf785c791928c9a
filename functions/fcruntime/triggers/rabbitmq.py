"""RabbitMQ through an event stream: `data` holds `envelope`, `props` and `body`.

A broker numbers deliveries, not messages, so only the `messageId` that a producer may set among the properties
identifies one. Source: FC documentation, "trigger event formats".
"""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "rabbitmq"


def recognises(data: JsonObject) -> bool:
    return all(name in data for name in ("envelope", "props", "body"))


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    properties = data["props"]
    message_id = identity(properties.get("messageId")) if isinstance(properties, dict) else None
    return with_body(KIND, message_id, data["body"], item)


SOURCE = Source(KIND, recognises, read)
