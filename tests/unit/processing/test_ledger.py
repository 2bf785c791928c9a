from dataclasses import replace

import pytest

from hpoq.errors import StoreUnavailable
from hpoq.idempotency.record import State
from hpoq.observability.measures import Measures, collect_into
from hpoq.processing import lifecycle
from hpoq.processing.ledger import ClaimLost, Ledger
from hpoq.processing.lifecycle import Action, Delivery, Terms
from hpoq.testing import FakeClock, MemoryStore

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)
FIRST = Delivery("k", "f", "m-1", "b-1", message_id="M1")
OTHER = Delivery("k", "other", "m-2", "b-2", message_id="M2")


class Flaky(MemoryStore):
    """A store that fails as listed, before or after each write took place, and counts its calls."""

    def __init__(self, *failures):
        super().__init__()
        self.failures = list(failures)
        self.inserts = 0

    def _pass(self, write):
        failure = self.failures.pop(0) if self.failures else None
        if failure == "before":
            raise StoreUnavailable("before")
        answer = write()
        if failure == "after":
            raise StoreUnavailable("after")
        return answer

    def insert(self, record):
        self.inserts += 1
        return self._pass(lambda: super(Flaky, self).insert(record))

    def replace(self, record, expected):
        return self._pass(lambda: super(Flaky, self).replace(record, expected))


@pytest.fixture
def clock():
    return FakeClock()


def make(clock, store=None):
    return Ledger(store or MemoryStore(), clock, TERMS, lambda: 0.0)


def publish(ledger, clock, claim):
    """Bring a claim to its published end."""
    done = ledger.save(lifecycle.complete(claim, "s", "{}", clock.now(), TERMS), claim.version)
    return ledger.save(lifecycle.mark_published(done, clock.now()), done.version)


def test_the_first_delivery_claims(clock):
    """An unseen key is claimed, with nothing to clear up."""
    opening = make(clock).open(FIRST)
    assert (opening.action, opening.doubt_until, opening.record.attempts) == (Action.CLAIM, None, 1)
    assert opening.record == lifecycle.claim(FIRST, opening.record.owner, clock.now(), TERMS)


def test_the_second_delivery_waits_then_takes_over_with_the_doubt(clock):
    """While the lease runs others wait; after it the new owner gets the doubt that it has to clear."""
    ledger = make(clock)
    first = ledger.open(FIRST).record
    assert ledger.open(FIRST).action is Action.WAIT
    clock.advance(90)
    opening = ledger.open(FIRST)
    assert (opening.action, opening.doubt_until) == (Action.TAKE_OVER, first.doubt_until)
    assert opening.record.owner != first.owner


def test_of_two_that_take_over_at_once_one_waits(clock):
    """A take-over that finds the record changed since it was read waits for the other delivery."""
    ledger = make(clock)
    abandoned = ledger.open(FIRST).record
    clock.advance(90)
    assert ledger.take_over(abandoned, FIRST).action is Action.TAKE_OVER
    assert ledger.take_over(abandoned, FIRST).action is Action.WAIT


def test_an_owner_that_lost_its_claim_changes_nothing(clock):
    """An owner whose key was taken over can no longer save, and gets an error that says so."""
    ledger = make(clock)
    zombie = ledger.open(FIRST).record
    clock.advance(90)
    successor = ledger.open(FIRST).record
    with pytest.raises(ClaimLost) as lost:
        ledger.save(lifecycle.complete(zombie, "s1", "{}", clock.now(), TERMS), zombie.version)
    assert lost.value.was_claimed, "its create may have been sent"
    done = ledger.save(lifecycle.complete(successor, "s2", "{}", clock.now(), TERMS), successor.version)
    assert (done.state, done.experiment_id) == (State.COMPLETED, "s2")
    assert ledger.get("k") == done


def test_a_key_is_free_for_another_request_after_its_retention(clock):
    """After the retention an equal request is searched for first, and another one claims the key afresh."""
    ledger = make(clock)
    claim = ledger.open(FIRST).record
    publish(ledger, clock, claim)
    clock.advance(1000)
    again = ledger.open(FIRST)
    assert (again.action, again.doubt_until) == (Action.TAKE_OVER, claim.claimed_at)
    publish(ledger, clock, again.record)
    clock.advance(1000)
    opening = ledger.open(OTHER)
    assert (opening.action, opening.record.fingerprint, opening.doubt_until) == (Action.CLAIM, "other", None)


@pytest.mark.parametrize("delivery", [FIRST, OTHER])
@pytest.mark.parametrize(("error", "is_free"), [(0.0, True), (-5000.0, True), (10.0, True), (4999.0, False)])
def test_no_key_is_free_again_by_a_clock_that_is_known_to_be_ahead(clock, delivery, error, is_free):
    """The answers of the services show it. A clock that is behind needs no correction."""
    ledger = make(clock)
    publish(ledger, clock, ledger.open(FIRST).record)
    clock.advance(5000)
    action = Ledger(ledger._store, clock, TERMS, lambda: error).open(delivery).action
    assert (action is not Action.WAIT) is is_free


@pytest.mark.parametrize(("late_by", "error"), [(-3 * 86_400, -3 * 86_400), (200, 200)])
def test_no_claim_is_taken_over_by_a_clock_that_is_known_to_be_wrong(clock, late_by, error):
    """One that is far behind also would date the message so far back that it is given up as too old."""
    ledger = make(clock)
    ledger.open(FIRST)
    there = FakeClock(clock.now() + late_by)
    assert Ledger(ledger._store, there, TERMS, lambda: error).open(FIRST).action is Action.WAIT
    assert Ledger(ledger._store, there, TERMS, lambda: 0.0).open(FIRST).action is Action.TAKE_OVER


def test_a_key_that_has_ended_needs_no_right_clock(clock):
    """Nothing depends on the time."""
    ledger = make(clock)
    publish(ledger, clock, ledger.open(FIRST).record)
    assert Ledger(ledger._store, clock, TERMS, lambda: -5000.0).open(FIRST).action is Action.ACKNOWLEDGE


def test_of_two_that_claim_an_expired_key_at_once_one_waits(clock):
    """A claim that finds the record changed since it was read waits for the other delivery."""

    class Raced(MemoryStore):
        """Another delivery claims the key between the two calls."""

        def replace(self, record, expected):
            super().replace(lifecycle.claim(OTHER, "other", clock.now(), TERMS), expected)
            return super().replace(record, expected)

    store = MemoryStore()
    publish(make(clock, store), clock, make(clock, store).open(FIRST).record)
    raced = Raced()
    raced.insert(store.get("k"))
    clock.advance(1000)
    third = replace(OTHER, fingerprint="third", message_key="m-3", body="b-3")
    assert make(clock, raced).open(third).action is Action.WAIT
    assert raced.get("k").owner == "other"


def test_nothing_is_claimed_for_a_conflict_an_early_copy_or_an_older_one(clock):
    """A delivery that may not run leaves the record as it is."""
    ledger = make(clock)
    claim = ledger.open(FIRST).record
    released = lifecycle.release(claim, None, clock.now(), counts=False)
    stored = ledger.save(lifecycle.mark_sent_back(released, 2, clock.now() + 30), claim.version)
    for delivery, action in (
        (OTHER, Action.CONFLICT),
        (replace(FIRST, sequence=1), Action.DROP),
        (replace(FIRST, sequence=2), Action.WAIT),
    ):
        opening = ledger.open(delivery)
        assert (opening.action, opening.record) == (action, stored)
        assert ledger.get("k") == stored


@pytest.mark.parametrize("failures", [("before",), ("after",), ("after", "before")])
def test_a_claim_whose_answer_was_lost_is_ours(clock, failures):
    """A claim that was written before the store broke off is recognized as ours when it is repeated."""
    assert make(clock, Flaky(*failures)).open(FIRST).action is Action.CLAIM


def test_a_save_whose_answer_was_lost_is_done(clock):
    """A completion that was written before the store broke off counts as saved."""
    store = Flaky()
    ledger = make(clock, store)
    claim = ledger.open(FIRST).record
    store.failures = ["after"]
    ledger.save(lifecycle.complete(claim, "s", "{}", clock.now(), TERMS), claim.version)
    assert store.get("k").state is State.COMPLETED


def test_a_record_that_the_store_has_lost_is_written_again(clock):
    """A delivery that found no record would create without a search."""
    claim = make(clock).open(FIRST).record
    store = MemoryStore()
    saved = make(clock, store).save(lifecycle.complete(claim, "s", "{}", clock.now(), TERMS), claim.version)
    assert (saved.experiment_id, store.get("k")) == ("s", saved)


def test_a_store_that_does_not_answer_is_an_error(clock, monkeypatch):
    """After three tries, at most 0.2 and 0.4 seconds apart, the store's error is the answer."""
    store = Flaky(*["before"] * 9)
    monkeypatch.setattr(clock, "random", lambda: 0.5)
    with pytest.raises(StoreUnavailable):
        make(clock, store).open(FIRST)
    assert (store.inserts, clock.slept) == (3, [0.1, 0.2])


def test_what_deliveries_meet_is_counted(clock):
    """Waits, take-overs, lost claims and repeated store calls are counted; a look at an experiment is neither."""
    measures, store = Measures(), Flaky()
    ledger = make(clock, store)
    watch = replace(FIRST, key="w", is_watch=True)
    with collect_into(measures):
        zombie = ledger.open(FIRST).record
        ledger.open(watch)
        assert measures.counts == {}
        ledger.open(FIRST)
        assert measures.counts == {"lease_conflicts": 1}
        clock.advance(90)
        ledger.open(watch)
        assert measures.counts == {"lease_conflicts": 1}
        ledger.open(FIRST)
        assert measures.counts == {"lease_conflicts": 1, "takeovers": 1}
        with pytest.raises(ClaimLost, match="the claim of k was taken over"):
            ledger.save(zombie, zombie.version)
        store.failures = ["before"]
        ledger.open(OTHER)
    assert measures.counts == {"lease_conflicts": 2, "takeovers": 1, "claims_lost": 1, "store_retries": 1}


def test_each_look_ahead_claim_and_save_is_timed(clock):
    """The invocation's report shows how long the store took, by step."""
    measures, ledger = Measures(), make(clock)
    with collect_into(measures):
        ledger.look_ahead([FIRST])
        claim = ledger.open(FIRST).record
        ledger.save(claim, claim.version)
    assert {step: len(seconds) for step, seconds in measures.seconds.items()} == {
        "lookup": 1,
        "claim": 1,
        "save": 1,
    }


def test_what_was_looked_up_saves_a_read_only_for_the_message_that_is_done(clock):
    """A record that was read ahead acknowledges its own message; any other delivery of its key is decided anew."""
    store = Flaky()
    ledger = make(clock, store)
    publish(ledger, clock, ledger.open(FIRST).record)
    store.inserts = 0
    ahead = make(clock, store)
    repeated = replace(FIRST, message_key="m-9")
    ahead.look_ahead([FIRST, OTHER, repeated])
    assert [ahead.find_settled(one) is not None for one in (FIRST, OTHER, repeated)] == [True, False, False]
    assert ahead.open(FIRST).action is Action.ACKNOWLEDGE
    assert store.inserts == 0
    assert ahead.open(OTHER).action is Action.CONFLICT
    assert ahead.open(repeated).action is Action.REPEAT


def test_what_was_looked_up_stays_known_after_the_next_look(clock):
    """An event is looked up in slices, and a message may be processed after those of a later slice were read."""
    store = Flaky()
    ledger = make(clock, store)
    publish(ledger, clock, ledger.open(FIRST).record)
    store.inserts = 0
    ahead = make(clock, store)
    ahead.look_ahead([FIRST])
    ahead.look_ahead([replace(FIRST, key="another")])
    assert ahead.open(FIRST).action is Action.ACKNOWLEDGE
    assert store.inserts == 0


def test_what_was_looked_up_expires_like_any_record(clock):
    """A record that was read ahead just before its retention ended is not used afterwards."""
    store = MemoryStore()
    ledger = make(clock, store)
    publish(ledger, clock, ledger.open(FIRST).record)
    ahead = make(clock, store)
    ahead.look_ahead([FIRST])
    clock.advance(1000)
    assert ahead.open(FIRST).action is Action.TAKE_OVER


@pytest.mark.parametrize("delivery", [FIRST, OTHER])
def test_what_is_not_done_is_not_looked_up_ahead(clock, delivery):
    """Only a record that nobody writes any more may be kept: one in progress may change at any time."""
    store = MemoryStore()
    claim = make(clock, store).open(FIRST).record
    ahead = make(clock, store)
    ahead.look_ahead([delivery])
    publish(make(clock, store), clock, claim)
    expected = Action.ACKNOWLEDGE if delivery is FIRST else Action.CONFLICT
    assert ahead.open(delivery).action is expected


def test_only_a_request_without_a_result_needs_a_create(clock):
    """An unknown or abandoned key needs one; a key that is held or has ended does not."""
    ledger = make(clock)
    assert ledger.needs_create(FIRST)
    opening = ledger.open(FIRST)
    assert not ledger.needs_create(FIRST)
    clock.advance(TERMS.lease + 1)
    assert ledger.needs_create(FIRST)
    publish(ledger, clock, opening.record)
    assert not ledger.needs_create(FIRST)


@pytest.mark.parametrize("is_looked_up", [True, False])
@pytest.mark.parametrize(
    ("age", "redriven", "needed"), [(1, None, True), (0, None, False), (0, "again", True)]
)
def test_a_message_at_its_greatest_age_needs_no_create_unless_it_is_redriven(
    clock, is_looked_up, age, redriven, needed
):
    """A message at its greatest age must end even without a turn; after a redrive its age begins anew."""
    ledger = make(clock)
    old = replace(FIRST, since=clock.now() - TERMS.max_age + age, redriven=redriven)
    if is_looked_up:
        ledger.look_ahead([old])
    assert ledger.needs_create(old) is needed


def test_a_redriven_message_needs_a_create_however_old_its_record_is(clock):
    """The record says when its message was first delivered; a redrive that had no effect yet begins the age anew."""
    ledger = make(clock)
    claim = ledger.open(FIRST).record
    ledger.save(lifecycle.release(claim, None, clock.now(), counts=True), claim.version)
    clock.advance(TERMS.max_age)
    assert not ledger.needs_create(FIRST)
    assert ledger.needs_create(replace(FIRST, redriven="again"))


def test_a_key_that_was_looked_up_ahead_is_not_read_again(clock):
    """In a burst of new messages, waiting for a turn costs no reads."""
    ledger = make(clock)
    ledger.look_ahead([FIRST])
    ledger.get = None
    assert ledger.needs_create(FIRST)


def test_a_record_that_was_looked_up_ahead_says_whether_a_create_is_needed(clock):
    """What another delivery holds waits for no turn."""
    ledger = make(clock)
    ledger.open(FIRST)
    ledger.look_ahead([FIRST, OTHER])
    assert not ledger.needs_create(FIRST)


def test_a_message_that_is_held_back_gets_a_record_that_claims_nothing(clock):
    """The record numbers the next copy. The turn that comes later is a first attempt, with nothing to clear up."""
    ledger = make(clock)
    waited = replace(FIRST, since=clock.now() - 50)
    action, record = ledger.hold_back(waited)
    assert (action, record) == (Action.TAKE_OVER, ledger.get("k"))
    assert (record.attempts, record.doubt_until, record.claimed_at) == (0, None, clock.now() - 50)
    assert record.lease_until == record.claimed_at, "a clock that is ahead holds no key"
    numbered = ledger.save(lifecycle.mark_sent_back(record, 1, clock.now()), record.version)
    assert ledger.hold_back(waited) == (Action.DROP, None)
    newest = replace(waited, sequence=1)
    assert ledger.hold_back(newest) == (Action.TAKE_OVER, numbered)
    opening = ledger.open(newest)
    assert (opening.doubt_until, opening.record.attempts, opening.record.uncertain) == (None, 1, False)
    assert ledger.hold_back(newest) == (Action.WAIT, None)


def test_a_write_that_comes_late_changes_nothing(clock):
    """Its owner has written since, as the same owner: each of its writes has a version of its own."""
    store = MemoryStore()
    ledger = make(clock, store)
    claim = ledger.open(FIRST).record
    late = replace(claim, generation=1)
    saved = ledger.save(replace(claim, generation=2), claim.version)
    assert not store.replace(late, claim.version)
    assert store.get("k") == saved


def test_a_message_that_is_held_back_meets_a_claim_that_came_first(clock):
    """Its key had no record when it was looked up; the record that it has now decides, and is not written."""
    store = MemoryStore()
    ledger = make(clock, store)
    ledger.look_ahead([FIRST])
    claim = make(clock, store).open(FIRST).record
    assert ledger.hold_back(replace(FIRST, since=clock.now())) == (Action.WAIT, None)
    assert store.get("k") == claim


def test_a_copy_that_is_held_back_without_its_record_keeps_the_doubt(clock):
    """The record is lost, and the create of an earlier delivery may still be under way when the turn comes."""
    ledger = make(clock)
    _, record = ledger.hold_back(replace(FIRST, sequence=1, since=clock.now() - 50))
    assert record.doubt_until == clock.now() + TERMS.lease + TERMS.consistency
    assert ledger.get("k") == record


def test_what_only_a_claim_may_change_is_not_numbered_when_it_is_held_back(clock):
    """A redrive has its effect with its claim, and the event of a key that has ended is not lost."""
    ledger = make(clock)
    redriven = replace(FIRST, since=clock.now(), redriven="r-1")
    assert ledger.hold_back(redriven) == (Action.CLAIM, None)
    assert ledger.get("k") is None
    ended = publish(ledger, clock, ledger.open(FIRST).record)
    clock.advance(TERMS.retention)
    assert ledger.hold_back(replace(FIRST, since=0.0)) == (Action.TAKE_OVER, None)
    assert ledger.get("k") == ended


def test_holding_back_reads_and_writes_only_what_is_not_known(clock):
    """A key that was seen to be free is not read again, and one that has a record is not written."""
    store = Flaky()
    ledger = make(clock, store)
    ledger.look_ahead([FIRST])
    get, ledger.get = ledger.get, None
    assert ledger.hold_back(FIRST)[0] is Action.TAKE_OVER
    ledger.get = get
    store.inserts = 0
    assert make(clock, store).hold_back(FIRST)[0] is Action.TAKE_OVER
    assert store.inserts == 0


def test_a_redriven_message_that_is_held_back_is_judged_by_its_record(clock):
    """It waits for another owner like any message, and only its claim may give its record a new beginning."""
    ledger = make(clock)
    claim = ledger.open(FIRST).record
    redriven = replace(FIRST, redriven="r-1")
    assert ledger.hold_back(redriven) == (Action.WAIT, None)
    ledger.save(lifecycle.release(claim, None, clock.now(), counts=True), claim.version)
    assert ledger.hold_back(redriven) == (Action.TAKE_OVER, None)


def test_a_message_that_is_known_to_be_done_needs_neither_a_create_nor_a_read(clock):
    """Its record was read ahead, and nobody writes that any more."""
    store = MemoryStore()
    ledger = make(clock, store)
    publish(ledger, clock, ledger.open(FIRST).record)
    ahead = make(clock, store)
    ahead.look_ahead([FIRST])
    ahead.get = None
    assert not ahead.needs_create(FIRST)
