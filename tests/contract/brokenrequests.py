"""Requests that each break one rule that the schema cannot express."""

import base64
import gzip
import json

from requestschema import REQUESTS, put

from hpoq.contract.search_space import ARITY

MINIMAL = json.loads(REQUESTS["minimal"].read_text())
CONFIG = ("experiment", "HpoExperimentConfiguration")


def config(way, value, document=MINIMAL):
    return put(document, (*CONFIG, *way), value)


def dumped(document):
    return json.dumps(document).encode()


def deep(levels):
    return json.loads("[" * levels + "]" * levels)


BROKEN = {
    "document.shape": {"hello": "world"},
    "description.reserved": put(MINIMAL, ("experiment", "Description"), f"[hpoq-key: {'0' * 36}]"),
    "enum": put(MINIMAL, ("experiment", "Accessibility"), "public"),
    "guard.empty": {**MINIMAL, "guard": {}},
    "guard.limit": {**MINIMAL, "guard": {"maxHours": 0}},
    "guard.target": {"experiment": {}, "guard": {"targetMetric": 1}},
    "idempotency-key": {**MINIMAL, "idempotencyKey": ""},
    "json.depth": config(("yml_config", "tuner", "class_args", "x"), deep(70)),
    "json.surrogate": put(MINIMAL, ("experiment", "Name"), "\ud800"),
    "json.number": config(("metric_config", "metric_dict", "x"), 10**400),
    "metric-source.form": config(("metric_config", "metric_source"), ["cmd1"]),
    "metric-weight": config(("metric_config", "metric_dict", "x"), "heavy"),
    "params.pair": config(("params_config", "params_src_dst_filepath"), ["a"]),
    "range": config(("yml_config", "max_trial_number"), 2**31),
    "required": {**MINIMAL, "experiment": None},
    "schema-version": {**MINIMAL, "schemaVersion": "2"},
    "stop.target": {"stop": {}},
    "tag.limit": put(MINIMAL, ("experiment", "Tag"), [{"Key": "k"}] * 21),
    "tag.reserved": put(MINIMAL, ("experiment", "Tag"), [{"Key": "hpoq-key"}]),
    "type": put(MINIMAL, ("experiment", "Name"), 1),
    "unknown-member": {**MINIMAL, "priority": 1},
}
SPACES = {
    "search-space.arity": {"x": {"_type": "uniform", "_value": [1]}},
    "search-space.bounds": {"x": {"_type": "uniform", "_value": [2, 1]}},
    "search-space.empty": {"x": {"_type": "choice", "_value": []}},
    "search-space.number": {"x": {"_type": "uniform", "_value": ["1", 2]}},
    "search-space.spec": {"x": 1},
    "search-space.step": {"x": {"_type": "quniform", "_value": [0, 1, 0]}},
    "search-space.text": [],
    "search-space.type": {"x": {"_type": "among", "_value": []}},
}
TEXTS = {
    "json.duplicate-key": b'{"experiment": {"Name": "a", "Name": "b"}}',
    "json.non-finite": json.dumps(config(("metric_config", "metric_dict", "x"), 0))
    .replace('"x": 0', '"x": 1e999')
    .encode(),
    "json.depth": json.dumps(BROKEN["json.depth"]).encode(),
    "json.number": json.dumps(BROKEN["json.number"]).encode(),
    "json.surrogate": json.dumps(BROKEN["json.surrogate"]).encode(),
}
WHOLE = json.dumps(MINIMAL).encode()
CARRIED = {
    **TEXTS,
    "body.base64-twice": base64.b64encode(base64.b64encode(WHOLE)),
    "body.compressed": gzip.compress(WHOLE),
    "body.too-large": json.dumps(put(MINIMAL, ("experiment", "Description"), "x" * 2**20)).encode(),
    "json.encoding": json.dumps(MINIMAL).encode("utf-16"),
}


def in_text(entries):
    return config(("search_space",), json.dumps(entries))


EXPERIMENT_TEXTS = {
    **{
        rule: json.dumps(document["experiment"])
        for rule, document in BROKEN.items()
        if rule not in ("document.shape", "idempotency-key", "required", "schema-version", "unknown-member")
        and not rule.startswith(("guard.", "stop."))
    },
    **{rule: json.dumps(in_text(entries)["experiment"]) for rule, entries in SPACES.items()},
    "json.duplicate-key": '{"Name": "a", "Name": "b"}',
    "json.non-finite": '{"Name": 1e999}',
    "json.encoding": base64.b64encode(b'{"Name": "\xff"}').decode(),
    "json.syntax": "{",
    "required": json.dumps(config(("metric_config", "final_mode"), None)["experiment"]),
    "unknown-member": '{"priority": 1}',
}
CONFIG_TEXTS = {
    rule: json.dumps(document["experiment"]["HpoExperimentConfiguration"])
    for rule, document in {
        **{rule: BROKEN[rule] for rule in ("metric-source.form", "metric-weight", "params.pair", "range")},
        **{rule: in_text(entries) for rule, entries in SPACES.items()},
        "enum": config(("metric_config", "final_mode"), "last"),
        "required": config(("metric_config", "final_mode"), None),
        "type": config(("metric_config", "metric_source"), "x"),
        "unknown-member": config(("priority",), 1),
    }.items()
}
GUARD_TEXTS = {"guard.empty": "{}", "guard.limit": '{"maxHours": 0}'}
STOP_TEXTS = {"stop.target": "{}", "idempotency-key": '{"idempotencyKey": ""}'}
WEIGHT_TEXTS = {"metric-weight": '{"x": "heavy"}', "type": "heavy"}
ENCODED = {
    **{rule: json.dumps(document).encode() for rule, document in BROKEN.items()},
    **{rule: json.dumps(in_text(entries)).encode() for rule, entries in SPACES.items()},
    **TEXTS,
    "json.encoding": b'{"Name": "\xff"}',
    "json.syntax": b"{",
    "body.base64-twice": base64.b64encode(WHOLE),
    "body.compressed": gzip.compress(WHOLE),
}


def _judged():
    """Return documents that are rejected for their content, by the rule that they break."""
    for kind, names in ARITY.items():
        if "low" in names:
            yield "search-space.bounds", {"x": {"_type": kind, "_value": [2, 1, 1][: len(names)]}}
        yield "search-space.bounds", {"x": {"_type": kind, "_value": [1, 10**350, 1][: len(names)]}}


def _mistyped():
    yield config(("yml_config", "assessor", "class_args", "proportion"), 10**350)
    yield {**MINIMAL, "guard": {"maxHours": 10**350}}
    yield {**MINIMAL, "guard": {"targetMetric": 10**350}}


def cases():
    """Return bodies of messages, each with the one rule that it breaks. The schema accepts their documents."""
    yield from CARRIED.items()
    yield from ((rule, dumped(config(("search_space",), entries))) for rule, entries in _judged())
    yield from (("type", dumped(document)) for document in _mistyped())
    yield "guard.target", dumped(BROKEN["guard.target"])
    yield from ((rule, dumped(in_text(entries))) for rule, entries in SPACES.items())
    yield from ((rule, dumped({**MINIMAL, "experiment": text})) for rule, text in EXPERIMENT_TEXTS.items())
    yield from (
        (rule, dumped(config(("metric_config", "metric_dict"), text))) for rule, text in WEIGHT_TEXTS.items()
    )
    yield from ((rule, dumped(put(MINIMAL, CONFIG, text))) for rule, text in CONFIG_TEXTS.items())
    yield from ((rule, dumped({**MINIMAL, "guard": text})) for rule, text in GUARD_TEXTS.items())
    aimless = BROKEN["guard.target"]
    yield "guard.target", dumped({**aimless, "guard": json.dumps(aimless["guard"])})
    yield from ((rule, dumped({"stop": text})) for rule, text in STOP_TEXTS.items())
    yield "cloudevent.data", dumped({"specversion": "1.0", "data_base64": "A"})
    for rule, text in ENCODED.items():
        encoded = base64.b64encode(text).decode()
        yield rule, dumped({"specversion": "1.0", "data_base64": encoded})
        is_text = not rule.startswith("body.") and rule != "json.encoding"
        event = dumped({"specversion": "1.0", "data": text.decode() if is_text else encoded})
        yield rule, event
        yield rule, dumped(text.decode() if is_text else event.decode())
    yield "cloudevent.data", dumped('{"specversion": "1.0"}')
    yield "cloudevent.member", dumped('{"specversion": "1.0", "data": {}, "dryRun": true}')
    yield "cloudevent.specversion", dumped('{"specversion": "0.3"}')
