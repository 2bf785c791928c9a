"""The queues and topics of a cloud: names, creation, look-up, and the messages that pass between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from alilocal.core.clock import Deadline
from alilocal.core.collections import Named
from alilocal.core.http import Request, ServiceError
from alilocal.core.world import Sent, World
from alilocal.smq.errors import AlreadyExist, EndpointInvalid, InvalidName, MessageNotExist, NotExist
from alilocal.smq.message import Message, Outgoing
from alilocal.smq.push import Push, Pushes, is_loopback
from alilocal.smq.queue import Queue, QueueAttributes, QueueState, read_attributes
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.topic import (
    QUEUE_ENDPOINT,
    Published,
    Subscription,
    SubscriptionAttributes,
    Topic,
    TopicAttributes,
    check_tag,
    notification,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_ACCOUNT = re.compile(r"[0-9]{16}")


def check_name(name: str, kind: str, longest: int = 120) -> str:
    """Return `name` if it is valid for a `kind`, that is letters, digits and hyphens; raises InvalidName."""
    if len(name) > longest:
        raise InvalidName(f"{kind}NameLengthError")
    if not _NAME.fullmatch(name):
        raise InvalidName("InvalidQueueName" if kind == "Queue" else f"{kind}NameInvalid")
    return name


class Queues(Named[Queue]):
    """The queues of a cloud, by name: `create(name)`, `get(name)`, `[name]`, `list()`, `in`, iteration."""

    def __init__(self, world: World[SmqSwitches]) -> None:
        super().__init__()
        self._world = world

    def create(self, name: str, **attributes: int | bool) -> Queue:
        """Create a queue, or return the existing one; `attributes` are those of `QueueAttributes`.

        Raises InvalidName, InvalidArgument, or AlreadyExist if the existing queue has other attributes.
        """
        return self.ensure(name, QueueAttributes(**attributes))[0]  # type: ignore[arg-type]

    def ensure(self, name: str, attributes: QueueAttributes) -> tuple[Queue, bool]:
        """Create a queue, or return the existing one, and whether it is new. Raises as `create` does."""
        check_name(name, "Queue")
        with self._world.changed:
            existing = self._by_name.get(name)
            if existing is None:
                queue = self._by_name[name] = Queue(self._world, name, attributes)
                return queue, True
            if existing.attributes != attributes:
                raise AlreadyExist("Queue")
            return existing, False

    def get(self, name: str) -> Queue:
        """Return a queue; raises NotExist."""
        queue = self._by_name.get(name)
        if queue is None:
            raise NotExist("Queue")
        return queue

    def set_attributes(self, name: str, given: Mapping[str, str]) -> None:
        """Change the attributes in `given`, by their names on the wire; raises NotExist and InvalidArgument."""
        queue = self.get(name)
        queue.set_attributes(read_attributes(given, queue.attributes))

    def delete(self, name: str) -> None:
        """Delete a queue with its messages; raises NotExist."""
        with self._world.changed:
            self.get(name)
            del self._by_name[name]
            self._world.changed.notify_all()

    def restore(self, states: Sequence[QueueState]) -> None:
        """Replace all queues."""
        self._by_name = {state.name: Queue.restored(self._world, state) for state in states}
        found = [
            Sent(state.name, one.message_id, one.body, one.enqueue_time)
            for state in states
            for one in state.messages
        ]
        self._world.journal.replace(sorted(found, key=lambda sent: sent.time))

    def receive(
        self, name: str, count: int, wait_seconds: float | None, request: Request
    ) -> Sequence[Message]:
        """Return up to `count` messages, waiting up to `wait_seconds` for the first one.

        If `wait_seconds` is None, the queue's own waiting time applies. Raises MessageNotExist if there is no message
        or `request` is abandoned, and NotExist, also if the queue is deleted in the meantime.
        """
        with self._world.changed:
            patience = (
                self.get(name).attributes.polling_wait_seconds if wait_seconds is None else wait_seconds
            )
            if request.is_late:
                patience = 0
            # A consumer that has died must not take a message, now or when its wait ends.
            if patience and request.abandoned():
                raise MessageNotExist
            deadline = Deadline(self._world.clock, patience)
            while True:
                queue = self.get(name)
                self.bury_exhausted(queue)
                messages = queue.receive(count)
                if messages:
                    return messages
                if deadline.left() <= 0 or self._world.changed.closed:
                    raise MessageNotExist
                self._pause(queue, deadline.left())
                if request.abandoned():
                    raise MessageNotExist

    def bury_exhausted(self, queue: Queue) -> None:
        """Move messages as the queue's dead-letter policy says; nothing moves while the target does not exist."""
        policy = queue.dead_letter_policy
        target = self._by_name.get(policy.queue_name) if policy else None
        if target is None:
            return
        for message in queue.pop_exhausted():
            moved = self._dead_letter(queue, message)
            target.add(moved)
            if moved.message_id != message.message_id:
                now = self._world.clock.now()
                self._world.journal.add(Sent(target.name, moved.message_id, moved.body, now))

    def _dead_letter(self, queue: Queue, message: Message) -> Message:
        kept = self._world.behaviour.dead_letter_id == "kept"
        origin = (
            ("DLQMessageType", "QUEUE", "STRING"),
            ("DLQSourceArn", queue.resource, "STRING"),
            ("DLQOriginMessageId", message.message_id, "STRING"),
        )
        return replace(
            message,
            message_id=message.message_id if kept else self._world.ids.message_id(),
            system_properties=(*message.system_properties, *origin),
            dequeue_count=0,
            first_dequeue_time=None,
            receipt_handle=None,
            received=False,
        )

    def _pause(self, queue: Queue, longest: float) -> None:
        change = queue.next_change()
        until_change = longest if change is None else change - self._world.clock.now()
        self._world.clock.pause_caller(min(longest, until_change))


class Topics(Named[Topic]):
    """The topics of a cloud, by name: `create(name)`, `get(name)`, `[name]`, `list()`, `in`, iteration."""

    def __init__(self, world: World[SmqSwitches], queues: Queues) -> None:
        super().__init__()
        self._world = world
        self._queues = queues
        self._pushes = Pushes(world)

    def create(self, name: str, **attributes: int | bool) -> Topic:
        """Create a topic, or return the existing one; `attributes` are those of `TopicAttributes`.

        Raises InvalidName, InvalidArgument, or AlreadyExist if the existing topic has other attributes.
        """
        return self.ensure(name, TopicAttributes(**attributes))[0]  # type: ignore[arg-type]

    def ensure(self, name: str, attributes: TopicAttributes) -> tuple[Topic, bool]:
        """Create a topic, or return the existing one, and whether it is new. Raises as `create` does."""
        check_name(name, "Topic")
        with self._world.changed:
            existing = self._by_name.get(name)
            if existing is None:
                now = self._world.clock.now()
                topic = self._by_name[name] = Topic(name, attributes, now, now)
                return topic, True
            if existing.attributes != attributes:
                raise AlreadyExist("Topic")
            return existing, False

    def get(self, name: str) -> Topic:
        """Return a topic; raises NotExist."""
        topic = self._by_name.get(name)
        if topic is None:
            raise NotExist("Topic")
        return topic

    def delete(self, name: str) -> None:
        """Delete a topic with its subscriptions; raises NotExist."""
        with self._world.changed:
            self.get(name)
            del self._by_name[name]

    def restore(self, topics: Sequence[Topic]) -> None:
        """Replace all topics."""
        self._by_name = {topic.name: topic for topic in topics}

    def publish(
        self, name: str, outgoing: Outgoing, tag: str | None = None, host: str = "localhost"
    ) -> Published:
        """Publish a message to every subscription whose filter it passes; `host` is the one that the sender called.

        A message that a queue refuses is counted on the subscription, and not retried. Raises NotExist and
        InvalidArgument.
        """
        topic = self.get(name)
        outgoing.check(topic.attributes.maximum_message_size)
        check_tag("MessageTag", tag)
        with self._world.changed:
            message = Published(self._world.ids.message_id(), outgoing.body, self._world.clock.now(), tag)
            self._world.notes.record_body(outgoing.body)
            self._world.notes.record_keys(message.message_id)
            topic.published.append(message)
            for subscription in topic.subscriptions.values():
                if subscription.attributes.wants(tag):
                    self._push(topic, subscription, message, outgoing, host)
            self._world.changed.notify_all()
            return message

    def subscribe(
        self, topic_name: str, name: str, attributes: SubscriptionAttributes, host: str = "localhost"
    ) -> tuple[Subscription, bool]:
        """Create a subscription, or return the existing one, and whether it is new.

        The names of an account and a region in an endpoint may be those in `host`, the one that the caller used.
        Raises NotExist, InvalidName, EndpointInvalid, or AlreadyExist if the existing one has other attributes.
        """
        topic = self.get(topic_name)
        check_name(name, "Subscription", 255)
        self._check_endpoint(topic, attributes, host)
        with self._world.changed:
            existing = topic.subscriptions.get(name)
            if existing is None:
                now = self._world.clock.now()
                subscription = topic.subscriptions[name] = Subscription(name, attributes, now, now)
                return subscription, True
            if existing.attributes != attributes:
                raise AlreadyExist("Subscription")
            return existing, False

    def subscription(self, topic_name: str, name: str) -> Subscription:
        """Return a subscription; raises NotExist."""
        subscription = self.get(topic_name).subscriptions.get(name)
        if subscription is None:
            raise NotExist("Subscription")
        return subscription

    def unsubscribe(self, topic_name: str, name: str) -> None:
        """Delete a subscription; raises NotExist."""
        with self._world.changed:
            self.subscription(topic_name, name)
            del self.get(topic_name).subscriptions[name]

    def _check_endpoint(self, topic: Topic, attributes: SubscriptionAttributes, host: str) -> None:
        if attributes.url is not None or attributes.is_address:
            return
        found = QUEUE_ENDPOINT.fullmatch(attributes.endpoint)
        if found is None:
            raise EndpointInvalid(
                "The endpoint must be http://..., mail:..., sms:... or acs:mns:<region>:<account>:queues/<name>."
            )
        if not self._is_own_place(found["region"], found["account"], host):
            owner = f"acs:mns:{self._world.region}:{self._world.account_id}:queues/"
            raise EndpointInvalid(f"The local cloud pushes to queues of its own account only: {owner}<name>.")
        queue = self._queues.get(found["queue"])
        if queue.attributes.maximum_message_size < topic.attributes.maximum_message_size:
            raise EndpointInvalid("The queue takes smaller messages than the topic.")

    def _is_own_place(self, region: str, account: str, host: str) -> bool:
        """Return whether a region and an account are the cloud's own, or what a helper of an SDK made of `host`.

        The helpers take the first and the third label of `<account>.mns.<region>.aliyuncs.com`, whatever they are:
        `127` and `0` of an address. Only the number of another account is certainly not meant.
        """
        labels = [*host.split("."), "", ""]
        if account != self._world.account_id:
            return account == labels[0] or not _ACCOUNT.fullmatch(account)
        return region in (self._world.region, labels[2])

    def _push(
        self, topic: Topic, subscription: Subscription, message: Published, outgoing: Outgoing, host: str
    ) -> None:
        attributes, body = subscription.attributes, notification(self._world, topic, subscription, message)
        if attributes.queue_name is not None:
            self._put(subscription, attributes.queue_name, replace(outgoing, body=body))
        elif attributes.url is not None and is_loopback(attributes.url):
            form = attributes.notify_content_format
            push = Push(attributes.url, body.encode(), form, message.message_id, message.tag, host)
            self._pushes.start(push, attributes.notify_strategy, partial(_count_failure, subscription))
        else:
            subscription.undelivered += 1

    def _put(self, subscription: Subscription, queue_name: str, copy: Outgoing) -> None:
        if self._world.behaviour.pushed_properties == "dropped":
            copy = replace(copy, user_properties=(), system_properties=())
        try:
            self._queues.get(queue_name).put(copy)
        except ServiceError:
            subscription.undelivered += 1


def _count_failure(subscription: Subscription) -> None:
    subscription.undelivered += 1
