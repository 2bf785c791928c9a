import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract import patterns

BLANKS = "".join(filter(str.isspace, map(chr, range(sys.maxunicode))))


@given(st.lists(st.sampled_from([",", "a", " ", *BLANKS]), max_size=8).map("".join))
def test_a_pair(text):
    """A pair is a source and a destination, neither of them white space of any script, and one comma."""
    source, _, destination = text.partition(",")
    expected = text.count(",") == 1 and source.strip() and destination.strip()
    assert bool(re.search(patterns.PAIR, text)) == bool(expected)


def test_characters_of_a_key():
    """A key takes every character but controls and separators of lines and paragraphs."""
    for character in map(chr, range(sys.maxunicode + 1)):
        wanted = unicodedata.category(character) not in ("Cc", "Zl", "Zp")
        assert bool(re.fullmatch(patterns.KEY_CHARACTERS, character)) == wanted, hex(ord(character))


@given(st.from_regex(patterns.NUMBER))
def test_a_number_in_text(text):
    """What is taken for a number is one."""
    assert isinstance(float(text), float)


@pytest.mark.parametrize("text", ["", "1,5", "0x1", "1 2", "nan", "1_0", "１", "1e", "\u20031"])
def test_no_number(text):
    """What only looks like a number is none, whatever Python makes of it."""
    assert not re.search(patterns.NUMBER, text)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            patterns.QUERY,
            ["select 1", "\n SELECT\n", "With x", "from"],
            ["selected", "from/x", "with.json", "a select"],
        ),
        (patterns.COMMAND, ["cmd", " CMD12 ", "cmd1 , Worker "], ["cmd1,", "cmd 1", "cmd1,workers", "cmd１"]),
        (
            patterns.URL,
            ["oss://b", " HTTPS://x", "a+b.c-1://"],
            ["oss:/b", "1a://b", "://b", "select 'oss://b'"],
        ),
        (patterns.END, [""], []),
    ],
)
def test_sources(pattern, matching, others):
    """What a metric source looks like is told by its beginning, in any case."""
    assert [text for text in matching + others if re.search(pattern, text)] == matching


@pytest.mark.parametrize("pattern", [patterns.NUMBER, patterns.COMMAND, patterns.PAIR, patterns.BASE64])
def test_patterns_are_linear(pattern):
    """No text, however long, keeps a pattern busy."""
    for text in (" " * 10**5 + "!", "1" * 10**5 + "!", "a," + " " * 10**5, "cmd" + "1" * 10**5 + "!"):
        assert not re.search(pattern, text)
