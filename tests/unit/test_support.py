"""The helpers of the tests: the sample of a budget, random schedules, and the line about skipped tests."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.budget import CI_BUDGET, FULL_BUDGET, LONG, find_left_out, sample
from support.schedules import check_schedules, draw_schedule, integers, lists, rule
from support.tables import join_cases, read_table, run_cases
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


class Item:
    """A collected test with `params`, and with the marker of `decorator`."""

    def __init__(self, decorator, **params):
        self.mark = decorator.mark
        self.path = self.originalname = "test"
        self.callspec = SimpleNamespace(params=params)

    def get_closest_marker(self, name):
        return self.mark if self.mark.name == name else None


@pytest.mark.parametrize(
    ("decorator", "budgets"),
    [
        (pytest.mark.one_of("color"), {0.25: 3, CI_BUDGET: 3, FULL_BUDGET: 12}),
        (pytest.mark.one_of("color", budget=CI_BUDGET), {0.25: 3, CI_BUDGET: 12}),
        (pytest.mark.one_of("color", "act", budget=CI_BUDGET), {0.25: 1, CI_BUDGET: 12}),
        (pytest.mark.in_ci, {0.25: 0, CI_BUDGET: 12}),
        (pytest.mark.skip, {0.25: 12}),
    ],
)
def test_a_budget_leaves_out_what_markers_name(decorator, budgets):
    """For each combination of the other parameters one value stays, below the budget of the marker."""
    acts = (sample, test_a_sample_has_the_share_of_its_budget, find_left_out)
    items = [Item(decorator, color=color, act=act) for color in range(4) for act in acts]
    for budget, count in budgets.items():
        kept = [item for item in items if item not in find_left_out(items, budget)]
        assert len(kept) == count
        assert len({item.callspec.params["act"] for item in kept}) == min(count, 3)


def check_sum(left, right):
    if left == 0:
        skip_without("zero")
    assert left + right == 2


def read_tables(*tables):
    return [read_table(pytest.mark.parametrize(*table).mark) for table in tables]


def test_a_table_shows_each_case_that_fails():
    """All cases run, in each combination, and a failure names each of those that failed."""
    tables = read_tables(("left", [pytest.param(1, id="one"), 5]), ("right", [3, 1]))
    with pytest.raises(pytest.fail.Exception) as failed:
        run_cases(check_sum, tables)
    first, *details = str(failed.value).split("\n\n")
    assert first == "these cases failed: left=1, right=3 | left=5, right=3 | left=5, right=1"
    assert [text.count("assert left + right == 2") for text in details if "E  " in text] == [1, 1, 1]


def test_a_case_that_is_skipped_hides_no_failure():
    """A table is skipped after all its cases ran, unless one of them failed."""
    with pytest.raises(pytest.skip.Exception, match="zero"):
        run_cases(check_sum, read_tables((("left", "right"), [(0, 1), (1, 1)])))
    with pytest.raises(pytest.fail.Exception, match=r"cases failed: left=1, right=2\n"):
        run_cases(check_sum, read_tables((["left", "right"], [(0, 1), (1, 2)])))


def test_a_case_that_returns_a_value_fails():
    """What a coroutine or a generator would test is not run by its call."""
    with pytest.raises(pytest.fail.Exception, match="the test returns a value"):
        run_cases(lambda left: (yield left), read_tables(("left", [1])))


@pytest.mark.parametrize(
    "tables",
    [
        [("left, right", [])],
        [("left, right", iter([(1, 1)]))],
        [("left, right", [pytest.param(1, 1, marks=pytest.mark.xfail)])],
        [("left, right, more", [(1, 1, 1)])],
        [("left, right", [(1, 1)]), ("left", [1])],
        [("left", [1])],
    ],
    ids=["empty", "read once", "marked", "too many arguments", "an argument twice", "a fixture"],
)
def test_what_is_no_plain_table_has_an_item_for_each_case(tables):
    """Cases are joined only if pytest would give them nothing but their values."""

    def check(left, right):
        raise AssertionError

    for table in tables:
        check = pytest.mark.parametrize(*table)(check)
    assert join_cases(None, "check", check) is None


def test_the_files_with_long_tests_exist():
    """One that gets another name would not be among the first any more."""
    assert {file.name for file in Path(__file__).parents[1].rglob("test_*.py")} >= LONG


def test_a_sample_of_nothing_is_empty():
    """No cases make no sample."""
    assert sample([]) == []


class Counter:
    """A machine that breaks once an 8 or a 9 was the first number added after a reset."""

    @rule(start=integers(1, 2))
    def begin(self, start):
        self.added = [start]

    @rule()
    def reset(self):
        self.added = []

    @rule(numbers=lists(integers(0, 9), min_size=1, max_size=1))
    def add(self, numbers):
        self.added += numbers

    def find_broken(self):
        return ["too many"] if len(self.added) == 1 and self.added[0] > 7 else []

    def end(self):
        pass


def test_a_schedule_that_breaks_something_is_shown_without_needless_calls():
    """Only the calls are left without which nothing breaks; they can be run as they are printed."""
    with pytest.raises(AssertionError) as found:
        check_schedules(range(1000), [Counter], steps=8)
    lines = str(found.value).splitlines()
    begin = lines.index("machine = Counter()")
    first, calls = lines[0], lines[begin:]
    assert re.fullmatch(r"seed \d+: AssertionError: .*too many.*", first)
    assert re.fullmatch(r"machine\.begin\(start=[12]\)", calls[1])
    assert calls[2] == "machine.reset()"
    assert re.fullmatch(r"machine\.add\(numbers=\[[89]\]\)", calls[3])
    assert calls[4:] == ["machine.end()"]


def test_a_seed_chooses_a_schedule():
    """A seed always chooses one schedule, and other seeds choose others."""
    chosen = [str(draw_schedule(seed, [Counter], 5)) for seed in (1, 2, 1)]
    assert chosen[0] == chosen[2] != chosen[1]


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
