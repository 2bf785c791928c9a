"""HTTP triggers: a request becomes the event of a function, and its result an answer.

`fcruntime.httptrigger` makes both; it is imported by the first call, because everything else here works without
fcruntime. In the cloud each trigger has a host name of its own; here it has a path,
`/_fc/<id of the trigger>/`.
"""

from __future__ import annotations

import json
from functools import partial
from typing import NamedTuple

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.service import Call
from alilocal.fc.callbase import CallBase
from alilocal.fc.errors import InvocationDisabled, NotFound
from alilocal.fc.registry import Entry, Trigger
from alilocal.fc.triggerconfig import HttpSource, read_source

PREFIX = "/_fc/"


class Addressed(NamedTuple):
    """The trigger that a request addresses."""

    entry: Entry
    trigger: Trigger
    source: HttpSource


class HttpTriggers(CallBase):
    """Finds the trigger of a request, and calls its function."""

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
        from fcruntime.httptrigger import http_answer
        from fcruntime.invoke import InvokeResult

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
        made = InvokeResult(call.request_id, result.body, result.error_type)
        status, headers, body = http_answer(made, as_builtin=True)
        error = () if result.error_type is None else (("X-Fc-Error-Type", result.error_type),)
        return Response(status, (("X-Fc-Request-Id", call.request_id), *error, *headers), body)

    def _event(self, call: Call) -> bytes:
        from fcruntime.context import Fc2Context
        from fcruntime.httptrigger import http_event

        request = call.request
        path = "/" + request.path.removeprefix(PREFIX).partition("/")[2]
        # FC writes its own headers anew, whatever the caller sent.
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


def url_of(request: Request, trigger: Trigger) -> str | None:
    """Return the address of an HTTP trigger for the caller of `request`, or None for other triggers."""
    return f"http://{request.authority}{PREFIX}{trigger.trigger_id}/" if trigger.kind == "http" else None
