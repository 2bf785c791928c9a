"""Create the experiment of a request exactly once: reconcile while one may exist, and create one when none does.

This module knows the service but not the store. The ending that it returns states what the record must become.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from fcruntime.dataclass import dataclass, field, replace
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.clock import Budget, Clock, Limits
from hpoq.cloud.caller import RetryPolicy
from hpoq.cloud.experiments import CreatedExperiment
from hpoq.cloud.paiautoml import PaiAutoMl, is_elsewhere
from hpoq.contract.events import EventError
from hpoq.contract.identity import MOST_TAGS, TAG_KEY, derive_uuid, format_marker
from hpoq.errors import (
    Ambiguous,
    Answered,
    CallError,
    Incomplete,
    Invalid,
    Throttled,
    Unavailable,
    UnknownEnd,
)
from hpoq.idempotency.record import Record
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import count, trace_step
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Terms
from hpoq.processing.outcome import (
    as_event_error,
    log_configuration_fault,
    log_operator_needed,
    needs_operator,
)
from hpoq.processing.pace import Pace

_DATING_RESERVE_SECONDS = 60.0
_NO_TAGS = "if the service does not accept tags, set HPOQ_MARKER=description"
_RESOLVE = "find out whether the experiment exists, then run: hpoq resolve {key} --none, or --experiment ID"
# How a code or a message names a tag and the description, in the languages of the service.
_ABOUT_TAGS = r"(?i:\btags?\b|\blabels?\b)|Tags?(?![a-z])|标签"
_ABOUT_DESCRIPTION = r"(?i:\bdesc(ription)?\b)|Description|描述"
_MARKER_IN_DESCRIPTION = (
    "{message}; hpoq adds {length} characters to the description, by which it finds the experiment again: shorten "
    "the description by as many, or use fewer than {most} tags"
)
_MOVED = EventError(
    code="EndpointChanged",
    message="an earlier create was sent to another endpoint or by another account; set HPOQ_PAIAUTOML_ENDPOINT or "
    "HPOQ_REGION back until this message has ended, or find out whether its experiment exists and run hpoq resolve",
    retryable=True,
)
_IN_DOUBT = EventError(
    code="InDoubt",
    message="an earlier create may still take effect; the experiment is searched for again at the next delivery",
    retryable=True,
)
_EXHAUSTED = EventError(
    code="AttemptsUsedUp",
    message="every attempt was interrupted; no experiment exists",
    retryable=True,
)
_NO_TIME = EventError(
    code="NoTimeLeft", message="too little of the invocation or of the lease was left", retryable=True
)


@dataclass(frozen=True)
class Created:
    """The experiment exists; `adopted` if an earlier attempt had made it."""

    claim: Record
    experiment_id: str
    adopted: bool


@dataclass(frozen=True)
class Stopped:
    """The experiment is being stopped, or has ended; `status` is the service's."""

    claim: Record
    experiment_id: str
    status: str | None


@dataclass(frozen=True)
class Refused:
    """The request can never succeed."""

    claim: Record
    error: EventError


@dataclass(frozen=True)
class Postponed:
    """No experiment is known to exist; the message may be tried again.

    `doubt_until` is what the next owner has to clear. `counts` says whether the attempt counts towards its limit,
    `inconclusive` that a search could neither find the experiment nor rule it out, `throttled` that the service
    takes no more calls for the time being.
    """

    claim: Record
    error: EventError
    doubt_until: float | None
    counts: bool
    inconclusive: bool = False
    throttled: bool = False


@dataclass(frozen=True)
class GivenUp:
    """The message is not tried again, because its attempts are used up or it is too old."""

    claim: Record
    error: EventError


Ending: TypeAlias = Created | Stopped | Refused | Postponed | GivenUp


@dataclass(frozen=True)
class Marking:
    """Where a create carries its key, and how listings are read back."""

    in_tag: bool
    in_description: bool
    page_size: int

    def places(self, experiment: JsonObject) -> tuple[bool, bool]:
        """Return whether a create of `experiment` carries the marker in a tag, and in the description.

        One that brings as many tags as the service takes has it in the description alone.
        """
        tagged = self.in_tag and len(_read_tags(experiment)) < MOST_TAGS
        return tagged, self.in_description or not tagged


def create_nonce(key: str, generation: int) -> str:
    """Return the signature nonce of the create of `key` that belongs to `generation`.

    The gateway refuses a nonce that it has seen (SignatureNonceUsed), so a late copy of an earlier create and the
    create of a later owner exclude each other there.
    """
    return derive_uuid(key, f"create-{generation}").replace("-", "")


@dataclass(frozen=True)
class Creator:
    """Makes the experiment of a claim, at most once.

    `place` identifies the endpoint and the account that creates are sent to. `save` writes a claim's record and
    returns it: the generation of a nonce must be durable before it is used. `pace` says when a create may be sent.
    `keys_by_id` has the keys of the experiments that the service created or listed for them, and outlives the
    invocation.
    """

    client: PaiAutoMl
    clock: Clock
    terms: Terms
    limits: Limits
    marking: Marking
    retry: RetryPolicy
    place: str
    save: Callable[[Record], Record]
    pace: Pace
    keys_by_id: dict[str, str] = field(default_factory=dict)

    def attempt(self, experiment: JsonObject, claim: Record, doubt_until: float | None) -> Ending:
        """Make the experiment of `claim`, whose earlier owners left `doubt_until`.

        `experiment` is the body of CreateHpoExperiment as the producer wrote it.
        """
        return self.adopt(claim, doubt_until, experiment) or self._create(experiment, claim)

    def adopt(
        self, claim: Record, doubt_until: float | None, experiment: JsonObject
    ) -> Created | Postponed | GivenUp | None:
        """Find the experiment that an earlier owner of `claim` may have made from `experiment`.

        Return None if no experiment exists and none can appear any more, so that a create is safe.
        """
        if claim.experiment_id is not None:
            return Created(claim, claim.experiment_id, adopted=True)
        if doubt_until is None:
            return None
        if is_elsewhere(claim.place, self.place):
            log_configuration_fault(_MOVED, place=claim.place)
            return Postponed(claim, _MOVED, doubt_until, counts=False)
        try:
            # The result may lack an experiment that appears while the search runs: its beginning counts.
            began = self.clock.now()
            found = self._find(claim, experiment, thorough=not lifecycle.is_in_doubt(doubt_until, began))
            # Its answers may show that this machine's clock is ahead.
            if found is None and lifecycle.is_in_doubt(doubt_until, self.client.correct_time(began)):
                # A date in an answer may be wrong, so only a clock that is behind is corrected by it.
                present = self.clock.now() - min(self.client.clock_error(), 0.0)
                doubt_until = lifecycle.limit_doubt(doubt_until, present, self.terms)
                wait = doubt_until - self.client.present_time()
                if wait + self.limits.start_seconds > self.search_budget(claim).seconds_left():
                    return Postponed(claim, _IN_DOUBT, doubt_until, counts=False)
                self.clock.sleep(wait)
                found = self._find(claim, experiment, thorough=True)
        except CallError as exc:
            return self._postpone(claim, exc, doubt_until)
        # A message that waited for longer than it may be tried gets one more create. If the end of that one is not
        # known either, it is given up.
        was_tried = claim.attempts > 1 or claim.last_error is not None
        had_its_last = was_tried and lifecycle.is_too_old(claim, doubt_until, self.terms)
        if found is None and (had_its_last or lifecycle.is_exhausted(claim, self.terms)):
            return GivenUp(claim, _EXHAUSTED)
        return found

    def search_budget(self, claim: Record) -> Budget:
        """Return the time for calls that must end before the invocation's time for calls and before the lease."""
        return Budget(self.clock, self.limits.calls_end_at, claim.lease_until - self.terms.skew)

    def create_budget(self, claim: Record) -> Budget:
        """Return the time for a create.

        A create is sent only if its whole read time-out fits into the lease, or as much of it as a short
        invocation has.
        """
        least = min(self.terms.read, self.limits.start_seconds)
        wall_ends_at = lifecycle.latest_start(claim, self.terms) + least
        return Budget(self.clock, self.limits.calls_end_at, wall_ends_at, least)

    def _find(self, claim: Record, experiment: JsonObject, *, thorough: bool) -> Created | None:
        # Few messages are ever in doubt: a cold start need not load the search.
        from hpoq.processing.reconcile import Sought, find

        count("reconciliations")
        with trace_step("reconcile", self.clock):
            found = find(
                self.client,
                Sought.from_claim(claim, experiment, self.terms.skew),
                thorough=thorough,
                page_size=self.marking.page_size,
                budget=self.search_budget(claim),
                now=self.clock.now(),
            )
        if found is None:
            return None
        count("adoptions")
        # A proxy may give the answer that got lost to another create. The marker proves which one it belongs to.
        self.keys_by_id[found.experiment_id] = claim.key
        return Created(claim, found.experiment_id, adopted=True)

    def _create(self, experiment: JsonObject, claim: Record) -> Ending:
        if self.limits.calls_end_at - self.clock.monotonic() < self.limits.start_seconds:
            return Postponed(claim, _NO_TIME, None, counts=False)
        sending = _Sending(self, experiment, claim)
        try:
            with trace_step("create", self.clock):
                made = sending.run()
        except UnknownEnd as exc:
            return self._search_after_unknown_end(sending.claim, experiment, exc)
        except Invalid as exc:
            return Refused(sending.claim, sending.explain(exc))
        except CallError as exc:
            return self._postpone(sending.claim, exc, None)
        self.pace.note_created()
        if sending.plain_refusal is not None:
            _log_refused_marker(sending.plain_refusal, _NO_TAGS)
        if made.remark:
            get_logger().warning("experiment.remark", experiment_id=made.experiment_id, remark=made.remark)
        return Created(sending.claim, made.experiment_id, adopted=False)

    def _search_after_unknown_end(self, claim: Record, experiment: JsonObject, cause: UnknownEnd) -> Ending:
        """Search once: a service that acted and failed to answer usually lists the experiment at once."""
        doubt = lifecycle.doubt_after_send(self.clock.now(), self.terms)
        try:
            found = self._find(claim, experiment, thorough=False)
        except CallError:
            found = None
        # The gateway knows the nonce: an earlier create reached it. How long it remembers one is not documented,
        # so waiting for it must not use up the attempts.
        counts = cause.code != "SignatureNonceUsed"
        return found or Postponed(claim, as_event_error(cause), doubt, counts=counts)

    def _postpone(self, claim: Record, exc: CallError, doubt_until: float | None) -> Postponed:
        """Return what happens to the message after a call that neither found nor made the experiment.

        Only an unknown end of the create itself counts as an attempt. The errors that come here are faults of the
        service or the network, or an operator must fix them, so they do not count.
        """
        error = replace(as_event_error(exc), retryable=True)
        inconclusive = isinstance(exc, (Ambiguous, Incomplete))
        stuck = inconclusive and claim.searches + 1 >= self.terms.max_attempts
        if needs_operator(exc) or stuck:
            advice = _RESOLVE.format(key=claim.key) if inconclusive else None
            log_operator_needed(exc, advice)
        return Postponed(
            claim,
            error,
            doubt_until,
            counts=False,
            inconclusive=inconclusive,
            throttled=isinstance(exc, (Throttled, Unavailable)),
        )


class _Sending:
    """The create of one claim, repeated only after an answer which proves that the service did not act.

    `plain_refusal` is the answer to a create with our tag, if it named no member and the tag was left out then.
    `claim` is the record as it stands. Its generation goes up with each such answer and is saved before the next
    try, so that the record is never behind a nonce that was sent.
    """

    def __init__(self, creator: Creator, experiment: JsonObject, claim: Record) -> None:
        self._creator = creator
        self._experiment = experiment
        self._backdate_seconds = compute_backdating(creator.terms)
        self._tagged, self._described = _choose_places(creator.marking.places(experiment), claim)
        self._saved = claim
        # An uncertain key keeps its nonce, so it has no second create.
        self._may_be_our_tag = self._tagged and not claim.uncertain
        self.plain_refusal: Invalid | None = None
        self.claim = self._note_markers(claim)

    def run(self) -> CreatedExperiment:
        """Return the experiment. Raises CallError."""
        creator = self._creator
        budget = creator.create_budget(self.claim)
        retries = creator.retry.start(budget, (Throttled,))
        while True:
            if self.claim != self._saved:
                self._saved = self.claim = creator.save(self.claim)
            sent_at = creator.clock.monotonic()
            try:
                return creator.client.create_hpo_experiment(
                    self._build_body(),
                    nonce=create_nonce(self.claim.key, self.claim.generation),
                    backdate_seconds=self._backdate_seconds,
                    max_clock_error=creator.terms.skew,
                    is_ours=self._is_ours,
                    budget=budget,
                )
            except CallError as error:
                if isinstance(error, (Throttled, Unavailable)):
                    creator.pace.note_throttled(sent_at, error.retry_after)
                elif isinstance(error, UnknownEnd):
                    creator.pace.note_unknown_end(sent_at)
                if isinstance(error, Answered):
                    self.claim = lifecycle.next_generation(self.claim)
                    if self._adapt_to(error):
                        continue
                retries.wait_or_raise(error)
                latest = creator.clock.monotonic() + budget.seconds_left() - budget.least_seconds
                if not creator.pace.wait_for_turn(latest):
                    raise

    def _is_ours(self, experiment_id: str) -> bool:
        """Return whether the experiment was not already the answer to another message's create.

        A proxy may deliver an answer twice, and then each request on its connection gets the one before its own.
        """
        return self._creator.keys_by_id.setdefault(experiment_id, self.claim.key) == self.claim.key

    def _note_markers(self, claim: Record) -> Record:
        """Return `claim` with where all creates, including the next one, carry the marker, and with the endpoint."""
        return replace(
            claim,
            tagged=claim.tagged and self._tagged,
            described=claim.described and self._described,
            place=self._creator.place,
        )

    def _build_body(self) -> JsonObject:
        body = {**self._experiment}
        if self._tagged:
            body["Tag"] = [*_read_tags(body), {"Key": TAG_KEY, "Value": self.claim.key}]
        if self._described:
            body["Description"] = f"{body.get('Description', '')} {format_marker(self.claim.key)}".lstrip()
        return body

    def explain(self, exc: Invalid) -> EventError:
        """Return the error of a refused request, with what to do if the marker may be the reason.

        If it was refused without our tag, too, its producer gets the answer to the usual create.
        """
        exc = self.plain_refusal or exc
        error = as_event_error(exc)
        if not (self._described and re.search(_ABOUT_DESCRIPTION, f"{exc.code} {exc.message}")):
            return error
        length = len(format_marker(self.claim.key)) + 1
        message = _MARKER_IN_DESCRIPTION.format(message=error.message, length=length, most=MOST_TAGS)
        return replace(error, message=message)

    def _adapt_to(self, exc: Answered) -> bool:
        """Leave out the marker that the service refused; return False if it refused the request itself."""
        if not isinstance(exc, Invalid):
            return False
        about = f"{exc.code} {exc.message}"
        if self._tagged and re.search(_ABOUT_TAGS, about):
            self._tagged, self._described = False, True
            _log_refused_marker(exc, _NO_TAGS)
        elif self._tagged and self._described and re.search(_ABOUT_DESCRIPTION, about):
            self._described = False
            _log_refused_marker(
                exc, "if the service does not accept the longer description, set HPOQ_MARKER=tag"
            )
        elif self._may_be_our_tag and not re.search(_ABOUT_DESCRIPTION, about):
            # It does not say what is wrong: that may be the tag.
            self._tagged, self._described, self.plain_refusal = False, True, exc
        else:
            return False
        self._may_be_our_tag = False
        self.claim = self._note_markers(self.claim)
        return True


def _log_refused_marker(exc: Invalid, advice: str) -> None:
    get_logger().error("marker.refused", error=str(exc), advice=advice)


def _choose_places(places: tuple[bool, bool], claim: Record) -> tuple[bool, bool]:
    """Return whether the next create of `claim` carries the marker in a tag, and in the description.

    `places` are those of the settings. An uncertain key keeps its nonce, which a refused create uses up. So a marker
    that an earlier create had to do without is not tried again: if the service refused it, the create without it
    would never get through. If neither was in all creates, the tag was refused.
    """
    if not claim.uncertain:
        return places
    if not (claim.tagged or claim.described):
        return False, True
    kept = (places[0] and claim.tagged, places[1] and claim.described)
    return kept if any(kept) else places


def compute_backdating(terms: Terms) -> float:
    """Return by how many seconds a create is dated back.

    The gateway refuses a request whose date is more than its window away (InvalidTimeStamp.Expired). A create is
    dated back as far as clocks that differ by the skew allow. It passes now, but a copy that is delivered late has
    expired and does not create a second experiment.
    """
    return max(0.0, terms.window - terms.skew - terms.read - _DATING_RESERVE_SECONDS)


def _read_tags(experiment: JsonObject) -> list[JsonValue]:
    tags = experiment.get("Tag")
    return tags if isinstance(tags, list) else []
