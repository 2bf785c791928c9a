"""The switches of STS."""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.switches import GatewaySwitches


@dataclass
class StsSwitches(GatewaySwitches):
    """STS has the switches of the gateway and none of its own."""
