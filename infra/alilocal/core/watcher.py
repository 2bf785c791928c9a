"""A thread that carries out what is due: events for functions, timers, and new messages of a topic."""

from __future__ import annotations

import threading
from collections.abc import Callable

from alilocal.core.clock import Changes, CloudClock


class Watcher:
    """Carries out what is due at each change of the cloud, in its own thread, until it is stopped."""

    def __init__(self, changed: Changes, clock: CloudClock) -> None:
        self._changed = changed
        self._clock = clock
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._watch, name="alilocal-watcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, and wait for a running call."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def step(self) -> bool:
        """Do one thing that is due, in this thread, and return False if nothing is due."""
        with self._changed:
            act = self._due()
        if act is None:
            return False
        act()
        return True

    def _watch(self) -> None:
        while True:
            with self._changed:
                act = None
                while act is None:
                    if self._stopping or self._changed.closed:
                        return
                    act = self._due()
                    if act is None:
                        self._clock.pause(self._seconds())
            act()

    def _due(self) -> Callable[[], None] | None:
        """Return what is to be done now, without the lock, or None if nothing is due. Called with the lock."""
        raise NotImplementedError

    def _seconds(self) -> float | None:
        """Return the time until something may be due, or None if nothing will be before the cloud changes."""
        return None
