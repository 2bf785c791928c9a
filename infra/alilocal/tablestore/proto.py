"""The part of Protocol Buffers that Tablestore's messages use: numbers and length-delimited fields.

The official runtime would be a dependency for a dozen small messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alilocal.tablestore.errors import ParameterInvalid

_MOST_BITS = 63


class Message:
    """The fields of a message, by number. Raises ParameterInvalid for bytes that are not a message."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        at, end = 0, len(data)
        while at < end:
            # Nearly all numbers take one byte: reading them here saves most of the calls.
            tag, at = (data[at], at + 1) if data[at] < 0x80 else read_varint(data, at)
            wire = tag & 7
            if wire in (0, 2):
                number, at = (data[at], at + 1) if at < end and data[at] < 0x80 else read_varint(data, at)
            elif wire in (1, 5):
                number = 8 if wire == 1 else 4
            else:
                raise ParameterInvalid("The request is not well-formed.")
            kept = self._fields.setdefault(tag >> 3, [])
            if wire == 0:
                kept.append(number)
            else:
                kept.append(data[at : at + number])
                at += number
        if at > end:
            raise ParameterInvalid("The request is not well-formed.")

    def has(self, number: int) -> bool:
        """Return whether the field is present."""
        return number in self._fields

    def number(self, number: int, default: int = 0) -> int:
        """Return a field that is a signed number, or `default` if it is missing."""
        if number not in self._fields:
            return default
        value = self._fields[number][-1]
        if not isinstance(value, int):
            raise ParameterInvalid("The request is not well-formed.")
        return value - (1 << 64) if value >> _MOST_BITS else value

    def data(self, number: int) -> bytes:
        """Return a field that is bytes, empty if it is missing."""
        value = self._fields.get(number, [b""])[-1]
        if not isinstance(value, bytes):
            raise ParameterInvalid("The request is not well-formed.")
        return value

    def values(self, number: int) -> list[bytes]:
        """Return all values of a repeated field."""
        return [value for value in self._fields.get(number, ()) if isinstance(value, bytes)]

    def text(self, number: int) -> str:
        """Return a field that is text, empty if it is missing."""
        return decode_text(self.data(number))

    def texts(self, number: int) -> list[str]:
        """Return all texts of a repeated field."""
        return [decode_text(value) for value in self.values(number)]

    def message(self, number: int) -> Message:
        """Return a field that is a message, without fields if it is missing."""
        return Message(self.data(number))

    def messages(self, number: int) -> list[Message]:
        """Return all messages of a repeated field."""
        return [Message(value) for value in self.values(number)]


def decode_text(data: bytes) -> str:
    """Return UTF-8 as text; raises ParameterInvalid."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ParameterInvalid("A text of the request is not UTF-8.") from None


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while True:
        if at >= len(data) or shift > _MOST_BITS:
            raise ParameterInvalid("The request is not well-formed.")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def encode(fields: Mapping[int, int | bytes | str | Sequence[bytes]]) -> bytes:
    """Return a message of `fields`: numbers, texts, bytes, or a sequence of bytes for a repeated field."""
    out = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value & (1 << 64) - 1)
            continue
        texts = [value.encode()] if isinstance(value, str) else [value] if isinstance(value, bytes) else value
        for text in texts:
            out += _varint(number << 3 | 2) + _varint(len(text)) + text
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
