"""The logs of experiments and trials that run here, and the commands that their trials ran.

Names of logs: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotriallogs
and ...-listhpoexperimentlogs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from alilocal.core.jsonvalue import JsonValue
from alilocal.trials.record import Run, TrialRecord

_MOST_OUTPUT_BYTES = 4000


def experiment_log(name: str, run: Run) -> list[str]:
    """Return the lines of an experiment's log."""
    if name == "dispatcher.log":
        return [
            log_line(
                one.created, f"(dispatcher) Generated parameters {one.sequence}: {_json(one.hyperparameters)}"
            )
            for one in run.trials
        ]
    lines = [
        (moment, f"(NNIManager) Change NNIManager status to {status}") for moment, status in run.statuses
    ]
    lines += [(moment, f"(NNIManager) {text}") for moment, text in run.log]
    for trial in run.trials:
        reason = f": {trial.reason}" if trial.reason else ""
        lines.append((trial.created, f"(NNIManager) Submitted training job {trial.trial_id}"))
        if trial.status != "WAITING":
            text = f"(NNIManager) Trial job {trial.trial_id} status: {trial.status}{reason}"
            lines.append((trial.since, text))
    # `sorted` is stable: what happened at the same moment stays in order.
    return [log_line(moment, text) for moment, text in sorted(lines, key=lambda one: one[0])]


def trial_log(name: str, trial: TrialRecord, folder: Path) -> list[str]:
    """Return the lines of a trial's log: `stdout`, `stderr` or `trial.log`."""
    if name == "trial.log":
        return _events(trial)
    lines: list[str] = []
    for number, command in enumerate(trial.commands, 1):
        if name == "stdout":
            lines.append(f"$ {command.text}")
        lines += _read_stream(folder, name, number).splitlines()
        if command.dropped and name == "stdout":
            lines.append(f"... {command.dropped} more bytes of output were not kept")
    return lines


def command_outputs(trial: TrialRecord, folder: Path) -> list[tuple[str, str]]:
    """Return each command that a trial ran, with the end of its output."""
    return [
        (command.text, _read_stream(folder, "stdout", number, _MOST_OUTPUT_BYTES))
        for number, command in enumerate(trial.commands, 1)
    ]


def log_line(moment: float, text: str) -> str:
    """Return a line of a log."""
    return f"[{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))}] INFO {text}"


def _events(trial: TrialRecord) -> list[str]:
    lines = [log_line(trial.created, f"(trial) parameters {_json(trial.hyperparameters)}")]
    for number, command in enumerate(trial.commands, 1):
        lines.append(log_line(command.began, f"(trial) command {number} started: {command.text}"))
        if command.ended is not None:
            lines.append(log_line(command.ended, f"(trial) command {number}: {command.outcome}"))
    lines += [log_line(trial.since, f"(trial) metric {_json(row)}") for row in trial.metrics]
    reason = f": {trial.reason}" if trial.reason else ""
    return [*lines, log_line(trial.since, f"(trial) status {trial.status}{reason}")]


def _read_stream(folder: Path, name: str, number: int, most: int | None = None) -> str:
    """Return what was kept of a command's stream, or its last `most` bytes; invalid UTF-8 is replaced."""
    try:
        data = (folder / "logs" / f"cmd{number}.{name}").read_bytes()
    except OSError:
        return ""
    return (data if most is None else data[-most:]).decode(errors="replace")


def _json(value: JsonValue | Sequence[JsonValue]) -> str:
    return json.dumps(value, ensure_ascii=False)
