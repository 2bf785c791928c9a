"""From the bytes of an event to its messages.

One delivery arrives as a CloudEvent, an array of them, an array of JSON texts that each hold one, or the same without
the CloudEvent around `data` (`eventSchema: RawData`), alone or in an array. The native triggers and direct calls
deliver one bare object. Text is read leniently, so that one broken item does not affect its neighbours.

A source is recognized by the shape of its payload alone, not by configuration or by the origin that an event claims.
If two sources recognize the same item, that is an error that names both; pin the source in that case. A CloudEvent
that no source of messages recognizes is an EventBridge event. An object that nothing recognizes is the request of a
direct call if it is the whole event; in an array the caller may recognize it (`accepts`).

    bytes ─▶ whole event ─▶ items ─▶ the source that recognizes an item ─▶ Message or Undecodable
               │ not JSON: EventUnreadable
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from fcruntime.dataclass import dataclass, replace
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_base64, unwrap_text
from fcruntime.triggers.identity import identify_body, identify_event, join_ids, read_id
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.sources import (
    BY_PAYLOAD,
    EVENTBRIDGE,
    HTTP,
    INVOCATION,
    SMQ,
    SMQ_TOPIC,
    Kind,
    Source,
    check_source,
    open_notification,
)


class EventUnreadable(ValueError):
    """The event cannot be read as a whole: it is not JSON, for example because it was cut off.

    The number of messages in it is unknown, so the invocation must fail: the event is then delivered again, and ends
    in the dead-letter queue of its source. `size` (bytes) and `digest` (SHA-256, hexadecimal) identify the event
    without quoting it; `reason` says what is wrong with it.
    """

    def __init__(self, event: bytes, reason: str) -> None:
        self.size = len(event)
        self.digest = hashlib.sha256(event).hexdigest()
        self.reason = reason
        super().__init__(f"the event cannot be read: {reason} (SHA-256 {self.digest}, {self.size} bytes)")


class UnsupportedCall(TypeError):
    """The handler was not called with an event, but for example with the `(environ, start_response)` of WSGI.

    That is how FC 2.0 calls the functions of its type "HTTP function". FC 3.0 has no such type: there an HTTP trigger
    calls an event function with an event.
    """

    def __init__(self, event: object) -> None:
        super().__init__(
            f"the handler was called with a {type(event).__name__} instead of the bytes of an event. FC 2.0 "
            "calls its HTTP functions in this way; create an event function instead, with an HTTP trigger of FC 3.0 "
            "if needed."
        )


# FC calls the function once for each message of these kinds, so the id of the call identifies one without an id.
_CALLS = (SMQ_TOPIC.kind, HTTP.kind)
_DELIVERY = {"requestId", "messageId", "messageBody"}
_DELIVERED = frozenset(source.kind for source in BY_PAYLOAD)

_MARK = r'(?s)\\.|["\[\]{},]'
_LONGEST_INTEGER = 4000


def _parse_integer(text: str) -> int | float:
    # Python refuses longer integers. None of them is useful here, and one must not affect its neighbours.
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


_DECODER = json.JSONDecoder(parse_int=_parse_integer)


def _parse(text: str) -> JsonValue:
    """Parse JSON. Raises ValueError for what is not JSON or is nested too deeply."""
    try:
        value: JsonValue = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _read_text(text: str) -> JsonValue:
    """Return the JSON value in a text, plain or in base64, or None if there is none."""
    try:
        raw = unwrap_base64(text.encode(errors="surrogatepass"))
        return _parse(raw.decode("utf-8-sig", errors="surrogateescape"))
    except ValueError:
        return None


def _split_items(text: str) -> list[str] | None:
    """Return the texts of the items of the array in `text`, `[text]` for an object, or None if either is cut off.

    For an event that is nested too deeply to be parsed as a whole.
    """
    inner = text.strip(" \t\r\n")
    cuts, depth, quoted = [0], 0, False
    for token in re.finditer(_MARK, inner):
        mark = token[0]
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[]{}":
            depth += 1 if mark in "[{" else -1
        elif not quoted and mark == "," and depth == 1:
            cuts.append(token.start())
    if quoted or depth > 0:
        return None
    if not (inner.startswith("[") and inner.endswith("]")):
        return [text]
    ends = [*cuts[1:], len(inner) - 1]
    return [inner[start + 1 : end] for start, end in zip(cuts, ends, strict=True)]


def _render_item(item: JsonValue) -> bytes:
    """Return bytes that identify an item of an array: its text, or its JSON with sorted keys."""
    text = item if isinstance(item, str) else json.dumps(item, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


@dataclass(frozen=True)
class _Decoder:
    """Decodes one event.

    `pinned` is the only source that may be recognized, or None for any. `request_id` is the id of the call, and
    `accepts` recognizes an item that is a message by itself.
    """

    pinned: str | None
    request_id: str | None
    accepts: Callable[[JsonObject], bool] | None

    def read(self, event: bytes) -> list[Message | Undecodable]:
        """Read all items of an event. Raises EventUnreadable."""
        if self.pinned == INVOCATION:
            return [self.read_call(event)]
        try:
            found = self.read_event(event)
        except EventUnreadable:
            if self.pinned == SMQ_TOPIC.kind:
                return [_make_bare_message(event)]
            raise
        # A message of a topic counts as one of another source here, so that it is not its body either.
        is_bare = self.pinned == SMQ_TOPIC.kind and len(found) == 1
        return [_make_bare_message(event)] if is_bare and not self.find_other_source(event) else found

    def read_event(self, event: bytes) -> list[Message | Undecodable]:
        text = event.decode("utf-8-sig", errors="surrogateescape")
        try:
            return self.read_whole(event, text)
        except RecursionError:
            items = _split_items(text)
            if items is None:
                raise EventUnreadable(event, "nested too deeply, and cut off") from None
            return [self.read_text(item) for item in items]
        except ValueError as exc:
            # An event that is not JSON may still be one in base64, in particular the request of a direct call.
            inner = unwrap_base64(event)
            if inner != event and self.pinned is None:
                try:
                    return self.read_event(inner)
                except EventUnreadable as inside:
                    # It names the event as it was delivered.
                    raise EventUnreadable(event, f"in base64: {inside.reason}") from None
            raise EventUnreadable(event, _describe_error(event, exc)) from None

    def read_call(self, event: bytes) -> Message | Undecodable:
        """Return the request of a direct call, or an Undecodable if `event` is the delivery of another source."""
        other = self.find_other_source(event)
        if other is not None:
            reason = f"the event is a delivery of {other}, not of {INVOCATION}"
            return Undecodable.from_item(event, "trigger.unknown-source", reason)
        return Message(INVOCATION, self.request_id, unwrap_base64(event))

    def find_other_source(self, event: bytes) -> str | None:
        """Return the kind of source that delivers `event`, though another one is pinned, or None if none is certain.

        A CloudEvent alone may be the request itself; in an array it is a delivery of EventBridge.
        """
        try:
            found = replace(self, pinned=None).read_event(event)
        except EventUnreadable:
            return None
        is_array = event.decode("utf-8-sig", errors="replace").lstrip().startswith("[")
        others = _DELIVERED | ({EVENTBRIDGE.kind} if is_array else set())
        return next((item.kind for item in found if item.kind in others), None)

    def read_whole(self, event: bytes, text: str) -> list[Message | Undecodable]:
        """Read all items. Raises ValueError if the event is not JSON, RecursionError if it is nested too deeply."""
        document: JsonValue = _DECODER.decode(text)
        inner = unwrap_text(event) if isinstance(document, str) else event
        if inner != event:
            return self.read_whole(inner, inner.decode("utf-8-sig", errors="surrogateescape"))
        if isinstance(document, list):
            return [self.read_item(item, _render_item(item)) for item in document]
        return [self.read_item(document, event, alone=True)]

    def read_text(self, text: str) -> Message | Undecodable:
        """Read one item of an event that could not be parsed as a whole."""
        try:
            item = _parse(text)
            return self.read_item(item, _render_item(item))
        except (ValueError, RecursionError):
            raw = text.encode(errors="surrogateescape")
            return Undecodable.from_item(raw, "trigger.json", "not JSON, or nested too deeply")

    def read_item(self, item: JsonValue, raw: bytes, *, alone: bool = False) -> Message | Undecodable:
        if isinstance(item, str):
            # A body that an event stream's transform took out of its delivery may have a layer of its own.
            raw = unwrap_base64(raw)
            try:
                item = _parse(unwrap_text(raw).decode("utf-8-sig", errors="surrogatepass"))
            except ValueError:
                return Undecodable.from_item(raw, "trigger.json", "the item is text that is not JSON")
        if not isinstance(item, dict):
            return Undecodable.from_item(raw, "trigger.shape", "the item is not a JSON object")
        found = self.recognize(item)
        if len(found) > 1:
            names = " and ".join(source.kind for source, _ in found)
            reason = f"the item has the shape of {names}; pin the source"
            return Undecodable.from_item(raw, "trigger.ambiguous", reason)
        for source, payload in found:
            event = {} if payload is item else item
            return _note_event(source.read(payload, raw, event), event)
        if alone and self.pinned is None:
            return Message(INVOCATION, self.request_id, raw)
        if self.pinned is None and self.accepts is not None and self.accepts(item):
            # Without an id: that of the call identifies no item, for a batch that is retried may hold others.
            return Message(INVOCATION, None, raw)
        where = (
            f"is not a delivery of {self.pinned}" if self.pinned else "does not have the shape of any source"
        )
        return Undecodable.from_item(raw, "trigger.unknown-source", f"the item {where}")

    def recognize(self, item: JsonObject) -> list[tuple[Source, JsonObject]]:
        """Return the sources that recognize the item, each with the payload that it recognizes."""
        data = item.get("data", item.get("data_base64"))
        # Some SDKs of CloudEvents write data as text.
        payload = _read_text(data) if isinstance(data, str) else data
        candidates = [one for one in (payload, item) if isinstance(one, dict)]
        found = {
            source.kind: (source, payload)
            for payload in reversed(candidates)
            for source in BY_PAYLOAD
            if source.matches(payload)
        }
        if not found and self.pinned in (None, EVENTBRIDGE.kind) and EVENTBRIDGE.matches(item):
            return [(EVENTBRIDGE, item)]
        return [one for kind, one in found.items() if self.pinned in (None, kind)]

    def open_batch(self, item: Message | Undecodable) -> list[Message | Undecodable]:
        """Return the messages of an HTTP request whose body is an array, or of a dead letter, or `[item]`.

        That is the batch mode of CloudEvents (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/
        json-format.md#4-json-batch-format). A single request is never an array, whatever its content type. In binary
        mode the headers identify the body as a whole.
        """
        if isinstance(item, Message) and item.kind == SMQ.kind and b"messageBody" in item.body:
            return self.open_dead_letter(item)
        if isinstance(item, Undecodable) or item.kind != HTTP.kind or item.cloud_event is not None:
            return [item]
        text = item.body.decode("utf-8-sig", errors="surrogateescape")
        try:
            # Only what looks like an array is parsed: to parse each body twice would take twice the time.
            items = _parse(text) if text.lstrip().startswith("[") else None
        except ValueError:
            return [item]
        if not isinstance(items, list):
            return [item]
        # The text of each item, because a parsed one no longer shows its repeated names.
        texts = _split_items(text) if items else []
        pairs = enumerate(zip(items, texts or (), strict=True))
        return [self.read_batch_item(item, number, one, raw) for number, (one, raw) in pairs]

    def open_dead_letter(self, item: Message) -> list[Message | Undecodable]:
        """Return the messages in the body of `item` if that is an event of the queue's trigger, or `[item]`.

        An event stream puts events into its dead-letter queue. If they are moved from there to a queue as they are,
        the messages in them keep their ids.
        """
        try:
            event = _parse(unwrap_text(item.body).decode("utf-8-sig", errors="surrogateescape"))
        except ValueError:
            return [item]
        items = event if isinstance(event, list) else [event]
        inner = [one for one in items if isinstance(one, dict) and self.is_queue_delivery(one)]
        if len(inner) < len(items):
            return [item]
        return [self.read_item(one, _render_item(one)) for one in inner]

    def is_queue_delivery(self, item: JsonObject) -> bool:
        """Return whether `item` is what the trigger of a queue delivers, not a producer's object that resembles it.

        Without a CloudEvent around it, a delivery has no other members than those that are documented.
        """
        found = self.recognize(item)
        if [source for source, _ in found] != [SMQ]:
            return False
        payload = found[0][1]
        return "messageId" in payload and (payload is not item or payload.keys() <= _DELIVERY)

    def read_batch_item(
        self, batch: Message, number: int, item: JsonValue, text: str
    ) -> Message | Undecodable:
        raw = text.strip().encode(errors="surrogateescape")
        # The call's id identifies the batch, which a repeated asynchronous call brings unchanged.
        call = batch.id or self.request_id
        own_id = None if call is None else join_ids(request=call, item=number)
        if not isinstance(item, dict):
            reason = "the item of the batch is not a JSON object"
            return Undecodable.from_item(raw, "trigger.shape", reason, kind=HTTP.kind, id=own_id)
        is_event = EVENTBRIDGE.matches(item) and identify_event(item) is not None
        if is_event or (self.accepts is not None and self.accepts(item)):
            return Message(HTTP.kind, own_id, raw)
        reason = (
            "the item of the batch is not a CloudEvent with a source and an id, and has no key of its own"
        )
        return Undecodable.from_item(raw, "trigger.http.body", reason, kind=HTTP.kind, id=own_id)


def _note_event(item: Message | Undecodable, event: JsonObject) -> Message | Undecodable:
    """Add what the trigger's CloudEvent around a message says about it."""
    if isinstance(item, Undecodable):
        return item
    subject, time = read_id(event.get("subject")), read_id(event.get("time"))
    return replace(item, subject=subject or item.subject, time=item.time or time)


def decode(
    event: bytes | bytearray | memoryview | str,
    *,
    source: Kind | None = None,
    request_id: str | None = None,
    accepts: Callable[[JsonObject], bool] | None = None,
) -> list[Message | Undecodable]:
    """Return the messages of one event in its order; an empty array has none.

    `source`, one of `KINDS`, pins the source. `request_id` is the id of the invocation: FC keeps it if it repeats an
    asynchronous call, so it identifies the message of a direct call, and of a topic that pushes the bare body.
    `accepts` is asked about an object in an array that no source recognizes, and says whether it is a message by
    itself, for example because an event stream's transform took it out of its delivery. Such a message has no id.

    An item that cannot be read is an `Undecodable` among the messages of the others. Raises EventUnreadable if the
    event cannot be read as a whole, UnsupportedCall if it is neither bytes nor text, and ValueError for an unknown
    source.
    """
    if source is not None:
        check_source(source)
    if isinstance(event, str):
        event = event.encode(errors="surrogatepass")
    elif not isinstance(event, (bytes, bytearray, memoryview)):
        raise UnsupportedCall(event)
    decoder = _Decoder(source, request_id, accepts)
    items = [one for item in decoder.read(bytes(event)) for one in decoder.open_batch(item)]
    return [_identify(item, request_id) for item in items]


def _describe_error(event: bytes, error: ValueError) -> str:
    if not event.strip():
        return "it is empty"
    place = (
        f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    )
    return f"not JSON{place}"


def _make_bare_message(event: bytes) -> Message | Undecodable:
    """Make the message of what a topic pushes in its format STREAM: the body and nothing else."""
    return open_notification(Message(SMQ_TOPIC.kind, None, unwrap_base64(event)), event)


def _identify(item: Message | Undecodable, request_id: str | None) -> Message | Undecodable:
    """Complete what identifies a message: the id of the call, and the CloudEvent that its body is."""
    if not isinstance(item, Message):
        return item
    is_call = item.id is None and item.kind in _CALLS
    return replace(
        item,
        id=request_id if is_call else item.id,
        cloud_event=identify_body(item.body) or item.cloud_event,
    )
