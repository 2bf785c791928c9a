"""The operations on topics and subscriptions."""

from __future__ import annotations

from dataclasses import replace

from alilocal.core.http import Response
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.calls import created, delete_or_ignore, listing, location, read_given
from alilocal.smq.message import body_md5
from alilocal.smq.model import Topics
from alilocal.smq.queue import read_bool, read_int
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.topic import Subscription, SubscriptionAttributes, Topic, TopicAttributes
from alilocal.smq.xml import Members, parse


class TopicCalls:
    """The handlers of the operations."""

    def __init__(self, world: World[SmqSwitches], topics: Topics) -> None:
        self._world = world
        self._topics = topics

    def create_topic(self, call: Call) -> Response:
        name = call.params["topic"]
        _, is_new = self._topics.ensure(name, _read_attributes(read_given(call, "Topic"), TopicAttributes()))
        return created(call, f"/topics/{name}", is_new=is_new)

    def set_topic(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])
        topic.attributes = _read_attributes(read_given(call, "Topic"), topic.attributes)
        topic.last_modify_time = self._world.clock.now()
        return wire.response(204, call.request_id)

    def get_topic(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])
        members = wire.topic_members(topic, self._world.clock.now())
        return wire.response(200, call.request_id, "Topic", members)

    def delete_topic(self, call: Call) -> Response:
        delete_or_ignore(self._world, lambda: self._topics.delete(call.params["topic"]))
        return wire.response(204, call.request_id)

    def list_topics(self, call: Call) -> Response:
        def members(topic: Topic, with_meta: bool) -> Members:  # noqa: FBT001 - as `listing` calls it
            url = ("TopicURL", location(call, f"/topics/{topic.name}"))
            return [url, *(wire.topic_members(topic, self._world.clock.now()) if with_meta else [])]

        return listing(call, "Topics", "Topic", self._topics.list(), lambda topic: topic.name, members)

    def publish(self, call: Call) -> Response:
        element = parse(call.request.body, "Message")
        outgoing = wire.read_outgoing(element)
        tag, host = wire.text_of(element, "MessageTag"), call.request.authority
        message = self._topics.publish(call.params["topic"], outgoing, tag, host)
        members = wire.sent(message.message_id, body_md5(message.body))
        return wire.response(201, call.request_id, "Message", members)

    def subscribe(self, call: Call) -> Response:
        topic, name = call.params["topic"], call.params["subscription"]
        given = read_given(call, "Subscription")
        attributes = SubscriptionAttributes(
            given.get("Endpoint", ""),
            given.get("FilterTag"),
            given.get("NotifyStrategy", "BACKOFF_RETRY"),  # type: ignore[arg-type]
            given.get("NotifyContentFormat", "XML"),  # type: ignore[arg-type]
        )
        _, is_new = self._topics.subscribe(topic, name, attributes, call.request.authority)
        return created(call, f"/topics/{topic}/subscriptions/{name}", is_new=is_new)

    def set_subscription(self, call: Call) -> Response:
        subscription = self._subscription(call)
        strategy = read_given(call, "Subscription").get("NotifyStrategy")
        if strategy is not None:
            attributes = replace(subscription.attributes, notify_strategy=strategy)  # type: ignore[arg-type]
            subscription.attributes = attributes
        subscription.last_modify_time = self._world.clock.now()
        return wire.response(204, call.request_id)

    def get_subscription(self, call: Call) -> Response:
        subscription = self._subscription(call)
        members = wire.subscription_members(self._world.account_id, call.params["topic"], subscription)
        return wire.response(200, call.request_id, "Subscription", members)

    def list_subscriptions(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])

        def members(subscription: Subscription, with_meta: bool) -> Members:  # noqa: FBT001
            url = location(call, f"/topics/{topic.name}/subscriptions/{subscription.name}")
            account = self._world.account_id
            meta = wire.subscription_members(account, topic.name, subscription) if with_meta else []
            return [("SubscriptionURL", url), *meta]

        every = sorted(topic.subscriptions.values(), key=lambda subscription: subscription.name)
        return listing(call, "Subscriptions", "Subscription", every, lambda one: one.name, members)

    def unsubscribe(self, call: Call) -> Response:
        topic, name = call.params["topic"], call.params["subscription"]
        delete_or_ignore(self._world, lambda: self._topics.unsubscribe(topic, name))
        return wire.response(204, call.request_id)

    def _subscription(self, call: Call) -> Subscription:
        return self._topics.subscription(call.params["topic"], call.params["subscription"])


def _read_attributes(given: dict[str, str], base: TopicAttributes) -> TopicAttributes:
    size, logging = given.get("MaximumMessageSize"), given.get("LoggingEnabled")
    return TopicAttributes(
        base.maximum_message_size if size is None else read_int("MaximumMessageSize", size),
        base.logging_enabled if logging is None else read_bool(logging),
    )
