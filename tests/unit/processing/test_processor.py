"""What each message leaves in the report, the log and the store, whatever happens to it."""

import json
from dataclasses import replace

import pytest
import structlog

from hpoq.contract import rules
from hpoq.contract.finding import rejection
from hpoq.errors import Denied, StoreUnavailable
from hpoq.testing import MemoryStore, smq_event
from support.request import REQUEST, make_document, request
from support.world import World

EVENT = smq_event("M1", REQUEST)


@pytest.fixture
def world():
    with World() as running:
        yield running


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as captured:
        yield captured


def named(lines, event):
    """Return the log lines of `event`."""
    return [line for line in lines if line["event"] == event]


def test_a_store_that_does_not_answer_is_reported_as_that(world, lines):
    """It is no defect: the message comes back, with what the store said."""

    class Down(MemoryStore):
        def insert(self, record):
            raise StoreUnavailable("no answer")

    world.store = Down()
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "StoreUnavailable")
    assert [line["error"] for line in named(lines, "store.failed")] == ["no answer"]
    assert not named(lines, "message.defect")


def test_a_store_that_refuses_every_call_needs_an_operator(world, lines):
    """Only a person can give the function the permission that it lacks."""

    class Refusing(MemoryStore):
        def insert(self, record):
            raise StoreUnavailable("refused") from Denied("no rights", service="redis", operation="command")

    world.store = Refusing()
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "StoreUnavailable")
    assert [line["code"] for line in named(lines, "operator.needed")] == ["Denied"]


def test_a_defect_in_reading_is_logged_once(world, lines, monkeypatch):
    def divide(experiment):
        return 1 // 0

    monkeypatch.setattr(rules, "check_experiment", divide)
    (row,) = world.deliver(EVENT)
    error = row["error"]
    assert (row["outcome"], error["code"], error["retryable"]) == ("retry", "InternalError", True)
    (line,) = named(lines, "message.defect")
    assert line["reason"].startswith("ZeroDivisionError in divide")


def test_an_event_of_hpoq_in_its_own_queue_is_acknowledged_without_an_answer(world, lines):
    """The answer would be another event in the queue. An operator has to undo the subscription."""
    world.deliver(EVENT)
    event = json.dumps(world.events[0])
    (row,) = world.deliver(smq_event("M2", event))
    assert row["outcome"] == "duplicate"
    assert [line["code"] for line in named(lines, "operator.needed")] == [row["error"]["code"]]
    assert world.event_types == ["created"]


def test_warnings_are_logged(world, lines):
    """The operator sees the likely mistakes of all producers."""
    world.deliver(smq_event("M1", request(Description=None)))
    (line,) = named(lines, "request.warning")
    assert (line["rule"], line["pointer"]) == ("null", "/experiment/Description")


def test_an_adopted_experiment_is_logged(world, lines):
    """It shows that an answer was lost or an owner died; a plain create leaves no such line."""
    world.deliver(EVENT)
    assert not named(lines, "experiment.adopted")
    world.fail_create("reset", when="after")
    (row,) = world.deliver(smq_event("M2", REQUEST))
    assert [line["experiment_id"] for line in named(lines, "experiment.adopted")] == [row["experimentId"]]


def test_a_row_names_an_experiment_whose_event_is_not_out(world):
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=3)
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["experimentId"]) == ("retry", world.cloud.experiments[0].experiment_id)


def test_only_a_message_that_comes_back_is_a_warning(world, lines):
    """Its line says why; that of a message which ends well has no error."""
    world.fail_create("status", status=403, code="Forbidden.RAM")
    for _ in range(3):
        world.deliver(EVENT)
    levels = {line["event"]: line["log_level"] for line in lines if line["event"].startswith("message.")}
    assert levels == {"message.retry": "warning", "message.created": "info", "message.duplicate": "info"}
    errors = {line["event"]: line.get("error_code") for line in lines if line["event"].startswith("message.")}
    assert errors == {"message.retry": "Forbidden.RAM", "message.created": None, "message.duplicate": None}
    assert "CreateHpoExperiment" in named(lines, "message.retry")[0]["error"]
    experiment_id = world.cloud.experiments[0].experiment_id
    assert named(lines, "message.created")[0]["experiment_id"] == experiment_id


@pytest.mark.parametrize(
    ("settings", "messages"),
    [({"HPOQ_WATCH_QUEUE": "hpo-watch"}, ["M1"]), ({}, ["M1", "M2"])],
    ids=["new", "sent again, but not followed"],
)
def test_no_result_is_read_of_an_experiment_that_can_have_none(world, settings, messages):
    """The answer needs the message's own record alone."""
    read = set()

    class Counting(MemoryStore):
        def get(self, key):
            read.add(key)
            return super().get(key)

    world.store, world.settings = Counting(), settings
    for message_id in messages:
        (row,) = world.deliver(smq_event(message_id, request("k")))
    assert row["experimentId"]
    assert read <= {row["key"]}


def test_an_accepted_event_counts_no_attempt(world):
    """A dry run tries nothing."""
    world.deliver(smq_event("M1", json.dumps({**make_document("k"), "dryRun": True})))
    assert world.events[0]["data"]["attempts"] == 0


def test_a_dry_run_whose_answer_fails_says_why(world):
    world.cloud.faults.add("status", service="smq", operation="PublishMessage", status=503, times=None)
    (row,) = world.deliver(smq_event("M1", json.dumps({**make_document("k"), "dryRun": True})))
    assert (row["outcome"], row["error"]["service"]["httpStatus"]) == ("retry", 503)


def test_an_invalid_request_under_a_used_key_is_refused_for_what_is_wrong_with_it(world):
    """It is another request than the one that the key is known for, so its record says nothing about it."""
    world.deliver(smq_event("M1", request("k")))
    (row,) = world.deliver(smq_event("M2", request("k", Name=7)))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "InvalidRequest")


def test_a_message_that_an_earlier_version_accepted_keeps_its_experiment(world, monkeypatch):
    """Its record may be of the first format, without the body, and the contract now refuses the request."""
    world.deliver(smq_event("M1", request("k")))
    record = world.store.get(world.events[0]["data"]["idempotencyKey"])
    world.overwrite(replace(record, body=None))
    finding = rejection("/experiment", "stricter", "not any more")
    monkeypatch.setattr(rules, "check_experiment", lambda experiment: iter([finding]))
    (row,) = world.deliver(smq_event("M1", request("k")))
    assert (row["outcome"], row["experimentId"]) == ("duplicate", record.experiment_id)


@pytest.mark.parametrize("marker", ["both", "tag", "description"])
def test_a_claim_says_all_that_its_create_needs(world, marker):
    """A message costs three writes: its claim, its result, and that its event is published."""
    writes = []

    class Counting(MemoryStore):
        def replace(self, record, expected):
            writes.append(record)
            return super().replace(record, expected)

    world.store = Counting()
    world.deliver(EVENT, HPOQ_MARKER=marker)
    ended, published = writes
    assert (ended.published_at, published.published_at) == (None, world.clock.now())
