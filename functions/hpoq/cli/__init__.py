"""The command line. Its comforts come with the extra `local`; the deployed function does without."""

from __future__ import annotations

import sys
from io import TextIOWrapper

_COMFORTS = ("alilocal", "click", "rich")


def main() -> None:
    """The console script `hpoq`."""
    try:
        from hpoq.cli.app import app
    except ModuleNotFoundError as exc:
        if exc.name not in _COMFORTS:
            raise
        sys.stderr.write(
            f"hpoq: {exc.name} is missing; install the command line with: pip install 'hpoq[local]'\n"
        )
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        # Text of requests and names of files may hold what the locale's encoding lacks.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
