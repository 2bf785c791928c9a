"""Ports of this machine at which nothing answers until the test starts a server there."""

import contextlib
import socket
import sys


@contextlib.contextmanager
def reserve_port():
    """Yield a port of 127.0.0.1 that only a server that names it can use.

    A socket that does not listen is bound to it, so that the system does not give the port to others who ask for any
    free one: to tests in other workers, or to connections.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        if sys.platform != "linux":
            # Elsewhere a second socket cannot be bound to it.
            holder.close()
        yield port


def is_answering(port, process):
    """Return whether the server on `port` accepts connections; fail if its process has ended."""
    assert process.poll() is None, "the server ended"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
