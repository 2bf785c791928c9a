import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hpoq.cli.excerpt import excerpt, masked, place_of


def shown(text, what, number=1):
    start = text.index(what)
    return excerpt(text, place_of(text, start, start + len(what)), number=number)


def test_a_line_and_its_caret():
    """The line stands behind its number, the caret below what is meant."""
    assert shown('{\n  "a": "b"\n}', '"b"', number=2) == ['2 |   "a": "b"', "  |        ^^^"]


def test_columns_count_from_one():
    """As editors count."""
    place = place_of("ab\ncd", 4, 5)
    assert (place.line, place.column) == (2, 2)


@pytest.mark.parametrize("before", ["测试", "🙂🙂", "\t", "é", "\x00"])
def test_wide_characters_keep_the_caret_in_place(before):
    """The caret stands below its character in the cells of a terminal."""
    line, caret = shown(f'"{before}": "b"', '"b"')
    assert cell_len(line[: line.index('"b"')]) == caret.index("^")


LINES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=400)


@given(LINES, st.integers(0, 400))
def test_long_lines_are_cut_around_the_caret(line, at):
    """However long the line, what is shown is short and the caret is in it."""
    at = min(at, max(0, len(line) - 1))
    text, caret = excerpt(line, place_of(line, at, at + 1), number=7)
    assert len(text) <= 4 + 102
    assert "^" in caret
    assert cell_len(caret) <= 4 + 2 * 102


def test_what_goes_on_over_lines_is_marked_on_its_first():
    """A value of many lines has its caret on the first."""
    assert shown("[1,\n2]", "[1,\n2]") == ["1 | [1,", "  | ^^^"]


@pytest.mark.parametrize(
    "text",
    [
        '{"accessKeySecret": "canary"}',
        '{"accessKeySecret":\n  "can\\"canary"}',
        '{"access_key": "canary',
        "access_id: canary",
        "access_id: 'canary'",
        '{"url": "https://h/?access_token=canary"}',
        '{"x": {"password": "canary", "y": 1}}',
    ],
)
def test_credentials_are_masked(text):
    """The value of a member whose name says that it is secret is not shown, and nothing moves."""
    hidden = masked(text)
    assert "canary" not in hidden
    assert len(hidden) == len(text)


def test_what_is_no_credential_stays():
    """Other members are shown as they are."""
    text = '{"Name": "my secret project", "endpoint": "http://h"}'
    assert masked(text) == text
