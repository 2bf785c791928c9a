"""The runner of one experiment: a thread that starts its trials and follows them to their ends."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.clock import Changes, CloudClock
from alilocal.core.ids import ALPHANUMERIC
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.trials.processes import Processes
from alilocal.trials.record import TERMINAL, CommandRecord, Refused, Run, Status, Subject, TrialRecord
from alilocal.trials.search import Search
from alilocal.trials.trial import ActiveTrial, Limits, base_environment

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 15.0
"""How long the parent of the commands has to end one of them."""
_WHY_SLOW = "simplify the pattern: a repetition in another one, such as (a+)+, matches in too many ways"
_log = logging.getLogger("alilocal")


@dataclass
class Site:
    """What all runners share. `mask` hides an experiment's secrets in a text."""

    changed: Changes
    clock: CloudClock
    folder: Callable[[], Path]
    code: Path
    limits: Limits
    mask: Callable[[JsonObject, str], str]
    most_running: int = 8
    running: int = 0
    spare: Processes | None = None
    """Processes that are started already, because their start takes 30 ms of a search that may take 300."""

    def take_processes(self) -> Processes:
        """Return processes for a runner, which closes them."""
        with self.changed:
            spare, self.spare = self.spare, None
        return spare or Processes(base_environment())

    def prepare_processes(self) -> None:
        """Start processes for the next runner."""
        with self.changed:
            if self.spare is None:
                self.spare = Processes(base_environment())
                self.spare.start()


class Runner(threading.Thread):
    """Runs the trials of one experiment. Its public methods are called by other threads, with the lock held."""

    def __init__(self, subject: Subject, run: Run, site: Site) -> None:
        super().__init__(name=f"alilocal-{subject.experiment_id}", daemon=True)
        self._subject = subject
        self._run = run
        self._site = site
        self._used: Processes | None = None
        self._active: dict[str, ActiveTrial] = {}
        self._shortened: set[str] = set()
        self._ending: tuple[str, str] | None = None
        self._wanted: dict[int, tuple[Status, str]] = {}
        self._is_updated = False
        self._is_closed = False
        self._end_by: float | None = None

    def stop(self, status: str, reason: str) -> None:
        """End all trials, then the experiment with `status`."""
        self._ending = (status, reason)
        self._wake()

    def end_trial(self, sequence: int, status: Status, reason: str) -> None:
        """End a trial with `status`."""
        self._wanted[sequence] = (status, reason)
        self._wake()

    def update(self) -> None:
        """Apply the subject's new configuration to later trials."""
        self._is_updated = True
        self._wake()

    def rerun(self, values: JsonObject, choices: dict[str, float]) -> None:
        """Add a trial with these hyperparameters."""
        self._add_trial(values, choices, is_rerun=True)
        self._wake()

    def close(self) -> None:
        """Kill all commands and end the thread, without changing the record. Called without the lock."""
        with self._site.changed:
            self._is_closed = True
            self._wake()
        if self.ident is not None:
            self.join()

    @property
    def _processes(self) -> Processes:
        """The processes of an experiment that runs; one that waits has none."""
        if self._used is None:
            self._used = self._site.take_processes()
        return self._used

    def run(self) -> None:
        """Run the experiment to its end."""
        try:
            if self._take_place():
                try:
                    self._follow()
                finally:
                    self._leave_place()
        except Refused as exc:
            self._finish("FAILED", str(exc))
        # A defect of the engine must not look like an experiment that never ends.
        except Exception as exc:  # noqa: BLE001
            _log.exception("experiment %s", self._subject.experiment_id)
            self._finish("FAILED", f"The engine failed: {exc!r}")
        finally:
            if self._used is not None:
                self._used.close()
            if not self._is_closed:
                self._site.prepare_processes()

    # The course of the experiment.

    def _take_place(self) -> bool:
        """Wait until few enough experiments run; return False if this one was ended before."""
        site = self._site
        with site.changed:
            if self._run.status != "WAITING":
                self._run.enter(site.clock.now(), "WAITING")
            while site.running >= site.most_running and not self._is_closed and self._ending is None:
                site.changed.wait()
            if self._ending is None and not self._is_closed:
                site.running += 1
                return True
        if not self._is_closed:
            self._finish("SYS_CANCELED", "")
        return False

    def _leave_place(self) -> None:
        with self._site.changed:
            self._site.running -= 1
            self._site.changed.notify_all()

    def _follow(self) -> None:
        self._processes.start()
        search = self._begin_search(is_first=True)
        with self._site.changed:
            if self._ending is None:
                self._enter("RUNNING")
        while not self._is_closed:
            if self._is_updated:
                self._is_updated = False
                search = self._begin_search(is_first=False)
            self._obey()
            if self._ending is None:
                self._start_trials(search)
            if not self._active:
                if self._finish("FINISHED", "", unless_waiting=True):
                    return
                continue
            reports = self._processes.wait(self._next_wait())
            self._take_reports(search, reports)
            self._check_progress(search)

    def _begin_search(self, *, is_first: bool) -> Search:
        """Begin a search with the present configuration."""
        with self._site.changed:
            configuration, past = self._subject.configuration, list(self._run.trials)
        search = Search(configuration, self._subject.experiment_id, past)
        with self._site.changed:
            self._run.maximize = search.plan.maximize
            for remark in search.plan.remarks if is_first else ():
                self._note(remark)
        if is_first and search.plan.experiment_seconds is not None:
            self._end_by = time.monotonic() + search.plan.experiment_seconds
        return search

    def _start_trials(self, search: Search) -> None:
        while len(self._active) < search.plan.concurrency:
            waiting = self._waiting() or self._propose(search)
            if waiting is None:
                return
            self._start_trial(search, waiting)

    def _propose(self, search: Search) -> TrialRecord | None:
        """Add the trial that the tuner proposes, or return None if there is to be none."""
        count = sum(not one.is_rerun for one in self._run.trials)
        if count >= search.plan.number or search.is_used_up:
            return None
        proposal = search.propose()
        with self._site.changed:
            if proposal is None:
                self._note("The search space is used up: every combination was tried")
                return None
            trial = self._add_trial(proposal.values, proposal.choices, is_rerun=False)
        search.accept(trial, proposal)
        return trial

    def _start_trial(self, search: Search, record: TrialRecord) -> None:
        site = self._site
        folder = site.folder() / self._subject.experiment_id / record.trial_id
        active = ActiveTrial(record, search.plan, folder, site.code, site.limits)
        search.accept(record)
        with site.changed:
            record.began = site.clock.now()
            self._set_status(record, "RUNNING", "")
        self._active[active.id] = active
        try:
            active.prepare()
            self._run_next(active)
        except (Refused, OSError) as exc:
            self._end(search, active, "FAILED", str(exc))

    def _run_next(self, active: ActiveTrial) -> None:
        order = active.next_order()
        text = self._site.mask(self._subject.configuration, order.command)
        with self._site.changed:
            active.record.commands.append(CommandRecord(text, self._site.clock.now()))
            self._site.changed.notify_all()
        self._processes.run(order)

    # What happens to trials that run.

    def _take_reports(self, search: Search, reports: Iterable[JsonObject] | None) -> None:
        if reports is None:
            for active in list(self._active.values()):
                status, reason = active.ending or ("FAILED", "The process that ran its commands was killed.")
                self._end(search, active, status, reason)
            return
        for report in reports:
            if str(report["id"]) not in self._active:
                continue
            active = self._active[str(report["id"])]
            match = report.get("match")
            if isinstance(match, list) and isinstance(match[0], int):
                self._add_rows(search, active, active.add_match(match[0], str(match[1])))
            elif "failed" in report:
                reason = f"cmd{active.command} could not be started: {report['failed']}"
                self._end(search, active, "FAILED", reason)
            elif "ended" in report:
                self._end_command(search, active, report)

    def _end_command(self, search: Search, active: ActiveTrial, report: JsonObject) -> None:
        code, dropped = report["ended"], report["dropped"]
        command = active.record.commands[-1]
        with self._site.changed:
            command.ended = self._site.clock.now()
            command.code = code if isinstance(code, int) else None
            command.dropped = dropped if isinstance(dropped, int) else 0
            self._site.changed.notify_all()
        patterns, unread = list(active.plan.reading.weights), report["unread"]
        active.unread |= {
            patterns[one] for one in (unread if isinstance(unread, list) else ()) if isinstance(one, int)
        }
        self._note_cut_numbers(patterns, report["cut"])
        name = f"cmd{active.command}"
        if active.ending is not None:
            self._end(search, active, *active.ending)
        elif report["flooded"]:
            most = self._site.limits.most_bytes / 2**20
            self._end(search, active, "FAILED", f"{name} printed more than {most:g} MB, so it was killed")
        elif report["endless"]:
            reason = f"the search for metrics in what {name} printed takes too long; {_WHY_SLOW}"
            self._end(search, active, "FAILED", reason)
        elif code != 0:
            self._end(search, active, "FAILED", f"{name}: {command.outcome}")
        elif active.command < len(active.plan.commands):
            try:
                self._run_next(active)
            except Refused as exc:
                self._end(search, active, "FAILED", str(exc))
        else:
            self._end(search, active, "SUCCEEDED", "")

    def _note_cut_numbers(self, patterns: list[str], cut: JsonValue) -> None:
        """Note once for each metric that its pattern does not match the exponents of the numbers."""
        for index, found in cut.items() if isinstance(cut, dict) else ():
            pattern = patterns[int(index)]
            if isinstance(found, list) and pattern not in self._shortened:
                self._shortened.add(pattern)
                read, exponent = found
                self._note(
                    f"{pattern} reads {read} where a command printed {read}{exponent}. "
                    "To read exponents and signs, write ([-+.0-9eE]+)."
                )

    def _add_rows(self, search: Search, active: ActiveTrial, rows: Iterable[JsonObject]) -> None:
        for row in rows:
            with self._site.changed:
                active.record.add_row(row)
                self._site.changed.notify_all()
            reason = search.assess(active.record, row) if active.ending is None else None
            if reason is not None:
                self._begin_end(active, "EARLY_STOPPED", f"Stopped by PAIAssessor: {reason}")

    def _check_progress(self, search: Search) -> None:
        """Read files of metrics, and end what has run for too long."""
        now = time.monotonic()
        if self._end_by is not None and now >= self._end_by and self._ending is None:
            with self._site.changed:
                self._ending = ("FINISHED", "max_experiment_duration is over")
        for active in list(self._active.values()):
            if active.plan.metric_type != "stdout":
                self._add_rows(search, active, active.read_files())
            if active.ending is None and now >= active.deadline:
                self._begin_end(active, "FAILED", f"It did not end within {active.seconds:g} s.")
            elif active.end_by is not None and now >= active.end_by:
                self._processes.abandon()
                return

    def _obey(self) -> None:
        """Carry out the requests of other threads."""
        with self._site.changed:
            wanted, self._wanted = self._wanted, {}
            ending = self._ending
            for record in self._run.trials:
                if record.status == "WAITING" and (record.sequence in wanted or ending):
                    self._set_status(record, *wanted.get(record.sequence, self._cut()))
        for active in list(self._active.values()):
            if active.record.sequence in wanted:
                self._begin_end(active, *wanted[active.record.sequence])
            elif ending is not None:
                self._begin_end(active, *self._cut())

    def _cut(self) -> tuple[Status, str]:
        """Return how a trial ends that still runs when the experiment ends."""
        status, reason = self._ending or ("", "")
        is_users = status == "USER_CANCELED"
        return ("USER_CANCELED" if is_users else "SYS_CANCELED"), reason or "The experiment was ended."

    def _begin_end(self, active: ActiveTrial, status: Status, reason: str) -> None:
        if active.ending is None:
            active.ending = (status, reason)
            active.end_by = time.monotonic() + _ANSWER_SECONDS
            self._processes.end(active.id)

    def _end(self, search: Search, active: ActiveTrial, status: Status, reason: str) -> None:
        """Record the end of a trial, and report its result to the tuner."""
        del self._active[active.id]
        self._add_rows(search, active, active.read_files())
        final = active.metrics.final()
        if status == "SUCCEEDED" and (final is None or active.metrics.missing):
            status, final = "FAILED", None
            missing = ", ".join(active.metrics.missing)
            where = (
                " on standard output, which alone is read; standard error has one"
                if active.unread >= {*active.metrics.missing}
                else ""
            )
            reason = (
                f"It ended, but reported no number for {missing}{where}."
                if missing
                else "It ended, but its final metric is not a finite number, or no source has all metrics."
            )
        result = final["default"] if final is not None and status in ("SUCCEEDED", "EARLY_STOPPED") else None
        with self._site.changed:
            if final is not None and status == "SUCCEEDED":
                active.record.add_row(final)
            self._set_status(active.record, status, reason)
        search.learn(active.record, float(result) if isinstance(result, (int, float)) else None)

    # The record.

    def _finish(self, status: str, reason: str, *, unless_waiting: bool = False) -> bool:
        """End the experiment as another thread asked for, or else with `status`; return False if a trial waits."""
        with self._site.changed:
            if unless_waiting and self._ending is None and self._waiting() is not None:
                return False
            if self._run.status in TERMINAL:
                return True
            status, reason = self._ending or (status, reason)
            for record in self._run.trials:
                if not record.is_over:
                    self._set_status(record, *self._cut())
            if reason:
                self._note(reason)
            self._enter(status)
        return True

    def _waiting(self) -> TrialRecord | None:
        return next((one for one in self._run.trials if one.status == "WAITING"), None)

    def _add_trial(self, values: JsonObject, choices: dict[str, float], *, is_rerun: bool) -> TrialRecord:
        sequence, now = len(self._run.trials), self._site.clock.now()
        known = {one.trial_id.lower() for one in self._run.trials}
        chance = random.Random(f"{self._subject.experiment_id}/{sequence}")  # noqa: S311 - repeatable on purpose
        trial_id = ""
        # Placeholders have it in lower case.
        while not trial_id or trial_id.lower() in known:
            trial_id = "".join(chance.choices(ALPHANUMERIC, k=6))
        record = TrialRecord(
            trial_id,
            sequence,
            self._subject.experiment_id,
            values,
            now,
            "WAITING",
            now,
            is_rerun=is_rerun,
            choices=choices,
        )
        self._run.trials.append(record)
        self._site.changed.notify_all()
        return record

    def _set_status(self, record: TrialRecord, status: Status, reason: str) -> None:
        record.status, record.reason, record.since = status, reason, self._site.clock.now()
        self._site.changed.notify_all()

    def _enter(self, status: str) -> None:
        self._run.enter(self._site.clock.now(), status)
        self._site.changed.notify_all()

    def _note(self, text: str) -> None:
        self._run.note(self._site.clock.now(), self._site.mask(self._subject.configuration, text))

    def _wake(self) -> None:
        self._site.changed.notify_all()
        if self._used is not None:
            self._used.wake()

    def _next_wait(self) -> float | None:
        now = time.monotonic()
        moments = [one.end_by if one.end_by is not None else one.deadline for one in self._active.values()]
        if self._end_by is not None:
            moments.append(self._end_by)
        longest = max(0.0, min(moments) - now)
        polls = any(one.plan.metric_type != "stdout" for one in self._active.values())
        return min(longest, _POLL_SECONDS) if polls else longest
