"""The logs of experiments and trials, and the commands that trials ran.

Names of logs: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotriallogs
and ...-listhpoexperimentlogs. Those of simulated trials are derived from the same facts as everything else, and their
texts are invented here in the style of NNI; those of trials that run here are in `alilocal.trials.logs`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.jsonvalue import JsonValue
from alilocal.paiautoml.model import AnyTrial, Experiment
from alilocal.paiautoml.trials import Trial
from alilocal.paiautoml.wire import mask_text
from alilocal.trials import logs
from alilocal.trials.filling import fill
from alilocal.trials.logs import log_line
from alilocal.trials.record import TrialRecord

EXPERIMENT_LOGS = ("nnimanager.log", "dispatcher.log")
TRIAL_LOGS = ("stdout", "stderr", "trial.log")


@dataclass(frozen=True)
class Command:
    """A command of a trial with its hyperparameters filled in; `number` counts from 1."""

    number: int
    text: str
    output: str


def read_commands(experiment: Experiment, trial: AnyTrial) -> list[Command]:
    """Return the commands of a trial, without the secrets of its configuration; none while it waits."""
    if not isinstance(trial, TrialRecord):
        return _simulated_commands(trial)
    ran = logs.command_outputs(trial, _folder(experiment, trial))
    return [Command(number, text, _mask(experiment, output)) for number, (text, output) in enumerate(ran, 1)]


def experiment_log(experiment: Experiment, name: str) -> list[str]:
    """Return the lines of an experiment's log."""
    if experiment.run is not None:
        return logs.experiment_log(name, experiment.run)
    trials = [one for one in experiment.trials if isinstance(one, Trial)]
    return _simulated_experiment_log(name, trials, experiment.statuses)


def trial_log(experiment: Experiment, name: str, trial: AnyTrial) -> list[str]:
    """Return the lines of a trial's log, without the secrets of the experiment's configuration."""
    if not isinstance(trial, TrialRecord):
        return _simulated_trial_log(name, trial)
    lines = logs.trial_log(name, trial, _folder(experiment, trial))
    return _mask(experiment, "\n".join(lines)).split("\n") if lines else []


def _folder(experiment: Experiment, trial: TrialRecord) -> Path:
    base = experiment.engine.folder() if experiment.engine is not None else Path()
    return base / experiment.experiment_id / trial.trial_id


def _mask(experiment: Experiment, text: str) -> str:
    for configuration in (experiment.configuration, *(one for _, one in experiment.earlier)):
        text = mask_text(configuration, text)
    return text


def _simulated_commands(trial: Trial) -> list[Command]:
    section = trial.configuration.get("platform_config")
    given = section.get("cmd") if isinstance(section, dict) else None
    if trial.status == "WAITING" or not isinstance(given, list):
        return []
    return [
        Command(number, _fill_in(text, trial), _output(text, trial))
        for number, text in enumerate(given, 1)
        if isinstance(text, str)
    ]


def _simulated_experiment_log(
    name: str, trials: Sequence[Trial], statuses: Sequence[tuple[float, str]]
) -> list[str]:
    lines = [(moment, f"(NNIManager) Change NNIManager status to {status}") for moment, status in statuses]
    if name == "dispatcher.log":
        lines = [
            (
                trial.created,
                f"(dispatcher) Generated parameters {trial.sequence}: {_json(trial.hyperparameters)}",
            )
            for trial in trials
        ]
    else:
        for trial in trials:
            lines.append((trial.created, f"(NNIManager) Submitted training job {trial.trial_id}"))
            lines.append((trial.since, f"(NNIManager) Trial job {trial.trial_id} status: {trial.status}"))
    return [log_line(moment, text) for moment, text in sorted(lines)]


def _simulated_trial_log(name: str, trial: Trial) -> list[str]:
    if name == "stderr":
        return [f"trial {trial.trial_id} failed"] if trial.status == "FAILED" else []
    ran = _simulated_commands(trial)
    if name == "stdout":
        return [line for command in ran for line in (f"$ {command.text}", command.output)]
    lines = [log_line(trial.created, f"(trial) parameters {_json(trial.hyperparameters)}")]
    lines += [log_line(trial.created, f"(trial) command {command.number} started") for command in ran]
    lines += [log_line(trial.since, f"(trial) metric {_json(row)}") for row in trial.metrics]
    return [*lines, log_line(trial.since, f"(trial) status {trial.status}")]


def _fill_in(text: str, trial: Trial) -> str:
    filled = fill(text, trial.hyperparameters, trial.experiment_id, trial.trial_id)
    return mask_text(trial.configuration, filled)


def _output(text: str, trial: Trial) -> str:
    if text.startswith(("dlc submit", "dlc create job")):
        return "dlc job submitted."
    return "running" if trial.status == "RUNNING" else f"ended: {trial.status}"


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
