"""The client of SMQ (formerly MNS), API version 2015-06-06: queues, topics and messages.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from hpoq.clock import Budget
from hpoq.cloud.caller import CanRetry, ServiceClient, is_harmless_to_repeat, is_safe_to_repeat
from hpoq.cloud.endpoint import check_account, check_region
from hpoq.cloud.signing import canonical_query, percent_encode
from hpoq.cloud.smq_wire import (
    NAMESPACE,
    SERVICE,
    QueueAttributes,
    ReceivedMessage,
    SentMessage,
    read_answer,
    read_messages,
    read_queue_attributes,
    read_receipt_handle,
    read_sent_message,
    sign_call,
)
from hpoq.cloud.xml import XmlError, build
from hpoq.errors import Invalid, NotFound

T = TypeVar("T")

MOST_BODY_BYTES = 65_536
MOST_MESSAGES = 16
_MAX_POLL_SECONDS = 30


def fits(body: bytes) -> bool:
    """Return whether `body`, encoded in base64, is small enough for a message."""
    return (len(body) + 2) // 3 * 4 <= MOST_BODY_BYTES


def default_endpoint(account_id: str, region: str) -> str:
    """Return the public endpoint of an account. Endpoints inside a VPC must be set explicitly."""
    return f"https://{check_account(account_id)}.mns.{check_region(region)}.aliyuncs.com"


def queue_endpoint(account_id: str, region: str, queue: str) -> str:
    """Return the name by which a subscription addresses a queue.

    Source: https://www.alibabacloud.com/help/doc-detail/27480.htm.
    """
    return f"acs:mns:{region}:{account_id}:queues/{queue}"


class Smq(ServiceClient):
    """Sends, publishes and receives messages, and manages queues and topics.

    The deployed function only sends and publishes. The other operations serve producers and operators' tools.

    Every method raises CallError, and with a `budget` returns or raises before it ends. Unless stated otherwise, a
    call is repeated after Throttled, Unavailable and UnknownEnd. A repeated send may put a message into the queue
    twice. That can happen at any time with a queue that delivers at least once, so consumers recognize a repeated
    message by the event id or the key in its body.
    """

    service = SERVICE

    def send_message(
        self,
        queue: str,
        body: bytes,
        *,
        delay_seconds: int = 0,
        repeatable: bool = True,
        budget: Budget | None = None,
    ) -> SentMessage:
        """Put `body` into `queue`, in base64.

        Unless `repeatable`, a call with an unknown end is not repeated; the message may then be in the queue.
        Raises Invalid, without sending, if the text on the wire has more than 65,536 bytes.
        """
        text = base64.b64encode(body).decode()
        _check_size("SendMessage", text)
        members = {"MessageBody": text}
        if delay_seconds:
            members["DelaySeconds"] = str(delay_seconds)
        data = build("Message", NAMESPACE, members.items())
        can_retry = is_harmless_to_repeat if repeatable else is_safe_to_repeat
        target = _locate_messages("queues", queue)
        return self.call(
            "SendMessage", "POST", target, read_sent_message, data, budget=budget, can_retry=can_retry
        )

    def publish_message(
        self, topic: str, body: str, *, tag: str | None = None, budget: Budget | None = None
    ) -> SentMessage:
        """Publish `body` unchanged, not in base64.

        Raises Invalid, without sending, if it has more than 65,536 bytes or characters that XML cannot carry.
        """
        members = {"MessageBody": body} if tag is None else {"MessageBody": body, "MessageTag": tag}
        try:
            data = build("Message", NAMESPACE, members.items())
        except XmlError as exc:
            message = "XML cannot carry a control character in the body; send the body in base64"
            raise _make_refusal("PublishMessage", "InvalidMessageBody", message) from exc
        _check_size("PublishMessage", body)
        target = _locate_messages("topics", topic)
        return self.call("PublishMessage", "POST", target, read_sent_message, data, budget=budget)

    def receive_messages(
        self,
        queue: str,
        *,
        count: int = MOST_MESSAGES,
        wait_seconds: int = 0,
        budget: Budget | None = None,
    ) -> tuple[ReceivedMessage, ...]:
        """Receive up to `count` messages (at most 16), waiting up to `wait_seconds` (at most 30) for the first.

        The messages stay invisible to others until they are deleted or their visibility time-out ends. Returns
        an empty tuple if there are none, possibly before the wait is over. A wait that does not fit into `budget`
        is shortened.
        """
        wait = min(wait_seconds, _MAX_POLL_SECONDS)
        if budget is not None:
            # Connecting and reading the answer must fit into the budget after the wait.
            spare = budget.seconds_left() - self._connect_timeout - self._read_timeout
            wait = int(max(0, min(wait, spare)))
        query = canonical_query([("numOfMessages", str(count)), ("waitseconds", str(wait))])
        target = f"{_locate_messages('queues', queue)}?{query}"
        return self._receive("BatchReceiveMessage", target, budget, extra_seconds=float(wait))

    def peek(self, queue: str, *, count: int = 1) -> tuple[ReceivedMessage, ...]:
        """Return up to `count` visible messages without changing them."""
        query = canonical_query([("peekonly", "true"), ("numOfMessages", str(count))])
        return self._receive("BatchPeekMessage", f"{_locate_messages('queues', queue)}?{query}")

    def delete_message(self, queue: str, receipt_handle: str) -> None:
        """Delete a received message. Raises NotFound if its visibility time-out has ended."""
        target = f"{_locate_messages('queues', queue)}?{canonical_query([('ReceiptHandle', receipt_handle)])}"
        self.call("DeleteMessage", "DELETE", target, _ignore)

    def change_visibility(self, queue: str, receipt_handle: str, seconds: int) -> str:
        """Keep a received message invisible for `seconds` from now, and return its new receipt handle."""
        query = canonical_query([("receiptHandle", receipt_handle), ("visibilityTimeout", str(seconds))])
        target = f"{_locate_messages('queues', queue)}?{query}"
        return self.call("ChangeMessageVisibility", "PUT", target, read_receipt_handle)

    def create_queue(self, queue: str, *, retention_period: int) -> None:
        """Create a queue that keeps messages for `retention_period` seconds, unless it exists with that attribute.

        Raises Conflict if it exists with other attributes.
        """
        data = build("Queue", NAMESPACE, [("MessageRetentionPeriod", str(retention_period))])
        self.call("CreateQueue", "PUT", f"/queues/{_encode_name(queue)}", _ignore, data)

    def get_queue_attributes(self, queue: str) -> QueueAttributes:
        """Return the settings and counters of a queue. Raises NotFound if it does not exist."""
        target = f"/queues/{_encode_name(queue)}"
        return self.call("GetQueueAttributes", "GET", target, read_queue_attributes)

    def subscribe(self, topic: str, subscription: str, endpoint: str) -> None:
        """Subscribe `endpoint`, which for a queue is the result of `queue_endpoint`, to `topic`.

        The published body alone is pushed (SIMPLIFIED). Raises Conflict if the subscription exists with other
        attributes.
        """
        members = [("Endpoint", endpoint), ("NotifyContentFormat", "SIMPLIFIED")]
        data = build("Subscription", NAMESPACE, members)
        self.call("Subscribe", "PUT", _locate_subscription(topic, subscription), _ignore, data)

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with all its messages. The service reports no error if the queue does not exist."""
        self.call("DeleteQueue", "DELETE", f"/queues/{_encode_name(queue)}", _ignore)

    def unsubscribe(self, topic: str, subscription: str) -> None:
        """Delete a subscription of `topic`."""
        self.call("Unsubscribe", "DELETE", _locate_subscription(topic, subscription), _ignore)

    def call(
        self,
        operation: str,
        method: str,
        target: str,
        read: Callable[[bytes], T],
        body: bytes = b"",
        *,
        budget: Budget | None = None,
        extra_seconds: float = 0.0,
        can_retry: CanRetry = is_harmless_to_repeat,
    ) -> T:
        """Call any operation, and return what `read` makes of the answer's body. Raises CallError.

        `target` is the percent-encoded path and query. If `read` raises ValueError, the end is unknown.
        """
        clock, host = self._transport.clock, self._endpoint.host
        return self._call(
            operation,
            method,
            target,
            lambda credentials: sign_call(method, target, host, body, credentials, clock.now()),
            partial(read_answer, operation, read),
            body=body,
            can_retry=can_retry,
            budget=budget,
            extra_seconds=extra_seconds,
        )

    def _receive(
        self, operation: str, target: str, budget: Budget | None = None, *, extra_seconds: float = 0.0
    ) -> tuple[ReceivedMessage, ...]:
        try:
            return self.call(
                operation, "GET", target, read_messages, budget=budget, extra_seconds=extra_seconds
            )
        except NotFound as exc:
            if exc.code == "MessageNotExist":
                return ()
            raise


def _ignore(_body: bytes) -> None:
    """Read nothing, for calls whose success is the whole answer."""


def _encode_name(name: str) -> str:
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not the name of a queue, a topic or a subscription")
    return percent_encode(name)


def _locate_messages(kind: str, name: str) -> str:
    return f"/{kind}/{_encode_name(name)}/messages"


def _locate_subscription(topic: str, subscription: str) -> str:
    return f"/topics/{_encode_name(topic)}/subscriptions/{_encode_name(subscription)}"


def _check_size(operation: str, text: str) -> None:
    size = len(text.encode())
    if size > MOST_BODY_BYTES:
        message = f"the body has {size} bytes on the wire, at most {MOST_BODY_BYTES} are allowed"
        raise _make_refusal(operation, "MessageBodyTooLarge", message)


def _make_refusal(operation: str, code: str, message: str) -> Invalid:
    return Invalid(message, service=SERVICE, operation=operation, code=code)
