"""Trigger events as FC hands them over, to the byte."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from fcruntime.jsonvalue import JsonObject

Bodies = Mapping[str, "str | bytes"]
"""Message id -> message body as it stands in the queue."""

_ACCOUNT = "1000000000000000"
_REGION = "cn-hangzhou"


def encode_body(body: str | bytes) -> str:
    """`body` as SMQ's SDKs put it into the queue by default: base64 of its UTF-8."""
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


def smq_raw_data(message_id: str, body: str | bytes) -> JsonObject:
    """The `data` of an SMQ queue delivery."""
    text = body if isinstance(body, str) else body.decode()
    return {"requestId": f"REQ{message_id}"[:24], "messageId": message_id, "messageBody": text}


def _cloud_event(message_id: str, body: str | bytes, *, id: str, queue: str) -> JsonObject:  # noqa: A002
    return {
        "id": id,
        "source": "MNS-hpoq-trigger",
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "datacontenttype": "application/json; charset=utf-8",
        "subject": f"acs:mns:{_REGION}:{_ACCOUNT}:queues/{queue}",
        "time": "2026-01-02T03:04:05.678Z",
        "aliyunaccountid": _ACCOUNT,
        "data": smq_raw_data(message_id, body),
    }


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def smq_event(message_id: str, body: str | bytes, *, queue: str = "hpo-requests") -> bytes:
    """An event of SMQ's queue trigger in event mode: one CloudEvent, whose id is the message's."""
    return _compact(_cloud_event(message_id, body, id=message_id, queue=queue))


def smq_stream_event(bodies: Bodies, *, delivery: int = 1, queue: str = "hpo-requests") -> bytes:
    """An event of SMQ's queue trigger in event stream mode: an array, one CloudEvent a message.

    `delivery` goes into the CloudEvents' ids, which need not stay the same across redelivery.
    """
    return _compact(
        [_cloud_event(mid, body, id=f"{delivery}-{mid}", queue=queue) for mid, body in bodies.items()]
    )
