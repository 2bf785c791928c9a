"""The clients of SMQ, the function's and the one of operators that extends it, against a scripted service."""

from __future__ import annotations

import base64
import json

import pytest

from hpoq.clock import Budget
from hpoq.cloud.caller import RetryPolicy
from hpoq.cloud.signing import Credentials, mns_authorization
from hpoq.cloud.smq import MOST_BODY_BYTES, default_endpoint, fits
from hpoq.cloud.transport import Response
from hpoq.cloud.xml import parse
from hpoq.contract.identity import derive_key
from hpoq.contract.request import parse_request
from hpoq.errors import (
    Denied,
    Invalid,
    NotFound,
    RequestRejected,
    SettingsError,
    Throttled,
    UnknownEnd,
)
from hpoq.producer import Queue
from hpoq.testing import FakeClock
from hpoqctl.queueclient import QueueClient, queue_endpoint

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"


def xml(root: str, **members: object) -> bytes:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return f'<?xml version="1.0"?><{root} xmlns="{NAMESPACE}">{inner}</{root}>'.encode()


def failure(code: str, message: str = "m") -> bytes:
    return xml("Error", Code=code, Message=message, RequestId="r", HostId="h")


SENT = xml("Message", MessageId="m1", MessageBodyMD5="ABC")
MESSAGE = {
    "MessageId": "m1",
    "ReceiptHandle": "1-a+/==",
    "MessageBody": "Ym9keQ==",
    "EnqueueTime": 1,
    "NextVisibleTime": 2,
    "DequeueCount": 3,
}


@pytest.fixture
def client(transport, serve, credentials):
    def make(*script, retry=None) -> QueueClient:
        server = serve(*script)
        made = QueueClient(transport, server.url, lambda: credentials, read_timeout=5, retry=retry)
        made.server = server
        return made

    return make


@pytest.fixture
def scripted(script, credentials):
    """Makes a client whose calls are answered as scripted; its attribute `sent` has what it sent."""

    def make(*steps: Response) -> QueueClient:
        transport = script(*steps)
        made = QueueClient(transport, "https://1.mns.cn-shanghai.aliyuncs.com", lambda: credentials)
        made.sent = transport.sent
        return made

    return make


def parsed(raw: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return first.removesuffix(" HTTP/1.1"), headers, body


RECEIPT = xml("ChangeVisibility", ReceiptHandle="new")
CALLS = {
    "SendMessage": (lambda smq, **options: smq.send_message("q", b"x", **options), "POST", SENT),
    "PublishMessage": (lambda smq, **options: smq.publish_message("t", "x", **options), "POST", SENT),
    "BatchReceiveMessage": (lambda smq, **options: smq.receive_messages("q", **options), "GET", SENT),
    "BatchPeekMessage": (lambda smq: smq.peek("q"), "GET", SENT),
    "DeleteMessage": (lambda smq: smq.delete_message("q", "h"), "DELETE", b""),
    "ChangeMessageVisibility": (lambda smq: smq.change_visibility("q", "h", 9), "PUT", RECEIPT),
    "CreateQueue": (lambda smq: smq.create_queue("q", retention_period=60), "PUT", b""),
    "GetQueueAttributes": (
        lambda smq: smq.get_queue_attributes("q"),
        *("GET", xml("Queue", QueueName="q")),
    ),
    "Subscribe": (lambda smq: smq.subscribe("t", "s", "e"), "PUT", b""),
    "DeleteQueue": (lambda smq: smq.delete_queue("q"), "DELETE", b""),
    "Unsubscribe": (lambda smq: smq.unsubscribe("t", "s"), "DELETE", b""),
}
TARGETS = {
    "SendMessage": "/queues/q/messages",
    "PublishMessage": "/topics/t/messages",
    "BatchReceiveMessage": "/queues/q/messages?numOfMessages=16&waitseconds=0",
    "BatchPeekMessage": "/queues/q/messages?numOfMessages=1&peekonly=true",
    "DeleteMessage": "/queues/q/messages?ReceiptHandle=h",
    "ChangeMessageVisibility": "/queues/q/messages?receiptHandle=h&visibilityTimeout=9",
    "CreateQueue": "/queues/q",
    "GetQueueAttributes": "/queues/q",
    "Subscribe": "/topics/t/subscriptions/s",
    "DeleteQueue": "/queues/q",
    "Unsubscribe": "/topics/t/subscriptions/s",
}


@pytest.mark.parametrize("operation", CALLS)
def test_the_request_of_each_operation(scripted, credentials, operation):
    """Each operation has its own method and target, and is signed for them; those of a message take a budget."""
    call, method, body = CALLS[operation]
    smq, budget = scripted(Response(200, {}, body)), Budget(FakeClock())
    takes_budget = operation in ("SendMessage", "PublishMessage", "BatchReceiveMessage")
    call(smq, **({"budget": budget} if takes_budget else {}))
    ((request, headers, options),) = smq.sent
    assert (request.service, request.operation) == ("smq", operation)
    assert (request.method, request.target) == (method, TARGETS[operation])
    assert headers["Date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert headers["Host"] == "1.mns.cn-shanghai.aliyuncs.com"
    assert headers["Authorization"] == mns_authorization(method, request.target, headers, credentials)
    has_body = operation in ("SendMessage", "PublishMessage", "CreateQueue", "Subscribe")
    assert ("Content-Type" in headers) == bool(request.body) == has_body
    assert (options["budget"] is budget) == takes_budget
    assert (options["connect_timeout"], options["read_timeout"]) == (3.0, 10.0)


@pytest.mark.parametrize("operation", CALLS)
def test_every_error_names_its_operation(scripted, operation):
    """A missing queue, topic or subscription is NotFound, whichever operation names it."""
    with pytest.raises(NotFound) as caught:
        CALLS[operation][0](scripted(Response(404, {}, failure("QueueNotExist"))))
    assert (caught.value.service, caught.value.operation) == ("smq", operation)


@pytest.mark.parametrize("operation", CALLS)
def test_every_operation_is_repeated(scripted, operation):
    """A call is repeated after an unknown end, because its repetition does no harm."""
    call, _, body = CALLS[operation]
    smq = scripted(Response(502, {}, b""), Response(200, {}, body))
    call(smq)
    assert [request.target for request, _, _ in smq.sent] == [TARGETS[operation]] * 2


@pytest.mark.parametrize(("code", "tries"), [("InternalError", 1), ("QpsLimitExceeded", 2)])
def test_a_send_that_must_not_be_doubled(scripted, code, tries):
    """A send that is not repeatable is sent again only if the service has certainly not taken the first one."""
    status = 500 if code == "InternalError" else 400
    smq = scripted(Response(status, {}, failure(code)), Response(201, {}, SENT))
    if tries == 1:
        with pytest.raises(UnknownEnd):
            smq.send_message("q", b"x", repeatable=False)
    else:
        smq.send_message("q", b"x", repeatable=False)
    assert len(smq.sent) == tries


@pytest.mark.parametrize("delay", [0, 1, 604_800])
def test_a_delay(scripted, delay):
    """A delay is sent in seconds; one of 0 is left out, so that the queue's own applies."""
    smq = scripted(Response(201, {}, SENT))
    smq.send_message("q", b"x", delay_seconds=delay)
    assert parse(smq.sent[0][0].body).get("DelaySeconds") == (str(delay) if delay else None)


def test_a_message_fits_if_it_can_be_sent(scripted):
    """What is said to fit can be sent, and one byte more cannot: 64 KB in base64."""
    most, smq = 49_152, scripted(Response(201, {}, SENT))
    assert fits(b"x" * most)
    assert not fits(b"x" * (most + 1))
    smq.send_message("q", b"x" * most)
    with pytest.raises(Invalid, match="has 65540 bytes on the wire, at most 65536") as caught:
        smq.send_message("q", b"x" * (most + 1))
    assert (caught.value.service, caught.value.operation) == ("smq", "SendMessage")
    with pytest.raises(Invalid) as caught:
        smq.publish_message("t", "x" * 65_537)
    assert caught.value.operation == "PublishMessage"


@pytest.mark.parametrize(
    ("wanted", "left", "asked"),
    [
        (0, None, 0),
        (29, None, 29),
        (31, None, 30),
        (30, 43.0, 30),
        (30, 42.9, 29),
        (30, 14.0, 1),
        (30, 12, 0),
    ],
)
def test_the_read_time_out_contains_the_wait(scripted, wanted, left, asked):
    """A wait of at most 30 s, and of what connecting and reading leave of the budget, lengthens the read time-out."""
    smq, clock = scripted(Response(404, {}, failure("MessageNotExist"))), FakeClock()
    budget = None if left is None else Budget(clock, clock.monotonic() + left)
    assert smq.receive_messages("q", count=3, wait_seconds=wanted, budget=budget) == ()
    ((request, _, options),) = smq.sent
    assert request.target == f"/queues/q/messages?numOfMessages=3&waitseconds={asked}"
    assert options["read_timeout"] == 10.0 + asked


def test_send(client, answer):
    """A body is sent as base64 in the service's namespace."""
    smq = client(answer(201, SENT))
    assert smq.send_message("q", b"\x00<&>", delay_seconds=7) == "m1"
    line, headers, body = parsed(smq.server.requests[0])
    assert line == "POST /queues/q/messages"
    assert headers["x-mns-version"] == "2015-06-06"
    assert b'<Message xmlns="http://mns.aliyuncs.com/doc/v1/">' in body
    root = parse(body)
    assert base64.b64decode(root.get("MessageBody")) == b"\x00<&>"
    assert root.get("DelaySeconds") == "7"


def test_send_at_once(client, answer):
    """A delay of 0 is left out."""
    smq = client(answer(201, SENT))
    smq.send_message("q", b"x")
    assert parse(parsed(smq.server.requests[0])[2]).get("DelaySeconds") is None


def test_signed(client, answer, credentials):
    """A request has a signature that covers it, and the security token in a header beside it."""
    smq = client(answer(201, SENT))
    smq.send_message("q", b"x")
    line, headers, _ = parsed(smq.server.requests[0])
    method, target = line.split(" ")
    assert headers["authorization"] == mns_authorization(method, target, headers, credentials)
    assert headers["security-token"] == "CANARY-TOKEN"
    assert headers["date"].endswith(" GMT")


def test_no_token(transport, serve, answer):
    """Lasting credentials send no token header."""
    server = serve(answer(201, SENT))
    QueueClient(transport, server.url, lambda: Credentials("i", "s")).send_message("q", b"x")
    assert b"security-token" not in server.requests[0]


@pytest.mark.parametrize(
    ("operation", "body", "code"),
    [
        ("SendMessage", b"x" * (MOST_BODY_BYTES * 3 // 4 + 1), "MessageBodyTooLarge"),
        ("PublishMessage", "x" * (MOST_BODY_BYTES + 1), "MessageBodyTooLarge"),
        ("PublishMessage", "测" * (MOST_BODY_BYTES // 3 + 1), "MessageBodyTooLarge"),
        ("PublishMessage", "\x00", "InvalidMessageBody"),
        ("PublishMessage", "\ud800", "InvalidMessageBody"),
    ],
)
def test_unsendable(client, answer, operation, body, code):
    """A body that is too large or that XML cannot carry is refused before anything is sent."""
    smq = client(answer(201, SENT))
    call = smq.send_message if operation == "SendMessage" else smq.publish_message
    with pytest.raises(Invalid) as caught:
        call("q", body)
    assert (caught.value.code, caught.value.operation, smq.server.connections) == (code, operation, 0)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ((400, failure("QpsLimitExceeded")), Throttled),
        ((429, failure("TooManyRequests")), Throttled),
        ((500, failure("InternalError")), UnknownEnd),
        ((502, b"<html>"), UnknownEnd),
        ((201, b""), UnknownEnd),
        ((201, b"<html></html>"), UnknownEnd),
        ((201, b'<!DOCTYPE a [<!ENTITY b "c">]><Message><MessageId>&b;</MessageId></Message>'), UnknownEnd),
    ],
)
def test_sending_is_repeated(client, answer, clock, step, kind):
    """A send is repeated after any transient end, bounded and with waits in between."""
    smq = client(answer(*step), answer(201, SENT))
    assert smq.send_message("q", b"x") == "m1"
    smq = client(answer(*step), retry=RetryPolicy(attempts=2))
    with pytest.raises(kind):
        smq.send_message("q", b"x")
    assert (len(smq.server.requests), len(clock.slept)) == (2, 2)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "TopicNotExist", NotFound),
        (403, "AccessDenied", Denied),
        (408, "TimeExpired", Denied),
        (400, "InvalidArgument", Invalid),
    ],
)
def test_publish_fails(client, answer, status, code, kind):
    """An answer that will not change is raised at once, with all the service said but our secrets."""
    smq = client(answer(status, failure(code, "about CANARY-SECRET")))
    with pytest.raises(kind) as caught:
        smq.publish_message("t", "x")
    assert (caught.value.code, caught.value.request_id, caught.value.http_status) == (code, "r", status)
    assert "CANARY" not in str(caught.value)
    assert len(smq.server.requests) == 1


@pytest.mark.parametrize("tag", ["x", None])
def test_publish(client, answer, tag):
    """A publish is plain, with its tag."""
    smq = client(answer(201, SENT))
    smq.publish_message("t", '{"a":"<"}', tag=tag)
    line, _, body = parsed(smq.server.requests[0])
    root = parse(body)
    assert (line, root.get("MessageBody"), root.get("MessageTag")) == (
        "POST /topics/t/messages",
        '{"a":"<"}',
        tag,
    )


def test_receive(client, answer):
    """A receive returns the messages with their bodies as they lie there."""
    second = xml("Message", MessageId="m2", MessageBody="").decode().partition("?>")[2]
    body = xml("Messages").replace(
        b"</Messages>", xml("Message", **MESSAGE).partition(b"?>")[2] + second.encode() + b"</Messages>"
    )
    smq = client(answer(200, body))
    first, other = smq.receive_messages("q", count=2, wait_seconds=3)
    assert (first.message_id, first.body, first.receipt_handle) == ("m1", "Ym9keQ==", "1-a+/==")
    assert (first.enqueued_at, first.dequeue_count) == (1, 3)
    assert (other.body, other.receipt_handle, other.dequeue_count) == ("", None, 0)
    line, _, _ = parsed(smq.server.requests[0])
    assert line == "GET /queues/q/messages?numOfMessages=2&waitseconds=3"
    assert "Ym9keQ" not in repr(first)


def test_receive_nothing(client, answer):
    """An empty queue gives no message; a missing queue is an error."""
    smq = client(answer(404, failure("MessageNotExist")), answer(404, failure("QueueNotExist")))
    assert smq.receive_messages("q") == ()
    with pytest.raises(NotFound):
        smq.receive_messages("q")


def test_long_poll_outlasts_the_read_timeout(transport, serve, answer, credentials):
    """The read time-out counts from the end of the wait that was asked for."""
    server = serve(
        lambda connection, _: (
            server.stop.wait(0.4) or connection.sendall(answer(404, failure("MessageNotExist")))
        )
    )
    smq = QueueClient(
        transport, server.url, lambda: credentials, read_timeout=0.3, retry=RetryPolicy(attempts=1)
    )
    assert smq.receive_messages("q", wait_seconds=30) == ()


def test_peek(client, answer):
    """A peek reads a single message as well as a batch."""
    smq = client(answer(200, xml("Message", MessageId="m1", MessageBody="x")))
    assert [message.receipt_handle for message in smq.peek("q")] == [None]
    assert parsed(smq.server.requests[0])[0] == "GET /queues/q/messages?numOfMessages=1&peekonly=true"


def test_delete(client, answer):
    """A receipt handle is encoded, and signed in that form."""
    smq = client(answer(204))
    assert smq.delete_message("q", "1-a+/==") is None
    assert parsed(smq.server.requests[0])[0] == "DELETE /queues/q/messages?ReceiptHandle=1-a%2B%2F%3D%3D"


def test_change_visibility(client, answer):
    """A change of visibility returns the new receipt handle."""
    smq = client(answer(200, xml("ChangeVisibility", ReceiptHandle="new", NextVisibleTime=5)))
    assert smq.change_visibility("q", "old", 60) == "new"
    line = parsed(smq.server.requests[0])[0]
    assert line == "PUT /queues/q/messages?receiptHandle=old&visibilityTimeout=60"


@pytest.mark.parametrize("status", [201, 204])
def test_create_queue(client, answer, status):
    """A queue is created, or found as it should be, with its retention period."""
    smq = client(answer(status, Location="/queues/q"))
    smq.create_queue("q", retention_period=60)
    line, _, body = parsed(smq.server.requests[0])
    assert line == "PUT /queues/q"
    root = parse(body)
    assert root.name == "Queue"
    assert [(child.name, child.text) for child in root.children] == [("MessageRetentionPeriod", "60")]


def test_error_in_a_success(client, answer):
    """An error document is an error even with a status of success."""
    with pytest.raises(NotFound):
        client(answer(200, failure("QueueNotExist"))).delete_message("q", "h")


def test_a_subscription_of_a_queue(client, answer):
    """A queue is subscribed to a topic by its name, and gets the published body alone."""
    smq = client(answer(201))
    smq.subscribe("t", "s", queue_endpoint("1234", "cn-shanghai", "q"))
    line, _, body = parsed(smq.server.requests[0])
    assert line == "PUT /topics/t/subscriptions/s"
    root = parse(body)
    assert root.name == "Subscription"
    assert root.get("Endpoint") == "acs:mns:cn-shanghai:1234:queues/q"
    assert root.get("NotifyContentFormat") == "SIMPLIFIED"


def test_attributes(client, answer):
    """Attributes are read, absent and odd ones as None."""
    body = xml("Queue", QueueName="q", VisibilityTimeout=30, ActiveMessages=2, DelayMessages="x")
    got = client(answer(200, body)).get_queue_attributes("q")
    assert (got.name, got.visibility_timeout, got.active_messages) == ("q", 30, 2)
    assert (got.delayed_messages, got.retention_period) == (None, None)


def test_names_are_encoded(client, answer):
    """A name cannot reach into another path."""
    smq = client(answer(204))
    smq.create_queue("a/../b?c", retention_period=60)
    assert parsed(smq.server.requests[0])[0] == "PUT /queues/a%2F..%2Fb%3Fc"
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="name"):
            smq.create_queue(name, retention_period=60)


REQUEST = {"experiment": {"Name": "x"}}
MINIMAL_CONFIG = {
    "platform_config": {"name": "DLC", "cmd": ["run"]},
    "metric_config": {
        "metric_type": "stdout",
        "metric_source": ["cmd1"],
        "final_mode": "best",
        "metric_dict": {"loss": 1},
    },
    "oss_config": {"accessKeySecret": "CANARY"},
}


def sent_body(server, number=0):
    return json.loads(base64.b64decode(parse(parsed(server.requests[number])[2]).get("MessageBody")))


def test_queue(client, answer):
    """A request goes to the queue in its wrapped form; its key comes from the message's id."""
    smq = client(answer(201, SENT))
    sent = Queue(smq, "mine").send({"Name": "x"}, delay_seconds=1)
    assert (sent.message_id, sent.key) == ("m1", derive_key("smq", "m1"))
    assert parsed(smq.server.requests[0])[0] == "POST /queues/mine/messages"
    assert sent_body(smq.server) == {**REQUEST, "schemaVersion": "1"}


def test_queue_with_a_key(client, answer, reset):
    """With a key, a send with an unknown end is repeated, and both messages carry the key."""
    smq = client(lambda connection, _raw: reset(connection), answer(201, SENT))
    sent = Queue(smq, "mine").send(REQUEST, idempotency_key="k")
    assert sent.key == derive_key("producer", "k")
    assert [sent_body(smq.server, number)["idempotencyKey"] for number in (0, 1)] == ["k", "k"]


def test_queue_with_a_cloudevent(client, answer, reset):
    """A CloudEvent is sent as it is, because its source and id act as the key, unless there is another key."""
    event = {"specversion": "1.0", "type": "t", "source": "/a", "id": "1", "data": REQUEST}
    smq = client(lambda connection, _raw: reset(connection), *[answer(201, SENT)] * 3)
    assert Queue(smq, "mine").send(event).key == derive_key("cloudevent", '{"id":"1","source":"/a"}')
    assert [sent_body(smq.server, number) for number in (0, 1)] == [event] * 2
    assert Queue(smq, "mine").send(event, idempotency_key="k").key == derive_key("producer", "k")
    assert sent_body(smq.server, 2)["idempotencyKey"] == "k"


@pytest.mark.parametrize("failing", ["reset", "status"])
def test_queue_without_a_key(client, answer, reset, failing):
    """Without a key each message is an experiment of its own, so an unknown end is not repeated."""
    step = answer(500, failure("InternalServerError")) if failing == "status" else lambda c, _raw: reset(c)
    smq = client(step, answer(201, SENT))
    with pytest.raises(UnknownEnd):
        Queue(smq, "mine").send(REQUEST)
    assert len(smq.server.requests) == 1


def test_queue_validates_before_sending(client, answer):
    """A request that violates the contract is refused at once, and nothing is sent."""
    smq = client(answer(201, SENT))
    with pytest.raises(RequestRejected, match="unknown member"):
        Queue(smq, "mine").send({"experiment": {"Nmae": "x"}})
    with pytest.raises(ValueError, match="of its own"):
        Queue(smq, "mine").send({**REQUEST, "idempotencyKey": "a"}, idempotency_key="b")
    assert smq.server.requests == []


def test_queue_takes_models(client, answer):
    """A request model is sent as it is, its secrets with it."""
    document = {"experiment": {"HpoExperimentConfiguration": MINIMAL_CONFIG}, "idempotencyKey": "k"}
    smq = client(answer(201, SENT))
    Queue(smq, "mine").send(parse_request(json.dumps(document).encode()).request, idempotency_key="k")
    assert sent_body(smq.server) == {**document, "schemaVersion": "1"}


def test_queue_rejects_what_is_not_an_object(client):
    """A list is rejected by the contract, before anything is sent."""
    smq = client()
    with pytest.raises(RequestRejected, match="must be a JSON object"):
        Queue(smq, "mine").send([1, 2])
    assert smq.server.requests == []


def test_a_queue_with_its_own_connections(serve, answer, monkeypatch):
    """`Queue.open` needs a name and an endpoint; credentials come from the environment."""
    server = serve(answer(201, SENT))
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-ENV")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "CANARY")
    with Queue.open("mine", server.url) as queue:
        assert queue.send(REQUEST).message_id == "m1"
    assert b"MNS LTAI-ENV:" in server.requests[0]


def test_endpoints():
    """The public endpoint of an account in a region."""
    assert default_endpoint("1234", "cn-shanghai") == "https://1234.mns.cn-shanghai.aliyuncs.com"
    for account, region in (("evil.com/", "cn-shanghai"), ("1234", "x@y"), ("", "cn-shanghai")):
        with pytest.raises(SettingsError):
            default_endpoint(account, region)
