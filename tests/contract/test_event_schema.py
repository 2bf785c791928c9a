"""Every event that the function makes is one by its schema."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from requestschema import CONTRACT

from hpoq.contract.event_schema import OUTCOMES, event_example
from hpoq.contract.events import EventData, EventError, event_type, make_event
from hpoq.errors import Violation

SCHEMAS = {outcome: json.loads((CONTRACT / f"{outcome}.schema.json").read_text()) for outcome in OUTCOMES}
VALIDATORS = {
    outcome: Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for outcome, schema in SCHEMAS.items()
}
NAME = st.text(min_size=1, max_size=20)
LONG = st.text(max_size=8) | st.text(min_size=1, max_size=8).map(lambda text: text * 2000)
ERRORS = st.builds(
    EventError,
    LONG,
    LONG,
    st.booleans(),
    st.lists(st.builds(Violation, LONG, NAME, LONG), max_size=80).map(tuple),
)


@st.composite
def events(draw, outcome):
    """Any event of `outcome` that the function can make."""
    created = outcome == "created"
    data = st.builds(
        EventData,
        key=NAME,
        message_id=st.none() | LONG,
        request_id=st.text(max_size=20),
        attempts=st.integers(0, 10**6),
        timings=st.dictionaries(NAME, st.floats(0, 1e9), max_size=3),
        experiment_id=NAME if created else st.none(),
        name=st.none() | LONG,
        workspace_id=st.none() | LONG,
        error=st.none() if created else ERRORS,
    )
    traces = st.from_regex(r"\A00-[1-9a-f]{32}-[1-9a-f]{16}-[0-9a-f]{2}\Z")
    return make_event(
        outcome,
        event_id=draw(st.uuids().map(str)),
        source=draw(st.sampled_from(["acs:fc:cn-shanghai:1:functions/hpoq", "/hpoq"])),
        time=draw(st.floats(0, 4e9)),
        data=draw(data),
        traceparent=draw(st.none() | traces),
    )


def closed(schema):
    """`schema` without room for members that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **inner} if schema.get("type") == "object" else inner


def broken(event):
    """`event` without each of its members, with each of another type, and of another event's type."""
    for way in [(), ("data",), *([("data", "error")] if "error" in event["data"] else [])]:
        for name in event["data"]["error"] if len(way) == 2 else event["data"] if way else event:
            for value in ("absent", None, [7], 7.5 if name == "timings" else {"x": "y"}):
                changed = copy.deepcopy(event)
                holder = changed
                for token in way:
                    holder = holder[token]
                holder.pop(name) if value == "absent" else holder.update({name: value})
                yield (*way, name), value, changed


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_schemas_are_some(outcome):
    """Each schema is one of JSON Schema 2020-12, and takes its own example, made by the function's own code."""
    Draft202012Validator.check_schema(SCHEMAS[outcome])
    assert SCHEMAS[outcome]["examples"] == [event_example(outcome)]
    VALIDATORS[outcome].validate(event_example(outcome))


@pytest.mark.parametrize("outcome", OUTCOMES)
@settings(max_examples=60)
@given(data=st.data())
def test_every_event_is_described(outcome, data):
    """Whatever the function makes is taken, and has no member that the schema does not name."""
    event = data.draw(events(outcome))
    VALIDATORS[outcome].validate(event)
    Draft202012Validator(closed(SCHEMAS[outcome])).validate(event)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_no_event_is_refused(outcome):
    """An event that lacks a required member, or has one of another type, is refused."""
    optional = {("data", name) for name in ("messageId", "name", "workspaceId")}
    for way, value, event in broken(event_example(outcome)):
        expected = value == "absent" and way in optional
        assert VALIDATORS[outcome].is_valid(event) == expected, (way, value)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_types_tell_events_apart(outcome):
    """An event of one type is none of another, and one of an unknown version is none at all."""
    event = event_example(outcome)
    for other in OUTCOMES:
        assert VALIDATORS[other].is_valid(event) == (other == outcome)
        assert VALIDATORS[outcome].is_valid({**event, "type": event_type(other)}) == (other == outcome)
    assert not VALIDATORS[outcome].is_valid({**event, "type": event["type"].replace("v1", "v2")})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_consumers_may_meet_new_members(outcome):
    """A member that is added later breaks no consumer that validates."""
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
    """An attribute of another form than the function writes is refused."""
    assert not VALIDATORS["created"].is_valid({**event_example("created"), name: value})
