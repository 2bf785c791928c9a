"""PutEvents: which events are accepted, in both generations of the call.

Limits and members: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/putevents; those of the
newer call are undocumented and assumed to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.core.world import World
from alilocal.eventbridge.errors import EventRefused
from alilocal.eventbridge.model import Buses
from alilocal.eventbridge.switches import EventBridgeSwitches

MOST_EVENTS = 16
_MOST_EVENT_BYTES = 65_536
_MOST_CALL_BYTES = 262_144
_TIME_BYTES = 36
_LENGTHS = {"source": 128, "type": 64, "time": 64}
_CODES = {"id": "EventIdEmpty", "source": "EventSourceInvalid", "type": "EventTypeInvalid"}
_COUNTED = frozenset(
    {"id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema"}
    | {"data", "data_base64"}
)
_CONTENT_TYPES = ("application/json", "text/json")


@dataclass(frozen=True)
class Entry:
    """The result of one event."""

    event_id: str
    trace_id: str
    refused: EventRefused | None


def read_events(data: bytes | str) -> list[JsonObject]:
    """Read the events of a call, which are not checked yet; raises EventRefused."""
    try:
        events = load_json(data)
    except ValueError:
        raise EventRefused("JsonAttributeInvalid", "The events are not valid JSON.") from None
    if not isinstance(events, list) or not events or not all(isinstance(one, dict) for one in events):
        raise EventRefused("EventInvalid", "The events must be a list of objects.")
    if len(events) > MOST_EVENTS:
        raise EventRefused("EventSizeExceed", f"The number of events must not exceed {MOST_EVENTS}.")
    return events


def bus_of(events: Sequence[JsonObject]) -> str:
    """Return the one bus that `events` name; raises EventRefused."""
    names = {event.get("aliyuneventbusname") for event in events}
    if len(names) > 1:
        raise EventRefused(
            "PutEventsRequestMoreThanOneEventBus", "The events of a call must be of one event bus."
        )
    (name,) = names
    if not isinstance(name, str) or not name:
        raise EventRefused("EventBusEmpty", "The extension aliyuneventbusname must be set.")
    return name


class Intake:
    """Puts events on buses."""

    def __init__(self, world: World[EventBridgeSwitches], buses: Buses) -> None:
        self._world = world
        self._buses = buses

    def put(self, bus: str, events: Sequence[JsonObject]) -> list[Entry]:
        """Put the valid ones of `events`; raises EventRefused for an error that concerns the whole call."""
        self._buses.get(bus)
        if sum(map(_size, events)) > _MOST_CALL_BYTES:
            raise EventRefused("EventSizeExceed", f"The events must not exceed {_MOST_CALL_BYTES} bytes.")
        behaviour = self._world.behaviour
        problems = [_problem(event) for event in events]
        if behaviour.invalid_events == "call":
            for problem in filter(None, problems):
                raise problem
        entries = [self._put(bus, event, problem) for event, problem in zip(events, problems, strict=True)]
        return entries if behaviour.event_entry_order == "kept" else entries[::-1]

    def _put(self, bus: str, event: JsonObject, problem: EventRefused | None) -> Entry:
        if problem is None:
            self._buses.put(bus, event)
        return Entry(str(event.get("id") or ""), self._world.ids.request_id(), problem)


def entry_members(entries: Sequence[Entry], success_code: str) -> JsonObject:
    """Return the members of an answer; `success_code` is a switch."""
    rows: list[JsonValue] = []
    for entry in entries:
        row: JsonObject = {"EventId": entry.event_id}
        if entry.refused is not None:
            row |= {"ErrorCode": entry.refused.code, "ErrorMessage": entry.refused.message}
        else:
            row["TraceId"] = entry.trace_id
            if success_code != "absent":
                row["ErrorCode"] = success_code
        rows.append(row)
    return {"FailedEntryCount": sum(one.refused is not None for one in entries), "EntryList": rows}


def _problem(event: JsonObject) -> EventRefused | None:
    for name, code in _CODES.items():
        value = event.get(name)
        if not isinstance(value, str) or not value or len(value) > _LENGTHS.get(name, len(value)):
            return EventRefused(code, f"The attribute {name} is missing or not valid.")
    if event.get("specversion") != "1.0":
        return EventRefused("EventSpecversionInvalid", "The attribute specversion must be 1.0.")
    time = event.get("time")
    if time is not None and (not isinstance(time, str) or len(time) > _LENGTHS["time"]):
        return EventRefused("EventInvalid", "The attribute time is not valid.")
    content_type = event.get("datacontenttype") or _CONTENT_TYPES[0]
    if not isinstance(content_type, str) or content_type.partition(";")[0].strip() not in _CONTENT_TYPES:
        return EventRefused(
            "EventContentTypeInvalid", "The attribute datacontenttype must be application/json."
        )
    if _size(event) > _MOST_EVENT_BYTES:
        return EventRefused("EventSizeExceed", f"An event must not exceed {_MOST_EVENT_BYTES} bytes.")
    return None


def _size(event: Mapping[str, JsonValue]) -> int:
    """Return the size as the service counts it: standard attributes only, a time as 36, base64 data decoded."""
    return sum(_length(name, event[name]) for name in _COUNTED & event.keys())


def _length(name: str, value: JsonValue) -> int:
    if name == "time":
        return _TIME_BYTES
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode(errors="replace"))
    return size // 4 * 3 - text[-2:].count("=") if name == "data_base64" else size
