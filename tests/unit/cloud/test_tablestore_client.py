"""The client of Tablestore against a scripted transport; that its requests are the SDK's is tested beside the SDK."""

from __future__ import annotations

import base64
import hashlib

import pytest

from hpoq.cloud import ots_wire
from hpoq.cloud.ots_wire import Absent
from hpoq.cloud.signing import Credentials
from hpoq.cloud.tablestore import Tablestore, signature
from hpoq.cloud.transport import Response
from hpoq.errors import Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd

KEY = {"key": "k"}
ROW = ots_wire._encode_row(KEY, {"v": 1})
DAMAGED = ROW[:-3] + bytes([ROW[-3] ^ 1]) + ROW[-2:]
# A cell whose checksum is right although its name is not UTF-8.
NOT_UTF_8 = b"\x75\0\0\0\x02\x03\x04\x01\0\0\0\xff\x05\0\0\0\0\x0a" + bytes([ots_wire.crc8(b"\xff"), 9, 0])


def field(number: int, value: bytes) -> bytes:
    return ots_wire._bytes(number, value)


def answer(body: bytes, status: int = 200) -> Response:
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    return Response(status, {"x-ots-contentmd5": digest, "x-ots-requestid": "r1"}, body)


def failure(code: str, message: str = "why", status: int = 403) -> Response:
    return answer(field(1, code.encode()) + field(2, message.encode()), status)


@pytest.fixture
def client(script, credentials):
    """Makes a client whose calls are answered as scripted; its attribute `sent` has what it sent."""

    def make(*steps: Response, keys: Credentials = credentials) -> Tablestore:
        transport = script(*steps)
        made = Tablestore(transport, "https://inst.cn-shanghai.ots.aliyuncs.com", "inst", lambda: keys)
        made.sent = transport.sent
        return made

    return make


CALLS = {
    "PutRow": lambda client: client.put_row("t", KEY, {"v": 1}, Absent()),
    "GetRow": lambda client: client.get_row("t", KEY),
    "BatchGetRow": lambda client: client.batch_get_row("t", [KEY]),
    "GetRange": lambda client: client.get_range("t", "key", None, 9),
}


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("PutRow", b"", True),
        ("GetRow", field(2, ROW), {"v": 1}),
        ("GetRow", field(2, b""), None),
        ("BatchGetRow", field(1, field(2, field(4, ROW))), [{"v": 1}]),
        ("GetRange", field(2, ROW), ([("k", {"v": 1})], None)),
        ("GetRange", field(2, ROW) + field(3, ROW), ([("k", {"v": 1})], "k")),
    ],
)
@pytest.mark.parametrize("status", [200, 299])
def test_what_a_call_returns(client, operation, body, expected, status):
    """Each call returns what the service's own answer of any status of success says."""
    made = client(answer(body, status))
    assert CALLS[operation](made) == expected
    ((request, _, _),) = made.sent
    assert (request.method, request.target) == ("POST", f"/{operation}")


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("GetRow", b""),
        ("GetRow", b"\xff"),
        ("GetRow", field(2, DAMAGED)),
        ("GetRow", field(2, NOT_UTF_8)),
        ("BatchGetRow", b""),
        ("BatchGetRow", field(1, b"")),
        ("BatchGetRow", field(1, field(2, field(4, ROW)) * 2)),
        ("BatchGetRow", field(1, field(2, field(4, DAMAGED)))),
        ("BatchGetRow", field(1, field(2, field(4, NOT_UTF_8)))),
        ("GetRange", b""),
        ("GetRange", field(2, DAMAGED)),
        ("GetRange", field(2, NOT_UTF_8)),
        ("GetRange", field(2, ots_wire._encode_row({"other": "k"}, {"v": 1}))),
    ],
)
def test_an_unreadable_answer_has_an_unknown_end(client, operation, body):
    """An answer that is damaged, or about other rows than were asked for, is no rows, and no other exception."""
    with pytest.raises(UnknownEnd, match="unreadable answer") as caught:
        CALLS[operation](client(answer(body)))
    assert (caught.value.service, caught.value.operation) == ("tablestore", operation)


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("headers", [{}, {"x-ots-contentmd5": "other"}])
def test_a_success_without_the_digest_of_its_body_has_an_unknown_end(client, operation, headers):
    """A proxy may answer instead of the service, so a write counts only with the digest of the service's answer."""
    with pytest.raises(UnknownEnd, match="not the service's own answer") as caught:
        CALLS[operation](client(Response(200, headers, b"")))
    assert (caught.value.service, caught.value.operation) == ("tablestore", operation)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "OTSConditionCheckFail", Conflict),
        (404, "OTSObjectNotExist", NotFound),
        (403, "OTSAuthFailed", Denied),
        (403, "OTSNoPermissionAccess", Denied),
        (403, "OTSQuotaExhausted", Denied),
        (409, "OTSRowOperationConflict", Throttled),
        (404, "OTSTableNotReady", Throttled),
        (503, "OTSPartitionUnavailable", Throttled),
        (503, "OTSServerBusy", Throttled),
        (403, "OTSNotEnoughCapacityUnit", Throttled),
        (409, "OTSOperationConflict", Throttled),
        (403, "OTSOperationThrottled", Throttled),
        (403, "OTSCapacityUnitExhausted", Throttled),
        (400, "OTSParameterInvalid", Invalid),
        (499, "OTSParameterInvalid", Invalid),
        (500, "OTSInternalServerError", UnknownEnd),
        (503, "OTSTimeout", UnknownEnd),
        (300, "OTSParameterInvalid", UnknownEnd),
        (399, "OTSParameterInvalid", UnknownEnd),
        (199, "OTSParameterInvalid", UnknownEnd),
    ],
)
def test_the_class_of_an_error(client, status, code, kind):
    """The code decides whether the service has acted; if it is not documented, only a 4xx says that it has not."""
    made = client(failure(code, "why CANARY-SECRET", status))
    with pytest.raises(kind) as caught:
        made.get_row("t", KEY)
    assert type(caught.value) is kind
    error = caught.value
    assert (error.code, error.message, error.request_id, error.http_status) == (code, "why ***", "r1", status)
    assert (error.service, error.operation) == ("tablestore", "GetRow")
    assert len(made.sent) == 1


def test_a_failed_condition_is_not_an_error_of_a_put(client):
    """A put whose condition does not hold has written nothing; another refusal of it is an error."""
    assert client(failure("OTSConditionCheckFail")).put_row("t", KEY, {"v": 1}, Absent()) is False
    with pytest.raises(Throttled):
        client(failure("OTSRowOperationConflict", status=409)).put_row("t", KEY, {"v": 1}, Absent())


@pytest.mark.parametrize("code", ["", "Denied", "OTS", "OTSAuthFailed 2", "OTS" + "a" * 81])
def test_an_error_without_a_code_of_the_service_proves_nothing(client, code):
    """An error page that happens to be a valid message is not quoted, and leaves the end unknown."""
    with pytest.raises(UnknownEnd, match="not the service's own answer, HTTP status 403") as caught:
        client(failure(code, "CANARY")).get_row("t", KEY)
    assert caught.value.code is None
    assert "CANARY" not in str(caught.value)


def test_an_error_without_a_message_names_its_status(client):
    """An error always says something besides its code."""
    with pytest.raises(Denied, match="OTSAuthFailed: HTTP status 403"):
        client(failure("OTSAuthFailed", "")).get_row("t", KEY)


def test_the_time_outs_of_a_call(client):
    """A message waits for its store, so a call gets less time than one of another service: 2 s and 5 s."""
    made = client(answer(field(2, b"")))
    made.get_row("t", KEY)
    ((_, _, options),) = made.sent
    assert (options["connect_timeout"], options["read_timeout"]) == (2.0, 5.0)


@pytest.mark.parametrize("token", ["CANARY-TOKEN", None])
def test_the_headers_of_a_request(client, token):
    """A request is dated in UTC by the transport's clock, signed, and has a security token only if there is one."""
    keys = Credentials("id", "secret", token)
    made = client(answer(field(2, b"")), keys=keys)
    made.get_row("t", KEY)
    ((request, headers, _),) = made.sent
    signed = {name: value for name, value in headers.items() if name.startswith("x-ots-")}
    assert signed.pop("x-ots-signature") == signature("GetRow", signed, keys)
    assert signed == {
        "x-ots-accesskeyid": "id",
        "x-ots-apiversion": "2015-12-31",
        "x-ots-contentmd5": base64.b64encode(hashlib.md5(request.body).digest()).decode(),
        "x-ots-date": "2027-01-15T08:00:00.000Z",
        "x-ots-instancename": "inst",
        **({} if token is None else {"x-ots-ststoken": token}),
    }
    assert headers["Host"] == "inst.cn-shanghai.ots.aliyuncs.com"
    assert headers["User-Agent"] == "hpoq"


def test_the_signature_covers_headers_in_the_order_of_their_names():
    """The order in which headers are given, and spaces around their values, do not change the signature."""
    credentials = Credentials("id", "secret")
    expected = signature("GetRow", {"x-ots-a": "1", "x-ots-b": "2"}, credentials)
    assert signature("GetRow", {"x-ots-b": " 2 ", "x-ots-a": "1"}, credentials) == expected
