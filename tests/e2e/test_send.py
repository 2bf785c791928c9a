"""`hpoq send` against the local cloud, with and without a function behind the queue."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

import alilocal
from hpoq.contract.identity import derive_key
from support.budget import CI_BUDGET
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, TOPIC, WATCH_QUEUE, create_resources
from support.processes import HPOQ_COMMAND
from support.request import REQUEST_FILE, make_document

ROOT = Path(__file__).parents[2]
REQUESTS = ROOT / "events" / "requests"
MINIMAL = make_document()


@pytest.fixture
def pipeline(shared_local):
    """The SMQ endpoint of a local cloud whose function processes the queue."""
    return shared_local["smq"]


def lines(path, *documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def test_wait_for_events(hpoq_json, pipeline):
    """Every message has its event, named by message id or by key, and all are created."""
    code, document = hpoq_json(
        "send", REQUEST_FILE, REQUESTS / "bare-body.json", "--endpoint", pipeline, "--wait"
    )
    assert code == 0
    assert document["missing"] == []
    keys = {event["data"]["messageId"]: event["data"]["idempotencyKey"] for event in document["events"]}
    assert keys == {row["messageId"]: row["key"] for row in document["sent"]}
    assert {event["type"] for event in document["events"]} == {"com.hpoq.experiment.created.v1"}


def test_messages_of_one_key_share_their_event(hpoq_json, pipeline, tmp_path, key):
    """A producer's repeated send is answered by the one event of its key."""
    twice = {**MINIMAL, "idempotencyKey": key}
    code, document = hpoq_json(
        "send", lines(tmp_path / "r.jsonl", twice, twice), "--endpoint", pipeline, "--wait"
    )
    assert (code, len(document["sent"]), len(document["events"])) == (0, 2, 1)


def test_an_answer_to_several_messages_is_shown_once(hpoq, pipeline, tmp_path, key):
    """Messages of one key are reported with one result, a key that is done is answered again, and a total ends it."""
    path = lines(tmp_path / "r.jsonl", *[{**MINIMAL, "idempotencyKey": key}] * 3)
    for number in range(2):
        done = hpoq("send", path, "--endpoint", pipeline, "--wait")
        shown = done.stdout.decode()
        assert done.returncode == 0
        assert shown.count("  created  ") == 1
        assert shown.count(f"the same key as {path}:1, and the same answer") == 2
        assert ("sent before, as message" in shown) is (number == 1)
        assert "\n3 messages sent: 3 created, in " in shown


def test_a_conflict_is_shown_at_every_send(hpoq, pipeline, tmp_path, key):
    """A second request of a key is rejected, also beside the first one and when it is sent again."""
    a, b = make_document(key, Name="a"), make_document(key, Name="b")
    both, second = lines(tmp_path / "both.jsonl", a, b), lines(tmp_path / "second.jsonl", b)
    done = hpoq("send", both, "--no-check", "--endpoint", pipeline, "--wait")
    shown = done.stdout.decode()
    assert (done.returncode, "the same key as" in shown) == (1, False)
    assert "2 messages sent: 1 created, 1 rejected, in " in shown
    again = hpoq("send", second, "--endpoint", pipeline, "--wait", "finished", "--timeout", "60")
    shown = again.stdout.decode()
    assert (again.returncode, "no event" in shown, "finished" in shown) == (1, False, False)
    assert "  rejected " in shown
    assert "sent before, as message" in shown


def test_a_rejection_is_exit_1(hpoq, pipeline, tmp_path):
    """A rejected request is shown with its violations; the others are shown as well."""
    bad = {"experiment": {**MINIMAL["experiment"], "Nmae": "x"}}
    done = hpoq(
        "send", lines(tmp_path / "r.jsonl", MINIMAL, bad), "--endpoint", pipeline, "--no-check", "--wait"
    )
    assert done.returncode == 1
    shown = done.stdout.decode()
    assert "created" in shown
    assert "/experiment/Nmae: unknown member; did you mean Name?" in shown


def test_waiting_ends_without_an_event(hpoq_json):
    """Without a function no event comes: exit 1 in time, and nothing is left behind in the cloud."""
    with alilocal.serve() as server:
        create_resources(server.cloud)
        code, document = hpoq_json(
            "send", REQUEST_FILE, "--endpoint", server.url, "--wait", "--timeout", "0.5"
        )
        assert {queue.name for queue in server.cloud.queues} == {QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE}
        assert list(server.cloud.topics.get(TOPIC).subscriptions) == []
    assert code == 1
    assert document["missing"] == [document["sent"][0]["messageId"]]


@pytest.mark.one_of("number", budget=CI_BUDGET)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_leaves_nothing_behind(number):
    """Ctrl-C while waiting prints what was sent, and leaves nothing behind in the cloud."""
    command = ["send", str(REQUEST_FILE), "--wait", "--json", "--endpoint"]
    with alilocal.serve() as server:
        create_resources(server.cloud)
        polls = server.cloud.faults.add(
            service="smq", operation="BatchReceiveMessage", kind="reset", nth=1000
        )
        with subprocess.Popen(
            [*HPOQ_COMMAND, *command, server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                while not polls.seen and process.poll() is None:
                    time.sleep(0.01)
                process.send_signal(number)
                shown, complained = process.communicate(timeout=60)
            finally:
                process.kill()
        sent = [message.message_id for message in server.cloud.queues[QUEUE].messages]
        assert {queue.name for queue in server.cloud.queues} == {QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE}
        assert list(server.cloud.topics.get(TOPIC).subscriptions) == []
    assert (process.returncode, complained) == (130, b"")
    assert json.loads(shown)["missing"] == sent


def test_waiting_for_a_missing_topic(hpoq_json):
    """If events cannot be followed, nothing is sent and nothing is left behind."""
    with alilocal.serve() as server:
        server.cloud.queues.create(QUEUE)
        code, document = hpoq_json("send", REQUEST_FILE, "--endpoint", server.url, "--wait")
        assert len(server.cloud.queues) == 1
        assert server.cloud.queues.get(QUEUE).messages == []
    assert (code, document["sent"]) == (1, [])
    assert "TopicNotExist" in document["error"]


def test_an_unknown_end_is_not_repeated(hpoq_json, tmp_path):
    """A request without a key is not sent twice if the first may have arrived."""
    keyed = {**MINIMAL, "idempotencyKey": "k"}
    with alilocal.serve() as server:
        queue = server.cloud.queues.create(QUEUE)
        for document, code, messages in ((MINIMAL, 1, 1), (keyed, 0, 3)):
            server.cloud.faults.add(service="smq", operation="SendMessage", kind="reset", when="after")
            done, report = hpoq_json("send", lines(tmp_path / "r.jsonl", document), "--endpoint", server.url)
            assert (done, len(queue.messages)) == (code, messages)
    assert report["sent"][0]["key"] == derive_key("producer", "k")


def test_the_key_of_a_cloudevent_is_shown(hpoq_json, tmp_path):
    """A request without a key inside a CloudEvent has the key of that event's source and id, also as JSON text."""
    event = {"specversion": "1.0", "type": "t", "source": "/a", "id": "1", "data": MINIMAL}
    file = lines(tmp_path / "r.jsonl", event, json.dumps(event))
    with alilocal.serve() as server:
        server.cloud.queues.create(QUEUE)
        code, report = hpoq_json("send", file, "--endpoint", server.url)
    assert code == 0
    key = derive_key("cloudevent", '{"id":"1","source":"/a"}')
    assert {row["key"] for row in report["sent"]} == {key}
    assert {row["key"] for row in hpoq_json("check", file)[1]["files"]} == {key}


@pytest.mark.parametrize("output", ["stdout://", "file:///tmp/x"])
def test_waiting_needs_a_topic(hpoq, output):
    """An output that is not a topic cannot be followed: wrong usage that names the output."""
    done = hpoq("send", REQUEST_FILE, "--endpoint", "http://127.0.0.1:9", "--wait", HPOQ_OUTPUT=output)
    assert done.returncode == 2
    assert b"HPOQ_OUTPUT" in done.stderr
