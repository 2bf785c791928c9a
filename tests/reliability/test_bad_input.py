"""Bad input from the outside: each kind ends in an event that names its rule, and costs its neighbours nothing."""

import base64
import gzip
import json
import zlib
from contextlib import suppress

import pytest

from fcruntime.triggers import EventUnreadable, decode
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from support.request import make_document

MINIMAL = make_document()
TEXT = json.dumps(MINIMAL)
NAMED = TEXT.replace('"Name"', '"Name": "x", "Name"', 1)
EVENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": MINIMAL}


def with_value(text):
    """Return the request, with `text` as a weight."""
    return TEXT.replace('"metric_dict": {', '"metric_dict": {"x": ' + text + ", ", 1)


BAD = {
    "duplicate key": (NAMED.encode(), "json.duplicate-key"),
    "NaN": (with_value("NaN").encode(), "json.non-finite"),
    "Infinity": (with_value("-Infinity").encode(), "json.non-finite"),
    "a number beyond floats": (with_value("1e999").encode(), "json.non-finite"),
    "a huge integer": (with_value("9" * 5000).encode(), "json.number"),
    "invalid UTF-8": (TEXT.encode().replace(b"{", b'{"\xff": 1, ', 1), "json.encoding"),
    "a lone surrogate": (TEXT.replace("{", '{"\\ud800": 1, ', 1).encode(), "json.surrogate"),
    "10 MB": (json.dumps({"experiment": {"Description": "x" * 10_000_000}}).encode(), "body.too-large"),
    "10,000 levels": (b'{"experiment":' * 10_000 + b"1" + b"}" * 10_000, "json.depth"),
    "10,000 arrays": (b'{"experiment":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "json.depth"),
    "base64 of base64": (base64.b64encode(TEXT.encode()), "body.base64-twice"),
    "gzip": (gzip.compress(TEXT.encode()), "body.compressed"),
    "zlib": (zlib.compress(TEXT.encode()), "body.compressed"),
    "wrong specversion": (json.dumps({**EVENT, "specversion": "0.3"}).encode(), "cloudevent.specversion"),
    "unknown schemaVersion": (json.dumps({**MINIMAL, "schemaVersion": "2"}).encode(), "schema-version"),
    "no JSON": (b"please run my experiment", "json.syntax"),
    "nothing": (b"", "json.syntax"),
    "broken off": (TEXT[:-1].encode(), "json.syntax"),
    "an array": (b"[1]", "document.shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_body(world, case):
    """The event names the rule and quotes nothing; the other message of the batch is created."""
    body, rule = BAD[case]
    rows = world.deliver(smq_stream_event({"M1": encode_body(body), "M2": encode_body(TEXT)}))
    assert [row["outcome"] for row in rows] == ["rejected", "created"]
    rejected = next(event for event in world.events if event["type"].endswith("rejected.v1"))
    (violation,) = rejected["data"]["error"]["violations"]
    assert violation["rule"] == rule
    assert 10 < len(violation["message"]) < 200
    assert world.broken() == []


@pytest.mark.parametrize("case", BAD)
def test_a_bad_body_is_the_same_in_every_delivery(world, case):
    """A redelivered bad message is a duplicate: one event."""
    body, _ = BAD[case]
    event = smq_event("M1", encode_body(body))
    assert [world.deliver(event)[0]["outcome"] for _ in range(2)] == ["rejected", "duplicate"]
    assert len(world.events) == 1


# What a parser of the whole event cannot take, or has to look at again, must still be read in one go.
GROWING = {
    "items": lambda n: json.dumps([{"messageId": f"{i}", "messageBody": "x"} for i in range(n)]),
    "texts": lambda n: json.dumps([json.dumps({"messageId": f"{i}", "messageBody": "x"}) for i in range(n)]),
    "one deep item": lambda n: "[1," + "[" * 10_000 + "]" * 10_000 + ",{}" * n + "]",
    "quotes in a deep event": lambda n: "[" * 10_000 + '"' + '\\"' * n + '"' + "]" * 10_000,
    "quotes in a cut off event": lambda n: "[" * 10_000 + '"' + '\\"' * n,
    "notifications": lambda n: json.dumps(
        [{"messageId": "i", "messageBody": "<Notification><Message>" * 9}] * n
    ),
    "base64": lambda n: json.dumps([{"messageId": "i", "messageBody": encode_body("{}" * 99)}] * n),
}


@pytest.mark.parametrize("case", GROWING)
def test_twice_the_event_is_twice_the_work(case, count_calls):
    """No part of an event is looked at again for each other part."""
    small, large = (GROWING[case](size).encode() for size in (2_000, 4_000))

    def read(event):
        with suppress(EventUnreadable):
            decode(event)

    read(small)  # whatever is done but once
    assert count_calls(lambda: read(large)) < 2.2 * count_calls(lambda: read(small))
