"""FC's HTTP trigger on a built-in runtime: one request as an object of `version` "v1".

Source: https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function.
The request id is FC's own: it stays the same where FC repeats an asynchronous call, and a client that repeats a
call has another.
"""

from __future__ import annotations

import base64
import binascii

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "http"


def recognises(data: JsonObject) -> bool:
    return all(name in data for name in ("rawPath", "headers", "requestContext"))


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    context = data["requestContext"]
    request_id = identity(context.get("requestId")) if isinstance(context, dict) else None
    body = data.get("body")
    if data.get("isBase64Encoded") is not True or not isinstance(body, str):
        return with_body(KIND, request_id, body, item)
    try:
        return Message(KIND, request_id, unwrap_base64(base64.b64decode(body, validate=True)))
    except (binascii.Error, ValueError):
        return Undecodable.of(
            item, "trigger.encoding", "the message body is not base64", kind=KIND, id=request_id
        )


SOURCE = Source(KIND, recognises, read)
