"""What the logs of experiments and trials say, and the commands that trials ran; all made from the same facts.

Names of logs: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotriallogs
and ...-listhpoexperimentlogs. Their text is made up here in the manner of NNI.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.paiautoml.secrets import MASK, secrets_of
from alilocal.paiautoml.trials import Trial

EXPERIMENT_LOGS = ("nnimanager.log", "dispatcher.log")
TRIAL_LOGS = ("stdout", "stderr", "trial.log")


@dataclass(frozen=True)
class Command:
    """A command of a trial with its hyperparameters filled in; `number` counts from 1."""

    number: int
    text: str
    output: str


def commands(trial: Trial) -> list[Command]:
    """What a trial ran, without the secrets of its configuration; empty while it waits."""
    section = trial.configuration.get("platform_config")
    given = section.get("cmd") if isinstance(section, dict) else None
    if trial.status == "WAITING" or not isinstance(given, list):
        return []
    return [
        Command(number, _filled(text, trial), _output(text, trial))
        for number, text in enumerate(given, 1)
        if isinstance(text, str)
    ]


def experiment_log(name: str, trials: Sequence[Trial], statuses: Sequence[tuple[float, str]]) -> list[str]:
    """The lines of a log of an experiment; `statuses` are those it had, each with its moment."""
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
    return [_line(moment, text) for moment, text in sorted(lines)]


def trial_log(name: str, trial: Trial) -> list[str]:
    """The lines of a log of a trial."""
    if name == "stderr":
        return [f"trial {trial.trial_id} failed"] if trial.status == "FAILED" else []
    ran = commands(trial)
    if name == "stdout":
        return [line for command in ran for line in (f"$ {command.text}", command.output)]
    lines = [_line(trial.created, f"(trial) parameters {_json(trial.hyperparameters)}")]
    lines += [_line(trial.created, f"(trial) command {command.number} started") for command in ran]
    lines += [_line(trial.since, f"(trial) metric {_json(row)}") for row in trial.metrics]
    return [*lines, _line(trial.since, f"(trial) status {trial.status}")]


def _filled(text: str, trial: Trial) -> str:
    values: JsonObject = {"${exp_id}": trial.experiment_id, "${trial_id}": trial.trial_id}
    for name, value in (values | trial.hyperparameters).items():
        text = text.replace(name, value if isinstance(value, str) else _json(value))
    for secret in secrets_of(trial.configuration):
        text = text.replace(secret, MASK)
    return text


def _output(text: str, trial: Trial) -> str:
    if text.startswith(("dlc submit", "dlc create job")):
        return "dlc job submitted."
    return "running" if trial.status == "RUNNING" else f"ended: {trial.status}"


def _line(moment: float, text: str) -> str:
    return f"[{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))}] INFO {text}"


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
