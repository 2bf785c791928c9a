"""Time and waiting: the lock of a cloud's state, its clock, and deadlines."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Changes(threading.Condition):
    """The lock of a cloud's state. It is held while state is read or changed, and notified of every change.

    `count` grows with each change. `closed` is True once no thread may wait for another change.
    """

    def __init__(self) -> None:
        super().__init__(threading.RLock())
        self.count = 0
        self.closed = False

    def notify_all(self) -> None:
        """Count a change, and wake all waiting threads."""
        self.count += 1
        super().notify_all()

    def run_unlocked(self, act: Callable[[], T]) -> T:
        """Run `act` in a thread without the lock, wait for its end, and return its result or raise its error.

        The lock must be held. It is released meanwhile, so that `act` may wait for something that needs it, such as
        an instance of a function that calls the cloud.
        """
        # Imported here: it takes 5 ms, and most clouds run no function.
        from concurrent.futures import Future

        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(act())
            # Every error is raised again in the thread that waits.
            except BaseException as exc:  # noqa: BLE001
                done.set_exception(exc)
            with self:
                super(Changes, self).notify_all()

        threading.Thread(target=run, name="alilocal-unlocked", daemon=True).start()
        while not done.done():
            self.wait()
        return done.result()


_FOREIGN_SLICE_SECONDS = 0.01
_SKEW_SECONDS = 900
# In the year 8307. Dates end in the year 9999, and other times are later than the present one.
LATEST = 2e11


class TimeSource(Protocol):
    """A source of time, such as a test's own clock.

    A source with a method `advance(seconds)` stands still until it is advanced. A long poll advances it instead of
    waiting in real time.
    """

    def now(self) -> float:
        """Return the seconds since the epoch, UTC."""


class CloudClock:
    """The clock of one cloud, on which visibility, retention, statuses and retries depend.

    It follows `source`, or the machine's clock without one, and can be advanced in addition. Waiting threads wake as
    soon as it is advanced far enough.
    """

    def __init__(self, changed: threading.Condition, source: TimeSource | None = None) -> None:
        self._changed = changed
        self._source: Callable[[], float] = _now if source is None else source.now
        self._move_source: Callable[[float], None] | None = getattr(source, "advance", None)
        self._slice = None if source is None else _FOREIGN_SLICE_SECONDS
        self._advanced = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch, UTC."""
        return self._source() + self._advanced

    def sent_at(self, asked_at: float | None = None) -> float:
        """Return the time that an answer carries, to a request that says it was sent at `asked_at`.

        Callers compare it with their own clocks. Those of functions follow when this one is advanced; others do not,
        so they get the time without the advance.
        """
        source = self._source()
        follows = asked_at is not None and asked_at - source > self._advanced / 2
        return source + self._advanced if follows else source

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch, UTC."""
        return round(self.now() * 1000)

    def advance(self, seconds: float) -> None:
        """Advance the clock and wake all waiting threads; raises ValueError for an invalid number of seconds."""
        if not seconds >= 0:
            raise ValueError("the cloud's clock only moves forward")
        with self._changed:
            if self.now() + seconds > LATEST:
                raise ValueError("the cloud's clock cannot be advanced so far")
            self._advanced += seconds
            self._changed.notify_all()

    @property
    def advanced(self) -> float:
        """The seconds by which it was advanced in total."""
        return self._advanced

    @property
    def is_advanced_by_callers(self) -> bool:
        """Whether a long poll advances the source instead of waiting in real time."""
        return self._move_source is not None

    def resume(self, moment: float, advanced: float) -> None:
        """Continue from a clock that showed `moment` and was advanced by `advanced`, but never before its source.

        Raises ValueError for invalid times.
        """
        if not (0 <= moment <= LATEST and 0 <= advanced <= LATEST):
            raise ValueError("the cloud's clock cannot show such a time")
        with self._changed:
            self._advanced = max(advanced, moment - self._source())
            self._changed.notify_all()

    def is_near(self, moment: float) -> bool:
        """Return whether `moment`, the date of a request, lies within the 15 minutes that all services accept.

        Advancing the clock does not make requests expire, because their senders' clocks do not follow: every moment
        between the source's time and the advanced time is near.
        """
        now = self.now()
        return now - self._advanced - _SKEW_SECONDS <= moment <= now + _SKEW_SECONDS

    def pause(self, seconds: float | None) -> None:
        """Wait for a change, for at most `seconds` unless they are None; the lock must be held.

        It may return early, so callers check again. A foreign source cannot report that it moves, so it is read in
        short intervals.
        """
        limits = [limit for limit in (seconds, self._slice) if limit is not None]
        self._changed.wait(max(0.0, min(limits)) if limits else None)

    def pause_caller(self, seconds: float) -> None:
        """Wait like `pause`, or advance a source that can be advanced by `seconds`."""
        if self._move_source is None:
            self.pause(seconds)
        else:
            self._move_source(max(0.0, seconds))
            self._changed.notify_all()


class Deadline:
    """A time limit that ends by the cloud's clock or in real time, whichever is first.

    The real time is a safeguard: a clock that stands still must not block a caller forever. It is not needed for a
    clock that a waiting caller advances.
    """

    def __init__(self, clock: CloudClock, seconds: float) -> None:
        self._clock = clock
        self._at = clock.now() + seconds
        self._real_at = math.inf if clock.is_advanced_by_callers else monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; zero or less once the limit has passed."""
        return min(self._at - self._clock.now(), self._real_at - monotonic())


def _now() -> float:
    # `time.time` is looked up at each call, so that a clock follows a library that freezes or moves it.
    return time.time()


def monotonic() -> float:
    """Return real time, as `time.monotonic` does, which libraries that freeze the time freeze too."""
    if hasattr(time, "clock_gettime"):
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()
