"""Powertools in its oldest and its newest release, with boto3 and without: what the shim and the layers promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from installing import packages_in

ROOT = Path(__file__).parents[2]
TESTS = ["tests/unit/idempotency/test_powertools_layer.py", "tests/unit/fcruntime/test_lambda.py"]
# Whose dependencies are those of the tests' own environment.
OLDEST = ["--no-deps", "aws-lambda-powertools==3.0.0"]


def passes(*folders):
    """Runs the shim's own tests with the packages in `folders` before those of the environment."""
    path = os.pathsep.join(map(str, [*folders, ROOT / "functions"]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *TESTS]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("boto3", ["without boto3", "with boto3"])
@pytest.mark.parametrize("release", ["oldest", "newest"])
def test_the_shim_keeps_its_promises(installs, release, boto3):
    folders = [packages_in(installs / "powertools-3.0.0", OLDEST)] if release == "oldest" else []
    if boto3 == "with boto3":
        folders.append(packages_in(installs / "boto3", ["boto3>=1.34"]))
    assert " passed" in passes(*folders)
