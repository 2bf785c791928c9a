"""The trace that a message is part of, from its request to every call and to its event.

Source: https://www.w3.org/TR/trace-context/. Without spans of our own the request's `traceparent` is handed on as it
is, so that what is recorded downstream hangs on a span that somebody has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from hpoq.observability import measures

Tell: TypeAlias = Callable[[Mapping[str, str]], None]

_current: ContextVar[str | None] = ContextVar("hpoq_traceparent", default=None)


def traceparent() -> str | None:
    """What carries on the trace of the message under way."""
    return _current.get()


def trace_id() -> str | None:
    """The 32 hexadecimal digits that all of a trace share."""
    current = _current.get()
    return current.split("-")[1] if current else None


@contextmanager
def message(parent: str | None, attributes: Mapping[str, str]) -> Iterator[Tell]:
    """Whatever runs within belongs to the message whose request brought `parent`."""
    spans = measures.spans()
    if spans is None:
        with _carried_on(parent):
            yield lambda _: None
        return
    with spans.message(parent, attributes) as span, _carried_on(span.traceparent):
        yield span.tell


@contextmanager
def _carried_on(current: str | None) -> Iterator[None]:
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)
