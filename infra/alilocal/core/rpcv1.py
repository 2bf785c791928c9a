"""RPC signature 1.0, HMAC-SHA1 over all parameters: how the API gateway verifies requests.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism. Older clients use it, and the
official chain of credentials when it assumes a role.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import quote

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.gateway import Nonces, check_key, check_time, sign_sha1, signature_mismatch
from alilocal.core.http import ServiceError
from alilocal.core.switches import GatewaySwitches

_MANDATORY = ("AccessKeyId", "Timestamp", "SignatureNonce", "Signature")


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Return the text that is signed: the parameters without `Signature`, sorted by name and encoded twice."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    return f"{method}&%2F&{quote(canonical, safe='~')}"


def signature(secret: str, method: str, parameters: Mapping[str, str]) -> str:
    """Return the signature of a call with `parameters` as base64."""
    return sign_sha1(f"{secret}&", string_to_sign(method, parameters))


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
        expected = signature(credential.access_key_secret, method, parameters)
        if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
            raise signature_mismatch(string_to_sign(method, parameters))
        self._nonces.use(credential.access_key_id, parameters["SignatureNonce"])
        return credential
