"""What a failed part of a batch means on Function Compute.

FC knows no partial-batch response: an event succeeds or is delivered again as a whole. So the failed items
either fail the event (`raise`) or are sent back to their queue one by one, and the event succeeds (`requeue`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

Item = TypeVar("Item")

Policy = Literal["raise", "requeue"]


class BatchFailed(Exception):
    """Items of the event must be delivered again; raising it makes FC report the invocation as failed."""

    def __init__(self, failed: int, total: int) -> None:
        self.failed = failed
        self.total = total
        super().__init__(f"{failed} of {total} messages must be delivered again")


def settle(
    failed: Sequence[Item | None], total: int, policy: Policy, requeue: Callable[[Item], bool] | None = None
) -> None:
    """Apply `policy` to the failed items of an event of `total`; None is one that cannot be sent back at all.

    `requeue` sends one item back and says whether it could. Raises BatchFailed where an item is left over: the
    whole event then comes again, and items sent back already come twice, which their keys make harmless. So
    that they do not multiply, none is sent back where one cannot be, nor any after one that failed.
    """
    sendable = [item for item in failed if item is not None]
    sent_back = 0
    if policy == "requeue" and requeue is not None and len(sendable) == len(failed):
        for item in sendable:
            if not requeue(item):
                break
            sent_back += 1
    if sent_back < len(failed):
        raise BatchFailed(len(failed) - sent_back, total)
