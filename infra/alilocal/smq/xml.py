"""The XML of SMQ: elements in one namespace or in none, without document types and entities.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias
from xml.etree import ElementTree
from xml.parsers import expat

from alilocal.smq.errors import MalformedXml

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
ERROR_NAMESPACE = "http://mns.aliyuncs.com/doc/v1"
"""The namespace of errors. The vendor's SDK for Java reads them with JAXB, which compares the whole name."""
# Some SDKs leave out the slash at the end.
_NAMESPACES = ("", f"{{{NAMESPACE}", f"{{{ERROR_NAMESPACE}")
Element: TypeAlias = "ElementTree.Element"
Members: TypeAlias = "Sequence[tuple[str, str | Members]]"

_MOST_DEPTH = 16
_PIECE_BYTES = 1024
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A bare carriage return would be read back as a line feed.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class _Builder(ElementTree.TreeBuilder):
    """Builds elements with local names. Refuses document types, without which there are no entities either."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, *_declared: str | None) -> None:
        raise ValueError("document types are refused")

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        namespace, _, name = tag.rpartition("}")
        if self._depth == 0 and namespace not in _NAMESPACES:
            name = tag  # so that the root element is not the expected one
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise ValueError("the elements are nested too deeply")
        return super().start(name, attrs)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])


def parse(data: bytes, root: str) -> Element:
    """Return the root element of a document, which must be called `root`; raises MalformedXml."""
    # No prefix and no entity can hide anything here: the builder refuses document types.
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314
    try:
        parser.feed(data)
        element: Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError, AssertionError):
        raise MalformedXml from None
    if element.tag != root:
        raise MalformedXml(f"The root element must be {root} of the namespace {NAMESPACE}.")
    return element


def build(root: str, members: Members, namespace: str = NAMESPACE) -> bytes:
    """Return a document in UTF-8; the value of a member is a text or members of its own.

    Inside a member, a line break follows each text. The vendor's SDK for PHP relies on white space there: without it,
    the SDK reads past the end of a system property. The documented answers have a line for each element.

    Joining texts is several times as fast as building a tree and serializing it.
    """
    inner = "".join(_element(name, value) for name, value in members)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<{root} xmlns="{namespace}">{inner}</{root}>'.encode()


def is_carriable(text: str) -> bool:
    """Return whether XML 1.0 can carry every character of `text`."""
    return _FORBIDDEN.search(text) is None


def _element(name: str, value: str | Members) -> str:
    if isinstance(value, str):
        return f"<{name}>{value.translate(_ESCAPES)}</{name}>"
    inner = "".join(_element(*member) + ("\n" if isinstance(member[1], str) else "") for member in value)
    return f"<{name}>{inner}</{name}>"


def first_element(data: bytes) -> str:
    """Return the local name of the first element, or an empty text if there is none; ignores what follows it."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _attributes: found.append(name)
    for end in range(_PIECE_BYTES, len(data) + _PIECE_BYTES, _PIECE_BYTES):
        try:
            # Newer versions of expat look at a long token again only with much more data, or with the last piece.
            parser.Parse(data[end - _PIECE_BYTES : end], end >= len(data))
        except (expat.ExpatError, ValueError, LookupError):
            break
        if found:
            break
    return found[0].rpartition(":")[2] if found else ""
