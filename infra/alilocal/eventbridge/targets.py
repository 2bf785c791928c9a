"""The targets of a rule as the API writes them.

Source: https://www.alibabacloud.com/help/en/eventbridge/user-guide/event-target-parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.eventbridge.errors import InvalidArgument
from alilocal.eventbridge.model import Target

_QUEUE, _FUNCTION = "acs.mns.queue", "acs.fc.function"
_NAMES = {_QUEUE: "queue", _FUNCTION: "functionName"}


def read_targets(text: str) -> list[Target]:
    """The targets in `text`, a JSON list; raises InvalidArgument."""
    try:
        rows = json.loads(text or "[]")
    except (ValueError, RecursionError):
        raise InvalidArgument("EventTargets is not valid JSON.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidArgument("EventTargets must be a list of objects.")
    return [_target(row, index) for index, row in enumerate(rows)]


def target_rows(targets: Sequence[Target], prefix: str) -> list[JsonValue]:
    """`targets` as the API tells them; `prefix` is that of the resources of EventBridge."""
    place = prefix.removeprefix("acs:eventbridge:")
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


def _target(row: JsonObject, index: int) -> Target:
    place = f"EventTargets[{index}]"
    kind = row.get("Type")
    if kind not in _NAMES:
        raise InvalidArgument(
            f"{place}.Type: the local cloud has targets of types {', '.join(_NAMES)} alone."
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
