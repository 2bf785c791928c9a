"""The client of EventBridge, against a scripted service and against the local cloud."""

from __future__ import annotations

import json

import pytest

import alilocal
from hpoq.clock import Budget, SystemClock
from hpoq.cloud.caller import RetryPolicy
from hpoq.cloud.eventbridge import EventBridge, default_endpoint, sign_call
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Response, Transport
from hpoq.errors import CallError, Denied, NotFound, NoTimeLeft, SettingsError, Throttled, UnknownEnd
from hpoq.testing import FakeClock

EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "acs:fc:cn-shanghai:1:functions/hpoq",
    "type": "com.hpoq.experiment.created.v1",
    "time": "2026-11-28T23:03:10.003Z",
    "datacontenttype": "application/json",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "data": {"name": "测试"},
}


def answered(failed: object, *entries: object) -> bytes:
    return json.dumps({"RequestId": "r", "FailedEntryCount": failed, "EntryList": entries}).encode()


ACCEPTED = answered(0, {"EventId": "e-1", "TraceId": "t"})


@pytest.fixture
def put(transport, serve, credentials, answer):
    """Return a function that puts one event on a bus of a scripted service, which it returns."""

    def run(*script: tuple[int, bytes]):
        server = serve(*(answer(status, body) for status, body in script))
        client = EventBridge(transport, server.url, lambda: credentials, read_timeout=5)
        client.put_events("results", [EVENT])
        return server

    return run


@pytest.fixture
def scripted(script, credentials):
    """Makes a client whose calls are answered with a body and a status; its attribute `sent` has what it sent."""

    def make(body: bytes, status: int = 200) -> EventBridge:
        transport = script(Response(status, {}, body))
        made = EventBridge(
            transport,
            "https://123.eventbridge.cn-shanghai.aliyuncs.com",
            lambda: credentials,
            retry=RetryPolicy(attempts=1),
        )
        made.sent = transport.sent
        return made

    return make


def test_the_headers_and_the_body(scripted):
    """A call is dated by the transport's clock and has a nonce; its body is compact JSON, its numbers JSON's."""
    client, budget = scripted(ACCEPTED), Budget(FakeClock())
    client.put_events("results", [{"id": "é", "data": 1}], budget=budget)
    ((request, headers, options),) = client.sent
    assert (request.service, request.operation, options["budget"]) == ("eventbridge", "PutEvents", budget)
    assert (request.method, request.target) == ("POST", "/openapi/putEvents")
    assert request.body == b'[{"id":"\\u00e9","data":1,"aliyuneventbusname":"results"}]'
    nonce = headers["x-acs-signature-nonce"]
    credentials = Credentials("LTAI-EXAMPLE-ID", "CANARY-SECRET", "CANARY-TOKEN")
    expected = sign_call(credentials, "Fri, 15 Jan 2027 08:00:00 GMT", nonce)
    host = {"Host": "123.eventbridge.cn-shanghai.aliyuncs.com", "User-Agent": "hpoq"}
    assert headers == {**expected, **host}
    assert headers["Accept"] == "application/json"
    assert headers["x-acs-accesskey-id"] == "LTAI-EXAMPLE-ID"
    assert len(nonce) == 32
    with pytest.raises(ValueError, match="JSON"):
        client.put_events("results", [{"data": float("inf")}])


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, answered(0), UnknownEnd),
        (200, answered(1, {"ErrorCode": "TooManyRequests"}), Throttled),
        (403, b'{"code":"AccessDenied","requestId":"r"}', Denied),
    ],
)
def test_every_error_names_its_call(scripted, status, body, kind):
    """An error has the service, the operation, the status and the request id, whatever part of the answer it is."""
    with pytest.raises(kind) as caught:
        scripted(body, status).put_events("results", [EVENT])
    error = caught.value
    assert (error.service, error.operation) == ("eventbridge", "PutEvents")
    assert (error.http_status, error.request_id) == (status, "r")


def test_a_refusal_of_an_event_is_the_services_own(scripted):
    """An answer with a list of events is the service's own, even without a request id; a message may be missing."""
    body = json.dumps({"FailedEntryCount": 1, "EntryList": [{"ErrorCode": "TooManyRequests"}]}).encode()
    with pytest.raises(Throttled, match=r"TooManyRequests: HTTP status 200$"):
        scripted(body).put_events("results", [EVENT])


def test_each_event_is_accounted_for(scripted):
    """Two events need two entries; the first refusal among them is the error."""
    entries = [{}, {"ErrorCode": "EventBusNotExist", "ErrorMessage": "m"}, {"ErrorCode": "AccessDenied"}]
    scripted(answered(0, *entries[:1] * 2)).put_events("results", [EVENT] * 2)
    with pytest.raises(NotFound):
        scripted(answered(2, *entries)).put_events("results", [EVENT] * 3)
    with pytest.raises(UnknownEnd):
        scripted(answered(0, {}, {})).put_events("results", [EVENT] * 3)


def test_the_signature_is_that_of_the_official_sdk():
    """The SDK, run with this secret, date and nonce, sends this signature."""
    headers = sign_call(Credentials("ak", "sk"), "Fri, 02 Jan 2026 03:04:05 GMT", "n1")
    assert headers["Authorization"] == "acs:ak:mgqKZ+YcAamCt7ogOlNz4RtoulY="


def test_the_request(put):
    """The batch has the event unchanged and its bus, in ASCII; with a security token its headers are sent."""
    server = put((200, ACCEPTED))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /openapi/putEvents HTTP/1.1"
    assert "x-acs-security-token: CANARY-TOKEN" in lines
    assert "x-eventbridge-version: 2015-06-06" in lines
    assert "content-type: application/cloudevents-batch+json; charset=utf-8" in map(str.lower, lines)
    assert body.isascii()
    assert json.loads(body) == [{**EVENT, "aliyuneventbusname": "results"}]


@pytest.mark.parametrize("code", [None, "", "Success"])
def test_an_accepted_event(put, code):
    """The kernel of the service marks accepted events with a code; its documentation does not."""
    put((200, answered(0, {"EventId": "e-1", "ErrorCode": code})))


@pytest.mark.parametrize(
    ("code", "kind"),
    [("EventSizeExceed", UnknownEnd), ("TooManyRequests", Throttled), ("EventBusNotExist", NotFound)],
)
def test_a_refused_event_is_an_error(put, code, kind):
    """A call with status 200 whose only event was refused has failed, with the code and message of the event."""
    refused = answered(1, {"EventId": "e-1", "ErrorCode": code, "ErrorMessage": "why"})
    with pytest.raises(kind, match=f"{code}: .*why") as caught:
        put((200, refused))
    assert (caught.value.code, caught.value.request_id) == (code, "r")


def test_a_refused_event_is_sent_again(put):
    """Throttling of one event passes like that of the whole call."""
    server = put((200, answered(1, {"EventId": "e-1", "ErrorCode": "TooManyRequests"})), (200, ACCEPTED))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b'{"RequestId":"r"}', b'{"FailedEntryCount":0}', b"<html>", b"[]"),
        *(answered(1), answered(2, {}), answered(None, {})),
        *(answered(0), answered(0, None), answered(0, {}, {})),
        answered(None, {"ErrorCode": "AccessDenied"}),
    ],
)
def test_an_answer_that_does_not_say_what_failed(put, body):
    """An answer of a proxy, one that contradicts itself, or one without the event never counts as success."""
    with pytest.raises(UnknownEnd) as caught:
        put((200, body))
    assert caught.value.http_status == 200


@pytest.mark.parametrize("keys", [str.lower, str.capitalize])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Denied),
        (404, "ACodeThatNobodyDocumented", NotFound),
        (403, "InvalidStsAccessKeyId", Denied),
        (403, "StsAccessIdExpired", Denied),
        (409, "EventBusNotExist", NotFound),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", UnknownEnd),
    ],
)
def test_errors_of_the_call(put, keys, status, code, kind):
    """Errors are recognized whichever case the service writes their members in."""
    members = {keys("code"): code, keys("message"): "m"}
    members["requestId" if keys is str.lower else "RequestId"] = "r"
    with pytest.raises(kind) as caught:
        put((status, json.dumps(members).encode()))
    assert caught.value.code == code


def test_secrets_in_errors(put):
    """What the service quotes of the credentials is masked."""
    quoted = json.dumps({"code": "AccessDenied", "message": "token CANARY-TOKEN", "requestId": "r"})
    with pytest.raises(Denied) as caught:
        put((403, quoted.encode()))
    assert "CANARY" not in str(caught.value)


def test_endpoints():
    """The endpoint is that of an account in a region, and nothing else can slip into the host name."""
    assert default_endpoint("123", "cn-shanghai") == "https://123.eventbridge.cn-shanghai.aliyuncs.com"
    with pytest.raises(SettingsError):
        default_endpoint("a.b", "cn-shanghai")


@pytest.mark.parametrize("order", ["kept", "reversed"])
@pytest.mark.parametrize("success", ["absent", "Success"])
@pytest.mark.parametrize("with_token", [False, True])
def test_the_local_cloud_accepts_it(order, success, with_token):
    """The local cloud verifies the signature as it verifies the official SDK's, whichever way it behaves."""
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        cloud.buses.create("results")
        cloud.behaviour.event_entry_order, cloud.behaviour.event_success_code = order, success
        token = cloud.security_token if with_token else None
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret, token)
        client = EventBridge(Transport(cloud.session(), clock), cloud.endpoint, lambda: credentials)
        client.put_events("results", [EVENT])
        (put,) = cloud.buses["results"].events
    assert {name: put[name] for name in EVENT} == EVENT
    assert put["aliyuneventbusname"] == "results"


@pytest.mark.parametrize("invalid_events", ["entry", "call"])
@pytest.mark.parametrize("status", [400, 409])
def test_an_invalid_event_is_an_error(invalid_events, status):
    """Whether the service refuses the event alone or the whole call, the caller gets an error with its code."""
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        cloud.behaviour.invalid_events, cloud.behaviour.put_events_status = invalid_events, status
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        retry = RetryPolicy(attempts=1)
        client = EventBridge(
            Transport(cloud.session(), clock), cloud.endpoint, lambda: credentials, retry=retry
        )
        with pytest.raises(CallError) as caught:
            client.put_events("default", [{**EVENT, "source": "s" * 129}])
        assert caught.value.code == "EventSourceInvalid"
        assert not cloud.buses["default"].events


def test_a_budget_bounds_the_call(transport, serve, credentials):
    """Nothing is sent when the budget is over."""
    server = serve(b"")
    client = EventBridge(transport, server.url, lambda: credentials)
    with pytest.raises(NoTimeLeft):
        client.put_events("results", [EVENT], budget=Budget.lasting(0.0, SystemClock()))
    assert server.requests == []
