"""Code packages: zip files by the hash of their content, and what was uploaded and is not used yet."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import struct
from collections.abc import Mapping
from functools import cache

from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.errors import InvalidArgument

_MOST_BYTES = 500 * 2**20
_POLYNOMIAL = 0xC96C5795D7870F42
_ONES = 0xFFFFFFFFFFFFFFFF


class Packages:
    """The packages of a cloud. The key of one is the hash of its content, so that versions share it."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        """The objects of the bucket for packages, by name."""
        self._checksums: dict[str, str] = {}

    def add(self, code: JsonObject) -> str:
        """Keep the package that `code` contains or names, and return its key; raises InvalidArgument."""
        # Imported here: it takes 3 ms, and most clouds run no uploaded function.
        import zipfile

        body = self._read(code)
        if len(body) > _MOST_BYTES or not zipfile.is_zipfile(io.BytesIO(body)):
            raise InvalidArgument("code: is not a zip file of at most 500 MB.")
        key = hashlib.sha256(body).hexdigest()
        self.by_key[key] = body
        given = str(code.get("checksum") or "")
        if given and given != self.checksum(key):
            raise InvalidArgument(
                f"code.checksum: {given} is not the CRC-64 of the code, {self.checksum(key)}."
            )
        return key

    def checksum(self, key: str) -> str:
        """Return the CRC-64 of a package, as the service shows it; computed at its first use."""
        if key not in self._checksums:
            self._checksums[key] = str(crc64(self.by_key[key]))
        return self._checksums[key]

    def keep(self, used: set[str]) -> None:
        """Drop all packages but those in `used`."""
        self.by_key = {key: body for key, body in self.by_key.items() if key in used}

    def restore(self, packages: Mapping[str, bytes], uploads: Mapping[str, bytes]) -> None:
        """Replace everything."""
        self.by_key, self.uploads = dict(packages), dict(uploads)

    def _read(self, code: JsonObject) -> bytes:
        if code.get("zipFile"):
            try:
                return base64.b64decode(str(code["zipFile"]), validate=True)
            except (binascii.Error, ValueError):
                raise InvalidArgument("code.zipFile: is not base64.") from None
        name = f"{code.get('ossBucketName') or ''}/{code.get('ossObjectName') or ''}"
        if name not in self.uploads:
            raise InvalidArgument(
                f"code: the local cloud has no object {name!r}. Upload it with the key of GetTempBucketToken."
            )
        return self.uploads[name]


def crc64(data: bytes) -> int:
    """Return the CRC-64 of ECMA-182, reflected; 10 MB take about a second."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables()
    crc, whole = _ONES, len(data) & ~7
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        crc ^= word
        crc = (
            t7[crc & 255]
            ^ t6[crc >> 8 & 255]
            ^ t5[crc >> 16 & 255]
            ^ t4[crc >> 24 & 255]
            ^ t3[crc >> 32 & 255]
            ^ t2[crc >> 40 & 255]
            ^ t1[crc >> 48 & 255]
            ^ t0[crc >> 56]
        )
    for byte in data[whole:]:
        crc = t0[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ _ONES


@cache
def _tables() -> tuple[list[int], ...]:
    """Return eight tables, so that eight bytes are taken at a time: five times as fast as one by one."""
    first = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(7):
        tables.append([first[value & 255] ^ value >> 8 for value in tables[-1]])
    return tuple(tables)
