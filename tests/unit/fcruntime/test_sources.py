"""Every event source, in every shape that it comes in; the files under events/triggers are the input."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.triggers import KINDS, EventUnreadable, Message, Undecodable, decode
from fcruntime.triggers.identity import read_attributes

TRIGGERS = Path(__file__).parents[3] / "events" / "triggers"
CALL = "call-1"

TOPIC = "20A37C322A6B444C1B386569{:08d}".format
INSTANCE = "MQ_INST_1649015465570000_BX6zY7Ah"
KAFKA = "acs:alikafka:alikafka_pre-cn-7pp2t2jwj001:topic:HelloTopic"
RABBIT_QUEUE = "acs:amqp:cn-hangzhou:1649015465570000:/instances/amqp-cn-xxx/vhosts/test/queues/hpo-requests"


def canonical(**parts):
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def rocket(n, **parts):
    return canonical(id=f"AC1FFDA100017A46F2F1{n:012d}", topic="hpo-requests", **parts)


def rabbit(n, **parts):
    return canonical(id=f"d720c348-ed4b-471c-8c97-d3a3e6af{n:04d}", **parts)


def bus(n):
    return canonical(source="mycompany.training", id=f"45ef4dewdwe1-7c35-447a-bd93-fab{n:04d}")


def record(offset, partition=9, **parts):
    stamp = 1763631451000 + offset
    return canonical(topic="HelloTopic", partition=partition, offset=offset, timestamp=stamp, **parts)


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
    "eventbridge/01-custom-bus.json": [("eventbridge", bus(1))],
    "eventbridge/02-custom-bus-bare-body.json": [("eventbridge", bus(2))],
    "eventbridge/03-another-event.json": [("eventbridge", bus(3))],
    "eventbridge/04-event-stream.json": [("eventbridge", bus(n)) for n in (4, 5, 1)],
    "eventbridge/05-event-stream-texts.json": [("eventbridge", bus(6))],
    "rocketmq/01-documented.json": [("rocketmq", rocket(1, instance=INSTANCE))],
    "rocketmq/02-event-mode.json": [("rocketmq", rocket(2, instance=INSTANCE))],
    "rocketmq/03-event-stream-batch.json": [("rocketmq", rocket(n, instance=INSTANCE)) for n in (3, 4, 2)],
    "rocketmq/04-event-stream-raw-data.json": [("rocketmq", rocket(5, instance=INSTANCE))],
    "rocketmq/06-without-unique-key.json": [
        (
            "rocketmq",
            canonical(id="94ebc15f-f0db-4bbe-acce-56fb72fb0007", topic="hpo-requests", instance=INSTANCE),
        ),
        (
            "rocketmq",
            canonical(id="94ebc15f-f0db-4bbe-acce-56fb72fb0008", topic="hpo-requests", instance=INSTANCE),
        ),
    ],
    "rocketmq/05-self-managed.json": [("rocketmq", rocket(6))],
    "kafka/01-documented.json": [("kafka", record(3, instance=KAFKA))],
    "kafka/02-event-stream-batch.json": [("kafka", record(n, instance=KAFKA)) for n in (4, 5, 6, 4)],
    "kafka/03-event-stream-texts.json": [("kafka", record(7, p, instance=KAFKA)) for p in (9, 10)],
    "kafka/04-event-stream-raw-data.json": [("kafka", record(n)) for n in (8, 4)],
    "kafka/05-tombstone.json": ["trigger.kafka.body", ("kafka", record(10, instance=KAFKA))],
    "rabbitmq/01-documented.json": [("rabbitmq", rabbit(1, queue=RABBIT_QUEUE))],
    "rabbitmq/02-event-stream-batch.json": [("rabbitmq", rabbit(n, queue=RABBIT_QUEUE)) for n in (2, 3, 2)],
    "rabbitmq/03-without-message-id.json": [("rabbitmq", None)] * 3,
    "rabbitmq/04-event-stream-raw-data.json": [
        ("rabbitmq", rabbit(7, exchange="test-exchange", routingKey="test-binding"))
    ],
    "mqtt/01-documented.json": [("mqtt", None)],
    "mqtt/02-event-stream-batch.json": [("mqtt", None)] * 2,
    "http/05-topic-json.json": [("smq-topic", TOPIC(14))],
    "http/06-topic-xml.json": [("smq-topic", TOPIC(15))],
    "http/01-documented.json": [("http", HTTP(1))],
    "http/02-post.json": [("http", HTTP(2))],
    "http/03-post-base64.json": [("http", HTTP(3))],
    "http/04-asynchronous-retry.json": [("http", HTTP(2))],
    "http/07-cloudevents-batch.json": [
        ("http", canonical(request=HTTP(7), item=0)),
        ("http", canonical(request=HTTP(7), item=1)),
        "trigger.http.body",
        ("http", canonical(request=HTTP(7), item=3)),
    ],
    "invocation/01-request.json": [("invocation", CALL)],
    "invocation/02-bare-body.json": [("invocation", CALL)],
    "invocation/03-cloudevent.json": [
        ("eventbridge", canonical(source="/notebooks/ranking", id="3f5c0a52-2f0e-4d3c-9d0a-000000000001"))
    ],
    "invocation/04-timer.json": [("invocation", CALL)],
    "invocation/06-keyed-requests.json": [("invocation", None)] * 2,
}


def describe(item):
    """Return kind and id of a message, or the rule that an item breaks."""
    return (item.kind, item.id) if isinstance(item, Message) else item.rule


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name):
    """Each documented shape gives its messages, each by the id that redelivery keeps."""
    data = (TRIGGERS / name).read_bytes()
    decoded = decode(data, request_id=CALL, accepts=lambda item: "idempotencyKey" in item)
    assert [describe(item) for item in decoded] == EXPECTED[name]


def test_every_example_is_tested():
    """Every example of events/triggers has an expected result, and every kind an example."""
    names = {str(path.relative_to(TRIGGERS)) for path in TRIGGERS.rglob("*/*") if path.is_file()}
    assert {name for name in names if not name.startswith("smq-queue/")} == set(EXPECTED)
    assert {name.partition("/")[0] for name in names} == {*KINDS, "smq-queue"} - {"smq"}


DATA = {
    "smq": lambda body: {"requestId": "R", "messageId": "M", "messageBody": body},
    "smq-topic": lambda body: {"TopicName": "t", "MessageId": "M", "Message": body, "key": "value"},
    "kafka": lambda body: {"topic": "t", "partition": 1, "offset": 2, "value": body},
    "rocketmq": lambda body: {"systemProperties": {"UNIQ_KEY": "M"}, "body": body},
    "mqtt": lambda body: {"props": {"firstTopic": "t", "clientId": "c"}, "body": body},
    "rabbitmq": lambda body: {"envelope": {}, "props": {"messageId": "M"}, "body": body},
    "http": lambda body: {"rawPath": "/", "headers": {}, "body": body, "requestContext": {"requestId": "M"}},
}
BODY = '{"experiment":{}}'
ENCODED = base64.b64encode(BODY.encode()).decode()


def cloud_event(data):
    return {"specversion": "1.0", "id": "c", "source": "s", "type": "t", "data": data}


PRODUCED = {**cloud_event({"experiment": {}}), "source": "/team/a", "id": "7 é"}
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
    """Whichever outer shape brings a message, and however its body is written, it is the same message.

    Without the CloudEvent around it, its place is not known.
    """
    found = {name: decode(json.dumps(shape(DATA[kind](body))).encode()) for name, shape in SHAPES.items()}
    for (message,) in found.values():
        assert (message.kind, json.loads(message.body)) == (kind, json.loads(BODY))
    ids = {name: message.id for name, (message,) in found.items()}
    raw = {ids.pop(name) for name in ("raw", "raw-array")}
    around = set(ids.values())
    assert (len(raw), len(around)) == (1, 1)
    assert (raw == around) == (kind in ("smq", "smq-topic", "mqtt", "http"))


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"text"}))
@pytest.mark.parametrize("kind", DATA)
def test_a_layer_around_the_whole_event_is_undone(kind, shape):
    """A caller that encodes twice sends the whole event as JSON text or in base64; it has the same messages."""
    event = json.dumps(SHAPES[shape](DATA[kind](BODY)))
    (expected,) = decode(event)
    assert expected.kind == kind
    for layered in (json.dumps(event), base64.b64encode(event.encode())):
        (message,) = decode(layered)
        assert (message.kind, message.id, message.body) == (kind, expected.id, expected.body)


@pytest.mark.parametrize("kind", DATA)
def test_a_pinned_source(kind):
    """A pinned source recognizes its own deliveries and refuses all others."""
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
def test_two_sources_are_an_error_that_names_both(first):
    """An item that two sources recognize is an error, unless one of them is pinned."""
    for second in DATA:
        both = {**DATA[first](BODY), **DATA[second](BODY)}
        properties = [one["props"] for one in (DATA[first](BODY), DATA[second](BODY)) if "props" in one]
        if properties:
            both["props"] = {name: value for one in properties for name, value in one.items()}
        (item,) = decode(json.dumps(both))
        if first == second:
            assert isinstance(item, Message)
            continue
        assert item.rule == "trigger.ambiguous", second
        assert first in item.reason, second
        assert second in item.reason
        (pinned,) = decode(json.dumps(both), source=first)
        assert pinned.kind == first, second


def test_an_unknown_source_is_an_error():
    """A source that does not exist is an error of the caller."""
    with pytest.raises(ValueError, match="not an event source"):
        decode(b"{}", source="sqs")


@pytest.mark.parametrize(
    "event", [b'{"broken', b"[1, 2]", b"plain words", b"[]", BODY.encode(), ENCODED.encode()]
)
def test_a_pinned_call_is_its_whole_event(event):
    """If direct calls are pinned, the whole event is one message, whatever it is."""
    expected = BODY.encode() if event == ENCODED.encode() else event
    assert decode(event, source="invocation", request_id=CALL) == [Message("invocation", CALL, expected)]


@pytest.mark.parametrize("event", [b'{"broken', b"plain words", BODY.encode(), ENCODED.encode()])
def test_a_pinned_topic_may_push_the_bare_body(event):
    """If topics are pinned, what is not a notification is the body that the format STREAM pushes."""
    expected = BODY.encode() if event == ENCODED.encode() else event
    assert decode(event, source="smq-topic", request_id=CALL) == [Message("smq-topic", CALL, expected)]


def test_the_id_of_the_call_identifies_no_item_of_a_batch():
    """The id of the call identifies no item of a batch, because a retried batch may hold others."""
    (message,) = decode(json.dumps([{"envelope": {}, "props": {}, "body": BODY}]), request_id=CALL)
    assert message.id is None


XML = "<?xml version='1.0'?>\n<Notification xlmns='n'>{}</Notification>"
HEAD = "<TopicName>t</TopicName><MessageId>M</MessageId>"
BROKEN = f"<Notification>{HEAD}<Message>x</Message><PublishTime>1</PublisTime></Notification>"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (" \n" + base64.b64encode(XML.format(HEAD + "<Message>x</Message>").encode()).decode(), "x"),
        ("\n " + XML.format(HEAD + "<Message>x</Message>") + " ", "x"),
        (XML.format(HEAD + "<Message>a]]></Message>"), "a]]>"),
        (XML.format(HEAD + "<Message><![CDATA[a</Message>"), "<![CDATA[a"),
        (
            XML.format(HEAD + "<Message>&#1114111;&#1114112;&#x10ffff;</Message>"),
            "\U0010ffff&#1114112;\U0010ffff",
        ),
        (XML.format(HEAD + "<Message>a&amp;&#60;&#x3c;&lt;&gt;&quot;&apos;</Message>"), "a&<<<>\"'"),
        (XML.format(HEAD + "<Message><![CDATA[<a>]]></Message>"), "<a>"),
        (BROKEN, "x"),
        ("\ufeff<!-- a -->" + XML.format(HEAD + '<Message xml:space="preserve">x</Message>'), "x"),
        (XML.format(HEAD + "<Message>\n<![CDATA[<a>]]>\n</Message>"), "<a>"),
        (base64.b64encode(XML.format(HEAD + "<Message>x</Message>").encode()).decode(), "x"),
        (base64.b64encode(f"\ufeff<Notification>{HEAD}<Message>x</Message>".encode()).decode(), "x"),
    ],
)
def test_notifications_in_xml(body, expected):
    """A topic's XML is read, even if it is as broken as the documentation's own example."""
    (message,) = decode(json.dumps(DATA["smq"](body)))
    assert (message.kind, message.id, message.body.decode()) == ("smq-topic", "M", expected)


@pytest.mark.parametrize(
    "text", [XML.format(HEAD + "<Message>ÿ</Message>"), '{"TopicName":"t","MessageId":"M","Message":"ÿ"}']
)
def test_broken_utf8_in_a_notification_is_reported(text):
    """The body is not changed into another one; the message is known by its id in the topic."""
    body = base64.b64encode(text.encode("latin-1")).decode()
    (item,) = decode(json.dumps({**DATA["http"](body), "isBase64Encoded": True}))
    assert (item.rule, item.kind, item.id) == ("trigger.encoding", "smq-topic", "M")


def test_a_notification_over_http_is_not_the_event_in_its_headers():
    """Headers of a CloudEvent identify the request, and a topic's message is not that."""
    (message,) = decode(json.dumps({**DATA["http"](NOTIFICATIONS["JSON"]), "headers": BINARY}))
    assert message.identity == ("smq-topic", "T1")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"body": BODY, "msgId": "m"}, ("rocketmq", canonical(id="m"))),
        ({"body": BODY, "userProperties": {}}, ("rocketmq", None)),
        ({"systemProperties": {}, "msgId": "m"}, "trigger.unknown-source"),
        ({"props": {"firstTopic": "t"}}, "trigger.unknown-source"),
        ({"rawPath": "/", "headers": {}, "requestContext": {}}, "trigger.http.body"),
        ({"specversion": "1.0", "source": "s", "id": "i"}, ("eventbridge", canonical(id="i", source="s"))),
        ({"specversion": "1.0", "source": 1, "id": "i"}, "trigger.eventbridge.id"),
        ({"source": "s", "id": "i"}, "trigger.unknown-source"),
        ({"specversion": "1.0", "id": "i"}, "trigger.unknown-source"),
        ({"specversion": "1.0", "source": "s"}, "trigger.unknown-source"),
    ],
    ids=str,
)
def test_the_members_that_show_a_source(data, expected):
    """A source is recognized by the members that each of its messages has, and no others are needed."""
    (item,) = decode(json.dumps([data]))
    assert describe(item) == expected


def test_an_event_that_cannot_be_identified_is_of_its_source():
    """A log and a metric name the source of what they refuse, not only of what they take."""
    (item,) = decode(json.dumps([{"specversion": "1.0", "source": 1, "id": "i"}]))
    assert item.kind == "eventbridge"


def test_the_time_of_a_topics_message_is_that_of_its_publication():
    """The trigger's CloudEvent was made later."""
    data = {"TopicName": "t", "MessageId": "T1", "Message": BODY, "PublishTime": 1700000000000}
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "time": "later", "data": data}
    (message,) = decode(json.dumps([event]))
    assert message.time == "1700000000000"


@pytest.mark.parametrize("kind", ["kafka", "rocketmq", "rabbitmq", "mqtt"])
@pytest.mark.parametrize(("body", "text"), [(5, b"5"), (1.5, b"1.5"), (True, b"true")])
def test_a_body_that_is_a_json_value_is_its_text(kind, body, text):
    """With the data type JSON, a trigger parses the body; a number must not keep its neighbours from success."""
    (message,) = decode(json.dumps([DATA[kind](body)]))
    assert (message.kind, message.body) == (kind, text)


# The other documented members of a topic's message in the trigger's format JSON.
OTHER_MEMBERS = {
    "TopicOwner": "118620210433",
    "Subscriber": "118620210433",
    "SubscriptionName": "s",
    "MessageMD5": "92EB5FFEE6AE2FEC3AD71C777531578F",
    "MessageTag": "tag",
    "PublishTime": 5,
}


@pytest.mark.parametrize(
    ("data", "subject", "time", "attributes"),
    [
        (DATA["smq-topic"]("b"), "t", None, {"key": "value"}),
        ({**DATA["smq-topic"]("b"), **OTHER_MEMBERS, "n": 1}, "t", "5", {"key": "value", "n": "1"}),
        ({"body": "b", "attrs": {"Extend": "{}"}}, None, None, {"Extend": "{}"}),
        ({**DATA["kafka"]("b"), "timestamp": 5}, "t", "5", {}),
        ({**DATA["rocketmq"]("b"), "topic": "t", "userProperties": {"a": "b"}}, "t", None, {"a": "b"}),
        ({**DATA["rocketmq"]("b"), "topic": 5, "userProperties": []}, None, None, {}),
        (DATA["mqtt"]("b"), "t", None, {}),
        ({**DATA["http"]("b"), "requestContext": {"timeEpoch": "5"}}, None, "5", {}),
        ({**PRODUCED, "time": "then", "aliyuneventbusname": "bus"}, "bus", "then", {}),
    ],
)
def test_what_a_source_itself_says_about_a_message(data, subject, time, attributes):
    """Without a trigger's CloudEvent, the payload says where a message comes from, when, and with what attributes."""
    (message,) = decode(json.dumps([data]))
    assert (message.subject, message.time, dict(message.attributes)) == (subject, time, attributes)


def test_a_topics_message_without_a_body_has_no_time():
    """What cannot be read is described alike, whether or not the notification says when it was published."""
    data = {"TopicName": "t", "MessageId": "T1", "Message": 5, "PublishTime": 1700000000000}
    (item,) = decode(json.dumps(data))
    assert describe(item) == "trigger.smq-topic.body"
    assert (item.kind, item.id) == ("smq-topic", "T1")


NOTIFICATIONS = {
    "JSON": json.dumps({"TopicName": "t", "MessageId": "T1", "Message": BODY}),
    "JSON, body in base64": json.dumps({"TopicName": "t", "MessageId": "T1", "Message": ENCODED}),
    "XML": XML.format(HEAD.replace(">M<", ">T1<") + f"<Message>{ENCODED}</Message>"),
}


@pytest.mark.parametrize("text", NOTIFICATIONS.values(), ids=NOTIFICATIONS.keys())
@pytest.mark.parametrize("kind", ["smq", "http"])
@pytest.mark.parametrize("is_encoded", [True, False])
def test_a_topics_notification_is_the_topics_message_whatever_brings_it(text, kind, is_encoded):
    """A topic pushes to queues and over HTTP; its message has the same id by either way."""
    data = DATA[kind](text)
    if is_encoded and kind == "http":
        data |= {"body": base64.b64encode(text.encode()).decode(), "isBase64Encoded": True}
    (message,) = decode(json.dumps(data), request_id=CALL)
    assert (message.kind, message.id, message.body) == ("smq-topic", "T1", BODY.encode())


def test_a_pinned_topic_opens_a_notification_that_is_the_whole_event():
    """A notification in XML is no JSON event; its message has the id that all pushes of it have in common."""
    (message,) = decode(NOTIFICATIONS["XML"], source="smq-topic", request_id=CALL)
    assert (message.kind, message.id, message.body) == ("smq-topic", "T1", BODY.encode())


@pytest.mark.parametrize("pinned", ["invocation", "eventbridge", "smq-topic"])
@pytest.mark.parametrize("kind", DATA)
def test_a_delivery_of_another_source_is_neither_a_call_nor_an_event(pinned, kind):
    """A source that is pinned wrongly makes the items unknown, also if the pinned one takes any object or text."""
    for shape in SHAPES:
        items = decode(json.dumps(SHAPES[shape](DATA[kind](BODY))), source=pinned, request_id=CALL)
        if kind == pinned:
            assert [item.kind for item in items] == [kind], shape
        else:
            assert [item.rule for item in items] == ["trigger.unknown-source"], shape


@pytest.mark.parametrize("kind", ["smq", "http"])
def test_a_notification_in_another_source_is_not_the_body_that_a_topic_pushes(kind):
    """If topics are pinned, a notification that comes through a queue or over HTTP is a delivery of those."""
    event = json.dumps(SHAPES["event-array"](DATA[kind](NOTIFICATIONS["JSON"])))
    assert {item.rule for item in decode(event, source="smq-topic")} == {"trigger.unknown-source"}


@pytest.mark.parametrize("pinned", ["invocation", "smq-topic"])
def test_a_batch_of_cloud_events_is_neither_a_call_nor_a_bare_message(pinned):
    """One CloudEvent may be the request itself, an array of them is a delivery of EventBridge."""
    event = cloud_event(json.loads(BODY))
    assert [item.kind for item in decode(json.dumps(event), source=pinned)] == [pinned]
    assert {item.rule for item in decode(json.dumps([event]), source=pinned)} == {"trigger.unknown-source"}


def test_a_rocketmq_record_without_system_properties():
    """The user's properties are as good a sign of the source; the CloudEvent's id stands in for the record's."""
    event = {**cloud_event({"topic": "t", "userProperties": {}, "body": BODY}), "subject": "acs:mq:i"}
    (message,) = decode(json.dumps([event]))
    assert (message.kind, message.body) == ("rocketmq", BODY.encode())
    assert message.id is not None


def test_the_unique_key_of_a_rocketmq_record_comes_before_its_msgid():
    """The client sets the unique key when it sends, so every delivery of the message has the same."""
    records = [{**DATA["rocketmq"](BODY), "msgId": name} for name in ("1", "2")]
    first, second = decode(json.dumps(records))
    assert first.id == second.id


def test_a_pinned_http_trigger_still_opens_notifications():
    """Which source is pinned decides what is recognized, not what a message holds."""
    (message,) = decode(json.dumps(DATA["http"](NOTIFICATIONS["JSON"])), source="http")
    assert (message.kind, message.id) == ("smq-topic", "T1")


TEXT = "<Message>x</Message>"


@pytest.mark.parametrize(
    "body",
    [
        XML.format(HEAD),
        XML.format(TEXT + "<TopicName>t</TopicName>"),
        XML.format(HEAD + "<Message>x"),
        XML.format(HEAD + "<Message>x</Messages>"),
        XML.format(HEAD.replace("<TopicName", "<a/>TopicName") + TEXT),
        XML.format(HEAD + TEXT.replace("<Message>", "<Messages>")),
        "x" + XML.format(HEAD + TEXT),
        "<TopicName>",
        '{"TopicName":"t"}',
        '{"TopicName',
        '{"TopicName":' * 9000,
        '["TopicName"]',
        "TopicName",
        "Please?",
        "7 %",
    ],
)
def test_what_only_resembles_a_notification(body):
    """An incomplete notification is the queue's own message."""
    (message,) = decode(json.dumps(DATA["smq"](body)))
    assert (message.kind, message.id) == ("smq", "M")


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_ids_of_any_type_never_raise(value):
    """Whatever the type of an id or a body is, each source reads a message or says why not."""
    for kind, data in DATA.items():
        for name in data(BODY):
            for item in decode(json.dumps([{**data(BODY), name: value}])):
                assert isinstance(item, (Message, Undecodable)), kind


def test_numbers_of_a_kafka_record():
    """Numbers may be text; a record without valid numbers has no id."""
    record = DATA["kafka"](BODY)
    for changed, expected in [
        ({"partition": "1", "offset": "2"}, '{"offset":2,"partition":1,"topic":"t"}'),
        ({"timestamp": "x"}, '{"offset":2,"partition":1,"topic":"t"}'),
        ({"timestamp": 3}, '{"offset":2,"partition":1,"timestamp":3,"topic":"t"}'),
        ({"partition": True}, None),
        ({"offset": "x"}, None),
        ({"topic": None}, None),
    ]:
        (message,) = decode(json.dumps([{**record, **changed}]))
        assert message.id == expected


SUBJECTS = {
    "kafka": ("acs:alikafka:instance-a:topic:t", "acs:alikafka:instance-b:topic:t"),
    "rabbitmq": (
        "acs:amqp:r:1:/instances/i/vhosts/v/queues/a",
        "acs:amqp:r:1:/instances/i/vhosts/v/queues/b",
    ),
    "rocketmq": ("acs:mq:r:1:a%t", "acs:mq:r:1:b%t"),
}


@pytest.mark.parametrize("kind", SUBJECTS)
def test_equal_ids_in_two_places_are_two_messages(kind):
    """The place in the CloudEvent distinguishes messages with ids that are unique in one place only."""
    events = [{**cloud_event(DATA[kind](BODY)), "subject": subject} for subject in SUBJECTS[kind]]
    first, second = decode(json.dumps(events))
    assert first.id != second.id
    (again,) = decode(json.dumps({**events[0], "id": "other", "source": "renamed-trigger", "time": "later"}))
    assert again.id == first.id


def test_a_place_without_a_subject_is_the_events_source():
    """If the CloudEvent has no subject, its source stands for the place."""
    events = [{**cloud_event(DATA["kafka"](BODY)), "source": source} for source in ("a", "b")]
    first, second = decode(json.dumps(events))
    assert first.id != second.id


def test_a_topic_that_is_created_again_has_new_records():
    """The time stamp of a record distinguishes it from that of a deleted topic with the same offset."""
    old, new = ({**DATA["kafka"](BODY), "timestamp": stamp} for stamp in (1, 2))
    first, second = decode(json.dumps([old, new]))
    assert first.id != second.id


def test_broken_items_of_two_places_are_distinguished():
    """The id of an item without a readable body contains its place, too."""
    events = [{**cloud_event(DATA["kafka"](None)), "subject": subject} for subject in SUBJECTS["kafka"]]
    first, second = decode(json.dumps(events))
    assert isinstance(first, Undecodable)
    assert first.id != second.id


PRODUCED_ID = canonical(source="/team/a", id="7 é")
BINARY = {"Ce-Specversion": "1.0", "CE-Source": "/team/a", "ce-id": "7%20%C3%A9", "ce-type": "t"}
CARRIERS = {
    "bus": json.dumps(PRODUCED),
    "event stream": json.dumps([json.dumps(PRODUCED)]),
    "queue": json.dumps([cloud_event(DATA["smq"](json.dumps(PRODUCED)))]),
    "queue, base64": json.dumps([DATA["smq"](base64.b64encode(json.dumps(PRODUCED).encode()).decode())]),
    "topic": json.dumps(DATA["smq-topic"](json.dumps(PRODUCED))),
    "Kafka": json.dumps([DATA["kafka"](PRODUCED)]),
    "HTTP, structured": json.dumps(DATA["http"](json.dumps(PRODUCED))),
    "HTTP, binary": json.dumps({**DATA["http"](BODY), "headers": BINARY}),
    "HTTP, binary, quoted": json.dumps(
        {**DATA["http"](BODY), "headers": {**BINARY, "ce-id": '"\\7 %C3%A9"'}}
    ),
    "HTTP, binary, base64": json.dumps({**DATA["http"](ENCODED), "headers": BINARY, "isBase64Encoded": True}),
    "direct call, base64": base64.b64encode(json.dumps(PRODUCED).encode()).decode(),
}


@pytest.mark.parametrize("event", CARRIERS.values(), ids=CARRIERS.keys())
def test_a_producers_cloudevent_is_identified_by_source_and_id(event):
    """Whatever brings a CloudEvent that a producer sent, its source and id identify it."""
    (message,) = decode(event, request_id=CALL)
    assert message.identity == ("cloudevent", PRODUCED_ID)


def test_ids_in_another_encoding_stay_different():
    """Two ids that are percent-encoded in Latin-1 are two ids, although neither is UTF-8."""
    events = [{**DATA["http"](BODY), "headers": {**BINARY, "ce-id": f"caf%{code}"}} for code in ("E8", "E9")]
    (one,), (other,) = (decode(json.dumps(event), request_id=CALL) for event in events)
    assert one.identity[0] == "cloudevent"
    assert one.identity != other.identity


def test_a_cloudevent_in_the_body_comes_before_the_one_in_the_headers():
    """A gateway may describe its own request in the headers; the body is what the producer sent."""
    headers = {**BINARY, "CE-Source": "/gateway", "ce-id": "1"}
    (message,) = decode(json.dumps({**DATA["http"](json.dumps(PRODUCED)), "headers": headers}))
    assert message.identity == ("cloudevent", PRODUCED_ID)


def test_a_pinned_call_may_be_a_cloudevent():
    """A direct call's CloudEvent is identified by source and id, too, if the source is pinned."""
    (message,) = decode(json.dumps(PRODUCED), source="invocation", request_id=CALL)
    assert (message.id, message.identity) == (CALL, ("cloudevent", PRODUCED_ID))


@pytest.mark.parametrize("kind", DATA)
def test_the_triggers_own_cloudevent_does_not_count(kind):
    """A message keeps its source's identity inside the CloudEvent that its trigger wraps around it."""
    (message,) = decode(json.dumps(cloud_event(DATA[kind](BODY))))
    assert message.cloud_event is None
    assert message.identity == (None if kind == "mqtt" else (kind, message.id))


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"id": ""},
        {"source": 1},
        {"source": "\ud800"},
        {"specversion": None, "type": "specversion"},
        {"data": None},
    ],
    ids=str,
)
def test_what_only_resembles_a_cloudevent(changed):
    """A body without a version, data, or a readable source and id keeps the identity of its message."""
    body = {name: value for name, value in {**PRODUCED, **changed}.items() if value is not None}
    (message,) = decode(json.dumps([DATA["smq"](json.dumps(body))]))
    assert message.identity == ("smq", "M")


@pytest.mark.parametrize(
    "body", ["specversion", '{"specversion', '["specversion"]', '{"specversion":' + "[" * 9000]
)
def test_a_body_that_names_a_version_need_not_be_an_event(body):
    """A body that cannot be read is not a CloudEvent, and is still the body of its message."""
    (message,) = decode(json.dumps([DATA["smq"](body)]))
    assert (message.identity, message.body) == (("smq", "M"), body.encode())


def test_a_cloudevent_may_have_its_data_in_base64():
    """Either member holds the data of a structured CloudEvent."""
    body = {name: value for name, value in PRODUCED.items() if name != "data"}
    (message,) = decode(json.dumps([DATA["smq"](json.dumps({**body, "data_base64": "e30="}))]))
    assert message.identity == ("cloudevent", PRODUCED_ID)


@pytest.mark.parametrize(
    "headers", [{}, None, [], {"ce-id": "1"}, {**BINARY, "ce-id": ""}, {**BINARY, "CE-Source": 1}], ids=str
)
def test_headers_without_a_cloudevent(headers):
    """An HTTP request whose headers hold no CloudEvent is identified by FC's request id."""
    (message,) = decode(json.dumps({**DATA["http"](BODY), "headers": headers}))
    assert message.identity == ("http", "M")


def test_the_attributes_of_an_http_message_are_those_of_its_cloudevent():
    """Other headers are not the producer's."""
    headers = {**BINARY, "Host": "h", "ce-x": 1}
    (message,) = decode(json.dumps({**DATA["http"](BODY), "headers": headers}))
    assert dict(message.attributes) == {"specversion": "1.0", "source": "/team/a", "id": "7 é", "type": "t"}


def test_a_body_as_a_json_value_is_utf8():
    """Letters beyond ASCII are not escaped, as a producer would write them."""
    (message,) = decode(json.dumps([DATA["kafka"]({"ä": 1})]))
    assert message.body == '{"ä":1}'.encode()


UNREADABLE = sorted((TRIGGERS.parent / "unreadable").iterdir())


@pytest.mark.parametrize("path", UNREADABLE, ids=lambda path: path.name)
def test_unreadable_examples(path):
    """The examples in events/unreadable cannot be read as a whole."""
    with pytest.raises(EventUnreadable):
        decode(path.read_bytes())


AMBIGUOUS = TRIGGERS.parent / "ambiguous" / "01-kafka-or-rocketmq.json"


@pytest.mark.parametrize(
    ("source", "expected"), [(None, "trigger.ambiguous"), ("kafka", "kafka"), ("rocketmq", "rocketmq")]
)
def test_the_ambiguous_example(source, expected):
    """The example of an item with the shape of two sources is a message of the source that is named, if one is."""
    (item,) = decode(AMBIGUOUS.read_bytes(), source=source)
    assert (item.kind if isinstance(item, Message) else item.rule) == expected


def test_http_bodies():
    """A body that is marked as base64 but is not is an error; without the mark it is text."""
    call = DATA["http"]("???")
    (broken,) = decode(json.dumps({**call, "isBase64Encoded": True}))
    assert (broken.rule, broken.kind, broken.id) == ("trigger.encoding", "http", "M")
    (text,) = decode(json.dumps({**call, "isBase64Encoded": False}))
    assert text.body == b"???"
    (lone,) = decode(json.dumps({**call, "isBase64Encoded": True, "body": "\ud800"}))
    assert lone.rule == "trigger.encoding"
    (value,) = decode(json.dumps({**call, "isBase64Encoded": True, "body": {"a": 1}}))
    assert value.body == b'{"a":1}'


def post(body, **members):
    """Return the event of an HTTP request with `body`."""
    return json.dumps({**DATA["http"](body), **members})


def test_an_array_over_http_is_several_messages():
    """In the batch mode of CloudEvents each event has the key of its source and id, whatever the content type."""
    first, second = ({**PRODUCED, "id": name} for name in ("a", "b"))
    text = json.dumps([first, second])
    for event in (
        post(text),
        post(base64.b64encode(text.encode()).decode(), isBase64Encoded=True),
        post([first, second]),
    ):
        found = decode(event)
        assert [item.cloud_event for item in found] == [canonical(source="/team/a", id=one) for one in "ab"]
        assert [item.identity for item in found] == [("cloudevent", item.cloud_event) for item in found]
        assert [json.loads(item.body)["id"] for item in found] == ["a", "b"]
        assert len({item.id for item in found}) == 2
    assert decode(post("[]")) == []


def test_a_bad_item_of_a_batch_leaves_its_neighbours():
    """An item that is no event, that nothing identifies, or that is not an object, is undecodable alone."""
    keyed = {"idempotencyKey": "k", "experiment": {}}
    items = [PRODUCED, {"experiment": {}}, keyed, "text", {**PRODUCED, "id": 7}, None]
    found = decode(post(json.dumps(items)), accepts=lambda item: "idempotencyKey" in item)
    assert [describe(item) for item in found] == [
        ("http", canonical(request="M", item=0)),
        "trigger.http.body",
        ("http", canonical(request="M", item=2)),
        "trigger.shape",
        "trigger.http.body",
        "trigger.shape",
    ]


def test_an_item_that_nothing_identifies_still_has_the_place_of_its_batch():
    """FC's request id, in the request or of the call, and the number of the item identify what cannot be read."""
    whole = DATA["http"](json.dumps([5, {"source": "s", "id": "i"}]))
    no_id = {**whole, "requestContext": {}}
    for event, call, known in ((whole, None, "M"), (whole, "R", "M"), (no_id, "R", "R"), (no_id, None, None)):
        for number, item in enumerate(decode(json.dumps(event), request_id=call)):
            assert item.kind == "http"
            assert item.id == (known and canonical(request=known, item=number))
            assert item.rule == ("trigger.shape", "trigger.http.body")[number]


def test_broken_utf8_in_a_batch_over_http_stays_as_it_came():
    """The validation gets the bytes of the item, and reports their encoding."""
    item = b'{"specversion":"1.0","source":"s","id":"i","data":"\xff"}'
    (message,) = decode(post(base64.b64encode(b"[" + item + b"]").decode(), isBase64Encoded=True))
    assert message.body == item


@pytest.mark.parametrize("body", ["[", "[1,", '[{"a": 1}] x', "[" * 5000])
def test_a_broken_array_over_http_is_one_message(body):
    """What is not a JSON array is the body of one message, which is then rejected as what it is."""
    (message,) = decode(post(body))
    assert (message.id, message.body) == ("M", body.encode())


def test_an_array_in_binary_mode_is_one_message():
    """The headers identify the body as a whole."""
    (message,) = decode(post("[1]", headers=BINARY))
    assert (message.cloud_event, message.body) == (PRODUCED_ID, b"[1]")


def test_the_text_of_a_batch_item_is_unchanged():
    """Names that are repeated in an item, and numbers as they are written, reach the validation."""
    item = '{"specversion":"1.0","source":"s","id":"i","data":{"a":1, "a": 1.0}}'
    (message,) = decode(post(f" [ {item} ] "))
    assert message.body == item.encode()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"', '"'),
        ('""', ""),
        ('"a', '"a'),
        ('a"', 'a"'),
        ('"abc"', "abc"),
        ('"a\\"b"', 'a"b'),
        ("a%20b", "a b"),
    ],
)
def test_only_quotes_around_a_whole_attribute_of_a_header_are_removed(written, read):
    """A quote at one end alone is part of the value."""
    assert read_attributes({"ce-subject": written}) == {"subject": read}
