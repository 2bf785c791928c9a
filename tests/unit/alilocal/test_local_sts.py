"""STS: roles, their policies, and temporary keys."""

import json

import pytest
from localwire import Wire, call, read

import alilocal

ROLE = "acs:ram::1000000000000001:role/worker"
ALLOW = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "mns:*", "Resource": "*"}]}
ONLY_LIST = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "mns:ListQueue", "Resource": "*"}]}


def assume(cloud, **given):
    return call(cloud, "AssumeRole", **{"RoleArn": ROLE, "RoleSessionName": "me", **given}).json()


def queues(cloud, keys):
    """Return the status of an SMQ call with a role's keys."""
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        wire.key = (keys["AccessKeyId"], keys["AccessKeySecret"])
        return wire.smq("GET", "/queues", security_token=keys["SecurityToken"])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_identity_of_a_caller(cloud, method):
    """GetCallerIdentity names the account, a user and an assumed role."""
    answer = call(cloud, "GetCallerIdentity", method=method)
    assert answer.json()["Arn"] == "acs:ram::1000000000000001:root"


def test_the_identity_needs_no_permission(cloud):
    """A role and a user learn who they are, whatever their policies allow."""
    cloud.credentials.role("worker", ALLOW)
    keys = assume(cloud)["Credentials"]
    pair = (keys["AccessKeyId"], keys["AccessKeySecret"])
    found = call(cloud, "GetCallerIdentity", key=pair, SecurityToken=keys["SecurityToken"]).json()
    assert found["Arn"] == "acs:ram::1000000000000001:assumed-role/worker/me"
    cloud.credentials.register("user", "secret", user_id="7", policy=ONLY_LIST)
    found = call(cloud, "GetCallerIdentity", key=("user", "secret")).json()
    assert found["Arn"] == "acs:ram::1000000000000001:user/7"


def test_a_role_may_do_what_its_policy_says_until_it_ends(cloud):
    """A role's keys have its policy, and expire."""
    cloud.credentials.role("worker", ALLOW)
    keys = assume(cloud, DurationSeconds="900")["Credentials"]
    assert queues(cloud, keys).status_code == 200
    cloud.clock.advance(899)
    assert queues(cloud, keys).status_code == 200
    cloud.clock.advance(2)
    refused = queues(cloud, keys)
    assert (refused.status_code, read(refused)["Code"]) == (403, "AccessDenied")


def test_a_session_policy_narrows_the_role(cloud):
    cloud.credentials.role("worker", ALLOW)
    keys = assume(cloud, Policy=json.dumps(ONLY_LIST))["Credentials"]
    assert queues(cloud, keys).status_code == 200
    narrowed = {**ONLY_LIST, "Statement": [{"Effect": "Allow", "Action": "ots:*", "Resource": "*"}]}
    keys = assume(cloud, Policy=json.dumps(narrowed))["Credentials"]
    assert queues(cloud, keys).status_code == 403


def test_roles_outlive_a_snapshot(cloud):
    """A snapshot contains roles and their keys."""
    cloud.credentials.role("worker", ONLY_LIST)
    keys = assume(cloud)["Credentials"]
    document = json.loads(json.dumps(cloud.snapshot()))
    with alilocal.LocalCloud() as other:
        other.load(document)
        assert queues(other, keys).status_code == 200
        assert assume(other, RoleArn=ROLE.replace("worker", "stranger"))["Code"] == "EntityNotExist.Role"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"RoleArn": "worker"}, "InvalidParameter.RoleArn"),
        ({"RoleArn": "acs:ram::2:role/worker"}, "EntityNotExist.Role"),
        ({"RoleArn": None}, "MissingRoleArn"),
        ({"RoleSessionName": ""}, "MissingRoleSessionName"),
        ({"RoleSessionName": "m"}, "InvalidParameter.RoleSessionName"),
        ({"RoleSessionName": "m e"}, "InvalidParameter.RoleSessionName"),
        ({"DurationSeconds": "899"}, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "43201"}, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "an hour"}, "InvalidParameter.DurationSeconds"),
        ({"Policy": "{"}, "InvalidParameter.PolicyGrammar"),
        ({"Policy": "[]"}, "InvalidParameter.PolicyGrammar"),
        ({"SignatureNonce": None}, "MissingSignatureNonce"),
        ({"SignatureMethod": "HMAC-MD5"}, "InvalidSignatureMethod"),
        ({"Timestamp": "yesterday"}, "InvalidTimeStamp.Format"),
        ({"Timestamp": "2001-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
        ({"AccessKeyId": "nobody"}, "InvalidAccessKeyId.NotFound"),
        ({"SecurityToken": "wrong"}, "InvalidSecurityToken.MismatchWithAccessKey"),
        ({"sign": "AAAA"}, "SignatureDoesNotMatch"),
        ({"Action": "DropEverything"}, "InvalidAction.NotFound"),
    ],
)
def test_what_is_refused(cloud, given, code):
    """Each invalid parameter, signature or operation has its own code."""
    assert assume(cloud, **given)["Code"] == code


def test_a_nonce_is_taken_once(cloud):
    """A nonce cannot be used twice."""
    assert "Arn" in call(cloud, "GetCallerIdentity", SignatureNonce="once").json()
    assert call(cloud, "GetCallerIdentity", SignatureNonce="once").json()["Code"] == "SignatureNonceUsed"


def test_assuming_a_role_needs_permission(cloud):
    """AssumeRole needs the permission for the role."""
    policy = {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "acs:ram::*:role/other"}],
    }
    cloud.credentials.register("user", "secret", user_id="7", policy=policy)
    refused = call(cloud, "AssumeRole", key=("user", "secret"), RoleArn=ROLE, RoleSessionName="me")
    assert (refused.status_code, refused.json()["Code"]) == (403, "NoPermission")
    allowed = call(
        cloud,
        "AssumeRole",
        key=("user", "secret"),
        RoleArn=ROLE.replace("worker", "other"),
        RoleSessionName="me",
    )
    assert allowed.status_code == 200
