"""What cannot stand in the tests' own environment, installed from the package index once, beside it."""

import fcntl
import os
import subprocess
import sys
import venv
from contextlib import contextmanager

import pytest


@contextmanager
def _made(folder):
    """Tells whether `folder` is still to be filled; other workers wait meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not (folder / "made").exists()
        (folder / "made").touch()


def _pip(python, *arguments):
    command = [python, "-m", "pip", "install", "-q", "--no-compile", "--no-input", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(done.stderr)
        pytest.skip(f"the package index has no {arguments[-1]}")


def python_with(folder, packages):
    """The interpreter of a venv in `folder` that has `packages` and nothing else."""
    python = folder / "venv/bin/python"
    with _made(folder) as empty:
        if empty:
            venv.create(folder / "venv", with_pip=True, clear=True)
            _pip(python, *packages)
    return python


def packages_in(folder, packages, *options):
    """A folder for PYTHONPATH that has `packages`; they come before those of the tests' own environment."""
    with _made(folder) as empty:
        if empty:
            _pip(sys.executable, "--target", folder / "packages", *options, *packages)
    return folder / "packages"
