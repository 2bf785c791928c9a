"""Templates of Resource Orchestration Service (ROS): what they describe, in the form of `initfile.py`.

Resource types: https://www.alibabacloud.com/help/en/ros/developer-reference/list-of-resource-types-by-service. Of the
functions, Ref, Fn::Sub and Fn::Join are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from alilocal.core.jsonvalue import JsonObject, JsonValue

Found = tuple[str, str, dict[str, Any]]
"""A resource: its kind, its name, and its attributes."""
_SILENT = ("ALIYUN::OTS::Instance",)
"""Types that need nothing here: every instance name of Tablestore reaches the same tables."""


class BadInit(ValueError):
    """A file cannot be applied; the message names the place in it."""


def read_template(
    template: JsonObject, parameters: Mapping[str, str], region: str, account_id: str
) -> tuple[JsonObject, list[str]]:
    """Return the resources of a template, and notes about those that were left out; raises BadInit."""
    values = _Values(template, parameters, region, account_id)
    document: dict[str, Any] = {}
    notes: list[str] = []
    subscriptions: list[dict[str, Any]] = []
    for label, resource in _objects(template, "Resources").items():
        kind = str(resource.get("Type"))
        properties = values.resolve(resource.get("Properties") or {}, f"Resources.{label}")
        if kind == "ALIYUN::MNS::Subscription":
            subscriptions.append(cast("dict[str, Any]", properties))
        elif kind in _READERS:
            section, name, attributes = _READERS[kind](cast("dict[str, Any]", properties))
            document.setdefault(section, {})[name] = attributes
        elif kind not in _SILENT:
            notes.append(f"{label} is left out: the local cloud has no {kind}")
    for given in subscriptions:
        topic = document.setdefault("topics", {}).setdefault(given.pop("TopicName"), {})
        name = given.pop("SubscriptionName")
        topic.setdefault("subscriptions", {})[name] = _attributes(given)
    return document, notes


class _Values:
    """Replaces the functions in the properties of a template by their values."""

    def __init__(
        self, template: JsonObject, parameters: Mapping[str, str], region: str, account_id: str
    ) -> None:
        self._parameters = {
            name: parameters.get(name, one.get("Default"))
            for name, one in _objects(template, "Parameters").items()
        }
        self._parameters |= {"ALIYUN::Region": region, "ALIYUN::TenantId": account_id}

    def resolve(self, value: JsonValue, place: str) -> JsonValue:
        """Return `value` without functions; raises BadInit."""
        if isinstance(value, list):
            return [self.resolve(one, place) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Ref"}:
            return self._parameter(str(value["Ref"]), place)
        if set(value) == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
            return re.sub(
                r"\$\{([\w:]+)\}", lambda found: str(self._parameter(found[1], place)), value["Fn::Sub"]
            )
        if set(value) == {"Fn::Join"}:
            separator, parts = cast("list[Any]", self.resolve(value["Fn::Join"], place))
            return str(separator).join(map(str, parts))
        unknown = [name for name in value if name.startswith("Fn::")]
        if unknown:
            raise BadInit(f"{place}: the function {unknown[0]} is not known here.")
        return {name: self.resolve(one, f"{place}.{name}") for name, one in value.items()}

    def _parameter(self, name: str, place: str) -> JsonValue:
        if name not in self._parameters:
            raise BadInit(f"{place}: {name} is not a parameter of the template.")
        value = self._parameters[name]
        if value is None:
            raise BadInit(f"{place}: the parameter {name} has no value. Add --parameter {name}=VALUE.")
        return value


def _queue(given: dict[str, Any]) -> Found:
    name, policy = given.pop("QueueName"), given.pop("DlqPolicy", None)
    attributes = _attributes(given)
    if policy and policy.get("Enabled", True):
        attributes["dead_letter"] = {
            "queue": policy["DeadLetterTargetQueue"],
            "max_receive_count": policy.get("MaxReceiveCount", 3),
        }
    return "queues", name, attributes


def _topic(given: dict[str, Any]) -> Found:
    return "topics", given.pop("TopicName"), _attributes(given)


def _table(given: dict[str, Any]) -> Found:
    columns = [{"name": one["Name"], "type": one["Type"]} for one in given.pop("PrimaryKey")]
    attributes = _attributes({name: given[name] for name in ("MaxVersions", "TimeToLive") if name in given})
    return "tables", given["TableName"], {"primary_key": columns, **attributes}


def _role(given: dict[str, Any]) -> Found:
    return (
        "roles",
        given["RoleName"],
        {"policies": [one["PolicyDocument"] for one in given.get("Policies", [])]},
    )


def _bus(given: dict[str, Any]) -> Found:
    return "buses", given["EventBusName"], {"description": given.get("Description", "")}


_READERS: dict[str, Callable[[dict[str, Any]], Found]] = {
    "ALIYUN::MNS::Queue": _queue,
    "ALIYUN::MNS::Topic": _topic,
    "ALIYUN::OTS::Table": _table,
    "ALIYUN::RAM::Role": _role,
    "ALIYUN::EventBridge::EventBus": _bus,
}


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes with names such as `visibility_timeout` for `VisibilityTimeout`."""
    return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): value for name, value in given.items()}


def _objects(template: JsonObject, name: str) -> dict[str, dict[str, Any]]:
    found = template.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise BadInit(f"{name}: must be an object with one object per name.")
    return cast("dict[str, dict[str, Any]]", found)
