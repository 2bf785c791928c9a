"""FC's SMQ queue trigger: `data` holds `messageId` and `messageBody`.

Source: FC documentation, "trigger event formats". The message id is the only one that stays the same across
redelivery: a CloudEvent's own `id` need not in event stream mode, and FC's request id repeats in event mode.
No other attribute is needed to recognise the source.
"""

from __future__ import annotations

import json

from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.message import Message, Undecodable

KIND = "smq"


def recognises(data: JsonObject) -> bool:
    """Whether `data`, the payload of a CloudEvent or a raw item, is an SMQ queue message."""
    return "messageBody" in data or ("messageId" in data and "requestId" in data)


def _identity(value: JsonValue) -> str | None:
    """`value` if it can serve as an id: text that is not empty and holds no broken Unicode."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.encode(errors="replace").decode() == value else None


def decode(data: JsonObject, item: bytes) -> Message | Undecodable:
    """The message in `data`; `item` are the bytes to identify it by if there is none."""
    message_id = _identity(data.get("messageId"))
    body = data.get("messageBody")
    if isinstance(body, (dict, list)):
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(body, str):
        return Undecodable.of(
            item, "trigger.smq.body", "messageBody is missing or is not text", kind=KIND, id=message_id
        )
    try:
        text = body.encode()
    except UnicodeEncodeError:
        return Undecodable.of(
            item, "trigger.encoding", "the message body is not valid UTF-8", kind=KIND, id=message_id
        )
    return Message(KIND, message_id, unwrap_base64(text))
