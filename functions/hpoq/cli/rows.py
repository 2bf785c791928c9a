"""The end of one message, as a report's row or an event tells it, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from fcruntime.jsonvalue import JsonObject

_STYLES = {
    "created": "green",
    "duplicate": "cyan",
    "rejected": "yellow",
    "retry": "magenta",
    "failed": "red",
}
_SHOWN = 5
_INDENT = " " * 13


def lines_of(row: JsonObject) -> Iterator[Text]:
    """A row's outcome, message, key and experiment, and below it why there is none."""
    outcome, error = str(row["outcome"]), row["error"]
    message, key = str(row["messageId"] or "(no message id)"), str(row["key"])[:8]
    ending = str(row["experimentId"] or (error["code"] if isinstance(error, dict) else ""))
    yield Text.assemble("  ", (f"{outcome:9}", _STYLES[outcome]), f"  {message}  {key}  {ending}")
    if not isinstance(error, dict):
        return
    violations = error.get("violations")
    found = [v for v in violations if isinstance(v, dict)] if isinstance(violations, list) else []
    for violation in found[:_SHOWN]:
        where = str(violation["pointer"]) or "the document"
        yield Text(f"{_INDENT}{where}: {violation['message']} [{violation['rule']}]")
    if len(found) > _SHOWN:
        yield Text(f"{_INDENT}and {len(found) - _SHOWN} more")
    if not found:
        yield Text(f"{_INDENT}{error['message']}")
