"""The switches of Resource Manager."""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.switches import GatewaySwitches


@dataclass
class ResourceManagerSwitches(GatewaySwitches):
    """Resource Manager has the switches of the gateway and none of its own."""
