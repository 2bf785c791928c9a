"""The helpers of the tests: the sample of a budget, and the line about skipped tests."""

import pytest

from support.budget import sample
from support.tools import skip_without, summarize_skips


@pytest.mark.parametrize(("budget", "count"), [(0.1, 1), (1, 2), (2, 4), (5, 10), (10, 10)])
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_a_sample_has_the_share_of_its_budget(budget, count, shift):
    """A sample holds a fifth of the cases for each unit of the budget, at least one, in their order."""
    chosen = sample(range(10), shift, budget=budget)
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))


def test_five_samples_cover_all_cases():
    """Samples with consecutive shifts choose different cases, so that together they choose all."""
    assert sorted(case for shift in range(5) for case in sample(range(10), shift, budget=1)) == list(
        range(10)
    )


def test_a_sample_of_nothing_is_empty():
    """No cases make no sample."""
    assert sample([]) == []


def test_skipped_tests_name_what_to_install():
    """One line has a command per package manager, and counts tests that no installation would run."""
    reasons = [
        "Skipped: redis-server is not available",
        "Skipped: redis-server is not available",
        "Skipped: Chromium is not installed",
        "Skipped: the npm package ali-mns is not available",
        "Skipped: the npm package pyodide is not available",
        "Skipped: Python 3.10 is not available",
        "Skipped: boto3 is installed",
    ]
    assert summarize_skips(reasons) == (
        "6 tests were skipped. To run them: apt-get install redis-server chromium; "
        "npm install --prefix tests/contract/sdks; install Python 3.10 (pyenv install 3.10). "
        "1 test was skipped: boto3 is installed."
    )


def test_no_skipped_tests_make_no_line():
    """Nothing is printed about skips if there are none."""
    assert summarize_skips([]) is None


def test_ci_fails_without_what_it_installs(monkeypatch):
    """With CI set, a missing tool that CI can install fails the test; any other still skips it."""
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="redis-server is not available"):
        skip_without("redis-server")
    with pytest.raises(pytest.skip.Exception, match="terraform is not available"):
        skip_without("terraform")
