"""Roles, their sessions, and identities. The keys of sessions are kept with the cloud's other credentials."""

from __future__ import annotations

import re
from typing import NamedTuple

from alilocal.core.credentials import Credential
from alilocal.core.ram import Policy
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.sts.errors import InvalidParameter, NoSuchRole

_ROLE = re.compile(r"acs:ram::(?P<account>\d+):role/(?P<name>[A-Za-z0-9.@_/-]{1,128})")


class RoleSession(NamedTuple):
    """A role that was assumed, with its temporary key; `expires_at` is in seconds since the epoch."""

    role: str
    name: str
    credential: Credential
    expires_at: float


class Identity(NamedTuple):
    """Who calls: the account itself, a RAM user, or a role under the name of its session."""

    account_id: str
    user_id: str
    role: str | None = None
    session: str | None = None


class Roles:
    """The roles that can be assumed: any role, or those of `cloud.credentials.role` once there is one."""

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self._world = world

    def find(self, arn: str) -> str:
        """Return the name of the role called `arn`; raises InvalidParameter and NoSuchRole."""
        role = _ROLE.fullmatch(arn)
        if role is None:
            raise InvalidParameter("RoleArn", "The parameter RoleArn is wrongly formed.")
        if role["account"] != self._world.account_id:
            raise NoSuchRole(arn, f" The account of the local cloud is {self._world.account_id}.")
        known, _ = self._world.credentials.role_policies(role["name"])
        if not known:
            raise NoSuchRole(role["name"])
        return role["name"].lower()

    def assume(
        self, name: str, session: str, seconds: int, session_policy: tuple[Policy, ...] | None
    ) -> RoleSession:
        """Start a session of the role `name` for `seconds`; `session_policy` narrows the role's own policies."""
        account, ids = self._world.account_id, self._world.ids
        _, policies = self._world.credentials.role_policies(name)
        expires_at = self._world.clock.now() + seconds
        credential = self._world.credentials.register(
            f"STS.{ids.token(24)}",
            ids.token(44),
            user_id=account,
            security_token=ids.token(120),
            expires_at=expires_at,
            arn=f"acs:ram::{account}:assumed-role/{name}/{session}",
            granted=policies,
            session=session_policy,
        )
        return RoleSession(name, session, credential, expires_at)

    def identify(self, caller: Credential) -> Identity:
        """Return the identity of `caller`."""
        if caller.arn is None:
            return Identity(self._world.account_id, caller.user_id)
        role, _, session = caller.arn.partition(":assumed-role/")[2].rpartition("/")
        return Identity(self._world.account_id, caller.user_id, role, session)
