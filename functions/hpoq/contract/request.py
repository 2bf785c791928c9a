"""The request message: `parse_request`, which makes it from a message body, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_base64
from hpoq.contract import rules
from hpoq.contract.document import (
    PLAIN_NAME,
    WRAPPER_MEMBERS,
    LocatedObject,
    open_document,
    read_experiment,
    read_object,
)
from hpoq.contract.finding import MOST_LISTED, Finding, ViolationList, note_truncation, warning
from hpoq.contract.jsontext import loads_leniently, pointer_to, tokens_of
from hpoq.contract.model import (
    MOST_KEY_CHARACTERS,
    SCHEMA_MEMBER,
    CreateHpoExperiment,
    ExperimentRequest,
    HpoExperimentConfig,
    list_credentials,
    list_members,
)
from hpoq.contract.patterns import KEY_CHARACTERS, is_traceparent
from hpoq.errors import RequestRejected, Violation
from hpoq.observability.redaction import Mask
from hpoq.observability.secret_names import find_secrets

if TYPE_CHECKING:
    from hpoq.contract.stop import StopRequest

REQUEST_ONLY: Mapping[str, tuple[bool | None, ...]] = {
    "experiment": (None,),
    "guard": (None,),
    "dryRun": (None, False),
}
"""The members of a request that a stop may have too, but only with these values, which mean that it has none."""
STOP_ONLY: Mapping[str, tuple[bool | None, ...]] = {"stop": (None,)}
"""The members of a stop that a request may have too, but only with these values."""
# A document that breaks the contract may contain lone surrogates, which are not valid Unicode.
_KEY = rf"(?:(?![\ud800-\udfff]){KEY_CHARACTERS}){{1,{MOST_KEY_CHARACTERS}}}"
_UNWATCHED = (
    "nothing would check this guard: the function has no HPOQ_WATCH_QUEUE; set it, or remove the guard"
)
_NO_ATTRIBUTES: Mapping[str, str] = {}
# The errors of a text whose other members can be read.
_LENIENT = {"json.duplicate-key", "json.non-finite", "json.number"}
_NULL = "a null member is not sent; remove it"
_MOST_NULLS = 10
"""More than these come from a serializer that writes every member of a class, and would hide other warnings."""
_CONFIGURATION = "HpoExperimentConfiguration"


@dataclass(frozen=True)
class ParsedRequest:
    """A valid request. `document` is `request.wire()`, which is made once for each message.

    `warnings` name what the service may accept but the producer is likely to regret. `unwatched` rejects a request
    with a guard where experiments are not followed; None for one without a guard.
    """

    request: ExperimentRequest | StopRequest
    document: JsonObject = field(repr=False)
    warnings: tuple[Violation, ...] = ()
    unwatched: Violation | None = None


@dataclass(frozen=True)
class _OpenedRequest:
    """A request in its wrapped form, `value`, which can locate violations in the document that its producer wrote.

    The checks report pointers into `value`, from which the document differs in four ways. It may be a bare body, so
    `experiment_at` is the pointer to what is the `experiment`. It may contain objects as JSON text: `texts` are the
    pointers to these. It may have brackets around objects, which are at `boxes`, inner ones first. It may be a
    CloudEvent, which has the request in `source`. `findings` are what was changed.
    """

    value: JsonObject
    source: LocatedObject
    experiment_at: str
    texts: Sequence[str]
    boxes: Sequence[str]
    findings: Sequence[Finding]

    def locate(self, violations: ViolationList, mask: Mask) -> tuple[Violation, ...]:
        """Return the `violations` in the order of the document, with pointers into it, and a note on those left out.

        A violation about a missing member has the place of the object that lacks it.
        """
        # Members that were dropped have a place in the document, too.
        ordered = sorted(violations.kept, key=_make_order({**self.source.value, **self.value}))
        located = [self._locate(violation, mask) for violation in ordered]
        return (*located, note_truncation(violations.left_out)) if violations.left_out else tuple(located)

    def _locate(self, violation: Violation, mask: Mask) -> Violation:
        pointer, message = _add_brackets(violation.pointer, self.boxes), mask(violation.message)
        # No pointer leads into a text: the message contains the place there.
        texts = (_add_brackets(text, self.boxes) for text in self.texts)
        text = next((text for text in texts if pointer.startswith(f"{text}/")), None)
        if text is not None:
            message = f"in the JSON text at {pointer.removeprefix(text)}: {message}"
            pointer = text
        if pointer == "/experiment" or pointer.startswith("/experiment/"):
            pointer = self.experiment_at + pointer.removeprefix("/experiment")
        # A secret may have been written as a name, too.
        names = tokens_of(pointer)
        shown = [name if re.fullmatch(PLAIN_NAME, name) else mask(name) for name in names]
        return self.source.violation(pointer_to(*shown), violation.rule, message)


def parse_request(body: bytes, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> ParsedRequest:
    """Return the request in a message body, which is JSON in UTF-8, or base64 of it.

    `attributes` are those of a CloudEvent in HTTP's binary mode, which has them in headers and its data in the body.
    Raises RequestRejected with all violations of the structure and of the rules together. The pointer of each leads
    into the document as its producer wrote it. Violations beyond MOST_LISTED are only counted.
    """
    unclear: Sequence[Violation] = ()
    try:
        opened = _open_request(body, attributes)
    except RequestRejected as exc:
        opened, unclear = _open_leniently(exc, body, attributes), exc.violations
    source, document = opened.source, opened.value
    violations, warnings = ViolationList(), ViolationList()
    request, sent = _check(opened, violations, warnings)
    is_refused = request is None or bool(violations.kept or source.violations or unclear)
    # A message may quote a value, and a producer may write a secret where nobody expects one.
    mask = Mask(find_secrets(document) if is_refused or warnings.kept else ())
    warned = (*source.warnings, *opened.locate(warnings, mask))
    # A stop needs no identity.
    if source.anonymous and "stop" not in document and document.get("idempotencyKey") is None:
        warned = (Violation("", "cloudevent.identity", source.anonymous), *warned)
    if request is None or is_refused:
        name, workspace_id = (text and mask(text) for text in _read_name_and_workspace(document))
        located = (*source.violations, *opened.locate(violations, mask))
        if unclear:
            located, warned = (*unclear, *_keep_others(located, unclear)), _keep_others(warned, unclear)
        raise RequestRejected(located, name=name, workspace_id=workspace_id, warnings=warned)
    if request.traceparent is None and isinstance(source.trace, str) and is_traceparent(source.trace):
        request = request.model_copy(update={"traceparent": source.trace})
        sent["traceparent"] = source.trace
    has_guard = document.get("guard") is not None
    unwatched = source.violation("/guard", "guard.unwatched", _UNWATCHED) if has_guard else None
    return ParsedRequest(request, sent, warned, unwatched)


def read_producer_key(body: bytes) -> str | None:
    """Return the `idempotencyKey` of the request in a message body, or None if it has no valid one.

    The body may break the contract otherwise, so that the record of a known key can be looked up before the contract
    is checked. None for a stop, whose key identifies no request. Never raises.
    """
    document = read_object(body)
    key = document.get("idempotencyKey") if document and document.get("stop") is None else None
    return key if isinstance(key, str) and re.fullmatch(_KEY, key) else None


def compute_fingerprint(document: JsonObject) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of the experiment without its credentials.

    `document` is that of a ParsedRequest. Two requests with the same key and the same fingerprint are the same
    request. Canonical JSON has sorted names, no white space, ASCII escapes, and numbers by value, so that 1 and 1.0
    are the same. The key, the trace and the schema version are not included: they belong to the message, not to the
    experiment.

    Credentials are the members that the service's documentation names as such, including access key ids, so that a
    request that is sent again with rotated credentials is the same request. A credential in a command line is
    included, because no pattern distinguishes it from an argument with certainty: to confuse two commands would lose
    an experiment silently, while a rotated credential there is a conflict, which is reported.

    A guard is included, so that a repeated request with another one is not silently without effect. The fingerprint
    of a stop is that of what it stops.
    """
    if "stop" in document:
        content: JsonObject = {"stop": document["stop"]}
    else:
        content = _drop_credentials(document["experiment"])
        if "guard" in document:
            content = {"experiment": content, "guard": document["guard"]}
    text = _write_canonical(content)
    # Most requests have no number such as 1.0 or 1e+16. A text that looks like one does no harm here.
    if any(sign in text for sign in (".0,", ".0]", ".0}", "e+")):
        text = _write_canonical(_normalize_numbers(content))
    return hashlib.sha256(text.encode()).hexdigest()


_write_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


def _drop_credentials(experiment: JsonValue) -> JsonObject:
    body = experiment if isinstance(experiment, dict) else {}
    config = body.get(_CONFIGURATION)
    if not isinstance(config, dict):
        return body
    kept = {**config}
    for section, credentials in _list_sections_with_credentials():
        members = config.get(section)
        if isinstance(members, dict):
            kept[section] = {name: member for name, member in members.items() if name not in credentials}
    return {**body, _CONFIGURATION: kept}


@cache
def _list_sections_with_credentials() -> list[tuple[str, frozenset[str]]]:
    models = list_members(HpoExperimentConfig).items()
    found = [(section, list_credentials(model)) for section, model in models if model is not None]
    return [(section, credentials) for section, credentials in found if credentials]


def _normalize_numbers(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_normalize_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _normalize_numbers(member) for name, member in value.items()}
    return value


def _open_request(body: bytes, attributes: Mapping[str, str]) -> _OpenedRequest:
    """Return the request in `body` in its wrapped form, not yet checked.

    A stop is in its wrapped form already. An empty object is a bare body, because the service documents no member as
    required. Raises RequestRejected if the body cannot hold a request.
    """
    source = open_document(body, attributes)
    document, experiment_at, texts = source.value, "/experiment", list[str]()
    if any(name in document for name in WRAPPER_MEMBERS):
        experiment, was_text = read_experiment(source)
        if was_text:
            document, texts = {**document, "experiment": experiment}, ["/experiment"]
    else:
        document, experiment_at = _wrap(source), ""
    document, absent = _drop_absent(document)
    document, undone = rules.undo_texts(document)
    texts += [finding.violation.pointer for finding in undone if not finding.rejects]
    boxes = [finding.violation.pointer for finding in reversed(undone) if finding.rejects]
    return _OpenedRequest(document, source, experiment_at, texts, boxes, [*undone, *absent])


def _open_leniently(refused: RequestRejected, body: bytes, attributes: Mapping[str, str]) -> _OpenedRequest:
    """Return the request that was `refused` only for members that are repeated, or for numbers; or raise `refused`.

    It has the last of the values of each repeated member, and null instead of each number.
    """
    if not {one.rule for one in refused.violations} <= _LENIENT:
        raise refused
    try:
        value = loads_leniently(unwrap_base64(body))
        return _open_request(json.dumps(value).encode(), attributes)
    except (RequestRejected, ValueError):
        raise refused from None


def _keep_others(found: Sequence[Violation], unclear: Sequence[Violation]) -> tuple[Violation, ...]:
    """Return those `found` neither in nor around what is `unclear`, of which the values are not known."""
    places = [f"{one.pointer}/" for one in unclear]
    return tuple(
        one
        for one in found
        if not any(
            place.startswith(f"{one.pointer}/") or f"{one.pointer}/".startswith(place) for place in places
        )
    )


def _wrap(source: LocatedObject) -> JsonObject:
    """Return the request that has the bare body in `source` as its experiment."""
    document = source.value
    known = {field.alias for field in CreateHpoExperiment.model_fields.values()}
    body = {name: value for name, value in document.items() if name != SCHEMA_MEMBER}
    if body and not known & body.keys():
        message = (
            "neither a request (an object with `experiment` or `stop`) nor a CreateHpoExperiment body "
            "(an object with `HpoExperimentConfiguration`)"
        )
        from hpoq.contract.explain import hint_at_shape  # for invalid requests only

        message += hint_at_shape(body, ("experiment", "stop", *filter(None, known)))
        raise RequestRejected([*source.violations, source.violation("", "document.shape", message)])
    return {**{name: document[name] for name in document.keys() - body.keys()}, "experiment": body}


def _drop_absent(document: JsonObject) -> tuple[JsonObject, list[Finding]]:
    """Return `document` without the empty members of the other kind of message, and a warning about each null.

    Producers whose serializer writes every member of a class send `stop: null` with each request, and `dryRun: false`
    with each stop.
    """
    others: Mapping[str, tuple[bool | None, ...]] = {}
    if document.get("stop") is not None:
        others = REQUEST_ONLY
    elif "experiment" in document:
        others = STOP_ONLY
    absent = [
        name
        for name, empty in others.items()
        if name in document and any(document[name] is one for one in empty)
    ]
    if not absent:
        return document, []
    kept = {name: value for name, value in document.items() if name not in absent}
    return kept, [warning(f"/{name}", "null", _NULL) for name in absent if document[name] is None]


def _add_brackets(pointer: str, boxes: Sequence[str]) -> str:
    """Return `pointer` with the index of the only item of each array in `boxes` that it leads into."""
    for box in boxes:
        if pointer.startswith(f"{box}/"):
            pointer = f"{box}/0{pointer.removeprefix(box)}"
    return pointer


def _make_order(document: JsonObject) -> Callable[[Violation], tuple[int, ...]]:
    """Return a sort key that orders violations by their place in `document`."""
    orders: dict[int, dict[str, int]] = {}  # computed once for each object, which may have many violations

    def order(violation: Violation) -> tuple[int, ...]:
        value: JsonValue = document
        found = list[int]()
        for token in tokens_of(violation.pointer):
            if isinstance(value, dict) and token in value:
                if id(value) not in orders:
                    orders[id(value)] = {name: index for index, name in enumerate(value)}
                found.append(orders[id(value)][token])
                value = value[token]
            elif isinstance(value, list) and token.isdecimal() and int(token) < len(value):
                found.append(int(token))
                value = value[int(token)]
            else:
                break
        return tuple(found)

    return order


def _read_name_and_workspace(document: JsonObject) -> tuple[str | None, str | None]:
    experiment = document.get("experiment")
    if not isinstance(experiment, dict):
        return None, None
    name, workspace_id = experiment.get("Name"), experiment.get("WorkspaceId")
    return (
        name if isinstance(name, str) else None,
        workspace_id if isinstance(workspace_id, str) else None,
    )


def _check(
    opened: _OpenedRequest, violations: ViolationList, warnings: ViolationList
) -> tuple[ExperimentRequest | StopRequest | None, JsonObject]:
    """Return the request and its `wire()`, or None if its structure is broken. The lists get what is found."""
    document = opened.value
    request = _validate(document, violations)
    # What is missing may be what is misspelt, so it is reported once all names are known.
    is_misspelt = any(one.rule == "unknown-member" for one in violations.kept)
    found = chain(
        opened.findings, rules.check_message(document), rules.check_experiment(document.get("experiment"))
    )
    for finding in found:
        if not (finding.is_absence and is_misspelt):
            (violations if finding.rejects else warnings).add(finding.violation)
    nulls: list[str] = []
    sent = request.wire(nulls) if request else {}
    if len(nulls) > _MOST_NULLS:
        what = f"{len(nulls)} null members are not sent; leave them out"
        warnings.add(Violation("", "null", what))
    else:
        for pointer in nulls:
            warnings.add(Violation(pointer, "null", _NULL))
    return request, sent


def _validate(document: JsonObject, violations: ViolationList) -> ExperimentRequest | StopRequest | None:
    """Return the request without an invalid traceparent, or None if its structure is broken.

    What is broken is added to `violations`.
    """
    model: type[ExperimentRequest | StopRequest] = ExperimentRequest
    if "stop" in document:
        from hpoq.contract.stop import StopRequest  # few messages are stops

        model = StopRequest
    trace = document.get("traceparent")
    if isinstance(trace, str) and not is_traceparent(trace):
        document = {name: value for name, value in document.items() if name != "traceparent"}
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        from hpoq.contract.explain import explain_errors  # for invalid requests only

        for violation in islice(explain_errors(exc, model, document), MOST_LISTED):
            violations.add(violation)
        violations.left_out += max(0, exc.error_count() - MOST_LISTED)
        return None
