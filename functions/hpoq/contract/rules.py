"""The rules that a model cannot express, because they concern several members or only warn.

A request that contradicts the service's documentation is rejected. What contradicts only its engine's documentation
or common sense is a warning: a request that the service would accept must not be rejected. Rules read the raw
document and ignore values of the wrong type, so that all findings are reported at once. README.md in this folder
lists every rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import unwrap_base64
from hpoq.contract import jsontext, lint, patterns, search_space
from hpoq.contract.document import explain_text
from hpoq.contract.finding import (
    Finding,
    Hints,
    absence,
    describe_type,
    get_member,
    get_object,
    get_string,
    get_strings,
    hint_at_comma,
    hint_at_quotes,
    rejection,
    warning,
)
from hpoq.contract.identity import MARKER_TAG, MOST_TAGS, TAG_KEY, find_marker_keys
from hpoq.contract.jsontext import JsonError, pointer_to
from hpoq.contract.model import MOST_KEY_CHARACTERS, CreateHpoExperiment, Tag, list_members

if TYPE_CHECKING:
    from pydantic import BaseModel

_CONFIG = lint.CONFIG
_MOST_TAG_CHARACTERS = 128
# `${name}`, `$(name)`, `{{ name }}`, `{name}`, `#{name}`, `%(name)s`, `%s`, `<%= name %>` and `@@name@@` anywhere. As
# the whole text: `$NAME`, `%NAME%`, `<name>` and `[two words]`; how logs and tools
# write a secret; how languages write a value that is not there; and
# what people write who mean to fill it in later. `[name]`, `todo` and `my-name` may be real names.
_PLACEHOLDER = (
    r"\$\{[A-Za-z_][^{}]{0,60}\}|\$\([A-Za-z_][^{}()]{0,60}\)|\{\{.{0,60}\}\}|\{[A-Za-z_][A-Za-z0-9_]*\}|#\{[^{}]+\}"
    r"|%\([A-Za-z_][A-Za-z0-9_]*\)[ds]|(?<![0-9%])%s(?![0-9A-Za-z])|<%.*%>|@@[^@\s]+@@"
    r"|\A(?:\$[A-Z_]+|%[A-Za-z_]+%|<[A-Za-z_ -]+>|\[[A-Za-z]+[ _-][A-Za-z _-]+\])\Z"
    r"|\A(?:\*{3,}|(?i:redacted|\[(?:redacted|masked)\])|\(sensitive value\))\Z|\A(?:vault:|op://)"
    r"|\A(?:undefined|None|null|nil|NaN|\[object Object\])\Z"
    r"|\A(?:(?i:your[ _-][a-z _-]+|change[ _-]?me|x{3,})|TODO|TBD|FIXME|\.\.\.|\u2026)\Z"
    r"|\A(?:EXAMPLE-ACCESS-KEY-(?:ID|SECRET)|my_project)\Z"  # of events/requests and of `hpoq init`
)
_TABLE_NAME = r"\s*[\w.]{1,128}\s*"
_WORD = "[A-Za-z_]{1,24}"
_SENT_AS_OBJECT = "a string; it is sent as an object"
_IN_BRACKETS = "must be an object, not an array; remove the brackets"
_OF_LISTS = ("search_space", "metric_dict")
"""Objects of which other tools write an array, with an item for each parameter or metric."""

_FILLED = ("/experiment/WorkspaceId", _CONFIG)
"""Where an empty text is not a value. Elsewhere a key is rejected, a name has a rule, and a tag may be empty."""

# White space and invisible characters, as they come with a text that was copied.
_BLANK = " \t\r\n\v\f\x85\xa0\u2007\u202f\u3000\u00ad\u200b\u200c\u200d\u2060\ufeff"

_Objects: TypeAlias = Mapping[str, "_Objects"]
_COMPANIONS: _Objects = {"guard": {}, "stop": {}}
# The members whose value is an object without a model.
_FREE_OBJECTS = ("search_space", "metric_dict", "class_args")


@cache
def _list_objects(model: type[BaseModel] | None) -> _Objects:
    """Return the members of `model` that are objects, each with those of its own members that are."""
    return {
        name: _list_objects(inner)
        for name, inner in list_members(model).items()
        if name in _FREE_OBJECTS or (inner is not None and inner is not Tag)
    }


def check_message(message: JsonObject) -> Iterator[Finding]:
    """Check `stop`, and the members next to `experiment`."""
    yield from _check_key(message.get("idempotencyKey"), "/idempotencyKey")
    yield from _check_placeholders(message, message.get("experiment"))
    guard, stop = message.get("guard"), message.get("stop")
    if isinstance(guard, dict):
        yield from _check_guard(guard, message)
    if isinstance(stop, dict):
        yield from _check_stop(stop)
    trace = message.get("traceparent")
    if isinstance(trace, str) and not patterns.is_traceparent(trace):
        yield warning("/traceparent", "traceparent", "not a valid W3C traceparent; it is ignored")


def _check_key(key: JsonValue, at: str) -> Iterator[Finding]:
    """Warn about a key that is easily confused with another one: keys are compared as they are written."""
    # Normalization of hostile text takes time quadratic in its length; a longer key is rejected anyway.
    if not isinstance(key, str) or len(key) > MOST_KEY_CHARACTERS:
        return
    if key != unicodedata.normalize("NFC", key):
        what = "not in Unicode normal form NFC; a key in NFC that looks the same is a different key"
        yield warning(at, "idempotency-key.not-nfc", what)
    is_blank = key and any(one.isspace() or unicodedata.category(one) == "Cf" for one in (key[0], key[-1]))
    # A key with a control character is rejected, with that character.
    if is_blank and re.fullmatch(f"{patterns.KEY_CHARACTERS}*", key):
        what = (
            "starts or ends with white space or an invisible character; the key without it is a different key"
        )
        yield warning(at, "idempotency-key.blank", what)


def _check_placeholders(message: JsonObject, experiment: JsonValue) -> Iterator[Finding]:
    """Warn about texts that a template or a script should have replaced. None is quoted: it may be a secret."""
    texts = {
        "/idempotencyKey": message.get("idempotencyKey"),
        "/stop/idempotencyKey": get_member(message, "stop", "idempotencyKey"),
    }
    if isinstance(experiment, dict):
        texts["/experiment/Name"] = experiment.get("Name")
        texts["/experiment/WorkspaceId"] = experiment.get("WorkspaceId")
        tags = experiment.get("Tag")
        for index, tag in enumerate(tags[:MOST_TAGS] if isinstance(tags, list) else ()):
            texts[f"/experiment/Tag/{index}/Value"] = get_member(tag, "Value")
        config = experiment.get("HpoExperimentConfiguration")
        # Of the configuration only these sections, in which the engine itself replaces nothing.
        for holder in lint.ACCESS_KEYS:
            held = config.get(holder) if isinstance(config, dict) else None
            for name, value in held.items() if isinstance(held, dict) else ():
                if re.fullmatch(_WORD, name):  # another name may be a credential
                    texts[f"{_CONFIG}/{holder}/{name}"] = value
    for place, text in texts.items():
        if isinstance(text, str) and re.search(_PLACEHOLDER, text[:_MOST_TAG_CHARACTERS]):
            what = "looks like a placeholder or a missing value, such as None; hpoq does not replace it"
            yield warning(place, "text.placeholder", what)
        elif isinstance(text, str) and not text.strip() and place.startswith(_FILLED):
            yield warning(
                place, "text.placeholder", "an empty text, which is sent; fill it in, or leave it out"
            )
        elif isinstance(text, str) and place.startswith(_FILLED) and text.strip(_BLANK) != text:
            what = "starts or ends with white space or an invisible character, which is sent; remove it"
            yield warning(place, "text.blank", what)


def _check_guard(guard: JsonObject, message: JsonObject) -> Iterator[Finding]:
    if all(value is None for value in guard.values()):
        what = "a guard needs a limit: maxHours, maxFailedTrials or targetMetric"
        yield rejection("/guard", "guard.empty", what)
    config = get_object(message, "experiment", "HpoExperimentConfiguration")
    failed, trials = guard.get("maxFailedTrials"), get_member(config, "yml_config", "max_trial_number")
    if isinstance(failed, (int, float)) and isinstance(trials, (int, float)) and failed > trials > 0:
        what = f"never reached: max_trial_number is {trials}"
        yield warning("/guard/maxFailedTrials", "guard.unreachable", what)
    if guard.get("targetMetric") is not None and find_optimize_mode(config) is None:
        what = "to compare a metric with targetMetric, set optimize_mode of the tuner to maximize or minimize"
        yield rejection("/guard/targetMetric", "guard.target", what)


def find_optimize_mode(config: JsonObject) -> str | None:
    """Return whether the metric is to be maximized or minimized, or None if neither tuner nor assessor states it."""
    for part in ("tuner", "assessor"):
        mode = get_member(config, "yml_config", part, "class_args", "optimize_mode")
        if isinstance(mode, str) and mode in lint.OPTIMIZE_MODES:
            return mode
    return None


def _check_stop(stop: JsonObject) -> Iterator[Finding]:
    yield from _check_key(stop.get("idempotencyKey"), "/stop/idempotencyKey")
    given = [name for name in ("idempotencyKey", "experimentId") if stop.get(name) is not None]
    # Any other member is unknown, and may be a misspelling of one of the two.
    if len(given) == 2 or (not given and stop.keys() <= {"idempotencyKey", "experimentId"}):
        yield rejection("/stop", "stop.target", "give either idempotencyKey or experimentId")


def undo_texts(message: JsonObject) -> tuple[JsonObject, list[Finding]]:
    """Return `message` with the objects that it contains as JSON text or in brackets, and a finding at each of them.

    The documentation says that `search_space` is a JSON string, and shows an object. An object is sent. The finding
    about a text comes before those about texts in it. Brackets reject a request, but hide nothing that is in them.
    """
    found: list[Finding] = []
    message = _undo_members(message, _COMPANIONS, "", found)
    experiment = message.get("experiment")
    if isinstance(experiment, list) and _is_one_object(experiment):
        found.append(rejection("/experiment", "type", _IN_BRACKETS))
        experiment = experiment[0]
        message = {**message, "experiment": experiment}
    if isinstance(experiment, dict):
        undone = _undo_members(experiment, _list_objects(CreateHpoExperiment), "/experiment", found)
        if undone is not experiment:
            message = {**message, "experiment": undone}
    return message, found


def _undo_members(holder: JsonObject, objects: _Objects, at: str, found: list[Finding]) -> JsonObject:
    """Return `holder` with its `objects` instead of texts and arrays with them, and add a finding for each."""
    undone: JsonObject = {}
    for name, inner in objects.items():
        value = written = holder.get(name)
        text = _read_text(value) if isinstance(value, str) else None
        if text is not None:
            found.append(_note_text(name, f"{at}/{name}"))
            value = text
        elif isinstance(value, list) and name not in _OF_LISTS and _is_one_object(value):
            found.append(rejection(f"{at}/{name}", "type", _IN_BRACKETS))
            value = value[0]
        if isinstance(value, dict) and inner:
            value = _undo_members(value, inner, f"{at}/{name}", found)
        if value is not written:
            undone[name] = value
    return {**holder, **undone} if undone else holder


def _is_one_object(items: list[JsonValue]) -> bool:
    """Return whether `items` are one object with members, as converters from HCL and XML write an object."""
    return len(items) == 1 and isinstance(items[0], dict) and bool(items[0])


def _note_text(name: str, place: str) -> Finding:
    if name == "search_space":
        return warning(place, "search-space.text", _SENT_AS_OBJECT)
    if name == "metric_dict":
        return warning(place, "metric.text", _SENT_AS_OBJECT)
    return warning(place, "object.text", _SENT_AS_OBJECT)


def _read_text(value: str) -> JsonObject | None:
    """Return the JSON object in a string, plain or in base64, or None if it contains anything else."""
    try:
        parsed = jsontext.loads(unwrap_base64(value.encode()))
    except (JsonError, UnicodeEncodeError):
        return None
    return parsed if isinstance(parsed, dict) else None


def check_experiment(experiment: JsonValue) -> Iterator[Finding]:
    """Check the body of CreateHpoExperiment and its configuration."""
    if not isinstance(experiment, dict):
        return
    if find_marker_keys((), get_string(experiment, "Description")):
        what = f"[{TAG_KEY}: ...] is reserved for hpoq; remove it"
        yield rejection("/experiment/Description", "description.reserved", what)
    tags = experiment.get("Tag")
    if isinstance(tags, list):
        yield from _check_tags(tags)
    if experiment.get("HpoExperimentConfiguration") is None:
        what = "an experiment without a configuration has nothing to run"
        yield absence(_CONFIG, "configuration.absent", what)
        return
    name = experiment.get("Name")
    if isinstance(name, str) and not name.strip():
        yield warning("/experiment/Name", "name.empty", "an empty name; such an experiment is hard to find")
    config = experiment["HpoExperimentConfiguration"]
    if not isinstance(config, dict):
        return  # reported by the models
    hints = Hints()
    yield from _check_space(config.get("search_space"), hints)
    yield from _check_metric(config)
    yield from _check_params(config)
    yield from lint.lint(config, hints)


def _check_tags(tags: list[JsonValue]) -> Iterator[Finding]:
    if len(tags) > MOST_TAGS:
        yield rejection("/experiment/Tag", "tag.limit", f"{len(tags)} tags; the service allows {MOST_TAGS}")
    seen: set[str] = set()
    for index, tag in enumerate(tags):
        at = f"/experiment/Tag/{index}"
        if isinstance(tag, dict) and tag.get("Key") in (None, ""):
            yield absence(at, "tag.text", "experiments cannot be listed by a tag without a key")
        elif isinstance(tag, dict) and isinstance(tag["Key"], str):
            if tag["Key"] in seen:
                what = "the same key as before; whether the service keeps both values is not documented"
                yield warning(f"{at}/Key", "tag.repeated", what)
            seen.add(tag["Key"])
        if re.fullmatch(MARKER_TAG, get_string(tag, "Key")):
            what = f"the tag {TAG_KEY} is reserved for hpoq; use another key"
            yield rejection(f"{at}/Key", "tag.reserved", what)
        for part in ("Key", "Value"):
            problem = _find_tag_problem(get_string(tag, part))
            if problem:
                yield warning(f"{at}/{part}", "tag.text", problem)


def _find_tag_problem(value: str) -> str | None:
    """Return why experiments cannot be listed by a tag with this key or value, or None if they can."""
    if len(value) > _MOST_TAG_CHARACTERS:
        return f"{len(value)} characters; experiments can only be listed by texts of up to {_MOST_TAG_CHARACTERS}"
    if value.startswith(("aliyun", "acs:")) or "http://" in value or "https://" in value:
        return (
            "experiments cannot be listed by a text that starts with aliyun or acs:, "
            "or that contains http:// or https://"
        )
    return None


def _check_space(value: JsonValue, hints: Hints) -> Iterator[Finding]:
    at = f"{_CONFIG}/search_space"
    if isinstance(value, dict):
        yield from search_space.check_space(value, at, hints)
    elif isinstance(value, str):
        hint = explain_text(value) or "; write an object"
        what = f"a string that does not contain a JSON object{hint}"
        yield rejection(at, "search-space.text", what)
    elif value is not None:
        hint = '; write each parameter as in {"${lr}": {"_type": ..., "_value": ...}}'
        what = f"must be an object, not {describe_type(value)}{hint if isinstance(value, list) else ''}"
        yield rejection(at, "type", what)


def _check_metric(config: JsonObject) -> Iterator[Finding]:
    at = f"{_CONFIG}/metric_config"
    kind = get_string(config, "metric_config", "metric_type")
    if kind == "api":
        yield warning(f"{at}/metric_type", "metric-type.api", "documented by the engine, not by the API")
    if get_member(config, "metric_config", "metric_source") == []:
        yield warning(f"{at}/metric_source", "metric-source.empty", "no source, so there is no metric")
    for index, source in get_strings(config, "metric_config", "metric_source"):
        if not source.strip() and kind in ("table", "summary", "json"):
            yield warning(f"{at}/metric_source/{index}", "metric-source.empty", "an empty source")
        problem = _find_source_problem(kind, source)
        if problem:
            yield rejection(f"{at}/metric_source/{index}", "metric-source.form", problem)
        elif kind == "table" and re.fullmatch(_TABLE_NAME, source):
            what = "the name of a table, not a SQL query; write SELECT ... FROM it"
            yield warning(f"{at}/metric_source/{index}", "metric-source.form", what)
    for name, weight in get_object(config, "metric_config", "metric_dict").items():
        place = f"{at}/metric_dict{pointer_to(name)}"
        if isinstance(weight, str) and re.match(patterns.NUMBER, weight):
            yield warning(place, "metric-weight.text", f"a weight should be a number{hint_at_quotes(weight)}")
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            is_direction = isinstance(weight, str) and weight[:3].lower() in ("max", "min")
            hint = "; write 1 here, and the direction as optimize_mode of the tuner" if is_direction else ""
            hint = "; write 1" if weight is True else hint or hint_at_comma(weight)
            what = f"a weight must be a number, not {describe_type(weight)}{hint}"
            yield rejection(place, "metric-weight", what)


def _find_source_problem(kind: str, source: str) -> str | None:
    """Return why `source` does not fit the metric_type `kind`, or None if it may fit."""
    command, query = re.match(patterns.COMMAND, source), re.match(patterns.QUERY, source)
    named = command or re.match(patterns.COMMAND_ROLE, source)
    if kind == "stdout" and not named and (query or "/" not in source):
        return "metric_type stdout needs the name of a command: cmd1, cmd2, ..."
    if kind == "table" and (command or re.match(patterns.URL, source)):
        return "metric_type table needs a SQL query that returns the metric"
    if kind in ("summary", "json") and (command or query):
        what = "a folder of TensorBoard summaries" if kind == "summary" else "a file"
        return f"metric_type {kind} needs the path of {what}"
    return None


def _check_params(config: JsonObject) -> Iterator[Finding]:
    for index, pair in get_strings(config, "params_config", "params_src_dst_filepath"):
        if not re.match(patterns.PAIR, pair):
            at = f"{_CONFIG}/params_config/params_src_dst_filepath/{index}"
            yield rejection(at, "params.pair", "must be a source path, one comma and a destination path")
