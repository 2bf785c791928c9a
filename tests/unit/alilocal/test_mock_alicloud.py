"""mock_alicloud: clients of the real hosts reach a local cloud while it is active, and not afterwards."""

import _socket
import asyncio
import http.client
import inspect
import os
import socket
import ssl
import sys
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import urllib3
from localwire import Wire

import alilocal
from alilocal import connections
from support.processes import run_program

SMQ = "https://1000000000000001.mns.cn-hangzhou.aliyuncs.com"
PAI = "paiautoml.cn-hangzhou.aliyuncs.com"


def queues(cloud, url=SMQ):
    with requests.Session() as session:
        return Wire(cloud, session, url).smq("GET", "/queues").status_code


def test_requests_reach_the_cloud_under_the_real_hosts():
    with alilocal.mock_alicloud() as cloud:
        assert queues(cloud) == 200
        assert queues(cloud, SMQ.replace("https", "http")) == 200
        assert [entry.operation for entry in cloud.requests] == ["ListQueue", "ListQueue"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_urllib3_and_http_client_reach_it(scheme):
    with alilocal.mock_alicloud(seed=1) as cloud:
        with urllib3.PoolManager() as pool:
            assert pool.request("GET", f"{scheme}://{PAI}/api/automl/v1/hpo/experiments").status == 400
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        connection = kind(PAI)
        connection.request("GET", "/api/automl/v1/hpo/experiments")
        assert connection.getresponse().status == 400
        connection.close()
        assert len(cloud.requests) == 2


class Own(http.client.HTTPConnection):
    """A connection class with its own `connect`, like that of aliyun-mns-sdk."""

    def connect(self):
        raise AssertionError("connected elsewhere")


def test_a_connection_of_its_own_kind_reaches_it():
    with alilocal.mock_alicloud():
        connection = Own(PAI)
        connection.request("GET", "/api/automl/v1/hpo/experiments")
        assert connection.getresponse().status == 400
        connection.close()


def test_clients_reach_it_although_a_recorder_replaced_the_connection_class(monkeypatch):
    """VCR puts classes of its own in the place of the connection classes, and makes the original ones itself."""
    monkeypatch.setattr(http.client, "HTTPConnection", type("Recorder", (), {}))
    with alilocal.mock_alicloud() as cloud:
        assert queues(cloud) == 200


def test_clients_reach_it_although_the_socket_class_was_replaced(monkeypatch):
    """HTTPretty puts a class of its own in the place of the sockets, without most of their methods."""
    monkeypatch.setattr(socket, "socket", type("Answering", (), {}))
    with alilocal.mock_alicloud() as cloud:
        assert queues(cloud) == 200


def test_clients_reach_it_where_the_system_has_no_pairs_of_sockets(monkeypatch):
    """On Windows the module socket connects two sockets instead."""

    def connect_two():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return socket.create_connection(listener.getsockname()), listener.accept()[0]

    monkeypatch.delattr(_socket, "socketpair")
    monkeypatch.setattr(socket, "socketpair", connect_two)
    with alilocal.mock_alicloud() as cloud:
        assert queues(cloud) == 200


def test_other_hosts_are_left_alone():
    with alilocal.mock_alicloud(), alilocal.serve() as server:
        assert requests.get(f"{server.url}/nothing", timeout=60).status_code == 404
        for host in ("example.com", "aliyuncs.com.example.org", "notaliyuncs.com"):
            with pytest.raises((AssertionError, OSError, ssl.SSLError)):
                requests.get(f"http://{host}/", timeout=60)


@pytest.mark.parametrize("hosts", [["gateway.example"], ["*.Gateway.example"], "gateway.example"])
def test_hosts_can_be_chosen(hosts):
    """Hosts are given as domains in several spellings, and no request leaves for the real host."""
    with alilocal.mock_alicloud(hosts=hosts) as cloud:
        assert queues(cloud, "https://smq.gateway.example") == 200


def test_everything_is_put_back(monkeypatch):
    """Patches and variables are restored at the end."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "my-token")
    kinds = [
        http.client.HTTPConnection,
        http.client.HTTPSConnection,
        urllib3.connection.HTTPConnection,
        urllib3.connection.HTTPSConnection,
    ]
    before, environ = [dict(vars(kind)) for kind in kinds], dict(os.environ)
    with alilocal.mock_alicloud() as cloud:
        assert os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] == cloud.access_key_id
        assert "ALIBABA_CLOUD_SECURITY_TOKEN" not in os.environ
    assert [dict(vars(kind)) for kind in kinds] == before
    assert dict(os.environ) == environ


def test_mocks_nest():
    """The innermost mock answers, and the outer one answers again after it."""
    with alilocal.mock_alicloud() as outer:
        with alilocal.mock_alicloud() as inner:
            assert queues(inner) == 200
            assert (len(outer.requests), len(inner.requests)) == (0, 1)
        assert queues(outer) == 200
        assert len(outer.requests) == 1


@alilocal.mock_alicloud
def test_a_decorated_function_needs_no_argument():
    assert os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "alilocal-access-key-id"


@alilocal.mock_alicloud(region="cn-test")
def test_a_decorated_function_gets_its_cloud(cloud, tmp_path):
    """A decorated test keeps its fixtures, and each call has a cloud of its own."""
    assert tmp_path.exists()
    assert cloud.region == "cn-test"
    assert queues(cloud) == 200


def test_each_call_has_a_cloud_of_its_own():
    @alilocal.mock_alicloud
    def create(cloud):
        return cloud.queues.create("orders"), len(cloud.queues)

    assert [create()[1], create()[1]] == [1, 1]


@alilocal.mock_alicloud
class TestDecorated:
    def test_a_method(self, cloud):
        """Each test method of a decorated class gets the cloud."""
        assert queues(cloud) == 200


def test_a_coroutine_can_be_decorated():
    @alilocal.mock_alicloud
    async def ask(cloud):
        return queues(cloud)

    coroutine = ask()
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == 200


def test_faults_break_the_connection():
    with alilocal.mock_alicloud() as cloud:
        cloud.faults.add("reset", service="smq")
        with pytest.raises(requests.ConnectionError):
            queues(cloud)
        cloud.faults.add("stall", service="smq")
        with pytest.raises(requests.ReadTimeout), requests.Session() as session:
            session.get(f"{SMQ}/queues/q", timeout=0.05)


def test_the_fixtures_are_registered(mock_alicloud, local_cloud):
    assert queues(mock_alicloud) == 200
    with local_cloud.session() as session:
        assert Wire(local_cloud, session, local_cloud.endpoint).smq("GET", "/queues").status_code == 200
    assert len(local_cloud.requests) == 1


def ask():
    with requests.Session() as session:
        return session.get(f"{SMQ}/queues", timeout=60).status_code


def run(case):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.wasSuccessful(), (result.errors, result.failures)


def test_a_test_case_is_in_its_cloud_from_set_up_to_clean_up():
    seen = []

    @alilocal.mock_alicloud
    class Case(unittest.TestCase):
        def setUp(self):
            self.addCleanup(lambda: seen.append(ask()))
            seen.append(ask())

        def tearDown(self):
            seen.append(ask())

        def test_one(self):
            seen.append(ask())

        def test_two(self, cloud):
            seen.append(len(cloud.requests))

    run(Case)
    assert seen == [400, 400, 400, 400, 400, 1, 400, 400]


def test_an_asynchronous_test_case_is_too():
    """An asynchronous test case is in its cloud from set-up to clean-up."""
    seen = []

    @alilocal.mock_alicloud
    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            seen.append(ask())

        async def test_it(self, cloud):
            seen.extend([ask(), len(cloud.requests)])

    run(Case)
    assert seen == [400, 400, 2]


@alilocal.mock_alicloud
class TestWithSetup:
    """pytest's own hooks run in the cloud of their test."""

    def setup_method(self, method, cloud):
        assert method.__name__.startswith("test")
        cloud.queues.create("orders")

    def teardown_method(self, cloud):
        assert ask() == 400
        assert [one.operation for one in cloud.requests] == ["ListQueue"] * 2

    def test_one(self, cloud):
        """A test method sees what its setup_method created."""
        assert queues(cloud) == 200
        assert "orders" in cloud.queues

    def test_two(self, cloud, tmp_path):
        """A test method may ask for other fixtures beside the cloud."""
        assert tmp_path.exists()
        assert queues(cloud) == 200


@alilocal.mock_alicloud
class TestWithSetupOnly:
    def setup_method(self):
        assert ask() == 400

    def test_it(self):
        """A test method runs in the cloud of its setup_method without asking for it."""
        assert ask() == 400


@alilocal.mock_alicloud
class TestWithCleanUpOnly:
    def teardown_method(self, cloud):
        assert ask() == 400
        assert len(cloud.requests) == 2

    def test_it(self):
        """A clean-up without a set-up runs in the cloud of its test."""
        assert ask() == 400


@alilocal.mock_alicloud
class TestOfOtherKinds:
    @staticmethod
    def test_static(cloud):
        """A static test method gets the cloud."""
        assert queues(cloud) == 200

    @classmethod
    def test_of_the_class(cls, cloud):
        """A test that is a class method gets the cloud."""
        assert queues(cloud) == 200

    class TestInside:
        def test_inside(self, cloud):
            """A test of a class inside the decorated class gets the cloud."""
            assert queues(cloud) == 200


class InheritedClass:
    class TestInside:
        def test_inside(self, cloud):
            """A test of a class inside a parent of the decorated class gets the cloud."""
            assert queues(cloud) == 200


@alilocal.mock_alicloud
class TestOfAnInheritedClass(InheritedClass):
    pass


class TestDataOfAnotherClass:
    __test__ = False

    def test_nothing(self):
        """Not a test: only the name looks like one."""


def test_a_class_that_is_only_an_attribute_stays_as_it_is():
    """A decorated class may name a class that is defined elsewhere, such as one with data of tests, or itself."""
    before = vars(TestDataOfAnotherClass)["test_nothing"]

    class TestUser:
        TestData = TestDataOfAnotherClass

    TestUser.TestSelf = TestUser
    alilocal.mock_alicloud(TestUser)
    assert vars(TestDataOfAnotherClass)["test_nothing"] is before


class Inherited:
    def test_it(self, cloud):
        """An inherited test method gets the cloud in a decorated class."""
        assert queues(cloud) == 200


@alilocal.mock_alicloud
class TestInheriting(Inherited):
    pass


def test_a_class_that_is_inherited_from_is_left_alone():
    assert "cloud" in inspect.signature(Inherited.test_it).parameters


def test_a_set_up_that_fails_leaves_nothing_behind():
    @alilocal.mock_alicloud
    class Failing:
        def setup_method(self):
            raise LookupError

    with pytest.raises(LookupError):
        Failing().setup_method(None)
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" not in os.environ


def test_mocks_in_threads_may_end_in_any_order():
    """Each thread has its own cloud; the last one to end restores everything."""
    both, first_has_ended, before = (
        threading.Barrier(2),
        threading.Event(),
        dict(vars(http.client.HTTPConnection)),
    )

    @alilocal.mock_alicloud
    def first(cloud):
        both.wait(60)
        return queues(cloud), len(cloud.requests)

    @alilocal.mock_alicloud
    def second(cloud):
        both.wait(60)
        assert first_has_ended.wait(60)
        return queues(cloud), len(cloud.requests), os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"]

    with ThreadPoolExecutor(2) as threads:
        ahead, after = threads.submit(first), threads.submit(second)
        assert ahead.result(60) == (200, 1)
        first_has_ended.set()
        assert after.result(60) == (200, 1, "alilocal-access-key-id")
    assert dict(vars(http.client.HTTPConnection)) == before
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" not in os.environ


def test_tasks_side_by_side_have_their_own_clouds():
    @alilocal.mock_alicloud
    async def task(cloud, others):
        others.append(cloud)
        while len(others) < 3:
            await asyncio.sleep(0)
        return queues(cloud), len(cloud.requests)

    async def all_of_them():
        others = []
        return await asyncio.gather(*(task(others=others) for _ in range(3)))

    assert asyncio.run(all_of_them()) == [(200, 1)] * 3


def test_a_thread_of_the_code_under_test_reaches_the_cloud():
    with alilocal.mock_alicloud() as cloud, ThreadPoolExecutor(1) as threads:
        assert threads.submit(queues, cloud).result(60) == 200


def test_a_generator_has_a_cloud_until_it_ends():
    """A fixture that yields is a generator function: its cloud lasts as long as the test that uses it."""

    @alilocal.mock_alicloud
    def fixture(cloud, start=1):
        before = queues(cloud)
        given = yield before + start
        yield given, queues(cloud)

    @alilocal.mock_alicloud
    async def asynchronous(cloud):
        yield queues(cloud)
        yield queues(cloud)

    async def collect():
        return [one async for one in asynchronous()]

    running = fixture(start=2)
    assert (next(running), running.send("sent")) == (202, ("sent", 200))
    running.close()
    assert asyncio.run(collect()) == [200, 200]
    assert os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID") != "alilocal-access-key-id"
    assert list(inspect.signature(fixture).parameters) == ["start"]


def test_an_interpreter_that_ends_reports_nothing():
    """The takeover leaves an audit hook behind, which an object that is removed last still calls."""
    code = """
import os, alilocal.takeover
class Late:
    def __del__(self): os.listdir("/")
with alilocal.mock_alicloud(): pass
alilocal.takeover.late = Late()
"""
    done = run_program([sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (0, "")


def test_sockets_are_gevents_where_it_has_replaced_pythons(monkeypatch):
    """Threads are greenlets there: one that waits on a socket of Python's own would stop all others."""
    cooperative = type("socket", (socket.socket,), {"__module__": "gevent._socket3"})
    assert connections._find_socket() is connections.OWN_SOCKET
    monkeypatch.setattr(socket, "socket", cooperative)
    assert connections._find_socket() is cooperative
