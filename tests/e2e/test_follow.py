"""A request from its send to its result: created, followed, stopped, finished, as the commands show it."""

import json
import math
import subprocess
import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from hpoq.errors import Denied, UnknownEnd
from hpoq.producer import SentRequest
from hpoq.testing import FakeClock
from hpoqctl.app import app
from hpoqctl.inbox import Answers, collect_answers
from support.processes import HPOQ_COMMAND
from support.request import make_document

ROOT = Path(__file__).parents[2]


class Desk:
    """The commands against a running `hpoq local`, whose clock the test moves."""

    def __init__(self, url, folder):
        self.url = url
        self.folder = folder

    def file(self, name, *documents):
        """Write requests in JSON Lines."""
        path = self.folder / name
        path.write_text("".join(json.dumps(document) + "\n" for document in documents))
        return str(path)

    def start(self, *words):
        """Start a command with --json."""
        return subprocess.Popen(
            [*HPOQ_COMMAND, *words, "--endpoint", self.url, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words):
        """Run a command with --json in this process; return its exit code and its document."""
        done = CliRunner().invoke(app, [*words, "--endpoint", self.url, "--json"])
        return done.exit_code, json.loads(done.stdout)

    def watch(self, path):
        """Return what `hpoq status` says about the watch of the request in a file."""
        return self.run("status", path)[1]["messages"][0]["watch"]

    def move(self, seconds):
        requests.post(f"{self.url}/_alilocal/clock", json={"advance": seconds}, timeout=30)

    def move_until(self, condition):
        """Move the clock on, a little at a time, until `condition` is true, at most for 3 minutes of real time."""
        end = time.monotonic() + 180
        while not condition():
            assert time.monotonic() < end
            self.move(10)
            time.sleep(0.05)


@pytest.fixture
def desk(shared_local, tmp_path):
    return Desk(shared_local["smq"], tmp_path)


def outcomes(document):
    """Return the outcomes of the events in the output of `send` or `stop`."""
    return [event["type"].split(".")[-2] for event in document["events"]]


def test_one_request_from_created_to_finished(desk, key):
    """`hpoq local` follows a request to its result, `--wait finished` waits for it, and status shows the watch.

    The same request, sent again, is answered by the same two events.
    """
    path = desk.file("r.jsonl", make_document(key))
    with desk.start("send", "--wait", "finished", path) as waiting:
        desk.move_until(lambda: (desk.watch(path) or {}).get("looks", 0) > 0)
        seen = desk.watch(path)
        desk.move_until(lambda: waiting.poll() is not None)
        document = json.loads(waiting.stdout.read())
    assert waiting.returncode == 0
    assert outcomes(document) == ["created", "finished"]
    created, finished = (event["data"] for event in document["events"])
    assert finished["status"] == "FINISHED"
    assert finished["bestTrial"]["metric"] > 0
    assert (finished["producerKey"], finished["experimentId"]) == (key, created["experimentId"])
    assert seen["result"] is not None or (seen["lastLookAt"] > 0 and seen["nextLookAt"] > seen["lastLookAt"])
    assert desk.watch(path)["result"] == document["events"][1]
    code, again = desk.run("send", "--wait", "finished", path)
    assert (code, again["events"]) == (0, document["events"])
    code, board = desk.run("trials", created["experimentId"])
    assert (code, board["bestTrial"]["trialId"]) == (0, finished["bestTrial"]["trialId"])


def test_a_stop_is_answered_and_the_result_follows(desk, key):
    """`hpoq stop --wait` shows the stopping event; the result says that a request stopped the experiment."""
    path = desk.file("r.jsonl", make_document(key))
    assert outcomes(desk.run("send", "--wait", path)[1]) == ["created"]
    desk.move(10)
    code, document = desk.run("stop", key, "--wait")
    assert (code, outcomes(document)) == (0, ["stopping"])
    desk.move_until(lambda: desk.watch(path)["result"])
    result = desk.watch(path)["result"]["data"]
    assert (result["status"], result["stoppedBy"]) == ("USER_CANCELED", "request")
    shown = CliRunner().invoke(app, ["status", path, "--endpoint", desk.url]).stdout
    assert (
        "Its experiment has ended with the status USER_CANCELED; the finished event was published." in shown
    )


def test_a_stop_of_an_unknown_key_is_rejected(desk, key):
    """With --wait, a stop of a key that has created nothing is exit 1, with the reason."""
    code, document = desk.run("stop", key, "--wait")
    assert (code, outcomes(document)) == (1, ["rejected"])


def test_an_accepted_dry_run_is_a_success(desk, key):
    """`hpoq send --wait` counts an accepted dry run as success, also if results are awaited."""
    path = desk.file("r.jsonl", {**make_document(key), "dryRun": True})
    for wait in ("created", "finished"):
        code, document = desk.run("send", "--wait", wait, path)
        assert (code, outcomes(document)) == (0, ["accepted"])


@pytest.mark.parametrize("words", [["--wait", "FILE"], ["FILE", "--wait"], ["--wait=created", "FILE"]])
def test_wait_without_a_value_waits_for_created(desk, key, words):
    """The value of --wait may be left out, wherever the option is."""
    path = desk.file("r.jsonl", make_document(key))
    code, document = desk.run("send", *(path if word == "FILE" else word for word in words))
    assert (code, outcomes(document)) == (0, ["created"])


def event(outcome, key="k", message="m", **own):
    """Return an event as far as answers are concerned."""
    return {
        "type": f"com.hpoq.experiment.{outcome}.v1",
        "id": f"{outcome}-{key}",
        "data": {"idempotencyKey": key, "messageId": message, **own},
    }


def test_a_result_does_not_answer_a_message():
    """A finished event completes what was created; it does not answer a message, and failures have no result."""

    answers = Answers([SentRequest("m", "k"), SentRequest("n", "j")], to_end=True)
    answers.add(event("finished"))
    assert (len(answers.missing), answers.is_complete) == (2, False)
    answers.add(event("created"))
    answers.add(event("rejected", "j", "n"))
    assert (answers.missing, answers.unfinished, answers.is_complete) == ([], [], True)


def test_which_events_answer_other_messages_of_their_key():
    """A created event answers every message of its key; an accepted or a stopping one only its own message."""

    for outcome, answered in (("created", 2), ("accepted", 1), ("stopping", 1)):
        answers = Answers([SentRequest("m", "k"), SentRequest("n", "k")])
        answers.add(event(outcome))
        assert len(answers.events) == answered


class Smq:
    """An inbox that cannot be reached at first, and then has one batch of events per poll."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def receive(self, _wait, _budget):
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch


BROKEN = UnknownEnd("m", service="smq", operation="BatchReceiveMessage")
DENIED = Denied("m", service="smq", operation="BatchReceiveMessage")


def test_waiting_for_results_continues_after_failed_calls():
    """A temporary failure of the service does not end the wait for a result; a refusal does."""
    clock, answers = FakeClock(), Answers([SentRequest("m", "k")], to_end=True)
    inbox = Smq(BROKEN, [event("created")], BROKEN, [], [event("finished")])
    collect_answers(inbox, answers, clock, math.inf, lambda _: None)
    assert answers.is_complete
    for error, to_end in ((DENIED, True), (BROKEN, False)):
        answers = Answers([SentRequest("m", "k")], to_end=to_end)
        with pytest.raises(type(error)):
            collect_answers(Smq(error), answers, clock, 10, lambda _: None)
