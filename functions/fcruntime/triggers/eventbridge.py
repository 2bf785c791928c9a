"""An EventBridge bus: a CloudEvent whose `source` and `id` together identify it.

That is CloudEvents' own rule (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#id), and what
a producer that repeats PutEvents keeps. The message is the CloudEvent itself.
"""

from __future__ import annotations

import json

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers.message import Message, Undecodable
from fcruntime.triggers.source import Source, identity

KIND = "eventbridge"


def recognises(event: JsonObject) -> bool:
    return "specversion" in event and "source" in event and "id" in event


def read(event: JsonObject, item: bytes) -> Message | Undecodable:
    source, event_id = identity(event["source"]), identity(event["id"])
    if source is None or event_id is None:
        return Undecodable.of(
            item, "trigger.eventbridge.id", "the CloudEvent's source or id is no text", kind=KIND
        )
    return Message(KIND, json.dumps([source, event_id], separators=(",", ":")), item)


SOURCE = Source(KIND, recognises, read)
