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
    """A pair is a source, one comma and a destination; neither side is only white space of any script."""
    source, _, destination = text.partition(",")
    expected = text.count(",") == 1 and source.strip() and destination.strip()
    assert bool(re.search(patterns.PAIR, text)) == bool(expected)


def test_characters_of_a_key():
    """A key may contain every character except control characters and line or paragraph separators."""
    characters = [chr(code) for code in range(0x20000)]  # no separators or controls are assigned behind these
    wanted = {one for one in characters if unicodedata.category(one) not in ("Cc", "Zl", "Zp")}
    assert not wanted ^ set(re.findall(patterns.KEY_CHARACTERS, "".join(characters)))


@given(st.from_regex(patterns.NUMBER))
def test_a_number_in_text(text):
    """A string that matches the pattern is a number."""
    assert isinstance(float(text), float)


@pytest.mark.parametrize("text", ["", "1,5", "0x1", "1 2", "nan", "1_0", "１", "1e", "\u20031"])
def test_a_string_that_resembles_a_number(text):
    """A string that only resembles a number does not match, even if Python's float accepts it."""
    assert not re.search(patterns.NUMBER, text)


@pytest.mark.parametrize(
    ("name", "matching", "others"),
    [
        (
            "QUERY",
            ["select 1", "\n SELECT\n", "With x", "from", "insert\tinto t"],
            ["selected", "from/x", "with.json", "a select", "select_"],
        ),
        (
            "COMMAND",
            ["cmd", " CMD12 ", "cmd1 , Worker "],
            ["cmd1,", "cmd 1", "cmd1,workers", "cmd１", "1", "x cmd1"],
        ),
        (
            "COMMAND_ROLE",
            ["cmd1,ps", " CMD2 , Ps-0 "],
            ["cmd1", "cmd1,", "cmd1,/x", "cmd1,a b", "1,ps", "x cmd1,ps"],
        ),
        ("URL", ["oss://b", " HTTPS://x", "a+b.c-1://"], ["oss:/b", "1a://b", "://b", "select 'oss://b'"]),
        ("PAIR", ["a,b", " a, b ", "\u3000a,b"], ["a", "a,", ",b", " ,b", "a,\u3000", "a,b,c", ",a,b"]),
    ],
)
def test_where_a_pattern_matches(name, matching, others):
    """Upper and lower case are the same, and white space around a text makes no difference."""
    pattern = getattr(patterns, name)
    assert [text for text in matching + others if re.search(pattern, text)] == matching


def test_letters_of_either_case():
    """A letter stands for both cases; in ECMA-262 a set of hyphens, as in [--], is an error with some flags."""
    assert patterns.caseless("ab-1") == "[aA][bB]-1"


@pytest.mark.parametrize("name", ["NUMBER", "COMMAND", "COMMAND_ROLE", "PAIR", "BASE64"])
def test_patterns_are_linear(name):
    """Every pattern is matched in linear time."""
    pattern = getattr(patterns, name)
    for text in (" " * 10**5 + "!", "1" * 10**5 + "!", "a," + " " * 10**5, "cmd" + "1" * 10**5 + "!"):
        assert not re.search(pattern, text)
