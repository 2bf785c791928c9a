"""The life cycle of a message, from the function's entry to the cloud, one rule per test."""

import base64
import json
import random
import string
from dataclasses import replace
from datetime import datetime, timezone

import pytest
import structlog

from alilocal.tablestore.model import STRING
from fcruntime import Fc2Context, Fc3Context
from fcruntime.context import ContextCredentials, FunctionInfo
from hpoq.contract import request as contract
from hpoq.contract.identity import CONFLICT, MOST_TAGS, TAG_KEY, derive_event_id, derive_key, format_marker
from hpoq.errors import Denied, RequestRejected, StoreUnavailable, Violation
from hpoq.function import EventFailed
from hpoq.idempotency.record import State
from hpoq.processing import lifecycle
from hpoq.processing.creation import create_nonce
from hpoq.processing.envelope import Envelope, seal, unseal
from hpoq.processing.lifecycle import Delivery
from hpoq.testing import FakeClock, MemoryStore, smq_event, smq_stream_event
from support.deployment import CONTEXT, DEAD_LETTER_QUEUE
from support.request import REQUEST, request
from support.world import CallTimes, World

KEY = derive_key("smq", "M1")
EVENT = smq_event("M1", REQUEST)
THROTTLED = {"kind": "status", "status": 400, "code": "Throttling.User"}
DENIED = {"kind": "status", "status": 403, "code": "Forbidden.RAM"}
PUBLISHING = {"service": "smq", "operation": "PublishMessage"}
TO_REQUEUE = {"HPOQ_BATCH_POLICY": "requeue"}
TO_DEAD = {"HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE}
BEGAN = FakeClock().now()
LATER = 200  # longer than any doubt with the default settings


@pytest.fixture
def world():
    with World() as running:
        yield running


def outcomes(rows):
    return [row["outcome"] for row in rows]


def count_searches(world):
    return sum(call.operation == "ListHpoExperiments" for call in world.cloud.requests)


def codes(rows):
    """Return the codes of the errors in `rows`, which say whether the message is tried again."""
    for row in rows:
        assert row["error"] is None or row["error"]["retryable"] or row["outcome"] != "retry"
    return [row["error"] and row["error"]["code"] for row in rows]


class Dying(MemoryStore):
    """A store that does not take the end of a message, as if its owner died before it could save it."""

    def __init__(self):
        super().__init__()
        self.is_dying = False

    def replace(self, record, expected):
        if self.is_dying:
            raise StoreUnavailable("the owner died")
        return super().replace(record, expected)


def create_and_die(world, event):
    """Deliver `event` to an owner that creates its experiment and dies before it has saved the end."""
    world.store = Dying()
    world.store.is_dying = True
    assert outcomes(world.deliver(event)) == ["retry"]
    world.store.is_dying = False
    assert len(world.cloud.experiments) == 1
    world.clock.advance(LATER)
    return world.cloud.experiments[0].experiment_id


# Markers, nonces and dates.


def test_an_experiment_carries_its_key_twice(world):
    """The marker stands in a tag and in the description, beside the producer's own."""
    body = request(Name="x", Description="mine", Tag=[{"Key": "team", "Value": "a"}])
    world.deliver(smq_event("M1", body))
    (experiment,) = world.cloud.experiments
    assert experiment.tags == (("team", "a"), (TAG_KEY, KEY))
    assert experiment.description == f"mine {format_marker(KEY)}"


def test_a_request_with_all_tags_carries_its_key_in_the_description_alone(world):
    """The service takes no further tag, so the record says that the tag filter cannot find the experiment."""
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(MOST_TAGS)]
    rows = world.deliver(smq_event("M1", request(Name="x", Tag=tags)))
    assert outcomes(rows) == ["created"]
    (experiment,) = world.cloud.experiments
    assert len(experiment.tags) == MOST_TAGS
    assert experiment.description == format_marker(KEY)
    record = world.store.get(KEY)
    assert (record.tagged, record.described) == (False, True)


def test_the_nonce_stays_after_an_unknown_end(world):
    """A create that broke off has the nonce of the one after it, so that only one of them can pass the gateway."""
    world.fail_create("reset")
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.clock.advance(LATER)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert world.nonces == [create_nonce(KEY, 0)] * 2


def test_the_nonce_of_a_message_that_waits_stays_until_the_gateway_forgets_it(world):
    """A create that the gateway took and nobody carried out comes to nothing; waiting for it uses no attempt."""
    world.settings["HPOQ_MAX_ATTEMPTS"] = "2"
    world.fail_create("reset", when="forwarded")
    seen = []
    for _ in range(20):
        (row,) = world.deliver(EVENT)
        seen.append(row["error"]["code"] if row["error"] else row["outcome"])
        if row["outcome"] == "created":
            break
        world.clock.advance(LATER)
    assert set(seen) == {"UnknownEnd", "SignatureNonceUsed", "created"}
    assert len(world.cloud.experiments) == 1
    assert set(world.nonces) == {create_nonce(KEY, 0)}


def test_the_nonce_changes_after_a_throttled_answer_and_is_on_record_before_it_is_sent(world):
    """Whenever a create leaves, the record knows its generation."""
    world.fail_create(**THROTTLED, times=4)
    recorded = []

    def observe(received):
        if received.header("x-acs-action") == "CreateHpoExperiment":
            recorded.append(create_nonce(KEY, world.store.get(KEY).generation))

    world.on_request = observe
    assert codes(world.deliver(EVENT)) == ["Throttling.User"]
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert world.nonces == recorded == [create_nonce(KEY, generation) for generation in range(5)]


@pytest.mark.parametrize(("window", "seconds"), [("900", 805), ("0", 0)])
def test_creates_are_dated_back(world, window, seconds):
    """The date is so old that the gateway still takes it now, and refuses a copy that comes late."""
    world.deliver(EVENT, HPOQ_DATE_WINDOW_SECONDS=window)
    (create,) = world.creates
    date = datetime.strptime(create.header("x-acs-date"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert date.timestamp() == world.clock.now() - seconds


def test_a_late_copy_of_a_create_has_expired(world):
    """A create that a buffer delivers after the doubt makes no experiment, even if its nonce is forgotten."""
    world.cloud.behaviour.nonce_memory_seconds = 0
    world.fail_create("late", seconds=LATER - 1)
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.clock.advance(LATER)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert world.cloud.late == []
    assert len(world.cloud.experiments) == 1


# Copies.


def send_back(world, event=EVENT, **settings):
    """Deliver `event`, which is sent back, and return the event of the copy."""
    before = len(world.waiting())
    assert outcomes(world.deliver(event, **TO_REQUEUE, **settings)) == ["retry"]
    message_id, body = world.waiting()[before]
    return smq_event(message_id, body)


def test_a_copy_that_comes_early_is_not_processed(world):
    """A message that was sent back with a delay is left alone until then, and sent back as it is."""
    world.fail_create(**DENIED)
    copy = send_back(world)
    creates = len(world.creates)
    world.clock.advance(29)
    assert codes(world.deliver(copy)) == ["Forbidden.RAM"], "the last error of the service, from the record"
    assert len(world.creates) == creates
    world.clock.advance(1)
    assert outcomes(world.deliver(copy)) == ["created"]


def test_an_early_copy_of_a_message_without_an_error_is_not_due(world):
    """A copy that comes early is tried again, and says so if the service has given no error yet."""
    world.store = Dying()
    world.store.is_dying = True
    world.fail_create("reset")
    world.deliver(EVENT)
    world.store.is_dying = False
    world.clock.advance(95)
    copy = send_back(world)
    assert codes(world.deliver(copy)) == ["NotDue"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_clock_that_was_ahead_blocks_no_key_until_its_time_comes(world, is_killed):
    """Its claim and its doubt end in three days, by its own clock."""
    world.store = Dying()
    world.store.is_dying = is_killed
    world.fail_create("refuse", times=None)
    world.deliver(EVENT, offset=3 * 86_400)
    world.cloud.faults.clear()
    world.store.is_dying = False
    if is_killed:
        assert codes(world.deliver(EVENT)) == ["InDoubt"]
        world.clock.advance(2 * 3600 + LATER)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_an_older_copy_is_dropped(world):
    """Only the newest copy of a message goes on, so that copies merge and a message does not multiply."""
    world.fail_create(**DENIED, times=2)
    first = send_back(world)
    world.clock.advance(30)
    second = send_back(world, first)
    world.clock.advance(60)
    creates = len(world.creates)
    for older in (EVENT, first):
        (row,) = world.deliver(older, **TO_REQUEUE)
        assert (row["outcome"], row["error"]["code"]) == ("duplicate", "Superseded")
        assert row["error"]["retryable"] is False
    assert (len(world.creates), len(world.waiting())) == (creates, 2)
    assert outcomes(world.deliver(second, **TO_REQUEUE)) == ["created"]


FAILING = {
    "create": {"service": "paiautoml", "operation": "CreateHpoExperiment", **DENIED},
    "publication": {"kind": "refuse", **PUBLISHING},
}


@pytest.mark.parametrize("call", FAILING)
def test_copies_that_a_queue_makes_do_not_multiply(world, call):
    """However often each copy is delivered, at most two go on: the newest, and one that was sent back beside it."""
    world.cloud.faults.add(**FAILING[call], times=None)
    seen = [EVENT]
    for _ in range(6):
        before = len(world.waiting())
        for event in seen * 2:
            world.deliver(event, **TO_REQUEUE)
        seen = [smq_event(*message) for message in world.waiting()[before:]]
        world.clock.advance(3600)
    assert 1 <= len(seen) <= 2
    world.cloud.faults.clear()
    for event in seen:
        world.deliver(event, **TO_REQUEUE)
    assert world.event_types == ["created"]


def test_a_message_that_another_delivery_holds_comes_back(world):
    """A delivery of a held message is not acknowledged: if the holder dies, it may be the last one."""
    create_and_die(world, EVENT)
    world.clock.advance(-LATER)
    assert codes(world.deliver(EVENT)) == ["InProgress"]
    world.clock.advance(LATER)
    assert outcomes(world.deliver(EVENT)) == ["created"]


class Unreadable(MemoryStore):
    """A store that does not answer reads."""

    def get(self, key):
        raise StoreUnavailable("no answer")


class Raced(MemoryStore):
    """A store in which another delivery is always quicker to take a record over."""

    def __init__(self, rows):
        super().__init__()
        self._rows = dict(rows)

    def replace(self, record, expected):
        return False


def test_a_copy_that_is_due_and_loses_its_key_to_another_delivery_is_not_early(world):
    """The row says that another delivery has the message, from the moment on at which the copy is due."""
    world.fail_create(**DENIED)
    copy = send_back(world)
    world.clock.advance(30)
    assert world.clock.now() == world.store.get(KEY).not_before
    world.store = Raced(world.store._rows)
    assert codes(world.deliver(copy)) == ["InProgress"]


# Attempts, ages and the dead-letter queue.


def test_throttling_uses_up_no_attempt(world):
    """A message that the service throttles is retried for as long as its age allows."""
    world.settings["HPOQ_MAX_ATTEMPTS"] = "2"
    world.fail_create(**THROTTLED, times=60)
    while world.cloud.faults.all()[0].hits < 60:
        assert outcomes(world.deliver(EVENT)) == ["retry"]
        world.clock.advance(60)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert world.events[0]["data"]["attempts"] == 1


def give_up(world, event=EVENT):
    """Deliver `event` until its attempts are used up by unknown ends, and return the rows of the last delivery."""
    world.settings |= {"HPOQ_MAX_ATTEMPTS": "2", **TO_DEAD}
    world.fail_create("status", status=503, code="ServiceUnavailable", times=2)
    for _ in range(2):
        assert codes(world.deliver(event)) == ["ServiceUnavailable"]
        assert codes(world.deliver(event)) == ["InDoubt"]
        world.clock.advance(LATER)
    return world.deliver(event)


def test_unknown_ends_use_up_the_attempts(world):
    """The message ends as failed, with the last error that the service gave, after a search found nothing."""
    (row,) = give_up(world)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "ServiceUnavailable")
    (event,) = world.events
    assert (event["type"], event["data"]["error"]["code"]) == (
        "com.hpoq.experiment.failed.v1",
        "ServiceUnavailable",
    )
    assert len(world.creates) == 2
    assert world.cloud.experiments == []


def test_a_failed_message_stays_failed(world):
    """Another delivery of it changes nothing, although the service would now take it."""
    give_up(world)
    assert outcomes(world.deliver(EVENT)) == ["duplicate"]
    assert (world.event_types, len(world.creates)) == (["failed"], 2)


def test_a_message_is_given_up_only_once_it_is_in_the_dead_letter_queue(world):
    """The record says failed after the dead letter is there; the letter is the message under its key."""
    states = []

    def observe(request):
        if f"/queues/{DEAD_LETTER_QUEUE}/messages" in request.path:
            states.append(world.store.get(KEY).state)

    world.on_request = observe
    give_up(world)
    assert states == [State.IN_PROGRESS]
    assert world.store.get(KEY).state is State.FAILED
    ((_, body),) = world.waiting(DEAD_LETTER_QUEUE)
    since = world.store.get(KEY).claimed_at
    assert unseal(base64.b64decode(body)) == Envelope("smq", "M1", KEY, REQUEST.encode(), since=since)


def test_a_dead_letter_queue_that_fails_keeps_the_message_in_retry(world):
    """A message is never given up without its dead letter: it comes back, and is put there the next time."""
    world.cloud.faults.add("refuse", service="smq", operation="SendMessage", times=3)
    assert codes(give_up(world)) == ["DeadLetterFailed"]
    record = world.store.get(KEY)
    assert (world.events, record.state, record.attempts) == ([], State.IN_PROGRESS, 2), "it was no attempt"
    assert [(row["outcome"], row["error"]["code"]) for row in world.deliver(EVENT)] == [
        ("failed", "ServiceUnavailable")
    ]
    assert len(world.waiting(DEAD_LETTER_QUEUE)) == 1
    assert (world.event_types, len(world.creates)) == (["failed"], 2)


def test_a_dead_letter_that_fails_does_not_make_an_unseen_experiment_forgotten(world):
    """A message that grew too old while the listing failed may have an experiment, which is searched for first."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "1", **TO_DEAD}
    create_and_die(world, EVENT)
    world.clock.advance(3600)
    world.cloud.faults.add("status", service="paiautoml", operation="ListHpoExperiments", status=503, times=3)
    world.cloud.faults.add("refuse", service="smq", operation="SendMessage", times=3)
    assert codes(world.deliver(EVENT)) == ["DeadLetterFailed"]
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_dead_letter_that_fails_gives_a_message_no_further_create(world):
    """A message that is too old stays given up, although the service takes creates again by then."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "1", **TO_DEAD}
    world.fail_create(**THROTTLED, times=None)
    assert codes(world.deliver(EVENT)) == ["Throttling.User"]
    world.clock.advance(3600)
    world.cloud.faults.add("refuse", service="smq", operation="SendMessage", times=3)
    assert codes(world.deliver(EVENT)) == ["DeadLetterFailed"]
    world.cloud.faults.clear()
    creates = len(world.creates)
    assert outcomes(world.deliver(EVENT)) == ["failed"]
    assert len(world.creates) == creates
    assert len(world.waiting(DEAD_LETTER_QUEUE)) == 1


def test_a_message_that_ends_by_its_age_says_that_its_experiment_may_exist(world):
    """If the listing failed until then, nobody knows whether the create that was cut off made an experiment."""
    world.settings["HPOQ_MAX_AGE_HOURS"] = "1"
    create_and_die(world, EVENT)
    world.clock.advance(3600)
    world.cloud.faults.add("status", service="paiautoml", operation="ListHpoExperiments", status=503, times=3)
    (row,) = world.deliver(EVENT)
    assert row["outcome"] == "failed"
    assert row["error"]["message"].endswith("; it is not known whether an experiment exists")


def test_a_message_waits_after_a_search_that_concluded_nothing(world):
    """If the service drops the marker, only an operator can say which experiment is whose."""
    world.settings["HPOQ_MARKER"] = "tag"
    world.cloud.behaviour.create_tags = "dropped"
    world.fail_create("reset", when="after")
    world.deliver(EVENT)
    world.clock.advance(LATER)
    assert codes(world.deliver(EVENT)) == ["Ambiguous"]
    record = world.store.get(KEY)
    assert (record.searches, record.not_before) == (1, world.clock.now() + 30)


def test_an_event_says_to_the_microsecond_how_long_its_message_took(world):
    """The clock of the function is all that counts."""
    world.call_times = lambda operation: CallTimes(
        until_answered=0.1234567 if operation == "CreateHpoExperiment" else 0.0
    )
    world.deliver(EVENT)
    assert world.events[0]["data"]["timings"] == {"processingMs": 123.457}


def test_a_throttled_message_comes_back_at_a_moment_of_its_own(world):
    """The delay of a throttled message is random; a fixed delay would bring a burst back all at once."""
    create = {"service": "paiautoml", "operation": "CreateHpoExperiment", "when": "before"}
    delays = []
    for fault in ({**create, **THROTTLED}, {**create, **DENIED}, {"kind": "refuse", **PUBLISHING}):
        world.cloud.faults.add(**fault, times=30)
        with structlog.testing.capture_logs() as lines:
            send_back(world, smq_event(fault.get("code", "M1"), REQUEST))
        delays += [line["delay_seconds"] for line in lines if line["event"] == "message.requeued"]
        world.cloud.faults.clear()
    assert delays[0] < delays[1] == delays[2] == 30


def redriven(body=REQUEST):
    """Return the event of a redriven M1."""
    return smq_event("R1", seal(Envelope("smq", "M1", KEY, body.encode(), redriven=True)).decode())


def test_a_redrive_tries_a_failed_message_again(world):
    """A redriven message is searched for first, and has as many attempts and as much time as a new one."""
    give_up(world)
    world.clock.advance(100 * 3600)
    world.fail_create(**DENIED)
    assert codes(world.deliver(redriven())) == ["Forbidden.RAM"]
    assert outcomes(world.deliver(redriven())) == ["created"]
    assert world.event_types == ["failed", "created"]
    assert len(world.cloud.experiments) == 1


def test_a_redriven_message_that_is_sent_back_is_a_copy_like_any_other(world):
    """The redrive has its effect once: what is sent back after it waits and is dropped like every copy."""
    give_up(world)
    world.fail_create(**DENIED, times=None)
    copy = send_back(world, redriven())
    ((_, body),) = world.waiting()
    since = world.store.get(KEY).claimed_at
    sent_back = Envelope("smq", "M1", KEY, REQUEST.encode(), sequence=1, since=since)
    assert unseal(base64.b64decode(body)) == sent_back
    creates = len(world.creates)
    assert outcomes(world.deliver(copy)) == ["retry"]
    assert len(world.creates) == creates


def test_a_message_ends_at_its_greatest_age(world):
    """What has no end by itself, a permission that nobody grants for one, ends as failed in the dead-letter queue."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "2", "HPOQ_MAX_ATTEMPTS": "1", **TO_DEAD}
    world.fail_create(**DENIED, times=None)
    for _ in range(4):
        assert codes(world.deliver(EVENT)) == ["Forbidden.RAM"]
        world.clock.advance(1800)
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "Forbidden.RAM")
    assert "not known whether an experiment exists" not in row["error"]["message"], "each create was refused"
    assert world.event_types == ["failed"]
    assert len(world.waiting(DEAD_LETTER_QUEUE)) == 1


def test_the_end_of_a_message_names_the_newest_error_of_the_service(world):
    """An earlier one, which was on record, may have been fixed since."""
    world.settings["HPOQ_MAX_AGE_HOURS"] = "1"
    world.fail_create(**DENIED)
    assert codes(world.deliver(EVENT)) == ["Forbidden.RAM"]
    world.clock.advance(3600)
    world.fail_create(**THROTTLED, times=4)
    assert codes(world.deliver(EVENT)) == ["Throttling.User"]
    assert world.event_types == ["failed"]


def test_an_attempt_without_time_leaves_the_last_error_of_the_service(world):
    """That the invocation was short explains nothing to the one who reads the record."""
    world.fail_create("reset")
    assert codes(world.deliver(EVENT)) == ["UnknownEnd"]
    world.clock.advance(LATER)
    world.call_times = lambda operation: CallTimes(
        until_answered=4.0 if operation == "ListHpoExperiments" else 0.0
    )
    short = Fc3Context("r-1", FunctionInfo(timeout=45))
    assert codes(world.deliver(EVENT, short)) == ["NoTimeLeft"]
    assert json.loads(world.store.get(KEY).last_error)["code"] == "UnknownEnd"


def test_a_message_whose_owners_all_died_has_its_own_error(world):
    """The service gave no error that could explain it."""
    world.settings["HPOQ_MAX_ATTEMPTS"] = "1"
    world.store = Dying()
    world.store.is_dying = True
    world.fail_create("reset")
    world.deliver(EVENT)
    world.store.is_dying = False
    world.clock.advance(LATER)
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "AttemptsUsedUp")


def test_a_message_whose_nonce_the_gateway_never_forgets_is_given_up_by_its_age(world):
    """How long a gateway remembers a nonce is not documented. Such an answer is no attempt, so the age ends it."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "2", **TO_DEAD}
    world.cloud.behaviour.nonce_memory_seconds = 10**9
    world.fail_create("reset", when="forwarded")
    for _ in range(5):
        (row,) = world.deliver(EVENT)
        world.clock.advance(1800)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "SignatureNonceUsed"), (
        "the last create, after 2 h"
    )
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "SignatureNonceUsed")
    assert len(world.waiting(DEAD_LETTER_QUEUE)) == 1


def test_a_message_in_doubt_gets_a_create_after_a_long_pause(world):
    """Its age passed while the function was stopped: it was not tried so long, so it is not given up untried."""
    world.settings["HPOQ_MAX_AGE_HOURS"] = "2"
    world.fail_create("reset", when="before")
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.clock.advance(100 * 3600)
    assert outcomes(world.deliver(EVENT)) == ["created"]


def test_a_copy_without_its_record_gets_a_create_whatever_its_age(world):
    """Its record is lost: that something may appear is no proof that it was tried."""
    since = world.clock.now()
    world.clock.advance(100 * 3600)
    copy = seal(Envelope("smq", "M1", KEY, REQUEST.encode(), sequence=3, since=since)).decode()
    assert codes(world.deliver(smq_event("M9", copy))) == ["InDoubt"]
    world.clock.advance(LATER)
    assert outcomes(world.deliver(smq_event("M9", copy))) == ["created"]


def test_a_store_that_loses_the_claim_which_it_failed_to_save_costs_no_second_experiment(world):
    """It went down between the claim and its end, and comes back without its last writes."""
    world.store = Dying()
    world.store.is_dying = True
    world.deliver(EVENT, **TO_REQUEUE)
    world.store.is_dying = False
    world.store._rows.clear()
    world.clock.advance(3600)  # the gateway has forgotten the nonce
    ((message_id, body),) = world.waiting()
    assert outcomes(world.deliver(smq_event(message_id, body), **TO_REQUEUE)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_store_that_failed_before_the_claim_costs_no_search(world):
    """Nothing was sent for a message that it did not let claim its key."""

    class Down(MemoryStore):
        def insert(self, record):
            raise StoreUnavailable("no answer")

    up, world.store = world.store, Down()
    copy = send_back(world)
    world.store = up
    assert outcomes(world.deliver(copy)) == ["created"]
    assert count_searches(world) == 0


def test_an_instance_that_knows_its_clock_to_be_ahead_frees_no_key(world):
    """The date of an answer shows it."""
    world.deliver(EVENT)
    ahead = world.function(offset=31 * 86_400)
    for message_id in ("M2", "M1"):
        with pytest.raises(EventFailed) as caught:
            ahead.handle(smq_event(message_id, REQUEST), CONTEXT)
    assert codes(caught.value.report.as_json()["messages"]) == ["InProgress"]


def test_a_message_whose_create_was_sent_by_another_account_waits_for_that_account(world):
    """The listing of this account cannot show what that create has made."""
    experiment_id = create_and_die(world, EVENT)
    elsewhere = Fc3Context("r", account_id="2000000000000000")
    (row,) = world.deliver(EVENT, elsewhere)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "EndpointChanged")
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["experimentId"]) == ("created", experiment_id)


def test_a_service_without_tags_gets_the_key_in_the_description_after_an_unknown_end(world):
    """The refused create has used up the nonce, so the tag is not tried again, even if it is the only marker set."""
    world.settings["HPOQ_MARKER"] = "tag"
    world.cloud.behaviour.create_tags = "refused"
    world.cloud.behaviour.nonce_memory_seconds = 900
    world.fail_create("foreign", status=502, when="before")
    for _ in range(3):
        (row,) = world.deliver(EVENT)
        world.clock.advance(1800)
    assert row["outcome"] == "created"
    assert KEY in world.cloud.experiments[0].description


@pytest.mark.parametrize("settings", [{"HPOQ_MAX_AGE_HOURS": "0.01"}, {"HPOQ_MAX_ATTEMPTS": "1"}])
def test_a_message_is_not_given_up_while_its_experiment_may_appear(world, settings):
    """No event says that nothing exists as long as something may, whatever the age and the attempts."""
    world.settings |= settings
    world.fail_create(**DENIED)
    assert codes(world.deliver(EVENT)) == ["Forbidden.RAM"]
    world.clock.advance(40)
    world.cloud.behaviour.list_lag_seconds = 14
    world.fail_create("reset", when="after")
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.clock.advance(20)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert (world.event_types, len(world.cloud.experiments)) == (["created"], 1)


def test_a_message_that_is_too_large_to_be_sent_back_fails_the_event(world):
    """Not even compressed does it fit into an envelope; its neighbours are done, and are duplicates the next time."""
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=55_000))
    large = request(Name="large", Description=noise)
    event = smq_stream_event({"M1": REQUEST, "M2": large, "M3": REQUEST})
    world.fail_create(**DENIED, nth=2)
    function = world.function(**TO_REQUEUE, HPOQ_CONCURRENCY="1")
    with pytest.raises(EventFailed, match="1 of 3 messages") as failed:
        function.handle(event, CONTEXT)
    assert outcomes(failed.value.report.as_json()["messages"]) == ["created", "retry", "created"]
    assert world.waiting() == []
    assert outcomes(world.deliver(event, **TO_REQUEUE)) == ["duplicate", "created", "duplicate"]


# Keys that are known.


@pytest.mark.parametrize("failure", [StoreUnavailable("no answer"), KeyError("secret")])
def test_a_look_ahead_that_fails_only_costs_reads(world, failure):
    """Each message then reads its own record. The log says why, without the text of an unexpected error."""

    class Blind(MemoryStore):
        def get_many(self, keys):
            raise failure

    world.store = Blind()
    with structlog.testing.capture_logs() as lines:
        assert outcomes(world.deliver(smq_stream_event({"M1": REQUEST, "M2": REQUEST}))) == ["created"] * 2
    reasons = [line["error"] for line in lines if line["event"] == "lookahead.failed"]
    assert reasons == ["no answer" if isinstance(failure, StoreUnavailable) else "KeyError"]


def test_a_slowed_instance_holds_back_what_may_need_a_create(world):
    """A message that was done before needs no turn. One whose record cannot be read may need one."""
    world.deliver(EVENT)
    function = world.function()
    for _ in range(9):
        function._pace.note_throttled(world.clock.monotonic())
    context = Fc3Context("r-1", FunctionInfo(timeout=60))

    def codes_of(event):
        with pytest.raises(EventFailed) as failed:
            function.handle(event, context)
        return codes(failed.value.report.as_json()["messages"])

    assert function.handle(EVENT, context)["summary"]["duplicate"] == 1
    assert codes_of(smq_event("M2", REQUEST)) == ["HeldBack"]
    function._store = Unreadable()
    assert codes_of(EVENT) == ["HeldBack"]


@pytest.mark.parametrize(("messages", "reads"), [(["M1"], 0), (["M1", "M2"], 1)])
def test_only_several_messages_are_looked_up_ahead(world, messages, reads):
    """The claim of a single message reads its record anyway."""
    seen = []

    class Counting(MemoryStore):
        def get_many(self, keys):
            seen.append(keys)
            return super().get_many(keys)

    world.store = Counting()
    world.deliver(smq_stream_event(dict.fromkeys(messages, REQUEST)))
    assert len(seen) == reads


def test_a_publication_that_is_denied_names_the_missing_permission(world):
    """The operator reads in the log what to grant."""

    class Refusing:
        def publish(self, event, *, budget=None):
            detail = [("AuthAction", "mns:PublishMessage")]
            raise Denied(
                "no", service="smq", operation="PublishMessage", http_status=403, access_denied_detail=detail
            )

    function = world.function()
    function._wrap_publisher = lambda publisher: Refusing()
    with structlog.testing.capture_logs() as lines, pytest.raises(EventFailed):
        function.handle(EVENT, CONTEXT)
    (line,) = [line for line in lines if line["event"] == "publish.failed"]
    assert line["access_denied_detail"] == {"AuthAction": "mns:PublishMessage"}


def test_an_event_that_is_out_but_not_recorded_as_published_is_published_again(world):
    """Its message comes back: without it nobody would ever finish the record. The event keeps its id."""

    class Forgetful(MemoryStore):
        def replace(self, record, expected):
            if record.published_at is not None and not world.event_types[1:]:
                raise StoreUnavailable("no answer")
            return super().replace(record, expected)

    world.store = Forgetful()
    assert codes(world.deliver(EVENT)) == ["StoreUnavailable"]
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len({event["id"] for event in world.events}) == 1
    assert world.event_types == ["created", "created"]
    assert outcomes(world.deliver(EVENT)) == ["duplicate"]


def test_an_event_whose_record_another_delivery_has_is_not_published_again(world):
    """That delivery marks it as published."""

    class Contested(MemoryStore):
        def replace(self, record, expected):
            if record.published_at is not None:
                world.overwrite(replace(self.get(record.key), owner="another"))
            return super().replace(record, expected)

    world.store = Contested()
    with structlog.testing.capture_logs() as lines:
        assert outcomes(world.deliver(EVENT)) == ["created"]
    assert [line["log_level"] for line in lines if line["event"] == "publish.unrecorded"] == ["warning"]


def test_a_repeated_send_gets_an_answer_of_its_own(world):
    """Under another message id the stored event is published again, with the same id; nothing is created."""
    rows = world.deliver(smq_event("M1", request("k")))
    (again,) = world.deliver(smq_event("M2", request("k")))
    assert (again["outcome"], again["experimentId"]) == ("duplicate", rows[0]["experimentId"])
    first, second = world.events
    assert first == second
    (done,) = world.deliver(smq_event("M1", request("k")))
    assert (done["outcome"], done["experimentId"]) == ("duplicate", rows[0]["experimentId"])
    assert (len(world.events), len(world.cloud.experiments)) == (2, 1)


def test_a_repeated_send_whose_answer_fails_comes_back(world):
    """Every sender gets an answer, so an event that cannot be published again is not acknowledged."""
    world.deliver(smq_event("M1", request("k")))
    world.cloud.faults.add("refuse", **PUBLISHING, times=3)
    assert codes(world.deliver(smq_event("M2", request("k")))) == ["Unavailable"]
    assert outcomes(world.deliver(smq_event("M2", request("k")))) == ["duplicate"]
    assert len(world.events) == 2


def test_a_repeated_send_that_is_sent_back_is_numbered(world):
    """Copies that the queue makes of it then merge."""
    world.deliver(smq_event("M1", request("k")), **TO_REQUEUE)
    world.cloud.faults.add("refuse", **PUBLISHING, times=3)
    (row,) = world.deliver(smq_event("M2", request("k")), **TO_REQUEUE)
    assert (row["outcome"], world.store.get(row["key"]).sequence) == ("retry", 1)


def test_conflicts_of_different_requests_have_records_of_their_own(world):
    """Each changed request under a used key gets its own event about that key, and no one gets that of another."""
    disputed = derive_key("producer", "k")
    world.deliver(smq_event("M1", request("k")))
    for message_id in ("M2", "M3"):
        body = request("k", Name=message_id)
        (row,) = world.deliver(smq_event(message_id, body))
        assert (row["outcome"], row["error"]["code"]) == ("rejected", "IdempotencyConflict")
        assert row["error"]["retryable"] is False
        (again,) = world.deliver(smq_event(message_id, body))
        assert again["outcome"] == "duplicate"
        assert row["key"] == again["key"] == disputed
    assert world.event_types == ["created", "rejected", "rejected"]
    assert len({event["id"] for event in world.events}) == 3
    assert [event["data"]["messageId"] for event in world.events] == ["M1", "M2", "M3"]
    created, *conflicts = (event["data"] for event in world.events)
    assert [data["name"] for data in conflicts] == ["M2", "M3"]
    assert {data["workspaceId"] for data in conflicts} == {created["workspaceId"]}
    records = [world.store.get(key) for key in world.store._rows]
    refused = [record for record in records if record.state is State.REJECTED]
    derived = [derive_key(CONFLICT, f"{disputed}:{record.fingerprint}") for record in refused]
    assert [record.key for record in refused] == derived, "instances of all versions derive the same keys"


def test_a_message_that_comes_back_is_reported_under_the_key_of_its_request(world):
    """A conflict, whose record has another key, is reported under the disputed one."""
    for message_id, name in (("M1", "one"), ("M2", "another")):
        world.cloud.faults.add("refuse", **PUBLISHING, times=3)
        event = smq_event(message_id, request("k", Name=name))
        (row,) = world.deliver(event)
        assert (row["outcome"], row["key"]) == ("retry", derive_key("producer", "k"))
        world.deliver(event)
    assert world.event_types == ["created", "rejected"]


def test_a_conflict_in_the_event_of_a_duplicate_is_still_one(world):
    """A record that was read ahead for one message says nothing about another request under its key."""
    world.deliver(smq_event("M1", request("k")))
    other = request("k", Name="another")
    rows = world.deliver(smq_stream_event({"M1": request("k"), "M2": other}))
    assert outcomes(rows) == ["duplicate", "rejected"]


def test_a_conflict_first_announces_the_experiment_of_an_abandoned_key(world):
    """A conflict adopts and publishes what an abandoned message created, since that may never come back."""
    experiment_id = create_and_die(world, smq_event("M1", request("k")))
    (row,) = world.deliver(smq_event("M2", request("k", Name="another")))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "IdempotencyConflict")
    assert world.event_types == ["created", "rejected"]
    created = world.events[0]
    assert created["id"] == derive_event_id(derive_key("producer", "k"), "created")
    assert (created["data"]["experimentId"], created["data"]["messageId"]) == (experiment_id, "M1")
    assert (created["data"]["idempotencyKey"], created["data"]["producerKey"]) == (row["key"], "k")
    assert created["data"]["timings"]["processingMs"] < 1000
    assert len(world.cloud.experiments) == 1
    assert outcomes(world.deliver(smq_event("M1", request("k")))) == ["duplicate"]
    assert world.event_types == ["created", "rejected"], "M1 is known by its record and has its answer"


def test_a_conflict_comes_back_if_another_delivery_takes_the_abandoned_key_over(world):
    """Two conflicts that meet an abandoned key at once do not both finish it."""
    create_and_die(world, smq_event("M1", request("k")))
    world.store = Raced(world.store._rows)
    (row,) = world.deliver(smq_event("M2", request("k", Name="another")))
    assert (row["outcome"], row["messageId"], row["error"]["code"]) == ("retry", "M2", "InProgress")
    assert world.events == []


def test_a_conflict_does_not_rename_the_message_of_an_abandoned_key(world):
    """A record that does not name its message stays so. Any send may be a repeated one, so each is answered."""
    create_and_die(world, smq_event("M1", request("k")))
    disputed = derive_key("producer", "k")
    world.overwrite(replace(world.store.get(disputed), delivery=None))
    assert outcomes(world.deliver(smq_event("M2", request("k", Name="another")))) == ["rejected"]
    assert world.store.get(disputed).delivery is None
    assert outcomes(world.deliver(smq_event("M1", request("k")))) == ["duplicate"]
    assert world.event_types == ["created", "rejected", "created"]


def test_a_conflict_leaves_an_abandoned_key_without_experiment_to_its_own_message(world):
    """If nothing exists, the conflict is refused, and the first request is still created by its own message.

    Neither does the conflict end the doubt about its create, nor does it use up one of its attempts.
    """
    world.fail_create("reset")
    world.deliver(smq_event("M1", request("k")))
    other = smq_event("M2", request("k", Name="another"))
    assert [codes(world.deliver(other)) for _ in range(2)] == [["InDoubt"]] * 2
    world.clock.advance(LATER)
    assert outcomes(world.deliver(other)) == ["rejected"]
    assert world.store.get(derive_key("producer", "k")).attempts == 1
    assert outcomes(world.deliver(smq_event("M1", request("k")))) == ["created"]
    assert world.event_types == ["rejected", "created"]


def test_a_conflict_is_refused_if_the_first_request_has_no_attempt_left(world):
    """What becomes of the first request is for its own message to say."""
    world.settings["HPOQ_MAX_ATTEMPTS"] = "1"
    world.fail_create("reset")
    world.deliver(smq_event("M1", request("k")))
    world.clock.advance(LATER)
    assert outcomes(world.deliver(smq_event("M2", request("k", Name="another")))) == ["rejected"]
    assert outcomes(world.deliver(smq_event("M1", request("k")))) == ["failed"]


def test_a_conflict_comes_back_while_the_adopted_experiment_cannot_be_announced(world):
    """The row of the report is that of the conflict's own message, which is still to be refused."""
    create_and_die(world, smq_event("M1", request("k")))
    world.cloud.faults.add("refuse", **PUBLISHING, times=3)
    other = smq_event("M2", request("k", Name="another"))
    (row,) = world.deliver(other)
    assert (row["outcome"], row["messageId"]) == ("retry", "M2")
    assert outcomes(world.deliver(other)) == ["rejected"]
    assert world.event_types == ["created", "rejected"]


def test_a_conflict_does_not_wait_for_an_abandoned_key_for_ever(world):
    """If the listing fails for longer than the first message may be tried, the conflict is refused without it."""
    world.settings["HPOQ_MAX_AGE_HOURS"] = "1"
    create_and_die(world, smq_event("M1", request("k")))
    other = smq_event("M2", request("k", Name="another"))
    world.cloud.faults.add(
        "status", service="paiautoml", operation="ListHpoExperiments", status=503, times=None
    )
    assert codes(world.deliver(other)) == ["ServiceUnavailable"]
    world.clock.advance(3600)
    assert codes(world.deliver(other)) == ["IdempotencyConflict"]
    world.cloud.faults.clear()
    assert outcomes(world.deliver(smq_event("M1", request("k")))) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_conflict_searches_no_more_often_than_the_first_request(world):
    """A search that concluded nothing waits longer each time, whoever made it."""
    world.cloud.behaviour.create_tags = "dropped"
    world.settings["HPOQ_MARKER"] = "tag"
    world.deliver(smq_event("M0", REQUEST))
    world.fail_create("reset")
    world.deliver(smq_event("M1", request("k")))
    world.clock.advance(LATER)
    other = smq_event("M2", request("k", Name="another"))
    assert codes(world.deliver(other)) == ["Ambiguous"]
    searches = count_searches(world)
    # Until then the reason is the last error of the first request.
    assert [codes(world.deliver(other)) for _ in range(2)] == [["UnknownEnd"]] * 2
    assert count_searches(world) == searches
    # Only a clock that was ahead can have written such a time.
    world.overwrite(
        replace(world.store.get(derive_key("producer", "k")), not_before=world.clock.now() + 86_400)
    )
    assert codes(world.deliver(other)) == ["Ambiguous"]
    world.clock.advance(world.store.get(derive_key("producer", "k")).not_before - world.clock.now())
    assert codes(world.deliver(other)) == ["Ambiguous"]
    assert count_searches(world) > searches


def test_a_conflict_that_was_interrupted_needs_no_search(world):
    """Nothing is ever created under its key: it is refused even if its owner died and the listing fails for ever."""
    world.store = Dying()
    world.deliver(smq_event("M1", request("k")))
    body = request("k", Name="another")
    world.store.is_dying = True
    assert outcomes(world.deliver(smq_event("M2", body))) == ["retry"]
    world.store.is_dying = False
    world.clock.advance(3600)
    world.cloud.faults.add(
        "status", service="paiautoml", operation="ListHpoExperiments", status=503, times=None
    )
    assert outcomes(world.deliver(smq_event("M2", body))) == ["rejected"]


def refuse_everything(monkeypatch, **found):
    """Make the contract refuse every request, as a later version may refuse what an earlier one took."""

    def parse(body, attributes):
        raise RequestRejected([Violation("/experiment", "new-rule", "no longer allowed")], **found)

    monkeypatch.setattr(contract, "parse_request", parse)
    monkeypatch.setattr(contract, "read_producer_key", lambda body: json.loads(body).get("idempotencyKey"))


@pytest.mark.parametrize("body", [REQUEST, request("k")], ids=["message id", "producer's key"])
def test_a_message_that_an_earlier_version_created_is_adopted(world, monkeypatch, body):
    """Whatever the present contract makes of it: its experiment runs, so a rejection would be wrong."""
    experiment_id = create_and_die(world, smq_event("M1", body))
    refuse_everything(monkeypatch)
    (row,) = world.deliver(smq_event("M1", body))
    assert (row["outcome"], row["experimentId"]) == ("created", experiment_id)
    assert world.event_types == ["created"]
    assert world.events[0]["data"]["timings"]["processingMs"] < 1000
    assert outcomes(world.deliver(smq_event("M1", body))) == ["duplicate"]


def test_what_an_earlier_version_created_is_searched_for_in_its_workspace(world, monkeypatch):
    """A service may list the default workspace only unless another one is named."""
    body = request(WorkspaceId="77")
    world.fail_create("reset")
    world.deliver(smq_event("M1", body))
    world.clock.advance(LATER)
    refuse_everything(monkeypatch, workspace_id="77", name="x")
    seen = []
    world.on_request = lambda received: (
        received.header("x-acs-action") == "ListHpoExperiments"
        and seen.append(dict(received.query_pairs(plus_is_space=False)))
    )
    assert outcomes(world.deliver(smq_event("M1", body))) == ["rejected"]
    assert {query.get("WorkspaceId") for query in seen} == {None, "77"}


@pytest.mark.parametrize("body", [REQUEST, request("k")], ids=["message id", "producer's key"])
@pytest.mark.parametrize("attempts", ["1", "10"])
def test_a_message_that_an_earlier_version_did_not_create_is_rejected(world, monkeypatch, body, attempts):
    """Once it is certain that nothing exists, the present contract decides, however many attempts there were."""
    world.settings["HPOQ_MAX_ATTEMPTS"] = attempts
    world.fail_create("reset")
    assert outcomes(world.deliver(smq_event("M1", body))) == ["retry"]
    refuse_everything(monkeypatch)
    assert codes(world.deliver(smq_event("M1", body))) == ["InDoubt"]
    world.clock.advance(LATER)
    (row,) = world.deliver(smq_event("M1", body))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "InvalidRequest")
    assert world.cloud.experiments == []


# The bounds and the credentials of an invocation.


@pytest.mark.parametrize("message_id", ["M1", "M2"])
def test_a_publication_ends_with_the_invocation(world, message_id):
    """An event is not published, for the first time or again, beyond the end of the invocation."""
    ends = []

    class Publisher:
        def publish(self, event, *, budget=None):
            ends.append(budget.seconds_left())

    function = world.function()
    function._wrap_publisher = lambda publisher: Publisher()
    function.handle(smq_event("M1", request("k")), CONTEXT)
    function.handle(smq_event(message_id, request("k")), CONTEXT)
    assert ends == [300.0] * (1 if message_id == "M1" else 2)


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_the_store_signs_with_the_credentials_of_the_invocation(world, concurrency):
    """The environment's may be another user's: records are written by whoever the invocation runs as."""
    world.cloud.tables.create("hpoq", [("key", STRING)])
    world.cloud.credentials.register("STS.id", "sts-secret", user_id="2", security_token="sts-token")
    context = Fc2Context(
        "r", FunctionInfo(timeout=300), ContextCredentials("STS.id", "sts-secret", "sts-token")
    )
    function = world.function(
        HPOQ_STORE="tablestore://local.cn-hangzhou.ots.aliyuncs.com/hpoq", HPOQ_CONCURRENCY=concurrency
    )
    report = function.handle(smq_stream_event({"M1": REQUEST, "M2": REQUEST}), context)
    assert report["summary"]["created"] == 2
    callers = {entry.caller for entry in world.cloud.requests if entry.service == "tablestore"}
    assert callers == {"STS.id"}


def test_an_item_that_cannot_be_decoded_is_kept_before_it_is_rejected(world):
    """An undecodable item goes whole into the dead-letter queue; if that fails, the item comes back."""
    item = {"messageId": "M7", "requestId": "R"}
    event = json.dumps([item]).encode()
    world.cloud.faults.add("refuse", service="smq", operation="SendMessage", times=3)
    assert codes(world.deliver(event, **TO_DEAD)) == ["DeadLetterFailed"]
    assert world.events == []
    (row,) = world.deliver(event, **TO_DEAD)
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "Undecodable")
    ((_, body),) = world.waiting(DEAD_LETTER_QUEUE)
    assert json.loads(unseal(base64.b64decode(body)).body) == item


def test_an_item_that_cannot_be_decoded_is_kept_only_when_it_is_rejected(world):
    """A delivery that must come back leaves no further dead letter."""
    event = json.dumps([{"messageId": "M7", "requestId": "R"}]).encode()
    world.store = Dying()
    world.store.is_dying = True
    assert outcomes(world.deliver(event, **TO_DEAD)) == ["retry"]
    world.store.is_dying = False
    world.clock.advance(LATER)
    world.cloud.faults.add("status", service="paiautoml", operation="ListHpoExperiments", status=503, times=3)
    assert outcomes(world.deliver(event, **TO_DEAD)) == ["retry"]
    assert len(world.waiting(DEAD_LETTER_QUEUE)) == 1


def test_an_item_that_cannot_be_decoded_is_rejected_without_a_dead_letter_queue(world):
    """Where no dead-letter queue is set, its event with digest and size is all that is kept."""
    event = json.dumps([{"messageId": "M7", "requestId": "R"}]).encode()
    (row,) = world.deliver(event)
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "Undecodable")


def test_an_invocation_bounds_its_calls_and_looks(world):
    """A create begins only if connecting and answering fit in; a look at an experiment ends before its claim."""
    function = world.function(HPOQ_CONNECT_TIMEOUT_SECONDS="4", HPOQ_READ_TIMEOUT_SECONDS="20")
    batch = function._build_batch(function._begin(CONTEXT))
    assert batch.limits.start_seconds == 24
    claim = lifecycle.claim(Delivery("k", "f", "k", "b"), "owner", world.clock.now(), function._terms)
    budget = batch.processor._creator.search_budget(claim)
    assert budget.wall_ends_at == claim.lease_until - function._terms.skew
