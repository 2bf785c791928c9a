"""The index, the dashboard and the alerts for Simple Log Service: they read what the function really logs.

Nothing here runs SLS's SQL; SQLite takes these queries as they stand, given SLS's own functions.
"""

import contextlib
import io
import itertools
import json
import os
import re
import sqlite3
import subprocess
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
from support.deployment import CONTEXT, create_resources, make_function
from support.request import REQUEST

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/serverless/sls"
INDEX, DASHBOARD, ALERTS = (
    json.loads((FOLDER / f"{name}.json").read_text()) for name in ("index", "dashboard", "alerts")
)
FIELDS = INDEX["keys"]["message"]["json_keys"]


def flat(value, place=""):
    """The members of a log line as SLS names them."""
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
        self.log, self.ids, self.create_seconds = io.StringIO(), itertools.count(), 0
        logs.configure("INFO", self.log)

    def deliver(self, *bodies, **settings):
        function = make_function(self.cloud, self.store, self.clock, session=self.session(), **settings)
        event = smq_stream_event({f"m-{next(self.ids)}": body for body in bodies})
        with contextlib.suppress(EventFailed):
            function.handle(event, CONTEXT)

    def session(self):
        session = self.cloud.session()
        send = session.send

        def slowly(request, **options):
            if request.method == "POST" and "/hpo/experiment" in request.url:
                self.clock.advance(self.create_seconds)
            return send(request, **options)

        session.send = slowly
        return session

    def fault(self, kind, operation="CreateHpoExperiment", service="paiautoml", **options):
        self.cloud.faults.add(
            kind, service=service, operation=operation, times=None, **{"when": "before"} | options
        )

    def rows(self):
        return [flat(json.loads(line)) for line in self.log.getvalue().splitlines()]

    def ask(self, query):
        """The first row that SLS would answer, or None."""
        searched, _, sql = query.partition(" | ")
        found = [row for row in self.rows() if matches(row, searched)]
        with sqlite3.connect(":memory:") as database:
            functions(database)
            names = [f"message.{name}" for name in FIELDS]
            database.execute("CREATE TABLE log (__time__, " + ", ".join(f'"{name}"' for name in names) + ")")
            blanks = ", ".join("?" * (len(names) + 1))
            database.executemany(
                f"INSERT INTO log VALUES ({blanks})", [(1, *map(row.get, FIELDS)) for row in found]
            )
            database.row_factory = sqlite3.Row
            answer = database.execute(sql).fetchone()
        database.close()
        return dict(answer) if answer else None


def matches(row, searched):
    """Whether a search finds the line: words, or `message.field: value`, joined by `or`."""
    text = json.dumps(row)
    for term in searched.split(" or "):
        name, colon, value = term.partition(": ")
        if row.get(name.removeprefix("message.")) == value if colon else term in text:
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


def functions(database):
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
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
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
    """Whether the alert's condition, in SLS's syntax, holds for a row."""
    (severity,) = alert["configuration"]["severityConfigurations"]
    condition = severity["evalCondition"]["condition"].replace("&&", "and").replace("||", "or")
    assert set(re.findall(r"[a-z]+", condition)) - {"and", "or"} <= set(answer)
    return bool(eval(condition, {"__builtins__": {}}, answer))


class Broken(MemoryStore):
    def insert(self, record):
        raise StoreUnavailable("down")


def store_fails(deployed):
    deployed.store = Broken()
    deployed.deliver(*[REQUEST] * 5)


def requeue_fails(deployed):
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.fault("status", "SendMessage", "smq", status=403, code="AccessDenied")
    for _ in range(5):
        deployed.deliver(REQUEST, HPOQ_BATCH_POLICY="requeue")
        deployed.clock.advance(200)


def is_given_up(deployed):
    """A request is throttled until it is too old."""
    request = json.dumps(json.loads(REQUEST) | {"idempotencyKey": "given-up"})
    deployed.fault("status", status=400, code="Throttling.User")
    deployed.deliver(request, HPOQ_MAX_AGE_HOURS="1")
    deployed.clock.advance(7200)
    deployed.deliver(request, HPOQ_MAX_AGE_HOURS="1")


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
    """FC logs the traceback of an initializer that raises, as text."""
    deployed.log.write(json.dumps({"event": "hpoq.errors.SettingsError: HPOQ_STORE must be set"}) + "\n")


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
    "hpoq-rejecting": lambda deployed: deployed.deliver(*["[]"] * 4),
    "hpoq-store-failing": store_fails,
    "hpoq-publish-failing": publish_fails,
    "hpoq-requeue-failing": requeue_fails,
    "hpoq-slow": slow,
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["name"])
def test_an_alert_is_raised_when_it_should_be_and_only_then(deployed, alert):
    query = alert["configuration"]["queryList"][0]["query"]
    deployed.deliver(*[REQUEST] * 12)
    assert not holds(alert, deployed.ask(query))
    SITUATIONS[alert["name"]](deployed)
    assert holds(alert, deployed.ask(query))


def test_every_alert_is_tried():
    assert [alert["name"] for alert in ALERTS] == list(SITUATIONS)
