"""Services of the RPC style: every operation is a name, its parameters are those of the query and of a form.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alilocal.core.acs3 import Acs3
from alilocal.core.credentials import Credential
from alilocal.core.gateway import gateway_error, json_response
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.rpcv1 import RpcV1
from alilocal.core.service import Call, Handler, Route, Service
from alilocal.core.world import World

Parameters = Mapping[str, str]


@dataclass(frozen=True)
class Action:
    """An operation: what it answers to a call, and on what RAM must allow it, as `<type>/<name>`."""

    name: str
    act: Callable[[Parameters, Call], JsonObject]
    resource: Callable[[Parameters], str]
    missing: str = ""


def parameters_of(request: Request) -> dict[str, str]:
    """The parameters of a call, by name."""
    found = dict(request.query_pairs(plus_is_space=True))
    if (request.header("Content-Type") or "").startswith("application/x-www-form-urlencoded"):
        form = Request("POST", f"/?{request.body.decode(errors='replace')}")
        found |= dict(form.query_pairs(plus_is_space=True))
    return found


class RpcService(Service):
    """A service whose operations are `actions` of the API version `version`."""

    version: str
    ram_code: str

    def __init__(self, world: World, actions: Sequence[Action], others: Sequence[Route] = ()) -> None:
        self._world = world
        self._actions = {action.name: action for action in actions}
        self._v3 = Acs3(world.credentials, world.clock, self.version)
        self._v1 = RpcV1(world.credentials, world.clock)
        super().__init__(
            (
                *others,
                *(Route(one.name, "POST", "/", self._handler(one), missing=one.missing) for one in actions),
            )
        )

    def owns(self, request: Request) -> bool:
        version = request.header("x-acs-version")
        if version is not None:
            return version == self.version
        if request.path != "/" or request.header("x-mns-version") or request.header("x-ots-apiversion"):
            return False
        return parameters_of(request).get("Version") == self.version

    def find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        """By the name of the operation, whatever the method."""
        name = request.header("x-acs-action") or parameters_of(request).get("Action")
        own = (route for route in self.routes if route.path == "/" and route.operation == name)
        return next(((route, {}) for route in own), None)

    def new_request_id(self) -> str:
        return self._world.ids.request_id()

    def verify(self, request: Request) -> Credential:
        """Whose call it is; raises ServiceError."""
        if request.header("Authorization") or request.header("x-acs-version"):
            return self._v3.verify(request)
        return self._v1.verify(request.method, parameters_of(request))

    def answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, request_id: str
    ) -> Response:
        """Verify the sender and do what is asked; raises ServiceError."""
        if found is None:
            raise self._unknown(request)
        caller = self.verify(request)
        route, params = found
        call = Call(request, params, caller, request_id)
        self.authorize(route, call)
        return route.handler(call)

    def permission(self, route: Route, call: Call) -> Permission:
        place = self._actions[route.operation].resource(parameters_of(call.request))
        return Permission((f"{self.ram_code}:{route.operation}",), (self.arn(place),))

    def arn(self, place: str) -> str:
        """The name of a resource of the service."""
        return f"acs:{self.ram_code}:{self._world.region}:{self._world.account_id}:{place}"

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(403, "NoPermission", f"You are not authorized to do this action: {needed}.")

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        body = gateway_error(error, request_id, request.header("Host") or "localhost", self.name)
        answer = json_response(error.status, body, request_id)
        return Response(answer.status, (*answer.headers, *error.headers), answer.body)

    def _handler(self, action: Action) -> Handler:
        def handler(call: Call) -> Response:
            members = action.act(parameters_of(call.request), call)
            return json_response(200, {"RequestId": call.request_id, **members}, call.request_id)

        return handler

    def _unknown(self, request: Request) -> ServiceError:
        name = request.header("x-acs-action") or parameters_of(request).get("Action") or ""
        if name in self.unsupported:
            return ServiceError(404, "InvalidAction.NotFound", f"The local cloud does not support {name}.")
        return ServiceError(404, "InvalidAction.NotFound", "Specified action is not found.")
