"""Processes killed at every effect on the outside, and at every pair of them: one experiment, one event.

The points are found by running, so that a new effect is covered the day it is written.
"""

import itertools
import json
import uuid
from pathlib import Path

import pytest
from instances import Instances

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.testing import smq_stream_event
from hpoq.testing.events import encode_body

REQUEST = (Path(__file__).parents[2] / "events" / "requests" / "minimal.json").read_text()
INVALID = json.dumps({"experiment": {"Nmae": "x"}})
EVENT = smq_stream_event({"M1": encode_body(REQUEST), "M2": encode_body(INVALID)})
THROTTLED = {"kind": "status", "status": 400, "code": "Throttling.User", "when": "before", "times": 3}
SCENARIOS = {
    "smooth": None,
    "the create's answer is lost": {"kind": "reset", "when": "after", "times": 1},
    "the create is throttled": THROTTLED,
}


@pytest.fixture(scope="module")
def server():
    with alilocal.serve() as running:
        yield running


@pytest.fixture
def store(request, tmp_path):
    """A store of the kind asked for, empty each time: the settings that name it."""
    if request.param == "tablestore":
        server = request.getfixturevalue("server")

        def make():
            table = server.cloud.tables.create(f"t{uuid.uuid4().hex}", [("key", STRING)])
            host = f"127.0.0.1:{server.port}"
            return {"HPOQ_STORE": f"tablestore://{host}/{table.name}?instance=local&scheme=http"}

        return make
    if request.param == "redis":
        url = request.getfixturevalue("redis_server")
        return lambda: {"HPOQ_STORE": f"{url}?prefix={uuid.uuid4()}:"}
    return lambda: {"HPOQ_STORE": f"sqlite:///{tmp_path / uuid.uuid4().hex}.sqlite3"}


@pytest.fixture
def instances(server):
    made = Instances(server, {"HPOQ_CONCURRENCY": "1", "HPOQ_REQUEUE_DELAY_SECONDS": "0"})
    yield made
    made.close()


def begin(server, scenario):
    """A fresh cloud in which the first create goes as the scenario says."""
    server.cloud.reset()
    server.cloud.queues.create("hpo-requests")
    server.cloud.topics.create("hpo-results")
    if SCENARIOS[scenario]:
        server.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", **SCENARIOS[scenario])


def deliver(instances, settings, deaths):
    """Deliver until acknowledged, and whatever is sent back too, dying at the points in `deaths` on the way."""
    queue = instances.server.cloud.queues.get("hpo-requests")
    reports, pending, deaths = [], [EVENT], list(deaths)
    for _ in range(20):
        if not pending:
            taken = queue.receive(16)
            if not taken:
                return reports
            pending = [smq_stream_event({message.message_id: message.body for message in taken})]
            for message in taken:
                queue.delete(message.receipt_handle)
        answer = instances.run(pending[0], deaths.pop(0) if deaths else 0, **settings)
        if answer is not None:
            reports.append(answer)
        if answer is not None and answer["acknowledged"]:
            pending.pop(0)
        instances.later()
    raise AssertionError("never came to an end")


def judge(instances, reports, name):
    """One experiment for the request, one event id for each message, and nothing lost."""
    history = instances.history()
    for report in reports:
        history.add_report(report["report"])
    assert history.broken() == [], name
    assert len(history.experiments) == 1, name
    ids = {event["data"]["messageId"]: set() for event in history.events}
    for event in history.events:
        ids[event["data"]["messageId"]].add(event["id"])
    assert {message: len(found) for message, found in ids.items()} == {"M1": 1, "M2": 1}, name


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("policy", ["raise", "requeue"])
@pytest.mark.parametrize("store", ["sqlite", "redis", "tablestore"], indirect=True)
def test_killed_at_every_point(instances, store, policy, scenario):
    """Wherever the first instance dies, redelivery ends with one experiment and one event for each message."""
    policy_settings = {"HPOQ_BATCH_POLICY": policy}
    begin(instances.server, scenario)
    points = instances.run(EVENT, **policy_settings, **store())["points"]
    assert len(points) >= 18, points
    for number, point in enumerate(points, 1):
        begin(instances.server, scenario)
        settings = {**policy_settings, **store()}
        reports = deliver(instances, settings, [number])
        judge(instances, reports, point)
        assert instances.run(EVENT, **settings)["report"]["summary"]["duplicate"] == 2, point


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_killed_at_every_pair_of_points(instances, store):
    """Nor does it matter where the second instance dies that takes up what the first left."""
    scenario = "the create's answer is lost"
    begin(instances.server, scenario)
    count = len(instances.run(EVENT, **store())["points"])
    tried = 0
    for first, second in itertools.product(range(1, count + 1), repeat=2):
        begin(instances.server, scenario)
        reports = deliver(instances, store(), [first, second])
        judge(instances, reports, (first, second))
        tried += 1
    assert tried == count * count
