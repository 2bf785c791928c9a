"""The client of SMQ for operators: it also receives messages, and manages queues and subscriptions.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

from fcruntime.dataclass import dataclass, field
from hpoq.clock import Budget
from hpoq.cloud.signing import canonical_query
from hpoq.cloud.smq import NAMESPACE, Smq, encode_name, locate_messages, read_required
from hpoq.cloud.xml import Element, build, parse
from hpoq.errors import NotFound

MOST_MESSAGES = 16
_MAX_POLL_SECONDS = 30


@dataclass(frozen=True)
class ReceivedMessage:
    """A message in a queue. Its body is the text on the wire, which is base64 if its producer encoded it.

    Times are in milliseconds since the epoch. A message that was only peeked at has no `receipt_handle`.
    `origin_id` is the id that a dead-lettered message had in the queue from which the service moved it.
    """

    message_id: str
    body: str = field(repr=False)
    receipt_handle: str | None
    dequeue_count: int
    enqueued_at: int | None
    origin_id: str | None = None


@dataclass(frozen=True)
class QueueAttributes:
    """Settings of a queue, in seconds, and its counters, which the service keeps approximately."""

    name: str
    visibility_timeout: int | None
    retention_period: int | None
    active_messages: int | None
    inactive_messages: int | None
    delayed_messages: int | None


def queue_endpoint(account_id: str, region: str, queue: str) -> str:
    """Return the name by which a subscription addresses a queue.

    Source: https://www.alibabacloud.com/help/doc-detail/27480.htm.
    """
    return f"acs:mns:{region}:{account_id}:queues/{queue}"


class QueueClient(Smq):
    """Receives messages, and manages queues and subscriptions. Every method raises CallError.

    Calls are repeated as those of `Smq` are.
    """

    def receive_messages(
        self,
        queue: str,
        *,
        count: int = MOST_MESSAGES,
        wait_seconds: int = 0,
        budget: Budget | None = None,
    ) -> tuple[ReceivedMessage, ...]:
        """Receive up to `count` messages (at most 16), waiting up to `wait_seconds` (at most 30) for the first.

        The messages stay invisible to others until they are deleted or their visibility time-out ends. Returns
        an empty tuple if there are none, possibly before the wait is over. A wait that does not fit into `budget`
        is shortened.
        """
        wait = min(wait_seconds, _MAX_POLL_SECONDS)
        if budget is not None:
            # Connecting and reading the answer must fit into the budget after the wait.
            spare = budget.seconds_left() - self._connect_timeout - self._read_timeout
            wait = int(max(0, min(wait, spare)))
        query = canonical_query([("numOfMessages", str(count)), ("waitseconds", str(wait))])
        target = f"{locate_messages('queues', queue)}?{query}"
        return self._receive("BatchReceiveMessage", target, budget, extra_seconds=float(wait))

    def peek(self, queue: str, *, count: int = 1) -> tuple[ReceivedMessage, ...]:
        """Return up to `count` visible messages without changing them."""
        query = canonical_query([("peekonly", "true"), ("numOfMessages", str(count))])
        return self._receive("BatchPeekMessage", f"{locate_messages('queues', queue)}?{query}")

    def delete_message(self, queue: str, receipt_handle: str) -> None:
        """Delete a received message. Raises NotFound if its visibility time-out has ended."""
        target = f"{locate_messages('queues', queue)}?{canonical_query([('ReceiptHandle', receipt_handle)])}"
        self.call("DeleteMessage", "DELETE", target, _ignore)

    def change_visibility(self, queue: str, receipt_handle: str, seconds: int) -> str:
        """Keep a received message invisible for `seconds` from now, and return its new receipt handle."""
        query = canonical_query([("receiptHandle", receipt_handle), ("visibilityTimeout", str(seconds))])
        target = f"{locate_messages('queues', queue)}?{query}"
        return self.call(
            "ChangeMessageVisibility", "PUT", target, lambda body: read_required(parse(body), "ReceiptHandle")
        )

    def create_queue(self, queue: str, *, retention_period: int) -> None:
        """Create a queue that keeps messages for `retention_period` seconds, unless it exists with that attribute.

        Raises Conflict if it exists with other attributes.
        """
        data = build("Queue", NAMESPACE, [("MessageRetentionPeriod", str(retention_period))])
        self.call("CreateQueue", "PUT", f"/queues/{encode_name(queue)}", _ignore, data)

    def get_queue_attributes(self, queue: str) -> QueueAttributes:
        """Return the settings and counters of a queue. Raises NotFound if it does not exist."""
        target = f"/queues/{encode_name(queue)}"
        return self.call("GetQueueAttributes", "GET", target, _read_queue_attributes)

    def subscribe(self, topic: str, subscription: str, endpoint: str) -> None:
        """Subscribe `endpoint`, which for a queue is the result of `queue_endpoint`, to `topic`.

        The published body alone is pushed (SIMPLIFIED). Raises Conflict if the subscription exists with other
        attributes.
        """
        members = [("Endpoint", endpoint), ("NotifyContentFormat", "SIMPLIFIED")]
        data = build("Subscription", NAMESPACE, members)
        self.call("Subscribe", "PUT", _locate_subscription(topic, subscription), _ignore, data)

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with all its messages. The service reports no error if the queue does not exist."""
        self.call("DeleteQueue", "DELETE", f"/queues/{encode_name(queue)}", _ignore)

    def unsubscribe(self, topic: str, subscription: str) -> None:
        """Delete a subscription of `topic`."""
        self.call("Unsubscribe", "DELETE", _locate_subscription(topic, subscription), _ignore)

    def _receive(
        self, operation: str, target: str, budget: Budget | None = None, *, extra_seconds: float = 0.0
    ) -> tuple[ReceivedMessage, ...]:
        try:
            return self.call(
                operation, "GET", target, _read_messages, budget=budget, extra_seconds=extra_seconds
            )
        except NotFound as exc:
            if exc.code == "MessageNotExist":
                return ()
            raise


def _ignore(_body: bytes) -> None:
    """Read nothing, for calls whose success is the whole answer."""


def _locate_subscription(topic: str, subscription: str) -> str:
    return f"/topics/{encode_name(topic)}/subscriptions/{encode_name(subscription)}"


def _read_messages(body: bytes) -> tuple[ReceivedMessage, ...]:
    """Return the messages of a batch, or the one message of a single receive. Raises ValueError."""
    root = parse(body)
    items = [root] if root.name == "Message" else _find_children(root, "Message")
    return tuple(map(_read_message, items))


def _read_queue_attributes(body: bytes) -> QueueAttributes:
    """Return the attributes of a GetQueueAttributes answer. Raises ValueError."""
    root = parse(body)
    return QueueAttributes(
        name=read_required(root, "QueueName"),
        visibility_timeout=_read_number(root, "VisibilityTimeout"),
        retention_period=_read_number(root, "MessageRetentionPeriod"),
        active_messages=_read_number(root, "ActiveMessages"),
        inactive_messages=_read_number(root, "InactiveMessages"),
        delayed_messages=_read_number(root, "DelayMessages"),
    )


def _read_message(item: Element) -> ReceivedMessage:
    return ReceivedMessage(
        message_id=read_required(item, "MessageId"),
        body=item.get("MessageBody") or "",
        receipt_handle=item.get("ReceiptHandle"),
        dequeue_count=_read_number(item, "DequeueCount") or 0,
        enqueued_at=_read_number(item, "EnqueueTime"),
        origin_id=_read_property(item, "DLQOriginMessageId"),
    )


def _read_property(item: Element, name: str) -> str | None:
    """Return a system property (https://www.alibabacloud.com/help/en/mns/developer-reference/sendmessage)."""
    groups = _find_children(item, "SystemProperties")
    properties = [value for group in groups for value in _find_children(group, "SystemPropertyValue")]
    return next((value.get("Value") for value in properties if value.get("Name") == name), None)


def _find_children(element: Element, name: str) -> list[Element]:
    return [child for child in element.children if child.name == name]


def _read_number(element: Element, name: str) -> int | None:
    text = (element.get(name) or "").strip()
    return int(text) if text.isdecimal() else None
