"""RPC signature 1.0, HMAC-SHA1 over all parameters, seen from the API gateway.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism. Older clients sign so, and the
official chain of credentials when it assumes a role.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from alilocal.core.acs3 import TOKEN_ERRORS, Nonces, check_time
from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.http import ServiceError

_MANDATORY = ("AccessKeyId", "Timestamp", "SignatureNonce", "Signature")


def signature(secret: str, method: str, parameters: Mapping[str, str]) -> str:
    """The signature of a call with `parameters`, base64; `Signature` itself is left out."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    to_sign = f"{method}&%2F&{quote(canonical, safe='~')}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()).decode()


class RpcV1:
    """Verifies calls by their parameters, which come from the query and a form in the body."""

    def __init__(self, credentials: Credentials, clock: CloudClock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._nonces = Nonces(clock)

    def verify(self, method: str, parameters: Mapping[str, str]) -> Credential:
        """Whose call it is; raises ServiceError with the gateway's code if that is not proven."""
        for name in _MANDATORY:
            if not parameters.get(name):
                raise ServiceError(400, f"Missing{name}", f"{name} is mandatory for this action.")
        if parameters.get("SignatureMethod", "HMAC-SHA1") != "HMAC-SHA1":
            raise ServiceError(400, "InvalidSignatureMethod", "Specified signature method is not valid.")
        check_time(parameters["Timestamp"], self._clock)
        credential = self._credentials.get(parameters["AccessKeyId"])
        if credential is None:
            raise ServiceError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if not credential.active:
            raise ServiceError(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
        problem = credential.token_problem(parameters.get("SecurityToken"), self._clock.now())
        if problem is not None:
            raise ServiceError(400, *TOKEN_ERRORS[problem])
        expected = signature(credential.access_key_secret, method, parameters)
        if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
            raise ServiceError(
                400, "SignatureDoesNotMatch", "Specified signature does not match our calculation."
            )
        self._nonces.use(credential.access_key_id, parameters["SignatureNonce"])
        return credential
