"""The index, the dashboard and the alerts for Simple Log Service: they read what the function really logs.

Nothing here runs SLS's SQL; SQLite takes these queries as they stand, given SLS's own functions.
"""

import contextlib
import io
import itertools
import json
import math
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest
from installing import packages_in

import alilocal
from hpoq.errors import StoreUnavailable
from hpoq.function import EventFailed
from hpoq.observability import logs
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, STEPS
from hpoq.processing.outcome import Outcome
from hpoq.testing import FakeClock, MemoryStore, smq_stream_event
from support.budget import CI_BUDGET
from support.deployment import CONTEXT, DEAD_LETTER_QUEUE, QUEUE, WATCH_QUEUE, create_resources, make_function
from support.processes import run_program
from support.request import REQUEST
from support.sending import intercept

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/serverless/sls"
INDEX, DASHBOARD, ALERTS = (
    json.loads((FOLDER / f"{name}.json").read_text()) for name in ("index", "dashboard", "alerts")
)
FIELDS = INDEX["keys"]["message"]["json_keys"]


def flat(value, place=""):
    """Return the members of a log line as SLS names them."""
    if isinstance(value, dict):
        return {
            name: one
            for member, inner in value.items()
            for name, one in flat(inner, f"{place}.{member}" if place else member).items()
        }
    return {place: str(value).lower() if isinstance(value, bool) else value}


class Deployed:
    """The function over a cloud where things go wrong; its log is a table."""

    def __init__(self, cloud, clock):
        self.cloud, self.clock, self.store = cloud, clock, MemoryStore()
        self.log, self.lines, self.ids, self.create_seconds = io.StringIO(), [], itertools.count(), 0
        logs.configure("INFO", self.log)

    def deliver(self, *bodies, **settings):
        function = make_function(self.cloud, self.store, self.clock, session=self.session(), **settings)
        event = smq_stream_event({f"m-{next(self.ids)}": body for body in bodies})
        with contextlib.suppress(EventFailed):
            function.handle(event, CONTEXT)
        self.rows()

    def session(self):
        session = self.cloud.session()

        def slowly(send, request, **options):
            if request.method == "POST" and "/hpo/experiment" in request.url:
                self.clock.advance(self.create_seconds)
            return send(request, **options)

        intercept(session, slowly)
        return session

    def fault(self, kind, operation="CreateHpoExperiment", service="paiautoml", **options):
        self.cloud.faults.add(
            kind, service=service, operation=operation, times=None, **{"when": "before"} | options
        )

    def rows(self):
        """Return the lines of the log, each with the moment of its invocation."""
        for line in self.log.getvalue().splitlines()[len(self.lines) :]:
            self.lines.append({"__time__": self.clock.now(), **flat(json.loads(line))})
        return self.lines

    def ask(self, query, since=-math.inf):
        """Return the first row that SLS would answer, or None."""
        searched, _, sql = query.partition(" | ")
        found = [row for row in self.rows() if row["__time__"] >= since and matches(row, searched)]
        with sqlite3.connect(":memory:") as database:
            functions(database, self.clock)
            names = [f"message.{name}" for name in FIELDS]
            database.execute("CREATE TABLE log (__time__, " + ", ".join(f'"{name}"' for name in names) + ")")
            blanks = ", ".join("?" * (len(names) + 1))
            database.executemany(
                f"INSERT INTO log VALUES ({blanks})",
                [(row["__time__"], *map(row.get, FIELDS)) for row in found],
            )
            database.row_factory = sqlite3.Row
            answer = database.execute(sql).fetchone()
        database.close()
        return dict(answer) if answer else None


def split_words(text):
    """Return the words under which SLS finds a text: its parts between the index's delimiters, in lower case."""
    return re.split("[" + re.escape("".join(INDEX["line"]["token"])) + "]+", text.lower())


def matches(row, searched):
    """Return whether a search finds the line: whole words, or `message.field: value`, joined by `or`."""
    words = split_words(" ".join(str(one) for one in row.values()))
    for term in searched.split(" or "):
        name, colon, value = term.partition(": ")
        if row.get(name.removeprefix("message.")) == value if colon else term.strip('"').lower() in words:
            return True
    return False


class CountIf:
    def __init__(self):
        self.number = 0

    def step(self, condition):
        self.number += bool(condition)

    def finalize(self):
        return self.number


class MaxBy:
    def __init__(self):
        self.found = []

    def step(self, value, by):
        self.found.append((by, value))

    def finalize(self):
        return max(self.found)[1] if self.found else None


def functions(database, clock):
    database.create_function("now", 0, clock.now)
    database.create_function("to_unixtime", 1, lambda time: time)
    database.create_function("time_series", 4, lambda time, *_: time)
    database.create_aggregate("count_if", 1, CountIf)
    database.create_aggregate("max_by", 2, MaxBy)


@pytest.fixture
def deployed():
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        create_resources(cloud)
        yield Deployed(cloud, clock)


def test_the_vendors_sdk_knows_every_member(installs):
    environ = {**os.environ, "PYTHONPATH": str(packages_in(installs, ["alibabacloud_sls20201230==5.15.1"]))}
    command = [sys.executable, Path(__file__).with_name("sdks") / "sls_models.py", FOLDER]
    done = run_program(command, env=environ, check=True)
    assert json.loads(done.stdout) == []


def test_the_index_has_every_number_that_is_logged():
    numbers = {"messages.total", *(f"messages.{outcome.value}" for outcome in Outcome)}
    parts = ["count", "sum_ms", "max_ms", *(f"le_{bound}" for bound in BOUNDS_MS)]
    numbers |= {f"steps.{step}.{part}" for step in STEPS for part in parts}
    numbers |= {*COUNTERS, "duration_ms"}
    assert {name for name, field in FIELDS.items() if field["type"] != "text"} == numbers
    assert len(FIELDS) <= 500, "SLS takes no more leaves"


def test_the_log_has_what_the_index_promises(deployed):
    deployed.deliver(REQUEST, "[]")
    deployed.fault("reset", when="after")
    deployed.deliver(*[REQUEST] * 3)
    (line, *_) = [row for row in deployed.rows() if row["event"] == "invocation"]
    logged = {name for row in deployed.rows() for name in row}
    wanted = {name for name, field in FIELDS.items() if field["type"] != "text"}
    assert wanted - logged == set()
    assert isinstance(line["steps.create.count"], int)


@pytest.mark.parametrize("chart", DASHBOARD["charts"], ids=lambda chart: chart["title"])
def test_a_chart_shows_what_its_query_gives(deployed, chart):
    deployed.deliver(REQUEST, "[]")
    deployed.fault("status", status=403, code="NoPermission")
    deployed.deliver(*[REQUEST] * 3)
    answer = deployed.ask(chart["search"]["query"])
    assert list(answer) == chart["display"]["xAxis"] + chart["display"]["yAxis"]
    assert any(answer.values())


def holds(alert, answer):
    """Return whether the alert's condition, in SLS's syntax, holds for a row."""
    condition = alert["condition"].replace("&&", "and").replace("||", "or")
    assert set(re.findall(r"[a-z]+", condition)) - {"and", "or"} <= set(answer)
    return bool(eval(condition, {"__builtins__": {}}, answer))


class Broken(MemoryStore):
    is_down = True

    def insert(self, record):
        if self.is_down:
            raise StoreUnavailable("down")
        return super().insert(record)


class Unsteady(MemoryStore):
    """A store that refuses every call while `is_down` is set."""

    is_down = False

    def _refuse(self):
        if self.is_down:
            raise StoreUnavailable("down")

    def get(self, key):
        self._refuse()
        return super().get(key)

    def insert(self, record):
        self._refuse()
        return super().insert(record)

    def replace(self, record, expected):
        self._refuse()
        return super().replace(record, expected)


def store_fails(deployed):
    deployed.store = Broken()
    deployed.deliver(*[REQUEST] * 5)


def requeue_fails(deployed):
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.fault("status", "SendMessage", "smq", status=403, code="AccessDenied")
    for _ in range(5):
        deployed.deliver(REQUEST, HPOQ_BATCH_POLICY="requeue")
        deployed.clock.advance(100)


def is_given_up(deployed, **settings):
    """A request is throttled until it is too old."""
    request = json.dumps(json.loads(REQUEST) | {"idempotencyKey": "given-up"})
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.deliver(request, HPOQ_MAX_AGE_HOURS="1", **settings)
    deployed.clock.advance(7200)
    deployed.deliver(request, HPOQ_MAX_AGE_HOURS="1", **settings)


def defect(deployed):
    class Defective(MemoryStore):
        def insert(self, record):
            raise ZeroDivisionError

    deployed.store = Defective()
    deployed.deliver(REQUEST)


def slow(deployed):
    deployed.create_seconds = 11
    for _ in range(20):
        deployed.deliver(REQUEST)


def does_not_start(deployed):
    """FC logs the error of an initializer that raises, as the JSON of its answer."""
    deployed.log.write(json.dumps({"text": '"errorType": "SettingsError",'}) + "\n")


def stuck(deployed):
    """The only message is throttled, and comes back less and less often."""
    deployed.clock.advance(4 * 3600)
    deployed.fault("status", status=400, code="Throttling.User")
    for _ in range(5):
        deployed.deliver(json.dumps(json.loads(REQUEST) | {"idempotencyKey": "k"}))
        deployed.clock.advance(900)


def misses_a_topic(deployed):
    deployed.fault("status", "PublishMessage", "smq", status=404, code="TopicNotExist")
    deployed.deliver(REQUEST)


def may_not_send_back(deployed):
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.fault("status", "SendMessage", "smq", status=403, code="AccessDenied")
    deployed.deliver(REQUEST, HPOQ_BATCH_POLICY="requeue")


def misses_a_dead_letter_queue(deployed):
    deployed.fault("status", "SendMessage", "smq", status=404, code="QueueNotExist")
    is_given_up(deployed, HPOQ_DEAD_LETTER_QUEUE=DEAD_LETTER_QUEUE)


def may_not_write_records(deployed):
    deployed.fault("status", "PutRow", "tablestore", status=403, code="OTSNoPermissionAccess")
    deployed.deliver(REQUEST, HPOQ_STORE="tablestore://localhost/hpoq?instance=local&scheme=http")


def finds_another_table(deployed):
    deployed.fault("status", "PutRow", "tablestore", status=400, code="OTSInvalidPK")
    deployed.deliver(REQUEST, HPOQ_STORE="tablestore://localhost/hpoq?instance=local&scheme=http")


def denied(deployed):
    deployed.fault("status", status=403, code="NoPermission")
    deployed.deliver(REQUEST)


def throttled(deployed):
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.deliver(*[REQUEST] * 16)


def publish_fails(deployed):
    deployed.fault("status", "PublishMessage", "smq", status=500, code="InternalError")
    deployed.deliver(*[REQUEST] * 5)


SITUATIONS = {
    "hpoq-operator-needed": denied,
    "hpoq-does-not-start": does_not_start,
    "hpoq-defect": defect,
    "hpoq-failed": is_given_up,
    "hpoq-retrying": throttled,
    "hpoq-stuck": stuck,
    "hpoq-rejecting": lambda deployed: deployed.deliver(*["[]"] * 4),
    "hpoq-store-failing": store_fails,
    "hpoq-publish-failing": publish_fails,
    "hpoq-requeue-failing": requeue_fails,
    "hpoq-slow": slow,
}


def is_raised(deployed, alert):
    """Return whether the alert is raised now: by the lines that its query reads at this moment."""
    amount, unit = re.fullmatch(r"-(\d+)([mh])", alert["start"]).groups()
    since = deployed.clock.now() - int(amount) * {"m": 60, "h": 3600}[unit]
    return holds(alert, deployed.ask(alert["query"], since))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["name"])
def test_an_alert_is_raised_when_it_should_be_and_only_then(deployed, alert):
    deployed.deliver(*[REQUEST] * 12)
    assert not is_raised(deployed, alert)
    SITUATIONS[alert["name"]](deployed)
    assert is_raised(deployed, alert)


def test_every_alert_is_tried():
    assert [alert["name"] for alert in ALERTS] == list(SITUATIONS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["name"])
def test_a_condition_keeps_the_limits_of_the_service(alert):
    """https://www.alibabacloud.com/help/en/sls/syntax-of-evaluate-expressions: its length, and names of letters."""
    condition = alert["condition"]
    assert len(condition) <= 128
    assert not re.search(r"[a-z]_|_[a-z]", condition)


@pytest.mark.parametrize("raised", ["hpoq.errors.SettingsError: HPOQ_STORE is not set", "SettingsError"])
def test_a_start_that_fails_is_found_in_either_form(deployed, raised):
    """A search finds whole words, and in a traceback the name of the module is part of the word."""
    (alert,) = (one for one in ALERTS if one["name"] == "hpoq-does-not-start")
    deployed.log.write(json.dumps({"text": raised}) + "\n")
    assert is_raised(deployed, alert)


@pytest.mark.parametrize(
    "line",
    [
        {"text": '"errorType": "EventUnreadable",'},
        # https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/request-level-metric-logs
        {"errorType": "FunctionOOMError", "hasFunctionError": "true"},
        {"errorType": "FunctionTimeoutError", "hasFunctionError": "true"},
    ],
)
def test_a_call_that_always_fails_is_found_without_a_line_of_its_own(deployed, line):
    """The stream tries it again for a day, with pauses so long that no alarm on the number of errors is raised."""
    (alert,) = (one for one in ALERTS if one["name"] == "hpoq-defect")
    deployed.log.write(json.dumps(line) + "\n")
    assert is_raised(deployed, alert)


@pytest.mark.parametrize(
    "fault",
    [
        misses_a_topic,
        may_not_send_back,
        misses_a_dead_letter_queue,
        may_not_write_records,
        finds_another_table,
    ],
)
def test_a_missing_permission_or_resource_needs_an_operator_at_once(deployed, fault):
    """Nothing but a person ends such a fault, so the first line is enough, and it names the code and what to do."""
    (alert,) = (one for one in ALERTS if one["name"] == "hpoq-operator-needed")
    fault(deployed)
    assert is_raised(deployed, alert)
    (line, *_) = [row for row in deployed.rows() if row["event"] == "operator.needed"]
    assert line["code"]
    assert line["advice"]
    assert line["key"]


def logged_errors():
    """Return the `event` of every line of the level error."""
    texts = [path.read_text() for path in (ROOT / "functions/hpoq").rglob("*.py")]
    call = r'\b(?:get_logger\(\)|log)\.(?:error|exception)\(\s*"([a-z.-]+)"'
    return sorted({event for text in texts for event in re.findall(call, text)})


@pytest.mark.parametrize("event", logged_errors())
def test_an_alert_reads_every_line_of_the_level_error(event):
    """A fault that is logged as an error reaches a person."""
    queries = [alert["query"] for alert in ALERTS]
    assert any(matches({"event": event}, query.partition(" | ")[0]) for query in queries)


class Quiet(Deployed):
    """A deployment with one message, which the queues deliver again when it is due."""

    SETTINGS = {  # noqa: RUF012 - as deployed
        "HPOQ_BATCH_POLICY": "requeue",
        "HPOQ_REQUEUE_DELAY_SECONDS": "60",
        "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE,
        "HPOQ_WATCH_QUEUE": WATCH_QUEUE,
    }

    def begin(self):
        self.function = make_function(self.cloud, self.store, self.clock, **self.SETTINGS)
        self.function_fails = []
        self.cloud.queues.get(QUEUE).send(REQUEST)

    def go_on(self, seconds):
        """Advance the clock. An event that fails is delivered again as the event stream does it."""
        for _ in range(0, seconds, 30):
            due = [one for one in self.function_fails if one[0] <= self.clock.now()]
            self.function_fails = [one for one in self.function_fails if one not in due]
            for _, event, pause in due:
                self.handle(event, pause)
            for name in (QUEUE, WATCH_QUEUE):
                queue = self.cloud.queues.get(name)
                received = queue.receive(16)
                for message in received:
                    queue.delete(message.receipt_handle)
                for message in received:
                    self.handle(smq_stream_event({message.message_id: message.body}, queue=name), 1)
            self.clock.advance(30)

    def handle(self, event, pause):
        try:
            self.function.handle(event, CONTEXT)
        except EventFailed:
            self.function_fails.append((self.clock.now() + pause, event, min(2 * pause, 512)))
        self.rows()


def store_is_down(deployed):
    deployed.store = Broken()


def experiments_may_not_be_read(deployed):
    deployed.fault("status", "GetHpoExperiment", status=403, code="NoPermission")


def experiments_cannot_be_read(deployed):
    deployed.fault("status", "GetHpoExperiment", status=500, code="InternalError")


def nothing_is_created(deployed):
    deployed.fault("status", status=400, code="Throttling.User")


def nothing_is_published(deployed):
    deployed.fault("status", "PublishMessage", "smq", status=500, code="InternalError")


def nothing_can_be_sent_back(deployed):
    nothing_is_created(deployed)
    deployed.fault("status", "SendMessage", "smq", status=500, code="InternalError")


LASTING = [
    (store_is_down, "hpoq-store-failing", 900),
    (store_is_down, "hpoq-stuck", 7200),
    (experiments_may_not_be_read, "hpoq-operator-needed", 900),
    (experiments_cannot_be_read, "hpoq-stuck", 7200),
    (nothing_is_created, "hpoq-stuck", 4200),
    (nothing_is_published, "hpoq-publish-failing", 1200),
    (nothing_can_be_sent_back, "hpoq-requeue-failing", 1800),
    (nothing_can_be_sent_back, "hpoq-stuck", 7200),
]


@pytest.mark.one_of("fault", "name", "within", budget=CI_BUDGET)
@pytest.mark.parametrize(("fault", "name", "within"), LASTING)
def test_an_alert_lasts_as_long_as_its_fault_even_for_one_message(deployed, fault, name, within):
    """One message comes back once an hour in the end; between two deliveries no alert may seem to be resolved."""
    (alert,) = (one for one in ALERTS if one["name"] == name)
    quiet = Quiet(deployed.cloud, deployed.clock)
    fault(quiet)
    quiet.begin()
    quiet.go_on(within)
    for _ in range(12 * 4):
        quiet.go_on(300)
        assert is_raised(quiet, alert), quiet.clock.now()


@pytest.mark.one_of("fault", "name", budget=CI_BUDGET)
@pytest.mark.parametrize(("fault", "name"), [(fault, name) for fault, name, _ in LASTING])
def test_an_alert_ends_with_its_fault(deployed, fault, name):
    """Messages that came back for hours and have ended keep no alert raised but that of the lines for an operator."""
    (alert,) = (one for one in ALERTS if one["name"] == name)
    quiet = Quiet(deployed.cloud, deployed.clock)
    fault(quiet)
    quiet.begin()
    quiet.go_on(4 * 3600)
    began = quiet.clock.now()
    quiet.cloud.faults.clear()
    quiet.store.is_down = False
    for _ in range(36):
        quiet.go_on(300)
        if not is_raised(quiet, alert):
            break
    assert not is_raised(quiet, alert)
    ended = [
        row["__time__"] for row in quiet.rows() if row["event"] in ("message.created", "message.finished")
    ]
    seconds = 4200 if name == "hpoq-operator-needed" else 0
    assert quiet.clock.now() - min(time for time in ended if time > began) <= seconds + 900


@pytest.mark.one_of("seconds_between", budget=CI_BUDGET)
@pytest.mark.parametrize("seconds_between", [300, 1200, 3000])
def test_nothing_is_created_for_an_hour(deployed, seconds_between):
    """It does not matter how few requests come, nor that others had an experiment just before the fault."""
    (alert,) = (one for one in ALERTS if one["name"] == "hpoq-stuck")
    quiet = Quiet(deployed.cloud, deployed.clock)
    quiet.begin()
    for _ in range(4):
        quiet.go_on(3000)
        quiet.cloud.queues.get(QUEUE).send(REQUEST)
    quiet.go_on(300)
    nothing_is_created(quiet)
    began = quiet.clock.now()
    while not is_raised(quiet, alert):
        quiet.cloud.queues.get(QUEUE).send(REQUEST)
        quiet.go_on(seconds_between)
        assert quiet.clock.now() - began < 7200 + seconds_between
    assert quiet.clock.now() - began >= 3600


@pytest.mark.one_of("name", "pause", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("name", "pause"), [("hpoq-stuck", 7200), ("hpoq-stuck", 4800), ("hpoq-store-failing", 1800)]
)
def test_calls_that_fail_now_and_then_are_no_lasting_fault(deployed, name, pause):
    """At night no request comes, and a watch message has to come back now and then."""
    (alert,) = (one for one in ALERTS if one["name"] == name)
    quiet = Quiet(deployed.cloud, deployed.clock)
    quiet.store = Unsteady()
    began = quiet.clock.now()
    quiet.begin()
    quiet.go_on(30)
    (experiment,) = quiet.cloud.experiments
    experiment.fail("RUNNING")
    for failures in range(1, 5):
        quiet.store.is_down = True
        while sum(row["event"] == "store.failed" for row in quiet.rows()) < failures:
            quiet.go_on(30)
            assert quiet.clock.now() < began + 86_400
        quiet.store.is_down = False
        for _ in range(0, pause, 300):
            assert not is_raised(quiet, alert)
            quiet.go_on(300)


def test_a_message_that_is_throttled_for_a_while_needs_nobody(deployed):
    """Once the message has its experiment, nothing is stuck any more, and it never was for an hour."""
    (alert,) = (one for one in ALERTS if one["name"] == "hpoq-stuck")
    quiet = Quiet(deployed.cloud, deployed.clock)
    nothing_is_created(quiet)
    quiet.begin()
    for minute in range(0, 120, 5):
        if minute == 40:
            quiet.cloud.faults.clear()
        quiet.go_on(300)
        assert not is_raised(quiet, alert)
    assert quiet.cloud.experiments
