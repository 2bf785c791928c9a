"""The errors of hpoq.

    HpoqError
    ├── SettingsError            the HPOQ_* variables are invalid; lists every problem
    ├── RequestRejected          a request message violates the contract; lists every violation
    ├── StoreError               the idempotency store failed
    │   ├── StoreUnavailable     it did not answer, or not in time
    │   └── RecordUnreadable     it contains a record that this version cannot read
    └── CallError                a call to a cloud service has no result
        ├── NotSent              no byte of it was sent, so the service has not acted
        │   ├── Unavailable      name resolution, connection or handshake failed
        │   ├── NoCredentials    there is nothing to sign with
        │   ├── NoTimeLeft       not begun, because it could not have ended in time
        │   └── ClockOff         not begun, because this machine's clock is wrong
        ├── Answered             the service answered and has not acted
        │   ├── Throttled        too many requests; try again later
        │   ├── Denied           credentials, permission or quota; an operator can fix it
        │   ├── Invalid          the request itself is wrong and can never succeed
        │   ├── Conflict         the resource has another state than the call expects
        │   └── NotFound         the resource does not exist
        └── UnknownEnd           the service may or may not have acted
            ├── Incomplete       the listing that should show the effect is not reliable or too long
            └── Ambiguous        the listing neither shows the effect nor rules it out; an operator must decide

The three ways in which a call ends are the basis of exactly-once processing. Only a call that was *not sent* or was
*answered* may be sent again. One whose end is *unknown* must first be reconciled with what the service lists.
"""

from __future__ import annotations

from collections.abc import Sequence

from fcruntime.dataclass import dataclass


class HpoqError(Exception):
    """Base of every error that hpoq raises on purpose."""


class SettingsError(HpoqError):
    """The HPOQ_* variables are invalid. `problems` lists everything that is wrong with them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True)
class Violation:
    """One violation of the request contract.

    `pointer` is an RFC 6901 JSON pointer into the document as its producer wrote it, `rule` the stable name
    of the rule, and `message` a sentence that states what a producer must change. None of them quotes a secret.
    """

    pointer: str
    rule: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the members by name."""
        return {"pointer": self.pointer, "rule": self.rule, "message": self.message}


class RequestRejected(HpoqError):
    """A request message violates the contract.

    `name` and `workspace_id` come from the request, for the error event; None if they could not be read.
    `warnings` are findings that did not cause the rejection.
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
    """The idempotency store failed. `was_claimed` says that the record of a claim could not be saved."""

    was_claimed = False


class StoreUnavailable(StoreError):
    """The store did not answer. A write may or may not have taken place; it is safe to repeat it."""


class RecordUnreadable(StoreError):
    """The store contains a record that this version cannot read. The record is not changed."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(f"record {key}: {reason}")


class CallError(HpoqError):
    """A call to a cloud service has no result.

    `code` is the service's own error code, `request_id` the id that its support asks for, `http_status` the
    status of the answer, and `retry_after` the wait in seconds that the service asked for. Each is None if the
    answer had none, or if there was no answer. `access_denied_detail` is what the gateway says about a missing
    permission, as pairs of name and value
    (https://www.alibabacloud.com/help/en/ram/developer-reference/api-ram-2015-05-01-decodediagnosticmessage).
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
        access_denied_detail: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.message = message
        self.service = service
        self.operation = operation
        self.code = code
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after = retry_after
        self.access_denied_detail = tuple(access_denied_detail)
        super().__init__(f"{service} {operation}: {code or type(self).__name__}: {message}")


class NotSent(CallError):
    """No byte of the request was sent, so the service has not acted."""


class Unavailable(NotSent):
    """The service could not be reached."""


class NoCredentials(NotSent):
    """There is nothing to sign the request with."""


class NoTimeLeft(NotSent):
    """The call was not begun, because it could not have ended in time."""


class ClockOff(NotSent):
    """The call was not begun, because this machine's clock is off by more than is safe."""


class Answered(CallError):
    """The service answered with an error, and has not acted."""


class Throttled(Answered):
    """Too many requests; the same call may succeed later."""


class Denied(Answered):
    """Credentials, permission or quota. The same call can succeed after an operator has fixed that."""


class Invalid(Answered):
    """The request itself is wrong. The same call can never succeed."""


class Conflict(Answered):
    """The resource has another state than the call expects."""


class NotFound(Answered):
    """The resource does not exist."""


class UnknownEnd(CallError):
    """The service may or may not have acted: the call was interrupted, or the answer is a 5xx or unreadable."""


class Incomplete(UnknownEnd):
    """A listing contradicts itself, or is too long or too large, so its silence about something proves nothing."""


class Ambiguous(UnknownEnd):
    """The listing neither shows the effect of a call nor rules it out. An operator must decide."""
