import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.errors import RecordUnreadable
from hpoq.idempotency.record import Record, State, Version, decode, encode

TIMES = st.floats(min_value=0, max_value=1e11)
TEXTS = st.none() | st.text(max_size=80)
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
    experiment_id=TEXTS,
    event=TEXTS,
    published_at=st.none() | TIMES,
    delivery=TEXTS,
    message_id=TEXTS,
    body=TEXTS,
    generation=st.integers(0, 1000),
    tagged=st.booleans(),
    described=st.booleans(),
    searches=st.integers(0, 1000),
    sequence=st.integers(0, 2**31),
    redriven=TEXTS,
    place=TEXTS,
    not_before=TIMES,
    renewed_at=TIMES,
    last_error=TEXTS,
    watch_order=TEXTS,
    stopped_by=TEXTS,
)
OLDEST = {
    "v": 1,
    "key": "k",
    "state": "COMPLETED",
    "fingerprint": "f",
    "owner": "o",
    "claimed_at": 1.0,
    "lease_until": 2.0,
    "expires_at": 3.0,
}


@given(RECORDS)
def test_a_record_comes_back_as_it_was_written(record):
    """Encoding and decoding lose no member of a record."""
    assert decode(record.key, encode(record)) == record


def test_the_form_at_rest_is_pinned():
    """Stores hold records across versions of the code, so their form must not change."""
    record = Record(
        "k",
        State.COMPLETED,
        "f",
        "o",
        claimed_at=1.0,
        lease_until=2.0,
        expires_at=3.0,
        doubt_until=4.0,
        attempts=5,
        experiment_id="s1",
        event="{}",
        published_at=6.0,
        delivery="m",
        message_id="M1",
        body="b",
        generation=7,
        tagged=True,
        searches=8,
        sequence=9,
        redriven="R1",
        place="https://pai",
        not_before=10.0,
        renewed_at=11.0,
        last_error="{}",
        uncertain=True,
        watch_order="{}",
        stopped_by="request",
    )
    assert json.loads(encode(record)) == OLDEST | {
        "doubt_until": 4.0,
        "attempts": 5,
        "experiment_id": "s1",
        "event": "{}",
        "published_at": 6.0,
        "delivery": "m",
        "message_id": "M1",
        "body": "b",
        "generation": 7,
        "tagged": True,
        "described": False,
        "searches": 8,
        "sequence": 9,
        "redriven": "R1",
        "place": "https://pai",
        "not_before": 10.0,
        "renewed_at": 11.0,
        "last_error": "{}",
        "uncertain": True,
        "watch_order": "{}",
        "stopped_by": "request",
    }


def test_the_names_of_states_are_pinned():
    """They are at rest in every store."""
    assert [state.value for state in State] == ["IN_PROGRESS", "COMPLETED", "REJECTED", "FAILED"]


def test_members_that_an_earlier_version_did_not_write_have_their_defaults():
    """A record that lacks the marker's places says that its creates may have gone without a marker."""
    record = decode("k", json.dumps(OLDEST))
    assert record == Record("k", State.COMPLETED, "f", "o", 1.0, 2.0, 3.0)
    assert (record.tagged, record.described) == (False, False)
    assert json.loads(encode(record)) == OLDEST | {
        "doubt_until": None,
        "attempts": 1,
        "experiment_id": None,
        "event": None,
        "published_at": None,
        "delivery": None,
        "message_id": None,
        "body": None,
        "generation": 0,
        "tagged": False,
        "described": False,
        "searches": 0,
        "sequence": 0,
        "redriven": None,
        "place": None,
        "not_before": 0.0,
        "renewed_at": 0.0,
        "last_error": None,
        "uncertain": False,
        "watch_order": None,
        "stopped_by": None,
    }


def test_a_later_version_is_read_and_written_back_with_what_is_unknown():
    """After a roll-back, the record of a later version still works, and loses nothing."""
    text = json.dumps(OLDEST | {"v": 2, "watchers": [1], "": None})
    record = decode("k", text)
    assert (record.state, record.owner) == (State.COMPLETED, "o")
    assert record.later == '{"v":2,"watchers":[1],"":null}'
    assert json.loads(encode(record)).items() >= json.loads(text).items()


def test_a_record_has_no_white_space_between_its_members():
    """Stores keep millions of records."""
    record = decode("k", json.dumps(OLDEST))
    assert encode(record) == "".join(encode(record).split())


def test_a_version_that_knows_no_account_reads_the_place_that_it_would_write():
    """After a roll-back it would take another place for another endpoint, and its messages would wait."""
    text = json.dumps(OLDEST | {"place": "https://a", "account": "1"})
    record = decode("k", text)
    assert record.place == "https://a#1"
    assert decode("k", json.dumps(OLDEST | {"place": None, "account": "1"})).place is None
    assert json.loads(encode(record)).items() >= json.loads(text).items()


def test_a_later_version_that_lacks_what_is_needed_is_refused_by_its_number():
    """A record of a later version that this code cannot work with is not guessed at."""
    with pytest.raises(RecordUnreadable, match="format version 2, which lacks"):
        decode("k", '{"v": 2}')


def test_a_claim_that_does_not_say_how_long_it_is_in_doubt_is_refused():
    """A missing doubt must not be read as none: a create may be under way."""
    text = json.dumps(OLDEST | {"state": "IN_PROGRESS"})
    with pytest.raises(RecordUnreadable, match="damaged"):
        decode("k", text)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"v": 1}', json.dumps(OLDEST | {"state": "WHAT"}), "[" * 100_000, "\udcff"],
)
def test_a_damaged_record_is_refused(text):
    """A damaged record is an error, not the absence of a record."""
    with pytest.raises(RecordUnreadable, match="record k: damaged"):
        decode("k", text)


@pytest.mark.parametrize("value", ["soon", None, [], float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["claimed_at", "lease_until", "expires_at", "not_before", "renewed_at"])
def test_a_record_whose_times_are_not_numbers_is_damaged(name, value):
    """A lease that cannot be compared with the clock neither holds nor ends."""
    with pytest.raises(RecordUnreadable, match="damaged"):
        decode("k", json.dumps({**OLDEST, name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owner", None),
        ("attempts", None),
        ("sequence", "1"),
        ("generation", 1.0),
        ("tagged", 1),
        ("doubt_until", "soon"),
        ("published_at", "soon"),
        ("redriven", ["m"]),
        ("event", {}),
        ("last_error", {}),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_member_of_another_type_makes_a_record_unreadable(name, value, version):
    """It is no defect of the function: the version that wrote it can read it. An audit goes on with other records."""
    with pytest.raises(
        RecordUnreadable, match="damaged" if version == 1 else "format version 2, which lacks"
    ):
        decode("k", json.dumps({**OLDEST, "v": version, name: value}))


def test_the_record_of_another_key_is_damaged():
    """To believe it would acknowledge a message that was never processed."""
    with pytest.raises(RecordUnreadable, match="record other: damaged"):
        decode("other", json.dumps(OLDEST))


def test_state_and_owner_are_what_a_swap_compares():
    """The fencing token of the owner and the state make the version of a record."""
    assert decode("k", json.dumps(OLDEST)).version == Version(State.COMPLETED, "o")
