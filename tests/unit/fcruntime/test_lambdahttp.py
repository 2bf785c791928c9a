"""Lambda's HTTP handlers behind FC's HTTP and API Gateway triggers."""

import json
import time

import jmespath
import pytest
from aws_lambda_powertools.event_handler import (
    ALBResolver,
    APIGatewayHttpResolver,
    APIGatewayRestResolver,
    CORSConfig,
    LambdaFunctionUrlResolver,
    Response,
)
from aws_lambda_powertools.shared.cookies import Cookie
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventModel, LambdaFunctionUrlModel

from fcruntime import Fc3Context, json_handler
from fcruntime.httptrigger import http_event

CONTEXT = Fc3Context("r-1")


def trigger_event(method="GET", target="/", body=b"", **headers):
    """Return the event of an HTTP trigger, as it is documented."""
    sent = [
        ("Host", "id.cn-hangzhou.fcapp.run"),
        *((name.replace("_", "-"), text) for name, text in headers.items()),
    ]
    return json.loads(http_event(method, target, sent, body, CONTEXT))


def gateway_event(**members):
    """Return the event of the API Gateway trigger, as it is documented."""
    event = {"path": "/orders/o-1", "httpMethod": "GET", "headers": {"X-Ca-Stage": "RELEASE"}}
    return (
        event
        | {"queryParameters": {}, "pathParameters": {}, "body": "", "isBase64Encoded": "false"}
        | members
    )


def call(handler, event):
    return json_handler(handler)(json.dumps(event).encode(), CONTEXT)


@pytest.mark.parametrize("resolver", [LambdaFunctionUrlResolver, APIGatewayHttpResolver])
def test_a_resolver_answers_an_http_trigger(resolver):
    """A resolver of Powertools reads path, query, cookies and body of FC's event as it is."""
    app = resolver(cors=CORSConfig("https://shop.example"))

    @app.post("/orders/<order_id>")
    def post(order_id: str):
        event = app.current_event
        return {
            "order": order_id,
            "tags": event.resolved_query_string_parameters["tag"],
            "cookies": event.cookies,
            "amount": event.json_body["amount"],
        }

    event = trigger_event(
        "POST",
        "/orders/o-1?tag=a&tag=b",
        b'{"amount": 5}',
        content_type="application/json",
        cookie="a=1; b=2",
        origin="https://shop.example",
    )
    answer = call(app.resolve, event)
    expected = {"order": "o-1", "tags": ["a", "b"], "cookies": ["a=1", "b=2"], "amount": 5}
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, expected)
    assert answer["headers"]["Access-Control-Allow-Origin"] == "https://shop.example"
    assert call(app.resolve, trigger_event())["statusCode"] == 404


@pytest.mark.parametrize("resolver", [APIGatewayRestResolver, ALBResolver])
def test_a_resolver_for_rest_apis_answers_an_http_trigger(resolver):
    """The event also has the members of a REST API's, which its data class and its strict model read."""
    app = resolver(cors=CORSConfig("https://shop.example"))
    seen = []

    @app.post("/orders/<order_id>")
    def post(order_id: str):
        event = app.current_event
        seen.append(event.raw_event)
        return {"order": order_id, "dry": event.get_query_string_value("dry"), "body": event.json_body}

    event = trigger_event(
        "POST", "/orders/o-1?dry=1&tag=a&tag=b", b'{"a": 1}', origin="https://shop.example", user_agent="curl"
    )
    answer = call(app.resolve, event)
    expected = {"order": "o-1", "dry": "1", "body": {"a": 1}}
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, expected)
    assert answer["headers"]["Access-Control-Allow-Origin"] == "https://shop.example"
    (given,) = seen
    assert given["multiValueQueryStringParameters"] == {"dry": ["1"], "tag": ["a", "b"]}
    assert given["multiValueHeaders"]["Origin"] == ["https://shop.example"]
    context = APIGatewayProxyEvent(given).request_context
    assert (context.http_method, context.path, context.identity.user_agent) == (
        "POST",
        "/orders/o-1",
        "curl",
    )
    assert context.request_time_epoch == int(event["requestContext"]["timeEpoch"])
    assert APIGatewayProxyEventModel.model_validate(given).path == "/orders/o-1"
    assert call(app.resolve, trigger_event())["statusCode"] == 404


def test_missing_parameters_are_read_as_in_either_form():
    """A REST API's event has null where a function URL's has no member."""
    seen = []
    call(lambda event, _: seen.append(event), trigger_event())
    (event,) = seen
    for name in ("queryStringParameters", "pathParameters"):
        assert event[name] is None
        assert (event.get(name, {}), name in event) == ({}, False)
    with pytest.raises(KeyError, match="Records"):
        event["Records"]


@pytest.mark.parametrize("http", [None, {}, {"method": 5}])
def test_an_event_without_a_method_gets_no_members_of_a_rest_api(http):
    """What a caller of its own composes is passed on, without a guess at what it lacks."""
    seen = []
    event = trigger_event()
    event["requestContext"]["http"] = http
    call(lambda event, _: seen.append(event), event)
    assert "httpMethod" not in seen[0]
    assert seen[0]["rawPath"] == "/"


def test_the_event_is_that_of_a_function_url_and_still_fcs():
    """The strictest model accepts the event, in which of FC's members only the version and the times are replaced."""
    seen = []
    event = trigger_event("GET", "/a%20b?tag=a&tag=b%26&dry=", x_fc_client_ip="192.0.2.1")
    built_in = {name: value for name, value in event.items() if name != "rawQueryString"}
    for one in (event, built_in):
        call(lambda event, context: seen.append(event), one)
    given, _ = seen
    unchanged = event.keys() - {"version", "requestContext"}
    assert {name: given[name] for name in unchanged} == {name: event[name] for name in unchanged}
    kept = event["requestContext"].keys() - {"time", "timeEpoch"}
    assert {name: given["requestContext"][name] for name in kept} == {
        name: event["requestContext"][name] for name in kept
    }
    assert (given["version"], given["queryStringParameters"]) == ("2.0", {"tag": "a,b&", "dry": ""})
    assert [one["rawQueryString"] for one in seen] == ["tag=a&tag=b%26&dry=", "tag=a%2Cb%26&dry="]
    values = [one["multiValueQueryStringParameters"] for one in seen]
    assert values == [{"tag": ["a", "b&"], "dry": [""]}, {"tag": ["a,b&"], "dry": [""]}]
    parsed = LambdaFunctionUrlModel.model_validate(given)
    assert (parsed.requestContext.stage, parsed.requestContext.http.path) == ("$default", "/a b")


@pytest.mark.parametrize(
    "event", [trigger_event(x_order_id="o-1"), gateway_event(headers={"X-Order-Id": "o-1"})]
)
def test_headers_are_found_in_the_case_of_lambda(event):
    """A handler for Lambda reads them in lower case, and so do the expressions of Powertools' utilities."""
    seen = []
    call(lambda event, _: seen.append(event["headers"]), event)
    (headers,) = seen
    assert (headers["x-order-id"], headers.get("X-ORDER-ID"), headers["X-Order-Id"]) == ("o-1",) * 3
    assert jmespath.search('headers."x-order-id"', {"headers": headers}) == "o-1"
    assert "x-order-id" in headers
    assert "x-order" not in headers
    assert (headers.get("x-order"), headers.get("x-order", "none")) == (None, "none")
    with pytest.raises(KeyError, match="x-order"):
        headers["x-order"]
    assert headers == event["headers"] == json.loads(json.dumps(headers))


def test_a_rest_resolver_answers_the_api_gateway_trigger():
    """`headers` of the answer have what Lambda's REST APIs take in `multiValueHeaders`."""
    app = APIGatewayRestResolver()

    @app.get("/orders/<order_id>")
    def get(order_id: str):
        return {"order": order_id, "dry": app.current_event.multi_value_query_string_parameters["dry"]}

    @app.post("/orders/<order_id>")
    def post(order_id: str):
        return app.current_event.json_body

    answer = call(app.resolve, gateway_event(queryParameters={"dry": "1"}))
    assert (answer["statusCode"], answer["headers"]) == (200, {"Content-Type": "application/json"})
    assert json.loads(answer["body"]) == {"order": "o-1", "dry": ["1"]}
    encoded = gateway_event(httpMethod="POST", body="eyJhIjogMX0=", isBase64Encoded="true")
    assert json.loads(call(app.resolve, encoded)["body"]) == {"a": 1}


def test_the_event_of_the_api_gateway_trigger_has_a_rest_apis_context(monkeypatch):
    """Powertools' data class and model read it; only the address of the client is not known."""
    monkeypatch.setenv("FC_ACCOUNT_ID", "42")
    headers = {
        "host": "api.example.com",
        "x-ca-request-id": "g-1",
        "X-Ca-Stage": "TEST",
        "User-Agent": "curl",
    }
    before, seen = time.time() * 1000, []
    call(lambda event, _: seen.append(event), gateway_event(headers=headers))
    context = APIGatewayProxyEvent(seen[0]).request_context
    assert (context.account_id, context.api_id, context.stage) == ("42", "", "TEST")
    assert (context.domain_name, context.domain_prefix) == ("api.example.com", "api")
    assert (context.request_id, context.resource_path, context.protocol) == ("g-1", "/orders/o-1", "HTTP/1.1")
    assert (context.identity.source_ip, context.identity.user_agent) == ("0.0.0.0", "curl")
    assert before - 1 <= context.request_time_epoch <= time.time() * 1000
    assert context.request_time.endswith(" +0000")
    assert seen[0]["stageVariables"] is None
    assert APIGatewayProxyEventModel.model_validate(seen[0]).requestContext.resourcePath == "/orders/o-1"


@pytest.mark.parametrize("count", [1, 2])
def test_one_cookie_is_a_header(count):
    """One cookie fits into `headers`; several are left where `python -m fcruntime` finds them."""
    app = LambdaFunctionUrlResolver()

    @app.get("/")
    def get():
        cookies = [Cookie(name=f"c{number}", value="1", secure=False) for number in range(count)]
        return Response(200, "text/html", "<p>", cookies=cookies)

    answer = call(app.resolve, trigger_event())
    assert answer["headers"]["Content-Type"] == "text/html"
    assert answer["headers"].get("Set-Cookie") == ("c0=1" if count == 1 else None)
    assert answer["cookies"] == ["c0=1", "c1=1"][:count]


@pytest.mark.parametrize(
    "event",
    [
        {"version": "2.0", "rawPath": "/", "requestContext": {}},
        {"version": "v1", "rawPath": "/", "requestContext": None},
        {"httpMethod": "GET", "path": "/", "headers": {}, "queryParameters": {}, "requestContext": {}},
        {"statusCode": 1},
    ],
)
def test_other_events_stay_as_they_are(event):
    """The event and the answer of any other call are not changed."""
    answer = {"statusCode": 200, "multiValueHeaders": {"A": ["b"]}}
    seen = []
    assert call(lambda event, context: seen.append(event) or answer, event) is answer
    assert seen == [event]


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"multiValueHeaders": {"X-Tag": ["b"]}}, {"X-Tag": "b", "SET-COOKIE": "s=0"}),
        ({"multiValueHeaders": {"Set-Cookie": ["x", "y"]}}, {"x-tag": "a", "SET-COOKIE": "s=0"}),
        ({"cookies": ["c=1"]}, {"x-tag": "a", "Set-Cookie": "c=1"}),
    ],
)
def test_a_header_is_replaced_whatever_the_case_of_its_name(given, headers):
    """The values in `multiValueHeaders` and `cookies` count, as on Lambda; of two names FC would send either."""
    answer = {"statusCode": 200, "headers": {"x-tag": "a", "SET-COOKIE": "s=0"}, **given}
    assert call(lambda *_: answer, trigger_event())["headers"] == headers


@pytest.mark.parametrize(
    ("result", "headers"),
    [
        ({"statusCode": 200, "multiValueHeaders": {"A": ["b", 1], "Set-Cookie": ["x", "y"]}}, {"A": "b,1"}),
        ({"statusCode": 200, "multiValueHeaders": ["A"], "cookies": "c"}, {}),
        ({"statusCode": 200, "headers": ["A"], "cookies": ["c"]}, ["A"]),
    ],
)
def test_an_unusual_answer_is_not_an_error(result, headers):
    """Members of an unexpected type are left to FC."""
    assert call(lambda event, context: result, trigger_event())["headers"] == headers


def test_a_call_without_an_event_has_an_empty_one():
    """Lambda hands over `{}` if the caller sends nothing."""
    assert json_handler(lambda event, context: event)(b"", CONTEXT) == {}


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        ("1583348638390", (1583348638390, "04/Mar/2020:19:03:58 +0000")),
        (1583348638390, (1583348638390, "04/Mar/2020:19:03:58 +0000")),
        ("253402300800000", ("253402300800000", "t")),
        ("soon", ("soon", "t")),
        (None, (None, "t")),
    ],
)
def test_the_times_of_a_request_have_lambdas_forms(epoch, expected):
    """A handler computes with `timeEpoch`, which FC writes as text; a value that is no time stays as it is."""
    event = trigger_event()
    event["requestContext"] |= {"timeEpoch": epoch, "time": "t"}
    made = call(lambda event, _: event["requestContext"], event)
    assert (made["timeEpoch"], made["time"]) == expected
