"""`hpoq try`: run a request's experiment on this machine, from the message to the best parameters."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

import alilocal
from alilocal.eventstream import EventStream
from alilocal.trials.engine import TrialOptions
from alilocal.trials.plan import RUNNABLE
from alilocal.trials.record import TERMINAL
from alilocal.trials.trial import Limits
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from fcruntime.jsonvalue import JsonObject
from hpoq.contract.finding import get_member
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import parse_request
from hpoq.function import Function
from hpoq.observability import logs
from hpoqctl.checking import Checked, check_document, format_result
from hpoqctl.files import PathName, read_requests
from hpoqctl.leaderboard import (
    describe_trial,
    draw_chart,
    format_metric,
    make_progress,
    make_table,
    rank_trials,
    trial_row,
)
from hpoqctl.numbers import Number, WholeNumber
from hpoqctl.output import console, count_of, format_hyperparameters, json_option, notes, print_json
from hpoqctl.pipeline import (
    DEAD_LETTER_QUEUE,
    QUEUE,
    TIMEOUT_SECONDS,
    TOPIC,
    WATCH_QUEUE,
    create_pipeline,
    make_environment,
)
from hpoqctl.services import usage_errors

if TYPE_CHECKING:
    from alilocal.paiautoml.model import Experiment
    from alilocal.trials.record import Run

_NOT_HERE = (
    "The trials of {platform} cannot run on this machine; only those of LOCAL and DLC can. `hpoq local` takes this "
    "request too, with simulated trials; `hpoq check --sample 3` shows what its commands would be."
)
_NO_PLATFORM = (
    "{place} names no platform in platform_config, so there is nothing to try. Add one, such as LOCAL."
)
_STOP = "{place} is a stop message, which has nothing to try. Give the FILE of a request with an experiment."
_DRY_RUN = (
    "{place} has dryRun: true, and a dry run creates no experiment. Remove dryRun to try the experiment; "
    "`hpoq check` validates the request without running it."
)
_REFRESH_SECONDS = 0.1
_STOP_SECONDS = 10
_MOST_SHOWN = 20
_PIPE_WIDTH = 160
_MISSING = ("No such file", "can't open file", "not found", "No module named")
_MOST_LOG_LINES = 10
_MOST_LOOKS = 50
_LOOK_SECONDS = 600


@dataclass
class _Trying:
    """An embedded cloud whose trials run, with the function behind its queue."""

    cloud: alilocal.LocalCloud
    function: Function
    streams: list[EventStream] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def events(self) -> list[JsonObject]:
        """The events that were published."""
        return [json.loads(one.body) for one in self.cloud.topics[TOPIC].published]

    @property
    def experiment(self) -> Experiment | None:
        """The experiment that was created, or None."""
        return self.cloud.experiments[0] if self.cloud.experiments else None

    def send(self, body: bytes) -> None:
        """Send a message and let the function process it."""
        self.cloud.queues[QUEUE].send(body.decode())
        self.streams[0].step()

    def await_finished(self) -> None:
        """Deliver watch messages until the function has published the result of the experiment."""
        for _ in range(_MOST_LOOKS):
            if not self.cloud.queues[WATCH_QUEUE].messages:
                return
            # A watch message is delayed, and nothing else waits for the cloud's clock.
            self.cloud.clock.advance(_LOOK_SECONDS)
            while self.streams[1].step():
                pass


@click.command(name="try")
@click.argument("path", metavar="FILE")
@click.option("--trials", type=WholeNumber(1), metavar="N", help="Run N trials instead of max_trial_number.")
@click.option(
    "--parallel", type=WholeNumber(1), metavar="N", help="Run N trials at once instead of trial_concurrency."
)
@click.option(
    "--code",
    type=PathName(exists=True, file_okay=False, path_type=Path),
    default=".",
    metavar="DIR",
    help="The folder that commands find in NNI_CODE_DIR. Default: the current one.",
)
@click.option(
    "--trial-timeout",
    type=Number(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="The time limit of a trial.",
)
@click.option("--verbose", "-v", is_flag=True, help="Print the function's log to standard error.")
@json_option
def command(
    path: str,
    trials: int | None,
    parallel: int | None,
    code: Path,
    trial_timeout: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run the experiment of a request on this machine, and show its trials and the best parameters.

    FILE contains one request in JSON or YAML. It passes through an embedded local cloud: the message is sent, the
    function creates the experiment and publishes its event, and the trials run as processes with the request's own
    commands. This works for the platforms LOCAL and DLC; for a `dlc submit`, its --command is run.

    A command finds its hyperparameters in its text, in variables such as PARAM_lr, and in the JSON file that
    TRIAL_PARAMETERS_FILE names. It starts in an empty folder; call your programs as "$NNI_CODE_DIR/...".

    Ctrl-C stops the trials and shows those that have ended.

    Exit code 1 means that no trial succeeded, or that FILE contains nothing to try: an invalid request, a dry run, a
    stop message, or an experiment of another platform.
    """
    logs.configure("DEBUG" if verbose else "CRITICAL", sys.stderr)
    checked, body = _read_request(path, trials, parallel)
    if not checked.valid:
        _refuse(checked, as_json=as_json)
    problem = _find_problem(checked)
    if problem is not None:
        _refuse(checked, problem, as_json=as_json)
    # SIGTERM ends the command as Ctrl-C does, so that no trial is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = TrialOptions(code=code.resolve(), limits=Limits(trial_timeout))
    with usage_errors(), _open(options) as trying:
        _run(trying, body, is_silent=as_json or not notes().is_terminal)
        trying.await_finished()
        if as_json:
            print_json(_compose_document(trying))
        else:
            _print_result(trying)
        has_best = trying.experiment is not None and _best_of(trying.experiment) is not None
    raise SystemExit(130 if trying.is_interrupted else 0 if has_best else 1)


def _read_request(path: str, trials: int | None, parallel: int | None) -> tuple[Checked, bytes]:
    """Return the request in a file with its numbers replaced, and the result of its validation."""
    documents = list(read_requests([path]))
    if len(documents) != 1:
        raise click.BadParameter(
            f"{path} contains {count_of(len(documents), 'request')}. Give a file with one.", param_hint="FILE"
        )
    checked = check_document(documents[0])
    if not checked.valid or (trials is None and parallel is None):
        return checked, documents[0].data
    document = parse_request(documents[0].data).request.wire()
    experiment = document.get("experiment")
    configuration = experiment.get("HpoExperimentConfiguration") if isinstance(experiment, dict) else None
    if isinstance(configuration, dict):
        numbers: JsonObject = {"max_trial_number": trials, "trial_concurrency": parallel}
        given = configuration.get("yml_config")
        configuration["yml_config"] = {
            **(given if isinstance(given, dict) else {}),
            **{name: number for name, number in numbers.items() if number is not None},
        }
    return checked, json.dumps(document, ensure_ascii=False).encode()


def _find_problem(checked: Checked) -> str | None:
    """Return why a valid document has no experiment that can run here, or None if it has one."""
    request, place = checked.parsed and checked.parsed.request, checked.document.place
    if not isinstance(request, ExperimentRequest):
        return _STOP.format(place=place)
    if request.dry_run:
        return _DRY_RUN.format(place=place)
    platform = get_member(
        request.wire(), "experiment", "HpoExperimentConfiguration", "platform_config", "name"
    )
    if not isinstance(platform, str) or not platform:
        return _NO_PLATFORM.format(place=place)
    return None if platform.upper() in RUNNABLE else _NOT_HERE.format(platform=platform)


def _refuse(checked: Checked, problem: str | None = None, *, as_json: bool) -> NoReturn:
    """End the command because of the violations, or because of `problem` if the request is valid."""
    if as_json:
        nothing: JsonObject = {"experimentId": None, "status": None, "bestTrial": None, "trials": []}
        print_json({**nothing, **checked.as_row(), "error": problem})
    elif problem is not None:
        notes().print(f"Error: {problem}", markup=False)
    else:
        for line in format_result(checked):
            console().print(line)
    raise SystemExit(1)


@contextlib.contextmanager
def _open(options: TrialOptions) -> Iterator[_Trying]:
    """Start the cloud and the function; raises SettingsError for wrong HPOQ_ variables."""
    with alilocal.LocalCloud(run_trials=options) as cloud:
        create_pipeline(cloud)
        environ = make_environment(cloud, cloud.endpoint, "sqlite:///:memory:")
        function = Function(environ, session=cloud.session())
        context = Fc3Context("1-try", FunctionInfo(timeout=TIMEOUT_SECONDS))
        trying = _Trying(cloud, function)
        for queue in (QUEUE, WATCH_QUEUE):
            stream = EventStream(
                cloud,
                queue=queue,
                invoke=lambda event: invoke(function.handle, event, context).ok,
                dead_letter_queue=DEAD_LETTER_QUEUE,
            )
            trying.streams.append(stream)
        try:
            yield trying
        finally:
            function.close()


def _run(trying: _Trying, body: bytes, *, is_silent: bool) -> None:
    """Send the message and wait for the end of its experiment. Ctrl-C stops the experiment."""
    try:
        trying.send(body)
        _follow(trying, is_silent=is_silent)
    except KeyboardInterrupt:
        trying.is_interrupted = True
        if trying.experiment is not None:
            trying.experiment.stop()
            _wait(trying.cloud, trying.experiment, _STOP_SECONDS)


def _follow(trying: _Trying, *, is_silent: bool) -> None:
    """Wait for the end of the experiment, and show its trials meanwhile."""
    experiment = trying.experiment
    if experiment is None or experiment.run is None:
        return
    live = Live(console=notes(), transient=True, auto_refresh=False, vertical_overflow="crop")
    with contextlib.nullcontext() if is_silent else live:
        while not _wait(trying.cloud, experiment, _REFRESH_SECONDS):
            if not is_silent:
                live.update(_draw(trying.cloud, experiment, experiment.run), refresh=True)


def _wait(cloud: alilocal.LocalCloud, experiment: Experiment, seconds: float) -> bool:
    """Return whether the experiment has ended, after at most `seconds`."""
    with cloud.changed:
        return cloud.changed.wait_for(lambda: experiment.status in TERMINAL, seconds)


def _draw(cloud: alilocal.LocalCloud, experiment: Experiment, run: Run) -> Group:
    with cloud.changed:
        section = experiment.configuration.get("yml_config")
        number = section.get("max_trial_number") if isinstance(section, dict) else None
        table = make_table(describe_trial(run, one, time.time()) for one in run.trials[-_MOST_SHOWN:])
        return Group(
            table, make_progress(run, number if isinstance(number, int) else 10, experiment.gmt_create_time)
        )


def _best_of(experiment: Experiment) -> JsonObject | None:
    best = experiment.run.best if experiment.run is not None else None
    if best is None:
        return None
    return {"trialId": best.trial_id, "hyperparameters": best.hyperparameters, "metric": best.final}


def _reasons(run: Run) -> list[str]:
    """Return the newest lines of the experiment's log that explain a deviation from the request."""
    return [text for _, text in run.log][-_MOST_LOG_LINES:]


def _compose_document(trying: _Trying) -> JsonObject:
    experiment, events = trying.experiment, trying.events
    run = experiment.run if experiment is not None else None
    return {
        "experimentId": experiment.experiment_id if experiment else None,
        "status": experiment.status if experiment else None,
        "bestTrial": _best_of(experiment) if experiment else None,
        "trials": [trial_row(one) for one in run.trials] if run else [],
        "log": [*_reasons(run)] if run else [],
        "events": [*events],
    }


def _print_result(trying: _Trying) -> None:
    out = console()
    if not out.is_terminal:
        out.width = _PIPE_WIDTH
    experiment = trying.experiment
    for event in trying.events:
        data = event.get("data")
        error = data.get("error") if isinstance(data, dict) else None
        out.print(Text(f"event  {event['type']}  {event['subject']}"))
        if error is not None:
            out.print(Text(f"       {json.dumps(error, ensure_ascii=False)}", "red"))
    if experiment is None or experiment.run is None:
        return
    run = experiment.run
    for text in _reasons(run):
        out.print(Text(f"log    {text}"))
    ranked = rank_trials(run)
    if ranked:
        out.print()
        out.print(make_table(describe_trial(run, one, time.time()) for one in ranked[:_MOST_SHOWN]))
    if len(ranked) > _MOST_SHOWN:
        out.print(f"... and {count_of(len(ranked) - _MOST_SHOWN, 'more trial')}")
    _print_failures(experiment, run)
    _print_best(experiment, run)


def _print_best(experiment: Experiment, run: Run) -> None:
    out = console()
    chart = draw_chart(run, is_ascii=not (out.encoding or "").lower().startswith("utf"))
    if chart:
        out.print("\nBest metric after each trial")
        out.print(Text("\n".join(f"  {line}" for line in chart)))
    ended = sum(one.is_over for one in run.trials)
    out.print(f"\nExperiment {experiment.experiment_id} {experiment.status}, {count_of(ended, 'trial')}")
    best = run.best
    if best is None:
        out.print(Text("No trial succeeded.", "red"))
        return
    metric, parameters = (
        (format_metric(best.final), "bold green"),
        (format_hyperparameters(best.hyperparameters), "bold"),
    )
    out.print(Text.assemble("Best: ", metric, f" by trial {best.sequence + 1} with ", parameters))


def _print_failures(experiment: Experiment, run: Run) -> None:
    """Print why trials failed, each reason once, and the end of the first one's standard error."""
    from alilocal.paiautoml.triallogs import trial_log

    failed = [one for one in run.trials if one.status == "FAILED"]
    if not failed:
        return
    out = console()
    out.print()
    for reason in dict.fromkeys(one.reason for one in failed):
        count = sum(one.reason == reason for one in failed)
        out.print(Text(f"{count_of(count, 'trial')} failed: {reason}", "red"))
    errors = trial_log(experiment, "stderr", failed[0])[-_MOST_LOG_LINES:]
    for line in errors:
        out.print(Text(f"  trial {failed[0].sequence + 1}: {line}"))
    if any(hint in line for line in errors for hint in _MISSING):
        out.print(
            'A command starts in an empty folder. Call your programs as "$NNI_CODE_DIR/..."; see --code.'
        )
