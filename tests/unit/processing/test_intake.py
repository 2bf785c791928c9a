import base64
import json
from dataclasses import replace

import pytest

from fcruntime.triggers import Message, decode
from fcruntime.triggers.identity import identify_body
from hpoq.contract import request as contract
from hpoq.contract.identity import PRODUCER, WATCH, derive_key, digest
from hpoq.processing.envelope import Envelope, seal
from hpoq.processing.intake import (
    Defective,
    Ready,
    Rejected,
    Undeliverable,
    Watched,
    is_keyed_message,
    take_in,
)
from hpoq.processing.lifecycle import Delivery
from hpoq.processing.watchorder import WatchOrder, encode_order
from hpoq.testing import smq_stream_event
from hpoqctl.deadletters import recover_envelopes
from support.request import REQUEST as TEXT
from support.request import request

REQUEST = TEXT.encode()
KEYED = request("k").encode()
KEY = derive_key("smq", "M1")


def test_a_request_is_known_by_its_message():
    """Without a key of the producer's, the message id is the identity, and no other request can have its key."""
    intake = take_in(Message("smq", "M1", REQUEST))
    assert isinstance(intake, Ready)
    assert intake.delivery == Delivery(
        KEY, intake.delivery.fingerprint, KEY, digest(REQUEST), message_id="M1", may_conflict=False
    )
    assert intake.envelope == Envelope("smq", "M1", KEY, REQUEST)


@pytest.mark.parametrize("namespace", ["", "team-a"])
def test_a_producers_key_goes_before_the_message(namespace):
    """The key is the producer's, the delivery the message's; two requests may then have one key."""
    intake = take_in(Message("smq", "M1", KEYED), namespace)
    assert isinstance(intake, Ready)
    assert intake.delivery.key == derive_key(PRODUCER, "k", namespace)
    assert intake.delivery.delivery == derive_key("smq", "M1", namespace)
    assert intake.delivery.may_conflict


def test_keyed_requests_need_no_source():
    """The items that an event stream's transform makes of deliveries are known by the producers' keys."""
    other = json.loads(KEYED) | {"idempotencyKey": "other"}
    event = json.dumps([json.loads(KEYED), json.dumps(other)])
    first, second = (take_in(item) for item in decode(event, request_id="r", accepts=is_keyed_message))
    assert isinstance(first, Ready)
    assert first.delivery.key == derive_key(PRODUCER, "k")
    assert second.delivery.key == derive_key(PRODUCER, "other")
    assert first.delivery.message_id is None


@pytest.mark.parametrize("data", [json.loads(KEYED), KEYED.decode()], ids=["object", "text"])
def test_a_keyed_request_may_be_in_a_cloudevent_without_an_identity(data):
    """A CloudEvent that lacks source or id is known by the key of the request in it."""
    event = json.dumps([{"specversion": "1.0", "data": data}])
    (intake,) = (take_in(item) for item in decode(event, accepts=is_keyed_message))
    assert intake.delivery.key == derive_key(PRODUCER, "k")


@pytest.mark.parametrize("source", ["mqtt", "rabbitmq"])
def test_a_message_that_nothing_identifies_is_kept(source):
    """A message without an identity is rejected and dead-lettered as a whole, because its request may be valid."""
    items = {
        "mqtt": {"props": {"firstTopic": "t"}, "body": REQUEST.decode()},
        "rabbitmq": {"envelope": {}, "props": {}, "body": REQUEST.decode()},
    }
    (intake,) = (take_in(item) for item in decode(json.dumps([items[source]])))
    assert [violation.rule for violation in intake.error.violations] == ["message-id"]
    assert intake.content == intake.envelope
    assert intake.content.body == REQUEST
    (wrong,) = (take_in(item) for item in decode(json.dumps([{**items[source], "body": "{}x"}])))
    assert wrong.content is None


@pytest.mark.parametrize(
    "item", [{"idempotencyKey": "k"}, {"experiment": {}}, {"idempotencyKey": 1, "experiment": {}}]
)
def test_items_without_a_key_of_their_own_need_a_source(item):
    """An item without a source and a key is a configuration fault, and stays with its source."""
    (intake,) = (take_in(one) for one in decode(json.dumps([item]), accepts=is_keyed_message))
    assert isinstance(intake, Undeliverable)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=lambda one: one.__name__)
def test_a_body_may_be_any_base64(encode):
    """The alphabet for URLs and missing padding make no difference to the request."""
    (item,) = decode(json.dumps([{"messageId": "M1", "messageBody": encode(REQUEST).decode().rstrip("=")}]))
    assert take_in(item) == take_in(Message("smq", "M1", REQUEST))


CLOUD_EVENT = json.dumps(
    {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": json.loads(REQUEST)}
).encode()


@pytest.mark.parametrize("plain", [REQUEST, KEYED, CLOUD_EVENT], ids=["by id", "keyed", "CloudEvent"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: json.dumps(body.decode()),
        lambda body: base64.b64encode(json.dumps(body.decode()).encode()).decode(),
        lambda body: json.dumps(base64.b64encode(body).decode()),
    ],
    ids=["text", "base64 of text", "text of base64"],
)
def test_a_body_that_is_text_is_the_same_request_wherever_it_is_read(plain, wrap):
    """Key and fingerprint are those of the plain body, in a first delivery, a copy and each kind of dead letter."""
    body = wrap(plain)
    (item,) = decode(smq_stream_event({"M1": body}))
    first, expected = take_in(item), take_in(Message("smq", "M1", plain, identify_body(plain)))
    assert (first.delivery.key, first.delivery.fingerprint) == (
        expected.delivery.key,
        expected.delivery.fingerprint,
    )
    dead_letters = [
        recover_envelopes(body.encode(), "M1"),
        recover_envelopes(smq_stream_event({"M1": body}), None),
        recover_envelopes(seal(first.envelope), None),
    ]
    for (envelope,) in dead_letters:
        again = take_in(Message("smq", "M9", seal(envelope)))
        assert (again.delivery.key, again.delivery.fingerprint) == (
            first.delivery.key,
            first.delivery.fingerprint,
        )
        assert isinstance(again, Ready)


@pytest.mark.parametrize("body", [REQUEST, KEYED])
def test_a_message_that_was_sent_again_is_the_same_message(body):
    """An envelope gives first id, number of the copy and redrive; all else of the message is unchanged."""
    first = take_in(Message("smq", "M1", body))
    envelope = Envelope("smq", "M1", KEY, body, sequence=4, redriven=True, since=9.5)
    again = take_in(Message("smq", "M9", seal(envelope)))
    assert again.delivery == replace(first.delivery, sequence=4, redriven="M9", since=9.5)
    assert again.envelope == envelope


@pytest.mark.parametrize("member", [{"experiment": {}}, {"stop": {"experimentId": "s1"}}])
def test_experiments_and_stops_with_a_key_need_no_source(member):
    """Both are requests that the function carries out."""
    assert is_keyed_message({"idempotencyKey": "k", **member})
    assert not is_keyed_message({"idempotencyKey": "k"})


def test_an_undecodable_item_is_refused_for_good():
    """It never becomes readable. Without an id, its digest is its identity."""
    items = decode(json.dumps([{"messageId": "M7", "requestId": "R"}, {"messageBody": 7, "requestId": "R"}]))
    for item in items:
        intake = take_in(item)
        assert isinstance(intake, Rejected)
        assert (intake.error.code, intake.error.retryable) == ("Undecodable", False)
        expected = f"undecodable:{item.kind}:{item.rule}" if item.id else f"body:{item.digest}"
        assert intake.delivery.fingerprint == expected


def test_a_watch_message_must_have_the_identity_of_its_order():
    """Otherwise a record of one experiment would follow another one."""
    order = WatchOrder(KEY, "s1", 0.0)
    for identity in ("other", order.identity):
        sealed = seal(Envelope(WATCH, identity, derive_key(WATCH, identity), encode_order(order).encode()))
        is_followed = isinstance(take_in(Message("smq", "M9", sealed)), Watched)
        assert is_followed == (identity == order.identity)


def test_a_rejected_message_keeps_its_own_key():
    """A rejection is recorded under the message, so that a corrected request may use the producer's key."""
    body = b'{"experiment":{"Nmae":1},"idempotencyKey":"k"}'
    intake = take_in(Message("smq", "M1", body))
    assert isinstance(intake, Rejected)
    assert (intake.delivery.key, intake.delivery.may_conflict) == (KEY, False)
    assert intake.delivery.fingerprint == f"body:{digest(body)}", "never that of a valid request"
    assert (intake.error.code, intake.error.retryable) == ("InvalidRequest", False)
    assert intake.error.violations


def test_a_rejected_message_is_known_under_the_producers_key_too(monkeypatch):
    """An earlier version may have taken the request under that key."""
    monkeypatch.setattr(contract, "read_producer_key", lambda body: "k")
    intake = take_in(Message("smq", "M1", b"[]"))
    assert isinstance(intake, Rejected)
    known = intake.known_as
    assert (known.key, known.may_conflict) == (derive_key(PRODUCER, "k"), True)
    assert (known.delivery, known.body) == (intake.delivery.delivery, intake.delivery.body)


def test_a_defect_in_reading_names_its_place_and_quotes_nothing(monkeypatch):
    """An unexpected error concerns one message, and its text may hold a secret."""

    def parse(body):
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(contract, "parse_request", parse)
    intake = take_in(Message("smq", "M1", REQUEST))
    assert isinstance(intake, Defective)
    assert intake.reason.startswith("ZeroDivisionError in parse (test_intake.py, line ")
    assert (intake.delivery.key, intake.envelope.body) == (KEY, REQUEST)
