"""Every utility of Powertools on Function Compute: what works, what works in part, and what cannot work.

The README of fcruntime has the table; tests here show each row.
"""

import asyncio
import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path

import aws_lambda_powertools
import pytest
from powertools import utilities as on_fc
from pydantic import BaseModel

import fcruntime
from fcruntime import Fc3Context, json_handler, lambda_context, lambda_handler
from fcruntime.batch import BatchFailed
from fcruntime.context import FunctionInfo
from fcruntime.powertools import idempotency_without_boto3
from hpoq.testing import MemoryStore, smq_event, smq_stream_event
from support.processes import run_program

README = Path(fcruntime.__file__).with_name("README.md")
CONTEXT = Fc3Context("r-1", FunctionInfo(name="orders", memory=256, timeout=60), "cn-hangzhou", "42")
EVENT = smq_stream_event({"m-1": "one", "m-2": "two", "m-3": "three"})


@pytest.fixture(autouse=True)
def as_on_fc(monkeypatch):
    """Remove Lambda's environment variables, and restore what the shim adds."""
    for name in ("AWS_LAMBDA_FUNCTION_NAME", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_INITIALIZATION_TYPE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for module in ("logging.logger", "metrics.provider.cold_start"):
        monkeypatch.setattr(f"aws_lambda_powertools.{module}.is_cold_start", True)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def fails_to_import(module):
    """Return whether `module` of Powertools needs boto3 or botocore, in a new process."""
    code = f"import aws_lambda_powertools.{module}"
    done = run_program([sys.executable, "-c", code])
    return "No module named 'boto" in done.stderr


@on_fc.LOGGER
def test_logger(capsys):
    """The logger adds the context's values and finds a correlation id in the event."""
    from aws_lambda_powertools import Logger

    logger = Logger(service="shop", location="")

    @lambda_handler
    @logger.inject_lambda_context(correlation_id_path="Records[0].messageId", log_event=True)
    def handler(event, context):
        logger.append_keys(order="o-1")
        logger.info("seen")

    handler(EVENT, CONTEXT)
    event, seen = lines(capsys)
    assert [record["body"] for record in event["message"]["Records"]] == ["one", "two", "three"]
    assert seen["order"] == "o-1"
    assert (seen["cold_start"], seen["function_name"], seen["function_memory_size"]) == (True, "orders", 256)
    assert (seen["function_request_id"], seen["correlation_id"]) == ("r-1", "m-1")


@on_fc.METRICS
def test_metrics_are_lines_of_the_log(capsys):
    """Metrics are lines of the function's log, with the cold start."""
    from aws_lambda_powertools import Metrics
    from aws_lambda_powertools.metrics import MetricUnit

    metrics = Metrics(namespace="Shop", service="orders")

    @lambda_handler
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(event, context):
        metrics.add_metric("Orders", MetricUnit.Count, len(event["Records"]))

    handler(EVENT, CONTEXT)
    cold, own = lines(capsys)
    assert (cold["ColdStart"], cold["function_name"]) == ([1.0], "orders")
    assert (own["Orders"], own["service"]) == ([3.0], "orders")


@on_fc.METRICS
def test_metrics_of_a_provider(capsys):
    """Metrics of another provider are lines of the log, too."""
    from aws_lambda_powertools.metrics.provider.datadog import DatadogMetrics

    metrics = DatadogMetrics(namespace="Shop", flush_to_log=True)

    @lambda_handler
    @metrics.log_metrics
    def handler(event, context):
        metrics.add_metric(name="Orders", value=3)

    handler(EVENT, CONTEXT)
    (line,) = lines(capsys)
    assert (line["m"], line["v"]) == ("Shop.Orders", 3)


class Spans:
    """A provider for the tracer."""

    def __init__(self):
        self.names, self.annotations = [], {}

    def in_subsegment(self, name=None, **_):
        self.names.append(name)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def put_annotation(self, key, value, **_):
        self.annotations[key] = value

    put_metadata = put_annotation

    def patch(self, modules):
        pass

    def patch_all(self):
        pass


@on_fc.TRACER
def test_a_tracer_needs_a_provider():
    """The tracer works with a provider of one's own; X-Ray's SDK is not there."""
    from aws_lambda_powertools import Tracer

    with pytest.raises(ModuleNotFoundError, match="aws_xray_sdk"):
        Tracer(service="orders")
    Tracer._reset_config()
    spans = Spans()
    tracer = Tracer(service="orders", provider=spans, disabled=False)

    @lambda_handler
    @tracer.capture_lambda_handler
    def handler(event, context):
        tracer.put_annotation("orders", 3)
        return {"batchItemFailures": []}

    handler(EVENT, CONTEXT)
    Tracer._reset_config()
    assert spans.names == ["## handler"]
    assert (spans.annotations["orders"], spans.annotations["Service"]) == (3, "orders")


@on_fc.BATCH
def test_batch():
    """A failed record is sent back, or fails the event, by the policy."""
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    processor, seen = BatchProcessor(event_type=EventType.SQS), []

    def record_handler(record, lambda_context):
        seen.append((record.body, lambda_context.aws_request_id))
        assert record.body != "two"

    sent_back = []

    @lambda_handler(policy="requeue", requeue=lambda message: sent_back.append(message.id) is None)
    def handler(event, context):
        return process_partial_response(event, record_handler, processor, context)

    assert handler(EVENT, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m-2"}]}
    assert seen == [("one", "r-1"), ("two", "r-1"), ("three", "r-1")]
    assert sent_back == ["m-2"]
    with pytest.raises(BatchFailed, match="1 of 3"):
        lambda_handler(handler.__wrapped__)(EVENT, CONTEXT)


@on_fc.BATCH
def test_batch_of_which_all_fail_is_sent_back_too():
    """Powertools raises if all records failed, as always in an event of one; `requeue` sends them back."""
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
    from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

    processor, sent_back = BatchProcessor(event_type=EventType.SQS), []

    def record_handler(record):
        raise ValueError

    def handler(event, context):
        return process_partial_response(event, record_handler, processor, context)

    def requeue(message):
        sent_back.append(message.id)
        return message.id != "m-3"

    one = smq_event("m-1", "one")
    failures = {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert lambda_handler(policy="requeue", requeue=requeue)(handler)(one, CONTEXT) == failures
    with pytest.raises(BatchFailed, match="1 of 3"):
        lambda_handler(policy="requeue", requeue=requeue)(handler)(EVENT, CONTEXT)
    assert sent_back == ["m-1", "m-1", "m-2", "m-3"]
    with pytest.raises(BatchProcessingError):
        lambda_handler(handler)(one, CONTEXT)


@on_fc.BATCH_ASYNC
def test_batch_runs_coroutines_in_a_loop_of_each_invocation():
    """The asynchronous batch utility uses a new event loop in each invocation."""
    from aws_lambda_powertools.utilities.batch import (
        AsyncBatchProcessor,
        EventType,
        async_process_partial_response,
    )

    processor, loops = AsyncBatchProcessor(event_type=EventType.SQS), []

    async def record_handler(record):
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        assert record.body != "two"

    @lambda_handler
    def handler(event, context):
        return async_process_partial_response(event, record_handler, processor, context)

    for _ in range(2):
        with pytest.raises(BatchFailed, match="1 of 3"):
            handler(EVENT, CONTEXT)
    assert [len({id(loop) for loop in part}) for part in (loops[:3], loops[3:])] == [1, 1]
    assert loops[0] is not loops[3]


@on_fc.BATCH_FIFO
@pytest.mark.parametrize(
    ("skips_group", "seen", "failed"), [(False, ["one", "two"], 2), (True, ["one", "two", "three"], 1)]
)
def test_batch_in_order(skips_group, seen, failed):
    """The FIFO processor stops at the first failure, and `skip_group_on_error` skips nothing."""
    from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response

    processor, bodies = SqsFifoPartialProcessor(skip_group_on_error=skips_group), []

    def record_handler(record):
        bodies.append(record.body)
        assert record.body != "two"

    @lambda_handler
    def handler(event, context):
        return process_partial_response(event, record_handler, processor, context)

    with pytest.raises(BatchFailed) as caught:
        handler(EVENT, CONTEXT)
    assert (bodies, caught.value.failed) == (seen, failed)


@on_fc.PARSER
def test_parser():
    """The parser reads models from the records' bodies."""
    from aws_lambda_powertools.utilities.parser import envelopes, event_parser

    class Order(BaseModel):
        order_id: str

    @lambda_handler
    @event_parser(model=Order, envelope=envelopes.SqsEnvelope)
    def handler(event, context):
        assert [order.order_id for order in event] == ["o-1"]
        return {"batchItemFailures": []}

    handler(smq_event("m-1", '{"order_id": "o-1"}'), CONTEXT)
    with pytest.raises(ValueError, match="order_id"):
        handler(smq_event("m-1", "{}"), CONTEXT)


@on_fc.VALIDATION
def test_validation():
    """The validator checks the records' bodies."""
    from aws_lambda_powertools.utilities.validation import SchemaValidationError, envelopes, validator

    schema = {"type": "array", "items": {"type": "object", "required": ["order_id"]}}

    @lambda_handler
    @validator(inbound_schema=schema, envelope=envelopes.SQS)
    def handler(event, context):
        assert event == [{"order_id": "o-1"}]

    handler(smq_event("m-1", '{"order_id": "o-1"}'), CONTEXT)
    with pytest.raises(SchemaValidationError, match="order_id"):
        handler(smq_event("m-1", "{}"), CONTEXT)


@on_fc.DATA_CLASSES
def test_data_classes():
    """SQSEvent describes the event; the data classes of other services do not."""
    from aws_lambda_powertools.utilities.data_classes import S3Event, SQSEvent, event_source

    @lambda_handler
    @event_source(data_class=SQSEvent)
    def handler(event, context):
        return {"bodies": [record.body for record in event.records]}

    assert handler(EVENT, CONTEXT) == {"bodies": ["one", "two", "three"]}

    @lambda_handler
    @event_source(data_class=S3Event)
    def other(event, context):
        return event.bucket_name

    with pytest.raises(KeyError, match="s3"):
        other(EVENT, CONTEXT)


@on_fc.IDEMPOTENCY
def test_idempotency():
    """An idempotent handler runs once, and its key contains the name of the FC function."""
    idempotency_without_boto3()
    from aws_lambda_powertools.utilities.idempotency import (
        DynamoDBPersistenceLayer,
        IdempotencyConfig,
        idempotent,
    )

    from hpoq.idempotency.powertools import StorePersistenceLayer

    store, calls = MemoryStore(), []
    options = IdempotencyConfig(event_key_jmespath="Records[0].messageId")

    @lambda_handler
    @idempotent(persistence_store=StorePersistenceLayer(store), config=options)
    def handler(event, context):
        calls.append(context.aws_request_id)
        return {"batchItemFailures": [], "call": len(calls)}

    assert handler(EVENT, CONTEXT) == handler(EVENT, CONTEXT)
    assert calls == ["r-1"]
    (key,) = store._rows
    assert key.startswith("orders."), "the function's name is part of the key"
    with pytest.raises(RuntimeError, match="boto3"):
        DynamoDBPersistenceLayer("table")


@on_fc.TYPING
def test_typing():
    """The shim's context has all that Powertools' annotation promises."""
    from aws_lambda_powertools.utilities.typing import LambdaContext

    made = lambda_context(CONTEXT)
    promised = {name for name in vars(LambdaContext) if not name.startswith("_")}
    assert {name for name in promised if not hasattr(made, name)} == set()


@on_fc.MIDDLEWARE
def test_middleware():
    """Middleware can be above and below `lambda_handler`."""
    from aws_lambda_powertools.middleware_factory import lambda_handler_decorator

    seen = []

    @lambda_handler_decorator
    def around(handler, event, context, name="default"):
        seen.append(name)
        return handler(event, context)

    @around(name="outer")
    @lambda_handler
    @around
    def handler(event, context):
        seen.append(len(event["Records"]) if isinstance(event, dict) else event)

    handler(EVENT, CONTEXT)
    assert seen == ["outer", "default", 3]


@on_fc.JMESPATH
def test_jmespath():
    """The JMESPath envelope for SQS extracts the bodies."""
    from aws_lambda_powertools.utilities.jmespath_utils import envelopes, query

    seen = []

    @lambda_handler
    def handler(event, context):
        seen.extend(query(event, envelope=envelopes.SQS))

    handler(smq_event("m-1", '{"order_id": "o-1"}'), CONTEXT)
    assert seen == [{"order_id": "o-1"}]


@on_fc.SERIALIZATION
def test_serialization():
    """The serialization utility works without anything else."""
    from aws_lambda_powertools.utilities.serialization import base64_decode

    assert base64_decode("aHBvcQ==") == "hpoq"


HTTP_EVENT = {
    "version": "v1",
    "rawPath": "/orders/o-1",
    "body": '{"amount": 5}',
    "isBase64Encoded": False,
    "headers": {"Content-Type": "application/json"},
    "queryParameters": {"dry": "1"},
    "requestContext": {"http": {"method": "POST", "path": "/orders/o-1"}, "requestId": "r"},
}


@on_fc.EVENT_HANDLER
def test_event_handler():
    """A resolver answers FC's HTTP event as it is."""
    from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver

    app = LambdaFunctionUrlResolver()

    @app.post("/orders/<order_id>")
    def post(order_id):
        return {
            "order": order_id,
            "dry": app.current_event.query_string_parameters["dry"],
            **app.current_event.json_body,
        }

    answer = json_handler(app.resolve)(json.dumps(HTTP_EVENT).encode(), CONTEXT)
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "application/json")
    assert json.loads(answer["body"]) == {"order": "o-1", "dry": "1", "amount": 5}


@on_fc.EVENT_HANDLER
def test_event_handler_behind_the_api_gateway_trigger():
    """The resolver for REST APIs answers the event of FC's API Gateway trigger."""
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver

    app = APIGatewayRestResolver()

    @app.get("/orders/<order_id>")
    def get(order_id):
        return {"order": order_id}

    event = {"path": "/orders/o-1", "httpMethod": "GET", "headers": {}, "queryParameters": {}, "body": ""}
    answer = json_handler(app.resolve)(json.dumps(event).encode(), CONTEXT)
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "application/json")
    assert json.loads(answer["body"]) == {"order": "o-1"}


@on_fc.DATA_MASKING
def test_data_masking():
    """Erasing works; encryption needs boto3."""
    from aws_lambda_powertools.utilities.data_masking import DataMasking

    assert DataMasking().erase({"card": "4000", "id": 1}, fields=["card"]) == {"card": "*****", "id": 1}
    assert fails_to_import("utilities.data_masking.provider.kms.aws_encryption_sdk")


@on_fc.KAFKA
def test_kafka_consumer():
    """The Kafka consumer cannot read the event of `lambda_handler`."""
    from aws_lambda_powertools.utilities.kafka import kafka_consumer

    @lambda_handler
    @kafka_consumer
    def handler(event, context):
        return {"values": [record.value for record in event.records]}

    with pytest.raises(KeyError, match="records"):
        handler(EVENT, CONTEXT)


@on_fc.PARAMETERS
@on_fc.FEATURE_FLAGS
@on_fc.STREAMING
@on_fc.CIRCUIT_BREAKER
@pytest.mark.parametrize(
    "module",
    [
        "utilities.parameters.base",
        "utilities.feature_flags.base",
        "utilities.streaming",
        "utilities.circuit_breaker.persistence.base",
    ],
)
def test_what_needs_boto3(module):
    """These utilities cannot be imported without boto3."""
    assert fails_to_import(module)


@on_fc.METADATA
def test_metadata():
    """The metadata of Lambda's endpoint is empty."""
    from aws_lambda_powertools.utilities.metadata import get_lambda_metadata

    assert get_lambda_metadata().availability_zone_id is None


@on_fc.AUTH
def test_auth():
    """The JWT verifier accepts a valid token and refuses one for another audience."""
    import jwt
    from aws_lambda_powertools.utilities.auth_alpha import JWTVerifier
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key = generate_private_key(SECP256R1())
    public = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k", "alg": "ES256"}
    verifier = JWTVerifier(
        issuer="https://issuer.example", audience="orders", algorithms=["ES256"], jwks={"keys": [public]}
    )
    now = int(time.time())
    claims = {"iss": "https://issuer.example", "aud": "orders", "sub": "me", "iat": now, "exp": now + 60}

    @json_handler
    def handler(event, context):
        return verifier.verify(event["token"])["sub"]

    def sent(**changed):
        token = jwt.encode({**claims, **changed}, key, algorithm="ES256", headers={"kid": "k"})
        return json.dumps({"token": token}).encode()

    assert handler(sent(), CONTEXT) == "me"
    with pytest.raises(Exception, match=r"(?i)token"):
        handler(sent(aud="others"), CONTEXT)


def test_the_table_of_the_readme_is_that_of_the_tests():
    """The README has the table that `python tests/contract/powertools/utilities.py` prints."""
    table = README.read_text().partition("<!-- utilities -->\n")[2].partition("\n<!-- /utilities -->")[0]
    assert table == on_fc.markdown()


def test_every_row_is_shown_by_a_test():
    """Every row of the table has a test."""
    assert [one.name for one in on_fc.UTILITIES if not one.tests] == []


def test_every_utility_has_a_row():
    """Every utility of the newest release has a row; packages that are not utilities are named here."""
    top = {"event_handler", "logging", "metrics", "middleware_factory", "tracing"}
    below = importlib.import_module("aws_lambda_powertools.utilities")
    found = top | {f"utilities.{one.name}" for one in pkgutil.iter_modules(below.__path__)}
    also = {one.name for one in pkgutil.iter_modules(aws_lambda_powertools.__path__) if one.ispkg}
    assert also - top == {"exceptions", "shared", "utilities", "warnings"}
    assert {one.module for one in on_fc.UTILITIES} == found
