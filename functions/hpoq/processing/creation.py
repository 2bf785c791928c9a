"""Making the experiment once: reconcile if there is doubt, create if there is none left.

Knows the service but not the store; what it returns says what the record must become.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Clock
from hpoq.cloud.experiments import CreatedExperiment
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.contract.events import EventError
from hpoq.contract.marker import MOST_TAGS, TAG_KEY, description_marker
from hpoq.errors import CallError, Invalid, NoTimeLeft, UnknownEnd
from hpoq.idempotency.record import Record
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import count, step
from hpoq.processing import lifecycle
from hpoq.processing.faults import as_event_error, needs_operator
from hpoq.processing.lifecycle import Terms
from hpoq.processing.limits import Limits

if TYPE_CHECKING:
    from hpoq.contract.request import ExperimentRequest

_ABOUT_TAGS = r"(?i)\btags?\b"


@dataclass(frozen=True)
class Created:
    """The experiment exists; `adopted` if an earlier attempt had made it."""

    experiment_id: str
    adopted: bool


@dataclass(frozen=True)
class Refused:
    """The service will never take this request."""

    error: EventError


@dataclass(frozen=True)
class Postponed:
    """No experiment is known to exist; the message may be tried again.

    `doubt_until` is what the next owner has to clear. `counts` says whether the attempt was used up; a
    `hopeless` message is not tried again.
    """

    error: EventError
    doubt_until: float | None
    counts: bool = True
    hopeless: bool = False


Ending = Created | Refused | Postponed


@dataclass(frozen=True)
class Marking:
    """Where a create carries its key, and how listings are read back."""

    in_tag: bool
    page_size: int

    def body(self, request: ExperimentRequest, key: str) -> JsonObject:
        """The body of the create: what the producer wrote, and the marker.

        A request that brings as many tags as the service takes has its marker in the description.
        """
        if self.in_tag and len(request.experiment.tag or ()) < MOST_TAGS:
            return request.experiment.marked(extra_tags=[(TAG_KEY, key)])
        return self.untagged(request, key)

    def untagged(self, request: ExperimentRequest, key: str) -> JsonObject:
        """The same with the marker in the description."""
        return request.experiment.marked(description_suffix=description_marker(key))


class Creator:
    """Brings the experiment of a claim into being, at most once."""

    def __init__(
        self, client: PaiAutoMl, clock: Clock, terms: Terms, limits: Limits, marking: Marking
    ) -> None:
        self._client = client
        self._clock = clock
        self._terms = terms
        self._limits = limits
        self._marking = marking

    def attempt(self, request: ExperimentRequest, claim: Record, doubt_until: float | None) -> Ending:
        """Make the experiment of `claim`, whose earlier owners left `doubt_until`."""
        if doubt_until is not None:
            ending = self._clear_doubt(request, claim, doubt_until)
            if ending is not None:
                return ending
        return self._create(request, claim)

    def _give_up_at(self, claim: Record) -> float:
        """The time, on the monotonic clock, that neither the invocation nor the lease lets a call outlast."""
        lease_left = lifecycle.latest_send(claim, self._terms) - self._clock.now()
        return min(self._limits.calls_end_at, self._clock.monotonic() + lease_left)

    def _find(self, request: ExperimentRequest, claim: Record, *, thorough: bool) -> Created | None:
        # Few messages are ever in doubt: a cold start need not wait for it.
        from hpoq.processing.reconcile import Sought, find

        experiment = request.experiment
        count("reconciliations")
        with step("reconcile", self._clock):
            found = find(
                self._client,
                Sought(claim.key, claim.claimed_at, experiment.name, experiment.workspace_id),
                thorough=thorough,
                page_size=self._marking.page_size,
                give_up_at=self._give_up_at(claim),
            )
        if found is None:
            return None
        count("adoptions")
        return Created(found.experiment_id, adopted=True)

    def _clear_doubt(self, request: ExperimentRequest, claim: Record, doubt_until: float) -> Ending | None:
        """None once nothing can come to light any more: the way to a create is free."""
        try:
            # Asked before the look: what comes to light while it lasts must not be concluded absent.
            settled = not lifecycle.in_doubt(doubt_until, self._clock.now())
            found = self._find(request, claim, thorough=settled)
            if found is None and not settled:
                if not self._can_wait(claim, doubt_until):
                    return Postponed(_IN_DOUBT, doubt_until, counts=False)
                self._clock.sleep(doubt_until - self._clock.now())
                found = self._find(request, claim, thorough=True)
        except CallError as exc:
            return _postponed(exc, doubt_until)
        if found is None and lifecycle.exhausted(claim, self._terms):
            return Postponed(_EXHAUSTED, None, hopeless=True)
        return found

    def _can_wait(self, claim: Record, doubt_until: float) -> bool:
        ready_at = self._clock.monotonic() + (doubt_until - self._clock.now())
        return ready_at + self._limits.start_seconds <= self._give_up_at(claim)

    def _create(self, request: ExperimentRequest, claim: Record) -> Ending:
        give_up_at = self._give_up_at(claim)
        if give_up_at - self._clock.monotonic() < self._limits.start_seconds:
            return Postponed(_NO_TIME, None, counts=False)
        try:
            with step("create", self._clock):
                made = self._send(request, claim, give_up_at)
        except UnknownEnd as exc:
            return self._after_unknown_end(request, claim, exc)
        except Invalid as exc:
            return Refused(as_event_error(exc))
        except CallError as exc:
            return _postponed(exc, None)
        if made.remark:
            get_logger().warning("experiment.remark", experiment_id=made.experiment_id, remark=made.remark)
        return Created(made.experiment_id, adopted=False)

    def _send(self, request: ExperimentRequest, claim: Record, give_up_at: float) -> CreatedExperiment:
        """Create; once more without our tag where that is what the service, which did not act, refuses."""
        create = partial(
            self._client.create_hpo_experiment,
            give_up_at=give_up_at,
            not_after=lifecycle.latest_send(claim, self._terms),
        )
        tagged, untagged = (form(request, claim.key) for form in (self._marking.body, self._marking.untagged))
        try:
            return create(tagged)
        except Invalid as exc:
            if tagged == untagged or not re.search(_ABOUT_TAGS, exc.message):
                raise
            get_logger().error(
                "marker.refused",
                error=str(exc),
                advice="where the service takes no tags, set HPOQ_MARKER=description",
            )
        return create(untagged)

    def _after_unknown_end(self, request: ExperimentRequest, claim: Record, cause: UnknownEnd) -> Ending:
        """Look once: a service that acted and then failed to say so usually lists the experiment at once."""
        doubt = lifecycle.doubt_after_send(claim, self._terms)
        try:
            return self._find(request, claim, thorough=False) or Postponed(as_event_error(cause), doubt)
        except CallError:
            return Postponed(as_event_error(cause), doubt)


_IN_DOUBT = EventError(
    code="InDoubt",
    message="an earlier create may still come to light; it is looked for again at the next delivery",
    retryable=True,
)
_EXHAUSTED = EventError(
    code="AttemptsUsedUp",
    message="every attempt was broken off; no experiment exists",
    retryable=True,
)
_NO_TIME = EventError(
    code="NoTimeLeft", message="too little of the invocation or of the lease was left", retryable=True
)


def _postponed(exc: CallError, doubt_until: float | None) -> Postponed:
    """What an operator, or simply more time, mends must not use up the message.

    A create's own Invalid does not come here, so it is a listing that was refused: by a setting, or a service
    that has changed.
    """
    lasting = needs_operator(exc) or isinstance(exc, Invalid)
    error = replace(as_event_error(exc), retryable=True)
    if lasting:
        get_logger().error(
            "operator.needed", error=str(exc), code=error.code, cloud_request_id=exc.request_id
        )
    return Postponed(error, doubt_until, counts=not lasting and not isinstance(exc, NoTimeLeft))
