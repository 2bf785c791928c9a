"""The operations of STS.

Source: https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole and
...-getcalleridentity.
"""

from __future__ import annotations

import json
import re
import time

from alilocal.core.credentials import read_policies
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import BadPolicy, Policy
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import Call
from alilocal.core.world import World

_ROLE = re.compile(r"acs:ram::(?P<account>\d+):role/(?P<name>[A-Za-z0-9.@_/-]{1,128})")
_SESSION = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_SECONDS = (900, 43_200)
_DEFAULT_SECONDS = 3600


class Sts(RpcService):
    """Keys of roles. Any role may be assumed, unless the cloud's credentials know roles: then only those."""

    name = "sts"
    title = "STS 2015-04-01"
    version = "2015-04-01"
    ram_code = "sts"
    unsupported = ("AssumeRoleWithOIDC", "AssumeRoleWithSAML")

    def __init__(self, world: World) -> None:
        super().__init__(
            world,
            (
                Action("AssumeRole", self._assume, lambda given: f"role/{given.get('RoleArn', '')}"),
                Action("GetCallerIdentity", self._identity, lambda _: "*"),
            ),
        )

    def arn(self, place: str) -> str:
        """Roles are resources of RAM, which knows no regions; who one is may be asked by anyone."""
        role = place.removeprefix("role/")
        return role if role.startswith("acs:") else f"acs:ram::{self._world.account_id}:{place}"

    def dump(self) -> JsonObject:
        """What it gave is with the keys of the cloud."""
        return {}

    def restore(self, state: JsonObject) -> None:
        """There is nothing to take over."""

    def _assume(self, given: Parameters, _call: Call) -> JsonObject:
        role = _ROLE.fullmatch(given.get("RoleArn", ""))
        if role is None or role["account"] != self._world.account_id:
            raise ServiceError(400, "InvalidParameter.RoleArn", "The parameter RoleArn is wrongly formed.")
        session = given.get("RoleSessionName", "")
        if not _SESSION.fullmatch(session):
            raise ServiceError(
                400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed."
            )
        known, policies = self._world.credentials.role_policies(role["name"])
        if not known:
            raise ServiceError(404, "EntityNotExist.Role", f"The role not exists: {role['name']}.")
        seconds, ids = _seconds(given.get("DurationSeconds")), self._world.ids
        expires = self._world.clock.now() + seconds
        credential = self._world.credentials.register(
            f"STS.{ids.token(24)}",
            ids.token(44),
            user_id=self._world.account_id,
            security_token=ids.token(120),
            expires_at=expires,
            arn=f"acs:ram::{self._world.account_id}:assumed-role/{role['name'].lower()}/{session}",
            granted=policies,
            session=_session_policy(given.get("Policy")),
        )
        return {
            "AssumedRoleUser": {
                "Arn": f"acs:ram::{self._world.account_id}:role/{role['name'].lower()}/{session}",
                "AssumedRoleId": f"3{self._world.account_id}:{session}",
            },
            "Credentials": {
                "AccessKeyId": credential.access_key_id,
                "AccessKeySecret": credential.access_key_secret,
                "SecurityToken": credential.security_token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
            },
        }

    def _identity(self, _given: Parameters, call: Call) -> JsonObject:
        account, arn = self._world.account_id, call.caller.arn
        if arn is not None:
            role, _, session = arn.partition(":assumed-role/")[2].rpartition("/")
            return {
                "IdentityType": "AssumedRoleUser",
                "AccountId": account,
                "RoleId": f"3{account}",
                "PrincipalId": f"3{account}:{session}",
                "Arn": f"acs:ram::{account}:assumed-role/{role}/{session}",
            }
        user = call.caller.user_id
        is_account = user == account
        return {
            "IdentityType": "Account" if is_account else "RAMUser",
            "AccountId": account,
            "UserId": user,
            "PrincipalId": user,
            "Arn": f"acs:ram::{account}:{'root' if is_account else f'user/{user}'}",
        }


def _seconds(text: str | None) -> int:
    if not text:
        return _DEFAULT_SECONDS
    low, high = _SECONDS
    if not (text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high):
        raise ServiceError(
            400,
            "InvalidParameter.DurationSeconds",
            f"The Min/Max value of DurationSeconds is {low}/{high}.",
        )
    return int(text)


def _session_policy(text: str | None) -> tuple[Policy, ...] | None:
    if not text:
        return None
    try:
        document = json.loads(text)
        return read_policies(document if isinstance(document, dict) else {})
    except (BadPolicy, ValueError) as exc:
        raise ServiceError(400, "InvalidParameter.PolicyGrammar", f"The parameter Policy: {exc}") from None
