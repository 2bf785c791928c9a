"""Kafka through an event stream: `data` is a record.

A record's place, topic, partition and offset, is what identifies it; the CloudEvent's `id` is random. Source: FC
documentation, "trigger event formats", and captures of ApsaraMQ for Kafka. `value` is text, base64 or a JSON
value, by the trigger's data type setting.
"""

from __future__ import annotations

import json

from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "kafka"


def recognises(data: JsonObject) -> bool:
    return all(name in data for name in ("topic", "partition", "offset", "value"))


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    topic = identity(data["topic"])
    partition, offset = _whole(data["partition"]), _whole(data["offset"])
    place = None
    if topic is not None and partition is not None and offset is not None:
        place = json.dumps([topic, partition, offset], separators=(",", ":"))
    return with_body(KIND, place, data["value"], item)


def _whole(value: JsonValue) -> int | None:
    """A number, or the digits of one."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


SOURCE = Source(KIND, recognises, read)
