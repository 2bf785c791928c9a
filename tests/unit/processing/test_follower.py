"""Orders to follow experiments, their watch messages, and whose experiment is followed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from fcruntime.triggers import Message
from hpoq.clock import Budget
from hpoq.contract.events import EventError
from hpoq.contract.identity import WATCH, derive_key
from hpoq.errors import Denied, NotFound, StoreUnavailable, Unavailable
from hpoq.idempotency.record import State
from hpoq.observability.redaction import known_secrets
from hpoq.processing.envelope import MOST_SEQUENCE, Envelope, unseal
from hpoq.processing.follow import Follower, WatchQueue
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Action, Delivery, Terms
from hpoq.processing.watchorder import (
    CheckAgain,
    GuardLimits,
    WatchOrder,
    WatchSchedule,
    decode_order,
    encode_order,
)
from hpoq.testing import FakeClock, MemoryStore
from support.reading import read_message
from support.request import make_document, request

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)
SCHEDULE = WatchSchedule(60.0, 1800.0, 1e6)
NAMESPACE = "team-a"
KEY = derive_key("producer", "k", NAMESPACE)
ORDER = WatchOrder(KEY, "s1", 5_000.0, "maximize", name="n")
WATCH_KEY = derive_key(WATCH, ORDER.identity, NAMESPACE)
WATCHED = Delivery(WATCH_KEY, "watch", WATCH_KEY, "watch", message_id="M1", sequence=4, is_watch=True)
CREATED = Delivery(KEY, "f", KEY, "b", message_id="M1", watch_order=encode_order(ORDER))
FAILURES = [
    (Denied("no", service="smq", operation="SendMessage", code="AccessDenied"), "operator.needed"),
    (NotFound("no", service="smq", operation="SendMessage", code="QueueNotExist"), "operator.needed"),
    (Unavailable("no", service="smq", operation="SendMessage"), "watch.send-failed"),
]


class Queues:
    """A queue service that notes what it gets, and fails if `error` is set."""

    def __init__(self, error=None):
        self.sent = []
        self.error = error

    def send_message(self, queue, body, *, delay_seconds=0, budget=None):
        if self.error:
            raise self.error
        self.sent.append((queue, unseal(body, NAMESPACE), delay_seconds))


class World:
    """A follower over a store in memory, whose clock is ahead by 30 s; `queue` is the name of its queue."""

    def __init__(self, queue="w", error=None):
        self.clock = FakeClock(10_000.0)
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, self.clock, TERMS, lambda: 0.0)
        self.queues = Queues(error)
        sender = WatchQueue(lambda: self.queues, queue, NAMESPACE, Budget(self.clock))
        service = SimpleNamespace(present_time=self.present_time)
        self.follower = Follower(service, self.ledger, sender, self.clock, SCHEDULE)

    def present_time(self):
        return self.clock.now() - 30.0

    def open(self, delivery, **changes):
        """Return the record of a claim for `delivery`, with `changes`."""
        claim = self.ledger.open(delivery).record
        return self.ledger.save(replace(claim, **changes), claim.version)


def read(document):
    return read_message(Message("smq", "M1", document.encode()), watches=True).request


def order(document, **options):
    text = World(**options).follower.order(KEY, "M1", read(document))
    return None if text is None else decode_order(text)


def test_a_watch_message_is_sent_under_the_key_of_what_it_follows():
    """It is delayed by whole seconds, never fewer than asked for."""
    queues = Queues()
    WatchQueue(lambda: queues, "w", NAMESPACE, Budget(FakeClock())).send(ORDER, sequence=3, delay=1.2)
    envelope = Envelope(WATCH, ORDER.identity, WATCH_KEY, encode_order(ORDER).encode(), 3)
    assert queues.sent == [("w", envelope, 2)]


def test_the_order_of_a_request_has_what_the_events_of_its_experiment_show():
    """Until the experiment is known, the order has neither its id nor a date."""
    document = make_document("k", Name="n", WorkspaceId="w7")
    found = order(request("k", Name="n", WorkspaceId="w7"))
    mode = document["experiment"]["HpoExperimentConfiguration"]["yml_config"]["tuner"]["class_args"]
    assert found == WatchOrder(KEY, "", 0.0, mode["optimize_mode"], None, "M1", "k", "n", "w7")


def test_the_order_of_a_request_without_a_configuration_states_no_direction():
    """The service decides whether it accepts such a request."""
    assert order('{"experiment": {"Name": "n"}}') == WatchOrder(KEY, "", 0.0, message_id="M1", name="n")


def test_the_texts_of_an_order_are_bounded_and_masked():
    """A watch message must fit into its queue, and is not encrypted."""
    with known_secrets(["hunter22-hunter22"]):
        found = order(request("k" * 64, Name="hunter22-hunter22" + "n" * 3000))
    assert found.producer_key == "k" * 64
    assert found.name == ("***" + "n" * 3000)[:2000]


def test_the_guard_of_a_request_is_part_of_its_order():
    """Whichever delivery finishes the request, its guard is known."""
    document = request("k")[:-1] + ', "guard": {"maxHours": 2, "maxFailedTrials": 3}}'
    assert order(document).guard == GuardLimits(2.0, 3, None)


def test_without_a_queue_nothing_is_ordered():
    """The setting alone decides whether experiments are followed."""
    assert order(request("k"), queue=None) is None


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_claim_without_a_readable_order_is_not_followed(text):
    """An earlier claim may have been made without a queue for watch messages, or by a later version."""
    world = World()
    record = world.open(replace(CREATED, watch_order=text))
    assert world.follower.complete_order(record, "s2", 7.0) is None
    assert world.follower.start(record) is None
    assert world.queues.sent == []


def test_an_order_is_completed_once_its_experiment_is_known():
    """The age of the experiment counts from then on, and it is looked for where its create was sent."""
    world = World()
    claim = replace(world.open(CREATED), place="https://a")
    text = world.follower.complete_order(claim, "s2", 7.0)
    assert decode_order(text) == replace(
        ORDER, experiment_id="s2", created_at=7.0, next_at=67.0, place="https://a"
    )


def test_the_first_watch_message_is_due_after_the_shortest_wait():
    """It has the number of a first delivery."""
    world = World()
    assert world.follower.start(world.open(CREATED)) is None
    envelope = Envelope(WATCH, ORDER.identity, WATCH_KEY, encode_order(ORDER).encode())
    assert world.queues.sent == [("w", envelope, 60)]


def test_an_experiment_that_cannot_be_followed_any_more_is_named_in_the_log():
    """The setting was taken away between the claim and the created event; the event is published all the same."""
    world = World(queue=None)
    with capture_logs() as lines:
        assert world.follower.start(world.open(CREATED, experiment_id="s1")) is None
    assert [(line["event"], line["experiment_id"]) for line in lines] == [("watch.not-started", "s1")]
    assert world.queues.sent == []


def test_an_experiment_with_a_guard_waits_for_the_queue_of_its_watch_messages():
    """Nothing else would stop it, for example after a rollback to a version without the setting."""
    world = World(queue=None)
    guarded = encode_order(replace(ORDER, guard=GuardLimits(max_hours=2.0)))
    with capture_logs() as lines:
        error = world.follower.start(world.open(replace(CREATED, watch_order=guarded)))
    assert (error.code, error.retryable) == ("WatchQueueMissing", True)
    assert [(line["event"], line["code"]) for line in lines] == [("operator.needed", "WatchQueueMissing")]
    assert "HPOQ_WATCH_QUEUE" in lines[0]["advice"], "an alert may show it alone"


@pytest.mark.parametrize(("error", "event"), FAILURES)
def test_a_first_watch_message_that_fails_says_who_must_act(error, event):
    """A missing queue and a missing permission last until somebody acts; other failures pass."""
    world = World(error=error)
    with capture_logs() as lines:
        found = world.follower.start(world.open(CREATED))
    assert found.code == (error.code or "Unavailable")
    assert [line["event"] for line in lines] == [event]
    assert "SendMessage" in lines[0]["error"]


@pytest.mark.parametrize(
    ("asked", "watched", "found"),
    [
        ({}, {"event": "{}", "published_at": 1.0}, "{}"),
        ({}, {"event": "{}", "published_at": None}, None),
        ({}, {"event": "{}", "published_at": 1.0, "state": State.REJECTED}, None),
        ({}, None, None),
        ({"watch_order": None}, {"event": "{}", "published_at": 1.0}, None),
        ({"experiment_id": None}, {"event": "{}", "published_at": 1.0}, None),
    ],
)
def test_the_result_of_an_experiment_is_the_event_that_is_out(asked, watched, found):
    """A result that is not out yet is published by its watch message, and the rejection of one is not a result."""
    world = World()
    if watched is not None:
        world.open(WATCHED, **{"state": State.COMPLETED, **watched})
    record = world.open(CREATED, experiment_id="s1")
    assert world.follower.find_result(replace(record, **asked)) == found


ORDERED = encode_order(ORDER)
UNCOMPLETED = encode_order(replace(ORDER, experiment_id="", created_at=0.0))
OTHER = encode_order(replace(ORDER, experiment_id="s2"))


@pytest.mark.parametrize(
    ("requested", "watched", "is_found"),
    [
        ("missing", None, False),
        (None, None, False),
        ("{}", None, False),
        (UNCOMPLETED, None, False),
        (OTHER, None, False),
        (ORDERED, None, True),
        ("missing", ORDERED, True),
        (OTHER, ORDERED, True),
    ],
    ids=[
        "no record",
        "not followed",
        "unreadable",
        "not created",
        "another",
        "created",
        "looked at",
        "used again",
    ],
)
def test_what_is_followed_is_what_a_record_says(requested, watched, is_found):
    """A watch message only names the experiment; nothing else in it is believed."""
    world = World()
    if requested != "missing":
        world.open(replace(CREATED, watch_order=requested))
    claim = world.open(WATCHED, watch_order=watched)
    asked = WatchOrder(KEY, "s1", 1.0, "minimize", GuardLimits(1.0), name="fake")
    assert world.follower.find_order(asked, claim) == (ORDER if is_found else None)


def test_an_experiment_that_was_looked_at_costs_no_more_reads():
    """The record of its watch messages has the order from the first look on."""
    world = World()
    claim = world.open(WATCHED, watch_order=ORDERED)
    world.store.get = None
    assert world.follower.find_order(ORDER, claim) == ORDER


@pytest.mark.parametrize(
    ("requested", "state", "is_claimed"),
    [
        (ORDERED, State.REJECTED, True),
        (UNCOMPLETED, State.REJECTED, False),
        (ORDERED, State.COMPLETED, False),
    ],
)
def test_a_rejection_is_not_final(requested, state, is_claimed):
    """A watch message that came before its request had its experiment must not end the chain."""
    world = World()
    world.open(replace(CREATED, watch_order=requested))
    world.open(WATCHED, state=state, event="{}", published_at=1.0)
    opening = world.ledger.open(WATCHED)
    assert opening.action is Action.ACKNOWLEDGE
    reopened = world.follower.reopen(opening, WATCHED, ORDER)
    assert reopened.action is (Action.TAKE_OVER if is_claimed else Action.ACKNOWLEDGE)
    assert world.store.get(WATCH_KEY) == reopened.record


def test_the_next_watch_message_has_a_higher_number_than_any_before():
    """Its number is recorded after the send, and the claim is given back at once."""
    world = World()
    claim = world.open(WATCHED, sequence=7, attempts=2)
    again = CheckAgain(replace(ORDER, last_status="RUNNING"), 120.0)
    assert world.follower.send_next(again, claim, WATCHED) == (None, None)
    text = encode_order(again.order)
    envelope = Envelope(WATCH, ORDER.identity, WATCH_KEY, text.encode(), 8)
    assert world.queues.sent == [("w", envelope, 120)]
    saved = world.store.get(WATCH_KEY)
    assert (saved.sequence, saved.lease_until, saved.attempts) == (8, world.present_time(), 2)
    assert (saved.watch_order, saved.experiment_id) == (text, "s1")


def test_the_highest_number_is_one_that_an_envelope_can_carry():
    """A forged number at the limit does not end the chain."""
    world = World()
    claim = world.open(WATCHED, sequence=MOST_SEQUENCE)
    assert world.follower.send_next(CheckAgain(ORDER, 1.0), claim, WATCHED) == (None, None)
    assert world.queues.sent[0][1].sequence == world.store.get(WATCH_KEY).sequence == MOST_SEQUENCE


@pytest.mark.parametrize(("error", "event"), FAILURES)
def test_a_watch_message_that_cannot_be_sent_on_is_given_back(error, event):
    """The present message is retried: its record keeps the order, and no new number."""
    world = World(error=error)
    claim = world.open(WATCHED, sequence=7, attempts=2)
    with capture_logs() as lines:
        found, record = world.follower.send_next(CheckAgain(ORDER, 1.0), claim, WATCHED)
    assert isinstance(found, EventError)
    assert [line["event"] for line in lines] == [event]
    assert record == world.store.get(WATCH_KEY)
    assert (record.sequence, record.lease_until, record.attempts) == (7, world.present_time(), 2)
    assert record.watch_order == encode_order(ORDER)


def test_a_watch_message_without_a_queue_is_kept_until_the_setting_is_back():
    """An operator is told which setting is missing."""
    world = World(queue=None)
    claim = world.open(WATCHED, attempts=2)
    with capture_logs() as lines:
        error, record = world.follower.send_next(CheckAgain(ORDER, 1.0), claim, WATCHED)
    assert (error.code, error.retryable) == ("WatchQueueMissing", True)
    assert "HPOQ_WATCH_QUEUE" in error.message
    assert [(line["event"], line["code"], line["error"]) for line in lines] == [
        ("operator.needed", error.code, error.message)
    ]
    assert record == world.store.get(WATCH_KEY)
    assert (record.lease_until, record.attempts) == (world.present_time(), 2)


def test_a_number_that_cannot_be_recorded_does_no_harm():
    """The next message is in the queue, so the present one must not come back."""
    world = World()
    claim = world.open(WATCHED)

    def fail(*_):
        raise StoreUnavailable("down")

    world.store.replace = fail
    with capture_logs() as lines:
        assert world.follower.send_next(CheckAgain(ORDER, 1.0), claim, WATCHED) == (None, None)
    assert [(line["event"], line["error"]) for line in lines] == [("requeue.unrecorded", "down")]
    assert len(world.queues.sent) == 1
