"""The signatures of the API gateway together: which of its three versions a request has.

A client may send marks of several versions: older SDKs sign their parameters and send the headers of the newest
version as well. What was signed decides, never a header that anybody may add.
"""

from __future__ import annotations

from collections.abc import Mapping

from alilocal.core.acs3 import Acs3
from alilocal.core.credentials import Credential
from alilocal.core.http import Request
from alilocal.core.switches import GatewaySwitches
from alilocal.core.version1 import SCHEME, RoaV1, RpcV1
from alilocal.core.world import World

_OF_RPC = ("Signature", "AccessKeyId", "SignatureNonce")


class GatewaySignatures:
    """Verifies the requests of one service, whose API version is `version`."""

    def __init__(self, world: World[GatewaySwitches], version: str) -> None:
        self._v3 = Acs3(world.credentials, world.clock, world.behaviour, version)
        self._roa = RoaV1(world.credentials, world.clock, world.behaviour)
        self._rpc = RpcV1(world.credentials, world.clock, world.behaviour)

    def verify(self, request: Request, parameters: Mapping[str, str] | None = None) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes.

        `parameters` are those of a call of the RPC style, None for a service of the ROA style.
        """
        scheme = request.header("Authorization") or ""
        if scheme.startswith(SCHEME):
            return self._roa.verify(request)
        if parameters is None or scheme:
            return self._v3.verify(request)
        if request.header("x-acs-version") and not any(name in parameters for name in _OF_RPC):
            return self._v3.verify(request)
        return self._rpc.verify(request.method, parameters)


def is_v3(request: Request) -> bool:
    """Return whether a request claims to be signed with version 3, whose headers come before parameters."""
    return (request.header("Authorization") or "").startswith("ACS3")
