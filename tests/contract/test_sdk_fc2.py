"""The official SDKs of Function Compute 2.0, unmodified, against the local cloud: services that hold functions."""

import base64
import io
import json
import zipfile

import fc2
import pytest
import requests
from alibabacloud_fc20230330.client import Client as NewClient
from alibabacloud_fc20230330.models import ListFunctionsRequest
from alibabacloud_fc_open20210406 import models as m
from alibabacloud_fc_open20210406.client import Client
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions
from Tea.exceptions import TeaException

import alilocal
from support.deployment import vendor_config

CODE = """
import os

def initialize(context):
    os.environ["INITIALIZED"] = "yes"

def handler(event, context):
    if event == b"raise":
        raise KeyError("wrong")
    return f"{RELEASE} {event.decode()} {os.environ.get('INITIALIZED', 'no')}"
"""
TRIGGER = {
    "triggerEnable": True,
    "eventSourceConfig": {
        "eventSourceType": "MNS",
        "eventSourceParameters": {"sourceMNSParameters": {"QueueName": "orders", "IsBase64Decode": False}},
    },
    "runOptions": {"mode": "event-streaming", "errorsTolerance": "ALL"},
}


def zipped(release="1"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.py", f"RELEASE = {release!r}\n{CODE}")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def server():
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=3)) as running:
        yield running
        running.cloud.close()


@pytest.fixture
def client(server):
    return Client(Config(**vendor_config(server)))


@pytest.fixture
def old(server):
    key = {"accessKeyID": server.cloud.access_key_id, "accessKeySecret": server.cloud.access_key_secret}
    return fc2.Client(**key, endpoint=server.url)


def create(client, **members):
    client.create_service(m.CreateServiceRequest(service_name="s", description="d"))
    request = m.CreateFunctionRequest(
        function_name="f",
        runtime="python3.10",
        handler="index.handler",
        code=m.Code(zip_file=zipped()),
        timeout=60,
        **members,
    )
    return client.create_function("s", request).body


def invoke(client, event=b"hello", qualifier=None, **headers):
    request = m.InvokeFunctionRequest(body=event, qualifier=qualifier)
    return client.invoke_function_with_options(
        "s", "f", request, m.InvokeFunctionHeaders(**headers), RuntimeOptions()
    )


def refused(code, status, act):
    with pytest.raises(TeaException) as caught:
        act()
    assert (caught.value.code, caught.value.data["statusCode"]) == (code, status)


def test_services_and_functions_of_2021(client, server):
    """Both are created, read, changed, listed and deleted; a service with functions stays."""
    made = create(client, initializer="index.initialize", initialization_timeout=9)
    assert (made.function_name, made.initializer, made.initialization_timeout) == ("f", "index.initialize", 9)
    assert client.get_service("s", m.GetServiceRequest()).body.description == "d"
    client.update_service("s", m.UpdateServiceRequest(description="e"))
    assert [one.description for one in client.list_services(m.ListServicesRequest()).body.services] == ["e"]
    changed = client.update_function("s", "f", m.UpdateFunctionRequest(timeout=9, memory_size=256)).body
    assert (changed.timeout, changed.memory_size, changed.initializer) == (9, 256, "index.initialize")
    assert client.get_function("s", "f", m.GetFunctionRequest()).body.timeout == 9
    assert client.get_function_code("s", "f", m.GetFunctionCodeRequest()).body.url.startswith(server.url)
    [listed] = client.list_functions("s", m.ListFunctionsRequest()).body.functions
    assert listed.function_name == "f"
    refused("ServiceNotEmpty", 412, lambda: client.delete_service("s"))
    client.delete_function("s", "f")
    client.delete_service("s")
    refused("ServiceNotFound", 404, lambda: client.get_service("s", m.GetServiceRequest()))
    refused("ServiceNotFound", 404, lambda: invoke(client))


def test_calls_of_2021(client):
    """The result, the error of the function and the log tail come as with 3.0."""
    create(client, initializer="index.initialize", initialization_timeout=60)
    answer = invoke(client, x_fc_log_type="Tail")
    assert answer.body == b"1 hello yes"
    assert "FC Invoke End" in base64.b64decode(answer.headers["x-fc-log-result"]).decode()
    assert answer.headers["x-fc-invocation-service-version"] == "LATEST"
    assert invoke(client, b"raise").headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert invoke(client, x_fc_invocation_type="Async").status_code == 202


def test_versions_and_aliases_belong_to_a_service(client):
    """A version publishes all functions of a service, and an alias of it chooses by its weights."""
    create(client)
    client.publish_service_version("s", m.PublishServiceVersionRequest())
    client.update_function("s", "f", m.UpdateFunctionRequest(code=m.Code(zip_file=zipped("2"))))
    published = client.publish_service_version("s", m.PublishServiceVersionRequest(description="two"))
    assert published.body.version_id == "2"
    listed = client.list_service_versions("s", m.ListServiceVersionsRequest()).body.versions
    assert [one.version_id for one in listed] == ["2", "1"]
    assert [invoke(client, qualifier=one).body[:1] for one in ("1", "2", "LATEST")] == [b"1", b"2", b"2"]
    alias = m.CreateAliasRequest(alias_name="live", version_id="1")
    assert client.create_alias("s", alias).body.version_id == "1"
    assert invoke(client, qualifier="live").body == b"1 hello no"
    change = m.UpdateAliasRequest(version_id="1", additional_version_weight={"2": 1.0})
    client.update_alias("s", "live", change)
    assert invoke(client, qualifier="live").body == b"2 hello no"
    assert client.get_alias("s", "live").body.additional_version_weight == {"2": 1.0}
    assert [one.alias_name for one in client.list_aliases("s", m.ListAliasesRequest()).body.aliases] == [
        "live"
    ]
    refused("InvalidArgument", 400, lambda: client.delete_service_version("s", "1"))
    client.delete_alias("s", "live")
    client.delete_service_version("s", "1")
    refused("VersionNotFound", 404, lambda: invoke(client, qualifier="1"))


def test_a_trigger_of_2021_feeds_the_function(client, server):
    """The configuration is JSON text, and the trigger works until it is deleted."""
    create(client)
    server.cloud.queues.create("orders")
    request = m.CreateTriggerRequest(
        trigger_name="t", trigger_type="eventbridge", trigger_config=json.dumps(TRIGGER)
    )
    assert json.loads(client.create_trigger("s", "f", request).body.trigger_config) == TRIGGER
    server.cloud.queues["orders"].send("hello")
    assert server.cloud.streams[0].wait_idle(60)
    assert b"hello" in server.cloud.functions["s$f"].invocations[0].result.body
    assert client.get_trigger("s", "f", "t").body.trigger_name == "t"
    off = m.UpdateTriggerRequest(trigger_config=json.dumps({**TRIGGER, "triggerEnable": False}))
    client.update_trigger("s", "f", "t", off)
    assert len(client.list_triggers("s", "f", m.ListTriggersRequest()).body.triggers) == 1
    client.delete_trigger("s", "f", "t")
    refused("TriggerNotFound", 404, lambda: client.get_trigger("s", "f", "t"))


def test_the_oldest_sdk(old, server, tmp_path):
    """aliyun-fc2 signs in the service's own way, and has the qualifier behind the name of the service."""
    (tmp_path / "index.py").write_text(f"RELEASE = '1'\n{CODE}")
    old.create_service("s", description="d")
    made = old.create_function("s", "f", "python3", "index.handler", codeDir=str(tmp_path))
    assert made.data["functionName"] == "f"
    assert old.invoke_function("s", "f", payload=b"hello").data == b"1 hello no"
    assert old.invoke_function("s", "f", payload=b"a", qualifier="LATEST").data == b"1 a no"
    server.cloud.queues.create("orders")
    config = old.create_trigger("s", "f", "t", "eventbridge", TRIGGER, "dummy", "").data["triggerConfig"]
    assert config == TRIGGER
    assert [one["triggerName"] for one in old.list_triggers("s", "f").data["triggers"]] == ["t"]
    with pytest.raises(fc2.FcError) as caught:
        old.get_function("s", "missing")
    assert (caught.value.status_code, caught.value.err_code) == (404, "FunctionNotFound")
    with pytest.raises(fc2.FcError) as caught:
        old.invoke_function("s", "f", payload=b"raise")
    assert "KeyError" in caught.value.message
    old.delete_trigger("s", "f", "t")
    old.delete_function("s", "f")
    old.delete_service("s")


def test_functions_of_2_0_are_functions_of_3_0(client, server):
    """The newest API lists a function of a service under both names."""
    create(client)
    new = NewClient(Config(**vendor_config(server)))
    found = new.list_functions(ListFunctionsRequest()).body.functions
    assert [one.function_name for one in found] == ["s$f"]
    assert new.list_functions(ListFunctionsRequest(fc_version="v3")).body.functions in (None, [])


def test_a_role_of_a_service_is_that_of_its_functions(client, server):
    """The policies of the service's role apply to its functions, also after it changes."""
    for name in ("one", "two"):
        server.cloud.credentials.role(name, {"Version": "1", "Statement": []})
    role = f"acs:ram::{server.cloud.account_id}:role"
    create(client)
    client.update_service("s", m.UpdateServiceRequest(role=f"{role}/two"))
    invoke(client)
    assert server.cloud.functions["s$f"].settings.role == "two"


@pytest.mark.parametrize("name", ["1s", "a b", "s.1", "s$f", "", "a" * 129])
def test_the_name_of_a_service_is_checked(client, name):
    """A service is named as a function is."""
    create = m.CreateServiceRequest(service_name=name)
    refused("InvalidArgument", 400, lambda: client.create_service(create))


@pytest.mark.parametrize(
    ("members", "code", "status"),
    [
        ({"version_id": "9"}, "VersionNotFound", 404),
        ({"additional_version_weight": {"1": "half"}}, "InvalidArgument", 400),
        ({"additional_version_weight": {"9": 0.5}}, "VersionNotFound", 404),
        ({"alias_name": "1"}, "InvalidArgument", 400),
    ],
)
def test_an_alias_that_is_refused_is_not_made(client, members, code, status):
    """An alias of a service is checked as one of a function is, and only then made or changed."""
    create(client)
    client.publish_service_version("s", m.PublishServiceVersionRequest())
    made = m.CreateAliasRequest(**{"alias_name": "prod", "version_id": "1", **members})
    refused(code, status, lambda: client.create_alias("s", made))
    assert client.list_aliases("s", m.ListAliasesRequest()).body.aliases == []


def test_a_resource_is_changed_only_if_it_has_the_tag_that_was_seen(old):
    """Every answer has the ETag of its resource, which an update, a new version or a delete may require."""
    seen = old.create_service("tagged").headers["ETag"]
    assert old.get_service("tagged").headers["ETag"] == seen
    changed = old.update_service("tagged", description="new", headers={"if-match": seen}).headers["ETag"]
    assert changed != seen == seen.lower()
    for change in (old.update_service, old.publish_version, old.delete_service):
        with pytest.raises(fc2.FcError, match="the resource being modified has been changed"):
            change("tagged", headers={"if-match": seen})
    old.publish_version("tagged", headers={"if-match": changed})
    old.delete_version("tagged", "1")
    old.delete_service("tagged", headers={"if-match": changed})


def test_programs_for_php_find_the_tag_and_the_error(old, server):
    """They read the header in one case only, and the first 120 bytes of an error."""
    assert "Etag" in list(old.create_service("s").headers)
    answer = requests.get(f"{server.url}/2016-08-15/services/s", timeout=10)
    assert list(answer.json())[:2] == ["ErrorCode", "ErrorMessage"]


def test_a_function_has_one_tag_however_it_is_read(old, client):
    create(client)
    seen = old.get_function("s", "f").headers["ETag"]
    assert old.get_function("s", "f").headers["ETag"] == seen
    changed = old.update_function("s", "f", description="new", headers={"if-match": seen}).headers["ETag"]
    assert old.get_function("s", "f").headers["ETag"] == changed != seen


def test_a_service_has_all_its_configurations(old):
    """What was not given is there with its empty values, as the tests of the vendor's SDKs read it."""
    made = old.create_service("s").data
    assert made["logConfig"] == {"project": "", "logstore": ""}
    assert made["nasConfig"] == {"userId": -1, "groupId": -1, "mountPoints": []}
    assert made["tracingConfig"] == {"type": None, "params": None}
    assert made["vpcConfig"]["vpcId"] == ""
    changed = old.update_service("s", vpcConfig={"vpcId": "v"}).data
    assert changed["vpcConfig"] == {"vpcId": "v", "vSwitchIds": [], "securityGroupId": ""}


def test_a_function_has_an_instance_type(old, tmp_path):
    (tmp_path / "index.py").write_text(f"RELEASE = '1'\n{CODE}")
    old.create_service("s")
    made = old.create_function("s", "f", "python3", "index.handler", codeDir=str(tmp_path))
    assert made.data["instanceType"] == "e1"
    made = old.create_function("s", "g", "python3", "index.handler", codeDir=str(tmp_path), instanceType="c1")
    assert made.data["instanceType"] == old.get_function("s", "g").data["instanceType"] == "c1"


def test_an_initializer_keeps_what_an_update_leaves_out(client):
    """An update may change its handler or its time-out alone, and an empty handler removes it."""
    create(client, initializer="index.initialize", initialization_timeout=9)

    def update(**members):
        found = client.update_function("s", "f", m.UpdateFunctionRequest(**members)).body
        return found.initializer, found.initialization_timeout

    assert update(initialization_timeout=60) == ("index.initialize", 60)
    assert update(description="new") == ("index.initialize", 60)
    assert invoke(client).body == b"1 hello yes"
    assert update(initializer="") == ("", 60)
    assert invoke(client).body == b"1 hello no"


def test_an_http_trigger_has_no_source(old, tmp_path):
    (tmp_path / "index.py").write_text(f"RELEASE = '1'\n{CODE}")
    old.create_service("s")
    old.create_function("s", "f", "python3", "index.handler", codeDir=str(tmp_path))
    config = {"authType": "anonymous", "methods": ["GET"]}
    made = old.create_trigger("s", "f", "t", "http", config, "dummy_arn", "").data
    assert made["sourceArn"] is old.get_trigger("s", "f", "t").data["sourceArn"] is None


def test_a_version_of_a_service_needs_a_change(old):
    """Publishing twice is refused until the service or a function has changed."""
    old.create_service("s", description="one")
    assert old.publish_version("s", "first").data["versionId"] == "1"
    for _ in range(2):
        with pytest.raises(fc2.FcError, match="VersionPublishError"):
            old.publish_version("s", "second")
    old.update_service("s", description="two")
    assert old.publish_version("s", "second").data["versionId"] == "2"
    with pytest.raises(fc2.FcError, match="ServiceNotEmpty"):
        old.delete_service("s")


def test_a_service_is_read_as_it_was_published(old, tmp_path):
    """A version, or an alias of it, has its own description and functions, and their code."""
    (tmp_path / "index.py").write_text(f"RELEASE = '1'\n{CODE}")
    old.create_service("s", description="latest", role="acs:ram::1:role/one")
    old.create_function("s", "f", "python3", "index.handler", codeDir=str(tmp_path))
    old.publish_version("s", "first")
    (tmp_path / "index.py").write_text(f"RELEASE = '2'\n{CODE}")
    old.update_function("s", "f", codeDir=str(tmp_path), description="new")
    old.create_function("s", "g", "python3", "index.handler", codeDir=str(tmp_path))
    old.update_service("s", role="acs:ram::1:role/two")
    old.publish_version("s", "second")
    old.create_alias("s", "live", "2", additionalVersionWeight={"1": 1.0})

    def described(qualifier):
        found = old.get_service("s", qualifier=qualifier).data
        functions = old.list_functions("s", qualifier=qualifier).data["functions"]
        function = old.get_function("s", "f", qualifier=qualifier).data
        code = old.get_function_code("s", "f", qualifier=qualifier).data
        assert code["checksum"] == function["codeChecksum"]
        names = [one["functionName"] for one in functions]
        return found["description"], found["role"][-3:], names, function["description"]

    assert described("1") == ("first", "one", ["f"], "")
    assert described("2") == described("live") == ("second", "two", ["f", "g"], "new")
    assert described("LATEST") == ("latest", "two", ["f", "g"], "new")
    for qualifier, code in (("3", "VersionNotFound"), ("none", "AliasNotFound")):
        with pytest.raises(fc2.FcError, match=code):
            old.get_service("s", qualifier=qualifier)


def test_an_http_trigger_is_called_below_the_name_of_its_service(old, client):
    """The oldest clients know no address of a trigger; the request and the answer are those of 3.0."""
    create(client)
    config = {"authType": "function", "methods": ["POST"]}
    old.create_trigger("s", "f", "t", "http", config, "", "")
    for service in ("s", "s.LATEST"):
        headers = {"If-Match": "other"}
        answer = old.do_http_request("POST", service, "f", "/a%20b", headers, params={"k": "v w"}, body=b"hi")
        event = json.loads(answer.text.removeprefix("1 ").removesuffix(" no"))
        assert (event["rawPath"], event["queryParameters"], event["body"]) == ("/a%20b", {"k": "v w"}, "hi")
    assert old.do_http_request("POST", "s", "other", "/").status_code == 404
