"""The signatures of Function Compute: those of the API gateway, and the first one of the service itself.

The first one: https://www.alibabacloud.com/help/doc-detail/52877.htm, and `auth.py` of aliyun-fc2 2.5.2. It is an
HMAC-SHA256 over the method, some headers and the decoded path, and does not cover the body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import unquote

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, ServiceError, read_http_date
from alilocal.core.signatures import GatewaySignatures
from alilocal.core.world import World
from alilocal.fc.switches import FunctionComputeSwitches

GENERATIONS = ("2023-03-30", "2021-04-06", "2016-08-15")
"""The versions of the API. A path begins with one of them."""
_MISMATCH = "The request signature we calculated does not match the signature you provided."


class Signatures:
    """Verifies requests."""

    def __init__(self, world: World[FunctionComputeSwitches]) -> None:
        self._world = world
        self._by_version = {version: GatewaySignatures(world, version) for version in GENERATIONS}

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError."""
        scheme, _, rest = (request.header("Authorization") or "").partition(" ")
        if scheme != "FC":
            version = generation(request) or request.header("x-acs-version") or ""
            return self._by_version.get(version, self._by_version[GENERATIONS[0]]).verify(request)
        key_id, _, given = rest.partition(":")
        self._check_time(request.header("x-fc-date") or request.header("Date") or "")
        credential = self._world.credentials.get(key_id)
        if credential is None or not credential.active:
            raise ServiceError(403, "InvalidAccessKeyID", f"invalid access key ID '{key_id}'")
        problem = credential.token_problem(request.header("x-fc-security-token"), self._world.clock.now())
        if problem is not None:
            raise ServiceError(403, "InvalidSecurityToken", f"the security token is invalid: {problem}")
        expected = {sign(credential.access_key_secret, request, covers_query=one) for one in (False, True)}
        if given not in expected:
            raise ServiceError(403, "SignatureNotMatch", _MISMATCH)
        return credential

    def _check_time(self, text: str) -> None:
        try:
            moment = read_http_date(text)
        except ValueError:
            raise ServiceError(400, "InvalidArgument", "the header Date is not a time") from None
        if not self._world.clock.is_near(moment):
            raise ServiceError(403, "AccessDenied", "the time of the request differs by more than 15 minutes")


def generation(request: Request) -> str | None:
    """Return the version of the API in the path of `request`, or None if there is none."""
    first = request.path[1:].partition("/")[0]
    return first if request.path.startswith("/") and first in GENERATIONS else None


def sign(secret: str, request: Request, *, covers_query: bool) -> str:
    """Return the first signature of a request; calls of HTTP triggers also cover the query."""
    own = "".join(f"{name}:{value}\n" for name, value in request.headers_from("x-fc-"))
    resource = unquote(request.path)
    if covers_query:
        pairs = request.query_pairs(plus_is_space=True)
        resource += "\n" + "\n".join(sorted(f"{name}={value}" if value else name for name, value in pairs))
    fixed = [request.header(name) or "" for name in ("Content-MD5", "Content-Type", "Date")]
    text = "\n".join((request.method, *fixed, own + resource))
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
