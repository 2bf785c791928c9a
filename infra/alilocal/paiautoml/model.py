"""Experiments, and the store that holds them.

The status of a simulated experiment is a function of time: no thread moves it. An experiment whose trials run on this
machine has a `run`, which its engine moves (`alilocal.trials`). Statuses:
https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpoexperiments. Their
timing is undocumented.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.snapshot import TRANSIENT
from alilocal.core.world import World
from alilocal.paiautoml.errors import NoSuchExperiment
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.paiautoml.trials import Course, Rerun, Trial, TrialStatus
from alilocal.trials.record import TERMINAL, Run, TrialEngine, TrialRecord

Walk = tuple[tuple[float, str], ...]

WALK: Walk = ((0, "CREATED"), (2, "WAITING"), (5, "RUNNING"), (60, "FINISHED"))
"""The statuses of an experiment that runs to its end, each with its start in seconds since the creation."""
STOP: Walk = ((0, "TERMINATING"), (3, "USER_CANCELED"))
"""The statuses after a stop, each with its start in seconds since the stop."""
RUNS_AFTER, ENDS_AFTER = WALK[-2][0], WALK[-1][0]
"""Seconds from the creation to the start of the run, and to its end."""


def statuses(
    created: float, stopped: float | None, failed: float | None, failed_as: str
) -> list[tuple[float, str]]:
    """Return all statuses of an experiment, past and future, each with its start in seconds since the epoch.

    `failed_as` is the status since `failed`.
    """
    failure: Walk = ((0, failed_as),)
    ends = [(moment, walk) for moment, walk in ((stopped, STOP), (failed, failure)) if moment is not None]
    found = [(created + after, status) for after, status in WALK]
    for start, walk in sorted(ends):
        found = [one for one in found if one[0] <= start]
        found += [(start + after, status) for after, status in walk]
    return found


Tags = tuple[tuple[str, str], ...]
AnyTrial = Trial | TrialRecord
"""A simulated trial, or one that runs on this machine."""


@dataclass(frozen=True)
class Draft:
    """The validated body of CreateHpoExperiment."""

    name: str | None
    description: str | None
    workspace_id: str | None
    accessibility: str
    tags: Tags
    configuration: JsonObject = field(repr=False)


@dataclass(frozen=True)
class Update:
    """The validated body of UpdateHpoExperiment. Members that are None stay as they are."""

    name: str | None
    description: str | None
    workspace_id: str | None
    accessibility: str | None
    tags: Tags | None
    configuration: JsonObject | None = field(repr=False)


@dataclass(eq=False)
class Experiment:
    """One experiment. Times are in seconds since the epoch; `creator` is a user id.

    `configuration` is as sent, secrets included. `earlier` holds the configurations before it, each with the time
    from which it applied. `trial_stops` and `trial_failures` are keyed by the trials' sequence numbers. `run` is None
    if the trials are simulated.
    """

    experiment_id: str
    name: str | None
    description: str | None
    workspace_id: str | None
    accessibility: str
    tags: Tags
    configuration: JsonObject = field(repr=False)
    creator: str
    gmt_create_time: float
    clock: CloudClock = field(repr=False, metadata=TRANSIENT)
    stopped_at: float | None = None
    failed_at: float | None = None
    failed_as: str = "FAILED"
    updated_at: float = 0.0
    configured_at: float = 0.0
    deleted: bool = False
    earlier: list[tuple[float, JsonObject]] = field(default_factory=list, repr=False)
    trial_stops: dict[int, float] = field(default_factory=dict, repr=False)
    trial_failures: dict[int, float] = field(default_factory=dict, repr=False)
    reruns: list[Rerun] = field(default_factory=list, repr=False)
    run: Run | None = field(default=None, repr=False)
    engine: TrialEngine | None = field(default=None, repr=False, metadata=TRANSIENT)

    @property
    def status(self) -> str:
        """The status at the cloud's present time."""
        return self.statuses[-1][1]

    @property
    def gmt_modified_time(self) -> float:
        """The time at which the present status began or the last update was made, whichever is later."""
        return max(self.statuses[-1][0], self.updated_at)

    @property
    def statuses(self) -> list[tuple[float, str]]:
        """The statuses up to now, each with its start; the first one also if the clock was set back before it."""
        if self.run is not None:
            return list(self.run.statuses)
        now = self.clock.now()
        every = statuses(self.gmt_create_time, self.stopped_at, self.failed_at, self.failed_as)
        return [one for one in every if one[0] <= now] or every[:1]

    @property
    def trials(self) -> Sequence[AnyTrial]:
        """The trials at the cloud's present time, oldest first."""
        if self.run is not None:
            return list(self.run.trials)
        due = self.gmt_create_time + ENDS_AFTER
        cut: TrialStatus | None = None
        ends = due
        if self.failed_at is not None:
            ends, cut = self.failed_at, "SYS_CANCELED"
        if self.stopped_at is not None and self.stopped_at < ends:
            ends, cut = self.stopped_at, "USER_CANCELED"
        course = Course(
            self.experiment_id,
            self.gmt_create_time + RUNS_AFTER,
            ends,
            cut,
            (*self.earlier, (self.configured_at, self.configuration)),
            self.trial_stops,
            self.trial_failures,
            tuple(self.reruns),
            due,
        )
        return course.at(self.clock.now())

    def stop(self) -> None:
        """Stop the experiment; nothing happens if it has ended or is being stopped."""
        if self.run is not None and self.engine is not None:
            self.engine.stop(self)
        elif self.stopped_at is None and self.status not in TERMINAL:
            self.stopped_at = self.clock.now()

    def fail(self, status: str = "FAILED") -> None:
        """End the experiment now, with `status`; nothing happens if it has ended or is being stopped."""
        if self.run is not None and self.engine is not None:
            self.engine.fail(self, status)
        elif self.stopped_at is None and self.status not in TERMINAL:
            self.failed_at, self.failed_as = self.clock.now(), status

    def fail_trial(self, sequence: int) -> None:
        """Make the trial with that sequence number fail now; nothing happens unless it waits or runs."""
        if self.run is not None and self.engine is not None:
            self.engine.end_trial(self, sequence, "FAILED", "It was set to fail.")
        else:
            self._end_trial(sequence, self.trial_failures)

    def stop_trial(self, sequence: int) -> bool:
        """Cancel the trial with that sequence number, and return False unless it waits or runs."""
        if self.run is not None and self.engine is not None:
            return self.engine.end_trial(self, sequence, "USER_CANCELED", "It was stopped.")
        return self._end_trial(sequence, self.trial_stops)

    def rerun(self, hyperparameters: JsonObject) -> bool:
        """Add a trial with `hyperparameters`, and return False unless the experiment runs."""
        if self.run is not None and self.engine is not None:
            return self.engine.rerun(self, hyperparameters)
        if self.status != "RUNNING":
            return False
        self.reruns.append(Rerun(self.clock.now(), len(self.earlier), hyperparameters))
        return True

    def update(self, update: Update) -> None:
        """Change the members that `update` names. A new configuration applies to trials that start from now on."""
        self.updated_at = self.clock.now()
        for name, value in vars(update).items():
            if value is not None and name != "configuration":
                setattr(self, name, value)
        if update.configuration is not None:
            self.earlier.append((self.configured_at, self.configuration))
            self.configuration, self.configured_at = update.configuration, self.updated_at
            if self.engine is not None:
                self.engine.update(self)

    def _end_trial(self, sequence: int, ends: dict[int, float]) -> bool:
        trial = next((one for one in self.trials if one.sequence == sequence), None)
        if trial is None or trial.status not in ("WAITING", "RUNNING"):
            return False
        ends[sequence] = self.clock.now()
        return True


@dataclass
class Account:
    """The account's part of the state: whether the service-linked role was created."""

    has_role: bool = False


class Experiments:
    """All experiments of a cloud, deleted ones included."""

    def __init__(self, world: World[PaiAutoMlSwitches]) -> None:
        self._world = world
        self._by_id: dict[str, Experiment] = {}
        self.engine: TrialEngine | None = None
        """Runs the trials of new experiments, unless they are simulated."""

    def list(self) -> Sequence[Experiment]:
        """Return all experiments, oldest first."""
        return list(self._by_id.values())

    def restore(self, experiments: Sequence[Experiment]) -> None:
        """Replace all experiments."""
        self._by_id = {experiment.experiment_id: experiment for experiment in experiments}

    def create(self, draft: Draft, creator: str) -> Experiment:
        """Add an experiment with a new id."""
        experiment_id = self._world.ids.experiment_id()
        while experiment_id in self._by_id:
            experiment_id = self._world.ids.experiment_id()
        experiment = Experiment(
            experiment_id,
            draft.name,
            draft.description,
            draft.workspace_id,
            draft.accessibility,
            draft.tags,
            draft.configuration,
            creator,
            self._world.clock.now(),
            self._world.clock,
            engine=self.engine,
        )
        self._by_id[experiment_id] = experiment
        if self.engine is not None:
            self.engine.start(experiment)
        return experiment

    def visible(self, caller: Credential) -> Sequence[Experiment]:
        """Return the experiments that `caller` can see: not deleted, not private to someone else, not too new."""
        return [*filter(self._make_visibility_check(caller), self._by_id.values())]

    def find(self, experiment_id: str, caller: Credential) -> Experiment:
        """Return the experiment with that id; raises NoSuchExperiment if `caller` cannot see it."""
        experiment = self._by_id.get(experiment_id)
        if experiment is None or not self._make_visibility_check(caller)(experiment):
            raise NoSuchExperiment(experiment_id)
        return experiment

    def _make_visibility_check(self, caller: Credential) -> Callable[[Experiment], bool]:
        """Return a function that returns whether `caller` can see an experiment now."""
        newest = self._world.clock.now() - self._world.behaviour.list_lag_seconds
        sees_all, user_id = caller.admin, caller.user_id
        return lambda experiment: (
            not experiment.deleted
            and experiment.gmt_create_time <= newest
            and (sees_all or experiment.accessibility == "PUBLIC" or experiment.creator == user_id)
        )
