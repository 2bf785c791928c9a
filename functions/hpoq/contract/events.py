"""The output events: CloudEvents 1.0 in structured JSON form.

Source of the envelope: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md; `traceparent` is
its extension for distributed tracing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from itertools import accumulate
from typing import Literal

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import counted, truncated
from hpoq.errors import Violation

EventOutcome = Literal["created", "rejected", "failed"]

MOST_EVENT_BYTES = 60_000
"""SMQ takes 65,536 bytes of body; a subscription's envelope needs room too."""

LONGEST_TEXT = 2_000
_ELLIPSIS = "…"
_NOTE_BYTES = 200


@dataclass(frozen=True)
class EventError:
    """Why a message ended without an experiment. `retryable` says whether the same request may succeed later."""

    code: str
    message: str
    retryable: bool
    violations: tuple[Violation, ...] = ()

    def as_json(self) -> JsonObject:
        """The `error` of an event and of a report."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "violations": [dict(violation.as_dict()) for violation in self.violations],
        }


@dataclass(frozen=True)
class EventData:
    """The `data` of an event. `attempts` counts claims of the key; `timings` are in milliseconds."""

    key: str
    message_id: str | None
    request_id: str
    attempts: int
    timings: Mapping[str, float]
    experiment_id: str | None = None
    name: str | None = None
    workspace_id: str | None = None
    error: EventError | None = None

    def as_json(self) -> JsonObject:
        members: JsonObject = {
            "idempotencyKey": self.key,
            "messageId": _short(self.message_id),
            "requestId": self.request_id,
            "experimentId": self.experiment_id,
            "name": _short(self.name),
            "workspaceId": _short(self.workspace_id),
            "error": self.error.as_json() if self.error else None,
        }
        present: JsonObject = {name: value for name, value in members.items() if value is not None}
        return {**present, "attempts": self.attempts, "timings": dict(self.timings)}


def event_type(outcome: EventOutcome) -> str:
    """`com.hpoq.experiment.created.v1` and its like."""
    return f"com.hpoq.experiment.{outcome}.v1"


def make_event(
    outcome: EventOutcome,
    *,
    event_id: str,
    source: str,
    time: float,
    data: EventData,
    traceparent: str | None = None,
) -> JsonObject:
    """The event of `outcome`, no larger than MOST_EVENT_BYTES as JSON; `time` is in seconds since the epoch.

    Where the violations do not fit, the last ones give way to one of rule `violations.truncated` that counts
    them.
    """
    moment = datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")
    envelope: JsonObject = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type(outcome),
        "subject": data.experiment_id or data.key,
        "time": moment.replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    if traceparent is not None:
        envelope["traceparent"] = traceparent
    if data.error is None:
        return {**envelope, "data": data.as_json()}
    error = replace(
        data.error,
        code=_short(data.error.code) or "",
        message=_short(data.error.message) or "",
        violations=(),
    )
    bare: JsonObject = {**envelope, "data": replace(data, error=error).as_json()}
    violations = _fitting(data.error.violations, MOST_EVENT_BYTES - len(encode_event(bare)))
    return {**envelope, "data": replace(data, error=replace(error, violations=violations)).as_json()}


def encode_event(event: Mapping[str, JsonValue]) -> str:
    """Compact JSON in ASCII: XML carries it, and nothing in it breaks a line."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False)


def read_error(event: str) -> EventError | None:
    """The error that an event, as JSON text of our own making, tells of."""
    error = json.loads(event).get("data", {}).get("error")
    if error is None:
        return None
    violations = tuple(Violation(**violation) for violation in error["violations"])
    return EventError(error["code"], error["message"], error["retryable"], violations)


def _short(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """`text`, cut so that it takes no more than `longest` bytes in an event."""
    if text is None or _size(text) <= longest:
        return text
    sizes = accumulate(_size(character) for character in text[:longest])
    return text[: sum(size <= longest - _size(_ELLIPSIS) for size in sizes)] + _ELLIPSIS


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2


def _fitting(violations: tuple[Violation, ...], room: int) -> tuple[Violation, ...]:
    """The first of `violations` that take no more than `room` bytes, and one that counts the others."""
    kept: list[Violation] = []
    for violation in violations:
        pointer, message = _short(violation.pointer) or "", _short(violation.message) or ""
        short = Violation(pointer, violation.rule, message)
        room -= len(encode_event(short.as_dict())) + 1
        if room < _NOTE_BYTES:
            return (*kept, truncated(counted(violations[len(kept) :])))
        kept.append(short)
    return tuple(kept)
