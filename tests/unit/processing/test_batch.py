import threading

from hpoq.processing.batch import Batch
from hpoq.processing.intake import Intake
from hpoq.processing.limits import Limits
from hpoq.processing.outcome import Outcome, Result
from hpoq.testing import FakeClock


def intake(key, message_id=None):
    return Intake(key=key, fingerprint="f", message_id=message_id or key)


def done(item):
    return Result(Outcome.CREATED, item.key, item.message_id)


def limits(clock, seconds=100.0):
    return Limits(clock.monotonic() + seconds, clock.monotonic() + seconds - 3, 10.0)


def test_results_come_in_the_events_order():
    """Whatever ends first, the report is in the order of the event."""
    clock = FakeClock()
    items = [intake(str(n)) for n in range(50)]
    results = Batch(done, clock, limits(clock), 8).run(items)
    assert [result.message_id for result in results] == [item.message_id for item in items]


def test_concurrency_is_bounded_and_used():
    """As many messages run at a time as are allowed, and no more."""
    clock = FakeClock()
    gate = threading.Barrier(4, timeout=30)
    lock = threading.Lock()
    running, most = 0, 0

    def process(item):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait()
        with lock:
            running -= 1
        return done(item)

    Batch(process, clock, limits(clock), 4).run([intake(str(n)) for n in range(8)])
    assert most == 4


def test_messages_of_one_key_run_one_after_the_other():
    """Messages of one key never overlap."""
    clock = FakeClock()
    lock = threading.Lock()

    def process(item):
        assert lock.acquire(blocking=False), "two of one key at once"
        lock.release()
        return done(item)

    results = Batch(process, clock, limits(clock), 8).run([intake("k", f"m{n}") for n in range(20)])
    assert [result.outcome for result in results] == [Outcome.CREATED] * 20


def test_nothing_is_begun_near_the_deadline():
    """What could not end in time is not begun, and comes back."""
    clock = FakeClock()
    began = []

    def process(item):
        began.append(item.key)
        clock.advance(60)
        return done(item)

    results = Batch(process, clock, limits(clock), 1).run([intake("a"), intake("b"), intake("c")])
    assert began == ["a", "b"]
    assert (results[2].outcome, results[2].error.code) == (Outcome.RETRY, "DeadlineNear")


def test_empty_batch():
    """No messages, no results."""
    clock = FakeClock()
    assert Batch(done, clock, limits(clock), 4).run([]) == []


def test_a_short_function_still_begins():
    """A function whose time-out is shorter than a call's begins while half of its time is left."""
    from fcruntime import Deadline

    clock = FakeClock()
    short = Limits.of(Deadline(10, clock.monotonic), reserve=2, call_seconds=28)
    assert short.start_seconds == 4
    default = Limits.of(Deadline(3, clock.monotonic), reserve=3, call_seconds=28)
    assert default.calls_end_at - clock.monotonic() == 2.25
    assert default.start_seconds == 1.125
