import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.idempotency.record import Record, State, decode, encode
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Delivery, Standing, Terms
from hpoq.settings import Settings

TERMS = Terms(
    lease=90, skew=10, consistency=15, retention=1000, max_attempts=3, read=25, max_age=5000, delay=30
)
NOW = 10_000.0
FIRST = Delivery("key", "f", "m-1", "b-1", message_id="M1")
REPEATED = replace(FIRST, message_key="m-2", body="b-2", message_id="M2")
OTHER = Delivery("key", "other", "m-3", "b-3", message_id="M3")
CLAIM = lifecycle.claim(FIRST, "owner-1", NOW, TERMS)


def record(state=State.IN_PROGRESS, **changes):
    return replace(CLAIM, state=state, **changes)


def end(state, **changes):
    return record(state, event="{}", doubt_until=None, **changes)


STANDINGS = [
    (None, NOW, Standing.UNSEEN),
    (CLAIM, NOW, Standing.HELD),
    (CLAIM, NOW + 89.9, Standing.HELD),
    (CLAIM, NOW + 90, Standing.ABANDONED),
    (CLAIM, NOW + 10**9, Standing.ABANDONED),
    # A clock that was two hours ahead, or more, wrote its lease.
    (CLAIM, NOW + 90 - 7200, Standing.HELD),
    (CLAIM, NOW + 89 - 7200, Standing.ABANDONED),
    (end(State.COMPLETED), NOW, Standing.UNPUBLISHED),
    (end(State.COMPLETED, published_at=NOW), NOW, Standing.PUBLISHED),
    (end(State.COMPLETED, published_at=NOW), NOW + 999.9, Standing.PUBLISHED),
    (end(State.COMPLETED), NOW + 10**9, Standing.UNPUBLISHED),
    (end(State.REJECTED), NOW, Standing.UNPUBLISHED),
    (end(State.REJECTED, published_at=NOW), NOW, Standing.PUBLISHED),
    (end(State.FAILED), NOW, Standing.UNPUBLISHED),
    (end(State.FAILED, published_at=NOW), NOW, Standing.GIVEN_UP),
    (end(State.COMPLETED, published_at=NOW), NOW + 1000, Standing.EXPIRED),
    (end(State.REJECTED, published_at=NOW), NOW + 1000, Standing.EXPIRED),
    (end(State.FAILED, published_at=NOW), NOW + 1000, Standing.EXPIRED),
]


@pytest.mark.parametrize(("standing_record", "now", "expected"), STANDINGS)
def test_standing_follows_from_state_lease_event_and_age(standing_record, now, expected):
    """How a record stands follows from its state, its lease, its event and its age."""
    assert lifecycle.find_standing(standing_record, now) is expected


@pytest.mark.parametrize(("due", "early"), [(-0.5, 0), (0, 0), (1, 1), (7200, 7200), (7201, 0)])
def test_a_copy_is_early_by_two_hours_at_most(due, early):
    """No copy is delayed for longer, except by a clock that was ahead."""
    assert lifecycle.early_seconds(record(not_before=NOW + due), NOW) == early


def test_the_words_for_a_standing_and_an_action_stay():
    """`hpoq status --json` shows them to programs."""
    assert [standing.value for standing in Standing] == [
        *("unseen", "held", "abandoned", "unpublished", "published", "given up", "expired")
    ]
    assert [action.value for action in Action] == [
        *("claim", "wait", "drop", "take over", "publish", "repeat", "acknowledge", "conflict")
    ]


# The table of the module, with every condition spelt out; "any" matches whatever the column may hold.
TABLE = """
standing     message   copy    time   redriven  action
unseen       any       any     any    any       CLAIM
held         same      newest  any    any       WAIT
held         same      older   any    no        DROP
held         same      older   any    yes       WAIT
held         repeated  newest  any    any       WAIT
held         repeated  older   any    no        DROP
held         repeated  older   any    yes       WAIT
held         other     any     any    any       WAIT
abandoned    same      newest  due    any       TAKE_OVER
abandoned    same      newest  early  no        WAIT
abandoned    same      newest  early  yes       TAKE_OVER
abandoned    same      older   any    no        DROP
abandoned    same      older   any    yes       TAKE_OVER
abandoned    repeated  newest  due    any       TAKE_OVER
abandoned    repeated  newest  early  no        WAIT
abandoned    repeated  newest  early  yes       TAKE_OVER
abandoned    repeated  older   any    no        DROP
abandoned    repeated  older   any    yes       TAKE_OVER
abandoned    other     any     any    any       CONFLICT
unpublished  same      newest  any    any       PUBLISH
unpublished  same      older   any    no        DROP
unpublished  same      older   any    yes       PUBLISH
unpublished  repeated  newest  any    any       PUBLISH
unpublished  repeated  older   any    no        DROP
unpublished  repeated  older   any    yes       PUBLISH
unpublished  other     any     any    any       CONFLICT
unannounced  same      newest  any    no        PUBLISH
unannounced  same      older   any    no        DROP
unannounced  repeated  newest  any    no        PUBLISH
unannounced  repeated  older   any    no        DROP
unannounced  same      any     any    yes       TAKE_OVER
unannounced  repeated  any     any    yes       TAKE_OVER
unannounced  other     any     any    any       CONFLICT
published    same      any     any    any       ACKNOWLEDGE
published    repeated  newest  any    any       REPEAT
published    repeated  older   any    no        DROP
published    repeated  older   any    yes       REPEAT
published    other     any     any    any       CONFLICT
rejected     same      any     any    no        ACKNOWLEDGE
rejected     repeated  newest  any    no        REPEAT
rejected     repeated  older   any    no        DROP
rejected     same      any     any    yes       TAKE_OVER
rejected     repeated  any     any    yes       TAKE_OVER
rejected     other     any     any    any       CONFLICT
given-up     same      any     any    no        ACKNOWLEDGE
given-up     repeated  newest  any    no        REPEAT
given-up     repeated  older   any    no        DROP
given-up     same      any     any    yes       TAKE_OVER
given-up     repeated  any     any    yes       TAKE_OVER
given-up     other     any     any    any       CONFLICT
expired      same      any     any    any       TAKE_OVER
expired      repeated  any     any    any       TAKE_OVER
expired      other     any     any    any       CLAIM
"""
ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()[1:]]
RECORDS = {
    "unseen": None,
    "held": record(sequence=3, lease_until=NOW + 1),
    "abandoned": record(sequence=3, lease_until=NOW),
    "unpublished": end(State.COMPLETED, sequence=3),
    "unannounced": end(State.FAILED, sequence=3),  # given up, but its event is not out
    "published": end(State.COMPLETED, sequence=3, published_at=NOW),
    "rejected": end(State.REJECTED, sequence=3, published_at=NOW),
    "given-up": end(State.FAILED, sequence=3, published_at=NOW),
    "expired": end(State.FAILED, sequence=3, published_at=NOW, expires_at=NOW),
}
MESSAGES = {"same": FIRST, "repeated": REPEATED, "other": OTHER}


@pytest.mark.parametrize("standing", RECORDS)
@pytest.mark.parametrize("message", MESSAGES)
def test_every_situation_has_the_action_of_its_one_row(standing, message):
    """Every standing, message, copy, time and redrive: exactly one row of the table applies, and is followed."""
    for copy, time, redriven in itertools.product(("newest", "older"), ("due", "early"), ("no", "yes")):
        situation = (standing, message, copy, time, redriven)
        rows = [
            row[-1]
            for row in ROWS
            if all(cell in ("any", value) for cell, value in zip(row, situation, strict=False))
        ]
        assert len(rows) == 1, situation
        found = RECORDS[standing]
        if found is not None:
            found = replace(found, not_before=NOW + 1 if time == "early" else NOW)
        delivery = replace(
            MESSAGES[message],
            sequence=3 if copy == "newest" else 2,
            since=NOW,
            redriven="r-1" if redriven == "yes" else None,
        )
        assert lifecycle.decide(found, delivery, NOW) is Action[rows[0]], situation


def test_an_experiment_that_has_its_result_is_not_followed_again():
    """A copy of a watch message that comes after the retention would give a deleted experiment another result."""
    copy = replace(FIRST, is_watch=True)
    for state, action in [
        (State.COMPLETED, Action.ACKNOWLEDGE),
        (State.REJECTED, Action.TAKE_OVER),
        (State.FAILED, Action.TAKE_OVER),
    ]:
        expired = end(state, published_at=NOW, expires_at=NOW)
        assert lifecycle.decide(expired, copy, NOW) is action


def test_the_table_names_every_standing_and_every_action():
    """No standing and no action of the life cycle is missing from the table of this test."""
    named = {row[0].replace("-", " ") for row in ROWS} - {"unannounced", "rejected"}
    assert named == {standing.value for standing in Standing}
    assert {row[-1] for row in ROWS} == {action.name for action in Action}


def test_a_copy_is_older_than_the_newest_of_any_message_of_its_key():
    """The event of the newest copy answers every message of the key, so the others go."""
    abandoned = record(lease_until=NOW, sequence=7)
    for copy in (FIRST, REPEATED):
        older, newest = (replace(copy, sequence=number, since=NOW) for number in (6, 7))
        assert lifecycle.decide(abandoned, older, NOW) is Action.DROP
        assert lifecycle.decide(abandoned, newest, NOW) is Action.TAKE_OVER


def test_the_first_delivery_of_another_message_is_never_older():
    """Should the newest copy be lost, a producer that repeats its send gets an answer all the same."""
    assert lifecycle.decide(record(lease_until=NOW, sequence=7), REPEATED, NOW) is Action.TAKE_OVER
    assert lifecycle.decide(end(State.COMPLETED, sequence=7), REPEATED, NOW) is Action.PUBLISH
    published = end(State.COMPLETED, sequence=7, published_at=NOW)
    assert lifecycle.decide(published, REPEATED, NOW) is Action.REPEAT


def test_a_published_event_answers_all_copies():
    """What comes after it is numbered anew: a message that was not processed before gets an answer of its own."""
    published = lifecycle.mark_published(end(State.COMPLETED, sequence=7), NOW)
    waited = replace(REPEATED, since=NOW)
    for number in (0, 1):
        assert lifecycle.decide(published, replace(waited, sequence=number), NOW) is Action.REPEAT
    again = lifecycle.mark_sent_back(published, 2, NOW + 30)
    assert lifecycle.decide(again, replace(waited, sequence=1), NOW) is Action.DROP


@pytest.mark.parametrize(
    ("ended", "action"),
    [
        (end(State.COMPLETED, sequence=7), Action.PUBLISH),
        (end(State.COMPLETED, sequence=7, published_at=NOW), Action.REPEAT),
        (end(State.FAILED, sequence=7, published_at=NOW), Action.REPEAT),
    ],
)
def test_the_number_of_an_answered_copy_supersedes_no_other_message(ended, action):
    """A record keeps the number of the last copy, which may be answered; a later sender waits for an answer too."""
    assert lifecycle.decide(ended, replace(REPEATED, since=NOW), NOW) is action
    assert lifecycle.decide(ended, replace(REPEATED, since=NOW, sequence=6), NOW) is Action.DROP


def test_a_redrive_has_its_effect_once():
    """A redriven message that comes again is an ordinary copy; another redrive has an effect again."""
    failed = end(State.FAILED, published_at=NOW, sequence=7)
    redriven = replace(FIRST, sequence=2, since=NOW, redriven="r-1")
    taken = lifecycle.take_over(failed, redriven, "owner-2", NOW, TERMS)
    assert (taken.redriven, taken.sequence, taken.renewed_at) == ("r-1", 2, NOW)
    again = replace(taken, state=State.FAILED, event="{}", published_at=NOW)
    assert lifecycle.decide(again, redriven, NOW) is Action.ACKNOWLEDGE
    assert lifecycle.decide(again, replace(redriven, redriven="r-2"), NOW) is Action.TAKE_OVER


@pytest.mark.parametrize(
    ("state", "action"), [(State.IN_PROGRESS, Action.WAIT), (State.REJECTED, Action.TAKE_OVER)]
)
def test_a_redriven_watch_message_is_an_ordinary_copy_while_its_experiment_is_followed(state, action):
    """A redrive looks at no experiment before the next look is due, but one that was rejected is looked at again."""
    redriven = replace(FIRST, is_watch=True, redriven="r-1", since=NOW)
    followed = record(state, lease_until=NOW, not_before=NOW + 60, published_at=NOW)
    assert lifecycle.decide(followed, redriven, NOW) is action
    assert lifecycle.decide(replace(followed, redriven="r-1"), redriven, NOW) in (
        Action.WAIT,
        Action.ACKNOWLEDGE,
    )


def test_two_redrives_of_one_message_have_their_effects_once_each():
    """After the other one it is not new again, or the message would never be as old as it may become."""
    redrives = [replace(FIRST, sequence=2, since=NOW, redriven=f"r-{number}") for number in range(3)]
    standing = end(State.FAILED, published_at=NOW)
    for redrive in redrives:
        taken = lifecycle.take_over(standing, redrive, "owner-2", NOW, TERMS)
        standing = replace(taken, state=State.FAILED, event="{}", published_at=NOW)
    for redrive in redrives:
        assert lifecycle.decide(standing, redrive, NOW) is Action.ACKNOWLEDGE


def test_the_redrives_that_a_record_names_are_bounded():
    """The eight newest are kept, so that the record stays small."""
    standing = end(State.FAILED, published_at=NOW)
    for number in range(100):
        redrive = replace(FIRST, sequence=2, since=NOW, redriven=f"r-{number}")
        taken = lifecycle.take_over(standing, redrive, "owner-2", NOW, TERMS)
        standing = replace(taken, state=State.FAILED, event="{}", published_at=NOW)
    assert standing.redriven.split("\n") == [f"r-{number}" for number in range(92, 100)]


def test_a_message_without_an_id_is_answered_each_time():
    """A second send of the same text cannot be told from another delivery of the first one."""
    published = lifecycle.mark_published(end(State.COMPLETED), NOW)
    assert lifecycle.decide(published, replace(FIRST, message_id="M1"), NOW) is Action.ACKNOWLEDGE
    assert lifecycle.decide(published, replace(FIRST, message_id=None), NOW) is Action.REPEAT
    waited = replace(FIRST, message_id=None, since=NOW)
    assert lifecycle.decide(published, waited, NOW) is Action.REPEAT, (
        "its answer could not be published at first"
    )
    watch = replace(FIRST, message_id=None, is_watch=True)
    assert lifecycle.decide(published, watch, NOW) is Action.ACKNOWLEDGE


def test_the_age_of_an_abandoned_message_begins_anew_with_its_redrive():
    """An operator who redrives a message wants it to be tried for as long as a new one."""
    redriven = replace(FIRST, sequence=2, since=NOW - 4000, redriven="r-1")
    taken = lifecycle.take_over(record(lease_until=NOW), redriven, "owner-2", NOW + 4999, TERMS)
    assert not lifecycle.is_too_old(taken, NOW + 5000, TERMS)


def test_from_a_redrive_on_its_copy_is_the_newest():
    """Copies from before the redrive have higher numbers than their own record; those from it count on."""
    taken = lifecycle.take_over(
        record(lease_until=NOW, sequence=7), replace(FIRST, sequence=9, redriven="r-1"), "o", NOW, TERMS
    )
    released = lifecycle.release(taken, None, NOW, counts=False)
    for sequence, action in ((7, Action.DROP), (9, Action.TAKE_OVER)):
        assert lifecycle.decide(released, replace(FIRST, sequence=sequence), NOW) is action


@pytest.mark.parametrize(
    ("delivery", "doubt"),
    [
        (FIRST, None),
        (replace(FIRST, since=NOW), None),
        (replace(FIRST, sequence=1), NOW + 90 + 15),
        (replace(FIRST, redriven="r-1"), NOW),
        (replace(FIRST, sequence=1, redriven="r-1"), NOW),
    ],
)
def test_only_a_message_that_was_processed_before_may_have_lost_its_record(delivery, doubt):
    """A number or a redrive proves that a record was written once; then its experiment may exist."""
    assert lifecycle.doubt_without_record(delivery, NOW, TERMS) == doubt


def test_every_version_of_an_owner_is_another():
    """A write that a store carries out late never finds the version that it expects."""
    versions, one = [], CLAIM
    for _ in range(3):
        versions.append(one.version)
        one = lifecycle.next_version(one)
    assert [version.owner for version in versions] == ["owner-1", "owner-1.1", "owner-1.2"]
    resolved = (lifecycle.resolve_none(CLAIM, NOW + 90), lifecycle.resolve_experiment(CLAIM, "s1", NOW + 90))
    assert {one.owner for one in resolved} == {"owner-1.1"}


def test_a_record_that_does_not_name_its_message_answers_every_send():
    """The send may have been repeated, so the event is published again, unless the message's own id is the key."""
    unnamed = end(State.COMPLETED, published_at=NOW, delivery=None)
    assert lifecycle.decide(unnamed, FIRST, NOW) is Action.REPEAT
    assert lifecycle.decide(unnamed, replace(FIRST, message_key=unnamed.key), NOW) is Action.ACKNOWLEDGE


def test_a_take_over_without_the_message_does_not_name_it():
    """Then each send may be a repeated one, and is answered."""
    unnamed = record(lease_until=NOW, delivery=None)
    taken = lifecycle.take_over(unnamed, lifecycle.newest_copy(unnamed), "owner-2", NOW, TERMS)
    assert taken.delivery is None


@pytest.mark.parametrize("standing", [record(), end(State.COMPLETED), end(State.COMPLETED, published_at=NOW)])
def test_copies_merge_even_if_the_record_does_not_name_their_message(standing):
    """An older copy is dropped: only a message that is surely another one has copies of its own."""
    unnamed = replace(standing, delivery=None, body=None, sequence=4)
    assert lifecycle.decide(unnamed, FIRST, NOW + 90) is Action.DROP


@pytest.mark.parametrize("equal", [*itertools.product([True, False], repeat=3)])
def test_the_fingerprint_or_the_body_makes_it_the_same_request(equal):
    """The id of the message does not: a producer may choose it, and use it again."""
    fingerprint, message, body = equal
    delivery = Delivery("key", "f" if fingerprint else "x", "m-1" if message else "x", "b-1" if body else "x")
    assert lifecycle.is_same_request(CLAIM, delivery) is (fingerprint or body)


def test_a_record_without_message_or_body_is_known_by_its_fingerprint():
    """A record of an earlier version, which kept neither, does not equal a delivery by their absence."""
    earlier = replace(CLAIM, delivery=None, body=None)
    assert lifecycle.is_same_request(earlier, FIRST)
    assert not lifecycle.is_same_request(earlier, OTHER)


def test_a_record_without_a_body_is_known_by_its_message():
    """A later version of the contract may give the message of an earlier record another fingerprint."""
    changed = replace(FIRST, fingerprint="other")
    earlier = replace(CLAIM, body=None)
    assert lifecycle.is_same_request(earlier, changed)
    assert lifecycle.decide(earlier, changed, NOW + 90) is Action.TAKE_OVER
    by_its_id = replace(CLAIM, delivery=None, body=None)
    assert lifecycle.is_same_request(by_its_id, replace(changed, message_key=CLAIM.key))
    assert not lifecycle.is_same_request(by_its_id, changed)


@pytest.mark.parametrize(
    ("standing_record", "now", "action"),
    [
        (None, NOW, Action.CLAIM),
        (CLAIM, NOW, Action.WAIT),
        (CLAIM, NOW + 90, Action.TAKE_OVER),
        (record(sequence=4), NOW + 90, Action.TAKE_OVER),
        (record(not_before=NOW + 91), NOW + 90, Action.WAIT),
        (record(delivery=None, body=None), NOW + 90, Action.TAKE_OVER),
        (end(State.COMPLETED), NOW, Action.PUBLISH),
        (end(State.COMPLETED, published_at=NOW), NOW, Action.ACKNOWLEDGE),
        (end(State.REJECTED), NOW, Action.PUBLISH),
        (end(State.REJECTED, published_at=NOW), NOW, Action.ACKNOWLEDGE),
        (end(State.FAILED), NOW, Action.PUBLISH),
        (end(State.FAILED, published_at=NOW), NOW, Action.ACKNOWLEDGE),
        (end(State.COMPLETED, published_at=NOW), NOW + 1000, Action.TAKE_OVER),
    ],
)
def test_the_next_action_is_that_of_the_newest_copy(standing_record, now, action):
    """What is shown of a record is what the next delivery of its message does, in its newest copy."""
    assert lifecycle.next_action(standing_record, now) is action


@pytest.mark.parametrize(("message_id", "action"), [("M1", Action.ACKNOWLEDGE), (None, Action.REPEAT)])
def test_the_next_delivery_of_a_message_without_an_id_is_answered(message_id, action):
    """It cannot be told from a second send of the same text."""
    published = lifecycle.mark_published(end(State.COMPLETED, message_id=message_id), NOW)
    assert lifecycle.next_action(published, NOW) is action


# Claims, leases and doubts.


def test_the_terms_that_are_left_out_are_those_of_the_default_settings():
    """A tool that names only some terms reads a record as the function does without further settings."""
    terms, settings = Terms(90, 10, 15, 1000, 3), Settings()
    assert terms.read == settings.read_timeout_seconds
    assert terms.max_age == settings.max_age_hours * 3600
    assert terms.delay == settings.requeue_delay_seconds
    assert terms.window == settings.date_window_seconds


@pytest.mark.parametrize(("tagged", "described"), [(False, True), (True, False)])
def test_a_claim_writes_down_what_was_asked(tagged, described):
    """The record of a claim holds the request, its message, what follows it, and where its create puts the marker."""
    asked = replace(
        FIRST,
        tagged=tagged,
        described=described,
        place="https://pai",
        sequence=4,
        redriven="r-1",
        watch_order="order",
    )
    claim = lifecycle.claim(asked, "owner-1", NOW, TERMS)
    assert claim == Record(
        key="key",
        state=State.IN_PROGRESS,
        fingerprint="f",
        owner="owner-1",
        claimed_at=NOW,
        lease_until=NOW + 90,
        expires_at=NOW + 1000,
        doubt_until=NOW + 55 + 90 + 15,
        attempts=1,
        delivery="m-1",
        message_id="M1",
        body="b-1",
        tagged=tagged,
        described=described,
        place="https://pai",
        uncertain=True,
        sequence=4,
        redriven="r-1",
        renewed_at=NOW,
        watch_order="order",
    )


@pytest.mark.parametrize(("since", "claimed_at"), [(NOW - 500, NOW - 500), (NOW + 500, NOW), (None, NOW)])
def test_a_claim_dates_from_the_first_delivery(since, claimed_at):
    """A lost record does not make its experiment younger than the search looks back."""
    assert lifecycle.claim(replace(FIRST, since=since), "o", NOW, TERMS).claimed_at == claimed_at


def test_a_create_starts_so_early_that_its_read_time_out_ends_before_the_lease_by_the_skew():
    """Lease 90 s, less 10 s of skew, less 25 s of reading: a create may start for 55 s."""
    assert lifecycle.latest_start(CLAIM, TERMS) == NOW + 90 - 10 - 25
    assert lifecycle.latest_start(CLAIM, replace(TERMS, skew=0)) == NOW + 90 - 25
    assert lifecycle.latest_start(CLAIM, replace(TERMS, read=0)) == NOW + 90 - 10


def test_the_doubt_after_a_send_is_one_lease_and_the_consistency_margin():
    """A doubt lasts as long as a create may take to act and to appear in a listing."""
    assert lifecycle.doubt_after_send(NOW, TERMS) == NOW + 90 + 15
    assert lifecycle.doubt_after_send(NOW, replace(TERMS, consistency=0)) == NOW + 90
    assert lifecycle.doubt_after_send(NOW, replace(TERMS, lease=0)) == NOW + 15


@pytest.mark.parametrize("owner", ["first", "after a release", "after a death"])
def test_the_doubt_of_a_claim_covers_its_latest_permitted_create(owner):
    """An owner that died may have sent its create at the last permitted moment, whatever the one before left."""
    claim = CLAIM
    if owner != "first":
        before = replace(CLAIM, doubt_until=None) if owner == "after a release" else CLAIM
        claim = lifecycle.take_over(before, FIRST, "owner-2", NOW + 500, TERMS)
    assert claim.doubt_until == lifecycle.latest_start(claim, TERMS) + 90 + 15
    assert claim.doubt_until == claim.lease_until - 10 - 25 + 90 + 15


def test_a_lease_lasts_as_long_as_the_terms_say():
    """A lease that ended early would let two owners run."""
    assert CLAIM.lease_until == NOW + 90
    assert lifecycle.take_over(CLAIM, FIRST, "owner-2", NOW + 100, TERMS).lease_until == NOW + 190


def test_doubt_ends_at_its_moment():
    """Absence can be concluded once the doubt is over, or if there never was one."""
    assert lifecycle.is_in_doubt(NOW + 1, NOW)
    assert not lifecycle.is_in_doubt(NOW, NOW)
    assert not lifecycle.is_in_doubt(None, NOW)


def test_take_over_counts_fences_and_remembers():
    """A take-over has a new token and lease, one more attempt, and the time of the first claim."""
    released = record(lease_until=NOW, doubt_until=None, not_before=NOW + 9, generation=4, searches=2)
    taken = lifecycle.take_over(released, REPEATED, "owner-2", NOW + 100, TERMS)
    assert taken == replace(
        released,
        owner="owner-2",
        lease_until=NOW + 190,
        expires_at=NOW + 1100,
        doubt_until=NOW + 190 - 35 + 105,
        attempts=2,
        delivery="m-2",
        message_id="M2",
        not_before=0.0,
    )


@pytest.mark.parametrize(
    ("uncertain", "doubt", "expected"),
    [(False, None, False), (False, NOW + 160, True), (False, NOW - 1, True), (True, None, True)],
)
def test_a_create_of_an_owner_that_died_stays_uncertain(uncertain, doubt, expected):
    """An earlier create may act after every margin, so all later owners search; a clean release leaves nothing."""
    before = record(uncertain=uncertain, doubt_until=doubt)
    assert lifecycle.take_over(before, FIRST, "owner-2", NOW + 100, TERMS).uncertain is expected


@pytest.mark.parametrize(("asked", "expected"), [("new", "new"), (None, "old")])
def test_the_newest_order_to_follow_the_experiment_holds(asked, expected):
    """A delivery that brings none, such as a conflict's, keeps the order of the message."""
    taken = lifecycle.take_over(
        record(watch_order="old"), replace(FIRST, watch_order=asked), "owner-2", NOW, TERMS
    )
    assert taken.watch_order == expected


def test_take_over_knows_that_no_claim_began_later_than_itself():
    """A clock that was ahead wrote so, and an experiment is searched for only from the first claim on."""
    ahead = record(claimed_at=NOW + 10**6, lease_until=NOW)
    assert lifecycle.take_over(ahead, FIRST, "owner-2", NOW, TERMS).claimed_at == NOW
    assert lifecycle.take_over(CLAIM, FIRST, "owner-2", NOW + 500, TERMS).claimed_at == NOW


def test_take_over_never_shortens_a_doubt():
    """A clock that runs behind does not make an earlier doubt end sooner."""
    far = replace(CLAIM, doubt_until=NOW + 5000)
    assert lifecycle.take_over(far, FIRST, "owner-2", NOW + 100, TERMS).doubt_until == NOW + 5000


def test_take_over_says_nothing_about_creates_that_were_not_sent():
    """The markers and the endpoint in a record are those of earlier creates; only a create changes them."""
    delivery = replace(FIRST, tagged=False, described=False, place="https://new")
    taken = lifecycle.take_over(record(place="https://old"), delivery, "owner-2", NOW, TERMS)
    assert (taken.tagged, taken.described, taken.place) == (True, True, "https://old")


def test_a_claim_that_runs_leaves_its_own_doubt():
    """What the next owner must clear is the doubt in the record, none if no create was sent."""
    assert lifecycle.doubt_left(CLAIM) == CLAIM.doubt_until
    assert lifecycle.doubt_left(record(doubt_until=None)) is None


@pytest.mark.parametrize("state", [State.COMPLETED, State.REJECTED, State.FAILED])
def test_a_key_that_ended_is_searched_for_first(state):
    """A message that comes back after its end may have an experiment, so an ended key leaves a doubt.

    An experiment that is known is announced again.
    """
    known = "s1" if state is State.COMPLETED else None
    ended = end(state, attempts=7, searches=3, experiment_id=known, published_at=NOW)
    assert lifecycle.doubt_left(ended) == NOW
    taken = lifecycle.take_over(ended, FIRST, "owner-2", NOW + 1000, TERMS)
    assert (taken.state, taken.claimed_at, taken.attempts) == (State.IN_PROGRESS, NOW, 1)
    assert (taken.searches, taken.experiment_id, taken.event, taken.published_at) == (0, known, None, None)
    assert not lifecycle.is_exhausted(taken, TERMS)


# The generation of the nonce.


def test_the_nonce_of_an_uncertain_key_stays():
    """An answer to a later create proves nothing about an earlier one, whose late copy must still collide."""
    assert lifecycle.next_generation(record(generation=2)).generation == 3
    assert lifecycle.next_generation(record(generation=2, uncertain=True)).generation == 2


@pytest.mark.parametrize("end_with", [lifecycle.reject, lifecycle.fail])
def test_an_end_keeps_the_experiment_that_an_operator_named(end_with):
    """A redrive then adopts it without a search, and `hpoq status` shows it."""
    assert end_with(record(experiment_id="s1"), "{}", NOW, TERMS).experiment_id == "s1"


def test_only_a_proof_changes_the_generation():
    """Whatever else happens to a record, the nonce of its next create stays the same."""
    steps = [
        lifecycle.take_over(CLAIM, FIRST, "owner-2", NOW, TERMS),
        lifecycle.take_over(end(State.FAILED), FIRST, "owner-2", NOW, TERMS),
        lifecycle.release(CLAIM, None, NOW, counts=True),
        lifecycle.mark_sent_back(CLAIM, 3, NOW),
        lifecycle.complete(CLAIM, "s1", "{}", NOW, TERMS),
        lifecycle.reject(CLAIM, "{}", NOW, TERMS),
        lifecycle.fail(CLAIM, "{}", NOW, TERMS),
        lifecycle.mark_published(CLAIM, NOW),
        lifecycle.resolve_none(CLAIM, NOW + 90),
        lifecycle.resolve_experiment(CLAIM, "s1", NOW + 90),
    ]
    assert {step.generation for step in steps} == {0}
    assert lifecycle.next_generation(CLAIM) == replace(CLAIM, generation=1)


# Releases and copies.


@pytest.mark.parametrize(("sequence", "redriven"), [(0, None), (1, None), (0, "M1")])
def test_a_message_that_was_processed_before_is_uncertain_without_its_record(sequence, redriven):
    """The record of a copy or of a redriven message is lost; a redrive also begins the age of the message anew."""
    made = lifecycle.claim(
        replace(FIRST, sequence=sequence, redriven=redriven, since=NOW - 500), "owner", NOW, TERMS
    )
    assert made.uncertain == (sequence > 0 or redriven is not None)
    assert made.renewed_at == (0.0 if redriven is None else NOW)
    assert made.claimed_at == NOW - 500


def test_release_hands_the_key_on_at_once():
    """A released key can be taken over at once; an operator's fault does not count as an attempt."""
    released = lifecycle.release(CLAIM, None, NOW + 1, counts=True)
    assert lifecycle.find_standing(released, NOW + 1) is Standing.ABANDONED
    assert (released.attempts, released.doubt_until) == (1, None)
    assert lifecycle.release(CLAIM, 5.0, NOW, counts=False).attempts == 0


def test_a_release_never_lengthens_a_claim():
    """The clock may have been set ahead since the claim."""
    assert lifecycle.release(CLAIM, None, NOW + 89, counts=True).lease_until == NOW + 89
    assert lifecycle.release(CLAIM, None, NOW + 86_400, counts=True).lease_until == CLAIM.lease_until


def test_an_uncertain_key_is_searched_for_before_every_create():
    """An answer to a later create proves nothing of an earlier one: a doubt stays, but it is over."""
    released = lifecycle.release(record(uncertain=True), None, NOW + 500, counts=False)
    assert lifecycle.doubt_left(released) is not None
    assert not lifecycle.is_in_doubt(lifecycle.doubt_left(released), NOW)
    assert lifecycle.release(released, NOW + 900, NOW + 500, counts=True).doubt_until == NOW + 900
    assert lifecycle.doubt_left(lifecycle.release(CLAIM, None, NOW + 500, counts=False)) is None


def test_release_keeps_the_last_error_of_the_service():
    """An attempt that ended without a word of the service does not make its last error forgotten."""
    failed = lifecycle.release(CLAIM, None, NOW, counts=True, error='{"code": "A"}')
    assert failed.last_error == '{"code": "A"}'
    assert lifecycle.release(failed, None, NOW, counts=True).last_error == '{"code": "A"}'
    assert (
        lifecycle.release(failed, None, NOW, counts=True, error='{"code": "B"}').last_error == '{"code": "B"}'
    )


def test_an_inconclusive_search_waits_longer_each_time():
    """A listing that cannot be relied on is asked again after 30 s, then twice as long, an hour at most."""
    released, waits = CLAIM, []
    for _ in range(9):
        released = lifecycle.release(released, NOW, NOW, counts=False, inconclusive=True)
        waits.append(released.not_before - NOW)
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert released.searches == 9
    assert lifecycle.release(CLAIM, NOW, NOW, counts=False).not_before == 0


def test_a_copy_that_is_sent_back_has_the_highest_number():
    """The next number is above that of the delivery and of every copy that is known to be in the queue."""
    assert lifecycle.next_sequence(CLAIM, FIRST) == 1
    assert lifecycle.next_sequence(record(sequence=5), replace(FIRST, sequence=2)) == 6
    assert lifecycle.next_sequence(record(sequence=5), replace(FIRST, sequence=8)) == 9


def test_sending_back_makes_all_other_copies_older():
    """After the send only the numbered copy is processed, and not before it is due."""
    known = lifecycle.mark_sent_back(record(lease_until=NOW), 4, NOW + 30)
    assert (known.sequence, known.not_before) == (4, NOW + 30)
    for sequence, action in ((3, Action.DROP), (4, Action.TAKE_OVER)):
        assert lifecycle.decide(known, replace(FIRST, sequence=sequence), NOW + 30) is action
    assert lifecycle.decide(known, replace(FIRST, sequence=4), NOW + 29) is Action.WAIT


def test_sending_back_never_shortens_a_wait():
    """A copy that is due earlier than an inconclusive search allows waits for that search."""
    waiting = record(not_before=NOW + 100)
    assert lifecycle.mark_sent_back(waiting, 1, NOW + 30).not_before == NOW + 100


def test_delays_grow_with_attempts_up_to_an_hour():
    """A message that fails by itself comes back later each time; one that does not count keeps its delay."""
    delays = [lifecycle.retry_delay(record(attempts=n), TERMS, NOW) for n in range(10)]
    assert delays == [30, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert lifecycle.retry_delay(record(attempts=10**6), TERMS, NOW) == 3600
    assert lifecycle.retry_delay(record(not_before=NOW + 500), TERMS, NOW) == 500


@pytest.mark.parametrize(("waited", "delay"), [(0, 30), (120, 30), (400, 100), (14_400, 3600), (10**6, 3600)])
def test_the_delay_of_a_message_that_has_ended_grows_with_its_time(waited, delay):
    """Its event goes out with each delivery if only its watch message cannot be sent; a later change is harmless."""
    ended = lifecycle.complete(record(), "s1", "{}", NOW, TERMS)
    assert lifecycle.retry_delay(ended, TERMS, NOW + waited) == delay
    assert lifecycle.retry_delay(lifecycle.mark_published(ended, NOW), TERMS, NOW + waited) == 30
    longer = replace(TERMS, retention=2 * TERMS.retention)
    assert 30 <= lifecycle.retry_delay(ended, longer, NOW + waited) <= 3600


# Ends, attempts and ages.


def test_the_delay_under_throttling_grows_in_an_outage():
    """The delay is a quarter of the message's age, up to an hour, if its instance creates nothing any more.

    As long as it creates, the delay is the time since its last create, from a sixth of the first delay up to that.
    """
    ages = [0, 120, 240, 1200, 28_800]
    assert [lifecycle.throttled_delay(age, 90_000, TERMS, 0.0) for age in ages] == [30, 30, 60, 300, 3600]
    assert [lifecycle.throttled_delay(90_000, age, TERMS, 0.0) for age in ages] == [5, 30, 60, 300, 3600]
    assert [lifecycle.throttled_delay(0, quiet, TERMS, 0.0) for quiet in (4, 5, 6, 29, 31)] == [
        5,
        5,
        6,
        29,
        30,
    ]
    assert lifecycle.throttled_delay(0, 90_000, TERMS, 0.5) == 22.5
    assert lifecycle.throttled_delay(0, 90_000, TERMS, 0.999) == pytest.approx(15, abs=0.1)
    for first, longest in ((7200.0, 7200), (60.0, 3600), (0.0, 3600)):
        terms = replace(TERMS, delay=first)
        assert lifecycle.throttled_delay(90_000, 90_000, terms, 0.0) == longest


def test_ends_keep_the_event_unpublished():
    """Every end stores its event, unpublished, and starts the retention."""
    ends = [
        lifecycle.complete(CLAIM, "sABC", "{}", NOW + 5, TERMS),
        lifecycle.reject(CLAIM, "{}", NOW + 5, TERMS),
        lifecycle.fail(CLAIM, "{}", NOW + 5, TERMS),
    ]
    for ended in ends:
        assert (ended.event, ended.published_at, ended.expires_at) == ("{}", None, NOW + 1005)
        assert lifecycle.mark_published(ended, NOW + 6) == replace(ended, published_at=NOW + 6)
    assert [ended.state for ended in ends] == [State.COMPLETED, State.REJECTED, State.FAILED]
    assert [ended.doubt_until for ended in ends] == [None, None, NOW + 5]
    assert ends[0].experiment_id == "sABC"


def test_attempts_run_out():
    """The last attempt may still end in a retry's place as failed; one more is beyond what is allowed."""
    assert [lifecycle.is_used_up(record(attempts=n), TERMS) for n in (2, 3, 4)] == [False, True, True]
    assert [lifecycle.is_exhausted(record(attempts=n), TERMS) for n in (3, 4)] == [False, True]


def test_a_message_is_too_old_at_its_greatest_age():
    """However few attempts it had, a message may be tried for so long and no longer."""
    assert not lifecycle.is_too_old(CLAIM, NOW + 4999, TERMS)
    assert lifecycle.is_too_old(CLAIM, NOW + 5000, TERMS)
    assert not lifecycle.is_too_old(CLAIM, NOW + 4999, TERMS)
    assert lifecycle.is_too_old(CLAIM, NOW + 5000, TERMS)


def test_the_age_begins_with_the_first_delivery():
    """A take-over or a release does not make a message younger."""
    taken = lifecycle.take_over(CLAIM, FIRST, "owner-2", NOW + 4000, TERMS)
    released = lifecycle.release(taken, None, NOW + 4001, counts=False)
    assert lifecycle.is_too_old(released, NOW + 5000, TERMS)


@pytest.mark.parametrize("state", [State.COMPLETED, State.REJECTED, State.FAILED])
def test_the_age_of_a_key_that_had_ended_begins_anew(state):
    """A redriven message, or one that came back after its retention, may be tried for as long as a new one."""
    taken = lifecycle.take_over(end(state, published_at=NOW), FIRST, "owner-2", NOW + 9000, TERMS)
    assert not lifecycle.is_too_old(taken, NOW + 9000 + 4999, TERMS)
    assert lifecycle.is_too_old(taken, NOW + 9000 + 5000, TERMS)
    assert taken.claimed_at == NOW


# An operator's decisions.


def test_an_operator_who_finds_no_experiment_ends_the_doubt():
    """The next delivery may create at once; its nonce stays, so that a late copy of an earlier create collides."""
    doubtful = record(experiment_id="wrong", generation=2, uncertain=True, searches=5, not_before=NOW + 500)
    resolved = lifecycle.resolve_none(doubtful, NOW + 90)
    assert resolved == replace(
        doubtful,
        owner="owner-1.1",
        doubt_until=None,
        uncertain=False,
        experiment_id=None,
        searches=0,
        not_before=0.0,
    )
    assert lifecycle.doubt_left(lifecycle.release(resolved, None, NOW + 91, counts=False)) is None


def test_an_operator_who_finds_the_experiment_names_it():
    """The next delivery announces it, without further waiting; nothing else of the record changes."""
    doubtful = record(searches=5, not_before=NOW + 500)
    resolved = lifecycle.resolve_experiment(doubtful, "s1", NOW + 90)
    assert resolved == replace(doubtful, owner="owner-1.1", experiment_id="s1", searches=0, not_before=0.0)


@pytest.mark.parametrize(
    ("standing_record", "now"),
    [(one, now) for one, now, standing in STANDINGS if one and standing is not Standing.ABANDONED],
)
def test_only_an_abandoned_record_is_resolved(standing_record, now):
    """A record that a delivery holds, or that has ended, is not an operator's to decide."""
    with pytest.raises(ValueError, match="only an abandoned record"):
        lifecycle.resolve_none(standing_record, now)
    with pytest.raises(ValueError, match="only an abandoned record"):
        lifecycle.resolve_experiment(standing_record, "s1", now)


# Records of later versions.

TRANSITIONS = {
    "take over": lambda one: lifecycle.take_over(one, REPEATED, "owner-2", NOW, TERMS),
    "release": lambda one: lifecycle.release(one, NOW, NOW, counts=True, inconclusive=True),
    "prove": lifecycle.next_generation,
    "send back": lambda one: lifecycle.mark_sent_back(one, 9, NOW),
    "complete": lambda one: lifecycle.complete(one, "s1", "{}", NOW, TERMS),
    "reject": lambda one: lifecycle.reject(one, "{}", NOW, TERMS),
    "fail": lambda one: lifecycle.fail(one, "{}", NOW, TERMS),
    "publish": lambda one: lifecycle.mark_published(one, NOW),
    "resolve none": lambda one: lifecycle.resolve_none(replace(one, state=State.IN_PROGRESS), NOW + 10**6),
    "resolve": lambda one: lifecycle.resolve_experiment(
        replace(one, state=State.IN_PROGRESS), "s1", NOW + 10**6
    ),
}
KNOWN = {*Record.__dataclass_fields__, "v"}
UNKNOWN = st.dictionaries(
    st.text(max_size=20).filter(lambda name: name not in KNOWN),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(UNKNOWN, st.integers(1, 9), st.lists(st.sampled_from(sorted(TRANSITIONS)), max_size=8))
def test_members_of_a_later_version_outlive_every_transition(unknown, version, steps):
    """What this code does not know is written back as it was read, and the version with it."""
    text = json.dumps({**json.loads(encode(CLAIM)), **unknown, "v": version})
    for step in steps:
        text = encode(TRANSITIONS[step](decode("key", text)))
        written = json.loads(text)
        assert {name: written[name] for name in written if name not in KNOWN} == unknown
        assert written["v"] == version


@pytest.mark.parametrize("step", TRANSITIONS)
def test_every_transition_keeps_what_was_asked(step):
    """No transition changes the key, the request or the time of the first claim."""
    after = TRANSITIONS[step](CLAIM)
    kept = (CLAIM.key, CLAIM.fingerprint, CLAIM.body, CLAIM.claimed_at)
    assert (after.key, after.fingerprint, after.body, after.claimed_at) == kept
