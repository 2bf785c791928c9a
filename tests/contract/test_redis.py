"""The store in Redis, against a real server."""

import contextlib
import socket
import sys
import threading
import time
import uuid
from dataclasses import replace

import pytest
from redis import Connection, Redis
from redis.client import Pipeline

from hpoq.errors import Denied, RecordUnreadable, SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, State, encode
from hpoq.idempotency.redis import RedisStore
from hpoq.idempotency.store import open_store
from hpoq.testing import run_store_conformance
from support.waiting import wait_until

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"
CLAIM = Record(KEY, State.IN_PROGRESS, "f", "owner", 1.0, 2.0, 4_000_000_000.0)
THREADS, TURNS = 16, 40


@pytest.fixture
def make_store(redis_server):
    """Opens the same empty collection of records each time."""
    prefix = f"test-{uuid.uuid4()}:"
    return lambda **options: RedisStore(redis_server, prefix=prefix, **options)


@pytest.fixture
def raw(redis_server):
    with Redis.from_url(redis_server, decode_responses=True) as client:
        yield client


def test_conformance(make_store):
    """Redis keeps every rule of the protocol."""
    run_store_conformance(make_store)


def test_a_prefix_may_contain_the_marks_of_a_pattern(redis_server):
    """A scan finds the records of exactly this prefix."""
    stores = [RedisStore(redis_server, prefix=f"{uuid.uuid4()}{mark}:") for mark in ("[a]", "?", "*", "a\\")]
    for number, store in enumerate(stores):
        store.insert(replace(CLAIM, key=f"k{number}"))
    assert [[key for key, _ in store.scan()] for store in stores] == [["k0"], ["k1"], ["k2"], ["k3"]]
    for store in stores:
        store.close()


def test_a_scan_leaves_out_records_of_a_longer_prefix(redis_server, raw):
    """A second deployment may have a prefix that begins with the first one's. A damaged record is still found."""
    prefix = f"test-{uuid.uuid4()}:"
    first, second = (RedisStore(redis_server, prefix=prefix + more) for more in ("", "staging:"))
    first.insert(CLAIM)
    second.insert(replace(CLAIM, owner="another"))
    raw.set(f"{prefix}damaged", "{")
    assert sorted(first.scan()) == [(KEY, encode(CLAIM)), ("damaged", "{")]
    assert [key for key, _ in second.scan()] == [KEY]
    first.close()
    second.close()


def test_an_interrupted_call_leaves_no_answer_for_the_next_one(make_store, monkeypatch):
    """A claim that read the answer to the claim before it would not see that its key belongs to another."""
    store, interrupted = make_store(), [KeyboardInterrupt]
    store.insert(replace(CLAIM, key="held"))
    read = Pipeline.parse_response

    def read_or_interrupt(*args, **options):
        if interrupted:
            raise interrupted.pop()
        return read(*args, **options)

    monkeypatch.setattr(Pipeline, "parse_response", read_or_interrupt)
    # The answer has not arrived yet when the connection is used again.
    monkeypatch.setattr(Connection, "can_read", lambda *_, **__: False)
    with pytest.raises(KeyboardInterrupt):
        store.insert(CLAIM)
    held = store.insert(replace(CLAIM, key="held", owner="another"))
    assert held is not None
    assert held.owner == CLAIM.owner


def test_only_published_records_expire(make_store, raw):
    """A record whose event is not out is kept whatever its age; taking over an old one makes it stay."""
    store = make_store()
    name = store._prefix + KEY
    ended = replace(CLAIM, state=State.COMPLETED, event="{}")
    published = replace(ended, published_at=5.0)
    store.insert(CLAIM)
    assert raw.pttl(name) == -1
    store.replace(ended, CLAIM.version)
    assert raw.pttl(name) == -1
    store.replace(published, ended.version)
    assert raw.execute_command("PTTL", name) > 0
    store.replace(replace(CLAIM, owner="successor"), published.version)
    assert raw.pttl(name) == -1
    store.close()


def test_a_later_version_is_left_alone(make_store, raw):
    """A record of an unknown version is an error, and stays as it is."""
    store = make_store()
    raw.set(store._prefix + KEY, '{"v": 2}')
    for act in (
        lambda: store.get(KEY),
        lambda: store.insert(CLAIM),
        lambda: store.replace(CLAIM, CLAIM.version),
    ):
        with pytest.raises(RecordUnreadable):
            act()
    assert raw.get(store._prefix + KEY) == '{"v": 2}'
    store.close()


def test_scripts_survive_a_restart(make_store, raw):
    """A server that has restarted, and so has forgotten the scripts, is not a problem."""
    store = make_store()
    store.insert(CLAIM)
    raw.script_flush()
    assert store.replace(replace(CLAIM, owner="successor"), CLAIM.version)
    store.close()


def test_replicas_that_are_missing(make_store):
    """A write that too few servers have is not done, and may be repeated."""
    store = make_store(replicas=1, timeout_seconds=4)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        store.insert(CLAIM)
    store.close()
    plain = make_store()
    assert plain.insert(CLAIM) is None
    plain.close()


def test_a_swap_that_replicas_are_missing(make_store):
    """A swap that too few servers have is not done either."""
    plain, store = make_store(), make_store(replicas=1, timeout_seconds=4)
    plain.insert(CLAIM)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        store.replace(replace(CLAIM, owner="successor"), CLAIM.version)
    store.close()
    plain.close()


def test_a_published_record_outlives_its_retention(make_store, raw):
    """A message that comes back at the end of its retention still finds the record, days later too."""
    store = make_store()
    retained, now = 100.0, time.time()
    published = replace(CLAIM, state=State.COMPLETED, event="{}", published_at=now, expires_at=now + retained)
    store.insert(published)
    left = raw.pttl(store._prefix + KEY) / 1000
    assert retained + 7 * 86_400 - 60 < left <= retained + 7 * 86_400
    long_ago = replace(published, expires_at=now - 86_400)
    store.replace(long_ago, published.version)
    assert store.get(KEY) == long_ago
    store.close()


@pytest.mark.parametrize("days", [-100, 100])
def test_a_published_record_is_kept_by_a_server_with_another_clock(make_store, raw, days):
    """A server whose clock is months ahead would remove it at once, and a repeated message would create again."""
    store = make_store()
    written_at = time.time() + days * 86_400
    published = replace(
        CLAIM, state=State.COMPLETED, event="{}", published_at=written_at, expires_at=written_at + 100
    )
    store.insert(CLAIM)
    assert store.replace(published, CLAIM.version)
    assert store.get(KEY) == published
    assert 7 * 86_400 < raw.pttl(store._prefix + KEY) / 1000 <= 7 * 86_400 + 100
    store.close()


def replicated(start_redis, primary):
    """Starts a replica of the server at `primary`; returns its port once it is in step."""
    port = start_redis()
    with Redis(port=port) as client, Redis(port=primary) as other:
        client.replicaof("127.0.0.1", primary)
        wait_until(lambda: has_replica(other))
    return port


def has_replica(client):
    """Return whether the server has a replica that is in step."""
    known = client.info("replication")
    return any(
        name.startswith("slave") and known[name].get("state") == "online"
        for name in known
        if name[5:].isdigit()
    )


class VirtualAddress:
    """A TCP proxy on loopback; `see(data)` is called with what a client sends, once the target has it.

    `move` makes another port the target and cuts the connections to the old one, as a managed service does.
    """

    def __init__(self, target):
        self.target = target
        self.see = lambda data: None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = []
        self.threads = []
        self.spawn(self.accept)

    def spawn(self, act, *arguments):
        thread = threading.Thread(target=act, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            with self.lock:
                self.pairs.append((client, server))
            self.spawn(self.carry, client, server, True)
            self.spawn(self.carry, server, client, False)

    def carry(self, source, sink, is_client):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if is_client:
                    self.see(data)
        self.cut(source, sink)

    def cut(self, *connections):
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def move(self, target):
        self.target = target
        with self.lock:
            for pair in self.pairs:
                self.cut(*pair)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.move(self.target)
        for thread in self.threads:
            thread.join(10)
        for pair in self.pairs:
            for connection in pair:
                connection.close()


@pytest.fixture
def failover(start_redis):
    """A store behind a virtual address that moves, within its next write, to a promoted replica.

    The old primary takes the script and has no replica any more; the new one has a replica of its own.
    """
    old = start_redis()
    new = replicated(start_redis, old)
    replicated(start_redis, new)
    address = VirtualAddress(old)
    store = RedisStore(f"redis://127.0.0.1:{address.port}/0", replicas=1, timeout_seconds=4)
    clients = [Redis(port=port, decode_responses=True) for port in (old, new)]

    def begin(text):
        clients[1].replicaof("NO", "ONE")
        wait_until(lambda: has_replica(clients[1]))

        def see(data):
            if b"WAIT" in data:
                address.see = lambda _: None
                wait_until(lambda: clients[0].get(store._prefix + KEY) == text)
                address.move(new)

        address.see = see

    yield store, begin, clients[1]
    store.close()
    address.close()
    for client in clients:
        client.close()


def insisting(act):
    """Repeats `act` as a message that comes back does."""
    for _ in range(5):
        with contextlib.suppress(StoreUnavailable):
            return act()
    raise AssertionError("the store stays unavailable")


def test_a_claim_survives_a_failover_within_its_insert(failover):
    """An insert that is confirmed is on the promoted server, so that no other owner can claim the key."""
    store, begin, promoted = failover
    begin(encode(CLAIM))
    assert insisting(lambda: store.insert(CLAIM)) is None
    assert promoted.get(store._prefix + KEY) == encode(CLAIM)
    assert insisting(lambda: store.insert(replace(CLAIM, owner="other"))) == CLAIM


def test_a_swap_survives_a_failover_within_it(failover):
    """A swap that is confirmed is on the promoted server."""
    store, begin, promoted = failover
    successor = replace(CLAIM, owner="successor")
    assert insisting(lambda: store.insert(CLAIM)) is None
    begin(encode(successor))
    assert insisting(lambda: store.replace(successor, CLAIM.version)) is True
    assert promoted.get(store._prefix + KEY) == encode(successor)


def test_a_store_follows_an_address_whose_old_connections_stay_open(start_redis):
    """The demoted primary refuses every write, and a connection to it never breaks by itself."""
    old = start_redis()
    new = replicated(start_redis, old)
    address = VirtualAddress(old)
    store = RedisStore(f"redis://127.0.0.1:{address.port}/0", timeout_seconds=4)
    assert store.get(KEY) is None
    with Redis(port=old) as demoted, Redis(port=new) as promoted:
        promoted.replicaof("NO", "ONE")
        address.target = new
        demoted.replicaof("127.0.0.1", new)
        assert insisting(lambda: store.insert(CLAIM)) is None
        assert promoted.get(store._prefix + KEY) == encode(CLAIM).encode()
    store.close()
    address.close()


def test_a_repeated_write_is_written_again(make_store, raw):
    """What is already there is written again, since WAIT confirms nothing that its connection did not write."""
    store = make_store()
    successor = replace(CLAIM, owner="successor")
    for write in (lambda: store.insert(CLAIM), lambda: store.replace(successor, CLAIM.version)):
        write()
        changes = raw.info("persistence")["rdb_changes_since_last_save"]
        write()
        assert raw.info("persistence")["rdb_changes_since_last_save"] == changes + 1
    store.close()


@pytest.fixture
def hasty_threads():
    """Make threads take turns far more often than they would."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_wait_goes_over_the_connection_of_its_write(start_redis):
    """Each WAIT follows a script on its own connection, even when many threads share the connections."""
    port = start_redis()
    replicated(start_redis, port)
    store = RedisStore(f"redis://127.0.0.1:{port}/0", replicas=1, timeout_seconds=60)
    last, waits, wrong = {}, 0, []
    with Redis(port=port, decode_responses=True, socket_timeout=60) as client, client.monitor() as monitor:

        def write(number):
            for turn in range(TURNS):
                record = replace(CLAIM, key=f"{number}-{turn}")
                assert store.insert(record) is None
                assert store.replace(replace(record, owner="successor"), record.version)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        while waits < THREADS * TURNS * 2:
            seen = monitor.next_command()
            if seen["client_type"] == "lua":
                continue
            name, connection = seen["command"].split()[0].upper(), seen["client_port"]
            if name == "WAIT":
                waits += 1
                if last.get(connection) not in ("EVAL", "EVALSHA"):
                    wrong.append(last.get(connection))
            last[connection] = name
        for thread in threads:
            thread.join()
    store.close()
    assert wrong == []
    assert len(last) > 1


@pytest.fixture
def limited(make_store, raw, redis_server):
    """Returns a function that opens the store as a user who has the given permissions only."""
    users, stores = [], []

    def open_limited(*permissions, **options):
        name = f"user-{uuid.uuid4()}"
        raw.acl_setuser(name, enabled=True, passwords=["+canary"], keys=["*"], commands=[*permissions])
        users.append(name)
        store = RedisStore(redis_server.replace("//", f"//{name}:canary@"), prefix="limited:", **options)
        stores.append(store)
        return store

    yield open_limited
    for store in stores:
        store.close()
    raw.acl_deluser(*users)


@pytest.mark.parametrize(
    "permissions",
    [("+get", "+mget"), ("+get", "+eval"), ("+get", "+eval", "+set"), ("-@all",), ("+@all", "-pexpire")],
    ids=" ".join,
)
def test_a_user_who_may_not_write_is_found_by_a_trial(limited, permissions):
    """The error says that the server refuses the call, which lasts until an operator grants the permission."""
    with pytest.raises(StoreUnavailable) as caught:
        limited(*permissions).try_write(KEY)
    assert isinstance(caught.value.__cause__, Denied)


def test_a_user_who_may_not_wait_cannot_write(limited):
    """Without WAIT no write counts if replicas must have it."""
    with pytest.raises(StoreUnavailable) as caught:
        limited("+@all", "-wait", replicas=1).try_write(KEY)
    assert isinstance(caught.value.__cause__, Denied)


def test_a_trial_writes_nothing(limited, raw):
    """The permissions of a trial are all that records need."""
    store = limited("+get", "+set", "+pexpire", "+eval", "+mget")
    before = set(raw.keys())
    store.try_write(KEY)
    assert set(raw.keys()) == before
    published = replace(CLAIM, state=State.COMPLETED, event="{}", published_at=1.0)
    assert store.insert(CLAIM) is None
    assert store.replace(published, CLAIM.version)
    assert store.get_many([KEY]) == {KEY: published}


def test_a_server_without_memory_refuses_writes(start_redis):
    """It evicts nothing, so only an operator can make room."""
    port = start_redis()
    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    with Redis(port=port) as client:
        client.config_set("maxmemory", 1)
        for write in (lambda: store.insert(CLAIM), lambda: store.try_write(KEY)):
            with pytest.raises(StoreUnavailable) as caught:
                write()
            assert isinstance(caught.value.__cause__, Denied)
    store.close()


def test_an_unreachable_server():
    """The error about a server that does not answer contains nothing of its URL."""
    store = RedisStore("redis://user:canary@127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable) as caught:
        store.get(KEY)
    assert "canary" not in str(caught.value)
    store.close()


def test_the_options_of_a_url(redis_server):
    """HPOQ_STORE names it, with its settings in the query."""
    store = open_store(f"{redis_server}?prefix=x:&timeout=1.5&replicas=0")
    assert (store._prefix, store._timeout_seconds, store._replicas) == ("x:", 1.5, 0)
    store.close()


@pytest.mark.parametrize(
    "url", ["redis://:canary@h:port/0", "redis://canary@h?replicas=many", "redis://h?timeout=x"]
)
def test_invalid_urls_are_refused(url):
    """An invalid URL is a settings error that quotes nothing of it."""
    with pytest.raises(SettingsError, match="HPOQ_STORE") as caught:
        open_store(url)
    assert "canary" not in str(caught.value)
