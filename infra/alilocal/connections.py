"""HTTP/1.1 on sockets in front of a cloud, with one thread per connection.

`server.py` gets its sockets from a port, `takeover.py` from pairs of connected sockets.
"""

from __future__ import annotations

import _socket
import contextlib
import http.client
import io
import logging
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

from alilocal.core.descriptors import READ, wait_for
from alilocal.core.http import Broken, Request, Response, Stalled, is_own_host

if TYPE_CHECKING:
    from io import BufferedReader
    from socketserver import BaseServer

    from typing_extensions import Self

    from alilocal.cloud import Cloud

# A snapshot is loaded as one body.
MOST_BODY_BYTES = 64 * 1024 * 1024
_IDLE_SECONDS = 60
_STOP_SECONDS = 5
_MOST_LINE_BYTES = 65_536
_MOST_HEADERS = 100
_MOST_TRAILERS = 100
_MOST_EMPTY_LINES = 8
_TLS_HANDSHAKE = b"\x16"
_SKIP_SECONDS = 1
_MOST_SKIPPED = 64
_PROBE_SECONDS = 0.02
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*(.*)", re.DOTALL)
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*\r?\n")
# A header that is folded into several lines, which old clients still send.
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_FOLDED_LINE = re.compile(rb"[ \t][^\0\r\n]*\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?\r?\n", re.DOTALL)

_log = logging.getLogger("alilocal")


def _find_socket() -> type[socket.socket]:
    """Return Python's own class, which HTTPretty replaces by one that answers in place of servers.

    gevent's class is used where gevent has replaced it: its threads are greenlets, which must not block each other.
    """
    if socket.socket.__module__.startswith("gevent."):
        return socket.socket
    derived: list[type] = _socket.socket.__subclasses__()
    return next(kind for kind in derived if (kind.__module__, kind.__name__) == ("socket", "socket"))


OWN_SOCKET = _find_socket()


class LocalSocket(OWN_SOCKET):  # type: ignore[valid-type, misc]
    """The caller's end of a connection that needs no port; `owner` serves the other end.

    It ignores TCP options. Clients set them, but a pair of local sockets does not support them.
    """

    owner: Connections

    def setsockopt(self, *options: Any) -> None:
        if options[0] != socket.IPPROTO_TCP:
            super().setsockopt(*options)


class Connections:
    """The open connections to a cloud. Its context manager closes them.

    With `own_host_only`, a request for another host than this machine is refused.
    """

    def __init__(self, cloud: Cloud, *, own_host_only: bool = False) -> None:
        self.cloud = cloud
        self.own_host_only = own_host_only
        self.closing = False
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests on `connection` in a thread of its own."""
        thread = threading.Thread(target=self._answer, args=(connection,), name="alilocal", daemon=True)
        # Registered before it runs, so that `close` finds it.
        with self._lock:
            self._open[connection] = thread
        thread.start()

    def pair(self) -> LocalSocket:
        """Return the caller's end of a new connection, which needs no port."""
        # Windows has no pair of its own; there socket.py connects two sockets.
        own, callers = getattr(_socket, "socketpair", socket.socketpair)()
        self.serve(OWN_SOCKET(fileno=own.detach()))
        made = LocalSocket(fileno=callers.detach())
        made.owner = self
        return made

    def close(self) -> None:
        """Close all connections, waiting and stalled ones included, and wait for their threads; idempotent."""
        self.closing = True
        with self.cloud.changed:
            self.cloud.changed.notify_all()
        with self._lock:
            open_now = dict(self._open)
        for connection, thread in open_now.items():
            # A process that was forked has no thread for it: there, it would end the connection of its parent.
            if thread.is_alive():
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
            # Of its server, the handler uses only what is in this class.
            _Handler(connection, ("local", 0), cast("BaseServer", self))
        # A connection may end in any way, at any moment.
        except Exception:  # noqa: BLE001
            _log.debug("connection ended", exc_info=True)
        finally:
            # Without `shutdown`, which would turn a reset into an orderly end.
            connection.close()
            with self._lock:
                self._open.pop(connection, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def setup(self) -> None:
        super().setup()
        # The delay of TCP would cost 40 ms per answer. A pair of local sockets has no such option.
        if self.connection.family in (socket.AF_INET, socket.AF_INET6):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def _connections(self) -> Connections:
        return cast("Connections", self.server)

    @property
    def _port(self) -> int | None:
        address = self.connection.getsockname()
        return address[1] if isinstance(address, tuple) else None

    def handle_one_request(self) -> None:
        """Read a request, hand it to the cloud, and write the answer."""
        self.command, self.request_version = "", self.protocol_version
        if cast("BufferedReader", self.rfile).peek(1)[:1] == _TLS_HANDSHAKE:
            # Without an answer both sides would wait until the time-out of one of them.
            _log.warning("a client speaks TLS, which this port does not: use http, not https")
            self._refuse(400)
            return
        self.raw_requestline = self.rfile.readline(_MOST_LINE_BYTES + 1)
        for _ in range(_MOST_EMPTY_LINES):
            # Some clients end a body with an empty line of their own.
            if self.raw_requestline in (b"\r\n", b"\n"):
                self.raw_requestline = self.rfile.readline(_MOST_LINE_BYTES + 1)
        if len(self.raw_requestline) > _MOST_LINE_BYTES:
            self._refuse(414)
            return
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        # The parent compares the whole header, but it is a list, as in `TE, close`.
        options = [one.strip().lower() for one in self.headers.get("Connection", "").split(",")]
        self.close_connection = self.close_connection or "close" in options
        body = self._read_body()
        if body is None:
            return
        # `self.path` differs from what was sent: slashes at its start are merged.
        target = _origin_form(self.requestline.split()[1])
        headers = tuple((name, _FOLD.sub(" ", str(value))) for name, value in self.headers.items())
        request = Request(self.command, target, headers, body, self._is_abandoned, port=self._port)
        try:
            self._write(self._handle(request))
        except Broken as broken:
            self._break(broken)

    def parse_request(self) -> bool:
        """Parse a request whose first line was read, and return False if it is refused.

        The parent regards the headers as complete at the end of the connection and at a line that is not a header.
        The rest of a broken request would then be carried out, or read as the next request.
        """
        if len(self.raw_requestline.split()) != 3:
            self._refuse(400, "the request line must be METHOD TARGET HTTP/1.1")
            return False
        head = self._read_head()
        if head is None:
            return False
        connection, self.rfile = self.rfile, io.BytesIO(head)
        try:
            return super().parse_request()
        finally:
            self.rfile = connection

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse a request that the parent cannot parse, always with a status line and never in HTML."""
        self._refuse(int(code), message or "")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        _log.debug(format, *args)

    def _is_abandoned(self) -> bool:
        """Return whether nobody waits for the answer any more."""
        if self._connections.closing:
            return True
        # Without a wait: `recv` alone waits for the time-out of the connection.
        if not wait_for([self.connection.fileno()], READ, 0):
            return False
        try:
            is_open = self.connection.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return True
        return not is_open and not self._is_reading()

    def _is_reading(self) -> bool:
        """Return whether a caller that sends nothing more still reads, as with a connection closed by half.

        Both look the same until something is sent. HTTP allows an interim answer at any time, and only a caller that
        has left refuses it.
        """
        if self.request_version < "HTTP/1.1":
            return False
        try:
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError:
            return False
        return not wait_for([self.connection.fileno()], 0, _PROBE_SECONDS)

    def _handle(self, request: Request) -> Response:
        if self._connections.own_host_only and not is_own_host(request.header("Host") or ""):
            text = b"The host must be an address or localhost, because requests can start processes.\n"
            return Response(403, (("Content-Type", "text/plain"),), text)
        try:
            return self._connections.cloud.handle(request)
        except Broken:
            raise
        # A defect of the local cloud must not look like a lost connection.
        except Exception:  # noqa: BLE001
            _log.exception("%s %s", request.method, request.path)
            return Response(500, (("Content-Type", "text/plain"),), b"The local cloud failed; see its log.\n")

    def _read_head(self) -> bytes | None:
        """Return the lines of the headers with the empty line at their end, or None if they are refused."""
        lines: list[bytes] = []
        while True:
            line = self.rfile.readline(_MOST_LINE_BYTES + 1)
            if line in (b"\r\n", b"\n"):
                return b"".join([*lines, line])
            if len(line) > _MOST_LINE_BYTES or len(lines) == _MOST_HEADERS:
                self._refuse(431, f"at most {_MOST_HEADERS} headers of {_MOST_LINE_BYTES} bytes")
                return None
            if not _HEADER_LINE.fullmatch(line) and not (lines and _FOLDED_LINE.fullmatch(line)):
                self._refuse(400, "a header is incomplete or invalid")
                return None
            lines.append(line)

    def _read_body(self) -> bytes | None:
        """Return the whole body, or None if it is refused. The next request follows directly after the body."""
        coding = ",".join(self.headers.get_all("Transfer-Encoding", [])).strip().lower()
        if coding:
            # Codings other than `chunked` are not supported: no client of the cloud uses one.
            if coding != "chunked":
                self._refuse(501)
                return None
            # A length does not count then, and may be an attempt to smuggle a request.
            self.close_connection = self.close_connection or "Content-Length" in self.headers
            return self._read_chunks()
        lengths = set(self.headers.get_all("Content-Length", [])) or {"0"}
        text = lengths.pop()
        if lengths or not (text.isascii() and text.isdigit()):
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

    def _read_chunks(self) -> bytes | None:
        """Return the body that is sent in chunks, or None if it is refused; extensions and trailers are ignored."""
        parts: list[bytes] = []
        total = 0
        while True:
            found = _CHUNK_SIZE.fullmatch(self.rfile.readline(_MOST_LINE_BYTES))
            if found is None:
                self._refuse(400)
                return None
            size = int(found[1], 16)
            if size == 0:
                break
            total += size
            if total > MOST_BODY_BYTES:
                self._refuse(413)
                return None
            parts.append(self.rfile.read(size))
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                self._refuse(400)
                return None
        for _ in range(_MOST_TRAILERS):
            line = self.rfile.readline(_MOST_LINE_BYTES)
            if line in (b"\r\n", b"\n"):
                return b"".join(parts)
        self._refuse(400)
        return None

    def _refuse(self, status: int, reason: str = "") -> None:
        self.close_connection = True
        text = f"{reason}\n".encode() if reason else b""
        self._write(Response(status, (("Content-Type", "text/plain; charset=utf-8"),), text))
        self._skip_rest()

    def _skip_rest(self) -> None:
        """Read what the caller still sends: unread bytes would make closing the connection reset it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_SKIP_SECONDS)
            for _ in range(_MOST_SKIPPED):
                if not self.connection.recv(65_536):
                    return

    def _write(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in response.sent_headers]
        if self.close_connection:
            lines.append("Connection: close")
        elif self.request_version < "HTTP/1.1":
            # Without it, a client of HTTP/1.0 that asked for it waits until the connection is closed.
            lines.append("Connection: keep-alive")
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
        """Write one byte at a time, until the caller leaves or the server closes."""
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
        # With a linger time of zero, closing the socket sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _hold(self, seconds: float | None) -> None:
        """Keep the connection open until the caller leaves, the server closes or `seconds` are over."""
        self.connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            self.connection.recv(1, socket.MSG_PEEK)


def _origin_form(target: str) -> str:
    """Return the path and the query of a request target, which a proxy's clients send with scheme and host."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    return found[1] if found[1].startswith("/") else f"/{found[1]}"
