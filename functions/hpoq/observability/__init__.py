"""Log lines, numbers and traces, none of which contains a secret.

    processing, cloud ──▶ measures    counters, durations and spans of the current invocation
                             │
                         telemetry    reports them when the invocation ends: one log line, and ──▶ otel
    everything ──▶ logs ──▶ redaction removes secrets from each line before it is written
                               ▲
                          secret_names finds them in a request

`secret_names` holds the only list of secret names, and `redaction` the only mask. Whatever shows a request
uses them: log lines, events, error messages, the command line and the console.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Assigned(Generic[_T]):
    """Sets a context variable within a context, and yields `yielded`.

    A class, because `contextmanager` takes two to four times as long.
    """

    def __init__(self, variable: ContextVar[_T], value: _T, yielded: Any = None) -> None:
        self._variable = variable
        self._value = value
        self._yielded = yielded

    def __enter__(self) -> Any:
        self._token = self._variable.set(self._value)
        return self._yielded

    def __exit__(self, *_raised: object) -> None:
        self._variable.reset(self._token)
