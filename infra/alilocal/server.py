"""The local cloud on a port, and the signals that end a command that serves it."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from alilocal.connections import Connections
from alilocal.localcloud import LocalCloud

if TYPE_CHECKING:
    from typing_extensions import Self

_POLL_SECONDS = 0.05
_SIGNAL_POLL_SECONDS = 0.2


class Server:
    """A cloud that answers on a port until it is closed; a context manager.

    Closing ends long polls, stalled answers and idle connections at once. A cloud that was passed in stays usable. A
    cloud that was made for the server is closed with it, so that no function's instance and no event stream remains.
    """

    def __init__(self, host: str, port: int, cloud: LocalCloud | None = None) -> None:
        """Start answering; raises OSError if the port is not available, and ValueError for an unsafe host."""
        self.cloud = cloud or LocalCloud()
        self._closes_cloud = cloud is None
        if self.cloud.runs_trials and not _is_loopback(host):
            raise ValueError(
                f"a cloud that runs trials cannot listen on {host}, because everyone who reaches it could start "
                "processes. Listen on 127.0.0.1."
            )
        self._connections = Connections(self.cloud, own_host_only=self.cloud.runs_trials)
        self._http = _Listener((host, port), self._connections)
        self.port: int = self._http.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_SECONDS,), name="alilocal", daemon=True
        )
        self._thread.start()
        self.cloud.url = self.url

    def close(self) -> None:
        """Stop answering; idempotent."""
        if self._connections.closing:
            return
        # In a process that was forked the thread does not run, and waiting for it would never end.
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._connections.close()
        self._http.server_close()
        self.cloud.url = None
        if self._closes_cloud:
            self.cloud.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def serve(host: str = "127.0.0.1", port: int = 0, cloud: LocalCloud | None = None) -> Server:
    """Put `cloud`, or a new one, on `port` of `host`; 0 takes a free port.

    Everyone who reaches the port can do everything, because the credentials are public: keep `host` a loopback
    address. Raises OSError if the port is not available, and ValueError if the cloud runs trials and `host` is not
    loopback.
    """
    return Server(host, port, cloud)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], connections: Connections) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.connections = connections
        super().__init__(address, BaseHTTPRequestHandler)

    def server_bind(self) -> None:
        # HTTPServer would look up the machine's full name, which can take seconds without a network.
        # TCPServer itself sets SO_REUSEADDR, without which the port stays blocked for a minute after the last run.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,  # noqa: ARG002
    ) -> None:
        if isinstance(request, socket.socket):
            self.connections.serve(request)


class EndSignal:
    """Catches SIGINT and SIGTERM from now on; must be made in the main thread.

    A handler runs between any two steps of the main thread. `threading.Event.set` would wait there for a lock that
    the interrupted thread holds while it begins to wait; `SimpleQueue.put` may be called at any moment.
    """

    def __init__(self) -> None:
        self._arrived = SimpleQueue[int]()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda arrived, _: self._arrived.put(arrived))

    def wait(self) -> int:
        """Wait in the main thread until one of the signals arrives, and return its number."""
        # With a time limit, because a signal that arrives just before the wait begins would not end it.
        while True:
            with contextlib.suppress(Empty):
                return self._arrived.get(timeout=_SIGNAL_POLL_SECONDS)
