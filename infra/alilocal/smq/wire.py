"""Answers, queues, topics and messages as they are on the wire.

Members: https://www.alibabacloud.com/help/en/mns/developer-reference/api-operations. Which of them clients need:
aliyun-mns-sdk 1.3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from alilocal.core.http import Headers, Response, ServiceError
from alilocal.smq.message import DEFAULT_PRIORITY, Message, Outgoing, Properties
from alilocal.smq.queue import QUEUE_MEMBERS, Queue, read_int
from alilocal.smq.signature import VERSION
from alilocal.smq.topic import RETENTION_SECONDS, Subscription, Topic
from alilocal.smq.xml import ERROR_NAMESPACE, NAMESPACE, Element, Members, build

Outcome = Message | ServiceError


def response(
    status: int, request_id: str, root: str | None = None, members: Members = (), headers: Headers = ()
) -> Response:
    """Return an answer, with the document `root` if it is given."""
    # Lower case matters: the vendor's SDK looks up the name of the request id in this spelling.
    common = (("x-mns-request-id", request_id), ("x-mns-version", VERSION))
    if root is None:
        return Response(status, (*common, *headers))
    typed = ("Content-Type", "text/xml;charset=utf-8")
    namespace = ERROR_NAMESPACE if root == "Error" else NAMESPACE
    return Response(status, (typed, *common, *headers), build(root, members, namespace))


def error_response(error: ServiceError, request_id: str, host: str) -> Response:
    """Return an error with the four members that clients need."""
    members = [
        ("Code", error.code),
        ("Message", error.message),
        ("RequestId", request_id),
        ("HostId", f"http://{host}"),
    ]
    return response(error.status, request_id, "Error", members, error.headers)


def read_outgoing(element: Element) -> Outgoing:
    """Read the message in a sender's `<Message>`, whose limits are not checked yet; raises InvalidArgument."""
    delay = text_of(element, "DelaySeconds")
    priority = text_of(element, "Priority")
    return Outgoing(
        text_of(element, "MessageBody") or "",
        None if delay is None else read_int("DelaySeconds", delay),
        DEFAULT_PRIORITY if priority is None else read_int("Priority", priority),
        text_of(element, "MessageGroupId"),
        _read_properties(element.find("UserProperties"), "PropertyValue"),
        _read_properties(element.find("SystemProperties"), "SystemPropertyValue"),
    )


def _read_properties(element: Element | None, item: str) -> Properties:
    if element is None:
        return ()
    return tuple(
        (text_of(found, "Name") or "", text_of(found, "Value") or "", text_of(found, "Type") or "STRING")
        for found in element.findall(item)
    )


def sent(message_id: str, body_md5: str) -> list[tuple[str, str | Members]]:
    """Return the members of the answer to a sender."""
    return [("MessageId", message_id), ("MessageBodyMD5", body_md5)]


def sent_outcome(outcome: Outcome) -> list[tuple[str, str | Members]]:
    """Return the members for one message of a batch: sent, or refused."""
    if isinstance(outcome, ServiceError):
        return [("ErrorCode", outcome.code), ("ErrorMessage", outcome.message)]
    return sent(outcome.message_id, outcome.body_md5)


def refused_handle(handle: str, error: ServiceError) -> list[tuple[str, str | Members]]:
    """Return the members for a receipt handle of a batch that could not be deleted."""
    return [("ErrorCode", error.code), ("ErrorMessage", error.message), ("ReceiptHandle", handle)]


def received(message: Message) -> list[tuple[str, str | Members]]:
    """Return the members of a received message."""
    return [
        ("MessageId", message.message_id),
        ("ReceiptHandle", message.receipt_handle or ""),
        *_content(message, [("NextVisibleTime", milliseconds(message.visible_at))]),
    ]


def peeked(message: Message) -> list[tuple[str, str | Members]]:
    """Return the members of a message that was only looked at: there is no receipt handle."""
    return [("MessageId", message.message_id), *_content(message)]


def _content(message: Message, own: Members = ()) -> list[tuple[str, str | Members]]:
    """Return the members of a message, with `own` ones of the operation among them."""
    first = message.enqueue_time if message.first_dequeue_time is None else message.first_dequeue_time
    members: list[tuple[str, str | Members]] = [
        ("MessageBody", message.body),
        ("MessageBodyMD5", message.body_md5),
        ("EnqueueTime", milliseconds(message.enqueue_time)),
        ("FirstDequeueTime", milliseconds(first)),
        ("DequeueCount", str(message.dequeue_count)),
        ("Priority", str(message.priority)),
        *own,
    ]
    if message.group_id:
        members.append(("MessageGroupId", message.group_id))
    if message.system_properties:
        members.append(("SystemProperties", _properties("SystemPropertyValue", message.system_properties)))
    # The last one, because some readers skip everything after it.
    if message.user_properties:
        members.append(("UserProperties", _properties("PropertyValue", message.user_properties)))
    return members


def _properties(item: str, properties: Properties) -> Members:
    return [(item, [("Name", name), ("Value", value), ("Type", kind)]) for name, value, kind in properties]


def queue_members(queue: Queue) -> list[tuple[str, str | Members]]:
    """Return a queue's attributes and counters."""
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
    """Return a topic's attributes and counter."""
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
    """Return a subscription's attributes; without `FilterTag` if it has no filter."""
    attributes = subscription.attributes
    return [
        ("TopicOwner", owner),
        ("Subscriber", owner),
        ("TopicName", topic),
        ("SubscriptionName", subscription.name),
        ("Endpoint", attributes.endpoint),
        *([("FilterTag", attributes.filter_tag)] if attributes.filter_tag else []),
        ("NotifyStrategy", attributes.notify_strategy),
        ("NotifyContentFormat", attributes.notify_content_format),
        *_times(subscription.create_time, subscription.last_modify_time),
    ]


def text_of(element: Element, name: str) -> str | None:
    """Return the text of the first child `name`, or None if it is missing or empty."""
    return element.findtext(name) or None


def flat(element: Element) -> dict[str, str]:
    """Return the texts of an element's children, by name; empty ones are left out."""
    texts = ((child.tag, (child.text or "").strip()) for child in element)
    return {name: text for name, text in texts if text}


def milliseconds(moment: float) -> str:
    """Return seconds since the epoch as milliseconds."""
    return str(round(moment * 1000))


def each(item: str, rows: Sequence[Members]) -> Members:
    """Return every row as an element `item`."""
    return [(item, row) for row in rows]


def _times(created: float, modified: float) -> tuple[tuple[str, str], tuple[str, str]]:
    # In seconds, unlike the times of messages: the examples of help/doc-detail/35131.htm do so, although its newer
    # text says milliseconds.
    return (("CreateTime", str(int(created))), ("LastModifyTime", str(int(modified))))
