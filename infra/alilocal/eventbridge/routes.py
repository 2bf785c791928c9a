"""The operations of EventBridge: PutEvents of both generations, buses and rules.

Source: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/api-eventbridge-2020-04-01-overview.
"""

from __future__ import annotations

import json
from typing import TypeVar

from alilocal.core.credentials import Credential
from alilocal.core.gateway import gateway_error, json_response
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.ram import Permission
from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.service import Call, Route
from alilocal.core.snapshot import dump, load, member
from alilocal.core.world import World
from alilocal.eventbridge.errors import EventRefused, InvalidArgument, NoSuchRule
from alilocal.eventbridge.model import Bus, Buses, Rule
from alilocal.eventbridge.pattern import BadPattern, matches, read_pattern
from alilocal.eventbridge.putevents import Intake, bus_of, read_events, told
from alilocal.eventbridge.signature import Signatures
from alilocal.eventbridge.targets import read_targets, target_rows
from alilocal.eventbridge.unsupported import UNSUPPORTED
from alilocal.smq.store import Queues

T = TypeVar("T")

_PATH = "/openapi/putEvents"
_ONLY = "to queues (`acs.mns.queue`) and functions (`acs.fc.function`), with the whole event as body"


class EventBridge(RpcService):
    """Buses, rules, and events that are put."""

    name = "eventbridge"
    title = "EventBridge 2020-04-01"
    version = "2020-04-01"
    ram_code = "eventbridge"
    unsupported = UNSUPPORTED

    def __init__(self, world: World, queues: Queues) -> None:
        self.buses = Buses(world, queues)
        self._intake = Intake(world, self.buses)
        self._first = Signatures(world.credentials, world.clock)
        super().__init__(
            world,
            (
                Action("PutEvents", self._put, _bus_place),
                Action("CreateEventBus", self._create_bus, _bus_place),
                Action("GetEventBus", self._get_bus, _bus_place),
                Action("ListEventBuses", self._list_buses, lambda _: "eventbus/*"),
                Action("DeleteEventBus", self._delete_bus, _bus_place),
                Action("CreateRule", self._create_rule, _rule_place, _ONLY),
                Action("UpdateRule", self._update_rule, _rule_place, _ONLY),
                Action("GetRule", self._get_rule, _rule_place),
                Action("ListRules", self._list_rules, _bus_place),
                Action("EnableRule", self._enable_rule, _rule_place),
                Action("DisableRule", self._disable_rule, _rule_place),
                Action("DeleteRule", self._delete_rule, _rule_place),
                Action("TestEventPattern", self._test_pattern, lambda _: "*"),
            ),
            (Route("PutEvents", "POST", _PATH, self._put_first),),
        )

    def owns(self, request: Request) -> bool:
        return request.path == _PATH or super().owns(request)

    def find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        return (self.routes[0], {}) if request.path == _PATH else super().find(request)

    def verify(self, request: Request) -> Credential:
        return self._first.verify(request) if request.path == _PATH else super().verify(request)

    def permission(self, route: Route, call: Call) -> Permission:
        if route is not self.routes[0]:
            return super().permission(route, call)
        bus = bus_of(read_events(call.request.body))
        return Permission(("eventbridge:PutEvents",), (self.arn(f"eventbus/{bus}"),))

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(403, "AccessDenied", f"You are not authorized to do this action: {needed}.")

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        if isinstance(error, EventRefused):
            status = self._world.behaviour.put_events_status
            error = ServiceError(status, error.code, error.message, error.headers)
        if request.path != _PATH:
            return super().render_error(error, request, request_id)
        host, lower = request.header("Host") or "localhost", self._world.behaviour.event_error_keys == "lower"
        body = gateway_error(error, request_id, host, self.name, lower=lower)
        answer = json_response(error.status, body, request_id)
        return Response(answer.status, (*answer.headers, *error.headers), answer.body)

    def dump(self) -> JsonObject:
        return {"buses": dump(list(self.buses), list[Bus])}

    def restore(self, state: JsonObject) -> None:
        document = member(state, "buses", self.name)
        buses = load(list[Bus], document, f"{self.name}.buses", listeners=[])
        for rule in (rule for bus in buses for rule in bus.rules.values()):
            rule.listeners = []
        self.buses.restore(buses)

    def _put_first(self, call: Call) -> Response:
        events = read_events(call.request.body)
        entries = self._intake.put(bus_of(events), events)
        body: JsonObject = {
            "RequestId": call.request_id,
            "ResourceOwnerAccountId": self._world.account_id,
            **told(entries, self._world.behaviour.event_success_code),
        }
        return json_response(200, body, call.request_id)

    def _put(self, given: Parameters, _call: Call) -> JsonObject:
        bus = given.get("EventBusName", "")
        if not bus:
            raise EventRefused("EventBusEmpty", "EventBusName must be set.")
        events = [_cloud_event(event) for event in read_events(given.get("EventList", ""))]
        return _success(told(self._intake.put(bus, events), self._world.behaviour.event_success_code))

    def _create_bus(self, given: Parameters, _call: Call) -> JsonObject:
        bus = self.buses.create(given.get("EventBusName", ""), given.get("Description", ""))
        return _success({"EventBusARN": self.arn(f"eventbus/{bus.name}")})

    def _get_bus(self, given: Parameters, _call: Call) -> JsonObject:
        return _success(self._bus_row(self.buses.get(given.get("EventBusName", ""))))

    def _list_buses(self, given: Parameters, _call: Call) -> JsonObject:
        found = [bus for bus in self.buses if bus.name.startswith(given.get("NamePrefix", ""))]
        rows, following = _page(found, given)
        buses: list[JsonValue] = [self._bus_row(bus) for bus in rows]
        return _success({"EventBuses": buses, "Total": len(found), **following})

    def _delete_bus(self, given: Parameters, _call: Call) -> JsonObject:
        self.buses.delete(given.get("EventBusName", ""))
        return _success({})

    def _create_rule(self, given: Parameters, _call: Call) -> JsonObject:
        if not given.get("RuleName"):
            raise InvalidArgument("RuleName must be set.")
        rule = self.buses.rule(
            given["RuleName"],
            _pattern(given.get("FilterPattern", "")),
            bus=given.get("EventBusName", ""),
            targets=read_targets(given.get("EventTargets", "")),
            description=given.get("Description", ""),
            enabled=given.get("Status", "ENABLE") == "ENABLE",
        )
        return _success({"RuleARN": self._rule_arn(given.get("EventBusName", ""), rule)})

    def _update_rule(self, given: Parameters, _call: Call) -> JsonObject:
        rule = self._rule(given)
        if given.get("FilterPattern"):
            rule.pattern = _pattern(given["FilterPattern"])
        if given.get("EventTargets"):
            rule.targets = list(read_targets(given["EventTargets"]))
        rule.description = given.get("Description", rule.description)
        rule.enabled = given.get("Status", "ENABLE" if rule.enabled else "DISABLE") == "ENABLE"
        return _success({})

    def _get_rule(self, given: Parameters, _call: Call) -> JsonObject:
        return _success(self._rule_row(given.get("EventBusName", ""), self._rule(given)))

    def _list_rules(self, given: Parameters, _call: Call) -> JsonObject:
        bus = self.buses.get(given.get("EventBusName", ""))
        prefix = given.get("RuleNamePrefix", "")
        found = [rule for _, rule in sorted(bus.rules.items()) if rule.name.startswith(prefix)]
        rows, following = _page(found, given)
        rules: list[JsonValue] = [self._rule_row(bus.name, rule) for rule in rows]
        return _success({"Rules": rules, "Total": len(found), **following})

    def _enable_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self._rule(given).enabled = True
        return _success({})

    def _disable_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self._rule(given).enabled = False
        return _success({})

    def _delete_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self.buses.drop_rule(given.get("RuleName", ""), given.get("EventBusName", ""))
        return _success({})

    def _test_pattern(self, given: Parameters, _call: Call) -> JsonObject:
        pattern = _pattern(given.get("EventPattern", ""))
        try:
            event = json.loads(given.get("Event", ""))
        except (ValueError, RecursionError):
            raise InvalidArgument("Event is not valid JSON.") from None
        return _success({"Result": matches(pattern, event)})

    def _rule(self, given: Parameters) -> Rule:
        rules, name = self.buses.get(given.get("EventBusName", "")).rules, given.get("RuleName", "")
        if name not in rules:
            raise NoSuchRule(name)
        return rules[name]

    def _bus_row(self, bus: Bus) -> JsonObject:
        return {
            "EventBusName": bus.name,
            "EventBusARN": self.arn(f"eventbus/{bus.name}"),
            "Description": bus.description,
            "CreateTimestamp": round(bus.created * 1000),
        }

    def _rule_row(self, bus: str, rule: Rule) -> JsonObject:
        return {
            "RuleName": rule.name,
            "RuleARN": self._rule_arn(bus, rule),
            "EventBusName": bus,
            "Description": rule.description,
            "FilterPattern": json.dumps(rule.pattern, ensure_ascii=False),
            "Status": "ENABLE" if rule.enabled else "DISABLE",
            "CreatedTimestamp": round(rule.created * 1000),
            "Targets": target_rows(rule.targets, self.arn("")),
        }

    def _rule_arn(self, bus: str, rule: Rule) -> str:
        return self.arn(f"eventbus/{bus}/rule/{rule.name}")


def _success(data: JsonObject) -> JsonObject:
    return {"Success": True, "Code": "200", "Message": "success", "Data": data}


def _bus_place(given: Parameters) -> str:
    return f"eventbus/{given.get('EventBusName', '')}"


def _rule_place(given: Parameters) -> str:
    return f"{_bus_place(given)}/rule/{given.get('RuleName', '')}"


def _pattern(text: str) -> JsonObject:
    try:
        return read_pattern(text)
    except BadPattern as exc:
        raise ServiceError(400, "InvalidEventPattern", str(exc)) from None


def _cloud_event(given: JsonObject) -> JsonObject:
    """The CloudEvent of a member of `EventList`, whose names begin with capitals."""
    event = {name.lower(): value for name, value in given.items() if value is not None}
    return {"specversion": "1.0", **event}


def _page(rows: list[T], given: Parameters) -> tuple[list[T], JsonObject]:
    """Up to `Limit` rows from `NextToken` on, and the token of the next page."""
    start, limit = given.get("NextToken") or "0", given.get("Limit") or "100"
    if not (start.isdigit() and limit.isdigit() and 0 < int(limit) <= 100):
        raise InvalidArgument("NextToken or Limit is not valid.")
    end = int(start) + int(limit)
    return rows[int(start) : end], ({"NextToken": str(end)} if end < len(rows) else {})
