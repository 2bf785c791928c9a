"""What the product asks of an idempotency store, and how one is chosen.

Any object with these methods will do. A store knows nothing of the life cycle: it keeps records by key and
swaps them on condition; `hpoq.processing.lifecycle` decides what is written. `hpoq.testing` holds a public
conformance suite for implementers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from hpoq.errors import SettingsError
from hpoq.idempotency.record import Record, Version

if TYPE_CHECKING:
    from hpoq.cloud.credentials import CredentialsProvider
    from hpoq.cloud.transport import Transport


class Store(Protocol):
    """Keeps one record a key, durably, for any number of processes and threads.

    Every method raises StoreUnavailable where the store does not answer (each may be repeated), and
    RecordUnreadable where the record at hand is of an unknown version.
    """

    def get(self, key: str) -> Record | None:
        """The record of `key`, as the last finished write left it."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records of those of `keys`, one at least and each once, that have one; with as few calls as can be.

        A record that the store cannot read at the moment may be left out.
        """

    def insert(self, record: Record) -> Record | None:
        """Write `record` if its key has none: None says done, else the record that stands there.

        Atomic, and durable before it returns. A record equal to `record` counts as done, so that an insert
        whose answer was lost can be repeated.
        """

    def replace(self, record: Record, expected: Version) -> bool:
        """Write `record` over the one of its key if that one's version is `expected`.

        True says that `record` stands there now, also where an earlier try of the same write put it there.
        Atomic, and durable before it returns.
        """

    def close(self) -> None:
        """Give up connections; the store must not be used afterwards."""


def open_store(
    url: str,
    transport: Transport | None = None,
    credentials: CredentialsProvider | None = None,
) -> Store:
    """The store that `url` names: `sqlite:///relative/path`, `sqlite:////absolute/path`, `sqlite:///:memory:`,
    `redis://HOST:PORT/DB`, `rediss://...`, `tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE`.

    `transport` and `credentials` are for those that are cloud services; by default the function's own kind of
    connections, and the environment's credentials.
    Raises SettingsError for an unknown kind, or one whose client is not installed. Implementations are imported
    when they are named.
    """
    parts = urlsplit(url)
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
    raise SettingsError([f"HPOQ_STORE: {parts.scheme or 'no'}:// names no store; use {known}"])
