import json

import pytest

from fcruntime.triggers import decode
from hpoq.contract.identity import DIGEST, derive_key, digest
from hpoq.processing.envelope import Envelope, open_envelope, seal
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from hpoqctl.deadletters import recover_envelopes

REQUEST = b'{"experiment":{"Name":"x"}}'
KEYED = b'{"experiment":{"Name":"x"},"idempotencyKey":"k"}'
FIRST = Envelope("smq", "M1", derive_key("smq", "M1"), REQUEST)
CLOUD_EVENT = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"Name":"x"}}'


@pytest.mark.parametrize("body", [REQUEST.decode(), encode_body(REQUEST)])
def test_a_dead_letter_of_an_event_stream(body):
    """A dead letter of an event stream is the event of one message, whatever the form of its body."""
    assert recover_envelopes(smq_event("M1", body), None) == [FIRST]


@pytest.mark.parametrize("body", [REQUEST, encode_body(REQUEST).encode()])
def test_a_dead_letter_of_a_queue(body):
    """A dead-letter policy keeps the body, and the id that the message had in its queue."""
    assert recover_envelopes(body, "M1") == [FIRST]


def test_a_cloudevent_in_a_dead_letter_of_a_queue_is_a_body():
    """A producer's CloudEvent keeps the key of its source and id, and the id that its message had."""
    (envelope,) = recover_envelopes(CLOUD_EVENT, "M1")
    key = derive_key("cloudevent", '{"id":"1","source":"s"}')
    assert (envelope.key, envelope.message_id, envelope.body) == (key, "M1", CLOUD_EVENT)
    assert recover_envelopes(CLOUD_EVENT, None) == []


@pytest.mark.parametrize("origin", ["M7", None])
def test_a_message_that_was_sent_back_before(origin):
    """An envelope in a dead letter keeps the first id and key, however often the message is moved."""
    assert recover_envelopes(seal(FIRST), origin) == [FIRST]
    assert recover_envelopes(smq_event("M7", seal(FIRST).decode()), None) == [FIRST]


SEALED = [
    FIRST,
    Envelope("smq", "M1", derive_key("smq", "M1"), b"\xff" * 9, sequence=4, redriven=True),
    Envelope("smq", "e", derive_key("cloudevent", '{"id":"1","source":"s"}'), CLOUD_EVENT),
    Envelope(DIGEST, None, derive_key(DIGEST, digest(REQUEST)), REQUEST),
]


@pytest.mark.parametrize("envelope", SEALED, ids=lambda envelope: envelope.kind)
@pytest.mark.parametrize("origin", ["M7", None])
def test_an_envelope_is_always_trusted(envelope, origin):
    """A message that hpoq sent itself carries its key, whatever identified it at first."""
    assert recover_envelopes(seal(envelope), origin) == [envelope]
    assert recover_envelopes(encode_body(seal(envelope)).encode(), origin) == [envelope]


def test_a_key_belongs_to_its_namespace():
    """Messages are recovered under keys of the function's own namespace."""
    key = derive_key("smq", "M1", "team-a")
    for body, origin in ((REQUEST, "M1"), (smq_event("M1", REQUEST.decode()), None)):
        assert [one.key for one in recover_envelopes(body, origin, "team-a")] == [key]
    sealed = seal(Envelope("smq", "M1", key, REQUEST))
    assert [one.key for one in recover_envelopes(sealed, None, "team-a")] == [key]
    assert recover_envelopes(sealed, None, "team-b") == []


def test_a_dead_letter_with_an_unreadable_item_is_not_recovered_in_part():
    """Moving the others would delete the dead letter, and with it the item that cannot be read."""
    event = json.loads(smq_stream_event({"M1": REQUEST, "M2": REQUEST}))
    assert len(recover_envelopes(json.dumps(event).encode(), None)) == 2
    del event[1]["data"]["messageBody"]
    assert recover_envelopes(json.dumps(event).encode(), None) == []
    called = {"requestContext": {"requestId": "r-1"}, "requestPayload": json.dumps(event)}
    assert recover_envelopes(json.dumps(called).encode(), None) == []


def test_a_dead_letter_with_an_unknown_key_is_not_recovered_in_part():
    """A message without an id and an idempotencyKey keeps the whole dead letter in its queue."""
    event = json.loads(smq_stream_event({"M1": REQUEST, "M2": REQUEST}))
    event[1] = json.loads(REQUEST)
    assert recover_envelopes(json.dumps(event).encode(), None) == []


def test_a_dead_letter_of_a_failed_call():
    """The dead letter of an asynchronous call contains the whole event and the request id of the call."""
    dead_letter = {"requestContext": {"requestId": "r-1"}, "requestPayload": REQUEST.decode()}
    (envelope,) = recover_envelopes(json.dumps(dead_letter).encode(), None)
    assert (envelope.kind, envelope.message_id, envelope.body) == ("invocation", "r-1", REQUEST)
    batch = smq_stream_event({"M1": REQUEST, "M2": REQUEST}).decode()
    found = recover_envelopes(json.dumps({**dead_letter, "requestPayload": batch}).encode(), None)
    assert [envelope.message_id for envelope in found] == ["M1", "M2"]


def test_a_key_of_its_own_is_enough():
    """A request with an idempotencyKey has the same key, whatever identifies its message."""
    (envelope,) = recover_envelopes(KEYED, None)
    assert envelope.body == KEYED


@pytest.mark.parametrize("body", [REQUEST, b"", b"words", b"[1]", b'{"a":', b"[]"])
def test_a_dead_letter_that_identifies_no_message(body):
    """A message without an id and an idempotencyKey could become a second experiment, so it is not recovered."""
    assert recover_envelopes(body, None) == []


def test_a_failed_call_is_read_under_the_functions_source():
    """The key of a pinned source is derived from the failed call as the function derives it."""
    dead_letter = json.dumps(
        {"requestContext": {"requestId": "r-1"}, "requestPayload": REQUEST.decode()}
    ).encode()
    (envelope,) = recover_envelopes(dead_letter, None, trigger="smq-topic")
    (message,) = decode(REQUEST, source="smq-topic", request_id="r-1")
    assert envelope == open_envelope(message)
    assert envelope.kind == "smq-topic"


@pytest.mark.parametrize("origin", ["L1", None])
def test_what_is_not_of_the_functions_source_stays(origin):
    """The function would read such an event under another key, or not at all."""
    event = smq_event("M1", REQUEST.decode())
    called = {"requestContext": {"requestId": "r-1"}, "requestPayload": event.decode()}
    for body in (event, json.dumps(called).encode(), REQUEST):
        assert recover_envelopes(body, origin, trigger="kafka") == []
    assert recover_envelopes(REQUEST, origin, trigger="invocation") == []
    assert recover_envelopes(event, origin, trigger="smq") == [FIRST]


@pytest.mark.parametrize("trigger", ["smq", "smq-topic", "kafka", "invocation"])
@pytest.mark.parametrize("origin", ["M7", None])
def test_an_envelope_needs_no_source(trigger, origin):
    """A message that hpoq sent itself keeps its key under any pinned source."""
    assert recover_envelopes(seal(FIRST), origin, trigger=trigger) == [FIRST]


def _quote_in_failed_call(event):
    return json.dumps({"requestContext": {"requestId": "r-1"}, "requestPayload": event.decode()}).encode()


@pytest.mark.parametrize("wrap", [bytes, _quote_in_failed_call], ids=["event", "failed call"])
def test_a_dead_letter_that_was_dead_lettered_again(wrap):
    """The id that a dead letter had in the first dead-letter queue is not the id of its messages."""
    batch = wrap(smq_stream_event({"M1": REQUEST, "M2": REQUEST}))
    assert recover_envelopes(wrap(smq_event("M1", REQUEST.decode())), "L1") == [FIRST]
    assert [one.message_id for one in recover_envelopes(batch, "L1")] == ["M1", "M2"]
    damaged = wrap(b'{"data":{"messageId":"M1","requestId":"r"}}')
    assert recover_envelopes(damaged, "L1") == recover_envelopes(damaged, None) == []


@pytest.mark.parametrize("origin", ["L1", None])
def test_an_event_that_two_sources_may_have_delivered_stays(origin):
    """It is no body of a queue's message, and which of its keys the function derives is not known."""
    event = {"topic": "t", "partition": 1, "offset": 2, "value": REQUEST.decode()}
    event |= {"systemProperties": {"UNIQ_KEY": "M1"}, "body": REQUEST.decode()}
    assert recover_envelopes(json.dumps(event).encode(), origin) == []


NOTIFICATION = json.dumps({"TopicName": "in", "MessageId": "T1", "Message": REQUEST.decode()})
XML_NOTIFICATION = (
    "<Notification><TopicName>in</TopicName><MessageId>T1</MessageId>"
    f"<Message><![CDATA[{REQUEST.decode()}]]></Message></Notification>"
)


@pytest.mark.parametrize("trigger", ["smq", None])
@pytest.mark.parametrize("body", [NOTIFICATION, XML_NOTIFICATION, CLOUD_EVENT.decode(), "[1]", "words"])
def test_a_dead_letter_of_a_queue_has_the_key_that_the_function_derives(body, trigger):
    """A queue's dead letter is read as the queue's trigger delivers it, notifications of a topic included."""
    (message,) = decode(smq_event("M1", body), source=trigger)
    assert recover_envelopes(body.encode(), "M1", trigger=trigger) == [open_envelope(message)]


def test_a_notification_without_a_readable_message_stays():
    """The function reads no message in it."""
    body = json.dumps({"TopicName": "in", "MessageId": "T1", "Message": 1}).encode()
    assert recover_envelopes(body, "M1") == []


@pytest.mark.parametrize("origin", ["M7", None])
def test_an_envelope_of_another_namespace_is_not_put_into_another_envelope(origin):
    """An envelope that does not open has a key that only the right namespace derives."""
    sealed = seal(Envelope("smq", "M1", derive_key("smq", "M1", "team-a"), REQUEST))
    for body in (sealed, smq_event("M7", sealed.decode())):
        assert recover_envelopes(body, origin) == []
        assert [one.message_id for one in recover_envelopes(body, origin, "team-a")] == ["M1"]
