"""The JSON Schemas of the output events that `hpoq.contract.events` makes."""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject
from hpoq.contract import patterns
from hpoq.contract.events import LONGEST_TEXT, EventData, EventError, EventOutcome, event_type, make_event
from hpoq.contract.request import parse_request
from hpoq.contract.schema_form import DIALECT, arranged, ref
from hpoq.errors import RequestRejected

OUTCOMES: tuple[EventOutcome, ...] = ("created", "rejected", "failed")

MEANINGS: dict[EventOutcome, str] = {
    "created": "The experiment exists.",
    "rejected": "The request can never succeed; `data.error` says why, with every violation.",
    "failed": "Every attempt came to nothing; no experiment exists.",
}
"""What an event of each outcome tells."""

_OPEN = (
    "A CloudEvent 1.0 in structured JSON. It may arrive more than once, always with the same id: deduplicate on "
    "source and id. Members may be added; pass over those that you do not know."
)
_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}\.[0-9]{{3}}Z{patterns.END}"
_TEXT: JsonObject = {"type": "string"}
_CUT: JsonObject = {"type": "string", "maxLength": LONGEST_TEXT}
_NAMED: JsonObject = {"type": "string", "minLength": 1}
_KEY = (
    "The key of the message: a UUID made of the request's `idempotencyKey`, or of the queue's message id where the "
    "request brings none or breaks the contract."
)
_BAD_REQUEST = b'{"experiment": {"Name": "kmeans-centres", "WorkspaceId": 12345, "Tags": []}}'


def event_schema(outcome: EventOutcome) -> JsonObject:
    """The schema of the event of `outcome`, JSON Schema 2020-12."""
    return arranged(
        {
            "$schema": DIALECT,
            "$id": f"urn:hpoq:schema:{outcome}:v1",
            "title": event_type(outcome),
            "description": f"{MEANINGS[outcome]} {_OPEN}",
            "type": "object",
            "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
            "properties": _envelope(outcome),
            "examples": [event_example(outcome)],
            "$defs": _definitions(outcome),
        }
    )


def _envelope(outcome: EventOutcome) -> JsonObject:
    subject = "The experiment's id." if outcome == "created" else "The key."
    return {
        "specversion": {"const": "1.0"},
        "id": {**_NAMED, "description": "A UUID, always the same for one key and type."},
        "source": {**_NAMED, "format": "uri-reference", "description": "The function, by default its ARN."},
        "type": {"const": event_type(outcome)},
        "subject": {**_TEXT, "description": subject},
        "time": {"type": "string", "format": "date-time", "pattern": _TIME},
        "datacontenttype": {"const": "application/json"},
        "traceparent": {
            "type": "string",
            "pattern": patterns.TRACEPARENT,
            "description": "The request's, or with OpenTelemetry that of the span in which the event was made.",
        },
        "data": ref("Data"),
    }


def _definitions(outcome: EventOutcome) -> JsonObject:
    own = "experimentId" if outcome == "created" else "error"
    members: JsonObject = {
        "idempotencyKey": {
            **_TEXT,
            "description": _KEY,
        },
        "messageId": {**_CUT, "description": "The queue's id of the message, where it has one."},
        "requestId": {
            **_TEXT,
            "description": "The id of the invocation, as it stands in the function's logs.",
        },
        "name": {**_CUT, "description": "The request's `Name`, where it could be read."},
        "workspaceId": {**_CUT, "description": "The request's `WorkspaceId`, where it could be read."},
        "attempts": {"type": "integer", "minimum": 0, "description": "How many times the key was claimed."},
        "timings": {
            "type": "object",
            "description": "Durations in milliseconds.",
            "additionalProperties": {"type": "number", "minimum": 0},
        },
    }
    if outcome == "created":
        members["experimentId"] = {**_NAMED, "description": "The id of the experiment in PAI AutoML."}
    else:
        members["error"] = ref("Error")
    data: JsonObject = {
        "title": "Data",
        "type": "object",
        "required": ["idempotencyKey", "requestId", own, "attempts", "timings"],
        "properties": members,
    }
    return (
        {"Data": data} if outcome == "created" else {"Data": data, "Error": _ERROR, "Violation": _VIOLATION}
    )


_ERROR: JsonObject = {
    "title": "Error",
    "description": "Why there is no experiment.",
    "type": "object",
    "required": ["code", "message", "retryable", "violations"],
    "properties": {
        "code": {**_CUT, "description": "A stable name: hpoq's own, or the service's error code."},
        "message": _CUT,
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "violations": {"type": "array", "items": ref("Violation")},
    },
}
_VIOLATION: JsonObject = {
    "title": "Violation",
    "description": "One broken rule. The last one may be of rule `violations.truncated`, and counts those left out.",
    "type": "object",
    "required": ["pointer", "rule", "message"],
    "properties": {
        "pointer": {
            **_CUT,
            "description": "A JSON pointer (RFC 6901) into the document as its producer wrote it.",
        },
        "rule": {**_TEXT, "description": "The stable name of the rule."},
        "message": _CUT,
    },
}


def event_example(outcome: EventOutcome) -> JsonObject:
    """An event of `outcome` as the function makes it, with fixed ids and times."""
    return make_event(
        outcome,
        event_id=f"5b0c2f6e-58f7-5d0a-9a5e-00000000000{OUTCOMES.index(outcome)}",
        source="acs:fc:cn-shanghai:1000000000000000:functions/hpoq",
        time=1_795_600_000.125,
        data=EventData(
            key="a7d2b6c4-0f43-5b0e-8f0e-2f9f5c1c6f11",
            message_id="5F290C926D472878-2-14D9529A8FA-200000001",
            request_id="1-65f0c2d4-15bd6a58-0e8a4b7c9d2e",
            attempts=10 if outcome == "failed" else 1,
            timings={"processingMs": 184.25},
            experiment_id="sORVEck0Aa6d" if outcome == "created" else None,
            name="kmeans-centres",
            workspace_id=None if outcome == "rejected" else "12345",
            error=_example_error(outcome),
        ),
    )


def _example_error(outcome: EventOutcome) -> EventError | None:
    if outcome == "created":
        return None
    if outcome == "failed":
        return EventError(
            "AttemptsUsedUp", "every attempt was broken off; no experiment exists", retryable=True
        )
    try:
        parse_request(_BAD_REQUEST)
    except RequestRejected as exc:
        return EventError("InvalidRequest", str(exc), retryable=False, violations=exc.violations)
    raise AssertionError("the example of a bad request is valid")
