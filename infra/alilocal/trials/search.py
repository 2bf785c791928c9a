"""The search of one configuration: its plan, and the tuner and the assessor with the results that they know."""

from __future__ import annotations

from collections.abc import Sequence

from alilocal.core.jsonvalue import JsonObject
from alilocal.trials.assessor import Assessor
from alilocal.trials.plan import read_plan
from alilocal.trials.record import TrialRecord
from alilocal.trials.studies import make_tuner
from alilocal.trials.tuners import Proposal


class Search:
    """The search of one configuration, which begins with what earlier trials have shown.

    Raises Refused if the configuration cannot run here.
    """

    def __init__(self, configuration: JsonObject, seed: str, past: Sequence[TrialRecord]) -> None:
        self.plan = plan = read_plan(configuration)
        self.is_used_up = False
        self._tuner = make_tuner(
            plan.tuner, plan.tuner_arguments, plan.parameters, seed, maximize=plan.maximize
        )
        self._assessor = Assessor(plan.rules) if plan.rules else None
        self._proposals: dict[int, Proposal] = {}
        for trial in past:
            self._replay(trial)

    def propose(self) -> Proposal | None:
        """Return what the tuner proposes, or None if the search space is used up; see `accept`."""
        proposal = self._tuner.ask()
        self.is_used_up = proposal is None
        return proposal

    def accept(self, trial: TrialRecord, proposal: Proposal | None = None) -> None:
        """Remember that a trial has the hyperparameters of a proposal, by default the one that it had before."""
        if proposal is None and trial.sequence not in self._proposals and trial.choices:
            proposal = self._tuner.ask(trial.choices)
        if proposal is not None:
            self._proposals[trial.sequence] = proposal

    def learn(self, trial: TrialRecord, result: float | None) -> None:
        """Report the result of a trial to the tuner, None if it failed."""
        proposal = self._proposals.pop(trial.sequence, None)
        if proposal is not None:
            self._tuner.tell(proposal, result)

    def assess(self, trial: TrialRecord, row: JsonObject) -> str | None:
        """Return why a trial must be stopped after the metrics in `row`, or None."""
        value = row["default"]
        if self._assessor is None or not isinstance(value, (int, float)):
            return None
        return self._assessor.assess(trial.sequence, value)

    def _replay(self, trial: TrialRecord) -> None:
        """Repeat a trial's proposal and report its result, as a failure if its search space was another one."""
        for row in trial.metrics:
            if row["type"] == "PERIODICAL":
                self.assess(trial, row)
        if trial.is_rerun and not trial.choices:
            return
        proposal = self._tuner.ask(trial.choices or None)
        if proposal is None:
            return
        if proposal.values != trial.hyperparameters:
            self._tuner.tell(proposal, None)
        elif trial.is_over:
            self._tuner.tell(proposal, trial.final)
        else:
            self._proposals[trial.sequence] = proposal
