"""From what a trigger delivered to a request with its key, or to the reason why there is none."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass, field
from fcruntime.triggers import Message, Undecodable
from hpoq.contract.events import EventError
from hpoq.contract.fingerprint import fingerprint
from hpoq.contract.keys import DIGEST, PRODUCER, derive_key, digest
from hpoq.errors import RequestRejected, Violation
from hpoq.processing.envelope import Envelope, open_envelope

if TYPE_CHECKING:
    from hpoq.contract.request import ExperimentRequest

_NO_ID = Violation(
    "",
    "message-id",
    "this source gives messages no id that is stable across redelivery; set idempotencyKey in the request",
)


@dataclass(frozen=True)
class Intake:
    """One message, ready to be processed.

    Either `request` is set, or `error` says why the message is rejected, or `defect` where an unexpected error came
    up while it was read. `envelope` is what sends it back to its queue; None for an item that cannot be sent again
    as it was.
    """

    key: str
    fingerprint: str
    message_id: str | None
    request: ExperimentRequest | None = field(default=None, repr=False)
    warnings: tuple[Violation, ...] = ()
    error: EventError | None = None
    defect: str | None = None
    name: str | None = None
    workspace_id: str | None = None
    envelope: Envelope | None = None


def take_in(item: Message | Undecodable) -> Intake:
    """Read one item of an event; never raises, for its neighbours must not pay for it."""
    if isinstance(item, Undecodable):
        return _undecodable(item)
    envelope = open_envelope(item)
    try:
        return _read(item, envelope)
    except RequestRejected as exc:
        return _rejected(envelope, exc)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it concerns this message alone
        return Intake(
            key=envelope.key,
            fingerprint="",
            message_id=envelope.message_id,
            defect=_place(exc),
            envelope=envelope,
        )


def _read(item: Message, envelope: Envelope) -> Intake:
    # With the first message: a cold start makes no models of the contract.
    from hpoq.contract.request import parse_request

    parsed = parse_request(envelope.body)
    if item.id is None and envelope.message_id is None and parsed.request.idempotency_key is None:
        experiment = parsed.request.experiment
        raise RequestRejected([_NO_ID], name=experiment.name, workspace_id=experiment.workspace_id)
    producer_key = parsed.request.idempotency_key
    return Intake(
        key=derive_key(PRODUCER, producer_key) if producer_key is not None else envelope.key,
        fingerprint=fingerprint(parsed.request),
        message_id=envelope.message_id,
        request=parsed.request,
        warnings=parsed.warnings,
        name=parsed.request.experiment.name,
        workspace_id=parsed.request.experiment.workspace_id,
        envelope=envelope,
    )


def _place(exc: Exception) -> str:
    """What came up and where; not its text, which may quote a secret that nobody has found in the request yet."""
    import traceback  # for defects only

    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__} in {frame.name} ({PurePath(frame.filename).name}, line {frame.lineno})"


def _rejected(envelope: Envelope, exc: RequestRejected) -> Intake:
    """A request that breaks the contract keeps the key of its delivery, not the producer's own.

    Nothing was begun under the producer's key, so a mended request may use it.
    """
    error = EventError(code="InvalidRequest", message=str(exc), retryable=False, violations=exc.violations)
    return Intake(
        key=envelope.key,
        fingerprint="body:" + digest(envelope.body),
        message_id=envelope.message_id,
        error=error,
        name=exc.name,
        workspace_id=exc.workspace_id,
        envelope=envelope,
    )


def _undecodable(item: Undecodable) -> Intake:
    # The digest covers ids that change with each delivery, so it tells nothing about an item that has its own.
    fingerprint = f"undecodable:{item.kind}:{item.rule}" if item.id else f"body:{item.digest}"
    message = f"{item.reason} (SHA-256 {item.digest}, {item.size} bytes)"
    violation = Violation("", item.rule, message)
    return Intake(
        key=derive_key(item.kind, item.id) if item.id else derive_key(DIGEST, item.digest),
        fingerprint=fingerprint,
        message_id=item.id,
        error=EventError(code="Undecodable", message=message, retryable=False, violations=(violation,)),
    )
