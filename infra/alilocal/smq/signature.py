"""SMQ's signature "V2", HMAC-SHA1: how the service verifies requests.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/signature, and aliyun-mns-sdk.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.http import Request, ServiceError, read_http_date

SKEW_SECONDS = 900
VERSION = "2015-06-06"


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


def _date(request: Request) -> str | None:
    return request.header("x-mns-date") or request.header("Date")


class Signatures:
    """Verifies requests."""

    def __init__(self, credentials: Credentials, clock: CloudClock) -> None:
        self._credentials = credentials
        self._clock = clock

    def verify(self, request: Request, *, expired_status: int = 408) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with SMQ's own codes."""
        key_id, given = _authorization(request)
        self._check_date(request, expired_status)
        _check_version(request)
        credential = self._credentials.get(key_id)
        if credential is None or not credential.active:
            raise ServiceError(403, "InvalidAccessKeyId", "The AccessKey Id you provided is not exist.")
        if not hmac.compare_digest(given.encode(), signature(credential.access_key_secret, request).encode()):
            raise ServiceError(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        # The token is not signed, because the header's name lacks the prefix `x-mns-`.
        problem = credential.token_problem(request.header("security-token"), self._clock.now())
        if problem is not None:
            raise ServiceError(403, "AccessDenied", f"The security token is refused: {problem}.")
        _check_digest(request)
        return credential

    def _check_date(self, request: Request, expired_status: int) -> None:
        text = _date(request)
        if not text:
            raise ServiceError(400, "MissingDateHeader", "The header Date or x-mns-date is needed.")
        try:
            moment = read_http_date(text)
        except ValueError:
            raise ServiceError(400, "InvalidDateHeader", "The date header is not valid.") from None
        if not self._clock.is_near(moment, SKEW_SECONDS):
            raise ServiceError(expired_status, "TimeExpired", "The http request you sent is expired.")


def _authorization(request: Request) -> tuple[str, str]:
    text = request.header("Authorization")
    if not text:
        raise ServiceError(400, "MissingAuthorizationHeader", "The header Authorization is needed.")
    scheme, _, rest = text.partition(" ")
    key_id, _, given = rest.strip().rpartition(":")
    if scheme != "MNS" or not key_id or not given:
        raise ServiceError(400, "InvalidAuthorizationHeader", "The header Authorization is not well formed.")
    return key_id, given


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
