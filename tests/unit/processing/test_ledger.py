import pytest

from hpoq.errors import StoreUnavailable
from hpoq.idempotency.record import State
from hpoq.processing import lifecycle
from hpoq.processing.ledger import ClaimLost, Ledger
from hpoq.processing.lifecycle import Action, Terms
from hpoq.testing import FakeClock, MemoryStore

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)


class Flaky(MemoryStore):
    """Fails as told, before or after the write took place."""

    def __init__(self, *failures):
        super().__init__()
        self.failures = list(failures)

    def _pass(self, write):
        failure = self.failures.pop(0) if self.failures else None
        if failure == "before":
            raise StoreUnavailable("before")
        answer = write()
        if failure == "after":
            raise StoreUnavailable("after")
        return answer

    def insert(self, record):
        return self._pass(lambda: super(Flaky, self).insert(record))

    def replace(self, record, expected):
        return self._pass(lambda: super(Flaky, self).replace(record, expected))


@pytest.fixture
def clock():
    return FakeClock()


def make(clock, store=None):
    return Ledger(store or MemoryStore(), clock, TERMS)


def test_first_delivery_claims(clock):
    """An unseen key is claimed, with nothing to clear up."""
    opening = make(clock).open("k", "f")
    assert (opening.action, opening.doubt_until, opening.record.attempts) == (Action.CLAIM, None, 1)


def test_second_delivery_waits_then_takes_over_with_the_doubt(clock):
    """While the lease runs others wait; after it the new owner is told what to clear."""
    ledger = make(clock)
    first = ledger.open("k", "f").record
    assert ledger.open("k", "f").action is Action.WAIT
    clock.advance(90)
    opening = ledger.open("k", "f")
    assert (opening.action, opening.doubt_until) == (Action.TAKE_OVER, first.doubt_until)
    assert opening.record.owner != first.owner


def test_a_zombie_changes_nothing(clock):
    """An owner whose key was taken over can no longer save, and is told so."""
    ledger = make(clock)
    zombie = ledger.open("k", "f").record
    clock.advance(90)
    heir = ledger.open("k", "f").record
    with pytest.raises(ClaimLost):
        ledger.save(lifecycle.complete(zombie, "s1", "{}", clock.now(), TERMS), zombie.version)
    done = ledger.save(lifecycle.complete(heir, "s2", "{}", clock.now(), TERMS), heir.version)
    assert (done.state, done.experiment_id) == (State.COMPLETED, "s2")


def test_a_forgotten_key(clock):
    """After its retention a key is free for another request; the same one is looked for first."""
    ledger = make(clock)
    claim = ledger.open("k", "f").record
    done = ledger.save(lifecycle.complete(claim, "s", "{}", clock.now(), TERMS), claim.version)
    ledger.save(lifecycle.published(done, clock.now()), done.version)
    clock.advance(1000)
    again = ledger.open("k", "f")
    assert (again.action, again.doubt_until) == (Action.TAKE_OVER, claim.claimed_at)
    ledger.save(done, again.record.version)
    ledger.save(lifecycle.published(done, clock.now()), done.version)
    clock.advance(1000)
    opening = ledger.open("k", "other")
    assert (opening.action, opening.record.fingerprint, opening.doubt_until) == (Action.CLAIM, "other", None)


@pytest.mark.parametrize("failures", [("before",), ("after",), ("after", "before")])
def test_a_write_whose_answer_was_lost_is_ours(clock, failures):
    """A claim that was written before the store broke off is recognised as ours when it is repeated."""
    assert make(clock, Flaky(*failures)).open("k", "f").action is Action.CLAIM


def test_a_save_whose_answer_was_lost_is_done(clock):
    """A completion that was written before the store broke off counts as saved."""
    store = Flaky()
    ledger = make(clock, store)
    claim = ledger.open("k", "f").record
    store.failures = ["after"]
    ledger.save(lifecycle.complete(claim, "s", "{}", clock.now(), TERMS), claim.version)
    assert store.get("k").state is State.COMPLETED


def test_a_store_that_stays_away_is_an_error(clock):
    """After a few tries the store's error is the answer."""
    with pytest.raises(StoreUnavailable):
        make(clock, Flaky(*["before"] * 9)).open("k", "f")
    assert len(clock.slept) == 2
