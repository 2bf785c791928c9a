"""Follow experiments to their ends, and stop them: what the processor needs for it.

    claim of a request ──▶ order      the record says what will be followed
    created event is out ▶ start      the first watch message; only then is the record marked as published
    watch message ───────▶ find_order what the records say, not the message
                     └───▶ check      the experiment (`watch`)
                     └───▶ send_next  the next watch message, with a higher number
    stop message ────────▶ stop       (`stop`)

**One chain.** Watch messages are numbered like messages that are sent back (`sendback`), and one with a lower number
than that in the record is dropped. So a copy starts no second chain, whether it comes from a redelivery, a redrive or
a created event that was published twice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass, replace
from hpoq.clock import Budget, Clock
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.smq import Smq
from hpoq.contract.events import EventError
from hpoq.contract.identity import WATCH, derive_key
from hpoq.errors import CallError, StoreError
from hpoq.idempotency.record import Record, State
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import traceparent
from hpoq.observability.redaction import redact_known
from hpoq.processing import lifecycle
from hpoq.processing.creation import GivenUp, Postponed, Refused, Stopped
from hpoq.processing.envelope import MOST_SEQUENCE, Envelope, seal
from hpoq.processing.ledger import Ledger, Opening
from hpoq.processing.lifecycle import Delivery
from hpoq.processing.outcome import as_event_error, log_configuration_fault, log_lasting_fault
from hpoq.processing.watchorder import (
    CheckAgain,
    CheckResult,
    WatchOrder,
    WatchSchedule,
    decode_order,
    encode_order,
    identify_watch,
    read_guard_limits,
)

if TYPE_CHECKING:
    from hpoq.contract.model import ExperimentRequest
    from hpoq.contract.stop import StopRequest
    from hpoq.processing.stop import StopNotes
    from hpoq.processing.watch import Watcher

_LONGEST_TEXT = 2_000
_NO_QUEUE = EventError(
    code="WatchQueueMissing",
    message="HPOQ_WATCH_QUEUE is not set, so this experiment cannot be followed; set HPOQ_WATCH_QUEUE to the queue "
    "of the watch messages",
    retryable=True,
)


@dataclass(frozen=True)
class WatchQueue:
    """Sends watch messages. `queue` is None if experiments are not followed."""

    queue_client: Callable[[], Smq]
    queue: str | None
    namespace: str
    budget: Budget

    def send(self, order: WatchOrder, *, sequence: int, delay: float) -> None:
        """Send the watch message for `order` that has the number `sequence`. Raises CallError."""
        key = derive_key(WATCH, order.identity, self.namespace)
        envelope = Envelope(WATCH, order.identity, key, encode_order(order).encode(), sequence)
        self.queue_client().send_message(
            self.queue or "", seal(envelope), delay_seconds=math.ceil(delay), budget=self.budget
        )


class Follower:
    """Follows and stops experiments in one invocation. Safe for threads."""

    def __init__(
        self,
        client: PaiAutoMl,
        ledger: Ledger,
        queue: WatchQueue,
        clock: Clock,
        schedule: WatchSchedule,
        place: str | None = None,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._schedule = schedule
        self._place = place
        self._watcher: Watcher | None = None
        self._lock = threading.Lock()

    def order(self, key: str, message_id: str | None, request: ExperimentRequest) -> str | None:
        """Return the order to follow the experiment of `request`, or None if experiments are not followed."""
        if self._queue.queue is None:
            return None
        from hpoq.contract.rules import find_optimize_mode

        experiment = request.experiment
        config = experiment.hpo_experiment_configuration
        run = None if config is None else config.yml_config
        shown = (request.idempotency_key, experiment.name, experiment.workspace_id)
        producer_key, name, workspace_id = (text and redact_known(text)[:_LONGEST_TEXT] for text in shown)
        order = WatchOrder(
            key,
            "",
            0.0,
            None if run is None else find_optimize_mode({"yml_config": run.wire()}),
            None if request.guard is None else read_guard_limits(request.guard.wire()),
            message_id,
            producer_key,
            name,
            workspace_id,
            traceparent(),
        )
        return encode_order(order)

    def complete_order(self, claim: Record, experiment_id: str, now: float) -> str | None:
        """Return the order of `claim` with its experiment, created `now`, or None if it is not followed."""
        order = None if claim.watch_order is None else decode_order(claim.watch_order)
        if order is None:
            return None
        first = now + self._schedule.min_seconds
        return encode_order(
            replace(order, experiment_id=experiment_id, created_at=now, next_at=first, place=claim.place)
        )

    def start(self, record: Record) -> EventError | None:
        """Send the first watch message of a created experiment; return the error if that failed, or None.

        Without a queue the experiment is not followed any more, unless it has a guard: its message then waits for
        the queue, because nothing else would stop the experiment.
        """
        order = None if record.watch_order is None else decode_order(record.watch_order)
        if order is None:
            return None
        if self._queue.queue is None:
            if order.guard is not None:
                log_configuration_fault(_NO_QUEUE)
                return _NO_QUEUE
            get_logger().error("watch.not-started", experiment_id=record.experiment_id)
            return None
        try:
            self._queue.send(order, sequence=0, delay=self._schedule.min_seconds)
        except CallError as exc:
            _log_failed_send(exc)
            return as_event_error(exc)
        return None

    def find_result(self, record: Record) -> str | None:
        """Return the published finished event of the experiment of `record`, or None. Raises StoreError."""
        if record.watch_order is None or record.experiment_id is None:
            return None
        identity = identify_watch(record.key, record.experiment_id)
        watched = self._ledger.get(derive_key(WATCH, identity, self._queue.namespace))
        if watched is None or watched.state is not State.COMPLETED or watched.published_at is None:
            return None
        return watched.event

    def find_order(self, asked: WatchOrder, watched: Record) -> WatchOrder | None:
        """Return the recorded order for the experiment that a watch message names, or None if there is none.

        Anybody who may send to a queue can write a watch message, so it only names the experiment. Its record,
        `watched`, has the order from the first check on; until then the record of its request has it.

        A message without a recorded order is rejected: kept instead, it could hold up the other messages of its event
        forever. A genuine one is rejected only if the store has lost the record, or forgot it before the first check.
        It is in the dead-letter queue then, and its rejection is not final (`reopen`). Raises StoreError.
        """
        text = watched.watch_order
        if text is None:
            requested = self._ledger.get(asked.key)
            text = None if requested is None else requested.watch_order
        order = None if text is None else decode_order(text)
        return order if order is not None and order.identity == asked.identity else None

    def reopen(self, opening: Opening, delivery: Delivery, asked: WatchOrder) -> Opening:
        """Claim the record of a watch message that was rejected, if an order is recorded now; return its opening.

        A watch message that came before its request had its experiment must not end the chain that the request
        starts later. Raises StoreError.
        """
        record = opening.record
        if record.state is not State.REJECTED or not self.find_order(asked, record):
            return opening
        return self._ledger.take_over(record, delivery)

    def check(self, order: WatchOrder, budget: Budget) -> CheckResult:
        """Check the experiment of `order`. Raises StoreError."""
        with self._lock:
            if self._watcher is None:
                from hpoq.processing.watch import Watcher  # for watch messages only

                consistency = self._ledger.terms.consistency
                self._watcher = Watcher(
                    self._client, self._open_notes(), self._clock, self._schedule, consistency, self._place
                )
        return self._watcher.check(order, budget)

    def _open_notes(self) -> StopNotes:
        from hpoq.processing.stop import StopNotes  # for watch and stop messages only

        return StopNotes(self._ledger, self._clock, self._queue.namespace)

    def send_next(
        self, checked: CheckAgain, claim: Record, delivery: Delivery
    ) -> tuple[EventError | None, Record | None]:
        """Send the next watch message; return the error and the record if the present one must be retried.

        Raises StoreError.
        """
        released = replace(
            lifecycle.release(claim, None, self._client.present_time(), counts=True),
            watch_order=encode_order(checked.order),
            experiment_id=checked.order.experiment_id,
        )
        if self._queue.queue is None:
            log_configuration_fault(_NO_QUEUE)
            return _NO_QUEUE, self._ledger.save(released, claim.version)
        sequence = min(lifecycle.next_sequence(claim, delivery), MOST_SEQUENCE)
        try:
            self._queue.send(checked.order, sequence=sequence, delay=checked.delay)
        except CallError as exc:
            _log_failed_send(exc)
            return as_event_error(exc), self._ledger.save(released, claim.version)
        try:
            self._ledger.save(replace(released, sequence=sequence), claim.version)
        except StoreError as exc:
            # The next message is in the queue and continues the chain. A copy of this one would send a second one
            # with the same number, and the next send merges the two.
            get_logger().warning("requeue.unrecorded", error=str(exc))
        return None, None

    def stop(
        self, request: StopRequest, claim: Record, budget: Budget
    ) -> Stopped | Refused | Postponed | GivenUp:
        """Carry out a stop message. Raises StoreError."""
        from hpoq.processing.stop import Stopper  # few messages are stops

        stopper = Stopper(self._client, self._ledger, self._open_notes(), self._clock, self._place)
        return stopper.stop(request, claim, budget)


def _log_failed_send(exc: CallError) -> None:
    if not log_lasting_fault(exc):
        get_logger().error("watch.send-failed", error=str(exc))
