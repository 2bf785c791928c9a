"""The environment in which commands run the function against the local cloud, and what its console explains."""

import json

import pytest

import alilocal
from hpoq.clock import SystemClock
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.store import open_store
from hpoq.settings import Settings
from hpoqctl.local import explain_with
from hpoqctl.pipeline import create_pipeline, local_store_url, loopback_credentials, make_environment
from hpoqctl.services import is_local_cloud
from support.request import make_document


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, (2, 5)),
        ({"HPOQ_WATCH_MIN_SECONDS": "10"}, (10, 1800)),
        ({"HPOQ_WATCH_MAX_SECONDS": "90"}, (60, 90)),
    ],
)
def test_results_are_looked_for_often(own, expected, monkeypatch):
    """A person waits for the result, and looks are free; but the user's own settings stay valid together."""
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    with alilocal.LocalCloud() as cloud:
        settings = Settings.from_environment(make_environment(cloud, cloud.endpoint, "sqlite:///:memory:"))
    assert (settings.watch_min_seconds, settings.watch_max_seconds) == expected


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:7600", True),
        (local_store_url("127.0.0.1:7600"), True),
        ("https://i.cn-shanghai.ots.aliyuncs.com", False),
        ("tablestore://i.cn-shanghai.ots.aliyuncs.com/hpoq", False),
        ("tablestore://ots.example.com/hpoq?instance=i&scheme=https", False),
        ("sqlite:///records.db", False),
    ],
)
def test_a_local_cloud_is_recognized_by_plain_http(url, is_local):
    """Only its own credentials are used for it, and never for another endpoint."""
    assert is_local_cloud(url) is is_local


def test_the_console_explains_why_a_request_with_the_key_of_another_one_is_refused():
    """As `hpoq status` does: what the record says is about the other request."""
    with alilocal.LocalCloud() as cloud:
        create_pipeline(cloud)
        transport = Transport(cloud.session(), SystemClock())
        store = open_store(local_store_url("localhost"), transport, loopback_credentials)
        key = derive_key(PRODUCER, "k")
        store.insert(Record(key, State.IN_PROGRESS, "of another request", "o", 0.0, 0.0, 0.0))
        explain = explain_with(cloud, Settings())
        first, *_ = explain("M1", json.dumps({**make_document(), "idempotencyKey": "k"}))
    assert first.startswith(f"The key {key} belongs to a different request.")
