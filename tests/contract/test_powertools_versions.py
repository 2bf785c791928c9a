"""The shim and its layer with the oldest and the newest release of Powertools, with and without boto3."""

import os
import sys
from pathlib import Path

import pytest
from installing import BOTO3, packages_in

from support.budget import BUDGET, sample
from support.processes import run_program

ROOT = Path(__file__).parents[2]
TESTS = [
    "tests/unit/idempotency/test_powertools_claims.py",
    "tests/unit/idempotency/test_powertools_layer.py",
    "tests/unit/fcruntime/test_lambda.py",
]
# Whose dependencies are those of the tests' own environment.
OLDEST = ["aws-lambda-powertools==3.0.0"]


def passes(*folders):
    """Run the shim's own tests with the packages in `folders` before those of the environment."""
    path = os.pathsep.join(map(str, [*folders, ROOT / "functions"]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *TESTS]
    # The plugins of pytest take as long to load as half of these tests to run, which need none.
    environ = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = run_program(command, cwd=ROOT, env=environ, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The newest release without boto3 is what these tests run with in the suite itself.
@pytest.mark.in_ci
@pytest.mark.parametrize(
    ("release", "boto3"),
    sample(
        [("oldest", "without boto3"), ("oldest", "with boto3"), ("newest", "with boto3")], budget=2 * BUDGET
    ),
)
def test_the_shim_keeps_its_promises(installs, release, boto3):
    """The tests of the shim and of its layer pass with the oldest and the newest release."""
    folders = [packages_in(installs, OLDEST)] if release == "oldest" else []
    if boto3 == "with boto3":
        folders.append(packages_in(installs, BOTO3))
    assert " passed" in passes(*folders)
