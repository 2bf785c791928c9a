"""The events that a function gets for messages of a queue.

Members and their order follow captured and documented events:
https://github.com/awesome-fc/fc-trigger-examples (python3-mns-queue-trigger) and
https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/message-service-trigger.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from alilocal.cloud import Cloud
from alilocal.core.jsonvalue import JsonObject
from alilocal.smq.message import Message

Mode = Literal["event-streaming", "event"]
EventSchema = Literal["CloudEvents", "RawData"]

_PUBLISH_ADDRESS = "127.0.0.1"
_MOST_ENVELOPE_BYTES = 2048
_ANY_ID = "0" * 36


@dataclass(frozen=True)
class EventForm:
    """The form of one stream's events."""

    cloud: Cloud
    queue: str
    mode: Mode
    schema: EventSchema
    decode_base64: bool

    def event(self, messages: Sequence[Message]) -> bytes:
        """Return the event for `messages`: a list, or in the mode `event` the one message's object."""
        items = [self.item(message) for message in messages]
        return _compact(items[0] if self.mode == "event" else items).encode(errors="replace")

    def dead_letter(self, message: Message) -> str:
        """Return the body that a dead-letter queue gets for one message."""
        return _compact(self.item(message))

    def fitting(self, messages: Sequence[Message], most_bytes: int) -> int:
        """Return how many of `messages`, from the first one, fit into `most_bytes`; at least one if there is any."""
        # A character takes at most six bytes. Batches that certainly fit are not encoded to be measured.
        if sum(6 * len(one.body) + _MOST_ENVELOPE_BYTES for one in messages) <= most_bytes:
            return len(messages)
        size = 1
        for count, message in enumerate(messages):
            size += len(_compact(self.item(message, _ANY_ID)).encode(errors="replace")) + 1
            if size > most_bytes and count:
                return count
        return len(messages)

    def item(self, message: Message, event_id: str | None = None) -> JsonObject:
        """Return one message. Except in the mode `event`, its CloudEvent id is new each time unless it is given."""
        data: JsonObject = {
            "requestId": message.request_id,
            "messageId": message.message_id,
            "messageBody": self._body(message),
        }
        return data if self.schema == "RawData" else self._cloud_event(message, data, event_id)

    def _cloud_event(self, message: Message, data: JsonObject, event_id: str | None) -> JsonObject:
        is_event_mode = self.mode == "event"
        origin = "MNS-alilocal" if is_event_mode else "MNS-Function-mnstrigger"
        gap = "" if is_event_mode else " "
        account = self.cloud.account_id
        return {
            "id": message.message_id if is_event_mode else event_id or self.cloud.ids.uuid(),
            "source": origin,
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "datacontenttype": f"application/json;{gap}charset=utf-8",
            "subject": f"acs:mns:{self.cloud.region}:{account}:queues/{self.queue}",
            "time": _timestamp(message.enqueue_time),
            "aliyunaccountid": account,
            "aliyunpublishtime": _timestamp(self.cloud.clock.now()),
            "aliyunoriginalaccountid": account,
            "aliyuneventbusname": origin,
            "aliyunregionid": self.cloud.region,
            "aliyunpublishaddr": _PUBLISH_ADDRESS,
            "data": data,
        }

    def _body(self, message: Message) -> str:
        """Return the body, decoded if it is base64 of text. Other bodies pass unchanged, which is undocumented."""
        if not self.decode_base64:
            return message.body
        try:
            return base64.b64decode(message.body, validate=True).decode()
        except ValueError:
            return message.body


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _timestamp(moment: float) -> str:
    time = datetime.fromtimestamp(moment, timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
