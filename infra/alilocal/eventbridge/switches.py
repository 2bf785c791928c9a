"""The switches of EventBridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alilocal.core.switches import GatewaySwitches


@dataclass
class EventBridgeSwitches(GatewaySwitches):
    """How EventBridge behaves where its documentation is silent."""

    put_events_status: Literal[409, 400] = 409
    """The HTTP status of a PutEvents call that is refused because of its events."""
    invalid_events: Literal["entry", "call"] = "entry"
    """Whether an invalid event fails by itself, or makes the whole call fail."""
    event_error_keys: Literal["lower", "pascal"] = "lower"
    """The initial letters of the members of an error of the first generation of PutEvents."""
    event_success_code: Literal["absent", "Success"] = "absent"
    """The ErrorCode of an event that was accepted."""
    event_entry_order: Literal["kept", "reversed"] = "kept"
    """The order of the entries in PutEvents' answer, on which a caller must not rely."""
