"""The switches of SMQ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alilocal.core.switches import Switches


@dataclass
class SmqSwitches(Switches):
    """How SMQ behaves where its documentation is silent or contradicts itself."""

    delete_missing: Literal["accepted", "refused"] = "accepted"
    """What deleting a missing queue, topic or subscription does; the vendor's suites rely on success."""
    time_expired_status: Literal[400, 408] = 408
    """The HTTP status of TimeExpired, for which the documentation names both."""
    expired_receipt: Literal["MessageNotExist", "ReceiptHandleError"] = "MessageNotExist"
    """The error for an expired receipt handle."""
    partial_batch_status: Literal[400, 404, 500] = 500
    """The HTTP status of a batch send of which some messages failed."""
    dead_letter_id: Literal["new", "kept"] = "new"
    """Whether a message that a queue's dead-letter policy moves gets a new id."""
    plain_body: Literal["accepted", "refused"] = "accepted"
    """What a queue does with a body that is not base64; the documentation contradicts itself."""
    zero_visibility: Literal["accepted", "refused"] = "accepted"
    """What ChangeMessageVisibility does with 0, which the vendor's SDK does not refuse."""
    group_id: Literal["carried", "refused"] = "carried"
    """What a queue does with MessageGroupId; no queue is FIFO here."""
    pushed_properties: Literal["kept", "dropped"] = "kept"
    """Whether a message that a topic pushes to a queue keeps its properties."""
