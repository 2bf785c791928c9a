"""`hpoq doctor` finds what is wrong, says exactly how to fix it, and changes nothing."""

import json

import pytest
from click.testing import CliRunner
from redis import Redis

import alilocal
from alilocal.core.gateway import Nonces
from alilocal.tablestore.model import STRING, Options
from hpoq.cloud.ots_wire import WireError
from hpoqctl.app import app
from hpoqctl.doctor.storechecks import TableDescription, encode_request, parse_description
from hpoqctl.pipeline import create_pipeline
from support.deployment import DEAD_LETTER_QUEUE, WATCH_QUEUE, function_environment, tablestore_url
from support.ports import reserve_port

CANARY = "canary-of-a-secret"


@pytest.fixture
def server():
    with alilocal.serve() as running:
        create_pipeline(running.cloud)
        yield running


def environ(server, **changes):
    settings = {"HPOQ_STORE": tablestore_url(server), "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE}
    return function_environment(server, **{**settings, **changes})


def run(variables, *arguments):
    """Return the exit code, and the findings by what was checked."""
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments], env=variables)
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, {one["check"]: one for one in json.loads(done.output)["findings"]}


def test_a_healthy_environment_has_no_problems(server):
    before = len(server.cloud.requests)
    code, found = run(environ(server), "--function-timeout", "240")
    assert code == 0
    verdicts = {check: one["verdict"] for check, one in found.items()}
    skipped = {check for check, verdict in verdicts.items() if verdict == "skipped"}
    assert skipped == {"create experiments", "publish events", "send dead letters"}
    assert {verdict for check, verdict in verdicts.items() if check not in skipped} == {"ok"}
    asked = [request.operation for request in list(server.cloud.requests)[before:]]
    assert "CreateHpoExperiment" not in asked
    assert "PublishMessage" not in asked
    assert server.cloud.tables.get("hpoq").rows == {}


def test_the_readable_output_with_an_endpoint(server):
    done = CliRunner().invoke(app, ["doctor", "--endpoint", server.url])
    assert done.exit_code == 0
    assert "ok      write records: table hpoq" in done.output


@pytest.fixture
def closed_port():
    with reserve_port() as port:
        yield port


def no_queue(server):
    server.cloud.queues.delete("hpo-requests")


def no_topic(server):
    server.cloud.topics.delete("hpo-results")


def short_visibility(server):
    server.cloud.queues.delete("hpo-requests")
    server.cloud.queues.create("hpo-requests", visibility_timeout=30)


def no_table(server):
    server.cloud.tables.delete("hpoq")


def wrong_key(server):
    server.cloud.tables.delete("hpoq")
    server.cloud.tables.create("hpoq", [("id", STRING)])


def short_life(server):
    server.cloud.tables.delete("hpoq")
    server.cloud.tables.create("hpoq", [("key", STRING)], Options(time_to_live=86_400))


def clock_is_off(server):
    clock = server.cloud.clock
    clock.sent_at = lambda asked_at=None: clock.now() + 600


def answers(kind="status", service="paiautoml", **changes):
    """Let each call of a service be answered so."""
    return lambda server: server.cloud.faults.add(kind, service=service, times=None, **changes)


def without(action):
    def deny(server):
        policy = {
            "Version": "1",
            "Statement": [
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "Action": action, "Resource": "*"},
            ],
        }
        cloud = server.cloud
        cloud.credentials.register("limited", "secret", user_id=cloud.account_id, policy=policy)

    return deny


LIMITED = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "limited", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}


@pytest.mark.parametrize(
    ("breaks", "changes", "check", "verdict", "fix"),
    [
        (None, {"HPOQ_LEASE_SECOND": "9"}, "settings", "problem", "correct"),
        (None, {"ALIBABA_CLOUD_ACCESS_KEY_ID": ""}, "credentials", "problem", "ALIBABA_CLOUD_ACCESS_KEY_ID"),
        (None, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}, "list experiments", "problem", "access key"),
        (None, {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"}, "read records", "problem", "access key"),
        (
            None,
            {"HPOQ_REGION": "", "HPOQ_PAIAUTOML_ENDPOINT": ""},
            "paiautoml endpoint",
            "problem",
            "HPOQ_REGION",
        ),
        (
            None,
            {"HPOQ_ACCOUNT_ID": "", "HPOQ_SMQ_ENDPOINT": ""},
            "smq endpoint",
            "problem",
            "HPOQ_ACCOUNT_ID",
        ),
        (None, {"HPOQ_STORE": ""}, "store", "problem", "HPOQ_STORE"),
        (None, {"HPOQ_LOG_LEVEL": "WARNING"}, "log level", "warning", "HPOQ_LOG_LEVEL to INFO"),
        (None, {"HPOQ_OUTPUT": "file:///tmp/events"}, "output", "warning", "smq://TOPIC"),
        (None, {"HPOQ_RETENTION_DAYS": "7"}, "record retention", "warning", "to more than 7"),
        (None, {"HPOQ_MAX_AGE_HOURS": "96"}, "queue retention", "warning", "less than 96"),
        (None, {"HPOQ_STORE": "ftp://x"}, "store", "problem", "unknown kind of store"),
        (None, {"HPOQ_STORE": "tablestore://x"}, "store", "problem", "tablestore://INSTANCE"),
        (None, {"HPOQ_STORE": "sqlite:///x.sqlite3"}, "store", "warning", "share no disk"),
        (no_queue, {}, "queue hpo-requests", "problem", "create the queue hpo-requests"),
        (no_topic, {}, "topic hpo-results", "problem", "create the topic hpo-results"),
        (
            short_visibility,
            {},
            "queue and function time-outs",
            "problem",
            "VisibilityTimeout to more than 240",
        ),
        (no_table, {}, "read records", "problem", "create the table hpoq"),
        (no_table, {}, "table", "problem", "If it existed before, stop the triggers first"),
        (wrong_key, {}, "table key", "problem", "key"),
        (short_life, {}, "table time to live", "problem", "more than 2592000"),
        (clock_is_off, {}, "clock against paiautoml", "problem", "clock"),
        (
            answers(status=404, code="InvalidAction.NotFound"),
            {},
            "list experiments",
            "problem",
            "correct the endpoint or the region",
        ),
        (
            answers(status=403, code="Forbidden.InDebt"),
            {},
            "list experiments",
            "problem",
            "look up Forbidden.InDebt",
        ),
        (
            answers(status=400, code="InvalidTimeStamp.Expired"),
            {},
            "list experiments",
            "problem",
            "set the clock",
        ),
        (
            answers(service="smq", status=403, code="Forbidden.InDebt"),
            {},
            "queue hpo-requests",
            "problem",
            "look up Forbidden.InDebt",
        ),
        (
            answers("foreign", status=404),
            {},
            "list experiments",
            "problem",
            "find the proxy or load balancer",
        ),
        (
            without("paiautoml:ListHpoExperiments"),
            LIMITED,
            "list experiments",
            "problem",
            "grant the RAM action paiautoml",
        ),
        (without("ots:PutRow"), LIMITED, "write records", "problem", "grant the RAM action ots:PutRow"),
        (without("ots:GetRow"), LIMITED, "read records", "problem", "grant the RAM action ots:GetRow"),
        (without("ots:DescribeTable"), LIMITED, "table", "warning", "ots:DescribeTable"),
        (
            without("mns:GetQueueAttributes"),
            LIMITED,
            "queue hpo-requests",
            "warning",
            "mns:GetQueueAttributes",
        ),
        (
            without("mns:GetTopicAttributes"),
            LIMITED,
            "topic hpo-results",
            "warning",
            "mns:GetTopicAttributes",
        ),
    ],
)
def test_a_fault_is_reported_with_its_fix(server, breaks, changes, check, verdict, fix):
    if breaks is not None:
        breaks(server)
    code, found = run(environ(server, **changes), "--function-timeout", "240")
    assert found[check]["verdict"] == verdict
    assert fix in found[check]["fix"]
    assert code == (verdict == "problem")


@pytest.mark.parametrize(
    ("seconds", "verdict", "fix"),
    [("20", "problem", "at least 31 s"), ("60", "warning", "HPOQ_LEASE_SECONDS")],
)
def test_a_function_timeout_that_is_too_short_is_reported(server, seconds, verdict, fix):
    _, found = run(environ(server), "--function-timeout", seconds)
    assert found["function time-out"]["verdict"] == verdict
    assert fix in found["function time-out"]["fix"]


def test_an_unreachable_service_is_reported(server, closed_port):
    nowhere = f"http://127.0.0.1:{closed_port}"
    code, found = run(environ(server, HPOQ_PAIAUTOML_ENDPOINT=nowhere))
    assert code == 1
    assert found["reach paiautoml"]["verdict"] == "problem"
    assert nowhere.removeprefix("http://") in found["reach paiautoml"]["fix"]
    assert found["list experiments"]["verdict"] == "problem"
    assert found["reach smq"]["verdict"] == "ok"


def test_a_gateway_that_refuses_used_nonces_is_no_problem(server):
    """Two requests that only read, signed with one nonce, show that a copy of a create would be refused."""
    before = len(server.cloud.requests)
    _, found = run(environ(server))
    assert found["repeated nonce"]["verdict"] == "ok"
    asked = [request.operation for request in list(server.cloud.requests)[before:]]
    assert "CreateHpoExperiment" not in asked


def test_a_gateway_that_accepts_used_nonces_is_reported(server, monkeypatch):
    """If the gateway accepts a used nonce, the finding says which protection is missing."""
    monkeypatch.setattr(Nonces, "use", lambda *_: None)
    code, found = run(environ(server))
    assert code == 0
    assert found["repeated nonce"]["verdict"] == "warning"
    assert "second experiment" in found["repeated nonce"]["fix"]


@pytest.mark.parametrize(("seconds", "seen"), [(600, "behind"), (-600, "ahead")])
def test_a_clock_that_is_off_is_reported(server, seconds, seen):
    """The finding says how far this machine's clock is ahead or behind."""
    clock = server.cloud.clock
    clock.sent_at = lambda asked_at=None: clock.now() + seconds
    _, found = run(environ(server))
    for service in ("paiautoml", "smq"):
        assert found[f"clock against {service}"]["verdict"] == "problem"
        assert seen in found[f"clock against {service}"]["seen"]


def test_a_redis_that_may_lose_records_is_reported(server, redis_server, closed_port):
    code, found = run(environ(server, HPOQ_STORE=redis_server))
    assert code == 1
    assert [found[f"{what} records"]["verdict"] for what in ("read", "write")] == ["ok", "ok"]
    assert found["redis persistence"]["verdict"] == "problem"
    assert "set appendfsync to always" in found["redis persistence"]["fix"]
    _, found = run(environ(server, HPOQ_STORE=f"redis://:{CANARY}@127.0.0.1:{closed_port}/0"))
    assert found["read records"]["verdict"] == "problem"
    assert CANARY not in json.dumps(found)


def test_a_redis_that_takes_no_writes_is_reported(server, start_redis):
    """A user who may only read passes every check but one, and no message would be processed."""
    port = start_redis()
    with Redis(port=port) as client:
        client.acl_setuser("reader", enabled=True, passwords=[f"+{CANARY}"], keys=["*"], commands=["+@read"])
    code, found = run(environ(server, HPOQ_STORE=f"redis://reader:{CANARY}@127.0.0.1:{port}/0"))
    assert code == 1
    assert found["read records"]["verdict"] == "ok"
    assert found["write records"]["verdict"] == "problem"
    assert "EVAL" in found["write records"]["fix"]
    code, found = run(environ(server, HPOQ_STORE=f"redis://reader:another@127.0.0.1:{port}/0"))
    assert found["read records"]["verdict"] == "problem"
    assert "password" in found["read records"]["fix"]
    assert CANARY not in json.dumps(found)


def test_no_secret_is_shown(server):
    secrets = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": f"id-{CANARY}",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARY,
        "ALIBABA_CLOUD_SECURITY_TOKEN": CANARY,
    }
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = CliRunner().invoke(app, arguments, env=environ(server, **secrets))
        assert done.exit_code == 1
        assert CANARY not in done.output


def test_a_table_description_is_read_as_the_sdk_writes_it():
    """A table description that the official SDK encodes is read correctly."""
    from tablestore.protobuf import table_store_pb2 as pb

    assert pb.DescribeTableRequest.FromString(encode_request("hpoq")).table_name == "hpoq"
    made = pb.DescribeTableResponse()
    made.table_meta.table_name = "hpoq"
    for name, kind in (("key", pb.STRING), ("n", pb.INTEGER)):
        made.table_meta.primary_key.add(name=name, type=kind)
    made.table_options.time_to_live, made.table_options.max_versions = -1, 1
    wanted = TableDescription((("key", "STRING"), ("n", "INTEGER")), None, 1)
    assert parse_description(made.SerializePartialToString()) == wanted
    made.table_options.time_to_live = 60
    assert parse_description(made.SerializePartialToString()).time_to_live == 60
    with pytest.raises(WireError):
        parse_description(b"")


def test_the_watch_queue_exists(server):
    """An experiment is followed by messages of the watch queue, so a missing queue keeps every message."""
    variables = environ(server, HPOQ_WATCH_QUEUE=WATCH_QUEUE)
    server.cloud.queues.get(WATCH_QUEUE).send("x", delay_seconds=60)
    code, found = run(variables)
    finding = found[f"watch queue {WATCH_QUEUE}"]
    assert (code, finding["verdict"]) == (0, "ok")
    assert "1 message," in finding["seen"]
    code, found = run({**variables, "HPOQ_WATCH_QUEUE": "misspelt"})
    finding = found["watch queue misspelt"]
    assert (code, finding["verdict"]) == (1, "problem")
    assert "create the queue misspelt, or set HPOQ_WATCH_QUEUE" in finding["fix"]


def test_the_watch_queue_keeps_a_message_invisible_while_it_is_processed(server):
    """A queue that was created again in the console has another time-out, with which each check runs twice."""
    server.cloud.queues.create("created-again", visibility_timeout=30)
    code, found = run(environ(server, HPOQ_WATCH_QUEUE="created-again"), "--function-timeout", "240")
    finding = found["watch queue and function time-outs"]
    assert (code, finding["verdict"]) == (1, "problem")
    assert "VisibilityTimeout to more than 240" in finding["fix"]


def test_an_unknown_output_is_a_problem(server):
    """Without `smq://` it is not a topic, and the function would not start."""
    code, found = run(environ(server, HPOQ_OUTPUT="hpo-results"))
    assert (code, found["settings"]["verdict"]) == (1, "problem")
    assert "HPOQ_OUTPUT must be smq://TOPIC" in found["settings"]["seen"]


def test_a_missing_dead_letter_queue_is_a_warning(server):
    """Without the setting a message that ends as failed is not kept, and the runbook says to set it always."""
    code, found = run(environ(server, HPOQ_DEAD_LETTER_QUEUE=""))
    assert (code, found["dead-letter queue"]["verdict"]) == (0, "warning")
    assert "HPOQ_DEAD_LETTER_QUEUE is not set" in found["dead-letter queue"]["seen"]


def test_the_dead_letter_queue_exists(server):
    """A message is given up only once it is in the dead-letter queue, so without the queue it is never given up."""
    variables = environ(server, HPOQ_DEAD_LETTER_QUEUE="hpo-requests-dead")
    code, found = run(variables)
    assert (code, found["dead-letter queue hpo-requests-dead"]["verdict"]) == (0, "ok")
    assert "mns:SendMessage" in found["send dead letters"]["seen"]
    code, found = run({**variables, "HPOQ_DEAD_LETTER_QUEUE": "misspelt"})
    finding = found["dead-letter queue misspelt"]
    assert (code, finding["verdict"]) == (1, "problem")
    assert "create the queue misspelt, or set HPOQ_DEAD_LETTER_QUEUE" in finding["fix"]


def test_each_permission_that_is_not_tried_is_listed(server):
    """A missing right to send is seen only in the log, so the operator must know which one to look at."""
    queues = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_WATCH_QUEUE": "hpo-watch"}
    _, found = run(environ(server, **queues))
    for check in ("send messages back", "send dead letters", "send watch messages"):
        assert found[check]["verdict"] == "skipped"
        assert "mns:SendMessage" in found[check]["seen"]


BUS = {"HPOQ_OUTPUT": "eventbridge://results"}


def test_a_bus_instead_of_a_topic(server):
    """With events on a bus, EventBridge is examined instead of the topic, and nothing is put on the bus."""
    code, found = run(environ(server, **BUS))
    assert code == 0
    assert found["eventbridge endpoint"]["seen"] == server.url
    assert found["reach eventbridge"]["verdict"] == "ok"
    assert found["publish events"]["verdict"] == "skipped"
    assert "eventbridge:PutEvents" in found["publish events"]["seen"]
    assert not any(check.startswith("topic ") for check in found)
    assert not [request for request in server.cloud.requests if request.operation == "PutEvents"]


def test_a_bus_without_an_account(server):
    """Without an account and an endpoint, nothing is sent to EventBridge, and the finding says what to set."""
    variables = environ(server, **BUS, HPOQ_ACCOUNT_ID="", HPOQ_EVENTBRIDGE_ENDPOINT="")
    code, found = run(variables)
    assert code == 1
    assert "HPOQ_ACCOUNT_ID or HPOQ_EVENTBRIDGE_ENDPOINT" in found["eventbridge endpoint"]["fix"]
    assert "reach eventbridge" not in found


@pytest.mark.parametrize("token", [None, f"{CANARY}-token"])
def test_credentials_are_shown_by_the_start_of_their_id(server, token):
    """The finding shows enough of the id to recognize the key, and no part of a secret."""
    given = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tExampleOfAnId",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARY,
        "ALIBABA_CLOUD_SECURITY_TOKEN": token or "",
    }
    done = CliRunner().invoke(app, ["doctor"], env=environ(server, **given))
    (line,) = (line for line in done.output.splitlines() if " credentials:" in line)
    assert line.endswith("its id is LTAI***")
    assert CANARY not in done.output
    assert "Credentials(" not in done.output


def test_credentials_come_from_a_profile_as_in_the_other_commands(server, closed_port, tmp_path):
    """An operator without the variables has a profile of the vendor's command line."""
    profile = {"name": "default", "mode": "AK", "access_key_id": "LTAI5tExample", "access_key_secret": CANARY}
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun/config.json").write_text(json.dumps({"current": "default", "profiles": [profile]}))
    given = environ(
        server,
        HOME=str(tmp_path),
        HPOQ_PAIAUTOML_ENDPOINT=f"https://127.0.0.1:{closed_port}",
        ALIBABA_CLOUD_ACCESS_KEY_ID="",
        ALIBABA_CLOUD_ACCESS_KEY_SECRET="",
    )
    _, found = run(given)
    assert found["credentials"]["verdict"] == "ok"
    assert found["credentials"]["seen"].endswith("its id is LTAI***")
    assert found["queue hpo-requests"]["seen"].startswith("smq GetQueueAttributes: InvalidAccessKeyId")


@pytest.mark.parametrize(
    "name", ["HPOQ_SMQ_ENDPOINT", "HPOQ_PAIAUTOML_ENDPOINT", "HPOQ_EVENTBRIDGE_ENDPOINT"]
)
@pytest.mark.parametrize(
    "value",
    [f"https://user:{CANARY}@host", f"ftp://u:{CANARY}@host:x", "http://example.com", "https://h/path"],
)
def test_an_invalid_endpoint_is_a_problem(server, name, value):
    """The variable is named, as in the error of a function that does not start, and a password is not shown."""
    code, found = run(environ(server, **{name: value}))
    assert (code, found["settings"]["verdict"]) == (1, "problem")
    assert found["settings"]["seen"].startswith(f"{name} must be https://HOST")
    assert CANARY not in json.dumps(found)
