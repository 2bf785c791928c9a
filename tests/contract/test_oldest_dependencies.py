"""The oldest releases that pyproject.toml allows of what the function needs do what it asks of them."""

import json
import os
import subprocess
from importlib.metadata import requires
from pathlib import Path

from installing import python_with
from packaging.requirements import Requirement

import alilocal
from hpoq.cli.cloud import environment, lay_out
from hpoq.testing import smq_event

ROOT = Path(__file__).parents[2]
HANDLES = """
import json, sys
from fcruntime import Fc3Context, invoke
result = invoke("hpoq.handler.handler", sys.stdin.buffer.read(), Fc3Context("r-1"))
print(json.dumps(json.loads(result.body)))
"""


def oldest():
    """Each requirement that holds without an extra, at its least release."""
    given = [one for one in map(Requirement, requires("hpoq")) if not one.marker]
    least = [next(part.version for part in one.specifier if part.operator == ">=") for one in given]
    return [f"{one.name}=={version}" for one, version in zip(given, least, strict=True)]


def test_a_message_becomes_an_experiment_and_a_wrong_one_a_rejection(installs):
    packages = oldest()
    python = python_with(installs / "-".join(packages), packages)
    right = (ROOT / "events/requests/minimal.json").read_text()
    with alilocal.serve() as server:
        lay_out(server.cloud)
        store = f"tablestore://127.0.0.1:{server.port}/hpoq?instance=local&scheme=http"
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **environment(server.cloud, server.url, store),
            "PYTHONPATH": str(ROOT / "functions"),
        }
        for body, outcome in ((right, "created"), (right.replace("Name", "Nmae", 1), "rejected")):
            done = subprocess.run(
                [python, "-c", HANDLES],
                input=smq_event(outcome, body),
                capture_output=True,
                env=environ,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout.splitlines()[-1])["summary"][outcome] == 1
