"""The service STS and the list of its operations."""

from __future__ import annotations

from dataclasses import replace

from alilocal.core.ram import Permission
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import Call, Route
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.sts.calls import Calls


class Sts(RpcService):
    """Temporary keys for roles, and the caller's identity."""

    name = "sts"
    title = "STS 2015-04-01"
    version = "2015-04-01"
    ram_code = "sts"
    unsupported = ("AssumeRoleWithOIDC", "AssumeRoleWithSAML")

    def __init__(self, world: World[GatewaySwitches]) -> None:
        calls = Calls(world)
        super().__init__(
            world,
            (
                Action("AssumeRole", calls.assume_role, _role_resource),
                Action("GetCallerIdentity", calls.get_caller_identity, _any_resource),
            ),
        )

    def permission(self, route: Route, call: Call) -> Permission:
        needed = super().permission(route, call)
        # Everyone may ask who they are: the documentation states no authorization for this operation.
        return replace(needed, resources=()) if route.operation == "GetCallerIdentity" else needed

    def arn(self, place: str) -> str:
        """Return the full name of a role: roles are resources of RAM, which has no regions."""
        role = place.removeprefix("role/")
        return role if role.startswith("acs:") else f"acs:ram::{self._world.account_id}:{place}"


def _role_resource(given: Parameters) -> str:
    return f"role/{given.get('RoleArn', '')}"


def _any_resource(_given: Parameters) -> str:
    return "*"
