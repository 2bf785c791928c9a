"""The service Resource Manager and the list of its operations.

Source: https://www.alibabacloud.com/help/en/resource-management/resource-directory/developer-reference/api-resourcemanager-2020-03-31-overview.
"""

from __future__ import annotations

from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.rpc import Action, RpcService
from alilocal.core.service import Call, Route
from alilocal.core.snapshot import dump, load, member
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.resourcemanager.calls import Calls
from alilocal.resourcemanager.model import LinkedRoles

_UNSUPPORTED = (
    "DeleteServiceLinkedRole GetServiceLinkedRoleDeletionStatus ListRoles CreateRole GetRole DeleteRole"
)


class ResourceManager(RpcService):
    """Knows which services have their roles."""

    name = "resourcemanager"
    title = "Resource Manager 2020-03-31"
    version = "2020-03-31"
    ram_code = "ram"
    unsupported = tuple(_UNSUPPORTED.split())

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self.roles = LinkedRoles()
        calls = Calls(world, self.roles)
        super().__init__(
            world,
            (
                Action("CheckServiceLinkedRoleExistence", calls.check, lambda _: "role/*"),
                Action("CreateServiceLinkedRole", calls.create, lambda _: "role/*"),
            ),
        )

    def permission(self, route: Route, call: Call) -> Permission:
        """Return the permission. Which action the check needs is not documented: one of these is enough."""
        needed = super().permission(route, call)
        if route.operation != "CheckServiceLinkedRoleExistence":
            return needed
        return Permission((*needed.actions, "ram:GetRole", "ram:CreateServiceLinkedRole"), needed.resources)

    def dump(self) -> JsonObject:
        return {"roles": dump(self.roles)}

    def restore(self, state: JsonObject) -> None:
        found = load(LinkedRoles, member(state, "roles", self.name), f"{self.name}.roles")
        self.roles.by_service = found.by_service
