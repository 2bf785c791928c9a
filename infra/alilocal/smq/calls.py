"""The operations on the account, queues, messages, topics and subscriptions.

Little is documented about the account; the forms are those that aliyun-mns-sdk reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.errors import (
    InvalidArgument,
    InvalidQueryString,
    MalformedXml,
    MessageNotExist,
    MissingReceiptHandle,
    MissingVisibilityTimeout,
    NotExist,
)
from alilocal.smq.message import MOST_BODY_BYTES, Message, Outgoing, body_md5, check_range, is_base64
from alilocal.smq.model import Queues, Topics
from alilocal.smq.queue import (
    LONGEST_VISIBILITY_SECONDS,
    Queue,
    QueueAttributes,
    read_attributes,
    read_bool,
    read_int,
)
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.topic import Subscription, SubscriptionAttributes, Topic, TopicAttributes
from alilocal.smq.xml import Members, parse

T = TypeVar("T")

MOST_IN_BATCH = 16
_MOST_LISTED = 1000


def read_query(request: Request) -> dict[str, str]:
    """Return the query's parameters by lower-case name, because the spelling differs between clients.

    A `+` is not decoded to a space: receipt handles contain it, and clients send them unencoded.
    """
    return {name.lower(): value for name, value in request.query_pairs(plus_is_space=False)}


def read_count(request: Request) -> int:
    """Read `numOfMessages`, by default 1; raises InvalidQueryString unless it is from 1 to 16."""
    return _read_number(read_query(request).get("numofmessages"), "numOfMessages", 1, MOST_IN_BATCH) or 1


def read_wait(request: Request) -> int | None:
    """Read `waitseconds`, or None if it is missing; raises InvalidQueryString unless it is from 0 to 30."""
    return _read_number(read_query(request).get("waitseconds"), "waitseconds", 0, 30)


def read_given(call: Call, root: str) -> dict[str, str]:
    """Read the texts of a body's elements, by name; empty without a body. Raises MalformedXml."""
    return wire.flat(parse(call.request.body, root)) if call.request.body else {}


def location(call: Call, path: str) -> str:
    """Return the URL of a resource, on the host that the caller used."""
    return f"http://{call.request.authority}{path}"


def created(call: Call, path: str, *, is_new: bool) -> Response:
    """Return the answer to a create, which always names the resource."""
    headers = (("Location", location(call, path)),)
    return wire.response(201 if is_new else 204, call.request_id, headers=headers)


def delete_or_ignore(world: World[SmqSwitches], delete: Callable[[], None]) -> None:
    """Run `delete`; a missing resource is an error or ignored, as the switch `delete_missing` says."""
    try:
        delete()
    except NotExist:
        if world.behaviour.delete_missing == "refused":
            raise


def listing(
    call: Call,
    root: str,
    item: str,
    resources: Sequence[T],
    name: Callable[[T], str],
    members: Callable[[T, bool], Members],
) -> Response:
    """Return a page of `resources`, which are sorted by name, as the headers of a list call request it.

    `NextMarker` is left out on the last page, because the vendor's SDK fails on an empty one.
    """
    request = call.request
    prefix = request.header("x-mns-prefix") or ""
    marker = request.header("x-mns-marker") or ""
    size = read_int("x-mns-ret-number", request.header("x-mns-ret-number") or str(_MOST_LISTED))
    if not 1 <= size <= _MOST_LISTED:
        raise InvalidArgument(f"The value of x-mns-ret-number should be between 1 and {_MOST_LISTED}.")
    with_meta = (request.header("x-mns-with-meta") or "").lower() == "true"
    rest = [one for one in resources if name(one).startswith(prefix) and name(one) >= marker]
    rows: list[tuple[str, str | Members]] = [(item, members(one, with_meta)) for one in rest[:size]]
    if len(rest) > size:
        rows.append(("NextMarker", name(rest[size])))
    return wire.response(200, call.request_id, root, rows)


@dataclass
class AccountAttributes:
    """The attributes of the account: the bucket for its logs, to which nothing is written here."""

    logging_bucket: str = ""


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[SmqSwitches], queues: Queues, account: AccountAttributes) -> None:
        self._world = world
        self._queues = queues
        self._account = account

    def set_account(self, call: Call) -> Response:
        bucket = parse(call.request.body, "Account").findtext("LoggingBucket")
        if bucket is not None:
            self._account.logging_bucket = bucket.strip()
        return wire.response(204, call.request_id)

    def get_account(self, call: Call) -> Response:
        members = [("LoggingBucket", self._account.logging_bucket)]
        return wire.response(200, call.request_id, "Account", members)

    def open_service(self, call: Call) -> Response:
        return wire.response(201, call.request_id, "OpenService", [("OrderId", call.request_id)])

    def create_queue(self, call: Call) -> Response:
        name = call.params["queue"]
        attributes = read_attributes(read_given(call, "Queue"), QueueAttributes())
        _, is_new = self._queues.ensure(name, attributes)
        return created(call, f"/queues/{name}", is_new=is_new)

    def set_queue(self, call: Call) -> Response:
        self._queues.set_attributes(call.params["queue"], read_given(call, "Queue"))
        return wire.response(204, call.request_id)

    def get_queue(self, call: Call) -> Response:
        queue = self._queues.get(call.params["queue"])
        return wire.response(200, call.request_id, "Queue", wire.queue_members(queue))

    def delete_queue(self, call: Call) -> Response:
        delete_or_ignore(self._world, lambda: self._queues.delete(call.params["queue"]))
        return wire.response(204, call.request_id)

    def list_queues(self, call: Call) -> Response:
        def members(queue: Queue, with_meta: bool) -> Members:  # noqa: FBT001 - as `listing` calls it
            url = ("QueueURL", location(call, f"/queues/{queue.name}"))
            return [url, *(wire.queue_members(queue) if with_meta else [])]

        return listing(call, "Queues", "Queue", self._queues.list(), lambda queue: queue.name, members)


def _read_number(text: str | None, name: str, low: int, high: int) -> int | None:
    if text is None:
        return None
    try:
        check_range(name, value := read_int(name, text), low, high)
    except InvalidArgument as error:
        raise InvalidQueryString(error.message) from None
    return value


class MessageCalls:
    """The handlers of the operations."""

    def __init__(self, world: World[SmqSwitches], queues: Queues) -> None:
        self._world = world
        self._queues = queues

    def send(self, call: Call) -> Response:
        queue = self._queue(call)
        outgoing = wire.read_outgoing(parse(call.request.body, "Message"))
        message = self._put(queue, outgoing, call.request_id)
        members = wire.sent(message.message_id, message.body_md5)
        if message.receipt_handle:
            members.append(("ReceiptHandle", message.receipt_handle))
        return wire.response(201, call.request_id, "Message", members)

    def batch_send(self, call: Call) -> Response:
        queue = self._queue(call)
        elements = parse(call.request.body, "Messages").findall("Message")
        _check_batch(len(elements))
        outgoing = [wire.read_outgoing(element) for element in elements]
        if sum(one.size for one in outgoing) > MOST_BODY_BYTES:
            raise InvalidArgument(f"The batch should not exceed {MOST_BODY_BYTES} bytes.")
        outcomes = [self._try_put(queue, one, call.request_id) for one in outgoing]
        failed = any(isinstance(outcome, ServiceError) for outcome in outcomes)
        status = self._world.behaviour.partial_batch_status if failed else 201
        rows = wire.each("Message", [wire.sent_outcome(outcome) for outcome in outcomes])
        return wire.response(status, call.request_id, "Messages", rows)

    def receive(self, call: Call) -> Response:
        wait = read_wait(call.request)
        message = self._queues.receive(call.params["queue"], 1, wait, call.request)[0]
        return wire.response(200, call.request_id, "Message", wire.received(message))

    def batch_receive(self, call: Call) -> Response:
        count, wait = read_count(call.request), read_wait(call.request)
        messages = self._queues.receive(call.params["queue"], count, wait, call.request)
        rows = wire.each("Message", [wire.received(message) for message in messages])
        return wire.response(200, call.request_id, "Messages", rows)

    def peek(self, call: Call) -> Response:
        messages = self._queue(call).peek(1)
        if not messages:
            raise MessageNotExist
        return wire.response(200, call.request_id, "Message", wire.peeked(messages[0]))

    def batch_peek(self, call: Call) -> Response:
        messages = self._queue(call).peek(read_count(call.request))
        if not messages:
            raise MessageNotExist
        rows = wire.each("Message", [wire.peeked(message) for message in messages])
        return wire.response(200, call.request_id, "Messages", rows)

    def delete(self, call: Call) -> Response:
        self._queue(call).delete(_handle(call))
        return wire.response(204, call.request_id)

    def batch_delete(self, call: Call) -> Response:
        queue = self._queue(call)
        root = parse(call.request.body, "ReceiptHandles")
        handles = [element.text or "" for element in root.findall("ReceiptHandle")]
        _check_batch(len(handles))
        refused = [(handle, error) for handle in handles if (error := _try_delete(queue, handle)) is not None]
        if not refused:
            return wire.response(204, call.request_id)
        rows = wire.each("Error", [wire.refused_handle(handle, error) for handle, error in refused])
        return wire.response(404, call.request_id, "Errors", rows)

    def change_visibility(self, call: Call) -> Response:
        queue, handle = self._queue(call), _handle(call)
        text = read_query(call.request).get("visibilitytimeout")
        if not text:
            raise MissingVisibilityTimeout
        seconds = read_int("VisibilityTimeout", text)
        least = 0 if self._world.behaviour.zero_visibility == "accepted" else 1
        check_range("VisibilityTimeout", seconds, least, LONGEST_VISIBILITY_SECONDS)
        message = queue.change_visibility(handle, seconds)
        members = [
            ("ReceiptHandle", message.receipt_handle or ""),
            ("NextVisibleTime", wire.milliseconds(message.visible_at)),
        ]
        return wire.response(200, call.request_id, "ChangeVisibility", members)

    def _put(self, queue: Queue, outgoing: Outgoing, request_id: str) -> Message:
        behaviour = self._world.behaviour
        if behaviour.plain_body == "refused" and not is_base64(outgoing.body):
            raise InvalidArgument("The message body should be encoded in Base64.")
        if behaviour.group_id == "refused" and outgoing.group_id:
            raise InvalidArgument("MessageGroupId is for FIFO queues.")
        return queue.put(outgoing, request_id=request_id)

    def _try_put(self, queue: Queue, outgoing: Outgoing, request_id: str) -> wire.Outcome:
        try:
            return self._put(queue, outgoing, request_id)
        except ServiceError as error:
            return error

    def _queue(self, call: Call) -> Queue:
        """Return the queue of a call, after the messages that its dead-letter policy must move have left it."""
        queue = self._queues.get(call.params["queue"])
        self._queues.bury_exhausted(queue)
        return queue


def _try_delete(queue: Queue, handle: str) -> ServiceError | None:
    try:
        queue.delete(handle)
    except ServiceError as error:
        return error
    return None


def _handle(call: Call) -> str:
    handle = read_query(call.request).get("receipthandle")
    if not handle:
        raise MissingReceiptHandle
    return handle


def _check_batch(count: int) -> None:
    if count == 0:
        raise MalformedXml("The batch is empty.")
    if count > MOST_IN_BATCH:
        raise InvalidArgument(f"A batch should have no more than {MOST_IN_BATCH} items.")


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
