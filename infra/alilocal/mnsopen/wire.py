"""Queues, topics and subscriptions as the management API writes them.

Members: the models of alibabacloud-mns-open20220119 1.4.1. Times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from alilocal.core.jsonvalue import JsonObject, JsonValue, read_whole
from alilocal.core.rpc import Parameters
from alilocal.mnsopen.errors import InvalidParameter
from alilocal.smq.queue import QUEUE_MEMBERS, Queue
from alilocal.smq.topic import RETENTION_SECONDS, Subscription, Topic

T = TypeVar("T")
_PAGE_SIZES = (10, 50)
_PAGE_NUMBERS = (1, 100_000_000)


def success(data: JsonValue) -> JsonObject:
    """Return an answer without error."""
    return {"Code": 200, "Status": "Success", "Success": True, "Message": "operation success", "Data": data}


def done() -> JsonObject:
    """Return the answer of a call that returns nothing."""
    return success({"Code": 200, "Message": "operation success", "Success": True})


def page(given: Parameters, name: str, rows: Sequence[T], row: Callable[[T], JsonObject]) -> JsonObject:
    """Return a page of the rows whose member `name` contains the parameter of that name."""
    size = _number(given, "PageSize", _PAGE_SIZES)
    number = _number(given, "PageNum", _PAGE_NUMBERS)
    found = [one for one in map(row, rows) if given.get(name, "") in str(one[name])]
    shown: list[JsonValue] = [*found[(number - 1) * size : number * size]]
    return success(
        {
            "PageData": shown,
            "PageNum": number,
            "PageSize": size,
            "Pages": -(-len(found) // size),
            "Size": len(shown),
            "Total": len(found),
        }
    )


def queue_row(queue: Queue) -> JsonObject:
    """Return a queue with its counters and its dead-letter policy."""
    states = [message.state for message in queue.messages]
    policy = queue.dead_letter_policy
    return {
        "QueueName": queue.name,
        "QueueType": "normal",
        **{wire: getattr(queue.attributes, name) for wire, name in QUEUE_MEMBERS.items()},
        "ActiveMessages": states.count("active"),
        "InactiveMessages": states.count("inactive"),
        "DelayMessages": states.count("delayed"),
        "CreateTime": round(queue.create_time * 1000),
        "LastModifyTime": round(queue.last_modify_time * 1000),
        "DlqPolicy": {
            "Enabled": policy is not None,
            "DeadLetterTargetQueue": policy.queue_name if policy else "",
            **({"MaxReceiveCount": policy.max_receive_count} if policy else {}),
        },
    }


def topic_row(topic: Topic, now: float) -> JsonObject:
    """Return a topic with its counter."""
    return {
        "TopicName": topic.name,
        "TopicType": "normal",
        "MaxMessageSize": topic.attributes.maximum_message_size,
        "MessageRetentionPeriod": RETENTION_SECONDS,
        "MessageCount": topic.message_count(now),
        "LoggingEnabled": topic.attributes.logging_enabled,
        "CreateTime": round(topic.create_time * 1000),
        "LastModifyTime": round(topic.last_modify_time * 1000),
    }


def subscription_row(owner: str, topic: str, subscription: Subscription) -> JsonObject:
    """Return a subscription."""
    attributes = subscription.attributes
    return {
        "TopicOwner": owner,
        "TopicName": topic,
        "SubscriptionName": subscription.name,
        "Endpoint": attributes.endpoint,
        "FilterTag": attributes.filter_tag or "",
        "NotifyStrategy": attributes.notify_strategy,
        "NotifyContentFormat": attributes.notify_content_format,
        "CreateTime": round(subscription.create_time * 1000),
        "LastModifyTime": round(subscription.last_modify_time * 1000),
        "DlqPolicy": {"Enabled": False, "DeadLetterTargetQueue": ""},
    }


def _number(given: Parameters, name: str, bounds: tuple[int, int]) -> int:
    """Return a number, or the next one within `bounds`, as the service does; raises InvalidParameter."""
    low, high = bounds
    text = given.get(name) or str(low)
    number = read_whole(text.removeprefix("-"))
    if number is None:
        raise InvalidParameter(name, f"{text!r} is not a number.")
    return low if text.startswith("-") else min(max(number, low), high)
