"""The targets of a rule as the API writes them.

Source: https://www.alibabacloud.com/help/en/eventbridge/user-guide/event-target-parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.eventbridge.errors import InvalidArgument
from alilocal.eventbridge.model import Target

_QUEUE = "acs.mns.queue"


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
    region_and_account = prefix.removeprefix("acs:eventbridge:")
    return [
        {
            "Id": target.target_id,
            "Type": _QUEUE,
            "Endpoint": f"acs:mns:{region_and_account}queues/{target.queue}",
            "ParamList": [
                {"ResourceKey": "queue", "Form": "CONSTANT", "Value": target.queue},
                {"ResourceKey": "Body", "Form": "ORIGINAL"},
                {
                    "ResourceKey": "IsBase64Encode",
                    "Form": "CONSTANT",
                    "Value": str(target.is_base64).lower(),
                },
            ],
        }
        for target in targets
    ]


def _target(row: JsonObject, index: int) -> Target:
    place = f"EventTargets[{index}]"
    if row.get("Type") != _QUEUE:
        raise InvalidArgument(f"{place}.Type: the local cloud has targets of type {_QUEUE} alone.")
    values: dict[str, str] = {}
    for one in _list(row.get("ParamList")):
        key, form = one.get("ResourceKey"), one.get("Form")
        if key == "Body" and form != "ORIGINAL":
            raise InvalidArgument(f"{place}: the local cloud sends the whole event, ORIGINAL, as Body.")
        values[str(key)] = str(one.get("Value") or "")
    queue = values.get("queue") or str(row.get("Endpoint") or "").rpartition("/")[2]
    if not queue:
        raise InvalidArgument(f"{place}: the parameter queue must be set.")
    return Target(str(row.get("Id") or index), queue, values.get("IsBase64Encode", "").lower() == "true")


def _list(value: JsonValue) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
