"""From the bytes that FC hands over to messages.

One delivery comes as a CloudEvent, an array of them, an array of JSON texts that each hold one, or the same
without the CloudEvent around `data` (`eventSchema: RawData`), alone or in an array; the native triggers and
direct calls hand over one bare object. Text is read leniently here, so that one broken item costs its neighbours
nothing.

A source is recognised by the shape of its payload alone, never by configuration or by where an event claims to
come from. Two that recognise the same item are an error that names both; `source` pins one instead. What no
source of messages recognises is an EventBridge event if it is a CloudEvent, and an object that stands alone is
the request of a direct call.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers import eventbridge, http, kafka, rabbitmq, rocketmq, smq, smq_topic
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source

INVOCATION = "invocation"
"""The kind of a message that is the whole event: a direct call, synchronous or asynchronous."""

_BY_PAYLOAD = tuple(module.SOURCE for module in (smq, smq_topic, kafka, rocketmq, rabbitmq, http))
Kind: TypeAlias = Literal[
    "smq", "smq-topic", "kafka", "rocketmq", "rabbitmq", "http", "eventbridge", "invocation"
]
KINDS: tuple[str, ...] = get_args(Kind)
"""Every kind of source, for pinning one."""

# Sources whose messages are calls of their own: what they lack an id for, the call's own id identifies.
_CALLS = (INVOCATION, smq_topic.KIND, http.KIND)

_MARK = r'(?s)\\.|["\[\]{},]'
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
    for token in re.finditer(_MARK, inner):
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


@dataclass(frozen=True)
class _Decoder:
    """Decodes one event; `pinned` is the only source that may be recognised, if there is one."""

    pinned: str | None

    def whole(self, event: bytes, text: str) -> list[Message | Undecodable]:
        """The messages of an event; raises ValueError if it is not JSON, RecursionError if it is too deep."""
        document: JsonValue = json.loads(text, parse_int=_integer)
        if isinstance(document, list):
            return [self.item(item, _bytes_of(item)) for item in document]
        if isinstance(document, str):
            return [self.item(document, event)]
        return [self.item(document, event, alone=True)]

    def alone(self, text: str) -> Message | Undecodable:
        """One item of an event that could not be parsed as a whole."""
        try:
            item = _parse(text)
            return self.item(item, _bytes_of(item))
        except (ValueError, RecursionError):
            raw = text.encode(errors="surrogateescape")
            return Undecodable.of(raw, "trigger.json", "not JSON, or nested too deeply")

    def item(self, item: JsonValue, raw: bytes, *, alone: bool = False) -> Message | Undecodable:
        if isinstance(item, str):
            try:
                item = _parse(item)
            except ValueError:
                return Undecodable.of(raw, "trigger.json", "the item is text that is not JSON")
        if not isinstance(item, dict):
            return Undecodable.of(raw, "trigger.shape", "the item is not a JSON object")
        found = self._recognised(item)
        if len(found) > 1:
            names = " and ".join(source.kind for source, _ in found)
            reason = f"the item has the shape of {names}; pin the source"
            return Undecodable.of(raw, "trigger.ambiguous", reason)
        for source, payload in found:
            return source.read(payload, raw)
        if alone and self.pinned is None:
            return Message(INVOCATION, None, raw)
        where = f"is not a delivery of {self.pinned}" if self.pinned else "has no known source's shape"
        return Undecodable.of(raw, "trigger.unknown-source", f"the item {where}")

    def _recognised(self, item: JsonObject) -> list[tuple[Source, JsonObject]]:
        """The sources that recognise the item, each with the payload that it recognises."""
        candidates = [payload for payload in (item.get("data"), item) if isinstance(payload, dict)]
        found = {
            source.kind: (source, payload)
            for payload in reversed(candidates)
            for source in _BY_PAYLOAD
            if self.pinned in (None, source.kind) and source.recognises(payload)
        }
        if not found and self.pinned in (None, eventbridge.KIND) and eventbridge.recognises(item):
            return [(eventbridge.SOURCE, item)]
        return list(found.values())


def decode(
    event: bytes | bytearray | memoryview | str,
    *,
    source: Kind | None = None,
    request_id: str | None = None,
) -> list[Message | Undecodable]:
    """The messages of one event, in its order; an empty array has none. FC hands over bytes, a test may text.

    `source`, one of `KINDS`, pins the source; ValueError for any other. `request_id` is the invocation's own:
    FC keeps it where it repeats an asynchronous call, so it identifies the message of a direct call, and of a
    topic that pushes the bare body.

    Never raises for an event: what cannot be read is an `Undecodable`, and so is a whole event that is not JSON.
    """
    if source is not None and source not in KINDS:
        raise ValueError(f"{source!r} is no event source; there are {', '.join(KINDS)}")
    event = event.encode(errors="surrogatepass") if isinstance(event, str) else bytes(event)
    return [_identified(item, request_id) for item in _decoded(event, source)]


def _decoded(event: bytes, source: str | None) -> list[Message | Undecodable]:
    if source == INVOCATION:
        return [Message(INVOCATION, None, unwrap_base64(event))]
    decoder = _Decoder(source)
    text = event.decode("utf-8-sig", errors="surrogateescape")
    try:
        found = decoder.whole(event, text)
    except RecursionError:
        found = [decoder.alone(item) for item in _items(text)]
    except ValueError as exc:
        found = [_not_json(event, exc)]
    return [_bare(event)] if source == smq_topic.KIND and _is_lone_failure(found) else found


def _not_json(event: bytes, error: ValueError) -> Message | Undecodable:
    """An event that is not JSON may still be the request of a direct call, in base64."""
    inner = unwrap_base64(event)
    if inner != event:
        return Message(INVOCATION, None, inner)
    return Undecodable.of(event, "trigger.json", f"the event is not JSON: {error}")


def _is_lone_failure(found: list[Message | Undecodable]) -> bool:
    return len(found) == 1 and not (isinstance(found[0], Message) and found[0].kind == smq_topic.KIND)


def _bare(event: bytes) -> Message:
    """What a topic pushes in its format STREAM: the body, and nothing else."""
    return Message(smq_topic.KIND, None, unwrap_base64(event))


def _identified(item: Message | Undecodable, request_id: str | None) -> Message | Undecodable:
    if isinstance(item, Message) and item.id is None and item.kind in _CALLS:
        return replace(item, id=request_id)
    return item
