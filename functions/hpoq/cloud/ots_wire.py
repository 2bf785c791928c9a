"""The wire of Tablestore, as far as single rows need it: Protocol Buffers around rows in PlainBuffer.

API version 2015-12-31. Field numbers are those of the official SDK's `table_store.proto` and
`table_store_filter.proto`; the bytes of a row are held against the SDK's in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from fcruntime.dataclass import dataclass

ColumnValue = int | str
Row = Mapping[str, ColumnValue]

_HEADER = 0x75
_TAG_KEY, _TAG_ATTRIBUTES, _TAG_CELL, _TAG_NAME, _TAG_VALUE = 0x01, 0x02, 0x03, 0x04, 0x05
_TAG_OPERATION, _TAG_TIMESTAMP, _TAG_DELETED, _TAG_ROW_CRC, _TAG_CELL_CRC = 0x06, 0x07, 0x08, 0x09, 0x0A
_INTEGER, _STRING = 0x00, 0x03
_EXPECT_EXIST, _EXPECT_NOT_EXIST = 1, 2
_SINGLE, _COMPOSITE, _EQUAL, _AND = 1, 2, 1, 2


class WireError(ValueError):
    """Bytes that are no message, or no row."""


@dataclass(frozen=True)
class Absent:
    """The condition that no row of the key exists."""


@dataclass(frozen=True)
class Holds:
    """The condition that a row of the key exists and has all these values; a column it lacks fails it."""

    columns: Mapping[str, ColumnValue]


Condition = Absent | Holds


def put_row(
    table: str, key: Mapping[str, ColumnValue], columns: Mapping[str, ColumnValue], condition: Condition
) -> bytes:
    """A PutRowRequest."""
    return _text(1, table) + _bytes(2, _row(key, columns)) + _bytes(3, _condition(condition))


def get_row(table: str, key: Row) -> bytes:
    """A GetRowRequest for the latest version of every column."""
    return _text(1, table) + _bytes(2, _row(key, {})) + _number(5, 1)


def batch_get_row(table: str, keys: Iterable[Row]) -> bytes:
    """A BatchGetRowRequest for the latest version of every column of the rows of one table."""
    wanted = b"".join(_bytes(2, _row(key, {})) for key in keys)
    return _bytes(1, _text(1, table) + wanted + _number(6, 1))


def rows_of(response: bytes) -> list[dict[str, ColumnValue] | None]:
    """Of a BatchGetRowResponse for one table the attribute columns of each row, in the order of their keys.

    None where there is no such row, or the service could not read it. Raises WireError.
    """
    tables = [value for number, value in fields(response) if number == 1 and isinstance(value, bytes)]
    if len(tables) != 1:
        raise WireError("a response about other tables")
    rows = [
        dict(fields(value)) for number, value in fields(tables[0]) if number == 2 and isinstance(value, bytes)
    ]
    return [_read(row.get(4), is_ok=row.get(1, 1) != 0) for row in rows]


def _read(row: int | bytes | None, *, is_ok: bool) -> dict[str, ColumnValue] | None:
    return _attributes(row) if is_ok and isinstance(row, bytes) and row else None


def row_of(response: bytes) -> dict[str, ColumnValue] | None:
    """The attribute columns of a GetRowResponse, None if there is no such row. Raises WireError."""
    rows = [value for number, value in fields(response) if number == 2 and isinstance(value, bytes)]
    if not rows:
        raise WireError("a response without a row")
    return _attributes(rows[0]) if rows[0] else None


def error_of(response: bytes) -> tuple[str, str] | None:
    """Code and message of an Error, None if the body is none."""
    try:
        found = {number: value for number, value in fields(response) if isinstance(value, bytes)}
        return (found[1].decode(), found.get(2, b"").decode()) if 1 in found else None
    except (WireError, UnicodeDecodeError):
        return None


def crc8(data: bytes, crc: int = 0) -> int:
    """CRC-8, polynomial 0x07, as PlainBuffer checks its cells with."""
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1) ^ 0x07 if byte & 0x80 else byte << 1
    return byte & 0xFF


_CRC = tuple(map(_crc_of, range(256)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _condition(condition: Condition) -> bytes:
    if isinstance(condition, Absent):
        return _number(1, _EXPECT_NOT_EXIST)
    terms = [_equals(name, value) for name, value in condition.columns.items()]
    whole = terms[0]
    for term in terms[1:]:
        # The service takes exactly two terms under one AND.
        both = _number(1, _AND) + _bytes(2, whole) + _bytes(2, term)
        whole = _number(1, _COMPOSITE) + _bytes(2, both)
    return _number(1, _EXPECT_EXIST) + _bytes(2, whole)


def _equals(name: str, value: ColumnValue) -> bytes:
    only_if_there, latest_only = 1, 1
    term = _number(1, _EQUAL) + _text(2, name) + _bytes(3, _variant(value))
    return _number(1, _SINGLE) + _bytes(2, term + _number(4, only_if_there) + _number(5, latest_only))


def _variant(value: ColumnValue) -> bytes:
    if isinstance(value, int):
        return struct.pack("<Bq", _INTEGER, value)
    text = value.encode()
    return struct.pack("<BI", _STRING, len(text)) + text


def _row(key: Row, columns: Row) -> bytes:
    out, crc = bytearray(struct.pack("<I", _HEADER)), 0
    for tag, cells in ((_TAG_KEY, key), (_TAG_ATTRIBUTES, columns)):
        out += bytes([tag]) if cells else b""
        for name, value in cells.items():
            text, variant = name.encode(), _variant(value)
            check = crc8(variant, crc8(text))
            out += struct.pack("<BBI", _TAG_CELL, _TAG_NAME, len(text)) + text
            out += struct.pack("<BI", _TAG_VALUE, len(variant)) + variant
            out += bytes([_TAG_CELL_CRC, check])
            crc = crc8(bytes([check]), crc)
    return bytes(out) + bytes([_TAG_ROW_CRC, crc8(b"\x00", crc)])


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field; fixed-width ones are passed over."""
    reader = _Reader(message)
    while reader.left():
        tag = reader.varint()
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            yield number, reader.varint()
        elif wire == 2:
            yield number, reader.take(reader.varint())
        elif wire in (1, 5):
            reader.take(8 if wire == 1 else 4)
        else:
            raise WireError("a field of an unknown wire type")


def _attributes(row: bytes) -> dict[str, ColumnValue]:
    """The columns of a row, without its key, each cell held against its checksum."""
    reader, found, in_key = _Reader(row), dict[str, ColumnValue](), True
    if reader.number("<I") != _HEADER:
        raise WireError("a row without its header")
    while reader.left():
        tag = reader.byte()
        if tag == _TAG_ATTRIBUTES:
            in_key = False
        elif tag == _TAG_CELL:
            name, value = reader.cell()
            if not in_key:
                found[name] = value
        elif tag == _TAG_ROW_CRC:
            reader.byte()
        elif tag not in (_TAG_KEY, _TAG_DELETED):
            raise WireError("an unknown tag in a row")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise WireError("broken off")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise WireError("a number without end")

    def cell(self) -> tuple[str, ColumnValue]:
        """Name and value; a value of a type that is never written here raises WireError."""
        name = variant = b""
        operation = timestamp = b""
        while (tag := self.byte()) != _TAG_CELL_CRC:
            if tag == _TAG_NAME:
                name = self.take(self.number("<I"))
            elif tag == _TAG_VALUE:
                variant = self.take(self.number("<I"))
            elif tag == _TAG_OPERATION:
                operation = self.take(1)
            elif tag == _TAG_TIMESTAMP:
                timestamp = self.take(8)
            else:
                raise WireError("an unknown tag in a cell")
        if self.byte() != crc8(operation, crc8(timestamp, crc8(variant, crc8(name)))):
            raise WireError("a cell whose checksum is wrong")
        return name.decode(), _value(variant)


def _value(variant: bytes) -> ColumnValue:
    reader = _Reader(variant)
    kind = reader.byte() if variant else -1
    if kind == _INTEGER:
        return reader.number("<q")
    if kind == _STRING:
        return reader.take(reader.number("<I")).decode()
    raise WireError("a value of a type that is not written here")
