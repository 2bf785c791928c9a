"""The queues and topics of a cloud: names, creation, look-up, and what passes between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from alilocal.core.clock import Deadline
from alilocal.core.http import Request, ServiceError
from alilocal.core.world import Sent, World
from alilocal.smq.errors import (
    AlreadyExist,
    EndpointInvalid,
    InvalidName,
    MessageNotExist,
    NotExist,
)
from alilocal.smq.message import Message, Outgoing
from alilocal.smq.queue import Queue, QueueAttributes, QueueState, read_attributes
from alilocal.smq.topic import (
    Published,
    Subscription,
    SubscriptionAttributes,
    Topic,
    TopicAttributes,
    check_tag,
    notification,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def check_name(name: str, kind: str, longest: int = 120) -> str:
    """`name` if it may be that of a `kind`: letters, digits and hyphens; raises InvalidName."""
    if len(name) > longest:
        raise InvalidName(f"{kind}NameLengthError")
    if not _NAME.fullmatch(name):
        raise InvalidName("InvalidQueueName" if kind == "Queue" else f"{kind}NameInvalid")
    return name


class Queues:
    """The queues of a cloud, by name: `queues.create(name)`, `queues.get(name)`, `queues[name]`,
    `queues.list()`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_name: dict[str, Queue] = {}

    def create(self, name: str, **attributes: int | bool) -> Queue:
        """Create a queue, or find it; attributes as in `QueueAttributes`.

        Raises ServiceError: InvalidName, InvalidArgument, or AlreadyExist if it has other attributes.
        """
        return self.ensure(name, QueueAttributes(**attributes))[0]  # type: ignore[arg-type]

    def ensure(self, name: str, attributes: QueueAttributes) -> tuple[Queue, bool]:
        """The queue, and whether it is new; raises as `create`."""
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
        """Raises NotExist."""
        queue = self._by_name.get(name)
        if queue is None:
            raise NotExist("Queue")
        return queue

    def set_attributes(self, name: str, given: Mapping[str, str]) -> None:
        """Change what `given` names, by wire names; raises NotExist and InvalidArgument."""
        queue = self.get(name)
        queue.set_attributes(read_attributes(given, queue.attributes))

    def delete(self, name: str) -> None:
        """Raises NotExist."""
        with self._world.changed:
            self.get(name)
            del self._by_name[name]
            self._world.changed.notify_all()

    def restore(self, states: Sequence[QueueState]) -> None:
        """Have the queues that had `states`, and no other."""
        self._by_name = {state.name: Queue.restored(self._world, state) for state in states}
        found = [
            Sent(state.name, one.message_id, one.body, one.enqueue_time)
            for state in states
            for one in state.messages
        ]
        self._world.journal.extend(sorted(found, key=lambda sent: sent.time))

    def list(self) -> Sequence[Queue]:
        """All, by name."""
        return [one for _, one in sorted(self._by_name.items())]

    def receive(
        self, name: str, count: int, wait_seconds: float | None, request: Request
    ) -> Sequence[Message]:
        """Up to `count` messages, waiting for the first; None waits as the queue says.

        Returns at once when `request` is abandoned. Raises MessageNotExist if there is none, NotExist also if
        the queue is deleted meanwhile.
        """
        with self._world.changed:
            patience = (
                self.get(name).attributes.polling_wait_seconds if wait_seconds is None else wait_seconds
            )
            deadline = Deadline(self._world.clock, patience)
            while True:
                queue = self.get(name)
                self.bury_exhausted(queue)
                messages = queue.receive(count)
                if messages:
                    return messages
                if deadline.left() <= 0 or self._world.changed.closed or request.abandoned():
                    raise MessageNotExist
                self._pause(queue, deadline.left())

    def bury_exhausted(self, queue: Queue) -> None:
        """Move what the dead-letter policy says; with the target gone it is lost, as its owner asked."""
        policy = queue.dead_letter_policy
        target = self._by_name.get(policy.queue_name) if policy else None
        if target is None:
            return
        for message in queue.pop_exhausted():
            letter = self._dead_letter(queue, message)
            target.take_in(letter)
            if letter.message_id != message.message_id:
                now = self._world.clock.now()
                self._world.journal.append(Sent(target.name, letter.message_id, letter.body, now))

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
        self._world.clock.pause(min(longest, until_change))

    def __getitem__(self, name: str) -> Queue:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Queue]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._by_name)


class Topics:
    """The topics of a cloud, by name: `topics.create(name)`, `topics.get(name)`, `topics[name]`,
    `topics.list()`."""

    def __init__(self, world: World, queues: Queues) -> None:
        self._world = world
        self._queues = queues
        self._by_name: dict[str, Topic] = {}

    def create(self, name: str, **attributes: int | bool) -> Topic:
        """Create a topic, or find it; attributes as in `TopicAttributes`.

        Raises ServiceError: InvalidName, InvalidArgument, or AlreadyExist if it has other attributes.
        """
        return self.ensure(name, TopicAttributes(**attributes))[0]  # type: ignore[arg-type]

    def ensure(self, name: str, attributes: TopicAttributes) -> tuple[Topic, bool]:
        """The topic, and whether it is new; raises as `create`."""
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
        """Raises NotExist."""
        topic = self._by_name.get(name)
        if topic is None:
            raise NotExist("Topic")
        return topic

    def delete(self, name: str) -> None:
        """Raises NotExist."""
        with self._world.changed:
            self.get(name)
            del self._by_name[name]

    def restore(self, topics: Sequence[Topic]) -> None:
        """Have `topics`, and no other."""
        self._by_name = {topic.name: topic for topic in topics}

    def list(self) -> Sequence[Topic]:
        """All, by name."""
        return [one for _, one in sorted(self._by_name.items())]

    def publish(self, name: str, outgoing: Outgoing, tag: str | None = None) -> Published:
        """Keep a message and hand it to every subscription that wants it.

        What a queue does not take is counted on the subscription, not retried. Raises NotExist and
        InvalidArgument.
        """
        topic = self.get(name)
        outgoing.check(topic.attributes.maximum_message_size)
        check_tag("MessageTag", tag)
        with self._world.changed:
            message = Published(self._world.ids.message_id(), outgoing.body, self._world.clock.now(), tag)
            self._world.notes.says(outgoing.body)
            self._world.notes.about(message.message_id)
            topic.published.append(message)
            for subscription in topic.subscriptions.values():
                if subscription.attributes.wants(tag):
                    self._push(topic, subscription, message, outgoing)
            return message

    def subscribe(
        self, topic_name: str, name: str, attributes: SubscriptionAttributes
    ) -> tuple[Subscription, bool]:
        """The subscription, and whether it is new.

        Raises NotExist, InvalidName, EndpointInvalid, or AlreadyExist if it has other attributes.
        """
        topic = self.get(topic_name)
        check_name(name, "Subscription", 255)
        self._check_endpoint(topic, attributes)
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
        """Raises NotExist."""
        subscription = self.get(topic_name).subscriptions.get(name)
        if subscription is None:
            raise NotExist("Subscription")
        return subscription

    def unsubscribe(self, topic_name: str, name: str) -> None:
        """Raises NotExist."""
        with self._world.changed:
            self.subscription(topic_name, name)
            del self.get(topic_name).subscriptions[name]

    def _check_endpoint(self, topic: Topic, attributes: SubscriptionAttributes) -> None:
        owner = f"acs:mns:{self._world.region}:{self._world.account_id}:queues/"
        if not attributes.endpoint.startswith(owner):
            raise EndpointInvalid(f"The local cloud pushes to queues of its own account only: {owner}<name>.")
        queue = self._queues.get(attributes.queue_name)
        if queue.attributes.maximum_message_size < topic.attributes.maximum_message_size:
            raise EndpointInvalid("The queue takes smaller messages than the topic.")

    def _push(self, topic: Topic, subscription: Subscription, message: Published, outgoing: Outgoing) -> None:
        copy = replace(outgoing, body=notification(self._world, topic, subscription, message))
        if self._world.behaviour.pushed_properties == "dropped":
            copy = replace(copy, user_properties=(), system_properties=())
        try:
            self._queues.get(subscription.attributes.queue_name).put(copy)
        except ServiceError:
            subscription.undelivered += 1

    def __getitem__(self, name: str) -> Topic:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Topic]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._by_name)
