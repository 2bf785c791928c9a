"""Draws from a search space, and commands with a draw filled in.

Both follow NNI, the engine behind PAI's experiments.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Mapping

from fcruntime.jsonvalue import JsonObject, JsonValue

Drawn = Mapping[str, JsonValue]
_LARGEST = sys.float_info.max


def draw_samples(space: JsonObject, rng: random.Random, count: int) -> list[Drawn]:
    """Return `count` draws from a valid search space; each maps names to values."""
    return [{name: _draw(spec, rng) for name, spec in space.items()} for _ in range(count)]


def _draw(spec: JsonValue, rng: random.Random) -> JsonValue:
    value = spec.get("_value") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(value, list) or not value:
        return None
    kind = str(spec.get("_type"))
    if kind == "choice":
        item = rng.choice(value)
        if isinstance(item, dict) and "_name" in item:
            return {name: m if name == "_name" else _draw(m, rng) for name, m in item.items()}
        return item
    numbers = [item for item in value if isinstance(item, (int, float))]
    if kind == "randint":
        return rng.randrange(int(numbers[0]), int(numbers[1]))
    return _draw_number(kind, [float(_clamp(number, -_LARGEST, _LARGEST)) for number in numbers], rng)


def _draw_number(kind: str, numbers: list[float], rng: random.Random) -> float:
    first, second, *step = numbers
    if "normal" in kind:
        drawn = rng.gauss(first, second)
        drawn = math.exp(min(drawn, math.log(_LARGEST))) if "log" in kind else drawn
    elif "log" in kind:
        drawn = math.exp(rng.uniform(math.log(first), math.log(second)))
    else:
        drawn = rng.uniform(first, second)
    if step and step[0] > 0 and math.isfinite(drawn / step[0]):
        drawn = round(drawn / step[0]) * step[0]
    return _clamp(drawn, -_LARGEST, _LARGEST) if "normal" in kind else _clamp(drawn, first, second)


def _clamp(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)


def render_command(command: str, drawn: Drawn) -> str:
    """Return `command` with each name of `drawn`, including nested ones, replaced by its value as the engine does."""
    for name, value in sorted(_flatten(drawn), key=lambda pair: len(pair[0]), reverse=True):
        command = command.replace(name, str(value))
    return command


def _flatten(drawn: Drawn) -> Iterator[tuple[str, JsonValue]]:
    for name, value in drawn.items():
        if isinstance(value, dict) and "_name" in value:
            yield name, value["_name"]
            yield from _flatten({inner: v for inner, v in value.items() if inner != "_name"})
        else:
            yield name, value
