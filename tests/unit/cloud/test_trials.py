"""Trials are read in every form that the documentation shows, and from all pages."""

import itertools
import json

import pytest

from hpoq.cloud.answers import Answer
from hpoq.cloud.experiments import Unreadable
from hpoq.cloud.trials import Trial, TrialPage, _read_seconds, read_all_trials, read_trial_page
from hpoq.errors import Invalid


def answer(document):
    return Answer(200, None, "", "r", None, document, is_json=True)


def page(*rows, **members):
    return read_trial_page("sAbCdEf", answer({"Trials": list(rows), **members}))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("0.93", 0.93),
        ('{"default": 0.93, "loss": 2}', 0.93),
        ({"default": "0.93"}, 0.93),
        (0.93, 0.93),
        (1, 1.0),
        ("1e3", 1000.0),
        (None, None),
        ("", None),
        ("good", None),
        (True, None),
        ("NaN", None),
        ("Infinity", None),
        ("1" + "0" * 400, None),
        ({"loss": 1}, None),
        ([1], None),
        ("[" * 100_000, None),
    ],
)
def test_a_final_metric(metric, expected):
    """A number, its text, or an object with it; anything else, and what is not finite, is no metric."""
    (trial,) = page({"TrialId": "t", "FinalMetric": metric}).trials
    assert trial.metric == expected


def test_a_row():
    """All members are read, with the initial letters in either case."""
    row = {"TrialId": "t", "Status": "SUCCEEDED", "Hyperparam": '{"${x}": 1}', "FinalMetric": "2"}
    lower = {name[0].lower() + name[1:]: value for name, value in row.items()}
    expected = Trial("t", "SUCCEEDED", 2.0, {"${x}": 1})
    assert page(row).trials == page(lower).trials == (expected,)
    assert read_trial_page("sAbCdEf", answer({"trials": [lower], "totalCount": 1})) == TrialPage(
        1, (expected,)
    )
    for own in ({}, {"ExperimentId": "sAbCdEf"}, {"experimentId": "sabcdef"}):
        assert page({"TrialId": "t", **own}).trials == (Trial("t", "UNKNOWN", None, None),)
    for odd in ("not JSON", "[1]", [1]):
        assert page({"TrialId": "t", "Hyperparam": odd}).trials[0].hyperparameters is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Trials": {}},
        {"Trials": [1]},
        {"Trials": [{"Status": "x"}]},
        {"Trials": [{"TrialId": "t", "ExperimentId": "sOther1"}]},
    ],
)
def test_another_form_is_unreadable(document):
    """An answer that does not list trials of this experiment proves nothing."""
    with pytest.raises(Unreadable):
        read_trial_page("sAbCdEf", answer(document))


@pytest.mark.parametrize("missing", ["GmtCreateTime", "GmtModifiedTime"])
def test_the_duration_of_a_trial_needs_both_times(missing):
    """A trial that has just been made may have no second one."""
    times = {"GmtCreateTime": "2026-11-28 10:00:00", "GmtModifiedTime": "2026-11-28 10:00:07"}
    assert _read_seconds(times) == 7.0
    del times[missing]
    assert _read_seconds(times) is None


def test_no_trials_at_all():
    """A count of zero may come without a list; one beside a list is not trusted more than the list."""
    assert read_trial_page("sAbCdEf", answer({"TotalCount": 0})) == TrialPage(0, ())
    assert len(page({"TrialId": "t"}, TotalCount=0).trials) == 1
    with pytest.raises(Unreadable):
        read_trial_page("sAbCdEf", answer({"TotalCount": 1}))


@pytest.mark.parametrize(("total", "count"), [(3, 3), ("3", 3), ("many", None), (None, None), (-1, None)])
def test_the_count_of_a_page(total, count):
    """A count is a number or its text; anything else counts as missing."""
    assert page(TotalCount=total).total_count == count


def trials(count):
    return [Trial(f"t{number}", "SUCCEEDED", float(number), None) for number in range(count)]


def paged(rows, size, *, total="all", beyond="empty", most=None):
    """Return a reader of pages, and the numbers that it was asked for."""
    asked = []
    size = min(size, most or size)

    def read(number):
        asked.append(number)
        first = (number - 1) * size
        if first >= len(rows) and number > 1 and beyond == "refused":
            raise Invalid("the page number is out of range", service="paiautoml", operation="ListHpoTrials")
        if first >= len(rows) and beyond == "last":
            first = (len(rows) - 1) // size * size
        found = tuple(rows[first : first + size])
        count = {"all": len(rows), "page": len(found), None: None}[total]
        return TrialPage(count, found)

    return read, asked


@pytest.mark.parametrize("total", ["all", "page", None])
@pytest.mark.parametrize("beyond", ["empty", "last", "refused"])
@pytest.mark.parametrize("most", [None, 3])
def test_every_trial_is_read(total, beyond, most):
    """Whatever a total counts, a page beyond the end shows, or a page holds at most: each trial is read."""
    for count, is_expected in itertools.product([0, 1, 9, 10, 11, 25], [True, False]):
        rows = trials(count)
        read, asked = paged(rows, 10, total=total, beyond=beyond, most=most)
        listing = read_all_trials(read, 10, count if is_expected else None)
        assert list(listing.by_id.values()) == rows, (count, is_expected)
        assert listing.is_complete, (count, is_expected)
        assert len(asked) <= count // (most or 10) + 2, (count, is_expected)


def test_a_first_page_that_is_refused_is_not_an_empty_listing():
    """Only a later page can lie behind the last one."""

    def refuse(_number):
        raise Invalid("why", service="paiautoml", operation="ListHpoTrials")

    with pytest.raises(Invalid):
        read_all_trials(refuse, 10)


def test_a_short_listing_costs_one_call():
    """If the counts agree with a short first page, no other page is read."""
    read, asked = paged(trials(4), 10)
    read_all_trials(read, 10, 4)
    assert asked == [1]


@pytest.mark.parametrize(("expected", "total"), [(1, None), (None, "page"), (0, None)])
def test_a_short_page_is_not_the_last_one_by_itself(expected, total):
    """What the experiment states may be old, and a total may count the page, so neither ends a reading alone."""
    read, asked = paged(trials(3), 10, total=total, most=1)
    assert len(read_all_trials(read, 10, expected).by_id) == 3
    assert asked == [1, 2, 3, 4]


def test_a_full_page_is_not_the_last_one():
    """More trials may have been made since the experiment stated their number, if the total counts the page."""
    read, _ = paged(trials(25), 10, total="page")
    assert len(read_all_trials(read, 10, 10).by_id) == 25


def test_missing_trials_are_noticed():
    """A listing with fewer trials than the experiment or one of its pages states is not complete."""
    read, _ = paged(trials(4), 10)
    assert not read_all_trials(read, 10, 5).is_complete
    assert not read_all_trials(lambda _: TrialPage(5, tuple(trials(4))), 10).is_complete


def test_a_listing_that_never_ends_is_cut():
    """A listing of trials that never ends is cut off."""
    listing = read_all_trials(lambda n: TrialPage(None, (Trial(json.dumps(n), "x", None, None),)), 1)
    assert len(listing.by_id) == 1000


def test_a_listing_is_cut_when_time_is_up():
    """What is listed by then is returned, and is not taken for complete."""
    pages = []

    def read(number):
        pages.append(number)
        return TrialPage(None, (Trial(str(number), "x", None, None),))

    listing = read_all_trials(read, 1, has_time=lambda: len(pages) < 3)
    assert (pages, [*listing.by_id], listing.is_complete) == ([1, 2, 3], ["1", "2", "3"], False)
