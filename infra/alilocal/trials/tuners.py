"""Tuners: what proposes the hyperparameters of the next trial.

Random and GridSearch are here and need nothing else; `search.py` has those that are built on Optuna. Arguments:
https://nni.readthedocs.io/en/v2.10/hpo/tuners.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from alilocal.core.jsonvalue import JsonObject
from alilocal.trials.arguments import Number
from alilocal.trials.space import Parameter, RandomSource, between, draw

Choices = dict[str, float]
"""The choices behind a draw, by the name of the choice, from which it can be repeated."""
_MOST_SKIPPED = 200_000


@dataclass(frozen=True)
class Proposal:
    """The hyperparameters of a trial. `choices` is empty if the tuner does not learn."""

    values: JsonObject
    choices: Choices = field(default_factory=dict)
    ticket: int = 0


class Tuner(Protocol):
    """Proposes hyperparameters and learns from results."""

    def ask(self, choices: Choices | None = None) -> Proposal | None:
        """Return the next proposal, the one with `choices` if they are given, or None if the space is used up."""

    def tell(self, proposal: Proposal, result: float | None) -> None:
        """Learn the final metric of a proposal, or None if its trial failed."""


class RandomTuner:
    """Draws at random."""

    def __init__(self, parameters: Sequence[Parameter], seed: str) -> None:
        self._parameters = parameters
        self._seed = seed
        self._asked = 0

    def ask(self, choices: Choices | None = None) -> Proposal | None:  # noqa: ARG002
        self._asked += 1
        return Proposal(draw(self._parameters, RandomSource(f"{self._seed}/{self._asked}")))

    def tell(self, proposal: Proposal, result: float | None) -> None:
        """Learn nothing."""


class GridTuner:
    """Visits every combination once, the last parameter varying fastest.

    A real number has one value first, then three, then seven and so on, each grid finer than the one before.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = parameters
        self._grid: _Grid | None = _Grid(0)
        self._seen: set[str] = set()

    def ask(self, choices: Choices | None = None) -> Proposal | None:  # noqa: ARG002
        for _ in range(_MOST_SKIPPED):
            if self._grid is None:
                return None
            values = draw(self._parameters, self._grid)
            self._grid = self._grid.next()
            text = json.dumps(values)
            if text not in self._seen:
                self._seen.add(text)
                return Proposal(values)
        return None

    def tell(self, proposal: Proposal, result: float | None) -> None:
        """Learn nothing."""


class _Grid:
    """A source that counts through all choices like an odometer; every draw reads it once."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._digits: list[int] = []
        self._sizes: list[int] = []
        self._place = 0
        self._has_reals = False

    def next(self) -> _Grid | None:
        """Return the grid at its next combination, a finer grid after its last one, or None after the finest."""
        while self._digits and self._digits[-1] + 1 == self._sizes[-1]:
            self._digits.pop()
            self._sizes.pop()
        self._place = 0
        if self._digits:
            self._digits[-1] += 1
            return self
        return _Grid(self._level + 1) if self._has_reals else None

    def _take(self, size: int) -> int:
        if self._place == len(self._digits):
            self._digits.append(0)
            self._sizes.append(size)
        self._place += 1
        return self._digits[self._place - 1]

    def index(self, name: str, count: int) -> int:  # noqa: ARG002
        return self._take(count)

    def integer(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        return low + self._take(high - low + 1)

    def real(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        self._has_reals = True
        points = 2 ** (self._level + 1)
        return between((self._take(points - 1) + 1) / points, low, high, log=log)


_COMMON = {"optimize_mode"}
ARGUMENTS: Mapping[str, frozenset[str]] = {
    name: frozenset(_COMMON | own)
    for name, own in {
        "TPE": {"seed", "tpe_args"},
        "Random": {"seed"},
        "GridSearch": set[str](),
        "Evolution": {"population_size", "seed"},
        "GP": {"seed", "cold_start_num"},
    }.items()
}
"""The tuners, and the arguments that have an effect here."""
NUMBERS: Mapping[str, Mapping[str, Number]] = {
    "Evolution": {"population_size": Number(2, 32)},
    "GP": {"cold_start_num": Number(1, 10)},
}
"""The arguments of tuners that are numbers. Those of TPE are in `TPE_NUMBERS`."""

TPE_NUMBERS: Mapping[str, Number] = {
    "n_startup_jobs": Number(0),
    "n_ei_candidates": Number(1),
    "prior_weight": Number(0.0),
    "gamma": Number(0.0),
}
"""The numbers in `tpe_args` that have an effect here."""
LIARS = (None, "best", "worst", "mean")
"""The values of `constant_liar_type`."""
TPE_ARGUMENTS = frozenset({*TPE_NUMBERS, "constant_liar_type"})


def find_tuner(name: str) -> str | None:
    """Return the tuner's name as it is documented, or None if there is no such tuner here."""
    wanted = name.lower().removesuffix("tuner")
    return next((one for one in ARGUMENTS if one.lower() == wanted), None)
