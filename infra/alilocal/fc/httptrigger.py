"""HTTP triggers: a request becomes the event of a function, and its result an answer.

In the cloud each trigger has a host name of its own; here it has a path, `/_fc/<id of the trigger>/`. Source:
https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from alilocal.core.credentials import Credential
from alilocal.core.http import Headers, Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.deployed import FunctionHost
from alilocal.fc.errors import InvocationDisabled, NotFound
from alilocal.fc.model import InvocationResult
from alilocal.fc.registry import Entry, Registry, Trigger
from alilocal.fc.switches import FunctionComputeSwitches
from alilocal.fc.triggerconfig import HttpSource, read_source

PREFIX = "/_fc/"
_JSON: Headers = (("Content-Type", "application/json"),)
_INVALID = {
    "errorMessage": "the handler's result is not a valid HTTP answer",
    "errorType": "InvalidResponse",
}
_SET_BY_SERVER = ("content-length", "transfer-encoding", "connection", "date")


class Addressed(NamedTuple):
    """The trigger that a request addresses."""

    entry: Entry
    trigger: Trigger
    source: HttpSource


class HttpTriggers:
    """Finds the trigger of a request, and calls its function."""

    def __init__(
        self,
        world: World[FunctionComputeSwitches],
        registry: Registry,
        host: Callable[[], FunctionHost],
    ) -> None:
        self._world = world
        self._registry = registry
        self._host = host

    def find(self, request: Request) -> Addressed:
        """Return the trigger that a request addresses; raises NotFound."""
        trigger_id = request.path.removeprefix(PREFIX).partition("/")[0]
        for entry in self._registry.entries.values():
            for trigger in entry.triggers.values():
                if trigger.trigger_id == trigger_id:
                    config, switches = json.loads(trigger.config), self._world.behaviour
                    source = read_source(trigger.kind, config, trigger.source_arn, switches)
                    if isinstance(source, HttpSource):
                        return Addressed(entry, trigger, source)
        raise NotFound("Trigger", trigger_id)

    def anonymous(self, request: Request) -> Credential | None:
        """Return the caller of a trigger that needs no signature, or None if it needs one; raises NotFound."""
        is_anonymous = self.find(request).source.is_anonymous
        return Credential("anonymous", "", self._world.account_id) if is_anonymous else None

    def call(self, call: Call) -> Response:
        """Call the function with the request as its event."""
        entry, trigger, source = self.find(call.request)
        if call.request.method not in source.methods:
            raise ServiceError(405, "MethodNotAllowed", f"the trigger takes {', '.join(source.methods)}")
        if entry.disabled:
            raise InvocationDisabled(entry.name)
        deployed = self._registry.find(entry.name, trigger.qualifier)
        event, host = self._event(call), self._host()
        if call.request.header("x-fc-invocation-type") == "Async":
            accept = partial(host.invoke_async, deployed, event, call.request_id, 0)
            self._world.changed.run_unlocked(accept)
            return Response(202, (("X-Fc-Request-Id", call.request_id),))
        result = self._world.changed.run_unlocked(lambda: host.invoke(deployed, event, call.request_id))
        status, headers, body = _answer(result)
        return Response(status, (("X-Fc-Request-Id", call.request_id), *headers), body)

    def _event(self, call: Call) -> bytes:
        request, now = call.request, self._world.clock.now()
        path = "/" + request.path.removeprefix(PREFIX).partition("/")[2]
        names = {name.lower(): name for name, _ in request.headers}
        headers = {
            name: request.header(name) for lower, name in names.items() if not lower.startswith("x-fc-")
        }
        domain = request.header("Host") or ""
        try:
            text, is_base64 = request.body.decode(), False
        except UnicodeDecodeError:
            text, is_base64 = base64.b64encode(request.body).decode(), True
        event = {
            "version": "v1",
            "rawPath": path,
            "body": text,
            "isBase64Encoded": is_base64,
            "headers": headers,
            "queryParameters": dict(request.query_pairs(plus_is_space=True)),
            "requestContext": {
                "accountId": self._world.account_id,
                "domainName": domain,
                "domainPrefix": domain.partition(".")[0],
                "http": {
                    "method": request.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": request.header("User-Agent") or "",
                },
                "requestId": call.request_id,
                "time": wire.moment(now),
                "timeEpoch": str(int(now * 1000)),
            },
        }
        return json.dumps(event, ensure_ascii=False).encode(errors="replace")


def url_of(request: Request, trigger: Trigger) -> str | None:
    """Return the address of an HTTP trigger for the caller of `request`, or None for other triggers."""
    host = request.header("Host") or "localhost"
    return f"http://{host}{PREFIX}{trigger.trigger_id}/" if trigger.kind == "http" else None


def _answer(result: InvocationResult) -> tuple[int, Headers, bytes]:
    """Return status, headers and body for a result. An error of the function is a 502."""
    if not result.ok:
        return 502, (*_JSON, ("X-Fc-Error-Type", result.error_type or "")), result.body
    try:
        answer = json.loads(result.body)
    except (ValueError, RecursionError):
        return 200, (("Content-Type", "text/plain; charset=utf-8"),), result.body
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return 200, _JSON, result.body
    status, body, given = answer["statusCode"], answer.get("body", ""), answer.get("headers")
    text = body if isinstance(body, str) else json.dumps(body)
    data = _data(answer, text)
    if data is None or isinstance(status, bool) or not isinstance(status, int) or not 200 <= status < 600:
        return 502, (*_JSON, ("X-Fc-Error-Type", "InvalidResponse")), json.dumps(_INVALID).encode()
    return status, _headers(given if isinstance(given, dict) else {}), data


def _data(answer: JsonObject, text: str) -> bytes | None:
    """Return the body of an answer, or None if it should be base64 and is not."""
    if answer.get("isBase64Encoded") is not True:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _headers(given: JsonObject) -> Headers:
    found = tuple(
        (name, " ".join((value if isinstance(value, str) else json.dumps(value)).split()))
        for name, value in given.items()
        if name.lower() not in _SET_BY_SERVER and not name.lower().startswith("x-fc-")
    )
    return found or _JSON
