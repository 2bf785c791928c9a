"""Strict JSON: one text in, one value out, or an error that names the broken rule; and JSON pointers into it.

RFC 8259 leaves open what duplicate names, unpaired surrogates and very large numbers mean, and parsers differ. A
message that two parsers read differently is worse than one that is refused, so these are errors here. Everything
takes time linear in the size of the text: messages may be hostile.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, repeat

from fcruntime.jsonvalue import JsonObject, JsonValue

MOST_BODY_BYTES = 1024 * 1024
"""The most bytes that the contract reads of a message body, whichever trigger brings it."""

_LONGEST_NUMBER = 400
# The byte order marks of UTF-16 and UTF-32.
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_SHOWN = 60
_MOST_REPEATED = 100
_MOST_LEVELS = 64
# Python counts more characters as white space than JSON does.
_WHITE_SPACE = " \t\r\n"
_LOOKAHEAD = 1_000
_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN|-?[0-9][0-9eE.+-]*)', re.DOTALL)
# A pair of surrogates, another escape, or a single surrogate, which is the group.
_SURROGATE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\ud800-\udfff])|\\."
)
# How JSON in UTF-16 or UTF-32 begins without a byte order mark.
_WIDE = rb'\0{0,3}[\s{\["]\0'
_TEMPLATE = "a template that was not filled in; fill it in first"
_UNQUOTED = "a text must be in double quotes"
# Common slips of people who are used to another notation, by how they begin.
_SLIPS = (
    (r"//|/\*|#", "JSON has no comments; remove this one"),
    (r"```|~~~", "a fence of Markdown; send only what is inside it"),
    (r"'|`", "a single quote; JSON needs double quotes"),
    (
        "[\u2018-\u201f\u00ab\u00bb\u2032\u2033\u300c-\u300f\u301d-\u301f\uff02\uff07]",
        'a typographic quote; JSON needs straight double quotes (")',
    ),
    # This comes before the words that are values, because such a word needs quotes if it is a name.
    (r"[A-Za-z_$][\w.$-]*\s*[:=]", "a name must be in double quotes"),
    ("[\uff01-\uff5e\u3001\u3002\u3010\u3011]", "a full-width character; write the ordinary (ASCII) one"),
    (
        r"(?i:[-+]?(?:nan|inf|infinity))(?![0-9A-Za-z_])|[-+]?\u221e",
        "JSON has neither NaN nor infinity; write a finite number",
    ),
    (r"None(?![0-9A-Za-z_])", "None; JSON has null"),
    (r"True(?![0-9A-Za-z_])", "True; JSON has true"),
    (r"False(?![0-9A-Za-z_])", "False; JSON has false"),
    (r"(?:undefined|nil)(?![0-9A-Za-z_])", "no value; write null, or leave the member out"),
    (r"(?i:true|false|null)(?![0-9A-Za-z_])", "JSON has true, false and null in lower case only"),
    (r"[-+]?\.[0-9]", "a number must begin with a digit, as in 0.5"),
    (r"\+[0-9]", "a number must not begin with a plus sign"),
    (r"=", "an equals sign; JSON needs a colon"),
    (r";", "a semicolon; JSON needs a comma"),
    (r"<%|\$[{(\w]|%[(A-Za-z]|<[A-Za-z_][\w -]{0,60}>\s*[,}\]]", _TEMPLATE),
    (r"\.\.\.|\u2026", "an ellipsis; write out what it stands for"),
    (r"[()]", "a parenthesis; JSON has [ for a list and { for an object"),
    (r"[A-Za-z_][\w.]{0,60}\(", "a call of a function; write its value"),
    (r"<", "this looks like XML or HTML; send JSON"),
    (r"&(?:quot|apos|amp|#x?[0-9A-Fa-f]{1,4});", "an escape of HTML or XML; undo the escapes first"),
    (r'\\["nrt]', "a backslash outside of a string; the text was escaped once too often"),
    (r"object Object\]", "what JavaScript writes for an object; write what JSON.stringify returns"),
    (
        r"[^\S\t\r\n ]|[\0-\x08\x0e-\x1b\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]",
        "a special space or an invisible character; write an ordinary space",
    ),
    (r'[fruFRU]"', "a letter in front of the quotes; remove it"),
    (r"b['\"]", "the notation of Python's bytes; send the bytes themselves"),
    ("[\u2010-\u2015\u2212]", "a typographic dash or minus; write the ordinary one (-)"),
    (r"(?![0-9])\d", "a digit of another script; write 0 to 9"),
    (r"[^\W\d]|\$", _UNQUOTED),
)
# The slips that also occur after the end of a document.
_SLIPS_AT_END = _SLIPS[:2]
# Slips after a digit.
_NUMBER_SLIPS = (
    (r"[0-9]", "a number must not begin with 0"),
    (r"\.", "a number must have a digit after its decimal point"),
    (r"_", "a number must not contain an underscore"),
    (r"[-/:][0-9]", "a date or a time must be in double quotes"),
    (r"[eE][+-]?(?![0-9A-Za-z])", "an exponent must have a digit"),
    (r"[xXoObB]", "a number must be decimal"),
    (r"[A-Za-z%]", "a unit after a number; write the number alone"),
)
# After a comma, JSON allows no digit in an object, and in an array no number that begins with 0.
_COMMA_IN_NUMBER = r"[0-9](,0?)[0-9]\Z"
_QUOTED = "quotes around the document; remove them"
# How a body begins that was encoded for another purpose, such as a form.
_WRAPPINGS = (
    (r"data:[^,\s]{0,100},", "a data URL; send what follows its comma"),
    (r"'\s*[{\[]", _QUOTED),
    (
        r"(?:ey[AJ]|ew[0ko])[A-Za-z0-9+/_= \t\r\n-]{16}",
        "base64 that is incomplete, or in which characters were changed, such as + to a space",
    ),
    (r"@?[\w.:\\/-]{1,200}\.(?:json|ya?ml)\s*\Z", "the name of a file; send its content as JSON"),
    (r"%(?:7[Bb]|5[Bb]|22)", "the text is percent-encoded; decode it first"),
    (r"(?:[\w.-]+=[^&\s]*&)*[\w.-]+=(?:%7[Bb]|\{|e[yw])", "the fields of a form; send the JSON alone"),
    (r"data: ?\{", "an event of a stream (SSE); send what follows data:"),
)
_NOT_JSON = (
    (r"(?!b['\"])[A-Za-z_-]", "an object begins with {; send JSON (a file with YAML must be named .yaml)"),
)
# How YAML begins, in which an object may be written as in JSON.
_OF_YAML = r"\s*(?:---|#|- |[\w.\"'-]+:(?:\s|\Z))"
_HEXADECIMAL = r"\s*(?:0[xX]|\\x)?7[Bb](?:0[9AaDd]|2[02]|7[Dd])[0-9A-Fa-f]{4}"
# A document as CSV quotes it, alone or after other cells.
_CSV = r'=?(?:[^"{\[\n]{0,200},)?\s*"[{\[]\s*""'
# How a string ends that is a name and the quote in front of its value.
_OPEN_NAME = (': "', ':"')
_TYPOGRAPHIC = "[\u201c-\u201f\u2033\uff02]"
_FRAMED = "bytes in front of the text, such as a length or a schema's id; send the JSON alone"
_CONTROL = "a control character, such as a NUL, after the document; remove it"
_SECOND = "a second document begins here; send each as a message of its own"
_AFTER = "the document has ended before this; remove the rest"
# The character where a comma is expected, and what is wrong in that case.
_NO_COMMA = {
    "]": "a } is missing before this",
    "}": "a ] is missing before this",
    ":": "a colon may only follow the name of a member",
}
_NO_BRACE = "an object begins with {"
# Escapes of other languages: of a quote, which needs none, and of two hexadecimal digits.
_NEEDLESS_ESCAPE = r"\\(?:(['`])|x[0-9A-Fa-f]{2})"
_HEX_ESCAPE = "\\u00 instead of \\x"
# The words of Python's parser, by their beginning.
_WORDING = {
    "Expecting ',' delimiter": "a comma is missing before this",
    "Expecting ':' delimiter": "a colon is missing before this",
    "Expecting property name": "a name in double quotes is missing here",
    "Expecting value": "a value is missing here",
    "Invalid control character": "a control character in a string; close the string, or write an escape",
    "Invalid \\escape": "not an escape of JSON; write two backslashes for one",
    "Invalid \\u": "\\u needs four hexadecimal digits after it; write two backslashes for a backslash",
    "Unterminated string": "the string that begins here is not closed",
}


class JsonError(ValueError):
    """The text is not JSON, or parsers could read it differently.

    `rule` is the broken rule: `json.encoding`, `json.syntax`, `json.duplicate-key`, `json.non-finite`,
    `json.number`, `json.depth` or `json.surrogate`. `offset` is the place of the error in characters (for
    `json.encoding` in bytes), or None if it is not known. `pointer` (RFC 6901) leads to what is wrong in a text that
    can be read otherwise, and is empty for any other. For `json.duplicate-key`, `name` is the repeated name. `others`
    are the errors about further repeated names, or further numbers that are refused, of which a text may have many.
    """

    def __init__(
        self,
        rule: str,
        message: str,
        offset: int | None = None,
        *,
        name: str | None = None,
        pointer: str = "",
        others: Sequence[JsonError] = (),
    ) -> None:
        self.rule = rule
        self.message = message
        self.offset = offset
        self.name = name
        self.pointer = pointer
        self.others = others
        super().__init__(message)


def loads(data: bytes | str) -> JsonValue:
    """Return the value of one JSON text, which is UTF-8 if it is bytes. A byte order mark is ignored.

    Raises JsonError. Its message quotes nothing of the text except a repeated name.
    """
    text = data if isinstance(data, str) else _decode(data)
    text = text.removeprefix("\ufeff")
    _check_depth(text)
    ambiguous: list[tuple[JsonObject, list[str]]] = []
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=partial(_build_object, ambiguous=ambiguous),
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
        if ambiguous:
            raise _duplicate_error(value, ambiguous)
    except json.JSONDecodeError as exc:
        raise _syntax_error(text, exc) from None
    except _RefusedError as exc:
        raise _number_error(text, exc) from None
    if "\\u" in text or not isinstance(data, bytes):
        _check_surrogates(value, text)
    return value


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if is_framed(data):
            raise JsonError("json.syntax", f"not JSON: {_FRAMED}", 0) from None
        raise JsonError("json.encoding", describe_encoding(data, exc.start), exc.start) from None


def is_framed(data: bytes) -> bool:
    """Return whether binary data stands in front of JSON: a length, a schema's id, or a serializer's header."""
    found = re.match(rb'([^{\["]{1,16})[{\[][\s"{}\[\]]', data)
    return found is not None and re.search(rb"[\0-\x08\x0e-\x1f]", found[1]) is not None


def is_wide(data: bytes) -> bool:
    """Return whether bytes are a text of 2 or 4 bytes per character, most likely JSON."""
    return data.startswith(_WIDE_MARKS) or re.match(_WIDE, data) is not None


def describe_encoding(data: bytes, start: int) -> str:
    """Return what is wrong with bytes that are not UTF-8 from the byte `start` on."""
    if is_wide(data):
        return _describe_wide(data[:4])
    line = data.count(b"\n", 0, start) + 1
    return f"not UTF-8 at line {line} (byte {start}); save it as UTF-8"


def _describe_wide(start: bytes) -> str:
    """Return what is wrong with a text of 2 or 4 bytes per character, by its first 4 bytes."""
    encoding = "UTF-32" if b"\0\0" in start else "UTF-16"
    return f"the text is {encoding}; save it as UTF-8"


def _syntax_error(text: str, error: json.JSONDecodeError) -> JsonError:
    if not text or text.isspace():
        return JsonError("json.syntax", "not JSON: the text is empty", 0)
    if is_framed(text.encode(errors="surrogatepass")):
        return JsonError("json.syntax", f"not JSON: {_FRAMED}", 0)
    if re.match(_WIDE, first := text[:8].encode(errors="replace")):
        return JsonError("json.encoding", _describe_wide(first[:4]), 0)
    if re.match(_HEXADECIMAL, text):
        return JsonError("json.syntax", "not JSON: the text is in hexadecimal; send the text itself", 0)
    if re.match(_CSV, text):
        return JsonError("json.syntax", "not JSON: a cell of CSV; send its value, without the quoting", 0)
    if error.msg.startswith("Expecting ':'") and text[: error.pos].rstrip(_WHITE_SPACE).endswith(_OPEN_NAME):
        what = "the name before this is not closed; a quote is missing before its colon"
        return JsonError("json.syntax", f"not JSON{_place(text, error.pos)}: {what}", error.pos)
    slip = _find_typographic_end(text, error)
    if not error.msg.startswith(("Invalid", "Unterminated")):  # not inside of a string
        slip = _find_slip(text, error.pos, is_at_end=error.msg.startswith("Extra data"))
    what, start = slip or (_reword(text, error), error.pos)
    return JsonError("json.syntax", f"not JSON{_place(text, start)}: {what}", start)


def _find_typographic_end(text: str, error: json.JSONDecodeError) -> tuple[str, int] | None:
    """Return the place of a typographic quote that is meant to close the string of `error`, or None."""
    if not error.msg.startswith(("Unterminated", "Invalid control")):
        return None
    begin = text.rfind('"', 0, error.pos + 1)
    end = text.find("\n", begin)
    found = re.search(_TYPOGRAPHIC, text[begin : end if end >= 0 else len(text)])
    if begin < 0 or found is None:
        return None
    return 'a typographic quote closes the string here; write a straight one (")', begin + found.start()


def _find_front(text: str) -> tuple[str, int] | None:
    """Return what to say of text before a JSON object, such as HTTP headers; None for YAML or if none follows."""
    found = re.search(r'\{\s*"', text)
    if found is None or re.match(_OF_YAML, text):
        return None
    place = _place(text, found.start()).removeprefix(" at ")
    return f"text in front of the document, which begins at {place}; send the JSON alone", 0


def _place(text: str, offset: int | None, comma: str = "") -> str:
    """Return the place of `offset` in words, behind a `comma`, or an empty text if it is not known."""
    if offset is None:
        return ""
    begin = text.rfind("\n", 0, offset) + 1
    return f"{comma} at line {text.count(chr(10), 0, offset) + 1}, column {offset - begin + 1}"


def _reword(text: str, error: json.JSONDecodeError) -> str:
    """Return what is wrong in words that say what to do."""
    rest = text[error.pos :].strip(_WHITE_SPACE)
    if error.msg.startswith("Expecting") and not rest:
        return "the text ends here, before the last } or ]"
    if error.msg.startswith("Invalid") and text[error.pos : error.pos + 2].lstrip("\\")[:1] in ("\r", "\n"):
        return "a string must end on its line; close it, or write \\n"
    if error.msg.startswith("Invalid \\esc") and (found := re.match(_NEEDLESS_ESCAPE, text[error.pos :])):
        return f"not an escape of JSON; write {found[1] or _HEX_ESCAPE}"
    if error.msg.startswith("Extra data"):
        if rest[0] < " ":
            return _CONTROL
        if rest[0] == ":" and text.lstrip(_WHITE_SPACE)[0] == '"':
            return _NO_BRACE
        if re.match(r'\s*"[{\[]\s*"', text):
            return _QUOTED
        return f"one {rest[0]} too many" if rest[0] in "]}" else _SECOND if rest[0] in "[{" else _AFTER
    if error.msg.startswith("Expecting ','") and rest[0] in _NO_COMMA:
        return _NO_COMMA[rest[0]]
    if error.msg.startswith("Expecting value") and rest[0] not in ",]}:":
        return "not a value of JSON; a text must be in double quotes"
    known = (words for begin, words in _WORDING.items() if error.msg.startswith(begin))
    return next(known, error.msg.removesuffix(" at"))


def _find_slip(text: str, start: int, *, is_at_end: bool) -> tuple[str, int] | None:
    """Return what was meant at `start`, where JSON ends, and where that begins; or None if it is not recognized."""
    before = len(text[:start].rstrip()) - 1
    last, rest = text[before : before + 1], text[start : start + _LOOKAHEAD]
    if text[start : start + 1] in ("]", "}") and last == ",":
        return "a comma after the last item", before
    if rest[:1] == last == '"' and text[start - 2 : start] == '""':
        return "three quotes in a row; JSON has one on each side of a string", start - 2
    if rest[:1] == last == ",":
        return "one comma too many", start
    if re.match(r"\{[{%]|\{[A-Za-z_]\w{0,60}\}", text[max(0, start - 1) : start + 63]):
        return _TEMPLATE, start - 1
    if re.match(r",\s*[\]}]", rest) and last != ":":
        return "a comma without an item" if last in ("[", "{") else "a comma after the last item", start
    # The parser has read the digits in front of `start` as a number.
    is_in_number = before == start - 1 and last.isdigit()
    if found := re.search(_COMMA_IN_NUMBER, text[max(0, start - 3) : start + 1]):
        what = "a comma in a number; write a decimal point, or nothing between thousands"
        return what, start - len(found[1])
    slips = (*(_NUMBER_SLIPS if is_in_number else ()), *(_SLIPS_AT_END if is_at_end else _SLIPS))
    is_log = text[:1].isdigit() and is_at_end
    if (before < 0 or is_log) and (opening := _explain_opening(text, start, rest)):
        return opening
    slips = (*_NOT_JSON, *slips) if before < 0 else slips
    return next(((what, start) for pattern, what in slips if re.match(pattern, rest)), None)


def _explain_opening(text: str, start: int, rest: str) -> tuple[str, int] | None:
    """Return what a text begins with instead of a document, or None if it is not recognized."""
    known = next((what for pattern, what in _WRAPPINGS if re.match(pattern, rest)), None)
    if known is not None:
        return known, start
    begins_otherwise = re.match(r"(?!b['\"])(?:[0-9A-Za-z_)=-]|[$>] |<<)", text)
    return _find_front(text) if begins_otherwise else None


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= _MOST_LEVELS:
        return  # like most requests, which need not be searched
    depth, quoted = 0, False
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark in "[{":
            depth += 1
            if depth > _MOST_LEVELS:
                what = f"nested deeper than {_MOST_LEVELS} levels{_place(text, token.start(), ',')}"
                raise JsonError("json.depth", what, token.start())
        elif mark in "]}":
            depth -= 1


def _build_object(
    pairs: list[tuple[str, JsonValue]], *, ambiguous: list[tuple[JsonObject, list[str]]]
) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        ambiguous.append((found, [name for name, count in counts.items() if count > 1]))
    return found


def _duplicate_error(value: JsonValue, ambiguous: list[tuple[JsonObject, list[str]]]) -> JsonError:
    """Return the error for the first repeated name in `value`, with the errors for the others.

    The place of an ambiguous object is known only after the whole text was read. An object that was itself dropped as
    a duplicate was a member of another ambiguous object, so a path to one is always found.
    """
    repeated = {id(item): [[name] for name in names] for item, names in ambiguous}
    paths = _find_paths(value, lambda item: repeated.get(id(item), ()))
    first, *others = [
        JsonError(
            "json.duplicate-key",
            f"the member {json.dumps(path[-1][:_SHOWN])} occurs more than once in one object",
            name=path[-1],
            pointer=pointer_to(*path),
        )
        for path in islice(paths, _MOST_REPEATED)
    ]
    first.others = others
    return first


def _find_path(value: JsonValue, matches: Callable[[JsonValue], bool]) -> list[str]:
    """Return the path to the first value that `matches`, or an empty one."""
    return next(_find_paths(value, lambda item: [[]] if matches(item) else ()), [])


def _find_paths(
    value: JsonValue, find_ends: Callable[[JsonValue], Iterable[list[str]]]
) -> Iterator[list[str]]:
    """Yield a path for each end that `find_ends` returns for a value in `value`, in the order of the document."""
    yield from find_ends(value)
    members: Iterable[tuple[str | int, JsonValue]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for token, member in members:
        for rest in _find_paths(member, find_ends):
            yield [str(token), *rest]


class _RefusedError(Exception):
    """The number `text` is refused with `error`. The parser does not say where it is."""

    def __init__(self, text: str, error: JsonError) -> None:
        self.text = text
        self.error = error
        super().__init__()


def loads_leniently(data: bytes) -> JsonValue:
    """Return the value of a JSON text in which `loads` refuses only numbers and repeated members.

    It has null instead of each such number, and the last of the values of a repeated member. Raises ValueError if
    the text is not JSON otherwise.
    """
    return _read(data.decode(), lambda _refusal: None, [])


def _read(
    text: str,
    replace: Callable[[_RefusedError], JsonValue],
    ambiguous: list[tuple[JsonObject, list[str]]],
) -> JsonValue:
    """Return the value of a JSON text, with what `replace` returns instead of each number that is refused.

    Each object with repeated members is added to `ambiguous`, with their names.
    """

    def read(parse: Callable[[str], JsonValue]) -> Callable[[str], JsonValue]:
        def read_or_replace(number: str) -> JsonValue:
            try:
                return parse(number)
            except _RefusedError as exc:
                return replace(exc)

        return read_or_replace

    value: JsonValue = json.loads(
        text,
        object_pairs_hook=partial(_build_object, ambiguous=ambiguous),
        parse_constant=read(_refuse_constant),
        parse_float=read(_parse_float),
        parse_int=read(_parse_int),
    )
    return value


def _number_error(text: str, first: _RefusedError) -> JsonError:
    """Return the error for the first refused number, with those for the others.

    If the text after the first one is not JSON, no other is known, nor a pointer.
    """
    refused: list[tuple[list[JsonValue], _RefusedError]] = []

    def mark(refusal: _RefusedError) -> JsonValue:
        refused.append(([], refusal))
        return refused[-1][0]

    ambiguous: list[tuple[JsonObject, list[str]]] = []
    try:
        value = _read(text, mark, ambiguous)
        marks = {id(mark): [[str(index)]] for index, (mark, _) in enumerate(refused)}
        found = {
            int(index): path for *path, index in _find_paths(value, lambda item: marks.get(id(item), ()))
        }
    except (ValueError, RecursionError):
        refused, found, ambiguous = [([], first)], {}, []
    texts = {refusal.text for _, refusal in refused}
    offsets = (one.start(1) for one in _SCALAR.finditer(text) if one[1] in texts)
    numbers = zip(refused, chain(offsets, repeat(None)), strict=False)
    errors = [
        JsonError(
            refusal.error.rule,
            f"{refusal.error.message}{_place(text, offset, ',')}",
            offset,
            pointer=pointer_to(*found.get(index, ())),
        )
        for index, ((_, refusal), offset) in enumerate(islice(numbers, _MOST_REPEATED))
    ]
    if ambiguous:
        repeated = _duplicate_error(value, ambiguous)
        errors += [repeated, *repeated.others]
    errors[0].others = errors[1:]
    return errors[0]


def _refuse_constant(text: str) -> JsonValue:
    raise _RefusedError(text, JsonError("json.non-finite", f"{text} is not a JSON number"))


def _parse_float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise _too_long(text)
    value = float(text)
    if math.isinf(value):
        raise _RefusedError(text, JsonError("json.non-finite", "a number is too large to be represented"))
    return value


def _parse_int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _too_long(text)
    return int(text)


def _too_long(text: str) -> _RefusedError:
    what = f"a number of {len(text)} characters is too long; the limit is {_LONGEST_NUMBER}"
    return _RefusedError(text, JsonError("json.number", what))


def _check_surrogates(value: JsonValue, text: str) -> None:
    pending: list[JsonValue] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                unpaired = (m.start(1) for m in _SURROGATE.finditer(text) if m[1])
                offset = next(unpaired, None)
                what = f"an unpaired surrogate{_place(text, offset)}, which is not valid Unicode"
                path = _find_path(value, _has_surrogate)
                raise JsonError("json.surrogate", what, offset, pointer=pointer_to(*path)) from None
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.keys()
            pending += item.values()


def _has_surrogate(item: JsonValue) -> bool:
    """Return whether a string, or the name of a member of an object, contains a surrogate, which is unpaired."""
    texts = [item] if isinstance(item, str) else item if isinstance(item, dict) else ()
    return any("\ud800" <= character <= "\udfff" for text in texts for character in text)


def pointer_to(*tokens: str | int) -> str:
    """Return the JSON pointer (RFC 6901) made of `tokens`, which are member names and array indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def tokens_of(pointer: str) -> list[str]:
    """Return the member names and array indexes of a JSON pointer."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
