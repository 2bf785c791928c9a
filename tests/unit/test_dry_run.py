"""A dry run is checked and answered, creates nothing, and leaves its key free."""

import json

import pytest

from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.contract.request import compute_fingerprint, parse_request
from hpoq.testing import smq_event, smq_stream_event
from support.deployment import QUEUE
from support.request import make_document
from support.world import World

KEY = derive_key(PRODUCER, "k")


@pytest.fixture
def world():
    with World() as world:
        yield world
        assert world.broken() == []


def dry(key="k", **members):
    """Return the text of a dry run."""
    return json.dumps({**make_document(key, **members), "dryRun": True})


def send(world, message_id, body, **settings):
    (row,) = world.deliver(smq_event(message_id, body), **settings)
    return row["outcome"]


def test_a_dry_run_is_answered_and_creates_nothing(world):
    """The accepted event has the key that the request would have, and its warnings; there is no record."""
    assert send(world, "M1", dry(Description=None)) == "accepted"
    (event,) = world.events
    assert (event["type"], event["subject"]) == ("com.hpoq.experiment.accepted.v1", KEY)
    assert event["data"]["idempotencyKey"] == KEY
    assert event["data"]["producerKey"] == "k"
    assert [warning["rule"] for warning in event["data"]["warnings"]] == ["null"]
    assert not world.creates
    assert world.store.get(KEY) is None


def test_the_key_stays_free(world):
    """The request itself is created afterwards, also if it was changed since its dry run."""
    send(world, "M1", dry())
    assert send(world, "M2", json.dumps(make_document("k", Name="changed"))) == "created"
    assert world.event_types == ["accepted", "created"]


def test_each_dry_run_is_answered(world):
    """Every message has an event of its own; a message that is delivered again has the same one."""
    for message in ("M1", "M2", "M2"):
        assert send(world, message, dry()) == "accepted"
    first, second, third = (event["id"] for event in world.events)
    assert first != second == third


def test_a_dry_run_of_a_used_key_is_answered(world):
    """A dry run neither changes the record of its key nor is a duplicate of it."""
    send(world, "M1", json.dumps(make_document("k")))
    before = world.store.get(KEY)
    assert send(world, "M2", dry(Name="other")) == "accepted"
    assert world.store.get(KEY) == before


def test_an_invalid_dry_run_is_rejected(world):
    """A dry run that breaks the contract is rejected like any other request, and its key stays free."""
    assert send(world, "M1", dry(Name=7)) == "rejected"
    assert send(world, "M2", json.dumps(make_document("k"))) == "created"


def test_an_answer_that_fails_is_tried_again(world):
    """A dry run whose event cannot be published comes back, in both policies."""
    world.cloud.faults.add(service="smq", operation="PublishMessage", kind="status", status=503, times=None)
    assert send(world, "M1", dry()) == "retry"
    assert send(world, "M1", dry(), HPOQ_BATCH_POLICY="requeue") == "retry"
    ((message_id, body),) = world.waiting(QUEUE)
    world.cloud.faults.clear()
    assert send(world, message_id, body) == "accepted"
    assert send(world, "M1", dry()) == "accepted"
    assert len({event["id"] for event in world.events}) == 1


def test_a_dry_run_beside_its_request(world):
    """In one event, the dry run is accepted and the request created, whichever comes first."""
    rows = world.deliver(smq_stream_event({"M1": dry(), "M2": json.dumps(make_document("k")), "M3": dry()}))
    assert [row["outcome"] for row in rows] == ["accepted", "created", "accepted"]


@pytest.mark.parametrize("value", [False, None])
def test_a_request_that_is_not_a_dry_run_is_created(world, value):
    assert send(world, "M1", json.dumps({**make_document("k"), "dryRun": value})) == "created"


@pytest.mark.parametrize("value", ["true", 1, []])
def test_only_a_boolean_chooses(world, value):
    """A value that may be a mistake rejects the request: neither a dry run nor an experiment is assumed."""
    assert send(world, "M1", json.dumps({**make_document("k"), "dryRun": value})) == "rejected"
    assert world.events[0]["data"]["error"]["violations"][0]["pointer"] == "/dryRun"


def test_a_bare_body_cannot_be_a_dry_run(world):
    """`dryRun` is a member of the wrapped form, so nothing is created from a body that has it beside its members."""
    body = json.dumps({**make_document()["experiment"], "dryRun": True})
    assert send(world, "M1", body) == "rejected"


def test_the_fingerprint_is_that_of_the_request():
    """`dryRun` is no part of the experiment."""
    one, two = (parse_request(body.encode()).document for body in (dry(), json.dumps(make_document("k"))))
    assert compute_fingerprint(one) == compute_fingerprint(two)
