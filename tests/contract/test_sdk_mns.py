"""The official SDK of SMQ, unmodified, against the local cloud over HTTP."""

from __future__ import annotations

import json
import logging
import threading

import pytest
from mns.account import Account
from mns.message_property import MessagePropertyValue, PropertyType
from mns.mns_common import RequestInfo
from mns.mns_exception import MNSClientNetworkException, MNSServerException
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import Base64TopicMessage, DirectSMSInfo, TopicMessage, TopicMeta

import alilocal

# The SDK itself calls its deprecated counters.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


@pytest.fixture
def server():
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=5)) as running:
        yield running


def account_of(server, secret=None, token=""):
    cloud = server.cloud
    # A logger of its own, since the SDK's default one writes a file.
    logger = logging.getLogger("test_sdk_mns")
    return Account(server.url, cloud.access_key_id, secret or cloud.access_key_secret, token, logger=logger)


@pytest.fixture
def account(server):
    made = account_of(server)
    yield made
    made.get_client().close_connection()


@pytest.fixture
def queue(account):
    made = account.get_queue("orders")
    made.create(QueueMeta())
    return made


@pytest.fixture
def topic(account):
    made = account.get_topic("results")
    made.create(TopicMeta())
    return made


def refused(call, *args, **kwargs):
    with pytest.raises(MNSServerException) as caught:
        call(*args, **kwargs)
    assert caught.value.req_id
    return caught.value.type


def test_queue_attributes(account, server):
    """Create, get, set: every attribute goes there and back."""
    queue = account.get_queue("q1")
    meta = QueueMeta(vis_timeout=45, max_msg_size=2048, msg_ttl=600, delay_sec=1, polling_wait_sec=2)
    assert queue.create(meta) == f"{server.url}/queues/q1"
    assert queue.create(meta) == f"{server.url}/queues/q1"
    shown = queue.get_attributes()
    assert (shown.visibility_timeout, shown.maximum_message_size, shown.queue_name) == (45, 2048, "q1")
    assert (shown.message_retention_period, shown.delay_seconds, shown.polling_wait_seconds) == (600, 1, 2)
    assert (shown.active_messages, shown.inactive_messages, shown.delay_messages) == (0, 0, 0)
    assert shown.logging_enabled is False
    change = QueueMeta()
    change.visibility_timeout = 60
    change.logging_enabled = True
    queue.set_attributes(change)
    assert queue.get_attributes().visibility_timeout == 60
    assert queue.get_attributes().logging_enabled is True
    assert refused(queue.create, meta) == "QueueAlreadyExist"


def test_delete_queue(account, queue):
    """A deleted queue does not exist for anything; deleting it again succeeds."""
    queue.delete()
    assert refused(queue.get_attributes) == "QueueNotExist"
    assert refused(queue.send_message, Message("x")) == "QueueNotExist"
    assert refused(queue.receive_message) == "QueueNotExist"
    queue.delete()


def test_list_queues(account, server):
    """Lists have pages, prefixes and no empty marker."""
    for name in ("a-1", "a-2", "a-3", "b-1"):
        account.get_queue(name).create(QueueMeta())
    urls, marker = account.list_queue(prefix="a-", ret_number=2)
    assert urls == [f"{server.url}/queues/a-1", f"{server.url}/queues/a-2"]
    rest, end = account.list_queue(prefix="a-", ret_number=2, marker=marker)
    assert (rest, end) == ([f"{server.url}/queues/a-3"], "")
    assert account.list_queue(prefix="zzz") == ([], "")


def test_send_receive_delete(server, queue):
    """A message goes through whole, and comes with everything that the SDK insists on."""
    sent = queue.send_message(Message("käse <&> \r\n ]]>", priority=3), RequestInfo("my-id"))
    seen = queue.receive_message_with_str_body()
    assert seen.message_body == "käse <&> \r\n ]]>"
    assert seen.message_id == sent.message_id
    assert seen.message_body_md5 == sent.message_body_md5
    assert (seen.dequeue_count, seen.priority) == (1, 3)
    assert seen.next_visible_time > seen.first_dequeue_time >= seen.enqueue_time
    queue.delete_message(seen.receipt_handle)
    assert server.cloud.queues["orders"].messages == []
    assert refused(queue.delete_message, seen.receipt_handle) == "MessageNotExist"
    assert refused(queue.delete_message, "1-nonsense") == "ReceiptHandleError"


def test_plain_bodies(queue):
    """With the SDK's encoding off, the text travels as it is."""
    queue.set_encoding(False)
    queue.send_message(Message("käse\t\n <&> ]]>"))
    assert queue.peek_message().message_body == "käse\t\n <&> ]]>"
    assert queue.receive_message().message_body == "käse\t\n <&> ]]>"


def test_receipt_handles_travel_raw(queue):
    """Handles with + / = are put into the URL unescaped by the SDK and are found again."""
    queue.batch_send_message([Message(str(n)) for n in range(16)])
    handles = [message.receipt_handle for message in queue.batch_receive_message(16)]
    assert any("+" in handle for handle in handles)
    assert any("/" in handle for handle in handles)
    assert all("=" in handle for handle in handles)
    for handle in handles:
        queue.delete_message(handle)
    assert refused(queue.peek_message) == "MessageNotExist"


def test_peek(queue):
    """Peeking changes nothing, and shows a message that was never received with count 0."""
    queue.batch_send_message([Message("1"), Message("2")])
    seen = queue.peek_message_with_str_body()
    assert (seen.message_body, seen.dequeue_count) == ("1", 0)
    assert seen.first_dequeue_time == seen.enqueue_time
    assert [message.message_body for message in queue.batch_peek_message_with_str_body(10)] == ["1", "2"]
    assert queue.get_attributes().active_messages == 2


def test_visibility(server, queue):
    """A received message comes again when its time is over, or when its visibility is changed."""
    queue.send_message(Message("x"))
    first = queue.receive_message()
    assert refused(queue.receive_message) == "MessageNotExist"
    changed = queue.change_message_visibility(first.receipt_handle, 100)
    assert changed.receipt_handle != first.receipt_handle
    assert int(changed.next_visible_time) > first.next_visible_time
    assert refused(queue.delete_message, first.receipt_handle) == "MessageNotExist"
    server.cloud.clock.advance(101)
    again = queue.receive_message()
    assert (again.message_id, again.dequeue_count) == (first.message_id, 2)
    assert refused(queue.delete_message, changed.receipt_handle) == "MessageNotExist"
    server.cloud.behaviour.expired_receipt = "ReceiptHandleError"
    assert refused(queue.delete_message, changed.receipt_handle) == "ReceiptHandleError"


def test_delayed_messages(server, queue):
    """A delayed message has a handle at once, shows later, and counts as delayed until then."""
    sent = queue.send_message(Message("later", delay_seconds=60))
    assert sent.receipt_handle
    assert refused(queue.receive_message) == "MessageNotExist"
    assert queue.get_attributes().delay_messages == 1
    server.cloud.clock.advance(60)
    assert queue.receive_message_with_str_body().message_body == "later"


def test_long_poll_wakes_on_send(server, queue):
    """A receive that waits gets a message that is sent meanwhile."""
    timer = threading.Timer(0.05, server.cloud.queues["orders"].send, ["aGk="])
    timer.start()
    assert queue.receive_message_with_str_body(wait_seconds=30).message_body == "hi"
    timer.join()


def test_long_poll_wakes_on_the_clock(server, queue):
    """A receive that waits ends empty as soon as the cloud's clock has passed its time."""
    timer = threading.Timer(0.05, server.cloud.clock.advance, [31])
    timer.start()
    assert refused(queue.receive_message, 30) == "MessageNotExist"
    timer.join()


def test_batches(queue):
    """A batch is sent, received and deleted as one."""
    sent = queue.batch_send_message([Message(f"m{n}", priority=16 - n) for n in range(10)])
    assert len({message.message_id for message in sent}) == 10
    received = queue.batch_receive_message_with_str_body(16, wait_seconds=0)
    assert [message.message_body for message in received] == [f"m{n}" for n in reversed(range(10))]
    queue.batch_delete_message([message.receipt_handle for message in received])
    assert queue.get_attributes().inactive_messages == 0


def test_partial_failure_of_a_batch_send(account):
    """Messages that are refused are named in order, the others are sent."""
    queue = account.get_queue("small")
    meta = QueueMeta(max_msg_size=1024)
    queue.create(meta)
    with pytest.raises(MNSServerException) as caught:
        queue.batch_send_message([Message("ok"), Message("x" * 2000), Message("ok", delay_seconds=5)])
    assert caught.value.type == "InvalidArgument"
    assert [sorted(entry) for entry in caught.value.sub_errors] == [
        ["MessageBodyMD5", "MessageId"],
        ["ErrorCode", "ErrorMessage"],
        ["MessageBodyMD5", "MessageId"],
    ]
    attributes = queue.get_attributes()
    assert (attributes.active_messages, attributes.delay_messages) == (1, 1)


def test_partial_failure_of_a_batch_delete(queue):
    """Only the handles that failed are named, the others are gone."""
    queue.send_message(Message("x"))
    handle = queue.receive_message().receipt_handle
    with pytest.raises(MNSServerException) as caught:
        queue.batch_delete_message([handle, "1-broken"])
    assert [entry["ReceiptHandle"] for entry in caught.value.sub_errors] == ["1-broken"]
    assert caught.value.type == "ReceiptHandleError"
    assert queue.get_attributes().inactive_messages == 0


def test_the_connection_stays_in_step_after_a_delete_with_body(queue):
    """A DELETE with a body is read whole, so the next request on the connection is understood."""
    queue.batch_send_message([Message("1"), Message("2")])
    first = queue.receive_message()
    queue.batch_delete_message([first.receipt_handle])
    assert queue.receive_message_with_str_body().message_body == "2"


def test_message_properties(queue):
    """User properties of every type come back as they were sent."""
    message = Message("x", message_group_id="g")
    message.add_user_property("name", MessagePropertyValue(PropertyType.STRING, "värde"))
    message.add_user_property("blob", MessagePropertyValue(PropertyType.BINARY, b"\x00\xff"))
    queue.send_message(message)
    seen = queue.receive_message()
    assert seen.message_group_id == "g"
    assert seen.get_user_properties()["name"].get_string_value_by_type() == "värde"
    assert seen.get_user_properties()["blob"].get_binary_value() == b"\x00\xff"


@pytest.mark.parametrize(
    "properties",
    [
        {f"p{number}": "x" for number in range(51)},
        {"": "x"},
        {".name": "x"},
        {"a..b": "x"},
        {"name.": "x"},
        {"a b": "x"},
        {"x" * 257: "x"},
        {"name": "x" * 4097},
        {f"p{number}": "x" * 4000 for number in range(17)},
    ],
)
def test_properties_have_limits(server, queue, properties):
    """The number, names and lengths of properties are limited, and their size together with the body."""

    def message(given):
        made = Message("x")
        made.set_user_properties(
            {name: MessagePropertyValue(PropertyType.STRING, value) for name, value in given.items()}
        )
        return made

    assert refused(queue.send_message, message(properties)) == "InvalidArgument"
    assert server.cloud.queues["orders"].messages == []
    queue.send_message(message({f"p.{number}_-": "x" * 1000 for number in range(50)}))


def test_dead_letters(server, account, queue):
    """A message that was received too often is in the other queue, with its origin."""
    dead = account.get_queue("dead")
    dead.create(QueueMeta())
    server.cloud.queues["orders"].dead_letter("dead", 2)
    sent = queue.send_message(Message("poison"))
    for count in (1, 2):
        assert queue.receive_message().dequeue_count == count
        server.cloud.clock.advance(31)
    assert refused(queue.receive_message) == "MessageNotExist"
    letter = dead.receive_message_with_str_body()
    assert (letter.message_body, letter.dequeue_count) == ("poison", 1)
    properties = {
        name: value.get_string_value_by_type() for name, value in letter.get_system_properties().items()
    }
    assert properties["DLQOriginMessageId"] == sent.message_id
    assert properties["DLQSourceArn"] == endpoint(server)


def test_switches_of_what_is_not_documented(server, account, queue, topic):
    """Each makes the service answer the other way."""
    behaviour = server.cloud.behaviour
    queue.set_encoding(False)
    subscribe(account, server, "s", "SIMPLIFIED")
    message = TopicMessage("not base64!")
    message.add_user_property("name", MessagePropertyValue(PropertyType.STRING, "v"))
    for dropped in (False, True):
        behaviour.pushed_properties = "dropped" if dropped else "kept"
        topic.publish_message(message)
        pushed = queue.receive_message()
        assert ("name" in pushed.get_user_properties()) is not dropped
    queue.send_message(Message("not base64!", message_group_id="g"))
    behaviour.group_id = "refused"
    assert refused(queue.send_message, Message("x", message_group_id="g")) == "InvalidArgument"
    behaviour.plain_body = "refused"
    assert refused(queue.send_message, Message("not base64!")) == "InvalidArgument"
    queue.send_message(Message("aGk="))
    handle = queue.receive_message().receipt_handle
    changed = queue.change_message_visibility(handle, 0)
    assert changed.receipt_handle != handle
    handle = queue.receive_message().receipt_handle
    behaviour.zero_visibility = "refused"
    assert refused(queue.change_message_visibility, handle, 0) == "InvalidArgument"


def test_security_token(server):
    """The token, which is not signed, must be the key's own."""
    good = account_of(server, token=server.cloud.security_token)
    assert good.list_queue() == ([], "")
    good.get_client().close_connection()
    bad = account_of(server, token="wrong")
    assert refused(bad.list_queue) == "AccessDenied"
    bad.get_client().close_connection()


def test_wrong_secret(server):
    """A signature with another secret is refused with SMQ's own code."""
    account = account_of(server, secret="wrong")
    assert refused(account.list_queue) == "SignatureDoesNotMatch"
    account.get_client().close_connection()


def test_a_client_whose_clock_is_late(server_ahead):
    """A request from a client whose clock is late is refused as expired."""
    account = account_of(server_ahead)
    assert refused(account.list_queue) == "TimeExpired"
    account.get_client().close_connection()


def test_injected_faults(server, queue):
    """Throttling arrives as the SDK's server error, a page of HTML as damaged data."""
    server.cloud.faults.add(service="smq", kind="status", status=429, code="TooManyRequests")
    assert refused(queue.send_message, Message("x")) == "TooManyRequests"
    server.cloud.faults.add(service="smq", kind="html")
    with pytest.raises(MNSClientNetworkException) as caught:
        queue.send_message(Message("x"))
    assert caught.value.type == "RespDataDamaged"
    assert server.cloud.queues["orders"].messages == []


def test_the_sdk_sends_twice_when_the_connection_drops(server, queue):
    """A connection that drops after the service acted makes the SDK send again: two messages."""
    server.cloud.faults.add(service="smq", operation="SendMessage", kind="truncate", when="after")
    with pytest.raises(MNSClientNetworkException):
        queue.send_message(Message("once"))
    queue.send_message(Message("once"))
    assert len(server.cloud.queues["orders"].messages) == 2


def test_topic_attributes(account, server):
    """Create, get, set, list and delete a topic."""
    topic = account.get_topic("t1")
    assert topic.create(TopicMeta(maximum_message_size=2048)) == f"{server.url}/topics/t1"
    shown = topic.get_attributes()
    assert (shown.topic_name, shown.maximum_message_size, shown.message_count) == ("t1", 2048, 0)
    assert shown.message_retention_period == 86400
    topic.set_attributes(TopicMeta(maximum_message_size=4096, logging_enabled=True))
    assert topic.get_attributes().maximum_message_size == 4096
    assert topic.get_attributes().logging_enabled is True
    assert refused(topic.create, TopicMeta(maximum_message_size=2048)) == "TopicAlreadyExist"
    assert account.list_topic() == ([f"{server.url}/topics/t1"], "")
    topic.delete()
    assert account.list_topic() == ([], "")
    assert refused(topic.get_attributes) == "TopicNotExist"


def endpoint(server, name="orders"):
    return f"acs:mns:{server.cloud.region}:{server.cloud.account_id}:queues/{name}"


def subscribe(account, server, name, content_format, tag=""):
    subscription = account.get_subscription("results", name)
    meta = SubscriptionMeta(endpoint(server), "BACKOFF_RETRY", content_format, tag)
    return subscription, subscription.subscribe(meta)


def test_subscription_attributes(account, server, queue, topic):
    """Subscribe, get, set, list and unsubscribe."""
    subscription, url = subscribe(account, server, "s-1", "JSON", "red")
    assert url == f"{server.url}/topics/results/subscriptions/s-1"
    shown = subscription.get_attributes()
    assert (shown.endpoint, shown.filter_tag, shown.topic_name) == (endpoint(server), "red", "results")
    assert (shown.notify_strategy, shown.notify_content_format) == ("BACKOFF_RETRY", "JSON")
    subscription.set_attributes(SubscriptionMeta(notify_strategy="EXPONENTIAL_DECAY_RETRY"))
    assert subscription.get_attributes().notify_strategy == "EXPONENTIAL_DECAY_RETRY"
    subscribe(account, server, "s-2", "XML")
    assert topic.list_subscription(ret_number=1) == ([url], "s-2")
    assert topic.list_subscription(prefix="s-2") == ([f"{url[:-1]}2"], "")
    subscription.unsubscribe()
    assert refused(subscription.get_attributes) == "SubscriptionNotExist"


def test_subscriptions_are_checked(account, server, queue, topic):
    """An endpoint elsewhere, a queue that is missing or too small, and a different second one are refused."""
    subscription = account.get_subscription("results", "s")
    foreign = endpoint(server).replace(server.cloud.account_id, "2000000000000002")
    assert refused(subscription.subscribe, SubscriptionMeta(foreign)) == "EndpointInvalid"
    assert refused(subscription.subscribe, SubscriptionMeta("ftp://127.0.0.1/x")) == "EndpointInvalid"
    missing = SubscriptionMeta(endpoint(server, "nowhere"))
    assert refused(subscription.subscribe, missing) == "QueueNotExist"
    account.get_queue("small").create(QueueMeta(max_msg_size=1024))
    small = SubscriptionMeta(endpoint(server, "small"))
    assert refused(subscription.subscribe, small) == "EndpointInvalid"
    subscription.subscribe(SubscriptionMeta(endpoint(server)))
    other = SubscriptionMeta(endpoint(server), notify_content_format="JSON")
    assert refused(subscription.subscribe, other) == "SubscriptionAlreadyExist"


def test_publish_to_queues(account, server, queue, topic):
    """A published message reaches queues as XML, JSON or bare, and a filtered one only with its tag."""
    for content_format in ("XML", "JSON", "SIMPLIFIED", "STREAM"):
        subscribe(account, server, f"as-{content_format}", content_format)
    subscribe(account, server, "filtered", "SIMPLIFIED", "blue")
    published = topic.publish_message(TopicMessage("bödy <&>", "red"))
    queue.set_encoding(False)
    bodies = [message.message_body for message in queue.batch_receive_message(16)]
    assert len(bodies) == 4
    assert bodies.count("bödy <&>") == 2
    (as_json,) = [json.loads(body) for body in bodies if body.startswith("{")]
    (as_xml,) = [body for body in bodies if body.startswith("<?xml")]
    assert as_json == {
        "TopicOwner": server.cloud.account_id,
        "TopicName": "results",
        "Subscriber": server.cloud.account_id,
        "SubscriptionName": "as-JSON",
        "MessageId": published.message_id,
        "Message": "bödy <&>",
        "MessageMD5": published.message_body_md5,
        "MessageTag": "red",
        "PublishTime": as_json["PublishTime"],
    }
    assert as_json["PublishTime"].isdigit()
    assert "<Message>bödy &lt;&amp;&gt;</Message>" in as_xml
    topic.publish_message(TopicMessage("again", "blue"))
    assert len(queue.batch_receive_message(16)) == 5


def test_published_messages_are_shown(server, topic):
    """What was published is in the topic, encoded only if the publisher encoded it."""
    sms = DirectSMSInfo(free_sign_name="s", template_code="t", single=True)
    plain = topic.publish_message(TopicMessage("plain", direct_sms=sms))
    topic.publish_message(Base64TopicMessage("encoded"))
    first, second = server.cloud.topics["results"].published
    assert (first.message_id, first.body, second.body) == (plain.message_id, "plain", "ZW5jb2RlZA==")
    assert topic.get_attributes().message_count == 2


def test_an_envelope_is_not_base64(account, server, queue, topic):
    """A queue object that decodes base64 misreads what a topic pushed, as it does in the cloud."""
    subscribe(account, server, "s", "SIMPLIFIED")
    topic.publish_message(TopicMessage("no base64!"))
    assert queue.receive_message().message_body != b"no base64!"
