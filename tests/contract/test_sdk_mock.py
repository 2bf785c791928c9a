"""The official SDKs, unmodified, as they are used in production: real hosts, TLS, credentials of the environment."""

import asyncio
import importlib
import logging
import os

import pytest
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_tea_openapi.models import Config
from mns.account import Account
from mns.queue import Message, QueueMeta

import alilocal
from alilocal.tablestore.model import STRING

logging.getLogger("tablestore").setLevel(logging.ERROR)
ots = importlib.import_module("tablestore")

SMQ = "1000000000000001.mns.cn-hangzhou.aliyuncs.com"
AT_IMPORT = Account(f"https://{SMQ}", "alilocal-access-key-id", "alilocal-access-key-secret")
"""A client that is made once for all tests, as applications do."""


def teardown_module():
    AT_IMPORT.get_client().close_connection()


@pytest.mark.parametrize("number", range(4))
def test_a_client_that_was_made_at_import(mock_alicloud, number):
    """A client that outlives its cloud works in every test, and sees nothing of the test before."""
    queue = AT_IMPORT.get_queue(f"orders-{number}")
    queue.create(QueueMeta())
    queue.send_message(Message("body"))
    assert [one.name for one in mock_alicloud.queues] == [f"orders-{number}"]


@alilocal.mock_alicloud
def test_asynchronous_methods(cloud):
    """The methods of an SDK that end in `_async` reach the mock as the others do."""
    config = Config(
        access_key_id=cloud.access_key_id,
        access_key_secret=cloud.access_key_secret,
        endpoint="paiautoml.cn-hangzhou.aliyuncs.com",
    )
    models = importlib.import_module("alibabacloud_paiautoml20220828.models")
    call = Client(config).list_hpo_experiments_async(models.ListHpoExperimentsRequest())
    assert asyncio.run(call).body.total_count == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_smq(mock_alicloud, scheme):
    """SMQ's SDK reaches the mock under the service's own host name."""
    account = Account(
        f"{scheme}://{SMQ}",
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        logger=logging.getLogger("test_sdk_mock"),
    )
    queue = account.get_queue("orders")
    queue.create(QueueMeta())
    queue.send_message(Message("body"))
    assert queue.receive_message().message_body == b"body"
    account.get_client().close_connection()
    assert [message.dequeue_count for message in mock_alicloud.queues["orders"].messages] == [1]


@alilocal.mock_alicloud
def test_paiautoml(cloud):
    """PAI AutoML's SDK reaches the mock under the service's own host name."""
    config = Config(
        access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        endpoint="paiautoml.cn-hangzhou.aliyuncs.com",
    )
    models = importlib.import_module("alibabacloud_paiautoml20220828.models")
    answer = Client(config).list_hpo_experiments(models.ListHpoExperimentsRequest())
    assert answer.body.total_count == 0
    assert [entry.operation for entry in cloud.requests] == ["ListHpoExperiments"]


def test_tablestore(mock_alicloud):
    """Tablestore's SDK reaches the mock under the service's own host name."""
    table = mock_alicloud.tables.create("records", [("key", STRING)])
    client = ots.OTSClient(
        "https://orders.cn-hangzhou.ots.aliyuncs.com",
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        "orders",
    )
    client.put_row(
        "records", ots.Row([("key", "a")], [("n", 1)]), ots.Condition(ots.RowExistenceExpectation.IGNORE)
    )
    assert table.rows == {("a",): {"n": 1}}
