"""Both signatures against every published vector, and against the vendor's own code on random requests."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from alibabacloud_openapi_util.client import Client as OpenApiUtil
from alibabacloud_tea_openapi.utils import Utils as TeaOpenApi
from hypothesis import given, settings
from hypothesis import strategies as st
from mns.mns_client import MNSClient
from Tea.request import TeaRequest

from hpoq.cloud.signing import (
    ACS3,
    Credentials,
    acs3_headers,
    acs3_sign,
    canonical_query,
    mns_authorization,
    percent_encode,
)
from support.budget import examples

EMPTY = hashlib.sha256(b"").hexdigest()
TEST = Credentials("testid", "testsecret")
HOST = "paiautoml.cn-shanghai.aliyuncs.com"
AT = 1735787045.0  # 2025-01-02T03:04:05Z
NONCE = "0123456789abcdef0123456789abcdef"
BODY = '{"Name":"demo","WorkspaceId":"12345","Description":"测试 ~*+ é"}'.encode()
JSON = "application/json; charset=utf-8"
PREFIX = "/api/automl/v1/hpo"


def parts(authorization: str) -> tuple[str, str]:
    """Return the signed names and the signature."""
    scheme, _, rest = authorization.partition(" ")
    assert scheme == ACS3
    fields = dict(field.split("=", 1) for field in rest.split(","))
    return fields["SignedHeaders"], fields["Signature"]


def signed(
    method: str, path: str, action: str, *, query: str = "", body: bytes = b"", token: str | None = None
):
    headers = acs3_headers(
        method=method,
        path=path,
        query=query,
        host=HOST,
        action=action,
        version="2022-08-28",
        body=body,
        content_type=JSON if body else None,
        credentials=Credentials("testid", "testsecret", token),
        now=AT,
        nonce=NONCE,
    )
    return headers, *parts(headers["Authorization"])


def test_vector_a():
    """The worked example of the signature's documentation."""
    headers = acs3_headers(
        method="POST",
        path="/",
        query=canonical_query(
            [("RegionId", "cn-shanghai"), ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd")]
        ),
        host="ecs.cn-shanghai.aliyuncs.com",
        action="RunInstances",
        version="2014-05-26",
        body=b"",
        content_type=None,
        credentials=Credentials("YourAccessKeyId", "YourAccessKeySecret"),
        now=1698315752.0,
        nonce="3156853299f313e23d1673dc12e1703d",
    )
    assert headers["x-acs-date"] == "2023-10-26T10:22:32Z"
    assert headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;"
        "x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


@pytest.mark.parametrize(
    "values", [{"x-acs-test": "http", "x-acs-TEST": "https"}, {"X-Acs-Test": "https", "x-acs-test": "http"}]
)
def test_vector_b(values):
    """The unit test of darabonba-openapi-util: one header twice, in two spellings, and an empty value.

    The values of a header are sorted, whatever their order is.
    """
    payload = "55e12e91650d2fec56ec74e1d3e4ddbfce2ef3a65890c2a19ecf88a307e76a23"
    query = canonical_query([("test", "ok"), ("empty", "")])
    got = acs3_sign("GET", "/", query, values, payload, Credentials("acesskey", "secret"))
    assert parts(got) == ("x-acs-test", "d16b30a7699ae9e43875b13195b2f81bcc3ed10c14a9b5eb780e51619aa50be1")


def test_vector_c():
    """A create with a body beyond ASCII."""
    headers, names, signature = signed("POST", f"{PREFIX}/experiment", "CreateHpoExperiment", body=BODY)
    assert len(BODY) == 67
    assert (
        headers["x-acs-content-sha256"] == "36fba2bc34ec3013e793cf1fad7cd6822dee9344eddd27bbd117888793d66eac"
    )
    assert names == (
        "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
    )
    assert signature == "ebadc0686758dd433fbfc2e00f2e0b919b7db4615b3650f6e5ecbee885b20eba"


def test_vector_d():
    """A create with a security token, which is sent and signed."""
    headers, names, signature = signed(
        "POST", f"{PREFIX}/experiment", "CreateHpoExperiment", body=BODY, token="StsTokenExample+/=="
    )
    assert headers["x-acs-security-token"] == "StsTokenExample+/=="
    assert "x-acs-security-token" in names.split(";")
    assert signature == "0162dc2b945c177c84a632b8f1debeae78fd2e3ec3196c1fba56061ee4201214"


def test_vector_d2():
    """The form of the vendor's SDK, which adds the id of the access key as a header."""
    headers, _, _ = signed(
        "POST", f"{PREFIX}/experiment", "CreateHpoExperiment", body=BODY, token="StsTokenExample+/=="
    )
    del headers["Authorization"]
    headers["x-acs-accesskey-id"] = "testid"
    payload = headers["x-acs-content-sha256"]
    _, signature = parts(acs3_sign("POST", f"{PREFIX}/experiment", "", headers, payload, TEST))
    assert signature == "bc2edc58451f482bf52f7d03c118151f1a1dfdff7db2c4a2c1ba716457306ea0"


def test_vector_e():
    """A listing with a tag filter and every awkward character in the query."""
    query = canonical_query(
        {
            "Name": "a b+c*~/é",
            "PageNumber": "1",
            "PageSize": "10",
            "MinCreateTime": "2023-03-31 10:29:30",
            "Tag": '[{"Key":"msg-id","Value":"m 1"}]',
        }.items()
    )
    assert query == (
        "MinCreateTime=2023-03-31%2010%3A29%3A30&Name=a%20b%2Bc%2A~%2F%C3%A9&PageNumber=1&PageSize=10"
        "&Tag=%5B%7B%22Key%22%3A%22msg-id%22%2C%22Value%22%3A%22m%201%22%7D%5D"
    )
    _, names, signature = signed("GET", f"{PREFIX}/experiments", "ListHpoExperiments", query=query)
    assert names == "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
    assert signature == "3b4413ee6660a295b9109a246f1a90ec3150f3d6121c810a9b619e0d614ede49"


def test_vector_f():
    """A stop of an id that needs encoding."""
    path = f"{PREFIX}/experiment/{percent_encode('a/b c')}/stop"
    _, _, signature = signed("PUT", path, "StopHpoExperiment")
    assert path.endswith("/a%2Fb%20c/stop")
    assert signature == "0385422a2cf30ad98bd4a29d9ee35ebe44a50bad9c3a80f2d1427a2af28bfb21"


def test_mns_vector_1():
    """The first vector of the Java SDK: a header of the service in mixed case."""
    headers = {"x-mns-abcDEF": "abcDEF", "Date": "Tue, 03 Jun 2025 11:23:48 GMT"}
    got = mns_authorization("POST", "/queues/TestQueue", headers, Credentials("ak1", "sk1"))
    assert got == "MNS ak1:cAThPWnbphg3hDe3ZHDADTgkgyE="


def test_mns_vector_2():
    """The second vector of the Java SDK: nothing but a date."""
    headers = {"Date": "Tue, 03 Jun 2025 11:23:48 GMT"}
    got = mns_authorization("GET", "/queues/TestQueue", headers, Credentials("testAk", "testSk"))
    assert got == "MNS testAk:uDJQXbk2xOhH95MDXmgbAGdtyE4="


@pytest.mark.parametrize("date", ["Date", "x-mns-date"])
def test_mns_vector_3(date):
    """The vector of the Python SDK: a query; and x-mns-date fills the place of a missing Date."""
    headers = {date: "Fri, 02 Jan 2026 03:04:05 GMT", "x-mns-version": "2015-06-06"}
    resource = "/queues/q1/messages?waitseconds=10"
    got = mns_authorization("GET", resource, headers, Credentials("ak", "sk"))
    if date == "Date":
        assert got == "MNS ak:Tp6U42H+E3mxt3GL7jRtnDm4Q0o="
    else:
        both = {**headers, "Date": headers["x-mns-date"]}
        assert got == mns_authorization("GET", resource, both, Credentials("ak", "sk"))


keys = st.text("ABCDEFabcdef0123456789+/=-_.", min_size=1, max_size=40)
words = st.text("ABCXYZabcxyz0189-_.~", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
header_names = st.text("abcXYZ019-", min_size=1, max_size=10).map(lambda name: f"x-acs-{name}")
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=20)


@settings(max_examples=examples(80), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(texts, max_size=4),
    query=st.dictionaries(words, texts, max_size=5),
    headers=st.dictionaries(header_names, header_values, max_size=5),
    body=st.binary(max_size=50),
    key_id=keys,
    secret=keys,
)
def test_acs3_like_the_vendor(method, segments, query, headers, body, key_id, secret):
    """On any request our `Authorization` equals that of both of the vendor's signing libraries."""
    path = "/" + "/".join(quote(segment, safe="~") for segment in segments)
    payload = hashlib.sha256(body).hexdigest()
    request = TeaRequest()
    request.method, request.pathname, request.query, request.headers = method, path, query, headers
    ours = acs3_sign(
        method, path, canonical_query(query.items()), headers, payload, Credentials(key_id, secret)
    )
    for vendor in (OpenApiUtil, TeaOpenApi):
        assert ours == vendor.get_authorization(request, ACS3, payload, key_id, secret)


def vendor_mns(method: str, resource: str, headers: dict[str, str], credentials: Credentials) -> str:
    class Held:
        get_access_key_id = staticmethod(lambda: credentials.access_key_id)
        get_access_key_secret = staticmethod(lambda: credentials.access_key_secret)

    return MNSClient.get_signature(object.__new__(MNSClient), method, headers, resource, Held)


@settings(max_examples=examples(80), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    resource=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).map("/queues/{}".format),
    names=st.dictionaries(words.map(str.lower).map("x-mns-{}".format), header_values, max_size=5),
    usual=st.fixed_dictionaries(
        {"date": words}, optional={"content-type": words, "content-md5": words, "user-agent": words}
    ),
    key_id=keys,
    secret=keys,
)
def test_mns_like_the_vendor(method, resource, names, usual, key_id, secret):
    """On any request our `Authorization` equals that of the vendor's Python SDK."""
    credentials = Credentials(key_id, secret)
    headers = {**names, **usual}
    ours = mns_authorization(method, resource, headers, credentials)
    assert ours == vendor_mns(method, resource, headers, credentials)
