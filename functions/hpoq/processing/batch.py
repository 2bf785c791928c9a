"""Process the messages of one event.

They are processed concurrently, and those of one key one after another; a stop counts as one of the key that it
names. While the service throttles, a message that needs a create waits for its turn, and no message is begun when too
little of the invocation's time is left.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fcruntime.dataclass import dataclass
from fcruntime.triggers import Message, Undecodable
from fcruntime.triggers.sources import HTTP, INVOCATION
from hpoq.clock import Clock, Limits
from hpoq.contract.events import EventError
from hpoq.observability.measures import measure_time
from hpoq.processing.intake import Intake, Ready, Stop
from hpoq.processing.outcome import Result, make_retry
from hpoq.processing.pace import Pace
from hpoq.processing.processor import Processor

_NOT_BEGUN = EventError(
    code="DeadlineNear", message="not begun: the invocation's time was nearly over", retryable=True
)
_HELD_BACK = EventError(
    code="HeldBack",
    message="the service throttles; nothing was sent, and the message is tried again later",
    retryable=True,
)
# The caller of these waits for the answer, and can send the message again.
_CALLS = (HTTP.kind, INVOCATION)
_CALL_SECONDS = 10.0
# Messages that are looked up together; Tablestore reads no more rows at once.
_SLICE = 100


@dataclass(frozen=True)
class Batch:
    """Processes the messages of an event."""

    processor: Processor
    clock: Clock
    limits: Limits
    concurrency: int
    pace: Pace
    read_message: Callable[[Message | Undecodable], Intake]  # must not raise

    def run(self, items: Sequence[Message | Undecodable]) -> list[tuple[Intake, Result]]:
        """Process all items, and return each one's intake and result in the same order."""
        intakes: list[Intake] = []
        if len(items) == 1 or self.concurrency == 1:
            results: list[Result] = []
            for intake in self._read_slices(items):
                intakes.append(intake)
                results.append(self._process_in_time(intake))
            return list(zip(intakes, results, strict=True))
        with ThreadPoolExecutor(self.concurrency, "hpoq") as pool:
            lanes = _Lanes(pool, self._process_in_time)
            for intake in self._read_slices(items):
                intakes.append(intake)
                lanes.add(intake)
        return list(zip(intakes, lanes.results(), strict=True))

    def _read_slices(self, items: Sequence[Message | Undecodable]) -> Iterator[Intake]:
        """Read the items in slices, so that the first messages are processed while the others are being read."""
        begin, end = 0, self.concurrency
        while begin < len(items):
            with measure_time("decode", self.clock):
                intakes = [self.read_message(item) for item in items[begin:end]]
            self.processor.look_ahead(intakes)
            yield from intakes
            begin, end = end, end + _SLICE

    def _process_in_time(self, intake: Intake) -> Result:
        delivery, latest_start = intake.delivery, self.limits.calls_end_at - self.limits.start_seconds
        if isinstance(intake, Ready) and not self._wait_for_turn(intake, latest_start):
            return self.processor.hold_back(delivery, make_retry(delivery, _HELD_BACK, throttled=True))
        if self.clock.monotonic() > latest_start:
            return make_retry(delivery, _NOT_BEGUN)
        return self.processor.process(intake)

    def _wait_for_turn(self, intake: Ready, latest_start: float) -> bool:
        """Wait until the request may be sent to the service; return False if no turn comes in time.

        It waits before the claim, so that no lease ends meanwhile. A message that needs no create does not wait.
        """
        if (
            intake.request.dry_run
            or self.pace.take_turn()
            or not self.processor.needs_create(intake.delivery)
        ):
            return True
        ends_at = latest_start
        if intake.envelope.kind in _CALLS:
            ends_at = min(latest_start, self.clock.monotonic() + _CALL_SECONDS)
        return self.pace.wait_for_turn(ends_at)


class _Lanes:
    """Processes messages in a pool of threads, those of one key one after another."""

    def __init__(self, pool: ThreadPoolExecutor, process: Callable[[Intake], Result]) -> None:
        self._pool = pool
        self._process = process
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[int, Intake]]] = {}
        self._results: dict[int, Result] = {}
        self._workers: list[Future[None]] = []
        self._added = 0

    def add(self, intake: Intake) -> None:
        """Queue a message behind those of its key that were added before."""
        keys = intake.about if isinstance(intake, Stop) and intake.about else (intake.delivery.key,)
        with self._lock:
            key = next((one for one in keys if one in self._waiting), keys[0])
            lane = self._waiting.get(key)
            is_new = lane is None
            if lane is None:
                lane = self._waiting[key] = deque()
            lane.append((self._added, intake))
        self._added += 1
        if is_new:
            run, begun = contextvars.copy_context().run, threading.Lock()
            try:
                self._workers.append(self._pool.submit(run, self._work, key, begun))
            except RuntimeError:
                # No more threads can be started. The pool keeps the work, but may have no thread for it.
                self._work(key, begun)

    def _work(self, key: str, begun: threading.Lock) -> None:
        if not begun.acquire(blocking=False):
            return
        while (waiting := self._next(key)) is not None:
            index, intake = waiting
            self._results[index] = self._process(intake)

    def _next(self, key: str) -> tuple[int, Intake] | None:
        with self._lock:
            lane = self._waiting[key]
            if lane:
                return lane.popleft()
            del self._waiting[key]
            return None

    def results(self) -> list[Result]:
        """Wait for all messages, and return their results in the order in which they were added."""
        for worker in self._workers:
            worker.result()
        return [self._results[index] for index in range(self._added)]
