"""`hpoq check`: what is wrong with a request, before it is sent."""

from __future__ import annotations

import random
from collections.abc import Sequence

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cli.files import Document, read_documents
from hpoq.cli.output import console, print_json
from hpoq.contract.keys import PRODUCER, derive_key
from hpoq.contract.request import ParsedRequest, parse_request
from hpoq.contract.search_space import render, sample
from hpoq.errors import RequestRejected, Violation


@click.command(name="check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--sample", "draws", type=click.IntRange(1), help="Draw N hyperparameter sets and show their commands."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --sample.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(paths: Sequence[str], draws: int | None, seed: int, as_json: bool) -> None:
    """Validate request messages, and list each violation by JSON pointer.

    A FILE holds one request, or one a line in a .jsonl file; folders and - for standard input will do too.
    The key is shown where the request brings its idempotencyKey; else it comes from the queue's message id.
    Exit code 1 means that a request breaks the contract; warnings do not count.
    """
    files = [_check(document, draws, seed) for document in read_documents(paths)]
    if as_json:
        print_json({"files": list(files)})
    else:
        for file in files:
            _show(file)
    raise SystemExit(0 if all(file["valid"] for file in files) else 1)


def _check(document: Document, draws: int | None, seed: int) -> dict[str, JsonValue]:
    try:
        parsed = parse_request(document.data)
    except RequestRejected as exc:
        return _row(document.place, None, exc.violations, exc.warnings)
    file = _row(document.place, _key(parsed), (), parsed.warnings)
    if draws:
        file["samples"] = _samples(parsed, draws, seed)
    return file


def _row(
    place: str, key: str | None, violations: Sequence[Violation], warnings: Sequence[Violation]
) -> dict[str, JsonValue]:
    return {
        "path": place,
        "valid": not violations,
        "key": key,
        "violations": [dict(violation.as_dict()) for violation in violations],
        "warnings": [dict(warning.as_dict()) for warning in warnings],
    }


def _key(parsed: ParsedRequest) -> str | None:
    key = parsed.request.idempotency_key
    return derive_key(PRODUCER, key) if key is not None else None


def _samples(parsed: ParsedRequest, draws: int, seed: int) -> list[JsonValue]:
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


def _show(file: dict[str, JsonValue]) -> None:
    out = console()
    out.print(
        Text(
            f"{file['path']}: {'valid' if file['valid'] else 'INVALID'}", "green" if file["valid"] else "red"
        )
    )
    if file["key"]:
        out.print(Text(f"  key {file['key']}"))
    for sort, style in (("violations", "red"), ("warnings", "yellow")):
        for row in _objects(file[sort]):
            where, rule = str(row["pointer"]) or "/", f"[{row['rule']}]"
            out.print(Text.assemble("  ", (sort[:-1], style), f" {where}: {row['message']} {rule}"))
    for number, draw in enumerate(_objects(file.get("samples")), 1):
        out.print(Text(f"  sample {number}: {draw['parameters']}"))
        commands = draw["commands"]
        for command in commands if isinstance(commands, list) else []:
            out.print(Text(f"    {command}"))


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
