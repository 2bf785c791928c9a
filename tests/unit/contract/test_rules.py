"""Each rule has a request that breaks it, the place of the finding, and a request that nearly breaks it."""

import ast
import base64
import copy
import json
import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpoq.contract.model import ExperimentRequest, list_members
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected
from support.request import make_document

ROOT = Path(__file__).parents[3]
CONFIG = "/experiment/HpoExperimentConfiguration"
DELETE = object()
ROLE = "acs:ram::1:role/r"
REST_OF_METRIC = {"final_mode": "best", "metric_dict": {"a=([0-9]+)": 1}}
DLC = {"region": "cn-shanghai", "access_id": "EXAMPLE-ID", "access_key": "EXAMPLE-KEY"}


def changed(*changes):
    """Return the base request with the value at each pointer set, or deleted."""
    document = make_document()
    for pointer, value in changes:
        value = value if value is DELETE else copy.deepcopy(value)  # later changes may change it
        *parents, last = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
        place = document
        for token in parents:
            place = place[int(token)] if isinstance(place, list) else place.setdefault(token, {})
        if value is DELETE:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return document


def check(document):
    """Return the (rule, pointer) pairs that reject the document, and those that warn."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        parsed = parse_request(body)
    except RequestRejected as exc:
        return pairs(exc.violations), pairs(exc.warnings)
    return [], pairs(parsed.warnings)


def pairs(findings):
    return [(finding.rule, finding.pointer) for finding in findings]


def c(path):
    return f"{CONFIG}/{path}"


def at(rule, pointer, wrong, *right):
    """Return the case of a `wrong` value at the place of its finding, and of `right` ones that are nearly wrong."""
    return rule, pointer, [(pointer, wrong)], [(pointer, one) for one in right]


def drawn(rule, place, kind, wrong, right=None, other_kind=None):
    """Return the case of a parameter with the `_value` `wrong`, and with `right` for the same or another `_type`."""
    near = [] if right is None else [(c(SPACE), {"_type": other_kind or kind, "_value": right})]
    return rule, c(SPACE) + place, [(c(SPACE), {"_type": kind, "_value": wrong})], near


SPACE = "search_space/${centres}"
SPEC = {"_type": "choice", "_value": [1, 2]}
STDOUT = [
    (c("metric_config/metric_type"), "stdout"),
    (c("metric_config/metric_source"), ["cmd1"]),
    (c("metric_config/metric_dict"), {"a=([0-9]+)": 1}),
]
REJECTING = [
    # rule, pointer, changes that break it, changes that nearly do
    at("schema-version", "/schemaVersion", "2", "1"),
    at("schema-version", "/schemaVersion", 2, 1),
    at("schema-version", "/schemaVersion", True, None),
    at("idempotency-key", "/idempotencyKey", "", "é"),
    at("idempotency-key", "/idempotencyKey", "x" * 256, "x" * 255),
    at("idempotency-key", "/idempotencyKey", "a\nb", "a b"),
    at("idempotency-key", "/idempotencyKey", "a\x85b"),
    at("idempotency-key", "/idempotencyKey", "😀" * 256, "😀" * 255),
    at("idempotency-key", "/idempotencyKey", "a\u2028b"),
    at("idempotency-key", "/idempotencyKey", 7, "7"),
    at("guard.empty", "/guard", {"maxHours": None}, {"maxHours": 0.5}),
    ("guard.limit", "/guard/maxHours", [("/guard", {"maxHours": 0})], [("/guard", {"maxHours": 1e-9})]),
    (
        "guard.limit",
        "/guard/maxFailedTrials",
        [("/guard", {"maxFailedTrials": 0})],
        [("/guard", {"maxFailedTrials": 1.0})],
    ),
    (
        "guard.target",
        "/guard/targetMetric",
        [("/guard", {"targetMetric": 1}), (c("yml_config/tuner/class_args/optimize_mode"), DELETE)],
        [("/guard", {"targetMetric": -1})],
    ),
    ("required", "/stop", [("/stop", None), ("/experiment", DELETE)], []),
    (
        "stop.target",
        "/stop",
        [("/stop", {}), ("/experiment", DELETE)],
        [("/stop", {"experimentId": "a.b"}), ("/experiment", DELETE)],
    ),
    (
        "stop.target",
        "/stop",
        [("/stop", {"idempotencyKey": "k", "experimentId": "s"}), ("/experiment", DELETE)],
        [("/stop", {"idempotencyKey": "k", "experimentId": None}), ("/experiment", DELETE)],
    ),
    ("stop.target", "/stop/experimentId", [("/stop", {"experimentId": ".."}), ("/experiment", DELETE)], []),
    (
        "idempotency-key",
        "/stop/idempotencyKey",
        [("/stop", {"idempotencyKey": ""}), ("/experiment", DELETE)],
        [],
    ),
    ("unknown-member", "/experiment", [("/stop", {"idempotencyKey": "k"})], []),
    (
        "unknown-member",
        "/guard",
        [("/stop", {"idempotencyKey": "k"}), ("/experiment", DELETE), ("/guard", {"maxHours": 1})],
        [],
    ),
    at("required", c("platform_config"), DELETE),
    at("required", c("platform_config/name"), None),
    at("required", c("platform_config/cmd"), DELETE, []),
    at("required", c("metric_config/metric_type"), DELETE),
    at("required", c("metric_config/metric_source"), DELETE),
    at("required", c("metric_config/final_mode"), DELETE),
    at("required", c("metric_config/metric_dict"), DELETE),
    ("unknown-member", "/experiment/Nmae", [("/experiment/Nmae", "x")], [("/experiment/Name", "x")]),
    ("unknown-member", "/extra", [("/extra", 1)], [("/traceparent", None)]),
    at("unknown-member", c("oss_config/access_key"), "x"),
    ("unknown-member", c("oss_config"), [(c("oss_config/LTAI5tEXAMPLE"), "accessKeyID")], []),
    ("type", "/experiment/Tag/1", [("/experiment/Tag", [{}, None])], [("/experiment/Tag", [{}, {}])]),
    at("type", c("yml_config/assessor/class_args/proportion"), "0.5", 1),
    at("type", c("yml_config/assessor/class_args/start_step"), 2.5, 2.0),
    at("enum", c("metric_config/metric_type"), "Table"),
    at("enum", c("metric_config/metric_type"), ""),
    at("enum", c("metric_config/metric_type"), 1),
    at("range", c("yml_config/max_trial_number"), 10**399, 1),
    at("type", "/experiment/WorkspaceId", 12345, "1"),
    at("type", c("yml_config/max_trial_number"), "5"),
    at("type", c("yml_config/max_trial_number"), True),
    at("type", c("yml_config/debug"), "true", True),
    at("type", c("platform_config/cmd/0"), None),
    at("type", CONFIG, [], None),
    at("enum", "/experiment/Accessibility", "ALL", "PUBLIC"),
    at("enum", c("metric_config/final_mode"), "last", "avg"),
    at("enum", c("metric_config/metric_type"), "sql", "table"),
    at("range", c("yml_config/trial_concurrency"), 2**31, 2**31 - 1),
    at(
        "tag.limit",
        "/experiment/Tag",
        [{"Key": str(n)} for n in range(21)],
        [{"Key": str(n)} for n in range(20)],
    ),
    (
        "tag.reserved",
        "/experiment/Tag/0/Key",
        [("/experiment/Tag", [{"Key": "HPOQ-Key", "Value": "x"}])],
        [("/experiment/Tag", [{"Key": "hpoq-keys", "Value": "x"}])],
    ),
    at(
        "description.reserved",
        "/experiment/Description",
        "mine [hpoq-key: 9619c93e-fafb-5042-80f4-bfc8c78519f2]",
        "mine [hpoq-key: soon]",
    ),
    at("metric-source.form", c("metric_config/metric_source/0"), "cmd1", "metrics_table"),
    drawn("search-space.bounds", "/_value", "uniform", [10**300, 1], [1, 10**300]),
    at("metric-weight", c("metric_config/metric_dict/score"), "high", -0.5),
    (
        "params.pair",
        c("params_config/params_src_dst_filepath/0"),
        [(c("params_config/params_src_dst_filepath"), ["a"])],
        [(c("params_config/params_src_dst_filepath"), ["a,b"])],
    ),
    at("search-space.text", c("search_space"), "[]", "{}"),
    at("search-space.spec", c(SPACE), [1, 2], SPEC),
    at("search-space.type", c(f"{SPACE}/_type"), "Choice"),
    at("search-space.arity", c(f"{SPACE}/_value"), 5),
    drawn("search-space.number", "/_value/0", "randint", [0.5, 3], [0, 3]),
    drawn("search-space.bounds", "/_value", "randint", [5.0, 5], [4.0, 5]),
    at("search-space.empty", c(f"{SPACE}/_value"), [], [""]),
    drawn("search-space.step", "/_value/2", "qnormal", [0, 1, 0.0], [0, 1, -1]),
]
WARNING = [
    at("null", "/experiment/Description", None, ""),
    (
        "null",
        "/experiment/Tag/1/Value",
        [("/experiment/Tag", [{"Key": "a"}, {"Key": "b", "Value": None}])],
        [("/experiment/Tag", [{"Key": "a"}, {"Key": "b"}])],
    ),
    (
        "null",
        c("yml_config/assessor/class_args"),
        [(c("yml_config/assessor/class_args"), None)],
        [(c("yml_config/tuner/class_args/tpe_args"), {"constant_liar_type": None})],
    ),
    (
        "idempotency-key.not-nfc",
        "/idempotencyKey",
        [("/idempotencyKey", "e\u0301"), ("/idempotencyKey", "k\u212b")],
        [("/idempotencyKey", "\u00e9"), ("/idempotencyKey", "\u6d4b\u8bd5"), ("/idempotencyKey", None)],
    ),
    (
        "idempotency-key.blank",
        "/idempotencyKey",
        [("/idempotencyKey", " k"), ("/idempotencyKey", "k "), ("/idempotencyKey", "k\u00a0")],
        [("/idempotencyKey", "a b"), ("/idempotencyKey", "k")],
    ),
    at("traceparent", "/traceparent", "00-x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    at("configuration.absent", CONFIG, DELETE),
    (
        "tag.text",
        "/experiment/Tag/0/Value",
        [("/experiment/Tag", [{"Key": "k", "Value": "v" * 129}])],
        [("/experiment/Tag", [{"Key": "k", "Value": "v" * 128}])],
    ),
    (
        "tag.repeated",
        "/experiment/Tag/1/Key",
        [("/experiment/Tag", [{"Key": "k", "Value": "v"}, {"Key": "k", "Value": "w"}])],
        [("/experiment/Tag", [{"Key": "k", "Value": "v"}, {"Key": "K", "Value": "w"}])],
    ),
    at("platform.unknown", c("platform_config/name"), "Spark", "maxcompute"),
    (
        "platform.config",
        c("platform_config/name"),
        [(c("platform_config/name"), "DLC")],
        [(c("platform_config/name"), "DLC"), (c("dlc_config"), DLC)],
    ),
    at("platform.command", c("platform_config/cmd"), []),
    at("metric.empty", c("metric_config/metric_dict"), {}),
    at("null", "/schemaVersion", None, "1"),
    at("platform.resume", c("platform_config/resume"), "yes", "0"),
    at("credentials.pair", c("dlc_config"), {"access_id": "x"}, DLC),
    (
        "storage.oss",
        CONFIG,
        [(c("params_config/params_src_dst_filepath"), ["oss://b/a,oss://b/c"])],
        [(c("params_config/params_src_dst_filepath"), ["a,c"])],
    ),
    (
        "metric-type.api",
        c("metric_config/metric_type"),
        [(c("metric_config/metric_type"), "api"), (c("metric_config/metric_source"), ["cmd1"])],
        [],
    ),
    ("metric-type.odps", c("metric_config/metric_type"), [(c("odps_config"), DELETE)], []),
    at("metric-source.empty", c("metric_config/metric_source"), []),
    (
        "metric-source.command",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd3"])],
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd2"])],
    ),
    (
        "metric-source.command",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd1,master"])],
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd1, Worker"])],
    ),
    at("metric-weight.text", c("metric_config/metric_dict/score"), "0.5"),
    (
        "metric.pattern",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd1"])],
        [],
    ),
    at("placeholder.undefined", c("platform_config/cmd/1"), "run ${typo}", "run ${trial_id} $HOME"),
    ("search-space.absent", CONFIG, [(c("search_space"), DELETE), (c("platform_config/cmd"), ["x"])], []),
    at("search-space.text", c("search_space"), json.dumps({"${centres}": SPEC})),
    at("search-space.mixed", c(f"{SPACE}/_value"), [1, "a"], [1, 1.5]),
    (
        "search-space.choice",
        c(f"{SPACE}/_value/1"),
        [(c(f"{SPACE}/_value"), [1, None])],
        [(c(f"{SPACE}/_value"), [1, 2.5])],
    ),
    drawn("search-space.bounds", "/_value", "uniform", [5, 5], [5, 6]),
    drawn("search-space.number", "/_value/1", "randint", [1, 5.0], [1, 5]),
    at(
        "object.text",
        c("yml_config/tuner/class_args"),
        '{"optimize_mode": "maximize"}',
        {"optimize_mode": "maximize"},
    ),
    at("object.text", CONFIG, json.dumps(make_document()["experiment"]["HpoExperimentConfiguration"])),
    at("metric.text", c("metric_config/metric_dict"), '{"score": 1}', {"score": 1}),
    ("search-space.boolean", c(f"{SPACE}/_value/0"), [(c(f"{SPACE}/_value"), [True, 2])], []),
    drawn("search-space.step", "/_value/2", "quniform", [0, 1, -1]),
    at("search-space.name", c("search_space/centres"), SPEC),
    (
        "search-space.unused",
        c("search_space/${other}"),
        [(c("search_space/${other}"), SPEC)],
        [(c("search_space/${other}"), SPEC), (c("platform_config/cmd/1"), "${other}")],
    ),
    at("search-space.member", c(f"{SPACE}/note"), "x"),
    at("text.placeholder", "/idempotencyKey", "tune-${DATE}", "$5"),
    at("text.blank", "/experiment/WorkspaceId", "12345 ", "12345"),
    (
        "guard.unreachable",
        "/guard/maxFailedTrials",
        [("/guard", {"maxFailedTrials": 11}), (c("yml_config/max_trial_number"), 10)],
        [("/guard", {"maxFailedTrials": 10}), (c("yml_config/max_trial_number"), 10)],
    ),
    at("tuner.argument", c("yml_config/tuner/class_args/seed"), "7", 7),
    at("assessor.argument", c("yml_config/assessor/class_args/proportion"), 50, 0.5),
    (
        "schedule",
        c("schedule_config/end_time"),
        [(c("schedule_config/start_time"), "20:00"), (c("schedule_config/end_time"), "07:00")],
        [(c("schedule_config/start_time"), "07:00"), (c("schedule_config/end_time"), "20:00")],
    ),
    at("tuner.unknown", c("yml_config/tuner/name"), "SMAC", "gp"),
    (
        "tuner.mode",
        c("yml_config/tuner"),
        [(c("yml_config/tuner/class_args"), {})],
        [(c("yml_config/tuner"), {"name": "Random"})],
    ),
    (
        "search-space.tuner",
        c(f"{SPACE}/_type"),
        [(c("yml_config/tuner/name"), "GP"), (c(SPACE), {"_type": "normal", "_value": [0, 1]})],
        [(c("yml_config/tuner/name"), "TPE"), (c(SPACE), {"_type": "normal", "_value": [0, 1]})],
    ),
    at("assessor.unknown", c("yml_config/assessor/name"), "Medianstop", "PAIAssessor"),
    at("optimize-mode", c("yml_config/tuner/class_args/optimize_mode"), "max"),
    at("moving-avg.type", c("yml_config/assessor/class_args/moving_avg"), True, "true"),
    at("run.number", c("yml_config/max_trial_number"), 0, 1),
    at("run.log-level", c("yml_config/log_level"), "loud", "DEBUG"),
    at("monitor", c("monitor_config"), {"keyword": "a"}, {"keyword": "a", "url": "https://a"}),
    at("engine-member", c("yml_config/assessor/class_args/patience"), 10),
    ("k8s", c("k8s_config"), [(c("k8s_config/nni_container_cpu_limit"), "1")], [(c("k8s_config"), {})]),
    at("name.empty", "/experiment/Name", " ", DELETE),
    (
        "platform.mismatch",
        c("platform_config/cmd/0"),
        [(c("platform_config/name"), "DLC"), (c("dlc_config"), DLC)],
        [(c("platform_config/cmd/0"), "dlc-report ${centres}")],
    ),
    (
        "metric.direction",
        c("metric_config/metric_dict/val_loss"),
        [(c("metric_config/metric_dict"), {"val_loss": 1})],
        [(c("metric_config/metric_dict"), {"val_loss": -1, "glossary": 1})],
    ),
    at(
        "placeholder.form",
        c("platform_config/cmd/0"),
        "pai -name kmeans -Dk={centres}",
        "pai -name kmeans -Dk=${centres} $centres {other} $1",
    ),
    (
        "search-space.repeated",
        c(f"{SPACE}/_value/2"),
        [(c(f"{SPACE}/_value"), [1, 2, 1])],
        [(c(f"{SPACE}/_value"), [1, 1.5, "1", [1], [1]])],
    ),
    ("run.unlimited", CONFIG, [(c("yml_config"), DELETE)], []),
    at("run.concurrency", c("yml_config/trial_concurrency"), 11, 10),
]
BODIES = [
    ("body.too-large", "", b" " * (1024 * 1024) + b"{}"),
    ("body.compressed", "", b"\x1f\x8b\x08\x00rest"),
    ("body.compressed", "", b"H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTVWqBQAUCSNtEwAAAA=="),
    ("body.base64-twice", "", b"ZXlKaElqb3hmUT09"),
    ("json.encoding", "", base64.b64encode('{"experiment":{}}'.encode("utf-16"))),
    ("json.encoding", "", base64.b64encode(b"\0\0\xfe\xff" + '{"experiment":{}}'.encode("utf-32-be"))),
    ("json.encoding", "", b'{"experiment": "\xff"}'),
    ("json.syntax", "", b"hello"),
    ("json.syntax", "", b""),
    ("json.syntax", "", b"{'experiment': {}}"),
    ("json.duplicate-key", "/experiment", b'{"experiment": {}, "experiment": {}}'),
    ("json.duplicate-key", "/data/a", b'{"specversion": "1.0", "data": {"a": 1, "a": 2}}'),
    ("json.duplicate-key", "/data_base64", b'{"specversion": "1.0", "data_base64": "eyJhIjoxLCJhIjoyfQ=="}'),
    ("json.non-finite", "/experiment", b'{"experiment": NaN}'),
    ("json.non-finite", "/experiment", b'{"experiment": -Infinity}'),
    ("json.non-finite", "/experiment", b'{"experiment": 1e999}'),
    ("json.number", "/experiment", b'{"experiment": ' + b"9" * 5000 + b"}"),
    ("json.depth", "", b"[" * 10_000),
    ("json.depth", "", b'{"experiment":' * 10_000),
    ("json.non-finite", "/experiment", b'{"experiment": {"LTAI5t": 1, "LTAI 5t": NaN}}'),
    ("json.surrogate", "/experiment/Name", b'{"experiment": {"Name": "\\ud800"}}'),
    ("document.shape", "", b"[]"),
    ("json.syntax", "/experiment", b'{"experiment": "{"}'),
    ("json.duplicate-key", "/experiment", b'{"experiment": "{\\"Name\\": 1, \\"Name\\": 2}"}'),
    ("type", "/experiment", b'{"experiment": "[]"}'),
    ("type", "/experiment", b'{"experiment": "text"}'),
    ("document.shape", "", b'{"hello": "world"}'),
    ("cloudevent.specversion", "/specversion", b'{"specversion": "0.3", "data": {}}'),
    *(
        ("cloudevent.member", f"/{name}", json.dumps({"specversion": "1.0", name: value, **data}).encode())
        for name, value in [
            ("schemaVersion", "1"),
            ("idempotencyKey", "k"),
            ("dryRun", False),
            ("guard", {}),
            ("stop", []),
            ("experiment", {}),
        ]
        for data in ({"data": {}}, {"data_base64": "e30="}, {})
    ),
    ("cloudevent.member", "", json.dumps('{"specversion": "1.0", "data": {}, "dryRun": true}').encode()),
    ("cloudevent.data", "", b'{"specversion": "1.0"}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data_base64": "?"}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data_base64": 5}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data": {}, "data_base64": "e30="}'),
    ("cloudevent.data", "", b'{"specversion": "1.0", "data": null}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data_base64": ""}'),
    ("cloudevent.specversion", "/specversion", b'{"specversion": 1.0, "data": {}}'),
    *(
        (rule, f"/{name}", json.dumps({"specversion": "1.0", name: encoded}).encode())
        for rule, encoded in [
            ("body.compressed", "H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTVWqBQAUCSNtEwAAAA=="),
            ("body.base64-twice", "ZXlKaElqb3hmUT09"),
            ("json.encoding", base64.b64encode('{"a": 1}'.encode("utf-16")).decode()),
        ]
        for name in ("data", "data_base64")
    ),
    ("document.shape", "", b'"text"'),
    ("document.shape", "", json.dumps('"{}"').encode()),
    ("document.shape", "", json.dumps('{"hello": "world"}').encode()),
    ("json.duplicate-key", "", json.dumps('{"Name": 1, "Name": 2}').encode()),
    ("cloudevent.specversion", "", json.dumps('{"specversion": "0.3", "data": {}}').encode()),
    ("document.shape", "/data", b'{"specversion": "1.0", "data": "text"}'),
    ("document.shape", "/data", b'{"specversion": "1.0", "data": {"specversion": "1.0", "data": {}}}'),
    ("document.shape", "/data_base64", b'{"specversion": "1.0", "data_base64": "eyJhIjoxfQ=="}'),
    ("json.syntax", "/data_base64", b'{"specversion": "1.0", "data_base64": "eA=="}'),
]


def test_the_base_is_clean():
    """The request that the cases start from breaks nothing."""
    assert check(make_document()) == ([], [])


@pytest.mark.parametrize(("rule", "pointer", "broken", "near"), REJECTING)
def test_rejecting_rules(rule, pointer, broken, near):
    """The broken request is rejected by the rule at that place; the near miss is not."""
    assert (rule, pointer) in check(changed(*broken))[0]
    assert rule not in [found for found, _ in check(changed(*near))[0]]


@pytest.mark.parametrize(("rule", "pointer", "broken", "near"), WARNING)
def test_warning_rules(rule, pointer, broken, near):
    """The doubtful request is accepted with a warning at that place; the near miss has no such warning."""
    rejected, warned = check(changed(*broken))
    assert (rejected, (rule, pointer) in warned) == ([], True), warned
    assert rule not in [found for found, _ in check(changed(*near))[1]]


def test_bodies_that_hold_no_request():
    """Each reason why a body holds no request has a rule."""
    for rule, pointer, body in BODIES:
        assert check(body)[0] == [(rule, pointer)], body


def test_repeated_members_are_reported_together():
    """A name that may be a credential is not shown; several such names of one object are one violation."""
    text = '{"guard": {"maxHours": 1, "maxHours": 2}, "experiment": {"Name": "a", "Name": "b"}}'
    for body, pointers in [
        (text, ["/guard/maxHours", "/experiment/Name"]),
        (json.dumps(text), ["", ""]),
        (json.dumps({"experiment": '{"Name": 1, "Name": 2, "Tag": [], "Tag": []}'}), ["/experiment"] * 2),
        (hidden := '{"LTAI5t1": 1, "LTAI5t1": 2, "LTAI5t2": 1, "LTAI5t2": 2}', [""]),
        (json.dumps({"experiment": hidden}), ["/experiment"]),
    ]:
        with pytest.raises(RequestRejected) as caught:
            parse_request(body.encode())
        assert pairs(caught.value.violations) == [("json.duplicate-key", pointer) for pointer in pointers]


def test_a_number_that_is_refused_hides_no_other_violation():
    """Nothing is said of what it is in: a guard without another limit is not empty, nor a run unlimited."""
    body = json.dumps(
        changed(
            ("/experiment/Nmae", "x"),
            ("/guard", {"maxHours": -1}),
            (c("yml_config/max_trial_number"), -1),
            (c(SPACE), {"_type": "uniform", "_value": [-1, -1]}),
            (c("metric_config/metric_dict"), {"a": -1, "b": "x"}),
        )
    )
    places = [
        "metric_config/metric_dict/a",
        "yml_config/max_trial_number",
        f"{SPACE}/_value/0",
        f"{SPACE}/_value/1",
    ]
    found = [("json.non-finite", c(place)) for place in places] + [("json.non-finite", "/guard/maxHours")]
    found += [("metric-weight", c("metric_config/metric_dict/b")), ("unknown-member", "/experiment/Nmae")]
    assert check(body.replace("-1", "NaN").encode()) == (found, [])
    place = c("yml_config/max_trial_number")
    body = json.dumps(changed((place, -1))).replace("-1", "NaN")
    assert check(body.encode()) == ([("json.non-finite", place)], []), "no warning that it is null"


def test_repeated_members_hide_no_other_violation():
    """Which of two values counts is not known, so nothing is said of either."""
    body = json.dumps(changed(("/experiment/Nmae", "x"), ("/guard", {"maxHours": None}), ("/dryRun", True)))
    body = body.replace('"dryRun": true', '"dryRun": 1, "dryRun": 2').replace(
        '"guard": ', '"guard": 1, "guard": '
    )
    found = [("json.duplicate-key", "/guard"), ("json.duplicate-key", "/dryRun")]
    assert check(body.encode()) == ([*found, ("unknown-member", "/experiment/Nmae")], [])
    assert check(base64.b64encode(body.encode()))[0] == [*found, ("unknown-member", "/experiment/Nmae")]
    event = f'{{"specversion": "1.0", "source": "a", "id": "1", "data": {body}}}'
    found = [(rule, f"/data{pointer}") for rule, pointer in found]
    assert check(event.encode())[0] == [*found, ("unknown-member", "/data/experiment/Nmae")]


def test_an_object_in_brackets_hides_no_other_violation():
    """As converters of HCL and XML write every object. The pointers are those of the document with its brackets."""
    document = changed(
        ("/experiment/Nmae", "x"), (c("platform_config/name"), 5), (c("yml_config/tuner/x"), 1)
    )
    config = document["experiment"].pop("HpoExperimentConfiguration")
    config["yml_config"]["tuner"] = [config["yml_config"]["tuner"]]
    config["platform_config"] = [config["platform_config"]]
    document["experiment"] = [{**document["experiment"], "HpoExperimentConfiguration": [config]}]
    document["guard"] = [{"maxHours": 0}]
    rejected, warned = check(document)
    at_config = "/experiment/0/HpoExperimentConfiguration"
    assert rejected == [
        ("type", "/experiment"),
        ("unknown-member", "/experiment/0/Nmae"),
        ("type", at_config),
        ("type", f"{at_config}/0/platform_config"),
        ("type", f"{at_config}/0/platform_config/0/name"),
        ("type", f"{at_config}/0/yml_config/tuner"),
        ("unknown-member", f"{at_config}/0/yml_config/tuner/0/x"),
        ("type", "/guard"),
        ("guard.limit", "/guard/0/maxHours"),
    ]
    assert warned == []
    assert check({"stop": [{"experimentId": 5}]})[0] == [("type", "/stop"), ("type", "/stop/0/experimentId")]
    text = json.dumps({"max_trial_number": 1, "tuner": [{"name": 5}]})
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c("yml_config"), text))).encode())
    assert [one.message.partition(": ")[0] for one in caught.value.violations] == [
        "in the JSON text at /tuner",
        "in the JSON text at /tuner/0/name",
    ]


def test_members_of_a_request_beside_data_are_reported_together():
    """Each belongs in data, and hides nothing that is wrong there. A null, or a possible attribute, is ignored."""
    event = {"specversion": "1.0", "data": {"experiment": {}}}
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({**event, "guard": {"maxHours": 1}, "dryRun": True, "stop": None}).encode())
    found = caught.value.violations
    assert pairs(found) == [("cloudevent.member", "/guard"), ("cloudevent.member", "/dryRun")]
    assert all("belongs in data" in one.message for one in found)
    misplaced = [("cloudevent.member", "/idempotencyKey")]
    encoded = base64.b64encode(b'{"experiment": 5}').decode()
    for data, others in [
        ({"data": {"experiment": 5}}, [("type", "/data/experiment")]),
        ({"data": {"experiment": "{"}}, [("json.syntax", "/data/experiment")]),
        ({"data": {"x": 5}}, [("document.shape", "/data")]),
        ({"data": '{"experiment": 5}'}, [("type", "/data")]),
        ({"data": None, "data_base64": encoded}, [("type", "/data_base64")]),
        ({"data": 5}, [("document.shape", "/data")]),
        ({"data": None}, []),
    ]:
        assert check({**event, "idempotencyKey": "k", **data})[0] == misplaced + others
    text = json.dumps(json.dumps({**event, "idempotencyKey": "k", "data": {"experiment": 5}})).encode()
    assert check(text)[0] == [("cloudevent.member", ""), ("type", "")]
    for value in (None, "a", 1, True):
        assert check({**event, "guard": value, "stop": value, "experiment": value, "dryRun": None})[0] == []


@pytest.mark.parametrize(("name", "member"), [("dryrun", "dryRun"), ("idempotencykey", "idempotencyKey")])
def test_an_attribute_that_is_named_like_a_member_is_a_warning(name, member):
    """The SDKs of CloudEvents write every name in lower case; with `dryrun`, the experiment would be created."""
    event = {"specversion": "1.0", "source": "s", "id": "1", name: "a"}
    encoded = base64.b64encode(json.dumps(make_document()).encode()).decode()
    for data in ({"data": make_document()}, {"data": json.dumps(make_document())}, {"data_base64": encoded}):
        (found,) = parse_request(json.dumps({**event, **data}).encode()).warnings
        assert (found.rule, found.pointer) == ("cloudevent.member", f"/{name}")
        assert found.message.endswith(f"which has no effect; write {member} in data")
        (found,) = parse_request(json.dumps(json.dumps({**event, **data})).encode()).warnings
        assert (found.rule, found.pointer) == ("cloudevent.member", "")
        assert found.message.startswith(f"in the decoded data at /{name}: ")
    assert check({**event, name: None, "data": make_document()}) == ([], [])
    assert check({**event, "data": changed(("/experiment/Name", 5))})[1] == [
        ("cloudevent.member", f"/{name}")
    ]


@pytest.mark.parametrize(
    ("attributes", "is_found"),
    [
        ({"source": "s", "id": "1"}, False),
        ({"source": "s"}, True),
        ({"id": "1"}, True),
        ({"source": "s", "id": 1}, True),
        ({"source": "", "id": "1"}, True),
        ({"source": "s", "id": "1", "experiment": "a"}, False),
    ],
)
def test_a_cloudevent_identifies_its_request(attributes, is_found):
    """Without a source and an id it does not, which is a warning unless a key does or the request is a stop."""
    base, encoded = make_document(), base64.b64encode(json.dumps(make_document()).encode()).decode()
    event = {"specversion": "1.0", **attributes}
    expected = [("cloudevent.identity", "")] * is_found
    for given in ({"data": base}, {"data": json.dumps(base)}, {"data_base64": encoded}):
        assert check({**event, **given}) == ([], expected)
        assert check(json.dumps(json.dumps({**event, **given})).encode()) == ([], expected)
    assert check({**event, "data": {**base, "idempotencyKey": None}})[1][:1] == (
        expected or [("null", "/data/idempotencyKey")]
    )
    assert check({**event, "data": changed(("/experiment/Name", 5))})[1] == expected
    assert check({**event, "data": {**base, "idempotencyKey": "k"}}) == ([], [])
    assert check({**event, "data": {"stop": {"experimentId": "s"}}}) == ([], [])


HEADERS = {"specversion": "1.0", "source": "s", "id": "1", "type": "t"}


@pytest.mark.parametrize(
    ("attributes", "document", "rules"),
    [
        (HEADERS, make_document(), []),
        ({**HEADERS, "dryrun": "true", "idempotencykey": "k"}, make_document(), ["cloudevent.member"] * 2),
        ({"source": "s", "type": "t"}, make_document(), ["cloudevent.identity"]),
        ({"source": "s", "id": "1"}, make_document(), ["cloudevent.identity"]),
        ({**HEADERS, "id": ""}, make_document(), ["cloudevent.identity"]),
        ({"source": "s"}, {**make_document(), "idempotencyKey": "k"}, []),
        ({"source": "s"}, {"stop": {"experimentId": "s"}}, []),
        ({"comment": "of a proxy"}, make_document(), []),
        ({"source": "s", "dryrun": "true"}, {**HEADERS, "data": make_document()}, []),
    ],
)
def test_the_headers_of_a_cloudevent_are_checked_as_its_attributes(attributes, document, rules):
    """HTTP's binary mode has the attributes in headers; a CloudEvent in the body counts instead of them."""
    body = json.dumps(document).encode()
    assert [one.rule for one in parse_request(body, attributes).warnings] == rules
    assert [one.rule for one in parse_request(base64.b64encode(body), attributes).warnings] == rules


def test_a_rejected_request_has_the_warnings_about_its_headers():
    """What is wrong in both places is corrected at once."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(b'{"experiment": {"Name": 5}}', {**HEADERS, "dryrun": "true"})
    (found, *_) = caught.value.warnings
    assert (found.rule, found.pointer) == ("cloudevent.member", "")
    assert found.message == "the header ce-dryrun has no effect; write dryRun in the body"


def test_the_trace_of_a_cloudevent_in_headers_is_continued():
    """The trace of a CloudEvent is that of its request also in HTTP's binary mode, and part of its document."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    parsed = parse_request(json.dumps(make_document()).encode(), {**HEADERS, "traceparent": trace})
    assert parsed.request.traceparent == trace
    assert parsed.document == parsed.request.wire()


def test_pointers_follow_the_form_that_was_written():
    """A pointer starts where the producer's document starts, in each of the three forms."""
    bad = changed((c("platform_config/cmd"), DELETE))
    inner = "HpoExperimentConfiguration/platform_config/cmd"
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    for document, pointer in [
        (bad, f"/experiment/{inner}"),
        (bad["experiment"], f"/{inner}"),
        ({**event, "data": bad}, f"/data/experiment/{inner}"),
        ({**event, "data": bad["experiment"]}, f"/data/{inner}"),
    ]:
        assert check(document)[0] == [("required", pointer)]


def test_pointers_are_escaped():
    """Names with ~ and / are escaped as RFC 6901 says."""
    rejected, _ = check(changed((c("search_space/${a~1b~0c}"), {"_type": "?", "_value": []})))
    assert rejected == [("search-space.type", c("search_space/${a~1b~0c}/_type"))]


def test_all_findings_at_once_in_the_documents_order():
    """Structure and cross-field rules are reported together, in the order of the document."""
    rejected, _ = check(
        changed(
            ("/experiment/Nmae", 1),
            (c("search_space/${centres}/_type"), "?"),
            (c("metric_config/final_mode"), "x"),
            (c("platform_config/cmd"), DELETE),
        )
    )
    assert [rule for rule, _ in rejected] == ["required", "enum", "search-space.type", "unknown-member"]


def test_findings_in_a_text_are_in_its_order():
    """A text that contains the request, or an object of it, is ordered as the object itself would be."""
    document = changed(
        (c("metric_config/final_mode"), "x"), (c("metric_config/nmae"), 1), ("/guard", {"maxHours": "x"})
    )
    document["dryRun"] = "x"
    expected = ["enum", "unknown-member", "type", "type"]
    config = document["experiment"]["HpoExperimentConfiguration"]
    texts = [json.dumps(document)]
    for holder, name in ((config, "metric_config"), (document, "experiment"), (document, "guard")):
        holder[name] = json.dumps(holder[name])
        texts.append(json.dumps(document))
    for text in texts:
        for body in (text, json.dumps(text)):
            assert [rule for rule, _ in check(body.encode())[0]] == expected


@pytest.mark.parametrize(
    ("name", "hint"), [("cmds", "cmd"), ("CMD", "cmd"), ("Name", "name"), ("quite-other", None)]
)
def test_a_misspelt_member_is_recognized(name, hint):
    """The violation of an unknown member suggests the known member with a similar name, or says that it is there."""
    for is_missing in (True, False):
        absent = [(c(f"platform_config/{hint}"), DELETE)] if hint and is_missing else []
        with pytest.raises(RequestRejected) as caught:
            parse_request(json.dumps(changed(*absent, (c(f"platform_config/{name}"), "x"))).encode())
        (message,) = (one.message for one in caught.value.violations if one.rule == "unknown-member")
        note = "" if is_missing else " It is there already"
        ending = f"did you mean {hint}?{note}" if hint else "allowed here are name, cmd, resume"
        assert message == f"unknown member; {ending}"


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        ("dlc_config", "accessKeyId", "access_id"),
        ("dlc_config", "access_key_id", "access_id"),
        ("dlc_config", "accessKeySecret", "access_key"),
        ("dlc_config", "access_key_secret", "access_key"),
        ("dlc_config", "accessKey", "access_key"),
        ("odps_config", "accessKeyID", "access_id"),
        ("odps_config", "AccessKeySecret", "access_key"),
        ("oss_config", "access_id", "accessKeyID"),
        ("oss_config", "access_key_secret", "accessKeySecret"),
        ("oss_config", "access_key", "accessKeyID or accessKeySecret"),
        ("ts_config", "accessKeyId", "access_key_id"),
        ("ts_config", "accessKey", "access_key_id or access_key_secret"),
        ("paiflow_config", "access_id", "access_key_id"),
        ("paiflow_config", "accessKeySecret", "access_key_secret"),
    ],
)
def test_a_suggestion_keeps_the_parts_of_an_access_key_apart(section, name, hint):
    """Whoever follows the suggestion does not put the id of a key where its secret belongs."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c(section), {name: "x"}))).encode())
    assert [one.message for one in caught.value.violations if one.rule == "unknown-member"] == [
        f"unknown member; did you mean {hint}?"
    ]


def test_only_some_of_many_unknown_members_get_a_suggestion():
    """To compare a name with the known ones takes long, and a hostile message may have thousands of names."""
    unknown = [(c(f"platform_config/cmd_{number}"), 1) for number in range(500)]
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed(*unknown)).encode())
    hints = ["did you mean cmd?" in one.message for one in caught.value.violations]
    assert len(hints) == 500
    assert 30 < sum(hints) <= 100


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        ("", "dlc_configs", "dlc_config? It is there already"),
        ("", "Dlc-Config", "dlc_config? It is there already"),
        ("ts_config", "access_key", "access_key_secret?"),
        ("schedule_config", "time", "end_time?"),
        (
            "schedule_config",
            "start_time\u200b",
            "start_time? The two differ in characters that look the same or cannot be seen. It is there already",
        ),
    ],
)
def test_a_member_that_is_there_is_meant_if_its_name_is_almost_the_same(section, name, hint):
    """Otherwise one that is missing is meant, because to write a member twice would be another mistake."""
    given = {
        "dlc_config": {},
        "ts_config": {"access_key_id": "a"},
        "schedule_config": {"start_time": "10:00"},
    }
    (given[section] if section else given)[name] = {}
    document = changed(*((c(member), value) for member, value in given.items()))
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(document).encode())
    (message,) = (one.message for one in caught.value.violations if one.rule == "unknown-member")
    assert message == f"unknown member; did you mean {hint}"


ALLOWED = "allowed here are experiment, schemaVersion, idempotencyKey, guard, $schema, traceparent, dryRun"


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        (c("trial_concurrency"), "unknown member here; it belongs in yml_config"),
        ("/Name", "unknown member here; it belongs in experiment"),
        (c("accessKeyID"), "unknown member here; it belongs in oss_config"),
        (c("yml_config/n_trials"), "unknown member; write max_trial_number in yml_config"),
        (c("yml_config/maxNumberOfTrainingJobs"), "unknown member; write max_trial_number in yml_config"),
        (c("parallelTrialCount"), "unknown member; write trial_concurrency in yml_config"),
        (c("yml_config/sampler"), "unknown member; write the name of tuner in yml_config"),
        (c("yml_config/pruner"), "unknown member; write the name of assessor in yml_config"),
        (c("yml_config/seed"), "unknown member; it belongs in class_args of yml_config.tuner"),
        ("/timeout", "unknown member; write maxHours, a number of hours, in guard, next to experiment"),
        ("/name", "unknown member here; write Name in experiment"),
        ("/workspace_id", "unknown member here; write WorkspaceId in experiment"),
        ("/tags", "unknown member here; write Tag in experiment"),
        ("/experiment/RegionId", "unknown member; remove it: a request has only the body of the call"),
        ("/experiment/Tag.1.Key", 'unknown member; write Tag as an array [{"Key": "...", "Value": "..."}]'),
        ("/comment", f"unknown member; {ALLOWED}"),
        (c("platform_config/max_trial_number"), "unknown member here; it belongs in yml_config"),
        ("/experiment/idempotencyKey", "unknown member here; it belongs next to experiment"),
        ("/experiment/ClientToken", "unknown member; write idempotencyKey next to experiment"),
        ("/ClientToken", "unknown member; write idempotencyKey next to experiment"),
        (
            "/experiment/experiment",
            "unknown member; the request is wrapped twice: remove the outer experiment",
        ),
        (
            "/experiment/Experiment",
            "unknown member; the request is wrapped twice: remove the outer experiment",
        ),
        (c("experiment"), "unknown member here; it belongs next to experiment"),
        (c("maxHours"), "unknown member here; it belongs in guard"),
        (c("metric_config/maxTrialNumber"), "unknown member here; write max_trial_number in yml_config"),
        (c("yml_config/optimize_mode"), "unknown member; it belongs in class_args of yml_config.tuner"),
        (c("optimize_mode"), "unknown member; it belongs in class_args of yml_config.tuner"),
        (c("Name"), "unknown member here; it belongs in experiment"),
        (c("WorkspaceId"), "unknown member here; it belongs in experiment"),
        ("/clientToken", "unknown member; write idempotencyKey next to experiment"),
        (c("yml_config/max_exec_duration"), "unknown member; write maxHours in guard, next to experiment"),
        ("/tracestate", "unknown member; remove it: only traceparent is passed on"),
        (c("yml_config/tuner/seed"), "unknown member; arguments of the algorithm belong in class_args"),
        (c("yml_config/tuner/builtinTunerName"), "unknown member; write name"),
        (c("yml_config/tuner/optimize_mode"), "unknown member here; it belongs in class_args"),
        (c("yml_config/assessor/class_args/optimizeMode"), "unknown member; did you mean optimize_mode?"),
        (c("platform_config/command"), "unknown member; write cmd in platform_config"),
        *(
            (place, "unknown member; write it as an option of a command in platform_config.cmd")
            for place in (
                c("dlc_config/priority"),
                c("dlc_config/resource_id"),
                c("dlc_config/QuotaId"),
                c("platform_config/worker_image"),
                c("platform_config/Envs"),
                c("environmentVariables"),
                "/experiment/JobSpecs",
                "/dataSources",
            )
        ),
        (c("monitor_config/webhook_url"), "unknown member; write url"),
        (c("metrics"), "unknown member; write metric_dict in metric_config"),
        (c("codeDir"), "unknown member; write a command of platform_config.cmd"),
        (c("trial_command"), "unknown member; write platform_config.cmd"),
        ("/guard/maxDuration", "unknown member; write maxHours"),
        ("/guard/max_minutes", "unknown member; write maxHours, a number of hours"),
        ("/producerKey", "unknown member; write idempotencyKey"),
        *(
            (f"/experiment/{name}", "unknown member; remove it: a request has only the body of the call")
            for name in (
                "Format",
                "Timestamp",
                "Signature",
                "SignatureMethod",
                "SignatureNonce",
                "SignatureVersion",
            )
        ),
        (c("yml_config/class_args"), "unknown member here; it belongs in tuner or assessor"),
        (c("yml_config/earlyStopping"), "unknown member; write the name of assessor in yml_config"),
        ("/experiment/Action", "unknown member; remove it: a request has only the body of the call"),
        ("/experiment/GmtCreateTime", "unknown member; remove it: it belongs to an answer of the service"),
    ],
)
def test_a_misplaced_member_is_reported_with_its_place(pointer, message):
    """The violation of an unknown member names the object beside it that has such a member, if exactly one has."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((pointer, "x"))).encode())
    assert [v.message for v in caught.value.violations] == [message]


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ({"triggerTime": "2018-02-09T05:49:00Z", "triggerName": "t", "payload": ""}, "a timer"),
        ({"jobName": "j", "taskId": "t", "cursorTime": 1, "source": {}, "parameter": {}}, "Log Service"),
        ({"events": [{"eventName": "ObjectCreated:PutObject"}]}, "OSS or CDN"),
    ],
)
def test_events_without_a_request_are_named(event, source):
    """Their members have names that resemble those of an experiment."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(event).encode())
    assert caught.value.violations[0].message.endswith(
        f"; it is an event of {source}, which delivers no requests"
    )


def test_a_part_of_a_foreign_document_does_not_name_its_source():
    """A producer may use one of the members for something of its own."""
    for document in ({"triggerName": "t"}, {"jobName": "j"}, {"method": "POST"}, {"kind": "k"}, {"spec": {}}):
        with pytest.raises(RequestRejected) as caught:
            parse_request(json.dumps(document).encode())
        assert not re.search("delivers no requests|configuration of", caught.value.violations[0].message)


def test_shapes_are_named():
    """A body that is not an object is rejected with its type, and with a hint if it contains one."""
    for body, words in [
        (b"[]", "not an array; a message has one request, so send each by itself"),
        (b"[{}, {}]", "not an array; a message has one request, so send each by itself"),
        (b"[{}]", "not an array; remove the brackets"),
        (json.dumps('"{}"').encode(), "not a string; write the object itself, not a string that contains it"),
        (b'"text"', "not a string"),
    ]:
        with pytest.raises(RequestRejected) as caught:
            parse_request(body)
        assert caught.value.violations[0].message.endswith(words)


@pytest.mark.parametrize(
    ("member", "hint"),
    [
        ({"Name": "a"}, "; did you mean experiment?"),
        ('{"HpoExperimentConfiguration": {}}', "; did you mean experiment?"),
        ({"name": "a"}, ""),
        ("text", ""),
    ],
)
def test_an_experiment_under_another_name_is_recognized(member, hint):
    """Its members show what is meant, unless the request has an experiment."""
    for others, ending in [({}, hint), ({"experiment": None}, hint), ({"experiment": {}}, "")]:
        with pytest.raises(RequestRejected) as caught:
            parse_request(json.dumps({"idempotencyKey": "k", "payload": member, **others}).encode())
        (message,) = (one.message for one in caught.value.violations if one.pointer == "/payload")
        assert message == f"unknown member{ending or f'; {ALLOWED}'}"


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        # The only unknown member is taken for the only missing one, if it has a value of its kind.
        ([("platform_config/name", DELETE), ("platform_config/type", "DLC")], ["did you mean name?"]),
        ([("platform_config/name", DELETE), ("platform_config/platform", "DLC")], ["did you mean name?"]),
        (
            [("platform_config/name", DELETE), ("platform_config/note", [])],
            ["allowed here are name, cmd, resume"],
        ),
        # Only the first one of an object lists what is known.
        (
            [("output_config", {"x": 1, "y": 1, "z": 1})],
            ["allowed here are model_path, summary_path", "unknown member", "unknown member"],
        ),
        # A direction of other tools is known by its value.
        ([("yml_config/goal", "minimize")], ["write optimize_mode in class_args of yml_config.tuner"]),
        ([("output_config", {"goal": "accuracy"})], ["allowed here are model_path, summary_path"]),
        ([("output_config", {"format": "x"})], ["allowed here are model_path, summary_path"]),
        # Of two unknown members, none is taken for the missing one.
        (
            [("platform_config/name", DELETE), ("platform_config/type", "a"), ("platform_config/note", "b")],
            ["allowed here are name, cmd, resume", "unknown member"],
        ),
        ([("metric_config/mode", "MAX")], ["write optimize_mode in class_args of yml_config.tuner"]),
        ([("objective", "minimum")], ["write optimize_mode in class_args of yml_config.tuner"]),
        (
            [("yml_config/tuner/direction", "maximise")],
            ["write optimize_mode in class_args of yml_config.tuner"],
        ),
        ([("yml_config/tuner/goal", 0.5)], ["arguments of the algorithm belong in class_args"]),
        # Settings of one service are not sent to another.
        (
            [("dlc_config", {"region": "r", "workspace_id": "1"})],
            ["allowed here are access_id, access_key, endpoint, end_point, region, protocol"],
        ),
    ],
)
def test_an_unknown_member_without_a_similar_name(changes, messages):
    """What is meant is found by what is missing and by its value; otherwise the known members are listed."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed(*((c(name), value) for name, value in changes))).encode())
    found = [one.message for one in caught.value.violations if one.rule == "unknown-member"]
    assert [one.endswith(end) for one, end in zip(found, messages, strict=True)] == [True] * len(found), found


def test_findings_in_data_that_is_text_say_where():
    """A message about data that is a JSON text contains the pointer, because no pointer can lead into a text."""
    event = {"specversion": "1.0", "data": json.dumps(changed(("/experiment/Name", 5)))}
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(event).encode())
    (violation,) = caught.value.violations
    assert violation.pointer == "/data"
    assert (
        violation.message
        == "in the decoded data at /experiment/Name: must be a string, not a number; put it in quotes"
    )


@pytest.mark.parametrize(
    "as_text", [json.dumps, lambda text: base64.b64encode(json.dumps(text).encode()).decode()]
)
def test_findings_in_a_body_that_is_text_say_where(as_text):
    """No pointer leads into a body that is a JSON text, so the message contains the whole pointer in the text."""
    broken = changed(("/experiment/Name", 5))
    event = {"specversion": "1.0", "data": broken}
    for document, place in [
        (broken, "/experiment/Name"),
        (event, "/data/experiment/Name"),
        ({**event, "data": json.dumps(broken)}, "/data/experiment/Name"),
    ]:
        with pytest.raises(RequestRejected) as caught:
            parse_request(as_text(json.dumps(document)).encode())
        (violation,) = caught.value.violations
        assert violation.pointer == ""
        assert (
            violation.message
            == f"in the decoded data at {place}: must be a string, not a number; put it in quotes"
        )


def test_findings_in_json_text_say_where():
    """A message about a member that is JSON text contains the pointer in the text, also in nested texts."""
    weights = changed((c("metric_config/metric_dict"), '{"score": "high"}'))
    whole = {"experiment": json.dumps(changed(("/experiment/Name", 5))["experiment"])}
    both = {"experiment": json.dumps(weights["experiment"])}
    inner = c("metric_config/metric_dict")
    for document, pointer, message in [
        (weights, inner, "in the JSON text at /score: a weight must be a number, not a string"),
        (whole, "/experiment", "in the JSON text at /Name: must be a string, not a number; put it in quotes"),
        (
            both,
            "/experiment",
            f"in the JSON text at {inner.removeprefix('/experiment')}/score: a weight must be a number, not a string",
        ),
    ]:
        with pytest.raises(RequestRejected) as caught:
            parse_request(json.dumps(document).encode())
        assert [(v.pointer, v.message) for v in caught.value.violations] == [(pointer, message)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"experiment": {}},
        {"specversion": "1.0", "source": "s", "id": "1", "data": {}},
        {"experiment": "{}"},
    ],
)
def test_an_empty_request_is_accepted_in_every_form(document):
    """The service documents every member as optional, so an empty request is accepted with a warning."""
    rejected, warned = check(document)
    assert (rejected, [rule for rule, _ in warned]) == ([], ["configuration.absent"])


def test_findings_in_encoded_data_say_where():
    """A message about encoded data contains the pointer, because no pointer of the document can lead there."""
    data = base64.b64encode(json.dumps(changed(("/experiment/Name", 5))).encode()).decode()
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({"specversion": "1.0", "data_base64": data}).encode())
    (violation,) = caught.value.violations
    assert violation.pointer == "/data_base64"
    assert (
        violation.message
        == "in the decoded data at /experiment/Name: must be a string, not a number; put it in quotes"
    )


def test_an_invalid_value_is_quoted_in_part():
    """At most 60 characters of a value outside an enumeration are shown."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c("metric_config/final_mode"), "x" * 500))).encode())
    assert caught.value.violations[0].message.count("x") == 60


@pytest.mark.parametrize("pattern", ["[[a]", "a(?i)", "(a{1,2}{3,4})", "\\", "(" * 2000])
def test_no_pattern_rejects_a_request(pattern, recwarn):
    """An invalid regular expression, or one that Python warns about, causes at most a warning of hpoq."""
    assert check(changed(*STDOUT, (c("metric_config/metric_dict"), {pattern: 1})))[0] == []
    assert [*recwarn] == []


def rules_named(source):
    """Yield every string in `source` that looks like a rule and is an argument where a rule is expected."""
    callers = {"rejection", "warning", "absence", "Violation", "violation", "_reject", "JsonError"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", None))
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            for text in texts if called in callers else []:
                if isinstance(text, str) and re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text):
                    yield text


SUGGESTIONS = [
    ((c("metric_config/final_mode"), "Best"), "did you mean best?"),
    ((c("metric_config/metric_type"), "std_out"), "did you mean stdout?"),
    ((c("metric_config/metric_type"), "TensorBoard"), "did you mean summary?"),
    ((c("metric_config/final_mode"), "last"), "did you mean final?"),
    ((c("metric_config/final_mode"), "sql"), "not 'sql'"),
    ((c("metric_config/metric_type"), "METRIC_TYPE_STDOUT"), "did you mean stdout?"),
    ((c("metric_config/final_mode"), "FINAL_MODE_BEST"), "did you mean best?"),
    (
        (c("metric_config/final_mode"), "best\u200b"),
        "did you mean best? The two differ in characters that look the same or cannot be seen",
    ),
    ((c("yml_config/tuner/name"), "random_search"), "did you mean Random?"),
    ((c("platform_config/name"), "ODPS"), "did you mean MaxCompute?"),
    ((c("yml_config/tuner"), {"type": "TPE"}), "; did you mean name?"),
    ((c("yml_config/assessor"), {"kind": "PAIAssessor"}), "; did you mean name?"),
    ((c("metric_config/metric_dict/score"), "0,5"), "not a string; write 0.5 without quotes"),
    ((c(SPACE), {"_type": "uniform", "_value": ["0,01", 1]}), "not a string; write 0.01 without quotes"),
    ((c(f"{SPACE}/_value"), [[1, 2]]), "an array in an array; remove the inner brackets"),
    (
        (c("platform_config/cmd/0"), "pai -Dk=$${centres}"),
        "$${centres} becomes a $ and the value; write ${centres}",
    ),
    ((c("yml_config/tuner/name"), "RandomSearch"), "did you mean Random?"),
    ((c("yml_config/tuner/name"), "Grid Search"), "did you mean GridSearch?"),
    ((c("platform_config/cmd/0"), "${centres} ${trialId}"), "did you mean ${trial_id}?"),
    ((c(SPACE), {"_type ": "choice", "_value": [1]}), "; write _type"),
    ((c(f"{SPACE}/_value"), "[1, 2]"), "; write the array itself, not a string that contains it"),
    ((c(f"{SPACE}/_value"), " [1, 2]"), "; write the array itself, not a string that contains it"),
    ((c(f"{SPACE}/_value"), "1,2"), "must be an array, not a string"),
    ((c("yml_config/tuner"), "TPE"), 'not a string; write {"name": "..."}'),
    ((c("platform_config/cmd"), "python"), "must be an array, not a string; put it in brackets"),
    (("/experiment/Tag", {"team": "a"}), 'not an object; write [{"Key": "...", "Value": "..."}]'),
    ((c("platform_config/cmd"), {"a": "b"}), "must be an array, not an object"),
    ((c("metric_config/metric_source"), 1), "not a number; put it in quotes and in brackets"),
    ((c("metric_config/metric_source"), True), "must be an array, not a boolean"),
    (("/experiment/Tag", "team"), 'not a string; write [{"Key": "...", "Value": "..."}]'),
    (("/experiment/Tag", ["team=a"]), 'not a string; write {"Key": "...", "Value": "..."}'),
    (("/experiment", [make_document()["experiment"]]), "not an array; remove the brackets"),
    (("/experiment/Name", ["a"]), "must be a string, not an array; remove the brackets"),
    ((c("yml_config/max_trial_number"), [10]), "must be an integer, not an array; remove the brackets"),
    ((c("metric_config/metric_type"), ["table"]), "or 'api', not an array; remove the brackets"),
    *(
        ((c("platform_config"), text), "cut the object off here: call ConvertTo-Json with -Depth 20")
        for text in (
            "@{name=DLC; cmd=System.Object[]}",
            "System.Collections.Hashtable",
            "System.Object[]",
        )
    ),
    *(
        ((c("yml_config/tuner"), text), "a program showed its object here instead of writing it as JSON")
        for text in (
            *("[object Object]", "map[name:TPE]", "#<Tuner name=1>", "<a.Tuner object at 0x7f>"),
            *("com.acme.Tuner@1b2c3d4e", "Tuner{name=TPE}", "System.Text.Json.JsonElement"),
        )
    ),
    (("/guard", [{"maxHours": 12}]), "must be an object, not an array; remove the brackets"),
    (
        (c("metric_config"), {"metric_type": "stdout", "metric_source": ["cmd1,cmd2"], **REST_OF_METRIC}),
        "cmd2 is not a role; write each command as an item of its own",
    ),
    (("/guard", "12h"), 'must be an object, not a string; write {"maxHours": ...}'),
    (("/guard", 12), 'must be an object, not a number; write {"maxHours": ...}'),
    (("/guard", True), "must be an object, not a boolean"),
    (("/guard", {"maxHours": 0}), "must be greater than 0; for no limit leave it out"),
    (("/idempotencyKey", ""), "it has 0; fill it in, or leave it out"),
    (("/idempotencyKey", {"string": "k"}), "not an object; write the value in it alone"),
    (
        (c("yml_config/max_trial_number"), {"$numberInt": "10"}),
        "not an object; write the value in it alone",
    ),
    (("/experiment/Name", {"#text": "a"}), "not an object; write the value in it alone"),
    ((c("yml_config/debug"), ""), "not a string; write false without quotes"),
    ((c("platform_config/cmd"), {"0": "a", "1": "b"}), "not an object; write its values in brackets"),
    ((c("platform_config/cmd"), {}), "must be an array, not an object; write []"),
    (("/experiment/Tag", {}), "must be an array, not an object; write []"),
    (
        (c("platform_config/cmd"), {"$type": "List", "$values": ["a"]}),
        "not an object; write its values in brackets",
    ),
    (
        (c("params_config"), {"params_src_dst_filepath": [["a", "b"]]}),
        'not an array; write "source,destination"',
    ),
    ((c("metric_config/metric_dict/score"), True), "a weight must be a number, not a boolean; write 1"),
    ((c("platform_config/cmd"), "[ -f x ]"), "must be an array, not a string; put it in brackets"),
    ((c("platform_config/cmd"), '{"a": 1}'), "must be an array, not a string; put it in brackets"),
    *(
        ((pointer, f" {text}"), "not a string; write the array itself, not a string that contains it")
        for pointer, text in [
            ("/experiment/Tag", '[{"Key": "k"}]'),
            (c("platform_config/cmd"), '["run"]'),
            (c("metric_config/metric_source"), "[]"),
            (c("params_config/params_src_dst_filepath"), '["a,b"]'),
        ]
    ),
    ((c("platform_config/cmd/0"), ["python", "a.py"]), "not an array; write it as one string"),
    ((c("metric_config/metric_dict"), None), "metric_dict is required, not null"),
    ((c("metric_config/metric_dict/score"), None), "a weight must be a number, not null"),
    ((c("metric_config/metric_type"), 5), "or 'api', not a number"),
    ((c("oss_config"), []), "must be an object, not an array; write {}, or leave it out"),
    ((c("yml_config/tuner/class_args"), []), "; write {}, or leave it out"),
    ((c("oss_config"), [{}]), "must be an object, not an array"),
    (
        (c("search_space"), SPEC),
        '; put a name around both, as in {"${lr}": {"_type": ..., "_value": ...}}',
    ),
    ((c(f"{SPACE}/_value"), [{"name": "a"}, {"_name": "b"}]), "; write _name, with an underscore"),
    (("/dryRun", "Yes"), "not a string; write true without quotes"),
    ((c("yml_config/debug"), "0"), "not a string; write false without quotes"),
    ((c("yml_config/debug"), "maybe"), "must be a boolean, not a string"),
    *(
        (("/dryRun", text), f"must be a boolean, not a string; write {meant} without quotes")
        for text, meant in [
            *((text, "true") for text in ("TRUE", " on", "1")),
            *((text, "false") for text in ("False", "no", "off", "")),
        ]
    ),
    *(
        ((c(f"metric_config/{member}"), word), f"not {word!r}; did you mean {meant}?")
        for member, word, meant in [
            *(("final_mode", word, "final") for word in ("last", "Latest")),
            *(("final_mode", word, "best") for word in ("MAX", "min", "maximum", "minimum")),
            *(("final_mode", word, "avg") for word in ("mean", "average")),
            *(("metric_type", word, "stdout") for word in ("log", "logs", "console", "output")),
            *(("metric_type", word, "table") for word in ("SQL", "odps", "MaxCompute", "query")),
            *(("metric_type", word, "summary") for word in ("tensorboard", "tfevents")),
        ]
    ),
    *(
        (("/action", word), '; to stop an experiment, write {"stop": {"idempotencyKey": "..."}}')
        for word in ("stop", "Cancel", "terminate", "abort")
    ),
    (("/action", "create"), "; remove it: a request has only the body of the call"),
    (("/experiment/Accessibility", "Workspace"), "not 'Workspace'; did you mean PUBLIC?"),
    ((c("schedule_config/end_time"), 600), 'not a number; write "HH:MM"'),
    ((c("monitor_config/at_user_ids"), [1]), 'an array; write an array in a string, as in "[1472583690]"'),
    ((c("params_config/params_src_dst_filepath"), [["a", "b"]]), 'not an array; write "source,destination"'),
    ((c("yml_config/max_trial_number"), "010"), "must be an integer, not a string"),
    ((c("yml_config/max_trial_number"), "20.5"), "must be an integer, not a string"),
    *(
        (("/guard", {"maxHours": text}), f"must be a number, not a string; {hint}")
        for text, hint in [
            ("12", "write 12 without quotes"),
            ("1:30", "write 1.5, the number of hours"),
            ("02:00:00", "write 2, the number of hours"),
            ("PT1H30M", "write 1.5, the number of hours"),
            ("P2D", "write 48, the number of hours"),
            ("1h30m", "write 1.5, the number of hours"),
            (" 1d 12h 30m 36s ", "write 36.51, the number of hours"),
            (" 2:15 ", "write 2.25, the number of hours"),
            ("1.5 h", "write 1.5 without quotes and without a unit"),
            ("12Hours", "write 12 without quotes and without a unit"),
            ("30m", "write 0.5, the number of hours"),
            ("90 minutes", "write 1.5, the number of hours"),
            ("1d", "write 24, the number of hours"),
            ("1.5 Days", "write 36, the number of hours"),
            ("60s", "write 0.0166667, the number of hours"),
            ("2w", "write a number of hours"),
            ("95%", "write a number of hours"),
        ]
    ),
    *(
        (("/guard", {"maxHours": f"1 {unit}"}), "; write 1 without quotes and without a unit")
        for unit in ("h", "hr", "hrs", "hour", "hours")
    ),
    *(
        (("/guard", {"maxHours": f"6 {unit}"}), "; write 0.1, the number of hours")
        for unit in ("m", "min", "mins", "minute", "minutes")
    ),
    *(
        (("/guard", {"maxHours": f"360 {unit}"}), "; write 0.1, the number of hours")
        for unit in ("s", "sec", "secs", "second", "seconds")
    ),
    *((("/guard", {"maxHours": f"2 {unit}"}), "; write 48, the number of hours") for unit in ("day", "days")),
    *(
        ((c("yml_config/max_trial_number"), text), f"must be an integer, not a string{hint}")
        for text, hint in [
            ("1e3", "; write 1000 without quotes"),
            ("20.0", "; write 20 without quotes"),
            ("+20", "; write 20 without quotes"),
            ("1,000,000", "; write 1000000 without quotes"),
            ("1_000", "; write 1000 without quotes"),
            ("\uff12\uff10", "; write 20 without quotes"),
            ("1 000", "; write 1000 without quotes"),
            ("2147483647", "; write 2147483647 without quotes"),
            *((large, "") for large in ("2147483648", "3e9", "-1e10")),
            ("10 20", ""),
            ("2,5", ""),
            ("1e-3", ""),
            ("1e300", ""),
            ("0x10", ""),
            ("0b1", ""),
            ("+010", ""),
            ("NaN", ""),
            ("", ""),
        ]
    ),
    *(
        (("/guard", {"maxHours": text}), f"must be a number, not a string{hint}")
        for text, hint in [
            ("1e1", "; write 10 without quotes"),
            (".5", "; write 0.5 without quotes"),
            ("1e-2", "; write 0.01 without quotes"),
            ("1e300", "; write 1e+300 without quotes"),
            ("1e999", ""),
            (" " * 9999 + "x", ""),
            ("1,500", ""),
            ("2,5", "; write 2.5 without quotes"),
            ("0,125", "; write 0.125 without quotes"),
            ("-0,125", "; write -0.125 without quotes"),
            ("1,5,5", ""),
            ("-inf", ""),
        ]
    ),
    (("/guard", {"maxHours": 10**350}), "fits into a double; the largest is about 1.8e308"),
    (
        (c("metric_config/metric_dict/score"), "minimize"),
        "not a string; write 1 here, and the direction as optimize_mode of the tuner",
    ),
    (
        (c("metric_config/metric_dict/score"), "Maximize"),
        "not a string; write 1 here, and the direction as optimize_mode of the tuner",
    ),
    ((c("platform_config/resume"), True), 'not a boolean; write "0" or "1"'),
    ((c("monitor_config/is_at_all"), False), 'not a boolean; write "True" or "False"'),
    ((c("monitor_config/at_mobiles"), [1]), 'an array; write an array in a string, as in "[1472583690]"'),
    ((c("schedule_config/start_time"), 600), 'not a number; write "HH:MM"'),
    (("/guard", []), "must be an object, not an array; leave it out"),
    (("/experiment", []), "must be an object, not an array"),
    ((c("metric_config"), []), "must be an object, not an array"),
    (("/idempotencyKey", "a\u2028b"), "without control characters; character 2 is U+2028"),
    (("/idempotencyKey", "\n"), "without control characters; character 1 is U+000A"),
    (("/idempotencyKey", "x" * 254 + "\n"), "without control characters; character 255 is U+000A"),
    (
        (c("yml_config"), '{"a": }'),
        "; as JSON text it is invalid: not JSON at line 1, column 7: a value is missing here",
    ),
    ((c("yml_config/max_trial_number"), {"value": [1]}), "must be an integer, not an object"),
    *((("/guard", {"targetMetric": text}), "must be a number, not a string") for text in ("1:30", "1h30m")),
    (("/guard", {"maxHours": True}), "must be a number, not a boolean"),
    ((c("metric_config/final_mode"), ["best", "avg"]), "or 'avg', not an array"),
    ((c("metric_config/final_mode"), ["last"]), "or 'avg', not an array"),
    (("/experiment", ""), "must be an object, not a string"),
    ((c("platform_config/cmd"), {"0": "a", "x": "b"}), "must be an array, not an object"),
    (
        (c("yml_config/max_trial_number"), 2**31),
        "must be a 32-bit integer, from -2147483648 to 2147483647",
    ),
    (("/guard", {"maxHours": "soon"}), "must be a number, not a string"),
    (("/guard", {"targetMetric": "95%"}), "not a string; write a number without a unit"),
    (("/guard", {"targetMetric": "0.95"}), "not a string; write 0.95 without quotes"),
    (("/guard", {"maxFailedTrials": "5 h"}), "not a string; write a number without a unit"),
    (
        (c("yml_config/max_trial_number"), "1k"),
        "must be an integer, not a string; write a number without a unit",
    ),
    ((c("yml_config/max_trial_number"), "1.5k"), "must be an integer, not a string"),
    (("/idempotencyKey", 20261129), "not a number; put it in quotes"),
    (("/idempotencyKey", "x" * 300), "; it has 300"),
    ((c("yml_config/tuner/class_args/direction"), "maximize"), "; did you mean optimize_mode?"),
    (
        (c("metric_config/metric_dict"), ["auc"]),
        'write each metric with its weight, as in {"accuracy": 1}',
    ),
    ((c("metric_config/metric_dict"), "auc"), 'write each metric with its weight, as in {"accuracy": 1}'),
    (("/experiment/Tag", [{"team": "a"}]), '; write {"Key": "...", "Value": "..."}'),
    (("/experiment", [{}]), "not an array; a message has one request"),
]


def test_a_misspelt_word_gets_a_suggestion():
    """A type, an enumeration, a name or a placeholder that is nearly right is followed by what may be meant."""
    for change, hint in SUGGESTIONS:
        try:
            found = parse_request(json.dumps(changed(change)).encode()).warnings
        except RequestRejected as exc:
            found = exc.violations
        assert any(one.message.endswith(hint) for one in found), (change, found)


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"experimentId": "sJ0xjVa"}, 'write {"stop": {"experimentId": "..."}}'),
        ({"platform_config": {}}, "platform_config belongs in HpoExperimentConfiguration"),
        ({"body": {"HpoExperimentConfiguration": {}}}, "to be inside body: send it by itself"),
        ({"a": 1, "LTAI5t": {"stop": {}}}, "to be inside a member of this object: send it by itself"),
        ({"id": "1", "source": "/a", "type": "t", "data": {}}, 'a CloudEvent needs a specversion: "1.0"'),
        ({"source": "/a", "type": "t", "data": {}}, 'a CloudEvent needs a specversion: "1.0"'),
        ({"expriment": 5}, "; did you mean experiment?"),
        (
            {"expriment": 5, "note": 5, "HpoExperimentConfigs": 5},
            "; did you mean HpoExperimentConfiguration?",
        ),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"experiment": {}}}}}}}}, "a/b/c/d/e/f: send it by itself"),
        (
            {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"experiment": {}}}}}}}}},
            "`HpoExperimentConfiguration`)",
        ),
        ({"trialConcurrency": 1, "searchSpace": {}}, "NNI, which must be rewritten: see hpoq init"),
        ({"name": "a", "hpo_experiment_configuration": {}}, "did you mean HpoExperimentConfiguration?"),
        ({"Experiment": {"Name": "a"}, "IdempotencyKey": "k"}, "; did you mean experiment?"),
        ({"ExperimentId": "sJ0xjVa"}, 'write {"stop": {"experimentId": "..."}}'),
        ({"Topic": "t", "Message": '{"experiment": {}}'}, "to be inside Message: send it by itself"),
        ({"MessageBody": "eyJleHBlcmltZW50Ijoge319"}, "to be inside MessageBody: send it by itself"),
        *(
            (document, f"to be inside {place}: send it by itself")
            for document, place in [
                ({"Records": [{"messageId": "1", "body": '{"experiment": {}}'}]}, "Records/0/body"),
                ({"message": {"data": "eyJleHBlcmltZW50Ijoge319", "id": "1"}}, "message/data"),
                ({"before": None, "after": {"body": '{"experiment": {}}'}, "op": "c"}, "after/body"),
                ({"query": "m", "variables": {"input": {"experiment": {}}}}, "variables/input"),
                ({"records": [{"key": "LTAI5t", "value": {"experiment": {}}}]}, "records/0/value"),
                ({"records": [{"LTAI5t": {"experiment": {}}}]}, "a member of this object"),
            ]
        ),
        *(
            (document, f"a configuration of {tool}, which must be rewritten: see hpoq init")
            for document, tool in [
                ({"HyperParameterTuningJobName": "a", "HyperParameterTuningJobConfig": {}}, "SageMaker"),
                ({"displayName": "s", "studySpec": {"parameters": []}}, "Vertex AI"),
                ({"display_name": "s", "study_spec": {"parameters": []}}, "Vertex AI"),
                ({"trialCommand": "python t.py"}, "NNI"),
                ({"program": "t.py", "method": "bayes", "parameters": {}}, "Weights & Biases"),
                (
                    {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "spec": {}},
                    "Kubernetes, such as Katib",
                ),
            ]
        ),
        ({"cancel": {"experiment_id": "sJ0xjVa"}}, 'write {"stop": {"experimentId": "..."}}'),
        ({"body": {"ExperimentId": "a", "RequestId": "b"}}, "(an object with `HpoExperimentConfiguration`)"),
        ({"op": "c"}, "(an object with `HpoExperimentConfiguration`)"),
        ({"requests": [{"experiment": {}}, {}]}, "to be inside requests: send it by itself"),
        (
            {"specversion": "1.0", "data": {"specversion": "1.0", "type": "t", "source": "/a", "data": {}}},
            "a CloudEvent inside of another one: put its data in its place",
        ),
    ],
)
def test_a_document_of_another_form_is_recognized(document, hint):
    """What people send instead of a request is named, with what to write."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(document).encode())
    (violation,) = caught.value.violations
    assert (violation.rule, violation.message.endswith(hint)) == ("document.shape", True), violation


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ((c("platform_config/cmd"), "pai -Dk=${centres}"), {"type"}),
        ((c("search_space"), [{"name": "k"}]), {"type"}),
        ((c("search_space"), "space.json"), {"search-space.text"}),
        ((c("metric_config/metric_type"), "Stdout"), {"enum"}),
        ((c("platform_config/cmd/0"), "pai --k=$centres"), {"placeholder.form"}),
        ((c("platform_config/cmd/0"), "pai --k=${centre}"), {"placeholder.undefined"}),
        (("/experiment/Tag", [{"key": "a"}]), {"unknown-member"}),
        (("/idempotencyKey", "\u2028"), {"idempotency-key"}),
        (("/idempotencyKey", "\x85k"), {"idempotency-key"}),
        ((c("odps_config"), "cn-shanghai"), {"type"}),
        ((c("yml_config"), ["max_trial_number"]), {"type"}),
        ((c("yml_config/tuner/class_args"), "maximize"), {"type"}),
        ((c("yml_config/max_trial_number"), 1.5), {"type"}),
        ((c("platform_config/cmd"), ["pai", ["pai", "-Dk=${centres}"]]), {"type"}),
        ((c("platform_config/cmd"), []), {"platform.command"}),
        ((c("search_space"), {"_type": "choice", "_value": [2, 3]}), {"search-space.spec"}),
        ((c("search_space"), {"model": {"${centres}": SPEC}}), {"search-space.spec"}),
    ],
)
def test_one_mistake_is_reported_once(change, rules):
    """What cannot be read causes no warnings about its names or characters, nor a name that is written wrongly."""
    rejected, warned = check(changed(*STDOUT, change))
    assert {rule for rule, _ in [*rejected, *warned]} == rules


@pytest.mark.parametrize("section", ["odps_config", "oss_config", "params_config"])
def test_a_section_that_cannot_be_read_is_not_missing(section):
    """It is reported for its type alone, or for its place, and not for the lack of what it has."""
    base = changed(
        (c("params_config/params_src_dst_filepath"), ["oss://a/b,oss://a/c"]),
        (c("oss_config"), {"role_arn": "r"}),
        (c("platform_config/cmd/0"), "pai -Dconfig=oss://a/c"),
    )
    config = base["experiment"]["HpoExperimentConfiguration"]
    assert check(base) == ([], [])
    section_read = config.pop(section)
    assert check({**base, section: section_read}) == ([("unknown-member", f"/{section}")], [])
    config[section] = [section_read, section_read]
    assert check(base) == ([("type", c(section))], [])


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("", "HpoExperimentConfiguration"),
        ("/HpoExperimentConfiguration", "yml_config"),
        ("/HpoExperimentConfiguration", "search_space"),
        ("/HpoExperimentConfiguration", "odps_config"),
        ("/HpoExperimentConfiguration/yml_config", "max_trial_number"),
        ("/HpoExperimentConfiguration/yml_config", "tuner"),
        ("/HpoExperimentConfiguration/yml_config/tuner", "class_args"),
        ("/HpoExperimentConfiguration/odps_config", "project_name"),
    ],
)
def test_a_misspelt_member_is_not_missing_too(section, name):
    """A producer whose serializer changes names gets no warnings about what is there under another name."""
    document = make_document()
    holder = document["experiment"]
    for token in section.split("/")[1:]:
        holder = holder[token]
    holder[f"{name}Renamed"] = holder.pop(name)
    assert check(document) == ([("unknown-member", f"/experiment{section}/{name}Renamed")], [])


def test_a_placeholder_that_is_not_defined_is_reported_beside_unknown_members():
    """The search space is there, so an unknown member elsewhere does not explain what it lacks."""
    _, warned = check(changed(("/experiment/Nmae", "x"), (c("platform_config/cmd/0"), "pai ${centre}")))
    assert "placeholder.undefined" in [rule for rule, _ in warned]


def write_nulls(value, model):
    """Write each member of `model` that `value` does not have as null, as the serializers of some languages do."""
    for name, inner in list_members(model).items():
        if inner is not None and isinstance(value.get(name), dict):
            write_nulls(value[name], inner)
        value.setdefault(name, None)


@pytest.mark.parametrize("section", [None, "k8s_config", "monitor_config", "output_config"])
@pytest.mark.parametrize("name", ["minimal", "dlc-stdout", "maxcompute-table", "paiflow-table"])
def test_a_null_member_is_judged_as_a_missing_one(name, section):
    """Apart from the warnings about the nulls themselves."""
    document = json.loads((ROOT / "events" / "requests" / f"{name}.json").read_text())
    space = document["experiment"]["HpoExperimentConfiguration"]["search_space"]
    space["${unused}"] = {"_type": "uniform", "_value": [0, 1]}
    expected = check(document)
    if section:
        document["experiment"]["HpoExperimentConfiguration"].setdefault(section, {})
    write_nulls(document, ExperimentRequest)
    rejected, warned = check(document)
    assert rejected == expected[0] == []
    assert [finding for finding in warned if finding[0] != "null"] == expected[1]


def test_many_nulls_are_one_warning():
    """The warnings about those of a serializer that writes every member would hide the others."""
    members = [("/experiment/Tag", [{"Key": f"k{index}", "Value": None} for index in range(10)])]
    assert check(changed(*members)) == ([], [("null", f"/experiment/Tag/{i}/Value") for i in range(10)])
    members += [("/guard", None), ("/experiment/Name", "")]
    assert check(changed(*members))[1] == [("null", ""), ("name.empty", "/experiment/Name")]
    found, _ = parse_request(json.dumps(changed(*members)).encode()).warnings
    assert found.message == "11 null members are not sent; leave them out"


@pytest.mark.parametrize("text", ["", " ", "\u3000"])
def test_a_workspace_of_white_space_is_empty(text):
    assert check(changed(("/experiment/WorkspaceId", text)))[1] == [
        ("text.placeholder", "/experiment/WorkspaceId")
    ]


@pytest.mark.parametrize(
    ("document", "rules"),
    [
        ({"stop": {"experiment_id": "s"}}, ["unknown-member"]),
        ({"stop": {"experimentId": None, "key": "k"}}, ["unknown-member"]),
        ({"stop": {"experimentId": None}}, ["stop.target"]),
        ({"stop": {"experimentId": None, "idempotencyKey": None}}, ["stop.target"]),
        ({"stop": {"experimentId": "s", "idempotencyKey": "k", "x": 1}}, ["stop.target", "unknown-member"]),
        ({"stop": None, "experiment": None}, ["required"]),
    ],
)
def test_a_stop_is_rejected_for_one_reason(document, rules):
    """A misspelt target is not missing too, and a message of two members that are null lacks a request only."""
    assert [rule for rule, _ in check(document)[0]] == rules


@pytest.mark.parametrize(
    ("stop", "hint"),
    [
        ({"experimentId": "a/b"}, ", which looks like sJ0xjVa"),
        *(
            ({"experimentId": text}, ", which looks like sJ0xjVa; remove the white space")
            for text in (" sJ0xjVa", "sJ0xjVa\n")
        ),
        ({"producerKey": "k"}, "unknown member; write idempotencyKey"),
        *(
            (value, '; write {"idempotencyKey": "..."} or {"experimentId": "..."}')
            for value in ([], "sJ0xjVa")
        ),
    ],
)
def test_the_target_of_a_stop_gets_a_hint(stop, hint):
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({"stop": stop}).encode())
    (violation,) = caught.value.violations
    assert violation.message.endswith(hint)


def test_a_placeholder_is_suggested_in_its_right_form_only():
    """A name of another form is wrong itself, so it is not what a command should have."""
    warned = parse_request(json.dumps(changed((c("search_space"), {"$centres": SPEC}))).encode()).warnings
    (undefined,) = [one for one in warned if one.rule == "placeholder.undefined"]
    assert "did you mean" not in undefined.message


def test_suggestions_are_limited():
    """Only the first misspelt words of a document are compared, because that takes long."""
    space = {f"${{p{number}}}": {"_type": "uniforn", "_value": []} for number in range(100)}
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c("search_space"), space))).encode())
    assert sum("did you mean" in one.message for one in caught.value.violations) == 20


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_schema_of_an_editor_is_ignored(wrapped):
    """A member $schema is accepted in both forms, must be a string, and is no part of the experiment."""
    document = make_document()
    document = document if wrapped else document["experiment"]
    parsed = parse_request(json.dumps({"$schema": "request.schema.json", **document}).encode())
    assert (parsed.warnings, parsed.request.experiment.wire()) == ((), make_document()["experiment"])
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({**document, "$schema": 1}).encode())
    assert pairs(caught.value.violations) == [("type", "/$schema")]


def test_every_rule_is_in_the_readme():
    """The README lists exactly the rules that the source names, and each of them is tested here."""
    folder = ROOT / "functions" / "hpoq" / "contract"
    sources = [*folder.glob("*.py"), ROOT / "functions" / "hpoq" / "processing" / "intake.py"]
    listed = set(re.findall(r"^\| `([a-z0-9.-]+)` \|", (folder / "README.md").read_text(), re.MULTILINE))
    named = {rule for source in sources for rule in rules_named(source.read_text())}
    tested = {case[0] for case in (*REJECTING, *WARNING, *BODIES)} | {
        "message-id",
        "guard.unwatched",
        "cloudevent.identity",
    }
    assert listed == named
    assert listed == tested


def test_patterns_that_python_warns_about_change_nothing_for_other_threads():
    """The messages of a batch are read in several threads, which share the filters of Python's warnings."""
    weights = [{f"([[0-9]+){thread}-{number}": 1} for thread in range(8) for number in range(20)]
    documents = [
        json.dumps(changed(*STDOUT, (c("metric_config/metric_dict"), one))).encode() for one in weights
    ]
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(parse_request, documents))) == len(documents)
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before
