"""HTTP/1.1 on sockets, in front of a cloud: a thread for each connection."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

from alilocal.core.http import Broken, Request, Response, Stalled

if TYPE_CHECKING:
    from socketserver import BaseServer

    from typing_extensions import Self

    from alilocal.cloud import LocalCloud

# A snapshot comes as one body.
MOST_BODY_BYTES = 64 * 1024 * 1024
_IDLE_SECONDS = 60
_STOP_SECONDS = 5

_log = logging.getLogger("alilocal")


class _Portless(socket.socket):
    """A socket that takes the options of TCP, which clients set on theirs, for what they are here: nothing."""

    def setsockopt(self, *options: Any) -> None:
        if options[0] != socket.IPPROTO_TCP:
            super().setsockopt(*options)


class Connections:
    """The open connections to a cloud; a context manager that ends them."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.closing = False
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Answer what comes over `connection`, in a thread of its own."""
        thread = threading.Thread(target=self._answer, args=(connection,), name="alilocal", daemon=True)
        # Known before it runs, so that closing finds it.
        with self._lock:
            self._open[connection] = thread
        thread.start()

    def pair(self) -> socket.socket:
        """The caller's end of a new connection that no port is needed for."""
        own, callers = socket.socketpair()
        self.serve(own)
        return _Portless(fileno=callers.detach())

    def close(self) -> None:
        """End every connection, also those that wait or stall, and wait for its thread; idempotent."""
        self.closing = True
        with self.cloud.changed:
            self.cloud.changed.notify_all()
        with self._lock:
            open_now = dict(self._open)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_now.values():
            thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _answer(self, connection: socket.socket) -> None:
        try:
            # The handler needs no more of a server than this.
            _Handler(connection, ("local", 0), cast("BaseServer", self))
        # A connection may end in any way, at any moment.
        except Exception:  # noqa: BLE001
            _log.debug("connection ended", exc_info=True)
        finally:
            # Without a half-close first: a connection to be reset must not end politely.
            connection.close()
            with self._lock:
                self._open.pop(connection, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def setup(self) -> None:
        super().setup()
        # A pair of sockets may know no TCP, whose delay would cost 40 ms an answer.
        if self.connection.family in (socket.AF_INET, socket.AF_INET6):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def _connections(self) -> Connections:
        return cast("Connections", self.server)

    def handle_one_request(self) -> None:
        """Read a request, hand it to the cloud, write the answer."""
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or len(self.raw_requestline) > 65_536 or not self.parse_request():
            self.close_connection = True
            return
        body = self._read_body()
        if body is None:
            return
        # `self.path` is not what was sent: slashes at its start are merged.
        target = self.requestline.split()[1]
        headers = tuple((name, str(value)) for name, value in self.headers.items())
        request = Request(self.command, target, headers, body, self._is_abandoned)
        try:
            self._write(self._handle(request))
        except Broken as broken:
            self._break(broken)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        _log.debug(format, *args)

    def _is_abandoned(self) -> bool:
        return self._connections.closing

    def _handle(self, request: Request) -> Response:
        try:
            return self._connections.cloud.handle(request)
        except Broken:
            raise
        # Whatever it is must not look like a lost connection.
        except Exception:  # noqa: BLE001
            _log.exception("%s %s", request.method, request.path)
            return Response(500, (("Content-Type", "text/plain"),), b"The local cloud failed; see its log.\n")

    def _read_body(self) -> bytes | None:
        """The whole body, so that the next request of the connection is read in step; None if refused."""
        if self.headers.get("Transfer-Encoding"):
            self._refuse(411)
            return None
        text = self.headers.get("Content-Length") or "0"
        if not (text.isascii() and text.isdigit()):
            self._refuse(400)
            return None
        if len(text) > 12 or int(text) > MOST_BODY_BYTES:
            self._refuse(413)
            return None
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: int) -> None:
        self.close_connection = True
        self._write(Response(status, (("Content-Type", "text/plain"), ("Connection", "close"))))

    def _write(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in response.sent_headers]
        lines += ["", ""]
        body = b"" if self.command == "HEAD" else response.sent_body
        head = "\r\n".join(lines).encode("latin-1", "replace")
        if response.drip is None:
            self.wfile.write(head + body)
        else:
            self._drip(head, body, response.drip)
        if response.cut is not None:
            self.close_connection = True

    def _drip(self, head: bytes, body: bytes, seconds: float) -> None:
        """Write a byte at a time, until the caller leaves or the server closes."""
        self.wfile.write(head)
        for byte in body:
            with self._connections.cloud.changed:
                if not self._connections.closing:
                    self._connections.cloud.changed.wait(seconds)
            if self._connections.closing:
                return
            self.wfile.write(bytes([byte]))

    def _break(self, broken: Broken) -> None:
        self.close_connection = True
        if isinstance(broken, Stalled):
            self._hold(broken.seconds)
            return
        # Lingering for no time makes the close a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _hold(self, seconds: float | None) -> None:
        """Keep the connection until the caller leaves, the server closes or `seconds` are over."""
        self.connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            self.connection.recv(1, socket.MSG_PEEK)
