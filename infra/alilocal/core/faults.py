"""Faults on demand: what goes wrong, with which calls, and whether before or after the service acted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from alilocal.core.http import Refused, Reset, Response, ServiceError, Stalled
from alilocal.core.ids import Ids

Kind = Literal[
    "refuse", "reset", "stall", "status", "truncate", "malformed", "wrong_content_type", "html", "drip"
]
When = Literal["before", "after"]

_CODES = {400: "InvalidParameter", 403: "Forbidden", 404: "NotFound", 429: "Throttling.User"}
_CODES |= {500: "InternalError", 503: "ServiceUnavailable"}
_DRIP_SECONDS = 1.0
_MOST_SECONDS = 86_400
_UNACTED = Response(200, (("Content-Type", "application/json"),), b'{"RequestId":"none"}')
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Fault:
    """One fault. `seen` counts the calls it could have struck, `hits` those it did strike."""

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
    seen: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if self.when not in get_args(When):
            raise ValueError(f"when: {self.when!r} is neither before nor after")
        if self.kind == "refuse" and self.when == "after":
            raise ValueError("a refused connection cannot come after the service acted")
        if self.kind == "status" and self.status is None:
            raise ValueError("kind status needs a status")
        if self.nth < 1 or not 0 <= self.probability <= 1:
            raise ValueError("nth counts from 1, probability lies between 0 and 1")
        if self.times is not None and self.times < 1:
            raise ValueError("times: at least 1 call is struck; None strikes all")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status lies between 200 and 599")
        if self.seconds is not None and not 0 <= self.seconds <= _MOST_SECONDS:
            raise ValueError(f"seconds lies between 0 and {_MOST_SECONDS}")
        if any(one in text for text in (*self.headers, *self.headers.values()) for one in "\r\n"):
            raise ValueError("headers: no line may end in a name or value")

    def strikes(self, service: str, operation: str, ids: Ids) -> bool:
        """Count a call, and say whether it is struck."""
        if self.service not in (None, service) or self.operation not in (None, operation):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.probability < 1 and ids.chance() >= self.probability):
            return False
        self.hits += 1
        return True

    def apply(self, answer: Response | None) -> Response:
        """What the caller gets instead of `answer`, None if the service has not acted.

        Raises Broken for an exchange without an answer, ServiceError for an error to be rendered.
        """
        if self.kind == "refuse":
            raise Refused
        if self.kind == "reset":
            raise Reset
        if self.kind == "stall":
            raise Stalled(self.seconds)
        if self.kind == "status" and self.status is not None:
            code = self.code or _CODES.get(self.status, "UnknownError")
            raise ServiceError(self.status, code, self.message, tuple(self.headers.items()))
        if self.kind == "html":
            return Response(self.status or 502, (("Content-Type", "text/html"),), _PAGE)
        return self._altered(answer or _UNACTED)

    def _altered(self, answer: Response) -> Response:
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


class Faults:
    """The faults of one cloud; the first that applies to a call strikes it."""

    def __init__(self, ids: Ids, known: Mapping[str, Collection[str]]) -> None:
        """`known` are the operations of each service; a fault for any other would never strike."""
        self._ids = ids
        self._known = known
        self._faults: list[Fault] = []
        self._numbers: list[int] = []
        self._next = itertools.count(1)
        self._lock = threading.Lock()

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
    ) -> Fault:
        """Let calls of `operation` of `service`, None for any, end badly.

        `before`: the service has not acted. `after`: it has, its answer is lost or changed. From the `nth`
        such call on, `times` calls are struck (None: all), each with `probability`. `seconds` bounds a stall
        over HTTP, the others shape an error. Raises ValueError for what could never strike.
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
        )
        self._check_known(service, operation)
        with self._lock:
            self._faults.append(fault)
            self._numbers.append(next(self._next))
        return fault

    def all(self) -> list[Fault]:
        """Those in force or used up, oldest first."""
        with self._lock:
            return list(self._faults)

    def numbered(self) -> list[tuple[int, Fault]]:
        """Each with a number that it keeps."""
        with self._lock:
            return list(zip(self._numbers, self._faults, strict=True))

    def remove(self, number: int) -> bool:
        """Take one away; False if there is none of that number."""
        with self._lock:
            if number not in self._numbers:
                return False
            index = self._numbers.index(number)
            del self._numbers[index], self._faults[index]
            return True

    def restore(self, faults: Sequence[Fault]) -> None:
        """Have `faults`, and no other."""
        with self._lock:
            self._faults = list(faults)
            self._numbers = [next(self._next) for _ in faults]

    def take(self, service: str, operation: str) -> Fault | None:
        """The fault that strikes this call, if any."""
        with self._lock:
            return next((f for f in self._faults if f.strikes(service, operation, self._ids)), None)

    def _check_known(self, service: str | None, operation: str | None) -> None:
        if service is not None and service not in self._known:
            raise ValueError(f"no such service: {service}; there are {', '.join(self._known)}")
        candidates = self._known.values() if service is None else (self._known[service],)
        if operation is not None and not any(operation in names for names in candidates):
            raise ValueError(f"no such operation: {operation}")

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
            self._numbers.clear()
