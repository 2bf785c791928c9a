"""What the services of one cloud share."""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.behaviour import Behaviour
from alilocal.core.changes import Changes
from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credentials
from alilocal.core.ids import Ids


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
