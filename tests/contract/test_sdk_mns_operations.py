"""Every operation that aliyun-mns-sdk has, called once: none is forgotten, and each is what the log says."""

import inspect
import logging

import pytest
from mns.account import Account, AccountMeta
from mns.mns_client import MNSClient
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import TopicMessage, TopicMeta

import alilocal

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


def operations_of_the_sdk():
    """Return the methods of the SDK's client that make a request, in the words of the service."""
    methods = inspect.getmembers(MNSClient, inspect.isfunction)
    asking = [
        name for name, method in methods if list(inspect.signature(method).parameters)[1:] == ["req", "resp"]
    ]
    return {"".join(part.capitalize() for part in name.split("_")) for name in asking}


def call_everything(account, owner):
    account.set_attributes(AccountMeta("a-bucket"))
    assert account.get_attributes().logging_bucket == "a-bucket"
    account.open_service()
    queue = account.get_queue("orders")
    queue.create(QueueMeta())
    queue.set_attributes(QueueMeta(vis_timeout=60))
    assert queue.get_attributes().visibility_timeout == 60
    assert account.list_queue()[0]
    queue.send_message(Message("one"))
    queue.batch_send_message([Message("two"), Message("three"), Message("four")])
    assert queue.peek_message().dequeue_count == 0
    assert len(queue.batch_peek_message(16)) == 4
    first = queue.receive_message()
    changed = queue.change_message_visibility(first.receipt_handle, 120)
    queue.delete_message(changed.receipt_handle)
    queue.batch_delete_message([one.receipt_handle for one in queue.batch_receive_message(16)])
    topic = account.get_topic("results")
    topic.create(TopicMeta())
    topic.set_attributes(TopicMeta(maximum_message_size=2048))
    assert topic.get_attributes().maximum_message_size == 2048
    assert account.list_topic()[0]
    subscription = topic.get_subscription("copy")
    subscription.subscribe(SubscriptionMeta(f"{owner}:queues/orders"))
    subscription.set_attributes(SubscriptionMeta(notify_strategy="EXPONENTIAL_DECAY_RETRY"))
    assert subscription.get_attributes().notify_strategy == "EXPONENTIAL_DECAY_RETRY"
    assert topic.list_subscription()[0]
    topic.publish_message(TopicMessage("said"))
    subscription.unsubscribe()
    topic.delete()
    queue.delete()


def test_every_operation_of_the_sdk_is_called_and_supported():
    with alilocal.serve() as server:
        cloud = server.cloud
        logger = logging.getLogger("test_sdk_mns_operations")
        account = Account(server.url, cloud.access_key_id, cloud.access_key_secret, logger=logger)
        call_everything(account, f"acs:mns:{cloud.region}:{cloud.account_id}")
        account.get_client().close_connection()
        called = {entry.operation for entry in cloud.requests}
        assert not [entry for entry in cloud.requests if entry.code is not None]
    assert called == operations_of_the_sdk()
