"""From a dead letter back to the messages that it is about, each with the key that it had."""

from __future__ import annotations

from fcruntime import strictjson
from fcruntime.jsonvalue import JsonValue
from fcruntime.strictjson import JsonError
from fcruntime.triggers import Message, decode, eventbridge
from fcruntime.triggers.body import unwrap_base64
from hpoq.contract.keys import SMQ, derive_key
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected
from hpoq.processing.envelope import Envelope, open_envelope


def revive(body: bytes, origin_id: str | None) -> list[Envelope]:
    """The messages in the body of a dead letter; empty if it cannot be told which key one had.

    `origin_id` is the id that the message had in its own queue, which a queue's dead-letter policy keeps beside
    the unchanged body. An event stream's letter is the event of one message, an asynchronous invocation's tells
    of the whole event (FC documentation, "asynchronous invocation", destinations).
    """
    text = unwrap_base64(body)
    if origin_id is not None:
        return [_of_queue(origin_id, text)]
    payload, request_id = _failed_call(text)
    messages = decode(text if payload is None else payload, request_id=request_id)
    envelopes = [open_envelope(item) for item in messages if isinstance(item, Message)]
    if len(envelopes) < len(messages):
        return []
    known = [
        # A bare CloudEvent may have been the body of a queue's message, which had another key.
        (envelope.message_id is not None and (payload is not None or envelope.kind != eventbridge.KIND))
        or _has_key(envelope)
        for envelope in envelopes
    ]
    return envelopes if all(known) else []


def _of_queue(origin_id: str, body: bytes) -> Envelope:
    own = open_envelope(Message(SMQ, origin_id, body))
    return own if own.message_id is not None else Envelope(SMQ, origin_id, derive_key(SMQ, origin_id), body)


def _failed_call(text: bytes) -> tuple[bytes | None, str | None]:
    """The event, and the request id, of the failed call that an asynchronous invocation's letter tells of."""
    try:
        letter: JsonValue = strictjson.loads(text)
    except JsonError:
        return None, None
    if not isinstance(letter, dict):
        return None, None
    context, payload = letter.get("requestContext"), letter.get("requestPayload")
    if not isinstance(context, dict) or not isinstance(payload, str):
        return None, None
    request_id = context.get("requestId")
    return payload.encode(errors="replace"), request_id if isinstance(request_id, str) else None


def _has_key(envelope: Envelope) -> bool:
    """Whether the request brings an idempotencyKey, so that its key is the one it had whatever it is known by."""
    try:
        return parse_request(envelope.body).request.idempotency_key is not None
    except RequestRejected:
        return False
