"""The operations of Resource Manager."""

from __future__ import annotations

from alilocal.core.jsonvalue import JsonObject
from alilocal.core.rpc import Parameters
from alilocal.core.service import Call
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.resourcemanager.model import LinkedRoles
from alilocal.resourcemanager.wire import role_members


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[GatewaySwitches], roles: LinkedRoles) -> None:
        self._world = world
        self._roles = roles

    def check(self, given: Parameters, _call: Call) -> JsonObject:
        return {"Exists": self._roles.exists(given.get("ServiceName", ""))}

    def create(self, given: Parameters, _call: Call) -> JsonObject:
        role = self._roles.create(given.get("ServiceName", ""), given.get("Description", ""), self._world)
        return role_members(role, self._world.account_id)
