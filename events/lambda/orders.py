"""A Lambda handler as in Powertools' documentation, with logger, batch, parser, idempotency and metrics.

`handler` runs on AWS Lambda behind an SQS queue, `fc_handler` on Function Compute behind any source of messages.
"""

import os

from fcruntime import lambda_handler
from fcruntime.powertools import idempotency_without_boto3

idempotency_without_boto3()

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from hpoq.idempotency.powertools import StorePersistenceLayer
from hpoq.idempotency.store import open_store

logger = Logger(service="orders")
metrics = Metrics(namespace="Orders", service="orders")
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
config = IdempotencyConfig(event_key_jmespath="order_id")
layer = StorePersistenceLayer(open_store(os.environ.get("STORE", "sqlite:///orders.sqlite3")))


class Order(BaseModel):
    order_id: str
    amount: int


@idempotent_function(data_keyword_argument="order", config=config, persistence_store=layer)
def charge(order: dict) -> dict:
    """Charge an order once, however often its message is delivered."""
    logger.info("charged", extra={"order_id": order["order_id"], "amount": order["amount"]})
    metrics.add_metric(name="Charged", unit=MetricUnit.Count, value=1)
    return {"charged": order["amount"]}


def record_handler(record: SQSRecord) -> dict:
    order = parse(event=record.body, model=Order)
    return charge(order=order.model_dump())


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict, context: LambdaContext) -> dict:
    config.register_lambda_context(context)
    return process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )


fc_handler = lambda_handler(handler)
