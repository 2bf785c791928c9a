"""A clock that stands still until a test advances it."""

from __future__ import annotations

import random
import threading
import uuid


class FakeClock:
    """A `Clock` for tests: `sleep` returns at once and advances the time; random numbers come from `seed`."""

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
        """Advance both clocks by `seconds`."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def suspend(self, seconds: float) -> None:
        """Advance only the wall clock, as when a machine is suspended."""
        with self._lock:
            self._now += seconds

    def new_id(self) -> str:
        with self._lock:
            return uuid.UUID(int=self._random.getrandbits(128), version=4).hex

    def random(self) -> float:
        with self._lock:
            return self._random.random()
