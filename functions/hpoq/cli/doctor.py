"""`hpoq doctor`: is this environment one that the function can run in?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from hpoq.cli.checks import CHECKS
from hpoq.cli.checkup import Finding, Subject, examine
from hpoq.cli.cloud import remote_environment
from hpoq.cli.output import console, print_json
from hpoq.cli.store import store_url
from hpoq.clock import SystemClock
from hpoq.cloud.credentials import from_environment
from hpoq.errors import SettingsError
from hpoq.settings import Settings

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "dim"}


@click.command(name="doctor")
@click.option(
    "--function-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="The function's time-out, to be held against queue, lease and requests.",
)
@click.option("--endpoint", metavar="URL", help="Examine against a running `hpoq local`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(function_timeout: float | None, endpoint: str | None, as_json: bool) -> None:
    """Examine the environment: settings, credentials, services, permissions, clocks, time-outs.

    Run it with the function's own variables and, best, as its role. It changes nothing; what it cannot try without
    an effect it names. It sees the network of the machine that it runs on. Exit code 1 means a problem.
    """
    environ: Mapping[str, str] = os.environ
    if endpoint is not None:
        environ = {**os.environ, **remote_environment(endpoint, store_url(Settings(), None, endpoint))}
    findings = _examined(environ, function_timeout)
    if as_json:
        rows: list[JsonValue] = [finding.as_json() for finding in findings]
        counts = Counter(finding.verdict for finding in findings)
        print_json(
            {
                "findings": rows,
                "summary": {name: counts[name] for name in ("ok", "warning", "problem", "skipped")},
            }
        )
    else:
        _tell(findings)
    raise SystemExit(1 if any(finding.verdict == "problem" for finding in findings) else 0)


def _examined(environ: Mapping[str, str], function_timeout: float | None) -> list[Finding]:
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as exc:
        return [Finding("settings", "problem", problem, "correct or remove it") for problem in exc.problems]
    given = sum(name.startswith("HPOQ_") for name in environ)
    subject = Subject(
        settings, environ, from_environment(environ), SystemClock(), settings.store, function_timeout
    )
    return [Finding("settings", "ok", f"{given} variables"), *examine(subject, CHECKS)]


def _tell(findings: Sequence[Finding]) -> None:
    out = console()
    for finding in findings:
        line = Text(f"{finding.verdict:8}", _STYLES[finding.verdict]).append(f"{finding.check}: ", "bold")
        out.print(line.append(finding.seen))
        if finding.mend:
            out.print(Text(f"        mend: {finding.mend}", _STYLES[finding.verdict]))
