"""A request on its way through its service, and requests that reach their service late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from alilocal.core.clock import Changes, CloudClock
from alilocal.core.faults import Fault
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.service import Call, Found, Service


class Answer(NamedTuple):
    """A response and the error code in it; each is None if there is none."""

    response: Response | None
    code: str | None


def _do_nothing(_call: Call) -> Response:
    return Response(200)


class Exchange(NamedTuple):
    """A request on its way through its service."""

    service: Service
    request: Request
    found: Found | None
    request_id: str

    @property
    def operation(self) -> str:
        """The name of the operation that the request addresses."""
        return self.found[0].operation if self.found else self.service.operation_named(self.request)

    def forwarded(self) -> Exchange:
        """Return the exchange of a request that the gateway checks and on which the service does not act."""
        if self.found is None:
            return self
        route, params = self.found
        return self._replace(found=(replace(route, handler=_do_nothing), params))

    def act(self) -> Answer:
        """Let the service act, and return its answer or its error."""
        try:
            return Answer(self.service.answer(self.request, self.found, self.request_id), None)
        except ServiceError as error:
            return self._render(error)

    def throttle(self) -> Answer:
        """Refuse the request, because too many came in a short time."""
        return self._render(self.service.throttled(self.operation))

    def apply_fault(self, fault: Fault, answer: Response | None) -> Answer:
        """Return `answer`, None if the service has not acted, as `fault` changes it; raises Broken."""
        try:
            return Answer(fault.apply(answer), None)
        except ServiceError as error:
            return self._render(error)

    def _render(self, error: ServiceError) -> Answer:
        return Answer(self.service.render_error(error, self.request, self.request_id), error.code)


class _Late(NamedTuple):
    due: float
    request: Request


class LateRequests:
    """Requests that a proxy or a sender's buffer still holds; they become due by the cloud's clock."""

    def __init__(self, clock: CloudClock, changed: Changes) -> None:
        self._clock = clock
        self._changed = changed
        self._waiting: list[_Late] = []

    @property
    def moments(self) -> Sequence[float]:
        """The moments at which requests become due, earliest first."""
        return sorted(one.due for one in self._waiting)

    def add(self, request: Request, seconds: float) -> None:
        """Hold `request` back for `seconds`."""
        kept = replace(request, is_late=True)
        with self._changed:
            self._waiting.append(_Late(self._clock.now() + seconds, kept))

    def take_due(self) -> Request | None:
        """Remove and return the request that became due first, or None if none is due."""
        with self._changed:
            due = [one for one in self._waiting if one.due <= self._clock.now()]
            if not due:
                return None
            first = min(due, key=lambda one: one.due)
            self._waiting.remove(first)
            return first.request
