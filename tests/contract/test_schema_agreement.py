"""The request schema and the models agree, except for the rules that the schema lists."""

import copy
import itertools
import json
from collections import defaultdict
from functools import partial

import pytest
from brokenrequests import MINIMAL, cases, config
from fromschema import JSON, Maker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from requestschema import (
    REQUESTS,
    SCHEMA,
    VALIDATOR,
    at,
    disagreement,
    leniently_read,
    nodes,
    put,
    reaching,
    violations,
    ways,
)

from hpoq.contract.document import WRAPPER_MEMBERS
from hpoq.contract.search_space import ARITY
from hpoqctl.schema.beyond import KEYWORD
from support.budget import examples, sample

MAKER = Maker(VALIDATOR)


PARTS = [
    *(("HpoExperimentConfig", (), name) for name in SCHEMA["$defs"]["HpoExperimentConfig"]["properties"]),
    *(("YmlConfig", ("yml_config",), name) for name in SCHEMA["$defs"]["YmlConfig"]["properties"]),
    *(
        ("AssessorArgs", ("yml_config", "assessor", "class_args"), name)
        for name in SCHEMA["$defs"]["AssessorArgs"]["properties"]
    ),
]


@st.composite
def documents(draw):
    """Generate valid documents. Parts are generated separately too, because whole documents are mostly small."""
    if draw(st.booleans()):
        return draw(MAKER.documents())
    definition, way, name = draw(
        st.sampled_from(PARTS) | st.just(("HpoExperimentConfig", (), "search_space"))
    )
    made = draw(MAKER.of(SCHEMA["$defs"][definition]["properties"][name]))
    return config((*way, name), made)


VALUES = [
    None,
    True,
    0,
    -1,
    1.0,
    1.5,
    2**31 - 1,
    2**31,
    -(2**31) - 1,
    "",
    "x",
    "cmd1",
    "SELECT 1",
    "a\n",
    "hpoq-key",
    f"[hpoq-key: {'0' * 36}]",
    "{}",
    [],
    [None],
    ["x"],
    [1, 2],
    {},
    {"x": None},
    {"_type": "uniform", "_value": [1]},
]


def changed(document, way, change):
    """Return a copy of `document` with `change` applied to the object or array at `way`."""
    copied = copy.deepcopy(document)
    change(at(copied, way))
    return copied


def renamed(holder, name, new):
    holder[new] = holder.pop(name)


def mutations(document, places):
    """Yield functions that return `document` with one change: a value dropped, renamed, retyped, added or repeated.

    The changes are at `places`. Most are not called: only a sample of them is made.
    """
    for way in places:
        value = at(document, way)
        if isinstance(value, dict):
            yield partial(changed, document, way, lambda holder: holder.update(unexpected=1))
        if isinstance(value, list):
            yield partial(changed, document, way, lambda holder: holder.extend(holder[:1]))
            yield partial(changed, document, way, lambda holder: holder.extend(holder[:1] * 20))
        if not way:
            yield from (partial(copy.deepcopy, other) for other in VALUES)
            continue
        *above, last = way
        yield from (partial(put, document, way, other) for other in VALUES)
        yield partial(changed, document, above, lambda holder, last=last: holder.pop(last))
        if isinstance(last, str):
            for new in (last.swapcase(), f"{last}s"):
                rename = partial(renamed, name=last, new=new)
                yield partial(changed, document, above, rename)


FULL = MINIMAL
for _way, _value in {
    ("platform_config", "resume"): "0",
    ("metric_config", "source_list_final_mode"): "best",
    ("params_config", "params_src_dst_filepath"): ["a, b"],
    ("oss_config", "accessKeySecret"): "EXAMPLE",
    ("ts_config", "region_id"): "r",
    ("paiflow_config", "workspace_id"): "1",
    ("k8s_config", "nni_container_cpu_limit"): "1",
    ("monitor_config", "url"): "https://example.com",
    ("schedule_config", "day"): "everyday",
    ("output_config", "model_path"): "oss://b/",
    ("yml_config", "assessor", "class_args"): {
        "proportion": 0.5,
        "start_step": 1,
        "moving_avg": True,
        "earlystop": False,
    },
    ("search_space",): {
        "c": {"_type": "choice", "_value": [1, "a", True]},
        "n": {"_type": "choice", "_value": [{"_name": "m", "x": {"_type": "uniform", "_value": [0, 1]}}]},
        **{kind: {"_type": kind, "_value": [1, 2, 1][: len(names)]} for kind, names in ARITY.items()},
    },
}.items():
    FULL = config(_way, _value, FULL)
for _name, _value in {
    "Description": "d",
    "Accessibility": "PUBLIC",
    "Tag": [{"Key": "team", "Value": "ranking"}],
}.items():
    FULL = put(FULL, ("experiment", _name), _value)
FULL = {**FULL, "schemaVersion": "1", "idempotencyKey": "k", "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
WRITTEN = {**{name: json.loads(path.read_text()) for name, path in REQUESTS.items()}, "full": FULL}


def places_of(name):
    """Return the places to change in a request. One that several requests have is changed in one of them."""
    having = defaultdict(list)
    for other, document in WRITTEN.items():
        for way in ways(document):
            having[way].append(other)
    # Neighbours are changed in different requests.
    return [way for number, (way, names) in enumerate(having.items()) if names[number % len(names)] == name]


def test_the_schema_is_valid():
    """The schema is valid JSON Schema 2020-12, and accepts every example and every request of these tests."""
    Draft202012Validator.check_schema(SCHEMA)
    for name, document in WRITTEN.items():
        assert VALIDATOR.is_valid(document), name
        assert not violations(json.dumps(document).encode()), name


@pytest.mark.parametrize("name", WRITTEN)
def test_a_changed_request_gets_one_verdict(name):
    """Schema and models agree after a value at any place of a request was dropped, renamed, added or retyped."""
    for make in sample(mutations(WRITTEN[name], places_of(name))):
        document = make()
        assert disagreement(document) is None, document


SOURCES = [
    "cmd1",
    " CMD2 , worker",
    "cmd1,master",
    "cmd1 , ps-0 ",
    "cmd1,",
    "cmd1,a b",
    "select 1",
    "\u2003select 1",
    "FROM\nt",
    "from/x",
    "oss://b/x",
    "/x",
    "x",
    "",
    "selectß/",
]


@pytest.mark.parametrize(
    "kind", [*SCHEMA["$defs"]["MetricConfig"]["properties"]["metric_type"]["enum"], "x", None]
)
def test_metric_sources_get_one_verdict(kind):
    """Schema and models agree about any source for any type of metric."""
    for source in SOURCES:
        document = config(("metric_config", "metric_type"), kind)
        document = config(("metric_config", "metric_source"), ["cmd1", source], document)
        assert disagreement(document) is None, source
        document = config(("metric_config", "metric_source"), [source], document)
        assert disagreement(document) is None, source


SECTIONS = {
    section: schema["anyOf"][0]["$ref"].removeprefix("#/$defs/")
    for section, schema in SCHEMA["$defs"]["HpoExperimentConfig"]["properties"].items()
    if "anyOf" in schema and section != "search_space"
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_member_gets_one_verdict(section):
    """Schema and models agree about all members of the configuration, including those of no example."""
    for name in SCHEMA["$defs"][SECTIONS[section]]["properties"]:
        for value in VALUES:
            document = config((section,), {name: value})
            assert disagreement(document) is None, document


@pytest.mark.parametrize(
    "key", ["", "k", "k" * 255, "k" * 256, "😀" * 255, "😀" * 256, "k\n", "\x85", "\u2028", "\u00ad", " "]
)
def test_keys_get_one_verdict(key):
    """Schema and models agree about keys of any length and script."""
    assert disagreement({**MINIMAL, "idempotencyKey": key}) is None


def test_cloud_events_get_one_verdict():
    """Schema and models agree about CloudEvents with any data."""
    members = {
        "specversion": ["1.0", "0.3", None, 1.0],
        "data": ["absent", None, {}, [], "x", MINIMAL, MINIMAL["experiment"]],
        "data_base64": ["absent", None, {}, "", "x", "!", "eyJOYW1lIjogIngifQ=="],
    }
    for values in itertools.product(*members.values()):
        event = {name: one for name, one in zip(members, values, strict=True) if one != "absent"}
        assert disagreement(event) is None, event


@pytest.mark.parametrize("name", WRAPPER_MEMBERS)
def test_members_of_a_request_in_a_cloud_event_get_one_verdict(name):
    """Schema and models agree about a member of a request beside the data of a CloudEvent."""
    for value in VALUES:
        assert disagreement({"specversion": "1.0", "data": MINIMAL, name: value}) is None, value


def test_bad_examples_are_refused():
    """The schema rejects the requests in invalid/."""
    for path in REQUESTS["minimal"].parent.glob("invalid/*.json"):
        assert not VALIDATOR.is_valid(json.loads(path.read_text())), path


@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(documents())
def test_documents_made_from_the_schema_are_accepted(document):
    """The models accept every document that is generated from the schema, except for the listed rules."""
    assert disagreement(document) is None


@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(documents().filter(lambda document: isinstance(document, dict) and document), st.data())
def test_what_is_changed_at_random_gets_one_verdict(document, data):
    """Schema and models agree about generated documents after a random change."""
    way = data.draw(st.sampled_from([way for way in ways(document) if way]))
    *above, last = way
    change = data.draw(st.sampled_from(["replace", "drop", "rename"]))
    if change == "replace":
        document = put(document, way, data.draw(JSON | st.sampled_from(VALUES)))
    elif change == "drop" or not isinstance(last, str):
        document = changed(document, above, lambda holder: holder.pop(last))
    else:
        document = changed(
            document, above, lambda holder: renamed(holder, last, data.draw(st.text(max_size=9)))
        )
    assert disagreement(document) is None


def test_each_listed_rule_can_be_broken():
    """Each request breaks one rule, which the schema lists at its place; together they break all that it lists."""
    named = {(json.dumps(node), rule) for node in nodes(SCHEMA) for rule in node.get(KEYWORD, ())}
    shown = set()
    for rule, body in cases():
        document = leniently_read(body)
        assert VALIDATOR.is_valid(document), rule
        (violation,) = violations(body)
        assert violation.rule == rule
        reached = reaching(document, violation)
        assert reached, (rule, violation.pointer)
        shown |= {(json.dumps(schema), rule) for schema in reached}
    assert shown == named
