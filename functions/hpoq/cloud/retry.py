"""Trying again: bounded, with full jitter, and never past the time there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from fcruntime.dataclass import dataclass
from hpoq.clock import Clock
from hpoq.errors import CallError, NotSent, Throttled, Unavailable, UnknownEnd
from hpoq.observability.measures import count

T = TypeVar("T")
MayRetry: TypeAlias = Callable[[CallError], bool]


def surely_not_acted(error: CallError) -> bool:
    """For calls that must not act twice: throttled, or the service was not reached."""
    return isinstance(error, (Throttled, Unavailable))


def harmless_to_repeat(error: CallError) -> bool:
    """For reads, and for calls whose repetition does no harm: also after an unknown end."""
    return isinstance(error, (Throttled, Unavailable, UnknownEnd))


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long.

    At most `attempts` tries. Before each repetition a wait drawn from 0 to a bound that starts at
    `base_seconds` and doubles up to `cap_seconds`, on top of what the service asked for.
    """

    attempts: int = 4
    base_seconds: float = 0.2
    cap_seconds: float = 5.0

    def call(
        self, attempt: Callable[[], T], *, may_retry: MayRetry, clock: Clock, give_up_at: float | None = None
    ) -> T:
        """The result of the first try that has one.

        Raises the last error if `may_retry` refuses it, if the tries are used up, or, without waiting, if the
        wait would not end before `give_up_at` (monotonic). A repetition that was never sent does not make an
        earlier unknown end known: that one is raised then.
        """
        unknown: UnknownEnd | None = None
        for repetition in range(self.attempts):
            try:
                return attempt()
            except CallError as error:
                unknown = error if isinstance(error, UnknownEnd) else unknown
                wait = self._wait(repetition, error, clock)
                last = repetition + 1 >= self.attempts
                if last or not may_retry(error) or _ends_too_late(wait, clock, give_up_at):
                    if unknown is not None and isinstance(error, NotSent):
                        raise unknown from error
                    raise
            count("retries")
            clock.sleep(wait)
        raise ValueError("a retry policy needs at least one attempt")

    def _wait(self, repetition: int, error: CallError, clock: Clock) -> float:
        bound = min(self.cap_seconds, self.base_seconds * float(2**repetition))
        return (error.retry_after or 0.0) + clock.random() * bound


def _ends_too_late(wait: float, clock: Clock, give_up_at: float | None) -> bool:
    return give_up_at is not None and clock.monotonic() + wait >= give_up_at
