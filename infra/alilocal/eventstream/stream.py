"""The event stream: takes messages from a queue as EventBridge does, and calls a function with them.

Delivery semantics: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/trigger-retry-policies-and-fault-tolerance-policies.
How EventBridge holds messages while the function runs is undocumented. Here they stay invisible, without a limit,
and are deleted once the stream has finished with them.

Messages move between three lists: `_filling` (collected), `_running` (being delivered) and `_waiting` (for a retry).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from alilocal.cloud import Cloud
from alilocal.core.clock import monotonic
from alilocal.core.delivery import Delivery, check_invoke
from alilocal.core.http import ServiceError
from alilocal.core.retry import RetryStrategy, delay_after
from alilocal.core.switches import check_choice
from alilocal.eventstream.event import EventForm, EventSchema, Mode
from alilocal.fc.model import MOST_ASYNC_BYTES, MOST_SYNC_BYTES
from alilocal.smq.errors import NotExist
from alilocal.smq.message import Message, Outgoing
from alilocal.smq.queue import LONGEST_VISIBILITY_SECONDS, Queue

Invoke = Callable[[bytes], object]


class Triggered(Protocol):
    """A function of the cloud, as a trigger calls it."""

    def trigger(self, event: bytes) -> object:
        """Call the function, and wait for the result."""

    def trigger_async(self, event: bytes) -> object:
        """Call the function asynchronously."""


_KEPT = 10_000
_KEPT_RESULTS = 1_000
_MOST_MESSAGES = 10_000
_LONGEST_WINDOW_SECONDS = 15


@dataclass(eq=False)
class _Batch:
    """Messages that are delivered together until the delivery succeeds or is given up."""

    messages: list[Message]
    attempts: int = 0
    due_at: float = 0.0


class EventStream:
    """Delivers the messages of `queue` to `invoke`, which is a function of the cloud or a callable.

    A batch has up to `batch_size` messages, and no more than an event may hold. It is delivered at once, or after
    `batch_window_seconds`; up to `concurrency` batches are delivered at the same time. A delivery fails if `invoke`
    raises, returns False, or returns a result whose `ok` is False. Otherwise it succeeds, and the messages are
    deleted. With `asynchronous` it succeeds as soon as the function has accepted the event.

    A failed batch is delivered again as `retry` says, on the cloud's clock. After the last attempt each of its
    messages goes to `dead_letter_queue`, or is dropped without one. A message that this queue refuses, for example
    because of its size, is delivered again. With `tolerance=False` the stream blocks instead: its messages stay in
    the queue until `start` is called again. In the mode `event` every event has one message.

    Run it in threads with `start` and `stop`, or deliver single batches with `step`. Raises NotExist if a queue does
    not exist, and ValueError for an invalid value.
    """

    def __init__(
        self,
        cloud: Cloud,
        *,
        queue: str,
        invoke: Invoke | Triggered,
        batch_size: int = 10,
        batch_window_seconds: float = 0,
        retry: RetryStrategy = "BACKOFF_RETRY",
        tolerance: bool = True,
        dead_letter_queue: str | None = None,
        mode: Mode = "event-streaming",
        event_schema: EventSchema = "CloudEvents",
        decode_base64: bool = True,
        concurrency: int = 1,
        asynchronous: bool = False,
    ) -> None:
        if not 1 <= batch_size <= _MOST_MESSAGES:
            raise ValueError(f"batch_size must be at least 1 and at most {_MOST_MESSAGES}")
        if not 0 <= batch_window_seconds <= _LONGEST_WINDOW_SECONDS:
            raise ValueError(f"batch_window_seconds must be at least 0 and at most {_LONGEST_WINDOW_SECONDS}")
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        _check_words(retry, mode, event_schema)
        if dead_letter_queue is not None and not tolerance:
            raise ValueError("a dead-letter queue needs tolerance: without it the stream blocks instead")
        for name in (queue, dead_letter_queue):
            if name is not None:
                cloud.queues.get(name)
        self._deliveries: deque[Delivery] = deque(cloud.past_deliveries.pop(queue, ()), maxlen=_KEPT)
        self.blocked = False
        self._cloud = cloud
        self._queue = queue
        self._invoke = _choose_call(invoke, asynchronous=asynchronous)
        self._most_bytes = MOST_ASYNC_BYTES if asynchronous else MOST_SYNC_BYTES
        self._batch_size = 1 if mode == "event" else batch_size
        self._window = batch_window_seconds
        self._retry = retry
        self._tolerance = tolerance
        self._dead_letter_queue = dead_letter_queue
        self._form = EventForm(cloud, queue, mode, event_schema, decode_base64)
        self._concurrency = concurrency
        self._filling: list[Message] = []
        self._window_ends = 0.0
        self._running: list[_Batch] = []
        self._waiting: list[_Batch] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        with cloud.changed:
            cloud.streams.append(self)

    @property
    def deliveries(self) -> list[Delivery]:
        """The last 10,000 calls of the function, oldest first."""
        with self._cloud.changed:
            return list(self._deliveries)

    @property
    def running_ids(self) -> list[str]:
        """The ids of the messages that are being delivered."""
        with self._cloud.changed:
            return [message.message_id for batch in self._running for message in batch.messages]

    @property
    def held_ids(self) -> list[str]:
        """The ids of the messages that it hides from other receivers: collected, being delivered or waiting."""
        with self._cloud.changed:
            batches = [*self._running, *self._waiting]
            return [one.message_id for one in sum((batch.messages for batch in batches), self._filling)]

    @property
    def queue_name(self) -> str:
        """The queue that feeds the stream."""
        return self._queue

    @property
    def dead_letter_queue(self) -> str | None:
        """The queue that gets the messages that were given up, or None."""
        return self._dead_letter_queue

    @property
    def waiting(self) -> int:
        """The number of batches that wait for another attempt."""
        with self._cloud.changed:
            return len(self._waiting)

    def start(self) -> None:
        """Deliver from threads until `stop`, and end a block; nothing else happens if it runs already."""
        with self._cloud.changed:
            self.blocked = False
            self._cloud.changed.notify_all()
            if self._threads:
                return
            self._stopping = False
            self._threads = [
                threading.Thread(target=self._work, name=f"eventstream-{self._queue}-{number}", daemon=True)
                for number in range(self._concurrency)
            ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more messages, wait up to `timeout` seconds for running calls, and show held messages again."""
        with self._cloud.changed:
            self._stopping = True
            self._cloud.changed.notify_all()
        until = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        with self._cloud.changed:
            self._threads = []
            self._release_held()

    def step(self) -> bool:
        """Deliver one batch in this thread, and return False if none is due."""
        batch = self._take()
        if batch is None:
            return False
        self._deliver(batch)
        return True

    @property
    def idle(self) -> bool:
        """Whether the stream holds no message and the queue has no visible one."""
        with self._cloud.changed:
            if self._filling or self._running or self._waiting:
                return False
            queue = self._source()
            return queue is None or not queue.shows_any()

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until it is idle; return False after `timeout` real seconds, or at once if it is blocked."""
        until = monotonic() + timeout
        with self._cloud.changed:
            while not self.idle:
                left = until - monotonic()
                if left <= 0 or self.blocked:
                    return False
                self._cloud.clock.pause(left)
            return True

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._deliver(batch)

    def _next(self) -> _Batch | None:
        """Wait for the next batch, and return it, or None once the stream stops."""
        with self._cloud.changed:
            while not self._stopping:
                batch = self._take()
                if batch is not None:
                    return batch
                self._cloud.clock.pause(self._find_delay())
            return None

    def _take(self) -> _Batch | None:
        """Move a batch that is due to `_running`, and return it, or None if none is due."""
        with self._cloud.changed:
            if self.blocked:
                return None
            self._forget_lost()
            while (batch := self._due() or self._collect()) is not None:
                batch.messages = self._hold(batch.messages)
                if batch.messages:
                    self._running.append(batch)
                    return batch
            return None

    def _forget_lost(self) -> None:
        """Drop messages that were made visible by hand, purged or reset in the meantime."""
        queue = self._source()
        self._filling = [one for one in self._filling if _is_held(queue, one)]
        for batch in self._waiting:
            batch.messages = [one for one in batch.messages if _is_held(queue, one)]
        self._waiting = [batch for batch in self._waiting if batch.messages]

    def _due(self) -> _Batch | None:
        now = self._cloud.clock.now()
        batch = next((batch for batch in self._waiting if batch.due_at <= now), None)
        if batch is not None:
            self._waiting.remove(batch)
        return batch

    def _collect(self) -> _Batch | None:
        queue = self._source()
        if queue is None or len(self._running) + len(self._waiting) >= self._concurrency:
            return None
        self._cloud.queues.bury_exhausted(queue)
        now = self._cloud.clock.now()
        taken = self._hold(queue.receive(self._batch_size - len(self._filling)))
        if taken and not self._filling:
            self._window_ends = now + self._window
        self._filling += taken
        fitting = self._form.fitting(self._filling, self._most_bytes)
        is_full = len(self._filling) >= self._batch_size or fitting < len(self._filling)
        if not self._filling or not (is_full or now >= self._window_ends):
            return None
        batch, self._filling = _Batch(self._filling[:fitting]), self._filling[fitting:]
        self._window_ends = now + self._window
        return batch

    def _deliver(self, batch: _Batch) -> None:
        ids = tuple(message.message_id for message in batch.messages)
        event, began = self._form.event(batch.messages), monotonic()
        delivery = Delivery(event, ids, batch.attempts + 1, False, None, self._cloud.clock.now())  # noqa: FBT003
        try:
            delivery = _add_result(delivery, self._invoke(event))
        # A function may raise anything, and every exception means that the delivery failed.
        except Exception as exc:  # noqa: BLE001
            delivery = replace(delivery, error=type(exc).__name__)
        finally:
            self._settle(batch, replace(delivery, duration_ms=(monotonic() - began) * 1000))

    def _settle(self, batch: _Batch, delivery: Delivery) -> None:
        with self._cloud.changed:
            batch.attempts += 1
            self._running.remove(batch)
            if delivery.succeeded:
                self._delete(batch.messages)
            elif self._stopping:
                self._release(batch.messages)
            else:
                delivery = self._handle_failure(batch, delivery)
            self._deliveries.append(delivery)
            if len(self._deliveries) > _KEPT_RESULTS:
                oldest = self._deliveries[-_KEPT_RESULTS - 1]
                self._deliveries[-_KEPT_RESULTS - 1] = replace(oldest, result="", log="")
            self._cloud.changed.notify_all()

    def _handle_failure(self, batch: _Batch, delivery: Delivery) -> Delivery:
        """Schedule the next attempt or give up, and return the delivery with the result of that."""
        delay = delay_after(self._retry, batch.attempts, self._cloud.ids)
        if delay is not None:
            batch.due_at = self._cloud.clock.now() + delay
            self._waiting.append(batch)
            return replace(delivery, retry_at=batch.due_at)
        if self._tolerance:
            if not self._give_up(batch.messages):
                return delivery
            return replace(delivery, given_up=True, dead_letter_queue=self._dead_letter_queue)
        self.blocked = True
        self._release(batch.messages)
        self._release_held()
        return delivery

    def _give_up(self, messages: Sequence[Message]) -> bool:
        """Move messages to the dead-letter queue or drop them; return False if one had to be kept."""
        gone = True
        for message in messages:
            if self._dead_letter_queue is None or self._dead_letter(message, self._dead_letter_queue):
                self._delete([message])
            else:
                # The dead-letter queue refused it: delivering once more is better than losing it.
                self._release([message])
                gone = False
        return gone

    def _dead_letter(self, message: Message, queue: str) -> bool:
        try:
            self._cloud.queues.get(queue).put(Outgoing(self._form.dead_letter(message)))
        except ServiceError:
            return False
        return True

    def _hold(self, messages: Sequence[Message]) -> list[Message]:
        """Keep `messages` invisible, and return those that the stream still holds, with their new handles."""
        return self._change_visibility(messages, LONGEST_VISIBILITY_SECONDS)

    def _release(self, messages: Sequence[Message]) -> None:
        self._change_visibility(messages, 0)

    def _release_held(self) -> None:
        """Show the held messages again, except those that are being delivered."""
        for batch in self._waiting:
            self._release(batch.messages)
        self._release(self._filling)
        self._waiting, self._filling = [], []

    def _change_visibility(self, messages: Sequence[Message], seconds: float) -> list[Message]:
        queue = self._source()
        kept = []
        for message in messages if queue is not None else ():
            changed = _attempt(queue, message, seconds)
            if changed is not None:
                kept.append(changed)
        return kept

    def _delete(self, messages: Sequence[Message]) -> None:
        queue = self._source()
        for message in messages if queue is not None else ():
            _attempt(queue, message, None)

    def _source(self) -> Queue | None:
        """Return the queue, or None if it was deleted."""
        try:
            return self._cloud.queues.get(self._queue)
        except NotExist:
            return None

    def _find_delay(self) -> float | None:
        """Return the seconds until a batch may be due, or None if none will be before the queue changes."""
        moments = [batch.due_at for batch in self._waiting]
        if self._filling:
            moments.append(self._window_ends)
        queue = self._source()
        change = queue.next_change() if queue is not None else None
        if change is not None:
            moments.append(change)
        return min(moments) - self._cloud.clock.now() if moments else None


def _is_held(queue: Queue | None, message: Message) -> bool:
    return queue is not None and message.receipt_handle is not None and queue.holds(message.receipt_handle)


def _attempt(queue: Queue | None, message: Message, seconds: float | None) -> Message | None:
    """Change the visibility of `message`, or delete it if `seconds` is None; return None if it is not held."""
    if queue is None or message.receipt_handle is None:
        return None
    try:
        if seconds is not None:
            return queue.change_visibility(message.receipt_handle, seconds)
        queue.delete(message.receipt_handle)
    except ServiceError:
        return None
    return message


def _check_words(retry: str, mode: str, event_schema: str) -> None:
    """Raise ValueError for an option of a stream that is not one of its words."""
    check_choice("retry", retry, RetryStrategy)
    check_choice("mode", mode, Mode)
    check_choice("event_schema", event_schema, EventSchema)


def _choose_call(invoke: Invoke | Triggered, *, asynchronous: bool) -> Invoke:
    """Return the callable that delivers an event: `invoke` itself, or a method of a function of the cloud."""
    check_invoke(invoke)
    if callable(invoke):
        if asynchronous:
            raise ValueError("only a function of the cloud can be called asynchronously")
        return invoke
    return invoke.trigger_async if asynchronous else invoke.trigger


def _add_result(delivery: Delivery, result: object) -> Delivery:
    """Return `delivery` with what `result` says of it."""
    if not hasattr(result, "ok"):
        return replace(delivery, succeeded=result is not False, result=_as_text(result))
    return replace(
        delivery,
        succeeded=bool(result.ok),
        error=getattr(result, "error_type", None),
        request_id=getattr(result, "request_id", None),
        instance_id=getattr(result, "instance_id", None),
        cold=getattr(result, "cold", None),
        result=_as_text(getattr(result, "body", None)),
        log=getattr(result, "log", ""),
    )


def _as_text(result: object) -> str:
    """Return what a function returned as text: bytes as they are, JSON as JSON, anything else as nothing."""
    if isinstance(result, bytes):
        return result.decode(errors="replace")
    try:
        return json.dumps(result, ensure_ascii=False) if isinstance(result, (dict, list)) else ""
    except (TypeError, ValueError):
        return ""
