"""The arguments of tuners and assessors: which values are valid, and what replaces an invalid one.

The service documents no ranges. A value that NNI or Optuna could not use is replaced by the default, and a remark
says so: a search with other arguments must not be mistaken for the one that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from alilocal.core.jsonvalue import JsonValue

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Number:
    """A number from `least` to `most`, whole if `least` is an int. Without a `default` it has no effect."""

    least: int | float
    default: int | float | None = None
    most: int | float = math.inf

    def accepts(self, value: JsonValue) -> bool:
        """Return whether `value` is such a number. 5.0 counts as whole, and a boolean is not a number."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        is_whole = isinstance(value, int) or value.is_integer()
        return self.least <= value <= self.most and (is_whole or isinstance(self.least, float))

    def convert(self, value: JsonValue) -> int | float | None:
        """Return a value that is accepted in the type of `least`, and the default for any other."""
        if not self.accepts(value):
            return self.default
        return type(self.least)(value)  # type: ignore[arg-type]

    def __str__(self) -> str:
        kind = "whole number" if isinstance(self.least, int) else "number"
        limits = (
            f"of at least {self.least:g}"
            if self.most == math.inf
            else f"from {self.least:g} to {self.most:g}"
        )
        return f"a {kind} {limits}"


def read_number(
    arguments: Mapping[str, JsonValue], name: str, rule: Number, owner: str, remarks: list[str]
) -> int | float | None:
    """Return the argument `name` of `owner`, or the default, with a remark if its value is invalid."""
    value = arguments.get(name)
    if value is None:
        return rule.default
    if not rule.accepts(value):
        remarks.append(_explain(name, owner, value, f"not {rule}", rule.default))
    return rule.convert(value)


def read_flag(
    arguments: Mapping[str, JsonValue], name: str, owner: str, remarks: list[str], *, default: bool
) -> bool:
    """Return the argument `name` of `owner`, or the default, as `read_number` does. It may be written as a text."""
    value = arguments.get(name)
    found = default if value is None else _FLAGS.get(str(value).strip().lower())
    if found is None:
        remarks.append(_explain(name, owner, value, "neither true nor false", str(default).lower()))
    return default if found is None else found


def _explain(name: str, owner: str, value: JsonValue, problem: str, used: object) -> str:
    instead = "it is ignored" if used is None else f"{used} is used"
    return f"The argument {name} of {owner} is {value!r}, which is {problem}, so {instead}"
