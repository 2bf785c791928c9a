"""The document in a message body: base64 undone, JSON read, and the CloudEvent around the request opened.

A body is JSON, or base64 of it. The document is a wrapped request (`experiment` or `stop` and its companions), a
bare CreateHpoExperiment body, or a CloudEvent (structured JSON, CloudEvents 1.0) whose `data` is one of these.
Document, `data` and `experiment` may each be a string that contains the object as JSON text or in base64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import takewhile

from fcruntime.dataclass import dataclass, replace
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import decode_base64, looks_like_json, unwrap_base64, unwrap_text
from fcruntime.triggers.identity import identify_attributes, identify_event
from hpoq.contract import jsontext
from hpoq.contract.finding import describe_type
from hpoq.contract.jsontext import MOST_BODY_BYTES, JsonError, is_framed, is_wide, pointer_to, tokens_of
from hpoq.errors import RequestRejected, Violation

WRAPPER_MEMBERS = ("schemaVersion", "idempotencyKey", "traceparent", "dryRun", "guard", "stop", "experiment")
MISPLACED_ALWAYS = ("schemaVersion", "idempotencyKey", "dryRun")
"""The members of a request that cannot be attributes of a CloudEvent, whose names are in lower case."""
MISPLACED_OBJECTS = ("guard", "stop", "experiment")
"""The members of a request that can also be attributes of a CloudEvent, unless they are objects or arrays."""
_IN_LOWER_CASE = {"idempotencykey": "idempotencyKey", "dryrun": "dryRun"}
"""Valid names of CloudEvent attributes that producers may mistake for members of a request."""
_CONTEXT = {"specversion", "source", "id", "type"}
"""The attributes that every CloudEvent has."""
_ANONYMOUS = (
    "without a source and an id that are strings, the CloudEvent does not identify the request, which creates a "
    "second experiment if it is sent again; set both, or an idempotencyKey in data"
)
_ANONYMOUS_HEADERS = (
    "without ce-specversion, ce-source and ce-id, the headers do not identify the request, which creates a second "
    "experiment if it is sent again; set all three, or an idempotencyKey in the body"
)

# Names that may be quoted in an error: words, array indexes, and parameters of a search space.
PLAIN_NAME = r"[A-Za-z_]{1,26}|[0-9]{1,6}|\$\{[A-Za-z_]{1,24}\}"
_CONTROLS = r"[\0-\x08\x0e-\x1f\x7f]"
# The first bytes of gzip, zlib, zip and zstd.
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"PK\x03\x04", b"(\xb5/\xfd")


@dataclass(frozen=True)
class LocatedObject:
    """A JSON object, and where it stands in the document as the producer wrote it.

    `prefix` is the pointer to it. `text_at` is set if the object is in base64 or in a JSON text: it is the pointer to
    that text. No pointer can lead into a text, so `prefix` is then the place of the object inside it.

    `is_event` is set if there is a CloudEvent around the object. `trace` is its `traceparent`, `anonymous` says why
    it does not identify the object, or is empty if it does. `violations` and `warnings` are those about its
    attributes.
    """

    value: JsonObject
    prefix: str = ""
    text_at: str | None = None
    trace: JsonValue = None
    is_event: bool = False
    anonymous: str = ""
    violations: tuple[Violation, ...] = ()
    warnings: tuple[Violation, ...] = ()

    def violation(self, pointer: str, rule: str, message: str) -> Violation:
        """Return a violation at `pointer` of this object, with its pointer into the whole document."""
        pointer = self.prefix + pointer
        if self.text_at is None:
            return Violation(pointer, rule, message)
        place = f" at {pointer}" if pointer else ""
        return Violation(self.text_at, rule, f"in the decoded data{place}: {message}")


def open_document(body: bytes, attributes: Mapping[str, str]) -> LocatedObject:
    """Return the request in `body`, not yet checked. Raises RequestRejected if the body cannot hold a request.

    `attributes` are those of a CloudEvent in HTTP's binary mode, which has its data in the body.
    """
    if len(body) > MOST_BODY_BYTES:
        raise _reject("body.too-large", f"the body has {len(body)} bytes; the limit is {MOST_BODY_BYTES}")
    text = unwrap_base64(body)
    if not looks_like_json(text):
        _reject_encoded(text, "the body")
        text = find_encoded_text(text) or text
    inner = unwrap_text(text)
    found = _open_object(text) if inner == text else _open_text(inner)
    return _note_attributes(found, attributes) if attributes and not found.is_event else found


def _open_object(text: bytes) -> LocatedObject:
    document = _require_object(_parse(text, ""), "")
    return _open_cloud_event(document) if "specversion" in document else LocatedObject(document)


def _open_text(inner: bytes) -> LocatedObject:
    """Return the request in a document that is one string; `inner` is the JSON in it."""
    text = LocatedObject({}, text_at="")

    def move(violations: Iterable[Violation]) -> tuple[Violation, ...]:
        return tuple(text.violation(one.pointer, one.rule, one.message) for one in violations)

    try:
        found = _open_object(inner)
    except RequestRejected as exc:
        raise RequestRejected(move(exc.violations)) from None
    prefix = f"{found.text_at or ''}{found.prefix}"
    violations, warnings = move(found.violations), move(found.warnings)
    return replace(found, prefix=prefix, text_at="", violations=violations, warnings=warnings)


def read_experiment(located: LocatedObject) -> tuple[JsonValue, bool]:
    """Return the `experiment` of a wrapped request, and whether one layer of text around it was undone.

    Raises RequestRejected if it looks like JSON text and is not valid JSON.
    """
    value = located.value.get("experiment")
    text = unwrap_base64(value.encode()) if isinstance(value, str) else b""
    if not looks_like_json(text):
        return value, False
    try:
        return jsontext.loads(text), True
    except JsonError as exc:
        found = [(error.rule, _hide_names(error)[1]) for error in (exc, *exc.others)]
        violations = [
            located.violation("/experiment", rule, message) for rule, message in dict.fromkeys(found)
        ]
        raise RequestRejected([*located.violations, *violations]) from None


def read_object(body: bytes) -> JsonObject | None:
    """Return the request in `body`, unchecked and read as leniently as possible, or None if there is none.

    If one object has several members of the same name and different values, that name is left out, because
    it is not clear which value counts.
    """
    value = _read_leniently(body)
    return find_request(value) if isinstance(value, dict) else None


def find_request(document: JsonObject) -> JsonObject | None:
    """Return the request in `document`, which is its own or the data of a CloudEvent, or None if there is none."""
    if "specversion" not in document:
        return document
    inner = document.get("data")
    if inner is None:
        inner = document.get("data_base64")
    value = _read_leniently(inner.encode(errors="replace")) if isinstance(inner, str) else inner
    return value if isinstance(value, dict) else None


def _read_leniently(body: bytes) -> JsonValue:
    """Return the JSON value in `body` without one layer of base64 and one of JSON text, or None if it has none."""
    if len(body) > MOST_BODY_BYTES:
        return None
    try:
        value: JsonValue = json.loads(unwrap_text(unwrap_base64(body)), object_pairs_hook=_drop_ambiguous)
    except (ValueError, RecursionError):
        return None
    return value


def _drop_ambiguous(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if name in found and found[name] != value:
                del found[name]
    return found


def _reject_encoded(body: bytes, name: str, pointer: str = "") -> None:
    """Raise RequestRejected if `body` is not a JSON object and is recognizably encoded in another way.

    `name` is what a message calls it.
    """
    inner = decode_base64(body) or None
    for layer in (body, inner or b""):
        if layer.startswith(_COMPRESSED):
            what = f"{name} is compressed; send it without compression"
            raise _reject("body.compressed", what, pointer)
    if inner is not None and is_wide(inner):
        raise _reject("json.encoding", jsontext.describe_encoding(inner, 0), pointer)
    if inner is not None and unwrap_base64(inner) != inner:
        what = f"{name} is base64-encoded twice; encode it once"
        raise _reject("body.base64-twice", what, pointer)


def find_encoded_text(body: bytes) -> bytes | None:
    """Return the text that `body` contains in base64, or None if it contains none.

    A word may be valid base64 by chance. What it decodes to is then not UTF-8, or has control characters.
    """
    inner = decode_base64(body)
    if not inner:
        return None
    try:
        is_text = re.search(_CONTROLS, inner.decode()) is None
    except UnicodeDecodeError:
        is_text = False
    return inner if is_text or is_framed(inner) else None


def _parse(text: bytes | str, prefix: str) -> JsonValue:
    try:
        return jsontext.loads(text)
    except JsonError as exc:
        found = [(error.rule, *_hide_names(error)) for error in (exc, *exc.others)]
        violations = [Violation(prefix or pointer, rule, message) for rule, pointer, message in found]
        raise RequestRejected([*dict.fromkeys(violations)]) from None


def _hide_names(error: JsonError) -> tuple[str, str]:
    """Return the pointer and message of `error`, cut before a name that may be a misplaced credential."""
    tokens = tokens_of(error.pointer)
    plain = list(takewhile(partial(re.fullmatch, PLAIN_NAME), tokens))
    if len(plain) == len(tokens):
        return error.pointer, error.message
    if error.name is None:
        return pointer_to(*plain), error.message
    return pointer_to(*plain), "a member occurs more than once in one object (its name is not shown)"


def explain_text(text: str) -> str:
    """Return why a string that looks like JSON text is invalid, as the end of a message, or an empty string."""
    if not looks_like_json(text.encode(errors="replace")):
        return ""
    try:
        jsontext.loads(text)
    except JsonError as exc:
        return f"; as JSON text it is invalid: {_hide_names(exc)[1]}"
    return ""


def _require_object(value: JsonValue, prefix: str) -> JsonObject:
    if isinstance(value, dict):
        return value
    hint = ""
    if isinstance(value, str) and "{" in value:
        hint = "; write the object itself, not a string that contains it"
    elif isinstance(value, list):
        hint = "; a message has one request, so send each by itself"
        if len(value) == 1 and isinstance(value[0], dict):
            hint = "; remove the brackets"
    raise _reject(
        "document.shape", f"a request must be a JSON object, not {describe_type(value)}{hint}", prefix
    )


def _undo_text(value: JsonValue, prefix: str) -> JsonValue:
    """Return the JSON value in a string that contains a JSON text, or base64 of one, and any other value unchanged.

    The Python SDK of CloudEvents, among others, sends a `str` as a string even if its content type is JSON.
    """
    if not isinstance(value, str):
        return value
    text = unwrap_base64(value.encode())
    if looks_like_json(text):
        return _parse(text, prefix)
    _reject_encoded(text, "data", prefix)
    inner = find_encoded_text(text)
    return value if inner is None else _parse(inner, prefix)


def _open_cloud_event(event: JsonObject) -> LocatedObject:
    if event["specversion"] != "1.0":
        message = 'unsupported specversion; CloudEvents must be of version "1.0"'
        if event["specversion"] == 1:
            message = 'specversion must be the string "1.0"'
        raise _reject("cloudevent.specversion", message, "/specversion")
    misplaced = [
        name
        for name, value in event.items()
        if (name in MISPLACED_ALWAYS and value is not None)
        or (name in MISPLACED_OBJECTS and isinstance(value, (dict, list)))
    ]
    what = "a member of the request, which belongs in data; next to data it would have no effect"
    found = LocatedObject(
        {},
        trace=event.get("traceparent"),
        is_event=True,
        anonymous="" if identify_event(event) else _ANONYMOUS,
        violations=tuple(Violation(f"/{name}", "cloudevent.member", what) for name in misplaced),
        warnings=tuple(_find_ignored(event)),
    )
    if found.violations and event.get("data") is None and event.get("data_base64") is None:
        raise RequestRejected(found.violations)  # what its data lacks is beside it
    try:
        return _open_data(event, found)
    except RequestRejected as exc:
        raise RequestRejected([*found.violations, *exc.violations]) from None


def _open_data(event: JsonObject, found: LocatedObject) -> LocatedObject:
    """Return the request in the data of `event`, of which `found` has the attributes."""
    data, encoded = event.get("data"), event.get("data_base64")
    if encoded is None:
        if data is None:
            raise _reject("cloudevent.data", "the CloudEvent has no data")
        prefix, text_at = ("", "/data") if isinstance(data, str) else ("/data", None)
        inner = _require_object(_undo_text(data, "/data"), "/data")
        return replace(found, value=inner, prefix=prefix, text_at=text_at)
    at = "/data_base64"
    if data is not None:
        raise _reject(
            "cloudevent.data", "the CloudEvent has both data and data_base64; remove one of them", at
        )
    decoded = decode_base64(encoded.encode(errors="replace")) if isinstance(encoded, str) else None
    if not isinstance(encoded, str) or decoded is None:
        raise _reject("cloudevent.data", "data_base64 is not valid base64", at)
    if not decoded:
        raise _reject("cloudevent.data", "the CloudEvent has no data; data_base64 is empty", at)
    if not looks_like_json(unwrap_text(decoded)):
        _reject_encoded(encoded.encode(), "data_base64", at)
    inner = _require_object(_parse(unwrap_text(decoded), at), at)
    return replace(found, value=inner, text_at=at)


def _note_attributes(found: LocatedObject, attributes: Mapping[str, str]) -> LocatedObject:
    """Return `found`, which is the data of a CloudEvent in binary mode, with what its `attributes` say."""
    warnings = [
        Violation("", "cloudevent.member", f"the header ce-{name} has no effect; write {member} in the body")
        for name, member in _IN_LOWER_CASE.items()
        if name in attributes
    ]
    is_anonymous = identify_attributes(attributes) is None and bool(_CONTEXT & attributes.keys())
    return replace(
        found,
        is_event=True,
        trace=attributes.get("traceparent"),
        anonymous=_ANONYMOUS_HEADERS if is_anonymous else "",
        warnings=tuple(warnings),
    )


def _find_ignored(event: JsonObject) -> Iterator[Violation]:
    """Yield a warning about each attribute of a CloudEvent that is probably meant as a member of the request."""
    for name, member in _IN_LOWER_CASE.items():
        if event.get(name) is not None:
            what = f"an attribute of the CloudEvent, which has no effect; write {member} in data"
            yield Violation(f"/{name}", "cloudevent.member", what)


def _reject(rule: str, message: str, pointer: str = "") -> RequestRejected:
    return RequestRejected([Violation(pointer, rule, message)])
