"""From the bytes that FC hands over to messages.

Five outer shapes of one delivery are documented or were seen in the field: a CloudEvent, an array of them, an
array of JSON texts that each hold one, and the same without the CloudEvent around `data` (`eventSchema:
RawData`), alone or in an array. Text is read leniently here, so that one broken item costs its neighbours
nothing.
"""

from __future__ import annotations

import json
import re

from fcruntime.jsonvalue import JsonValue
from fcruntime.triggers import smq
from fcruntime.triggers.message import Message, Undecodable

_TOKEN = re.compile(r'\\.|["\[\]{},]', re.DOTALL)
_LONGEST_INTEGER = 4000


def _integer(text: str) -> int | float:
    """Python refuses longer integers; none is of any use here, and it must not cost the neighbours anything."""
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


def _parse(text: str) -> JsonValue:
    """Raises ValueError for what is not JSON or is nested too deeply."""
    try:
        value: JsonValue = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _items(text: str) -> list[str]:
    """The texts of the items of the array in `text`; `text` alone where it does not look like one.

    For an event that is nested too deeply to be parsed as a whole.
    """
    inner = text.strip(" \t\r\n")
    if not (inner.startswith("[") and inner.endswith("]")):
        return [text]
    cuts, depth, quoted = [0], 0, False
    for token in _TOKEN.finditer(inner):
        mark = token[0]
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[]{}":
            depth += 1 if mark in "[{" else -1
        elif not quoted and mark == "," and depth == 1:
            cuts.append(token.start())
    ends = [*cuts[1:], len(inner) - 1]
    return [inner[start + 1 : end] for start, end in zip(cuts, ends, strict=True)]


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


def _decode_alone(text: str) -> Message | Undecodable:
    """One item of an event that could not be parsed as a whole."""
    try:
        item = _parse(text)
        return _decode_item(item, _bytes_of(item))
    except (ValueError, RecursionError):
        raw = text.encode(errors="surrogateescape")
        return Undecodable.of(raw, "trigger.json", "not JSON, or nested too deeply")


def decode(event: bytes | bytearray | memoryview | str) -> list[Message | Undecodable]:
    """The messages of one event, in its order; an empty array has none. FC hands over bytes, a test may text.

    Never raises: what cannot be read is an `Undecodable`, and so is a whole event that is not JSON.
    """
    event = event.encode(errors="surrogatepass") if isinstance(event, str) else bytes(event)
    text = event.decode("utf-8-sig", errors="surrogateescape")
    try:
        document: JsonValue = json.loads(text, parse_int=_integer)
        if not isinstance(document, list):
            return [_decode_item(document, event)]
        return [_decode_item(item, _bytes_of(item)) for item in document]
    except ValueError:
        return [Undecodable.of(event, "trigger.json", "the event is not JSON")]
    except RecursionError:
        return [_decode_alone(item) for item in _items(text)]
