"""Runs beside the SDKs of EventBridge's second generation and of STS: calls, and prints the answers."""

import json
import sys

from alibabacloud_eventbridge20200401 import models as eb
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_sts20150401 import models as sts
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_tea_openapi.models import Config


def outcome(call):
    try:
        return call().body.to_map()
    except Exception as exc:  # noqa: BLE001
        return {"error": type(exc).__name__, "code": getattr(exc, "code", None), "message": str(exc)}


def main():
    settings = json.loads(sys.argv[1])

    def client(kind, **changed):
        options = {
            "access_key_id": settings["id"],
            "access_key_secret": settings["secret"],
            "endpoint": settings["endpoint"],
        }
        return kind(Config(protocol="http", region_id="cn-local", **{**options, **changed}))

    def item(number, **members):
        return eb.PutEventsRequestEventList(
            **{"id": f"id-{number}", "source": "here", "type": "made", "data": {"number": number}, **members}
        )

    def put(*items, bus="orders", **changed):
        request = eb.PutEventsRequest(event_bus_name=bus, event_list=list(items))
        return outcome(lambda: client(EventBridge, **changed).put_events(request))

    bridge = client(EventBridge)
    target = eb.CreateRuleRequestEventTargets(
        id="1",
        type="acs.mns.queue",
        endpoint="acs:mns:cn-local:1000000000000001:queues/copies",
        param_list=[
            eb.CreateRuleRequestEventTargetsParamList(resource_key="queue", form="CONSTANT", value="copies"),
            eb.CreateRuleRequestEventTargetsParamList(resource_key="Body", form="ORIGINAL"),
            eb.CreateRuleRequestEventTargetsParamList(
                resource_key="IsBase64Encode", form="CONSTANT", value="true"
            ),
        ],
    )
    second = eb.PutTargetsRequestTargets(
        id="2",
        type="acs.mns.queue",
        endpoint="acs:mns:cn-local:1000000000000001:queues/copies",
        param_list=[
            eb.PutTargetsRequestTargetsParamList(resource_key="queue", form="CONSTANT", value="copies"),
            eb.PutTargetsRequestTargetsParamList(resource_key="Body", form="ORIGINAL"),
        ],
    )
    orders = {"event_bus_name": "orders"}
    copy = {**orders, "rule_name": "copy"}
    rule = eb.CreateRuleRequest(
        event_bus_name="orders",
        rule_name="copy",
        filter_pattern='{"source": ["here"]}',
        event_targets=[target],
    )
    call = eb.CreateRuleRequest(
        event_bus_name="orders",
        rule_name="call",
        filter_pattern='{"type": ["nothing"]}',
        event_targets=[
            eb.CreateRuleRequestEventTargets(
                id="1",
                type="acs.fc.function",
                endpoint="acs:fc:cn-local:1000000000000001:functions/seen",
                param_list=[
                    eb.CreateRuleRequestEventTargetsParamList(
                        resource_key="functionName", form="CONSTANT", value="seen"
                    ),
                    eb.CreateRuleRequestEventTargetsParamList(resource_key="Body", form="ORIGINAL"),
                ],
            )
        ],
    )
    calling = {**orders, "rule_name": "call"}
    update = eb.UpdateRuleRequest(**calling, filter_pattern='{"type": ["call"]}')
    arn = "acs:ram::1000000000000001:role/worker"
    results = {
        "create bus": outcome(
            lambda: bridge.create_event_bus(eb.CreateEventBusRequest(**orders, description="described"))
        ),
        "create bus again": outcome(lambda: bridge.create_event_bus(eb.CreateEventBusRequest(**orders))),
        "get bus": outcome(lambda: bridge.get_event_bus(eb.GetEventBusRequest(**orders))),
        "list buses": outcome(lambda: bridge.list_event_buses(eb.ListEventBusesRequest())),
        "create rule": outcome(lambda: bridge.create_rule(rule)),
        "get rule": outcome(lambda: bridge.get_rule(eb.GetRuleRequest(**copy))),
        "list rules": outcome(lambda: bridge.list_rules(eb.ListRulesRequest(**orders))),
        "put targets": outcome(lambda: bridge.put_targets(eb.PutTargetsRequest(**copy, targets=[second]))),
        "list targets": outcome(lambda: bridge.list_targets(eb.ListTargetsRequest(**copy))),
        "delete targets": outcome(
            lambda: bridge.delete_targets(eb.DeleteTargetsRequest(**copy, target_ids=["2"]))
        ),
        "list fewer targets": outcome(lambda: bridge.list_targets(eb.ListTargetsRequest(**copy))),
        "put": put(item(1), item(2, subject="about", time="2026-01-02T03:04:05Z")),
        "partly": put(item(3), item(4, source="x" * 129)),
        "nowhere": put(item(5), bus="nowhere"),
        "secret": put(item(6), access_key_secret="wrong"),
        "token": put(item(7), security_token=settings["token"]),
        "disable rule": outcome(lambda: bridge.disable_rule(eb.DisableRuleRequest(**copy))),
        "put unseen": put(item(8)),
        "enable rule": outcome(lambda: bridge.enable_rule(eb.EnableRuleRequest(**copy))),
        "delete rule": outcome(lambda: bridge.delete_rule(eb.DeleteRuleRequest(**copy))),
        "create function rule": outcome(lambda: bridge.create_rule(call)),
        "put before": put(item(10, type="call")),
        "update rule": outcome(lambda: bridge.update_rule(update)),
        "put after": put(item(11, type="call")),
        "get function rule": outcome(lambda: bridge.get_rule(eb.GetRuleRequest(**calling))),
        "create other bus": outcome(
            lambda: bridge.create_event_bus(eb.CreateEventBusRequest(event_bus_name="other"))
        ),
        "page of buses": outcome(lambda: bridge.list_event_buses(eb.ListEventBusesRequest(limit=2))),
        "delete bus": outcome(
            lambda: bridge.delete_event_bus(eb.DeleteEventBusRequest(event_bus_name="other"))
        ),
        "get no bus": outcome(lambda: bridge.get_event_bus(eb.GetEventBusRequest(event_bus_name="other"))),
        "get no rule": outcome(lambda: bridge.get_rule(eb.GetRuleRequest(**copy))),
        "test pattern": outcome(
            lambda: bridge.test_event_pattern(
                eb.TestEventPatternRequest(event='{"a": 1}', event_pattern='{"a": [2, 1]}')
            )
        ),
        "unsupported": outcome(lambda: bridge.list_event_streamings(eb.ListEventStreamingsRequest())),
        "identity": outcome(lambda: client(Sts).get_caller_identity()),
    }
    assumed = client(Sts).assume_role(
        sts.AssumeRoleRequest(role_arn=arn, role_session_name="me", duration_seconds=900)
    )
    keys = assumed.body.credentials
    as_role = {
        "access_key_id": keys.access_key_id,
        "access_key_secret": keys.access_key_secret,
        "security_token": keys.security_token,
    }
    results["assumed"] = {**assumed.body.to_map(), "Credentials": {"Expiration": keys.expiration}}
    results["role's identity"] = outcome(lambda: client(Sts, **as_role).get_caller_identity())
    results["put as role"] = put(item(9), **as_role)
    bad = sts.AssumeRoleRequest(role_arn="x", role_session_name="me")
    results["bad role"] = outcome(lambda: client(Sts).assume_role(bad))
    results["unsupported sts"] = outcome(
        lambda: client(Sts).assume_role_with_saml(
            sts.AssumeRoleWithSAMLRequest(role_arn=arn, samlassertion="x", samlprovider_arn="y")
        )
    )
    results["chain"] = chain(settings, arn)
    sys.stdout.write(json.dumps(results) + "\n")


def chain(settings, arn):
    """The official chain of credentials assumes a role under STS' real host, here the local cloud's."""
    from alibabacloud_credentials.provider import RamRoleArnCredentialsProvider, StaticAKCredentialsProvider

    import alilocal

    with alilocal.mock_alicloud() as cloud:
        provider = RamRoleArnCredentialsProvider(
            credentials_provider=StaticAKCredentialsProvider(
                access_key_id=settings["id"], access_key_secret=settings["secret"]
            ),
            role_arn=arn,
            role_session_name="chain",
        )
        keys = provider.get_credentials()
        given = cloud.credentials.get(keys.get_access_key_id())
        return {
            "known": given is not None and given.access_key_secret == keys.get_access_key_secret(),
            "arn": given.arn if given else None,
        }


main()
