"""A cloud, and a client of it in-process and over HTTP."""

from __future__ import annotations

import pytest
import requests
from localwire import Wire

import alilocal


@pytest.fixture
def cloud():
    with alilocal.LocalCloud(seed=7) as running:
        yield running


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
