"""`hpoq check`: what is wrong with a request, before it is sent."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import click
from rich.progress import track
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cli.excerpt import Place, place_of
from hpoq.cli.files import Document, read_documents
from hpoq.cli.output import console, notes, print_json, workflow_command
from hpoq.contract.keys import PRODUCER, derive_key
from hpoq.contract.request import ParsedRequest, parse_request
from hpoq.contract.search_space import render, sample
from hpoq.errors import RequestRejected, Violation


@dataclass(frozen=True)
class _Remark:
    """A violation or a warning, and its place in the source, if it has one."""

    violation: Violation
    place: Place | None
    line: int | None

    def as_row(self) -> JsonObject:
        row: JsonObject = dict(self.violation.as_dict())
        return row if self.place is None else {**row, "line": self.line, "column": self.place.column}


@dataclass(frozen=True)
class _Checked:
    """One document and what is to be said of it."""

    document: Document
    key: str | None
    violations: Sequence[_Remark]
    warnings: Sequence[_Remark]
    samples: Sequence[JsonObject] = ()

    @property
    def valid(self) -> bool:
        return not self.violations

    def as_row(self) -> JsonObject:
        row: JsonObject = {
            "path": self.document.place,
            "valid": self.valid,
            "key": self.key,
            "violations": [remark.as_row() for remark in self.violations],
            "warnings": [remark.as_row() for remark in self.warnings],
        }
        return {**row, "samples": list(self.samples)} if self.samples else row


@dataclass
class _Counts:
    files: int = 0
    invalid: int = 0
    warnings: int = 0
    rows: list[JsonValue] = field(default_factory=list)

    def add(self, checked: _Checked) -> None:
        self.files += 1
        self.invalid += not checked.valid
        self.warnings += len(checked.warnings)

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        warnings = "1 warning" if self.warnings == 1 else f"{self.warnings} warnings"
        return f"{files}: {self.files - self.invalid} valid, {self.invalid} invalid, {warnings}"


@click.command(name="check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--sample", "draws", type=click.IntRange(1), help="Draw N hyperparameter sets and show their commands."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --sample.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing of files that are valid.")
@click.option("--strict", is_flag=True, help="Exit 1 also where there are warnings.")
@click.option("--github", is_flag=True, help="Print annotations for GitHub's workflows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    paths: Sequence[str],
    draws: int | None,
    seed: int,
    quiet: bool,
    strict: bool,
    github: bool,
    as_json: bool,
) -> None:
    """Validate request messages, and show each violation where it stands.

    A FILE holds one request in JSON or YAML (several in YAML, parted by ---), or one a line in a .jsonl file;
    folders and - for standard input will do too. The key is shown where the request brings its idempotencyKey;
    else it comes from the queue's message id. Exit code 1 means that a request breaks the contract; warnings do
    not count unless --strict says so.
    """
    if github and as_json:
        raise click.UsageError("--github and --json exclude each other")
    counts = _Counts()
    # A bar would mix with what is printed beside it.
    silent = not notes().is_terminal or (sys.stdout.isatty() and not (as_json or quiet))
    for document in track(
        read_documents(paths, yaml=True), "Checking", console=notes(), transient=True, disable=silent
    ):
        checked = _check(document, draws, seed)
        counts.add(checked)
        if as_json:
            counts.rows.append(checked.as_row())
        elif github:
            _annotate(checked)
        elif not (quiet and checked.valid and not (strict and checked.warnings)):
            _show(checked)
    if as_json:
        print_json({"files": counts.rows})
    elif not github:
        console().print(str(counts))
    raise SystemExit(1 if counts.invalid or (strict and counts.warnings) else 0)


def _check(document: Document, draws: int | None, seed: int) -> _Checked:
    if document.problem is not None:
        return _Checked(document, None, [_problem(document)], ())
    try:
        parsed = parse_request(document.data)
    except RequestRejected as exc:
        violations, warnings = _remarks(document, exc.violations, exc.warnings)
        return _Checked(document, None, violations, warnings)
    _, warnings = _remarks(document, (), parsed.warnings)
    return _Checked(document, _key(parsed), (), warnings, _samples(parsed, draws, seed) if draws else ())


def _problem(document: Document) -> _Remark:
    """What kept a YAML text from being read."""
    violation, offset = document.problem or (Violation("", "yaml.syntax", ""), 0)
    if document.source is None:
        return _Remark(violation, None, None)
    place = place_of(document.source.text, offset, offset + 1)
    return _Remark(violation, place, place.line)


def _remarks(
    document: Document, violations: Sequence[Violation], warnings: Sequence[Violation]
) -> tuple[list[_Remark], list[_Remark]]:
    source, both = document.source, [*violations, *warnings]
    places: Sequence[Place | None] = source.places(both) if source else [None] * len(both)
    first = source.first_line if source else 1
    remarks = [
        _Remark(violation, place, place.line + first - 1 if place else None)
        for violation, place in zip(both, places, strict=True)
    ]
    return remarks[: len(violations)], remarks[len(violations) :]


def _key(parsed: ParsedRequest) -> str | None:
    key = parsed.request.idempotency_key
    return derive_key(PRODUCER, key) if key is not None else None


def _samples(parsed: ParsedRequest, draws: int, seed: int) -> list[JsonObject]:
    """Draws from the search space, each with the commands that it would run."""
    configuration = parsed.request.experiment.hpo_experiment_configuration
    if configuration is None:
        return []
    space = configuration.wire().get("search_space")
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    drawn = sample(space if isinstance(space, dict) else {}, rng, draws)
    return [
        {
            "parameters": dict(values),
            "commands": [render(command, values) for command in configuration.platform_config.cmd],
        }
        for values in drawn
    ]


def _annotate(checked: _Checked) -> None:
    for level, remarks in (("error", checked.violations), ("warning", checked.warnings)):
        for remark in remarks:
            violation = remark.violation
            message = f"{violation.pointer}: {violation.message}" if violation.pointer else violation.message
            where = {"line": remark.line, "col": remark.place.column if remark.place else None}
            place = {name: str(number) for name, number in where.items() if number is not None}
            path = checked.document.path or checked.document.place
            click.echo(workflow_command(level, message, file=path, **place, title=violation.rule))


def _show(checked: _Checked) -> None:
    out = console()
    word, style = ("valid", "green") if checked.valid else ("INVALID", "red")
    out.print(Text(f"{checked.document.place}: {word}", style))
    if checked.key:
        out.print(Text(f"  key {checked.key}"))
    for sort, colour, remarks in (
        ("violation", "red", checked.violations),
        ("warning", "yellow", checked.warnings),
    ):
        for remark in remarks:
            for line in _lines(checked.document, remark, sort, colour):
                out.print(line)
    for number, draw in enumerate(checked.samples, 1):
        _show_sample(number, draw)


def _lines(document: Document, remark: _Remark, sort: str, colour: str) -> list[Text]:
    """The place and the rule, the line of the source with its caret, and what is to be said."""
    violation, place = remark.violation, remark.place
    where = violation.pointer or "the document"
    message = Text(f"    {violation.message}")
    if place is None or document.source is None:
        return [Text.assemble("  ", (sort, colour), f" {where} [{violation.rule}]"), message]
    at = f"{document.path}:{remark.line}:{place.column}"
    source, caret = document.source.excerpt(place)
    return [
        Text.assemble("  ", (sort, colour), f" {at} {where} [{violation.rule}]"),
        Text(f"    {source}"),
        Text.assemble("    ", (caret, colour)),
        message,
    ]


def _show_sample(number: int, draw: JsonObject) -> None:
    parameters, commands = draw["parameters"], draw["commands"]
    drawn = parameters if isinstance(parameters, dict) else {}
    width = max(map(len, drawn), default=0)
    console().print(Text(f"  sample {number}"))
    for name, value in drawn.items():
        console().print(Text(f"    {name:{width}}  {json.dumps(value, ensure_ascii=False)}"))
    for command in commands if isinstance(commands, list) else []:
        console().print(Text(f"    $ {command}"))
