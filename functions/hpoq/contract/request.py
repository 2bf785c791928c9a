"""The request message: its models, `parse_request`, which makes it from a message body, and its fingerprint."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from fcruntime._dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract import jsontext, rules
from hpoq.contract.document import (
    PLAIN_NAME,
    WRAPPER_MEMBERS,
    LocatedObject,
    explain_text,
    open_document,
    read_experiment,
    read_object,
)
from hpoq.contract.finding import MOST_LISTED, Hints, ViolationList, describe_type, fold_name, get_object
from hpoq.contract.jsontext import JsonError, pointer_to, tokens_of
from hpoq.contract.model import (
    MANY_WRONG,
    MOST_KEY_CHARACTERS,
    HpoExperimentConfig,
    Model,
    ProducerKey,
    SchemaVersion,
    limit_errors,
    list_credentials,
    read_integer,
)
from hpoq.contract.patterns import KEY_CHARACTERS
from hpoq.errors import RequestRejected, Violation
from hpoq.observability.redaction import Mask, find_secrets

if TYPE_CHECKING:
    from hpoq.contract.stop import StopRequest

SCHEMA_MEMBER = "$schema"
REQUEST_ONLY: "Mapping[str, tuple[bool | None, ...]]" = {
    "experiment": (None,),
    "guard": (None,),
    "dryRun": (None, False),
}
"""The members of a request that a stop may have too, with these values only: they mean that there is none."""
STOP_ONLY: "Mapping[str, tuple[bool | None, ...]]" = {"stop": (None,)}
"""The members of a stop that a request may have too, with these values only."""
# A document that breaks the contract may contain lone surrogates, which are not valid Unicode.
_KEY = rf"(?:(?![\ud800-\udfff]){KEY_CHARACTERS}){{1,{MOST_KEY_CHARACTERS}}}"
_SHOWN = 60
_UNWATCHED = (
    "nothing would check this guard: the function has no HPOQ_WATCH_QUEUE; set it, or remove the guard"
)
_ANONYMOUS = (
    "without a source and an id that are strings, the CloudEvent does not identify the request, which creates a "
    "second experiment if it is sent again; set both, or an idempotencyKey in data"
)
_WORD = "[A-Za-z_]{1,24}"
# The number of hours in each unit that people write after a number.
_HOURS = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1 / 3600),
    **dict.fromkeys(("d", "day", "days"), 24.0),
}
_DURATION = r"\s*([0-9]{1,4}):([0-5][0-9])(?::00)?\s*"
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
}
_QUANTITY = r"\s*(-?(?:0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?)\s*([A-Za-z%]{0,20})\s*"
_ARGUMENTS = "class_args"
_CONFIGURATION = "HpoExperimentConfiguration"
_WHOLE = ("experiment", "stop", _CONFIGURATION)
"""The members of a document of which one holds most of it."""
_OBJECT_TYPES = ("dict_type", "model_type", "model_attributes_type")
# What a value must be, by the type of pydantic's error.
_EXPECTED = {
    "string_type": "a string",
    "string_sub_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


class Tag(Model):
    """A tag of an experiment."""

    key: str | None = Field(None, alias="Key")
    value: str | None = Field(None, alias="Value")


class CreateHpoExperiment(Model):
    """The body of CreateHpoExperiment. The service documents none of its members as required.

    Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-createhpoexperiment.
    """

    name: str | None = Field(None, alias="Name")
    workspace_id: str | None = Field(None, alias="WorkspaceId")
    description: str | None = Field(None, alias="Description")
    accessibility: Literal["PUBLIC", "PRIVATE"] | None = Field(None, alias="Accessibility")
    tag: Annotated[list[Tag], limit_errors(dict)] | None = Field(None, alias="Tag")
    hpo_experiment_configuration: HpoExperimentConfig | None = Field(None, alias="HpoExperimentConfiguration")


class Guard(Model):
    """Limits of an experiment. The first one that is reached stops it. They are checked at intervals."""

    max_hours: Annotated[float, Field(gt=0)] | None = Field(
        None, alias="maxHours", description="Stops the experiment this many hours after its creation."
    )
    max_failed_trials: Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(read_integer)] | None = (
        Field(
            None, alias="maxFailedTrials", description="Stops the experiment after this many failed trials."
        )
    )
    target_metric: float | None = Field(
        None,
        alias="targetMetric",
        description="Stops the experiment once a final metric is as good as this. Needs an `optimize_mode`.",
    )


class ExperimentRequest(Model):
    """A request message in its wrapped form."""

    experiment: CreateHpoExperiment
    schema_version: SchemaVersion = Field("1", alias="schemaVersion")
    idempotency_key: ProducerKey | None = Field(
        None,
        alias="idempotencyKey",
        description=(
            "Requests with the same key create one experiment. Keys are compared byte for byte as they are written, "
            "without normalisation. A request without a key is identified by the source and id of the CloudEvent "
            "around it or, without a CloudEvent, by the id that the queue gave its message."
        ),
    )
    guard: Guard | None = None
    schema_uri: str | None = Field(
        None,
        alias=SCHEMA_MEMBER,
        description="The JSON Schema by which an editor checks the document. hpoq ignores it.",
    )
    traceparent: str | None = Field(
        None, description="A W3C trace context, which the event continues. An invalid value is ignored."
    )
    dry_run: bool | None = Field(
        None,
        alias="dryRun",
        description=(
            "If true, the request is only checked: an `accepted` or a `rejected` event answers it, nothing is "
            "created, and its key stays free."
        ),
    )


# Built by the import: threads that handle the first messages wait for an import, and two threads that build a model
# at the same time break pydantic up to 2.11.
ExperimentRequest.model_rebuild()


@dataclass(frozen=True)
class ParsedRequest:
    """A valid request. `document` is `request.wire()`, which is made once for each message.

    `warnings` name what the service may accept but the producer is likely to regret. `unwatched` rejects a request
    with a guard where experiments are not followed; None for one without a guard.
    """

    request: "ExperimentRequest | StopRequest"
    document: JsonObject = field(repr=False)
    warnings: tuple[Violation, ...] = ()
    unwatched: Violation | None = None


def parse_request(body: bytes) -> ParsedRequest:
    """Return the request in a message body, which is JSON in UTF-8, or base64 of it.

    Raises RequestRejected with all violations of the structure and of the rules together. The pointer of each leads
    into the document as its producer wrote it. Violations beyond MOST_LISTED are only counted.
    """
    located = open_document(body)
    wrapped, experiment_at, texts = _wrap(located)
    wrapped, absent = _drop_absent(wrapped)
    wrapped, of_texts = rules.undo_companions(wrapped)
    experiment, of_experiment = rules.undo_texts(wrapped.get("experiment"))
    of_texts = [*of_texts, *of_experiment]
    if of_experiment:
        wrapped = {**wrapped, "experiment": experiment}
    if of_texts:
        texts = (*texts, *(finding.violation.pointer for finding in of_texts))
    violations, warnings = ViolationList(), ViolationList()
    model = _choose_model(wrapped)
    request = _validate(model, wrapped, violations)
    for finding in chain(of_texts, rules.check_message(wrapped), rules.check_experiment(experiment)):
        (violations if finding.rejects else warnings).add(finding.violation)
    for pointer in chain(absent, request.nulls() if request else ()):
        warnings.add(Violation(pointer, "null", "a null member is not sent; remove it"))

    # A message may quote a value, and a producer may write a secret where nobody expects one.
    mask = Mask(find_secrets(wrapped) if violations.kept or warnings.kept else ())
    move = _make_mover(located, experiment_at, texts, mask)
    order = _make_order(located.value, located.prefix)
    warned = warnings.arrange(move, order)
    # A stop needs no identity.
    if located.is_anonymous and "stop" not in wrapped and wrapped.get("idempotencyKey") is None:
        warned = (Violation("", "cloudevent.identity", _ANONYMOUS), *warned)
    if violations.kept or request is None:
        name, workspace_id = (text and mask(text) for text in _read_name_and_workspace(experiment))
        raise RequestRejected(
            violations.arrange(move, order), name=name, workspace_id=workspace_id, warnings=warned
        )
    if request.traceparent is None and isinstance(located.trace, str) and rules.is_traceparent(located.trace):
        request = request.model_copy(update={"traceparent": located.trace})
    if wrapped.get("guard") is None:
        return ParsedRequest(request, request.wire(), warned)
    return ParsedRequest(
        request, request.wire(), warned, located.violation("/guard", "guard.unwatched", _UNWATCHED)
    )


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


_write_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _drop_credentials(experiment: JsonValue) -> JsonObject:
    """Return the body of CreateHpoExperiment without the members that hold a credential."""
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
    models = _list_members(HpoExperimentConfig).items()
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


def _wrap(located: LocatedObject) -> tuple[JsonObject, str, tuple[str, ...]]:
    """Return the document in its wrapped form, the pointer to what is its `experiment`, and pointers to JSON texts.

    A stop is in its wrapped form already. An empty object is a bare body, because the service documents no member as
    required.
    """
    document = located.value
    if any(name in document for name in WRAPPER_MEMBERS):
        experiment, was_text = read_experiment(located)
        if was_text:
            return {**document, "experiment": experiment}, "/experiment", ("/experiment",)
        return document, "/experiment", ()
    known = {field.alias for field in CreateHpoExperiment.model_fields.values()}
    body = {name: value for name, value in document.items() if name != SCHEMA_MEMBER}
    if body and not known & body.keys():
        message = (
            "neither a request (an object with `experiment` or `stop`) nor a CreateHpoExperiment body "
            "(an object with `HpoExperimentConfiguration`)"
        )
        message += _hint_at_shape(body, ("experiment", "stop", *filter(None, known)))
        raise RequestRejected([located.violation("", "document.shape", message)])
    return {**{name: document[name] for name in document.keys() - body.keys()}, "experiment": body}, "", ()


def _hint_at_shape(body: JsonObject, members: Sequence[str]) -> str:
    """Return what a document that is not a request is likely to be. Only what is known is named."""
    names = [*islice(body, _SHOWN)]
    if any(fold_name(name) == "experimentid" for name in names):
        return '; to stop an experiment, write {"stop": {"experimentId": "..."}}'
    if {"source", "type", "data"} <= body.keys():
        return '; a CloudEvent needs a specversion: "1.0"'
    if {"trialCommand", "trialConcurrency", "searchSpace", "trainingService"} & body.keys():
        return "; this looks like a configuration of NNI, which must be rewritten: see hpoq init"
    for name in _list_members(HpoExperimentConfig):
        if name in body:
            return f"; {name} belongs in HpoExperimentConfiguration"
    spelt = [one for one in _WHOLE if any(fold_name(one) == fold_name(name) for name in names)]
    if spelt:
        return f"; did you mean {spelt[0]}?"
    for name in names:
        if {*members, _CONFIGURATION} & _find_inner(body[name]).keys():
            # Another name may be a credential.
            where = name if re.fullmatch(_WORD, name) else "a member of this object"
            return f"; the request seems to be inside {where}: send it by itself"
    hints = Hints()
    meant = [hint for name in names if (hint := hints.suggest(name, members))]
    # The configuration says most about what is meant.
    return next((hint for hint in meant if "Configuration" in hint), meant[0] if meant else "")


def _find_inner(value: JsonValue) -> JsonObject:
    """Return the object that is `value` or its first item, or that either contains as text, or an empty object."""
    if isinstance(value, list):
        value = value[0] if value else None
    return read_object(value.encode(errors="replace")) or {} if isinstance(value, str) else get_object(value)


def _drop_absent(wrapped: JsonObject) -> tuple[JsonObject, list[str]]:
    """Return `wrapped` without the empty members of the other kind of message, and the pointers to those with null.

    Producers whose serializer writes every member of a class send `stop: null` with each request, and `dryRun: false`
    with each stop.
    """
    others: Mapping[str, tuple[bool | None, ...]] = {}
    if wrapped.get("stop") is not None:
        others = REQUEST_ONLY
    elif wrapped.get("experiment") is not None:
        others = STOP_ONLY
    absent = [
        name
        for name, empty in others.items()
        if name in wrapped and any(wrapped[name] is one for one in empty)
    ]
    if not absent:
        return wrapped, absent
    kept = {name: value for name, value in wrapped.items() if name not in absent}
    return kept, [pointer_to(name) for name in absent if wrapped[name] is None]


def _choose_model(wrapped: JsonObject) -> "type[ExperimentRequest | StopRequest]":
    if "stop" not in wrapped:
        return ExperimentRequest
    from hpoq.contract.stop import StopRequest  # few messages are stops

    return StopRequest


def _make_mover(
    located: LocatedObject, experiment_at: str, texts: Sequence[str], mask: Mask
) -> Callable[[Violation], Violation]:
    """Return a function that turns pointers into the wrapped form into pointers into the document.

    No pointer leads into one of the `texts`: the message contains the place there. Messages are masked by `mask`.
    """

    def move(violation: Violation) -> Violation:
        pointer, message = violation.pointer, mask(violation.message)
        text = next((text for text in texts if pointer.startswith(f"{text}/")), None)
        if text is not None:
            message = f"in the JSON text at {pointer.removeprefix(text)}: {message}"
            pointer = text
        if pointer == "/experiment" or pointer.startswith("/experiment/"):
            pointer = experiment_at + pointer.removeprefix("/experiment")
        # A secret may have been written as a name, too.
        tokens = tokens_of(pointer)
        if not all(map(partial(re.fullmatch, PLAIN_NAME), tokens)):
            pointer = pointer_to(
                *(token if re.fullmatch(PLAIN_NAME, token) else mask(token) for token in tokens)
            )
        return located.violation(pointer, violation.rule, message)

    return move


def _make_order(document: JsonValue, prefix: str) -> Callable[[Violation], tuple[int, ...]]:
    """Return a sort key that orders violations by their place in `document`.

    A violation about a missing member has the place of the object that lacks it.
    """
    orders: dict[
        int, dict[str, int]
    ] = {}  # each object's order is computed once: it may have many violations

    def order(violation: Violation) -> tuple[int, ...]:
        value, found = document, list[int]()
        for token in tokens_of(violation.pointer.removeprefix(prefix)):
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


def _read_name_and_workspace(experiment: JsonValue) -> tuple[str | None, str | None]:
    """Return the name and the workspace for the error event, each None if it cannot be read."""
    if not isinstance(experiment, dict):
        return None, None
    name, workspace_id = experiment.get("Name"), experiment.get("WorkspaceId")
    return (
        name if isinstance(name, str) else None,
        workspace_id if isinstance(workspace_id, str) else None,
    )


def _validate(
    model: "type[ExperimentRequest | StopRequest]", wrapped: JsonObject, violations: ViolationList
) -> "ExperimentRequest | StopRequest | None":
    """Return the request without an invalid traceparent, or None if its structure is broken.

    What is broken is added to `violations`.
    """
    trace = wrapped.get("traceparent")
    if isinstance(trace, str) and not rules.is_traceparent(trace):
        wrapped = {name: value for name, value in wrapped.items() if name != "traceparent"}
    try:
        return model.model_validate(wrapped)
    except ValidationError as exc:
        for violation in islice(_explain_errors(exc, model, wrapped), MOST_LISTED):
            violations.add(violation)
        violations.left_out += max(0, exc.error_count() - MOST_LISTED)
        return None


def _explain_errors(
    error: ValidationError, model: type[BaseModel], document: JsonObject
) -> Iterator[Violation]:
    """Return a violation for each of pydantic's errors.

    The rule is `required`, `unknown-member`, `type`, `enum`, `range`, `schema-version`, `idempotency-key`,
    `guard.limit` or `stop.target`. Values
    of unknown members and of credentials are never quoted.
    """
    details = error.errors(include_url=False, include_context=True, include_input=False)
    return (_explain_error(detail, model, document) for detail in details)


def _explain_error(detail: ErrorDetails, model: type[BaseModel], document: JsonObject) -> Violation:
    location = detail["loc"]
    pointer = pointer_to(*location)
    name = str(location[-1]) if location else ""
    kind, context = detail["type"], detail.get("ctx", {})
    given = _get_value(document, location)
    if pointer == "/schemaVersion":
        return Violation(pointer, "schema-version", 'schemaVersion must be "1"')
    if kind == "missing" or (given is None and kind != "extra_forbidden" and isinstance(location[-1], str)):
        return Violation(
            pointer, "required", f"{name} is required{', not null' if kind != 'missing' else ''}"
        )
    if pointer in ("/idempotencyKey", "/stop/idempotencyKey"):
        message = "idempotencyKey must be a string of 1 to 255 characters without control characters"
        return Violation(pointer, "idempotency-key", message + _hint_at_key(given))
    if kind == "extra_forbidden":
        return _explain_unknown_member(location, model)
    if kind == "literal_error":
        expected = str(context.get("expected"))
        shown = f", not {repr(given[:_SHOWN]) if isinstance(given, str) else describe_type(given)}"
        hint = Hints().suggest(given, re.findall(r"'([^']+)'", expected))
        return Violation(pointer, "enum", f"{name} must be {expected}{shown}{hint}")
    if kind == MANY_WRONG:
        return Violation(pointer, "type", detail["msg"])
    if pointer.startswith("/guard/") and kind in ("greater_than", "greater_than_equal"):
        return Violation(pointer, "guard.limit", f"{name} must be greater than 0")
    if pointer == "/stop/experimentId" and kind in ("string_pattern_mismatch", "string_too_long"):
        return Violation(pointer, "stop.target", "not the id of an experiment; it looks like sJ0xjVa")
    if kind in ("greater_than_equal", "less_than_equal"):
        return Violation(pointer, "range", f"{name} must be a 32-bit integer")
    hint = _hint_at_value(kind, given, name) or _hint_at_object(given, _find_model(model, location))
    what = f"must be {_EXPECTED.get(kind, 'valid')}, not {describe_type(given)}{hint}"
    return Violation(pointer, "type", what)


def _hint_at_key(given: JsonValue) -> str:
    """Return what is wrong with a key: its type, its length, or the characters in it."""
    if not isinstance(given, str):
        return f", not {describe_type(given)}{_hint_at_value('string_type', given, 'idempotencyKey')}"
    return f"; it has {len(given)}" if not 1 <= len(given) <= MOST_KEY_CHARACTERS else ""


def _hint_at_object(given: JsonValue, model: type[BaseModel] | None) -> str:
    """Return how to write an object whose only essential member is given instead of it, or an empty string."""
    members = _list_members(model) if isinstance(given, str) else {}
    if "experimentId" in members:
        return '; write {"idempotencyKey": "..."} or {"experimentId": "..."}'
    if "maxHours" in members:
        return '; write {"maxHours": ...}'
    return '; write {"name": "..."}' if "name" in members and _ARGUMENTS in members else ""


def _hint_at_value(kind: str, given: JsonValue, name: str) -> str:
    """Return how to write a number, a boolean or a string that is written as another type, or an empty string."""
    if kind == "string_type" and isinstance(given, (int, float)):
        return "; put it in quotes"
    if kind == "string_type" and isinstance(given, list):
        return "; write it as one string"
    if kind == "list_type":
        return _hint_at_array(given, name)
    if kind in _OBJECT_TYPES and isinstance(given, str):
        return explain_text(given)
    if kind in _OBJECT_TYPES and given == []:
        return "; write {}, or leave it out"
    if kind == "bool_type":
        meant = _BOOLEANS.get(str(given).strip().lower())
        return f"; write {meant}{' without quotes' if isinstance(given, str) else ''}" if meant else ""
    if not isinstance(given, str):
        return ""
    if name == "maxHours" and (time := re.fullmatch(_DURATION, given)):
        return f"; write {int(time[1]) + int(time[2]) / 60:g}, the number of hours"
    found = re.fullmatch(_QUANTITY, given) if kind in ("int_type", "float_type") else None
    if found is None or (kind == "int_type" and found[2]):
        return ""
    return _hint_at_quantity(found[1], found[3].lower(), name)


def _hint_at_array(given: JsonValue, name: str) -> str:
    """Return how to write an array instead of another value of the member `name`, or an empty string."""
    if isinstance(given, dict) and name == "Tag":
        return '; write [{"Key": "...", "Value": "..."}]'
    if not isinstance(given, (str, int, float)):
        return ""
    try:
        is_text = isinstance(given, str) and isinstance(jsontext.loads(given), list)
    except JsonError:
        is_text = False
    return "; write the array itself, not a string that contains it" if is_text else "; put it in brackets"


def _hint_at_quantity(number: str, unit: str, name: str) -> str:
    """Return how to write `number`, which is in quotes and may have a unit, as the value of the member `name`."""
    if not unit:
        return f"; write {number} without quotes"
    if name != "maxHours":
        return "; write a number without a unit"
    hours = _HOURS.get(unit)
    if hours is None:
        return "; write a number of hours"
    if hours == 1:
        return f"; write {number} without quotes and without a unit"
    return f"; write {float(number) * hours:g}, the number of hours"


def _explain_unknown_member(location: Sequence[int | str], model: type[BaseModel]) -> Violation:
    """Return the violation of an unknown member, with a hint at what is meant.

    In an object with credentials the name may itself be a credential, on the wrong side of the colon. There it is
    shown only if it is a word.
    """
    name, holder = str(location[-1]), _find_model(model, location[:-1])
    hint = _hint_at_member(name, holder)
    if holder and list_credentials(holder) and not re.fullmatch(_WORD, name):
        return Violation(pointer_to(*location[:-1]), "unknown-member", f"{hint} (its name is not shown)")
    return Violation(pointer_to(*location), "unknown-member", hint)


def _hint_at_member(name: str, holder: type[BaseModel] | None) -> str:
    members = _list_members(holder)
    if "stop" in members and name in _list_members(ExperimentRequest):
        instead = "send it in a message of its own" if name == "experiment" else "remove it"
        return f"not allowed beside stop; {instead}"
    meant = _list_meant().get(fold_name(name))
    if meant is not None:
        return f"unknown member; {meant}"
    inner = [member for member, model in members.items() if name in _list_members(model)]
    if len(inner) == 1:
        return f"unknown member here; it belongs in {inner[0]}"
    return f"unknown member{Hints().suggest(name, members) or _hint_at_place(name, members)}"


# Names from other tools, or from one object further down, and what is meant by them.
_MEANT = {
    "optimize_mode": "it belongs in class_args of yml_config.tuner",
    "builtinTunerName": "write name",
    "builtinAssessorName": "write name",
    "codeDir": "write a command of platform_config.cmd",
    "trialCommand": "write platform_config.cmd",
    "maxTrials": "write max_trial_number in yml_config",
    "maxExecDuration": "write maxHours in guard, beside experiment",
    "maxExperimentDuration": "write maxHours in guard, beside experiment",
    "maxTrialDuration": "write maxHours in guard, beside experiment",
    "maxDuration": "write maxHours",
    "maxMinutes": "write maxHours, a number of hours",
    "clientToken": "write idempotencyKey beside experiment",
    "tracestate": "remove it: only traceparent is passed on",
}


@cache
def _list_meant() -> dict[str, str]:
    """Return what to do about a name of another tool, by its folded name."""
    return {fold_name(name): what for name, what in _MEANT.items()}


def _hint_at_place(name: str, members: Mapping[str, object]) -> str:
    """Return where a member that is unknown here belongs, if only one object of a request has it, or nothing."""
    if _CONFIGURATION in members and fold_name(name) == "experiment":
        return "; the request is wrapped twice: remove the outer experiment"
    found = _index_members().get(fold_name(name), [])
    found = [(place, member) for place, member in found if member == name] or found
    if len(found) == 1:
        ((place, member),) = found
        where = f"in {place}" if place else "beside experiment"
        return f" here; {'it belongs' if member == name else f'write {member}'} {where}"
    return f"; arguments of the algorithm belong in {_ARGUMENTS}" if _ARGUMENTS in members else ""


@cache
def _index_members() -> dict[str, list[tuple[str, str]]]:
    """Return the place and the name of every member of a request, by its folded name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for place, model in _list_models(ExperimentRequest):
        for member in _list_members(model) if model is not Tag else ():
            found.setdefault(fold_name(member), []).append((place, member))
    return found


def _list_models(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield `model` and all models in it, each with the last name of its place."""
    yield place, model
    for member, inner in _list_members(model).items():
        if inner is not None:
            yield from _list_models(inner, member)


def _find_model(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for token in location:
        found = found if isinstance(token, int) else _list_members(found).get(token)
    return found


def _list_members(model: type[BaseModel] | None) -> dict[str, type[BaseModel] | None]:
    """Return the members of `model` by their JSON names, each with the model of its value or None."""
    fields = model.model_fields if model else {}
    return {field.alias or name: _find_model_in(field.annotation) for name, field in fields.items()}


def _find_model_in(annotation: object) -> type[BaseModel] | None:
    # Arguments first: in Python 3.10 `list[str]` is an instance of `type`, but `issubclass` refuses it.
    arguments: tuple[object, ...] = getattr(annotation, "__args__", ())
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in arguments if (found := _find_model_in(argument))), None)


def _get_value(document: JsonValue, location: Sequence[int | str]) -> JsonValue:
    """Return the value at `location`, or None if there is none."""
    value = document
    for token in location:
        if isinstance(value, list) and isinstance(token, int):
            value = value[token] if token < len(value) else None
        elif isinstance(value, dict) and isinstance(token, str):
            value = value.get(token)
        else:
            return None
    return value
