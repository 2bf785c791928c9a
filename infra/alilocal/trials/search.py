"""The search of one configuration: its plan, and the tuner and the assessor with the results that they know.

TPE, Evolution and GP are built on Optuna, which is imported when an experiment needs it: each is a sampler of a study
in memory.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.trials.assessor import Assessor
from alilocal.trials.plan import read_plan
from alilocal.trials.record import Refused, TrialRecord
from alilocal.trials.space import Parameter, draw
from alilocal.trials.tuners import NUMBERS, Choices, GridTuner, Proposal, RandomTuner, Tuner

if TYPE_CHECKING:
    import optuna


def make_tuner(
    name: str,
    arguments: Mapping[str, JsonValue],
    parameters: Sequence[Parameter],
    seed: str,
    *,
    maximize: bool,
) -> Tuner:
    """Return the tuner `name`, with `seed` unless its arguments have one; raises Refused if a package is missing."""
    given = arguments.get("seed")
    seed = str(given) if given is not None else seed
    if name == "Random":
        return RandomTuner(parameters, seed)
    if name == "GridSearch":
        return GridTuner(parameters)
    return StudyTuner(name, arguments, parameters, seed, maximize=maximize)


class StudyTuner:
    """A study of Optuna, used through its methods `ask` and `tell`."""

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, JsonValue],
        parameters: Sequence[Parameter],
        seed: str,
        *,
        maximize: bool,
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise Refused(f"The tuner {name} needs Optuna. Install it with: {_installation()}") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._parameters = parameters
        self._failed = optuna.trial.TrialState.FAIL
        number = int(seed) if seed.lstrip("-").isdigit() else zlib.crc32(seed.encode())
        with warnings.catch_warnings():
            # Samplers warn that they are experimental, and that an argument of NNI has no future in Optuna.
            warnings.simplefilter("ignore")
            sampler = _SAMPLERS[name](optuna, arguments, abs(number) % 2**32)
            self._study = optuna.create_study(
                direction="maximize" if maximize else "minimize", sampler=sampler
            )

    def ask(self, choices: Choices | None = None) -> Proposal | None:
        """Return the next proposal, the one with `choices` if they are given."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if choices is not None:
                self._study.enqueue_trial(dict(choices))
            trial = self._study.ask()
            values = draw(self._parameters, _Source(trial))
        return Proposal(values, dict(trial.params), trial.number)

    def tell(self, proposal: Proposal, result: float | None) -> None:
        """Learn the final metric of a proposal, or None if its trial failed."""
        if result is None:
            self._study.tell(proposal.ticket, state=self._failed)
        else:
            self._study.tell(proposal.ticket, result)


def _installation() -> str:
    """Return the command that installs Optuna: the extra of the distribution that this package is part of."""
    for script in entry_points(group="console_scripts", name="alilocal"):
        if script.dist is not None:
            return f"pip install '{script.dist.name}[trials]'"
    return "pip install optuna"


class _Source:
    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    def index(self, name: str, count: int) -> int:
        # By index, because Optuna treats 1 and True as the same option.
        return int(self._trial.suggest_categorical(name, list(range(count))))

    def integer(self, name: str, low: int, high: int) -> int:
        return self._trial.suggest_int(name, low, high)

    def real(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self._trial.suggest_float(name, low, high, log=log)


def _make_tpe(optuna: Any, arguments: Mapping[str, JsonValue], seed: int) -> Any:
    given = arguments.get("tpe_args")
    inner = given if isinstance(given, dict) else {}
    names = {
        "n_startup_jobs": "n_startup_trials",
        "n_ei_candidates": "n_ei_candidates",
        "prior_weight": "prior_weight",
    }
    options: dict[str, Any] = {
        names[name]: value for name, value in inner.items() if name in names and value is not None
    }
    gamma = inner.get("gamma")
    if isinstance(gamma, (int, float)):
        share = float(gamma)
        options["gamma"] = lambda count: min(math.ceil(share * math.sqrt(count)), 25)
    # Trials that run count as bad ones, so that trials at the same time differ. Optuna 4 does that on request only.
    options["constant_liar"] = inner.get("constant_liar_type", "best") is not None
    return optuna.samplers.TPESampler(seed=seed, **options)


def _make_evolution(optuna: Any, arguments: Mapping[str, JsonValue], seed: int) -> Any:
    # Optuna's usual crossover only exchanges values. With 50 trials it loses to a random search, this one does not.
    crossover = optuna.samplers.nsgaii.BLXAlphaCrossover()
    return optuna.samplers.NSGAIISampler(
        population_size=_count("Evolution", "population_size", arguments), seed=seed, crossover=crossover
    )


def _make_gp(optuna: Any, arguments: Mapping[str, JsonValue], seed: int) -> Any:
    try:
        import scipy  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import torch  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise Refused(
            "The tuner GP needs scipy and torch. Install them with: pip install scipy torch"
        ) from None
    del scipy, torch
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_count("GP", "cold_start_num", arguments))


def _count(tuner: str, name: str, arguments: Mapping[str, JsonValue]) -> int:
    """Return an argument, or its default if it is missing or invalid, which the plan's remarks report."""
    return int(NUMBERS[tuner][name].convert(arguments.get(name)) or 0)


_SAMPLERS = {"TPE": _make_tpe, "Evolution": _make_evolution, "GP": _make_gp}


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
