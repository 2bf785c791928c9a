"""Queues, topics, messages and errors as they are on the wire.

Members: https://www.alibabacloud.com/help/en/mns/developer-reference/api-operations; which of them a client
cannot do without: aliyun-mns-sdk 1.3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from alilocal.core.http import Headers, Response, ServiceError
from alilocal.core.mnsv2 import VERSION
from alilocal.smq.message import DEFAULT_PRIORITY, Message, Outgoing, Properties
from alilocal.smq.queue import QUEUE_MEMBERS, Queue, read_int
from alilocal.smq.topic import RETENTION_SECONDS, Subscription, Topic
from alilocal.smq.xml import Element, Members, build

Outcome = Message | ServiceError


def response(
    status: int, request_id: str, root: str | None = None, members: Members = (), headers: Headers = ()
) -> Response:
    """An answer, with the document `root` if one is named."""
    # Lower case matters: the vendor's SDK looks the request id up as it is written here.
    common = (("x-mns-request-id", request_id), ("x-mns-version", VERSION))
    if root is None:
        return Response(status, (*common, *headers))
    typed = ("Content-Type", "text/xml;charset=utf-8")
    return Response(status, (typed, *common, *headers), build(root, members))


def error_response(error: ServiceError, request_id: str, host: str) -> Response:
    """An error, with all four members that clients need."""
    members = [
        ("Code", error.code),
        ("Message", error.message),
        ("RequestId", request_id),
        ("HostId", f"http://{host}"),
    ]
    return response(error.status, request_id, "Error", members, error.headers)


def read_outgoing(element: Element) -> Outgoing:
    """The message that a sender's `<Message>` describes, not yet checked; raises InvalidArgument."""
    delay = element.get("DelaySeconds")
    priority = element.get("Priority")
    return Outgoing(
        element.get("MessageBody") or "",
        None if delay is None else read_int("DelaySeconds", delay),
        DEFAULT_PRIORITY if priority is None else read_int("Priority", priority),
        element.get("MessageGroupId"),
        _read_properties(element.child("UserProperties"), "PropertyValue"),
        _read_properties(element.child("SystemProperties"), "SystemPropertyValue"),
    )


def _read_properties(element: Element | None, item: str) -> Properties:
    if element is None:
        return ()
    return tuple(
        (found.get("Name") or "", found.get("Value") or "", found.get("Type") or "STRING")
        for found in element.all(item)
    )


def sent(message_id: str, body_md5: str) -> list[tuple[str, str | Members]]:
    """What a sender learns of its message."""
    return [("MessageId", message_id), ("MessageBodyMD5", body_md5)]


def sent_outcome(outcome: Outcome) -> list[tuple[str, str | Members]]:
    """One message of a batch: sent, or refused."""
    if isinstance(outcome, ServiceError):
        return [("ErrorCode", outcome.code), ("ErrorMessage", outcome.message)]
    return sent(outcome.message_id, outcome.body_md5)


def refused_handle(handle: str, error: ServiceError) -> list[tuple[str, str | Members]]:
    """A receipt handle of a batch that could not be deleted."""
    return [("ErrorCode", error.code), ("ErrorMessage", error.message), ("ReceiptHandle", handle)]


def received(message: Message) -> list[tuple[str, str | Members]]:
    """A message for the one who received it."""
    return [
        ("MessageId", message.message_id),
        ("ReceiptHandle", message.receipt_handle or ""),
        *_content(message),
        ("NextVisibleTime", milliseconds(message.visible_at)),
    ]


def peeked(message: Message) -> list[tuple[str, str | Members]]:
    """A message for one who only looks: without a handle."""
    return [("MessageId", message.message_id), *_content(message)]


def _content(message: Message) -> list[tuple[str, str | Members]]:
    first = message.enqueue_time if message.first_dequeue_time is None else message.first_dequeue_time
    members: list[tuple[str, str | Members]] = [
        ("MessageBody", message.body),
        ("MessageBodyMD5", message.body_md5),
        ("EnqueueTime", milliseconds(message.enqueue_time)),
        ("FirstDequeueTime", milliseconds(first)),
        ("DequeueCount", str(message.dequeue_count)),
        ("Priority", str(message.priority)),
    ]
    if message.group_id:
        members.append(("MessageGroupId", message.group_id))
    if message.user_properties:
        members.append(("UserProperties", _properties("PropertyValue", message.user_properties)))
    if message.system_properties:
        members.append(("SystemProperties", _properties("SystemPropertyValue", message.system_properties)))
    return members


def _properties(item: str, properties: Properties) -> Members:
    return [(item, [("Name", name), ("Value", value), ("Type", kind)]) for name, value, kind in properties]


def queue_members(queue: Queue) -> list[tuple[str, str | Members]]:
    """A queue's attributes and counters."""
    states = [message.state for message in queue.messages]
    return [
        ("QueueName", queue.name),
        *_times(queue.create_time, queue.last_modify_time),
        *((wire, str(getattr(queue.attributes, name))) for wire, name in QUEUE_MEMBERS.items()),
        ("ActiveMessages", str(states.count("active"))),
        ("InactiveMessages", str(states.count("inactive"))),
        ("DelayMessages", str(states.count("delayed"))),
    ]


def topic_members(topic: Topic, now: float) -> list[tuple[str, str | Members]]:
    """A topic's attributes and counter."""
    return [
        ("TopicName", topic.name),
        *_times(topic.create_time, topic.last_modify_time),
        ("MaximumMessageSize", str(topic.attributes.maximum_message_size)),
        ("MessageRetentionPeriod", str(RETENTION_SECONDS)),
        ("MessageCount", str(topic.message_count(now))),
        ("LoggingEnabled", str(topic.attributes.logging_enabled)),
    ]


def subscription_members(
    owner: str, topic: str, subscription: Subscription
) -> list[tuple[str, str | Members]]:
    """A subscription's attributes; without `FilterTag` if it takes everything."""
    attributes = subscription.attributes
    return [
        ("TopicOwner", owner),
        ("TopicName", topic),
        ("SubscriptionName", subscription.name),
        ("Endpoint", attributes.endpoint),
        *([("FilterTag", attributes.filter_tag)] if attributes.filter_tag else []),
        ("NotifyStrategy", attributes.notify_strategy),
        ("NotifyContentFormat", attributes.notify_content_format),
        *_times(subscription.create_time, subscription.last_modify_time),
    ]


def flat(element: Element) -> dict[str, str]:
    """The texts of an element's children, by name; empty ones are left out."""
    return {child.name: child.text.strip() for child in element.children if child.text.strip()}


def milliseconds(moment: float) -> str:
    """Seconds since the epoch as milliseconds."""
    return str(round(moment * 1000))


def each(item: str, rows: Sequence[Members]) -> Members:
    """Every row as an element `item`."""
    return [(item, row) for row in rows]


def _times(created: float, modified: float) -> tuple[tuple[str, str], tuple[str, str]]:
    # In seconds, unlike the times of messages: so the examples of help/doc-detail/35131.htm, though its
    # newer text says milliseconds.
    return (("CreateTime", str(int(created))), ("LastModifyTime", str(int(modified))))
