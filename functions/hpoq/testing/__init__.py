"""Helpers for tests of hpoq and of software that uses it. Not part of the deployed package."""

from hpoq.testing.clock import FakeClock
from hpoq.testing.conformance import run_store_conformance
from hpoq.testing.events import smq_event, smq_raw_data, smq_stream_event
from hpoq.testing.store import MemoryStore

__all__ = [
    "FakeClock",
    "MemoryStore",
    "run_store_conformance",
    "smq_event",
    "smq_raw_data",
    "smq_stream_event",
]
