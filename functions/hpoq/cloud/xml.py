"""Parse and build the XML of SMQ: no document types, no entities, only characters that XML can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fcruntime.dataclass import dataclass, field

_MAX_DEPTH = 32
# Ranges beyond Latin-1 would take milliseconds to compile.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


class XmlError(ValueError):
    """The text is not XML, or not the subset that is accepted."""


@dataclass
class Element:
    """An element with its local name. Namespaces and attributes are ignored."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Return the text of the first child `name`, or None if there is none."""
        return next((child.text for child in self.children if child.name == name), None)


def parse(data: bytes) -> Element:
    """Return the root element. Raises XmlError for invalid XML, a document type, or too deep nesting.

    Entities need a document type, so they are refused with it.
    """
    # Imported here because only the first answer needs it, not the cold start.
    from xml.parsers import expat

    builder, parser = _Builder(), expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)  # noqa: FBT003 - its second parameter has no name
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise XmlError(str(exc)) from exc
    return builder.root


def is_carriable(text: str) -> bool:
    """Return whether XML 1.0 can carry every character of `text`."""
    if text.isprintable():  # like every event, and a third of the time of the pattern
        return True
    if _CONTROL.search(text) or "\ufffe" in text or "\uffff" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def build(root: str, namespace: str, members: Iterable[tuple[str, str]]) -> bytes:
    """Return a document in UTF-8 whose root has `members` as its children. Raises XmlError for other characters."""
    lines = "".join(f"<{name}>{_escape(value)}</{name}>" for name, value in members)
    document = f'<?xml version="1.0" encoding="utf-8"?>\n<{root} xmlns="{namespace}">{lines}</{root}>'
    return document.encode()


def _escape(value: str) -> str:
    if not is_carriable(value):
        raise XmlError("XML cannot carry a control character; encode the text in base64")
    # A parser would read a bare carriage return as a line feed.
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


class _Builder:
    """The handlers of the parser: build elements, and refuse what is not accepted."""

    def __init__(self) -> None:
        self._open: list[Element] = []
        self.root = Element("")

    def doctype(self, *_declared: object) -> None:
        raise XmlError("document types are not accepted")

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        element = Element(tag.rpartition("}")[2])
        if len(self._open) >= _MAX_DEPTH:
            raise XmlError("nested too deeply")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text
