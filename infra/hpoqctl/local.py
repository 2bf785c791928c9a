"""`hpoq local`: run the local cloud with the whole pipeline on this machine."""

from __future__ import annotations

import errno
import json
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import requests

import alilocal
from alilocal.core.snapshot import BadSnapshot
from alilocal.server import EndSignal
from alilocal.statedir import StateDir, StateInUse
from alilocal.trials.engine import TrialOptions
from alilocal.trials.trial import Limits
from fcruntime.jsonvalue import JsonValue
from hpoq.cloud.connections import new_session
from hpoq.contract.identity import derive_key
from hpoq.contract.request import compute_fingerprint, parse_request
from hpoq.errors import RequestRejected
from hpoq.idempotency.record import Record, decode
from hpoq.settings import Settings
from hpoqctl.checking import derive_own_key
from hpoqctl.files import PathName
from hpoqctl.livelog import LiveLog, format_banner
from hpoqctl.numbers import Number, WholeNumber
from hpoqctl.output import console, describe_os_error, print_json
from hpoqctl.pipeline import (
    DEAD_LETTER_QUEUE,
    QUEUE,
    TABLE,
    TOPIC,
    WATCH_QUEUE,
    create_function,
    create_pipeline,
    local_settings,
    local_store_url,
    make_environment,
    make_streams,
)
from hpoqctl.recordview import explain_request
from hpoqctl.redrive import recover_bodies
from hpoqctl.services import usage_errors

_DEFAULT_PORT = 7600
_SOURCE = "smq"
_LOOK_SECONDS = 5
_SAMPLE = {
    "experiment": {
        "Name": "from-the-console",
        "HpoExperimentConfiguration": {
            "platform_config": {"name": "DLC", "cmd": ["python train.py --lr ${lr}"]},
            "metric_config": {
                "metric_type": "stdout",
                "metric_source": ["cmd1"],
                "final_mode": "best",
                "metric_dict": {"loss=([0-9.]+)": -1},
            },
            "search_space": {"${lr}": {"_type": "uniform", "_value": [0.001, 0.1]}},
            "yml_config": {"max_trial_number": 4, "trial_concurrency": 2},
        },
    }
}
"""The request that the console's form suggests."""


@click.command(name="local")
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=_DEFAULT_PORT,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--state",
    type=PathName(file_okay=False),
    metavar="DIR",
    help="Keep the cloud's state, and what the console shows, in DIR between runs.",
)
@click.option(
    "--batch-size",
    type=WholeNumber(1, 16),
    default=16,
    show_default=True,
    help="The largest number of messages per event.",
)
@click.option("--reload", "reloads", is_flag=True, help="Restart the function when its code changes.")
@click.option(
    "--env", "shows_environment", is_flag=True, help="Print the settings of a running one, and start nothing."
)
@click.option(
    "--run-trials",
    "runs_trials",
    is_flag=True,
    help="Run the trials of LOCAL and DLC experiments as processes: a request can then start any command.",
)
@click.option(
    "--simulate-others", is_flag=True, help="Simulate the trials of other platforms. Default: they fail."
)
@click.option(
    "--trial-timeout",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="The time limit of a trial. Default: 3600.",
)
@click.option("--json", "as_json", is_flag=True, help="Print only the line of JSON, and no log.")
def command(
    port: int,
    state: str | None,
    batch_size: int,
    reloads: bool,
    shows_environment: bool,
    runs_trials: bool,
    simulate_others: bool,
    trial_timeout: float | None,
    as_json: bool,
) -> None:
    """Start the local cloud with queue, event stream, function and topic. Ctrl-C stops it.

    The function runs in its own process, as on Function Compute. On a terminal, the command prints a line for each
    message that the function has processed. Otherwise it prints the endpoints, names and credentials as one line of
    JSON when everything is ready, and the function logs to standard error.

    Trials are simulated: an experiment ends after a minute with random metrics, and `hpoq send --wait finished` takes
    as long. With --run-trials, experiments of the platforms LOCAL and DLC run their commands.

    In another terminal, eval "$(hpoq local --env)" sets the endpoints, names and credentials as variables for other
    commands. If no local cloud is running, --env prints nothing and exits with 1.
    """
    if shows_environment:
        _print_environment(port, as_json=as_json)
        return
    live = None if as_json or not sys.stdout.isatty() else LiveLog(console())
    end_signal = EndSignal()
    with ExitStack() as stack:
        options = _choose_trials(runs_trials, simulate_others, trial_timeout, state)
        cloud = stack.enter_context(alilocal.LocalCloud(run_trials=options))
        if state is not None:
            stack.enter_context(_keep_state(cloud, state))
        create_pipeline(cloud)
        server = stack.enter_context(_serve(cloud, port))
        environ = make_environment(cloud, server.url, local_store_url(f"127.0.0.1:{server.port}"))
        _set_up_console(cloud, environ)
        on_output = live.write if live else None if as_json else _write_log
        function = create_function(cloud, environ, reloads=reloads, on_output=on_output)
        streams = make_streams(cloud, function, batch_size)
        for stream in streams:
            stream.start()
        _announce(_describe_cloud(cloud, server.url), server.port, live, runs_trials=runs_trials)
        ended_by = end_signal.wait()
        for stream in streams:
            stream.stop()
    if live:
        console().print(f"\nStopped. {live.summarize()}.", markup=False)
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt


@usage_errors()
def _set_up_console(cloud: alilocal.LocalCloud, environ: Mapping[str, str]) -> None:
    """Make the console explain messages in hpoq's terms. Raises click.UsageError if an HPOQ_ variable is invalid."""
    cloud.title = "hpoq local"
    cloud.sample_message = json.dumps(_SAMPLE, indent=2)
    settings = Settings.from_environment(environ)
    cloud.explain_message = explain_with(cloud, settings)
    cloud.recover_message = recover_with(cloud, settings)


def _serve(cloud: alilocal.LocalCloud, port: int) -> alilocal.Server:
    try:
        return alilocal.serve(port=port, cloud=cloud)
    except OSError as exc:
        hint = " Is another `hpoq local` running?" if exc.errno == errno.EADDRINUSE else ""
        raise click.ClickException(
            f"port {port} cannot be used: {exc.strerror}.{hint} Give another --port, or 0 for a free one."
        ) from exc


def _choose_trials(
    runs_trials: bool, simulate_others: bool, trial_timeout: float | None, state: str | None
) -> TrialOptions | bool:
    """Return how trials run, or False if they are simulated."""
    if not runs_trials:
        if simulate_others or trial_timeout is not None:
            raise click.UsageError("--simulate-others and --trial-timeout need --run-trials.")
        return False
    folder = Path(state).absolute() / "trials" if state is not None else None
    limits = Limits() if trial_timeout is None else Limits(trial_timeout)
    return TrialOptions(folder=folder, simulate_others=simulate_others, limits=limits)


def _announce(described: dict[str, JsonValue], port: int, live: LiveLog | None, *, runs_trials: bool) -> None:
    """Print that everything is ready: as a banner on a terminal, otherwise as one line of JSON."""
    if live is None:
        print_json(described)
        return
    port_option = "" if port == _DEFAULT_PORT else f" --port {port}"
    for line in format_banner(described, port_option, runs_trials=runs_trials):
        console().print(line)


def _print_environment(port: int, *, as_json: bool) -> None:
    """Print the variables by which commands and SDKs find the local cloud on `port`, for a shell or as JSON."""
    cloud, url = alilocal.LocalCloud(), f"http://127.0.0.1:{port}"
    variables = {**local_settings(cloud, url, local_store_url(f"127.0.0.1:{port}")), "SMQ_ENDPOINT": url}
    if not _is_running(url):
        start = "hpoq local" if port == _DEFAULT_PORT else f"hpoq local --port {port}"
        raise click.ClickException(f"no local cloud answers at {url}. Start it first: {start}")
    if as_json:
        print_json({**variables})
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _is_running(url: str) -> bool:
    """Return whether a local cloud answers at `url`, and not another program or none."""
    try:
        with new_session(1) as session:
            return bool(session.get(f"{url}/_alilocal/health", timeout=_LOOK_SECONDS).json()["region"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return False


def _keep_state(cloud: alilocal.LocalCloud, state: str) -> StateDir:
    try:
        return StateDir(cloud, state)
    except OSError as exc:
        raise click.ClickException(f"--state: {describe_os_error(exc)}") from exc
    except (StateInUse, BadSnapshot) as exc:
        raise click.ClickException(f"--state: {exc}") from exc


def explain_with(cloud: alilocal.LocalCloud, settings: Settings) -> Callable[[str, str], Sequence[str]]:
    """Return a function that explains a message of `cloud` by its id and body, in the words of `hpoq status`."""

    def explain(message_id: str, body: str) -> Sequence[str]:
        data, namespace = body.encode(errors="replace"), settings.namespace
        try:
            request = parse_request(data).request
        except RequestRejected:
            request = None
        own = derive_own_key(data, request, namespace)
        key = own or derive_key(_SOURCE, message_id, namespace)
        fingerprint = compute_fingerprint(request.wire()) if own and request else None
        find, now = partial(_read_record, cloud), cloud.clock.now()
        return [*explain_request(find, key, fingerprint, now, settings).lines()]

    return explain


def recover_with(
    cloud: alilocal.LocalCloud, settings: Settings
) -> Callable[[str, str | None], Sequence[str]]:
    """Return a function that reads the messages in a dead letter of `cloud`, as `hpoq dead redrive` sends them."""

    def recover(body: str, origin_id: str | None) -> Sequence[str]:
        return recover_bodies(body, origin_id, settings.namespace, settings.trigger, cloud.clock.now())

    return recover


def _read_record(cloud: alilocal.LocalCloud, key: str) -> Record | None:
    """Read a record without a call, which the console would show as one of the function's."""
    if TABLE not in cloud.tables.list():
        return None
    row = cloud.tables.get(TABLE).columns((key,))
    return None if row is None else decode(key, str(row.get("body")))


def _write_log(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _describe_cloud(cloud: alilocal.LocalCloud, url: str) -> dict[str, JsonValue]:
    return {
        "paiautoml": url,
        "smq": url,
        "eventbridge": url,
        "tablestore": url,
        "fc": url,
        "console": f"{url}/_console",
        "queue": QUEUE,
        "topic": TOPIC,
        "deadLetterQueue": DEAD_LETTER_QUEUE,
        "watchQueue": WATCH_QUEUE,
        "region": cloud.region,
        "accountId": cloud.account_id,
        "accessKeyId": cloud.access_key_id,
        "accessKeySecret": cloud.access_key_secret,
    }
