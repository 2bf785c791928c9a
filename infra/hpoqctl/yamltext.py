"""YAML as a notation for JSON: a document has the value that JSON would have, and nothing else is converted.

Plain scalars are `null`, `true`, `false` and the numbers of JSON; all others (`no`, a date, `1_000`) are strings.
`find_notations` warns about those that other YAML readers take as numbers, booleans or null. Anchors are allowed
within limits. The tag `!!str` makes a scalar a string. Other tags, names that are not strings, and repeated names
are errors.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.tokens import Token

from fcruntime.jsonvalue import JsonValue
from hpoq.contract.document import PLAIN_NAME
from hpoq.contract.finding import NUMBER_OF_JSON
from hpoq.contract.jsontext import MOST_BODY_BYTES, pointer_to
from hpoq.errors import Violation

NOWHERE = -1
"""The offset of an error whose place shows what may be a credential."""

_MOST_DEPTH = 64
_YAMLS_OWN = "tag:yaml.org,2002:"
_TEXT, _SEQUENCE, _MAPPING = "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_PLAIN = "tag:hpoq,2026:plain"
"""The tag of a scalar that has neither quotes nor a tag."""
_NUMBER = re.compile(NUMBER_OF_JSON)
# Numbers of YAML 1.2 that YAML 1.1, and with it PyYAML, takes as strings.
_OCTAL = r"[-+]?0o[0-7]+"
# A decimal number in YAML 1.2, and in YAML 1.1 an octal one, or text if it has an 8 or a 9.
_LEADING_ZERO = r"[-+]?0[0-9]+"
_NOT_OCTAL = r".*[89].*"
_BASE_60 = " (in base 60)"
_VERSIONS = " (YAML 1.1 or 1.2)"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+][0-9]+[eE][-+]?[0-9]+"
_LONGEST_NOTATION = 60
_LONGEST_QUOTED = 10_000
_NOT_IN_JSON = "a number that JSON does not have"
# The library's error messages, as patterns, and the messages that replace them.
_WORDING = (
    (r".*'\\t'", r"a tab; write spaces instead"),
    (r"expected the node content, but found '([,\]}])'", r"a value is missing before this \1"),
    (
        r"expected the node content, but found '-'",
        r"an item with - must begin a line; in brackets items have commas between them",
    ),
    (
        r"found unknown escape character",
        r"a backslash in double quotes must begin an escape; use single quotes, or write two backslashes",
    ),
    (r"found character '(.)' that cannot start", r"a value must not begin with \1; put it in quotes"),
    (
        r"mapping values are not allowed",
        r"a colon is not allowed here; check the indentation, or put a value with a colon in quotes",
    ),
    (
        r"expected <block end>, but found '<scalar>'",
        r"this does not fit what is before it; check the indentation, or put all of it in quotes",
    ),
    (r"expected <block end>", r"this line does not fit the lines above; check the indentation"),
    (r"expected ',' or '(.)', but got '<stream end>'", r"the text ends before a closing \1"),
    (r"expected ',' or '(.)', but got", r"a comma or a closing \1 is missing before this"),
    (r"found unexpected end of stream", r"the text ends before the closing quote of a string"),
    (
        r"found undefined alias '(.*)'",
        r"no anchor &\1 is above this; put a value that begins with * in quotes",
    ),
    (r"second occurrence", r"the same anchor as above; anchors must have different names"),
    (
        r"found undefined tag handle",
        r"a tag, which JSON does not have; put a value that begins with ! in quotes",
    ),
    (r"expected '<document start>'", r"another document begins here; write a line --- before it"),
    (r"could not find expected ':'", r"a colon is missing after the name on this line or the one above"),
)
# What looks like the colon or the space of YAML, or like a member.
_LOOKALIKES = (
    ("(?m)^[ -]*[\\w\"']+\uff1a", "a full-width colon in line {}; write an ordinary colon and a space"),
    (
        "(?m)^[ -]*[\u00a0\u2000-\u200b\u3000\ufeff]",
        "a special space or an invisible character in line {}; write an ordinary space",
    ),
    (r"(?m)^[ -]*[A-Za-z_]\w*:(?=[\w\"'])", "a space is missing after the colon in line {}"),
    (r"[{,] *\$\{[^}\n]{0,100}\} *:", "in line {}, a name such as ${{lr}} must be in quotes"),
)
_QUOTED = "[\u2018-\u201f][^\u201c-\u201f]*[\u2018-\u201f]"
QUOTES = "the typographic quotes around it are part of the text; write straight ones"
_WORDS: dict[str, JsonValue] = {"": None, "~": None, "null": None, "true": True, "false": False}


class YamlError(ValueError):
    """The text is not YAML, or JSON cannot express what it says.

    `rule` is the broken rule: `yaml.syntax`, `yaml.tag`, `yaml.key`, `body.too-large`, `json.duplicate-key`,
    `json.depth`, `json.number`, `json.non-finite` or `json.surrogate`. `offset` is the place of the error, in
    characters, or NOWHERE if that place must not be shown. `pointer` (RFC 6901) leads to the value or the member, or
    is empty if the text could not be read so far.
    """

    def __init__(self, rule: str, message: str, offset: int, *, name: str | None = None) -> None:
        self.rule = rule
        self.message = message
        self.offset = offset
        self._tokens: list[str | int] = [] if name is None else [name]
        super().__init__(message)

    @property
    def pointer(self) -> str:
        """The pointer, cut before a name that may be a misplaced credential."""
        return pointer_to(*takewhile(lambda token: re.fullmatch(PLAIN_NAME, str(token)), self._tokens))

    def note_holder(self, token: str | int) -> None:
        """Note that the error is in the member or item `token`, unless it is about the document as a whole."""
        if self.rule not in ("body.too-large", "json.depth"):
            self._tokens.insert(0, token)


class _Loader(yaml.SafeLoader):
    """A loader that leaves every scalar as it is written."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def resolve(self, kind: type[Node], value: object, implicit: object) -> str:  # noqa: ARG002
        """Return the tag of a node that has none: `_PLAIN` for a plain scalar, because `!!str 1` is not `1`."""
        if kind is ScalarNode and implicit == (True, False):
            return _PLAIN
        if kind is ScalarNode:
            return _TEXT
        return _SEQUENCE if kind is SequenceNode else _MAPPING

    def fetch_flow_collection_start(self, TokenClass: type[Token]) -> None:  # noqa: N803 - the library's name
        """Enter a bracket. The library takes quadratic time for deep ones, so they are refused as they are read."""
        if self.flow_level > _MOST_DEPTH:
            raise _depth_error(self.get_mark().index)
        super().fetch_flow_collection_start(TokenClass)


@dataclass(frozen=True)
class YamlDocument:
    """One document of a YAML text: its JSON value, and the node that knows the places of its members."""

    value: JsonValue
    root: Node = field(repr=False)


def load_documents(text: str) -> Iterator[YamlDocument]:
    """Yield the documents of `text` in their order. Raises YamlError."""
    if len(text) > MOST_BODY_BYTES:
        raise YamlError("body.too-large", f"{len(text)} characters; the limit is {MOST_BODY_BYTES}", 0)
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not _is_empty(node):
                yield YamlDocument(_Reader().value(node, 0), node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        if str(exc.problem).startswith("found unexpected end of stream"):
            mark = exc.context_mark  # where the string begins
        at = mark.index if mark else 0
        words = _find_lookalike(text, at) or _explain_syntax(str(exc.problem))
        raise YamlError("yaml.syntax", words, at) from None
    except yaml.reader.ReaderError as exc:
        code = exc.character if isinstance(exc.character, int) else ord(exc.character)
        instead = f"remove it, or write \\u{code:04X} in double quotes"
        words = f"not YAML: the character U+{code:04X} is not allowed; {instead}"
        raise YamlError("yaml.syntax", words, exc.position) from None
    except yaml.YAMLError as exc:
        raise YamlError(
            "yaml.syntax", f"not YAML: {type(exc).__name__}", getattr(exc, "position", 0)
        ) from None
    except RecursionError:
        raise YamlError("json.depth", "nested too deeply to be read", 0) from None


def _is_empty(node: Node) -> bool:
    """Return whether a document has no content, as after a last `---`."""
    return isinstance(node, ScalarNode) and node.style is None and not node.value


def _find_lookalike(text: str, at: int) -> str | None:
    """Return what on the line of an error at `at`, or on the one above it, only looks like YAML, or None."""
    begin = text.rfind("\n", 0, max(0, text.rfind("\n", 0, at))) + 1
    end = text.find("\n", at)
    for pattern, words in _LOOKALIKES:
        if found := re.search(pattern, text[begin : end if end >= 0 else len(text)]):
            return f"not YAML: {words.format(text.count(chr(10), 0, begin + found.end()) + 1)}"
    return None


def _explain_syntax(problem: str) -> str:
    """Return what is wrong with a text that is not YAML, in clearer words than the library's where there are any."""
    for pattern, words in _WORDING:
        found = re.match(pattern, problem)
        if found:
            return f"not YAML: {found.expand(words)}"
    return f"not YAML: {problem}"


def _describe_tag(tag: str) -> str:
    """Return why a tag is an error."""
    name = f"!!{tag.removeprefix(_YAMLS_OWN)}" if tag.startswith(_YAMLS_OWN) else tag
    return f"JSON has no equivalent of the tag {name}; remove it, or put a value that begins with ! in quotes"


def _describe_key(key: Node) -> str:
    """Return why a name that is not a string is an error."""
    if isinstance(key, (MappingNode, SequenceNode)) and key.flow_style:
        bracket = "{" if isinstance(key, MappingNode) else "["
        return f"a value or a name that begins with {bracket} must be in quotes"
    return "a name must be a string; write it in quotes"


def _depth_error(offset: int) -> YamlError:
    return YamlError("json.depth", f"nested deeper than {_MOST_DEPTH} levels", offset)


def _duplicate_error(name: str, key: Node) -> YamlError:
    """Return the error for a repeated name. One that is not a word may be a misplaced credential."""
    if re.fullmatch(PLAIN_NAME, name):
        message = f"the member {json.dumps(name)} occurs more than once in one object"
        return YamlError("json.duplicate-key", message, key.start_mark.index, name=name)
    line = key.start_mark.line + 1
    message = f"a member occurs more than once in one object, at line {line} (its name is not shown)"
    return YamlError("json.duplicate-key", message, NOWHERE)


class _Reader:
    """Builds the value of a node, within the size and depth that a body may have, because aliases repeat nodes."""

    def __init__(self) -> None:
        self._size = 0

    def value(self, node: Node, depth: int) -> JsonValue:
        self._count(node, depth)
        if isinstance(node, ScalarNode):
            return _read_scalar(node)
        if isinstance(node, SequenceNode) and node.tag == _SEQUENCE:
            return [self._held(index, item, depth) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == _MAPPING:
            return dict(self._members(node, depth))
        raise YamlError("yaml.tag", _describe_tag(node.tag), node.start_mark.index)

    def _members(self, node: MappingNode, depth: int) -> Iterator[tuple[str, JsonValue]]:
        seen: set[str] = set()
        for key, value in node.value:
            name = _read_scalar(key) if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                raise YamlError("yaml.key", _describe_key(key), key.start_mark.index)
            if name == "<<" and key.style is None:
                message = "JSON has no merge; write the members out, or use an alias for the whole object"
                raise YamlError("yaml.key", message, key.start_mark.index)
            if name in seen:
                raise _duplicate_error(name, key)
            seen.add(name)
            self._count(key, depth)
            yield name, self._held(name, value, depth)

    def _held(self, token: str | int, node: Node, depth: int) -> JsonValue:
        """Return the value of a member or an item, which is `token` in the object or array that holds it."""
        try:
            return self.value(node, depth + 1)
        except YamlError as exc:
            exc.note_holder(token)
            raise

    def _count(self, node: Node, depth: int) -> None:
        self._size += 2 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self._size > MOST_BODY_BYTES:
            message = f"more than {MOST_BODY_BYTES} characters with its aliases replaced"
            raise YamlError("body.too-large", message, node.start_mark.index)
        if depth > _MOST_DEPTH:
            raise _depth_error(node.start_mark.index)


def find_notations(root: Node) -> Iterator[Violation]:
    """Yield a warning for each plain scalar that is a string here, and in YAML a number, a boolean or null."""
    pending, seen = deque([("", root)]), set[int]()
    while pending:
        pointer, node = pending.popleft()
        if id(node) in seen:  # an anchor may be used in many places
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += [(f"{pointer}/{index}", item) for index, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            pending += [(pointer + pointer_to(key.value), value) for key, value in node.value]
        elif isinstance(node, ScalarNode) and node.tag == _PLAIN and isinstance(_read_scalar(node), str):
            if len(node.value) <= _LONGEST_QUOTED and re.fullmatch(_QUOTED, node.value):
                yield Violation(pointer, "yaml.notation", QUOTES)
            meant = _read_notation(node.value)
            if meant is not None:
                what = f"{node.value} is YAML's notation of {meant}, but is read as a string"
                instead = meant.removesuffix(_VERSIONS)
                if meant == _NOT_IN_JSON:
                    instead = "another number"
                elif meant.endswith(_BASE_60):
                    instead = "the number that is meant"
                yield Violation(pointer, "yaml.notation", f"{what}: write {instead}, or put it in quotes")


def _read_notation(text: str) -> str | None:
    """Return what a plain scalar means in YAML 1.1 or 1.2, in JSON's notation, or None if that is a string."""
    if len(text) > _LONGEST_NOTATION:
        return None
    if re.fullmatch(_OCTAL, text):
        return str(int(text.replace("o", "", 1), 8))
    if re.fullmatch(_FLOAT, text):
        return json.dumps(float(text))
    if re.fullmatch(_LEADING_ZERO, text) and re.fullmatch(_NOT_OCTAL, text):
        return str(int(text))
    if re.fullmatch(_LEADING_ZERO, text) and int(text, 8) != int(text):
        return f"{int(text, 8)} or {int(text)}{_VERSIONS}"
    try:
        meant = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None
    if isinstance(meant, float) and not math.isfinite(meant):
        return _NOT_IN_JSON
    if ":" in text and isinstance(meant, (int, float)):
        return f"{json.dumps(meant)}{_BASE_60}"
    return json.dumps(meant) if meant is None or isinstance(meant, (bool, int, float)) else None


def _join_surrogates(text: str, node: ScalarNode) -> str:
    """Join surrogate pairs: JSON escapes a character beyond U+FFFF as two escapes, which YAML does not join."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        message = "a string contains an unpaired surrogate, which is not valid Unicode"
        raise YamlError("json.surrogate", message, node.start_mark.index) from None


def _read_scalar(node: ScalarNode) -> JsonValue:
    text: str = node.value
    if node.tag == _TEXT:
        return _join_surrogates(text, node)
    if node.tag != _PLAIN:
        raise YamlError("yaml.tag", _describe_tag(node.tag), node.start_mark.index)
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    if len(text) > 400:
        raise YamlError(
            "json.number", f"a number of {len(text)} characters is too long", node.start_mark.index
        )
    value: int | float = json.loads(text)
    if isinstance(value, float) and math.isinf(value):
        raise YamlError("json.non-finite", "a number is too large to be represented", node.start_mark.index)
    return value
