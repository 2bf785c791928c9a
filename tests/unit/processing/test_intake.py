import base64
import inspect
import json
import sys
from dataclasses import replace

import pytest

from fcruntime.triggers import Message, Undecodable, decode
from fcruntime.triggers.identity import identify_body
from hpoq.contract import request as contract
from hpoq.contract.events import EventData, EventError, make_event
from hpoq.contract.identity import DIGEST, PRODUCER, STOP, WATCH, derive_key, digest
from hpoq.errors import Violation
from hpoq.processing.envelope import Envelope, seal
from hpoq.processing.intake import (
    Defective,
    Ready,
    Rejected,
    Shown,
    Undeliverable,
    Watched,
    decode_event,
    is_keyed_message,
    mask_message_id,
)
from hpoq.processing.lifecycle import Delivery
from hpoq.processing.watchorder import UNREADABLE, WatchOrder, encode_order
from hpoq.testing import smq_event, smq_stream_event
from hpoqctl.deadletters import recover_envelopes
from support.reading import read_message
from support.request import REQUEST as TEXT
from support.request import make_document, request

REQUEST = TEXT.encode()
KEYED = request("k").encode()
KEY = derive_key("smq", "M1")


def test_a_request_is_known_by_its_message():
    """Without a key of the producer's, the message id is the identity."""
    intake = read_message(Message("smq", "M1", REQUEST))
    assert isinstance(intake, Ready)
    assert intake.delivery == Delivery(
        KEY, intake.delivery.fingerprint, KEY, digest(REQUEST), message_id="M1"
    )
    assert intake.envelope == Envelope("smq", "M1", KEY, REQUEST)


def test_a_stack_that_is_nearly_full_rejects_no_request():
    """A fault of the machine says nothing about the request: another instance can read it."""
    read_message(Message("smq", "M1", KEYED))
    limit, depth, read = sys.getrecursionlimit(), len(inspect.stack(0)), set()
    for spare in range(0, 60, 2):
        try:
            sys.setrecursionlimit(depth + spare)
            read.add(type(read_message(Message("smq", "M1", KEYED))))
        except RecursionError:
            continue
        finally:
            sys.setrecursionlimit(limit)
    assert Ready in read
    assert read <= {Ready, Defective}


@pytest.mark.parametrize("message_id", ["M1", None])
def test_a_cloudevent_that_is_sent_twice_is_one_request_in_two_deliveries(message_id):
    """Its key is that of its source and id."""
    intake = read_message(Message("smq", message_id, CLOUD_EVENT, identify_body(CLOUD_EVENT)), "team-a")
    key = derive_key("cloudevent", identify_body(CLOUD_EVENT), "team-a")
    delivery = derive_key("smq", "M1", "team-a") if message_id else key
    assert (intake.delivery.key, intake.delivery.message_key) == (key, delivery)


@pytest.mark.parametrize(
    ("message_id", "shown"),
    [
        ('{"id":"1","source":"https://u:hunter22-pw@host"}', '{"id":"1","source":"https://u:***@host"}'),
        ("orders{1}", "orders{1}"),
    ],
    ids=["place", "word"],
)
def test_the_id_of_a_message_is_shown_without_secrets(message_id, shown):
    """The id of a record or of a CloudEvent names its place, which may be a URL."""
    assert read_message(Message("kafka", message_id, REQUEST)).delivery.message_id == shown


@pytest.mark.parametrize("start", ["", "[" * 100_000], ids=["text", "nested too deeply"])
def test_an_id_that_is_not_json_is_shown_without_secrets(start):
    """An envelope may bring an id of any form."""
    assert mask_message_id(f"{start}password=hunter22-pw") == f"{start}password=***"


def test_a_message_without_an_id_is_its_own_delivery():
    """The key of its content, or of its sender's choice, is all that is known."""
    intake = read_message(Message("smq", None, b"[]"), "team-a")
    key = derive_key(DIGEST, digest(b"[]"), "team-a")
    assert (intake.delivery.key, intake.delivery.message_key) == (key, key)


@pytest.mark.parametrize("namespace", ["", "team-a"])
def test_a_producers_key_goes_before_the_message(namespace):
    """The key is the producer's, the delivery the message's."""
    intake = read_message(Message("smq", "M1", KEYED), namespace)
    assert isinstance(intake, Ready)
    assert intake.delivery.key == derive_key(PRODUCER, "k", namespace)
    assert intake.delivery.message_key == derive_key("smq", "M1", namespace)


def test_keyed_requests_need_no_source():
    """The items that an event stream's transform makes of deliveries are known by the producers' keys."""
    other = json.loads(KEYED) | {"idempotencyKey": "other"}
    event = json.dumps([json.loads(KEYED), json.dumps(other)]).encode()
    first, second = (read_message(item) for item in decode_event(event, request_id="r"))
    assert isinstance(first, Ready)
    assert first.delivery.key == derive_key(PRODUCER, "k")
    assert second.delivery.key == derive_key(PRODUCER, "other")
    assert first.delivery.message_id is None


@pytest.mark.parametrize("data", [json.loads(KEYED), KEYED.decode()], ids=["object", "text"])
def test_a_keyed_request_may_be_in_a_cloudevent_without_an_identity(data):
    """A CloudEvent that lacks source or id is known by the key of the request in it."""
    event = json.dumps([{"specversion": "1.0", "data": data}])
    (intake,) = (read_message(item) for item in decode(event, accepts=is_keyed_message))
    assert intake.delivery.key == derive_key(PRODUCER, "k")


@pytest.mark.parametrize("source", ["mqtt", "rabbitmq"])
def test_a_message_that_nothing_identifies_is_kept(source):
    """A message without an identity is rejected and dead-lettered as a whole, because its request may be valid."""
    items = {
        "mqtt": {"props": {"firstTopic": "t"}, "body": REQUEST.decode()},
        "rabbitmq": {"envelope": {}, "props": {}, "body": REQUEST.decode()},
    }
    (intake,) = (read_message(item) for item in decode(json.dumps([items[source]])))
    assert [violation.rule for violation in intake.error.violations] == ["message-id"]
    assert intake.content == intake.envelope
    assert intake.content.body == REQUEST
    (wrong,) = (read_message(item) for item in decode(json.dumps([{**items[source], "body": "{}x"}])))
    assert wrong.content is None


@pytest.mark.parametrize(
    "item", [{"idempotencyKey": "k"}, {"experiment": {}}, {"idempotencyKey": 1, "experiment": {}}]
)
def test_items_without_a_key_of_their_own_need_a_source(item):
    """An item without a source and a key is a configuration fault, and stays with its source."""
    (intake,) = (read_message(one) for one in decode(json.dumps([item]), accepts=is_keyed_message))
    assert isinstance(intake, Undeliverable)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=lambda one: one.__name__)
def test_a_body_may_be_any_base64(encode):
    """The alphabet for URLs and missing padding make no difference to the request."""
    (item,) = decode(json.dumps([{"messageId": "M1", "messageBody": encode(REQUEST).decode().rstrip("=")}]))
    assert read_message(item) == read_message(Message("smq", "M1", REQUEST))


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
    first, expected = read_message(item), read_message(Message("smq", "M1", plain, identify_body(plain)))
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
        again = read_message(Message("smq", "M9", seal(envelope)))
        assert (again.delivery.key, again.delivery.fingerprint) == (
            first.delivery.key,
            first.delivery.fingerprint,
        )
        assert isinstance(again, Ready)


@pytest.mark.parametrize("body", [REQUEST, KEYED])
def test_a_message_that_was_sent_again_is_the_same_message(body):
    """An envelope gives first id, number of the copy and redrive; all else of the message is unchanged."""
    first = read_message(Message("smq", "M1", body))
    envelope = Envelope("smq", "M1", KEY, body, sequence=4, redriven=True, since=9.5)
    again = read_message(Message("smq", "M9", seal(envelope)))
    assert again.delivery == replace(first.delivery, sequence=4, redriven="M9", since=9.5)
    assert again.envelope == envelope


def test_a_topics_message_that_cannot_be_read_is_an_item():
    """A topic may push a body that is not JSON, so its event is not read as that of a queue."""
    names = ("TopicName", "MessageId", "Message")
    event = b"<Notification>%s</Notification>" % b"".join(
        b"<%s>\xff</%s>" % (name.encode(), name.encode()) for name in names
    )
    (item,) = decode_event(event, "smq-topic")
    assert item.rule == "trigger.encoding"


@pytest.mark.parametrize("encode", [bytes, base64.b64encode])
def test_a_queues_event_is_refused_in_any_form_by_a_pinned_source(encode):
    """It is reported as an event of another source, and not as one that cannot be read."""
    (item,) = decode_event(encode(smq_event("M1", b"{}")), "invocation")
    assert item.rule == "trigger.unknown-source"


SENT_AGAIN = seal(Envelope("kafka", "K1", derive_key("kafka", "K1"), REQUEST, sequence=1)).decode()


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        (smq_stream_event({"M1": SENT_AGAIN, "M2": SENT_AGAIN}), ["smq", "smq"]),
        (smq_stream_event({"M1": SENT_AGAIN, "M2": REQUEST}), ["undecodable", "undecodable"]),
        (smq_stream_event({"M1": SENT_AGAIN, "M2": "?"}).replace(b'"?"', b"null"), ["undecodable"] * 2),
        (
            json.dumps({"rawPath": "/", "headers": {}, "requestContext": {}, "body": SENT_AGAIN}),
            ["undecodable"],
        ),
    ],
)
def test_beside_a_pinned_source_queues_alone_bring_our_own_messages_alone(event, kinds):
    """What a caller of an HTTP trigger makes up is not taken, and neither is a producer's message from a queue."""
    assert [item.kind for item in decode_event(event, "kafka")] == kinds


@pytest.mark.parametrize("member", [{"experiment": {}}, {"stop": {"experimentId": "s1"}}])
def test_experiments_and_stops_with_a_key_need_no_source(member):
    """Both are requests that the function carries out."""
    assert is_keyed_message({"idempotencyKey": "k", **member})
    assert not is_keyed_message({"idempotencyKey": "k"})


def test_an_undecodable_item_is_refused_for_good():
    """It never becomes readable. Without an id, its digest is its identity."""
    items = decode(json.dumps([{"messageId": "M7", "requestId": "R"}, {"messageBody": 7, "requestId": "R"}]))
    for item in items:
        intake = read_message(item)
        assert isinstance(intake, Rejected)
        assert (intake.error.code, intake.error.retryable) == ("Undecodable", False)
        expected = f"undecodable:{item.kind}:{item.rule}" if item.id else f"body:{item.digest}"
        assert intake.delivery.fingerprint == expected


def test_a_watch_message_must_have_the_identity_of_its_order():
    """Otherwise a record of one experiment would follow another one."""
    order = WatchOrder(KEY, "s1", 0.0)
    for identity in ("other", order.identity):
        sealed = seal(Envelope(WATCH, identity, derive_key(WATCH, identity), encode_order(order).encode()))
        is_followed = isinstance(read_message(Message("smq", "M9", sealed)), Watched)
        assert is_followed == (identity == order.identity)


def test_a_rejected_message_keeps_its_own_key():
    """A rejection is recorded under the message, so that a corrected request may use the producer's key."""
    body = b'{"experiment":{"Nmae":1},"idempotencyKey":"k"}'
    intake = read_message(Message("smq", "M1", body))
    assert isinstance(intake, Rejected)
    assert intake.delivery.key == KEY
    assert intake.delivery.fingerprint.startswith("body:"), "never that of a valid request"
    assert (intake.error.code, intake.error.retryable) == ("InvalidRequest", False)
    assert intake.error.violations


def test_a_rejected_message_is_known_under_the_producers_key_too(monkeypatch):
    """An earlier version may have taken the request under that key."""
    monkeypatch.setattr(contract, "read_producer_key", lambda body: "k")
    intake = read_message(Message("smq", "M1", b"[]"))
    assert isinstance(intake, Rejected)
    known = intake.known_as
    assert known.key == derive_key(PRODUCER, "k")
    assert (known.message_key, known.body) == (intake.delivery.message_key, intake.delivery.body)


def test_a_rejected_request_is_known_by_its_content():
    """A bus gives each copy of an event that is published again another time, and may write it in another order."""
    first, again, other = (
        read_message(Message("eventbridge", "B1", json.dumps(event).encode())).delivery.fingerprint
        for event in (
            {**OWN, "time": "2026-01-01T00:00:00Z", "data": {"experiment": {"Name": 1}, "dryRun": True}},
            {**OWN, "time": "2026-01-02T00:00:00Z", "data": {"dryRun": True, "experiment": {"Name": 1}}},
            {**OWN, "time": "2026-01-01T00:00:00Z", "data": {"experiment": {"Name": 2}, "dryRun": True}},
        )
    )
    assert first == again != other
    assert read_message(Message("smq", "M1", b"no JSON")).delivery.fingerprint == "body:" + digest(b"no JSON")


def test_a_defect_in_reading_names_its_place_and_quotes_nothing(monkeypatch):
    """An unexpected error concerns one message, and its text may hold a secret."""

    def parse(body, _attributes):
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(contract, "parse_request", parse)
    intake = read_message(Message("smq", "M1", REQUEST))
    assert isinstance(intake, Defective)
    assert intake.reason.startswith("ZeroDivisionError in parse (test_intake.py, line ")
    assert (intake.delivery.key, intake.envelope.body) == (KEY, REQUEST)


def test_a_defect_in_describing_a_rejection_is_that_of_one_message(monkeypatch):
    """The other messages of the event must be read all the same."""

    def find(body):
        raise ZeroDivisionError

    monkeypatch.setattr(contract, "read_producer_key", find)
    assert isinstance(read_message(Message("smq", "M1", b"[]")), Defective)


def test_an_unpaired_surrogate_in_a_secret_is_a_reason_to_reject():
    """The producer's key beside it is shown without the secret."""
    body = rb'{"idempotencyKey": "a%2Fbcdefgh", "password": "abcd\ud800", "experiment": {"Name": 5}}'
    intake = read_message(Message("smq", "M1", body))
    assert isinstance(intake, Rejected)
    assert intake.shown.producer_key == "a%2Fbcdefgh"


NAMESPACE = "team-a"
IN_TEAM = derive_key("smq", "M1", NAMESPACE)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def delivered(body, **members):
    """Return the delivery of a message without a producer's key that has `body`."""
    usual = Delivery(IN_TEAM, "", IN_TEAM, digest(body), message_id="M1")
    return replace(usual, **members)


EVENT = json.dumps(
    make_event(
        "rejected",
        event_id="e",
        source="s",
        time=0.0,
        data=EventData("k", "M0", "R", 1, {}, error=EventError("C", "m", retryable=False)),
    )
).encode()


@pytest.mark.parametrize(
    ("body", "code", "remedy", "retryable"),
    [
        (EVENT, "OwnEvent", "remove the subscription", False),
        (
            seal(Envelope("smq", "M0", derive_key("smq", "M0"), b"{}")),
            "EnvelopeInvalid",
            "HPOQ_NAMESPACE",
            True,
        ),
    ],
    ids=["event", "envelope"],
)
def test_what_must_not_be_answered_stays_without_a_record(body, code, remedy, retryable):
    """An answer to an event of hpoq's own would come back; a message of another namespace has a key there."""
    intake = read_message(Message("smq", "M1", body), NAMESPACE)
    assert intake == Undeliverable(delivered(body), intake.error)
    assert (intake.error.code, intake.error.retryable) == (code, retryable)
    assert remedy in intake.error.message


@pytest.mark.parametrize("message_id", ["M1", None])
def test_what_is_not_a_well_formed_envelope_is_rejected_with_its_content(message_id):
    """It may hold somebody's request, but it must not wait for a setting that cannot open it."""
    body = b'{"hpoq":{"key":0}}'
    intake = read_message(Message("smq", message_id, body), NAMESPACE)
    assert isinstance(intake, Rejected)
    assert intake.error.code == "InvalidRequest"
    assert intake.content == intake.envelope
    assert intake.content.body == body


OWN = json.loads(EVENT)
STRAY = {name: OWN["data"][name] for name in ("requestId", "attempts", "timings")}
BARE = json.loads(REQUEST)["experiment"]


@pytest.mark.parametrize(
    "document",
    [
        {**make_document("k"), "cause": OWN},
        {**make_document("k"), **STRAY},
        {**make_document("k"), **OWN["data"]},
        make_document("k", Description=json.dumps(OWN), Accessibility="WRONG"),
        {"experiment": OWN},
        {"stop": OWN["data"]},
        {**BARE, "data": OWN},
        {**BARE, "idempotencyKey": "k", **STRAY},
        {**BARE, "Description": json.dumps(OWN), "Accessibility": "WRONG"},
        {**OWN, "data": {**make_document("k"), "cause": OWN}},
        {**OWN, "data": json.dumps({**make_document("k"), **STRAY})},
        {**OWN, "data": {**BARE, "cause": OWN}},
        [OWN, make_document("k")],
        [],
    ],
)
def test_a_request_with_an_event_in_it_is_not_an_event(document):
    """What has an experiment or a stop is answered, whatever else it has."""
    assert isinstance(read_message(Message("smq", "M1", json.dumps(document).encode())), Rejected)


def test_a_request_in_a_cloudevent_of_any_type_is_a_request():
    """The type of a CloudEvent is not that of its data."""
    assert isinstance(
        read_message(Message("smq", "M1", json.dumps({**OWN, "data": make_document("k")}).encode())), Ready
    )


def test_a_rejection_has_all_that_could_be_read():
    """Its event shows the experiment's name, and the producer's key without secrets of the request."""
    document = make_document("k-s3cret-s3cret", Name="n", WorkspaceId="w7", Nmae=1)
    body = json.dumps({**document, "password": "s3cret-s3cret"}).encode()
    intake = read_message(Message("smq", "M1", body), NAMESPACE)
    fingerprint = intake.delivery.fingerprint
    key = derive_key(PRODUCER, "k-s3cret-s3cret", NAMESPACE)
    assert intake == Rejected(
        delivered(body, fingerprint=fingerprint),
        Envelope("smq", "M1", IN_TEAM, body),
        intake.error,
        Shown("n", "w7", "k-***"),
        known_as=delivered(body, key=key, fingerprint=fingerprint),
    )
    assert intake.error.message
    assert {one.pointer for one in intake.error.violations} == {"/experiment/Nmae", "/password"}


def test_a_guard_that_nothing_checks_is_rejected_with_the_warnings_of_the_request():
    """Only a function that follows experiments accepts a guard."""
    document = make_document("k", Name="n", WorkspaceId="w7")
    document["experiment"]["HpoExperimentConfiguration"]["yml_config"].pop("assessor", None)
    document["experiment"]["HpoExperimentConfiguration"]["yml_config"]["tuner"]["class_args"] = {}
    guarded = json.dumps({**document, "guard": {"maxHours": 1}}).encode()
    accepted = read_message(Message("smq", "M1", guarded), watches=True)
    assert isinstance(accepted, Ready)
    assert accepted.shown.warnings
    rejected = read_message(Message("smq", "M1", guarded))
    assert [one.pointer for one in rejected.error.violations] == ["/guard"]
    assert rejected.shown == accepted.shown == Shown("n", "w7", "k", accepted.shown.warnings)


def test_a_message_that_nothing_identifies_is_rejected_under_the_name_of_its_request():
    """The violation is about the message as a whole."""
    body = request(None, Name="n", WorkspaceId="w7").encode()
    intake = read_message(Message("smq", None, body), NAMESPACE)
    ((violation),) = intake.error.violations
    assert (violation.pointer, violation.rule) == ("", "message-id")
    assert "idempotencyKey" in violation.message
    assert (intake.shown, intake.delivery.message_id) == (Shown("n", "w7"), None)


@pytest.mark.parametrize("message_id", ["M1", None])
def test_a_valid_request_that_is_rejected_shows_no_secret_in_its_name(message_id):
    """Its secrets are not known to what writes the event."""
    document = make_document(None, Name="run --password hunter22", WorkspaceId="token=hunter22")
    body = json.dumps({**document, "guard": {"maxHours": 1}}).encode()
    intake = read_message(Message("smq", message_id, body), NAMESPACE)
    assert isinstance(intake, Rejected)
    assert intake.shown == Shown("run --password ***", "token=***")


@pytest.mark.parametrize(
    ("message_id", "envelope", "body"),
    [
        ("M9", Envelope(DIGEST, None, derive_key(DIGEST, digest(REQUEST)), REQUEST), None),
        (None, Envelope("smq", "M1", KEY, REQUEST), None),
        (None, None, KEYED),
    ],
    ids=["its message has an id", "its first delivery had one", "it has a key"],
)
def test_one_identity_is_enough(message_id, envelope, body):
    """A copy keeps its key, whatever brings it."""
    intake = read_message(Message("smq", message_id, body or seal(envelope)))
    assert isinstance(intake, Ready)
    assert intake.delivery.key == (envelope.key if envelope else derive_key(PRODUCER, "k"))


@pytest.mark.parametrize(
    ("message_id", "renewed", "redrive"),
    [("M8", 7.5, "redrive 7.5"), ("M9", 7.5, "redrive 7.5"), ("M9", None, "M9"), (None, 7.5, "redrive 7.5")],
)
def test_a_redrive_is_known_by_its_time_or_by_the_message_that_brings_it(message_id, renewed, redrive):
    """Two messages that one redrive sent are one redrive. Also under the producer's key of an invalid request."""
    body = b'{"experiment":{"Nmae":1},"idempotencyKey":"k"}'
    sealed = seal(Envelope("smq", "M1", KEY, body, redriven=True, renewed=renewed))
    intake = read_message(Message("smq", message_id, sealed))
    assert (intake.delivery.redriven, intake.known_as.redriven) == (redrive, redrive)
    unkeyed = seal(Envelope("smq", "M1", KEY, b"[]", redriven=True, renewed=renewed))
    rejected = read_message(Message("smq", message_id, unkeyed))
    assert (rejected.delivery.redriven, rejected.known_as) == (redrive, None)


def test_a_redriven_watch_message_is_known_by_the_message_that_brings_it():
    order = WatchOrder(KEY, "s1", 0.0)
    redriven = [watch(order, redriven=is_redriven).delivery.redriven for is_redriven in (True, False)]
    assert redriven == ["M9", None]


def test_a_defect_is_that_of_one_message(monkeypatch):
    """It is processed like any other message of its namespace, without a fingerprint."""

    def parse(body, _attributes):
        raise ZeroDivisionError

    monkeypatch.setattr(contract, "parse_request", parse)
    intake = read_message(Message("smq", "M1", REQUEST), NAMESPACE)
    assert intake == Defective(delivered(REQUEST), Envelope("smq", "M1", IN_TEAM, REQUEST), intake.reason)


def test_what_events_show_of_each_kind_of_message():
    """The producer's key, and the name and the workspace of the experiment."""
    ready = read_message(Message("smq", "M1", request("k", Name="n", WorkspaceId="w7").encode()))
    stop = read_message(Message("smq", "M1", b'{"stop":{"experimentId":"s1"},"idempotencyKey":"k2"}'))
    watched = watch(WatchOrder(KEY, "s1", 0.0, producer_key="k3", name="n3", workspace_id="w3"))
    shown = [replace(one.shown, warnings=()) for one in (ready, stop, watched)]
    assert shown == [Shown("n", "w7", "k"), Shown(producer_key="k2"), Shown("n3", "w3", "k3")]
    assert stop.delivery.key == derive_key(STOP, "k2")


def test_a_stop_is_about_the_keys_that_the_request_which_it_names_may_have():
    """A key may be the producer's or the one that events show; an experiment is known by its id alone."""
    bodies = (b'{"stop":{"idempotencyKey":"k"}}', b'{"stop":{"experimentId":"s1"}}')
    about = [read_message(Message("smq", "M1", body), NAMESPACE).about for body in bodies]
    assert about == [(derive_key(PRODUCER, "k", NAMESPACE), "k"), ()]


@pytest.mark.parametrize("body", [REQUEST, b'{"stop":{"experimentId":"s1"}}'])
def test_a_request_is_not_part_of_what_is_printed(body):
    """It may contain secrets."""
    intake = read_message(Message("smq", "M1", body))
    assert "delivery=" in repr(intake)
    assert "request=" not in repr(intake)
    assert "document=" not in repr(intake)


def watch(order, identity=None, **members):
    """Return the intake of a watch message."""
    identity = order.identity if identity is None else identity
    body = encode_order(order).encode()
    key = derive_key(WATCH, identity, NAMESPACE)
    return read_message(
        Message("smq", "M9", seal(Envelope(WATCH, identity, key, body, **members))), NAMESPACE
    )


def test_a_watch_message_is_known_by_its_experiment():
    """All its copies have one key and one fingerprint; its events show the key of the request."""
    order = WatchOrder(KEY, "s1", 0.0, message_id="M1", traceparent=TRACE)
    key = derive_key(WATCH, order.identity, NAMESPACE)
    intake = watch(order, sequence=3, since=9.5)
    assert intake == Watched(
        Delivery(
            key, "watch", key, "watch", message_id="M1", sequence=3, since=9.5, shown_key=KEY, is_watch=True
        ),
        intake.envelope,
        Shown(),
        order,
    )


@pytest.mark.parametrize("trace", [None, "", "not a trace", "x" + TRACE])
def test_a_watch_message_cannot_write_a_wrong_trace_into_events(trace):
    """Anybody who may send to the queue can write one."""
    assert watch(WatchOrder(KEY, "s1", 0.0, traceparent=trace)).order.traceparent is None


@pytest.mark.parametrize(
    ("order", "identity"),
    [
        (WatchOrder(KEY, "s1", 0.0), "other"),
        (WatchOrder("no key", "s1", 0.0), None),
        (WatchOrder(KEY, "..", 0.0), None),
        (WatchOrder(KEY, "s1", 0.0, mode="up"), None),
    ],
    ids=["another identity", "a key that is none", "an id that is a path", "unreadable"],
)
def test_a_watch_message_that_names_nothing_to_follow_is_rejected_under_a_key_of_its_own(order, identity):
    """The chain of messages for the experiment goes on, and this one is kept as it is."""
    intake = watch(order, identity)
    body = encode_order(order).encode()
    key = derive_key(DIGEST, digest(body), NAMESPACE)
    envelope = Envelope(
        WATCH, identity or order.identity, derive_key(WATCH, identity or order.identity, NAMESPACE), body
    )
    assert intake == Rejected(
        Delivery(key, "watch", key, digest(body)), envelope, UNREADABLE, content=envelope
    )


@pytest.mark.parametrize("rule", ["trigger.unknown-source", "trigger.ambiguous"])
def test_an_item_of_an_unknown_source_waits_for_the_setting(rule):
    """Its source keeps it; the message says which setting to fix."""
    intake = read_message(Undecodable.from_item(b"{}", rule, "why"), NAMESPACE)
    key = derive_key(DIGEST, digest(b"{}"), NAMESPACE)
    assert intake == Undeliverable(Delivery(key, f"body:{digest(b'{}')}", key, digest(b"{}")), intake.error)
    assert (intake.error.code, intake.error.retryable) == ("UnknownSource", True)
    assert intake.error.message.startswith("why (SHA-256 ")
    assert "HPOQ_TRIGGER" in intake.error.message


@pytest.mark.parametrize("message_id", ["M1", None])
def test_an_undecodable_item_is_kept_as_a_whole(message_id):
    """Its error identifies the item by its digest and size; its content goes into the dead-letter queue."""
    item = b'{"messageBody": 7}'
    intake = read_message(
        Undecodable.from_item(item, "smq.body", "why", kind="smq", id=message_id), NAMESPACE
    )
    key = IN_TEAM if message_id else derive_key(DIGEST, digest(item), NAMESPACE)
    fingerprint = "undecodable:smq:smq.body" if message_id else f"body:{digest(item)}"
    message = f"why (SHA-256 {digest(item)}, {len(item)} bytes)"
    assert intake == Rejected(
        Delivery(key, fingerprint, key, digest(item), message_id),
        None,
        EventError("Undecodable", message, retryable=False, violations=(Violation("", "smq.body", message),)),
        content=Envelope(DIGEST, None, derive_key(DIGEST, digest(item), NAMESPACE), item),
    )


@pytest.mark.parametrize(
    ("item", "is_keyed"),
    [
        ({"hpoq": {"key": "k"}}, True),
        ({"hpoq": {}}, False),
        ({"idempotencyKey": "k", "experiment": {}}, True),
        ({"experiment": {}}, False),
        ({"stop": {}}, False),
        ({"idempotencyKey": "k"}, False),
        ({"messageId": "M1"}, False),
        ({"specversion": "1.0", "data": {"idempotencyKey": "k", "stop": {}}}, True),
        ({"specversion": "1.0"}, False),
    ],
)
def test_which_items_need_no_source(item, is_keyed):
    """Copies that hpoq sent again, and requests with a key of the producer's."""
    assert is_keyed_message(item) is is_keyed


@pytest.mark.parametrize(
    "document", [{"stop": {"experimentId": "s1"}}, {"experiment": {"Description": "password=hunter22"}}]
)
def test_what_has_no_name_is_rejected_without_one(document):
    """A stop, and a request whose producer gave it no name, in a message without an identity."""
    intake = read_message(Message("smq", None, json.dumps(document).encode()))
    assert isinstance(intake, Rejected)
    assert intake.error.code == "InvalidRequest"
    assert (intake.shown.name, intake.shown.workspace_id) == (None, None)
