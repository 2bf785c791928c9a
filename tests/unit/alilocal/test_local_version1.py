"""Version 1 of the gateway's signature, in the styles RPC and ROA, as older SDKs send it."""

from __future__ import annotations

import time
from email.utils import formatdate
from itertools import count
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from localwire import formatdate_iso

from alilocal.core import signatures
from alilocal.core.gateway import sign_sha1
from alilocal.core.http import Request

NONCES = count()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HEADERS = {"x-acs-action": "getCallerIdentity", "x-acs-version": "2015-04-01"}
LISTING = "/api/automl/v1/hpo/experiments"


def rpc(wire, method="GET", *, headers=HEADERS, secret=None, **given):
    """One call of the RPC style: signed parameters in the query, or of a POST in a form."""
    parameters = {
        "Action": "GetCallerIdentity",
        "Version": "2015-04-01",
        "AccessKeyId": wire.key[0],
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": f"rpc-{next(NONCES)}",
        "Timestamp": formatdate_iso(wire.cloud.clock.now()),
        **given,
    }
    parameters["Signature"] = signatures.sign_rpc(secret or wire.key[1], method, parameters)
    if method == "POST":
        return wire.send("POST", "/", {**FORM, **headers}, urlencode(parameters).encode())
    return wire.send(method, f"/?{urlencode(parameters)}", dict(headers))


def roa(wire, path=LISTING, query="", *, method="GET", body=b"", secret=None, signed_query=None, **headers):
    """One call of the ROA style; `signed_query` is the query as the client signed it."""
    given = {
        "Accept": "application/json",
        "Date": formatdate(wire.cloud.clock.now(), usegmt=True),
        "x-acs-signature-method": "HMAC-SHA1",
        "x-acs-signature-nonce": f"roa-{next(NONCES)}",
        "x-acs-version": "2022-08-28",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    target = f"{path}?{query}" if query else path
    text = signatures.roa_strings_to_sign(Request(method, target, tuple(given.items()), body))[0]
    if signed_query is not None:
        text = text.rpartition("?")[0] + f"?{signed_query}"
    digest = sign_sha1(secret or wire.key[1], text)
    return wire.send(method, target, {**given, "Authorization": f"acs {wire.key[0]}:{digest}"}, body)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    "headers", [HEADERS, {"x-acs-version": "2015-04-01"}, {"x-acs-version": "2020-04-01"}, {}]
)
def test_signed_parameters_decide(wire, method, headers):
    """A call with a signature in its parameters is of version 1, and its parameters win over unsigned headers."""
    answer = rpc(wire, method, headers=headers)
    assert answer.json()["IdentityType"] == "Account"


def test_headers_decide_in_version_3(wire):
    """The headers of version 3 are signed, and take precedence over parameters with the same names."""
    answer = wire.pai(
        "POST",
        "/",
        "GetCallerIdentity",
        query={"Action": "Other", "Version": "0"},
        x_acs_version="2015-04-01",
    )
    assert answer.json()["IdentityType"] == "Account"


def test_headers_alone_are_not_a_signature(wire):
    """A call with the headers of version 3 and no signature at all is refused as such."""
    answer = wire.send("POST", "/", {"x-acs-action": "GetCallerIdentity", "x-acs-version": "2015-04-01"})
    assert (answer.status_code, answer.json()["Code"]) == (400, "IncompleteSignature")


@pytest.mark.parametrize("value", ["a b", "~*+'()!/", "é", "", "a=b&c"])
def test_values_are_signed_after_decoding(wire, value):
    """What a parameter contains does not matter to the signature, however its sender encodes it."""
    assert rpc(wire, RoleSessionName=value).ok
    assert rpc(wire, "POST", RoleSessionName=value).ok


def test_a_wrong_signature_names_the_signed_text(wire):
    """Older SDKs split the message at its colon and compare the text behind it with their own."""
    answer = rpc(wire, secret="wrong")
    code, message = answer.json()["Code"], answer.json()["Message"]
    text = message.split(":")[1]
    assert (answer.status_code, code) == (400, "SignatureDoesNotMatch")
    assert message.startswith(
        "Specified signature is not matched with our calculation. server string to sign is:"
    )
    assert text.startswith("GET&%2F&AccessKeyId%3D")
    assert (
        roa(wire, secret="wrong").json()["Message"].partition("is:")[2].startswith("GET\napplication/json\n")
    )


@pytest.mark.parametrize(
    ("form", "default", "content"),
    [
        ({"Format": "XML"}, "JSON", "text/xml"),
        ({"Format": "xml"}, "JSON", "text/xml"),
        ({"Format": "JSON"}, "XML", "application/json"),
        ({}, "JSON", "application/json"),
        ({}, "XML", "text/xml"),
    ],
)
def test_the_format_of_an_answer(wire, cloud, form, default, content):
    """Format chooses between XML and JSON, for answers and errors; without it a switch does."""
    cloud.behaviour.default_format = default
    for answer in (rpc(wire, **form), rpc(wire, secret="wrong", **form)):
        assert answer.headers["Content-Type"].startswith(content)
        if content == "text/xml":
            root = ElementTree.fromstring(answer.content)
            assert root.tag == ("GetCallerIdentityResponse" if answer.ok else "Error")
            assert root.findtext("RequestId") == answer.headers["x-acs-request-id"]


def test_lists_in_xml(wire, cloud):
    """A list is one element per item, a boolean is in lower case, and a text is escaped."""
    cloud.buses.create("orders", "a < b & \x01")
    answer = rpc(wire, Action="ListEventBuses", Version="2020-04-01", Format="XML", headers={})
    root = ElementTree.fromstring(answer.content)
    assert root.findtext("Success") == "true"
    assert [one.findtext("EventBusName") for one in root.findall("Data/EventBuses")] == ["default", "orders"]
    assert root.findall("Data/EventBuses")[1].findtext("Description") == "a < b & "


@pytest.mark.parametrize(
    ("query", "signed_query"),
    [
        ("", None),
        ("PageSize=5&Name=a%20b", "Name=a b&PageSize=5"),
        ("Name=a+b%26%C3%A9", "Name=a b&é"),
        ("Name=&Status=", "Name=&Status="),
        ("Name=&Status=", "Name&Status"),
    ],
)
def test_the_resource_is_signed_decoded(wire, query, signed_query):
    """A request of the ROA style is signed over its sorted and decoded query."""
    assert roa(wire, query=query, signed_query=signed_query).json()["TotalCount"] == 0


def test_roa_bodies(wire):
    """A body is taken with and without its digest, and refused with the digest of another one."""
    create = {"path": "/api/automl/v1/hpo/experiment", "method": "POST", "body": b'{"Name":"x"}'}
    assert "ExperimentId" in roa(wire, **create, Content_Type="application/json").json()
    assert roa(wire, **create, Content_MD5="AAAA").json()["Code"] == "InvalidDigest"
    assert roa(wire, Accept="application/xml").content.startswith(
        b"<?xml version='1.0' encoding='UTF-8'?><List"
    )


def test_function_compute_takes_them_too(wire):
    """The first releases of alibabacloud-fc-open20210406 sign so."""
    functions = {
        "path": "/2021-04-06/services",
        "x_acs_version": "2021-04-06",
        "x_acs_action": "ListServices",
    }
    assert roa(wire, **functions, query="limit=1").json() == {"services": []}
    assert roa(wire, **functions, secret="wrong").json()["Code"] == "SignatureDoesNotMatch"


def test_roa_refusals(wire, cloud):
    """Keys, tokens, dates and nonces are checked as in the other versions."""
    assert roa(wire, Date=formatdate(time.time() - 3600, usegmt=True)).json()["Code"] == "InvalidDate.Expired"
    assert roa(wire, Date="today").json()["Code"] == "InvalidDate.Format"
    assert roa(wire, x_acs_security_token="x").json()["Code"] == "InvalidSecurityToken.MismatchWithAccessKey"
    assert roa(wire, x_acs_security_token=cloud.security_token).ok
    assert roa(wire, x_acs_signature_nonce="same").ok
    assert roa(wire, x_acs_signature_nonce="same").json()["Code"] == "SignatureNonceUsed"
    assert roa(wire, x_acs_action="GetHpoExperiment").json()["Code"] == "InvalidAction.NotFound"
    wire.key = ("nobody", "x")
    assert roa(wire).json()["Code"] == "InvalidAccessKeyId.NotFound"


def test_an_encoded_path(wire):
    """A client may sign the path before or after it encodes it."""
    path = f"/api/automl/v1/hpo/experiment/{quote('a b')}"
    assert roa(wire, path).json()["Code"] == "INVALID_USER_OR_EXP"


@pytest.mark.parametrize(("ending", "status"), [("Z", 200), (".123Z", 200), (".Z", 400), ("", 400)])
def test_a_time_may_have_a_fraction(wire, ending, status):
    """aliyun-sdk for Node.js signs a time with milliseconds."""
    moment = formatdate_iso(wire.cloud.clock.now()).removesuffix("Z")
    assert rpc(wire, Timestamp=f"{moment}{ending}").status_code == status


def test_the_type_of_a_form_has_no_case(wire):
    """A media type is the same in capitals, and with parameters behind it."""
    headers = {"Content-Type": "Application/X-WWW-Form-Urlencoded; Charset=UTF-8"}
    assert rpc(wire, "POST", headers=headers).status_code == 200
