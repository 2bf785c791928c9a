"""The pace of an instance: how fast it may create experiments, learned from the results of its creates.

Instances share a quota but no state. Each keeps an interval between two creates: a throttled create lengthens it, and
each created experiment shortens it a little, by more the longer none was throttled and the longer the interval is.
All instances meet the same share of throttled creates, about one in ten, and so they find the quota together, however
many they are and however it changes. That share is the price of noticing that more of the quota is free.

    open ──throttled──▶ spaced ──throttled again──▶ spaced twice as much, up to an eighth of the outage
     ▲                  │   ▲                              │
     └─ none throttled ─┘   └─ created: soon as before ◀───┘
        for a long time

A service that cannot be reached is treated as one that throttles. So are several unknown ends in a row; a single one
may be the request's own. Nothing is limited before the first throttled create, except that a new instance sends ten
creates a second until one is created. An instance that is replaced forgets what it learned.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from hpoq.clock import Clock
from hpoq.observability.logs import get_logger

# In an outage the interval grows with its length, so that a long one costs few creates, and the end of a short one
# is noticed soon.
_LONGEST_SECONDS = 900.0
_LONGEST_AT_FIRST_SECONDS = 100.0
_PART_OF_OUTAGE = 1 / 8
# The seconds between two creates of an instance that has created nothing yet. Without them, each new instance of a
# burst has a whole batch throttled.
_COLD_SECONDS = 0.1
# The first interval of an instance that has created nothing lately.
_FIRST_SECONDS = 1.0
_LATELY_SECONDS = 10.0
_LENGTHEN = 1.25
_LENGTHEN_AGAIN = 2.0
# Divide the interval by this for each create until the first throttled one; the second if it is long.
_SEARCH = 1.25
_SEARCH_COARSELY = 2.0
_LONG_SECONDS = 10.0
# Each create shortens the interval by this part of it. An interval of more than a few seconds is shortened by a
# larger part, so that instances that had bad luck catch up: with similar intervals, the last batches end sooner.
_SHORTEN = 0.0005
_SHORTEN_MORE_SECONDS = 2.4
_UNEVENNESS = 2.0
# After so many creates in a row, each shortens it twice as much.
_RUN = 4
# Requests that the service fails on must not slow down the others.
_UNKNOWN_ENDS = 4
# The interval is forgotten once no create was throttled for so many of them, and for so long.
_FORGET_INTERVALS = 64
_FORGET_SECONDS = 600.0
# While a message waits, its turn may move to an earlier time.
_LONGEST_NAP_SECONDS = 10.0
_SHORTEST_NAP_SECONDS = 0.001


class Pace:
    """The pace of one instance. Safe for threads. Times are those of the clock's `monotonic`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._interval = 0.0
        # The interval to return to when the service takes creates again; 0 if it is not known.
        self._usual = 0.0
        # Nothing was created yet, or not since the interval was forgotten.
        self._is_cold = True
        self._next_turn = -math.inf
        # Creates in a row, or throttled ones in a row if it is negative.
        self._run = 0
        self._unknown_ends = 0
        self._slowed_at = -math.inf
        self._failing_since = -math.inf
        self._created_at = deque([clock.monotonic()], maxlen=64)

    @property
    def interval(self) -> float:
        """The seconds between two creates; 0 if nothing is limited."""
        return self._interval

    def idle_seconds(self) -> float:
        """Return the seconds since this instance last created something, or since its cold start."""
        return self._clock.monotonic() - self._created_at[-1]

    def take_turn(self) -> bool:
        """Return whether a create may be sent now. If so, the next one may be sent after the interval."""
        with self._lock:
            now = self._clock.monotonic()
            if self._interval and now - self._slowed_at > max(
                _FORGET_SECONDS, _FORGET_INTERVALS * self._interval
            ):
                self._interval = self._usual = 0.0
                self._is_cold = True
            if now < self._next_turn:
                return False
            if self._interval:
                self._next_turn = now + self._spread(self._interval)
            elif self._is_cold:
                self._next_turn = now + _COLD_SECONDS
            return True

    def wait_for_turn(self, ends_at: float) -> bool:
        """Wait until a create may be sent; return False at `ends_at` if there is no turn before.

        It never returns False early. A message that gave up at once would only make room for the next one of the
        backlog, which would not get a turn either.
        """
        while not self.take_turn():
            now = self._clock.monotonic()
            if now >= ends_at:
                return False
            nap = max(_SHORTEST_NAP_SECONDS, min(self._next_turn - now, _LONGEST_NAP_SECONDS))
            self._clock.sleep(min(nap, ends_at - now))
        return True

    def note_created(self) -> None:
        """Shorten the interval: the service created an experiment."""
        with self._lock:
            now = self._clock.monotonic()
            self._created_at.append(now)
            self._unknown_ends = 0
            if self._is_cold and not self._interval:
                self._next_turn = now
            self._is_cold = False
            self._run = max(self._run, 0) + 1
            if self._usual == 0:
                self._interval /= _SEARCH if self._interval < _LONG_SECONDS else _SEARCH_COARSELY
            elif self._interval > self._usual:
                # Not at once: if the quota has become smaller, the usual interval is too short.
                self._interval = self._usual * (self._interval / self._usual) ** (1 / 3)
                if self._interval < _LENGTHEN * self._usual:
                    self._interval = self._usual
                self._next_turn = min(self._next_turn, now + self._spread(self._interval))
            else:
                part = _SHORTEN * (1 + (self._interval / _SHORTEN_MORE_SECONDS) ** _UNEVENNESS)
                self._interval = self._usual = self._interval / (1 + part * (1 + self._run / _RUN))

    def note_throttled(self, sent_at: float, retry_after: float | None = None) -> None:
        """Lengthen the interval: the service throttled a create that was sent at `sent_at`, or was not reached.

        Creates that were under way together are throttled together: that is one sign, not one per create.
        """
        with self._lock:
            now = self._clock.monotonic()
            if sent_at < self._slowed_at:
                return
            self._slowed_at = now
            if self._run >= 0:
                self._failing_since = now
            if self._interval == 0:
                self._interval = self._measure(now) or _FIRST_SECONDS
            elif self._run > 0:
                self._interval = self._usual = self._interval * _LENGTHEN
            else:
                longest = max(
                    _LONGEST_AT_FIRST_SECONDS, self._usual, (now - self._failing_since) * _PART_OF_OUTAGE
                )
                self._interval = min(self._interval * _LENGTHEN_AGAIN, longest, _LONGEST_SECONDS)
            self._run = -1
            wait = min(max(self._spread(self._interval), retry_after or 0.0), _LONGEST_SECONDS)
            self._next_turn = max(self._next_turn, now + wait)
            interval = self._interval
        get_logger().warning("service.throttled", interval_seconds=round(interval, 2))

    def note_unknown_end(self, sent_at: float) -> None:
        """Note that a create which was sent at `sent_at` has an unknown end."""
        with self._lock:
            self._unknown_ends += 1
            is_sign = self._unknown_ends >= _UNKNOWN_ENDS
        if is_sign:
            self.note_throttled(sent_at)

    def _measure(self, now: float) -> float | None:
        """Return the interval of the last creates, and note it as the usual one; None if there were few."""
        lately = [moment for moment in self._created_at if moment > now - _LATELY_SECONDS]
        if len(lately) < _RUN:
            return None
        self._usual = (now - lately[0]) / (len(lately) - 1)
        return self._usual

    def _spread(self, seconds: float) -> float:
        """Return a random time around `seconds`, so that instances do not send together."""
        return seconds * (0.5 + self._clock.random())
