"""One call of a function by an event stream, and what its result tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alilocal.fc.function import Function

Invoke = Callable[[bytes], object]


@dataclass(frozen=True)
class Delivery:
    """One call of the function. `error` is the name of the exception's type, or FC's type of the error.

    `time` is when it began and `retry_at` when the next will be, in seconds since the epoch on the cloud's clock.
    Of a call of a function of this cloud, `request_id`, `instance_id` and `cold` are known too. `given_up` says that
    the messages have left their queue all the same, and `dead_letter_queue` where they went.
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


def called(invoke: Invoke | Function, *, asynchronous: bool) -> Invoke:
    """What the stream calls."""
    if callable(invoke):
        if asynchronous:
            raise ValueError("only a function of the cloud can be called asynchronously")
        return invoke
    return invoke.trigger_async if asynchronous else invoke.trigger


def judged(delivery: Delivery, result: object) -> Delivery:
    """What `result` tells of `delivery`."""
    if not hasattr(result, "ok"):
        return replace(delivery, succeeded=result is not False)
    return replace(
        delivery,
        succeeded=bool(result.ok),
        error=getattr(result, "error_type", None),
        request_id=getattr(result, "request_id", None),
        instance_id=getattr(result, "instance_id", None),
        cold=getattr(result, "cold", None),
    )
