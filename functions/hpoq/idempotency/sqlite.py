"""Records in one SQLite file in WAL mode, for any number of processes and threads of one machine.

WAL needs shared memory, so the file must not be on a network file system (https://sqlite.org/wal.html). On FC it
serves a single instance, on a laptop any number of processes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hpoq.errors import StoreUnavailable
from hpoq.idempotency.record import Record, Version, decode, encode

_PAUSE_SECONDS = 0.01

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hpoq_record (
    key        TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    expires_at REAL NOT NULL,
    body       TEXT NOT NULL
) WITHOUT ROWID
"""


class SqliteStore:
    """A `Store` in the SQLite file `path`, or in this process's memory if that is `:memory:`.

    `busy_seconds` is how long a write waits for those of other processes.
    """

    def __init__(self, path: str, *, busy_seconds: float = 10.0) -> None:
        # A process may change its working directory.
        self._path = path if path == ":memory:" else str(Path(path).absolute())
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        # Never closed: closing a connection that was inherited through a fork would drop the parent's locks.
        self._inherited: sqlite3.Connection | None = None

    def _open(self) -> sqlite3.Connection:
        # For a file in memory that is the working directory, which exists.
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._switch_to_wal(connection)
            # NORMAL may lose the last commits on power failure, and a lost claim is a second experiment.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the file to WAL.

        If several processes open a new file at once, SQLite refuses all but one, whatever their busy time-out.
        """
        patience = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > patience:
                    raise
                time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction, to one thread at a time. A forked child opens its own."""
        with self._lock:
            try:
                if self._pid != os.getpid():
                    self._inherited, self._connection = self._connection, None
                if self._connection is not None and self._identify_file() != self._file:
                    # Its file was deleted or replaced: other processes use the one that has its name now.
                    self._connection.close()
                    self._connection = None
                if self._connection is None:
                    self._connection, self._pid = self._open(), os.getpid()
                    self._file = self._identify_file()
                with self._connection as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
            # OSError: the file's folder cannot be created.
            except (sqlite3.Error, OSError) as exc:
                raise StoreUnavailable(f"sqlite: {exc}") from exc

    def _identify_file(self) -> tuple[int, int] | None:
        """Return what identifies the file, or None if it does not exist, as one in memory never does."""
        try:
            found = Path(self._path).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @staticmethod
    def _read(connection: sqlite3.Connection, key: str) -> Record | None:
        row = connection.execute("SELECT body FROM hpoq_record WHERE key = ?", (key,)).fetchone()
        return decode(key, row[0]) if row else None

    @staticmethod
    def _write(connection: sqlite3.Connection, record: Record) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO hpoq_record (key, state, owner, expires_at, body) VALUES (?, ?, ?, ?, ?)",
            (record.key, record.state.value, record.owner, record.expires_at, encode(record)),
        )

    def get(self, key: str) -> Record | None:
        with self._transaction() as connection:
            return self._read(connection, key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        with self._transaction() as connection:
            found = {key: self._read(connection, key) for key in keys}
        return {key: record for key, record in found.items() if record is not None}

    def scan(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the text of every record, for an audit."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT key, body FROM hpoq_record ORDER BY key").fetchall()
        yield from rows

    def insert(self, record: Record) -> Record | None:
        with self._transaction() as connection:
            existing = self._read(connection, record.key)
            if existing is None:
                self._write(connection, record)
            return None if existing == record else existing

    def replace(self, record: Record, expected: Version) -> bool:
        with self._transaction() as connection:
            existing = self._read(connection, record.key)
            if existing is None or (existing.version != expected and existing != record):
                return False
            self._write(connection, record)
            return True

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None
