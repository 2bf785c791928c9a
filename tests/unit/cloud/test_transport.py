"""Every way an exchange can break, and the ending it is given."""

from __future__ import annotations

import gc
import itertools
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ClosedPoolError, ConnectTimeoutError, MaxRetryError, NewConnectionError

from hpoq.clock import Budget
from hpoq.cloud import connections
from hpoq.cloud.answers import read_json
from hpoq.cloud.connections import new_session
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.smq import Smq
from hpoq.cloud.transport import ClockReading, Request, Response, Transport, _sign, read_date
from hpoq.errors import (
    Answered,
    Incomplete,
    NoTimeLeft,
    NotSent,
    SettingsError,
    Throttled,
    Unavailable,
    UnknownEnd,
)
from hpoq.observability.measures import Call, Measures, collect_into, trace_message
from hpoq.testing import FakeClock
from support.tools import skip_without


def request(url: str, target: str = "/x", body: bytes = b"{}", **headers: str) -> Request:
    endpoint = Endpoint.parse(url)
    signed = {"Host": endpoint.host, "Authorization": "CANARY", **headers}
    return Request("svc", "Op", "POST", endpoint, target, lambda: signed, body)


def send(transport: Transport, url: str, *, read: float = 60.0, budget: Budget | None = None) -> Response:
    return transport.send(request(url), connect_timeout=30.0, read_timeout=read, budget=budget)


def test_answer(transport, serve, answer):
    """An answer is handed over with its status, its headers in lower case, and its body."""
    server = serve(answer(418, b"body", X_Acs_Request_Id="r1"))
    got = send(transport, server.url)
    assert (got.status, got.headers["x-acs-request-id"], got.body) == (418, "r1", b"body")


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=nonsense", "application/json", ""])
def test_no_encoding_is_guessed(transport, serve, answer, monkeypatch, kind):
    """A body is bytes, whatever its headers say: the code package has nothing that guesses encodings."""
    for name in ("text", "apparent_encoding"):
        monkeypatch.setattr(
            requests.Response, name, property(lambda _: pytest.fail("an encoding is guessed"))
        )
    server = serve(answer(502, "Zeitüberschreitung".encode("latin-1"), Content_Type=kind))
    got = send(transport, server.url)
    assert got.body == b"Zeit\xfcberschreitung"
    assert not read_json(got).is_own_error


def test_sent_as_signed(transport, serve, answer):
    """Target, headers and body leave byte for byte as they were signed, with nothing encoded again."""
    server = serve(answer())
    target = "/a%2Fb%20c/%E6%B5%8B/%2e%2e/x~*?Tag=%5B%7B%22K%22%7D%5D&e=&p=a%2Bb%2A'!(),;:@&q=1"
    transport.send(request(server.url, target, b"\x00\xff"), connect_timeout=30, read_timeout=60)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    # urllib3 spells percent escapes in upper case, as the signatures do anyway.
    assert lines[0] == f"POST {target.replace('%2e', '%2E')} HTTP/1.1"
    assert [line.lower() for line in lines[1:] if line.lower().startswith("host:")] == [
        f"host: 127.0.0.1:{server.port}"
    ]
    assert "Content-Length: 2" in lines
    assert body == b"\x00\xff"


def test_empty_body(transport, serve, answer):
    """A PUT or POST without a body has the header Content-Length: 0."""
    server = serve(answer())
    transport.send(request(server.url, body=b""), connect_timeout=30, read_timeout=60)
    assert b"\r\nContent-Length: 0\r\n" in server.requests[0] + b"\r\n"


def test_one_connection(transport, serve, answer):
    """Calls that follow one another share one TCP connection."""
    server = serve(answer(body=b"ok"))
    assert [send(transport, server.url).body for _ in range(10)] == [b"ok"] * 10
    assert server.connections == 1


def test_each_host_keeps_its_connection(serve, answer, clock):
    """A message calls PAI, the store and the topic in turn, also in an instance that processes one at a time."""
    servers = [serve(answer(body=b"ok")) for _ in range(4)]
    with new_session(1) as session:
        transport = Transport(session, clock)
        for _ in range(3):
            assert [send(transport, server.url).body for server in servers] == [b"ok"] * 4
    assert [server.connections for server in servers] == [1] * 4


def test_pool_is_shared_by_threads(transport, serve, answer):
    """Threads share the pool, and each of them gets its own answer."""
    server = serve(lambda connection, raw: connection.sendall(answer(body=raw[-4:])) or True)
    got: dict[int, bytes] = {}

    def call(number: int) -> None:
        made = request(server.url, body=b"%04d" % number)
        got[number] = transport.send(made, connect_timeout=30, read_timeout=60).body

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: b"%04d" % number for number in range(16)}
    assert server.connections <= 16


def test_stale_connection(transport, serve, answer):
    """A kept connection that the server has closed meanwhile is replaced, not used."""
    closed = threading.Event()

    def answer_and_close(connection: socket.socket, _raw: bytes) -> None:
        connection.sendall(answer(body=b"1"))
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server = serve(answer_and_close, answer(body=b"2"))
    assert send(transport, server.url).body == b"1"
    assert closed.wait(60)
    assert send(transport, server.url).body == b"2"
    assert server.connections == 2


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_answers(transport, serve, answer, status):
    """An interim answer is skipped; the final one belongs to the request, and the next one to the next request."""
    interim = b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % status
    server = serve(interim + interim + answer(body=b"1"), answer(body=b"2"))
    assert [send(transport, server.url).body for _ in range(2)] == [b"1", b"2"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "foreign",
    [
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\n<html/>",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b'HTTP/1.1 503 Busy\r\nContent-Length: 17\r\n\r\n{"RequestId":"p"}',
    ],
)
def test_a_late_answer_is_not_the_next_requests(transport, serve, answer, foreign):
    """Behind an answer that is not the service's, its own may still come: the connection is not used again."""
    arrived = threading.Event()

    def answer_twice(connection: socket.socket, _raw: bytes) -> bool:
        connection.sendall(foreign)
        arrived.wait(60)  # until the next request is on its way
        connection.sendall(answer(body=b'{"RequestId":"1","ExperimentId":"of the first"}'))
        return True

    def answer_second(connection: socket.socket, _raw: bytes) -> bool:
        arrived.set()
        connection.sendall(answer(body=b'{"RequestId":"2","ExperimentId":"of the second"}'))
        return True

    server = serve(answer_twice, answer_second)
    client = PaiAutoMl(transport, server.url, lambda: Credentials("id", "secret"))
    with pytest.raises(UnknownEnd):
        client.create_hpo_experiment({"Name": "first"}, nonce="1")
    assert client.create_hpo_experiment({"Name": "second"}, nonce="2").experiment_id == "of the second"
    assert server.connections == 2


@pytest.mark.parametrize("first", ["create", "listing"])
@pytest.mark.parametrize("form", ['"ExperimentId":"s%d"', '"experimentId":%d'])
def test_an_answer_that_is_delivered_twice_is_not_the_next_creates(serve, answer, clock, first, form):
    """It would announce another message's experiment. Its connection, where each answer comes too late, is closed."""
    counted = itertools.count(1)
    latest: dict[socket.socket, bytes] = {}

    def deliver_twice(connection: socket.socket, raw: bytes) -> bool:
        listed = '"TotalCount":0,"Experiments":[]'
        made = listed if raw.startswith(b"GET") else form % next(counted)
        mine = answer(body=f'{{"RequestId":"R","Code":"SUCCESS",{made}}}'.encode())
        connection.sendall(latest.setdefault(connection, mine))
        latest[connection] = mine
        return True

    server, keys = serve(deliver_twice), {}
    with new_session() as session:
        client = PaiAutoMl(Transport(session, clock), server.url, lambda: Credentials("id", "secret"))

        def create(key: str) -> str:
            return client.create_hpo_experiment(
                {}, nonce=key, is_ours=lambda found: keys.setdefault(found.removeprefix("s"), key) == key
            ).experiment_id

        if first == "create":
            assert create("a").removeprefix("s") == "1"
            with pytest.raises(UnknownEnd, match="the answer to an earlier create"):
                create("b")
        else:
            assert client.list_hpo_experiments().total_count == 0
            with pytest.raises(UnknownEnd, match="no experiment id"):
                create("a")
            next(counted)
        assert create("c").removeprefix("s") == "3"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, b'{"RequestId":"R","Code":"Throttling.User","Message":"m"}'),
        (400, b'{"RequestId":"R","Code":"INVALID_INPUT_PARAMS","Message":"m"}'),
        (403, b'{"RequestId":"R","Code":"Forbidden.RAM","Message":"m"}'),
    ],
)
def test_a_refusal_that_is_delivered_twice_is_not_the_next_creates(transport, serve, answer, status, refusal):
    """It proves nothing about that create, whose own answer comes too late and is nobody's."""
    refused = answer(status, refusal, Date="Tue, 01 Dec 2026 07:00:00 GMT")
    made = [answer(body=b'{"RequestId":"%d","ExperimentId":"s%d"}' % (n, n)) for n in (2, 3)]

    def deliver_late(connection: socket.socket, _raw: bytes) -> bool:
        connection.sendall(refused)
        connection.sendall(made[0])
        return True

    server = serve(refused, deliver_late, made[1])
    client = PaiAutoMl(transport, server.url, lambda: Credentials("id", "secret"))
    with pytest.raises(Answered):
        client.create_hpo_experiment({}, nonce="a")
    with pytest.raises(UnknownEnd, match="the answer to an earlier request"):
        client.create_hpo_experiment({}, nonce="b")
    assert client.create_hpo_experiment({}, nonce="c").experiment_id == "s3"
    assert server.connections == 2


def test_a_receipt_that_is_delivered_twice_is_not_the_next_messages(serve, answer, clock):
    """The next message may have been refused: it is sent again, on another connection."""
    receipt = b"<Message><MessageId>%s</MessageId></Message>"

    def acknowledge(message_id: bytes, request_id: str) -> bytes:
        date = "Tue, 01 Dec 2026 07:00:00 GMT"
        return answer(201, receipt % message_id, Date=date, x_mns_request_id=request_id)

    first, third = acknowledge(b"A", "1"), acknowledge(b"B", "3")
    server = serve(first, first, third)
    with new_session() as session:
        client = Smq(Transport(session, clock), server.url, lambda: Credentials("id", "secret"))
        assert client.send_message("q", b"a") == "A"
        assert client.send_message("q", b"b") == "B"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("bodies", "ids"), [((b'{"RequestId":"1"}', b'{"RequestId":"2"}'), ("g", "g")), ((b"", b""), ("1", "2"))]
)
def test_answers_that_differ_in_the_request_id_alone_are_two(transport, serve, answer, bodies, ids):
    """PAI names the request in the body, and SMQ and Tablestore in a header, also where there is no body."""
    date = "Tue, 01 Dec 2026 07:00:00 GMT"
    server = serve(
        *(answer(body=body, Date=date, x_mns_request_id=one) for body, one in zip(bodies, ids, strict=True))
    )
    assert [send(transport, server.url).body for _ in range(2)] == list(bodies)
    assert server.connections == 1


@pytest.mark.parametrize("header", ["Date", "x-ots-date"])
def test_an_answer_that_is_delivered_twice_is_known_by_its_date(transport, serve, answer, header):
    """Tablestore writes the date in a header of its own."""
    server = serve(*[answer(**{header: "2026-12-01T07:00:00.000Z"})] * 2)
    send(transport, server.url)
    with pytest.raises(UnknownEnd, match="the answer to an earlier request"):
        send(transport, server.url)


def test_equal_answers_on_two_connections_are_those_of_their_requests(transport, serve, answer):
    """A cache gives them, for example. Nothing that was meant for another request waits on a new connection."""

    def answer_and_close(connection: socket.socket, _raw: bytes) -> None:
        connection.sendall(answer(body=b"1", Date="Tue, 01 Dec 2026 07:00:00 GMT", Connection="close"))

    server = serve(answer_and_close)
    assert [send(transport, server.url).body for _ in range(2)] == [b"1"] * 2
    assert server.connections == 2


@pytest.mark.parametrize("status", [201, 400])
def test_an_answer_of_a_cache_is_not_taken(transport, serve, answer, status):
    """It is about an earlier request: a success may be another message's, and an error proves nothing."""
    old = answer(status, b"1", Age="7", Date="Thu, 01 Jan 1970 00:00:00 GMT")
    server = serve(answer(status, b"1", Age="0"), answer(status, b"1", Age="0, 0"), old)
    assert [send(transport, server.url).status for _ in range(2)] == [status] * 2
    with pytest.raises(Incomplete, match="AnswerCached: the answer comes from a cache"):
        send(transport, server.url)
    assert transport.clock_error() == 0.0, "its date is that of the earlier answer"


def test_a_create_that_is_refused_keeps_its_connection(transport, serve, answer):
    """While the service throttles, no try should cost another handshake."""
    server = serve(answer(400, b'{"RequestId":"R","Code":"Throttling.User","Message":"m"}'))
    client = PaiAutoMl(transport, server.url, lambda: Credentials("id", "secret"))
    for nonce in "ab":
        with pytest.raises(Throttled):
            client.create_hpo_experiment({}, nonce=nonce)
    assert server.connections == 1


def test_idle_connection(transport, serve, answer, monkeypatch):
    """A connection that lay idle for long is not trusted: a frozen instance does not see it die."""
    server = serve(answer())
    send(transport, server.url)
    monkeypatch.setattr(connections, "IDLE_SECONDS", -1.0)
    send(transport, server.url)
    assert server.connections == 2


@pytest.mark.parametrize(("idle", "connected"), [(0.9, 1), (1.0, 2), (3.0, 2)])
def test_a_create_asks_for_a_fresh_connection(transport, serve, answer, monkeypatch, idle, connected):
    """A connection is used for a create only if it was used within a second; for other calls it may be older."""
    now = [1000.0]
    monkeypatch.setattr(connections, "time", SimpleNamespace(time=lambda: now[0]))
    body = b'{"RequestId":"R","ExperimentId":"s1","HpoExperiments":[],"TotalCount":0}'
    server = serve(answer(body=body))
    client = PaiAutoMl(transport, server.url, lambda: Credentials("id", "secret"))
    client.list_hpo_experiments()
    now[0] += idle
    client.list_hpo_experiments()
    assert server.connections == 1
    now[0] += idle
    client.create_hpo_experiment({}, nonce="n")
    assert server.connections == connected


def test_refused(transport):
    """A refused connection is Unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unavailable, match="refused"):
        send(transport, url)


def test_name_look_up(transport, monkeypatch):
    """A name that cannot be looked up is Unavailable."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unavailable):
        send(transport, "https://service.example.com")


def test_connect_timeout(transport, monkeypatch):
    """A connect time-out is Unavailable."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", fail)
    with pytest.raises(Unavailable):
        send(transport, "https://service.example.com")


def accept_once(listener: socket.socket, answer: bytes) -> threading.Thread:
    """Takes one connection, reads a byte of it, answers, and closes it with a reset."""

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            connection.sendall(answer)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    thread = threading.Thread(target=accept)
    thread.start()
    return thread


@pytest.mark.parametrize("plain", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["plain http", "nothing"])
def test_handshake_fails(transport, plain):
    """A handshake that fails or is broken off is Unavailable: no byte of the request has left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = accept_once(listener, plain)
        with pytest.raises(Unavailable):
            send(transport, f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_handshake_stalls(transport):
    """A server that never answers the handshake is Unavailable, although it is a read that times out."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Unavailable):
        transport.send(
            request(f"https://127.0.0.1:{listener.getsockname()[1]}"), connect_timeout=0.2, read_timeout=60
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate with its key."""
    if shutil.which("openssl") is None:
        skip_without("openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["-keyout", path, "-out", path.with_suffix(".crt"), "-subj", "/CN=localhost"]
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *key, *made, *alternative], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@pytest.mark.parametrize("how", ["default", "session.verify", "environment"])
def test_certificate_is_verified(how, serve, answer, certificate, clock, monkeypatch):
    """An untrusted certificate is Unavailable, and neither session nor environment can switch that off."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate) if how == "environment" else "")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with new_session() as session, socket.create_server(("127.0.0.1", 0)) as listener:
        session.verify = how != "session.verify"
        reached: list[bytes] = []

        def accept() -> None:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    reached.append(secure.recv(1))
            except OSError:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            send(Transport(session, clock), f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert not b"".join(reached)


@pytest.fixture
def tls_port(certificate, monkeypatch) -> Iterator[int]:
    """The port of a server with the trusted `certificate`, which closes each connection after its answer."""
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(certificate))
    monkeypatch.setattr(connections, "_contexts", {})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_authorities_are_loaded_once(tls_port, clock, monkeypatch):
    """All connections of all sessions share them: loading them takes far longer than a handshake."""
    loaded: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def count(self: ssl.SSLContext, *given: object) -> None:
        loaded.append(given)
        load(self, *given)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
    for _ in range(2):
        with new_session() as session, ThreadPoolExecutor(4) as pool:
            transport = Transport(session, clock)
            answers = list(pool.map(partial(send, transport), [f"https://127.0.0.1:{tls_port}"] * 8))
        assert [answer.body for answer in answers] == [b"ok"] * 8
    assert len(loaded) == 1


def test_shared_authorities_verify_the_host_name(tls_port, clock):
    """A trusted certificate of another host is refused, also after the right host was reached."""
    with new_session() as session:
        transport = Transport(session, clock)
        assert send(transport, f"https://127.0.0.1:{tls_port}").body == b"ok"
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            send(transport, f"https://localhost:{tls_port}")


def test_an_unverified_connection_changes_nothing_for_others(tls_port, certificate, clock):
    """A pool that does not verify has authorities of its own, even if it names the same file."""
    with new_session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert send(Transport(session, clock), f"https://127.0.0.1:{tls_port}").body == b"ok"
        pools = session.get_adapter("https://localhost").poolmanager
        unverified = {"cert_reqs": "CERT_NONE", "ca_certs": str(certificate), "assert_hostname": False}
        pool = pools.connection_from_url(f"https://localhost:{tls_port}", pool_kwargs=unverified)
        assert pool.request("GET", "/").data == b"ok"
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            send(Transport(session, clock), f"https://localhost:{tls_port}")


def test_reset_after_reading(transport, serve, reset):
    """A reset after the request was read leaves the end unknown."""
    server = serve(lambda connection, _raw: reset(connection))
    with pytest.raises(UnknownEnd, match="Reset"):
        send(transport, server.url)
    assert len(server.requests) == 1


def test_closed_without_an_answer(transport, serve):
    """A connection closed instead of an answer leaves the end unknown, and nothing is sent twice."""
    server = serve(lambda _connection, _raw: None)
    with pytest.raises(UnknownEnd, match="RemoteDisconnected"):
        send(transport, server.url)
    assert len(server.requests) == 1


def test_kept_connection_dies_on_use(transport, serve, answer, reset):
    """A kept connection that breaks once the next request is on it leaves that one's end unknown."""
    server = serve(answer(), lambda connection, _raw: reset(connection))
    send(transport, server.url)
    with pytest.raises(UnknownEnd):
        send(transport, server.url)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_reset_before_reading(transport):
    """A reset while the request is being sent leaves the end unknown, because it is not known how much arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = accept_once(listener, b"")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UnknownEnd):
            transport.send(request(url, body=b"x" * 4_000_000), connect_timeout=5, read_timeout=60)
        thread.join()


def test_read_timeout(transport, serve):
    """An answer that does not come in time leaves the end unknown."""
    server = serve(lambda _connection, _raw: server.stop.wait(30) and None)
    with pytest.raises(UnknownEnd, match="Timeout"):
        send(transport, server.url, read=0.2)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_slow_drip(transport, serve, part):
    """An answer that comes byte by byte ends at the read time-out, though each byte comes in time."""

    def drip(connection: socket.socket, _raw: bytes) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\n" + (b"" if part == "headers" else b"Content-Length: 9999\r\n\r\n")
        )
        while not server.stop.wait(0.02):
            connection.sendall(b"a")

    server = serve(drip)
    with pytest.raises(UnknownEnd):
        send(transport, server.url, read=0.3)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
    ],
)
def test_damaged_answer(transport, serve, raw):
    """A truncated or garbled answer leaves the end unknown."""
    server = serve(lambda connection, _raw: connection.sendall(raw))
    with pytest.raises(UnknownEnd):
        send(transport, server.url)


def test_size_cap(serve, answer, clock):
    """An answer above the cap leaves the end unknown; one at the cap is taken."""
    server = serve(answer(body=b"x" * 10_000), answer(body=b"x" * 10_001))
    with new_session() as session:
        transport = Transport(session, clock, max_bytes=10_000)
        assert len(send(transport, server.url).body) == 10_000
        with pytest.raises(UnknownEnd, match=r"AnswerTooLarge: .*HPOQ_LIST_PAGE_SIZE"):
            send(transport, server.url)


def test_redirect(transport, serve, answer):
    """A redirect is an answer like any other and is never followed."""
    elsewhere = serve(answer(body=b"stolen"))
    server = serve(answer(307, Location=f"{elsewhere.url}/y"))
    got = send(transport, server.url)
    assert (got.status, elsewhere.requests) == (307, [])


def test_the_session_follows_no_redirect_by_itself(serve, answer):
    """The session does not follow a redirect, even for a caller that asks for it."""
    elsewhere = serve(answer(body=b"stolen"))
    server = serve(answer(307, Location=f"{elsewhere.url}/y"))
    with new_session() as session:
        assert session.get(server.url, allow_redirects=True, timeout=5).status_code == 307
    assert elsewhere.requests == []


def test_transport_follows_no_redirect_by_itself(serve, answer, clock):
    """Transport forbids redirects also to a session that would follow them."""
    elsewhere = serve(answer(body=b"stolen"))
    server = serve(answer(307, Location=f"{elsewhere.url}/y"))
    with requests.Session() as session:
        session.trust_env = False
        assert send(Transport(session, clock), server.url).status == 307
    assert elsewhere.requests == []


def test_no_cookies(serve, answer, clock):
    """A cookie that a service sets is neither kept nor sent back."""
    server = serve(answer(Set_Cookie="a=b; Path=/"))
    with new_session() as session:
        for _ in range(2):
            send(Transport(session, clock), server.url)
        assert not list(session.cookies)
    assert b"cookie" not in server.requests[1].lower()


def test_environment_proxies_are_ignored(serve, answer, clock, monkeypatch):
    """Nothing that is sent over the session goes to a proxy that the environment names."""
    server = serve(answer(body=b"direct"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with new_session() as session:
        assert send(Transport(session, clock), server.url).body == b"direct"
        assert session.get(server.url, timeout=5).content == b"direct"


def test_too_little_time(transport, serve, answer, clock):
    """With less left than the least worth beginning, nothing is sent."""
    server = serve(answer())
    with pytest.raises(NoTimeLeft) as caught:
        send(transport, server.url, budget=Budget.lasting(0.1, clock))
    assert server.connections == 0
    assert (caught.value.service, caught.value.operation) == ("svc", "Op")


def test_too_late_on_the_wall_clock(transport, serve, answer, clock):
    """The wall clock's bound holds where the monotonic clock has time left."""
    server = serve(answer())
    far = clock.monotonic() + 600
    with pytest.raises(NoTimeLeft):
        send(transport, server.url, budget=Budget(clock, far, clock.now() + 0.1))
    assert server.connections == 0
    assert send(transport, server.url, budget=Budget(clock, far, clock.now() + 60)).status == 200


def test_a_machine_suspended_while_it_connects(transport, serve, answer, clock, monkeypatch):
    """Time that only the wall clock saw pass counts up to the moment of the first byte."""
    server = serve(answer())
    putrequest = HTTPConnection.putrequest

    def suspended(self: HTTPConnection, *args: str, **kwargs: bool) -> None:
        clock.suspend(60)
        putrequest(self, *args, **kwargs)

    monkeypatch.setattr(HTTPConnection, "putrequest", suspended)
    with pytest.raises(NoTimeLeft):
        send(transport, server.url, budget=Budget(clock, wall_ends_at=clock.now() + 30))
    assert server.requests == []


def test_a_request_begins_with_just_the_least_time(serve, answer):
    """Exactly the least time that is worth beginning is enough."""
    clock = FakeClock()
    with new_session() as session:
        budget = Budget(clock, clock.monotonic() + 10, least_seconds=10)
        assert send(Transport(session, clock), serve(answer()).url, budget=budget).status == 200


def test_time_outs_shrink(transport, serve, clock):
    """The time-outs shrink to what is left."""
    server = serve(lambda _connection, _raw: server.stop.wait(60) and None)
    # Signed when the connection is there, so that a slow machine does not use the time up before it is sent.
    made = request(server.url)
    late = replace(made, sign=lambda: clock.advance(599) or made.sign())
    budget = Budget(clock, clock.monotonic() + 600, least_seconds=0.0)
    with pytest.raises(UnknownEnd, match="Timeout"):
        transport.send(late, connect_timeout=2.0, read_timeout=600.0, budget=budget)


@pytest.mark.parametrize("kept", [False, True])
def test_begins_too_late(transport, serve, answer, clock, monkeypatch, kept):
    """If connecting took so long that the first byte would leave too late, it does not leave."""
    server = serve(answer())
    if kept:
        send(transport, server.url)
    before = len(server.requests)
    putrequest = HTTPConnection.putrequest

    def slow(self: HTTPConnection, *args: str, **kwargs: bool) -> None:
        clock.advance(60)
        putrequest(self, *args, **kwargs)

    monkeypatch.setattr(HTTPConnection, "putrequest", slow)
    with pytest.raises(NoTimeLeft):
        send(transport, server.url, budget=Budget.lasting(30, clock))
    assert len(server.requests) == before


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "\x00", "测试"])
def test_header_injection(transport, serve, answer, value):
    """A header value that could end the header is refused before anything is sent. The error does not quote it."""
    server = serve(answer())
    with pytest.raises(ValueError, match=r"^header token: must be printable ASCII$"):
        transport.send(request(server.url, host="h", token=value), connect_timeout=30, read_timeout=1)
    assert server.requests == []


def test_plain_http_is_refused():
    """There is no way to make a request over plain http to anywhere but loopback."""
    with pytest.raises(SettingsError):
        request("http://service.example.com")


def test_errors_show_no_secret(transport, serve, reset):
    """The texts of an error and of its request contain no headers and no body."""
    server = serve(lambda connection, _raw: reset(connection))
    made = request(server.url, body=b"CANARY-BODY")
    assert "CANARY" not in repr(Response(200, {}, b"CANARY"))
    with pytest.raises(UnknownEnd) as caught:
        transport.send(made, connect_timeout=30, read_timeout=1)
    assert "CANARY" not in str(caught.value) + repr(caught.value) + repr(made)


def test_a_request_of_which_only_the_necessary_is_said():
    """A request has no body, takes every answer, and shows neither its body nor the functions that it is given."""
    made = Request("svc", "Op", "GET", Endpoint.parse("http://localhost"), "/x", lambda: {"a": "CANARY"})
    assert (made.body, made.is_own(Response(500, {}, b""))) == (b"", True)
    assert not any(name in repr(made) for name in ("sign", "is_own", "body", "lambda"))


class Failing(BaseAdapter):
    """What another session might raise."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.options: dict[str, object] = {}

    def send(self, *_args: object, **options: object) -> requests.Response:
        self.options = options
        raise self.error

    def close(self) -> None:
        pass


def wrap(error: Exception, *causes: Exception) -> Exception:
    """Make each of `causes` the cause of the error before it."""
    last = error
    for cause in causes:
        last.__cause__ = cause
        last = cause
    return error


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (requests.ConnectTimeout(), NotSent),
        (requests.ConnectionError(ClosedPoolError(None, "closed")), NotSent),
        (requests.ConnectionError(MaxRetryError(None, "/", ConnectTimeoutError())), NotSent),
        (wrap(requests.ConnectionError(), ValueError(), ConnectionRefusedError()), NotSent),
        (wrap(requests.ConnectionError(), *(error := OSError(),), error), UnknownEnd),
        (requests.ConnectionError(NewConnectionError(None, "refused")), NotSent),
        (requests.ConnectionError(ConnectionRefusedError()), NotSent),
        (requests.ConnectionError(), UnknownEnd),
        (requests.ConnectionError(ConnectionResetError()), UnknownEnd),
        (requests.ReadTimeout(), UnknownEnd),
        (requests.exceptions.SSLError(), UnknownEnd),
        (requests.exceptions.ChunkedEncodingError(), UnknownEnd),
        (OSError("broken"), UnknownEnd),
    ],
)
def test_foreign_session(clock, error, ending):
    """Of a session that is not ours an exception counts as *not sent* only if it proves that."""
    with requests.Session() as session:
        session.mount("http://", Failing(error))
        with pytest.raises(ending) as caught:
            send(Transport(session, clock), "http://localhost")
    assert (caught.value.service, caught.value.operation) == ("svc", "Op")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (requests.ConnectionError("CANARY"), "ConnectionError"),
        (wrap(requests.ConnectionError("CANARY"), KeyError("CANARY")), "KeyError"),
        (requests.ConnectionError(MaxRetryError(None, "/CANARY", OSError(5, "no"))), "OSError: no"),
    ],
)
def test_an_error_names_its_innermost_cause(clock, error, text):
    """What went wrong first is named; only the system's own text is quoted, since another one may show the URL."""
    with requests.Session() as session:
        session.mount("http://", Failing(error))
        with pytest.raises(UnknownEnd) as caught:
            send(Transport(session, clock), "http://localhost")
    assert caught.value.message == text


class Counting(BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        self.taken += len(piece)
        return piece


class Answering(BaseAdapter):
    """Gives answers with these dates, each 60 s of the wall clock after it was asked for."""

    def __init__(self, clock: FakeClock, *dates: str) -> None:
        super().__init__()
        self._clock = clock
        self._dates = iter(dates)
        self.body = b"ok"
        self.raw = Counting()
        self.framing: dict[str, str] = {}
        self.options: dict[str, object] = {}

    def send(self, *_args: object, **options: object) -> requests.Response:
        self.options = options
        self.raw = Counting(self.body)
        self._clock.suspend(60)
        answer = requests.Response()
        answer.status_code = 418
        answer.raw = urllib3.HTTPResponse(self.raw, self.framing, preload_content=False)
        answer.headers["Date"] = next(self._dates)
        return answer

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("now", "error"), [(1000.5, 0.0), (1071.0, 70.0), (930.0, -10.0)])
def test_clock_error_of_a_foreign_session(now, error):
    """A session of another kind does not say when the first byte left, so it may have been at once."""
    clock = FakeClock(now)
    adapter = Answering(clock, SECOND_AFTER_1970, "never")
    with requests.Session() as session:
        session.mount("http://", adapter)
        transport = Transport(session, clock)
        assert send(transport, "http://localhost").body == b"ok"
        assert transport.clock_error() == pytest.approx(error)
        send(transport, "http://localhost")
    # An answer whose date cannot be read does not make the one before it void.
    assert transport._reading.taken_at == now + 60
    assert adapter.options["stream"] is True


def test_the_limit_of_an_answer(clock):
    """An answer of 4 MiB is accepted, one of a byte more is not."""
    most, adapter = 4 * 1024 * 1024, Answering(FakeClock(), "never", "never")
    with requests.Session() as session:
        session.mount("http://", adapter)
        adapter.body = b"x" * most
        assert len(send(Transport(session, clock), "http://localhost").body) == most
        adapter.body += b"x"
        with pytest.raises(Incomplete, match="AnswerTooLarge"):
            send(Transport(session, clock), "http://localhost")


def test_an_answer_above_the_limit_is_not_read_to_its_end(clock):
    """A server that never ends its answer must not fill the memory."""
    adapter = Answering(FakeClock(), "never")
    adapter.body = b"x" * 10_000_000
    with requests.Session() as session:
        session.mount("http://", adapter)
        with pytest.raises(UnknownEnd, match="AnswerTooLarge"):
            send(Transport(session, clock, max_bytes=1_000_000), "http://localhost")
    assert 1_000_000 < adapter.raw.taken < 1_100_000


@pytest.mark.parametrize("framing", [{"Content-Length": "3"}, {"Content-Encoding": "gzip"}])
def test_an_answer_of_a_foreign_session_that_cannot_be_read_leaves_the_end_unknown(clock, framing):
    """It is cut off, or its content cannot be decoded."""
    adapter = Answering(FakeClock(), "never")
    adapter.framing = framing
    with requests.Session() as session:
        session.mount("http://", adapter)
        with pytest.raises(UnknownEnd):
            send(Transport(session, clock), "http://localhost")


class Recording:
    """Takes the place of the spans of an invocation, and keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def call(self, call: Call) -> AbstractContextManager[None]:
        self.calls.append(call)
        return nullcontext()


def test_each_try_has_a_span():
    """The span of a try has the service, the operation and, once there is an answer, its status."""
    clock, spans = FakeClock(), Recording()
    adapters = Answering(clock, "never"), Failing(requests.ReadTimeout())
    for adapter in adapters:
        with requests.Session() as session, collect_into(Measures(spans)), suppress(UnknownEnd):
            session.mount("http://", adapter)
            send(Transport(session, clock), "http://localhost")
    assert spans.calls == [
        Call("svc", "Op", "POST", "http://localhost/x", 418),
        Call("svc", "Op", "POST", "http://localhost/x", None),
    ]


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_connection_has_recorded_counts_more_than_an_exception(clock, begun):
    """Whether a byte was sent is known of our own connections, whatever the exception seems to prove."""

    class Reset(BaseAdapter):
        def send(self, *_args: object, **_options: object) -> requests.Response:
            exchange = connections._current_exchange()
            exchange.join()
            if begun:
                exchange.begin_write()
            raise requests.ConnectionError(ConnectionRefusedError() if begun else ConnectionResetError())

        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.mount("http://", Reset())
        with pytest.raises(UnknownEnd if begun else Unavailable):
            send(Transport(session, clock), "http://localhost")


def test_the_headers_that_are_sent():
    """Beside what is signed, the length of the body is sent, 0 for none, and the trace of the message, if any."""
    made = request("http://localhost", body=b"")
    assert _sign(made) == {"Host": "localhost", "Authorization": "CANARY", "Content-Length": "0"}
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with trace_message(parent, {}):
        assert _sign(made)["traceparent"] == parent


def test_a_session_for_people_is_sent_by_the_proxy_of_the_environment(monkeypatch, clock):
    """What the environment says of proxies reaches the session if it was made to trust the environment."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    adapter = Failing(requests.ReadTimeout())
    with new_session(trust_environment=True) as session:
        session.mount("https://", adapter)
        with pytest.raises(UnknownEnd):
            send(Transport(session, clock), "https://service.example.com")
    assert adapter.options["proxies"]["https"] == "http://proxy:1"


def test_a_foreign_session_is_not_asked_if_too_little_time_is_left(clock):
    """A session of another kind does not look at the budget, so it is not given a request that is too late."""
    adapter = Failing(requests.ReadTimeout())
    with requests.Session() as session:
        session.mount("http://", adapter)
        with pytest.raises(NoTimeLeft):
            send(Transport(session, clock), "http://localhost", budget=Budget.lasting(0.1, clock))
    assert adapter.options == {}


def test_a_foreign_session_may_begin_with_just_the_least_time():
    """Exactly the least time that is worth beginning is enough for it, too."""
    clock = FakeClock()
    budget = Budget(clock, clock.monotonic() + 10, least_seconds=10)
    with requests.Session() as session:
        session.mount("http://", Failing(requests.ReadTimeout()))
        with pytest.raises(UnknownEnd):
            send(Transport(session, clock), "http://localhost", budget=budget)


def test_a_foreign_session_is_used_safely():
    """A session of another kind gets the time-outs that fit, and must verify TLS and use no proxy."""
    adapter, clock = Failing(requests.ReadTimeout()), FakeClock()
    with requests.Session() as session:
        session.mount("http://", adapter)
        with pytest.raises(UnknownEnd):
            send(Transport(session, clock), "http://localhost", read=600.0, budget=Budget.lasting(1, clock))
        assert adapter.options["timeout"] == (1, 1)
        for left, timeouts in ((45.0, (30.0, 45.0)), (700.0, (30.0, 600.0))):
            budget = Budget.lasting(left, clock)
            with pytest.raises(UnknownEnd):
                send(Transport(session, clock), "http://localhost", read=600.0, budget=budget)
            assert adapter.options["timeout"] == timeouts
    assert (adapter.options["verify"], adapter.options["proxies"]) == (True, {})


def test_programming_errors_stay_errors(clock):
    """An exception that does not come from the network is not changed if nothing was sent."""
    with requests.Session() as session:
        session.mount("http://", Failing(KeyError("bug")))
        with pytest.raises(KeyError):
            send(Transport(session, clock), "http://localhost")


def test_an_unexpected_exception_after_the_first_byte(transport, serve, answer, monkeypatch):
    """Once a byte has left, any exception at all leaves the end unknown, a fault in the code included."""
    server = serve(answer())

    def fail(_response: HTTPResponse) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(HTTPResponse, "begin", fail)
    with pytest.raises(UnknownEnd, match="KeyError"):
        send(transport, server.url)


SECOND_AFTER_1970 = "Thu, 01 Jan 1970 00:16:40 GMT"


@pytest.mark.parametrize(
    ("off", "least"), [(0.0, 0.0), (0.9, 0.0), (-0.4, -0.4), (1.5, 0.5), (100.0, 99.0), (-100.0, -100.0)]
)
@pytest.mark.parametrize(
    "date", [{"Date": SECOND_AFTER_1970}, {"x_ots_date": "1970-01-01T00:16:40.000000Z", "Date": "wrong"}]
)
def test_clock_error(serve, answer, off, least, date):
    """The clock's error is the least that the date of an answer, cut off to whole seconds, proves."""
    clock, server = FakeClock(1000.0 + off), serve(answer(**date))
    with new_session() as session:
        transport = Transport(session, clock)
        assert transport.clock_error() == 0.0
        send(transport, server.url)
        assert transport.clock_error() == pytest.approx(least)


@pytest.mark.parametrize(("off", "least"), [(0.5, 0.0), (70.0, 69.0), (-50.0, 0.0), (-70.0, -10.0)])
def test_clock_error_of_a_slow_exchange(serve, answer, off, least):
    """The server may have read its clock at any moment of the exchange, which takes 60 s here."""
    clock = FakeClock(1000.0 + off)

    def answer_late(connection: socket.socket, _raw: bytes) -> None:
        clock.suspend(60)
        connection.sendall(answer(Date=SECOND_AFTER_1970))

    with new_session() as session:
        transport = Transport(session, clock)
        send(transport, serve(answer_late).url)
        assert transport.clock_error() == pytest.approx(least)


def test_connecting_takes_no_part_in_the_clock_error(serve, answer, monkeypatch):
    """The server's clock was read after the first byte, so the time that connecting took does not count."""
    clock, connect = FakeClock(1000.0), HTTPConnection.connect

    def connect_slowly(self: HTTPConnection) -> None:
        connect(self)
        clock.suspend(60)

    monkeypatch.setattr(HTTPConnection, "connect", connect_slowly)
    with new_session() as session:
        transport = Transport(session, clock)
        send(transport, serve(answer(Date=SECOND_AFTER_1970)).url)
        assert transport.clock_error() == pytest.approx(59.0)


@pytest.mark.parametrize(
    ("least", "most", "step", "error"),
    [
        (5.0, 6.0, 0.0, 5.0),
        (-6.0, -5.0, 0.0, -5.0),
        (-1.0, 1.0, 0.0, 0.0),
        (5.0, 6.0, -2.0, 3.0),
        (-1.0, 1.0, -3.0, -2.0),
    ],
)
def test_the_smallest_error_that_explains_a_reading(least, most, step, error):
    """A clock that may be right is not off; one that was set since is off by that, too."""
    reading = ClockReading(least, most, 0.0, 0.0)
    assert reading.find_error(step) == error
    assert step or reading.find_error() == error


def test_clock_error_ages(serve, answer):
    """An observation counts for 300 s by both clocks; the newest one replaces it."""
    clock, server = FakeClock(1100.0), serve(answer(Date=SECOND_AFTER_1970), answer(Date="none"), answer())
    with new_session() as session:
        transport = Transport(session, clock)
        send(transport, server.url)
        for move in (clock.advance, clock.suspend):
            for passed, expected in ((300.0, 99.0), (301.0, 0.0), (0.0, 99.0)):
                move(passed)
                assert transport.clock_error() == expected
                move(-passed)
        # Neither an answer whose date cannot be read nor one without a date says anything.
        send(transport, server.url)
        send(transport, server.url)
        assert transport.clock_error() == 99.0


@pytest.mark.parametrize(("back", "error"), [(0.0, 0.0), (50.0, -50.0), (400.0, -400.0)])
@pytest.mark.parametrize(("passed", "counts"), [(200.0, True), (301.0, False)])
def test_a_clock_that_is_set_back_after_the_answer_is_off(serve, answer, back, error, passed, counts):
    """The monotonic clock shows that the wall clock was set back, so that no lease seems to last longer."""
    clock, server = FakeClock(1000.0), serve(answer(Date=SECOND_AFTER_1970))
    with new_session() as session:
        transport = Transport(session, clock)
        send(transport, server.url)
        clock.advance(passed)
        clock.suspend(-back)
        assert transport.clock_error() == (error if counts else 0.0)


@given(st.text(max_size=40) | st.dates().map(str), st.sampled_from(["date", "x-ots-date"]))
def test_any_date(text, name):
    """Any text at all is read as a date or as none."""
    assert read_date({name: text}) is None or isinstance(read_date({name: text}), float)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": ""},
        {"date": "Thu, 01 Jan 99999 00:16:40 GMT"},
        {"date": "Thu, 01 Jan 1970 00:16:40 +99999999999999999999"},
        {"x-ots-date": "now", "date": SECOND_AFTER_1970},
    ],
)
def test_no_date(headers):
    """An answer without a date, or with one that cannot be read, says nothing about the clock."""
    assert read_date(headers) is None


@pytest.mark.parametrize(
    "text", [SECOND_AFTER_1970, "Thu, 01 Jan 1970 00:16:40 -0000", "Thu, 01 Jan 1970 01:16:40 +0100"]
)
def test_date_is_universal_time(text, monkeypatch):
    """A date without a zone is universal time, whatever the zone of this machine."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert read_date({"date": text}) == 1000.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_connections_are_closed(serve, answer, clock):
    """Closing the session closes its connections, without a ResourceWarning."""
    server = serve(answer())
    with new_session() as session:
        send(Transport(session, clock), server.url)
    gc.collect()
