"""The end of a command that runs until a signal: Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from queue import Empty, SimpleQueue

_POLL_SECONDS = 0.2


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
                return self._arrived.get(timeout=_POLL_SECONDS)
