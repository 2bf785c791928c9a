"""What a connection does with its socket, over a pair of sockets in this process, and how it is made."""

from __future__ import annotations

import socket
import ssl
import struct
from io import BytesIO
from types import SimpleNamespace

import pytest
import requests
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import SSLError

from hpoq.clock import Budget
from hpoq.cloud import connections
from hpoq.cloud.connections import (
    _Connection,
    _TimedReader,
    _TlsConnection,
    environment_settings,
    new_session,
)
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.transport import Request, Transport
from hpoq.errors import Unavailable, UnknownEnd
from hpoq.testing import FakeClock

URL = "http://localhost"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESETS, CLOSES = (1, 0), (0, 0)


class Near(socket.socket):
    """Our end of a pair of sockets: it takes at most `most` bytes at once, and `log` has what was done with it.

    Each write and each read takes `takes` seconds of `clock`. A whole request that is not signed gets `answer`.
    """

    clock: FakeClock
    answer = OK
    takes = 0.0
    most: int | None = None

    def __init__(self, log):
        near, self.far = socket.socketpair()
        super().__init__(fileno=near.detach())
        self.log = log

    def linger(self):
        return struct.unpack("ii", self.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))

    def send(self, data, *flags):
        self.log.append(("send", self.linger(), self.gettimeout()))
        self.clock.advance(self.takes)
        return super().send(data[: self.most], *flags)

    def sendall(self, data, *flags):
        self.log.append(("sendall", self.linger(), self.gettimeout()))
        super().sendall(data, *flags)
        self.far.sendall(self.answer)

    def recv_into(self, *arguments):
        self.log.append(("read", self.linger(), self.gettimeout()))
        self.clock.advance(self.takes)
        return super().recv_into(*arguments)

    def close(self):
        if self.fileno() >= 0:
            self.log.append(("close", self.linger(), None))
        super().close()
        self.far.close()


class Wire:
    """All connections of a session, each over a `Near` socket; `now` is the time by which they count as idle."""

    def __init__(self, session):
        self.clock = FakeClock()
        self.now = 1000.0
        self.answer = OK
        self.log = []
        self.ends = []
        self.session = session
        self.transport = Transport(session, self.clock)

    def connect(self, *_arguments, **_options):
        near = Near(self.log)
        near.clock, near.answer = self.clock, self.answer
        self.ends.append(near)
        return near

    def exchange(self, answer=OK, *, body=b"x", is_own=True, takes=0.0, most=None, **options):
        """Send a request that is answered once it is signed."""

        def sign():
            self.log.append("sign")
            near = self.ends[-1]
            near.takes, near.most = takes, most
            near.far.sendall(answer)
            return {"Host": "h", "Authorization": "signed"}

        endpoint = Endpoint.parse(URL)
        made = Request("svc", "Op", "POST", endpoint, "/x", sign, body, is_own=lambda _: is_own)
        return self.transport.send(made, connect_timeout=3.0, read_timeout=10.0, **options)


@pytest.fixture
def wire(monkeypatch):
    with new_session() as session:
        made = Wire(session)
        monkeypatch.setattr("urllib3.util.connection.create_connection", made.connect)
        monkeypatch.setattr(connections, "time", SimpleNamespace(time=lambda: made.now))
        yield made
    for near in made.ends:
        near.close()


def test_nothing_is_printed(wire, capsys):
    """The headers of an answer are not shown by the library that reads them."""
    wire.exchange()
    assert capsys.readouterr().out == ""


def test_a_request_is_signed_then_written_at_once(wire):
    """The signed headers and the body leave in one write, on a connection that would be reset if it closed now."""
    assert wire.exchange().body == b"ok"
    assert wire.log[:2] == ["sign", ("send", RESETS, 10.0)]
    head, _, body = wire.ends[0].far.recv(9999).partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert (first, body) == (b"POST /x HTTP/1.1", b"x")
    assert {b"Host: h", b"Authorization: signed", b"Content-Length: 1"} <= set(headers)
    assert {kind for kind, *_ in wire.log[2:]} == {"read"}


def test_an_accepted_answer_makes_its_connection_usable_again(wire):
    """The next request takes the same connection, which closes normally while nothing is on its way."""
    for _ in range(2):
        wire.exchange()
        assert wire.ends[0].linger() == CLOSES
    assert len(wire.ends) == 1


def test_a_connection_whose_answer_is_not_accepted_is_reset(wire):
    """What is not the service's own answer may be followed by it, so its connection is closed, with a reset."""
    wire.exchange(is_own=False)
    assert wire.log[-1] == ("close", RESETS, None)
    wire.exchange()
    assert len(wire.ends) == 2


def test_writing_and_reading_share_one_time_out(wire):
    """Each write and each read gets what is left of the time that began with the first byte."""
    wire.exchange(takes=1.0, most=60)
    left = [entry[2] for entry in wire.log if entry[0] in ("send", "read")]
    assert left[:3] == [10.0, 9.0, 8.0]
    assert left == sorted(left, reverse=True)


def test_a_reader_that_is_closed_closes_what_it_reads():
    """A connection is given back to its socket when the reader of its answer is closed."""
    raw = BytesIO(OK)
    reader = _TimedReader(None, raw, None)
    reader.close()
    assert (reader.closed, raw.closed) == (True, True)


def test_a_read_that_would_begin_too_late_is_not_begun(wire):
    """A time-out of a single read does not bound an answer that comes in pieces."""
    with pytest.raises(UnknownEnd, match="TimeoutError"):
        wire.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nok", takes=5.0)
    assert [kind for kind, *_ in wire.log] == ["s", "send", "read", "close"]


def test_the_clocks_are_looked_at_before_each_write(wire):
    """A request of which a part has left ends when its budget does, though its time-out has not passed."""
    budget = Budget(wire.clock, wire.clock.monotonic() + 5.0, least_seconds=2.0)
    with pytest.raises(UnknownEnd, match="TimeoutError"):
        wire.exchange(takes=2.0, most=10, budget=budget)
    assert [entry[2] for entry in wire.log if entry[0] == "send"] == [5.0, 3.0]


@pytest.mark.parametrize(("idle", "connected"), [(19.9, 1), (20.0, 2), (-19.9, 1), (-20.0, 2)])
@pytest.mark.parametrize("within_exchange", [True, False])
def test_an_idle_connection_is_used_for_20_seconds(wire, idle, connected, within_exchange):
    """A connection counts as idle from its last use, also if the session is used without a transport."""

    def use():
        if within_exchange:
            wire.exchange()
        else:
            assert wire.session.get(URL).content == b"ok"

    use()
    wire.now += idle
    use()
    assert len(wire.ends) == connected


@pytest.mark.parametrize("status", [100, 102, 199])
def test_interim_answers_are_skipped(wire, status):
    """The answer is the first one that is final, which 101 is, too."""
    interim = b"HTTP/1.1 %d Wait\r\n\r\n" % status
    assert wire.exchange(interim * 2 + OK).body == b"ok"
    assert wire.exchange(b"HTTP/1.1 101 Switching\r\n\r\n", is_own=False).status == 101
    assert wire.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").status == 200


def test_the_session_keeps_nothing_and_follows_nothing(wire):
    """A cookie or a redirect of an answer changes nothing that is sent, even if a caller asks for it."""
    head = b"HTTP/1.1 307 Go\r\nLocation: http://localhost/y\r\nSet-Cookie: a=b; Path=/\r\n"
    wire.answer = head + b"Content-Length: 0\r\n\r\n"
    assert wire.session.get(URL, allow_redirects=True).status_code == 307
    assert not list(wire.session.cookies)
    assert len(wire.ends[0].far.recv(99999).split(b"GET ")) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("given", "size"), [({}, 16), ({"pool_size": 3}, 3)])
def test_the_pools_of_a_session(scheme, given, size):
    """A session keeps 16 connections per host unless another number is asked for, and repeats nothing.

    It keeps those of all hosts that a message needs, however few connections there are to each.
    """
    with new_session(**given) as session:
        adapter = session.get_adapter(f"{scheme}://h")
        assert adapter.poolmanager.connection_from_url(f"{scheme}://h").pool.maxsize == size
        assert adapter.poolmanager.pools._maxsize == 16
        assert (adapter.max_retries.total, session.trust_env) == (0, False)
        assert issubclass(adapter.poolmanager.pool_classes_by_scheme[scheme].ConnectionCls, _Connection)
    with new_session(trust_environment=True) as session:
        assert session.trust_env


@pytest.mark.parametrize(
    ("variables", "verify"),
    [
        ({}, True),
        ({"SSL_CERT_FILE": "/ssl"}, "/ssl"),
        ({"REQUESTS_CA_BUNDLE": "/requests", "SSL_CERT_FILE": "/ssl"}, "/requests"),
    ],
)
def test_the_authorities_of_the_environment(monkeypatch, variables, verify):
    """Only a session that trusts the environment uses its authorities, those for requests before OpenSSL's."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    default = {"proxies": {}, "verify": True}
    with new_session(trust_environment=True) as trusting, new_session() as own, requests.Session() as other:
        assert environment_settings(trusting, "https://h")["verify"] == verify
        assert environment_settings(own, "https://h") == environment_settings(other, "https://h") == default


@pytest.mark.parametrize(
    ("proxy", "ours"), [("http://p:1", True), ("SOCKS5://p:1", False), ("socks5://p", False)]
)
def test_connections_through_a_proxy(monkeypatch, proxy, ours):
    """Connections through a proxy are those of this package, except through SOCKS, which needs a pool of its own."""
    made = SimpleNamespace()
    monkeypatch.setattr("requests.adapters.HTTPAdapter.proxy_manager_for", lambda *_a, **_o: made)
    with new_session() as session:
        assert session.get_adapter("https://h").proxy_manager_for(proxy) is made
    classes = getattr(made, "pool_classes_by_scheme", {})
    assert sorted(classes) == (["http", "https"] if ours else [])
    assert all(issubclass(pool.ConnectionCls, _Connection) for pool in classes.values())


class Context:
    """Takes the place of a TLS context, and records what it was given."""

    def __init__(self):
        self.loaded = []
        self.protocols = []

    def load_verify_locations(self, path):
        if path == "/missing":
            raise FileNotFoundError(path)
        self.loaded.append(path)

    def set_alpn_protocols(self, protocols):
        self.protocols.append(protocols)


@pytest.fixture
def contexts(monkeypatch):
    made = []

    def create():
        made.append(Context())
        return made[-1]

    monkeypatch.setattr(connections, "create_urllib3_context", create)
    monkeypatch.setattr(connections, "_contexts", {})
    return made


def test_authorities_are_shared_by_file(contexts):
    """Each file is loaded once; its context has the protocols of urllib3, which no connection sets again."""
    first, other = connections._load_authorities("/a"), connections._load_authorities("/b")
    assert connections._load_authorities("/a") is first
    assert contexts == [first, other]
    assert (first.loaded, other.loaded) == (["/a"], ["/b"])
    first.set_alpn_protocols(["h2"])
    assert first.protocols == [["http/1.1"]]


def test_authorities_that_cannot_be_loaded(contexts):
    """A missing file is an error of TLS, of which urllib3 knows that nothing was sent, and is tried again."""
    for _ in range(2):
        with pytest.raises(SSLError):
            connections._load_authorities("/missing")
    assert len(contexts) == 2


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ({}, True),
        ({"cert_reqs": ssl.CERT_NONE}, False),
        ({"cert_reqs": "CERT_REQUIRED"}, True),
        ({"ca_certs": None}, False),
        ({"ssl_context": "own"}, False),
        ({"proxy": "p"}, False),
    ],
)
def test_which_connections_share_their_authorities(contexts, monkeypatch, given, shares):
    """A connection that verifies by a file uses the shared context, unless it has one or goes through a proxy."""
    monkeypatch.setattr(HTTPSConnection, "connect", lambda _: None)
    options = {"ca_certs": "/a", "cert_reqs": ssl.CERT_REQUIRED} | given
    options.pop("proxy", None)
    connection = _TlsConnection("h", **options)
    connection.proxy = given.get("proxy")
    connection.connect()
    if shares:
        assert (connection.ssl_context, connection.ca_certs) == (contexts[0], None)
    else:
        assert (connection.ssl_context, connection.ca_certs) == (
            given.get("ssl_context"),
            options["ca_certs"],
        )


@pytest.mark.parametrize("kept", [False, True])
def test_nothing_is_sent_before_it_is_signed(wire, kept):
    """If signing fails, such as by a lost connection to who gives credentials, the end is not unknown."""
    if kept:
        wire.exchange()

    def fail():
        raise ConnectionResetError

    made = Request("svc", "Op", "POST", Endpoint.parse(URL), "/x", fail)
    with pytest.raises(Unavailable):
        wire.transport.send(made, connect_timeout=3.0, read_timeout=10.0)
    assert len(wire.ends) == 1


def test_a_connection_that_cannot_be_made_sends_nothing(wire, monkeypatch):
    """Until a connection is established nothing was sent, and a request is not signed."""

    def refuse(*_arguments, **_options):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    with pytest.raises(Unavailable):
        wire.exchange()
    assert wire.log == []
