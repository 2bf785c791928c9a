"""The operations on rows: one by one, in ranges and in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from alilocal.core.http import ServiceError
from alilocal.core.notes import Notes
from alilocal.tablestore.conditions import EXPECT_NOT_EXIST, holds, passes
from alilocal.tablestore.errors import ConditionCheckFail, ParameterInvalid
from alilocal.tablestore.model import Key, Table, Tables
from alilocal.tablestore.plainbuffer import Cell, Row, decode_row, encode_rows
from alilocal.tablestore.proto import Message, encode

_PUT, _UPDATE, _DELETE = 1, 2, 3
_RETURN_KEY, _RETURN_AFTER = 1, 2
_MOST_ROWS = 5_000
_MOST_IN_BATCH = 200
_CONSUMED = encode({1: encode({1: 1, 2: 1})})


class Rows:
    """Reads and writes rows of `tables`. Every operation takes a request's message and gives the answer's bytes."""

    def __init__(self, tables: Tables, notes: Notes) -> None:
        self._tables = tables
        self._notes = notes

    def put(self, request: Message) -> bytes:
        return self._one(request, _PUT)

    def update(self, request: Message) -> bytes:
        return self._one(request, _UPDATE)

    def delete(self, request: Message) -> bytes:
        return self._one(request, _DELETE)

    def get(self, request: Message) -> bytes:
        table = self._tables.get(request.text(1))
        key = decode_row(request.data(2)).key
        self._notes.about(table.name, *(cell.value for cell in key if isinstance(cell.value, str)))
        return encode({1: _CONSUMED, 2: _read(table, request, key, versions=5, names=3)})

    def get_range(self, request: Message) -> bytes:
        table = self._tables.get(request.text(1))
        backward, limit = request.number(2) == 1, request.number(6, _MOST_ROWS)
        if request.has(6) and limit <= 0:
            raise ParameterInvalid("The limit must be greater than 0.")
        start, end = (table.key_of(decode_row(request.data(number)).key, bounds=True) for number in (7, 8))
        found: list[tuple[list[Cell], list[Cell]]] = []
        answer = {1: _CONSUMED, 2: b""}
        for key in table.between(start, end, backward=backward):
            if len(found) >= min(limit, _MOST_ROWS):
                answer[3] = encode_rows([(_key_cells(table, key), ())])
                break
            cells = _cells(table, request, key, versions=5, names=3, keep=10)
            if cells is not None:
                found.append((_key_cells(table, key), cells))
        answer[2] = encode_rows(found)
        return encode(answer)

    def batch_get(self, request: Message) -> bytes:
        tables = []
        for asked in request.messages(1):
            table, keys = self._tables.get(asked.text(1)), asked.all(2)
            _check_some(keys)
            rows = [_row_result(partial(_read_one, table, asked, key)) for key in keys]
            tables.append(encode({1: table.name, 2: rows}))
        _check_some(tables)
        return encode({1: tables})

    def batch_write(self, request: Message) -> bytes:
        asked = [(self._tables.get(one.text(1)), one.messages(2)) for one in request.messages(1)]
        _check_some(asked)
        for _, rows_asked in asked:
            _check_some(rows_asked)
        if sum(len(rows) for _, rows in asked) > _MOST_IN_BATCH:
            raise ParameterInvalid("Rows count exceeds the upper limit.")
        tables = []
        for table, changes in asked:
            rows = [_row_result(partial(_written_one, self._notes, table, change)) for change in changes]
            tables.append(encode({1: table.name, 2: rows}))
        return encode({1: tables})

    def _one(self, request: Message, kind: int) -> bytes:
        table = self._tables.get(request.text(1))
        return encode(
            {
                1: _CONSUMED,
                2: _written(self._notes, table, kind, request.data(2), request.message(3), request),
            }
        )


def _check_some(items: Sequence[object]) -> None:
    if not items:
        raise ParameterInvalid("No row specified in the request.")


def _read_one(table: Table, asked: Message, key: bytes) -> bytes:
    """A row of a batch's answer."""
    return _read(table, asked, decode_row(key).key, versions=6, names=4)


def _written_one(notes: Notes, table: Table, change: Message) -> bytes:
    return _written(notes, table, change.number(1), change.data(2), change.message(3), change)


def _row_result(act: Callable[[], bytes]) -> bytes:
    """One row's part of a batch's answer: what it brought, or the error that concerns it alone."""
    try:
        return encode({1: 1, 3: _CONSUMED, 4: act()})
    except ServiceError as error:
        return encode({1: 0, 2: encode({1: error.code, 2: error.message})})


def _written(
    notes: Notes, table: Table, kind: int, data: bytes, condition: Message, request: Message
) -> bytes:
    """Carry out a write if its condition holds; the row that it is to return, if any."""
    row = decode_row(data)
    key = cast("Key", table.key_of(row.key))
    if row.deleted != (kind == _DELETE):
        raise ParameterInvalid("The delete marker does not fit the operation.")
    keys = [part for part in key if isinstance(part, str)]
    notes.about(table.name, *keys, detail="if absent" if condition.number(1) == EXPECT_NOT_EXIST else "")
    if not holds(condition, table.columns(key)):
        raise ConditionCheckFail
    _act(table, kind, key, row)
    content = request.message(4) if request.has(4) else Message(b"")
    if content.number(1) == _RETURN_KEY:
        return encode_rows([(_key_cells(table, key), ())])
    if content.number(1) == _RETURN_AFTER:
        names = content.texts(2)
        cells = [Cell(name, value) for name, value in (table.columns(key) or {}).items() if name in names]
        return encode_rows([((), cells)])
    return b""


def _act(table: Table, kind: int, key: Key, row: Row) -> None:
    if kind == _PUT:
        if any(cell.operation is not None for cell in row.cells):
            raise ParameterInvalid("PutRow takes no operations on cells.")
        table.put(key, row.cells)
    elif kind == _UPDATE:
        table.update(key, row.cells)
    elif kind == _DELETE:
        table.delete(key)
    else:
        raise ParameterInvalid("Unknown type of change.")


def _read(table: Table, request: Message, cells: list[Cell], *, versions: int, names: int) -> bytes:
    key = cast("Key", table.key_of(cells))
    if not request.has(versions) and not request.has(versions - 1):
        raise ParameterInvalid("No version condition is specified while querying row.")
    found = _cells(table, request, key, versions=versions, names=names, keep=versions + 2)
    return b"" if found is None else encode_rows([(_key_cells(table, key), found)])


def _cells(
    table: Table, request: Message, key: Key, *, versions: int, names: int, keep: int
) -> list[Cell] | None:
    """The cells that are asked for; None if there is no such row, or the filter takes it out."""
    # Better refused than passed over: a read that ignored them would bring too much.
    for number, member in (
        (versions - 1, "time_range"),
        (keep + 1, "start_column"),
        (keep + 2, "end_column"),
    ):
        if request.has(number):
            raise ParameterInvalid(f"The local cloud does not support {member}.")
    columns = table.columns(key)
    if columns is None or (request.has(keep) and not passes(request.message(keep), columns)):
        return None
    wanted = set(request.texts(names))
    kept = table.versions(key, request.number(versions, 1) or 1) or {}
    cells = [
        Cell(name, value, at)
        for name, values in sorted(kept.items())
        for at, value in values.items()
        if not wanted or name in wanted
    ]
    # Of a row that has none of the columns that are asked for, nothing comes back.
    return cells if cells or not wanted else None


def _key_cells(table: Table, key: Key) -> list[Cell]:
    return [Cell(name, value) for (name, _), value in zip(table.schema, key, strict=True)]
