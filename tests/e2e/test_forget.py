"""`hpoq forget` removes from a record what a producer wrote, and nothing that prevents a second experiment."""

import base64
import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import alilocal
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.function import EventFailed
from hpoq.idempotency.record import encode
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.testing import FakeClock, smq_event
from hpoqctl.app import app
from hpoqctl.forget import strip_record
from support.deployment import CONTEXT, WATCH_QUEUE, create_resources, make_function, published_events
from support.request import REQUEST

CONTRACT = Path(__file__).parents[2] / "events/contract"
PERSON = "anna.schmidt"
KEY = derive_key(PRODUCER, PERSON)
TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
CLAIM = lifecycle.claim(Delivery(KEY, "f", "m", "b"), "owner", 1000.0, TERMS)
DONE = lifecycle.complete(CLAIM, "s1", "{}", 1010.0, TERMS)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def request_of(person, **changes):
    """Return a request in which every free text names a person."""
    document = json.loads(REQUEST)
    document["experiment"] |= {"Name": f"for {person}", "Description": person, **changes}
    return json.dumps(document | {"idempotencyKey": person, "traceparent": TRACE})


class World:
    """A local cloud with the function, and a store that the function and the command share."""

    def __init__(self, cloud, clock, url):
        self.cloud, self.clock, self.url = cloud, clock, url
        create_resources(cloud)
        self.function = make_function(cloud, clock=clock, HPOQ_STORE=url, HPOQ_WATCH_QUEUE=WATCH_QUEUE)

    def deliver(self, message_id, body, **options):
        return self.function.handle(smq_event(message_id, body, **options), CONTEXT)["messages"][0]["outcome"]

    def look(self):
        """Deliver the watch message, once it is due."""
        queue = self.cloud.queues.get(WATCH_QUEUE)
        while not (received := queue.receive(1)):
            self.clock.advance(10)
        (message,) = received
        queue.delete(message.receipt_handle)
        return self.deliver(message.message_id, base64.b64decode(message.body), queue=WATCH_QUEUE)

    def forget(self, *words, ends=0):
        way = words or ("--idempotency-key", PERSON)
        done = CliRunner().invoke(app, ["forget", *way, "--store", self.url, "--json"])
        assert done.exit_code == ends, (done.output, done.exception)
        return json.loads(done.stdout)

    @property
    def rows(self):
        return [text for _, text in open_store(self.url).scan()]


@pytest.fixture
def world(tmp_path):
    clock = FakeClock(time.time())
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        made = World(cloud, clock, f"sqlite:///{tmp_path}/records.sqlite3")
        yield made
        made.function.close()


def check_contract(event):
    outcome = event["type"].split(".")[-2]
    jsonschema.validate(event, json.loads((CONTRACT / f"{outcome}.schema.json").read_text()))


def test_a_finished_request_is_forgotten_and_stays_a_duplicate(world):
    """Nothing in the table names the person; the same request sent again creates nothing and gets its events."""
    assert world.deliver("M1", request_of(PERSON)) == "created"
    assert "still followed" in world.forget(ends=1)["reason"]
    world.clock.advance(86_400)
    assert world.look() == "finished"
    assert any(PERSON in row for row in world.rows)

    reported = world.forget()
    assert reported["forgotten"]
    assert "console of PAI" in " ".join(reported["explanation"])
    for trace in (PERSON, TRACE, "M1", "12345"):
        assert not any(f'"{trace}' in row or f" {trace}" in row for row in world.rows), trace
    before = published_events(world.cloud)
    assert world.deliver("M2", request_of(PERSON)) == "duplicate"
    assert len(world.cloud.experiments) == 1
    again = published_events(world.cloud)[len(before) :]
    assert [event["id"] for event in again] == [event["id"] for event in before]
    for event in again:
        check_contract(event)
        assert PERSON not in json.dumps(event)
    assert world.forget()["forgotten"]


def test_a_rejected_request_is_forgotten(world):
    """The violations quote the request, so they go; the code stays."""
    assert world.deliver("M1", request_of(PERSON, Accessibility=PERSON)) == "rejected"
    assert world.forget("--message-id", "M1")["forgotten"]
    assert not any(PERSON in row for row in world.rows)
    (row,) = world.rows
    event = json.loads(json.loads(row)["event"])
    check_contract(event)
    assert event["data"]["error"]["code"] == "InvalidRequest"


def test_a_refused_request_of_the_same_key_is_forgotten_with_it(world):
    """A conflict has a record of its own, which nothing names but the request itself."""
    assert world.deliver("M1", request_of(PERSON)) == "created"
    world.clock.advance(86_400)
    assert world.look() == "finished"
    assert world.deliver("M2", request_of(PERSON, Name=f"another of {PERSON}")) == "rejected"
    assert len(world.rows) == 3
    assert world.forget()["forgotten"]
    assert not any(PERSON in row for row in world.rows)
    assert world.deliver("M3", request_of(PERSON, Name=f"another of {PERSON}")) == "duplicate"
    assert len(world.cloud.experiments) == 1


def test_nothing_is_removed_before_the_refusal_of_another_request_is_published(world):
    """Its sender still waits for the event."""
    assert world.deliver("M1", request_of(PERSON)) == "created"
    world.clock.advance(86_400)
    assert world.look() == "finished"
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=9)
    with pytest.raises(EventFailed):
        world.deliver("M2", request_of(PERSON, Name="another"))
    before = world.rows
    assert "not published yet" in world.forget(ends=1)["reason"]
    assert world.rows == before


REFUSED = {
    "no record": (None, "has no record"),
    "held": (replace(CLAIM, lease_until=time.time() + 3600), "still being processed"),
    "in doubt": (CLAIM, "its experiment may exist"),
    "not published": (DONE, "not published yet"),
    "later version": (
        replace(lifecycle.mark_published(DONE, 1011.0), later='{"added":1}', expires_at=1e11),
        "later version",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_not_ended_is_left_as_it_is(case, tmp_path):
    """As long as a delivery needs the record, or somebody waits for its event, nothing is removed."""
    record, reason = REFUSED[case]
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    store = open_store(url)
    store.insert(replace(DONE, key=derive_key(PRODUCER, "another")))
    if record is not None:
        store.insert(record)
    done = CliRunner().invoke(app, ["forget", KEY, "--store", url])
    assert done.exit_code == 1
    assert reason in done.output.replace("\n", " ")
    assert store.get(KEY) == record
    store.close()


def test_a_delivery_at_the_same_time_wins(tmp_path, monkeypatch):
    """The record is written only if it is as it was read."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    store = open_store(url)
    record = lifecycle.mark_published(DONE, 1011.0)
    store.insert(replace(record, event="{}", expires_at=1e11))
    monkeypatch.setattr(SqliteStore, "replace", lambda *_: False)
    done = CliRunner().invoke(app, ["forget", KEY, "--store", url])
    assert (done.exit_code, "in the meantime" in done.output) == (1, True)
    store.close()


def test_what_decides_about_a_repeated_message_stays():
    """Only the members that a producer wrote are removed from a record."""
    full = replace(DONE, message_id="m", last_error="{}", published_at=1011.0)
    stripped = json.loads(encode(strip_record(full)))
    changed = {name for name, value in json.loads(encode(full)).items() if stripped[name] != value}
    assert changed == {"event", "message_id", "last_error", "owner"}
    assert strip_record(full).version != full.version


@pytest.mark.parametrize("words", [(), (KEY, "--message-id", "M1"), ("abc",)])
def test_exactly_one_key_is_given(words):
    assert CliRunner().invoke(app, ["forget", *words, "--store", "sqlite:///x"]).exit_code == 2
