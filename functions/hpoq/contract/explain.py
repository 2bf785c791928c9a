"""What is wrong with a document that is not a request, in words that say what to do.

    an object of another shape ──▶ hint_at_shape
    pydantic's errors ───────────▶ explain_errors ──▶ violations, with hints at what was meant

A function whose name begins with `_hint_at_` returns the end of a message, or an empty string. Most requests are
valid, so `hpoq.contract.request` imports this module with the first one that is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from hpoq.contract import jsontext
from hpoq.contract.document import explain_text, read_object
from hpoq.contract.finding import Hints, describe_type, fold_name, get_object, hint_at_comma
from hpoq.contract.jsontext import JsonError, pointer_to
from hpoq.contract.lint import ACCESS_KEYS
from hpoq.contract.model import (
    MANY_WRONG,
    MOST_KEY_CHARACTERS,
    CreateHpoExperiment,
    ExperimentRequest,
    HpoExperimentConfig,
    Tag,
    list_credentials,
    list_members,
)
from hpoq.contract.patterns import KEY_CHARACTERS
from hpoq.errors import Violation

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from fcruntime.jsonvalue import JsonObject, JsonValue

_SHOWN = 60
_WORD = "[A-Za-z_]{1,24}"
_PLAIN = rf"{_WORD}|[0-9]{{1,6}}"
# The number of hours in each unit that people write after a number.
_HOURS = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1 / 3600),
    **dict.fromkeys(("d", "day", "days"), 24.0),
}
# Durations as ISO 8601 writes them, such as PT1H30M, and as people do, such as 1h30m.
_LONG_DURATION = (
    r"(?i)P?(?:([0-9]{1,4})D\s*)?T?(?:([0-9]{1,5})H\s*)?(?:([0-9]{1,6})M(?:IN)?\s*)?(?:([0-9]{1,8})S)?"
)
_DURATION = r"([0-9]{1,4}):([0-5][0-9])(?::00)?"
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0", ""), "false"),
}
_MOST_HINTS = 100
"""More than there are members to misspell, and few enough for a hostile message."""
_LARGEST_EXACT = 2**53 - 1
_LARGEST_INTEGER = 2**31 - 1
# A separator of the thousands in an integer.
_GROUPED = r"(?<=[0-9])[\s,](?=[0-9]{3}(?![0-9]))"
_QUANTITY = r"(?!0[xXoObB])(-?(?:0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?)\s*([A-Za-z%]{0,20})"
_ARGUMENTS = "class_args"
_CONFIGURATION = "HpoExperimentConfiguration"
_EXPERIMENT_MEMBERS = {field.alias for field in CreateHpoExperiment.model_fields.values()}
_WHOLE = ("experiment", "stop", _CONFIGURATION)
"""The members that contain everything else in a document. A document with a misspelt one is probably a request."""
# Strings that are not the value of another type in quotes.
_STRINGS = {
    "resume": 'write "0" or "1"',
    "is_at_all": 'write "True" or "False"',
    **dict.fromkeys(("start_time", "end_time"), 'write "HH:MM"'),
    "params_src_dst_filepath": 'write "source,destination"',
    **dict.fromkeys(("at_mobiles", "at_user_ids"), 'write an array in a string, as in "[1472583690]"'),
}
_FORM_OF_STOP = '; write {"idempotencyKey": "..."} or {"experimentId": "..."}'
# What to write instead of an empty array where an empty object would be rejected, or an omission.
_INSTEAD_OF_EMPTY = {"guard": "; leave it out", "stop": _FORM_OF_STOP, "experiment": ""}
_FORM_OF_TAG = '; write {"Key": "...", "Value": "..."}'
_FORM_OF_TAGS = '; write [{"Key": "...", "Value": "..."}]'
_SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "string_type": str,
    "int_type": int,
    "float_type": (int, float),
    "bool_type": bool,
}
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
_UNKNOWN = "unknown member"
_ONLY_BODY = "remove it: a request has only the body of the call"
# Names from other tools, or from one object further down, and what is meant by them.
_MEANT = {
    fold_name(name): what
    for what, names in (
        ("it belongs in class_args of yml_config.tuner", "optimize_mode seed"),
        ("write name", "builtinTunerName builtinAssessorName className"),
        ("write the name of tuner in yml_config", "algorithm algorithmName searchAlgorithm sampler strategy"),
        ("write the name of assessor in yml_config", "pruner earlyStopping"),
        ("write metric_dict in metric_config", "metrics"),
        (
            "write trial_concurrency in yml_config",
            (
                "parallelism parallel parallelTrials parallelTrialCount maxParallelTrainingJobs nJobs maxConcurrent "
                "maxConcurrentTrials maxConcurrentRuns"
            ),
        ),
        ("write a command of platform_config.cmd", "codeDir"),
        ("write platform_config.cmd", "trialCommand"),
        (
            "write max_trial_number in yml_config",
            (
                "maxTrials trials nTrials numTrials numSamples maxEvals maxTrialCount runCap maxNumberOfTrainingJobs "
                "maxTotalRuns"
            ),
        ),
        ("write maxHours in guard, next to experiment", "maxExecDuration maxExperimentDuration"),
        ("write maxHours", "maxDuration"),
        ("write maxHours, a number of hours", "maxMinutes maxSeconds maxDays"),
        (
            "write maxHours, a number of hours, in guard, next to experiment",
            "timeout timeoutSeconds timeBudget timeBudgetS maxTime",
        ),
        ("write idempotencyKey next to experiment", "clientToken"),
        ("write idempotencyKey", "producerKey"),
        ("remove it: only traceparent is passed on", "tracestate"),
        ("write cmd in platform_config", "command commands"),
        (
            "write it as an option of a command in platform_config.cmd",
            (
                "priority image workerImage workerCount workerSpec ecsSpec instanceType jobSpecs dataSources "
                "env envs environment environmentVariables quota quotaId resourceId resourceGroup gpu gpus"
            ),
        ),
        ("write url", "webhook webhookUrl"),
        (_ONLY_BODY, "action version"),
        (
            "remove it: it belongs to an answer of the service",
            "creator status deleted trialCount gmtCreateTime gmtModifiedTime requestId",
        ),
    )
    for name in names.split()
}
# What other tools call optimize_mode, if its value is a direction.
_DIRECTIONS = ("direction", "goal", "mode", "objective")
_OF_DIRECTION = r"(?i)\s*(?:max|min)(?:imi[sz]e|imum)?\s*"
# The parameters of a call to a service by RPC, without the members of its body.
_OF_CALLS = (
    "regionid",
    "format",
    "timestamp",
    "signature",
    "signaturemethod",
    "signaturenonce",
    "signatureversion",
)
_STOPS = ("stop", "cancel", "terminate", "abort")
# Members that only the engine documents, so that nobody who writes them elsewhere means them.
_NEVER_MEANT = ("platform", "patience")
# How programming languages show an object, instead of writing it as JSON.
_SHOWN_OBJECT = (
    r"\s*(?:\[object |#<|map\[|<[\w.]{1,100} (?:object|at)\b|System\.[A-Z]|[\w.$]{1,100}@[0-9a-f]{4,16}\s*\Z|"
    r"[\w.$]{1,100}\{\w{1,60}=)"
)
_OF_POWERSHELL = r"\s*(?:@\{|System\.(?:Object\[\]|Collections\.))"
# Other words for the values of final_mode, metric_type and Accessibility.
_MEANT_WORDS = {
    **dict.fromkeys(("last", "latest"), "final"),
    **dict.fromkeys(("max", "min", "maximum", "minimum"), "best"),
    **dict.fromkeys(("mean", "average"), "avg"),
    **dict.fromkeys(("log", "logs", "console", "output"), "stdout"),
    **dict.fromkeys(("sql", "odps", "maxcompute", "query"), "table"),
    **dict.fromkeys(("tensorboard", "tfevents"), "summary"),
    "workspace": "PUBLIC",
}


_MOST_PLACES = 200
_DEEPEST = 6
# Other tools, each after the members that tell their configurations from anything else.
_OTHER_TOOLS = (
    ({"trialCommand"}, "NNI"),
    ({"trialConcurrency", "searchSpace"}, "NNI"),
    ({"HyperParameterTuningJobConfig"}, "SageMaker"),
    ({"studySpec"}, "Vertex AI"),
    ({"study_spec"}, "Vertex AI"),
    ({"method", "parameters"}, "Weights & Biases"),
    ({"kind", "spec"}, "Kubernetes, such as Katib"),
)
# The members of the events of triggers that are not among the sources of requests, by
# https://www.alibabacloud.com/help/en/functioncompute/fc/formats-of-event-for-different-triggers-1.
_NO_REQUESTS = (
    ({"triggerTime", "triggerName"}, "a timer"),
    ({"jobName", "cursorTime"}, "Log Service"),
    ({"events"}, "OSS or CDN"),
)


def hint_at_shape(body: JsonObject, members: Sequence[str]) -> str:
    """Return what a document that is not a request is likely to be. Only what is known is named."""
    names = [*islice(body, _SHOWN)]
    # As in {"cancel": {"experimentId": "..."}}. An object of several members may be anything.
    alone = [one for name in names if len(held := _find_inner(body[name])) == 1 for one in held]
    if any(fold_name(name) == "experimentid" for name in [*names, *alone]):
        return '; to stop an experiment, write {"stop": {"experimentId": "..."}}'
    if "specversion" in body:
        return "; it is a CloudEvent inside of another one: put its data in its place"
    if {"source", "type", "data"} <= body.keys():
        return '; a CloudEvent needs a specversion: "1.0"'
    for name in list_members(HpoExperimentConfig):
        if name in body:
            return f"; {name} belongs in HpoExperimentConfiguration"
    spelt = [one for one in _WHOLE if any(fold_name(one) == fold_name(name) for name in names)]
    if spelt:
        return f"; did you mean {spelt[0]}?"
    for name in names:
        if {*members, _CONFIGURATION} & _find_inner(body[name]).keys():
            return _describe_place([name])
    path = _find_request(body)
    return _describe_place(path) if path else _name_other_document(body, names)


def _name_other_document(body: JsonObject, names: Sequence[str]) -> str:
    """Return which tool or service a document without a request is for, or which member is misspelt."""
    if tool := next((tool for shape, tool in _OTHER_TOOLS if shape <= body.keys()), None):
        return f"; this looks like a configuration of {tool}, which must be rewritten: see hpoq init"
    if source := next((source for shape, source in _NO_REQUESTS if shape <= body.keys()), None):
        return f"; it is an event of {source}, which delivers no requests"
    return _hint_at_names(names)


def _describe_place(path: Sequence[str]) -> str:
    """Return what to do about a request at the end of `path`. A name that is not a word may be a credential."""
    is_plain = all(re.fullmatch(_PLAIN, name) for name in path)
    where = "/".join(path) if is_plain else "a member of this object"
    return f"; the request seems to be inside {where}: send it by itself"


def _find_request(document: JsonValue) -> list[str] | None:
    """Return the path to the first request inside of the wrappings of brokers and databases, or None."""
    places: list[tuple[list[str], JsonValue]] = [([], document)]
    for path, held in places:
        value = read_object(held.encode(errors="replace")) if isinstance(held, str) else held
        if path and isinstance(value, dict) and {"experiment", _CONFIGURATION} & value.keys():
            return path
        members = value.items() if isinstance(value, dict) else ()
        items = enumerate(value) if isinstance(value, list) else members
        if len(path) < _DEEPEST:
            room = max(0, _MOST_PLACES - len(places))
            places += [([*path, str(token)], member) for token, member in islice(items, room)]
    return None


def _hint_at_names(names: Sequence[str]) -> str:
    hints = Hints()
    meant = [hint for name in names if (hint := hints.suggest(name, ("experiment", _CONFIGURATION)))]
    # The configuration says most about what is meant.
    return next((hint for hint in meant if "Configuration" in hint), meant[0] if meant else "")


def _find_inner(value: JsonValue) -> JsonObject:
    """Return the object that is `value` or its first item, or that either contains as text, or an empty object."""
    if isinstance(value, list):
        value = value[0] if value else None
    return read_object(value.encode(errors="replace")) or {} if isinstance(value, str) else get_object(value)


def explain_errors(
    error: ValidationError, model: type[BaseModel], document: JsonObject
) -> Iterator[Violation]:
    """Return a violation for each of pydantic's errors.

    The rule is `required`, `unknown-member`, `type`, `enum`, `range`, `schema-version`, `idempotency-key`,
    `guard.limit` or `stop.target`. Values of unknown members and of credentials are never quoted.
    """
    details = error.errors(include_url=False, include_context=True, include_input=False)
    hints, listed = Hints(_MOST_HINTS), set[str]()
    return (_explain_error(detail, model, document, hints, listed) for detail in details)


def _explain_error(
    detail: ErrorDetails, model: type[BaseModel], document: JsonObject, hints: Hints, listed: set[str]
) -> Violation:
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
        return _explain_unknown_member(location, model, _get_value(document, location[:-1]), hints, listed)
    if kind == "literal_error":
        return Violation(pointer, "enum", _explain_enum(name, str(context.get("expected")), given, hints))
    if kind == MANY_WRONG:
        return Violation(pointer, "type", detail["msg"])
    if pointer.startswith("/guard/") and kind in ("greater_than", "greater_than_equal"):
        return Violation(pointer, "guard.limit", f"{name} must be greater than 0; for no limit leave it out")
    if pointer == "/stop/experimentId" and kind in ("string_pattern_mismatch", "string_too_long"):
        hint = "; remove the white space" if isinstance(given, str) and given != given.strip() else ""
        what = f"not the id of an experiment, which looks like sJ0xjVa{hint}"
        return Violation(pointer, "stop.target", what)
    if kind in ("greater_than_equal", "less_than_equal"):
        what = f"{name} must be a 32-bit integer, from {-(2**31)} to {2**31 - 1}"
        return Violation(pointer, "range", what)
    # An item of an array has the name of the array.
    holder = next((str(token) for token in reversed(location) if isinstance(token, str)), name)
    what = _explain_type(kind, given, holder if kind == "string_type" else name, _find_model(model, location))
    return Violation(pointer, "type", what)


def _explain_enum(name: str, expected: str, given: JsonValue, hints: Hints) -> str:
    shown = f", not {repr(given[:_SHOWN]) if isinstance(given, str) else describe_type(given)}"
    options = re.findall(r"'([^']+)'", expected)
    meant = _MEANT_WORDS.get(given.lower()) if isinstance(given, str) else None
    hint = f"; did you mean {meant}?" if meant in options else hints.suggest(given, options)
    if isinstance(given, list) and len(given) == 1 and given[0] in options:
        hint = "; remove the brackets"
    return f"{name} must be {expected}{shown}{hint}"


def _explain_type(kind: str, given: JsonValue, name: str, held: type[BaseModel] | None) -> str:
    """Return the message for the wrong type of the member `name`, which holds the model `held` or none."""
    if kind == "float_type" and isinstance(given, int) and not isinstance(given, bool):
        return "must be a number that fits into a double; the largest is about 1.8e308"
    hint = _hint_at_value(kind, given, name) or _hint_at_object(given, held)
    if given == []:
        needs_members = held is not None and any(one.is_required() for one in held.model_fields.values())
        hint = _INSTEAD_OF_EMPTY.get(name, "" if needs_members else hint)
    return f"must be {_EXPECTED.get(kind, 'valid')}, not {describe_type(given)}{hint}"


def _hint_at_key(given: JsonValue) -> str:
    if not isinstance(given, str):
        return f", not {describe_type(given)}{_hint_at_value('string_type', given, 'idempotencyKey')}"
    if not 1 <= len(given) <= MOST_KEY_CHARACTERS:
        return f"; it has {len(given)}{'' if given else '; fill it in, or leave it out'}"
    index = next(index for index, one in enumerate(given) if not re.fullmatch(KEY_CHARACTERS, one))
    return f"; character {index + 1} is U+{ord(given[index]):04X}"


def _hint_at_object(given: JsonValue, model: type[BaseModel] | None) -> str:
    members = list_members(model) if isinstance(given, (str, int, float)) else {}
    if "maxHours" in members and not isinstance(given, bool):
        return '; write {"maxHours": ...}'
    if not isinstance(given, str):
        return ""
    if "experimentId" in members:
        return _FORM_OF_STOP
    if "Key" in members:
        return _FORM_OF_TAG
    return '; write {"name": "..."}' if "name" in members and _ARGUMENTS in members else ""


def _hint_at_value(kind: str, given: JsonValue, name: str) -> str:
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], _SCALARS.get(kind, ())):
        return "; remove the brackets"  # as some serializers write a vector of one item
    if isinstance(given, dict) and len(given) == 1 and kind in _SCALARS:
        # As Avro, MongoDB, DynamoDB and converters from XML write a value: with its type.
        return "; write the value in it alone" if isinstance(next(iter(given.values())), (str, int)) else ""
    if kind == "string_type" and isinstance(given, (int, float, list)):
        instead = "write it as one string" if isinstance(given, list) else "put it in quotes"
        return f"; {_STRINGS.get(name, instead)}"
    if kind == "list_type":
        return _hint_at_array(given, name)
    if kind in _OBJECT_TYPES and isinstance(given, (str, list)):
        return _hint_at_braces(given, name)
    if kind == "bool_type":
        meant = _BOOLEANS.get(str(given).strip().lower())
        return f"; write {meant}{' without quotes' if isinstance(given, str) else ''}" if meant else ""
    if not isinstance(given, str):
        return ""
    given = given.strip()  # so that no pattern matches white space in two ways, which takes quadratic time
    if name == "maxHours" and (time := re.fullmatch(_DURATION, given)):
        return f"; write {int(time[1]) + int(time[2]) / 60:g}, the number of hours"
    if name == "maxHours" and not re.fullmatch(_QUANTITY, given) and (hours := _count_hours(given)):
        return f"; write {hours:g}, the number of hours"
    return _hint_at_number(kind, given, name) if kind in ("int_type", "float_type") else ""


def _count_hours(text: str) -> float:
    """Return the number of hours of a duration such as PT1H30M or 1h30m, or 0 if `text` is not one."""
    found = re.fullmatch(_LONG_DURATION, text)
    parts = found.groups("0") if found else ()
    return sum(int(part) * hours for part, hours in zip(parts, (24, 1, 1 / 60, 1 / 3600), strict=False))


def _hint_at_number(kind: str, given: str, name: str) -> str:
    found = re.fullmatch(_QUANTITY, given)
    if found and (kind == "float_type" or (found[3] and not found[2])):
        return _hint_at_quantity(found[1], found[3].lower(), name)
    text, largest = given, _LARGEST_EXACT
    if kind == "int_type":
        text, largest = re.sub(_GROUPED, "", given), _LARGEST_INTEGER
    try:
        value = float(text)
    except ValueError:
        return hint_at_comma(text) if kind == "float_type" else ""
    is_integer = value.is_integer() and abs(value) <= largest
    if re.match("[+-]?0[0-9]", text) or not (is_integer or (kind == "float_type" and math.isfinite(value))):
        return ""
    return f"; write {int(value) if is_integer else repr(value)} without quotes"


def _hint_at_braces(given: str | list[JsonValue], name: str) -> str:
    if isinstance(given, str):
        if re.match(_OF_POWERSHELL, given):
            return "; PowerShell cut the object off here: call ConvertTo-Json with -Depth 20"
        if re.match(_SHOWN_OBJECT, given):
            return "; a program showed its object here instead of writing it as JSON"
        if problem := explain_text(given):
            return problem
    if name == "metric_dict":
        return '; write each metric with its weight, as in {"accuracy": 1}'
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict) and given[0]:
        return "; remove the brackets"
    if name == "experiment" and given and isinstance(given, list):
        return "; a message has one request"
    return "; write {}, or leave it out" if given == [] else ""


def _hint_at_array(given: JsonValue, name: str) -> str:
    if given == {}:
        return "; write []"
    if isinstance(given, dict) and name == "Tag":
        return _FORM_OF_TAGS
    if isinstance(given, dict) and ("$values" in given or all(map(str.isdecimal, given))):
        return "; write its values in brackets"
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return ""
    try:
        is_text = isinstance(given, str) and isinstance(jsontext.loads(given), list)
    except JsonError:
        is_text = False
    if is_text:
        return "; write the array itself, not a string that contains it"
    if name == "Tag":
        return _FORM_OF_TAGS
    return "; put it in brackets" if isinstance(given, str) else "; put it in quotes and in brackets"


def _hint_at_quantity(number: str, unit: str, name: str) -> str:
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


def _explain_unknown_member(
    location: Sequence[int | str], model: type[BaseModel], given: JsonValue, hints: Hints, listed: set[str]
) -> Violation:
    """Return the violation of an unknown member of the object `given`, with a hint at what is meant.

    Without a hint, the first unknown member of an object lists the known ones; `listed` are the objects where one
    did. In an object with credentials the name may itself be a credential, on the wrong side of the colon. There it
    is shown only if it is a word.
    """
    name, holder = str(location[-1]), _find_model(model, location[:-1])
    at = pointer_to(*location[:-1])
    hint = _hint_at_member(name, holder, given if isinstance(given, dict) else {}, hints)
    if hint == _UNKNOWN and at not in listed:
        listed.add(at)
        hint += f"; allowed here are {', '.join(_list_documented(holder))}"
    if holder and list_credentials(holder) and not re.fullmatch(_WORD, name):
        return Violation(at, "unknown-member", f"{hint} (its name is not shown)")
    return Violation(pointer_to(*location), "unknown-member", hint)


def _list_documented(model: type[BaseModel] | None) -> list[str]:
    return [name for name in list_members(model) if name not in _NEVER_MEANT]


def _hint_at_member(name: str, holder: type[BaseModel] | None, given: JsonObject, hints: Hints) -> str:
    members = list_members(holder)
    if "stop" in members and name in list_members(ExperimentRequest):
        instead = "send it in a message of its own" if name == "experiment" else "remove it"
        return f"not allowed together with stop; {instead}"
    if (hint := _hint_at_meaning(name, members, given)) is not None:
        return hint
    hint = hints.suggest_member(name, members, given)
    if not hint and "experiment" in members and given.get("experiment") is None:
        is_experiment = bool(_EXPERIMENT_MEMBERS & _find_inner(given.get(name)).keys())
        hint = "; did you mean experiment?" if is_experiment else ""
    hint = hint or _hint_at_place(name, members, holder) or _hint_at_missing(holder, given)
    if not hint and _ARGUMENTS in members:
        hint = f"; arguments of the algorithm belong in {_ARGUMENTS}"
    return f"{_UNKNOWN}{hint or (_FORM_OF_TAG if holder is Tag else '')}"


def _hint_at_meaning(
    name: str, members: Mapping[str, type[BaseModel] | None], given: JsonObject
) -> str | None:
    """Return what to do about a name whose meaning is known, or None."""
    folded, value = fold_name(name), given.get(name)
    if folded == "optimizemode" and _ARGUMENTS in members:
        return f"{_UNKNOWN} here; it belongs in {_ARGUMENTS}"
    if folded in _DIRECTIONS and isinstance(value, str) and re.fullmatch(_OF_DIRECTION, value):
        return f"{_UNKNOWN}; write optimize_mode in class_args of yml_config.tuner"
    if folded == "action" and isinstance(value, str) and value.lower() in _STOPS:
        return f'{_UNKNOWN}; to stop an experiment, write {{"stop": {{"idempotencyKey": "..."}}}}'
    is_body = "experiment" in members or _CONFIGURATION in members
    if is_body and folded in _OF_CALLS:
        return f"{_UNKNOWN}; {_ONLY_BODY}"
    if is_body and re.match(r"Tag\.[0-9]+\.", name):
        return f"{_UNKNOWN}; write Tag as an array{_FORM_OF_TAGS.removeprefix('; write')}"
    is_spelt = any(folded == fold_name(member) for member in members)
    meant = None if is_spelt or (folded == "seed" and _ARGUMENTS in members) else _MEANT.get(folded)
    if meant is not None:
        return f"{_UNKNOWN}; {meant}"
    inner = [member for member, model in members.items() if name in list_members(model)]
    # Where more than two have it, the name says too little.
    return f"{_UNKNOWN} here; it belongs in {' or '.join(inner)}" if len(inner) in (1, 2) else None


def _hint_at_missing(holder: type[BaseModel] | None, given: JsonObject) -> str:
    """Return the only required member that is missing if the only unknown one has a value of its kind, or nothing."""
    if len(given) > len(list_members(holder)):  # an object of a hostile message may have thousands
        return ""
    fields = holder.model_fields.items() if holder else ()
    # The engine requires the name of an algorithm, though the API does not.
    is_named = _ARGUMENTS in list_members(holder)
    missing = {
        field.alias or name: field
        for name, field in fields
        if field.is_required() or (is_named and name == "name")
    }
    missing = {name: field for name, field in missing.items() if name not in given}
    unknown = [value for name, value in given.items() if name not in list_members(holder)]
    if len(missing) != 1 or len(unknown) != 1:
        return ""
    ((name, field),) = missing.items()
    kind = next((kind for kind in (list, dict) if kind.__name__ in str(field.annotation)), str)
    return f"; did you mean {name}?" if isinstance(unknown[0], kind) and name != "experiment" else ""


def _hint_at_place(
    name: str, members: Mapping[str, type[BaseModel] | None], holder: type[BaseModel] | None
) -> str:
    """Return where a member that is unknown here belongs, if only one object of a request has it, or nothing."""
    if _CONFIGURATION in members and fold_name(name) == "experiment":
        return "; the request is wrapped twice: remove the outer experiment"
    found = _find_places(name, members)
    if holder and list_credentials(holder) and any(place in ACCESS_KEYS for place, _ in found):
        return ""  # each service has its own settings of access
    if len(found) == 1:
        ((place, member),) = found
        where = f"in {place}" if place else "next to experiment"
        return f" here; {'it belongs' if member == name else f'write {member}'} {where}"
    return ""


def _find_places(name: str, members: Mapping[str, type[BaseModel] | None]) -> list[tuple[str, str]]:
    """Return the objects that may be meant to have a member `name`, each with the name it has there."""
    folded = fold_name(name)
    found = _index_members().get(folded, [])
    exact = [(place, member) for place, member in found if member == name]
    if exact and "experiment" not in members:
        return exact
    # One of the objects in this one is meant rather than another, and its only list by its plural.
    for spelt in (folded, folded.removesuffix("s")):
        inner = [(one, held) for one, model in members.items() for held in _list_documented(model)]
        if near := [(one, held) for one, held in inner if fold_name(held) == spelt]:
            return near
    return exact or found


@cache
def _index_members() -> dict[str, list[tuple[str, str]]]:
    """Return the place and the name of every member of a request, by its folded name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for place, model in _list_models(ExperimentRequest):
        for member in _list_documented(model) if model is not Tag else ():
            found.setdefault(fold_name(member), []).append((place, member))
    return found


def _list_models(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield `model` and all models in it, each with the last name of its place."""
    yield place, model
    for member, inner in list_members(model).items():
        if inner is not None:
            yield from _list_models(inner, member)


def _find_model(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for token in location:
        found = found if isinstance(token, int) else list_members(found).get(token)
    return found


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
