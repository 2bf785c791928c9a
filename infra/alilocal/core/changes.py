"""The lock of a cloud's state, which counts its changes."""

from __future__ import annotations

import threading


class Changes(threading.Condition):
    """Held while state is read or changed, notified of every change.

    `count` grows with each; `closed` says that nobody is to wait for another.
    """

    def __init__(self) -> None:
        super().__init__(threading.RLock())
        self.count = 0
        self.closed = False

    def notify_all(self) -> None:
        self.count += 1
        super().notify_all()
