"""EventBridge between a queue and a function: takes messages, calls, retries, gives up."""

from __future__ import annotations

from alilocal.eventstream.stream import Delivery, EventStream

__all__ = ["Delivery", "EventStream"]
