"""Pooled connections that record whether a request has been sent, and that send nothing too late.

`requests` alone does not know enough to decide how an interrupted call ended. It reports a failed handshake and a
reset after sending by the same exceptions, bounds each read but not their sum, does not bound resolving a name, and
sends head and body in separate writes. Here

- the connection records the first byte that it sends;
- a request is signed once its connection is established, and leaves in one write if it fits;
- both clocks are checked before every write, because an instance may be frozen between any two of them;
- writing the request and reading its answer share one time-out;
- all connections share one set of certificate authorities, which is loaded once;
- a connection that closes before the whole answer was read closes with a reset, so that the kernel discards the part
  of the request that is still in its send buffer;
- a connection returns to its pool only after its exchange has accepted the answer: behind a gateway's own answer, the
  service's may still come, and the next request would read it as its own answer;
- an answer that equals the one before it on its connection is not accepted.

The adapter, the pool and the connection find the exchange of their thread, because urllib3 passes nothing on to them:

    with Exchange(sign, ...)       Transport makes it the thread's exchange
      _Connection.connect          Exchange.join: `sent` is False from now on
      _Connection.request          signs, and collects head and body instead of sending them
      _Connection._write           Exchange.begin_write before each write: `sent` is True, and the time-out begins
      _TimedResponse               reads within Exchange.seconds_left
      _Pool._put_conn              Exchange.hand_back keeps the connection until the exchange ends
      Exchange.accepted            set by Transport after a whole answer of the service
    Exchange.__exit__              returns the connection to its pool, closed unless the answer was accepted
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context, resolve_cert_reqs

from hpoq.clock import Budget
from hpoq.cloud.endpoint import is_loopback

if TYPE_CHECKING:
    from _typeshed import SupportsRead
    from typing_extensions import Buffer

IDLE_SECONDS = 20.0
"""A connection that was idle for longer is replaced: the gateway closes idle ones after 25 seconds, and a frozen
instance does not notice. A request may ask for a fresher one."""

# A message needs up to four hosts: those of PAI, SMQ, EventBridge and the store. A call to one host more than there
# are pools closes the connections to another one.
_MOST_HOSTS = 16

# OpenSSL writes all records of a longer text within one call, without a time-out between them.
_TLS_RECORD_BYTES = 16 * 1024

# SO_LINGER with a time of 0 seconds: closing the socket resets the connection.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CLOSE_NORMALLY = struct.pack("ii", 0, 0)

_thread = threading.local()


class TooLate(Exception):
    """The budget does not allow the request to begin any more; nothing was sent."""


class Exchange:
    """One request and its answer. Within its context it is the current thread's exchange.

    `sign` returns the complete headers of the request; it is called when the connection is established. No byte
    is written unless `budget` allows it. `sent` is None until a connection of this module takes part, then False,
    and True from the first byte on. `sent_at` is the wall-clock time of the first byte, or None before it. A pooled
    connection that was idle for `max_idle_seconds` is not used. Set `accepted` once the whole answer was read and is
    the service's: otherwise its connection is closed.
    """

    def __init__(
        self,
        sign: Callable[[], Mapping[str, str]],
        read_seconds: float,
        budget: Budget,
        max_idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.sign = sign
        self.max_idle_seconds = max_idle_seconds
        self.sent: bool | None = None
        self.sent_at: float | None = None
        self.accepted = False
        self._read_seconds = read_seconds
        self._budget = budget
        self._ends_at: float | None = None
        self._used: list[tuple[_Connection, Callable[[_Connection], None]]] = []

    def join(self) -> None:
        """Record that a connection of this module handles the exchange."""
        if self.sent is None:
            self.sent = False

    def begin_write(self) -> None:
        """Record that bytes are about to be sent; must be called directly before every write.

        Raises TooLate if too little time is left for the first byte, TimeoutError if it is for a later one.
        """
        clock, left = self._budget.clock, self._budget.seconds_left()
        if left < self._budget.least_seconds:
            if self.sent:
                raise TimeoutError("too little time was left to send the rest of the request")
            raise TooLate
        if not self.sent:
            # Set before the write: if the write raises, part of the request may have been sent all the same.
            self.sent = True
            self.sent_at = clock.now()
            self._ends_at = clock.monotonic() + min(self._read_seconds, left)

    def seconds_left(self) -> float:
        """Return the seconds left for writing and reading. Raises TimeoutError if there are none."""
        if self._ends_at is None:
            return self._read_seconds
        left = self._ends_at - self._budget.clock.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took longer than the read time-out")
        return left

    def is_repeated(self, answer: int) -> bool:
        """Return whether the latest answer of its connection had the hash `answer` too, and remember this one's."""
        connections = [connection for connection, _ in self._used]
        is_repeated = any(connection.latest_answer == answer for connection in connections)
        for connection in connections:
            connection.latest_answer = answer
        return is_repeated

    def hand_back(self, connection: _Connection, put: Callable[[_Connection], None]) -> None:
        """Call `put` with the connection when the exchange ends."""
        self._used.append((connection, put))

    def __enter__(self) -> None:
        self._outer = _current_exchange()  # signing may call a service for credentials
        _thread.exchange = self

    def __exit__(self, *_raised: object) -> None:
        _thread.exchange = self._outer
        for connection, put in self._used:
            if not self.accepted:
                connection.close()
            put(connection)


def new_session(pool_size: int = 16, *, trust_environment: bool = False) -> requests.Session:
    """Return a session that is meant to be kept for the life of the instance.

    It pools `pool_size` connections for each host and always verifies TLS. It follows no redirects, repeats nothing,
    keeps no cookies, and ignores proxies, certificate authorities and netrc of the environment. For programs that
    people run, `trust_environment` uses the proxies and certificate authorities.
    """
    session = _Session()
    session.trust_env = trust_environment
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        adapter = _Adapter(pool_connections=_MOST_HOSTS, pool_maxsize=pool_size, max_retries=0)
        session.mount(scheme, adapter)
    return session


def environment_settings(session: requests.Session, url: str) -> dict[str, Any]:
    """Return the `proxies` and `verify` of a request to `url`, as `session` was made. Loopback has no proxy."""
    if not (isinstance(session, _Session) and session.trust_env):
        return {"proxies": {}, "verify": True}
    found = session.merge_environment_settings(url, {}, None, None, None)
    is_local = is_loopback(urlsplit(url).hostname or "")
    own_authorities = os.environ.get("SSL_CERT_FILE") if found["verify"] is True else None
    return {
        "proxies": {} if is_local else dict(found["proxies"]),
        "verify": own_authorities or found["verify"],
    }


def signs_late(adapter: BaseAdapter) -> bool:
    """Return whether `adapter` uses connections of this module, which sign once they are established."""
    return isinstance(adapter, _Adapter)


class _Adapter(HTTPAdapter):
    """Uses the connections of this module, also through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        # `allow_redirects=False` alone still reads the whole body of a redirect, however large.
        return None


class _TimedReader(io.RawIOBase):
    """Reads from a socket within the time that is left of its exchange."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, exchange: Exchange) -> None:
        self._sock = sock
        self._raw = raw
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._exchange.seconds_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        exchange = _current_exchange()
        if exchange is not None:
            self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), exchange))

    def _read_status(self) -> tuple[str, int, str]:
        # The parent class skips the answer 100 alone, and takes other interim ones (102, 103) for the final answer.
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class _Connection(HTTPConnection):
    """Sends the request of its thread's exchange, signed directly before, in as few writes as possible."""

    response_class = _TimedResponse
    _max_bytes_per_write: int | None = None
    latest_answer: int | None = None
    _used_at = 0.0
    _collected: bytearray | None = None

    def connect(self) -> None:
        exchange = _current_exchange()
        if exchange is not None:
            exchange.join()
        # urllib3 uses the object again for the next connection, on which nothing has been delivered yet.
        self.latest_answer = None
        super().connect()

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> None:
        exchange = _current_exchange()
        if exchange is None:
            super().request(method, url, body, headers, **options)
            return
        exchange.join()
        if self.sock is None:
            self.connect()
        # Both parent classes write head and body separately; `send` collects what they write.
        self._collected = collected = bytearray()
        try:
            super().request(method, url, body, exchange.sign(), **options)
        finally:
            self._collected = None
        self._write(collected, exchange)

    def send(self, data: SupportsRead[bytes] | Iterable[Buffer] | Buffer | str) -> None:
        if self._collected is not None:
            # Transport passes every body as bytes, so `data` is never an iterable.
            self._collected += data  # type: ignore[arg-type]
            return
        self._used_at = time.time()
        super().send(data)

    def _write(self, data: bytearray, exchange: Exchange) -> None:
        self.set_linger(_RESET_ON_CLOSE)
        # By the wall clock, because the monotonic clock may stand still while the instance is frozen.
        self._used_at = time.time()
        rest = memoryview(data)
        while rest:
            exchange.begin_write()
            self.sock.settimeout(exchange.seconds_left())
            rest = rest[self.sock.send(rest[: self._max_bytes_per_write]) :]

    def set_linger(self, option: bytes) -> None:
        """Choose how closing the connection ends it. The kernel does so even if the process is killed."""
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)

    def note_answer(self) -> None:
        """Count from now on how long the connection is idle, as the server does after its answer.

        Not after an exchange in which the instance may have been frozen: then the answer may be old.
        """
        now = time.time()
        if abs(now - self._used_at) < IDLE_SECONDS:
            self._used_at = now

    @property
    def is_connected(self) -> bool:
        exchange = _current_exchange()
        most = IDLE_SECONDS if exchange is None else min(IDLE_SECONDS, exchange.max_idle_seconds)
        return super().is_connected and abs(time.time() - self._used_at) < most


class _TlsConnection(_Connection, HTTPSConnection):
    """Verifies with the authorities that all connections share, unless it does not verify or goes through a proxy."""

    _max_bytes_per_write = _TLS_RECORD_BYTES

    def connect(self) -> None:
        is_required = resolve_cert_reqs(self.cert_reqs) == ssl.CERT_REQUIRED
        if is_required and self.ca_certs and self.ssl_context is None and self.proxy is None:
            self.ssl_context, self.ca_certs = _load_authorities(self.ca_certs), None
        super().connect()


_contexts: dict[str, ssl.SSLContext] = {}
_contexts_lock = threading.Lock()


def _load_authorities(path: str) -> ssl.SSLContext:
    """Return the context that trusts the authorities in the file `path`. All connections share it.

    Loading the file takes 19 ms of CPU. urllib3 does that for every connection: three times in the first message of
    an instance, and up to 48 times in its first batch.
    """
    with _contexts_lock:
        if path not in _contexts:
            context = create_urllib3_context()
            try:
                context.load_verify_locations(path)
            except OSError as exc:
                raise SSLError(exc) from exc
            context.set_alpn_protocols(ALPN_PROTOCOLS)
            # urllib3 sets the same protocols for each connection. OpenSSL would free the old ones, which another
            # thread may be copying, because Python releases its lock there.
            context.set_alpn_protocols = lambda _: None  # type: ignore[assignment, method-assign]
            _contexts[path] = context
        return _contexts[path]


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def _put_conn(self, conn: Any) -> None:
        exchange = _current_exchange()
        if conn is None or exchange is None:
            super()._put_conn(conn)
        else:
            exchange.hand_back(conn, self._put_used)

    def _put_used(self, conn: _Connection) -> None:
        # An open connection is returned only after its whole answer was read. After this call another thread may
        # use it, so this is the last moment at which it can be set to close normally again.
        conn.note_answer()
        with contextlib.suppress(OSError):
            conn.set_linger(_CLOSE_NORMALLY)
        super()._put_conn(conn)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _current_exchange() -> Exchange | None:
    exchange: Exchange | None = getattr(_thread, "exchange", None)
    return exchange
