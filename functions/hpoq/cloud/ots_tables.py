"""What a table of Tablestore is like, for tools; the function never asks.

Field numbers are those of the official SDK's `table_store.proto`.
"""

from __future__ import annotations

from fcruntime.dataclass import dataclass
from hpoq.cloud.ots_wire import WireError, fields

_NUMBER_BITS = 64
_NAMES = {1: "INTEGER", 2: "STRING", 3: "BINARY"}


@dataclass(frozen=True)
class TableDescription:
    """The primary key as names and types, the time to live in seconds (None: for ever), the versions of a cell."""

    primary_key: tuple[tuple[str, str], ...]
    time_to_live: int | None
    most_versions: int | None


def describe_table(table: str) -> bytes:
    """A DescribeTableRequest."""
    name = table.encode()
    return bytes([0x0A, len(name)]) + name


def description_of(response: bytes) -> TableDescription:
    """What a DescribeTableResponse tells. Raises WireError."""
    members = {number: value for number, value in fields(response) if isinstance(value, bytes)}
    if 1 not in members:
        raise WireError("a description without a table")
    columns = [value for number, value in fields(members[1]) if number == 2 and isinstance(value, bytes)]
    options = {number: value for number, value in fields(members.get(3, b"")) if isinstance(value, int)}
    seconds = _signed(options[1]) if 1 in options else None
    return TableDescription(
        tuple(_column(column) for column in columns),
        None if seconds is None or seconds < 0 else seconds,
        options.get(2),
    )


def _column(column: bytes) -> tuple[str, str]:
    members = dict(fields(column))
    name, kind = members.get(1, b""), members.get(2, 0)
    return (
        name.decode() if isinstance(name, bytes) else "",
        _NAMES.get(kind, "?") if isinstance(kind, int) else "?",
    )


def _signed(value: int) -> int:
    """Negative numbers are written as their complement of 64 bits."""
    return value - (1 << _NUMBER_BITS) if value >> (_NUMBER_BITS - 1) else value
