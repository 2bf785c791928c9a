import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.processing.envelope import Envelope, seal, unseal

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"


@given(st.text(), st.none() | st.text())
def test_round_trip(body, message_id):
    """Key, first message id and body come back to the byte."""
    envelope = Envelope("smq", message_id, KEY, body.encode())
    assert unseal(seal(envelope)) == envelope


def test_wire_form():
    """The wire form is pinned: messages in it wait in queues across versions."""
    assert seal(Envelope("smq", "M1", KEY, b'{"a": 1}')) == (
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"M1","key":"' + KEY.encode() + b'"},'
        b'"body":"{\\"a\\": 1}"}'
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"hpoq":',
        b'{"hpoq":1,"body":"x"}',
        b'{"hpoq":{"version":"2","kind":"smq","messageId":"M","key":"' + KEY.encode() + b'"},"body":"x"}',
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"M","key":"no uuid"},"body":"x"}',
        b'{"hpoq":{"version":"1","kind":"smq","messageId":7,"key":"' + KEY.encode() + b'"},"body":"x"}',
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"M","key":"' + KEY.encode() + b'"},"body":{}}',
        b'{"hpoq":' + b"[" * 100_000,
    ],
)
def test_what_only_resembles_an_envelope_is_a_message(body):
    """Anything but a whole envelope is left to be judged as a message."""
    assert unseal(body) is None


def test_a_body_that_is_not_text_cannot_be_sealed():
    """A body of broken UTF-8 is not sent back; its event comes again as a whole."""
    with pytest.raises(UnicodeDecodeError):
        seal(Envelope("smq", "M1", KEY, b"\xff"))
