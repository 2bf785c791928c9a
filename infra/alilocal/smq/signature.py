"""SMQ's signatures, "V2" with HMAC-SHA1 and "V4" with HMAC-SHA256: how the service verifies requests.

Sources: https://www.alibabacloud.com/help/en/mns/developer-reference/signature, and aliyun-mns-sdk for V2; for V4,
the class MNSV4Signer of the vendor's SDK for Java 2.0.0, whose users select it with `SignVersion.V4`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import quote, unquote

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, ServiceError, read_http_date
from alilocal.core.world import World
from alilocal.smq.switches import SmqSwitches

VERSION = "2015-06-06"
SCHEMES = ("MNS ", "MNS4-HMAC-SHA256 ")
_AUTHORIZATION_V4 = re.compile(
    r"MNS4-HMAC-SHA256 Credential=([^,]+)/([0-9]{8})/([^/,]+/mns/aliyun_v4_request),\s*Signature=([0-9a-f]+)"
)
_SIGNED_V4 = ("content-md5", "content-type")


def signature(secret: str, request: Request) -> str:
    """Return the signature of `request` as base64; the target is signed as sent."""
    to_sign = "\n".join(
        (
            request.method,
            request.header("Content-MD5") or "",
            request.header("Content-Type") or "",
            _date(request) or "",
            *(f"{name}:{value}" for name, value in request.headers_from("x-mns-")),
            request.target,
        )
    )
    digest = hmac.digest(secret.encode(), to_sign.encode(), "sha1")
    return base64.b64encode(digest).decode()


def signature_v4(secret: str, request: Request, scope: str, moment: float) -> str:
    """Return the signature V4 of `request`, which was sent at `moment`, in hexadecimal.

    `scope` is what follows the day in the credential: region, product and end. The request itself is signed, not its
    hash: with an encoded path, with sorted parameters whose names are in lower case, and without the body.
    """
    time = datetime.fromtimestamp(moment, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{scope}"
    signed = [*((name, request.header(name)) for name in _SIGNED_V4), *request.headers_from("x-mns-")]
    canonical = "".join(
        (
            f"{request.method}\n{quote(unquote(request.path), safe='/')}\n{_query_v4(request)}\n",
            *(f"{name}:{value}\n" for name, value in sorted(signed) if value is not None),
            "\n",
        )
    )
    key = f"aliyun_v4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"MNS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}".encode(), "sha256").hex()


def _query_v4(request: Request) -> str:
    pairs = request.query_pairs(plus_is_space=False)
    encoded = {quote(name.strip().lower(), safe=""): quote(value.strip(), safe="") for name, value in pairs}
    return "&".join(f"{name}={value}" if value else name for name, value in sorted(encoded.items()))


class _Authorization(NamedTuple):
    """The contents of the header Authorization; `day` and `scope` are empty for V2."""

    key_id: str
    given: str
    day: str = ""
    scope: str = ""

    def fits(self, secret: str, request: Request, moment: float) -> bool:
        """Return whether `request` is signed with `secret`."""
        if not self.scope:
            expected = signature(secret, request)
        elif self.day != datetime.fromtimestamp(moment, timezone.utc).strftime("%Y%m%d"):
            return False
        else:
            expected = signature_v4(secret, request, self.scope, moment)
        return hmac.compare_digest(self.given.encode(), expected.encode())


def _date(request: Request) -> str | None:
    return request.header("x-mns-date") or request.header("Date")


class Signatures:
    """Verifies requests."""

    def __init__(self, world: World[SmqSwitches]) -> None:
        self._world = world

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with SMQ's own codes."""
        authorization = _authorization(request)
        moment = self._check_date(request)
        _check_version(request)
        credential = self._world.credentials.get(authorization.key_id)
        if credential is None or not credential.active:
            raise ServiceError(403, "InvalidAccessKeyId", "The AccessKey Id you provided is not exist.")
        if not authorization.fits(credential.access_key_secret, request, moment):
            raise ServiceError(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        # The token is not signed, because the header's name lacks the prefix `x-mns-`.
        problem = credential.token_problem(request.header("security-token"), self._world.clock.now())
        if problem is not None:
            raise ServiceError(403, "AccessDenied", f"The security token is refused: {problem}.")
        _check_digest(request)
        return credential

    def _check_date(self, request: Request) -> float:
        """Return when the request was sent, in seconds since the epoch."""
        text = _date(request)
        if not text:
            raise ServiceError(400, "MissingDateHeader", "The header Date or x-mns-date is needed.")
        try:
            moment = read_http_date(text)
        except ValueError:
            raise ServiceError(400, "InvalidDateHeader", "The date header is not valid.") from None
        if not self._world.clock.is_near(moment):
            status = self._world.behaviour.time_expired_status
            raise ServiceError(status, "TimeExpired", "The http request you sent is expired.")
        return moment


def _authorization(request: Request) -> _Authorization:
    text = request.header("Authorization")
    if not text:
        raise ServiceError(400, "MissingAuthorizationHeader", "The header Authorization is needed.")
    found = _AUTHORIZATION_V4.fullmatch(text)
    if found is not None:
        return _Authorization(found[1], found[4], found[2], found[3])
    scheme, _, rest = text.partition(" ")
    key_id, _, given = rest.strip().rpartition(":")
    if scheme != "MNS" or not key_id or not given:
        raise ServiceError(400, "InvalidAuthorizationHeader", "The header Authorization is not well formed.")
    return _Authorization(key_id, given)


def _check_version(request: Request) -> None:
    version = request.header("x-mns-version")
    if not version:
        raise ServiceError(400, "MissingVersionHeader", "The header x-mns-version is needed.")
    if version != VERSION:
        raise ServiceError(400, "InvalidArgument", f"The version {VERSION} is the only one.")


def _check_digest(request: Request) -> None:
    given = request.header("Content-MD5")
    if not given:
        return
    digest = hashlib.md5(request.body, usedforsecurity=False)
    # RFC 1864 encodes the raw digest, the vendor's SDKs encode its hexadecimal text. Both occur.
    forms = (base64.b64encode(digest.digest()), base64.b64encode(digest.hexdigest().encode()))
    if given.encode() not in forms:
        raise ServiceError(400, "InvalidDegist", "The Content-MD5 you specified did not match the body.")
