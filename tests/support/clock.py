"""Clocks for what `hpoq.testing.FakeClock` cannot do; a test that needs none of it uses that one."""

from __future__ import annotations

import math
from collections.abc import Callable

import alilocal
from hpoq.clock import SystemClock
from hpoq.testing import FakeClock

# Added to a moment that the clock moves to, since a sum of floats may fall short of it.
_TICK = 1e-6


class WorldClock(FakeClock):
    """A `FakeClock` that, as it moves, carries out every due action and late request at its own moment."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.cloud: alilocal.LocalCloud | None = None
        self._actions: list[tuple[float, Callable[[], object]]] = []

    def call_at(self, moment: float, action: Callable[[], object]) -> None:
        """Call `action` when the clock reaches `moment`."""
        with self._lock:
            self._actions.append((moment, action))

    def advance(self, seconds: float) -> None:
        """Move both clocks by `seconds`, which may be negative, and do what is due until then."""
        if seconds < 0:
            super().advance(seconds)
            return
        end = self.now() + seconds
        while (moment := self._next_due()) <= end:
            super().advance(max(0.0, moment - self.now()) + _TICK)
            self._run_due()
        super().advance(max(0.0, end - self.now()))

    def _next_due(self) -> float:
        late = self.cloud.late if self.cloud else ()
        with self._lock:
            return min([*late, *(moment for moment, _ in self._actions)], default=math.inf)

    def _run_due(self) -> None:
        with self._lock:
            due = sorted((one for one in self._actions if one[0] <= self._now), key=lambda one: one[0])
            self._actions = [one for one in self._actions if one not in due]
        for _, action in due:
            action()
        if self.cloud:
            self.cloud.deliver_late()


class SkewedClock:
    """A shared clock as an instance sees it whose own wall clock is `offset` seconds ahead."""

    def __init__(self, clock: FakeClock, offset: float) -> None:
        self._clock = clock
        self._offset = offset

    def now(self) -> float:
        return self._clock.now() + self._offset

    def set(self, offset: float) -> None:
        """Set the wall clock `offset` seconds ahead of the shared one."""
        self._offset = offset

    def __getattr__(self, name: str) -> object:
        return getattr(self._clock, name)


class ShiftedClock(SystemClock):
    """The machine's clock, `offset` seconds ahead, for real sockets and processes.

    Time goes on by itself, and sleeping moves it on at once. Random numbers are always `chance`.
    """

    def __init__(self, offset: float = 0.0, *, chance: float = 0.5) -> None:
        self.slept: list[float] = []
        self._wall = offset
        self._monotonic = 0.0
        self._chance = chance

    def now(self) -> float:
        return super().now() + self._wall

    def monotonic(self) -> float:
        return super().monotonic() + self._monotonic

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move both clocks on by `seconds`."""
        self._wall += seconds
        self._monotonic += seconds

    def suspend(self, seconds: float) -> None:
        """Move the wall clock alone on, as while a machine is suspended."""
        self._wall += seconds

    def random(self) -> float:
        return self._chance


class FixedChanceClock(FakeClock):
    """A `FakeClock` whose random numbers are always `chance`, and whose `slept` also has waits of no time."""

    def __init__(self, now: float = 100.0, *, chance: float = 1.0) -> None:
        super().__init__(now)
        self._chance = chance

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def random(self) -> float:
        return self._chance


def give_commands_the_clock_of(cloud, monkeypatch):
    """Let commands in this process go by a cloud's clock. A pause moves it and takes no time."""
    for method in ("now", "monotonic"):
        monkeypatch.setattr(SystemClock, method, lambda _: cloud.clock.now())
    monkeypatch.setattr(SystemClock, "sleep", lambda _, seconds: cloud.clock.advance(max(0, seconds)))
