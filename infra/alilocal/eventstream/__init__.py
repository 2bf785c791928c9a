"""EventBridge's event streams: they take messages from a queue, call a function, retry, and give up in the end.

`stream.py` decides what is delivered when, and `event.py` writes the events. A call and its result are a `Delivery`
(`alilocal.core.delivery`).
"""

from __future__ import annotations

from alilocal.core.delivery import Delivery
from alilocal.eventstream.stream import EventStream

__all__ = ["Delivery", "EventStream"]
