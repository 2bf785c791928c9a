"""Conditions and filters: what must hold of a row.

A column that is missing passes or fails by the flag that the SDK calls `pass_if_missing`, negated on the wire.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.plainbuffer import KeyValue, Value, decode_variant
from alilocal.tablestore.proto import Message

_IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST = 0, 1, 2
_SINGLE, _COMPOSITE, _PAGINATION = 1, 2, 3
_NOT, _AND, _OR = 1, 2, 3
_COMPARISONS: dict[int, Callable[..., bool]] = {
    1: operator.eq,
    2: operator.ne,
    3: operator.gt,
    4: operator.ge,
    5: operator.lt,
    6: operator.le,
}

Columns = Mapping[str, Value]


def holds(condition: Message, columns: Columns | None) -> bool:
    """Whether a row with `columns`, None if there is none, meets `condition`; raises ParameterInvalid."""
    expectation = condition.number(1)
    if expectation not in (_IGNORE, _EXPECT_EXIST, EXPECT_NOT_EXIST):
        raise ParameterInvalid("Invalid row existence expectation.")
    if expectation != _IGNORE and (columns is None) == (expectation == _EXPECT_EXIST):
        return False
    return not condition.has(2) or passes(condition.message(2), columns or {})


def passes(condition: Message, columns: Columns) -> bool:
    """Whether `columns` meet a filter."""
    kind, inner = condition.number(1), condition.message(2)
    if kind == _SINGLE:
        return _compared(inner, columns)
    if kind == _COMPOSITE:
        return _combined(inner, columns)
    raise ParameterInvalid("Unsupported filter type.")


def _compared(single: Message, columns: Columns) -> bool:
    name, wanted = single.text(2), decode_variant(single.data(3))
    if name not in columns:
        return not single.number(4)
    compare = _COMPARISONS.get(single.number(1))
    if compare is None:
        raise ParameterInvalid("Unsupported comparator.")
    found: KeyValue = columns[name]
    # What the service makes of another type is not documented.
    return type(found) is type(wanted) and compare(found, wanted)


def _combined(composite: Message, columns: Columns) -> bool:
    combinator, parts = composite.number(1), composite.messages(2)
    if combinator == _NOT and len(parts) == 1:
        return not passes(parts[0], columns)
    if combinator in (_AND, _OR) and len(parts) >= 2:
        met = [passes(part, columns) for part in parts]
        return all(met) if combinator == _AND else any(met)
    raise ParameterInvalid("The number of sub-conditions is not valid.")
