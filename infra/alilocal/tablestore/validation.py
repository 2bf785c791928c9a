"""The limits of a request that do not depend on its table: names, and the numbers and lengths of columns and rows.

The service checks this before it looks at the table, so a batch with one such fault fails as a whole. A key that does
not fit its table fails alone. Limits: https://www.alibabacloud.com/help/en/tablestore/general-limits-of-tablestore.
The messages are those that the tests of the official SDKs expect of the service: RestrictedItemTest and
ParameterLegalityTest for Java, MultiRowOperationTest for C#, BatchWriteRowTest for PHP.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.plainbuffer import Bound, Cell, KeyValue, Row

MOST_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_MOST_NAME_BYTES = 255
_MOST_KEY_COLUMNS = 4
_MOST_KEY_BYTES = 1024
_MOST_VALUE_BYTES = 2 * 1024 * 1024
_MOST_COLUMNS = 1024
_TIMESTAMPS = range((2**63 - 1) // 1000)
_TIMESTAMP_BYTES = 8


def check_table_name(name: str) -> None:
    """Raise ParameterInvalid for a name that a table cannot have."""
    if not _NAME.fullmatch(name):
        raise ParameterInvalid(f"Invalid table name: '{name}'.")


def check_key_name(name: str) -> None:
    """Raise ParameterInvalid for a name that a column of a primary key cannot have."""
    if not _NAME.fullmatch(name):
        raise ParameterInvalid(f"Invalid column name: '{name}'.")


def check_column_name(name: str) -> None:
    """Raise ParameterInvalid for a name that the service refuses in a row, a filter or a list of columns.

    The names of attribute columns are documented like those of tables, but the service takes others too, such as
    `price-2` and `a.b`: ParameterLegalityTest for Java writes and reads them, and expects `#abc` to be refused.
    """
    if not 0 < len(name.encode()) <= _MOST_NAME_BYTES or name.startswith("#"):
        raise ParameterInvalid(f"Invalid column name: '{name}'.")


def check_requested(names: Collection[str]) -> None:
    """Raise ParameterInvalid for columns that a read cannot request: too many, or with invalid names."""
    if len(names) > _MOST_COLUMNS:
        raise ParameterInvalid(
            "The number of columns from the request exceeds the limit, "
            f"limit count: {_MOST_COLUMNS}, column count: {len(names)}."
        )
    for name in names:
        check_column_name(name)


def check_key_size(columns: int) -> None:
    """Raise ParameterInvalid unless a primary key can have so many columns."""
    if not 1 <= columns <= _MOST_KEY_COLUMNS:
        raise ParameterInvalid(
            f"The number of primary key columns must be in range: [1, {_MOST_KEY_COLUMNS}]."
        )


def check_key(cells: Sequence[Cell], *, bounds: bool = False) -> None:
    """Raise ParameterInvalid for a primary key that no table can have; `bounds` allows the ends of a range."""
    if not cells:
        raise ParameterInvalid("Cell data broken, empty PK.")
    check_key_size(len(cells))
    for cell in cells:
        check_column_name(cell.name)
        if not bounds and cell.value in (Bound.LEAST, Bound.MOST):
            kind = "VT_INF_MIN" if cell.value is Bound.LEAST else "VT_INF_MAX"
            raise ParameterInvalid(f"{kind} is an invalid type for the primary key.")
        _check_length("primary key", cell, _MOST_KEY_BYTES)


def check_row(row: Row) -> None:
    """Raise ParameterInvalid for a row that no table can have."""
    check_key(row.key)
    if len(row.cells) > _MOST_COLUMNS:
        raise ParameterInvalid(
            "The number of attribute columns exceeds the limit, "
            f"limit count: {_MOST_COLUMNS}, column count: {len(row.cells)}."
        )
    for cell in row.cells:
        check_column_name(cell.name)
        check_value(cell)
        if cell.timestamp is not None and cell.timestamp not in _TIMESTAMPS:
            raise ParameterInvalid("Timestamp must be in range [0, INT64_MAX/1000).")


def check_value(cell: Cell) -> None:
    """Raise ParameterInvalid for a value that is too long for a column that is not in the primary key."""
    _check_length("attribute", cell, _MOST_VALUE_BYTES)


def check_row_count(count: int, most: int) -> None:
    """Raise ParameterInvalid if a batch has more than `most` rows."""
    if count > most:
        raise ParameterInvalid(f"Rows count exceeds the upper limit: {most}.")


def check_data_size(operation: str, rows: Iterable[Row]) -> None:
    """Raise ParameterInvalid if the names, values and timestamps of a write together are too large."""
    size = sum(data_size((*row.key, *row.cells)) for row in rows)
    if size > MOST_BYTES:
        raise ParameterInvalid(
            f"The total data size of {operation} request exceeds the limit, "
            f"limit size: {MOST_BYTES}, data size: {size}."
        )


def data_size(cells: Iterable[Cell]) -> int:
    """Return the size of names, values and timestamps in bytes, for which a request and an answer have a limit."""
    return sum(size_of(cell) + (0 if cell.timestamp is None else _TIMESTAMP_BYTES) for cell in cells)


def size_of(cell: Cell) -> int:
    """Return the size of a cell's name and value in bytes, as the service counts them."""
    return _length(cell.name) + _size(cell.value)


def _size(value: KeyValue | None) -> int:
    if isinstance(value, str):
        return _length(value)
    return len(value) if isinstance(value, bytes) else 8


def _check_length(what: str, cell: Cell, most: int) -> None:
    value = cell.value
    # A character takes up to four bytes, so that most texts need not be encoded.
    if not isinstance(value, (str, bytes)) or len(value) <= most // 4:
        return
    if _size(value) > most:
        raise ParameterInvalid(
            f"The length of {what} column: '{cell.name}' exceeds the MaxLength:{most} "
            f"with CurrentLength:{_size(value)}."
        )


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
