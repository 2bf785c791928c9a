"""SMQ topics: FC's topic trigger, and the notifications that a topic pushes to a queue.

The trigger's format JSON, and the queue's formats JSON and XML, tell the message's id at the topic, which every
push of the message has in common. The trigger's format STREAM hands over the bare body, with message attributes
`{"body": ..., "attrs": ...}`, and no id. Sources: FC documentation, "SMQ topic triggers"; SMQ documentation,
"NotifyContentFormat" (https://www.alibabacloud.com/help/en/mns/developer-reference/subscribe-1).
"""

from __future__ import annotations

import json
import re

from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "smq-topic"

_MEMBERS = ("TopicName", "MessageId", "Message")
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_REFERENCE = r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|quot|apos|amp));"


def recognises(data: JsonObject) -> bool:
    return all(name in data for name in _MEMBERS) or data.keys() == {"body", "attrs"}


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    body = data["Message"] if "Message" in data else data.get("body")
    return with_body(KIND, identity(data.get("MessageId")), body, item)


def notification(body: str) -> JsonObject | None:
    """The notification in the body of a queue's message, None if it is none."""
    text = body.strip()
    if text.startswith("{"):
        return _from_json(text)
    return _from_xml(text) if text.startswith(("<?xml", "<Notification")) else None


def _from_json(text: str) -> JsonObject | None:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(name in found for name in _MEMBERS) else None


def _from_xml(text: str) -> JsonObject | None:
    """Read element by element: the documentation's own example is not well-formed."""
    found: JsonObject = {}
    for name in _MEMBERS:
        begin, end = text.find(f"<{name}>"), text.find(f"</{name}>")
        if begin < 0 or end < begin:
            return None
        found[name] = _unescaped(text[begin + len(name) + 2 : end])
    return found


def _unescaped(text: str) -> str:
    if text.startswith("<![CDATA[") and text.endswith("]]>"):
        return text[9:-3]
    return re.sub(_REFERENCE, _character, text)


def _character(found: re.Match[str]) -> str:
    if found[3]:
        return _ENTITIES[found[3]]
    number = int(found[1], 16) if found[1] else int(found[2])
    return chr(number) if number <= 0x10FFFF else found[0]


SOURCE = Source(KIND, recognises, read)
