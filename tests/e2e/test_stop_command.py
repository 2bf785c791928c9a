"""`hpoq stop` puts stop messages into the queue."""

import base64
import json

import pytest

import alilocal
from hpoq.contract.identity import SMQ, derive_key
from hpoq.contract.request import parse_request
from support.deployment import QUEUE, create_resources
from support.request import make_document


@pytest.fixture
def server():
    with alilocal.serve() as server:
        create_resources(server.cloud)
        yield server


def waiting(server):
    """Return the messages in the queue, as the function gets them."""
    return [base64.b64decode(message.body) for message in server.cloud.queues[QUEUE].messages]


def test_keys_and_ids_become_stop_messages(hpoq_json, server):
    """Each KEY and each --experiment becomes one valid message, and the output names what was sent for it."""
    code, document = hpoq_json("stop", "Key 1", "k/2", "--experiment", "sJ0xjVa", "--endpoint", server.url)
    assert code == 0
    stops = [{"idempotencyKey": "Key 1"}, {"idempotencyKey": "k/2"}, {"experimentId": "sJ0xjVa"}]
    assert [json.loads(body) for body in waiting(server)] == [{"stop": stop} for stop in stops]
    assert [parse_request(body).warnings for body in waiting(server)] == [(), (), ()]
    assert [row["stop"] for row in document["sent"]] == stops
    ids = [message.message_id for message in server.cloud.queues[QUEUE].messages]
    assert [(row["messageId"], row["key"]) for row in document["sent"]] == [
        (one, derive_key(SMQ, one)) for one in ids
    ]


def test_files_name_their_requests(hpoq_json, server, tmp_path):
    """A FILE stops what its requests create; YAML and JSON Lines are read like everywhere."""
    lines = tmp_path / "r.jsonl"
    lines.write_text("".join(json.dumps(make_document(key)) + "\n" for key in ("a", "b")))
    (tmp_path / "r.yaml").write_text(json.dumps(make_document("c")))
    code, _ = hpoq_json("stop", lines, tmp_path / "r.yaml", "--endpoint", server.url)
    assert code == 0
    assert [json.loads(body)["stop"]["idempotencyKey"] for body in waiting(server)] == ["a", "b", "c"]


def test_the_name_of_a_folder_is_a_key(hpoq_json, server):
    """A key that is also the name of a folder stops one experiment, not all that the folder's requests created."""
    code, document = hpoq_json("stop", "events/requests", "--endpoint", server.url)
    assert (code, [row["stop"] for row in document["sent"]]) == (0, [{"idempotencyKey": "events/requests"}])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "No experiment is given"),
        (["missing.json"], "missing.json does not exist"),
        (["."], ". is a folder. Give the files in it."),
        (["events/requests/"], "events/requests/ is a folder. Give the files in it."),
        (["--experiment", "a/b"], "'a/b' names no experiment"),
        (["events/requests/minimal.json"], "events/requests/minimal.json has no idempotencyKey"),
        (["events/unreadable/02-cut-off.json"], "events/unreadable/02-cut-off.json is invalid: not JSON"),
        (
            ["events/requests/invalid/missing-members.json"],
            "is invalid: /experiment/HpoExperimentConfiguration/platform_config/cmd: cmd is required",
        ),
    ],
)
def test_wrong_usage_sends_nothing(hpoq, server, words, problem):
    """What cannot be a stop message is wrong usage, and nothing is sent."""
    done = hpoq("stop", *words, "--endpoint", server.url)
    assert (done.returncode, done.stdout) == (2, b"")
    assert problem in done.stderr.decode()
    assert waiting(server) == []


def test_a_stop_message_is_for_send(hpoq, server, tmp_path):
    """A FILE with a stop message is wrong usage, and the message names the command that sends it."""
    path = tmp_path / "st.yaml"
    path.write_text("idempotencyKey: own\nstop: {idempotencyKey: k}\n")
    done = hpoq("stop", path, "--endpoint", server.url)
    assert done.returncode == 2
    assert f"{path} is a stop message already. Send it with hpoq send {path}." in done.stderr.decode()
    assert waiting(server) == []


def test_a_call_that_fails_is_exit_1(hpoq, hpoq_json):
    """Without a service the command fails, and says how much was sent."""
    done = hpoq("stop", "k", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert b"Sent 0 of 1, then a call failed" in done.stderr
    code, document = hpoq_json("stop", "k", "--endpoint", "http://127.0.0.1:9")
    assert (code, document["sent"]) == (1, [])
    assert "nothing answers at" in document["error"]


def test_a_stop_that_is_not_answered(hpoq_json, server):
    """Without a function no event comes: exit 1 in time, and nothing is left behind in the cloud."""
    before = len(server.cloud.queues)
    code, document = hpoq_json("stop", "k", "--endpoint", server.url, "--wait", "--timeout", "0.5")
    assert (code, document["missing"]) == (1, [document["sent"][0]["messageId"]])
    assert len(server.cloud.queues) == before
