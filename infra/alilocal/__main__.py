"""`python -m alilocal`: a local cloud on a port until interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from alilocal.server import Server, serve


def main() -> None:
    """Serve, and print one line of JSON when ready."""
    parser = argparse.ArgumentParser(prog="alilocal", description="A local Alibaba Cloud, until Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to bind (default: loopback)")
    parser.add_argument("--port", type=int, default=0, help="the port; 0, the default, takes a free one")
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server = serve(options.host, options.port)
    except (OSError, OverflowError) as exc:
        parser.error(f"{options.host}:{options.port}: {exc}")
    with server:
        sys.stdout.write(json.dumps(_endpoints(server)) + "\n")
        sys.stdout.flush()
        stopped.wait()


def _endpoints(server: Server) -> dict[str, str]:
    cloud = server.cloud
    return {
        "paiautoml": server.url,
        "smq": server.url,
        "region": cloud.region,
        "accountId": cloud.account_id,
        "accessKeyId": cloud.access_key_id,
        "accessKeySecret": cloud.access_key_secret,
        "securityToken": cloud.security_token,
    }


if __name__ == "__main__":
    main()
