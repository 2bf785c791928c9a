"""How all commands print: JSON for programs, text and progress bars for people."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue

_FEWEST_FOR_A_BAR = 20
OUTCOME_STYLES: Mapping[str, str] = {
    "created": "green",
    "duplicate": "cyan",
    "rejected": "yellow",
    "retry": "magenta",
    "failed": "red",
    "accepted": "green",
    "stopping": "yellow",
    "finished": "green",
}
# All but the line feed and the tab.
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "?")
_MOST_VIOLATIONS = 5
_LONGEST = 200
_INDENT = " " * 13
_USUAL_WIDTH = 80

_Item = TypeVar("_Item")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
"""The option of each command that prints its result for machines with `print_json`."""


def print_json(document: Mapping[str, JsonValue]) -> None:
    """Print one JSON object to standard output, on one line and in ASCII, which every locale can print."""
    click.echo(json.dumps(document))


def print_change(
    key: str,
    change: str,
    reason: str | None,
    lines: Iterable[str],
    detail: str = "",
    *,
    as_json: bool,
    **members: JsonValue,
) -> None:
    """Print that a command made `change` to the record of `key`, and what follows, or the `reason` why it did not."""
    if as_json:
        print_json({"key": key, change: reason is None, **members, "reason": reason, "explanation": [*lines]})
        return
    out = console()
    if reason is not None:
        out.print(Text(f"{key}  ").append(f"not {change}", "red").append(f": {reason}"))
        return
    out.print(Text(f"{key}  ").append(change, "green").append(detail))
    for line in lines:
        out.print(Text(f"  {line}"))


def console() -> Console:
    """Return a console for standard output. It does not wrap lines, so a pipe gets them whole."""
    return _make_console(stderr=False)


def notes() -> Console:
    """Return a console for standard error, for progress and hints."""
    return _make_console(stderr=True)


class _Console(Console):
    @property
    def is_terminal(self) -> bool:
        """Whether progress may be drawn: FORCE_COLOR, which many CI systems set, does not make a file a terminal."""
        return super().is_terminal and self.file.isatty()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what is printed, with ? for control characters: a request may hold commands for a terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(segment.text.translate(_CONTROLS), segment.style)


def _make_console(*, stderr: bool) -> Console:
    is_coloured = bool(os.environ.get("FORCE_COLOR"))
    # With a width of 0, which some terminals state, rich prints nothing.
    is_zero = re.fullmatch("0+", os.environ.get("COLUMNS", "")) is not None
    return _Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        color_system="standard" if is_coloured else "auto",
        width=_USUAL_WIDTH if is_zero else None,
    )


def count_of(number: int, noun: str) -> str:
    """Return a number and its noun in the singular or the plural: "1 file", "2 files"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe_os_error(exc: OSError) -> str:
    """Return what the system refused: the use of a file or folder, or to write what has no name, such as output."""
    if exc.filename is None:
        return f"the output cannot be written: {exc.strerror or exc}"
    # A folder is made without an error if it exists.
    reason = "it is not a folder" if isinstance(exc, FileExistsError) else exc.strerror
    return f"{exc.filename} cannot be used: {reason}"


def track_progress(items: Sequence[_Item], label: str) -> Iterable[_Item]:
    """Iterate over `items`, with a progress bar on standard error if there are many and it is a terminal."""
    out = notes()
    if len(items) < _FEWEST_FOR_A_BAR or not out.is_terminal:
        return items
    from rich.progress import track  # only a bar needs this import, which takes long

    return track(items, label, console=out, transient=True)


def format_outcome(row: JsonObject) -> Iterator[Text]:
    """Yield a line with a message's outcome, id, key and experiment, then lines that explain its error if any.

    `row` has the form of a row in the report of an invocation.
    """
    outcome, error = str(row["outcome"]), row["error"]
    message, key = str(row["messageId"] or "(no message id)"), str(row["key"])[:8]
    result = str(row["experimentId"] or (error["code"] if isinstance(error, dict) else ""))
    yield Text.assemble("  ", (f"{outcome:9}", OUTCOME_STYLES[outcome]), f"  {message}  {key}  {result}")
    if not isinstance(error, dict):
        return
    listed = error.get("violations")
    violations = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    for violation in violations[:_MOST_VIOLATIONS]:
        pointer = str(violation["pointer"]) or "the document"
        yield Text(f"{_INDENT}{pointer}: {violation['message']} [{violation['rule']}]")
    if len(violations) > _MOST_VIOLATIONS:
        yield Text(f"{_INDENT}and {len(violations) - _MOST_VIOLATIONS} more")
    if not violations:
        yield Text(f"{_INDENT}{error['message']}")


def format_hyperparameters(values: Mapping[str, JsonValue], *, is_short: bool = False) -> str:
    """Return hyperparameters as `name=value`, without the `${}` around names; shortened for a table if `is_short`."""
    text = "  ".join(
        f"{name.removeprefix('${').removesuffix('}')}={_format_value(value, is_short=is_short)}"
        for name, value in values.items()
    )
    return text if not is_short or len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _format_value(value: JsonValue, *, is_short: bool) -> str:
    return f"{value:.5g}" if is_short and isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def format_workflow_command(name: str, message: str, **properties: str) -> str:
    """Return a workflow command, which GitHub's runner reads from the output of a step.

    It is escaped as https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts does.
    """
    listed = ",".join(
        f"{key}={_escape_data(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
    )
    return f"::{name} {listed}::{_escape_data(message)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
