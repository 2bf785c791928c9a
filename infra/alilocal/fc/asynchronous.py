"""Asynchronous invocation: accepted at once, called later, again if it fails, and told of in the end.

Source: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/asynchronous-invocation. How far apart the
repetitions after a function error lie is not documented.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.result import InvocationResult
from alilocal.smq.message import Outgoing

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.fc.function import Function

RETRY_SECONDS = 1.0
_OLDEST_SECONDS = 86_400


@dataclass(eq=False)
class _Accepted:
    request_id: str
    event: bytes = field(repr=False)
    accepted_at: float
    due_at: float
    within: float | None
    attempts: int = 0


class AsyncQueue:
    """The calls of one function that are yet to be made; its thread runs from the first until closed."""

    def __init__(self, cloud: LocalCloud, function: Function) -> None:
        self._cloud = cloud
        self._function = function
        self._waiting: list[_Accepted] = []
        self._running = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="alilocal-fc-async", daemon=True)
            for _ in range(function.settings.max_instances)
        ]
        for thread in self._threads:
            thread.start()

    def accept(self, event: bytes, within: float | None = None) -> str:
        """Keep `event` for a call; the request id, which all its attempts have."""
        request_id, now = self._function.new_request_id(), self._cloud.clock.now()
        with self._cloud.changed:
            self._waiting.append(_Accepted(request_id, event, now, now, within))
            self._cloud.changed.notify_all()
        return request_id

    def drain(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        with self._cloud.changed:
            while self._waiting or self._running:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._cloud.clock.pause(left)
            return True

    def close(self) -> None:
        with self._cloud.changed:
            self._closed = True
            self._cloud.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (one := self._next()) is not None:
            try:
                result = self._function.call(
                    one.event, one.request_id, "async", one.attempts, within=one.within
                )
            except RuntimeError:
                # Closed meanwhile.
                result = None
            with self._cloud.changed:
                self._running -= 1
                if result is not None and not self._closed:
                    self._settle(one, result)
                self._cloud.changed.notify_all()

    def _next(self) -> _Accepted | None:
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
        one.attempts += 1
        settings, now = self._function.settings, self._cloud.clock.now()
        too_old = now - one.accepted_at > _OLDEST_SECONDS
        if not result.ok and one.attempts <= settings.max_async_retry_attempts and not too_old:
            one.due_at = now + RETRY_SECONDS
            self._waiting.append(one)
            return
        destination = settings.on_success if result.ok else settings.on_failure
        if destination is not None:
            self._tell(destination, self._report(one, result, now))

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

    def _tell(self, destination: str, body: str) -> None:
        """To `queue:<name>`, `topic:<name>` or their ARNs; what is refused is lost, as FC documents of 4xx."""
        parts = (
            destination.removesuffix("/messages").replace("queue:", "queues/").replace("topic:", "topics/")
        )
        kind, _, name = parts.rpartition("/")
        try:
            if kind.endswith("topics"):
                self._cloud.topics.publish(name, Outgoing(body))
            else:
                self._cloud.queues.get(name).put(Outgoing(body))
        except ServiceError:
            return
