"""`hpoq send` against the local cloud, with and without a function behind the queue."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import alilocal
from hpoq.contract.keys import derive_key

ROOT = Path(__file__).parents[2]
REQUESTS = ROOT / "events" / "requests"
MINIMAL = json.loads((REQUESTS / "minimal.json").read_text())


@pytest.fixture
def pipeline(local):
    """SMQ's endpoint of a local cloud whose queue has the function behind it."""
    return local[1]["smq"]


def lines(path, *documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def test_wait_for_events(hpoq_json, pipeline):
    """Every message has its event, named by message id or by key, and all are created."""
    code, document = hpoq_json(
        "send", REQUESTS / "minimal.json", REQUESTS / "bare-body.json", "--endpoint", pipeline, "--wait"
    )
    assert code == 0
    assert document["missing"] == []
    told = {event["data"]["messageId"]: event["data"]["idempotencyKey"] for event in document["events"]}
    assert told == {row["messageId"]: row["key"] for row in document["sent"]}
    assert {event["type"] for event in document["events"]} == {"com.hpoq.experiment.created.v1"}


def test_messages_of_one_key_share_their_event(hpoq_json, pipeline, tmp_path):
    """A producer's repeated send is answered by the one event of its key."""
    twice = {**MINIMAL, "idempotencyKey": "k"}
    code, document = hpoq_json(
        "send", lines(tmp_path / "r.jsonl", twice, twice), "--endpoint", pipeline, "--wait"
    )
    assert (code, len(document["sent"]), len(document["events"])) == (0, 2, 1)


def test_a_rejection_is_exit_1(hpoq, pipeline, tmp_path):
    """A rejected request is told with its violations; the others are shown all the same."""
    bad = {"experiment": {**MINIMAL["experiment"], "Nmae": "x"}}
    done = hpoq("send", lines(tmp_path / "r.jsonl", MINIMAL, bad), "--endpoint", pipeline, "--wait")
    assert done.returncode == 1
    shown = done.stdout.decode()
    assert "created" in shown
    assert "/experiment/Nmae: unknown member; did you mean Name?" in shown
    assert done.stderr == b""


def test_an_event_that_does_not_come(hpoq_json):
    """Without a function no event comes: exit 1 in time, and nothing is left behind in the cloud."""
    with alilocal.serve() as server:
        server.cloud.queues.create("hpo-requests")
        server.cloud.topics.create("hpo-results")
        code, document = hpoq_json(
            "send", REQUESTS / "minimal.json", "--endpoint", server.url, "--wait", "--timeout", "0.5"
        )
        assert [queue.name for queue in server.cloud.queues] == ["hpo-requests"]
        assert list(server.cloud.topics.get("hpo-results").subscriptions) == []
    assert code == 1
    assert document["missing"] == [document["sent"][0]["messageId"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_that_is_broken_off(number):
    """Who ends the waiting is told what was sent, and nothing is left behind in the cloud."""
    command = ["send", str(REQUESTS / "minimal.json"), "--wait", "--json", "--endpoint"]
    with alilocal.serve() as server:
        server.cloud.queues.create("hpo-requests")
        server.cloud.topics.create("hpo-results")
        polls = server.cloud.faults.add(
            service="smq", operation="BatchReceiveMessage", kind="reset", nth=1000
        )
        with subprocess.Popen(
            [sys.executable, "-c", "from hpoq.cli import main; main()", *command, server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell has what it runs in the background ignore it, and the tests perhaps with it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                while not polls.seen and process.poll() is None:
                    time.sleep(0.01)
                process.send_signal(number)
                shown, complained = process.communicate(timeout=60)
            finally:
                process.kill()
        sent = [message.message_id for message in server.cloud.queues["hpo-requests"].messages]
        assert [queue.name for queue in server.cloud.queues] == ["hpo-requests"]
        assert list(server.cloud.topics.get("hpo-results").subscriptions) == []
    assert (process.returncode, complained) == (1, b"")
    assert json.loads(shown)["missing"] == sent


def test_waiting_for_a_topic_that_is_not_there(hpoq_json):
    """Where events cannot be followed nothing is sent, and nothing is left behind."""
    with alilocal.serve() as server:
        server.cloud.queues.create("hpo-requests")
        code, document = hpoq_json("send", REQUESTS / "minimal.json", "--endpoint", server.url, "--wait")
        assert len(server.cloud.queues) == 1
        assert server.cloud.queues.get("hpo-requests").messages == []
    assert (code, document["sent"]) == (1, [])
    assert "TopicNotExist" in document["error"]


def test_an_unknown_end_is_not_repeated(hpoq_json, tmp_path):
    """A request without a key of its own is not sent twice where the first may have arrived."""
    keyed = {**MINIMAL, "idempotencyKey": "k"}
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("hpo-requests")
        for document, code, messages in ((MINIMAL, 1, 1), (keyed, 0, 3)):
            server.cloud.faults.add(service="smq", operation="SendMessage", kind="reset", when="after")
            done, told = hpoq_json("send", lines(tmp_path / "r.jsonl", document), "--endpoint", server.url)
            assert (done, len(queue.messages)) == (code, messages)
    assert told["sent"][0]["key"] == derive_key("producer", "k")


@pytest.mark.parametrize("output", ["stdout://", "file:///tmp/x"])
def test_waiting_needs_a_topic(hpoq, output):
    """An output that is no topic cannot be followed: wrong usage, said by name."""
    done = hpoq(
        "send", REQUESTS / "minimal.json", "--endpoint", "http://127.0.0.1:9", "--wait", HPOQ_OUTPUT=output
    )
    assert done.returncode == 2
    assert b"HPOQ_OUTPUT" in done.stderr
