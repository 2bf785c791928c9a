"""`hpoq local`: the whole pipeline on this machine."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import click

import alilocal
import hpoq
from alilocal.core.snapshot import BadSnapshot
from alilocal.eventstream import EventStream
from alilocal.fc import Function
from alilocal.statedir import StateDir, StateInUse
from fcruntime.jsonvalue import JsonValue
from hpoq.cli.cloud import DEAD_LETTER_QUEUE, QUEUE, TABLE, TIMEOUT_SECONDS, TOPIC, environment, lay_out
from hpoq.cli.output import notes, print_json
from hpoq.errors import SettingsError
from hpoq.settings import Settings

_DEFAULT_PORT = 7600
_PACKAGE = Path(hpoq.__file__).parent


@click.command(name="local")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True, help="0: a free one."
)
@click.option(
    "--state", type=click.Path(file_okay=False), metavar="DIR", help="Keep everything in DIR between runs."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 16), default=16, show_default=True, help="Messages an event."
)
@click.option("--reload", "reloads", is_flag=True, help="Take up changes of the function's code.")
@click.option("--json", "as_json", is_flag=True, help="Only the line of endpoints, no log on standard error.")
def command(port: int, state: str | None, batch_size: int, reloads: bool, as_json: bool) -> None:
    """Start the local cloud with queue, event stream, function and topic, until Ctrl-C.

    Prints its endpoints, names and credentials as one line of JSON when it is ready; the function's log goes
    to standard error. The function runs in a process of its own, as on Function Compute.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as stack:
        cloud = stack.enter_context(alilocal.LocalCloud())
        if state is not None:
            stack.enter_context(_kept(cloud, state))
        lay_out(cloud)
        try:
            server = stack.enter_context(alilocal.serve(port=port, cloud=cloud))
        except OSError as exc:
            raise click.ClickException(f"port {port}: {exc.strerror}; --port 0 takes a free one") from exc
        function = _function(cloud, server, reloads=reloads, is_quiet=as_json)
        stream = EventStream(
            cloud,
            queue=QUEUE,
            invoke=function,
            batch_size=batch_size,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue=DEAD_LETTER_QUEUE,
        )
        stream.start()
        print_json(_endpoints(cloud, server.url))
        if not as_json:
            notes().print(
                "Ready; Ctrl-C stops. Try: hpoq send --endpoint", server.url, "events/requests/*.json"
            )
        stopped.wait()
        stream.stop()


def _kept(cloud: alilocal.LocalCloud, state: str) -> StateDir:
    try:
        return StateDir(cloud, state)
    except (OSError, StateInUse, BadSnapshot) as exc:
        raise click.ClickException(f"--state: {exc}") from exc


def _function(
    cloud: alilocal.LocalCloud, server: alilocal.Server, *, reloads: bool, is_quiet: bool
) -> Function:
    """The function as it is deployed, with its records in the local cloud's table."""
    store = f"tablestore://127.0.0.1:{server.port}/{TABLE}?instance=local&scheme=http"
    environ = environment(cloud, server.url, store)
    try:
        Settings.from_environment(environ)
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    return cloud.functions.create(
        "hpoq",
        handler="hpoq.handler.handler",
        initializer="hpoq.handler.initialize",
        pre_stop="hpoq.handler.pre_stop",
        code=_PACKAGE.parent,
        environment=environ,
        timeout=TIMEOUT_SECONDS,
        reload=_PACKAGE if reloads else False,
        on_output=None if is_quiet else _tell,
    )


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _endpoints(cloud: alilocal.LocalCloud, url: str) -> dict[str, JsonValue]:
    return {
        "paiautoml": url,
        "smq": url,
        "eventbridge": url,
        "tablestore": url,
        "console": f"{url}/_console",
        "queue": QUEUE,
        "topic": TOPIC,
        "deadLetterQueue": DEAD_LETTER_QUEUE,
        "region": cloud.region,
        "accountId": cloud.account_id,
        "accessKeyId": cloud.access_key_id,
        "accessKeySecret": cloud.access_key_secret,
    }
