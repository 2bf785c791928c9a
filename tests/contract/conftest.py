"""Every sort of store, from where it really is; Powertools' idempotency is imported without boto3, as on FC."""

import os
import sys
import time
import uuid
from pathlib import Path

import pytest

import alilocal
from alilocal.tablestore.model import STRING
from fcruntime.powertools import idempotency_without_boto3

idempotency_without_boto3()


@pytest.fixture
def tablestore_url(monkeypatch):
    """Makes a URL of a new table each time, which the local cloud serves."""
    with alilocal.serve() as server:
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", server.cloud.access_key_id)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", server.cloud.access_key_secret)

        def make():
            name = f"t{uuid.uuid4().hex}"
            server.cloud.tables.create(name, [("key", STRING)])
            return f"tablestore://127.0.0.1:{server.port}/{name}?instance=local&scheme=http"

        yield make


@pytest.fixture
def store_urls(redis_server, tablestore_url, tmp_path):
    """Makes a URL of each sort of store, empty each time."""
    return {
        "sqlite": lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.sqlite3",
        "redis": lambda: f"{redis_server}?prefix={uuid.uuid4()}:",
        "tablestore": tablestore_url,
    }


@pytest.fixture
def installs(tmp_path_factory):
    """The folder for what tests install for this Python; TEST_INSTALLS names one that is kept."""
    kept = os.environ.get("TEST_INSTALLS")
    folder = Path(kept) if kept else tmp_path_factory.getbasetemp().parent / "installs"
    return folder / "{}.{}".format(*sys.version_info)


class Ahead:
    """More than a quarter of an hour before the clocks of the SDKs."""

    def now(self):
        return time.time() + 1000


@pytest.fixture
def server_ahead():
    """A local cloud for which every request comes too late."""
    with alilocal.serve(cloud=alilocal.LocalCloud(clock=Ahead())) as server:
        yield server
