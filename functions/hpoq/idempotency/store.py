"""The protocol of an idempotency store, and the choice of one by its URL.

Any object with these methods is a store. It knows nothing about the life cycle: it keeps records by key, and replaces
one if its version is the expected one. `hpoq.processing.lifecycle` decides what is written. `hpoq.testing` has a
conformance suite for those who write a store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from hpoq.errors import SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, Version

if TYPE_CHECKING:
    from hpoq.clock import Clock
    from hpoq.cloud.signing import CredentialsProvider
    from hpoq.cloud.transport import Transport


_Answer = TypeVar("_Answer")

_TRIES = 3
_PAUSE_SECONDS = 0.2


class Store(Protocol):
    """Keeps one record per key, durably, for any number of processes and threads.

    Every method raises StoreUnavailable if the store does not answer, and may then be repeated. It raises
    RecordUnreadable if the record is damaged, or lacks what this version of the code needs.
    """

    def get(self, key: str) -> Record | None:
        """Return the record of `key` as the last finished write left it, or None if there is none."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Return the records of those `keys` that have one, with as few calls as possible.

        `keys` contains at least one key, and none twice. A record that the store cannot read now may be left out.
        """

    def insert(self, record: Record) -> Record | None:
        """Write `record` if its key has none, and return None; otherwise return the record that the key has.

        Atomic, and durable before it returns. An equal record counts as written, so that an insert whose answer was
        lost can be repeated.
        """

    def replace(self, record: Record, expected: Version) -> bool:
        """Write `record` over the record of its key if that has the version `expected`.

        Return whether the key has `record` now, also if an earlier try of the same write succeeded. Atomic, and
        durable before it returns.
        """

    def close(self) -> None:
        """Close the connections. The store must not be used afterwards."""


def repeat_if_unavailable(
    call: Callable[[], _Answer], clock: Clock, note_failure: Callable[[], None] = lambda: None
) -> _Answer:
    """Make a store call, again if the store did not answer: the fencing token makes a second write harmless.

    `note_failure` is called before each repetition.
    """
    for attempt in range(1, _TRIES):
        try:
            return call()
        except StoreUnavailable:
            note_failure()
            clock.sleep(_PAUSE_SECONDS * attempt * clock.random())
    return call()


def open_store(
    url: str,
    transport: Transport | None = None,
    credentials: CredentialsProvider | None = None,
) -> Store:
    """Open the store that `url` names.

    `url` is `sqlite:///relative/path`, `sqlite:////absolute/path`, `sqlite:///:memory:`, `redis://HOST:PORT/DB`,
    `rediss://...` or `tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE`. A store that is a cloud service uses
    `transport` and `credentials`: by default new connections and the environment's credentials. Each kind is
    imported only if it is used.

    Raises SettingsError for an invalid URL or an unknown kind, or if the client of the kind is not installed.
    """
    parts = split_store_url(url)
    if parts.scheme == "sqlite" and not parts.netloc and parts.path not in ("", "/"):
        from hpoq.idempotency.sqlite import SqliteStore

        return SqliteStore(unquote(parts.path.removeprefix("/")))
    if parts.scheme in ("redis", "rediss"):
        try:
            from hpoq.idempotency.redis import RedisStore
        except ModuleNotFoundError as exc:
            raise SettingsError(["HPOQ_STORE: redis:// needs the extra hpoq[redis]"]) from exc
        return RedisStore.open(url)
    if parts.scheme == "tablestore":
        from hpoq.idempotency.tablestore import TablestoreStore

        return TablestoreStore.open(url, transport, credentials)
    known = "tablestore://HOST/TABLE, redis://HOST:PORT/DB or sqlite:///PATH"
    raise SettingsError([f"HPOQ_STORE: unknown kind of store {parts.scheme!r}; use {known}"])


def split_store_url(url: str) -> SplitResult:
    """Return the parts of `url`. Raises SettingsError without a part of it, which may be a password."""
    try:
        return urlsplit(url)
    except ValueError:
        message = "HPOQ_STORE: not a valid URL; percent-encode [ and ] in a user name or password"
        raise SettingsError([message]) from None
