"""The life cycle of a key: pure functions from (record, what happened, now) to what to do and what to write.

What a delivery does depends on how the record stands:

    standing       | the same request                           | another request
    ---------------+--------------------------------------------+---------------------------------------
    UNSEEN         | CLAIM, then create                         | (impossible)
    HELD           | WAIT: another delivery has it              | WAIT
    ABANDONED      | TAKE_OVER: reconcile, then create          | CONFLICT, once what exists is adopted
      early copy   | WAIT until the copy is due                 |
    UNPUBLISHED    | PUBLISH the stored event                   | CONFLICT
      no success   | as above; a redrive: TAKE_OVER             |
    PUBLISHED      | ACKNOWLEDGE; a repeated send: REPEAT event | CONFLICT
      rejection    | as above; a redrive: TAKE_OVER             |
    GIVEN_UP       | as PUBLISHED; a redrive: TAKE_OVER         | CONFLICT
    EXPIRED        | TAKE_OVER: announce its experiment again   | CLAIM: the key is free again
      no success   | TAKE_OVER: reconcile, then create          | CLAIM
      a result     | ACKNOWLEDGE                                |

A copy is older if a later one is in the queue, even one of another message. It is DROPped where it would WAIT,
TAKE_OVER, PUBLISH or REPEAT. A redriven copy is never older, and neither is one of another message without a number
once there is an event: the copy of the record's number may have been answered. No copy of an EXPIRED key is dropped.

Nothing here reads a clock, a store or the network; the same table drives the code and the model that tests it.

**Clocks.** A clock that was ahead by days may have written the end of a lease, of a doubt or of a delay. Such times
are not believed (`_FURTHEST_SECONDS`), or the key would be blocked until they come.

**How long a create may still take effect.** An owner sends a create only while its lease, less the clock skew,
outlasts that request's whole read time-out (`latest_start`). The doubt ends one lease plus the consistency margin
after the send. That is how long a create may take to act and to appear in a listing before its absence is concluded.
"""

from __future__ import annotations

import enum

from fcruntime.dataclass import dataclass, replace
from hpoq.idempotency.record import Record, State

_LONGEST_DELAY_SECONDS = 3600.0
# A lease and the delay of a copy last an hour at most, and clocks may differ. What a record says about a later time
# comes from a clock that was ahead, and must not block its key until then.
_FURTHEST_SECONDS = 2 * 3600.0
_MOST_REDRIVES = 8


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
    """What a delivery does about the record of its key."""

    CLAIM = "claim"
    WAIT = "wait"
    DROP = "drop"
    TAKE_OVER = "take over"
    PUBLISH = "publish"
    REPEAT = "repeat"
    ACKNOWLEDGE = "acknowledge"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Terms:
    """The durations of the life cycle, in seconds.

    `lease` is how long a claim holds; `skew` how far two clocks may differ; `read` the read time-out of a create;
    `consistency` how long after its creation an experiment may be missing from a listing; `retention` how long an
    ended key is remembered; `max_age` how long after its first delivery a message may be tried. A message ends as
    failed after `max_attempts` claims that count. `delay` is the first delay of a message that is sent back. `window`
    is how far the date of a request may be from the gateway's time.
    """

    lease: float
    skew: float
    consistency: float
    retention: float
    max_attempts: int
    read: float = 25.0
    max_age: float = 72 * 3600.0
    delay: float = 30.0
    window: float = 900.0


@dataclass(frozen=True)
class Delivery:
    """One delivery of a request: what identifies it, and what the record of its claim needs.

    `message_key` is the key of its source's own id, the same for every copy of one message; `body` the SHA-256 of its
    body. `sequence` is the number of this copy, and `since` the time of the first delivery, both from its envelope.
    `redriven` identifies the redrive that brought it, if one did. `place` is the endpoint and the account that its
    create would be sent to. `tagged` and `described` say where its create puts the marker. `shown_key` is the key
    that its event shows if that is not `key`: a conflict has a record and an event id of its own, but is about the
    disputed key. `is_watch` is set for a watch message, whose record is taken over at each check of its experiment.
    `watch_order` says how to follow the experiment of a request. `began_at` is when its processing began, by the
    monotonic clock.
    """

    key: str
    fingerprint: str
    message_key: str
    body: str
    message_id: str | None = None
    sequence: int = 0
    redriven: str | None = None
    since: float | None = None
    place: str | None = None
    tagged: bool = True
    described: bool = True
    shown_key: str | None = None
    is_watch: bool = False
    watch_order: str | None = None
    began_at: float = 0.0


def find_standing(record: Record | None, now: float) -> Standing:
    """Return how `record` stands at `now`. A record whose event is not published never expires."""
    if record is None:
        return Standing.UNSEEN
    if record.state is State.IN_PROGRESS:
        is_held = now < record.lease_until <= now + _FURTHEST_SECONDS
        return Standing.HELD if is_held else Standing.ABANDONED
    if record.published_at is None:
        return Standing.UNPUBLISHED
    if now >= record.expires_at:
        return Standing.EXPIRED
    return Standing.GIVEN_UP if record.state is State.FAILED else Standing.PUBLISHED


def is_same_request(record: Record, delivery: Delivery) -> bool:
    """Return whether `delivery` brings the request that `record` is about.

    The same body always brings the same request, whatever a later version of the contract makes of it. The same id of
    a message does not: RabbitMQ and buses leave it to the producer, who may use it again.
    """
    # A record of the first format does not have the body.
    identity = (record.delivery or record.key, delivery.message_key)
    own, other = identity if record.body is None else (record.body, delivery.body)
    return own == other or record.fingerprint == delivery.fingerprint


def decide(record: Record | None, delivery: Delivery, now: float) -> Action:
    """Return what `delivery` does at `now` about `record`."""
    standing = find_standing(record, now)
    if record is None:
        return Action.CLAIM
    if not is_same_request(record, delivery):
        free = {Standing.EXPIRED: Action.CLAIM, Standing.HELD: Action.WAIT}
        return free.get(standing, Action.CONFLICT)
    is_superseded = _is_superseded(record, delivery)
    if standing is Standing.HELD:
        return Action.DROP if is_superseded else Action.WAIT
    if standing is Standing.ABANDONED:
        if is_superseded:
            return Action.DROP
        is_early = early_seconds(record, now) > 0 and not _is_new_redrive(record, delivery)
        return Action.WAIT if is_early else Action.TAKE_OVER
    # The copy of the record's number may be answered; the sender of another message still waits.
    is_superseded = is_superseded and not (delivery.sequence == 0 and _is_another(record, delivery))
    is_redriven = record.state in (State.FAILED, State.REJECTED) and _is_new_redrive(record, delivery)
    # Followed again, an experiment that was deleted meanwhile would get a second result.
    has_result = delivery.is_watch and record.state is State.COMPLETED
    if (standing is Standing.EXPIRED and not has_result) or is_redriven:
        return Action.TAKE_OVER
    if standing is Standing.UNPUBLISHED:
        return Action.DROP if is_superseded else Action.PUBLISH
    # A record of the first format does not name its message. Only one whose own id is the key is surely the same;
    # the event of any other is published again, under its id.
    if (record.delivery or record.key) == delivery.message_key and not _may_be_repeated(delivery):
        return Action.ACKNOWLEDGE
    return Action.DROP if is_superseded else Action.REPEAT


def early_seconds(record: Record, now: float) -> float:
    """Return for how many seconds from `now` a copy of the message of `record` has nothing to do, or 0."""
    early = record.not_before - now
    return early if 0.0 < early <= _FURTHEST_SECONDS else 0.0


def next_action(record: Record | None, now: float) -> Action:
    """Return what the next delivery of the same message, in its newest copy, does at `now`."""
    return Action.CLAIM if record is None else decide(record, newest_copy(record), now)


def newest_copy(record: Record) -> Delivery:
    """Return the newest copy of the message of `record`, as far as the record describes it."""
    # Its body is not compared, because the same message is the same request.
    return Delivery(
        record.key,
        record.fingerprint,
        record.delivery or "",
        "",
        record.message_id,
        record.sequence,
    )


def _is_superseded(record: Record, delivery: Delivery) -> bool:
    """Return whether a newer copy is known to be in the queue.

    It may be one of another message that brought the same request: its event answers both. The first delivery of
    another message is not a copy: should the newest copy be lost, its sender gets an answer all the same.
    """
    is_first = delivery.since is None and _is_another(record, delivery)
    is_copy = not is_first and not _is_new_redrive(record, delivery)
    return is_copy and delivery.sequence < record.sequence


def _is_another(record: Record, delivery: Delivery) -> bool:
    return record.delivery not in (None, delivery.message_key)


def _may_be_repeated(delivery: Delivery) -> bool:
    """Return whether `delivery` may be a second send of a message without an id, whose sender waits for an answer."""
    return delivery.message_id is None and not delivery.is_watch


def _is_new_redrive(record: Record, delivery: Delivery) -> bool:
    """Return whether `delivery` was redriven by an operator and that had no effect yet.

    A watch message is then like any other copy as long as its experiment is followed.
    """
    is_followed = delivery.is_watch and record.state is State.IN_PROGRESS
    return (
        delivery.redriven is not None and not is_followed and delivery.redriven not in _list_redrives(record)
    )


def _list_redrives(record: Record) -> list[str]:
    return record.redriven.split("\n") if record.redriven else []


def claim(delivery: Delivery, owner: str, now: float, terms: Terms) -> Record:
    """Return the record of a first claim. It is in doubt from the start: its owner may die after the create."""
    lease_until = now + terms.lease
    return Record(
        key=delivery.key,
        state=State.IN_PROGRESS,
        fingerprint=delivery.fingerprint,
        owner=owner,
        claimed_at=now if delivery.since is None else min(now, delivery.since),
        lease_until=lease_until,
        expires_at=now + terms.retention,
        doubt_until=_doubt_of_claim(lease_until, terms),
        delivery=delivery.message_key,
        message_id=delivery.message_id,
        body=delivery.body,
        tagged=delivery.tagged,
        described=delivery.described,
        place=delivery.place,
        # A message that was processed before and has no record may have creates with an unknown end.
        uncertain=delivery.sequence > 0 or delivery.redriven is not None,
        sequence=delivery.sequence,
        redriven=delivery.redriven,
        renewed_at=now if delivery.redriven else 0.0,
        watch_order=delivery.watch_order,
    )


def take_over(record: Record, delivery: Delivery, owner: str, now: float, terms: Terms) -> Record:
    """Return the record after `owner` has taken it over for `delivery`.

    What `doubt_left` says about the old record is what the new owner must clear first. For a key that had ended (it
    expired, or its message was redriven), attempts and age start again. Its experiment stays known, so that a message
    that ended as created can never end as failed.
    """
    lease_until = now + terms.lease
    doubt = _doubt_of_claim(lease_until, terms)
    fresh = replace(
        record,
        state=State.IN_PROGRESS,
        owner=owner,
        lease_until=lease_until,
        expires_at=now + terms.retention,
        attempts=record.attempts + 1,
        # A clock that was ahead may have written a later time, before which no experiment would be searched for.
        claimed_at=min(record.claimed_at, now),
        # Empty in the copy that `newest_copy` makes of a record which does not name its message.
        delivery=delivery.message_key or None,
        message_id=delivery.message_id,
        not_before=0.0,
        doubt_until=max(doubt, record.doubt_until or doubt),
        event=None,
        published_at=None,
        uncertain=record.uncertain or doubt_left(record) is not None,
        watch_order=delivery.watch_order or record.watch_order,
    )
    if _is_new_redrive(record, delivery):
        # From here on the redriven copy is the newest, whatever its number.
        redriven = "\n".join([*_list_redrives(record)[1 - _MOST_REDRIVES :], str(delivery.redriven)])
        fresh = replace(fresh, redriven=redriven, sequence=delivery.sequence, renewed_at=now)
    if record.state is not State.IN_PROGRESS:
        fresh = replace(fresh, attempts=1, searches=0, renewed_at=now)
    return fresh


def doubt_left(record: Record) -> float | None:
    """Return until when an experiment of `record`, now taken over, may appear; None if no create was sent.

    For a key that has ended the service must be asked whether one exists, however long ago that was.
    """
    return record.doubt_until if record.state is State.IN_PROGRESS else record.claimed_at


def limit_doubt(doubt_until: float, now: float, terms: Terms) -> float:
    """Return until when a doubt may last at `now`: a later time is that of a clock that was ahead."""
    return min(doubt_until, now + _FURTHEST_SECONDS + terms.consistency)


def latest_start(record: Record, terms: Terms) -> float:
    """Return the wall-clock time after which no create of this claim may start.

    Its whole read time-out then ends within the lease, also for a clock that is ahead by the skew.
    """
    return _latest_start(record.lease_until, terms)


def _latest_start(lease_until: float, terms: Terms) -> float:
    return lease_until - terms.skew - terms.read


def _doubt_of_claim(lease_until: float, terms: Terms) -> float:
    """Return until when a create of a claim with this lease may take effect, however late its owner sends it."""
    return doubt_after_send(_latest_start(lease_until, terms), terms)


def doubt_after_send(sent_at: float, terms: Terms) -> float:
    """Return until when a create that was sent at `sent_at` may still take effect or become visible."""
    return sent_at + terms.lease + terms.consistency


def is_in_doubt(doubt_until: float | None, now: float) -> bool:
    """Return whether the absence of an experiment cannot be concluded yet."""
    return doubt_until is not None and now < doubt_until


def next_version(record: Record) -> Record:
    """Return `record` with a fencing token that no earlier write of the same owner had.

    A write that a store carries out after its caller has given it up then finds another version, and so does the
    owner's own late write after an operator resolved the key.
    """
    owner, _, number = record.owner.partition(".")
    return replace(record, owner=f"{owner}.{int(number or 0) + 1}")


def doubt_without_record(delivery: Delivery, now: float, terms: Terms) -> float | None:
    """Return until when an experiment of a key without a record may appear; None if it was never processed.

    A copy, or a redriven message, was processed before, so its record is lost. The create of a copy may still be
    under way; a redriven message was given up once nothing could appear any more.
    """
    if delivery.redriven is not None:
        return now
    return doubt_after_send(now, terms) if delivery.sequence > 0 else None


def next_generation(record: Record) -> Record:
    """Return the record after an answer which proves that the service did not act.

    It proves nothing about an earlier create whose end is not known: its nonce stays.
    """
    return record if record.uncertain else replace(record, generation=record.generation + 1)


def release(
    record: Record,
    doubt_until: float | None,
    now: float,
    *,
    counts: bool,
    error: str | None = None,
    inconclusive: bool = False,
) -> Record:
    """Return the record of a claim that is given back at once, with what is now known about its doubt and error.

    An `uncertain` key keeps a doubt that is over, so that the next owner searches before it creates. Without an
    `error` the last known one stays. `counts` says whether the attempt counts towards its limit: one
    that failed by a fault that an operator must fix does not. `inconclusive` says that a search could not conclude
    anything; the next one then waits, longer each time.
    """
    attempts = record.attempts if counts else record.attempts - 1
    error = error or record.last_error
    if doubt_until is None and record.uncertain:
        # An earlier create may act after every margin, when the gateway has forgotten its nonce.
        doubt_until = record.claimed_at
    released = replace(
        record,
        # Not later than the claim would have ended: the clock may have been set ahead since.
        lease_until=min(now, record.lease_until),
        doubt_until=doubt_until,
        attempts=attempts,
        last_error=error,
    )
    if not inconclusive:
        return released
    searches = record.searches + 1
    return replace(released, searches=searches, not_before=now + _grow(30.0, searches))


def next_sequence(record: Record, delivery: Delivery) -> int:
    """Return the number of the copy that is sent back after `delivery`, higher than that of any copy before."""
    return max(record.sequence, delivery.sequence) + 1


def mark_sent_back(record: Record, sequence: int, due: float) -> Record:
    """Return the record once the copy numbered `sequence` is in the queue, visible from `due` on."""
    return replace(record, sequence=sequence, not_before=max(record.not_before, due))


def retry_delay(record: Record, terms: Terms, now: float) -> float:
    """Return the seconds after which a message should be delivered again; they grow with its attempts.

    A message that has ended makes no more attempts, but its event or its watch message may still have to be sent.
    Then the delay grows to a quarter of the time since the end, and to an hour at most.
    """
    delay = max(_grow(terms.delay, record.attempts), early_seconds(record, now))
    if record.state is State.IN_PROGRESS or record.published_at is not None:
        return delay
    ended_at = record.expires_at - terms.retention
    return max(delay, min((now - ended_at) / 4, _LONGEST_DELAY_SECONDS))


def throttled_delay(tried: float, quiet: float, terms: Terms, chance: float) -> float:
    """Return the seconds after which a message that the service throttled should be delivered again.

    The message has been tried for `tried` seconds, and its instance has created nothing for `quiet` seconds. As long
    as creates succeed, capacity may be free at any moment: the delay is `quiet`, but at least a sixth of the first
    delay and at most the whole first delay. In an outage it is a quarter of `tried` or of `quiet`, whichever is less,
    and at most an hour. `chance`, a random number from [0, 1), takes up to half off, so that messages spread.
    """
    grown = min(min(tried, quiet) / 4, _LONGEST_DELAY_SECONDS)
    first = min(max(quiet, terms.delay / 6), terms.delay)
    return max(grown, first) * (1.0 - chance / 2)


def _grow(first: float, times: int) -> float:
    return min(first * 2.0 ** min(max(times - 1, 0), 20), _LONGEST_DELAY_SECONDS)


def complete(record: Record, experiment_id: str, event: str, now: float, terms: Terms) -> Record:
    """Return the record of a key whose experiment exists."""
    return _end(record, State.COMPLETED, event, now, terms, experiment_id=experiment_id)


def reject(record: Record, event: str, now: float, terms: Terms) -> Record:
    """Return the record of a key whose request can never succeed."""
    return _end(record, State.REJECTED, event, now, terms)


def fail(record: Record, event: str, now: float, terms: Terms) -> Record:
    """Return the record of a key that is given up; a redrive reconciles first."""
    return _end(record, State.FAILED, event, now, terms, doubt_until=now)


def _end(
    record: Record,
    state: State,
    event: str,
    now: float,
    terms: Terms,
    *,
    experiment_id: str | None = None,
    doubt_until: float | None = None,
) -> Record:
    return replace(
        record,
        state=state,
        event=event,
        expires_at=now + terms.retention,
        experiment_id=experiment_id or record.experiment_id,
        doubt_until=doubt_until,
    )


def mark_published(record: Record, now: float) -> Record:
    """Return the record once its event is published, which answers every copy that was in the queue so far."""
    return replace(record, published_at=now, sequence=0)


def resolve_none(record: Record, now: float) -> Record:
    """Return an abandoned record after an operator found that no experiment exists: the next delivery may create.

    No search follows until a create has an unknown end again. The generation stays, so that a late copy of an earlier
    create still collides with the next one. Raises ValueError for any other record.
    """
    _require_abandoned(record, now)
    cleared = replace(
        record, doubt_until=None, uncertain=False, experiment_id=None, searches=0, not_before=0.0
    )
    return next_version(cleared)


def resolve_experiment(record: Record, experiment_id: str, now: float) -> Record:
    """Return an abandoned record after an operator found its experiment: the next delivery announces it.

    Raises ValueError for any other record.
    """
    _require_abandoned(record, now)
    return next_version(replace(record, experiment_id=experiment_id, searches=0, not_before=0.0))


def _require_abandoned(record: Record, now: float) -> None:
    if find_standing(record, now) is not Standing.ABANDONED:
        raise ValueError("only an abandoned record can be resolved")


def is_used_up(record: Record, terms: Terms) -> bool:
    """Return whether this claim was the last one whose unknown end may be followed by a retry."""
    return record.attempts >= terms.max_attempts


def is_exhausted(record: Record, terms: Terms) -> bool:
    """Return whether earlier owners used up all attempts and died before they recorded an end."""
    return record.attempts > terms.max_attempts


def is_too_old(record: Record, now: float, terms: Terms) -> bool:
    """Return whether at `now` the message has been tried for as long as it may be."""
    return now - max(record.claimed_at, record.renewed_at) >= terms.max_age
