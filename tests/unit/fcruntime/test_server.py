"""The protocol of custom runtimes, spoken over HTTP as FC does."""

import http.client
import json
import logging
import socket
import threading

import pytest
import requests

from fcruntime.__main__ import main
from fcruntime.server import RuntimeServer
from fcruntime.triggers import decode

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
    """Runs a server on a free port of loopback; gives its URL, and what `run` raised once it is stopped."""
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


def told(answer):
    return answer.status_code, answer.headers["x-fc-status"]


def test_an_event_is_handed_over_untouched(start, capsys):
    url, _ = start(lambda event, context: event[::-1])
    answer = requests.post(f"{url}/invoke", data=b"\x00\xff!", headers=HEADERS, timeout=10)
    assert (told(answer), answer.content) == ((200, "200"), b"!\xff\x00")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert capsys.readouterr().out.splitlines() == [
        "FC Invoke Start RequestId: 1-abc",
        "FC Invoke End RequestId: 1-abc",
    ]


def test_the_headers_are_the_context(start, monkeypatch):
    contexts = []
    url, _ = start(lambda event, context: contexts.append(context))
    requests.post(f"{url}/invoke", headers=HEADERS, timeout=10)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "id-of-the-environment")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token")
    # The token is what custom.debian11 leaves out.
    requests.post(f"{url}/invoke", headers={**HEADERS, "x-fc-security-token": ""}, timeout=10)
    requests.post(f"{url}/invoke", headers={"x-fc-tracing-opentracing-span-baggages": "!"}, timeout=10)
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
    assert second.credentials.access_key_id == "id-of-the-environment"
    assert third.request_id == ""


def test_an_error_is_told_in_the_header_that_counts(start, capsys):
    def handler(event, context):
        raise ValueError("broken")

    url, _ = start(handler)
    answer = requests.post(f"{url}/invoke", headers=HEADERS, timeout=10)
    assert told(answer) == (404, "404")
    assert (answer.json()["errorType"], answer.json()["errorMessage"]) == ("ValueError", "broken")
    assert "FC Invoke End RequestId: 1-abc, Error: Unhandled function error" in capsys.readouterr().out


def test_a_handler_that_cannot_be_loaded_is_an_error_of_each_call(start):
    url, _ = start("nothing.of.the.kind")
    for _ in range(2):
        assert told(requests.post(f"{url}/invoke", timeout=10)) == (404, "404")


def test_hooks_are_called_when_they_are_set(start):
    called = []
    url, _ = start(
        lambda event, context: None,
        initialize=lambda context: called.append(("initialize", context.request_id)),
        pre_stop=lambda context: called.append(("pre_stop", context.request_id)),
    )
    assert told(requests.post(f"{url}/initialize", headers=HEADERS, timeout=10)) == (200, "200")
    assert told(requests.get(f"{url}/pre-stop", headers=HEADERS, timeout=10)) == (200, "200")
    assert told(requests.get(f"{url}/pre-freeze", headers=HEADERS, timeout=10)) == (200, "200")
    assert called == [("initialize", "1-abc"), ("pre_stop", "1-abc")]


def test_an_initializer_that_fails_has_the_instance_replaced(start):
    def initialize(context):
        raise RuntimeError("not today")

    url, _ = start(lambda event, context: None, initialize=initialize)
    answer = requests.post(f"{url}/initialize", timeout=10)
    assert (told(answer), answer.json()["errorMessage"]) == ((500, "404"), "not today")


def test_health_and_unknown_paths(start):
    url, _ = start(lambda event, context: None)
    assert told(requests.get(f"{url}/health", timeout=10)) == (200, "200")
    for method, path in (("GET", "/invoke"), ("POST", "/"), ("GET", "/nothing")):
        assert told(requests.request(method, url + path, timeout=10)) == (404, "404")


@pytest.mark.parametrize(
    "request_text",
    [
        "POST /invoke HTTP/1.1\r\nContent-Length: 100\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nContent-Length: many\r\n\r\n{}",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "POST /invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nabcde\r\n0\r\n\r\n",
        "BREW /invoke HTTP/1.1\r\n\r\n",
        "POST /invoke HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_not_a_whole_request_is_no_event(start, request_text):
    """It must not count as an event that succeeded, nor reach the handler in part."""
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


def test_a_request_from_outside_is_the_event_of_built_in_runtimes(start):
    """That of an HTTP trigger, which FC passes through; without the headers that hold FC's credentials."""
    events = []
    url, _ = start(lambda event, context: events.append(json.loads(event)))
    answer = requests.put(
        f"{url}/experiments/1?dry=1&empty=",
        data="{}",
        headers={**FROM_OUTSIDE, "User-Agent": "me", "X-Fc-Client-Ip": "192.0.2.1"},
        timeout=10,
    )
    assert (told(answer), answer.headers["Content-Type"]) == ((200, "200"), "application/json")
    requests.post(url, data=b"\xff", headers=FROM_OUTSIDE, timeout=10)
    first, second = events
    assert (first["version"], first["rawPath"], first["body"]) == ("v1", "/experiments/1", "{}")
    assert first["queryParameters"] == {"dry": "1", "empty": ""}
    made = first["requestContext"]
    assert (made["accountId"], made["requestId"]) == ("42", "1-abc")
    assert (made["http"]["method"], made["http"]["sourceIp"]) == ("PUT", "192.0.2.1")
    assert [name for name in first["headers"] if name.lower().startswith("x-fc-")] == []
    assert first["headers"]["User-Agent"] == "me"
    assert (second["body"], second["isBase64Encoded"]) == ("/w==", True)
    for event in events:
        (message,) = decode(json.dumps(event))
        assert (message.kind, message.id) == ("http", "1-abc")


@pytest.mark.parametrize(
    ("result", "status", "headers", "body"),
    [
        ("plain", 200, {"Content-Type": "text/plain; charset=utf-8"}, b"plain"),
        ({"a": 1}, 200, {"Content-Type": "application/json"}, b'{\n    "a": 1\n}'),
        ({"statusCode": 201, "headers": {"X-Own": "a\r\nb"}, "body": "made"}, 201, {"X-Own": "ab"}, b"made"),
        ({"statusCode": 200, "body": "/w==", "isBase64Encoded": True}, 200, {}, b"\xff"),
        ({"statusCode": 200, "body": {"a": 1}, "headers": {"content-length": "9"}}, 200, {}, b'{"a": 1}'),
        ({"statusCode": 200, "body": "\ud800"}, 502, {}, None),
        ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, 502, {}, None),
        ({"statusCode": "200"}, 502, {}, None),
    ],
)
def test_its_result_is_the_answer(start, result, status, headers, body):
    url, _ = start(lambda event, context: result)
    answer = requests.get(url, headers=FROM_OUTSIDE, timeout=10)
    assert told(answer) == (status, "200")
    assert {name: answer.headers[name] for name in headers} == headers
    assert body in (None, answer.content)


def test_hooks_are_not_for_callers_from_outside(start):
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
        requests.request(method, url + path, headers=FROM_OUTSIDE, timeout=10)
    assert (called, events) == ([], ["/initialize", "/pre-stop", "/invoke", "/health"])


def test_an_error_for_callers_from_outside(start):
    url, _ = start("nothing.of_the_kind")
    answer = requests.get(url, headers=FROM_OUTSIDE, timeout=10)
    assert (told(answer), answer.json()["errorType"]) == ((502, "404"), "ImportModuleError")
    assert requests.head(url, headers=FROM_OUTSIDE, timeout=10).content == b""


def test_a_body_in_chunks(start):
    url, _ = start(lambda event, context: event)
    answer = requests.post(f"{url}/invoke", data=iter([b"one ", b"two"]), timeout=10)
    assert answer.content == b"one two"


def test_connections_are_kept(start):
    url, _ = start(lambda event, context: event)
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    for body in (b"one", b"two"):
        connection.request("POST", "/invoke", body)
        assert connection.getresponse().read() == body
    connection.close()


def test_an_idle_connection_does_not_keep_the_server():
    server = RuntimeServer(lambda event, context: event, host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/invoke", b"one")
    assert connection.getresponse().read() == b"one"
    server.stop()
    runner.join()
    connection.close()


def test_what_ends_the_process_is_told_first(start):
    def handler(event, context):
        raise SystemExit(3)

    url, raised = start(handler)
    answer = requests.post(f"{url}/invoke", timeout=10)
    assert (told(answer), answer.json()["errorType"]) == ((404, "404"), "SystemExit")
    for thread in threading.enumerate():
        if thread.name.endswith("(run)"):
            thread.join()
    assert [type(exc) for exc in raised] == [SystemExit]


def test_a_request_under_way_ends_before_the_server(start):
    entered, free = threading.Event(), threading.Event()

    def handler(event, context):
        entered.set()
        assert free.wait(10)
        return "done"

    server = RuntimeServer(handler, host="127.0.0.1", port=0)
    runner = threading.Thread(target=server.run)
    runner.start()
    answers = []
    url = f"http://127.0.0.1:{server.port}/invoke"
    caller = threading.Thread(
        target=lambda: answers.append(requests.post(url, headers={"Connection": "close"}, timeout=10).text)
    )
    caller.start()
    assert entered.wait(10)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    stopper.join()
    assert runner.is_alive()
    free.set()
    runner.join()
    caller.join()
    assert answers == ["done"]


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        RuntimeServer(lambda event, context: None, host="127.0.0.1", port=taken.getsockname()[1])


def test_the_port_is_that_of_the_environment(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    monkeypatch.setenv("FC_CUSTOM_LISTEN_PORT", str(port))
    server = RuntimeServer(lambda event, context: None, host="127.0.0.1")
    assert server.port == port
    server._http.server_close()


@pytest.mark.parametrize("port", ["many", "99999"])
def test_a_port_that_is_none_is_said(monkeypatch, capsys, port):
    monkeypatch.setenv("FC_CUSTOM_LISTEN_PORT", port)
    monkeypatch.setattr("sys.argv", ["python -m fcruntime", "index.handler", "--host", "127.0.0.1"])
    monkeypatch.syspath_prepend(".")  # what the command adds to the path is taken back
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: FC_CUSTOM_LISTEN_PORT: '{port}' is no port" in capsys.readouterr().err


def test_contexts_are_json_for_handlers_that_log_them(start):
    url, _ = start(lambda event, context: json.dumps({"name": context.function.name}))
    assert requests.post(f"{url}/invoke", headers=HEADERS, timeout=10).json() == {"name": "orders"}
