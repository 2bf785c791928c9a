"""The little XML that SMQ speaks: no document types, no entities, no character that XML cannot carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fcruntime.dataclass import dataclass, field

_MOST_DEPTH = 32
# Ranges beyond Latin-1 would take milliseconds to compile.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


class XmlError(ValueError):
    """Text that is not XML, or not of the kind that is taken."""


@dataclass
class Element:
    """An element by its local name; namespaces and attributes are left aside."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The text of the first child `name`, None if there is none."""
        return next((child.text for child in self.children if child.name == name), None)

    def all(self, name: str) -> list[Element]:
        return [child for child in self.children if child.name == name]


def parse(data: bytes) -> Element:
    """The root element; raises XmlError for a document type, an entity, absurd depth and broken XML."""
    # Here, for a cold start need not wait for it.
    from xml.etree import ElementTree

    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314
    try:
        parser.feed(data)
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise XmlError(str(exc)) from exc
    if not isinstance(root, Element):
        raise XmlError("no element found")
    return root


def is_carriable(text: str) -> bool:
    """Whether XML 1.0 can carry every character of `text`."""
    if _CONTROL.search(text) or "\ufffe" in text or "\uffff" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def build(root: str, namespace: str, members: Iterable[tuple[str, str]]) -> bytes:
    """A document of flat members in UTF-8; raises XmlError if a character cannot be carried."""
    lines = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in members)
    document = f'<?xml version="1.0" encoding="utf-8"?>\n<{root} xmlns="{namespace}">{lines}</{root}>'
    return document.encode()


def _text(value: str) -> str:
    if not is_carriable(value):
        raise XmlError("XML cannot carry a control character; encode the text first")
    # A parser turns a bare carriage return into a line feed.
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


class _Builder:
    """Target of the parser."""

    def __init__(self) -> None:
        self._open: list[Element] = []
        self._root: Element | None = None

    def doctype(self, *_declared: str | None) -> None:
        raise XmlError("document types are not taken")

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        element = Element(tag.rpartition("}")[2])
        if len(self._open) >= _MOST_DEPTH:
            raise XmlError("nested too deeply")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text

    def close(self) -> Element | None:
        return self._root
