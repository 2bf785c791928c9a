"""Processes killed at every effect on the outside, and at pairs of them: one experiment, one outcome, nothing lost.

Each scenario is one event of several messages, which run concurrently; a stop may follow. If experiments are
followed, deliveries of watch messages are killed as well. Points belong to messages, so that a point is the same one
in every run, and they are found by running, so that a new effect is covered the day it is written. A kill after an
effect leaves outside what a kill before the next one leaves; reads leave nothing.
"""

import json
import shutil
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from instances import Instances

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.contract.identity import MOST_TAGS, derive_message_key
from hpoq.processing.envelope import seal
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from hpoqctl.deadletters import recover_envelopes
from support.budget import BUDGET, CI_BUDGET, FULL_BUDGET, sample
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, WATCH_QUEUE, create_resources, tablestore_url
from support.request import request

CREATE = "CreateHpoExperiment"


PLAIN = ("M1", request())
KEYED = ("M2", request("k"))
SENT_AGAIN = ("M3", request("k"))
CONFLICT = ("M4", request("k", Name="another"))
TAGGED = ("M5", request(Tag=[{"Key": f"k{n}", "Value": "v"} for n in range(MOST_TAGS)]))
INVALID = ("M6", json.dumps({"experiment": {"Nmae": "x"}}))
GUARDED = ("M7", json.dumps({**json.loads(request("g")), "guard": {"maxHours": 0.01}}))
STOP = ("S1", json.dumps({"stop": {"idempotencyKey": "k"}}))

THROTTLED = {"kind": "status", "status": 400, "code": "Throttling.User", "when": "before"}
ANSWER_LOST = {"kind": "reset", "when": "after"}
NOT_ACTED = {"kind": "status", "status": 503, "when": "before"}
REFUSED = {"kind": "status", "status": 400, "code": "INVALID_INPUT_PARAMS", "when": "before"}
FOLLOWED = {"HPOQ_WATCH_QUEUE": WATCH_QUEUE, "HPOQ_WATCH_MIN_SECONDS": "20"}
DEAD_LETTERS = {"HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE, "HPOQ_MAX_ATTEMPTS": "1"}


@dataclass(frozen=True)
class Scenario:
    """An event, and how every create goes until `failing` deliveries have ended.

    `failing` is None for a fault that lasts until nothing is left to be delivered; dead letters are redriven then.
    `outcome` is that of every message of `messages`, except one that conflicts or is invalid. If `is_endless` no
    experiment ends by itself, or not before `ends_after` deliveries; `stop` is delivered once the others have ended.
    """

    messages: tuple[tuple[str, str], ...]
    fault: dict | None = None
    failing: int | None = 1
    outcome: str = "created"
    settings: dict = field(default_factory=dict)
    is_endless: bool = False
    ends_after: int | None = None
    stop: tuple[str, str] | None = None

    @property
    def is_followed(self):
        """Whether every experiment has a result in the end."""
        return "HPOQ_WATCH_QUEUE" in self.settings

    @property
    def event(self):
        """One event with all messages; one of them may be in it twice."""
        return b"[" + b",".join(smq_event(name, encode_body(body)) for name, body in self.messages) + b"]"

    @property
    def keys(self):
        """The key of each message by its id."""
        return {
            name: derive_message_key(json.loads(body).get("idempotencyKey"), name)
            for name, body in self.messages
        }


SCENARIOS = {
    "repeats in one event": Scenario((PLAIN, PLAIN, KEYED, SENT_AGAIN)),
    "answers lost": Scenario((KEYED, CONFLICT, TAGGED, INVALID), ANSWER_LOST),
    "throttled and sent back": Scenario(
        (PLAIN, PLAIN), THROTTLED, failing=2, settings={"HPOQ_BATCH_POLICY": "requeue"}
    ),
    "answers lost and sent back": Scenario(
        (TAGGED, KEYED, CONFLICT), ANSWER_LOST, settings={"HPOQ_BATCH_POLICY": "requeue"}
    ),
    "refused by the service": Scenario(
        (PLAIN, KEYED, SENT_AGAIN, INVALID), REFUSED, failing=None, outcome="rejected"
    ),
    "given up and redriven": Scenario(
        (PLAIN, KEYED, SENT_AGAIN), NOT_ACTED, failing=None, settings=DEAD_LETTERS
    ),
    "sent back, given up and redriven": Scenario(
        (TAGGED,),
        THROTTLED,
        failing=None,
        settings={"HPOQ_BATCH_POLICY": "requeue", "HPOQ_MAX_AGE_HOURS": "0.05", **DEAD_LETTERS},
    ),
    "followed to their ends": Scenario(
        (PLAIN, KEYED, SENT_AGAIN), settings=FOLLOWED, is_endless=True, ends_after=3
    ),
    "answer lost and followed": Scenario(
        (KEYED,), ANSWER_LOST, settings={"HPOQ_BATCH_POLICY": "requeue", **FOLLOWED}
    ),
    "stopped by a guard": Scenario((GUARDED,), settings=FOLLOWED, is_endless=True),
    "stopped by a message": Scenario((KEYED,), settings=FOLLOWED, is_endless=True, stop=STOP),
}
# Each with the delivery from which on pairs are killed: the one that gives up is the second.
OF_ONE_MESSAGE = {
    "answer lost": (Scenario((TAGGED,), ANSWER_LOST), 0),
    "given up and redriven": (Scenario((PLAIN,), NOT_ACTED, failing=None, settings=DEAD_LETTERS), 1),
    "stopped by a guard": (Scenario((GUARDED,), settings=FOLLOWED, is_endless=True), 1),
}


@pytest.fixture(scope="module")
def server():
    with alilocal.serve() as running:
        yield running


@pytest.fixture(scope="module")
def folder():
    """A folder in memory where there is one: what a killed process has written does not depend on the disk."""
    memory = Path("/dev/shm")
    made = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture
def store(request, folder):
    """Return a function that makes an empty store of the kind asked for and returns the settings that name it."""
    if request.param == "tablestore":
        server = request.getfixturevalue("server")

        def make():
            table = server.cloud.tables.create(f"t{uuid.uuid4().hex}", [("key", STRING)])
            return {"HPOQ_STORE": tablestore_url(server, table.name)}

        return make
    if request.param == "redis":
        url = request.getfixturevalue("redis_server")
        return lambda: {"HPOQ_STORE": f"{url}?prefix={uuid.uuid4()}:"}
    return lambda: {"HPOQ_STORE": f"sqlite:///{folder / uuid.uuid4().hex}.sqlite3"}


@pytest.fixture(scope="module")
def started():
    """The instances of this module. Their process imports the function once, for all tests."""
    made = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def instances(server, started):
    settings = {
        "HPOQ_CONCURRENCY": "4",
        "HPOQ_CALL_ATTEMPTS": "2",
        "HPOQ_REQUEUE_DELAY_SECONDS": "1",
        # With a short page no search finds by luck what it must find by reading on.
        "HPOQ_LIST_PAGE_SIZE": "1",
    }
    # Only a test has the environment without the machine's settings, with which the process begins.
    if not started or started[-1].process.poll() is not None:
        started.append(Instances(server, settings))
    return started[-1]


class Run:
    """One run of a scenario over an empty cloud and an empty store, in which some deliveries are killed."""

    def __init__(self, instances, scenario, store, deaths=None):
        self.instances = instances
        self.scenario = scenario
        self.deaths = deaths or {}
        self.reports = []
        self.points = []
        self.redriven = set()
        self.cloud = instances.server.cloud
        self.cloud.reset()
        self.settings = {**scenario.settings, **store()}
        create_resources(self.cloud)
        self.queue, self.dead, self.watch = (
            self.cloud.queues.get(name) for name in (QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE)
        )
        self.stop = scenario.stop
        self.cloud.behaviour.list_lag_seconds = 5
        if scenario.fault:
            self.cloud.faults.add(service="paiautoml", operation=CREATE, times=None, **scenario.fault)

    def finish(self):
        """Deliver until nothing is left in any queue, and check what is outside; return this run."""
        pending = self.scenario.event
        while pending := pending or self._receive() or self._redrive() or self._follow():
            assert len(self.points) < 40, "it never comes to an end"
            if self._deliver(pending):
                pending = None
            self._check_dead_letters()
            self.instances.later()
        self.check()
        return self

    def _deliver(self, event):
        """Return whether `event` was acknowledged."""
        die_at = self.deaths.get(len(self.points), 0)
        answer = self.instances.run(event, die_at, **self.settings)
        assert (answer is None) == bool(die_at), (self.deaths, "not reached")
        self.points.append(answer["points"] if answer else [])
        for made in self.cloud.experiments if self.scenario.is_endless else ():
            made.fail("RUNNING")
            if self.scenario.ends_after and len(self.reports) >= self.scenario.ends_after:
                made.failed_as = "FINISHED"
        if answer is None:
            return False
        self.reports.append(answer["report"])
        if len(self.reports) == self.scenario.failing:
            self.cloud.faults.clear()
        return answer["acknowledged"]

    def _follow(self):
        """Return the event of the watch messages, or of the stop if it is still to come."""
        if self.stop is not None:
            name, body = self.stop
            self.stop = None
            return smq_event(name, encode_body(body))
        while self.watch.messages:
            event = self._receive(self.watch)
            if event is not None:
                return event
            self.instances.later(20)
        return None

    def _receive(self, queue=None):
        queue = queue or self.queue
        taken = queue.receive(16)
        for message in taken:
            queue.delete(message.receipt_handle)
        return smq_stream_event({message.message_id: message.body for message in taken}) if taken else None

    def _redrive(self):
        """Send all dead letters again, as `hpoq dead redrive` does."""
        dead_letters = self.dead.receive(16)
        if not dead_letters:
            return None
        assert max(Counter(self._keys_of(dead_letters)).values()) <= 1 + len(self.deaths)
        if self.scenario.outcome == "created":
            self.cloud.faults.clear()
        for dead_letter in dead_letters:
            (envelope,) = recover_envelopes(dead_letter.body.encode(), None)
            self.queue.send(seal(replace(envelope, redriven=True)).decode())
            self.dead.delete(dead_letter.receipt_handle)
        self.redriven.update(self._keys_of(dead_letters))
        return self._receive()

    def _keys_of(self, dead_letters):
        envelopes = [recover_envelopes(dead_letter.body.encode(), None)[0] for dead_letter in dead_letters]
        return [self.scenario.keys[envelope.message_id] for envelope in envelopes]

    def _check_dead_letters(self):
        """A message whose failed event is out is in the dead-letter queue, or was taken out of it."""
        history = self.instances.history()
        failed = {event["data"]["idempotencyKey"] for event in history.events if kind_of(event) == "failed"}
        assert failed <= self.redriven | set(self._keys_of(self.dead.messages)), self.deaths

    def check(self):
        """One experiment for each key that can have one, one event for each message, and nothing lost."""
        history = self.instances.history()
        for report in self.reports:
            history.add_report(report)
        history.finished = True
        history.redriven = self.redriven
        history.watched = self.scenario.is_followed
        assert history.broken() == [], self.deaths
        wanted = {key: {self.scenario.outcome} for key in self.scenario.keys.values()}
        if INVALID in self.scenario.messages:
            wanted[self.scenario.keys[INVALID[0]]] = {"rejected"}
        created = sorted(key for key, kinds in wanted.items() if kinds == {"created"})
        if self.scenario.is_followed:
            wanted = {key: kinds | {"finished"} for key, kinds in wanted.items()}
        if self.scenario.stop is not None:
            wanted[derive_message_key(None, self.scenario.stop[0])] = {"stopping"}
        if self.scenario.is_endless and not self.scenario.ends_after:
            stopped = {
                event["data"].get("stoppedBy") for event in history.events if kind_of(event) == "finished"
            }
            assert stopped == {"request" if self.scenario.stop else "guard"}, self.deaths
        assert sorted(key for key, _ in history.experiments) == created, self.deaths
        conflicts, found = set(), {}
        for event in history.events:
            if event["data"].get("error", {}).get("code") == "IdempotencyConflict":
                conflicts.add((event["data"]["messageId"], event["id"]))
            elif not (kind_of(event) == "failed" and event["data"]["idempotencyKey"] in self.redriven):
                found.setdefault(event["data"]["idempotencyKey"], set()).add(kind_of(event))
        assert found == wanted, self.deaths
        assert [name for name, _ in conflicts] == [CONFLICT[0]] * (CONFLICT in self.scenario.messages)
        again = self.instances.run(self.scenario.event, **self.settings)
        assert {row["outcome"] for row in again["report"]["messages"]} == {"duplicate"}, self.deaths


def kind_of(event):
    return event["type"].split(".")[-2]


def places_of(points):
    """Return where to kill: before each effect of each message, and after its last one."""
    last = {message_id: number for message_id, number, _ in points}
    return [
        (message_id, number)
        for message_id, number, name in points
        if number == last[message_id] or name.startswith("before")
    ]


def kill_everywhere(instances, scenario, store):
    """Kill each delivery of the scenario at its places, or at those of the budget; return how many there are."""
    deliveries = Run(instances, scenario, store).finish().points
    deaths = [{number: place} for number, points in enumerate(deliveries) for place in places_of(points)]
    for death in sample(deaths):
        Run(instances, scenario, store, death).finish()
    return len(deaths)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_killed_at_every_point(instances, store, scenario):
    """Wherever one delivery dies, each key ends with one outcome, and no message is missing."""
    assert kill_everywhere(instances, SCENARIOS[scenario], store) >= 10


@pytest.mark.one_of("scenario", budget=CI_BUDGET)
@pytest.mark.parametrize("scenario", ["repeats in one event", "answers lost and sent back"])
@pytest.mark.parametrize("store", ["redis", "tablestore"], indirect=True)
def test_killed_at_every_point_with_another_store(instances, store, scenario):
    """A kill at any point does no harm, wherever the records are kept."""
    assert kill_everywhere(instances, SCENARIOS[scenario], store) >= 10


@pytest.mark.parametrize("scenario", OF_ONE_MESSAGE)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_killed_at_every_pair_of_points(instances, store, scenario):
    """A second kill, of the instance that continues after the first, does no harm at any point."""
    scenario, begin = OF_ONE_MESSAGE[scenario]
    pairs = 0
    for number, points in list(enumerate(Run(instances, scenario, store).finish().points))[begin:]:
        for first in sample(places_of(points), number):
            successor = Run(instances, scenario, store, {number: first}).finish().points[number + 1]
            for second in sample(places_of(successor), pairs):
                Run(instances, scenario, store, {number: first, number + 1: second}).finish()
                pairs += 1
    assert pairs >= (20 if BUDGET >= FULL_BUDGET else 2)
