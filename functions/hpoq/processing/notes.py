"""Notes that an experiment is being stopped, and by whom, for its finished event.

A note is a record of its own. It is written before the service is asked to stop, and the first one stays unless the
service was not reached or refuses, for whatever reason: then it is withdrawn, so that a later end is not ascribed to
it.
"""

from __future__ import annotations

from fcruntime.dataclass import dataclass, replace
from hpoq.clock import Clock
from hpoq.contract.identity import STOPPED, derive_key
from hpoq.idempotency.record import Record, State
from hpoq.processing.ledger import Ledger


@dataclass(frozen=True)
class StopNotes:
    """The notes of one namespace. Every method raises StoreError."""

    ledger: Ledger
    clock: Clock
    namespace: str

    def add(self, experiment_id: str, stopped_by: str) -> None:
        """Note who stops the experiment, unless that is noted already."""
        now = self.clock.now()
        earlier = self.ledger.insert(
            Record(
                key=self._derive_key(experiment_id),
                state=State.COMPLETED,
                fingerprint="note",
                owner=self.clock.new_id(),
                claimed_at=now,
                lease_until=now,
                expires_at=now + self.ledger.terms.retention,
                experiment_id=experiment_id,
                published_at=now,
                stopped_by=stopped_by,
            )
        )
        if earlier is not None and earlier.stopped_by is None:
            self.ledger.save(replace(earlier, stopped_by=stopped_by), earlier.version)

    def withdraw(self, experiment_id: str, stopped_by: str) -> None:
        """Take back the note that names `stopped_by`, if it is there: the service refused to stop the experiment."""
        noted = self.ledger.get(self._derive_key(experiment_id))
        if noted is not None and noted.stopped_by == stopped_by:
            self.ledger.save(replace(noted, stopped_by=None), noted.version)

    def find(self, experiment_id: str) -> str | None:
        """Return who stops the experiment, or None if that is not noted."""
        record = self.ledger.get(self._derive_key(experiment_id))
        return None if record is None else record.stopped_by

    def _derive_key(self, experiment_id: str) -> str:
        return derive_key(STOPPED, experiment_id, self.namespace)
