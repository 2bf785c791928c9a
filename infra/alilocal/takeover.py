"""Taking over the connections of `http.client`, `urllib3` and `requests` to some hosts.

Several clouds may do so at a time, in threads and tasks that begin and end in any order. A connection goes to the
newest cloud that its own thread or task has made, and where that has none, to the newest of all. What is patched is
put back when the last has ended.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from alilocal.cloud import LocalCloud
from alilocal.connections import Connections

_TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(eq=False)
class _Taken:
    """Hosts of one cloud, and the variables as they stood before."""

    line: Connections
    hosts: Sequence[str]
    before: dict[str, str | None] = field(repr=False)

    def has(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(name == domain or name.endswith(f".{domain}") for domain in self.hosts)


_lock = threading.Lock()
_in_force: list[_Taken] = []
_patches = ExitStack()
_own: ContextVar[tuple[_Taken, ...]] = ContextVar("taken over here", default=())


@contextlib.contextmanager
def taken_over(cloud: LocalCloud, line: Connections, hosts: Sequence[str]) -> Iterator[None]:
    """Let connections to `hosts` be ends of `line`, and the standard variables hold the keys of `cloud`."""
    with _lock:
        if not _in_force:
            _patch()
        taken = _Taken(line, hosts, _set_environment(cloud))
        _in_force.append(taken)
    _own.set((*_own.get(), taken))
    try:
        yield
    finally:
        _own.set(tuple(one for one in _own.get() if one is not taken))
        with _lock:
            _give_back(taken)


def _give_back(taken: _Taken) -> None:
    place = _in_force.index(taken)
    del _in_force[place]
    if place < len(_in_force):
        # A newer one found the variables as this one had set them.
        _in_force[place].before = taken.before
    else:
        for name, value in taken.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if not _in_force:
        _patches.close()


def _set_environment(cloud: LocalCloud) -> dict[str, str | None]:
    """Set the variables; what they were, None for those that were not there."""
    given = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        # A proxy would be connected to in the place of the cloud.
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    before = {name: os.environ.get(name) for name in (*given, _TOKEN)}
    os.environ.update(given)
    os.environ.pop(_TOKEN, None)
    return before


def _taker(host: str) -> Connections | None:
    """Where a connection to `host` is to end; None to leave it alone."""
    with _lock:
        own = [one for one in _own.get() if one in _in_force]
        found = [one.line for one in own or _in_force if one.has(host)]
    return found[-1] if found else None


def _patch() -> None:
    import urllib3.connection

    for kind in (
        http.client.HTTPConnection,
        http.client.HTTPSConnection,
        urllib3.connection.HTTPConnection,
        urllib3.connection.HTTPSConnection,
    ):
        _replace(kind, "connect", _connecting(kind))
    original_send = http.client.HTTPConnection.send

    def send(connection: Any, data: Any) -> None:
        # A class of its own `connect`, like that of aliyun-mns-sdk, still sends through this.
        if connection.sock is None and (line := _taker(connection.host)) is not None:
            connection.sock = _opened(line, connection.timeout)
        original_send(connection, data)

    _replace(http.client.HTTPConnection, "send", send)


def _connecting(kind: type) -> Any:
    original = kind.connect  # type: ignore[attr-defined]

    def connect(connection: Any) -> None:
        line = _taker(connection.host)
        if line is None:
            original(connection)
            return
        connection.sock = _opened(line, connection.timeout)
        # urllib3 warns of a TLS connection that was not verified.
        connection.is_verified = True

    return connect


def _replace(owner: type, name: str, value: object) -> None:
    if name in vars(owner):
        _patches.callback(setattr, owner, name, vars(owner)[name])
    else:
        _patches.callback(delattr, owner, name)
    setattr(owner, name, value)


def _opened(line: Connections, timeout: object) -> socket.socket:
    connection = line.pair()
    # Libraries have objects of their own for "no value".
    connection.settimeout(timeout if isinstance(timeout, (int, float)) else socket.getdefaulttimeout())
    return connection
