"""Experiments and the store that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.snapshot import TRANSIENT
from alilocal.core.world import World
from alilocal.paiautoml.errors import NoSuchExperiment
from alilocal.paiautoml.lifecycle import ENDS_AFTER, RUNS_AFTER, TERMINAL, status_at, statuses
from alilocal.paiautoml.trials import Course, Rerun, Trial, TrialStatus

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Draft:
    """What a create asks for, validated."""

    name: str | None
    description: str | None
    workspace_id: str | None
    accessibility: str
    tags: Tags
    configuration: JsonObject = field(repr=False)


@dataclass(frozen=True)
class Update:
    """What an update changes, validated; None stays as it is."""

    name: str | None
    description: str | None
    workspace_id: str | None
    accessibility: str | None
    tags: Tags | None
    configuration: JsonObject | None = field(repr=False)


@dataclass(eq=False)
class Experiment:
    """One experiment. Times are in seconds since the epoch; `creator` is a user id.

    `configuration` is as sent, secrets included; `earlier` are those before it, each with the moment since which
    it was in force. Trials are known by their sequence number where the cloud's history is kept.
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
    updated_at: float = 0.0
    configured_at: float = 0.0
    deleted: bool = False
    earlier: list[tuple[float, JsonObject]] = field(default_factory=list, repr=False)
    trial_stops: dict[int, float] = field(default_factory=dict, repr=False)
    trial_failures: dict[int, float] = field(default_factory=dict, repr=False)
    reruns: list[Rerun] = field(default_factory=list, repr=False)

    @property
    def status(self) -> str:
        """The status at the cloud's present time."""
        return self._state()[0]

    @property
    def gmt_modified_time(self) -> float:
        """When the present status began, or the last update was made."""
        return max(self._state()[1], self.updated_at)

    @property
    def statuses(self) -> list[tuple[float, str]]:
        """The statuses it has had, each with its moment."""
        now = self.clock.now()
        return [
            one for one in statuses(self.gmt_create_time, self.stopped_at, self.failed_at) if one[0] <= now
        ]

    @property
    def trials(self) -> list[Trial]:
        """The trials there are at the cloud's present time, oldest first."""
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

    def fail(self) -> None:
        """Let it end as failed, unless it has ended or is about to."""
        if self.stopped_at is None and self.status not in TERMINAL:
            self.failed_at = self.clock.now()

    def fail_trial(self, sequence: int) -> None:
        """Let the trial of that number fail now; nothing happens if it does not run."""
        self._end_trial(sequence, self.trial_failures)

    def stop_trial(self, sequence: int) -> bool:
        """Cancel the trial of that number; False if it does not run or wait."""
        return self._end_trial(sequence, self.trial_stops)

    def rerun(self, hyperparameters: JsonObject) -> bool:
        """Have a new trial with `hyperparameters`; False unless the experiment runs."""
        if self.status != "RUNNING":
            return False
        self.reruns.append(Rerun(self.clock.now(), len(self.earlier), hyperparameters))
        return True

    def update(self, update: Update) -> None:
        """Change what `update` names; trials made from now on have its configuration."""
        self.updated_at = self.clock.now()
        for name, value in vars(update).items():
            if value is not None and name != "configuration":
                setattr(self, name, value)
        if update.configuration is not None:
            self.earlier.append((self.configured_at, self.configuration))
            self.configuration, self.configured_at = update.configuration, self.updated_at

    def _end_trial(self, sequence: int, ends: dict[int, float]) -> bool:
        trial = next((one for one in self.trials if one.sequence == sequence), None)
        if trial is None or trial.status not in ("WAITING", "RUNNING"):
            return False
        ends[sequence] = self.clock.now()
        return True

    def stop(self) -> None:
        """End it, unless it has ended or is about to."""
        if self.stopped_at is None and self.status not in TERMINAL:
            self.stopped_at = self.clock.now()

    def _state(self) -> tuple[str, float]:
        return status_at(self.clock.now(), self.gmt_create_time, self.stopped_at, self.failed_at)


class Experiments:
    """Every experiment of a cloud, deleted ones included."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id: dict[str, Experiment] = {}

    def all(self) -> list[Experiment]:
        """Oldest first, whoever asks."""
        return list(self._by_id.values())

    def restore(self, experiments: Sequence[Experiment]) -> None:
        """Have `experiments`, and no other."""
        self._by_id = {experiment.experiment_id: experiment for experiment in experiments}

    def create(self, draft: Draft, creator: str) -> Experiment:
        """Add what `draft` asks for, under a new id."""
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
        )
        self._by_id[experiment_id] = experiment
        return experiment

    def visible(self, caller: Credential) -> list[Experiment]:
        """Those that `caller` sees now: neither deleted, nor another's private ones, nor too new."""
        return [experiment for experiment in self._by_id.values() if self._sees(caller, experiment)]

    def find(self, experiment_id: str, caller: Credential) -> Experiment:
        """The one of that id; raises NoSuchExperiment if `caller` does not see it."""
        experiment = self._by_id.get(experiment_id)
        if experiment is None or not self._sees(caller, experiment):
            raise NoSuchExperiment(experiment_id)
        return experiment

    def _sees(self, caller: Credential, experiment: Experiment) -> bool:
        newest = self._world.clock.now() - self._world.behaviour.list_lag_seconds
        if experiment.deleted or experiment.gmt_create_time > newest:
            return False
        return experiment.accessibility == "PUBLIC" or caller.admin or experiment.creator == caller.user_id
