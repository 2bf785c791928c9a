"""STS, API version 2015-04-01: temporary keys for roles, and the caller's identity.

Sources: https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole and
...-getcalleridentity.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import NamedTuple

from alilocal.core.credentials import Credential, read_policies
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject, load_json
from alilocal.core.ram import BadPolicy, Permission, Policy
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import Call, Route
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World


class InvalidParameter(ServiceError):
    """A parameter is missing or invalid; `what` completes the code, such as `RoleArn`."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(400, f"InvalidParameter.{what}", message)


class MissingParameter(ServiceError):
    """A mandatory parameter is missing."""

    def __init__(self, name: str) -> None:
        super().__init__(400, f"Missing{name}", f"{name} is mandatory for this action.")


class NoSuchRole(ServiceError):
    """The role does not exist; `reason` is a further sentence."""

    def __init__(self, name: str, reason: str = "") -> None:
        super().__init__(404, "EntityNotExist.Role", f"The role not exists: {name}.{reason}")


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


def session_members(session: RoleSession, account_id: str) -> JsonObject:
    """Return the answer of AssumeRole."""
    return {
        "AssumedRoleUser": {
            "Arn": f"acs:ram::{account_id}:role/{session.role}/{session.name}",
            "AssumedRoleId": f"3{account_id}:{session.name}",
        },
        "Credentials": {
            "AccessKeyId": session.credential.access_key_id,
            "AccessKeySecret": session.credential.access_key_secret,
            "SecurityToken": session.credential.security_token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.expires_at)),
        },
    }


def identity_members(identity: Identity) -> JsonObject:
    """Return the answer of GetCallerIdentity."""
    account, user = identity.account_id, identity.user_id
    if identity.role is not None:
        return {
            "IdentityType": "AssumedRoleUser",
            "AccountId": account,
            "RoleId": f"3{account}",
            "PrincipalId": f"3{account}:{identity.session}",
            "Arn": f"acs:ram::{account}:assumed-role/{identity.role}/{identity.session}",
        }
    is_account = user == account
    return {
        "IdentityType": "Account" if is_account else "RAMUser",
        "AccountId": account,
        "UserId": user,
        "PrincipalId": user,
        "Arn": f"acs:ram::{account}:{'root' if is_account else f'user/{user}'}",
    }


_SESSION = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_SECONDS = (900, 43_200)
_DEFAULT_SECONDS = 3600


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self._world = world
        self._roles = Roles(world)

    def assume_role(self, given: Parameters, _call: Call) -> JsonObject:
        for name in ("RoleArn", "RoleSessionName"):
            if not given.get(name):
                raise MissingParameter(name)
        role, session = self._roles.find(given["RoleArn"]), given["RoleSessionName"]
        if not _SESSION.fullmatch(session):
            raise InvalidParameter("RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
        seconds, policy = _read_seconds(given.get("DurationSeconds")), _read_policy(given.get("Policy"))
        assumed = self._roles.assume(role, session, seconds, policy)
        return session_members(assumed, self._world.account_id)

    def get_caller_identity(self, _given: Parameters, call: Call) -> JsonObject:
        return identity_members(self._roles.identify(call.caller))


def _read_seconds(text: str | None) -> int:
    if not text:
        return _DEFAULT_SECONDS
    low, high = _SECONDS
    if not (text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high):
        raise InvalidParameter("DurationSeconds", f"The Min/Max value of DurationSeconds is {low}/{high}.")
    return int(text)


def _read_policy(text: str | None) -> tuple[Policy, ...] | None:
    """Return the policies that narrow the session, or None without any."""
    if not text:
        return None
    try:
        document = load_json(text)
        return read_policies(document if isinstance(document, dict) else {})
    except (BadPolicy, ValueError) as exc:
        raise InvalidParameter("PolicyGrammar", f"The parameter Policy: {exc}") from None


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
                Action("AssumeRole", calls.assume_role, lambda given: f"role/{given.get('RoleArn', '')}"),
                Action("GetCallerIdentity", calls.get_caller_identity, lambda _: "*"),
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
