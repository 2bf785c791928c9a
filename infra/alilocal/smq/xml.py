"""The XML that SMQ speaks: one namespace, no document types, no entities.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from xml.etree import ElementTree

from alilocal.smq.errors import MalformedXml

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
_MOST_DEPTH = 16
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Members: TypeAlias = "Sequence[tuple[str, str | Members]]"


@dataclass
class Element:
    """An element by its local name."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The text of the first child `name`, None if there is none or it is empty."""
        return next((child.text for child in self.children if child.name == name), None) or None

    def child(self, name: str) -> Element | None:
        return next((child for child in self.children if child.name == name), None)

    def all(self, name: str) -> list[Element]:
        return [child for child in self.children if child.name == name]


def parse(data: bytes, root: str) -> Element:
    """The document's root, which must be `root` of SMQ's namespace; raises MalformedXml."""
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - the builder refuses document types
    try:
        parser.feed(data)
        element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):
        raise MalformedXml from None
    if not isinstance(element, Element) or element.name != root:
        raise MalformedXml(f"The root element must be {root} of the namespace {NAMESPACE}.")
    return element


def build(root: str, members: Members) -> bytes:
    """A document in UTF-8; a member's value is text, or members of its own."""
    inner = "".join(_element(name, value) for name, value in members)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'.encode()


def is_carriable(text: str) -> bool:
    """Whether XML 1.0 can carry every character of `text`."""
    return _FORBIDDEN.search(text) is None


def _element(name: str, value: str | Members) -> str:
    if isinstance(value, str):
        return f"<{name}>{value.translate(_ESCAPES)}</{name}>"
    return f"<{name}>{''.join(_element(*member) for member in value)}</{name}>"


# A parser turns a bare carriage return into a line feed.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class _Builder:
    """Target of the parser."""

    def __init__(self) -> None:
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._root: Element | None = None

    def doctype(self, *_declared: str | None) -> None:
        raise ValueError("document types are refused")

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition("}")
        if len(self._open) >= _MOST_DEPTH:
            raise ValueError("nested too deeply")
        element = Element(name)
        if self._open:
            self._open[-1].children.append(element)
        elif namespace.lstrip("{") == NAMESPACE:
            self._root = element
        self._open.append(element)
        self._texts.append([])

    def data(self, text: str) -> None:
        self._texts[-1].append(text)

    def end(self, _tag: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def close(self) -> Element | None:
        return self._root


def first_element(data: bytes) -> str:
    """The local name of the first element, empty if none is recognised; does not parse."""
    found = re.search(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)", data[:1024])
    return found[1].decode() if found else ""


def texts(elements: Iterable[Element]) -> list[str]:
    """The text of each."""
    return [element.text for element in elements]
