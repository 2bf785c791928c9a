"""What AWS Lambda passes to an HTTP handler and takes from it, made from what FC's HTTP triggers use.

The events of HTTP and API Gateway triggers get the members of a REST API's proxy event. Those of HTTP triggers also
get the members of a function URL's event (https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html), which
win where the two differ. Nothing is removed. Of FC's members only `version` is replaced, because web frameworks go by
it, and the two times of a request, which have other forms. Headers keep their names, and are found by them in any
case. Both triggers take `headers` only, with one value per name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from fcruntime.awslambda import YEAR_10000
from fcruntime.jsonvalue import JsonObject, JsonValue, read_whole_number

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens on it
_DEFAULT = "$default"  # the route and the stage of a function URL


class Headers(dict[str, JsonValue]):
    """Headers that are found by their names in any case.

    FC writes `Content-Type`, function URLs write `content-type`. Handlers for Lambda look for the latter, also in
    expressions, such as that of an idempotency key, where a missing member is not an error but turns the utility off.
    """

    def __missing__(self, name: str) -> JsonValue:
        for own, value in self.items():
            if own.lower() == str(name).lower():
                return value
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or `default` if it is missing."""
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return str(name).lower() in (own.lower() for own in self)


class _TriggerEvent(dict[str, JsonValue]):
    """The event of an HTTP trigger, which handlers for REST APIs and for function URLs read.

    Where a request has no parameters, a REST API's event has null, and its handlers read `event[...]`. A function
    URL's event lacks the member, and its handlers read `event.get(..., {})`.
    """

    def __missing__(self, name: str) -> None:
        if name not in ("queryStringParameters", "pathParameters"):
            raise KeyError(name)


def complete_event(event: JsonObject) -> JsonObject | None:
    """Return the event of FC's HTTP or API Gateway trigger with Lambda's members, or None for any other event."""
    context, headers = event.get("requestContext"), event.get("headers")
    if isinstance(headers, dict):
        event = {**event, "headers": Headers(headers)}
    if event.get("version") == "v1" and "rawPath" in event and isinstance(context, dict):
        return _complete_trigger_event(event, context)
    if event.keys() >= {"httpMethod", "path", "headers", "queryParameters"} and context is None:
        return _complete_gateway_event(event)
    return None


def complete_answer(result: object) -> object:
    """Return an HTTP answer whose `headers` also contain its `multiValueHeaders` and its cookie; else `result`.

    `headers` cannot contain several cookies. They stay in `cookies`, which only `python -m fcruntime` reads.
    """
    if not isinstance(result, Mapping) or "statusCode" not in result:
        return result
    headers, multiple, cookies = (
        result.get(name) or {} for name in ("headers", "multiValueHeaders", "cookies")
    )
    if not isinstance(headers, Mapping) or not (multiple or cookies):
        return result
    added: dict[str, object] = {}
    for name, values in multiple.items() if isinstance(multiple, Mapping) else ():
        if isinstance(values, list) and (len(values) == 1 or name.lower() != "set-cookie"):
            added[name] = ",".join(map(str, values))
    if isinstance(cookies, list) and len(cookies) == 1:
        added["Set-Cookie"] = cookies[0]
    replaced = {name.lower() for name in added}
    kept = {name: value for name, value in headers.items() if name.lower() not in replaced}
    return {**result, "headers": {**kept, **added}}


def _complete_trigger_event(event: JsonObject, context: JsonObject) -> JsonObject:
    parameters = _read_texts(event.get("queryParameters"))
    headers = _read_texts(event.get("headers"))
    cookies = next((value for name, value in headers.items() if name.lower() == "cookie"), "")
    added: JsonObject = {"routeKey": _DEFAULT, "rawQueryString": urlencode(parameters)}
    if parameters:
        added["queryStringParameters"] = {**parameters}
    if cookies:
        added["cookies"] = [one.strip() for one in cookies.split(";")]
    times = _make_times(context.get("timeEpoch"))
    rest: JsonObject = {}
    http = context.get("http")
    if isinstance(http, dict) and isinstance(method := http.get("method"), str):
        address, agent = http.get("sourceIp") or _UNKNOWN_ADDRESS, http.get("userAgent", "")
        rest = _make_rest_context(method, event["rawPath"], {"sourceIp": address, "userAgent": agent}, times)
        query = event.get("rawQueryString")
        lists = parse_qs(query, keep_blank_values=True) if isinstance(query, str) else _make_lists(parameters)
        added |= _make_rest_members(event["rawPath"], lists, headers)
        added |= {"httpMethod": method, "path": event["rawPath"]}
    made: JsonObject = {"apiId": context.get("domainPrefix", ""), "routeKey": _DEFAULT, "stage": _DEFAULT}
    merged: JsonObject = {**rest, **made, **context, **times}
    return _TriggerEvent({**added, **event, "version": "2.0", "requestContext": merged})


def _make_times(epoch: JsonValue) -> JsonObject:
    """Return a time in milliseconds in the two forms of Lambda: a number, and one like 12/Mar/2020:19:03:58 +0000."""
    milliseconds = read_whole_number(epoch)
    if milliseconds is None or not 0 <= milliseconds < YEAR_10000:
        return {}
    moment = time.gmtime(milliseconds // 1000)
    month = _MONTHS[moment.tm_mon - 1]  # `%b` depends on the locale
    return {"timeEpoch": milliseconds, "time": time.strftime(f"%d/{month}/%Y:%H:%M:%S +0000", moment)}


def _complete_gateway_event(event: JsonObject) -> JsonObject:
    parameters, headers = _read_texts(event.get("queryParameters")), _read_texts(event.get("headers"))
    added: JsonObject = {
        **_make_rest_members(event["path"], _make_lists(parameters), headers),
        "queryStringParameters": {**parameters} or None,
        "requestContext": _make_gateway_context(event, headers),
    }
    return {**added, **event, "isBase64Encoded": event.get("isBase64Encoded") in (True, "true")}


def _make_lists(values: Mapping[str, str]) -> dict[str, list[str]]:
    """Return a list for each value. FC joins several values of a name by commas, which values may contain too."""
    return {name: [value] for name, value in values.items()}


def _make_rest_members(
    path: JsonValue, parameters: Mapping[str, list[str]], headers: Mapping[str, str]
) -> JsonObject:
    """Return the members of a REST API's event that a function URL's lacks."""
    return {
        "resource": path,
        "multiValueQueryStringParameters": {name: [*values] for name, values in parameters.items()} or None,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "stageVariables": None,
    }


def _make_rest_context(
    method: JsonValue, path: JsonValue, identity: JsonObject, times: JsonObject
) -> JsonObject:
    """Return the members of a REST API's context that a function URL's lacks."""
    return {
        "extendedRequestId": "",
        "httpMethod": method,
        "identity": identity,
        "path": path,
        "protocol": "HTTP/1.1",
        "requestTime": times.get("time", ""),
        "requestTimeEpoch": times.get("timeEpoch", 0),
        "resourceId": "",
        "resourcePath": path,
    }


def _make_gateway_context(event: JsonObject, headers: Mapping[str, str]) -> JsonObject:
    """Return the members of a REST API's context that its readers require; what the trigger does not state is empty.

    The address of the client is not taken from X-Forwarded-For, in which a client may write any address. The model of
    Powertools refuses an empty one.
    """
    given = {name.lower(): value for name, value in headers.items()}
    domain, request_id = given.get("host", ""), given.get("x-ca-request-id", "")
    times = _make_times(int(time.time() * 1000))
    identity: JsonObject = {"sourceIp": _UNKNOWN_ADDRESS, "userAgent": given.get("user-agent", "")}
    return {
        **_make_rest_context(event["httpMethod"], event["path"], identity, times),
        "accountId": os.environ.get("FC_ACCOUNT_ID", ""),
        "apiId": "",
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "extendedRequestId": request_id,
        "requestId": request_id,
        "stage": given.get("x-ca-stage", ""),
    }


def _read_texts(value: JsonValue) -> dict[str, str]:
    return (
        {name: text for name, text in value.items() if isinstance(text, str)}
        if isinstance(value, dict)
        else {}
    )
