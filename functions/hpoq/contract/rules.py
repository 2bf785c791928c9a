"""The rules that a model alone cannot say: they look at several members, or only warn.

What the documentation states rejects; what only the engine's documentation or good sense says warns, for a
request that the service would take must not be refused. Rules read the raw document and pass over whatever
has the wrong type, so that all findings come at once. README.md beside this file lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from fcruntime import strictjson
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.strictjson import JsonError
from hpoq.contract import lint, patterns, search_space
from hpoq.contract.finding import Finding, member, obj, rejection, text, texts, warning
from hpoq.contract.marker import MOST_TAGS, TAG_KEY, marked_with
from hpoq.contract.pointer import pointer_to

_CONFIG = "/experiment/HpoExperimentConfiguration"
_MOST_TAG_TEXT = 128


def judge_message(message: JsonObject) -> Iterator[Finding]:
    """What stands beside `experiment`."""
    trace = message.get("traceparent")
    if isinstance(trace, str) and not is_traceparent(trace):
        yield warning("/traceparent", "traceparent", "not a W3C traceparent; the trace is not carried on")


def is_traceparent(value: str) -> bool:
    """Whether `value` is a `traceparent` of version 00 (https://www.w3.org/TR/trace-context/)."""
    return re.match(patterns.TRACEPARENT, value) is not None


def judge_experiment(experiment: JsonValue) -> Iterator[Finding]:
    """The body of CreateHpoExperiment and its configuration."""
    if not isinstance(experiment, dict):
        return
    if marked_with((), text(experiment, "Description")):
        what = f"[{TAG_KEY}: ...] is hpoq's own marker; leave it out"
        yield rejection("/experiment/Description", "description.reserved", what)
    yield from _judge_tags(experiment.get("Tag"))
    if experiment.get("HpoExperimentConfiguration") is None:
        yield warning(
            _CONFIG, "configuration.absent", "an experiment without a configuration has nothing to run"
        )
        return
    config = obj(experiment, "HpoExperimentConfiguration")
    space, findings = _judge_space(config.get("search_space"))
    yield from findings
    yield from _judge_metric(config)
    yield from _judge_params(config)
    yield from lint.lint(config, space, _CONFIG)


def _judge_tags(tags: JsonValue) -> Iterator[Finding]:
    if not isinstance(tags, list):
        return
    if len(tags) > MOST_TAGS:
        yield rejection("/experiment/Tag", "tag.limit", f"{len(tags)} tags; the service takes {MOST_TAGS}")
    for index, tag in enumerate(tags):
        at = f"/experiment/Tag/{index}"
        if text(tag, "Key") == TAG_KEY:
            yield rejection(f"{at}/Key", "tag.reserved", f"{TAG_KEY} is hpoq's own marker; use another key")
        for part in ("Key", "Value"):
            problem = _tag_text(text(tag, part))
            if problem:
                yield warning(f"{at}/{part}", "tag.text", problem)


def _tag_text(value: str) -> str | None:
    if len(value) > _MOST_TAG_TEXT:
        return f"{len(value)} characters; listings can only be filtered by up to {_MOST_TAG_TEXT}"
    if value.startswith(("aliyun", "acs:")) or "http://" in value or "https://" in value:
        return "listings cannot be filtered by aliyun..., acs:..., or what holds http:// or https://"
    return None


def _judge_space(value: JsonValue) -> tuple[JsonObject, Iterable[Finding]]:
    """The search space as an object, and what is wrong with it."""
    at = f"{_CONFIG}/search_space"
    if value is None or isinstance(value, dict):
        return value or {}, search_space.judge(value or {}, at)
    if not isinstance(value, str):
        return {}, [rejection(at, "type", "must be an object")]
    try:
        parsed = strictjson.loads(value)
    except JsonError as exc:
        return {}, [
            rejection(at, "search-space.text", f"text that is not JSON ({exc.rule}); write an object")
        ]
    if not isinstance(parsed, dict):
        return {}, [rejection(at, "search-space.text", "text that holds no JSON object; write an object")]
    inner = (found.placed(at) for found in search_space.judge(parsed, ""))
    return parsed, chain([warning(at, "search-space.text", "text; an object is sent instead")], inner)


def _judge_metric(config: JsonObject) -> Iterator[Finding]:
    at = f"{_CONFIG}/metric_config"
    kind = text(config, "metric_config", "metric_type")
    if kind == "api":
        yield warning(f"{at}/metric_type", "metric-type.api", "documented by the engine only, not by the API")
    if member(config, "metric_config", "metric_source") == []:
        yield warning(f"{at}/metric_source", "metric-source.empty", "no source, so there is no metric")
    for index, source in texts(config, "metric_config", "metric_source"):
        problem = _source(kind, source)
        if problem:
            yield rejection(f"{at}/metric_source/{index}", "metric-source.form", problem)
    for name, weight in obj(config, "metric_config", "metric_dict").items():
        place = f"{at}/metric_dict{pointer_to(name)}"
        if isinstance(weight, str) and re.match(patterns.NUMBER, weight):
            yield warning(place, "metric-weight.text", "a weight is a number; write it without quotes")
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            yield rejection(place, "metric-weight", "a weight must be a number")


def _source(kind: str, source: str) -> str | None:
    """Why `source` is of another metric_type than `kind`; None if it may be of it."""
    command, query = re.match(patterns.COMMAND, source), re.match(patterns.QUERY, source)
    if kind == "stdout" and not command and (query or "/" not in source):
        return "metric_type stdout takes the output of a command: cmd1, cmd2, ..."
    if kind == "table" and (command or re.match(patterns.URL, source)):
        return "metric_type table takes a SQL query that returns the metric"
    if kind in ("summary", "json") and (command or query):
        what = "a folder of TensorBoard summaries" if kind == "summary" else "a file"
        return f"metric_type {kind} takes the path of {what}"
    return None


def _judge_params(config: JsonObject) -> Iterator[Finding]:
    for index, pair in texts(config, "params_config", "params_src_dst_filepath"):
        if not re.match(patterns.PAIR, pair):
            at = f"{_CONFIG}/params_config/params_src_dst_filepath/{index}"
            yield rejection(at, "params.pair", "must be a source path, one comma, and a destination path")
