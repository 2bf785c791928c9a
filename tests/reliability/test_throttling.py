"""While the service throttles, messages wait for their turns or come back; `test_burst.py` shows whole bursts."""

import base64

from test_situations import EVENT, THROTTLED, calls, deliver_until_done, outcomes

from hpoq.function import EventFailed
from hpoq.testing import smq_stream_event
from support.deployment import CONTEXT, QUEUE
from support.request import request

EVERY = 15


class Instances:
    """Instances that live on, as in production, and consume the queue in batches; requests come under keys."""

    def __init__(self, world, count=1, **settings):
        self.world = world
        self.queue = world.cloud.queues.get(QUEUE)
        settings = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_MAX_ATTEMPTS": "2", **settings}
        self.functions = [world.function(**settings) for _ in range(count)]

    def send(self, count):
        for number in range(count):
            self.queue.send(base64.b64encode(request(f"k{number}").encode()).decode())

    def run_once(self, twice=0):
        """Give each instance a batch, and `twice` messages of it once more; return the rows of all reports."""
        rows = []
        for function in self.functions:
            # The event stream hides them for as long as the function runs.
            messages = [
                self.queue.change_visibility(one.receipt_handle, 900) for one in self.queue.receive(16)
            ]
            if not messages:
                continue
            bodies = {message.message_id: message.body for message in messages}
            event = smq_stream_event(bodies)
            try:
                report = function.handle(event, CONTEXT)
            except EventFailed as exc:
                report = exc.report.as_json()
            else:
                for message in messages:
                    self.queue.delete(message.receipt_handle)
                for again in list(bodies.items())[:twice]:
                    function.handle(smq_stream_event(dict([again])), CONTEXT)
            self.world.history.add_report(report)
            rows += report["messages"]
        return rows

    def drain(self, rounds):
        """Run until the queue is empty; return the number of rounds that took."""
        for number in range(rounds):
            if not self.queue.messages:
                return number
            self.run_once()
            self.world.later(EVERY)
        raise AssertionError(f"{len(self.queue.messages)} messages are left")


def codes(rows):
    return [row["error"]["code"] for row in rows if row["error"]]


def test_few_calls_are_made_for_what_is_held_back(world):
    """In an outage most of a batch is sent back without a call, and nothing loses an attempt."""
    world.cloud.faults.add(**THROTTLED)
    instances = Instances(world, HPOQ_CONCURRENCY="1", HPOQ_CALL_ATTEMPTS="2")
    instances.send(16)
    rows = instances.run_once()
    assert outcomes(rows) == ["retry"] * 16
    assert codes(rows).count("HeldBack") >= 8
    assert calls(world) <= 9
    world.cloud.faults.clear()
    instances.drain(40)
    assert {event["data"]["attempts"] for event in world.events} == {1}
    assert world.broken(finished=True) == []


def test_what_needs_no_call_is_not_held_back(world):
    """During a pause duplicates are acknowledged, events are published again, and other outcomes are not delayed."""
    instances = Instances(world, HPOQ_CONCURRENCY="1")
    instances.send(1)
    instances.run_once()
    world.cloud.faults.add(**THROTTLED)
    for number in (7, 0):
        instances.queue.send(base64.b64encode(request(f"k{number}").encode()).decode())
    instances.queue.send(base64.b64encode(b'{"experiment": {"Nmae": "x"}}').decode())
    made = calls(world)
    rows = instances.run_once()
    assert sorted(outcomes(rows)) == ["duplicate", "rejected", "retry"]
    assert calls(world) > made


def test_a_message_that_is_held_back_ends_by_its_age(world):
    """A message that is held back for too long fails with the last error of the service."""
    world.cloud.faults.add(**THROTTLED)
    row = deliver_until_done(world, EVENT, every=3600, times=80)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "Throttling.User")


def test_copies_of_messages_that_are_held_back_merge(world):
    """However long messages wait for their turns, a queue that delivers some of them twice does not fill."""
    world.cloud.faults.add(**THROTTLED)
    instances = Instances(world, HPOQ_CONCURRENCY="1", HPOQ_REQUEUE_DELAY_SECONDS="60")
    instances.send(12)
    most = 0
    for _ in range(60):
        instances.run_once(twice=2)
        world.later(60)
        most = max(most, len(instances.queue.messages))
    assert most <= 16
    world.cloud.faults.clear()
    instances.drain(400)
    assert len(world.cloud.experiments) == 12
    assert world.broken(finished=True) == []
