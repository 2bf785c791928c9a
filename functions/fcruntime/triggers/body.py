"""Message bodies: plain text, or one layer of base64 around it.

SMQ's SDKs encode on send by default and the trigger's `IsBase64Decode` undoes it by default, but neither is
certain, so the body itself decides: base64 is undone only where a JSON object or array is inside, which can
never be mistaken, since `{` and `[` are no characters of base64.
"""

from __future__ import annotations

import base64
import binascii

_JSON_STARTS = (b"{", b"[")
_BOM = b"\xef\xbb\xbf"


def looks_like_json(body: bytes) -> bool:
    """Whether the first character that counts opens a JSON object or array."""
    return body.removeprefix(_BOM).lstrip(b" \t\r\n").startswith(_JSON_STARTS)


def unwrap_base64(body: bytes) -> bytes:
    """`body` without its layer of base64, if that is one around a JSON object or array; else as it is."""
    if looks_like_json(body):
        return body
    try:
        inner = base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return body
    return inner if looks_like_json(inner) else body


def as_text(body: bytes) -> tuple[str, bool]:
    """`body` as text, and whether that is base64, since it is no text itself."""
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
