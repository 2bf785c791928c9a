"""The trials of a simulated experiment, as a function of time: no thread moves them.

A running experiment starts trials in rounds of `trial_concurrency` until there are `max_trial_number`, and all of
them have ended when it ends. Statuses:
https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotrials. Their timing is
undocumented.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Literal

from alilocal.core.ids import ALPHANUMERIC
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.trials.space import sample

TrialStatus = Literal["WAITING", "RUNNING", "SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED"]
SECONDS = 10.0
"""The longest duration of a trial."""
_WAITS = 0.1
_MOST = 1000
_DEFAULT_NUMBER, _DEFAULT_CONCURRENCY = 10, 2


@dataclass(frozen=True)
class Rerun:
    """A trial that RestartHpoTrials added after `updates` updates of the configuration."""

    created: float
    updates: int
    hyperparameters: JsonObject


@dataclass(frozen=True)
class Trial:
    """One trial at one moment. Times are in seconds since the epoch; `since` is when the status began.

    `given` are the hyperparameters of a repeated trial, or None for those that are sampled.
    """

    sequence: int
    experiment_id: str
    given: JsonObject | None
    configuration: JsonObject
    created: float
    status: TrialStatus
    since: float

    # A listing of experiments only counts trials, so what takes time is computed when it is asked for.
    @cached_property
    def trial_id(self) -> str:
        """The id, which is the same at any moment."""
        return "".join(_chance(self.experiment_id, self.sequence, "id").choices(ALPHANUMERIC, k=6))

    @cached_property
    def hyperparameters(self) -> JsonObject:
        """The hyperparameters, which are the same at any moment."""
        if self.given is not None:
            return self.given
        return sample(self.configuration.get("search_space"), f"{self.experiment_id}/{self.sequence}")

    @property
    def metrics(self) -> list[JsonObject]:
        """The metrics that the trial has reported: one row while it runs, and a final one once it has succeeded."""
        if self.status == "WAITING":
            return []
        chance = _chance(self.experiment_id, self.sequence, "metrics")
        rows = [self._row("PERIODICAL", chance), self._row("FINAL", chance)]
        return rows if self.status == "SUCCEEDED" else rows[:1]

    def _row(self, kind: str, chance: random.Random) -> JsonObject:
        weights = _weights(self.configuration)
        values = {name: round(chance.random(), 4) for name in weights}
        default = round(sum(weights[name] * value for name, value in values.items()), 4)
        return {"default": default, **values, "type": kind}


@dataclass(frozen=True)
class Course:
    """The facts that determine an experiment's trials: its times, and the calls that changed it.

    `configurations` are the successive configurations, each with its start. `stops` and `failures` are the times at
    which trials ended early, by sequence number. `due` is when the experiment would end by itself, `ends` when it
    really ends. `cut` is the status in which trials end that are still running then, or None if none are.
    """

    experiment_id: str
    begins: float
    ends: float
    cut: TrialStatus | None
    configurations: tuple[tuple[float, JsonObject], ...]
    stops: Mapping[int, float]
    failures: Mapping[int, float]
    reruns: tuple[Rerun, ...]
    due: float

    def at(self, now: float) -> list[Trial]:
        """Return the trials at `now`, oldest first."""
        return [self._trial(now, *plan) for plan in self._plans() if plan[1] <= min(now, self.ends)]

    def _plans(self) -> Iterator[tuple[int, float, float, JsonObject, JsonObject | None]]:
        """Yield sequence number, start, planned end, configuration and given hyperparameters of each trial."""
        sequence, start = 0, self.begins
        while sequence < _MOST and start < self.due and start <= self.ends:
            # An update does not affect trials that have started before it.
            configuration = [one for since, one in self.configurations if since < start][-1]
            number = min(_number(configuration, "max_trial_number", _DEFAULT_NUMBER), _MOST)
            at_once = min(_number(configuration, "trial_concurrency", _DEFAULT_CONCURRENCY), _MOST)
            if sequence >= number:
                break
            rounds = ceil((number - sequence) / at_once)
            end = start + min(SECONDS, (self.due - start) / rounds)
            for _ in range(min(at_once, number - sequence)):
                yield sequence, start, end, configuration, None
                sequence += 1
            start = end
        for number, rerun in enumerate(self.reruns, _MOST):
            end = min(rerun.created + SECONDS, self.due)
            configuration = self.configurations[rerun.updates][1]
            yield number, rerun.created, end, configuration, rerun.hyperparameters

    def _trial(
        self,
        now: float,
        sequence: int,
        start: float,
        end: float,
        configuration: JsonObject,
        given: JsonObject | None,
    ) -> Trial:
        # `min` returns the first of several equal times, so the order decides which end wins.
        moments: list[tuple[float, TrialStatus]] = []
        if sequence in self.stops:
            moments.append((self.stops[sequence], "USER_CANCELED"))
        if sequence in self.failures:
            moments.append((self.failures[sequence], "FAILED"))
        moments.append((end, "SUCCEEDED"))
        if self.cut is not None:
            moments.append((self.ends, self.cut))
        ended, how = min(moments, key=lambda one: one[0])
        runs = start + (end - start) * _WAITS
        since, status = next(
            (moment, status)
            for moment, status in ((ended, how), (runs, "RUNNING"), (start, "WAITING"))
            if moment <= now and (moment <= ended)
        )
        return Trial(sequence, self.experiment_id, given, configuration, start, status, since)


def _chance(experiment_id: str, sequence: int, what: str) -> random.Random:
    return random.Random(f"{experiment_id}/{sequence}/{what}")  # noqa: S311 - repeatable on purpose


def _number(configuration: JsonObject, name: str, default: int) -> int:
    section = configuration.get("yml_config")
    value = section.get(name) if isinstance(section, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _weights(configuration: JsonObject) -> dict[str, float]:
    section = configuration.get("metric_config")
    weights = section.get("metric_dict") if isinstance(section, dict) else None
    return {name: _weight(value) for name, value in weights.items()} if isinstance(weights, dict) else {}


def _weight(value: JsonValue) -> float:
    try:
        return float(value) if isinstance(value, (int, float, str)) else 1.0
    except ValueError:
        return 1.0
