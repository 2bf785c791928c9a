"""Requests that break one rule each, where the schema cannot say so."""

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
    "document.shape": {},
    "description.reserved": put(MINIMAL, ("experiment", "Description"), f"[hpoq-key: {'0' * 36}]"),
    "enum": put(MINIMAL, ("experiment", "Accessibility"), "public"),
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
    "tag.limit": put(MINIMAL, ("experiment", "Tag"), [{"Key": "k"}] * 21),
    "tag.reserved": put(MINIMAL, ("experiment", "Tag"), [{"Key": "hpoq-key"}]),
    "type": put(MINIMAL, ("experiment", "Name"), 1),
    "unknown-member": {**MINIMAL, "priority": 1},
}
SPACES = {
    "search-space.arity": {"x": {"_type": "uniform", "_value": [1]}},
    "search-space.bounds": {"x": {"_type": "uniform", "_value": [2, 1]}},
    "search-space.choice": {"x": {"_type": "choice", "_value": [None]}},
    "search-space.number": {"x": {"_type": "uniform", "_value": ["1", 2]}},
    "search-space.spec": {"x": 1},
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


ENCODED = {
    **{rule: json.dumps(document).encode() for rule, document in BROKEN.items()},
    **{rule: json.dumps(in_text(entries)).encode() for rule, entries in SPACES.items()},
    **TEXTS,
    "json.encoding": b'{"Name": "\xff"}',
    "json.syntax": b"{",
}


def _judged():
    """Documents that are refused for what they say, by the rule that they break."""
    for kind, names in ARITY.items():
        if "low" in names:
            yield "search-space.bounds", {"x": {"_type": kind, "_value": [2, 1, 1][: len(names)]}}
    for value in ([1.0, 2], [1, 2.0]):
        yield "search-space.number", {"x": {"_type": "randint", "_value": value}}


def _mistyped():
    run, assessor = ("yml_config",), ("yml_config", "assessor", "class_args")
    yield from (config((*run, name), 1.0) for name in ("trial_concurrency", "max_trial_number"))
    yield config((*assessor, "start_step"), 1.0)
    yield config((*assessor, "proportion"), 10**350)


def cases():
    """Bodies of messages, each with the one rule that it breaks; the schema takes every document in them."""
    yield from CARRIED.items()
    yield from ((rule, dumped(config(("search_space",), entries))) for rule, entries in _judged())
    yield from (("type", dumped(document)) for document in _mistyped())
    yield from ((rule, dumped(in_text(entries))) for rule, entries in SPACES.items())
    yield "cloudevent.data", dumped({"specversion": "1.0", "data_base64": "A"})
    for rule, text in ENCODED.items():
        yield rule, dumped({"specversion": "1.0", "data_base64": base64.b64encode(text).decode()})
