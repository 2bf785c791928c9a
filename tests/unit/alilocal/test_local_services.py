"""The services have the same form, and each says by itself which requests are its own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from recordrequests import read_requests

import alilocal
from alilocal.core.http import Request
from alilocal.core.switches import GatewaySwitches
from alilocal.services import Behaviour, Services

FOLDER = Path(alilocal.__file__).parent
FILES = {"__init__.py", "routes.py", "calls.py", "model.py", "wire.py", "errors.py"}
MOST_LINES = 300
RECORDED = list(read_requests())


@pytest.fixture(scope="module")
def services():
    with alilocal.LocalCloud() as cloud:
        yield cloud.services


def test_a_recorded_request_is_claimed_by_its_service_alone(services):
    """The order of the services decides nothing: a request that one service claims, no other one claims."""
    for service, operation, kind, request in RECORDED:
        assert [one.name for one in services if one.owns(request)] == [service], (operation, kind)
        route, _ = getattr(services, service).find(request)
        assert route.operation == operation, (service, kind)


def test_every_operation_has_a_recorded_request(services):
    """A new operation needs a test that calls it, and `recordrequests.py`, which records the call."""
    recorded = {(service, operation) for service, operation, _, _ in RECORDED}
    supported = {
        (service.name, route.operation) for service in services for route in service.routes if route.supported
    }
    assert recorded == supported


def test_a_request_for_no_service_is_claimed_by_none(services):
    """No service claims an unknown path, an unknown API version or an unsigned request."""
    for headers in ((), (("x-acs-action", "DoIt"), ("x-acs-version", "1999-01-01"))):
        for target in ("/", "/elsewhere", "/?Action=DoIt&Version=1999-01-01"):
            assert not any(one.owns(Request("POST", target, headers)) for one in services)


def test_a_call_of_an_unsupported_operation_is_refused_and_logged_by_its_name(services):
    """Each service finds the name where its clients write it: in the path, a header or a parameter."""
    for service in services:
        for name in service.unsupported:
            path = f"/{name}" if service is services.tablestore else f"/?Action={name}"
            request = Request("POST", path, (("x-acs-action", name),))
            assert service.operation_named(request) == name
            assert f"{name} " in service.unknown_operation(request).message.replace(".", " ")
    unknown = Request("POST", "/DoIt?Action=DoIt", (("x-acs-action", "DoIt"),))
    assert {service.operation_named(unknown) for service in services} == {"Unknown"}


@pytest.mark.parametrize("service", Services._fields)
def test_every_service_has_the_same_files(service):
    """A service is a folder with the same files, or a single module of at most 300 lines."""
    module = FOLDER / f"{service}.py"
    if module.exists():
        assert len(module.read_text().splitlines()) <= MOST_LINES
    else:
        assert {file.name for file in (FOLDER / service).glob("*.py")} >= FILES


def test_every_switch_belongs_to_one_service():
    """Each service declares its own switches, if it has any; those of the gateway are shared."""
    shared = {one.name for one in fields(GatewaySwitches)}
    own = [one.name for base in Behaviour.__bases__ for one in fields(base) if one.name not in shared]
    assert sorted([*own, *shared]) == sorted(one.name for one in fields(Behaviour))
    assert len(Behaviour.__bases__) == len(list(FOLDER.glob("*/switches.py"))) - 1  # that of core


def test_the_local_cloud_has_no_words_of_its_first_user():
    """alilocal knows no names, event types or requests of the functions that run on it."""
    found = [file for file in FOLDER.rglob("*") if file.suffix in (".py", ".js", ".css", ".md")]
    assert len(found) > 100
    assert [file for file in found if "hpoq" in file.read_text().lower()] == []
