"""Signature V3, ACS3-HMAC-SHA256, seen from the API gateway.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import deque
from datetime import datetime, timezone
from urllib.parse import quote

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials, TokenProblem
from alilocal.core.http import Request, ServiceError

ALGORITHM = "ACS3-HMAC-SHA256"
SKEW_SECONDS = 900

_AUTHORIZATION = re.compile(r"(\S+) Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_MANDATORY = ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
TOKEN_ERRORS: dict[TokenProblem, tuple[str, str]] = {
    "missing": ("MissingSecurityToken", "SecurityToken is mandatory for this action."),
    "mismatch": (
        "InvalidSecurityToken.MismatchWithAccessKey",
        "Specified SecurityToken mismatch with the AccessKey.",
    ),
    "expired": ("InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
}


def signature(secret: str, request: Request, signed_headers: list[str], payload_hash: str) -> str:
    """The signature of `request` over `signed_headers`, lower-case hexadecimal.

    The path is taken as sent; the query is decoded by the rules of forms and encoded anew, since clients send
    `+` where they signed `%20`.
    """
    canonical = "\n".join(
        (
            request.method.upper(),
            request.path,
            canonical_query(request),
            "".join(f"{name}:{_header(request, name)}\n" for name in signed_headers),
            ";".join(signed_headers),
            payload_hash,
        )
    )
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(secret.encode(), to_sign.encode(), "sha256").hex()


def canonical_query(request: Request) -> str:
    """Parameters encoded and sorted by name; an empty value keeps its `=`."""
    pairs = request.query_pairs(plus_is_space=True)
    encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _header(request: Request, name: str) -> str:
    values = request.header_values(name)
    return values[0] if len(values) == 1 else ",".join(sorted(values))


def _moment_of(text: str) -> float:
    """Seconds since the epoch of `yyyy-mm-ddThh:mm:ssZ`; raises ValueError. `strptime` takes ten times as long."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()


def check_time(text: str, clock: CloudClock) -> None:
    """Raises the gateway's errors for a time that is none, or too far from that of the cloud."""
    try:
        moment = _moment_of(text)
    except ValueError:
        raise ServiceError(
            400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
        ) from None
    if not clock.is_near(moment, SKEW_SECONDS):
        raise ServiceError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


class Nonces:
    """Remembers nonces for as long as the date of their requests would pass."""

    def __init__(self, clock: CloudClock) -> None:
        self._clock = clock
        self._used: set[tuple[str, str]] = set()
        self._forgotten: deque[tuple[float, tuple[str, str]]] = deque()

    def use(self, key_id: str, nonce: str) -> None:
        """Raises ServiceError for one that was used."""
        now = self._clock.now()
        while self._forgotten and self._forgotten[0][0] <= now:
            self._used.discard(self._forgotten.popleft()[1])
        if (key_id, nonce) in self._used:
            raise ServiceError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self._used.add((key_id, nonce))
        self._forgotten.append((now + 2 * SKEW_SECONDS, (key_id, nonce)))


class Acs3:
    """Verifies requests."""

    def __init__(self, credentials: Credentials, clock: CloudClock, version: str) -> None:
        self._credentials = credentials
        self._clock = clock
        self._version = version
        self._nonces = Nonces(clock)

    def verify(self, request: Request) -> Credential:
        """Whose request it is; raises ServiceError with the gateway's code if that is not proven."""
        key_id, signed_headers, given = _authorization(request)
        self._check_headers(request, signed_headers)
        check_time(request.header("x-acs-date") or "", self._clock)
        credential = self._credential(key_id, request)
        payload_hash = hashlib.sha256(request.body).hexdigest()
        expected = signature(credential.access_key_secret, request, signed_headers, payload_hash)
        if request.header("x-acs-content-sha256") != payload_hash or not hmac.compare_digest(given, expected):
            raise ServiceError(
                400, "SignatureDoesNotMatch", "Specified signature does not match our calculation."
            )
        self._nonces.use(key_id, request.header("x-acs-signature-nonce") or "")
        return credential

    def _check_headers(self, request: Request, signed_headers: list[str]) -> None:
        for name in _MANDATORY:
            if not request.header(name):
                raise ServiceError(
                    400, "MissingParameter", f"The header {name} is mandatory for this action."
                )
        needed = {"host", *(name for name, _ in request.headers_from("x-acs-"))}
        if not needed <= set(signed_headers):
            unsigned = ", ".join(sorted(needed - set(signed_headers)))
            raise ServiceError(400, "IncompleteSignature", f"These headers must be signed: {unsigned}.")
        if request.header("x-acs-version") != self._version:
            raise ServiceError(400, "InvalidVersion", "Specified parameter Version is not valid.")

    def _credential(self, key_id: str, request: Request) -> Credential:
        credential = self._credentials.get(key_id)
        if credential is None:
            raise ServiceError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if not credential.active:
            raise ServiceError(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
        problem = credential.token_problem(request.header("x-acs-security-token"), self._clock.now())
        if problem is not None:
            raise ServiceError(400, *TOKEN_ERRORS[problem])
        return credential


def _authorization(request: Request) -> tuple[str, list[str], str]:
    text = request.header("Authorization")
    if not text:
        raise ServiceError(400, "IncompleteSignature", "The request has no Authorization header.")
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise ServiceError(400, "IncompleteSignature", "The Authorization header is not well formed.")
    if found[1] != ALGORITHM:
        raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
    return found[2], found[3].lower().split(";"), found[4]
