"""Tablestore's signatures, versions 2 and 4: how the service verifies requests and signs answers.

Source: the HTTP interface (https://help.aliyun.com/document_detail/27299.html) and `tablestore/auth.py` of the SDK.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timezone

from alilocal.core.credentials import Credential
from alilocal.core.http import Headers, Request
from alilocal.core.world import World
from alilocal.tablestore.errors import AuthFailed, ParameterInvalid
from alilocal.tablestore.switches import TablestoreSwitches

VERSION = "2015-12-31"
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{1,6})Z", re.ASCII)
_MANDATORY = ("x-ots-date", "x-ots-apiversion", "x-ots-accesskeyid", "x-ots-contentmd5", "x-ots-instancename")
_OWN = ("x-ots-signature", "x-ots-signaturev4")


class Signatures:
    """Verifies requests, and signs answers with the key that the request was signed with."""

    def __init__(self, world: World[TablestoreSwitches]) -> None:
        self._world = world

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises AuthFailed and ParameterInvalid."""
        given = dict(request.headers_from("x-ots-"))
        for name in _MANDATORY:
            if not given.get(name):
                raise ParameterInvalid(f"Missing header: '{name}'.")
        credential = self._world.credentials.get(given["x-ots-accesskeyid"])
        if credential is None or not credential.active:
            raise AuthFailed("The AccessKeyID does not exist.")
        text = given["x-ots-date"]
        if not self._world.clock.is_near(_moment(text)):
            raise AuthFailed(f"Mismatch between system time and x-ots-date: {text}.")
        if given["x-ots-contentmd5"] != digest(request.body):
            raise AuthFailed("Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
        claimed = given.get("x-ots-signaturev4") or given.get("x-ots-signature") or ""
        if not hmac.compare_digest(_signature(request.path, given, credential).encode(), claimed.encode()):
            raise AuthFailed("Signature mismatch.")
        problem = credential.token_problem(given.get("x-ots-ststoken"), self._world.clock.now())
        if problem is not None:
            raise AuthFailed(f"The security token is refused: {problem}.")
        return credential

    def signed(self, request: Request, credential: Credential, body: bytes, request_id: str) -> Headers:
        """Return the headers of an answer, with its signature."""
        moment = datetime.fromtimestamp(self._world.clock.sent_at(request.sent_at()), timezone.utc)
        # Sorted by name, as the signature requires.
        headers = (
            ("x-ots-contentmd5", digest(body)),
            ("x-ots-contenttype", "protocol buffer"),
            ("x-ots-date", f"{moment.isoformat(timespec='microseconds').partition('+')[0]}Z"),
            ("x-ots-requestid", request_id),
        )
        text = "".join([f"{name}:{value}\n" for name, value in headers]) + request.path
        is_new = request.header("x-ots-signaturev4") is not None
        key = _key(dict(request.headers_from("x-ots-sign")) if is_new else {}, credential)
        given = base64.b64encode(hmac.digest(key, text.encode(), "sha1")).decode()
        return (*headers, ("Authorization", f"OTS {credential.access_key_id}:{given}"))


def _signature(path: str, given: Mapping[str, str], credential: Credential) -> str:
    lines = "".join([f"{name}:{value}\n" for name, value in given.items() if name not in _OWN])
    text = f"{path}\nPOST\n\n{lines}"
    is_new = bool(given.get("x-ots-signaturev4"))
    signed = f"{text}{'ots' if is_new else ''}".encode()
    made = hmac.digest(_key(given, credential), signed, "sha256" if is_new else "sha1")
    return base64.b64encode(made).decode()


def _key(given: Mapping[str, str], credential: Credential) -> bytes:
    """Return the signing key: the secret, or for version 4 the base64 text of a key derived from it."""
    secret = credential.access_key_secret
    if not given.get("x-ots-signaturev4"):
        return secret.encode()
    key = f"aliyun_v4{secret}".encode()
    for part in (given.get("x-ots-signdate"), given.get("x-ots-signregion"), "ots", "aliyun_v4_request"):
        key = hmac.digest(key, (part or "").encode(), "sha256")
    return base64.b64encode(key)


def digest(body: bytes) -> str:
    """Return the base64 MD5 of a body."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _moment(text: str) -> float:
    # `strptime` with `%Y-%m-%dT%H:%M:%S.%fZ` accepts the same and takes ten times as long.
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        fraction = int(found[7].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, fraction, timezone.utc).timestamp()
    except ValueError:
        raise ParameterInvalid("Invalid date in header x-ots-date.") from None
