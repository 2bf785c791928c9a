"""Queues and messages of SMQ as its answers describe them.

The readers raise Unreadable, or XmlError, for a body that does not hold what it must.
"""

from __future__ import annotations

from fcruntime.dataclass import dataclass, field
from hpoq.cloud.safexml import Element, parse


class Unreadable(ValueError):
    """An answer without the elements that it must have."""


@dataclass(frozen=True)
class SentMessage:
    """The service's receipt: the new message's id, and the upper-case MD5 of its body as sent."""

    message_id: str
    body_md5: str | None


@dataclass(frozen=True)
class ReceivedMessage:
    """A message as it lies in the queue; its body is the text on the wire, base64 if its producer encoded it.

    Times are in milliseconds since the epoch. A message that was only looked at has no `receipt_handle`.
    `origin_id` is the id that a dead letter had in the queue from which the service moved it.
    """

    message_id: str
    body: str = field(repr=False)
    receipt_handle: str | None
    dequeue_count: int
    enqueued_at: int | None
    next_visible_at: int | None
    origin_id: str | None = None


@dataclass(frozen=True)
class QueueAttributes:
    """Settings of a queue (seconds and bytes) and its counters, which the service keeps approximately."""

    name: str
    visibility_timeout: int | None
    maximum_message_size: int | None
    retention_period: int | None
    delay_seconds: int | None
    polling_wait_seconds: int | None
    active_messages: int | None
    inactive_messages: int | None
    delayed_messages: int | None


def sent_message(body: bytes) -> SentMessage:
    root = parse(body)
    return SentMessage(_required(root, "MessageId"), root.get("MessageBodyMD5"))


def received_messages(body: bytes) -> tuple[ReceivedMessage, ...]:
    """The messages of a batch, or the one message of a single receive."""
    root = parse(body)
    return tuple(_received(item) for item in ([root] if root.name == "Message" else root.all("Message")))


def queue_attributes(body: bytes) -> QueueAttributes:
    root = parse(body)
    return QueueAttributes(
        name=_required(root, "QueueName"),
        visibility_timeout=_number(root, "VisibilityTimeout"),
        maximum_message_size=_number(root, "MaximumMessageSize"),
        retention_period=_number(root, "MessageRetentionPeriod"),
        delay_seconds=_number(root, "DelaySeconds"),
        polling_wait_seconds=_number(root, "PollingWaitSeconds"),
        active_messages=_number(root, "ActiveMessages"),
        inactive_messages=_number(root, "InactiveMessages"),
        delayed_messages=_number(root, "DelayMessages"),
    )


def new_receipt_handle(body: bytes) -> str:
    return _required(parse(body), "ReceiptHandle")


def _received(item: Element) -> ReceivedMessage:
    return ReceivedMessage(
        message_id=_required(item, "MessageId"),
        body=item.get("MessageBody") or "",
        receipt_handle=item.get("ReceiptHandle"),
        dequeue_count=_number(item, "DequeueCount") or 0,
        enqueued_at=_number(item, "EnqueueTime"),
        next_visible_at=_number(item, "NextVisibleTime"),
        origin_id=_property(item, "DLQOriginMessageId"),
    )


def _property(item: Element, name: str) -> str | None:
    """A system property (https://www.alibabacloud.com/help/en/mns/developer-reference/sendmessage)."""
    properties = [
        value for group in item.all("SystemProperties") for value in group.all("SystemPropertyValue")
    ]
    return next((value.get("Value") for value in properties if value.get("Name") == name), None)


def _required(element: Element, name: str) -> str:
    text = element.get(name)
    if not text:
        raise Unreadable(f"no {name}")
    return text


def _number(element: Element, name: str) -> int | None:
    text = (element.get(name) or "").strip()
    return int(text) if text.isdecimal() else None
