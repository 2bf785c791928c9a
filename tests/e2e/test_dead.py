"""`hpoq dead` lists, shows, moves and drops dead letters, and loses none of them."""

import base64
import json
import os
import stat
from dataclasses import replace

import pytest
from click.testing import CliRunner

import alilocal
from hpoq.contract.identity import WATCH, derive_key
from hpoq.processing import lifecycle
from hpoq.processing.envelope import unseal
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.processing.watchorder import WatchOrder, encode_order
from hpoq.testing import MemoryStore, smq_event
from hpoqctl.app import app
from hpoqctl.queueclient import QueueClient
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, create_resources
from support.request import REQUEST

SECRET = "LTAI-the-secret-of-a-producer"
UNKNOWN = json.dumps(json.loads(REQUEST) | {"AccessKeySecret": SECRET})


class Operator:
    """An operator's shell and a local cloud whose dead-letter queue holds M1, M2 and a body without a key."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        create_resources(server.cloud)
        self.dead = server.cloud.queues.get(DEAD_LETTER_QUEUE)
        self.queue = server.cloud.queues.get(QUEUE)
        for number in (1, 2):
            self.dead.send(smq_event(f"M{number}", REQUEST).decode())
        self.unknown = self.dead.send(UNKNOWN)

    def run(self, *words, ends=0):
        done = CliRunner().invoke(app, [*words, "--endpoint", self.server.url], env={"HPOQ_NAMESPACE": ""})
        assert done.exit_code == ends, (done.output, done.exception)
        return done.output

    def json(self, *words, ends=0):
        return json.loads(self.run(*words, "--json", ends=ends).splitlines()[-1])

    @property
    def sent(self):
        return [base64.b64decode(message.body) for message in self.queue.messages]


@pytest.fixture
def operator(tmp_path, monkeypatch, by_clock_of):
    monkeypatch.chdir(tmp_path)
    with alilocal.serve() as server:
        by_clock_of(server.cloud)
        yield Operator(server, tmp_path)


def test_a_dead_letter_is_found_by_its_idempotency_key(operator):
    """The key that the producer wrote is enough, also in an invalid request; a pattern without a match is named."""
    for number, body in ((7, json.loads(REQUEST)), (8, {"experiment": {}})):
        keyed = json.dumps(body | {"idempotencyKey": f"order-{number}"})
        operator.dead.send(smq_event(f"M{number}", keyed).decode())
        (row,) = operator.json("dead", "list", "--match", f"order-{number}")["deadLetters"]
        assert (row["producerKey"], row["messageId"]) == (f"order-{number}", f"M{number}")
    assert "1 moved" in operator.run("dead", "redrive", "--match", "order-7")
    for word in ("list", "redrive", "drop"):
        shown = operator.run("dead", word, "--match", "order-9", ends=int(word != "list"))
        assert "No dead letter matches order-9." in shown
    assert "1 dropped" in operator.run("dead", "drop", "--match", "order-*")


def test_list_shows_every_dead_letter_and_which_cannot_be_moved(operator):
    """Dead letters without a known key are listed like the others, with the reason why they cannot be moved."""
    dead_letters = operator.json("dead", "list")["deadLetters"]
    assert {row["key"] for row in dead_letters} == {derive_key("smq", "M1"), derive_key("smq", "M2"), None}
    (unknown,) = (row for row in dead_letters if row["key"] is None)
    assert unknown["letterId"] == operator.unknown
    assert "key of its message is not known" in unknown["reason"]
    assert all(row["enqueuedAt"] > 1_600_000_000_000 for row in dead_letters)
    assert "3 dead letters" in operator.run("dead", "list")


def test_list_can_be_filtered_and_limited(operator):
    """A pattern matches ids, keys and names; a limit counts dead letters."""
    assert [row["messageId"] for row in operator.json("dead", "list", "--match", "M2")["deadLetters"]] == [
        "M2"
    ]
    assert len(operator.json("dead", "list", "--limit", "1")["deadLetters"]) == 1


@pytest.mark.parametrize(
    "first", [["dead", "list"], ["dead", "show", "M*"], ["dead", "redrive", "--dry-run"]], ids=" ".join
)
def test_a_listed_dead_letter_can_be_moved_at_once(operator, first):
    """A dead letter that was listed is visible again, so that the next command can move it."""
    operator.json(*first, ends=int("redrive" in first))
    moved = operator.json("dead", "redrive", "--match", "M*")
    assert ({row["messageId"] for row in moved["moved"]}, moved["invisible"]) == ({"M1", "M2"}, 0)
    assert len(operator.sent) == 2


def test_dead_letters_that_another_receiver_holds_are_reported(operator):
    """If another receiver holds dead letters, the command says how many and exits with 1."""
    operator.dead.receive(3)
    assert operator.json("dead", "redrive", ends=1)["invisible"] == 3
    assert "invisible: 3" in operator.run("dead", "list", ends=1)


def test_show_prints_the_content_without_secrets(operator):
    """The request is shown, even of a dead letter that cannot be moved; credentials in it are masked."""
    (row,) = operator.json("dead", "show", operator.unknown)["deadLetters"]
    assert json.loads(REQUEST)["experiment"]["Name"] in row["body"]
    assert SECRET not in operator.run("dead", "show", operator.unknown)
    assert derive_key("smq", "M1") in operator.run("dead", "show", "M1")
    assert "No dead letter matches" in operator.run("dead", "show", "M9", ends=1)
    assert len(operator.dead.messages) == 3


def test_redrive_is_the_same_command_under_both_names(operator):
    """`hpoq redrive` is the older name of `hpoq dead redrive`."""
    assert [row["messageId"] for row in operator.json("redrive", "--match", "M1")["moved"]] == ["M1"]
    assert [row["messageId"] for row in operator.json("dead", "redrive", "--match", "M2")["moved"]] == ["M2"]


@pytest.mark.parametrize("words", [["--from", QUEUE], ["--queue", DEAD_LETTER_QUEUE]])
def test_messages_are_not_moved_within_one_queue(operator, words):
    """The run would meet each of them again under a new id, and never end."""
    assert "the same queue" in operator.run("redrive", "--limit", "9", *words, ends=2)
    assert (len(operator.dead.messages), operator.sent) == (3, [])


def test_a_dead_letter_without_a_key_is_sent_as_new_only_with_as_new(operator):
    """With --as-new, the body becomes a new message without an envelope, whose id decides the key."""
    assert "--as-new needs --match" in operator.run("dead", "redrive", "--as-new", ends=2)
    operator.json("dead", "redrive", "--match", operator.unknown, ends=1)
    assert operator.sent == []
    moved = operator.json("dead", "redrive", "--match", operator.unknown, "--as-new")["moved"]
    assert [(row["letterId"], row["key"]) for row in moved] == [(operator.unknown, None)]
    assert operator.sent == [UNKNOWN.encode()]
    assert len(operator.dead.messages) == 2


def test_as_new_keeps_the_keys_that_are_known(operator):
    """Only a dead letter whose key is not known is sent without one."""
    operator.json("dead", "redrive", "--match", "*", "--as-new")
    keys = {envelope.key for envelope in map(unseal, operator.sent) if envelope}
    assert keys == {derive_key("smq", "M1"), derive_key("smq", "M2")}
    assert UNKNOWN.encode() in operator.sent


def test_drop_first_writes_the_content_to_a_private_file(operator):
    """What is deleted can be restored from the file, which nobody else can read."""
    report = operator.json("dead", "drop", "--match", operator.unknown)
    (file,) = operator.folder.iterdir()
    (line,) = map(json.loads, file.read_text().splitlines())
    assert report["file"] == file.name
    assert base64.b64decode(line["body"]) == UNKNOWN.encode()
    assert (line["letterId"], line["messages"][0]["key"]) == (operator.unknown, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(operator.dead.messages) == 2


def test_a_file_that_exists_becomes_private(operator):
    """A file that others can read is appended to, but not before they lose that right."""
    file = operator.folder / "kept.jsonl"
    file.write_text("{}\n")
    file.chmod(0o644)
    operator.json("dead", "drop", "--all", "--to", file.name)
    assert len(file.read_text().splitlines()) == 4
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("words", [[], ["--to", "kept.jsonl"], ["--dry-run"]], ids=" ".join)
def test_nothing_that_matches_is_exit_1_without_a_file(operator, words):
    """`drop` and `redrive` end like `show` if nothing matches, and no empty file is left."""
    shown = operator.run("dead", "drop", "--match", "M9", *words, ends=1)
    assert ("No dead letter matches M9." in shown, "Their content is in" in shown) == (True, False)
    assert operator.json("dead", "drop", "--match", "M9", *words, ends=1)["file"] is None
    assert operator.json("dead", "redrive", "--match", "M9", ends=1)["moved"] == []
    assert list(operator.folder.iterdir()) == []


def test_a_failed_deletion_leaves_the_dead_letter_in_file_and_queue(operator):
    """The file is written before the deletion, so no failure between the two loses a message."""
    operator.server.cloud.faults.add(
        service="smq", operation="DeleteMessage", kind="refuse", when="before", times=None
    )
    report = operator.json("dead", "drop", "--all", "--to", "kept.jsonl", ends=1)
    assert "error" in report
    assert len((operator.folder / "kept.jsonl").read_text().splitlines()) == 1
    assert len(operator.dead.messages) == 3


def test_nothing_is_dropped_if_the_file_cannot_be_written(operator):
    """Without a place for the content nothing is deleted."""
    assert "No such file" in operator.run("dead", "drop", "--all", "--to", "missing/kept.jsonl", ends=1)
    assert len(operator.dead.messages) == 3


def test_nothing_is_dropped_before_its_content_is_on_the_disk(operator, monkeypatch):
    """A power failure must not lose a message that is deleted."""

    def fail(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert "No space left" in operator.run("dead", "drop", "--all", ends=1)
    assert len(operator.dead.messages) == 3


def test_drop_needs_match_or_all(operator):
    """Without a choice nothing is dropped; a dry run writes no file."""
    operator.run("dead", "drop", ends=2)
    operator.run("dead", "drop", "--all", "--match", "M1", ends=2)
    assert len(operator.json("dead", "drop", "--all", "--dry-run")["dropped"]) == 3
    assert list(operator.folder.iterdir()) == []
    assert len(operator.json("dead", "drop", "--all", "--limit", "2", "--to", "kept.jsonl")["dropped"]) == 2
    assert len(operator.dead.messages) == 1


def test_a_missing_queue_is_named_with_its_option(operator):
    """--from names the dead-letter queue, and --queue the one that dead letters are moved to."""
    for word in ("list", "redrive"):
        shown = operator.run("dead", word, "--from", "nope", ends=1)
        assert "there is no queue nope at " in shown
        assert "Create it, or give --from." in shown
    shown = operator.run("dead", "redrive", "--queue", "gone", ends=1)
    assert "there is no queue gone at " in shown
    assert "Create it, or give --queue." in shown


def test_ctrl_c_ends_a_command_with_130(operator, monkeypatch):
    """What is held is visible again, and what was done is reported."""

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(QueueClient, "delete_message", interrupt)
    assert "Interrupted. The dead letters that are left are visible again." in operator.run(
        "dead", "redrive", ends=130
    )


@pytest.mark.parametrize("words", ["list", "show x", "redrive", "drop --all"])
def test_a_failed_call_is_explained_in_json_as_it_is_to_people(operator, words):
    """Both say what to do."""
    problem = "there is no queue nope at"
    assert problem in operator.run("dead", *words.split(), "--from", "nope", ends=1)
    error = operator.json("dead", *words.split(), "--from", "nope", ends=1)["error"]
    assert problem in error
    assert "give --from" in error


def test_a_lost_watch_message_is_sent_anew(operator, monkeypatch):
    """`--watch` sends it to the queue of requests unless the experiment has a result or is not followed."""
    order = WatchOrder(derive_key("producer", "k"), "s1", 1000.0)
    claim = lifecycle.claim(Delivery(order.key, "f", "m", "b"), "owner", 990.0, Terms(90, 10, 15, 86_400, 10))
    done = replace(claim, experiment_id="s1", watch_order=encode_order(order))
    store = MemoryStore()
    store.insert(done)
    monkeypatch.setattr("hpoqctl.dead.find_store", lambda _url: store)
    words = ("dead", "redrive", "--watch", order.key)
    row = {"key": order.key, "experimentId": "s1", "reason": None}
    assert operator.json(*words, "--dry-run") == {"dryRun": True, "watched": [row], "error": None}
    assert operator.sent == []
    assert f"{order.key}  sent the watch message of s1" in operator.run(*words, "--watch", order.key)
    missing = operator.json(*words, "--queue", "nope", ends=1)
    assert (missing["watched"], "no queue nope" in missing["error"]) == ([], True)
    assert "no queue nope" in operator.run(*words, "--queue", "nope", ends=1)
    (sent,) = map(unseal, operator.sent)
    assert (sent.kind, sent.body.decode()) == (WATCH, encode_order(order))
    ended = lifecycle.complete(replace(claim, key=sent.key), "s1", "{}", 1.0, Terms(90, 10, 15, 86_400, 10))
    store.insert(lifecycle.mark_published(ended, 2.0))
    other = derive_key("producer", "other")
    rows = operator.json(*words, "--watch", other, ends=1)["watched"]
    assert ["was published" in rows[0]["reason"], "no record" in rows[1]["reason"]] == [True, True]
    assert "use hpoq status --idempotency-key k," in operator.run("dead", "redrive", "--watch", "k", ends=2)
    assert "--watch goes with" in operator.run(*words, "--match", "x", ends=2)
    assert len(operator.sent) == 1
