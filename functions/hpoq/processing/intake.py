"""Read the items that a trigger delivered: each becomes a request with its key, or the reason why it has none."""

from __future__ import annotations

import json
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

from fcruntime.dataclass import dataclass, field, replace
from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers import Kind, Message, Undecodable, decode
from fcruntime.triggers.sources import HTTP
from hpoq.contract.events import EventError, is_event
from hpoq.contract.finding import get_object
from hpoq.contract.identity import DIGEST, PRODUCER, STOP, WATCH, derive_key, digest
from hpoq.contract.patterns import is_traceparent
from hpoq.errors import RequestRejected, Violation
from hpoq.loading import exempt_from_collection
from hpoq.observability.redaction import Mask, redact
from hpoq.observability.secret_names import find_secrets, mask_text
from hpoq.processing.envelope import Envelope, is_sealed, looks_sealed, open_envelope
from hpoq.processing.lifecycle import Delivery

if TYPE_CHECKING:
    from hpoq.contract.model import ExperimentRequest
    from hpoq.contract.request import ParsedRequest
    from hpoq.contract.stop import StopRequest
    from hpoq.processing.watchorder import WatchOrder

_NO_ID = Violation(
    "",
    "message-id",
    "this source gives its messages no id that is stable across redelivery; set idempotencyKey in the request",
)


# Rules of `fcruntime.triggers` that a setting breaks, not the message.
_CONFIGURATION_RULES = ("trigger.unknown-source", "trigger.ambiguous")
_ENVELOPE_INVALID = EventError(
    code="EnvelopeInvalid",
    message="the envelope of a message that was sent again has a key that does not derive from its content; "
    "set HPOQ_NAMESPACE to what it was when the message was sent",
    retryable=True,
)

_OWN_EVENT = EventError(
    code="OwnEvent",
    message="an event that hpoq published came back as a message; remove the subscription or the rule that leads "
    "from the output to the function",
    retryable=False,
)


@dataclass(frozen=True)
class Shown:
    """What events show of a request, None if it is not known. `producer_key` is the producer's own key."""

    name: str | None = None
    workspace_id: str | None = None
    producer_key: str | None = None
    warnings: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class Ready:
    """A valid request and its JSON document."""

    delivery: Delivery
    envelope: Envelope
    shown: Shown
    request: ExperimentRequest = field(repr=False)
    document: JsonObject = field(repr=False)

    @property
    def experiment(self) -> JsonObject:
        """The body of CreateHpoExperiment."""
        return get_object(self.document, "experiment")


@dataclass(frozen=True)
class Stop:
    """A valid stop message and its JSON document. `about` has the keys that the request which it names may have."""

    delivery: Delivery
    envelope: Envelope
    shown: Shown
    request: StopRequest = field(repr=False)
    document: JsonObject = field(repr=False)
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watched:
    """A watch message, by which hpoq follows the experiment of `order`."""

    delivery: Delivery
    envelope: Envelope
    shown: Shown
    order: WatchOrder


@dataclass(frozen=True)
class Rejected:
    """A message that breaks the contract, or that does not contain a request.

    Its key is that of its delivery, not the producer's, so that a corrected request may use the producer's key.
    `known_as` is the same delivery under the producer's key if that can be read: an earlier version of the contract
    may have accepted the request, and then the record of that key decides. `envelope` is None for an item that
    cannot be sent again as it was. `content` is what the dead-letter queue keeps: such an item as a whole, a message
    that has no id, or one that is a damaged envelope. What is `shown` has no secrets that the request contains
    elsewhere.
    """

    delivery: Delivery
    envelope: Envelope | None
    error: EventError
    shown: Shown = Shown()
    known_as: Delivery | None = None
    content: Envelope | None = None


@dataclass(frozen=True)
class Defective:
    """A message whose reading failed with an unexpected error; `reason` names the error and its place."""

    delivery: Delivery
    envelope: Envelope
    reason: str


@dataclass(frozen=True)
class Undeliverable:
    """A message that a wrong setting makes unreadable. Its source keeps it until that is fixed.

    If `error` is not retryable it is acknowledged instead, without an answer: it is an event of hpoq's own, whose
    answer would come back in turn.
    """

    delivery: Delivery
    error: EventError
    envelope: Envelope | None = None


Readable: TypeAlias = Ready | Stop | Watched | Rejected
Intake: TypeAlias = Readable | Defective | Undeliverable


def decode_event(
    event: bytes, trigger: Kind | None = None, request_id: str | None = None
) -> list[Message | Undecodable]:
    """Return the items of `event`, which only comes from the source `trigger` if one is pinned.

    What the function sent itself comes from a queue of SMQ all the same: watch messages, and what was sent back or
    redriven. Raises EventUnreadable, UnsupportedCall.
    """
    items = decode(event, source=trigger, request_id=request_id, accepts=is_keyed_message)
    refused = any(isinstance(item, Undecodable) and item.rule in _CONFIGURATION_RULES for item in items)
    if not refused:
        return items
    found = decode(event)
    is_own = all(isinstance(one, Message) and one.kind == "smq" and looks_sealed(one.body) for one in found)
    return found if is_own else items


def is_keyed_message(item: JsonObject) -> bool:
    """Return whether an item of an event has a key of its own, so that it needs no source to identify it.

    An event stream delivers such items if its transform takes the bodies out of the deliveries (for example
    `$.data.messageBody`): requests with a key, also as the data of a CloudEvent without an identity of its own, and
    messages that hpoq sent again.
    """
    from hpoq.contract.document import find_request

    if is_sealed(item):
        return True
    request = find_request(item) or {}
    return isinstance(request.get("idempotencyKey"), str) and ("experiment" in request or "stop" in request)


@dataclass(frozen=True)
class Reader:
    """Reads messages. `namespace` is part of every key.

    `watches` says that experiments are followed, so that a guard has an effect.
    """

    namespace: str = ""
    watches: bool = False

    def read(self, item: Message | Undecodable) -> Intake:
        """Read one item of an event. Never raises, so that the other items are processed in any case."""
        if isinstance(item, Undecodable):
            return self._read_undecodable(item)
        envelope = open_envelope(item, self.namespace)
        try:
            if looks_sealed(envelope.body):
                return Undeliverable(self._make_delivery(envelope, ""), _ENVELOPE_INVALID)
            if envelope.kind == WATCH:
                return self._read_watch(envelope, item.id)
            read: Ready | Stop | Rejected
            try:
                read = self._read_request(item, envelope)
            except RequestRejected as exc:
                if is_event(envelope.body):
                    return Undeliverable(self._make_delivery(envelope, ""), _OWN_EVENT)
                read = self._make_rejection(envelope, exc)
        except Exception as exc:  # noqa: BLE001 - a defect must affect only this message
            return Defective(self._make_delivery(envelope, ""), envelope, _locate(exc))
        return _mark_redriven(read, _identify_redrive(envelope, item.id)) if envelope.redriven else read

    def _read_request(self, item: Message, envelope: Envelope) -> Ready | Stop:
        _load_contract()
        from hpoq.contract.model import ExperimentRequest
        from hpoq.contract.request import compute_fingerprint, parse_request

        # The attributes of any other source are not those of a CloudEvent.
        parsed = parse_request(envelope.body, dict(item.attributes) if item.kind == HTTP.kind else {})
        request = parsed.request
        kind = PRODUCER if isinstance(request, ExperimentRequest) else STOP
        own_key = request.idempotency_key
        if item.id is None and envelope.message_id is None and own_key is None:
            raise _reject(parsed, _NO_ID)
        key = None if own_key is None else derive_key(kind, own_key, self.namespace)
        delivery = self._make_delivery(envelope, compute_fingerprint(parsed.document), key)
        if not isinstance(request, ExperimentRequest):
            named = request.stop.idempotency_key
            # It is the producer's key, or the one that the events show.
            about = () if named is None else (derive_key(PRODUCER, named, self.namespace), named)
            shown = Shown(producer_key=own_key, warnings=parsed.warnings)
            return Stop(delivery, envelope, shown, request, parsed.document, about)
        if parsed.unwatched is not None and not self.watches:
            raise _reject(parsed, parsed.unwatched)
        experiment = request.experiment
        shown = Shown(experiment.name, experiment.workspace_id, own_key, parsed.warnings)
        return Ready(delivery, envelope, shown, request, parsed.document)

    def _read_watch(self, envelope: Envelope, message_id: str | None) -> Watched | Rejected:
        """Return what is followed. `message_id` is that of the message in its queue, which identifies a redrive."""
        from hpoq.processing.watchorder import (  # for watch messages only
            UNREADABLE,
            can_be_followed,
            decode_order,
        )

        order = decode_order(envelope.body)
        if order is None or order.identity != envelope.message_id or not can_be_followed(order):
            # Under a key of its own: the chain of watch messages of that key may go on.
            key = derive_key(DIGEST, digest(envelope.body), self.namespace)
            delivery = Delivery(key, "watch", key, digest(envelope.body))
            return Rejected(delivery, envelope, UNREADABLE, content=envelope)
        if not is_traceparent(order.traceparent or ""):
            order = replace(order, traceparent=None)
        delivery = Delivery(
            key=envelope.key,
            fingerprint="watch",
            message_key=envelope.key,
            body="watch",
            message_id=order.message_id,
            sequence=envelope.sequence,
            since=envelope.since,
            shown_key=order.key,
            redriven=_identify_redrive(envelope, message_id) if envelope.redriven else None,
            is_watch=True,
        )
        return Watched(delivery, envelope, show_order(order), order)

    def _read_undecodable(self, item: Undecodable) -> Rejected | Undeliverable:
        message = f"{item.reason} (SHA-256 {item.digest}, {item.size} bytes)"
        violation = Violation("", item.rule, message)
        kind, identity = (item.kind, item.id) if item.id else (DIGEST, item.digest)
        key = derive_key(kind, identity, self.namespace)
        # Without an id the digest is the identity. With one it says nothing, because each delivery changes other ids.
        fingerprint = f"undecodable:{item.kind}:{item.rule}" if item.id else f"body:{item.digest}"
        shown_id = None if item.id is None else mask_message_id(item.id)
        delivery = Delivery(key, fingerprint, key, item.digest, shown_id)
        if item.rule in _CONFIGURATION_RULES:
            advice = f"{message}; set HPOQ_TRIGGER to the source of these events, or unset it"
            return Undeliverable(delivery, EventError(code="UnknownSource", message=advice, retryable=True))
        error = EventError(code="Undecodable", message=message, retryable=False, violations=(violation,))
        content = Envelope(DIGEST, None, derive_key(DIGEST, digest(item.item), self.namespace), item.item)
        return Rejected(delivery, None, error, content=content)

    def _make_rejection(self, envelope: Envelope, exc: RequestRejected) -> Rejected:
        from hpoq.contract.document import read_object
        from hpoq.contract.request import read_producer_key

        error = EventError(
            code="InvalidRequest", message=str(exc), retryable=False, violations=exc.violations
        )
        producer_key = read_producer_key(envelope.body)
        found = read_object(envelope.body)
        # A bus writes a new time into each copy of an event that is published again, but not into the request in it.
        text = envelope.body if found is None else json.dumps(found, sort_keys=True).encode()
        fingerprint = "body:" + digest(text)
        known_as, shown_key = None, None
        if producer_key is not None:
            key = derive_key(PRODUCER, producer_key, self.namespace)
            known_as = self._make_delivery(envelope, fingerprint, key)
            shown_key = redact(producer_key, find_secrets(found))
        return Rejected(
            self._make_delivery(envelope, fingerprint),
            envelope,
            error,
            Shown(exc.name, exc.workspace_id, shown_key, exc.warnings),
            known_as,
            # The request may be valid if its message has no id, or if only the envelope around it is damaged.
            content=envelope if _NO_ID in exc.violations or is_sealed(found or {}) else None,
        )

    def _make_delivery(
        self, envelope: Envelope, fingerprint: str, producer_key: str | None = None
    ) -> Delivery:
        message = envelope.message_id
        # A CloudEvent that is sent twice has one key, but its two messages are two deliveries.
        message_key = envelope.key if message is None else derive_key(envelope.kind, message, self.namespace)
        return Delivery(
            key=producer_key or envelope.key,
            fingerprint=fingerprint,
            message_key=message_key,
            body=digest(envelope.body),
            message_id=mask_message_id(message) if message and message[0] == "{" else message,
            sequence=envelope.sequence,
            since=envelope.since,
        )


@cache
def _load_contract() -> None:
    """Load the models of the contract, and pydantic with them, with the first request.

    They take three quarters of the time of a whole cold start, and watch messages do not need them.
    """
    with exempt_from_collection():
        import hpoq.contract.request  # noqa: F401 - loaded here for all later imports of it


def _identify_redrive(envelope: Envelope, message_id: str | None) -> str:
    """Return what identifies the redrive of a message: its time, or else the id of the message in the queue.

    The queue may get a redriven message twice, if the answer to its send was lost. Both are one redrive.
    """
    if envelope.renewed is None and message_id is not None:
        return message_id
    return f"redrive {envelope.renewed}"


def _mark_redriven(read: Ready | Stop | Rejected, redrive: str) -> Ready | Stop | Rejected:
    read = replace(read, delivery=replace(read.delivery, redriven=redrive))
    if isinstance(read, Rejected) and read.known_as is not None:
        read = replace(read, known_as=replace(read.known_as, redriven=redrive))
    return read


def _reject(parsed: ParsedRequest, violation: Violation) -> RequestRejected:
    """Return the rejection of a request that keeps the contract. Secrets in its name are masked."""
    experiment = getattr(parsed.request, "experiment", None)  # a stop has none
    shown = (experiment.name, experiment.workspace_id) if experiment else (None, None)
    mask = Mask(find_secrets(parsed.document))
    name, workspace_id = (text and mask(text) for text in shown)
    return RequestRejected([violation], name=name, workspace_id=workspace_id, warnings=parsed.warnings)


def show_order(order: WatchOrder) -> Shown:
    """Return what events show of the request whose experiment is followed."""
    return Shown(order.name, order.workspace_id, order.producer_key)


def mask_message_id(message_id: str) -> str:
    """Return the id of a message as it may be shown, without secrets.

    The id of a CloudEvent contains its source, and that of a record or a message its place: both may be URLs.
    """
    try:
        parts = json.loads(message_id)
    except (ValueError, RecursionError):
        return mask_text(message_id)
    return redact(message_id, find_secrets(parts))


def _locate(exc: Exception) -> str:
    """Return the kind of an unexpected error and where it was raised, not its text.

    The text may quote a secret that was not found in the request yet.
    """
    import traceback  # for defects only

    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__} in {frame.name} ({PurePath(frame.filename).name}, line {frame.lineno})"
