"""The event sources: how each is recognized by its shape, and how a message is read from it.

A trigger delivers the payload of its source, alone or as the `data` of a CloudEvent. `decode` tries every source
of `BY_PAYLOAD` on it. To add a source, make a `Source`, and add it to `BY_PAYLOAD` and its name to `Kind`.

The id of a message is what its source keeps over every delivery, with whatever makes it unique there. None of the
ids that a delivery makes (FC's request id, the `id` of the CloudEvent around a message) serves if the source has
one of its own. The shapes are those of the page "trigger event formats" of the FC documentation
(https://www.alibabacloud.com/help/en/functioncompute/fc/formats-of-event-for-different-triggers-1) and of published
captures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from fcruntime.dataclass import dataclass, replace
from fcruntime.jsonvalue import JsonObject, JsonValue, read_whole_number
from fcruntime.triggers.body import decode_base64, unwrap_base64
from fcruntime.triggers.identity import (
    identify_attributes,
    identify_event,
    join_ids,
    read_attributes,
    read_id,
)
from fcruntime.triggers.message import Message, Undecodable

Kind: TypeAlias = Literal[
    "smq", "smq-topic", "kafka", "rocketmq", "rabbitmq", "mqtt", "http", "eventbridge", "invocation"
]
KINDS: tuple[str, ...] = get_args(Kind)
"""The names of all kinds of sources, one of which can be pinned."""


def check_source(source: str) -> None:
    """Raise ValueError unless `source` is one of KINDS."""
    if source not in KINDS:
        raise ValueError(f"{source!r} is not an event source. Use one of {', '.join(KINDS)}.")


INVOCATION = "invocation"
"""The kind of a message that is the whole event: a direct call, synchronous or asynchronous."""


@dataclass(frozen=True)
class Source:
    """A kind of event source.

    `matches` is given a payload: the `data` of a CloudEvent, or an item without one. `read` is given such a payload,
    the bytes that identify the item if it holds no readable message, and the CloudEvent around the payload, which
    is empty if there is none.
    """

    kind: str
    matches: Callable[[JsonObject], bool]
    read: Callable[[JsonObject, bytes, JsonObject], Message | Undecodable]


def _read_body(kind: str, message_id: str | None, body: JsonValue, item: bytes) -> Message | Undecodable:
    """Return the message with `body`: text, with one layer of base64 around JSON undone, or a JSON value as text.

    Return an Undecodable if the body is missing, is of another type, or is not valid Unicode.
    """
    if isinstance(body, (dict, list)):
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(body, str):
        reason = "the message body is missing or is not text"
        return Undecodable.from_item(item, f"trigger.{kind}.body", reason, kind=kind, id=message_id)
    try:
        return Message(kind, message_id, unwrap_base64(body.encode()))
    except UnicodeEncodeError:
        reason = "the message body is not valid UTF-8"
        return Undecodable.from_item(item, "trigger.encoding", reason, kind=kind, id=message_id)


def _write_scalar(value: JsonValue) -> JsonValue:
    """Return a number or a truth value, which a JSON setting of a trigger can make of a body, as its JSON text."""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


def _describe(
    item: Message | Undecodable,
    *,
    subject: JsonValue = None,
    time: JsonValue = None,
    attributes: JsonValue = None,
) -> Message | Undecodable:
    """Add what the source itself says about a message: its queue or topic, its time and the producer's attributes."""
    if isinstance(item, Undecodable):
        return item
    moment = read_whole_number(time)
    pairs = attributes.items() if isinstance(attributes, dict) else ()
    return replace(
        item,
        subject=read_id(subject),
        time=str(moment) if moment is not None else read_id(time),
        attributes=tuple(
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in pairs
        ),
    )


def _event_place(event: JsonObject) -> str | None:
    """Return what a trigger's CloudEvent says about the place of its message, or None if it says nothing.

    `subject` names the instance and the topic or queue in it. `source` may be the name of the trigger, which changes
    when the trigger is created again, so it counts only if there is no `subject`.
    """
    return read_id(event.get("subject")) or read_id(event.get("source"))


# SMQ queue trigger. `data` holds `messageId` and `messageBody`; no other attribute is needed to recognize it. One
# without a body has no other member than its ids, or it would be confused with events that name a message. SMQ
# documents the id as unique within one queue. All published ids hold the server, the time and a counter, so the
# queue is left out of the identity: a producer then knows the key from the answer to SendMessage.


def _read_smq(data: JsonObject, item: bytes, _event: JsonObject) -> Message | Undecodable:
    message = _read_body("smq", read_id(data.get("messageId")), data.get("messageBody"), item)
    return open_notification(message, item)


SMQ = Source(
    "smq", lambda data: "messageBody" in data or data.keys() == {"messageId", "requestId"}, _read_smq
)


# SMQ topic trigger, and the notifications that a topic pushes to a queue or to an HTTP trigger. The trigger's format
# JSON, and the formats JSON and XML of notifications, hold the id of the message in its topic, which all pushes of
# the message have in common. The trigger's format STREAM is the bare body, or `{"body": ..., "attrs": ...}`
# if there are message attributes, and no id. The format SIMPLIFIED of notifications is the bare body. Format of
# notifications: https://www.alibabacloud.com/help/en/mns/developer-reference/subscribe-1.

_NOTIFICATION = ("TopicName", "MessageId", "Message")
# The trigger's format JSON also has the attributes of the message.
_TOPIC_MEMBERS = frozenset(
    [
        "TopicOwner",
        "TopicName",
        "Subscriber",
        "SubscriptionName",
        "MessageId",
        "MessageMD5",
        "MessageTag",
        "Message",
        "PublishTime",
    ]
)
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_REFERENCE = r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|quot|apos|amp));"


def _read_topic(data: JsonObject, item: bytes, _event: JsonObject) -> Message | Undecodable:
    if "Message" not in data:
        return _describe(
            _read_body(SMQ_TOPIC.kind, None, data.get("body"), item), attributes=data.get("attrs")
        )
    return _describe(
        _read_body(SMQ_TOPIC.kind, read_id(data.get("MessageId")), data["Message"], item),
        subject=data.get("TopicName"),
        time=read_whole_number(data.get("PublishTime")),
        attributes={name: value for name, value in data.items() if name not in _TOPIC_MEMBERS},
    )


def open_notification(message: Message | Undecodable, item: bytes) -> Message | Undecodable:
    """Return the topic's message if the body of `message` is the notification of one, else `message`.

    `item` identifies the delivery if the notification holds no readable message.
    """
    if isinstance(message, Undecodable):
        return message
    body = message.body
    # `unwrap_base64` leaves XML as it is. Decoded `<` always begins with "P" in base64, after a byte order mark "7".
    if body.lstrip()[:1] in (b"P", b"7"):
        body = decode_base64(body) or body
    if b"TopicName" not in body:
        return message  # before anything is parsed, because most messages are not notifications
    text = body.decode("utf-8-sig", errors="surrogateescape").strip()
    if text.startswith("{"):
        notification = _parse_json_notification(text)
    elif text.startswith("<"):
        notification = _parse_xml_notification(text)
    else:
        notification = None
    return message if notification is None else _read_topic(notification, item, {})


def _parse_json_notification(text: str) -> JsonObject | None:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(name in found for name in _NOTIFICATION) else None


def _parse_xml_notification(text: str) -> JsonObject | None:
    # Read element by element, for the documentation's own example is not well-formed.
    found: JsonObject = {}
    for name in _NOTIFICATION:
        opening = re.search(rf"<{name}(?:\s[^<>]*)?>", text)
        if opening is None:
            return None
        content, end, _ = text[opening.end() :].partition(f"</{name}>")
        if not end:
            return None
        found[name] = _unescape_xml(content)
    return found


def _unescape_xml(text: str) -> str:
    inner = text.strip()
    if inner.startswith("<![CDATA[") and inner.endswith("]]>"):
        return inner[9:-3]
    return re.sub(_REFERENCE, _resolve_reference, text)


def _resolve_reference(found: re.Match[str]) -> str:
    if found[3]:
        return _ENTITIES[found[3]]
    number = int(found[1], 16) if found[1] else int(found[2])
    return chr(number) if number <= 0x10FFFF else found[0]


SMQ_TOPIC = Source(
    "smq-topic",
    lambda data: data.keys() >= {*_NOTIFICATION} or data.keys() == {"body", "attrs"},
    _read_topic,
)


# Kafka. `data` is a record; instance (in the CloudEvent's `subject`), topic, partition and offset identify it. The
# record's own time stamp distinguishes a topic that was deleted and created again, whose offsets begin at 0 again.
# `value` is text, base64 or a JSON value, depending on the trigger's data type setting.


def _read_kafka(data: JsonObject, item: bytes, event: JsonObject) -> Message | Undecodable:
    topic = read_id(data["topic"])
    partition, offset = read_whole_number(data["partition"]), read_whole_number(data["offset"])
    message_id = None
    if topic is not None and partition is not None and offset is not None:
        message_id = join_ids(
            instance=_event_place(event),
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp=read_whole_number(data.get("timestamp")),
        )
    message = _read_body("kafka", message_id, _write_scalar(data["value"]), item)
    return _describe(message, subject=topic, time=read_whole_number(data.get("timestamp")))


KAFKA = Source("kafka", lambda data: data.keys() >= {"topic", "partition", "offset", "value"}, _read_kafka)


# RocketMQ, ApsaraMQ's or self-managed. `data` holds `body` and `systemProperties`, `userProperties` or `msgId`. The
# unique key that the client sets when it sends (`UNIQ_KEY`; `msgId` if self-managed) stays the same over every
# delivery. It is made of the client's address, process and time, which can be equal in two networks, so instance and
# topic belong to a message's identity too. The documentation's sample event has no such key; for one, the id of the
# CloudEvent stands in, which is the same when the event stream retries, but perhaps not when it reads the message
# again. `body` is text, base64 or a JSON value, depending on the trigger's data type setting.


def _read_rocketmq(data: JsonObject, item: bytes, event: JsonObject) -> Message | Undecodable:
    found = data.get("systemProperties")
    properties = found if isinstance(found, dict) else {}
    unique_key = read_id(properties.get("UNIQ_KEY")) or read_id(data.get("msgId"))
    message_id = unique_key or read_id(event.get("id"))
    if message_id is not None:
        message_id = join_ids(
            id=message_id,
            instance=read_id(properties.get("INSTANCE_ID")) or _event_place(event),
            topic=read_id(data.get("topic")),
        )
    message = _read_body("rocketmq", message_id, _write_scalar(data["body"]), item)
    return _describe(message, subject=data.get("topic"), attributes=data.get("userProperties"))


ROCKETMQ = Source(
    "rocketmq",
    lambda data: "body" in data and bool(data.keys() & {"systemProperties", "userProperties", "msgId"}),
    _read_rocketmq,
)


# RabbitMQ. `data` holds `envelope`, `props` and `body`. A broker numbers deliveries, not messages, so only the
# `messageId` that a producer may set in the properties identifies a message, and only within its queue. The
# CloudEvent's `subject` names instance, virtual host and queue; without the CloudEvent, exchange and routing key are
# all that is known of the place.


def _read_rabbitmq(data: JsonObject, item: bytes, event: JsonObject) -> Message | Undecodable:
    properties = data["props"]
    message_id = read_id(properties.get("messageId")) if isinstance(properties, dict) else None
    if message_id is not None:
        message_id = join_ids(id=message_id, **_find_rabbitmq_place(data, event))
    return _read_body("rabbitmq", message_id, _write_scalar(data["body"]), item)


def _find_rabbitmq_place(data: JsonObject, event: JsonObject) -> dict[str, str | None]:
    queue, envelope = _event_place(event), data["envelope"]
    if queue is not None or not isinstance(envelope, dict):
        return {"queue": queue}
    return {
        "exchange": read_id(envelope.get("exchange")),
        "routingKey": read_id(envelope.get("routingKey")),
    }


RABBITMQ = Source("rabbitmq", lambda data: data.keys() >= {"envelope", "props", "body"}, _read_rabbitmq)


# MQTT. An item holds `props`, with the topics and the client that sent the message, and `body`. Nothing in it
# identifies the message, so its body must: as a CloudEvent, or by a key of the producer.


def _matches_mqtt(data: JsonObject) -> bool:
    properties = data.get("props")
    return "body" in data and isinstance(properties, dict) and "firstTopic" in properties


def _read_mqtt(data: JsonObject, item: bytes, _event: JsonObject) -> Message | Undecodable:
    properties = data["props"]
    topic = properties.get("firstTopic") if isinstance(properties, dict) else None
    return _describe(_read_body("mqtt", None, _write_scalar(data["body"]), item), subject=topic)


MQTT = Source("mqtt", _matches_mqtt, _read_mqtt)


# HTTP trigger of a built-in runtime: one request as an object of `version` "v1"
# (https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function). The request
# id is FC's own: it stays the same if FC repeats an asynchronous call, while a client that repeats a call gets
# another. A CloudEvent in binary mode is in the headers (`ce-source`, `ce-id`) and identifies its request. The body
# may be a notification that an SMQ topic pushes.


def _read_http(data: JsonObject, item: bytes, _event: JsonObject) -> Message | Undecodable:
    message = open_notification(_read_http_body(data, item), item)
    if isinstance(message, Undecodable) or message.kind != HTTP.kind:
        return message
    context = data["requestContext"]
    time = context.get("timeEpoch") if isinstance(context, dict) else None
    attributes = read_attributes(data["headers"])
    return replace(
        message,
        cloud_event=identify_attributes(attributes),
        time=read_id(time),
        attributes=tuple(attributes.items()),
    )


def _read_http_body(data: JsonObject, item: bytes) -> Message | Undecodable:
    context = data["requestContext"]
    request_id = read_id(context.get("requestId")) if isinstance(context, dict) else None
    body = data.get("body")
    if data.get("isBase64Encoded") is not True or not isinstance(body, str):
        return _read_body("http", request_id, body, item)
    content = decode_base64(body.encode(errors="replace"))
    if content is None:
        reason = "the message body is not base64"
        return Undecodable.from_item(item, "trigger.encoding", reason, kind="http", id=request_id)
    return Message("http", request_id, unwrap_base64(content))


HTTP = Source("http", lambda data: data.keys() >= {"rawPath", "headers", "requestContext"}, _read_http)


# EventBridge bus: a CloudEvent whose `source` and `id` together identify it, which a producer that repeats PutEvents
# keeps. The message is the CloudEvent itself.


def _read_eventbridge(event: JsonObject, item: bytes, _event: JsonObject) -> Message | Undecodable:
    identified = identify_event(event)
    if identified is None:
        reason = "the CloudEvent's source or id is not text"
        return Undecodable.from_item(item, "trigger.eventbridge.id", reason, kind="eventbridge")
    message = Message("eventbridge", identified, item, identified)
    return _describe(message, subject=event.get("aliyuneventbusname"), time=event.get("time"))


EVENTBRIDGE = Source(
    "eventbridge", lambda event: event.keys() >= {"specversion", "source", "id"}, _read_eventbridge
)

BY_PAYLOAD = (SMQ, SMQ_TOPIC, KAFKA, ROCKETMQ, RABBITMQ, MQTT, HTTP)
"""The sources that a payload can be of. EventBridge takes the CloudEvents whose `data` is of none of them."""
