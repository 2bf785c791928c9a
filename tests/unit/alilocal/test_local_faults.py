"""Faults: each kind, before and after the service acted, in-process and over HTTP."""

from __future__ import annotations

import pytest
import requests
from localwire import AdvancedTime, Wire

import alilocal
from support.waiting import wait_until

CREATE = "CreateHpoExperiment"


def strike(cloud, kind, **more):
    return cloud.faults.add(service="paiautoml", operation=CREATE, kind=kind, **more)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_connections_that_break(wire, cloud, kind, when):
    """The caller gets a connection error; whether the experiment exists depends on `when`."""
    strike(cloud, kind, when=when)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        wire.create()
    assert len(cloud.experiments) == (when == "after")
    assert wire.create().ok


def test_refused_connections(wire, cloud):
    """A refused call never reaches the service."""
    strike(cloud, "refuse")
    with pytest.raises(requests.ConnectionError):
        wire.create()
    assert cloud.experiments == []
    assert (cloud.requests[-1].status, cloud.requests[-1].fault) == (None, "refuse")


def test_a_stall_in_process_is_a_read_timeout_at_once(cloud):
    """In-process a stall raises the time-out without waiting."""
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        strike(cloud, "stall", when="after")
        with pytest.raises(requests.ReadTimeout):
            wire.create()
    assert len(cloud.experiments) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stall_over_http_holds_the_caller(cloud, when):
    """Over HTTP no byte arrives until the caller gives up."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        wire = Wire(cloud, session, server.url)
        fault = strike(cloud, "stall", when=when)
        session.send = _impatient(session.send)
        with pytest.raises(requests.ReadTimeout):
            wire.create()
        wait_until(lambda: fault.hits)
    # The server has ended its calls: the service has acted, or never will.
    assert len(cloud.experiments) == (when == "after")


def _impatient(send):
    return lambda prepared, **_: send(prepared, timeout=0.05)


def test_a_stall_over_http_may_end(cloud):
    """With `seconds` the connection closes after them, without an answer."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        strike(cloud, "stall", seconds=0.02)
        with pytest.raises(requests.ConnectionError):
            Wire(cloud, session, server.url).create()


@pytest.mark.parametrize(
    ("status", "code"), [(429, "Throttling.User"), (503, "ServiceUnavailable"), (418, "UnknownError")]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_statuses(wire, cloud, status, code, when):
    """An error has the service's own form, the usual code of its status, and the given headers."""
    strike(cloud, "status", status=status, when=when, headers={"x-acs-retry-after": "20"})
    answer = wire.create()
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    assert answer.headers["x-acs-retry-after"] == "20"
    assert len(cloud.experiments) == (when == "after")
    assert cloud.requests[-1].code == code


def test_answers_that_are_damaged(wire, cloud):
    """Answers can be cut, have another type, or be a proxy's page."""
    strike(cloud, "malformed", when="after")
    strike(cloud, "wrong_content_type", when="after")
    strike(cloud, "html", when="after")
    with pytest.raises(requests.JSONDecodeError):
        wire.create().json()
    assert wire.create().headers["Content-Type"] == "application/octet-stream"
    page = wire.create()
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html")
    assert len(cloud.experiments) == 3


def create_with_nonce(wire, nonce):
    """Send a create that is signed with `nonce`, and return the answer."""
    path = "/api/automl/v1/hpo/experiment"
    return wire.pai("POST", path, CREATE, body={}, x_acs_signature_nonce=nonce)


@pytest.mark.parametrize(("when", "repeated"), [("before", 200), ("forwarded", 400), ("after", 400)])
@pytest.mark.parametrize("kind", ["reset", "html", "foreign"])
def test_how_far_a_call_got_decides_about_its_nonce(wire, cloud, kind, when, repeated):
    """Only a call that did not reach the gateway can be repeated with the same nonce."""
    strike(cloud, kind, when=when)
    if kind == "reset":
        with pytest.raises(requests.ConnectionError):
            create_with_nonce(wire, "n")
    else:
        assert create_with_nonce(wire, "n").status_code == 502
    assert len(cloud.experiments) == (when == "after")
    again = create_with_nonce(wire, "n")
    assert again.status_code == repeated
    assert repeated == 200 or again.json()["Code"] == "SignatureNonceUsed"


def test_the_gateway_refuses_before_the_service_errs(wire, cloud):
    """A call that the gateway refuses gets the gateway's error, not the forwarded fault."""
    assert create_with_nonce(wire, "n").ok
    strike(cloud, "status", status=503, when="forwarded")
    assert create_with_nonce(wire, "n").json()["Code"] == "SignatureNonceUsed"
    strike(cloud, "status", status=503, when="forwarded")
    assert create_with_nonce(wire, "m").json()["Code"] == "ServiceUnavailable"
    assert len(cloud.experiments) == 1


@pytest.mark.parametrize(("switch", "repeated"), [("kept", 200), ("used", 400)])
@pytest.mark.parametrize("error", [{"status": 429}, {"status": 400, "code": "Throttling.User"}])
def test_whether_a_throttled_call_uses_its_nonce_up(wire, cloud, switch, repeated, error):
    """A switch decides whether a throttled call uses up its nonce; the service does not act."""
    cloud.behaviour.throttled_nonce = switch
    strike(cloud, "status", **error)
    assert create_with_nonce(wire, "n").json()["Code"] == "Throttling.User"
    assert cloud.experiments == []
    assert create_with_nonce(wire, "n").status_code == repeated


@pytest.mark.parametrize("status", [302, 400, 403, 404, 408, 413, 429, 502])
@pytest.mark.parametrize(
    ("body", "content_type"), [("html", "text/html"), ("empty", None), ("json", "application/json")]
)
def test_foreign_answers_are_not_the_services(cloud, status, body, content_type):
    """Foreign answers have neither a code nor a request id; the service may have acted."""
    strike(cloud, "foreign", status=status, body=body, when="after", headers={"Via": "1.1 proxy"})
    with cloud.session() as session:
        session.get_redirect_target = lambda _answer: None
        answer = Wire(cloud, session, cloud.endpoint).create()
    assert (answer.status_code, answer.headers.get("Content-Type")) == (status, content_type)
    assert answer.headers["Via"] == "1.1 proxy"
    assert "x-acs-request-id" not in answer.headers
    assert body != "json" or set(answer.json()) == {"message"}
    assert answer.headers.get("Location", "").startswith("http://127.0.0.2/") == (status == 302)
    assert len(cloud.experiments) == 1


@pytest.fixture
def source():
    return AdvancedTime(1_800_000_000.0)


@pytest.fixture
def late(source):
    """A cloud on the test's clock, and an in-process client."""
    with alilocal.LocalCloud(seed=7, clock=source) as cloud, cloud.session() as session:
        yield Wire(cloud, session, cloud.endpoint)


def test_a_late_request_acts_once_its_moment_has_come(late, source):
    """The caller gets no answer; the next call, or `deliver_late`, delivers the request when it is due."""
    strike(late.cloud, "late", seconds=30, times=2)
    for _ in range(2):
        with pytest.raises(requests.ReadTimeout):
            late.create()
    assert late.cloud.late == [source.now() + 30] * 2
    source.advance(29)
    assert late.cloud.deliver_late() == 0
    assert late.cloud.experiments == []
    source.advance(1)
    assert late.list().json()["TotalCount"] == 2
    assert (late.cloud.late, late.cloud.deliver_late()) == ([], 0)
    assert [(one.operation, one.fault) for one in late.cloud.requests][-3:-1] == [(CREATE, "late")] * 2


def test_a_late_request_whose_nonce_was_used_meanwhile_is_refused(late, source):
    """The gateway checks the nonce of a late request when it arrives."""
    strike(late.cloud, "late", seconds=30)
    with pytest.raises(requests.ReadTimeout):
        create_with_nonce(late, "n")
    assert create_with_nonce(late, "n").ok
    source.advance(30)
    assert late.cloud.deliver_late() == 1
    assert len(late.cloud.experiments) == 1
    assert late.cloud.requests[-1].code == "SignatureNonceUsed"


def test_a_late_request_may_have_expired(late, source):
    """The gateway checks the date of a late request when it arrives."""
    strike(late.cloud, "late", seconds=901)
    with pytest.raises(requests.ReadTimeout):
        late.create()
    source.advance(901)
    assert late.cloud.deliver_late() == 1
    assert late.cloud.requests[-1].code == "InvalidTimeStamp.Expired"


@pytest.mark.parametrize(("memory", "experiments"), [(900, 1), (0, 2)])
@pytest.mark.parametrize("kind", ["copy", "late"])
def test_copies_act_twice_unless_the_nonce_is_remembered(late, source, kind, memory, experiments):
    """Both `copy`, and `late` after the action, deliver the request a second time."""
    late.cloud.behaviour.nonce_memory_seconds = memory
    strike(late.cloud, kind, seconds=5, when="after")
    if kind == "copy":
        assert late.create().ok
    else:
        with pytest.raises(requests.ReadTimeout):
            late.create()
    assert len(late.cloud.experiments) == 1
    source.advance(5)
    late.cloud.deliver_late()
    assert len(late.cloud.experiments) == experiments


def test_a_late_long_poll_ends_at_once(late, source):
    """A late long poll ends at once, because its caller has left."""
    late.cloud.queues.create("q")
    late.cloud.faults.add(service="smq", operation="ReceiveMessage", kind="late", seconds=1)
    with pytest.raises(requests.ReadTimeout):
        late.smq("GET", "/queues/q/messages?waitseconds=30")
    source.advance(1)
    before = source.now()
    assert late.cloud.deliver_late() == 1
    assert source.now() == before


def test_late_requests_over_http(cloud):
    """Late requests work over HTTP as they do in-process."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        wire = Wire(cloud, session, server.url)
        strike(cloud, "late", seconds=10)
        session.send = _impatient(session.send)
        with pytest.raises(requests.ReadTimeout):
            wire.create()
    assert cloud.experiments == []
    cloud.clock.advance(10)
    assert cloud.deliver_late() == 1
    assert len(cloud.experiments) == 1


def test_which_calls_a_fault_affects(wire, cloud):
    """A fault affects `times` calls of its operation, from the n-th one on."""
    fault = strike(cloud, "status", status=500, nth=2, times=2)
    statuses = [wire.create().status_code for _ in range(4)]
    assert wire.list().ok
    assert statuses == [200, 500, 500, 200]
    assert fault.hits == 2
    forever = strike(cloud, "status", status=500, times=None)
    assert {wire.create().status_code for _ in range(3)} == {500}
    assert forever.hits == 3
    cloud.faults.clear()
    assert wire.create().ok


def test_chance_is_seeded():
    """With a probability, the same seed affects the same calls."""

    def struck():
        with alilocal.LocalCloud(seed=4) as cloud:
            strike(cloud, "html", times=None, probability=0.5)
            return [cloud.faults.take("paiautoml", CREATE) is not None for _ in range(40)]

    assert struck() == struck()
    assert {True, False} == set(struck())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": "reset", "when": "during"},
        {"kind": "refuse", "when": "after"},
        {"kind": "refuse", "when": "forwarded"},
        {"kind": "late"},
        {"kind": "copy"},
        {"kind": "foreign", "body": "xml"},
        {"kind": "status"},
        {"kind": "reset", "nth": 0},
        {"kind": "reset", "probability": 2},
        {"kind": "reset", "service": "ecs"},
        {"kind": "reset", "operation": "CreateHpoExperimnet"},
        {"kind": "reset", "service": "smq", "operation": CREATE},
    ],
)
def test_faults_that_could_never_apply_are_refused(cloud, wrong):
    """An invalid fault is an error at once, so that a test cannot pass without it."""
    with pytest.raises(ValueError, match=r"\w"):
        cloud.faults.add(**wrong)


def test_a_fault_ends_at_a_time_of_the_clock(wire, cloud):
    """A fault with `until` applies to every call before that time, and to none after it."""
    fault = strike(cloud, "status", status=503, times=None, until=cloud.clock.now() + 60)
    assert [wire.create().status_code for _ in range(2)] == [503, 503]
    cloud.clock.advance(61)
    assert wire.create().ok
    assert (fault.hits, fault.seen) == (2, 2)


@pytest.mark.parametrize(("when", "made"), [("forwarded", 0), ("after", 1)])
def test_a_fault_kills_the_caller(wire, cloud, monkeypatch, when, made):
    """The instance that calls is killed, before or after the service acts; the connection breaks."""
    killed = []
    monkeypatch.setattr(cloud, "kill_instance", killed.append)
    strike(cloud, "kill", when=when)
    with pytest.raises(requests.ConnectionError):
        wire.create()
    assert killed == [cloud.access_key_id]
    assert len(cloud.experiments) == made


def test_who_calls_is_not_known_before_the_gateway(cloud):
    with pytest.raises(ValueError, match="the caller is unknown"):
        strike(cloud, "kill")
