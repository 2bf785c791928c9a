"""The local cloud on a port: connections, closing, and the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from email.utils import formatdate

import pytest
import requests
from localwire import Wire, wait_for_poll

import alilocal
from alilocal.core.http import Request
from alilocal.smq.signature import signature
from support.processes import run_program
from support.waiting import wait_until


@pytest.fixture
def server():
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=2)) as running:
        yield running


def exchange(server, data):
    """Send raw bytes, and return everything that arrives until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_serve_makes_a_cloud_on_a_free_port():
    """Without arguments, `serve` makes a new cloud on a free port of the loopback interface."""
    with alilocal.serve() as one, alilocal.serve() as other:
        assert one.url == f"http://127.0.0.1:{one.port}"
        assert one.port != other.port
        assert one.cloud is not other.cloud


def test_a_cloud_of_the_servers_own_ends_with_it(tmp_path):
    """A cloud that the server made is closed with it; a cloud that was passed in is not."""
    (tmp_path / "index.py").write_text("import os\n\ndef handler(event, context):\n    return os.getpid()\n")
    with alilocal.LocalCloud() as given:
        pids = []
        for cloud in (None, given):
            with alilocal.serve(cloud=cloud) as server:
                function = server.cloud.functions.create("f", handler="index.handler", code=str(tmp_path))
                pids.append(int(function.invoke(b"").body))
        with pytest.raises(ProcessLookupError):
            os.kill(pids[0], 0)
        os.kill(pids[1], 0)


def test_a_port_in_use_is_an_error(server):
    """A port in use is an OSError, and nothing stays open."""
    with pytest.raises(OSError, match="in use"):
        alilocal.serve(port=server.port)


def test_a_port_can_be_used_again_at_once():
    """A server whose connections were open when it closed does not block its port for the next one."""
    with alilocal.serve() as first, socket.create_connection(("127.0.0.1", first.port)) as client:
        client.sendall(b"GET /_console HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1)
        first.close()
    with alilocal.serve(port=first.port) as second:
        assert second.port == first.port


def test_connections_are_kept(server):
    """One connection can carry many requests."""
    get = b"GET / HTTP/1.1\r\nHost: x.example\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nHost: x.example\r\nContent-Length: 3\r\n\r\nabc"
    assert exchange(server, get + post + get).count(b"HTTP/1.1 404 Not Found") == 3


def test_answers_without_a_body(server):
    """HEAD gets no body, and the next request on the connection is understood."""
    answer = exchange(server, b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert answer.count(b"HTTP/1.1 404") == 2
    assert answer.count(b"No service") == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Transfer-Encoding: gzip", 501),
        (b"Content-Length: -1", 400),
        (b"Content-Length: x", 400),
        (b"Content-Length: 9999999999", 413),
        (b"Content-Length: " + b"9" * 5000, 413),
    ],
)
def test_bodies_that_are_not_taken(server, headers, status):
    """A body of unknown, invalid or excessive length is refused, and the connection is closed."""
    answer = exchange(server, b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200,
        b"GET / HTTP/1.1\r\nA: " + b"b" * 1_000_000,
        b"GET /" + b"a" * 1_000_000,
    ],
    ids=lambda data: data[:20],
)
def test_what_is_not_http(server, data):
    """Bytes that are not HTTP get an answer with a status line, and end the connection, but not the server."""
    answer = exchange(server, data)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
    assert b"\r\nConnection: close\r\n" in answer
    assert b"<" not in answer
    assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("data", [b"", b"\r\n"])
def test_a_connection_without_a_request_ends_without_an_answer(server, data):
    """A client that opens a connection and closes it again gets no answer."""
    assert exchange(server, data) == b""


@pytest.mark.parametrize(
    "line", [b"no colon", b"A : b", b"A: b\rc", b"A: b\0", b": b", b" A: b", b"\xc3\xa4: b"]
)
def test_a_request_with_an_invalid_header_is_refused_as_a_whole(server, line):
    """No header after an invalid one is lost, so that a body is never read as the next request."""
    smuggled = b"GET /queues/q HTTP/1.1\r\n\r\n"
    head = b"POST / HTTP/1.1\r\n" + line + b"\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    answer = exchange(server, head + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert len(server.cloud.requests) == 0


@pytest.mark.parametrize("cut", [b"", b"Date", b"Date: Mon", b"Date: Mon\r\n"])
def test_half_a_head_is_not_a_request(server, cut):
    """A request whose headers break off is not carried out, as its sender was killed or lost its connection."""
    assert exchange(server, b"GET /queues/q HTTP/1.1\r\nHost: x\r\n" + cut).startswith(b"HTTP/1.1 400 ")
    assert len(server.cloud.requests) == 0


def test_a_client_of_http_1_0_learns_whether_its_connection_is_kept(server):
    """A kept connection is announced. Such a client otherwise waits until the connection is closed."""
    kept = exchange(server, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in kept
    assert b"\r\nConnection: close\r\n" in exchange(server, b"GET / HTTP/1.0\r\n\r\n")
    check = exchange(server, b"GET /_alilocal/health HTTP/1.0\r\n\r\n")
    assert check.startswith(b"HTTP/1.1 200 "), "a load balancer's check has no Host"


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost", b"[::1]"])
def test_urls_in_answers_have_the_port_although_host_lacks_it(server, host):
    """fc2 for Node.js sends a Host without the port."""
    answer = exchange(server, b"GET /queues/q HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert b"<HostId>http://%b:%d</HostId>" % (host, server.port) in answer


@pytest.mark.parametrize("host", [b"1.mns.cn-hangzhou.aliyuncs.com", b"127.0.0.1:80", b"["])
def test_other_hosts_are_kept_as_sent(server, host):
    """A host that is not this machine, and one with a port, are not changed."""
    answer = exchange(server, b"GET /queues/q HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert b"<HostId>http://%b</HostId>" % host in answer


def test_half_a_body_is_not_a_request(server):
    """A request whose body is incomplete is not carried out."""
    assert exchange(server, b"POST /queues/q HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc") == b""
    assert len(server.cloud.requests) == 0


def test_the_target_is_taken_as_sent(server):
    """The target reaches the signature check without any decoding or normalization."""
    target = "//queues//q%2bx?a=%2f+b"
    headers = {"Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
    digest = signature(server.cloud.access_key_secret, Request("GET", target, tuple(headers.items())))
    headers["Authorization"] = f"MNS {server.cloud.access_key_id}:{digest}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = exchange(server, f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
    assert b"<Code>InvalidRequestURL</Code>" in answer


def test_closing_is_prompt_with_open_connections(server):
    """Long polls, stalled answers and idle connections do not delay closing, and no thread remains."""
    server.cloud.queues.create("q")
    fault = server.cloud.faults.add(service="smq", operation="ListQueue", kind="stall")
    begun, before = threading.Barrier(3), set(threading.enumerate())
    endings = []

    def call(target):
        with requests.Session() as session:
            session.trust_env = False
            wire = Wire(server.cloud, session, server.url)
            begun.wait()
            try:
                endings.append(wire.smq("GET", target).status_code)
            except requests.ConnectionError:
                endings.append(None)

    threads = [
        threading.Thread(target=call, args=[t]) for t in ("/queues/q/messages?waitseconds=30", "/queues")
    ]
    for thread in threads:
        thread.start()
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.settimeout(60)
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle.recv(65_536).startswith(b"HTTP/1.1 404")
        begun.wait()
        wait_until(lambda: fault.hits)
        wait_for_poll(server.cloud)
        server.close()
        server.close()
        # What was left of the answer, and the end.
        while idle.recv(65_536):
            continue
    for thread in threads:
        thread.join()
    # A call that closing did not end would have ended in a time-out of the client.
    assert len(endings) == 2
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_may_close_its_copy_of_the_server(server):
    """Closing ends at once there, and the parent's server and connections go on."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            server.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")


def test_a_failure_of_the_cloud_itself_is_a_500(server, monkeypatch):
    """A defect in the cloud's own code is answered with 500 and does not drop the connection."""

    def fail(_request):
        raise RuntimeError("slip")

    monkeypatch.setattr(server.cloud, "handle", fail)
    answer = exchange(server, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"slip" not in answer


def test_the_command_prints_its_endpoints_and_ends_on_a_signal():
    """`python -m alilocal` prints one line of JSON with its endpoints, and ends on SIGTERM."""
    command = [sys.executable, "-W", "error", "-m", "alilocal", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            line = json.loads(process.stdout.readline())
            assert requests.get(line["smq"], timeout=60).json()["health"] == "/_alilocal/health"
            assert line["accessKeyId"] == alilocal.LocalCloud().access_key_id
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()  # otherwise leaving the block after a failure would wait for it


SIGNALLED = """
import os, signal, sys, time
from alilocal.__main__ import main

def run(steps):
    # Run the command, which gets SIGTERM so many steps of its main thread after it has printed its endpoints.
    def trace(frame, event, argument):
        nonlocal steps
        if written and event == "line":
            steps -= 1
            if steps == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return trace

    written, sys.argv, write = [], ["alilocal", "--port", "0"], sys.stdout.write
    sys.stdout.write = lambda text: written.append(text)
    sys.settrace(trace)
    main()

children = {}
for steps in range(1, 20):
    pid = os.fork()
    if pid == 0:
        run(steps)
        os._exit(0)
    children[pid] = steps
until = time.monotonic() + float(sys.argv[1])
while children and time.monotonic() < until:
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid:
        assert status == 0, (children[pid], status)
        del children[pid]
    time.sleep(0.01)
for pid in children:
    os.kill(pid, signal.SIGKILL)
print(sorted(children.values()))
"""


def test_a_signal_at_any_moment_ends_the_command():
    """The command ends even if the signal arrives while it begins to wait for it."""
    command = [sys.executable, "-c", SIGNALLED, "60"]
    done = run_program(command)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_command_refuses_a_port_in_use(server, read_refusal):
    """A port in use ends the command with an error message."""
    assert "in use" in read_refusal(["--port", str(server.port)])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--from orders", "--from needs --function HANDLER"),
        ("--dead-letter dead", "--dead-letter needs --function HANDLER"),
        ("--batch-size 3", "--batch-size needs --function HANDLER"),
        ("--function a.b", "--function needs --from QUEUE"),
        ("--function a.b --from q --dead-letter q", "--dead-letter must be a different queue from --from"),
        ("--port 99999", "port must be 0-65535."),
    ],
)
def test_the_command_refuses_options_that_would_do_nothing(read_refusal, options, problem):
    """An option without effect, and an invalid one, are usage errors."""
    assert read_refusal(["--port", "0", *options.split()]).endswith(f"{problem}\n")
