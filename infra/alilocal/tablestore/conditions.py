"""Conditions and filters on a row.

For a missing column, the flag that the SDK calls `pass_if_missing` decides; it is negated on the wire.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.plainbuffer import KeyValue, Value, decode_variant
from alilocal.tablestore.proto import Message
from alilocal.tablestore.validation import check_column_name

IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST = 0, 1, 2
_SINGLE, _COMPOSITE, PAGINATION = 1, 2, 3
_NOT, _AND, _OR = 1, 2, 3
_EXIST, _NOT_EXIST = 7, 8
_MOST_CONDITIONS = 32
"""The documented limit; older pages say 10."""
_COMPARISONS: dict[int, Callable[..., bool]] = {
    1: operator.eq,
    2: operator.ne,
    3: operator.gt,
    4: operator.ge,
    5: operator.lt,
    6: operator.le,
}
_CASTS: dict[int, Callable[[str], Value]] = {0: int, 1: float, 3: str}

Columns = Mapping[str, Mapping[int, Value]]
"""The versions of each column by timestamp, newest first."""


def holds(condition: Message, columns: Columns, *, exists: bool) -> bool:
    """Return whether a row meets `condition`; `exists` says if it exists. Raises ParameterInvalid."""
    expectation = condition.number(1)
    if expectation not in (IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST):
        raise ParameterInvalid("Invalid row existence expectation.")
    if expectation != IGNORE and exists != (expectation == _EXPECT_EXIST):
        return False
    return not condition.has(2) or passes(condition.message(2), columns)


def check_filter(condition: Message) -> None:
    """Raise ParameterInvalid for a filter with too many conditions, or with one on a column of an invalid name."""
    singles = list(_singles(condition))
    if len(singles) > _MOST_CONDITIONS:
        raise ParameterInvalid(f"A filter has more than {_MOST_CONDITIONS} conditions.")
    for single in singles:
        check_column_name(single.text(2))


def passes(condition: Message, columns: Columns) -> bool:
    """Return whether `columns` meet a filter that `check_filter` accepts; raises ParameterInvalid."""
    return _passes(condition, columns)


def _singles(condition: Message, depth: int = 0) -> Iterator[Message]:
    """Yield the conditions on one column in a filter; raises ParameterInvalid for one that is nested too deeply."""
    if depth > _MOST_CONDITIONS:
        raise ParameterInvalid(f"A filter has more than {_MOST_CONDITIONS} conditions.")
    if condition.number(1) == _SINGLE:
        yield condition.message(2)
    elif condition.number(1) == _COMPOSITE:
        for part in condition.message(2).messages(2):
            yield from _singles(part, depth + 1)


def _passes(condition: Message, columns: Columns) -> bool:
    kind, inner = condition.number(1), condition.message(2)
    if kind == _SINGLE:
        return _compared(inner, columns)
    if kind == _COMPOSITE:
        return _combined(inner, columns)
    raise ParameterInvalid("Unsupported filter type.")


def _compared(single: Message, columns: Columns) -> bool:
    name, comparator = single.text(2), single.number(1)
    if comparator in (_EXIST, _NOT_EXIST):
        return (name in columns) == (comparator == _EXIST)
    wanted, compare = decode_variant(single.data(3)), _COMPARISONS.get(comparator)
    if compare is None:
        raise ParameterInvalid("Unsupported comparator.")
    if name not in columns:
        return not single.number(4)
    values: Sequence[KeyValue] = list(columns[name].values())
    if single.number(5):
        values = values[:1]
    if single.has(6):
        values = _extracted(single.message(6), values)
    # How the service compares values of different types is not documented.
    return any(type(value) is type(wanted) and compare(value, wanted) for value in values)


def _extracted(rule: Message, values: Sequence[KeyValue]) -> Sequence[KeyValue]:
    """Return what the first group of the rule's regular expression matches in texts, converted to the rule's type."""
    cast = _CASTS.get(rule.number(2))
    try:
        pattern = re.compile(rule.text(1))
    except (re.error, OverflowError, RecursionError):
        raise ParameterInvalid("Invalid regular expression in value_trans_rule.") from None
    if cast is None or not pattern.groups:
        raise ParameterInvalid("Invalid value_trans_rule: a group and a type to cast to are needed.")
    found = (pattern.search(value) for value in values if isinstance(value, str))
    return [value for match in found if match and (value := _cast(cast, match[1])) is not None]


def _cast(cast: Callable[[str], Value], text: str | None) -> Value | None:
    try:
        return None if text is None else cast(text)
    except ValueError:
        return None


def _combined(composite: Message, columns: Columns) -> bool:
    combinator, parts = composite.number(1), composite.messages(2)
    if combinator == _NOT and len(parts) == 1:
        return not _passes(parts[0], columns)
    if combinator in (_AND, _OR) and len(parts) >= 2:
        met = [_passes(part, columns) for part in parts]
        return all(met) if combinator == _AND else any(met)
    raise ParameterInvalid("The number of sub-conditions is not valid.")
