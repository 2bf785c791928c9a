"""The service Function Compute and the list of its operations.

Paths: the vendor's SDK alibabacloud-fc20230330 4.8.3, and
https://www.alibabacloud.com/help/en/functioncompute/fc/developer-reference/api-fc-2023-03-30-overview.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.service import UNKNOWN_OPERATION, Call, Found, Handler, Route, Service, not_supported
from alilocal.core.snapshot import BadSnapshot, dump, load, member
from alilocal.core.view import Card
from alilocal.core.world import World
from alilocal.fc import members, wire
from alilocal.fc.calls import Calls
from alilocal.fc.errors import PreconditionFailed
from alilocal.fc.functionhost import FunctionHost
from alilocal.fc.httptrigger import PREFIX, HttpTriggers, is_http_call
from alilocal.fc.invoke_calls import InvokeCalls
from alilocal.fc.legacy_calls import LegacyCalls
from alilocal.fc.objects import Objects
from alilocal.fc.registry import Entry, Registry, ServiceEntry
from alilocal.fc.signature import Signatures, generation
from alilocal.fc.switches import FunctionComputeSwitches
from alilocal.fc.trigger_calls import TriggerCalls

_API = "/2023-03-30"
_ALL = f"{_API}/functions"
_ONE = f"{_ALL}/{{function}}"
_VERSIONS, _ALIASES, _TRIGGERS = f"{_ONE}/versions", f"{_ONE}/aliases", f"{_ONE}/triggers"
_ASYNC, _CONCURRENCY, _TAGS = f"{_ONE}/async-invoke-config", f"{_ONE}/concurrency", f"{_API}/tags-v2"
_EMPTY = "there are none, so the list is empty"
_WEB = "at a path of the local cloud, not at a host of its own"
_PACKAGES = "of the bucket for code packages only"

_UNSUPPORTED = """
ChangeResourceGroup ClaimGPUInstance CreateCustomDomain CreateLayerVersion CreateSession CreateSnapshot
CreateVpcBinding DeleteCustomDomain DeleteFunctionAsyncInvokeConfig DeleteFunctionOnDemandConfig
DeleteLayerVersion DeleteProvisionConfig DeleteScalingConfig DeleteSession DeleteSnapshot DeleteVpcBinding
DeregisterEventSource DescribeRegions GetAccountSettings GetAsyncTask GetCustomDomain
GetFunctionAsyncInvokeConfig GetFunctionOnDemandConfig GetLayerVersion GetLayerVersionByArn GetProvisionConfig
GetResourceTags GetScalingConfig GetSession GetSnapshot GetStatefulAsyncInvocation ListAsyncTasks
ListCustomDomains ListEventSources ListFunctionAsyncInvokeConfigs ListLayerVersions ListLayers
ListOnDemandConfigs ListReservedCapacities ListSessions ListSnapshots ListStatefulAsyncInvocationFunctions
ListStatefulAsyncInvocations ListTaggedResources PauseSession PutFunctionAsyncInvokeConfig
PutFunctionOnDemandConfig PutLayerACL PutProvisionConfig PutScalingConfig RegisterEventSource
ReleaseGPUInstance ResumeSession StopAsyncTask StopStatefulAsyncInvocation TagResource UntagResource
UpdateCustomDomain UpdateSession
"""


class FunctionCompute(Service):
    """Functions, and what calls them."""

    name = "fc"
    title = "Function Compute 2023-03-30, 2021-04-06, 2016-08-15"
    unsupported = tuple(_UNSUPPORTED.split())

    def __init__(self, world: World[FunctionComputeSwitches], host: Callable[[], FunctionHost]) -> None:
        self._world: World[FunctionComputeSwitches] = world
        self.registry = Registry(world)
        self._objects = Objects(world, self.registry.packages)
        self._signatures = Signatures(world)
        self._names = wire.Names(world.region, world.account_id)
        self._http = HttpTriggers(world, self.registry, host)
        self._web = Route("InvokeHTTPTrigger", "*", f"{PREFIX}{{trigger}}", self._http.call, missing=_WEB)
        self._triggers = TriggerCalls(world, self.registry, host)
        self._calls = calls = Calls(world, self.registry, self._objects, host)
        invocations = InvokeCalls(world, self.registry, host)
        legacy = LegacyCalls(world, self.registry, calls, invocations, self._triggers, host)
        self._put = Route("PutObject", "PUT", "/{bucket}/{object}", self._objects.put, missing=_PACKAGES)
        self._get = Route("GetObject", "GET", "/{bucket}/{object}", self._objects.get, missing=_PACKAGES)
        super().__init__(
            (
                *_function_routes(calls, invocations),
                *_version_routes(calls),
                *_trigger_routes(self._triggers),
                *_config_routes(calls),
                *(route for api in ("/2021-04-06", "/2016-08-15") for route in legacy.routes(api)),
                Route("GetTempBucketToken", "GET", "/2016-08-15/tempBucketToken", self._objects.token),
                self._put,
                self._get,
                self._web,
            )
        )

    def owns(self, request: Request) -> bool:
        """Return whether the path begins with a version of the API, or addresses the bucket for packages."""
        is_own = generation(request) is not None or is_http_call(request)
        return is_own or self._objects.key(request) is not None

    def find(self, request: Request) -> Found | None:
        if is_http_call(request):
            return self._web, {}
        if self._objects.key(request) is None:
            found = super().find(request)
            return None if found is None or found[0] in (self._put, self._get) else found
        route = {"PUT": self._put, "GET": self._get}.get(request.method)
        return None if route is None else (route, {})

    def new_request_id(self) -> str:
        digits = self._world.ids.uuid().replace("-", "")
        return f"1-{digits[:8]}-{digits[8:16]}-{digits[16:28]}"

    def verify(self, request: Request) -> Credential:
        if self._objects.key(request) is not None:
            return self._objects.verify(request)
        if is_http_call(request) and (caller := self._http.anonymous(request)) is not None:
            return caller
        return self._signatures.verify(request)

    def operation_named(self, request: Request) -> str:
        name = request.header("x-acs-action")
        return name if name in self.unsupported else UNKNOWN_OPERATION

    def unknown_operation(self, request: Request) -> ServiceError:
        named = request.header("x-acs-action") or f"{request.method} {request.path}"
        return ServiceError(404, "InvalidAction.NotFound", not_supported(named))

    def permission(self, route: Route, call: Call) -> Permission:
        if route is self._web:
            place = self._names.function(self._http.find(call.request).entry.name)
            return Permission(("fc:InvokeFunction",), (place,))
        if route in (self._put, self._get):
            place = (
                f"acs:oss:*:{self._world.account_id}:{self._objects.bucket}/{self._objects.key(call.request)}"
            )
            return Permission((f"oss:{route.operation}",), (place,))
        parts = [
            f"{kind}/{call.params[name]}"
            for kind, name in (
                ("services", "service"),
                ("functions", "function"),
                ("triggers", "trigger"),
                ("aliases", "alias"),
            )
            if name in call.params
        ]
        place = "/".join(parts) or "functions/*"
        if route.operation == "CreateFunction":
            place = f"functions/{wire.read_object(call.request).get('functionName') or '*'}"
        return Permission(
            (f"fc:{route.operation}",), (f"acs:fc:{self._world.region}:{self._world.account_id}:{place}",)
        )

    def answer(self, request: Request, found: Found | None, request_id: str) -> Response:
        answer = super().answer(request, found, request_id)
        if not _has_etag(request) or wire.JSON_TYPE not in answer.headers:
            return answer
        # In the case that programs for PHP look it up in.
        return answer._replace(headers=(*answer.headers, ("Etag", wire.compute_etag(answer))))

    def check_call(self, route: Route, call: Call) -> None:
        """Raise PreconditionFailed if the resource has changed, and AccessDenied for a role that is not allowed."""
        self._check_etag(call)
        if route.operation not in ("CreateFunction", "UpdateFunction"):
            return
        role = members.role_name(wire.read_object(call.request))
        needed = Permission(("ram:PassRole",), (f"acs:ram::{self._world.account_id}:role/{role}",))
        if role is not None and not call.caller.permits(needed):
            raise self.denied(needed)

    def _check_etag(self, call: Call) -> None:
        """Raise PreconditionFailed unless the resource still has the ETag that the caller has seen."""
        given = call.request.header("If-Match")
        if given is None or not _has_etag(call.request):
            return
        # Publishing a version depends on the service itself.
        path = call.request.path.removesuffix("/versions")
        request = replace(call.request, method="GET", target=path, body=b"")
        found = self.find(request)
        if found is None:
            return
        shown = found[0].handler(replace(call, request=request, params=found[1]))
        if wire.compute_etag(shown) != given.strip('"'):
            raise PreconditionFailed

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(403, "AccessDenied", f"the caller is not authorized: {needed}")

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        detail: JsonObject = {"AccessDeniedDetail": dict(error.detail)} if error.detail else {}
        body: JsonObject = {"RequestId": request_id, "Code": error.code, "Message": error.message, **detail}
        if _has_etag(request):
            # They come first, because PHP programs see only the first 120 bytes in the exceptions of Guzzle.
            body = {"ErrorCode": error.code, "ErrorMessage": error.message, **body}
        answer = wire.json_answer(request_id, body, error.headers)
        return Response(error.status, answer.headers, answer.body)

    def dump(self) -> JsonObject:
        return {
            "functions": dump(list(self.registry.entries.values()), list[Entry]),
            "services": dump(list(self.registry.services.values()), list[ServiceEntry]),
            "packages": dump(self.registry.packages.by_key, dict[str, bytes]),
            "uploads": dump(self.registry.packages.uploads, dict[str, bytes]),
        }

    def restore(self, state: JsonObject) -> None:
        entries = load(list[Entry], member(state, "functions", self.name), f"{self.name}.functions")
        packages = load(dict[str, bytes], member(state, "packages", self.name), f"{self.name}.packages")
        uploads = load(dict[str, bytes], member(state, "uploads", self.name), f"{self.name}.uploads")
        services = load(list[ServiceEntry], member(state, "services", self.name), f"{self.name}.services")
        for one in entries:
            for revision in (one.latest, *(version.revision for version in one.versions.values())):
                if revision.package not in packages:
                    raise BadSnapshot(f"{self.name}.packages", f"the code of {one.name!r} is missing")
        self.registry.restore(entries, services)
        self.registry.packages.restore(packages, uploads)

    def resume(self) -> None:
        """Run the functions that were loaded, and start their triggers. Called without the lock."""
        self._calls.resume()
        self._triggers.resume()

    def console_cards(self) -> Iterable[Card]:
        return [
            Card("function", entry.name, {"versions": len(entry.versions), "triggers": len(entry.triggers)})
            for entry in self.registry.entries.values()
        ]


def _function_routes(calls: Calls, invocations: InvokeCalls) -> Sequence[Route]:
    return (
        Route("CreateFunction", "POST", _ALL, calls.create),
        Route("ListFunctions", "GET", _ALL, calls.list_functions),
        Route("GetFunction", "GET", _ONE, calls.get),
        Route("UpdateFunction", "PUT", _ONE, calls.update),
        Route("DeleteFunction", "DELETE", _ONE, calls.delete),
        Route("GetFunctionCode", "GET", f"{_ONE}/code", calls.code),
        Route("InvokeFunction", "POST", f"{_ONE}/invocations", invocations.invoke),
        Route("ListInstances", "GET", f"{_ONE}/instances", calls.instances, missing="present instances only"),
        Route("EnableFunctionInvocation", "POST", f"{_ONE}/invoke/enable", calls.enable),
        Route("DisableFunctionInvocation", "POST", f"{_ONE}/invoke/disable", calls.disable),
    )


def _version_routes(calls: Calls) -> Sequence[Route]:
    alias = f"{_ALIASES}/{{alias}}"
    return (
        Route("PublishFunctionVersion", "POST", _VERSIONS, calls.publish),
        Route("ListFunctionVersions", "GET", _VERSIONS, calls.list_versions),
        Route("DeleteFunctionVersion", "DELETE", f"{_VERSIONS}/{{version}}", calls.delete_version),
        Route("CreateAlias", "POST", _ALIASES, calls.create_alias),
        Route("ListAliases", "GET", _ALIASES, calls.list_aliases),
        Route("GetAlias", "GET", alias, calls.get_alias),
        Route("UpdateAlias", "PUT", alias, calls.update_alias),
        Route("DeleteAlias", "DELETE", alias, calls.delete_alias),
    )


def _trigger_routes(calls: TriggerCalls) -> Sequence[Route]:
    trigger = f"{_TRIGGERS}/{{trigger}}"
    some = "of the types `eventbridge` (from SMQ and from the default bus), `mns_topic`, `timer` and `http`"
    return (
        Route("CreateTrigger", "POST", _TRIGGERS, calls.create, missing=some),
        Route("ListTriggers", "GET", _TRIGGERS, calls.list),
        Route("GetTrigger", "GET", trigger, calls.get),
        Route("UpdateTrigger", "PUT", trigger, calls.update),
        Route("DeleteTrigger", "DELETE", trigger, calls.delete),
    )


def _config_routes(calls: Calls) -> Sequence[Route]:
    return (
        Route("PutAsyncInvokeConfig", "PUT", _ASYNC, calls.put_async),
        Route("GetAsyncInvokeConfig", "GET", _ASYNC, calls.get_async),
        Route("DeleteAsyncInvokeConfig", "DELETE", _ASYNC, calls.delete_async),
        Route("ListAsyncInvokeConfigs", "GET", f"{_API}/async-invoke-configs", calls.list_async),
        Route("PutConcurrencyConfig", "PUT", _CONCURRENCY, calls.put_concurrency),
        Route("GetConcurrencyConfig", "GET", _CONCURRENCY, calls.get_concurrency),
        Route("DeleteConcurrencyConfig", "DELETE", _CONCURRENCY, calls.delete_concurrency),
        Route("ListConcurrencyConfigs", "GET", f"{_API}/concurrency-configs", calls.list_concurrency),
        Route("TagResources", "POST", _TAGS, calls.tag),
        Route("UntagResources", "DELETE", _TAGS, calls.untag),
        Route("ListTagResources", "GET", _TAGS, calls.list_tags),
        Route(
            "ListProvisionConfigs",
            "GET",
            f"{_API}/provision-configs",
            _answer_empty_list("provisionConfigs"),
            missing=_EMPTY,
        ),
        Route(
            "ListScalingConfigs",
            "GET",
            f"{_API}/scaling-configs",
            _answer_empty_list("scalingConfigs"),
            missing=_EMPTY,
        ),
        Route("ListVpcBindings", "GET", f"{_ONE}/vpc-bindings", _answer_empty_list("vpcIds"), missing=_EMPTY),
    )


def _answer_empty_list(name: str) -> Handler:
    return lambda call: wire.json_answer(call.request_id, {name: []})


def _has_etag(request: Request) -> bool:
    """Return whether the resource has an ETag, as those of Function Compute 2.0 have."""
    return generation(request) in ("2021-04-06", "2016-08-15") and not is_http_call(request)
