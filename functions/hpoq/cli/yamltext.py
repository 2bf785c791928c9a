"""YAML as a way to write JSON: what it says is what JSON would, and nothing is turned into something else.

Plain scalars are `null`, `true`, `false` and JSON's numbers; whatever else stands there (`no`, a date, `1_000`) is
text. Anchors may be used within bounds; tags, names that are not text, and names that stand twice may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fcruntime.jsonvalue import JsonValue
from hpoq.cli.excerpt import is_secret_member
from hpoq.cli.sourcemap import Span
from hpoq.contract.document import MOST_BODY_BYTES
from hpoq.contract.pointer import tokens_of

_MOST_DEPTH = 64
_TEXT, _SEQUENCE, _MAPPING = "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[str, JsonValue] = {"": None, "~": None, "null": None, "true": True, "false": False}


class YamlError(ValueError):
    """A text that is no YAML, or none that means what JSON could say.

    `rule` names what is wrong: `yaml.syntax`, `yaml.tag`, `yaml.key`, `body.too-large`, `json.duplicate-key`,
    `json.depth`, `json.number` or `json.surrogate`; `offset` is where, in characters.
    """

    def __init__(self, rule: str, message: str, offset: int) -> None:
        self.rule = rule
        self.message = message
        self.offset = offset
        super().__init__(message)


class _Loader(yaml.SafeLoader):
    """Leaves every scalar as it is written."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


@dataclass(frozen=True)
class YamlDocument:
    """One document of a YAML text; `value` is what it says."""

    value: JsonValue
    root: Node = field(repr=False)

    def find_span(self, pointer: str) -> Span | None:
        """Where the value at `pointer` stands in the text; None if it leads nowhere."""
        node, key = self.root, None
        for token in tokens_of(pointer):
            step = _step(node, token)
            if step is None:
                return None
            node, key = step
        start = node.start_mark.index
        return Span(start, max(node.end_mark.index, start), key)

    def secret_spans(self) -> Iterator[Span]:
        """Where values of secret members stand."""
        pending: list[Node] = [self.root]
        seen: set[int] = set()
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                pending += node.value
            elif isinstance(node, MappingNode):
                for key, value in node.value:
                    if is_secret_member(str(key.value)):
                        yield Span(value.start_mark.index, value.end_mark.index)
                    else:
                        pending.append(value)


def load_documents(text: str) -> Iterator[YamlDocument]:
    """The documents of `text`, one after the other. Raises YamlError."""
    if len(text) > MOST_BODY_BYTES:
        raise YamlError("body.too-large", f"{len(text)} characters; at most {MOST_BODY_BYTES} are read", 0)
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield YamlDocument(_Reader().value(node, 0), node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise YamlError("yaml.syntax", f"not YAML: {exc.problem}", mark.index if mark else 0) from None
    except yaml.YAMLError as exc:
        raise YamlError(
            "yaml.syntax", f"not YAML: {type(exc).__name__}", getattr(exc, "position", 0)
        ) from None
    except RecursionError:
        raise YamlError("json.depth", "nested deeper than can be read", 0) from None


def _step(node: Node, token: str) -> tuple[Node, tuple[int, int] | None] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == token:
                return value, (key.start_mark.index, key.end_mark.index)
    elif isinstance(node, SequenceNode) and token.isdecimal() and int(token) < len(node.value):
        return node.value[int(token)], None
    return None


class _Reader:
    """From nodes to values, within the size and the depth that a body may have: aliases repeat what they name."""

    def __init__(self) -> None:
        self._size = 0

    def value(self, node: Node, depth: int) -> JsonValue:
        self._count(node, depth)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode) and node.tag == _SEQUENCE:
            return [self.value(item, depth + 1) for item in node.value]
        if isinstance(node, MappingNode) and node.tag == _MAPPING:
            return dict(self._members(node, depth))
        raise YamlError("yaml.tag", f"the tag {node.tag} has no meaning in JSON", node.start_mark.index)

    def _members(self, node: MappingNode, depth: int) -> Iterator[tuple[str, JsonValue]]:
        seen: set[str] = set()
        for key, value in node.value:
            name = _scalar(key) if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                raise YamlError("yaml.key", "a name must be text; write it in quotes", key.start_mark.index)
            if name in seen:
                message = f"the member {json.dumps(name[:60])} stands twice in one object"
                raise YamlError("json.duplicate-key", message, key.start_mark.index)
            seen.add(name)
            self._count(key, depth)
            yield name, self.value(value, depth + 1)

    def _count(self, node: Node, depth: int) -> None:
        self._size += 2 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self._size > MOST_BODY_BYTES:
            message = f"more than {MOST_BODY_BYTES} characters, aliases replaced"
            raise YamlError("body.too-large", message, node.start_mark.index)
        if depth > _MOST_DEPTH:
            message = f"nested deeper than {_MOST_DEPTH} levels"
            raise YamlError("json.depth", message, node.start_mark.index)


def _joined(text: str, node: ScalarNode) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, which YAML leaves apart."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        message = "a text holds an unpaired surrogate, which is no Unicode text"
        raise YamlError("json.surrogate", message, node.start_mark.index) from None


def _scalar(node: ScalarNode) -> JsonValue:
    text: str = node.value
    if node.tag != _TEXT:
        raise YamlError("yaml.tag", f"the tag {node.tag} has no meaning in JSON", node.start_mark.index)
    if node.style is not None:
        return _joined(text, node)
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    if len(text) > 400:
        raise YamlError(
            "json.number", f"a number of {len(text)} characters is too long", node.start_mark.index
        )
    value: int | float = json.loads(text)
    return value
