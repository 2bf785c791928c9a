"""Bodies arrive plain, in base64 or as a JSON string; which it is can be seen from the body alone."""

import pytest

from fcruntime.triggers.body import as_text, decode_base64, unwrap_base64, unwrap_text

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "body", [b"e30", b"e30=", b"e30==", b"e3\n0=", b" e30= ", BOM + b"e30="], ids=lambda body: body.hex()
)
def test_base64_may_have_any_padding_blanks_and_a_mark(body):
    """Encoders differ in padding and line breaks; the content is the same."""
    assert decode_base64(body) == b"{}"


def test_both_alphabets_of_base64_are_read():
    """`-_` of URLs and `+/` have the same content."""
    assert decode_base64(b"-_-_") == decode_base64(b"+/+/") == bytes.fromhex("fbffbf")


@pytest.mark.parametrize("body", [b"e", b"{}", b"e30?", b"\xff\xfe"])
def test_what_is_not_base64_has_no_content(body):
    """A length that no content has, and characters of no alphabet, are invalid."""
    assert decode_base64(body) is None


@pytest.mark.parametrize(
    ("body", "inner"),
    [
        (b"e30=", b"{}"),
        (b"Int9Ig==", b'"{}"'),
        (b"In0i", b"In0i"),  # the string "}"
        (b"ImUzMD0i", b'"e30="'),
        (b"aGVsbG8=", b"aGVsbG8="),
        (b"e30", b"{}"),
        (b"{}", b"{}"),
    ],
)
def test_base64_is_undone_around_json_alone(body, inner):
    """A text that is base64 by chance stays as it is."""
    assert unwrap_base64(body) == inner


@pytest.mark.parametrize("blanks", [b"", b" ", b"\n\t\r ", BOM, BOM + b" "])
@pytest.mark.parametrize("text", [b'"{}"', b'"e30="', b'"e30"'])
def test_a_json_string_is_opened_if_it_contains_json(blanks, text):
    """Blanks and a byte order mark before it do not matter."""
    assert unwrap_text(blanks + text) == b"{}"


@pytest.mark.parametrize(
    "body", [b'"{}', b'"\xff"', b'"hello"', b'"5"', b'""', b'"aGVsbG8="', b"{}", b" {}", b"5"]
)
def test_any_other_body_stays_as_it_is(body):
    """A string that is not finished, not UTF-8 or without JSON is the producer's own."""
    assert unwrap_text(body) == body


def test_a_body_is_text_if_it_can_be():
    """The flag says that the text is base64, which is used for bytes that are not UTF-8 alone."""
    assert as_text("ä".encode()) == ("ä", False)
    assert as_text(b"\xff") == ("/w==", True)
