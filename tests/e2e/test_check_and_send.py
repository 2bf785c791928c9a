from pathlib import Path

import alilocal
from hpoq.contract.identity import derive_key
from support.deployment import QUEUE
from support.request import REQUEST_FILE, request

ROOT = Path(__file__).parents[2]
REQUESTS = sorted((ROOT / "events" / "requests").glob("*.json"))


def test_the_good_examples_are_good(hpoq_json):
    """Every request to copy is valid, and warns of nothing but the access keys that are to be filled in."""
    code, document = hpoq_json("check", *REQUESTS)
    assert code == 0
    for file in document["files"]:
        assert (file["valid"], file["violations"]) == (True, []), file
        assert {warning["rule"] for warning in file["warnings"]} <= {"text.placeholder"}, file


def test_the_bad_examples_are_bad(hpoq_json):
    """Every request in invalid/ has a violation with pointer, rule and message."""
    code, document = hpoq_json("check", "events/requests/invalid")
    assert code == 1
    for file in document["files"]:
        assert not file["valid"]
        assert all(set(violation) >= {"pointer", "rule", "message"} for violation in file["violations"])


def test_the_producers_own_key_is_shown(hpoq_json, tmp_path):
    """The key is shown if the request has one; otherwise it is not known yet."""
    own = tmp_path / "own.json"
    own.write_text(request("k"))
    bare = ROOT / "events" / "requests" / "bare-body.json"
    _, document = hpoq_json("check", own, bare)
    assert [file["key"] for file in document["files"]] == [derive_key("producer", "k"), None]


def test_samples_are_repeatable(hpoq_json):
    """Draws from the search space come with their commands, the same for the same seed."""
    one = hpoq_json("check", REQUEST_FILE, "--sample", "3", "--seed", "7")[1]["files"][0]["samples"]
    two = hpoq_json("check", REQUEST_FILE, "--sample", "3", "--seed", "7")[1]["files"][0]["samples"]
    assert one == two
    assert len(one) == 3
    assert all(draw["parameters"] and draw["commands"] for draw in one)


def test_the_readable_output_of_check(hpoq):
    """Each violation is on a line with its pointer and rule."""
    done = hpoq("check", "events/requests/invalid")
    assert done.returncode == 1
    assert b"/experiment" in done.stdout


def test_send(hpoq_json):
    """Requests arrive in the queue unchanged, each with its message id and key."""
    with alilocal.serve() as server:
        server.cloud.queues.create(QUEUE)
        code, document = hpoq_json("send", REQUESTS[0], REQUESTS[1], "--endpoint", server.url)
        waiting = server.cloud.queues.get(QUEUE).messages
    assert code == 0
    assert [row["messageId"] for row in document["sent"]] == [message.message_id for message in waiting]


def test_a_missing_queue_is_exit_1(hpoq_json):
    """A missing queue fails the command, which still prints what was sent before."""
    with alilocal.serve() as server:
        code, document = hpoq_json("send", REQUESTS[0], "--endpoint", server.url, "--queue", "no-such-queue")
    assert (code, document["sent"]) == (1, [])
    assert "QueueNotExist" in document["error"]


def test_send_without_an_endpoint_is_wrong_usage(hpoq):
    """The endpoint is never guessed."""
    assert hpoq("send", REQUESTS[0]).returncode == 2
