import json
import random
import string
import zlib
from base64 import b85encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.triggers import Message
from hpoq.cloud.smq import fits
from hpoq.contract.identity import CLOUDEVENT, DIGEST, derive_key, digest
from hpoq.contract.jsontext import MOST_BODY_BYTES
from hpoq.processing import envelope as module
from hpoq.processing.envelope import Envelope, is_sealed, looks_sealed, open_envelope, seal, unseal
from support.budget import examples

KEY = derive_key("smq", "M1")
FIRST = Envelope("smq", "M1", KEY, b'{"a": 1}')
HEADER = '{"version":"1","kind":"smq","messageId":"M1","key":"' + KEY + '"}'
LARGEST_IN_A_QUEUE = 65_536


def wire(header=HEADER, **document):
    """Return an envelope as a forger would write it."""
    rest = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in document.items())
    return ('{"hpoq":' + header + rest + "}").encode()


def forge(**members):
    """Return an envelope with a right key in which `members` replace those of the header, or are added."""
    return wire(json.dumps({**json.loads(HEADER), **members}), body="x")


def request_of(size, seed):
    """Return a typical request of `size` bytes: a long script and many parameters, none of them repeated."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(string.ascii_letters, k=chance.randint(3, 9))) for _ in range(400)]
    script: list[str] = []
    body = b""
    while len(body) < size:
        script += [
            f"--{chance.choice(words)} {chance.choice(words)}={chance.random():.6f}" for _ in range(20)
        ]
        body = json.dumps({"experiment": {"Name": "x", "script": " \\\n".join(script)}}).encode()
    return body[: size - 4] + b'"}}\n' if size <= len(body) else body


@given(st.text(), st.binary(), st.integers(0, 2**31 - 1), st.booleans(), st.sampled_from(["", "team-a"]))
def test_an_envelope_comes_back_as_it_was_sealed(message_id, body, sequence, redriven, namespace):
    """Identity, sequence number and body survive to the byte, whether or not the body is text."""
    known = Envelope("smq", message_id, derive_key("smq", message_id, namespace), body, sequence, redriven)
    key = derive_key(DIGEST, digest(body), namespace)
    unknown = Envelope(DIGEST, None, key, body, sequence, redriven)
    for envelope in (known, unknown):
        assert unseal(seal(envelope), namespace) == envelope


def test_the_wire_form_of_a_small_body_is_pinned():
    """Envelopes wait in queues while the function is updated, so their form must not change."""
    assert seal(FIRST) == (
        b'{"hpoq":{"version":"1","kind":"smq","messageId":"M1","key":"' + KEY.encode() + b'"},'
        b'"body":"{\\"a\\": 1}"}'
    )
    times = {"since": 1.23456, "renewed": 2.5}
    again = json.loads(seal(replace(FIRST, sequence=3, redriven=True, **times)))["hpoq"]
    assert (again["sequence"], again["redriven"]) == (3, True)
    assert (again["since"], again["renewed"]) == (1.235, 2.5), "to the millisecond"


def test_the_wire_form_of_a_compressed_body_is_pinned():
    """A compressed body is zlib in base85."""
    sealed = json.loads(seal(replace(FIRST, body=b"a" * 1000)))
    assert sealed.keys() == {"hpoq", "zip"}
    assert unseal(wire(zip=b85encode(zlib.compress(b"{}")).decode())) == replace(FIRST, body=b"{}")


def test_members_that_a_later_version_adds_are_ignored():
    """An envelope without sequence is the first; an unknown header member does not spoil it."""
    header = HEADER[:-1] + ',"later":[1]}'
    assert unseal(wire(header, body='{"a": 1}')) == FIRST


@pytest.mark.parametrize("size", [44_037, 50_000, 60_000, LARGEST_IN_A_QUEUE])
def test_typical_messages_of_any_size_that_a_queue_takes_fit(size):
    """What a producer could send can be sent back, unless it cannot be compressed."""
    bodies = [request_of(size, seed) for seed in range(examples(8))]
    assert {len(body) for body in bodies} == {size}
    assert all(fits(seal(replace(FIRST, body=body))) for body in bodies)


def test_only_what_cannot_be_compressed_does_not_fit():
    """A large body of random bytes is the one that an envelope makes too large."""
    chance = random.Random(1)
    assert fits(seal(replace(FIRST, body=chance.randbytes(38_000))))
    assert not fits(seal(replace(FIRST, body=chance.randbytes(LARGEST_IN_A_QUEUE))))


def test_the_smaller_form_is_chosen():
    """A body is compressed only if its envelope gets smaller."""
    for size in range(0, 2_000, 50):
        body = request_of(size, 7) if size > 200 else b"a" * size
        plain = wire(body=body.decode())
        compressed = wire(zip=b85encode(zlib.compress(body, 9)).decode())
        assert len(seal(replace(FIRST, body=body))) == min(len(plain), len(compressed))


@pytest.mark.parametrize("excess", [0, 1])
def test_decompression_is_bounded(excess):
    """A compressed body that is larger than any that is read is not an envelope of hpoq's."""
    body = b"\xff" * (MOST_BODY_BYTES + excess)
    forged = wire(zip=b85encode(zlib.compress(body, 9)).decode())
    assert unseal(forged) == (None if excess else replace(FIRST, body=body))


@pytest.mark.parametrize("byte", [b"a", b'"', b"\xff"])
def test_a_body_that_is_too_large_to_be_decompressed_is_not_compressed(byte):
    """What could not be opened again must not fit into a message. Text of any size is carried as text."""
    large = replace(FIRST, body=byte * (MOST_BODY_BYTES + 1))
    assert not fits(seal(large))
    assert unseal(seal(large)) == (None if byte == b"\xff" else large)


def test_the_largest_body_that_is_read_is_compressed():
    """It fits into a message, and is opened again."""
    largest = replace(FIRST, body=b"a" * MOST_BODY_BYTES)
    assert fits(seal(largest))
    assert unseal(seal(largest)) == largest


def test_a_body_is_carried_with_as_few_bytes_as_possible():
    """Text is UTF-8 without escapes, and is compressed as far as zlib can."""
    assert "名".encode() in seal(replace(FIRST, body='{"a": "名"}'.encode()))
    body = request_of(60_000, 0)
    assert json.loads(seal(replace(FIRST, body=body)))["zip"] == b85encode(zlib.compress(body, 9)).decode()


ZIPPED = zlib.compress(b"{}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"hpoq":',
        wire("1", body="x"),
        wire(HEADER.replace('"1"', '"2"', 1), body="x"),
        wire(HEADER.replace(KEY, "not a key"), body="x"),
        wire(HEADER.replace('"M1"', "7"), body="x"),
        wire(HEADER.replace('"M1"', '"M2"'), body="x"),
        wire(HEADER.replace('"M1"', "null"), body="x"),
        wire(HEADER.replace('"M1"', '"\\ud800"'), body="x"),
        wire(),
        wire(body={}),
        wire(body="x", zip=b85encode(ZIPPED).decode()),
        wire(zip=1),
        wire(zip="not base85 \\"),
        wire(zip="é"),
        wire(zip=b85encode(b"not zlib").decode()),
        wire(zip=b85encode(ZIPPED[:-1]).decode()),
        wire(zip=b85encode(ZIPPED + b"more").decode()),
        *(
            wire(HEADER[:-1] + f',"sequence":{value}}}', body="x")
            for value in ("-1", "1.5", "true", '"1"', "null", str(2**31))
        ),
        *(wire(HEADER[:-1] + f',"redriven":{value}}}', body="x") for value in ("1", '"true"', "null")),
        b'{"hpoq":' + b"[" * 100_000,
        b'["hpoq"]',
        wire(HEADER.replace('"smq"', '["smq"]'), body="x"),
        forge(kind="other", key=derive_key("other", "M1")),
        forge(messageId=7, key=derive_key("smq", 7)),
        forge(messageId=None, key=derive_key(DIGEST, digest(b"x"))),
        forge(cloudEvent=7, key=derive_key(CLOUDEVENT, 7)),
        *(
            forge(**{name: time})
            for name in ("since", "renewed")
            for time in ("1", True, [], -1, -0.5, 1e11 + 1)
        ),
    ],
)
def test_what_only_resembles_an_envelope_is_an_ordinary_message(body):
    """An envelope that hpoq did not write is not trusted: it is read as a message."""
    assert unseal(body) is None
    message = Message("smq", "M9", body)
    assert open_envelope(message) == Envelope("smq", "M9", derive_key("smq", "M9"), body)


@pytest.mark.parametrize("kind", sorted(module._KINDS))
def test_a_key_is_believed_only_if_it_derives_from_the_identity_beside_it(kind):
    """Whoever forges one cannot reach the record of another message, of whatever kind the envelope says it is."""
    forged = forge(kind=kind, messageId="M2")
    assert unseal(forged) is None
    assert looks_sealed(forged)


def test_an_envelope_of_another_namespace_is_an_ordinary_message():
    """The namespace takes part in the key, so no one can use another namespace's envelopes."""
    sealed = seal(replace(FIRST, key=derive_key("smq", "M1", "team-a")))
    assert unseal(sealed) is None
    assert unseal(sealed, "team-b") is None
    assert unseal(sealed, "team-a") is not None


@pytest.mark.parametrize(
    "body",
    [
        seal(FIRST),
        seal(replace(FIRST, body=b"a" * 1000, sequence=3, redriven=True, since=1.0, renewed=2.0)),
        seal(Envelope(DIGEST, None, derive_key(DIGEST, digest(b"x")), b"x")),
        forge(key=derive_key("smq", "M1", "team-a")),
        forge(kind="a source of a later version"),
        forge(cloudEvent="1"),
        wire(HEADER.replace('"1"', '"2"', 1)),
        wire(HEADER.replace('"1"', '"2"', 1).replace('"M1"', "[7]"), content=[]),
    ],
)
def test_an_envelope_of_another_namespace_or_of_a_later_version_is_known_by_its_form(body):
    """It waits for the setting or the version that opens it; a later version may write all else in another way."""
    assert looks_sealed(body)


UNKNOWN_FORMS = [
    b"{}",
    b'{"hpoq":{"key":0}}',
    wire("1", body="x"),
    *(forge(key=key) for key in (0, None, "", "not a key", KEY.upper(), KEY + "\n", f"{KEY}0")),
    *(forge(version=version) for version in (1, None, "")),
    *(forge(kind=kind) for kind in (1, None, ["smq"])),
    forge(messageId=7),
    forge(sequence=-1),
    forge(redriven=1),
    forge(since="1"),
    forge(cloudEvent=7),
    wire(),
    wire(body={}),
    wire(zip="not base85 \\"),
    wire(body="x", zip=b85encode(ZIPPED).decode()),
]


def test_an_unknown_form_is_not_an_envelope():
    """It is an ordinary message, which does not wait."""
    assert [body for body in UNKNOWN_FORMS if looks_sealed(body)] == []


def test_a_message_that_resembles_an_envelope_needs_no_source():
    """What is wrong with it is found when it is read."""
    assert is_sealed({"hpoq": {"key": 0}})
    assert not is_sealed({"hpoq": {}})
    assert not is_sealed({"hpoq": 1})


@pytest.mark.parametrize("time", [None, 0, 0.25, 1e11])
def test_the_times_of_an_envelope_are_read(time):
    """Seconds since the epoch, up to a year in which nobody will ask any more."""
    assert unseal(forge(since=time, renewed=time)) == replace(FIRST, body=b"x", since=time, renewed=time)


def test_the_highest_number_of_a_copy_is_read():
    """It fits into 32 bits with a sign; a higher one is forged."""
    assert unseal(forge(sequence=2**31 - 1)).sequence == 2**31 - 1


def test_the_body_of_a_message_is_not_part_of_what_is_printed():
    """It may contain secrets."""
    assert "body" not in repr(FIRST)


EVENT = '{"id":"1","source":"s"}'
STRUCTURED = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}'
EVENT_KEY = derive_key(CLOUDEVENT, EVENT)


@pytest.mark.parametrize(
    ("message", "envelope"),
    [
        (Message("http", "R1", b"{}", EVENT), Envelope("http", "R1", EVENT_KEY, b"{}", cloud_event=EVENT)),
        (Message("http", "R1", STRUCTURED, EVENT), Envelope("http", "R1", EVENT_KEY, STRUCTURED)),
        (Message("http", None, b"{}", EVENT), Envelope(CLOUDEVENT, EVENT, EVENT_KEY, b"{}")),
        (Message("http", None, STRUCTURED, EVENT), Envelope(CLOUDEVENT, EVENT, EVENT_KEY, STRUCTURED)),
    ],
    ids=["binary", "structured", "binary without an id", "structured without an id"],
)
def test_a_cloudevent_keeps_its_identity(message, envelope):
    """The envelope carries the identity of the event if its body does not."""
    assert open_envelope(message) == envelope
    times = {"sequence": 2, "since": 1.5, "renewed": 2.5}
    again = replace(envelope, **times)
    assert open_envelope(Message("smq", "M9", seal(again))) == again


@pytest.mark.parametrize("namespace", ["", "team-a"])
def test_the_first_delivery_makes_an_envelope(namespace):
    """A message is known by its source's id, or by its body if its source gives it none."""
    body = b'{"a": 1}'
    known = open_envelope(Message("smq", "M1", body), namespace)
    assert known == Envelope("smq", "M1", derive_key("smq", "M1", namespace), body)
    unknown = open_envelope(Message("http", None, body), namespace)
    assert unknown == Envelope(DIGEST, None, derive_key(DIGEST, digest(body), namespace), body)
