"""EventBridge between a queue and a function: takes messages, calls, retries, gives up."""

from __future__ import annotations

from alilocal.eventstream.delivery import Delivery
from alilocal.eventstream.stream import EventStream

__all__ = ["Delivery", "EventStream"]
