"""What the events of the function say about the request, and how a consumer chooses among them."""

import json

import pytest

from alilocal.smq.topic import SubscriptionAttributes
from hpoq.testing import smq_event
from hpoqctl.queueclient import queue_endpoint
from support.deployment import TOPIC
from support.request import make_document
from support.world import World

WARNED = {"Description": None}
"""A member that is null, which is a warning."""


@pytest.fixture
def world():
    with World() as world:
        yield world


def send(world, message_id, document, **settings):
    """Deliver one message, and return the outcome of its row."""
    (row,) = world.deliver(smq_event(message_id, json.dumps(document)), **settings)
    return row["outcome"]


def shown(event):
    """Return the producer's key and the rules of the warnings in an event."""
    data = event["data"]
    return data.get("producerKey"), [warning["rule"] for warning in data.get("warnings", ())]


def test_a_created_event_names_the_producers_key_and_warnings(world):
    """`producerKey` is the key as written, and `warnings` are what `hpoq check` shows."""
    assert send(world, "M1", make_document(" Key 1", **WARNED)) == "created"
    assert shown(world.events[0]) == (" Key 1", ["null", "idempotency-key.blank"])
    assert world.events[0]["data"]["warnings"][0]["pointer"] == "/experiment/Description"


def test_an_event_without_key_and_warnings_has_neither_member(world):
    assert send(world, "M1", make_document()) == "created"
    assert not {"producerKey", "warnings"} & world.events[0]["data"].keys()


def test_a_rejected_event_names_them_too(world):
    """A request that breaks the contract is recognized by the key that its producer wrote, though it is not used."""
    document = make_document("k", **WARNED)
    document["experiment"]["Name"] = 7
    assert send(world, "M1", {**document, "traceparent": "x"}) == "rejected"
    assert shown(world.events[0]) == ("k", ["traceparent"])


def test_a_conflict_names_the_key_and_the_warnings_of_the_refused_request(world):
    send(world, "M1", make_document("k"))
    assert send(world, "M2", make_document("k", Name="other", **WARNED)) == "rejected"
    assert shown(world.events[1]) == ("k", ["null"])


def test_a_failed_event_names_them_too(world):
    world.fail_create("status", status=500, times=None)
    assert send(world, "M1", make_document("k", **WARNED), HPOQ_MAX_ATTEMPTS="1") == "retry"
    world.later(200)
    assert send(world, "M1", make_document("k", **WARNED), HPOQ_MAX_ATTEMPTS="1") == "failed"
    assert shown(world.events[0]) == ("k", ["null"])


def test_a_stored_event_is_repeated_unchanged(world):
    """A second message of the same request, written with other warnings, gets the stored event to the byte."""
    send(world, "M1", make_document("k", **WARNED))
    assert send(world, "M2", make_document("k")) == "duplicate"
    first, second = (message.body for message in world.cloud.topics.get(TOPIC).published)
    assert first == second


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_secret_in_the_key_is_masked(world, is_valid):
    """A credential of the request that a producer also wrote into the key does not reach the event."""
    secret = "canary-secret-4711"
    document = make_document(f"k-{secret}")
    config = document["experiment"]["HpoExperimentConfiguration"]
    config["platform_config"]["cmd"] = [f"python train.py --password {secret}"]
    if not is_valid:
        document["experiment"]["Name"] = 7
    send(world, "M1", document)
    (message,) = world.cloud.topics.get(TOPIC).published
    assert secret not in message.body
    assert world.events[0]["data"]["producerKey"].startswith("k-")


def test_a_subscription_chooses_events_by_their_outcome(world):
    """The outcome is the tag of the message, so a filter tag selects failures alone."""
    queue = world.cloud.queues.create("failures")
    endpoint = queue_endpoint(world.cloud.account_id, world.cloud.region, "failures")
    world.cloud.topics.subscribe(TOPIC, "failures", SubscriptionAttributes(endpoint, "rejected"))
    send(world, "M1", make_document("k"))
    send(world, "M2", make_document("k", Name="other"))
    assert [message.tag for message in world.cloud.topics.get(TOPIC).published] == ["created", "rejected"]
    (received,) = queue.messages
    assert "com.hpoq.experiment.rejected.v1" in received.body


def test_an_event_with_a_thousand_warnings_is_published(world):
    """However many warnings a request has, its event fits into a message and says how many are left out."""
    document = make_document("k")
    space = {f"${{p{number}}}": {"_type": "uniform", "_value": [1, 1]} for number in range(900)}
    document["experiment"]["HpoExperimentConfiguration"]["search_space"] = space
    assert send(world, "M1", document) == "created"
    warnings = world.events[0]["data"]["warnings"]
    assert len(warnings) > 100
    assert warnings[-1]["rule"] == "violations.truncated"
