"""The local cloud on a port."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

from alilocal.cloud import LocalCloud
from alilocal.core.http import Broken, Request, Response, Stalled

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_BODY_BYTES = 8 * 1024 * 1024
_IDLE_SECONDS = 60
_STOP_SECONDS = 5
_POLL_SECONDS = 0.05

_log = logging.getLogger("alilocal")


class Server:
    """A cloud that answers on a port until closed; a context manager.

    Closing ends long polls, stalled answers and idle connections at once. The cloud itself stays usable.
    """

    def __init__(self, host: str, port: int, cloud: LocalCloud) -> None:
        """Raises OSError if the port cannot be had."""
        self.cloud = cloud
        self._http = _HttpServer((host, port), cloud)
        self.port: int = self._http.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_SECONDS,), name="alilocal", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering; idempotent."""
        if self._http.closing:
            return
        self._http.shutdown()
        self._thread.join()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(host: str = "127.0.0.1", port: int = 0, cloud: LocalCloud | None = None) -> Server:
    """Put `cloud`, or a new one, on `port` of `host`; 0 takes a free port.

    Raises OSError if the port cannot be had. Whoever reaches the port can do everything: the credentials are
    well known, so leave `host` a loopback address.
    """
    return Server(host, port, cloud or LocalCloud())


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], cloud: LocalCloud) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.cloud = cloud
        self.closing = False
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the machine's full name, which may take seconds without a network.
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Answer a connection in a thread of its own, known before it runs so that closing finds it."""
        if not isinstance(request, socket.socket):
            return
        thread = threading.Thread(target=self._answer, args=(request, client_address), daemon=True)
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def _answer(self, connection: socket.socket, client_address: object) -> None:
        try:
            self.process_request_thread(connection, client_address)
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        # No half-close first: a connection to be reset must not end politely.
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        _log.debug("connection ended", exc_info=True)

    def close(self) -> None:
        """End every connection and wait for its thread."""
        self.closing = True
        with self.cloud.changed:
            self.cloud.changed.notify_all()
        with self._lock:
            open_now = dict(self._connections)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_now.values():
            thread.join(_STOP_SECONDS)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: _HttpServer

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
        return self.server.closing

    def _handle(self, request: Request) -> Response:
        try:
            return self.server.cloud.handle(request)
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
            with self.server.cloud.changed:
                if not self.server.closing:
                    self.server.cloud.changed.wait(seconds)
            if self.server.closing:
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
