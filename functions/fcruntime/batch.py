"""What to do with the items of an event that failed.

FC has no partial-batch response: an event succeeds, or is delivered again as a whole. So the failed items either fail
the whole event (`raise`), or are sent back to their queue one by one and the event succeeds (`requeue`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

Item = TypeVar("Item")

Policy = Literal["raise", "requeue"]
_MOST_REASONS = 3


class BatchFailed(Exception):
    """Items of the event must be delivered again. Raise it from the handler, so that FC reports a failed call.

    `reasons` are the first reasons, of which FC logs at most three with the text of the exception. They must not
    quote messages.
    """

    def __init__(self, failed: int, total: int, reasons: Sequence[str] = ()) -> None:
        self.failed = failed
        self.total = total
        self.reasons = tuple(reasons[:_MOST_REASONS])
        text = f"{failed} of {total} messages must be delivered again"
        super().__init__(": ".join([text, "; ".join(self.reasons)] if self.reasons else [text]))


def settle(
    failed: Sequence[Item | None],
    total: int,
    policy: Policy,
    requeue: Callable[[Item], bool] | None = None,
    *,
    reasons: Sequence[str] = (),
) -> None:
    """Apply `policy` to the failed items of an event of `total` items; None is an item that cannot be sent back.

    `requeue` sends one item back and returns whether it succeeded. Raises TypeError if it returns None or a
    coroutine, and BatchFailed with `reasons` if an item is left over. The whole event is then delivered again, so
    items that were already sent back arrive twice; their keys make that harmless. To keep such copies few, nothing is
    sent back if one item cannot be, and sending stops at the first failure.
    """
    sendable = [item for item in failed if item is not None]
    sent_back = 0
    if policy == "requeue" and requeue is not None and len(sendable) == len(failed):
        for item in sendable:
            is_sent: bool | None = requeue(item)
            # If None counted as a failure, the event would come again although the copy was sent, each time. If a
            # coroutine, which is true, counted as a success, the message would be lost.
            if is_sent is None or hasattr(is_sent, "__await__"):
                raise TypeError(
                    f"requeue returned {'None' if is_sent is None else 'a coroutine'}; "
                    "it must return True if the message was sent, else False"
                )
            if not is_sent:
                break
            sent_back += 1
    if sent_back < len(failed):
        raise BatchFailed(len(failed) - sent_back, total, reasons)
