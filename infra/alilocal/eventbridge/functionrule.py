"""A rule that calls a function: one event at a time, again until it succeeds or is given up.

Shape of the event and strategies: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/eventbridge-triggers
and the one of the event stream, which is the same.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alilocal.cloud import LocalCloud
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.eventbridge.model import DEFAULT
from alilocal.eventstream.retry import RetryStrategy, delay_after
from alilocal.smq.message import Outgoing

if TYPE_CHECKING:
    from alilocal.fc.function import Function


@dataclass
class _Pending:
    event: bytes
    due_at: float
    attempts: int = 0


class FunctionRule:
    """Calls `invoke`, a function of the cloud or a callable, with the bytes of each event of `bus` that fits
    `pattern`.

    A call fails by raising, by returning False, or by a result whose `ok` is False; it is repeated by `retry` on the
    cloud's clock, then the event goes to `dead_letter_queue` or is dropped. Drive it with `start` and `stop`, or by
    hand with `step`. Raises what `cloud.buses.rule` does.
    """

    def __init__(
        self,
        cloud: LocalCloud,
        name: str,
        pattern: JsonObject | None = None,
        *,
        invoke: Callable[[bytes], object] | Function,
        bus: str = DEFAULT,
        retry: RetryStrategy = "BACKOFF_RETRY",
        dead_letter_queue: str | None = None,
    ) -> None:
        if dead_letter_queue is not None:
            cloud.queues.get(dead_letter_queue)
        self._cloud = cloud
        self._invoke: Callable[[bytes], object] = invoke if callable(invoke) else invoke.trigger
        self._retry = retry
        self._dead_letter_queue = dead_letter_queue
        self._pending: list[_Pending] = []
        self._thread: threading.Thread | None = None
        self._stopping = False
        cloud.buses.rule(name, pattern, bus=bus).listeners.append(self._offer)

    @property
    def pending(self) -> int:
        """How many events wait for a call or for its repetition."""
        with self._cloud.changed:
            return len(self._pending)

    def start(self) -> None:
        """Call from a thread until stopped."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._work, name="eventbridge-rule", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let a call under way end, and make no other."""
        with self._cloud.changed:
            self._stopping = True
            self._cloud.changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def step(self) -> bool:
        """Make one call that is due, in this thread; False if there was none."""
        with self._cloud.changed:
            now = self._cloud.clock.now()
            one = next((one for one in self._pending if one.due_at <= now), None)
            if one is None:
                return False
            self._pending.remove(one)
        self._settle(one, succeeded=self._call(one.event))
        return True

    def _offer(self, event: JsonObject) -> None:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self._pending.append(_Pending(text.encode(errors="replace"), self._cloud.clock.now()))

    def _call(self, event: bytes) -> bool:
        try:
            result = self._invoke(event)
        # A function may raise anything; all of it means that the call failed.
        except Exception:  # noqa: BLE001
            return False
        return result is not False and getattr(result, "ok", True) is not False

    def _settle(self, one: _Pending, *, succeeded: bool) -> None:
        with self._cloud.changed:
            if not succeeded:
                one.attempts += 1
                delay = delay_after(self._retry, one.attempts, self._cloud.ids)
                if delay is None:
                    self._bury(one)
                else:
                    one.due_at = self._cloud.clock.now() + delay
                    self._pending.append(one)
            self._cloud.changed.notify_all()

    def _bury(self, one: _Pending) -> None:
        if self._dead_letter_queue is None:
            return
        try:
            self._cloud.queues.get(self._dead_letter_queue).put(Outgoing(one.event.decode()))
        except ServiceError:
            # Better called once more than lost.
            one.due_at = self._cloud.clock.now()
            self._pending.append(one)

    def _ends(self) -> bool:
        return self._stopping or self._cloud.changed.closed

    def _work(self) -> None:
        while True:
            while self.step():
                if self._ends():
                    return
            with self._cloud.changed:
                if self._ends():
                    return
                moments = [one.due_at for one in self._pending]
                self._cloud.clock.pause(min(moments) - self._cloud.clock.now() if moments else None)
