"""Send messages back to their queue, and put messages into the dead-letter queue.

A message sent back is numbered, because a queue that delivers at least once may make copies at any time. Its record
keeps the newest number that is known to be in the queue: an older copy is dropped, and one that comes early waits, so
that copies merge. The number is recorded after the send: a crash in between leaves two copies with one number, which
the next send merges. While the store is down no number is recorded, so the delays grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fcruntime.dataclass import dataclass, replace
from hpoq.clock import Budget, Clock
from hpoq.cloud.smq import Smq, fits
from hpoq.contract.identity import WATCH
from hpoq.errors import CallError, StoreError
from hpoq.idempotency.record import State
from hpoq.observability.logs import bind_context, get_logger
from hpoq.observability.measures import count
from hpoq.observability.redaction import known_secrets, redact
from hpoq.observability.secret_names import find_secrets
from hpoq.processing import lifecycle
from hpoq.processing.envelope import MOST_SEQUENCE, Envelope, seal
from hpoq.processing.intake import Intake
from hpoq.processing.ledger import Ledger
from hpoq.processing.outcome import Retry, log_lasting_fault
from hpoq.processing.pace import Pace

# What a redrive and the sends after it can add to an envelope: `redriven`, `renewed` and a longer `sequence`.
_RESERVED_BYTES = 100
# No time of an envelope is longer for three centuries.
_LONGEST_TIME = 9_999_999_999.999
# The end of a lease may come from a clock that was ahead.
_LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Sealed:
    """A message that must be retried, ready to be sent back.

    `since` is when it was first delivered, or redriven. `tried_since` is the same, or infinite if the age of its
    record decides how long it is tried.
    """

    intake: Intake
    result: Retry
    sequence: int
    since: float
    tried_since: float
    body: bytes


@dataclass(frozen=True)
class SendBack:
    """Sends messages back to their queue, in their envelopes.

    If the store or the topic was unavailable for as long as a message may be tried, the message cannot be recorded as
    failed, or its event cannot be published. It then goes to the dead-letter queue instead.
    """

    queue_client: Callable[[], Smq]
    queue: str
    dead_letter_queue: str | None
    ledger: Ledger
    clock: Clock
    budget: Budget
    pace: Pace
    watch_queue: str | None = None

    def seal(self, intake: Intake, result: Retry) -> Sealed | None:
        """Return the message ready to be sent back, or None if it cannot be sent back.

        It cannot if it is too large, if it cannot be sent as it was delivered, or if it is too old and there is no
        dead-letter queue. Its source keeps it then, and the source's own dead-letter setting applies.
        """
        envelope = intake.envelope
        if envelope is None:
            return None
        record = result.record
        # The store may lose the record of a claim that it could not save. Whoever then finds none must not take the
        # copy for a message that was never processed.
        sequence = max(envelope.sequence, 1) if result.was_claimed else envelope.sequence
        if record is not None:
            sequence = min(lifecycle.next_sequence(record, intake.delivery), MOST_SEQUENCE)
            # The redrive has had its effect: from here on this is a copy like any other.
            envelope = replace(envelope, redriven=False)
        # The claim of a watch message may be weeks old: each check of its experiment sends a new one.
        first = record.claimed_at if record is not None and envelope.kind != WATCH else self.clock.now()
        since = envelope.since or first
        envelope = replace(envelope, sequence=sequence, since=since)
        body = seal(envelope)
        renewed = max(since, envelope.renewed or 0.0)
        # What is in progress is given up by its record's age, with an event.
        is_given_up_elsewhere = record is not None and record.state is State.IN_PROGRESS
        tried_since = math.inf if is_given_up_elsewhere else renewed
        if self._is_too_old(tried_since) and self.dead_letter_queue is None:
            return None
        # One that is too large to be given up would be sent back forever. Its source keeps it instead.
        can_be_given_up = _can_be_redriven(envelope, body)
        return Sealed(intake, result, sequence, renewed, tried_since, body) if can_be_given_up else None

    def _is_too_old(self, tried_since: float) -> bool:
        """Return whether a message has been tried for longer than one whose request is in progress would be."""
        return self.clock.now() - tried_since > 2 * self.ledger.terms.max_age

    def send(self, sealed: Sealed) -> bool:
        """Send a message back; returns whether it is in its queue again."""
        intake, record, now = sealed.intake, sealed.result.record, self.clock.now()
        is_watch = intake.envelope is not None and intake.envelope.kind == WATCH
        delay = math.ceil(self._choose_delay(sealed, now, is_watch=is_watch))
        dead_letter_queue = self.dead_letter_queue if self._is_too_old(sealed.tried_since) else None
        own_queue = self.watch_queue if is_watch and self.watch_queue is not None else self.queue
        queue, delay = (own_queue, delay) if dead_letter_queue is None else (dead_letter_queue, 0)
        # The key of the message's other lines, which for a watch message is that of its request.
        names = {"key": sealed.result.key, "message_id": intake.delivery.message_id}
        log = get_logger().bind(**names)
        try:
            self.queue_client().send_message(queue, sealed.body, delay_seconds=delay, budget=self.budget)
        except CallError as exc:
            log.error("requeue.failed", error=_describe(exc, sealed.body))
            with bind_context(**names):
                _log_lasting_fault(exc, sealed.body)
            return False
        if dead_letter_queue is not None:
            count("dead_lettered")
            log.warning("message.dead-lettered", queue=queue)
        else:
            count("requeued")
            log.info("message.requeued", queue=queue, sequence=sealed.sequence, delay_seconds=delay)
        if record is not None:
            numbered = lifecycle.mark_sent_back(record, sealed.sequence, now + delay)
            try:
                self.ledger.save(numbered, record.version)
            except StoreError as exc:
                # Either the next delivery holds the key already, or two copies share a number until the next send.
                log.warning("requeue.unrecorded", error=str(exc))
        return True

    def _choose_delay(self, sealed: Sealed, now: float, *, is_watch: bool) -> float:
        record, terms, tried = sealed.result.record, self.ledger.terms, now - sealed.since
        if sealed.result.throttled and not is_watch:
            delay = lifecycle.throttled_delay(tried, self.pace.idle_seconds(), terms, self.clock.random())
            return delay if record is None else max(delay, lifecycle.early_seconds(record, now))
        if sealed.result.unrecorded:
            # Its copies are not numbered and therefore do not merge, so a longer delay means fewer copies.
            return lifecycle.throttled_delay(tried, tried, terms, self.clock.random())
        if record is None or is_watch:
            # Most attempts of a watch message are checks that did not fail, so they must not lengthen the delay.
            # Copies that wait for another delivery are not numbered, so they come back when its lease is over: more
            # often would mean more copies.
            return max(terms.delay, min(sealed.result.due - now, _LONGEST_WAIT_SECONDS))
        return lifecycle.retry_delay(record, terms, now)


@dataclass(frozen=True)
class DeadLetters:
    """Puts messages that are given up into the dead-letter queue, whole and under their keys."""

    queue_client: Callable[[], Smq]
    queue: str | None
    budget: Budget

    def put(self, envelope: Envelope | None, since: float) -> bool:
        """Put the message, first delivered at `since`, into the dead-letter queue; return whether it may now end.

        Return False if it is too large even compressed, or too large to be redriven: its source keeps it.
        """
        if self.queue is None or envelope is None:
            return True
        envelope = replace(envelope, since=envelope.since or since)
        body = seal(envelope)
        if not _can_be_redriven(envelope, body):
            get_logger().error("deadletter.too-large", size=len(body))
            return False
        try:
            self.queue_client().send_message(self.queue, body, budget=self.budget)
        except CallError as exc:
            get_logger().error("deadletter.failed", error=_describe(exc, body))
            _log_lasting_fault(exc, body)
            return False
        count("dead_lettered")
        get_logger().warning("message.dead-lettered", queue=self.queue)
        return True


def _can_be_redriven(envelope: Envelope, body: bytes) -> bool:
    """Return whether `envelope`, sealed as `body`, fits into a queue with all that a redrive and later sends add."""
    if fits(body + bytes(_RESERVED_BYTES)):
        return True
    largest = replace(envelope, sequence=MOST_SEQUENCE, redriven=True, renewed=_LONGEST_TIME)
    return fits(seal(largest))


def _describe(exc: CallError, body: bytes) -> str:
    """Return what went wrong with sending the envelope `body`, without its secrets, which the service may quote."""
    return redact(str(exc), find_secrets(body.decode()))


def _log_lasting_fault(exc: CallError, body: bytes) -> None:
    with known_secrets(find_secrets(body.decode())):
        log_lasting_fault(exc)
