"""The operations of STS: they read the parameters of a call and write its answer."""

from __future__ import annotations

import json
import re

from alilocal.core.credentials import read_policies
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import BadPolicy, Policy
from alilocal.core.rpc import Parameters
from alilocal.core.service import Call
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.sts.errors import InvalidParameter, MissingParameter
from alilocal.sts.model import Roles
from alilocal.sts.wire import identity_members, session_members

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
        document = json.loads(text)
        return read_policies(document if isinstance(document, dict) else {})
    except (BadPolicy, ValueError) as exc:
        raise InvalidParameter("PolicyGrammar", f"The parameter Policy: {exc}") from None
