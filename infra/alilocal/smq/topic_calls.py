"""Operations on topics and subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from alilocal.core.http import Response
from alilocal.core.service import Call, Route
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.calls import created, listing, location
from alilocal.smq.errors import InvalidArgument, NotExist
from alilocal.smq.message import body_md5
from alilocal.smq.queue import read_bool, read_int
from alilocal.smq.queue_calls import overrides
from alilocal.smq.store import Topics
from alilocal.smq.topic import Subscription, SubscriptionAttributes, Topic, TopicAttributes
from alilocal.smq.xml import Members, parse

_NO_PUSH = "`MessageAttributes` (mail, text messages) are ignored"
_NO_ENDPOINTS = "to queues of the account only, not to HTTP endpoints, mail or text messages"
_ONE = "/topics/{topic}"
_SUBSCRIPTIONS = f"{_ONE}/subscriptions"
_SUBSCRIPTION = f"{_SUBSCRIPTIONS}/{{subscription}}"


class TopicCalls:
    """The handlers and their routes."""

    def __init__(self, world: World, topics: Topics) -> None:
        self._world = world
        self._topics = topics

    def routes(self) -> Sequence[Route]:
        return (
            Route("ListTopic", "GET", "/topics", self._list),
            Route("SetTopicAttributes", "PUT", _ONE, self._set, overrides),
            Route("CreateTopic", "PUT", _ONE, self._create),
            Route("GetTopicAttributes", "GET", _ONE, self._get),
            Route("DeleteTopic", "DELETE", _ONE, self._delete),
            Route("PublishMessage", "POST", f"{_ONE}/messages", self._publish, missing=_NO_PUSH),
            Route("ListSubscriptionByTopic", "GET", _SUBSCRIPTIONS, self._list_subscriptions),
            Route("SetSubscriptionAttributes", "PUT", _SUBSCRIPTION, self._set_subscription, overrides),
            Route("Subscribe", "PUT", _SUBSCRIPTION, self._subscribe, missing=_NO_ENDPOINTS),
            Route("GetSubscriptionAttributes", "GET", _SUBSCRIPTION, self._get_subscription),
            Route("Unsubscribe", "DELETE", _SUBSCRIPTION, self._unsubscribe),
        )

    def _create(self, call: Call) -> Response:
        name = call.params["topic"]
        _, is_new = self._topics.ensure(name, _attributes(_given(call, "Topic"), TopicAttributes()))
        return created(call, f"/topics/{name}", is_new=is_new)

    def _set(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])
        topic.attributes = _attributes(_given(call, "Topic"), topic.attributes)
        topic.last_modify_time = self._world.clock.now()
        return wire.response(204, call.request_id)

    def _get(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])
        members = wire.topic_members(topic, self._world.clock.now())
        return wire.response(200, call.request_id, "Topic", members)

    def _delete(self, call: Call) -> Response:
        self._without(lambda: self._topics.delete(call.params["topic"]))
        return wire.response(204, call.request_id)

    def _list(self, call: Call) -> Response:
        def members(topic: Topic, with_meta: bool) -> Members:  # noqa: FBT001 - as `listing` calls it
            url = ("TopicURL", location(call, f"/topics/{topic.name}"))
            return [url, *(wire.topic_members(topic, self._world.clock.now()) if with_meta else [])]

        return listing(call, "Topics", "Topic", self._topics.list(), lambda topic: topic.name, members)

    def _publish(self, call: Call) -> Response:
        element = parse(call.request.body, "Message")
        outgoing = wire.read_outgoing(element)
        message = self._topics.publish(call.params["topic"], outgoing, element.get("MessageTag"))
        members = wire.sent(message.message_id, body_md5(message.body))
        return wire.response(201, call.request_id, "Message", members)

    def _subscribe(self, call: Call) -> Response:
        topic, name = call.params["topic"], call.params["subscription"]
        given = _given(call, "Subscription")
        attributes = SubscriptionAttributes(
            given.get("Endpoint", ""),
            given.get("FilterTag"),
            given.get("NotifyStrategy", "BACKOFF_RETRY"),  # type: ignore[arg-type]
            given.get("NotifyContentFormat", "XML"),  # type: ignore[arg-type]
        )
        _, is_new = self._topics.subscribe(topic, name, attributes)
        return created(call, f"/topics/{topic}/subscriptions/{name}", is_new=is_new)

    def _set_subscription(self, call: Call) -> Response:
        subscription = self._subscription(call)
        strategy = _given(call, "Subscription").get("NotifyStrategy")
        if strategy is None:
            raise InvalidArgument("NotifyStrategy is required.")
        subscription.attributes = replace(
            subscription.attributes,
            notify_strategy=strategy,  # type: ignore[arg-type]
        )
        subscription.last_modify_time = self._world.clock.now()
        return wire.response(204, call.request_id)

    def _get_subscription(self, call: Call) -> Response:
        subscription = self._subscription(call)
        members = wire.subscription_members(self._world.account_id, call.params["topic"], subscription)
        return wire.response(200, call.request_id, "Subscription", members)

    def _list_subscriptions(self, call: Call) -> Response:
        topic = self._topics.get(call.params["topic"])

        def members(subscription: Subscription, _with_meta: bool) -> Members:  # noqa: FBT001
            path = f"/topics/{topic.name}/subscriptions/{subscription.name}"
            return [("SubscriptionURL", location(call, path))]

        every = sorted(topic.subscriptions.values(), key=lambda subscription: subscription.name)
        return listing(call, "Subscriptions", "Subscription", every, lambda one: one.name, members)

    def _unsubscribe(self, call: Call) -> Response:
        topic, name = call.params["topic"], call.params["subscription"]
        self._without(lambda: self._topics.unsubscribe(topic, name))
        return wire.response(204, call.request_id)

    def _subscription(self, call: Call) -> Subscription:
        return self._topics.subscription(call.params["topic"], call.params["subscription"])

    def _without(self, delete: Callable[[], None]) -> None:
        try:
            delete()
        except NotExist:
            if self._world.behaviour.delete_missing == "refused":
                raise


def _given(call: Call, root: str) -> dict[str, str]:
    return wire.flat(parse(call.request.body, root)) if call.request.body else {}


def _attributes(given: dict[str, str], base: TopicAttributes) -> TopicAttributes:
    size, logging = given.get("MaximumMessageSize"), given.get("LoggingEnabled")
    return TopicAttributes(
        base.maximum_message_size if size is None else read_int("MaximumMessageSize", size),
        base.logging_enabled if logging is None else read_bool(logging),
    )
