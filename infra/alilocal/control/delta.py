"""Answers that have only what changed: ETags, and JSON merge patches (RFC 7396).

A caller names the answer that it has in `If-None-Match`. If that is still right, the answer is 304. If it accepts
`application/merge-patch+json` too, and the document that it has is among the newest, it gets the difference.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from hashlib import blake2b

from alilocal.core.http import Headers, Request, Response
from alilocal.core.jsonvalue import JsonObject, JsonValue

_PATCH = "application/merge-patch+json"
_MOST_DOCUMENTS = 24
"""A page asks once a second, so that each of some open pages finds its document of the second before."""


class Deltas:
    """Answers with documents, and remembers the newest of those that were sent to callers who take patches."""

    def __init__(self) -> None:
        self._documents: OrderedDict[str, JsonValue] = OrderedDict()

    def answer(self, request: Request, document: JsonValue) -> Response:
        """Return `document`, what changed in it, or 304."""
        text = dump_json(document)
        tag = f'"{blake2b(text, digest_size=12).hexdigest()}"'
        known = request.header("If-None-Match") or ""
        if tag == known:
            return Response(304, (("ETag", tag), ("Cache-Control", "no-store")))
        if _PATCH in (request.header("Accept") or ""):
            before = self._documents.get(known)
            self._documents[tag] = document
            self._documents.move_to_end(tag)
            while len(self._documents) > _MOST_DOCUMENTS:
                self._documents.popitem(last=False)
            if isinstance(before, dict) and isinstance(document, dict):
                return json_response(200, dump_json(merge_patch(before, document)), tag, _PATCH)
        return json_response(200, text, tag)


def merge_patch(before: JsonObject, after: JsonObject) -> JsonObject:
    """Return the merge patch that makes `after` of `before`; null members count as absent."""
    patch: JsonObject = {}
    for name in {**before, **after}:
        old, value = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            inner = merge_patch(old, value)
            if inner:
                patch[name] = inner
        elif old != value:
            patch[name] = value
    return patch


def dump_json(value: JsonValue) -> bytes:
    """Return JSON as it is sent, without what JSON or UTF-8 cannot carry: infinities, halves of surrogate pairs."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return dump_json(_replace_infinities(value))
    return text.encode(errors="replace")


def _replace_infinities(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _replace_infinities(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_replace_infinities(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def json_response(
    status: int, text: bytes, tag: str | None = None, kind: str = "application/json"
) -> Response:
    """Return an answer in JSON."""
    headers: Headers = (
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(status, headers if tag is None else (*headers, ("ETag", tag)), text)
