"""HTTP triggers on a custom runtime: requests become the events of built-in runtimes, results become HTTP answers.

FC passes a request through to a custom runtime unchanged. A built-in runtime gets it as an object of version "v1" and
answers with `statusCode`, `headers` and `body`. Source:
https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function, of which the
Chinese version (help.aliyun.com/zh/functioncompute/fc/user-guide/http-trigger-invoking-function) has more details.

Beyond FC, an event has Lambda's `rawQueryString`, which keeps repeated parameters apart from values with a comma, and
an answer may have `cookies` of a function URL and `multiValueHeaders` of API Gateway. `as_builtin` leaves them out.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote

from fcruntime.context import Fc2Context
from fcruntime.invoke import InvokeResult
from fcruntime.jsonvalue import JsonObject, JsonValue, read_whole_number

Headers = list[tuple[str, str]]

_TEXT_TYPES = re.compile(
    r"text/.*|application/(json|ld\+json|xhtml\+xml|xml|atom\+xml|javascript)", re.IGNORECASE
)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTENT_TYPE = "Content-Type"
_JSON = "application/json"
_RESERVED = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding")
_OF_LAMBDA = ("cookies", "multiValueHeaders")
_INVALID = {
    "errorMessage": "the handler's result is not a valid HTTP answer",
    "errorType": "InvalidResponse",
}


def http_event(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    context: Fc2Context,
    *,
    now: float | None = None,
    as_builtin: bool = False,
) -> bytes:
    """Make the event of a request that arrived at `now`, without FC's own headers, which contain credentials."""
    given = _join_headers(headers)
    path, _, query = target.partition("?")
    domain, now = given.get("Host", ""), time.time() if now is None else now
    text = _read_text(body, given.get(_CONTENT_TYPE, ""))
    request: JsonObject = {
        "method": method,
        "path": unquote(path),
        "protocol": "HTTP/1.1",
        "sourceIp": given.get("X-Fc-Client-Ip", ""),
        "userAgent": given.get("User-Agent", ""),
    }
    event: JsonObject = {
        "version": "v1",
        "rawPath": path,
        "body": base64.b64encode(body).decode() if text is None else text,
        "isBase64Encoded": text is None,
        "headers": {name: value for name, value in given.items() if not name.startswith("X-Fc-")},
        "queryParameters": _join_parameters(query),
        **({} if as_builtin else {"rawQueryString": query}),
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


def _join_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers with names like `Content-Type`. A comma separates the values of one that is repeated."""
    joined: dict[str, str] = {}
    for given, value in headers:
        name = "-".join(part.capitalize() for part in given.split("-"))
        separator = "; " if name == "Cookie" else ","  # a comma would be part of a cookie
        text = _decode_utf8(value)
        joined[name] = f"{joined[name]}{separator}{text}" if name in joined else text
    return joined


def _decode_utf8(value: str) -> str:
    """Return the text of a header that was read as Latin-1, as `http.server` does, though most clients send UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _join_parameters(query: str) -> JsonObject:
    """Return the parameters of a query. A comma separates the values of one that is repeated."""
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    return {name: ",".join(every) for name, every in values.items()}


def _read_text(body: bytes, content_type: str) -> str | None:
    """Return the text of a body whose type is one of those that FC treats as text, or None for base64."""
    if not _TEXT_TYPES.fullmatch(content_type.partition(";")[0].strip()):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def http_answer(result: InvokeResult, *, as_builtin: bool = False) -> tuple[int, Headers, bytes]:
    """Return status, headers and body for the function's result.

    An error is a 502 without details, because the caller may be anyone. The log has them.
    """
    if not result.ok:
        return 502, [(_CONTENT_TYPE, _JSON)], b"Internal Server Error"
    try:
        answer: JsonValue = json.loads(result.body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return 200, [(_CONTENT_TYPE, _JSON)], result.body
    status = read_whole_number(answer["statusCode"])
    if status is None or not 200 <= status < 600:
        return 502, [(_CONTENT_TYPE, _JSON)], json.dumps(_INVALID).encode()
    if as_builtin:
        answer = {name: value for name, value in answer.items() if name not in _OF_LAMBDA}
    headers = [(name, value) for name, value in _read_headers(answer) if _is_settable(name)]
    if not any(name.lower() == _CONTENT_TYPE.lower() for name, _ in headers):
        headers.append((_CONTENT_TYPE, _JSON))
    return status, headers, _make_body(answer)


def _read_headers(answer: JsonObject) -> Iterator[tuple[str, str]]:
    single, multiple, cookies = (answer.get(name) for name in ("headers", "multiValueHeaders", "cookies"))
    own_cookies = cookies if isinstance(cookies, list) else []
    replaced = {name.lower() for name in multiple} if isinstance(multiple, dict) else set()
    if own_cookies:
        replaced.add("set-cookie")
    for given in (single, multiple):
        for name, value in given.items() if isinstance(given, dict) else ():
            if given is multiple or name.lower() not in replaced:
                yield from ((name, _clean(one)) for one in (value if isinstance(value, list) else [value]))
    yield from (("Set-Cookie", _clean(one)) for one in own_cookies)


def _is_settable(name: str) -> bool:
    lower = name.lower()
    return bool(_NAME.fullmatch(name)) and lower not in _RESERVED and not lower.startswith("x-fc-")


def _make_body(answer: JsonObject) -> bytes:
    body = answer.get("body")
    text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    data = text.encode(errors="replace")
    if answer.get("isBase64Encoded") is True:
        try:
            # In lines, as `base64.encodebytes` and e-mail write it, it is valid too.
            return base64.b64decode(data.translate(None, b"\r\n"), validate=True)
        except ValueError:
            return data  # as FC does
    return data


def _clean(value: JsonValue) -> str:
    """Return `value` without characters that would end the line of a header and begin another one.

    It is sent in UTF-8, but `http.server` writes Latin-1, so each byte becomes the character of its number.
    """
    text = value if isinstance(value, str) else json.dumps(value)
    return _CONTROL_CHARACTERS.sub("", text).encode(errors="replace").decode("latin-1")
