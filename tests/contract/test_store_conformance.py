import dataclasses

import pytest

from hpoq.idempotency.record import encode
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.testing import MemoryStore, run_store_conformance
from hpoq.testing.conformance import ConformanceError


def test_sqlite_conforms(tmp_path):
    """The embedded store keeps every rule of the protocol."""
    run_store_conformance(lambda: SqliteStore(str(tmp_path / "records.sqlite3")))


def test_memory_conforms():
    """The model store keeps the same rules."""
    store = MemoryStore()
    run_store_conformance(lambda: store)


class Overwriting(MemoryStore):
    def insert(self, record):
        self._rows[record.key] = encode(record), record.version


class IgnoringOwners(MemoryStore):
    def replace(self, record, expected):
        standing = self.get(record.key)
        return standing is not None and super().replace(record, standing.version)


class Forgetful(MemoryStore):
    def get(self, key):
        found = super().get(key)
        return found and dataclasses.replace(found, doubt_until=None)


@pytest.mark.parametrize("broken", [Overwriting, IgnoringOwners, Forgetful])
def test_the_suite_finds_broken_stores(broken):
    """A store that overwrites, ignores fencing tokens or loses a member does not pass."""
    store = broken()
    with pytest.raises(ConformanceError):
        run_store_conformance(lambda: store)
