"""The client of PAI AutoML against a scripted service."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

import pytest
from urllib3.connection import HTTPConnection

from hpoq.clock import Budget
from hpoq.cloud.caller import RetryPolicy
from hpoq.cloud.paiautoml import PaiAutoMl, default_endpoint, identify_place, is_elsewhere
from hpoq.cloud.signing import Credentials, acs3_sign
from hpoq.cloud.transport import Response
from hpoq.errors import (
    CallError,
    ClockOff,
    Denied,
    Incomplete,
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
def scripted(script, credentials):
    """Makes a client whose calls are answered as scripted; its attribute `sent` has what its `transport` sent."""

    def make(*steps: Response | CallError, clock_error: float = 0.0) -> PaiAutoMl:
        transport = script(*steps)
        transport.clock_error = lambda: clock_error
        endpoint = "https://paiautoml.cn-shanghai.aliyuncs.com"
        made = PaiAutoMl(transport, endpoint, lambda: credentials, retry=RetryPolicy(attempts=2))
        made.transport, made.sent = transport, transport.sent
        return made

    return make


def response(document: object, status: int = 200, **headers: str) -> Response:
    return Response(status, headers, json.dumps(document).encode())


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
    """A create returns the id, and sends the given body as JSON."""
    pai = client(reply(CREATED))
    made = pai.create_hpo_experiment(BODY, nonce="n")
    assert (made.experiment_id, made.remark) == ("sORVEck", None)
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, target) == ("POST", "/api/automl/v1/hpo/experiment")
    assert json.loads(body) == BODY
    assert headers["x-acs-action"] == "CreateHpoExperiment"
    assert headers["x-acs-version"] == "2022-08-28"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["accept"] == "application/json"


DOCUMENT = {"RequestId": "r", "ExperimentId": "s1", "TotalCount": 0, "Status": "RUNNING"}
EXPERIMENT = "/api/automl/v1/hpo/experiment/s1"
CALLS = {
    "CreateHpoExperiment": (
        lambda pai, **options: pai.create_hpo_experiment(BODY, nonce="n", **options),
        ("POST", "/api/automl/v1/hpo/experiment"),
    ),
    "ListHpoExperiments": (
        lambda pai, **options: pai.list_hpo_experiments(**options),
        ("GET", "/api/automl/v1/hpo/experiments?PageNumber=1&PageSize=50"),
    ),
    "GetHpoExperiment": (lambda pai, **options: pai.get_hpo_experiment("s1", **options), ("GET", EXPERIMENT)),
    "ListHpoTrials": (
        lambda pai, **options: pai.list_hpo_trials("s1", **options),
        ("GET", f"{EXPERIMENT}/trials?PageNumber=1&PageSize=100"),
    ),
    "StopHpoExperiment": (
        lambda pai, **options: pai.stop_hpo_experiment("s1", **options),
        ("PUT", f"{EXPERIMENT}/stop"),
    ),
}

READS = [operation for operation in CALLS if operation != "CreateHpoExperiment"]


@pytest.mark.parametrize("operation", CALLS)
def test_the_request_of_each_operation(scripted, clock, operation):
    """Each operation has its own method and path, is dated now, bypasses caches, and is given its caller's budget."""
    pai, budget = scripted(response(DOCUMENT)), Budget(clock)
    call, line = CALLS[operation]
    call(pai, budget=budget)
    ((request, headers, options),) = pai.sent
    assert (request.service, request.operation) == ("paiautoml", operation)
    assert (request.method, request.target) == line
    assert options["budget"] is budget
    assert {name.lower(): value for name, value in headers.items()}.items() >= {
        "x-acs-action": operation,
        "x-acs-version": "2022-08-28",
        "x-acs-date": "2027-01-15T08:00:00Z",
        "accept": "application/json",
        "cache-control": "no-store",
        "user-agent": "hpoq",
    }.items()
    assert ("content-type" in {name.lower() for name in headers}) == bool(request.body)


@pytest.mark.parametrize("operation", READS)
def test_a_read_is_repeated_with_a_new_nonce(scripted, operation):
    """Every try of a read gets a nonce of its own, since the gateway refuses one that it has seen."""
    pai = scripted(response({}, 500), response(DOCUMENT))
    CALLS[operation][0](pai)
    first, second = ({name.lower(): value for name, value in headers.items()} for _, headers, _ in pai.sent)
    assert first["x-acs-signature-nonce"] != second["x-acs-signature-nonce"]


@pytest.mark.parametrize("operation", CALLS)
def test_a_refusal_names_its_operation_and_no_secret(scripted, operation):
    """What the service quotes of the credentials is masked, whichever operation it refuses."""
    refused = {"Code": "Forbidden.RAM", "Message": "about CANARY-SECRET", "RequestId": "r"}
    with pytest.raises(Denied, match=r"about \*\*\*") as caught:
        CALLS[operation][0](scripted(response(refused, 403)))
    assert (caught.value.service, caught.value.operation) == ("paiautoml", operation)


@pytest.mark.parametrize("operation", ["GetHpoExperiment", "ListHpoTrials", "StopHpoExperiment"])
def test_an_operation_on_one_experiment_may_miss_it(scripted, operation):
    """The code for a wrong user or a missing experiment means the experiment if the call names one."""
    with pytest.raises(NotFound):
        CALLS[operation][0](scripted(response({"Code": "INVALID_USER_OR_EXP", "RequestId": "r"})))


def test_a_create_is_sent_as_compact_json(scripted):
    """The body is JSON without spaces in ASCII, and a number that JSON does not have is refused."""
    pai = scripted(response(CREATED))
    pai.create_hpo_experiment({"Name": "é", "a": [1, 2]}, nonce="n")
    assert pai.sent[0][0].body == b'{"Name":"\\u00e9","a":[1,2]}'
    with pytest.raises(ValueError, match="JSON"):
        pai.create_hpo_experiment({"a": float("nan")}, nonce="n")


@pytest.mark.parametrize(
    ("status", "document", "why"),
    [
        (199, CREATED, "an experiment id with an error status"),
        (300, {**CREATED, "Code": "C"}, "an experiment id with an error status"),
        (299, {"RequestId": "r"}, "no experiment id"),
    ],
)
def test_a_create_that_neither_succeeded_nor_failed(scripted, status, document, why):
    """An id with an error, or a success without an id, leaves the end unknown, and the error says which it was."""
    with pytest.raises(UnknownEnd, match=f"unreadable answer: {why}") as caught:
        scripted(response(document, status)).create_hpo_experiment(BODY, nonce="n")
    error = caught.value
    assert (error.code, error.request_id, error.http_status) == (document.get("Code"), "r", status)
    assert scripted(response(CREATED, 299)).create_hpo_experiment(BODY, nonce="n").experiment_id == "sORVEck"


@pytest.mark.parametrize(("error", "way"), [(0.9, "1 s ahead of"), (-0.9, "1 s behind")])
def test_a_clock_that_is_just_right_enough(scripted, error, way):
    """A create is sent if the clock is off by what is safe, and no more."""
    pai = scripted(response(CREATED), clock_error=error)
    assert pai.create_hpo_experiment(BODY, nonce="n", max_clock_error=0.9).experiment_id == "sORVEck"
    pai = scripted(response(CREATED), clock_error=error)
    with pytest.raises(ClockOff, match=f"is {way} .* more than the 0.5 s") as caught:
        pai.create_hpo_experiment(BODY, nonce="n", max_clock_error=0.5)
    assert (caught.value.service, caught.value.operation) == ("paiautoml", "CreateHpoExperiment")
    assert pai.sent == []


def test_the_clock_is_checked_before_each_try_of_a_create(scripted):
    """Another answer may show that it is off while the create waits for its repetition."""
    unreached = Unavailable("no", service="paiautoml", operation="CreateHpoExperiment")
    pai = scripted(unreached, response(CREATED))
    pai.transport.clock_error = lambda: 100.0 if pai.transport.clock.slept else 0.0
    with pytest.raises(ClockOff):
        pai.create_hpo_experiment(BODY, nonce="n", max_clock_error=10.0)
    assert len(pai.sent) == 1


def test_a_stop_with_an_unreadable_answer(scripted):
    """A success that is not JSON does not say that the experiment stops."""
    with pytest.raises(UnknownEnd, match="unreadable answer"):
        scripted(Response(200, {}, b"<html>")).stop_hpo_experiment("s1")


def test_a_stop_of_another_experiment(scripted):
    """The answer to another call does not say that this experiment stops."""
    with pytest.raises(UnknownEnd, match="another experiment"):
        scripted(response({"ExpId": "s2", "Status": "TERMINATING", "RequestId": "r"})).stop_hpo_experiment(
            "s1"
        )


def test_a_create_with_several_ids(scripted):
    """Readers of JSON differ in which of two members with one name they read."""
    body = b'{"RequestId":"r","ExperimentId":"s1","ExperimentId":"s2"}'
    with pytest.raises(UnknownEnd, match="several experiment ids"):
        scripted(Response(200, {}, body)).create_hpo_experiment(BODY, nonce="n")


@pytest.mark.parametrize(
    "more", ['"experimentId": "s1"', '"ParentExperimentId":"s0"', '"Message":"\\"ExperimentId\\":1"']
)
def test_a_create_with_its_id_twice(scripted, more):
    """An answer that says the same twice, or mentions the name elsewhere, is certain."""
    body = f'{{"RequestId":"r","ExperimentId":"s1",{more}}}'.encode()
    assert scripted(Response(200, {}, body)).create_hpo_experiment(BODY, nonce="n").experiment_id == "s1"


@pytest.mark.parametrize("members", [{"ExpId": "SAb1"}, {"expId": "sab1"}, {}])
def test_an_id_in_another_case_is_the_same(scripted, members):
    """A service may change the case of an id, or leave it out: the experiment is the one that was asked for."""
    answer = {**members, "Status": "TERMINATING", "RequestId": "r"}
    assert scripted(response(answer)).stop_hpo_experiment("sAb1") == "TERMINATING"
    answer = {"ExperimentId": members.get("ExpId", "sAb1"), "RequestId": "r"}
    assert scripted(response(answer)).get_hpo_experiment("sAb1").experiment_id == answer["ExperimentId"]


def test_signed_with_the_token(client, reply, credentials):
    """A request has a signature that covers it, including the security token."""
    pai = client(reply(CREATED))
    pai.create_hpo_experiment(BODY, nonce="n")
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
    PaiAutoMl(transport, server.url, lambda: Credentials("i", "s")).create_hpo_experiment({}, nonce="n")
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
def test_created_despite_an_error_code(client, reply, document, remark):
    """An id in a 2xx means that the experiment exists; a code beside it is handed on as a remark."""
    made = client(reply(document)).create_hpo_experiment(BODY, nonce="n")
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
        (400, {"Code": "Throttling.User"}, UnknownEnd),
        (200, {"Code": "INVALID_INPUT_PARAMS"}, UnknownEnd),
        (429, {"Code": "Throttling.User", "RequestId": "r"}, Throttled),
        (400, {"Code": "SignatureNonceUsed", "RequestId": "r"}, UnknownEnd),
        (400, {"Code": "InvalidTimeStamp.Expired", "RequestId": "r"}, Denied),
        (403, {"code": "Forbidden.RAM", "message": "m", "requestId": "r"}, Denied),
        (200, {"Code": "INVALID_USER_OR_EXP", "RequestId": "r"}, Denied),
        (400, {"Code": "WorkspaceGone", "RequestId": "r"}, UnknownEnd),
    ],
)
def test_create_fails(client, reply, status, document, kind):
    """Each failed create has its ending, and none of these is sent twice, a throttled one included."""
    pai = client(reply(document, status))
    with pytest.raises(kind) as caught:
        pai.create_hpo_experiment(BODY, nonce="n")
    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.operation) == (status, "CreateHpoExperiment")
    assert len(pai.server.requests) == 1


@pytest.mark.parametrize(
    "written",
    [
        *(0, -1, math.nan, True, ["s1"], {"Id": "s1"}, "", "0", "null", "None", "undefined"),
        *(" ", "\n", ".", "..", "-", " a", "a\nb", "a\x00b", "\ud800", "\u3000a", "x" * 256),
    ],
)
def test_what_cannot_be_an_id_is_none(scripted, written):
    """A serializer's value for a missing id, or one that fits into no event, announces no experiment."""
    pai = scripted(response({**CREATED, "ExperimentId": written}))
    with pytest.raises(UnknownEnd, match="no experiment id"):
        pai.create_hpo_experiment(BODY, nonce="n")
    listing = response({"Experiments": [{**ROW, "ExperimentId": written}], "TotalCount": 1})
    with pytest.raises(Incomplete, match="without an id"):
        scripted(listing, listing).list_hpo_experiments()


@pytest.mark.parametrize("written", [0, None, ""])
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_with_an_empty_id_is_a_refusal(scripted, status, written):
    """The members of a refusal may include an id that was not set."""
    refusal = {"RequestId": "r", "ExperimentId": written, "Code": "Throttling.User", "Message": "m"}
    with pytest.raises(Throttled):
        scripted(response(refusal, status)).create_hpo_experiment(BODY, nonce="n")


@pytest.mark.parametrize("written", ["0a", "s-1", 7, 10**30, "实验", "a/b c", "x" * 255])
def test_an_unusual_id_is_an_id(scripted, written):
    """The form of an id is not documented."""
    pai = scripted(response({**CREATED, "ExperimentId": written}))
    assert pai.create_hpo_experiment(BODY, nonce="n").experiment_id == str(written)


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b'{"ExperimentId": "x', b"\xff"])
@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 408, 413, 429, 502])
def test_create_unreadable(client, answer, status, body):
    """A create whose answer is not recognizably the service's own has an unknown end, at any status."""
    pai = client(answer(status, body))
    with pytest.raises(UnknownEnd):
        pai.create_hpo_experiment(BODY, nonce="n")
    assert len(pai.server.requests) == 1


def test_create_is_never_repeated_after_sending(client, reset):
    """A create that broke off after sending is not sent again."""
    pai = client(lambda connection, _raw: reset(connection))
    with pytest.raises(UnknownEnd):
        pai.create_hpo_experiment(BODY, nonce="n")
    assert len(pai.server.requests) == 1


def test_create_uses_the_nonce_that_it_is_given(client, reply):
    """The nonce of a create is its caller's, so that a late copy of it collides at the gateway."""
    pai = client(reply(CREATED))
    for _ in range(2):
        pai.create_hpo_experiment(BODY, nonce="f00d")
    assert [parsed(raw)[2]["x-acs-signature-nonce"] for raw in pai.server.requests] == ["f00d", "f00d"]


def test_create_that_was_not_sent_is_repeated_with_its_nonce(client, reply, monkeypatch):
    """After Unavailable nothing was sent: the create is repeated, and the same nonce is right."""
    pai, connect = client(reply(CREATED)), HTTPConnection.connect
    refusals = iter([True, True])

    def refuse_at_first(self: HTTPConnection) -> None:
        if next(refusals, False):
            raise ConnectionRefusedError
        connect(self)

    monkeypatch.setattr(HTTPConnection, "connect", refuse_at_first)
    assert pai.create_hpo_experiment(BODY, nonce="f00d").experiment_id == "sORVEck"
    assert [parsed(raw)[2]["x-acs-signature-nonce"] for raw in pai.server.requests] == ["f00d"]


def date_of(raw: bytes) -> float:
    text = parsed(raw)[2]["x-acs-date"]
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()


@pytest.mark.parametrize("seconds", [0.0, 840.0])
def test_create_is_dated_back(client, reply, clock, seconds):
    """The date of a create is earlier than now by `backdate_seconds`."""
    pai = client(reply(CREATED))
    before = int(clock.now())
    pai.create_hpo_experiment(BODY, nonce="n", backdate_seconds=seconds)
    assert before <= date_of(pai.server.requests[0]) + seconds <= clock.now()


def test_create_is_signed_once_connected(client, reply, clock, monkeypatch):
    """The time that name look-up, TCP and TLS take is not part of a create's age."""
    pai, connect = client(reply(CREATED)), HTTPConnection.connect

    def connect_slowly(self: HTTPConnection) -> None:
        connect(self)
        clock.suspend(78)

    monkeypatch.setattr(HTTPConnection, "connect", connect_slowly)
    before = int(clock.now())
    pai.create_hpo_experiment(BODY, nonce="n")
    assert date_of(pai.server.requests[0]) >= before + 78


@pytest.mark.parametrize("clock_of_the_end", ["ends_at", "wall_ends_at"])
def test_create_needs_its_least_time(client, reply, clock, clock_of_the_end):
    """A create does not begin with less than the time that its caller asks for, by either clock."""
    pai = client(reply(CREATED))
    now = clock.monotonic() if clock_of_the_end == "ends_at" else clock.now()
    too_late = Budget(clock, least_seconds=10, **{clock_of_the_end: now + 9.9})
    with pytest.raises(NoTimeLeft):
        pai.create_hpo_experiment(BODY, nonce="n", budget=too_late)
    assert pai.server.connections == 0
    in_time = Budget(clock, least_seconds=10, **{clock_of_the_end: now + 60})
    pai.create_hpo_experiment(BODY, nonce="n", budget=in_time)


@pytest.mark.parametrize(
    ("off", "allowed", "way"),
    [(100, 5, "ahead of"), (-100, 5, "behind"), (100, 120, None), (100, None, None)],
)
def test_create_with_a_wrong_clock(client, answer, reply, clock, off, allowed, way):
    """A create is refused before it connects if an answer showed that the clock is off by more than is safe."""
    dated = answer(
        200, json.dumps({"TotalCount": 0}).encode(), Date=formatdate(clock.now() - off, usegmt=True)
    )
    pai = client(dated, reply(CREATED))
    pai.list_hpo_experiments()
    if way is None:
        assert pai.create_hpo_experiment(BODY, nonce="n", max_clock_error=allowed).experiment_id
        return
    with pytest.raises(ClockOff, match=f"clock is (99|100) s {way}"):
        pai.create_hpo_experiment(BODY, nonce="n", max_clock_error=allowed)
    assert len(pai.server.requests) == 1


def test_create_not_reached(transport, credentials, clock):
    """A service that refuses connections is tried again, and then Unavailable."""
    pai = PaiAutoMl(transport, "http://127.0.0.1:1", lambda: credentials)
    with pytest.raises(Unavailable):
        pai.create_hpo_experiment(BODY, nonce="n")
    assert len(clock.slept) == 3


def test_too_late(client, reply, clock):
    """Nothing is sent if the budget has ended."""
    pai = client(reply(CREATED))
    with pytest.raises(NoTimeLeft):
        pai.create_hpo_experiment(BODY, nonce="n", budget=Budget.lasting(0, clock))
    assert pai.server.connections == 0


def test_credentials_of_the_moment(transport, serve, reply):
    """Credentials are asked for before each attempt; without any, nothing is sent."""
    server = serve(reply({"Code": "Throttling", "RequestId": "r"}, 400), reply({"TotalCount": 0}))
    keys = iter([Credentials("old", "s"), Credentials("new", "s")])
    PaiAutoMl(transport, server.url, lambda: next(keys)).list_hpo_experiments()
    assert b"Credential=old," in server.requests[0]
    assert b"Credential=new," in server.requests[1]

    def none() -> Credentials:
        raise NoCredentials("m", service="s", operation="o")

    with pytest.raises(NoCredentials):
        PaiAutoMl(transport, server.url, none).create_hpo_experiment({}, nonce="n")
    assert len(server.requests) == 2


def test_secrets_do_not_come_back(client, reply):
    """A service that quotes credentials of the request or of the caller does not get them into the error."""
    message = "wrong access_key CANARY-ODPS, secret CANARY-SECRET, token CANARY-TOKEN"
    pai = client(reply({"Code": "INVALID_INPUT_PARAMS", "Message": message, "RequestId": "r"}))
    with pytest.raises(Invalid) as caught:
        pai.create_hpo_experiment(BODY, nonce="n")
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


@pytest.mark.parametrize(("error", "moment"), [(5.0, 95.0), (0.0, 100.0), (-5.0, 100.0)])
def test_a_moment_is_corrected_if_this_clock_is_ahead(scripted, error, moment):
    """A clock that is behind makes nothing last longer than it should."""
    pai = scripted(clock_error=error)
    assert pai.correct_time(100.0) == moment
    assert pai.present_time() == pai.correct_time(pai.transport.clock.now())


def test_list(client, reply):
    """A page of a listing, each row with its tags, and every filter in the query."""
    pai = client(reply({"TotalCount": 7, "Experiments": [ROW], "RequestId": "r", "Code": "SUCCESS"}))
    page = pai.list_hpo_experiments(
        workspace_id="a b+c*~/é",
        min_create_time=datetime(2023, 3, 31, 10, 29, 30, tzinfo=timezone.utc),
        tags=[("hpoq-key", "k 1"), ("x", "测")],
        page_number=2,
        page_size=10,
    )
    row = page.experiments[0]
    assert (page.total_count, len(page.experiments)) == (7, 1)
    assert dataclasses.astuple(row) == (
        *("s1", "n", "d", "12345", "RUNNING", (("hpoq-key", "k"), ("empty", ""))),
        *(datetime(2023, 3, 31, 10, 29, 30, tzinfo=timezone.utc), False),
        *(None, None, {}),
    )
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, urlsplit(target).path, body) == ("GET", "/api/automl/v1/hpo/experiments", b"")
    assert dict(parse_qsl(urlsplit(target).query, strict_parsing=True)) == {
        "WorkspaceId": "a b+c*~/é",
        "MinCreateTime": "2023-03-31 10:29:30",
        "Tag": '[{"Key":"hpoq-key","Value":"k 1"},{"Key":"x","Value":"测"}]',
        "PageNumber": "2",
        "PageSize": "10",
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
    """A listing that cannot be read is never mistaken for an empty one."""
    with pytest.raises(UnknownEnd, match="unreadable"):
        client(reply(document), retry=RetryPolicy(attempts=1)).list_hpo_experiments()


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://paiautoml.cn-shanghai.aliyuncs.com",
        "https://paiautoml.cn-shanghai.aliyuncs.com/",
        "https://PAIAUTOML.cn-shanghai.aliyuncs.com:443",
        "paiautoml-vpc.cn-shanghai.aliyuncs.com",
    ],
)
def test_one_service_is_one_place(endpoint):
    """Where a create went is the same place however the endpoint is written, and from inside the VPC."""
    assert identify_place(endpoint) == "https://paiautoml.cn-shanghai.aliyuncs.com"


@pytest.mark.parametrize(
    ("place", "present", "expected"),
    [
        ("https://a#1", "https://a#1", False),
        ("https://a#1", "https://a#2", True),
        ("https://a#1", "https://b#1", True),
        ("https://a", "https://a#2", False),
        ("https://a#1", "https://a", False),
        (None, "https://a#2", False),
        ("https://a#1", None, False),
    ],
)
def test_experiments_of_another_endpoint_or_account_are_elsewhere(place, present, expected):
    """Records of earlier versions, and operators' tools, do not know the account."""
    assert is_elsewhere(place, present) is expected
    assert identify_place("https://a", "1") == "https://a#1"


def test_another_experiment_is_not_the_answer(client, reply):
    """An answer about another experiment than the one that was asked for is not read."""
    pai = client(reply({**ROW, "ExperimentId": "s2"}), retry=RetryPolicy(attempts=1))
    with pytest.raises(UnknownEnd, match="another experiment"):
        pai.get_hpo_experiment("s1")


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
        (" 2024-01-01T08:30:11.5-0800 ", "2024-01-01T08:30:11-08:00"),
        ("2000-01-01 00:00:00", "2000-01-01T00:00:00+00:00"),
        ("1999-12-31 23:59:59", None),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01 00:00:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_times(client, reply, text, expected):
    """Both documented forms of a time are read, UTC where no zone is said; others and placeholders are no time."""
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
        ("TRUE", True),
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


def test_get_reads_the_configuration_and_the_trials(client, reply):
    """The number of trials by status is documented as texts; the configuration is kept out of the repr."""
    config = {"platform_config": {"name": "DLC", "cmd": ["--password canary"]}}
    document = {
        "ExperimentId": "s1",
        "Status": "RUNNING",
        "GmtModifiedTime": "2024-01-01 08:30:11",
        "TrialStatus": {"FINISHED": "3", "running": 1, "": 2, "odd": "x", "none": None},
        "HpoExperimentConfiguration": config,
    }
    got = client(reply(document)).get_hpo_experiment("s1")
    assert got.trials == (("FINISHED", 3), ("RUNNING", 1), ("", 2))
    assert got.configuration == config
    assert got.modified_at == datetime(2024, 1, 1, 8, 30, 11, tzinfo=timezone.utc)
    assert "canary" not in repr(got)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("0.5", 0.5),
        (0.5, 0.5),
        ('{"default": 0.5, "auc": 1}', 0.5),
        ({"default": "0.5"}, 0.5),
        *((odd, None) for odd in (None, "", "nan", "Infinity", True, "x", {}, "[1]", 10**400)),
    ],
)
def test_trials_are_read_in_every_documented_form(client, reply, metric, value):
    """The final metric has several documented forms; one that is not a finite number is none."""
    row = {
        "TrialId": "t1",
        "Status": "SUCCEEDED",
        "FinalMetric": metric,
        "Hyperparam": '{"${a}": 1}',
        "GmtCreateTime": "2024-01-01T08:30:11Z",
        "GmtModifiedTime": "2024-01-01 08:31:11",
    }
    pai = client(reply({"TotalCount": "1", "Trials": [row]}))
    page = pai.list_hpo_trials("s1", page_number=2, order="DESC")
    (trial,) = page.trials
    assert (page.total_count, trial.trial_id, trial.status) == (1, "t1", "SUCCEEDED")
    assert (trial.metric, trial.hyperparameters, trial.seconds) == (value, {"${a}": 1}, 60.0)
    _, target, _, _ = parsed(pai.server.requests[0])
    assert urlsplit(target).path == "/api/automl/v1/hpo/experiment/s1/trials"
    query = {"PageNumber": "2", "PageSize": "100", "SortBy": "FINAL_METRIC", "Order": "DESC"}
    assert dict(parse_qsl(urlsplit(target).query)) == query


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (200, {"Code": "INVALID_USER_OR_EXP", "RequestId": "r"}),
        (400, {"Code": "INVALID_USER_OR_EXP", "RequestId": "r"}),
        (404, {"Code": "Gone", "RequestId": "r"}),
    ],
)
def test_get_missing(client, reply, status, document):
    """A missing experiment is NotFound."""
    with pytest.raises(NotFound):
        client(reply(document, status)).get_hpo_experiment("s1")


def test_missing_only_if_the_service_says_so(client, answer):
    """The 404 of a proxy does not make an experiment missing."""
    with pytest.raises(UnknownEnd, match="not the service's own answer"):
        client(answer(404, b"<html>"), retry=RetryPolicy(attempts=1)).get_hpo_experiment("s1")


def test_a_listing_that_is_refused_misses_no_experiment(client, reply):
    """The service's code for a wrong user or a missing experiment can only mean the user here."""
    with pytest.raises(Denied):
        client(
            reply({"RequestId": "r", "Code": "INVALID_USER_OR_EXP", "Message": "m"})
        ).list_hpo_experiments()


def test_listing_with_a_nonce(client, reply):
    """A listing can be sent with a given nonce, to see whether the gateway refuses a used one."""
    pai = client(reply({"TotalCount": 0}))
    pai.list_hpo_experiments(nonce="n1")
    assert parsed(pai.server.requests[0])[2]["x-acs-signature-nonce"] == "n1"


UNKNOWN_TAGS = [[{"name": "hpoq-key"}], ["hpoq-key"], "hpoq-key=k", 5]


@pytest.mark.parametrize("tags", UNKNOWN_TAGS)
def test_tags_of_an_unknown_form_are_not_no_tags(client, reply, tags):
    """A listing whose tags cannot be read must not make anybody conclude that a marker is missing."""
    pai = client(
        reply({"TotalCount": 1, "Experiments": [{**ROW, "Tags": tags}]}), retry=RetryPolicy(attempts=1)
    )
    with pytest.raises(UnknownEnd, match="tag"):
        pai.list_hpo_experiments()


@pytest.mark.parametrize(
    "tags",
    [
        [{"TagKey": "hpoq-key", "TagValue": "k"}],
        [{"tagKey": "hpoq-key", "tagValue": "k"}],
        {"hpoq-key": "k"},
        [{"Key": None}, {"key": None}, {"Key": "hpoq-key", "Value": "k", "TagKey": "x", "TagValue": "y"}],
    ],
)
def test_tags_are_read_in_the_forms_of_the_vendors_other_services(client, reply, tags):
    """A service that lists tags like its siblings does not strand the messages that search for them."""
    page = client(reply({"TotalCount": 1, "Experiments": [{**ROW, "Tags": tags}]})).list_hpo_experiments()
    assert page.experiments[0].tags == (("hpoq-key", "k"),)


def test_values_of_tags_in_an_object(client, reply):
    """Values are read as texts; a missing one is empty."""
    tags = {"a": None, "b": 1, "c": True}
    got = client(reply({**ROW, "Tags": tags})).get_hpo_experiment("s1")
    assert got.tags == (("a", ""), ("b", "1"), ("c", ""))


def test_members_may_begin_in_lower_case(client, reply):
    """An experiment reads alike whichever case the names of its members begin with."""
    row = {**ROW, "Status": " running", "GmtModifiedTime": "2024-01-01 08:30:11", "Deleted": 1}
    row |= {"TrialStatus": {"RUNNING": "1"}, "HpoExperimentConfiguration": {"a": 1}}
    lower = {name[0].lower() + name[1:]: value for name, value in row.items()}
    pai = client(*(reply({"TotalCount": "1", "Experiments": [one]}) for one in (row, lower)))
    first, second = (pai.list_hpo_experiments().experiments for _ in range(2))
    assert first == second
    assert (first[0].status, first[0].deleted, first[0].trials) == ("RUNNING", True, (("RUNNING", 1),))
    pai = client(reply({"experiments": [row], "totalCount": 1}))
    assert (pai.list_hpo_experiments().experiments, pai.list_hpo_experiments().total_count) == (first, 1)


@pytest.mark.parametrize("tags", [[{"Value": "v"}], [{"value": "v"}]])
@pytest.mark.parametrize("member", ["Tags", "tags"])
def test_a_tag_without_a_key_is_ignored(client, reply, member, tags):
    """The documentation does not require a key; what has no key is no marker. Members may begin in lower case."""
    listed = [{"ExperimentId": "s1", member: tags}, {"ExperimentId": "s2", member: [{"key": "k"}]}]
    page = client(reply({"TotalCount": 2, "Experiments": listed})).list_hpo_experiments()
    assert [row.tags for row in page.experiments] == [(), (("k", ""),)]


def test_stop(client, reply):
    """A stop is a PUT without a body and returns the status."""
    pai = client(reply({"ExpId": "s1", "Status": "TERMINATING", "RequestId": "r"}))
    assert pai.stop_hpo_experiment("s1") == "TERMINATING"
    method, target, headers, body = parsed(pai.server.requests[0])
    assert (method, target, body) == ("PUT", "/api/automl/v1/hpo/experiment/s1/stop", b"")
    assert headers["content-length"] == "0"
    assert "content-type" not in headers


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
