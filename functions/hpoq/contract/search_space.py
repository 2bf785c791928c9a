"""The search space: its grammar.

Grammar and meaning are those of NNI, the engine behind PAI's experiments
(https://nni.readthedocs.io/en/stable/hpo/search_space.html and its `nni.common.hpo_utils.validation`).
The service documents a free object, and the engine only logs what its validation finds. Only a search space that the
engine cannot run is therefore rejected; anything else that its validation reports is a warning.

A function whose name begins with `_hint_at_` returns the end of a message, which says how to write what another tool
writes in its own way, or an empty string.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import (
    Finding,
    Hints,
    describe_type,
    fold_name,
    hint_at_comma,
    hint_at_quotes,
    rejection,
    warning,
)
from hpoq.contract.jsontext import pointer_to
from hpoq.contract.patterns import NUMBER

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
"""The items of `_value`, by `_type`."""
TYPES = ("choice", *ARITY)
# Words of other tools for hyperparameter searches, and of programming languages, as `fold_name` returns them.
_MEANT = {
    **dict.fromkeys(("categorical", "discrete", "grid", "gridsearch", "values", "list", "bool"), "choice"),
    **dict.fromkeys(("boolean", "choices", "ordinal", "constant"), "choice"),
    **dict.fromkeys(("int", "integer", "range", "uniformint", "intuniform", "uniforminteger"), "randint"),
    **dict.fromkeys(("qrandint", "discreteuniform", "quantizeduniform"), "quniform"),
    **dict.fromkeys(("lograndint", "qlograndint", "intloguniform", "quantizedloguniform"), "qloguniform"),
    **dict.fromkeys(("float", "double", "real", "continuous", "interval", "uniformfloat"), "uniform"),
    **dict.fromkeys(("log", "logfloat", "reverselog"), "loguniform"),
    **dict.fromkeys(("normalfloat", "gaussian"), "normal"),
    **dict.fromkeys(("normalint", "normalinteger", "quantizednormal"), "qnormal"),
}
# What other tools call the bounds of a range, and the values of a choice.
_BOUNDS = (
    *(("low", "high"), ("lower", "upper"), ("lowerbound", "upperbound")),
    *(("min", "max"), ("minvalue", "maxvalue"), ("minimum", "maximum"), ("minval", "maxval")),
)
_LISTS_OF_BOUNDS = ("bounds", "bound", "range", "interval", "limits")
_CHOICES = ("choices", "categories", "gridsearch", "options", "sequence", "list", "values", "vals")
_STEPS = ("step", "q", "quantum")
# The members of an entry that name its type.
_KINDS = (
    *("valuetype", "type", "distribution", "sampler", "parametertype"),
    *("class", "classname", "kind", "name"),
)
# The members of an entry that contain its bounds or its values.
_INNER = r"attributes|config|feasiblespace|(double|integer|discrete|categorical)valuespec"
# A call of a function of another tool, such as tune.loguniform(1e-4, 0.1).
_CALL = r"\s*((?:\w{1,40}\.){0,5})(\w{1,40})\("
# An argument of such a call that makes it logarithmic, and one that makes its values integers.
_LOGARITHMIC = r"""\b(?:log\s*=\s*True|(?:sampling|scale)\s*=\s*["']log)"""
_INTEGER = r"\bdiscrete\s*=\s*True"

_EXAMPLE = '{"${lr}": {"_type": ..., "_value": ...}}'
_EXCLUDED = "; high is excluded"
_INTEGER_KINDS = {"uniform": "randint", "loguniform": "qloguniform", "normal": "qnormal"}
_LOGARITHMIC_KINDS = {"randint": "qloguniform", "uniform": "loguniform", "quniform": "qloguniform"}
_LOGARITHMS = "; write the bounds themselves, not their logarithms"
_LONGEST_NAME = 1000
_RANGE_OR_CHOICE = (
    '; write {"_type": "uniform", "_value": [low, high]} for a range, or {"_type": "choice", "_value": [...]} for '
    "these two values"
)
_MOST_INTEGERS = 2**63
_LARGEST_LOGARITHM = math.log(sys.float_info.max)


def check_space(space: JsonObject, pointer: str, hints: Hints | None = None) -> Iterator[Finding]:
    """Yield the findings about a search space, which is at `pointer`.

    A finding under a very long name is placed at the search space: pointers with that name could fill the memory.
    """
    hints = hints or Hints()
    bare = find_bare(space)
    if bare:
        what = f"must have names of parameters, not {' and '.join(bare)}; put a name around both, as in {_EXAMPLE}"
        yield rejection(pointer, "search-space.spec", what)
    for name, spec in space.items():
        if name in bare:
            continue
        if len(name) <= _LONGEST_NAME:
            yield from _check_spec(spec, pointer + pointer_to(name), hints)
        else:
            yield from (found.move_to(pointer) for found in _check_spec(spec, pointer, hints))


def _check_spec(spec: JsonValue, at: str, hints: Hints) -> Iterator[Finding]:
    if not isinstance(spec, dict):
        what = f"must be an object with _type and _value, not {describe_type(spec)}{_hint_at_notation(spec)}"
        yield rejection(at, "search-space.spec", what)
        return
    missing = [name for name in ("_type", "_value") if name not in spec]
    if missing:
        what = f"must have _type and _value{_hint_at_missing(missing, spec)}"
        yield rejection(at, "search-space.spec", what)
        return
    for name in spec:
        if name not in ("_type", "_value"):
            yield warning(
                at + pointer_to(name), "search-space.member", "only _type and _value have an effect here"
            )
    kind, value = spec["_type"], spec["_value"]
    if not isinstance(kind, str) or kind not in TYPES:
        same = _MEANT.get(_fold_type(kind)) if isinstance(kind, str) else None
        hint = f"; did you mean {same}?" if same else hints.suggest(kind, TYPES)
        what = f"_type must be one of {', '.join(TYPES)}{hint}"
        yield rejection(f"{at}/_type", "search-space.type", what)
        kind = None
    if not isinstance(value, list):
        what = f"_value must be an array{_explain_no_array(kind, value)}"
        yield rejection(f"{at}/_value", "search-space.arity", what)
    elif kind == "choice":
        yield from _check_choice(value, f"{at}/_value", hints)
    elif kind is not None:
        yield from _check_range(kind, value, f"{at}/_value")


def _explain_no_array(kind: str | None, value: JsonValue) -> str:
    form = f" [{', '.join(ARITY[kind])}]" if kind in ARITY else ""
    is_text = isinstance(value, str) and value.lstrip().startswith("[")
    hint = "; write the array itself, not a string that contains it" if is_text else ""
    if kind == "choice" and isinstance(value, (bool, int, float)):
        hint = "; put it in brackets"
    return f"{form}, not {describe_type(value)}{hint}"


def _hint_at_notation(spec: JsonValue) -> str:
    if isinstance(spec, list):
        return _hint_at_array(spec)
    if isinstance(spec, (bool, int, float)):
        return _write_form("choice", "...")
    if isinstance(spec, str) and spec.lstrip().startswith("{"):
        return "; write the object itself, not a string that contains it"
    found = re.match(_CALL, spec) if isinstance(spec, str) else None
    if found is None:
        return ""
    kind = _find_type(found[2])
    if kind is None:
        return ""
    if kind in _LOGARITHMIC_KINDS and re.search(_LOGARITHMIC, str(spec)[:_LONGEST_NAME]):
        kind = _LOGARITHMIC_KINDS[kind]
    if kind in _INTEGER_KINDS and re.search(_INTEGER, str(spec)[:_LONGEST_NAME]):
        kind = _INTEGER_KINDS[kind]
    hint = _EXCLUDED if kind == "randint" else ""
    if found[1] == "hp." and "loguniform" in found[2]:  # Hyperopt's bounds are logarithms
        hint = _LOGARITHMS
    return f"{_write_form(kind, ', '.join(ARITY.get(kind, ('...',))))}{hint}"


def _hint_at_array(spec: list[JsonValue]) -> str:
    if any(isinstance(item, dict) for item in spec):
        is_list = all(isinstance(item, dict) for item in spec)
        return f"; write each parameter as a member of search_space, as in {_EXAMPLE}" if is_list else ""
    # The type stands before the bounds, or after them.
    words = [item for item in spec if isinstance(item, str)]
    if len(words) == 1 < len(spec) and (word := words.pop()) in (spec[0], spec[-1]):
        return _write_form(_find_type(word), "...")
    if len(spec) == 2 and all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in spec):
        return _RANGE_OR_CHOICE
    return _write_form("choice", "...")


def _hint_at_missing(missing: Sequence[str], spec: JsonObject) -> str:
    near = {name.strip("_ ").lower().removesuffix("s") for name in spec}
    meant = [name for name in missing if name[1:] in near]
    if "_value" in missing and meant != missing and (hint := _hint_at_members(spec)):
        return hint
    if meant:
        is_bare = all(name[1:] in spec for name in meant)
        others = next((f"; {name} is missing" for name in missing if name not in meant), "")
        return f"; write {' and '.join(meant)}{', with an underscore' if is_bare else ''}{others}"
    if len(missing) != 1:
        return "; the parameters are in another object; remove that level" if is_level(spec) else ""
    kind = spec.get("_type")
    form = _write_form(kind, ", ".join(ARITY[kind])) if isinstance(kind, str) and kind in ARITY else ""
    return f"; {missing[0]} is missing{form}"


def _hint_at_members(spec: JsonObject) -> str:
    members, names = _collect_members(spec)
    for pair in _BOUNDS:
        if members.keys() >= {*pair}:
            return _hint_at_bounds(members, names, pair)
    for name in _LISTS_OF_BOUNDS:
        if isinstance(bounds := members.get(name), list) and len(bounds) == 2:
            return _hint_at_bounds(members, names, ("low", "high"))
    if len(members) == 1:
        ((name, value),) = members.items()
        if name in TYPES and isinstance(value, list):
            return _write_form(name, "...")
        if name == "value" and not isinstance(value, (list, dict)):
            return _write_form("choice", "...")
    return _write_form("choice", "...") if any(name in members for name in _CHOICES) else ""


def _collect_members(spec: JsonObject) -> tuple[JsonObject, dict[str, str]]:
    """Return the members of an entry, with those of the object in it that holds its bounds, and their names.

    Both are by folded name.
    """
    members = {fold_name(name): value for name, value in spec.items()}
    names = {fold_name(name): name for name in spec}
    for name, value in [*members.items()]:
        if isinstance(value, dict) and (found := re.fullmatch(_INNER, name)):
            members = {"type": found[1], **{fold_name(one): held for one, held in value.items()}, **members}
            names = {**{fold_name(one): one for one in value}, **names}
    return members, names


def _hint_at_bounds(members: JsonObject, names: dict[str, str], pair: tuple[str, str]) -> str:
    kind = next((found for name in _KINDS if (found := _find_type(members.get(name)))), "uniform")
    if _is_logarithmic(members):
        kind = _LOGARITHMIC_KINDS.get(kind, kind)
    step = next((name for name in _STEPS if members.get(name) not in (None, 1, "1", 0)), None)
    if kind in ("randint", "uniform") and step:
        kind = "quniform"
    last = ARITY.get(kind, ())[2:] if step is None else (names[step],) * len(ARITY.get(kind, ())[2:])
    form = _write_form(kind, ", ".join((*(names.get(name, name) for name in pair), *last)))
    low = members.get(pair[0])
    # The bounds of Determined and of some distributions of Weights & Biases are exponents.
    if "loguniform" in kind and ("base" in members or (isinstance(low, (int, float)) and low <= 0)):
        return f"{form}{_LOGARITHMS}"
    # Other tools draw the upper bound of integers, too.
    return f"{form}; {names.get(pair[1], pair[1])} is excluded" if kind == "randint" else form


def _is_logarithmic(members: JsonObject) -> bool:
    """Return whether an entry of another tool draws by magnitude: with a flag, or by the name of its scale."""
    scales = (members.get(name) for name in ("scale", "scaletype", "scalingtype"))
    flags = (members.get("log"), members.get("logscale"))
    return True in flags or any(isinstance(one, str) and "log" in one.lower() for one in scales)


def _find_type(word: JsonValue) -> str | None:
    """Return the `_type` that another tool calls `word`, or None if it is not known."""
    if not isinstance(word, str):
        return None
    name = _fold_type(word)
    return name if name in TYPES else _MEANT.get(name)


def _fold_type(word: str) -> str:
    """Return the name of a type without what other tools add to it, as in suggest_int and log_uniform_values."""
    name = fold_name(word).removeprefix("suggest").removesuffix("distribution").removesuffix("parameterrange")
    return name if name == "values" else name.removesuffix("values")


def _write_form(kind: str | None, value: str) -> str:
    return f'; write {{"_type": "{kind}", "_value": [{value}]}}' if kind else ""


def _check_choice(items: list[JsonValue], at: str, hints: Hints) -> Iterator[Finding]:
    if not items:
        yield rejection(
            at, "search-space.empty", "an empty choice; the engine ends without a value to choose"
        )
    nested = _find_nested(items) if items and isinstance(items[0], dict) else []
    if nested:
        yield from _check_nested_choices(nested, at, hints)
        return
    if len(items) == 1 and not any(isinstance(item, list) for item in items):
        yield warning(at, "search-space.bounds", "one item, so there is only one value")
    for index in _find_repeats(items):
        what = "the same value as before; it is only drawn more often"
        yield warning(f"{at}/{index}", "search-space.repeated", what)
    for index, item in enumerate(items):
        place = f"{at}/{index}"
        if isinstance(item, bool):
            what = f"the engine inserts this boolean into commands as {item}, with a capital letter"
            yield warning(place, "search-space.boolean", what)
        elif not isinstance(item, (int, float, str)):
            yield warning(place, "search-space.choice", _explain_item(item, is_only=len(items) == 1))
    if len({isinstance(item, str) for item in items if isinstance(item, (int, float, str))}) > 1:
        yield warning(at, "search-space.mixed", "numbers and strings in one choice may confuse the engine")


def _explain_item(item: JsonValue, *, is_only: bool) -> str:
    """Return what is wrong with an item of a choice that is neither a number nor a string."""
    if is_only and isinstance(item, list):
        return "an array in an array; remove the inner brackets"
    hint = "; write _name, with an underscore" if isinstance(item, dict) and "name" in item else ""
    return f"may confuse the engine, which documents numbers or strings, or only objects with _name{hint}"


def _find_repeats(items: list[JsonValue]) -> Iterator[int]:
    """Yield the index of each string, number or boolean that equals an earlier one of the same type."""
    seen: set[tuple[type, JsonValue]] = set()
    for index, item in enumerate(items):
        if not isinstance(item, (str, int, float)):
            continue
        if (type(item), item) in seen:
            yield index
        seen.add((type(item), item))


def _check_nested_choices(choices: list[JsonObject], at: str, hints: Hints) -> Iterator[Finding]:
    for index in _find_repeats([choice["_name"] for choice in choices]):
        what = "the same _name as before; results do not show which of them was chosen"
        yield warning(f"{at}/{index}/_name", "search-space.repeated", what)
    for index, choice in enumerate(choices):
        place = f"{at}/{index}"
        if not isinstance(choice["_name"], str):
            what = "the _name of a nested choice should be a string"
            yield warning(f"{place}/_name", "search-space.choice", what)
        yield from check_space({name: spec for name, spec in choice.items() if name != "_name"}, place, hints)


def _check_range(kind: str, value: list[JsonValue], at: str) -> Iterator[Finding]:
    names = ARITY[kind]
    if len(value) != len(names):
        yield rejection(at, "search-space.arity", f"_value of {kind} must be [{', '.join(names)}]")
        return
    numbers = [item for item in value if isinstance(item, (int, float)) and not isinstance(item, bool)]
    is_valid = len(numbers) == len(value)
    for index, item in enumerate(value):
        place = f"{at}/{index}"
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            what = "an integer" if kind == "randint" else "a number"
            hint = hint_at_comma(item) if kind != "randint" else ""
            if isinstance(item, str) and re.match(NUMBER, item):
                hint = hint_at_quotes(item) if kind != "randint" or float(item).is_integer() else ""
            what = f"{names[index]} must be {what}, not {describe_type(item)}{hint}"
            yield rejection(place, "search-space.number", what)
        elif kind == "randint" and isinstance(item, float):
            if item.is_integer():
                what = f"{names[index]} should be written without a decimal point or an exponent"
                yield warning(place, "search-space.number", what)
            else:
                is_valid = False
                yield rejection(place, "search-space.number", f"{names[index]} must be an integer")
    if is_valid:
        yield from _check_bounds(kind, numbers, at)


def _check_bounds(kind: str, numbers: Sequence[int | float], at: str) -> Iterator[Finding]:
    """Reject bounds that the engine cannot draw a value from, and warn about those that allow only one value."""
    first, second = numbers[:2]
    if _overflows(kind, numbers):
        hint = "; mu is the logarithm of the values, not a value" if kind.endswith("lognormal") else ""
        yield rejection(at, "search-space.bounds", f"the engine cannot compute with numbers this large{hint}")
        return
    if "normal" in kind:
        yield from _check_sigma(second, f"{at}/1")
    elif first > second or (kind == "randint" and first == second):
        relation = "less than" if kind == "randint" else "at most"
        hint = _EXCLUDED if first == second else "; swap them"
        if "log" in kind and second <= 0:
            hint = f", and both greater than 0{_LOGARITHMS if first <= 0 else ''}"
        yield rejection(at, "search-space.bounds", f"low must be {relation} high{hint}")
    elif "log" in kind and first <= 0:
        hint = _LOGARITHMS if second <= 0 else ""
        yield rejection(f"{at}/0", "search-space.bounds", f"low of {kind} must be greater than 0{hint}")
    elif first == second:
        yield warning(at, "search-space.bounds", "low and high are equal, so there is only one value")
    elif kind == "randint" and second - first == 1:
        yield warning(at, "search-space.bounds", "high is excluded, so there is only one value")
    if len(numbers) > 2:
        yield from _check_step(kind, numbers, f"{at}/2")


def _check_step(kind: str, numbers: Sequence[int | float], at: str) -> Iterator[Finding]:
    low, high, step = numbers
    if step == 0:
        yield rejection(at, "search-space.step", "q must not be 0: the engine divides by it")
    elif step < 0:
        yield warning(at, "search-space.step", "q should be greater than 0")
    elif "normal" not in kind and low < high < low + step:
        yield warning(at, "search-space.step", "q is larger than the range from low to high")


def _check_sigma(sigma: float, at: str) -> Iterator[Finding]:
    if sigma < 0:
        yield rejection(at, "search-space.bounds", "sigma must not be less than 0")
    elif sigma == 0:
        yield warning(at, "search-space.bounds", "sigma is 0, so there is only one value")


def _overflows(kind: str, numbers: Sequence[int | float]) -> bool:
    """Return whether the engine fails with these numbers: it draws doubles, and integers of 64 bits."""
    try:
        first, second, *_ = map(float, numbers)
    except OverflowError:
        return True
    if kind == "randint":
        return second - first > _MOST_INTEGERS
    if kind.endswith("lognormal"):
        return first > _LARGEST_LOGARITHM
    return math.isinf(second - first)


def find_bare(space: JsonObject) -> list[str]:
    """Return which members of a search space are those of a parameter without its name."""
    return [one for one in ("_type", "_value") if one in space and not isinstance(space[one], dict)]


def is_level(spec: JsonValue) -> TypeGuard[JsonObject]:
    """Return whether an entry of a search space contains parameters instead of being one."""
    return isinstance(spec, dict) and bool(spec) and all(isinstance(one, dict) for one in spec.values())


def names_in(space: JsonObject) -> Iterator[str]:
    """Yield every name that `space` replaces in commands, including those of nested choices."""
    for name, spec in space.items():
        yield name
        items = spec.get("_value") if isinstance(spec, dict) else None
        if items is None and is_level(spec):
            yield from spec  # to report them as undefined, too, would report one mistake twice
        if isinstance(items, list) and items and isinstance(items[0], dict):
            for item in _find_nested(items):
                yield from names_in({inner: s for inner, s in item.items() if inner != "_name"})


def _find_nested(items: list[JsonValue]) -> list[JsonObject]:
    """Return the nested choices that `items` are if all of them have a `_name`; the engine takes others as values."""
    nested = [item for item in items if isinstance(item, dict) and "_name" in item]
    return nested if len(nested) == len(items) else []
