"""RocketMQ, ApsaraMQ's and self-managed ones: `data` holds `body` and `systemProperties`, or `msgId`.

The unique key that the client sets on sending (`UNIQ_KEY`; `msgId` on self-managed ones) stays the same over
every delivery. Source: FC documentation, "trigger event formats". `body` is text, base64 or a JSON value, by the
trigger's data type setting.
"""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "rocketmq"


def recognises(data: JsonObject) -> bool:
    return "body" in data and ("systemProperties" in data or "msgId" in data)


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    properties = data.get("systemProperties")
    key = identity(properties.get("UNIQ_KEY")) if isinstance(properties, dict) else None
    return with_body(KIND, key or identity(data.get("msgId")), data["body"], item)


SOURCE = Source(KIND, recognises, read)
