"""The two signatures: ACS3-HMAC-SHA256 of the API gateway, and V2 (HMAC-SHA1) of SMQ. Pure functions.

Sources: "V3 request structure and signature"
(https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature) and
"Signature" of SMQ (https://www.alibabacloud.com/help/doc-detail/27487.htm).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from urllib.parse import quote

from hpoq.cloud.credentials import Credentials

ACS3 = "ACS3-HMAC-SHA256"


def percent_encode(text: str) -> str:
    """RFC 3986 over UTF-8: only letters, digits and `-_.~` stay as they are."""
    return quote(text, safe="~")


def canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    """Encoded, sorted by name and joined; an empty value keeps its `=`. To be sent exactly as it is."""
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
    """Every header that the gateway asks for, `Authorization` included.

    `path` and `query` are percent-encoded as they will be sent, `now` is in seconds since the epoch. A nonce
    is good for one request only.
    """
    payload_hash = hashlib.sha256(body).hexdigest()
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": payload_hash,
    }
    if content_type is not None:
        headers["content-type"] = content_type
    if credentials.security_token is not None:
        headers["x-acs-security-token"] = credentials.security_token
    signed = acs3_sign(method, path, query, headers, payload_hash, credentials)
    return {**headers, "Authorization": signed}


def acs3_sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
) -> str:
    """The `Authorization` value over exactly these headers; `query` is canonical already."""
    canonical_headers, names = _canonical_headers(headers)
    canonical = "\n".join((method, path or "/", query, canonical_headers, names, payload_hash))
    to_sign = f"{ACS3}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = credentials.access_key_secret.encode()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
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
    """The `Authorization` value of SMQ.

    `resource` is the path and query byte for byte as on the request line. Of `headers` the signature covers
    Content-MD5, Content-Type, Date (or x-mns-date in its place) and every `x-mns-*`.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    date = lower.get("date") or lower.get("x-mns-date", "")
    fixed = (method, lower.get("content-md5", ""), lower.get("content-type", ""), date)
    mns = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-mns-"))
    text = "\n".join(fixed) + "\n" + mns + resource
    digest = hmac.new(credentials.access_key_secret.encode(), text.encode(), hashlib.sha1).digest()
    return f"MNS {credentials.access_key_id}:{base64.b64encode(digest).decode()}"
