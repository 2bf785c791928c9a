"""Real stores of every kind; Powertools' idempotency is imported without boto3, as on FC."""

import uuid

import pytest

import alilocal
from alilocal.tablestore.model import STRING
from fcruntime.powertools import idempotency_without_boto3
from support import deployment
from support.clock import ShiftedClock
from support.once import find_shared_folder

idempotency_without_boto3()


@pytest.fixture
def server():
    """A local cloud on a port."""
    with alilocal.serve() as running:
        yield running


@pytest.fixture
def tablestore_url(monkeypatch):
    """Return a function that creates a table in a local cloud and returns its URL."""
    with alilocal.serve() as server:
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", server.cloud.access_key_id)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", server.cloud.access_key_secret)

        def make():
            name = f"t{uuid.uuid4().hex}"
            server.cloud.tables.create(name, [("key", STRING)])
            return deployment.tablestore_url(server, name)

        yield make


@pytest.fixture
def store_urls(redis_server, tablestore_url, tmp_path):
    """Return, by kind of store, a function that creates an empty store and returns its URL."""
    return {
        "sqlite": lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.sqlite3",
        "redis": lambda: f"{redis_server}?prefix={uuid.uuid4()}:",
        "tablestore": tablestore_url,
    }


@pytest.fixture
def installs(request, tmp_path_factory):
    """Return the folder for what tests install: in pytest's cache, so that the next run finds it there."""
    cache = getattr(request.config, "cache", None)
    return cache.mkdir("installs") if cache else find_shared_folder(tmp_path_factory) / "installs"


@pytest.fixture
def server_ahead():
    """A local cloud whose clock is more than a quarter of an hour ahead, so that every request is too old."""
    with alilocal.serve(cloud=alilocal.LocalCloud(clock=ShiftedClock(1000))) as server:
        yield server
