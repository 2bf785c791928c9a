"""Hyperparameters drawn from a search space, the same for the same experiment and number.

Types: https://nni.readthedocs.io/en/v2.2/Tutorial/SearchSpaceSpec.html. What breaks the grammar is left out, as NNI
only logs it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from alilocal.core.jsonvalue import JsonObject, JsonValue

Number = int | float


def sample(space: JsonValue, seed: str) -> JsonObject:
    """A value for each parameter of `space`; nested choices give the parameters of the branch too."""
    return _drawn(space, random.Random(seed))  # noqa: S311 - repeatable on purpose


def _drawn(space: JsonValue, chance: random.Random) -> JsonObject:
    values: JsonObject = {}
    for name, spec in space.items() if isinstance(space, dict) else ():
        if not isinstance(spec, dict):
            continue
        kind, given = spec.get("_type"), spec.get("_value")
        if not isinstance(given, list) or not given:
            continue
        if kind == "choice":
            values |= _chosen(name, chance.choice(given), chance)
        elif isinstance(kind, str) and kind in _DRAWS:
            value = _number(kind, given, chance)
            if value is not None:
                values[name] = value
    return values


def _number(kind: str, given: list[JsonValue], chance: random.Random) -> Number | None:
    numbers = [one for one in given if isinstance(one, (int, float)) and math.isfinite(one)]
    try:
        value = _DRAWS[kind](chance, *numbers)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _chosen(name: str, item: JsonValue, chance: random.Random) -> JsonObject:
    if not isinstance(item, dict):
        return {name: item}
    inner = {key: value for key, value in item.items() if key != "_name"}
    return {name: item.get("_name"), **_drawn(inner, chance)}


def _log_uniform(chance: random.Random, low: Number, high: Number) -> float:
    return math.exp(chance.uniform(math.log(low), math.log(high)))


def _clipped(value: float, low: Number, high: Number, step: Number) -> float:
    return min(max(round(value / step) * step, low), high)


_DRAWS: Mapping[str, Callable[..., Number]] = {
    "randint": lambda chance, low, high: chance.randrange(int(low), int(high)),
    "uniform": lambda chance, low, high: chance.uniform(low, high),
    "quniform": lambda chance, low, high, q: _clipped(chance.uniform(low, high), low, high, q),
    "loguniform": _log_uniform,
    "qloguniform": lambda chance, low, high, q: _clipped(_log_uniform(chance, low, high), low, high, q),
    "normal": lambda chance, mu, sigma: chance.gauss(mu, sigma),
    "qnormal": lambda chance, mu, sigma, q: round(chance.gauss(mu, sigma) / q) * q,
    "lognormal": lambda chance, mu, sigma: math.exp(chance.gauss(mu, sigma)),
    "qlognormal": lambda chance, mu, sigma, q: round(math.exp(chance.gauss(mu, sigma)) / q) * q,
}
