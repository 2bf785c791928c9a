"""The signatures of the API gateway: how it verifies requests, and which of three versions a request has.

**V3** (ACS3-HMAC-SHA256 or ACS3-HMAC-SM3) signs method, path, query and headers
(https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature).

**ROA** of version 1 (HMAC-SHA1) signs method, headers and resource
(https://www.alibabacloud.com/help/en/sdk/product-overview/roa-mechanism). So do aliyun-python-sdk-core,
@alicloud/pop-core, and all that are set to `signature_algorithm="v2"`.

**RPC** of version 1 signs all parameters (https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism).
The official chain of credentials uses it when it assumes a role.

A client may send marks of several versions: older SDKs sign their parameters and send the headers of the newest
version as well. What was signed decides, never a header that anybody may add.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from alilocal.core.credentials import Credential
from alilocal.core.gateway import Nonces, check_key, check_time, sign_sha1, signature_mismatch
from alilocal.core.http import Request, ServiceError, read_http_date
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World

ALGORITHM = "ACS3-HMAC-SHA256"
_DIGESTS = {ALGORITHM: "sha256", "ACS3-HMAC-SM3": "sm3"}
"""The hash function of each algorithm. Not every build of OpenSSL has SM3."""

_V3_AUTHORIZATION = re.compile(r"(\S+) Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")
_V3_HEADERS = ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce")
# Most SDKs have the first one for SM3 too.
_PAYLOAD_HASHES = ("x-acs-content-sha256", "x-acs-content-sm3")


def sign_v3(
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
    """Verifies requests of version 3."""

    def __init__(self, world: World[GatewaySwitches], version: str) -> None:
        self._world = world
        self._version = version
        self._nonces = Nonces(world.clock, world.behaviour)

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes."""
        algorithm, key_id, signed_headers, given = _read_v3_authorization(request)
        self._check_headers(request, signed_headers)
        check_time(request.header("x-acs-date") or "", self._world.clock)
        token = request.header("x-acs-security-token")
        credential = check_key(self._world.credentials, key_id, token, self._world.clock.now())
        payload_hash = hashlib.new(_DIGESTS[algorithm], request.body).hexdigest()
        expected = sign_v3(credential.access_key_secret, request, signed_headers, payload_hash, algorithm)
        if _payload_hash(request) != payload_hash or not hmac.compare_digest(given, expected):
            raise ServiceError(
                400, "SignatureDoesNotMatch", "Specified signature does not match our calculation."
            )
        self._nonces.use(key_id, request.header("x-acs-signature-nonce") or "")
        return credential

    def _check_headers(self, request: Request, signed_headers: list[str]) -> None:
        for name in _V3_HEADERS:
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


def _read_v3_authorization(request: Request) -> tuple[str, str, list[str], str]:
    text = request.header("Authorization")
    if not text:
        raise ServiceError(400, "IncompleteSignature", "The request has no Authorization header.")
    found = _V3_AUTHORIZATION.fullmatch(text)
    if found is None:
        raise ServiceError(400, "IncompleteSignature", "The Authorization header is not well formed.")
    if _DIGESTS.get(found[1]) not in hashlib.algorithms_available:
        raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
    return found[1], found[2], found[3].lower().split(";"), found[4]


_ROA_SCHEME = "acs "
_ROA_AUTHORIZATION = re.compile(r"acs ([^:\s]+):(\S+)")
_RPC_PARAMETERS = ("AccessKeyId", "Timestamp", "SignatureNonce", "Signature")
_LINES = ("Accept", "Content-MD5", "Content-Type", "Date")


def roa_strings_to_sign(request: Request) -> list[str]:
    """Return the texts that a client may have signed, the usual one first.

    The resource is signed without encoding. Clients differ in the path, which some encode before they sign it, and in
    a parameter with an empty value, whose `=` some leave out.
    """
    head = "\n".join([request.method.upper(), *(request.header(name) or "" for name in _LINES)])
    own = "".join(f"{name}:{value}\n" for name, value in request.headers_from("x-acs-"))
    pairs = sorted(request.query_pairs(plus_is_space=True))
    full = [f"{name}={value}" for name, value in pairs]
    short = [f"{name}={value}" if value else name for name, value in pairs]
    queries = dict.fromkeys(("&".join(full), "&".join(short)))
    paths = dict.fromkeys((request.path, unquote(request.path)))
    return [f"{head}\n{own}{path}{f'?{query}' if query else ''}" for path in paths for query in queries]


class RoaV1:
    """Verifies requests of version 1 by their headers."""

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self._world = world
        self._nonces = Nonces(world.clock, world.behaviour)

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes."""
        found = _ROA_AUTHORIZATION.fullmatch(request.header("Authorization") or "")
        if found is None:
            raise ServiceError(400, "IncompleteSignature", "The Authorization header is not well formed.")
        self._check_date(request.header("Date"))
        token = request.header("x-acs-security-token")
        credential = check_key(self._world.credentials, found[1], token, self._world.clock.now())
        texts = roa_strings_to_sign(request)
        expected = [sign_sha1(credential.access_key_secret, text).encode() for text in texts]
        if not any(hmac.compare_digest(found[2].encode(), one) for one in expected):
            raise signature_mismatch(texts[0])
        _check_digest(request)
        nonce = request.header("x-acs-signature-nonce")
        if nonce:
            self._nonces.use(credential.access_key_id, nonce)
        return credential

    def _check_date(self, text: str | None) -> None:
        if not text:
            raise ServiceError(400, "MissingDate", "The header Date is mandatory for this action.")
        try:
            moment = read_http_date(text)
        except ValueError:
            raise ServiceError(
                400, "InvalidDate.Format", "Specified time stamp or date value is not well formatted."
            ) from None
        if not self._world.clock.is_near(moment):
            raise ServiceError(400, "InvalidDate.Expired", "Specified time stamp or date value is expired.")


def _check_digest(request: Request) -> None:
    given = request.header("Content-MD5")
    if not given:
        return
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    if given != base64.b64encode(digest).decode():
        raise ServiceError(400, "InvalidDigest", "The Content-MD5 you specified does not match the body.")


def rpc_string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Return the text that is signed: the parameters without `Signature`, sorted by name and encoded twice."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    return f"{method}&%2F&{quote(canonical, safe='~')}"


def sign_rpc(secret: str, method: str, parameters: Mapping[str, str]) -> str:
    """Return the signature of a call with `parameters` as base64."""
    return sign_sha1(f"{secret}&", rpc_string_to_sign(method, parameters))


class RpcV1:
    """Verifies calls of version 1 by their parameters, which come from the query and from a form in the body."""

    def __init__(self, world: World[GatewaySwitches]) -> None:
        self._world = world
        self._nonces = Nonces(world.clock, world.behaviour)

    def verify(self, method: str, parameters: Mapping[str, str]) -> Credential:
        """Return the credential that signed a call; raises ServiceError with the gateway's codes."""
        for name in _RPC_PARAMETERS:
            if not parameters.get(name):
                raise ServiceError(400, f"Missing{name}", f"{name} is mandatory for this action.")
        if parameters.get("SignatureMethod", "HMAC-SHA1") != "HMAC-SHA1":
            raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
        check_time(parameters["Timestamp"], self._world.clock)
        token = parameters.get("SecurityToken")
        credential = check_key(
            self._world.credentials, parameters["AccessKeyId"], token, self._world.clock.now()
        )
        expected = sign_rpc(credential.access_key_secret, method, parameters)
        if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
            raise signature_mismatch(rpc_string_to_sign(method, parameters))
        self._nonces.use(credential.access_key_id, parameters["SignatureNonce"])
        return credential


_RPC_MARKS = ("Signature", "AccessKeyId", "SignatureNonce")


class GatewaySignatures:
    """Verifies the requests of one service, whose API version is `version`."""

    def __init__(self, world: World[GatewaySwitches], version: str) -> None:
        self._v3 = Acs3(world, version)
        self._roa = RoaV1(world)
        self._rpc = RpcV1(world)

    def verify(self, request: Request, parameters: Mapping[str, str] | None = None) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes.

        `parameters` are those of a call of the RPC style, None for a service of the ROA style.
        """
        scheme = request.header("Authorization") or ""
        if scheme.startswith(_ROA_SCHEME):
            return self._roa.verify(request)
        if parameters is None or scheme:
            return self._v3.verify(request)
        if request.header("x-acs-version") and not any(name in parameters for name in _RPC_MARKS):
            return self._v3.verify(request)
        return self._rpc.verify(request.method, parameters)


def is_v3(request: Request) -> bool:
    """Return whether a request claims to be signed with version 3, whose headers come before parameters."""
    return (request.header("Authorization") or "").startswith("ACS3")
