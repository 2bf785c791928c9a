"""The operations on tables. Each takes a request's message and returns the answer's bytes."""

from __future__ import annotations

from alilocal.tablestore import wire
from alilocal.tablestore.errors import NotHere, ParameterInvalid, TooManyTables
from alilocal.tablestore.model import Options, Tables
from alilocal.tablestore.proto import Message, encode

_MOST_TABLES = 64


class Calls:
    """The handlers of the operations."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, request: Message) -> bytes:
        _refuse_streams(request.message(5))
        if request.has(7) or request.message(1).has(4):
            raise NotHere("secondary indexes", "a table with an index")
        meta, options = request.message(1), wire.read_options(request.message(3), Options())
        keys = meta.messages(2)
        schema, defined = wire.read_columns(keys), wire.read_columns(meta.messages(3))
        automatic = [column.text(1) for column in keys if column.number(3) == wire.AUTO_INCREMENT]
        if len(automatic) > 1:
            raise ParameterInvalid("Only one column of a primary key can be numbered.")
        name = meta.text(1)
        if len(self._tables.list()) >= _MOST_TABLES and name not in self._tables.list():
            raise TooManyTables
        table = self._tables.create(
            name, schema, options, automatic=automatic[0] if automatic else None, defined=defined
        )
        table.throughput = wire.read_throughput(request.message(2))
        return b""

    def describe(self, request: Message) -> bytes:
        table = self._tables.get(request.text(1))
        return encode(
            {
                1: wire.table_meta(table),
                2: wire.table_throughput(table),
                3: wire.table_options(table),
                4: wire.ACTIVE,
                5: wire.NO_STREAM,
                9: table.created,
            }
        )

    def list(self, _request: Message) -> bytes:
        return encode({1: [name.encode() for name in self._tables.list()]})

    def update(self, request: Message) -> bytes:
        _refuse_streams(request.message(4))
        table = self._tables.get(request.text(1))
        if request.has(3):
            if request.message(3).has(wire.UPDATE_FULL_ROW):
                raise ParameterInvalid("The options of UpdateTable must not contain updateFullRow.")
            table.options = wire.read_options(request.message(3), table.options)
        if request.has(2):
            table.throughput = wire.read_throughput(request.message(2), table.throughput)
        return encode({1: wire.table_throughput(table), 2: wire.table_options(table), 3: wire.NO_STREAM})

    def delete(self, request: Message) -> bytes:
        self._tables.delete(request.text(1))
        return b""


def _refuse_streams(specification: Message) -> None:
    """Raise NotHere if a table's stream is to be switched on."""
    if specification.number(1):
        raise NotHere("streams", "a table with a stream")
