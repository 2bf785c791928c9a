"""JSON that means one thing: text in, value out, or an error that names the rule it breaks.

RFC 8259 leaves open what duplicate names, unpaired surrogates and numbers beyond reason mean; parsers differ,
and a message that two parties read differently is worse than one that is refused. Everything here takes time
linear in the size of the text.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from fcruntime.jsonvalue import JsonObject, JsonValue

_LONGEST_NUMBER = 400
_SHOWN = 60
_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class JsonError(ValueError):
    """The text is no JSON, or none that means one thing.

    `rule` names what is wrong: `json.encoding`, `json.syntax`, `json.duplicate-key`, `json.non-finite`,
    `json.number`, `json.depth` or `json.surrogate`. `offset` is where, in characters (for `json.encoding` in
    bytes), None where no single place is at fault. `name` is the member that stands twice, and `pointer`
    (RFC 6901) leads to it.
    """

    def __init__(
        self,
        rule: str,
        message: str,
        offset: int | None = None,
        *,
        name: str | None = None,
        pointer: str = "",
    ) -> None:
        self.rule = rule
        self.message = message
        self.offset = offset
        self.name = name
        self.pointer = pointer
        super().__init__(message)


def loads(data: bytes | str, *, max_depth: int = 64) -> JsonValue:
    """The value of one JSON text, in UTF-8 where it is bytes; a byte order mark is passed over.

    Raises JsonError. Messages quote nothing of the text but the name of a member that stands twice.
    """
    text = data if isinstance(data, str) else _decoded(data)
    text = text.removeprefix("\ufeff")
    _check_depth(text, max_depth)
    ambiguous: list[tuple[JsonObject, str]] = []
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=partial(_object, ambiguous=ambiguous),
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
        if ambiguous:
            raise _duplicate(value, ambiguous)
    except json.JSONDecodeError as exc:
        raise _syntax(text, exc) from None
    except RecursionError:
        raise JsonError("json.depth", "nested deeper than can be read") from None
    if "\\u" in text or not isinstance(data, bytes):
        _check_surrogates(value)
    return value


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise JsonError("json.encoding", f"not UTF-8 at byte {exc.start}", exc.start) from None


def _syntax(text: str, error: json.JSONDecodeError) -> JsonError:
    if not text or text.isspace():
        return JsonError("json.syntax", "not JSON: there is no text in it", 0)
    what = error.msg.removesuffix(" at")
    place = f"line {error.lineno}, column {error.colno}"
    return JsonError("json.syntax", f"not JSON: {what} at {place}", error.pos)


def _check_depth(text: str, most: int) -> None:
    depth, quoted = 0, False
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark in "[{":
            depth += 1
            if depth > most:
                raise JsonError("json.depth", f"nested deeper than {most} levels", token.start())
        elif mark in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, JsonValue]], *, ambiguous: list[tuple[JsonObject, str]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        ambiguous.append((found, names.most_common(1)[0][0]))
    return found


def _duplicate(value: JsonValue, ambiguous: list[tuple[JsonObject, str]]) -> JsonError:
    """Only once the whole is read is it known where an ambiguous object stands.

    One that was itself dropped as a duplicate lay in another that is ambiguous, so there is always a way.
    """
    way = _way(value, {id(item): name for item, name in ambiguous}) or [""]
    pointer = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in way)
    message = f"the member {json.dumps(way[-1][:_SHOWN])} stands twice in one object"
    return JsonError("json.duplicate-key", message, name=way[-1], pointer=pointer)


def _way(value: JsonValue, ambiguous: Mapping[int, str]) -> list[str] | None:
    if id(value) in ambiguous:
        return [ambiguous[id(value)]]
    members: Iterable[tuple[str | int, JsonValue]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for token, member in members:
        rest = _way(member, ambiguous)
        if rest is not None:
            return [str(token), *rest]
    return None


def _constant(text: str) -> JsonValue:
    raise JsonError("json.non-finite", f"{text} is no JSON number")


def _float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise JsonError("json.number", f"a number of {len(text)} characters is too long")
    value = float(text)
    if math.isinf(value):
        raise JsonError("json.non-finite", "a number is too large to be represented")
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
            try:
                item.encode()
            except UnicodeEncodeError:
                raise JsonError(
                    "json.surrogate", "a text holds an unpaired surrogate, which is no Unicode text"
                ) from None
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
