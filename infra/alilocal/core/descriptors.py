"""Waiting for file descriptors. `select.select` refuses those from 1024 on, which a process with many clients has."""

from __future__ import annotations

import select
from collections.abc import Iterable

# Windows has no `poll`; modules that wait can be imported there.
READ = select.POLLIN if hasattr(select, "POLLIN") else 1
WRITE = select.POLLOUT if hasattr(select, "POLLOUT") else 4


def wait_for(descriptors: Iterable[int], event: int, seconds: float | None) -> set[int]:
    """Return the descriptors at which `event`, the other side's end or an error occurs within `seconds`."""
    poller = select.poll()
    for one in descriptors:
        poller.register(one, event)
    return {one for one, _ in poller.poll(None if seconds is None else seconds * 1000)}
