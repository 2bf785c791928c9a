"""Takes over the connections of clients to some hosts, and refuses those that cannot be taken over.

What is replaced, and what happens to a connection to such a host:

    http.client (urllib3, requests, copies of them)   connect, send          leads to the cloud
    aiohttp                                           TCPConnector           leads to the cloud
    httpx (httpcore)                                  the connection pools   raises the client's own error
    socket, uvloop, aiodns                            look-ups, connect      raises NotTakenOver
    alibabacloud_credentials                          module variables       has the cloud's keys

Any other client ends at the look-ups or `connect` of `socket`, so that no test reaches the real cloud.

Several clouds can do so at the same time, in threads and tasks that begin and end in any order. A connection goes to
the newest cloud of its own thread or task, or to the newest of all if that has none. The patches are removed when the
last cloud has ended.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import importlib.machinery
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from alilocal.cloud import Cloud
from alilocal.connections import OWN_SOCKET, Connections, LocalSocket
from alilocal.core import foreign
from alilocal.core.credentials import Credential

_ID, _SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
_TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105 - the name of a variable
_REMOVED = (
    _TOKEN,
    # These would choose other keys.
    "ALIBABA_CLOUD_PROFILE",
    "ALIBABA_CLOUD_CREDENTIALS_FILE",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_ECS_METADATA",
    # With a proxy, connections would go to its host instead.
    *(name for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")),
)
_OTHER_KEYS = {"OSS_ACCESS_KEY_ID": _ID, "OSS_ACCESS_KEY_SECRET": _SECRET, "OSS_SESSION_TOKEN": _TOKEN}
"""Variables of other SDKs, which get the same keys if they are set."""
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
# A library that records calls, such as VCR, may have replaced this class by one of its own.
_HTTP_CONNECTION: type[Any] = next(
    kind
    for kind in object.__subclasses__()
    if (kind.__module__, kind.__name__) == (http.client.__name__, "HTTPConnection")
)
_FROM_CONNECTION, _CREATE = "_alilocal_host", "_create_connection"


class NotTakenOver(ConnectionRefusedError):
    """A client that `mock_alicloud` cannot take over wants to connect to a host of the real cloud."""

    def __init__(self, host: str) -> None:
        super().__init__(
            errno.ECONNREFUSED,
            f"mock_alicloud cannot take over this client, and keeps it from the real host {host}. "
            "Use alilocal.serve(), and give the client its url as endpoint",
        )


@dataclass(eq=False)
class _Taken:
    """The hosts of one cloud, and the values of the variables before it."""

    connections: Connections
    hosts: Sequence[str]
    before: dict[str, str | None] = field(repr=False)

    def has_host(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(name == domain or name.endswith(f".{domain}") for domain in self.hosts)


_lock = threading.RLock()
_active: list[_Taken] = []
_patches = ExitStack()
_own: ContextVar[tuple[_Taken, ...]] = ContextVar("alilocal_takeovers", default=())


@contextlib.contextmanager
def take_over(cloud: Cloud, connections: Connections, hosts: Sequence[str]) -> Iterator[None]:
    """Direct connections to `hosts` to `connections`, and set the standard variables to the keys of `cloud`.

    The key that the variables contained before is valid too, because a client that was made earlier uses it.
    """
    with _lock:
        _admit(cloud)
        taken = _Taken(connections, (*hosts, foreign.METADATA_HOST), _set_environment(cloud))
        if not _active:
            _patch()
        _active.append(taken)
    _own.set((*_own.get(), taken))
    try:
        yield
    finally:
        _own.set(tuple(one for one in _own.get() if one is not taken))
        with _lock:
            _end(taken)


def _end(taken: _Taken) -> None:
    place = _active.index(taken)
    del _active[place]
    if place < len(_active):
        # The next takeover saved the values that this one had set; they must not be restored.
        _active[place].before = taken.before
    else:
        _set_variables(taken.before)
    if not _active:
        _patches.close()


def _admit(cloud: Cloud) -> None:
    """Let the key of the environment call `cloud`, as the account itself."""
    key_id, secret = os.environ.get(_ID), os.environ.get(_SECRET)
    if key_id and secret and key_id != cloud.access_key_id:
        visitor = Credential(key_id, secret, cloud.account_id, security_token=os.environ.get(_TOKEN))
        cloud.visitors.append(visitor)


def _set_environment(cloud: Cloud) -> dict[str, str | None]:
    """Set the variables, and return their previous values, None for those that were not set."""
    given: dict[str, str | None] = {
        _ID: cloud.access_key_id,
        _SECRET: cloud.access_key_secret,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
        "no_proxy": "*",
        **dict.fromkeys(_REMOVED),
    }
    given |= {name: given[same] for name, same in _OTHER_KEYS.items() if name in os.environ}
    before = {name: os.environ.get(name) for name in given}
    _set_variables(given)
    return before


def _set_variables(values: Mapping[str, str | None]) -> None:
    """Set variables of the environment, and remove those whose value is None."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _find_connections(host: object) -> Connections | None:
    """Return the connections that take `host`, or None to leave it alone."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    if not isinstance(host, str):
        return None
    with _lock:
        own = [one for one in _own.get() if one in _active]
        found = [one.connections for one in own or _active if one.has_host(host)]
    return found[-1] if found else None


def _refuse(host: object) -> None:
    """Raise NotTakenOver if `host` is one of those that are taken over, and log the attempt."""
    found = _find_connections(host) if _active else None
    if found is None:
        return
    name = host.decode("latin-1") if isinstance(host, (bytes, bytearray)) else str(host)
    service = foreign.name_in_host(name.lower().rstrip(".")) or name
    found.cloud.log_foreign(foreign.Foreign(service, "connect"), "", None, NotTakenOver.__name__)
    raise NotTakenOver(name)


# Everything that follows replaces functions of other modules until the last cloud has ended.


def _patch() -> None:
    import urllib3.connection  # noqa: F401 - its classes are found below

    for kind in _connection_kinds(_HTTP_CONNECTION):
        _patch_connect(kind)
    base = _HTTP_CONNECTION
    original_init, original_putrequest, original_send = base.__init__, base.putrequest, base.send

    def init(connection: Any, *args: Any, **kwargs: Any) -> None:
        # Classes that were defined later, such as those of a package that a test imports, have a `connect` too.
        for kind in type(connection).__mro__:
            if issubclass(kind, base):
                _patch_connect(kind)
        original_init(connection, *args, **kwargs)

    def putrequest(connection: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        # To a proxy, the whole URL is sent.
        vars(connection)[_FROM_CONNECTION] = urlsplit(url).hostname if "://" in url else None
        original_putrequest(connection, method, url, *args, **kwargs)

    def send(connection: Any, data: Any) -> None:
        # A class with a `connect` of its own, like the one of aliyun-mns-sdk, still sends with this method, and a
        # connection may be left over from another cloud, or from the real one.
        _redirect(connection)
        original_send(connection, data)

    _replace(base, "__init__", init)
    _replace(base, "putrequest", putrequest)
    _replace(base, "send", send)
    for name in ("connect", "connect_ex"):
        _replace(OWN_SOCKET, name, _wrap_raw_connect(getattr(OWN_SOCKET, name)))
    _watch()
    _patch_on_import("aiohttp.connector", _patch_aiohttp)
    _patch_on_import("aiodns", _patch_aiodns)
    _patch_on_import("httpcore", _patch_httpcore)
    _patch_on_import("uvloop", _patch_uvloop)
    _patch_on_import("alibabacloud_credentials.utils.auth_util", _patch_credentials)


def _connection_kinds(kind: type) -> Iterator[type]:
    """Yield a class and all that are derived from it."""
    yield kind
    derived: list[type] = kind.__subclasses__()
    for one in derived:
        yield from _connection_kinds(one)


def _patch_connect(kind: type) -> None:
    original = vars(kind).get("connect")
    if original is None or hasattr(original, "is_of_alilocal"):
        return

    def connect(connection: Any) -> None:
        if not _redirect(connection):
            original(connection)

    connect.is_of_alilocal = True  # type: ignore[attr-defined]
    _replace(kind, "connect", connect)


def _redirect(connection: Any) -> bool:
    """Give a connection a socket to its cloud, and return False if it leads to a host that is left alone."""
    names = (
        vars(connection).get(_FROM_CONNECTION),
        getattr(connection, "_tunnel_host", None),
        connection.host,
    )
    found = next((found for name in names if (found := _find_connections(name)) is not None), None)
    current = connection.sock
    if found is None:
        if isinstance(current, LocalSocket):
            current.close()
            connection.sock = None
        return False
    if not isinstance(current, LocalSocket) or current.owner is not found:
        if current is not None:
            current.close()
        connection.sock = _open(found, connection.timeout)
        # Otherwise urllib3 warns that the TLS connection is not verified.
        connection.is_verified = True
    return True


def _replace(owner: Any, name: str, value: object) -> None:
    if name in vars(owner):
        _patches.callback(setattr, owner, name, vars(owner)[name])
    else:
        _patches.callback(delattr, owner, name)
    setattr(owner, name, value)


def _open(connections: Connections, timeout: object) -> LocalSocket:
    connection = connections.pair()
    # Libraries use placeholder objects for a missing time-out.
    connection.settimeout(timeout if isinstance(timeout, (int, float)) else socket.getdefaulttimeout())
    return connection


def _wrap_raw_connect(original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(connection: socket.socket, address: Any) -> Any:
        # With a name, the look-up is done in C, and no audit event comes before it.
        _refuse(address[0] if isinstance(address, tuple) and address else None)
        return original(connection, address)

    return connect


_is_watching = False


def _watch() -> None:
    """Refuse look-ups of all clients in Python, however they have imported the functions that do them.

    A hook cannot be removed. It does nothing while no cloud is active.
    """
    global _is_watching  # noqa: PLW0603 - there is one interpreter
    if not _is_watching:
        _is_watching = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # This order, because an interpreter that ends has set both names to None.
    if _active and event in _LOOK_UPS:
        _refuse(arguments[0])


def _patch_on_import(name: str, patch: Callable[[ModuleType], None]) -> None:
    """Patch a module that some tests use: now if it is imported, or as soon as it is."""
    module = sys.modules.get(name)
    if module is not None:
        patch(module)
        return
    finder = _Finder(name, patch)
    sys.meta_path.insert(0, finder)
    _patches.callback(_forget, finder)


def _forget(finder: _Finder) -> None:
    # A test may have replaced the list.
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds one module as Python does, and patches it when it has run."""

    def __init__(self, name: str, patch: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._patch = patch

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 - the signature is Python's
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                if _active:
                    self._patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _patch_aiohttp(module: ModuleType) -> None:
    kind = module.TCPConnector
    # These are private; a version of aiohttp without them is refused like any other client.
    original_connect, original_create = kind.connect, getattr(kind, _CREATE, None)
    if original_create is None:
        return

    async def connect(connector: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if _find_connections(request.url.raw_host) is not None:
            # A connection that is kept may lead to another cloud, or to the real one.
            for kept in connector._conns.pop(request.connection_key, ()):  # noqa: SLF001
                kept[0].close()
        return await original_connect(connector, request, *args, **kwargs)

    async def create(connector: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        found = _find_connections(request.url.raw_host)
        if found is None:
            return await original_create(connector, request, *args, **kwargs)
        loop, factory = connector._loop, connector._factory  # noqa: SLF001
        _, protocol = await loop.create_connection(factory, sock=_open(found, 0.0))
        return protocol

    _replace(kind, "connect", connect)
    _replace(kind, _CREATE, create)


def _patch_aiodns(module: ModuleType) -> None:
    for name in ("query", "query_dns", "gethostbyname", "getaddrinfo"):
        if hasattr(module.DNSResolver, name):
            _replace(module.DNSResolver, name, _wrap_look_up(getattr(module.DNSResolver, name)))


def _patch_httpcore(module: ModuleType) -> None:
    """Refuse the requests of `httpx` themselves: a proxy or a connection that is kept needs no look-up."""
    for kind_name, name in (
        ("ConnectionPool", "handle_request"),
        ("AsyncConnectionPool", "handle_async_request"),
    ):
        kind = getattr(module, kind_name, None)
        # Versions before 0.13 have other classes; they are refused like any other client.
        if hasattr(kind, name):
            _replace(kind, name, _wrap_pool(getattr(kind, name), module.ConnectError))


def _wrap_pool(original: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
    def handle(pool: Any, request: Any) -> Any:
        try:
            _refuse(request.url.host)
        except NotTakenOver as exc:
            raise error(str(exc)) from exc
        return original(pool, request)

    return handle


def _patch_uvloop(module: ModuleType) -> None:
    for name in ("create_connection", "getaddrinfo"):
        _replace(module.Loop, name, _wrap_look_up(getattr(module.Loop, name)))


def _wrap_look_up(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that refuses the real hosts among its arguments before it does anything."""

    def look_up(*args: Any, **kwargs: Any) -> Any:
        for one in (*args, kwargs.get("host"), kwargs.get("server_hostname")):
            _refuse(one)
        return original(*args, **kwargs)

    return look_up


def _patch_credentials(module: ModuleType) -> None:
    """Give the official SDKs the keys of the cloud: they read the variables only when they are imported."""
    given = {
        "client_type": "default",
        "environment_access_key_id": os.environ[_ID],
        "environment_access_key_secret": os.environ[_SECRET],
        "environment_security_token": None,
        "environment_ECSMeta_data": None,
        "environment_ecs_metadata": None,
        "environment_ecs_metadata_disabled": "true",
        "environment_profile_name": None,
        "environment_credentials_file": None,
        "environment_credentials_uri": None,
        "enable_oidc_credential": False,
    }
    for name, value in given.items():
        if name in vars(module):
            _replace(module, name, value)
