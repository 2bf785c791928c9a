import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.strictjson import JsonError, loads

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def rule_of(data):
    with pytest.raises(JsonError) as caught:
        loads(data)
    return caught.value.rule


@given(JSON, st.booleans())
def test_reads_what_json_writes(value, ascii_only):
    """Every JSON value comes back, escaped or not."""
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\xff", "json.encoding"),
        (b"\xed\xa0\x80", "json.encoding"),
        (b"", "json.syntax"),
        (b"{'a': 1}", "json.syntax"),
        (b"[1,]", "json.syntax"),
        (b"[1] [2]", "json.syntax"),
        (b'{"a": 1, "\\u0061": 2}', "json.duplicate-key"),
        (b"NaN", "json.non-finite"),
        (b"[-Infinity]", "json.non-finite"),
        (b"1e400", "json.non-finite"),
        (b"[-1e999]", "json.non-finite"),
        (b"9" * 401, "json.number"),
        (b"0." + b"1" * 500, "json.number"),
        (b"[" * 65 + b"]" * 65, "json.depth"),
        (b"[" * 100_000, "json.depth"),
        (b'"\\udfff"', "json.surrogate"),
        (b'{"\\ud800": 1}', "json.surrogate"),
    ],
)
def test_each_way_to_be_ambiguous_has_its_rule(data, rule):
    """What parsers would read differently, or not at all, is refused by name."""
    assert rule_of(data) == rule


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf[]",
        b"[" * 64 + b"]" * 64,
        b'"[[[[' + b"[" * 100 + b'"',
        b'"\\ud83d\\ude00"',
        b"9" * 400,
        b'"\\\\"',
        b'["\\"[", "\\\\"]',
    ],
)
def test_near_misses_are_read(data):
    """A byte order mark, 64 levels, brackets in a text, paired surrogates and long numbers are fine."""
    loads(data)


@given(st.binary(max_size=100))
def test_nothing_else_is_raised(data):
    """Any bytes are a value or a JsonError."""
    try:
        loads(data)
    except JsonError as exc:
        assert exc.rule.startswith("json.")


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": 1, "a": 2}', "/a"),
        ('[0, {"x": {"a~/b": 1, "c": 2, "a~/b": 3}}]', "/1/x/a~0~1b"),
        ('{"a": {"x": 1, "x": 2}, "a": {}}', "/a"),
        ('{"": 1, "": 2}', "/"),
    ],
)
def test_a_duplicate_is_placed(text, pointer):
    """A member that stands twice is told by name and by JSON pointer, one within a dropped value by that."""
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert caught.value.pointer == pointer
    assert "/" + caught.value.name.replace("~", "~0").replace("/", "~1") == "/" + pointer.rpartition("/")[2]


def test_depth_is_refused_even_where_more_is_asked_for():
    """A nesting that the interpreter cannot follow is a JsonError, however deep the caller would go."""
    assert loads("[" * 100 + "]" * 100, max_depth=100)
    with pytest.raises(JsonError) as caught:
        loads("[" * 200_000 + "]" * 200_000, max_depth=10**6)
    assert caught.value.rule == "json.depth"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: there is no text in it"),
        (b" \n", "not JSON: there is no text in it"),
        (b'["a', "not JSON: Unterminated string starting at line 1, column 2"),
        (b"[\n1 2]", "not JSON: Expecting ',' delimiter at line 2, column 3"),
    ],
)
def test_syntax_is_told_by_its_place(data, message):
    """A message says what was expected, and where."""
    with pytest.raises(JsonError) as caught:
        loads(data)
    assert str(caught.value) == message


def test_a_duplicate_is_placed_in_any_depth():
    """A search for the place of a duplicate ends in a JsonError, however deep it lies."""
    for depth in (100, 900, 5_000):
        with pytest.raises(JsonError) as caught:
            loads("[" * depth + '{"a": 1, "a": 2}' + "]" * depth, max_depth=10**6)
        assert caught.value.rule in ("json.duplicate-key", "json.depth")


def test_content_is_not_quoted():
    """A message quotes nothing but the name that stands twice, and of that no more than 60 characters."""
    for data in (b'{"canary": "canary}', b'["canary", canary]', b'"canary \\ud800"'):
        with pytest.raises(JsonError) as caught:
            loads(data)
        assert "canary" not in str(caught.value)
    with pytest.raises(JsonError, match=r"a{60}") as caught:
        loads(b'{"%s": 1, "%s": 2}' % (b"a" * 500, b"a" * 500))
    assert len(str(caught.value)) < 150
