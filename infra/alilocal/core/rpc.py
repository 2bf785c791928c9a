"""The base class of services of the RPC style: an operation is a name, its parameters are those of query and form.

Source: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alilocal.core.credentials import Credential
from alilocal.core.gateway import as_xml, error_response, json_response, wants_xml
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.service import UNKNOWN_OPERATION, Call, Found, Handler, Route, Service, not_supported
from alilocal.core.signatures import GatewaySignatures, is_v3
from alilocal.core.switches import GatewaySwitches
from alilocal.core.view import PLAIN, Trace
from alilocal.core.world import World

Parameters = Mapping[str, str]


@dataclass(frozen=True)
class Action:
    """An operation: the function that answers it, and the resource that RAM must allow, as `<type>/<name>`."""

    name: str
    act: Callable[[Parameters, Call], JsonObject]
    resource: Callable[[Parameters], str]
    missing: str = ""
    trace: Trace = PLAIN


def read_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a call, by name."""
    found = dict(request.query_pairs(plus_is_space=True))
    if (request.header("Content-Type") or "").lower().startswith("application/x-www-form-urlencoded"):
        form = Request("POST", f"/?{request.body.decode(errors='replace')}")
        found |= dict(form.query_pairs(plus_is_space=True))
    return found


def _given(request: Request, name: str) -> str:
    """Return the value of Version or Action, which the parameters and the headers both may name.

    The parameters count where they are signed; only version 3 of the signature covers the headers.
    """
    header = request.header(f"x-acs-{name.lower()}")
    if header and is_v3(request):
        return header
    return read_parameters(request).get(name) or header or ""


class RpcService(Service):
    """A service whose operations are `actions` of the API version `version`."""

    version: str
    ram_code: str
    _world: World[GatewaySwitches]

    def __init__(
        self, world: World[GatewaySwitches], actions: Sequence[Action], others: Sequence[Route] = ()
    ) -> None:
        self._world = world
        self._actions = {action.name: action for action in actions}
        self._signatures = GatewaySignatures(world, self.version)
        routes = (
            Route(one.name, "POST", "/", _handler(one), missing=one.missing, trace=one.trace)
            for one in actions
        )
        super().__init__((*others, *routes))

    def owns(self, request: Request) -> bool:
        """Return whether the request goes to the path `/` and names this service's API version.

        Version 3 of the signature has the version in a header, version 1 in the parameters. Requests for SMQ and
        Tablestore have headers of their own, and are left alone without reading their bodies as forms.
        """
        if request.path != "/" or request.header("x-mns-version") or request.header("x-ots-apiversion"):
            return False
        return _given(request, "Version") == self.version

    def find(self, request: Request) -> Found | None:
        """Return the route by the name of the operation, whatever the method."""
        name = _given(request, "Action")
        own = (route for route in self.routes if route.path == "/" and route.operation == name)
        return next(((route, {}) for route in own), None)

    def new_request_id(self) -> str:
        return self._world.ids.request_id()

    def check_request(self, request: Request, found: Found | None) -> None:
        # The gateway knows the operations of a version, and refuses others before it looks at the signature.
        if found is None:
            raise self.unknown_operation(request)

    def verify(self, request: Request) -> Credential:
        return self._signatures.verify(request, read_parameters(request))

    def operation_named(self, request: Request) -> str:
        name = _given(request, "Action")
        return name if name in self.unsupported else UNKNOWN_OPERATION

    def unknown_operation(self, request: Request) -> ServiceError:
        name = self.operation_named(request)
        if name in self.unsupported:
            return ServiceError(404, "InvalidAction.NotFound", not_supported(name))
        return ServiceError(404, "InvalidAction.NotFound", "Specified action is not found.")

    def permission(self, route: Route, call: Call) -> Permission:
        place = self._actions[route.operation].resource(read_parameters(call.request))
        return Permission((f"{self.ram_code}:{route.operation}",), (self.arn(place),))

    def arn(self, place: str) -> str:
        """Return the full name of a resource of the service."""
        return f"acs:{self.ram_code}:{self._world.region}:{self._world.account_id}:{place}"

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(403, "NoPermission", f"You are not authorized to do this action: {needed}.")

    def answer(self, request: Request, found: Found | None, request_id: str) -> Response:
        answer = super().answer(request, found, request_id)
        return self._formatted(answer, request, f"{found[0].operation}Response" if found else "Response")

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        return self._formatted(error_response(error, request, request_id, self.name), request, "Error")

    def _formatted(self, answer: Response, request: Request, root: str) -> Response:
        """Return an answer in the format that the caller asks for."""
        form = read_parameters(request).get("Format")
        if not form and not is_v3(request):
            form = self._world.behaviour.default_format
        return as_xml(answer, root) if wants_xml(request, form) else answer

    def dump(self) -> JsonObject:
        return {}

    def restore(self, state: JsonObject) -> None:
        """Do nothing: a service without resources has nothing to load."""


def _handler(action: Action) -> Handler:
    def handler(call: Call) -> Response:
        members = action.act(read_parameters(call.request), call)
        return json_response(200, {"RequestId": call.request_id, **members}, call.request_id)

    return handler
