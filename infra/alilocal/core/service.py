"""A service: which requests are its own, which operation each is, and how it answers."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.world import World

UNKNOWN_OPERATION = "Unknown"


@dataclass(frozen=True)
class Call:
    """A request whose sender is known, on its way to an operation. `params` are the path's, decoded."""

    request: Request
    params: Mapping[str, str]
    caller: Credential
    request_id: str


Handler = Callable[[Call], Response]


def _always(_request: Request) -> bool:
    return True


@dataclass(frozen=True)
class Route:
    """An operation: method, path with `{name}` for parameters, and what tells it from others there.

    `missing` tells what the local cloud leaves out of it; `supported` is False if that is all of it.
    """

    operation: str
    method: str
    path: str
    handler: Handler
    when: Callable[[Request], bool] = _always
    missing: str = ""
    supported: bool = True

    @cached_property
    def _segments(self) -> list[str]:
        return self.path.split("/")

    def match(self, request: Request, segments: list[str]) -> dict[str, str] | None:
        """The path's parameters if `request`, whose path has `segments`, is of this operation, else None."""
        if request.method != self.method or len(segments) != len(self._segments):
            return None
        params = _match_path(self._segments, segments)
        return params if params is not None and self.when(request) else None


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


class Service(abc.ABC):
    """One service of the cloud."""

    name: str
    title: str
    """What the cloud calls it, with the version of its API."""
    unsupported: Sequence[str] = ()
    """Operations of the cloud that have no route here."""
    _world: World

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    @property
    def routes(self) -> Sequence[Route]:
        return self._routes

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that it answers."""
        return tuple(route.operation for route in self._routes)

    def find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        """The operation that `request` addresses and the path's parameters; None if there is none."""
        segments = request.path.split("/")
        for route in self._routes:
            params = route.match(request, segments)
            if params is not None:
                return route, params
        return None

    def authorize(self, route: Route, call: Call) -> None:
        """Raises the error of `denied` unless the caller's RAM policies allow the call."""
        self._world.notes.called_by(call.caller)
        self._world.notes.about(*call.params.values())
        if call.caller.policies is None and call.caller.session is None:
            return
        permission = self.permission(route, call)
        if not call.caller.permits(permission):
            error = self.denied(permission)
            error.detail = call.caller.denial(permission, self._world.account_id)
            raise error

    @abc.abstractmethod
    def dump(self) -> JsonObject:
        """The state, for a snapshot."""

    @abc.abstractmethod
    def restore(self, state: JsonObject) -> None:
        """Take over what `dump` gave; the service is new. Raises BadSnapshot."""

    @abc.abstractmethod
    def permission(self, route: Route, call: Call) -> Permission:
        """What RAM must allow for `call`."""

    @abc.abstractmethod
    def denied(self, permission: Permission) -> ServiceError:
        """The error for one who lacks `permission`."""

    @abc.abstractmethod
    def owns(self, request: Request) -> bool:
        """Whether `request` is addressed to this service."""

    @abc.abstractmethod
    def new_request_id(self) -> str:
        """An id of the service's form."""

    @abc.abstractmethod
    def answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, request_id: str
    ) -> Response:
        """Verify the sender and do what is asked; raises ServiceError."""

    @abc.abstractmethod
    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        """`error` in the service's own form."""
