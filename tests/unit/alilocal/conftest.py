"""A cloud, and a client of it in-process and over HTTP."""

from __future__ import annotations

import signal
import sys

import pytest
import requests
from localwire import Wire

import alilocal
from alilocal.__main__ import main
from support.budget import CI_BUDGET


@pytest.fixture
def cloud():
    with alilocal.LocalCloud(seed=7) as running:
        yield running


def pytest_itemcollected(item):
    """Let a test with a `wire` run over one of the two ways by default, because they differ only in the transport."""
    if "wire" in item.fixturenames and hasattr(item, "callspec"):
        item.add_marker(pytest.mark.one_of("wire", budget=CI_BUDGET))


@pytest.fixture(params=["in-process", "http"])
def wire(request, cloud):
    """The same client over both ways in."""
    if request.param == "in-process":
        with cloud.session() as session:
            yield Wire(cloud, session, cloud.endpoint)
        return
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        session.trust_env = False
        yield Wire(cloud, session, server.url)


@pytest.fixture
def read_refusal(monkeypatch, capsys):
    """Return a function that runs `alilocal` in this process, with options that it refuses, and returns its error."""

    def run(options):
        monkeypatch.setattr(sys, "argv", ["alilocal", *options])
        monkeypatch.setattr(signal, "signal", lambda *_: None)  # its handlers would outlast the test
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run
