"""The command `alilocal`, or `python -m alilocal`: serves a local cloud on a port until it is interrupted.

`alilocal env` prints the variables with which other programs reach a running one.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from alilocal.core.credentials import REGION
from alilocal.core.http import ServiceError
from alilocal.environment import DEFAULT_PORT, print_environment
from alilocal.localcloud import LocalCloud
from alilocal.server import EndSignal, Server, serve
from alilocal.statedir import StateDir, StateInUse

if TYPE_CHECKING:
    from alilocal.eventstream import EventStream
    from alilocal.trials.engine import TrialOptions


_FUNCTION_OPTIONS = (
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
    """Serve a local cloud, and print one line of JSON when it is ready."""
    if sys.argv[1:2] == ["env"]:
        print_environment(sys.argv[2:])
        return
    parser = _parser()
    options = parser.parse_args()
    end_signal = EndSignal()
    with ExitStack() as stack:
        try:
            cloud = stack.enter_context(
                LocalCloud(seed=options.seed, region=options.region, run_trials=_trial_options(options))
            )
            if options.state is not None:
                stack.enter_context(StateDir(cloud, options.state))
            _create_resources(cloud, options)
            _refuse_unused(parser, options)
            streams = [_attach(cloud, options)] if options.function else []
        except (OSError, ValueError, StateInUse, ServiceError) as exc:
            parser.error(str(exc))
        try:
            server = stack.enter_context(serve(options.host, options.port, cloud))
        except (OSError, OverflowError, ValueError) as exc:
            hint = "; --port 0 selects a free one" if getattr(exc, "errno", None) == errno.EADDRINUSE else ""
            parser.error(f"{options.host}:{options.port}: {exc}{hint}")
        try:
            streams += _initialize(cloud, options)
        except (OSError, ValueError) as exc:
            parser.error(str(exc))
        for stream in streams:
            stream.start()
            stack.callback(stream.stop)
        sys.stdout.write(json.dumps(_endpoints(server)) + "\n")
        sys.stdout.flush()
        end_signal.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alilocal",
        description="Serve a local Alibaba Cloud until Ctrl-C.",
        epilog="`alilocal env` prints the variables with which other programs reach a running local cloud.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: loopback)")
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"port to bind (default: {DEFAULT_PORT}; 0 selects a free one)",
    )
    parser.add_argument("--state", metavar="DIR", help="keep all state in DIR between runs")
    parser.add_argument("--seed", type=int, help="make ids and random choices repeatable")
    parser.add_argument("--region", default=REGION, help=f"name of the region (default: {REGION})")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME", help="create this queue")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="create this topic")
    parser.add_argument(
        "--init",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="create what FILE describes: YAML, JSON, a ROS template, or Python with init(cloud)",
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a parameter of a ROS template",
    )
    _add_trial_options(parser)
    _add_function_options(parser)
    return parser


def _add_trial_options(parser: argparse.ArgumentParser) -> None:
    trials = parser.add_argument_group("trials of experiments")
    trials.add_argument(
        "--run-trials",
        action="store_true",
        help="run trials of the platforms LOCAL and DLC as processes: requests can then start any command",
    )
    trials.add_argument(
        "--simulate-others",
        action="store_true",
        help="simulate the trials of other platforms (default: they fail)",
    )
    trials.add_argument(
        "--trial-timeout",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="time limit of a trial (default: 3600)",
    )


def _add_function_options(parser: argparse.ArgumentParser) -> None:
    attached = parser.add_argument_group(
        "a function that gets messages from a queue; its instances are processes"
    )
    attached.add_argument("--function", metavar="HANDLER", help="handler of the function, as module.function")
    attached.add_argument(
        "--code", metavar="DIR", default=".", help="folder with its code (default: the current one)"
    )
    attached.add_argument("--from", dest="source", metavar="QUEUE", help="queue that feeds the function")
    attached.add_argument("--initializer", metavar="HANDLER", help="called once in each instance")
    attached.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment variable of the function",
    )
    attached.add_argument(
        "--timeout", type=float, default=60, metavar="SECONDS", help="time limit of a call (default: 60)"
    )
    attached.add_argument(
        "--memory", type=int, default=512, metavar="MB", help="memory limit of an instance (default: 512)"
    )
    attached.add_argument(
        "--batch-size", type=int, default=10, metavar="N", help="messages per event (default: 10)"
    )
    attached.add_argument(
        "--dead-letter", metavar="QUEUE", help="queue for messages that could not be delivered"
    )
    attached.add_argument("--reload", action="store_true", help="restart instances when the code has changed")


def _refuse_unused(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Raise ValueError for an option that would have no effect."""
    unused = [name for name in _FUNCTION_OPTIONS if getattr(options, name) != parser.get_default(name)]
    if (options.simulate_others or options.trial_timeout != 3600) and not options.run_trials:
        raise ValueError("--simulate-others and --trial-timeout need --run-trials")
    if unused and not options.function:
        name = unused[0].replace("_", "-").replace("source", "from")
        raise ValueError(f"--{name} needs --function HANDLER")


def _trial_options(options: argparse.Namespace) -> TrialOptions | bool:
    """Return how trials run; raises ValueError for an invalid time limit."""
    if not options.run_trials:
        return False
    from alilocal.trials.engine import TrialOptions
    from alilocal.trials.trial import Limits

    if not options.trial_timeout > 0:
        raise ValueError("--trial-timeout must be above 0")
    folder = Path(options.state).absolute() / "trials" if options.state is not None else None
    return TrialOptions(
        folder=folder, simulate_others=options.simulate_others, limits=Limits(options.trial_timeout)
    )


def _attach(cloud: LocalCloud, options: argparse.Namespace) -> EventStream:
    """Create the function and return the stream that feeds it; raises ValueError for invalid options."""
    from alilocal.eventstream import EventStream
    from alilocal.fc.handlers import find_handler_problem

    if not options.source:
        raise ValueError("--function needs --from QUEUE")
    if options.source == options.dead_letter:
        raise ValueError("--dead-letter must be a different queue from --from")
    for name in filter(None, (options.source, options.dead_letter)):
        if name not in cloud.queues:
            cloud.queues.create(name)
    for option, handler in (("function", options.function), ("initializer", options.initializer)):
        problem = find_handler_problem(handler, Path(options.code)) if handler else None
        if problem is not None:
            _write_output(f"alilocal: --{option}: {problem}\n")
    function = cloud.functions.create(
        "function",
        handler=options.function,
        code=options.code,
        environment=_pairs("--environment", options.environment),
        initializer=options.initializer,
        timeout=options.timeout,
        memory=options.memory,
        reload=options.reload,
        on_output=_write_output,
    )
    return EventStream(
        cloud,
        queue=options.source,
        invoke=function,
        batch_size=options.batch_size,
        retry="EXPONENTIAL_DECAY_RETRY",
        dead_letter_queue=options.dead_letter,
    )


def _initialize(cloud: LocalCloud, options: argparse.Namespace) -> list[EventStream]:
    """Create what the files of --init describe, and return the streams to start; raises ValueError and OSError."""
    parameters = _pairs("--parameter", options.parameter)
    if not options.init:
        if parameters:
            raise ValueError("--parameter needs --init FILE")
        return []
    from alilocal.initfile import init_from

    streams, unused = [], set(parameters)
    for path in options.init:
        made = init_from(cloud, path, parameters, on_output=_write_output)
        streams += made.streams
        unused -= made.parameters
        for note in made.notes:
            _write_output(f"alilocal: {path}: {note}\n")
    if unused:
        raise ValueError(f"--parameter: {min(unused)} is not a parameter of any template")
    return streams


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not name or not equals:
            raise ValueError(f"{option} takes NAME=VALUE, not {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


class _Version(argparse.Action):
    """Prints the version of the distribution that the command belongs to."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> None:
        from importlib.metadata import entry_points

        found = [one.dist for one in entry_points(group="console_scripts", name="alilocal") if one.dist]
        sys.stdout.write(f"alilocal {found[0].version if found else 'unknown'}\n")
        parser.exit()


def _write_output(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _create_resources(cloud: LocalCloud, options: argparse.Namespace) -> None:
    for name in options.queue:
        if name not in cloud.queues:
            cloud.queues.create(name)
    for name in options.topic:
        if name not in cloud.topics:
            cloud.topics.create(name)


def _endpoints(server: Server) -> dict[str, str]:
    cloud = server.cloud
    return {
        **{service.name: server.url for service in cloud.services},
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
