"""Faults: each kind, before and after the service acted, in-process and over HTTP."""

from __future__ import annotations

import pytest
import requests
from localwire import Wire

import alilocal

CREATE = "CreateHpoExperiment"


def strike(cloud, kind, **more):
    return cloud.faults.add(service="paiautoml", operation=CREATE, kind=kind, **more)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_connections_that_break(wire, cloud, kind, when):
    """The caller gets a connection error; whether the experiment exists depends on when it was struck."""
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
    """In-process nobody waits: the time-out is raised, and the service has acted or not as told."""
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        strike(cloud, "stall", when="after")
        with pytest.raises(requests.ReadTimeout):
            wire.create()
    assert len(cloud.experiments) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stall_over_http_holds_the_caller(cloud, when):
    """Over HTTP no byte comes until the caller gives up."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        wire = Wire(cloud, session, server.url)
        strike(cloud, "stall", when=when)
        session.send = _impatient(session.send)
        with pytest.raises(requests.ReadTimeout):
            wire.create()
        assert len(cloud.experiments) == (when == "after")


def _impatient(send):
    return lambda prepared, **_: send(prepared, timeout=0.05)


def test_a_stall_over_http_may_end(cloud):
    """With a number of seconds the connection closes after them, without an answer."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        strike(cloud, "stall", seconds=0.02)
        with pytest.raises(requests.ConnectionError):
            Wire(cloud, session, server.url).create()


@pytest.mark.parametrize(
    ("status", "code"), [(429, "Throttling.User"), (503, "ServiceUnavailable"), (418, "UnknownError")]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_statuses(wire, cloud, status, code, when):
    """An error status comes in the service's own form, with its usual code and the headers given."""
    strike(cloud, "status", status=status, when=when, headers={"x-acs-retry-after": "20"})
    answer = wire.create()
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    assert answer.headers["x-acs-retry-after"] == "20"
    assert len(cloud.experiments) == (when == "after")
    assert cloud.requests[-1].code == code


def test_answers_that_are_damaged(wire, cloud):
    """Half a body, another type, and a page of a proxy."""
    strike(cloud, "malformed", when="after")
    strike(cloud, "wrong_content_type", when="after")
    strike(cloud, "html", when="after")
    with pytest.raises(requests.JSONDecodeError):
        wire.create().json()
    assert wire.create().headers["Content-Type"] == "application/octet-stream"
    page = wire.create()
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html")
    assert len(cloud.experiments) == 3


def test_which_calls_are_struck(wire, cloud):
    """A fault strikes from its n-th call on, so often as told, and its own operation only."""
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
    """With a probability the same seed strikes the same calls."""

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
        {"kind": "status"},
        {"kind": "reset", "nth": 0},
        {"kind": "reset", "probability": 2},
        {"kind": "reset", "service": "ecs"},
        {"kind": "reset", "operation": "CreateHpoExperimnet"},
        {"kind": "reset", "service": "smq", "operation": CREATE},
    ],
)
def test_faults_that_could_never_strike_are_refused(cloud, wrong):
    """A fault with a slip in it is an error at once, not a test that passes for nothing."""
    with pytest.raises(ValueError, match=r"\w"):
        cloud.faults.add(**wrong)
