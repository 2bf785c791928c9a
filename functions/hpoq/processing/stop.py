"""Stop experiments: for a stop message, which names one by the key of its request or by its own id, or for a guard.

    stop message ──▶ find the experiment ──▶ has it ended? ─┐
    guard (`watch`) ────────────────────────────────────────┴▶ note who stops it ──▶ StopHpoExperiment

Stopping twice does no harm, so a claim whose owner died is simply carried out again. Only stop and watch messages
need this module, so a cold start does not import it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass, replace
from hpoq.clock import Budget, Clock
from hpoq.cloud.paiautoml import PaiAutoMl, is_elsewhere
from hpoq.contract.events import EventError
from hpoq.contract.identity import KEY_FORM, PRODUCER, STOPPED, derive_key
from hpoq.errors import Answered, CallError, Conflict, Invalid, NotFound, NotSent, UnknownEnd
from hpoq.idempotency.record import Record, State
from hpoq.processing import watchorder
from hpoq.processing.creation import GivenUp, Postponed, Refused, Stopped
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import is_exhausted
from hpoq.processing.outcome import as_event_error, log_configuration_fault, log_lasting_fault
from hpoq.processing.watchorder import MOVED

if TYPE_CHECKING:
    from hpoq.contract.stop import StopRequest

_REQUEST = "request"
"""Who stops the experiment, as the event of its end names it."""
_UNKNOWN_KEY = EventError(
    code="UnknownKey",
    message="no request with this idempotencyKey was processed; if it is still in its queue, send a new stop later",
    retryable=False,
)
_NOTHING_TO_STOP = EventError(
    code="NothingToStop",
    message="the request with this idempotencyKey ended without an experiment",
    retryable=False,
)
_NOT_CREATED_YET = EventError(
    code="RequestInProgress",
    message="the request with this idempotencyKey has not created its experiment yet",
    retryable=True,
)
_NO_EXPERIMENT = EventError(
    code="ExperimentNotFound",
    message="there is no experiment with this id, or it was deleted",
    retryable=False,
)
_UNCONFIRMED = EventError(
    code="StopUnconfirmed",
    message="the service did not refuse to stop the experiment, but the experiment still runs",
    retryable=True,
)
_INTERRUPTED = EventError(
    code="AttemptsUsedUp",
    message="every attempt to stop the experiment was interrupted",
    retryable=True,
)


@dataclass(frozen=True)
class StopNotes:
    """Notes of who stops which experiment, for its finished event. Every method raises StoreError.

    A note is a record of its own. The first one stays, unless it is withdrawn.
    """

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
        """Take back the note that names `stopped_by`, if it is there."""
        noted = self.ledger.get(self._derive_key(experiment_id))
        if noted is not None and noted.stopped_by == stopped_by:
            self.ledger.save(replace(noted, stopped_by=None), noted.version)

    def find(self, experiment_id: str) -> str | None:
        """Return who stops the experiment, or None if that is not noted."""
        record = self.ledger.get(self._derive_key(experiment_id))
        return None if record is None else record.stopped_by

    def _derive_key(self, experiment_id: str) -> str:
        return derive_key(STOPPED, experiment_id, self.namespace)


def stop_experiment(
    client: PaiAutoMl, notes: StopNotes, experiment_id: str, stopped_by: str, budget: Budget
) -> str | Answered | None:
    """Stop an experiment, and return its status, None if the answer has none, or the refusal of the service.

    Who stops it is noted before. The note is withdrawn if nothing was sent or if the service refuses, so that a later
    end is not ascribed to it. Raises CallError, StoreError.
    """
    notes.add(experiment_id, stopped_by)
    try:
        return client.stop_hpo_experiment(experiment_id, budget=budget)
    except NotSent:
        notes.withdraw(experiment_id, stopped_by)
        raise
    except Answered as refusal:
        # It may have ended in between. The repetition of a stop whose answer was lost may be refused too, although
        # the first call had effect.
        experiment = client.get_hpo_experiment(experiment_id, budget=budget)
        if watchorder.is_stopping(experiment):
            return experiment.status
        notes.withdraw(experiment_id, stopped_by)
        return refusal


@dataclass(frozen=True)
class Stopper:
    """Carries out the stop messages of one invocation. `place` identifies where `client` calls."""

    client: PaiAutoMl
    ledger: Ledger
    notes: StopNotes
    clock: Clock
    place: str | None = None

    def stop(
        self, request: StopRequest, claim: Record, budget: Budget
    ) -> Stopped | Refused | Postponed | GivenUp:
        """Stop what `request` names. Raises StoreError."""
        if is_exhausted(claim, self.ledger.terms):
            return GivenUp(claim, _INTERRUPTED)
        experiment_id, known_since, place = request.stop.experiment_id, claim.claimed_at, None
        if request.stop.idempotency_key is not None:
            found = self._find_request(request.stop.idempotency_key)
            if isinstance(found, EventError):
                if found.retryable:
                    return Postponed(claim, found, None, counts=False)
                return Refused(claim, found)
            # The stop may have waited a long time for the request, so the experiment may still be new.
            experiment_id, known_since = found.experiment_id, found.published_at or self.clock.now()
            place = found.place
        try:
            return self._stop(experiment_id or "", claim, budget)
        except CallError as exc:
            if isinstance(exc, NotFound) and is_elsewhere(place, self.place):
                log_configuration_fault(MOVED, place=place)
                return Postponed(claim, MOVED, None, counts=False)
            return self._postpone(claim, exc, known_since, by_key=request.stop.experiment_id is None)

    def _find_request(self, name: str) -> Record | EventError:
        """Return the record of the request with the producer's key `name`, or with `name` as its own key.

        It names an experiment; otherwise the error says why there is none.
        """
        record = self.ledger.get(derive_key(PRODUCER, name, self.notes.namespace))
        if record is None and re.fullmatch(KEY_FORM, name):
            record = self.ledger.get(name)
        if record is None:
            return _UNKNOWN_KEY
        if record.state is State.IN_PROGRESS:
            return _NOT_CREATED_YET
        return _NOTHING_TO_STOP if record.experiment_id is None else record

    def _stop(self, experiment_id: str, claim: Record, budget: Budget) -> Stopped | Refused | Postponed:
        experiment = self.client.get_hpo_experiment(experiment_id, budget=budget)
        if watchorder.has_ended(experiment):
            return Stopped(claim, experiment_id, experiment.status)
        status = stop_experiment(self.client, self.notes, experiment_id, _REQUEST, budget)
        if isinstance(status, (Invalid, Conflict)):
            return Refused(claim, as_event_error(status))
        if isinstance(status, Answered):
            raise status
        if status is None:
            # An answer without a status does not prove that the service has acted.
            experiment = self.client.get_hpo_experiment(experiment_id, budget=budget)
            if not watchorder.is_stopping(experiment):
                return Postponed(claim, _UNCONFIRMED, None, counts=True)
            status = experiment.status
        return Stopped(claim, experiment_id, status)

    def _postpone(
        self, claim: Record, exc: CallError, known_since: float, *, by_key: bool
    ) -> Postponed | Refused:
        error = replace(as_event_error(exc), retryable=True)
        if isinstance(exc, NotFound):
            # A new experiment may not be visible yet.
            if self.clock.now() < known_since + self.ledger.terms.consistency:
                return Postponed(claim, error, None, counts=False)
            if by_key and claim.searches == 0:
                # It was created, and one answer does not prove that it was deleted.
                return Postponed(claim, error, None, counts=False, inconclusive=True)
            return Refused(claim, replace(_NO_EXPERIMENT, service=error.service))
        log_lasting_fault(exc)
        return Postponed(claim, error, None, counts=isinstance(exc, UnknownEnd))
