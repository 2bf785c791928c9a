"""The messages of one event: concurrent, bounded, same key one after the other, none begun too late."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fcruntime.dataclass import dataclass
from fcruntime.triggers import Message, Undecodable
from hpoq.clock import Clock
from hpoq.contract.events import EventError
from hpoq.observability.measures import timed
from hpoq.processing.intake import Intake, take_in
from hpoq.processing.limits import Limits
from hpoq.processing.outcome import Outcome, Result

_NOT_BEGUN = EventError(
    code="DeadlineNear", message="not begun: the invocation's time was nearly over", retryable=True
)
# Messages that are looked up together; Tablestore reads no more rows at once.
_SLICE = 100


@dataclass(frozen=True)
class Batch:
    """How the messages of an event are run."""

    process: Callable[[Intake], Result]  # must not raise
    clock: Clock
    limits: Limits
    concurrency: int
    take_in: Callable[[Message | Undecodable], Intake] = take_in
    look_ahead: Callable[[Sequence[Intake]], None] = lambda _: None  # must not raise

    def run(self, items: Sequence[Message | Undecodable]) -> list[tuple[Intake, Result]]:
        """Process all, and return what was made of them in the same order."""
        if len(items) == 1 or self.concurrency == 1:
            return [(intake, self._one(intake)) for intake in self._taken_in(items)]
        intakes: list[Intake] = []
        with ThreadPoolExecutor(min(self.concurrency, len(items) or 1), "hpoq") as pool:
            lanes = _Lanes(pool, self._one)
            for intake in self._taken_in(items):
                intakes.append(intake)
                lanes.add(intake)
        return list(zip(intakes, lanes.results(), strict=True))

    def _taken_in(self, items: Sequence[Message | Undecodable]) -> Iterator[Intake]:
        """Slice by slice, so that the first messages are on their way while the others are still being read."""
        begin, end = 0, self.concurrency
        while begin < len(items):
            with timed("decode", self.clock):
                intakes = [self.take_in(item) for item in items[begin:end]]
            self.look_ahead(intakes)
            yield from intakes
            begin, end = end, end + _SLICE

    def _one(self, intake: Intake) -> Result:
        if self.clock.monotonic() + self.limits.start_seconds > self.limits.calls_end_at:
            return Result(Outcome.RETRY, intake.key, intake.message_id, error=_NOT_BEGUN)
        return self.process(intake)


class _Lanes:
    """Workers of a pool; messages of one key wait for each other."""

    def __init__(self, pool: ThreadPoolExecutor, process: Callable[[Intake], Result]) -> None:
        self._pool = pool
        self._process = process
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[int, Intake]]] = {}
        self._results: dict[int, Result] = {}
        self._workers: list[Future[None]] = []
        self._added = 0

    def add(self, intake: Intake) -> None:
        """Have it processed, after those of its key that were added before."""
        with self._lock:
            lane = self._waiting.get(intake.key)
            is_new = lane is None
            if lane is None:
                lane = self._waiting[intake.key] = deque()
            lane.append((self._added, intake))
        self._added += 1
        if is_new:
            self._workers.append(self._pool.submit(contextvars.copy_context().run, self._work, intake.key))

    def _work(self, key: str) -> None:
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
        """Of all, in the order in which they were added; waits for them."""
        for worker in self._workers:
            worker.result()
        return [self._results[index] for index in range(self._added)]
