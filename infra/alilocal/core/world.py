"""What the services of one cloud share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from alilocal.core.behaviour import Behaviour
from alilocal.core.changes import Changes
from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credentials
from alilocal.core.ids import Ids
from alilocal.core.notes import Notes


@dataclass(frozen=True)
class Sent:
    """A message that was put into a queue; `time` is in seconds since the epoch."""

    queue: str
    message_id: str
    body: str = field(repr=False)
    time: float


@dataclass(frozen=True)
class World:
    """One account in one region.

    `changed` is the lock of all state and is notified of every change that someone may wait for.
    """

    region: str
    account_id: str
    clock: CloudClock
    ids: Ids
    behaviour: Behaviour
    credentials: Credentials
    changed: Changes
    notes: Notes
    call_function: Callable[[str, bytes], bool]
    """Has a function called asynchronously; False if there is none of that name."""
    journal: deque[Sent] = field(default_factory=lambda: deque(maxlen=1000))
    """The newest messages that were put into queues, oldest first."""
