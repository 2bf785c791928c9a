import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpoq.cli.yamltext import YamlError, load_documents


def json_of(text):
    """Values of JSON whose texts come from the strategy `text`."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=20,
    )


# Of line ends other than LF the library's own writer makes what its own reader folds, and JSON knows numbers that
# YAML 1.1 does not, which it therefore writes without quotes.
PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=8).filter(
    lambda text: not re.fullmatch(r"-?[0-9.]+([eE][+-]?[0-9]+)?", text)
)


def load(text):
    (document,) = load_documents(text)
    return document.value


@given(json_of(st.text(max_size=8)))
def test_json_is_yaml(value):
    """What is written as JSON means the same."""
    text = json.dumps(value)
    assert load(text) == value


@given(json_of(PLAIN))
def test_any_value_can_be_written(value):
    """What a YAML library writes in block style is read back, save that it may quote less than JSON."""
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    found = load(text)
    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True) or found == value


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "on",
        "Yes",
        "2026-11-23",
        "12:30:00",
        "0x1F",
        "0o17",
        "017",
        "1_000",
        ".inf",
        ".nan",
        "True",
        "NULL",
        "+1",
        "1.",
    ],
)
def test_nothing_is_converted(text):
    """What JSON would not take for a number, a boolean or null is text."""
    assert load(f"value: {text}") == {"value": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("~", None), ("", None), ("true", True), ("-1.5e3", -1500.0), ("0", 0), ('"1"', "1")],
)
def test_plain_scalars(text, value):
    """JSON's own words and numbers are what they are there; in quotes they are text."""
    assert load(f"value: {text}") == {"value": value}


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        ("a: [1", "yaml.syntax", 5),
        ("a: 1\na: 2", "json.duplicate-key", 5),
        ("a: !!python/object:os.system x", "yaml.tag", 3),
        ("a: !!set {x}", "yaml.tag", 3),
        ("1: x", "yaml.key", 0),
        ("? [a]\n: x", "yaml.key", 2),
        ("a: " + "9" * 500, "json.number", 3),
        ("[" * 100 + "]" * 100, "json.depth", 65),
        ("[" * 5000 + "]" * 5000, "json.depth", 0),
        ("a: \x01", "yaml.syntax", 3),
        ("a: *nowhere", "yaml.syntax", 3),
    ],
)
def test_what_is_refused(text, rule, at):
    """What JSON cannot say, or could be read in two ways, is refused where it stands."""
    with pytest.raises(YamlError) as caught:
        list(load_documents(text))
    assert (caught.value.rule, caught.value.offset) == (rule, at)


def test_a_billion_laughs():
    """Aliases may repeat, but not beyond the size that a body may have."""
    assert load("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    lines = ["a0: &a0 lol"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(YamlError) as caught:
        list(load_documents("\n".join(lines)))
    assert caught.value.rule == "body.too-large"


def test_an_alias_to_itself():
    """A document that holds itself has no end, and is refused."""
    with pytest.raises(YamlError) as caught:
        list(load_documents("a: &x [*x]"))
    assert caught.value.rule in ("json.depth", "yaml.syntax")


def test_several_documents():
    """Each document of a text stands for itself, and empty ones for nothing."""
    assert [document.value for document in load_documents("a: 1\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    assert list(load_documents("")) == []


def test_places():
    """A pointer leads to the text of its value, and to its member's name."""
    text = "a:\n  - x: one\n    y: 'two'\n"
    (document,) = load_documents(text)
    span = document.find_span("/a/0/y")
    assert (text[span.start : span.end], text[slice(*span.key)]) == ("'two'", "y")
    assert document.find_span("/a/1") is None
    assert document.find_span("/a/0/y/z") is None
