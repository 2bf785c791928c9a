"""The deployment, rehearsed: the files of infra/serverless against the local cloud, with the calls of its tools.

The stack is what `alilocal --init` makes of resources.yaml. The function, its versions, its alias and its trigger are
made of s.yaml with the vendor's SDK, in the calls that `release.py` causes through Serverless Devs and its component
fc3, and with a key that has deployer.json. Then messages go through the code package that `hpoq package` built, under
the policy of the deployed role, and with no other endpoint than those of the real cloud.
"""

import base64
import hmac
import json
import re
import time
from email.utils import formatdate
from pathlib import Path

import fc2
import pytest
import requests
import yaml
from alibabacloud_fc20230330 import models as m
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config

import alilocal
from alilocal.fc import host
from alilocal.initfile import init_from
from support.building import interpreter, with_interpreters

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/serverless"
REGION, INSTANCE = "cn-hangzhou", "hpoq-example"
REQUEST = json.loads((ROOT / "events/requests/minimal.json").read_text())


def function_props(cloud):
    """Return the props of the function in s.yaml, with the variables filled in as the CLI does."""
    values = {"vars.region": REGION, "vars.instance": INSTANCE, "config('AccountID')": cloud.account_id}
    values |= {"vars.suffix": "", "vars.name": "-"}
    text = re.sub(
        r"\$\{([^}]+)\}", lambda found: values.get(found[1], found[0]), (FOLDER / "s.yaml").read_text()
    )
    return yaml.safe_load(text)["resources"]["function"]["props"]


class Operator:
    """One who deploys with a key that has deployer.json and no other permission."""

    def __init__(self, server, package):
        self.cloud, self.url, self.package = server.cloud, server.url, Path(package)
        policy = json.loads((FOLDER / "policies/deployer.json").read_text())
        self.cloud.credentials.register("deployer", "secret", user_id="7", policy=policy)
        endpoint = f"127.0.0.1:{server.port}"
        self.client = Client(
            Config(access_key_id="deployer", access_key_secret="secret", endpoint=endpoint, protocol="http")
        )
        self.props = function_props(self.cloud)
        self.name = self.props["functionName"]

    def upload(self):
        """Upload the package with a temporary key, and return where it is."""
        path = "/2016-08-15/tempBucketToken"
        old = fc2.Client(endpoint=self.url, accessKeyID="deployer", accessKeySecret="secret")
        token = old._do_request("GET", path, old._build_common_headers("GET", path)).json()
        key, name = token["credentials"], f"{self.cloud.account_id}/{token['objectName']}"
        place, date = f"/{token['ossBucket']}/{name}", formatdate(usegmt=True)
        text = f"PUT\n\n\n{date}\nx-oss-security-token:{key['SecurityToken']}\n{place}"
        digest = base64.b64encode(hmac.new(key["AccessKeySecret"].encode(), text.encode(), "sha1").digest())
        headers = {
            "Date": date,
            "x-oss-security-token": key["SecurityToken"],
            "Authorization": f"OSS {key['AccessKeyId']}:{digest.decode()}",
        }
        answer = requests.put(self.url + place, self.package.read_bytes(), headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return {"ossBucketName": token["ossBucket"], "ossObjectName": name}

    def deploy_function(self, **environment):
        """`s function deploy --function`: create or update the function."""
        own = ("region", "triggers", "code")
        members = {name: value for name, value in self.props.items() if name not in own}
        members["role"] = f"acs:ram::{self.cloud.account_id}:role/{self.props['role']}"
        members["environmentVariables"] = {**members["environmentVariables"], **environment}
        members["code"] = self.upload()
        try:
            self.client.get_function(self.name, m.GetFunctionRequest())
        except AlibabaCloudException as exc:
            assert exc.code == "FunctionNotFound"
            body = m.CreateFunctionInput().from_map(members)
            self.client.create_function(m.CreateFunctionRequest(body=body))
        else:
            body = m.UpdateFunctionInput().from_map(members)
            self.client.update_function(self.name, m.UpdateFunctionRequest(body=body))

    def publish(self):
        """`s function version publish`."""
        request = m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
        return self.client.publish_function_version(self.name, request).body.version_id

    def start(self, version):
        """`s function invoke`: an event without messages, before the alias names the version."""
        request = m.InvokeFunctionRequest(qualifier=version, body=b"[]")
        return json.loads(self.client.invoke_function(self.name, request).body.read())

    def point(self, version, weights=None):
        """`s function alias publish`: create or update the alias."""
        try:
            self.client.get_alias(self.name, "live")
        except AlibabaCloudException as exc:
            assert exc.code == "AliasNotFound"
            body = m.CreateAliasInput(alias_name="live", version_id=version)
            self.client.create_alias(self.name, m.CreateAliasRequest(body=body))
        else:
            body = m.UpdateAliasInput(version_id=version, additional_version_weight=weights or {})
            self.client.update_alias(self.name, "live", m.UpdateAliasRequest(body=body))

    def deploy_triggers(self):
        """`s function deploy --trigger`: the triggers of s.yaml."""
        for trigger in self.props["triggers"]:
            members = {**trigger, "triggerConfig": json.dumps(trigger["triggerConfig"])}
            body = m.CreateTriggerInput().from_map(members)
            self.client.create_trigger(self.name, m.CreateTriggerRequest(body=body))

    @property
    def stream(self):
        """The event stream from the queue of the requests."""
        [found] = [one for one in self.cloud.streams if one.queue_name == "hpo-requests"]
        return found

    def remove(self):
        """`s function remove`: triggers, aliases, versions, and the function."""
        for one in self.client.list_triggers(self.name, m.ListTriggersRequest()).body.triggers:
            self.client.delete_trigger(self.name, one.trigger_name)
        for one in self.client.list_aliases(self.name, m.ListAliasesRequest()).body.aliases:
            self.client.delete_alias(self.name, one.alias_name)
        versions = self.client.list_function_versions(self.name, m.ListFunctionVersionsRequest())
        for one in versions.body.versions:
            self.client.delete_function_version(self.name, one.version_id)
        self.client.delete_function(self.name)

    def send(self, key):
        """Put a request into the queue, and return the event that answers it and the version that took it."""
        body, seen = {**REQUEST, "idempotencyKey": key}, len(self.events())
        self.cloud.queues["hpo-requests"].send(json.dumps(body))

        def answers():
            """Return its events; a result of an earlier request may come at any time."""
            return [
                one
                for one in self.events()[seen:]
                if one["data"]["producerKey"] == key and not one["type"].endswith("finished.v1")
            ]

        wait_for(self, answers, seconds=3)
        assert self.stream.wait_idle(60)
        calls = [
            (call.started_at, function.settings.qualifier)
            for function in self.cloud.functions
            for call in function.invocations
        ]
        return answers()[-1], max(calls)[1]

    def events(self):
        return [json.loads(one.body) for one in self.cloud.topics["hpo-results"].published]

    def log(self):
        """Return what an operator would look at: calls that failed, and the log of the function."""
        failed = [one for one in self.cloud.requests if one.code]
        logs = [call.result.log for function in self.cloud.functions for call in function.invocations]
        return f"{failed}\n{''.join(logs)}"


@pytest.fixture
def operator(built, monkeypatch):
    """A local cloud with the stack of resources.yaml, and one who deploys to it."""
    interpreter("3.12")
    monkeypatch.setenv("PATH", with_interpreters())
    host.find_python.cache_clear()
    package = built("--runtime", "python3.12")["packages"][0]["path"]
    with alilocal.serve(cloud=alilocal.LocalCloud(region=REGION)) as server:
        made = init_from(server.cloud, FOLDER / "resources.yaml", {"Instance": INSTANCE})
        assert made.notes == []
        yield Operator(server, package)
        server.cloud.close()


def test_a_message_goes_through_the_deployment_and_its_releases(operator):
    """Deploy, canary, promote, rollback and remove; each version takes messages under the role's policy."""
    cloud = operator.cloud
    operator.deploy_function()
    assert operator.publish() == "1"
    assert "summary" in operator.start("1")
    operator.point("1")
    operator.deploy_triggers()
    first, version = operator.send("first")
    assert (first["type"], version) == ("com.hpoq.experiment.created.v1", "1"), operator.log()
    [experiment] = cloud.experiments
    assert experiment.name == REQUEST["experiment"]["Name"]
    # All calls of the function were made with the keys of its instances, which have the role's policy.
    own = {one.operation for one in cloud.requests if (one.caller or "").startswith("c-")}
    assert {"CreateHpoExperiment", "PutRow", "PublishMessage"} <= own
    assert [one for one in cloud.requests if (one.caller or "").startswith("c-") and one.code] == []

    operator.deploy_function(HPOQ_CONCURRENCY="8")
    assert operator.publish() == "2"
    operator.point("1", {"2": 1.0})
    assert operator.send("canary")[1] == "2"
    operator.point("2")
    assert operator.send("promoted")[1] == "2"
    operator.point("1")
    assert operator.send("back")[1] == "1"
    assert len(cloud.experiments) == 4
    # Versions share the records: a repeated request creates nothing.
    again, _ = operator.send("first")
    assert again["id"] == first["id"]
    assert len(cloud.experiments) == 4

    operator.remove()
    assert (cloud.streams, list(cloud.functions), cloud.services.fc.registry.entries) == ([], [], {})


def test_a_rollback_delivers_what_a_bad_version_left(operator):
    """The trigger is synchronous: the stream sees that a version fails, and tries again with the live version."""
    cloud = operator.cloud
    operator.deploy_function()
    operator.publish()
    operator.props["handler"] = "hpoq.missing.handler"
    operator.props["instanceLifecycleConfig"] = {}
    operator.deploy_function()
    operator.publish()
    assert "errorMessage" in operator.start("2")
    operator.point("2")
    operator.deploy_triggers()
    cloud.queues["hpo-requests"].send(json.dumps(REQUEST))
    wait_for(operator, lambda: len(operator.stream.deliveries) >= 2, seconds=3)
    assert {one.error for one in operator.stream.deliveries} == {"UnhandledInvocationError"}
    assert operator.events() == []
    operator.point("1")
    wait_for(operator, operator.events, seconds=512)
    assert [one["type"] for one in operator.events()] == ["com.hpoq.experiment.created.v1"]


def wait_for(operator, condition, seconds):
    """Wait until `condition` holds, and advance the clock by `seconds` while the stream only waits.

    It waits for more messages of a batch, three seconds as s.yaml says, and for the next attempt. The clock is
    advanced once for each of these waits, however late the thread of the stream is: later, results come as well.
    """
    changed, stream = operator.cloud.changed, operator.stream
    until, advanced_at = time.monotonic() + 120, None
    with changed:
        while not condition():
            assert time.monotonic() < until, operator.log()
            state = (stream.held_ids, len(stream.deliveries))
            if stream.held_ids and not stream.running_ids and state != advanced_at:
                operator.cloud.clock.advance(seconds)
                advanced_at = state
            changed.wait(1)
