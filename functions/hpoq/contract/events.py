"""The output events: CloudEvents 1.0 in structured JSON form.

Source of the envelope: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md; `traceparent` is
its extension for distributed tracing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.errors import Violation

EventOutcome = Literal["created", "rejected", "failed"]

MOST_EVENT_BYTES = 60_000
"""SMQ takes 65,536 bytes of body; a subscription's envelope needs room too."""

_LONGEST_TEXT = 2_000


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
            "messageId": self.message_id,
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
    fitting = replace(data, error=_bounded(data.error)) if data.error else data
    while True:
        event: JsonObject = {**envelope, "data": fitting.as_json()}
        excess = len(encode_event(event)) - MOST_EVENT_BYTES
        if excess <= 0 or fitting.error is None:
            return event
        fitting = replace(fitting, error=_fewer(fitting.error))


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


def _short(text: str | None, longest: int = _LONGEST_TEXT) -> str | None:
    return text if text is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _bounded(error: EventError) -> EventError:
    return replace(
        error,
        code=_short(error.code, 200) or "",
        message=_short(error.message) or "",
        violations=tuple(
            Violation(_short(v.pointer, 1000) or "", v.rule, _short(v.message, 1000) or "")
            for v in error.violations
        ),
    )


_TRUNCATED = "violations.truncated"


def _fewer(error: EventError) -> EventError:
    """`error` with half of its violations, and a last one that counts those left out."""
    kept: Sequence[Violation] = [v for v in error.violations if v.rule != _TRUNCATED]
    before = sum(int(v.message.split()[0]) for v in error.violations if v.rule == _TRUNCATED)
    rest = len(kept) - len(kept) // 2
    note = Violation("", _TRUNCATED, f"{before + rest} more violations do not fit into an event")
    return replace(error, violations=(*kept[: len(kept) // 2], note))
