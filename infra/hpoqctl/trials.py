"""`hpoq trials`: the leaderboard of an experiment, from the service or from a running `hpoq local`."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.clock import Clock, SystemClock
from hpoq.cloud.caller import TRANSIENT
from hpoq.cloud.experiments import Experiment
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.trials import Trial, read_all_trials
from hpoq.contract.rules import find_optimize_mode
from hpoq.errors import CallError, NotFound
from hpoq.processing.watchorder import ACTIVE_TRIALS, UNRANKED_TRIALS, has_ended
from hpoqctl.experimentlog import explain_end
from hpoqctl.leaderboard import Row, make_table
from hpoqctl.numbers import Number, WholeNumber
from hpoqctl.output import console, count_of, json_option, notes, print_json
from hpoqctl.services import (
    experiments_endpoint,
    explain_unreachable,
    open_experiments,
    read_settings,
    usage_errors,
)

_PAGE_SIZE = 100
_UNKNOWN_MODE = (
    "The experiment does not say which metric is the best (optimize_mode), so the highest one is shown first. Give "
    "--mode minimize for the lowest."
)
_DIRECTIONS = {"maximize": " The highest metric is the best.", "minimize": " The lowest metric is the best."}


@dataclass(frozen=True)
class Board:
    """The trials of an experiment, the best one first; `mode` is None if the experiment does not state one."""

    experiment: Experiment
    mode: str | None
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial with the best final metric, or None if none has ended with one."""
        return self.trials[0] if self.trials and _is_ranked(self.trials[0]) else None

    def as_json(self) -> JsonObject:
        """Return the board for machines."""
        rows: list[JsonValue] = [_describe_trial(trial) for trial in self.trials]
        return {
            "experimentId": self.experiment.experiment_id,
            "name": self.experiment.name,
            "status": self.experiment.status,
            "optimizeMode": self.mode,
            "bestTrial": None if self.best is None else _describe_trial(self.best),
            "trials": rows,
        }


@click.command(name="trials")
@click.argument("experiment_id", metavar="EXPERIMENT")
@click.option("--follow", is_flag=True, help="Update the table until the experiment ends.")
@click.option(
    "--interval",
    type=Number(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two checks of --follow.",
)
@click.option(
    "--mode",
    type=click.Choice(["maximize", "minimize"]),
    help="Whether the highest metric is the best, or the lowest. Default: as the experiment's optimize_mode says.",
)
@click.option(
    "--top",
    type=WholeNumber(1),
    default=20,
    show_default=True,
    metavar="N",
    help="The number of trials to show. --json lists all.",
)
@click.option("--endpoint", metavar="URL", help="The base URL of PAI AutoML, or of a running `hpoq local`.")
@json_option
@usage_errors()
def command(
    experiment_id: str,
    follow: bool,
    interval: float,
    mode: str | None,
    top: int,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Show the trials of an experiment, the best one first.

    EXPERIMENT is the id of the experiment, as in its created event. The trials are sorted by their metric, in the
    direction that the experiment's optimize_mode states.

    Exit code 1 means that the experiment or its trials could not be read. With --follow it also means that the
    experiment failed.
    """
    url = experiments_endpoint(read_settings(), endpoint)
    try:
        client = open_experiments(url)
        board = read_board(client, experiment_id, mode)
        if follow:
            board = _follow(client, board, mode, top, interval)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="EXPERIMENT") from exc
    except NotFound as exc:
        problem = f"Experiment {experiment_id} does not exist, or these credentials may not see it."
        raise click.ClickException(problem) from exc
    except CallError as exc:
        raise click.ClickException(explain_unreachable(exc, url)) from exc
    if as_json:
        print_json(board.as_json())
    else:
        console().print(_draw(board, top))
        for line in explain_end(client, experiment_id) if board.experiment.status == "FAILED" else ():
            console().print(line)
        if board.mode is None:
            notes().print(_UNKNOWN_MODE)
    raise SystemExit(1 if follow and board.experiment.status == "FAILED" else 0)


def read_board(client: PaiAutoMl, experiment_id: str, mode: str | None = None) -> Board:
    """Read an experiment and all its trials. Raises CallError, and ValueError if the text cannot be an id."""
    experiment = client.get_hpo_experiment(experiment_id)
    mode = mode or find_optimize_mode(experiment.configuration)
    counts = experiment.trials
    listing = read_all_trials(
        lambda number: client.list_hpo_trials(experiment_id, page_number=number, page_size=_PAGE_SIZE),
        _PAGE_SIZE,
        None if counts is None else sum(count for _, count in counts),
    )
    sign = 1.0 if mode == "minimize" else -1.0
    return Board(experiment, mode, tuple(sorted(listing.by_id.values(), key=lambda one: _rank(one, sign))))


def _rank(trial: Trial, sign: float) -> tuple[bool, float, str, str]:
    """Return the sort key of a trial: those that have ended with a metric come first, sorted by it."""
    metric = sign * trial.metric if _is_ranked(trial) and trial.metric is not None else math.inf
    return not _is_ranked(trial), metric, trial.status, trial.trial_id


def _is_ranked(trial: Trial) -> bool:
    return trial.metric is not None and trial.status not in UNRANKED_TRIALS


def _follow(client: PaiAutoMl, board: Board, mode: str | None, top: int, interval: float) -> Board:
    """Show the board on standard error until the experiment has ended, and return the last one.

    A terminal shows the whole board, any other output a line whenever it changes.
    """
    out, shown = notes(), ""
    live = Live(console=out, transient=True, auto_refresh=False) if out.is_terminal else None
    with live or contextlib.nullcontext():
        for latest in _watch(client, board, mode, interval, SystemClock()):
            board, line = latest, _summarize(latest)
            if live is not None:
                live.update(_draw(board, top), refresh=True)
            elif line != shown:
                out.print(Text(line))
            shown = line
    return board


def _watch(
    client: PaiAutoMl, board: Board, mode: str | None, interval: float, clock: Clock
) -> Iterator[Board]:
    """Yield the board until the experiment has ended. A call that may succeed later is made again."""
    yield board
    while not has_ended(board.experiment):
        clock.sleep(interval)
        try:
            board = read_board(client, board.experiment.experiment_id, mode)
        except CallError as exc:
            if not isinstance(exc, TRANSIENT):
                raise
            continue
        yield board


def _draw(board: Board, top: int) -> Group:
    shown = enumerate(board.trials[:top], 1)
    table = make_table(_describe_row(board, trial, place) for place, trial in shown)
    more = len(board.trials) - top
    parts: list[Text | Table] = [Text(_summarize(board), "bold"), table]
    return Group(
        *parts, *([Text(f"and {count_of(more, 'more trial')}. --top shows more.")] if more > 0 else [])
    )


def _describe_row(board: Board, trial: Trial, place: int) -> Row:
    return Row(
        trial.trial_id,
        trial.hyperparameters or {},
        trial.metric,
        trial.status,
        _count_seconds(trial),
        place if _is_ranked(trial) else None,
        is_best=trial is board.best,
    )


def _summarize(board: Board) -> str:
    counts = Counter(trial.status for trial in board.trials)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    trials = f"{count_of(len(board.trials), 'trial')}{': ' if listed else ''}{listed}"
    name = f" ({board.experiment.name})" if board.experiment.name else ""
    direction = _DIRECTIONS.get(board.mode or "", "")
    return f"{board.experiment.experiment_id}{name}: {board.experiment.status}. {trials}.{direction}"


def _count_seconds(trial: Trial) -> float | None:
    """Return how long a trial took, or None if that is not known or the trial has not ended."""
    return None if trial.status in ACTIVE_TRIALS else trial.seconds


def _describe_trial(trial: Trial) -> JsonObject:
    return {
        "trialId": trial.trial_id,
        "hyperparameters": trial.hyperparameters,
        "metric": trial.metric,
        "status": trial.status,
        "seconds": _count_seconds(trial),
    }
