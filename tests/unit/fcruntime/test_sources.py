"""Every event source, in every shape that it comes in; the files under events/triggers are the input."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.triggers import KINDS, Message, Undecodable, decode

TRIGGERS = Path(__file__).parents[3] / "events" / "triggers"
CALL = "call-1"

TOPIC = "20A37C322A6B444C1B386569{:08d}".format
ROCKET = "AC1FFDA100017A46F2F1{:012d}".format
RABBIT = "d720c348-ed4b-471c-8c97-d3a3e6af{:04d}".format
BUS = '["mycompany.training","45ef4dewdwe1-7c35-447a-bd93-fab{:04d}"]'.format
HTTP = "1-64f6cd87-1a2b3c4d-{:012d}".format
QUEUE = "C6DB60D1574661357FA2272774470{:03d}".format

EXPECTED = {
    "smq-topic/01-json-documented.json": [("smq-topic", TOPIC(1))],
    "smq-topic/02-json.json": [("smq-topic", TOPIC(2))],
    "smq-topic/03-json-with-attributes.json": [("smq-topic", TOPIC(3))],
    "smq-topic/04-stream.json": [("invocation", CALL)],
    "smq-topic/05-stream-with-attributes.json": [("smq-topic", CALL)],
    "smq-topic/06-stream-base64.txt": [("invocation", CALL)],
    "smq-topic/10-queue-json.json": [("smq-topic", TOPIC(2))],
    "smq-topic/11-queue-xml.json": [("smq-topic", TOPIC(11)), ("smq-topic", TOPIC(12))],
    "smq-topic/12-queue-simplified.json": [("smq", QUEUE(13))],
    "smq-topic/13-eventbridge.json": [("smq-topic", TOPIC(13))],
    "eventbridge/01-custom-bus.json": [("eventbridge", BUS(1))],
    "eventbridge/02-custom-bus-bare-body.json": [("eventbridge", BUS(2))],
    "eventbridge/03-another-event.json": [("eventbridge", BUS(3))],
    "eventbridge/04-event-stream.json": [("eventbridge", BUS(n)) for n in (4, 5, 1)],
    "eventbridge/05-event-stream-texts.json": [("eventbridge", BUS(6))],
    "rocketmq/01-documented.json": [("rocketmq", ROCKET(1))],
    "rocketmq/02-event-mode.json": [("rocketmq", ROCKET(2))],
    "rocketmq/03-event-stream-batch.json": [("rocketmq", ROCKET(n)) for n in (3, 4, 2)],
    "rocketmq/04-event-stream-raw-data.json": [("rocketmq", ROCKET(5))],
    "rocketmq/05-self-managed.json": [("rocketmq", ROCKET(6))],
    "kafka/01-documented.json": [("kafka", '["HelloTopic",9,3]')],
    "kafka/02-event-stream-batch.json": [("kafka", f'["HelloTopic",9,{n}]') for n in (4, 5, 6, 4)],
    "kafka/03-event-stream-texts.json": [("kafka", '["HelloTopic",9,7]'), ("kafka", '["HelloTopic",10,7]')],
    "kafka/04-event-stream-raw-data.json": [("kafka", f'["HelloTopic",9,{n}]') for n in (8, 4)],
    "kafka/05-tombstone.json": ["trigger.kafka.body", ("kafka", '["HelloTopic",9,10]')],
    "rabbitmq/01-documented.json": [("rabbitmq", RABBIT(1))],
    "rabbitmq/02-event-stream-batch.json": [("rabbitmq", RABBIT(n)) for n in (2, 3, 2)],
    "rabbitmq/03-without-message-id.json": [("rabbitmq", None)] * 3,
    "rabbitmq/04-event-stream-raw-data.json": [("rabbitmq", RABBIT(7))],
    "http/01-documented.json": [("http", HTTP(1))],
    "http/02-post.json": [("http", HTTP(2))],
    "http/03-post-base64.json": [("http", HTTP(3))],
    "http/04-asynchronous-retry.json": [("http", HTTP(2))],
    "invocation/01-request.json": [("invocation", CALL)],
    "invocation/02-bare-body.json": [("invocation", CALL)],
    "invocation/03-cloudevent.json": [
        ("eventbridge", '["/notebooks/ranking","3f5c0a52-2f0e-4d3c-9d0a-000000000001"]')
    ],
    "invocation/04-timer.json": [("invocation", CALL)],
    "invocation/05-ambiguous.json": ["trigger.ambiguous"],
}


def told(item):
    return (item.kind, item.id) if isinstance(item, Message) else item.rule


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name):
    """Each documented shape gives its messages, each by the id that redelivery keeps."""
    decoded = decode((TRIGGERS / name).read_bytes(), request_id=CALL)
    assert [told(item) for item in decoded] == EXPECTED[name]


def test_every_example_is_tested():
    """No example stands there unread."""
    names = {str(path.relative_to(TRIGGERS)) for path in TRIGGERS.rglob("*/*") if path.is_file()}
    assert {name for name in names if not name.startswith("smq-queue/")} == set(EXPECTED)
    assert {name.partition("/")[0] for name in names} == {*KINDS, "smq-queue"} - {"smq"}


DATA = {
    "smq": lambda body: {"requestId": "R", "messageId": "M", "messageBody": body},
    "smq-topic": lambda body: {"TopicName": "t", "MessageId": "M", "Message": body, "key": "value"},
    "kafka": lambda body: {"topic": "t", "partition": 1, "offset": 2, "value": body},
    "rocketmq": lambda body: {"systemProperties": {"UNIQ_KEY": "M"}, "body": body},
    "rabbitmq": lambda body: {"envelope": {}, "props": {"messageId": "M"}, "body": body},
    "http": lambda body: {
        "rawPath": "/",
        "headers": {},
        "body": body,
        "requestContext": {"requestId": "M"},
    },
}
BODY = '{"experiment":{}}'
ENCODED = base64.b64encode(BODY.encode()).decode()


def cloud_event(data):
    return {"specversion": "1.0", "id": "c", "source": "s", "type": "t", "data": data}


SHAPES = {
    "raw": lambda data: data,
    "raw-array": lambda data: [data],
    "event": cloud_event,
    "event-array": lambda data: [cloud_event(data)],
    "texts": lambda data: [json.dumps(cloud_event(data))],
    "text": lambda data: json.dumps(cloud_event(data)),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("body", [BODY, ENCODED, json.loads(BODY)], ids=["text", "base64", "value"])
def test_one_message_in_every_shape(kind, body):
    """Whichever outer shape brings a message, and however its body is written, it is the same message."""
    found = [decode(json.dumps(shape(DATA[kind](body))).encode()) for shape in SHAPES.values()]
    assert found == [found[0]] * len(SHAPES)
    ((message,),) = found[:1]
    assert (message.kind, message.id) == (kind, '["t",1,2]' if kind == "kafka" else "M")
    assert json.loads(message.body) == json.loads(BODY)


@pytest.mark.parametrize("kind", DATA)
def test_a_pinned_source(kind):
    """A pin lets its own source through and no other, so that nothing is taken for what it is not."""
    event = json.dumps([DATA[kind](BODY)])
    (message,) = decode(event, source=kind)
    assert message.kind == kind
    other = "kafka" if kind != "kafka" else "rocketmq"
    (refused,) = decode(event, source=other)
    assert (refused.rule, refused.reason) == (
        "trigger.unknown-source",
        f"the item is not a delivery of {other}",
    )


@pytest.mark.parametrize("first", DATA)
@pytest.mark.parametrize("second", DATA)
def test_two_sources_are_an_error_that_names_both(first, second):
    """An item that two sources recognise is none's; a pin decides."""
    both = {**DATA[first](BODY), **DATA[second](BODY)}
    (item,) = decode(json.dumps(both))
    if first == second:
        assert isinstance(item, Message)
        return
    assert item.rule == "trigger.ambiguous"
    assert first in item.reason
    assert second in item.reason
    (pinned,) = decode(json.dumps(both), source=first)
    assert pinned.kind == first


def test_an_unknown_pin():
    """A source that does not exist is an error of the caller."""
    with pytest.raises(ValueError, match="no event source"):
        decode(b"{}", source="sqs")


@pytest.mark.parametrize(
    "event", [b'{"broken', b"[1, 2]", b"plain words", b"[]", BODY.encode(), ENCODED.encode()]
)
def test_a_pinned_call_is_its_whole_event(event):
    """Pinned to direct calls, whatever comes is one message, for the contract to judge."""
    expected = BODY.encode() if event == ENCODED.encode() else event
    assert decode(event, source="invocation", request_id=CALL) == [Message("invocation", CALL, expected)]


@pytest.mark.parametrize("event", [b'{"broken', b"plain words", BODY.encode(), ENCODED.encode()])
def test_a_pinned_topic_may_push_the_bare_body(event):
    """Pinned to topics, what is no notification is the body that format STREAM pushes."""
    expected = BODY.encode() if event == ENCODED.encode() else event
    assert decode(event, source="smq-topic", request_id=CALL) == [Message("smq-topic", CALL, expected)]


def test_batches_have_no_call_of_their_own():
    """The call's id identifies no item of a batch: a retried batch may hold others."""
    (message,) = decode(json.dumps([{"envelope": {}, "props": {}, "body": BODY}]), request_id=CALL)
    assert message.id is None


XML = "<?xml version='1.0'?>\n<Notification xlmns='n'>{}</Notification>"
HEAD = "<TopicName>t</TopicName><MessageId>M</MessageId>"
BROKEN = f"<Notification>{HEAD}<Message>x</Message><PublishTime>1</PublisTime></Notification>"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (XML.format(HEAD + "<Message>a&amp;&#60;&lt;&quot;</Message>"), 'a&<<"'),
        (XML.format(HEAD + "<Message><![CDATA[<a>]]></Message>"), "<a>"),
        (BROKEN, "x"),
    ],
)
def test_notifications_in_xml(body, expected):
    """A topic's XML is read, even where it is as broken as the documentation's own example."""
    (message,) = decode(json.dumps(DATA["smq"](body)))
    assert message == Message("smq-topic", "M", expected.encode())


@pytest.mark.parametrize(
    "body", [XML.format("<MessageId>M</MessageId>"), "<Notification>", '{"TopicName":"t"}']
)
def test_what_only_resembles_a_notification(body):
    """A body that is no whole notification is the queue's own message."""
    (message,) = decode(json.dumps(DATA["smq"](body)))
    assert (message.kind, message.id) == ("smq", "M")


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_ids_of_any_type_never_raise(value):
    """Whatever stands where an id or a body belongs, each source reads a message or says why not."""
    for kind, data in DATA.items():
        for name in data(BODY):
            for item in decode(json.dumps([{**data(BODY), name: value}])):
                assert isinstance(item, (Message, Undecodable)), kind


def test_kafka_places():
    """Numbers may come as digits; what is no place identifies nothing."""
    record = DATA["kafka"](BODY)
    for changed, expected in [
        ({"partition": "1", "offset": "2"}, '["t",1,2]'),
        ({"partition": True}, None),
        ({"offset": "x"}, None),
        ({"topic": None}, None),
    ]:
        (message,) = decode(json.dumps([{**record, **changed}]))
        assert message.id == expected


def test_http_bodies():
    """A body marked as base64 that is none is told; without the mark it is text."""
    call = DATA["http"]("???")
    (broken,) = decode(json.dumps({**call, "isBase64Encoded": True}))
    assert (broken.rule, broken.id) == ("trigger.encoding", "M")
    (text,) = decode(json.dumps({**call, "isBase64Encoded": False}))
    assert text.body == b"???"
