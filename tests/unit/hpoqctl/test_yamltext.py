import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpoqctl.yamltext import YamlError, find_notations, load_documents


def json_of(text):
    """Generate JSON values whose strings come from the strategy `text`."""
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


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (".1", "0.1"),
        ("-.5", "-0.5"),
        ("+.5", "0.5"),
        ("1.", "1.0"),
        ("+5", "5"),
        ("0x10", "16"),
        ("0b11", "3"),
        ("0o17", "15"),
        ("1_000", "1000"),
        ("1:30", "90 (in base 60)"),
        ("010", "8 or 10 (YAML 1.1 or 1.2)"),
        ("-020", "-16 or -20 (YAML 1.1 or 1.2)"),
        ("07", "7"),
        ("08", "8"),
        ("-019", "-19"),
        ("+1e5", "100000.0"),
        (".5e1", "5.0"),
        ("yes", "true"),
        ("True", "true"),
        ("OFF", "false"),
        ("NULL", "null"),
        (".inf", "a number that JSON does not have"),
        (".NaN", "a number that JSON does not have"),
    ],
)
def test_notations_of_yaml_are_named(text, meant):
    """What is a number, a boolean or null in YAML, and a string in JSON, is read as a string and named."""
    (document,) = load_documents(f"a: [1, {text}]")
    assert document.value == {"a": [1, text]}
    (found,) = find_notations(document.root)
    assert (found.pointer, found.rule) == ("/a/1", "yaml.notation")
    assert found.message.startswith(f"{text} is YAML's notation of {meant}, but is read as a string")
    instead = "another number" if meant.startswith("a ") else meant.partition(" (")[0]
    if "base 60" in meant:  # a time or hours and minutes, and 90 of nothing
        instead = "the number that is meant"
    assert found.message.endswith(f": write {instead}, or put it in quotes")


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.5",
        "1e5",
        "-0.1",
        "true",
        "null",
        "~",
        '"yes"',
        "'.1'",
        "cmd1",
        "2020-01-01",
        "1.2.3",
        "y",
        "=",
    ],
)
def test_a_value_with_the_same_meaning_in_json_is_not_reported(text):
    """JSON's own notations, quoted texts, dates and words are what their writer means."""
    (document,) = load_documents(f"a: [{text}]")
    assert list(find_notations(document.root)) == []


def test_an_alias_is_named_once():
    """A value that an anchor repeats is named at its first place."""
    (document,) = load_documents("a: &x [yes]\nb: *x\nc: {d: no}")
    assert [found.pointer for found in find_notations(document.root)] == ["/a/0", "/c/d"]


@given(json_of(st.text(max_size=8)))
def test_json_is_yaml(value):
    """A JSON text has the same value as YAML."""
    text = json.dumps(value)
    assert load(text) == value


@given(json_of(PLAIN))
def test_any_value_can_be_written(value):
    """A value that a YAML library writes in block style is read back."""
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
    """A plain scalar that is not a number, a boolean or null in JSON is a string."""
    assert load(f"value: {text}") == {"value": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("-1.5e3", -1500.0),
        ("0", 0),
        ("9" * 400, 10**400 - 1),
        ('"1"', "1"),
    ],
)
def test_plain_scalars(text, value):
    """The words and numbers of JSON have their JSON values; in quotes they are strings."""
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
        ("a: [1, 1e400]", "json.non-finite", 7),
        ("[" * 100 + "]" * 100, "json.depth", 65),
        ("[" * 60_000, "json.depth", 65),
        ("- " * 1500, "json.depth", 0),
        ("a: \x01", "yaml.syntax", 3),
        ("a: *nowhere", "yaml.syntax", 3),
    ],
)
def test_errors(text, rule, at):
    """YAML that JSON cannot express, or that is ambiguous, is an error with its place."""
    with pytest.raises(YamlError) as caught:
        list(load_documents(text))
    assert (caught.value.rule, caught.value.offset) == (rule, at)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("a: {b: [1, {c: 1, c: 2}]}", "/a/b/1/c"),
        ("a: [1, !!float 1]", "/a/1"),
        ("a: {1: x}", "/a"),
        ("a: {b: 1e400}", "/a/b"),
        ("a: {LTAI5tCanary: {b: 1, b: 2}}", "/a"),
        ("a: {LTAI5tCanary: 1, LTAI5tCanary: 2}", "/a"),
        ("a: [1", ""),
        ("a: " + "[" * 70 + "]" * 70, ""),
    ],
)
def test_an_error_has_the_pointer_that_json_would_have(text, pointer):
    """It ends before a name that may be a credential, as for JSON."""
    with pytest.raises(YamlError) as caught:
        load(text)
    assert caught.value.pointer == pointer


def test_aliases_cannot_expand_without_limit():
    """Aliases may repeat a value up to the size that a body may have."""
    assert load("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    lines = ["a0: &a0 lol"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(YamlError) as caught:
        list(load_documents("\n".join(lines)))
    assert caught.value.rule == "body.too-large"


def test_an_alias_to_itself():
    """A document that contains itself is an error."""
    with pytest.raises(YamlError) as caught:
        list(load_documents("a: &x [*x]"))
    assert caught.value.rule in ("json.depth", "yaml.syntax")


def test_several_documents():
    """Each document of a text is read on its own, and empty ones are ignored."""
    assert [document.value for document in load_documents("a: 1\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    assert list(load_documents("")) == []
    assert [document.value for document in load_documents("---\n# a\n---\na: 1\n---\n")] == [{"a": 1}]


@pytest.mark.parametrize("scalar", ["12", "yes", "~", "1e3", "", "true"])
def test_the_tag_of_a_string_makes_a_string(scalar):
    """`!!str` is how YAML writes a string that looks like something else; it is read as one, without a warning."""
    (document,) = load_documents(f"a: !!str {scalar}")
    assert document.value == {"a": scalar}
    assert list(find_notations(document.root)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a:\n\tb: 1\n", "a tab; write spaces instead"),
        ('a: "loss=(\\d+)"', "use single quotes, or write two backslashes"),
    ],
)
def test_frequent_slips_say_what_to_write(text, what):
    """A tab for indentation and a regular expression in double quotes are explained."""
    with pytest.raises(YamlError, match=what):
        list(load_documents(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\tb: 1", "a tab; write spaces instead"),
        ('a: "\\q"', "a backslash in double quotes must begin an escape"),
        ("a: @b", "a value must not begin with @; put it in quotes"),
        ("a: `b", "a value must not begin with `; put it in quotes"),
        ("a: b: c", "a colon is not allowed here; check the indentation"),
        ("a: 1\n  b: 2", "a colon is not allowed here; check the indentation"),
        ("a:\n  - b\n c: 1", "this line does not fit the lines above; check the indentation"),
        ("a: [1", "the text ends before a closing ]"),
        ("a: {b: 1", "the text ends before a closing }"),
        ("a: [1,,2]", "a value is missing before this ,"),
        ("a: [ - 1]", "an item with - must begin a line; in brackets items have commas"),
        ("a: 1\t", "a tab; write spaces instead"),
        ("a: [1 {2]", "a comma or a closing ] is missing before this"),
        ("a: 'b", "the text ends before the closing quote of a string"),
        ("a: *b", "no anchor &b is above this; put a value that begins with * in quotes"),
        ("[a-z]+=([0-9]+): 1", "check the indentation, or put all of it in quotes"),
        ("a: &x 1\nb: &x 2", "anchors must have different names"),
        ("a: !e!b c", "a tag, which JSON does not have"),
        ("a: !!float 1", "no equivalent of the tag !!float; remove it"),
        ("a: 1\n...\nb: 1", "another document begins here; write a line --- before it"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "JSON has no merge; write the members out"),
        (
            "a: 1\nb: \x01",
            "the character U+0001 is not allowed; remove it, or write \\u0001 in double quotes",
        ),
        ("a: '\x7f'", "the character U+007F is not allowed; remove it, or write \\u007F in double quotes"),
        ("a: \ufffe", "the character U+FFFE is not allowed; remove it, or write \\uFFFE in double quotes"),
        ("a: {{ ws }}", "a value or a name that begins with { must be in quotes"),
        ("{lr}: 1", "a value or a name that begins with { must be in quotes"),
        ("[lr]: 1", "a value or a name that begins with [ must be in quotes"),
        ("1: 2", "a name must be a string; write it in quotes"),
        ("a: 1\nb\nc: 2", "a colon is missing after the name on this line or the one above"),
    ],
)
def test_mistakes_in_yaml_are_named_in_plain_words(text, words):
    """The message says what to write instead, not what a parser of YAML looked for."""
    with pytest.raises(YamlError) as caught:
        load(text)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n  b\uff1ax\n  c: 1\n", "a full-width colon in line 2; write an ordinary colon and a space"),
        ("a: 1\nb\uff1a1", "a full-width colon in line 2; write an ordinary colon and a space"),
        ("a:\n\u00a0 b: 1\n  c: 1\n", "an invisible character in line 2; write an ordinary space"),
        ("a:\n  b:x\n  c: 1\n", "a space is missing after the colon in line 2"),
        ("a: {${lr}: {b: 1}}\n", "in line 1, a name such as ${lr} must be in quotes"),
    ],
)
def test_what_only_looks_like_yaml_is_named(text, words):
    """The library reports the line after it, or the indentation."""
    with pytest.raises(YamlError) as caught:
        load(text)
    assert caught.value.message.endswith(words)


def test_typographic_quotes_are_part_of_a_text():
    """YAML has none, so they would be sent; quotes inside of a text are meant."""
    (document,) = load_documents(
        "a: \u201c12345\u201d\nb: \u2018x\u2019\nc: say \u201cx\u201d\nd: '\u201cx\u201d'\n"
        "e: \u201cx\u201d\u548c\u201cy\u201d\nf: \u201cdon\u2019t\u201d\n"
    )
    assert document.value["a"] == "\u201c12345\u201d"
    found = [(one.pointer, one.rule) for one in find_notations(document.root)]
    assert found == [(f"/{name}", "yaml.notation") for name in ("a", "b", "f")]


def test_an_unclosed_string_is_placed_where_it_begins():
    """The end of the text is far from the mistake."""
    with pytest.raises(YamlError) as caught:
        load('a: 1\nb: "c\nd: 2\n')
    assert caught.value.offset == 8
