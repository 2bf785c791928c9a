"""What each utility of Powertools does on Function Compute, each with the tests that show it.

`python tests/contract/powertools/utilities.py` prints the table for the README of fcruntime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WORKS, PARTLY, CANNOT = "works", "works in part", "cannot"


@dataclass
class Utility:
    """A row of the table: `module` is under `aws_lambda_powertools`."""

    name: str
    module: str
    verdict: str
    why: str
    tests: list[Callable[..., Any]] = field(default_factory=list)

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Register a test that shows what the utility does."""
        self.tests.append(test)
        return test


LOGGER = Utility("Logger", "logging", WORKS, "including its buffer, because each invocation gets a trace id")
METRICS = Utility(
    "Metrics", "metrics", PARTLY, "its lines go to the function's log, which CloudWatch does not read"
)
TRACER = Utility(
    "Tracer", "tracing", PARTLY, "with your own provider and `disabled=False`; there is no X-Ray daemon on FC"
)
BATCH = Utility(
    "Batch",
    "utilities.batch",
    WORKS,
    "`lambda_handler` settles the failures that it returns, which FC itself would ignore",
)
BATCH_ASYNC = Utility(
    "Batch, asynchronous",
    "utilities.batch",
    PARTLY,
    "each invocation has its own event loop, so create clients within it",
)
BATCH_FIFO = Utility(
    "Batch, FIFO",
    "utilities.batch",
    PARTLY,
    "stops at the first failure; no source has message groups, so `skip_group_on_error` has no effect",
)
PARSER = Utility("Parser", "utilities.parser", WORKS, "")
VALIDATION = Utility("Validation", "utilities.validation", WORKS, "")
DATA_CLASSES = Utility(
    "Event source data classes",
    "utilities.data_classes",
    PARTLY,
    "`SQSEvent`; the others describe events of AWS that FC does not have",
)
IDEMPOTENCY = Utility(
    "Idempotency",
    "utilities.idempotency",
    WORKS,
    "after `idempotency_without_boto3()`, with `StorePersistenceLayer`; the layer for DynamoDB needs boto3",
)
TYPING = Utility("Typing", "utilities.typing", WORKS, "")
MIDDLEWARE = Utility(
    "Middleware factory", "middleware_factory", WORKS, "except `trace_execution`, which needs the X-Ray SDK"
)
JMESPATH = Utility("JMESPath functions", "utilities.jmespath_utils", WORKS, "")
SERIALIZATION = Utility("Serialization", "utilities.serialization", WORKS, "")
EVENT_HANDLER = Utility(
    "Event handler",
    "event_handler",
    PARTLY,
    "with `json_handler`: the resolvers for REST APIs, HTTP APIs, function URLs and load balancers behind an HTTP "
    "trigger, that for REST APIs behind the API Gateway trigger; the built-in runtimes send no more than one cookie "
    "with an answer",
)
CIRCUIT_BREAKER = Utility(
    "Circuit breaker",
    "utilities.circuit_breaker",
    CANNOT,
    "its persistence layers import boto3, including the base class for your own",
)
DATA_MASKING = Utility(
    "Data masking", "utilities.data_masking", PARTLY, "`erase` only; encryption needs AWS KMS and boto3"
)
KAFKA = Utility(
    "Kafka consumer",
    "utilities.kafka",
    CANNOT,
    "reads events of Amazon MSK only; use `lambda_handler` and Batch with FC's Kafka trigger",
)
PARAMETERS = Utility("Parameters", "utilities.parameters", CANNOT, "imports boto3")
FEATURE_FLAGS = Utility("Feature flags", "utilities.feature_flags", CANNOT, "imports boto3")
STREAMING = Utility("Streaming", "utilities.streaming", CANNOT, "imports boto3; reads from S3")
METADATA = Utility(
    "Metadata", "utilities.metadata", CANNOT, "asks an endpoint of Lambda; returns nothing on FC"
)
AUTH = Utility("JWT and OAuth2 (alpha)", "utilities.auth_alpha", WORKS, "with PyJWT")

UTILITIES = [one for one in globals().copy().values() if isinstance(one, Utility)]


def markdown() -> str:
    """Return the table as Markdown, what works first."""
    lines = ["| utility | on Function Compute | |", "|---|---|---|"]
    for verdict in (WORKS, PARTLY, CANNOT):
        lines += [f"| {one.name} | {verdict} | {one.why} |" for one in UTILITIES if one.verdict == verdict]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
