"""Powertools' own functional tests, on our context and our layers.

They are not in its package. TEST_POWERTOOLS_TREE names a checkout of
https://github.com/aws-powertools/powertools-lambda-python at the commit that `.ci/run` names, which makes one where
it can; without it, the rules in our own words in the other modules of this name stand in.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from installing import packages_in

ROOT = Path(__file__).parents[2]
NEEDED = ["pytest-asyncio", "pytest-mock", "multiprocess", "dill"]
WITHOUT_BOTO3 = [
    *("logger", "metrics", "batch", "parser", "validator", "middleware_factory", "typing"),
    "idempotency/_redis",
]
WITH_BOTO3 = [*WITHOUT_BOTO3[:-1], "idempotency"]


@pytest.fixture
def tree(tmp_path):
    """Their tests, and nothing else: beside their own code they would judge that, not the release installed."""
    found = os.environ.get("TEST_POWERTOOLS_TREE")
    if not found:
        pytest.skip("TEST_POWERTOOLS_TREE names no checkout of Powertools")
    shutil.copytree(Path(found) / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("e2e"))
    return tmp_path


def passed(tree, parts, folders, capsys):
    """How many of their tests passed, all others being left out for reasons; the counts are printed."""
    path = [*folders, ROOT / "functions", Path(__file__).with_name("powertools")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "fcplugin",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    command += ["-o", "addopts=", "-W", "ignore", *(f"tests/functional/{part}" for part in parts)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True)
    told = done.stdout.partition("Powertools' own tests")
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(told[1:]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Powertools {version('aws-lambda-powertools')} in" in told[2]
    assert f"in {tree}" not in told[2]
    return int(re.search(r"'passed': (\d+)", told[2])[1])


def test_without_boto3(tree, installs, capsys):
    folders = [packages_in(installs / "powertools-tests", NEEDED, "--no-deps")]
    assert passed(tree, WITHOUT_BOTO3, folders, capsys) > 320


def test_with_boto3(tree, installs, capsys):
    folders = [packages_in(installs / "powertools-tests", NEEDED, "--no-deps")]
    folders.append(packages_in(installs / "boto3", ["boto3>=1.34"]))
    assert passed(tree, WITH_BOTO3, folders, capsys) > 430
