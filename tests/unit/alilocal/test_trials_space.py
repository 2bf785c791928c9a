"""Search spaces: every type is drawn with its documented distribution, at random and by a study alike."""

import copy
import functools
import math
import random
from collections import Counter
from statistics import NormalDist, mean

import pytest

from alilocal.trials import tuners
from alilocal.trials.search import make_tuner
from alilocal.trials.space import RandomSource, draw, read_space, sample
from alilocal.trials.tuners import GridTuner

NORMAL = NormalDist()
COUNT = 2000


def by_random(space, count=COUNT):
    parameters = read_space(space)
    return [draw(parameters, RandomSource(f"7/{number}")) for number in range(count)]


def by_study(space, count=COUNT // 4):
    """Draws of TPE before it has learnt anything, which are those of its prior."""
    arguments = {"seed": 5, "tpe_args": {"n_startup_jobs": count}}
    tuner = make_tuner("TPE", arguments, read_space(space), "", maximize=False)
    return [tuner.ask().values for _ in range(count)]


@functools.cache
def draw_all(draws):
    """Draw from a space with all types at once, because each draw of a study takes a while."""
    return draws(SPACE)


@pytest.fixture(params=[by_random, by_study])
def drawn(request):
    """Draws from SPACE."""
    return draw_all(request.param)


def distance(values, cdf):
    """Return the statistic of Kolmogorov and Smirnov times the root of the count: 1 of 1,000 is above 1.95."""
    ordered = sorted(values)
    count = len(ordered)
    steps = enumerate(map(cdf, ordered))
    gap = max(max(share - place / count, (place + 1) / count - share) for place, share in steps)
    return gap * math.sqrt(count)


def chi_square(values, shares):
    """Pearson's statistic of values that have these shares, divided by what it exceeds once in 1,000 samples."""
    counts = Counter(values)
    assert counts.keys() <= shares.keys()
    total = len(values)
    statistic = sum((counts[one] - total * share) ** 2 / (total * share) for one, share in shares.items())
    freedom = len(shares) - 1
    return statistic / (freedom + 3.1 * math.sqrt(2 * freedom) + 6)


CONTINUOUS = {
    "uniform": ([-2, 6], lambda x: (x + 2) / 8),
    "loguniform": ([0.001, 10], lambda x: math.log(x / 0.001) / math.log(10_000)),
    "normal": ([3, 2], lambda x: NORMAL.cdf((x - 3) / 2)),
    "lognormal": ([1, 0.5], lambda x: NORMAL.cdf((math.log(x) - 1) / 0.5)),
}


def stepped(numbers, low, high, step, share_below):
    """Return the share of each multiple of `step`: that of the interval around it; the limits take what is beyond."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    shares = {}
    for place in range(first, last + 1):
        below = share_below((place + 0.5) * step) if place < last else 1.0
        above = share_below((place - 0.5) * step) if place > first else 0.0
        shares[round(place * step, 6)] = below - above
    return shares


QUANTISED = {
    "quniform": ([0, 5, 1], stepped(None, 0, 5, 1, lambda x: x / 5)),
    "qloguniform": ([1, 8, 1], stepped(None, 1, 8, 1, lambda x: math.log(x) / math.log(8))),
    "qnormal": ([0, 2, 2], stepped(None, -16, 16, 2, lambda x: NORMAL.cdf(x / 2))),
    "qlognormal": ([0, 0.5, 1], stepped(None, 0, 30, 1, lambda x: NORMAL.cdf(math.log(max(x, 1e-9)) / 0.5))),
}


NESTED = {
    "arch": {
        "_type": "choice",
        "_value": [
            {"_name": "linear"},
            {
                "_name": "tree",
                "depth": {"_type": "randint", "_value": [1, 4]},
                "split": {
                    "_type": "choice",
                    "_value": [
                        {"_name": "gini"},
                        {"_name": "gain", "alpha": {"_type": "uniform", "_value": [0, 1]}},
                    ],
                },
            },
        ],
    }
}
OPTIONS = [1, True, "1", None, [1, 2], 0.5]
SPACE = {
    **{kind: {"_type": kind, "_value": numbers} for kind, (numbers, _) in (CONTINUOUS | QUANTISED).items()},
    **NESTED,
    "clipped": {"_type": "quniform", "_value": [0.1, 0.55, 0.2]},
    "integer": {"_type": "randint", "_value": [3, 9]},
    "option": {"_type": "choice", "_value": OPTIONS},
}


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_a_continuous_type_has_its_distribution(drawn, kind):
    """uniform, loguniform, normal and lognormal agree with their distribution functions."""
    _, cdf = CONTINUOUS[kind]
    values = [one[kind] for one in drawn]
    assert distance(values, cdf) < 1.95


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_type_has_the_shares_of_its_steps(drawn, kind):
    """quniform, qloguniform, qnormal and qlognormal give multiples of their step, as often as they should."""
    _, shares = QUANTISED[kind]
    values = [round(one[kind], 6) for one in drawn]
    common = {one: share for one, share in shares.items() if share * len(values) >= 5}
    kept = [one for one in values if one in common]
    assert set(values) <= shares.keys()
    total = sum(common.values())
    assert chi_square(kept, {one: share / total for one, share in common.items()}) < 1


def test_a_quantised_uniform_is_clipped_to_its_limits(drawn):
    """A step that does not divide the range never leads out of it."""
    values = {one["clipped"] for one in drawn}
    assert values == {0.2, 0.4, 0.55}


def test_integers_exclude_their_upper_limit(drawn):
    """randint draws each integer from the lower limit up to, but not including, the upper one equally often."""
    values = [one["integer"] for one in drawn]
    assert {type(one) for one in values} == {int}
    assert chi_square(values, dict.fromkeys(range(3, 9), 1 / 6)) < 1


def test_each_option_is_chosen_equally_often(drawn):
    """Options of any type are chosen equally often, also 1 beside true, and lists."""
    values = [repr(one["option"]) for one in drawn]
    assert chi_square(values, {repr(one): 1 / 6 for one in OPTIONS}) < 1


def test_a_nested_parameter_exists_only_with_its_option(drawn):
    """The parameters inside an option are drawn if it is chosen, at any depth, with their own distributions."""
    rows = [
        {name: value for name, value in one.items() if name not in SPACE or name in NESTED} for one in drawn
    ]
    trees = [one for one in rows if one["arch"] == "tree"]
    gains = [one for one in trees if one["split"] == "gain"]
    assert all(one.keys() == {"arch"} for one in rows if one["arch"] == "linear")
    assert all("alpha" not in one for one in trees if one["split"] == "gini")
    assert chi_square([one["arch"] for one in rows], {"linear": 0.5, "tree": 0.5}) < 1
    assert chi_square([one["depth"] for one in trees], {1: 1 / 3, 2: 1 / 3, 3: 1 / 3}) < 1
    assert distance([one["alpha"] for one in gains], lambda x: x) < 1.95


def test_the_tests_can_fail():
    """A wrong distribution is found: a uniform one taken for a normal one, and a die with a heavy side."""
    chance = random.Random(1)
    assert distance([chance.random() for _ in range(COUNT)], lambda x: NORMAL.cdf(x)) > 1.95
    loaded = chance.choices(range(6), [1, 1, 1, 1, 1, 1.6], k=COUNT)
    assert chi_square(loaded, dict.fromkeys(range(6), 1 / 6)) > 1
    assert mean(by["x"] for by in by_random({"x": {"_type": "uniform", "_value": [0, 1]}})) > 0.4


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uniform", [2, 1]),
        ("uniform", [1]),
        ("uniform", [0, True]),
        ("quniform", [0, 1, 0]),
        ("loguniform", [0, 1]),
        ("normal", [0, 0]),
        ("randint", [1.5, 3]),
        ("randint", [3, 3]),
        ("choice", []),
        ("guess", [1, 2]),
        ("uniform", "0,1"),
        ("uniform", [0, 10**400]),
    ],
)
def test_an_invalid_parameter_is_left_out_and_named(kind, value):
    """An invalid specification is left out of the space, and its name is among the problems."""
    problems = []
    space = {"${bad}": {"_type": kind, "_value": value}, "x": {"_type": "choice", "_value": [1]}}
    assert draw(read_space(space, problems), RandomSource("")) == {"x": 1}
    assert [one.partition(" ")[0] for one in problems] == ["${bad}"]


@pytest.mark.parametrize(
    "items", [[{"lr": 1}], [{"_name": "a"}, {"lr": 1}], [{"_name": "a"}, "b"], [None, [1]]]
)
def test_a_choice_is_nested_only_if_every_option_has_a_name(items):
    """Any other option is the value itself, as for the engine."""
    problems = []
    (parameter,) = read_space({"x": {"_type": "choice", "_value": items}}, problems)
    assert ([one.value for one in parameter.options], problems) == (items, [])


def test_the_same_seed_gives_the_same_values():
    assert sample(NESTED, "a") == sample(NESTED, "a")
    assert len({str(sample(NESTED, str(seed))) for seed in range(20)}) > 5


def asked(tuner, most=1000):
    """Return all proposals of a tuner, up to `most`."""
    found = []
    while len(found) < most and (proposal := tuner.ask()) is not None:
        found.append(proposal.values)
    return found


def test_a_grid_has_every_combination_once():
    """GridSearch visits the product of options and integers, with nested parameters only where they exist."""
    space = {**copy.deepcopy(NESTED), "n": {"_type": "randint", "_value": [0, 2]}}
    space["arch"]["_value"][1]["split"]["_value"] = ["gini", "gain"]
    found = asked(GridTuner(read_space(space)))
    assert len(found) == 2 * (1 + 3 * 2)
    assert len({str(one) for one in found}) == len(found)
    assert found[0] == {"arch": "linear", "n": 0}


def test_a_grid_over_real_numbers_becomes_finer():
    """A real number has its middle first, then the quarters, then the eighths; nothing comes twice."""
    found = asked(GridTuner(read_space({"x": {"_type": "uniform", "_value": [0, 8]}})), 7)
    assert [one["x"] for one in found] == [4, 2, 6, 1, 3, 5, 7]


def test_a_grid_over_steps_ends(monkeypatch):
    """A quantised parameter has finitely many values, so its grid is used up."""
    monkeypatch.setattr(tuners, "_MOST_SKIPPED", 1000)
    found = asked(GridTuner(read_space({"x": {"_type": "quniform", "_value": [0, 1, 0.25]}})))
    assert sorted(one["x"] for one in found) == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("name", ["TPE", "Evolution", "Random"])
def test_a_seed_repeats_a_search(name):
    """Two searches with the same seed and results propose the same values, beyond the random beginning too."""
    space = read_space(
        {"x": {"_type": "uniform", "_value": [0, 1]}, "k": {"_type": "randint", "_value": [0, 5]}}
    )

    def search():
        tuner, found = make_tuner(name, {"seed": 3, "population_size": 4}, space, "", maximize=True), []
        for _ in range(25):
            proposal = tuner.ask()
            found.append(proposal.values)
            tuner.tell(proposal, -((proposal.values["x"] - 0.3) ** 2))
        return found

    assert search() == search()


def test_a_search_is_repeated_from_its_choices():
    """A study that is asked for earlier choices proposes the same values, so that it can learn their results."""
    space = read_space({**NESTED, "z": {"_type": "normal", "_value": [0, 1]}})
    first = make_tuner("TPE", {}, space, "1", maximize=True)
    again = make_tuner("TPE", {}, space, "2", maximize=True)
    for _ in range(10):
        proposal = first.ask()
        assert again.ask(proposal.choices).values == proposal.values


@pytest.mark.parametrize("maximize", [True, False])
def test_tpe_learns_in_the_direction_that_is_asked_for(maximize):
    """After 60 trials TPE proposes values near the optimum more often than a random search does."""
    space = read_space({"x": {"_type": "uniform", "_value": [0, 1]}})
    tuner = make_tuner("TPE", {"seed": 0}, space, "", maximize=maximize)
    found = []
    for _ in range(60):
        proposal = tuner.ask()
        found.append(proposal.values["x"])
        tuner.tell(proposal, (proposal.values["x"] - 0.7) ** 2 * (-1 if maximize else 1))
    assert sum(abs(one - 0.7) < 0.1 for one in found[30:]) > 15
