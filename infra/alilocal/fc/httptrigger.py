"""HTTP triggers: a request becomes the event of a function, and its result an answer.

`fcruntime.httptrigger` makes both; it is imported by the first call, because everything else here works without
fcruntime. In the cloud each trigger has a host name of its own; here it has a path,
`/_fc/<id of the trigger>`. The SDKs of Function Compute 2.0 call the trigger of a function at
`/2016-08-15/proxy/<service>[.<qualifier>]/<function>/`.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import NamedTuple

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.service import Call
from alilocal.fc.callbase import CallBase
from alilocal.fc.errors import NotFound
from alilocal.fc.functionhost import LATEST
from alilocal.fc.registry import Entry, Trigger
from alilocal.fc.triggerconfig import HttpSource, read_source

PREFIX = "/_fc/"
_PROXY = re.compile(r"/(?:2016-08-15|2021-04-06)/proxy/([^/.]+)(?:\.([^/]+))?/([^/]+)(/.*)?")


class Addressed(NamedTuple):
    """The trigger that a request addresses, and the path within it."""

    entry: Entry
    trigger: Trigger
    source: HttpSource
    path: str


class HttpTriggers(CallBase):
    """Finds the trigger of a request, and calls its function."""

    def find(self, request: Request) -> Addressed:
        """Return the trigger that a request addresses; raises NotFound."""
        wanted, path = _read_path(request.path)
        for entry in self._registry.entries.values():
            for trigger in entry.triggers.values():
                if wanted in (trigger.trigger_id, (entry.name, trigger.qualifier)):
                    config, switches = json.loads(trigger.config), self._world.behaviour
                    source = read_source(trigger.kind, config, trigger.source_arn, switches)
                    if isinstance(source, HttpSource):
                        return Addressed(entry, trigger, source, path)
        raise NotFound("Trigger", wanted if isinstance(wanted, str) else wanted[0])

    def anonymous(self, request: Request) -> Credential | None:
        """Return the caller of a trigger that needs no signature, or None if it needs one; raises NotFound."""
        is_anonymous = self.find(request).source.is_anonymous
        return Credential("anonymous", "", self._world.account_id) if is_anonymous else None

    def call(self, call: Call) -> Response:
        """Call the function with the request as its event."""
        from fcruntime.httptrigger import http_answer
        from fcruntime.invoke import InvokeResult

        entry, trigger, source, path = self.find(call.request)
        if call.request.method not in source.methods:
            raise ServiceError(405, "MethodNotAllowed", f"the trigger takes {', '.join(source.methods)}")
        deployed = self._registry.find(entry.name, trigger.qualifier)
        self._check_callable(deployed)
        event, host = self._event(call, path), self._host()
        is_async = call.request.header("x-fc-invocation-type") == "Async"
        self._check_size(event, is_async=is_async)
        if is_async:
            accept = partial(host.invoke_async, deployed, event, call.request_id, 0)
            self._world.changed.run_unlocked(accept)
            return Response(202, (("X-Fc-Request-Id", call.request_id),))
        result = self._world.changed.run_unlocked(lambda: host.invoke(deployed, event, call.request_id))
        made = InvokeResult(call.request_id, result.body, result.error_type)
        status, headers, body = http_answer(made, as_builtin=True)
        error = () if result.error_type is None else (("X-Fc-Error-Type", result.error_type),)
        return Response(status, (("X-Fc-Request-Id", call.request_id), *error, *headers), body)

    def _event(self, call: Call, path: str) -> bytes:
        from fcruntime.context import Fc2Context
        from fcruntime.httptrigger import http_event

        request = call.request
        # FC replaces its own headers, whatever the caller sent.
        headers = [one for one in request.headers if not one[0].lower().startswith("x-fc-")]
        return http_event(
            request.method,
            f"{path}?{request.query}",
            [*headers, ("X-Fc-Client-Ip", "127.0.0.1")],
            request.body,
            Fc2Context(call.request_id, account_id=self._world.account_id),
            now=self._world.clock.now(),
            as_builtin=True,
        )


def is_http_call(request: Request) -> bool:
    """Return whether a request addresses an HTTP trigger."""
    return request.path.startswith(PREFIX) or _PROXY.fullmatch(request.path) is not None


def _read_path(path: str) -> tuple[str | tuple[str, str], str]:
    """Return the id of a trigger, or the name and the qualifier of its function, and the path within it."""
    found = _PROXY.fullmatch(path)
    if found is None:
        trigger_id, _, rest = path.removeprefix(PREFIX).partition("/")
        return trigger_id, f"/{rest}"
    service, qualifier, function, rest = found.groups()
    return (f"{service}${function}", qualifier or LATEST), rest or "/"


def url_of(request: Request, trigger: Trigger) -> str | None:
    """Return the address of an HTTP trigger for the caller of `request`, or None for other triggers."""
    return f"http://{request.authority}{PREFIX}{trigger.trigger_id}" if trigger.kind == "http" else None
