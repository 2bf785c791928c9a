"""The mutation tests: what is tested dies, what is not is reported, and the list of equivalent mutants stays true."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULE = '''"""A module."""

LEAST = 3


def is_enough(count):
    """Return whether `count` is enough."""
    return count >= LEAST


def describe(count):
    """Return a word for `count`."""
    if count > 10:
        return "many"
    return "few"
'''
TESTS = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import toy


def test_the_least_count_is_enough():
    assert toy.is_enough(3)
    assert not toy.is_enough(2)


def test_few():
    assert toy.describe(1) == "few"
"""


@pytest.fixture
def mutate(tmp_path):
    """Run the mutation tests on a small project; return the exit code, the report and the messages."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "toy.py").write_text(MODULE)
    (tmp_path / "needy.py").write_text("import a_package_that_only_some_tests_replace\n")
    (tmp_path / "tests" / "test_toy.py").write_text(TESTS)
    (tmp_path / "core.yaml").write_text(
        json.dumps(
            {"root": ".", "source": ".", "modules": ["*.py"], "tests": ["tests"], "goal": 95, "complete": []}
        )
    )

    def run(equivalent, *arguments):
        (tmp_path / "equivalent.yaml").write_text(json.dumps({"toy.py": equivalent}))
        script, project = str(ROOT / "tests" / "mutation"), str(tmp_path / "core.yaml")
        done = subprocess.run(
            [sys.executable, script, "--json", "--project", project, *arguments],
            # The small project needs none of the plugins of pytest, which take long to load.
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    return run


def test_what_no_test_notices_is_reported_and_can_be_tried_again(mutate, tmp_path):
    """Mutants of tested code are killed, wherever they are; others survive, and are named with their line.

    Only those that survived are tried again.
    """
    code, report, messages = mutate([])
    by_status = {
        status: {row["change"] for row in report["mutants"] if row["status"] == status}
        for status in ("killed", "survived", "untested")
    }
    assert {"return count >= LEAST -> return count > LEAST", "LEAST = 3 -> LEAST = 4"} <= by_status["killed"]
    assert "count > 10 -> count >= 10" in by_status["survived"]
    assert by_status["untested"] == {"return 'many' -> return None", "return 'many' -> return ''"}
    assert "survived: toy.py:13 describe: count > 10 -> count >= 10\n" in messages
    assert code == 1
    (tmp_path / "run.json").write_text(json.dumps(report))
    _, again, _ = mutate([], "--again", str(tmp_path / "run.json"))
    assert {row["change"] for row in again["mutants"]} == by_status["survived"] | by_status["untested"]


def test_a_listed_mutant_must_exist(mutate):
    """A listed mutant is not tried; an entry that matches none fails the run."""
    known = {
        "function": "describe",
        "change": "count > 10 -> count >= 10",
        "reason": "the same for all callers",
    }
    _, report, messages = mutate([known, {**known, "change": "count > 11 -> count >= 11"}])
    (row,) = [row for row in report["mutants"] if row["change"] == known["change"]]
    assert row["status"] == "equivalent"
    assert "count > 11" in messages
    assert known["change"] not in messages
