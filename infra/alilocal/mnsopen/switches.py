"""The switches of SMQ's management API."""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.switches import GatewaySwitches


@dataclass
class MnsOpenSwitches(GatewaySwitches):
    """The management API has the switches of the gateway and none of its own."""
