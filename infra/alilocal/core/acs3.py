"""Signature V3, ACS3-HMAC-SHA256 or ACS3-HMAC-SM3: how the API gateway verifies requests.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.gateway import Nonces, check_key, check_time
from alilocal.core.http import Request, ServiceError
from alilocal.core.switches import GatewaySwitches

ALGORITHM = "ACS3-HMAC-SHA256"
_DIGESTS = {ALGORITHM: "sha256", "ACS3-HMAC-SM3": "sm3"}
"""The hash function of each algorithm. Not every build of OpenSSL has SM3."""

_AUTHORIZATION = re.compile(r"(\S+) Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")
_MANDATORY = ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce")
# Most SDKs have the first one for SM3 too.
_PAYLOAD_HASHES = ("x-acs-content-sha256", "x-acs-content-sm3")


def signature(
    secret: str,
    request: Request,
    signed_headers: list[str],
    payload_hash: str,
    algorithm: str = ALGORITHM,
) -> str:
    """Return the signature of `request` over `signed_headers`, in lower-case hexadecimal.

    The path is used as sent. The query is decoded like a form and encoded again, because clients send `+` where they
    signed `%20`.
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
    digest = _DIGESTS[algorithm]
    to_sign = f"{algorithm}\n{hashlib.new(digest, canonical.encode()).hexdigest()}"
    return hmac.digest(secret.encode(), to_sign.encode(), digest).hex()


def canonical_query(request: Request) -> str:
    """Return the encoded parameters, sorted by name; an empty value keeps its `=`."""
    pairs = request.query_pairs(plus_is_space=True)
    encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _header(request: Request, name: str) -> str:
    values = request.header_values(name)
    return values[0] if len(values) == 1 else ",".join(sorted(values))


class Acs3:
    """Verifies requests."""

    def __init__(
        self, credentials: Credentials, clock: CloudClock, switches: GatewaySwitches, version: str
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._version = version
        self._nonces = Nonces(clock, switches)

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes."""
        algorithm, key_id, signed_headers, given = _authorization(request)
        self._check_headers(request, signed_headers)
        check_time(request.header("x-acs-date") or "", self._clock)
        token = request.header("x-acs-security-token")
        credential = check_key(self._credentials, key_id, token, self._clock.now())
        payload_hash = hashlib.new(_DIGESTS[algorithm], request.body).hexdigest()
        expected = signature(credential.access_key_secret, request, signed_headers, payload_hash, algorithm)
        if _payload_hash(request) != payload_hash or not hmac.compare_digest(given, expected):
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
        if not _payload_hash(request):
            raise ServiceError(
                400, "MissingParameter", f"The header {_PAYLOAD_HASHES[0]} is mandatory for this action."
            )
        needed = {"host", *(name for name, _ in request.headers_from("x-acs-"))}
        if not needed <= set(signed_headers):
            unsigned = ", ".join(sorted(needed - set(signed_headers)))
            raise ServiceError(400, "IncompleteSignature", f"These headers must be signed: {unsigned}.")
        if request.header("x-acs-version") != self._version:
            raise ServiceError(400, "InvalidVersion", "Specified parameter Version is not valid.")


def _payload_hash(request: Request) -> str | None:
    return next((found for name in _PAYLOAD_HASHES if (found := request.header(name))), None)


def _authorization(request: Request) -> tuple[str, str, list[str], str]:
    text = request.header("Authorization")
    if not text:
        raise ServiceError(400, "IncompleteSignature", "The request has no Authorization header.")
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise ServiceError(400, "IncompleteSignature", "The Authorization header is not well formed.")
    if _DIGESTS.get(found[1]) not in hashlib.algorithms_available:
        raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
    return found[1], found[2], found[3].lower().split(";"), found[4]
