"""The value that says how long work may still take."""

import math

import pytest

from hpoq.clock import Budget, SystemClock
from hpoq.testing import FakeClock


@pytest.mark.parametrize(
    ("passed", "suspended", "left"), [(0, 0, 20.0), (15, -15, 5.0), (0, 59, 1.0), (21, -21, -1.0)]
)
def test_a_budget_ends_at_the_earlier_of_its_two_ends(passed, suspended, left):
    """The seconds that are left are those of the clock whose end comes first, also after it has passed."""
    clock = FakeClock(1000.0)
    budget = Budget(clock, ends_at=clock.monotonic() + 20.0, wall_ends_at=clock.now() + 60.0)
    clock.advance(passed)
    clock.suspend(suspended)
    assert budget.seconds_left() == left


def test_a_budget_without_ends_never_ends():
    """A budget that was given no end has infinite time."""
    assert Budget(SystemClock()).seconds_left() == math.inf


def test_a_budget_can_be_made_from_a_duration():
    """`lasting` counts from now by the given clock, or by the machine's."""
    clock = FakeClock()
    budget = Budget.lasting(7.0, clock)
    clock.advance(4.0)
    clock.suspend(9_996.0)
    assert budget.seconds_left() == 3.0
    assert 50 < Budget.lasting(60).seconds_left() <= 60
