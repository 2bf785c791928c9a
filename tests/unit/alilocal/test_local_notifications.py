"""Subscriptions of topics whose endpoint is no queue of the account: their forms, and pushes over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from xml.etree import ElementTree

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from localwire import StandingTime, Wire, read, xml

import alilocal
from support.waiting import wait_until

PLACE = "acs:mns:{}:{}:queues/q"


@contextmanager
def receiver(*statuses):
    """Yield a server on the loopback interface that answers with `statuses`, the last one again and again."""
    got, taken = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers, body))
            self.send_response(statuses[min(len(got), len(statuses)) - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()
            taken.set()

        def log_message(self, *_arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got, taken
    finally:
        server.shutdown()
        server.server_close()


def subscribe(wire, endpoint, name="s", **members):
    document = xml("Subscription", Endpoint=endpoint, **members)
    return wire.smq("PUT", f"/topics/t/subscriptions/{name}", document)


@pytest.fixture
def topic(cloud):
    return cloud.topics.create("t")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://203.0.113.7/notifications",
        "https://example.com",
        "mail:directmail:a@example.com",
        "sms:directsms:anonymous",
        "sms:directsms:13900000000",
    ],
)
def test_other_endpoints_are_kept(wire, cloud, topic, endpoint):
    """A subscription with an endpoint that is not on this machine is kept; what is published is counted there."""
    assert subscribe(wire, endpoint).status_code == 201
    assert read(wire.smq("GET", "/topics/t/subscriptions/s"))["Endpoint"] == endpoint
    assert wire.smq("POST", "/topics/t/messages", xml("Message", MessageBody="hello")).ok
    assert topic.subscriptions["s"].undelivered == 1


@pytest.mark.parametrize(
    "endpoint", ["", "queues/q", "ftp://127.0.0.1/x", "http://", "acs:mns:cn-local:queues/q"]
)
def test_endpoints_of_no_form_are_refused(wire, topic, endpoint):
    """What is neither a queue nor a URL nor an address is refused."""
    assert read(subscribe(wire, endpoint))["Code"] == "EndpointInvalid"


@pytest.mark.parametrize(
    ("region", "account"), [("cn-local", "127"), ("0", "127"), ("cn-local", "localhost"), ("", "0")]
)
def test_endpoints_derived_from_the_host(wire, cloud, topic, region, account):
    """The helpers of SDKs take account and region from the host; an address gives parts of its number."""
    cloud.queues.create("q")
    endpoint = PLACE.format(region, account)
    assert subscribe(wire, endpoint).status_code == 201
    wire.smq("POST", "/topics/t/messages", xml("Message", MessageBody="hello"))
    assert len(cloud.queues["q"].messages) == 1
    assert read(wire.smq("GET", "/topics/t/subscriptions/s"))["Endpoint"] == endpoint


def test_endpoints_derived_from_a_real_host(topic, cloud):
    """Under the mock, the account and the region are those in the name of the service's host."""
    cloud.queues.create("q")
    with cloud.session() as session:
        wire = Wire(cloud, session, "http://2000000000000002.mns.cn-hangzhou.aliyuncs.com")
        assert subscribe(wire, PLACE.format("cn-hangzhou", "2000000000000002")).status_code == 201
        assert subscribe(wire, PLACE.format("cn-hangzhou", cloud.account_id), "own").status_code == 201
        other = PLACE.format("cn-hangzhou", "3000000000000003")
        assert read(subscribe(wire, other, "other"))["Code"] == "EndpointInvalid"


@pytest.mark.parametrize(
    ("form", "content_type"),
    [
        ("XML", "text/xml"),
        ("JSON", "application/json"),
        ("SIMPLIFIED", "text/plain"),
        ("STREAM", "text/plain"),
    ],
)
@pytest.mark.parametrize(("path", "resource"), [("", "/notifications"), ("/in/here?a=b", "/in/here?a=b")])
def test_a_push_is_signed(cloud, form, content_type, path, resource):
    """A receiver checks the signature with the certificate that a header names, as the documentation says."""
    cloud.topics.create("t")
    with (
        alilocal.serve(cloud=cloud) as server,
        requests.Session() as session,
        receiver(204) as (url, got, taken),
    ):
        session.trust_env = False
        wire = Wire(cloud, session, server.url)
        subscribe(wire, url + path, NotifyContentFormat=form)
        message = xml("Message", MessageBody="aGk=", MessageTag="red")
        sent = read(wire.smq("POST", "/topics/t/messages", message))
        assert taken.wait(60)
        [(target, headers, body)] = got
        certificate = session.get(base64.b64decode(headers["x-mns-signing-cert-url"]).decode(), timeout=5)
    assert target == resource
    assert headers["Content-Type"].startswith(content_type)
    assert headers["Content-MD5"] == base64.b64encode(hashlib.md5(body).hexdigest().encode()).decode()
    names = sorted(name.lower() for name in headers if name.lower().startswith("x-mns-"))
    lines = ["POST", *(headers[name] for name in ("Content-MD5", "Content-Type", "Date"))]
    text = "\n".join([*lines, *(f"{name}:{headers[name]}" for name in names), target])
    key = x509.load_pem_x509_certificate(certificate.content).public_key()
    key.verify(base64.b64decode(headers["Authorization"]), text.encode(), PKCS1v15(), SHA1())
    if form == "STREAM":  # the body and nothing else
        assert (body, "x-mns-message-id" in headers) == (b"aGk=", False)
    else:
        assert contents(form, headers, body) == (sent["MessageId"], "red", "aGk=")


def contents(form, headers, body):
    """Return the id, the tag and the body of the message in a notification."""
    if form == "SIMPLIFIED":
        return headers["x-mns-message-id"], headers["x-mns-message-tag"], body.decode()
    if form == "JSON":
        members = json.loads(body)
    else:
        root = ElementTree.fromstring(body)
        members = {one.tag.rpartition("}")[2]: one.text for one in root}
    return members["MessageId"], members["MessageTag"], members["Message"]


def test_a_push_is_repeated_by_the_clouds_clock():
    """A push that is refused is repeated, and counted as undelivered after the last documented attempt."""
    source = StandingTime()
    with (
        alilocal.LocalCloud(clock=source) as cloud,
        cloud.session() as session,
        receiver(500) as (url, got, _),
    ):
        topic = cloud.topics.create("t")
        wire = Wire(cloud, session, cloud.endpoint)
        subscribe(wire, url)
        wire.smq("POST", "/topics/t/messages", xml("Message", MessageBody="hello"))

        def is_given_up():
            source.moment += 20
            return topic.subscriptions["s"].undelivered

        wait_until(is_given_up)
        assert len(got) == 4


def test_the_real_certificate_under_the_mock():
    """Receivers check that the certificate is the service's own; the mock serves it under that address."""
    with alilocal.mock_alicloud() as cloud, receiver(200) as (url, got, taken):
        cloud.topics.create("t")
        with requests.Session() as session:
            wire = Wire(cloud, session, "https://1000000000000001.mns.cn-hangzhou.aliyuncs.com")
            subscribe(wire, url)
            wire.smq("POST", "/topics/t/messages", xml("Message", MessageBody="hello"))
            assert taken.wait(60)
            place = base64.b64decode(got[0][1]["x-mns-signing-cert-url"]).decode()
            assert place.startswith("https://mnstest.oss-cn-hangzhou.aliyuncs.com/")
            assert b"BEGIN CERTIFICATE" in session.get(place, timeout=5).content
