"""Tablestore's signatures, versions 2 and 4, of requests and of answers, seen from the service.

Source: the HTTP interface (https://help.aliyun.com/document_detail/27299.html) and `tablestore/auth.py` of the SDK.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import datetime, timezone

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials
from alilocal.core.http import Headers, Request
from alilocal.tablestore.errors import AuthFailed, ParameterInvalid

SKEW_SECONDS = 900
VERSION = "2015-12-31"
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{1,6})Z", re.ASCII)
_OWN = ("x-ots-signature", "x-ots-signaturev4")


class Signatures:
    """Verifies requests, and signs answers with the key that the request was signed with."""

    def __init__(self, credentials: Credentials, clock: CloudClock) -> None:
        self._credentials = credentials
        self._clock = clock

    def verify(self, request: Request) -> Credential:
        """Whose request it is; raises AuthFailed."""
        for name in (
            "x-ots-date",
            "x-ots-apiversion",
            "x-ots-accesskeyid",
            "x-ots-contentmd5",
            "x-ots-instancename",
        ):
            if not request.header(name):
                raise ParameterInvalid(f"Missing header: '{name}'.")
        credential = self._credentials.get(request.header("x-ots-accesskeyid") or "")
        if credential is None or not credential.active:
            raise AuthFailed("The AccessKeyID does not exist.")
        text = request.header("x-ots-date") or ""
        if not self._clock.is_near(_moment(text), SKEW_SECONDS):
            raise AuthFailed(f"Mismatch between system time and x-ots-date: {text}.")
        if request.header("x-ots-contentmd5") != digest(request.body):
            raise AuthFailed("Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
        if not hmac.compare_digest(self._signature(request, credential), self._given(request)):
            raise AuthFailed("Signature mismatch.")
        problem = credential.token_problem(request.header("x-ots-ststoken"), self._clock.now())
        if problem is not None:
            raise AuthFailed(f"The security token is refused: {problem}.")
        return credential

    def signed(self, request: Request, credential: Credential, body: bytes, request_id: str) -> Headers:
        """The headers of an answer, its authorization among them."""
        moment = datetime.fromtimestamp(self._clock.now(), timezone.utc)
        headers = {
            "x-ots-contentmd5": digest(body),
            "x-ots-contenttype": "protocol buffer",
            "x-ots-date": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "x-ots-requestid": request_id,
        }
        text = "\n".join(f"{name}:{value}" for name, value in sorted(headers.items())) + f"\n{request.path}"
        key = self._key(request, credential)
        given = base64.b64encode(hmac.digest(key, text.encode(), "sha1")).decode()
        return (*headers.items(), ("Authorization", f"OTS {credential.access_key_id}:{given}"))

    @staticmethod
    def _given(request: Request) -> str:
        return request.header("x-ots-signaturev4") or request.header("x-ots-signature") or ""

    def _signature(self, request: Request, credential: Credential) -> str:
        signed = request.headers_like("x-ots-")
        lines = "".join(f"{name}:{value}\n" for name, value in signed if name not in _OWN)
        text = f"{request.path}\nPOST\n\n{lines}"
        is_new = bool(request.header("x-ots-signaturev4"))
        method, suffix = ("sha256", "ots") if is_new else ("sha1", "")
        made = hmac.digest(self._key(request, credential), (text + suffix).encode(), method)
        return base64.b64encode(made).decode()

    @staticmethod
    def _key(request: Request, credential: Credential) -> bytes:
        """The secret, or what version 4 derives from it: text, not its bytes."""
        secret = credential.access_key_secret
        if not request.header("x-ots-signaturev4"):
            return secret.encode()
        key = f"aliyun_v4{secret}".encode()
        for part in (
            request.header("x-ots-signdate"),
            request.header("x-ots-signregion"),
            "ots",
            "aliyun_v4_request",
        ):
            key = hmac.digest(key, (part or "").encode(), "sha256")
        return base64.b64encode(key)


def digest(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _moment(text: str) -> float:
    # What `strptime` takes for `%Y-%m-%dT%H:%M:%S.%fZ` at a tenth of its time.
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        fraction = int(found[7].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, fraction, timezone.utc).timestamp()
    except ValueError:
        raise ParameterInvalid("Invalid date in header x-ots-date.") from None
