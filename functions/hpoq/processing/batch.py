"""The messages of one event: concurrent, bounded, same key one after the other, none begun too late."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fcruntime.dataclass import dataclass
from hpoq.clock import Clock
from hpoq.contract.events import EventError
from hpoq.processing.intake import Intake
from hpoq.processing.limits import Limits
from hpoq.processing.outcome import Outcome, Result

_NOT_BEGUN = EventError(
    code="DeadlineNear", message="not begun: the invocation's time was nearly over", retryable=True
)


@dataclass(frozen=True)
class Batch:
    """How the messages of an event are run."""

    process: Callable[[Intake], Result]  # must not raise
    clock: Clock
    limits: Limits
    concurrency: int
    look_ahead: Callable[[Sequence[Intake]], None] = lambda _: None  # must not raise

    def run(self, intakes: Sequence[Intake]) -> list[Result]:
        """Process all, and return their results in the same order. Messages of one key share a worker."""
        self.look_ahead(intakes)
        groups: dict[str, list[int]] = {}
        for index, intake in enumerate(intakes):
            groups.setdefault(intake.key, []).append(index)
        results: dict[int, Result] = {}

        def work(indexes: list[int]) -> None:
            for index in indexes:
                results[index] = self._one(intakes[index])

        self._spread(work, list(groups.values()))
        return [results[index] for index in range(len(intakes))]

    def _spread(self, work: Callable[[list[int]], None], groups: list[list[int]]) -> None:
        if len(groups) == 1 or self.concurrency == 1:
            for group in groups:
                work(group)
            return
        with ThreadPoolExecutor(min(self.concurrency, len(groups) or 1), "hpoq") as pool:
            futures = [pool.submit(contextvars.copy_context().run, work, group) for group in groups]
            for future in futures:
                future.result()

    def _one(self, intake: Intake) -> Result:
        if self.clock.monotonic() + self.limits.start_seconds > self.limits.calls_end_at:
            return Result(Outcome.RETRY, intake.key, intake.message_id, error=_NOT_BEGUN)
        return self.process(intake)
