"""A burst against a quota, in a small simulation; `python tests/benchmarks/burst.py` runs the large ones.

A small burst spends a larger part of its time on finding the quota and on its last batches, so it may use less of the
quota than a large one.
"""

import pytest

from support.budget import CI_BUDGET
from support.burst import NO_TIME, Burst, Times, run

QUOTA = ((0.0, 10.0),)


@pytest.mark.one_of("times", budget=CI_BUDGET)
@pytest.mark.parametrize("times", [Times(), NO_TIME], ids=["usual", "no time"])
def test_a_burst_uses_the_quota(times):
    """Nothing fails, the quota is used, and few creates are throttled, however long calls take."""
    figures = run(Burst([(0.0, 500)], QUOTA, instances=5, times=times))
    assert figures.missed(quota_used=0.85) == []
    assert figures.least_minute > 0.95


def test_instances_follow_a_quota_that_changes():
    """Instances slow down when the quota falls, and use it when it rises, so that nothing waits for long."""
    figures = run(Burst([(0.0, 1200)], ((0.0, 10.0), (30.0, 5.0), (90.0, 20.0)), instances=5))
    # If they did not notice that it rises, less than 0.4 of it would be used.
    assert figures.missed(quota_used=0.5) == []
    assert figures.least_minute > 0.95


@pytest.mark.in_ci
def test_an_outage_costs_few_creates_and_no_attempt():
    """Instances ask rarely while the service takes nothing, and all messages end once it does again."""
    outage = ((0.0, 10.0), (30.0, 0.0), (1230.0, 10.0))
    figures = run(Burst([(0.0, 800)], outage, instances=5))
    assert figures.missed(quota_used=0.25, creates=1.25) == []


def test_a_run_is_repeatable():
    """A burst that is run again gives the same figures."""
    burst = Burst([(0.0, 60)], QUOTA, instances=2)
    assert run(burst) == run(burst)
