"""Carry out a stop message, which names an experiment by the key of its request or by its own id.

    find the experiment ──▶ has it ended? ──▶ note who stops it ──▶ StopHpoExperiment

Stopping twice does no harm, so a claim whose owner died is simply carried out again. Few messages are stops, so a
cold start does not import this module.
"""

from __future__ import annotations

import re

from fcruntime.dataclass import dataclass, replace
from hpoq.clock import Budget, Clock
from hpoq.cloud.paiautoml import PaiAutoMl, is_elsewhere
from hpoq.contract.events import EventError
from hpoq.contract.identity import KEY_FORM, PRODUCER, derive_key
from hpoq.contract.stop import StopRequest
from hpoq.errors import Answered, CallError, Conflict, Invalid, NotFound, NotSent, UnknownEnd
from hpoq.idempotency.record import Record, State
from hpoq.processing import watchorder
from hpoq.processing.creation import GivenUp, Postponed, Refused, Stopped
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import is_exhausted
from hpoq.processing.notes import StopNotes
from hpoq.processing.outcome import (
    as_event_error,
    log_configuration_fault,
    log_operator_needed,
    needs_operator,
)
from hpoq.processing.watchorder import MOVED

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
        self.notes.add(experiment_id, _REQUEST)
        refusal: Answered | None = None
        try:
            status = self.client.stop_hpo_experiment(experiment_id, budget=budget)
            if status is not None:
                return Stopped(claim, experiment_id, status)
        except NotSent:
            self.notes.withdraw(experiment_id, _REQUEST)
            raise
        except Answered as exc:
            refusal = exc
        # It may have ended in between; and an answer without a status does not prove that the service has acted.
        experiment = self.client.get_hpo_experiment(experiment_id, budget=budget)
        if watchorder.has_ended(experiment) or experiment.status == watchorder.STOPPING:
            return Stopped(claim, experiment_id, experiment.status)
        if refusal is not None:
            self.notes.withdraw(experiment_id, _REQUEST)
            if not isinstance(refusal, (Invalid, Conflict)):
                raise refusal
            return Refused(claim, as_event_error(refusal))
        return Postponed(claim, _UNCONFIRMED, None, counts=True)

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
        if needs_operator(exc) or isinstance(exc, Invalid):
            log_operator_needed(exc)
        return Postponed(claim, error, None, counts=isinstance(exc, UnknownEnd))
