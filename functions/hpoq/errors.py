"""The errors of hpoq.

    HpoqError
    ├── SettingsError            the HPOQ_* variables are not usable; lists every problem
    ├── RequestRejected          a request message breaks the contract; lists every violation
    ├── StoreError               the idempotency store
    │   ├── StoreUnavailable     it did not answer, or not in time
    │   └── RecordUnreadable     it holds a record that this version does not understand
    └── CallError                a call to a cloud service brought no result
        ├── NotSent              no byte of it reached the service: it has surely not acted
        │   ├── Unavailable      name look-up, refused connection, failed handshake, connect time-out
        │   ├── NoCredentials    nothing to sign with
        │   └── NoTimeLeft       not begun, because it could not have ended in time
        ├── Answered             the service answered and has surely not acted
        │   ├── Throttled        come back later
        │   ├── Denied           credentials, permission or quota: an operator can mend it
        │   ├── Invalid          the request itself is wrong and will always be
        │   ├── Conflict         the resource is in another state than the call supposes
        │   └── NotFound         the resource does not exist
        └── UnknownEnd           the service may or may not have acted
            └── Ambiguous        nor can what it lists tell, until an operator looks

The three endings of a call are the spine of the product: only a call that was *not sent* or was *answered*
may be sent again; one whose end is *unknown* must first be reconciled with what the service holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from fcruntime.dataclass import dataclass


class HpoqError(Exception):
    """Base of every error that hpoq raises on purpose."""


class SettingsError(HpoqError):
    """The environment does not make a usable configuration."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True)
class Violation:
    """One broken rule of the request contract.

    `pointer` is an RFC 6901 JSON pointer into the document as its producer wrote it, `rule` the stable name
    of the rule, `message` a sentence that a producer can act on. None of them ever quotes a secret.
    """

    pointer: str
    rule: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"pointer": self.pointer, "rule": self.rule, "message": self.message}


class RequestRejected(HpoqError):
    """A request message breaks the contract.

    `name` and `workspace_id` are those of the request where they could be read, for the error event;
    `warnings` are what else is to be said of it.
    """

    def __init__(
        self,
        violations: Sequence[Violation],
        *,
        name: str | None = None,
        workspace_id: str | None = None,
        warnings: Sequence[Violation] = (),
    ) -> None:
        self.violations = tuple(violations)
        self.warnings = tuple(warnings)
        self.name = name
        self.workspace_id = workspace_id
        first = self.violations[0]
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(f"{first.pointer[:200] or 'the document'}: {first.message[:500]}{more}")


class StoreError(HpoqError):
    """The idempotency store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer; whether a write took place is not known, and repeating it is safe."""


class RecordUnreadable(StoreError):
    """The store holds a record that this version cannot read; it is left as it is."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(f"record {key}: {reason}")


class CallError(HpoqError):
    """A call to a cloud service brought no result.

    `code` is the service's own error code, `request_id` the id that its support asks for, `http_status` the
    status of the answer; each is None where there was none. `retry_after` is the wait in seconds that the
    service asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str,
        operation: str,
        code: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message
        self.service = service
        self.operation = operation
        self.code = code
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after = retry_after
        super().__init__(f"{service} {operation}: {code or type(self).__name__}: {message}")


class NotSent(CallError):
    """No byte of the request reached the service: it has surely not acted."""


class Unavailable(NotSent):
    """The service could not be reached."""


class NoCredentials(NotSent):
    """There is nothing to sign the request with."""


class NoTimeLeft(NotSent):
    """The call was not begun, because it could not have ended in time."""


class Answered(CallError):
    """The service answered with an error and has surely not acted."""


class Throttled(Answered):
    """Too many requests; the same call may succeed later."""


class Denied(Answered):
    """Credentials, permission or quota; the same call succeeds once an operator has mended it."""


class Invalid(Answered):
    """The request itself is wrong; the same call can never succeed."""


class Conflict(Answered):
    """The resource is in another state than the call supposes."""


class NotFound(Answered):
    """The resource does not exist."""


class UnknownEnd(CallError):
    """The service may or may not have acted: broken off after sending, 5xx, or an unreadable answer."""


class Ambiguous(UnknownEnd):
    """What the service lists neither shows an effect of the call nor rules it out; an operator must look."""
