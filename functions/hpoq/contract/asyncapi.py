"""The AsyncAPI 3.0 document of the function: what it receives, what it sends, and how they belong together.

The schemas are referred to by the names of their files, which lie beside the document.
"""

from __future__ import annotations

from collections.abc import Mapping

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.event_schema import MEANINGS, OUTCOMES, event_example
from hpoq.contract.events import EventOutcome, event_type

REQUESTS = "hpo-requests"
RESULTS = "hpo-results"

_ABOUT = """\
hpoq turns messages of an SMQ queue into PAI AutoML experiments, exactly once, and tells in a topic what became of \
each.

The payloads below are the bodies of SMQ messages (`MessageBody`), not SMQ's XML around them. The body of a request \
is JSON in UTF-8, or base64 of it, as SMQ's SDKs send by default, of at most 1 MiB; the body of an event is JSON in \
ASCII. SMQ carries no headers of the message's own: events are CloudEvents in structured mode, so all their \
attributes stand in the payload.

A request and its event have the queue's message id in common (`data.messageId`). `data.idempotencyKey` is the key \
that hpoq works by: UUIDv5 of the namespace 6c1f6a8e-3d0f-5b58-9d1b-7c0d5f1d5b1e and the text \
`["hpoq-key-1","producer","<idempotencyKey of the request>"]` or, where a request brings none or breaks the \
contract, `["hpoq-key-1","smq","<message id>"]`, both as compact JSON in ASCII. `hpoq check` shows it.

The schemas are JSON Schema 2020-12; see the README beside this document for what they cannot say."""


def asyncapi(version: str, examples: Mapping[str, JsonObject]) -> JsonObject:
    """The document. `version` is that of hpoq; `examples` are requests by name."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:hpoq",
        "info": _info(version),
        "defaultContentType": "application/json",
        "servers": {"smq": _server()},
        "channels": {"requests": _requests(), "results": _results()},
        "operations": _operations(),
        "components": {
            "messages": {
                "request": _request_message(examples),
                **{outcome: _event_message(outcome) for outcome in OUTCOMES},
            },
            "correlationIds": {
                "requestKey": {
                    "description": "The producer's own key; optional. Events carry the UUID made of it.",
                    "location": "$message.payload#/idempotencyKey",
                },
                "eventMessage": {
                    "description": "The queue's id of the request's message, as SendMessage returned it.",
                    "location": "$message.payload#/data/messageId",
                },
            },
            "securitySchemes": {
                "accessKey": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "SMQ's signature: `MNS <access key id>:<HMAC-SHA1 of the request>`.",
                }
            },
        },
    }


def _info(version: str) -> JsonObject:
    return {
        "title": "hpoq",
        "version": version,
        "description": _ABOUT,
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "tags": [{"name": "pai-automl"}, {"name": "smq"}, {"name": "cloudevents"}],
    }


def _server() -> JsonObject:
    return {
        "host": "{accountId}.mns.{region}.aliyuncs.com",
        "protocol": "https",
        "description": "SMQ (formerly MNS): Alibaba Cloud's message queue over HTTPS.",
        "variables": {
            "accountId": {
                "description": "The Alibaba Cloud account that owns the queue.",
                "examples": ["1000000000000000"],
            },
            "region": {
                "description": "The region of the queue.",
                "default": "cn-shanghai",
                "examples": ["cn-shanghai"],
            },
        },
        "security": [{"$ref": "#/components/securitySchemes/accessKey"}],
        "tags": [{"name": "smq"}],
    }


def _requests() -> JsonObject:
    return {
        "address": REQUESTS,
        "title": "Requests",
        "description": "An SMQ queue; the name is the default one.",
        "servers": [{"$ref": "#/servers/smq"}],
        "messages": {"request": {"$ref": "#/components/messages/request"}},
    }


def _results() -> JsonObject:
    return {
        "address": RESULTS,
        "title": "Results",
        "description": "An SMQ topic; the name is the default one (`HPOQ_OUTPUT`).",
        "servers": [{"$ref": "#/servers/smq"}],
        "messages": {outcome: {"$ref": f"#/components/messages/{outcome}"} for outcome in OUTCOMES},
    }


def _operations() -> JsonObject:
    results: list[JsonValue] = [{"$ref": f"#/channels/results/messages/{outcome}"} for outcome in OUTCOMES]
    return {
        "receiveRequest": {
            "action": "receive",
            "title": "Receive a request",
            "summary": "Each message of the queue makes one experiment at most, however often it is delivered.",
            "channel": {"$ref": "#/channels/requests"},
            "messages": [{"$ref": "#/channels/requests/messages/request"}],
            "reply": {"channel": {"$ref": "#/channels/results"}, "messages": results},
            "bindings": _http("GET"),
        },
        "sendResult": {
            "action": "send",
            "title": "Send what became of a request",
            "summary": "One event for each message, sent at least once, always with the same id.",
            "channel": {"$ref": "#/channels/results"},
            "messages": results,
            "bindings": _http("POST"),
        },
    }


def _http(method: str) -> JsonObject:
    return {"http": {"method": method, "bindingVersion": "0.3.0"}}


def _request_message(examples: Mapping[str, JsonObject]) -> JsonObject:
    return {
        "name": "request",
        "title": "Request",
        "summary": "A request to create one experiment: wrapped, bare, or in a CloudEvent.",
        "contentType": "application/json",
        "correlationId": {"$ref": "#/components/correlationIds/requestKey"},
        "payload": {"$ref": "./request.schema.json"},
        "examples": [{"name": name, "payload": example} for name, example in examples.items()],
    }


def _event_message(outcome: EventOutcome) -> JsonObject:
    return {
        "name": event_type(outcome),
        "title": outcome.capitalize(),
        "summary": MEANINGS[outcome],
        "contentType": "application/cloudevents+json",
        "correlationId": {"$ref": "#/components/correlationIds/eventMessage"},
        "payload": {"$ref": f"./{outcome}.schema.json"},
        "examples": [{"name": outcome, "payload": event_example(outcome)}],
    }
