"""Read every record of a store, which the function itself never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpoq.errors import CallError, SettingsError, StoreUnavailable
from hpoq.idempotency.store import Store
from hpoq.idempotency.tablestore import TablestoreStore

_ROWS = 500


def scan_records(store: Store, wait: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of every record, and call `wait` before each call of a service.

    Raises StoreUnavailable, and SettingsError for a store whose records cannot be listed.
    """
    if isinstance(store, TablestoreStore):
        yield from _scan_tablestore(store, wait)
        return
    scan: Callable[[], Iterator[tuple[str, str]]] | None = getattr(store, "scan", None)
    if scan is None:
        raise SettingsError(["The records of this store cannot be listed. Give --store URL."])
    yield from scan()


def _scan_tablestore(store: TablestoreStore, wait: Callable[[], None]) -> Iterator[tuple[str, str]]:
    after: str | None = None
    while True:
        wait()
        try:
            rows, after = store.client.get_range(store.table, "key", after, _ROWS)
        except CallError as exc:
            raise StoreUnavailable(str(exc)) from exc
        yield from ((key, str(columns.get("body"))) for key, columns in rows)
        if after is None:
            return
