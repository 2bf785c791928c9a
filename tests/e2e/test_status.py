"""`hpoq status` explains a record as the life cycle has it, and changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import alilocal
from hpoq.cli.app import app
from hpoq.cli.cloud import lay_out
from hpoq.cli.life import life_of
from hpoq.contract.fingerprint import fingerprint
from hpoq.contract.keys import CONFLICT, derive_key
from hpoq.contract.request import parse_request
from hpoq.idempotency.record import State
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import TABLE, Standing, Terms
from hpoq.settings import Settings

ROOT = Path(__file__).parents[2]
REQUEST = json.loads((ROOT / "events/requests/minimal.json").read_text())
TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
KEY = derive_key("smq", "M1")
CLAIM = lifecycle.claim(KEY, "f", "owner", 1000.0, TERMS)
EVENT = json.dumps({"id": "e-1", "data": {}})
DONE = lifecycle.complete(CLAIM, "s1", EVENT, 1010.0, TERMS)
FAILED = lifecycle.published(lifecycle.fail(CLAIM, EVENT, 1010.0, TERMS), 1011.0)
CASES = {
    Standing.UNSEEN: (None, 1000.0),
    Standing.HELD: (CLAIM, 1060.0),
    Standing.ABANDONED: (CLAIM, 1095.0),
    Standing.UNPUBLISHED: (DONE, 1020.0),
    Standing.PUBLISHED: (lifecycle.published(DONE, 1011.0), 1020.0),
    Standing.GIVEN_UP: (FAILED, 1020.0),
    Standing.EXPIRED: (lifecycle.published(DONE, 1011.0), 1e10),
}


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_is_explained(standing):
    record, now = CASES[standing]
    life = life_of(KEY, record, now, Settings())
    assert life.standing is standing
    lines = list(life.lines())
    assert len(lines) >= 3
    assert all(lines)
    assert not any("{" in line for line in lines)
    told = life.as_json()
    assert told["nextDelivery"] == TABLE[standing].value
    assert json.loads(json.dumps(told)) == told


def test_a_claim_tells_how_long_it_holds_and_its_doubt():
    assert "30 s" in " ".join(life_of(KEY, CLAIM, 1060.0, Settings()).lines())
    abandoned = " ".join(life_of(KEY, CLAIM, 1095.0, Settings()).lines())
    assert "5 s ago" in abandoned
    assert "after 10 s more" in abandoned


def of(request):
    return fingerprint(parse_request(json.dumps(request).encode()).request)


def run(*arguments, **environ):
    return CliRunner().invoke(app, ["status", *map(str, arguments)], env=environ)


@pytest.fixture
def url(tmp_path):
    """A store with one record, whose event is out."""
    made = f"sqlite:///{tmp_path}/records.sqlite3"
    store = open_store(made)
    store.insert(CLAIM)
    store.replace(replace(DONE, published_at=1011.0, expires_at=4e9), CLAIM.version)
    store.close()
    return made


@pytest.mark.parametrize("way", [["--key", KEY], ["--message-id", "M1"]], ids=["key", "message id"])
def test_a_message_is_found(url, way):
    done = run(*way, "--store", url)
    assert done.exit_code == 0
    assert "published" in done.output
    assert "s1" in done.output
    (told,) = json.loads(run(*way, "--store", url, "--json").output)["messages"]
    assert (told["standing"], told["nextDelivery"]) == ("published", "acknowledge")
    assert told["record"]["experimentId"] == "s1"
    assert told["event"] == json.loads(EVENT)


def test_one_that_has_no_record_is_told(url):
    done = run("--message-id", "M2", "--store", url)
    assert done.exit_code == 1
    assert "No record" in done.output


def test_a_request_is_found_by_its_own_key_and_a_conflict_is_seen(tmp_path):
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    request = {**REQUEST, "idempotencyKey": "tune-1"}
    key = derive_key("producer", "tune-1")
    store = open_store(url)
    store.insert(
        replace(CLAIM, key=key, fingerprint=fingerprint(parse_request(json.dumps(request).encode()).request))
    )
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    (told,) = json.loads(run(file, "--store", url, "--json").output)["messages"]
    assert (told["key"], told["standing"], told["conflictsWith"]) == (key, "abandoned", None)
    other = {**request, "experiment": {**request["experiment"], "Name": "another"}}
    file.write_text(json.dumps(other))
    refusal = derive_key(CONFLICT, f"{key}:{of(other)}")
    done = run(file, "--store", url)
    assert (done.exit_code, "belongs to another request" in done.output) == (1, True)
    store.insert(replace(CLAIM, key=refusal, state=State.REJECTED, event=EVENT))
    store.close()
    (told,) = json.loads(run(file, "--store", url, "--json").output)["messages"]
    assert (told["key"], told["standing"], told["conflictsWith"]) == (refusal, "unpublished", key)


def test_a_running_local_cloud_is_asked():
    with alilocal.serve() as server:
        lay_out(server.cloud)
        done = run("--message-id", "M1", "--endpoint", server.url)
    assert done.exit_code == 1
    assert "No record" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --key"),
        (["--key", KEY], "give --store"),
        (["--key", KEY, "--store", "nowhere://x"], "names no store"),
        (["--key", KEY, "--store", "sqlite:///absent.sqlite3"], "no such file"),
    ],
)
def test_wrong_usage_is_told(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_down_is_told():
    done = run("--key", KEY, "--store", "redis://127.0.0.1:1/0")
    assert done.exit_code == 1
    assert "redis" in done.output
