"""Message bodies: plain text, or one layer of base64 or JSON text around it.

SMQ's SDKs encode on send by default and the trigger's `IsBase64Decode` undoes it by default, but neither is certain.
So the body itself decides: base64 is undone only around a JSON object or array, or around a JSON string that contains
one. That cannot be mistaken, because `{`, `[` and `"` are not characters of base64.
"""

from __future__ import annotations

import base64
import json

_JSON_STARTS = (b"{", b"[")
_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_FROM_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


def looks_like_json(body: bytes) -> bool:
    """Return whether the first character that counts opens a JSON object or array."""
    return body.removeprefix(_BOM).lstrip(_BLANKS).startswith(_JSON_STARTS)


def decode_base64(body: bytes) -> bytes | None:
    """Return the content of base64, also in the alphabet for URLs or without padding, or None if it is invalid."""
    text = b"".join(body.removeprefix(_BOM).split()).rstrip(b"=").translate(_FROM_URL_ALPHABET)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None


def unwrap_base64(body: bytes) -> bytes:
    """Return `body` without its layer of base64 if there is one around JSON, else as it is.

    JSON is an object or an array here, or a string that contains one.
    """
    if looks_like_json(body):
        return body
    inner = decode_base64(body)
    if inner is None or not (looks_like_json(inner) or unwrap_text(inner) != inner):
        return body
    return inner


def unwrap_text(body: bytes) -> bytes:
    """Return the JSON object or array, plain or in base64, that a JSON string contains; any other `body` as it is.

    Some producers encode twice, for example those that give JSON text to a client that encodes its argument.
    """
    if not body.removeprefix(_BOM).lstrip(_BLANKS).startswith(b'"'):
        return body
    try:
        inner = str(json.loads(body)).encode()
    except ValueError:
        return body
    inner = inner if looks_like_json(inner) else decode_base64(inner) or b""
    return inner if looks_like_json(inner) else body


def as_text(body: bytes) -> tuple[str, bool]:
    """Return `body` as text and False, or as base64 and True if it is not valid UTF-8."""
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
