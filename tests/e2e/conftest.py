import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hpoq():
    """Runs `hpoq` as a process of its own, from the repository's root."""

    def run(*words, stdin=b"", **environ):
        return subprocess.run(
            [sys.executable, "-c", "from hpoq.cli import main; main()", *map(str, words)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "COLUMNS": "160", **environ},
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def hpoq_json(hpoq):
    """Runs `hpoq ... --json`; gives the exit code and the one object on standard output."""

    def run(*words, **options):
        done = hpoq(*words, "--json", **options)
        assert done.stdout.count(b"\n") == 1, done
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def local():
    """A running `hpoq local`: its process, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from hpoq.cli import main; main()", "local", "--port", "0", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
