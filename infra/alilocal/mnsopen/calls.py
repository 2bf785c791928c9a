"""The operations of SMQ's management API."""

from __future__ import annotations

from functools import partial

from alilocal.core.jsonvalue import JsonObject
from alilocal.core.rpc import Parameters
from alilocal.core.service import Call
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.mnsopen import wire
from alilocal.mnsopen.model import Management, required


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[GatewaySwitches], management: Management) -> None:
        self._world = world
        self._management = management

    def create_queue(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.create_queue(given)
        return wire.done()

    def set_queue(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.set_queue(given)
        return wire.done()

    def get_queue(self, given: Parameters, _call: Call) -> JsonObject:
        return wire.success(wire.queue_row(self._management.queues.get(required(given, "QueueName"))))

    def list_queues(self, given: Parameters, _call: Call) -> JsonObject:
        return wire.page(given, "QueueName", self._management.queues.list(), wire.queue_row)

    def delete_queue(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.queues.delete(required(given, "QueueName"))
        return wire.done()

    def create_topic(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.create_topic(given)
        return wire.done()

    def set_topic(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.set_topic(given)
        return wire.done()

    def get_topic(self, given: Parameters, _call: Call) -> JsonObject:
        topic = self._management.topics.get(required(given, "TopicName"))
        return wire.success(wire.topic_row(topic, self._world.clock.now()))

    def list_topics(self, given: Parameters, _call: Call) -> JsonObject:
        now = self._world.clock.now()
        topics = self._management.topics.list()
        return wire.page(given, "TopicName", topics, lambda one: wire.topic_row(one, now))

    def delete_topic(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.topics.delete(required(given, "TopicName"))
        return wire.done()

    def subscribe(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.subscribe(given)
        return wire.done()

    def set_subscription(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.set_subscription(given)
        return wire.done()

    def get_subscription(self, given: Parameters, _call: Call) -> JsonObject:
        found = self._management.subscription(given)
        return wire.success(wire.subscription_row(self._world.account_id, given["TopicName"], found))

    def list_subscriptions(self, given: Parameters, _call: Call) -> JsonObject:
        topic = self._management.topics.get(required(given, "TopicName"))
        found = sorted(topic.subscriptions.values(), key=lambda one: one.name)
        account = self._world.account_id
        row = partial(wire.subscription_row, account, topic.name)
        return wire.page(given, "SubscriptionName", found, row)

    def unsubscribe(self, given: Parameters, _call: Call) -> JsonObject:
        self._management.topics.unsubscribe(required(given, "TopicName"), required(given, "SubscriptionName"))
        return wire.done()
