"""Both signature schemes: the published vectors, and every error."""

import hashlib
import time
from datetime import datetime, timezone
from email.utils import formatdate
from urllib.parse import quote

import pytest
from localwire import read, xml

from alilocal.core import signatures
from alilocal.core.http import Request, read_http_date
from alilocal.smq import signature as mns

EMPTY = hashlib.sha256(b"").hexdigest()
COMMON = {
    "host": "paiautoml.cn-shanghai.aliyuncs.com",
    "x-acs-version": "2022-08-28",
    "x-acs-date": "2025-01-02T03:04:05Z",
    "x-acs-signature-nonce": "0123456789abcdef0123456789abcdef",
}
CREATE = "/api/automl/v1/hpo/experiment"
BODY = '{"Name":"demo","WorkspaceId":"12345","Description":"测试 ~*+ é"}'.encode()
TYPED = {"content-type": "application/json; charset=utf-8"}
QUERY = (
    "MinCreateTime=2023-03-31+10%3A29%3A30&Name=a+b%2Bc*~%2F%C3%A9&PageNumber=1&PageSize=10"
    "&Tag=%5B%7B%22Key%22%3A%22msg-id%22%2C%22Value%22%3A%22m+1%22%7D%5D"
)


@pytest.mark.parametrize(
    ("method", "target", "body", "action", "extra", "expected"),
    [
        (
            "POST",
            CREATE,
            BODY,
            "CreateHpoExperiment",
            TYPED,
            "ebadc0686758dd433fbfc2e00f2e0b919b7db4615b3650f6e5ecbee885b20eba",
        ),
        (
            "POST",
            CREATE,
            BODY,
            "CreateHpoExperiment",
            {**TYPED, "x-acs-security-token": "StsTokenExample+/=="},
            "0162dc2b945c177c84a632b8f1debeae78fd2e3ec3196c1fba56061ee4201214",
        ),
        (
            "POST",
            CREATE,
            BODY,
            "CreateHpoExperiment",
            {**TYPED, "x-acs-security-token": "StsTokenExample+/==", "x-acs-accesskey-id": "testid"},
            "bc2edc58451f482bf52f7d03c118151f1a1dfdff7db2c4a2c1ba716457306ea0",
        ),
        (
            "GET",
            f"/api/automl/v1/hpo/experiments?{QUERY}",
            b"",
            "ListHpoExperiments",
            {},
            "3b4413ee6660a295b9109a246f1a90ec3150f3d6121c810a9b619e0d614ede49",
        ),
        (
            "PUT",
            f"{CREATE}/a%2Fb%20c/stop",
            b"",
            "StopHpoExperiment",
            {},
            "0385422a2cf30ad98bd4a29d9ee35ebe44a50bad9c3a80f2d1427a2af28bfb21",
        ),
    ],
)
def test_acs3_vectors(method, target, body, action, extra, expected):
    """The signatures agree with those of the vendor's code, also where the query is sent in form encoding."""
    digest = hashlib.sha256(body).hexdigest()
    headers = {**COMMON, **extra, "x-acs-action": action, "x-acs-content-sha256": digest}
    request = Request(method, target, tuple(headers.items()), body)
    assert signatures.sign_v3("testsecret", request, sorted(headers), digest) == expected


def test_acs3_official_example():
    """The worked example of the documentation gives the documented signature."""
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-version": "2014-05-26",
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-content-sha256": EMPTY,
    }
    target = "/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
    request = Request("POST", target, tuple(headers.items()))
    expected = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    assert signatures.sign_v3("YourAccessKeySecret", request, sorted(headers), EMPTY) == expected


def test_acs3_merges_repeated_headers():
    """Several values of one header are sorted and joined, an empty parameter keeps its equals sign."""
    headers = (("x-acs-TEST", "https"), ("x-acs-test", "http"))
    request = Request("GET", "/?test=ok&empty=", headers)
    payload = "55e12e91650d2fec56ec74e1d3e4ddbfce2ef3a65890c2a19ecf88a307e76a23"
    expected = "d16b30a7699ae9e43875b13195b2f81bcc3ed10c14a9b5eb780e51619aa50be1"
    assert signatures.sign_v3("secret", request, ["x-acs-test"], payload) == expected


@pytest.mark.parametrize(
    ("secret", "method", "target", "headers", "expected"),
    [
        (
            "sk1",
            "POST",
            "/queues/TestQueue",
            {"x-mns-abcDEF": "abcDEF", "Date": "Tue, 03 Jun 2025 11:23:48 GMT"},
            "cAThPWnbphg3hDe3ZHDADTgkgyE=",
        ),
        (
            "testSk",
            "GET",
            "/queues/TestQueue",
            {"Date": "Tue, 03 Jun 2025 11:23:48 GMT"},
            "uDJQXbk2xOhH95MDXmgbAGdtyE4=",
        ),
        (
            "sk",
            "GET",
            "/queues/q1/messages?waitseconds=10",
            {"Date": "Fri, 02 Jan 2026 03:04:05 GMT", "x-mns-version": "2015-06-06"},
            "Tp6U42H+E3mxt3GL7jRtnDm4Q0o=",
        ),
    ],
)
def test_mns_vectors(secret, method, target, headers, expected):
    """The signatures agree with those of the vendor's SDKs."""
    assert mns.signature(secret, Request(method, target, tuple(headers.items()))) == expected


@pytest.mark.parametrize(
    ("secret", "moment", "region", "method", "target", "headers", "expected"),
    [
        (
            "sk1",
            "2025-06-03T10:52:35Z",
            "region1",
            "POST",
            "/queues/TestQueue/?param1=abc&PARAM2=d%20%20ef&PARAM3=[def]%23bbb&PARAM4=%E4%B8%AD%E6%96%87%E5%8F%82%E6%95%B0",
            {},
            "1fc6013f158d4c3aba09570895a2a93c8445c2c5213d82a1463baf602cf0d945",
        ),
        (
            "skkkkkkk1111111111",
            "2025-12-03T11:23:48Z",
            "region2",
            "PUT",
            "/queues/TestQueue123456",
            {"x-mns-abc": "kkk", "X-MNS-Sss": "2015-06-06xFFF", "x-kkk-def": "jjj"},
            "04f1e5f929b5aaac3af6a54970f591581ecd2aade2562f926c5f2ec5d5c8cfad",
        ),
        (
            "skkkkkk2222222222",
            "2025-12-04T06:32:35Z",
            "eu-west-1",
            "GET",
            "/queues",
            {
                "x-mns-version": "2015-06-30",
                "x-mns-ttt": "1",
                "X-MNS-UUUuu": "FALse",
                "bb-MNS-UUUuu": "abcdddDDD",
                "Content-Type": "application/json",
                "Content-MD5": "0d9d2ce750000593eb34f00",
            },
            "294f776a2d5726df679b54b081ab8126a199a2545c8c8a7a875adff0b386e458",
        ),
    ],
)
def test_mns_vectors_of_version_4(secret, moment, region, method, target, headers, expected):
    """The signatures agree with MNSV4SignerTest of the vendor's SDK for Java."""
    at = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    scope = f"{region}/mns/aliyun_v4_request"
    request = Request(method, target, tuple(headers.items()))
    assert mns.signature_v4(secret, request, scope, at.timestamp()) == expected


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": "wrong"}, 400, "SignatureDoesNotMatch"),
        ({"x_acs_content_sha256": EMPTY[::-1]}, 400, "SignatureDoesNotMatch"),
        ({"x_acs_date": None}, 400, "MissingParameter"),
        ({"x_acs_signature_nonce": None}, 400, "MissingParameter"),
        ({"x_acs_date": "yesterday"}, 400, "InvalidTimeStamp.Format"),
        ({"x_acs_date": "2001-01-01T00:00:00Z"}, 400, "InvalidTimeStamp.Expired"),
        ({"x_acs_version": "2014-05-26"}, 400, "InvalidVersion"),
        ({"x_acs_security_token": "unknown"}, 400, "InvalidSecurityToken.MismatchWithAccessKey"),
        ({"host": None}, 400, "IncompleteSignature"),
    ],
)
def test_acs3_refusals(wire, cloud, changes, status, code):
    """Each defect has the gateway's own code, in the gateway's form."""
    answer = wire.pai("GET", "/api/automl/v1/hpo/experiments", "ListHpoExperiments", **changes)
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    assert set(answer.json()) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert cloud.access_key_secret not in answer.text


def test_acs3_nonce_is_used_once(wire):
    """A request that is sent a second time unchanged is refused."""
    first = wire.pai("GET", "/api/automl/v1/hpo/experiments", "ListHpoExperiments", x_acs_signature_nonce="n")
    again = wire.pai("GET", "/api/automl/v1/hpo/experiments", "ListHpoExperiments", x_acs_signature_nonce="n")
    assert first.status_code == 200
    assert again.json()["Code"] == "SignatureNonceUsed"


def test_acs3_forgets_old_nonces(wire, cloud):
    """A nonce is remembered for as long as the switch says, and with 0 not at all."""
    target = "/api/automl/v1/hpo/experiments"

    def is_accepted():
        return wire.pai("GET", target, "ListHpoExperiments", x_acs_signature_nonce="n").ok

    assert is_accepted()
    cloud.clock.advance(899)
    assert not is_accepted()
    cloud.clock.advance(1)
    assert is_accepted()
    cloud.behaviour.nonce_memory_seconds = 1860
    cloud.clock.advance(1859)
    assert not is_accepted()
    cloud.behaviour.nonce_memory_seconds = 0
    assert is_accepted()
    assert is_accepted()


def test_acs3_unknown_and_disabled_keys(wire, cloud):
    """An unknown key and a disabled key have different codes."""
    wire.key = ("nobody", "s")
    assert wire.list().json()["Code"] == "InvalidAccessKeyId.NotFound"
    assert wire.list().status_code == 404
    cloud.credentials.register("nobody", "s", user_id="1", active=False)
    assert wire.list().json()["Code"] == "InvalidAccessKeyId.Inactive"


def test_acs3_malformed_authorization(wire):
    """A missing header, another algorithm and a malformed header have different codes."""
    headers = {"host": wire.host, "x-acs-action": "ListHpoExperiments"}
    target = "/api/automl/v1/hpo/experiments"
    assert wire.send("GET", target, dict(headers)).json()["Code"] == "IncompleteSignature"
    assert wire.send("GET", target, {**headers, "Authorization": "x"}).json()["Code"] == "IncompleteSignature"
    other = "ACS3-RSA-SHA256 Credential=a,SignedHeaders=host,Signature=00"
    assert (
        wire.send("GET", target, {**headers, "Authorization": other}).json()["Code"]
        == "InvalidSignatureMethod"
    )


def test_gateway_errors_in_lower_case(wire, cloud):
    """A switch makes the gateway's error members begin with lower-case letters."""
    cloud.behaviour.error_keys = "lower"
    assert wire.pai("GET", "/api/automl/v1/none", "X").json()["code"] == "InvalidApi.NotFound"


def test_security_tokens(wire, cloud):
    """The cloud's own key works with and without its token; a key with a required token needs it until it expires."""
    wire.token = cloud.security_token
    assert wire.list().ok
    assert wire.smq("GET", "/queues").ok
    expires = cloud.clock.now() + 3600
    cloud.credentials.register("STS.x", "s", user_id="9", security_token="t", expires_at=expires)
    wire.key, wire.token = ("STS.x", "s"), None
    assert wire.list().json()["Code"] == "MissingSecurityToken"
    assert wire.smq("GET", "/queues").status_code == 403
    wire.token = "t"
    assert wire.list().ok
    cloud.clock.advance(3600)
    assert wire.list().json()["Code"] == "InvalidSecurityToken.Expired"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"Date": None}, 400, "MissingDateHeader"),
        ({"Date": "soon"}, 400, "InvalidDateHeader"),
        ({"Date": "Mon, 01 Jan 2001 00:00:00 GMT"}, 408, "TimeExpired"),
        ({"x_mns_version": None}, 400, "MissingVersionHeader"),
        ({"x_mns_version": "2014-07-08"}, 400, "InvalidArgument"),
        ({"Content_MD5": "AAAA"}, 400, "InvalidDegist"),
    ],
)
def test_mns_refusals(wire, changes, status, code):
    """Each defect has SMQ's own code, in a body with the four members that clients need."""
    answer = wire.smq("GET", "/queues", **changes)
    assert answer.status_code == status
    assert read(answer)["Code"] == code
    assert set(read(answer)) == {"Code", "Message", "RequestId", "HostId"}


@pytest.mark.parametrize("status", [408, 400])
def test_the_status_of_an_expired_mns_request(cloud, wire, status):
    """The HTTP status of TimeExpired is a switch."""
    cloud.behaviour.time_expired_status = status
    answer = wire.smq("GET", "/queues", Date="Mon, 01 Jan 2001 00:00:00 GMT")
    assert (answer.status_code, read(answer)["Code"]) == (status, "TimeExpired")


def test_mns_accepts_the_other_date_header(wire):
    """x-mns-date replaces Date, also in the signed text."""
    assert wire.smq("GET", "/queues", Date=None, x_mns_date=formatdate(usegmt=True)).ok


def mns4(wire, method, target, body=b"", *, secret=None, day=None):
    """One call of SMQ that is signed with version 4, as the SDK for Java sends it."""
    now = int(wire.cloud.clock.now())
    given = {
        "Date": formatdate(now, usegmt=True),
        "x-mns-version": "2015-06-06",
        "Content-Type": "text/xml;charset=UTF-8",
    }
    day = day or datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%d")
    scope = "cn-hangzhou/mns/aliyun_v4_request"
    request = Request(method, target, tuple(given.items()), body)
    digest = mns.signature_v4(secret or wire.key[1], request, scope, now)
    given["Authorization"] = f"MNS4-HMAC-SHA256 Credential={wire.key[0]}/{day}/{scope},Signature={digest}"
    return wire.send(method, target, given, body)


def test_mns_requests_of_version_4(wire, cloud):
    """A queue is used with signature V4, also with a receipt handle that is sent without encoding."""
    assert mns4(wire, "PUT", "/queues/q").status_code == 201
    assert (
        mns4(wire, "POST", "/queues/q/messages", xml("Message", MessageBody="x").encode()).status_code == 201
    )
    handle = read(mns4(wire, "GET", "/queues/q/messages?waitseconds=0"))["ReceiptHandle"]
    target = f"/queues/q/messages?ReceiptHandle={handle}"
    changed = read(mns4(wire, "PUT", f"{target}&VisibilityTimeout=5"))["ReceiptHandle"]
    encoded = quote(changed, safe="")
    assert mns4(wire, "DELETE", f"/queues/q/messages?ReceiptHandle={encoded}").status_code == 204
    assert cloud.queues["q"].messages == []


def test_mns_refusals_of_version_4(wire):
    """A wrong secret or another day does not fit, and an incomplete header is not well formed."""
    assert read(mns4(wire, "GET", "/queues", secret="wrong"))["Code"] == "SignatureDoesNotMatch"
    assert read(mns4(wire, "GET", "/queues", day="20010101"))["Code"] == "SignatureDoesNotMatch"
    headers = {"x-mns-version": "2015-06-06", "Authorization": "MNS4-HMAC-SHA256 Credential=a/b,Signature=0"}
    assert read(wire.send("GET", "/queues", headers))["Code"] == "InvalidAuthorizationHeader"
    wire.key = ("nobody", "s")
    assert read(mns4(wire, "GET", "/queues"))["Code"] == "InvalidAccessKeyId"


def test_mns_malformed_authorization(wire):
    """A missing header and one of another scheme have different codes; an unknown key is refused."""
    headers = {"x-mns-version": "2015-06-06"}
    assert read(wire.send("GET", "/queues", dict(headers)))["Code"] == "MissingAuthorizationHeader"
    other = {**headers, "Authorization": "MQS a:b"}
    assert read(wire.send("GET", "/queues", other))["Code"] == "InvalidAuthorizationHeader"
    wire.key = ("nobody", "s")
    assert read(wire.smq("GET", "/queues"))["Code"] == "InvalidAccessKeyId"


def test_advancing_the_clock_does_not_age_requests(wire, cloud):
    """A client whose clock does not follow the advanced clock is still accepted."""
    cloud.clock.advance(100_000)
    assert wire.smq("GET", "/queues", Date=formatdate(usegmt=True)).ok


@pytest.fixture
def in_shanghai(monkeypatch):
    """A machine whose local time is eight hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_shanghai")
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 29 Nov 2026 13:00:00 GMT",
        "Sun, 29 Nov 2026 13:00:00 -0000",
        "Sun, 29 Nov 2026 13:00:00",
        "Sun Nov 29 13:00:00 2026",
        "Sun, 29 Nov 2026 21:00:00 +0800",
        "Sunday, 29-Nov-26 13:00:00 GMT",
    ],
)
def test_a_date_does_not_depend_on_the_time_zone_of_the_machine(text):
    """A date without an offset, as `email.utils.formatdate` and `time.asctime` write it, is in UTC."""
    assert read_http_date(text) == datetime(2026, 11, 29, 13, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize("text", ["", "yesterday", "Sun, 29 Nov 99999 13:00:00 GMT", "2026-11-29T13:00:00Z"])
def test_an_invalid_http_date_is_refused(text):
    """Every text that cannot be read raises the one error that the services answer."""
    with pytest.raises(ValueError):
        read_http_date(text)
