"""The protocol of custom runtimes, spoken over HTTP as FC does."""

import http.client
import json
import socket
import threading

import pytest
import requests

from fcruntime.server import RuntimeServer

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
}


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
    requests.post(f"{url}/invoke", timeout=10)
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


def test_contexts_are_json_for_handlers_that_log_them(start):
    url, _ = start(lambda event, context: json.dumps({"name": context.function.name}))
    assert requests.post(f"{url}/invoke", headers=HEADERS, timeout=10).json() == {"name": "orders"}
