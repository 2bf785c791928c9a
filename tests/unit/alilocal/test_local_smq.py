"""SMQ of the local cloud, in-process and over HTTP: what the vendor's SDK cannot send."""

from __future__ import annotations

import contextlib
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localwire import NAMESPACE, StandingTime, read, xml

import alilocal
from alilocal.core.http import ServiceError
from alilocal.smq.errors import MalformedXml
from alilocal.smq.message import Outgoing
from alilocal.smq.topic import SubscriptionAttributes
from alilocal.smq.wire import text_of
from alilocal.smq.xml import build, is_carriable, parse
from support.budget import examples


@pytest.fixture
def queue(cloud):
    return cloud.queues.create("q")


def code(answer):
    return answer.status_code, read(answer)["Code"]


BOMB = (
    '<!DOCTYPE Message [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    f'<Message xmlns="{NAMESPACE}"><MessageBody>&b;</MessageBody></Message>'
)


@pytest.mark.parametrize(
    "body",
    [
        "<Message><MessageBody>x</MessageBody></Message>",
        f'<mns:Message xmlns:mns="{NAMESPACE}"><mns:MessageBody>x</mns:MessageBody></mns:Message>',
        f'<Message xmlns="{NAMESPACE.rstrip("/")}"><MessageBody>x</MessageBody></Message>',
    ],
)
def test_a_namespace_may_be_missing_or_have_a_prefix(wire, queue, body):
    """Clients write SMQ's namespace as the default one, with a prefix, or not at all."""
    assert wire.smq("POST", "/queues/q/messages", body).status_code == 201
    assert [message.body for message in queue.messages] == ["x"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not xml",
        '<Message xmlns="http://example.com/"><MessageBody>another namespace</MessageBody></Message>',
        xml("Other", MessageBody="x"),
        xml("Message", MessageBody="x") + "trailing",
        BOMB,
        f'<!DOCTYPE Message SYSTEM "file:///etc/passwd">{xml("Message", MessageBody="x")}',
        f'<Message xmlns="{NAMESPACE}">{"<a>" * 40}{"</a>" * 40}</Message>',
        b'<?xml version="1.0" encoding="no-such"?><Message/>',
    ],
)
def test_bad_xml_is_refused(wire, queue, body):
    """Broken XML, document types, entities, depth and other namespaces are MalformedXML, and nothing is sent."""
    assert code(wire.smq("POST", "/queues/q/messages", body)) == (400, "MalformedXML")
    assert queue.messages == []


@pytest.mark.parametrize(
    "body",
    [
        '<Message xmlns="http://example.com/"><MessageBody>x</MessageBody></Message>',
        xml("Other", MessageBody="x"),
    ],
)
def test_another_root_element_is_named(wire, queue, body):
    """A document whose root element has another name or namespace is well-formed; the error says what is expected."""
    answer = wire.smq("POST", "/queues/q/messages", body)
    assert read(answer)["Message"] == f"The root element must be Message of the namespace {NAMESPACE}."


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"MessageBody": ""},
        {"MessageBody": "x" * 65_537},
        {"MessageBody": "x", "DelaySeconds": "604801"},
        {"MessageBody": "x", "DelaySeconds": "-1"},
        {"MessageBody": "x", "DelaySeconds": "soon"},
        {"MessageBody": "x", "Priority": "0"},
        {"MessageBody": "x", "Priority": "17"},
    ],
)
def test_messages_out_of_range_are_refused(wire, queue, members):
    """Sizes, delays and priorities outside the documented limits are InvalidArgument."""
    answer = wire.smq("POST", "/queues/q/messages", xml("Message", **members))
    assert code(answer) == (400, "InvalidArgument")
    assert queue.messages == []


def test_the_largest_body_is_taken(wire, queue):
    """The limit counts bytes on the wire: 65,536 of them are accepted."""
    assert wire.smq("POST", "/queues/q/messages", xml("Message", MessageBody="é" * 32_768)).status_code == 201


@pytest.mark.parametrize("status", [500, 400, 404])
def test_the_status_of_a_batch_that_failed_in_part(cloud, wire, queue, status):
    """`partial_batch_status` is the status; valid messages are sent."""
    bad = "<Message><MessageBody>bad</MessageBody><DelaySeconds>-1</DelaySeconds></Message>"
    messages = f"<Message><MessageBody>good</MessageBody></Message>{bad}"
    cloud.behaviour.partial_batch_status = status
    document = f'<Messages xmlns="{NAMESPACE}">{messages}</Messages>'
    assert wire.smq("POST", "/queues/q/messages", document).status_code == status
    assert [message.body for message in queue.messages] == ["good"]


def test_a_batch_has_limits(wire, queue):
    """A batch has 1 to 16 messages, and 64 KiB in total."""

    def batch(count, size=1):
        one = f"<Message><MessageBody>{'x' * size}</MessageBody></Message>"
        return wire.smq(
            "POST", "/queues/q/messages", f'<Messages xmlns="{NAMESPACE}">{one * count}</Messages>'
        )

    assert code(batch(17)) == (400, "InvalidArgument")
    assert code(batch(0)) == (400, "MalformedXML")
    assert code(batch(2, 40_000)) == (400, "InvalidArgument")
    assert batch(16).status_code == 201
    assert code(wire.smq("GET", "/queues/q/messages?numOfMessages=17")) == (400, "InvalidQueryString")
    assert code(wire.smq("GET", "/queues/q/messages?waitseconds=31")) == (400, "InvalidQueryString")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/queues/-a", "InvalidQueueName"),
        ("/queues/a_b", "InvalidQueueName"),
        ("/queues/a%2Fb", "InvalidQueueName"),
        (f"/queues/{'a' * 121}", "QueueNameLengthError"),
        ("/topics/a.b", "TopicNameInvalid"),
        (f"/topics/{'a' * 121}", "TopicNameLengthError"),
    ],
)
def test_names_are_checked(wire, target, expected):
    """Names have letters, digits and hyphens, up to 120 of them."""
    assert code(wire.smq("PUT", target)) == (400, expected)


@pytest.mark.parametrize(
    "members",
    [
        {"VisibilityTimeout": "0"},
        {"VisibilityTimeout": "43201"},
        {"MaximumMessageSize": "1023"},
        {"MessageRetentionPeriod": "59"},
        {"PollingWaitSeconds": "31"},
        {"LoggingEnabled": "maybe"},
        {"DelaySeconds": "1" * 5000},
    ],
)
def test_queue_attributes_are_checked(wire, cloud, members):
    """An attribute outside its documented range is InvalidArgument."""
    assert code(wire.smq("PUT", "/queues/q", xml("Queue", **members))) == (400, "InvalidArgument")
    assert "q" not in cloud.queues


def test_unknown_paths(wire):
    """An unknown path or method is InvalidRequestURL."""
    assert code(wire.smq("GET", "/queues/q/other")) == (400, "InvalidRequestURL")
    assert code(wire.smq("PATCH", "/queues/q")) == (400, "InvalidRequestURL")
    assert code(wire.smq("GET", "/?other=true")) == (400, "InvalidRequestURL")


def test_change_visibility_in_either_spelling(wire, queue):
    """Parameter names are matched without regard to case; both are needed and the range is checked."""
    queue.send("x")
    handle = read(wire.smq("GET", "/queues/q/messages"))["ReceiptHandle"]
    encoded = handle.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    target = "/queues/q/messages"
    answer = wire.smq("PUT", f"{target}?receiptHandle={encoded}&visibilityTimeout=43200")
    assert answer.status_code == 200
    fresh = read(answer)["ReceiptHandle"]
    out_of_range = wire.smq("PUT", f"{target}?ReceiptHandle={fresh}&VisibilityTimeout=43201")
    assert code(out_of_range) == (400, "InvalidArgument")
    assert code(wire.smq("PUT", f"{target}?ReceiptHandle={fresh}")) == (400, "MissingVisibilityTimeout")
    assert code(wire.smq("PUT", f"{target}?VisibilityTimeout=1")) == (400, "MissingReceiptHandle")
    assert code(wire.smq("DELETE", target)) == (400, "MissingReceiptHandle")
    assert wire.smq("PUT", f"{target}?ReceiptHandle={fresh}&VisibilityTimeout=0").status_code == 200
    assert wire.smq("GET", target).status_code == 200


def test_the_namespace_of_errors_has_no_slash_at_its_end(wire):
    """The SDK for Java reads an error with JAXB, under this name only: its class ErrorMessage."""
    answer = ElementTree.fromstring(wire.smq("GET", "/queues/missing/messages").content)
    name = "{http://mns.aliyuncs.com/doc/v1}"
    assert answer.tag == f"{name}Error"
    assert [one.tag for one in answer] == [
        f"{name}{one}" for one in ("Code", "Message", "RequestId", "HostId")
    ]


def test_success_codes_and_location(wire):
    """A create is 201 and its repetition 204, both with the resource's URL on the caller's host."""
    for path in ("/queues/q", "/topics/t"):
        first, second = wire.smq("PUT", path), wire.smq("PUT", path)
        assert (first.status_code, second.status_code) == (201, 204)
        assert "Content-Length" not in second.headers
        assert first.headers["Location"] == second.headers["Location"] == f"http://{wire.host}{path}"


def test_lists_with_meta(wire, cloud, queue):
    """With x-mns-with-meta a list shows attributes; a page size out of range is refused."""
    cloud.topics.create("t")
    assert b"<QueueName>q</QueueName>" in wire.smq("GET", "/queues", x_mns_with_meta="true").content
    assert b"<TopicName>t</TopicName>" in wire.smq("GET", "/topics", x_mns_with_meta="true").content
    assert b"<QueueName>" not in wire.smq("GET", "/queues").content
    assert code(wire.smq("GET", "/queues", x_mns_ret_number="1001")) == (400, "InvalidArgument")


def test_subscriptions_with_meta(wire, cloud, queue):
    """The SDKs for Go and Java ask for the attributes of all subscriptions in one list."""
    cloud.topics.create("t")
    cloud.topics.subscribe("t", "s", SubscriptionAttributes(queue.resource, filter_tag="x"))
    target = "/topics/t/subscriptions"
    (plain,) = ElementTree.fromstring(wire.smq("GET", target).content)
    assert [one.tag for one in plain] == [f"{{{NAMESPACE}}}SubscriptionURL"]
    (full,) = ElementTree.fromstring(wire.smq("GET", target, x_mns_with_meta="true").content)
    shown = {one.tag.rpartition("}")[2]: one.text for one in full}
    assert shown.pop("SubscriptionURL").endswith(f"{target}/s")
    assert shown == read(wire.smq("GET", f"{target}/s"))
    assert (shown["Subscriber"], shown["TopicOwner"]) == (cloud.account_id, cloud.account_id)
    assert (shown["SubscriptionName"], shown["Endpoint"], shown["FilterTag"]) == ("s", queue.resource, "x")


def test_deleting_what_is_missing(wire, cloud):
    """Deleting a missing resource succeeds, or is an error if a switch says so."""
    targets = ("/queues/q", "/topics/t", "/topics/t/subscriptions/s")
    assert [wire.smq("DELETE", target).status_code for target in targets] == [204, 204, 204]
    cloud.behaviour.delete_missing = "refused"
    assert [wire.smq("DELETE", target).status_code for target in targets] == [404, 404, 404]


def test_attributes_that_a_call_leaves_out_are_kept(wire, cloud, queue):
    """A call that sets some attributes changes no others; an empty element clears the account's bucket."""
    cloud.topics.create("t")
    wire.smq("PUT", "/?accountmeta=true", xml("Account", LoggingBucket="logs"))
    for document in (xml("Account"), "<Account><Other>1</Other></Account>"):
        wire.smq("PUT", "/?accountmeta=true", document)
        assert read(wire.smq("GET", "/?accountmeta=true"))["LoggingBucket"] == "logs"
    wire.smq("PUT", "/?accountmeta=true", xml("Account", LoggingBucket=""))
    assert not read(wire.smq("GET", "/?accountmeta=true"))["LoggingBucket"]
    for path, root in (("/queues/q", "Queue"), ("/topics/t", "Topic")):
        wire.smq("PUT", f"{path}?metaoverride=true", xml(root, LoggingEnabled="True"))
        wire.smq("PUT", f"{path}?metaoverride=true", xml(root, MaximumMessageSize="2048"))
        shown = read(wire.smq("GET", path))
        assert (shown["LoggingEnabled"], shown["MaximumMessageSize"]) == ("True", "2048")


def test_user_properties_come_last(wire, queue):
    """Some readers skip everything behind the user properties, so that they are the last element."""
    properties = "".join(
        f"<{kind}><{item}><Name>n</Name><Value>v</Value><Type>STRING</Type></{item}></{kind}>"
        for kind, item in (("UserProperties", "PropertyValue"), ("SystemProperties", "SystemPropertyValue"))
    )
    wire.smq("POST", "/queues/q/messages", f"<Message><MessageBody>x</MessageBody>{properties}</Message>")
    for query in ("peekonly=true", "peekonly=true&numOfMessages=1", "numOfMessages=1"):
        found = ElementTree.fromstring(wire.smq("GET", f"/queues/q/messages?{query}").content)
        message = found if found.tag.endswith("}Message") else found[0]
        assert [one.tag.rpartition("}")[2] for one in message][-2:] == ["SystemProperties", "UserProperties"]


def test_white_space_follows_each_text_of_a_property(wire, queue):
    """The SDK for PHP reads on behind the end of each text, and would miss an element that follows directly."""
    properties = (("traceparent", "t", "STRING"), ("baggage", "b", "STRING"))
    queue.put(Outgoing("x", system_properties=properties, user_properties=(("n", "v", "STRING"),)))
    message = ElementTree.fromstring(wire.smq("GET", "/queues/q/messages").content)
    found = [one for kind in ("System", "") for one in message.iter(f"{{{NAMESPACE}}}{kind}PropertyValue")]
    assert [[child.text for child in one] for one in found] == [*map(list, properties), ["n", "v", "STRING"]]
    assert {child.tail for one in found for child in one} == {"\n"}


def test_a_refused_priority_is_explained_in_the_services_words(queue):
    """Programs for Go send 0 if no priority is set, and see this text."""
    with pytest.raises(ServiceError, match="The value of Priority should between 1 and 16"):
        queue.send("a", priority=0)


def test_priority_then_age(queue):
    """Lower numbers come first, equal ones in the order sent."""
    for body, priority in (("a", 8), ("b", 1), ("c", 16), ("d", 8), ("e", 1)):
        queue.send(body, priority=priority)
    assert [message.body for message in queue.receive(9)] == ["b", "e", "a", "d", "c"]


def test_retention(cloud):
    """A message older than the retention period is deleted, whether or not it was received."""
    queue = cloud.queues.create("q", message_retention_period=60)
    queue.send("old")
    cloud.clock.advance(59)
    queue.send("new")
    cloud.clock.advance(1)
    assert [message.body for message in queue.messages] == ["new"]
    assert [message.body for message in queue.receive(9)] == ["new"]


def test_message_states(cloud, queue):
    """The states active, inactive and delayed follow the clock; purging empties the queue."""
    queue.send("a")
    queue.send("b", delay_seconds=10)
    queue.receive(1)
    assert [message.state for message in queue.messages] == ["inactive", "delayed"]
    cloud.clock.advance(10)
    assert [message.state for message in queue.messages] == ["inactive", "active"]
    cloud.clock.advance(20)
    assert [message.state for message in queue.messages] == ["active", "active"]
    queue.purge()
    assert queue.messages == []
    assert queue.receive(9) == []


@pytest.mark.parametrize("dead_letter_id", ["new", "kept"])
def test_dead_letters(wire, cloud, queue, dead_letter_id):
    """After the given number of receives a message moves, marked with its origin; its age does not change."""
    cloud.behaviour.dead_letter_id = dead_letter_id
    dead = cloud.queues.create("dead")
    queue.dead_letter("dead", 2)
    message_id = queue.send("poison")
    sent_at = queue.messages[0].enqueue_time
    for _ in range(2):
        assert wire.smq("GET", "/queues/q/messages").status_code == 200
        cloud.clock.advance(30)
    assert code(wire.smq("GET", "/queues/q/messages")) == (404, "MessageNotExist")
    assert queue.messages == []
    (letter,) = dead.receive(9)
    assert (letter.body, letter.enqueue_time) == ("poison", sent_at)
    assert (letter.message_id == message_id) is (dead_letter_id == "kept")
    assert ("DLQOriginMessageId", message_id, "STRING") in letter.system_properties


def test_a_dead_letter_keeps_its_age(cloud, queue):
    """A dead letter expires by its own age, in whatever order dead letters arrive."""
    dead = cloud.queues.create("dead", message_retention_period=100)
    queue.dead_letter("dead", 1)
    queue.send("old")
    queue.receive(1)
    cloud.clock.advance(31)
    dead.send("younger")
    cloud.queues.bury_exhausted(queue)
    assert [message.body for message in dead.messages] == ["old", "younger"]
    cloud.clock.advance(70)
    assert [message.body for message in dead.messages] == ["younger"]


def test_invalid_dead_letter_policies_are_refused(queue):
    """A queue cannot be its own dead-letter queue, and the count must be positive."""
    with pytest.raises(ValueError, match="another"):
        queue.dead_letter("q", 3)
    with pytest.raises(ValueError, match="at least 1"):
        queue.dead_letter("other", 0)


def test_python_senders_are_held_to_the_wire(queue):
    """A body that XML cannot carry is refused from Python too."""
    for body in ("", "a\x00b", "x" * 65_537, "\ud800"):
        with pytest.raises(ServiceError):
            queue.send(body)
    assert queue.send(b"tab\tand\nline")


def test_a_queue_deleted_under_its_subscription(cloud):
    """A message that cannot be delivered is counted on the subscription, and publishing succeeds."""
    queue = cloud.queues.create("q")
    topic = cloud.topics.create("t")
    subscription, _ = cloud.topics.subscribe("t", "s", SubscriptionAttributes(queue.resource))
    cloud.queues.delete("q")
    cloud.topics.publish("t", Outgoing("x"))
    assert subscription.undelivered == 1
    assert [message.body for message in topic.published] == ["x"]


TEXT = st.text().filter(is_carriable)


@given(TEXT, TEXT)
def test_xml_round_trip(one, other):
    """Every text that XML can carry is read as it was written, carriage returns and markup included."""
    element = parse(build("R", [("A", one), ("L", [("B", other)])]), "R")
    assert text_of(element, "A") == (one or None)
    assert text_of(element.find("L"), "B") == (other or None)


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: xml("R", A=text).encode("utf-8", "ignore"))
)
def test_xml_of_any_kind_is_parsed_or_refused(data):
    """No input makes the parser raise anything but MalformedXml."""
    with contextlib.suppress(MalformedXml):
        assert parse(data, "R").tag == "R"


class _Model:
    """What a queue must do, in the simplest code."""

    def __init__(self):
        self.messages = {}
        self.now = 0

    def visible(self):
        return {key for key, (shows_at, _) in self.messages.items() if shows_at <= self.now}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3)),
        st.tuples(st.just("receive"), st.integers(1, 4)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("change"), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(max_examples=examples(50), deadline=None)
@given(STEPS)
def test_a_queue_agrees_with_a_plain_model(steps):
    """After any sequence of calls the queue agrees with the model."""
    with alilocal.LocalCloud(seed=1, clock=StandingTime()) as cloud:
        queue = cloud.queues.create("q", visibility_timeout=2)
        model = _Model()
        for step, number in steps:
            if step == "send":
                message_id = queue.send("x", delay_seconds=number)
                model.messages[message_id] = (model.now + number, None)
            elif step == "receive":
                visible = model.visible()
                got = queue.receive(number)
                assert len(got) == min(number, len(visible))
                assert {message.message_id for message in got} <= visible
                for message in got:
                    model.messages[message.message_id] = (model.now + 2, message.receipt_handle)
            elif step == "advance":
                cloud.clock.advance(number)
                model.now += number
            else:
                _use_handle(queue, model, step, number)
            assert {m.message_id for m in queue.messages if m.state == "active"} == model.visible()
            assert {m.message_id for m in queue.messages} == set(model.messages)
            assert queue.shows_any() is bool(model.visible())


def _use_handle(queue, model, step, number):
    held = [(key, *entry) for key, entry in model.messages.items() if entry[1] is not None]
    if not held:
        return
    key, shows_at, handle = held[number % len(held)]
    call = {"delete": lambda: queue.delete(handle), "change": lambda: queue.change_visibility(handle, number)}
    if shows_at <= model.now:
        with pytest.raises(ServiceError):
            call[step]()
    elif step == "delete":
        call[step]()
        del model.messages[key]
    else:
        model.messages[key] = (model.now + number, call[step]().receipt_handle)


MANY = "<Messages><Message><MessageBody>x</MessageBody></Message></Messages>"


@pytest.mark.parametrize(
    "body",
    [
        MANY.encode("utf-16"),
        f"<!--{'long ' * 500}-->{MANY}".encode(),
        f'<?xml version="1.0"?><?style <a?><!-- <Message> -->{MANY}'.encode(),
    ],
)
def test_a_batch_is_recognized_by_its_root_element(wire, queue, body):
    """A batch is found whatever its encoding is, and whatever stands before its root element."""
    assert wire.smq("POST", "/queues/q/messages", body).status_code == 201
    assert [message.body for message in queue.messages] == ["x"]


def test_numbers_may_have_spaces_around_them(wire, queue):
    """XML that is indented has spaces around its texts."""
    body = xml("Message", MessageBody="x", DelaySeconds="\n  5\n")
    assert wire.smq("POST", "/queues/q/messages", body).status_code == 201
    assert [message.state for message in queue.messages] == ["delayed"]


@pytest.mark.parametrize("query", ["waitseconds=x", "waitseconds=1.5", "waitseconds=31", "numOfMessages=x"])
def test_a_wrong_parameter_of_a_query_has_its_own_code(wire, queue, query):
    """A parameter that is not a number is as wrong as one out of range."""
    assert code(wire.smq("GET", f"/queues/q/messages?{query}")) == (400, "InvalidQueryString")
