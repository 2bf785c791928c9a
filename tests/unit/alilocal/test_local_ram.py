"""RAM: a call is allowed by a policy, or refused in each service's own form."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from localwire import CONFIGURATION, Wire, read

import alilocal
from alilocal.core.ram import BadPolicy, Permission, Policy, permits


def policy(*statements):
    return {"Version": "1", "Statement": list(statements)}


def allow(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def deny(action, resource="*"):
    return {"Effect": "Deny", "Action": action, "Resource": resource}


QUEUE = "acs:mns:cn-local:1000000000000001:/queues/orders/messages"


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([allow("mns:SendMessage")], True),
        ([allow("mns:sendmessage")], True),
        ([allow("mns:*")], True),
        ([allow(["mns:DeleteMessage", "mns:Send*"])], True),
        ([allow("mns:Send")], False),
        ([allow("mns:SendMessag?")], True),
        ([allow("*")], True),
        ([allow("ots:*")], False),
        ([allow("mns:SendMessage", QUEUE)], True),
        ([allow("mns:SendMessage", "acs:mns:*:*:/queues/orders/*")], True),
        ([allow("mns:SendMessage", "acs:mns:*:*:/queues/other/*")], False),
        ([allow("mns:SendMessage", QUEUE.upper())], False),
        ([allow("mns:*"), deny("mns:SendMessage")], False),
        ([deny("mns:SendMessage", "acs:mns:*:*:/queues/other/*"), allow("mns:*")], True),
        ([{"Effect": "Allow", "NotAction": "ots:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": "mns:*", "Resource": "*"}], False),
        ([{"Effect": "Deny", "NotAction": "ots:*", "Resource": "*"}, allow("*")], False),
    ],
)
def test_evaluation(statements, allowed):
    """A call is allowed if a statement allows it and none denies it; names and wildcards match as in RAM."""
    rules = [Policy.parse(policy(*statements))]
    assert permits(rules, Permission(("mns:SendMessage",), (QUEUE,))) is allowed


def test_every_resource_must_be_allowed():
    rules = [Policy.parse(policy(allow("ots:BatchGetRow", "acs:ots:*:*:instance/i/table/a")))]
    both = Permission(
        ("ots:BatchGetRow",), ("acs:ots:r:1:instance/i/table/a", "acs:ots:r:1:instance/i/table/b")
    )
    assert not permits(rules, both)


ACTIONS = st.sampled_from(["a:One", "a:Two", "b:One", "a:*", "*"])
RULES = st.lists(st.tuples(st.booleans(), ACTIONS), max_size=5)


@given(RULES, RULES, st.sampled_from(["a:One", "a:Two", "b:One"]))
def test_more_policies_never_undo_a_deny(first, second, action):
    """Order and grouping of statements do not matter, a Deny wins, and nothing is allowed by default."""

    def parsed(rules):
        return Policy.parse(policy(*(allow(name) if allows else deny(name) for allows, name in rules)))

    asked = Permission((action,), ("any",))
    together = permits([parsed(first + second)], asked)
    assert permits([parsed(first), parsed(second)], asked) == together
    assert permits([parsed(second), parsed(first)], asked) == together
    if together:
        assert permits([parsed(first)], asked) or permits([parsed(second)], asked)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "Version"),
        ({"Version": "2"}, "Version"),
        ({"Version": "1", "Statement": {}}, "Statement"),
        (policy("x"), "Statement[0]"),
        (policy({"Effect": "Maybe", "Action": "*", "Resource": "*"}), "Statement[0].Effect"),
        (policy({"Effect": "Allow", "Resource": "*"}), "Statement[0]"),
        (policy({"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}), "Statement[0]"),
        (policy({"Effect": "Allow", "Action": [], "Resource": "*"}), "Statement[0].Action"),
        (policy(allow("*"), {"Effect": "Allow", "Action": "*"}), "Statement[1].Resource"),
        (policy({**allow("*"), "Condition": {"Bool": {}}}), "Statement[0].Condition"),
        (policy({**allow("*"), "Principal": "*"}), "Statement[0].Principal"),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(document, place):
    with alilocal.LocalCloud() as cloud, pytest.raises(BadPolicy) as raised:
        cloud.credentials.register("id", "secret", user_id="7", policy=document)
    assert raised.value.place == place


@pytest.fixture
def least(cloud, wire):
    """A caller that may send to one queue, create experiments and read one table."""
    cloud.queues.create("orders")
    cloud.queues.create("other")
    cloud.credentials.register(
        "least",
        "secret",
        user_id=cloud.account_id,
        policy=[
            policy(allow("mns:SendMessage", QUEUE)),
            policy(
                allow("paiautoml:CreateHpoExperiment"), allow("ots:GetRow", "acs:ots:*:*:instance/*/table/a")
            ),
        ],
    )
    wire.key = ("least", "secret")
    return wire


SENT = b'<Message xmlns="http://mns.aliyuncs.com/doc/v1/"><MessageBody>b</MessageBody></Message>'


def test_smq_refuses_what_is_not_allowed(least):
    assert least.smq("POST", "/queues/orders/messages", SENT).status_code == 201
    for method, target in [
        ("POST", "/queues/other/messages"),
        ("GET", "/queues/orders/messages"),
        ("GET", "/queues"),
        ("DELETE", "/queues/orders"),
    ]:
        refused = least.smq(method, target, SENT if method == "POST" else b"")
        assert (refused.status_code, read(refused)["Code"]) == (403, "AccessDenied")
    assert "orders" in least.cloud.queues


def test_a_batch_is_allowed_with_its_single_call(least):
    batch = b'<Messages xmlns="http://mns.aliyuncs.com/doc/v1/"><Message><MessageBody>b</MessageBody></Message></Messages>'
    assert least.smq("POST", "/queues/orders/messages", batch).status_code == 201
    assert least.smq("POST", "/queues/other/messages", batch).status_code == 403


def test_pai_refuses_what_is_not_allowed(least):
    assert least.create(HpoExperimentConfiguration=CONFIGURATION).status_code == 200
    for refused in (least.list(), least.get("sAAAAAA"), least.put("sAAAAAA", "stop")):
        assert (refused.status_code, refused.json()["Code"]) == (403, "Forbidden.RAM")
    assert "paiautoml:StopHpoExperiment" in refused.json()["Message"]


def detail_of(wire, **options):
    """Return the details that the gateway shows to a caller with these policies."""
    wire.cloud.credentials.register("key", "secret", user_id="7", **options)
    wire.key = ("key", "secret")
    return wire.list().json()["AccessDeniedDetail"]


def test_the_gateway_names_the_missing_permission(cloud, wire):
    """The gateway says which permission is missing, and why."""
    reported = detail_of(wire, policy=policy(allow("mns:*")))
    assert reported == {
        "AuthAction": "paiautoml:ListHpoExperiments",
        "AuthPrincipalType": "SubUser",
        "AuthPrincipalOwnerId": cloud.account_id,
        "AuthPrincipalDisplayName": "7",
        "NoPermissionType": "ImplicitDeny",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
    }
    reported = detail_of(wire, policy=policy(allow("*"), deny("paiautoml:List*")))
    assert reported["NoPermissionType"] == "ExplicitDeny"
    reported = detail_of(
        wire,
        session=(Policy.parse(policy(allow("mns:*"))),),
        arn=f"acs:ram::{cloud.account_id}:assumed-role/worker/me",
    )
    assert (reported["AuthPrincipalType"], reported["AuthPrincipalDisplayName"]) == (
        "AssumedRoleUser",
        "worker:me",
    )
    assert (reported["NoPermissionType"], reported["PolicyType"]) == ("ImplicitDeny", "SessionPolicy")


def test_permissions_are_checked_before_the_resource_is_looked_up(least):
    """A caller without permission cannot find out whether a resource exists."""
    made = least.create(HpoExperimentConfiguration=CONFIGURATION).json()["ExperimentId"]
    there, missing = least.get(made).json(), least.get("sAAAAAA").json()
    assert there["Code"] == missing["Code"] == "Forbidden.RAM"


def test_policies_outlive_a_snapshot(least):
    """A snapshot contains the policies of keys."""
    document = json.loads(json.dumps(least.cloud.snapshot()))
    least.cloud.load(document)
    assert least.smq("POST", "/queues/other/messages", SENT).status_code == 403


def test_the_account_may_do_everything(cloud):
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        assert wire.smq("GET", "/queues").status_code == 200
