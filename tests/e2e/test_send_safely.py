"""What `hpoq send` refuses to send, and what it says before it sends."""

import base64
import json

import pytest

import alilocal
from support.deployment import QUEUE
from support.request import REQUEST, make_document, request

BAD = json.dumps({"experiment": {"Nmae": "x"}})


@pytest.fixture
def server():
    with alilocal.serve() as running:
        running.cloud.queues.create(QUEUE)
        yield running


def bodies(server):
    """Return the documents that wait in the queue."""
    return [json.loads(base64.b64decode(one.body)) for one in server.cloud.queues[QUEUE].messages]


def test_a_folder_gives_only_its_requests(hpoq_json, server, tmp_path):
    """Of a folder, only JSON, JSON Lines and YAML are sent; a file that is named itself is sent whatever its name."""
    for name in ("a.json", "b.jsonl", "c.ndjson", "d.yaml", "e.yml", "F.JSON"):
        (tmp_path / name).write_text(request(key=name))
    for name in ("train.py", "data.csv", "id_rsa", ".env", "NOTES.md", "plan.txt"):
        (tmp_path / name).write_text(request(key=name))
    assert hpoq_json("send", tmp_path, "--endpoint", server.url)[0] == 0
    found = {body["idempotencyKey"] for body in bodies(server)}
    assert found == {"a.json", "b.jsonl", "c.ndjson", "d.yaml", "e.yml", "F.JSON"}
    assert hpoq_json("send", tmp_path / "plan.txt", "--endpoint", server.url)[0] == 0


def test_json_schemas_in_a_folder_are_skipped(hpoq, hpoq_json, server, tmp_path):
    """The schema that `hpoq init` writes beside a request is not taken for one, unless it is named itself."""
    requests = tmp_path / "requests"
    options = ["--platform", "LOCAL", "--command", "run", "--param", "x=uniform:0:1", "--metric", "m=(.*)"]
    assert hpoq("init", requests / "request.yaml", *options).returncode == 0
    schema = requests / "request.schema.json"
    (requests / "renamed.json").write_text(schema.read_text())
    own = {"$schema": "https://json-schema.org/draft/2020-12/schema", **make_document("own")}
    (requests / "own.json").write_text(json.dumps(own))
    code, document = hpoq_json("check", requests)
    assert (code, [file["path"] for file in document["files"]]) == (
        0,
        [str(requests / "own.json"), str(requests / "request.yaml")],
    )
    assert hpoq("check", "--github", requests).returncode == 0
    assert hpoq_json("send", requests, "--endpoint", server.url)[0] == 0
    assert len(bodies(server)) == 2
    assert hpoq_json("check", schema)[0] == 1
    (requests / "own.json").unlink()
    (requests / "request.yaml").unlink()
    assert b"contains no files to read" in hpoq("check", requests).stderr


def test_nothing_is_sent_if_one_is_invalid(hpoq, hpoq_json, server, tmp_path):
    """One invalid request stops all; the output is that of `hpoq check`."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(REQUEST)
    bad.write_text(BAD)
    done = hpoq("send", good, bad, "--endpoint", server.url)
    checked = hpoq("check", bad).stdout.splitlines()[:-1]
    assert (done.returncode, done.stdout.splitlines()) == (1, checked)
    assert done.stderr == b"Nothing was sent, because 1 of 2 requests is invalid.\n"
    code, document = hpoq_json("send", good, bad, "--endpoint", server.url)
    assert (code, document["sent"]) == (1, [])
    assert [file["valid"] for file in document["files"]] == [True, False]
    assert bodies(server) == []


def test_a_request_that_fits_no_message_is_refused_first(hpoq_json, server, tmp_path):
    """A request that is too large for a message stops all before anything is sent."""
    (tmp_path / "1.json").write_text(REQUEST)
    (tmp_path / "2.json").write_text(request(Description="x" * 50_000))
    code, document = hpoq_json("send", tmp_path, "--endpoint", server.url)
    assert (code, document["sent"], bodies(server)) == (1, [], [])
    assert document["files"][1]["violations"][0]["rule"] == "body.too-large"


@pytest.mark.parametrize("name", ["r.jsonl", "r.yaml"])
def test_different_requests_with_one_key_are_refused_first(hpoq, hpoq_json, server, tmp_path, name):
    """Nothing is sent, and both requests are named; the same request twice and a dry run may share a key."""
    path = tmp_path / name
    a, b = make_document("jl-7", Name="a"), make_document("jl-7", Name="b")
    dry = {**b, "dryRun": True}
    separator = "\n---\n" if name == "r.yaml" else "\n"
    path.write_text(separator.join(map(json.dumps, (a, a, dry, b))))
    places = [f"{path}:1", f"{path}:4"] if name == "r.jsonl" else [str(path), f"{path}#4"]
    for command in (["check"], ["send", "--endpoint", server.url]):
        code, document = hpoq_json(*command, path)
        assert (code, [file["valid"] for file in document["files"]]) == (1, [True, True, True, False])
        last = document["files"][3]
        assert last["path"] == places[1]
        (violation,) = last["violations"]
        assert (violation["rule"], violation["pointer"]) == ("idempotency-key.twice", "/idempotencyKey")
        assert violation["message"].startswith(f"{places[0]} has the same key and is a different request.")
        assert violation["line"] == (4 if name == "r.jsonl" else 7)
    assert (
        b"Nothing was sent, because 1 of 4 requests is invalid."
        in hpoq("send", path, "--endpoint", server.url).stderr
    )
    assert bodies(server) == []


def test_checking_can_be_switched_off(hpoq_json, server, tmp_path):
    """With --no-check an invalid request is sent as it is."""
    (tmp_path / "bad.json").write_text(BAD)
    assert hpoq_json("send", tmp_path, "--no-check", "--endpoint", server.url)[0] == 0
    assert bodies(server) == [json.loads(BAD)]


def test_a_request_that_cannot_be_sent_is_named(hpoq, hpoq_json, server, tmp_path):
    """SMQ takes no empty message. With --no-check the failed call names the file, also one of several."""
    for name in ("1.json", "3.json"):
        (tmp_path / name).write_text(request(key=name))
    empty = tmp_path / "2.json"
    empty.touch()
    done = hpoq("send", tmp_path, "--no-check", "--endpoint", server.url)
    assert done.returncode == 1
    assert f"Sent 1 of 3 messages, then a call failed: {empty}: " in done.stderr.decode()
    code, document = hpoq_json("send", tmp_path, "--no-check", "--endpoint", server.url)
    assert (code, document["error"].startswith(f"{empty}: ")) == (1, True)


def test_a_missing_key_is_mentioned_once(hpoq, server, tmp_path):
    """Requests without a key are counted in one sentence; with keys nothing is said."""
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(REQUEST)
    done = hpoq("send", tmp_path, "--endpoint", server.url)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("3 requests without an idempotencyKey.")
    assert hpoq("send", tmp_path, "--key", "auto", "--endpoint", server.url).stderr == b""


def test_a_dry_run_needs_no_key(hpoq, server, tmp_path):
    """It creates nothing, however often it is sent."""
    file = tmp_path / "dry.json"
    file.write_text(json.dumps({**make_document(), "dryRun": True}))
    assert hpoq("send", file, "--endpoint", server.url).stderr == b""


def test_a_key_from_the_content(hpoq_json, server, tmp_path):
    """An experiment has one derived key in every form; a key of the producer's own and a CloudEvent's id stay."""
    document = make_document()
    event = {"specversion": "1.0", "type": "t", "source": "/a", "id": "1", "data": document}
    forms = [document, document["experiment"], make_document(Name="other"), make_document(key="own"), event]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(form) + "\n" for form in forms))
    assert hpoq_json("send", path, "--key", "auto", "--endpoint", server.url)[0] == 0
    wrapped, bare, other, own, in_event = bodies(server)
    assert wrapped["idempotencyKey"].startswith("auto-")
    assert wrapped["idempotencyKey"] == bare["idempotencyKey"] != other["idempotencyKey"]
    assert wrapped["experiment"] == bare["experiment"] == document["experiment"]
    assert own["idempotencyKey"] == "own"
    assert in_event == event


@pytest.mark.parametrize("command", ["check", "send"])
def test_standard_input_may_be_yaml(hpoq_json, server, command):
    """What does not begin like JSON on standard input is read as YAML."""
    yaml = b"experiment:\n  Name: from-yaml\n"
    options = ["--endpoint", server.url] if command == "send" else []
    assert hpoq_json(command, "-", *options, stdin=yaml)[0] == 0
    assert [body["experiment"] for body in bodies(server)] == ([{"Name": "from-yaml"}] if options else [])


def test_warnings_are_shown_before_sending(hpoq, server, tmp_path):
    """A request with a warning is sent, and the warning is shown on standard error."""
    (tmp_path / "warned.json").write_text(json.dumps({"idempotencyKey": "k", "experiment": {"Name": "x"}}))
    done = hpoq("send", tmp_path, "--endpoint", server.url)
    assert done.returncode == 0
    assert b"[configuration.absent]" in done.stderr
    assert len(bodies(server)) == 1


def test_an_endpoint_without_a_scheme_is_accepted(hpoq_json, server, tmp_path):
    """`localhost:PORT` means plain http, as for every address of this machine."""
    (tmp_path / "r.json").write_text(request(key="k"))
    address = server.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    assert hpoq_json("send", tmp_path, "--endpoint", address)[0] == 0
    assert len(bodies(server)) == 1


def test_a_proxy_is_not_used_on_this_machine(hpoq_json, server, tmp_path):
    """Variables for proxies do not apply to a local cloud."""
    (tmp_path / "r.json").write_text(request(key="k"))
    proxy = "http://127.0.0.1:9"
    environ = {"HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy}
    assert hpoq_json("send", tmp_path, "--endpoint", server.url, **environ)[0] == 0


def test_a_connection_that_fails_says_what_to_do(hpoq, tmp_path):
    """The error says which address was tried, and asks for the local cloud."""
    (tmp_path / "r.json").write_text(request(key="k"))
    done = hpoq("send", tmp_path, "--endpoint", "127.0.0.1:9")
    shown = done.stderr.decode()
    assert done.returncode == 1
    assert "nothing answers at http://127.0.0.1:9 (ConnectionRefusedError: Connection refused)" in shown
    assert "Is `hpoq local` running?" in shown


def test_a_missing_queue_is_named(hpoq, server, tmp_path):
    """The error names the queue and the address where it is missing."""
    (tmp_path / "r.json").write_text(request(key="k"))
    done = hpoq("send", tmp_path, "--endpoint", server.url, "--queue", "absent")
    assert f"there is no queue absent at {server.url}. Create it, or give --queue." in done.stderr.decode()


def test_an_invalid_request_with_a_key_is_not_reported_as_unkeyed(hpoq, server, tmp_path):
    """With --no-check it is rejected, so that no second experiment can come of it."""
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**json.loads(BAD), "idempotencyKey": "k"}))
    done = hpoq("send", bad, "--no-check", "--endpoint", server.url)
    assert (done.returncode, done.stderr) == (0, b"")
    single = hpoq("send", bad, "--endpoint", server.url)
    assert single.stderr == b"Nothing was sent, because the request is invalid.\n"
