"""From the bytes of a message body to the request in it, and where in the document it stands.

A body is JSON, or base64 of it. The document is a wrapped request (`experiment` and its companions), a bare
CreateHpoExperiment body, or a CloudEvent (structured JSON, CloudEvents 1.0) whose `data` is either.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from itertools import takewhile

from fcruntime import strictjson
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.strictjson import JsonError
from fcruntime.triggers.body import looks_like_json, unwrap_base64
from hpoq.contract.finding import sort_of
from hpoq.contract.pointer import pointer_to, tokens_of
from hpoq.errors import RequestRejected, Violation

MOST_BODY_BYTES = 1024 * 1024
WRAPPER_MEMBERS = ("schemaVersion", "idempotencyKey", "traceparent", "experiment")

# Words, indexes, and parameters of a search space.
_PLAIN = r"[A-Za-z_]{1,26}|[0-9]{1,6}|\$\{[A-Za-z_]{1,24}\}"
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"PK\x03\x04", b"(\xb5/\xfd")


@dataclass(frozen=True)
class Located:
    """A JSON object of the document. `prefix` is the pointer to it; `encoded` says that it stood there as
    base64, so that pointers into it lead nowhere in the document. `trace` is the `traceparent` that a CloudEvent
    around it has."""

    value: JsonObject
    prefix: str = ""
    encoded: bool = False
    trace: JsonValue = None

    def violation(self, pointer: str, rule: str, message: str) -> Violation:
        """A violation at `pointer` of this object, placed in the document as its producer wrote it."""
        if self.encoded:
            place = f" at {pointer}" if pointer else ""
            return Violation(self.prefix, rule, f"in the decoded data{place}: {message}")
        return Violation(self.prefix + pointer, rule, message)


def open_document(body: bytes) -> Located:
    """The request in `body`, still unjudged. Raises RequestRejected for a body that cannot hold one."""
    if len(body) > MOST_BODY_BYTES:
        raise _rejected("body.too-large", f"{len(body)} bytes; at most {MOST_BODY_BYTES} are read")
    text = unwrap_base64(body)
    if not looks_like_json(text):
        _refuse_encoded(text)
    document = _object(_parsed(text, ""), "")
    return _of_cloud_event(document) if "specversion" in document else Located(document)


def _refuse_encoded(body: bytes) -> None:
    """Name what a body that is no JSON object seems to be; returns if it seems to be nothing known."""
    inner = _base64(body)
    for layer in (body, inner or b""):
        if layer.startswith(_COMPRESSED):
            raise _rejected("body.compressed", "the body is compressed; send plain JSON, or base64 of it")
    if inner is not None and unwrap_base64(inner) != inner:
        raise _rejected("body.base64-twice", "the body is base64 of base64; encode it once, or not at all")


def _base64(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _parsed(text: bytes | str, prefix: str) -> JsonValue:
    try:
        return strictjson.loads(text)
    except JsonError as exc:
        pointer, message = _shown(exc)
        raise _rejected(exc.rule, message, prefix or pointer) from None


def _shown(error: JsonError) -> tuple[str, str]:
    """Pointer and message, cut before a name that could be a credential on the wrong side of its colon."""
    tokens = tokens_of(error.pointer)
    plain = list(takewhile(partial(re.fullmatch, _PLAIN), tokens))
    if len(plain) == len(tokens):
        return error.pointer, error.message
    return pointer_to(*plain), "a member stands twice in one object (its name is not shown)"


def _object(value: JsonValue, prefix: str) -> JsonObject:
    if isinstance(value, dict):
        return value
    hint = "; what stands in this text must stand here itself" if isinstance(value, str) else ""
    raise _rejected("document.shape", f"a request is a JSON object, not {sort_of(value)}{hint}", prefix)


def _of_cloud_event(event: JsonObject) -> Located:
    if event["specversion"] != "1.0":
        message = 'only CloudEvents of specversion "1.0" are read'
        raise _rejected("cloudevent.specversion", message, "/specversion")
    data, encoded = event.get("data"), event.get("data_base64")
    if encoded is None:
        if data is None:
            raise _rejected("cloudevent.data", "the CloudEvent carries no data")
        return Located(_object(data, "/data"), "/data", trace=event.get("traceparent"))
    at = "/data_base64"
    if data is not None:
        raise _rejected("cloudevent.data", "the CloudEvent has data and data_base64; keep one of them", at)
    decoded = _base64(encoded.encode(errors="replace")) if isinstance(encoded, str) else None
    if decoded is None:
        raise _rejected("cloudevent.data", "data_base64 is not base64", at)
    return Located(_object(_parsed(decoded, at), at), at, encoded=True, trace=event.get("traceparent"))


def _rejected(rule: str, message: str, pointer: str = "") -> RequestRejected:
    return RequestRejected([Violation(pointer, rule, message)])
