"""A loopback server and a transport whose every answer is scripted, and a clock whose waits take no real time."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Request, Response, Transport
from hpoq.errors import CallError
from hpoq.testing import FakeClock
from support.clock import ShiftedClock

Answerer = Callable[[socket.socket, bytes], bool | None]


def http(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of an answer."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def close_hard(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


@dataclass
class Server:
    """Answers the n-th request on loopback by the n-th step of its script, later ones by the last.

    A step is the bytes to answer with, or a function of the connection and the raw request that returns True
    to keep the connection.
    """

    script: list[bytes | Answerer]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def run(self) -> None:
        self._spawn(self._accept)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (request := read_request(connection)) is not None:
                with self._lock:
                    step = self.script[min(len(self.requests), len(self.script) - 1)]
                    self.requests.append(request)
                if isinstance(step, bytes):
                    connection.sendall(step)
                elif not step(connection, request):
                    return

    def close(self) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class ScriptedTransport:
    """Takes the place of a `Transport`: gives the n-th request the n-th step of its script, later ones the last.

    A step is an answer, or an error to raise. `sent` has each request, the headers that it was signed with, and the
    options it was sent with.
    """

    def __init__(self, *script: Response | CallError) -> None:
        self.clock = FakeClock()
        self.sent: list[tuple[Request, Mapping[str, str], dict[str, object]]] = []
        self._script = script

    def send(self, request: Request, **options: object) -> Response:
        step = self._script[min(len(self.sent), len(self._script) - 1)]
        self.sent.append((request, request.sign(), options))
        if isinstance(step, CallError):
            raise step
        return step


@pytest.fixture
def script() -> type[ScriptedTransport]:
    return ScriptedTransport


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*script: bytes | Answerer) -> Server:
        server = Server(list(script))
        servers.append(server)
        server.run()
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def transport(clock: ShiftedClock) -> Iterator[Transport]:
    with new_session() as session:
        yield Transport(session, clock)


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("LTAI-EXAMPLE-ID", "CANARY-SECRET", "CANARY-TOKEN")


@pytest.fixture
def answer() -> Callable[..., bytes]:
    return http


@pytest.fixture
def reset() -> Callable[[socket.socket], None]:
    return close_hard
