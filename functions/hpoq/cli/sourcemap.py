"""Where in a text of JSON the value at a JSON pointer stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from hpoq.contract.pointer import tokens_of

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True)
class Span:
    """Offsets, in characters, of a value; `key` is its member's name where it is a member of an object."""

    start: int
    end: int
    key: tuple[int, int] | None = None


@dataclass
class _Wanted:
    """Pointers as a tree: what is asked for at this place, and below it."""

    pointers: list[str] = field(default_factory=list)
    below: dict[str, _Wanted] = field(default_factory=dict)


@dataclass
class _Open:
    """A container that is being read; `wanted` is None where nothing in it is asked for."""

    start: int
    key: tuple[int, int] | None
    wanted: _Wanted | None
    is_object: bool
    name: str = ""
    name_at: tuple[int, int] | None = None
    index: int = 0

    def at_value(self) -> _Wanted | None:
        token = self.name if self.is_object else str(self.index)
        return self.wanted.below.get(token) if self.wanted else None


def find_spans(text: str, pointers: Iterable[str]) -> dict[str, Span]:
    """Where each of `pointers` stands in `text`, in one pass over it; those that lead nowhere are left out.

    `text` is JSON that parses. Of members that stand twice, the last one counts.
    """
    wanted, found = _tree(pointers), dict[str, Span]()
    stack: list[_Open] = []
    expects_name = False

    def note(here: _Wanted | None, span: Span) -> None:
        for pointer in here.pointers if here else ():
            found[pointer] = span

    for token in _TOKEN.finditer(text):
        mark, top = token[0], stack[-1] if stack else None
        if mark in "{[":
            here = top.at_value() if top else wanted
            stack.append(_Open(token.start(), top.name_at if top else None, here, mark == "{"))
            expects_name = mark == "{"
        elif mark in "}]":
            closed = stack.pop()
            note(closed.wanted, Span(closed.start, token.end(), closed.key))
            expects_name = False
        elif mark == ",":
            if top is not None:
                top.index += 1
                expects_name = top.is_object
        elif mark == ":":
            expects_name = False
        elif expects_name and top is not None:
            top.name, top.name_at = _name(mark, top), token.span()
        else:
            here = top.at_value() if top else wanted
            note(here, Span(*token.span(), top.name_at if top else None))
    return found


def _name(literal: str, top: _Open) -> str:
    """The name in `literal`, where it matters."""
    return str(json.loads(literal)) if top.wanted else ""


def _tree(pointers: Iterable[str]) -> _Wanted:
    root = _Wanted()
    for pointer in pointers:
        here = root
        for token in tokens_of(pointer):
            here = here.below.setdefault(token, _Wanted())
        here.pointers.append(pointer)
    return root
