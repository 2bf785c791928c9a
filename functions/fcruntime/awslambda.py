"""What AWS Lambda passes to a handler: its context and the event of an SQS queue, made from what FC passes.

The context has the members of https://docs.aws.amazon.com/lambda/latest/dg/python-context.html, the `log` of Lambda's
runtime (https://github.com/aws/aws-lambda-python-runtime-interface-client) and `fc_context`, and no others: code that
probes for more, as Powertools does to find durable executions, must not find any.

The event has the members of https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html. What FC does not deliver is
filled in so that the strictest reader, the parser of Powertools, accepts it: the receive count is always 1, and the
receipt handle is empty. A missing time is that of the conversion, and a missing queue is the kind of the source. Do
not rely on these.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from fcruntime.context import Deadline, Invocation, read_text
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue, read_whole_number
from fcruntime.triggers.body import as_text
from fcruntime.triggers.decode import decode
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.sources import Kind

ENCODING = "fcruntime.encoding"
"""The message attribute of a body that is not text: its value is `base64`, and so is the body."""


class CognitoIdentity:
    """Who called the function through Amazon Cognito. Lambda's context always has it; here no caller is known."""

    cognito_identity_id: None = None
    cognito_identity_pool_id: None = None


class LambdaContext:
    """The context of a Lambda handler on Function Compute.

    `memory_limit_in_mb` is in MB. `fc_context` is the context that this one was made from. What FC's context does
    not contain about the function is taken from FC's environment variables. As on Lambda, a handler or a middleware
    may set attributes of its own.
    """

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    identity: CognitoIdentity
    client_context: None
    tenant_id: None
    fc_context: object

    def __init__(self, fc_context: object, deadline: Deadline) -> None:
        invocation = Invocation.from_context(fc_context)
        version = _read_version(fc_context, "version_id")
        qualifier = _read_version(fc_context, "qualifier") or version or "LATEST"
        self.function_name = invocation.function_name or os.environ.get("FC_FUNCTION_NAME", "")
        self.function_version = version or qualifier
        self.invoked_function_arn = _format_arn(
            invocation, self.function_name, qualifier, read_service(fc_context)
        )
        memory_mb = invocation.memory_mb or read_whole_number(os.environ.get("FC_FUNCTION_MEMORY_SIZE"))
        self.memory_limit_in_mb = memory_mb or 0
        self.aws_request_id = invocation.request_id or ""
        self.log_group_name = _read_log_name(fc_context, "log_project")
        self.log_stream_name = _read_log_name(fc_context, "log_store")
        self.identity = CognitoIdentity()
        self.client_context = None
        self.tenant_id = None
        self.fc_context = fc_context
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation must have ended, never a negative number."""
        return int(self._deadline.remaining() * 1000)

    def log(self, message: object) -> None:
        """Write `message` to the log without ending the line, as Lambda's undocumented method does."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        # Handlers print their context. That of FC is left out, because it may contain credentials.
        shown = (f"{name}={value}" for name, value in vars(self).items() if name in _SHOWN)
        return f"LambdaContext([{','.join(shown)}])"


_SHOWN = LambdaContext.__annotations__.keys() - {"fc_context"}


def lambda_context(
    fc_context: object, *, is_triggered: bool = True, monotonic: Callable[[], float] = time.monotonic
) -> LambdaContext:
    """Make Lambda's context from FC's, of either version, or from None. Call this first in the invocation.

    The remaining time counts from this call, on the clock `monotonic` in seconds, because no runtime of FC says when
    an invocation began. It ends with the function's time-out. If `is_triggered`, it ends after five minutes at the
    latest, as a call with the messages of a queue, topic or bus does; HTTP triggers, timers and direct calls have no
    such limit.
    """
    invocation = Invocation.from_context(fc_context)
    deadline = Deadline.from_invocation(invocation, monotonic, is_triggered=is_triggered)
    return LambdaContext(fc_context, deadline)


def _format_arn(invocation: Invocation, name: str, qualifier: str, service: str) -> str:
    # The forms that FC itself uses, that of FC 2.0 with the service, to which its versions and aliases belong:
    # https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/ram and .../fc-2-0/user-guide/policies.
    region = invocation.region or os.environ.get("FC_REGION", "")
    account = invocation.account_id or os.environ.get("FC_ACCOUNT_ID", "")
    is_latest = qualifier == "LATEST"
    if service:
        resource = f"services/{service if is_latest else f'{service}.{qualifier}'}/functions/{name}"
    else:
        resource = f"functions/{name if is_latest else f'{name}/{qualifier}'}"
    return f"acs:fc:{region}:{account}:{resource}"


def _read_version(context: object, name: str) -> str:
    """Return what names the version or alias, or an empty string for the version LATEST.

    The context of python3.12 has it in `function`, that of runtimes up to python3.10 in `service`.
    """
    holders = (getattr(context, "function", None), getattr(context, "service", None))
    return next((text for one in holders if (text := read_text(one, name)) not in (None, "LATEST")), "")


def read_service(context: object) -> str:
    """Return the name of the function's service on FC 2.0, or an empty string."""
    return read_text(getattr(context, "service", None), "name") or os.environ.get("FC_SERVICE_NAME", "")


def _read_log_name(context: object, name: str) -> str:
    return read_text(context, name) or read_text(getattr(context, "service", None), name) or ""


@dataclass(frozen=True)
class SqsEvent:
    """An SQS event, and what its records stand for.

    `messages` maps the `messageId` of each record to its message. `unreadable` are the items of FC's event that hold
    no readable message and therefore have no record.
    """

    event: JsonObject
    messages: dict[str, Message]
    unreadable: Sequence[Undecodable]


def sqs_event(event: bytes | str, context: object = None, *, source: Kind | None = None) -> SqsEvent:
    """Make an SQS event of the messages in `event`; `source` pins the kind of source, as it does for `decode`.

    The `messageId` of a record is the id of its message, or is made from the request id if the message has none. A
    message that occurs twice in the event becomes one record. If two different messages have the same id, the second
    gets a number, so that the ids of records are unique. Raises EventUnreadable if the event cannot be read as a
    whole.
    """
    invocation = Invocation.from_context(context)
    items = decode(event, source=source, request_id=invocation.request_id)
    messages: dict[str, Message] = {}
    records: list[JsonValue] = []
    known: set[tuple[str, bytes]] = set()
    for index, item in enumerate(items):
        if isinstance(item, Message):
            if item.id is not None:
                if (item.id, item.body) in known:
                    continue
                known.add((item.id, item.body))
            record_id = item.id or f"{invocation.request_id or 'unknown'}#{index}"
            while record_id in messages:
                record_id += f"#{index}"
            messages[record_id] = item
            records.append(_make_record(record_id, item, invocation))
    unreadable = [item for item in items if isinstance(item, Undecodable)]
    return SqsEvent({"Records": records}, messages, unreadable)


def _make_record(record_id: str, message: Message, invocation: Invocation) -> JsonObject:
    body, is_base64 = as_text(message.body)
    attributes: JsonObject = {name: _make_attribute(value) for name, value in message.attributes}
    if is_base64:
        attributes[ENCODING] = _make_attribute("base64")
    now = round(time.time() * 1000)
    return {
        "messageId": record_id,
        "receiptHandle": "",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(_parse_time(message.time) or now),
            "SenderId": invocation.account_id or "",
            "ApproximateFirstReceiveTimestamp": str(now),
        },
        "messageAttributes": attributes,
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": _queue_arn(message, invocation),
        "awsRegion": invocation.region or "",
    }


def _make_attribute(value: str) -> JsonObject:
    return {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}


def _queue_arn(message: Message, invocation: Invocation) -> str:
    """Name the queue or topic in the form of an SQS queue's ARN: `arn:acs:SERVICE:REGION:ACCOUNT:NAME`.

    Handlers take region, account and name from the parts of the ARN, and so does Powertools. In the subjects of FC's
    events the name is the end as well, but after a slash, colon or percent sign:
    `acs:mns:REGION:ACCOUNT:queues/NAME`, `acs:alikafka:INSTANCE:topic:NAME`, `acs:mq:REGION:ACCOUNT:INSTANCE%NAME`.
    """
    parts = (message.subject or "").split(":")
    name = re.split("[:/%]", parts[-1])[-1]
    is_located = len(parts) > 4 and parts[3].isdecimal()
    region, account = parts[2:4] if is_located else (invocation.region or "", invocation.account_id or "")
    # The documentation of FC has the instance there as well: `acs:alikafka_INSTANCE:topic:NAME`.
    service = parts[1].partition("_")[0] if len(parts) > 1 else message.kind
    return f"arn:acs:{service}:{region}:{account}:{name or message.kind}"


YEAR_10000 = 253_402_300_800_000
"""In milliseconds. Parsers refuse this and later times."""
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))"
)


def _parse_time(text: str | None) -> int | None:
    """Return milliseconds since the epoch for a time in RFC 3339 or in milliseconds, or None if it is neither.

    Python 3.10 parses neither `Z` nor fractions of any length, both of which FC's events have.
    """
    found = _TIME.fullmatch(text or "")
    if found is None:
        number = read_whole_number(text)
        return number if number is not None and number < YEAR_10000 else None
    date, clock, fraction, offset = found.groups()
    try:
        second = datetime.fromisoformat(f"{date}T{clock}{offset or '+00:00'}").timestamp()
    except (ValueError, OverflowError):
        return None
    return round(second * 1000) + int(f"{fraction or ''}000"[:3]) if second >= 0 else None
