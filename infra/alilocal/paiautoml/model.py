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
from alilocal.paiautoml.lifecycle import TERMINAL, status_at

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


@dataclass(eq=False)
class Experiment:
    """One experiment. Times are in seconds since the epoch; `creator` is a user id.

    `configuration` is as sent, secrets included.
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
    deleted: bool = False

    @property
    def status(self) -> str:
        """The status at the cloud's present time."""
        return self._state()[0]

    @property
    def gmt_modified_time(self) -> float:
        """When the present status began."""
        return self._state()[1]

    def stop(self) -> None:
        """End it, unless it has ended or is about to."""
        if self.stopped_at is None and self.status not in TERMINAL:
            self.stopped_at = self.clock.now()

    def _state(self) -> tuple[str, float]:
        return status_at(self.clock.now(), self.gmt_create_time, self.stopped_at)


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
