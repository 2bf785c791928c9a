import threading

import pytest

from hpoq.processing.batch import Batch
from hpoq.processing.intake import Intake
from hpoq.processing.limits import Limits
from hpoq.processing.outcome import Outcome, Result
from hpoq.testing import FakeClock


def intake(key, message_id=None):
    return Intake(key=key, fingerprint="f", message_id=message_id or key)


def run(process, clock, limits, concurrency, intakes, **options):
    return Batch(process, clock, limits, concurrency, lambda intake: intake, **options).run(intakes)


def outcomes(done):
    return [result.outcome for _, result in done]


def done(item):
    return Result(Outcome.CREATED, item.key, item.message_id)


def limits(clock, seconds=100.0):
    return Limits(clock.monotonic() + seconds, clock.monotonic() + seconds - 3, 10.0)


def test_results_come_in_the_events_order():
    """Whatever ends first, the report is in the order of the event."""
    clock = FakeClock()
    items = [intake(str(n)) for n in range(50)]
    results = run(done, clock, limits(clock), 8, items)
    assert [taken for taken, _ in results] == items
    assert [result.message_id for _, result in results] == [item.message_id for item in items]


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

    run(process, clock, limits(clock), 4, [intake(str(n)) for n in range(8)])
    assert most == 4


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
        began.append(item.key)
        clock.advance(60)
        return done(item)

    results = run(process, clock, limits(clock), 1, [intake("a"), intake("b"), intake("c")])
    assert began == ["a", "b"]
    assert (results[2][1].outcome, results[2][1].error.code) == (Outcome.RETRY, "DeadlineNear")


def test_empty_batch():
    """No messages, no results."""
    clock = FakeClock()
    assert run(done, clock, limits(clock), 4, []) == []


def test_a_short_function_still_begins():
    """A function whose time-out is shorter than a call's begins while half of its time is left."""
    from fcruntime import Deadline

    clock = FakeClock()
    short = Limits.of(Deadline(10, clock.monotonic), reserve=2, call_seconds=28)
    assert short.start_seconds == 4
    default = Limits.of(Deadline(3, clock.monotonic), reserve=3, call_seconds=28)
    assert default.calls_end_at - clock.monotonic() == 2.25
    assert default.start_seconds == 1.125


def test_the_first_are_on_their_way_while_others_are_read():
    """A large event is read in slices; nothing waits until all of it is read."""
    clock = FakeClock()
    begun = threading.Event()
    read = []

    def process(item):
        begun.set()
        return done(item)

    def take_in(item):
        if len(read) == 100:
            assert begun.wait(30)
        read.append(item)
        return item

    items = [intake(str(n)) for n in range(300)]
    assert len(Batch(process, clock, limits(clock), 4, take_in).run(items)) == 300
    assert read == items


@pytest.mark.parametrize("concurrency", [1, 4, 250])
def test_all_are_looked_up_before_they_are_processed(concurrency):
    """In few reads, each of at most what Tablestore takes, or of what runs at once."""
    clock = FakeClock()
    looked_up = []

    def process(item):
        assert any(item in found for found in looked_up)
        return done(item)

    items = [intake(str(n)) for n in range(230)]
    run(process, clock, limits(clock), concurrency, items, look_ahead=looked_up.append)
    assert [one for found in looked_up for one in found] == items
    assert len(looked_up) <= 4


def test_a_key_waits_for_its_own_from_a_slice_before():
    clock = FakeClock()
    held, others = threading.Event(), threading.Semaphore(0)
    order = []

    def process(item):
        if item.message_id == "first":
            for _ in range(200):
                assert others.acquire(timeout=30)
            held.set()
        elif item.key == "k":
            assert held.is_set()
        else:
            others.release()
        order.append(item.message_id)
        return done(item)

    items = [intake("k", "first"), *(intake(str(n)) for n in range(200)), intake("k", "last")]
    results = run(process, clock, limits(clock), 4, items)
    assert order[-2:] == ["first", "last"]
    assert outcomes(results) == [Outcome.CREATED] * 202
