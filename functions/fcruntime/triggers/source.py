"""An event source: how it is recognised by its shape, and how a message is read from it."""

from __future__ import annotations

import json
from collections.abc import Callable

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.message import Message, Undecodable


@dataclass(frozen=True)
class Source:
    """One sort of source, of the name `kind`.

    `recognises` looks at the payload of a CloudEvent, or at an item without one. `read` takes such a payload,
    and the bytes that identify the item where no message can be read.
    """

    kind: str
    recognises: Callable[[JsonObject], bool]
    read: Callable[[JsonObject, bytes], Message | Undecodable]


def identity(value: JsonValue) -> str | None:
    """`value` if it can serve as an id: text that is not empty and holds no broken Unicode."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.encode(errors="replace").decode() == value else None


def with_body(kind: str, id: str | None, body: JsonValue, item: bytes) -> Message | Undecodable:  # noqa: A002
    """The message with `body`: text, with one layer of base64 around JSON undone, or a JSON value, as its text.

    An Undecodable where there is no body, or none that is Unicode.
    """
    if isinstance(body, (dict, list)):
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(body, str):
        return Undecodable.of(
            item, f"trigger.{kind}.body", "the message body is missing or is not text", kind=kind, id=id
        )
    try:
        return Message(kind, id, unwrap_base64(body.encode()))
    except UnicodeEncodeError:
        return Undecodable.of(
            item, "trigger.encoding", "the message body is not valid UTF-8", kind=kind, id=id
        )
