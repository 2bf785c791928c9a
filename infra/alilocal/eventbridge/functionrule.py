"""A rule that calls a function: one event at a time, repeated until it succeeds or is given up.

Form of the event: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/eventbridge-triggers. The retry
strategies are those of event streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alilocal.cloud import Cloud
from alilocal.core.delivery import check_invoke
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.retry import RetryStrategy, delay_after
from alilocal.core.switches import check_choice
from alilocal.core.watcher import Watcher
from alilocal.eventbridge.model import DEFAULT
from alilocal.smq.message import Outgoing

if TYPE_CHECKING:
    from alilocal.fc.function import Function


@dataclass
class _Pending:
    event: bytes
    due_at: float
    attempts: int = 0


class FunctionRule(Watcher):
    """Calls `invoke`, a function of the cloud or a callable, with each event of `bus` that matches `pattern`.

    It is public for tests of functions that an EventBridge trigger calls. A call fails if it raises, returns False,
    or returns a result whose `ok` is False. It is repeated as `retry` says, on the cloud's clock; then the event goes
    to `dead_letter_queue`, or is dropped without one. Run it with `start` and `stop`, or make single calls with
    `step`. Raises as `cloud.buses.rule` does, and ValueError for another `retry`.
    """

    def __init__(
        self,
        cloud: Cloud,
        name: str,
        pattern: JsonObject | None = None,
        *,
        invoke: Callable[[bytes], object] | Function,
        bus: str = DEFAULT,
        retry: RetryStrategy = "BACKOFF_RETRY",
        dead_letter_queue: str | None = None,
    ) -> None:
        check_choice("retry", retry, RetryStrategy)
        check_invoke(invoke)
        if dead_letter_queue is not None:
            cloud.queues.get(dead_letter_queue)
        super().__init__(cloud.changed, cloud.clock)
        self._cloud = cloud
        self._invoke: Callable[[bytes], object] = invoke if callable(invoke) else invoke.trigger
        self._retry = retry
        self._dead_letter_queue = dead_letter_queue
        self._pending: list[_Pending] = []
        cloud.buses.rule(name, pattern, bus=bus).listeners.append(self._accept)

    @property
    def pending(self) -> int:
        """The number of events that wait for their first or next call."""
        with self._cloud.changed:
            return len(self._pending)

    def _accept(self, event: JsonObject) -> None:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self._pending.append(_Pending(text.encode(errors="replace"), self._cloud.clock.now()))

    def _call(self, event: bytes) -> bool:
        try:
            result = self._invoke(event)
        # A function may raise anything, and every exception means that the call failed.
        except Exception:  # noqa: BLE001
            return False
        return result is not False and getattr(result, "ok", True) is not False

    def _settle(self, one: _Pending, *, succeeded: bool) -> None:
        with self._cloud.changed:
            if not succeeded:
                one.attempts += 1
                delay = delay_after(self._retry, one.attempts, self._cloud.ids)
                if delay is None:
                    self._dead_letter(one)
                else:
                    one.due_at = self._cloud.clock.now() + delay
                    self._pending.append(one)
            self._cloud.changed.notify_all()

    def _dead_letter(self, one: _Pending) -> None:
        if self._dead_letter_queue is None:
            return
        try:
            self._cloud.queues.get(self._dead_letter_queue).put(Outgoing(one.event.decode()))
        except ServiceError:
            # The queue refused the event: calling once more is better than losing it.
            one.due_at = self._cloud.clock.now()
            self._pending.append(one)

    def _due(self) -> Callable[[], None] | None:
        now = self._clock.now()
        one = next((one for one in self._pending if one.due_at <= now), None)
        if one is None:
            return None
        self._pending.remove(one)
        return lambda: self._settle(one, succeeded=self._call(one.event))

    def _seconds(self) -> float | None:
        moments = [one.due_at for one in self._pending]
        return min(moments) - self._clock.now() if moments else None
