"""The official SDK of Function Compute 3.0, unmodified, against the local cloud over HTTP."""

import base64
import hmac
import io
import json
import threading
import time
import zipfile
from email.utils import formatdate

import fc2
import pytest
import requests
from alibabacloud_fc20230330 import models as m
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

import alilocal
from alilocal.core.snapshot import BadSnapshot
from alilocal.eventbridge.model import DEFAULT
from alilocal.fc import callbase
from alilocal.smq.message import Outgoing
from support.budget import CI_BUDGET
from support.deployment import vendor_config
from support.waiting import wait_until

CODE = """
import json, logging, os, time

def initialize(context):
    os.environ["INITIALIZED"] = "yes"

def handler(event, context):
    logging.getLogger().info("a line of the log")
    text = event.decode()
    if text == "raise":
        raise KeyError("wrong")
    if text == "wait":
        while not os.path.exists(os.environ["MARK"]):
            time.sleep(0.01)
    return {
        "event": text,
        "version": getattr(context.function, "version_id", None),
        "requestId": context.request_id,
        "greeting": os.environ.get("GREETING"),
        "initialized": os.environ.get("INITIALIZED"),
        "release": RELEASE,
    }
"""


def zipped(release="1"):
    """Return a package whose results contain `release`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        # A ZipInfo without a time makes the same bytes at any time.
        archive.writestr(zipfile.ZipInfo("index.py"), f"RELEASE = {release!r}\n{CODE}")
    return file.getvalue()


def inline(release="1"):
    return m.InputCodeLocation(zip_file=base64.b64encode(zipped(release)).decode())


@pytest.fixture
def server():
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=3)) as running:
        yield running
        running.cloud.close()


def client_of(server, key=None):
    return Client(Config(**vendor_config(server, key)))


@pytest.fixture
def client(server):
    return client_of(server)


def create(client, name="f", **members):
    # The default time-out of 3 s may be too short for a cold start while other tests run.
    members = {
        "runtime": "python3.12",
        "handler": "index.handler",
        "code": inline(),
        "timeout": 60,
        **members,
    }
    request = m.CreateFunctionRequest(body=m.CreateFunctionInput(function_name=name, **members))
    return client.create_function(request).body


def hooks(timeout):
    """Return the settings of an initializer."""
    hook = m.LifecycleHook(handler="index.initialize", timeout=timeout)
    return m.InstanceLifecycleConfig(initializer=hook)


def update(client, name="f", **members):
    request = m.UpdateFunctionRequest(body=m.UpdateFunctionInput(**members))
    return client.update_function(name, request).body


def invoke(client, event=b"hello", name="f", qualifier=None, **headers):
    request = m.InvokeFunctionRequest(body=event, qualifier=qualifier)
    return client.invoke_function_with_options(
        name, request, m.InvokeFunctionHeaders(**headers), RuntimeOptions()
    )


def result(answer):
    return json.loads(answer.body.read())


def create_trigger(client, config, name="t", kind="eventbridge", **members):
    body = m.CreateTriggerInput(
        trigger_name=name, trigger_type=kind, trigger_config=json.dumps(config), **members
    )
    return client.create_trigger("f", m.CreateTriggerRequest(body=body)).body


def stream(queue="orders", **run):
    """Return the configuration of a synchronous event stream."""
    return {
        "triggerEnable": True,
        "asyncInvocationType": False,
        "eventRuleFilterPattern": "{}",
        "eventSinkConfig": {"deliveryOption": {"eventSchema": "CloudEvents"}},
        "eventSourceConfig": {
            "eventSourceType": "MNS",
            "eventSourceParameters": {
                "sourceMNSParameters": {"QueueName": queue, "IsBase64Decode": False, "RegionId": "cn-local"}
            },
        },
        "runOptions": {
            "mode": "event-streaming",
            "errorsTolerance": "ALL",
            "batchWindow": {"CountBasedWindow": 4, "TimeBasedWindow": 0},
            **run,
        },
    }


def refused(code, status, act):
    with pytest.raises(AlibabaCloudException) as caught:
        act()
    assert (caught.value.code, caught.value.status_code) == (code, status), caught.value
    return caught.value.message


def test_a_function_is_created_read_changed_and_deleted(client, server):
    """Members come back as they were given, with the service's defaults for the others."""
    environ = {"GREETING": "hello"}
    made = create(client, environment_variables=environ, memory_size=256, description="é", timeout=None)
    assert made.function_arn == f"acs:fc:cn-local:{server.cloud.account_id}:functions/f"
    assert (made.timeout, made.memory_size, made.cpu, made.state) == (3, 256, 0.35, "Active")
    assert made.code_size == len(zipped())
    found = client.get_function("f", m.GetFunctionRequest()).body
    assert found.to_map() == made.to_map()
    changed = update(client, timeout=9, environment_variables={"GREETING": "bye"}, code=inline("2"))
    assert (changed.timeout, changed.memory_size) == (9, 256)
    assert changed.code_checksum != made.code_checksum
    assert (result(invoke(client))["greeting"], result(invoke(client))["release"]) == ("bye", "2")
    assert "f" in server.cloud.functions
    client.delete_function("f")
    refused("FunctionNotFound", 404, lambda: client.get_function("f", m.GetFunctionRequest()))
    assert list(server.cloud.functions) == []


def test_lists_are_paged_by_name_and_filtered_by_prefix(client):
    """A page has a token for the next one, and the last page has none."""
    for name in ("a1", "a2", "a3", "b1"):
        create(client, name)
    first = client.list_functions(m.ListFunctionsRequest(limit=2, prefix="a")).body
    assert [one.function_name for one in first.functions] == ["a1", "a2"]
    rest = client.list_functions(m.ListFunctionsRequest(limit=2, prefix="a", next_token=first.next_token))
    assert [one.function_name for one in rest.body.functions] == ["a3"]
    assert rest.body.next_token is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"tags": [m.Tag(key="team", value="a")]}, ["one"]),
        ({"tags": [m.Tag(key="team")]}, ["one", "two"]),
        ({"tags": [m.Tag(key="team", value="c")]}, []),
        ({"function_name": "two"}, ["two"]),
        ({"runtime": "python3.10"}, ["two"]),
        ({"description": "night"}, ["one"]),
        ({"fc_version": "v2"}, []),
        ({"fc_version": "v3"}, ["one", "three", "two"]),
    ],
    ids=lambda value: "-".join(value),
)
def test_a_list_of_functions_is_filtered(client, wanted, found):
    """Each filter of ListFunctions leaves out the functions that it does not name."""
    create(client, "one", description="every night")
    create(client, "two", runtime="python3.10")
    create(client, "three")
    for name, team in (("one", "a"), ("two", "b")):
        tags = m.TagResourcesInput(
            resource_type="function", resource_id=[name], tag=[m.Tag(key="team", value=team)]
        )
        client.tag_resources(m.TagResourcesRequest(body=tags))
    listed = client.list_functions(m.ListFunctionsRequest(**wanted)).body.functions or []
    assert [one.function_name for one in listed] == found
    if "tags" in wanted:
        tagged = m.ListTagResourcesRequest(resource_type="function", tag=wanted["tags"])
        names = [
            one.resource_id.rpartition("/")[2] for one in client.list_tag_resources(tagged).body.tag_resources
        ]
        assert names == found


def test_a_page_begins_where_the_last_one_ended(client):
    """What is deleted between two pages makes no row come twice, and a token that was invented is refused."""
    for name in ("a1", "a2", "a3", "a4"):
        create(client, name)
    token = client.list_functions(m.ListFunctionsRequest(limit=2)).body.next_token
    client.delete_function("a3")
    rest = client.list_functions(m.ListFunctionsRequest(limit=2, next_token=token)).body
    assert [one.function_name for one in rest.functions] == ["a4"]
    publish = m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
    for number in range(4):
        change = m.UpdateFunctionInput(description=str(number))
        client.update_function("a1", m.UpdateFunctionRequest(body=change))
        client.publish_function_version("a1", publish)
    token = client.list_function_versions("a1", m.ListFunctionVersionsRequest(limit=2)).body.next_token
    client.delete_function_version("a1", "2")
    rest = client.list_function_versions("a1", m.ListFunctionVersionsRequest(next_token=token)).body
    assert [one.version_id for one in rest.versions] == ["1"]
    for limit in ("²", "9" * 5000, "0"):
        refused(
            "InvalidArgument",
            400,
            lambda limit=limit: client.list_functions(m.ListFunctionsRequest(limit=limit)),
        )
    invented = m.ListFunctionVersionsRequest(next_token="x")
    refused("InvalidArgument", 400, lambda: client.list_function_versions("a1", invented))


def corrupted():
    """Return an archive whose list of files is right, and whose compressed data is not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.py", CODE)
    content = file.getvalue()
    start = content.index(b"index.py") + len("index.py")
    return base64.b64encode(content[:start] + b"\xff" * 8 + content[start + 8 :]).decode()


KEYS = """
import os

def handler(event, context):
    return [bool(os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID")), bool(context.credentials.access_key_id)]
"""


@pytest.mark.one_of("value", "found", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("value", "found"),
    [(None, [True, True]), ("None", [True, True]), ("Env", [False, True]), ("Request", [True, False])],
)
def test_a_function_can_be_kept_from_its_keys(client, value, found):
    """`disableInjectCredentials` names the places that do not contain the temporary keys."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.py", KEYS)
    code = m.InputCodeLocation(zip_file=base64.b64encode(file.getvalue()).decode())
    create(client, code=code, runtime="python3.10", disable_inject_credentials=value)
    assert result(invoke(client)) == found
    update(client, disable_inject_credentials="All")
    assert result(invoke(client)) == [False, False]


@pytest.mark.parametrize("name", ["a" * 65, "1a", "-a", "a.b", "a b", ""])
def test_a_name_that_no_function_can_have_is_refused(client, name):
    create(client, "_" + "a-" * 31 + "a")
    assert "functionName" in refused("InvalidArgument", 400, lambda: create(client, name))


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"runtime": "nodejs20"}, "runtime"),
        ({"handler": None}, "handler"),
        ({"timeout": 100_000}, "timeout"),
        ({"memory_size": 500}, "memorySize"),
        ({"memory_size": 512.5}, "memorySize"),
        ({"cpu": 3.0, "memory_size": 512}, "ratio of cpu to memorySize"),
        ({"cpu": 0.1, "memory_size": 512}, "ratio of cpu to memorySize"),
        ({"cpu": 0.33, "memory_size": 512}, "multiple of 0.05"),
        ({"disk_size": 1024}, "diskSize: must be 512 or 10240"),
        ({"environment_variables": {"FC_X": "1"}}, "environment"),
        ({"environment_variables": {"X": "a\0b"}}, "contains a null character"),
        ({"environment_variables": {"X": "\u00e4" * 2500}}, "the variables exceed 4096 bytes"),
        ({"instance_lifecycle_config": hooks(301)}, "initializer.timeout"),
        ({"instance_lifecycle_config": hooks(float("nan"))}, "the body is not JSON"),
        ({"role": "hpo"}, "role"),
        ({"disable_inject_credentials": "Context"}, "disableInjectCredentials"),
        ({"code": None}, "code"),
        ({"code": m.InputCodeLocation(zip_file="bm8gemlw")}, "code"),
        ({"code": m.InputCodeLocation(zip_file=corrupted())}, "code"),
        ({"code": m.InputCodeLocation(oss_bucket_name="b", oss_object_name="o")}, "GetTempBucketToken"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_what_cannot_run_is_refused_by_its_name(client, server, members, named):
    """A function that the service or the local cloud cannot run is refused, and nothing is left of it."""
    assert named in refused("InvalidArgument", 400, lambda: create(client, **members))
    assert client.list_functions(m.ListFunctionsRequest()).body.functions == []
    assert list(server.cloud.functions) == []


def test_programs_in_a_package_can_be_run(client):
    """A file keeps the right to be run that it has in the archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        code = "import os, pathlib\n\ndef handler(event, context):\n"
        code += "    return os.access(pathlib.Path(__file__).with_name('tool'), os.X_OK)\n"
        archive.writestr("index.py", code)
        tool = zipfile.ZipInfo("tool")
        tool.external_attr = 0o755 << 16
        archive.writestr(tool, "#!/bin/sh\n")
    create(client, code=m.InputCodeLocation(zip_file=base64.b64encode(file.getvalue()).decode()))
    assert invoke(client, b"{}").body.read() == b"true"


def test_an_empty_package_fails_when_it_is_called(client):
    """An archive without files is deployed, and its function cannot be imported."""
    empty = base64.b64encode(b"PK\x05\x06" + bytes(18)).decode()
    create(client, code=m.InputCodeLocation(zip_file=empty))
    assert invoke(client, b"{}").headers["x-fc-error-type"] == "UnhandledInvocationError"


def test_a_call_has_all_documented_headers(client):
    """The result is in the body; request id, duration, memory, version, checksum and log tail are in headers."""
    made = create(client)
    answer = invoke(client, b"hello", x_fc_log_type="Tail")
    found, headers = result(answer), answer.headers
    assert (answer.status_code, found["event"]) == (200, "hello")
    assert headers["x-fc-request-id"] == found["requestId"]
    assert float(headers["x-fc-invocation-duration"]) > 0
    assert float(headers["x-fc-max-memory-usage"]) > 0
    assert headers["x-fc-code-checksum"] == made.code_checksum
    assert headers["x-fc-instance-id"].startswith("c-")
    assert "a line of the log" in base64.b64decode(headers["x-fc-log-result"]).decode()
    assert "x-fc-error-type" not in headers
    assert "x-fc-log-result" not in invoke(client).headers


def test_an_error_of_the_function_is_status_200_with_its_type(client):
    """FC reports an exception as an answer with a header."""
    create(client)
    answer = invoke(client, b"raise")
    assert (answer.status_code, answer.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
    assert result(answer)["errorMessage"] == "'wrong'"


def test_hooks_run_in_an_uploaded_function(client):
    """The initializer of the settings runs before the first call."""
    create(client, instance_lifecycle_config=hooks(60))
    assert result(invoke(client))["initialized"] == "yes"


def test_an_asynchronous_call_is_accepted_and_reports_to_its_destinations(client, server):
    """The answer is 202 with the request id; success and failure go to the configured queues."""
    create(client)
    for name in ("good", "bad"):
        server.cloud.queues.create(name)
    place = f"acs:mns:cn-local:{server.cloud.account_id}:/queues"
    config = m.PutAsyncInvokeConfigInput(
        max_async_retry_attempts=0,
        destination_config=m.DestinationConfig(
            on_success=m.Destination(destination=f"{place}/good/messages"),
            on_failure=m.Destination(destination=f"{place}/bad/messages"),
        ),
    )
    request = m.PutAsyncInvokeConfigRequest(body=config, qualifier="LATEST")
    assert client.put_async_invoke_config("f", request).body.max_async_retry_attempts == 0
    for event, queue in ((b"hello", "good"), (b"raise", "bad")):
        answer = invoke(client, event, x_fc_invocation_type="Async")
        assert answer.status_code == 202
        assert server.cloud.functions["f"].drain(60)
        [message] = server.cloud.queues[queue].receive(1)
        report = json.loads(message.body)
        assert report["requestContext"]["requestId"] == answer.headers["x-fc-request-id"]
        assert report["requestPayload"] == event.decode()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"max_async_retry_attempts": 9}, "maxAsyncRetryAttempts"),
        ({"max_async_event_age_in_seconds": 0}, "maxAsyncEventAgeInSeconds"),
        ({"max_async_event_age_in_seconds": 604_801}, "maxAsyncEventAgeInSeconds"),
        (
            {"destination_config": m.DestinationConfig(on_failure=m.Destination(destination="failures"))},
            "destinationConfig.onFailure",
        ),
    ],
    ids=lambda value: "-".join(value),
)
def test_an_invalid_configuration_of_asynchronous_calls_is_refused(client, members, named):
    create(client)
    request = m.PutAsyncInvokeConfigRequest(body=m.PutAsyncInvokeConfigInput(**members))
    assert named in refused("InvalidArgument", 400, lambda: client.put_async_invoke_config("f", request))


def test_results_go_to_functions_and_event_buses(client, server):
    """A destination may also be another function, which gets the report, or an event bus."""
    create(client)
    create(client, "other")
    account = f"cn-local:{server.cloud.account_id}"
    bus, function = f"acs:eventbridge:{account}:eventbus/{DEFAULT}", f"acs:fc:{account}:functions/other"
    config = m.PutAsyncInvokeConfigInput(
        max_async_retry_attempts=0,
        destination_config=m.DestinationConfig(
            on_success=m.Destination(destination=function), on_failure=m.Destination(destination=bus)
        ),
    )
    client.put_async_invoke_config("f", m.PutAsyncInvokeConfigRequest(body=config))
    for event in (b"hello", b"raise"):
        invoke(client, event, x_fc_invocation_type="Async")
    assert server.cloud.functions["f"].drain(60)
    assert server.cloud.functions["other"].drain(60)
    [call] = server.cloud.functions["other"].invocations
    assert json.loads(call.event)["requestPayload"] == "hello"
    [put] = server.cloud.buses[DEFAULT].puts
    assert put.event["type"] == "fc:AsyncInvoke:failed"


def test_the_configuration_of_asynchronous_calls(client):
    """The configuration of asynchronous calls is kept per qualifier, listed and deleted."""
    create(client)
    put = m.PutAsyncInvokeConfigRequest(body=m.PutAsyncInvokeConfigInput(async_task=True), qualifier="LATEST")
    client.put_async_invoke_config("f", put)
    found = client.get_async_invoke_config("f", m.GetAsyncInvokeConfigRequest(qualifier="LATEST")).body
    assert (found.async_task, found.max_async_retry_attempts) == (True, 3)
    listed = client.list_async_invoke_configs(m.ListAsyncInvokeConfigsRequest(function_name="f")).body
    assert [one.function_arn for one in listed.configs] == [found.function_arn]
    client.delete_async_invoke_config("f", m.DeleteAsyncInvokeConfigRequest(qualifier="LATEST"))
    refused(
        "AsyncConfigNotFound",
        404,
        lambda: client.get_async_invoke_config("f", m.GetAsyncInvokeConfigRequest(qualifier="LATEST")),
    )


def test_a_repeated_task_id_is_refused(client, server):
    """The id of an asynchronous task is accepted once, so that it makes a submission idempotent."""
    create(client)
    put = m.PutAsyncInvokeConfigRequest(body=m.PutAsyncInvokeConfigInput(async_task=True))
    client.put_async_invoke_config("f", put)
    task = {"x_fc_invocation_type": "Async", "x_fc_async_task_id": "once"}
    assert invoke(client, **task).headers["x-fc-async-task-id"] == "once"
    refused("AsyncTaskAlreadyExists", 409, lambda: invoke(client, **task))
    for wrong in ("2nd", "once more"):
        invalid = {**task, "x_fc_async_task_id": wrong}
        assert repr(wrong) in refused("InvalidArgument", 400, lambda given=invalid: invoke(client, **given))
    assert server.cloud.functions["f"].drain(60)
    assert len(server.cloud.functions["f"].invocations) == 1


def test_reserved_concurrency_limits_calls_at_the_same_time(client, server, tmp_path):
    """A call beyond the reserved concurrency is refused with status 429."""
    create(client, environment_variables={"MARK": str(tmp_path / "mark")})
    body = m.PutConcurrencyInput(reserved_concurrency=1)
    client.put_concurrency_config("f", m.PutConcurrencyConfigRequest(body=body))
    assert client.get_concurrency_config("f").body.reserved_concurrency == 1
    assert len(client.list_concurrency_configs(m.ListConcurrencyConfigsRequest()).body.configs) == 1
    waiting = threading.Thread(target=invoke, args=(client_of(server), b"wait"))
    waiting.start()
    wait_until(lambda: server.cloud.functions["f"].busy)
    refused("ResourceExhausted", 429, lambda: invoke(client))
    (tmp_path / "mark").touch()
    waiting.join()
    assert invoke(client).status_code == 200
    client.delete_concurrency_config("f")
    refused("ConcurrencyConfigNotFound", 404, lambda: client.get_concurrency_config("f"))


def test_instances_are_listed_with_their_version(client):
    """An instance of the latest code has the version 0."""
    create(client)
    answer = invoke(client)
    [one] = client.list_instances("f", m.ListInstancesRequest()).body.instances
    assert one.instance_id == answer.headers["x-fc-instance-id"]
    assert (one.qualifier, one.version_id, one.status) == ("LATEST", "0", "Running")


def test_calls_can_be_disabled(client):
    """A disabled function refuses calls until it is enabled again."""
    create(client)
    client.disable_function_invocation("f", m.DisableFunctionInvocationRequest(reason="test"))
    refused("InvocationDisabled", 403, lambda: invoke(client))
    client.enable_function_invocation("f")
    assert invoke(client).status_code == 200


def test_a_trigger_does_not_call_a_disabled_function(client, server):
    """An event stream delivers its messages later; a topic, which calls asynchronously, drops them."""
    create(client)
    queue, _ = server.cloud.queues.create("orders"), server.cloud.topics.create("news")
    create_trigger(client, stream())
    create_trigger(
        client,
        {"notifyContentFormat": "STREAM"},
        "topic",
        "mns_topic",
        source_arn=f"acs:mns:cn-local:{server.cloud.account_id}:/topics/news",
    )
    client.disable_function_invocation("f", m.DisableFunctionInvocationRequest())
    queue.send("hello")
    server.cloud.topics.publish("news", Outgoing("lost"))
    [running] = server.cloud.streams
    wait_until(lambda: [one.error for one in running.deliveries] == ["InvocationDisabled"])
    client.enable_function_invocation("f")
    server.cloud.clock.advance(20)
    assert running.wait_idle(60)
    [call] = server.cloud.functions["f"].invocations
    assert b"hello" in call.result.body


def publish(client, release):
    update(client, code=inline(release))
    request = m.PublishFunctionVersionRequest(body=m.PublishVersionInput(description=f"release {release}"))
    return client.publish_function_version("f", request).body.version_id


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (
            {"x_fc_log_type": "All"},
            "LogType is set to an invalid value (allowed: Tail | None, actual: 'All')",
        ),
        (
            {"x_fc_log_type": "Tail", "x_fc_invocation_type": "Async"},
            "LogType is set to an invalid value (allowed: None, actual: 'Tail')",
        ),
        (
            {"x_fc_invocation_type": "Later"},
            "InvocationType is set to an invalid value (allowed: Sync | Async, actual: 'Later')",
        ),
    ],
)
def test_an_invalid_kind_of_call_is_refused(client, headers, message):
    """The tests of the vendor's SDK for Java demand these messages; only a synchronous call has a log tail."""
    create(client)
    assert message in refused("InvalidArgument", 400, lambda: invoke(client, **headers))
    assert invoke(client, x_fc_log_type="None").status_code == 200


def test_versions_keep_their_code_and_settings(client):
    """A version stays as it was published, whatever the latest code becomes."""
    create(client, environment_variables={"GREETING": "one"})
    assert [publish(client, "1"), publish(client, "2")] == ["1", "2"]
    update(client, code=inline("3"), environment_variables={"GREETING": "three"})
    found = {qualifier: result(invoke(client, qualifier=qualifier)) for qualifier in ("1", "2", "LATEST")}
    assert [one["release"] for one in found.values()] == ["1", "2", "3"]
    assert [one["version"] for one in found.values()] == ["1", "2", ""]
    assert [one["greeting"] for one in found.values()] == ["one", "one", "three"]
    listed = client.list_function_versions("f", m.ListFunctionVersionsRequest()).body.versions
    assert [one.version_id for one in listed] == ["2", "1"]
    one = client.get_function("f", m.GetFunctionRequest(qualifier="1")).body
    assert one.environment_variables == {"GREETING": "one"}
    client.delete_function_version("f", "1")
    refused("VersionNotFound", 404, lambda: invoke(client, qualifier="1"))
    assert publish(client, "3") == "3"
    again = m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
    refused("VersionPublishError", 409, lambda: client.publish_function_version("f", again))


def test_an_alias_is_read_as_its_main_version(client):
    """The weights of an alias choose what a call runs, but not what describes the function."""
    create(client)
    publish(client, "1"), publish(client, "2")
    weights = m.CreateAliasInput(alias_name="live", version_id="2", additional_version_weight={"1": 1.0})
    client.create_alias("f", m.CreateAliasRequest(body=weights))
    assert result(invoke(client, qualifier="live"))["release"] == "1"
    main = client.get_function("f", m.GetFunctionRequest(qualifier="2")).body.code_checksum
    assert client.get_function("f", m.GetFunctionRequest(qualifier="live")).body.code_checksum == main
    code = client.get_function_code("f", m.GetFunctionCodeRequest(qualifier="live")).body
    assert code.checksum == main


def test_an_alias_shares_calls_by_its_weight(client):
    """The additional version gets its share of the calls, and the rest goes to the alias's own version."""
    create(client)
    publish(client, "1"), publish(client, "2")
    body = m.CreateAliasInput(alias_name="live", version_id="1", additional_version_weight={"2": 0.5})
    made = client.create_alias("f", m.CreateAliasRequest(body=body)).body
    assert (made.version_id, made.additional_version_weight) == ("1", {"2": 0.5})
    seen = {result(invoke(client, qualifier="live"))["release"] for _ in range(20)}
    assert seen == {"1", "2"}
    change = m.UpdateAliasInput(version_id="2", additional_version_weight={})
    changed = client.update_alias("f", "live", m.UpdateAliasRequest(body=change)).body
    assert (changed.version_id, changed.additional_version_weight or {}) == ("2", {})
    assert {result(invoke(client, qualifier="live"))["release"] for _ in range(5)} == {"2"}
    assert client.get_alias("f", "live").body.version_id == "2"
    [listed] = client.list_aliases("f", m.ListAliasesRequest()).body.aliases
    assert listed.alias_name == "live"
    refused("InvalidArgument", 400, lambda: client.delete_function_version("f", "2"))
    client.delete_alias("f", "live")
    refused("AliasNotFound", 404, lambda: client.get_alias("f", "live"))


def test_an_empty_weight_ends_a_canary_or_not(client, server):
    """What the service does is not documented, so it is a switch."""
    create(client)
    publish(client, "1"), publish(client, "2")
    body = m.CreateAliasInput(alias_name="live", version_id="1", additional_version_weight={"2": 0.5})
    client.create_alias("f", m.CreateAliasRequest(body=body))
    server.cloud.behaviour.empty_alias_weights = "kept"
    change = m.UpdateAliasRequest(body=m.UpdateAliasInput(version_id="1", additional_version_weight={}))
    assert client.update_alias("f", "live", change).body.additional_version_weight == {"2": 0.5}


def test_a_trigger_feeds_the_alias_from_a_queue(client, server):
    """Messages reach the version that the alias calls now, and a failed batch reaches the dead-letter queue."""
    create(client)
    publish(client, "1"), publish(client, "2")
    body = m.CreateAliasInput(alias_name="live", version_id="1")
    client.create_alias("f", m.CreateAliasRequest(body=body))
    orders = server.cloud.queues.create("orders")
    made = create_trigger(client, stream(), qualifier="live")
    assert (made.qualifier, made.target_arn.rpartition("/")[2]) == ("live", "live")
    assert json.loads(made.trigger_config) == stream()
    orders.send("first")
    assert server.cloud.streams[0].wait_idle(60)
    change = m.UpdateAliasRequest(body=m.UpdateAliasInput(version_id="2"))
    client.update_alias("f", "live", change)
    orders.send("second")
    assert server.cloud.streams[0].wait_idle(60)
    results = [json.loads(server.cloud.functions[f"f:{one}"].invocations[0].result.body) for one in "12"]
    assert [one["release"] for one in results] == ["1", "2"]
    bodies = [json.loads(one["event"])[0]["data"]["messageBody"] for one in results]
    assert bodies == ["first", "second"]


@pytest.mark.parametrize(("mode", "kind"), [("event-driven", dict), ("event-streaming", list)])
def test_the_mode_of_a_trigger_that_names_none(client, server, mode, kind):
    """What the service does is not documented, so it is a switch: one event at a time, or a list."""
    create(client)
    server.cloud.behaviour.default_run_mode = mode
    server.cloud.queues.create("orders").send("hello")
    create_trigger(client, stream(mode=None))
    assert server.cloud.streams[0].wait_idle(60)
    [call] = server.cloud.functions["f"].invocations
    assert isinstance(json.loads(call.event), kind)


@pytest.mark.parametrize(("retry", "is_soon"), [("EXPONENTIAL_DECAY_RETRY", True), ("BACKOFF_RETRY", False)])
def test_the_retries_of_a_trigger_that_names_none(client, server, retry, is_soon):
    """The documents of two services contradict each other, so the default is a switch."""
    create(client, handler="index.missing")
    server.cloud.behaviour.default_push_retry = retry
    server.cloud.queues.create("orders").send("hello")
    create_trigger(client, stream())
    wait_until(lambda: server.cloud.streams[0].deliveries)
    first = server.cloud.streams[0].deliveries[0]
    delay = first.retry_at - first.time - first.duration_ms / 1000
    assert (delay < 9) == is_soon


def test_a_trigger_can_be_changed_and_deleted(client, server):
    """A disabled trigger takes no messages; a deleted one neither."""
    create(client)
    orders = server.cloud.queues.create("orders")
    made = create_trigger(client, stream())
    off = m.UpdateTriggerInput(trigger_config=json.dumps({**stream(), "triggerEnable": False}))
    client.update_trigger("f", "t", m.UpdateTriggerRequest(body=off))
    assert server.cloud.streams == []
    orders.send("waits")
    on = m.UpdateTriggerInput(trigger_config=json.dumps({"triggerEnable": True}))
    client.update_trigger("f", "t", m.UpdateTriggerRequest(body=on))
    assert server.cloud.streams[0].wait_idle(60)
    assert [one.trigger_id for one in client.list_triggers("f", m.ListTriggersRequest()).body.triggers] == [
        made.trigger_id
    ]
    assert client.get_trigger("f", "t").body.trigger_id == made.trigger_id
    client.delete_trigger("f", "t")
    refused("TriggerNotFound", 404, lambda: client.get_trigger("f", "t"))
    orders.send("stays")
    assert (server.cloud.streams, len(orders.messages)) == ([], 1)


@pytest.mark.parametrize("kind", ["queue", "bus"])
def test_a_change_that_cannot_work_leaves_the_trigger_as_it_was(client, server, kind):
    """The earlier trigger goes on."""
    create(client)
    orders = server.cloud.queues.create("orders")
    bus = {"eventSourceConfig": {"eventSourceType": "Default"}, "eventRuleFilterPattern": "{}"}
    dead = {"runOptions": {"deadLetterQueue": {"Arn": "acs:mns:::/queues/missing"}, "errorsTolerance": "ALL"}}
    create_trigger(client, stream() if kind == "queue" else bus)
    bad = m.UpdateTriggerInput(
        trigger_config=json.dumps(stream("missing") if kind == "queue" else bus | dead)
    )
    refused("InvalidArgument", 400, lambda: client.update_trigger("f", "t", m.UpdateTriggerRequest(body=bad)))
    if kind == "queue":
        orders.send("goes on")
    else:
        server.cloud.buses.put(DEFAULT, {"id": "1", "source": "s", "specversion": "1.0", "type": "t"})
    wait_until(lambda: server.cloud.functions["f"].invocations)
    good = m.UpdateTriggerInput(trigger_config=json.dumps(stream() if kind == "queue" else bus))
    client.update_trigger("f", "t", m.UpdateTriggerRequest(body=good))
    assert len(server.cloud.streams) + len(server.cloud.buses[DEFAULT].rules) == 1


def test_a_topic_calls_with_the_message_alone_or_as_json(client, server):
    """The format STREAM hands over the body, and JSON the members of a notification. A larger event is lost."""
    create(client)
    topic = server.cloud.topics.create("news")
    arn = f"acs:mns:cn-local:{server.cloud.account_id}:/topics/{topic.name}"
    config = {"notifyContentFormat": "STREAM", "notifyStrategy": "BACKOFF_RETRY", "filterTag": "a"}
    create_trigger(client, config, kind="mns_topic", source_arn=arn)
    create_trigger(client, {"notifyContentFormat": "JSON"}, "j", kind="mns_topic", source_arn=arn)
    server.cloud.topics.publish("news", Outgoing('"' * 65_536), "c")
    for tag in ("a", "b"):
        server.cloud.topics.publish("news", Outgoing("said " + tag), tag)
    wait_until(lambda: len(server.cloud.functions["f"].invocations) == 3)
    events = [one.event.decode() for one in server.cloud.functions["f"].invocations]
    assert [one for one in events if not one.startswith("{")] == ["said a"]
    assert sorted(json.loads(one)["Message"] for one in events if one.startswith("{")) == ["said a", "said b"]


@pytest.mark.one_of("expression", budget=CI_BUDGET)
@pytest.mark.parametrize(
    "expression", ["@every 5m", "0 */5 * * * *", "CRON_TZ=Asia/Shanghai 0 0/5 * * * SUN-SAT"]
)
def test_a_timer_calls_when_it_is_due(client, server, expression):
    """A timer calls with its payload at the times of its expression, on the cloud's clock."""
    create(client)
    create_trigger(client, {"cronExpression": expression, "enable": True, "payload": "p"}, kind="timer")
    for _ in range(2):
        server.cloud.clock.advance(301)
    wait_until(lambda: len(server.cloud.functions["f"].invocations) >= 2)
    event = json.loads(server.cloud.functions["f"].invocations[-1].event)
    assert (event["triggerName"], event["payload"]) == ("t", "p")


def test_an_event_bus_calls_with_the_events_of_its_pattern(client, server):
    """A rule of the default bus calls with one event at a time, and goes with its trigger."""
    create(client)
    config = {
        "triggerEnable": True,
        "eventRuleFilterPattern": json.dumps({"type": ["wanted"]}),
        "eventSourceConfig": {"eventSourceType": "Default"},
    }
    create_trigger(client, config)
    for kind in ("other", "wanted"):
        event = {"id": kind, "source": "s", "specversion": "1.0", "type": kind, "data": {}}
        server.cloud.buses.put(DEFAULT, event)
    wait_until(lambda: server.cloud.functions["f"].invocations)
    [call] = server.cloud.functions["f"].invocations
    assert json.loads(call.event)["id"] == "wanted"
    client.delete_trigger("f", "t")
    assert server.cloud.buses[DEFAULT].rules == {}


@pytest.mark.parametrize(
    ("kind", "config", "named"),
    [
        ("oss", {}, "triggerType"),
        ("eventbridge", stream("missing"), "queue"),
        ("eventbridge", stream(errorsTolerance="SOME"), "errorsTolerance"),
        ("eventbridge", stream(batchWindow={"CountBasedWindow": 20_000}), "batch_size"),
        ("eventbridge", {"eventSourceConfig": {"eventSourceType": "Kafka"}}, "eventSourceType"),
        ("mns_topic", {}, "sourceArn"),
        ("timer", {"cronExpression": "@every 1s", "enable": True}, "cronExpression"),
        ("timer", {"cronExpression": "* * *", "enable": True}, "six fields"),
    ],
)
def test_a_trigger_that_cannot_work_is_refused_by_its_name(client, server, kind, config, named):
    """The message names the member, and no trigger is left."""
    create(client)
    server.cloud.queues.create("orders")
    message = refused("InvalidArgument", 400, lambda: create_trigger(client, config, kind=kind))
    assert named.lower() in message.lower()
    assert client.list_triggers("f", m.ListTriggersRequest()).body.triggers in (None, [])


def test_code_can_be_downloaded_as_it_was_uploaded(client):
    """GetFunctionCode returns a signed address of the package, and its checksum."""
    made = create(client)
    code = client.get_function_code("f", m.GetFunctionCodeRequest()).body
    assert code.checksum == made.code_checksum
    assert requests.get(code.url, timeout=60).content == zipped()
    assert requests.get(code.url[:-4], timeout=60).status_code == 403


def test_tags_of_a_function(client):
    """Tags are added, listed and removed."""
    arn = create(client, tags=[m.Tag(key="a", value="1")]).function_arn
    body = m.TagResourcesInput(resource_id=[arn], resource_type="function", tag=[m.Tag(key="b", value="2")])
    client.tag_resources(m.TagResourcesRequest(body=body))
    request = m.ListTagResourcesRequest(resource_type="function", resource_id=[arn])
    listed = client.list_tag_resources(request).body.tag_resources
    assert [(one.tag_key, one.tag_value) for one in listed] == [("a", "1"), ("b", "2")]
    client.untag_resources(
        m.UntagResourcesRequest(resource_id=[arn], resource_type="function", tag_key=["a"])
    )
    assert [one.key for one in client.get_function("f", m.GetFunctionRequest()).body.tags] == ["b"]


def test_what_is_not_here_is_an_empty_list_or_a_clear_error(client):
    """Lists that deployment tools read are empty; other operations are refused by their names."""
    create(client)
    assert not client.list_provision_configs(m.ListProvisionConfigsRequest()).body.provision_configs
    assert not client.list_scaling_configs(m.ListScalingConfigsRequest()).body.scaling_configs
    assert not client.list_vpc_bindings("f").body.vpc_ids
    message = refused("InvalidAction.NotFound", 404, lambda: client.list_layers(m.ListLayersRequest()))
    assert "ListLayers" in message


def test_a_policy_limits_what_a_key_may_do(server, client):
    """Actions are those of RAM for Function Compute; giving a function its role needs ram:PassRole."""
    server.cloud.credentials.role("worker", {"Version": "1", "Statement": []})
    allowed = [{"Effect": "Allow", "Action": ["fc:CreateFunction"], "Resource": "acs:fc:*:*:functions/f"}]
    server.cloud.credentials.register(
        "key", "secret", user_id="7", policy={"Version": "1", "Statement": allowed}
    )
    limited, role = client_of(server, ("key", "secret")), f"acs:ram::{server.cloud.account_id}:role/worker"
    refused("AccessDenied", 403, lambda: create(limited, "g"))
    assert "ram:PassRole" in refused("AccessDenied", 403, lambda: create(limited, "f", role=role))
    create(limited, "f")
    refused("AccessDenied", 403, lambda: invoke(limited))
    assert "does not exist" in refused(
        "InvalidArgument", 400, lambda: create(client, "g", role=role.replace("worker", "nobody"))
    )


def test_a_wrong_secret_is_refused(server):
    """The signature is checked as at the gateway."""
    wrong = client_of(server, (server.cloud.access_key_id, "wrong"))
    refused("SignatureDoesNotMatch", 400, lambda: create(wrong))


def test_a_function_made_in_python_can_be_called(client, server, tmp_path):
    """InvokeFunction reaches functions of `cloud.functions.create`, and their names are taken."""
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return event\n")
    server.cloud.functions.create("own", handler="index.handler", code=tmp_path)
    assert invoke(client, b"echo", "own").body.read() == b"echo"
    refused("FunctionAlreadyExists", 409, lambda: create(client, "own"))


def test_functions_and_triggers_are_in_a_snapshot(client, server):
    """A cloud that loads a snapshot runs the functions of it, and takes messages for their triggers."""
    create(client)
    publish(client, "2")
    server.cloud.queues.create("orders")
    create_trigger(client, stream(), qualifier="1")
    document = json.loads(json.dumps(server.cloud.snapshot()))
    with alilocal.serve() as other:
        other.cloud.load(document)
        assert "f" in other.cloud.functions
        other.cloud.queues["orders"].send("hello")
        assert other.cloud.streams[0].wait_idle(60)
        [call] = other.cloud.functions["f:1"].invocations
        assert json.loads(call.result.body)["release"] == "2"
        other.cloud.reset()
        assert (other.cloud.streams, list(other.cloud.functions)) == ([], [])


def test_a_snapshot_with_a_function_that_cannot_be_is_refused(client, server):
    """Its settings are checked as those of a request, its code must be there, and nothing changes otherwise."""
    create(client)
    publish(client, "2")
    text = json.dumps(server.cloud.snapshot())
    for change in (
        {"memorySize": None},
        {"runtime": []},
        {"timeout": "60"},
        {"diskSize": 1},
    ):
        document = json.loads(text)
        document["services"]["fc"]["functions"][0]["versions"]["1"]["revision"]["members"].update(change)
        with pytest.raises(BadSnapshot, match=next(iter(change))):
            server.cloud.load(document)
    document = json.loads(text)
    document["services"]["fc"]["packages"].popitem()
    with pytest.raises(BadSnapshot, match="the code of 'f' is missing"):
        server.cloud.load(document)
    assert json.loads(json.dumps(server.cloud.snapshot()))["services"] == json.loads(text)["services"]


def test_a_snapshot_whose_trigger_lost_its_queue_can_be_loaded(client, server):
    """The trigger stays stopped until it is updated, and everything else is loaded."""
    create(client)
    server.cloud.queues.create("orders")
    create_trigger(client, stream())
    server.cloud.queues.delete("orders")
    document = json.loads(json.dumps(server.cloud.snapshot()))
    server.cloud.load(document)
    assert server.cloud.streams == []
    assert client.get_trigger("f", "t").body.trigger_name == "t"
    server.cloud.queues.create("orders")
    request = m.UpdateTriggerRequest(body=m.UpdateTriggerInput(description="again"))
    client.update_trigger("f", "t", request)
    assert len(server.cloud.streams) == 1


def test_a_function_reaches_the_services_under_their_real_names(client, server):
    """In an uploaded function, the hosts of Alibaba Cloud are the local cloud, with or without TLS.

    Its package may have modules with the names of those that TLS needs.
    """
    code = """
import json, urllib.request

def handler(event, context):
    answers = []
    for url in json.loads(event):
        with urllib.request.urlopen(url, timeout=30) as answer:
            answers.append(answer.status)
    return answers
"""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.py", code)
        archive.writestr("base64.py", "raise ImportError")
    create(client, code=m.InputCodeLocation(zip_file=base64.b64encode(file.getvalue()).decode()))
    urls = [f"{scheme}://{server.cloud.account_id}.mns.cn-local.aliyuncs.com" for scheme in ("http", "https")]
    answer = invoke(client, json.dumps([f"{url}/_none" for url in urls]).encode())
    # The local cloud's own answer to an unknown path.
    assert b"HTTP Error 404" in answer.body.read()
    assert [one.operation for one in server.cloud.requests].count("InvokeFunction") == 1


def test_an_unexpected_error_of_a_call_reaches_its_caller(client, server, monkeypatch):
    """A function whose process cannot start is an error of the service, and the next call works."""
    create(client)
    function = server.cloud.functions["f"]
    with monkeypatch.context() as patch:
        patch.setattr(
            type(function), "call", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no process"))
        )
        assert "no process" in refused("ServiceUnavailable", 503, lambda: invoke(client))
    assert invoke(client).status_code == 200


def fc2_client(server):
    endpoint = f"http://127.0.0.1:{server.port}"
    key, secret = server.cloud.access_key_id, server.cloud.access_key_secret
    return fc2.Client(endpoint=endpoint, accessKeyID=key, accessKeySecret=secret)


def upload(server, token, body, secret=None):
    """Put an object as the vendor's command line does."""
    credentials, date = token["credentials"], formatdate(server.cloud.clock.now(), usegmt=True)
    path = f"/{token['ossBucket']}/{server.cloud.account_id}/{token['objectName']}"
    security = credentials["SecurityToken"]
    text = f"PUT\n\napplication/zip\n{date}\nx-oss-date:{date}\nx-oss-security-token:{security}\n{path}"
    key = (secret or credentials["AccessKeySecret"]).encode()
    digest = base64.b64encode(hmac.new(key, text.encode(), "sha1").digest()).decode()
    headers = {
        "Content-Type": "application/zip",
        "x-oss-date": date,
        "x-oss-security-token": security,
        "Authorization": f"OSS {credentials['AccessKeyId']}:{digest}",
    }
    return requests.put(server.url + path, data=body, headers=headers, timeout=60)


def test_code_is_uploaded_with_a_temporary_key(server, client):
    """The key of GetTempBucketToken may upload a package, which CreateFunction then takes, and nothing else."""
    old = fc2_client(server)
    path = "/2016-08-15/tempBucketToken"
    token = old._do_request("GET", path, old._build_common_headers("GET", path)).json()
    assert upload(server, token, zipped("up"), secret="wrong").status_code == 403
    assert upload(server, token, zipped("up")).status_code == 200
    name = f"{server.cloud.account_id}/{token['objectName']}"
    code = m.InputCodeLocation(oss_bucket_name=token["ossBucket"], oss_object_name=name)
    create(client, code=code)
    assert result(invoke(client))["release"] == "up"
    key = token["credentials"]
    limited = fc2.Client(
        endpoint=server.url,
        accessKeyID=key["AccessKeyId"],
        accessKeySecret=key["AccessKeySecret"],
        securityToken=key["SecurityToken"],
    )
    with pytest.raises(fc2.FcError) as caught:
        limited._do_request("GET", path, limited._build_common_headers("GET", path))
    assert (caught.value.status_code, caught.value.err_code) == (403, "AccessDenied")


def test_the_first_signature_is_checked(server):
    """A wrong secret is refused in the form that the older clients read."""
    wrong = fc2.Client(endpoint=server.url, accessKeyID=server.cloud.access_key_id, accessKeySecret="wrong")
    with pytest.raises(fc2.FcError) as caught:
        wrong.list_services()
    assert (caught.value.status_code, caught.value.err_code) == (403, "SignatureNotMatch")


WEB = """
import base64, json

def handler(event, context):
    request = json.loads(event)
    if request["rawPath"] == "/error":
        raise KeyError("wrong")
    if request["rawPath"] == "/plain":
        return "plain text"
    if request["rawPath"] == "/result":
        return json.loads(request["body"])
    if request["rawPath"] == "/event":
        return request
    method = request["requestContext"]["http"]["method"]
    body = f"{method} {request['rawPath']} {request['queryParameters']} {request['body']}"
    return {
        "statusCode": 201,
        "headers": {"X-Own": "yes", "Content-Length": "1"},
        "isBase64Encoded": True,
        "body": base64.b64encode(body.encode()).decode(),
    }
"""


def web_function(client, **config):
    """Create a function with an HTTP trigger, and return the trigger's address."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.py", WEB)
    create(client, code=m.InputCodeLocation(zip_file=base64.b64encode(file.getvalue()).decode()))
    config = {"authType": "anonymous", "methods": ["GET", "POST"], **config}
    return create_trigger(client, config, kind="http").http_trigger.url_internet


def test_an_http_trigger_passes_requests_on(client):
    """A request is the event, and the result decides status, headers and body."""
    url = web_function(client)
    text = {"Content-Type": "text/plain"}
    answer = requests.post(f"{url}/some/path?a=1&a=2/3", data="body", headers=text, timeout=60)
    assert (answer.status_code, answer.text) == (201, "POST /some/path {'a': '1,2/3'} body")
    assert answer.headers["X-Own"] == "yes"
    assert not url.endswith("/")  # as in the cloud, where programs append paths to it
    assert requests.get(url, timeout=60).text == "GET / {} "
    assert requests.post(url, data="body", timeout=60).text == "POST / {} Ym9keQ=="
    assert requests.get(f"{url}?a=1", timeout=60).text == "GET / {'a': '1'} "
    assert requests.get(f"{url}/plain", timeout=60).text == "plain text"
    assert requests.delete(url, timeout=60).status_code == 405
    assert requests.get(f"{url[:-2]}/", timeout=60).status_code == 404


def test_an_http_trigger_states_address_and_time(client, server):
    """The caller cannot choose its own address, and the time is that of the cloud."""
    url = web_function(client)
    server.cloud.clock.advance(3600)
    event = requests.get(f"{url}/event", headers={"X-Fc-Client-Ip": "192.0.2.1"}, timeout=60).json()
    made = event["requestContext"]
    assert made["http"]["sourceIp"] == "127.0.0.1"
    assert made["accountId"] == server.cloud.account_id
    assert int(made["timeEpoch"]) > (time.time() + 3000) * 1000
    assert not any(name.lower().startswith("x-fc-") for name in event["headers"])


def test_an_http_trigger_has_nothing_of_lambda(client):
    """The built-in runtimes know neither the query nor the cookies of a function URL."""
    url = web_function(client)
    assert "rawQueryString" not in requests.get(f"{url}/event?a=1", timeout=60).json()
    result = {"statusCode": 200, "cookies": ["a=1"], "multiValueHeaders": {"X-Own": ["yes"]}}
    answer = requests.post(f"{url}/result", json=result, timeout=60)
    assert not {"Set-Cookie", "X-Own"} & {*answer.headers}


def test_an_http_trigger_passes_no_error_on(client):
    """The caller of a trigger may be anyone, so the answer to an error has no details."""
    failed = requests.get(f"{web_function(client)}/error", timeout=60)
    assert (failed.status_code, failed.headers["X-Fc-Error-Type"]) == (502, "UnhandledInvocationError")
    assert failed.text == "Internal Server Error"


def test_an_http_trigger_can_need_a_signature(client, server):
    """Without authType anonymous, a request must be signed like a call of the service."""
    url = web_function(client, authType="function")
    assert requests.get(url, timeout=60).status_code == 400
    old, path = fc2_client(server), url.removeprefix(server.url)
    headers = old._build_common_headers("GET", path, unescaped_queries={"a": "1"})
    assert requests.get(url, headers=headers, params={"a": "1"}, timeout=60).status_code == 201
    wrong = {**headers, "authorization": "FC x:y"}
    assert requests.get(url, headers=wrong, params={"a": "1"}, timeout=60).status_code == 403


@pytest.mark.parametrize(
    "config", [{"authType": "everybody"}, {"methods": ["FETCH"]}, {"methods": "GET"}, {"authType": "jwt"}]
)
def test_an_http_trigger_is_checked(client, config):
    """A method or a kind of authentication that does not exist, or that is not here, is refused."""
    refused("InvalidArgument", 400, lambda: web_function(client, **config))


def test_a_version_has_one_http_trigger(client):
    """As documented, a version or an alias has one HTTP trigger at most, which can be changed."""
    web_function(client)
    config = {"authType": "anonymous", "methods": ["GET"]}
    refused("InvalidArgument", 400, lambda: create_trigger(client, config, kind="http", name="second"))
    changed = m.UpdateTriggerInput(trigger_config=json.dumps(config))
    client.update_trigger("f", "t", m.UpdateTriggerRequest(body=changed))


def test_an_http_trigger_can_be_called_asynchronously(client, server):
    """With the header of asynchronous calls, the answer comes before the result."""
    url = web_function(client)
    answer = requests.post(f"{url}/some/path", headers={"X-Fc-Invocation-Type": "Async"}, timeout=60)
    assert (answer.status_code, answer.content) == (202, b"")
    wait_until(lambda: server.cloud.functions["f"].invocations)
    (call,) = server.cloud.functions["f"].invocations
    assert call.result.request_id == answer.headers["X-Fc-Request-Id"]


def test_a_request_to_an_http_trigger_has_the_limits_of_a_call(client, monkeypatch):
    """The size of an event, for either kind of call, and the reserved concurrency of the function."""
    url = web_function(client)

    def ask(size, **headers):
        answer = requests.post(url, data=b"x" * size, headers=headers, timeout=60)
        return answer.status_code, answer.json()["Code"]

    assert ask(128 * 1024, **{"X-Fc-Invocation-Type": "Async"}) == (413, "RequestEntityTooLarge")
    monkeypatch.setattr(callbase, "MOST_SYNC_BYTES", 1000)
    assert ask(1000) == (413, "RequestEntityTooLarge")
    body = m.PutConcurrencyInput(reserved_concurrency=0)
    client.put_concurrency_config("f", m.PutConcurrencyConfigRequest(body=body))
    assert ask(0) == (429, "ResourceExhausted")


def test_the_result_of_an_http_trigger_is_checked(client):
    """A result that is no valid answer is a 502; headers of the service's own are left out."""
    url = web_function(client)
    for result in ({"statusCode": 99999}, {"statusCode": True}, {"statusCode": "fine"}):
        answer = requests.post(f"{url}/result", json=result, timeout=60)
        assert (answer.status_code, answer.json()["errorType"]) == (502, "InvalidResponse")
    own = {"statusCode": 200, "headers": {"X-Fc-Error-Type": "none", "X-Number": 5}}
    answer = requests.post(f"{url}/result", json=own, timeout=60)
    assert (answer.headers.get("X-Fc-Error-Type"), answer.headers["X-Number"]) == (None, "5")
