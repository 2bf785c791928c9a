import json

from hypothesis import given
from hypothesis import strategies as st

from hpoq.cli.sourcemap import find_spans
from hpoq.contract.pointer import pointer_to

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
FORMS = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 1, 4, "\t"]), "ensure_ascii": st.booleans()}
)


def places(value, pointer=""):
    """Every pointer into `value`, with what stands there."""
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
    spans = find_spans(text, wanted)
    assert set(spans) == set(wanted)
    for pointer, span in spans.items():
        assert json.loads(text[span.start : span.end]) == wanted[pointer]
        if span.key is not None:
            name = json.loads(text[span.key[0] : span.key[1]])
            assert pointer.rpartition("/")[2] == pointer_to(name)[1:]


def test_what_leads_nowhere_is_left_out():
    """A pointer to what is not there has no place."""
    assert set(find_spans('{"a": [1]}', ["/a/1", "/b", "/a/0/x", "/a/0"])) == {"/a/0"}


def test_of_members_that_stand_twice_the_last():
    """As parsers read it."""
    text = '{"a": 1, "a": 2}'
    assert text[slice(*find_spans(text, ["/a"])["/a"].key)] == '"a"'
    assert find_spans(text, ["/a"])["/a"].start == text.index("2")


def test_one_pass(count_calls):
    """However many places are asked for, the text is read once."""

    def work(count):
        text = json.dumps({f"k{n}": [n] * 3 for n in range(count)})
        return count_calls(lambda: find_spans(text, [f"/k{n}/0" for n in range(count)]))

    assert work(2000) < 2.2 * work(1000)
