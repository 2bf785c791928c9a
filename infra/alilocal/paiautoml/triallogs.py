"""The logs of experiments and trials, and the commands that trials ran.

Names of logs: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotriallogs
and ...-listhpoexperimentlogs. Their texts are invented here in the style of NNI. Those of trials that run here show
their commands and output; those of simulated trials are derived from the same facts as everything else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.jsonvalue import JsonValue
from alilocal.paiautoml.model import AnyTrial, Experiment
from alilocal.paiautoml.trials import Trial
from alilocal.paiautoml.wire import mask_text
from alilocal.trials.placeholders import fill
from alilocal.trials.record import TrialRecord

EXPERIMENT_LOGS = ("nnimanager.log", "dispatcher.log")
TRIAL_LOGS = ("stdout", "stderr", "trial.log")
_MOST_OUTPUT_BYTES = 4000


@dataclass(frozen=True)
class Command:
    """A command of a trial with its hyperparameters filled in; `number` counts from 1."""

    number: int
    text: str
    output: str


def read_commands(experiment: Experiment, trial: AnyTrial) -> list[Command]:
    """Return the commands of a trial, without the secrets of its configuration; none while it waits.

    Of a command that ran here the end of its output is shown.
    """
    if not isinstance(trial, TrialRecord):
        return _simulated_commands(trial)
    folder = _folder(experiment, trial)
    return [
        Command(
            number,
            command.text,
            _mask(experiment, _read_stream(folder, "stdout", number, _MOST_OUTPUT_BYTES)),
        )
        for number, command in enumerate(trial.commands, 1)
    ]


def experiment_log(experiment: Experiment, name: str) -> list[str]:
    """Return the lines of an experiment's log."""
    trials = experiment.trials
    if name == "dispatcher.log":
        return [
            _line(
                one.created, f"(dispatcher) Generated parameters {one.sequence}: {_json(one.hyperparameters)}"
            )
            for one in trials
        ]
    lines = [
        (moment, f"(NNIManager) Change NNIManager status to {status}")
        for moment, status in experiment.statuses
    ]
    if experiment.run is not None:
        lines += [(moment, f"(NNIManager) {text}") for moment, text in experiment.run.log]
    for trial in trials:
        lines.append((trial.created, f"(NNIManager) Submitted training job {trial.trial_id}"))
        if trial.status != "WAITING":
            text = f"(NNIManager) Trial job {trial.trial_id} status: {trial.status}{_reason(trial)}"
            lines.append((trial.since, text))
    # `sorted` is stable: what happened at the same moment stays in order.
    return [_line(moment, text) for moment, text in sorted(lines, key=lambda one: one[0])]


def trial_log(experiment: Experiment, name: str, trial: AnyTrial) -> list[str]:
    """Return the lines of a trial's log, without the secrets of the experiment's configuration."""
    if not isinstance(trial, TrialRecord):
        return _simulated_trial_log(name, trial)
    folder = _folder(experiment, trial)
    lines = _events(trial) if name == "trial.log" else _output_lines(trial, folder, name)
    return _mask(experiment, "\n".join(lines)).split("\n") if lines else []


def _output_lines(trial: TrialRecord, folder: Path, stream: str) -> list[str]:
    lines: list[str] = []
    for number, command in enumerate(trial.commands, 1):
        if stream == "stdout":
            lines.append(f"$ {command.text}")
        lines += _read_stream(folder, stream, number).splitlines()
        if command.dropped and stream == "stdout":
            lines.append(f"... {command.dropped} more bytes of output were not kept")
    return lines


def _events(trial: TrialRecord) -> list[str]:
    lines = [_line(trial.created, f"(trial) parameters {_json(trial.hyperparameters)}")]
    for number, command in enumerate(trial.commands, 1):
        lines.append(_line(command.began, f"(trial) command {number} started: {command.text}"))
        if command.ended is not None:
            lines.append(_line(command.ended, f"(trial) command {number}: {command.outcome}"))
    return lines + _end_lines(trial)


def _end_lines(trial: AnyTrial) -> list[str]:
    lines = [_line(trial.since, f"(trial) metric {_json(row)}") for row in trial.metrics]
    return [*lines, _line(trial.since, f"(trial) status {trial.status}{_reason(trial)}")]


def _reason(trial: AnyTrial) -> str:
    return f": {trial.reason}" if isinstance(trial, TrialRecord) and trial.reason else ""


def _read_stream(folder: Path, name: str, number: int, most: int | None = None) -> str:
    """Return what was kept of a command's stream, or its last `most` bytes; invalid UTF-8 is replaced."""
    try:
        data = (folder / "logs" / f"cmd{number}.{name}").read_bytes()
    except OSError:
        return ""
    return (data if most is None else data[-most:]).decode(errors="replace")


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


def _simulated_trial_log(name: str, trial: Trial) -> list[str]:
    if name == "stderr":
        return [f"trial {trial.trial_id} failed"] if trial.status == "FAILED" else []
    ran = _simulated_commands(trial)
    if name == "stdout":
        return [line for command in ran for line in (f"$ {command.text}", command.output)]
    lines = [_line(trial.created, f"(trial) parameters {_json(trial.hyperparameters)}")]
    lines += [_line(trial.created, f"(trial) command {command.number} started") for command in ran]
    return lines + _end_lines(trial)


def _fill_in(text: str, trial: Trial) -> str:
    filled = fill(text, trial.hyperparameters, trial.experiment_id, trial.trial_id)
    return mask_text(trial.configuration, filled)


def _output(text: str, trial: Trial) -> str:
    if text.startswith(("dlc submit", "dlc create job")):
        return "dlc job submitted."
    return "running" if trial.status == "RUNNING" else f"ended: {trial.status}"


def _line(moment: float, text: str) -> str:
    return f"[{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))}] INFO {text}"


def _json(value: JsonValue | Sequence[JsonValue]) -> str:
    return json.dumps(value, ensure_ascii=False)
