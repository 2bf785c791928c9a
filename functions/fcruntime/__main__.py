"""`python -m fcruntime HANDLER`: the start command of a custom runtime or container."""

from __future__ import annotations

import argparse
import os
import sys

from fcruntime.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m fcruntime", description="Answer Function Compute's requests to a custom runtime."
    )
    parser.add_argument("handler", help="e.g. hpoq.handler.handler, from this folder")
    parser.add_argument("--initializer", metavar="HANDLER")
    parser.add_argument("--pre-stop", metavar="HANDLER")
    parser.add_argument("--pre-freeze", metavar="HANDLER")
    parser.add_argument("--host", default="0.0.0.0", help="default: every address, as FC needs")  # noqa: S104
    parser.add_argument("--port", type=int, help="default: FC_CUSTOM_LISTEN_PORT, else 9000")
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
    except (OSError, OverflowError, ValueError) as exc:
        parser.error(str(exc))


if __name__ == "__main__":
    main()
