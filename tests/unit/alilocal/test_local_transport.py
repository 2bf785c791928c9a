"""Requests as HTTP allows them: chunked bodies, absolute targets, connections that are closed by half or for good."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import formatdate

import pytest
import requests
from localwire import NAMESPACE, StandingTime, Wire, read, wait_for_poll, xml

import alilocal
from alilocal.core.http import Request
from alilocal.eventstream import EventStream
from alilocal.smq.signature import signature

MESSAGE = xml("Message", MessageBody="aGk=").encode()
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def server():
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=2)) as running:
        running.cloud.queues.create("orders")
        yield running


def head(server, method, target, *lines, sent_as=None):
    """Return the signed head of a request for SMQ without its empty line; `sent_as` is the target on the wire."""
    headers = {"Host": "mns.example", "Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
    digest = signature(server.cloud.access_key_secret, Request(method, target, tuple(headers.items())))
    headers["Authorization"] = f"MNS {server.cloud.access_key_id}:{digest}"
    given = [f"{method} {sent_as or target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), *lines]
    return "\r\n".join(given).encode() + b"\r\n\r\n"


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def exchange(server, data):
    """Send bytes and nothing more, and return everything that arrives."""
    with connect(server) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def chunks(*parts, trailer=b""):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


def bodies(server):
    return [message.body for message in server.cloud.queues["orders"].messages]


@pytest.mark.parametrize(
    "body",
    [
        chunks(MESSAGE),
        chunks(*[MESSAGE[i : i + 1] for i in range(len(MESSAGE))]),
        chunks(MESSAGE[:7], MESSAGE[7:], trailer=b"Expires: never\r\nx-checksum: 1\r\n"),
        b"%X;name=value\r\n%s\r\n000\r\n\r\n" % (len(MESSAGE), MESSAGE),
    ],
    ids=["one", "bytes", "trailers", "extension"],
)
@pytest.mark.parametrize("header", [CHUNKED, "transfer-encoding: Chunked", f"Content-Length: 3\r\n{CHUNKED}"])
def test_chunked_bodies(server, body, header):
    """A body in chunks is taken whole, with extensions and trailers, which are ignored."""
    answer = exchange(server, head(server, "POST", "/queues/orders/messages", header) + body)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert bodies(server) == ["aGk="]


def test_a_request_behind_a_chunked_body(server):
    """The request that follows a chunked body on the same connection is found, also behind an empty line."""
    send = head(server, "POST", "/queues/orders/messages", CHUNKED) + chunks(MESSAGE, trailer=b"a: b\r\n")
    answer = exchange(server, send + b"\r\n" + send)
    assert answer.count(b"HTTP/1.1 201 ") == 2


@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        (CHUNKED, b"x\r\n", 400),
        (CHUNKED, b"-1\r\n", 400),
        (CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (CHUNKED, b"fffffffffff\r\n", 413),
        (CHUNKED, b"0\r\n" + b"a: b\r\n" * 200, 400),
        ("Transfer-Encoding: gzip, chunked", b"", 501),
    ],
)
def test_chunks_that_are_not_taken(server, header, body, status):
    """Chunks that are not well formed or too long are refused, and the connection is closed."""
    answer = exchange(server, head(server, "POST", "/queues/orders/messages", header) + body)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert bodies(server) == []


@pytest.mark.parametrize("missing", [2, 3, 5, 9])
def test_a_chunked_body_without_its_end_is_not_a_request(server, missing):
    """A body that breaks off is not carried out."""
    exchange(server, head(server, "POST", "/queues/orders/messages", CHUNKED) + chunks(MESSAGE)[:-missing])
    assert bodies(server) == []


def test_a_folded_header_is_one_line(server):
    """A header may continue on the next line, as old clients send it."""
    folded = head(server, "POST", "/queues/orders/messages", f"Content-Length: {len(MESSAGE)}").replace(
        b"Authorization: MNS ", b"Authorization: MNS \r\n\t"
    )
    assert exchange(server, folded + MESSAGE).startswith(b"HTTP/1.1 201 ")
    assert bodies(server) == ["aGk="]


def test_two_lengths_are_refused(server):
    """A request with two lengths may be read in two ways; one that states its length twice is taken."""
    length = f"Content-Length: {len(MESSAGE)}"
    for other, status in (("Content-Length: 3", b"400"), (length.lower(), b"201")):
        sent = head(server, "POST", "/queues/orders/messages", length, other) + MESSAGE
        assert exchange(server, sent).startswith(b"HTTP/1.1 " + status)
    assert bodies(server) == ["aGk="]


def test_a_target_that_is_too_long_is_answered(server):
    """A request with an endless first line gets an answer, also if its caller goes on sending."""
    answer = exchange(server, b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")


def test_requests_sends_a_generator_in_chunks(server):
    """The body of a generator or a file reaches the service, in-process as well as over HTTP."""
    data = [b'{"a"', b": 1}"]
    url = "/api/automl/v1/hpo/experiment"
    with requests.Session() as own, server.cloud.session() as inside:
        own.trust_env = False
        for session, base in ((own, server.url), (inside, server.cloud.endpoint)):
            answer = session.post(base + url, data=iter(data), timeout=60)
            assert answer.json()["Code"] == "IncompleteSignature"


@pytest.mark.parametrize(
    ("prefix", "target"),
    [
        ("http://mns.example", "/queues/orders?a=b://c"),
        ("HTTP://mns.example:80", "/queues/orders"),
        ("https://user@mns.example", "/queues/orders"),
    ],
)
def test_absolute_targets(server, prefix, target):
    """A target with scheme and host, as clients of a proxy send it, is the path and query behind them."""
    answer = exchange(server, head(server, "GET", target, sent_as=f"{prefix}{target}"))
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_absolute_target_without_a_path(server):
    """Without a path, the target is the root with its query."""
    answer = exchange(
        server, head(server, "GET", "/?accountmeta=true", sent_as="http://mns.example?accountmeta=true")
    )
    assert b"<Account " in answer


def poll(server, seconds):
    return head(server, "GET", f"/queues/orders/messages?waitseconds={seconds}")


def test_a_consumer_that_has_left_takes_no_message(server):
    """A long poll whose caller has closed its connection gets no message; the next consumer gets it at once."""
    gone = connect(server)
    gone.sendall(poll(server, 20))
    wait_for_poll(server.cloud)
    gone.close()
    server.cloud.queues["orders"].send("aGk=")
    answer = exchange(server, head(server, "GET", "/queues/orders/messages"))
    assert b"<DequeueCount>1</DequeueCount>" in answer


def test_a_consumer_that_only_reads_gets_its_message(server):
    """A connection whose sending half is closed is not abandoned: its long poll ends with the message."""
    with connect(server) as connection:
        connection.sendall(poll(server, 20))
        connection.shutdown(socket.SHUT_WR)
        wait_for_poll(server.cloud)
        server.cloud.queues["orders"].send("aGk=")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"HTTP/1.1 200 " in answer
    assert b"<DequeueCount>1</DequeueCount>" in answer


def test_a_poll_ends_while_the_time_stands_still(monkeypatch):
    """A poll ends in real time, even if a test has frozen every clock of the module `time`."""
    with alilocal.LocalCloud(clock=StandingTime()) as cloud, cloud.session() as session:
        cloud.queues.create("q")
        began = time.monotonic()
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: began)
        answer = Wire(cloud, session, cloud.endpoint).smq("GET", "/queues/q/messages?waitseconds=1")
        assert read(answer)["Code"] == "MessageNotExist"
        assert real() - began >= 1


def test_the_clock_follows_a_frozen_time(monkeypatch):
    """A cloud follows `time.time` if a test replaces it later, as libraries do that freeze the time."""
    with alilocal.LocalCloud() as cloud:
        monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
        assert cloud.clock.now() == 1_000_000_000.0


def test_polls_do_not_hold_each_other_up(server):
    """A message wakes one of several polls; the others, whose callers have left, do not take it."""
    gone = [connect(server) for _ in range(3)]
    for one in gone:
        one.sendall(poll(server, 20))
    wait_for_poll(server.cloud)
    for one in gone:
        one.close()
    found = []
    alive = threading.Thread(target=lambda: found.append(exchange(server, poll(server, 20))))
    alive.start()
    server.cloud.queues["orders"].send("aGk=")
    alive.join(60)
    assert b"<DequeueCount>1</DequeueCount>" in found[0]
    assert NAMESPACE.encode() in found[0]


def test_waiting_for_a_stream_ends_while_the_time_stands_still(monkeypatch):
    """Waiting for an event stream ends in real time, too."""
    with alilocal.LocalCloud(clock=StandingTime()) as cloud:
        cloud.queues.create("q").send("{}")
        stream = EventStream(cloud, queue="q", invoke=lambda event: False)
        frozen = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: frozen)
        assert not stream.wait_idle(0.1)


def test_a_client_that_speaks_tls_is_answered_at_once(server):
    """A client that uses https by mistake gets an answer that it cannot read, instead of waiting for one."""
    with connect(server) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
        assert connection.recv(65_536) == b""


@pytest.mark.parametrize("options", ["close", "Close", "TE, close", "keep-alive,CLOSE"])
def test_a_connection_is_closed_on_request(server, options):
    """The header Connection is a list, whose items have no case."""
    with connect(server) as connection:
        connection.sendall(head(server, "GET", "/queues/orders", f"Connection: {options}"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_empty_lines_before_a_request_are_skipped(server):
    """HTTP asks servers to skip empty lines before a request."""
    answer = exchange(server, b"\r\n\r\n\n" + head(server, "GET", "/queues/orders"))
    assert answer.startswith(b"HTTP/1.1 200 ")
