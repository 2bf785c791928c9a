"""What each utility of Powertools does on Function Compute, each told by the tests that show it.

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
        """Decorates a test that shows it."""
        self.tests.append(test)
        return test


LOGGER = Utility("Logger", "logging", WORKS, "buffers too, for the shim gives each invocation a trace id")
METRICS = Utility(
    "Metrics", "metrics", PARTLY, "its lines reach the function's log; no CloudWatch reads them there"
)
TRACER = Utility(
    "Tracer", "tracing", PARTLY, "with a provider of your own and `disabled=False`; X-Ray has no daemon on FC"
)
BATCH = Utility(
    "Batch", "utilities.batch", WORKS, "`lambda_handler` settles what it returns; FC itself would ignore it"
)
BATCH_ASYNC = Utility(
    "Batch, asynchronous",
    "utilities.batch",
    PARTLY,
    "each invocation has an event loop of its own, so make clients within it",
)
BATCH_FIFO = Utility(
    "Batch, FIFO",
    "utilities.batch",
    PARTLY,
    "stops at the first failure; no source hands over message groups, so `skip_group_on_error` skips nothing",
)
PARSER = Utility("Parser", "utilities.parser", WORKS, "")
VALIDATION = Utility("Validation", "utilities.validation", WORKS, "")
DATA_CLASSES = Utility(
    "Event source data classes",
    "utilities.data_classes",
    PARTLY,
    "`SQSEvent`; the others describe events of AWS that nothing on FC sends",
)
IDEMPOTENCY = Utility(
    "Idempotency",
    "utilities.idempotency",
    WORKS,
    "after `idempotency_without_boto3()`, with `StorePersistenceLayer`; DynamoDB's own layer needs boto3",
)
TYPING = Utility("Typing", "utilities.typing", WORKS, "")
MIDDLEWARE = Utility(
    "Middleware factory", "middleware_factory", WORKS, "but for `trace_execution`, which needs X-Ray's SDK"
)
JMESPATH = Utility("JMESPath functions", "utilities.jmespath_utils", WORKS, "")
SERIALIZATION = Utility("Serialization", "utilities.serialization", WORKS, "")
EVENT_HANDLER = Utility(
    "Event handler",
    "event_handler",
    PARTLY,
    "`json_handler` and an event that you make of FC's: an HTTP trigger's lacks `requestContext.stage` and "
    "names query parameters otherwise",
)
CIRCUIT_BREAKER = Utility(
    "Circuit breaker",
    "utilities.circuit_breaker",
    CANNOT,
    "its persistence layers need boto3 on import, the base of your own too",
)
DATA_MASKING = Utility(
    "Data masking", "utilities.data_masking", PARTLY, "`erase`; encryption needs AWS KMS and boto3"
)
KAFKA = Utility(
    "Kafka consumer",
    "utilities.kafka",
    CANNOT,
    "reads events of Amazon MSK alone; behind FC's Kafka trigger take `lambda_handler` and Batch",
)
PARAMETERS = Utility("Parameters", "utilities.parameters", CANNOT, "needs boto3 on import")
FEATURE_FLAGS = Utility("Feature flags", "utilities.feature_flags", CANNOT, "needs boto3 on import")
STREAMING = Utility("Streaming", "utilities.streaming", CANNOT, "needs boto3 on import; reads from S3")
METADATA = Utility("Metadata", "utilities.metadata", CANNOT, "asks an endpoint of Lambda's; it tells nothing")
AUTH = Utility("JWT and OAuth2 (alpha)", "utilities.auth_alpha", WORKS, "with PyJWT")

UTILITIES = [one for one in globals().copy().values() if isinstance(one, Utility)]


def markdown() -> str:
    """The table, what works first."""
    lines = ["| utility | on Function Compute | |", "|---|---|---|"]
    for verdict in (WORKS, PARTLY, CANNOT):
        lines += [f"| {one.name} | {verdict} | {one.why} |" for one in UTILITIES if one.verdict == verdict]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
