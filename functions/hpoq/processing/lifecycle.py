"""The life cycle of a key: pure functions from (record, what happened, now) to what to do and what to write.

How a record stands decides what a delivery does:

    standing       | same fingerprint                       | another fingerprint
    ---------------+----------------------------------------+--------------------
    UNSEEN         | CLAIM      create                      | (cannot be)
    HELD           | WAIT       another has it; come back   | CONFLICT
    ABANDONED      | TAKE_OVER  reconcile, then create      | CONFLICT
    UNPUBLISHED    | PUBLISH    the stored event, once more | CONFLICT
    PUBLISHED      | ACKNOWLEDGE                            | CONFLICT
    GIVEN_UP       | TAKE_OVER  a last try, reconciled      | CONFLICT
    EXPIRED        | TAKE_OVER  reconcile, then create      | CLAIM      the key is free again

Nothing here reads a clock, a store or the network; the same table drives the code and the model that tests
it.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from fcruntime.dataclass import dataclass
from hpoq.idempotency.record import Record, State


class Standing(enum.Enum):
    """How a record stands at a moment."""

    UNSEEN = "unseen"
    HELD = "held"
    ABANDONED = "abandoned"
    UNPUBLISHED = "unpublished"
    PUBLISHED = "published"
    GIVEN_UP = "given up"
    EXPIRED = "expired"


class Action(enum.Enum):
    """What a delivery does about it."""

    CLAIM = "claim"
    WAIT = "wait"
    TAKE_OVER = "take over"
    PUBLISH = "publish"
    ACKNOWLEDGE = "acknowledge"
    CONFLICT = "conflict"


TABLE: dict[Standing, Action] = {
    Standing.UNSEEN: Action.CLAIM,
    Standing.HELD: Action.WAIT,
    Standing.ABANDONED: Action.TAKE_OVER,
    Standing.UNPUBLISHED: Action.PUBLISH,
    Standing.PUBLISHED: Action.ACKNOWLEDGE,
    Standing.GIVEN_UP: Action.TAKE_OVER,
    Standing.EXPIRED: Action.TAKE_OVER,
}


@dataclass(frozen=True)
class Terms:
    """The durations of the life cycle, in seconds.

    `lease` is how long a claim holds; `skew` how far two clocks may differ; `consistency` how long after its
    creation an experiment may be missing from a listing; `retention` how long an ended key is remembered.
    `max_attempts` claims that came to nothing end a message as failed.
    """

    lease: float
    skew: float
    consistency: float
    retention: float
    max_attempts: int


def standing(record: Record | None, now: float) -> Standing:
    """How `record` stands at `now`. A record whose event is not out never expires."""
    if record is None:
        return Standing.UNSEEN
    if record.state is State.IN_PROGRESS:
        return Standing.HELD if now < record.lease_until else Standing.ABANDONED
    if record.published_at is None:
        return Standing.UNPUBLISHED
    if now >= record.expires_at:
        return Standing.EXPIRED
    return Standing.GIVEN_UP if record.state is State.FAILED else Standing.PUBLISHED


def decide(record: Record | None, fingerprint: str, now: float) -> Action:
    """What a delivery of a request with `fingerprint` does at `now`."""
    how = standing(record, now)
    if record is not None and record.fingerprint != fingerprint:
        return Action.CLAIM if how is Standing.EXPIRED else Action.CONFLICT
    return TABLE[how]


def claim(key: str, fingerprint: str, owner: str, now: float, terms: Terms) -> Record:
    """The record of a first claim. It is in doubt from the start: its owner may die after the create."""
    lease_until = now + terms.lease
    return Record(
        key=key,
        state=State.IN_PROGRESS,
        fingerprint=fingerprint,
        owner=owner,
        claimed_at=now,
        lease_until=lease_until,
        expires_at=now + terms.retention,
        doubt_until=lease_until + terms.consistency,
    )


def take_over(record: Record, owner: str, now: float, terms: Terms) -> Record:
    """The record after `owner` has taken it over.

    What `doubt_left` says of the old one is what the new owner must clear first. A key that was given up is
    granted one more attempt, whatever it has used; one that ended otherwise and expired begins anew.
    """
    fresh = claim(record.key, record.fingerprint, owner, now, terms)
    attempts = {State.IN_PROGRESS: record.attempts + 1, State.FAILED: terms.max_attempts}.get(record.state, 1)
    doubt = max(fresh.doubt_until or 0.0, record.doubt_until or 0.0)
    return replace(fresh, claimed_at=record.claimed_at, attempts=attempts, doubt_until=doubt)


def doubt_left(record: Record) -> float | None:
    """Until when an experiment of `record`, now taken over, may come to light; None if none was ever begun.

    Of a key that has ended the service must tell whether one exists, however long ago that was.
    """
    return record.doubt_until if record.state is State.IN_PROGRESS else record.claimed_at


def release(record: Record, doubt_until: float | None, now: float, *, counts: bool) -> Record:
    """Give a claim back at once, with what is now known of its doubt.

    `counts` says whether the attempt was the message's own: a fault that an operator must mend is not.
    """
    attempts = record.attempts if counts else record.attempts - 1
    return replace(record, lease_until=now, doubt_until=doubt_until, attempts=attempts)


def complete(record: Record, experiment_id: str, event: str, now: float, terms: Terms) -> Record:
    """The experiment exists."""
    ended = _end(record, State.COMPLETED, event, now, terms)
    return replace(ended, experiment_id=experiment_id, doubt_until=None)


def reject(record: Record, event: str, now: float, terms: Terms) -> Record:
    """The request can never succeed."""
    return replace(_end(record, State.REJECTED, event, now, terms), doubt_until=None)


def fail(record: Record, event: str, now: float, terms: Terms) -> Record:
    """The attempts are used up and surely nothing was created; whoever claims the key again reconciles first."""
    return replace(_end(record, State.FAILED, event, now, terms), doubt_until=now)


def published(record: Record, now: float) -> Record:
    """The event is out."""
    return replace(record, published_at=now)


def _end(record: Record, state: State, event: str, now: float, terms: Terms) -> Record:
    expires_at = now + terms.retention
    return replace(record, state=state, event=event, expires_at=expires_at, published_at=None)


def latest_send(record: Record, terms: Terms) -> float:
    """The wall-clock time by which a create of this claim must have ended, for the lease to cover it."""
    return record.lease_until - terms.skew


def doubt_after_send(record: Record, terms: Terms) -> float:
    """Until when a create sent under this claim may still come to light."""
    return record.lease_until + terms.consistency


def in_doubt(doubt_until: float | None, now: float) -> bool:
    """Whether the absence of an experiment cannot be concluded yet."""
    return doubt_until is not None and now < doubt_until


def used_up(record: Record, terms: Terms) -> bool:
    """Whether this claim was the last one that may end in a retry."""
    return record.attempts >= terms.max_attempts


def exhausted(record: Record, terms: Terms) -> bool:
    """Whether earlier owners used up all attempts without saying so, that is, by dying."""
    return record.attempts > terms.max_attempts
