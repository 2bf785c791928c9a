import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract.keys import derive_key, digest
from hpoq.processing.envelope import Envelope, seal, unseal

KEY = derive_key("smq", "M1")


@given(st.text(), st.text())
def test_round_trip(body, message_id):
    """Key, first message id and body come back to the byte."""
    envelope = Envelope("smq", message_id, derive_key("smq", message_id), body.encode())
    assert unseal(seal(envelope)) == envelope


@given(st.binary())
def test_round_trip_without_an_id(body):
    """A message without an id is known by its body."""
    envelope = Envelope("digest", None, derive_key("digest", digest(body)), body)
    with contextlib.suppress(UnicodeDecodeError):
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
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"M2","key":"' + KEY.encode() + b'"},"body":"x"}',
        b'{"hpoq":{"version":"1","kind":"smq","messageId":null,"key":"' + KEY.encode() + b'"},"body":"x"}',
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"\\ud800","key":"'
        + KEY.encode()
        + b'"},"body":"x"}',
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
