"""Compares the values in a file of `--init` with the types of the Python objects that they become."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_KINDS: Mapping[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string. Put it in quotes"),
    Path: ((str,), "a path. Put it in quotes"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}


def check_members(given: Mapping[str, Any], described: object, **own: object) -> None:
    """Raise ValueError for the first member of `given` that is not of the type that `described` has for it.

    `described` is a class or a function, and `own` the types of further members. Members without a type are not
    compared, because the object itself refuses those that it does not know.
    """
    types = {**get_type_hints(described), **own}
    for name, value in given.items():
        if name in types:
            problem = find_mismatch(value, types[name], name)
            if problem is not None:
                raise ValueError(problem)


def find_mismatch(value: Any, wanted: Any, place: str) -> str | None:
    """Return which value at or below `place` is not of the type `wanted`, or None if all are."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        problems = [find_mismatch(value, one, place) for one in inner if one is not NoneType]
        # The one with the longest place comes from the alternative that fits best.
        return None if None in problems else max(problems, key=lambda one: len(str(one).partition(":")[0]))
    if origin is Literal:
        listed = ", ".join(map(str, inner))
        return None if value in inner else f"{place}: {_show(value)} is not one of {listed}."
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _find_in_object(
            value, dict.fromkeys(value, inner[1]) if isinstance(value, dict) else {}, place
        )
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list):
            return f"{place}: {_show(value)} is not a list."
        found = (find_mismatch(one, inner[0], f"{place}[{number}]") for number, one in enumerate(value))
        return next((one for one in found if one is not None), None)
    if is_typeddict(wanted):
        types = get_type_hints(wanted)
        missing = [
            name for name in sorted(wanted.__required_keys__) if isinstance(value, dict) and name not in value
        ]
        return f"{place}.{missing[0]}: is required." if missing else _find_in_object(value, types, place)
    kinds, words = _KINDS.get(wanted, ((), ""))
    is_right = isinstance(value, kinds) and (wanted is bool or not isinstance(value, bool))
    return f"{place}: {_show(value)} is not {words}." if kinds and not is_right else None


def _find_in_object(value: Any, types: Mapping[str, Any], place: str) -> str | None:
    if not isinstance(value, dict):
        return f"{place}: {_show(value)} is not an object."
    unknown = [name for name in value if name not in types]
    if unknown:
        return f"{place}.{unknown[0]}: is unknown. Use one of {', '.join(types)}."
    found = (find_mismatch(one, types[name], f"{place}.{name}") for name, one in value.items())
    return next((one for one in found if one is not None), None)


def _show(value: Any) -> str:
    """Return a value as it would be in a file, which may be YAML with dates."""
    return json.dumps(value, ensure_ascii=False, default=str)
