"""`hpoq doctor` finds what is wrong, says exactly what to mend, and changes nothing."""

import json
import socket

import pytest
from click.testing import CliRunner

import alilocal
from alilocal.tablestore.model import STRING, Options
from hpoq.cli.app import app
from hpoq.cli.cloud import lay_out
from hpoq.cloud.ots_tables import TableDescription, describe_table, description_of
from hpoq.cloud.ots_wire import WireError

CANARY = "canary-of-a-secret"


@pytest.fixture
def server():
    with alilocal.serve() as running:
        lay_out(running.cloud)
        yield running


def environ(server, **changes):
    cloud = server.cloud
    return {
        "HPOQ_REGION": cloud.region,
        "HPOQ_ACCOUNT_ID": cloud.account_id,
        "HPOQ_PAIAUTOML_ENDPOINT": server.url,
        "HPOQ_SMQ_ENDPOINT": server.url,
        "HPOQ_STORE": f"tablestore://127.0.0.1:{server.port}/hpoq?instance=local&scheme=http",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        **changes,
    }


def run(variables, *arguments):
    """The exit code, and the findings by what was checked."""
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments], env=variables)
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, {one["check"]: one for one in json.loads(done.output)["findings"]}


def test_a_sound_environment_has_no_problem(server):
    before = len(server.cloud.requests)
    code, found = run(environ(server), "--function-timeout", "240")
    assert code == 0
    verdicts = {check: one["verdict"] for check, one in found.items()}
    skipped = {check for check, verdict in verdicts.items() if verdict == "skipped"}
    assert skipped == {"create experiments", "publish events"}
    assert {verdict for check, verdict in verdicts.items() if check not in skipped} == {"ok"}
    asked = [request.operation for request in list(server.cloud.requests)[before:]]
    assert "CreateHpoExperiment" not in asked
    assert "PublishMessage" not in asked
    assert server.cloud.tables.get("hpoq").rows == {}


def test_for_people_and_by_endpoint(server):
    done = CliRunner().invoke(app, ["doctor", "--endpoint", server.url])
    assert done.exit_code == 0
    assert "ok      write records: table hpoq" in done.output


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


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
    server.cloud.clock.advance(600)


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
    ("breaks", "changes", "check", "verdict", "mend"),
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
        (None, {"HPOQ_STORE": "ftp://x"}, "store", "problem", "names no store"),
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
        (wrong_key, {}, "table key", "problem", "key"),
        (short_life, {}, "table time to live", "problem", "more than 2592000"),
        (clock_is_off, {}, "clock against paiautoml", "problem", "clock"),
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
def test_what_is_wrong_is_found_and_how_to_mend_it_said(server, breaks, changes, check, verdict, mend):
    if breaks is not None:
        breaks(server)
    code, found = run(environ(server, **changes), "--function-timeout", "240")
    assert found[check]["verdict"] == verdict
    assert mend in found[check]["mend"]
    assert code == (verdict == "problem")


@pytest.mark.parametrize(
    ("seconds", "verdict", "mend"),
    [("20", "problem", "at least 31 s"), ("60", "warning", "HPOQ_LEASE_SECONDS")],
)
def test_a_function_that_is_too_short_is_found(server, seconds, verdict, mend):
    _, found = run(environ(server), "--function-timeout", seconds)
    assert found["function time-out"]["verdict"] == verdict
    assert mend in found["function time-out"]["mend"]


def test_a_service_that_is_not_reached_is_found(server):
    nowhere = f"http://127.0.0.1:{closed_port()}"
    code, found = run(environ(server, HPOQ_PAIAUTOML_ENDPOINT=nowhere))
    assert code == 1
    assert found["reach paiautoml"]["verdict"] == "problem"
    assert nowhere.removeprefix("http://") in found["reach paiautoml"]["mend"]
    assert found["list experiments"]["verdict"] == "problem"
    assert found["reach smq"]["verdict"] == "ok"


def test_redis_that_may_forget_is_found(server, redis_server):
    code, found = run(environ(server, HPOQ_STORE=redis_server))
    assert code == 1
    assert found["read records"]["verdict"] == "ok"
    assert found["redis persistence"]["verdict"] == "problem"
    assert "set appendfsync to always" in found["redis persistence"]["mend"]
    _, found = run(environ(server, HPOQ_STORE=f"redis://:{CANARY}@127.0.0.1:{closed_port()}/0"))
    assert found["read records"]["verdict"] == "problem"
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


def test_a_description_is_read_as_the_sdk_reads_it():
    """Against the official SDK's own messages."""
    from tablestore.protobuf import table_store_pb2 as pb

    assert pb.DescribeTableRequest.FromString(describe_table("hpoq")).table_name == "hpoq"
    made = pb.DescribeTableResponse()
    made.table_meta.table_name = "hpoq"
    for name, kind in (("key", pb.STRING), ("n", pb.INTEGER)):
        made.table_meta.primary_key.add(name=name, type=kind)
    made.table_options.time_to_live, made.table_options.max_versions = -1, 1
    wanted = TableDescription((("key", "STRING"), ("n", "INTEGER")), None, 1)
    assert description_of(made.SerializePartialToString()) == wanted
    made.table_options.time_to_live = 60
    assert description_of(made.SerializePartialToString()).time_to_live == 60
    with pytest.raises(WireError):
        description_of(b"")
