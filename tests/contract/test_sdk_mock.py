"""The official SDKs, unmodified, as they are used in production: real hosts, TLS, credentials of the environment."""

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


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_smq(mock_alicloud, scheme):
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
