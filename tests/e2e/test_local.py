"""`hpoq local` as a new user runs it: through the official SDKs, until Ctrl-C."""

import io
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import requests
from mns.account import Account
from mns.mns_exception import MNSExceptionBase
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta

from support.ports import reserve_port
from support.processes import HPOQ_COMMAND
from support.request import REQUEST, request
from support.trials import local_configuration, run_config
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
MEMBERS = {
    "paiautoml",
    "smq",
    "eventbridge",
    "tablestore",
    "fc",
    "console",
    "queue",
    "topic",
    "deadLetterQueue",
    "watchQueue",
    "region",
    "accountId",
    "accessKeyId",
    "accessKeySecret",
}


def receive(queue):
    """Return the next message, waiting for it as long as the service allows."""
    for _ in range(10):
        try:
            return queue.receive_message(5)
        except MNSExceptionBase as exc:
            assert exc.type == "MessageNotExist"
    raise AssertionError("no message came")


def test_a_message_through_the_whole_pipeline(shared_local):
    """A request sent by the SMQ SDK becomes an experiment, and its event reaches a subscriber."""
    endpoints = shared_local
    assert set(endpoints) >= MEMBERS
    account = Account(endpoints["smq"], endpoints["accessKeyId"], endpoints["accessKeySecret"])
    inbox = account.get_queue("inbox")
    inbox.create(QueueMeta())
    inbox.set_encoding(False)
    arn = f"acs:mns:{endpoints['region']}:{endpoints['accountId']}:queues/inbox"
    subscription = account.get_subscription(endpoints["topic"], "to-inbox")
    subscription.subscribe(SubscriptionMeta(arn, notify_content_format="SIMPLIFIED"))
    sent = account.get_queue(endpoints["queue"]).send_message(Message(REQUEST))
    event = json.loads(receive(inbox).message_body)
    assert event["type"] == "com.hpoq.experiment.created.v1"
    assert event["data"]["messageId"] == sent.message_id
    account.get_client().close_connection()


def test_the_first_request_of_the_readme(shared_local, hpoq):
    """The command of the README's section on laptops, with the address of this cloud, shows a created event."""
    section = (ROOT / "README.md").read_text().partition("## Try it on a laptop")[2]
    command = next(line for line in section.splitlines() if line.startswith("hpoq send"))
    words = shlex.split(command.replace("http://127.0.0.1:7600", shared_local["smq"]))
    done = hpoq(*words[1:])
    assert done.returncode == 0, done.stderr
    assert b"created" in done.stdout


def test_a_request_ends_with_the_metric_of_a_real_trial(hpoq, tmp_path):
    """With --run-trials a message that is sent to a running cloud ends in the metric that its trial printed.

    Ctrl-C stops the cloud, and the command says that it was interrupted.
    """
    command = [*HPOQ_COMMAND, "local", "--port", "0"]
    command += ["--run-trials", "--state", str(tmp_path / "state"), "--json"]
    configuration = local_configuration("echo accuracy=0.625", yml_config=run_config())
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"experiment": {"Name": "e", "HpoExperimentConfiguration": configuration}}))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            url = json.loads(process.stdout.readline())["smq"]
            done = hpoq("send", "--endpoint", url, "--wait", path)
            assert done.returncode == 0, done.stderr

            def read():
                (row,) = requests.get(f"{url}/_alilocal/experiments", timeout=60).json()["experiments"]
                return row

            wait_until(lambda: read()["status"] == "FINISHED")
            row = read()
            page = f"{url}/_alilocal/console/paiautoml/experiment/{row['experimentId']}"
            (trial,) = requests.get(page, timeout=60).json()["sections"]["leaderboard"]["rows"].values()
            assert "0.625" in trial
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert list((tmp_path / "state" / "trials" / row["experimentId"]).iterdir())


def test_simulate_others_needs_run_trials(hpoq):
    assert hpoq("local", "--simulate-others").returncode == 2


def test_env_prints_the_variables_for_other_commands(shared_local, hpoq_json, hpoq, tmp_path, key):
    """`hpoq local --env` prints variables with which other commands find the running cloud without options."""
    port = shared_local["smq"].rpartition(":")[2]
    done = hpoq("local", "--port", port, "--env", HPOQ_LOG_LEVEL="DEBUG")
    exports = [shlex.split(line)[1].partition("=") for line in done.stdout.decode().splitlines()]
    environ = {name: value for name, _, value in exports}
    assert (done.returncode, done.stderr, "HPOQ_LOG_LEVEL" in environ) == (0, b"", False)
    path = tmp_path / "request.json"
    path.write_text(request(key=key))
    assert hpoq_json("send", path, "--wait", **environ)[0] == 0
    assert hpoq_json("status", path, **environ)[0] == 0


def test_dead_letters_can_be_practised(local, hpoq_json, tmp_path):
    """A message that ends as failed is in the dead-letter queue, where the commands of the runbook find it."""
    url = local[1]["smq"]
    environ = hpoq_json("local", "--port", url.rpartition(":")[2], "--env")[1]
    assert environ["HPOQ_DEAD_LETTER_QUEUE"] == local[1]["deadLetterQueue"]
    path = tmp_path / "request.json"
    path.write_text(request(key="k"))
    fault = {"kind": "status", "status": 403, "code": "Forbidden.RAM", "times": None}
    fault |= {"service": "paiautoml", "operation": "CreateHpoExperiment"}
    requests.post(f"{url}/_alilocal/faults", json=fault, timeout=60).raise_for_status()
    assert hpoq_json("send", path, **environ)[0] == 0

    def has_standing(standing):
        return hpoq_json("status", path, **environ)[1]["messages"][0]["standing"] == standing

    wait_until(lambda: has_standing("abandoned"))
    requests.post(f"{url}/_alilocal/clock", json={"advance": 262_000}, timeout=60).raise_for_status()
    wait_until(lambda: has_standing("given up"))
    assert len(hpoq_json("dead", "list", **environ)[1]["deadLetters"]) == 1
    requests.delete(f"{url}/_alilocal/faults", timeout=60).raise_for_status()
    assert hpoq_json("redrive", **environ)[0] == 0
    wait_until(lambda: has_standing("published"))


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("answer", [None, b"HTTP/1.0 200 OK\r\n\r\n[]", b"hello"])
def test_env_fails_without_a_local_cloud(hpoq, words, answer):
    """Nothing is printed for `eval`, and the exit code is 1, also if another program has the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, reserve_port() as closed:
        port = closed if answer is None else listener.getsockname()[1]
        if answer is not None:
            threading.Thread(target=answer_once, args=(listener, answer), daemon=True).start()
        done = hpoq("local", "--env", "--port", port, *words)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"Start it first: hpoq local --port {port}" in done.stderr.decode()


def answer_once(listener, answer):
    """Answer one request with `answer`, whatever it is."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


def test_a_terminal_shows_a_banner_and_a_line_per_message(hpoq_json, tmp_path):
    """A terminal shows no JSON but a banner with all addresses, a line for each message, and a summary at the end."""
    path = tmp_path / "request.json"
    path.write_text(request(key="k"))
    terminal, inside = pty.openpty()
    command = [*HPOQ_COMMAND, "local", "--port", "0"]
    with subprocess.Popen(command, stdout=inside, stderr=subprocess.PIPE) as process:
        os.close(inside)
        shown = io.TextIOWrapper(io.BufferedReader(io.FileIO(terminal)), errors="replace")
        try:
            banner = "".join(iter(shown.readline, "  stop      Ctrl-C\n"))
            endpoint = re.search(r"--endpoint (\S+)", banner)[1]
            assert hpoq_json("send", path, "--endpoint", endpoint, "--wait")[0] == 0
            line = shown.readline()
            process.send_signal(signal.SIGINT)
            end = [shown.readline(), shown.readline()]
            complaints = process.stderr.read()
        finally:
            process.kill()
            shown.close()
    assert "/_console" in banner
    assert "created" in line
    assert "{" not in banner + line
    assert "Stopped. 1 created.\n" in end
    assert complaints == b""
