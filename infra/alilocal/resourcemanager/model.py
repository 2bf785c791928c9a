"""The service-linked roles of an account. Each belongs to a service, such as `fc.aliyuncs.com`."""

from __future__ import annotations

from dataclasses import dataclass, field

from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.resourcemanager.errors import MissingServiceName, RoleExists


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
