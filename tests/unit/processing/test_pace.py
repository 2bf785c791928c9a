import threading

import pytest
from structlog.testing import capture_logs

from hpoq.processing.pace import Pace
from hpoq.testing import FakeClock
from support.clock import FixedChanceClock

FAR = 10_000.0


@pytest.fixture
def clock():
    """A clock by whose chance a turn comes exactly after the interval."""
    return FixedChanceClock(chance=0.5)


@pytest.fixture
def pace(clock):
    return Pace(clock)


def throttle(pace, clock, times=1):
    """Throttle `times` creates, each sent after the one before was answered."""
    for _ in range(times):
        clock.advance(1)
        pace.note_throttled(clock.monotonic())


def create(pace, clock, times=1):
    for _ in range(times):
        clock.advance(1)
        pace.note_created()


def test_nothing_is_limited_before_the_first_throttled_create(pace):
    """An instance that was never throttled sends any number of creates at once, whatever else they come to."""
    assert pace.take_turn()
    pace.note_created()
    assert all(pace.take_turn() for _ in range(500))
    pace.note_unknown_end(0.0)
    assert all(pace.take_turn() for _ in range(500))
    assert pace.interval == 0


def test_a_new_instance_sends_few_creates_until_one_was_created(pace, clock):
    """The first create goes out at once, the others a tenth of a second apart, without a throttled one too."""
    began = clock.monotonic()
    moments = []
    for _ in range(4):
        assert pace.wait_for_turn(FAR)
        moments.append(clock.monotonic() - began)
    assert moments == pytest.approx([0, 0.1, 0.2, 0.3])
    pace.note_created()
    assert all(pace.take_turn() for _ in range(16))


def test_creates_follow_each_other_after_the_interval(pace, clock):
    """After a throttled create one may be sent per interval, to whichever message waits."""
    throttle(pace, clock)
    began = clock.monotonic()
    assert not pace.take_turn()
    moments = []
    for _ in range(3):
        assert pace.wait_for_turn(FAR)
        moments.append(clock.monotonic() - began)
    assert moments == pytest.approx([1, 2, 3])


def test_throttled_creates_in_a_row_double_the_interval_up_to_a_limit(pace, clock):
    """In an outage it grows to an eighth of its length: 100 seconds at first, and at last a quarter of an hour."""
    intervals = []
    for _ in range(9):
        throttle(pace, clock)
        intervals.append(pace.interval)
    assert intervals == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    for seconds, interval in ((1_600, 200), (800, 300), (8_000, 600), (8_000, 900), (80_000, 900)):
        clock.advance(seconds - 1)
        throttle(pace, clock)
        assert pace.interval == pytest.approx(interval, rel=0.01)


def test_creates_that_were_under_way_together_are_one_sign(pace, clock):
    """What was sent before the interval was last lengthened does not lengthen it again."""
    sent_at = clock.monotonic()
    clock.advance(1)
    for _ in range(16):
        pace.note_throttled(sent_at)
    assert pace.interval == 1


def test_an_instance_that_created_much_begins_with_that_interval(pace, clock):
    """An instance that created one experiment per second is not slowed down to less than half of that."""
    create(pace, clock, 20)
    throttle(pace, clock)
    assert pace.interval == pytest.approx(1, rel=0.3)


def test_each_create_shortens_the_interval(pace, clock):
    """Quickly until the first throttled create shows how far, then by little, and by more in a long row."""
    throttle(pace, clock, 4)
    create(pace, clock, 10)
    found = pace.interval
    assert found < 1
    throttle(pace, clock)
    lengthened = pace.interval
    assert lengthened == pytest.approx(1.25 * found)
    create(pace, clock)
    assert 0.99 * lengthened < pace.interval < lengthened
    first = lengthened - pace.interval
    create(pace, clock, 100)
    before = pace.interval
    create(pace, clock)
    assert before - pace.interval > 3 * first


def test_slow_instances_catch_up(clock):
    """A long interval loses a larger part to a create than a short one, but not so much that it jumps."""
    parts = []
    for longest in (1, 3, 6):
        pace = Pace(clock)
        throttle(pace, clock, longest)
        create(pace, clock)
        throttle(pace, clock)
        before = pace.interval
        create(pace, clock)
        parts.append(1 - pace.interval / before)
    assert 2 * parts[0] < parts[1] < parts[2] / 5 < 0.01


def test_after_an_outage_the_pace_is_soon_as_before(pace, clock):
    """A few creates lead back to the interval that the outage found, and the next turn comes sooner too."""
    throttle(pace, clock, 5)
    create(pace, clock)
    throttle(pace, clock)
    usual = pace.interval
    throttle(pace, clock, 12)
    assert pace.interval == 100
    create(pace, clock)
    assert pace.interval < 50
    began = clock.monotonic()
    assert pace.wait_for_turn(FAR)
    assert clock.monotonic() - began < 50
    create(pace, clock, 4)
    assert pace.interval == pytest.approx(usual, rel=0.1)


def test_a_message_waits_to_the_end_of_its_time_for_a_turn(pace, clock):
    """A message that returned earlier would only make room for another one that gets no turn either."""
    throttle(pace, clock, 8)
    ends_at = clock.monotonic() + 65
    assert not pace.wait_for_turn(ends_at)
    assert clock.monotonic() == pytest.approx(ends_at)


def test_the_service_can_ask_for_a_longer_wait(pace, clock):
    """Nothing is sent before the time that the answer names, up to the longest interval."""
    for asked, waited in ((30.0, 30.0), (7200.0, 900.0)):
        pace.note_throttled(clock.monotonic(), asked)
        began = clock.monotonic()
        assert pace.wait_for_turn(FAR)
        assert clock.monotonic() - began == pytest.approx(waited)


def test_a_request_that_the_service_fails_on_slows_nothing_down(pace, clock):
    """Only four unknown ends in a row, without a create between them, are a sign that the service is down."""
    for _ in range(3):
        for _ in range(3):
            pace.note_unknown_end(clock.monotonic())
        pace.note_created()
    assert pace.interval == 0
    for _ in range(4):
        pace.note_unknown_end(clock.monotonic())
    assert pace.interval > 0


def test_what_was_learned_is_forgotten_in_time(pace, clock):
    """The quota may be free again: an instance that was not throttled for a long time begins anew."""
    throttle(pace, clock)
    clock.advance(590)
    assert pace.take_turn()
    assert not pace.take_turn()
    clock.advance(10)
    assert pace.take_turn()
    assert pace.interval == 1
    clock.advance(1)
    assert pace.take_turn()
    assert not pace.take_turn()
    clock.advance(0.1)
    assert pace.take_turn()
    assert pace.interval == 0
    pace.note_created()
    assert [pace.take_turn() for _ in range(16)] == [True] * 16


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)])
def test_turns_differ_between_instances(chance, seconds):
    """A turn comes up to half an interval earlier or later, so that instances do not send together."""
    clock = FixedChanceClock(chance=chance)
    pace = Pace(clock)
    with capture_logs() as lines:
        throttle(pace, clock)
    began = clock.monotonic()
    assert pace.wait_for_turn(FAR)
    assert clock.monotonic() - began == pytest.approx(seconds)
    assert [(line["event"], line["interval_seconds"]) for line in lines] == [("service.throttled", 1.0)]


def test_threads_share_the_turns():
    """However many threads wait, each turn is taken once."""
    clock = FakeClock()
    pace = Pace(clock)
    throttle(pace, clock)
    began = clock.monotonic()
    threads = [threading.Thread(target=pace.wait_for_turn, args=(FAR * 10,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert clock.monotonic() - began >= 8 * 0.5


def test_the_first_interval_is_that_of_at_least_four_creates_of_the_last_ten_seconds(clock):
    """The cold start counts as one. With fewer, or with older ones, the first interval is a second."""
    for creates, wait, interval in ((4, 1, 1.25), (3, 1, 4 / 3), (2, 1, 1), (3, 6.5, 9.5 / 3), (3, 7, 1)):
        pace = Pace(clock)
        create(pace, clock, creates)
        clock.advance(wait - 1)
        throttle(pace, clock)
        assert pace.interval == pytest.approx(interval)


@pytest.mark.parametrize(("times", "intervals"), [(1, [1, 0.8, 0.64]), (5, [16, 8, 6.4])])
def test_until_the_quota_is_known_a_create_shortens_the_interval_by_a_fixed_part(
    pace, clock, times, intervals
):
    """A long interval is halved, a short one shortened by a fifth."""
    throttle(pace, clock, times)
    found = [pace.interval]
    for _ in intervals[1:]:
        create(pace, clock)
        found.append(pace.interval)
    assert found == pytest.approx(intervals)


def test_the_way_back_after_an_outage_takes_steps(pace, clock):
    """Each create takes two thirds of the way, on a logarithmic scale, and the last step the rest."""
    throttle(pace, clock)
    create(pace, clock)
    throttle(pace, clock, 7)
    found = [pace.interval]
    for _ in range(3):
        create(pace, clock)
        found.append(pace.interval)
    assert found == pytest.approx([64, 4, 4 ** (1 / 3), 1])
    assert not pace.take_turn()


def test_the_way_back_ends_at_less_than_a_quarter_above_the_usual_interval(pace, clock):
    """Whatever the usual interval is; the next turn comes after the present one."""
    throttle(pace, clock, 2)
    create(pace, clock)
    throttle(pace, clock, 7)
    assert pace.interval == 100
    for interval in (2 * 50 ** (1 / 3), 2 * 50 ** (1 / 9), 2):
        create(pace, clock)
        assert pace.interval == pytest.approx(interval)
        began = clock.monotonic()
        assert not pace.take_turn()
        assert pace.wait_for_turn(FAR)
        assert clock.monotonic() - began == pytest.approx(interval)


def test_a_create_moves_no_turn_to_a_later_time(pace, clock):
    """A turn that has nearly come at the end of an outage is not put off by the interval."""
    throttle(pace, clock)
    create(pace, clock)
    throttle(pace, clock, 7)
    clock.advance(pace.interval - 1.5)
    create(pace, clock)
    began = clock.monotonic()
    assert pace.wait_for_turn(FAR)
    assert clock.monotonic() - began == pytest.approx(0.5)


def test_an_instance_is_idle_since_its_last_create(pace, clock):
    """An instance is idle since its last create, or since its cold start if it has created nothing."""
    clock.advance(5)
    assert pace.idle_seconds() == pytest.approx(5)
    create(pace, clock, 3)
    clock.advance(2)
    assert pace.idle_seconds() == pytest.approx(2)


@pytest.mark.parametrize(
    ("outage", "fourth", "fifth"), [(1216, 9.5, 9.5 / 1.25), (1280, 10, 5), (1344, 10.5, 5.25)]
)
def test_an_interval_is_long_from_ten_seconds_on(pace, clock, outage, fourth, fifth):
    """An outage counts from its first throttled create, and leads to an interval of an eighth of its length."""
    create(pace, clock)
    throttle(pace, clock, 9)
    clock.advance(outage - 9)
    throttle(pace, clock)
    assert pace.interval == outage / 8
    create(pace, clock, 4)
    assert pace.interval == pytest.approx(fourth)
    create(pace, clock)
    assert pace.interval == pytest.approx(fifth)


def test_a_long_interval_is_not_forgotten_before_it_has_passed_many_times(pace, clock):
    """An instance that sends rarely hears rarely of the quota. It then begins as a new one does."""
    create(pace, clock)
    throttle(pace, clock, 8)
    clock.advance(64 * pace.interval)
    assert pace.take_turn()
    assert pace.interval == 100
    clock.advance(100)
    assert [pace.take_turn() for _ in range(2)] == [True, False]
    assert pace.interval == 0


def test_a_create_that_was_under_way_does_not_open_the_next_turn(pace, clock):
    """What the service accepted before it throttled says nothing about the next create."""
    throttle(pace, clock)
    pace.note_created()
    assert not pace.take_turn()
    create(pace, clock)
    throttle(pace, clock)
    pace.note_created()
    assert not pace.take_turn()


def test_four_unknown_ends_of_a_new_instance_are_a_sign(pace, clock):
    """Not three."""
    for _ in range(3):
        pace.note_unknown_end(clock.monotonic())
    assert pace.interval == 0
    pace.note_unknown_end(clock.monotonic())
    assert pace.interval == 1


def test_a_message_sleeps_until_its_turn(pace, clock):
    """It looks again every ten seconds, because a turn may come earlier than it was due."""
    throttle(pace, clock)
    assert pace.wait_for_turn(FAR)
    assert clock.slept == pytest.approx([1])
    clock.slept.clear()
    throttle(pace, clock, 4)
    assert pace.wait_for_turn(FAR)
    assert clock.slept == pytest.approx([10, 6])


class PassingClock(FixedChanceClock):
    """A clock by which time passes whenever it is read; it notes every wait that is asked for."""

    def __init__(self):
        super().__init__(chance=0.5)
        self.asked = []

    def monotonic(self):
        self.advance(0.3)
        return super().monotonic()

    def sleep(self, seconds):
        self.asked.append(seconds)


def test_a_turn_that_comes_while_it_is_looked_for_is_waited_for():
    """No wait is negative, which the machine's clock refuses."""
    passing = PassingClock()
    pace = Pace(passing)
    pace.note_throttled(passing.monotonic())
    assert pace.wait_for_turn(FAR)
    assert passing.asked
    assert min(passing.asked) == 0.001


def take_off(pace, clock, creates=1):
    """Return the part of the interval that the last one of `creates` takes off."""
    create(pace, clock, creates - 1)
    before = pace.interval
    create(pace, clock)
    return 1 - pace.interval / before


def make_usual(clock, seconds):
    """Return a pace whose usual interval is `seconds`: less than one tenth, or two."""
    pace = Pace(clock)
    if seconds == 2:
        throttle(pace, clock, 2)
        create(pace, clock)
        throttle(pace, clock)
    else:
        for _ in range(600):
            clock.advance(seconds)
            pace.note_created()
        pace.note_throttled(clock.monotonic())
    assert pace.interval == pytest.approx(seconds)
    return pace


def test_the_fourth_create_in_a_row_takes_off_twice_as_much_as_one_alone(clock):
    """One alone would take off four fifths of what the first one takes off."""
    first, fourth, twelfth = (take_off(make_usual(clock, 0.02), clock, creates) for creates in (1, 4, 12))
    assert (fourth / first, twelfth / first) == pytest.approx((2 / 1.25, 4 / 1.25), rel=0.01)


def test_a_long_interval_loses_a_larger_part(clock):
    """Instances which had bad luck catch up."""
    assert take_off(make_usual(clock, 2), clock) == pytest.approx(
        (1 + (2 / 2.4) ** 2) * take_off(make_usual(clock, 0.02), clock), rel=0.01
    )


def test_the_last_64_creates_say_how_fast_an_instance_was(pace, clock):
    """Enough for ten seconds of a fast instance; older ones are not kept."""
    for gap in (3, 1, *[0.01] * 62):
        clock.advance(gap)
        pace.note_created()
    pace.note_throttled(clock.monotonic())
    assert pace.interval == pytest.approx((1 + 0.62) / 63)


def test_a_throttled_create_brings_no_turn_forward(pace, clock):
    """Whatever its chance, the next create comes no earlier than if this one had not been throttled."""
    throttle(pace, clock)
    clock.advance(1)
    clock.random = lambda: 0.99
    assert pace.take_turn()
    clock.random = lambda: 0.0
    pace.note_throttled(clock.monotonic())
    clock.advance(1.48)
    assert not pace.take_turn()
    clock.advance(0.02)
    assert pace.take_turn()
