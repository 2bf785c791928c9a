"""A store in a dict, with which real stores are compared."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hpoq.idempotency.record import Record, Version, decode, encode


class MemoryStore:
    """A `Store` that lasts as long as the object. Records pass through the codec, as in a real store."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, Version]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Record | None:
        row = self._rows.get(key)
        return None if row is None else decode(key, row[0])

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found = {key: self.get(key) for key in keys}
        return {key: record for key, record in found.items() if record is not None}

    def insert(self, record: Record) -> Record | None:
        row = encode(record), record.version
        with self._lock:
            existing = self._rows.setdefault(record.key, row)
        return None if existing == row else decode(record.key, existing[0])

    def replace(self, record: Record, expected: Version) -> bool:
        row = encode(record), record.version
        with self._lock:
            existing = self._rows.get(record.key)
            if existing is None or (existing != row and existing[1] != expected):
                return False
            self._rows[record.key] = row
            return True

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
