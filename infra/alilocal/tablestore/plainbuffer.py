"""PlainBuffer: rows as bytes, as the official SDK writes and reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.proto import decoded

HEADER = 0x75
_KEY, _ATTRIBUTES, _CELL, _NAME, _VALUE, _OPERATION, _TIMESTAMP, _DELETED, _ROW_CRC, _CELL_CRC = range(1, 11)
_INTEGER, _DOUBLE, _BOOLEAN, _STRING, _BLOB, _LEAST, _MOST, _AUTO = 0, 1, 2, 3, 7, 9, 10, 11


class Bound(Enum):
    """Values that stand for no value: the ends of a range, and a number that the service gives."""

    LEAST = _LEAST
    MOST = _MOST
    AUTO = _AUTO


class Operation(Enum):
    """What an update does with a cell, unless it puts it."""

    DELETE_ALL = 1
    DELETE_ONE = 3
    INCREMENT = 4


Value = int | float | bool | str | bytes
KeyValue = Value | Bound


class Cell(NamedTuple):
    """A column of a row; `timestamp` is its version, in milliseconds."""

    name: str
    value: KeyValue | None
    timestamp: int | None = None
    operation: Operation | None = None


@dataclass
class Row:
    """A row as it was sent."""

    key: list[Cell] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    deleted: bool = False


def crc8(data: bytes, crc: int = 0) -> int:
    """CRC-8 with the polynomial 0x07."""
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1) ^ 0x07 if byte & 0x80 else byte << 1
    return byte & 0xFF


_CRC = tuple(map(_crc_of, range(256)))


def decode_row(data: bytes) -> Row:
    """The one row in `data`; raises ParameterInvalid."""
    reader = _Reader(data)
    if int.from_bytes(reader.take(4), "little") != HEADER:
        raise _broken()
    row, crc = Row(), 0
    section: list[Cell] | None = None
    while True:
        tag = reader.byte()
        if tag in (_KEY, _ATTRIBUTES):
            section = row.key if tag == _KEY else row.cells
        elif tag == _CELL and section is not None:
            cell, check = reader.cell()
            section.append(cell)
            crc = _CRC[crc ^ check]
        elif tag == _DELETED:
            row.deleted = True
        elif tag == _ROW_CRC:
            if reader.byte() != _CRC[crc ^ row.deleted] or reader.left():
                raise _broken()
            return row
        else:
            raise _broken()


def decode_variant(data: bytes) -> KeyValue:
    """The value in `data`, which has neither tag nor length in front."""
    return _Reader(data).variant()


def encode_rows(rows: Iterable[tuple[Iterable[Cell], Iterable[Cell]]]) -> bytes:
    """Keys and cells of rows, behind one header; empty without a row."""
    out = b"".join(_row(list(key), list(cells)) for key, cells in rows)
    return struct.pack("<I", HEADER) + out if out else b""


def _row(key: list[Cell], cells: list[Cell]) -> bytes:
    out, crc = bytearray(), 0
    for tag, section in ((_KEY, key), (_ATTRIBUTES, cells)):
        out += bytes([tag]) if section else b""
        for cell in section:
            data, check = _cell(cell)
            out += data
            crc = crc8(bytes([check]), crc)
    return bytes(out) + bytes([_ROW_CRC, crc8(b"\x00", crc)])


def _cell(cell: Cell) -> tuple[bytes, int]:
    name, variant = cell.name.encode(), _variant(cell.value)
    stamp = b"" if cell.timestamp is None else struct.pack("<q", cell.timestamp)
    check = crc8(name + variant + stamp)
    out = struct.pack("<BBI", _CELL, _NAME, len(name)) + name
    out += struct.pack("<BI", _VALUE, len(variant)) + variant
    out += bytes([_TIMESTAMP]) + stamp if stamp else b""
    return out + bytes([_CELL_CRC, check]), check


def _variant(value: KeyValue | None) -> bytes:
    if isinstance(value, Bound):
        return bytes([value.value])
    if isinstance(value, bool):
        return bytes([_BOOLEAN, value])
    if isinstance(value, int):
        return struct.pack("<Bq", _INTEGER, value)
    if isinstance(value, float):
        return struct.pack("<Bd", _DOUBLE, value)
    data = value.encode() if isinstance(value, str) else value or b""
    return struct.pack("<BI", _STRING if isinstance(value, str) else _BLOB, len(data)) + data


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        at = self._at
        self._at = end = at + size
        if end > len(self._data):
            raise _broken()
        return self._data[at:end]

    def byte(self) -> int:
        at = self._at
        self._at = at + 1
        try:
            return self._data[at]
        except IndexError:
            raise _broken() from None

    def sized(self) -> bytes:
        """What follows its own length."""
        at = self._at + 4
        self._at = end = at + int.from_bytes(self._data[at - 4 : at], "little")
        if at > end or end > len(self._data):
            raise _broken()
        return self._data[at:end]

    def cell(self) -> tuple[Cell, int]:
        """A cell and its checksum, which must be right."""
        name = variant = stamp = operation = b""
        while (tag := self.byte()) != _CELL_CRC:
            if tag == _NAME:
                name = self.sized()
            elif tag == _VALUE:
                variant = self.sized()
            elif tag == _OPERATION:
                operation = self.take(1)
            elif tag == _TIMESTAMP:
                stamp = self.take(8)
            else:
                raise _broken()
        check = self.byte()
        if check != crc8(name + variant + stamp + operation):
            raise _broken()
        return Cell(
            decoded(name),
            _Reader(variant).variant() if variant else None,
            int.from_bytes(stamp, "little", signed=True) if stamp else None,
            _operation(operation[0]) if operation else None,
        ), check

    def variant(self) -> KeyValue:
        kind = self.byte()
        if kind == _INTEGER:
            return int.from_bytes(self.take(8), "little", signed=True)
        if kind == _DOUBLE:
            value: float = struct.unpack("<d", self.take(8))[0]
            return value
        if kind == _BOOLEAN:
            return bool(self.byte())
        if kind in (_STRING, _BLOB):
            data = self.sized()
            return decoded(data) if kind == _STRING else data
        if kind in (_LEAST, _MOST, _AUTO):
            return Bound(kind)
        raise _broken()


def _operation(number: int) -> Operation:
    try:
        return Operation(number)
    except ValueError:
        raise _broken() from None


def _broken() -> ParameterInvalid:
    return ParameterInvalid("Cell data broken, the row is not well-formed.")
