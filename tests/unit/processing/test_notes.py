"""Who stops an experiment is noted once, and taken back only by whoever noted it."""

import pytest

from hpoq.contract.identity import STOPPED, derive_key
from hpoq.idempotency.record import Record, State
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Terms
from hpoq.processing.notes import StopNotes
from hpoq.testing import FakeClock, MemoryStore

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)


@pytest.fixture
def notes():
    clock = FakeClock()
    return StopNotes(Ledger(MemoryStore(), clock, TERMS, lambda: 0.0), clock, "team-a")


def test_the_first_note_stays(notes):
    """The event of the end names who stopped the experiment first."""
    notes.add("s1", "guard:maxHours")
    notes.add("s1", "request")
    assert notes.find("s1") == "guard:maxHours"
    assert notes.find("s2") is None


def test_a_note_is_taken_back_by_its_writer_alone(notes):
    """A stop that the service refuses says nothing about one that is under way."""
    notes.withdraw("s1", "request")
    assert notes.find("s1") is None
    notes.add("s1", "guard:maxHours")
    notes.withdraw("s1", "request")
    assert notes.find("s1") == "guard:maxHours"
    notes.withdraw("s1", "guard:maxHours")
    assert notes.find("s1") is None
    notes.add("s1", "request")
    assert notes.find("s1") == "request"


def test_a_note_is_remembered_as_long_as_an_ended_key(notes):
    """It is a record under a key of its own, which a store may let expire: there is no event to publish."""
    now = notes.clock.now()
    notes.add("s1", "request")
    record = notes.ledger.get(derive_key(STOPPED, "s1", "team-a"))
    assert record == Record(
        key=derive_key(STOPPED, "s1", "team-a"),
        state=State.COMPLETED,
        fingerprint="note",
        owner=record.owner,
        claimed_at=now,
        lease_until=now,
        expires_at=now + 1000,
        experiment_id="s1",
        published_at=now,
        stopped_by="request",
    )
    assert record.owner
