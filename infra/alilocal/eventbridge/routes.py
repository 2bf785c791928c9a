"""The service EventBridge and the list of its operations.

Source: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/api-eventbridge-2020-04-01-overview.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from alilocal.core.credentials import Credential
from alilocal.core.gateway import error_response
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import UNKNOWN_OPERATION, Call, Found, Route, not_supported
from alilocal.core.snapshot import dump, load, member
from alilocal.core.view import Card, Trace
from alilocal.core.world import World
from alilocal.eventbridge import firstgeneration
from alilocal.eventbridge.calls import Calls
from alilocal.eventbridge.errors import EventRefused
from alilocal.eventbridge.model import Bus, Buses
from alilocal.eventbridge.putevents import bus_of, read_events
from alilocal.eventbridge.signature import Signatures
from alilocal.eventbridge.switches import EventBridgeSwitches
from alilocal.eventbridge.wire import Names
from alilocal.smq.model import Queues

_ONLY = "to queues (`acs.mns.queue`) and functions (`acs.fc.function`), with the whole event as body"
_PUBLISHED = Trace("published", publishes=True)
# The other operations of alibabacloud-eventbridge20200401 8.7.0.
_UNSUPPORTED = """
AskLuma CheckServiceLinkedRoleForProduct CreateAgent CreateApiDestination CreateConnection CreateEventSource
CreateEventStreaming CreateKnowledgeBase CreateNamespace CreateServiceLinkedRoleForProduct CreateTable
DeleteAgent DeleteApiDestination DeleteConnection DeleteEventAnalysisJob DeleteEventHouseRuntime
DeleteEventSource DeleteEventStreaming DeleteKnowledgeBase DeleteNamespace DeleteTable DiscoverEventSource
EventCenterQueryEvents GenerateAgentDataSemantics GetAgent GetAgentDataSemantics GetApiDestination GetCatalog
GetChunk GetConnection GetDocument GetDocumentDownloadUrl GetEventHouseRuntime GetEventStreaming
GetGenerateAgentDataSemanticsProgress GetKnowledgeBase GetLumaCatalog GetLumaChunk GetLumaDocument
GetLumaDocumentDownloadUrl GetLumaKnowledgeBase GetLumaNamespace GetLumaTable GetNamespace GetTable ListAgents
ListAliyunOfficialEventSources ListApiDestinations ListCatalogs ListChunks ListConnections ListDocuments
ListEventHouseRuntimes ListEventStreamings ListKnowledgeBases ListLumaCatalogs ListLumaChunks
ListLumaDocuments ListLumaKnowledgeBases ListLumaNamespaces ListLumaTables ListNamespaces ListTables
ListUserDefinedEventSources PauseEventStreaming PollAskResult QueryAskLumaLog QueryEvent QueryEventHouse
QueryEventHouseWithTimeRange QueryEventTraces QueryLumaWithSQL QueryTracedEventByEventId QueryTracedEvents
QueryWithSQL SaveAgentDataSemantics SearchKnowledgeBase SearchLumaKnowledgeBase StartEventStreaming
TestEventSourceConfig UpdateAgent UpdateApiDestination UpdateConnection UpdateEventBus UpdateEventHouseRuntime
UpdateEventSource UpdateEventStreaming UpdateEventStreamingBusinessOption UpdateKnowledgeBase UpdateNamespace
UpdateTable
"""


class EventBridge(RpcService):
    """Event buses, their rules, and the events that are put."""

    name = "eventbridge"
    title = "EventBridge 2020-04-01"
    version = "2020-04-01"
    ram_code = "eventbridge"
    unsupported = tuple(_UNSUPPORTED.split())
    _world: World[EventBridgeSwitches]

    def __init__(self, world: World[EventBridgeSwitches], queues: Queues) -> None:
        self.buses = Buses(world, queues)
        self._first = Signatures(world)
        calls = Calls(world, self.buses, Names(world.region, world.account_id))
        shared = [
            Action("CreateEventBus", calls.create_bus, _bus_resource),
            Action("GetEventBus", calls.get_bus, _bus_resource),
            Action("ListEventBuses", calls.list_buses, lambda _: "eventbus/*"),
            Action("DeleteEventBus", calls.delete_bus, _bus_resource),
            Action("CreateRule", calls.create_rule, _rule_resource, _ONLY),
            Action("UpdateRule", calls.update_rule, _rule_resource, _ONLY),
            Action("GetRule", calls.get_rule, _rule_resource),
            Action("ListRules", calls.list_rules, _bus_resource),
            Action("EnableRule", calls.enable_rule, _rule_resource),
            Action("DisableRule", calls.disable_rule, _rule_resource),
            Action("DeleteRule", calls.delete_rule, _rule_resource),
            Action("ListTargets", calls.list_targets, _rule_resource),
            Action("DeleteTargets", calls.delete_targets, _rule_resource),
            Action("TestEventPattern", calls.match_pattern, lambda _: "*"),
        ]
        put_targets = Action("PutTargets", calls.put_targets, _rule_resource, _ONLY)
        create_targets = replace(put_targets, name="CreateTargets")
        self._of_first = {one.name: one for one in (*shared, create_targets)}
        super().__init__(
            world,
            [Action("PutEvents", calls.put, _bus_resource, trace=_PUBLISHED), *shared, put_targets],
            (
                Route("PutEvents", "POST", firstgeneration.PUT_EVENTS, calls.put_first, trace=_PUBLISHED),
                *firstgeneration.routes([*shared, create_targets], world.account_id),
            ),
        )

    # The first generation has paths, a signature and a form of errors of its own.

    def owns(self, request: Request) -> bool:
        """Return whether the request goes to a path of the first generation, or names this service's API version."""
        return firstgeneration.is_first(request) or super().owns(request)

    def find(self, request: Request) -> Found | None:
        if not firstgeneration.is_first(request):
            return super().find(request)
        own = (route for route in self.routes if route.path == request.path and request.method == "POST")
        return next(((route, {}) for route in own), None)

    def verify(self, request: Request) -> Credential:
        return self._first.verify(request) if firstgeneration.is_first(request) else super().verify(request)

    def operation_named(self, request: Request) -> str:
        if not firstgeneration.is_first(request):
            return super().operation_named(request)
        name = firstgeneration.operation_named(request)
        return name if name in self.unsupported else UNKNOWN_OPERATION

    def unknown_operation(self, request: Request) -> ServiceError:
        if not firstgeneration.is_first(request):
            return super().unknown_operation(request)
        name = firstgeneration.operation_named(request)
        if any(route.path == request.path for route in self.routes):
            return ServiceError(405, "MethodNotAllowed", f"{name} is called with POST, not {request.method}.")
        return ServiceError(404, "InvalidAction.NotFound", not_supported(name))

    def permission(self, route: Route, call: Call) -> Permission:
        if not firstgeneration.is_first(call.request):
            return super().permission(route, call)
        if route.path == firstgeneration.PUT_EVENTS:
            place = f"eventbus/{bus_of(read_events(call.request.body))}"
        else:
            place = self._of_first[route.operation].resource(firstgeneration.read_given(call.request))
        return Permission((f"eventbridge:{route.operation}",), (self.arn(place),))

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(403, "AccessDenied", f"You are not authorized to do this action: {needed}.")

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        if isinstance(error, EventRefused):
            status = self._world.behaviour.put_events_status
            error = ServiceError(status, error.code, error.message, error.headers)
        if not firstgeneration.is_first(request):
            return super().render_error(error, request, request_id)
        lower = self._world.behaviour.event_error_keys == "lower"
        return error_response(error, request, request_id, self.name, lower=lower)

    def dump(self) -> JsonObject:
        return {"buses": dump(list(self.buses), list[Bus])}

    def restore(self, state: JsonObject) -> None:
        document = member(state, "buses", self.name)
        buses = load(list[Bus], document, f"{self.name}.buses", listeners=[])
        # The loaded rules would share the one list of the line above.
        for rule in (rule for bus in buses for rule in bus.rules.values()):
            rule.listeners = []
        self.buses.restore(buses)

    def console_cards(self) -> Iterable[Card]:
        return [
            Card("event bus", bus.name, {"events": len(bus.puts), "rules": len(bus.rules)})
            for bus in self.buses
            if bus.puts or bus.rules
        ]


def _bus_resource(given: Parameters) -> str:
    return f"eventbus/{given.get('EventBusName', '')}"


def _rule_resource(given: Parameters) -> str:
    return f"{_bus_resource(given)}/rule/{given.get('RuleName', '')}"
