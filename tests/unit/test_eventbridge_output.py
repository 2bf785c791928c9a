"""Events on a bus of EventBridge: the same outbox as for a topic."""

import json

import pytest

from hpoq.errors import SettingsError
from hpoq.testing import smq_event
from support.deployment import make_function, published_events
from support.request import REQUEST, make_document
from support.world import World

OUTPUT = {"HPOQ_OUTPUT": "eventbridge://results"}


@pytest.fixture
def world():
    with World(settings=OUTPUT) as world:
        world.cloud.buses.create("results")
        yield world


def put(world):
    """Return the events on the bus, oldest first."""
    return world.cloud.buses["results"].events


def outcome(world, message_id="M1", body=REQUEST):
    (row,) = world.deliver(smq_event(message_id, body))
    return row["outcome"], row["error"] and row["error"]["code"]


def test_events_reach_the_bus(world):
    """An event on the bus is the event that a topic would get, and rules can match its type."""
    queue = world.cloud.queues.create("created")
    world.cloud.buses.rule("r", {"type": ["com.hpoq.experiment.created.v1"]}, bus="results", queue="created")
    assert outcome(world, body=json.dumps(make_document("k"))) == ("created", None)
    assert outcome(world, "M2", "[]")[0] == "rejected"
    created, rejected = put(world)
    assert [event["type"].split(".")[-2] for event in (created, rejected)] == ["created", "rejected"]
    assert created["data"]["producerKey"] == "k"
    assert [json.loads(message.body)["id"] for message in queue.messages] == [created["id"]]
    assert published_events(world.cloud) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_event_that_failed_is_put_again(world, when):
    """The stored event is put at the next delivery, under the same id, and nothing is created again."""
    world.cloud.faults.add(
        service="eventbridge", operation="PutEvents", kind="status", status=500, when=when, times=None
    )
    assert outcome(world) == ("retry", "InternalError")
    world.cloud.faults.clear()
    before = put(world)[:]
    assert outcome(world) == ("created", None)
    assert bool(before) == (when == "after")
    assert len({event["id"] for event in put(world)}) == 1
    assert len({json.dumps(event["data"]) for event in put(world)}) == 1
    assert len(world.creates) == 1


def test_an_event_that_the_bus_refuses_is_not_published(world):
    """The call succeeds and its event fails: the message comes back until the event is accepted."""
    world.settings = {**OUTPUT, "HPOQ_EVENT_SOURCE": "s" * 129}
    assert outcome(world) == ("retry", "EventSourceInvalid")
    assert put(world) == []


def test_a_missing_bus(world):
    """Nothing is lost while the bus does not exist."""
    world.settings = {"HPOQ_OUTPUT": "eventbridge://absent"}
    assert outcome(world) == ("retry", "EventBusNotExist")
    world.cloud.buses.create("absent")
    assert outcome(world) == ("created", None)


def test_without_account_and_endpoint(world):
    """The cold start fails with what to set."""
    with pytest.raises(SettingsError, match="HPOQ_ACCOUNT_ID or HPOQ_EVENTBRIDGE_ENDPOINT"):
        make_function(world.cloud, **OUTPUT, HPOQ_ACCOUNT_ID="", HPOQ_EVENTBRIDGE_ENDPOINT="").prepare(None)


def test_the_default_endpoint(world):
    """The default endpoint is that of the account and the region."""
    function = make_function(world.cloud, **OUTPUT, HPOQ_EVENTBRIDGE_ENDPOINT="")
    function.prepare(None)
    function.handle(smq_event("M1", REQUEST), None)
    (entry,) = [entry for entry in world.cloud.requests if entry.operation == "PutEvents"]
    assert entry.status == 200


def test_a_bus_must_be_named(world):
    with pytest.raises(SettingsError, match="eventbridge://BUS"):
        make_function(world.cloud, HPOQ_OUTPUT="eventbridge://").prepare(None)
