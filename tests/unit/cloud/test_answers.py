"""Which error an answer is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.cloud.answers import (
    Answer,
    documented_codes,
    error_of,
    kind_of_code,
    read_json,
    read_xml,
    scrub,
    text_member,
)
from hpoq.cloud.caller import is_own_answer
from hpoq.cloud.transport import Response
from hpoq.errors import Answered, CallError, Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd

# Every code that the documentation of the gateway, of PAI AutoML and of SMQ names, by its usual statuses.
GATEWAY = {
    Invalid: {
        (200, 400): "INVALID_INPUT_PARAMS",
        (400,): (
            "MissingParameter MissingWorkspaceId InvalidParameter InvalidName InvalidParameter.Format "
            "InvalidParameter.Accept"
        ),
    },
    Denied: {
        (400,): (
            "InvalidVersion NoSuchVersion IncompleteSignature InvalidSignatureMethod "
            "InvalidTimeStamp.Format IllegalTimestamp InvalidTimeStamp.Expired"
        ),
        (404,): "InvalidAction.NotFound InvalidApi.NotFound InvalidProduct.NotFound InvalidProtocol.NeedSsl",
        (400, 403): (
            "UnsupportedHTTPMethod SignatureDoesNotMatch InvalidAccessKeyId.Inactive "
            "Forbidden.AccessKeyDisabled MissingSecurityToken InvalidSecurityToken.Malformed "
            "InvalidSecurityToken.MismatchWithAccessKey InvalidSecurityToken.Expired"
        ),
        (400, 403, 404): "InvalidAccessKeyId.NotFound",
        (403,): "Forbidden.RAM NoPermission Forbidden Forbidden.NoPermission",
        (200, 400): "INVALID_USER_OR_EXP",
    },
    Throttled: {
        (400,): "ContentLengthDoesNotMatch ContentMD5NotMatched Throttling.Api.Concurrency Throttling.System",
        (400, 429, 302): "Throttling",
        (400, 429): "Throttling.User Throttling.Api",
    },
    UnknownEnd: {
        (400,): "SignatureNonceUsed",
        (500,): "InternalError",
        (503,): "ServiceUnavailable",
        (400, 500): "UnknownError",
        (200, 400): "EXECUTION_FAILURE ExecutionFailure",
    },
}
SMQ = {
    Denied: {
        (403,): "AccessDenied InvalidAccessKeyId SignatureDoesNotMatch",
        (400,): (
            "InvalidAuthorizationHeader InvalidDateHeader MissingAuthorizationHeader MissingDateHeader "
            "MissingVersionHeader"
        ),
        (408, 400): "TimeExpired",
    },
    Invalid: {
        (400,): (
            "InvalidArgument InvalidRequestURL InvalidQueryString MalformedXML MissingReceiptHandle "
            "MissingVisibilityTimeout InvalidQueueName QueueNameLengthError TopicNameInvalid "
            "TopicNameLengthError SubscriptionNameInvalid SubscriptionNameLengthError EndpointInvalid"
        ),
    },
    NotFound: {
        (400,): "ReceiptHandleError",
        (404,): "MessageNotExist QueueNotExist TopicNotExist SubscriptionNotExist",
    },
    Conflict: {
        (409,): "QueueAlreadyExist TopicAlreadyExist SubscriptionAlreadyExist",
        (400,): "QueueDeletedRecently",
    },
    Throttled: {
        (400,): "InvalidDegist InvalidDigest QpsLimitExceeded",
        (429,): "TooManyRequests",
    },
    UnknownEnd: {
        (500,): "InternalError InternalServerError",
    },
}
# EventBridge's statuses are those of its open-source kernel, 409, or what users report.
EVENTBRIDGE = {
    NotFound: {
        (409, 400): "EventBusNotExist",
    },
}
CASES = [
    (code, status, kind, resource)
    for table, resource in ((GATEWAY, False), (SMQ, True), (EVENTBRIDGE, True))
    for kind, by_statuses in table.items()
    for statuses, codes in by_statuses.items()
    for code in codes.split()
    for status in statuses
]


def answer(
    status: int, code: str | None = None, message: str = "", retry_after: float | None = None
) -> Answer:
    return Answer(status, code, message, "r1", retry_after, names_request=True)


def judge(made: Answer, **options: object) -> CallError:
    return error_of(made, service="s", operation="o", **options)


def test_documented_codes():
    """Each documented code has its class, at each status it is documented with."""
    read = [
        (code, status, type(judge(answer(status, code), names_resource=resource)), resource)
        for code, status, _, resource in CASES
    ]
    assert read == CASES


def test_table_is_documented():
    """The table holds no code that the documentation does not name, and gives each its one class."""
    expected = {code: kind for code, _, kind, _ in CASES}
    assert {code: expected[code] for code in documented_codes()} == documented_codes()


@pytest.mark.parametrize("header", ["x-acs-request-id", "x-mns-request-id"])
def test_the_request_id_may_be_in_a_header_alone(header):
    """The gateway and SMQ have a header of their own for it."""
    assert read_json(Response(200, {header: "r"}, b"{}")).request_id == "r"


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (200, {"x-mns-request-id": "r"}, b"", True),
        (200, {"x-ots-requestid": "r"}, b"", True),
        (499, {}, b'{"RequestId":"r"}', True),
        (499, {}, b'{"requestId":"r"}', True),
        (200, {"server": "nginx"}, b"<html>", False),
        (500, {"x-mns-request-id": "r"}, b"", False),
        (500, {}, b'{"RequestId":"r"}', False),
    ],
)
def test_the_connection_of_an_answer_that_may_not_be_the_services_own_is_not_used_again(
    status, headers, body, expected
):
    """A gateway that answers in the service's place may pass on the service's own answer later."""
    assert is_own_answer(Response(status, headers, body)) is expected


@pytest.mark.parametrize(
    ("resource", "kind"), [(True, NotFound), (False, Denied)], ids=["get or stop", "create or list"]
)
def test_user_or_experiment(resource, kind):
    """INVALID_USER_OR_EXP means a missing experiment if the call names one, otherwise a wrong user."""
    assert type(judge(answer(200, "INVALID_USER_OR_EXP"), names_resource=resource)) is kind


@pytest.mark.parametrize("code", [None, "Throttling.User", "INVALID_INPUT_PARAMS", "Forbidden", "Anything"])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_server_error(status, code):
    """Any 5xx leaves the end unknown, whatever its code is."""
    assert type(judge(answer(status, code, retry_after=1.0))) is UnknownEnd


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling.Workspace", 400, Throttled),
        ("QuotaExceed.Experiment", 400, Denied),
        ("ExceedLimitError", 400, Denied),
        ("InvalidStsAccessKeyId", 400, Denied),
        ("InvalidTokenValue", 403, Denied),
        ("UnauthorizedOperation", 400, Denied),
        ("InvalidWorkspace", 400, Invalid),
        ("INVALID_SEARCH_SPACE", 200, Invalid),
        ("MISSING_FIELD", 422, Invalid),
        ("IllegalArgument", 400, Invalid),
        ("InvalidWorkspace.NotFound", 404, Denied),
        ("InvalidCaller", 403, Denied),
        ("NameAlreadyExists", 400, Conflict),
        ("InternalFailure", 400, UnknownEnd),
        ("RequestTimeout", 400, UnknownEnd),
    ],
)
def test_undocumented(code, status, kind):
    """An undocumented code goes by its family, and rejects only what looks validated."""
    assert type(judge(answer(status, code))) is kind


@given(st.text(max_size=30), st.sampled_from([401, 403, 404, 405, 407, 408, 429]))
def test_no_rejection_by_chance(code, status):
    """With a status that is not about the request's content no undocumented code rejects for good."""
    documented = {known.replace("_", "").lower() for known in documented_codes()}
    if code.replace("_", "").lower() not in documented:
        assert not isinstance(judge(answer(status, code or None)), Invalid)


CLASSES = {404: Denied, 408: Throttled, 409: Conflict, 413: Invalid, 425: Throttled, 429: Throttled}


@pytest.mark.parametrize("names_resource", [False, True])
def test_the_class_of_every_status(names_resource):
    """For an unknown code these statuses have a class of their own; any other that is an error is Denied."""
    classes = CLASSES | ({404: NotFound, 410: NotFound} if names_resource else {})
    for status in range(200, 500):
        expected = UnknownEnd if status < 300 else classes.get(status, Denied)
        assert type(judge(answer(status, "WorkspaceGone"), names_resource=names_resource)) is expected, status


def test_the_statuses_of_a_validation():
    """A code that looks like a validation rejects with these statuses only; with others it may be of a proxy."""
    for status in range(200, 500):
        rejects = status < 300 or status in (400, 413, 422)
        assert (type(judge(answer(status, "InvalidWorkspace"))) is Invalid) == rejects, status


@pytest.mark.parametrize(("status", "kind"), [(399, Denied), (400, Throttled), (499, Throttled)])
def test_a_wait_is_asked_for_by_an_error_only(status, kind):
    """A wait makes an unknown code Throttled if the status is that of a refusal."""
    assert type(judge(answer(status, "WorkspaceGone", retry_after=0.5))) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("INVALID_USER_OR_EXP", 400, Denied),
        ("Throttling.New", 400, Throttled),
        ("InvalidNew", 299, Invalid),
        ("InvalidNew", 300, None),
        ("New", 400, None),
    ],
)
def test_the_class_of_a_code_alone(code, status, kind):
    """A code that neither is documented nor resembles one has no class."""
    assert kind_of_code(code, status) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InvalidWorkspace", 400, Invalid),
        ("Throttling", 503, UnknownEnd),
        ("QueueAlreadyExist", 409, UnknownEnd),
        ("QueueDeletedRecently", 400, UnknownEnd),
        ("UnknownError", 400, UnknownEnd),
        ("InvalidName.Exists", 400, UnknownEnd),
        ("WorkspaceGone", 404, UnknownEnd),
        (None, 400, UnknownEnd),
    ],
)
def test_what_proves_that_a_create_has_not_acted(code, status, kind):
    """After a create only a code that is known, and that says nothing of an earlier request, proves inaction."""
    assert type(judge(answer(status, code), creates=True)) is kind


@pytest.mark.parametrize(("status", "is_success"), [(199, False), (200, True), (299, True), (300, False)])
def test_the_statuses_of_success(status, is_success):
    """An answer with a 2xx and without a code is a success."""
    assert answer(status).is_success is is_success
    assert not answer(status, "C").is_success


def test_an_answer_of_which_nothing_is_known():
    """An answer is not taken for the service's own, nor for JSON, unless it is said to be; its document is hidden."""
    made = Answer(400, "C", "m", None, None, {"a": "CANARY"})
    assert (made.is_own_error, made.is_json, Answer(400, "C", "m", None, None).document) == (False, False, {})
    assert "CANARY" not in repr(made)


def test_long_parts_are_cut():
    """A code and the name of a detail have at most 120 characters, a message 500; there are at most 12 details."""
    details = {f"{number:0121}": "v" for number in range(13)}
    document = {"AccessDeniedDetail": details, "Code": "C" * 121, "Message": "m" * 501, "RequestId": "r"}
    error = judge(read_json(Response(403, {}, json.dumps(document).encode())))
    assert (error.code, error.message) == ("C" * 120, "m" * 500 + "...")
    assert error.access_denied_detail == tuple((f"{number:0121}"[:120], "v") for number in range(12))
    assert scrub("m" * 500, []) == "m" * 500


def test_details_in_either_case():
    """Details may begin in lower case, and are texts, numbers or truth values; anything else is left out."""
    document = {"accessDeniedDetail": {"a": 1, "b": True, "c": None, "d": [1], "e": 1.5}}
    made = replace(answer(403, "Forbidden"), document=document)
    assert judge(made).access_denied_detail == (("a", "1"), ("b", "True"))
    assert judge(replace(made, document={"AccessDeniedDetail": ["a"]})).access_denied_detail == ()


def test_an_error_always_has_a_message():
    """Without a message of the service an error names the status."""
    assert judge(answer(403, "Forbidden")).message == "HTTP status 403"
    assert judge(answer(403)).message == "not the service's own answer, HTTP status 403"


def test_a_member_as_text():
    """A member is a text or a number under its name, or under that in lower case if the first is neither."""
    assert text_member({"A": True, "a": [1]}, "A") is None
    assert text_member({"B": 1.5, "b": 2}, "B") == "1.5"
    assert text_member({"B": None, "b": 2}, "B") == "2"


FOREIGN = [
    b"",
    b"<html><head><title>403 Forbidden</title></head></html>",
    b"<Error><Code>Throttling</Code><Message>m</Message></Error>",
    b"<Error><RequestId>r</RequestId><Message>m</Message></Error>",
    b"<Errors><Code>Throttling</Code><RequestId>r</RequestId></Errors>",
    b"<Error><Code>Throttling</Code><RequestId>r</RequestId>",
    b'{"Code":"Throttling.User","Message":"no request id"}',
    b'{"Code":"Throttling.User","RequestId":""}',
    b'{"RequestId":"no code"}',
    b'{"error":"rate limited","requestId":"r"}',
    b'[{"Code":"Throttling","RequestId":"r"}]',
    b'{"data":{"Code":"Throttling","RequestId":"r"}}',
    b'"Throttling"',
]


@pytest.mark.parametrize("body", FOREIGN)
@pytest.mark.parametrize("read", [read_json, read_xml])
def test_an_answer_of_something_else_proves_nothing(read, body):
    """Without a request id and a code in the body the end is unknown, whatever status and headers say."""
    headers = {"x-acs-request-id": "r", "x-mns-request-id": "r", "retry-after": "1"}
    for status in (302, 400, 401, 403, 404, 407, 408, 409, 410, 413, 425, 429):
        for resource in (False, True):
            error = judge(read(Response(status, headers, body)), names_resource=resource)
            assert type(error) is UnknownEnd, status
            assert "not the service's own answer" in error.message, status
            assert error.retry_after == 1.0


@pytest.mark.parametrize(
    "body",
    [
        b'{"RequestId":"r","HostId":"h","Code":"Throttling.User","Message":"m","Recommend":"u"}',
        b'{"requestId":"r","code":"Throttling.User","message":"m"}',
        b"<Error><RequestId>r</RequestId><HostId>h</HostId><Code>Throttling.User</Code></Error>",
    ],
    ids=["gateway", "lower case", "XML"],
)
@pytest.mark.parametrize("status", [302, 400, 403, 429])
def test_an_error_of_the_gateway_is_trusted(status, body):
    """The documented forms of the gateway's errors keep the class of their code."""
    assert type(judge(read_json(Response(status, {}, body)))) is Throttled


def test_an_error_of_smq_is_trusted():
    """The documented form of SMQ's errors keeps the class of its code."""
    body = (
        b'<?xml version="1.0"?><Error xmlns="http://mns.aliyuncs.com/doc/v1/"><Code>QueueNotExist</Code>'
        b"<Message>m</Message><RequestId>r</RequestId><HostId>h</HostId></Error>"
    )
    assert type(judge(read_xml(Response(404, {}, body)), names_resource=True)) is NotFound


def test_retry_after_makes_throttled():
    """A requested wait makes an otherwise unknown 4xx Throttled, and is carried along."""
    error = judge(answer(400, "WorkspaceGone", retry_after=1.5))
    assert (type(error), error.retry_after) == (Throttled, 1.5)
    assert type(judge(answer(400, "InvalidParameter", retry_after=1.5))) is Invalid


def test_the_error_carries_the_data_of_the_answer():
    """The error carries code, request id, status, service and operation."""
    error = judge(answer(403, "Forbidden.RAM", "not allowed"))
    got = (error.code, error.request_id, error.http_status, error.service, error.operation, error.message)
    assert got == ("Forbidden.RAM", "r1", 403, "s", "o", "not allowed")
    assert isinstance(error, Answered)


def test_secrets_are_scrubbed():
    """What the service quotes of our secrets does not come through."""
    message = 'bad "CANARY\\"1" or CANARY"1 and CANARY2'
    error = judge(answer(400, "InvalidParameter.CANARY2", message), secrets=['CANARY"1', "CANARY2", ""])
    assert "CANARY" not in str(error) + str(error.code)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "IncompleteSignature", "InvalidDegist"])
def test_signature_message_is_withheld(code):
    """A complaint about the signature may echo signed headers, and is not quoted."""
    assert "CANARY" not in str(judge(answer(400, code, "server string to sign is CANARY")))


def test_long_message():
    """A message is one line of bounded length."""
    text = scrub("a\r\nb\t\x1b[31m" + "x" * 10_000, ["a"])
    assert text.startswith("a b [31mx")
    assert len(text) < 600


@pytest.mark.parametrize(
    "body", [{"Code": "C", "Message": "m", "RequestId": "r"}, {"code": "C", "message": "m", "requestId": "r"}]
)
def test_keys_in_either_case(body):
    """Members are read with capital and with small first letters."""
    got = read_json(Response(400, {}, json.dumps(body).encode()))
    assert (got.code, got.message, got.request_id) == ("C", "m", "r")


XML = b'<Error xmlns="http://mns.aliyuncs.com/doc/v1/"><Code>C</Code><Message>m</Message><RequestId>r</RequestId></Error>'


@pytest.mark.parametrize("read", [read_json, read_xml])
def test_xml_error(read):
    """An error in XML is understood by either reader."""
    got = read(Response(400, {}, XML))
    assert (got.code, got.message, got.request_id) == ("C", "m", "r")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_in_any_encoding(encoding):
    """An error is found in the encodings that a parser of XML must know."""
    assert read_xml(Response(400, {}, XML.decode().encode(encoding))).code == "C"


@pytest.mark.parametrize("read", [read_json, read_xml])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502</body></html>",
        b"<!DOCTYPE html><title>x</title>",
        b"[1]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"<a>" * 1000,
    ],
)
def test_other_bodies(read, body):
    """A body that is no error of a service has no code, and its request id comes from the headers."""
    got = read(Response(502, {"x-acs-request-id": "h"}, body))
    assert (got.code, got.message, got.request_id, got.is_success) == (None, "", "h", False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-acs-retry-after": "1500"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"x-acs-retry-after": "500", "retry-after": "9"}, 0.5),
        ({"x-acs-retry-after": "soon", "retry-after": "9"}, 9.0),
        ({"x-acs-retry-after": "0"}, None),
        ({"x-acs-retry-after": "-5"}, None),
        ({"x-acs-retry-after": "nan"}, None),
        ({"x-acs-retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"x-acs-retry-after": "999999999999"}, 3600.0),
        ({}, None),
    ],
)
def test_retry_after(headers, seconds):
    """The vendor's header counts in milliseconds, the standard one in seconds; nonsense is no wait."""
    assert read_json(Response(429, headers, b"")).retry_after == seconds


@pytest.mark.parametrize("code", ["", None, "SUCCESS", "Success", "success", 200, " OK ", 0, "0"])
def test_success_codes(code):
    """An absent, empty or null code, zero, and the words for success mean success."""
    assert read_json(Response(200, {}, json.dumps({"Code": code}).encode())).code is None


@given(st.integers(200, 599), st.binary(max_size=200))
def test_any_answer(status, body):
    """Any bytes at all are read without an exception and classified."""
    for read in (read_json, read_xml):
        assert isinstance(judge(read(Response(status, {}, body))), CallError)


def test_an_unknown_caller_is_the_operators_fault():
    """No change of a request can fix that the service does not know who calls it."""
    body = {"RequestId": "R", "Code": "INVALID_INPUT_PARAMS", "Message": "Missing 'user_id' in request."}
    answer = read_json(Response(200, {}, json.dumps(body).encode()))
    assert type(error_of(answer, service="s", operation="o", creates=True)) is Denied
    missing = replace(answer, code="INVALID_USER_OR_EXP")
    assert type(error_of(missing, service="s", operation="o", names_resource=True)) is Denied
    busy = replace(answer, code="Throttling")
    assert type(error_of(busy, service="s", operation="o")) is Throttled


def test_a_denial_says_which_permission_is_missing():
    """AccessDeniedDetail reaches the error, without secrets and nothing but scalar members."""
    body = {
        "RequestId": "R",
        "Code": "Forbidden.RAM",
        "Message": "no",
        "AccessDeniedDetail": {
            "AuthAction": "paiautoml:CreateHpoExperiment",
            "PolicyType": "canary",
            "x": {},
        },
    }
    answer = read_json(Response(403, {}, json.dumps(body).encode()))
    found = error_of(answer, service="s", operation="o", secrets=["canary"])
    assert found.access_denied_detail == (
        ("AuthAction", "paiautoml:CreateHpoExperiment"),
        ("PolicyType", "***"),
    )


def test_a_request_id_is_cut():
    """An event shows it, and one that is too large for a message could never be published."""
    body = json.dumps({"RequestId": "r" * 100_000, "Code": "InvalidParameter"}).encode()
    assert read_json(Response(400, {}, body)).request_id == "r" * 120
    assert read_json(Response(502, {"x-acs-request-id": "r" * 200}, b"")).request_id == "r" * 120
