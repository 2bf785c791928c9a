"""JSON that means one thing: text in, value out, or an error that names the rule it breaks.

RFC 8259 leaves open what duplicate names, unpaired surrogates and numbers beyond reason mean; parsers differ,
and a message that two parties read differently is worse than one that is refused. Everything here takes time
linear in the size of the text.
"""

from __future__ import annotations

import json
import math
import re

from fcruntime.jsonvalue import JsonObject, JsonValue

_LONGEST_NUMBER = 400
_SHOWN = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
# Strings are skipped whole, so that brackets inside them do not count.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class JsonError(ValueError):
    """The text is no JSON, or none that means one thing.

    `rule` names what is wrong: `json.encoding`, `json.syntax`, `json.duplicate-name`, `json.non-finite`,
    `json.number`, `json.depth` or `json.surrogate`. `offset` is where, in characters (for `json.encoding` in
    bytes), None where no single place is at fault. `name` is the member that stands twice.
    """

    def __init__(self, rule: str, message: str, offset: int | None = None, name: str | None = None) -> None:
        self.rule = rule
        self.message = message
        self.offset = offset
        self.name = name
        super().__init__(message)


def loads(data: bytes | str, *, max_depth: int = 64) -> JsonValue:
    """The value of one JSON text, in UTF-8 where it is bytes; a byte order mark is passed over.

    Raises JsonError. Messages quote nothing of the text but the name of a member that stands twice.
    """
    text = data if isinstance(data, str) else _decoded(data)
    text = text.removeprefix("\ufeff")
    _check_depth(text, max_depth)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise JsonError("json.syntax", f"not JSON: {exc.msg} at {place}", exc.pos) from None
    if "\\u" in text or not isinstance(data, bytes):
        _check_surrogates(value)
    return value


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise JsonError("json.encoding", f"not UTF-8 at byte {exc.start}", exc.start) from None


def _check_depth(text: str, most: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth > most:
                raise JsonError("json.depth", f"nested deeper than {most} levels", token.start())
        elif first in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            shown = json.dumps(name[:_SHOWN])
            raise JsonError(
                "json.duplicate-name", f"the member {shown} stands twice in one object", name=name
            )
        seen.add(name)
    return found


def _constant(text: str) -> JsonValue:
    raise JsonError("json.non-finite", f"{text} is no JSON number")


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else math.inf
    if math.isinf(value):
        raise JsonError("json.number", "a number is too large or too long to be represented")
    return value


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise JsonError("json.number", f"a number of {len(text)} digits is too long")
    return int(text)


def _check_surrogates(value: JsonValue) -> None:
    pending: list[JsonValue] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise JsonError(
                    "json.surrogate", "a text holds an unpaired surrogate, which is no Unicode text"
                )
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
