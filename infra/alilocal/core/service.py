"""The base class of all services, and the routes that connect requests to operations.

A request passes through a service in this order (`Service.answer`):

    owns -> find -> check_request -> verify -> check_call -> authorize -> the operation's handler
                                                                        -> render_error, if ServiceError is raised

A service that deviates overrides the step, never the order.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.ram import Permission
from alilocal.core.requestlog import LoggedRequest
from alilocal.core.switches import Switches
from alilocal.core.view import PLAIN, Card, Preset, Table, Trace, View
from alilocal.core.world import World

UNKNOWN_OPERATION = "Unknown"


@dataclass(frozen=True)
class Call:
    """A verified request on its way to an operation. `params` are the decoded parameters of the path."""

    request: Request
    params: Mapping[str, str]
    caller: Credential
    request_id: str


Handler = Callable[[Call], Response]


def _always(_request: Request) -> bool:
    return True


@dataclass(frozen=True)
class Route:
    """An operation: its method, its path with `{name}` for parameters, and its handler.

    `when` distinguishes operations that share method and path. `missing` says what the local cloud leaves out;
    `supported` is False if it leaves out everything. `trace` says how a call appears in a message's history.
    """

    operation: str
    method: str
    path: str
    handler: Handler
    when: Callable[[Request], bool] = _always
    missing: str = ""
    supported: bool = True
    trace: Trace = PLAIN

    @cached_property
    def _segments(self) -> list[str]:
        return self.path.split("/")

    def match(self, request: Request, segments: list[str]) -> dict[str, str] | None:
        """Return the path's parameters if `request`, whose path has `segments`, fits this route, else None."""
        if request.method != self.method or len(segments) != len(self._segments):
            return None
        params = _match_path(self._segments, segments)
        return params if params is not None and self.when(request) else None


Found = tuple[Route, dict[str, str]]
"""A route and the parameters of the path."""


def _match_path(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    params = {}
    for name, segment in zip(pattern, segments, strict=True):
        if name.startswith("{"):
            if not segment:
                return None
            params[name[1:-1]] = unquote(segment)
        elif name != segment:
            return None
    return params


def not_supported(operation: str) -> str:
    """Return the message for an operation of the cloud that the local cloud does not have."""
    return f"The local cloud does not support {operation}. GET /_alilocal/operations lists what it supports."


class Service(abc.ABC):
    """One service of the cloud. The abstract methods are what differs between services."""

    name: str
    title: str
    """The cloud's name of the service, with its API version."""
    unsupported: Sequence[str] = ()
    """Operations of the cloud that have no route here."""
    usual_codes: Collection[str] = ()
    """Error codes that clients provoke on purpose, and that the history of a message does not show as errors."""
    _world: World[Switches]

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    @property
    def routes(self) -> Sequence[Route]:
        """The routes of all operations."""
        return self._routes

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations that have a route."""
        return tuple(route.operation for route in self._routes)

    # The path of a request.

    @abc.abstractmethod
    def owns(self, request: Request) -> bool:
        """Return whether `request` is addressed to this service. No two services may claim the same request."""

    def find(self, request: Request) -> Found | None:
        """Return the route of `request` and the path's parameters, or None if no operation fits."""
        segments = request.path.split("/")
        for route in self._routes:
            params = route.match(request, segments)
            if params is not None:
                return route, params
        return None

    @abc.abstractmethod
    def new_request_id(self) -> str:
        """Return a new request id in the service's form."""

    def answer(self, request: Request, found: Found | None, request_id: str) -> Response:
        """Verify the sender and carry out the operation; raises ServiceError."""
        self.check_request(request, found)
        caller = self.verify(request)
        if found is None:
            raise self.unknown_operation(request)
        route, params = found
        call = Call(request, params, caller, request_id)
        self.check_call(route, call)
        self.authorize(route, call)
        return route.handler(call)

    def check_request(self, request: Request, found: Found | None) -> None:  # noqa: B027 - seldom needed
        """Raise ServiceError for a request that the service refuses before it looks at the signature."""

    @abc.abstractmethod
    def verify(self, request: Request) -> Credential:
        """Return the credential that signed `request`; raises ServiceError if the signature is not valid."""

    def operation_named(self, request: Request) -> str:  # noqa: ARG002 - for services that name operations
        """Return the operation that a request names and that has no route, or `UNKNOWN_OPERATION`."""
        return UNKNOWN_OPERATION

    @abc.abstractmethod
    def unknown_operation(self, request: Request) -> ServiceError:
        """Return the error for a request that fits no operation."""

    def check_call(self, route: Route, call: Call) -> None:  # noqa: B027 - seldom needed
        """Raise ServiceError for a verified request that does not fit its operation."""

    def authorize(self, route: Route, call: Call) -> None:
        """Raise the error of `denied` unless the caller's RAM policies allow the call."""
        self._world.notes.record_caller(call.caller)
        self._world.notes.record_keys(*call.params.values())
        if call.caller.policies is None and call.caller.session is None:
            return
        permission = self.permission(route, call)
        if not call.caller.permits(permission):
            error = self.denied(permission)
            error.detail = call.caller.denial(permission, self._world.account_id)
            raise error

    @abc.abstractmethod
    def permission(self, route: Route, call: Call) -> Permission:
        """Return the permission that RAM must grant for `call`."""

    @abc.abstractmethod
    def denied(self, permission: Permission) -> ServiceError:
        """Return the error for a caller without `permission`."""

    def throttled(self, operation: str) -> ServiceError:  # noqa: ARG002 - for services with several errors
        """Return the error for a call of `operation` that exceeds a rate limit: by default, the gateway's."""
        return ServiceError(400, "Throttling.User", "Request was denied due to user flow control.")

    @abc.abstractmethod
    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        """Return `error` as an answer in the service's own form."""

    # The state, for a snapshot.

    @abc.abstractmethod
    def dump(self) -> JsonObject:
        """Return the service's state as JSON."""

    @abc.abstractmethod
    def restore(self, state: JsonObject) -> None:
        """Load what `dump` returned into this new service; raises BadSnapshot."""

    # What the service shows of itself.

    def console_cards(self) -> Iterable[Card]:
        """Return a card for each resource that the console's pipeline shows."""
        return ()

    def console_tables(self, most: int, about: frozenset[str] | None = None) -> Iterable[Table]:  # noqa: ARG002
        """Return the service's sections of the console, each with up to `most` rows.

        With `about`, the rows are only those of resources that have one of these names, or mention one.
        """
        return ()

    def console_presets(self) -> Iterable[Preset]:
        """Return common faults of this service, each of which the console injects with one button."""
        return ()

    def console_view(self, path: str) -> View | None:  # noqa: ARG002 - for services that have some
        """Return the page of the console at `path`, below the service's name, or None if there is none."""
        return None

    def console_actions(self) -> Mapping[str, Callable[[Mapping[str, str]], str]]:
        """Return what buttons can do, by name: `POST actions/SERVICE/NAME`. An action returns what it did."""
        return {}

    def control_listings(self) -> Mapping[str, Callable[[], list[JsonValue]]]:
        """Return functions that list resources, by the name under which the control API offers them."""
        return {}

    def describe(self, request: LoggedRequest) -> tuple[str, str]:
        """Return what a call did, in a word or two, and a detail, for the history of a message."""
        went_well = request.status is not None and request.code is None
        word = self.trace(request.operation).word
        return (word if word and went_well else request.operation), request.detail

    def trace(self, operation: str) -> Trace:
        """Return how calls of `operation` appear in the history of a message."""
        return self._traces.get(operation, PLAIN)

    @cached_property
    def _traces(self) -> Mapping[str, Trace]:
        return {route.operation: route.trace for route in self._routes}


@dataclass(frozen=True)
class Operation:
    """An operation of the cloud. `missing` says what is left out here; unless `supported`, everything is."""

    name: str
    supported: bool = True
    missing: str = ""

    @property
    def support(self) -> str:
        """How far the operation is supported, in a word or a phrase."""
        if not self.supported:
            return "no"
        return f"partly: {self.missing}" if self.missing else "yes"


def operations(service: Service) -> list[Operation]:
    """Return all operations of `service` in the order of its routes; those without a route come last."""
    found: dict[str, Operation] = {}
    for route in service.routes:
        found.setdefault(route.operation, Operation(route.operation, route.supported, route.missing))
    return [*found.values(), *(Operation(name, supported=False) for name in service.unsupported)]
