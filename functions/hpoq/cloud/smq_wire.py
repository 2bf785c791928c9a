"""The wire form of SMQ: how a call is signed, how its answer is read, and what answers contain.

    sign_call    ──▶ headers of a request
    read_answer  ──▶ an answer's body, or the error that it reports
    read_...     ──▶ queues and messages, from an answer's body

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import TypeVar

from fcruntime.dataclass import dataclass, field
from hpoq.cloud.answers import error_of, read_xml
from hpoq.cloud.signing import Credentials, mns_authorization
from hpoq.cloud.transport import Response
from hpoq.cloud.xml import Element, parse
from hpoq.errors import UnknownEnd

T = TypeVar("T")

SERVICE = "smq"
VERSION = "2015-06-06"
NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
_XML = "text/xml;charset=UTF-8"


@dataclass(frozen=True)
class SentMessage:
    """The receipt of a sent message: its id, and the MD5 of its body as it was sent, in upper-case hexadecimal."""

    message_id: str
    body_md5: str | None


@dataclass(frozen=True)
class ReceivedMessage:
    """A message in a queue. Its body is the text on the wire, which is base64 if its producer encoded it.

    Times are in milliseconds since the epoch. A message that was only peeked at has no `receipt_handle`.
    `origin_id` is the id that a dead-lettered message had in the queue from which the service moved it.
    """

    message_id: str
    body: str = field(repr=False)
    receipt_handle: str | None
    dequeue_count: int
    enqueued_at: int | None
    origin_id: str | None = None


@dataclass(frozen=True)
class QueueAttributes:
    """Settings of a queue, in seconds, and its counters, which the service keeps approximately."""

    name: str
    visibility_timeout: int | None
    retention_period: int | None
    active_messages: int | None
    inactive_messages: int | None
    delayed_messages: int | None


@lru_cache(maxsize=8)
def _format_date(seconds: int) -> str:
    """Return the value of `Date`. Cached, because a second has many calls."""
    return formatdate(seconds, usegmt=True)


def sign_call(
    method: str, target: str, host: str, body: bytes, credentials: Credentials, now: float
) -> dict[str, str]:
    """Return the headers of a request, including `Authorization`. `now` is in seconds since the epoch."""
    headers = {"Date": _format_date(int(now)), "Host": host, "x-mns-version": VERSION}
    if body:
        headers["Content-Type"] = _XML
    headers["Authorization"] = mns_authorization(method, target, headers, credentials)
    if credentials.security_token is not None:
        headers["security-token"] = credentials.security_token
    headers["User-Agent"] = "hpoq"
    return headers


def read_answer(
    operation: str, read: Callable[[bytes], T], response: Response, credentials: Credentials
) -> T:
    """Return what `read` makes of the body of a successful answer.

    Raises the error that the answer reports, and UnknownEnd if `read` raises ValueError.
    """
    answer = read_xml(response)
    if not answer.is_success:
        secrets = credentials.secrets()
        raise error_of(answer, service=SERVICE, operation=operation, names_resource=True, secrets=secrets)
    try:
        return read(response.body)
    except ValueError as exc:
        raise UnknownEnd(
            f"unreadable answer: {exc}",
            service=SERVICE,
            operation=operation,
            request_id=answer.request_id,
            http_status=response.status,
        ) from exc


def read_sent_message(body: bytes) -> SentMessage:
    """Return the receipt of a SendMessage or PublishMessage. Raises ValueError."""
    root = parse(body)
    return SentMessage(_read_required(root, "MessageId"), root.get("MessageBodyMD5"))


def read_messages(body: bytes) -> tuple[ReceivedMessage, ...]:
    """Return the messages of a batch, or the one message of a single receive. Raises ValueError."""
    root = parse(body)
    return tuple(_read_message(item) for item in ([root] if root.name == "Message" else root.all("Message")))


def read_queue_attributes(body: bytes) -> QueueAttributes:
    """Return the attributes of a GetQueueAttributes answer. Raises ValueError."""
    root = parse(body)
    return QueueAttributes(
        name=_read_required(root, "QueueName"),
        visibility_timeout=_read_number(root, "VisibilityTimeout"),
        retention_period=_read_number(root, "MessageRetentionPeriod"),
        active_messages=_read_number(root, "ActiveMessages"),
        inactive_messages=_read_number(root, "InactiveMessages"),
        delayed_messages=_read_number(root, "DelayMessages"),
    )


def read_receipt_handle(body: bytes) -> str:
    """Return the new receipt handle of a ChangeMessageVisibility answer. Raises ValueError."""
    return _read_required(parse(body), "ReceiptHandle")


def _read_message(item: Element) -> ReceivedMessage:
    return ReceivedMessage(
        message_id=_read_required(item, "MessageId"),
        body=item.get("MessageBody") or "",
        receipt_handle=item.get("ReceiptHandle"),
        dequeue_count=_read_number(item, "DequeueCount") or 0,
        enqueued_at=_read_number(item, "EnqueueTime"),
        origin_id=_read_property(item, "DLQOriginMessageId"),
    )


def _read_property(item: Element, name: str) -> str | None:
    """Return a system property (https://www.alibabacloud.com/help/en/mns/developer-reference/sendmessage)."""
    properties = [
        value for group in item.all("SystemProperties") for value in group.all("SystemPropertyValue")
    ]
    return next((value.get("Value") for value in properties if value.get("Name") == name), None)


def _read_required(element: Element, name: str) -> str:
    text = element.get(name)
    if not text:
        raise ValueError(f"{name} is missing")
    return text


def _read_number(element: Element, name: str) -> int | None:
    text = (element.get(name) or "").strip()
    return int(text) if text.isdecimal() else None
