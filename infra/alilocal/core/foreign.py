"""Requests for services that the local cloud does not have: which service is meant, and how it is refused.

A client must not mistake the refusal for an answer of its service, such as that an object does not exist. The status
is always 400, because clients repeat a request that is answered with 500 or more.
"""

from __future__ import annotations

import base64
import json
import re
from typing import NamedTuple

from alilocal.core.gateway import as_xml
from alilocal.core.http import Request, Response

CODE = "ServiceNotSupported"
METADATA_HOST = "100.100.100.200"
OFFICIAL_DOMAIN = "aliyuncs.com"
MAXCOMPUTE_DOMAINS = tuple(
    f"{name}.{domain}" for name in ("maxcompute", "odps") for domain in ("aliyun.com", "aliyun-inc.com")
)
"""MaxCompute's hosts have domains of their own."""
_REGION = re.compile(r"(?:cn|ap|us|eu|me|na|sa|rus)-[a-z0-9-]+|(?:vpc|internal|intranet|share|public)")
_OBJECT_STORAGE = "oss"
_MARKS = (
    (_OBJECT_STORAGE, ("OSS ", "OSS4-"), "x-oss-"),
    ("sls", ("LOG ",), "x-log-"),
    ("fc", ("FC ",), "x-fc-"),
)
_SAME = {"log": "sls", "mns": "smq", "ots": "tablestore"}
"""Names in hosts that differ from the names of services."""


class Foreign(NamedTuple):
    """The service that a request means, by the name in its hosts, and the operation."""

    service: str
    operation: str


def identify(request: Request, parameters: dict[str, str]) -> Foreign | None:
    """Return the service and the operation that a request means, or None if it names neither."""
    host = (request.header("Host") or "").lower().rpartition("@")[2].partition(":")[0].rstrip(".")
    action = parameters.get("Action") or request.header("x-acs-action") or f"{request.method} {request.path}"
    signed = request.header("Authorization") or ""
    for name, schemes, prefix in _MARKS:
        if signed.startswith(schemes) or request.headers_from(prefix):
            return Foreign(name, action)
    if host == METADATA_HOST:
        return Foreign("ecs-metadata", action)
    in_host = name_in_host(host)
    if in_host is not None:
        return Foreign(in_host, action)
    version = parameters.get("Version") or request.header("x-acs-version")
    return Foreign(f"API {version}", action) if version else None


def name_in_host(host: str) -> str | None:
    """Return the name of the service in one of Alibaba Cloud's hosts, or None for another host."""
    if host.endswith(tuple(f".{domain}" for domain in MAXCOMPUTE_DOMAINS)):
        return "maxcompute"
    if not host.endswith(f".{OFFICIAL_DOMAIN}"):
        return None
    labels = host.removesuffix(f".{OFFICIAL_DOMAIN}").split(".")
    # `oss-cn-hangzhou` and `fc-vpc` have the region or the network in the same label.
    labels = [re.sub(rf"-(?:{_REGION.pattern})$", "", label) for label in labels]
    names = [label for label in labels if not _REGION.fullmatch(label)]
    # The host of VPC has the name of a network.
    name = names[-1] if names else labels[0]
    return _SAME.get(name, name)


def refuse(request: Request, foreign: Foreign, request_id: str, form: str | None = None) -> Response:
    """Return an error that names the service, in a form that its clients read; `form` is the parameter Format."""
    message = f"The local cloud has no service {foreign.service}: it cannot carry out {foreign.operation}."
    common = {"Code": CODE, "Message": message, "RequestId": request_id, "HostId": request.authority}
    headers = (("Content-Type", "application/json;charset=utf-8"), ("x-acs-request-id", request_id))
    if foreign.service == _OBJECT_STORAGE or (form or "").upper() == "XML":
        answer = as_xml(Response(400, headers, json.dumps(common).encode()), "Error")
        # The answer to a HEAD request has no body; newer clients read the error from this header.
        own = (("x-oss-request-id", request_id), ("x-oss-err", base64.b64encode(answer.body).decode()))
        return answer._replace(headers=(*answer.headers, *own))
    # Each service's SDK looks for the members in a spelling of its own.
    small = {f"{name[0].lower()}{name[1:]}": value for name, value in common.items()}
    others = {"errorCode": CODE, "errorMessage": message, "ErrorCode": CODE, "ErrorMessage": message}
    body = json.dumps({**common, **small, **others}).encode()
    return Response(400, (*headers, ("x-log-requestid", request_id)), body)
