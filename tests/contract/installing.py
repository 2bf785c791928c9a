"""Packages that cannot be in the tests' own environment, installed beside it and kept for the next run."""

import hashlib
import json
import sys
import venv

from support.once import lock_unfinished
from support.processes import run_program
from support.tools import skip_without

BOTO3 = ["boto3==1.44.8", "botocore==1.44.8", "s3transfer==0.19.3", "python-dateutil==2.9.0.post0"]


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--no-input", *arguments]
    done = run_program(command, timeout=600)
    if done.returncode:
        sys.stderr.write(done.stderr)
        skip_without("a package index")


def _name_folder(installs, *installed):
    """Return the folder of an installation, whose name changes with what is installed and by which Python."""
    named = json.dumps([sys.version, sys.prefix, *installed])
    return installs / hashlib.sha256(named.encode()).hexdigest()[:16]


def python_with(installs, packages):
    """Return the interpreter of a venv that has `packages` and their dependencies only."""
    folder = _name_folder(installs, "venv", packages)
    python = folder / "venv/bin/python"
    with lock_unfinished(folder) as is_unfinished:
        if is_unfinished:
            # The environment's own pip installs into it: another pip would take seconds.
            venv.create(folder / "venv", with_pip=False, clear=True)
            (site,) = folder.glob("venv/lib/python*/site-packages")
            _pip("--target", site, *packages)
    return python


def packages_in(installs, packages):
    """Return a folder for PYTHONPATH with `packages`; they come before those of the tests' own environment.

    It has none of their dependencies but those that are in `packages` too: pip takes seconds to find dependencies,
    and nearly all of them are in the environment.
    """
    folder = _name_folder(installs, packages)
    with lock_unfinished(folder) as is_unfinished:
        if is_unfinished:
            _pip("--target", folder / "packages", "--no-deps", *packages)
    return folder / "packages"
