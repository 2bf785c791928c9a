"""Recover the messages in the body of a dead letter, each with the key that it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fcruntime.jsonvalue import JsonValue
from fcruntime.triggers import EventUnreadable, Kind, Message, Undecodable, decode
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.identity import identify_body
from fcruntime.triggers.sources import BY_PAYLOAD, EVENTBRIDGE, SMQ, SMQ_TOPIC, open_notification
from hpoq.contract import jsontext
from hpoq.contract.jsontext import JsonError
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected
from hpoq.processing.envelope import Envelope, looks_sealed, open_envelope, unseal
from hpoq.processing.intake import decode_event

_DELIVERY_KINDS = frozenset(source.kind for source in BY_PAYLOAD)


def recover_envelopes(
    body: bytes, origin_id: str | None, namespace: str = "", trigger: Kind | None = None
) -> list[Envelope]:
    """Return the messages in the body of a dead letter, or none if one of them cannot be read or has no known key.

    There are four kinds of dead letter. The function itself puts a message into the dead-letter queue in its
    envelope. A queue's dead-letter policy keeps the body as it was, together with the id that the message had in its
    own queue: `origin_id`. An event stream's dead letter is the event of one message. An asynchronous invocation's
    describes the failed call and quotes the whole event (FC documentation, "asynchronous invocation",
    destinations). A dead-letter queue may have a dead-letter policy too: `origin_id` is then that of a dead letter.

    `namespace` is what keys are derived with, and `trigger` the source that the function is pinned to.
    """
    text = unwrap_base64(body)
    if looks_sealed(text):
        sealed = unseal(text, namespace)
        return [] if sealed is None else [sealed]
    payload, request_id = _read_failed_call(text)
    if payload is not None:
        return _recover_event(payload, namespace, trigger, request_id, is_call=True)
    if origin_id is not None and trigger in (None, SMQ.kind):
        message = _read_queue_message(origin_id, text)
        if message.kind == SMQ_TOPIC.kind or not _is_delivery(text):
            return _recover_items([message], namespace)
    return _recover_event(text, namespace, trigger)


def _read_queue_message(message_id: str, body: bytes) -> Message | Undecodable:
    """Return the message of a queue as the function reads it, which may be the notification of a topic."""
    message = open_notification(Message(SMQ.kind, message_id, body), body)
    if isinstance(message, Undecodable):
        return message
    return replace(message, cloud_event=identify_body(message.body))


def _is_delivery(text: bytes) -> bool:
    """Return whether `text` is the event of a source of messages, and so not the body of a message.

    A CloudEvent of another kind may be either, and has the same key as both.
    """
    try:
        return any(item.kind in _DELIVERY_KINDS or _is_ambiguous(item) for item in decode(text))
    except EventUnreadable:
        return False


def _is_ambiguous(item: Message | Undecodable) -> bool:
    return isinstance(item, Undecodable) and item.rule == "trigger.ambiguous"


def _recover_event(
    event: bytes,
    namespace: str,
    trigger: Kind | None,
    request_id: str | None = None,
    *,
    is_call: bool = False,
) -> list[Envelope]:
    """Return the messages of `event`, or none if one is not known. `is_call` says that a failed call quotes it."""
    try:
        items = decode_event(event, trigger, request_id)
    except EventUnreadable:
        return []
    return _recover_items(items, namespace, is_call=is_call)


def _recover_items(
    items: Sequence[Message | Undecodable], namespace: str, *, is_call: bool = False
) -> list[Envelope]:
    found = [_recover(item, namespace, is_call=is_call) for item in items if isinstance(item, Message)]
    envelopes = [envelope for envelope in found if envelope is not None]
    return envelopes if len(envelopes) == len(items) else []


def _recover(item: Message, namespace: str, *, is_call: bool) -> Envelope | None:
    """Return the envelope of `item`, or None if its key is not known."""
    if looks_sealed(item.body):
        # Another envelope around one of another namespace would give the message another key.
        return unseal(item.body, namespace)
    # A bare CloudEvent may have been the body of a queue's message, which had another key.
    is_known = item.id is not None and (is_call or item.kind != EVENTBRIDGE.kind)
    return open_envelope(item, namespace) if is_known or _has_producer_key(item.body) else None


def _read_failed_call(text: bytes) -> tuple[bytes | None, str | None]:
    """Return event and request id of the failed call that `text` describes, or None twice if it describes none."""
    try:
        letter: JsonValue = jsontext.loads(text)
    except JsonError:
        return None, None
    if not isinstance(letter, dict):
        return None, None
    context, payload = letter.get("requestContext"), letter.get("requestPayload")
    if not isinstance(context, dict) or not isinstance(payload, str):
        return None, None
    request_id = context.get("requestId")
    return payload.encode(errors="replace"), request_id if isinstance(request_id, str) else None


def _has_producer_key(body: bytes) -> bool:
    """Return whether the request has an idempotencyKey, which decides its key however the message is known."""
    try:
        return parse_request(body).request.idempotency_key is not None
    except RequestRejected:
        return False
