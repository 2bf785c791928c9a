"""`hpoq doctor`: examine whether the function can run in this environment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from hpoq.clock import SystemClock
from hpoq.cloud.signing import from_environment
from hpoq.errors import SettingsError
from hpoq.producer.credentials import standard_credentials
from hpoq.settings import Settings
from hpoqctl.doctor.checks import CHECKS
from hpoqctl.doctor.checkup import Finding, Subject, Verdict, examine
from hpoqctl.numbers import Number
from hpoqctl.output import console, count_of, json_option, print_json
from hpoqctl.pipeline import make_environment_at
from hpoqctl.services import is_local_cloud, store_url

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "dim"}


@click.command(name="doctor")
@click.option(
    "--function-timeout",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="The function's time-out, to compare with those of queue, lease and requests.",
)
@click.option("--endpoint", metavar="URL", help="Examine a running `hpoq local`.")
@json_option
def command(function_timeout: float | None, endpoint: str | None, as_json: bool) -> None:
    """Examine the function's environment: settings, credentials, services, permissions, clocks, time-outs.

    Run it with the environment variables of the function and, if possible, with its role. It changes nothing. Checks
    that would have an effect are skipped and listed. The network that it examines is that of this machine.

    Exit code 1 means that a problem was found.
    """
    environ: Mapping[str, str] = os.environ
    if endpoint is not None:
        environ = {**os.environ, **make_environment_at(endpoint, store_url(Settings(), None, endpoint))}
    findings = _examine_environment(environ, function_timeout)
    if as_json:
        rows: list[JsonValue] = [finding.as_json() for finding in findings]
        counts = Counter(finding.verdict for finding in findings)
        print_json(
            {
                "findings": rows,
                "summary": {name: counts[name] for name in get_args(Verdict)},
            }
        )
    else:
        _print_findings(findings)
    raise SystemExit(1 if any(finding.verdict == "problem" for finding in findings) else 0)


def _examine_environment(environ: Mapping[str, str], function_timeout: float | None) -> list[Finding]:
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as exc:
        return [
            Finding("settings", "problem", problem, "correct or remove the variable")
            for problem in exc.problems
        ]
    count = sum(name.startswith("HPOQ_") for name in environ)
    is_local = is_local_cloud(settings.paiautoml_endpoint or "")
    credentials = from_environment(environ) if is_local else standard_credentials(environ)
    subject = Subject(settings, environ, credentials, SystemClock(), settings.store, function_timeout)
    return [Finding("settings", "ok", f"{count_of(count, 'HPOQ_ variable')} set"), *examine(subject, CHECKS)]


def _print_findings(findings: Sequence[Finding]) -> None:
    out = console()
    for finding in findings:
        line = Text(f"{finding.verdict:8}", _STYLES[finding.verdict]).append(f"{finding.check}: ", "bold")
        out.print(line.append(finding.seen))
        if finding.fix:
            out.print(Text(f"        fix: {finding.fix}", _STYLES[finding.verdict]))
