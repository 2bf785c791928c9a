"""What `hpoq try` shows of an experiment's trials."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from alilocal.trials.record import Run, TrialRecord
from hpoqctl.leaderboard import describe_trial, draw_chart, make_table, rank_trials, trial_row
from hpoqctl.output import format_hyperparameters


def make_run(*metrics, maximize=True):
    """Return a run whose trials have these final metrics; None is a trial that failed."""
    trials = []
    for number, metric in enumerate(metrics):
        trial = TrialRecord(f"t{number}", number, "s1", {"${x}": number}, 0.0, "SUCCEEDED", 2.5, began=1.0)
        if metric is None:
            trial.status, trial.reason = "FAILED", "why"
        else:
            trial.metrics.append({"default": metric, "type": "FINAL"})
        trials.append(trial)
    return Run([(0.0, "FINISHED")], trials, maximize=maximize)


def test_trials_are_ranked_in_the_direction_of_the_search():
    """The best one is first, in either direction, and those without a metric are last."""
    assert [one.sequence for one in rank_trials(make_run(1, None, 3, 2))] == [2, 3, 0, 1]
    assert [one.sequence for one in rank_trials(make_run(1, None, 3, 2, maximize=False))] == [0, 3, 2, 1]


def test_a_row_for_machines_has_numbers_or_null():
    good, bad = make_run(0.5, None).trials
    assert trial_row(good) == {
        "trialId": "t0",
        "hyperparameters": {"${x}": 0},
        "metric": 0.5,
        "status": "SUCCEEDED",
        "seconds": 1.5,
        "reason": None,
    }
    assert (trial_row(bad)["metric"], trial_row(bad)["reason"]) == (None, "why")


def test_parameters_are_shown_without_their_placeholders():
    """A table has five digits of a number, and a result all of them, so that it can be repeated."""
    values = {"${lr}": 0.000123456789, "plain": "a b", "${flag}": True, "${l}": [1, 2]}
    rest = '  plain="a b"  flag=true  l=[1, 2]'
    assert format_hyperparameters(values, is_short=True) == f"lr=0.00012346{rest}"
    assert format_hyperparameters(values) == f"lr=0.000123456789{rest}"
    assert len(format_hyperparameters({"x": "y" * 1000}, is_short=True)) < 210


def test_both_commands_show_the_same_table():
    """A row has the same cells; only `hpoq trials` has ranks, since it lists an experiment that is elsewhere."""
    run = make_run(1, 3)
    plain = [describe_trial(run, trial, 9.0) for trial in rank_trials(run)]
    tables = [make_table(plain), make_table(replace(row, rank=place) for place, row in enumerate(plain, 1))]
    texts = []
    for table in tables:
        out = io.StringIO()
        Console(file=out, width=80).print(table)
        texts.append([line.split() for line in out.getvalue().splitlines()])
    assert texts[0] == [
        ["trial", "metric", "status", "time", "hyperparameters"],
        ["2", "3", "SUCCEEDED", "1.5", "s", "x=1"],
        ["1", "1", "SUCCEEDED", "1.5", "s", "x=0"],
    ]
    ranks = ["#", "1", "2"]
    assert texts[1] == [[rank, *line] for rank, line in zip(ranks, texts[0], strict=True)]


def test_the_chart_shows_the_best_metric_so_far():
    """The line rises with each new best metric, and is as wide as there are trials."""
    lines = draw_chart(make_run(1, 3, 2, 5), height=5, is_ascii=True)
    assert lines == ["5 |   =", "4 |", "3 | ==", "2 |  .", "1 |=", "  +----", "   1  4 trials"]


@pytest.mark.parametrize("metrics", [(), (1,), (None, None), (1e308, -1e308)])
def test_a_chart_without_a_scale_is_left_out(metrics):
    """Fewer than two metrics, or metrics too far apart, make no chart."""
    assert draw_chart(make_run(*metrics, maximize=False)) == []


def test_many_trials_share_the_width():
    lines = draw_chart(make_run(*range(1000)), width=50)
    assert max(map(len, lines)) < 70
    assert lines[-1].split() == ["1", "1000", "trials"]


def test_equal_metrics_make_a_flat_line():
    assert sum("=" in line for line in draw_chart(make_run(2, 2, 2), is_ascii=True)) == 1
