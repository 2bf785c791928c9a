"""The client of SMQ (formerly MNS), API version 2015-06-06: queues, topics and their messages.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

import requests

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonValue
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import CredentialsProvider, from_environment
from hpoq.cloud.endpoint import check_region
from hpoq.cloud.retry import harmless_to_repeat, surely_not_acted
from hpoq.cloud.safexml import build, is_carriable
from hpoq.cloud.signing import canonical_query, percent_encode
from hpoq.cloud.smq_messages import (
    QueueAttributes,
    ReceivedMessage,
    SentMessage,
    new_receipt_handle,
    queue_attributes,
    received_messages,
    sent_message,
)
from hpoq.cloud.smq_protocol import NAMESPACE, SERVICE, SmqProtocol
from hpoq.cloud.transport import Transport
from hpoq.contract.keys import message_key
from hpoq.errors import Invalid, NotFound, SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self

    from hpoq.contract.request import ExperimentRequest

T = TypeVar("T")

MOST_BODY_BYTES = 65_536
MOST_MESSAGES = 16
_LONGEST_POLL_SECONDS = 30


def fits(body: bytes) -> bool:
    """Whether `body`, in base64, is small enough for a message."""
    return (len(body) + 2) // 3 * 4 <= MOST_BODY_BYTES


def default_endpoint(account_id: str, region: str) -> str:
    """The public endpoint; those inside a VPC are to be set explicitly."""
    if not account_id.isdecimal():
        raise SettingsError(["the account id must consist of digits"])
    return f"https://{account_id}.mns.{check_region(region)}.aliyuncs.com"


def queue_endpoint(account_id: str, region: str, queue: str) -> str:
    """The name by which a subscription addresses a queue.

    Source: https://www.alibabacloud.com/help/doc-detail/27480.htm.
    """
    return f"acs:mns:{region}:{account_id}:queues/{queue}"


class Smq(SmqProtocol):
    """Sends, publishes, receives, and manages queues and topics.

    Every method takes `give_up_at`, a value of the monotonic clock by which it returns or raises, and raises
    CallError. Unless told otherwise, a call is repeated on Throttled, Unavailable and UnknownEnd. For sending
    that means that a message may arrive twice, as it may at any time on a queue that delivers at least once:
    consumers tell a repeat by the event id or the key in its body.
    """

    def send_message(
        self,
        queue: str,
        body: bytes,
        *,
        delay_seconds: int = 0,
        encode_base64: bool = True,
        repeatable: bool = True,
        give_up_at: float | None = None,
    ) -> SentMessage:
        """Put `body` into `queue`, as base64 unless told otherwise; UTF-8 text that XML can carry if so told.

        If it is not `repeatable`, a call whose end is unknown is not repeated: the message may be in the queue.
        Raises Invalid, without sending, if the text on the wire is too large (65,536 bytes) or not carriable.
        """
        text = base64.b64encode(body).decode() if encode_base64 else _decoded(body)
        members = {"MessageBody": _checked("SendMessage", text)}
        if delay_seconds:
            members["DelaySeconds"] = str(delay_seconds)
        data = build("Message", NAMESPACE, members.items())
        may_retry = harmless_to_repeat if repeatable else surely_not_acted
        target = _messages("queues", queue)
        return self.call("SendMessage", "POST", target, sent_message, data, give_up_at, may_retry=may_retry)

    def publish_message(
        self, topic: str, body: str, *, tag: str | None = None, give_up_at: float | None = None
    ) -> SentMessage:
        """Publish `body` as it is, not base64; limits and errors as in `send_message`."""
        members = {"MessageBody": _checked("PublishMessage", body)}
        if tag is not None:
            members["MessageTag"] = tag
        data = build("Message", NAMESPACE, members.items())
        return self.call("PublishMessage", "POST", _messages("topics", topic), sent_message, data, give_up_at)

    def receive_messages(
        self,
        queue: str,
        *,
        count: int = MOST_MESSAGES,
        wait_seconds: int = 0,
        give_up_at: float | None = None,
    ) -> tuple[ReceivedMessage, ...]:
        """Up to `count` messages (16 at most), waiting up to `wait_seconds` (30 at most) for the first.

        They stay invisible to others until deleted or until their time is up. Empty if there are none, which
        may come back before the wait is over. A wait that does not fit before `give_up_at` is shortened.
        """
        wait = self._fitting_wait(min(wait_seconds, _LONGEST_POLL_SECONDS), give_up_at)
        query = canonical_query([("numOfMessages", str(count)), ("waitseconds", str(wait))])
        target = f"{_messages('queues', queue)}?{query}"
        return self._list("BatchReceiveMessage", target, give_up_at, extra_seconds=float(wait))

    def peek(
        self, queue: str, *, count: int = 1, give_up_at: float | None = None
    ) -> tuple[ReceivedMessage, ...]:
        """Up to `count` visible messages, left as they are."""
        query = canonical_query([("peekonly", "true"), ("numOfMessages", str(count))])
        return self._list("BatchPeekMessage", f"{_messages('queues', queue)}?{query}", give_up_at)

    def delete_message(self, queue: str, receipt_handle: str, *, give_up_at: float | None = None) -> None:
        """Delete a received message; raises NotFound if the lease on it is lost."""
        target = f"{_messages('queues', queue)}?{canonical_query([('ReceiptHandle', receipt_handle)])}"
        self.call("DeleteMessage", "DELETE", target, _nothing, b"", give_up_at)

    def change_visibility(
        self, queue: str, receipt_handle: str, seconds: int, *, give_up_at: float | None = None
    ) -> str:
        """Keep a received message invisible for `seconds` from now; returns its new receipt handle."""
        query = canonical_query([("receiptHandle", receipt_handle), ("visibilityTimeout", str(seconds))])
        target = f"{_messages('queues', queue)}?{query}"
        return self.call("ChangeMessageVisibility", "PUT", target, new_receipt_handle, b"", give_up_at)

    def create_queue(
        self,
        queue: str,
        *,
        visibility_timeout: int | None = None,
        maximum_message_size: int | None = None,
        retention_period: int | None = None,
        delay_seconds: int | None = None,
        polling_wait_seconds: int | None = None,
        give_up_at: float | None = None,
    ) -> None:
        """Create it, or find it with the same attributes; raises Conflict if it exists with others."""
        members = {
            "VisibilityTimeout": visibility_timeout,
            "MaximumMessageSize": maximum_message_size,
            "MessageRetentionPeriod": retention_period,
            "DelaySeconds": delay_seconds,
            "PollingWaitSeconds": polling_wait_seconds,
        }
        given = [(name, str(value)) for name, value in members.items() if value is not None]
        data = build("Queue", NAMESPACE, given)
        self.call("CreateQueue", "PUT", f"/queues/{_name(queue)}", _nothing, data, give_up_at)

    def get_queue_attributes(self, queue: str, *, give_up_at: float | None = None) -> QueueAttributes:
        target = f"/queues/{_name(queue)}"
        return self.call("GetQueueAttributes", "GET", target, queue_attributes, b"", give_up_at)

    def create_topic(self, topic: str, *, give_up_at: float | None = None) -> None:
        """Create it, or find it with the same attributes; raises Conflict if it exists with others."""
        data = build("Topic", NAMESPACE, ())
        self.call("CreateTopic", "PUT", f"/topics/{_name(topic)}", _nothing, data, give_up_at)

    def subscribe(
        self,
        topic: str,
        subscription: str,
        endpoint: str,
        *,
        content_format: Literal["XML", "JSON", "SIMPLIFIED"] = "SIMPLIFIED",
        give_up_at: float | None = None,
    ) -> None:
        """Have `topic` push to `endpoint`, for a queue what `queue_endpoint` gives.

        SIMPLIFIED hands over the published body alone. Raises Conflict if the subscription exists otherwise.
        """
        data = build(
            "Subscription", NAMESPACE, [("Endpoint", endpoint), ("NotifyContentFormat", content_format)]
        )
        target = f"/topics/{_name(topic)}/subscriptions/{_name(subscription)}"
        self.call("Subscribe", "PUT", target, _nothing, data, give_up_at)

    def delete_queue(self, queue: str, *, give_up_at: float | None = None) -> None:
        """Delete it with all its messages; one that does not exist is no error at the service."""
        self.call("DeleteQueue", "DELETE", f"/queues/{_name(queue)}", _nothing, b"", give_up_at)

    def unsubscribe(self, topic: str, subscription: str, *, give_up_at: float | None = None) -> None:
        target = f"/topics/{_name(topic)}/subscriptions/{_name(subscription)}"
        self.call("Unsubscribe", "DELETE", target, _nothing, b"", give_up_at)

    def _fitting_wait(self, wait_seconds: int, give_up_at: float | None) -> int:
        if give_up_at is None:
            return wait_seconds
        caller = self._caller
        left = give_up_at - caller.transport.clock.monotonic() - caller.connect_timeout - caller.read_timeout
        return max(0, min(wait_seconds, int(left)))

    def _list(
        self, operation: str, target: str, give_up_at: float | None, *, extra_seconds: float = 0.0
    ) -> tuple[ReceivedMessage, ...]:
        try:
            return self.call(operation, "GET", target, received_messages, b"", give_up_at, extra_seconds)
        except NotFound as exc:
            if exc.code == "MessageNotExist":
                return ()
            raise


@dataclass(frozen=True)
class SentRequest:
    """`message_id` is the queue's own; `key` is the idempotency key that events about the request carry."""

    message_id: str
    key: str


class Queue:
    """The queue `name` of requests, for producers. A context manager, where it has connections of its own."""

    def __init__(self, smq: Smq, name: str) -> None:
        self.name = name
        self._smq = smq
        self._session: requests.Session | None = None

    @classmethod
    def open(cls, name: str, endpoint: str, credentials: CredentialsProvider | None = None) -> Queue:
        """The queue at `endpoint` (see `default_endpoint`), over connections of its own.

        Without `credentials` those of the environment are used, `ALIBABA_CLOUD_ACCESS_KEY_ID` and its companions.
        """
        session = new_session()
        smq = Smq(Transport(session, SystemClock()), endpoint, credentials or from_environment())
        queue = cls(smq, name)
        queue._session = session
        return queue

    def close(self) -> None:
        """Give up the connections that `open` made."""
        if self._session is not None:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(
        self,
        request: ExperimentRequest | Mapping[str, JsonValue],
        *,
        idempotency_key: str | None = None,
        delay_seconds: int = 0,
        give_up_at: float | None = None,
    ) -> SentRequest:
        """Enqueue `request`, a model or a document of any form that the contract takes.

        With a key, its own or `idempotency_key`, it is idempotent: an unknown end is repeated here, and the
        caller may send again after any error, days later too; one experiment comes of it. Without one, every
        message is an experiment of its own, so an unknown end is raised at once and left to the caller.

        Raises RequestRejected, with every violation and before anything is sent; ValueError if the request
        already has another key; CallError.
        """
        valid = _parsed(request if isinstance(request, Mapping) else request.wire())
        if idempotency_key is not None:
            if valid.idempotency_key not in (None, idempotency_key):
                raise ValueError("the request has an idempotencyKey of its own")
            valid = _parsed({**valid.wire(), "idempotencyKey": idempotency_key})
        message = self._smq.send_message(
            self.name,
            json.dumps(valid.wire(), ensure_ascii=False, separators=(",", ":")).encode(),
            delay_seconds=delay_seconds,
            repeatable=valid.idempotency_key is not None,
            give_up_at=give_up_at,
        )
        return SentRequest(message.message_id, message_key(valid.idempotency_key, message.message_id))


def _parsed(document: Mapping[str, JsonValue]) -> ExperimentRequest:
    # For producers: the function itself sends no request.
    from hpoq.contract.request import parse_request

    return parse_request(json.dumps(document).encode()).request


def _nothing(_body: bytes) -> None:
    """For calls whose success is all there is to know."""


def _name(name: str) -> str:
    if name in ("", ".", ".."):
        raise ValueError("not the name of a queue, a topic or a subscription")
    return percent_encode(name)


def _messages(kind: str, name: str) -> str:
    return f"/{kind}/{_name(name)}/messages"


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise _unsendable("SendMessage", "InvalidMessageBody", "a body sent plain must be UTF-8") from exc


def _checked(operation: str, text: str) -> str:
    if not is_carriable(text):
        reason = "XML cannot carry a control character of the body; send it as base64"
        raise _unsendable(operation, "InvalidMessageBody", reason)
    size = len(text.encode())
    if size > MOST_BODY_BYTES:
        reason = f"the body has {size} bytes on the wire, at most {MOST_BODY_BYTES} are allowed"
        raise _unsendable(operation, "MessageBodyTooLarge", reason)
    return text


def _unsendable(operation: str, code: str, message: str) -> Invalid:
    return Invalid(message, service=SERVICE, operation=operation, code=code)
