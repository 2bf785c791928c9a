"""What all commands print alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import track

from fcruntime.jsonvalue import JsonValue

_WORTH_A_BAR = 20

_Item = TypeVar("_Item")


def print_json(document: Mapping[str, JsonValue]) -> None:
    """One JSON object on standard output, on one line, in ASCII: any locale can print that."""
    click.echo(json.dumps(document))


def with_progress(items: Sequence[_Item], what: str) -> Iterable[_Item]:
    """`items`, with a progress bar on standard error where they are many and a terminal shows it."""
    out = notes()
    hidden = len(items) < _WORTH_A_BAR or not out.is_terminal
    return track(items, what, console=out, transient=True, disable=hidden)


def console() -> Console:
    """Standard output for people; long lines are the terminal's to wrap, and whole in a pipe."""
    return Console(highlight=False, soft_wrap=True)


def notes() -> Console:
    """Standard error, for progress and hints."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def workflow_command(name: str, message: str, **properties: str) -> str:
    """A workflow command such as GitHub's runner reads from the output.

    Escapes as https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts does.
    """
    listed = ",".join(
        f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
    )
    return f"::{name} {listed}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
