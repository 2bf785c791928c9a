import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract import identity
from hpoq.contract.identity import (
    canonical,
    derive_event_id,
    derive_key,
    derive_message_key,
    find_marker_keys,
    format_marker,
)

# A change of any of these values would make every message in flight a second time.
GOLDEN = {
    ("smq", "0FFF111D2A6B444B7FE46AE2xxxxxxxx"): "f6b806d9-3030-5490-be5e-d44e60cb3515",
    ("smq", "5F290C926D472878-2-14D9529A8FA-200000001"): "381fbf4a-6770-54c6-b664-ce00de3dfe35",
    ("producer", "order-42"): "92125e0f-db7b-5354-8975-829764585bb1",
    ("producer", "测试 é"): "642d2ef8-725f-57d5-aee7-83645ce961a1",
    ("kafka", "topic:3:17"): "37b9dc6d-b450-5ae2-8269-48b8eee0855f",
    ("cloudevent", '{"id":"1","source":"s"}'): "4315ec82-4005-5786-9953-90cec794840d",
    ("producer", "order-42", "team-a"): "70dde799-ec44-5431-bb06-530260bc9381",
}
GOLDEN_EVENTS = {
    "created": "d1224c4b-653b-550e-ac29-6536c6f901fe",
    "rejected": "40eda29c-ca4c-557e-bbc8-241db0f0f0b2",
    "failed": "97a573b7-1ab1-58bb-ac26-87ca3d90db16",
}


def test_golden_keys():
    """The key for a given identity never changes."""
    assert {parts: derive_key(*parts) for parts in GOLDEN} == GOLDEN


def test_golden_event_ids():
    """The event id for a given key and type never changes."""
    key = derive_key("producer", "order-42")
    assert {type_class: derive_event_id(key, type_class) for type_class in GOLDEN_EVENTS} == GOLDEN_EVENTS


@given(st.uuids(), st.text(st.characters(exclude_categories=("Cs",))))
def test_uuids_are_those_of_the_standard(namespace, name):
    """A UUID of version 5 is that of the standard library."""
    assert identity.derive_uuid(str(namespace), name) == str(uuid.uuid5(namespace, name))


def test_golden_kinds():
    """A kind is part of what a key is derived from, so it never changes either."""
    for kind in ("producer", "smq", "cloudevent", "conflict", "stop", "stopped", "watch", "digest"):
        assert getattr(identity, kind.upper()) == kind


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), unique=True, min_size=2, max_size=2))
def test_canonical_form_is_injective(parts):
    """Different kinds, ids and namespaces always have different canonical texts."""
    assert canonical(*parts[0]) != canonical(*parts[1])


def test_a_namespace_separates_every_kind_of_key():
    """Two users of one table have different keys for the same id of any kind."""
    for kind, name in [("producer", "k"), ("smq", "M1"), ("conflict", "k"), ("digest", "d")]:
        assert derive_key(kind, name, "a") != derive_key(kind, name, "b")
        assert derive_key(kind, name, "") == derive_key(kind, name)
    assert derive_message_key(None, "M1", "a") == derive_key("smq", "M1", "a")
    assert derive_message_key("k", "M1", "a") == derive_key("producer", "k", "a")
    assert derive_message_key(None, "M1") == derive_key("smq", "M1")
    assert derive_message_key("k", "M1") == derive_key("producer", "k")


def test_keys_are_compared_as_written():
    """A key in another normal form, or with a blank at its end, is a different key."""
    assert derive_key("producer", "\u00e9") != derive_key("producer", "e\u0301")
    assert derive_key("producer", "k") != derive_key("producer", "k ")


def test_a_digest_is_sha_256():
    """It identifies a message without an id, so it never changes."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert identity.digest(b"") == empty != identity.digest(b"a")


def test_markers_of_an_experiment():
    """A marker is a tag of hpoq or a part of the description, and a service may change its case."""
    one, other = derive_key("producer", "1"), derive_key("producer", "2")
    assert find_marker_keys([], None) == find_marker_keys([("name", one), ("hpoq-keys", one)], one) == set()
    assert not re.search(identity.MARKER_TAG, "x-hpoq-key")  # as a JSON schema matches
    assert find_marker_keys([("name", "x"), ("HPOQ-Key", one.upper())], None) == {one}
    description = f"mine {format_marker(one).upper()} {format_marker(other)} [hpoq-key: soon]"
    assert find_marker_keys([("hpoq-key", one)], description) == {one, other}


def test_a_value_that_is_not_a_whole_key_is_not_a_marker():
    """It must not show that a service keeps markers."""
    key = derive_key("producer", "1")
    assert find_marker_keys([("hpoq-key", f" {key}\n")], None) == {key}
    for value in (key[:32], f"{key}-{key}", key.replace("-", ""), "***", ""):
        assert find_marker_keys([("hpoq-key", value)], None) == set(), value
