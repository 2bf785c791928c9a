"""From the bytes that FC hands over to messages.

Five outer shapes of one delivery are documented or were seen in the field: a CloudEvent, an array of them, an
array of JSON texts that each hold one, and the same without the CloudEvent around `data` (`eventSchema:
RawData`), alone or in an array. Text is read leniently here, so that one broken item costs its neighbours
nothing.
"""

from __future__ import annotations

import json

from fcruntime.jsonvalue import JsonValue
from fcruntime.triggers import smq
from fcruntime.triggers.message import Message, Undecodable


def _parse(text: str) -> JsonValue:
    """Raises ValueError for what is not JSON, is nested too deeply, or holds an absurdly long number."""
    try:
        value: JsonValue = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _bytes_of(item: JsonValue) -> bytes:
    """Bytes that identify an item of an array: its text, or its JSON with sorted keys."""
    text = item if isinstance(item, str) else json.dumps(item, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def _decode_item(item: JsonValue, raw: bytes) -> Message | Undecodable:
    if isinstance(item, str):
        try:
            item = _parse(item)
        except ValueError:
            return Undecodable.of(raw, "trigger.json", "the item is text that is not JSON")
    if not isinstance(item, dict):
        return Undecodable.of(raw, "trigger.shape", "the item is not a JSON object")
    data = item.get("data")
    for candidate in (data, item):
        if isinstance(candidate, dict) and smq.recognises(candidate):
            return smq.decode(candidate, raw)
    return Undecodable.of(raw, "trigger.unknown-source", "no known event source delivers this shape")


def decode(event: bytes | str) -> list[Message | Undecodable]:
    """The messages of one event, in its order; an empty array has none. FC hands over bytes, a test may text.

    Never raises: what cannot be read is an `Undecodable`, and so is a whole event that is not JSON.
    """
    if isinstance(event, str):
        event = event.encode(errors="surrogatepass")
    try:
        document = _parse(event.decode("utf-8-sig", errors="surrogateescape"))
    except ValueError:
        return [Undecodable.of(event, "trigger.json", "the event is not JSON")]
    if not isinstance(document, list):
        return [_decode_item(document, event)]
    try:
        return [_decode_item(item, _bytes_of(item)) for item in document]
    except RecursionError:
        return [Undecodable.of(event, "trigger.json", "the event is nested too deeply")]
