import gc
import sqlite3
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpoq.errors import RecordUnreadable, StoreUnavailable
from hpoq.idempotency import sqlite
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.sqlite import SqliteStore
from support.processes import race


def claim(owner):
    return Record("key", State.IN_PROGRESS, "f", owner, 1.0, 2.0, 3.0)


INSERT_MANY = """
import sys
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.sqlite import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
store = SqliteStore(sys.argv[1])
records = [Record(f"k{n}", State.IN_PROGRESS, "f", sys.argv[2], 1, 2, 3) for n in range(50)]
print(sum(store.insert(record) is None for record in records))
store.close()
"""


def test_processes_share_one_file(tmp_path):
    """Of processes that claim the same keys at once, each key has one winner."""
    path = str(tmp_path / "deep" / "records.sqlite3")
    won = race([sys.executable, "-c", INSERT_MANY, path, f"p{n}"] for n in range(4))
    assert sum(map(int, won)) == 50


def test_what_a_write_has_read_stays_true_until_it_is_done(tmp_path, monkeypatch):
    """Other processes wait for it from its read on; otherwise its write would be refused."""
    path, read = str(tmp_path / "records.sqlite3"), SqliteStore._read
    store, other = SqliteStore(path), SqliteStore(path, busy_seconds=0.0)

    def read_and_meet(connection, key):
        monkeypatch.setattr(SqliteStore, "_read", staticmethod(read))
        found = read(connection, key)
        with pytest.raises(StoreUnavailable):
            other.insert(claim("other"))
        return found

    monkeypatch.setattr(SqliteStore, "_read", staticmethod(read_and_meet))
    assert store.insert(claim("first")) is None
    assert other.get("key") == claim("first")
    store.close()
    other.close()


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


def test_the_folders_of_a_file_are_made(tmp_path):
    """Those that exist already are used."""
    for name in ("a", "b"):
        store = SqliteStore(str(tmp_path / "folder" / name / "records"))
        assert store.insert(claim("o")) is None
        store.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    """A path below a file is a store that is not available."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        SqliteStore(str(tmp_path / "file" / "folder" / "records")).get("k")


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_file_that_is_no_longer_there_is_not_written_to(tmp_path, change):
    """A claim in a deleted file is seen by no other process, so the store opens the file that has its name now."""
    path = tmp_path / "records.sqlite3"
    first = SqliteStore(str(path))
    assert first.insert(claim("before")) is None
    opened = first._connection
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / f"old-{file.name}")
    second = SqliteStore(str(path))
    if change == "replaced":
        assert second.insert(claim("second")) is None
    standing = first.insert(claim("first"))
    assert standing == (claim("second") if change == "replaced" else None)
    assert second.get("key") == first.get("key") == (standing or claim("first"))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened.execute("SELECT 1")
    for store in (first, second):
        store.close()


def test_the_file_stays_the_same_if_the_working_directory_changes(tmp_path, monkeypatch):
    """A relative path is that of the moment when the store was made."""
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("records.sqlite3")
    assert store.insert(claim("o")) is None
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.get("key") == claim("o")
    store.close()


def test_a_store_in_memory_leaves_no_file(tmp_path, monkeypatch):
    """Two of them share nothing."""
    monkeypatch.chdir(tmp_path)
    stores = SqliteStore(":memory:"), SqliteStore(":memory:")
    assert [store.insert(claim("o")) for store in stores] == [None, None]
    for store in stores:
        store.close()
    assert list(tmp_path.iterdir()) == []


class Locked:
    """A connection whose file another process is about to switch; time passes only while the store pauses."""

    def __init__(self, tries):
        self.tries, self.statements, self.slept = tries, [], []

    def execute(self, statement):
        self.statements.append(statement)
        if len(self.statements) <= self.tries:
            raise sqlite3.OperationalError("database is locked")

    def monotonic(self):
        return 1000.0 + 0.5 * len(self.slept)

    def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.mark.parametrize(("tries", "opens"), [(20, True), (22, False)])
def test_a_new_file_is_waited_for_while_another_process_opens_it(monkeypatch, tries, opens):
    """SQLite's own time-out does not cover the switch of a new file. The wait ends after ten seconds."""
    connection = Locked(tries)
    monkeypatch.setattr(sqlite, "time", connection)
    store = SqliteStore("unused")
    if opens:
        store._switch_to_wal(connection)
        assert len(connection.statements) == tries + 1
    else:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store._switch_to_wal(connection)
        assert len(connection.statements) == tries
    assert set(connection.statements) == {"PRAGMA journal_mode = WAL"}
    assert set(connection.slept) == {0.01}


@pytest.fixture
def opened(monkeypatch):
    """Yield the connections that are opened, with what was asked for, and close them in the end."""
    connections = []

    def connect(path, **options):
        connections.append((sqlite_connect(path, factory=Counted, **options), options))
        return connections[-1][0]

    sqlite_connect = sqlite3.connect
    monkeypatch.setattr(sqlite.sqlite3, "connect", connect)
    yield connections
    for connection, _ in connections:
        if not connection.is_closed:
            connection.close()


class Counted(sqlite3.Connection):
    """A connection that records whether it was closed, and fails on request."""

    is_closed = False
    failing = None

    def execute(self, statement, *arguments):
        if self.failing and self.failing in statement:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *arguments)

    def close(self):
        assert not self.is_closed, "a connection is closed once"
        self.is_closed = True
        super().close()


def test_one_connection_serves_all_threads_of_a_process(opened):
    """It waits as long as the store does for the writes of other processes."""
    store = SqliteStore(":memory:", busy_seconds=4)
    store.insert(claim("o"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.get, "key").result() == claim("o")
    ((connection, options),) = opened
    assert options["timeout"] == 4
    assert not connection.is_closed
    store.close()
    assert connection.is_closed


def test_a_store_that_was_closed_is_closed_again_without_harm(opened):
    """Also one that was never used."""
    store = SqliteStore(":memory:")
    store.close()
    store.get("key")
    store.close()
    store.close()
    assert len(opened) == 1


def test_a_forked_child_opens_its_own_connection_and_leaves_its_parents_alone(opened, monkeypatch, tmp_path):
    """To close a connection that was inherited through a fork would drop the parent's locks."""
    for use in (SqliteStore.close, lambda store: store.get("key")):
        opened.clear()
        store = SqliteStore(str(tmp_path / "records"))
        store.insert(claim("o"))
        with monkeypatch.context() as child:
            child.setattr(sqlite.os, "getpid", lambda: 0)
            use(store)
            assert store.get("key") == claim("o")
            store.close()
            own = opened[1:]
        assert [connection.is_closed for connection, _ in own] == [True]
        assert not opened[0][0].is_closed
        opened[0][0].close()


def test_a_forked_child_keeps_its_parents_connection(opened, monkeypatch):
    """Python closes a connection to which nothing refers any more."""
    store = SqliteStore(":memory:")
    store.get("key")
    inherited = weakref.ref(opened.pop()[0])
    monkeypatch.setattr(sqlite.os, "getpid", lambda: 0)
    store.get("key")
    gc.collect()
    assert inherited() is not None
    inherited().close()


def test_a_connection_that_cannot_be_set_up_is_closed(opened, monkeypatch):
    """The store can be tried again, and opens another one."""
    monkeypatch.setattr(Counted, "failing", "synchronous")
    store = SqliteStore(":memory:")
    with pytest.raises(StoreUnavailable, match="sqlite: disk I/O error"):
        store.get("key")
    monkeypatch.setattr(Counted, "failing", None)
    assert store.get("key") is None
    assert [connection.is_closed for connection, _ in opened] == [True, False]


def test_records_are_listed_by_key(tmp_path):
    """An audit reads them as they are stored."""
    store = SqliteStore(str(tmp_path / "records"))
    for name in ("b", "a"):
        store.insert(Record(name, State.IN_PROGRESS, "f", "o", 1.0, 2.0, 3.0))
    assert [key for key, _ in store.scan()] == ["a", "b"]
    store.close()
