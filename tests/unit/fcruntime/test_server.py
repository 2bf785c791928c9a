"""The protocol of custom runtimes over HTTP, as FC uses it."""

import contextlib
import errno
import http.client
import io
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import requests
from aws_lambda_powertools import Logger

import fcruntime
from fcruntime.__main__ import main
from fcruntime.context import Fc2Context
from fcruntime.httptrigger import http_event
from fcruntime.log import configure_log, note_request
from fcruntime.server import RuntimeServer
from fcruntime.triggers import decode
from support.ports import reserve_port
from support.waiting import wait_until

HEADERS = {
    "x-fc-request-id": "1-abc",
    "X-Fc-Function-Name": "orders",
    "x-fc-function-handler": "index.handler",
    "x-fc-function-memory": "512",
    "x-fc-function-timeout": "60",
    "x-fc-region": "cn-hangzhou",
    "x-fc-account-id": "42",
    "x-fc-qualifier": "live",
    "x-fc-version-id": "7",
    "x-fc-service-logproject": "project",
    "x-fc-service-logstore": "store",
    "x-fc-access-key-id": "STS.id",
    "x-fc-access-key-secret": "secret",
    "x-fc-security-token": "token",
    "x-fc-retry-count": "2",
    "x-fc-tracing-opentracing-span-context": "span",
    "x-fc-tracing-opentracing-span-baggages": "eyJhIjoiYiJ9",
    "x-fc-tracing-jaeger-endpoint": "http://jaeger",
}
FROM_OUTSIDE = {**HEADERS, "X-Fc-Control-Path": "/http-invoke"}


@pytest.fixture
def start():
    """Run servers on free ports of loopback; each call returns a URL and a list of what `run` raises."""
    running = []

    def go(handler, **hooks):
        server, raised = RuntimeServer(handler, host="127.0.0.1", port=0, **hooks), []

        def run():
            try:
                server.run()
            except BaseException as exc:  # noqa: BLE001
                raised.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.port}", raised

    yield go
    for server, thread in running:
        server.stop()
        thread.join()


def read_status(answer):
    """Return the status and the header that FC goes by."""
    return answer.status_code, answer.headers["x-fc-status"]


def test_an_event_is_passed_on_unchanged(start, capsys):
    """The handler gets the bytes of the request, and FC's log lines surround the call."""
    url, _ = start(lambda event, context: event[::-1])
    answer = requests.post(f"{url}/invoke", data=b"\x00\xff!", headers=HEADERS, timeout=60)
    assert (read_status(answer), answer.content) == ((200, "200"), b"!\xff\x00")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert capsys.readouterr().out.splitlines() == [
        "FC Invoke Start RequestId: 1-abc",
        "FC Invoke End RequestId: 1-abc",
    ]


def test_the_headers_are_the_context(start, monkeypatch):
    """The context is made of the headers, with credentials from the environment if a header is missing."""
    contexts = []
    url, _ = start(lambda event, context: contexts.append(context))
    requests.post(f"{url}/invoke", headers=HEADERS, timeout=60)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "id-of-the-environment")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token")
    # The token is what custom.debian11 leaves out.
    requests.post(f"{url}/invoke", headers={**HEADERS, "x-fc-security-token": ""}, timeout=60)
    requests.post(f"{url}/invoke", headers={"x-fc-tracing-opentracing-span-baggages": "!"}, timeout=60)
    first, second, third = contexts
    assert (first.request_id, first.region, first.account_id, first.retry_count) == (
        "1-abc",
        "cn-hangzhou",
        "42",
        2,
    )
    assert (first.function.name, first.function.memory, first.function.timeout) == ("orders", 512, 60)
    assert (first.function.qualifier, first.function.version_id) == ("live", "7")
    assert first.credentials.access_key_id == "STS.id"
    tracing = first.tracing
    assert (tracing.span_context, tracing.jaeger_endpoint) == ("span", "http://jaeger")
    assert (tracing.span_baggages, third.tracing.span_baggages) == ({"a": "b"}, {})
    assert (first.requestId, first.logger, first.getLogger()) == ("1-abc", None, logging.getLogger())
    assert (first.service.log_project, first.service.log_store) == ("project", "store")
    assert (first.log_project, first.log_store) == ("project", "store")
    assert (third.log_project, third.log_store) == ("", "")
    assert second.credentials.access_key_id == "id-of-the-environment"
    assert third.request_id == ""


def test_an_error_is_reported_in_the_header_that_counts(start, capsys):
    """An exception sets `x-fc-status`, without which FC would take the call for successful."""

    def handler(event, context):
        raise ValueError("broken")

    url, _ = start(handler)
    answer = requests.post(f"{url}/invoke", headers=HEADERS, timeout=60)
    assert read_status(answer) == (404, "404")
    assert (answer.json()["errorType"], answer.json()["errorMessage"]) == ("ValueError", "broken")
    assert "FC Invoke End RequestId: 1-abc, Error: Unhandled function error" in capsys.readouterr().out


@pytest.mark.parametrize("spoil", [lambda out: out.close(), lambda _: setattr(sys, "stdout", None)])
def test_a_handler_that_spoils_its_output_does_not_end_the_instance(start, monkeypatch, spoil):
    """Log lines that cannot be written are lost, but every call is answered."""
    monkeypatch.setattr("sys.stdout", io.StringIO())
    url, raised = start(lambda event, context: spoil(sys.stdout) if sys.stdout else event)
    assert read_status(requests.post(f"{url}/invoke", timeout=60)) == (200, "200")
    monkeypatch.setattr("sys.stdout", None)
    assert requests.post(f"{url}/invoke", data=b"next", timeout=60).content == b"next"
    assert raised == []


def test_an_exception_between_two_steps_of_a_call_is_an_answer(start, monkeypatch):
    """A signal's handler may raise outside of the handler; the call has failed then and FC is told."""

    def print_line(line):
        raise KeyboardInterrupt

    monkeypatch.setattr("fcruntime.server.write_line", print_line)
    url, raised = start(lambda event, context: event)
    assert read_status(requests.post(f"{url}/invoke", timeout=60)) == (404, "404")
    for thread in threading.enumerate():
        if thread.name.endswith("(run)"):
            thread.join()
    assert [type(exc) for exc in raised] == [KeyboardInterrupt]


def test_a_handler_that_cannot_be_loaded_is_an_error_of_each_call(start):
    """Every call of a handler that cannot be loaded fails."""
    url, _ = start("nothing.of.the.kind")
    for _ in range(2):
        assert read_status(requests.post(f"{url}/invoke", timeout=60)) == (404, "404")


def test_hooks_are_called_if_they_are_set(start):
    """Hooks get the context; a hook that is not set succeeds."""
    called = []
    url, _ = start(
        lambda event, context: None,
        initialize=lambda context: called.append(("initialize", context.request_id)),
        pre_stop=lambda context: called.append(("pre_stop", context.request_id)),
    )
    assert read_status(requests.post(f"{url}/initialize", headers=HEADERS, timeout=60)) == (200, "200")
    assert read_status(requests.get(f"{url}/pre-stop", headers=HEADERS, timeout=60)) == (200, "200")
    assert read_status(requests.get(f"{url}/pre-freeze", headers=HEADERS, timeout=60)) == (200, "200")
    assert called == [("initialize", "1-abc"), ("pre_stop", "1-abc")]


def test_an_initializer_that_fails_is_reported(start):
    """FC replaces an instance whose initializer failed, so the failure must be reported."""

    def initialize(context):
        raise RuntimeError("not today")

    url, _ = start(lambda event, context: None, initialize=initialize)
    answer = requests.post(f"{url}/initialize", timeout=60)
    assert (read_status(answer), answer.json()["errorMessage"]) == ((500, "404"), "not today")


def test_a_hook_that_is_a_coroutine_function_fails(start):
    """It would not run, and everything would look as if it had."""

    async def initialize():
        pass

    with contextlib.closing(initialize()) as running:
        url, _ = start(lambda event, context: None, initialize=lambda context: running)
        answer = requests.post(f"{url}/initialize", timeout=60)
    assert read_status(answer) == (500, "404")
    assert "coroutine" in answer.json()["errorMessage"]


def test_health_and_unknown_paths(start):
    """The health check succeeds; unknown paths and methods are errors."""
    url, _ = start(lambda event, context: None)
    assert read_status(requests.get(f"{url}/health", timeout=60)) == (200, "200")
    for method, path in (("GET", "/invoke"), ("POST", "/"), ("GET", "/nothing")):
        answer = requests.request(method, url + path, timeout=60)
        assert read_status(answer) == (404, "404")
        assert answer.json()["errorMessage"].startswith(f"{method} {path} is not a call of FC.")


@pytest.mark.parametrize(
    "request_text",
    [
        "POST /invoke HTTP/1.1\r\nContent-Length: 100\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: many\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n{} 3456789",
        "POST /invoke HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length : 2\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nno header\r\nContent-Length: 2\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\n Content-Length: 2\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nabcde\r\n0\r\n\r\n",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}more\r\n0\r\n\r\n",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0",  # of 0a, for example
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n{}",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        "BREW /invoke HTTP/1.1\r\n\r\n",
        "POST /invoke HTTP/9.9\r\n\r\n",
    ],
)
def test_an_incomplete_request_is_refused(start, request_text):
    """An invalid or incomplete request is an error and does not reach the handler."""
    events = []
    url, _ = start(lambda event, context: events.append(event))
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(request_text.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status >= 400, answer.headers["x-fc-status"]) == (True, "404")
        assert json.loads(answer.read())["errorType"] == "BadRequest"
    assert events == []


def test_a_request_of_an_http_trigger_is_the_event_of_built_in_runtimes(start):
    """A request of an HTTP trigger becomes an event without the headers that contain FC's credentials."""
    events = []
    url, _ = start(lambda event, context: events.append(json.loads(event)))
    sent = {"User-Agent": "me", "content-type": "application/json", "X-Fc-Client-Ip": "192.0.2.1"}
    address = f"{url}/experiments/a%2Fb%20c?dry=1&empty=&tag=a&tag=b"
    answer = requests.put(address, data="{}", headers={**FROM_OUTSIDE, **sent}, timeout=60)
    assert (read_status(answer), answer.headers["Content-Type"]) == ((200, "200"), "application/json")
    requests.post(url, data=b"\xff", headers=FROM_OUTSIDE, timeout=60)
    first, second = events
    assert (first["version"], first["rawPath"], first["body"]) == ("v1", "/experiments/a%2Fb%20c", "{}")
    assert first["queryParameters"] == {"dry": "1", "empty": "", "tag": "a,b"}
    made = first["requestContext"]
    assert (made["accountId"], made["requestId"]) == ("42", "1-abc")
    assert (made["http"]["method"], made["http"]["sourceIp"]) == ("PUT", "192.0.2.1")
    assert made["http"]["path"] == "/experiments/a/b c"
    assert [name for name in first["headers"] if name.lower().startswith("x-fc-")] == []
    assert (first["headers"]["User-Agent"], first["headers"]["Content-Type"]) == ("me", "application/json")
    assert (second["body"], second["isBase64Encoded"]) == ("/w==", True)
    for event in events:
        (message,) = decode(json.dumps(event))
        assert (message.kind, message.id) == ("http", "1-abc")


@pytest.mark.parametrize(
    ("content_type", "body", "text", "is_base64"),
    [
        ("text/csv; charset=utf-8", b"a,b", "a,b", False),
        ("Application/JSON", b"{}", "{}", False),
        ("application/xml", b"\xff", "/w==", True),
        ("application/x-www-form-urlencoded", b"a=b", "YT1i", True),
        ("", b"", "", True),
    ],
)
def test_the_content_type_decides_about_base64(content_type, body, text, is_base64):
    """As documented by FC, the body of any type that is not one of text is base64."""
    event = json.loads(http_event("POST", "/", [("content-type", content_type)], body, Fc2Context("r")))
    assert (event["body"], event["isBase64Encoded"]) == (text, is_base64)


def test_a_form_with_a_file_is_a_valid_request(start):
    """The type of the body does not make its headers invalid."""
    events = []
    url, _ = start(lambda event, context: events.append(json.loads(event)))
    for kind in ("multipart/form-data; boundary=b", "multipart/mixed"):
        headers = {**FROM_OUTSIDE, "Content-Type": kind}
        answer = requests.post(f"{url}/upload", data=b"--b\r\n", headers=headers, timeout=60)
        assert answer.status_code == 200
    assert [event["headers"]["Content-Type"] for event in events] == [
        "multipart/form-data; boundary=b",
        "multipart/mixed",
    ]


def test_a_target_that_is_not_percent_encoded_is_utf8(start):
    """Some clients send UTF-8 as it is, in a path or in a parameter."""
    events = []
    url, _ = start(lambda event, context: events.append(json.loads(event)))
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as connection:
        request = "GET /caf\u00e9?q=\u5f20%20a HTTP/1.1\r\nx-fc-control-path: /http-invoke\r\n\r\n"
        connection.sendall(request.encode())
        connection.recv(1)
    (event,) = events
    assert (event["rawPath"], event["rawQueryString"]) == ("/caf%C3%A9", "q=%E5%BC%A0%20a")
    assert (event["requestContext"]["http"]["path"], event["queryParameters"]) == ("/café", {"q": "张 a"})


def test_repeated_headers_are_joined():
    """The values of a header are joined, whatever the case of its name; cookies stay readable."""
    sent = [("x-tag", "a"), ("X-TAG", "b"), ("cookie", "a=1"), ("cookie", "b=2")]
    event = json.loads(http_event("GET", "/", sent, b"", Fc2Context("r")))
    assert event["headers"] == {"X-Tag": "a,b", "Cookie": "a=1; b=2"}


@pytest.mark.parametrize(("sent", "text"), [("张三".encode(), "张三"), (b"caf\xe9", "café")])
def test_headers_are_utf8_in_both_directions(start, sent, text):
    """A request's header is read as UTF-8 if it is valid, else as Latin-1; an answer's is written in UTF-8."""

    def echo(event, _):
        value = json.loads(event)["headers"]["X-Name"]
        return {"statusCode": 200, "headers": {"X-Name": value}, "body": value}

    url, _ = start(echo)
    answer = requests.get(url, headers={**FROM_OUTSIDE, "X-Name": sent}, timeout=60)
    assert answer.content.decode() == text
    assert answer.headers["X-Name"].encode("latin-1").decode() == text


JSON_TYPE = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("result", "status", "headers", "body"),
    [
        ("plain", 200, JSON_TYPE, b"plain"),
        ({"a": 1}, 200, JSON_TYPE, b'{\n    "a": 1\n}'),
        (
            {"statusCode": 201, "headers": {"X-Own": "a\r\nb"}, "body": "made"},
            201,
            {"X-Own": "ab", **JSON_TYPE},
            b"made",
        ),
        ({"statusCode": 200, "body": "/w==", "isBase64Encoded": True}, 200, {}, b"\xff"),
        ({"statusCode": 200, "body": "Li4\r\nu\n", "isBase64Encoded": True}, 200, {}, b"..."),
        ({"statusCode": 200, "body": {"a": 1}, "headers": {"content-length": "9"}}, 200, {}, b'{"a": 1}'),
        ({"statusCode": 200, "body": None, "headers": None}, 200, JSON_TYPE, b""),
        (
            {"statusCode": 200, "headers": {"content-type": "text/html"}},
            200,
            {"Content-Type": "text/html"},
            b"",
        ),
        ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, 200, {}, b"!"),
        ({"statusCode": 200, "headers": {"X-Fc-Status": "404", "no name": "", "Date": "now"}}, 200, {}, b""),
        ({"statusCode": 200, "cookies": ["a=1", "b=2"]}, 200, {"Set-Cookie": "a=1, b=2"}, b""),
        (
            {"statusCode": 200, "cookies": ["a=1"], "headers": {"Set-Cookie": "a=1"}},
            200,
            {"Set-Cookie": "a=1"},
            b"",
        ),
        (
            {
                "statusCode": 200,
                "headers": {"content-type": "text/plain", "X-One": 1},
                "multiValueHeaders": {"Content-Type": ["text/html"], "Set-Cookie": ["a=1", "b=2"]},
            },
            200,
            {"Content-Type": "text/html", "Set-Cookie": "a=1, b=2", "X-One": "1"},
            b"",
        ),
        ({"statusCode": "201", "body": "made"}, 201, {}, b"made"),
        ({"statusCode": "created"}, 502, {}, None),
    ],
)
def test_the_result_is_the_answer_of_an_http_trigger(start, result, status, headers, body):
    """The handler's result is the answer to a request of an HTTP trigger; an invalid one is a 502."""
    url, _ = start(lambda event, context: result)
    answer = requests.get(url, headers=FROM_OUTSIDE, timeout=60)
    assert read_status(answer) == (status, "200")
    assert {name: answer.headers[name] for name in headers} == headers
    assert "no name" not in answer.headers
    assert body in (None, answer.content)


@pytest.mark.parametrize("path", ["//evil.example/a", "/a//b", "///", "/%2F/a;b=1"])
def test_a_path_reaches_the_handler_as_it_was_sent(start, path):
    """A router must not match another path than the one that was requested, for example in a check of rights."""
    events = []
    url, _ = start(lambda event, context: events.append(json.loads(event)["rawPath"]))
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=60)
    connection.request("GET", path, headers=FROM_OUTSIDE)
    connection.getresponse()
    connection.close()
    assert events == [path]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_does_not_spoil_the_next(start, status):
    """The body of a status that has none is left out, since it would be read as the next answer."""
    url, _ = start(lambda event, context: {"statusCode": status, "body": "none"})
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        request = b"GET / HTTP/1.1\r\nX-Fc-Control-Path: /http-invoke\r\n\r\n"
        connection.sendall(request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    first, second, end = answers.split(b"\r\n\r\n")
    assert (first[:12], second[:12], end) == (b"HTTP/1.1 %d" % status, b"HTTP/1.1 %d" % status, b"")


def test_requests_of_an_http_trigger_do_not_reach_hooks(start):
    """A request of an HTTP trigger is an event, even if its path is that of a hook."""
    called, events = [], []
    url, _ = start(
        lambda event, context: events.append(json.loads(event)["rawPath"]),
        initialize=called.append,
        pre_stop=called.append,
    )
    for method, path in (
        ("POST", "/initialize"),
        ("GET", "/pre-stop"),
        ("POST", "/invoke"),
        ("GET", "/health"),
    ):
        requests.request(method, url + path, headers=FROM_OUTSIDE, timeout=60)
    assert (called, events) == ([], ["/initialize", "/pre-stop", "/invoke", "/health"])


def test_an_error_behind_an_http_trigger(start):
    """An exception is a 502 for the caller of an HTTP trigger, who does not learn what is in the log."""
    url, _ = start("nothing.of_the_kind")
    answer = requests.get(url, headers=FROM_OUTSIDE, timeout=60)
    assert (read_status(answer), answer.content) == ((502, "404"), b"Internal Server Error")
    assert requests.head(url, headers=FROM_OUTSIDE, timeout=60).content == b""


def test_a_body_in_chunks(start):
    """A body with chunked encoding is read as a whole."""
    url, _ = start(lambda event, context: event)
    answer = requests.post(f"{url}/invoke", data=iter([b"one ", b"two"]), timeout=60)
    assert answer.content == b"one two"


def test_connections_are_kept_open(start):
    """Several requests can use one connection."""
    url, _ = start(lambda event, context: event)
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    for body in (b"one", b"two"):
        connection.request("POST", "/invoke", body)
        assert connection.getresponse().read() == body
    connection.close()


def test_a_default_time_out_of_the_handler_closes_no_connection(start):
    """FC answers a call with an error if the server has closed the connection meanwhile."""
    url, _ = start(lambda event, context: event)
    socket.setdefaulttimeout(0.1)
    try:
        connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)
        requests.post(f"{url}/invoke", timeout=60)  # the server has accepted the connection before this one
    finally:
        socket.setdefaulttimeout(None)
    time.sleep(0.3)
    with connection:
        connection.sendall(b"POST /invoke HTTP/1.1\r\nContent-Length: 4\r\n\r\nlate")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.read() == b"late"


def test_a_port_can_be_used_again_at_once():
    """A server that closed a connection does not block its port for the next one."""
    server = RuntimeServer(lambda event, context: b"", host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    requests.get(f"http://127.0.0.1:{server.port}/health", headers={"Connection": "close"}, timeout=60)
    server.stop()
    thread.join()
    RuntimeServer(lambda event, context: b"", host="127.0.0.1", port=server.port)._http.server_close()


def test_an_idle_connection_does_not_delay_the_end():
    """The server stops although a client keeps its connection open."""
    server = RuntimeServer(lambda event, context: event, host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/invoke", b"one")
    assert connection.getresponse().read() == b"one"
    server.stop()
    runner.join()
    connection.close()


def test_an_exit_is_reported_before_the_process_ends(start):
    """SystemExit in a handler is reported to FC as a failed call, and then raised by `run`."""

    def handler(event, context):
        raise SystemExit(3)

    url, raised = start(handler)
    answer = requests.post(f"{url}/invoke", timeout=60)
    assert (read_status(answer), answer.json()["errorType"]) == ((404, "404"), "SystemExit")
    for thread in threading.enumerate():
        if thread.name.endswith("(run)"):
            thread.join()
    assert [type(exc) for exc in raised] == [SystemExit]


@pytest.mark.parametrize(
    "part",
    ["POST /inv", "POST /invoke HTTP/1.1\r\nHost", "POST /invoke HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"],
)
def test_a_request_that_never_ends_does_not_keep_the_server_from_its_end(monkeypatch, part):
    """The server stops although a client has sent a part of a request and nothing more."""
    monkeypatch.setattr("fcruntime.server._RECEIVING_SECONDS", 0.1)
    server = RuntimeServer(lambda event, context: event, host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run, daemon=True)
    runner.start()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(part.encode())
        requests.get(f"http://127.0.0.1:{server.port}/health", timeout=60)
        server.stop()
        runner.join(20)
        assert not runner.is_alive()


def test_a_request_in_progress_is_finished(start):
    """The server finishes a request in progress before it stops."""
    entered, free = threading.Event(), threading.Event()

    def handler(event, context):
        entered.set()
        assert free.wait(60)
        return "done"

    server = RuntimeServer(handler, host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    answers = []
    url = f"http://127.0.0.1:{server.port}/invoke"
    caller = threading.Thread(
        target=lambda: answers.append(requests.post(url, headers={"Connection": "close"}, timeout=60).text)
    )
    caller.start()
    assert entered.wait(60)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    stopper.join()
    assert runner.is_alive()
    free.set()
    runner.join()
    caller.join()
    assert answers == ["done"]


def test_a_client_that_is_gone_is_no_error(start, capfd):
    """A connection that its client resets leaves no stack trace in the log."""
    entered, free = threading.Event(), threading.Event()

    def handler(event, context):
        entered.set()
        assert free.wait(60)
        return b"x" * 1_000_000

    url, _ = start(handler)
    for request in (b"POST /invoke HTTP/1.1\r\n\r\n", b"POST /inv", b""):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(request)
            assert not request.endswith(b"\r\n\r\n") or entered.wait(60)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        free.set()
    assert requests.post(f"{url}/invoke", timeout=60).status_code == 200
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(1)
    assert capfd.readouterr().err == ""


def test_connections_that_broke_are_not_kept():
    """A connection that its client resets while a request arrives over it is freed."""
    tracked = []

    class Runtime(RuntimeServer):
        def call(self, event, context):
            tracked.extend([*self._http._idle, *self._http._receiving])
            return super().call(event, context)

    server = Runtime(lambda event, context: "", host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    for request in (b"POST /inv", b"POST /invoke HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request)
            time.sleep(0.1)  # until the server reads
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)
    requests.post(f"http://127.0.0.1:{server.port}/invoke", timeout=60)
    server.stop()
    runner.join()
    assert tracked == []


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_an_address_of_ipv6():
    """The server listens on an address of IPv6."""
    server = RuntimeServer(lambda event, context: event, host="::1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    assert requests.post(f"http://[::1]:{server.port}/invoke", data=b"six", timeout=60).content == b"six"
    server.stop()
    runner.join()


def test_a_port_in_use_is_an_error():
    """A port that is in use raises an OSError that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1, port {port}: .* in use") as caught:
            RuntimeServer(lambda event, context: None, host="127.0.0.1", port=port)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("port", [-1, 65_536])
def test_an_invalid_port_as_argument_is_an_error(port):
    """A number that no port has is an error that says which numbers are valid."""
    with pytest.raises(ValueError, match=f"port is {port}. Set it to a port number from 0 to 65535"):
        RuntimeServer(lambda event, context: None, host="127.0.0.1", port=port)


def test_the_port_comes_from_the_environment(monkeypatch):
    """The port is FC_CUSTOM_LISTEN_PORT by default."""
    # A port that is in use, because any program may take a free one meanwhile.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("FC_CUSTOM_LISTEN_PORT", str(taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            RuntimeServer(lambda event, context: None, host="127.0.0.1")
    monkeypatch.setenv("FC_CUSTOM_LISTEN_PORT", "0")
    RuntimeServer(lambda event, context: None, host="127.0.0.1")._http.server_close()


@pytest.mark.parametrize("port", ["many", "99999"])
def test_an_invalid_port_is_an_error(monkeypatch, capsys, port):
    """An invalid port in the environment is a usage error that names the variable."""
    monkeypatch.setenv("FC_CUSTOM_LISTEN_PORT", port)
    monkeypatch.setattr("sys.argv", ["python -m fcruntime", "index.handler", "--host", "127.0.0.1"])
    monkeypatch.syspath_prepend(".")  # what the command adds to the path is taken back
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: FC_CUSTOM_LISTEN_PORT is '{port}'. Set it to a port number" in capsys.readouterr().err


def test_a_handler_can_return_parts_of_the_context(start):
    """The members of the context are plain values."""
    url, _ = start(lambda event, context: json.dumps({"name": context.function.name}))
    assert requests.post(f"{url}/invoke", headers=HEADERS, timeout=60).json() == {"name": "orders"}


def test_calls_that_do_not_overlap_run_in_the_thread_of_run(start):
    """With a concurrency of one, handler and hooks run in one thread, and it is the one that called `run`."""
    threads = []

    def note(*_):
        threads.append(threading.current_thread())

    url, _ = start(note, initialize=note, pre_stop=note)
    requests.post(f"{url}/initialize", timeout=60)
    for _ in range(3):
        requests.post(f"{url}/invoke", timeout=60)
    requests.get(url, headers=FROM_OUTSIDE, timeout=60)
    requests.get(f"{url}/pre-stop", timeout=60)
    (runner,) = {*threads}
    assert len(threads) == 6
    assert runner.name.endswith("(run)")


def test_calls_that_overlap_do_not_wait_for_each_other(start):
    """With a higher concurrency, a call that comes while another runs gets a thread of its own."""
    both, threads = threading.Barrier(2, timeout=60), []

    def handler(event, context):
        both.wait()
        threads.append(threading.current_thread())

    url, _ = start(handler)
    callers = [
        threading.Thread(target=requests.post, args=(f"{url}/invoke",), kwargs={"timeout": 10}) for _ in "ab"
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len({*threads}) == 2
    assert sum(thread.name.endswith("(run)") for thread in threads) == 1


LAMBDA_STYLE = """
import asyncio
import signal
import sqlite3
import threading

from fcruntime import json_handler

database = sqlite3.connect(":memory:")  # may be used in the thread that made it only


async def double(number):
    await asyncio.sleep(0)
    return 2 * number


@json_handler
def handler(event, context):
    signal.signal(signal.SIGALRM, lambda *_: None)
    database.execute("CREATE TABLE IF NOT EXISTS t (n)")
    doubled = asyncio.get_event_loop().run_until_complete(double(event["n"]))
    return {"doubled": doubled, "main": threading.current_thread() is threading.main_thread()}
"""


@contextlib.contextmanager
def serve_module(folder, text):
    """Run `python -m fcruntime` with a handler of this source; yield its URL, the process and a reader of its log."""
    (folder / "orders.py").write_text(text)
    command = [sys.executable, "-m", "fcruntime", "orders.handler", "--host", "127.0.0.1"]
    with reserve_port() as port, (folder / "log").open("wb") as log:
        environ = {"PYTHONPATH": str(Path(fcruntime.__file__).parents[1]), "FC_CUSTOM_LISTEN_PORT": str(port)}
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}", process, (folder / "log").read_text
        finally:
            process.kill()
            process.wait()


def test_a_lambda_handler_finds_lambdas_main_thread(tmp_path):
    """A handler may set signals, share an SQLite connection and ask for its thread's event loop."""
    with serve_module(tmp_path, LAMBDA_STYLE) as (url, process, _):
        for number in (1, 2):
            answer = requests.post(f"{url}/invoke", json={"n": number}, timeout=60)
            assert answer.json() == {"doubled": 2 * number, "main": True}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


LOGGING = """
import logging
import os
import threading

logger = logging.getLogger()
print("imported")


def handler(event, context):
    logger.info("begun %s", event.decode())
    logger.info("found %s", os.fsdecode(b"caf\\xe9"))
    context.getLogger().debug("not at this level")
    thread = threading.Thread(target=logger.warning, args=("in a thread",))
    thread.start()
    thread.join()
    if event == b"end":
        print("printed before the end")
        os._exit(3)
    raise ValueError("broken")
"""


def test_the_log_is_that_of_a_built_in_runtime(tmp_path):
    """Lines of the root logger, errors and what was printed before the process died are in the log."""
    with serve_module(tmp_path, LOGGING) as (url, process, read_log):
        assert requests.post(f"{url}/invoke", data=b"one", headers=HEADERS, timeout=60).status_code == 404
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{url}/invoke", data=b"end", headers=HEADERS, timeout=60)
        assert process.wait(60) == 3
        log = re.sub(r"(?m)^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z ", "TIME ", read_log())
    begin, error = log.split("TIME 1-abc [ERROR] ")
    assert begin.splitlines() == [
        "FC Invoke Start RequestId: 1-abc",
        "imported",
        "TIME 1-abc [INFO] begun one",
        r"TIME 1-abc [INFO] found caf\udce9",
        "TIME 1-abc [WARNING] in a thread",
    ]
    body, end = error.split("FC Invoke End RequestId: 1-abc, Error: Unhandled function error\n")
    assert json.loads(body)["errorMessage"] == "broken"
    assert end.splitlines() == [
        "FC Invoke Start RequestId: 1-abc",
        "TIME 1-abc [INFO] begun end",
        r"TIME 1-abc [INFO] found caf\udce9",
        "TIME 1-abc [WARNING] in a thread",
        "printed before the end",
    ]


def test_a_logger_of_powertools_that_is_older_than_the_server_writes_each_line_once(monkeypatch):
    """A module that makes its loggers and then calls `serve` has the log of one that the server imports."""
    written, out, root = io.StringIO(), io.StringIO(), logging.RootLogger(logging.WARNING)
    logger, child = Logger(service="older", stream=written), Logger(service="older", child=True)
    monkeypatch.setattr(logging.getLogger("older"), "parent", root)
    monkeypatch.setattr("logging.getLogger", lambda: root)
    monkeypatch.setattr("sys.stdout", out)
    configure_log()
    logger.info("of the logger")
    child.info("of its child")
    assert (len(written.getvalue().splitlines()), out.getvalue()) == (2, "")
    for name in ("root", "olderthan"):  # a name that only begins with that of the logger
        root.handle(root.makeRecord(name, logging.INFO, __file__, 1, f"of {name}", (), None))
        assert out.getvalue().endswith(f"[INFO] of {name}\n")


def test_a_root_logger_with_handlers_is_left_as_it_is(monkeypatch):
    """`configure_log` adds no second handler; its own follows `sys.stdout` and survives an invalid message."""
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr("logging.getLogger", lambda: root)
    configure_log()
    configure_log()
    assert len(root.handlers) == 1
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    note_request("1-abc")
    root.info("%d", "no number")
    root.info("after it")
    assert out.getvalue().endswith(" 1-abc [INFO] after it\n")
    assert root.level == logging.INFO
    root.handlers[0].setFormatter(logging.Formatter("%(aws_request_id)s %(message)s\n"))
    root.info("in a form for Lambda")
    assert out.getvalue().endswith("after it\n1-abc in a form for Lambda\n")


ALARMING = """
import signal


def ring(*_):
    raise TimeoutError("late")


def handler(event, context):
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
"""


def test_a_late_alarm_does_not_end_the_instance(tmp_path):
    """An alarm that a handler left behind rings between two calls, and only the log shows it."""
    with serve_module(tmp_path, ALARMING) as (url, process, read_log):
        for _ in range(2):
            assert requests.post(f"{url}/invoke", timeout=60).status_code == 200
            while "TimeoutError('late')" not in read_log():
                assert process.poll() is None
                time.sleep(0.01)


ALARMING_SOON = ALARMING.replace("0.3", "int(event) / 1e6")


def test_a_late_alarm_holds_up_no_call(tmp_path):
    """Wherever an alarm rings after a call, that call is answered, perhaps as failed, and so is the next one."""
    with serve_module(tmp_path, ALARMING_SOON) as (url, process, _), requests.Session() as session:
        for microseconds in range(20, 800, 10):
            answer = session.post(f"{url}/invoke", str(microseconds), timeout=20)
            assert answer.status_code in (200, 404)
        assert process.poll() is None


FORKING = """
import multiprocessing
import os
import sys
import time


def handler(event, context):
    if event == b"terminate":
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        process.start()
        time.sleep(0.1)
        process.terminate()
        process.join(10)
        return str(process.exitcode)
    child = os.fork()
    if child:
        return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if event == b"exit":
        sys.exit(3)
    if event == b"raise":
        raise ValueError
    return "from the child"
"""


def test_a_forked_child_is_not_a_second_runtime(tmp_path):
    """A forked child ends at SIGTERM, and does not answer if it comes back from the handler."""
    with serve_module(tmp_path, FORKING) as (url, process, _):
        expected = {"terminate": -signal.SIGTERM, "exit": 3, "raise": 1, "return": 0}
        for event, code in expected.items():
            assert requests.post(f"{url}/invoke", data=event, timeout=20).text == str(int(code)), event
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


PREFORKING = """
import os

from fcruntime.server import RuntimeServer

server = RuntimeServer(lambda event, context: event, host="127.0.0.1", port=0)
if os.fork() == 0:
    server.run()
print(server.port, flush=True)
"""


def test_a_server_may_run_in_a_child(tmp_path):
    """What counts as the runtime's own process is the one that runs the server, not the one that made it."""
    with subprocess.Popen(
        [sys.executable, "-c", PREFORKING],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(fcruntime.__file__).parents[1])},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/invoke"
            assert requests.post(url, data=b"child", timeout=60).content == b"child"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


SLEEPING = """
import time


def handler(event, context):
    print("asleep")
    while True:
        time.sleep(0.01)  # not one long sleep, which need not notice a signal that arrives as it begins
"""


def test_a_second_interrupt_ends_a_call_that_does_not_end(tmp_path):
    """The first SIGINT waits for the call in progress; the next one interrupts it, and its failure is answered."""
    with serve_module(tmp_path, SLEEPING) as (url, process, read_log), ThreadPoolExecutor() as pool:
        answer = pool.submit(requests.post, f"{url}/invoke", headers=HEADERS, timeout=60)
        wait_until(lambda: "asleep" in read_log())

        def interrupt():
            process.send_signal(signal.SIGINT)
            return wait([answer], timeout=1).done

        wait_until(interrupt)
        assert read_status(answer.result()) == (404, "404")
        assert answer.result().json()["errorType"] == "KeyboardInterrupt"
        assert process.wait(60) != 0


SERVING_FOR_A_TIME = """
import os
import signal

import fcruntime

NUMBERS = (signal.SIGTERM, signal.SIGINT)
before = [signal.getsignal(number) for number in NUMBERS]


def handler(event, context):
    os.kill(os.getpid(), signal.SIGTERM)


fcruntime.serve(handler, host="127.0.0.1")
assert [signal.getsignal(number) for number in NUMBERS] == before
"""


def test_signals_work_as_before_once_the_server_has_ended(tmp_path):
    """What a program does after `serve` can be ended as before."""
    with reserve_port() as port, (tmp_path / "log").open("wb") as log:
        environ = {"PYTHONPATH": str(Path(fcruntime.__file__).parents[1]), "FC_CUSTOM_LISTEN_PORT": str(port)}
        command = [sys.executable, "-c", SERVING_FOR_A_TIME]
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
        try:
            wait_for_port(port, process)
            assert requests.post(f"http://127.0.0.1:{port}/invoke", timeout=60).status_code == 200
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()


def wait_for_port(port, process):
    while True:
        assert process.poll() is None
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except OSError:
            time.sleep(0.01)
