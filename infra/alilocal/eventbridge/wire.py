"""Buses, rules and targets as they are on the wire.

Targets: https://www.alibabacloud.com/help/en/eventbridge/user-guide/event-target-parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.eventbridge.errors import InvalidArgument
from alilocal.eventbridge.model import Bus, Rule, Target

_QUEUE, _FUNCTION = "acs.mns.queue", "acs.fc.function"
_NAMES = {_QUEUE: "queue", _FUNCTION: "functionName"}


class Names(NamedTuple):
    """The full names of resources in one account and region."""

    region: str
    account_id: str

    @property
    def place(self) -> str:
        """The part of a name between the service and the resource, with a colon at its end."""
        return f"{self.region}:{self.account_id}:"

    def bus(self, name: str) -> str:
        """Return the full name of a bus."""
        return f"acs:eventbridge:{self.place}eventbus/{name}"

    def rule(self, bus: str, name: str) -> str:
        """Return the full name of a rule."""
        return f"{self.bus(bus)}/rule/{name}"


def success(data: JsonObject) -> JsonObject:
    """Return an answer without error."""
    return {"Success": True, "Code": "200", "Message": "success", "Data": data}


def bus_row(bus: Bus, names: Names) -> JsonObject:
    """Return the members of a bus."""
    return {
        "EventBusName": bus.name,
        "EventBusARN": names.bus(bus.name),
        "Description": bus.description,
        "CreateTimestamp": round(bus.created * 1000),
    }


def rule_row(bus: str, rule: Rule, names: Names) -> JsonObject:
    """Return the members of a rule."""
    return {
        "RuleName": rule.name,
        "RuleARN": names.rule(bus, rule.name),
        "EventBusName": bus,
        "Description": rule.description,
        "FilterPattern": json.dumps(rule.pattern, ensure_ascii=False),
        "Status": "ENABLE" if rule.enabled else "DISABLE",
        "CreatedTimestamp": round(rule.created * 1000),
        "Targets": target_rows(rule.targets, names),
    }


def read_targets(text: str, name: str = "EventTargets") -> list[Target]:
    """Return the targets in the parameter `name`, a JSON list; raises InvalidArgument."""
    rows = _read_list(text, name)
    if not all(isinstance(row, dict) for row in rows):
        raise InvalidArgument(f"{name} must be a list of objects.")
    return [
        _target(row, f"{name}[{index}]", index) for index, row in enumerate(rows) if isinstance(row, dict)
    ]


def read_names(text: str, name: str) -> list[str]:
    """Return the texts in the parameter `name`, a JSON list; raises InvalidArgument."""
    return [str(one) for one in _read_list(text, name)]


def _read_list(text: str, name: str) -> list[JsonValue]:
    try:
        rows = load_json(text or "[]")
    except ValueError:
        raise InvalidArgument(f"{name} is not valid JSON.") from None
    if not isinstance(rows, list):
        raise InvalidArgument(f"{name} must be a list.")
    return rows


def target_rows(targets: Sequence[Target], names: Names) -> list[JsonValue]:
    """Return the members of targets."""
    place = names.place
    return [_queue_row(target, place) if target.queue else _function_row(target, place) for target in targets]


def _queue_row(target: Target, place: str) -> JsonObject:
    flag = str(target.is_base64).lower()
    return {
        "Id": target.target_id,
        "Type": _QUEUE,
        "Endpoint": f"acs:mns:{place}queues/{target.queue}",
        "ParamList": [
            {"ResourceKey": "queue", "Form": "CONSTANT", "Value": target.queue},
            {"ResourceKey": "IsBase64Encode", "Form": "CONSTANT", "Value": flag},
            {"ResourceKey": "Body", "Form": "ORIGINAL"},
        ],
    }


def _function_row(target: Target, place: str) -> JsonObject:
    return {
        "Id": target.target_id,
        "Type": _FUNCTION,
        "Endpoint": f"acs:fc:{place}functions/{target.function}",
        "ParamList": [
            {"ResourceKey": "functionName", "Form": "CONSTANT", "Value": target.function},
            {"ResourceKey": "Body", "Form": "ORIGINAL"},
        ],
    }


def _target(row: JsonObject, place: str, index: int) -> Target:
    kind = str(row.get("Type"))
    if kind not in _NAMES:
        raise InvalidArgument(
            f"{place}.Type: the local cloud has targets of the types {', '.join(_NAMES)} only."
        )
    values: dict[str, str] = {}
    for one in _list(row.get("ParamList")):
        key, form = one.get("ResourceKey"), one.get("Form")
        if key == "Body" and form != "ORIGINAL":
            raise InvalidArgument(f"{place}: the local cloud sends the whole event, ORIGINAL, as Body.")
        values[str(key)] = str(one.get("Value") or "")
    key = _NAMES[str(kind)]
    name = values.get(key) or str(row.get("Endpoint") or "").rpartition("/")[2]
    if not name:
        raise InvalidArgument(f"{place}: the parameter {key} must be set.")
    target_id, is_base64 = str(row.get("Id") or index), values.get("IsBase64Encode", "").lower() == "true"
    return Target(target_id, name, None, is_base64) if kind == _QUEUE else Target(target_id, None, name)


def _list(value: JsonValue) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
