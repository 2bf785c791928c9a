"""The parts of Tablestore's messages that several operations share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from alilocal.core.clock import CloudClock
from alilocal.core.http import ServiceError
from alilocal.tablestore.messages import (
    CapacityUnit,
    ColumnSchema,
    Error,
    RowInBatchResponse,
    StreamDetails,
    StreamSpecification,
    TableMeta,
    TableOptions,
    Throughput,
)
from alilocal.tablestore.model import Options, Stream, Table
from alilocal.tablestore.proto import Message, encode

AUTO_INCREMENT = 1
ACTIVE = 1
"""The status of a table that can be used, as every table here can."""
Outcome = tuple[bytes, bytes]
"""The capacity that an operation on a row consumed, and the row that it returns, if any."""
_UNIT_BYTES = 4096
_DEFAULT_STREAM_HOURS = 168
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
    optional = {Error.ACCESS_DENIED_DETAIL: detail} if detail else {}
    return encode({Error.CODE: error.code, Error.MESSAGE: error.message, **optional})


def row_result(act: Callable[[], Outcome]) -> bytes:
    """Return one row's part of a batch's answer: its outcome, or the error that affects this row only."""
    try:
        return row_done(act())
    except ServiceError as error:
        return row_error(error)


def row_done(outcome: Outcome) -> bytes:
    """Return one row's part of a batch's answer: its outcome."""
    capacity, row = outcome
    return encode(
        {
            RowInBatchResponse.IS_OK: 1,
            RowInBatchResponse.CONSUMED: capacity,
            **returned(RowInBatchResponse.ROW, row),
        }
    )


def returned(number: int, row: bytes) -> dict[int, bytes]:
    """Return the optional member for a row, or none without a row: older SDKs cannot read an empty one."""
    return {number: row} if row else {}


def row_error(error: ServiceError) -> bytes:
    """Return one row's part of a batch's answer: the error that affects this row."""
    return encode({RowInBatchResponse.IS_OK: 0, RowInBatchResponse.ERROR: error_body(error)})


@lru_cache
def consumed(*, read: int = 0, write: int = 0) -> bytes:
    """Return the consumed capacity in units."""
    return encode({Throughput.CAPACITY_UNIT: encode({CapacityUnit.READ: read, CapacityUnit.WRITE: write})})


def units(size: int) -> int:
    """Return the capacity units for `size` bytes."""
    return max(1, -(-size // _UNIT_BYTES))


def read_columns(declared: Sequence[Message]) -> list[tuple[str, int]]:
    """Read columns as pairs of name and type."""
    return [(column.text(ColumnSchema.NAME), column.number(ColumnSchema.TYPE)) for column in declared]


def read_options(given: Message, before: Options) -> Options:
    """Read a table's options; those that are missing stay as `before`. Raises ParameterInvalid."""
    options = Options(
        given.number(TableOptions.TIME_TO_LIVE, before.time_to_live),
        given.number(TableOptions.MAX_VERSIONS, before.max_versions),
        given.number(TableOptions.DEVIATION_CELL_VERSION_IN_SEC, before.deviation),
        bool(given.number(TableOptions.ALLOW_UPDATE, before.allow_update)),
        bool(given.number(TableOptions.UPDATE_FULL_ROW, before.update_full_row)),
    )
    options.check()
    return options


def read_stream(given: Message, before: Stream | None, clock: CloudClock) -> Stream | None:
    """Read whether a table's stream is switched on; without a specification it stays as `before`.

    Raises ParameterInvalid.
    """
    if not given.has(StreamSpecification.ENABLE_STREAM):
        return before
    if not given.number(StreamSpecification.ENABLE_STREAM):
        return None
    stream = Stream(
        given.number(StreamSpecification.EXPIRATION_TIME, _DEFAULT_STREAM_HOURS),
        clock.now_ms() * 1000 if before is None else before.enabled,
    )
    stream.check()
    return stream


def read_throughput(reserved: Message, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Read the reserved capacity units of reading and of writing; one that is missing stays as `before`."""
    capacity, (read, write) = reserved.message(Throughput.CAPACITY_UNIT), before
    return capacity.number(CapacityUnit.READ, read), capacity.number(CapacityUnit.WRITE, write)


def table_meta(table: Table) -> bytes:
    """Return a table's name, primary key and declared columns."""
    option = {ColumnSchema.OPTION: AUTO_INCREMENT}
    schema = [
        encode({**_column(name, kind), **(option if name == table.automatic else {})})
        for name, kind in table.schema
    ]
    defined = [encode(_column(name, kind)) for name, kind in table.defined]
    return encode(
        {TableMeta.TABLE_NAME: table.name, TableMeta.PRIMARY_KEY: schema, TableMeta.DEFINED_COLUMN: defined}
    )


def _column(name: str, kind: int) -> dict[int, str | int]:
    return {ColumnSchema.NAME: name, ColumnSchema.TYPE: kind}


def table_throughput(table: Table) -> bytes:
    """Return a table's reserved capacity."""
    read, write = table.throughput
    capacity = encode({CapacityUnit.READ: read, CapacityUnit.WRITE: write})
    return encode({Throughput.CAPACITY_UNIT: capacity, Throughput.LAST_INCREASE_TIME: 0})


def table_stream(table: Table) -> bytes:
    """Return the details of a table's stream, which may be switched off."""
    stream = table.stream
    if stream is None:
        return encode({StreamDetails.ENABLE_STREAM: 0})
    return encode(
        {
            StreamDetails.ENABLE_STREAM: 1,
            StreamDetails.STREAM_ID: f"{table.name}_{stream.enabled}",
            StreamDetails.EXPIRATION_TIME: stream.hours,
            StreamDetails.LAST_ENABLE_TIME: stream.enabled,
        }
    )


def table_options(table: Table) -> bytes:
    """Return a table's options."""
    options = table.options
    return encode(
        {
            TableOptions.TIME_TO_LIVE: options.time_to_live,
            TableOptions.MAX_VERSIONS: options.max_versions,
            TableOptions.DEVIATION_CELL_VERSION_IN_SEC: options.deviation,
            TableOptions.ALLOW_UPDATE: int(options.allow_update),
            **({TableOptions.UPDATE_FULL_ROW: 1} if options.update_full_row else {}),
        }
    )
