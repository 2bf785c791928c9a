"""No byte of a request leaves too late: one write, both clocks before each, a reset where the end is unknown."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.connection import HTTPConnection

from hpoq.clock import Budget
from hpoq.cloud import connections
from hpoq.cloud.connections import Exchange, TooLate, new_session
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.transport import Request, Transport
from hpoq.errors import NoTimeLeft, UnknownEnd
from hpoq.testing import FakeClock
from support.sending import intercept

SMALL, LARGE = 900, 200_000


def request(url, size, sign=None):
    endpoint = Endpoint.parse(url)
    return Request(
        "svc", "Op", "POST", endpoint, "/x", sign or (lambda: {"Host": endpoint.host}), b"x" * size
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Idler:
    """A server on loopback with a receive buffer of 4 KB that reads nothing until it is asked to."""

    def __init__(self, certificate=None):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.accepted = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    @property
    def url(self):
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        connection, _ = self.listener.accept()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        self.accepted.append(connection)
        self.ready.set()

    def read_all(self):
        """Return what has arrived, read until the connection ends; and how it ended."""
        assert self.ready.wait(60)
        (connection,) = self.accepted
        connection.settimeout(60)
        data = b""
        try:
            while piece := connection.recv(65536):
                data += piece
        except (ConnectionResetError, ssl.SSLError) as exc:
            return data, type(exc)
        return data, None

    def close(self):
        self.listener.close()
        self.thread.join()
        for connection in self.accepted:
            connection.close()


@pytest.fixture(params=["http", "https"])
def idler(request, certificate):
    server = Idler(certificate if request.param == "https" else None)
    yield server
    server.close()


@pytest.fixture
def session(certificate):
    """A session that trusts the test's certificate."""
    with new_session() as made:
        intercept(
            made, lambda send, prepared, **options: send(prepared, **options | {"verify": str(certificate)})
        )
        yield made


def is_complete(data, size):
    _, end, body = data.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= size


def test_a_large_request_that_was_given_up_does_not_arrive(idler, session, clock):
    """What lies in the kernel's send buffer when the end becomes unknown is discarded with the connection."""
    with pytest.raises(UnknownEnd):
        Transport(session, clock).send(request(idler.url, LARGE), connect_timeout=60, read_timeout=0.3)
    assert not is_complete(idler.read_all()[0], LARGE)


def test_a_small_request_that_was_given_up_does_not_arrive(session, clock, monkeypatch):
    """What the send buffer took whole, while the server's window was closed, is discarded too."""
    idler, connect = Idler(), HTTPConnection.connect
    filler = b"-" * 32 * 1024

    def connect_and_fill(connection):
        connect(connection)
        connection.sock.sendall(filler)

    monkeypatch.setattr(HTTPConnection, "connect", connect_and_fill)
    try:
        with pytest.raises(UnknownEnd):
            Transport(session, clock).send(request(idler.url, SMALL), connect_timeout=60, read_timeout=0.3)
        data, ended = idler.read_all()
        assert ended is ConnectionResetError
        assert data == filler[: len(data)]
    finally:
        idler.close()


def test_writing_counts_against_the_read_time_out(idler, session, clock):
    """A server that takes a request slowly does not get more time than for answering it."""
    begun = time.monotonic()
    with pytest.raises(UnknownEnd, match="Timeout"):
        Transport(session, clock).send(request(idler.url, 8_000_000), connect_timeout=60, read_timeout=0.3)
    assert time.monotonic() - begun < 50
    assert not is_complete(idler.read_all()[0], 8_000_000)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_resets_its_request(kill):
    """A process that ends while it waits for an answer takes back what has not arrived."""
    idler = Idler()
    program = f"""
import sys
from hpoq.clock import Budget, SystemClock
from hpoq.cloud import connections
from hpoq.cloud.connections import Exchange, new_session
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.transport import Request, Transport
where = Endpoint.parse({idler.url!r})
sign = lambda: print("signed", flush=True) or {{"Host": where.host}}
made = Request("svc", "Op", "POST", where, "/x", sign, b"x" * {LARGE})
Transport(new_session(), SystemClock()).send(made, connect_timeout=60, read_timeout=60)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"signed\n"
        assert idler.ready.wait(60)
        # The first bytes have left.
        idler.accepted[0].settimeout(60)
        assert idler.accepted[0].recv(1, socket.MSG_PEEK)
        os.kill(child.pid, kill)
        child.wait()
        data, ended = idler.read_all()
        assert ended is ConnectionResetError
        assert not is_complete(data, LARGE)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        idler.close()


class Writes:
    """Records each write of a socket, lets `before` run first, and takes at most `most` bytes of it."""

    def __init__(self, monkeypatch, kind=socket.socket, most=None, before=lambda number: None):
        self.sizes = []
        send = kind.send
        thread = threading.current_thread()

        def recorded(sock, data, *flags):
            if threading.current_thread() is not thread:
                return send(sock, data, *flags)
            before(len(self.sizes))
            done = send(sock, data[:most], *flags)
            self.sizes.append(done)
            return done

        sendall = kind.sendall

        def refused(sock, *arguments):
            assert threading.current_thread() is not thread, "sendall may be several writes"
            sendall(sock, *arguments)

        monkeypatch.setattr(kind, "send", recorded)
        monkeypatch.setattr(kind, "sendall", refused)


def test_head_and_body_leave_in_one_write(serve, answer, transport, monkeypatch):
    """There is no moment between head and body in which an instance could be frozen."""
    server = serve(answer())
    writes = Writes(monkeypatch)
    transport.send(request(server.url, SMALL), connect_timeout=60, read_timeout=60)
    assert writes.sizes == [len(server.requests[0])]


def answer_over_tls(idler):
    """Read one request and answer it, in a thread; returns the thread and where the request is put."""
    got = []

    def run():
        assert idler.ready.wait(60)
        (connection,) = idler.accepted
        data = b""
        while not is_complete(data, LARGE):
            data += connection.recv(65536)
        got.append(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=run)
    thread.start()
    return thread, got


def test_a_write_under_tls_is_one_record(certificate, session, clock, monkeypatch):
    """OpenSSL would write all records of a large body in one call, without a look at the clocks between."""
    idler = Idler(certificate)
    thread, got = answer_over_tls(idler)
    writes = Writes(monkeypatch, ssl.SSLSocket)
    try:
        Transport(session, clock).send(request(idler.url, LARGE), connect_timeout=60, read_timeout=60)
        thread.join()
        assert max(writes.sizes) == 16 * 1024
        assert sum(writes.sizes) == len(got[0])
    finally:
        thread.join()
        idler.close()


def show_to_monotonic_clock(clock, seconds):
    """Move the monotonic clock alone on."""
    clock.advance(seconds)
    clock.suspend(-seconds)


STANDSTILLS = {
    "monotonic clock": show_to_monotonic_clock,
    "wall clock": lambda clock, seconds: clock.suspend(seconds),
}
"""The clock that shows how long an instance stood still."""


@pytest.mark.parametrize("standstill", STANDSTILLS)
def test_a_standstill_between_two_writes_ends_the_request(serve, transport, clock, monkeypatch, standstill):
    """An instance that is frozen after its first write never completes the request: reset, end unknown."""
    server = serve(lambda *_: None)

    def freeze(number):
        if number == 0:
            STANDSTILLS[standstill](clock, 310.0)

    writes = Writes(monkeypatch, most=1000, before=freeze)
    with pytest.raises(UnknownEnd, match="TimeoutError"):
        transport.send(
            request(server.url, SMALL * 2),
            connect_timeout=60,
            read_timeout=60,
            budget=Budget(clock, clock.monotonic() + 90, clock.now() + 90, least_seconds=10),
        )
    assert len(writes.sizes) == 1
    server.close()
    assert server.requests == []


@pytest.mark.parametrize("standstill", STANDSTILLS)
@pytest.mark.parametrize(("seconds", "least"), [(310.0, 0.25), (85.0, 10.0)])
def test_a_standstill_before_the_first_write_sends_nothing(
    serve, transport, clock, answer, standstill, seconds, least
):
    """An instance that is frozen while it connects and signs sends nothing: NoTimeLeft."""
    server = serve(answer())

    def sign():
        STANDSTILLS[standstill](clock, seconds)
        return {"Host": "h"}

    with pytest.raises(NoTimeLeft):
        transport.send(
            request(server.url, SMALL, sign),
            connect_timeout=60,
            read_timeout=60,
            budget=Budget(clock, clock.monotonic() + 90, clock.now() + 90, least_seconds=least),
        )
    assert server.requests == []


@pytest.mark.parametrize(
    ("left", "least", "begins"), [(9.0, 10.0, False), (60.0, 10.0, True), (9.0, 0.25, True)]
)
def test_the_least_time_is_the_callers(serve, transport, clock, answer, left, least, begins):
    """A request begins only if its budget has the least time that its caller asks for."""
    server = serve(answer())

    def send():
        transport.send(
            request(server.url, SMALL),
            connect_timeout=60,
            read_timeout=60,
            budget=Budget(clock, wall_ends_at=clock.now() + left, least_seconds=least),
        )

    if begins:
        send()
    else:
        with pytest.raises(NoTimeLeft):
            send()
    assert len(server.requests) == begins


def test_a_first_write_that_raises_leaves_the_end_unknown(serve, transport, answer, monkeypatch):
    """A request counts as sent before its first write, of which a part may leave although it raises."""
    server = serve(answer())

    def fail(number):
        raise ConnectionAbortedError

    Writes(monkeypatch, before=fail)
    with pytest.raises(UnknownEnd):
        transport.send(request(server.url, SMALL), connect_timeout=60, read_timeout=60)


RESETS, CLOSES = (1, 0), (0, 0)


def linger(sock):
    """Return whether closing the socket waits, and for how long: a wait of 0 s is a reset."""
    return struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))


@pytest.mark.parametrize("chunked", [False, True], ids=["by length", "in chunks"])
def test_a_connection_resets_until_its_answer_was_read(serve, transport, monkeypatch, chunked):
    """SO_LINGER is on from before the first byte until after the last byte of the answer, and off in the pool."""
    seen = []

    def reply(connection, _raw):
        seen.append(linger(sockets[-1]))
        if chunked:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    server = serve(reply)
    sockets = []
    connect = socket.socket.connect

    def remember(sock, address):
        sockets.append(sock)
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", remember)
    for _ in range(2):
        got = transport.send(request(server.url, SMALL), connect_timeout=60, read_timeout=60)
        assert got.body == b"ok"
        assert linger(sockets[-1]) == CLOSES
    assert (len(sockets), seen) == (1, [RESETS, RESETS])


def test_a_request_is_signed_once_the_connection_is_established(serve, answer, transport):
    """Signing comes after the connection, for the first request as for one on a kept connection."""
    server = serve(lambda connection, _raw: connection.sendall(answer()) or True)
    seen = []

    def sign():
        seen.append(server.connections)
        return {"Host": "h", "Authorization": f"number {len(seen)}"}

    for _ in range(2):
        transport.send(request(server.url, SMALL, sign), connect_timeout=60, read_timeout=60)
    assert len(seen) == 2
    assert [b"Authorization: number %d\r\n" % n in raw for n, raw in enumerate(server.requests, 1)] == [
        True,
        True,
    ]


def test_a_request_that_cannot_be_signed_is_not_sent(serve, answer, transport):
    """An error of the signing function comes through as it is, and nothing was sent."""
    server = serve(answer())

    def sign():
        raise KeyError("no key")

    with pytest.raises(KeyError):
        transport.send(request(server.url, SMALL, sign), connect_timeout=60, read_timeout=60)
    assert server.requests == []
    assert transport.send(request(server.url, SMALL), connect_timeout=60, read_timeout=60).status == 200


def test_another_session_gets_a_signed_request(serve, answer, clock):
    """For a session that is not ours the request is signed right before it is handed over."""
    server = serve(answer())
    with requests.Session() as session:
        session.trust_env = False
        made = request(server.url, SMALL, lambda: {"Host": "h", "Authorization": "signed"})
        Transport(session, clock).send(made, connect_timeout=60, read_timeout=60)
    assert b"Authorization: signed\r\n" in server.requests[0]


class Closing:
    """Takes the place of a connection, and records whether it was closed before it was put back."""

    def __init__(self):
        self.ended = []

    def close(self):
        self.ended.append("closed")

    def put(self, connection):
        assert connection is self
        self.ended.append("put")


@pytest.mark.parametrize(("accepted", "ended"), [(True, ["put"]), (None, ["closed", "put"])])
@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_is_put_back_when_its_exchange_ends(accepted, ended, fails):
    """Its connection is closed before that unless the answer was accepted, also if the exchange ends by an error."""
    exchange, connection = Exchange(dict, 10.0, Budget(FakeClock())), Closing()
    with contextlib.suppress(KeyError), exchange:
        exchange.hand_back(connection, connection.put)
        if accepted:
            exchange.accepted = accepted
        assert connection.ended == []
        if fails:
            raise KeyError
    assert connection.ended == ended


@pytest.mark.parametrize(("budget", "lasts"), [(None, 10.0), (60.0, 10.0), (8.0, 8.0)])
def test_the_time_of_an_exchange_runs_from_its_first_byte(budget, lasts):
    """Before the first byte no time has passed; from then on it lasts its read time-out, or as long as the budget."""
    clock = FakeClock()
    ends_at = {} if budget is None else {"ends_at": clock.monotonic() + budget + 5.0}
    exchange = Exchange(dict, 10.0, Budget(clock, **ends_at))
    clock.advance(5.0)
    assert (exchange.seconds_left(), exchange.sent, exchange.sent_at) == (10.0, None, None)
    exchange.join()
    assert exchange.sent is False
    exchange.begin_write()
    assert (exchange.sent, exchange.sent_at) == (True, clock.now())
    assert exchange.seconds_left() == lasts
    clock.advance(1.0)
    exchange.join()
    assert (exchange.sent, exchange.sent_at) == (True, clock.now() - 1.0)
    if lasts == 10.0:
        exchange.begin_write()
    assert (exchange.sent_at, exchange.seconds_left()) == (clock.now() - 1.0, lasts - 1.0)
    clock.advance(lasts - 1.5)
    assert exchange.seconds_left() == 0.5
    clock.advance(0.5)
    with pytest.raises(TimeoutError, match="read time-out"):
        exchange.seconds_left()


@pytest.mark.parametrize("sent", [False, True])
def test_a_write_needs_the_least_time(sent):
    """With just the least time left a write begins; with less, a first one is too late and a later one times out."""
    clock = FakeClock()
    exchange = Exchange(dict, 10.0, Budget(clock, clock.monotonic() + 10.0, least_seconds=4.0))
    if sent:
        exchange.begin_write()
    clock.advance(6.0)
    exchange.begin_write()
    exchange = (
        exchange if sent else Exchange(dict, 10.0, Budget(clock, clock.monotonic() + 3.9, least_seconds=4.0))
    )
    clock.advance(0.1)
    with pytest.raises(TimeoutError if sent else TooLate):
        exchange.begin_write()
    assert bool(exchange.sent) == sent


def test_a_request_within_another_leaves_it_its_exchange():
    """Signing may call a service for credentials; the outer request keeps its deadline and its budget."""
    outer, inner = (Exchange(dict, 10.0, Budget.lasting(10)) for _ in range(2))
    with outer:
        with inner:
            assert connections._current_exchange() is inner
        assert connections._current_exchange() is outer
    assert connections._current_exchange() is None
