"""The official SDK of SMQ's management API (mns-open), unmodified, against the local cloud over HTTP."""

import pytest
from alibabacloud_mns_open20220119 import models as m
from alibabacloud_mns_open20220119.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config

from alilocal.smq.message import Outgoing
from support.deployment import vendor_config


def client_of(server, key=None):
    return Client(Config(**vendor_config(server, key)))


@pytest.fixture
def client(server):
    return client_of(server)


def refused(code, status, act):
    with pytest.raises(AlibabaCloudException) as caught:
        act()
    assert (caught.value.code, caught.value.status_code) == (code, status), caught.value


def get_queue(client, name="orders"):
    return client.get_queue_attributes(m.GetQueueAttributesRequest(queue_name=name)).body.data


def dead(target="dead", count=3, enabled=True, kind=m.CreateQueueRequestDlqPolicy):
    return kind(enabled=enabled, dead_letter_target_queue=target, max_receive_count=count)


def test_a_queue_with_its_dead_letter_policy(client, server):
    """The policy, which SMQ's own API cannot set, is set, shown, obeyed and ended here."""
    client.create_queue(m.CreateQueueRequest(queue_name="dead"))
    request = m.CreateQueueRequest(queue_name="orders", visibility_timeout=60, dlq_policy=dead(count=1))
    assert client.create_queue(request).body.success
    found = get_queue(client)
    assert (found.visibility_timeout, found.dlq_policy.dead_letter_target_queue) == (60, "dead")
    assert (found.dlq_policy.enabled, str(found.dlq_policy.max_receive_count)) == (True, "1")
    queue = server.cloud.queues["orders"]
    queue.send("body")
    for _ in range(2):
        queue.receive(1)
        server.cloud.clock.advance(61)
        server.cloud.queues.bury_exhausted(queue)
    assert [len(one.messages) for one in server.cloud.queues] == [1, 0]
    off = dead(enabled=False, kind=m.SetQueueAttributesRequestDlqPolicy)
    change = m.SetQueueAttributesRequest(queue_name="orders", dlq_policy=off, visibility_timeout=30)
    client.set_queue_attributes(change)
    found = get_queue(client)
    assert (found.visibility_timeout, found.dlq_policy.enabled) == (30, False)
    client.delete_queue(m.DeleteQueueRequest(queue_name="orders"))
    refused("QueueNotExist", 404, lambda: get_queue(client))


def test_lists_are_paged_and_filtered_by_name(client):
    """A page says how many rows there are in all. It has 10 to 50 rows, whatever is asked."""
    for name in (*(f"a{number:02}" for number in range(12)), "b1"):
        client.create_queue(m.CreateQueueRequest(queue_name=name))
        client.create_topic(m.CreateTopicRequest(topic_name=name))

    def page(**asked):
        return client.list_queue(m.ListQueueRequest(queue_name="a", **asked)).body.data

    found = page(page_num=2)
    assert ([one.queue_name for one in found.page_data], found.total) == (["a10", "a11"], 12)
    sizes = {asked: page(page_size=asked).page_size for asked in (-1, 0, 2, 11, 51)}
    assert sizes == {-1: 10, 0: 10, 2: 10, 11: 11, 51: 50}
    assert page(page_num=-1).page_num == page(page_num=0).page_num == 1
    refused("InvalidParameter", 400, lambda: page(page_size="x"))
    topics = client.list_topic(m.ListTopicRequest(topic_name="b")).body.data
    assert [one.topic_name for one in topics.page_data] == ["b1"]


def test_a_topic_and_its_subscriptions(client, server):
    """What is created here receives what is published with SMQ's own API."""
    client.create_queue(m.CreateQueueRequest(queue_name="orders"))
    client.create_topic(m.CreateTopicRequest(topic_name="news", max_message_size=2048))
    client.set_topic_attributes(m.SetTopicAttributesRequest(topic_name="news", enable_logging=True))
    topic = client.get_topic_attributes(m.GetTopicAttributesRequest(topic_name="news")).body.data
    assert (topic.max_message_size, topic.logging_enabled) == (2048, True)
    names = {"topic_name": "news", "subscription_name": "copy"}
    endpoint = f"acs:mns:{server.cloud.region}:{server.cloud.account_id}:queues/orders"
    request = m.SubscribeRequest(**names, endpoint=endpoint, push_type="queue", message_tag="a")
    client.subscribe(request)
    change = m.SetSubscriptionAttributesRequest(**names, notify_strategy="EXPONENTIAL_DECAY_RETRY")
    client.set_subscription_attributes(change)
    found = client.get_subscription_attributes(m.GetSubscriptionAttributesRequest(**names)).body.data
    assert (found.notify_strategy, found.filter_tag) == ("EXPONENTIAL_DECAY_RETRY", "a")
    listed = client.list_subscription_by_topic(m.ListSubscriptionByTopicRequest(topic_name="news"))
    assert [one.endpoint for one in listed.body.data.page_data] == [endpoint]
    client.unsubscribe(m.UnsubscribeRequest(**names))
    refused(
        "SubscriptionNotExist",
        404,
        lambda: client.get_subscription_attributes(m.GetSubscriptionAttributesRequest(**names)),
    )
    client.delete_topic(m.DeleteTopicRequest(topic_name="news"))
    assert len(server.cloud.topics) == 0


@pytest.mark.parametrize(
    ("members", "code", "status"),
    [
        ({"queue_name": "orders", "visibility_timeout": 0}, "InvalidArgument", 400),
        ({"queue_name": "orders", "dlq_policy": dead("missing")}, "QueueNotExist", 404),
        ({"queue_name": "orders", "dlq_policy": dead("orders")}, "InvalidParameter", 400),
        ({"queue_name": "orders", "queue_type": "fifo"}, "InvalidParameter", 400),
        ({}, "InvalidParameter", 400),
    ],
)
def test_an_invalid_queue_is_refused(client, server, members, code, status):
    """The error names the parameter, and no queue is left."""
    refused(code, status, lambda: client.create_queue(m.CreateQueueRequest(**members)))
    assert len(server.cloud.queues) == 0


def test_existing_resources_with_other_attributes_are_refused(client):
    """Creating again with other attributes is an error, as in SMQ itself."""
    client.create_queue(m.CreateQueueRequest(queue_name="orders"))
    client.create_topic(m.CreateTopicRequest(topic_name="news"))
    request = m.CreateQueueRequest(queue_name="orders", visibility_timeout=60)
    refused("QueueAlreadyExist", 409, lambda: client.create_queue(request))
    client.create_topic(m.CreateTopicRequest(topic_name="news"))
    changed = m.CreateTopicRequest(topic_name="news", max_message_size=2048)
    refused("TopicAlreadyExist", 409, lambda: client.create_topic(changed))


def test_an_invalid_topic_is_not_created(client, server):
    """A refused call changes nothing."""
    request = m.CreateTopicRequest(topic_name="news", max_message_size=1)
    refused("InvalidArgument", 400, lambda: client.create_topic(request))
    assert len(server.cloud.topics) == 0


def subscribe(client, kind, endpoint):
    names = {"topic_name": "news", "subscription_name": "copy"}
    client.subscribe(m.SubscribeRequest(**names, endpoint=endpoint, push_type=kind))
    return client.get_subscription_attributes(m.GetSubscriptionAttributesRequest(**names)).body.data.endpoint


@pytest.mark.parametrize("form", ["{name}", "{place}queues/{name}", "{place}/queues/{name}"])
def test_a_queue_is_an_endpoint_by_its_name_or_its_resource_name(client, server, form):
    """The documentation of the call has all three forms, the one with the slash in Terraform's examples."""
    cloud = server.cloud
    queue, topic = cloud.queues.create("orders"), cloud.topics.create("news")
    place = f"acs:mns:{cloud.region}:{cloud.account_id}:"
    assert subscribe(client, "queue", form.format(name="orders", place=place)).endswith("queues/orders")
    cloud.topics.publish(topic.name, Outgoing("body"))
    assert len(queue.messages) == 1


@pytest.mark.parametrize(
    ("kind", "endpoint", "shown"),
    [
        ("email", "someone@example.com", "mail:someone@example.com"),
        ("alisms", "13000000000", "sms:13000000000"),
        ("mpush", "app", "push:app"),
        ("dm", "smq-ep:dm:1000000000000001:__dynamic", None),
        ("dysms", "smq-ep:dysms:1000000000000001:13000000000", None),
        ("fc", "acs:fc:cn-local:1000000000000001:services/s/functions/f", None),
        ("eventbus", "acs:eventbridge:cn-local:1000000000000001:eventbus/orders", None),
    ],
)
def test_other_endpoints_are_kept(client, server, kind, endpoint, shown):
    """They get nothing here, but the subscription exists."""
    server.cloud.topics.create("news")
    assert subscribe(client, kind, endpoint) == (shown or endpoint)


@pytest.mark.parametrize(
    ("kind", "endpoint", "code", "status"),
    [
        ("queue", "missing", "QueueNotExist", 404),
        ("http", "orders", "EndpointInvalid", 400),
        ("queues", "orders", "InvalidParameter", 400),
    ],
)
def test_an_invalid_endpoint_is_refused(client, server, kind, endpoint, code, status):
    server.cloud.topics.create("news")
    refused(code, status, lambda: subscribe(client, kind, endpoint))
    assert server.cloud.topics["news"].subscriptions == {}


def test_a_policy_limits_it_as_it_limits_smq(server):
    """Actions and resources are those of SMQ."""
    statement = {"Effect": "Allow", "Action": "mns:CreateQueue", "Resource": "acs:mns:*:*:/queues/orders"}
    server.cloud.credentials.register(
        "key", "secret", user_id="7", policy={"Version": "1", "Statement": [statement]}
    )
    limited = client_of(server, ("key", "secret"))
    limited.create_queue(m.CreateQueueRequest(queue_name="orders"))
    refused("NoPermission", 403, lambda: limited.create_queue(m.CreateQueueRequest(queue_name="others")))
    refused("NoPermission", 403, lambda: get_queue(limited))
