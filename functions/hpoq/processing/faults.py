"""Errors in the words of an output event."""

from __future__ import annotations

from hpoq.contract.events import EventError
from hpoq.errors import Ambiguous, CallError, Denied, HpoqError, Invalid, NoCredentials
from hpoq.observability.redaction import redact_known


def as_event_error(exc: HpoqError) -> EventError:
    """`exc` for an event or a report, cleared of the secrets at hand."""
    if not isinstance(exc, CallError):
        return EventError(code=type(exc).__name__, message=redact_known(str(exc)), retryable=True)
    request = f" (request {exc.request_id})" if exc.request_id else ""
    return EventError(
        code=redact_known(exc.code or type(exc).__name__),
        message=redact_known(f"{exc.service} {exc.operation}: {exc.message}{request}"),
        retryable=not isinstance(exc, Invalid),
    )


def needs_operator(exc: BaseException) -> bool:
    """Whether the fault lasts until an operator mends it."""
    return isinstance(exc, (Ambiguous, Denied, NoCredentials))
