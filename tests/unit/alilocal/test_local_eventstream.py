"""Event streams: the events that they deliver, and the handling of failures."""

from __future__ import annotations

import base64
import json
import threading
from functools import partial

import pytest

import alilocal
from alilocal.core.http import ServiceError
from alilocal.core.retry import delay_after
from alilocal.eventbridge.functionrule import FunctionRule
from alilocal.eventstream import EventStream

BODY = '{"text":"käse"}'
CLOUD_EVENT = [
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "subject",
    "time",
    "aliyunaccountid",
    "aliyunpublishtime",
    "aliyunoriginalaccountid",
    "aliyuneventbusname",
    "aliyunregionid",
    "aliyunpublishaddr",
    "data",
]


@pytest.fixture
def queue(cloud):
    cloud.queues.create("dead")
    return cloud.queues.create("q", visibility_timeout=2)


class Function:
    """Records its events, and fails for the given number of calls."""

    def __init__(self, failures=0):
        self.failures = failures
        self.events = []

    def __call__(self, event):
        self.events.append(event)
        if len(self.events) <= self.failures:
            raise RuntimeError("told to fail")

    def messages(self):
        return [[item["data"]["messageId"] for item in json.loads(event)] for event in self.events]


def run(stream):
    steps = 0
    while stream.step():
        steps += 1
    return steps


def test_stream_event(cloud, queue):
    """The event is a list of compact CloudEvents in the documented order of members, with decoded bodies."""
    function = Function()
    message_id = queue.send(base64.b64encode(BODY.encode()))
    queue.send("not base64!")
    assert run(EventStream(cloud, queue="q", invoke=function)) == 1
    (event,) = function.events
    first, second = json.loads(event)
    assert event == json.dumps([first, second], ensure_ascii=False, separators=(",", ":")).encode()
    assert list(first) == CLOUD_EVENT
    assert first["type"] == "mns:Queue:SendMessage"
    assert first["datacontenttype"] == "application/json; charset=utf-8"
    assert first["subject"] == f"acs:mns:{cloud.region}:{cloud.account_id}:queues/q"
    assert first["data"] == {**first["data"], "messageId": message_id, "messageBody": BODY}
    assert list(first["data"]) == ["requestId", "messageId", "messageBody"]
    assert second["data"]["messageBody"] == "not base64!"
    assert first["id"] != message_id
    assert queue.messages == []


def test_event_mode(cloud, queue):
    """In the mode `event` the event is one object, whose id is the message id."""
    function = Function()
    ids = {queue.send("a"), queue.send("b")}
    assert run(EventStream(cloud, queue="q", invoke=function, mode="event", batch_size=10)) == 2
    events = [json.loads(event) for event in function.events]
    assert {event["id"] for event in events} == {event["data"]["messageId"] for event in events} == ids
    assert events[0]["datacontenttype"] == "application/json;charset=utf-8"


def test_raw_data_and_undecoded_bodies(cloud, queue):
    """RawData is the data alone; without decoding the body stays as it was sent."""
    function = Function()
    encoded = base64.b64encode(b"x").decode()
    queue.send(encoded)
    stream = EventStream(cloud, queue="q", invoke=function, event_schema="RawData", decode_base64=False)
    run(stream)
    ((item,),) = [json.loads(event) for event in function.events]
    assert list(item) == ["requestId", "messageId", "messageBody"]
    assert item["messageBody"] == encoded


def test_a_failed_batch_comes_again_as_it_was(cloud, queue):
    """A batch is retried after 10 to 20 seconds with new event ids and the same messages."""
    function = Function(failures=2)
    for body in "abc":
        queue.send(body)
    stream = EventStream(cloud, queue="q", invoke=function, batch_size=2)
    assert stream.step()
    assert not stream.step()
    cloud.clock.advance(9.9)
    assert not stream.step()
    for _ in range(2):
        cloud.clock.advance(20)
        assert stream.step()
    assert stream.step()
    first, second, third, last = function.messages()
    assert first == second == third != last
    assert len({json.loads(event)[0]["id"] for event in function.events}) == 4
    assert [delivery.attempt for delivery in stream.deliveries] == [1, 2, 3, 1]
    assert [delivery.succeeded for delivery in stream.deliveries] == [False, False, True, True]
    assert stream.deliveries[0].error == "RuntimeError"
    assert stream.idle
    assert queue.messages == []


def test_held_messages_stay_invisible(cloud, queue):
    """While a batch waits for its retry, no other receiver gets its messages."""
    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=Function(failures=1))
    stream.step()
    cloud.clock.advance(9)
    assert queue.receive(1) == []
    assert not stream.idle


def test_false_is_a_failure_and_none_is_not(cloud, queue):
    """A function fails by raising or by returning False."""
    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=lambda _: False)
    stream.step()
    assert stream.deliveries[0].succeeded is False
    assert stream.deliveries[0].error is None


def exhaust(cloud, stream):
    while stream.step():
        cloud.clock.advance(20)


def test_dead_letters_after_four_attempts(cloud, queue):
    """Back-off ends after three retries; each message becomes a dead letter with its event."""
    ids = [queue.send("a"), queue.send("b")]
    stream = EventStream(cloud, queue="q", invoke=Function(failures=99), dead_letter_queue="dead")
    exhaust(cloud, stream)
    assert len(stream.deliveries) == 4
    dead_letters = [json.loads(message.body) for message in cloud.queues["dead"].messages]
    assert [dead_letter["data"]["messageId"] for dead_letter in dead_letters] == ids
    assert queue.messages == []


def test_without_a_dead_letter_queue_messages_are_dropped(cloud, queue):
    """As documented, a failed message without a dead-letter queue is lost."""
    queue.send("a")
    exhaust(cloud, EventStream(cloud, queue="q", invoke=Function(failures=99)))
    assert queue.messages == []
    assert cloud.queues["dead"].messages == []


def test_a_dead_letter_that_cannot_be_written_is_not_lost(cloud, queue):
    """If the dead-letter queue does not exist, the message stays in its queue."""
    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=Function(failures=4), dead_letter_queue="dead")
    cloud.queues.delete("dead")
    for _ in range(4):
        stream.step()
        cloud.clock.advance(20)
    assert [message.state for message in queue.messages] == ["active"]
    assert stream.deliveries[-1].dead_letter_queue is None


def test_without_tolerance_the_stream_blocks(cloud, queue):
    """The stream takes no more messages until it is started again, and its messages stay in the queue."""
    function = Function(failures=4)
    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=function, tolerance=False)
    exhaust(cloud, stream)
    assert stream.blocked
    assert not stream.step()
    assert [message.state for message in queue.messages] == ["active"]
    stream.start()
    assert stream.wait_idle(60)
    stream.stop()
    assert not stream.blocked
    assert queue.messages == []


def test_exponential_decay():
    """The delays are 1, 2, 4 to 512 seconds, then always 512: 176 retries over a day."""
    delays = []
    while (delay := delay_after("EXPONENTIAL_DECAY_RETRY", len(delays) + 1, None)) is not None:
        delays.append(delay)
    assert delays[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512]
    assert len(delays) == 176
    assert 80_000 < sum(delays) < 90_000


def test_a_window_collects(cloud, queue):
    """A batch is delivered when it is full or its window is over, whichever is first."""
    function = Function()
    stream = EventStream(cloud, queue="q", invoke=function, batch_size=2, batch_window_seconds=10)
    queue.send("a")
    assert not stream.step()
    cloud.clock.advance(5)
    queue.send("b")
    assert stream.step()
    queue.send("c")
    assert not stream.step()
    assert not stream.idle
    cloud.clock.advance(10)
    assert stream.step()
    assert [len(messages) for messages in function.messages()] == [2, 1]


def test_threads_deliver_and_stop(cloud, queue):
    """A started stream delivers; a stopped one takes nothing more and releases what it holds."""
    function, before = Function(failures=1), set(threading.enumerate())
    stream = EventStream(cloud, queue="q", invoke=function, batch_size=1)
    stream.start()
    stream.start()
    queue.send("a")
    with cloud.changed:
        assert cloud.changed.wait_for(lambda: stream.deliveries, 60)
    stream.stop()
    assert [message.state for message in queue.messages] == ["active"]
    stream.start()
    assert stream.wait_idle(60)
    stream.stop()
    assert [delivery.succeeded for delivery in stream.deliveries] == [False, True]
    queue.send("b")
    assert not stream.wait_idle(0)
    assert set(threading.enumerate()) <= before


def test_retries_follow_the_clock_of_the_cloud(cloud, queue):
    """Advancing the clock wakes a stream that waits for a retry."""
    stream = EventStream(cloud, queue="q", invoke=Function(failures=1))
    stream.start()
    queue.send("a")
    with cloud.changed:
        assert cloud.changed.wait_for(lambda: stream.deliveries, 60)
    cloud.clock.advance(20)
    assert stream.wait_idle(60)
    stream.stop()
    assert len(stream.deliveries) == 2


def test_concurrency_bounds_calls_under_way(cloud, queue):
    """At most `concurrency` calls run at the same time, and every message is delivered once."""
    together = threading.Barrier(3)
    running, most = [0], [0]
    lock = threading.Lock()

    def function(_event):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(60)
        with lock:
            running[0] -= 1

    for number in range(9):
        queue.send(str(number))
    stream = EventStream(cloud, queue="q", invoke=function, batch_size=1, concurrency=3)
    stream.start()
    assert stream.wait_idle(60)
    stream.stop()
    assert most[0] == 3
    assert sorted(sum((delivery.message_ids for delivery in stream.deliveries), ())) == sorted(
        {message_id for delivery in stream.deliveries for message_id in delivery.message_ids}
    )
    assert len(stream.deliveries) == 9


@pytest.mark.parametrize(("outcome", "left"), [(True, []), (False, ["active"])])
def test_a_stop_during_a_call_lets_it_end(cloud, queue, outcome, left):
    """A call that runs during a stop still counts: success deletes its messages, failure shows them again."""
    begun, go_on = threading.Event(), threading.Event()

    def function(_event):
        begun.set()
        go_on.wait(60)
        return outcome

    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=function)
    stream.start()
    assert begun.wait(60)
    stream.stop(timeout=0)
    assert queue.messages[0].state == "inactive"
    go_on.set()
    with cloud.changed:
        assert cloud.changed.wait_for(lambda: stream.deliveries, 60)
    assert [message.state for message in queue.messages] == left


def test_a_reset_cloud_is_survived(cloud, queue):
    """Without its queue a stream has nothing to do."""
    queue.send("a")
    stream = EventStream(cloud, queue="q", invoke=Function(failures=1))
    stream.step()
    cloud.reset()
    cloud.clock.advance(30)
    assert not stream.step()
    assert stream.idle


def test_invalid_streams_are_refused(cloud, queue):
    """A missing queue, numbers out of range and unknown words are refused at once."""
    for wrong in ({"queue": "none"}, {"queue": "q", "dead_letter_queue": "none"}):
        with pytest.raises(ServiceError):
            EventStream(cloud, invoke=Function(), **wrong)
    for wrong in (
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"concurrency": 0},
        {"batch_window_seconds": -1},
        {"batch_window_seconds": 16},
        {"tolerance": False, "dead_letter_queue": "dead"},
        {"retry": "BACKOFF"},
        {"mode": "batch"},
        {"event_schema": "raw"},
    ):
        with pytest.raises(ValueError, match=r"at least|at most|tolerance|is not one of"):
            EventStream(cloud, queue="q", invoke=Function(), **wrong)


def test_a_coroutine_function_is_refused(cloud, queue):
    """Its call would return at once, and the messages would be deleted although nothing has run."""

    async def run(event):
        return True

    class Runner:
        async def __call__(self, event):
            return True

    for invoke in (run, partial(run), Runner()):
        with pytest.raises(ValueError, match="coroutine"):
            EventStream(cloud, queue="q", invoke=invoke)
        with pytest.raises(ValueError, match="coroutine"):
            FunctionRule(cloud, "call", invoke=invoke)


def test_a_message_shown_by_hand_is_not_kept_waiting(cloud, queue):
    """A message that is made visible before its retry is delivered at once."""
    function = Function(failures=1)
    stream = EventStream(cloud, queue="q", invoke=function, retry="EXPONENTIAL_DECAY_RETRY")
    message_id = queue.send("a")
    run(stream)
    assert stream.waiting == 1
    queue.show(message_id)
    assert stream.step()
    assert queue.messages == []
    assert stream.idle


@pytest.mark.parametrize("forget", ["purge", "reset"])
def test_what_is_gone_holds_nothing_up(cloud, queue, forget):
    """A waiting batch whose messages were deleted does not block later ones."""
    stream = EventStream(cloud, queue="q", invoke=Function(failures=1), batch_size=1)
    queue.send("a")
    run(stream)
    if forget == "purge":
        queue.purge()
    else:
        cloud.reset()
        cloud.queues.create("q")
    cloud.queues["q"].send("b")
    assert stream.step()
    assert stream.idle


@pytest.mark.parametrize(("asynchronous", "sizes"), [(True, [2, 2, 1]), (False, [5])])
def test_an_event_holds_no_more_than_a_call_takes(cloud, queue, tmp_path, asynchronous, sizes):
    """A batch above the limit of a call, 128 KB or 32 MB, is delivered in parts."""
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return None\n")
    function = cloud.functions.create("f", handler="index.handler", code=tmp_path)
    sent = [queue.send("x" * 60_000) for _ in range(5)]
    stream = EventStream(cloud, queue="q", invoke=function, asynchronous=asynchronous)
    run(stream)
    assert [len(one.message_ids) for one in stream.deliveries] == sizes
    assert [one for delivery in stream.deliveries for one in delivery.message_ids] == sent
    assert all(delivery.succeeded for delivery in stream.deliveries)


def test_a_full_event_does_not_wait_for_its_window(cloud, queue, tmp_path):
    """A batch is delivered as soon as it is full by count or by size."""
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return None\n")
    function = cloud.functions.create("f", handler="index.handler", code=tmp_path)
    stream = EventStream(cloud, queue="q", invoke=function, asynchronous=True, batch_window_seconds=10)
    for _ in range(3):
        queue.send('"' * 40_000)
    assert stream.step()
    assert len(stream.deliveries[0].message_ids) == 1
    assert len(stream.deliveries[0].event) < 128 * 1024


@pytest.mark.parametrize("collecting", [True, False])
def test_a_snapshot_shows_what_a_stream_holds(cloud, queue, collecting):
    """A cloud that loads a snapshot shows the messages that a stream held."""
    window = 10 if collecting else 0
    stream = EventStream(cloud, queue="q", invoke=Function(failures=1), batch_window_seconds=window)
    queue.send("a")
    stream.step()
    assert [one.state for one in queue.messages] == ["inactive"]
    document = cloud.snapshot()
    with alilocal.LocalCloud() as other:
        other.load(document)
        assert [one.state for one in other.queues["q"].messages] == ["active"]
        again = EventStream(other, queue="q", invoke=Function())
        assert again.step()
        assert other.queues["q"].messages == []


def test_a_cloud_that_is_closed_stops_its_streams(cloud, queue):
    """Closing the cloud ends the threads after the running call."""
    begun, go_on = threading.Event(), threading.Event()

    def function(_event):
        begun.set()
        go_on.wait(60)

    before = set(threading.enumerate())
    EventStream(cloud, queue="q", invoke=function, batch_size=1).start()
    (thread,) = set(threading.enumerate()) - before
    for body in "ab":
        queue.send(body)
    assert begun.wait(60)
    cloud.close()
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    assert [one.body for one in queue.messages] == ["b"]
