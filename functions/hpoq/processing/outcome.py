"""The result of a message, the report of its batch, and its event."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import cached_property

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock
from hpoq.contract.events import (
    EventData,
    EventError,
    EventOutcome,
    ServiceError,
    make_event,
)
from hpoq.contract.identity import derive_event_id
from hpoq.errors import Ambiguous, CallError, ClockOff, Denied, HpoqError, Invalid, NoCredentials, NotFound
from hpoq.idempotency.record import Record
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import trace_step, traceparent
from hpoq.observability.redaction import known_mask, redact_known
from hpoq.processing.intake import Readable
from hpoq.processing.lifecycle import Delivery
from hpoq.publishers import Publisher


class Outcome(str, enum.Enum):
    """The ends of a message; all but `RETRY` are final."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    RETRY = "retry"
    FAILED = "failed"
    ACCEPTED = "accepted"
    STOPPING = "stopping"
    WATCHING = "watching"
    FINISHED = "finished"


_OUTCOMES = [outcome.value for outcome in Outcome]
# The members of an event that the semantic conventions of OpenTelemetry name.
_EVENT_MEMBERS = ("id", "source", "type", "subject")


@dataclass(frozen=True)
class Result:
    """The end of one delivery of one message."""

    outcome: Outcome
    key: str
    message_id: str | None
    experiment_id: str | None = None
    error: EventError | None = None

    def as_row(self) -> JsonObject:
        """Return the row of the report."""
        return {
            "messageId": self.message_id,
            "key": self.key,
            "outcome": self.outcome.value,
            "experimentId": self.experiment_id,
            "error": self.error.as_json() if self.error else None,
        }


@dataclass(frozen=True)
class Retry(Result):
    """The end of a delivery whose message comes back.

    `record` is the record that keeps the number of the copy if the message is sent back. It is None if this delivery
    may not write it, because another delivery holds the key or the store failed. `throttled` says that the message
    waits for the service to take more calls, `unrecorded` that it failed and no record could note that, and
    `was_claimed` that its create may have been sent before. `due` is when the next delivery may have something to do,
    as far as another delivery's record says so.
    """

    record: Record | None = None
    throttled: bool = False
    unrecorded: bool = False
    was_claimed: bool = False
    due: float = 0.0


def make_result(
    outcome: Outcome,
    delivery: Delivery,
    experiment_id: str | None = None,
    error: EventError | None = None,
) -> Result:
    """Return the result of `delivery`, under the key that its event and its log lines show."""
    return Result(outcome, delivery.shown_key or delivery.key, delivery.message_id, experiment_id, error)


def make_retry(
    delivery: Delivery,
    error: EventError,
    record: Record | None = None,
    *,
    experiment_id: str | None = None,
    throttled: bool = False,
    unrecorded: bool = False,
    due: float = 0.0,
) -> Retry:
    """Return the result of a delivery that is retried because of `error`."""
    return Retry(
        Outcome.RETRY,
        delivery.shown_key or delivery.key,
        delivery.message_id,
        experiment_id,
        error,
        record,
        throttled,
        unrecorded,
        due=due,
    )


@dataclass(frozen=True)
class BatchReport:
    """The ends of all messages of one event, in its order."""

    request_id: str
    results: Sequence[Result]

    @cached_property
    def summary(self) -> dict[str, int]:
        """The number of messages with each outcome."""
        counts = dict.fromkeys(_OUTCOMES, 0)
        for result in self.results:
            counts[result.outcome.value] += 1
        return counts

    def as_json(self) -> JsonObject:
        return {
            "requestId": self.request_id,
            "messages": [result.as_row() for result in self.results],
            "summary": {**self.summary},
        }


def as_event_error(exc: HpoqError) -> EventError:
    """Return the error that an event or a report shows for `exc`, without the secrets known in this context."""
    if not isinstance(exc, CallError):
        return EventError(code=type(exc).__name__, message=redact_known(str(exc)), retryable=True)
    request = f" (request {exc.request_id})" if exc.request_id else ""
    return EventError(
        code=redact_known(exc.code or type(exc).__name__),
        message=redact_known(f"{exc.service} {exc.operation}: {exc.message}{request}"),
        retryable=not isinstance(exc, Invalid),
        service=_describe_answer(exc),
    )


def _describe_answer(exc: CallError) -> ServiceError | None:
    """Return what the service answered, without secrets; None if `exc` does not come from an answer."""
    if exc.http_status is None:
        return None
    return ServiceError(
        None if exc.code is None else redact_known(exc.code),
        redact_known(exc.message),
        exc.request_id,
        exc.http_status,
        tuple((name, redact_known(value)) for name, value in exc.access_denied_detail),
    )


def needs_operator(exc: BaseException) -> bool:
    """Return whether the fault lasts until an operator fixes it: a call that is invalid stays so, too."""
    return isinstance(exc, (Ambiguous, ClockOff, Denied, Invalid, NoCredentials))


def log_lasting_fault(exc: BaseException | None) -> bool:
    """Log `operator.needed` if a permission is missing, or a queue, topic or table; return whether that is so.

    Also log it if one of them cannot take such calls, for example a table with another primary key.
    """
    if not isinstance(exc, CallError) or not (needs_operator(exc) or isinstance(exc, NotFound)):
        return False
    log_operator_needed(exc)
    return True


def log_operator_needed(exc: CallError, advice: str | None = None, **context: str) -> None:
    """Log the fault of a call that lasts until an operator fixes it, and the missing permission if it is known."""
    error = as_event_error(exc)
    denied = dict(error.service.access_denied_detail) if error.service else {}
    if advice is None and denied.get("AuthAction"):
        advice = (
            f"grant {denied['AuthAction']} to the function's role, see Permissions in the deployment guide"
        )
    get_logger().error(
        "operator.needed",
        error=str(exc),
        code=error.code,
        cloud_request_id=exc.request_id,
        access_denied_detail=denied or None,
        advice=advice or "run: hpoq doctor",
        **context,
    )


def log_configuration_fault(error: EventError, **context: str | None) -> None:
    """Log `operator.needed` for a wrong setting or subscription; `error` ends with the next step, after a ";"."""
    _, _, advice = error.message.rpartition("; ")
    get_logger().error("operator.needed", code=error.code, error=error.message, advice=advice, **context)


@dataclass(frozen=True)
class Announcer:
    """Composes the events of one invocation and publishes them. `source` is their CloudEvents source."""

    publisher: Publisher
    source: str
    request_id: str
    clock: Clock
    budget: Budget

    def compose(
        self,
        outcome: EventOutcome,
        claim: Record | None,
        intake: Readable,
        *,
        experiment_id: str | None = None,
        error: EventError | None = None,
        own: JsonObject | None = None,
    ) -> JsonObject:
        """Return the event of `outcome` for a message.

        It shows the key and the message id of its delivery. Its id derives from the key of `claim`, or from the
        message itself for a dry run, which has no claim. `own` has the members that only this type of event has.
        """
        delivery = intake.delivery
        key = delivery.message_key if claim is None else claim.key
        if delivery.is_watch:
            # The result of a request is an event of its key, though its record is another one.
            key = delivery.shown_key or key
        shown, mask = intake.shown, known_mask()  # a producer may write a secret where nobody expects one
        data = EventData(
            key=delivery.shown_key or delivery.key,
            message_id=delivery.message_id,
            request_id=self.request_id,
            attempts=0 if claim is None else claim.attempts,
            timings={"processingMs": round((self.clock.monotonic() - delivery.began_at) * 1000, 3)},
            experiment_id=experiment_id,
            name=shown.name and mask(shown.name),
            workspace_id=shown.workspace_id and mask(shown.workspace_id),
            error=error,
            producer_key=shown.producer_key and mask(shown.producer_key),
            warnings=shown.warnings,
            own=own,
        )
        return make_event(
            outcome,
            event_id=derive_event_id(key, outcome),
            source=self.source,
            time=self.clock.now(),
            data=data,
            traceparent=traceparent(),
        )

    def announce(self, event: JsonObject) -> EventError | None:
        """Publish `event`; return the error if that failed, or None."""
        try:
            with trace_step("publish", self.clock) as set_attributes:
                self.publisher.publish(event, budget=self.budget)
                set_attributes({f"cloudevents.event_{name}": str(event.get(name)) for name in _EVENT_MEMBERS})
        except CallError as exc:
            failure = as_event_error(exc)
            detail = dict(failure.service.access_denied_detail) if failure.service else None
            get_logger().error("publish.failed", error=str(exc), access_denied_detail=detail)
            log_lasting_fault(exc)
            return failure
        return None
