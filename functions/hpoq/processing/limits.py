"""How far an invocation's time goes."""

from __future__ import annotations

from fcruntime.context import Deadline
from fcruntime.dataclass import dataclass


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
    def of(cls, deadline: Deadline, *, reserve: float, call_seconds: float) -> Limits:
        """Limits for an invocation that just began; `call_seconds` is the longest that a call may take.

        A function whose whole time is short keeps back a quarter of it at most, and begins work all the same
        while half of the rest is left.
        """
        whole = deadline.remaining()
        kept = min(reserve, whole / 4)
        return cls(deadline.at, deadline.at - kept, min(call_seconds, (whole - kept) / 2))
