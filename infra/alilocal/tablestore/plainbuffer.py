"""PlainBuffer: the form of rows, as the official SDK writes and reads it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.proto import decode_text

HEADER = 0x75
_KEY, _ATTRIBUTES, _CELL, _NAME, _VALUE, _OPERATION, _TIMESTAMP, _DELETED, _ROW_CRC, _CELL_CRC = range(1, 11)
_INTEGER, _DOUBLE, _BOOLEAN, _STRING, _BLOB, _LEAST, _MOST, _AUTO = 0, 1, 2, 3, 7, 9, 10, 11

_PERIOD = 127


class Bound(Enum):
    """Placeholders for a value: the ends of a range, and a number that the service assigns."""

    LEAST = _LEAST
    MOST = _MOST
    AUTO = _AUTO


class Operation(Enum):
    """What an update does with a cell if it does not write a value."""

    DELETE_ALL = 1
    DELETE_ONE = 3
    INCREMENT = 4


Value = int | float | bool | str | bytes
KeyValue = Value | Bound


class Cell(NamedTuple):
    """A column of a row; `timestamp` is its version in milliseconds."""

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
    """Return the CRC-8 of `data` with the polynomial 0x07, starting from `crc`."""
    if not crc and len(data) > _PERIOD:
        data = _fold(data)
    table = _CRC
    for byte in data:
        crc = table[crc ^ byte]
    return crc


def _fold(data: bytes) -> bytes:
    """Return 127 bytes with the same checksum as the longer `data`.

    x to the power of 127 is 1 modulo the polynomial, so bytes that are 127 apart have the same effect and can be
    combined. Folding by big integers is faster than a loop over all bytes in Python.
    """
    head = len(data) % _PERIOD
    total = int.from_bytes(data[:head], "big")
    for at in range(head, len(data), _PERIOD):
        total ^= int.from_bytes(data[at : at + _PERIOD], "big")
    return total.to_bytes(_PERIOD, "big")


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1) ^ 0x07 if byte & 0x80 else byte << 1
    return byte & 0xFF


_CRC = tuple(map(_crc_of, range(256)))


def decode_row(data: bytes) -> Row:
    """Return the one row in `data`; raises ParameterInvalid."""
    if int.from_bytes(data[:4], "little") != HEADER:
        raise _broken()
    try:
        return _decode_row(data)
    except (IndexError, struct.error):
        raise _broken() from None


def _decode_row(data: bytes) -> Row:
    row, at, crc = Row(), 4, 0
    section: list[Cell] | None = None
    while True:
        tag = data[at]
        at += 1
        if tag == _CELL and section is not None:
            cell, check, at = _decode_cell(data, at)
            section.append(cell)
            crc = _CRC[crc ^ check]
        elif tag in (_KEY, _ATTRIBUTES):
            section = row.key if tag == _KEY else row.cells
        elif tag == _DELETED:
            row.deleted = True
        elif tag == _ROW_CRC:
            # The SDK for Node.js has a zero too many after the checksum for each value without a content.
            if data[at] != _CRC[crc ^ row.deleted] or any(data[at + 1 :]):
                raise _broken()
            return row
        else:
            raise _broken()


def _decode_cell(data: bytes, at: int) -> tuple[Cell, int, int]:
    """Return the cell that begins at `at`, its verified checksum, and where it ends."""
    name = variant = stamp = operation = b""
    while (tag := data[at]) != _CELL_CRC:
        if tag == _NAME:
            name, at = _read_sized(data, at + 1)
        elif tag == _VALUE:
            variant, at = _read_sized(data, at + 1)
        elif tag == _TIMESTAMP:
            stamp, at = data[at + 1 : at + 9], at + 9
        elif tag == _OPERATION:
            operation, at = data[at + 1 : at + 2], at + 2
        else:
            raise _broken()
    check = data[at + 1]
    if check != crc8(name + variant + stamp + operation):
        raise _broken()
    cell = Cell(
        decode_text(name),
        decode_variant(variant) if variant else None,
        int.from_bytes(stamp, "little", signed=True) if stamp else None,
        _read_operation(operation[0]) if operation else None,
    )
    return cell, check, at + 2


def _read_sized(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes that follow their length, and where they end."""
    start = at + 4
    end = start + int.from_bytes(data[at:start], "little")
    if end > len(data):
        raise _broken()
    return data[start:end], end


def decode_variant(data: bytes) -> KeyValue:
    """Return the value in `data`, without a tag and a length in front; raises ParameterInvalid."""
    try:
        return _decode_variant(data)
    except (IndexError, struct.error):
        raise _broken() from None


def _decode_variant(data: bytes) -> KeyValue:
    kind = data[0]
    if kind == _STRING:
        return decode_text(_read_sized(data, 1)[0])
    if kind == _INTEGER:
        number: int = struct.unpack_from("<q", data, 1)[0]
        return number
    if kind == _DOUBLE:
        value: float = struct.unpack_from("<d", data, 1)[0]
        return value
    if kind == _BOOLEAN:
        return bool(data[1])
    if kind == _BLOB:
        return _read_sized(data, 1)[0]
    if kind in (_LEAST, _MOST, _AUTO):
        return Bound(kind)
    raise _broken()


def encode_rows(rows: Iterable[tuple[Iterable[Cell], Iterable[Cell]]]) -> bytes:
    """Return rows, each given by its key and its cells, after one header; empty without a row."""
    out = b"".join(_encode_row(list(key), list(cells)) for key, cells in rows)
    return struct.pack("<I", HEADER) + out if out else b""


def _encode_row(key: list[Cell], cells: list[Cell]) -> bytes:
    out, crc = bytearray(), 0
    for tag, section in ((_KEY, key), (_ATTRIBUTES, cells)):
        out += bytes([tag]) if section else b""
        for cell in section:
            data, check = _encode_cell(cell)
            out += data
            crc = crc8(bytes([check]), crc)
    return bytes(out) + bytes([_ROW_CRC, crc8(b"\x00", crc)])


def _encode_cell(cell: Cell) -> tuple[bytes, int]:
    name, variant = cell.name.encode(), _encode_variant(cell.value)
    stamp = b"" if cell.timestamp is None else struct.pack("<q", cell.timestamp)
    check = crc8(name + variant + stamp)
    out = struct.pack("<BBI", _CELL, _NAME, len(name)) + name
    out += struct.pack("<BI", _VALUE, len(variant)) + variant
    out += bytes([_TIMESTAMP]) + stamp if stamp else b""
    return out + bytes([_CELL_CRC, check]), check


def _encode_variant(value: KeyValue | None) -> bytes:
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


def _read_operation(number: int) -> Operation:
    try:
        return Operation(number)
    except ValueError:
        raise _broken() from None


def _broken() -> ParameterInvalid:
    return ParameterInvalid("Cell data broken, the row is not well-formed.")
