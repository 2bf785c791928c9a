import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import alilocal
import hpoq.handler
from fcruntime import Fc2Context, Fc3Context, invoke
from fcruntime.context import ContextCredentials, FunctionInfo
from hpoq.contract import rules
from hpoq.contract.keys import derive_key, event_id
from hpoq.errors import SettingsError
from hpoq.function import EventFailed, Function
from hpoq.observability import logs
from hpoq.testing import FakeClock, MemoryStore, smq_event, smq_stream_event
from hpoq.testing.events import encode_body

REQUEST = (Path(__file__).parents[2] / "events" / "requests" / "minimal.json").read_text()
CONTEXT = Fc3Context("r-1", FunctionInfo(timeout=300))


@pytest.fixture
def cloud():
    with alilocal.LocalCloud() as running:
        running.queues.create("hpo-requests")
        running.topics.create("hpo-results")
        yield running


def make(cloud, store=None, **settings):
    environ = {
        "HPOQ_REGION": cloud.region,
        "HPOQ_ACCOUNT_ID": cloud.account_id,
        "HPOQ_PAIAUTOML_ENDPOINT": cloud.endpoint,
        "HPOQ_SMQ_ENDPOINT": cloud.endpoint,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        **settings,
    }
    return Function(
        environ,
        session=cloud.session(),
        clock=FakeClock(cloud.clock.now()),
        store=store or MemoryStore(),
    )


def published(cloud):
    return [json.loads(message.body) for message in cloud.topics.get("hpo-results").published]


def with_key(key, **changes):
    return json.dumps({**json.loads(REQUEST), "idempotencyKey": key, **changes})


def test_a_message_becomes_an_experiment_and_an_event(cloud):
    """One message: one experiment that bears its key, one event, one row."""
    report = make(cloud).handle(smq_event("M1", encode_body(REQUEST)), CONTEXT)
    key = derive_key("smq", "M1")
    (experiment,) = cloud.experiments
    (event,) = published(cloud)
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
        "summary": {"created": 1, "duplicate": 0, "rejected": 0, "retry": 0, "failed": 0},
    }
    assert ("hpoq-key", key) in experiment.tags
    assert {name: event[name] for name in ("specversion", "type", "id", "source", "subject")} == {
        "specversion": "1.0",
        "type": "com.hpoq.experiment.created.v1",
        "id": event_id(key, "created"),
        "source": f"acs:fc:{cloud.region}:{cloud.account_id}:functions/hpoq",
        "subject": experiment.experiment_id,
    }
    data = event["data"]
    assert (data["idempotencyKey"], data["messageId"], data["requestId"]) == (key, "M1", "r-1")
    assert (data["experimentId"], data["attempts"]) == (experiment.experiment_id, 1)


def test_redelivery_creates_nothing_and_publishes_nothing(cloud):
    """The second delivery of a finished message is a duplicate, in whichever outer shape it comes."""
    function = make(cloud)
    function.handle(smq_event("M1", REQUEST), CONTEXT)
    report = function.handle(smq_stream_event({"M1": encode_body(REQUEST)}), CONTEXT)
    assert report["summary"]["duplicate"] == 1
    assert (len(cloud.experiments), len(published(cloud))) == (1, 1)


def test_a_producers_key_joins_two_messages(cloud):
    """A producer's repeated send has a new message id and the same key: one experiment."""
    report = make(cloud).handle(smq_stream_event({"M1": with_key("k"), "M2": with_key("k")}), CONTEXT)
    assert [row["outcome"] for row in report["messages"]] == ["created", "duplicate"]
    assert report["messages"][1]["key"] == derive_key("producer", "k")


def test_a_changed_request_under_a_used_key_is_a_conflict(cloud):
    """The same key with another request is rejected with an event of its own, and creates nothing."""
    other = json.loads(REQUEST)
    other["experiment"]["Name"] = "another"
    bodies = {"M1": with_key("k"), "M2": with_key("k", experiment=other["experiment"])}
    function = make(cloud)
    rows = function.handle(smq_stream_event(bodies), CONTEXT)["messages"]
    assert [row["outcome"] for row in rows] == ["created", "rejected"]
    assert rows[1]["error"]["code"] == "IdempotencyConflict"
    created, rejected = published(cloud)
    assert created["id"] != rejected["id"]
    assert rejected["data"]["idempotencyKey"] == created["data"]["idempotencyKey"] == rows[0]["key"]
    assert len(cloud.experiments) == 1
    again = function.handle(smq_stream_event(bodies), CONTEXT)
    assert again["summary"]["duplicate"] == 2
    assert len(published(cloud)) == 2


def test_a_rejected_request_tells_every_violation(cloud):
    """A request that breaks the contract ends in an event that lists each rule it broke, by pointer."""
    bad = json.loads(REQUEST)
    bad["experiment"]["HpoExperimentConfiguration"]["platform_config"].pop("cmd")
    bad["experiment"]["Nmae"] = "x"
    report = make(cloud).handle(smq_event("M1", json.dumps(bad)), CONTEXT)
    assert report["summary"]["rejected"] == 1
    (event,) = published(cloud)
    assert event["type"] == "com.hpoq.experiment.rejected.v1"
    pointers = {violation["pointer"] for violation in event["data"]["error"]["violations"]}
    assert {"/experiment/Nmae", "/experiment/HpoExperimentConfiguration/platform_config/cmd"} <= pointers


def test_a_rejected_producers_key_stays_free(cloud):
    """After a rejection the mended request may use the same idempotencyKey."""
    function = make(cloud)
    function.handle(smq_event("M1", with_key("k", experiment={"Nmae": 1})), CONTEXT)
    report = function.handle(smq_event("M2", with_key("k")), CONTEXT)
    assert report["summary"]["created"] == 1


def test_neighbours_of_an_undecodable_item(cloud):
    """An undecodable item ends in a rejection by digest; its neighbours are processed."""
    good = smq_event("M1", REQUEST)
    report = make(cloud).handle(b"[17," + good + b"]", CONTEXT)
    assert [row["outcome"] for row in report["messages"]] == ["rejected", "created"]
    event = next(event for event in published(cloud) if "rejected" in event["type"])
    digest = "4523540f1504cd17100c4835e85b7eefd49911580f8efff0599a8f283be6b9e3"
    assert digest in event["data"]["error"]["message"]


def test_empty_batch_is_success(cloud):
    """An event without messages is success."""
    assert make(cloud).handle(b"[]", CONTEXT)["messages"] == []


def test_raise_policy_fails_the_whole_event(cloud):
    """Under raise, one message to retry fails the event; the others are finished and stay so."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    function = make(cloud, HPOQ_CONCURRENCY="1")
    event = smq_stream_event({"M1": with_key("a"), "M2": with_key("b")})
    with pytest.raises(EventFailed, match="1 of 2 messages") as caught:
        function.handle(event, CONTEXT)
    assert caught.value.report.as_json()["summary"]["retry"] == 1
    assert function.handle(event, CONTEXT)["summary"] == {
        "created": 1,
        "duplicate": 1,
        "rejected": 0,
        "retry": 0,
        "failed": 0,
    }


def test_requeue_policy_sends_back_with_key_and_id(cloud):
    """Under requeue the event succeeds, and the message comes back as the same message."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    function = make(cloud, HPOQ_BATCH_POLICY="requeue", HPOQ_REQUEUE_DELAY_SECONDS="0")
    report = function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["retry"] == 1
    (waiting,) = cloud.queues.get("hpo-requests").messages
    rows = function.handle(smq_event(waiting.message_id, waiting.body), CONTEXT)["messages"]
    assert [(row["outcome"], row["messageId"], row["key"]) for row in rows] == [
        ("created", "M1", derive_key("smq", "M1"))
    ]


def test_requeue_that_fails_raises(cloud):
    """A message that cannot be sent back fails the event: it is not lost."""
    for service, operation in [("paiautoml", "CreateHpoExperiment"), ("smq", "SendMessage")]:
        cloud.faults.add(service=service, operation=operation, kind="refuse", when="before", times=9)
    with pytest.raises(EventFailed):
        make(cloud, HPOQ_BATCH_POLICY="requeue").handle(smq_event("M1", REQUEST), CONTEXT)


def test_an_operators_fault_never_uses_a_message_up(cloud):
    """Denied creates are retried for ever, whatever the attempts allow, and logged as errors."""
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
    function = make(cloud, HPOQ_MAX_ATTEMPTS="2")
    for _ in range(5):
        with pytest.raises(EventFailed):
            function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert {json.loads(line)["code"] for line in lines.getvalue().splitlines()} == {"Forbidden.RAM"}
    cloud.faults.clear()
    assert function.handle(smq_event("M1", REQUEST), CONTEXT)["summary"]["created"] == 1


def test_attempts_run_out(cloud):
    """After its attempts a message ends as failed, with an event; a redelivery tries once more."""
    cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        status=400,
        code="Throttling.User",
        when="before",
        times=9,
    )
    function = make(cloud, HPOQ_MAX_ATTEMPTS="2", HPOQ_CALL_ATTEMPTS="1")
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", REQUEST), CONTEXT)
    report = function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["messages"][0]["outcome"] == "failed"
    (event,) = published(cloud)
    assert (event["type"], event["data"]["error"]["code"], event["data"]["attempts"]) == (
        "com.hpoq.experiment.failed.v1",
        "Throttling.User",
        2,
    )
    cloud.faults.clear()
    assert function.handle(smq_event("M1", REQUEST), CONTEXT)["summary"]["created"] == 1


def test_a_topic_that_is_away_leaves_the_event_in_the_record(cloud):
    """An event that could not be published goes out with the next delivery, under the same id."""
    cloud.faults.add(service="smq", operation="PublishMessage", kind="refuse", when="before", times=3)
    function = make(cloud)
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert (len(cloud.experiments), published(cloud)) == (1, [])
    report = function.handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1
    assert [event["id"] for event in published(cloud)] == [event_id(derive_key("smq", "M1"), "created")]


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
    )
    (row,) = make(cloud).handle(smq_event("M1", REQUEST), CONTEXT)["messages"]
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "INVALID_INPUT_PARAMS")


def test_credentials_of_the_context_come_first(cloud):
    """Up to 3.10 the context's credentials sign, security token and all."""
    cloud.credentials.register("STS.id", "sts-secret", user_id="2", security_token="sts-token")
    context = Fc2Context(
        "r", FunctionInfo(timeout=300), ContextCredentials("STS.id", "sts-secret", "sts-token")
    )
    function = make(cloud, ALIBABA_CLOUD_ACCESS_KEY_ID="wrong", ALIBABA_CLOUD_ACCESS_KEY_SECRET="wrong")
    assert function.handle(smq_event("M1", REQUEST), context)["summary"]["created"] == 1


def test_output_to_a_file(cloud, tmp_path):
    """Events can go to a file, one a line."""
    target = tmp_path / "events.jsonl"
    make(cloud, HPOQ_OUTPUT=f"file://{target}").handle(smq_event("M1", REQUEST), CONTEXT)
    (line,) = target.read_text().splitlines()
    assert json.loads(line)["type"] == "com.hpoq.experiment.created.v1"


@pytest.mark.parametrize("output", ["smq://", "file://relative", "ftp://x", "topic"])
def test_unknown_outputs_are_settings_errors(cloud, output):
    """An output that names nothing fails the event by name of the setting."""
    with pytest.raises(SettingsError, match="HPOQ_OUTPUT"):
        make(cloud, HPOQ_OUTPUT=output).handle(smq_event("M1", REQUEST), CONTEXT)


def test_the_store_must_be_chosen_on_fc():
    """On Function Compute no store is guessed: an instance's own disk forgets."""
    with pytest.raises(SettingsError, match="HPOQ_STORE must be set"):
        Function({"FC_INSTANCE_ID": "c-1"})


def test_entry_points(cloud, tmp_path, monkeypatch):
    """initialize, handler and pre_stop work by their handler strings, from the environment alone."""
    with alilocal.serve(cloud=cloud) as server:
        for name, value in {
            "HPOQ_STORE": f"sqlite:///{tmp_path / 'records.sqlite3'}",
            "HPOQ_PAIAUTOML_ENDPOINT": server.url,
            "HPOQ_SMQ_ENDPOINT": server.url,
            "HPOQ_LOG_LEVEL": "ERROR",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        }.items():
            monkeypatch.setenv(name, value)
        hpoq.handler.initialize(CONTEXT)
        result = invoke("hpoq.handler.handler", smq_event("M1", REQUEST), CONTEXT)
        hpoq.handler.pre_stop(CONTEXT)
    assert json.loads(result.body)["summary"]["created"] == 1


@pytest.mark.parametrize("level", ["debug", "VERBOSE", "WARN"])
def test_a_log_level_that_is_none_is_told(monkeypatch, level):
    """Like any other setting that is wrong, and not as whatever Python's logging makes of the word."""
    monkeypatch.setenv("HPOQ_LOG_LEVEL", level)
    with pytest.raises(SettingsError, match="HPOQ_LOG_LEVEL: Input should be"):
        hpoq.handler.initialize(CONTEXT)


def test_the_first_message_makes_models_by_an_import_alone():
    """Which other threads wait for, as they do not for pydantic when it makes a model with its first use."""
    code = """
import hpoq.handler, sys
assert "hpoq.contract.request" not in sys.modules
from hpoq.contract.request import ExperimentRequest
print(ExperimentRequest.__pydantic_complete__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("collects", [True, False])
def test_a_cold_start_is_made_to_last(collects):
    """The collector passes over what a cold start makes, and is as it was afterwards."""
    code = f"""
import gc, sys
{"" if collects else "gc.disable()"}
gc.callbacks.append(lambda phase, told: print("collected") if "fcruntime" in sys.modules else None)
import hpoq.handler
imported = gc.get_freeze_count()
assert imported > 10_000, imported
hpoq.handler.initialize(None)
assert gc.get_freeze_count() > imported
print(gc.isenabled())
"""
    environ = {
        "HPOQ_STORE": "tablestore://i.cn-hangzhou.ots.aliyuncs.com/hpoq",
        "HPOQ_REGION": "cn-hangzhou",
        "HPOQ_ACCOUNT_ID": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(collects)]


def test_an_instance_lets_its_events_end_before_it_goes(cloud):
    begun, may_go_on, closed = threading.Event(), threading.Event(), []

    class Slow(MemoryStore):
        def insert(self, record):
            begun.set()
            assert may_go_on.wait(30)
            return super().insert(record)

        def close(self):
            closed.append("store")

    function = make(cloud, store=Slow())
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


def test_the_initializer_finds_what_the_context_does_not_tell(cloud):
    """An instance that could not process anything is not begun."""
    with pytest.raises(SettingsError, match="HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT"):
        make(cloud, HPOQ_REGION="", HPOQ_PAIAUTOML_ENDPOINT="").prepare(None)
    make(cloud).prepare(None)
    assert list(cloud.requests) == []


def test_a_conflict_does_not_bury_an_event(cloud):
    """A conflict that meets an event still to be published gets that one out first, each under its own id."""
    cloud.faults.add(service="smq", operation="PublishMessage", kind="refuse", when="before", times=3)
    function = make(cloud)
    with pytest.raises(EventFailed):
        function.handle(smq_event("M1", with_key("k")), CONTEXT)
    other = json.loads(REQUEST)["experiment"] | {"Name": "another"}
    report = function.handle(smq_event("M2", with_key("k", experiment=other)), CONTEXT)
    assert report["summary"]["rejected"] == 1
    types = [event["type"].split(".")[-2] for event in published(cloud)]
    assert types == ["created", "rejected"]
    assert function.handle(smq_event("M1", with_key("k")), CONTEXT)["summary"]["duplicate"] == 1


def test_an_undecodable_item_is_the_same_in_every_delivery(cloud):
    """Its CloudEvent's id changes from delivery to delivery; the message does not."""
    function = make(cloud)
    for delivery, outcome in ((1, "rejected"), (2, "duplicate")):
        event = smq_stream_event({"M1": "x"}, delivery=delivery).replace(
            b'"messageBody":"x"', b'"messageBody":7'
        )
        (row,) = function.handle(event, CONTEXT)["messages"]
        assert row["outcome"] == outcome
    assert len(published(cloud)) == 1


def test_a_service_that_refuses_our_tag(cloud):
    """A request is not rejected for hpoq's own tag: it is sent once more with the marker in the description."""
    cloud.behaviour.create_tags = "refused"
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    report = make(cloud).handle(smq_event("M1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1
    (experiment,) = cloud.experiments
    assert experiment.description.endswith(f"[hpoq-key: {derive_key('smq', 'M1')}]")
    assert "HPOQ_MARKER=description" in lines.getvalue()


def test_requeue_sends_all_or_none(cloud):
    """Where one message cannot be sent back the event comes again whole, so none is multiplied."""
    cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=20
    )
    large = json.loads(REQUEST)
    large["experiment"]["Description"] = '"' * 30_000
    function = make(cloud, HPOQ_BATCH_POLICY="requeue")
    with pytest.raises(EventFailed):
        function.handle(smq_stream_event({"M1": REQUEST, "M2": json.dumps(large)}), CONTEXT)
    assert cloud.queues.get("hpo-requests").messages == []


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
    secret = json.loads(REQUEST)
    secret["experiment"]["HpoExperimentConfiguration"]["oss_config"] = {"accessKeySecret": "secret-canary"}
    function = make(cloud)
    function._store = Defective(derive_key("smq", "M1"))
    with pytest.raises(EventFailed) as caught:
        function.handle(smq_stream_event({"M1": json.dumps(secret), "M2": REQUEST}), CONTEXT)
    rows = caught.value.report.as_json()["messages"]
    assert [row["outcome"] for row in rows] == ["retry", "created"]
    assert "ZeroDivisionError" in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_a_defect_in_reading_costs_only_its_own_message(cloud, monkeypatch):
    """Nor does its text reach the log: it may quote what nobody has found to be a secret yet."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    bad = json.loads(REQUEST)
    bad["experiment"]["Name"] = "bad"
    judge = rules.judge_experiment

    def defective(experiment):
        if experiment["Name"] == "bad":
            raise ZeroDivisionError("canary")
        return judge(experiment)

    monkeypatch.setattr(rules, "judge_experiment", defective)
    with pytest.raises(EventFailed) as caught:
        make(cloud).handle(smq_stream_event({"M1": REQUEST, "M2": json.dumps(bad), "M3": REQUEST}), CONTEXT)
    rows = caught.value.report.as_json()["messages"]
    assert [row["outcome"] for row in rows] == ["created", "retry", "created"]
    assert "ZeroDivisionError in defective (test_handler.py" in lines.getvalue()
    assert "canary" not in lines.getvalue()


@pytest.mark.parametrize("event", [REQUEST, encode_body(REQUEST), json.dumps({"body": REQUEST, "attrs": {}})])
def test_a_call_without_an_id_has_the_invocations(cloud, event):
    """FC repeats an asynchronous call under its request id, so a direct call is one message by it."""
    function = make(cloud)
    rows = [
        function.handle(event.encode(), Fc3Context(call))["messages"][0] for call in ("r-1", "r-1", "r-2")
    ]
    assert [row["outcome"] for row in rows] == ["created", "duplicate", "created"]
    assert rows[0]["messageId"] == "r-1"
    assert len(cloud.experiments) == 2


def test_a_pinned_trigger(cloud):
    """HPOQ_TRIGGER lets no other source through: what is not its own is rejected, and told."""
    function = make(cloud, HPOQ_TRIGGER="kafka")
    (row,) = function.handle(smq_event("M1", REQUEST), CONTEXT)["messages"]
    assert (row["outcome"], row["error"]["violations"][0]["rule"]) == ("rejected", "trigger.unknown-source")


def test_one_message_in_two_shapes_is_one_experiment(cloud):
    """A topic's message that comes by its trigger and by a queue is one message."""
    topic = {"TopicName": "t", "MessageId": "T1", "Message": REQUEST}
    function = make(cloud)
    report = function.handle(json.dumps(topic).encode(), CONTEXT)
    assert report["summary"]["created"] == 1
    report = function.handle(smq_event("M9", json.dumps(topic)), CONTEXT)
    assert report["summary"]["duplicate"] == 1
