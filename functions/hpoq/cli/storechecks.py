"""The checks of `hpoq doctor` on where records are kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from hpoq.cli.checkup import CONNECT_SECONDS, READ_SECONDS, Finding, Subject, failed
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.ots_tables import TableDescription, describe_table, description_of
from hpoq.cloud.ots_wire import Holds, WireError
from hpoq.cloud.tablestore import Tablestore
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, SettingsError, StoreError
from hpoq.idempotency.store import open_store

_DAY = 86_400
_EVICTS_NOTHING = "noeviction"


def store(subject: Subject) -> Iterator[Finding]:
    """Whether records can be read and written, and stay as long as they must."""
    if subject.store is None:
        mend = "set HPOQ_STORE, to a table of Tablestore for one: instances of a function share no disk"
        yield Finding("store", "problem", "HPOQ_STORE is not set", mend)
        return
    scheme = urlsplit(subject.store).scheme
    if scheme == "tablestore":
        yield from _tablestore(subject, subject.store)
    elif scheme in ("redis", "rediss"):
        yield from _redis(subject.store)
    elif scheme == "sqlite":
        yield from _sqlite(subject.store)
    else:
        yield from _unknown(subject.store)


def _unknown(url: str) -> Iterator[Finding]:
    try:
        open_store(url).close()
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE names none", str(exc))


def _tablestore(subject: Subject, url: str) -> Iterator[Finding]:
    try:
        client, table = _client(subject, url)
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE names no table", str(exc))
        return
    absent = f'create the table {table} with the primary key "key" (STRING), as the README says'
    nobody = {"key": f"hpoq-doctor-{uuid.uuid4()}"}
    try:
        client.get_row(table, nobody)
        client.batch_get_row(table, [nobody])
        yield Finding("read records", "ok", f"table {table}")
        # No row has this key, so that the condition fails and nothing is written.
        client.put_row(table, nobody, {"v": 1}, Holds({"v": 1}))
        yield Finding("write records", "ok", f"table {table}; tried with a condition that cannot hold")
    except CallError as exc:
        action = f"ots:{exc.operation}"
        yield failed(
            "write records" if exc.operation == "PutRow" else "read records",
            exc,
            action=action,
            absent=absent,
        )
    try:
        described = description_of(client.call("DescribeTable", describe_table(table)))
    except WireError as exc:
        yield Finding("table", "warning", f"unreadable answer: {exc}")
    except CallError as exc:
        yield failed("table", exc, action="ots:DescribeTable", absent=absent, is_needed=False)
    else:
        yield from _table(subject, described)


def _client(subject: Subject, url: str) -> tuple[Tablestore, str]:
    from hpoq.idempotency.tablestore import TablestoreStore

    opened = TablestoreStore.open(url, Transport(new_session(1), SystemClock()), subject.credentials)
    return opened.client, opened.table


def _table(subject: Subject, found: TableDescription) -> Iterator[Finding]:
    if found.primary_key != (("key", "STRING"),):
        seen = ", ".join(f"{name} ({kind})" for name, kind in found.primary_key)
        yield Finding(
            "table key", "problem", seen, 'its primary key must be "key" (STRING) alone: create it anew'
        )
    else:
        yield Finding("table key", "ok", "key (STRING)")
    kept = subject.settings.retention_days * _DAY
    if found.time_to_live is not None and found.time_to_live <= kept:
        mend = f"set it to -1 or more than {kept:.0f}: HPOQ_RETENTION_DAYS is {subject.settings.retention_days:g}"
        yield Finding("table time to live", "problem", f"{found.time_to_live} s", mend)
    else:
        told = "for ever" if found.time_to_live is None else f"{found.time_to_live} s"
        yield Finding("table time to live", "ok", told)


def _redis(url: str) -> Iterator[Finding]:
    try:
        opened = open_store(url)
    except SettingsError as exc:
        yield Finding("store", "problem", "HPOQ_STORE cannot be opened", str(exc))
        return
    try:
        opened.get(f"hpoq-doctor-{uuid.uuid4()}")
        yield Finding("read records", "ok", _without_password(url))
        yield from _persistence(url)
    except StoreError as exc:
        mend = f"see whether {_without_password(url)} is right and reached from here"
        yield Finding("read records", "problem", str(exc), mend)
    finally:
        opened.close()


def _persistence(url: str) -> Iterator[Finding]:
    """What a managed server does not tell is not a finding: it has settings of its own."""
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
        yield Finding("redis persistence", "skipped", f"it does not tell: {type(exc).__name__}")
        return
    wrong = {name: value for name, value in found.items() if value != wanted[name]}
    seen = ", ".join(f"{name} {value}" for name, value in found.items())
    mend = ", ".join(f"set {name} to {wanted[name]}" for name in wrong)
    yield Finding("redis persistence", "problem" if wrong else "ok", seen, mend)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"


def _sqlite(url: str) -> Iterator[Finding]:
    path = urlsplit(url).path.removeprefix("/")
    mend = "on FC, where instances share no disk, take tablestore:// or redis://"
    yield Finding("store", "warning", f"{path}: a file on a single machine", mend)
