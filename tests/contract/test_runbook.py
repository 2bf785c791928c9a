"""The runbook has a row for whatever an operator may meet, and none for what is not."""

import json
import re
from pathlib import Path

import pytest

import hpoq
from hpoq import errors
from hpoq.cloud.classify import documented_codes
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, STEPS
from hpoq.processing.ledger import ClaimLost
from hpoq.processing.outcome import Outcome

ROOT = Path(__file__).parents[2]
FOLDER = Path(hpoq.__file__).parent
RUNBOOK = (FOLDER / "RUNBOOK.md").read_text()
SOURCES = {
    path: path.read_text()
    for path in FOLDER.rglob("*.py")
    if path.relative_to(FOLDER).parts[0] not in ("cli", "testing", "packaging")
}
MEANS = {
    "Throttled": "The service asks to come back later; it is repeated, then retried.",
    "Denied": "Credentials, permission, quota, or an endpoint that is none: `hpoq doctor`.",
    "Invalid": "The request can never succeed; it is rejected.",
    "Conflict": "Something is in another state than supposed.",
    "NotFound": "Something is not there: `hpoq doctor`.",
    "UnknownEnd": "The service may have acted; it is looked up before anything is repeated.",
}


def section(heading):
    return re.split(r"\n##+ ", RUNBOOK.partition(f"# {heading}\n")[2])[0]


def rows(text):
    """The names in the first column of every table."""
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]


def codes_table():
    """The services' codes by class, as the code has them."""
    lines = ["| class | codes | |", "|---|---|---|"]
    for kind, means in MEANS.items():
        codes = [f"`{code}`" for code, one in documented_codes().items() if one.__name__ == kind]
        lines.append(f"| `{kind}` | {', '.join(codes)} | {means} |")
    return "\n".join(lines)


def test_alerts():
    alerts = json.loads((ROOT / "infra/serverless/sls/alerts.json").read_text())
    assert rows(section("Alerts")) == [alert["name"] for alert in alerts]


def test_outcomes():
    assert rows(section("Outcomes")) == [outcome.value for outcome in Outcome]


def test_error_codes():
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


def test_codes_of_the_services():
    text = RUNBOOK.partition("<!-- codes -->\n")[2].partition("\n<!-- /codes -->")[0]
    assert text == codes_table()


def test_log_lines():
    """Found where they are written; those of outcomes are made of their names."""
    logged = {
        event
        for text in SOURCES.values()
        for event in re.findall(r'get_logger\(\)\.\w+\(\s*"([a-z.]+)"', text)
    }
    logged |= {f"message.{outcome.value}" for outcome in Outcome}
    assert sorted(rows(section("Log lines"))) == sorted(logged)


def test_numbers():
    told = rows(section("The line `invocation`"))
    assert told == [
        "succeeded",
        "cold_start",
        "duration_ms",
        "messages",
        *COUNTERS,
        "steps",
        *STEPS,
    ]
    assert f"`le_{BOUNDS_MS[0]}`" in RUNBOOK
    assert all(f"{bound:,}" in RUNBOOK for bound in BOUNDS_MS)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", RUNBOOK))))
def test_links_lead_somewhere(target):
    assert (FOLDER / target).exists()


def test_commands_exist(capsys):
    from hpoq.cli.app import app

    named = set(re.findall(r"`?hpoq (\w+)", RUNBOOK))
    assert named <= set(app.list_commands(None)) | {"itself"}
    assert {"doctor", "status", "redrive", "check"} <= named
