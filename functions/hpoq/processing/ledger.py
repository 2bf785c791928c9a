"""Apply the life cycle to the store: read a record, decide, and write it on condition of its version."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fcruntime.dataclass import dataclass
from hpoq.clock import Clock
from hpoq.errors import StoreError
from hpoq.idempotency.record import Record, State, Version
from hpoq.idempotency.store import Store, repeat_if_unavailable
from hpoq.observability.measures import count, trace_step
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Delivery, Terms


class ClaimLost(StoreError):
    """The record is no longer this owner's; its present owner will finish the message."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the claim of {key} was taken over")


@dataclass(frozen=True)
class Opening:
    """What a delivery found. `doubt_until` is the doubt that earlier claims left for a new owner to clear."""

    action: Action
    record: Record
    doubt_until: float | None = None


class Ledger:
    """Opens the records of keys and saves their ends. Safe for threads. Every method raises StoreError.

    `clock_error` returns by how many seconds `clock` is known to be ahead, or behind if it is negative.
    """

    def __init__(self, store: Store, clock: Clock, terms: Terms, clock_error: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self.terms = terms
        self._clock_error = clock_error
        self._known: dict[str, Record] = {}
        self._unseen: set[str] = set()

    def look_ahead(self, deliveries: Sequence[Delivery]) -> None:
        """Read the records of all keys in one call, to find messages that are done.

        A record whose event is published is not written again before it expires, so `open` need not read it again.
        It reads any other record again. Raises StoreError; `open` also works without this call.
        """
        with trace_step("lookup", self._clock):
            keys = {delivery.key for delivery in deliveries}
            self._known |= self._store.get_many(list(keys))
        self._unseen |= keys - self._known.keys()

    def find_settled(self, delivery: Delivery) -> Record | None:
        """Return the record that was read ahead if it shows that `delivery` is done, else None."""
        known = self._known.get(delivery.key)
        if known is None:
            return None
        is_settled = lifecycle.decide(known, delivery, self._clock.now()) is Action.ACKNOWLEDGE
        return known if is_settled else None

    def needs_create(self, delivery: Delivery) -> bool:
        """Return whether the request's next step is to create its experiment, or to search for it.

        Nothing is read for a key that had no record when it was looked up ahead. A request that is too old to be
        tried again needs no create: it must end, even if it never gets a turn.
        """
        if self.find_settled(delivery) is not None:
            return False
        now = self._clock.now()
        known = None if delivery.key in self._unseen else self.get(delivery.key)
        action = lifecycle.decide(known, delivery, now)
        if known is not None and action is Action.TAKE_OVER:
            claim = lifecycle.take_over(known, delivery, "", now, self.terms)
        elif action is Action.CLAIM:
            claim = lifecycle.claim(delivery, "", now, self.terms)
        else:
            return False
        return not lifecycle.is_too_old(claim, now, self.terms)

    def hold_back(self, delivery: Delivery) -> tuple[Action, Record | None]:
        """Return what a message that gets no turn would do now, and the record that can number its next copy.

        It claims nothing: a key without a record gets one whose claim is released already. The record is None if only
        a claim may change it. Raises StoreError.
        """
        now = self._clock.now()
        existing = None if delivery.key in self._unseen else self.get(delivery.key)
        if existing is None and delivery.redriven is None:
            claim = lifecycle.claim(delivery, self._clock.new_id(), now, self.terms)
            doubt = lifecycle.doubt_without_record(delivery, now, self.terms)
            # This clock may be ahead, and would hold the key for as long.
            released = lifecycle.release(claim, doubt, claim.claimed_at, counts=False)
            existing = self.insert(released) or released
        action = lifecycle.decide(existing, delivery, now)
        can_number = action is Action.TAKE_OVER and delivery.redriven is None
        is_open = existing is not None and existing.state is State.IN_PROGRESS
        return action, existing if can_number and is_open else None

    def get(self, key: str) -> Record | None:
        """Return the record of `key`, or None if there is none."""
        return repeat_if_unavailable(lambda: self._store.get(key), self._clock, _count_retry)

    def insert(self, record: Record) -> Record | None:
        """Write `record` if its key has none, and return None; otherwise return the record that the key has."""
        return repeat_if_unavailable(lambda: self._store.insert(record), self._clock, _count_retry)

    def open(self, delivery: Delivery) -> Opening:
        """Claim the key of `delivery` if it is free, otherwise return how it stands."""
        with trace_step("claim", self._clock):
            opening = self._open(delivery)
        if opening.action is Action.WAIT:
            count("lease_conflicts")
        elif opening.action is Action.TAKE_OVER and not delivery.is_watch:
            count("takeovers")
        return opening

    def _open(self, delivery: Delivery) -> Opening:
        settled = self.find_settled(delivery)
        if settled is not None:
            return Opening(Action.ACKNOWLEDGE, settled)
        owner = self._clock.new_id()
        wanted = lifecycle.claim(delivery, owner, self._clock.now(), self.terms)
        existing = self.insert(wanted)
        if existing is None:
            return Opening(
                Action.CLAIM, wanted, lifecycle.doubt_without_record(delivery, self._clock.now(), self.terms)
            )
        now = self._clock.now()
        action = lifecycle.decide(existing, delivery, now)
        if action in (Action.TAKE_OVER, Action.CLAIM):
            dated = lifecycle.find_standing(existing, now - self._clock_error())
            if dated is not lifecycle.find_standing(existing, now):
                # Only by a clock that is wrong is its claim over, or its key free again.
                action = Action.WAIT
        if action is Action.TAKE_OVER:
            return self.take_over(existing, delivery)
        if action is Action.CLAIM and not self._swap(wanted, existing.version):
            action = Action.WAIT
        return Opening(action, wanted if action is Action.CLAIM else existing)

    def take_over(self, existing: Record, delivery: Delivery) -> Opening:
        """Take over the abandoned record `existing` for `delivery`."""
        wanted = lifecycle.take_over(existing, delivery, self._clock.new_id(), self._clock.now(), self.terms)
        if not self._swap(wanted, existing.version):
            return Opening(Action.WAIT, existing)
        return Opening(Action.TAKE_OVER, wanted, lifecycle.doubt_left(existing))

    def save(self, record: Record, expected: Version) -> Record:
        """Write `record` over the version `expected`, and return it as it was written. Raises ClaimLost.

        A record that the store has lost since is written again, because a delivery that finds none would create
        without a search.
        """
        written = lifecycle.next_version(record)
        try:
            with trace_step("save", self._clock):
                saved = self._swap(written, expected) or self.insert(written) is None
            if not saved:
                count("claims_lost")
                raise ClaimLost(record.key)
        except StoreError as exc:
            exc.was_claimed = True
            raise
        return written

    def _swap(self, record: Record, expected: Version) -> bool:
        return repeat_if_unavailable(lambda: self._store.replace(record, expected), self._clock, _count_retry)


def _count_retry() -> None:
    count("store_retries")
