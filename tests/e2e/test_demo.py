"""`hpoq demo` shows the pipeline under faults and proves what it claims."""

import json
import subprocess
import sys

from hpoqctl import demotrials


def run(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "hpoq", "demo", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HPOQ_STORE": "sqlite:////nowhere/else"},
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_demo_proves_its_claims(tmp_path):
    """In an empty folder every fault happens, each key has at most one experiment, and no file stays."""
    done = run(tmp_path, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
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
    assert list(tmp_path.iterdir()) == []


def test_the_readable_output_of_the_demo(tmp_path):
    """A person sees messages and faults as they happen, a row per key, and one sentence at the end."""
    done = run(tmp_path, "--seed", "3")
    *shown, end, following = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert sum("  FAULT  " in line for line in shown) == 7
    assert any("  created  " in line for line in shown)
    assert end.startswith("20 messages, 15 experiments, 0 lost, 0 created twice; 7 faults survived, in ")
    assert following.startswith("Next: ")


def test_real_trials_are_skipped_if_they_cannot_run(monkeypatch):
    """Without the engine for trials, or its extra, the demo has no searches and does not fail."""
    monkeypatch.setattr(demotrials, "is_available", lambda: False)
    assert demotrials.run_trials(None) == []
