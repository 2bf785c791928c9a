import base64
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hpoq.contract.jsontext import pointer_to
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected, Violation
from hpoq.observability.secret_names import secret_spans
from hpoqctl import positions
from hpoqctl.positions import (
    Source,
    find_json_spans,
    find_place,
    find_yaml_secrets,
    find_yaml_span,
    format_excerpt,
    mask_secrets,
)
from hpoqctl.yamltext import load_documents

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
FORMS = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 1, 4, "\t"]), "ensure_ascii": st.booleans()}
)


def places(value, pointer=""):
    """Yield every pointer into `value`, with the value there."""
    yield pointer, value
    for token, member in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(member, pointer + pointer_to(token))


@given(JSON, FORMS)
def test_every_pointer_is_found(value, form):
    """The text at the place of a pointer is the value at that pointer, however the document is written."""
    text = json.dumps(value, **form)
    wanted = dict(places(value))
    spans = find_json_spans(text, wanted)
    assert set(spans) == set(wanted)
    for pointer, span in spans.items():
        assert json.loads(text[span.start : span.end]) == wanted[pointer]
        if span.key is not None:
            name = json.loads(text[span.key[0] : span.key[1]])
            assert pointer.rpartition("/")[2] == pointer_to(name)[1:]


def test_a_pointer_that_leads_nowhere_is_left_out():
    """A pointer to a missing member has no span; the objects and arrays on the way to it have theirs."""
    assert set(find_json_spans('{"a": [1]}', ["/a/1", "/b", "/a/0/x"])) == {"", "/a", "/a/0"}


def test_the_last_one_of_equal_names_counts():
    """The span of a repeated name is that of the last member, which is the one that parsers keep."""
    text = '{"a": 1, "a": 2}'
    assert text[slice(*find_json_spans(text, ["/a"])["/a"].key)] == '"a"'
    assert find_json_spans(text, ["/a"])["/a"].start == text.index("2")


def test_all_spans_are_found_in_one_pass(count_calls):
    """The text is read once, however many places are wanted."""

    def work(count):
        text = json.dumps({f"k{n}": [n] * 3 for n in range(count)})
        return count_calls(lambda: find_json_spans(text, [f"/k{n}/0" for n in range(count)]))

    assert work(2000) < 2.2 * work(1000)


def test_a_pointer_into_yaml_leads_to_its_value():
    """The span of a YAML member holds the text of its value, and its key the text of its name."""
    text = "a:\n  - x: one\n    y: 'two'\n"
    (document,) = load_documents(text)
    span = find_yaml_span(document.root, "/a/0/y")
    assert (text[span.start : span.end], text[slice(*span.key)]) == ("'two'", "y")
    assert find_yaml_span(document.root, "/a/1") is None
    assert find_yaml_span(document.root, "/a/0/y/z") is None


def shown(text, what, number=1):
    start = text.index(what)
    return format_excerpt(text, find_place(text, start, start + len(what)), number=number)


def test_a_line_and_its_caret():
    """The excerpt is the line with its number, and a caret below the value."""
    assert shown('{\n  "a": "b"\n}', '"b"', number=2) == ['2 |   "a": "b"', "  |        ^^^"]


def test_columns_count_from_one():
    """Lines and columns are counted from 1, as editors count them."""
    place = find_place("ab\ncd", 4, 5)
    assert (place.line, place.column) == (2, 2)


@pytest.mark.parametrize("before", ["测试", "🙂🙂", "\t", "é", "\x00"])
def test_wide_characters_keep_the_caret_in_place(before):
    """The caret is below its character in the cells of a terminal."""
    line, caret = shown(f'"{before}": "b"', '"b"')
    assert cell_len(line[: line.index('"b"')]) == caret.index("^")


LINES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=400)


@given(LINES, st.integers(0, 400))
def test_long_lines_are_cut_around_the_caret(line, at):
    """The excerpt of a line of any length is short and contains the caret."""
    at = min(at, max(0, len(line) - 1))
    text, caret = format_excerpt(line, find_place(line, at, at + 1), number=7)
    assert len(text) <= 4 + 102
    assert "^" in caret
    assert cell_len(caret) <= 4 + 2 * 102


def test_each_number_that_is_refused_has_its_place():
    """One that cannot be told from the others has the place of the first."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(b'{"experiment": NaN,\n"guard": 1e999}')
    source = Source('{"experiment": NaN,\n"guard": 1e999}')
    others = [Violation(one.pointer, one.rule, "in the decoded data") for one in caught.value.violations]
    places = source.find_places([*caught.value.violations, *others])
    assert [(one.line, one.column) for one in places] == [(1, 16), (2, 10), (1, 16), (1, 16)]


def test_a_value_of_several_lines_is_marked_on_the_first():
    """The caret of a value of several lines is on the first one."""
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
        '{"cmd": ["run","--token","canary"]}',
    ],
)
def test_credentials_are_masked(text):
    """The value of a member with the name of a credential is masked, and the text keeps its length."""
    hidden = mask_secrets(text)
    assert "canary" not in hidden
    assert len(hidden) == len(text)


@pytest.mark.parametrize(
    "text", ["cmd: [run, --token, canary]", "cmd:\n- run\n- --token\n- canary", "password: canary"]
)
def test_credentials_of_yaml_are_found(text):
    """By the name of their member, or by the option before them in a list of words."""
    (span,) = find_yaml_secrets(yaml.compose(text))
    assert text[span.start : span.end] == "canary"


def test_text_without_credentials_stays_as_it_is():
    """Members without credentials are shown unchanged."""
    text = '{"Name": "my secret project", "endpoint": "http://h"}'
    assert mask_secrets(text) == text


def test_the_text_of_a_file_is_masked_once(monkeypatch):
    """The documents of a YAML file have one text; to mask it for each of them takes minutes for a long file."""
    text = "---\n".join(f"a: [1, {{b{n}: 1, password: canary{n}, url: canary{n}}}]\n" for n in range(3))
    masked = []

    def find_spans(given):
        masked.append(given)
        return secret_spans(given)

    monkeypatch.setattr(positions, "secret_spans", find_spans)
    shown = []
    for number, document in enumerate(load_documents(text)):
        source = Source(text, yaml_root=document.root)
        unknown = [Violation(pointer, "unknown-member", "unknown") for pointer in ("/a/1", f"/a/1/b{number}")]
        places = source.find_places(unknown)
        shown += source.format_excerpt(places[1])
    assert masked == [text]
    assert len(shown) == 6
    assert not any("canary" in line for line in shown)


SECTION = {"oss_config": {"accessKeySecret": "canary-canary"}}
LONG_SECTION = {"note": "?>" * 40, **SECTION}


@pytest.mark.parametrize("section", [SECTION, LONG_SECTION, json.dumps(SECTION)])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_base64_around_a_secret_is_masked(section, encode):
    """Where an object is expected, base64 of it is accepted, and anyone can decode what is shown of it."""
    text = json.dumps({"Name": "a", "x": encode(json.dumps(section).encode()).decode().strip()})
    for form in (text, text.replace("/", "\\/")):
        shown = mask_secrets(form)
        assert len(shown) == len(form)
        assert shown.startswith('{"Name": "a", "x": "****')
        assert set(shown[20:]) <= {*'*="}'}


def test_other_base64_is_shown():
    """Without a secret inside, there is nothing to hide; nor in words that could be base64."""
    harmless = base64.b64encode(b'{"Name": "experiment"}').decode()
    text = json.dumps({"x": harmless, "y": "experiment-with-a-long-name", "z": "Installation/of/something"})
    assert mask_secrets(text) == text
