"""Asynchronous invocation: a call is accepted at once, made later, and repeated if it fails.

Source: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/asynchronous-invocation. The delay
before a call is repeated after an error of the function is not documented.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Protocol

from alilocal.cloud import Cloud
from alilocal.core.clock import monotonic
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.model import InvocationResult, Kind, Settings
from alilocal.smq.message import Outgoing

RETRY_SECONDS = 1.0


class Callee(Protocol):
    """The part of a function that its queue uses."""

    @property
    def settings(self) -> Settings: ...

    @property
    def arn(self) -> str: ...

    def call(
        self, event: bytes, request_id: str, kind: Kind, retry_count: int, *, within: float | None
    ) -> InvocationResult: ...


@dataclass(eq=False)
class _Accepted:
    request_id: str
    event: bytes = field(repr=False)
    accepted_at: float
    due_at: float
    within: float | None
    attempts: int = 0


class AsyncQueue:
    """The asynchronous calls of one function that are still to be made. Its threads run until it is closed."""

    def __init__(self, cloud: Cloud, function: Callee) -> None:
        self._cloud = cloud
        self._function = function
        self._waiting: list[_Accepted] = []
        self._running = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._make_calls, name="alilocal-fc-async", daemon=True)
            for _ in range(function.settings.max_instances)
        ]
        for thread in self._threads:
            thread.start()

    def accept(self, event: bytes, request_id: str, delay: float = 0, within: float | None = None) -> None:
        """Add a call with `event`, due in `delay` seconds; all its attempts have the same request id."""
        now = self._cloud.clock.now()
        with self._cloud.changed:
            self._waiting.append(_Accepted(request_id, event, now, now + delay, within))
            self._cloud.changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait until no call is left, and return False if some are left after `timeout` real seconds."""
        until = monotonic() + timeout
        with self._cloud.changed:
            while self._waiting or self._running:
                left = until - monotonic()
                if left <= 0:
                    return False
                self._cloud.clock.pause(left)
            return True

    def close(self) -> None:
        """Make no further call, and wait for the threads to end."""
        with self._cloud.changed:
            self._closed = True
            self._cloud.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _make_calls(self) -> None:
        while (one := self._next()) is not None:
            try:
                result = self._function.call(
                    one.event, one.request_id, "async", one.attempts, within=one.within
                )
            except RuntimeError:
                # The function was closed in the meantime.
                result = None
            with self._cloud.changed:
                self._running -= 1
                if result is not None and not self._closed:
                    self._settle(one, result)
                self._cloud.changed.notify_all()

    def _next(self) -> _Accepted | None:
        """Wait for the next call that is due, and return it, or None once the queue is closed."""
        with self._cloud.changed:
            while not self._closed:
                now = self._cloud.clock.now()
                one = next((one for one in self._waiting if one.due_at <= now), None)
                if one is not None:
                    self._waiting.remove(one)
                    self._running += 1
                    return one
                moments = [one.due_at for one in self._waiting]
                self._cloud.clock.pause(min(moments) - now if moments else None)
            return None

    def _settle(self, one: _Accepted, result: InvocationResult) -> None:
        """Schedule the next attempt, or send the final result to the function's destination."""
        one.attempts += 1
        settings, now = self._function.settings, self._cloud.clock.now()
        too_old = now - one.accepted_at > settings.most_async_age_seconds
        if not result.ok and one.attempts <= settings.max_async_retry_attempts and not too_old:
            one.due_at = now + RETRY_SECONDS
            self._waiting.append(one)
            return
        destination = settings.on_success if result.ok else settings.on_failure
        if destination is not None:
            self._send_to(destination, self._report(one, result, now), succeeded=result.ok)

    def _report(self, one: _Accepted, result: InvocationResult, now: float) -> str:
        condition = "Success" if result.ok else "FunctionRetriesExhausted"
        body: JsonObject = {
            "timestamp": round(now * 1000),
            "requestContext": {
                "requestId": one.request_id,
                "functionArn": self._function.arn,
                "condition": condition,
                "approximateInvokeCount": one.attempts,
            },
            "requestPayload": one.event.decode(errors="replace"),
            "responseContext": {"statusCode": 200, "functionError": result.error_type or ""},
            "responsePayload": result.body.decode(errors="replace"),
        }
        return json.dumps(body, ensure_ascii=False)

    def _send_to(self, destination: str, body: str, *, succeeded: bool) -> None:
        """Send `body` to `queue:<name>`, `topic:<name>`, or the ARN of one, of a function or of an event bus.

        A body that the destination refuses is lost, as FC documents for answers of status 4xx.
        """
        parts = (
            destination.removesuffix("/messages").replace("queue:", "queues/").replace("topic:", "topics/")
        )
        kind, _, name = parts.rpartition("/")
        function = destination.partition(":functions/")[2].partition("/")[0]
        try:
            if function:
                self._cloud.call_function(function, body.encode(errors="replace"))
            elif kind.endswith(":eventbus"):
                self._cloud.buses.put(name, self._event(body, succeeded=succeeded))
            elif kind.endswith("topics"):
                self._cloud.topics.publish(name, Outgoing(body))
            else:
                self._cloud.queues.get(name).put(Outgoing(body))
        except (ServiceError, ValueError):
            return

    def _event(self, body: str, *, succeeded: bool) -> JsonObject:
        """Return the event of a result. The type of a failure is inferred from that of a success."""
        return {
            "id": self._cloud.ids.uuid(),
            "source": "acs:fc",
            "specversion": "1.0",
            "type": f"fc:AsyncInvoke:{'succeeded' if succeeded else 'failed'}",
            "datacontenttype": "application/json;charset=utf-8",
            "subject": self._function.arn,
            "data": json.loads(body),
        }
