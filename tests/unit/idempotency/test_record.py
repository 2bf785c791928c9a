import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.errors import RecordUnreadable
from hpoq.idempotency.record import Record, State, decode, encode

TIMES = st.floats(min_value=0, max_value=1e11)
RECORDS = st.builds(
    Record,
    key=st.uuids().map(str),
    state=st.sampled_from(State),
    fingerprint=st.text(max_size=80),
    owner=st.text(max_size=40),
    claimed_at=TIMES,
    lease_until=TIMES,
    expires_at=TIMES,
    doubt_until=st.none() | TIMES,
    attempts=st.integers(0, 1000),
    experiment_id=st.none() | st.text(max_size=20),
    event=st.none() | st.text(max_size=200),
    published_at=st.none() | TIMES,
)


@given(RECORDS)
def test_codec_is_lossless(record):
    """A record at rest is the record, to the last member."""
    assert decode(record.key, encode(record)) == record


def test_a_later_version_is_refused_by_name():
    """A record of a later format is not guessed at."""
    with pytest.raises(RecordUnreadable, match="format version 2"):
        decode("k", '{"v": 2}')


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"v": 1}', '{"v": 1, "state": "WHAT"}'])
def test_damaged_records_are_refused(text):
    """A damaged record is told apart from none."""
    with pytest.raises(RecordUnreadable):
        decode("k", text)


def test_form_at_rest():
    """The form at rest is pinned: stores hold it across versions."""
    record = Record("k", State.COMPLETED, "f", "o", 1.0, 2.0, 3.0, 4.0, 5, "s1", "{}", 6.0)
    assert json.loads(encode(record)) == {
        "v": 1,
        "key": "k",
        "state": "COMPLETED",
        "fingerprint": "f",
        "owner": "o",
        "claimed_at": 1.0,
        "lease_until": 2.0,
        "expires_at": 3.0,
        "doubt_until": 4.0,
        "attempts": 5,
        "experiment_id": "s1",
        "event": "{}",
        "published_at": 6.0,
    }
