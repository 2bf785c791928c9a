"""A line of a source text with a caret under what is meant, as compilers show it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.cells import cell_len

from hpoq.observability.redaction import is_secret_name

_WIDEST = 100
_BEFORE = 40
_ELLIPSIS = "…"
_MEMBER = re.compile(
    r"""(?<![\w-])(["']?)([\w-]{1,64})\1\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*"?|'[^']*'?|[^\s,{}\[\]"'][^\n,{}\[\]]*)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Place:
    """A place in a text: line and column, counted from 1, and what stands there as offsets."""

    line: int
    column: int
    start: int
    end: int


def place_of(text: str, start: int, end: int) -> Place:
    """The place of `text[start:end]`, as far as it goes on its first line."""
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", start)
    return Place(
        text.count("\n", 0, start) + 1, start - begin + 1, start, min(end, stop if stop >= 0 else len(text))
    )


def excerpt(text: str, place: Place, *, number: int) -> list[str]:
    """The line of `place` and its caret, cut to what is around it. `text` is to be `masked`, `number` its line's."""
    begin = place.start - place.column + 1
    stop = text.find("\n", begin)
    line = text[begin : stop if stop >= 0 else len(text)].rstrip("\r")
    first, last = place.column - 1, max(place.end - begin, place.column)
    cut = max(0, first - _BEFORE) if len(line) > _WIDEST else 0
    shown = line[cut : cut + _WIDEST]
    head = _ELLIPSIS if cut else ""
    tail = _ELLIPSIS if cut + _WIDEST < len(line) else ""
    indent = cell_len(head + _plain(line[cut:first]))
    width = max(1, cell_len(_plain(line[first : min(last, cut + _WIDEST)])))
    gutter = " " * len(str(number))
    return [f"{number} | {head}{_plain(shown)}{tail}", f"{gutter} | {' ' * indent}{'^' * width}"]


def _plain(text: str) -> str:
    """What a terminal shows in the width that it counts: no tab, no control character."""
    return "".join(" " if char == "\t" else char if char.isprintable() else "?" for char in text)


def masked(text: str) -> str:
    """`text` with asterisks, one a character, for the values of members whose name says that they are secret."""
    return _MEMBER.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    value = found[3]
    if not is_secret_member(found[2]):
        return found[0]
    quote = value[0] if value[0] in "\"'" else ""
    closed = quote if len(value) > 1 and value.endswith(quote) else ""
    head = found[0][: found.start(3) - found.start()]
    return f"{head}{quote}{'*' * (len(value) - len(quote) - len(closed))}{closed}"


def is_secret_member(name: str) -> bool:
    """Whether a member of this name holds a credential; the one URL of the contract carries a token."""
    return is_secret_name(name) or name == "url"
