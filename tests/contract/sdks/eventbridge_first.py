"""Runs beside alibabacloud-eventbridge 1.3.8: puts events and prints what the SDK makes of the answers."""

import json
import sys
from functools import partial

from alibabacloud_eventbridge import models
from alibabacloud_eventbridge.client import Client


def event(number, **members):
    made = models.CloudEvent(
        id=f"id-{number}",
        source="here",
        type="made",
        datacontenttype="application/json",
        subject="about",
        time="2026-01-02T03:04:05.678Z",
        data=json.dumps({"number": number}).encode(),
        extensions={"aliyuneventbusname": "orders", "own": "kept"},
    )
    made.specversion = "1.0"
    for name, value in members.items():
        setattr(made, name, value)
    return made


def outcome(call):
    try:
        return call().to_map()
    except Exception as exc:  # noqa: BLE001
        return {"error": type(exc).__name__, "code": getattr(exc, "code", None), "message": str(exc)}


def manage(client):
    """Every operation on buses, rules and targets, in an order in which each can succeed."""
    rule = {"event_bus_name": "managed", "rule_name": "copy"}
    queue = models.TargetEntry(
        id="1",
        type="acs.mns.queue",
        endpoint="acs:mns:cn-local:1000000000000001:queues/copies",
        param_list=[
            models.EBTargetParam(resource_key="queue", form="CONSTANT", value="copies"),
            models.EBTargetParam(resource_key="Body", form="ORIGINAL"),
        ],
    )
    other = models.TargetEntry(**{**vars(queue), "id": "2"})
    pattern = '{"source": ["here"]}'
    put = event(10, extensions={"aliyuneventbusname": "managed"})
    calls = {
        "create bus": ("create_event_bus", models.CreateEventBusRequest("managed", "described")),
        "create bus again": ("create_event_bus", models.CreateEventBusRequest("managed")),
        "get bus": ("get_event_bus", models.GetEventBusRequest("managed")),
        "list buses": ("list_event_buses", models.ListEventBusesRequest("m", 10)),
        "create rule": (
            "create_rule",
            models.CreateRuleRequest(**rule, filter_pattern=pattern, status="ENABLE", targets=[queue]),
        ),
        "put to rule": ("put_events", [put]),
        "get rule": ("get_rule", models.GetRuleRequest(**rule)),
        "list rules": ("list_rules", models.ListRulesRequest("managed")),
        "update rule": ("update_rule", models.UpdateRuleRequest(**rule, description="new")),
        "create targets": ("create_targets", models.CreateTargetsRequest(**rule, targets=[other])),
        "list targets": ("list_targets", models.ListTargetsRequest(**rule)),
        "delete targets": ("delete_targets", models.DeleteTargetsRequest(**rule, target_ids=["1"])),
        "list fewer targets": ("list_targets", models.ListTargetsRequest(**rule)),
        "disable rule": ("disable_rule", models.DisableRuleRequest(**rule)),
        "get disabled rule": ("get_rule", models.GetRuleRequest(**rule)),
        "enable rule": ("enable_rule", models.EnableRuleRequest(**rule)),
        "test pattern": ("test_event_pattern", models.TestEventPatternRequest('{"source": "here"}', pattern)),
        "delete rule": ("delete_rule", models.DeleteRuleRequest(**rule)),
        "get no rule": ("get_rule", models.GetRuleRequest(**rule)),
        "delete bus": ("delete_event_bus", models.DeleteEventBusRequest("managed")),
        "get no bus": ("get_event_bus", models.GetEventBusRequest("managed")),
        "unsupported": ("list_aliyun_official_event_sources", models.ListAliyunOfficialRequest()),
    }
    return {
        name: outcome(partial(getattr(client, method), *given)) for name, (method, *given) in calls.items()
    }


def main():
    settings = json.loads(sys.argv[1])

    def client(**changed):
        options = {
            "access_key_id": settings["id"],
            "access_key_secret": settings["secret"],
            "endpoint": settings["endpoint"],
        }
        return Client(models.Config(**{**options, **changed}))

    elsewhere = event(9, extensions={"aliyuneventbusname": "nowhere"})
    results = {
        "put": outcome(lambda: client().put_events([event(1), event(2)])),
        "binary": outcome(
            lambda: client().put_events([event(3, datacontenttype="application/json; charset=utf-8")])
        ),
        "partly": outcome(lambda: client().put_events([event(4), event(5, subject="x" * 66000)])),
        "nowhere": outcome(lambda: client().put_events([elsewhere])),
        "mixed": outcome(lambda: client().put_events([event(6), elsewhere])),
        "many": outcome(lambda: client().put_events([event(number) for number in range(17)])),
        "secret": outcome(lambda: client(access_key_secret="wrong").put_events([event(7)])),
        "key": outcome(lambda: client(access_key_id="nobody").put_events([event(7)])),
        "token": outcome(lambda: client(security_token=settings["token"]).put_events([event(8)])),
        "wrong token": outcome(lambda: client(security_token="wrong").put_events([event(8)])),
    }
    results["managed"] = manage(client())
    sys.stdout.write(json.dumps(results) + "\n")


main()
