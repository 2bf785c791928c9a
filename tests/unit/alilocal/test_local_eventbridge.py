"""EventBridge: patterns, limits, signatures, rules to queues and to functions."""

import base64
import json
import threading
import time
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from localwire import call

import alilocal
from alilocal.core.http import Request
from alilocal.eventbridge.errors import BusExists, InvalidArgument, NoSuchBus, RuleExists
from alilocal.eventbridge.functionrule import FunctionRule
from alilocal.eventbridge.pattern import BadPattern, check, matches, read_pattern
from alilocal.eventbridge.signature import signatures
from alilocal.smq.errors import NotExist
from support.waiting import wait_until

EVENT = {
    "id": "1",
    "source": "orders",
    "type": "order:made",
    "specversion": "1.0",
    "data": {"state": "open", "price": 12.5, "tags": ["a", "b"], "note": None, "address": "10.0.0.7"},
}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({}, True),
        ({"source": ["orders"]}, True),
        ({"source": ["other", "orders"]}, True),
        ({"source": ["Orders"]}, False),
        ({"source": ["orders"], "type": ["order:paid"]}, False),
        ({"type": [{"prefix": "order:"}]}, True),
        ({"type": [{"suffix": ":paid"}]}, False),
        ({"type": [{"suffix": ":made"}]}, True),
        ({"type": [{"contains": "r:m"}]}, True),
        ({"type": [{"contains": "paid"}]}, False),
        ({"data": {"address": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"data": {"address": [{"cidr": "10.0.1.0/24"}, {"cidr": "fd00::/8"}]}}, False),
        ({"type": [{"cidr": "10.0.0.0/24"}]}, False),
        ({"source": [{"anything-but": "orders"}]}, False),
        ({"source": [{"anything-but": ["a", "b"]}]}, True),
        ({"source": [{"anything-but": {"prefix": "ord"}}]}, False),
        ({"data": {"state": ["open"]}}, True),
        ({"data": {"price": [{"numeric": [">", 10, "<=", 12.5]}]}}, True),
        ({"data": {"price": [{"numeric": [">=", 12.5, "<=", 12.5]}]}}, True),
        ({"data": {"price": [{"numeric": ["=", 12]}]}}, False),
        ({"data": {"state": [{"numeric": [">", 0]}]}}, False),
        ({"data": {"price": [{"numeric": ["<", 10**400]}]}}, True),
        ({"data": {"tags": ["b"]}}, True),
        ({"data": {"tags": ["c"]}}, False),
        ({"data": {"note": [None]}}, True),
        ({"data": {"none": [{"exists": False}]}}, True),
        ({"data": {"note": [{"exists": True}]}}, True),
        ({"subject": [{"anything-but": "x"}]}, False),
        ({"data": {"state": {"deeper": ["x"]}}}, False),
        ({"data": {"price": ["12.5"]}}, False),
        ({"data": {"price": [12.5, {"prefix": "1"}]}}, True),
    ],
)
def test_patterns(pattern, fits):
    """A pattern matches exactly the listed events."""
    check(pattern)
    assert matches(pattern, EVENT) is fits


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", ""),
        ("[]", ""),
        ('{"a": 1}', "a"),
        ('{"a": []}', "a"),
        ('{"a": {"b": "x"}}', "a.b"),
        ('{"a": [[1]]}', "a[0]"),
        ('{"a": [1, {}]}', "a[1]"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "a[0]"),
        ('{"a": [{"prefix": 1}]}', "a[0].prefix"),
        ('{"a": [{"exists": "yes"}]}', "a[0].exists"),
        ('{"a": [{"numeric": [">"]}]}', "a[0].numeric"),
        ('{"a": [{"numeric": ["~", 1]}]}', "a[0].numeric"),
        ('{"a": [{"anything-but": {"exists": true}}]}', "a[0].anything-but"),
        ('{"a": [{"cidr": "10.0.0.0/99"}]}', "a[0].cidr"),
        ('{"a": [{"wildcard": "x*"}]}', "a[0].wildcard"),
        ('{"a": [{"numeric": [["="], 1]}]}', "a[0].numeric"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_place(text, place):
    with pytest.raises(BadPattern) as raised:
        read_pattern(text)
    assert raised.value.place == place


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_any_pattern_is_refused_or_can_be_matched(pattern, event):
    """Every pattern that passes the check can be evaluated on any event."""
    try:
        read = read_pattern(json.dumps(pattern))
    except BadPattern:
        return
    assert matches(read, event) in (True, False)


@given(st.dictionaries(st.text(max_size=3), st.booleans() | st.integers() | st.text(max_size=3), max_size=4))
def test_an_event_fits_the_pattern_of_its_own_values(event):
    """A pattern made of an event's own values matches that event."""
    pattern = {name: [value] for name, value in event.items()}
    assert matches(pattern, event)
    for name in event:
        assert not matches(pattern, {key: value for key, value in event.items() if key != name})


def test_the_published_vector():
    """The signature agrees with the vendor's SDK for a known input."""
    headers = {
        "Date": "Fri, 02 Jan 2026 03:04:05 GMT",
        "Content-Type": "application/cloudevents-batch+json; charset=utf-8",
        "x-acs-signature-nonce": "n1",
        "x-acs-signature-method": "HMAC-SHA1",
        "x-acs-signature-version": "1.0",
    }
    request = Request("POST", "/openapi/putEvents", tuple(headers.items()))
    assert "mgqKZ+YcAamCt7ogOlNz4RtoulY=" in signatures("sk", request)


def put(cloud, *events, body=None, date=None, **changed):
    data = json.dumps(events).encode() if body is None else body
    headers = {
        "Date": date or formatdate(usegmt=True),
        "Content-Type": "application/json",
        "x-acs-signature-nonce": str(time.perf_counter_ns()),
        **changed,
    }
    request = Request("POST", "/openapi/putEvents", tuple(headers.items()))
    digest = signatures(cloud.access_key_secret, request)[0]
    with cloud.session() as session:
        signed = {**headers, "Authorization": f"acs:{cloud.access_key_id}:{digest}"}
        return session.post(f"{cloud.endpoint}/openapi/putEvents", data=data, headers=signed)


def event(**members):
    return {**EVENT, "aliyuneventbusname": "default", **members}


def test_limits_of_a_call(cloud):
    """A call that exceeds a limit is refused as a whole."""
    assert put(cloud, *[event()] * 17).json()["code"] == "EventSizeExceed"
    assert put(cloud, *[event(data="x" * 60_000)] * 5).json()["code"] == "EventSizeExceed"
    assert put(cloud, *[event(data="x" * 60_000)] * 4).json()["FailedEntryCount"] == 0
    assert put(cloud, body=b"{").json()["code"] == "JsonAttributeInvalid"
    assert put(cloud, body=b"[1]").json()["code"] == "EventInvalid"
    assert put(cloud, EVENT).json()["code"] == "EventBusEmpty"
    answer = put(cloud, event(aliyuneventbusname="none"))
    assert (answer.status_code, answer.json()["code"]) == (409, "EventBusNotExist")
    cloud.behaviour.put_events_status = 400
    cloud.behaviour.event_error_keys = "pascal"
    answer = put(cloud, event(aliyuneventbusname="none"))
    assert (answer.status_code, answer.json()["Code"]) == (400, "EventBusNotExist")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"id": ""}, "EventIdEmpty"),
        ({"source": "s" * 129}, "EventSourceInvalid"),
        ({"type": 5}, "EventTypeInvalid"),
        ({"specversion": "0.3"}, "EventSpecversionInvalid"),
        ({"time": 5}, "EventInvalid"),
        ({"datacontenttype": "text/plain"}, "EventContentTypeInvalid"),
        ({"data": "x" * 65_537}, "EventSizeExceed"),
    ],
)
def test_an_invalid_event_fails_alone(cloud, members, code):
    """An invalid event fails by itself, with the code of its defect."""
    answer = put(cloud, event(id="good"), event(**members)).json()
    assert (answer["FailedEntryCount"], answer["EntryList"][1]["ErrorCode"]) == (1, code)
    assert [one["id"] for one in cloud.buses["default"].events] == ["good"]
    cloud.behaviour.invalid_events = "call"
    assert put(cloud, event(id="other"), event(**members)).json()["code"] == code
    assert len(cloud.buses["default"].events) == 1


@pytest.mark.parametrize(
    ("members", "taken"),
    [
        ({"data_base64": base64.b64encode(b"x" * 65_000).decode()}, True),
        ({"data_base64": base64.b64encode(b"x" * 65_537).decode()}, False),
        ({"data": "x" * 65_000, "own": "x" * 1000}, True),
        ({"data": "é" * 32_769}, False),
    ],
)
def test_the_size_of_an_event(cloud, members, taken):
    """Base64 data counts with its decoded size, and extensions do not count."""
    answer = put(cloud, event(**members)).json()
    assert answer["FailedEntryCount"] == (0 if taken else 1)


def test_switches_of_put_events_entries(cloud):
    """The order of entries and the code of success are switches."""
    cloud.behaviour.event_entry_order = "reversed"
    cloud.behaviour.event_success_code = "Success"
    entries = put(cloud, event(id="1"), event(id="2")).json()["EntryList"]
    assert [(entry["EventId"], entry["ErrorCode"]) for entry in entries] == [
        ("2", "Success"),
        ("1", "Success"),
    ]


def test_put_events_needs_permission(cloud):
    """An unsigned request, an expired one and a wrong token are refused, and no event is put."""
    with cloud.session() as session:
        unsigned = session.post(f"{cloud.endpoint}/openapi/putEvents", data=json.dumps([event()]))
    assert (unsigned.status_code, unsigned.json()["code"]) == (403, "AccessDenied")
    late = put(cloud, event(), date=formatdate(time.time() - 1000, usegmt=True))
    assert (late.status_code, late.json()["code"]) == (403, "AccessDenied")
    assert put(cloud, event(), **{"x-acs-security-token": "wrong"}).json()["code"] == "SecurityTokenInvalid"
    assert cloud.buses["default"].events == []


def test_another_method_is_refused(cloud):
    """A path of the first generation that is not called with POST is refused for its method."""
    with cloud.session() as session:
        answer = session.get(f"{cloud.endpoint}/openapi/putEvents")
        unknown = session.get(f"{cloud.endpoint}/openapi/askLuma")
    assert (answer.status_code, answer.json()["message"]) == (405, "PutEvents is called with POST, not GET.")
    assert unknown.json()["message"].startswith("The local cloud does not support AskLuma.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"EventTargets": '[{"Type": "acs.mns.queue", "Endpoint": "queues/missing"}]'},
        {"EventTargets": '[{"Type": "other"}]'},
        {"EventTargets": "{}"},
        {"Status": "ON"},
    ],
    ids=lambda wrong: next(iter(wrong.values())),
)
def test_a_refused_update_of_a_rule_changes_nothing(cloud, wrong):
    """Not even the members of the call that are valid."""
    cloud.queues.create("orders")
    rule = cloud.buses.rule("copy", {"source": ["orders"]}, queue="orders")
    before = replace(rule)
    names = {"Version": "2020-04-01", "EventBusName": "default", "RuleName": "copy"}
    valid = {"FilterPattern": '{"source": ["others"]}', "Description": "new"}
    answer = call(cloud, "UpdateRule", **names, **{**valid, **wrong})
    assert answer.status_code in (400, 404)
    assert cloud.buses["default"].rules["copy"] == before
    assert call(cloud, "UpdateRule", **names, **valid).ok
    assert cloud.buses["default"].rules["copy"].description == "new"


def test_buses_and_rules_by_hand(cloud):
    """Buses and rules can be created and deleted from Python, with the errors of the service."""
    cloud.buses.create("orders")
    with pytest.raises(BusExists):
        cloud.buses.create("orders")
    for name in ("", "eventbridge-reserved-x", "a b", "x" * 128):
        with pytest.raises(InvalidArgument):
            cloud.buses.create(name)
    with pytest.raises(InvalidArgument):
        cloud.buses.delete("default")
    with pytest.raises(NotExist):
        cloud.buses.rule("r", queue="missing")
    with pytest.raises(NoSuchBus):
        cloud.buses.rule("r", bus="missing")
    cloud.buses.rule("r")
    with pytest.raises(RuleExists):
        cloud.buses.rule("r")
    cloud.buses.delete("orders")
    assert [bus.name for bus in cloud.buses] == ["default"]


def test_a_rule_sends_to_its_queue(cloud):
    queue = cloud.queues.create("copies")
    rule = cloud.buses.rule("copy", {"data": {"state": ["open"]}}, queue="copies")
    put(cloud, event(id="1"), event(id="2", data={"state": "shut"}))
    (message,) = queue.messages
    copy = json.loads(message.body)
    assert (copy["id"], copy["aliyuneventbusname"], copy["aliyunregionid"]) == ("1", "default", cloud.region)
    cloud.queues.delete("copies")
    put(cloud, event(id="3"))
    assert rule.undelivered == 1


def test_a_rule_calls_its_function_until_it_succeeds(cloud):
    """A failed call is repeated after 10 to 20 seconds, three times; then the event is a dead letter."""
    dead, calls, answers = cloud.queues.create("dead"), [], [False, RuntimeError(), None]

    def invoke(data):
        calls.append(json.loads(data)["id"])
        answer = answers.pop(0) if answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="'BACKOFF' is not one of"):
        FunctionRule(cloud, "call", invoke=invoke, retry="BACKOFF")
    rule = FunctionRule(cloud, "call", {"source": ["orders"]}, invoke=invoke, dead_letter_queue="dead")
    put(cloud, event(id="1"), event(id="2", source="other"))
    assert rule.step()
    assert not rule.step()
    for _ in range(2):
        cloud.clock.advance(20)
        assert rule.step()
    assert (calls, rule.pending) == (["1"] * 3, 0)
    put(cloud, event(id="3"))
    for _ in range(4):
        assert rule.step()
        cloud.clock.advance(20)
    assert rule.pending == 0
    assert [json.loads(message.body)["id"] for message in dead.messages] == ["3"]


def test_a_rule_calls_from_its_thread(cloud):
    done = []
    rule = FunctionRule(cloud, "call", invoke=lambda data: done.append(data) or True)
    rule.start()
    put(cloud, event())
    with cloud.changed:
        while rule.pending or not done:
            cloud.clock.pause(5)
    rule.stop()
    assert json.loads(done[0])["source"] == "orders"


def test_a_rule_that_is_stopped_waits_for_the_call_in_progress(cloud):
    """What a test does after `stop`, such as closing what the function uses, meets no call that still runs."""
    begun, ended = threading.Event(), []

    def invoke(data):
        begun.set()
        wait_until(lambda: rule._stopping)
        time.sleep(0.05)  # long enough for a stop that does not wait to return
        ended.append(data)

    rule = FunctionRule(cloud, "call", invoke=invoke)
    rule.start()
    put(cloud, event())
    assert begun.wait(60)
    rule.stop()
    assert len(ended) == 1


def test_a_rule_ends_with_its_cloud():
    with alilocal.LocalCloud() as cloud:
        rule = FunctionRule(cloud, "call", invoke=lambda data: True)
        rule.start()
    rule._thread.join(60)
    assert not rule._thread.is_alive()


def test_buses_outlive_a_snapshot(cloud):
    """A snapshot contains buses, rules and events."""
    cloud.queues.create("copies")
    cloud.buses.create("orders")
    cloud.buses.rule("copy", {"source": ["orders"]}, queue="copies")
    put(cloud, event())
    document = json.loads(json.dumps(cloud.snapshot()))
    with alilocal.LocalCloud() as other:
        other.load(document)
        assert other.buses["default"].events == cloud.buses["default"].events
        put(other, event())
        assert len(other.queues["copies"].messages) == 2
        assert "orders" in other.buses
