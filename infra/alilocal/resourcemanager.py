"""Resource Manager, API version 2020-03-31: the service-linked roles that deployment tools ask for.

A new account has none. Each role belongs to a service, such as `fc.aliyuncs.com`. Source:
https://www.alibabacloud.com/help/en/resource-management/resource-directory/developer-reference/api-resourcemanager-2020-03-31-overview.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone

from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import Call, Route
from alilocal.core.snapshot import dump, load, member
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World


class MissingServiceName(ServiceError):
    """The parameter ServiceName is missing."""

    def __init__(self) -> None:
        super().__init__(400, "MissingParameter.ServiceName", "The parameter ServiceName is mandatory.")


class RoleExists(ServiceError):
    """The service has its role already."""

    def __init__(self, role: str) -> None:
        super().__init__(409, "EntityAlreadyExists.Role", f"The role already exists: {role}.")


@dataclass(frozen=True)
class LinkedRole:
    """A service-linked role; `created` is in seconds since the epoch."""

    service: str
    role_id: str
    description: str
    created: float

    @property
    def name(self) -> str:
        """The name of the role, derived from that of its service. The real names follow no rule."""
        words = self.service.removesuffix(".aliyuncs.com").replace(".", "-").split("-")
        return "AliyunServiceRoleFor" + "".join(word.capitalize() for word in words)


@dataclass
class LinkedRoles:
    """The service-linked roles by service. A new account has none."""

    by_service: dict[str, LinkedRole] = field(default_factory=dict)

    def exists(self, service: str) -> bool:
        """Return whether a service has its role; raises MissingServiceName."""
        if not service:
            raise MissingServiceName
        return service in self.by_service

    def create(self, service: str, description: str, world: World[GatewaySwitches]) -> LinkedRole:
        """Create the role of a service; raises MissingServiceName and RoleExists."""
        if self.exists(service):
            raise RoleExists(self.by_service[service].name)
        role = LinkedRole(service, world.ids.token(18), description, world.clock.now())
        self.by_service[service] = role
        return role


def role_members(role: LinkedRole, account_id: str) -> JsonObject:
    """Return the answer of CreateServiceLinkedRole."""
    created = datetime.fromtimestamp(role.created, timezone.utc)
    return {
        "Role": {
            "RoleId": role.role_id,
            "RoleName": role.name,
            "RolePrincipalName": f"{role.name.lower()}@role.{account_id}.onaliyunservice.com",
            "Arn": f"acs:ram::{account_id}:role/{role.name.lower()}",
            "Description": role.description,
            "IsServiceLinkedRole": True,
            "CreateDate": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    }


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
