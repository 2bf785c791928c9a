"""Runs the SDKs of the tests' own environment, each with the calls that a small application makes."""

import asyncio
import logging
import warnings

from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_paiautoml20220828 import models
from alibabacloud_paiautoml20220828.client import Client as PaiAutoMl
from alibabacloud_tea_openapi.models import Config
from checks import equal, fails, outcomes, report, settings
from mns.account import Account
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import TopicMessage, TopicMeta

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tablestore as ots

logging.getLogger("tablestore").setLevel(logging.CRITICAL)
URL, KEY = settings["url"], (settings["id"], settings["secret"])


def smq():
    account = Account(URL, *KEY)
    queue, topic = account.get_queue("orders"), account.get_topic("news")
    subscription = account.get_subscription("news", "copies")
    held = []
    return {
        "create": lambda: queue.create(QueueMeta(vis_timeout=60)),
        "list_queue": lambda: equal(len(account.list_queue(prefix="o")[0]), 1),
        "get_attributes": lambda: equal(queue.get_attributes().visibility_timeout, 60),
        "send_message": lambda: queue.send_message(Message("héllo")),
        "batch_send_message": lambda: queue.batch_send_message([Message("one"), Message("two")]),
        "batch_peek_message": lambda: equal(len(queue.batch_peek_message(5)), 3),
        "receive_message": lambda: held.append(queue.receive_message(1)),
        "change_message_visibility": lambda: held.append(
            queue.change_message_visibility(held[0].receipt_handle, 90)
        ),
        "delete_message": lambda: queue.delete_message(held[1].receipt_handle),
        "batch_receive_message, batch_delete_message": lambda: queue.batch_delete_message(
            [one.receipt_handle for one in queue.batch_receive_message(5, 1)]
        ),
        "receive_message of nothing": lambda: fails(lambda: queue.receive_message(0), "MessageNotExist"),
        "create of a topic": lambda: topic.create(TopicMeta()),
        "subscribe": lambda: subscription.subscribe(
            SubscriptionMeta("acs:mns:cn-local:127:queues/orders", notify_content_format="SIMPLIFIED")
        ),
        "publish_message": lambda: topic.publish_message(TopicMessage("news")),
        "peek_message of the copy": lambda: queue.peek_message(),
        "unsubscribe": lambda: subscription.unsubscribe(),
        "delete of a topic": lambda: topic.delete(),
        "delete": lambda: queue.delete(),
        "delete of a missing queue": lambda: queue.delete(),
        "a wrong secret": lambda: fails(
            lambda: Account(URL, KEY[0], "x").list_queue(), "SignatureDoesNotMatch"
        ),
    }


def tables():
    client = ots.OTSClient(URL, *KEY, "local", retry_policy=ots.NoRetryPolicy())
    ignore = ots.Condition(ots.RowExistenceExpectation.IGNORE)
    absent = ots.Condition(ots.RowExistenceExpectation.EXPECT_NOT_EXIST)
    row = ots.Row([("k", "a")], [("v", 1)])
    low, high = [("k", ots.INF_MIN)], [("k", ots.INF_MAX)]

    def batch():
        request = ots.BatchWriteRowRequest()
        items = [ots.PutRowItem(ots.Row([("k", key)], [("v", 2)]), ignore) for key in "bc"]
        request.add(ots.TableInBatchWriteRowItem("t", items))
        assert client.batch_write_row(request).is_all_succeed()

    return {
        "create_table": lambda: client.create_table(
            ots.TableMeta("t", [("k", "STRING")]),
            ots.TableOptions(),
            ots.ReservedThroughput(ots.CapacityUnit(0, 0)),
        ),
        "list_table": lambda: equal(list(client.list_table()), ["t"]),
        "describe_table": lambda: equal(client.describe_table("t").table_meta.table_name, "t"),
        "update_table": lambda: client.update_table("t", ots.TableOptions(max_version=2)),
        "put_row": lambda: client.put_row("t", row, absent),
        "put_row with a condition that fails": lambda: fails(
            lambda: client.put_row("t", row, absent), "OTSConditionCheckFail"
        ),
        "get_row": lambda: equal(client.get_row("t", [("k", "a")])[1].attribute_columns[0][1], 1),
        "update_row": lambda: client.update_row(
            "t", ots.Row([("k", "a")], {"PUT": [("w", "x")], "DELETE_ALL": ["v"]}), ignore
        ),
        "batch_write_row": batch,
        "get_range": lambda: equal(len(client.get_range("t", "FORWARD", low, high, max_version=1)[2]), 3),
        "delete_row": lambda: client.delete_row("t", [("k", "a")], ignore),
        "delete_table": lambda: client.delete_table("t"),
    }


def experiments():
    def connect(**changed):
        options = {"access_key_id": KEY[0], "access_key_secret": KEY[1], "protocol": "http"}
        return PaiAutoMl(Config(endpoint=URL.removeprefix("http://"), **{**options, **changed}))

    client, older, wrong = connect(), connect(signature_algorithm="v2"), connect(access_key_secret="x")
    listing, create = models.ListHpoExperimentsRequest(), models.CreateHpoExperimentRequest(name="é")
    made = []
    return {
        "create": lambda: made.append(client.create_hpo_experiment(create).body.experiment_id),
        "create, asynchronous": lambda: asyncio.run(client.create_hpo_experiment_async(create)),
        "create, signature version 1": lambda: older.create_hpo_experiment(create),
        "get": lambda: equal(client.get_hpo_experiment(made[0]).body.name, "é"),
        "list": lambda: equal(client.list_hpo_experiments(listing).body.total_count, 3),
        "list, asynchronous": lambda: equal(
            asyncio.run(client.list_hpo_experiments_async(listing)).body.total_count, 3
        ),
        "list, signature version 1": lambda: equal(older.list_hpo_experiments(listing).body.total_count, 3),
        "stop": lambda: client.stop_hpo_experiment(made[0]),
        "a wrong secret": lambda: fails(lambda: wrong.list_hpo_experiments(listing), "SignatureDoesNotMatch"),
    }


def credentials():
    def check():
        found = Credentials().get_credential()
        equal((found.access_key_id, found.access_key_secret), KEY)

    return {"the default chain": check}


report(
    outcomes("aliyun-mns-sdk", smq()),
    outcomes("tablestore", tables()),
    outcomes("alibabacloud-paiautoml20220828", experiments()),
    outcomes("alibabacloud-credentials", credentials()),
)
