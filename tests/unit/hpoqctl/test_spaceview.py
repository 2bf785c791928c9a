"""What `hpoq check --sample` says about a request: its trials, ranges, histograms, and the size of its space."""

import pytest

from hpoqctl.spaceview import count_combinations, describe_plan, describe_space


def config(trials, parallel, mode, weights):
    run = {"max_trial_number": trials, "trial_concurrency": parallel}
    tuner = {"tuner": {"class_args": {"optimize_mode": mode}}} if mode else {}
    present = {name: value for name, value in run.items() if value is not None}
    return {"yml_config": {**present, **tuner}, "metric_config": {"metric_dict": weights}}


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        (config(20, 5, "minimize", {"val_loss": 1}), "20 trials, 5 at a time, minimize val_loss"),
        (config(1, None, "maximize", {"auc": 0.5, "f1": 2}), "1 trial, maximize 0.5 x auc + 2 x f1"),
        (config(None, 5, None, {"loss": -1}), "no limit of trials, 5 at a time, optimize -1 x loss"),
        ({}, "no limit of trials"),
    ],
)
def test_one_line_says_what_will_happen(given, plan):
    """The number of trials, how many run together, and what is optimized in which direction."""
    assert describe_plan(given) == plan


@pytest.mark.parametrize(
    ("spec", "text", "size"),
    [
        (("choice", [16, "a", True]), "choice of 16, a, true", 3),
        (("choice", list(range(9))), "choice of 0, 1, 2, 3, 4, 5, ... (9 values)", 9),
        (("randint", [3, 9]), "3 to 8, integers", 6),
        (("uniform", [0, 0.5]), "0 to 0.5", None),
        (("quniform", [0, 0.3, 0.05]), "0 to 0.3 in steps of 0.05", 7),
        (("loguniform", [0.0001, 0.1]), "0.0001 to 0.1, by magnitude", None),
        (("qloguniform", [1, 100, 1]), "1 to 100 in steps of 1, by magnitude", 100),
        (("normal", [0, 1]), "around 0 +- 1", None),
        (("qnormal", [0, 1, 0.5]), "around 0 +- 1 in steps of 0.5", None),
        (("lognormal", [0, 1]), "log of it around 0 +- 1", None),
        (("randint", [0, 10**399]), "0 to inf, integers", None),
        (("uniform", [-(10**399), 10**399]), "-inf to inf", None),
        (
            ("choice", [{"_name": "a", "x": {"_type": "choice", "_value": [1, 2]}}, {"_name": "b"}]),
            "choice of a, b",
            3,
        ),
    ],
)
def test_ranges_and_sizes(spec, text, size):
    """Each type is described by its range, and counted if it has a number of values."""
    (view,) = describe_space({"${x}": {"_type": spec[0], "_value": spec[1]}}, seed=0)
    assert (view.name, view.range, view.size) == ("${x}", text, size)


def test_histograms_show_the_distribution():
    """A normal distribution is high in the middle; a logarithmic one is flat on its own scale."""
    space = {
        kind: {"_type": kind, "_value": value}
        for kind, value in [("normal", [0, 1]), ("loguniform", [1, 1e6])]
    }
    normal, loguniform = describe_space(space, seed=1)
    assert max(normal.bars) in normal.bars[4:8]
    assert len(set(loguniform.bars)) <= 3
    assert count_combinations([normal, loguniform]) is None


def test_combinations_are_multiplied():
    """The size of a space is the product of the numbers of values."""
    space = {
        "a": {"_type": "choice", "_value": [1, 2]},
        "b": {"_type": "quniform", "_value": [0, 1, 0.5]},
        "c": {"_type": "randint", "_value": [0, 5]},
    }
    assert count_combinations(describe_space(space, seed=0)) == 2 * 3 * 5
