"""The AsyncAPI 3.0 document of the function: what it receives, what it sends, and how they are related.

It refers to the schemas by their file names; the files are in the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.events import EventOutcome, event_type
from hpoqctl.schema.events import MEANINGS, OUTCOMES, event_example

REQUESTS = "hpo-requests"
RESULTS = "hpo-results"

_ABOUT = """\
hpoq creates exactly one PAI AutoML experiment for each request in an SMQ queue, and publishes the result of each \
request, and later that of its experiment, to a topic. A request with `dryRun` is only checked.

The payloads below are the bodies of SMQ messages (`MessageBody`) without the XML around them. The body of a request \
is JSON in UTF-8, or base64 of it, which SMQ's SDKs send by default, of at most 1 MiB. The body of an event is JSON \
in ASCII. SMQ messages have no headers of their own, so events are CloudEvents in structured mode: all attributes \
are in the payload. The tag of each SMQ message (`MessageTag`) is the outcome, such as `created` or `failed`: a \
subscription with a `FilterTag` receives the events of one outcome only.

An event has the message id of its request in the queue (`data.messageId`). `data.idempotencyKey` is the key that \
hpoq uses: the UUIDv5 of the namespace 6c1f6a8e-3d0f-5b58-9d1b-7c0d5f1d5b1e and the text \
`["hpoq-key-2","producer","<idempotencyKey of the request>"]` or, if the request has no key or breaks the contract, \
`["hpoq-key-2","smq","<message id>"]`. Both are compact JSON in ASCII. `hpoq check` shows the key. If a request \
without a key is in a CloudEvent, the CloudEvent replaces the message id: the kind is `cloudevent`, and the last \
text is the compact JSON `{"id":"<id>","source":"<source>"}` of its attributes. If the function has a namespace \
(`HPOQ_NAMESPACE`, by default `HPOQ_NAME`), it comes second: `["hpoq-key-2","<namespace>","producer",...]`.

The schemas are JSON Schema 2020-12; see README.md in the same folder for what they cannot express."""


def make_asyncapi(version: str, examples: Mapping[str, JsonObject]) -> JsonObject:
    """Return the document for a version of hpoq; `examples` are requests by name."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:hpoq",
        "info": _describe_api(version),
        "defaultContentType": "application/json",
        "servers": {"smq": _describe_server()},
        "channels": {"requests": _request_channel(), "results": _result_channel()},
        "operations": _describe_operations(),
        "components": {
            "messages": {
                "request": _request_message(examples),
                **{outcome: _event_message(outcome) for outcome in OUTCOMES},
            },
            "correlationIds": {
                "requestKey": {
                    "description": "The producer's own key; optional. Events contain it as `data.producerKey`.",
                    "location": "$message.payload#/idempotencyKey",
                },
                "eventMessage": {
                    "description": "The message id of the request in the queue, as SendMessage returned it.",
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


def _describe_api(version: str) -> JsonObject:
    return {
        "title": "hpoq",
        "version": version,
        "description": _ABOUT,
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "tags": [{"name": "pai-automl"}, {"name": "smq"}, {"name": "cloudevents"}],
    }


def _describe_server() -> JsonObject:
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


def _request_channel() -> JsonObject:
    return {
        "address": REQUESTS,
        "title": "Requests",
        "description": "An SMQ queue, with its default name.",
        "servers": [{"$ref": "#/servers/smq"}],
        "messages": {"request": {"$ref": "#/components/messages/request"}},
    }


def _result_channel() -> JsonObject:
    return {
        "address": RESULTS,
        "title": "Results",
        "description": "An SMQ topic, with its default name (`HPOQ_OUTPUT`).",
        "servers": [{"$ref": "#/servers/smq"}],
        "messages": {outcome: {"$ref": f"#/components/messages/{outcome}"} for outcome in OUTCOMES},
    }


def _describe_operations() -> JsonObject:
    results: list[JsonValue] = [{"$ref": f"#/channels/results/messages/{outcome}"} for outcome in OUTCOMES]
    return {
        "receiveRequest": {
            "action": "receive",
            "title": "Receive a request",
            "summary": "Each message creates at most one experiment, however often it is delivered.",
            "channel": {"$ref": "#/channels/requests"},
            "messages": [{"$ref": "#/channels/requests/messages/request"}],
            "reply": {"channel": {"$ref": "#/channels/results"}, "messages": results},
            "bindings": _bind_http("GET"),
        },
        "sendResult": {
            "action": "send",
            "title": "Send the result of a request",
            "summary": "One event for each message, and one for the end of each followed experiment, sent at least "
            "once and always with the same id.",
            "channel": {"$ref": "#/channels/results"},
            "messages": results,
            "bindings": _bind_http("POST"),
        },
    }


def _bind_http(method: str) -> JsonObject:
    return {"http": {"method": method, "bindingVersion": "0.3.0"}}


def _request_message(examples: Mapping[str, JsonObject]) -> JsonObject:
    return {
        "name": "request",
        "title": "Request",
        "summary": "A request to create one experiment, or to stop one: wrapped, bare, or in a CloudEvent.",
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
