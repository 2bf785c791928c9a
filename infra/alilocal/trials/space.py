"""Search spaces, and values drawn from them.

Types: https://nni.readthedocs.io/en/v2.2/Tutorial/SearchSpaceSpec.html. A parameter with an invalid specification is
left out, because NNI only logs it.

Every type is drawn from three kinds of choices, which a `Source` makes: one of some options, an integer, a real
number. A normal distribution is drawn from a uniform number in (0, 1) by its quantile, so that a tuner, which knows
no normal distribution, has it as its prior.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from alilocal.core.jsonvalue import JsonObject, JsonValue

_LARGEST = sys.float_info.max
# The quantiles of 0 and 1 are infinite.
_EDGE = 1e-12
_NORMAL = NormalDist()


class Source(Protocol):
    """Makes choices. `name` is the same for the same choice in every draw."""

    def index(self, name: str, count: int) -> int:
        """Return an integer from 0 to `count` - 1, without an order among them."""

    def integer(self, name: str, low: int, high: int) -> int:
        """Return an integer from `low` to `high`."""

    def real(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number from `low` to `high`, uniform or with a uniform logarithm."""


class RandomSource:
    """Draws at random, always the same values for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def index(self, name: str, count: int) -> int:  # noqa: ARG002
        return self._random.randrange(count)

    def integer(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        return self._random.randint(low, high)

    def real(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        return between(self._random.random(), low, high, log=log)


def between(share: float, low: float, high: float, *, log: bool = False) -> float:
    """Return the number that lies `share` of the way from `low` to `high`."""
    if log:
        return min(max(math.exp(between(share, math.log(low), math.log(high))), low), high)
    return low * (1 - share) + high * share


@dataclass(frozen=True)
class Option:
    """An option of a choice, with the parameters that exist only if it is chosen."""

    value: JsonValue
    inner: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter: its name, its `_type`, and its options or numbers."""

    name: str
    kind: str
    numbers: tuple[float, ...] = ()
    options: tuple[Option, ...] = ()


def read_space(space: JsonValue, problems: list[str] | None = None) -> tuple[Parameter, ...]:
    """Return the valid parameters of a search space; what is wrong with the others is added to `problems`."""
    noted = problems if problems is not None else []
    if space is not None and not isinstance(space, dict):
        noted.append("search_space is not an object, so there is nothing to vary")
    return tuple(_read(space, noted)) if isinstance(space, dict) else ()


def draw(parameters: Sequence[Parameter], source: Source, place: str = "") -> JsonObject:
    """Return a value for each parameter, and for the parameters inside the options that were chosen."""
    values: JsonObject = {}
    for one in parameters:
        name = place + one.name
        if one.kind == "choice":
            index = source.index(name, len(one.options))
            values[one.name] = one.options[index].value
            values |= draw(one.options[index].inner, source, f"{name}[{index}]")
        else:
            values[one.name] = _DRAWS[one.kind](source, name, *one.numbers)
    return values


def sample(space: JsonValue, seed: str) -> JsonObject:
    """Return random values from a search space, always the same for the same seed."""
    return draw(read_space(space), RandomSource(seed))


def _read(space: JsonObject, problems: list[str]) -> Iterator[Parameter]:
    for name, spec in space.items():
        kind, given = (spec.get("_type"), spec.get("_value")) if isinstance(spec, dict) else (None, None)
        if not isinstance(kind, str) or (kind != "choice" and kind not in _DRAWS):
            problems.append(f"{name} is left out: its _type {kind!r} is unknown")
        elif not isinstance(given, list) or not given:
            problems.append(f"{name} is left out: its _value must be a list that is not empty")
        elif kind == "choice":
            yield Parameter(name, kind, options=tuple(_read_options(given, problems)))
        else:
            numbers = tuple(
                one for one in given if isinstance(one, (int, float)) and not isinstance(one, bool)
            )
            wrong = _find_problem(kind, numbers) if len(numbers) == len(given) else "must be numbers"
            if wrong:
                problems.append(f"{name} is left out: its _value {wrong}, not {given}")
            else:
                yield Parameter(name, kind, numbers)


def _read_options(items: Sequence[JsonValue], problems: list[str]) -> Iterator[Option]:
    """Yield the options of a choice, which is nested only if each of them has a name, as NNI decides it."""
    nested = [item for item in items if isinstance(item, dict) and "_name" in item]
    if len(nested) < len(items):
        yield from map(Option, items)
        return
    for item in nested:
        inner = {name: spec for name, spec in item.items() if name != "_name"}
        yield Option(item["_name"], tuple(_read(inner, problems)))


def _find_problem(kind: str, numbers: Sequence[float]) -> str | None:
    """Return what is wrong with the numbers of a distribution, or None."""
    has_step = kind.startswith("q")
    if len(numbers) != 2 + has_step or not all(abs(one) <= _LARGEST for one in numbers):
        return f"must be {2 + has_step} finite numbers"
    first, second = numbers[:2]
    if has_step and numbers[2] <= 0:
        return "must have a step above 0"
    if "normal" in kind:
        return None if second > 0 else "must have a deviation above 0"
    if kind == "randint":
        is_range = first < second and all(float(one).is_integer() for one in numbers)
        return None if is_range else "must be two integers, the first below the second"
    if first > second:
        return "must have its lower limit first"
    return "must be above 0" if "log" in kind and first <= 0 else None


def _normal(source: Source, name: str, mu: float, sigma: float) -> float:
    share = source.real(name, _EDGE, 1 - _EDGE)
    return mu + sigma * _NORMAL.inv_cdf(share)


def _lognormal(source: Source, name: str, mu: float, sigma: float) -> float:
    return math.exp(min(_normal(source, name, mu, sigma), math.log(_LARGEST)))


def _round_to_step(value: float, step: float) -> float:
    steps = value / step
    return round(steps) * step if math.isfinite(steps) else value


def _uniform(source: Source, name: str, low: float, high: float) -> float:
    return source.real(name, low, high)


def _loguniform(source: Source, name: str, low: float, high: float) -> float:
    return source.real(name, low, high, log=True)


_Draw = Callable[..., float]


def _clip_to_range(draw_one: _Draw) -> _Draw:
    def clip(source: Source, name: str, low: float, high: float, step: float) -> float:
        return min(max(_round_to_step(draw_one(source, name, low, high), step), low), high)

    return clip


def _round_unbounded(draw_one: _Draw) -> _Draw:
    return lambda source, name, mu, sigma, step: _round_to_step(draw_one(source, name, mu, sigma), step)


_DRAWS: Mapping[str, _Draw] = {
    "randint": lambda source, name, low, high: source.integer(name, int(low), int(high) - 1),
    "uniform": _uniform,
    "quniform": _clip_to_range(_uniform),
    "loguniform": _loguniform,
    "qloguniform": _clip_to_range(_loguniform),
    "normal": _normal,
    "qnormal": _round_unbounded(_normal),
    "lognormal": _lognormal,
    "qlognormal": _round_unbounded(_lognormal),
}
