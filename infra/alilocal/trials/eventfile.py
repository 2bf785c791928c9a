"""TensorBoard's event files: the scalars in them, read while the files grow.

Forms: https://github.com/tensorflow/tensorboard, tensorboard/compat/proto: event.proto, summary.proto, tensor.proto;
records as in https://www.tensorflow.org/tutorials/load_data/tfrecord. TensorBoard's own reader would bring 15
packages for what takes 150 lines, and its files are plain protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_HEAD, _FOOT = 12, 4
_MOST_BYTES = 16 * 1024 * 1024
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE = 1, 2
# The members that are read, with their numbers: Event.summary, Summary.value, those of Summary.Value, and those of
# TensorProto (`tensor_content`, `float_val` and `double_val` contain the number).
_EVENT_SUMMARY, _SUMMARY_VALUE = 5, 1
_VALUE_TAG, _VALUE_SIMPLE, _VALUE_TENSOR = 1, 2, 8
_TENSOR_TYPE, _TENSOR_CONTENTS = 1, (4, 5, 6)


class SummaryFolder:
    """The event files in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[Path, int] = {}

    def read(self) -> Iterator[tuple[str, float]]:
        """Yield tag and value of each scalar that is new since the last call.

        A record that is not complete yet is read by a later call. A file is not read beyond a damaged record.
        """
        try:
            files = sorted(one for one in self._path.iterdir() if "tfevents" in one.name and one.is_file())
        except OSError:
            return
        for file in files:
            yield from self._read_file(file)

    def _read_file(self, path: Path) -> Iterator[tuple[str, float]]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                while len(head := file.read(_HEAD)) == _HEAD:
                    (length,) = struct.unpack_from("<Q", head)
                    if struct.unpack_from("<I", head, 8)[0] != masked_crc(head[:8]) or length > _MOST_BYTES:
                        return
                    record = file.read(length + _FOOT)
                    if len(record) < length + _FOOT:
                        return
                    self._offsets[path] = file.tell()
                    yield from _scalars(record[:length])
        except OSError:
            return


def _scalars(record: bytes) -> Iterator[tuple[str, float]]:
    try:
        for number, value in _fields(record):
            if number == _EVENT_SUMMARY and isinstance(value, bytes):
                for inner, part in _fields(value):
                    if (
                        inner == _SUMMARY_VALUE
                        and isinstance(part, bytes)
                        and (found := _scalar(part)) is not None
                    ):
                        yield found
    except (ValueError, IndexError, struct.error):
        return


def _scalar(value: bytes) -> tuple[str, float] | None:
    """Return tag and value of a `Summary.Value`, or None if it is not a scalar."""
    tag, number = "", None
    for field, part in _fields(value):
        if field == _VALUE_TAG and isinstance(part, bytes):
            tag = part.decode(errors="replace")
        elif field == _VALUE_SIMPLE and isinstance(part, bytes):
            number = float(struct.unpack("<f", part)[0])
        elif field == _VALUE_TENSOR and isinstance(part, bytes):
            number = _tensor(part)
    return None if number is None else (tag, number)


def _tensor(tensor: bytes) -> float | None:
    """Return the number in a tensor of one float or double, or None."""
    kind, content = 0, b""
    for field, part in _fields(tensor):
        if field == _TENSOR_TYPE and isinstance(part, int):
            kind = part
        elif field in _TENSOR_CONTENTS and isinstance(part, bytes):
            content = part
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(kind)
    if form is None or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protocol buffer; fixed-width values as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if size < 0 or place + size > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place


def masked_crc(data: bytes) -> int:
    """Return the masked CRC-32C of `data`, as records have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
