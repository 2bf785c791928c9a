"""The world of these tests: one clock, calls that take time, instances whose clocks differ."""

import pytest
import requests

from hpoq.testing import smq_event
from support.request import REQUEST
from support.world import CallTimes

EVENT = smq_event("M1", REQUEST)
CREATE = "CreateHpoExperiment"


def take_on_create(world, **times):
    """Give creates the `times`, and other calls no time."""
    world.call_times = lambda operation: CallTimes(**times) if operation == CREATE else CallTimes()


def calls(world, operation):
    return [one for one in world.cloud.requests if one.operation == operation]


def test_a_waiting_function_moves_the_clouds_time(world):
    """There is one clock: sleep of the function and `later` move both, once."""
    before = world.cloud.clock.now()
    world.clock.sleep(5)
    world.later(7)
    assert world.clock.now() == world.cloud.clock.now() == before + 12


def test_calls_take_the_time_that_they_are_given(world):
    """The parts of a call pass on the clock, and the service acts in between."""
    before = world.clock.now()
    take_on_create(world, before_first_byte=3, until_acted=4, until_answered=5)
    (row,) = world.deliver(EVENT)
    assert row["outcome"] == "created"
    assert world.clock.now() == pytest.approx(before + 12)
    assert calls(world, CREATE)[0].time == pytest.approx(before + 7)


def test_a_create_that_connects_too_slowly_is_not_sent(world):
    """The bookkeeping of the exchange holds: no first byte leaves after the end of the lease."""
    take_on_create(world, before_first_byte=200)
    (row,) = world.deliver(EVENT)
    assert row["outcome"] == "retry"
    assert calls(world, CREATE) == []


def test_an_answer_after_the_read_time_out_is_unheard(world):
    """The caller gives up at its time-out, and the service still acts at its own time."""
    before = world.clock.now()
    take_on_create(world, until_acted=60)
    assert world.deliver(EVENT)[0]["outcome"] == "retry"
    assert world.cloud.experiments == []
    assert world.clock.now() < before + 60
    world.later(60)
    (create,) = calls(world, CREATE)
    assert create.time == pytest.approx(before + 60, abs=0.01)
    world.later(120)
    assert world.deliver(EVENT)[0]["outcome"] == "created"
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


def test_a_late_answer_counts_against_the_read_time_out(world):
    """Acted in time and answered too late is an unknown end, whose experiment is found."""
    take_on_create(world, until_acted=1, until_answered=60)
    assert world.deliver(EVENT)[0]["outcome"] == "created"
    assert len(world.cloud.experiments) == 1


def test_a_stall_takes_the_read_time_out(world):
    """A caller that waits for nothing waits for its whole time-out."""
    before = world.clock.now()
    world.cloud.faults.add("stall", service="smq")
    with world.session() as session, pytest.raises(requests.ReadTimeout):
        session.get(world.cloud.endpoint, headers={"x-mns-version": "2015-06-06"}, timeout=(1, 9))
    assert world.clock.now() == before + 9


def test_late_requests_arrive_at_their_moment_on_the_way(world):
    """One step of the clock over the moment of a late request delivers it then, not at the end of the step."""
    before = world.clock.now()
    world.cloud.faults.add("late", service="paiautoml", operation=CREATE, seconds=300)
    # The date of the create is its own then, so that the gateway still takes it after 300 seconds.
    assert world.deliver(EVENT, HPOQ_DATE_WINDOW_SECONDS="0")[0]["outcome"] == "retry"
    world.later(5_000)
    late = calls(world, CREATE)[-1]
    assert (late.fault, late.code) == ("late", None)
    assert late.time == pytest.approx(before + 300, abs=1)


def test_an_instance_may_have_a_clock_of_its_own(world):
    """An offset moves what the instance reads, and time itself is shared."""
    function = world.function(offset=-7.5)
    assert function._clock.now() == world.clock.now() - 7.5
    function._clock.sleep(2)
    assert function._clock.now() == world.clock.now() - 7.5
    assert world.deliver(EVENT, offset=9)[0]["outcome"] == "created"
