"""An unmodified Lambda handler with Powertools in it, on Function Compute's side and on AWS's."""

import importlib.util
import json
from pathlib import Path

import pytest

import alilocal
from alilocal.eventstream import EventStream

EXAMPLE = Path(__file__).parents[2] / "events/lambda/orders.py"


def order(number, amount=5):
    return json.dumps({"order_id": f"o-{number}", "amount": amount})


@pytest.fixture
def deployed(tmp_path):
    """The example as a function of the local cloud, behind an event stream."""
    with alilocal.LocalCloud() as cloud:
        cloud.queues.create("orders")
        function = cloud.functions.create(
            "orders",
            handler="orders.fc_handler",
            code=EXAMPLE.parent,
            environment={"STORE": f"sqlite:///{tmp_path / 'orders.sqlite3'}"},
            timeout=30,
        )
        yield cloud, function, EventStream(cloud, queue="orders", invoke=function, batch_size=3)


def lines(log):
    """Return the JSON lines of Powertools' logger and metrics."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_each_order_is_charged_once_on_function_compute(deployed):
    cloud, function, stream = deployed
    queue = cloud.queues["orders"]
    for body in (order(1), order(2, 7), order(1)):
        queue.send(body)
    assert stream.step()
    (call,) = function.invocations
    assert json.loads(call.result.body) == {"batchItemFailures": []}
    written = lines(call.result.log)
    charged = [line for line in written if line.get("message") == "charged"]
    assert [(line["order_id"], line["amount"]) for line in charged] == [("o-1", 5), ("o-2", 7)]
    assert charged[0]["function_name"] == "orders"
    assert charged[0]["function_request_id"] == call.result.request_id
    assert charged[0]["function_arn"] == f"acs:fc:{cloud.region}:{cloud.account_id}:functions/orders"
    (metrics,) = [line for line in written if "_aws" in line]
    assert metrics["Charged"] == [1.0, 1.0]
    assert queue.messages == []


def test_a_record_that_fails_fails_the_event_and_the_rest_is_not_repeated(deployed):
    cloud, function, stream = deployed
    queue = cloud.queues["orders"]
    queue.send(order(1))
    queue.send('{"order_id": "o-2"}')
    assert stream.step()
    assert json.loads(function.invocations[0].result.body)["errorType"] == "BatchFailed"
    assert len(queue.messages) == 2
    cloud.clock.advance(20)
    assert stream.step()
    charged = [
        line
        for one in function.invocations
        for line in lines(one.result.log)
        if line.get("message") == "charged"
    ]
    assert [line["order_id"] for line in charged] == ["o-1"]


@pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")
def test_the_same_handler_answers_aws(tmp_path, monkeypatch, capsys):
    """An event of SQS, and Lambda's own context: nothing of the shim is in between."""
    monkeypatch.setenv("STORE", f"sqlite:///{tmp_path / 'aws.sqlite3'}")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    spec = importlib.util.spec_from_file_location("orders_on_aws", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Context:
        function_name = "orders"
        memory_limit_in_mb = 128
        invoked_function_arn = "arn:aws:lambda:eu-west-1:809313241234:function:orders"
        aws_request_id = "52fdfc07-2182-154f-163f-5f0f9a621d72"

        def get_remaining_time_in_millis(self):
            return 30_000

    event = json.loads((EXAMPLE.parent / "sqs-event.json").read_text())
    bad = event["Records"][1]["messageId"]
    for expected in (["o-1"], []):
        assert module.handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": bad}]}
        charged = [line for line in lines(capsys.readouterr().out) if line.get("message") == "charged"]
        assert [line["order_id"] for line in charged] == expected
    module.layer._store.close()
