"""`alilocal`, or `python -m alilocal`: a local cloud on a port until interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from contextlib import ExitStack

from alilocal.cloud import REGION, LocalCloud
from alilocal.core.http import ServiceError
from alilocal.core.snapshot import BadSnapshot
from alilocal.server import Server, serve
from alilocal.statedir import StateDir, StateInUse

_DEFAULT_PORT = 7600


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
        except (OSError, StateInUse, BadSnapshot, ServiceError) as exc:
            parser.error(str(exc))
        try:
            server = stack.enter_context(serve(options.host, options.port, cloud))
        except (OSError, OverflowError) as exc:
            parser.error(f"{options.host}:{options.port}: {exc}; --port 0 takes a free one")
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
    return parser


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
        "region": cloud.region,
        "accountId": cloud.account_id,
        "accessKeyId": cloud.access_key_id,
        "accessKeySecret": cloud.access_key_secret,
        "securityToken": cloud.security_token,
    }


if __name__ == "__main__":
    main()
