"""Each rule: a request that breaks it, where the finding points, and one that nearly does."""

import ast
import base64
import copy
import json
import re
from pathlib import Path

import pytest

from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected

ROOT = Path(__file__).parents[3]
BASE = json.loads((ROOT / "events" / "requests" / "minimal.json").read_text())
CONFIG = "/experiment/HpoExperimentConfiguration"
DELETE = object()
ROLE = "acs:ram::1:role/r"
DLC = {"region": "cn-shanghai", "access_id": "EXAMPLE-ID", "access_key": "EXAMPLE-KEY"}


def changed(*changes):
    """The base request with the value at each pointer set, or deleted."""
    document = copy.deepcopy(BASE)
    for pointer, value in changes:
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


def judge(document):
    """The (rule, pointer) pairs that reject, and those that warn."""
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


SPACE = "search_space/${centres}"
SPEC = {"_type": "choice", "_value": [1, 2]}
STDOUT = [
    (c("metric_config/metric_type"), "stdout"),
    (c("metric_config/metric_source"), ["cmd1"]),
    (c("metric_config/metric_dict"), {"a=([0-9]+)": 1}),
]
REJECTING = [
    # rule, pointer, changes that break it, changes that nearly do
    ("schema-version", "/schemaVersion", [("/schemaVersion", "2")], [("/schemaVersion", "1")]),
    ("schema-version", "/schemaVersion", [("/schemaVersion", 1)], [("/schemaVersion", None)]),
    ("idempotency-key", "/idempotencyKey", [("/idempotencyKey", "")], [("/idempotencyKey", "é")]),
    (
        "idempotency-key",
        "/idempotencyKey",
        [("/idempotencyKey", "x" * 256)],
        [("/idempotencyKey", "x" * 255)],
    ),
    ("idempotency-key", "/idempotencyKey", [("/idempotencyKey", "a\nb")], [("/idempotencyKey", "a b")]),
    ("idempotency-key", "/idempotencyKey", [("/idempotencyKey", "a\x85b")], []),
    (
        "idempotency-key",
        "/idempotencyKey",
        [("/idempotencyKey", "😀" * 256)],
        [("/idempotencyKey", "😀" * 255)],
    ),
    ("idempotency-key", "/idempotencyKey", [("/idempotencyKey", "a\u2028b")], []),
    ("idempotency-key", "/idempotencyKey", [("/idempotencyKey", 7)], [("/idempotencyKey", "7")]),
    ("required", c("platform_config"), [(c("platform_config"), DELETE)], []),
    ("required", c("platform_config/name"), [(c("platform_config/name"), None)], []),
    (
        "required",
        c("platform_config/cmd"),
        [(c("platform_config/cmd"), DELETE)],
        [(c("platform_config/cmd"), [])],
    ),
    ("required", c("metric_config/metric_type"), [(c("metric_config/metric_type"), DELETE)], []),
    ("required", c("metric_config/metric_source"), [(c("metric_config/metric_source"), DELETE)], []),
    ("required", c("metric_config/final_mode"), [(c("metric_config/final_mode"), DELETE)], []),
    ("required", c("metric_config/metric_dict"), [(c("metric_config/metric_dict"), DELETE)], []),
    ("unknown-member", "/experiment/Nmae", [("/experiment/Nmae", "x")], [("/experiment/Name", "x")]),
    ("unknown-member", "/extra", [("/extra", 1)], [("/traceparent", None)]),
    ("unknown-member", c("oss_config/access_key"), [(c("oss_config/access_key"), "x")], []),
    ("unknown-member", c("oss_config"), [(c("oss_config/LTAI5tEXAMPLE"), "accessKeyID")], []),
    ("type", "/experiment/Tag/1", [("/experiment/Tag", [{}, None])], [("/experiment/Tag", [{}, {}])]),
    (
        "type",
        c("yml_config/assessor/class_args/proportion"),
        [(c("yml_config/assessor/class_args/proportion"), "0.5")],
        [(c("yml_config/assessor/class_args/proportion"), 1)],
    ),
    (
        "type",
        c("yml_config/assessor/class_args/start_step"),
        [(c("yml_config/assessor/class_args/start_step"), 2.0)],
        [(c("yml_config/assessor/class_args/start_step"), 2)],
    ),
    ("enum", c("metric_config/metric_type"), [(c("metric_config/metric_type"), "Table")], []),
    ("enum", c("metric_config/metric_type"), [(c("metric_config/metric_type"), "")], []),
    ("enum", c("metric_config/metric_type"), [(c("metric_config/metric_type"), 1)], []),
    (
        "range",
        c("yml_config/max_trial_number"),
        [(c("yml_config/max_trial_number"), 10**399)],
        [(c("yml_config/max_trial_number"), 1)],
    ),
    (
        "type",
        "/experiment/WorkspaceId",
        [("/experiment/WorkspaceId", 12345)],
        [("/experiment/WorkspaceId", "1")],
    ),
    ("type", c("yml_config/max_trial_number"), [(c("yml_config/max_trial_number"), "5")], []),
    ("type", c("yml_config/max_trial_number"), [(c("yml_config/max_trial_number"), True)], []),
    ("type", c("yml_config/debug"), [(c("yml_config/debug"), "true")], [(c("yml_config/debug"), True)]),
    ("type", c("platform_config/cmd/0"), [(c("platform_config/cmd/0"), None)], []),
    ("type", CONFIG, [(CONFIG, [])], [(CONFIG, None)]),
    (
        "enum",
        "/experiment/Accessibility",
        [("/experiment/Accessibility", "ALL")],
        [("/experiment/Accessibility", "PUBLIC")],
    ),
    (
        "enum",
        c("metric_config/final_mode"),
        [(c("metric_config/final_mode"), "last")],
        [(c("metric_config/final_mode"), "avg")],
    ),
    (
        "enum",
        c("metric_config/metric_type"),
        [(c("metric_config/metric_type"), "sql")],
        [(c("metric_config/metric_type"), "table")],
    ),
    (
        "range",
        c("yml_config/trial_concurrency"),
        [(c("yml_config/trial_concurrency"), 2**31)],
        [(c("yml_config/trial_concurrency"), 2**31 - 1)],
    ),
    (
        "tag.limit",
        "/experiment/Tag",
        [("/experiment/Tag", [{"Key": str(n)} for n in range(21)])],
        [("/experiment/Tag", [{"Key": str(n)} for n in range(20)])],
    ),
    (
        "tag.reserved",
        "/experiment/Tag/0/Key",
        [("/experiment/Tag", [{"Key": "hpoq-key", "Value": "x"}])],
        [("/experiment/Tag", [{"Key": "hpoq-keys", "Value": "x"}])],
    ),
    (
        "description.reserved",
        "/experiment/Description",
        [("/experiment/Description", "mine [hpoq-key: 9619c93e-fafb-5042-80f4-bfc8c78519f2]")],
        [("/experiment/Description", "mine [hpoq-key: soon]")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_source/0"), "cmd1")],
        [(c("metric_config/metric_source/0"), "metrics_table")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "stdout")],
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source/0"), "cmd2,worker")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "summary")],
        [(c("metric_config/metric_type"), "summary"), (c("metric_config/metric_source/0"), "/mnt/x/")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "json"), (c("metric_config/metric_source/0"), "select a from t")],
        [(c("metric_config/metric_type"), "json"), (c("metric_config/metric_source/0"), "from/x.json")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_source/0"), "oss://b/metrics")],
        [(c("metric_config/metric_source/0"), "-- best\nselect a from t where p = 'oss://b/x'")],
    ),
    (
        "metric-source.form",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["accuracy"])],
        [
            (c("metric_config/metric_type"), "stdout"),
            (c("metric_config/metric_source"), ["CMD1", "cmd1, worker", "oss://b/x.log", "/mnt/x.log"]),
        ],
    ),
    (
        "search-space.bounds",
        c(f"{SPACE}/_value"),
        [(c(SPACE), {"_type": "uniform", "_value": [10**399, 1]})],
        [(c(SPACE), {"_type": "uniform", "_value": [1, 10**399]})],
    ),
    (
        "metric-weight",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_dict/score"), "high")],
        [(c("metric_config/metric_dict/score"), -0.5)],
    ),
    (
        "metric-weight",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_dict/score"), "nan")],
        [(c("metric_config/metric_dict/score"), "-.5e1")],
    ),
    (
        "metric-weight",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_dict/score"), True)],
        [(c("metric_config/metric_dict/score"), 0)],
    ),
    (
        "params.pair",
        c("params_config/params_src_dst_filepath/0"),
        [(c("params_config/params_src_dst_filepath"), ["a"])],
        [(c("params_config/params_src_dst_filepath"), ["a,b"])],
    ),
    (
        "params.pair",
        c("params_config/params_src_dst_filepath/0"),
        [(c("params_config/params_src_dst_filepath"), ["a,b,c"])],
        [],
    ),
    ("search-space.text", c("search_space"), [(c("search_space"), "[]")], [(c("search_space"), "{}")]),
    ("search-space.spec", c(SPACE), [(c(SPACE), [1, 2])], [(c(SPACE), SPEC)]),
    ("search-space.type", c(f"{SPACE}/_type"), [(c(f"{SPACE}/_type"), "Choice")], []),
    ("search-space.arity", c(f"{SPACE}/_value"), [(c(f"{SPACE}/_value"), 5)], []),
    (
        "search-space.arity",
        c(f"{SPACE}/_value"),
        [(c(SPACE), {"_type": "uniform", "_value": [0]})],
        [(c(SPACE), {"_type": "uniform", "_value": [0, 1]})],
    ),
    (
        "search-space.arity",
        c(f"{SPACE}/_value"),
        [(c(SPACE), {"_type": "quniform", "_value": [0, 1]})],
        [(c(SPACE), {"_type": "quniform", "_value": [0, 1, 0.1]})],
    ),
    (
        "search-space.number",
        c(f"{SPACE}/_value/0"),
        [(c(SPACE), {"_type": "randint", "_value": [0.5, 3]})],
        [(c(SPACE), {"_type": "randint", "_value": [0, 3]})],
    ),
    (
        "search-space.number",
        c(f"{SPACE}/_value/1"),
        [(c(SPACE), {"_type": "uniform", "_value": [0, "1"]})],
        [],
    ),
    (
        "search-space.bounds",
        c(f"{SPACE}/_value"),
        [(c(SPACE), {"_type": "uniform", "_value": [1, 1]})],
        [(c(SPACE), {"_type": "uniform", "_value": [-1, 1]})],
    ),
    (
        "search-space.bounds",
        c(f"{SPACE}/_value/0"),
        [(c(SPACE), {"_type": "loguniform", "_value": [0, 1]})],
        [(c(SPACE), {"_type": "loguniform", "_value": [1e-9, 1]})],
    ),
    (
        "search-space.bounds",
        c(f"{SPACE}/_value/1"),
        [(c(SPACE), {"_type": "normal", "_value": [5, 0]})],
        [(c(SPACE), {"_type": "normal", "_value": [5, 1]})],
    ),
    (
        "search-space.choice",
        c(f"{SPACE}/_value/1"),
        [(c(f"{SPACE}/_value"), [1, None])],
        [(c(f"{SPACE}/_value"), [1, 2.5])],
    ),
    (
        "search-space.choice",
        c(f"{SPACE}/_value/0"),
        [(c(f"{SPACE}/_value"), [{"${x}": SPEC}])],
        [(c(f"{SPACE}/_value"), [{"_name": "n", "${x}": SPEC}])],
    ),
    (
        "search-space.choice",
        c(f"{SPACE}/_value/1"),
        [(c(f"{SPACE}/_value"), [{"_name": "n"}, True])],
        [(c(f"{SPACE}/_value"), [{"_name": "n"}, {"_name": "m"}])],
    ),
    (
        "search-space.type",
        c(f"{SPACE}/_value/0/${{x}}/_type"),
        [(c(f"{SPACE}/_value"), [{"_name": "n", "${x}": {"_type": "?", "_value": []}}])],
        [],
    ),
]
WARNING = [
    (
        "null",
        "/experiment/Description",
        [("/experiment/Description", None)],
        [("/experiment/Description", "")],
    ),
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
        "traceparent",
        "/traceparent",
        [("/traceparent", "00-x")],
        [("/traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    ),
    ("configuration.absent", CONFIG, [(CONFIG, DELETE)], []),
    (
        "tag.text",
        "/experiment/Tag/0/Value",
        [("/experiment/Tag", [{"Key": "k", "Value": "v" * 129}])],
        [("/experiment/Tag", [{"Key": "k", "Value": "v" * 128}])],
    ),
    (
        "tag.text",
        "/experiment/Tag/0/Key",
        [("/experiment/Tag", [{"Key": "acs:k", "Value": "v"}])],
        [("/experiment/Tag", [{"Key": "k:acs", "Value": "v"}])],
    ),
    (
        "platform.unknown",
        c("platform_config/name"),
        [(c("platform_config/name"), "Spark")],
        [(c("platform_config/name"), "maxcompute")],
    ),
    (
        "platform.config",
        c("platform_config/name"),
        [(c("platform_config/name"), "DLC")],
        [(c("platform_config/name"), "DLC"), (c("dlc_config"), DLC)],
    ),
    ("platform.config", c("odps_config"), [(c("odps_config/project_name"), DELETE)], []),
    ("platform.command", c("platform_config/cmd"), [(c("platform_config/cmd"), [])], []),
    ("metric.empty", c("metric_config/metric_dict"), [(c("metric_config/metric_dict"), {})], []),
    ("null", "/schemaVersion", [("/schemaVersion", None)], [("/schemaVersion", "1")]),
    (
        "platform.resume",
        c("platform_config/resume"),
        [(c("platform_config/resume"), "yes")],
        [(c("platform_config/resume"), "0")],
    ),
    ("credentials.pair", c("dlc_config"), [(c("dlc_config"), {"access_id": "x"})], [(c("dlc_config"), DLC)]),
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
    ("metric-source.empty", c("metric_config/metric_source"), [(c("metric_config/metric_source"), [])], []),
    (
        "metric-source.command",
        c("metric_config/metric_source/0"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd3"])],
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd2"])],
    ),
    (
        "metric-weight.text",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_dict/score"), "0.5")],
        [],
    ),
    (
        "metric.pattern",
        c("metric_config/metric_dict/score"),
        [(c("metric_config/metric_type"), "stdout"), (c("metric_config/metric_source"), ["cmd1"])],
        [],
    ),
    (
        "placeholder.undefined",
        c("platform_config/cmd/1"),
        [(c("platform_config/cmd/1"), "run ${typo}")],
        [(c("platform_config/cmd/1"), "run ${trial_id} $HOME")],
    ),
    ("search-space.absent", CONFIG, [(c("search_space"), DELETE), (c("platform_config/cmd"), ["x"])], []),
    ("search-space.text", c("search_space"), [(c("search_space"), json.dumps({"${centres}": SPEC}))], []),
    ("search-space.empty", c(f"{SPACE}/_value"), [(c(f"{SPACE}/_value"), [])], []),
    (
        "search-space.mixed",
        c(f"{SPACE}/_value"),
        [(c(f"{SPACE}/_value"), [1, "a"])],
        [(c(f"{SPACE}/_value"), [1, 1.5])],
    ),
    ("search-space.boolean", c(f"{SPACE}/_value/0"), [(c(f"{SPACE}/_value"), [True, 2])], []),
    (
        "search-space.step",
        c(f"{SPACE}/_value/2"),
        [(c(SPACE), {"_type": "quniform", "_value": [0, 1, 0]})],
        [],
    ),
    ("search-space.name", c("search_space/centres"), [(c("search_space/centres"), SPEC)], []),
    (
        "search-space.unused",
        c("search_space/${other}"),
        [(c("search_space/${other}"), SPEC)],
        [(c("search_space/${other}"), SPEC), (c("platform_config/cmd/1"), "${other}")],
    ),
    ("search-space.member", c(f"{SPACE}/note"), [(c(f"{SPACE}/note"), "x")], []),
    (
        "tuner.unknown",
        c("yml_config/tuner/name"),
        [(c("yml_config/tuner/name"), "SMAC")],
        [(c("yml_config/tuner/name"), "gp")],
    ),
    (
        "tuner.argument",
        c("yml_config/tuner/class_args/population_size"),
        [(c("yml_config/tuner/class_args/population_size"), 32)],
        [
            (c("yml_config/tuner/name"), "EvolutionTuner"),
            (c("yml_config/tuner/class_args/population_size"), 32),
        ],
    ),
    (
        "tuner.mode",
        c("yml_config/tuner"),
        [(c("yml_config/tuner/class_args"), {})],
        [(c("yml_config/tuner"), {"name": "Random"})],
    ),
    (
        "assessor.unknown",
        c("yml_config/assessor/name"),
        [(c("yml_config/assessor/name"), "Medianstop")],
        [(c("yml_config/assessor/name"), "PAIAssessor")],
    ),
    (
        "optimize-mode",
        c("yml_config/tuner/class_args/optimize_mode"),
        [(c("yml_config/tuner/class_args/optimize_mode"), "max")],
        [],
    ),
    (
        "optimize-mode",
        c("yml_config/assessor/class_args/optimize_mode"),
        [(c("yml_config/assessor/class_args/optimize_mode"), "minimize")],
        [(c("yml_config/assessor/class_args/optimize_mode"), "maximize")],
    ),
    (
        "moving-avg.type",
        c("yml_config/assessor/class_args/moving_avg"),
        [(c("yml_config/assessor/class_args/moving_avg"), True)],
        [(c("yml_config/assessor/class_args/moving_avg"), "true")],
    ),
    (
        "run.number",
        c("yml_config/trial_concurrency"),
        [(c("yml_config/trial_concurrency"), 0)],
        [(c("yml_config/trial_concurrency"), 1)],
    ),
    (
        "run.log-level",
        c("yml_config/log_level"),
        [(c("yml_config/log_level"), "loud")],
        [(c("yml_config/log_level"), "DEBUG")],
    ),
    (
        "schedule",
        c("schedule_config/start_time"),
        [(c("schedule_config/start_time"), "24:00")],
        [(c("schedule_config/start_time"), "23:59")],
    ),
    (
        "schedule",
        c("schedule_config/day"),
        [(c("schedule_config/day"), "monday")],
        [(c("schedule_config/day"), "weekend")],
    ),
    (
        "engine-member",
        c("yml_config/assessor/class_args/patience"),
        [(c("yml_config/assessor/class_args/patience"), 10)],
        [],
    ),
    (
        "engine-member",
        c("dlc_config/end_point"),
        [(c("dlc_config"), {**DLC, "end_point": "x"})],
        [(c("dlc_config"), {**DLC, "endpoint": "x"})],
    ),
    (
        "metric.pattern",
        c("metric_config/metric_dict/(a"),
        [*STDOUT, (c("metric_config/metric_dict/(a"), 1)],
        [],
    ),
    ("k8s", c("k8s_config"), [(c("k8s_config/nni_container_cpu_limit"), "1")], [(c("k8s_config"), {})]),
]
BODIES = [
    ("body.too-large", "", b" " * (1024 * 1024) + b"{}"),
    ("body.compressed", "", b"\x1f\x8b\x08\x00rest"),
    ("body.compressed", "", b"H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTVWqBQAUCSNtEwAAAA=="),
    ("body.base64-twice", "", b"ZXlKaElqb3hmUT09"),
    ("json.encoding", "", b'{"experiment": "\xff"}'),
    ("json.syntax", "", b"hello"),
    ("json.syntax", "", b""),
    ("json.syntax", "", b"{'experiment': {}}"),
    ("json.duplicate-key", "/experiment", b'{"experiment": {}, "experiment": {}}'),
    ("json.duplicate-key", "/data/a", b'{"specversion": "1.0", "data": {"a": 1, "a": 2}}'),
    ("json.duplicate-key", "/data_base64", b'{"specversion": "1.0", "data_base64": "eyJhIjoxLCJhIjoyfQ=="}'),
    ("json.non-finite", "", b'{"experiment": NaN}'),
    ("json.non-finite", "", b'{"experiment": -Infinity}'),
    ("json.non-finite", "", b'{"experiment": 1e999}'),
    ("json.number", "", b'{"experiment": ' + b"9" * 5000 + b"}"),
    ("json.depth", "", b"[" * 10_000),
    ("json.depth", "", b'{"experiment":' * 10_000),
    ("json.surrogate", "", b'{"experiment": {"Name": "\\ud800"}}'),
    ("document.shape", "", b"[]"),
    ("document.shape", "", b"{}"),
    ("document.shape", "", b'{"hello": "world"}'),
    ("cloudevent.specversion", "/specversion", b'{"specversion": "0.3", "data": {}}'),
    ("cloudevent.data", "", b'{"specversion": "1.0"}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data_base64": "?"}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data_base64": 5}'),
    ("cloudevent.data", "/data_base64", b'{"specversion": "1.0", "data": {}, "data_base64": "e30="}'),
    ("cloudevent.data", "", b'{"specversion": "1.0", "data": null}'),
    ("document.shape", "", b'"{}"'),
    ("document.shape", "/data", b'{"specversion": "1.0", "data": "text"}'),
    ("document.shape", "/data", b'{"specversion": "1.0", "data": {"specversion": "1.0", "data": {}}}'),
    ("document.shape", "/data_base64", b'{"specversion": "1.0", "data_base64": "e30="}'),
    ("json.syntax", "/data_base64", b'{"specversion": "1.0", "data_base64": "eA=="}'),
]


def test_the_base_is_clean():
    """The request that the cases start from breaks nothing."""
    assert judge(BASE) == ([], [])


@pytest.mark.parametrize(("rule", "pointer", "broken", "near"), REJECTING)
def test_rejecting_rules(rule, pointer, broken, near):
    """The broken request is rejected by that rule at that place; the near miss is not."""
    assert (rule, pointer) in judge(changed(*broken))[0]
    assert rule not in [found for found, _ in judge(changed(*near))[0]]


@pytest.mark.parametrize(("rule", "pointer", "broken", "near"), WARNING)
def test_warning_rules(rule, pointer, broken, near):
    """The doubtful request is warned of at that place, and accepted; the near miss is not warned of."""
    rejected, warned = judge(changed(*broken))
    assert (rejected, (rule, pointer) in warned) == ([], True), warned
    assert rule not in [found for found, _ in judge(changed(*near))[1]]


@pytest.mark.parametrize(("rule", "pointer", "body"), BODIES)
def test_bodies_that_hold_no_request(rule, pointer, body):
    """Each way in which a body can fail to hold a request has its name."""
    assert judge(body)[0] == [(rule, pointer)]


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
        assert judge(document)[0] == [("required", pointer)]


def test_pointers_are_escaped():
    """Names with ~ and / are escaped as RFC 6901 says."""
    rejected, _ = judge(changed((c("search_space/${a~1b~0c}"), {"_type": "?", "_value": []})))
    assert rejected == [("search-space.type", c("search_space/${a~1b~0c}/_type"))]


def test_all_findings_at_once_in_the_documents_order():
    """Structure and cross-field rules are reported together, in the order of the document."""
    rejected, _ = judge(
        changed(
            ("/experiment/Nmae", 1),
            (c("search_space/${centres}/_type"), "?"),
            (c("metric_config/final_mode"), "x"),
            (c("platform_config/cmd"), DELETE),
        )
    )
    assert [rule for rule, _ in rejected] == ["required", "enum", "search-space.type", "unknown-member"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cmds", "cmd"), ("CMD", "cmd"), ("Name", "name"), ("quite-other", None)],
)
def test_a_misspelt_member_is_recognised(name, hint):
    """An unknown member that is nearly a known one is told which."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c(f"platform_config/{name}"), "x"))).encode())
    (violation,) = caught.value.violations
    assert violation.message == ("unknown member" + (f"; did you mean {hint}?" if hint else ""))


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        (c("trial_concurrency"), "unknown member here; it belongs into yml_config"),
        ("/Name", "unknown member here; it belongs into experiment"),
        (c("accessKeyID"), "unknown member here; it belongs into oss_config"),
        (c("access_id"), "unknown member"),
    ],
)
def test_a_misplaced_member_is_told_its_place(pointer, message):
    """An unknown member that is known in one of the objects beside it is told in which, if it is only one."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((pointer, "x"))).encode())
    assert [v.message for v in caught.value.violations] == [message]


def test_shapes_are_named():
    """A body of another shape is told which; JSON within a text is told to stand there itself."""
    for body, words in [
        (b"[]", "not an array"),
        (b'"{}"', "not text; what stands in this text must stand here"),
    ]:
        with pytest.raises(RequestRejected, match=words):
            parse_request(body)


def test_findings_in_encoded_data_say_where():
    """Where the data is encoded no pointer leads into it, so the message says where."""
    data = base64.b64encode(json.dumps(changed(("/experiment/Name", 5))).encode()).decode()
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({"specversion": "1.0", "data_base64": data}).encode())
    (violation,) = caught.value.violations
    assert violation.pointer == "/data_base64"
    assert violation.message == "in the decoded data at /experiment/Name: must be text, not a number"


@pytest.mark.parametrize("pattern", ["(?i)acc=([0-9.]+)", "(?im:a)(b)", "准确率=([0-9.]+)", "(?P<value>.*)"])
def test_patterns_with_a_group_are_fine(pattern):
    """A pattern with a group is not warned of, whatever its flags and script."""
    assert judge(changed(*STDOUT, (c("metric_config/metric_dict"), {pattern: 1}))) == ([], [])


def test_an_unfit_text_is_quoted_in_part():
    """Of a text that is none of the allowed ones no more than 60 characters are shown."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(changed((c("metric_config/final_mode"), "x" * 500))).encode())
    assert caught.value.violations[0].message.count("x") == 60


def test_long_patterns_hide_no_others():
    """A pattern too long to judge is warned of, and takes no room from those that follow."""
    weights = {"(a)" * 1000: 1, "[": 1}
    warned = judge(changed(*STDOUT, (c("metric_config/metric_dict"), weights)))[1]
    assert [rule for rule, _ in warned] == ["metric.pattern"] * 2


@pytest.mark.parametrize("pattern", ["[[a]", "a(?i)", "(a{1,2}{3,4})", "\\", "(" * 2000])
def test_any_pattern_is_judged(pattern):
    """What is no regular expression, or one that Python warns of, is a finding at most."""
    assert judge(changed(*STDOUT, (c("metric_config/metric_dict"), {pattern: 1})))[0] == []


def rules_named(source):
    """Every text in `source` that has the form of a rule and stands where calls take one."""
    callers = {"rejection", "warning", "Violation", "violation", "_rejected", "JsonError"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", None))
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            for text in texts if called in callers else []:
                if isinstance(text, str) and re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text):
                    yield text


def test_every_rule_is_in_the_readme():
    """The README lists each rule that the source names, and none that it does not; each is tested here."""
    folder = ROOT / "functions" / "hpoq" / "contract"
    sources = [*folder.glob("*.py"), ROOT / "functions" / "fcruntime" / "strictjson.py"]
    sources += [ROOT / "functions" / "hpoq" / "processing" / "intake.py"]
    listed = set(re.findall(r"^\| `([a-z0-9.-]+)` \|", (folder / "README.md").read_text(), re.MULTILINE))
    named = {rule for source in sources for rule in rules_named(source.read_text())}
    tested = {case[0] for case in (*REJECTING, *WARNING, *BODIES)} | {"message-id"}
    assert listed == named
    assert listed == tested
