"""`hpoq send --wait finished`: follow experiments to their results, with the number of trials on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget
from hpoq.cloud.paiautoml import default_endpoint
from hpoq.contract.document import read_object
from hpoq.contract.finding import get_member, get_object
from hpoq.errors import CallError
from hpoq.processing.watchorder import ACTIVE_TRIALS
from hpoq.settings import Settings
from hpoqctl.experimentlog import Experiments, explain_end
from hpoqctl.inbox import Answers
from hpoqctl.output import count_of, format_hyperparameters
from hpoqctl.services import Target, open_experiments

ENDS = ("created", "finished")
"""What `--wait` can wait for."""
_BAD_ENDS = ("FAILED", "SYS_CANCELED", "DELETED", "UNKNOWN")
# Experiments that are looked at after each poll of the inbox.
_MOST_LOOKS = 10
_LOOK_SECONDS = 5.0


class WaitCommand(click.Command):
    """A command whose option --wait has a value that may be left out, even in front of a FILE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--wait finished` as one option, and `--wait FILE` as `--wait created FILE`."""
        words = list(args)
        for index, word in enumerate(words):
            if word == "--":
                break
            if word == "--wait":
                has_value = words[index + 1 : index + 2] and words[index + 1] in ENDS
                words[index] = f"--wait={words.pop(index + 1) if has_value else ENDS[0]}"
        return super().parse_args(ctx, words)


def is_good_result(result: JsonObject) -> bool:
    """Return whether an experiment ended as its producer may want it: by itself, or because it was stopped."""
    return get_member(result, "data", "status") not in _BAD_ENDS


def format_finished(result: JsonObject, client: Experiments | None) -> Iterator[Text]:
    """Yield a line with the status of a finished event, its trials and the best one, and of a failed one its log."""
    data = get_object(result, "data")
    count = sum(number for number in get_object(data, "trials").values() if isinstance(number, int))
    parts = [f"{data.get('status')} after {count_of(count, 'trial')}"]
    if data.get("stoppedBy"):
        limit = f" ({data['limit']})" if data.get("limit") else ""
        parts.append(f"stopped by {data['stoppedBy']}{limit}")
    best, by_mode = get_object(data, "bestTrial"), get_object(data, "bestTrialByMode")
    parts += [_format_best(best)] if best else []
    parts += [f"to {mode} the metric: {_format_best(get_object(by_mode, mode))}" for mode in by_mode]
    style = "green" if is_good_result(result) else "red"
    yield Text.assemble("  ", ("finished ", style), f"  {', '.join(parts)}")
    if data.get("status") == "FAILED" and client is not None:
        yield from explain_end(client, str(data.get("experimentId")))


def _format_best(trial: JsonObject) -> str:
    values = format_hyperparameters(get_object(trial, "hyperparameters"))
    return f"best trial {trial.get('trialId')} with metric {trial.get('metric')} ({values})"


class TrialProgress:
    """A progress bar of the trials of all experiments that the answers name.

    Without an endpoint or a permission for PAI AutoML it shows only what finished events say. Nothing is looked at
    if the bar is not shown.
    """

    def __init__(
        self, progress: Progress, answers: Answers, requests: Sequence[bytes], client: Experiments | None
    ) -> None:
        self._progress = progress
        self._answers = answers
        self._planned = [_read_planned(request) for request in requests]
        self._client = client
        self._counts: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._task = progress.add_task("Running trials", total=sum(self._planned) or None)

    def update(self) -> None:
        """Look at experiments that have not ended, and show how many trials have."""
        for index, result in self._answers.results.items():
            trials = get_object(result, "data", "trials").values()
            count = sum(number for number in trials if isinstance(number, int))
            self._counts[index] = (count, count)
            self._planned[index] = count
        self._look()
        total = sum(max(self._planned[index], number) for index, (_, number) in self._counts.items())
        total += sum(self._planned[index] for index in self._answers.unfinished if index not in self._counts)
        ended = sum(number for number, _ in self._counts.values())
        self._progress.update(self._task, completed=ended, total=max(total, ended) or None)

    def _look(self) -> None:
        waiting = self._answers.unfinished
        if self._client is None or self._progress.disable:
            return
        for _ in range(min(_MOST_LOOKS, len(waiting))):
            index = waiting[self._next % len(waiting)]
            self._next += 1
            experiment_id = get_member(self._answers.events[index], "data", "experimentId")
            with contextlib.suppress(CallError, ValueError):
                budget = Budget.lasting(_LOOK_SECONDS)
                counts = self._client.get_hpo_experiment(str(experiment_id), budget=budget).trials or ()
                ended = sum(number for status, number in counts if status not in ACTIVE_TRIALS)
                self._counts[index] = (ended, sum(number for _, number in counts))


def find_experiments(settings: Settings, target: Target, endpoint: str | None) -> Experiments | None:
    """Return the client of PAI AutoML that belongs to `target`, or None if its endpoint is not known."""
    url: str | None
    if target.is_local:
        url = endpoint or settings.paiautoml_endpoint or target.endpoint
    else:
        url = settings.paiautoml_endpoint or (default_endpoint(target.region) if target.region else None)
    return None if url is None else open_experiments(url)


def _read_planned(request: bytes) -> int:
    """Return the number of trials that a request asks for, or 0 if it does not say."""
    document = read_object(request) or {}
    inner = document.get("experiment", document)
    number = get_member(inner, "HpoExperimentConfiguration", "yml_config", "max_trial_number")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0
