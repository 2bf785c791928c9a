"""A queue: which messages are visible when, and which receiver holds them.

Semantics: https://www.alibabacloud.com/help/en/mns/product-overview/queue-message-life-cycle, attributes:
https://www.alibabacloud.com/help/en/mns/developer-reference/createqueue.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from alilocal.core.http import ServiceError
from alilocal.core.ids import is_receipt_handle
from alilocal.core.world import Sent, World
from alilocal.smq.errors import InvalidArgument, MessageNotExist, ReceiptHandleError
from alilocal.smq.message import DEFAULT_PRIORITY, Message, MessageView, Outgoing, State, check_range
from alilocal.smq.switches import SmqSwitches

LONGEST_VISIBILITY_SECONDS = 43_200
_SPAN_SECONDS, _MOST_SPANS = 5, 60


@dataclass(frozen=True)
class QueueAttributes:
    """The attributes of a queue; times in seconds, sizes in bytes."""

    visibility_timeout: int = 30
    maximum_message_size: int = 65_536
    message_retention_period: int = 345_600
    delay_seconds: int = 0
    polling_wait_seconds: int = 0
    logging_enabled: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            check_range(wire_name(name), getattr(self, name), low, high)


_RANGES = {
    "visibility_timeout": (1, LONGEST_VISIBILITY_SECONDS),
    "maximum_message_size": (1024, 65_536),
    "message_retention_period": (60, 1_296_000),
    "delay_seconds": (0, 604_800),
    "polling_wait_seconds": (0, 30),
}


def wire_name(name: str) -> str:
    """Return an attribute's name on the wire: `VisibilityTimeout` for `visibility_timeout`."""
    return "".join(part.capitalize() for part in name.split("_"))


QUEUE_MEMBERS: Mapping[str, str] = {
    wire_name(attribute.name): attribute.name for attribute in fields(QueueAttributes)
}


@dataclass(frozen=True)
class DeadLetterPolicy:
    """A message that was received `max_receive_count` times moves to the queue `queue_name`."""

    queue_name: str
    max_receive_count: int


class Rates:
    """How many messages were sent, received and removed lately, in spans of 5 seconds on the cloud's clock."""

    def __init__(self) -> None:
        self._spans: dict[int, list[int]] = {}

    def count(self, now: float, *, sent: int = 0, received: int = 0, removed: int = 0) -> None:
        """Count messages at `now`."""
        span = self._spans.setdefault(_span_of(now), [0, 0, 0])
        for place, number in enumerate((sent, received, removed)):
            span[place] += number
        while len(self._spans) > _MOST_SPANS:
            del self._spans[next(iter(self._spans))]

    def recent(self, now: float) -> dict[str, list[int]]:
        """Return the counts of the last five minutes, by the start of their span; spans without any are left out."""
        oldest = _span_of(now) - _MOST_SPANS * _SPAN_SECONDS
        return {str(start): counts.copy() for start, counts in self._spans.items() if start > oldest}


def _span_of(now: float) -> int:
    return int(now) // _SPAN_SECONDS * _SPAN_SECONDS


@dataclass
class QueueState:
    """The state of a queue, for a snapshot."""

    name: str
    attributes: QueueAttributes
    create_time: float
    last_modify_time: float
    dead_letter_policy: DeadLetterPolicy | None
    messages: list[Message] = field(repr=False)


class Queue:
    """One queue. Its methods take the cloud's lock themselves, and may be called from any thread.

    `_messages` holds the messages by id, oldest first. Two heaps save a search through all of them: `_waiting` has
    the invisible messages by the time at which they show, `_ready` the visible ones by priority and age. Entries are
    never removed from the middle of a heap; they are recognized as outdated when they come up (`_is_stale`).
    """

    def __init__(self, world: World[SmqSwitches], name: str, attributes: QueueAttributes) -> None:
        self._world = world
        self.name = name
        self.attributes = attributes
        self.create_time = self.last_modify_time = world.clock.now()
        self.dead_letter_policy: DeadLetterPolicy | None = None
        self._messages: dict[str, Message] = {}
        self._by_handle: dict[str, Message] = {}
        self._ready: list[tuple[int, int, str]] = []
        self._waiting: list[tuple[float, int, str]] = []
        self._sequence = 0
        self._newest = 0.0
        self._rates = Rates()

    @classmethod
    def restored(cls, world: World[SmqSwitches], state: QueueState) -> Queue:
        """Return a queue with `state`."""
        queue = cls(world, state.name, state.attributes)
        queue.create_time, queue.last_modify_time = state.create_time, state.last_modify_time
        queue.dead_letter_policy = state.dead_letter_policy
        for message in state.messages:
            queue.add(message)
            if message.receipt_handle is not None:
                queue._by_handle[message.receipt_handle] = message
        queue._rates = Rates()
        return queue

    def state(self) -> QueueState:
        """Return the state of the queue."""
        with self._world.changed:
            self._settle()
            messages = list(self._messages.values())
            return QueueState(
                self.name,
                self.attributes,
                self.create_time,
                self.last_modify_time,
                self.dead_letter_policy,
                messages,
            )

    @property
    def resource(self) -> str:
        """The queue's resource name."""
        return f"acs:mns:{self._world.region}:{self._world.account_id}:queues/{self.name}"

    @property
    def messages(self) -> list[MessageView]:
        """The messages in the queue now, oldest first."""
        with self._world.changed:
            now = self._settle()
            return [message.view(now) for message in self._messages.values()]

    def states(self) -> dict[str, State]:
        """Return the state of each message in the queue, by its id."""
        with self._world.changed:
            now = self._settle()
            return {message_id: message.state(now) for message_id, message in self._messages.items()}

    def spans(self) -> dict[str, list[int]]:
        """Return how many messages were sent, received and removed in each 5 seconds of the last five minutes."""
        with self._world.changed:
            return self._rates.recent(self._settle())

    def remove(self, message_id: str) -> Message | None:
        """Remove a message, whoever holds it, and return it; None if it is not in the queue."""
        with self._world.changed:
            self._settle()
            message = self._messages.get(message_id)
            if message is not None:
                self._remove(message)
                self._world.changed.notify_all()
            return message

    def show(self, message_id: str) -> bool:
        """Make a hidden message visible at once, and return False if it is not in the queue."""
        with self._world.changed:
            self._settle()
            message = self._messages.get(message_id)
            if message is None:
                return False
            message.visible_at = self._world.clock.now()
            self._schedule(message)
            self._world.changed.notify_all()
            return True

    def send(self, body: str | bytes, *, delay_seconds: int | None = None, priority: int = 8) -> str:
        """Put a message with `body`, unchanged, into the queue, and return its id; raises InvalidArgument."""
        text = body.decode() if isinstance(body, bytes) else body
        return self.put(Outgoing(text, delay_seconds, priority)).message_id

    def dead_letter(self, queue_name: str, max_receive_count: int) -> None:
        """Move messages to the queue `queue_name` after they were received `max_receive_count` times.

        Raises ValueError if that is this queue, or the count is not positive.
        """
        if queue_name == self.name or max_receive_count < 1:
            raise ValueError("the dead-letter queue must be another queue, and the count at least 1")
        self.dead_letter_policy = DeadLetterPolicy(queue_name, max_receive_count)

    def purge(self) -> None:
        """Delete all messages."""
        with self._world.changed:
            self._rates.count(self._world.clock.now(), removed=len(self._messages))
            self._messages.clear()
            self._by_handle.clear()
            self._world.changed.notify_all()

    def set_attributes(self, attributes: QueueAttributes) -> None:
        """Replace the attributes."""
        with self._world.changed:
            self.attributes = attributes
            self.last_modify_time = self._world.clock.now()
            self._world.changed.notify_all()

    def put(self, outgoing: Outgoing, *, request_id: str | None = None) -> Message:
        """Add a message; raises InvalidArgument if it exceeds a limit.

        As documented, a delayed message gets a receipt handle at once.
        """
        outgoing.check(self.attributes.maximum_message_size)
        with self._world.changed:
            now = self._world.clock.now()
            given = outgoing.delay_seconds
            delay = self.attributes.delay_seconds if given is None else given
            ids = self._world.ids
            message = Message(
                ids.message_id(),
                outgoing.body,
                outgoing.priority,
                now,
                now + delay,
                0,
                request_id or ids.smq_request_id(),
                outgoing.group_id,
                outgoing.user_properties,
                outgoing.system_properties,
            )
            self.add(message)
            self._world.notes.record_keys(message.message_id)
            self._world.journal.add(Sent(self.name, message.message_id, outgoing.body, now))
            if delay:
                self._issue_handle(message)
            return message.copy()

    def add(self, message: Message) -> None:
        """Add a message from another queue or a snapshot, keeping its times."""
        with self._world.changed:
            self._sequence += 1
            message.sequence = self._sequence
            self._messages[message.message_id] = message
            if message.enqueue_time < self._newest:
                by_age = sorted(self._messages.items(), key=lambda one: one[1].enqueue_time)
                self._messages = dict(by_age)
            self._newest = max(self._newest, message.enqueue_time)
            self._rates.count(self._world.clock.now(), sent=1)
            self._schedule(message)
            self._world.changed.notify_all()

    def put_again(self, message_id: str, body: str) -> None:
        """Add a message that has left the queue once more, with the same id: a second delivery of it."""
        with self._world.changed:
            now, request_id = self._world.clock.now(), self._world.ids.smq_request_id()
            self.add(Message(message_id, body, DEFAULT_PRIORITY, now, now, 0, request_id))

    def receive(self, count: int) -> list[Message]:
        """Return up to `count` visible messages by priority and age, and hide them for the visibility time-out."""
        with self._world.changed:
            now = self._settle()
            taken: list[Message] = []
            while len(taken) < count and (message := self._pop_ready(now)) is not None:
                message.dequeue_count += 1
                message.first_dequeue_time = message.first_dequeue_time or now
                self._hide(message, self.attributes.visibility_timeout)
                taken.append(message.copy())
            if taken:
                self._rates.count(now, received=len(taken))
            return taken

    def peek(self, count: int) -> list[Message]:
        """Return up to `count` visible messages without changing them."""
        with self._world.changed:
            now = self._settle()
            visible = [message for message in self._messages.values() if message.visible_at <= now]
            first = heapq.nsmallest(count, visible, key=lambda message: (message.priority, message.sequence))
            return [message.copy() for message in first]

    def shows_any(self) -> bool:
        """Return whether a message is visible."""
        with self._world.changed:
            message = self._pop_ready(self._settle())
            if message is None:
                return False
            self._make_ready(message)
            return True

    def pop_exhausted(self) -> list[Message]:
        """Remove and return the visible messages that the dead-letter policy moves elsewhere."""
        policy = self.dead_letter_policy
        if policy is None:
            return []
        with self._world.changed:
            now = self._settle()
            exhausted = [
                message
                for message in self._messages.values()
                if message.visible_at <= now and message.dequeue_count >= policy.max_receive_count
            ]
            for message in exhausted:
                self._remove(message)
            return exhausted

    def delete(self, receipt_handle: str) -> None:
        """Delete the message that `receipt_handle` belongs to.

        Raises ReceiptHandleError for an invalid handle, MessageNotExist for one that was used or has expired.
        """
        with self._world.changed:
            self._remove(self._held(receipt_handle))

    def change_visibility(self, receipt_handle: str, seconds: float) -> Message:
        """Hide the message for `seconds` from now, or show it at once with 0; it gets a new receipt handle.

        Raises as `delete` does.
        """
        with self._world.changed:
            message = self._held(receipt_handle)
            self._hide(message, seconds)
            self._world.changed.notify_all()
            return message.copy()

    def holds(self, receipt_handle: str) -> bool:
        """Return whether `receipt_handle` still belongs to a hidden message."""
        try:
            self._held(receipt_handle)
        except ServiceError:
            return False
        return True

    def next_change(self) -> float | None:
        """Return when the next hidden message shows, in seconds since the epoch, or None without any."""
        with self._world.changed:
            self._settle()
            return self._waiting[0][0] if self._waiting else None

    def _held(self, receipt_handle: str) -> Message:
        if not is_receipt_handle(receipt_handle):
            raise ReceiptHandleError
        now = self._settle()
        message = self._by_handle.get(receipt_handle)
        if message is None or message.visible_at <= now:
            if self._world.behaviour.expired_receipt == "ReceiptHandleError":
                raise ReceiptHandleError
            raise MessageNotExist
        return message

    def _hide(self, message: Message, seconds: float) -> None:
        message.visible_at = self._world.clock.now() + seconds
        message.received = True
        self._issue_handle(message)
        self._schedule(message)

    def _issue_handle(self, message: Message) -> None:
        self._by_handle.pop(message.receipt_handle or "", None)
        message.receipt_handle = self._world.ids.receipt_handle()
        self._by_handle[message.receipt_handle] = message

    def _remove(self, message: Message) -> None:
        if self._messages.pop(message.message_id, None) is not None:
            self._rates.count(self._world.clock.now(), removed=1)
        self._by_handle.pop(message.receipt_handle or "", None)

    def _schedule(self, message: Message) -> None:
        heapq.heappush(self._waiting, (message.visible_at, message.sequence, message.message_id))

    def _settle(self) -> float:
        """Delete expired messages, make visible what has become due, and return the present time."""
        now = self._world.clock.now()
        oldest = now - self.attributes.message_retention_period
        if expired := self._find_expired(oldest):
            for message in expired:
                self._remove(message)
            self._world.journal.mark_expired(self.name, {message.message_id for message in expired}, now)
        while self._waiting and (self._waiting[0][0] <= now or self._is_stale(self._waiting[0])):
            entry = heapq.heappop(self._waiting)
            if not self._is_stale(entry):
                self._make_ready(self._messages[entry[2]])
        return now

    def _find_expired(self, oldest: float) -> list[Message]:
        expired = []
        for message in self._messages.values():
            if message.enqueue_time > oldest:
                break
            expired.append(message)
        return expired

    def _is_stale(self, entry: tuple[float, int, str]) -> bool:
        """Return whether the message was deleted or hidden again since `entry` was made."""
        message = self._messages.get(entry[2])
        return message is None or message.visible_at != entry[0]

    def _make_ready(self, message: Message) -> None:
        heapq.heappush(self._ready, (message.priority, message.sequence, message.message_id))

    def _pop_ready(self, now: float) -> Message | None:
        while self._ready:
            _, _, message_id = heapq.heappop(self._ready)
            message = self._messages.get(message_id)
            if message is not None and message.visible_at <= now:
                return message
        return None


def read_attributes(given: Mapping[str, str], base: QueueAttributes) -> QueueAttributes:
    """Return `base` with the attributes in `given`, by their names on the wire; raises InvalidArgument."""
    values: dict[str, int | bool] = {}
    for name, text in given.items():
        member = QUEUE_MEMBERS.get(name)
        if member is not None:
            values[member] = read_bool(text) if member == "logging_enabled" else read_int(name, text)
    return replace(base, **values)  # type: ignore[arg-type]


def read_int(name: str, text: str) -> int:
    """Return the number in `text`; raises InvalidArgument."""
    text = text.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise InvalidArgument(f"The value of {name} should be a number.")
    return int(text)


def read_bool(text: str) -> bool:
    """Return the truth value in `text`, True or False in any case; raises InvalidArgument."""
    if text.lower() not in ("true", "false"):
        raise InvalidArgument("The value of LoggingEnabled should be True or False.")
    return text.lower() == "true"
