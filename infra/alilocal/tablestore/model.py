"""Tables and their rows.

A cell keeps its newest versions by timestamp. Versions older than the table's time to live cannot be read, and a row
without a readable cell does not exist. Source: https://help.aliyun.com/en/tablestore/data-versions-and-ttl.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alilocal.core.clock import CloudClock
from alilocal.core.snapshot import TRANSIENT
from alilocal.tablestore.errors import InvalidKey, NoSuchTable, ParameterInvalid, TableExists
from alilocal.tablestore.plainbuffer import Bound, Cell, KeyValue, Operation, Value
from alilocal.tablestore.validation import (
    check_column_name,
    check_key_name,
    check_key_size,
    check_table_name,
)

INTEGER, STRING, BINARY = 1, 2, 3
_TYPES: dict[int, type] = {INTEGER: int, STRING: str, BINARY: bytes}
_TYPE_NAMES: dict[type, str] = {
    int: "VT_INTEGER",
    str: "VT_STRING",
    bytes: "VT_BLOB",
    float: "VT_DOUBLE",
    bool: "VT_BOOLEAN",
}
_LEAST_TIME_TO_LIVE = 86_400
_MOST_STREAM_HOURS = 168
_INTEGERS = range(-(2**63), 2**63)

Key = tuple[Value, ...]
Versions = dict[int, Value]


@dataclass(frozen=True)
class Options:
    """A table's options: time to live in seconds (-1: unlimited), versions per cell, whether UpdateRow is allowed.

    `update_full_row` is what a client gave; it has no effect here, and can only be set when the table is created.
    """

    time_to_live: int = -1
    max_versions: int = 1
    deviation: int = 86_400
    allow_update: bool = True
    update_full_row: bool = False

    def check(self) -> None:
        """Raise ParameterInvalid for values that are not allowed."""
        if self.time_to_live != -1 and self.time_to_live < _LEAST_TIME_TO_LIVE:
            raise ParameterInvalid(f"Invalid time to live: it must be -1 or at least {_LEAST_TIME_TO_LIVE}.")
        if self.max_versions <= 0:
            raise ParameterInvalid("Invalid max versions.")


@dataclass(frozen=True)
class Stream:
    """A stream that is switched on: the hours that it keeps changes, and since when it is on, in microseconds.

    It is only described: nothing records the changes.
    """

    hours: int
    enabled: int

    def check(self) -> None:
        """Raise ParameterInvalid for a time that is not allowed."""
        if not 1 <= self.hours <= _MOST_STREAM_HOURS:
            raise ParameterInvalid(
                f"Invalid expiration time of the stream: it must be between 1 and {_MOST_STREAM_HOURS} hours."
            )


@dataclass
class Table:
    """A table: the columns of its primary key by name and type, and its rows by key.

    `automatic` is the key column that the service numbers, and `numbers` the last number that it assigned. `defined`
    are the declared columns and `throughput` the reserved units of reading and writing; neither has an effect here.
    `created` is the time of the table's creation in microseconds, or 0 if it comes from a snapshot without it.
    """

    name: str
    schema: tuple[tuple[str, int], ...]
    clock: CloudClock = field(repr=False, compare=False, metadata=TRANSIENT)
    options: Options = field(default_factory=Options)
    automatic: str | None = None
    numbers: int = 0
    defined: tuple[tuple[str, int], ...] = ()
    throughput: tuple[int, int] = (0, 0)
    created: int = 0
    stream: Stream | None = None
    _rows: dict[Key, dict[str, Versions]] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> dict[Key, dict[str, Value]]:
        """The rows that exist now: the newest value of each column, by key."""
        found = {key: self.columns(key) for key in self._rows}
        return {key: columns for key, columns in found.items() if columns is not None}

    def columns(self, key: Key) -> dict[str, Value] | None:
        """Return the newest readable value of each column, or None if the row does not exist."""
        versions = self.versions(key)
        return (
            {name: next(iter(kept.values())) for name, kept in versions.items()}
            if versions is not None
            else None
        )

    def versions(self, key: Key) -> dict[str, Versions] | None:
        """Return the readable versions of each column, newest first, or None if the row does not exist."""
        row = self._rows.get(key)
        if row is None:
            return None
        least, most = self._oldest(), self.options.max_versions
        found = {name: new for name, kept in row.items() if (new := _newest(kept, least, most))}
        return found if found or not row else None

    def copied_rows(self) -> dict[Key, dict[str, Versions]]:
        """Return a copy of all rows, which later writes do not change."""
        return {
            key: {name: dict(versions) for name, versions in row.items()} for key, row in self._rows.items()
        }

    def restore_rows(self, rows: dict[Key, dict[str, Versions]]) -> None:
        """Replace all rows by those of `copied_rows`."""
        self._rows = rows

    def holds(self, key: Key) -> bool:
        """Return whether the row is stored, even if it has expired and is not removed yet."""
        return key in self._rows

    def numbered(self, cell: Cell) -> Cell:
        """Return a key's cell, with the next number if the service must assign one. Numbers grow, with gaps."""
        if cell.value is not Bound.AUTO or cell.name != self.automatic:
            return cell
        self.numbers = max(self.numbers + 1, self.clock.now_ms() * 1000)
        return cell._replace(value=self.numbers)

    def _oldest(self) -> float:
        ttl = self.options.time_to_live
        return -1 if ttl < 0 else self.clock.now_ms() - ttl * 1000

    def key_of(self, cells: Sequence[Cell], *, bounds: bool = False) -> tuple[KeyValue, ...]:
        """Return the key in `cells`; raises InvalidKey if it does not fit the schema."""
        if len(cells) != len(self.schema):
            raise InvalidKey(f"Validate PK size fail. Input: {len(cells)}, Meta: {len(self.schema)}.")
        for cell, (name, kind) in zip(cells, self.schema, strict=True):
            if cell.name != name:
                raise InvalidKey(f"Validate PK name fail. Input: {cell.name}, Meta: {name}.")
            if bounds and cell.value in (Bound.LEAST, Bound.MOST):
                continue
            if type(cell.value) is not _TYPES[kind]:
                given = _TYPE_NAMES.get(type(cell.value), "VT_NULL")
                meta = _TYPE_NAMES[_TYPES[kind]]
                raise InvalidKey(f"Validate PK type fail. Input: {given}, Meta: {meta}.")
        return tuple(cell.value for cell in cells if cell.value is not None)

    def put(self, key: Key, cells: Sequence[Cell] | Mapping[str, Value]) -> None:
        """Replace the row; raises InvalidKey and ParameterInvalid."""
        cells = self._check_row(key, cells)
        row: dict[str, Versions] = {}
        now = self.clock.now_ms()
        for cell in cells:
            self._put_cell(row, cell, now)
        self._rows[key] = row

    def update(self, key: Key, cells: Sequence[Cell] | Mapping[str, Value]) -> None:
        """Change the given cells, creating the row if it does not exist; raises InvalidKey and ParameterInvalid."""
        if not self.options.allow_update:
            raise ParameterInvalid("Update operation is not allowed in this table")
        cells = self._check_row(key, cells)
        before, now = self.versions(key), self.clock.now_ms()
        row = {name: dict(kept) for name, kept in (before or {}).items()}
        for cell in cells:
            if cell.operation is Operation.DELETE_ALL:
                row.pop(cell.name, None)
            elif cell.operation is Operation.DELETE_ONE:
                row.get(cell.name, {}).pop(cell.timestamp or 0, None)
            elif cell.operation is Operation.INCREMENT:
                self._put_cell(row, Cell(cell.name, _increment(row.get(cell.name), cell.value)), now)
            else:
                self._put_cell(row, cell, now)
        row = {name: kept for name, kept in row.items() if kept}
        # Deleting cells does not create a row, but an existing row keeps its key without any cell.
        if row or before is not None:
            self._rows[key] = row

    def delete(self, key: Key) -> None:
        """Delete the row, if it exists."""
        self._rows.pop(key, None)

    def between(
        self, start: tuple[KeyValue, ...], end: tuple[KeyValue, ...], *, backward: bool
    ) -> Iterator[Key]:
        """Return the keys of rows from `start` to before `end`, in order; raises ParameterInvalid.

        Only those that the caller takes are read: a scan of a large table takes a few hundred of them at a time.
        """
        low, high = _order(start), _order(end)
        if (low <= high) if backward else (low >= high):
            direction = "BACKWARD" if backward else "FORWARD"
            raise ParameterInvalid(
                f"Begin key must {'more' if backward else 'less'} than end key in {direction}"
            )
        places = ((_order(key), key) for key in self._rows)
        found = [one for one in places if (high < one[0] <= low if backward else low <= one[0] < high)]
        found.sort(key=lambda one: one[0], reverse=backward)
        return (key for _, key in found if self.versions(key) is not None)

    def _check_row(self, key: Key, cells: Sequence[Cell] | Mapping[str, Value]) -> Sequence[Cell]:
        """Return `cells`, or those that a mapping describes.

        Raises InvalidKey, and ParameterInvalid for an invalid name of a column, or one of the primary key's.
        """
        if not isinstance(key, tuple) or [*map(type, key)] != [_TYPES[kind] for _, kind in self.schema]:
            raise InvalidKey(f"The key must be a tuple with the values of the primary key, not {key!r}.")
        if isinstance(cells, Mapping):
            cells = [Cell(name, value) for name, value in cells.items()]
        keys = {name for name, _ in self.schema}
        for cell in cells:
            check_column_name(cell.name)
            if cell.name in keys:
                raise ParameterInvalid(
                    f"Duplicated attribute column name with primary key column: `{cell.name}`."
                )
        return cells

    def _put_cell(self, row: dict[str, Versions], cell: Cell, now: int) -> None:
        if cell.value is None or isinstance(cell.value, Bound):
            raise ParameterInvalid("Cell data broken, a cell has no value.")
        at = now if cell.timestamp is None else self._version(cell.timestamp, now)
        if self.options.max_versions == 1 and cell.name not in row:
            row[cell.name] = {at: cell.value}
            return
        kept = {**row.get(cell.name, {}), at: cell.value}
        row[cell.name] = dict(sorted(kept.items(), reverse=True)[: self.options.max_versions])

    def _version(self, timestamp: int, now: int) -> int:
        """Return a version chosen by a writer; raises ParameterInvalid if it is too far from now."""
        deviation = self.options.deviation * 1000
        if not max(now - deviation, self._oldest()) <= timestamp < now + deviation:
            raise ParameterInvalid(f"The version {timestamp} of a cell is too far from the present time.")
        return timestamp


class Tables:
    """The tables of the instance: `create(name, schema)`, `get(name)`, `delete(name)`, `list()`."""

    def __init__(self, clock: CloudClock) -> None:
        self._clock = clock
        self._by_name: dict[str, Table] = {}

    def create(
        self,
        name: str,
        schema: Sequence[tuple[str, int]],
        options: Options | None = None,
        *,
        automatic: str | None = None,
        defined: Sequence[tuple[str, int]] = (),
    ) -> Table:
        """Create a table whose primary key has the columns `schema`, each a pair of name and type.

        `automatic` names a column that the service numbers. Raises TableExists and ParameterInvalid.
        """
        check_table_name(name)
        check_key_size(len(schema))
        if any(kind not in _TYPES for _, kind in schema):
            raise ParameterInvalid("The type of a primary key column is not valid.")
        names = [column for column, _ in schema]
        for column in names:
            check_key_name(column)
            if names.count(column) > 1:
                raise ParameterInvalid(f"Duplicated primary key name: '{column}'.")
        if name in self._by_name:
            raise TableExists
        if automatic is not None and (automatic, INTEGER) not in schema[1:]:
            raise ParameterInvalid("Only an integer that is not the partition key can be numbered.")
        made = options or Options()
        made.check()
        table = Table(name, tuple(schema), self._clock, made, automatic, defined=tuple(defined))
        table.created = self._clock.now_ms() * 1000
        self._by_name[name] = table
        return table

    def get(self, name: str) -> Table:
        """Return a table; raises NoSuchTable, or ParameterInvalid for a name that no table can have."""
        if name not in self._by_name:
            check_table_name(name)
            raise NoSuchTable
        return self._by_name[name]

    def delete(self, name: str) -> None:
        """Delete a table; raises as `get` does."""
        self.get(name)
        del self._by_name[name]

    def restore(self, tables: Sequence[Table]) -> None:
        """Replace all tables."""
        self._by_name = {table.name: table for table in tables}

    def list(self) -> list[str]:
        """Return the names of all tables, sorted."""
        return sorted(self._by_name)


def _newest(kept: Versions, least: float, most: int) -> Versions:
    """Return the versions after `least`, newest first, up to `most`."""
    if len(kept) == 1:
        return kept if next(iter(kept)) > least else {}
    return dict(sorted(((at, value) for at, value in kept.items() if at > least), reverse=True)[:most])


def _order(key: Sequence[KeyValue]) -> list[tuple[int, KeyValue]]:
    """Return the sort key of a primary key: texts sort by their bytes, and bounds enclose all values."""
    return [
        (0, 0) if value is Bound.LEAST else (2, 0) if value is Bound.MOST else (1, _sortable(value))
        for value in key
    ]


def _sortable(value: KeyValue) -> KeyValue:
    return value.encode() if isinstance(value, str) else value


def _increment(kept: Versions | None, by: KeyValue | None) -> Value:
    before = next(iter(kept.values())) if kept else 0
    if type(before) is not int or type(by) is not int:
        raise ParameterInvalid("Only integers can be incremented.")
    if before + by not in _INTEGERS:
        raise ParameterInvalid("The integer is too large to be incremented.")
    return before + by
