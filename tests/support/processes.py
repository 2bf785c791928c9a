"""Programs that tests run to their end."""

import contextlib
import subprocess
import sys

HPOQ_COMMAND = (sys.executable, "-c", "from hpoqctl import main; main()")
"""The command `hpoq` of the repository, whether or not it is on the PATH."""


def race(commands):
    """Start all `commands`, let them go on at once when each has printed a line, and return what they print then."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(subprocess.Popen(command, **pipes)) for command in commands]
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed


def run_program(command, **options):
    """Run `command`, and return its exit code and its output as text.

    `options` are those of `subprocess.run`. The limit is for what never ends; it leaves room for a busy machine.
    """
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})
