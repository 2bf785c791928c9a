"""Every fault at every call of watch and stop messages: each experiment has exactly one result (I7).

The faults and slow calls are those of `test_faults`. What can be lost here is a watch message, and what can be
duplicated is a chain of them: both show in the number of results, and in what is left in the queues.
"""

import json

import pytest
from test_faults import FAULTS, SLOW

from hpoq.function import EventFailed
from hpoq.testing import smq_event, smq_stream_event
from support.budget import sample_by_default
from support.deployment import CONTEXT, DEAD_LETTER_QUEUE, QUEUE
from support.request import make_document, request
from support.world import CallTimes, WatchedWorld

STOP = json.dumps({"stop": {"idempotencyKey": "k"}})
GUARDED = json.dumps({**make_document("k"), "guard": {"maxHours": 0.01}})
CALLS = {
    "GetHpoExperiment": "paiautoml",
    "ListHpoTrials": "paiautoml",
    "StopHpoExperiment": "paiautoml",
    "PublishMessage": "smq",
    "SendMessage": "smq",
}


@pytest.fixture
def world():
    with WatchedWorld(seed=1) as running:
        running.settings |= {"HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE, "HPOQ_WATCH_MIN_SECONDS": "20"}
        yield running


class Following:
    """Deliveries of a request, and of whatever follows from it, until nothing is under way any more."""

    def __init__(self, world, **settings):
        self.world = world
        self.settings = settings
        self.queues = [world.cloud.queues.get(QUEUE), world.watch_queue]
        self.pending = []
        self.rounds = 0

    def deliver(self, event):
        """Deliver an event now; it comes again until it is acknowledged."""
        try:
            report = self.world.function(**self.settings).handle(event, CONTEXT)
        except EventFailed as exc:
            report = exc.report.as_json()
            self.pending.append(event)
        self.world.history.add_report(report)

    def run(self):
        """Deliver until nothing is left."""
        while self.pending or any(queue.messages for queue in self.queues) or self.world.cloud.late:
            self.rounds += 1
            assert self.rounds < 120, "it never comes to an end"
            again, self.pending = self.pending, []
            for event in again:
                self.deliver(event)
            for queue in self.queues:
                taken = queue.receive(16)
                for message in taken:
                    queue.delete(message.receipt_handle)
                if taken:
                    self.deliver(smq_stream_event({message.message_id: message.body for message in taken}))
            self.world.later(30 if self.rounds < 12 else 900)
        return self

    def check(self, stopped_by=None):
        """One experiment, one result, and nothing left anywhere."""
        world = self.world
        world.history.watched = True
        assert world.broken(finished=True) == []
        assert len(world.cloud.experiments) == 1
        assert len({data["experimentId"] for data in world.results}) == 1
        assert {data.get("stoppedBy") for data in world.results} == {stopped_by}
        assert world.cloud.queues.get(DEAD_LETTER_QUEUE).messages == []


def begin(world, body, **settings):
    """Deliver a request smoothly, whose experiment does not end by itself; return the deliveries that follow."""
    following = Following(world, **settings)
    following.deliver(smq_event("M1", body))
    (made,) = world.cloud.experiments
    made.fail("RUNNING")
    return following


def add_fault(world, operation, fault, times):
    world.cloud.faults.add(
        service=CALLS[operation], operation=operation, when=fault[1], times=times, **FAULTS[fault]
    )


@pytest.mark.one_of("operation")
@pytest.mark.parametrize("operation", ["GetHpoExperiment", "ListHpoTrials", "PublishMessage", "SendMessage"])
@pytest.mark.parametrize("fault", sample_by_default(FAULTS, 0), ids="-".join)
def test_every_fault_while_an_experiment_is_followed(world, operation, fault):
    """Whatever breaks, from the created event on: one result, with the service's status."""
    add_fault(world, operation, fault, 4)
    following = Following(world)
    following.deliver(smq_event("M1", request("k")))
    following.run().check()
    assert {data["status"] for data in world.results} == {"FINISHED"}


@pytest.mark.one_of("operation")
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("fault", sample_by_default(FAULTS, 1), ids="-".join)
def test_every_fault_while_a_guard_stops(world, operation, fault):
    """The guard stops its experiment whatever breaks, and the result says so."""
    following = begin(world, GUARDED)
    add_fault(world, operation, fault, 2)
    following.run().check("guard")


@pytest.mark.one_of("operation", "policy")
@pytest.mark.parametrize(
    ("operation", "policy"), [("GetHpoExperiment", "raise"), ("StopHpoExperiment", "requeue")]
)
@pytest.mark.parametrize("fault", sample_by_default(FAULTS, 2), ids="-".join)
def test_every_fault_of_a_stop(world, operation, fault, policy):
    """A stop is answered whatever breaks, and the result says that a request stopped the experiment."""
    following = begin(world, request("k"), HPOQ_BATCH_POLICY=policy)
    add_fault(world, operation, fault, 4)
    following.deliver(smq_event("S1", STOP))
    following.run().check("request")
    assert "stopping" in world.event_types


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("slow", SLOW)
def test_every_slow_call(world, operation, slow):
    """Wherever a call spends its time: one result."""
    following = begin(world, GUARDED)
    left = [SLOW[slow]] * 2
    world.call_times = lambda called: left.pop() if left and called == operation else CallTimes()
    following.run().check("guard")
