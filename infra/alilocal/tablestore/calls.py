"""The operations on tables. Each takes a request's message and returns the answer's bytes."""

from __future__ import annotations

from alilocal.core.clock import CloudClock
from alilocal.tablestore import wire
from alilocal.tablestore.errors import NotHere, ParameterInvalid, TooManyTables
from alilocal.tablestore.messages import (
    ColumnSchema,
    CreateTableRequest,
    DescribeTableResponse,
    ListTableResponse,
    TableMeta,
    TableOptions,
    TableRequest,
    UpdateTableRequest,
    UpdateTableResponse,
)
from alilocal.tablestore.model import Options, Tables
from alilocal.tablestore.proto import Message, encode

_MOST_TABLES = 64


class Calls:
    """The handlers of the operations."""

    def __init__(self, tables: Tables, clock: CloudClock) -> None:
        self._tables, self._clock = tables, clock

    def create(self, request: Message) -> bytes:
        stream = wire.read_stream(request.message(CreateTableRequest.STREAM_SPEC), None, self._clock)
        meta = request.message(CreateTableRequest.TABLE_META)
        if request.has(CreateTableRequest.INDEX_METAS) or meta.has(TableMeta.INDEX_META):
            raise NotHere("secondary indexes", "a table with an index")
        options = wire.read_options(request.message(CreateTableRequest.TABLE_OPTIONS), Options())
        keys = meta.messages(TableMeta.PRIMARY_KEY)
        schema = wire.read_columns(keys)
        defined = wire.read_columns(meta.messages(TableMeta.DEFINED_COLUMN))
        automatic = [
            column.text(ColumnSchema.NAME)
            for column in keys
            if column.number(ColumnSchema.OPTION) == wire.AUTO_INCREMENT
        ]
        if len(automatic) > 1:
            raise ParameterInvalid("Only one column of a primary key can be numbered.")
        name = meta.text(TableMeta.TABLE_NAME)
        if len(self._tables.list()) >= _MOST_TABLES and name not in self._tables.list():
            raise TooManyTables
        table = self._tables.create(
            name, schema, options, automatic=automatic[0] if automatic else None, defined=defined
        )
        throughput = request.message(CreateTableRequest.RESERVED_THROUGHPUT)
        table.throughput = wire.read_throughput(throughput)
        table.stream = stream
        return b""

    def describe(self, request: Message) -> bytes:
        table = self._tables.get(request.text(TableRequest.TABLE_NAME))
        return encode(
            {
                DescribeTableResponse.TABLE_META: wire.table_meta(table),
                DescribeTableResponse.RESERVED_THROUGHPUT_DETAILS: wire.table_throughput(table),
                DescribeTableResponse.TABLE_OPTIONS: wire.table_options(table),
                DescribeTableResponse.TABLE_STATUS: wire.ACTIVE,
                DescribeTableResponse.STREAM_DETAILS: wire.table_stream(table),
                DescribeTableResponse.CREATION_TIME: table.created,
            }
        )

    def list(self, _request: Message) -> bytes:
        return encode({ListTableResponse.TABLE_NAMES: [name.encode() for name in self._tables.list()]})

    def update(self, request: Message) -> bytes:
        table = self._tables.get(request.text(UpdateTableRequest.TABLE_NAME))
        stream = wire.read_stream(request.message(UpdateTableRequest.STREAM_SPEC), table.stream, self._clock)
        if request.has(UpdateTableRequest.TABLE_OPTIONS):
            options = request.message(UpdateTableRequest.TABLE_OPTIONS)
            if options.has(TableOptions.UPDATE_FULL_ROW):
                raise ParameterInvalid("The options of UpdateTable must not contain updateFullRow.")
            table.options = wire.read_options(options, table.options)
        if request.has(UpdateTableRequest.RESERVED_THROUGHPUT):
            throughput = request.message(UpdateTableRequest.RESERVED_THROUGHPUT)
            table.throughput = wire.read_throughput(throughput, table.throughput)
        table.stream = stream
        return encode(
            {
                UpdateTableResponse.RESERVED_THROUGHPUT_DETAILS: wire.table_throughput(table),
                UpdateTableResponse.TABLE_OPTIONS: wire.table_options(table),
                UpdateTableResponse.STREAM_DETAILS: wire.table_stream(table),
            }
        )

    def delete(self, request: Message) -> bytes:
        self._tables.delete(request.text(TableRequest.TABLE_NAME))
        return b""

    def list_search_indexes(self, request: Message) -> bytes:
        """Return an empty list: there are none. Programs list a table's indexes before they delete it."""
        if name := request.text(TableRequest.TABLE_NAME):
            self._tables.get(name)
        return b""

    def list_timeseries_tables(self, _request: Message) -> bytes:
        """Return an empty list: there are none."""
        return b""
