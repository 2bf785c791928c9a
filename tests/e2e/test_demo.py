"""`hpoq demo` shows the pipeline under faults and proves what it claims."""

import json
import sys

import pytest
from click.testing import CliRunner

from hpoqctl import demo, demotrials
from support.processes import run_program


def test_the_demo_proves_its_claims(tmp_path, monkeypatch):
    """In an empty folder every fault happens, each key has at most one experiment, and no file stays.

    Without the engine for trials, or its extra, the demo has no searches and does not fail.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demotrials, "is_available", lambda: False)
    done = CliRunner().invoke(demo.command, ["--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    claims = {name: document[name] for name in ("messages", "experiments", "lost", "createdTwice")}
    assert claims == {"messages": 20, "experiments": 15, "lost": 0, "createdTwice": 0}
    assert len(document["faults"]) == 7
    assert sum(len(row["messages"]) for row in document["proof"]) == 20
    assert [len(row["experiments"]) for row in document["proof"]].count(1) == 15
    assert {*map(str, (row["events"] for row in document["proof"]))} == {
        "['created', 'finished']",
        "['rejected']",
    }
    assert max(row["deliveries"] for row in document["proof"]) > 1
    assert document["trials"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.in_ci
def test_the_readable_output_of_the_demo(tmp_path):
    """A person sees messages and faults as they happen, a row per key, the searches, and one sentence at the end."""
    environment = {"PATH": "/usr/bin:/bin", "HPOQ_STORE": "sqlite:////nowhere/else"}
    command = [sys.executable, "-m", "hpoq", "demo", "--seed", "3"]
    done = run_program(command, cwd=tmp_path, env=environment)
    *shown, end, following = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert sum("  FAULT  " in line for line in shown) == 7
    assert any("  created  " in line for line in shown)
    assert sum(": best of 8 trials: " in line for line in shown) == 2
    assert end.startswith("20 messages, 15 experiments, 0 lost, 0 created twice; 7 faults survived, in ")
    assert following.startswith("Next: ")
    assert list(tmp_path.iterdir()) == []
