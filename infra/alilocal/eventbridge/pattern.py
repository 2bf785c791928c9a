"""Event patterns: which events a rule takes.

Source: https://www.alibabacloud.com/help/en/eventbridge/user-guide/event-patterns. A pattern names members of
the event. For each it lists the allowed values, as values or conditions; all members must fit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence

from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json

_NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: value == bound,
    "!=": lambda value, bound: value != bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
}


class BadPattern(ValueError):
    """An invalid pattern; `place` is where it is invalid, for example `data.state[0]`."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place or 'pattern'}: {problem}")


def read_pattern(text: str) -> JsonObject:
    """Return the pattern in `text`; raises BadPattern."""
    try:
        pattern = load_json(text or "{}")
    except ValueError:
        raise BadPattern("", "is not valid JSON") from None
    if not isinstance(pattern, dict):
        raise BadPattern("", "must be an object")
    check(pattern)
    return pattern


def check(pattern: JsonObject, place: str = "") -> None:
    """Raise BadPattern for a pattern that `matches` could not evaluate."""
    for name, wanted in pattern.items():
        where = f"{place}.{name}" if place else name
        if isinstance(wanted, dict):
            check(wanted, where)
        elif not isinstance(wanted, list) or not wanted:
            raise BadPattern(where, "must be an object, or a list of values and conditions")
        else:
            for index, one in enumerate(wanted):
                _check_one(one, f"{where}[{index}]")


def matches(pattern: JsonObject, event: JsonValue) -> bool:
    """Return whether `event` has every member that `pattern` names, with an allowed value."""
    found = event if isinstance(event, dict) else {}
    return all(_fits(wanted, name in found, found.get(name)) for name, wanted in pattern.items())


def _fits(wanted: JsonValue, there: bool, value: JsonValue) -> bool:  # noqa: FBT001
    if isinstance(wanted, dict):
        return matches(wanted, value)
    values = value if isinstance(value, list) else [value]
    return isinstance(wanted, list) and any(
        _is_met(one, there, item) for one in wanted for item in values or [None]
    )


def _is_met(one: JsonValue, there: bool, value: JsonValue) -> bool:  # noqa: FBT001
    if not isinstance(one, dict):
        return there and type(value) is type(one) and value == one
    (name, argument), *_ = one.items()
    if name == "exists":
        return there is argument
    if not there:
        return False
    if name == "anything-but":
        return not _is_any_of(argument, value)
    if name == "numeric":
        return isinstance(argument, list) and _is_number(value) and _compares(argument, value)
    if not isinstance(value, str) or not isinstance(argument, str):
        return False
    return _TEXTUAL[name](value, argument)


def _is_within(value: str, block: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(block)
    except ValueError:
        return False


_TEXTUAL: Mapping[str, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
    "cidr": _is_within,
}


def _is_any_of(argument: JsonValue, value: JsonValue) -> bool:
    if isinstance(argument, dict):
        return _is_met(argument, True, value)  # noqa: FBT003
    several = argument if isinstance(argument, list) else [argument]
    return any(type(value) is type(one) and value == one for one in several)


def _compares(argument: Sequence[JsonValue], value: JsonValue) -> bool:
    pairs = zip(argument[::2], argument[1::2], strict=True)
    return all(
        _NUMERIC[str(sign)](value, bound)  # type: ignore[arg-type]
        for sign, bound in pairs
    )


def _check_one(one: JsonValue, place: str) -> None:
    if not isinstance(one, dict):
        if isinstance(one, list):
            raise BadPattern(place, "must be a value or a condition, not a list")
        return
    if len(one) != 1:
        raise BadPattern(place, "must be one condition")
    ((name, argument),) = one.items()
    where = f"{place}.{name}"
    known = _ARGUMENTS.get(name)
    if known is None:
        raise BadPattern(where, "is not a condition that the local cloud knows")
    known(argument, where)


def _check_text(argument: JsonValue, place: str) -> None:
    if not isinstance(argument, str):
        raise BadPattern(place, "must be a string")


def _check_block(argument: JsonValue, place: str) -> None:
    _check_text(argument, place)
    try:
        ipaddress.ip_network(str(argument))
    except ValueError:
        raise BadPattern(place, "must be a block of IP addresses, for example 10.0.0.0/24") from None


def _check_flag(argument: JsonValue, place: str) -> None:
    if not isinstance(argument, bool):
        raise BadPattern(place, "must be true or false")


def _check_exception(argument: JsonValue, place: str) -> None:
    if isinstance(argument, dict):
        if set(argument) - {"prefix", "suffix"}:
            raise BadPattern(place, "must be values, or a prefix or suffix")
        _check_one(argument, place)


def _check_numeric(argument: JsonValue, place: str) -> None:
    if not isinstance(argument, list) or not argument or len(argument) % 2:
        raise BadPattern(place, "must be pairs of a sign and a number")
    for sign, bound in zip(argument[::2], argument[1::2], strict=True):
        if str(sign) not in _NUMERIC or not _is_number(bound):
            raise BadPattern(place, f"must be pairs of one of {' '.join(_NUMERIC)} and a number")


_ARGUMENTS: Mapping[str, Callable[[JsonValue, str], None]] = {
    "prefix": _check_text,
    "suffix": _check_text,
    "contains": _check_text,
    "cidr": _check_block,
    "exists": _check_flag,
    "anything-but": _check_exception,
    "numeric": _check_numeric,
}


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
