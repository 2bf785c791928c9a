"""The operations guide: its tables are measured in the local cloud, and its commands run there as written.

`python tests/contract/test_operations_guide.py` prints the tables.
"""

import base64
import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from deploymentfiles import FOLDER

import alilocal
from alilocal.tablestore.model import STRING
from alilocal.tablestore.plainbuffer import Cell
from hpoq.contract.identity import derive_key
from hpoq.function import EventFailed
from hpoq.processing.envelope import Envelope, seal
from hpoq.testing import FakeClock, smq_event, smq_stream_event
from hpoqctl.app import app
from support.deployment import (
    CONTEXT,
    DEAD_LETTER_QUEUE,
    QUEUE,
    create_resources,
    make_function,
    tablestore_url,
)
from support.request import REQUEST

ROOT = Path(__file__).parents[2]
GUIDE = (FOLDER / "OPERATIONS.md").read_text()
STORE = {"HPOQ_STORE": "tablestore://localhost/hpoq?instance=local&scheme=http"}
REQUEUE = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE}
OPERATIONS = [
    ("Tablestore", "GetRow"),
    ("Tablestore", "BatchGetRow"),
    ("Tablestore", "PutRow"),
    ("PAI AutoML", "CreateHpoExperiment"),
    ("PAI AutoML", "ListHpoExperiments"),
    ("PAI AutoML", "GetHpoExperiment"),
    ("PAI AutoML", "ListHpoTrials"),
    ("SMQ", "PublishMessage"),
    ("SMQ", "SendMessage"),
]
BATCH = 16
WATCH = "hpo-watch"


class Deployed:
    """The function as it is deployed, over a cloud whose calls are counted."""

    def __init__(self, cloud, clock):
        self.cloud, self.clock = cloud, clock
        create_resources(cloud)
        cloud.tables.create("hpoq", [("key", STRING)])
        self.function = make_function(cloud, clock=clock, **STORE, **REQUEUE)
        self.begin()

    def begin(self):
        """Count the calls from here on."""
        self._before = len(self.cloud.requests)

    @property
    def calls(self):
        return list(self.cloud.requests)[self._before :]

    def follow(self):
        """Let the function follow what it creates."""
        self.cloud.queues.create(WATCH)
        self.function = make_function(
            self.cloud, clock=self.clock, HPOQ_WATCH_QUEUE=WATCH, **STORE, **REQUEUE
        )

    def look(self):
        """Deliver the watch message that waits, once it is due."""
        queue = self.cloud.queues.get(WATCH)
        while not (received := queue.receive(1)):
            self.clock.advance(10)
        (message,) = received
        queue.delete(message.receipt_handle)
        self.function.handle(
            smq_event(message.message_id, base64.b64decode(message.body), queue=WATCH), CONTEXT
        )

    def deliver(self, *numbers):
        bodies = {f"M{number}": REQUEST for number in numbers}
        event = smq_event(*bodies.popitem()) if len(bodies) == 1 else smq_stream_event(bodies)
        return self.function.handle(event, CONTEXT)["summary"]

    def fault(self, kind="status", when="before", times=1, **options):
        given = {"status": 400, "code": "Throttling.User"} if kind == "status" else {}
        self.cloud.faults.add(
            kind,
            service="paiautoml",
            operation="CreateHpoExperiment",
            when=when,
            times=times,
            **given | options,
        )


def alone(deployed):
    """a message by itself"""
    deployed.deliver(1)
    return 1


def in_a_batch(deployed):
    """a message in a batch of 16"""
    deployed.deliver(*range(BATCH))
    return BATCH


def again(deployed):
    """the same message again"""
    deployed.deliver(1)
    deployed.begin()
    deployed.deliver(1)
    return 1


def rejected(deployed):
    """a rejected message"""
    deployed.function.handle(smq_event("M1", "[]"), CONTEXT)
    return 1


def sent_back(deployed):
    """each delivery of a throttled message"""
    deployed.fault(times=None)
    deployed.deliver(1)
    return 1


def lost_answer(deployed):
    """a message whose create gets no answer"""
    deployed.fault("reset", "after")
    deployed.deliver(1)
    return 1


def followed(deployed):
    """a message whose experiment is followed"""
    deployed.follow()
    deployed.deliver(1)
    return 1


def look(deployed):
    """each check of a followed experiment"""
    deployed.follow()
    deployed.deliver(1)
    deployed.cloud.experiments[-1].fail("RUNNING")
    deployed.begin()
    deployed.look()
    assert deployed.cloud.queues.get(WATCH).messages
    return 1


def end(deployed):
    """the check that finds its end"""
    deployed.follow()
    deployed.deliver(1)
    deployed.clock.advance(86_400)
    deployed.begin()
    deployed.look()
    assert not deployed.cloud.queues.get(WATCH).messages
    return 1


CASES = (alone, in_a_batch, again, rejected, sent_back, lost_answer, followed, look, end)


def measure(case):
    """The calls per message of a case, by service and operation."""
    names = {"tablestore": "Tablestore", "paiautoml": "PAI AutoML", "smq": "SMQ"}
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        deployed = Deployed(cloud, clock)
        messages = case(deployed)
        counts = Counter((names[one.service], one.operation) for one in deployed.calls)
        deployed.function.close()
    assert set(counts) <= set(OPERATIONS)
    return {operation: counts[operation] / messages for operation in OPERATIONS}


def cost_table():
    """The table of the guide."""
    measured = [measure(case) for case in CASES]
    heads = [f"{service} `{operation}`" for service, operation in OPERATIONS]
    lines = [f"| per message | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for case, counts in zip(CASES, measured, strict=True):
        cells = [f"{counts[operation]:.3g}" for operation in OPERATIONS]
        lines.append(f"| {case.__doc__} | {' | '.join(cells)} |")
    return "\n".join(lines)


SECONDS = (0.2, 1.0, 5.0)


def drain_rate(create_seconds):
    """The messages per second of one instance that is called with full batches, if a create takes so long."""
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        deployed = Deployed(cloud, clock)
        deployed.deliver(*range(BATCH))
        creates = sum(one.operation == "CreateHpoExperiment" for one in deployed.calls)
        deployed.function.close()
    # The messages of a batch are processed at the same time; every other call takes 10 ms, as in one region.
    others = sum(measure(in_a_batch).values()) - 1
    return creates / (create_seconds + others * 0.01)


def capacity_table():
    """The table of the guide."""
    lines = ["| a create takes | messages per second of an instance | of 10 instances |", "|---|---|---|"]
    for seconds in SECONDS:
        rate = drain_rate(seconds)
        lines.append(f"| {seconds:g} s | {rate:.0f} | {rate * 10:.0f} |")
    return "\n".join(lines)


def between(marker):
    found = re.search(rf"<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->", GUIDE, re.DOTALL)
    assert found, marker
    return found[1]


def test_the_cost_table_is_measured():
    """A reader multiplies these calls by prices, so they are those that the function makes."""
    assert between("cost") == cost_table()


def test_the_capacity_table_is_measured():
    """The rates follow from the calls that the function makes at the same time."""
    assert between("capacity") == capacity_table()


CHAPTERS = (
    "Cost",
    "Capacity",
    "Upgrade and downgrade",
    "Change settings",
    "Credentials",
    "Retention and personal data",
    "Backfill",
    "Loss of the table or the region",
    "Continuous deployment",
    "Network isolation",
)


def test_every_chapter_is_there_and_short():
    """Each chapter fits on a screen."""
    parts = re.split(r"(?m)^## ", GUIDE)[1:]
    chapters = {part.partition("\n")[0]: part for part in parts}
    assert tuple(chapters) == CHAPTERS
    for name, text in chapters.items():
        assert len(text.splitlines()) <= 40, name


def commands():
    """Each `hpoq` command of the guide, as words."""
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "hpoq":
                yield words[1:]


# The package is built from an index, the doctor asks a deployment's own services, and an event needs a function.
ELSEWHERE = {
    ("package",): "tests/e2e/test_package.py",
    ("doctor",): "tests/e2e/test_doctor.py",
    ("send", "--wait"): "tests/e2e/test_local.py",
}


def is_elsewhere(words):
    """Return whether a command of the guide runs in another test."""
    return any(tuple(words[: len(beginning)]) == beginning for beginning in ELSEWHERE)


@pytest.fixture
def server(tmp_path):
    """A running local cloud in which the function processed a message, and the files that the guide names.

    Each test has its own: the connections that a command leaves open end with the server.
    """
    folder = tmp_path
    (folder / "old-requests").mkdir()
    (folder / "old-requests/1.json").write_text(json.dumps(json.loads(REQUEST) | {"idempotencyKey": "old-1"}))
    (folder / "request.json").write_text(json.dumps(json.loads(REQUEST) | {"idempotencyKey": "new-1"}))
    with alilocal.serve() as running:
        create_resources(running.cloud)
        running.cloud.tables.create("hpoq", [("key", STRING)])
        function = make_function(running.cloud, HPOQ_STORE=tablestore_url(running))
        function.handle(smq_event("M1", REQUEST), CONTEXT)
        function.close()
        running.cloud.queues.get(DEAD_LETTER_QUEUE).send(smq_event("M2", REQUEST).decode())
        running.folder = folder
        yield running


@pytest.mark.parametrize("words", [words for words in commands() if not is_elsewhere(words)], ids=" ".join)
def test_commands_run_as_written(server, words, monkeypatch):
    """Each command does its work against the local cloud; only the endpoint is added."""
    monkeypatch.chdir(server.folder)
    endpoint = () if words[0] == "check" else ("--endpoint", server.url)
    key = derive_key("smq", "M2" if words[0] in ("dead", "redrive") else "M1")
    given = [key if word == "KEY" else word for word in words]
    done = CliRunner().invoke(app, [*given, *endpoint])
    # Exit code 1 says that the record which a command asks for does not exist here.
    assert done.exit_code in ((0, 1) if words[0] == "status" else (0,)), done.output


def test_a_record_survives_a_canary_of_another_version():
    """A later version's members of a record are kept by an earlier one, so that both can process one table."""
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        create_resources(cloud)
        cloud.tables.create("hpoq", [("key", STRING)])
        cloud.faults.add(
            "reset", service="paiautoml", operation="CreateHpoExperiment", when="after", times=None
        )
        cloud.faults.add(
            "status",
            status=500,
            service="paiautoml",
            operation="ListHpoExperiments",
            when="before",
            times=None,
        )
        earlier = make_function(cloud, clock=clock, **STORE)
        with pytest.raises(EventFailed):
            earlier.handle(smq_event("M1", REQUEST), CONTEXT)
        (key,) = cloud.tables.get("hpoq").rows
        later_version(cloud, key)
        cloud.faults.clear()
        clock.advance(600)
        assert earlier.handle(smq_event("M1", REQUEST), CONTEXT)["summary"]["created"] == 1
        body = json.loads(cloud.tables.get("hpoq").rows[key]["body"])
        assert (body["state"], body["addedLater"]) == ("COMPLETED", {"a": 1})
        assert len(cloud.experiments) == 1
        earlier.close()


def later_version(cloud, key):
    """Write the record as a later version would: with a member more."""
    table = cloud.tables.get("hpoq")
    row = dict(table.rows[key])
    row["body"] = json.dumps(json.loads(row["body"]) | {"addedLater": {"a": 1}})
    table.put(key, [Cell(name, value) for name, value in row.items()])


def test_credentials_can_be_rotated_without_a_gap():
    """Old and new keys work side by side; once the old one is gone, only it is refused."""
    with alilocal.LocalCloud(seed=1) as cloud:
        create_resources(cloud)
        cloud.tables.create("hpoq", [("key", STRING)])

        def outcome(number, key):
            names = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
            function = make_function(cloud, clock=FakeClock(cloud.clock.now()), **STORE, **names)
            try:
                return function.handle(smq_event(f"M{number}", REQUEST), CONTEXT)["summary"]["created"]
            except EventFailed:
                return 0
            finally:
                function.close()

        for key in ("LTAIold", "LTAInew"):
            cloud.credentials.register(key, "secret", user_id=cloud.account_id)
        assert [outcome(1, "LTAIold"), outcome(2, "LTAInew")] == [1, 1]
        cloud.credentials.forget("LTAIold")
        assert [outcome(3, "LTAIold"), outcome(3, "LTAInew")] == [0, 1]


def test_a_lost_table_shows_which_messages_have_an_experiment(monkeypatch):
    """The audit names the keys, and the listings of both queues show the messages that carry them."""
    monkeypatch.setattr("hpoqctl.audit._MARGIN_SECONDS", 0.0)
    keyed = json.dumps(json.loads(REQUEST) | {"idempotencyKey": "order-1"})
    with alilocal.serve() as server:
        cloud = server.cloud
        create_resources(cloud)
        cloud.tables.create("hpoq", [("key", STRING)])
        function = make_function(cloud, HPOQ_STORE=tablestore_url(server))
        function.handle(smq_event("M1", keyed), CONTEXT)
        function.close()
        cloud.queues.get(DEAD_LETTER_QUEUE).send(smq_event("M1", keyed).decode())
        envelope = seal(Envelope("smq", "M1", derive_key("smq", "M1"), keyed.encode(), sequence=1))
        cloud.queues.get(QUEUE).send(base64.b64encode(envelope).decode())
        cloud.queues.get(QUEUE).send(keyed)
        cloud.tables.delete("hpoq")
        cloud.tables.create("hpoq", [("key", STRING)])

        def run(*words):
            done = CliRunner().invoke(app, [*words, "--json", "--endpoint", server.url])
            return json.loads(done.stdout)

        (finding,) = run("audit", "--rate", "1000")["findings"]
        assert finding["finding"] == "no-record"
        for place in ((), ("--from", QUEUE)):
            rows = run("dead", "list", *place)["deadLetters"]
            assert {row["key"] for row in rows} == {finding["key"]}


if __name__ == "__main__":
    print(cost_table())  # noqa: T201
    print(capacity_table())  # noqa: T201
