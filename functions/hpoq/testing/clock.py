"""A clock that stands still until it is told to go."""

from __future__ import annotations

import random
import threading
import uuid


class FakeClock:
    """A `Clock` under test control: `sleep` returns at once and moves the time on; chance is seeded."""

    def __init__(self, now: float = 1_800_000_000.0, *, seed: int = 0) -> None:
        self._now = now
        self._monotonic = 1000.0
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks on by `seconds`."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def suspend(self, seconds: float) -> None:
        """Let the wall clock alone go on, as while a machine is suspended."""
        with self._lock:
            self._now += seconds

    def new_id(self) -> str:
        with self._lock:
            return uuid.UUID(int=self._random.getrandbits(128), version=4).hex

    def random(self) -> float:
        with self._lock:
            return self._random.random()
