"""Conditions and filters on a row.

For a missing column, the flag that the SDK calls `pass_if_missing` decides; it is negated on the wire.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.messages import (
    CompositeColumnValueFilter,
    Condition,
    Filter,
    SingleColumnValueFilter,
    ValueTransferRule,
)
from alilocal.tablestore.plainbuffer import Cell, KeyValue, Value, decode_variant
from alilocal.tablestore.proto import Message
from alilocal.tablestore.validation import check_column_name, check_value

IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST = 0, 1, 2
_SINGLE, _COMPOSITE, PAGINATION = 1, 2, 3
_NOT, _AND, _OR = 1, 2, 3
_EXIST, _NOT_EXIST = 7, 8
_MOST_CONDITIONS = 32
"""The limit that UnifiedFilterRestrictionAndParamCheckingTest of the SDK for Java expects; older pages say 10."""
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
    expectation = condition.number(Condition.ROW_EXISTENCE)
    if expectation not in (IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST):
        raise ParameterInvalid("Invalid row existence expectation.")
    if expectation != IGNORE and exists != (expectation == _EXPECT_EXIST):
        return False
    if not condition.has(Condition.COLUMN_CONDITION):
        return True
    return passes(condition.message(Condition.COLUMN_CONDITION), columns)


def check_filter(condition: Message, *, is_page: bool = False) -> None:
    """Raise ParameterInvalid for a filter with too many parts, or with one that is not valid.

    Both kinds of conditions count, those on a column and those that combine others. `is_page` allows a page of
    columns instead, which a read may have.
    """
    if is_page and condition.number(Filter.TYPE) == PAGINATION:
        return
    parts = list(islice(_parts(condition), _MOST_CONDITIONS + 1))
    if len(parts) > _MOST_CONDITIONS:
        raise ParameterInvalid(f"The count of filter exceeds the max: {_MOST_CONDITIONS}.")
    for part in parts:
        kind, inner = part.number(Filter.TYPE), part.message(Filter.FILTER)
        if kind == _SINGLE:
            _check_single(inner)
        elif kind == _COMPOSITE:
            _check_composite(inner)
        else:
            raise ParameterInvalid("Unsupported filter type.")


def passes(condition: Message, columns: Columns) -> bool:
    """Return whether `columns` meet a filter that `check_filter` accepts."""
    inner = condition.message(Filter.FILTER)
    is_single = condition.number(Filter.TYPE) == _SINGLE
    return _compare(inner, columns) if is_single else _combine(inner, columns)


def _parts(condition: Message) -> Iterator[Message]:
    """Yield a filter and all that it consists of."""
    waiting = [condition]
    while waiting:
        part = waiting.pop()
        yield part
        if part.number(Filter.TYPE) == _COMPOSITE:
            waiting += part.message(Filter.FILTER).messages(CompositeColumnValueFilter.SUB_FILTERS)


def _check_single(single: Message) -> None:
    name = single.text(SingleColumnValueFilter.COLUMN_NAME)
    comparator = single.number(SingleColumnValueFilter.COMPARATOR)
    check_column_name(name)
    if comparator not in (*_COMPARISONS, _EXIST, _NOT_EXIST):
        raise ParameterInvalid("Unsupported comparator.")
    if comparator in _COMPARISONS or single.has(SingleColumnValueFilter.COLUMN_VALUE):
        check_value(Cell(name, decode_variant(single.data(SingleColumnValueFilter.COLUMN_VALUE))))
    if single.has(SingleColumnValueFilter.VALUE_TRANS_RULE):
        _read_rule(single.message(SingleColumnValueFilter.VALUE_TRANS_RULE))


def _check_composite(composite: Message) -> None:
    combinator = composite.number(CompositeColumnValueFilter.COMBINATOR)
    size = len(composite.messages(CompositeColumnValueFilter.SUB_FILTERS))
    if combinator == _NOT and size != 1:
        raise ParameterInvalid("Invalid NOT operator: the number of sub-filters must be 1.")
    if combinator in (_AND, _OR) and size < 2:
        raise ParameterInvalid("Invalid AND/OR operator: the number of sub-filters must be more than 1.")
    if combinator not in (_NOT, _AND, _OR):
        raise ParameterInvalid("Unsupported logical operator.")


def _compare(single: Message, columns: Columns) -> bool:
    name = single.text(SingleColumnValueFilter.COLUMN_NAME)
    comparator = single.number(SingleColumnValueFilter.COMPARATOR)
    if comparator in (_EXIST, _NOT_EXIST):
        return (name in columns) == (comparator == _EXIST)
    wanted = decode_variant(single.data(SingleColumnValueFilter.COLUMN_VALUE))
    if name not in columns:
        return not single.number(SingleColumnValueFilter.FILTER_IF_MISSING)
    values: Sequence[KeyValue] = list(columns[name].values())
    if single.number(SingleColumnValueFilter.LATEST_VERSION_ONLY):
        values = values[:1]
    if single.has(SingleColumnValueFilter.VALUE_TRANS_RULE):
        values = _extract(single.message(SingleColumnValueFilter.VALUE_TRANS_RULE), values)
    # How the service compares values of different types is not documented.
    compare = _COMPARISONS[comparator]
    return any(type(value) is type(wanted) and compare(value, wanted) for value in values)


def _read_rule(rule: Message) -> tuple[re.Pattern[str], Callable[[str], Value]]:
    """Return the regular expression of a rule, and what converts a text to its type."""
    cast = _CASTS.get(rule.number(ValueTransferRule.CAST_TYPE))
    try:
        pattern = re.compile(rule.text(ValueTransferRule.REGEX))
    except (re.error, OverflowError, RecursionError):
        raise ParameterInvalid("Invalid regular expression in value_trans_rule.") from None
    if cast is None or not pattern.groups:
        raise ParameterInvalid("Invalid value_trans_rule: a group and a type to cast to are needed.")
    return pattern, cast


def _extract(rule: Message, values: Sequence[KeyValue]) -> Sequence[KeyValue]:
    """Return what the first group of the rule's regular expression matches in texts, converted to the rule's type."""
    pattern, cast = _read_rule(rule)
    found = (pattern.search(value) for value in values if isinstance(value, str))
    return [value for match in found if match and (value := _cast(cast, match[1])) is not None]


def _cast(cast: Callable[[str], Value], text: str | None) -> Value | None:
    try:
        return None if text is None else cast(text)
    except ValueError:
        return None


def _combine(composite: Message, columns: Columns) -> bool:
    combinator = composite.number(CompositeColumnValueFilter.COMBINATOR)
    parts = composite.messages(CompositeColumnValueFilter.SUB_FILTERS)
    if combinator == _NOT:
        return not passes(parts[0], columns)
    met = [passes(part, columns) for part in parts]
    return all(met) if combinator == _AND else any(met)
