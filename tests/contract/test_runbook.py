"""The runbook has a row for everything that an operator can meet, and no row for anything else."""

import json
import re
from pathlib import Path

from deploymentfiles import template
from test_readme import format_default

import hpoq
from hpoq import errors
from hpoq.cloud.answers import documented_codes
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, STEPS
from hpoq.processing.ledger import ClaimLost
from hpoq.processing.outcome import Outcome
from hpoqctl.recordview import ADVICE

ROOT = Path(__file__).parents[2]
SLS = ROOT / "infra/serverless/sls"
FOLDER = Path(hpoq.__file__).parent
RUNBOOK = (FOLDER / "RUNBOOK.md").read_text()
SOURCES = {
    path: path.read_text() for path in FOLDER.rglob("*.py") if path.relative_to(FOLDER).parts[0] != "testing"
}
MEANS = {
    "Throttled": "Too many requests; the call is repeated, then the message is retried.",
    "Denied": "Credentials, permission, quota, a clock or an unusable endpoint: `hpoq doctor`.",
    "Invalid": "The request can never succeed; it is rejected.",
    "Conflict": "A resource is in another state than expected.",
    "NotFound": "A resource does not exist: `hpoq doctor`.",
    "UnknownEnd": "The service may have acted; the experiment is searched for before anything is repeated.",
}


def section(heading):
    return re.split(r"\n##+ ", RUNBOOK.partition(f"# {heading}\n")[2])[0]


def rows(text):
    """Return the names in the first column of every table."""
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]


def codes_table():
    """Return the services' codes by class, as the code has them."""
    lines = ["| class | codes | |", "|---|---|---|"]
    for kind, means in MEANS.items():
        codes = [f"`{code}`" for code, one in documented_codes().items() if one.__name__ == kind]
        lines.append(f"| `{kind}` | {', '.join(codes)} | {means} |")
    return "\n".join(lines)


def logged_events():
    """Return the `event` of every line that the function logs."""
    call = r'\b(?:get_logger\(\)|log)\.\w+\(\s*"([a-z.-]+)"'
    logged = {event for text in SOURCES.values() for event in re.findall(call, text)}
    return logged | {f"message.{outcome.value}" for outcome in Outcome}


def test_alerts():
    """The runbook explains every alert, in the order of alerts.json."""
    alerts = json.loads((SLS / "alerts.json").read_text())
    assert rows(section("Alerts")) == [alert["name"] for alert in alerts]


def test_alarms():
    """The runbook explains every alarm of CloudMonitor, in the order of alarms.yaml."""
    assert rows(section("Alarms")) == [
        one["Properties"]["RuleName"] for one in template("alarms.yaml").values()
    ]


def test_outcomes():
    """The runbook explains every outcome of a message."""
    assert rows(section("Outcomes")) == [outcome.value for outcome in Outcome]


def test_error_codes():
    """The runbook explains every error code that hpoq itself gives."""
    own = {code for text in SOURCES.values() for code in re.findall(r'code="(\w+)"', text)}
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, (errors.CallError, errors.StoreError))
        and not kind.__subclasses__()
    }
    expected = own | kinds | {ClaimLost.__name__, "UnknownEnd"}
    listed = rows(section("Error codes").partition("<!-- codes -->")[0])
    assert sorted(listed) == sorted(expected)


def test_status_advises_on_every_error_code():
    """`hpoq status` has an advice for each code of the function that the runbook explains, and for no other."""
    listed = rows(section("Error codes").partition("<!-- codes -->")[0])
    assert sorted(ADVICE) == sorted(listed)


def test_codes_of_the_services():
    text = RUNBOOK.partition("<!-- codes -->\n")[2].partition("\n<!-- /codes -->")[0]
    assert text == codes_table()


def test_log_lines():
    """Every event that the function logs has a row; those of the outcomes are named after them."""
    assert sorted(rows(section("Log lines"))) == sorted(logged_events())


def test_alerts_watch_events_that_are_logged():
    """An alert whose query names an event that the function does not log could never be raised."""
    watched = set(re.findall(r"message\.event: ([\w.-]+)", (SLS / "alerts.json").read_text()))
    assert watched <= logged_events()


def test_settings():
    """The table of settings names settings that exist, with their defaults."""
    listed = dict(re.findall(r"^\| `HPOQ_(\w+)` \| (.*?) \|", section("Settings"), re.MULTILINE))
    assert listed == {name: format_default(name.lower()) for name in listed}
    assert len(listed) > 5


def test_numbers():
    """The runbook explains every member of the log line `invocation`."""
    fields = rows(section("The line `invocation`"))
    assert fields == ["succeeded", "cold_start", "duration_ms", "messages", *COUNTERS, "steps", *STEPS]
    assert f"`le_{BOUNDS_MS[0]}`" in RUNBOOK
    assert all(f"{bound:,}" in RUNBOOK for bound in BOUNDS_MS)


def test_commands_exist(capsys):
    """Each command that the runbook names exists."""
    from hpoqctl.app import app

    named = set(re.findall(r"`?hpoq (\w+)", RUNBOOK))
    assert named <= set(app.list_commands(None)) | {"itself"}
    assert {"doctor", "status", "redrive", "check"} <= named
