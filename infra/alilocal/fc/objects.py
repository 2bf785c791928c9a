"""The bucket for code packages: uploads with a temporary key, and downloads by a signed address.

Object storage itself is not part of the local cloud. Signature version 1:
https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

from alilocal.core.credentials import Credential
from alilocal.core.gateway import sign_sha1
from alilocal.core.http import Request, Response, ServiceError, read_http_date
from alilocal.core.jsonvalue import JsonObject, read_whole
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.errors import NotFound
from alilocal.fc.packages import Packages
from alilocal.fc.switches import FunctionComputeSwitches

_TOKEN_SECONDS = 3600


class Objects:
    """Takes and gives code packages."""

    def __init__(self, world: World[FunctionComputeSwitches], packages: Packages) -> None:
        self._world = world
        self._packages = packages
        self.bucket = f"alilocal-fc-{world.region}"

    def key(self, request: Request) -> str | None:
        """Return the key of the object that a request addresses, or None if it addresses none of this bucket."""
        path = unquote(request.path)
        if path.startswith(f"/{self.bucket}/"):
            return path.removeprefix(f"/{self.bucket}/")
        is_own = (request.header("Host") or "").startswith(f"{self.bucket}.")
        return path.removeprefix("/") if is_own else None

    def token(self, call: Call) -> Response:
        """GetTempBucketToken: return a key that may upload one package."""
        ids, account = self._world.ids, self._world.account_id
        name, expires_at = ids.uuid(), self._world.clock.now() + _TOKEN_SECONDS
        allowed: JsonObject = {
            "Effect": "Allow",
            "Action": ["oss:PutObject", "oss:GetObject"],
            "Resource": [f"acs:oss:*:*:{self.bucket}/*"],
        }
        key = self._world.credentials.register(
            f"STS.{ids.token(24)}",
            ids.token(44),
            user_id=account,
            security_token=ids.token(120),
            expires_at=expires_at,
            policy={"Version": "1", "Statement": [allowed]},
            arn=f"acs:ram::{account}:assumed-role/upload/{name}",
        )
        credentials: JsonObject = {
            "AccessKeyId": key.access_key_id,
            "AccessKeySecret": key.access_key_secret,
            "SecurityToken": key.security_token,
            "Expiration": wire.format_time(expires_at),
        }
        answer: JsonObject = {
            "credentials": credentials,
            "ossRegion": self._world.region,
            "ossBucket": self.bucket,
            "objectName": name,
        }
        return wire.json_answer(call.request_id, answer)

    def put(self, call: Call) -> Response:
        """PutObject."""
        key = self.key(call.request) or ""
        self._packages.uploads[f"{self.bucket}/{key}"] = call.request.body
        etag = hashlib.md5(call.request.body, usedforsecurity=False).hexdigest().upper()
        return Response(200, (("ETag", f'"{etag}"'), ("x-oss-request-id", call.request_id)))

    def get(self, call: Call) -> Response:
        """GetObject."""
        key = self.key(call.request) or ""
        body = self._packages.uploads.get(f"{self.bucket}/{key}") or self._packages.by_key.get(key)
        if body is None:
            raise NotFound("Object", key)
        headers = (("Content-Type", "application/zip"), ("x-oss-request-id", call.request_id))
        return Response(200, headers, body)

    def offer(self, request: Request, package: str) -> str:
        """Return an address where the caller of `request` can download a package for an hour."""
        key = self._world.credentials.list()[0]
        expires = str(int(self._world.clock.now()) + _TOKEN_SECONDS)
        resource = f"/{self.bucket}/{package}"
        digest = sign_sha1(key.access_key_secret, f"GET\n\n\n{expires}\n{resource}")
        given = f"OSSAccessKeyId={key.access_key_id}&Expires={expires}&Signature={quote(digest, safe='')}"
        return f"http://{request.authority}{resource}?{given}"

    def verify(self, request: Request) -> Credential:
        """Return the credential that signed a request in its header or in its address; raises ServiceError."""
        given = dict(request.query_pairs(plus_is_space=False))
        if "Signature" in given:
            key_id, digest, times = (
                given.get("OSSAccessKeyId", ""),
                given["Signature"],
                [given.get("Expires", "")],
            )
            is_late = read_whole(times[0], int(self._world.clock.now())) is None
        else:
            scheme, _, rest = (request.header("Authorization") or "").partition(" ")
            key_id, _, digest = rest.partition(":")
            if scheme != "OSS":
                raise _make_denial("the request is not signed with version 1 of the signature")
            times = [text for name in ("x-oss-date", "Date") if (text := request.header(name))]
            is_late = not self._is_now(times)
        credential = self._world.credentials.get(key_id)
        if credential is None or not credential.active:
            raise ServiceError(
                403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist."
            )
        token = request.header("x-oss-security-token") or given.get("security-token")
        if credential.token_problem(token, self._world.clock.now()) is not None:
            raise ServiceError(403, "InvalidAccessKeyId", "The security token you provided is invalid.")
        if is_late:
            raise _make_denial("Request has expired.")
        expected = {sign_sha1(credential.access_key_secret, self._to_sign(request, time)) for time in times}
        if digest not in expected:
            raise ServiceError(
                403, "SignatureDoesNotMatch", "The request signature we calculated does not match yours."
            )
        return credential

    def _is_now(self, times: list[str]) -> bool:
        try:
            moment = read_http_date(times[0])
        except (IndexError, ValueError):
            return False
        return self._world.clock.is_near(moment)

    def _to_sign(self, request: Request, time: str) -> str:
        own = "".join(f"{name}:{value}\n" for name, value in request.headers_from("x-oss-"))
        fixed = (request.header("Content-MD5") or "", request.header("Content-Type") or "", time)
        return "\n".join((request.method, *fixed, f"{own}/{self.bucket}/{self.key(request)}"))


def _make_denial(message: str) -> ServiceError:
    return ServiceError(403, "AccessDenied", message)
