"""Proxies and certificate authorities of the environment: for programs that people run, never for the function."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from hpoq.cloud.connections import _Connection, environment_settings, new_session
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.transport import Request, Transport
from hpoq.errors import CallError
from support.tools import skip_without

HOST = "service.example.com"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for HOST, with its key."""
    if shutil.which("openssl") is None:
        skip_without("openssl")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(file), "-out", f"{file}.crt", "-days", "2"]
    subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run(["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True)
    with file.open("ab") as both:
        both.write(file.with_name("both.pem.crt").read_bytes())
    return file


@pytest.fixture
def proxy(certificate):
    """A proxy whose tunnels all end at one TLS server: its URL, and the first line of each request for a tunnel."""
    asked = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            head = connection.recv(65536)
            asked.append(head.split(b"\r\n")[0].decode())
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                with context.wrap_socket(connection, server_side=True) as tunnel:
                    tunnel.recv(65536)
                    tunnel.sendall(ANSWER)
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def send(session, clock):
    endpoint = Endpoint.parse(f"https://{HOST}")
    request = Request("test", "Op", "GET", endpoint, "/", lambda: {"x-signed": "yes"})
    return Transport(session, clock).send(request, connect_timeout=60, read_timeout=60)


@pytest.mark.parametrize("authority", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_tunnel_through_the_proxy_to_a_private_authority(proxy, certificate, clock, monkeypatch, authority):
    """With `trust_environment` a call uses HTTPS_PROXY and trusts the authority that the environment names."""
    url, asked = proxy
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setenv(authority, str(certificate))
    with new_session(trust_environment=True) as session:
        assert send(session, clock).body == b"ok"
    assert [line.rpartition(" ")[0] for line in asked] == [f"CONNECT {HOST}:443"]


def test_a_local_cloud_is_reached_without_the_proxy(monkeypatch):
    """The proxy of the environment cannot reach this machine's own addresses."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    with new_session(trust_environment=True) as session:
        for host, proxies in (("127.0.0.1", {}), ("localhost", {}), (HOST, {"http": "http://proxy:1"})):
            assert environment_settings(session, f"http://{host}/")["proxies"] == proxies


def test_connections_through_a_proxy_sign_late_too():
    """Otherwise nothing would record whether a request was sent."""
    with new_session(trust_environment=True) as session:
        manager = session.get_adapter("https://x").proxy_manager_for("http://proxy:1")
        assert issubclass(manager.pool_classes_by_scheme["https"].ConnectionCls, _Connection)


def test_the_function_uses_no_proxy(proxy, certificate, clock, monkeypatch):
    """Without `trust_environment`, as in the function, neither proxy nor authority of the environment counts."""
    url, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_: (_ for _ in ()).throw(socket.gaierror("no network"))
    )
    with new_session() as session, pytest.raises(CallError):
        send(session, clock)
    assert asked == []
