"""`hpoq audit` compares experiments with records; `hpoq status` without a message shows the queues."""

import base64
import hashlib
import hmac
import json
import threading
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

import alilocal
from alilocal.tablestore.model import STRING
from alilocal.tablestore.plainbuffer import Cell
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import TAG_KEY, derive_key
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.processing.outcome import Outcome
from hpoq.testing import FakeClock, smq_event
from hpoqctl.app import app
from hpoqctl.audit import Auditor
from hpoqctl.logservice import sign
from hpoqctl.overview import format_duration
from support.deployment import (
    CONTEXT,
    DEAD_LETTER_QUEUE,
    QUEUE,
    WATCH_QUEUE,
    create_resources,
    make_function,
    tablestore_url,
)
from support.request import REQUEST, make_document, request

KEYS = {number: derive_key("smq", f"M{number}") for number in range(1, 9)}


class World:
    """A running local cloud in which the function processed M1 and M2."""

    def __init__(self, server):
        self.server, self.cloud = server, server.cloud
        create_resources(self.cloud)
        self.cloud.tables.create("hpoq", [("key", STRING)])
        self.credentials = Credentials(self.cloud.access_key_id, self.cloud.access_key_secret)
        self.session = new_session()
        transport = Transport(self.session, SystemClock())
        self.store = open_store(tablestore_url(server), transport, lambda: self.credentials)
        self.client = PaiAutoMl(transport, server.url, lambda: self.credentials)
        function = self.function()
        for number in (1, 2):
            function.handle(smq_event(f"M{number}", REQUEST), CONTEXT)

    def function(self, **settings):
        """Return an instance that creates experiments where the audit looks for them."""
        return make_function(self.cloud, self.store, HPOQ_PAIAUTOML_ENDPOINT=self.server.url, **settings)

    def create(self, key):
        """Make an experiment that carries `key`, past the function."""
        body = json.loads(REQUEST)["experiment"] | {"Tag": [{"Key": TAG_KEY, "Value": key}]}
        return self.client.create_hpo_experiment(body, nonce=uuid.uuid4().hex).experiment_id

    @property
    def keys(self):
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.cloud.access_key_secret,
        }

    def run(self, *words, **environ):
        return CliRunner().invoke(app, [*words, "--endpoint", self.server.url], env=environ)

    def audit(self, *words):
        done = self.run("audit", "--json", "--rate", "1000", *words)
        assert done.stdout, (done.output, done.exception)
        document = json.loads(done.stdout)
        assert done.exit_code == (1 if document["findings"] else 0)
        return document


@pytest.fixture
def world():
    with alilocal.serve() as server:
        made = World(server)
        yield made
        made.session.close()


def test_a_consistent_account_has_no_findings(world, monkeypatch):
    """Nothing is found if every key has one experiment and every experiment a record; others are only counted.

    All pages of the records are read.
    """
    monkeypatch.setattr("hpoqctl.services._ROWS", 1)
    body = json.loads(REQUEST)["experiment"]
    world.client.create_hpo_experiment(body, nonce=uuid.uuid4().hex)
    document = world.audit()
    assert document["findings"] == []
    counts = [document[name] for name in ("records", "experiments", "unmarkedExperiments")]
    assert counts == [2, 3, 1]
    assert "0 findings" in world.run("audit", "--rate", "1000").output


def test_a_key_with_two_experiments_is_found(world):
    """A second experiment of a key is the finding that comes first."""
    first = world.store.get(KEYS[1]).experiment_id
    second = world.create(KEYS[1])
    with world.cloud.changed:
        world.cloud.experiments[1].deleted = True
    finding, other = world.audit()["findings"]
    assert other["finding"] == "no-experiment"
    assert finding == {
        "finding": "second-experiment",
        "key": KEYS[1],
        "experimentIds": sorted([first, second]),
        "recordedExperimentId": first,
    }


def test_a_record_without_an_experiment_is_found(world):
    """An experiment that was deleted behind the record is a finding."""
    gone = world.store.get(KEYS[2]).experiment_id
    with world.cloud.changed:
        next(one for one in world.cloud.experiments if one.experiment_id == gone).deleted = True
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"], finding["recordedExperimentId"]) == (
        "no-experiment",
        KEYS[2],
        gone,
    )


def test_an_experiment_of_another_endpoint_is_not_missing(world):
    """After a change of region, records name experiments that only the earlier region knows."""
    record = world.store.get(KEYS[2])
    place = "https://paiautoml.cn-beijing.aliyuncs.com"
    assert world.store.replace(replace(record, experiment_id="exp-there", place=place), record.version)
    with world.cloud.changed:
        world.cloud.experiments[1].deleted = True
    document = world.audit()
    assert (document["findings"], document["experimentsElsewhere"]) == ([], 1)
    assert "1 experiment of another endpoint not compared" in world.run("audit", "--rate", "1000").output


def test_a_record_of_another_experiment_is_found(world):
    """The experiment that carries the key must be the recorded one."""
    record = world.store.get(KEYS[2])
    world.store.replace(replace(record, experiment_id=world.store.get(KEYS[1]).experiment_id), record.version)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"]) == ("other-experiment", KEYS[2])


def test_an_experiment_without_a_record_is_found_once_it_is_old_enough(world, monkeypatch):
    """A create in progress has no finished record yet, so a new experiment is not reported."""
    world.create(KEYS[3])
    assert world.audit()["findings"] == []
    monkeypatch.setattr("hpoqctl.audit._MARGIN_SECONDS", -5)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"]) == ("no-record", KEYS[3])


def test_a_damaged_record_is_found(world):
    """A record that cannot be read is reported instead of ending the audit."""
    table = world.cloud.tables.get("hpoq")
    row = table.rows[(KEYS[1],)]
    table.put((KEYS[1],), [Cell(name, "{" if name == "body" else value) for name, value in row.items()])
    document = world.run("audit", "--json", "--rate", "1000")
    assert document.exit_code == 1
    assert "unreadable-record" in document.output


@pytest.mark.parametrize("event", ["[1]", "5", "no JSON"])
def test_a_record_of_another_user_of_the_store_is_no_finding(world, event):
    """The layer for Powertools keeps the response of a function where hpoq keeps an event."""
    response = Record("orders#1", State.COMPLETED, "f", "o", 1.0, 2.0, 4e9, event=event, published_at=1.0)
    assert world.store.insert(response) is None
    assert world.audit()["findings"] == []


def test_since_excludes_older_experiments(world):
    """A number of days or a date bounds the audit; anything else is wrong usage."""
    world.create(KEYS[1])
    assert len(world.audit("--since", "2")["findings"]) == 1
    assert world.audit("--since", "2020-01-01")["since"] == 1577836800
    for long_ago in ("99999999", "0001-01-01"):
        assert world.audit("--since", long_ago)["since"] == 0
    done = world.run("audit", "--since", "2999-01-01")
    assert (done.exit_code, "2999-01-01T00:00:00+00:00 is in the future." in done.output) == (2, True)


@pytest.mark.parametrize("since", ["yesterday", "-1", "99999999999"])
def test_an_invalid_since_is_reported_first(hpoq, since):
    """An invalid --since is reported before a missing store or endpoint."""
    done = hpoq("audit", "--since", since)
    assert done.returncode == 2
    assert f"{since!r} is neither a number of days nor a date" in done.stderr.decode()


def test_an_audit_changes_nothing(world):
    """The audit makes no call that changes anything."""
    before = len(world.cloud.requests)
    world.audit()
    operations = {request.operation for request in list(world.cloud.requests)[before:]}
    assert operations <= {"ListHpoExperiments", "GetHpoExperiment", "GetRange", "BatchGetRow"}


def test_an_incomplete_listing_ends_the_audit(world):
    """A partial listing is not compared with the records; the message says what to do."""
    world.cloud.behaviour.listing_total_offset = 1
    done = world.run("audit", "--rate", "1000")
    assert done.exit_code == 1
    assert "Run the command again, with a higher --rate." in done.output


def test_an_answer_that_is_no_listing_does_not_get_that_advice(world):
    """Another program that answers with JSON is not a listing that changes."""
    world.cloud.faults.add("foreign", service="paiautoml", status=200, body="json", times=None)
    done = world.run("audit", "--rate", "1000")
    assert (done.exit_code, "unreadable answer" in done.output, "--rate" in done.output) == (1, True, False)


def test_the_rate_of_calls_is_limited():
    """Between two calls there is a pause."""
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        transport = Transport(cloud.session(), clock)
        cloud.tables.create("hpoq", [("key", STRING)])
        store = open_store(
            "tablestore://localhost/hpoq?instance=local&scheme=http", transport, lambda: credentials
        )
        client = PaiAutoMl(transport, cloud.endpoint, lambda: credentials)
        Auditor(store, client, clock, since=clock.now() - 86_400, until=clock.now(), pause=2.0).run()
        calls = [request.operation for request in cloud.requests]
    assert clock.slept == [2.0] * len(calls)
    assert {"GetRange", "ListHpoExperiments"} <= set(calls)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_records_of_every_store_are_read(store, tmp_path, request):
    """SQLite and Redis can list their records, so an audit covers them."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    if store == "redis":
        url = request.getfixturevalue("redis_server")
    opened = open_store(url)
    opened.insert(Record(KEYS[1], State.IN_PROGRESS, "f", "owner", 1.0, 2.0, 3.0))
    assert [key for key, _ in opened.scan()] == [KEYS[1]]
    opened.close()


def test_status_without_a_message_shows_the_queues(world):
    """The overview has each queue's messages, and how long the oldest has waited."""
    world.cloud.queues.get(QUEUE).send(REQUEST)
    world.cloud.queues.get(QUEUE).send(REQUEST)
    world.cloud.queues.get(DEAD_LETTER_QUEUE).send(REQUEST)
    queues = json.loads(world.run("status", "--json").stdout)["queues"]
    assert [(one["role"], one["name"], one["waiting"]) for one in queues] == [
        ("requests", QUEUE, 2),
        ("deadLetters", DEAD_LETTER_QUEUE, 1),
    ]
    assert all(one["oldestAt"] > 1_600_000_000 for one in queues)
    shown = world.run("status").output
    assert f"{QUEUE}: 2 waiting, 0 in flight, 0 delayed; the oldest has waited for" in shown
    assert "hpoq dead list" in shown


def test_the_overview_reports_a_missing_queue(world):
    """The other queues are shown, and the exit code is 1."""
    world.cloud.queues.delete(DEAD_LETTER_QUEUE)
    done = world.run("status", "--json")
    assert done.exit_code == 1
    errors = [one["error"] for one in json.loads(done.stdout)["queues"]]
    assert errors[0] is None
    assert "QueueNotExist" in errors[1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_durations_have_the_largest_unit_that_fits(seconds, text):
    """A duration is short and still exact enough."""
    assert format_duration(seconds) == text


def test_a_rejected_message_shows_what_the_producer_must_change(world):
    """Each violation is shown with its place, so that the operator can pass it on."""
    document = json.loads(REQUEST)
    del document["experiment"]["WorkspaceId"]
    document["experiment"]["Accessibility"] = "SECRET"
    world.function().handle(smq_event("M5", json.dumps(document)), CONTEXT)
    shown = world.run("status", "--message-id", "M5").output
    assert "The producer must change:" in shown
    assert "/experiment/Accessibility: " in shown


class Log:
    """Answers GetLogs as Simple Log Service does, and keeps what it was asked."""

    def __init__(self, status, body):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, dict(self.headers)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_the_overview_has_the_outcomes_of_the_last_hour(world):
    """The overview reads the outcomes from the function's log, with a signed query over one hour."""
    row = {"created": "12", "duplicate": "0", "rejected": "3", "retry": "null", "failed": "1"}
    with Log(200, json.dumps([row]).encode()) as log:
        done = world.run("status", "--json", "--log", log.url, **world.keys)
    outcomes = {one.value: 0 for one in Outcome} | {"created": 12, "rejected": 3, "failed": 1}
    assert json.loads(done.stdout)["lastHour"] == {"outcomes": outcomes, "error": None}
    ((path, headers),) = log.asked
    asked = dict(parse_qsl(urlsplit(path).query))
    assert urlsplit(path).path == "/logstores/hpoq"
    assert int(asked["to"]) - int(asked["from"]) == 3600
    assert "sum(" in asked["query"]
    assert headers["Authorization"].startswith(f"LOG {world.cloud.access_key_id}:")


def test_a_call_to_the_log_is_signed_as_the_vendors_sdk_signs_it():
    """The signature is over method, date, headers and the parameters as they were before encoding (v1)."""
    credentials = Credentials("ak", "sk", "token")
    headers = sign("/logstores/hpoq", {"to": "2", "from": "1", "query": "a b"}, credentials, 0.0)
    text = (
        "GET\n\n\nThu, 01 Jan 1970 00:00:00 GMT\nx-acs-security-token:token\nx-log-apiversion:0.6.0\n"
        "x-log-bodyrawsize:0\nx-log-signaturemethod:hmac-sha1\n/logstores/hpoq?from=1&query=a b&to=2"
    )
    signature = base64.b64encode(hmac.new(b"sk", text.encode(), hashlib.sha1).digest()).decode()
    assert headers["Authorization"] == f"LOG ak:{signature}"


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (403, b'{"errorCode": "Unauthorized", "errorMessage": "m"}', "Unauthorized"),
        (404, b'{"errorCode": "ProjectNotExist", "errorMessage": "m"}', "ProjectNotExist"),
        (200, b"<html>", "unreadable answer"),
    ],
)
def test_an_unreadable_log_does_not_hide_the_queues(world, status, body, shown):
    """Without the log the overview still shows every queue, and says why the log is missing."""
    with Log(status, body) as log:
        done = world.run("status", "--log", log.url, **world.keys)
    assert done.exit_code == 0
    assert f"{QUEUE}: 0 waiting" in done.output
    assert f"the log was not read (sls GetLogs: {shown}" in done.output.replace("UnknownEnd: ", "")


def test_an_audit_uses_the_clock_of_the_local_cloud(world):
    """An experiment without a record is a finding in a local cloud whose clock was advanced."""
    world.cloud.clock.advance(500_000)
    other = world.create(KEYS[5])
    assert world.audit()["findings"] == []  # it is brand new, so its record may be still to come
    world.cloud.clock.advance(1_000)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["experimentIds"]) == ("no-record", [other])
    assert finding["key"] == KEYS[5]


def follow_and_stop(world):
    """Create, stop and follow an experiment to its end."""
    function = world.function(HPOQ_WATCH_QUEUE=WATCH_QUEUE)
    function.handle(smq_event("M3", request("tune-1")), CONTEXT)
    function.handle(smq_event("M4", b'{"stop": {"idempotencyKey": "tune-1"}}'), CONTEXT)
    while (watch := world.cloud.queues[WATCH_QUEUE]).messages:
        world.cloud.clock.advance(3600)
        (message,) = watch.receive(count=1)
        function.handle(smq_event(message.message_id, message.body.encode()), CONTEXT)
        watch.delete(message.receipt_handle)


def test_records_of_watch_and_stop_messages_are_counted_separately(world):
    """The records that follow and stop an experiment do not look like those of requests without one."""
    follow_and_stop(world)
    document = world.audit()
    # M1 to M3; and the stop, its note, and the end of the experiment.
    assert (document["records"], document["otherRecords"], document["findings"]) == (6, 3, [])
    output = world.run("audit", "--rate", "1000").output
    assert (
        "3 experiments and 3 records of requests compared (besides 3 records to follow and stop them)"
        in output
    )


def test_a_deleted_experiment_is_one_finding(world):
    """The records that follow and stop an experiment are not findings of their own when it is deleted."""
    follow_and_stop(world)
    key = derive_key("producer", "tune-1")
    gone = world.store.get(key).experiment_id
    with world.cloud.changed:
        next(one for one in world.cloud.experiments if one.experiment_id == gone).deleted = True
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"]) == ("no-experiment", key)


def test_a_second_experiment_in_another_workspace_is_found(world):
    """The workspaces of recorded experiments are listed too: without one, a service may list only the default."""
    world.create(KEYS[1])

    def list_default_workspace(call):
        is_listing = call.header("x-acs-action") == "ListHpoExperiments"
        if is_listing and "WorkspaceId" not in dict(call.query_pairs(plus_is_space=False)):
            return handle(call)._replace(body=b'{"RequestId": "r", "TotalCount": 0, "Experiments": []}')
        return handle(call)

    handle, world.cloud.handle = world.cloud.handle, list_default_workspace
    document = world.audit()
    assert [(one["finding"], one["key"]) for one in document["findings"]] == [("second-experiment", KEYS[1])]
    assert document["experiments"] == 3


def test_a_workspace_is_listed_once_even_if_its_experiments_are_not_shown(world):
    """A service that lists no experiment of another principal is not asked again for each of them."""
    asked = []

    def list_nothing(call):
        if call.header("x-acs-action") != "ListHpoExperiments":
            return handle(call)
        asked.append("WorkspaceId" in dict(call.query_pairs(plus_is_space=False)))
        return handle(call)._replace(body=b'{"RequestId": "r", "TotalCount": 0, "Experiments": []}')

    handle, world.cloud.handle = world.cloud.handle, list_nothing
    assert world.audit()["findings"] == []
    assert asked == [False, False, True, True], "two passes over each listing"


def test_an_experiment_that_is_shown_as_deleted_is_missing(world, monkeypatch):
    """A service may still show what was deleted, in a listing and by its id."""
    gone = world.store.get(KEYS[2]).experiment_id
    page, found = PaiAutoMl.list_hpo_experiments, PaiAutoMl.get_hpo_experiment

    def mark(row):
        return replace(row, deleted=row.experiment_id == gone)

    def show_page(*arguments, **options):
        shown = page(*arguments, **options)
        return replace(shown, experiments=tuple(map(mark, shown.experiments)))

    monkeypatch.setattr(PaiAutoMl, "list_hpo_experiments", show_page)
    monkeypatch.setattr(PaiAutoMl, "get_hpo_experiment", lambda *arguments: mark(found(*arguments)))
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["recordedExperimentId"]) == ("no-experiment", gone)


def test_experiments_are_found_whichever_zone_their_times_are_of(world):
    """A service may read --since in another zone than it is meant, and then lists fewer experiments."""
    world.create(KEYS[1])
    now = world.cloud.clock.now()
    with world.cloud.changed:
        for experiment in world.cloud.experiments:
            experiment.gmt_create_time -= 12 * 3600
    since = datetime.fromtimestamp(now - 6 * 3600, timezone.utc).isoformat()
    (finding,) = world.audit("--since", since)["findings"]
    assert (finding["finding"], finding["key"]) == ("second-experiment", KEYS[1])


def test_a_message_that_is_processed_during_the_audit_is_no_finding(world):
    """Its record was not among those that were read, and a service may show times of its own zone."""

    def process_first(call):
        if call.header("x-acs-action") == "ListHpoExperiments":
            world.cloud.handle = handle
            with capture_logs():  # they would be part of the output
                world.function().handle(smq_event("M3", REQUEST), CONTEXT)
            with world.cloud.changed:
                world.cloud.experiments[-1].gmt_create_time -= 3600
        return handle(call)

    handle, world.cloud.handle = world.cloud.handle, process_first
    document = world.audit()
    assert (document["records"], document["experiments"], document["findings"]) == (2, 3, [])


def use_a_key_again(world, days):
    """Create an experiment for the same key twice, so many days apart; return both."""
    for message_id, name in (("M3", "first"), ("M4", "second")):
        function = world.function()
        function.handle(smq_event(message_id, request("tune-1", Name=name)), CONTEXT)
        world.cloud.clock.advance(days * 86_400)
    return world.cloud.experiments[-2:]


@pytest.mark.parametrize(("days", "zone_hours"), [(30.5, 0), (45, 0), (30.1, 8)])
def test_a_key_that_was_free_again_has_no_second_experiment(world, days, zone_hours):
    """After HPOQ_RETENTION_DAYS a key may be used for another request; a service may show times of its own zone."""
    first, _ = use_a_key_again(world, days)
    with world.cloud.changed:
        first.gmt_create_time += zone_hours * 3600
    assert world.audit("--since", "120")["findings"] == []


def test_an_earlier_experiment_of_a_key_is_not_taken_for_the_one_that_was_deleted(world):
    """If the experiment of the later use is gone, that is the only finding."""
    _, second = use_a_key_again(world, 45)
    with world.cloud.changed:
        second.deleted = True
    (finding,) = world.audit("--since", "120")["findings"]
    assert (finding["finding"], finding["recordedExperimentId"]) == ("no-experiment", second.experiment_id)


def test_a_second_experiment_within_the_retention_is_found_although_its_record_is_newer(world):
    """A record that was lost and made again does not hide the first experiment of its key."""
    world.cloud.clock.advance(20 * 86_400)
    second = world.create(KEYS[1])
    record = world.store.get(KEYS[1])
    again = replace(record, claimed_at=world.cloud.clock.now(), experiment_id=second)
    world.store.replace(again, record.version)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"]) == ("second-experiment", KEYS[1])


def test_an_experiment_of_a_rejected_request_is_found(world):
    """Its producer was told that there is none, but it runs."""
    invalid = json.dumps(make_document(Accessibility="SECRET"))
    world.function().handle(smq_event("M3", invalid), CONTEXT)
    experiment_id = world.create(KEYS[3])
    assert world.audit()["findings"] == []  # it is brand new, so its record may be about to change
    world.cloud.clock.advance(1000)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["key"]) == ("unannounced-experiment", KEYS[3])
    assert finding["experimentIds"] == [experiment_id]


def test_a_record_that_is_older_than_its_experiment_is_found(world):
    """A backup of the table knows of a throttled message only that nothing was sent for it."""
    delivery = Delivery(KEYS[3], "f", KEYS[3], "b", "M3")
    ledger = Ledger(world.store, SystemClock(), Terms(90, 10, 15, 1000, 3), lambda: 0.0)
    claim = ledger.open(delivery).record
    released = ledger.save(lifecycle.release(claim, None, claim.claimed_at, counts=False), claim.version)
    experiment_id = world.create(KEYS[3])
    assert world.audit()["findings"] == []
    world.cloud.clock.advance(1000)
    (finding,) = world.audit()["findings"]
    assert (finding["finding"], finding["experimentIds"]) == ("outdated-record", [experiment_id])
    doubted = ledger.save(replace(released, doubt_until=0.0), released.version)
    assert world.audit()["findings"] == []  # a key in doubt is searched for
    ledger.save(replace(released, experiment_id=experiment_id), doubted.version)
    assert world.audit()["findings"] == []  # its next delivery announces it


def test_an_experiment_that_a_redrive_announces_meanwhile_is_not_found(world, monkeypatch):
    """The record that was read first says that the message failed, and the present one has the experiment."""
    invalid = json.dumps(make_document(Accessibility="SECRET"))
    world.function().handle(smq_event("M3", invalid), CONTEXT)
    experiment_id = world.create(KEYS[3])
    world.cloud.clock.advance(1000)
    announced = replace(world.store.get(KEYS[3]), state=State.COMPLETED, experiment_id=experiment_id)
    monkeypatch.setattr(type(world.store), "get", lambda *_: announced)
    assert world.audit()["findings"] == []
