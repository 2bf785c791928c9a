"""Every event that the function makes is valid under its schema."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from requestschema import CONTRACT

from hpoq.contract.events import EventData, EventError, event_type, make_event
from hpoq.errors import Violation
from hpoqctl.schema.events import OUTCOMES, event_example
from support.budget import examples

SCHEMAS = {outcome: json.loads((CONTRACT / f"{outcome}.schema.json").read_text()) for outcome in OUTCOMES}
VALIDATORS = {
    outcome: Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for outcome, schema in SCHEMAS.items()
}


def closed(schema):
    """Return `schema` with unknown members forbidden."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    # The names of hyperparameters are the producer's.
    if "properties" in schema and "hyperparameters" in schema["properties"]:
        inner["properties"]["hyperparameters"] = {"type": "object"}
    return {"additionalProperties": False, **inner} if schema.get("type") == "object" else inner


CLOSED = {outcome: Draft202012Validator(closed(schema)) for outcome, schema in SCHEMAS.items()}
NAME = st.text(min_size=1, max_size=20)
LONG = st.text(max_size=8) | st.text(min_size=1, max_size=8).map(lambda text: text * 2000)
VIOLATIONS = st.builds(Violation, LONG, NAME, LONG)
ERRORS = st.builds(EventError, LONG, LONG, st.booleans(), st.lists(VIOLATIONS, max_size=80).map(tuple))

TRIALS = st.fixed_dictionaries(
    {"trialId": NAME, "metric": st.floats(-1e9, 1e9)}, optional={"hyperparameters": st.just({"${x}": 1})}
)
TIMES = st.just("2026-11-25T10:26:40Z")
OWN = {
    "stopping": st.fixed_dictionaries({}, optional={"status": NAME}),
    "finished": st.fixed_dictionaries(
        {"status": NAME, "trials": st.dictionaries(NAME, st.integers(1, 9), max_size=3)},
        optional={
            "lastStatus": NAME,
            "bestTrial": TRIALS,
            "bestTrialByMode": st.fixed_dictionaries({"maximize": TRIALS, "minimize": TRIALS}),
            "startedAt": TIMES,
            "endedAt": TIMES,
            "stoppedBy": st.sampled_from(["guard", "request"]),
            "limit": st.sampled_from(["maxHours", "maxFailedTrials", "targetMetric"]),
        },
    ),
}


def events(outcome):
    """Return a strategy for any event of `outcome` that the function can make."""
    made, refused = outcome in ("created", "finished", "stopping"), outcome in ("rejected", "failed")
    data = st.builds(
        EventData,
        key=NAME,
        message_id=st.none() | LONG,
        request_id=st.text(max_size=20),
        attempts=st.integers(0, 10**6),
        timings=st.dictionaries(NAME, st.floats(0, 1e9), max_size=3),
        experiment_id=NAME if made else st.none(),
        name=st.none() | LONG,
        workspace_id=st.none() | LONG,
        error=ERRORS if refused else st.none(),
        own=OWN.get(outcome, st.none()),
        producer_key=st.none() | NAME,
        warnings=st.lists(VIOLATIONS, max_size=80).map(tuple),
    )
    traces = st.from_regex(r"\A00-[1-9a-f]{32}-[1-9a-f]{16}-[0-9a-f]{2}\Z")
    return st.builds(
        make_event,
        st.just(outcome),
        event_id=st.uuids().map(str),
        source=st.sampled_from(["acs:fc:cn-shanghai:1:functions/hpoq", "/hpoq"]),
        time=st.floats(0, 4e9),
        data=data,
        traceparent=st.none() | traces,
    )


EVENTS = {outcome: events(outcome) for outcome in OUTCOMES}


def broken(event):
    """Yield `event` without each of its members, with each of another type, and with another event type."""
    for way in [(), ("data",), *([("data", "error")] if "error" in event["data"] else [])]:
        for name in event["data"]["error"] if len(way) == 2 else event["data"] if way else event:
            for value in ("absent", None, [7], 7.5 if name in ("timings", "trials") else {"x": "y"}):
                changed = copy.deepcopy(event)
                holder = changed
                for token in way:
                    holder = holder[token]
                holder.pop(name) if value == "absent" else holder.update({name: value})
                yield (*way, name), value, changed


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_schema_is_valid_and_accepts_its_example(outcome):
    """Each schema is valid JSON Schema 2020-12 and accepts its example, which the function's code makes."""
    Draft202012Validator.check_schema(SCHEMAS[outcome])
    assert SCHEMAS[outcome]["examples"] == [event_example(outcome)]
    VALIDATORS[outcome].validate(event_example(outcome))


@pytest.mark.parametrize("outcome", OUTCOMES)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_every_event_is_described(outcome, data):
    """The schema accepts every event, and names all its members."""
    event = data.draw(EVENTS[outcome])
    VALIDATORS[outcome].validate(event)
    CLOSED[outcome].validate(event)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_broken_event_is_rejected(outcome):
    """An event without a required member, or with one of another type, is rejected."""
    names = (
        "producerKey",
        "messageId",
        "name",
        "workspaceId",
        "warnings",
        "bestTrial",
        "startedAt",
        "endedAt",
    )
    optional = {("data", name) for name in (*names, *(["status"] if outcome == "stopping" else []))}
    for way, value, event in broken(event_example(outcome)):
        expected = value == "absent" and way in optional
        assert VALIDATORS[outcome].is_valid(event) == expected, (way, value)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_types_distinguish_events(outcome):
    """The schema of one type rejects the events of other types and versions."""
    event = event_example(outcome)
    for other in OUTCOMES:
        assert VALIDATORS[other].is_valid(event) == (other == outcome)
        assert VALIDATORS[outcome].is_valid({**event, "type": event_type(other)}) == (other == outcome)
    assert not VALIDATORS[outcome].is_valid({**event, "type": event["type"].replace("v1", "v2")})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_consumers_may_meet_new_members(outcome):
    """The schemas accept unknown members, so that later versions can add some."""
    event = event_example(outcome)
    VALIDATORS[outcome].validate({**event, "more": 1, "data": {**event["data"], "more": 1}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ""),
        ("source", ""),
        ("specversion", "0.3"),
        ("time", "2026-11-25T09:46:40Z\n"),
        ("time", "yesterday"),
        ("traceparent", "00-1-1-01"),
    ],
)
def test_attributes_have_their_forms(name, value):
    """An attribute in another form than the function's is rejected."""
    assert not VALIDATORS["created"].is_valid({**event_example("created"), name: value})
