"""What all commands print alike."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
from rich.console import Console

from fcruntime.jsonvalue import JsonValue

STYLES = {
    "created": "green",
    "duplicate": "cyan",
    "rejected": "yellow",
    "retry": "magenta",
    "failed": "red",
}


def print_json(document: Mapping[str, JsonValue]) -> None:
    """One JSON object on standard output, on one line."""
    click.echo(json.dumps(document, ensure_ascii=False))


def console() -> Console:
    """Standard output for people; long lines are the terminal's to wrap, and whole in a pipe."""
    return Console(highlight=False, soft_wrap=True)


def notes() -> Console:
    """Standard error, for progress and hints."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
