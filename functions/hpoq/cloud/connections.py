"""Pooled connections that know whether a request has left, and that end in time.

`requests` reports a failed handshake and a reset after sending by the same exceptions, bounds each read but
not their sum, and does not bound name look-up at all. Here the connection itself notes the first byte it
sends, refuses to begin once it is too late, and counts one budget down over all reads of an answer.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import SupportsRead
    from typing_extensions import Buffer

IDLE_SECONDS = 20.0
"""A connection that lay idle longer is opened anew: the gateway closes its own after 25 seconds, and a frozen
instance does not see that it did."""

_thread = threading.local()


class TooLate(Exception):
    """The moment by which the request had to begin has passed; nothing was sent."""


class Exchange:
    """One request under way on this thread.

    `left` says how many seconds there are until the request must have ended; with fewer than `least_seconds`
    it is not begun. `sent` is None until a connection of this module takes part, then False, and True from the
    first byte on.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        read_seconds: float,
        left: Callable[[], float],
        least_seconds: float,
    ) -> None:
        self.sent: bool | None = None
        self._monotonic = monotonic
        self._read_seconds = read_seconds
        self._left = left
        self._least_seconds = least_seconds
        self._deadline: float | None = None

    def take_part(self) -> None:
        if self.sent is None:
            self.sent = False

    def begin(self) -> None:
        """To be called before each byte that leaves; raises TooLate if it would be the first, too late."""
        if self.sent:
            return
        self.sent = False
        left = self._left()
        if left < self._least_seconds:
            raise TooLate
        self.sent = True
        self._deadline = self._monotonic() + min(self._read_seconds, left)

    def seconds_left(self) -> float:
        """For reading the rest of the answer; raises TimeoutError if nothing is left."""
        if self._deadline is None:
            return self._read_seconds
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the answer took longer than the read time-out")
        return left

    @contextlib.contextmanager
    def on_this_thread(self) -> Iterator[Exchange]:
        _thread.exchange = self
        try:
            yield self
        finally:
            _thread.exchange = None


def new_session(pool_size: int = 16) -> requests.Session:
    """A session to be kept for the life of the instance: pooled, without redirects, retries, proxies from the
    environment, netrc or cookies, and always verifying TLS."""
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        adapter = HTTPAdapter(pool_connections=pool_size, pool_maxsize=pool_size, max_retries=0)
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        session.mount(scheme, adapter)
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        # `allow_redirects=False` alone still reads the whole body of a redirect, however large.
        return None


class _TimedReader(io.RawIOBase):
    """Reads a socket within what is left of its exchange."""

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
        exchange = _current()
        if exchange is not None:
            self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), exchange))


class _Connection(HTTPConnection):
    """Notes on the exchange of its thread what it does."""

    response_class = _TimedResponse
    _used_at = 0.0

    def connect(self) -> None:
        exchange = _current()
        if exchange is not None:
            exchange.take_part()
        super().connect()

    def send(self, data: SupportsRead[bytes] | Iterable[Buffer] | Buffer | str) -> None:
        if self.sock is None:
            self.connect()
        exchange = _current()
        if exchange is not None:
            exchange.begin()
        # Wall-clock time: the monotonic clock may stand still while the instance is frozen.
        self._used_at = time.time()
        super().send(data)

    @property
    def is_connected(self) -> bool:
        return super().is_connected and abs(time.time() - self._used_at) < IDLE_SECONDS


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _current() -> Exchange | None:
    exchange: Exchange | None = getattr(_thread, "exchange", None)
    return exchange
