import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract.search_space import check_space, names_in
from hpoq.producer.sampling import draw_samples, render_command

NUMBER = st.floats(min_value=-1e6, max_value=1e6)


def draw(kind, value, seed=0, count=50):
    return [
        drawn["${x}"]
        for drawn in draw_samples({"${x}": {"_type": kind, "_value": value}}, random.Random(seed), count)
    ]


@given(NUMBER, NUMBER, st.sampled_from(["uniform", "quniform"]), st.integers(0, 9))
def test_uniform_draws_stay_in_bounds(low, high, kind, seed):
    """A uniform draw lies between its bounds, steps or not."""
    low, high = sorted((low, high + 1e-3)) if low != high + 1e-3 else (low, low + 1)
    for value in draw(kind, [low, high] + [0.5] * (kind == "quniform"), seed):
        assert low <= value <= high


@given(st.floats(1e-9, 1), st.floats(1.5, 1e6), st.sampled_from(["loguniform", "qloguniform"]))
def test_logarithmic_draws_stay_in_bounds(low, high, kind):
    """A logarithmic draw lies between its bounds."""
    for value in draw(kind, [low, high] + [0.1] * (kind == "qloguniform")):
        assert low <= value <= high


@given(st.integers(-100, 100), st.integers(1, 50))
def test_randint_leaves_its_upper_bound_out(low, width):
    """randint draws integers from low up to, but not including, high."""
    assert {type(value) for value in draw("randint", [low, low + width])} == {int}
    assert set(draw("randint", [low, low + width], count=400)) <= set(range(low, low + width))


@pytest.mark.parametrize("kind", ["qnormal", "qlognormal"])
def test_steps(kind):
    """A draw with a step is a multiple of it."""
    assert all(value % 0.5 == 0 for value in draw(kind, [1, 2, 0.5]))


@pytest.mark.parametrize("kind", ["lognormal", "qlognormal"])
def test_lognormal_is_not_negative(kind):
    """A logarithmic normal draw is not negative."""
    assert all(value >= 0 for value in draw(kind, [0, 1] + [0.5] * (kind == "qlognormal")))


def test_choice_draws_items_as_they_are():
    """A choice draws its items with their types."""
    assert set(draw("choice", [1, "a", 2.5])) == {1, "a", 2.5}


def test_nested_choices():
    """A nested choice has draws of its own, and their names are replaced in commands too."""
    space = {
        "${m}": {"_type": "choice", "_value": [{"_name": "cnn", "${k}": {"_type": "choice", "_value": [3]}}]}
    }
    assert not any(found.rejects for found in check_space(space, ""))
    assert list(names_in(space)) == ["${m}", "${k}"]
    (drawn,) = draw_samples(space, random.Random(0), 1)
    assert render_command("--model=${m} --kernel=${k}", drawn) == "--model=cnn --kernel=3"


def test_render_replaces_longer_names_first():
    """A name that is the beginning of a longer one does not replace a part of it."""
    assert render_command("${a} a ab", {"a": 1, "ab": 2}) == "${1} 1 2"


def test_an_empty_choice_draws_nothing():
    """An empty choice, which only causes a warning, can be drawn from."""
    assert draw("choice", [], count=1) == [None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("randint", [0, 2**63]),
        ("uniform", [-8e307, 8e307]),
        ("quniform", [0, 1e300, 1e-300]),
        ("loguniform", [5e-324, 1.7e308]),
        ("normal", [1e308, 1e308]),
        ("qnormal", [0, 1e300, 1e-300]),
        ("lognormal", [709, 1000]),
        ("qlognormal", [709, 1000, 1e-5]),
    ],
)
def test_extreme_spaces_are_drawn_from(kind, value):
    """A valid space with extreme bounds can be drawn from, and the draws are JSON numbers."""
    assert list(check_space({"${x}": {"_type": kind, "_value": value}}, "")) == []
    json.dumps(draw(kind, value), allow_nan=False)
