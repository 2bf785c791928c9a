"""An HTTP trigger on a custom runtime: requests as the events that built-in runtimes get, results as answers.

FC passes a request through to a custom runtime as it came, where a built-in one gets an object of version "v1" and
answers with `statusCode`, `headers` and `body`. Source:
https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from fcruntime.context import Fc2Context
from fcruntime.invoke import InvokeResult
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers.body import as_text

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JSON = {"Content-Type": "application/json"}
# The server writes these itself.
_OWN = ("content-length", "transfer-encoding", "connection", "x-fc-status")


def http_event(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, context: Fc2Context
) -> bytes:
    """The event of a request; FC's own headers, which hold credentials, are left out."""
    told: dict[str, str] = {}
    for name, value in headers:
        told[name] = f"{told[name]},{value}" if name in told else value
    lower = {name.lower(): value for name, value in told.items()}
    path, _, query = target.partition("?")
    domain, now = lower.get("host", ""), time.time()
    text, encoded = as_text(body)
    request: JsonObject = {
        "method": method,
        "path": path,
        "protocol": "HTTP/1.1",
        "sourceIp": lower.get("x-fc-client-ip", ""),
        "userAgent": lower.get("user-agent", ""),
    }
    event: JsonObject = {
        "version": "v1",
        "rawPath": path,
        "body": text,
        "isBase64Encoded": encoded,
        "headers": {name: value for name, value in told.items() if not name.lower().startswith("x-fc-")},
        "queryParameters": dict(parse_qsl(query, keep_blank_values=True)),
        "requestContext": {
            "accountId": context.account_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": request,
            "requestId": context.request_id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "timeEpoch": str(int(now * 1000)),
        },
    }
    return json.dumps(event).encode()


def http_answer(result: InvokeResult) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body for what the function gave; its error is 502."""
    if not result.ok:
        return 502, _JSON, result.body
    try:
        told: JsonValue = json.loads(result.body)
    except ValueError:
        return 200, {"Content-Type": "text/plain; charset=utf-8"}, result.body
    if not isinstance(told, dict) or "statusCode" not in told:
        return 200, _JSON, result.body
    status, given, body = told["statusCode"], told.get("headers"), told.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    headers = (
        {_plain(name): _plain(value) for name, value in given.items()} if isinstance(given, dict) else {}
    )
    headers = {name: value for name, value in headers.items() if name.lower() not in _OWN}
    try:
        data = base64.b64decode(text, validate=True) if told.get("isBase64Encoded") is True else text.encode()
    except ValueError:
        status, data = None, b""
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status < 600:
        return 502, _JSON, b'{"errorMessage": "the answer is none of HTTP", "errorType": "InvalidResponse"}'
    return status, headers or _JSON, data


def _plain(value: JsonValue) -> str:
    """What can stand in one line of a header; the rest would become headers of its own."""
    text = value if isinstance(value, str) else json.dumps(value)
    return _CONTROL.sub("", text).encode("latin-1", "replace").decode("latin-1")
