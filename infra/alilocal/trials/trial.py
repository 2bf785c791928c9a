"""One trial that runs: its folder, its commands, and what is read from them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.jsonvalue import JsonObject
from alilocal.core.secretnames import is_secret_name
from alilocal.trials.eventfile import SummaryFolder
from alilocal.trials.host import MARK
from alilocal.trials.metrics import JsonFile, Metrics, read_number
from alilocal.trials.placeholders import fill, variables
from alilocal.trials.plan import Plan, command_of
from alilocal.trials.processes import Order
from alilocal.trials.record import Refused, Status, TrialRecord

PARAMETERS = "parameters.json"
_MOST_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a trial may use. `kept_bytes` of each stream of a command are kept; beyond `most_bytes` it is killed."""

    seconds: float = 3600.0
    kept_bytes: int = 1024 * 1024
    most_bytes: int = 64 * 1024 * 1024


class ActiveTrial:
    """A trial that has begun. `ending` is set once it is being ended: its status, and why.

    `unread` are the metrics that stood in the standard error of a command, where they do not count.
    """

    def __init__(self, record: TrialRecord, plan: Plan, folder: Path, code: Path, limits: Limits) -> None:
        self.record = record
        self.plan = plan
        self.metrics = Metrics(plan.reading, len(plan.sources))
        self.command = 0
        self.ending: tuple[Status, str] | None = None
        self.end_by: float | None = None
        self.unread: set[str] = set()
        seconds = plan.trial_seconds if plan.trial_seconds is not None else limits.seconds
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self._folder = folder
        self._work, self._logs = folder / "work", folder / "logs"
        self._code = code
        self._limits = limits
        self._files: list[JsonFile | SummaryFolder] = []

    @property
    def id(self) -> str:
        """The trial's id among all trials of all experiments."""
        return f"{self.record.experiment_id}/{self.record.trial_id}"

    def prepare(self) -> None:
        """Make the folder and the parameter files; raises Refused and OSError."""
        # A process that was killed may have left it.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._work.mkdir(parents=True)
        self._logs.mkdir()
        text = json.dumps(self.record.hyperparameters, ensure_ascii=False, indent=2) + "\n"
        (self._work / PARAMETERS).write_text(text, encoding="utf-8", errors="replace")
        for source, target in self.plan.files:
            self._write_parameter_file(self._code / self._fill(source), self._work / self._fill(target))
        paths = [self._work / self._fill(one.path) for one in self.plan.sources if one.path]
        is_json = self.plan.metric_type == "json"
        self._files = [JsonFile(one) if is_json else SummaryFolder(one) for one in paths]

    def next_order(self) -> Order:
        """Return the next command; raises Refused if it cannot be run."""
        self.command += 1
        text = command_of(self._fill(self.plan.commands[self.command - 1]), self.plan.platform)
        is_read = any(one.command == self.command for one in self.plan.sources)
        return Order(
            id=self.id,
            command=text.replace("\0", ""),
            cwd=str(self._work),
            env=self._environment(),
            output=str(self._logs / f"cmd{self.command}.stdout"),
            errors=str(self._logs / f"cmd{self.command}.stderr"),
            keep=self._limits.kept_bytes,
            most=self._limits.most_bytes,
            patterns=tuple(self.plan.reading.weights) if is_read else (),
            # The log of a DLC job has both streams.
            merged=self.plan.platform == "DLC",
        )

    def add_match(self, pattern: int, text: str) -> Iterator[JsonObject]:
        """Yield the steps that are complete with a number in the command's output."""
        value = read_number(text)
        name = list(self.plan.reading.weights)[pattern]
        for place, source in enumerate(self.plan.sources):
            if value is not None and source.command == self.command:
                row = self.metrics.add(place, name, value)
                if row is not None:
                    yield row

    def read_files(self) -> Iterator[JsonObject]:
        """Yield the steps that are complete with what has been written to files of metrics."""
        for place, file in enumerate(self._files):
            for name, value in file.read():
                row = self.metrics.add(place, name, value)
                if row is not None:
                    yield row

    def _write_parameter_file(self, source: Path, target: Path) -> None:
        if not source.is_file() or source.stat().st_size > _MOST_FILE_BYTES:
            raise Refused(f"The parameter file {source} does not exist, or is larger than 16 MB.")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_bytes().decode(errors="surrogateescape")
        target.write_bytes(self._fill(text).encode(errors="surrogateescape"))

    def _fill(self, text: str) -> str:
        record = self.record
        return fill(text, record.hyperparameters, record.experiment_id, record.trial_id, str(self._work))

    def _environment(self) -> dict[str, str]:
        record = self.record
        return {
            **variables(record.hyperparameters),
            "NNI_PLATFORM": "local",
            "NNI_EXP_ID": record.experiment_id.lower(),
            "NNI_TRIAL_JOB_ID": record.trial_id.lower(),
            "NNI_TRIAL_SEQ_ID": str(record.sequence),
            "NNI_OUTPUT_DIR": str(self._work),
            "NNI_CODE_DIR": str(self._code),
            "TRIAL_PARAMETERS_FILE": str(self._work / PARAMETERS),
            MARK: self.id,
        }


def base_environment() -> dict[str, str]:
    """Return what trials inherit of this process's environment: everything but variables with a secret's name."""
    inherited = {name: value for name, value in os.environ.items() if not is_secret_name(name)}
    # `python` is the interpreter that runs the local cloud, also if its environment is not active.
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    return {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1"}
