import json
from pathlib import Path

import alilocal
from hpoq.contract.keys import derive_key

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "events" / "requests" / "minimal.json"
REQUESTS = sorted((ROOT / "events" / "requests").glob("*.json"))


def test_the_good_examples_are_good(hpoq_json):
    """Every request to copy is valid, without a warning."""
    code, document = hpoq_json("check", *REQUESTS)
    assert code == 0
    for file in document["files"]:
        assert (file["valid"], file["violations"], file["warnings"]) == (True, [], []), file


def test_the_bad_examples_are_bad(hpoq_json):
    """Every request in invalid/ has a violation with pointer, rule and message."""
    code, document = hpoq_json("check", "events/requests/invalid")
    assert code == 1
    for file in document["files"]:
        assert not file["valid"]
        assert all(set(violation) >= {"pointer", "rule", "message"} for violation in file["violations"])


def test_key_of_a_producers_own(hpoq_json, tmp_path):
    """The key is shown where the request brings its own, else it is not known yet."""
    own = tmp_path / "own.json"
    own.write_text(json.dumps({**json.loads(MINIMAL.read_text()), "idempotencyKey": "k"}))
    bare = ROOT / "events" / "requests" / "bare-body.json"
    _, document = hpoq_json("check", own, bare)
    assert [file["key"] for file in document["files"]] == [derive_key("producer", "k"), None]


def test_samples_are_repeatable(hpoq_json):
    """Draws from the search space come with their commands, the same for the same seed."""
    one = hpoq_json("check", MINIMAL, "--sample", "3", "--seed", "7")[1]["files"][0]["samples"]
    two = hpoq_json("check", MINIMAL, "--sample", "3", "--seed", "7")[1]["files"][0]["samples"]
    assert one == two
    assert len(one) == 3
    assert all(draw["parameters"] and draw["commands"] for draw in one)


def test_check_for_people(hpoq):
    """Each violation stands on a line with its pointer and rule."""
    done = hpoq("check", "events/requests/invalid")
    assert done.returncode == 1
    assert b"/experiment" in done.stdout


def test_send(hpoq_json):
    """Requests land in the queue as they are, each with its message id and key."""
    with alilocal.serve() as server:
        server.cloud.queues.create("hpo-requests")
        code, document = hpoq_json("send", REQUESTS[0], REQUESTS[1], "--endpoint", server.url)
        waiting = server.cloud.queues.get("hpo-requests").messages
    assert code == 0
    assert [row["messageId"] for row in document["sent"]] == [message.message_id for message in waiting]


def test_send_to_nowhere_is_exit_1(hpoq_json):
    """A queue that does not exist fails the work, and what was sent before is still told."""
    with alilocal.serve() as server:
        code, document = hpoq_json("send", REQUESTS[0], "--endpoint", server.url, "--queue", "no-such-queue")
    assert (code, document["sent"]) == (1, [])
    assert "QueueNotExist" in document["error"]


def test_send_without_an_endpoint_is_wrong_usage(hpoq):
    """Nothing is guessed about where the queue is."""
    assert hpoq("send", REQUESTS[0]).returncode == 2
