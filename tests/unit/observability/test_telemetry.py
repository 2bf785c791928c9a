"""What an invocation reports: one log line, OpenTelemetry if it is configured, and one trace throughout."""

import contextlib
import errno
import io
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import opentelemetry.semconv
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import alilocal
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.errors import SettingsError
from hpoq.function import EventFailed
from hpoq.observability import logs, telemetry
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, STEPS, trace_message, traceparent
from hpoq.observability.otel import OpenTelemetry
from hpoq.observability.telemetry import open_exporter
from hpoq.processing.outcome import Outcome
from hpoq.settings import Settings
from hpoq.testing import FakeClock, MemoryStore, smq_event, smq_stream_event
from support.deployment import CONTEXT, TOPIC, WATCH_QUEUE, create_resources, make_function, published_events
from support.processes import run_program
from support.request import REQUEST, make_document, request
from support.sending import intercept

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
TRACED = json.dumps({**json.loads(REQUEST), "traceparent": PARENT})


class Deployed:
    """The function over a cloud whose clock is the test's; its log is kept, and the headers that it sent."""

    def __init__(self, cloud):
        self.cloud, self.clock, self.store = cloud, FakeClock(cloud.clock.now()), MemoryStore()
        self.log, self.sent = io.StringIO(), []
        logs.configure("INFO", self.log)

    def function(self, **settings):
        session = self.cloud.session()

        def recorded(send, request, **options):
            self.sent.append(dict(request.headers))
            return send(request, **options)

        intercept(session, recorded)
        return make_function(self.cloud, self.store, self.clock, session=session, **settings)

    def lines(self, event):
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == event]


@pytest.fixture
def deployed():
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        create_resources(cloud)
        made = Deployed(cloud)
        made.clock = clock
        yield made


def test_a_line_for_each_invocation(deployed):
    function = deployed.function()
    function.handle(smq_stream_event({"m-1": REQUEST, "m-2": "[]"}), CONTEXT)
    function.handle(smq_event("m-1", REQUEST), CONTEXT)
    first, second = deployed.lines("invocation")
    assert (first["request_id"], first["succeeded"], first["cold_start"]) == ("r-1", True, True)
    nothing = {outcome.value: 0 for outcome in Outcome}
    assert first["messages"] == {**nothing, "total": 2, "created": 1, "rejected": 1}
    assert {name: first[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
    counts = {name: part["count"] for name, part in first["steps"].items()}
    assert counts == {
        "decode": 2,  # the event, and what is in it
        "lookup": 1,
        "claim": 2,
        "create": 1,
        "save": 4,
        "publish": 2,
        "message": 2,
    }
    assert set(counts) < set(STEPS)
    assert (second["cold_start"], second["messages"]["duplicate"]) == (False, 1)
    assert {name: part["count"] for name, part in second["steps"].items()} == {
        "decode": 2,  # the event, and what is in it
        "claim": 1,
        "message": 1,
    }


class Unwritable(io.StringIO):
    """A standard output that is closed, or whose disk is full."""

    def write(self, _text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        raise ValueError("I/O operation on closed file")


def test_a_log_that_cannot_be_written_costs_no_message(deployed):
    logs.configure("DEBUG", Unwritable())
    report = deployed.function().handle(smq_stream_event({"m-1": REQUEST, "m-2": "[]"}), CONTEXT)
    assert (report["summary"]["created"], report["summary"]["rejected"]) == (1, 1)


def test_what_went_wrong_is_counted(deployed):
    """A create that is throttled, then lost after it acted: a retry, a reconciliation, an adoption."""
    throttled = {"service": "paiautoml", "operation": "CreateHpoExperiment", "when": "before"}
    deployed.cloud.faults.add("status", status=400, code="Throttling.User", times=2, **throttled)
    deployed.cloud.faults.add("reset", **{**throttled, "when": "after"})
    deployed.function().handle(smq_event("m-1", REQUEST), CONTEXT)
    (line,) = deployed.lines("invocation")
    assert (line["retries"], line["reconciliations"], line["adoptions"]) == (2, 1, 1)
    assert line["steps"]["reconcile"]["count"] == 1
    create = line["steps"]["create"]
    waited = sum(deployed.clock.slept) * 1000
    assert create["count"] == 1
    assert create["sum_ms"] == create["max_ms"] == pytest.approx(waited, abs=1)
    assert [create[f"le_{bound}"] for bound in BOUNDS_MS] == [int(waited <= bound) for bound in BOUNDS_MS]


def test_a_lease_that_another_holds_is_counted(deployed):
    """An invocation that fails has its line, which counts leases that another invocation holds."""
    other = deployed.function()
    begun = deployed.store.insert

    class Busy(MemoryStore):
        def insert(self, record):
            begun(record)
            return begun(record.__class__(**{**record.__dict__, "owner": "another"}))

    deployed.store = Busy()
    with pytest.raises(EventFailed):
        deployed.function().handle(smq_event("m-1", REQUEST), CONTEXT)
    assert other is not None
    (line,) = deployed.lines("invocation")
    assert (line["succeeded"], line["lease_conflicts"], line["messages"]["retry"]) == (False, 1, 1)


def test_a_trace_goes_from_the_request_to_calls_log_and_event(deployed):
    deployed.function().handle(smq_event("m-1", TRACED), CONTEXT)
    assert [headers.get("traceparent") for headers in deployed.sent] == [PARENT, PARENT]
    (event,) = deployed.cloud.topics[TOPIC].published
    assert json.loads(event.body)["traceparent"] == PARENT
    (line,) = deployed.lines("message.created")
    assert line["trace_id"] == TRACE
    assert (line["message_id"], line["key"]) == ("m-1", derive_key("smq", "m-1"))


def test_the_trace_of_a_message_ends_with_it():
    """What follows a message belongs to the trace that was there before it."""
    with trace_message(PARENT, {}):
        with trace_message(None, {}):
            assert traceparent() is None
        assert traceparent() == PARENT
    assert traceparent() is None


def test_each_line_names_its_message_and_the_key_of_its_request(deployed):
    """A followed experiment has a key of its own, but its lines name the key of its request."""
    function = deployed.function(HPOQ_WATCH_QUEUE=WATCH_QUEUE)
    function.handle(smq_event("m-1", REQUEST), CONTEXT)
    deployed.clock.advance(3600)
    (watch,) = deployed.cloud.queues.get(WATCH_QUEUE).receive(1)
    function.handle(smq_event(watch.message_id, watch.body), CONTEXT)
    for event in ("message.created", "message.finished"):
        (line,) = deployed.lines(event)
        assert (line["message_id"], line["key"]) == ("m-1", derive_key("smq", "m-1"))
        assert "trace_id" not in line, "the request brought none"


def test_messages_of_one_event_keep_their_traces_apart(deployed):
    deployed.function().handle(smq_stream_event({"m-1": TRACED, "m-2": REQUEST}), CONTEXT)
    carried = [headers.get("traceparent") for headers in deployed.sent]
    assert sorted(carried, key=str) == [PARENT, PARENT, None, None]
    events = [json.loads(message.body) for message in deployed.cloud.topics[TOPIC].published]
    assert sorted(str(event.get("traceparent")) for event in events) == [PARENT, "None"]


def attributes(reported):
    """Return the attributes of a span or a data point, as a dictionary."""
    return {
        one.key: one.value.int_value if one.value.HasField("int_value") else one.value.string_value
        for one in reported.attributes
    }


class Collector:
    """Takes what OTLP's exporters send."""

    def __init__(self):
        self.metrics, self.spans, self.answer, self.may_answer = [], [], 200, threading.Event()
        self.may_answer.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    outer.metrics.append(ExportMetricsServiceRequest.FromString(body))
                else:
                    outer.spans.append(ExportTraceServiceRequest.FromString(body))
                outer.may_answer.wait(60)
                self.send_response(outer.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def points(self):
        """Return the newest numbers of each metric."""
        newest = self.metrics[-1].resource_metrics[0]
        assert {one.key: one.value.string_value for one in newest.resource.attributes}[
            "service.name"
        ] == "hpoq"
        return {metric.name: metric for metric in newest.scope_metrics[0].metrics}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector(monkeypatch):
    """Spans and numbers are sent there, and each event waits for that, however busy the machine is."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setattr(telemetry, "_MAX_FLUSH_SECONDS", 60)
    yield made
    made.close()


@pytest.fixture
def function(deployed, collector):
    made = deployed.function(HPOQ_OPENTELEMETRY="true")
    yield made
    made.close()


def test_opentelemetry_has_the_same_numbers(deployed, collector, function):
    function.handle(smq_stream_event({"m-1": REQUEST, "m-2": "[]"}), CONTEXT)
    points = collector.points()
    outcomes = {
        attributes(point)["hpoq.outcome"]: point.as_int
        for point in points["messaging.client.consumed.messages"].sum.data_points
    }
    assert outcomes == {**{outcome.value: 0 for outcome in Outcome}, "created": 1, "rejected": 1}
    assert {f"hpoq.{name}" for name in COUNTERS} < set(points)
    steps = {
        attributes(point)["hpoq.step"]: point.count
        for point in points["hpoq.step.duration"].histogram.data_points
    }
    (line,) = deployed.lines("invocation")
    assert steps == {name: part["count"] for name, part in line["steps"].items()}
    assert points["faas.coldstarts"].sum.data_points[0].as_int == 1
    assert points["faas.invocations"].sum.data_points[0].as_int == 1
    (processed,) = points["messaging.process.duration"].histogram.data_points
    assert (processed.count, attributes(processed)["messaging.system"]) == (2, "smq")
    calls = [attributes(point) for point in points["http.client.request.duration"].histogram.data_points]
    assert {call["http.response.status_code"] for call in calls} == {200, 201}
    assert {call["http.request.method"] for call in calls} == {"POST"}


def test_opentelemetry_has_a_span_for_each_message_below_the_producers(deployed, collector, function):
    function.handle(smq_event("m-1", TRACED), CONTEXT)
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    (message,) = [span for span in spans if span.name == "process"]
    assert (message.trace_id.hex(), message.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    reported = attributes(message)
    assert (reported["messaging.message.id"], reported["hpoq.outcome"]) == ("m-1", "created")
    assert (reported["messaging.system"], reported["messaging.operation.type"]) == ("smq", "process")
    steps = {span.name for span in spans if span.parent_span_id == message.span_id}
    assert steps == {"hpoq.claim", "hpoq.create", "hpoq.save", "hpoq.publish"}
    carried = f"00-{TRACE}-{message.span_id.hex()}-01"
    assert {headers["traceparent"] for headers in deployed.sent} == {carried}
    (event,) = deployed.cloud.topics[TOPIC].published
    document = json.loads(event.body)
    assert document["traceparent"] == carried
    (published,) = [attributes(span) for span in spans if span.name == "hpoq.publish"]
    names = ("id", "source", "type", "subject")
    assert {name: published[f"cloudevents.event_{name}"] for name in names} == {
        name: document[name] for name in names
    }
    calls = {span.name: attributes(span) for span in spans if span.kind == span.SPAN_KIND_CLIENT}
    assert set(calls) == {"POST CreateHpoExperiment", "POST PublishMessage"}
    assert calls["POST PublishMessage"]["http.response.status_code"] == 201


def test_the_span_of_a_message_has_its_key_and_its_error(deployed, collector, function):
    """The span of a conflict has the disputed key, under which both requests are found."""
    function.handle(smq_stream_event({"m-1": request("k"), "m-2": request("k", Name="other")}), CONTEXT)
    function.handle(json.dumps(make_document("direct")).encode(), CONTEXT)
    with pytest.raises(EventFailed):
        function.handle(b'[{"a": 1}]', CONTEXT)
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    shown = {}
    for reported in (attributes(span) for span in spans if span.name == "process"):
        shown[reported["messaging.message.id"]] = (
            reported["hpoq.key"],
            reported["hpoq.outcome"],
            reported.get("error.type"),
        )
    keys = [derive_key(PRODUCER, name) for name in ("k", "direct")]
    assert shown == {
        "m-1": (keys[0], "created", None),
        "m-2": (keys[0], "rejected", "IdempotencyConflict"),
        "r-1": (keys[1], "created", None),
        "": (shown[""][0], "retry", "UnknownSource"),
    }


def test_the_span_of_a_look_has_the_key_of_its_request(deployed, collector):
    """The key of the watch message's own record is known to nobody."""
    function = deployed.function(HPOQ_OPENTELEMETRY="true", HPOQ_WATCH_QUEUE=WATCH_QUEUE)
    function.handle(smq_event("m-1", REQUEST), CONTEXT)
    deployed.clock.advance(3600)
    (watch,) = deployed.cloud.queues.get(WATCH_QUEUE).receive(1)
    function.handle(smq_event(watch.message_id, watch.body), CONTEXT)
    function.close()
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    shown = [attributes(span) for span in spans if span.name == "process"]
    assert [told["hpoq.outcome"] for told in shown] == ["created", "finished"]
    assert {told["hpoq.key"] for told in shown} == {derive_key("smq", "m-1")}


def test_a_call_that_fails_is_a_span_with_its_error(deployed, collector, function):
    """An answer of 400 or more, or none at all, is the error of the call's span."""
    fault = {"service": "paiautoml", "operation": "CreateHpoExperiment", "when": "before"}
    deployed.cloud.faults.add("status", status=400, code="Throttling.User", times=1, **fault)
    deployed.cloud.faults.add("refuse", times=1, **fault)
    function.handle(smq_event("m-1", REQUEST), CONTEXT)
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    creates = [attributes(span) for span in spans if span.name == "POST CreateHpoExperiment"]
    assert {call.get("error.type") for call in creates} == {"400", "no_response", None}


def test_names_follow_the_semantic_conventions(deployed, collector, function):
    """Every metric and attribute whose name does not begin with `hpoq.` is one of OpenTelemetry's."""
    function.handle(smq_event("m-1", TRACED), CONTEXT)
    package = Path(opentelemetry.semconv.__path__[0])
    known = "".join(file.read_text() for file in package.rglob("*.py"))
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    points = collector.points()
    names = {name for span in spans for name in attributes(span)} | set(points)
    for metric in points.values():
        for point in (*metric.sum.data_points, *metric.histogram.data_points):
            names |= set(attributes(point))
    own = {name for name in names if name.startswith("hpoq.")}
    assert {name for name in names - own if f'"{name}"' not in known} == set()
    for family in ("messaging.", "cloudevents.", "faas.", "http."):
        assert any(name.startswith(family) for name in names), family


def test_a_collector_that_is_not_there_costs_no_message(deployed, collector, function):
    collector.answer = 400
    report = function.handle(smq_event("m-1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1


def role_without(cloud, action):
    """Return the variables of a function whose role may do everything but `action`."""
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": "*"},
    ]
    cloud.credentials.register(
        "STS.role",
        "secret",
        user_id=cloud.account_id,
        security_token="token",
        policy={"Version": "1", "Statement": statements},
    )
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.role",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
    }


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("paiautoml:CreateHpoExperiment", REQUEST),
        ("paiautoml:GetHpoExperiment", '{"stop": {"experimentId": "s1"}}'),
        ("paiautoml:StopHpoExperiment", '{"stop": {"experimentId": "%s"}}'),
    ],
)
def test_a_missing_permission_is_explained_in_the_log(deployed, action, body):
    """AccessDeniedDetail reaches the line `operator.needed`, whose advice names the action, and the error."""
    deployed.function().handle(smq_event("m-0", REQUEST), CONTEXT)
    (experiment,) = deployed.cloud.experiments
    experiment.fail("RUNNING")
    function = deployed.function(**role_without(deployed.cloud, action))
    with pytest.raises(EventFailed) as caught:
        function.handle(smq_event("m-1", body.replace("%s", experiment.experiment_id)), CONTEXT)
    (line,) = deployed.lines("operator.needed")
    assert line["access_denied_detail"]["AuthAction"] == action
    assert line["advice"].startswith(f"grant {action} to the function's role")
    (row,) = caught.value.report.as_json()["messages"]
    assert row["error"]["service"]["accessDeniedDetail"] == line["access_denied_detail"]


def test_a_missing_permission_is_part_of_the_event(deployed):
    """The event of a message that is given up for it tells its consumer which action is missing."""
    role = role_without(deployed.cloud, "paiautoml:CreateHpoExperiment")
    function = deployed.function(**role, HPOQ_MAX_AGE_HOURS="1")
    for _ in range(2):
        with contextlib.suppress(EventFailed):
            function.handle(smq_event("m-1", REQUEST), CONTEXT)
        deployed.clock.advance(4000)
    (event,) = published_events(deployed.cloud)
    assert event["type"] == "com.hpoq.experiment.failed.v1"
    detail = event["data"]["error"]["service"]["accessDeniedDetail"]
    assert detail["AuthAction"] == "paiautoml:CreateHpoExperiment"


@pytest.fixture
def silent(monkeypatch):
    """A collector that takes what is sent, but answers only after the test."""
    made = Collector()
    made.answer = 400
    made.may_answer.clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    # What waits for it without a limit of its own does not end within the test.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    before = set(threading.enumerate())
    yield made
    made.may_answer.set()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("hpoq-telemetry"):
            thread.join(60)
    made.close()


class NotingLock:
    """A lock that notes with which time limits it was waited for."""

    def __init__(self):
        self._lock, self.limits = threading.Lock(), []

    def acquire(self, blocking=True, timeout=-1):
        if timeout >= 0:
            self.limits.append(timeout)
        return self._lock.acquire(blocking, timeout)

    def release(self):
        self._lock.release()


def test_a_collector_that_does_not_answer_delays_one_event(deployed, silent):
    """The first event waits half a second for it, later ones do not; closing takes less than PreStop may."""
    function = deployed.function(HPOQ_OPENTELEMETRY="true")
    sending = function._telemetry._exporter._sending = NotingLock()
    for number in range(4):
        assert function.handle(smq_event(f"m-{number}", REQUEST), CONTEXT)["summary"]["created"] == 1
    assert sending.limits == [0.5]
    closed = []
    function._store.close = lambda: closed.append("store")
    function._session.close = lambda: closed.append("session")
    shut_down = function._telemetry._exporter._shut_down
    function._telemetry._exporter._shut_down = lambda: (closed.append("exporter"), shut_down())
    began = time.monotonic()
    function.close()
    assert time.monotonic() - began < 20
    assert closed == ["store", "session", "exporter"]
    (line,) = deployed.lines("telemetry.failed")
    assert line["pause_seconds"] == 30


def test_a_collector_is_tried_again_after_a_pause(function, monkeypatch):
    """The pause grows from 30 s to 5 minutes while sending fails, and ends with the first success."""
    now, sent, fails = [0.0], [], [True]
    exporter = OpenTelemetry("hpoq", monotonic=lambda: now[0])
    done = threading.Event()

    def force_flush(*_):
        sent.append(now[0])
        if fails[0]:
            raise OSError
        exporter._breaker.record(is_success=True)

    monkeypatch.setattr(exporter._meters, "force_flush", force_flush)
    monkeypatch.setattr(exporter._tracers, "force_flush", lambda *_: done.set())
    for second in range(0, 1300, 10):
        now[0] = float(second)
        exporter.flush(60)
    assert sent == [0, 30, 90, 210, 450, 750, 1050]
    fails[0] = False
    now[0] = 2000.0
    exporter.flush(60)
    assert done.wait(20)
    exporter.flush(60)
    assert sent[7:] == [2000, 2000]
    exporter.close()


def test_an_event_does_not_wait_for_the_send_of_an_earlier_one(function, monkeypatch):
    """While a send is on its way, later events begin none beside it."""
    exporter, answers, reported = function._telemetry._exporter, threading.Event(), []
    monkeypatch.setattr(exporter._meters, "force_flush", lambda *_: reported.append(answers.wait(20)))
    exporter.flush(0.01)
    exporter.flush(60)
    assert reported == []
    answers.set()


class RaisingProcessor(SpanProcessor):
    """A processor of a provider that something else has installed."""

    def __init__(self, moment):
        setattr(self, moment, lambda *_, **__: 1 / 0)


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_a_span_processor_that_raises_costs_no_message(deployed, function, monkeypatch, moment):
    provider = TracerProvider()
    provider.add_span_processor(RaisingProcessor(moment))
    monkeypatch.setattr(function._telemetry._exporter, "_tracer", provider.get_tracer("test"))
    report = function.handle(smq_event("m-1", TRACED), CONTEXT)
    assert report["summary"]["created"] == 1
    (event,) = published_events(deployed.cloud)
    assert event["traceparent"].split("-")[1] == TRACE
    assert {line["error"] for line in deployed.lines("telemetry.failed")} == {"ZeroDivisionError"}


def test_what_flushing_raises_is_logged(deployed, function, monkeypatch):
    exporter = function._telemetry._exporter
    monkeypatch.setattr(exporter._tracers, "force_flush", lambda *_: 1 / 0)
    exporter.flush(60)
    (line,) = deployed.lines("telemetry.failed")
    assert line["error"] == "ZeroDivisionError"


def test_telemetry_goes_on_after_a_thread_could_not_be_started(function, monkeypatch):
    exporter, sent = function._telemetry._exporter, []
    monkeypatch.setattr(exporter, "_meters", SimpleNamespace(force_flush=lambda: sent.append(1)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        with pytest.raises(RuntimeError):
            exporter.flush(60)
    exporter.flush(60)
    assert sent == [1]


def refuse_to_start(_thread):
    raise RuntimeError("can't start new thread")


def test_without_the_extra_the_setting_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "hpoq.observability.otel", raising=False)
    with pytest.raises(SettingsError, match=r"hpoq\[otel\]"):
        open_exporter("hpoq")


def test_opentelemetry_is_loaded_only_where_it_is_set():
    code = "import sys, hpoq.handler; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    done = run_program([sys.executable, "-c", code], check=True)
    assert done.stdout.strip() == "False"
    assert Settings().opentelemetry is False


def test_no_secret_of_the_collector_reaches_the_log():
    """OpenTelemetry itself logs headers that it cannot read, and URLs of collectors that do not answer."""
    settings = [
        ("ENDPOINT", "http://127.0.0.1:9/adapt_canary/api/otlp"),
        ("ENDPOINT", "http://me:canary@127.0.0.1:9"),
        ("ENDPOINT", "ftp://canary@host:x"),
        ("HEADERS", "canary"),
        ("HEADERS", "not a name=canary"),
    ]
    code = (
        "import os\n"
        "from hpoq.observability.telemetry import open_exporter\n"
        f"for name, value in {settings!r}:\n"
        "    os.environ['OTEL_EXPORTER_OTLP_' + name] = value\n"
        "    exporter = open_exporter('f')\n"
        "    with exporter.message(None, {}):\n        pass\n"
        "    exporter.flush(2)\n"
        "    exporter.close()\n"
        "    del os.environ['OTEL_EXPORTER_OTLP_' + name]\n"
        "    print('NEXT', flush=True)"
    )
    command, merged = [sys.executable, "-c", code], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = run_program(command, capture_output=False, **merged)
    shown = done.stdout.split("NEXT\n")[: len(settings)]
    assert ["telemetry.failed" in text for text in shown] == [True] * len(settings), done.stdout
    assert "canary" not in done.stdout
