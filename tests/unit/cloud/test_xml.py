"""The XML that is built and taken."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.cloud.xml import XmlError, build, is_carriable, parse


def test_round_trip():
    """Markup and line ends survive, and the root has its namespace."""
    text = "<&>\"' ]]> \r\n\r\t 测试 \U0001f600"
    data = build("Message", "http://n/", [("MessageBody", text), ("Empty", "")])
    assert b'<Message xmlns="http://n/">' in data
    root = parse(data)
    assert (root.name, root.get("MessageBody"), root.get("Empty"), root.get("None")) == (
        "Message",
        text,
        "",
        None,
    )


@given(st.text(max_size=30))
def test_carriable_or_refused(text):
    """Any text either survives whole or is refused."""
    if is_carriable(text):
        assert parse(build("a", "n", [("b", text)])).get("b") == text
    else:
        with pytest.raises(XmlError):
            build("a", "n", [("b", text)])


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_not_carriable(character):
    """Control characters, non-characters and lone surrogates are refused."""
    assert not is_carriable(f"a{character}")


LAUGHS = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    "data",
    [
        LAUGHS,
        LAUGHS.decode().encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b"<a>&undefined;</a>",
        b"<a>" * 100_000,
        b"<a></b>",
        b"<a/><b/>",
        b"text",
        b"",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
    ],
)
def test_refused(data):
    """Document types, entities, absurd depth and broken XML are refused."""
    with pytest.raises(XmlError):
        parse(data)


def test_depth():
    """Elements may nest to a depth far beyond the service's own, and no deeper."""
    assert parse(b"<a>" * 32 + b"</a>" * 32).name == "a"
    with pytest.raises(XmlError, match="deep"):
        parse(b"<a>" * 33 + b"</a>" * 33)


@given(st.binary(max_size=100))
def test_any_bytes(data):
    """Any bytes are either taken or refused by XmlError."""
    with contextlib.suppress(XmlError):
        assert parse(data).name


@given(st.text(st.characters(exclude_categories=())))
def test_what_xml_can_carry_is_its_own_production(text):
    """https://www.w3.org/TR/xml/#charsets"""
    carried = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
    assert is_carriable(text) == (carried.fullmatch(text) is not None)
