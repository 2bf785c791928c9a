"""The files of infra/serverless agree with each other and with the function."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import deploymentfiles
import pytest
from click.testing import CliRunner
from deploymentfiles import (
    ACCOUNT,
    FOLDER,
    INSTANCE,
    LOG_TEMPLATE,
    REGION,
    ROOT,
    RULES,
    deployment,
    policy,
    read_template,
)

import alilocal
from alilocal.tablestore.model import STRING, Options
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.clock import SystemClock
from hpoq.cloud.signing import Credentials
from hpoq.cloud.smq import NAMESPACE
from hpoq.cloud.transport import Transport
from hpoq.cloud.xml import build
from hpoq.errors import Denied, SettingsError
from hpoq.function import Function
from hpoq.idempotency.tablestore import TablestoreStore
from hpoq.settings import PREFIX, Settings
from hpoqctl.app import app
from hpoqctl.queueclient import QueueClient
from support.deployment import function_environment


@pytest.mark.parametrize("rule", RULES)
def test_numbers_agree(rule):
    """The settings of the deployment agree with one another, rule by rule."""
    holds, _ = RULES[rule]
    assert holds(deployment()), holds.__doc__


@pytest.mark.parametrize("rule", [rule for rule, (_, spoil) in RULES.items() if spoil])
def test_numbers_that_disagree_are_found(rule):
    """A change of the files that breaks a rule is found."""
    holds, spoil = RULES[rule]
    spoiled = deployment()
    spoil(spoiled)
    assert not holds(spoiled)


def test_a_lease_that_covers_no_create_is_refused():
    spoiled = deployment()
    spoiled.function["environmentVariables"]["HPOQ_LEASE_SECONDS"] = "53"
    with pytest.raises(SettingsError):
        _ = spoiled.settings


@pytest.mark.parametrize(("suffix", "namespace"), [("", ""), ("-staging", "staging")])
def test_no_variable_is_empty(suffix, namespace):
    """The console of Function Compute refuses an empty variable, and its API may do so too."""
    described = deployment(suffix)
    assert all(described.function["environmentVariables"].values())
    assert described.settings.namespace == namespace


def test_every_number_is_set_explicitly():
    """Every number that the rules use is set in s.yaml, so that a changed default changes no deployment."""
    used = set(re.findall(r"\b(?:settings|s)\.(\w+)", Path(deploymentfiles.__file__).read_text()))
    used &= {setting.name for setting in fields(Settings)}
    assert used > {"lease_seconds", "max_attempts", "retention_days"}
    assert {PREFIX + name.upper() for name in used} <= deployment().function["environmentVariables"].keys()


def test_entry_points():
    """The deployment's handler, initializer and pre-stop hook are functions that exist."""
    props = deployment().function
    hooks = props["instanceLifecycleConfig"]
    for entry in (props["handler"], hooks["initializer"]["handler"], hooks["preStop"]["handler"]):
        module, _, name = entry.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), entry


def test_the_package_fits_the_runtime():
    props = deployment().function
    assert Path(props["code"]).name == f"hpoq-{props['runtime']}-x86_64.zip"


def test_names_agree():
    """A queue, a topic, a table or a role has the same name in every file."""
    d = deployment()
    settings, resources = d.settings, d.resources
    queue, dead = resources["Requests"]["QueueName"], resources["DeadLetters"]["QueueName"]
    topic, table = resources["Results"]["TopicName"], resources["Records"]["TableName"]
    source = d.trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]

    watch = resources["Watch"]["QueueName"]

    assert queue == settings.queue == source["QueueName"]
    assert watch == settings.watch_queue
    assert f'"QueueName": "{watch}"' in json.dumps(d.function["triggers"][1])
    assert dead == settings.dead_letter_queue
    assert source["RegionId"] == d.function["region"] == REGION
    assert dead == resources["Requests"]["DlqPolicy"]["DeadLetterTargetQueue"] != queue
    assert d.run["deadLetterQueue"]["Arn"] == f"acs:mns:{REGION}:{ACCOUNT}:/queues/{dead}"
    assert settings.output == f"smq://{topic}"
    assert settings.store == f"tablestore://{INSTANCE}.{REGION}.ots.aliyuncs.com/{table}"
    assert d.function["role"] == resources["Role"]["RoleName"] == resources["Role"]["RoleName"].lower()
    granted = json.dumps(policy("function.json"))
    queues = (f"/queues/{name}/messages" for name in (queue, dead, watch))
    for place in (*queues, f"/topics/{topic}/messages", f"/table/{table}"):
        assert place in granted
    assert TablestoreStore.open(settings.store)


def test_the_function_logs_where_the_alerts_read():
    """The function logs to the project and the store that the template creates, with one entry per line."""
    log, rest = deployment().function["logConfig"], deployment().log
    assert log["project"] == rest["parameters"]["ProjectName"]
    assert log["logBeginRule"] == "None"
    made = read_template(LOG_TEMPLATE)["Resources"]
    assert log["logstore"] == made["Logstore"]["Properties"]["LogstoreName"]
    assert {one["Properties"].get("LogstoreName", log["logstore"]) for one in made.values()} == {
        log["logstore"]
    }
    policies = [one["Resource"] for one in policy("deployer.json")["Statement"] if one["Action"] == "log:*"]
    assert [fnmatch(f"acs:log:{REGION}:{ACCOUNT}:project/{log['project']}", one) for one in policies] == [
        True
    ]


def test_the_log_template_is_written(tmp_path):
    """`template.py` writes the file that s.yaml names."""
    shutil.copytree(FOLDER / "sls", tmp_path / "sls", ignore=shutil.ignore_patterns("template.json"))
    subprocess.run([sys.executable, tmp_path / "sls/template.py"], check=True, timeout=60)
    assert deployment().log["template"] == f"./{LOG_TEMPLATE}"
    assert json.loads((tmp_path / LOG_TEMPLATE).read_text()) == read_template(LOG_TEMPLATE)


def test_the_table_is_as_the_store_needs_it():
    table = deployment().resources["Records"]
    assert table["PrimaryKey"] == [{"Name": "key", "Type": "STRING"}]
    assert table["MaxVersions"] == 1


def listed(document):
    """Return the policy with every Action and Resource as a list, in order."""
    for statement in document["Statement"]:
        for name in ("Action", "Resource"):
            if isinstance(statement.get(name), str):
                statement[name] = [statement[name]]
            if name in statement:
                statement[name] = sorted(statement[name])
    return document


def test_the_role_has_the_policies():
    role = deployment().resources["Role"]
    [given] = role["Policies"]
    # The role is for the records of this instance only; the document is for a role in the console.
    wanted = json.loads(json.dumps(policy("function.json")).replace("instance/*", f"instance/{INSTANCE}"))
    assert listed(given["PolicyDocument"]) == listed(wanted)
    assert listed(role["AssumeRolePolicyDocument"]) == listed(policy("function-trust.json"))


@contextmanager
def described():
    """Yield a local cloud with the queues, topic and table that the files describe, and the function's variables."""
    d = deployment()
    with alilocal.serve() as server:
        cloud = server.cloud
        for queue in (d.resources[name] for name in ("Requests", "Watch", "DeadLetters")):
            visibility = queue.get("VisibilityTimeout", 30)
            cloud.queues.create(
                queue["QueueName"],
                visibility_timeout=visibility,
                message_retention_period=queue["MessageRetentionPeriod"],
            )
        cloud.topics.create(d.resources["Results"]["TopicName"])
        table = d.resources["Records"]
        options = Options(time_to_live=table["TimeToLive"], max_versions=table["MaxVersions"])
        cloud.tables.create(table["TableName"], [(table["PrimaryKey"][0]["Name"], STRING)], options)
        place = f"127.0.0.1:{server.port}/{table['TableName']}"
        store = f"tablestore://{place}?instance={INSTANCE}&scheme=http"
        variables = d.function["environmentVariables"]
        yield cloud, {**variables, **function_environment(server, HPOQ_STORE=store)}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "events/triggers/smq-queue").glob("0*.json")), ids=lambda file: file.stem
)
def test_the_function_runs_as_deployed(file):
    """With the deployment's own settings and resources, every shape of an SMQ event makes its experiments."""
    with described() as (cloud, environ):
        context = Fc3Context("r-1", FunctionInfo(timeout=deployment().function["timeout"]))
        report = Function(environ).handle(file.read_bytes(), context)
        outcomes = {message["outcome"] for message in report["messages"]}
        assert "created" in outcomes
        assert outcomes <= {"created", "duplicate", "rejected"}
        published = cloud.topics[deployment().resources["Results"]["TopicName"]].published
        assert len(published) >= len(cloud.experiments) > 0


def test_the_doctor_finds_no_problem():
    with described() as (_, environ):
        timeout = str(deployment().function["timeout"])
        done = CliRunner().invoke(app, ["doctor", "--json", "--function-timeout", timeout], env=environ)
        findings = json.loads(done.output)["findings"]
        assert {one["verdict"] for one in findings} <= {"ok", "skipped"}, findings
        assert done.exit_code == 0


@pytest.mark.parametrize("suffix", ["", "-staging"])
def test_the_deployers_policy_is_for_these_resources_only(suffix):
    """The policy allows creating and removing the queues and the topic of any deployment of hpoq, and no others."""
    credentials = Credentials("STS.deployer", "secret", "token")
    with alilocal.LocalCloud(seed=1) as cloud:
        cloud.credentials.register(
            credentials.access_key_id,
            credentials.access_key_secret,
            user_id=cloud.account_id,
            security_token=credentials.security_token,
            policy=policy("deployer.json"),
        )
        transport = Transport(cloud.session(), SystemClock())
        smq = QueueClient(transport, cloud.endpoint, lambda: credentials)
        resources = deployment(suffix).resources

        def create_topic(name):
            smq.call("CreateTopic", "PUT", f"/topics/{name}", bytes, build("Topic", NAMESPACE, ()))

        for queue in ("Requests", "Watch", "DeadLetters"):
            name = resources[queue]["QueueName"]
            smq.create_queue(name, retention_period=60)
            smq.get_queue_attributes(name)
            smq.delete_queue(name)
        create_topic(resources["Results"]["TopicName"])
        for refused in (
            lambda: smq.create_queue("orders", retention_period=60),
            lambda: create_topic("orders"),
            lambda: smq.publish_message(resources["Results"]["TopicName"], "forged"),
        ):
            with pytest.raises(Denied):
                refused()


def test_the_role_is_assumed_by_function_compute_alone():
    [statement] = policy("function-trust.json")["Statement"]
    assert statement["Principal"] == {"Service": ["fc.aliyuncs.com"]}
    assert statement["Action"] == "sts:AssumeRole"
