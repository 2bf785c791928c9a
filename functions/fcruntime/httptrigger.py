"""HTTP triggers on a custom runtime: requests become the events of built-in runtimes, results become HTTP answers.

FC passes a request through to a custom runtime unchanged. A built-in runtime gets it as an object of version "v1" and
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

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_JSON = {"Content-Type": "application/json"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_SET_BY_SERVER = ("content-length", "transfer-encoding", "connection", "x-fc-status")
_INVALID = {
    "errorMessage": "the handler's result is not a valid HTTP answer",
    "errorType": "InvalidResponse",
}


def http_event(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, context: Fc2Context
) -> bytes:
    """Make the event of a request, without FC's own headers, which contain credentials."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    lower = {name.lower(): value for name, value in joined.items()}
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
        "headers": {name: value for name, value in joined.items() if not name.lower().startswith("x-fc-")},
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
    """Return status, headers and body for the function's result; an error is a 502."""
    if not result.ok:
        return 502, _JSON, result.body
    try:
        answer: JsonValue = json.loads(result.body)
    except (ValueError, RecursionError):
        return 200, _TEXT, result.body
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return 200, _JSON, result.body
    status, given, body = answer["statusCode"], answer.get("headers"), answer.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    headers = (
        {_clean(name): _clean(value) for name, value in given.items()} if isinstance(given, dict) else {}
    )
    headers = {name: value for name, value in headers.items() if name.lower() not in _SET_BY_SERVER}
    is_base64 = answer.get("isBase64Encoded") is True
    try:
        data = base64.b64decode(text, validate=True) if is_base64 else text.encode()
    except ValueError:
        status, data = None, b""
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status < 600:
        return 502, _JSON, json.dumps(_INVALID).encode()
    return status, headers or _JSON, data


def _clean(value: JsonValue) -> str:
    """Return `value` without characters that would end the line of a header and begin another one."""
    text = value if isinstance(value, str) else json.dumps(value)
    return _CONTROL_CHARACTERS.sub("", text).encode("latin-1", "replace").decode("latin-1")
