import io
import json

import pytest
import structlog

from hpoq.observability import logs
from hpoq.observability.redaction import known_secrets, redact, redact_known


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
            nested={"security_token": 1, "list": ["the canary", 2.5, None]},
            thing=ValueError("canary"),
        )
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "x ***",
        "level": "info",
        "accessKeySecret": "***",
        "nested": {"security_token": "***", "list": ["the ***", 2.5, None]},
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
