"""`python -m fcruntime HANDLER`: the start command of a custom runtime or container."""

from __future__ import annotations

import argparse
import os
import sys

from fcruntime.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m fcruntime",
        description="Run a handler of Function Compute's built-in Python runtimes in a custom runtime or container.",
    )
    parser.add_argument("handler", help="for example hpoq.handler.handler, in the current folder")
    parser.add_argument("--initializer", metavar="HANDLER", help="called before the first event")
    parser.add_argument("--pre-stop", metavar="HANDLER", help="called before the instance ends")
    parser.add_argument(
        "--pre-freeze", metavar="HANDLER", help="called before the instance is frozen (FC 2.0)"
    )
    parser.add_argument(
        "--host",
        default="0.0.0.0",  # noqa: S104
        help="address to listen on (default: all, as FC needs)",
    )
    parser.add_argument(
        "--port", type=int, help="port to listen on (default: FC_CUSTOM_LISTEN_PORT, or 9000)"
    )
    options = parser.parse_args()
    sys.path.insert(0, os.environ.get("FC_FUNC_CODE_PATH") or os.getcwd())  # noqa: PTH109
    try:
        serve(
            options.handler,
            initialize=options.initializer,
            pre_stop=options.pre_stop,
            pre_freeze=options.pre_freeze,
            host=options.host,
            port=options.port,
        )
    except (OSError, ValueError) as exc:
        parser.error(str(exc))


if __name__ == "__main__":
    main()
