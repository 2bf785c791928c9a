import base64
import json
import re
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.jsonvalue import write_compact
from hpoq.contract.events import (
    LONGEST_TEXT,
    MOST_EVENT_BYTES,
    EventData,
    EventError,
    ServiceError,
    find_error,
    is_event,
    make_event,
    outcome_of,
    parse_error,
)
from hpoq.contract.finding import note_truncation
from hpoq.errors import Violation

DATA = EventData(
    "key", "M1", "r-1", 2, {"processingMs": 1.5}, experiment_id="sORVEck", name="n", workspace_id="1"
)


def event(outcome="created", data=DATA, **more):
    return make_event(
        outcome, event_id="id-1", source="acs:fc:r:1:functions/f", time=1.8e9, data=data, **more
    )


def test_form():
    """An event is a CloudEvent 1.0 in structured JSON with times in RFC 3339 and without empty members."""
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
    assert find_error(json.loads(write_compact(made))) == error
    assert find_error(event()) is None


def test_the_request_is_recognizable():
    """An event has the producer's own key as written, however long in JSON, and the warnings; no empty members."""
    warned = Violation("/a", "null", "m")
    key = "😀" * 255
    made = event(data=replace(DATA, producer_key=key, warnings=(warned,)))
    assert made["data"]["producerKey"] == key
    assert made["data"]["warnings"] == [warned.as_dict()]
    assert not {"producerKey", "warnings"} & event()["data"].keys()


def test_outcomes_are_read_from_types():
    """The outcome in an event's type is read back; another document has none."""
    assert outcome_of(event("failed")) == "failed"
    assert (outcome_of({}), outcome_of({"type": "other"})) == ("", "")


TEXT = write_compact(event())
REQUEST = {"experiment": {}}
BUS = {"specversion": "1.0"}


@pytest.mark.parametrize(
    "document",
    [
        event(),
        event()["data"],
        {"type": event()["type"]},
        [event(), event()["data"]],
        TEXT,
        base64.b64encode(TEXT.encode()).decode(),
        {**BUS, "data": event()},
        {**BUS, "data": TEXT},
        {**BUS, "data_base64": base64.b64encode(TEXT.encode()).decode()},
        {**BUS, "data": {"messageId": "M1", "messageBody": TEXT}},
        {**BUS, "data": {"TopicName": "t", "MessageId": "M1", "Message": TEXT}},
        [{**BUS, "data": {"body": TEXT, "attrs": {}}}],
        {"cause": event()},
        {"data": event()},
        {"messageBody": event()},
        {**BUS, "data": {"cause": event()}},
        [event(), 7, {"a": 1}],
        {**event(), "data": {**event()["data"], "bestTrial": {"hyperparameters": {"stop": 1}}}},
    ],
)
def test_an_own_event_is_known_in_what_carries_it(document):
    """Anything that has no request in it. Names of hyperparameters are not those of a request's members."""
    assert is_event(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        None,
        "",
        "{",
        [],
        [[[[[event()]]]]],
        [event(), REQUEST],
        {**event(), "experiment": {}},
        {**event(), "stop": {}},
        {"Experiment": {}, "triggeredBy": event()},
        {"STOP": {}, "cause": event()},
        {**event(), "data": REQUEST},
        {**event(), "data": json.dumps(REQUEST)},
        {**event(), "data": None, "data_base64": base64.b64encode(json.dumps(REQUEST).encode()).decode()},
        {**event(), "data": {"HpoExperimentConfiguration": {}}},
        {**event()["data"], "HpoExperimentConfiguration": {}},
        {**BUS, "data": {**event()["data"], **REQUEST}},
        {**BUS, "type": ["com.hpoq.experiment.created.v1"], "data": {}},
    ],
)
def test_anything_else_is_not_an_own_event(document):
    """A request stays one if some member of it contains an event, and so does what only resembles one."""
    assert not is_event(json.dumps(document).encode())


def test_trace():
    """The traceparent of a request is in the event's extension for distributed tracing."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert event(traceparent=trace)["traceparent"] == trace


@given(st.floats(min_value=0, max_value=4e9))
def test_time_is_rfc_3339(time):
    """Any time is written in UTC with milliseconds."""
    text = make_event("created", event_id="i", source="s", time=time, data=DATA)["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    reported = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert abs(reported.timestamp() - time) < 0.002


@pytest.mark.parametrize("count", [1, 50, 1_500])
@pytest.mark.parametrize("length", [1, 200, 20_000])
def test_an_event_always_fits(count, length):
    """An event is small enough to be published, however many violations it has; those left out are counted."""
    violations = tuple(Violation(f"/{n}/{'é' * length}", "type", "测" * length) for n in range(count))
    error = EventError("InvalidRequest", "é" * length, retryable=False, violations=violations)
    made = event("rejected", EventData("k", "M", "r", 1, {}, name="n" * length, error=error))
    assert len(write_compact(made)) <= MOST_EVENT_BYTES
    reported = made["data"]["error"]["violations"]
    if len(reported) != count or reported[-1]["rule"] == "violations.truncated":
        assert reported[-1]["rule"] == "violations.truncated"
        assert int(reported[-1]["message"].split()[0]) == count - (len(reported) - 1)


@pytest.mark.parametrize("outcome", ["created", "rejected"])
def test_texts_of_any_length_and_script_fit(outcome):
    """No text of a producer makes an event too large, even if each character takes twelve bytes."""
    long = "😀" * 100_000
    error = EventError(long, long, retryable=False) if outcome == "rejected" else None
    made = event(outcome, EventData("k", long, "r", 1, {}, name=long, workspace_id=long, error=error))
    assert len(write_compact(made)) <= MOST_EVENT_BYTES
    assert made["data"]["name"].startswith("😀" * 100)
    assert made["data"]["name"].endswith("😀…")


@pytest.mark.parametrize("text", ["a" * 20_000, "é" * 20_000, "é" * 1_000 + "a" * 20_000])
def test_a_cut_text_takes_the_bytes_that_it_may(text):
    name = event("created", EventData("k", "M", "r", 1, {}, name=text))["data"]["name"]
    assert LONGEST_TEXT - 6 < len(json.dumps(name)) - 2 <= LONGEST_TEXT


def test_a_long_text_is_cut_in_few_steps(count_calls):
    """A message can have dozens of findings, each of which quotes a long name of the producer's."""
    findings = tuple(Violation("/" + "é" * 20_000, "type", "测" * 20_000) for _ in range(20))
    data = EventData("k", "M", "r", 1, {}, warnings=findings)
    assert count_calls(lambda: event("created", data)) < 300 * len(findings)


@pytest.mark.parametrize("outcome", ["created", "rejected"])
@pytest.mark.parametrize("count", [1, 300, 1_500])
@pytest.mark.parametrize("length", [1, 200, 20_000])
def test_an_event_always_fits_with_warnings(outcome, count, length):
    """Warnings that do not fit beside the violations are left out and counted."""
    findings = tuple(Violation(f"/{n}", "type", "测" * length) for n in range(count))
    error = EventError("c", "m", retryable=False, violations=findings) if outcome == "rejected" else None
    data = EventData("k", "M", "r", 1, {}, error=error, producer_key="😀" * 255, warnings=findings)
    made = event(outcome, data)
    assert len(write_compact(made)) <= MOST_EVENT_BYTES
    alone = event(outcome, replace(data, warnings=()))
    lists = [made["data"]["warnings"]]
    if error is not None:
        lists.append(made["data"]["error"]["violations"])
        assert len(alone["data"]["error"]["violations"]) - len(lists[1]) <= 5
    for listed in lists:
        *whole, last = listed
        left_out = int(last["message"].split()[0]) if last["rule"] == "violations.truncated" else 0
        assert count == len(whole) + (left_out or 1)


def test_an_answer_of_a_service_fits():
    """What a service answered is cut as well, in whatever script it writes."""
    long = "😀" * 500
    detail = tuple((f"name-{number}", long) for number in range(12))
    answer = ServiceError(long, long, "R", 403, detail)
    warnings = tuple(Violation(f"/{n}", "type", "m" * 40) for n in range(1000))
    error = EventError(long, long, retryable=True, service=answer)
    data = EventData("k", long, "r", 1, {}, name=long, workspace_id=long, error=error, warnings=warnings)
    made = event("failed", data)
    assert len(write_compact(made)) <= MOST_EVENT_BYTES
    assert len(made["data"]["error"]["service"]["accessDeniedDetail"]) == 12
    assert len(made["data"]["warnings"]) > 50


def test_a_short_answer_of_a_service_is_shown_as_it_is():
    """Which permission is missing, for example."""
    detail = (("AuthAction", "paiautoml:CreateHpoExperiment"),)
    error = EventError("c", "m", retryable=True, service=ServiceError("Forbidden", "no", "R", 403, detail))
    made = event("failed", EventData("k", "M", "r", 1, {}, error=error))
    assert made["data"]["error"]["service"]["accessDeniedDetail"] == dict(detail)


def test_as_many_violations_as_fit_are_listed():
    """Only violations that do not fit are left out, from the end, and the count includes those left out before."""
    violations = tuple(Violation(f"/{n}", "type", "m" * 40) for n in range(1000))
    error = EventError("c", "m", retryable=False, violations=(*violations, note_truncation(500)))
    made = event("rejected", EventData("k", "M", "r", 1, {}, error=error))
    *reported, last = made["data"]["error"]["violations"]
    assert [v["pointer"] for v in reported] == [v.pointer for v in violations[: len(reported)]]
    assert last == {
        "pointer": "",
        "rule": "violations.truncated",
        "message": f"{1500 - len(reported)} more are not listed",
    }
    assert MOST_EVENT_BYTES - 500 < len(write_compact(made)) <= MOST_EVENT_BYTES


@given(st.text(), st.text())
def test_encoded_is_one_line_of_ascii(name, code):
    """An encoded event is ASCII without line breaks, so that it can be sent in XML."""
    error = EventError(code, name, retryable=True)
    text = write_compact(event("failed", EventData("k", name, "r", 1, {}, name=name, error=error)))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["data"]["messageId"] == name


def test_what_the_service_answered_survives_the_record():
    """The last error of a record is read back with the service's own code, request id and status."""
    answer = ServiceError("Forbidden.RAM", "no", "R-1", 403, (("AuthAction", "a:B"),))
    error = EventError("Forbidden.RAM", "smq: no", retryable=True, service=answer)
    assert parse_error(json.loads(json.dumps(error.as_json()))) == error
    assert error.as_json()["service"] == {
        "code": "Forbidden.RAM",
        "message": "no",
        "requestId": "R-1",
        "httpStatus": 403,
        "accessDeniedDetail": {"AuthAction": "a:B"},
    }
