"""An experiment's trials as `hpoq trials` and `hpoq try` show them: table, chart, and rows for machines."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoqctl.output import format_hyperparameters

if TYPE_CHECKING:
    from alilocal.trials.record import Run, TrialRecord

_STYLES = {
    "SUCCEEDED": "green",
    "FINISHED": "green",
    "RUNNING": "cyan",
    "WAITING": "dim",
    "EARLY_STOPPED": "yellow",
    "FAILED": "red",
    "USER_CANCELED": "magenta",
    "SYS_CANCELED": "magenta",
}
_DIGITS = 5


@dataclass(frozen=True)
class Row:
    """A trial in a table. `rank` is its place among those that are compared, or None."""

    trial: str
    hyperparameters: JsonObject
    metric: float | None
    status: str
    seconds: float | None
    rank: int | None = None
    is_best: bool = False


def make_table(rows: Iterable[Row]) -> Table:
    """Return a table of trials, in which the best one is marked."""
    rows = list(rows)
    is_ranked = any(row.rank is not None for row in rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("#", "trial", "metric", "status", "time", "hyperparameters")[not is_ranked :]:
        table.add_column(
            name, justify="right" if name in ("#", "metric", "time") else "left", overflow="fold"
        )
    for row in rows:
        cells = (
            Text("" if row.rank is None else str(row.rank)),
            Text(row.trial),
            Text(format_metric(row.metric), "bold green" if row.is_best else ""),
            Text(row.status, _STYLES.get(row.status, "")),
            Text("" if row.seconds is None else f"{row.seconds:.1f} s"),
            Text(format_hyperparameters(row.hyperparameters, is_short=True), "bold" if row.is_best else ""),
        )
        table.add_row(*cells[not is_ranked :])
    return table


def trial_row(trial: TrialRecord) -> JsonObject:
    """Return a trial for `--json`; `metric` and `seconds` are None if there are none."""
    seconds = trial.seconds
    return {
        "trialId": trial.trial_id,
        "hyperparameters": trial.hyperparameters,
        "metric": trial.final,
        "status": trial.status,
        "seconds": None if seconds is None else round(seconds, 3),
        "reason": trial.reason or None,
    }


def format_metric(value: float | None) -> str:
    """Return a metric with as many digits as the table shows."""
    return "" if value is None else f"{value:.{_DIGITS}g}"


def rank_trials(run: Run) -> list[TrialRecord]:
    """Return the trials, the best one first and those without a metric last."""
    sign = -1 if run.maximize else 1
    return sorted(run.trials, key=lambda one: (one.final is None, sign * (one.final or 0.0), one.sequence))


def describe_trial(run: Run, trial: TrialRecord, now: float) -> Row:
    """Return the row of a trial that runs or ran on this machine."""
    seconds = trial.seconds if trial.is_over else now - trial.began if trial.began else None
    name, is_best = str(trial.sequence + 1), trial is run.best
    return Row(name, trial.hyperparameters, trial.final, trial.status, seconds, is_best=is_best)


def make_progress(run: Run, total: int, began: float) -> Progress:
    """Return a progress bar of the trials that have ended."""
    progress = Progress(TextColumn("Trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done = sum(one.is_over for one in run.trials)
    task = progress.add_task("", total=max(total, len(run.trials)), completed=done)
    progress.tasks[task].start_time = progress.get_time() - (time.time() - began)
    return progress


def draw_chart(run: Run, *, width: int = 60, height: int = 8, is_ascii: bool = False) -> list[str]:
    """Return a chart of the best metric after each trial, or nothing for fewer than two metrics.

    The scale is that of the best metrics; the metrics of single trials are shown where they fit in.
    """
    metrics = [one.final for one in run.trials if one.final is not None and one.status == "SUCCEEDED"]
    if len(metrics) < 2:
        return []
    best = list(accumulate(metrics, max if run.maximize else min))
    low, high = min(best), max(best)
    span = high - low or 1.0
    height = height if high > low else 1
    if not math.isfinite(span):
        return []
    columns = min(width, len(metrics))
    line, dot = ("=", ".") if is_ascii else ("\u2501", "\u00b7")
    rows = [[" "] * columns for _ in range(height)]
    for column in range(columns):
        first, last = column * len(metrics) // columns, (column + 1) * len(metrics) // columns
        for value, mark in [*((one, dot) for one in metrics[first:last]), (best[last - 1], line)]:
            place = round((high - value) / span * (height - 1))
            if 0 <= place < height:
                rows[place][column] = mark
    labels = [format_metric(high - span * place / max(1, height - 1)) for place in range(height)]
    margin = max(map(len, labels))
    axis, corner, floor = ("|", "+", "-") if is_ascii else ("\u2502", "\u2514", "\u2500")
    drawn = [
        f"{label:>{margin}} {axis}{''.join(row)}".rstrip() for label, row in zip(labels, rows, strict=True)
    ]
    count = str(len(metrics))
    scale = f"{'1':<{max(1, columns - len(count))}}{count}"
    return [*drawn, f"{'':>{margin}} {corner}{floor * columns}", f"{'':>{margin}}  {scale} trials"]
