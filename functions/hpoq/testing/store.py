"""A store in a dict, with which real stores are compared."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

from hpoq.idempotency.record import Record, Version, decode, encode


class MemoryStore:
    """A `Store` that lasts as long as the object. Records pass through the codec, as in a real store."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Record | None:
        text = self._rows.get(key)
        return None if text is None else decode(key, text)

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found = {key: self.get(key) for key in keys}
        return {key: record for key, record in found.items() if record is not None}

    def insert(self, record: Record) -> Record | None:
        text = encode(record)
        with self._lock:
            standing = self._rows.setdefault(record.key, text)
        return None if standing == text else decode(record.key, standing)

    def replace(self, record: Record, expected: Version) -> bool:
        text = encode(record)
        with self._lock:
            standing = self._rows.get(record.key)
            if standing is None or (standing != text and not _is_of_version(standing, expected)):
                return False
            self._rows[record.key] = text
            return True

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _is_of_version(text: str, version: Version) -> bool:
    row = json.loads(text)
    return bool(row.get("state") == version.state and row.get("owner") == version.owner)
