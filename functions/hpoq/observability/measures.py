"""What an invocation did, in numbers: counted while it runs, told once when it ends.

Anything under way counts into the measures of its own invocation, whichever thread it runs in; without one, nothing
is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from hpoq.clock import Clock

BOUNDS_MS = (10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
"""Upper bounds of the histograms, in milliseconds."""

COUNTERS = (
    "retries",
    "store_retries",
    "lease_conflicts",
    "claims_lost",
    "takeovers",
    "reconciliations",
    "adoptions",
    "requeued",
)
"""What is counted, beside the messages."""

STEPS = ("decode", "lookup", "claim", "create", "reconcile", "save", "publish", "message")
"""What is timed; `message` is all of a message but `decode`."""

_current: ContextVar[Measures | None] = ContextVar("hpoq_measures", default=None)


class Span(Protocol):
    """A message's part of a trace."""

    @property
    def traceparent(self) -> str:
        """What carries the trace on."""

    def tell(self, attributes: Mapping[str, str]) -> None:
        """Add to what is known of the message."""


class Spans(Protocol):
    """Where spans go."""

    def message(self, parent: str | None, attributes: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A message's span, below `parent`, a `traceparent`, where there is one."""

    def step(self, name: str) -> AbstractContextManager[object]:
        """A span below the current one."""


class Measures:
    """The numbers of one invocation; `outcomes` are those of its messages. Safe for threads."""

    def __init__(self, spans: Spans | None = None) -> None:
        self.outcomes: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self.spans = spans
        self._lock = threading.Lock()

    def count(self, name: str, by: int = 1) -> None:
        """Add `by` to the counter `name`."""
        with self._lock:
            self.counts[name] += by

    def observe(self, step: str, seconds: float) -> None:
        """Note that `step` took `seconds`."""
        with self._lock:
            self.seconds.setdefault(step, []).append(seconds)

    def histograms(self) -> dict[str, dict[str, float]]:
        """Of each step that happened: how often, how long in all and at most, and how many within each bound."""
        return {step: _histogram(seconds) for step, seconds in self.seconds.items()}


@contextmanager
def measured(measures: Measures) -> Iterator[None]:
    """Whatever runs within counts into `measures`."""
    token = _current.set(measures)
    try:
        yield
    finally:
        _current.reset(token)


def count(name: str, by: int = 1) -> None:
    """Add to a counter of the invocation under way."""
    measures = _current.get()
    if measures is not None:
        measures.count(name, by)


def spans() -> Spans | None:
    """Where spans of the invocation under way go, if anywhere."""
    measures = _current.get()
    return measures.spans if measures else None


@contextmanager
def timed(name: str, clock: Clock) -> Iterator[None]:
    """Time a part of the invocation under way, however it ends."""
    measures = _current.get()
    if measures is None:
        yield
        return
    began = clock.monotonic()
    try:
        yield
    finally:
        measures.observe(name, clock.monotonic() - began)


@contextmanager
def step(name: str, clock: Clock) -> Iterator[None]:
    """Time a step of a message; where spans go anywhere, it has one."""
    below = spans()
    with timed(name, clock), below.step(name) if below else nullcontext():
        yield


def _histogram(seconds: list[float]) -> dict[str, float]:
    millis = [one * 1000 for one in seconds]
    told: Mapping[str, float] = {f"le_{bound}": sum(one <= bound for one in millis) for bound in BOUNDS_MS}
    return {"count": len(millis), "sum_ms": round(sum(millis), 3), "max_ms": round(max(millis), 3), **told}
