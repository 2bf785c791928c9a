"""Where events go."""

from __future__ import annotations

import fcntl
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone

import pytest

from hpoq.clock import Budget, SystemClock
from hpoq.errors import Invalid, Unavailable, UnknownEnd
from hpoq.publishers import FilePublisher, Publisher, SmqTopicPublisher
from support.processes import race, run_program

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "type": "com.hpoq.experiment.failed.v1",
    "data": {"name": "测试 \x00 \u2028", "n": 1.5, "none": None},
}


class Smq:
    """Records what is published."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, str, str | None, Budget | None]] = []

    def publish_message(
        self, topic: str, body: str, *, tag: str | None = None, budget: Budget | None = None
    ) -> str:
        if self.error is not None:
            raise self.error
        self.calls.append((topic, body, tag, budget))
        return "m"


def test_topic():
    """An event is published with its outcome as tag, as compact JSON in ASCII, which XML can always carry."""
    smq = Smq()
    publisher: Publisher = SmqTopicPublisher(smq, "results")
    budget = Budget.lasting(5.0, SystemClock())
    publisher.publish(EVENT, budget=budget)
    [(topic, body, tag, used)] = smq.calls
    assert (topic, tag, used, json.loads(body)) == ("results", "failed", budget, EVENT)
    assert body.isascii()
    assert body.isprintable()
    assert '": ' not in body
    publisher.publish({"id": "2"})
    assert smq.calls[1][2] is None, "only an event of hpoq has an outcome"


def test_topic_fails():
    """What the client raises comes through."""
    with pytest.raises(Invalid):
        SmqTopicPublisher(Smq(Invalid("m", service="s", operation="o")), "t").publish(EVENT)


def test_file(tmp_path):
    """Each event is one line, and what was there stays."""
    path = tmp_path / "events.jsonl"
    publisher: Publisher = FilePublisher(path)
    publisher.publish(EVENT)
    FilePublisher(str(path)).publish({"id": "2\n"})
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [EVENT, {"id": "2\n"}]


APPEND = """
import sys
from hpoq.publishers import FilePublisher
publisher = FilePublisher(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    publisher.publish({"writer": int(sys.argv[2]), "number": number, "filler": "x" * 20_000})
"""


def test_file_shared_by_processes(tmp_path):
    """Lines of several processes never mix."""
    path = tmp_path / "events.jsonl"
    race([sys.executable, "-c", APPEND, str(path), str(number)] for number in range(3))
    seen = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted((event["writer"], event["number"]) for event in seen) == [
        (writer, number) for writer in range(3) for number in range(20)
    ]


def test_file_is_written_by_one_publisher_at_a_time(tmp_path):
    """Until another one has released the file, whose last line it may be writing or cutting off."""
    path = tmp_path / "events.jsonl"
    with path.open("w") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_SH)
        written = pool.submit(FilePublisher(path).publish, EVENT)
        with pytest.raises(NotDone):
            written.result(0.05)
        fcntl.flock(other, fcntl.LOCK_UN)
        written.result(10)
    assert json.loads(path.read_text()) == EVENT


def test_file_of_a_killed_process(tmp_path):
    """A part of a line, which a process left that was killed while it wrote, garbles no other event."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"id": "1"}\n{"id": "2", "da')
    for _ in range(2):
        FilePublisher(path).publish(EVENT)
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"id": "1"}', '{"id": "2", "da']
    assert [json.loads(line) for line in lines[2:]] == [EVENT, EVENT]


def test_file_cannot_be_opened(tmp_path):
    """A file that cannot be opened is Unavailable: nothing was written."""
    with pytest.raises(Unavailable, match="FileNotFoundError") as caught:
        FilePublisher(tmp_path / "missing" / "events.jsonl").publish(EVENT)
    assert (caught.value.service, caught.value.operation) == ("file", "open")


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_file_breaks_off(tmp_path, monkeypatch, call):
    """A write that failed, or whose way to the disk did, has an unknown end."""

    def fail(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UnknownEnd, match="No space left") as caught:
        FilePublisher(tmp_path / "events.jsonl").publish(EVENT)
    assert (caught.value.service, caught.value.operation) == ("file", "append")


def test_file_short_write(tmp_path, monkeypatch):
    """A line that was written in part has an unknown end, and leaves nothing that garbles the next."""
    publisher = FilePublisher(tmp_path / "events.jsonl")
    publisher.publish(EVENT)
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        with pytest.raises(UnknownEnd, match="part"):
            publisher.publish(EVENT)
    publisher.publish(EVENT)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [EVENT, EVENT]


def test_stdout(capsys):
    """Without a path an event is a line on the standard output."""
    FilePublisher().publish(EVENT)
    FilePublisher(None).publish({"id": "2"})
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [EVENT, {"id": "2"}]


def test_stdout_closed(monkeypatch, tmp_path):
    """A standard output that is gone leaves the end unknown."""
    with (tmp_path / "out").open("w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
    with pytest.raises(UnknownEnd) as caught:
        FilePublisher().publish(EVENT)
    assert (caught.value.service, caught.value.operation) == ("stdout", "write")


def test_an_event_is_on_standard_output_when_it_counts_as_published(monkeypatch):
    """What is still in a buffer is lost if the process is killed."""
    written = io.BytesIO()
    with io.TextIOWrapper(written) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        FilePublisher().publish(EVENT)
        assert json.loads(written.getvalue()) == EVENT


@pytest.mark.parametrize("package", ["hpoq.publishers", "hpoq.cloud"])
def test_packages_import_nothing_heavy(package):
    """Importing the publishers or the package of clients loads neither `requests` nor a client."""
    loaded = "[m for m in sys.modules if m in ('requests', 'urllib3') or m.startswith('hpoq.cloud.')]"
    code = f"import sys, {package}; print({loaded})"
    got = run_program([sys.executable, "-c", code], check=True)
    assert got.stdout.strip() == "[]"


def test_a_file_that_may_only_be_written_takes_events(tmp_path, monkeypatch):
    """Whether its last event was cut off is not known then."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    publisher = FilePublisher(tmp_path / "events")
    publisher.publish(EVENT)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        publisher.publish(EVENT)
    assert len((tmp_path / "events").read_text().splitlines()) == 2
