"""The first generation of the API: a path per operation, parameters as JSON, and answers without an envelope.

Forms: alibabacloud-eventbridge 1.3.8. The operations are those of the second generation, except for PutEvents, which
takes CloudEvents as they are and is in `putevents.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from alilocal.core.gateway import json_response
from alilocal.core.http import Request, Response
from alilocal.core.jsonvalue import JsonObject, load_json
from alilocal.core.rpc import Action
from alilocal.core.service import Call, Route
from alilocal.eventbridge.errors import InvalidArgument

PREFIX = "/openapi/"
PUT_EVENTS = f"{PREFIX}putEvents"
_MADE, _CHANGED, _CREATED = "Ctime", "Mtime", "CreatedTimestamp"


def is_first(request: Request) -> bool:
    """Return whether a request goes to a path of the first generation."""
    return request.path.startswith(PREFIX)


def operation_named(request: Request) -> str:
    """Return the name of the operation in a path, as the service's documentation spells it."""
    name = request.path.rpartition("/")[2]
    return name[:1].upper() + name[1:]


def routes(actions: list[Action], account_id: str) -> list[Route]:
    """Return a route for each action of the second generation that the first one has, too."""
    return [
        Route(
            one.name,
            "POST",
            f"{PREFIX}{one.name[0].lower()}{one.name[1:]}",
            _handler(one, account_id),
            missing=one.missing,
        )
        for one in actions
    ]


def read_given(request: Request) -> dict[str, str]:
    """Return the parameters of a call as the second generation has them: as texts. Raises InvalidArgument."""
    try:
        value = load_json(request.body or b"{}")
    except ValueError:
        raise InvalidArgument("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidArgument("The body must be a JSON object.")
    given = {
        name: one if isinstance(one, str) else json.dumps(one)
        for name, one in value.items()
        if one is not None
    }
    if operation_named(request) == "CreateRule" and "Targets" in given:
        given["EventTargets"] = given.pop("Targets")
    return given


def _handler(action: Action, account_id: str) -> Callable[[Call], Response]:
    def handler(call: Call) -> Response:
        answer = action.act(read_given(call.request), call)
        data = answer.get("Data")
        members = _add_times(data) if isinstance(data, dict) else {}
        body: JsonObject = {
            "RequestId": call.request_id,
            "ResourceOwnerAccountId": account_id,
            **({"NextToken": ""} if "Total" in members else {}),
            **members,
        }
        return json_response(200, body, call.request_id)

    return handler


def _add_times(members: JsonObject) -> JsonObject:
    """Return the members of an answer, in which each rule has its times under the first generation's names."""
    rules = members.get("Rules")
    if isinstance(rules, list):
        members = {**members, "Rules": [_add_times(rule) for rule in rules if isinstance(rule, dict)]}
    if _CREATED in members:
        created = members[_CREATED]
        members = {name: value for name, value in members.items() if name != _CREATED}
        members |= {_MADE: created, _CHANGED: created}
    return members
