"""Many instances of the function in simulated time: a discrete-event simulation that runs the function's own code.

Each activity (an instance, a message of its batch) is a greenlet: a thread that runs until it waits. An activity that
sleeps on the simulation's clock lets the one that is due next go on, and time jumps to that moment. So the code of
the function runs unchanged, an hour of waiting costs nothing, and all steps have the same order in every run.

No lock may be held by an activity that waits. The function and the local cloud hold none.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from types import TracebackType

from greenlet import getcurrent, greenlet

from hpoq.testing import FakeClock


class SimulatedClock(FakeClock):
    """The clock of a simulation, with the schedule of its activities. `sleep` lets the others run."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._origin = self._now - self._monotonic
        self._due: list[tuple[float, int, greenlet]] = []
        self._numbers = itertools.count()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._schedule(self._monotonic + seconds, getcurrent())
            self.pause()

    def advance(self, seconds: float) -> None:
        """Run the other activities for `seconds`."""
        self.sleep(seconds)

    def start(self, work: Callable[[], object]) -> None:
        """Begin an activity at the present moment."""
        self.wake(greenlet(work))

    def wake(self, activity: greenlet) -> None:
        """Resume an activity at the present moment, after those that are due by now."""
        self._schedule(self._monotonic, activity)

    def pause(self) -> None:
        """Run the other activities until the present one is woken."""
        getcurrent().parent.switch()

    def run(self) -> None:
        """Run everything that was started, until nothing is left to do. Raises what an activity raises."""
        while self._due:
            self._monotonic, _, activity = heapq.heappop(self._due)
            # Not added up: short times would be lost in the large numbers of the wall clock.
            self._now = self._origin + self._monotonic
            activity.parent = getcurrent()
            activity.switch()

    def _schedule(self, moment: float, activity: greenlet) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), activity))


class _Work:
    """A call that an activity makes."""

    def __init__(self, clock: SimulatedClock, call: Callable[[], object]) -> None:
        self._clock = clock
        self._call = call
        self._value: object = None
        self._is_done = False
        self._waiting: list[greenlet] = []

    def perform(self) -> None:
        self._value = self._call()
        self._is_done = True
        for activity in self._waiting:
            self._clock.wake(activity)

    def result(self) -> object:
        """Wait until it is done, and return its result."""
        if not self._is_done:
            self._waiting.append(getcurrent())
            self._clock.pause()
        return self._value


class SimulatedPool:
    """What `hpoq.processing.batch` needs of a `ThreadPoolExecutor`, with activities as its threads."""

    def __init__(self, clock: SimulatedClock, most: int) -> None:
        self._clock = clock
        self._idle = most
        self._queue: deque[_Work] = deque()
        self._all: list[_Work] = []

    def submit(self, call: Callable[..., object], *given: object) -> _Work:
        """Make a call as soon as one of the threads is idle."""
        work = _Work(self._clock, lambda: call(*given))
        self._all.append(work)
        self._queue.append(work)
        if self._idle:
            self._idle -= 1
            self._clock.start(self._drain)
        return work

    def _drain(self) -> None:
        while self._queue:
            self._queue.popleft().perform()
        self._idle += 1

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for work in self._all:
            work.result()
