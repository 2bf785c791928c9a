"""The calls of a function by an event stream, and the part of a stream that the rest of the cloud knows.

A cloud lists its streams, the console shows them, and a snapshot notes the messages that they hold. None of these
needs the class `EventStream`, which is built on the cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


def check_invoke(invoke: object) -> None:
    """Raise ValueError for a coroutine function, of which nothing would run, and whose result is not a failure."""
    import inspect

    if inspect.iscoroutinefunction(invoke) or inspect.iscoroutinefunction(type(invoke).__call__):
        raise ValueError("invoke must not be a coroutine function: pass one that calls asyncio.run")


@dataclass(frozen=True)
class Delivery:
    """One call of the function. `error` is the name of an exception's type, or FC's error type.

    `time` is when the call began and `retry_at` when the next attempt is due, in seconds since the epoch on the
    cloud's clock. `request_id`, `instance_id` and `cold` are known if the function belongs to this cloud. `given_up`
    is True if the messages left their queue without success, and `dead_letter_queue` names where they went.
    `result` is what the function returned, and `log` what its instance wrote; only new deliveries have them.
    """

    event: bytes = field(repr=False)
    message_ids: tuple[str, ...]
    attempt: int
    succeeded: bool
    error: str | None
    time: float = 0.0
    duration_ms: float = 0.0
    retry_at: float | None = None
    request_id: str | None = None
    instance_id: str | None = None
    cold: bool | None = None
    given_up: bool = False
    dead_letter_queue: str | None = None
    result: str = field(default="", repr=False)
    log: str = field(default="", repr=False)


class Stream(Protocol):
    """An event stream as the cloud sees it."""

    @property
    def queue_name(self) -> str:
        """The queue that feeds the stream."""

    @property
    def dead_letter_queue(self) -> str | None:
        """The queue that gets the messages that were given up, or None."""

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The newest calls of the function, oldest first."""

    @property
    def running_ids(self) -> Sequence[str]:
        """The ids of the messages that are being delivered."""

    @property
    def held_ids(self) -> Sequence[str]:
        """The ids of the messages that the stream hides from other receivers."""

    @property
    def waiting(self) -> int:
        """The number of batches that wait for another attempt."""

    def stop(self, timeout: float = 5.0) -> None:
        """Deliver nothing more, and show the held messages again."""
