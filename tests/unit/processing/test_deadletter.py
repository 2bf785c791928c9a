import json

import pytest

from hpoq.contract.keys import derive_key
from hpoq.processing.deadletter import revive
from hpoq.processing.envelope import Envelope, seal
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body

REQUEST = b'{"experiment":{"Name":"x"}}'
KEYED = b'{"experiment":{"Name":"x"},"idempotencyKey":"k"}'
FIRST = Envelope("smq", "M1", derive_key("smq", "M1"), REQUEST)
CLOUD_EVENT = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"Name":"x"}}'


@pytest.mark.parametrize("body", [REQUEST.decode(), encode_body(REQUEST)])
def test_an_event_streams_letter(body):
    """The letter is the message's own event, whichever way its body is written."""
    assert revive(smq_event("M1", body), None) == [FIRST]


@pytest.mark.parametrize("body", [REQUEST, encode_body(REQUEST).encode()])
def test_a_queues_letter(body):
    """The queue keeps the body, and beside it the id that the message had."""
    assert revive(body, "M1") == [FIRST]


def test_a_cloudevent_in_a_queues_letter_is_a_body():
    """A producer's CloudEvent was the body of a message, not the event of a bus."""
    (envelope,) = revive(CLOUD_EVENT, "M1")
    assert (envelope.key, envelope.body) == (FIRST.key, CLOUD_EVENT)
    assert revive(CLOUD_EVENT, None) == []


@pytest.mark.parametrize("origin", ["M7", None])
def test_a_message_that_was_sent_back_before(origin):
    """An envelope in a letter keeps the first id and key, however often the message is moved."""
    assert revive(seal(FIRST), origin) == [FIRST]
    assert revive(smq_event("M7", seal(FIRST).decode()), None) == [FIRST]


def test_a_failed_calls_letter():
    """An asynchronous call's letter tells of the whole event and of the call's id."""
    letter = {"requestContext": {"requestId": "r-1"}, "requestPayload": REQUEST.decode()}
    (envelope,) = revive(json.dumps(letter).encode(), None)
    assert (envelope.kind, envelope.message_id, envelope.body) == ("invocation", "r-1", REQUEST)
    batch = smq_stream_event({"M1": REQUEST, "M2": REQUEST}).decode()
    found = revive(json.dumps({**letter, "requestPayload": batch}).encode(), None)
    assert [envelope.message_id for envelope in found] == ["M1", "M2"]


def test_a_key_of_its_own_is_enough():
    """A request that brings its idempotencyKey has the same key whatever it is known by."""
    (envelope,) = revive(KEYED, None)
    assert envelope.body == KEYED


@pytest.mark.parametrize("body", [REQUEST, b"", b"words", b"[1]", b'{"a":', b"[]"])
def test_a_letter_that_does_not_tell(body):
    """Without an id and without a key of its own a message could become a second experiment: it stays."""
    assert revive(body, None) == []
