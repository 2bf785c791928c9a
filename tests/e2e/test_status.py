"""`hpoq status` explains a record as the life cycle has it, and changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import alilocal
from hpoq.contract.identity import CONFLICT, derive_key
from hpoq.contract.request import compute_fingerprint, parse_request
from hpoq.idempotency.record import State
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Delivery, Standing, Terms
from hpoq.settings import Settings
from hpoqctl.app import app
from hpoqctl.pipeline import create_pipeline
from hpoqctl.recordview import explain_record
from support.request import make_document

ROOT = Path(__file__).parents[2]
REQUEST = make_document()
TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
KEY = derive_key("smq", "M1")
MESSAGE_ID = "81117C162A36B283D38740DB4E52D976"  # the hexadecimal digits of a UUID, as SMQ's ids are
CLAIM = lifecycle.claim(Delivery(KEY, "f", "m", "b", message_id="M1"), "owner", 1000.0, TERMS)
EVENT = json.dumps({"id": "e-1", "data": {}})
DONE = lifecycle.complete(CLAIM, "s1", EVENT, 1010.0, TERMS)
FAILED = lifecycle.mark_published(lifecycle.fail(CLAIM, EVENT, 1010.0, TERMS), 1011.0)
CASES = {
    Standing.UNSEEN: (None, 1000.0),
    Standing.HELD: (CLAIM, 1060.0),
    Standing.ABANDONED: (CLAIM, 1095.0),
    Standing.UNPUBLISHED: (DONE, 1020.0),
    Standing.PUBLISHED: (lifecycle.mark_published(DONE, 1011.0), 1020.0),
    Standing.GIVEN_UP: (FAILED, 1020.0),
    Standing.EXPIRED: (lifecycle.mark_published(DONE, 1011.0), 1e10),
}


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_is_explained(standing):
    record, now = CASES[standing]
    explanation = explain_record(KEY, record, now, Settings())
    assert explanation.standing is standing
    lines = list(explanation.lines())
    assert len(lines) >= 3
    assert all(lines)
    assert not any("{" in line for line in lines)
    document = explanation.as_json()
    assert document["nextDelivery"] == lifecycle.next_action(record, now).value
    assert json.loads(json.dumps(document)) == document


def test_a_claim_shows_its_lease_and_its_doubt():
    assert "30 s" in " ".join(explain_record(KEY, CLAIM, 1060.0, Settings()).lines())
    abandoned = " ".join(explain_record(KEY, CLAIM, 1095.0, Settings()).lines())
    assert "5 s ago" in abandoned
    assert f"another {CLAIM.doubt_until - 1095:.0f} s" in abandoned
    settled = " ".join(explain_record(KEY, CLAIM, CLAIM.doubt_until, Settings()).lines())
    assert "An earlier create may have happened. The next delivery searches" in settled
    ahead = " ".join(explain_record(KEY, CLAIM, 1090.0 - 86_400, Settings()).lines())
    assert "another 86400 s. Only a clock that was ahead can have written that" in ahead


ERROR = json.dumps({"code": "Forbidden.RAM", "message": "no permission", "retryable": True, "violations": []})


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("Forbidden.RAM", "hpoq doctor"),
        ("Throttling.User", "ends by itself"),
        ("ServiceUnavailable", "searches for the experiment"),
        ("Ambiguous", "hpoq resolve"),
        ("EndpointChanged", "Set the endpoint back"),
        ("ClockOff", "not an attempt"),
        ("ClockOff", "HPOQ_MAX_AGE_HOURS"),
        ("InternalError", "message.defect"),
        ("NeverHeardOf", "hpoq doctor"),
        ("WorkspaceNotFound", "given up after HPOQ_MAX_ATTEMPTS"),
        ("QuotaExceeded.Experiments", "continues by itself"),
    ],
)
def test_the_last_error_is_shown_with_what_to_do(code, advice):
    """The status of a message that waits says why it waits."""
    error = ERROR.replace("Forbidden.RAM", code)
    record = lifecycle.release(CLAIM, 1100.0, 1010.0, counts=False, error=error)
    explanation = explain_record(KEY, record, 1020.0, Settings())
    lines = list(explanation.lines())
    assert f"The last error was {code}: no permission" in lines
    assert advice in lines[lines.index(f"The last error was {code}: no permission") + 1]
    assert explanation.as_json()["record"]["lastError"]["code"] == code


def test_a_code_of_the_service_goes_before_the_same_code_of_the_function():
    """PAI and the function both have the code InternalError."""
    service = {"code": "InternalError", "message": "no permission", "httpStatus": 500}
    error = json.dumps(json.loads(ERROR) | {"code": "InternalError", "service": service})
    record = lifecycle.release(CLAIM, None, 1010.0, counts=False, error=error)
    lines = " ".join(explain_record(KEY, record, 1020.0, Settings()).lines())
    assert "searches for the experiment" in lines
    assert "message.defect" not in lines


def test_a_success_has_no_last_error():
    """Errors from before the experiment was created need no action."""
    done = lifecycle.complete(replace(CLAIM, last_error=ERROR), "s1", EVENT, 1010.0, TERMS)
    lines = " ".join(explain_record(KEY, done, 1020.0, Settings()).lines())
    assert "Forbidden.RAM" not in lines


def test_a_message_that_is_not_due_says_when_it_is():
    """A message that was sent back with a delay, or whose search concluded nothing, shows when it is due."""
    released = lifecycle.release(CLAIM, None, 1010.0, counts=False)
    waiting = lifecycle.mark_sent_back(released, 1, 1050.0)
    lines = " ".join(explain_record(KEY, waiting, 1020.0, Settings()).lines())
    assert "due in 30 s" in lines
    assert "creates the experiment" not in lines


def test_only_a_redrive_continues_a_message_that_was_given_up():
    """A message that was given up shows where it may be, and claims nothing about an experiment."""
    lines = " ".join(explain_record(KEY, replace(FAILED, last_error=ERROR), 1020.0, Settings()).lines())
    assert "given up after 1 attempt, and its event was published" in lines
    assert "If HPOQ_DEAD_LETTER_QUEUE is set" in lines
    assert "is in the dead-letter queue" not in lines
    assert f"hpoq redrive --match {KEY}" in lines
    assert "Forbidden.RAM" in lines
    assert "No experiment" not in lines
    assert "once more" not in lines


def test_a_key_in_doubt_names_the_command_that_resolves_it():
    """The command is named until an operator has decided, and only if a create is in doubt."""
    later = 1095.0
    for record, is_named in (
        (CLAIM, True),
        (lifecycle.resolve_none(CLAIM, later), False),
        (lifecycle.resolve_experiment(CLAIM, "s1", later), False),
    ):
        lines = " ".join(explain_record(KEY, record, later, Settings()).lines())
        assert (f"hpoq resolve {KEY} --none" in lines) is is_named
    assert "hpoq resolve" not in " ".join(explain_record(KEY, CLAIM, 1060.0, Settings()).lines())


@pytest.mark.parametrize("code", ["Ambiguous", "EndpointChanged", "Incomplete"])
def test_no_line_asks_for_a_decision_that_was_made_or_that_a_stop_does_not_need(code):
    """The error of the last delivery stays in the record until the next one."""
    later = 1095.0
    doubtful = replace(CLAIM, last_error=ERROR.replace("Forbidden.RAM", code))
    for record in (
        lifecycle.resolve_none(doubtful, later),
        lifecycle.resolve_experiment(doubtful, "s1", later),
        replace(doubtful, doubt_until=None),  # a stop or a watch message
    ):
        lines = " ".join(explain_record(KEY, record, later, Settings()).lines())
        assert f"The last error was {code}" in lines
        assert "hpoq resolve" not in lines


def test_an_experiment_that_is_known_is_announced_and_not_searched_for():
    """An operator recorded it, or its key ended as created longer ago than the retention."""
    done = lifecycle.mark_published(lifecycle.complete(CLAIM, "s1", EVENT, 1010.0, TERMS), 1011.0)
    for record, now in (
        (lifecycle.resolve_experiment(CLAIM, "s1", 1095.0), 1095.0),
        (done, done.expires_at),
    ):
        explanation = explain_record(KEY, record, now, Settings())
        lines = " ".join(explanation.lines())
        assert "The next delivery announces experiment s1 and creates none." in lines
        assert "searches" not in lines
        assert ("experiment", "s1") in list(explanation.facts())


def test_a_key_without_doubt_is_created_at_once():
    """No search is announced if no create is in doubt."""
    record = lifecycle.resolve_none(CLAIM, 1095.0)
    explanation = explain_record(KEY, record, 1095.0, Settings())
    assert "The next delivery creates the experiment." in " ".join(explanation.lines())
    assert "claim ended" in dict(explanation.facts())


def test_only_an_open_claim_is_said_to_end():
    """The lease of a record that ended may lie ahead, where a claim that ended would be wrong."""
    done = lifecycle.mark_published(lifecycle.complete(CLAIM, "s1", EVENT, 1010.0, TERMS), 1011.0)
    assert done.lease_until > 1011.0
    assert (
        not {"claim ends", "claim ended"} & dict(explain_record(KEY, done, 1011.0, Settings()).facts()).keys()
    )
    assert "claim ends" in dict(explain_record(KEY, CLAIM, 1011.0, Settings()).facts())


def test_a_namespace_is_part_of_the_key(url):
    """The command derives keys as the function does."""
    report = json.loads(run("--message-id", "M1", "--store", url, "--json", HPOQ_NAMESPACE="team-a").output)
    assert report["messages"][0]["key"] == derive_key("smq", "M1", "team-a")


def of(request):
    return compute_fingerprint(parse_request(json.dumps(request).encode()).document)


def run(*arguments, **environ):
    return CliRunner().invoke(app, ["status", *map(str, arguments)], env=environ)


@pytest.fixture
def url(tmp_path):
    """The URL of a store with one record whose event was published."""
    made = f"sqlite:///{tmp_path}/records.sqlite3"
    store = open_store(made)
    store.insert(CLAIM)
    store.replace(replace(DONE, published_at=1011.0, expires_at=4e9), CLAIM.version)
    store.close()
    return made


@pytest.mark.parametrize("way", [[KEY], ["--key", KEY], ["--message-id", "M1"]], ids=" ".join)
def test_a_message_is_found(url, way):
    done = run(*way, "--store", url)
    assert done.exit_code == 0
    assert "published" in done.output
    assert "s1" in done.output
    (shown,) = json.loads(run(*way, "--store", url, "--json").output)["messages"]
    assert (shown["standing"], shown["nextDelivery"]) == ("published", "acknowledge")
    assert shown["record"]["experimentId"] == "s1"
    assert shown["event"] == json.loads(EVENT)


def test_a_file_with_the_name_of_a_key_is_read(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(KEY).write_text(json.dumps({**REQUEST, "idempotencyKey": "tune-1"}))
    (shown,) = json.loads(run(KEY, "--store", url, "--json").output)["messages"]
    assert shown["key"] == derive_key("producer", "tune-1")


def test_a_missing_record_is_reported(url):
    """Also beside another message that has one."""
    done = run(KEY, "--message-id", "M2", "--store", url)
    assert done.exit_code == 1
    assert "There is no record" in done.output


def test_a_request_is_found_by_its_own_key_and_a_conflict_is_seen(tmp_path):
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    request = {**REQUEST, "idempotencyKey": "tune-1"}
    key = derive_key("producer", "tune-1")
    store = open_store(url)
    store.insert(
        replace(
            CLAIM,
            key=key,
            fingerprint=compute_fingerprint(parse_request(json.dumps(request).encode()).document),
        )
    )
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    (shown,) = json.loads(run(file, "--store", url, "--json").output)["messages"]
    assert (shown["key"], shown["standing"], shown["conflictsWith"]) == (key, "abandoned", None)
    other = {**request, "experiment": {**request["experiment"], "Name": "another"}}
    file.write_text(json.dumps(other))
    refusal = derive_key(CONFLICT, f"{key}:{of(other)}")
    done = run(file, "--store", url)
    assert (done.exit_code, "belongs to a different request" in done.output) == (1, True)
    assert "To do: Send this request with an idempotencyKey of its own." in done.output
    store.insert(replace(CLAIM, key=refusal, state=State.REJECTED, event=EVENT))
    store.close()
    (shown,) = json.loads(run(file, "--store", url, "--json").output)["messages"]
    assert (shown["key"], shown["standing"], shown["conflictsWith"]) == (refusal, "unpublished", key)
    assert [line for line in shown["explanation"] if line.startswith("To do")] == [
        "To do: Send this request with an idempotencyKey of its own."
    ]


def test_a_cloudevent_is_found_by_its_source_and_id(tmp_path):
    """A file whose request is in a CloudEvent needs no message id."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    event = {"specversion": "1.0", "type": "t", "source": "/a", "id": "1", "data": REQUEST}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    store = open_store(url)
    store.insert(
        replace(CLAIM, key=derive_key("cloudevent", '{"id":"1","source":"/a"}'), fingerprint=of(event))
    )
    store.close()
    (shown,) = json.loads(run(file, "--store", url, "--json").output)["messages"]
    assert (shown["standing"], shown["conflictsWith"]) == ("abandoned", None)


def test_a_running_local_cloud_is_asked():
    with alilocal.serve() as server:
        create_pipeline(server.cloud)
        done = run("--message-id", "M1", "--endpoint", server.url)
    assert done.exit_code == 1
    assert "There is no record" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "The endpoint of SMQ is not known"),
        (["--key", KEY], "Give --store"),
        (["--key", KEY[:8], "--store", "sqlite:///absent.sqlite3"], "is not a key"),
        (["--key", "request-1"], "For a producer's own key, give --idempotency-key request-1"),
        (["--key", MESSAGE_ID], "is not a key. A key is a UUID of 36 characters"),
        (["--key", MESSAGE_ID], f"for a message's id --message-id {MESSAGE_ID}."),
        ([MESSAGE_ID], f"for a message's id --message-id {MESSAGE_ID}."),
        (["--key", KEY, "--store", "nowhere://x"], "unknown kind of store"),
        (["--key", KEY, "--store", "sqlite:///absent.sqlite3"], "does not exist"),
    ],
)
def test_wrong_usage_is_reported(arguments, said, tmp_path, monkeypatch):
    """Wrong usage ends with code 2 and a sentence on what to give, and creates no file."""
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_down_is_reported():
    done = run("--key", KEY, "--store", "redis://127.0.0.1:1/0")
    assert done.exit_code == 1
    assert "redis" in done.output


@pytest.mark.parametrize("outcome", ["stopping", "finished"])
def test_an_end_has_the_name_of_its_event(outcome):
    """The record of a stop or of a result has not ended as created."""
    event = json.dumps({"id": "e-1", "type": f"com.hpoq.experiment.{outcome}.v1", "data": {}})
    record = replace(lifecycle.mark_published(DONE, 1011.0), event=event)
    explanation = explain_record(KEY, record, 1020.0, Settings())
    assert f"ended as {outcome}" in "\n".join(explanation.lines())


def test_a_key_that_is_given_as_a_file(hpoq):
    """`hpoq stop` takes a key there; the message names the option that does here."""
    done = hpoq("status", "tune-1")
    assert done.returncode == 2
    assert b"tune-1 does not exist. For a producer's own key, give --idempotency-key tune-1" in done.stderr
    assert b"own key" not in hpoq("status", "tune.json").stderr
