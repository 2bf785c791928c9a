"""What an invocation tells of itself: one line of the log, OpenTelemetry where it is set, one trace throughout."""

import io
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import alilocal
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.errors import SettingsError
from hpoq.function import EventFailed, Function
from hpoq.observability import logs
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, STEPS
from hpoq.observability.telemetry import open_exporter
from hpoq.settings import Settings
from hpoq.testing import FakeClock, MemoryStore, smq_event, smq_stream_event

REQUEST = (Path(__file__).parents[3] / "events/requests/minimal.json").read_text()
CONTEXT = Fc3Context("r-1", FunctionInfo(timeout=300))
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
        environ = {
            "HPOQ_REGION": self.cloud.region,
            "HPOQ_ACCOUNT_ID": self.cloud.account_id,
            "HPOQ_PAIAUTOML_ENDPOINT": self.cloud.endpoint,
            "HPOQ_SMQ_ENDPOINT": self.cloud.endpoint,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.cloud.access_key_secret,
            **settings,
        }
        session = self.cloud.session()
        send = session.send

        def recorded(request, **options):
            self.sent.append(dict(request.headers))
            return send(request, **options)

        session.send = recorded
        return Function(environ, session=session, clock=self.clock, store=self.store)

    def lines(self, event):
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == event]


@pytest.fixture
def deployed():
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        cloud.queues.create("hpo-requests")
        cloud.topics.create("hpo-results")
        made = Deployed(cloud)
        made.clock = clock
        yield made


def test_a_line_for_each_invocation(deployed):
    function = deployed.function()
    function.handle(smq_stream_event({"m-1": REQUEST, "m-2": "{}"}), CONTEXT)
    function.handle(smq_event("m-1", REQUEST), CONTEXT)
    first, second = deployed.lines("invocation")
    assert (first["request_id"], first["succeeded"], first["cold_start"]) == ("r-1", True, True)
    assert first["messages"] == {
        "total": 2,
        "created": 1,
        "duplicate": 0,
        "rejected": 1,
        "retry": 0,
        "failed": 0,
    }
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


def test_what_went_wrong_is_counted(deployed):
    """A create that is throttled, then lost after it acted: a retry, a reconciliation, an adoption."""
    throttled = {"service": "paiautoml", "operation": "CreateHpoExperiment", "when": "before"}
    deployed.cloud.faults.add("status", status=400, code="Throttling.User", times=2, **throttled)
    deployed.cloud.faults.add("reset", **{**throttled, "when": "after"})
    deployed.function().handle(smq_event("m-1", REQUEST), CONTEXT)
    (line,) = deployed.lines("invocation")
    assert (line["retries"], line["reconciliations"], line["adoptions"]) == (2, 1, 1)
    create = line["steps"]["create"]
    waited = sum(deployed.clock.slept) * 1000
    assert create["count"] == 1
    assert create["sum_ms"] == create["max_ms"] == pytest.approx(waited, abs=1)
    assert [create[f"le_{bound}"] for bound in BOUNDS_MS] == [int(waited <= bound) for bound in BOUNDS_MS]


def test_a_lease_that_another_holds_is_counted(deployed):
    """And an invocation that fails has its line too."""
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
    (event,) = deployed.cloud.topics["hpo-results"].published
    assert json.loads(event.body)["traceparent"] == PARENT
    (line,) = deployed.lines("message.created")
    assert line["trace_id"] == TRACE


def test_messages_of_one_event_keep_their_traces_apart(deployed):
    deployed.function().handle(smq_stream_event({"m-1": TRACED, "m-2": REQUEST}), CONTEXT)
    carried = [headers.get("traceparent") for headers in deployed.sent]
    assert sorted(carried, key=str) == [PARENT, PARENT, None, None]
    events = [json.loads(message.body) for message in deployed.cloud.topics["hpo-results"].published]
    assert sorted(str(event.get("traceparent")) for event in events) == [PARENT, "None"]


class Collector:
    """Takes what OTLP's exporters send."""

    def __init__(self):
        self.metrics, self.spans, self.answer = [], [], 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    outer.metrics.append(ExportMetricsServiceRequest.FromString(body))
                else:
                    outer.spans.append(ExportTraceServiceRequest.FromString(body))
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
        """The newest numbers of each metric."""
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
    """Spans and numbers are sent there; what an exporter leaves running ends with the test."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    yield made
    made.close()


@pytest.fixture
def function(deployed, collector):
    made = deployed.function(HPOQ_OPENTELEMETRY="true")
    yield made
    made.close()


def test_opentelemetry_has_the_same_numbers(deployed, collector, function):
    function.handle(smq_stream_event({"m-1": REQUEST, "m-2": "{}"}), CONTEXT)
    points = collector.points()
    outcomes = {
        point.attributes[0].value.string_value: point.as_int
        for point in points["hpoq.messages"].sum.data_points
    }
    assert outcomes == {"created": 1, "duplicate": 0, "rejected": 1, "retry": 0, "failed": 0}
    assert {f"hpoq.{name}" for name in COUNTERS} < set(points)
    steps = {
        point.attributes[0].value.string_value: point.count
        for point in points["hpoq.step.duration"].histogram.data_points
    }
    (line,) = deployed.lines("invocation")
    assert steps == {name: part["count"] for name, part in line["steps"].items()}
    assert points["hpoq.cold_starts"].sum.data_points[0].as_int == 1


def test_opentelemetry_has_a_span_for_each_message_below_the_producers(deployed, collector, function):
    function.handle(smq_event("m-1", TRACED), CONTEXT)
    spans = [span for one in collector.spans for span in one.resource_spans[0].scope_spans[0].spans]
    (message,) = [span for span in spans if span.name == "hpoq.message"]
    assert (message.trace_id.hex(), message.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    told = {one.key: one.value.string_value for one in message.attributes}
    assert (told["message_id"], told["outcome"]) == ("m-1", "created")
    steps = {span.name for span in spans if span.parent_span_id == message.span_id}
    assert steps == {"hpoq.claim", "hpoq.create", "hpoq.save", "hpoq.publish"}
    carried = f"00-{TRACE}-{message.span_id.hex()}-01"
    assert {headers["traceparent"] for headers in deployed.sent} == {carried}
    (event,) = deployed.cloud.topics["hpo-results"].published
    assert json.loads(event.body)["traceparent"] == carried


def test_a_collector_that_is_not_there_costs_no_message(deployed, collector, function):
    collector.answer = 400
    report = function.handle(smq_event("m-1", REQUEST), CONTEXT)
    assert report["summary"]["created"] == 1


def test_a_collector_that_does_not_answer_is_waited_for_no_longer_than_there_is_time(function, monkeypatch):
    exporter, answers, told = function._telemetry._exporter, threading.Event(), []
    monkeypatch.setattr(exporter._meters, "force_flush", lambda *_: told.append(answers.wait(20)))
    exporter.flush(0.01)
    exporter.flush(0.01)  # waits for the first, and sends nothing beside it
    answers.set()
    exporter.flush(60)
    assert told == [True, True]


def test_what_flushing_raises_is_logged(deployed, function, monkeypatch):
    exporter = function._telemetry._exporter
    monkeypatch.setattr(exporter._tracers, "force_flush", lambda *_: 1 / 0)
    exporter.flush(60)
    (line,) = deployed.lines("telemetry.failed")
    assert line["error"] == "ZeroDivisionError"


def test_without_the_extra_the_setting_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "hpoq.observability.otel", raising=False)
    with pytest.raises(SettingsError, match=r"hpoq\[otel\]"):
        open_exporter("hpoq")


def test_opentelemetry_is_loaded_only_where_it_is_set():
    code = "import sys, hpoq.handler; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert Settings().opentelemetry is False
