"""The results that say how a message is sent back: with a record that numbers its copies, or without one."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import structlog

from fcruntime.triggers import Message
from hpoq.clock import Budget
from hpoq.contract.events import EventError
from hpoq.errors import StoreUnavailable, UnknownEnd
from hpoq.idempotency.record import State
from hpoq.processing.creation import Marking, Postponed
from hpoq.processing.intake import Defective
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Terms, mark_sent_back
from hpoq.processing.outcome import Announcer, Outcome, Retry
from hpoq.processing.processor import Processor
from hpoq.testing import FakeClock, MemoryStore
from support.reading import read_message
from support.request import REQUEST, make_document, request

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)
INTAKE = read_message(Message("smq", "M1", REQUEST.encode()))
WAITED = replace(INTAKE.delivery, since=0.0)
THROTTLED = EventError("Throttling.User", "too many calls", retryable=True)
HELD = Retry(Outcome.RETRY, "k", "M1", throttled=True)


class Down(MemoryStore):
    """A store that does not answer."""

    def get(self, key):
        raise StoreUnavailable("no answer")

    def insert(self, record):
        raise StoreUnavailable("no answer")


class Refusing:
    """A publisher that every event fails on."""

    def publish(self, event, budget):
        raise UnknownEnd("no answer", service="smq", operation="PublishMessage")


class Busy:
    """A creator whose searches are throttled."""

    marking = Marking(in_tag=True, in_description=True, page_size=100)
    place = "acs:paiautoml"

    def __init__(self, clock):
        self.client = SimpleNamespace(present_time=clock.now)

    def adopt(self, claim, doubt_until, experiment):
        return Postponed(claim, THROTTLED, None, counts=False, inconclusive=True, throttled=True)


def make(store=None, clock=None):
    """Return a processor of which only the store and the output can be used, and its ledger."""
    clock = clock or FakeClock()
    ledger = Ledger(store or MemoryStore(), clock, TERMS, lambda: 0.0)
    announcer = Announcer(Refusing(), "acs:fc", "r-1", clock, Budget(clock, clock.monotonic() + 60))
    follower = SimpleNamespace(order=lambda *_: None)
    dead_letters = SimpleNamespace(put=lambda *_: True)
    return Processor(ledger, Busy(clock), announcer, dead_letters, follower, clock), ledger


def test_a_message_that_waits_for_the_first_time_is_not_recorded():
    """Most messages wait once at most, and cost no call of the store."""
    processor, ledger = make()
    assert processor.hold_back(INTAKE.delivery, HELD) is HELD
    assert ledger.get(INTAKE.delivery.key) is None


def test_a_message_that_waits_again_is_recorded():
    """Its record numbers the next copy; an older copy is dropped."""
    clock = FakeClock()
    processor, ledger = make(clock=clock)
    held = processor.hold_back(WAITED, HELD)
    assert held == replace(HELD, record=ledger.get(WAITED.key))
    ledger.save(mark_sent_back(held.record, 1, clock.now()), held.record.version)
    older = processor.hold_back(WAITED, HELD)
    assert (older.outcome, older.message_id) == (Outcome.DUPLICATE, "M1")
    assert older.error.code == "Superseded"
    newest = processor.hold_back(replace(WAITED, sequence=1), HELD)
    assert newest == replace(HELD, record=ledger.get(WAITED.key))


def test_a_message_waits_though_the_store_does_not_answer():
    """It is sent back as if it had no record, and the log says why its copies will not merge."""
    processor, _ = make(Down())
    with structlog.testing.capture_logs() as lines:
        assert processor.hold_back(WAITED, HELD) is HELD
    assert [(line["event"], line["error"]) for line in lines] == [("requeue.unrecorded", "no answer")]


class Damaged(MemoryStore):
    """A store with a record of a wrong form, which nothing expects."""

    def get(self, key):
        raise ZeroDivisionError


def test_a_message_waits_though_its_record_is_damaged():
    """Whatever fails about one message, the others of its event go on; its own processing meets the error again."""
    processor, _ = make(Damaged())
    with structlog.testing.capture_logs() as lines:
        assert processor.hold_back(WAITED, HELD) is HELD
        assert processor.needs_create(INTAKE.delivery)
    assert [(line["event"], line["error"]) for line in lines] == [("requeue.unrecorded", "ZeroDivisionError")]


DRY = make_document("k") | {"dryRun": True}


@pytest.mark.parametrize(
    ("intake", "store", "code"),
    [
        (INTAKE, Down(), "StoreUnavailable"),
        (INTAKE, None, "InternalError"),
        (Defective(INTAKE.delivery, INTAKE.envelope, "ZeroDivisionError"), None, "InternalError"),
    ],
    ids=["the store fails", "a part is missing", "reading failed"],
)
def test_what_fails_without_a_record_comes_back_ever_later(intake, store, code):
    """Nothing numbers the copies of such a message, so that they do not merge: the fewer, the better."""
    processor, _ = make(store)
    result = processor.process(intake)
    assert (result.outcome, result.error.code, result.unrecorded, result.record) == (
        Outcome.RETRY,
        code,
        True,
        None,
    )


def test_a_conflict_that_waits_for_the_first_request_comes_back_ever_later():
    """The record is that of the first request and numbers no copies of the conflict.

    The search for its experiment is not repeated before it is due.
    """
    clock = FakeClock()
    processor, ledger = make(clock=clock)
    first, other = (
        read_message(Message("smq", name, request("k", Name=name).encode())) for name in ("M1", "M2")
    )
    ledger.open(first.delivery)
    clock.advance(TERMS.lease)
    searched, early = (processor.process(other) for _ in range(2))
    assert (searched.error, searched.throttled) == (THROTTLED, True)
    for result in (searched, early):
        assert (result.outcome, result.message_id, result.unrecorded) == (Outcome.RETRY, "M2", True)
        assert result.error.code != "InternalError"


def test_a_message_that_has_to_wait_says_until_when():
    """Until the lease of the delivery that holds its key ends, or until the next search is due."""
    clock = FakeClock()
    processor, ledger = make(clock=clock)
    processor._creator.attempt = lambda experiment, *claimed: processor._creator.adopt(*claimed, experiment)
    held = ledger.open(INTAKE.delivery).record
    assert processor.process(INTAKE).due == held.lease_until > clock.now()
    clock.advance(TERMS.lease)
    searched = processor.process(INTAKE)
    assert (searched.error, searched.due) == (THROTTLED, 0.0)
    assert processor.process(INTAKE).due == searched.record.not_before > clock.now()


def test_a_dry_run_whose_answer_fails_comes_back_ever_later():
    """A dry run leaves no record."""
    processor, _ = make()
    result = processor.process(read_message(Message("smq", "M1", json.dumps(DRY).encode())))
    assert (result.outcome, result.unrecorded) == (Outcome.RETRY, True)


def test_a_claim_that_is_given_back_ends_by_the_clock_of_the_service():
    """A clock that is ahead by hours would hold the key for as long."""
    clock = FakeClock()
    processor, ledger = make(clock=clock)
    present = clock.now() - 7200
    processor._creator.client.present_time = lambda: present
    processor._creator.attempt = lambda _, *claimed: processor._creator.adopt(*claimed, None)
    processor.process(INTAKE)
    assert ledger.get(INTAKE.delivery.key).lease_until == present


@pytest.mark.parametrize(
    ("behind", "state"), [(TERMS.skew, State.IN_PROGRESS), (TERMS.skew + 1, State.FAILED)]
)
def test_the_age_of_a_message_is_that_by_the_service_unless_its_dates_are_wrong(behind, state):
    """Its claim may come from a clock that was ahead by the skew. No date of an answer is earlier than that."""
    clock = FakeClock()
    processor, ledger = make(clock=clock)
    ledger.open(INTAKE.delivery)
    by_service = clock.now() - behind
    processor._creator.client.present_time = lambda: by_service
    processor._creator.attempt = lambda _, claim, doubt_until: processor._creator.adopt(
        claim, doubt_until, None
    )
    clock.advance(TERMS.max_age)
    processor.process(INTAKE)
    assert ledger.get(INTAKE.delivery.key).state is state


def test_a_rejected_request_is_searched_for_by_its_name_and_workspace():
    """Otherwise every experiment without a marker might be that of its earlier delivery, and nobody could tell."""
    processor, _ = make()
    sought = []
    processor._creator.adopt = lambda _claim, _doubt_until, experiment: sought.append(experiment)
    document = make_document(Name="n", WorkspaceId="7")
    document["experiment"]["Unknown"] = 1
    processor.process(read_message(Message("smq", "M2", json.dumps(document).encode())))
    assert sought == [{"Name": "n", "WorkspaceId": "7"}]
