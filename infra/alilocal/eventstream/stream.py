"""The event stream: takes messages from a queue as EventBridge does and calls a function with them.

Delivery semantics: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/trigger-retry-policies-and-fault-tolerance-policies.
How EventBridge holds messages while the function runs is undocumented: here they stay invisible, without
limit, and are deleted once the stream is done with them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alilocal.cloud import LocalCloud
from alilocal.core.http import ServiceError
from alilocal.eventstream.delivery import Delivery, Invoke, called, judged
from alilocal.eventstream.event import EventForm, EventSchema, Mode
from alilocal.eventstream.retry import RetryStrategy, delay_after
from alilocal.fc.function import MOST_ASYNC_BYTES, MOST_SYNC_BYTES
from alilocal.smq.errors import NotExist
from alilocal.smq.message import Message, Outgoing
from alilocal.smq.queue import LONGEST_VISIBILITY_SECONDS, Queue

if TYPE_CHECKING:
    from alilocal.fc.function import Function

_KEPT = 10_000
_MOST_MESSAGES = 10_000
_LONGEST_WINDOW_SECONDS = 15


@dataclass(eq=False)
class _Batch:
    """Messages that are delivered together until they succeed or are given up."""

    messages: list[Message]
    attempts: int = 0
    due_at: float = 0.0


class EventStream:
    """Delivers the messages of `queue` to `invoke`, a function of the cloud or a callable, with an event's bytes.

    A batch of up to `batch_size` messages, and no more than an event may hold, is delivered at once, or after
    collecting for `batch_window_seconds`; up to `concurrency` batches are under way at a time. Delivery
    succeeds unless `invoke` raises, returns False, or a result whose `ok` is False; the messages are then
    deleted. With `asynchronous` it succeeds as soon as the function of the cloud has accepted the event. A
    failed batch is delivered again by `retry`, on the cloud's clock. When that is exhausted, its messages go to
    `dead_letter_queue`, one letter each, or are dropped without one; what that queue does not take, for its size
    perhaps, is delivered anew. With `tolerance` False the stream blocks instead, and its messages stay in the
    queue until it is started anew. In mode `event` every event is one message.

    Drive it with threads, `start` and `stop`, or by hand with `step`. Raises NotExist if a queue is missing,
    ValueError for numbers that make no sense.
    """

    def __init__(
        self,
        cloud: LocalCloud,
        *,
        queue: str,
        invoke: Invoke | Function,
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
        if not (1 <= batch_size <= _MOST_MESSAGES and 0 <= batch_window_seconds <= _LONGEST_WINDOW_SECONDS):
            raise ValueError(
                f"a batch has at least 1 and at most {_MOST_MESSAGES} messages, "
                f"its window at most {_LONGEST_WINDOW_SECONDS} seconds"
            )
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        if dead_letter_queue is not None and not tolerance:
            raise ValueError("a dead-letter queue needs tolerance: without it the stream blocks instead")
        for name in (queue, dead_letter_queue):
            if name is not None:
                cloud.queues.get(name)
        self._deliveries: deque[Delivery] = deque(maxlen=_KEPT)
        self.blocked = False
        self._cloud = cloud
        self._queue = queue
        self._invoke = called(invoke, asynchronous=asynchronous)
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
        """The newest calls of the function, oldest first; the last 10,000 are kept."""
        with self._cloud.changed:
            return list(self._deliveries)

    @property
    def running_ids(self) -> list[str]:
        """The ids of the messages that are being delivered."""
        with self._cloud.changed:
            return [message.message_id for batch in self._running for message in batch.messages]

    @property
    def held_ids(self) -> list[str]:
        """The ids of the messages that it hides from others: collected, being delivered or to be retried."""
        with self._cloud.changed:
            batches = [*self._running, *self._waiting]
            return [one.message_id for one in sum((batch.messages for batch in batches), self._filling)]

    @property
    def queue_name(self) -> str:
        return self._queue

    @property
    def waiting(self) -> int:
        """How many batches wait to be delivered again."""
        with self._cloud.changed:
            return len(self._waiting)

    def start(self) -> None:
        """Deliver from threads until stopped; also lifts a block. Nothing happens if it runs already."""
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
        """Take nothing more, wait up to `timeout` seconds for calls under way, show held messages again."""
        with self._cloud.changed:
            self._stopping = True
            self._cloud.changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._cloud.changed:
            self._threads = []
            self._let_go()

    def step(self) -> bool:
        """Deliver one batch in this thread if one is due; False if there was nothing to do."""
        batch = self._take()
        if batch is None:
            return False
        self._deliver(batch)
        return True

    @property
    def idle(self) -> bool:
        """Whether nothing is held, under way or waiting for a retry, and the queue shows no message."""
        with self._cloud.changed:
            if self._filling or self._running or self._waiting:
                return False
            queue = self._source()
            return queue is None or not queue.shows_any()

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until it is idle; False if it is not after `timeout` real seconds, or at once if blocked."""
        until = time.monotonic() + timeout
        with self._cloud.changed:
            while not self.idle:
                left = until - time.monotonic()
                if left <= 0 or self.blocked:
                    return False
                self._cloud.clock.pause(left)
            return True

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._deliver(batch)

    def _next(self) -> _Batch | None:
        """The next batch, waiting for it; None once the stream stops."""
        with self._cloud.changed:
            while not self._stopping:
                batch = self._take()
                if batch is not None:
                    return batch
                self._cloud.clock.pause(self._until_next())
            return None

    def _take(self) -> _Batch | None:
        """A batch that is due, now running; None if there is none."""
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
        """Wait no longer with what was shown by hand, purged or reset meanwhile."""
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
        event, began = self._form.event(batch.messages), time.monotonic()
        delivery = Delivery(event, ids, batch.attempts + 1, False, None, self._cloud.clock.now())  # noqa: FBT003
        try:
            delivery = judged(delivery, self._invoke(event))
        # A function may raise anything; all of it means that the delivery failed.
        except Exception as exc:  # noqa: BLE001
            delivery = replace(delivery, error=type(exc).__name__)
        finally:
            self._settle(batch, replace(delivery, duration_ms=(time.monotonic() - began) * 1000))

    def _settle(self, batch: _Batch, delivery: Delivery) -> None:
        with self._cloud.changed:
            batch.attempts += 1
            self._running.remove(batch)
            if delivery.succeeded:
                self._delete(batch.messages)
            elif self._stopping:
                self._release(batch.messages)
            else:
                delivery = self._failed(batch, delivery)
            self._deliveries.append(delivery)
            self._cloud.changed.notify_all()

    def _failed(self, batch: _Batch, delivery: Delivery) -> Delivery:
        """Plan the next try, or give up; the delivery with what comes of it."""
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
        self._let_go()
        return delivery

    def _give_up(self, messages: Sequence[Message]) -> bool:
        """Bury or drop them; False if one had to be kept."""
        gone = True
        for message in messages:
            if self._dead_letter_queue is None or self._bury(message, self._dead_letter_queue):
                self._delete([message])
            else:
                # Better delivered once more than lost.
                self._release([message])
                gone = False
        return gone

    def _bury(self, message: Message, queue: str) -> bool:
        try:
            self._cloud.queues.get(queue).put(Outgoing(self._form.dead_letter(message)))
        except ServiceError:
            return False
        return True

    def _hold(self, messages: Sequence[Message]) -> list[Message]:
        """Keep `messages` invisible; those that are still ours, with their new handles."""
        return self._changed_visibility(messages, LONGEST_VISIBILITY_SECONDS)

    def _release(self, messages: Sequence[Message]) -> None:
        self._changed_visibility(messages, 0)

    def _let_go(self) -> None:
        """Show everything again that is held but not under way."""
        for batch in self._waiting:
            self._release(batch.messages)
        self._release(self._filling)
        self._waiting, self._filling = [], []

    def _changed_visibility(self, messages: Sequence[Message], seconds: float) -> list[Message]:
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
        try:
            return self._cloud.queues.get(self._queue)
        except NotExist:
            return None

    def _until_next(self) -> float | None:
        """Seconds until something may be due, None if only a change can make it so."""
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
    """Change the visibility of `message`, or with None delete it; None if it is no longer ours."""
    if queue is None or message.receipt_handle is None:
        return None
    try:
        if seconds is not None:
            return queue.change_visibility(message.receipt_handle, seconds)
        queue.delete(message.receipt_handle)
    except ServiceError:
        return None
    return message
