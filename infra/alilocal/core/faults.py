"""Faults on demand: what goes wrong, with which calls, and how far a call gets before that."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from alilocal.core.clock import LATEST
from alilocal.core.collections import Numbered
from alilocal.core.http import Refused, Reset, Response, ServiceError, Stalled
from alilocal.core.ids import Ids
from alilocal.core.switches import check_choice

Kind = Literal[
    "refuse",
    "reset",
    "stall",
    "late",
    "copy",
    "status",
    "foreign",
    "truncate",
    "malformed",
    "wrong_content_type",
    "html",
    "drip",
    "kill",
]
When = Literal["before", "forwarded", "after"]
Body = Literal["html", "empty", "json"]

_CODES = {400: "InvalidParameter", 403: "Forbidden", 404: "NotFound", 429: "Throttling.User"}
_CODES |= {500: "InternalError", 503: "ServiceUnavailable"}
_DRIP_SECONDS = 1.0
_MOST_REQUEST_IDS = 100
_MOST_SECONDS = 86_400
_UNACTED = Response(200, (("Content-Type", "application/json"),), b'{"RequestId":"none"}')
# An address of the loopback interface on which no server of a test listens.
_ELSEWHERE = "http://127.0.0.2/elsewhere"


@dataclass
class Fault:
    """One fault. `seen` counts the calls that it could have affected, `hits` those that it did affect.

    `request_ids` are those of the newest 100 calls that it affected.

    The kind `kill` breaks the connection like `reset`, and kills the instance of a function that makes the call.
    """

    kind: Kind
    service: str | None = None
    operation: str | None = None
    when: When = "before"
    nth: int = 1
    times: int | None = 1
    probability: float = 1.0
    status: int | None = None
    code: str | None = None
    message: str = "Injected by alilocal."
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    body: Body = "html"
    until: float | None = None
    seen: int = 0
    hits: int = 0
    request_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, known in (("kind", Kind), ("when", When), ("body", Body)):
            check_choice(name, getattr(self, name), known)
        if self.kind == "refuse" and self.when != "before":
            raise ValueError("a refused connection can only come before the request is sent")
        if self.kind == "kill" and self.when == "before":
            raise ValueError(
                "kind kill needs when='forwarded' or 'after': before that, the caller is unknown"
            )
        if self.is_delivered_late and self.seconds is None:
            raise ValueError(f"kind {self.kind} needs seconds, after which the request is delivered")
        if self.kind == "status" and self.status is None:
            raise ValueError("kind status needs a status")
        self._check_numbers()
        if any(one in text for text in (*self.headers, *self.headers.values()) for one in "\r\n"):
            raise ValueError("headers: a name or value must not contain a line break")

    def _check_numbers(self) -> None:
        if self.nth < 1 or not 0 <= self.probability <= 1:
            raise ValueError("nth must be at least 1, and probability between 0 and 1")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1, or None for all calls")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status must be between 200 and 599")
        if self.seconds is not None and not 0 <= self.seconds <= _MOST_SECONDS:
            raise ValueError(f"seconds must be between 0 and {_MOST_SECONDS}")
        if self.until is not None and not 0 <= self.until <= LATEST:
            raise ValueError("until must be a time in seconds since the epoch that the clock can show")

    @property
    def is_delivered_late(self) -> bool:
        """Whether the request, or a copy of it, reaches the service `seconds` later."""
        return self.kind in ("late", "copy")

    @property
    def is_throttling(self) -> bool:
        """Whether the caller gets a throttling error in the service's own form."""
        return self.kind == "status" and (
            self.status == http.client.TOO_MANY_REQUESTS or (self.code or "").startswith("Throttling")
        )

    def is_over(self, now: float) -> bool:
        """Return whether the fault is applied no more at `now`."""
        return self.until is not None and now >= self.until

    def count_call(self, service: str, operation: str, request_id: str, ids: Ids, now: float) -> bool:
        """Count a call, and return whether the fault is applied to it."""
        if self.is_over(now):
            return False
        if self.service not in (None, service) or self.operation not in (None, operation):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.probability < 1 and ids.chance() >= self.probability):
            return False
        self.hits += 1
        self.request_ids = [*self.request_ids, request_id][-_MOST_REQUEST_IDS:]
        return True

    def apply(self, answer: Response | None) -> Response:
        """Return what the caller gets instead of `answer`, which is None if the service has not acted.

        Raises Broken if the caller gets no answer, and ServiceError for an error that the service must render.
        """
        if self.kind == "refuse":
            raise Refused
        if self.kind in ("reset", "kill"):
            raise Reset
        if self.kind == "stall":
            raise Stalled(self.seconds)
        if self.kind == "late":
            raise Stalled
        if self.kind == "status" and self.status is not None:
            code = self.code or _CODES.get(self.status, "UnknownError")
            raise ServiceError(self.status, code, self.message, tuple(self.headers.items()))
        if self.kind in ("foreign", "html"):
            return self._foreign()
        return self._alter(answer or _UNACTED)

    def _foreign(self) -> Response:
        """Return an answer from something between the caller and the service: without a code and a request id."""
        status = self.status or http.client.BAD_GATEWAY
        phrase = http.client.responses.get(status, "Unknown")
        title = f"{status} {phrase}"
        content_type, text = {
            "html": (
                "text/html",
                f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>",
            ),
            "empty": ("", ""),
            "json": ("application/json", json.dumps({"message": phrase})),
        }[self.body]
        headers = dict(self.headers)
        if content_type:
            headers.setdefault("Content-Type", content_type)
        if http.client.MULTIPLE_CHOICES <= status < http.client.BAD_REQUEST:
            headers.setdefault("Location", _ELSEWHERE)
        return Response(status, tuple(headers.items()), text.encode())

    def _alter(self, answer: Response) -> Response:
        half = len(answer.body) // 2
        status = self.status or answer.status
        if self.kind == "drip":
            return Response(status, answer.headers, answer.body, drip=self.seconds or _DRIP_SECONDS)
        if self.kind == "truncate":
            return Response(status, answer.headers, answer.body, cut=half)
        if self.kind == "malformed":
            return Response(status, answer.headers, answer.body[:half] or b"\x00")
        others = tuple(pair for pair in answer.headers if pair[0].lower() != "content-type")
        return Response(status, (*others, ("Content-Type", "application/octet-stream")), answer.body)


class Faults(Numbered[Fault]):
    """The faults of one cloud. The first one that fits a call is applied to it."""

    def __init__(self, ids: Ids, known: Mapping[str, Collection[str]], now: Callable[[], float]) -> None:
        """`known` are the operations of each service; a fault for any other operation is refused."""
        super().__init__(known)
        self._ids = ids
        self._now = now

    def add(
        self,
        kind: Kind,
        *,
        service: str | None = None,
        operation: str | None = None,
        when: When = "before",
        nth: int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        status: int | None = None,
        code: str | None = None,
        message: str = "Injected by alilocal.",
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        body: Body = "html",
        until: float | None = None,
    ) -> Fault:
        """Add a fault for calls of `operation` of `service`; None stands for any.

        `before`: the request does not reach the gateway. `forwarded`: the gateway verifies the signature and
        remembers the nonce, but the service does not act; if the gateway refuses the call, the caller gets that
        error instead of one of kind `status`. `after`: the service acts, and its answer is lost or changed.

        The fault is applied to `times` calls (None: all) from the `nth` fitting one on, each with `probability`.
        `seconds` limits a stall over HTTP, and delays `late` and `copy` by the cloud's clock. `body` is the form of a
        foreign answer; the other parameters shape an error. The fault ends at `until`, in seconds since the epoch
        on the cloud's clock. Raises ValueError for a fault that could never apply.
        """
        fault = Fault(
            kind,
            service,
            operation,
            when,
            1 if nth is None else nth,
            times,
            probability,
            status,
            code,
            message,
            dict(headers or {}),
            seconds,
            body,
            until,
        )
        self._check_known(service, operation)
        self._append(fault)
        return fault

    def all(self) -> Sequence[Fault]:
        """Return all faults, as `list` does."""
        return self.list()

    def take(self, service: str, operation: str, request_id: str = "") -> Fault | None:
        """Return the fault that is applied to this call, or None."""
        with self._lock:
            now, call = self._now(), (service, operation, request_id, self._ids)
            return next((fault for fault in self._items.values() if fault.count_call(*call, now)), None)
