"""The official SDK of PAI AutoML, unmodified, against the local cloud over HTTP."""

from __future__ import annotations

import hashlib
import json
import time
import uuid

import pytest
import requests
from alibabacloud_openapi_util.client import Client as Signer
from alibabacloud_paiautoml20220828 import models
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.models import Config
from Tea.request import TeaRequest

import alilocal
from hpoq.testing import FakeClock
from support.deployment import vendor_config


@pytest.fixture
def server():
    """A local cloud whose clock stands still, so that an experiment keeps its first status."""
    cloud = alilocal.LocalCloud(seed=3, clock=FakeClock(time.time()))
    with alilocal.serve(cloud=cloud) as running:
        yield running


def client_of(server, **overrides):
    return Client(Config(**vendor_config(server, region_id=server.cloud.region, **overrides)))


@pytest.fixture
def client(server):
    return client_of(server)


def configuration():
    return models.HpoExperimentConfig(
        platform_config=models.HpoExperimentConfigPlatformConfig(name="MaxCompute", cmd=["pai -name kmeans"]),
        metric_config=models.HpoExperimentConfigMetricConfig(
            metric_type="table", metric_source=["select 1"], final_mode="best", metric_dict={"auc": 1}
        ),
        odps_config=models.HpoExperimentConfigOdpsConfig(access_id="i", access_key="k", project_name="p"),
        search_space={"${n}": {"_type": "choice", "_value": [1, 2]}},
    )


def create(client, **members):
    request = models.CreateHpoExperimentRequest(hpo_experiment_configuration=configuration(), **members)
    return client.create_hpo_experiment(request).body


def test_create_get_and_list(server, client):
    """The SDK creates an experiment, reads it back whole, and finds it in a list."""
    made = create(client, name="a b+c*~/é", workspace_id="12345", description="测试", accessibility="PUBLIC")
    assert made.experiment_id
    assert made.request_id
    assert made.code is None
    shown = client.get_hpo_experiment(made.experiment_id).body
    assert (shown.name, shown.description, shown.status) == ("a b+c*~/é", "测试", "CREATED")
    assert shown.hpo_experiment_configuration["search_space"] == configuration().search_space
    assert shown.hpo_experiment_configuration["odps_config"]["access_key"] == "********"
    request = models.ListHpoExperimentsRequest(
        name="a b+c*~/é",
        workspace_id="12345",
        min_create_time="2023-03-31 10:29:30",
        page_number=1,
        page_size=10,
        include_config_data="True",
        sort_by="GmtCreateTime",
        order="DESC",
    )
    listed = client.list_hpo_experiments(request).body
    assert listed.total_count == 1
    (row,) = listed.experiments
    assert row.experiment_id == made.experiment_id
    assert row.creator == server.cloud.account_id
    assert "k" not in row.config_ini.partition("access_key=")[2].split("\n")[0]


def test_stop_and_delete(server, client):
    """The SDK stops and deletes an experiment; then it is no more."""
    experiment_id = create(client).experiment_id
    stopped = client.stop_hpo_experiment(experiment_id).body
    assert (stopped.exp_id, stopped.status) == (experiment_id, "TERMINATING")
    assert client.delete_hpo_experiment(experiment_id).body.code is None
    assert client.get_hpo_experiment(experiment_id).body.code == "INVALID_USER_OR_EXP"
    assert client.list_hpo_experiments(models.ListHpoExperimentsRequest()).body.total_count == 0


def test_an_id_that_needs_encoding(client):
    """The SDK encodes an id into the path, and the signature still holds."""
    assert "'a/b c'" in client.get_hpo_experiment("a/b c").body.message


def test_service_errors_in_both_statuses(server, client):
    """A service error is a body with a code, or an exception, as the switch says."""
    bad = models.CreateHpoExperimentRequest(accessibility="NOBODY")
    assert client.create_hpo_experiment(bad).body.code == "INVALID_INPUT_PARAMS"
    server.cloud.behaviour.error_status = 400
    with pytest.raises(AlibabaCloudException) as caught:
        client.create_hpo_experiment(bad)
    assert caught.value.code == "INVALID_INPUT_PARAMS"


def test_security_token(server):
    """The SDK's STS form is taken, also for keys that need their token."""
    server.cloud.credentials.register("STS.a", "b", user_id="7", security_token="c+/==")
    client = client_of(server, access_key_id="STS.a", access_key_secret="b", security_token="c+/==")
    experiment_id = create(client).experiment_id
    assert client.get_hpo_experiment(experiment_id).body.creator == "7"


@pytest.mark.parametrize(
    ("overrides", "code", "status"),
    [
        ({"access_key_secret": "wrong"}, "SignatureDoesNotMatch", 400),
        ({"access_key_id": "nobody"}, "InvalidAccessKeyId.NotFound", 404),
        ({"security_token": "wrong"}, "InvalidSecurityToken.MismatchWithAccessKey", 400),
    ],
)
def test_wrong_credentials(server, overrides, code, status):
    """The SDK raises the gateway's code and status for credentials that are wrong."""
    with pytest.raises(AlibabaCloudException) as caught:
        create(client_of(server, **overrides))
    assert (caught.value.code, caught.value.status_code) == (code, status)
    assert server.cloud.experiments == []


def test_throttling(server, client):
    """The SDK sees an injected throttling, and how long to wait."""
    server.cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        status=429,
        code="Throttling.User",
        headers={"x-acs-retry-after": "1500"},
    )
    with pytest.raises(AlibabaCloudException) as caught:
        create(client)
    assert caught.value.code == "Throttling.User"
    assert caught.value.retry_after == 1500
    assert create(client).experiment_id


def signed_by_vendor(server, method, path, action, query, body):
    """Return a request signed by the vendor's own code, for what its SDK lacks."""
    request = TeaRequest()
    request.method, request.pathname, request.query = method, path, query
    digest = hashlib.sha256(body).hexdigest()
    request.headers = {
        "host": f"127.0.0.1:{server.port}",
        "x-acs-action": action,
        "x-acs-version": "2022-08-28",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": uuid.uuid4().hex,
        "x-acs-content-sha256": digest,
    }
    keys = (server.cloud.access_key_id, server.cloud.access_key_secret)
    authorization = Signer.get_authorization(request, "ACS3-HMAC-SHA256", digest, *keys)
    headers = {**request.headers, "Authorization": authorization}
    return requests.request(method, server.url + path, params=query, headers=headers, data=body, timeout=60)


def test_tags_signed_by_the_vendors_code(server):
    """Tags, which no SDK release carries, are created, filtered by and shown."""
    tags = [{"Key": "hpoq-key", "Value": "m 1"}]
    body = json.dumps({"Name": "t", "Tag": tags}).encode()
    path = "/api/automl/v1/hpo/experiment"
    made = signed_by_vendor(server, "POST", path, "CreateHpoExperiment", {}, body).json()
    signed_by_vendor(server, "POST", path, "CreateHpoExperiment", {}, b"{}")
    query = {"Tag": json.dumps(tags), "PageNumber": "1"}
    listed = signed_by_vendor(server, "GET", f"{path}s", "ListHpoExperiments", query, b"").json()
    assert [(row["ExperimentId"], row["Tags"]) for row in listed["Experiments"]] == [
        (made["ExperimentId"], tags)
    ]


def test_denial(server):
    """The SDK has what RAM lacks from the gateway."""
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "mns:*", "Resource": "*"}]}
    server.cloud.credentials.register("least", "secret", user_id="7", policy=policy)
    client = client_of(server, access_key_id="least", access_key_secret="secret")
    with pytest.raises(AlibabaCloudException) as caught:
        create(client, name="x")
    assert (caught.value.status_code, caught.value.code) == (403, "Forbidden.RAM")
    assert caught.value.access_denied_detail["AuthAction"] == "paiautoml:CreateHpoExperiment"


def test_a_client_whose_clock_is_late(server_ahead):
    """The gateway refuses a request from a client whose clock is late."""
    with pytest.raises(AlibabaCloudException) as caught:
        create(client_of(server_ahead), name="x")
    assert (caught.value.status_code, caught.value.code) == (400, "InvalidTimeStamp.Expired")
