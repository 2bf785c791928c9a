"""What the services of one cloud share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from alilocal.core.clock import Changes, CloudClock
from alilocal.core.credentials import Credentials
from alilocal.core.ids import Ids
from alilocal.core.requestlog import Notes
from alilocal.core.switches import Switches

_KEPT = 1000
S = TypeVar("S", bound=Switches, covariant=True)


@dataclass(frozen=True)
class Sent:
    """A message that was put into a queue; `time` is in seconds since the epoch.

    `expired_at` is the time at which its queue deleted it at the end of its retention period, or None.
    """

    queue: str
    message_id: str
    body: str = field(repr=False)
    time: float
    expired_at: float | None = None


class Journal:
    """The newest 1,000 messages of each queue: `len`, and iteration, oldest first.

    Each queue has its own, so that messages which a function sends to itself do not displace those of a user.
    """

    def __init__(self) -> None:
        self._by_queue: dict[str, deque[Sent]] = {}

    def add(self, sent: Sent) -> None:
        """Add a message."""
        self._by_queue.setdefault(sent.queue, deque(maxlen=_KEPT)).append(sent)

    def mark_expired(self, queue: str, message_ids: Collection[str], now: float) -> None:
        """Record that a queue deleted messages because their retention period was over."""
        kept = self._by_queue.get(queue, deque())
        for place, one in enumerate(kept):
            if one.message_id in message_ids:
                kept[place] = replace(one, expired_at=now)

    def of(self, queue: str) -> list[Sent]:
        """Return the messages of a queue, oldest first."""
        return list(self._by_queue.get(queue, ()))

    def replace(self, messages: Iterable[Sent]) -> None:
        """Replace all messages."""
        self._by_queue.clear()
        for one in messages:
            self.add(one)

    def __iter__(self) -> Iterator[Sent]:
        every = [one for kept in self._by_queue.values() for one in kept]
        return iter(sorted(every, key=lambda one: one.time))

    def __len__(self) -> int:
        return sum(map(len, self._by_queue.values()))


@dataclass(frozen=True)
class World(Generic[S]):
    """One account in one region. The type parameter names the switches that a service uses.

    `changed` is the lock of all state, and is notified of every change that a thread may wait for.
    """

    region: str
    account_id: str
    clock: CloudClock
    ids: Ids
    behaviour: S
    credentials: Credentials
    changed: Changes
    notes: Notes
    call_function: Callable[[str, bytes], bool]
    """Call a function asynchronously; returns False if there is none of that name."""
    journal: Journal = field(default_factory=Journal)
    """The newest messages that were put into queues."""
