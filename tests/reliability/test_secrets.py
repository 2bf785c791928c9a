"""No secret appears in clear in any log line, event, error, report or record."""

import io
import json
from urllib.parse import quote

import pytest
import structlog

from fcruntime import Fc2Context, invoke
from fcruntime.context import ContextCredentials, FunctionInfo
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.observability import logs
from hpoq.testing import smq_event
from support.deployment import CONTEXT as WITHOUT_CREDENTIALS
from support.request import make_document

CANARY = "CANARY"
CONTEXT = Fc2Context(
    "r-1",
    FunctionInfo(timeout=300),
    ContextCredentials(f"LTAI-{CANARY}-id", f"{CANARY}-context-secret", f"{CANARY}-context-token"),
)


def secret(name):
    return f"{CANARY}-{name}-0123456789"


CONFIG = {
    "platform_config": {"name": "DLC", "cmd": ["dlc submit --lr=${lr} ${exp_id}_${trial_id}"]},
    "metric_config": {
        "metric_type": "stdout",
        "metric_source": ["cmd1"],
        "final_mode": "final",
        "metric_dict": {"loss=([0-9.]+)": 1},
    },
    "search_space": {"${lr}": {"_type": "uniform", "_value": [0.1, 0.2]}},
    "oss_config": {
        "endpoint": "http://oss-cn-beijing.aliyuncs.com",
        "accessKeyID": secret("oss-id"),
        "accessKeySecret": secret("oss"),
    },
    "odps_config": {"access_id": secret("odps-id"), "access_key": secret("odps"), "project_name": "p"},
    "dlc_config": {"access_id": secret("dlc-id"), "access_key": secret("dlc"), "region": "cn-shanghai"},
    "ts_config": {"access_key_id": secret("ts-id"), "access_key_secret": secret("ts")},
    "paiflow_config": {"access_key_id": secret("paiflow-id"), "access_key_secret": secret("paiflow")},
    "monitor_config": {"url": f"https://oapi.dingtalk.com/robot/send?access_token={secret('monitor')}"},
}


def request(**changes):
    return named("n", "1", **changes)


def named(name, workspace_id="1", **changes):
    config = {**CONFIG, **changes}
    experiment = {"Name": name, "WorkspaceId": workspace_id, "HpoExperimentConfiguration": config}
    return json.dumps({"experiment": experiment})


COMMANDS = {
    "name": "DLC",
    "cmd": [
        f"pai -name kmeans -DaccessKey={secret('pai')} -Dk=${{lr}}",
        f"run --password '{secret('quoted')} with blanks' --db-token={secret('db')} ${{exp_id}}_${{trial_id}}",
        f"curl 'https://me:{secret('user')}@host/?lr=1&token={secret('query')}'",
        f"curl -H 'Authorization: Bearer {secret('header')}' https://host",
        f"export API_KEY={secret('export')}; run",
    ],
}


BODIES = {
    "good": request(),
    "unknown member": request(oss_config={"accessKeySecrets": secret("typo")}),
    "wrong type": request(odps_config={"access_key": [secret("list")], "access_id": {"x": secret("dict")}}),
    "wrong place": request(dlc_config=secret("place")),
    "as a name": request(**{secret("member"): {"access_key": secret("inner")}})[:-1] + "}",
    "not json": request()[:-9],
    "secret in commands": request(platform_config=COMMANDS),
    "secret in a text": request(yml_config={"log_level": f"--password {secret('text')}"}),
    "secret in a wrong type": request(
        metric_config={**CONFIG["metric_config"], "metric_type": secret("oss")}
    ),
    "option in the name": named(f"run --password {secret('option')}"),
    "token as the name": named(f"token={secret('name')}"),
    "password in the workspace": named("n", f"password={secret('workspace')}"),
    "secret again in the name": named(f"job {secret('oss')}"),
    "secret in the name of a dry run": named(secret("oss"))[:-1] + ', "dryRun": true}',
    "secret in the name beside a guard": named(secret("oss"))[:-1] + ', "guard": {"maxHours": 1}}',
    "CloudEvent": json.dumps(
        {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": json.loads(request())}
    ),
    "duplicate member": request().replace('"ts_config"', '"odps_config"'),
}


@pytest.fixture
def stream():
    lines = io.StringIO()
    logs.configure("DEBUG", lines)
    yield lines
    structlog.reset_defaults()


@pytest.fixture
def on_disk(world, tmp_path):
    world.store = SqliteStore(str(tmp_path / "records.sqlite3"))
    world.cloud.credentials.register(
        CONTEXT.credentials.access_key_id,
        CONTEXT.credentials.access_key_secret,
        user_id="200000000000000001",
        security_token=CONTEXT.credentials.security_token,
    )
    yield world
    world.store.close()


def everything(world, tmp_path, stream, result):
    """Return all that leaves the function, as one text."""
    world.store.close()
    files = [file.read_bytes().decode(errors="replace") for file in tmp_path.iterdir()]
    return "\n".join([stream.getvalue(), json.dumps(world.events), result.body.decode(), *files])


def echo(world, **fault):
    """The service quotes the request's secrets in its answer."""
    world.cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        when="before",
        message=f"bad value {secret('oss')} with {secret('dlc')} for {CANARY}-context-secret",
        **fault,
    )


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_canaries_in_requests(on_disk, tmp_path, stream, body):
    """The secrets of a request, valid or not, appear nowhere outside."""
    result = invoke(on_disk.function().handle, smq_event("M1", body), CONTEXT)
    assert on_disk.events
    assert CANARY not in everything(on_disk, tmp_path, stream, result).replace(secret("member"), "")


def stream_event(**members):
    """Return the event of an event stream with one CloudEvent."""
    return json.dumps([{"specversion": "1.0", "id": "1", "source": "s", "type": "t", **members}]).encode()


SOURCE_URL = f"https://user:{secret('source')}@example.com/"
PLACE = f"topic/hpo?token={secret('place')}"
RECORD = {"topic": "hpo", "partition": 0, "offset": 1, "value": json.dumps(make_document())}


@pytest.mark.parametrize(
    "event",
    [
        stream_event(source=SOURCE_URL, data=make_document()),
        stream_event(source=SOURCE_URL, data={"experiment": {}}),
        stream_event(source=SOURCE_URL, data={**make_document(), "dryRun": True}),
        stream_event(id=f"run --token {secret('id')}", data=make_document()),
        stream_event(subject=PLACE, data=RECORD),
        stream_event(subject=PLACE, data={**RECORD, "value": None}),
    ],
    ids=["request", "invalid", "dry run", "id", "place", "undecodable"],
)
def test_canaries_in_the_id_of_a_message(on_disk, tmp_path, stream, event):
    """The id of a CloudEvent contains its source, and that of a record its place, both of which may be URLs."""
    result = invoke(on_disk.function().handle, event, CONTEXT)
    (shown,) = on_disk.events
    assert "***" in shown["data"]["messageId"]
    assert CANARY not in everything(on_disk, tmp_path, stream, result)


@pytest.mark.parametrize("shape", [str, json.dumps, quote, lambda text: json.dumps(json.dumps(text))])
def test_commands_that_the_service_quotes(on_disk, tmp_path, stream, shape):
    """A refusal that quotes a command, in whatever form, does not make the function repeat its secrets."""
    for index, command in enumerate(COMMANDS["cmd"]):
        on_disk.cloud.faults.add(
            service="paiautoml",
            operation="CreateHpoExperiment",
            kind="status",
            when="before",
            status=400,
            code="INVALID_INPUT_PARAMS",
            message=f"cannot run {shape(command)}",
        )
        body = request(platform_config=COMMANDS)
        result = invoke(on_disk.function().handle, smq_event(f"M{index}", body), CONTEXT)
        assert result.ok
    text = everything(on_disk, tmp_path, stream, result)
    assert text.count("cannot run") >= len(COMMANDS["cmd"])
    assert CANARY not in text


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "code": "INVALID_INPUT_PARAMS"},
        {"status": 403, "code": "Forbidden.RAM"},
        {"status": 400, "code": "Throttling.User", "times": 9},
        {"status": 500, "code": "InternalError"},
        {"status": 400, "code": "SignatureDoesNotMatch"},
    ],
    ids=lambda fault: fault["code"],
)
def test_canaries_that_the_service_quotes(on_disk, tmp_path, stream, fault):
    """A service that quotes secrets in its errors does not make the function repeat them."""
    echo(on_disk, **fault)
    result = invoke(on_disk.function().handle, smq_event("M1", request()), CONTEXT)
    text = everything(on_disk, tmp_path, stream, result)
    assert CANARY not in text
    assert fault["code"] in text


@pytest.mark.parametrize("part", ["secret", "token"])
@pytest.mark.parametrize("source", ["context", "environment"])
def test_the_credentials_of_the_function_in_a_request(on_disk, tmp_path, stream, source, part):
    """They are hidden wherever they come from: from Python 3.12 on, the context has none."""
    held = CONTEXT.credentials
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": held.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": held.access_key_secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": held.security_token,
    }
    is_context = source == "context"
    function = on_disk.function(**({} if is_context else environment))
    name = held.access_key_secret if part == "secret" else held.security_token
    event = smq_event("M1", json.dumps(make_document("k", Name=name)))
    result = invoke(function.handle, event, CONTEXT if is_context else WITHOUT_CREDENTIALS)
    assert [event["type"].split(".")[-2] for event in on_disk.events] == ["created"]
    assert CANARY not in everything(on_disk, tmp_path, stream, result)


def test_canaries_when_the_event_fails_and_is_undecodable(on_disk, tmp_path, stream):
    """An event that cannot be decoded is identified by its digest; the error of a topic quotes nothing."""
    on_disk.cloud.faults.add(service="smq", operation="PublishMessage", kind="refuse", when="before", times=9)
    event = b"[" + smq_event("M1", request()) + b"," + json.dumps(secret("x")).encode() + b"]"
    result = invoke(on_disk.function().handle, event, CONTEXT)
    assert not result.ok
    assert CANARY not in everything(on_disk, tmp_path, stream, result)
