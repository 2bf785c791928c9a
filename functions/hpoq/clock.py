"""Time, waiting and chance: whatever a test must own enters the function here."""

from __future__ import annotations

import random
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """Where time, waiting and chance come from."""

    def now(self) -> float:
        """Wall-clock time, in seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait; a negative time does not wait."""

    def new_id(self) -> str:
        """A fresh random id of 32 hexadecimal digits."""

    def random(self) -> float:
        """A number drawn uniformly from [0, 1)."""


_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's own clock and random source."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # Unlike Linux's CLOCK_MONOTONIC, this one goes on while the machine is suspended.
        return time.monotonic() if _BOOT_TIME is None else time.clock_gettime(_BOOT_TIME)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not secrecy
