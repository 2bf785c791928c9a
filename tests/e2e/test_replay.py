import json
from pathlib import Path

import pytest

from hpoq.contract.identity import derive_key
from hpoq.testing import smq_event
from support.request import REQUEST

ROOT = Path(__file__).parents[2]
TRIGGERS = "events/triggers"


def outcomes(document):
    return [row["outcome"] for row in document["messages"]]


def event_ids(document):
    """Return the ids of the events; a repeated send publishes the stored event again, under the same id."""
    return {event["id"] for event in document["events"]}


@pytest.fixture(scope="module")
def replayed(hpoq_json):
    """What `hpoq replay` prints about the examples."""
    code, document = hpoq_json("replay", TRIGGERS)
    assert code == 0, document
    return document


def test_the_examples(replayed):
    """The examples show creations with their results, duplicates and rejections, and break no invariant."""
    summary = replayed["summary"]
    assert (summary["retry"], summary["failed"], replayed["broken"]) == (0, 0, [])
    assert min(summary["created"], summary["duplicate"], summary["rejected"]) > 2
    assert sum(summary.values()) == len(replayed["messages"])
    created = {event["subject"] for event in replayed["events"] if ".created." in event["type"]}
    finished = [event for event in replayed["events"] if ".finished." in event["type"]]
    assert len(event_ids(replayed)) == summary["created"] + summary["rejected"] + len(finished)
    assert sorted(event["subject"] for event in finished) == sorted(created)
    assert {event["data"]["status"] for event in finished} == {"FINISHED"}
    assert all(
        set(row) >= {"messageId", "key", "outcome", "experimentId", "error"} for row in replayed["messages"]
    )


def test_twice_creates_nothing_more(replayed, hpoq_json):
    """The second delivery of everything is duplicates, one row per delivery."""
    code, twice = hpoq_json("replay", TRIGGERS, "--times", "2")
    half = len(replayed["messages"])
    assert code == 0
    assert len(twice["messages"]) == 2 * half
    assert set(outcomes(twice)[half:]) == {"duplicate"}
    assert event_ids(twice) == event_ids(replayed)


def test_strict_counts_rejections(hpoq_json):
    """A rejection is a normal end, unless --strict."""
    code, _ = hpoq_json("replay", f"{TRIGGERS}/smq-queue", "--strict")
    assert code == 1


def test_for_people(hpoq):
    """A heading, a row for each message and a closing sentence, and nothing else."""
    done = hpoq("replay", f"{TRIGGERS}/smq-queue")
    heading, *rows, blank, end = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr, blank) == (0, b"", "")
    assert heading.split() == ["outcome", "message", "key", "event", "result"]
    assert {row.split()[0] for row in rows} == {"created", "duplicate", "rejected"}
    assert end.startswith(f"{len(rows)} messages: ")
    assert end.endswith("No message was lost, and no experiment was created twice.")


def test_the_columns_are_aligned_and_cuts_are_shown(hpoq):
    """The headings stand over their columns, however narrow, and a result that is cut ends in an ellipsis."""
    heading, row, *_ = hpoq("replay", "events/ambiguous").stdout.decode().splitlines()
    start = heading.index("result")
    assert row[start - 2 : start] == "  "
    assert row[start:].startswith("UnknownSource: ")
    assert row.endswith("...")


def test_the_events_are_shown_on_demand(hpoq, tmp_path):
    """With -v each published event has a line."""
    event = tmp_path / "event.json"
    event.write_bytes(smq_event("M1", REQUEST))
    assert b"com.hpoq.experiment" not in hpoq("replay", event).stdout
    assert b"com.hpoq.experiment.created.v1" in hpoq("replay", event, "-v").stdout


def test_an_unreadable_event_is_a_clear_failure(hpoq, hpoq_json):
    """An event that cannot be read as a whole fails with one sentence for its file, and no traceback."""
    code, document = hpoq_json("replay", "events/unreadable")
    assert (code, document["messages"]) == (1, [])
    assert len(document["broken"]) == len(list((ROOT / "events" / "unreadable").iterdir()))
    assert all("the event cannot be read: not JSON" in sentence for sentence in document["broken"])
    done = hpoq("replay", "events/unreadable/02-cut-off.json")
    assert done.returncode == 1
    assert "stackTrace" not in (done.stdout + done.stderr).decode()
    assert "Traceback" not in (done.stdout + done.stderr).decode()


def test_an_ambiguous_event_waits_for_an_operator(hpoq_json):
    """An item with the shape of two sources is left to retry until HPOQ_TRIGGER names its source."""
    code, document = hpoq_json("replay", "events/ambiguous")
    assert (code, outcomes(document)) == (1, ["retry"])
    assert "set HPOQ_TRIGGER" in document["messages"][0]["error"]["message"]
    code, document = hpoq_json("replay", "events/ambiguous", HPOQ_TRIGGER="kafka")
    assert (code, outcomes(document)) == (0, ["created"])


def test_records_outlast_the_run(hpoq_json, tmp_path):
    """With --state a later run knows what an earlier one did."""
    state = tmp_path / "records 100%? #1.sqlite3"
    event = tmp_path / "event.json"
    event.write_bytes(smq_event("M1", REQUEST))
    assert outcomes(hpoq_json("replay", event, "--state", state)[1]) == ["created"]
    assert outcomes(hpoq_json("replay", event, "--state", state)[1]) == ["duplicate"]
    assert state.exists()


def test_a_file_that_can_hold_no_records_is_refused(hpoq, tmp_path):
    state = tmp_path / "notes.txt"
    state.write_text("no database, but surely as long as the header of one would have to be" * 20)
    done = hpoq("replay", "events/triggers", "--state", state)
    assert done.returncode == 2
    assert b"--state" in done.stderr
    assert b"file is not a database" in done.stderr


def test_settings_of_a_deployment_do_not_reach_out(hpoq_json, tmp_path):
    """HPOQ_ variables tune a replay, but its store, topic and endpoints stay local."""
    event = tmp_path / "event.json"
    event.write_bytes(smq_event("M1", REQUEST))
    abroad = {
        "HPOQ_STORE": f"sqlite:///{tmp_path / 'deployed.sqlite3'}",
        "HPOQ_OUTPUT": "smq://deployed-topic",
        "HPOQ_PAIAUTOML_ENDPOINT": "https://paiautoml.cn-shanghai.aliyuncs.com",
        "HPOQ_MARKER": "description",
    }
    code, document = hpoq_json("replay", event, **abroad)
    assert (code, outcomes(document)) == (0, ["created"])
    assert not (tmp_path / "deployed.sqlite3").exists()


def test_standard_input_and_json_lines(hpoq_json, tmp_path):
    """Events come from standard input, byte for byte, and from JSON Lines."""
    _, document = hpoq_json("replay", "-", stdin=smq_event("M1", REQUEST))
    assert document["messages"][0]["key"] == derive_key("smq", "M1")
    lines = tmp_path / "events.jsonl"
    lines.write_bytes(smq_event("M1", REQUEST) + b"\n\n" + smq_event("M2", REQUEST) + b"\n")
    assert outcomes(hpoq_json("replay", lines)[1]) == ["created", "created"]


def test_a_message_left_to_retry_is_exit_1(hpoq_json, tmp_path):
    """A cloud that cannot be reached leaves messages to retry, which is a failure of the run."""
    event = tmp_path / "event.json"
    event.write_bytes(smq_event("M1", REQUEST))
    code, document = hpoq_json("replay", event, "--endpoint", "http://127.0.0.1:9")
    assert (code, outcomes(document)) == (1, ["retry"])


def test_wrong_usage_is_exit_2(hpoq, tmp_path):
    """A missing path, a plain-http endpoint abroad, and a misspelt setting are wrong usage."""
    for words, environ in [
        (["replay", tmp_path / "nothing.json"], {}),
        (["replay"], {}),
        (["replay", TRIGGERS, "--endpoint", "http://example.com"], {}),
        (["replay", TRIGGERS], {"HPOQ_LESE": "1"}),
        (["nonsense"], {}),
    ]:
        done = hpoq(*words, **environ)
        assert done.returncode == 2, words
        assert b"Error" in done.stderr
        assert b"Traceback" not in done.stderr


def test_verbose_shows_the_log(hpoq, tmp_path):
    """The function's log lines go to standard error as JSON."""
    event = tmp_path / "event.json"
    event.write_bytes(smq_event("M1", REQUEST))
    lines = [json.loads(line) for line in hpoq("replay", event, "--verbose").stderr.splitlines()]
    (created,) = [line for line in lines if line["event"] == "message.created"]
    assert (created["message_id"], created["key"]) == ("M1", derive_key("smq", "M1"))
    assert lines[-1]["event"] == "invocation"
