"""A store is chosen by its URL."""

import sys
import traceback

import pytest

from hpoq.errors import SettingsError
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.redis import RedisStore
from hpoq.idempotency.store import open_store

CLAIM = Record("key", State.IN_PROGRESS, "f", "o", 1.0, 2.0, 3.0)


def test_a_file_is_named_by_its_path(tmp_path, monkeypatch):
    """The path is relative or absolute, or that of SQLite for a file in memory."""
    monkeypatch.chdir(tmp_path)
    for url, path in [
        ("sqlite:///rel.sqlite3", tmp_path / "rel.sqlite3"),
        (f"sqlite:///{tmp_path}/abs%20name", tmp_path / "abs name"),
    ]:
        store = open_store(url)
        store.insert(CLAIM)
        store.close()
        assert path.is_file()
    open_store("sqlite:///:memory:").close()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_used_with_and_without_tls(scheme):
    """The scheme of the URL says whether connections are encrypted."""
    store = open_store(f"{scheme}://h:1/2?prefix=p:")
    assert isinstance(store, RedisStore)
    assert store._client.get_connection_kwargs()["db"] == 2
    assert store._prefix == "p:"
    is_encrypted = "SSL" in store._client.connection_pool.connection_class.__name__
    assert is_encrypted == (scheme == "rediss")


def test_redis_without_its_client_is_a_wrong_setting(monkeypatch):
    """The client is an extra; the message says which."""
    monkeypatch.delitem(sys.modules, "hpoq.idempotency.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SettingsError, match=r"HPOQ_STORE: redis:// needs the extra hpoq\[redis\]"):
        open_store("redis://h")


@pytest.mark.parametrize(
    "url",
    ["redis://:a[s3cret]b@h:1/0", "redis://:[s3cret]@h", "tablestore://ak:[s3cret]@h/t", "redis://[s3cret"],
)
def test_an_invalid_url_is_not_quoted(url):
    """Python's own error quotes what is in brackets, and a password may have some. Python 3.10 may take it."""
    caught = None
    try:
        open_store(url).close()
    except (SettingsError, ValueError) as exc:
        caught = exc
    assert "s3cret" not in "".join(traceback.format_exception(caught))
    assert caught or sys.version_info < (3, 11)


def test_an_invalid_url_is_reported_as_invalid():
    """The remedy is that for the password, the only part that may have brackets."""
    with pytest.raises(SettingsError, match="HPOQ_STORE: not a valid URL; percent-encode"):
        open_store("redis://[s3cret")


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql://x", "sqlite://host/x", "/tmp/x"])
def test_unknown_stores_are_settings_errors(url):
    """A store URL that names nothing says so before the first message."""
    with pytest.raises(SettingsError, match="HPOQ_STORE: unknown kind of store"):
        open_store(url)
