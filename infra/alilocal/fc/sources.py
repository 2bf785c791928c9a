"""The sources of triggers that call asynchronously: timers, and topics of SMQ.

Events: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/trigger-event-formats, and captured ones in
https://github.com/awesome-fc/fc-trigger-examples.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import datetime, timezone

from alilocal.cloud import Cloud
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.watcher import Watcher
from alilocal.fc.model import PayloadTooLarge
from alilocal.fc.triggerconfig import TimerSource, TopicSource
from alilocal.smq.message import body_md5
from alilocal.smq.topic import Published

Call = Callable[[bytes], object]


class Timer(Watcher):
    """Calls a function at the times of a schedule."""

    def __init__(self, cloud: Cloud, name: str, source: TimerSource, call: Call) -> None:
        super().__init__(cloud.changed, cloud.clock)
        self._name = name
        self._source = source
        self._call = call
        self._next = source.schedule.after(cloud.clock.now())

    def _due(self) -> Callable[[], None] | None:
        moment = self._next
        if moment is None or moment > self._clock.now():
            return None
        self._next = self._source.schedule.after(moment)
        return lambda: self._fire(moment)

    def _seconds(self) -> float | None:
        return None if self._next is None else max(0.0, self._next - self._clock.now())

    def _fire(self, moment: float) -> None:
        time = datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {"triggerTime": time, "triggerName": self._name, "payload": self._source.payload}
        _call_once(self._call, json.dumps(event, ensure_ascii=False))


class TopicListener(Watcher):
    """Calls a function with each message of a topic; raises NotExist if the topic does not exist."""

    def __init__(self, cloud: Cloud, source: TopicSource, call: Call) -> None:
        super().__init__(cloud.changed, cloud.clock)
        self._cloud = cloud
        self._source = source
        self._call = call
        self._seen = len(cloud.topics.get(source.topic).published)

    def _due(self) -> Callable[[], None] | None:
        try:
            published = self._cloud.topics.get(self._source.topic).published
        except ServiceError:
            return None
        while self._seen < len(published):
            message = published[self._seen]
            self._seen += 1
            if self._source.tag is None or self._source.tag == message.tag:
                return lambda: self._deliver(message)
        return None

    def _deliver(self, message: Published) -> None:
        _call_once(self._call, self._event(message))

    def _event(self, message: Published) -> str:
        if self._source.form == "STREAM":
            return message.body
        account = self._cloud.account_id
        event: JsonObject = {
            "TopicOwner": account,
            "Message": message.body,
            "Subscriber": account,
            "PublishTime": round(message.time * 1000),
            "SubscriptionName": "alilocal",
            "MessageMD5": body_md5(message.body),
            "TopicName": self._source.topic,
            "MessageId": message.message_id,
            **({"MessageTag": message.tag} if message.tag else {}),
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _call_once(call: Call, event: str) -> None:
    """Call a function asynchronously. An event that it cannot take, for example because it is disabled, is lost."""
    with contextlib.suppress(PayloadTooLarge, ServiceError):
        call(event.encode(errors="replace"))
