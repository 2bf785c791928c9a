import io
import json
import time
from html import escape
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from hpoq.observability import logs
from hpoq.observability.redaction import Mask, known_secrets, redact, redact_known
from support.budget import sample_by_default


@pytest.fixture
def lines():
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def test_longer_secrets_go_first():
    """A secret that contains another leaves no remainder behind."""
    assert redact("a=secret-long b=secret", ["secret", "secret-long"]) == "a=*** b=***"


@pytest.mark.parametrize(
    "page",
    [
        "a&amp;&quot;b&quot;&lt;&#x27;c&#x27;&gt;",
        "a&amp;&quot;b&quot;&lt;'c'&gt;",
        "a&amp;&quot;b&quot;&lt;&#39;c&#39;&gt;",
        "a&amp;&#34;b&#34;&lt;&#39;c&#39;&gt;",
        "a&amp;\"b\"&lt;'c'&gt;",
    ],
)
def test_a_secret_in_a_page_is_masked(page):
    """A proxy's error page quotes what it got, escaped as HTML."""
    assert redact(f"<p>{page}</p>", ["a&\"b\"<'c'>"]) == "<p>***</p>"


def as_json(text):
    return json.dumps(text)[1:-1]


def as_utf8_json(text):
    return json.dumps(text, ensure_ascii=False)[1:-1]


def escape_signs(text):
    """Escape as Gson does by default."""
    return "".join(f"\\u{ord(c):04x}" if c in "=<>&'" else c for c in as_utf8_json(text))


def escape_by_number(text):
    return "".join(c if c.isascii() and c.isalnum() else f"&#{ord(c):03};" for c in text)


SPELLINGS = {
    "plain": str,
    "JSON": as_json,
    "JSON in UTF-8": as_utf8_json,
    "JSON in JSON": lambda text: as_json(as_json(text)),
    "JSON in JSON in JSON": lambda text: as_json(as_utf8_json(as_json(text))),
    "Gson": escape_signs,
    "Go": lambda text: as_utf8_json(text).replace("&", r"\u0026").replace("<", r"\u003c"),
    "PHP": lambda text: as_json(text).replace("/", r"\/"),
    "Python": lambda text: repr(text)[1:-1],
    "URL": lambda text: quote(text, safe=""),
    "URL with slashes": quote,
    "form": quote_plus,
    "URL in lower case": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%3D", "%3d"),
    "JSON in a URL": lambda text: quote(as_json(text)),
    "Gson in a URL in a URL": lambda text: quote(quote(escape_signs(text))),
    "HTML": escape,
    "HTML by number": escape_by_number,
    "HTML by hexadecimal number": lambda text: "".join(f"&#x{ord(c):X};" if c in "\"'&" else c for c in text),
    "JSON in HTML": lambda text: escape(as_json(text)),
    "HTML in JSON": lambda text: as_json(escape(text)),
}
PRINTABLE = st.characters(exclude_categories=["C", "Zl", "Zp"])
SIGNS = st.sampled_from("\\/\"'<>&=+% u0n2;#\n")


@given(
    st.text(PRINTABLE, min_size=4) | st.text(SIGNS | st.sampled_from("abé漢😀"), min_size=4),
    st.sampled_from(
        ["{}", '"{}"', "bad value {} in a request", r"{{\"access_key\":\"{}\"}}", "?a=1&b={}&c=2"]
    ),
)
def test_no_spelling_of_a_secret_is_shown(secret, around):
    """A service may quote what it got in another encoding, and its client decodes what an event shows."""
    assume(secret.strip("\\"))
    mask = Mask([secret])
    for name, spell in SPELLINGS.items():
        text = around.format(spell(secret))
        masked = mask(text)
        assert "***" in masked, (name, text)
        assert masked.strip("\\") == "***" or spell(secret) not in masked.replace("***", ""), (name, text)
        begin, _, end = around.format("***").partition("***")
        assert masked.startswith(begin.rstrip("\\"))
        assert masked.endswith(end.lstrip("\\"))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_masked_text_shows_no_part_of_a_secret(spelling):
    secret = "q7Kd+Xo/9m<L>r2\\Vb8\"z&Y't4Wné %41=="
    assert redact(f"bad: {SPELLINGS[spelling](secret)}.", [secret]) == "bad: ***."


def test_a_secret_is_masked_if_a_part_of_it_is_escaped():
    assert redact(r'a\"b"c a&quot;b%22c a"b\\\u0022c', ['a"b"c']) == "*** *** ***"


def test_secrets_that_overlap_are_masked_together():
    """What is left of one beside the other would be a part of it."""
    assert redact("<abcdefghij>", ["abcdef", "defghij", "ghij"]) == "<***>"
    assert redact("<abababab>", ["ababab"]) == "<***>"


def test_what_only_reads_like_a_secret_is_shown():
    """A secret such as this one is the letter A, encoded twice."""
    assert redact("A MAP, %41 and %2541", ["%2541"]) == "A MAP, %41 and ***"


@pytest.mark.parametrize(
    "piece",
    sample_by_default(
        ["\\", "%25", "%", "&", "&amp;", "&#0", "%5C", '\\"', "+", "a", "é", "u003d", "%2541"], shift=2
    ),
)
def test_hostile_texts_are_masked_in_linear_time(piece):
    """A long text takes no longer than others of its size, whatever it and the secrets in it repeat."""
    text = piece * (24_000 // len(piece))
    began = time.process_time()
    redact(text, [text, text[:200], text[:12_000] + "x", "+++\\", "%2541", "aaaa", r"\\\a"])
    assert time.process_time() - began < 1.5


def test_short_texts_are_not_secrets():
    """Masking a secret of one or two characters would garble every text and protect nothing."""
    assert redact("abc", ["a", ""]) == "abc"


def test_known_secrets_are_of_their_context():
    """Secrets are known within their context and forgotten after it."""
    with known_secrets(["canary"]), known_secrets(["parrot"]):
        assert redact_known("canary and parrot") == "*** and ***"
    assert redact_known("canary and parrot") == "canary and parrot"


def test_no_text_is_written_after_a_search_that_failed():
    """Secrets that could not be found must not appear in the lines that follow."""

    def search():
        yield "parrot"
        raise ValueError

    with known_secrets(search()):
        with pytest.raises(ValueError):
            redact_known("a parrot")
        with pytest.raises(RuntimeError, match="search for secrets"):
            redact_known("a parrot")


def test_secrets_are_searched_for_once_and_only_if_a_text_is_masked():
    """Most messages write no text that could contain one."""
    searches = []

    def search():
        searches.append("once")
        yield "canary"

    with known_secrets(search()):
        assert searches == []
        assert [redact_known("a canary"), redact_known("canary")] == ["a ***", "***"]
        with known_secrets(["parrot"]):
            assert redact_known("canary, parrot") == "***, ***"
    assert searches == ["once"]


def test_log_lines_are_json_without_secrets(lines):
    """A line is one JSON object; secrets are cut out by value and by name, however deep."""
    with known_secrets(["canary"]):
        logs.get_logger().info(
            "x canary",
            accessKeySecret="other",
            nested={"security_token": 1, "list": ["the canary", 2.5, None], "a canary": True},
            thing=ValueError("canary"),
        )
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "x ***",
        "level": "info",
        "accessKeySecret": "***",
        "nested": {"security_token": "***", "list": ["the ***", 2.5, None], "a ***": True},
        "thing": "***",
    }


def test_tracebacks_are_cleared_too(lines):
    """An exception's text is cleared like any other."""
    with known_secrets(["canary"]):
        try:
            raise ValueError("canary")
        except ValueError:
            logs.get_logger().exception("broke")
    (line,) = lines()
    assert "ValueError: ***" in line["exception"]


def test_a_hostile_text_stays_on_its_line(lines):
    """Line breaks in a value cannot forge a line."""
    logs.get_logger().info("a\n{}", b='\n{"event":"forged"}\u2028')
    assert len(lines()) == 1


def test_level(lines):
    """Lines below the level are not written."""
    stream = io.StringIO()
    logs.configure("WARNING", stream)
    logs.get_logger().info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("text", ['x\n{"level": "info"}', "x\r\ny", "x\x1b[2J", '"}\n', "\u2028", "\x00"])
def test_nobody_can_forge_a_log_line(lines, text):
    """Whatever a text holds, a line of the log stays one JSON object."""
    logs.get_logger().info("event", name=text, key=text)
    (line,) = lines()
    assert (line["name"], line["key"]) == (text, text)


@pytest.mark.parametrize(
    ("text", "secret", "masked"),
    [
        (r'{"m": "pw S3cr\"et%7a"}', 'S3cr"et%7', '{"m": "pw ***a"}'),
        (r'{"path": "\\\\srv\\u00e9Xy\"12"}', 'u00e9Xy"12', r'{"path": "\\\\srv\\***"}'),
    ],
    ids=["before a hexadecimal digit", "behind a backslash"],
)
def test_a_secret_that_reads_as_an_escape_with_what_is_around_it(text, secret, masked):
    """As JSON writes it, it is masked whatever a decoder would make of its first or last characters."""
    assert redact(text, [secret]) == masked


def test_a_secret_may_contain_an_unpaired_surrogate():
    """JSON can write one and UTF-8 cannot, so a request or an answer may bring one."""
    assert redact("a%2Fb: abcd\ud800 é", ["abcd\ud800"]) == "a%2Fb: *** é"
    assert redact(r"a%2Fb: abcd\ud800", ["abcd\ud800"]) == "a%2Fb: ***"
