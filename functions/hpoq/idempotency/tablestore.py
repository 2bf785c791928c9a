"""Records in Tablestore: one row a key, written whole, on condition of the owner that stands there.

The table has the primary key `key` (STRING), one version a cell, and should have a time to live of more than the
retention, which collects what has expired; nothing else depends on it. A write whose end is unknown is repeated
with the same fencing token by the caller, and recognised here by reading the row back.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import CredentialsProvider, from_environment
from hpoq.cloud.ots_wire import Absent, Holds
from hpoq.cloud.tablestore import MOST_ROWS, Tablestore
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, SettingsError, StoreUnavailable
from hpoq.idempotency.record import FORMAT_VERSION, Record, Version, decode, encode

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
        """The store that `url` names: `tablestore://HOST/TABLE`, where HOST begins with the instance's name.

        For a host that does not, a local cloud's for one, `?instance=NAME` tells it; `&scheme=http` is taken for
        loopback only. Raises SettingsError.
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
            standing = self.get(record.key)
            # A row that its time to live takes between the two is none.
            if standing is not None:
                return None if standing == record else standing
        raise StoreUnavailable("tablestore: the row comes and goes")

    def replace(self, record: Record, expected: Version) -> bool:
        stands = {"state": expected.state.value, "owner": expected.owner, "v": FORMAT_VERSION}
        return self._put(record, Holds(stands)) or self.get(record.key) == record

    def close(self) -> None:
        """The connections are the transport's."""

    def _put(self, record: Record, condition: Absent | Holds) -> bool:
        columns = {
            "v": FORMAT_VERSION,
            "state": record.state.value,
            "owner": record.owner,
            "expires_at": int(record.expires_at),
            "body": encode(record),
        }
        try:
            return self.client.put_row(self.table, {"key": record.key}, columns, condition)
        except CallError as exc:
            raise StoreUnavailable(str(exc)) from exc
