"""Explain a record in words: the state of its message, what the next delivery does, what an operator can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.answers import documented_codes, kind_of_code
from hpoq.contract.events import EventError, find_error, outcome_of, parse_error
from hpoq.contract.identity import derive_conflict_key
from hpoq.errors import CallError, Denied, NotFound, Throttled, UnknownEnd
from hpoq.idempotency.record import Record, State
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Standing
from hpoq.settings import Settings
from hpoqctl.output import count_of

NO_RECORD = "this key has no record. Check the key with hpoq status."
_ENDED = {State.COMPLETED: "created", State.REJECTED: "rejected", State.FAILED: "failed"}
_STATE = {
    Standing.UNSEEN: "There is no record. No delivery has arrived so far, or the message has another key (that of a "
    "request with an idempotencyKey derives from it alone: give --idempotency-key), or the record was deleted after "
    "HPOQ_RETENTION_DAYS.",
    Standing.HELD: "A delivery is being processed. Its claim holds for another {lease_left:.0f} s.",
    Standing.ABANDONED: "The last claim ended {lease_over:.0f} s ago without an outcome: the attempt failed, or "
    "its instance died.",
    Standing.UNPUBLISHED: "It ended as {ended}. Whether its event was published is not known.",
    Standing.PUBLISHED: "It ended as {ended}, and its event was published.",
    Standing.GIVEN_UP: "It was given up after {attempts}, and its event was published. If HPOQ_DEAD_LETTER_QUEUE is "
    "set for the function, the message was put into that queue; otherwise it was not kept.",
    Standing.EXPIRED: "It ended as {ended} longer ago than HPOQ_RETENTION_DAYS. The record will be deleted.",
}
_REPEATS = "The next delivery publishes the stored event again, under the same id."
_NEXT = {
    Action.CLAIM: "The next delivery claims the key and creates the experiment.",
    Action.WAIT: "A delivery that arrives now must be retried.",
    Action.DROP: "A delivery that arrives now is dropped, because a newer copy of the message is in the queue.",
    Action.TAKE_OVER: "The next delivery searches for the experiment, and creates it only if there is none.",
    Action.PUBLISH: _REPEATS,
    Action.REPEAT: _REPEATS,
    Action.ACKNOWLEDGE: "Further deliveries are duplicates: they create nothing and send nothing.",
    Action.CONFLICT: "",
}
_AHEAD = (
    "The last claim would hold for another {lease_left:.0f} s. Only a clock that was ahead can have written that, so "
    "the claim is ignored."
)
_NOT_DUE = "The message is due in {not_due:.0f} s. A delivery that arrives earlier must be retried."
_CREATE = "No create is in doubt. The next delivery creates the experiment."
_KNOWN = "The next delivery announces experiment {experiment_id} and creates none."
_IF_DEAD = "Nothing, while the message is in its queue. If it is in the dead-letter queue: hpoq redrive --match {key}"
_TO_DO = {
    Standing.UNSEEN: "Look for the message in its queue and in the dead-letter queue: hpoq dead list",
    Standing.HELD: "Wait until the claim ends. Its log lines have this key.",
    Standing.ABANDONED: _IF_DEAD,
    Standing.UNPUBLISHED: _IF_DEAD,
    Standing.PUBLISHED: "Nothing.",
    Standing.GIVEN_UP: "Fix the cause of the last error. Then: hpoq redrive --match {key} (only a redrive makes "
    "another attempt; if the same request is sent again, it only repeats its event). If the message was not kept, "
    "its producer sends the request under a new key.",
    Standing.EXPIRED: "Nothing.",
}
_PASSES = "This ends by itself."
_FIX = "Fix it with the help of hpoq doctor. Then the message continues by itself."
_ANSWERS: dict[type[CallError], str] = {
    Throttled: _PASSES,
    UnknownEnd: "The next delivery searches for the experiment before it creates one.",
    Denied: _FIX,
    NotFound: _FIX,
}
_UNDOCUMENTED = (
    "This code is not documented, so the next delivery searches for the experiment before it creates one. If it "
    "persists, find out what it means, and run hpoq doctor: the message is given up after HPOQ_MAX_ATTEMPTS."
)
_SEARCHES = _ANSWERS[UnknownEnd]
_SHORT_OF_TIME = (
    "If it recurs: fewer messages per event, a longer time-out, or a higher HPOQ_CONCURRENCY of the function."
)
ADVICE = {
    "InvalidRequest": "The producer corrects the request. hpoq check shows what is wrong with it.",
    "Undecodable": "Check the source of the message.",
    "IdempotencyConflict": "Send the request with an idempotencyKey of its own.",
    "InProgress": "If it lasts longer than HPOQ_LEASE_SECONDS, check whether instances die.",
    "HeldBack": _PASSES,
    "NotDue": _PASSES,
    "Superseded": _PASSES,
    "InDoubt": _SEARCHES,
    "Incomplete": "If it persists, find out whether the experiment exists, and use hpoq resolve.",
    "Ambiguous": "Find out whether the experiment exists, and use hpoq resolve.",
    "AttemptsUsedUp": "Check the invocations of this key: time-outs, memory.",
    "DeadLetterFailed": "See deadletter.failed or deadletter.too-large in the log, and run hpoq doctor.",
    "DeadlineNear": _SHORT_OF_TIME,
    "NoTimeLeft": _SHORT_OF_TIME,
    "ClockOff": "No create was started, so this is not an attempt. Run hpoq doctor, which compares the clocks. If it "
    "lasts, the message is given up HPOQ_MAX_AGE_HOURS after its first delivery.",
    "EndpointChanged": "Set the endpoint back until the message has ended, or let the function of the other "
    "account process it, or find out whether its experiment exists, and use hpoq resolve.",
    "UnknownSource": "Set HPOQ_TRIGGER to the source of these events, or remove it.",
    "EnvelopeInvalid": "Set HPOQ_NAMESPACE to what it was when the message was sent.",
    "OwnEvent": "Remove the subscription or the rule that leads the function's events back to it.",
    "UnknownKey": "The producer of the stop checks its key.",
    "NothingToStop": "There is nothing to do.",
    "RequestInProgress": _PASSES,
    "ExperimentNotFound": "The producer of the stop checks its id.",
    "StopUnconfirmed": "The stop is tried again.",
    "WatchQueueMissing": "Set HPOQ_WATCH_QUEUE until all experiments have ended, or purge the queue.",
    "WatchInvalid": "If a later version of the function sent the message, deploy it; if the record of its request is "
    "lost, restore it. Then run hpoq redrive. Otherwise drop the message.",
    "InternalError": "This is a defect. Report the traceback of message.defect in the log.",
    "StoreUnavailable": "Run hpoq doctor, and check the store.",
    "RecordUnreadable": "Deploy the version that wrote the record.",
    "ClaimLost": "Another delivery finishes the message. If it recurs, raise HPOQ_LEASE_SECONDS.",
    "Unavailable": "If it persists, run hpoq doctor.",
    "NoCredentials": "Give the function a role.",
    "UnknownEnd": _SEARCHES,
    "Throttled": _PASSES,
    "Denied": _FIX,
    "Invalid": "The producer corrects the request.",
    "Conflict": _FIX,
    "NotFound": _FIX,
}
"""What to do about the function's own error codes, in short; the table of codes in RUNBOOK.md says more."""

_OF_DOUBT = ("Ambiguous", "EndpointChanged", "Incomplete")
_RESOLVE = (
    "If its log has operator.needed with code Ambiguous, Incomplete or EndpointChanged, find out whether the "
    "experiment exists, then: hpoq resolve {key} --none, or hpoq resolve {key} --experiment ID"
)
_CONFLICTS = (
    "The key {key} belongs to a different request. The following explains why this request is refused."
)
_OWN_KEY = "Send this request with an idempotencyKey of its own."


@dataclass(frozen=True)
class Explanation:
    """A key and its record at the moment `now`; `conflicts_with` is the key that another request holds."""

    key: str
    record: Record | None
    now: float
    most_attempts: int
    conflicts_with: str | None = None

    @property
    def standing(self) -> Standing:
        """The state of the message at `now`."""
        return lifecycle.find_standing(self.record, self.now)

    @property
    def action(self) -> Action:
        """What a delivery of the same request does."""
        return lifecycle.next_action(self.record, self.now)

    @property
    def event(self) -> JsonObject | None:
        """The stored event, or None if there is none."""
        return read_event(self.record)

    @property
    def last_error(self) -> EventError | None:
        """The last error of a message that has not succeeded, or None if there was none."""
        record = self.record
        if record is None or record.last_error is None or record.state in (State.COMPLETED, State.REJECTED):
            return None
        return parse_error(json.loads(record.last_error))

    @property
    def is_in_doubt(self) -> bool:
        """Whether an earlier create may have happened, and its experiment is not known so far."""
        record = self.record
        is_open = self.standing is Standing.ABANDONED and record is not None and record.experiment_id is None
        return is_open and record is not None and record.doubt_until is not None

    def lines(self) -> Iterator[str]:
        """Yield sentences on the state, on what comes next, and on what can be done."""
        record = self.record
        if self.conflicts_with is not None:
            yield _CONFLICTS.format(key=self.conflicts_with)
        is_ahead = (
            self.standing is Standing.ABANDONED and record is not None and self.now < record.lease_until
        )
        yield self._fill(_AHEAD if is_ahead else _STATE[self.standing])
        if self.is_in_doubt and record is not None and record.doubt_until is not None:
            left = record.doubt_until - self.now
            yield "An earlier create may have happened." + (
                f" It may take effect for another {left:.0f} s." if left > 0 else ""
            )
        yield self._fill(self._next_delivery())
        error = self.last_error
        if error is not None:
            yield f"The last error was {error.code}: {error.message}"
            # What was in doubt may have been resolved since, and stops are never in doubt.
            is_settled = error.code in _OF_DOUBT and not self.is_in_doubt
            if self.standing is not Standing.GIVEN_UP and not is_settled:
                yield _advise(error)
        to_do = self._fill(_TO_DO[self.standing]) if self.conflicts_with is None else _OWN_KEY
        yield f"To do: {to_do}"
        yield from self._corrections()
        if self.is_in_doubt:
            yield self._fill(_RESOLVE)

    def _corrections(self) -> Iterator[str]:
        """Yield what the producer of a rejected request must change, before it sends the request again."""
        record = self.record
        if record is None or record.state is not State.REJECTED or record.event is None:
            return
        error = find_error(json.loads(record.event))
        if error is None or self.conflicts_with is not None:
            return
        yield "The producer must change:"
        if not error.violations:
            yield f"  the request, which was refused with {error.code}: {error.message}"
        for violation in error.violations:
            yield f"  {violation.pointer or 'the whole document'}: {violation.message} [{violation.rule}]"

    def _next_delivery(self) -> str:
        record = self.record
        is_known = record is not None and record.experiment_id is not None
        if is_known and self.standing in (Standing.ABANDONED, Standing.EXPIRED):
            return _KNOWN
        if record is not None and self.standing is Standing.ABANDONED:
            if self.action is Action.WAIT:
                return _NOT_DUE
            if record.doubt_until is None:
                return _CREATE
        return _NEXT[self.action]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the members of the record that help an operator, by name."""
        record = self.record
        if record is None:
            return
        yield "state", record.state.value
        yield "attempts", f"{record.attempts} of {self.most_attempts}"
        yield "first claimed", format_time(record.claimed_at)
        is_open = record.state is State.IN_PROGRESS
        # The lease of a message that ended is over, although its time may still be ahead.
        if is_open:
            is_held = self.standing is Standing.HELD
            yield "claim ends" if is_held else "claim ended", format_time(record.lease_until)
        if record.experiment_id:
            yield "experiment", record.experiment_id
        if not is_open:
            yield "published", format_time(record.published_at) if record.published_at else "no"
            yield "remembered until", format_time(record.expires_at)
        yield "owner", record.owner

    def as_json(self) -> JsonObject:
        """Return the explanation and the record for machines."""
        record = self.record
        members: JsonObject | None = None
        if record is not None:
            members = {
                "state": record.state.value,
                "fingerprint": record.fingerprint,
                "attempts": record.attempts,
                "claimedAt": record.claimed_at,
                "leaseUntil": record.lease_until,
                "doubtUntil": record.doubt_until,
                "expiresAt": record.expires_at,
                "publishedAt": record.published_at,
                "experimentId": record.experiment_id,
                "generation": record.generation,
                "lastError": None if record.last_error is None else json.loads(record.last_error),
                "owner": record.owner,
            }
        lines: list[JsonValue] = [*self.lines()]
        return {
            "key": self.key,
            "conflictsWith": self.conflicts_with,
            "standing": self.standing.value,
            "nextDelivery": self.action.value,
            "explanation": lines,
            "record": members,
            "event": self.event,
        }

    def _fill(self, text: str) -> str:
        record = self.record
        if record is None:
            return text.format(key=self.key)
        return text.format(
            key=self.key,
            ended=name_end(record),
            attempts=count_of(record.attempts, "attempt"),
            not_due=record.not_before - self.now,
            experiment_id=record.experiment_id,
            lease_left=record.lease_until - self.now,
            lease_over=self.now - record.lease_until,
        )


def _advise(error: EventError) -> str:
    """Return what to do about the last error of a message that is not given up."""
    is_of_service = error.service is not None and error.code in documented_codes()
    if error.code in ADVICE and not is_of_service:
        return ADVICE[error.code]
    kind = kind_of_code(error.code, (error.service and error.service.http_status) or 0)
    return _UNDOCUMENTED if kind is None else _ANSWERS.get(kind, _FIX)


def explain_record(key: str, record: Record | None, now: float, settings: Settings) -> Explanation:
    """Return the explanation of `record`, which belongs to `key`, at `now` in seconds since the epoch."""
    return Explanation(key, record, now, settings.max_attempts)


def explain_request(
    find: Callable[[str], Record | None], key: str, fingerprint: str | None, now: float, settings: Settings
) -> Explanation:
    """Return the explanation of the record of `key`, or of the request's refusal if another request has its key.

    `find` returns the record of a key. `fingerprint` is None if only the key of the request is known.
    """
    record = find(key)
    if record is None or fingerprint is None or fingerprint == record.fingerprint:
        return explain_record(key, record, now, settings)
    refusal = derive_conflict_key(key, fingerprint)
    return Explanation(refusal, find(refusal), now, settings.max_attempts, key)


def read_event(record: Record | None) -> JsonObject | None:
    """Return the event that `record` stores, or None if there is none."""
    if record is None or record.event is None:
        return None
    event: JsonObject = json.loads(record.event)
    return event


def name_end(record: Record) -> str:
    """Return how a message ended: what the type of its event says, or else its state."""
    return outcome_of(json.loads(record.event or "{}")) or _ENDED.get(record.state, "")


def format_time(seconds: float) -> str:
    """Return a time in seconds since the epoch as text, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
