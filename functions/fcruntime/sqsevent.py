"""The event that Lambda would get from an SQS queue, made from what FC hands over for any source of messages.

Members: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html. What FC does not deliver is made up so that the
strictest reader, the parser of Powertools, accepts it: the receive count is always 1, the receipt handle is empty,
and times are those of the conversion. Nothing may be built on these.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from fcruntime.context import Invocation
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import as_text
from fcruntime.triggers.decode import Kind, decode
from fcruntime.triggers.message import Message, Undecodable

ENCODING = "fcruntime.encoding"
"""The message attribute of a body that is no text: `base64`, and the body is."""


@dataclass(frozen=True)
class SqsEvent:
    """An event of `Records`, and the message that each stands for, by the record's `messageId`.

    `unreadable` are items of FC's event that hold no message and so have no record.
    """

    event: JsonObject
    messages: dict[str, Message]
    unreadable: Sequence[Undecodable]


def sqs_event(event: bytes | str, context: object = None, *, source: Kind | None = None) -> SqsEvent:
    """The messages of `event` as records; `source` pins the kind of source, as for `decode`.

    A record's `messageId` is the message's own, or made of the request id where it has none. A message that the event
    holds twice is one record; where only the id occurs again it gets a number, so that every record has its own.
    """
    invocation = Invocation.of(context)
    items = decode(event, source=source, request_id=invocation.request_id)
    messages: dict[str, Message] = {}
    records: list[JsonValue] = []
    for index, item in enumerate(items):
        if isinstance(item, Message):
            if item.id is not None and messages.get(item.id) == item:
                continue
            name = item.id or f"{invocation.request_id or 'unknown'}#{index}"
            record_id = name if name not in messages else f"{name}#{index}"
            messages[record_id] = item
            records.append(_record(record_id, item, invocation))
    unreadable = [item for item in items if isinstance(item, Undecodable)]
    return SqsEvent({"Records": records}, messages, unreadable)


def _record(record_id: str, message: Message, invocation: Invocation) -> JsonObject:
    body, attributes = _body(message.body)
    now = str(round(time.time() * 1000))
    region, account = invocation.region or "", invocation.account_id or ""
    return {
        "messageId": record_id,
        "receiptHandle": "",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": now,
            "SenderId": account,
            "ApproximateFirstReceiveTimestamp": now,
        },
        "messageAttributes": attributes,
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"acs:mns:{region}:{account}:queues:{message.kind}",
        "awsRegion": region,
    }


def _body(data: bytes) -> tuple[str, JsonObject]:
    """A body as text, and the attributes that say how."""
    text, is_base64 = as_text(data)
    told: JsonObject = {ENCODING: {"stringValue": "base64", "dataType": "String"}}
    return text, told if is_base64 else {}
