"""Credentials, and the two signatures made with them.

ACS3-HMAC-SHA256 is the signature of the API gateway, MNS V2 (HMAC-SHA1) that of SMQ. The functions are pure: they get
the time and the nonce as arguments.

Sources: "V3 request structure and signature"
(https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature) and
"Signature" of SMQ (https://www.alibabacloud.com/help/doc-detail/27487.htm).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote

from fcruntime.context import read_credentials
from fcruntime.dataclass import dataclass
from hpoq.errors import NoCredentials

ACS3 = "ACS3-HMAC-SHA256"


def percent_encode(text: str) -> str:
    """Percent-encode the UTF-8 form of `text` by RFC 3986: all except letters, digits and `-_.~`."""
    return quote(text, safe="~")


def canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    """Return the parameters encoded, sorted by name and joined. Empty values keep their `=`.

    The result must be sent unchanged.
    """
    encoded = sorted((percent_encode(name), percent_encode(value)) for name, value in parameters)
    return "&".join(f"{name}={value}" for name, value in encoded)


def acs3_headers(
    *,
    method: str,
    path: str,
    query: str,
    host: str,
    action: str,
    version: str,
    body: bytes,
    content_type: str | None,
    credentials: Credentials,
    now: float,
    nonce: str,
) -> dict[str, str]:
    """Return all headers that the gateway requires, including `Authorization`.

    `path` and `query` are percent-encoded, exactly as they will be sent. `now` is in seconds since the epoch. The
    gateway refuses a nonce that it has seen.
    """
    payload_hash = hashlib.sha256(body).hexdigest()
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": format_time(int(now)) + "Z",
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": payload_hash,
    }
    if content_type is not None:
        headers["content-type"] = content_type
    if credentials.security_token is not None:
        headers["x-acs-security-token"] = credentials.security_token
    signed = acs3_sign(method, path, query, headers, payload_hash, credentials)
    return {**headers, "Authorization": signed}


@lru_cache(maxsize=8)
def format_time(seconds: int) -> str:
    """Return a time in seconds since the epoch in UTC, without a zone. Cached, because a second has many calls."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()[:19]


def acs3_sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
) -> str:
    """Return the `Authorization` value that signs exactly these headers. `query` must be canonical."""
    canonical_headers, names = _canonical_headers(headers)
    canonical = "\n".join((method, path, query, canonical_headers, names, payload_hash))
    to_sign = f"{ACS3}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = credentials.access_key_secret.encode()
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"{ACS3} Credential={credentials.access_key_id},SignedHeaders={names},Signature={signature}"


def _canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    merged: dict[str, list[str]] = {}
    for name, value in headers.items():
        merged.setdefault(name.lower(), []).append(value.strip())
    names = sorted(merged)
    lines = "".join(f"{name}:{','.join(sorted(merged[name]))}\n" for name in names)
    return lines, ";".join(names)


def mns_authorization(
    method: str, resource: str, headers: Mapping[str, str], credentials: Credentials
) -> str:
    """Return the `Authorization` value of SMQ.

    `resource` is the path and query byte for byte as on the request line. The signature covers the headers
    Content-MD5, Content-Type, Date (or x-mns-date instead) and every `x-mns-*`.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    date = lower.get("date") or lower.get("x-mns-date", "")
    fixed = (method, lower.get("content-md5", ""), lower.get("content-type", ""), date)
    mns = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-mns-"))
    text = "\n".join(fixed) + "\n" + mns + resource
    digest = hmac.digest(credentials.access_key_secret.encode(), text.encode(), "sha1")
    return f"MNS {credentials.access_key_id}:{base64.b64encode(digest).decode()}"


@dataclass(frozen=True)
class Credentials:
    """An access key, with its security token if the key is temporary.

    `repr` and `str` show only the masked id. Raises NoCredentials if a part is empty or cannot be part of an
    HTTP header.
    """

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None

    def __post_init__(self) -> None:
        if not self.access_key_id or not self.access_key_secret or self.security_token == "":
            raise _missing("an access key needs an id and a secret, and its token must not be empty")
        text = "".join(self._parts())
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise _missing("the access key contains spaces, control characters or non-ASCII characters")

    def secrets(self) -> tuple[str, ...]:
        """Return the parts that must never be shown."""
        return self._parts()[1:]

    def _parts(self) -> tuple[str, ...]:
        parts = (self.access_key_id, self.access_key_secret)
        return parts if self.security_token is None else (*parts, self.security_token)

    @property
    def masked_id(self) -> str:
        """The beginning of the id, which is not secret but need not be shown in full."""
        return f"{self.access_key_id[:4]}***" if len(self.access_key_id) > 8 else "***"

    def __repr__(self) -> str:
        return f"Credentials({self.masked_id})"


CredentialsProvider: TypeAlias = Callable[[], Credentials]
"""Returns the current credentials. Called before each try, so that rotated credentials are picked up."""


def from_environment(environ: Mapping[str, str] | None = None) -> CredentialsProvider:
    """Return a provider that reads the environment.

    The variables are ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
    ALIBABA_CLOUD_SECURITY_TOKEN, as in the vendor's own `alibabacloud-credentials`. An empty variable counts as
    not set.
    """
    source = os.environ if environ is None else environ
    reason = "the ALIBABA_CLOUD_ACCESS_KEY_* variables are not set"
    return _Source(lambda: [source.get(name) for name in _ENVIRONMENT_NAMES], reason)


def from_context(fc_context: object) -> CredentialsProvider:
    """Return a provider that reads `context.credentials` of Function Compute.

    The context of the 3.12 runtime has none. That of others has empty strings if the function has no role.
    """

    def read() -> list[str | None]:
        found = read_credentials(fc_context)
        return [found.access_key_id, found.access_key_secret, found.security_token] if found else []

    return _Source(read, "the function's context has no credentials")


def chain(*providers: CredentialsProvider) -> CredentialsProvider:
    """Return a provider that uses the first of `providers` that has credentials.

    It raises NoCredentials with the reasons of all providers if none has.
    """

    def provide() -> Credentials:
        reasons: list[str] = []
        for provider in providers:
            try:
                if not isinstance(provider, _Source):
                    return provider()
                # Most contexts have none: this avoids raising an exception at every call.
                if found := provider.find():
                    return found
                reasons.append(provider.reason)
            except NoCredentials as exc:
                reasons.append(exc.message)
        raise _missing("; ".join(reasons) or "no source of credentials is configured")

    return provide


_ENVIRONMENT_NAMES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
)


class _Source:
    """A provider of the credentials whose id, secret and token `read` returns.

    They are checked again only if they have changed. A call raises NoCredentials with `reason` if they are missing.
    """

    def __init__(self, read: Callable[[], list[str | None]], reason: str) -> None:
        self._read = read
        self.reason = reason
        self._last: tuple[list[str | None], Credentials] | None = None

    def find(self) -> Credentials | None:
        """Return the credentials, or None if they are missing."""
        values, last = self._read(), self._last
        if last is None or last[0] != values:
            key_id, secret, token = [(value or "").strip() for value in values] or ("", "", "")
            if not key_id or not secret:
                return None
            self._last = last = values, Credentials(key_id, secret, token or None)
        return last[1]

    def __call__(self) -> Credentials:
        found = self.find()
        if found is None:
            raise _missing(self.reason)
        return found


def _missing(message: str) -> NoCredentials:
    return NoCredentials(message, service="credentials", operation="resolve")
