"""The time limits of an invocation."""

from __future__ import annotations

from fcruntime._dataclass import dataclass
from fcruntime.context import Deadline


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
