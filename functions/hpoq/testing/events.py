"""Trigger events, byte for byte as FC passes them to a handler."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from fcruntime.jsonvalue import JsonObject

Bodies = Mapping[str, "str | bytes"]
"""Message bodies, as they are in the queue, by message id."""

_ACCOUNT = "1000000000000000"
_REGION = "cn-hangzhou"


def encode_body(body: str | bytes) -> str:
    """Return `body` as the SDKs of SMQ send it by default: in base64."""
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


def smq_raw_data(message_id: str, body: str | bytes) -> JsonObject:
    """Return the `data` of the delivery of one SMQ message."""
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
    """Return an event of SMQ's queue trigger in event mode: one CloudEvent with the message's id."""
    return _compact(_cloud_event(message_id, body, id=message_id, queue=queue))


def smq_stream_event(bodies: Bodies, *, delivery: int = 1, queue: str = "hpo-requests") -> bytes:
    """Return an event of SMQ's queue trigger in event stream mode: an array with one CloudEvent per message.

    `delivery` is part of the ids of the CloudEvents, which may differ after a redelivery.
    """
    return _compact(
        [_cloud_event(mid, body, id=f"{delivery}-{mid}", queue=queue) for mid, body in bodies.items()]
    )
