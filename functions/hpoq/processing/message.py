"""One message, from its claim to its event."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from hpoq.clock import Clock
from hpoq.contract.events import EventError, EventOutcome, read_error
from hpoq.contract.keys import CONFLICT, derive_key
from hpoq.errors import CallError, StoreError
from hpoq.idempotency.record import Record, State
from hpoq.observability import trace
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import step, timed
from hpoq.observability.redaction import known_secrets
from hpoq.processing import lifecycle
from hpoq.processing.announcement import Announcer
from hpoq.processing.creation import Created, Creator, Postponed, Refused
from hpoq.processing.faults import as_event_error
from hpoq.processing.intake import Intake
from hpoq.processing.ledger import Ledger, Opening
from hpoq.processing.lifecycle import Action, Standing
from hpoq.processing.outcome import Outcome, Result

_WORTH_A_LOOK = 2
_OUTCOME = {
    State.COMPLETED: Outcome.CREATED,
    State.REJECTED: Outcome.REJECTED,
    State.FAILED: Outcome.FAILED,
}

_HELD = EventError(
    code="InProgress", message="another delivery of this message is being processed", retryable=True
)
_DEFECT = EventError(
    code="InternalError", message="an unexpected error; see the function's log", retryable=True
)
_CONFLICT = EventError(
    code="IdempotencyConflict",
    message="this idempotency key was used with another request; a changed request needs a new key",
    retryable=False,
)


class Processor:
    """Processes the messages of one invocation; safe for threads. Never raises."""

    def __init__(
        self, ledger: Ledger, creator: Creator, announcer: Announcer, clock: Clock, publish_by: float
    ) -> None:
        self._ledger = ledger
        self._creator = creator
        self._announcer = announcer
        self._clock = clock
        self._publish_by = publish_by

    def look_ahead(self, intakes: Sequence[Intake]) -> None:
        """Find out at once which of several messages were done before. Never raises: it only saves reads."""
        fingerprints = {intake.key: intake.fingerprint for intake in intakes if intake.defect is None}
        if len(fingerprints) < _WORTH_A_LOOK:
            return
        try:
            self._ledger.look_ahead(fingerprints)
        except StoreError as exc:
            get_logger().warning("lookahead.failed", error=str(exc))

    def process(self, intake: Intake) -> Result:
        """Bring one message to its end, or to a retry."""
        found = intake.request.secrets() if intake.request else ()
        parent = intake.request.traceparent if intake.request else None
        who = {"message_id": intake.message_id or "", "key": intake.key}
        with (
            known_secrets(found),
            timed("message", self._clock),
            trace.message(parent, who) as tell,
            structlog.contextvars.bound_contextvars(**_bound(intake)),
        ):
            result = self._safely(intake)
            tell({"outcome": result.outcome.value})
            return result

    def _safely(self, intake: Intake) -> Result:
        try:
            result = self._process(intake)
        except StoreError as exc:
            get_logger().error("store.failed", error=str(exc))
            result = _result(Outcome.RETRY, intake, error=as_event_error(exc))
        except Exception:  # noqa: BLE001 - a defect must cost one message a retry, not its neighbours an end
            get_logger().exception("message.defect")
            result = _result(Outcome.RETRY, intake, error=_DEFECT)
        _log(result)
        return result

    def _process(self, intake: Intake) -> Result:
        if intake.defect is not None:
            raise RuntimeError(intake.defect)
        began = self._clock.monotonic()
        for warning in intake.warnings:
            get_logger().warning("request.warning", **warning.as_dict())
        opening = self._ledger.open(intake.key, intake.fingerprint)
        if opening.action is Action.CONFLICT:
            return self._refuse_conflict(opening.record, intake, began)
        return self._act(opening, intake, began, intake.error)

    def _refuse_conflict(self, standing: Record, intake: Intake, began: float) -> Result:
        """The refusal has a record of its own: the key's belongs to the request that came first.

        If that one's event is still to be published, this may be the last delivery that can do it.
        """
        if lifecycle.standing(standing, self._clock.now()) is Standing.UNPUBLISHED:
            first = self._publish(standing, intake)
            if first.outcome is Outcome.RETRY:
                return first
        key = derive_key(CONFLICT, f"{intake.key}:{intake.fingerprint}")
        return self._act(self._ledger.open(key, intake.fingerprint), intake, began, _CONFLICT)

    def _act(self, opening: Opening, intake: Intake, began: float, error: EventError | None) -> Result:
        record = opening.record
        if opening.action is Action.WAIT:
            return _result(Outcome.RETRY, intake, error=_HELD)
        if opening.action is Action.ACKNOWLEDGE:
            return _result(Outcome.DUPLICATE, intake, experiment_id=record.experiment_id)
        if opening.action is Action.PUBLISH:
            return self._publish(record, intake)
        if error is not None or intake.request is None:
            return self._end(record, intake, began, Refused(error or _CONFLICT))
        return self._end(
            record, intake, began, self._creator.attempt(intake.request, record, opening.doubt_until)
        )

    def _end(
        self, claim: Record, intake: Intake, began: float, ending: Created | Refused | Postponed
    ) -> Result:
        terms, now = self._ledger.terms, self._clock.now()
        if isinstance(ending, Created):
            if ending.adopted:
                get_logger().warning("experiment.adopted", experiment_id=ending.experiment_id)
            event = self._event("created", claim, intake, began, experiment_id=ending.experiment_id)
            ended = lifecycle.complete(claim, ending.experiment_id, event, now, terms)
        elif isinstance(ending, Refused):
            event = self._event("rejected", claim, intake, began, error=ending.error)
            ended = lifecycle.reject(claim, event, now, terms)
        elif ending.hopeless or self._given_up(claim, ending):
            event = self._event("failed", claim, intake, began, error=ending.error)
            ended = lifecycle.fail(claim, event, now, terms)
        else:
            given_back = lifecycle.release(claim, ending.doubt_until, now, counts=ending.counts)
            self._ledger.save(given_back, claim.version)
            return _result(Outcome.RETRY, intake, error=ending.error)
        return self._publish(self._ledger.save(ended, claim.version), intake)

    def _given_up(self, claim: Record, ending: Postponed) -> bool:
        """A message is never given up while an experiment of it may still come to light."""
        return ending.counts and ending.doubt_until is None and lifecycle.used_up(claim, self._ledger.terms)

    def _event(
        self,
        outcome: EventOutcome,
        claim: Record,
        intake: Intake,
        began: float,
        *,
        experiment_id: str | None = None,
        error: EventError | None = None,
    ) -> str:
        return self._announcer.compose(
            outcome,
            claim.key,
            intake,
            time=self._clock.now(),
            attempts=claim.attempts,
            timings={"processingMs": round((self._clock.monotonic() - began) * 1000, 3)},
            experiment_id=experiment_id,
            error=error,
        )

    def _publish(self, record: Record, intake: Intake) -> Result:
        """Publish the stored event. Its outcome is reported by the delivery that gets it out."""
        event = record.event or "{}"
        try:
            with step("publish", self._clock):
                self._announcer.publish(event, self._publish_by)
        except CallError as exc:
            get_logger().error("publish.failed", error=str(exc))
            return _result(
                Outcome.RETRY, intake, experiment_id=record.experiment_id, error=as_event_error(exc)
            )
        try:
            self._ledger.save(lifecycle.published(record, self._clock.now()), record.version)
        except StoreError as exc:
            # The event is out: at worst it is sent once more, under the same id.
            get_logger().warning("publish.unrecorded", error=str(exc))
        return _result(
            _OUTCOME[record.state], intake, experiment_id=record.experiment_id, error=read_error(event)
        )


def _result(
    outcome: Outcome, intake: Intake, *, experiment_id: str | None = None, error: EventError | None = None
) -> Result:
    return Result(outcome, intake.key, intake.message_id, experiment_id, error)


def _bound(intake: Intake) -> dict[str, str | None]:
    """What stands on every log line of a message."""
    bound = {"message_id": intake.message_id, "key": intake.key}
    traced = trace.trace_id()
    return bound | {"trace_id": traced} if traced else bound


def _log(result: Result) -> None:
    log = get_logger().warning if result.outcome is Outcome.RETRY else get_logger().info
    error = {"error_code": result.error.code, "error": result.error.message} if result.error else {}
    log(f"message.{result.outcome.value}", experiment_id=result.experiment_id, **error)
