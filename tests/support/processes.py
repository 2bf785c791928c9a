"""Programs that tests run to their end."""

import subprocess
import sys

HPOQ_COMMAND = (sys.executable, "-c", "from hpoqctl import main; main()")
"""The command `hpoq` of the repository, whether or not it is on the PATH."""


def run_program(command, **options):
    """Run `command`, and return its exit code and its output as text.

    `options` are those of `subprocess.run`. The limit is for what never ends; it leaves room for a busy machine.
    """
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})
