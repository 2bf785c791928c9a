"""The thin shell between the life cycle and the store: reads, decides, swaps, and tries again what is safe to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from fcruntime.dataclass import dataclass
from hpoq.clock import Clock
from hpoq.errors import StoreError, StoreUnavailable
from hpoq.idempotency.record import Record, Version
from hpoq.idempotency.store import Store
from hpoq.observability.measures import count, step
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Terms

_Answer = TypeVar("_Answer")

_TRIES = 3
_PAUSE_SECONDS = 0.2


class ClaimLost(StoreError):
    """The record is no longer this owner's; whoever has it now will finish the message."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"the claim of {key} was taken over")


@dataclass(frozen=True)
class Opening:
    """What a delivery found. `doubt_until` is the doubt that earlier claims left for a new owner to clear."""

    action: Action
    record: Record
    doubt_until: float | None = None


class Ledger:
    """Opens keys and saves what became of them. Safe for threads; raises StoreError."""

    def __init__(self, store: Store, clock: Clock, terms: Terms) -> None:
        self._store = store
        self._clock = clock
        self.terms = terms
        self._settled: dict[str, Record] = {}

    def look_ahead(self, fingerprints: Mapping[str, str]) -> None:
        """Learn in one read which of the keys need nothing any more; `fingerprints` are those of their requests.

        What is acknowledged stays so: a record whose event is out is not written again before it expires. Anything
        else is decided when its turn comes. Raises StoreError; `open` works without it.
        """
        with step("lookup", self._clock):
            found = self._store.get_many(list(fingerprints))
        now = self._clock.now()
        self._settled |= {
            key: record
            for key, record in found.items()
            if lifecycle.decide(record, fingerprints[key], now) is Action.ACKNOWLEDGE
        }

    def open(self, key: str, fingerprint: str) -> Opening:
        """Claim `key` if it can be had, else say how it stands."""
        with step("claim", self._clock):
            opening = self._open(key, fingerprint)
        if opening.action is Action.WAIT:
            count("lease_conflicts")
        elif opening.action is Action.TAKE_OVER:
            count("takeovers")
        return opening

    def _open(self, key: str, fingerprint: str) -> Opening:
        settled = self._settled.get(key)
        if settled is not None and settled.fingerprint == fingerprint:
            return Opening(Action.ACKNOWLEDGE, settled)
        owner = self._clock.new_id()
        wanted = lifecycle.claim(key, fingerprint, owner, self._clock.now(), self.terms)
        standing = self._insistently(lambda: self._store.insert(wanted))
        if standing is None:
            return Opening(Action.CLAIM, wanted)
        action = lifecycle.decide(standing, fingerprint, self._clock.now())
        if action not in (Action.CLAIM, Action.TAKE_OVER):
            return Opening(action, standing)
        if action is Action.TAKE_OVER:
            wanted = lifecycle.take_over(standing, owner, self._clock.now(), self.terms)
        if not self._swap(wanted, standing.version):
            return Opening(Action.WAIT, standing)
        return Opening(action, wanted, lifecycle.doubt_left(standing) if action is Action.TAKE_OVER else None)

    def save(self, record: Record, expected: Version) -> Record:
        """Write what became of the claim `expected`, and give it back. Raises ClaimLost."""
        with step("save", self._clock):
            saved = self._swap(record, expected)
        if not saved:
            count("claims_lost")
            raise ClaimLost(record.key)
        return record

    def _swap(self, record: Record, expected: Version) -> bool:
        return self._insistently(lambda: self._store.replace(record, expected))

    def _insistently(self, step: Callable[[], _Answer]) -> _Answer:
        """Every store write may be repeated: the fencing token in it makes a second one harmless."""
        for attempt in range(1, _TRIES):
            try:
                return step()
            except StoreUnavailable:
                count("store_retries")
                self._clock.sleep(_PAUSE_SECONDS * attempt * self._clock.random())
        return step()
