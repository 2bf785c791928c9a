"""The control API: what it does, and which callers it refuses."""

import json

import pytest
import requests
from localwire import CONFIGURATION, Wire, xml

import alilocal
from alilocal.core.jsonvalue import read_json, texts
from alilocal.core.secretnames import is_secret_name
from alilocal.eventstream import EventStream

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def ask(cloud):
    with cloud.session() as session:

        def call(method, path, body=None, **headers):
            data = None if body is None else json.dumps(body)
            shown = {**(JSON if body is not None else {}), **headers}
            return session.request(method, f"{cloud.endpoint}/_alilocal/{path}", data=data, headers=shown)

        yield call


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def test_health(ask, cloud):
    """`health` shows the region and all services."""
    reported = ask("GET", "health").json()
    assert (reported["status"], reported["region"]) == ("ok", cloud.region)
    services = {"paiautoml", "smq", "mnsopen", "eventbridge", "tablestore", "fc", "resourcemanager", "sts"}
    assert services == set(reported["services"])


@pytest.mark.parametrize("path", ["", "_alilocal/health", "_alilocal/clock", "_console"])
def test_head_is_answered_like_get(cloud, path):
    """Programs that wait for a server ask for the head only."""
    with cloud.session() as session:
        asked, got = (session.request(method, f"{cloud.endpoint}/{path}") for method in ("HEAD", "GET"))
    assert asked.status_code == got.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("PATCH", "behaviour", {"x": 1}, "Known switches: create_tags, "),
        ("PATCH", "behaviour", {"__dataclass_fields__": 1}, "unknown switch: __dataclass_fields__."),
        ("POST", "limits", {"service": "smq"}, "perSecond: is required"),
        ("GET", "requests?after=x", None, "after: 'x' is not a number"),
    ],
)
def test_a_refusal_names_what_is_wrong_in_words_of_the_api(ask, method, path, body, said):
    answer = ask(method, path, body)
    assert code(answer) == (400, "BadRequest")
    assert said in answer.json()["error"]["message"]


def test_snapshot_reset_and_load(ask, cloud):
    cloud.queues.create("orders").send("body")
    document = ask("GET", "snapshot").json()
    assert ask("POST", "reset", {}).status_code == 200
    assert len(cloud.queues) == 0
    assert ask("POST", "load", document).status_code == 200
    assert [message.body for message in cloud.queues["orders"].messages] == ["body"]
    assert code(ask("POST", "load", {"alilocal": 1})) == (400, "BadRequest")


def test_the_clock_is_advanced(ask, cloud):
    """The clock is advanced by a valid number of seconds only."""
    before = ask("GET", "clock").json()["now"]
    assert ask("POST", "clock", {"advance": 90}).json()["advanced"] == 90
    assert cloud.clock.now() >= before + 90
    impossible = (-1, float("nan"), float("inf"), 1e300, 1e12)
    for wrong in ({}, {"advance": "long"}, {"advance": True}, *({"advance": one} for one in impossible)):
        assert code(ask("POST", "clock", wrong)) == (400, "BadRequest")
    assert ask("GET", "clock").json()["advanced"] == 90


def test_faults_are_added_and_removed(ask, cloud):
    """Faults are added, listed and removed by their numbers; invalid ones are refused."""
    made = ask("POST", "faults", {"kind": "reset", "service": "smq", "times": None}).json()
    other = ask("POST", "faults", {"kind": "status", "status": 500}).json()
    assert [one["id"] for one in ask("GET", "faults").json()["faults"]] == [made["id"], other["id"]]
    assert ask("DELETE", f"faults/{made['id']}").status_code == 200
    assert [one.kind for one in cloud.faults.all()] == ["status"]
    assert code(ask("DELETE", f"faults/{made['id']}")) == (404, "NotFound")
    assert code(ask("DELETE", "faults/x")) == (404, "NotFound")
    for wrong in ({}, {"kind": "flood"}, {"kind": "reset", "service": "none"}, {"kind": "reset", "hits": 5}):
        assert code(ask("POST", "faults", wrong)) == (400, "BadRequest")
    ask("DELETE", "faults")
    assert cloud.faults.all() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"times": "x"}, "times: must be of type int"),
        ({"times": 0}, "times must be at least 1"),
        ({"nth": 1.5}, "nth: must be of type int"),
        ({"seconds": "x"}, "seconds: must be of type float"),
        ({"seconds": -1}, "seconds must be between"),
        ({"until": 1e300}, "until must be a time"),
        ({"lasting": 1e300}, "until must be a time"),
        ({"kind": "status", "status": "500"}, "status: must be of type int"),
        ({"kind": "status", "status": 99_999}, "status must be between"),
        ({"kind": "status", "status": 500, "code": 5}, "code: must be of type str"),
        ({"kind": "status", "status": 500, "headers": {"a": 1}}, "headers.a: must be of type str"),
        (
            {"kind": "status", "status": 500, "headers": {"a": "b\r\nc"}},
            "headers: a name or value must not contain",
        ),
    ],
)
def test_a_fault_that_would_break_the_cloud_is_refused(ask, cloud, wrong, said):
    """An invalid member of a fault is refused with its name, and no fault is added."""
    answer = ask("POST", "faults", {"kind": "reset", **wrong})
    assert code(answer) == (400, "BadRequest")
    assert answer.json()["error"]["message"].startswith(said)
    assert cloud.faults.all() == []


def test_switches(ask, cloud):
    """Switches are shown with their choices and set together or not at all."""
    shown = ask("GET", "behaviour").json()
    assert shown["tag_filter"] == {"value": "honoured", "choices": ["honoured", "ignored", "refused"]}
    assert ask("PATCH", "behaviour", {"tag_filter": "ignored"}).json()["tag_filter"]["value"] == "ignored"
    assert cloud.behaviour.tag_filter == "ignored"
    assert code(ask("PATCH", "behaviour", {"tag_filter": "maybe"})) == (400, "BadRequest")
    assert code(ask("PATCH", "behaviour", {"none": 1})) == (400, "BadRequest")
    assert shown["success_code"]["choices"] == [True, False]
    for wrong in ("1", -1, True, float("inf")):
        assert code(ask("PATCH", "behaviour", {"list_lag_seconds": wrong})) == (400, "BadRequest")
    assert code(ask("PATCH", "behaviour", {"tag_filter": "refused", "none": 1})) == (400, "BadRequest")
    assert cloud.behaviour.tag_filter == "ignored", "a bad document is refused whole"


def test_messages_are_sent_counted_and_purged(ask, cloud):
    cloud.queues.create("orders")
    assert "messageId" in ask("POST", "queues/orders/messages", {"body": "text"}).json()
    ask("POST", "queues/orders/messages", {"body": {"a": 1}, "delaySeconds": 60})
    assert [message.body for message in cloud.queues["orders"].messages] == ["text", '{"a": 1}']
    (row,) = ask("GET", "queues").json()["queues"]
    assert row == {"name": "orders", "active": 1, "inactive": 0, "delayed": 1}
    assert code(ask("POST", "queues/none/messages", {"body": "x"})) == (404, "QueueNotExist")
    assert code(ask("POST", "queues/orders/messages", {"body": 5})) == (400, "BadRequest")
    assert code(ask("POST", "queues/orders/messages", {"body": ""})) == (400, "InvalidArgument")
    ask("DELETE", "queues/orders/messages")
    assert cloud.queues["orders"].messages == []


def test_a_message_is_delivered_again(ask, cloud):
    queue = cloud.queues.create("orders")
    message_id = queue.send("body")
    (received,) = queue.receive(1)
    assert ask("POST", f"messages/{message_id}/redeliver", {}).json() == {"messageId": message_id}
    (again,) = queue.receive(1)
    assert again.dequeue_count == received.dequeue_count + 1
    queue.delete(again.receipt_handle)
    assert ask("POST", f"messages/{message_id}/redeliver", {}).json() == {"messageId": message_id}
    assert [(one.message_id, one.body) for one in queue.messages] == [(message_id, "body")]
    assert [row["messageId"] for row in ask("GET", "messages").json()["messages"]] == [message_id]
    assert code(ask("POST", "messages/none/redeliver", {})) == (404, "MessageNotExist")


def test_a_message_is_sent_as_new(ask, cloud):
    """A message that is sent as new has the same body and another id."""
    queue = cloud.queues.create("orders")
    message_id = queue.send("body")
    anew = ask("POST", f"messages/{message_id}/send", {}).json()["messageId"]
    assert anew != message_id
    assert [message.body for message in queue.messages] == ["body", "body"]
    assert code(ask("POST", "messages/none/send", {})) == (404, "MessageNotExist")


def test_a_dead_letter_policy_is_set(ask, cloud):
    orders, dead = cloud.queues.create("orders"), cloud.queues.create("dead")
    assert ask("PUT", "queues/orders/dead-letter", {"queue": "dead", "maxReceiveCount": 1}).status_code == 200
    orders.send("body")
    orders.receive(1)
    cloud.clock.advance(31)
    cloud.queues.bury_exhausted(orders)
    (dead_letter,) = dead.messages
    assert dead_letter.body == "body"
    listed = [
        (one["messageId"], one["queue"], one["state"]) for one in ask("GET", "messages").json()["messages"]
    ]
    assert listed[0] == (dead_letter.message_id, "dead", "active")
    for wrong in ({}, {"queue": "orders", "maxReceiveCount": 1}, {"queue": "dead", "maxReceiveCount": 0}):
        assert code(ask("PUT", "queues/orders/dead-letter", wrong)) == (400, "BadRequest")
    assert code(ask("PUT", "queues/orders/dead-letter", {"queue": "x", "maxReceiveCount": 1})) == (
        404,
        "QueueNotExist",
    )


def test_requests_are_listed_after_a_number(ask, cloud):
    """`after` returns the calls behind the given number."""
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        wire.smq("GET", "/queues")
        first = ask("GET", "requests").json()["requests"]
        wire.create(Name="e", HpoExperimentConfiguration=CONFIGURATION)
    (row,) = ask("GET", f"requests?after={first[-1]['number']}").json()["requests"]
    assert (row["operation"], row["caller"]) == ("CreateHpoExperiment", cloud.access_key_id)
    assert row["detail"] == cloud.experiments[0].experiment_id
    assert ask("GET", "experiments").json()["experiments"][0]["name"] == "e"


def test_a_place_in_the_log_is_a_number(ask):
    """`after` must be a number."""
    assert ask("GET", "requests?after=x").status_code == 400


def test_reading_leaves_no_trace(ask, cloud):
    """Calls of the control API are not in the request log, and no fault applies to them."""
    cloud.faults.add("reset", times=None)
    assert ask("GET", "health").status_code == 200
    assert len(cloud.requests) == 0


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "nothing", (404, "NotFound")),
        ("GET", "", (404, "NotFound")),
        ("GET", "queues//messages", (404, "NotFound")),
        ("PUT", "clock", (405, "MethodNotAllowed")),
        ("GET", "topics/none/messages", (404, "TopicNotExist")),
    ],
)
def test_unknown_paths_and_methods(ask, method, path, expected):
    assert code(ask(method, path)) == expected


def test_a_page_of_another_site_is_refused(ask, cloud):
    """A foreign origin, a foreign host name and a content type of simple forms are refused."""
    assert code(ask("POST", "reset", {}, Origin="http://evil.example")) == (403, "ForeignOrigin")
    assert code(ask("GET", "snapshot", Host="evil.example")) == (403, "ForeignHost")
    assert code(ask("GET", "snapshot", Host="localhost.evil.example:80")) == (403, "ForeignHost")
    assert code(ask("GET", "snapshot", Host="")) == (403, "ForeignHost")
    simple = {"Content-Type": "text/plain"}
    assert code(ask("POST", "reset", {}, **simple)) == (415, "UnsupportedMediaType")
    assert ask("POST", "reset", {}, Origin="http://localhost", Host="localhost").status_code == 200
    assert code(ask("GET", "snapshot", Host="internal.example")) == (403, "ForeignHost")
    own = ("127.0.0.1:7600", "[::1]:7600", "cloud.localhost", "192.168.0.7", "host.docker.internal:7600")
    for host in (*own, "alilocal:7600", "my_cloud-1", "host.containers.internal"):
        assert ask("GET", "health", Host=host).status_code == 200


def test_the_root_shows_the_ways_in(cloud):
    """It does so under each name that this machine can have, but not under a host of the real cloud.

    A signed request is for a service.
    """

    def root(host, method="GET", **headers):
        return cloud.session().request(
            method, "http://localhost/", headers={"Host": host, **headers}, timeout=5
        )

    for host in ("localhost", "127.0.0.1:7600", "192.168.0.7:7600", "alilocal:7600"):
        assert root(host).json()["health"] == "/_alilocal/health"
    assert root("localhost", "HEAD").status_code == 200
    assert root("localhost", "POST").status_code >= 400
    for signed in ({"Authorization": "acs id:signature"}, {"x-acs-action": "ListQueues"}):
        assert root("localhost", **signed).status_code >= 400
    for host in ("evil.example", "1.mns.cn-hangzhou.aliyuncs.com", "100.100.100.200"):
        assert root(host).status_code >= 400


def test_over_http():
    """A server serves the control API under /_alilocal."""
    with alilocal.serve() as server:
        assert requests.get(f"{server.url}/_alilocal/health", timeout=5).json()["status"] == "ok"


@pytest.fixture
def pipeline(cloud):
    """A queue, and a function that creates an experiment for each message and publishes an event about it."""
    cloud.queues.create("orders")
    cloud.queues.create("dead")
    cloud.topics.create("results")
    session = cloud.session()
    wire = Wire(cloud, session, cloud.endpoint)

    def run(event):
        for item in json.loads(event):
            message = item["data"]["messageId"]
            key = f"key-of-{message}"
            made = wire.create(Tag=[{"Key": "k", "Value": key}], HpoExperimentConfiguration=CONFIGURATION)
            reported = {"type": "made.v1", "data": {"messageId": message, "key": key, "secret": "hidden"}}
            wire.smq("POST", "/topics/results/messages", xml("Message", MessageBody=json.dumps(reported)))
            assert "fail" not in item["data"]["messageBody"]
            assert made.ok

    yield EventStream(cloud, queue="orders", invoke=run, batch_size=3, dead_letter_queue="dead")
    session.close()


def words(row):
    return [step["word"] for step in row["steps"]]


def test_each_message_of_a_batch_has_its_own_history(ask, cloud, pipeline):
    """The calls of one delivery are assigned to the messages that they name."""
    ids = [cloud.queues["orders"].send(body) for body in ("a", "b")]
    assert pipeline.step()
    made = [one.experiment_id for one in cloud.experiments]
    for message_id, experiment in zip(ids, made, strict=True):
        row = ask("GET", f"messages/{message_id}").json()
        assert words(row) == ["enqueued", "delivered, attempt 1", "created", "published", "acknowledged"]
        assert [step["detail"] for step in row["steps"] if step["word"] == "created"] == [experiment]
        assert (row["state"], row["outcome"]) == ("done", "made.v1")
        assert "body" not in row
    assert [row["messageId"] for row in ask("GET", "messages").json()["messages"]] == ids[::-1]


def test_retries_and_dead_letters_are_in_the_history(ask, cloud, pipeline):
    """A history shows failures, planned retries and the dead-letter queue."""
    message_id = cloud.queues["orders"].send("fail")
    assert pipeline.step()
    row = ask("GET", f"messages/{message_id}").json()
    assert row["state"] == "retrying"
    assert words(row)[-1] == "to be retried"
    assert not any(step["failed"] for step in row["steps"])
    for _ in range(3):
        cloud.clock.advance(20)
        assert pipeline.step()
    row = ask("GET", f"messages/{message_id}").json()
    assert row["state"] == "given up"
    assert words(row).count("failed") == 1
    assert words(row)[-1] == "dead-lettered"


@pytest.mark.parametrize(("tolerance", "end"), [(True, "given up"), (False, "left in its queue")])
def test_the_history_of_a_message_that_never_succeeds(ask, cloud, tolerance, end):
    """A history ends with what happened after the last attempt."""
    cloud.queues.create("hard")
    message_id = cloud.queues["hard"].send("a")
    stream = EventStream(cloud, queue="hard", invoke=lambda event: False, tolerance=tolerance)
    for _ in range(4):
        assert stream.step()
        cloud.clock.advance(20)
    assert words(ask("GET", f"messages/{message_id}").json())[-1] == end
    assert len(cloud.queues["hard"].messages) == (0 if tolerance else 1)


def test_a_fault_shows_in_the_history(ask, cloud, pipeline):
    """A call that a fault ended appears under its own name, with the fault."""
    cloud.faults.add("status", operation="CreateHpoExperiment", status=503)
    message_id = cloud.queues["orders"].send("a")
    pipeline.step()
    row = ask("GET", f"messages/{message_id}").json()
    (refused,) = [step for step in row["steps"] if step["word"] == "CreateHpoExperiment"]
    assert (refused["failed"], refused["detail"]) == (True, "fault: status ServiceUnavailable")


def test_the_mentions_of_a_call_contain_no_secret():
    """Texts of secret members are not collected, and the number of texts is limited."""
    body = {
        "a": "shown",
        "accessKeySecret": "x1",
        "nested": [{"security_token": "x2", "Password": "x3", "URL": "x4"}],
    }
    assert set(texts(body)) == {"shown"}
    assert is_secret_name("x-acs-security-token")
    assert read_json("no json") is None
    assert read_json("eyJhIjogMX0=") == {"a": 1}
    assert len(list(texts([str(number) for number in range(1000)]))) == 200
