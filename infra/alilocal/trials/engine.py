"""Which experiments run on this machine, and the threads that run them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from alilocal.core.clock import Changes, CloudClock
from alilocal.core.jsonvalue import JsonObject
from alilocal.trials.plan import RUNNABLE, platform_of
from alilocal.trials.record import TERMINAL, Run, Status, Subject, cut_off
from alilocal.trials.runner import Runner, Site
from alilocal.trials.trial import Limits


@dataclass(frozen=True)
class TrialOptions:
    """How trials run. `folder` keeps their files, a temporary one by default; `code` is NNI_CODE_DIR.

    Experiments on other platforms than LOCAL and DLC fail, or are simulated if `simulate_others`.
    """

    folder: Path | None = None
    code: Path = field(default_factory=Path.cwd)
    simulate_others: bool = False
    limits: Limits = field(default_factory=Limits)


class Engine:
    """Runs experiments until it is closed. `close` must be called without the lock."""

    def __init__(
        self,
        options: TrialOptions,
        changed: Changes,
        clock: CloudClock,
        mask: Callable[[JsonObject, str], str],
    ) -> None:
        self._options = options
        self._temporary: Path | None = None
        self._is_closed = False
        self._runners: dict[str, Runner] = {}
        self._site = Site(changed, clock, self.folder, options.code, options.limits, mask)

    def folder(self) -> Path:
        """Return the folder of all trials' files."""
        if self._options.folder is not None:
            return self._options.folder
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="alilocal-trials-"))
        return self._temporary

    def prepare(self) -> None:
        """Make the start of the next experiment faster."""
        self._site.prepare_processes()

    def start(self, subject: Subject) -> None:
        """Run an experiment, unless it is to be simulated."""
        with self._site.changed:
            if self._options.simulate_others and platform_of(subject.configuration) not in RUNNABLE:
                return
            if self._is_closed:
                return
            subject.run = Run([(self._site.clock.now(), "CREATED")])
            self._start(subject, subject.run)

    def resume(self, subjects: Iterable[Subject]) -> None:
        """Continue experiments of an earlier process: trials that ran then are marked and run again."""
        with self._site.changed:
            for subject in subjects:
                run = subject.run
                if run is None or run.status in TERMINAL:
                    continue
                if run.status == "TERMINATING":
                    cut_off(run, self._site.clock.now(), "USER_CANCELED", "The experiment was stopped.")
                    continue
                again = [one for one in run.trials if one.status == "RUNNING"]
                now = self._site.clock.now()
                for trial in again:
                    trial.status, trial.since = "SYS_CANCELED", now
                    trial.reason = "The local cloud ended while it ran; its hyperparameters are run again."
                runner = self._start(subject, run)
                for trial in again:
                    runner.rerun(trial.hyperparameters, trial.choices)

    def stop(self, subject: Subject) -> None:
        """Stop an experiment that has not ended."""
        with self._site.changed:
            runner = self._find_stoppable(subject)
            if subject.run is not None and runner is not None:
                subject.run.enter(self._site.clock.now(), "TERMINATING")
                runner.stop("USER_CANCELED", "The experiment was stopped.")

    def fail(self, subject: Subject, status: str) -> None:
        """End an experiment that has not ended with `status`, such as FAILED."""
        with self._site.changed:
            runner = self._find_stoppable(subject)
            if runner is not None:
                runner.stop(status, "The experiment was set to fail.")

    def end_trial(self, subject: Subject, sequence: int, status: Status, reason: str) -> bool:
        """End a trial with `status`, and return False unless it waits or runs."""
        with self._site.changed:
            runner = self._runners.get(subject.experiment_id)
            trials = subject.run.trials if subject.run is not None else ()
            trial = next((one for one in trials if one.sequence == sequence), None)
            if trial is None or trial.is_over or runner is None:
                return False
            runner.end_trial(sequence, status, reason)
            return True

    def rerun(self, subject: Subject, values: JsonObject) -> bool:
        """Add a trial with hyperparameters, and return False unless the experiment runs."""
        with self._site.changed:
            runner = self._runners.get(subject.experiment_id)
            if subject.run is None or runner is None or subject.run.status != "RUNNING":
                return False
            known = (one.choices for one in subject.run.trials if one.hyperparameters == values)
            runner.rerun(values, next(known, {}))
            return True

    def update(self, subject: Subject) -> None:
        """Apply a new configuration to the trials that start from now on."""
        with self._site.changed:
            runner = self._runners.get(subject.experiment_id)
            if subject.run is not None and runner is not None and subject.run.status not in TERMINAL:
                runner.update()

    def close(self) -> None:
        """Kill all commands and remove temporary files. Records stay as they are."""
        self._is_closed = True
        for runner in list(self._runners.values()):
            runner.close()
        self._runners.clear()
        if self._site.spare is not None:
            self._site.spare.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def forget(self) -> None:
        """Remove the files of all trials, because their experiments were deleted."""
        if self._options.folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._options.folder)

    def _find_stoppable(self, subject: Subject) -> Runner | None:
        """Return the runner of an experiment that has neither ended nor been stopped, or None."""
        if subject.run is None or subject.run.status in (*TERMINAL, "TERMINATING"):
            return None
        return self._runners.get(subject.experiment_id)

    def _start(self, subject: Subject, run: Run) -> Runner:
        runner = self._runners[subject.experiment_id] = Runner(subject, run, self._site)
        runner.start()
        return runner
