"""The operations of EventBridge: PutEvents of both generations, buses and rules."""

from __future__ import annotations

from typing import TypeVar

from alilocal.core.gateway import json_response
from alilocal.core.http import Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json, read_whole
from alilocal.core.rpc import Parameters
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.eventbridge.errors import EventRefused, InvalidArgument, NoSuchRule
from alilocal.eventbridge.model import Buses, Rule
from alilocal.eventbridge.pattern import BadPattern, matches, read_pattern
from alilocal.eventbridge.putevents import Intake, bus_of, entry_members, read_events
from alilocal.eventbridge.switches import EventBridgeSwitches
from alilocal.eventbridge.wire import Names, bus_row, read_names, read_targets, rule_row, success, target_rows

T = TypeVar("T")


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[EventBridgeSwitches], buses: Buses, names: Names) -> None:
        self._world = world
        self._buses = buses
        self._names = names
        self._intake = Intake(world, buses)

    def put_first(self, call: Call) -> Response:
        """Answer PutEvents of the first generation, which has a path and a signature of its own."""
        events = read_events(call.request.body)
        entries = self._intake.put(bus_of(events), events)
        body: JsonObject = {
            "RequestId": call.request_id,
            "ResourceOwnerAccountId": self._world.account_id,
            **entry_members(entries, self._world.behaviour.event_success_code),
        }
        return json_response(200, body, call.request_id)

    def put(self, given: Parameters, _call: Call) -> JsonObject:
        bus = given.get("EventBusName", "")
        if not bus:
            raise EventRefused("EventBusEmpty", "EventBusName must be set.")
        events = [_cloud_event(event) for event in read_events(given.get("EventList", ""))]
        entries = self._intake.put(bus, events)
        return success(entry_members(entries, self._world.behaviour.event_success_code))

    def create_bus(self, given: Parameters, _call: Call) -> JsonObject:
        bus = self._buses.create(given.get("EventBusName", ""), given.get("Description", ""))
        return success({"EventBusARN": self._names.bus(bus.name)})

    def get_bus(self, given: Parameters, _call: Call) -> JsonObject:
        return success(bus_row(self._buses.get(given.get("EventBusName", "")), self._names))

    def list_buses(self, given: Parameters, _call: Call) -> JsonObject:
        found = [bus for bus in self._buses if bus.name.startswith(given.get("NamePrefix", ""))]
        rows, following = _page(found, given)
        buses: list[JsonValue] = [bus_row(bus, self._names) for bus in rows]
        return success({"EventBuses": buses, "Total": len(found), **following})

    def delete_bus(self, given: Parameters, _call: Call) -> JsonObject:
        self._buses.delete(given.get("EventBusName", ""))
        return success({})

    def create_rule(self, given: Parameters, _call: Call) -> JsonObject:
        if not given.get("RuleName"):
            raise InvalidArgument("RuleName must be set.")
        bus = given.get("EventBusName", "")
        rule = self._buses.rule(
            given["RuleName"],
            _read_pattern(given.get("FilterPattern", "")),
            bus=bus,
            targets=read_targets(given.get("EventTargets", "")),
            description=given.get("Description", ""),
            enabled=_is_enabled(given, before=True),
        )
        return success({"RuleARN": self._names.rule(bus, rule.name)})

    def update_rule(self, given: Parameters, _call: Call) -> JsonObject:
        rule = self._rule(given)
        pattern, targets = given.get("FilterPattern"), given.get("EventTargets")
        # Everything is read before anything is changed.
        self._buses.update_rule(
            rule,
            _read_pattern(pattern) if pattern else rule.pattern,
            read_targets(targets) if targets else rule.targets,
            description=given.get("Description", rule.description),
            enabled=_is_enabled(given, before=rule.enabled),
        )
        return success({})

    def get_rule(self, given: Parameters, _call: Call) -> JsonObject:
        return success(rule_row(given.get("EventBusName", ""), self._rule(given), self._names))

    def list_rules(self, given: Parameters, _call: Call) -> JsonObject:
        bus = self._buses.get(given.get("EventBusName", ""))
        prefix = given.get("RuleNamePrefix", "")
        found = [rule for _, rule in sorted(bus.rules.items()) if rule.name.startswith(prefix)]
        rows, following = _page(found, given)
        rules: list[JsonValue] = [rule_row(bus.name, rule, self._names) for rule in rows]
        return success({"Rules": rules, "Total": len(found), **following})

    def enable_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self._rule(given).enabled = True
        return success({})

    def disable_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self._rule(given).enabled = False
        return success({})

    def delete_rule(self, given: Parameters, _call: Call) -> JsonObject:
        self._buses.drop_rule(given.get("RuleName", ""), given.get("EventBusName", ""))
        return success({})

    def put_targets(self, given: Parameters, _call: Call) -> JsonObject:
        rule, targets = self._rule(given), read_targets(given.get("Targets", ""), "Targets")
        self._buses.put_targets(rule, targets)
        return success({"ErrorEntriesCount": 0, "ErrorEntries": []})

    def list_targets(self, given: Parameters, _call: Call) -> JsonObject:
        targets = self._rule(given).targets
        rows, following = _page(targets, given)
        return success({"Targets": target_rows(rows, self._names), "Total": len(targets), **following})

    def delete_targets(self, given: Parameters, _call: Call) -> JsonObject:
        rule, unwanted = self._rule(given), read_names(given.get("TargetIds", ""), "TargetIds")
        rule.targets = [target for target in rule.targets if target.target_id not in unwanted]
        return success({"ErrorEntriesCount": 0, "ErrorEntries": []})

    def match_pattern(self, given: Parameters, _call: Call) -> JsonObject:
        pattern = _read_pattern(given.get("EventPattern", ""))
        try:
            event = load_json(given.get("Event", ""))
        except ValueError:
            raise InvalidArgument("Event is not valid JSON.") from None
        return success({"Result": matches(pattern, event)})

    def _rule(self, given: Parameters) -> Rule:
        rules, name = self._buses.get(given.get("EventBusName", "")).rules, given.get("RuleName", "")
        if name not in rules:
            raise NoSuchRule(name)
        return rules[name]


def _is_enabled(given: Parameters, *, before: bool) -> bool:
    status = given.get("Status") or ("ENABLE" if before else "DISABLE")
    if status not in ("ENABLE", "DISABLE"):
        raise InvalidArgument("Status must be ENABLE or DISABLE.")
    return status == "ENABLE"


def _read_pattern(text: str) -> JsonObject:
    try:
        return read_pattern(text)
    except BadPattern as exc:
        raise ServiceError(400, "InvalidEventPattern", str(exc)) from None


def _cloud_event(given: JsonObject) -> JsonObject:
    """Return the CloudEvent of a member of `EventList`, whose names begin with capitals."""
    event = {name.lower(): value for name, value in given.items() if value is not None}
    return {"specversion": "1.0", **event}


def _page(rows: list[T], given: Parameters) -> tuple[list[T], JsonObject]:
    """Return up to `Limit` rows from `NextToken` on, and the token of the next page."""
    start = read_whole(given.get("NextToken") or "0")
    limit = read_whole(given.get("Limit") or "100", 1, 100)
    if start is None or limit is None:
        raise InvalidArgument("NextToken or Limit is not valid.")
    end = start + limit
    return rows[start:end], ({"NextToken": str(end)} if end < len(rows) else {})
