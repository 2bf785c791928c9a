"""What the documents of the console show, as JSON: tables, charts, logs, buttons, and bodies without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from alilocal.core.jsonvalue import MASK, JsonObject, JsonValue, mask_secrets, read_json
from alilocal.core.secretnames import is_secret_name
from alilocal.core.view import Badge, Body, Button, Cell, Code, Lines, Link, Moment, Part, Plot, Table

_NAME = re.compile(r"(?<![\w.\-])(?:(--?[A-Za-z][\w.\-]*)(?:\s*[=:]|\s)|([A-Za-z][\w.\-]*)\s*[=:])\s*")
"""An option, a variable or a header in a command, up to its value."""
_VALUE = re.compile(r"""(?:(?:Bearer|Basic)\s+)?(?:\\?"[^"]*"|'[^']*'|[^\s"'\\&]+)""")
_MOST_LINES, _MOST_SHOWN, _MOST_PREVIEWED = 500, 20_000, 60


def show_sections(sections: Iterable[Table | Part]) -> JsonObject:
    return {
        one.table_id if isinstance(one, Table) else one.part_id: (
            _table(one) if isinstance(one, Table) else _part(one)
        )
        for one in sections
    }


def _table(one: Table) -> JsonObject:
    """Return a table; its rows are numbered, the newest one with the largest number."""
    rows: JsonObject = {
        str(one.total - place): [_cell(cell) for cell in row] for place, row in enumerate(one.rows)
    }
    return {"title": one.title, "heads": [*one.heads], "rows": rows, "total": one.total, "empty": one.empty}


def _cell(value: Cell) -> JsonValue:
    """Return a text as it is, and any other cell as an object with one member that names its kind."""
    if isinstance(value, str):
        return value
    if isinstance(value, Code):
        return {"code": [*value.texts]}
    if isinstance(value, Moment):
        return {"time": value.seconds}
    if isinstance(value, Link):
        return {"link": value.text, "path": quote(value.path)}
    if isinstance(value, Badge):
        return {"badge": value.text, **({"bad": True} if value.is_bad else {})}
    if isinstance(value, Body):
        return {"body": show_body(value.body), "id": value.body_id, "summary": value.summary}
    return {"buttons": [show_button(one) for one in value.buttons]}


def show_button(one: Button) -> JsonObject:
    """Return a button: what it says, and the call that it makes."""
    return {**one._asdict(), "path": quote(one.path), "fields": {**one.fields}}


def _part(one: Part) -> JsonObject:
    shown = one.shown
    if isinstance(shown, Lines):
        first = max(0, len(shown.lines) - _MOST_LINES)
        lines = {str(number): line for number, line in enumerate(shown.lines[first:], first)}
        return {"title": one.title, "lines": {**lines}}
    kind = "plot" if isinstance(shown, Plot) else "parallel"
    return {"title": one.title, kind: _convert_tuples(shown)}


def _convert_tuples(value: object) -> JsonValue:
    """Return named tuples as objects, and other sequences as lists."""
    if hasattr(value, "_asdict"):
        return {name: _convert_tuples(one) for name, one in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_convert_tuples(one) for one in value]
    return value if isinstance(value, (int, float)) else str(value)


def show_body(body: str) -> str:
    """Return a body for people: JSON without its secrets. Of any other body only the size is shown."""
    value = read_json(body)
    if value is None:
        return _hide(body)
    text = json.dumps(show_json(value), ensure_ascii=False, indent=2)
    if len(text) <= _MOST_SHOWN:
        return text
    return f"{text[:_MOST_SHOWN]}\n... {len(text) - _MOST_SHOWN} more characters"


def preview(body: str) -> str:
    """Return the beginning of a body, by which people can distinguish messages."""
    value = read_json(body)
    if value is None:
        return _size(body)
    text = json.dumps(show_json(value), ensure_ascii=False)
    return text if len(text) <= _MOST_PREVIEWED else f"{text[:_MOST_PREVIEWED]}..."


def show_json(value: JsonValue) -> JsonValue:
    """Return a copy of `value` without secrets, and without the message of an event if that is not JSON."""
    if isinstance(value, list):
        return [show_json(one) for one in value]
    if not isinstance(value, dict):
        masked = mask_secrets(value)
        return _mask_command(masked) if isinstance(masked, str) else masked
    message = value.get("messageBody")
    if isinstance(message, str) and read_json(message) is None:
        value = {**value, "messageBody": _hide(message)}
    return {
        name: MASK if one is not None and is_secret_name(name) else show_json(one)
        for name, one in value.items()
    }


def _mask_command(text: str) -> str:
    """Return `text` with asterisks for the values of options, variables and headers that have a secret's name."""
    shown, end = "", 0
    for found in _NAME.finditer(text):
        if found.start() < end or not is_secret_name(found[1] or found[2]):
            continue
        if value := _VALUE.match(text, found.end()):
            shown += text[end : found.end()] + MASK
            end = value.end()
    return shown + text[end:]


def _hide(body: str) -> str:
    return f"{_size(body)}, not shown: only JSON can be shown without its secrets"


def _size(body: str) -> str:
    return f"{len(body.encode(errors='replace'))} bytes that are not JSON"
