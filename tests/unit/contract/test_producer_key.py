"""The producer's key can be read from a body that breaks the contract."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract.request import parse_request, read_producer_key
from hpoq.errors import RequestRejected

REQUEST = {"idempotencyKey": "k 1", "experiment": {"Name": "n"}}
EVENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "request": json.dumps(REQUEST),
    "base64": encoded(json.dumps(REQUEST)),
    "JSON text": json.dumps(json.dumps(REQUEST)),
    "CloudEvent": json.dumps({**EVENT, "data": REQUEST}),
    "CloudEvent, base64": encoded(json.dumps({**EVENT, "data": REQUEST})),
    "CloudEvent, data as text": json.dumps({**EVENT, "data": json.dumps(REQUEST)}),
    "CloudEvent, data in base64": json.dumps({**EVENT, "data_base64": encoded(json.dumps(REQUEST))}),
    "CloudEvent of another version": json.dumps({**EVENT, "specversion": "0.3", "data": REQUEST}),
    "unknown member": json.dumps({**REQUEST, "later": 1}),
    "no experiment": json.dumps({"idempotencyKey": "k 1"}),
    "wrong type": json.dumps({**REQUEST, "experiment": 5}),
    "another schema version": json.dumps({**REQUEST, "schemaVersion": "2"}),
    "NaN": json.dumps({**REQUEST, "experiment": {"Name": float("nan")}}),
    "duplicate elsewhere": '{"idempotencyKey": "k 1", "a": 1, "a": 2}',
    "written twice alike": '{"idempotencyKey": "k 1", "idempotencyKey": "k 1"}',
    "BOM": "\ufeff" + json.dumps(REQUEST),
}
NONE = {
    "empty": "",
    "not JSON": json.dumps(REQUEST)[:-1],
    "bare body": json.dumps({"Name": "n", "HpoExperimentConfiguration": {}}),
    "no key": json.dumps({"experiment": {}}),
    "null": json.dumps({**REQUEST, "idempotencyKey": None}),
    "number": json.dumps({**REQUEST, "idempotencyKey": 5}),
    "blank": json.dumps({**REQUEST, "idempotencyKey": ""}),
    "too long": json.dumps({**REQUEST, "idempotencyKey": "k" * 256}),
    "control character": json.dumps({**REQUEST, "idempotencyKey": "a\n"}),
    "surrogate": json.dumps({**REQUEST, "idempotencyKey": "\ud800"}),
    "ambiguous": '{"idempotencyKey": "a", "idempotencyKey": "b"}',
    "ambiguous, three": '{"idempotencyKey": "a", "idempotencyKey": "b", "idempotencyKey": "a"}',
    "array": json.dumps([REQUEST]),
    "CloudEvent, data is an array": json.dumps({**EVENT, "data": [REQUEST]}),
    "nested too deeply": '{"idempotencyKey": "k 1", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "too large": json.dumps({**REQUEST, "x": "x" * 2**20}),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_the_key_is_read_whatever_else_is_wrong(body):
    """The key is read from every form of a request, and from requests that break the contract."""
    assert read_producer_key(body.encode()) == "k 1"


@pytest.mark.parametrize("body", NONE.values(), ids=NONE.keys())
def test_an_invalid_key_counts_as_none(body):
    """A key that is missing, invalid or ambiguous is None."""
    assert read_producer_key(body.encode()) is None


KEYS = st.text(max_size=300) | st.none() | st.integers()


@given(KEYS)
def test_the_key_is_the_contracts_own(key):
    """For a valid request the key is that of the parsed request, and an invalid key is None."""
    body = json.dumps({"idempotencyKey": key, "experiment": {}}).encode()
    try:
        expected = parse_request(body).request.idempotency_key
    except RequestRejected:
        expected = None
    assert read_producer_key(body) == expected


@given(st.binary(max_size=200))
def test_no_body_raises(body):
    """No bytes raise an exception."""
    assert read_producer_key(body) is None or b"idempotencyKey" in body
