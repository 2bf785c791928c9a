"""The operations on rows: single ones, ranges and batches. Each takes a request's message and returns the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple, cast

from alilocal.core.http import ServiceError
from alilocal.core.requestlog import Notes
from alilocal.tablestore import wire
from alilocal.tablestore.conditions import EXPECT_NOT_EXIST, IGNORE, check_filter, holds
from alilocal.tablestore.errors import ConditionCheckFail, DataOutOfRange, NoSuchTable, ParameterInvalid
from alilocal.tablestore.messages import (
    BatchRequest,
    BatchResponse,
    Condition,
    GetRangeRequest,
    GetRangeResponse,
    GetRowRequest,
    ReturnContent,
    RowInBatchWriteRowRequest,
    RowResponse,
    TableInBatchGetRowRequest,
    TableInBatchResponse,
    TableInBatchWriteRowRequest,
    WriteRowRequest,
)
from alilocal.tablestore.model import Key, Table, Tables
from alilocal.tablestore.plainbuffer import Bound, Cell, KeyValue, Operation, Row, decode_row, encode_rows
from alilocal.tablestore.proto import Message, encode
from alilocal.tablestore.selection import Selection
from alilocal.tablestore.switches import TablestoreSwitches
from alilocal.tablestore.validation import (
    MOST_BYTES,
    check_data_size,
    check_key,
    check_row,
    check_row_count,
    check_table_name,
    data_size,
    size_of,
)

_PUT, _UPDATE, _DELETE = 1, 2, 3
_OPERATIONS = {_PUT: "PutRow", _UPDATE: "UpdateRow", _DELETE: "DeleteRow"}
_BACKWARD = 1
_RETURN_KEY, _RETURN_AFTER = 1, 2
_MOST_ROWS = 5_000
_MOST_READ_IN_BATCH = 100
_MOST_WRITTEN_IN_BATCH = 200
IF_ABSENT = "if absent"
"""What the log says of a write on the condition that the row does not exist."""


class RowCalls:
    """The handlers of the operations."""

    def __init__(self, tables: Tables, notes: Notes, switches: TablestoreSwitches) -> None:
        self._tables = tables
        self._notes = notes
        self._switches = switches

    def put(self, request: Message) -> bytes:
        return self._one(request, _PUT)

    def update(self, request: Message) -> bytes:
        return self._one(request, _UPDATE)

    def delete(self, request: Message) -> bytes:
        return self._one(request, _DELETE)

    def get(self, request: Message) -> bytes:
        table = self._tables.get(request.text(GetRowRequest.TABLE_NAME))
        key = _read_key(request.data(GetRowRequest.PRIMARY_KEY))
        self._notes.record_keys(*(cell.value for cell in key if isinstance(cell.value, str)))
        consumed, row = _read(table, Selection.read(request, GetRowRequest), key)
        return encode({RowResponse.CONSUMED: consumed, RowResponse.ROW: row})

    def get_range(self, request: Message) -> bytes:
        table = self._tables.get(request.text(GetRangeRequest.TABLE_NAME))
        backward = request.number(GetRangeRequest.DIRECTION) == _BACKWARD
        limit = request.number(GetRangeRequest.LIMIT, _MOST_ROWS)
        if request.has(GetRangeRequest.LIMIT) and limit <= 0:
            raise ParameterInvalid("The limit must be greater than 0.")
        ends = (GetRangeRequest.INCLUSIVE_START_PRIMARY_KEY, GetRangeRequest.EXCLUSIVE_END_PRIMARY_KEY)
        bounds = [_read_key(request.data(number), bounds=True) for number in ends]
        selection = Selection.read(request, GetRangeRequest)
        start, end = (table.key_of(bound, bounds=True) for bound in bounds)
        found: list[tuple[list[Cell], list[Cell]]] = []
        following, size, data = b"", 0, 0
        for scanned, key in enumerate(table.between(start, end, backward=backward)):
            if len(found) >= limit or scanned >= _MOST_ROWS or data > MOST_BYTES:
                following = encode_rows([(_key_cells(table, key), ())])
                break
            row, kept = _select(table, selection, key)
            size += _bytes(*row)
            data += data_size(chain(*row))
            if kept:
                found.append(row)
        return encode(
            {
                GetRangeResponse.CONSUMED: wire.consumed(read=wire.units(size)),
                GetRangeResponse.ROWS: encode_rows(found),
                **wire.returned(GetRangeResponse.NEXT_START_PRIMARY_KEY, following),
            }
        )

    def batch_get(self, request: Message) -> bytes:
        asked = request.messages(BatchRequest.TABLES)
        member = TableInBatchGetRowRequest
        _check_tables([one.text(member.TABLE_NAME) for one in asked])
        check_row_count(sum(len(one.values(member.PRIMARY_KEY)) for one in asked), _MOST_READ_IN_BATCH)
        reads = [
            (
                one.text(member.TABLE_NAME),
                Selection.read(one, member),
                [_read_key(key) for key in one.values(member.PRIMARY_KEY)],
            )
            for one in asked
        ]
        if not reads:
            raise ParameterInvalid("No row specified in the request of BatchGetRow.")
        return _answer_batch(
            (name, self._read_each(name, selection, keys)) for name, selection, keys in reads
        )

    def batch_write(self, request: Message) -> bytes:
        asked = request.messages(BatchRequest.TABLES)
        member = TableInBatchWriteRowRequest
        _check_tables([one.text(member.TABLE_NAME) for one in asked])
        if not asked:
            raise ParameterInvalid("No row is specified in BatchWriteRow.")
        writes = [
            (one.text(member.TABLE_NAME), [Change.read(row) for row in one.messages(member.ROWS)])
            for one in asked
        ]
        for name, changes in writes:
            if not changes:
                raise ParameterInvalid(f"No operation is specified for table: '{name}'.")
            _check_repeats(changes)
        check_row_count(sum(len(changes) for _, changes in writes), _MOST_WRITTEN_IN_BATCH)
        every = [change for _, changes in writes for change in changes]
        check_data_size("BatchWriteRow", (change.row for change in every))
        for change in every:
            change.check()
        targets = [(self._tables.get(name), changes) for name, changes in writes]
        write = self._write_all if request.number(BatchRequest.IS_ATOMIC) else self._write_each
        rows = iter(write([(table, change) for table, changes in targets for change in changes]))
        return _answer_batch((table.name, [next(rows) for _ in changes]) for table, changes in targets)

    def _read_each(self, name: str, selection: Selection, keys: Sequence[list[Cell]]) -> list[bytes]:
        """Read the rows of one table of a batch; if it does not exist, that is an error of each row."""
        try:
            table = self._tables.get(name)
        except NoSuchTable as error:
            return [wire.row_error(error)] * len(keys)
        return [wire.row_result(partial(_read, table, selection, key)) for key in keys]

    def _write_each(self, writes: Sequence[tuple[Table, Change]]) -> list[bytes]:
        return [wire.row_result(partial(self._write, table, change)) for table, change in writes]

    def _write_all(self, writes: Sequence[tuple[Table, Change]]) -> list[bytes]:
        """Carry out all writes or none of them; they must have one table and one partition key."""
        table, first = writes[0]
        for other, change in writes:
            if other is not table:
                refused = ParameterInvalid("An atomic batch must write rows of one table.")
                return [wire.row_error(refused)] * len(writes)
            if change.partition != first.partition:
                outside = DataOutOfRange(first.partition, change.partition)
                return [wire.row_error(outside)] * len(writes)
        before = table.copied_rows()
        results = []
        for _, change in writes:
            try:
                results.append(wire.row_done(self._write(table, change)))
            except ServiceError as error:
                table.restore_rows(before)
                return [wire.row_error(error)] * len(writes)
        return results

    def _one(self, request: Message, kind: int) -> bytes:
        name = request.text(WriteRowRequest.TABLE_NAME)
        check_table_name(name)
        change = Change(
            kind,
            decode_row(request.data(WriteRowRequest.ROW)),
            request.message(WriteRowRequest.CONDITION),
            request.message(WriteRowRequest.RETURN_CONTENT),
        )
        check_data_size(_OPERATIONS[kind], [change.row])
        change.check()
        consumed, row = self._write(self._tables.get(name), change)
        return encode({RowResponse.CONSUMED: consumed, **wire.returned(RowResponse.ROW, row)})

    def _write(self, table: Table, change: Change) -> wire.Outcome:
        """Carry out a write if its condition holds; raises ConditionCheckFail."""
        row, condition = change.row, change.condition
        if change.kind != _DELETE and any(cell.value is Bound.AUTO for cell in row.key):
            row = _assign_number(table, row, condition)
        key = cast("Key", table.key_of(row.key))
        if row.deleted != (change.kind == _DELETE):
            raise ParameterInvalid("The delete marker does not fit the operation.")
        keys = [part for part in key if isinstance(part, str)]
        absent = condition.number(Condition.ROW_EXISTENCE) == EXPECT_NOT_EXIST
        self._notes.record_keys(*keys, detail=IF_ABSENT if absent else "")
        columns = table.versions(key)
        exists = columns is not None or (self._switches.expired_row == "present" and table.holds(key))
        if not holds(condition, columns or {}, exists=exists):
            raise ConditionCheckFail
        _act(table, change.kind, key, row)
        consumed = wire.consumed(read=int(change.reads), write=wire.units(_bytes(row.key, row.cells)))
        return consumed, _read_returned_row(table, key, change.content)


class Change(NamedTuple):
    """A write: its kind, its row, its condition, and the content that it must return."""

    kind: int
    row: Row
    condition: Message
    content: Message

    @classmethod
    def read(cls, request: Message) -> Change:
        """Read a write of a batch."""
        member = RowInBatchWriteRowRequest
        return cls(
            request.number(member.TYPE),
            decode_row(request.data(member.ROW_CHANGE)),
            request.message(member.CONDITION),
            request.message(member.RETURN_CONTENT),
        )

    @property
    def partition(self) -> KeyValue | None:
        """The value of the partition key, which is the first column of the primary key."""
        return self.row.key[0].value

    def check(self) -> None:
        """Raise ParameterInvalid for a write that no table accepts."""
        check_row(self.row)
        if self.kind == _UPDATE and not self.row.cells:
            raise ParameterInvalid("Invalid update row request: missing cells in request")
        if self.condition.has(Condition.COLUMN_CONDITION):
            check_filter(self.condition.message(Condition.COLUMN_CONDITION))
        if self.content.number(ReturnContent.RETURN_TYPE) == _RETURN_AFTER:
            # Not documented; testReturnColumnNames of the SDK for Java expects that such a write fails.
            counted = {cell.name for cell in self.row.cells if cell.operation is Operation.INCREMENT}
            for name in self.content.texts(ReturnContent.RETURN_COLUMN_NAMES):
                if name not in counted:
                    raise ParameterInvalid(f"The column to return is not incremented: '{name}'.")

    @property
    def is_conditional(self) -> bool:
        """Whether the write depends on a condition on the row's present state."""
        expectation = self.condition.number(Condition.ROW_EXISTENCE)
        return expectation != IGNORE or self.condition.has(Condition.COLUMN_CONDITION)

    @property
    def reads(self) -> bool:
        """Whether the service must read the row for the write, which consumes capacity."""
        return self.is_conditional or any(cell.operation is Operation.INCREMENT for cell in self.row.cells)


def _read_returned_row(table: Table, key: Key, content: Message) -> bytes:
    """Return the part of the row that a write must return."""
    kind = content.number(ReturnContent.RETURN_TYPE)
    if kind == _RETURN_KEY:
        return encode_rows([(_key_cells(table, key), ())])
    if kind == _RETURN_AFTER:
        names = set(content.texts(ReturnContent.RETURN_COLUMN_NAMES))
        newest = [
            (name, next(iter(kept.items())))
            for name, kept in sorted((table.versions(key) or {}).items())
            if name in names
        ]
        return encode_rows([((), [Cell(name, value, at) for name, (at, value) in newest])])
    return b""


def _answer_batch(tables: Iterable[tuple[str, list[bytes]]]) -> bytes:
    """Return the answer to a batch, from the name of each table and the results of its rows."""
    member = TableInBatchResponse
    results = [encode({member.TABLE_NAME: name, member.ROWS: rows}) for name, rows in tables]
    return encode({BatchResponse.TABLES: results})


def _check_tables(names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        check_table_name(name)
        if times > 1:
            raise ParameterInvalid(f"Duplicated table name: '{name}'.")


def _check_repeats(changes: Sequence[Change]) -> None:
    keys = [tuple(cell.value for cell in change.row.key) for change in changes]
    times = Counter(key for key in keys if Bound.AUTO not in key)
    if any(times[key] > 1 and change.is_conditional for key, change in zip(keys, changes, strict=True)):
        raise ParameterInvalid("Repeated rows do not support row condition check in BatchModify.")


def _assign_number(table: Table, row: Row, condition: Message) -> Row:
    """Return `row` with the number that the service assigns to it."""
    if condition.has(Condition.COLUMN_CONDITION):
        raise ParameterInvalid("Can't set condition when modify row with pk auto increment.")
    if condition.number(Condition.ROW_EXISTENCE) != IGNORE:
        raise ParameterInvalid(
            "A row whose key the service numbers must be written whether it exists or not."
        )
    return replace(row, key=[table.numbered(cell) for cell in row.key])


def _read_key(data: bytes, *, bounds: bool = False) -> list[Cell]:
    """Read the primary key of a row to be read; `bounds` allows the ends of a range."""
    key = decode_row(data).key
    check_key(key, bounds=bounds)
    return key


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


def _read(table: Table, selection: Selection, cells: list[Cell]) -> wire.Outcome:
    key = cast("Key", table.key_of(cells))
    row, kept = _select(table, selection, key)
    return wire.consumed(read=wire.units(_bytes(*row))), encode_rows([row]) if kept else b""


def _bytes(key: Sequence[Cell], cells: Sequence[Cell]) -> int:
    return sum(map(size_of, key)) + sum(map(size_of, cells))


def _select(table: Table, selection: Selection, key: Key) -> tuple[tuple[list[Cell], list[Cell]], bool]:
    """Return the key and the cells of a row that are read, and whether the row is returned.

    A filter leaves out rows that were read, so they consume capacity and count for the limits of a range.
    """
    row = table.versions(key)
    if row is None:
        return ([], []), False
    cells, kept = selection.cells(row, dict(zip((name for name, _ in table.schema), key, strict=True)))
    return (_key_cells(table, key), cells), kept


def _key_cells(table: Table, key: Key) -> list[Cell]:
    return [Cell(name, value) for (name, _), value in zip(table.schema, key, strict=True)]
