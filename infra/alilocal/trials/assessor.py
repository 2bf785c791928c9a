"""PAIAssessor: stops a trial whose intermediate metrics are worse than those of the other trials.

Arguments: https://github.com/alibaba/EasyRec, docs/source/automl/hpo_config.md. It is a median stop: from
`start_step` on, the best metric of a trial is compared with the metrics of all other trials at the same step (their
last one, if they have fewer), or with their moving averages. The trial is stopped if it is worse than the share
`proportion` of them, or if its last metric was not its best one `patience` times in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.jsonvalue import JsonObject
from alilocal.trials.arguments import Number, read_flag, read_number

ARGUMENTS = frozenset(
    {"optimize_mode", "start_step", "moving_avg", "proportion", "patience", "earlystop", "platform"}
)


@dataclass(frozen=True)
class Rules:
    """The arguments of PAIAssessor."""

    maximize: bool
    start_step: int = 0
    moving_avg: bool = False
    proportion: float = 0.5
    patience: int | None = None
    earlystop: bool = True


_NAME = "PAIAssessor"
_START_STEP, _PROPORTION, _PATIENCE = Number(0, 0), Number(0.0, 0.5, 1.0), Number(1)


def read_rules(arguments: JsonObject, remarks: list[str], *, maximize: bool) -> Rules:
    """Return the rules in `class_args`, and add a remark for each value that is invalid."""
    patience = read_number(arguments, "patience", _PATIENCE, _NAME, remarks)
    return Rules(
        maximize=maximize,
        start_step=int(read_number(arguments, "start_step", _START_STEP, _NAME, remarks) or 0),
        moving_avg=read_flag(arguments, "moving_avg", _NAME, remarks, default=False),
        proportion=float(read_number(arguments, "proportion", _PROPORTION, _NAME, remarks) or 0.0),
        patience=None if patience is None else int(patience),
        earlystop=read_flag(arguments, "earlystop", _NAME, remarks, default=True),
    )


class Assessor:
    """Remembers the metrics of all trials of an experiment."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._sign = 1 if rules.maximize else -1
        self._histories: dict[int, list[float]] = {}
        self._sums: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._best: dict[int, float] = {}
        self._patience: dict[int, int] = {}

    def assess(self, trial: int, metric: float) -> str | None:
        """Add an intermediate metric of a trial; return why it must be stopped, or None."""
        rules, value = self._rules, self._sign * metric
        count = self._counts[trial] = self._counts.get(trial, 0) + 1
        self._sums[trial] = self._sums.get(trial, 0.0) + value
        kept = self._sums[trial] / count if rules.moving_avg else value
        self._histories.setdefault(trial, []).append(kept)
        best = self._best[trial] = max(self._best.get(trial, value), value)
        if not rules.earlystop or count < rules.start_step:
            return None
        if rules.patience is not None:
            is_worse = value < best
            left = self._patience.get(trial, rules.patience) - 1 if is_worse else rules.patience
            self._patience[trial] = left
            if left <= 0:
                return f"its metric was not its best one {rules.patience} times in a row (patience)"
        limit = self._limit(trial, count)
        if limit is None or best >= limit:
            return None
        return (
            f"at step {count} its best metric {self._sign * best:g} is worse than {self._sign * limit:g}, "
            f"the proportion {rules.proportion:g} of the other trials"
        )

    def _limit(self, trial: int, step: int) -> float | None:
        others = sorted(
            history[min(step, len(history)) - 1] for one, history in self._histories.items() if one != trial
        )
        if not others:
            return None
        # Signs are turned if the metric is minimized, so the order is always from the worst to the best.
        if self._rules.maximize:
            return others[int((len(others) - 1) * self._rules.proportion)]
        place = min(int(len(others) * self._rules.proportion), len(others) - 1)
        return others[len(others) - 1 - place]
