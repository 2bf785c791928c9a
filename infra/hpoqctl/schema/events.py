"""The JSON Schemas of the output events, which `hpoq.contract.events` makes."""

from __future__ import annotations

from typing import get_args

from fcruntime.jsonvalue import JsonObject
from hpoq.contract import patterns
from hpoq.contract.events import LONGEST_TEXT, EventData, EventError, EventOutcome, event_type, make_event
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected, Violation
from hpoqctl.schema.form import DIALECT, make_ref, sort_keywords

OUTCOMES: tuple[EventOutcome, ...] = get_args(EventOutcome)

MEANINGS: dict[EventOutcome, str] = {
    "created": "The experiment exists.",
    "rejected": "The request can never succeed. `data.error` contains the reason, with every violation.",
    "failed": "The request was given up. `data.error` contains the reason.",
    "finished": "The experiment has ended. `data.status` says how, `data.bestTrial` which trial was the best.",
    "stopping": "The experiment is being stopped, or had already ended. If it is followed, `finished` comes later.",
    "accepted": "The request of a dry run is valid. Nothing was created, and its key is still free.",
}
"""The meaning of an event, by its outcome."""

_REFUSALS = ("rejected", "failed")
_WITH_EXPERIMENT = ("created", "finished", "stopping")
_OPEN = (
    "A CloudEvent 1.0 in structured JSON. It may arrive more than once, always with the same id: deduplicate on "
    "source and id. Events may arrive in another order than they were made in: compare `time`. Members may be added; "
    "ignore unknown ones."
)
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
_TEXT: JsonObject = {"type": "string"}
_CUT: JsonObject = {"type": "string", "maxLength": LONGEST_TEXT}
_NAMED: JsonObject = {"type": "string", "minLength": 1}
_KEY = (
    "The key of the message: a UUID derived from the request's `idempotencyKey` or, if the request has no key or "
    "breaks the contract, from the id of the CloudEvent or of the message."
)
_WARNING = Violation("/experiment/Description", "null", "a null member is not sent; remove it")
_PRODUCER_KEY = "tune-kmeans-2026-11-23"
_BAD_REQUEST = b'{"experiment": {"Name": "kmeans-centres", "WorkspaceId": 12345, "Tags": []}}'


def make_event_schema(outcome: EventOutcome) -> JsonObject:
    """Return the schema of the events of `outcome`, in JSON Schema 2020-12."""
    return sort_keywords(
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
    subject = "The id of the experiment." if outcome in _WITH_EXPERIMENT else "The key."
    shared = {
        "accepted": "message",
        "rejected": "key and type; with IdempotencyConflict, of one refused request",
    }.get(outcome, "key and type")
    return {
        "specversion": {"const": "1.0"},
        "id": {**_NAMED, "description": f"A UUID, which is the same for all events of one {shared}."},
        "source": {**_NAMED, "format": "uri-reference", "description": "The function, by default its ARN."},
        "type": {"const": event_type(outcome)},
        "subject": {**_TEXT, "description": subject},
        "time": {
            "type": "string",
            "format": "date-time",
            "pattern": _TIME,
            "not": {"pattern": patterns.NO_LINE_FEED},
        },
        "datacontenttype": {"const": "application/json"},
        "traceparent": {
            "type": "string",
            "pattern": patterns.TRACEPARENT,
            "not": {"anyOf": [{"pattern": patterns.ZERO_TRACE}, {"pattern": patterns.NO_LINE_FEED}]},
            "description": "The traceparent of the request or, with OpenTelemetry, of the span that made the event.",
        },
        "data": make_ref("Data"),
    }


def _definitions(outcome: EventOutcome) -> JsonObject:
    own = (
        ["experimentId"]
        if outcome in _WITH_EXPERIMENT
        else ["error"]
        if outcome in _REFUSALS
        else list[str]()
    )
    members: JsonObject = {**_MEMBERS, **_describe_own(outcome)}
    if outcome == "finished":
        own += ["status", "trials"]
    data: JsonObject = {
        "title": "Data",
        "type": "object",
        "required": ["idempotencyKey", "requestId", *own, "attempts", "timings"],
        "properties": members,
    }
    definitions: JsonObject = {"Data": data, "Violation": _VIOLATION}
    if outcome == "finished":
        return {**definitions, "BestTrial": _BEST_TRIAL}
    return {**definitions, "Error": _ERROR} if "error" in own else definitions


_MEMBERS: JsonObject = {
    "idempotencyKey": {**_TEXT, "description": _KEY},
    "producerKey": {
        **_TEXT,
        "description": "The request's `idempotencyKey` as its producer wrote it, if it has one.",
    },
    "messageId": {**_CUT, "description": "The message id in the queue, if the message has one."},
    "requestId": {**_TEXT, "description": "The id of the invocation, as the function logs it."},
    "name": {**_CUT, "description": "The request's `Name`, if it could be read."},
    "workspaceId": {**_CUT, "description": "The request's `WorkspaceId`, if it could be read."},
    "warnings": {
        "type": "array",
        "description": (
            "Warnings about what PAI may accept although it probably does not do what the producer wants. In "
            "`finished` they concern the result; those of the request were in `created` and are not repeated."
        ),
        "minItems": 1,
        "items": make_ref("Violation"),
    },
    "attempts": {
        "type": "integer",
        "minimum": 0,
        "description": "The number of times that the key was claimed.",
    },
    "timings": {
        "type": "object",
        "description": "Durations in milliseconds.",
        "additionalProperties": {"type": "number", "minimum": 0},
    },
}


def _describe_own(outcome: EventOutcome) -> JsonObject:
    """Return the members of `data` that not all types of events have."""
    if outcome in _REFUSALS:
        return {"error": make_ref("Error")}
    if outcome not in _WITH_EXPERIMENT:
        return {}
    members: JsonObject = {
        "experimentId": {**_NAMED, "description": "The id of the experiment in PAI AutoML."}
    }
    if outcome == "finished":
        return {**members, **_FINISHED}
    return {**members, "status": _STOPPING_STATUS} if outcome == "stopping" else members


_STOPPING_STATUS: JsonObject = {
    **_CUT,
    "description": "The service's status of the experiment, such as TERMINATING, if it stated one.",
}
_FINISHED: JsonObject = {
    "status": {
        **_CUT,
        "description": "The service's own status, such as FINISHED; DELETED if the experiment was deleted, UNKNOWN "
        "if it had not ended after `HPOQ_WATCH_MAX_DAYS`.",
    },
    "lastStatus": {
        **_CUT,
        "description": "The last status that was seen, if `status` is not the service's own.",
    },
    "bestTrial": make_ref("BestTrial"),
    "bestTrialByMode": {
        "type": "object",
        "description": "The best trial for either direction, instead of `bestTrial`, if the request states none.",
        "required": ["maximize", "minimize"],
        "properties": {"maximize": make_ref("BestTrial"), "minimize": make_ref("BestTrial")},
    },
    "trials": {
        "type": "object",
        "description": "The number of trials by status. Empty if they cannot be listed any more.",
        "additionalProperties": {"type": "integer", "minimum": 1},
    },
    "startedAt": {"type": "string", "format": "date-time", "description": "When the experiment was created."},
    "endedAt": {"type": "string", "format": "date-time", "description": "When its status changed last."},
    "stoppedBy": {
        "enum": ["guard", "request"],
        "description": "Who stopped the experiment: its guard, or a stop message.",
    },
    "limit": {
        "enum": ["maxHours", "maxFailedTrials", "targetMetric"],
        "description": "The limit of the guard that was reached first, if the guard stopped the experiment.",
    },
}
_BEST_TRIAL: JsonObject = {
    "title": "BestTrial",
    "description": (
        "The trial with the best final metric of those that ended without failing or being canceled; of "
        "equal ones the first by id."
    ),
    "type": "object",
    "required": ["trialId", "metric"],
    "properties": {
        "trialId": _CUT,
        "hyperparameters": {
            "type": "object",
            "description": (
                "Its value of each parameter, by the name in the search space, such as `${lr}`, and with the type "
                "that the service lists. An integer may have any number of digits; NaN and infinities are strings. "
                "Missing if the service lists none, or if they are too large for an event."
            ),
        },
        "metric": {"type": "number", "description": "Its final metric."},
    },
}


_ERROR: JsonObject = {
    "title": "Error",
    "description": "Why there is no experiment.",
    "type": "object",
    "required": ["code", "message", "retryable", "violations"],
    "properties": {
        "code": {**_CUT, "description": "A stable code, of hpoq or of the service."},
        "message": _CUT,
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "violations": {"type": "array", "items": make_ref("Violation")},
        "service": {
            "type": "object",
            "description": "What the service answered, if its answer is the reason.",
            "required": ["message"],
            "properties": {
                "code": {**_CUT, "description": "The service's own code."},
                "message": _CUT,
                "requestId": {**_TEXT, "description": "The id of the request, for the service's support."},
                "httpStatus": {"type": "integer"},
                "accessDeniedDetail": {
                    "type": "object",
                    "description": "Which permission is missing, as the service describes it.",
                    "additionalProperties": {"type": "string"},
                },
            },
        },
    },
}
_VIOLATION: JsonObject = {
    "title": "Violation",
    "description": (
        "A broken rule, or a warning. The last one may be `violations.truncated`, with the number of those left out."
    ),
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
    """Return an event of `outcome` as the function makes it, with fixed ids and times."""
    return make_event(
        outcome,
        event_id=f"5b0c2f6e-58f7-5d0a-9a5e-00000000000{OUTCOMES.index(outcome)}",
        source="acs:fc:cn-shanghai:1000000000000000:functions/hpoq",
        time=1_795_600_000.125,
        data=EventData(
            key="a7d2b6c4-0f43-5b0e-8f0e-2f9f5c1c6f11",
            message_id="5F290C926D472878-2-14D9529A8FA-200000001",
            request_id="1-65f0c2d4-15bd6a58-0e8a4b7c9d2e",
            attempts={"failed": 10, "accepted": 0}.get(outcome, 1),
            timings={"processingMs": 184.25},
            experiment_id="sORVEck0Aa6d" if outcome in _WITH_EXPERIMENT else None,
            name="kmeans-centres",
            workspace_id=None if outcome == "rejected" else "12345",
            error=_example_error(outcome),
            own=_OWN_EXAMPLES.get(outcome),
            producer_key=_PRODUCER_KEY,
            warnings=(_WARNING,) if outcome in ("created", "accepted") else (),
        ),
    )


_OWN_EXAMPLES: dict[EventOutcome, JsonObject] = {
    "finished": {
        "status": "FINISHED",
        "bestTrial": {
            "trialId": "zUEapH",
            "hyperparameters": {"${centerCount}": 4, "${distanceType}": "cosine"},
            "metric": 0.93,
        },
        "trials": {"SUCCEEDED": 9, "FAILED": 1},
        "startedAt": "2026-11-25T08:26:40Z",
        "endedAt": "2026-11-25T09:46:05Z",
    },
    "stopping": {"status": "TERMINATING"},
}


def _example_error(outcome: EventOutcome) -> EventError | None:
    if outcome not in _REFUSALS:
        return None
    if outcome == "failed":
        return EventError(
            "AttemptsUsedUp", "every attempt was interrupted; no experiment exists", retryable=True
        )
    try:
        parse_request(_BAD_REQUEST)
    except RequestRejected as exc:
        return EventError("InvalidRequest", str(exc), retryable=False, violations=exc.violations)
    raise AssertionError("the example of a bad request is valid")
