"""What identifies a message in every delivery: ids as text, and the `source` and `id` of a CloudEvent.

CloudEvents requires that `source` and `id` together identify an event
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#id). A structured CloudEvent is a JSON object; in
HTTP's binary mode the attributes are headers and the body is the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote

from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_text

_ATTRIBUTES = ("specversion", "source", "id")


def read_id(value: JsonValue) -> str | None:
    """Return `value` if it can serve as an id (text that is not empty and is valid Unicode), else None."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.encode(errors="replace").decode() == value else None


def join_ids(**parts: JsonValue) -> str:
    """Return one text for the named parts that are not None: compact JSON in ASCII with sorted names."""
    known = {name: value for name, value in parts.items() if value is not None}
    return json.dumps(known, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def identify_event(event: JsonObject) -> str | None:
    """Return the identity of a CloudEvent, or None if its source or id is missing or is not text."""
    source, event_id = read_id(event.get("source")), read_id(event.get("id"))
    if source is None or event_id is None:
        return None
    return join_ids(source=source, id=event_id)


def identify_body(body: bytes) -> str | None:
    """Return the identity of the structured CloudEvent in a message body, or None if the body is not one.

    One layer of JSON text around the CloudEvent is undone.
    """
    body = unwrap_text(body)
    if b"specversion" not in body:  # parsing every body twice would double the time that decoding takes
        return None
    try:
        event: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not event.keys() >= {*_ATTRIBUTES}:
        return None
    return identify_event(event) if event.keys() & {"data", "data_base64"} else None


def read_attributes(headers: JsonValue) -> dict[str, str]:
    """Return the attributes of the CloudEvent in the headers of an HTTP request, or {} if it is not in binary mode.

    Values are percent-encoded, and those of older senders may be in quotes
    (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md).
    """
    given = headers.items() if isinstance(headers, dict) else ()
    named = [(name.lower(), value) for name, value in given if isinstance(value, str)]
    return {
        name.removeprefix("ce-"): _decode_header(value) for name, value in named if name.startswith("ce-")
    }


def identify_attributes(attributes: Mapping[str, str]) -> str | None:
    """Return the identity of the CloudEvent with these `attributes` of the binary mode, or None if one is missing."""
    return identify_event({**attributes}) if "specversion" in attributes else None


def _decode_header(value: str) -> str:
    """Return the text of a header's value, or the value itself if it is not percent-encoded UTF-8.

    Two ids in another encoding must not become the same text of replacement characters.
    """
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value
