"""The client of SMQ (formerly MNS), API version 2015-06-06: sending and publishing.

    send_message, publish_message ──▶ call ──▶ _sign_call     the headers of a request
                                         └───▶ _read_answer   an answer's body, or the error that it reports

The commands of operators add the operations that only they need. Source:
https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache, partial
from typing import TypeVar

from hpoq.clock import Budget
from hpoq.cloud.answers import error_of, make_unreadable, read_xml
from hpoq.cloud.caller import NO_ACTION, TRANSIENT, Errors, ServiceClient
from hpoq.cloud.endpoint import check_account, check_region
from hpoq.cloud.signing import Credentials, mns_authorization, percent_encode
from hpoq.cloud.transport import Response
from hpoq.cloud.xml import Element, XmlError, build, parse
from hpoq.errors import Invalid

T = TypeVar("T")

SERVICE = "smq"
VERSION = "2015-06-06"
NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
MOST_BODY_BYTES = 65_536
_XML = "text/xml;charset=UTF-8"


def fits(body: bytes) -> bool:
    """Return whether `body`, encoded in base64, is small enough for a message."""
    return (len(body) + 2) // 3 * 4 <= MOST_BODY_BYTES


def default_endpoint(account_id: str, region: str) -> str:
    """Return the public endpoint of an account. Endpoints inside a VPC must be set explicitly."""
    return f"https://{check_account(account_id)}.mns.{check_region(region)}.aliyuncs.com"


class Smq(ServiceClient):
    """Sends messages to queues, and publishes them to topics.

    Every method raises CallError, and with a `budget` returns or raises before it ends. Calls are repeated after
    TRANSIENT errors, so a message may come twice, as with any queue that delivers at least once: consumers recognize
    it by the event id or the key in its body.
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
    ) -> str:
        """Put `body` into `queue`, in base64, and return the id of the message.

        Unless `repeatable`, a call with an unknown end is not repeated; the message may then be in the queue.
        Raises Invalid, without sending, if the text on the wire has more than 65,536 bytes.
        """
        text = base64.b64encode(body).decode()
        _check_size("SendMessage", text)
        members = {"MessageBody": text}
        if delay_seconds:
            members["DelaySeconds"] = str(delay_seconds)
        data = build("Message", NAMESPACE, members.items())
        target = locate_messages("queues", queue)
        return self.call(
            "SendMessage",
            "POST",
            target,
            _read_message_id,
            data,
            budget=budget,
            retry_on=TRANSIENT if repeatable else NO_ACTION,
        )

    def publish_message(
        self, topic: str, body: str, *, tag: str | None = None, budget: Budget | None = None
    ) -> str:
        """Publish `body` unchanged, not in base64, and return the id of the message.

        Raises Invalid, without sending, if it has more than 65,536 bytes or characters that XML cannot carry.
        """
        members = {"MessageBody": body} if tag is None else {"MessageBody": body, "MessageTag": tag}
        try:
            data = build("Message", NAMESPACE, members.items())
        except XmlError as exc:
            message = "XML cannot carry a control character in the body; send the body in base64"
            raise _make_refusal("PublishMessage", "InvalidMessageBody", message) from exc
        _check_size("PublishMessage", body)
        target = locate_messages("topics", topic)
        return self.call("PublishMessage", "POST", target, _read_message_id, data, budget=budget)

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
        retry_on: Errors = TRANSIENT,
    ) -> T:
        """Call any operation, and return what `read` makes of the answer's body. Raises CallError.

        `target` is the percent-encoded path and query. If `read` raises ValueError, the end is unknown.
        """
        clock, host = self._transport.clock, self._endpoint.host
        return self._call(
            operation,
            method,
            target,
            lambda credentials: _sign_call(method, target, host, body, credentials, clock.now()),
            partial(_read_answer, operation, read),
            body=body,
            retry_on=retry_on,
            budget=budget,
            extra_seconds=extra_seconds,
        )


@lru_cache(maxsize=8)
def _format_date(seconds: int) -> str:
    """Return the value of `Date`. Cached, because a second has many calls."""
    return formatdate(seconds, usegmt=True)


def _sign_call(
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


def _read_answer(
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
        raise make_unreadable(answer, str(exc), service=SERVICE, operation=operation) from exc


def _read_message_id(body: bytes) -> str:
    return read_required(parse(body), "MessageId")


def encode_name(name: str) -> str:
    """Return a name as a part of a path. Raises ValueError if it would name another path."""
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not the name of a queue, a topic or a subscription")
    return percent_encode(name)


def locate_messages(kind: str, name: str) -> str:
    """Return the path of the messages of a queue or a topic; `kind` is `queues` or `topics`."""
    return f"/{kind}/{encode_name(name)}/messages"


def read_required(element: Element, name: str) -> str:
    """Return the text of the child `name`. Raises ValueError if it is missing or empty."""
    text = element.get(name)
    if not text:
        raise ValueError(f"{name} is missing")
    return text


def _check_size(operation: str, text: str) -> None:
    size = len(text.encode())
    if size > MOST_BODY_BYTES:
        message = f"the body has {size} bytes on the wire, at most {MOST_BODY_BYTES} are allowed"
        raise _make_refusal(operation, "MessageBodyTooLarge", message)


def _make_refusal(operation: str, code: str, message: str) -> Invalid:
    return Invalid(message, service=SERVICE, operation=operation, code=code)
