import multiprocessing
import sqlite3

import pytest

from hpoq.errors import RecordUnreadable, StoreUnavailable
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.sqlite import SqliteStore


def claim(owner):
    return Record("key", State.IN_PROGRESS, "f", owner, 1.0, 2.0, 3.0)


def insert_many(path, name, answers):
    store = SqliteStore(path)
    won = sum(store.insert(Record(f"k{n}", State.IN_PROGRESS, "f", name, 1, 2, 3)) is None for n in range(50))
    store.close()
    answers.put(won)


def test_processes_share_one_file(tmp_path):
    """Of processes that claim the same keys at once, each key has one winner."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    path = str(tmp_path / "deep" / "records.sqlite3")
    workers = [context.Process(target=insert_many, args=(path, f"p{n}", answers)) for n in range(4)]
    for worker in workers:
        worker.start()
    won = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(won) == 50


def test_file_is_in_wal_mode(tmp_path):
    """Readers do not wait for a writer."""
    path = tmp_path / "records.sqlite3"
    store = SqliteStore(str(path))
    store.insert(claim("o"))
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_commit_survives_a_power_failure(tmp_path):
    """Every commit is synced: a claim that is lost with the power is a second experiment."""
    store = SqliteStore(str(tmp_path / "records.sqlite3"))
    with store._transaction() as connection:
        full = 2
        assert connection.execute("PRAGMA synchronous").fetchone() == (full,)
    store.close()


def test_a_record_of_a_later_version_is_left_alone(tmp_path):
    """A record that this version cannot read is not changed by reading or writing."""
    path = tmp_path / "records.sqlite3"
    store = SqliteStore(str(path))
    store.insert(claim("o"))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE hpoq_record SET body = '{\"v\":9}'")
    connection.commit()
    for step in (
        lambda: store.get("key"),
        lambda: store.insert(claim("o2")),
        lambda: store.replace(claim("o2"), claim("o").version),
    ):
        with pytest.raises(RecordUnreadable):
            step()
    assert connection.execute("SELECT body FROM hpoq_record").fetchone() == ('{"v":9}',)
    connection.close()
    store.close()


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path):
    """What SQLite cannot do is StoreUnavailable, and the store can be tried again."""
    (tmp_path / "dir").mkdir()
    store = SqliteStore(str(tmp_path / "dir"))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="sqlite"):
            store.get("key")


def test_a_folder_that_cannot_be_made(tmp_path):
    """A path below a file is a store that is not available."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        SqliteStore(str(tmp_path / "file" / "folder" / "records")).get("k")
