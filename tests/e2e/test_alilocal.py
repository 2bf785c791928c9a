"""The command `alilocal` as a stranger uses it: a function of one's own, fed from a queue, and changed meanwhile."""

import json
import subprocess
import sys
import time

import pytest
import requests

from support.budget import CI_BUDGET
from support.processes import run_program

HANDLER = """
import json, os, urllib.request

def handler(event, context):
    print("saw", [item["data"]["messageBody"] for item in json.loads(event)], os.environ["GREETING"], "{version}")
"""


@pytest.fixture
def alilocal(tmp_path):
    """Starts the command with options; gives its endpoints and its process."""
    running = []

    def start(*options):
        command = [sys.executable, "-m", "alilocal", "--port", "0", *options]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return json.loads(process.stdout.readline()), process

    yield start
    for process in running:
        process.terminate()
        process.communicate()
        assert process.returncode == 0


def read_until(stream, text):
    """Return the lines up to the one that holds `text`."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(lines)


def send(endpoints, queue, body):
    answer = requests.post(f"{endpoints['control']}/queues/{queue}/messages", json={"body": body}, timeout=60)
    assert answer.status_code == 200, answer.text


def test_a_function_gets_messages_and_is_reloaded(alilocal, tmp_path):
    (tmp_path / "index.py").write_text(HANDLER.replace("{version}", "one"))
    endpoints, process = alilocal(
        "--function", "index.handler", "--from", "orders", "--environment", "GREETING=hello", "--reload"
    )
    send(endpoints, "orders", "first")
    lines = read_until(process.stderr, "saw ['first'] hello one")
    assert any(line.startswith("FC Invoke Start RequestId: ") for line in lines)
    read_until(process.stderr, "FC Invoke End RequestId: ")
    (tmp_path / "index.py").write_text(HANDLER.replace("{version}", "the second"))
    send(endpoints, "orders", "second")
    read_until(process.stderr, "saw ['second'] hello the second")


def test_state_outlives_it(alilocal, tmp_path):
    """A server with --state continues with the queues and messages of the one before."""
    endpoints, process = alilocal("--state", "kept", "--queue", "orders", "--topic", "results")
    send(endpoints, "orders", "body")
    process.terminate()
    process.wait()
    endpoints, _ = alilocal("--state", "kept")
    (queue,) = requests.get(f"{endpoints['control']}/queues", timeout=60).json()["queues"]
    assert queue == {"name": "orders", "active": 1, "inactive": 0, "delayed": 0}


@pytest.mark.one_of("options", "message", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--function", "index.handler"], "--from QUEUE"),
        (["--function", "index.handler", "--from", "orders", "--code", "none"], "none is not a folder"),
        (["--function", "index.handler", "--from", "orders", "--environment", "X"], "NAME=VALUE"),
        (["--queue", "no such name"], "name you provided is invalid"),
        (["--state", "file"], "file"),
    ],
)
def test_invalid_options_are_explained_in_one_line(tmp_path, options, message):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "alilocal", "--port", "0", *options]
    done = run_program(command, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_endpoint_answers(alilocal):
    """The console, the health check and the clock answer at the endpoints that are printed."""
    endpoints, _ = alilocal()
    assert requests.get(endpoints["console"], timeout=60).headers["Content-Type"].startswith("text/html")
    assert requests.get(f"{endpoints['control']}/health", timeout=60).json()["status"] == "ok"
    assert time.time() - requests.get(f"{endpoints['control']}/clock", timeout=60).json()["now"] < 60
