"""The official SDKs of EventBridge and STS, unmodified. EventBridge's two generations need different releases of
`alibabacloud_credentials`, so each is installed beside the tests' own environment, which has the rest."""

import base64
import json
import os
import re
import sys
from pathlib import Path

import pytest
from installing import packages_in

import alilocal
from support.processes import run_program

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FIRST = [
    "alibabacloud-eventbridge==1.3.8",
    "alibabacloud-eventbridge-util==0.0.3",
    "alibabacloud-credentials==0.3.6",
]
SECOND = [
    "alibabacloud-eventbridge20200401==8.7.0",
    "alibabacloud_sts20150401==1.2.0",
    "aliyun-python-sdk-core==2.16.1",
]


def answers(packages, script, server):
    cloud = server.cloud
    settings = {
        "id": cloud.access_key_id,
        "secret": cloud.access_key_secret,
        "token": cloud.security_token,
        "endpoint": f"127.0.0.1:{server.port}",
    }
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, (packages, ROOT / "infra"))),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-W", "ignore", HERE / "sdks" / script, json.dumps(settings)]
    done = run_program(command, env=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.in_ci
def test_the_first_generation(installs):
    """The first generation of EventBridge's SDK puts events and gets every error as documented."""
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=1)) as server:
        buses = server.cloud.buses
        buses.create("orders")
        server.cloud.queues.create("copies")
        found = answers(packages_in(installs, FIRST), "eventbridge_first.py", server)
        events = {event["id"]: event for event in buses["orders"].events}
        copies = [json.loads(message.body)["id"] for message in server.cloud.queues["copies"].messages]
    assert found["put"]["FailedEntryCount"] == 0
    assert [entry["EventId"] for entry in found["put"]["EntryList"]] == ["id-1", "id-2"]
    assert found["put"]["ResourceOwnerAccountId"] == "1000000000000001"
    assert found["partly"]["FailedEntryCount"] == 1
    assert found["partly"]["EntryList"][1]["ErrorCode"] == "EventSizeExceed"
    assert [found[name]["code"] for name in ("nowhere", "mixed", "many", "secret", "key", "wrong token")] == [
        "EventBusNotExist",
        "PutEventsRequestMoreThanOneEventBus",
        "EventSizeExceed",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "SecurityTokenInvalid",
    ]
    assert sorted(events) == ["id-1", "id-2", "id-3", "id-4", "id-8"]
    assert events["id-1"]["data"] == {"number": 1}
    assert events["id-1"]["own"] == "kept"
    assert events["id-1"]["time"] == "2026-01-02T03:04:05.678Z"
    assert json.loads(base64.b64decode(events["id-3"]["data_base64"])) == {"number": 3}
    assert copies == ["id-10"]
    check_management(found["managed"])


def check_management(found):
    """Buses, rules and targets of the first generation are answered without the second one's envelope."""
    arn = "acs:eventbridge:cn-local:1000000000000001:eventbus/managed"
    failed = {name for name, answer in found.items() if "error" in answer}
    assert failed == {"create bus again", "get no rule", "get no bus", "unsupported"}
    assert found["create bus"]["EventBusARN"] == found["get bus"]["EventBusARN"] == arn
    assert found["create bus again"]["code"] == "EventBusAlreadyExist"
    assert [bus["EventBusName"] for bus in found["list buses"]["EventBuses"]] == ["managed"]
    assert found["create rule"]["RuleARN"] == f"{arn}/rule/copy"
    assert found["get rule"]["FilterPattern"] == '{"source": ["here"]}'
    assert found["get rule"]["Ctime"] == found["list rules"]["Rules"][0]["Ctime"] > 0
    assert [target["Id"] for target in found["list targets"]["Targets"]] == ["1", "2"]
    assert [target["Id"] for target in found["list fewer targets"]["Targets"]] == ["2"]
    assert found["get disabled rule"]["Status"] == "DISABLE"
    assert found["test pattern"]["Result"] is True
    assert [found[name]["code"] for name in ("get no rule", "get no bus")] == [
        "EventRuleNotExisted",
        "EventBusNotExist",
    ]
    assert "does not support ListAliyunOfficialEventSources" in found["unsupported"]["message"]


def test_the_second_generation_and_sts(installs, tmp_path):
    """The second generation manages buses, rules and targets and puts events; STS gives keys for a role."""
    (tmp_path / "seen.py").write_text("def handler(event, context):\n    return event\n")
    with alilocal.serve(cloud=alilocal.LocalCloud(seed=1)) as server:
        cloud = server.cloud
        cloud.queues.create("copies")
        function = cloud.functions.create("seen", handler="seen.handler", code=tmp_path)
        found = answers(packages_in(installs, SECOND), "eventbridge_second.py", server)
        events = {event["id"]: event for event in cloud.buses["orders"].events}
        assert function.drain(60)
        called = [json.loads(call.event)["id"] for call in function.invocations]
        copies = [json.loads(base64.b64decode(message.body)) for message in cloud.queues["copies"].messages]
    arn = "acs:eventbridge:cn-local:1000000000000001:eventbus/orders"
    assert found["create bus"]["Data"] == {"EventBusARN": arn}
    assert found["create bus again"]["code"] == "EventBusAlreadyExist"
    assert found["get bus"]["Data"]["Description"] == "described"
    assert [bus["EventBusName"] for bus in found["list buses"]["Data"]["EventBuses"]] == ["default", "orders"]
    assert found["create rule"]["Data"] == {"RuleARN": f"{arn}/rule/copy"}
    assert found["get rule"]["Data"]["Targets"][0]["Type"] == "acs.mns.queue"
    assert found["list rules"]["Data"]["Total"] == 1
    assert found["put targets"]["Data"]["ErrorEntriesCount"] == 0
    assert [target["Id"] for target in found["list targets"]["Data"]["Targets"]] == ["1", "2"]
    assert found["delete targets"]["Success"] is True
    assert [target["Id"] for target in found["list fewer targets"]["Data"]["Targets"]] == ["1"]
    assert found["put"].get("Data", found["put"])["FailedEntryCount"] == 0
    assert [entry["EventId"] for entry in found["put"]["Data"]["EntryList"]] == ["id-1", "id-2"]
    assert found["partly"]["Data"]["EntryList"][1]["ErrorCode"] == "EventSourceInvalid"
    assert found["nowhere"]["code"] == "EventBusNotExist"
    assert found["secret"]["code"] == "SignatureDoesNotMatch"
    assert called == ["id-11"]
    assert found["get function rule"]["Data"]["Targets"][0]["Type"] == "acs.fc.function"
    assert found["get function rule"]["Data"]["FilterPattern"] == '{"type": ["call"]}'
    page = found["page of buses"]["Data"]
    assert ([bus["EventBusName"] for bus in page["EventBuses"]], page["Total"]) == (["default", "orders"], 3)
    assert page["NextToken"]
    assert found["delete bus"]["Success"] is True
    assert found["get no bus"]["code"] == "EventBusNotExist"
    assert found["get no rule"]["code"] == "EventRuleNotExisted"
    assert found["test pattern"]["Data"]["Result"] is True
    assert "does not support ListEventStreamings" in found["unsupported"]["message"]
    assert sorted(events) == ["id-1", "id-10", "id-11", "id-2", "id-3", "id-7", "id-8", "id-9"]
    assert (events["id-2"]["subject"], events["id-2"]["aliyuneventbusname"]) == ("about", "orders")
    assert [copy["id"] for copy in copies] == ["id-1", "id-2", "id-3", "id-7"]
    assert found["identity"]["Arn"] == "acs:ram::1000000000000001:root"
    assert found["assumed"]["AssumedRoleUser"]["Arn"] == "acs:ram::1000000000000001:role/worker/me"
    assert found["role's identity"]["Arn"] == "acs:ram::1000000000000001:assumed-role/worker/me"
    assert found["put as role"]["Data"]["FailedEntryCount"] == 0
    assert found["bad role"]["code"] == "InvalidParameter.RoleArn"
    assert "does not support AssumeRoleWithSAML" in found["unsupported sts"]["message"]
    assert found["chain"] == {"known": True, "arn": "acs:ram::1000000000000001:assumed-role/worker/chain"}


def test_every_operation_of_the_second_generation_is_listed(installs):
    """The README's table forgets none."""
    from alilocal.operations import operations

    folder = packages_in(installs, SECOND)
    bridge, sts = (
        set(re.findall(r"action ?= ?'(\w+)'", (folder / package / "client.py").read_text()))
        for package in ("alibabacloud_eventbridge20200401", "alibabacloud_sts20150401")
    )
    with alilocal.LocalCloud() as cloud:
        tables = {service.name: {one.name for one in operations(service)} for service in cloud.services}
    assert len(bridge) > 100
    assert bridge <= tables["eventbridge"]
    assert {"AssumeRole", "GetCallerIdentity"} <= sts <= tables["sts"]
