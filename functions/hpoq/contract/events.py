"""The output events: CloudEvents 1.0 in structured JSON form.

The envelope follows https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and its extension for
distributed tracing, `traceparent`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from fcruntime.dataclass import dataclass, replace
from fcruntime.jsonvalue import JsonObject, JsonValue, write_compact
from fcruntime.triggers.body import looks_like_json, unwrap_base64, unwrap_text
from hpoq.contract.finding import count_violations, note_truncation
from hpoq.errors import Violation

EventOutcome = Literal["created", "rejected", "failed", "accepted", "finished", "stopping"]

MOST_EVENT_BYTES = 60_000
"""SMQ allows 65,536 bytes for a body, and the envelope that a subscription adds needs room as well."""

LONGEST_TEXT = 2_000
_LONGEST_DETAIL = 600
_ELLIPSIS = "…"
# The members that the data of every event has.
_DATA_MEMBERS = {"idempotencyKey", "requestId", "attempts", "timings"}
# One of these is in every request, wrapped or bare, though perhaps in the wrong case.
_REQUEST_MEMBERS = {"experiment", "stop", "hpoexperimentconfiguration"}
_REQUEST, _EVENT = "request", "event"
_DEEPEST_EVENT = 4
# What two notes on truncation take, with the names of the members around them: of violations and of warnings.
_NOTE_BYTES = 200


@dataclass(frozen=True)
class ServiceError:
    """What a service answered: its own code, message, request id, HTTP status and AccessDeniedDetail."""

    code: str | None
    message: str
    request_id: str | None = None
    http_status: int | None = None
    access_denied_detail: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> JsonObject:
        """Return the `service` member of an error; members without a value are left out."""
        members: JsonObject = {
            "code": self.code,
            "message": self.message,
            "requestId": self.request_id,
            "httpStatus": self.http_status,
            "accessDeniedDetail": dict(self.access_denied_detail) or None,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class EventError:
    """Why a message ended without an experiment; `retryable` is set if the same request may succeed later.

    `service` is what the service itself answered, or None if no answer of a service is the reason.
    """

    code: str
    message: str
    retryable: bool
    violations: tuple[Violation, ...] = ()
    service: ServiceError | None = None

    def as_json(self) -> JsonObject:
        """Return the `error` member of an event or of a report."""
        error: JsonObject = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "violations": [dict(violation.as_dict()) for violation in self.violations],
        }
        return error if self.service is None else {**error, "service": self.service.as_json()}


@dataclass(frozen=True)
class EventData:
    """The `data` of an event. `attempts` counts claims of the key; `timings` are in milliseconds.

    `producer_key` is the producer's own key, which consumers look for, so it is never cut. `warnings` are those of
    the request that the event answers, or of `finished` those about the result. `own` has the members that only this
    type of event has: those of `finished` and `stopping`.
    """

    key: str
    message_id: str | None
    request_id: str
    attempts: int
    timings: Mapping[str, float]
    experiment_id: str | None = None
    name: str | None = None
    workspace_id: str | None = None
    error: EventError | None = None
    producer_key: str | None = None
    warnings: tuple[Violation, ...] = ()
    own: Mapping[str, JsonValue] | None = None

    def as_json(self) -> JsonObject:
        members: JsonObject = {
            "idempotencyKey": self.key,
            "producerKey": self.producer_key,
            "messageId": _shorten(self.message_id),
            "requestId": self.request_id,
            "experimentId": self.experiment_id,
            "name": _shorten(self.name),
            "workspaceId": _shorten(self.workspace_id),
            "warnings": [dict(warning.as_dict()) for warning in self.warnings] or None,
            "error": self.error.as_json() if self.error else None,
        }
        present: JsonObject = {name: value for name, value in members.items() if value is not None}
        return {**present, **(self.own or {}), "attempts": self.attempts, "timings": dict(self.timings)}


def event_type(outcome: EventOutcome) -> str:
    """Return the CloudEvents type for an outcome, such as `com.hpoq.experiment.created.v1`."""
    return f"com.hpoq.experiment.{outcome}.v1"


_TYPES = {event_type(outcome) for outcome in get_args(EventOutcome)}


def make_event(
    outcome: EventOutcome,
    *,
    event_id: str,
    source: str,
    time: float,
    data: EventData,
    traceparent: str | None = None,
) -> JsonObject:
    """Return the event, which is not larger than MOST_EVENT_BYTES as JSON; `time` is in seconds since the epoch.

    If the violations or the warnings do not fit, the last ones are replaced by one of rule `violations.truncated`
    with their number. Violations come first: warnings get what room they leave.
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
    if data.error is None and not data.warnings:
        return {**envelope, "data": data.as_json()}
    error = data.error and replace(
        data.error,
        code=_shorten(data.error.code) or "",
        message=_shorten(data.error.message) or "",
        violations=(),
        service=data.error.service and _shorten_answer(data.error.service),
    )
    bare: JsonObject = {**envelope, "data": replace(data, error=error, warnings=()).as_json()}
    room = MOST_EVENT_BYTES - len(write_compact(bare))
    if error is not None and data.error is not None:
        error = replace(error, violations=_fit_violations(data.error.violations, room))
        room -= _measure_violations(error.violations)
    warnings = _fit_violations(data.warnings, room)
    return {**envelope, "data": replace(data, error=error, warnings=warnings).as_json()}


def outcome_of(event: Mapping[str, JsonValue]) -> str:
    """Return the outcome in an event's type: `created` of `com.hpoq.experiment.created.v1`, or "" if it has none."""
    parts = str(event.get("type")).split(".")
    return parts[-2] if len(parts) > 1 else ""


def is_event(body: bytes) -> bool:
    """Return whether a message body contains an event that hpoq published, and no request.

    A rule or subscription that leads from the output back to the function may deliver the event's data alone, or the
    event within another document, and would bring an answer back in the same way. A document with a request in it is
    answered, even if it contains an event as well: events quote no objects of requests, so its answer is not taken
    for a request.

    This searches the whole body, so call it only for a body that is not a valid request.
    """
    return {*_find_kinds(body.decode(errors="replace"), _DEEPEST_EVENT)} == {_EVENT}


def _find_kinds(value: JsonValue, depth: int) -> Iterator[str]:
    """Yield what is in `value`: _REQUEST, _EVENT, both or neither. The content of either is not searched."""
    document = _undo_text(value)
    if isinstance(document, dict):
        data = _undo_text(document.get("data") or document.get("data_base64"))
        is_event = document.keys() >= _DATA_MEMBERS or str(document.get("type")) in _TYPES
        if _is_request(document) or (is_event and isinstance(data, dict) and _is_request(data)):
            yield _REQUEST
        elif is_event:
            yield _EVENT
        else:
            document = [*document.values()]
    if isinstance(document, list) and depth > 0:
        for item in document:
            yield from _find_kinds(item, depth - 1)


def _is_request(document: JsonObject) -> bool:
    return not _REQUEST_MEMBERS.isdisjoint(map(str.lower, document))


def _undo_text(value: JsonValue) -> JsonValue:
    """Return the object or array in a text, plain or in base64, and any other value as it is."""
    text = unwrap_text(unwrap_base64(value.encode(errors="replace"))) if isinstance(value, str) else b""
    if not looks_like_json(text):
        return value
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return value
    return found


def find_error(event: Mapping[str, Any]) -> EventError | None:
    """Return the error in an event, or None if it has none."""
    error = event.get("data", {}).get("error")
    return None if error is None else parse_error(error)


def parse_error(error: Mapping[str, Any]) -> EventError:
    """Return the error whose `as_json` is `error`."""
    violations = tuple(Violation(**violation) for violation in error["violations"])
    service = error.get("service")
    return EventError(
        error["code"],
        error["message"],
        error["retryable"],
        violations,
        None if service is None else _parse_service(service),
    )


def _parse_service(service: Mapping[str, Any]) -> ServiceError:
    return ServiceError(
        service.get("code"),
        service["message"],
        service.get("requestId"),
        service.get("httpStatus"),
        tuple(service.get("accessDeniedDetail", {}).items()),
    )


def _shorten_answer(answer: ServiceError) -> ServiceError:
    """Cut the texts of an answer. Its client has bounded their number and their characters, but not their bytes."""
    detail = ((name, _shorten(value, _LONGEST_DETAIL) or "") for name, value in answer.access_denied_detail)
    return replace(
        answer,
        code=_shorten(answer.code),
        message=_shorten(answer.message) or "",
        access_denied_detail=tuple(detail),
    )


def _shorten(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """Cut `text` so that it takes at most `longest` bytes in an event."""
    # A character takes at most the twelve bytes of two escapes.
    if text is None or len(text) * 12 <= longest or _measure(text) <= longest:
        return text
    room = longest - _measure(_ELLIPSIS)
    length = bisect_right(range(1, longest), room, key=lambda length: _measure(text[:length]))
    return text[:length] + _ELLIPSIS


def _measure(text: str) -> int:
    return len(json.dumps(text)) - 2


def _measure_violations(violations: tuple[Violation, ...]) -> int:
    """Return how many bytes `violations` take in a list."""
    return sum(len(write_compact(violation.as_dict())) + 1 for violation in violations)


def _fit_violations(violations: tuple[Violation, ...], room: int) -> tuple[Violation, ...]:
    """Return the first violations that fit into `room` bytes, and a note on the others."""
    kept: list[Violation] = []
    for violation in violations:
        pointer, message = _shorten(violation.pointer) or "", _shorten(violation.message) or ""
        shortened = Violation(pointer, violation.rule, message)
        room -= _measure_violations((shortened,))
        if room < _NOTE_BYTES:
            return (*kept, note_truncation(count_violations(violations[len(kept) :])))
        kept.append(shortened)
    return tuple(kept)
