"""`alilocal`, or `python -m alilocal`: a local cloud on a port until interrupted."""

from __future__ import annotations

import argparse
import errno
import json
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from alilocal.cloud import REGION, LocalCloud
from alilocal.core.http import ServiceError
from alilocal.server import Server, serve
from alilocal.statedir import StateDir, StateInUse

if TYPE_CHECKING:
    from alilocal.eventstream import EventStream

_DEFAULT_PORT = 7600
_OF_A_FUNCTION = (
    "source",
    "code",
    "initializer",
    "environment",
    "timeout",
    "memory",
    "batch_size",
    "dead_letter",
    "reload",
)


def main() -> None:
    """Serve, and print one line of JSON when ready."""
    parser = _parser()
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(seed=options.seed, region=options.region))
        try:
            if options.state is not None:
                stack.enter_context(StateDir(cloud, options.state))
            _lay_out(cloud, options)
            _refuse_idle(parser, options)
            stream = _attach(cloud, options) if options.function else None
        except (OSError, ValueError, StateInUse, ServiceError) as exc:
            parser.error(str(exc))
        try:
            server = stack.enter_context(serve(options.host, options.port, cloud))
        except (OSError, OverflowError) as exc:
            hint = "; --port 0 takes a free one" if getattr(exc, "errno", None) == errno.EADDRINUSE else ""
            parser.error(f"{options.host}:{options.port}: {exc}{hint}")
        if stream is not None:
            stream.start()
            stack.callback(stream.stop)
        sys.stdout.write(json.dumps(_endpoints(server)) + "\n")
        sys.stdout.flush()
        stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="alilocal", description="A local Alibaba Cloud, until Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to bind (default: loopback)")
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help=f"default: {_DEFAULT_PORT}; 0 takes a free one"
    )
    parser.add_argument("--state", metavar="DIR", help="keep all state in DIR between runs")
    parser.add_argument("--seed", type=int, help="make ids and chance repeat")
    parser.add_argument("--region", default=REGION, help=f"the region's name (default: {REGION})")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME", help="have this queue")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="have this topic")
    attached = parser.add_argument_group("a function fed from a queue, in processes as on Function Compute")
    attached.add_argument("--function", metavar="HANDLER", help="its handler, as module.function")
    attached.add_argument("--code", metavar="DIR", default=".", help="its code (default: this folder)")
    attached.add_argument("--from", dest="source", metavar="QUEUE", help="the queue that feeds it")
    attached.add_argument("--initializer", metavar="HANDLER", help="called once in each instance")
    attached.add_argument(
        "--environment", action="append", default=[], metavar="NAME=VALUE", help="a variable"
    )
    attached.add_argument(
        "--timeout", type=float, default=60, metavar="SECONDS", help="of a call (default: 60)"
    )
    attached.add_argument(
        "--memory", type=int, default=512, metavar="MB", help="of an instance (default: 512)"
    )
    attached.add_argument(
        "--batch-size", type=int, default=10, metavar="N", help="messages an event (default: 10)"
    )
    attached.add_argument("--dead-letter", metavar="QUEUE", help="where messages go that are given up")
    attached.add_argument("--reload", action="store_true", help="take up changes of its code")
    return parser


def _refuse_idle(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Raises ValueError for an option that would do nothing."""
    idle = [name for name in _OF_A_FUNCTION if getattr(options, name) != parser.get_default(name)]
    if idle and not options.function:
        name = idle[0].replace("_", "-").replace("source", "from")
        raise ValueError(f"--{name} needs --function HANDLER")


def _attach(cloud: LocalCloud, options: argparse.Namespace) -> EventStream:
    """The function, and the stream that feeds it; raises ValueError for options that do not fit."""
    from alilocal.eventstream import EventStream

    if not options.source:
        raise ValueError("--function needs --from QUEUE")
    if options.source == options.dead_letter:
        raise ValueError("--dead-letter must be another queue than --from")
    for name in filter(None, (options.source, options.dead_letter)):
        if name not in cloud.queues:
            cloud.queues.create(name)
    pairs = [text.partition("=") for text in options.environment]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("--environment takes NAME=VALUE")
    function = cloud.functions.create(
        "function",
        handler=options.function,
        code=options.code,
        environment={name: value for name, _, value in pairs},
        initializer=options.initializer,
        timeout=options.timeout,
        memory=options.memory,
        reload=options.reload,
        on_output=_tell,
    )
    return EventStream(
        cloud,
        queue=options.source,
        invoke=function,
        batch_size=options.batch_size,
        retry="EXPONENTIAL_DECAY_RETRY",
        dead_letter_queue=options.dead_letter,
    )


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _lay_out(cloud: LocalCloud, options: argparse.Namespace) -> None:
    for name in options.queue:
        if name not in cloud.queues:
            cloud.queues.create(name)
    for name in options.topic:
        if name not in cloud.topics:
            cloud.topics.create(name)


def _endpoints(server: Server) -> dict[str, str]:
    cloud = server.cloud
    return {
        "paiautoml": server.url,
        "smq": server.url,
        "tablestore": server.url,
        "eventbridge": server.url,
        "sts": server.url,
        "console": f"{server.url}/_console",
        "control": f"{server.url}/_alilocal",
        "region": cloud.region,
        "accountId": cloud.account_id,
        "accessKeyId": cloud.access_key_id,
        "accessKeySecret": cloud.access_key_secret,
        "securityToken": cloud.security_token,
    }


if __name__ == "__main__":
    main()
