import io
import json
import random
import string
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import alilocal
import hpoq.handler
from fcruntime import Fc2Context, Fc3Context, invoke
from fcruntime.context import ContextCredentials, FunctionInfo
from fcruntime.triggers import EventUnreadable
from hpoq.contract import rules
from hpoq.contract.identity import WATCH, derive_event_id, derive_key
from hpoq.errors import SettingsError
from hpoq.function import EventFailed, Function
from hpoq.observability import logs
from hpoq.processing.envelope import Envelope, seal
from hpoq.processing.lifecycle import Terms
from hpoq.processing.outcome import Outcome
from hpoq.processing.watchorder import WatchOrder, encode_order
from hpoq.testing import FakeClock, MemoryStore, smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from support.budget import CI_BUDGET
from support.deployment import (
    CONTEXT,
    QUEUE,
    create_resources,
    function_environment,
    make_function,
    published_events,
)
from support.processes import run_program
from support.request import REQUEST, make_document, request
from support.sending import intercept


@pytest.fixture
def cloud():
    with alilocal.LocalCloud() as running:
        create_resources(running)
        yield running


def test_a_message_becomes_an_experiment_and_an_event(cloud):
    """One message leads to one experiment that carries its key, one event and one row."""
    report = make_function(cloud).handle(smq_event("M1", encode_body(REQUEST)), CONTEXT)
    key = derive_key("smq", "M1")
    (experiment,) = cloud.experiments
    (event,) = published_events(cloud)
    assert report == {
        "requestId": "r-1",
        "messages": [
            {
                "messageId": "M1",
                "key": key,
                "outcome": "created",
                "experimentId": experiment.experiment_id,
                "error": None,
            }
        ],
        "summary": {**{outcome.value: 0 for outcome in Outcome}, "created": 1},
    }
    assert ("hpoq-key", key) in experiment.tags
    assert {name: event[name] for name in ("specversion", "type", "id", "source", "subject")} == {
        "specversion": "1.0",
        "type": "com.hpoq.experiment.created.v1",
        "id": derive_event_id(key, "created"),
        "source": f"acs:fc:{cloud.region}:{cloud.account_id}:functions/hpoq",
        "subject": experiment.experiment_id,
    }
    data = event["data"]
    assert (data["idempotencyKey"], data["messageId"], data["requestId"]) == (key, "M1", "r-1")
    assert (data["experimentId"], data["attempts"]) == (experiment.experiment_id, 1)


def test_redelivery_creates_nothing_and_publishes_nothing(cloud):
    """The second delivery of a finished message is a duplicate, in whichever outer shape it comes."""
    function = make_function(cloud)
    function.handle(smq_event("M1", REQUEST), CONTEXT)
    report = function.handle(smq_stream_event({"M1": encode_body(REQUEST)}), CONTEXT)
    assert report["summary"]["duplicate"] == 1
    assert (len(cloud.experiments), len(published_events(cloud))) == (1, 1)


def test_a_producers_key_joins_two_messages(cloud):
    """A producer's repeated send has a new message id and the same key: one experiment."""
    report = make_function(cloud).handle(smq_stream_event({"M1": request("k"), "M2": request("k")}), CONTEXT)
    assert [row["outcome"] for row in report["messages"]] == ["created", "duplicate"]
    assert report["messages"][1]["key"] == derive_key("producer", "k")


def test_rotated_credentials_are_the_same_request(cloud):
    """A request that is sent again with other credentials is a duplicate, not a conflict."""
    function = make_function(cloud)
    outcomes = []
    for number in range(2):
        document = make_document("k")
        document["experiment"]["HpoExperimentConfiguration"]["dlc_config"] = {
            "access_id": f"id-{number}",
            "access_key": f"key-{number}",
        }
        report = function.handle(smq_event(f"M{number}", json.dumps(document)), CONTEXT)
        outcomes += [row["outcome"] for row in report["messages"]]
    assert outcomes == ["created", "duplicate"]


PRODUCED = {"specversion": "1.0", "type": "t", "source": "/team/a", "id": "7", "data": make_document()}
STRUCTURED = {
    "rawPath": "/",
    "headers": {},
    "body": json.dumps(PRODUCED),
    "requestContext": {"requestId": "R"},
}
BINARY = {
    **STRUCTURED,
    "headers": {"ce-specversion": "1.0", "ce-source": "/team/a", "ce-id": "7", "ce-type": "t"},
    "body": REQUEST,
}


def test_a_cloudevent_sent_twice_is_one_experiment(cloud):
    """A CloudEvent that carries the request identifies it, whatever brings it: bus, queue, HTTP, direct call."""
    events = [
        smq_event("M1", json.dumps(PRODUCED)),
        smq_event("M2", encode_body(json.dumps(PRODUCED).encode())),
        json.dumps(PRODUCED).encode(),
        json.dumps([PRODUCED]).encode(),
        json.dumps(STRUCTURED).encode(),
        json.dumps(BINARY).encode(),
    ]
    function = make_function(cloud)
    keys = {row["key"] for event in events for row in function.handle(event, CONTEXT)["messages"]}
    assert keys == {derive_key("cloudevent", '{"id":"7","source":"/team/a"}')}
    assert len(cloud.experiments) == 1


def test_headers_that_do_not_identify_a_request_are_a_warning(cloud):
    """The events say so, as they do of a structured CloudEvent; attributes of other sources are not headers."""
    function = make_function(cloud)
    headers = {name: value for name, value in BINARY["headers"].items() if name != "ce-id"}
    function.handle(json.dumps({**BINARY, "headers": {**headers, "ce-dryrun": "true"}}).encode(), CONTEXT)
    topic = {"TopicName": "t", "MessageId": "M", "Message": REQUEST, "source": "s", "dryrun": "true"}
    function.handle(json.dumps(topic).encode(), CONTEXT)
    by_headers, by_topic = published_events(cloud)
    rules = [one["rule"] for one in by_headers["data"]["warnings"]]
    assert rules == ["cloudevent.identity", "cloudevent.member"]
    assert "warnings" not in by_topic["data"]


@pytest.mark.parametrize("length", [1, 500, -1])
def test_a_cut_off_event_fails(cloud, length):
    """What cannot be read as a whole is delivered again: nothing of it is acknowledged, and no event says so."""
    batch = smq_stream_event({"M1": REQUEST, "M2": REQUEST})
    with pytest.raises(EventUnreadable):
        make_function(cloud).handle(batch[:length], CONTEXT)
    assert (len(cloud.experiments), published_events(cloud)) == (0, [])


def test_a_changed_request_under_a_used_key_is_a_conflict(cloud):
    """Another request under a used key is rejected with an event of its own, and creates nothing."""
    bodies = {"M1": request("k"), "M2": request("k", Name="another")}
    function = make_function(cloud)
    rows = function.handle(smq_stream_event(bodies), CONTEXT)["messages"]
    assert [row["outcome"] for row in rows] == ["created", "rejected"]
    assert rows[1]["error"]["code"] == "IdempotencyConflict"
    created, rejected = published_events(cloud)
    assert created["id"] != rejected["id"]
    assert rejected["data"]["idempotencyKey"] == created["data"]["idempotencyKey"] == rows[0]["key"]
    assert len(cloud.experiments) == 1
    again = function.handle(smq_stream_event(bodies), CONTEXT)
    assert again["summary"]["duplicate"] == 2
    assert len(published_events(cloud)) == 2


def test_a_rejected_request_lists_every_violation(cloud):
    """A request that breaks the contract ends in an event with each broken rule and its pointer."""
    bad = make_document()
    bad["experiment"]["HpoExperimentConfiguration"]["platform_config"].pop("cmd")
    bad["experiment"]["Nmae"] = "x"
    report = make_function(cloud).handle(smq_event("M1", json.dumps(bad)), CONTEXT)
    assert report["summary"]["rejected"] == 1
    (event,) = published_events(cloud)
    assert event["type"] == "com.hpoq.experiment.rejected.v1"
    pointers = {violation["pointer"] for violation in event["data"]["error"]["violations"]}
    assert {"/experiment/Nmae", "/experiment/HpoExperimentConfiguration/platform_config/cmd"} <= pointers


def test_a_rejected_producers_key_stays_free(cloud):
    """After a rejection the corrected request may use the same idempotencyKey."""
    function = make_function(cloud)
    function.handle(smq_event("M1", json.dumps({"idempotencyKey": "k", "experiment": {"Nmae": 1}})), CONTEXT)
    report = function.handle(smq_event("M2", request("k")), CONTEXT)
    assert report["summary"]["created"] == 1


def test_an_undecodable_item_costs_its_neighbours_nothing(cloud):
    """An undecodable item ends in a rejection by digest; its neighbours are processed."""
    good = smq_event("M1", REQUEST)
    report = make_function(cloud).handle(b"[17," + good + b"]", CONTEXT)
    assert [row["outcome"] for row in report["messages"]] == ["rejected", "created"]
    event = next(event for event in published_events(cloud) if "rejected" in event["type"])
    digest = "4523540f1504cd17100c4835e85b7eefd49911580f8efff0599a8f283be6b9e3"
    assert digest in event["data"]["error"]["message"]


def test_empty_batch_is_success(cloud):
    """An event without messages is success."""
    assert make_function(cloud).handle(b"[]", CONTEXT)["messages"] == []


def test_raise_policy_fails_the_whole_event(cloud):
    """Under raise, one message to retry fails the event; the others are finished and stay so."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    function = make_function(cloud, HPOQ_CONCURRENCY="1")
    event = smq_stream_event({"M1": request("a"), "M2": request("b")})
    with pytest.raises(EventFailed, match="1 of 2 messages") as caught:
        function.handle(event, CONTEXT)
    assert caught.value.report.as_json()["summary"]["retry"] == 1
    summary = function.handle(event, CONTEXT)["summary"]
    assert {outcome: count for outcome, count in summary.items() if count} == {"created": 1, "duplicate": 1}


def test_requeue_policy_sends_back_with_key_and_id(cloud):
    """Under requeue the event succeeds, and the message comes back as the same message."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    clock = FakeClock(cloud.clock.now())
    function = make_function(cloud, clock=clock, HPOQ_BATCH_POLICY="requeue", HPOQ_REQUEUE_DELAY_SECONDS="1")
    report = function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["retry"] == 1
    (waiting,) = cloud.queues.get(QUEUE).messages
    clock.advance(60)
    rows = function.handle(smq_event(waiting.message_id, waiting.body), CONTEXT)["messages"]
    assert [(row["outcome"], row["messageId"], row["key"]) for row in rows] == [
        ("created", "M1", derive_key("smq", "M1"))
    ]


def test_a_message_is_sent_back_while_its_invocation_lasts(cloud):
    """FC ends the function when its time is over, so no send may wait longer for its answer."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    session, timeouts = cloud.session(), []

    def note_timeouts(send, prepared, **options):
        if f"/queues/{QUEUE}/" in prepared.url:
            timeouts.append(options["timeout"])
        return send(prepared, **options)

    intercept(session, note_timeouts)
    function = make_function(cloud, session=session, HPOQ_BATCH_POLICY="requeue")
    context = Fc3Context("r-1", FunctionInfo(timeout=3))
    assert function.handle(smq_event("M1", REQUEST), context)["summary"]["retry"] == 1
    ((connect_timeout, read_timeout),) = timeouts
    assert max(connect_timeout, read_timeout) <= 3


def test_requeue_that_fails_raises(cloud):
    """A message that cannot be sent back fails the event: it is not lost."""
    for service, operation in [("paiautoml", "CreateHpoExperiment"), ("smq", "SendMessage")]:
        cloud.faults.add(service=service, operation=operation, kind="refuse", when="before", times=9)
    with pytest.raises(EventFailed):
        make_function(cloud, HPOQ_BATCH_POLICY="requeue").handle(smq_event("M1", REQUEST), CONTEXT)


def test_an_operators_fault_uses_up_no_attempt(cloud):
    """A denied create is retried, whatever the attempts allow, and logged as an error."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        status=403,
        code="Forbidden.RAM",
        when="before",
        times=20,
    )
    function = make_function(cloud, HPOQ_MAX_ATTEMPTS="2")
    for _ in range(5):
        with pytest.raises(EventFailed):
            function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert {json.loads(line)["code"] for line in lines.getvalue().splitlines()} == {"Forbidden.RAM"}
    cloud.faults.clear()
    assert function.handle(smq_event("M1", REQUEST), CONTEXT)["summary"]["created"] == 1


def test_an_unavailable_topic_leaves_the_event_in_the_record(cloud):
    """An event that could not be published goes out with the next delivery, under the same id."""
    cloud.faults.add(service="smq", operation="PublishMessage", kind="refuse", when="before", times=3)
    function = make_function(cloud)
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert (len(cloud.experiments), published_events(cloud)) == (1, [])
    report = function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1
    assert [event["id"] for event in published_events(cloud)] == [
        derive_event_id(derive_key("smq", "M1"), "created")
    ]


def test_a_service_refusal_rejects(cloud):
    """What the service itself calls invalid is rejected with the service's code."""
    cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        status=200,
        code="INVALID_INPUT_PARAMS",
        message="no such workspace",
        when="before",
        times=None,
    )
    (row,) = make_function(cloud).handle(smq_event("M1", REQUEST), CONTEXT)["messages"]
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "INVALID_INPUT_PARAMS")


def test_credentials_of_the_context_come_first(cloud):
    """Up to Python 3.10 the credentials of the context sign, with their security token."""
    cloud.credentials.register("STS.id", "sts-secret", user_id="2", security_token="sts-token")
    context = Fc2Context(
        "r", FunctionInfo(timeout=300), ContextCredentials("STS.id", "sts-secret", "sts-token")
    )
    function = make_function(
        cloud, ALIBABA_CLOUD_ACCESS_KEY_ID="wrong", ALIBABA_CLOUD_ACCESS_KEY_SECRET="wrong"
    )
    assert function.handle(smq_event("M1", REQUEST), context)["summary"]["created"] == 1


def test_events_can_go_to_a_file(cloud, tmp_path):
    """With file:// each event is one line of the file."""
    target = tmp_path / "events.jsonl"
    make_function(cloud, HPOQ_OUTPUT=f"file://{target}").handle(smq_event("M1", REQUEST), CONTEXT)
    (line,) = target.read_text().splitlines()
    assert json.loads(line)["type"] == "com.hpoq.experiment.created.v1"


def test_the_store_must_be_chosen_on_fc():
    """On Function Compute there is no default store, since the disk of an instance does not last."""
    with pytest.raises(SettingsError, match="HPOQ_STORE is not set"):
        Function({"FC_INSTANCE_ID": "c-1"})


def test_the_entry_points_work(cloud, tmp_path, monkeypatch):
    """initialize, handler and pre_stop work by their handler strings, from the environment alone."""
    with alilocal.serve(cloud=cloud) as server:
        store = f"sqlite:///{tmp_path / 'records.sqlite3'}"
        environ = function_environment(server, HPOQ_STORE=store, HPOQ_LOG_LEVEL="ERROR")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        hpoq.handler.initialize(CONTEXT)
        result = invoke("hpoq.handler.handler", smq_event("M1", REQUEST), CONTEXT)
        hpoq.handler.pre_stop(CONTEXT)
    assert json.loads(result.body)["summary"]["created"] == 1
    monkeypatch.setenv("HPOQ_LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError):  # no instance is left
        hpoq.handler.initialize(CONTEXT)


def test_one_instance_handles_all_events_until_it_is_stopped(monkeypatch):
    """The entry points build it once, with its log level, and close it; there may be none to stop."""
    made, levels = [], []

    class Instance:
        settings = SimpleNamespace(log_level="ERROR")

        def __init__(self, _environ):
            self.calls = []
            made.append(self)

        def prepare(self, context):
            self.calls.append(("prepare", context))

        def handle(self, event, context):
            self.calls.append((event, context))
            return {"event": event}

        def close(self):
            self.calls.append(("close", None))

    monkeypatch.setattr(hpoq.handler, "Function", Instance)
    monkeypatch.setattr(logs, "configure", levels.append)
    hpoq.handler.pre_stop("c0")
    for _ in range(2):
        hpoq.handler.initialize("c1")
        assert [hpoq.handler.handler(event, "c2") for event in ("e1", "e2")] == [
            {"event": "e1"},
            {"event": "e2"},
        ]
        hpoq.handler.pre_stop("c3")
    assert [one.calls for one in made] == [
        [("prepare", "c1"), ("e1", "c2"), ("e2", "c2"), ("close", None)]
    ] * 2
    assert levels == ["ERROR"] * 2


def test_only_requests_load_pydantic():
    """A cold start and a watch message do without pydantic, which is slow to load."""
    key = derive_key("smq", "M0")
    order = WatchOrder(key, "s-1", created_at=1.0)
    text = encode_order(order)
    watch = seal(Envelope(WATCH, order.identity, derive_key(WATCH, order.identity), text.encode()))
    code = f"""
import sys
import hpoq.handler
from alilocal import LocalCloud
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.deployment import CONTEXT, create_resources, make_function
from hpoq.idempotency.record import Record, State
with LocalCloud() as cloud:
    create_resources(cloud)
    function = make_function(cloud, HPOQ_WATCH_QUEUE="hpo-watch")
    function.prepare(CONTEXT)
    function._store.insert(Record({key!r}, State.COMPLETED, "f", "o", 1.0, 1.0, 9e9, watch_order={text!r}))
    for event in ({smq_event("W1", watch)!r}, {smq_event("M1", REQUEST)!r}):
        (row,) = function.handle(event, CONTEXT)["messages"]
        print(">", row["outcome"], "pydantic" in sys.modules)
"""
    done = run_program([sys.executable, "-c", code], check=True)
    assert [line for line in done.stdout.splitlines() if line[0] == ">"] == [
        "> finished False",
        "> created True",
    ]


def test_the_first_message_builds_its_models_by_an_import_and_loads_nothing_rare():
    """Other threads wait for an import, but not for pydantic while it builds a model at its first use.

    A cold start and the first request load nothing that only searches, stops and watch messages need.
    """
    code = f"""
import sys
import hpoq.handler
assert "hpoq.contract.model" not in sys.modules
from hpoq.contract.model import ExperimentRequest
print(ExperimentRequest.__pydantic_complete__)
from hpoq.contract.request import parse_request
parse_request({REQUEST.encode()!r})
rare = ("contract.stop", "cloud.trials", "processing.reconcile", "processing.watch", "processing.stop")
print([name for name in rare if f"hpoq.{{name}}" in sys.modules])
"""
    done = run_program([sys.executable, "-c", code])
    assert (done.stdout, done.stderr) == ("True\n[]\n", "")


@pytest.mark.one_of("collects", budget=CI_BUDGET)
@pytest.mark.parametrize("collects", [True, False])
def test_what_a_cold_start_builds_is_frozen(collects):
    """The garbage collector ignores what a cold start builds and what the first request loads.

    It is on or off afterwards as before.
    """
    code = f"""
import gc, sys
{"" if collects else "gc.disable()"}
gc.callbacks.append(lambda phase, told: print("collected") if "fcruntime" in sys.modules else None)
import hpoq.handler
from fcruntime.triggers import Message
from hpoq.processing.intake import Reader
imported = gc.get_freeze_count()
assert imported > 10_000, imported
hpoq.handler.initialize(None)
built = gc.get_freeze_count()
assert built > imported
Reader().read(Message(kind="smq", id="1", body=b"{{}}"))
assert gc.get_freeze_count() > built + 10_000
print(gc.isenabled())
"""
    environ = {
        "HPOQ_STORE": "tablestore://i.cn-hangzhou.ots.aliyuncs.com/hpoq",
        "HPOQ_REGION": "cn-hangzhou",
        "HPOQ_ACCOUNT_ID": "1",
    }
    done = run_program([sys.executable, "-c", code], env=environ, check=True)
    assert done.stdout.splitlines() == [str(collects)]


def test_an_instance_waits_for_its_events_before_it_closes(cloud):
    """Nothing is closed under an event that is still being processed."""
    begun, may_go_on, closed = threading.Event(), threading.Event(), []

    class Slow(MemoryStore):
        def insert(self, record):
            begun.set()
            assert may_go_on.wait(30)
            return super().insert(record)

        def close(self):
            closed.append("store")

    function = make_function(cloud, store=Slow())
    reports = []
    event = threading.Thread(
        target=lambda: reports.append(function.handle(smq_event("M1", REQUEST), CONTEXT))
    )
    event.start()
    assert begun.wait(30)
    stop = threading.Thread(target=function.close)
    stop.start()
    stop.join(0.05)
    assert stop.is_alive()
    assert closed == []
    may_go_on.set()
    for thread in (event, stop):
        thread.join(30)
    assert closed == ["store"]
    assert reports[0]["summary"]["created"] == 1


def test_the_initializer_reports_missing_settings(cloud):
    """An instance that could not process any event fails at its start, without a call."""
    with pytest.raises(SettingsError, match="HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT"):
        make_function(cloud, HPOQ_REGION="", HPOQ_PAIAUTOML_ENDPOINT="").prepare(None)
    make_function(cloud).prepare(None)
    assert list(cloud.requests) == []


def test_a_conflict_first_publishes_the_stored_event(cloud):
    """A conflict that finds an event still unpublished publishes it first; each has its own id."""
    cloud.faults.add(service="smq", operation="PublishMessage", kind="refuse", when="before", times=3)
    function = make_function(cloud)
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", request("k")), CONTEXT)
    report = function.handle(smq_event("M2", request("k", Name="another")), CONTEXT)
    assert report["summary"]["rejected"] == 1
    types = [event["type"].split(".")[-2] for event in published_events(cloud)]
    assert types == ["created", "rejected"]
    assert function.handle(smq_event("M1", request("k")), CONTEXT)["summary"]["duplicate"] == 1


def test_an_undecodable_item_is_the_same_in_every_delivery(cloud):
    """An undecodable item is one message, though the id of its CloudEvent changes with each delivery."""
    function = make_function(cloud)
    for delivery, outcome in ((1, "rejected"), (2, "duplicate")):
        event = smq_stream_event({"M1": "x"}, delivery=delivery).replace(
            b'"messageBody":"x"', b'"messageBody":7'
        )
        (row,) = function.handle(event, CONTEXT)["messages"]
        assert row["outcome"] == outcome
    assert len(published_events(cloud)) == 1


def test_a_request_is_not_rejected_for_our_tag(cloud):
    """If the service refuses tags, the create is sent again with the marker in the description alone."""
    cloud.behaviour.create_tags = "refused"
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    report = make_function(cloud).handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1
    (experiment,) = cloud.experiments
    assert experiment.description.endswith(f"[hpoq-key: {derive_key('smq', 'M1')}]")
    assert "HPOQ_MARKER=description" in lines.getvalue()


def test_requeue_sends_all_or_none(cloud):
    """If one message cannot be sent back the event comes again whole, so that no message is multiplied."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=20
    )
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=55_000))
    large = request(Name="large", Description=noise)
    function = make_function(cloud, HPOQ_BATCH_POLICY="requeue")
    with pytest.raises(EventFailed):
        function.handle(smq_stream_event({"M1": REQUEST, "M2": large}), CONTEXT)
    assert cloud.queues.get(QUEUE).messages == []


def test_the_durations_of_the_life_cycle_are_those_of_the_settings(cloud):
    """Each has its setting, in the unit of its name."""
    settings = {
        "LEASE_SECONDS": "91",
        "CLOCK_SKEW_SECONDS": "11",
        "CONSISTENCY_SECONDS": "16",
        "RETENTION_DAYS": "8",
        "MAX_ATTEMPTS": "5",
        "READ_TIMEOUT_SECONDS": "21",
        "MAX_AGE_HOURS": "2",
        "REQUEUE_DELAY_SECONDS": "31",
        "DATE_WINDOW_SECONDS": "800",
    }
    function = make_function(cloud, **{f"HPOQ_{name}": text for name, text in settings.items()})
    assert function._terms == Terms(91, 11, 16, 8 * 86_400, 5, 21, 2 * 3600, 31, 800)


def test_calls_have_the_time_outs_of_the_settings(cloud):
    """Each service is called with them, unless less time is left."""
    function = make_function(cloud, HPOQ_CONNECT_TIMEOUT_SECONDS="4", HPOQ_READ_TIMEOUT_SECONDS="20")
    seen = set()

    def note(send, request, **options):
        seen.add(options["timeout"])
        return send(request, **options)

    intercept(function._session, note)
    function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert seen == {(4.0, 20.0)}


def test_an_exporter_has_the_name_of_the_function(cloud, monkeypatch):
    """Elsewhere than on FC, where the function has no name, it has that of the product."""
    names = []
    monkeypatch.setattr("hpoq.function.open_exporter", names.append)
    for environ in ({"FC_FUNCTION_NAME": "tuning"}, {}):
        make_function(cloud, HPOQ_OPENTELEMETRY="true", **environ)
    assert names == ["tuning", "hpoq"]


def test_an_instance_closes_its_exporter_last(cloud):
    """A collector that does not answer may use up the time that PreStop has, so what others share is closed first."""
    function, closed = make_function(cloud), []
    for name in ("store", "session", "telemetry"):
        setattr(function, f"_{name}", SimpleNamespace(close=partial(closed.append, name)))
    function.close()
    assert closed == ["store", "session", "telemetry"]


def test_an_event_slows_down_those_that_follow_on_its_instance(cloud):
    """The pace outlives an event: what one learned about the quota holds for the next one."""
    throttled = {"kind": "status", "status": 429, "code": "Throttling.User", "when": "before"}
    cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", times=9, **throttled)
    function = make_function(cloud)

    def code_of(message_id, context):
        with pytest.raises(EventFailed) as failed:
            function.handle(smq_event(message_id, REQUEST), context)
        (row,) = failed.value.report.as_json()["messages"]
        return row["error"]["code"]

    assert code_of("M1", CONTEXT) == "Throttling.User"
    cloud.faults.clear()
    assert code_of("M2", Fc3Context("r-2", FunctionInfo(timeout=3))) == "HeldBack"
    assert list(cloud.experiments) == []


class Defective(MemoryStore):
    def __init__(self, key):
        super().__init__()
        self.key = key

    def insert(self, record):
        if record.key == self.key:
            raise ZeroDivisionError("secret-canary")
        return super().insert(record)


def test_a_defect_costs_only_its_own_message(cloud):
    """An unexpected exception leaves its message to a retry and the neighbours alone; its text is cleared of
    the message's secrets."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    secret = make_document()
    secret["experiment"]["HpoExperimentConfiguration"]["oss_config"] = {"accessKeySecret": "secret-canary"}
    function = make_function(cloud)
    function._store = Defective(derive_key("smq", "M1"))
    with pytest.raises(EventFailed) as caught:
        function.handle(smq_stream_event({"M1": json.dumps(secret), "M2": REQUEST}), CONTEXT)
    rows = caught.value.report.as_json()["messages"]
    assert [row["outcome"] for row in rows] == ["retry", "created"]
    assert "ZeroDivisionError" in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_no_log_line_shows_the_credentials_of_the_invocation(cloud):
    """What an unexpected exception quotes of them is cleared like the secrets of a message."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    function = make_function(cloud)
    function._store = Defective(derive_key("smq", "M1"))
    context = Fc2Context("r", FunctionInfo(timeout=300), ContextCredentials("id", "secret-canary", "token"))
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", REQUEST), context)
    assert "ZeroDivisionError" in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_a_defect_in_reading_costs_only_its_own_message(cloud, monkeypatch):
    """The log does not quote the text of a defect in reading, which may hold a secret of the request."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    judge = rules.check_experiment

    def defective(experiment):
        if experiment["Name"] == "bad":
            raise ZeroDivisionError("canary")
        return judge(experiment)

    monkeypatch.setattr(rules, "check_experiment", defective)
    with pytest.raises(EventFailed) as caught:
        make_function(cloud).handle(
            smq_stream_event({"M1": REQUEST, "M2": request(Name="bad"), "M3": REQUEST}), CONTEXT
        )
    rows = caught.value.report.as_json()["messages"]
    assert [row["outcome"] for row in rows] == ["created", "retry", "created"]
    assert "ZeroDivisionError in defective (test_handler.py" in lines.getvalue()
    assert "canary" not in lines.getvalue()


@pytest.mark.parametrize("event", [REQUEST, encode_body(REQUEST), json.dumps({"body": REQUEST, "attrs": {}})])
def test_a_direct_call_is_identified_by_its_request_id(cloud, event):
    """FC repeats an asynchronous call under its request id, so a direct call is one message by it."""
    function = make_function(cloud)
    rows = [
        function.handle(event.encode(), Fc3Context(call))["messages"][0] for call in ("r-1", "r-1", "r-2")
    ]
    assert [row["outcome"] for row in rows] == ["created", "duplicate", "created"]
    assert rows[0]["messageId"] == "r-1"
    assert len(cloud.experiments) == 2


def test_a_pinned_trigger_keeps_what_other_sources_send(cloud):
    """With HPOQ_TRIGGER set wrongly no message is lost: its source keeps it until an operator corrects that."""
    with pytest.raises(EventFailed) as failed:
        make_function(cloud, HPOQ_TRIGGER="kafka").handle(smq_event("M1", REQUEST), CONTEXT)
    (row,) = failed.value.report.as_json()["messages"]
    assert (row["outcome"], row["error"]["code"]) == ("retry", "UnknownSource")
    assert row["error"]["retryable"]
    (row,) = make_function(cloud).handle(smq_event("M1", REQUEST), CONTEXT)["messages"]
    assert row["outcome"] == "created"


def test_one_message_in_two_shapes_is_one_experiment(cloud):
    """A topic's message that comes by its trigger and by a queue is one message."""
    topic = {"TopicName": "t", "MessageId": "T1", "Message": REQUEST}
    function = make_function(cloud)
    report = function.handle(json.dumps(topic).encode(), CONTEXT)
    assert report["summary"]["created"] == 1
    report = function.handle(smq_event("M9", json.dumps(topic)), CONTEXT)
    assert report["summary"]["duplicate"] == 1
