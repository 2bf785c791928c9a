"""Answers of the API gateway, which stands before PAI AutoML, STS and EventBridge.

Source: https://www.alibabacloud.com/help/doc-detail/50285.htm.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from alilocal.core.http import Response, ServiceError
from alilocal.core.jsonvalue import JsonObject

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_response(status: int, body: JsonObject, request_id: str) -> Response:
    """An answer in JSON."""
    headers = (
        ("Content-Type", "application/json;charset=utf-8"),
        ("x-acs-request-id", request_id),
        ("x-acs-trace-id", request_id.replace("-", "").lower()),
    )
    text = _ENCODER.encode(body)
    # A request may bring half a surrogate pair, which UTF-8 cannot carry back.
    return Response(status, headers, text.encode(errors="replace"))


def gateway_error(
    error: ServiceError, request_id: str, host: str, product: str, *, lower: bool = False
) -> JsonObject:
    """The body of an error; `lower` spells its members with small letters."""
    recommend = f"https://api.aliyun.com/troubleshoot?q={quote(error.code)}&product={product}"
    body: JsonObject = {
        "RequestId": request_id,
        "HostId": host,
        "Code": error.code,
        "Message": error.message,
        "Recommend": f"{recommend}&requestId={request_id}",
        **({"AccessDeniedDetail": dict(error.detail)} if error.detail else {}),
    }
    return {name[0].lower() + name[1:]: value for name, value in body.items()} if lower else body
