"""The checks of `hpoq doctor` on the store, where the records are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from fcruntime.dataclass import dataclass
from hpoq.cloud.ots_wire import Holds, WireError, fields
from hpoq.cloud.tablestore import Tablestore
from hpoq.errors import CallError, Denied, SettingsError, StoreError
from hpoq.idempotency.store import open_store, split_store_url
from hpoqctl.doctor.checkup import CONNECT_SECONDS, READ_SECONDS, Finding, Subject, explain_failure
from hpoqctl.services import open_transport

if TYPE_CHECKING:
    from hpoq.idempotency.redis import RedisStore

_DAY = 86_400
_EVICTS_NOTHING = "noeviction"
# The column types of the official SDK's `table_store.proto`, and the field numbers below.
_COLUMN_TYPES = {1: "INTEGER", 2: "STRING", 3: "BINARY"}
_NUMBER_BITS = 64


def check_store(subject: Subject) -> Iterator[Finding]:
    """Check that records can be read and written, and that they are kept long enough."""
    if subject.store is None:
        fix = "set HPOQ_STORE, for example to tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE"
        yield Finding("store", "problem", "HPOQ_STORE is not set", fix)
        return
    try:
        scheme = split_store_url(subject.store).scheme
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE is invalid", str(exc))
        return
    if scheme == "tablestore":
        yield from _check_tablestore(subject, subject.store)
    elif scheme in ("redis", "rediss"):
        yield from _check_redis(subject.store)
    elif scheme == "sqlite":
        yield from _check_sqlite(subject.store)
    else:
        yield from _explain_unknown(subject.store)


def _explain_unknown(url: str) -> Iterator[Finding]:
    try:
        open_store(url).close()
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE is invalid", str(exc))


def _check_tablestore(subject: Subject, url: str) -> Iterator[Finding]:
    try:
        client, table = _open_tablestore(subject, url)
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE is invalid", str(exc))
        return
    absent = (
        f'create the table {table} with the primary key "key" (STRING); see infra/serverless/README.md. If it '
        "existed before, stop the triggers first, because a message that comes again would create a second "
        "experiment; see Loss of the table in infra/serverless/OPERATIONS.md"
    )
    unused = {"key": f"hpoq-doctor-{uuid.uuid4()}"}
    try:
        client.get_row(table, unused)
        client.batch_get_row(table, [unused])
        yield Finding("read records", "ok", f"table {table}")
        # No row has this key, so the condition fails and nothing is written.
        client.put_row(table, unused, {"v": 1}, Holds({"v": 1}))
        yield Finding("write records", "ok", f"table {table}; tried with a condition that fails")
    except CallError as exc:
        action = f"ots:{exc.operation}"
        yield explain_failure(
            "write records" if exc.operation == "PutRow" else "read records",
            exc,
            action=action,
            absent=absent,
        )
    try:
        described = parse_description(client.call("DescribeTable", encode_request(table), bytes))
    except WireError as exc:
        yield Finding("table", "warning", f"its description cannot be read: {exc}")
    except CallError as exc:
        yield explain_failure("table", exc, action="ots:DescribeTable", absent=absent, is_needed=False)
    else:
        yield from _check_table(subject, described)


def _open_tablestore(subject: Subject, url: str) -> tuple[Tablestore, str]:
    from hpoq.idempotency.tablestore import TablestoreStore

    opened = TablestoreStore.open(url, open_transport(), subject.credentials)
    return opened.client, opened.table


def _check_table(subject: Subject, found: TableDescription) -> Iterator[Finding]:
    if found.primary_key != (("key", "STRING"),):
        seen = ", ".join(f"{name} ({kind})" for name, kind in found.primary_key)
        yield Finding(
            "table key", "problem", seen, 'create it again with the single primary key "key" (STRING)'
        )
    else:
        yield Finding("table key", "ok", "key (STRING)")
    kept = subject.settings.retention_days * _DAY
    if found.time_to_live is not None and found.time_to_live <= kept:
        fix = f"set it to -1 or to more than {kept:.0f}: HPOQ_RETENTION_DAYS is {subject.settings.retention_days:g}"
        yield Finding("table time to live", "problem", f"{found.time_to_live} s", fix)
    else:
        lifetime = "unlimited" if found.time_to_live is None else f"{found.time_to_live} s"
        yield Finding("table time to live", "ok", lifetime)


def _check_redis(url: str) -> Iterator[Finding]:
    try:
        opened = cast("RedisStore", open_store(url))
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE cannot be opened", str(exc))
        return
    unused, check = f"hpoq-doctor-{uuid.uuid4()}", "read records"
    try:
        opened.get_many([unused])
        yield Finding(check, "ok", _hide_password(url))
        check = "write records"
        opened.try_write(unused)
        yield Finding(check, "ok", "tried with a key that does not exist")
        yield from _check_persistence(url)
    except StoreError as exc:
        yield Finding(check, "problem", str(exc), _explain_redis(exc, url))
    finally:
        opened.close()


def _explain_redis(exc: StoreError, url: str) -> str:
    """Return how to fix a call to the server at `url` that failed with `exc`."""
    if isinstance(exc.__cause__, Denied):
        return (
            "check user, password and database in HPOQ_STORE, and the memory of the server; the user needs all keys "
            "that begin with the prefix, and the commands GET, MGET, SET, PEXPIRE, EVAL and, with replicas, WAIT"
        )
    place = _hide_password(url)
    return f"check the server, which must be the primary, and the connection from this machine to {place}"


def _check_persistence(url: str) -> Iterator[Finding]:
    """Check that the server evicts no records and writes them to disk.

    A managed server often hides its configuration. The check is skipped then.
    """
    from redis import Redis
    from redis.exceptions import RedisError

    bare = urlsplit(url)._replace(query="").geturl()
    wanted = {"maxmemory-policy": _EVICTS_NOTHING, "appendonly": "yes", "appendfsync": "always"}
    try:
        with Redis.from_url(
            bare, decode_responses=True, socket_timeout=READ_SECONDS, socket_connect_timeout=CONNECT_SECONDS
        ) as client:
            found = {name: cast("dict[str, str]", client.config_get(name)).get(name) for name in wanted}
    except RedisError as exc:
        yield Finding(
            "redis persistence", "skipped", f"the server hides its configuration ({type(exc).__name__})"
        )
        return
    wrong = {name: value for name, value in found.items() if value != wanted[name]}
    seen = ", ".join(f"{name} {value}" for name, value in found.items())
    fix = ", ".join(f"set {name} to {wanted[name]}" for name in wrong)
    yield Finding("redis persistence", "problem" if wrong else "ok", seen, fix)


def _hide_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"


def _check_sqlite(url: str) -> Iterator[Finding]:
    path = urlsplit(url).path.removeprefix("/")
    fix = "use tablestore:// or redis:// on Function Compute, where instances share no disk"
    yield Finding("store", "warning", f"{path} is a file on one machine", fix)


@dataclass(frozen=True)
class TableDescription:
    """The primary key as names and types, the time to live in seconds or None if it is unlimited, and versions."""

    primary_key: tuple[tuple[str, str], ...]
    time_to_live: int | None
    most_versions: int | None


def encode_request(table: str) -> bytes:
    """Return a DescribeTableRequest."""
    name = table.encode()
    return bytes([0x0A, len(name)]) + name


def parse_description(response: bytes) -> TableDescription:
    """Parse a DescribeTableResponse. Raises WireError."""
    members = {number: value for number, value in fields(response) if isinstance(value, bytes)}
    if 1 not in members:
        raise WireError("the description contains no table")
    columns = [value for number, value in fields(members[1]) if number == 2 and isinstance(value, bytes)]
    options = {number: value for number, value in fields(members.get(3, b"")) if isinstance(value, int)}
    seconds = _parse_signed(options[1]) if 1 in options else None
    return TableDescription(
        tuple(_parse_column(column) for column in columns),
        None if seconds is None or seconds < 0 else seconds,
        options.get(2),
    )


def _parse_column(column: bytes) -> tuple[str, str]:
    members = dict(fields(column))
    name, kind = members.get(1, b""), members.get(2, 0)
    return (
        name.decode() if isinstance(name, bytes) else "",
        _COLUMN_TYPES.get(kind, "?") if isinstance(kind, int) else "?",
    )


def _parse_signed(value: int) -> int:
    """Return the number; a negative one is encoded as its two's complement of 64 bits."""
    return value - (1 << _NUMBER_BITS) if value >> (_NUMBER_BITS - 1) else value
