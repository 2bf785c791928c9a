"""No client reaches the real cloud while `mock_alicloud` is active: it is taken over, or refused before a look-up."""

from __future__ import annotations

import asyncio
import base64
import http.client
import importlib
import json
import os
import socket
import sys
from xml.etree import ElementTree

import httpx
import pytest
import requests
import urllib3
from localwire import Wire

import alilocal
from alilocal.core.foreign import name_in_host
from alilocal.takeover import NotTakenOver

HOST = "paiautoml.cn-hangzhou.aliyuncs.com"
SMQ = "https://1000000000000001.mns.cn-hangzhou.aliyuncs.com"


def queues(cloud, session, key=None):
    wire = Wire(cloud, session, SMQ)
    wire.key = key or wire.key
    return wire.smq("GET", "/queues").status_code


async def open_stream(host):
    await asyncio.open_connection(host, 80)


async def look_up(host):
    await asyncio.get_running_loop().getaddrinfo(host, 80)


def connect_by_name(host, method):
    with socket.socket() as plain:
        getattr(plain, method)((host, 80))


CLIENTS = [
    lambda host: socket.create_connection((host, 80)),
    lambda host: socket.getaddrinfo(host, 443),
    lambda host: socket.getaddrinfo(host.encode(), 443),
    lambda host: socket.gethostbyname(host),
    lambda host: socket.gethostbyname_ex(host),
    lambda host: socket.gethostbyaddr(host),
    lambda host: connect_by_name(host, "connect"),
    lambda host: connect_by_name(host, "connect_ex"),
    lambda host: asyncio.run(open_stream(host)),
    lambda host: asyncio.run(look_up(host)),
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("host", [HOST, "x.ALIYUNCS.com.", "f.cn-hangzhou.fcapp.run"])
def test_other_clients_are_refused(client, host):
    """A client of another kind gets an error that says what to do, and the attempt is in the log."""
    with alilocal.mock_alicloud() as cloud:
        with pytest.raises(NotTakenOver, match=r"Use alilocal\.serve\(\)") as caught:
            client(host)
        assert host in str(caught.value)
        [entry] = cloud.requests
        assert (entry.operation, entry.status, entry.code) == ("connect", None, "NotTakenOver")


def test_functions_that_were_imported_before_are_refused_too():
    """A module that has its own name for the function of a look-up is not an exception."""
    look_up_by_name = socket.getaddrinfo
    with alilocal.mock_alicloud(), pytest.raises(NotTakenOver):
        look_up_by_name(HOST, 80)


def test_nothing_is_refused_afterwards():
    """Outside the mock, clients and functions are as before."""
    before, finders = dict(vars(socket.socket)), list(sys.meta_path)
    with alilocal.mock_alicloud():
        assert dict(vars(socket.socket)) != before
    assert (dict(vars(socket.socket)), sys.meta_path) == (before, finders)
    with alilocal.serve() as server, socket.create_connection(("localhost", server.port)) as connection:
        assert connection.getpeername()[1] == server.port


def test_the_metadata_address_is_never_asked():
    """Requests for the metadata of a machine get an error, and raw connections to its address are refused."""
    with alilocal.mock_alicloud() as cloud, requests.Session() as session:
        answer = session.get("http://100.100.100.200/latest/meta-data/ram/security-credentials/", timeout=5)
        assert answer.json()["Code"] == "ServiceNotSupported"
        with pytest.raises(NotTakenOver):
            socket.create_connection(("100.100.100.200", 80))
        assert [entry.service for entry in cloud.requests] == ["ecs-metadata", "100.100.100.200"]


async def ask(session, host=HOST, scheme="https", **options):
    url = f"{scheme}://{host}/api/automl/v1/hpo/experiments"
    async with session.get(url, **options) as answer:
        return answer.status, (await answer.json())["Code"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("options", [{}, {"proxy": "http://127.0.0.1:9"}])
def test_aiohttp_is_taken_over(scheme, options):
    """A client of aiohttp, which each SDK's `_async` methods use, reaches the mock, also through a proxy."""
    import aiohttp

    async def run():
        async with aiohttp.ClientSession() as session:
            return [await ask(session, scheme=scheme, **options) for _ in range(2)]

    with alilocal.mock_alicloud() as cloud:
        assert asyncio.run(run()) == [(400, "IncompleteSignature")] * 2
        assert len(cloud.requests) == 2


def test_aiohttp_that_is_imported_in_a_test_is_taken_over(monkeypatch):
    """It does not matter whether a client was imported before or after the mock began."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "aiohttp"]:
        monkeypatch.delitem(sys.modules, name)
    with alilocal.mock_alicloud() as cloud:
        fresh = importlib.import_module("aiohttp")

        async def run():
            async with fresh.ClientSession() as session:
                return await ask(session)

        assert asyncio.run(run())[0] == 400
        assert len(cloud.requests) == 1


@pytest.mark.parametrize(
    "host",
    ["service.cn-beijing.maxcompute.aliyun.com", "service.odps.aliyun.com", "x.maxcompute.aliyun-inc.com"],
)
def test_maxcompute_is_not_reached(host):
    """The hosts of MaxCompute are not below aliyuncs.com; a request is refused by name."""
    with alilocal.mock_alicloud() as cloud:
        answer = requests.get(f"http://{host}/api/tenants", timeout=5)
        assert (answer.status_code, answer.json()["Code"]) == (400, "ServiceNotSupported")
        with pytest.raises(NotTakenOver):
            socket.getaddrinfo(host, 80)
        assert [one.service for one in cloud.requests] == ["maxcompute", "maxcompute"]


@pytest.mark.parametrize("options", [{}, {"proxy": "http://127.0.0.1:9"}])
def test_httpx_is_refused_before_it_connects(options):
    """A request of httpx is refused even without a look-up, through a proxy or over a kept connection."""

    async def ask_async():
        async with httpx.AsyncClient(**options) as client:
            await client.get(f"https://{HOST}/")

    with httpx.Client(**options) as client, alilocal.mock_alicloud() as cloud:
        with pytest.raises(httpx.ConnectError, match=r"Use alilocal\.serve\(\)"):
            client.get(f"https://{HOST}/")
        with pytest.raises(httpx.ConnectError, match=r"Use alilocal\.serve\(\)"):
            asyncio.run(ask_async())
        assert [(one.service, one.code) for one in cloud.requests] == [("paiautoml", "NotTakenOver")] * 2


def test_a_connection_that_httpx_has_kept_is_not_used():
    """A client that was made at import, and has called the real host already, does not reach it in a test."""
    with alilocal.serve() as server, httpx.Client() as client:
        url = server.url.replace("127.0.0.1", "localhost")
        assert client.get(url).status_code == 200
        with (
            alilocal.mock_alicloud(hosts=["localhost"]),
            pytest.raises(httpx.ConnectError, match="localhost"),
        ):
            client.get(url)
        assert client.get(url).status_code == 200


def test_a_session_of_aiohttp_outlives_its_cloud():
    """A connection that is kept from one cloud is not used with the next one."""
    import aiohttp

    async def run():
        counts = []
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                with alilocal.mock_alicloud() as cloud:
                    await ask(session)
                    counts.append(len(cloud.requests))
        return counts

    assert asyncio.run(run()) == [1, 1, 1]


def test_a_connection_to_the_real_host_is_not_used(monkeypatch):
    """A connection that a client has kept from before leads to the cloud of the mock, too."""
    with alilocal.serve() as real:
        connection = http.client.HTTPConnection("127.0.0.1", real.port)
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        # The host behind the open connection, as a real client would have it.
        connection.host = HOST
        with alilocal.mock_alicloud() as cloud:
            connection.request("GET", "/api/automl/v1/hpo/experiments")
            assert connection.getresponse().status == 400
            assert len(cloud.requests) == 1
        connection.close()
        assert len(real.cloud.requests) == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_does_not_lead_outside(scheme):
    """A request that a client would send through a proxy ends at the mock, whatever the variables say."""
    proxies = dict.fromkeys(("http", "https"), "http://127.0.0.1:9")
    with alilocal.mock_alicloud() as cloud:
        with requests.Session() as session:
            for _ in range(2):
                url = f"{scheme}://{HOST}/api/automl/v1/hpo/experiments"
                assert session.get(url, proxies=proxies, timeout=5).status_code == 400
        assert len(cloud.requests) == 2
        assert "https_proxy" not in os.environ


class Vendored(urllib3.connection.HTTPSConnection):
    """A connection class of another package, with its own way to connect."""

    def connect(self):
        raise AssertionError("connected elsewhere")


def test_classes_with_their_own_connect():
    """Copies of urllib3 in other packages connect by themselves; those that are defined later do so, too."""
    with alilocal.mock_alicloud():

        class Late(Vendored):
            def connect(self):
                raise AssertionError("connected elsewhere")

        for kind in (Vendored, Late):
            connection = kind(HOST)
            connection.connect()
            connection.request("GET", "/api/automl/v1/hpo/experiments")
            assert connection.getresponse().status == 400
            connection.close()
    with pytest.raises(AssertionError):
        Vendored(HOST).connect()


def test_a_key_of_the_environment_is_valid(monkeypatch):
    """A client that was made with the developer's key can call, and the key is in no list and no snapshot."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "real-key")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "real-secret")
    with alilocal.mock_alicloud() as cloud, requests.Session() as session:
        assert os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] == cloud.access_key_id
        assert queues(cloud, session, ("real-key", "real-secret")) == 200
        assert queues(cloud, session, ("real-key", "wrong")) == 403
        cloud.reset()
        assert queues(cloud, session, ("real-key", "real-secret")) == 200
        assert "real-" not in json.dumps(cloud.snapshot())
        assert "real-" not in repr(cloud.credentials.list())
    assert os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "real-key"


@pytest.mark.parametrize("profile", [None, "mine"])
def test_credentials_that_were_read_at_import(monkeypatch, profile):
    """The official chain of credentials gives the mock's key, although it has read the variables at its import."""
    from alibabacloud_credentials.client import Client
    from alibabacloud_credentials.utils import auth_util

    monkeypatch.setattr(auth_util, "environment_access_key_id", "real-key")
    monkeypatch.setattr(auth_util, "environment_access_key_secret", None)
    monkeypatch.setattr(auth_util, "client_type", profile or "default")
    before = dict(vars(auth_util))
    with alilocal.mock_alicloud() as cloud:
        found = Client().get_credential()
        assert (found.access_key_id, found.access_key_secret) == (
            cloud.access_key_id,
            cloud.access_key_secret,
        )
        assert not found.security_token
        assert len(cloud.requests) == 0
    assert dict(vars(auth_util)) == before


@pytest.mark.parametrize(
    ("url", "headers", "service"),
    [
        ("https://bucket.oss-cn-hangzhou.aliyuncs.com/a", {"Authorization": "OSS id:sign"}, "oss"),
        ("https://bucket.oss-cn-hangzhou-internal.aliyuncs.com/a", {}, "oss"),
        ("https://127.0.0.1/a", {"Authorization": "OSS4-HMAC-SHA256 Credential=x"}, "oss"),
        ("https://project.cn-hangzhou.log.aliyuncs.com/logstores", {}, "sls"),
        (
            "https://project.cn-hangzhou-intranet.log.aliyuncs.com/logstores",
            {"x-log-apiversion": "0.6.0"},
            "sls",
        ),
        ("https://ecs.cn-hangzhou.aliyuncs.com/?Action=DescribeInstances&Version=2014-05-26", {}, "ecs"),
        ("https://ecs-cn-hangzhou.aliyuncs.com/", {"x-acs-action": "DescribeInstances"}, "ecs"),
        ("https://kms.aliyuncs.com/", {"x-acs-version": "2016-01-20"}, "kms"),
        ("https://127.0.0.1/", {"x-acs-version": "2016-01-20", "x-acs-action": "Decrypt"}, "API 2016-01-20"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_service_that_is_not_here_is_named(local_cloud, url, headers, service, method):
    """A call of a service that the local cloud lacks is an error that names it, and a row of the log."""
    with local_cloud.session() as session:
        answer = session.request(method, url, headers=headers)
    assert answer.status_code == 400
    message = f"The local cloud has no service {service}: it cannot carry out "
    if service == "oss":
        root = ElementTree.fromstring(answer.content)
        code, text = root.findtext("Code"), root.findtext("Message")
    else:
        found = answer.json()
        code, text = found["Code"], found["Message"]
        assert found["errorCode"] == found["code"] == code
        assert found["errorMessage"] == found["message"] == text
    assert (code, text.startswith(message)) == ("ServiceNotSupported", True)
    [entry] = local_cloud.requests
    assert (entry.service, entry.status, entry.code) == (service, 400, "ServiceNotSupported")
    assert entry.operation in text


def test_the_head_of_an_object_is_an_error(local_cloud):
    """Whether an object exists is not answered, neither with yes nor with no."""
    with local_cloud.session() as session:
        answer = session.head("https://bucket.oss-cn-hangzhou.aliyuncs.com/a")
    assert answer.status_code == 400
    assert b"no service oss" in base64.b64decode(answer.headers["x-oss-err"])


def test_the_console_shows_such_calls(local_cloud):
    """Calls of services that are not here do not disturb the console and the histories of messages."""
    with local_cloud.session() as session:
        session.get("https://kms.aliyuncs.com/?Action=Decrypt&Version=1")
        local_cloud.queues.create("q").send("{}")
        assert "kms Decrypt" in session.get("http://localhost/_alilocal/console/requests").text
        assert session.get("http://localhost/_alilocal/messages").ok


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("1.mns.cn-hangzhou.aliyuncs.com", "smq"),
        ("1.mns.cn-hangzhou-internal-vpc.aliyuncs.com", "smq"),
        ("i.cn-hangzhou.ots.aliyuncs.com", "tablestore"),
        ("sts.aliyuncs.com", "sts"),
        ("sts-vpc.cn-hangzhou.aliyuncs.com", "sts"),
        ("1.eventbridge.cn-hangzhou.aliyuncs.com", "eventbridge"),
        ("paiautoml.cn-hangzhou.aliyuncs.com", "paiautoml"),
        ("vpc.aliyuncs.com", "vpc"),
        ("vpc.cn-hangzhou.aliyuncs.com", "vpc"),
        ("aliyuncs.com", None),
        ("example.com", None),
    ],
)
def test_services_in_hosts(host, name):
    """The name of a service is found among regions, accounts and networks."""
    assert name_in_host(host) == name
