"""Check an experiment that is followed: it has ended, its guard must stop it, or it is checked again later.

    check ─┬─ it has ended ──▶ its best trial, its trials by status ──▶ Ended
           ├─ shown as deleted, missing twice, or followed too long ──▶ Ended
           ├─ a limit of its guard is reached ──▶ note it, stop it ───▶ CheckAgain
           └─ it still runs, or a call failed ────────────────────────▶ CheckAgain

A failed call never ends the watch: the experiment is checked again until it reaches its greatest age.
The processor publishes the result of an Ended, and sends the next watch message for a CheckAgain.

An instance that gets no watch message does not import this module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Literal, TypeAlias

from fcruntime.dataclass import dataclass, field, replace
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock
from hpoq.cloud.answers import USER_OR_EXPERIMENT
from hpoq.cloud.experiments import Experiment
from hpoq.cloud.paiautoml import PaiAutoMl, is_elsewhere
from hpoq.cloud.trials import Trial, TrialListing, TrialPage, read_all_trials
from hpoq.contract.events import EventError
from hpoq.errors import (
    Answered,
    CallError,
    Invalid,
    NotFound,
    NotSent,
    Throttled,
    UnknownEnd,
    Violation,
)
from hpoq.observability.logs import get_logger
from hpoq.observability.redaction import redact
from hpoq.observability.secret_names import find_secrets
from hpoq.processing import watchorder
from hpoq.processing.outcome import (
    as_event_error,
    log_configuration_fault,
    log_operator_needed,
    needs_operator,
)
from hpoq.processing.stop import StopNotes, stop_experiment
from hpoq.processing.watchorder import (
    MOVED,
    UNRANKED_TRIALS,
    CheckAgain,
    CheckResult,
    Ended,
    WatchOrder,
    WatchSchedule,
)

Direction: TypeAlias = Literal["ASC", "DESC"]

DELETED, UNKNOWN = "DELETED", "UNKNOWN"
_DIRECTIONS: dict[str | None, tuple[Direction, ...]] = {
    "maximize": ("DESC",),
    "minimize": ("ASC",),
    None: ("DESC", "ASC"),
}
_PAGE_SIZE = 100
_LONGEST_TEXT = 200
# Six are documented.
_MOST_STATUSES = 20
_MOST_HYPERPARAMETER_BYTES = 16_000
_MOST_SKEW_SECONDS = 3600.0
_LATEST_END_SECONDS = 2 * 86_400.0
_MODE_AT = "/experiment/HpoExperimentConfiguration/yml_config/tuner/class_args/optimize_mode"


@dataclass(frozen=True)
class Watcher:
    """Checks experiments, each at most once per invocation.

    An experiment that is younger than `consistency` seconds may not be found yet. `place` identifies the endpoint and
    the account that `client` calls.
    """

    client: PaiAutoMl
    notes: StopNotes
    clock: Clock
    schedule: WatchSchedule
    consistency: float
    place: str | None = None
    _seen: dict[str, Experiment | CallError] = field(default_factory=dict)

    def check(self, order: WatchOrder, budget: Budget) -> CheckResult:
        """Check the experiment of `order`. Raises StoreError."""
        experiment: Experiment | None = None
        try:
            experiment = self._get(order.experiment_id, budget)
            age = self._find_age(order)
            order = replace(order, last_status=experiment.status or order.last_status, missing_since=None)
            if watchorder.has_ended(experiment):
                return self._describe_end(order, experiment, budget)
            if experiment.deleted:
                return Ended(_describe_unseen(DELETED, order.last_status))
            if age < self.schedule.max_age:
                return self._apply_guard(order, experiment, age, budget)
        except CallError as exc:
            age = self._find_age(order)
            # An error of a later call says nothing about an experiment that was just seen.
            is_missing = experiment is None and isinstance(exc, NotFound) and exc.code == USER_OR_EXPERIMENT
            if is_missing and is_elsewhere(order.place, self.place) and age < self.schedule.max_age:
                log_configuration_fault(MOVED, place=order.place)
                return self._schedule_next(order, MOVED)
            if is_missing and age >= self.consistency and self._is_known_to_service(budget):
                return self._note_missing(order, age, exc)
            # Without an answer only this machine's clock says how old the experiment is, and it may be far ahead: the
            # greatest age is noticed within a day or two.
            is_unanswered = experiment is None and exc.http_status is None
            is_doubtful = is_unanswered and age > self.schedule.max_age + _LATEST_END_SECONDS
            if age < self.schedule.max_age or is_doubtful:
                return self._postpone(order, exc)
        get_logger().error("watch.given-up", experiment_id=order.experiment_id, status=order.last_status)
        if experiment is not None and watchorder.has_ended(experiment):
            # In all that time its trials could not be listed. How it ended is known all the same.
            return self._compose_end(order, experiment, TrialListing(0, is_cut=True))
        return Ended(_describe_unseen(UNKNOWN, order.last_status))

    def _note_missing(self, order: WatchOrder, age: float, exc: CallError) -> CheckResult:
        """Return the end of an experiment that has been missing for the consistency margin, or another check.

        One answer proves nothing: a part of the service may lag behind or fail, or a permission may be gone for a
        minute. The result of an experiment that still runs would be lost.
        """
        now = self.clock.now()
        since = now if order.missing_since is None else order.missing_since
        if abs(now - since) >= self.consistency or age >= self.schedule.max_age:
            return Ended(_describe_unseen(DELETED, order.last_status))
        return self._postpone(replace(order, missing_since=since), exc)

    def _find_age(self, order: WatchOrder) -> float:
        """Return the age of the experiment, by the service's clock if its answer shows that ours is ahead."""
        age = self.client.present_time() - order.created_at
        # A date so long before the creation is wrong. With it, the experiment would be followed forever.
        return age if age > -_MOST_SKEW_SECONDS else self.clock.now() - order.created_at

    def _is_known_to_service(self, budget: Budget) -> bool:
        """Return whether the service knows who asks: its code for a missing experiment also means a wrong user."""
        try:
            self.client.list_hpo_experiments(page_number=1, page_size=1, budget=budget)
        except CallError as exc:
            get_logger().warning("watch.look-failed", error=str(exc))
            return False
        return True

    def _get(self, experiment_id: str, budget: Budget) -> Experiment:
        if experiment_id not in self._seen:
            try:
                self._seen[experiment_id] = self.client.get_hpo_experiment(experiment_id, budget=budget)
            except CallError as exc:
                self._seen[experiment_id] = exc
        found = self._seen[experiment_id]
        if isinstance(found, CallError):
            raise found
        return found

    def _postpone(self, order: WatchOrder, exc: CallError, delay: float | None = None) -> CheckAgain:
        error = replace(as_event_error(exc), retryable=True)
        if needs_operator(exc):
            log_operator_needed(exc, experiment_id=order.experiment_id)
        else:
            get_logger().warning("watch.look-failed", error=str(exc), experiment_id=order.experiment_id)
        return self._schedule_next(order, error, delay)

    def _schedule_next(
        self, order: WatchOrder, error: EventError | None = None, delay: float | None = None
    ) -> CheckAgain:
        """Return the next check, after `delay` seconds or, if that is None, as the age of the experiment says."""
        now = self.clock.now()
        delay = watchorder.plan_delay(order, self.schedule, now) if delay is None else delay
        return CheckAgain(replace(order, next_at=now + delay), delay, error)

    def _apply_guard(
        self, order: WatchOrder, experiment: Experiment, age: float, budget: Budget
    ) -> CheckAgain:
        """Stop the experiment if a limit is reached. Raises CallError, StoreError."""
        guard = order.guard
        if guard is None or experiment.status == watchorder.STOPPING:
            return self._schedule_next(order)
        failed = watchorder.count_failed(experiment)
        # What needs no other call comes first: a call that fails must not hide a limit that is reached.
        limit = watchorder.find_reached_limit(guard, order.mode, age, failed, None)
        if limit is None and experiment.trials is None and guard.max_failed_trials is not None:
            listing = self._list(experiment, "DESC", budget)
            failed = sum(trial.status == "FAILED" for trial in listing.by_id.values())
            limit = watchorder.find_reached_limit(guard, order.mode, age, failed, None)
        if limit is None and guard.target_metric is not None:
            best = self._find_best_metric(order, experiment, budget)
            limit = watchorder.find_reached_limit(guard, order.mode, age, failed, best)
        if limit is None:
            return self._schedule_next(order)
        get_logger().warning("guard.stopped", experiment_id=order.experiment_id, limit=limit)
        try:
            status = stop_experiment(self.client, self.notes, order.experiment_id, f"guard:{limit}", budget)
            if isinstance(status, Answered):
                raise status
        except (NotSent, Throttled, UnknownEnd) as exc:
            # Soon, because until it is stopped it costs what its guard forbids.
            return self._postpone(order, exc, self.schedule.min_seconds)
        order = replace(order, last_status=status or order.last_status)
        return self._schedule_next(order, delay=self.schedule.min_seconds)

    def _find_best_metric(self, order: WatchOrder, experiment: Experiment, budget: Budget) -> float | None:
        direction: Direction = "ASC" if order.mode == "minimize" else "DESC"
        page = self._read_page(order.experiment_id, 1, direction, budget)
        trials = page.trials
        if len(trials) >= _PAGE_SIZE and not _leads_with_best(trials, direction):
            trials = tuple(self._list(experiment, direction, budget).by_id.values())
        best = _choose_best(trials, order.mode)
        return None if best is None else best.metric

    def _describe_end(self, order: WatchOrder, experiment: Experiment, budget: Budget) -> Ended:
        """Return the result of an experiment that has ended. Raises CallError, StoreError."""
        first, *others = _DIRECTIONS[order.mode]
        listing = self._list(experiment, first, budget)
        for other in others:
            listing.add(self._read_page(order.experiment_id, 1, other, budget))
        return self._compose_end(order, experiment, listing)

    def _compose_end(self, order: WatchOrder, experiment: Experiment, listing: TrialListing) -> Ended:
        """Return the result of an experiment that has ended, with the trials of `listing`. Raises StoreError."""
        warnings: list[Violation] = []
        if not listing.is_complete:
            most = max(listing.counted, len(listing.by_id))
            shown = f"{len(listing.by_id)} of {most} trials are listed; the best may be another one"
            what = shown if most else "the trials could not be listed"
            warnings.append(Violation("", "trials.incomplete", what))
        own: JsonObject = {"status": experiment.status}
        own |= _describe_best(order.mode, tuple(listing.by_id.values()), warnings)
        own["trials"] = _count_by_status(listing.by_id.values())
        for name, moment in (("startedAt", experiment.created_at), ("endedAt", experiment.modified_at)):
            if moment is not None:
                own[name] = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        if experiment.status in watchorder.CANCELED:
            own |= _describe_stop(self.notes.find(order.experiment_id))
        return Ended(own, tuple(warnings))

    def _list(self, experiment: Experiment, order: Direction, budget: Budget) -> TrialListing:
        """Return the trials, or as many as there is time for: the sorted first page has the best one.

        A third of the time is kept for the calls that follow.
        """
        counts = experiment.trials
        reserve = budget.seconds_left() / 3
        return read_all_trials(
            lambda number: self._read_page(experiment.experiment_id, number, order, budget),
            _PAGE_SIZE,
            None if counts is None else sum(count for _, count in counts),
            lambda: budget.seconds_left() > reserve,
        )

    def _read_page(self, experiment_id: str, number: int, order: Direction, budget: Budget) -> TrialPage:
        """Return a page sorted by the final metric, or unsorted if the service refuses to sort."""
        try:
            return self.client.list_hpo_trials(
                experiment_id, page_number=number, page_size=_PAGE_SIZE, order=order, budget=budget
            )
        except Invalid:
            return self.client.list_hpo_trials(
                experiment_id, page_number=number, page_size=_PAGE_SIZE, budget=budget
            )


def _describe_unseen(status: str, last_status: str | None) -> JsonObject:
    own: JsonObject = {"status": status, "trials": {}}
    return own if last_status is None else {**own, "lastStatus": last_status[:_LONGEST_TEXT]}


def _choose_best(trials: tuple[Trial, ...], mode: str | None) -> Trial | None:
    """Return the trial with the best final metric; of equal ones the first by id."""
    sign = 1 if mode == "minimize" else -1
    measured = [
        (sign * trial.metric, trial.trial_id, trial)
        for trial in trials
        if trial.metric is not None and trial.status not in UNRANKED_TRIALS
    ]
    return min(measured, key=lambda one: one[:2])[2] if measured else None


def _leads_with_best(trials: tuple[Trial, ...], direction: Direction) -> bool:
    """Return whether the first page of trials shows the best one, because it is visibly sorted.

    The service may ignore the order, and where it puts trials without a metric is not documented.
    """
    metrics = [
        trial.metric for trial in trials if trial.metric is not None and trial.status not in UNRANKED_TRIALS
    ]
    is_sorted = metrics == sorted(metrics, reverse=direction == "DESC")
    return is_sorted and len(set(metrics)) > 1


def _describe_best(mode: str | None, trials: tuple[Trial, ...], warnings: list[Violation]) -> JsonObject:
    """Return the best trial, or two if the direction is not stated and makes a difference."""
    if mode is not None:
        best = _choose_best(trials, mode)
        return {} if best is None else {"bestTrial": _describe_trial(best, warnings)}
    highest, lowest = _choose_best(trials, "maximize"), _choose_best(trials, "minimize")
    if highest is None or lowest is None:
        return {}
    if highest.metric == lowest.metric:
        return {"bestTrial": _describe_trial(highest, warnings)}
    what = "neither tuner nor assessor states optimize_mode, so the best trial is given for either direction"
    warnings.append(Violation(_MODE_AT, "best-trial.ambiguous", what))
    by_mode: JsonObject = {
        "maximize": _describe_trial(highest, warnings),
        "minimize": _describe_trial(lowest, warnings),
    }
    return {"bestTrialByMode": by_mode}


def _describe_trial(trial: Trial, warnings: list[Violation]) -> JsonObject:
    described: JsonObject = {"trialId": trial.trial_id[:_LONGEST_TEXT], "metric": trial.metric}
    if trial.hyperparameters is None:
        return described
    text = json.dumps(trial.hyperparameters)
    if len(text) > _MOST_HYPERPARAMETER_BYTES:
        what = f"the hyperparameters of {trial.trial_id[:_LONGEST_TEXT]} are too large for an event; list the trial"
        warnings.append(Violation("", "best-trial.too-large", what))
        return described
    try:
        # What is not a finite number is shown as text (`NaN`): JSON has no other form for it.
        shown: JsonObject = json.loads(redact(text, find_secrets(trial.hyperparameters)), parse_constant=str)
    except ValueError:
        return described
    return {**described, "hyperparameters": shown}


def _count_by_status(trials: Iterable[Trial]) -> JsonObject:
    """Return the number of trials of each status, the rarest together, so that they fit into an event."""
    counts = Counter(trial.status[:_LONGEST_TEXT] for trial in trials)
    shown = dict(counts.most_common(_MOST_STATUSES))
    others = sum(counts.values()) - sum(shown.values())
    return {**shown, "OTHER": others + shown.get("OTHER", 0)} if others else {**shown}


def _describe_stop(note: str | None) -> JsonObject:
    if note is None:
        return {}
    by, _, limit = note.partition(":")
    return {"stoppedBy": by, **({"limit": limit} if limit else {})}
