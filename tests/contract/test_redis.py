"""The store in Redis, against a real server."""

import uuid
from dataclasses import replace

import pytest
from redis import Redis

from hpoq.errors import RecordUnreadable, SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.redis import RedisStore
from hpoq.idempotency.store import open_store
from hpoq.testing import run_store_conformance

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"
CLAIM = Record(KEY, State.IN_PROGRESS, "f", "owner", 1.0, 2.0, 4_000_000_000.0)


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
    store.replace(replace(CLAIM, owner="heir"), published.version)
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
    """A server that has forgotten the scripts is given them again."""
    store = make_store()
    store.insert(CLAIM)
    raw.script_flush()
    assert store.replace(replace(CLAIM, owner="heir"), CLAIM.version)
    store.close()


def test_replicas_that_are_missing(make_store):
    """A write that too few servers have is not done, and may be repeated."""
    store = make_store(replicas=1, timeout_seconds=0.4)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        store.insert(CLAIM)
    store.close()
    plain = make_store()
    assert plain.insert(CLAIM) is None
    plain.close()


def test_a_server_that_is_away():
    """No server is an error that says nothing of the URL."""
    store = RedisStore("redis://user:canary@127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable) as caught:
        store.get(KEY)
    assert "canary" not in str(caught.value)
    store.close()


def test_by_url(redis_server):
    """HPOQ_STORE names it, with its settings in the query."""
    store = open_store(f"{redis_server}?prefix=x:&timeout=1.5&replicas=0")
    assert (store._prefix, store._timeout_seconds, store._replicas) == ("x:", 1.5, 0)
    store.close()


@pytest.mark.parametrize(
    "url", ["redis://:canary@h:port/0", "redis://canary@h?replicas=many", "redis://h?timeout=x"]
)
def test_urls_that_are_none(url):
    """A URL that is none is a settings error that quotes nothing of it."""
    with pytest.raises(SettingsError, match="HPOQ_STORE") as caught:
        open_store(url)
    assert "canary" not in str(caught.value)
