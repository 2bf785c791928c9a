"""`hpoq contract`: write the public contract as JSON Schemas and an AsyncAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import click
import yaml
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoqctl.files import PathName
from hpoqctl.output import console, json_option, print_json
from hpoqctl.schema.asyncapi import make_asyncapi
from hpoqctl.schema.events import OUTCOMES, make_event_schema
from hpoqctl.schema.reference import make_reference
from hpoqctl.schema.request import make_request_schema

_STYLES = {"written": "green", "current": "green", "outdated": "red", "missing": "red"}


@click.command(name="contract")
@click.option(
    "--output",
    type=PathName(path_type=Path, file_okay=False),
    default=Path("events/contract"),
    show_default=True,
    help="The folder to write to.",
)
@click.option(
    "--examples",
    type=PathName(path_type=Path, file_okay=False, exists=True),
    default=Path("events/requests"),
    show_default=True,
    help="The folder of requests to show as examples.",
)
@click.option("--check", is_flag=True, help="Write nothing. Exit with 1 if a file is missing or outdated.")
@json_option
def command(output: Path, examples: Path, check: bool, as_json: bool) -> None:
    """Write the public contract: JSON Schemas of requests and events, a reference page, an AsyncAPI document.

    With --check, exit code 1 means that a file is missing or outdated.
    """
    requests = {path.stem: _read_example(path) for path in sorted(examples.glob("*.json"))}
    contract = contract_files(requests)
    states = {name: _compare_file(output / name, text) for name, text in contract.items()}
    if not check:
        states = {name: _write_file(output / name, contract[name]) for name in states}
    _print_result(output, states, as_json)
    raise SystemExit(1 if {"outdated", "missing"} & set(states.values()) else 0)


def contract_files(requests: Mapping[str, JsonObject]) -> dict[str, str]:
    """Return the texts of the contract's files by name. `requests` are the examples by name."""
    schemas = {"request": make_request_schema(list(requests.values()))}
    schemas |= {outcome: make_event_schema(outcome) for outcome in OUTCOMES}
    files = {f"{name}.schema.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}
    files["reference.md"] = make_reference(schemas["request"])
    asyncapi = make_asyncapi(version("hpoq"), requests)
    files["asyncapi.yaml"] = yaml.dump(
        asyncapi, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True
    )
    return files


def _read_example(path: Path) -> JsonObject:
    try:
        request = json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise click.BadParameter(f"{path} is not valid JSON: {exc}", param_hint="--examples") from exc
    if not isinstance(request, dict):
        raise click.BadParameter(f"{path} is not a JSON object", param_hint="--examples")
    return request


class _Dumper(yaml.SafeDumper):
    """A dumper that writes no anchors or aliases, and texts of several lines as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _compare_file(path: Path, text: str) -> str:
    if not path.is_file():
        return "missing"
    return "current" if path.read_bytes() == text.encode() else "outdated"


def _write_file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return "written"


def _print_result(output: Path, states: Mapping[str, str], as_json: bool) -> None:
    paths = {str(output / name): state for name, state in states.items()}
    if as_json:
        rows: list[JsonValue] = [{"path": path, "state": state} for path, state in paths.items()]
        print_json({"files": rows})
        return
    for path, state in paths.items():
        console().print(Text.assemble(f"{path}: ", (state, _STYLES[state])))
