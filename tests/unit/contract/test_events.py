import json
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract.events import (
    MOST_EVENT_BYTES,
    EventData,
    EventError,
    encode_event,
    make_event,
    read_error,
)
from hpoq.contract.finding import truncated
from hpoq.errors import Violation

DATA = EventData(
    "key", "M1", "r-1", 2, {"processingMs": 1.5}, experiment_id="sORVEck", name="n", workspace_id="1"
)


def event(outcome="created", data=DATA, **more):
    return make_event(
        outcome, event_id="id-1", source="acs:fc:r:1:functions/f", time=1.8e9, data=data, **more
    )


def test_form():
    """An event is a CloudEvent 1.0 in structured JSON, times in RFC 3339, absent members left out."""
    assert event() == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "acs:fc:r:1:functions/f",
        "type": "com.hpoq.experiment.created.v1",
        "subject": "sORVEck",
        "time": "2027-01-15T08:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {
            "idempotencyKey": "key",
            "messageId": "M1",
            "requestId": "r-1",
            "experimentId": "sORVEck",
            "name": "n",
            "workspaceId": "1",
            "attempts": 2,
            "timings": {"processingMs": 1.5},
        },
    }


def test_error_events():
    """An event without an experiment has the key as its subject, and the whole error."""
    violation = Violation("/a", "enum", "m")
    error = EventError("InvalidRequest", "m", retryable=False, violations=(violation,))
    made = event("rejected", EventData("key", None, "r", 1, {}, error=error))
    assert (made["type"], made["subject"]) == ("com.hpoq.experiment.rejected.v1", "key")
    assert made["data"]["error"] == {
        "code": "InvalidRequest",
        "message": "m",
        "retryable": False,
        "violations": [{"pointer": "/a", "rule": "enum", "message": "m"}],
    }
    assert read_error(encode_event(made)) == error
    assert read_error(encode_event(event())) is None


def test_trace():
    """A trace is carried on in the extension for it."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert event(traceparent=trace)["traceparent"] == trace


@given(st.floats(min_value=0, max_value=4e9))
def test_time_is_rfc_3339(time):
    """Any time is written in UTC with milliseconds."""
    text = make_event("created", event_id="i", source="s", time=time, data=DATA)["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    told = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert abs(told.timestamp() - time) < 0.002


@pytest.mark.parametrize("count", [1, 50, 5_000])
@pytest.mark.parametrize("length", [1, 200, 20_000])
def test_an_event_always_fits(count, length):
    """However much is wrong with a request, its event can be published; what is left out is counted."""
    violations = tuple(Violation(f"/{n}/{'é' * length}", "type", "测" * length) for n in range(count))
    error = EventError("InvalidRequest", "é" * length, retryable=False, violations=violations)
    made = event("rejected", EventData("k", "M", "r", 1, {}, name="n" * length, error=error))
    assert len(encode_event(made)) <= MOST_EVENT_BYTES
    told = made["data"]["error"]["violations"]
    if len(told) != count or told[-1]["rule"] == "violations.truncated":
        assert told[-1]["rule"] == "violations.truncated"
        assert int(told[-1]["message"].split()[0]) == count - (len(told) - 1)


@pytest.mark.parametrize("outcome", ["created", "rejected"])
def test_texts_of_any_length_and_script_fit(outcome):
    """No text of a producer makes an event too large, even where each character takes twelve bytes."""
    long = "😀" * 100_000
    error = EventError(long, long, retryable=False) if outcome == "rejected" else None
    made = event(outcome, EventData("k", long, "r", 1, {}, name=long, workspace_id=long, error=error))
    assert len(encode_event(made)) <= MOST_EVENT_BYTES
    assert made["data"]["name"].startswith("😀" * 100)
    assert made["data"]["name"].endswith("😀…")


def test_as_many_violations_as_fit_are_told():
    """Violations give way only where there is no room, from the end, those left out before included."""
    violations = tuple(Violation(f"/{n}", "type", "m" * 40) for n in range(1000))
    error = EventError("c", "m", retryable=False, violations=(*violations, truncated(500)))
    made = event("rejected", EventData("k", "M", "r", 1, {}, error=error))
    *told, last = made["data"]["error"]["violations"]
    assert [v["pointer"] for v in told] == [v.pointer for v in violations[: len(told)]]
    assert last == {
        "pointer": "",
        "rule": "violations.truncated",
        "message": f"{1500 - len(told)} more are not listed",
    }
    assert MOST_EVENT_BYTES - 500 < len(encode_event(made)) <= MOST_EVENT_BYTES


@given(st.text(), st.text())
def test_encoded_is_one_line_of_ascii(name, code):
    """XML can carry an encoded event, and nothing in it breaks a line."""
    error = EventError(code, name, retryable=True)
    text = encode_event(event("failed", EventData("k", name, "r", 1, {}, name=name, error=error)))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["data"]["messageId"] == name
