import contextvars
import json
import threading
import time
from types import SimpleNamespace

import pytest

from fcruntime import Deadline
from fcruntime.triggers import Message
from hpoq.clock import Limits
from hpoq.contract.events import EventError
from hpoq.contract.identity import derive_key
from hpoq.observability.measures import Measures, collect_into
from hpoq.processing.batch import Batch
from hpoq.processing.intake import Rejected
from hpoq.processing.lifecycle import Delivery
from hpoq.processing.outcome import Outcome, Result
from hpoq.processing.pace import Pace
from hpoq.testing import FakeClock
from support.reading import read_message
from support.request import make_document


def intake(key, message_id=None):
    delivery = Delivery(key, "f", message_id or key, "b", message_id=message_id or key)
    return Rejected(delivery, None, EventError("code", "message", retryable=False))


def run(
    process, clock, limits, concurrency, intakes, *, pace=None, read_message=lambda intake: intake, **steps
):
    steps = {
        "process": process,
        "look_ahead": lambda _: None,
        "needs_create": lambda _: True,
        "hold_back": lambda _, result: result,
        **steps,
    }
    batch = Batch(SimpleNamespace(**steps), clock, limits, concurrency, pace or Pace(clock), read_message)
    return batch.run(intakes)


def outcomes(done):
    return [result.outcome for _, result in done]


def done(item):
    return Result(Outcome.CREATED, item.delivery.key, item.delivery.message_id)


def limits(clock, seconds=100.0):
    return Limits(clock.monotonic() + seconds, clock.monotonic() + seconds - 3, 10.0)


def test_results_come_in_the_events_order():
    """Whatever ends first, the report is in the order of the event."""
    clock = FakeClock()
    items = [intake(str(n)) for n in range(50)]
    results = run(done, clock, limits(clock), 8, items)
    assert [taken for taken, _ in results] == items
    assert [result.message_id for _, result in results] == [item.delivery.message_id for item in items]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_processing_raises_fails_the_event_as_it_is(concurrency):
    """It must not raise; if it does all the same, the log shows the error itself."""
    clock = FakeClock()

    def divide(item):
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        run(divide, clock, limits(clock), concurrency, [intake("1"), intake("2")])


@pytest.mark.parametrize("most", [0, 1])
def test_without_threads_messages_are_processed_one_by_one(most, monkeypatch):
    """An instance that can start no thread must not fail each event that it gets, at once."""
    clock, start, started = FakeClock(), threading.Thread.start, []

    def start_few(thread):
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    items = [intake(str(n % 5), str(n)) for n in range(20)]
    results = run(done, clock, limits(clock), 8, items)
    assert [result.message_id for _, result in results] == [item.delivery.message_id for item in items]


def test_a_thread_may_take_the_work_for_which_no_other_could_be_started(monkeypatch):
    """It is done once all the same, and the messages of its key one after another."""
    clock, start, started = FakeClock(), threading.Thread.start, []
    is_refused, is_taken, is_read = threading.Event(), threading.Event(), threading.Event()
    active, together = [], []

    def start_one(thread):
        if started:
            is_refused.set()
            is_taken.wait(5)
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    def process(item):
        key, message_id = item.delivery.key, item.delivery.message_id
        together.extend(one for one in active if one == key)
        active.append(key)
        if message_id == "0":
            is_refused.wait(5)
        elif message_id == "1":
            is_taken.set()
            is_read.wait(5)
        active.remove(key)
        return done(item)

    def read_message(item):
        if item.delivery.message_id == "2":
            is_read.set()
        return item

    monkeypatch.setattr(threading.Thread, "start", start_one)
    items = [intake(key, str(n)) for n, key in enumerate("abbb")]
    results = run(process, clock, limits(clock), 2, items, read_message=read_message)
    assert [result.message_id for _, result in results] == ["0", "1", "2", "3"]
    assert together == []


def ready(key, kind="smq", **members):
    """Return the intake of a request that a message of `kind` brings."""
    body = json.dumps({**make_document(key), **members}).encode()
    return read_message(Message(kind, key, body))


def slowed(clock):
    """Return the pace of an instance that may send a create every few minutes."""
    pace = Pace(clock)
    for _ in range(9):
        pace.note_throttled(clock.monotonic())
    return pace


def test_requests_wait_for_their_turns():
    """Requests that get no turn in time are held back, and come back like throttled ones."""
    clock = FakeClock()
    pace = Pace(clock)
    for _ in range(4):
        pace.note_throttled(clock.monotonic())
    items = [ready(str(n)) for n in range(16)]
    results = [result for _, result in run(done, clock, limits(clock), 1, items, pace=pace)]
    held = [result for result in results if result.outcome is Outcome.RETRY]
    assert 4 <= len(results) - len(held) <= 100 / 4
    assert {(result.error.code, result.error.retryable, result.throttled) for result in held} == {
        ("HeldBack", True, True)
    }


def test_requests_of_several_threads_share_the_turns():
    """However many threads wait, no more requests are sent than there are turns; all others come back.

    Each thread that waits moves the test's clock on, so that the invocation may be over after any number of turns.
    """
    clock = FakeClock()
    pace = Pace(clock)
    for _ in range(4):
        pace.note_throttled(clock.monotonic())
    results = [
        result
        for _, result in run(done, clock, limits(clock), 8, [ready(str(n)) for n in range(50)], pace=pace)
    ]
    sent = [result for result in results if result.outcome is Outcome.CREATED]
    back = {result.error.code for result in results if result.outcome is Outcome.RETRY}
    assert len(sent) <= 100 / 4
    assert "HeldBack" in back
    assert back <= {"HeldBack", "DeadlineNear"}


def test_what_needs_no_create_does_not_wait():
    """Rejections, dry runs and what is known already need no turn."""
    clock = FakeClock()
    items = [intake("1"), ready("2", dryRun=True), ready("3")]
    results = run(
        done, clock, limits(clock), 8, items, pace=slowed(clock), needs_create=lambda delivery: False
    )
    assert outcomes(results) == [Outcome.CREATED] * 3
    assert clock.slept == []


def test_nothing_is_looked_up_while_there_are_turns():
    """Whether a request needs a create costs a read of the store, and matters only if it would have to wait."""
    clock = FakeClock()
    asked = []
    run(done, clock, limits(clock), 1, [ready("1")], needs_create=asked.append)
    assert asked == []


@pytest.mark.parametrize(("seconds", "waited"), [(100, 10), (18, 5)])
@pytest.mark.parametrize("kind", ["http", "invocation"])
def test_a_caller_waits_for_seconds_only(kind, seconds, waited):
    """Somebody waits for the answer, so it comes within seconds, and before the invocation ends."""
    clock = FakeClock()
    began = clock.monotonic()
    items = [ready("1", kind)]
    (result,) = outcomes(run(done, clock, limits(clock, seconds), 8, items, pace=slowed(clock)))
    assert result is Outcome.RETRY
    assert clock.monotonic() - began == pytest.approx(waited)


def test_concurrency_is_bounded_and_used():
    """As many messages run at a time as are allowed, and no more."""
    clock = FakeClock()
    read, all_queued = [], threading.Event()
    threads = set()

    def read_message(item):
        read.append(item)
        if len(read) == 105:  # those of the first two slices are queued by now
            all_queued.set()
        return item

    def process(item):
        threads.add(threading.current_thread())
        is_in_time = all_queued.wait(30)
        all_queued.set()  # the others need not wait as long
        assert is_in_time
        return done(item)

    run(process, clock, limits(clock), 4, [intake(str(n)) for n in range(105)], read_message=read_message)
    assert len(threads) == 4


def test_messages_of_one_key_run_one_after_the_other():
    """Messages of one key never overlap."""
    clock = FakeClock()
    lock = threading.Lock()

    def process(item):
        assert lock.acquire(blocking=False), "two of one key at once"
        lock.release()
        return done(item)

    results = run(process, clock, limits(clock), 8, [intake("k", f"m{n}") for n in range(20)])
    assert outcomes(results) == [Outcome.CREATED] * 20


def test_nothing_is_begun_near_the_deadline():
    """What could not end in time is not begun, and comes back."""
    clock = FakeClock()
    began = []

    def process(item):
        began.append(item.delivery.key)
        clock.advance(45)
        return done(item)

    results = run(process, clock, limits(clock), 1, [intake("a"), intake("b"), intake("c")])
    assert began == ["a", "b"]
    last = results[2][1]
    assert (last.outcome, last.error.code, last.error.retryable) == (Outcome.RETRY, "DeadlineNear", True)


def test_what_is_not_begun_has_the_key_of_its_other_lines():
    """A watch message is reported and logged under the key of its request, also if its check is not begun."""
    clock = FakeClock()
    delivery = Delivery("watch", "f", "watch", "b", message_id="M1", shown_key="request")
    watched = Rejected(delivery, None, EventError("code", "message", retryable=False))
    ((_, result),) = run(done, clock, limits(clock, seconds=5.0), 1, [watched])
    assert (result.key, result.error.code) == ("request", "DeadlineNear")


def test_empty_batch():
    """An event without messages has no results."""
    clock = FakeClock()
    assert run(done, clock, limits(clock), 4, []) == []


@pytest.mark.parametrize(
    ("seconds", "reserve", "calls", "start"), [(300, 2, 298, 28), (10, 2, 8, 4), (3, 3, 2.25, 1.125)]
)
def test_how_the_time_of_an_invocation_is_divided(seconds, reserve, calls, start):
    """A short function keeps a quarter of its time at most, and begins while half of the rest is left."""
    clock = FakeClock()
    found = Limits.from_deadline(Deadline(seconds, clock.monotonic), reserve=reserve, call_seconds=28)
    assert found == Limits(clock.monotonic() + seconds, clock.monotonic() + calls, start)


def test_the_first_are_on_their_way_while_others_are_read():
    """A large event is read in slices; nothing waits until all of it is read."""
    clock = FakeClock()
    begun = threading.Event()
    read = []

    def process(item):
        begun.set()
        return done(item)

    def read_message(item):
        if len(read) == 100:
            assert begun.wait(30)
        read.append(item)
        return item

    items = [intake(str(n)) for n in range(300)]
    assert len(run(process, clock, limits(clock), 4, items, read_message=read_message)) == 300
    assert read == items


@pytest.mark.parametrize(("concurrency", "number", "reads"), [(1, 201, 3), (4, 230, 4), (250, 250, 1)])
def test_all_are_looked_up_before_they_are_processed(concurrency, number, reads):
    """In few reads, each of at least one message and at most what Tablestore takes, or of what runs at once."""
    clock = FakeClock()
    looked_up = []

    def process(item):
        assert any(item in found for found in looked_up)
        return done(item)

    items = [intake(str(n)) for n in range(number)]
    run(process, clock, limits(clock), concurrency, items, look_ahead=looked_up.append)
    assert [one for found in looked_up for one in found] == items
    assert all(looked_up)
    assert len(looked_up) == reads
    assert max(map(len, looked_up)) <= max(100, concurrency)


def test_a_key_waits_for_its_own_from_a_slice_before():
    """A message waits for one of its key even if that one was read much earlier."""
    clock = FakeClock()
    held, others = threading.Event(), threading.Semaphore(0)
    order = []

    def process(item):
        if item.delivery.message_id == "first":
            for _ in range(200):
                assert others.acquire(timeout=30)
            held.set()
        elif item.delivery.key == "k":
            assert held.is_set()
        else:
            others.release()
        order.append(item.delivery.message_id)
        return done(item)

    items = [intake("k", "first"), *(intake(str(n)) for n in range(200)), intake("k", "last")]
    results = run(process, clock, limits(clock), 4, items)
    assert order.index("first") < order.index("last")
    assert outcomes(results) == [Outcome.CREATED] * 202


@pytest.mark.parametrize("namespace", ["", "team-a"])
def test_a_stop_waits_for_the_request_of_its_event_that_it_names(namespace):
    """Processed first, it would be rejected, because no request with that key was processed."""
    clock = FakeClock()
    ended = []

    def process(item):
        if item.delivery.message_id == "M1":
            time.sleep(0.05)
        ended.append(item.delivery.message_id)
        return done(item)

    own = derive_key("smq", "M1", namespace)
    for key, named in (("k", "k"), (None, own)):
        bodies = (make_document(key), {"stop": {"idempotencyKey": named}}, {"stop": {"experimentId": "s1"}})
        messages = [Message("smq", f"M{n}", json.dumps(body).encode()) for n, body in enumerate(bodies, 1)]
        run(process, clock, limits(clock), 8, [read_message(one, namespace) for one in messages])
    assert ended == ["M3", "M1", "M2"] * 2


def test_a_request_waits_for_the_stop_before_it_that_names_its_key():
    """Messages about one key keep their order, so a stop does not meet a request that was sent after it."""
    clock, other = FakeClock(), threading.Event()
    ended = []

    def process(item):
        if item.delivery.message_id == "M1":
            assert other.wait(30)
        ended.append(item.delivery.message_id)
        if item.delivery.message_id == "M3":
            other.set()
        return done(item)

    bodies = ({"stop": {"idempotencyKey": "k"}}, make_document("k"), make_document())
    messages = [Message("smq", f"M{n}", json.dumps(body).encode()) for n, body in enumerate(bodies, 1)]
    run(process, clock, limits(clock), 2, [read_message(one) for one in messages])
    assert ended == ["M3", "M1", "M2"]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_context_of_the_invocation_reaches_every_message(concurrency):
    """Measures, log lines and credentials hang on context variables, whichever thread does the work."""
    clock = FakeClock()
    variable = contextvars.ContextVar("variable", default="lost")
    seen = []

    def process(item):
        seen.append(variable.get())
        return done(item)

    token = variable.set("invocation")
    run(process, clock, limits(clock), concurrency, [intake(str(n)) for n in range(8)])
    variable.reset(token)
    assert seen == ["invocation"] * 8


def test_what_one_message_binds_does_not_reach_the_next():
    """A message that leaves a context variable set does not mark the messages after it."""
    clock = FakeClock()
    variable = contextvars.ContextVar("variable", default="clean")
    seen = []

    def process(item):
        seen.append(variable.get())
        variable.set(item.delivery.key)
        return done(item)

    run(process, clock, limits(clock), 2, [intake(str(n)) for n in range(8)])
    assert seen == ["clean"] * 8


@pytest.mark.parametrize(("concurrency", "count"), [(1, 8), (8, 1)])
def test_what_is_not_concurrent_starts_no_thread(concurrency, count):
    """One message, or one at a time, is processed by the thread that runs the batch."""
    clock = FakeClock()
    threads = set()

    def process(item):
        threads.add(threading.current_thread())
        return done(item)

    run(process, clock, limits(clock), concurrency, [intake(str(n)) for n in range(count)])
    assert threads == {threading.current_thread()}


def test_the_threads_of_a_batch_are_named():
    """A stack dump shows which threads process messages."""
    clock = FakeClock()
    names = []

    def process(item):
        names.append(threading.current_thread().name)
        return done(item)

    run(process, clock, limits(clock), 2, [intake("1"), intake("2")])
    assert all(name.startswith("hpoq_") for name in names)


def test_a_queue_s_message_waits_for_its_turn_as_long_as_it_may_begin():
    """Holding back a message of a queue costs nothing, because nobody waits for its answer."""
    clock = FakeClock()
    began = clock.monotonic()
    (result,) = outcomes(run(done, clock, limits(clock), 8, [ready("1")], pace=slowed(clock)))
    assert result is Outcome.RETRY
    assert clock.monotonic() - began == pytest.approx(100 - 3 - 10)


def test_a_message_without_a_turn_is_held_back_even_near_the_deadline():
    """It comes back late and numbered, like any that the service has no room for, and not at once."""
    clock, held = FakeClock(), []
    bounds = limits(clock)
    clock.advance(88)

    def hold_back(delivery, result):
        held.append(delivery.message_id)
        return result

    ((_, result),) = run(done, clock, bounds, 1, [ready("1")], pace=slowed(clock), hold_back=hold_back)
    assert (result.error.code, result.throttled, held) == ("HeldBack", True, ["1"])


def test_a_dry_run_needs_no_turn_even_if_its_key_is_free():
    """A dry run creates nothing, so it needs no turn."""
    clock = FakeClock()
    assert outcomes(run(done, clock, limits(clock), 8, [ready("1", dryRun=True)], pace=slowed(clock))) == [
        Outcome.CREATED
    ]
    assert clock.slept == []


@pytest.mark.parametrize(("seconds", "outcome"), [(87, Outcome.CREATED), (87.5, Outcome.RETRY)])
def test_a_message_may_begin_at_the_last_moment(seconds, outcome):
    """A message may begin as long as a whole call fits into the time for calls."""
    clock = FakeClock()
    bounds = limits(clock)
    clock.advance(seconds)
    assert outcomes(run(done, clock, bounds, 1, [intake("a")])) == [outcome]


def test_reading_the_messages_is_timed():
    """The report of the invocation shows it under the name of the step."""
    clock, measures = FakeClock(), Measures()
    with collect_into(measures):
        run(done, clock, limits(clock), 1, [intake("1")])
    assert set(measures.seconds) == {"decode"}
