"""InvokeFunction: synchronous and asynchronous calls of a function.

Headers: https://www.alibabacloud.com/help/en/functioncompute/fc/developer-reference/api-fc-2023-03-30-invokefunction.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from alilocal.core.http import Headers, Response, ServiceError
from alilocal.core.jsonvalue import read_whole
from alilocal.core.service import Call
from alilocal.fc import wire
from alilocal.fc.callbase import CallBase
from alilocal.fc.errors import InvalidArgument, TaskExists
from alilocal.fc.functionhost import LATEST, Deployed
from alilocal.fc.model import InvocationResult

T = TypeVar("T")
_MOST_DELAY_SECONDS = 3600
_TASK = re.compile(r"[A-Za-z_][\w-]{0,127}", re.ASCII)
_KEPT_TASKS = 10_000


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise InvalidArgument for a header with another value, in the words of the service."""
    if value not in allowed:
        raise InvalidArgument(
            f"{name} is set to an invalid value (allowed: {' | '.join(allowed)}, actual: '{value}')"
        )


class InvokeCalls(CallBase):
    """The handlers of the operations."""

    def invoke(self, call: Call) -> Response:
        """Call a function as the request's headers say."""
        return self.invoke_qualified(call, call.params["function"], wire.query(call.request, "qualifier"))

    def invoke_qualified(self, call: Call, name: str, qualifier: str | None) -> Response:
        """Call a function; the body of the answer is its result, and the headers say how the call went."""
        host, event = self._host(), call.request.body
        kind = call.request.header("x-fc-invocation-type") or "Sync"
        _check_choice("InvocationType", kind, ("Sync", "Async"))
        log_types = ("Tail", "None") if kind == "Sync" else ("None",)
        _check_choice("LogType", call.request.header("x-fc-log-type") or "None", log_types)
        self._check_size(event, is_async=kind == "Async")
        if name not in self._registry.entries and host.local(name):
            result = self._run(lambda: host.invoke_local(name, event, call.request_id))
            return self._answer(call, result)
        deployed = self._registry.find(name, qualifier)
        self._check_callable(deployed)
        if kind == "Async":
            return self._accept(call, deployed)
        result = self._run(lambda: host.invoke(deployed, event, call.request_id))
        return self._answer(call, result, *self._describe(deployed))

    def _accept(self, call: Call, deployed: Deployed) -> Response:
        text = call.request.header("x-fc-async-delay") or "0"
        delay = read_whole(text, 0, _MOST_DELAY_SECONDS)
        if delay is None:
            raise InvalidArgument(f"X-Fc-Async-Delay: {text!r} is not a number from 1 to 3600.")
        task = call.request.header("x-fc-async-task-id") or call.request.header(
            "x-fc-stateful-async-invocation-id"
        )
        if task and not _TASK.fullmatch(task):
            raise InvalidArgument(f"X-Fc-Async-Task-Id: {task!r} is not a valid id of a task.")
        self._add_task(deployed, task)
        host = self._host()
        self._run(lambda: host.invoke_async(deployed, call.request.body, call.request_id, delay))
        headers = (("X-Fc-Request-Id", call.request_id), ("X-Fc-Async-Task-Id", task or call.request_id))
        return Response(202, headers)

    def _add_task(self, deployed: Deployed, task: str | None) -> None:
        """Note the id of an asynchronous task; raises TaskExists for one that is known already."""
        entry = self._registry.get(deployed.name)
        config = entry.async_configs.get(deployed.qualifier)
        if task is None or config is None or not config.members.get("asyncTask"):
            return
        if task in entry.tasks:
            raise TaskExists(task)
        entry.tasks.append(task)
        del entry.tasks[:-_KEPT_TASKS]

    def _run(self, act: Callable[[], T]) -> T:
        """Run a call without the lock, because the function calls the cloud; raises ServiceError."""
        try:
            return self._world.changed.run_unlocked(act)
        except ValueError as exc:
            raise InvalidArgument(str(exc)) from None
        except RuntimeError as exc:
            raise ServiceError(503, "ServiceUnavailable", str(exc)) from None

    def _describe(self, deployed: Deployed) -> Headers:
        return (
            ("X-Fc-Invocation-Service-Version", deployed.version_id or LATEST),
            ("X-Fc-Code-Checksum", deployed.checksum),
        )

    def _answer(self, call: Call, result: InvocationResult, *described: tuple[str, str]) -> Response:
        wants_log = call.request.header("x-fc-log-type") == "Tail"
        log = base64.b64encode(result.log.encode(errors="replace")).decode()
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("X-Fc-Request-Id", call.request_id),
            ("X-Fc-Instance-Id", result.instance_id),
            ("X-Fc-Invocation-Duration", f"{result.duration_ms:.2f}"),
            ("X-Fc-Max-Memory-Usage", f"{result.max_memory_mb:.2f}"),
            *described,
            *([("X-Fc-Error-Type", result.error_type)] if result.error_type else []),
            *([("X-Fc-Log-Result", log)] if wants_log else []),
        )
        return Response(200, headers, result.body)
