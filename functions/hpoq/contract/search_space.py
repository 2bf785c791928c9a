"""The search space: its grammar, and draws from it.

Grammar and meaning are those of NNI, the engine behind PAI's experiments
(https://nni.readthedocs.io/en/stable/hpo/search_space.html and its `nni.common.hpo_utils.validation`).
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import Finding, rejection, warning
from hpoq.contract.pointer import pointer_to

ARITY = {
    "randint": ("low", "high"),
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}
"""What `_value` holds, by `_type`."""
TYPES = ("choice", *ARITY)

Drawn = Mapping[str, JsonValue]

_LONGEST_NAME = 1000
_LARGEST = sys.float_info.max


def judge(space: JsonObject, pointer: str) -> Iterator[Finding]:
    """Every broken rule of `space`, which stands at `pointer`.

    What stands under an absurdly long name is placed at the whole: the name in every pointer could fill the
    memory.
    """
    for name, spec in space.items():
        if len(name) <= _LONGEST_NAME:
            yield from _judge_spec(spec, pointer + pointer_to(name))
        else:
            yield from (found.placed(pointer) for found in _judge_spec(spec, ""))


def _judge_spec(spec: JsonValue, at: str) -> Iterator[Finding]:
    if not isinstance(spec, dict) or "_type" not in spec or "_value" not in spec:
        yield rejection(at, "search-space.spec", "must be an object with _type and _value")
        return
    for name in spec:
        if name not in ("_type", "_value"):
            yield warning(at + pointer_to(name), "search-space.member", "a spec has _type and _value only")
    kind, value = spec["_type"], spec["_value"]
    if not isinstance(kind, str) or kind not in TYPES:
        yield rejection(f"{at}/_type", "search-space.type", f"_type must be one of {', '.join(TYPES)}")
    elif not isinstance(value, list):
        yield rejection(f"{at}/_value", "search-space.arity", "_value must be an array")
    elif kind == "choice":
        yield from _judge_choice(value, f"{at}/_value")
    else:
        yield from _judge_range(kind, value, f"{at}/_value")


def _judge_choice(items: list[JsonValue], at: str) -> Iterator[Finding]:
    if not items:
        yield warning(at, "search-space.empty", "a choice of nothing draws nothing")
        return
    nested = isinstance(items[0], dict)
    for index, item in enumerate(items):
        place = f"{at}/{index}"
        if isinstance(item, dict) and nested:
            yield from _judge_nested(item, place)
        elif isinstance(item, bool) and not nested:
            yield warning(
                place, "search-space.boolean", "a boolean in a choice becomes a number in the engine"
            )
        elif not isinstance(item, (int, float, str)) or nested:
            yield rejection(
                place, "search-space.choice", "items are numbers or texts, or all objects with _name"
            )
    if len({isinstance(item, str) for item in items if not isinstance(item, dict)}) > 1:
        yield warning(at, "search-space.mixed", "numbers and texts in one choice may misbehave in the engine")


def _judge_nested(item: JsonObject, at: str) -> Iterator[Finding]:
    if not isinstance(item.get("_name"), str):
        yield rejection(at, "search-space.choice", "a nested choice needs _name, a text")
    yield from judge({name: spec for name, spec in item.items() if name != "_name"}, at)


def _judge_range(kind: str, value: list[JsonValue], at: str) -> Iterator[Finding]:
    names = ARITY[kind]
    if len(value) != len(names):
        yield rejection(at, "search-space.arity", f"{kind} takes [{', '.join(names)}]")
        return
    wanted = int if kind == "randint" else (int, float)
    wrong = [i for i, item in enumerate(value) if isinstance(item, bool) or not isinstance(item, wanted)]
    for index in wrong:
        what = "a whole number" if kind == "randint" else "a number"
        yield rejection(f"{at}/{index}", "search-space.number", f"{names[index]} must be {what}")
    if not wrong:
        yield from _judge_bounds(kind, [item for item in value if isinstance(item, (int, float))], at)


def _judge_bounds(kind: str, numbers: Sequence[int | float], at: str) -> Iterator[Finding]:
    first, second = numbers[:2]
    if "normal" in kind:
        if second <= 0:
            yield rejection(f"{at}/1", "search-space.bounds", "sigma must be greater than 0")
    elif first >= second:
        yield rejection(at, "search-space.bounds", "low must be less than high")
    elif "log" in kind and first <= 0:
        yield rejection(f"{at}/0", "search-space.bounds", f"low of {kind} must be greater than 0")
    if len(numbers) > 2 and numbers[2] <= 0:
        yield warning(f"{at}/2", "search-space.step", "q should be greater than 0")


def sample(space: JsonObject, rng: random.Random, count: int) -> list[Drawn]:
    """`count` draws from a valid `space`, each from names to values."""
    return [{name: _draw(spec, rng) for name, spec in space.items()} for _ in range(count)]


def _draw(spec: JsonValue, rng: random.Random) -> JsonValue:
    if not isinstance(spec, dict) or not isinstance(spec.get("_value"), list) or not spec["_value"]:
        return None
    kind, value = str(spec.get("_type")), spec["_value"]
    if not isinstance(value, list):
        return None
    if kind == "choice":
        item = rng.choice(value)
        if isinstance(item, dict):
            return {name: m if name == "_name" else _draw(m, rng) for name, m in item.items()}
        return item
    numbers = [item for item in value if isinstance(item, (int, float))]
    if kind == "randint":
        return rng.randrange(int(numbers[0]), int(numbers[1]))
    return _real(kind, [float(_within(number, -_LARGEST, _LARGEST)) for number in numbers], rng)


def _real(kind: str, numbers: list[float], rng: random.Random) -> float:
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
    return _within(drawn, -_LARGEST, _LARGEST) if "normal" in kind else _within(drawn, first, second)


def _within(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)


def render(command: str, drawn: Drawn) -> str:
    """`command` with each name of `drawn`, nested ones included, replaced by its value, as the engine does."""
    for name, value in sorted(_flat(drawn), key=lambda pair: len(pair[0]), reverse=True):
        command = command.replace(name, value if isinstance(value, str) else json.dumps(value))
    return command


def _flat(drawn: Drawn) -> Iterator[tuple[str, JsonValue]]:
    for name, value in drawn.items():
        if isinstance(value, dict):
            yield name, value.get("_name")
            yield from _flat({inner: v for inner, v in value.items() if inner != "_name"})
        else:
            yield name, value


def names_in(space: JsonObject) -> Iterator[str]:
    """Every name that `space` substitutes, those of nested choices included."""
    for name, spec in space.items():
        yield name
        items = spec.get("_value") if isinstance(spec, dict) else None
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict):
                yield from names_in({inner: s for inner, s in item.items() if inner != "_name"})
