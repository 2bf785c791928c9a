"""The signature of EventBridge's first generation, HMAC-SHA1: how the service verifies requests.

Form: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/request-structure. The SDK
alibabacloud-eventbridge 1.3.8 signs differently; both forms are accepted.
"""

from __future__ import annotations

import hmac
import re

from alilocal.core.credentials import Credential
from alilocal.core.gateway import Nonces, sign_sha1
from alilocal.core.http import Request, ServiceError, read_http_date
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World

_AUTHORIZATION = re.compile(r"acs[ :]([^:\s]+):(\S+)")


def signatures(secret: str, request: Request) -> list[str]:
    """Return the valid signatures: without a line for `Accept`, as the SDK signs, and with one, as documented."""
    lines = [request.header(name) or "" for name in ("Content-MD5", "Content-Type", "Date")]
    rest = [*(f"{name}:{value}" for name, value in request.headers_from("x-acs")), request.target]
    forms = (["POST", *lines, *rest], ["POST", request.header("Accept") or "", *lines, *rest])
    return [sign_sha1(secret, "\n".join(form)) for form in forms]


class Signatures:
    """Verifies requests."""

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self._world = world
        self._nonces = Nonces(world.clock, world.behaviour)

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with EventBridge's own codes."""
        found = _AUTHORIZATION.fullmatch(request.header("Authorization") or "")
        if found is None:
            raise ServiceError(403, "AccessDenied", "The Authorization header is missing or not well formed.")
        self._check_date(request.header("Date") or "")
        credential = self._world.credentials.get(found[1])
        if credential is None or not credential.active:
            raise ServiceError(403, "InvalidAccessKeyId", "The AccessKey ID is not valid.")
        problem = credential.token_problem(request.header("x-acs-security-token"), self._world.clock.now())
        if problem is not None:
            code = "StsAccessIdExpired" if problem == "expired" else "SecurityTokenInvalid"
            raise ServiceError(403, code, f"The security token is refused: {problem}.")
        expected = signatures(credential.access_key_secret, request)
        if not any(hmac.compare_digest(found[2].encode(), one.encode()) for one in expected):
            raise ServiceError(403, "SignatureDoesNotMatch", "The signature does not match our calculation.")
        nonce = request.header("x-acs-signature-nonce")
        if nonce:
            self._nonces.use(credential.access_key_id, nonce)
        return credential

    def _check_date(self, text: str) -> None:
        try:
            moment = read_http_date(text)
        except ValueError:
            raise ServiceError(403, "AccessDenied", "The header Date is missing or not valid.") from None
        if not self._world.clock.is_near(moment):
            raise ServiceError(403, "AccessDenied", "The request is expired.")
