"""Where the members of a JSON or YAML text stand, and the excerpts of that text that a command shows.

A `Source` is the text of one document. It turns the JSON pointers of violations into places:

    pointer ──find_json_spans, find_yaml_span──▶ Span (offsets) ──find_place──▶ Place (line, column) ──▶ excerpt

An excerpt is one line with a caret under the place, as compilers show it, and with every credential masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.cells import cell_len

from fcruntime.triggers.body import decode_base64, looks_like_json
from hpoq.contract import jsontext
from hpoq.contract.jsontext import JsonError, tokens_of
from hpoq.errors import Violation
from hpoq.observability.secret_names import find_secrets, is_secret_name, is_value_of_option, secret_spans

if TYPE_CHECKING:
    from yaml.nodes import Node

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_RULES_SHOWN_AT_NAME = (
    "unknown-member",
    "json.duplicate-key",
    "engine-member",
    "metric.direction",
    "metric.pattern",
    "search-space.member",
    "search-space.name",
    "search-space.unused",
    "tuner.argument",
)
_RULES_SHOWN_AT_WORD = ("placeholder.undefined", "placeholder.form")
# With the escapes that JSON may have in it, of which the slash stands for itself and the others for line breaks.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]|\\[/nr]){16,}")
_ESCAPE = re.compile(r"\\(?:[nr]|(?=/))")
_WIDEST = 100
_BEFORE = 40
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Span:
    """The offsets of a value, in characters. `key` holds those of its name if it is a member of an object."""

    start: int
    end: int
    key: tuple[int, int] | None = None


@dataclass(frozen=True)
class Place:
    """A place in a text: line and column, counted from 1, and the offsets of what is marked there."""

    line: int
    column: int
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """A JSON text, or a YAML text if `yaml_root` is set. Its first line is line `first_line` of its file."""

    text: str = field(repr=False)
    first_line: int = 1
    yaml_root: Node | None = field(default=None, repr=False)
    _hidden: set[Span] = field(default_factory=set, init=False, repr=False, compare=False)

    def find_places(self, violations: Sequence[Violation]) -> list[Place | None]:
        """Return the place of each violation, or None for one that no part of the text has caused.

        From then on excerpts show no value of an unknown member, which may be a credential under a misspelt name.
        """
        # Pointers lead nowhere in a text that could not be parsed.
        pointers = {violation.pointer for violation in violations if not _is_about_syntax(violation)}
        spans = self._find_spans(pointers) if pointers else {}
        unknown = {violation.pointer for violation in violations if violation.rule == "unknown-member"}
        self._hidden.update(spans[pointer] for pointer in unknown & spans.keys())
        return [self._find_place(violation, spans) for violation in violations]

    def format_excerpt(self, place: Place) -> list[str]:
        """Return the line of `place`, without credentials, and a line with a caret under the place."""
        return format_excerpt(self._masked, place, number=place.line + self.first_line - 1)

    def _find_spans(self, pointers: set[str]) -> dict[str, Span]:
        """Return the spans of the values at `pointers` and of all objects and arrays around them."""
        if self.yaml_root is None:
            return find_json_spans(self.text, pointers)
        around = {pointer[: m.start()] for pointer in pointers for m in re.finditer("/", pointer)}
        found = {pointer: find_yaml_span(self.yaml_root, pointer) for pointer in pointers | around}
        return {pointer: span for pointer, span in found.items() if span is not None}

    def _find_place(self, violation: Violation, spans: dict[str, Span]) -> Place | None:
        if _is_about_syntax(violation):
            return self._find_syntax_error(violation.message)
        pointer, is_missing = violation.pointer, False
        while pointer and pointer not in spans:
            pointer, is_missing = pointer.rpartition("/")[0], True
        span = spans.get(pointer)
        if span is None:
            return None
        if is_missing:  # the opening bracket of the object that lacks the member
            return find_place(self.text, span.start, span.start + 1)
        if violation.rule in _RULES_SHOWN_AT_NAME and span.key is not None:
            return find_place(self.text, *span.key)
        if violation.rule in _RULES_SHOWN_AT_WORD:  # the message begins with the placeholder
            word = violation.message.partition(" ")[0]
            start = self.text.find(word, span.start, span.end)
            if start >= 0:
                return find_place(self.text, start, start + len(word))
        return find_place(self.text, span.start, span.end)

    def _find_syntax_error(self, message: str) -> Place | None:
        """Return the place of the error in the text that has this `message`, or of the first one if none has."""
        try:
            jsontext.loads(self.text)
        except JsonError as exc:
            error = next((one for one in exc.others if one.message == message), exc)
            if error.offset is not None and error.rule != "json.encoding":
                return find_place(self.text, error.offset, error.offset + 1)
        return None

    @cached_property
    def _masked(self) -> str:
        named = find_yaml_secrets(self.yaml_root) if self.yaml_root else ()
        return _cover_spans(
            mask_secrets(self.text), [(one.start, one.end) for one in (*named, *self._hidden)]
        )


def _is_about_syntax(violation: Violation) -> bool:
    return violation.rule.startswith("json.") and violation.rule != "json.duplicate-key"


@dataclass
class _Wanted:
    """A tree of the pointers to find, so that one pass over the text finds all of them."""

    pointer: str = ""
    below: dict[str, _Wanted] = field(default_factory=dict)


@dataclass
class _Container:
    """An object or array that is being read; `wanted` is None if no pointer leads into it."""

    start: int
    key: tuple[int, int] | None
    wanted: _Wanted | None
    is_object: bool
    name: str = ""
    name_at: tuple[int, int] | None = None
    index: int = 0

    def wanted_member(self) -> _Wanted | None:
        token = self.name if self.is_object else str(self.index)
        return self.wanted.below.get(token) if self.wanted else None


def find_json_spans(text: str, pointers: Iterable[str]) -> dict[str, Span]:
    """Return the spans of the values at `pointers` and of all objects and arrays around them, in one pass.

    `text` is JSON that can be parsed. A pointer that leads nowhere is left out. The last one of equal names counts.
    """
    root, found = _build_tree(pointers), dict[str, Span]()
    stack: list[_Container] = []
    expects_name = False
    for token in _TOKEN.finditer(text):
        mark, top = token[0], stack[-1] if stack else None
        if mark in "{[":
            wanted = top.wanted_member() if top else root
            stack.append(_Container(token.start(), top.name_at if top else None, wanted, mark == "{"))
            expects_name = mark == "{"
        elif mark in "}]":
            closed = stack.pop()
            if closed.wanted:
                found[closed.wanted.pointer] = Span(closed.start, token.end(), closed.key)
            expects_name = False
        elif mark == ",":
            if top is not None:
                top.index += 1
                expects_name = top.is_object
        elif mark == ":":
            expects_name = False
        elif expects_name and top is not None:
            # A name needs decoding only if a pointer may lead to it.
            top.name, top.name_at = json.loads(mark) if top.wanted else "", token.span()
        else:
            wanted = top.wanted_member() if top else root
            if wanted:
                found[wanted.pointer] = Span(*token.span(), top.name_at if top else None)
    return found


def _build_tree(pointers: Iterable[str]) -> _Wanted:
    root = _Wanted()
    for pointer in pointers:
        here, end = root, 0
        for token in tokens_of(pointer):
            end = pointer.find("/", end + 1)
            here = here.below.setdefault(token, _Wanted(pointer[:end] if end >= 0 else pointer))
    return root


def find_yaml_span(root: Node, pointer: str) -> Span | None:
    """Return the span of the value at `pointer`, or None if it leads nowhere."""
    node, key = root, None
    for token in tokens_of(pointer):
        step = _find_yaml_member(node, token)
        if step is None:
            return None
        node, key = step
    start = node.start_mark.index
    return Span(start, max(node.end_mark.index, start), key)


def _find_yaml_member(node: Node, token: str) -> tuple[Node, tuple[int, int] | None] | None:
    from yaml.nodes import MappingNode, SequenceNode  # a check of JSON files need not wait for this import

    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == token:
                return value, (key.start_mark.index, key.end_mark.index)
    elif isinstance(node, SequenceNode) and token.isdecimal() and int(token) < len(node.value):
        return node.value[int(token)], None
    return None


def find_yaml_secrets(root: Node) -> Iterator[Span]:
    """Yield the spans of the values that their member's name, or the option before them, marks as credentials."""
    from yaml.nodes import MappingNode, SequenceNode

    pending: list[Node] = [root]
    seen: set[int] = set()  # an anchor may be used in many places
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += node.value
            for option, item in pairwise(node.value):
                is_option = isinstance(option.value, str) and option.value.startswith("-")
                if is_option and is_value_of_option(option.value, item.value):
                    yield Span(item.start_mark.index, item.end_mark.index)
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                # The one URL of the contract carries an access token.
                if is_secret_name(str(key.value)) or key.value == "url":
                    yield Span(value.start_mark.index, value.end_mark.index)
                else:
                    pending.append(value)


def find_place(text: str, start: int, end: int) -> Place:
    """Return the place of `text[start:end]`, of which only the part on the first line is marked."""
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", start)
    return Place(
        text.count("\n", 0, start) + 1, start - begin + 1, start, min(end, stop if stop >= 0 else len(text))
    )


def format_excerpt(text: str, place: Place, *, number: int) -> list[str]:
    """Return the line of `place`, cut around it and headed by its `number`, and a line with the caret.

    `text` must be masked already.
    """
    begin = place.start - place.column + 1
    stop = text.find("\n", begin)
    line = text[begin : stop if stop >= 0 else len(text)].rstrip("\r")
    first, last = place.column - 1, max(place.end - begin, place.column)
    cut = max(0, first - _BEFORE) if len(line) > _WIDEST else 0
    shown = line[cut : cut + _WIDEST]
    head = _ELLIPSIS if cut else ""
    tail = _ELLIPSIS if cut + _WIDEST < len(line) else ""
    indent = cell_len(head + _printable(line[cut:first]))
    width = max(1, cell_len(_printable(line[first : min(last, cut + _WIDEST)])))
    gutter = " " * len(str(number))
    return [f"{number} | {head}{_printable(shown)}{tail}", f"{gutter} | {' ' * indent}{'^' * width}"]


def _printable(text: str) -> str:
    """Replace tabs and control characters, whose width in a terminal is not known."""
    return "".join(" " if char == "\t" else char if char.isprintable() else "?" for char in text)


@lru_cache(maxsize=1)  # the documents of a YAML file have one text
def mask_secrets(text: str) -> str:
    """Return `text` with an asterisk for each character of what looks like the value of a secret."""
    masked = _cover_spans(text, [*secret_spans(text), *_find_encoded_secrets(text)])
    for secret in sorted(set(find_secrets(text)), key=len, reverse=True):
        masked = masked.replace(secret, _cover(secret))
    return masked


def _find_encoded_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of base64 around JSON that contains a secret: anyone can decode it."""
    for run in _BASE64.finditer(text):
        digits = _ESCAPE.sub("", run[0])
        inner = decode_base64(digits[: len(digits) // 4 * 4].encode()) or b""
        if looks_like_json(inner) or inner.startswith(b'"'):
            decoded = inner.decode(errors="replace")
            if any(secret_spans(decoded)) or any(find_secrets(decoded)):
                yield run.span()


def _cover_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return `text` with asterisks in `spans`, which may overlap."""
    parts, shown_to = list[str](), 0
    for start, end in sorted(spans):
        begin = max(start, shown_to)
        parts += (text[shown_to:begin], _cover(text[begin:end]))
        shown_to = max(end, shown_to)
    return "".join((*parts, text[shown_to:]))


def _cover(text: str) -> str:
    """Return asterisks of the same size; white space stays, so that lines do."""
    return "".join(char if char.isspace() else "*" for char in text)
