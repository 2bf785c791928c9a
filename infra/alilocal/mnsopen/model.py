"""What the management API does with SMQ's queues, topics and subscriptions. It has no state of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from alilocal.core.clock import CloudClock
from alilocal.core.jsonvalue import JsonObject, load_json, read_whole
from alilocal.core.retry import RetryStrategy
from alilocal.mnsopen.errors import InvalidParameter
from alilocal.smq.model import Queues, Topics
from alilocal.smq.queue import DeadLetterPolicy, Queue, QueueAttributes, read_attributes, read_int
from alilocal.smq.topic import ContentFormat, Subscription, SubscriptionAttributes, Topic, TopicAttributes

Given = Mapping[str, str]

_SCHEMES = {"email": "mail", "alisms": "sms", "mpush": "push"}
"""The kinds of endpoints that are plain addresses here, and how SMQ's own API begins such an endpoint."""
_KINDS = ("http", "queue", "fc", "eventbus", "dm", "dysms", "kafka", *_SCHEMES)


class Management:
    """Reads the parameters of calls into SMQ's own resources."""

    def __init__(self, queues: Queues, topics: Topics, clock: CloudClock) -> None:
        self.queues = queues
        self.topics = topics
        self._clock = clock

    def create_queue(self, given: Given) -> Queue:
        """Create a queue with its dead-letter policy; raises ServiceError, as AlreadyExist for other attributes."""
        if given.get("QueueType", "normal") != "normal":
            raise InvalidParameter("QueueType", "the local cloud has no FIFO queues.")
        name = required(given, "QueueName")
        policy = self._dead_letter(name, given)
        queue, _ = self.queues.ensure(name, _queue_attributes(given, QueueAttributes()))
        if given.get("DlqPolicy"):
            queue.dead_letter_policy = policy
        return queue

    def set_queue(self, given: Given) -> None:
        """Change what is given of a queue; raises ServiceError."""
        queue = self.queues.get(required(given, "QueueName"))
        policy = self._dead_letter(queue.name, given)
        queue.set_attributes(_queue_attributes(given, queue.attributes))
        if given.get("DlqPolicy"):
            queue.dead_letter_policy = policy

    def create_topic(self, given: Given) -> Topic:
        """Create a topic; raises ServiceError, also if it exists with other attributes."""
        attributes = _topic_attributes(given, TopicAttributes())
        return self.topics.ensure(required(given, "TopicName"), attributes)[0]

    def set_topic(self, given: Given) -> None:
        """Change what is given of a topic; raises ServiceError."""
        topic = self.topics.get(required(given, "TopicName"))
        topic.attributes = _topic_attributes(given, topic.attributes)
        topic.last_modify_time = self._clock.now()

    def subscribe(self, given: Given) -> Subscription:
        """Subscribe an endpoint to a topic; raises ServiceError."""
        attributes = SubscriptionAttributes(
            self._endpoint(given),
            given.get("MessageTag") or None,
            cast("RetryStrategy", given.get("NotifyStrategy") or "BACKOFF_RETRY"),
            cast("ContentFormat", given.get("NotifyContentFormat") or "XML"),
        )
        topic, name = required(given, "TopicName"), required(given, "SubscriptionName")
        return self.topics.subscribe(topic, name, attributes)[0]

    def subscription(self, given: Given) -> Subscription:
        """Return a subscription; raises ServiceError."""
        return self.topics.subscription(required(given, "TopicName"), required(given, "SubscriptionName"))

    def set_subscription(self, given: Given) -> None:
        """Change how a subscription repeats a push; raises ServiceError."""
        subscription = self.subscription(given)
        strategy = given.get("NotifyStrategy") or subscription.attributes.notify_strategy
        subscription.attributes = replace(
            subscription.attributes, notify_strategy=cast("RetryStrategy", strategy)
        )
        subscription.last_modify_time = self._clock.now()

    def _endpoint(self, given: Given) -> str:
        """Return the endpoint as SMQ's own API writes it; a queue is also given by its name alone."""
        endpoint, kind = required(given, "Endpoint"), given.get("PushType") or "http"
        if kind not in _KINDS:
            raise InvalidParameter("PushType", f"must be one of {', '.join(_KINDS)}.")
        if ":" in endpoint:
            return endpoint
        if kind == "queue":
            return self.queues.get(endpoint).resource
        return f"{_SCHEMES[kind]}:{endpoint}" if kind in _SCHEMES else endpoint

    def _dead_letter(self, queue: str, given: Given) -> DeadLetterPolicy | None:
        """Return the dead-letter policy that is given for `queue`, or None if there is none, or it is disabled."""
        policy = _object("DlqPolicy", given.get("DlqPolicy") or "{}")
        if not policy.get("Enabled", bool(policy)):
            return None
        name = str(policy.get("DeadLetterTargetQueue") or "").rpartition("/")[2]
        count = read_whole(str(policy.get("MaxReceiveCount", 3)), 1)
        if name == queue:
            raise InvalidParameter("DlqPolicy.DeadLetterTargetQueue", "must be another queue.")
        if count is None:
            raise InvalidParameter("DlqPolicy.MaxReceiveCount", "must be a number of at least 1.")
        return DeadLetterPolicy(self.queues.get(name).name, count)


def required(given: Given, name: str) -> str:
    """Return a parameter; raises InvalidParameter if it is missing."""
    if not given.get(name):
        raise InvalidParameter(name, "is required.")
    return given[name]


def _topic_attributes(given: Given, base: TopicAttributes) -> TopicAttributes:
    size, logging = given.get("MaxMessageSize"), given.get("EnableLogging")
    return TopicAttributes(
        read_int("MaxMessageSize", size) if size else base.maximum_message_size,
        _flag(logging) if logging else base.logging_enabled,
    )


def _queue_attributes(given: Given, base: QueueAttributes) -> QueueAttributes:
    named = dict(given)
    if given.get("EnableLogging"):
        named["LoggingEnabled"] = str(_flag(given["EnableLogging"]))
    return read_attributes(named, base)


def _flag(text: str) -> bool:
    return text.lower() == "true"


def _object(name: str, text: str) -> JsonObject:
    try:
        value = load_json(text)
    except ValueError:
        raise InvalidParameter(name, "is not JSON.") from None
    if not isinstance(value, dict):
        raise InvalidParameter(name, "must be an object.")
    return value
