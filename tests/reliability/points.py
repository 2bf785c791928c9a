"""The effects of an invocation on the outside, counted; at the chosen one something happens."""

import threading
from collections import Counter

from structlog.contextvars import get_contextvars

EVENT = "event"
"""Stands for the message id of an effect that is not one message's own, such as a look-ahead."""


class Points:
    """Calls `action` at the point `at`, unless its name is one of `spared`; 0 is never reached.

    `at` is the number of a point among all, or a pair of a message id and a number among that message's points.
    The messages of one event run concurrently, so only the second kind is the same point in every run.
    """

    def __init__(self, at, action, spared=()):
        self.at = at
        self.action = action
        self.spared = spared
        self.names = []
        self.reached = []
        self._counts = Counter()
        self._lock = threading.Lock()

    def reach(self, name):
        message_id = get_contextvars().get("message_id") or EVENT
        with self._lock:
            self.names.append(name)
            self._counts[message_id] += 1
            place = (message_id, self._counts[message_id])
            self.reached.append((*place, name))
            is_chosen = self.at in (len(self.names), place) and name not in self.spared
        if is_chosen:
            self.action()

    def around(self, name, effect):
        def counted(*args, **kwargs):
            self.reach(f"before {name}")
            answer = effect(*args, **kwargs)
            self.reach(f"after {name}")
            return answer

        return counted

    def around_call(self, send, request, **options):
        """Make a service call such an effect."""
        return self.around("call", send)(request, **options)

    def around_store(self, store):
        """Make every write of `store` such an effect."""
        for method in ("insert", "replace"):
            setattr(store, method, self.around(f"store.{method}", getattr(store, method)))
        return store
