"""`hpoq local`: the whole pipeline on this machine."""

from __future__ import annotations

import signal
import sys
import threading
import uuid

import click

import alilocal
from alilocal.eventstream import EventStream
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from fcruntime.jsonvalue import JsonValue
from hpoq.cli.cloud import DEAD_LETTER_QUEUE, QUEUE, TOPIC, environment, lay_out
from hpoq.cli.output import notes, print_json
from hpoq.errors import SettingsError
from hpoq.handler import Function
from hpoq.observability import logs

_DEFAULT_PORT = 7600
_TIMEOUT_SECONDS = 300


@click.command(name="local")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True, help="0: a free one."
)
@click.option(
    "--state", type=click.Path(dir_okay=False), help="Keep the function's records in FILE between runs."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 16), default=16, show_default=True, help="Messages an event."
)
@click.option("--json", "as_json", is_flag=True, help="Only the line of endpoints, no log on standard error.")
def command(port: int, state: str | None, batch_size: int, as_json: bool) -> None:
    """Start the local cloud with queue, event stream, function and topic, until Ctrl-C.

    Prints its endpoints, names and credentials as one line of JSON when it is ready; the function's log goes
    to standard error.
    """
    logs.configure("CRITICAL" if as_json else "INFO", sys.stderr)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    cloud = alilocal.LocalCloud()
    lay_out(cloud)
    try:
        environ = environment(cloud, cloud.endpoint, f"sqlite:///{state or ':memory:'}")
        function = Function(environ, session=cloud.session())
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    try:
        server = alilocal.serve(port=port, cloud=cloud)
    except OSError as exc:
        raise click.ClickException(f"port {port}: {exc.strerror}; --port 0 takes a free one") from exc
    with server:
        stream = EventStream(
            cloud,
            queue=QUEUE,
            invoke=lambda event: _invoke(function, event),
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
    function.close()


def _invoke(function: Function, event: bytes) -> bool:
    context = Fc3Context(f"1-{uuid.uuid4()}", FunctionInfo(timeout=_TIMEOUT_SECONDS))
    return invoke(function.handle, event, context).ok


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
