"""The command line `hpoq`, for producers, operators and developers. It is not deployed.

Each command is a module, which `app` imports only when the command is run, so that `hpoq --help` is fast. The modules
on the right serve these commands:

    init, check, explain  write and check requests               checking, spaceview, ruletexts
    send, stop            send requests and stops                inbox and following, which wait for the answers
    trials                the leaderboard of an experiment       leaderboard, experimentlog
    status, resolve       the record of one message              recordview, watchview
    status                without a message: the queues          overview, logservice
    audit, forget         all records
    dead                  the dead-letter queue                  redrive, deadletters
    replay, local         run the function on this machine       pipeline, livelog
    demo                  the pipeline under faults              demotrials
    tryout (`hpoq try`)   the pipeline with real trials          leaderboard
    doctor/               the environment of the function
    package               the code package                       packaging/
    contract              the files of the public contract       schema/

All commands share `files`, `positions` and `yamltext`, which read requests, `services`, which opens the store and the
queue, and `output`, which prints. A command parses its options, calls the function's own code, and prints the result.
The commands need the extra `cli`, and `hpoq package` needs `local`.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

_PACKAGES_OF_EXTRA = ("alilocal", "click", "packaging", "rich", "yaml")


def main() -> None:
    """Run the console script `hpoq`."""
    for stream in (sys.stdout, sys.stderr):
        # Requests and file names may hold characters that the locale's encoding cannot represent.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from hpoqctl.app import app

        app()
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in _PACKAGES_OF_EXTRA:
            raise
        sys.stderr.write(
            f"hpoq: the package {package} is not installed. "
            "Install the command line with: pip install 'hpoq[local]'\n"
        )
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # while the modules were loaded; later ones end inside of `app`
        raise SystemExit(130) from None
    finally:
        _drop_unwritten_output()


def _drop_unwritten_output() -> None:
    """Drop output that cannot be written, for which Python itself would end with a message and the exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
