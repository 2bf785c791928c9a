"""FC's SMQ queue trigger: `data` holds `messageId` and `messageBody`.

Source: FC documentation, "trigger event formats". The message id is the only one that stays the same across
redelivery: a CloudEvent's own `id` need not in event stream mode, and FC's request id repeats in event mode.
No other attribute is needed to recognise the source.

A queue may be subscribed to a topic; its messages then hold a notification of the topic's message.
"""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers import smq_topic
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity, with_body

KIND = "smq"


def recognises(data: JsonObject) -> bool:
    return "messageBody" in data or ("messageId" in data and "requestId" in data)


def read(data: JsonObject, item: bytes) -> Message | Undecodable:
    body = data.get("messageBody")
    notified = smq_topic.notification(body) if isinstance(body, str) else None
    if notified is not None:
        return smq_topic.read(notified, item)
    return with_body(KIND, identity(data.get("messageId")), body, item)


SOURCE = Source(KIND, recognises, read)
