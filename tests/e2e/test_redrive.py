"""`hpoq redrive` between two queues of the local cloud."""

import base64
import json

import pytest
from click.testing import CliRunner

import alilocal
from hpoq.contract.identity import derive_key
from hpoq.processing.envelope import unseal
from hpoq.testing import smq_event
from hpoq.testing.events import encode_body
from hpoqctl.app import app
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, create_resources
from support.request import REQUEST

NAME = json.loads(REQUEST)["experiment"]["Name"]


@pytest.fixture
def server():
    with alilocal.serve() as running:
        create_resources(running.cloud)
        yield running


@pytest.fixture
def redrive(server, by_clock_of):
    """Return a function that runs the command in this process and returns its exit code and its report."""
    by_clock_of(server.cloud)

    def run(*words):
        done = CliRunner().invoke(app, ["redrive", "--endpoint", server.url, *words, "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


def put_dead_letters(server, *numbers):
    for number in numbers:
        server.cloud.queues.get(DEAD_LETTER_QUEUE).send(
            smq_event(f"M{number}", encode_body(REQUEST)).decode()
        )


def waiting(server, name=QUEUE):
    return server.cloud.queues.get(name).messages


def test_every_dead_letter_goes_back_under_its_key(redrive, server):
    """Messages come back in envelopes that keep id and key, and the dead-letter queue is empty."""
    put_dead_letters(server, *range(20))
    code, document = redrive()
    assert code == 0
    assert {row["messageId"] for row in document["moved"]} == {f"M{n}" for n in range(20)}
    assert waiting(server, DEAD_LETTER_QUEUE) == []
    envelopes = [unseal(base64.b64decode(message.body)) for message in waiting(server)]
    assert {envelope.key for envelope in envelopes} == {derive_key("smq", f"M{n}") for n in range(20)}


def test_dry_run(redrive, server):
    """A dry run shows what would be moved and moves nothing."""
    put_dead_letters(server, 1, 2)
    code, document = redrive("--dry-run")
    assert (code, document["dryRun"], len(document["moved"])) == (0, True, 2)
    assert document["moved"][0]["name"] == NAME
    assert len(waiting(server, DEAD_LETTER_QUEUE)) == 2
    assert waiting(server) == []


def test_filter_and_limit(redrive, server):
    """A pattern picks messages by id, key or name; a limit bounds how many are moved."""
    put_dead_letters(server, 1, 2, 31, 32, 33)
    code, document = redrive("--match", "M3?", "--limit", "2")
    assert (code, {row["messageId"][:2] for row in document["moved"]}) == (0, {"M3"})
    assert (len(waiting(server)), len(waiting(server, DEAD_LETTER_QUEUE))) == (2, 3)


def test_a_dead_letter_without_a_key_stays(redrive, server):
    """A dead letter that could become a second experiment is reported and left; the others are moved."""
    server.cloud.queues.get(DEAD_LETTER_QUEUE).send(REQUEST)
    put_dead_letters(server, 1)
    code, document = redrive()
    assert (code, len(document["moved"]), len(document["left"])) == (1, 1, 1)
    assert "the key of its message is not known" in document["left"][0]["reason"]
    assert len(waiting(server, DEAD_LETTER_QUEUE)) == 1


def test_an_interruption_between_sending_and_deleting(redrive, server):
    """A message that is moved again after an interruption carries the same key, so it is a duplicate."""
    put_dead_letters(server, 1)
    server.cloud.faults.add(service="smq", operation="DeleteMessage", kind="refuse", when="before", times=9)
    code, document = redrive()
    assert code == 1
    assert "error" in document
    server.cloud.faults.clear()
    server.cloud.clock.advance(60)
    assert redrive()[0] == 0
    keys = {unseal(base64.b64decode(message.body)).key for message in waiting(server)}
    assert (len(waiting(server)), keys) == (2, {derive_key("smq", "M1")})


def test_a_missing_queue(redrive):
    """A wrong name is an error, not an empty queue."""
    code, document = redrive("--from", "no-such-queue")
    assert (code, document["moved"]) == (1, [])
    assert "QueueNotExist" in document["error"]


def test_for_people(hpoq, server):
    """Each message is a line, and the end is counted."""
    put_dead_letters(server, 1)
    done = hpoq("redrive", "--endpoint", server.url, "--rate", "1000")
    assert done.returncode == 0
    assert done.stdout.decode().splitlines()[-1] == "1 moved, 0 left"


def test_dead_letters_that_stay_hide_no_others(redrive, server):
    """A dead letter that does not match becomes visible again, and does not hide those after it."""
    server.cloud.queues.delete(DEAD_LETTER_QUEUE)
    server.cloud.queues.create(DEAD_LETTER_QUEUE, visibility_timeout=1)
    put_dead_letters(server, *range(40))
    put_dead_letters(server, 777)
    code, document = redrive("--match", "M777", "--rate", "2")
    assert (code, [row["messageId"] for row in document["moved"]]) == (0, ["M777"])
