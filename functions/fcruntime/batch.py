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
    failed: Sequence[Item], total: int, policy: Policy, requeue: Callable[[Item], bool] | None = None
) -> list[Item]:
    """Apply `policy` to the failed items of an event of `total`; returns those that were sent back.

    `requeue` sends one item back and says whether it could. Raises BatchFailed where an item is left over: the
    whole event then comes again, and items sent back already come twice, which their keys make harmless.
    """
    sent_back: list[Item] = []
    if policy == "requeue" and requeue is not None:
        sent_back = [item for item in failed if requeue(item)]
    if len(sent_back) < len(failed):
        raise BatchFailed(len(failed) - len(sent_back), total)
    return sent_back
