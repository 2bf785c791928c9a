"""The time of the cloud: that of its source, and what it was advanced by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

_FOREIGN_SLICE_SECONDS = 0.01
# In the year 8307; dates end with 9999, and times are added to the present one.
_LATEST = 2e11


class TimeSource(Protocol):
    """Anything that tells the time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""


class CloudClock:
    """Drives visibility, retention, status walks and retries of one cloud.

    It follows `source`, or the machine's clock without one, and can be advanced on top of that. Waits end as
    soon as the clock is advanced far enough.
    """

    def __init__(self, changed: threading.Condition, source: TimeSource | None = None) -> None:
        self._changed = changed
        self._source: Callable[[], float] = time.time if source is None else source.now
        self._slice = None if source is None else _FOREIGN_SLICE_SECONDS
        self._advanced = 0.0

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._source() + self._advanced

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return round(self.now() * 1000)

    def advance(self, seconds: float) -> None:
        """Move the clock forward and wake whatever waits for it; raises ValueError for a step that cannot be."""
        if not seconds >= 0:
            raise ValueError("the clock of the cloud only moves forward")
        with self._changed:
            if self.now() + seconds > _LATEST:
                raise ValueError("the clock of the cloud cannot move on so far")
            self._advanced += seconds
            self._changed.notify_all()

    @property
    def advanced(self) -> float:
        """Seconds that it was advanced by in all."""
        return self._advanced

    def resume(self, moment: float, advanced: float) -> None:
        """Stand where a clock stood that showed `moment`, advanced by `advanced`, or later.

        Raises ValueError for what no clock shows.
        """
        if not (0 <= moment <= _LATEST and 0 <= advanced <= _LATEST):
            raise ValueError("the clock of the cloud cannot show such a time")
        with self._changed:
            self._advanced = max(advanced, moment - self._source())
            self._changed.notify_all()

    def is_near(self, moment: float, seconds: float) -> bool:
        """Whether `moment` lies within `seconds` of now.

        Advancing does not age requests, since their senders' clocks do not follow: a moment between the
        source's time and the advanced time is always near.
        """
        now = self.now()
        return now - self._advanced - seconds <= moment <= now + seconds

    def pause(self, seconds: float | None) -> None:
        """Wait until something changes or `seconds` are over, None for no limit; the lock must be held.

        May return earlier: callers look again. A foreign source cannot tell when it moves, so it is looked at
        often.
        """
        limits = [limit for limit in (seconds, self._slice) if limit is not None]
        self._changed.wait(max(0.0, min(limits)) if limits else None)


class Deadline:
    """A limit in seconds that passes with the cloud's clock or with real time, whichever is first.

    A frozen clock must not hold a caller for ever.
    """

    def __init__(self, clock: CloudClock, seconds: float) -> None:
        self._clock = clock
        self._at = clock.now() + seconds
        self._real_at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until it passes, zero or less once it has."""
        return min(self._at - self._clock.now(), self._real_at - time.monotonic())
