"""B9: the CPU that starting the command takes, in seconds: the help, and the check of one file."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import Peers, Row

_REQUEST = Path(__file__).parents[2] / "events" / "requests" / "minimal.json"
_COMMANDS = {"hpoq --help": (["--help"], 0.15), "hpoq check of one file": (["check", str(_REQUEST)], 0.35)}


def measure(_: Peers, rounds: int) -> Iterator[Row]:
    """Measure the CPU time of the process, which other work on the machine disturbs less than its duration."""
    for what, (words, target) in _COMMANDS.items():
        found = [_run(words) for _ in range(rounds)]
        yield Row("B9", f"CPU seconds of {what}", statistics.median(found), min(found), max(found), target)


def _run(words: list[str]) -> float:
    command = [sys.executable, "-c", "from hpoqctl import main; main()", *words]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
