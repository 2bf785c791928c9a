"""Time and randomness, and how long work may still take.

Whatever a test must control comes from a `Clock`: both clocks, waiting, random ids and random numbers. A `Budget`
travels with the work down to the connection that sends a request.
"""

from __future__ import annotations

import math
import os
import random
import time
from functools import partial
from typing import Protocol

from fcruntime.context import Deadline
from fcruntime.dataclass import dataclass


class Clock(Protocol):
    """The source of time, waiting and randomness."""

    def now(self) -> float:
        """Return the wall-clock time in seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back; only differences between them mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; return at once if they are negative."""

    def new_id(self) -> str:
        """Return a new random id of 32 hexadecimal digits."""

    def random(self) -> float:
        """Return a random number from [0, 1), uniformly distributed."""


_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's own clocks and random source."""

    # The functions themselves, without a method around them: a message reads the clocks forty times.
    now = staticmethod(time.time)
    # Unlike Linux's CLOCK_MONOTONIC, CLOCK_BOOTTIME continues while the machine is suspended.
    monotonic = staticmethod(
        time.monotonic if _BOOT_TIME is None else partial(time.clock_gettime, _BOOT_TIME)
    )

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def new_id(self) -> str:
        return os.urandom(16).hex()

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not secrecy


@dataclass(frozen=True)
class Budget:
    """How long work may still take, and when it is too late to send anything for it.

    It ends at `ends_at` of the monotonic clock or at `wall_ends_at` of the wall clock (seconds since the epoch),
    whichever comes first. Two ends are needed because the monotonic clock may stand still while a machine is
    suspended, and because a lease ends by the wall clock. With fewer than `least_seconds` left a request is not
    begun, and no byte of it is sent.
    """

    clock: Clock
    ends_at: float = math.inf
    wall_ends_at: float = math.inf
    least_seconds: float = 0.25

    @classmethod
    def lasting(cls, seconds: float, clock: Clock | None = None) -> Budget:
        """Return a budget of `seconds` from now, by the machine's clock if `clock` is None."""
        clock = clock or SystemClock()
        return cls(clock, clock.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return the seconds until the budget ends: negative once it has ended, infinite if it never does."""
        return min(self.ends_at - self.clock.monotonic(), self.wall_ends_at - self.clock.now())


@dataclass(frozen=True)
class Limits:
    """Times of the monotonic clock, in seconds.

    `ends_at` is when the invocation must have ended, `calls_end_at` when calls to the service must have, so
    that the outcome can still be saved and published. A create is not begun with less than `start_seconds`.
    """

    ends_at: float
    calls_end_at: float
    start_seconds: float

    @classmethod
    def from_deadline(cls, deadline: Deadline, *, reserve: float, call_seconds: float) -> Limits:
        """Return the limits of an invocation that has just begun.

        `call_seconds` is the longest that a call may take, `reserve` how many seconds are kept for saving and
        publishing. If the function's time-out is short, at most a quarter of it is kept, and a create may begin
        while half of the rest is left.
        """
        whole = deadline.remaining()
        kept = min(reserve, whole / 4)
        return cls(deadline.at, deadline.at - kept, min(call_seconds, (whole - kept) / 2))
