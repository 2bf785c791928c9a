"""Powertools' own functional tests, with our context and our layers.

They are not in its package. TEST_POWERTOOLS_TREE names a checkout of
https://github.com/aws-powertools/powertools-lambda-python at the commit that `.ci/run` names, which makes one where
it can; without it, the rules in our own words in the other modules of this name stand in.
"""

import os
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from installing import BOTO3, packages_in

from support.processes import run_program
from support.tools import skip_without

ROOT = Path(__file__).parents[2]
NEEDED = ["pytest-asyncio", "pytest-mock", "multiprocess", "dill"]
WITHOUT_BOTO3 = [
    *("logger", "metrics", "batch", "parser", "validator", "middleware_factory", "typing"),
    "idempotency/_redis",
]
WITH_BOTO3 = [*WITHOUT_BOTO3[:-1], "idempotency"]


@pytest.fixture
def tree(tmp_path):
    """Copy their tests without their code, so that they test the installed release."""
    found = os.environ.get("TEST_POWERTOOLS_TREE")
    if not found:
        skip_without("the source of Powertools")
    shutil.copytree(Path(found) / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("e2e"))
    return tmp_path


def passed(tree, parts, folders, capsys):
    """Run their tests, print the counts, and return how many passed; none may fail."""
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
    done = run_program(command, cwd=tree, env=environ, timeout=600)
    output = done.stdout.partition("Powertools' own tests")
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(output[1:]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Powertools {version('aws-lambda-powertools')} in" in output[2]
    assert f"in {tree}" not in output[2]
    return int(re.search(r"'passed': (\d+)", output[2])[1])


def test_without_boto3(tree, installs, capsys):
    """Powertools' own tests pass without boto3."""
    folders = [packages_in(installs, NEEDED)]
    assert passed(tree, WITHOUT_BOTO3, folders, capsys) > 320


def test_with_boto3(tree, installs, capsys):
    """Powertools' own tests pass with boto3."""
    folders = [packages_in(installs, NEEDED)]
    folders.append(packages_in(installs, BOTO3))
    assert passed(tree, WITH_BOTO3, folders, capsys) > 430
