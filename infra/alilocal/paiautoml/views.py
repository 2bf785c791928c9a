"""The console's pages of experiments and their trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from alilocal.core.jsonvalue import JsonValue
from alilocal.core.view import (
    Axis,
    Badge,
    Button,
    Buttons,
    Code,
    Line,
    Lines,
    Link,
    Moment,
    Parallel,
    Part,
    Plot,
    Table,
    View,
)
from alilocal.paiautoml.model import AnyTrial, Experiment
from alilocal.paiautoml.triallogs import experiment_log, read_commands, trial_log
from alilocal.trials.placeholders import plain_name
from alilocal.trials.record import TERMINAL, TrialRecord

_MOST_ROWS, _MOST_LINES, _MOST_AXES = 100, 200, 10
_RESTARTABLE = ("FAILED", "USER_CANCELED", "SYS_CANCELED")
_LONGEST = 200
_LOG_RATIO = 50
_LARGEST = 1e300


def experiment_path(experiment: Experiment) -> str:
    """Return the path of an experiment's page."""
    return f"paiautoml/experiment/{experiment.experiment_id}"


def view_experiment(experiment: Experiment) -> View:
    """Return an experiment's page: leaderboard, charts and log."""
    trials = experiment.trials
    ranked = _rank(experiment, trials)
    return View(
        f"Experiment {experiment.experiment_id}",
        (
            _summary(experiment, trials),
            Part("best", "Best metric", _plot(experiment, trials)),
            Part("parallel", "Hyperparameters", _parallel(ranked)),
            _leaderboard(experiment, ranked),
            Part("log", "Log", Lines(experiment_log(experiment, "nnimanager.log"))),
        ),
    )


def view_trial(experiment: Experiment, trial: AnyTrial) -> View:
    """Return a trial's page: its hyperparameters, commands and logs."""
    row = (
        Link(experiment.experiment_id, experiment_path(experiment)),
        Badge(trial.status),
        _metric(trial),
        _reason(trial),
        Moment(trial.created),
        _buttons(experiment, trial),
    )
    parameters = [(name, _text(value)) for name, value in trial.hyperparameters.items()]
    commands = [(str(one.number), Code([one.text])) for one in read_commands(experiment, trial)]
    heads = ("experiment", "status", "metric", "reason", "created", "")
    logs = [
        Part(f"log-{name.partition('.')[0]}", name, Lines(trial_log(experiment, name, trial)))
        for name in ("stdout", "stderr", "trial.log")
    ]
    return View(
        f"Trial {trial.trial_id}",
        (
            Table("trial", "Summary", heads, [row], 1, ""),
            Table("parameters", "Hyperparameters", ("name", "value"), parameters, len(parameters), "None."),
            Table("commands", "Commands", ("number", "command"), commands, len(commands), "None ran yet."),
            *logs,
        ),
    )


def find_trial(experiment: Experiment, trial_id: str) -> AnyTrial | None:
    """Return the trial with that id, or None."""
    return next((one for one in experiment.trials if one.trial_id == trial_id), None)


def final_of(trial: AnyTrial) -> float | None:
    """Return the final metric of a trial, or None if it has none."""
    rows = [row["default"] for row in trial.metrics if row["type"] == "FINAL"]
    return float(rows[0]) if rows and isinstance(rows[0], (int, float)) else None


def is_restartable(trial: AnyTrial) -> bool:
    """Return whether a trial has ended without success."""
    return trial.status in _RESTARTABLE


def _maximizes(experiment: Experiment) -> bool:
    if experiment.run is not None:
        return experiment.run.maximize
    value: JsonValue = experiment.configuration
    for name in ("yml_config", "tuner", "class_args", "optimize_mode"):
        value = value.get(name) if isinstance(value, dict) else None
    return value == "maximize"


def _rank(experiment: Experiment, trials: Sequence[AnyTrial]) -> list[AnyTrial]:
    """Return the trials, the best one first and those without a metric last."""
    sign = -1 if _maximizes(experiment) else 1
    finals = {one.sequence: final_of(one) for one in trials}

    def place(trial: AnyTrial) -> tuple[bool, float, int]:
        final = finals[trial.sequence]
        return final is None, sign * (final or 0.0), trial.sequence

    return sorted(trials, key=place)


def _summary(experiment: Experiment, trials: Sequence[AnyTrial]) -> Table:
    best = _rank(experiment, trials)[:1]
    is_over = experiment.status in TERMINAL or experiment.status == "TERMINATING"
    stop = Button("Stop", "actions/paiautoml/stop", {"experiment": experiment.experiment_id})
    row = (
        experiment.name or "",
        Badge(experiment.status),
        str(len(trials)),
        _metric(best[0]) if best else "",
        "run on this machine" if experiment.run is not None else "simulated",
        Moment(experiment.gmt_create_time),
        Buttons(() if is_over else (stop,)),
    )
    heads = ("name", "status", "trials", "best metric", "trials are", "created", "")
    return Table("experiment", "Summary", heads, [row], 1, "")


def _leaderboard(experiment: Experiment, ranked: Sequence[AnyTrial]) -> Table:
    rows = [
        (
            str(rank),
            Link(one.trial_id, f"{experiment_path(experiment)}/trial/{one.trial_id}"),
            Code([_parameters(one)]),
            _metric(one),
            Badge(one.status),
            _seconds(one),
            _buttons(experiment, one),
        )
        for rank, one in enumerate(ranked[:_MOST_ROWS], 1)
    ]
    heads = ("rank", "trial", "hyperparameters", "metric", "status", "time", "")
    return Table("leaderboard", "Leaderboard", heads, rows, len(ranked), "No trial has started yet.")


def _buttons(experiment: Experiment, trial: AnyTrial) -> Buttons:
    fields = {"experiment": experiment.experiment_id, "trial": trial.trial_id}
    if trial.status in ("WAITING", "RUNNING"):
        return Buttons((Button("Stop", "actions/paiautoml/stop-trial", fields),))
    if is_restartable(trial) and experiment.status == "RUNNING":
        return Buttons((Button("Restart", "actions/paiautoml/restart-trial", fields),))
    return Buttons(())


def _plot(experiment: Experiment, trials: Sequence[AnyTrial]) -> Plot:
    found = [(one.sequence, final_of(one)) for one in trials]
    points = [(float(number), final) for number, (_, final) in enumerate(found, 1) if final is not None]
    best = accumulate((y for _, y in points), max if _maximizes(experiment) else min)
    line = [(x, y) for (x, _), y in zip(points, best, strict=True)]
    if line:
        line.append((float(len(found)), line[-1][1]))
    label = f"The best metric after each of {len(found)} trials"
    return Plot(label, "trial", points, line, "No trial has a metric yet.")


def _parallel(ranked: Sequence[AnyTrial]) -> Parallel:
    shown = [(one, final) for one in ranked if (final := final_of(one)) is not None][:_MOST_LINES]
    names = list(dict.fromkeys(name for one, _ in shown for name in one.hyperparameters))[: _MOST_AXES - 1]
    columns = {plain_name(name): [one.hyperparameters.get(name) for one, _ in shown] for name in names} | {
        "metric": [final for _, final in shown]
    }
    axes, shares = [], []
    for name, values in columns.items():
        axis, places = _axis(name, values)
        axes.append(axis)
        shares.append(places)
    lines = [
        Line(f"{one.trial_id}: {final:.6g} with {_parameters(one)}", [places[number] for places in shares])
        for number, (one, final) in enumerate(shown)
    ]
    label = f"Hyperparameters and metrics of {len(lines)} trials"
    return Parallel(label, axes, lines, "No trial has a metric yet.")


def _axis(name: str, values: Sequence[JsonValue]) -> tuple[Axis, list[float]]:
    """Return an axis and the place of each value on it; values other than numbers are spaced evenly.

    The scale is logarithmic if the largest number is more than 50 times the smallest one.
    """
    numbers = [
        one
        for one in values
        if isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < _LARGEST
    ]
    if values and len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        is_log = low > 0 and high / low > _LOG_RATIO
        scaled = [math.log(one) if is_log else float(one) for one in numbers]
        first, span = min(scaled), max(scaled) - min(scaled)
        places = [(one - first) / span if span else 0.5 for one in scaled]
        ticks = [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")]
        return Axis(name, ticks), places
    texts = sorted({_text(one) for one in values})
    at: Mapping[str, float] = {
        text: number / (len(texts) - 1) if len(texts) > 1 else 0.5 for number, text in enumerate(texts)
    }
    return Axis(name, [(place, text) for text, place in at.items()]), [at[_text(one)] for one in values]


def _parameters(trial: AnyTrial) -> str:
    text = " ".join(f"{plain_name(name)}={_text(value)}" for name, value in trial.hyperparameters.items())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _text(value: JsonValue) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _metric(trial: AnyTrial) -> str:
    final = final_of(trial)
    return "" if final is None else f"{final:.6g}"


def _reason(trial: AnyTrial) -> str:
    return trial.reason if isinstance(trial, TrialRecord) else ""


def _seconds(trial: AnyTrial) -> str:
    seconds = trial.seconds if isinstance(trial, TrialRecord) else None
    return "" if seconds is None else f"{seconds:.1f} s"
