"""The parts of Tablestore's messages that several operations share.

Numbers of members: the `.proto` files of the official SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from alilocal.core.http import ServiceError
from alilocal.tablestore.model import Options, Table
from alilocal.tablestore.proto import Message, encode

AUTO_INCREMENT = 1
UPDATE_FULL_ROW = 7
"""The number of the table option `update_full_row`, which older SDKs do not know."""
ACTIVE = 1
"""The status of a table that can be used, as every table here can."""
NO_STREAM = encode({1: 0})
"""The details of a stream that is not switched on."""
Outcome = tuple[bytes, bytes]
"""The capacity that an operation on a row consumed, and the row that it returns, if any."""
_UNIT_BYTES = 4096
_DETAIL = (
    "AuthAction",
    "AuthPrincipalType",
    "AuthPrincipalOwnerId",
    "AuthPrincipalDisplayName",
    "PolicyType",
    "NoPermissionType",
)
"""The members of AccessDeniedDetail, by their numbers."""


def error_body(error: ServiceError) -> bytes:
    """Return an error message. Newer SDKs read from it which permission is missing."""
    detail = encode(dict(enumerate((error.detail[name] for name in _DETAIL), 1))) if error.detail else b""
    return encode({1: error.code, 2: error.message, **({3: detail} if detail else {})})


def row_result(act: Callable[[], Outcome]) -> bytes:
    """Return one row's part of a batch's answer: its outcome, or the error that affects this row only."""
    try:
        return row_done(act())
    except ServiceError as error:
        return row_error(error)


def row_done(outcome: Outcome) -> bytes:
    """Return one row's part of a batch's answer: its outcome."""
    capacity, row = outcome
    return encode({1: 1, 3: capacity, **returned(4, row)})


def returned(number: int, row: bytes) -> dict[int, bytes]:
    """Return the optional member for a row, or none without a row: older SDKs cannot read an empty one."""
    return {number: row} if row else {}


def row_error(error: ServiceError) -> bytes:
    """Return one row's part of a batch's answer: the error that affects this row."""
    return encode({1: 0, 2: error_body(error)})


@lru_cache
def consumed(*, read: int = 0, write: int = 0) -> bytes:
    """Return the consumed capacity in units."""
    return encode({1: encode({1: read, 2: write})})


def units(size: int) -> int:
    """Return the capacity units for `size` bytes."""
    return max(1, -(-size // _UNIT_BYTES))


def read_columns(declared: Sequence[Message]) -> list[tuple[str, int]]:
    """Read columns as pairs of name and type."""
    return [(column.text(1), column.number(2)) for column in declared]


def read_options(given: Message, before: Options) -> Options:
    """Read a table's options; those that are missing stay as `before`. Raises ParameterInvalid."""
    options = Options(
        given.number(1, before.time_to_live),
        given.number(2, before.max_versions),
        given.number(5, before.deviation),
        bool(given.number(6, before.allow_update)),
        bool(given.number(UPDATE_FULL_ROW, before.update_full_row)),
    )
    options.check()
    return options


def read_throughput(reserved: Message, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Read the reserved capacity units of reading and of writing; one that is missing stays as `before`."""
    capacity, (read, write) = reserved.message(1), before
    return capacity.number(1, read), capacity.number(2, write)


def table_meta(table: Table) -> bytes:
    """Return a table's name, primary key and declared columns."""
    option = {3: AUTO_INCREMENT}
    schema = [
        encode({1: name, 2: kind, **(option if name == table.automatic else {})})
        for name, kind in table.schema
    ]
    defined = [encode({1: name, 2: kind}) for name, kind in table.defined]
    return encode({1: table.name, 2: schema, 3: defined})


def table_throughput(table: Table) -> bytes:
    """Return a table's reserved capacity."""
    read, write = table.throughput
    return encode({1: encode({1: read, 2: write}), 2: 0})


def table_options(table: Table) -> bytes:
    """Return a table's options."""
    options = table.options
    return encode(
        {
            1: options.time_to_live,
            2: options.max_versions,
            5: options.deviation,
            6: int(options.allow_update),
            **({UPDATE_FULL_ROW: 1} if options.update_full_row else {}),
        }
    )
