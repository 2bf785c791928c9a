"""The signatures of version 1, HMAC-SHA1: how the API gateway verifies requests of older clients.

**ROA** signs method, headers and resource
(https://www.alibabacloud.com/help/en/sdk/product-overview/roa-mechanism). So do aliyun-python-sdk-core,
@alicloud/pop-core, and all that are set to `signature_algorithm="v2"`.

**RPC** signs all parameters (https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism). The official
chain of credentials uses it when it assumes a role.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.gateway import Nonces, check_key, check_time, sign_sha1, signature_mismatch
from alilocal.core.http import Request, ServiceError, read_http_date
from alilocal.core.switches import GatewaySwitches

SCHEME = "acs "
_AUTHORIZATION = re.compile(r"acs ([^:\s]+):(\S+)")
_MANDATORY = ("AccessKeyId", "Timestamp", "SignatureNonce", "Signature")
_LINES = ("Accept", "Content-MD5", "Content-Type", "Date")


def roa_strings_to_sign(request: Request) -> list[str]:
    """Return the texts that a client may have signed, the usual one first.

    The resource is signed without encoding. Clients differ in the path, which some encode before they sign it, and in
    a parameter with an empty value, whose `=` some leave out.
    """
    head = "\n".join([request.method.upper(), *(request.header(name) or "" for name in _LINES)])
    own = "".join(f"{name}:{value}\n" for name, value in request.headers_from("x-acs-"))
    pairs = sorted(request.query_pairs(plus_is_space=True))
    queries = dict.fromkeys(
        ("&".join(f"{name}={value}" for name, value in pairs), "&".join(_short(*pair) for pair in pairs))
    )
    paths = dict.fromkeys((request.path, unquote(request.path)))
    return [f"{head}\n{own}{path}{f'?{query}' if query else ''}" for path in paths for query in queries]


def _short(name: str, value: str) -> str:
    return f"{name}={value}" if value else name


class RoaV1:
    """Verifies requests by their headers."""

    def __init__(self, credentials: Credentials, clock: CloudClock, switches: GatewaySwitches) -> None:
        self._credentials = credentials
        self._clock = clock
        self._nonces = Nonces(clock, switches)

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError with the gateway's codes."""
        found = _AUTHORIZATION.fullmatch(request.header("Authorization") or "")
        if found is None:
            raise ServiceError(400, "IncompleteSignature", "The Authorization header is not well formed.")
        self._check_date(request.header("Date"))
        token = request.header("x-acs-security-token")
        credential = check_key(self._credentials, found[1], token, self._clock.now())
        texts = roa_strings_to_sign(request)
        if not _is_signed(credential.access_key_secret, texts, found[2]):
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
        if not self._clock.is_near(moment):
            raise ServiceError(400, "InvalidDate.Expired", "Specified time stamp or date value is expired.")


def _is_signed(secret: str, texts: Sequence[str], given: str) -> bool:
    return any(hmac.compare_digest(given.encode(), sign_sha1(secret, text).encode()) for text in texts)


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
    """Verifies calls by their parameters, which come from the query and from a form in the body."""

    def __init__(self, credentials: Credentials, clock: CloudClock, switches: GatewaySwitches) -> None:
        self._credentials = credentials
        self._clock = clock
        self._nonces = Nonces(clock, switches)

    def verify(self, method: str, parameters: Mapping[str, str]) -> Credential:
        """Return the credential that signed a call; raises ServiceError with the gateway's codes."""
        for name in _MANDATORY:
            if not parameters.get(name):
                raise ServiceError(400, f"Missing{name}", f"{name} is mandatory for this action.")
        if parameters.get("SignatureMethod", "HMAC-SHA1") != "HMAC-SHA1":
            raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
        check_time(parameters["Timestamp"], self._clock)
        token = parameters.get("SecurityToken")
        credential = check_key(self._credentials, parameters["AccessKeyId"], token, self._clock.now())
        expected = sign_rpc(credential.access_key_secret, method, parameters)
        if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
            raise signature_mismatch(rpc_string_to_sign(method, parameters))
        self._nonces.use(credential.access_key_id, parameters["SignatureNonce"])
        return credential
