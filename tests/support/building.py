"""Builds of the code package by `hpoq package`, with the interpreters of the runtimes that this machine has."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.once import lock_unfinished
from support.processes import HPOQ_COMMAND, run_program
from support.tools import skip_without


def interpreter(version):
    """Return the path of Python `version`; pyenv's shims answer only for versions that are switched on."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for found in [
        shutil.which(f"python{version}"),
        *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python"))),
    ]:
        if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
            return found
    return skip_without(f"Python {version}")


def with_interpreters():
    """Return a PATH with the runtimes' versions of Python that this machine has."""
    folders = []
    for version in ("3.10", "3.12"):
        try:
            folders.append(str(Path(interpreter(version)).parent))
        except pytest.skip.Exception:
            continue
    return os.pathsep.join([*folders, os.environ["PATH"]])


def build(folder, *options, **environ):
    """Build a package into `folder`; return the report."""
    command = [*HPOQ_COMMAND, "package", "--json", "--output", folder, *options]
    done = run_program(
        command, env={**os.environ, "PATH": with_interpreters(), **environ}, cwd=folder.parent, timeout=600
    )
    offline = re.search("No matching distribution|connection|name resolution", done.stderr, re.IGNORECASE)
    if offline:
        skip_without("a package index")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def build_once(folder, *options):
    """Return the report of a build with `options`, which the first worker that needs it makes in `folder`."""
    folder /= hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
    report = folder / "report.json"
    with lock_unfinished(folder) as is_unfinished:
        if is_unfinished:
            report.write_text(json.dumps(build(folder / "dist", *options)))
    return json.loads(report.read_text())
