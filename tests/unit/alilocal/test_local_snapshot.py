"""Snapshots: all state is restored from JSON text, and an invalid document changes nothing."""

import json
import stat
import subprocess
import sys

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from localwire import CONFIGURATION, StandingTime, Wire

import alilocal
from alilocal.control.history import Histories
from alilocal.core.requestlog import LoggedRequest
from alilocal.core.snapshot import BadSnapshot
from alilocal.eventstream import EventStream
from alilocal.smq.message import Outgoing
from alilocal.smq.topic import SubscriptionAttributes
from alilocal.statedir import FILE, StateDir, StateInUse
from alilocal.tablestore.model import BINARY, INTEGER, STRING, Options
from alilocal.tablestore.plainbuffer import Cell
from support.budget import examples


def through_text(document):
    return json.loads(json.dumps(document, allow_nan=False))


def without_time(document):
    return {name: value for name, value in document.items() if name != "time"}


def create(cloud, name):
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        made = wire.create(
            Name=name, Tag=[{"Key": "k", "Value": "v"}], HpoExperimentConfiguration=CONFIGURATION
        )
        return made.json()["ExperimentId"]


def busy(cloud):
    """Return a cloud with some of every kind of state."""
    queue = cloud.queues.create("orders", visibility_timeout=60)
    cloud.queues.create("dead")
    queue.dead_letter("dead", 2)
    for body in ("one", "zwei <&\r\n", "\U0001f600"):
        queue.send(body)
    queue.send("later", delay_seconds=90, priority=1)
    [message] = queue.receive(1)
    topic = cloud.topics.create("results")
    endpoint = f"acs:mns:{cloud.region}:{cloud.account_id}:queues/dead"
    cloud.topics.subscribe("results", "copy", SubscriptionAttributes(endpoint, "tag"))
    cloud.topics.publish("results", Outgoing("said"), "tag")
    table = cloud.tables.create(
        "rows", [("a", STRING), ("b", BINARY), ("c", INTEGER)], Options(max_versions=2)
    )
    table.put(("x", b"\x00\xff", -5), [Cell("bytes", b"\xfe"), Cell("flag", True), Cell("half", 0.5)])
    table.update(("x", b"\x00\xff", -5), [Cell("half", 1.0)])
    cloud.credentials.register("id", "secret", user_id="7", security_token="token", expires_at=9e9)
    cloud.faults.add("status", operation="SendMessage", status=500, headers={"a": "b"}, nth=2)
    cloud.behaviour.tag_filter = "ignored"
    cloud.clock.advance(17)
    create(cloud, "first")
    return message, topic


def test_everything_comes_back():
    """A loaded cloud has all state of the snapshot, and no fault or limit of its own."""
    with (
        alilocal.LocalCloud(seed=1, clock=StandingTime()) as cloud,
        alilocal.LocalCloud(seed=1, clock=StandingTime()) as other,
    ):
        message, _ = busy(cloud)
        document = through_text(cloud.snapshot())
        other.faults.add("reset", operation="PutRow")
        other.limits.add(1, operation="PutRow")
        other.load(document)
        assert through_text(other.snapshot()) == document
        other.queues["orders"].delete(message.receipt_handle)
        assert [one.body for one in other.queues["orders"].messages] == ["zwei <&\r\n", "\U0001f600", "later"]
        assert other.queues["orders"].dead_letter_policy.max_receive_count == 2
        assert [one.state for one in other.queues["orders"].messages] == ["active", "active", "delayed"]
        assert other.topics["results"].published[0].body == "said"
        assert other.tables.get("rows").rows == cloud.tables.get("rows").rows
        assert other.faults.all() == cloud.faults.all()
        assert other.limits.list() == cloud.limits.list()
        assert other.credentials.get("id") == cloud.credentials.get("id")
        assert other.behaviour == cloud.behaviour
        assert [one.status for one in other.experiments] == [one.status for one in cloud.experiments]
        assert create(other, "second") != other.experiments[0].experiment_id


def test_a_seeded_sequence_goes_on():
    """Loading a snapshot continues the sequence of ids, so that none repeats."""
    document, seen = None, set()
    for _ in range(3):
        with alilocal.LocalCloud(seed=3) as cloud:
            if document is not None:
                cloud.load(document)
            queue = cloud.queues.create("orders")
            fresh = {queue.send("body") for _ in range(3)}
            assert not fresh & seen
            seen |= fresh
            document = through_text(cloud.snapshot())
    with alilocal.LocalCloud() as unseeded:
        assert unseeded.snapshot()["ids"] == {}


def test_messages_that_came_back_can_be_followed():
    """Loaded messages are listed and can be delivered again."""
    with (
        alilocal.LocalCloud(clock=StandingTime()) as cloud,
        alilocal.LocalCloud(clock=StandingTime()) as other,
    ):
        busy(cloud)
        other.load(through_text(cloud.snapshot()))
        there = {message_id for queue in other.queues for message_id in queue.states()}
        assert {sent.message_id for sent in other.journal} == there
        with other.session() as session:
            for one in there:
                answer = session.post(f"{other.endpoint}/_alilocal/messages/{one}/redeliver", json={})
                assert answer.json() == {"messageId": one}


def test_the_clock_goes_on_from_the_snapshot():
    with alilocal.LocalCloud(clock=StandingTime(1000.0)) as cloud:
        cloud.clock.advance(50)
        document = cloud.snapshot()
    with (
        alilocal.LocalCloud(clock=StandingTime(5.0)) as earlier,
        alilocal.LocalCloud(clock=StandingTime(2000.0)) as later,
    ):
        earlier.load(document)
        later.load(document)
        assert earlier.clock.now() == 1050.0
        assert later.clock.now() == 2050.0


def test_no_secret_of_a_configuration_is_in_a_snapshot():
    with alilocal.LocalCloud() as cloud:
        create(cloud, "first")
        assert cloud.experiments[0].configuration["dlc_config"]["access_key"] == "a-secret"
        assert "a-secret" not in json.dumps(cloud.snapshot())


LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def places(document, path=()):
    yield path
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for name, value in items:
        yield from places(value, (*path, name))


with alilocal.LocalCloud(seed=1, clock=StandingTime()) as _cloud:
    busy(_cloud)
    GOOD = through_text(_cloud.snapshot())
    GOOD["ids"] = {}
    PLACES = [path for path in places(GOOD) if path]


@settings(max_examples=examples(70))
@given(st.sampled_from(PLACES), DOCUMENTS)
def test_a_bad_document_changes_nothing(path, value):
    """An invalid value anywhere in a document is refused with its place, and nothing changes."""
    document = through_text(GOOD)
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    with alilocal.LocalCloud(clock=StandingTime()) as cloud:
        cloud.queues.create("kept").send("body")
        before = through_text(cloud.snapshot())
        try:
            cloud.load(document)
        except BadSnapshot as exc:
            assert exc.place
            assert through_text(cloud.snapshot()) == before
        else:
            assert "kept" not in cloud.queues
            through_text(cloud.snapshot())


@pytest.mark.parametrize("member", ["time", "advanced"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -1.0])
def test_a_time_that_no_clock_shows_is_refused(member, value):
    with alilocal.LocalCloud() as cloud:
        with pytest.raises(BadSnapshot, match="time"):
            cloud.load({**cloud.snapshot(), member: value})
        cloud.clock.advance(1)
        assert cloud.clock.advanced == 1


@pytest.mark.parametrize("document", [{}, {"alilocal": 2}, {"alilocal": 1}, [], None])
def test_an_invalid_snapshot_is_refused(document):
    """A document of another form is refused."""
    with alilocal.LocalCloud() as cloud, pytest.raises(BadSnapshot):
        cloud.load(document)


def test_a_state_folder_outlives_its_cloud(tmp_path):
    path = tmp_path / "new" / "state"
    with alilocal.LocalCloud() as cloud, StateDir(cloud, path):
        busy(cloud)
        left = without_time(through_text(cloud.snapshot()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "state.json").stat().st_mode) == 0o600
    with alilocal.LocalCloud() as cloud, StateDir(cloud, path):
        assert without_time(through_text(cloud.snapshot())) == left
    assert sorted(file.name for file in path.iterdir()) == ["lock", "state.json"]


def test_what_python_created_is_kept_without_any_call(tmp_path):
    """No request notes the change that `queues.create` and `--init` make."""
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        cloud.queues.create("orders")
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        assert "orders" in cloud.queues


@pytest.mark.parametrize(
    ("method", "path", "body", "member"),
    [
        ("POST", "faults", {"kind": "reset"}, "faults"),
        ("PATCH", "behaviour", {"tag_filter": "ignored"}, "behaviour"),
    ],
)
def test_faults_and_switches_are_kept_in_a_state_folder(tmp_path, method, path, body, member):
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path) as kept, cloud.session() as session:
        session.request(method, f"{cloud.endpoint}/_alilocal/{path}", json=body)
        kept.save()
        assert json.loads((tmp_path / FILE).read_text())[member] == cloud.snapshot()[member]


def test_a_state_folder_serves_one_cloud(tmp_path):
    refused = pytest.raises(StateInUse, match="another local cloud")
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path), refused:
        StateDir(alilocal.LocalCloud(), tmp_path)
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{", '{"alilocal": 1}'])
def test_a_file_that_is_not_a_state_is_left_alone(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with alilocal.LocalCloud() as cloud, pytest.raises(BadSnapshot):
        StateDir(cloud, tmp_path)
    assert (tmp_path / "state.json").read_text() == text


def test_a_killed_server_keeps_what_was_saved(tmp_path):
    """After SIGKILL the next server has the state that was written to the disk."""
    program = [sys.executable, "-m", "alilocal", "--port", "0", "--state", str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        reported = json.loads(process.stdout.readline())
        try:
            with alilocal.LocalCloud() as cloud, requests.Session() as session:
                wire = Wire(cloud, session, reported["smq"])
                assert wire.smq("PUT", "/queues/orders").status_code == 201
                while (
                    not (tmp_path / "state.json").exists()
                    or "orders" not in (tmp_path / "state.json").read_text()
                ):
                    assert process.poll() is None
        finally:
            process.kill()
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        assert "orders" in cloud.queues


def test_a_folder_keeps_what_the_console_shows(tmp_path):
    """After a restart a message that is done has its history: deliveries, calls, and when it was sent."""

    def start(cloud):
        if "q" not in cloud.queues:
            cloud.queues.create("q")
        stream = EventStream(cloud, queue="q", invoke=lambda event: None)
        stream.start()
        return stream

    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        stream = start(cloud)
        sent = cloud.queues.get("q").send("body")
        assert stream.wait_idle(60)
        cloud.requests.add(LoggedRequest("smq", "SendMessage", 201, None, "r", 1.0, keys=frozenset({"q"})))
        before = Histories(cloud).find(sent)
        calls = list(cloud.requests)
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path):
        start(cloud)
        assert Histories(cloud).find(sent) == before
        assert list(cloud.requests) == calls
