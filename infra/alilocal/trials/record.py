"""The record of an experiment's run: its statuses, its trials and its log. Snapshots keep it; it has no thread."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from alilocal.core.jsonvalue import JsonObject

Status = Literal[
    "WAITING", "RUNNING", "SUCCEEDED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED"
]
TERMINAL = frozenset(
    {"FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL"}
)
"""The statuses in which an experiment has ended."""
_MOST_ROWS = 2000
_KILLED_BY_SHELL = 128


class Refused(Exception):
    """An experiment asks for something that cannot run here; the text says what, and what to do."""


@dataclass
class CommandRecord:
    """A command of a trial as it was run. `code` is the exit status, negative for a signal, None while it runs."""

    text: str
    began: float
    ended: float | None = None
    code: int | None = None
    dropped: int = 0
    """How many bytes of its output were not kept."""

    @property
    def outcome(self) -> str:
        """How the command ended, in words."""
        if self.code is None:
            return "is running" if self.ended is None else "was ended"
        if self.code < 0:
            return f"ended by {_signal_name(-self.code)}"
        hint = (
            f", as after {_signal_name(self.code - _KILLED_BY_SHELL)}" if self.code > _KILLED_BY_SHELL else ""
        )
        return f"exit status {self.code}{hint}"


@dataclass
class TrialRecord:
    """A trial that runs or ran here. Times are in seconds since the epoch; `since` is when the status began.

    `reason` says why it did not succeed. `choices` are those behind its hyperparameters, for the tuner.
    """

    trial_id: str
    sequence: int
    experiment_id: str
    hyperparameters: JsonObject
    created: float
    status: Status
    since: float
    reason: str = ""
    began: float | None = None
    is_rerun: bool = False
    choices: dict[str, float] = field(default_factory=dict, repr=False)
    metrics: list[JsonObject] = field(default_factory=list, repr=False)
    commands: list[CommandRecord] = field(default_factory=list, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether the trial has ended."""
        return self.status not in ("WAITING", "RUNNING")

    @property
    def final(self) -> float | None:
        """The final metric, or None if there is none."""
        value = self.metrics[-1].get("default") if self.metrics else None
        is_final = bool(self.metrics) and self.metrics[-1].get("type") == "FINAL"
        return float(value) if is_final and isinstance(value, (int, float)) else None

    @property
    def seconds(self) -> float | None:
        """How long it ran, or None if it did not begin or has not ended."""
        return self.since - self.began if self.began is not None and self.is_over else None

    def add_row(self, row: JsonObject) -> None:
        """Add metrics; of very many, every second row is forgotten."""
        if len(self.metrics) >= _MOST_ROWS:
            del self.metrics[::2]
        self.metrics.append(row)


@dataclass
class Run:
    """What happened to an experiment whose trials run here. `maximize` says which metric is the best one."""

    statuses: list[tuple[float, str]]
    trials: list[TrialRecord] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)
    maximize: bool = False
    folder: str = ""

    @property
    def status(self) -> str:
        """The present status."""
        return self.statuses[-1][1]

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best final metric, the earliest of several, or None."""
        found = [one for one in self.trials if one.final is not None and one.status == "SUCCEEDED"]
        sign = 1 if self.maximize else -1
        return max(found, key=lambda one: sign * (one.final or 0.0)) if found else None

    def note(self, moment: float, text: str) -> None:
        """Add a line to the log."""
        self.log.append((moment, text))

    def enter(self, moment: float, status: str) -> None:
        """Begin a status."""
        self.statuses.append((moment, status))


class Subject(Protocol):
    """An experiment as its engine knows it."""

    experiment_id: str
    configuration: JsonObject
    run: Run | None


class TrialEngine(Protocol):
    """What an experiment asks of the engine that runs its trials; see `engine.py`."""

    def folder(self) -> Path:
        """Return the folder of all trials' files."""

    def start(self, subject: Subject) -> None:
        """Run an experiment, unless it is to be simulated."""

    def stop(self, subject: Subject) -> None:
        """Stop an experiment that has not ended."""

    def fail(self, subject: Subject, status: str) -> None:
        """End an experiment that has not ended with `status`, such as FAILED."""

    def end_trial(self, subject: Subject, sequence: int, status: Status, reason: str) -> bool:
        """End a trial with `status`, and return False unless it waits or runs."""

    def rerun(self, subject: Subject, values: JsonObject) -> bool:
        """Add a trial with hyperparameters, and return False unless the experiment runs."""

    def update(self, subject: Subject) -> None:
        """Apply a new configuration to the trials that start from now on."""


def cut_off(run: Run, moment: float, status: str, reason: str) -> None:
    """End a run that no engine continues."""
    cut: Status = "USER_CANCELED" if status == "USER_CANCELED" else "SYS_CANCELED"
    for trial in run.trials:
        if not trial.is_over:
            trial.status, trial.since, trial.reason = cut, moment, reason
    run.note(moment, reason)
    run.enter(moment, status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
