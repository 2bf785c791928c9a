import itertools
from dataclasses import replace

import pytest

from hpoq.idempotency.record import Record, State
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Standing, Terms

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)
NOW = 10_000.0
CLAIM = lifecycle.claim("key", "f", "owner-1", NOW, TERMS)


def record(state=State.IN_PROGRESS, **changes):
    return replace(CLAIM, state=state, **changes)


STANDINGS = [
    (None, NOW, Standing.UNSEEN),
    (CLAIM, NOW, Standing.HELD),
    (CLAIM, NOW + 89.9, Standing.HELD),
    (CLAIM, NOW + 90, Standing.ABANDONED),
    (CLAIM, NOW + 10**9, Standing.ABANDONED),
    (record(State.COMPLETED), NOW, Standing.UNPUBLISHED),
    (record(State.COMPLETED, published_at=NOW), NOW, Standing.PUBLISHED),
    (record(State.COMPLETED), NOW + 10**9, Standing.UNPUBLISHED),
    (record(State.REJECTED), NOW, Standing.UNPUBLISHED),
    (record(State.REJECTED, published_at=NOW), NOW, Standing.PUBLISHED),
    (record(State.FAILED), NOW, Standing.UNPUBLISHED),
    (record(State.FAILED, published_at=NOW), NOW, Standing.GIVEN_UP),
    (record(State.COMPLETED, published_at=NOW), NOW + 1000, Standing.EXPIRED),
    (record(State.FAILED, published_at=NOW), NOW + 1000, Standing.EXPIRED),
]


@pytest.mark.parametrize(("standing_record", "now", "expected"), STANDINGS)
def test_standing(standing_record, now, expected):
    """How a record stands follows from its state, its lease, its event and its age."""
    assert lifecycle.standing(standing_record, now) is expected


def test_every_state_stands_somehow():
    """No record is without a standing, and every standing has an action."""
    for state, published, later in itertools.product(State, (None, NOW), (0.0, 90.0, 2000.0)):
        how = lifecycle.standing(record(state, published_at=published), NOW + later)
        assert lifecycle.TABLE[how] in Action
    assert set(lifecycle.TABLE) == set(Standing)


@pytest.mark.parametrize(
    ("standing_record", "now", "action"),
    [
        (None, NOW, Action.CLAIM),
        (CLAIM, NOW, Action.WAIT),
        (CLAIM, NOW + 90, Action.TAKE_OVER),
        (record(State.COMPLETED), NOW, Action.PUBLISH),
        (record(State.COMPLETED, published_at=NOW), NOW, Action.ACKNOWLEDGE),
        (record(State.REJECTED), NOW, Action.PUBLISH),
        (record(State.REJECTED, published_at=NOW), NOW, Action.ACKNOWLEDGE),
        (record(State.FAILED), NOW, Action.PUBLISH),
        (record(State.FAILED, published_at=NOW), NOW, Action.TAKE_OVER),
        (record(State.COMPLETED, published_at=NOW), NOW + 1000, Action.TAKE_OVER),
    ],
)
def test_a_new_delivery(standing_record, now, action):
    """The table of the design, row by row."""
    assert lifecycle.decide(standing_record, "f", now) is action


def test_another_fingerprint_is_a_conflict_wherever_the_key_is_known():
    """A key that is known is never used for another request; one that is forgotten is free."""
    for standing_record, now, how in STANDINGS:
        action = lifecycle.decide(standing_record, "other", now)
        free = how in (Standing.UNSEEN, Standing.EXPIRED)
        assert action is (Action.CLAIM if free else Action.CONFLICT)


def test_a_claim_is_in_doubt_until_its_lease_and_the_margin_are_over():
    """An owner that dies right after its claim leaves the doubt that its create may have happened."""
    assert (CLAIM.lease_until, CLAIM.doubt_until) == (NOW + 90, NOW + 105)


def test_take_over_counts_fences_and_remembers():
    """A take-over has a new token and lease, one more attempt, and the time of the first claim."""
    taken = lifecycle.take_over(CLAIM, "owner-2", NOW + 100, TERMS)
    assert (taken.owner, taken.attempts, taken.claimed_at) == ("owner-2", 2, NOW)
    assert (taken.lease_until, taken.doubt_until) == (NOW + 190, NOW + 205)


def test_take_over_never_shortens_a_doubt():
    """A clock that runs behind does not make an earlier doubt end sooner."""
    far = replace(CLAIM, doubt_until=NOW + 5000)
    assert lifecycle.take_over(far, "owner-2", NOW + 100, TERMS).doubt_until == NOW + 5000


def test_a_given_up_key_gets_one_more_attempt():
    """A redelivery after a failure may create once more, and then ends again."""
    failed = replace(CLAIM, state=State.FAILED, attempts=7, published_at=NOW)
    taken = lifecycle.take_over(failed, "owner-2", NOW, TERMS)
    assert lifecycle.used_up(taken, TERMS)
    assert not lifecycle.exhausted(taken, TERMS)


@pytest.mark.parametrize("state", [State.COMPLETED, State.REJECTED, State.FAILED])
def test_an_expired_key_is_looked_for_first(state):
    """A message that comes back after its retention is no new one: the doubt is that it was created before."""
    ended = replace(CLAIM, state=state, attempts=7, published_at=NOW, doubt_until=None)
    assert lifecycle.doubt_left(ended) is not None
    taken = lifecycle.take_over(ended, "owner-2", NOW + 1000, TERMS)
    assert taken.claimed_at == NOW
    assert not lifecycle.exhausted(taken, TERMS)


def test_release_hands_the_key_on_at_once():
    """A released key can be taken over at once; an operator's fault does not count as an attempt."""
    released = lifecycle.release(CLAIM, None, NOW + 1, counts=True)
    assert lifecycle.standing(released, NOW + 1) is Standing.ABANDONED
    assert (released.attempts, released.doubt_until) == (1, None)
    assert lifecycle.release(CLAIM, 5.0, NOW, counts=False).attempts == 0


def test_ends_keep_the_event_unpublished():
    """Every end stores its event, unpublished, and starts the retention."""
    ends = [
        lifecycle.complete(CLAIM, "sABC", "{}", NOW + 5, TERMS),
        lifecycle.reject(CLAIM, "{}", NOW + 5, TERMS),
        lifecycle.fail(CLAIM, "{}", NOW + 5, TERMS),
    ]
    for end in ends:
        assert (end.event, end.published_at, end.expires_at) == ("{}", None, NOW + 1005)
        assert lifecycle.published(end, NOW + 6).published_at == NOW + 6
    assert [end.state for end in ends] == [State.COMPLETED, State.REJECTED, State.FAILED]
    assert ends[0].experiment_id == "sABC"


def test_a_failure_makes_the_next_owner_reconcile():
    """Whoever claims a failed key again must look for an experiment first."""
    assert lifecycle.fail(CLAIM, "{}", NOW, TERMS).doubt_until is not None


def test_sends_end_before_the_lease_by_the_skew():
    """A create must have ended while even a clock that is ahead still sees the lease."""
    assert lifecycle.latest_send(CLAIM, TERMS) == NOW + 80


def test_doubt():
    """Absence can be concluded once the doubt is over, or where there never was one."""
    assert lifecycle.in_doubt(NOW + 1, NOW)
    assert not lifecycle.in_doubt(NOW, NOW)
    assert not lifecycle.in_doubt(None, NOW)
    assert lifecycle.doubt_after_send(CLAIM, TERMS) == NOW + 105


def test_a_record_is_a_record():
    """Every transition keeps key and fingerprint."""
    steps: list[Record] = [
        lifecycle.take_over(CLAIM, "o", NOW, TERMS),
        lifecycle.release(CLAIM, None, NOW, counts=True),
        lifecycle.complete(CLAIM, "s", "{}", NOW, TERMS),
        lifecycle.reject(CLAIM, "{}", NOW, TERMS),
        lifecycle.fail(CLAIM, "{}", NOW, TERMS),
        lifecycle.published(CLAIM, NOW),
    ]
    assert {(step.key, step.fingerprint) for step in steps} == {("key", "f")}
