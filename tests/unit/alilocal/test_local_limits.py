"""Rate limits: token buckets per operation, answered in each service's own form."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from localwire import CONFIGURATION, AdvancedTime, Wire, read, xml

import alilocal


@pytest.fixture
def source():
    return AdvancedTime()


@pytest.fixture
def cloud(source):
    with alilocal.LocalCloud(clock=source, seed=7) as running:
        yield running


@pytest.fixture
def wire(cloud):
    with cloud.session() as session:
        yield Wire(cloud, session, cloud.endpoint)


def codes(wire, count):
    """Return the codes of so many calls, None for those that were answered."""
    return [wire.list().json().get("Code") for _ in range(count)]


def test_a_burst_and_then_a_rate(wire, cloud, source):
    """As many calls as the burst allows are answered at once, and then those for which the bucket has filled."""
    limit = cloud.limits.add(2, burst=3, service="paiautoml", operation="ListHpoExperiments")
    assert codes(wire, 5) == [None] * 3 + ["Throttling.User"] * 2
    source.advance(0.5)
    assert codes(wire, 2) == [None, "Throttling.User"]
    source.advance(60)
    assert codes(wire, 4) == [None] * 3 + ["Throttling.User"]
    assert limit.refused == 4


def test_small_steps_of_time_add_up(wire, cloud, source):
    """A token grows in many steps as it does in one."""
    cloud.limits.add(1, service="paiautoml")
    assert codes(wire, 2) == [None, "Throttling.User"]
    for _ in range(9):
        source.advance(0.1)
        assert codes(wire, 1) == ["Throttling.User"]
    source.advance(0.1 + 1e-6)
    assert codes(wire, 1) == [None]


def test_each_operation_has_its_own_bucket(wire, cloud):
    """Without an operation, a limit is one for each; other operations and services are not affected."""
    cloud.queues.create("q")
    cloud.limits.add(1, service="paiautoml")
    assert codes(wire, 2) == [None, "Throttling.User"]
    assert wire.create(Name="demo", HpoExperimentConfiguration=CONFIGURATION).json()["ExperimentId"]
    assert wire.smq("GET", "/queues").ok
    cloud.limits.clear()
    assert codes(wire, 2) == [None, None]


def test_all_keys_of_the_account_share_a_bucket(wire, cloud):
    """A second user of the account finds the bucket as the first one has left it."""
    cloud.limits.add(1, service="paiautoml")
    cloud.credentials.register("second", "secret", user_id="7")
    assert codes(wire, 1) == [None]
    wire.key = ("second", "secret")
    assert codes(wire, 1) == ["Throttling.User"]


def test_a_call_that_is_not_recognized_takes_nothing(wire, cloud):
    """A call with a wrong signature belongs to no account, and uses up no limit."""
    cloud.limits.add(1, service="paiautoml")
    wrong = wire.pai("GET", "/api/automl/v1/hpo/experiments", "ListHpoExperiments", secret="wrong")
    assert wrong.json()["Code"] == "SignatureDoesNotMatch"
    assert codes(wire, 2) == [None, "Throttling.User"]


def test_several_limits_apply_together(wire, cloud, source):
    """A call needs a token of each limit that covers it, and takes none if one of them is empty."""
    cloud.limits.add(10, burst=10)
    cloud.limits.add(1, service="paiautoml", operation="ListHpoExperiments")
    assert codes(wire, 3) == [None] + ["Throttling.User"] * 2
    general, special = cloud.limits.list()
    assert (general.refused, special.refused) == (0, 2)
    assert general.buckets["paiautoml ListHpoExperiments"][0] == 9


def test_the_gateway_answers_with_400(wire, cloud):
    """The services behind the gateway answer with 400, a request id and a Throttling code."""
    cloud.limits.add(1)
    wire.list()
    answer = wire.list()
    assert (answer.status_code, answer.json()["Code"]) == (400, "Throttling.User")
    assert answer.json()["RequestId"] == answer.headers["x-acs-request-id"]
    assert [entry.code for entry in cloud.requests] == [None, "Throttling.User"]


def test_smq_answers_with_429(wire, cloud):
    """SMQ answers as its page on flow limiting says."""
    cloud.queues.create("q")
    cloud.limits.add(1, service="smq", operation="SendMessage")
    message = xml("Message", MessageBody="aGk=")
    assert wire.smq("POST", "/queues/q/messages", message).ok
    answer = wire.smq("POST", "/queues/q/messages", message)
    assert (answer.status_code, read(answer)["Code"]) == (429, "TooManyRequests")
    assert len(cloud.queues["q"].messages) == 1


def test_tablestore_answers_with_403(cloud):
    """Tablestore has an error for operations on rows, and another one for those on tables."""
    with cloud.session() as session:
        cloud.limits.add(0, burst=1, service="tablestore")
        headers = {"x-ots-apiversion": "2015-12-31"}
        found = {}
        for name in ("GetRow", "ListTable"):
            cloud.limits.take("tablestore", name)
            found[name] = session.post(f"{cloud.endpoint}/{name}", headers=headers)
    assert {answer.status_code for answer in found.values()} == {403}
    assert b"OTSNotEnoughCapacityUnit" in found["GetRow"].content
    assert b"OTSQuotaExhausted" in found["ListTable"].content


@pytest.mark.parametrize(("nonces", "code"), [("kept", None), ("used", "SignatureNonceUsed")])
def test_the_nonce_of_a_throttled_call(wire, cloud, source, nonces, code):
    """A throttled call may be repeated as it is, or needs another nonce, as a switch says."""
    cloud.behaviour.throttled_nonce = nonces
    cloud.limits.add(1, service="paiautoml")
    path, again = "/api/automl/v1/hpo/experiments", {"x_acs_signature_nonce": "again"}
    wire.list()
    assert wire.pai("GET", path, "ListHpoExperiments", **again).json()["Code"] == "Throttling.User"
    source.advance(1)
    assert wire.pai("GET", path, "ListHpoExperiments", **again).json().get("Code") == code


def test_threads_share_the_bucket():
    """Calls at the same time take no more tokens than there are."""
    with alilocal.LocalCloud(clock=AdvancedTime()) as cloud, ThreadPoolExecutor(8) as threads:
        cloud.limits.add(0, burst=5, service="smq", operation="ListQueue")

        def ask(_):
            with cloud.session() as session:
                return Wire(cloud, session, cloud.endpoint).smq("GET", "/queues").status_code

        assert sorted(threads.map(ask, range(20))) == [200] * 5 + [429] * 15


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"per_second": -1}, "per_second: -1"),
        ({"per_second": float("nan")}, "per_second: nan"),
        ({"per_second": "2"}, "per_second"),
        ({"per_second": 1, "burst": 0}, "burst: 0"),
        ({"per_second": 1, "service": "oss"}, "no such service: oss"),
        ({"per_second": 1, "operation": "Nothing"}, "no such operation: Nothing"),
        ({"per_second": 1, "service": "sts", "operation": "SendMessage"}, "no such operation: SendMessage"),
    ],
)
def test_invalid_limits_are_refused(cloud, arguments, problem):
    """A limit that could never apply is refused."""
    with pytest.raises(ValueError, match=problem):
        cloud.limits.add(**arguments)
    assert cloud.limits.list() == []


def test_a_snapshot_keeps_limits(wire, cloud, source):
    """A cloud that loads a snapshot has its limits, with the tokens that were left; a reset removes them."""
    cloud.limits.add(1, burst=2, service="paiautoml")
    assert codes(wire, 2) == [None, None]
    with alilocal.LocalCloud(clock=source) as other, other.session() as session:
        other.load(cloud.snapshot())
        assert codes(Wire(other, session, other.endpoint), 1) == ["Throttling.User"]
        other.reset()
        assert other.limits.list() == []


def test_limits_over_http(cloud):
    """The control API shows, adds and removes limits, and refuses those that make no sense."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        session.trust_env = False
        url = f"{server.url}/_alilocal/limits"
        given = {"service": "smq", "operation": "SendMessage", "perSecond": 5, "burst": 9}
        made = session.post(url, json=given, timeout=5).json()
        assert made == {"id": made["id"], **given, "refused": 0}
        assert session.get(url, timeout=5).json() == {"limits": [made]}
        assert session.post(url, json={"perSecond": 5}, timeout=5).json()["burst"] == 5
        for wrong in (
            {},
            {"perSecond": "many"},
            {"perSecond": 1, "color": "red"},
            {"perSecond": 1, "service": "x"},
        ):
            assert session.post(url, json=wrong, timeout=5).status_code == 400
        assert session.delete(
            f"{url}/{made['id']}", headers={"Content-Type": "application/json"}, timeout=5
        ).ok
        assert (
            session.delete(f"{url}/99", headers={"Content-Type": "application/json"}, timeout=5).status_code
            == 404
        )
        assert len(cloud.limits.list()) == 1
        assert session.delete(url, headers={"Content-Type": "application/json"}, timeout=5).ok
        assert cloud.limits.list() == []
