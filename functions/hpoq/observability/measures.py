"""Count, time and trace what one invocation does.

    collect_into ──▶ count, measure_time, trace_step     numbers of the invocation that is under way
    trace_message ─▶ traceparent, trace_id               the trace that the current message belongs to

Both travel in context variables, so that code in any thread adds to the invocation that it works for. Outside an
invocation nothing is counted. `telemetry` reports the numbers when the invocation ends.

A message's trace goes from its request to every call and to its event (https://www.w3.org/TR/trace-context/).
Without spans of our own the request's `traceparent` is passed on unchanged, so that spans which are recorded
downstream have a parent that exists.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import accumulate
from types import TracebackType
from typing import Protocol, TypeAlias

from fcruntime.dataclass import dataclass
from hpoq.clock import Clock
from hpoq.observability import Assigned

BOUNDS_MS = (10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
"""Upper bounds of the histograms, in milliseconds."""
_BOUNDS = [f"le_{bound}" for bound in BOUNDS_MS]

COUNTERS = (
    "retries",
    "store_retries",
    "lease_conflicts",
    "claims_lost",
    "takeovers",
    "reconciliations",
    "adoptions",
    "requeued",
    "dead_lettered",
)
"""Names of the counters. The number of messages is counted by outcome, apart from these."""

STEPS = ("decode", "lookup", "claim", "create", "reconcile", "save", "publish", "message")
"""Names of the timed steps; `message` covers all steps of a message except `decode`."""

SetAttributes: TypeAlias = Callable[[Mapping[str, str]], None]


@dataclass
class Call:
    """One try of a service call; `status` is that of its answer, or None if there was none."""

    service: str
    operation: str
    method: str
    url: str
    status: int | None = None


_current: ContextVar[Measures | None] = ContextVar("hpoq_measures", default=None)
_traceparent: ContextVar[str | None] = ContextVar("hpoq_traceparent", default=None)


class Span(Protocol):
    """The span of a message or of a step."""

    @property
    def traceparent(self) -> str:
        """The `traceparent` header that makes this span the parent of others."""

    def set_attributes(self, attributes: Mapping[str, str]) -> None:
        """Add `attributes` to the span."""


class Spans(Protocol):
    """A recorder of spans."""

    def message(self, parent: str | None, attributes: Mapping[str, str]) -> AbstractContextManager[Span]:
        """Open the span of a message, below the `traceparent` of its request if `parent` is not None."""

    def step(self, name: str) -> AbstractContextManager[Span]:
        """Open a span below the current one."""

    def call(self, call: Call) -> AbstractContextManager[None]:
        """Open a span for a service call below the current one; `call.status` is set within the context."""


class Measures:
    """The numbers of one invocation. Safe to share between threads.

    `source` is the kind of source that the event came from, or None before it was decoded. `outcomes` counts the
    messages by outcome, `counts` holds the counters, and `seconds` the durations of each step.
    """

    def __init__(self, spans: Spans | None = None) -> None:
        self.source: str | None = None
        self.outcomes: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self.spans = spans
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        """Add 1 to the counter `name`."""
        with self._lock:
            self.counts[name] += 1

    def observe(self, step: str, seconds: float) -> None:
        """Record that `step` took `seconds`."""
        with self._lock:
            self.seconds.setdefault(step, []).append(seconds)

    def histograms(self) -> dict[str, dict[str, float]]:
        """Return, for each step that was timed, its count, sum, maximum and the count within each bound."""
        histograms = {}
        for step, seconds in self.seconds.items():
            in_bucket = [0] * (len(BOUNDS_MS) + 1)
            for one in seconds:
                in_bucket[bisect_left(BOUNDS_MS, one * 1000)] += 1
            # Rounding to an integer takes half as long as rounding to three digits.
            histograms[step] = {
                "count": len(seconds),
                "sum_ms": round(sum(seconds) * 1e6) / 1e3,
                "max_ms": round(max(seconds) * 1e6) / 1e3,
                **dict(zip(_BOUNDS, accumulate(in_bucket), strict=False)),
            }
        return histograms


def collect_into(measures: Measures) -> AbstractContextManager[None]:
    """Add everything that is counted and timed within this context to `measures`."""
    return Assigned(_current, measures)


def count(name: str) -> None:
    """Add 1 to the counter `name` of the current invocation."""
    measures = _current.get()
    if measures is not None:
        measures.count(name)


class _Timing:
    """Records how long its block took, also if the block raises. A class, because every message has ten of them."""

    def __init__(self, name: str, clock: Clock, *, has_span: bool) -> None:
        self._name = name
        self._clock = clock
        self._measures = measures = _current.get()
        self._span = measures.spans.step(name) if has_span and measures and measures.spans else None

    def __enter__(self) -> SetAttributes:
        self._began = self._clock.monotonic()
        return _ignore if self._span is None else self._span.__enter__().set_attributes

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._span is not None:
                self._span.__exit__(kind, exc, trace)
        finally:
            if self._measures is not None:
                self._measures.observe(self._name, self._clock.monotonic() - self._began)


def measure_time(name: str, clock: Clock) -> AbstractContextManager[object]:
    """Record how long the body took as step `name` of the current invocation, also if the body raises."""
    return _Timing(name, clock, has_span=False)


def trace_step(name: str, clock: Clock) -> AbstractContextManager[SetAttributes]:
    """Measure the body's time as step `name`, and record a span for it if spans are recorded.

    Yields a function that adds attributes to the span; it does nothing if no spans are recorded.
    """
    return _Timing(name, clock, has_span=True)


def trace_call(call: Call) -> AbstractContextManager[None]:
    """Return a context that records a span for a service call, if spans are recorded."""
    measures = _current.get()
    return measures.spans.call(call) if measures and measures.spans else nullcontext()


def trace_message(parent: str | None, attributes: Mapping[str, str]) -> AbstractContextManager[SetAttributes]:
    """Make the body part of the trace that the message's request named as `parent`.

    Yields a function that adds attributes to the message's span; it does nothing if no spans are recorded.
    """
    measures = _current.get()
    if measures is None or measures.spans is None:
        return Assigned(_traceparent, parent, _ignore)
    return _record_message(measures.spans, parent, attributes)


@contextmanager
def _record_message(
    spans: Spans, parent: str | None, attributes: Mapping[str, str]
) -> Iterator[SetAttributes]:
    with spans.message(parent, attributes) as span, Assigned(_traceparent, span.traceparent):
        yield span.set_attributes


def traceparent() -> str | None:
    """Return the `traceparent` header that continues the current message's trace, or None if it has none."""
    return _traceparent.get()


def trace_id() -> str | None:
    """Return the 32 hexadecimal digits of the current message's trace, or None if it has none."""
    current = _traceparent.get()
    return current.split("-")[1] if current else None


def _ignore(_attributes: Mapping[str, str]) -> None:
    pass  # no span is recorded
