"""The environment in which commands run the function against the local cloud."""

import pytest

import alilocal
from hpoq.settings import Settings
from hpoqctl.cloud import environment, local_store_url
from hpoqctl.services import is_local_cloud


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
        settings = Settings.from_environment(environment(cloud, cloud.endpoint, "sqlite:///:memory:"))
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
def test_a_local_cloud_is_recognised_by_plain_http(url, is_local):
    """Only its own credentials are used for it, and never for another endpoint."""
    assert is_local_cloud(url) is is_local
