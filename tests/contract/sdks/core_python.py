"""Runs beside aliyun-python-sdk-core, which signs with version 1 and sends the newest headers beside it."""

import json
import logging

from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest, RpcRequest
from checks import equal, fails, outcomes, report, settings

logging.disable(logging.CRITICAL)
HOST = settings["url"].removeprefix("http://")
CLIENT = AcsClient(settings["id"], settings["secret"], "cn-local")
WRONG = AcsClient(settings["id"], "wrong", "cn-local")
LISTING = "/api/automl/v1/hpo/experiments"
EVENTS = json.dumps([{"id": "1", "source": "hé re", "type": "t", "data": {"a": "~*+ "}}])


def made(action=None, version="2015-04-01", method="GET", path=None, **query):
    request = CommonRequest(domain=HOST, version=version, action_name=action, uri_pattern=path)
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in query.items():
        request.add_query_param(name, value)
    return request


def call(request, client=CLIENT):
    return json.loads(client.do_action_with_exception(request))


def with_form(request, **form):
    for name, value in form.items():
        request.add_body_params(name, value)
    return request


def generated():
    """Return a request as the packages of single products make it."""
    request = RpcRequest("Sts", "2015-04-01", "GetCallerIdentity")
    request.set_endpoint(HOST)
    request.set_protocol_type("http")
    return request


def create():
    request = made(None, "2022-08-28", "POST", "/api/automl/v1/hpo/experiment")
    request.set_content('{"Name": "é"}'.encode())
    request.set_content_type("application/json")
    return call(request)["ExperimentId"]


def as_xml():
    request = made("GetCallerIdentity")
    request.set_accept_format("XML")
    assert CLIENT.do_action(request).startswith(
        b"<?xml version='1.0' encoding='UTF-8'?><GetCallerIdentityResponse>"
    )


ROLE = {"RoleArn": "acs:ram::1000000000000001:role/worker", "RoleSessionName": "me"}
TOKEN = AcsClient(
    region_id="cn-local", credential=StsTokenCredential(settings["id"], settings["secret"], settings["token"])
)
report(
    outcomes(
        "aliyun-python-sdk-core",
        {
            "GetCallerIdentity, GET": lambda: equal(
                call(made("GetCallerIdentity"))["IdentityType"], "Account"
            ),
            "GetCallerIdentity, POST": lambda: call(made("GetCallerIdentity", method="POST")),
            "a generated request": lambda: equal(call(generated())["IdentityType"], "Account"),
            "with a token": lambda: call(made("GetCallerIdentity"), TOKEN),
            "XML": as_xml,
            "a wrong secret": lambda: fails(
                lambda: call(made("GetCallerIdentity"), WRONG), "SignatureDoesNotMatch"
            ),
            "a wrong secret of a generated request": lambda: fails(
                lambda: call(generated(), WRONG), "InvalidAccessKeySecret"
            ),
            "AssumeRole in a form": lambda: call(with_form(made("AssumeRole", method="POST"), **ROLE)),
            "EventBridge put": lambda: equal(
                call(made("PutEvents", "2020-04-01", "POST", EventBusName="default", EventList=EVENTS))[
                    "Code"
                ],
                "200",
            ),
            "PAI AutoML list": lambda: equal(
                call(made(None, "2022-08-28", path=LISTING, Name="é b&c", Status=""))["TotalCount"], 0
            ),
            "PAI AutoML create": create,
            "a wrong secret of the ROA style": lambda: fails(
                lambda: call(made(None, "2022-08-28", path=LISTING, Name="a"), WRONG), "SignatureDoesNotMatch"
            ),
        },
    )
)
