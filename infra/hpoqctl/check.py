"""`hpoq check`: validate requests before they are sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from fcruntime.jsonvalue import JsonValue
from hpoq.contract.request import ParsedRequest
from hpoqctl.checking import Checked, KeyCheck, check_document, format_result
from hpoqctl.files import Document, read_requests
from hpoqctl.numbers import WholeNumber
from hpoqctl.output import console, count_of, format_workflow_command, json_option, notes, print_json

if TYPE_CHECKING:
    from hpoqctl.spaceview import Preview


@dataclass
class _Counts:
    files: int = 0
    invalid: int = 0
    warnings: int = 0
    rows: list[JsonValue] = field(default_factory=list)

    def add(self, checked: Checked) -> None:
        self.files += 1
        self.invalid += not checked.valid
        self.warnings += len(checked.warnings)

    def __str__(self) -> str:
        valid = self.files - self.invalid
        return (
            f"{count_of(self.files, 'request')}: {valid} valid, {self.invalid} invalid, "
            f"{count_of(self.warnings, 'warning')}"
        )


@click.command(name="check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--sample",
    "draws",
    type=WholeNumber(1),
    metavar="N",
    help="Show what the request will do: its trials, its search space, and N draws with their commands.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The seed for --sample.")
@click.option("--quiet", "-q", is_flag=True, help="Do not list valid files.")
@click.option("--strict", is_flag=True, help="Exit with 1 also if there are warnings.")
@click.option("--github", is_flag=True, help="Print annotations for GitHub Actions.")
@json_option
def command(
    paths: Sequence[str], draws: int | None, seed: int, quiet: bool, strict: bool, github: bool, as_json: bool
) -> None:
    """Validate request messages and show where each violation is.

    A FILE contains one request in JSON, one request per line in JSON Lines (.jsonl, .ndjson), or one or more requests
    in YAML (.yaml, .yml). It can also be a folder, in which files with these names and .json are read and
    JSON Schemas are skipped, or - for standard input.

    The key is shown for requests that have an idempotencyKey or are in a CloudEvent. Otherwise it derives from the
    message's id, which is not known before the request is sent.

    If two different requests have the same key, the second one is invalid. `hpoq explain RULE` explains a rule, with
    a wrong and a right example.

    Exit code 1 means that a request is invalid. Warnings only count with --strict.
    """
    if github and as_json:
        raise click.UsageError("--github and --json cannot be combined. Give one of them.")
    counts, keys = _Counts(), KeyCheck()
    # A progress bar would mix with the results if both go to the terminal.
    is_silent = not notes().is_terminal or (sys.stdout.isatty() and not (as_json or quiet))
    for document in _track(read_requests(paths), silent=is_silent):
        checked = keys.add(check_document(document))
        preview = _preview(checked.parsed, draws, seed) if draws and checked.parsed else None
        counts.add(checked)
        if as_json:
            row = checked.as_row()
            counts.rows.append({**row, **preview.as_row()} if preview else row)
        elif github:
            _print_annotations(checked)
        elif not (quiet and checked.valid and not (strict and checked.warnings)):
            _print_result(checked, preview)
    if as_json:
        print_json({"files": counts.rows})
    elif not github:
        console().print(str(counts))
    raise SystemExit(1 if counts.invalid or (strict and counts.warnings) else 0)


def _preview(parsed: ParsedRequest, draws: int, seed: int) -> Preview | None:
    from hpoqctl.spaceview import preview_request  # a check without --sample need not wait for this import

    return preview_request(parsed, draws, seed)


def _track(documents: Iterable[Document], *, silent: bool) -> Iterable[Document]:
    """Yield `documents`, with a progress bar on standard error unless `silent`."""
    if silent:
        return documents
    from rich.progress import track  # this import takes a third of the time of a small check

    return track(documents, "Checking", console=notes(), transient=True)


def _print_annotations(checked: Checked) -> None:
    for level, remarks in (("error", checked.violations), ("warning", checked.warnings)):
        for remark in remarks:
            violation = remark.violation
            message = f"{violation.pointer}: {violation.message}" if violation.pointer else violation.message
            position = {"line": remark.line, "col": remark.place.column if remark.place else None}
            place = {name: str(number) for name, number in position.items() if number is not None}
            path = checked.document.path or checked.document.place
            click.echo(format_workflow_command(level, message, file=path, **place, title=violation.rule))


def _print_result(checked: Checked, preview: Preview | None) -> None:
    for line in format_result(checked):
        console().print(line)
    for line in preview.lines() if preview else ():
        console().print(line)
