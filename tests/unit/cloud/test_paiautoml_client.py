"""The client of PAI AutoML against a scripted service."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest

from hpoq.cloud.credentials import Credentials
from hpoq.cloud.paiautoml import PaiAutoMl, default_endpoint
from hpoq.cloud.retry import RetryPolicy
from hpoq.cloud.signing import acs3_sign
from hpoq.errors import (
    Denied,
    Invalid,
    NoCredentials,
    NotFound,
    NoTimeLeft,
    SettingsError,
    Throttled,
    Unavailable,
    UnknownEnd,
)

BODY = {"Name": "测试", "HpoExperimentConfiguration": {"odps_config": {"access_key": "CANARY-ODPS"}}}


@pytest.fixture
def client(transport, serve, credentials):
    """Makes a client of a server with the given script; the server is its attribute `server`."""

    def make(*script, retry=None) -> PaiAutoMl:
        server = serve(*script)
        made = PaiAutoMl(transport, server.url, lambda: credentials, read_timeout=5, retry=retry)
        made.server = server
        return made

    return make


@pytest.fixture
def reply(answer):
    def make(document: object, status: int = 200, **headers: str) -> bytes:
        return answer(status, json.dumps(document).encode(), **headers)

    return make


def parsed(raw: bytes) -> tuple[str, str, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return method, target, headers, body


CREATED = {"RequestId": "r", "ExperimentId": "sORVEck"}


def test_create(client, reply):
    """A create returns the id and the request id, and sends the body as JSON that says what it was given."""
    pai = client(reply(CREATED))
    made = pai.create_hpo_experiment(BODY)
    assert (made.experiment_id, made.request_id, made.remark) == ("sORVEck", "r", None)
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, target) == ("POST", "/api/automl/v1/hpo/experiment")
    assert json.loads(body) == BODY
    assert headers["x-acs-action"] == "CreateHpoExperiment"
    assert headers["x-acs-version"] == "2022-08-28"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["accept"] == "application/json"


def test_signed_with_the_token(client, reply, credentials):
    """What arrives bears a signature over itself, the security token included."""
    pai = client(reply(CREATED))
    pai.create_hpo_experiment(BODY)
    method, target, headers, body = parsed(pai.server.requests[0])
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert headers["x-acs-security-token"] == "CANARY-TOKEN"
    assert set(names) == {name for name in headers if name.startswith("x-acs-")} | {"host", "content-type"}
    signed = {name: headers[name] for name in names}
    payload = hashlib.sha256(body).hexdigest()
    assert headers["authorization"] == acs3_sign(method, target, "", signed, payload, credentials)


def test_no_token(transport, serve, reply):
    """Lasting credentials send no token header."""
    server = serve(reply(CREATED))
    PaiAutoMl(transport, server.url, lambda: Credentials("i", "s")).create_hpo_experiment({})
    assert b"security-token" not in server.requests[0]


@pytest.mark.parametrize(
    ("document", "remark"),
    [
        ({**CREATED, "Code": "SUCCESS"}, None),
        ({**CREATED, "Code": ""}, None),
        ({**CREATED, "Code": None}, None),
        ({"requestId": "r", "experimentId": "sORVEck"}, None),
        ({**CREATED, "Code": "EXECUTION_FAILURE", "Message": "m CANARY-ODPS"}, "EXECUTION_FAILURE: m ***"),
    ],
)
def test_created_all_the_same(client, reply, document, remark):
    """An id in a 2xx means that the experiment exists; a code beside it is handed on as a remark."""
    made = client(reply(document)).create_hpo_experiment(BODY)
    assert (made.experiment_id, made.remark) == ("sORVEck", remark)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (200, {"Code": "INVALID_INPUT_PARAMS", "Message": "m", "RequestId": "r"}, Invalid),
        (400, {"Code": "INVALID_INPUT_PARAMS", "Message": "m", "RequestId": "r"}, Invalid),
        (200, {"Code": "EXECUTION_FAILURE", "RequestId": "r"}, UnknownEnd),
        (200, {"RequestId": "r"}, UnknownEnd),
        (200, {"RequestId": "r", "Code": "SUCCESS"}, UnknownEnd),
        (200, {"RequestId": "r", "ExperimentId": ""}, UnknownEnd),
        (200, {"RequestId": "r", "ExperimentId": None}, UnknownEnd),
        (200, {"RequestId": "r", "ExperimentId": ["x"]}, UnknownEnd),
        (200, ["x"], UnknownEnd),
        (400, {**CREATED, "Code": "INVALID_INPUT_PARAMS"}, UnknownEnd),
        (500, CREATED, UnknownEnd),
        (500, {"Code": "InternalError"}, UnknownEnd),
        (403, {"code": "Forbidden.RAM", "message": "m", "requestId": "r"}, Denied),
        (200, {"Code": "INVALID_USER_OR_EXP", "RequestId": "r"}, Denied),
    ],
)
def test_create_fails(client, reply, status, document, kind):
    """Each failed create has its ending, and none of these is tried twice."""
    pai = client(reply(document, status))
    with pytest.raises(kind) as caught:
        pai.create_hpo_experiment(BODY)
    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.operation) == (status, "CreateHpoExperiment")
    assert len(pai.server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b'{"ExperimentId": "x', b"\xff"])
@pytest.mark.parametrize("status", [200, 502])
def test_create_unreadable(client, answer, status, body):
    """A create whose answer cannot be read has an unknown end, at any status that could hide a success."""
    pai = client(answer(status, body))
    with pytest.raises(UnknownEnd):
        pai.create_hpo_experiment(BODY)
    assert len(pai.server.requests) == 1


def test_create_is_never_repeated_after_sending(client, reset):
    """A create that broke off after sending is not sent again."""
    pai = client(lambda connection, _raw: reset(connection))
    with pytest.raises(UnknownEnd):
        pai.create_hpo_experiment(BODY)
    assert len(pai.server.requests) == 1


def test_create_after_throttling(client, reply, clock):
    """A throttled create is sent again as told, each time with a new nonce and signature."""
    throttled = reply({"Code": "Throttling.User", "RequestId": "r"}, 400, X_Acs_Retry_After="1500")
    pai = client(throttled, throttled, reply(CREATED))
    assert pai.create_hpo_experiment(BODY).experiment_id == "sORVEck"
    seen = [parsed(raw)[2] for raw in pai.server.requests]
    assert len({headers["x-acs-signature-nonce"] for headers in seen}) == 3
    assert len({headers["authorization"] for headers in seen}) == 3
    assert [1.5 <= slept <= 6.5 for slept in clock.slept] == [True, True]
    assert pai.server.connections == 1


def test_create_throttled_for_good(client, reply):
    """Throttling that does not end is raised after the last attempt."""
    pai = client(reply({"Code": "Throttling"}, 429), retry=RetryPolicy(attempts=3))
    with pytest.raises(Throttled):
        pai.create_hpo_experiment(BODY)
    assert len(pai.server.requests) == 3


def test_create_not_reached(transport, credentials, clock):
    """A service that refuses connections is tried again, and then Unavailable."""
    pai = PaiAutoMl(transport, "http://127.0.0.1:1", lambda: credentials)
    with pytest.raises(Unavailable):
        pai.create_hpo_experiment(BODY)
    assert len(clock.slept) == 3


def test_too_late(client, reply, clock):
    """Nothing is sent once the time to give up is near."""
    pai = client(reply(CREATED))
    with pytest.raises(NoTimeLeft):
        pai.create_hpo_experiment(BODY, give_up_at=clock.monotonic())
    assert pai.server.connections == 0


def test_credentials_of_the_moment(transport, serve, reply):
    """Credentials are asked for before each attempt; without any, nothing is sent."""
    server = serve(reply({"Code": "Throttling"}, 400), reply(CREATED))
    keys = iter([Credentials("old", "s"), Credentials("new", "s")])
    PaiAutoMl(transport, server.url, lambda: next(keys)).create_hpo_experiment({})
    assert b"Credential=old," in server.requests[0]
    assert b"Credential=new," in server.requests[1]

    def none() -> Credentials:
        raise NoCredentials("m", service="s", operation="o")

    with pytest.raises(NoCredentials):
        PaiAutoMl(transport, server.url, none).create_hpo_experiment({})
    assert len(server.requests) == 2


def test_secrets_do_not_come_back(client, reply):
    """A service that quotes credentials of the request or of the caller does not get them into the error."""
    message = "wrong access_key CANARY-ODPS, secret CANARY-SECRET, token CANARY-TOKEN"
    pai = client(reply({"Code": "INVALID_INPUT_PARAMS", "Message": message}))
    with pytest.raises(Invalid) as caught:
        pai.create_hpo_experiment(BODY)
    assert "wrong access_key ***" in str(caught.value)
    assert "CANARY" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


ROW = {
    "ExperimentId": "s1",
    "Name": "n",
    "Description": "d",
    "WorkspaceId": 12345,
    "Creator": "c",
    "Status": "RUNNING",
    "Tags": [{"Key": "hpoq-key", "Value": "k"}, {"Key": "empty"}, {"Value": "no key"}],
    "GmtCreateTime": "2023-03-31T10:29:30Z",
    "Deleted": 0,
    "SearchSpace": "{'foo':'bar'}",
}


def test_list(client, reply):
    """A page of a listing, each row with its tags, and every filter in the query."""
    pai = client(reply({"TotalCount": 7, "Experiments": [ROW], "RequestId": "r", "Code": "SUCCESS"}))
    page = pai.list_hpo_experiments(
        name="a b+c*~/é",
        workspace_id="w",
        creator="u",
        status="RUNNING",
        accessibility="PRIVATE",
        min_create_time="2023-03-31 10:29:30",
        max_create_time="2023-04-01",
        tags=[("hpoq-key", "k 1"), ("x", "测")],
        page_number=2,
        page_size=10,
        sort_by="GmtCreateTime",
        order="ASC",
    )
    row = page.experiments[0]
    assert (page.total_count, page.request_id, len(page.experiments)) == (7, "r", 1)
    assert dataclasses.astuple(row) == (
        *("s1", "n", "d", "12345", "c", "RUNNING", (("hpoq-key", "k"), ("empty", ""))),
        *(datetime(2023, 3, 31, 10, 29, 30, tzinfo=timezone.utc), False),
    )
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, urlsplit(target).path, body) == ("GET", "/api/automl/v1/hpo/experiments", b"")
    assert dict(parse_qsl(urlsplit(target).query, strict_parsing=True)) == {
        "Name": "a b+c*~/é",
        "WorkspaceId": "w",
        "Creator": "u",
        "Status": "RUNNING",
        "Accessibility": "PRIVATE",
        "MinCreateTime": "2023-03-31 10:29:30",
        "MaxCreateTime": "2023-04-01",
        "Tag": '[{"Key":"hpoq-key","Value":"k 1"},{"Key":"x","Value":"测"}]',
        "PageNumber": "2",
        "PageSize": "10",
        "SortBy": "GmtCreateTime",
        "Order": "ASC",
    }
    assert "+" not in target
    assert "content-type" not in headers


def test_list_signs_what_it_sends(client, reply, credentials):
    """The query in the signature is the query on the wire."""
    pai = client(reply({"TotalCount": 0}))
    pai.list_hpo_experiments(tags=[("a", "b c")])
    _, target, headers, _ = parsed(pai.server.requests[0])
    path, _, query = target.partition("?")
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = {name: headers[name] for name in names}
    expected = acs3_sign("GET", path, query, signed, hashlib.sha256(b"").hexdigest(), credentials)
    assert headers["authorization"] == expected


def test_list_defaults(client, reply):
    """Without filters only the page is asked for."""
    pai = client(reply({"TotalCount": 0, "Experiments": []}))
    assert pai.list_hpo_experiments().experiments == ()
    assert parsed(pai.server.requests[0])[1].endswith("/experiments?PageNumber=1&PageSize=50")


@pytest.mark.parametrize(
    "document", [{"TotalCount": 0}, {"TotalCount": 0, "Experiments": None}, {"Experiments": []}]
)
def test_list_empty(client, reply, document):
    """A count without rows, or a list without any, is an empty page."""
    assert client(reply(document)).list_hpo_experiments().experiments == ()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"RequestId": "r"},
        [],
        {"Experiments": None},
        {"TotalCount": "many"},
        {"Experiments": {}, "TotalCount": 1},
        {"Experiments": "x", "TotalCount": 1},
        {"Experiments": [{"Name": "no id"}], "TotalCount": 1},
        {"Experiments": [ROW, "odd"], "TotalCount": 1},
    ],
)
def test_list_unreadable(client, reply, document):
    """A listing that cannot be read is never taken for an empty one."""
    with pytest.raises(UnknownEnd, match="unreadable"):
        client(reply(document), retry=RetryPolicy(attempts=1)).list_hpo_experiments()


def test_list_is_repeated(client, reply, answer, reset):
    """A listing is repeated after any transient end."""
    pai = client(lambda connection, _raw: reset(connection), answer(502, b"<html>"), reply({"TotalCount": 0}))
    assert pai.list_hpo_experiments().total_count == 0
    assert len(pai.server.requests) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-03-31T10:29:30Z", "2023-03-31T10:29:30+00:00"),
        ("2024-01-01 08:30:11", "2024-01-01T08:30:11+00:00"),
        ("2024-01-01T08:30:11.123456789Z", "2024-01-01T08:30:11+00:00"),
        ("2024-01-01T08:30:11+08:00", "2024-01-01T08:30:11+08:00"),
        ("yesterday", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_times(client, reply, text, expected):
    """Both documented forms of a time are read, UTC where no zone is said; others are no time."""
    got = client(reply({**ROW, "GmtCreateTime": text})).get_hpo_experiment("s1").created_at
    assert (got and got.isoformat()) == expected
    assert got is None or isinstance(got.utcoffset(), timedelta)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        ("1", True),
        ("0", False),
        ("true", True),
        (None, False),
    ],
)
def test_deleted(client, reply, value, expected):
    """The flag is read in each of its documented forms."""
    assert client(reply({**ROW, "Deleted": value})).get_hpo_experiment("s1").deleted is expected


def test_get(client, reply):
    """An experiment is read by its id, which is encoded as one segment of the path."""
    pai = client(reply({"ExperimentId": "a/b c", "Status": "RUNNING", "RequestId": "r"}))
    got = pai.get_hpo_experiment("a/b c")
    assert (got.experiment_id, got.status, got.tags, got.name) == ("a/b c", "RUNNING", (), None)
    assert parsed(pai.server.requests[0])[:2] == ("GET", "/api/automl/v1/hpo/experiment/a%2Fb%20c")


@pytest.mark.parametrize(
    ("status", "document"),
    [(200, {"Code": "INVALID_USER_OR_EXP"}), (400, {"Code": "INVALID_USER_OR_EXP"}), (404, {})],
)
def test_get_missing(client, reply, status, document):
    """A missing experiment is NotFound."""
    with pytest.raises(NotFound):
        client(reply(document, status)).get_hpo_experiment("s1")


def test_stop(client, reply):
    """A stop is a PUT without a body and returns the status."""
    pai = client(reply({"ExpId": "s1", "Status": "TERMINATING", "RequestId": "r"}))
    assert pai.stop_hpo_experiment("s1") == "TERMINATING"
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, target, body) == ("PUT", "/api/automl/v1/hpo/experiment/s1/stop", b"")
    assert headers["content-length"] == "0"
    assert "content-type" not in headers


def test_delete(client, reply):
    """A delete is a PUT, too."""
    pai = client(reply({"RequestId": "r"}))
    assert pai.delete_hpo_experiment("s1") is None
    assert parsed(pai.server.requests[0])[:2] == ("PUT", "/api/automl/v1/hpo/experiment/s1/delete")


@pytest.mark.parametrize("experiment_id", ["", ".", ".."])
def test_no_id(client, reply, experiment_id):
    """What would reach another path is no experiment id."""
    with pytest.raises(ValueError, match="experiment id"):
        client(reply({})).get_hpo_experiment(experiment_id)


def test_endpoints():
    """The endpoints of a region, public and inside a VPC."""
    assert default_endpoint("cn-shanghai") == "https://paiautoml.cn-shanghai.aliyuncs.com"
    assert default_endpoint("cn-beijing", "vpc") == "https://paiautoml-vpc.cn-beijing.aliyuncs.com"
    with pytest.raises(SettingsError):
        default_endpoint("evil.com/")
