import contextlib
import json
import subprocess
import uuid
from pathlib import Path

import pytest
from forks import SECONDS, VARIABLES, Forks

from support.clock import give_commands_the_clock_of
from support.processes import HPOQ_COMMAND

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def forks():
    """The process of this session from which the runs of `hpoq` are forked."""
    running = Forks()
    yield running
    running.close()


@pytest.fixture(scope="session")
def hpoq(forks):
    """Return a function that runs `hpoq` as a process of its own, from the repository's root."""

    def run(*words, stdin=b"", **environ):
        words = [*map(str, words)]
        if not any(name.startswith("PYTHON") for name in environ):
            return forks.run(words, stdin, environ)
        # The interpreter itself reads these variables when it starts.
        return subprocess.run(
            [*HPOQ_COMMAND, *words],
            cwd=ROOT,
            env={**VARIABLES, **environ},
            input=stdin,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def hpoq_json(hpoq):
    """Return a function that runs `hpoq ... --json` and returns the exit code and the object on standard output."""

    def run(*words, **options):
        done = hpoq(*words, "--json", **options)
        assert done.stdout.count(b"\n") == 1, done
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def by_clock_of(monkeypatch):
    """Return a function that gives commands in this process a cloud's clock. A pause moves it and takes no time."""
    return lambda cloud: give_commands_the_clock_of(cloud, monkeypatch)


@contextlib.contextmanager
def running_local():
    process = subprocess.Popen(
        [*HPOQ_COMMAND, "local", "--port", "0", "--json"], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def local():
    """Start `hpoq local`; yield its process and what it printed."""
    with running_local() as running:
        yield running


@pytest.fixture(scope="session")
def shared_local():
    """What one `hpoq local` printed that tests share; each sends requests with its own `key`."""
    with running_local() as (_, endpoints):
        yield endpoints


@pytest.fixture
def key():
    """A key that no other test has."""
    return uuid.uuid4().hex
