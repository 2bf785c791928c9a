"""The command line `hpoq`, for producers, operators and developers. It is not deployed.

Each command is a module of its own, which `app` imports only when the command is run, so `hpoq --help` stays fast:

    init, check, explain requests before they are sent (checking, spaceview, ruletexts)
    contract             the public contract as files (schema/)
    send, stop           requests and stops into the queue (outgoing); inbox follows their events
    trials               the leaderboard of an experiment
    status, resolve      one message's record; explanation and watching put it into words
                         (without a message, overview shows the queues and, through logservice, the last hour)
    audit, forget        every record: against the account's experiments; without what a producer wrote
    dead                 what is in the dead-letter queue; redrive goes through it, deadletters reads dead letters
    replay, local        the function on this machine, against the local cloud (cloud); livelog shows its messages
    demo                 the pipeline under faults, with a proof (demotrials: searches with real trials)
    tryout               `hpoq try`: the same with real trials; leaderboard shows them
    doctor/              the environment that the function runs in
    package              the code package for Function Compute (packaging/)

They share how files are read (files, positions, yamltext), how the store and the queue are found (services), and how
results are printed (output). A command parses its options, calls the function's own code, and prints. All of this
needs the extra `local`, or `cli` without `hpoq package`; the deployed function does not.
"""

from __future__ import annotations

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
