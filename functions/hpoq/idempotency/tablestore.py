"""Records in Tablestore: one row per key, always written whole, on condition of the owner in the row.

The table has the primary key `key` (STRING) and one version per cell. Its time to live should be longer than the
retention, to remove what has expired; nothing else depends on it. If the end of a write is unknown, the caller
repeats it with the same fencing token, and reading the row shows whether the first write succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.ots_wire import Absent, Holds
from hpoq.cloud.signing import CredentialsProvider, from_environment
from hpoq.cloud.tablestore import MOST_ROWS, Tablestore
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, Version, decode, encode

_MOST_READS = 4


class TablestoreStore:
    """A `Store` in the table `table`, through `client`."""

    def __init__(self, client: Tablestore, table: str) -> None:
        self.client = client
        self.table = table

    @classmethod
    def open(
        cls, url: str, transport: Transport | None = None, credentials: CredentialsProvider | None = None
    ) -> TablestoreStore:
        """Open the store that `url` names: `tablestore://HOST/TABLE`, where HOST begins with the instance's name.

        `?instance=NAME` names the instance for any other host, such as a local cloud's. `&scheme=http` is accepted
        only for loopback. Raises SettingsError.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        instance = options.pop("instance", (parts.hostname or "").partition(".")[0])
        scheme = options.pop("scheme", "https")
        table = parts.path.strip("/")
        if not instance or not table or "/" in table or options:
            raise SettingsError(["HPOQ_STORE: use tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE"])
        client = Tablestore(
            transport or Transport(new_session(), SystemClock()),
            f"{scheme}://{parts.netloc}",
            instance,
            credentials or from_environment(),
        )
        return cls(client, table)

    def get(self, key: str) -> Record | None:
        try:
            row = self.client.get_row(self.table, {"key": key})
        except CallError as exc:
            raise StoreUnavailable(str(exc)) from exc
        return None if row is None else decode(key, str(row.get("body")))

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(keys), MOST_ROWS):
            part = keys[start : start + MOST_ROWS]
            try:
                rows = self.client.batch_get_row(self.table, [{"key": key} for key in part])
            except CallError as exc:
                raise StoreUnavailable(str(exc)) from exc
            found |= {
                key: decode(key, str(row.get("body"))) for key, row in zip(part, rows, strict=True) if row
            }
        return found

    def insert(self, record: Record) -> Record | None:
        for _ in range(_MOST_READS):
            if self._put(record, Absent()):
                return None
            existing = self.get(record.key)
            # The row's time to live may have ended between the two calls.
            if existing is not None:
                return None if existing == record else existing
        raise StoreUnavailable("tablestore: the row keeps appearing and disappearing")

    def replace(self, record: Record, expected: Version) -> bool:
        stands = {"state": expected.state.value, "owner": expected.owner}
        return self._put(record, Holds(stands)) or self.get(record.key) == record

    def close(self) -> None:
        """Do nothing: the connections belong to the transport."""

    def _put(self, record: Record, condition: Absent | Holds) -> bool:
        columns = {
            "state": record.state.value,
            "owner": record.owner,
            "expires_at": int(record.expires_at),
            "body": encode(record),
        }
        try:
            return self.client.put_row(self.table, {"key": record.key}, columns, condition)
        except CallError as exc:
            raise StoreUnavailable(str(exc)) from exc
