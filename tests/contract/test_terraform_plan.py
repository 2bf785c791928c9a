"""infra/serverless/terraform, evaluated by Terraform itself: planned, applied and destroyed with a stand-in provider.

The provider (terraformprovider.py) has the arguments that Pulumi's package states, and notes what Terraform sends it.
So every reference, type and block is Terraform's own judgement; what the service does with the values is not.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from deploymentfiles import (
    ACCOUNT,
    FOLDER,
    INSTANCE,
    REGION,
    deployment,
    lay_out,
    policy,
    template,
)
from installing import packages_in
from test_deployment_vendor_schemas import PULUMI, TERRAFORM, parameters, pulumi  # noqa: F401 - a fixture

from support.budget import CI_BUDGET
from support.processes import run_program

PROVIDER = Path(__file__).with_name("terraformprovider.py")
SUFFIX = "-staging"
PRIMITIVES = {"str": "string", "int": "number", "float": "number", "bool": "bool"}


def cty_type(annotation):
    """Return the type of an argument in Terraform's notation."""
    found = re.search(r"_builtins\.(\w+)", annotation.partition("Mapping[str,")[2] or annotation)
    element = PRIMITIVES[found[1]] if found else "string"
    if "Mapping[" in annotation:
        return ["map", element]
    return ["list", element] if "Sequence[" in annotation else element


def schema_block(module, known):
    """Return the block of these parameters of Pulumi, which names lists in the plural."""
    block = {"attributes": {}, "blocks": {}}
    for name, (required, annotation) in known.items():
        is_list = "Sequence[" in annotation
        names = {name, name.removesuffix("s")} if is_list else {name}
        nested = re.search(r"'(\w+Args)'", annotation)
        for one in names:
            if nested:
                inner = schema_block(module, parameters(module / "_inputs.py", nested[1]))
                block["blocks"][one] = {"max": 0 if is_list else 1, "block": inner}
            else:
                how = {"required": True} if required and not is_list else {"optional": True}
                block["attributes"][one] = {"type": cty_type(annotation), **how}
    return block


@functools.cache
def schemas(folder):
    """Return the schemas of all resources that the files have, from Pulumi's package in `folder`."""
    resources = {}
    for kind, place in PULUMI.items():
        path, _, name = place.partition(":")
        file = folder / path
        known = parameters(file, f"{name}Args")
        block = schema_block(file.parent, known)
        for output in parameters(file, f"_{name}State").keys() - known.keys() | {"id"}:
            block["attributes"].setdefault(output, {"type": "string", "optional": True, "computed": True})
        resources[kind] = block
    account = {"id": {"type": "string", "computed": True, "value": ACCOUNT}}
    return {
        "provider": {"attributes": {"region": {"type": "string", "optional": True}}},
        "resources": resources,
        "data_sources": {"alicloud_account": {"attributes": account}},
    }


class Workplace:
    """A copy of the files, with Terraform and the stand-in provider."""

    def __init__(self, folder, packages, known):
        self.folder = lay_out(folder) / "terraform"
        self.record = folder / "record"
        (folder / "schemas.json").write_text(json.dumps(known))
        self._provider = subprocess.Popen(
            [sys.executable, PROVIDER, folder / "schemas.json", self.record],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(packages)},
        )
        self._environ = {**os.environ, "TF_REATTACH_PROVIDERS": self._provider.stdout.readline()}
        self._environ.pop("TF_CLI_CONFIG_FILE", None)

    def run(self, *words, ends=0):
        done = run_program([TERRAFORM, *words], cwd=self.folder, env=self._environ)
        assert done.returncode == ends, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, **variables):
        """Apply with these variables, and return what was evaluated: the configurations by type."""
        self.record.write_text("")
        self.run("apply", "-auto-approve", "-no-color", "-input=false", *options(**variables))
        made = defaultdict(list)
        for line in self.record.read_text().splitlines():
            kind, configuration = json.loads(line)
            made[kind].append(configuration)
        return made

    def close(self):
        self._provider.communicate("")


def options(**variables):
    given = {"instance": INSTANCE, "name": SUFFIX[1:], "releases": ["1", "2"], "live": "1", **variables}
    return [
        f"-var={name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in given.items()
    ]


@pytest.fixture
def workplace(tmp_path, installs, pulumi):  # noqa: F811
    if TERRAFORM is None:
        pytest.skip("terraform is not on this machine")
    packages = packages_in(installs / "terraform-provider", ["grpcio>=1.60,<2", "msgpack>=1,<2"])
    made = Workplace(tmp_path, packages, schemas(pulumi))
    made.run("init", "-backend=false", "-no-color")
    yield made
    made.close()


def only(made, kind):
    (one,) = made[kind]
    return one


# What the provider takes, release 1.289, for arguments that the files set.
OPERATORS = {">", ">=", "<", "<=", "!=", "=="}
ALLOWED = {
    "alicloud_cms_alarm.silence_time": range(300, 86_401),
    "alicloud_cms_alarm.escalations_critical.comparison_operator": OPERATORS,
    "alicloud_cms_alarm.composite_expression.level": {"CRITICAL", "WARN", "INFO"},
    "alicloud_cms_alarm.composite_expression.expression_list_join": {"&&", "||"},
    "alicloud_cms_alarm.composite_expression.expression_list.comparison_operator": OPERATORS,
    "alicloud_fcv3_function.runtime": {"python3.10", "python3.12", "custom.debian12"},
    "alicloud_fcv3_function.disk_size": range(512, 10_241),
    "alicloud_fcv3_function.memory_size": range(64, 32_769),
    "alicloud_fcv3_function.timeout": range(1, 86_401),
    "alicloud_fcv3_function.instance_concurrency": range(201),
    "alicloud_fcv3_function.instance_lifecycle_config.initializer.timeout": range(601),
    "alicloud_fcv3_function.instance_lifecycle_config.pre_stop.timeout": range(901),
    "alicloud_fcv3_function.log_config.log_begin_rule": {"None", "DefaultRegex"},
    "alicloud_message_service_queue.message_retention_period": range(60, 604_801),
    "alicloud_message_service_queue.visibility_timeout": range(43_201),
    "alicloud_ots_table.primary_key.type": {"String", "Integer", "Binary"},
    "alicloud_ram_role_policy_attachment.policy_type": {"System", "Custom"},
    "alicloud_sls_alert.schedule.type": {"FixedRate", "Cron"},
    "alicloud_sls_alert.configuration.group_configuration.type": {"no_group", "custom", "labels_auto"},
}


def leaves(value):
    """Return the values in a configuration without their names, in order."""
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return sorted(leaf for one in inner for leaf in leaves(one))
    return [] if value in (None, "") else [str(value)]


def arguments(place, value):
    """Each argument of a configuration with its place, such as `alicloud_ots_table.primary_key.type`."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from arguments(f"{place}.{name}", one)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for one in value:
            yield from arguments(place, one)
    elif value not in (None, []):
        yield place, value


def test_terraform_sends_what_the_files_describe(workplace):
    """Under a name of its own, Terraform creates queues, function, triggers, alarms and the rest as described."""
    made = workplace.apply(canary="2", canary_weight=0.2, service_linked_roles=True)
    described = deployment(SUFFIX)
    resources = described.resources

    queues = {one["queue_name"]: one for one in made["alicloud_message_service_queue"]}
    assert queues.keys() == {one["QueueName"] for one in resources.values() if "QueueName" in one}
    for one in (resources["Requests"], resources["Watch"]):
        queue = queues[one["QueueName"]]
        assert queue["visibility_timeout"] == one["VisibilityTimeout"]
        (dead_letters,) = queue["dlq_policy"]
        assert dead_letters["dead_letter_target_queue"] == resources["DeadLetters"]["QueueName"]

    function = only(made, "alicloud_fcv3_function")
    assert function["function_name"] == described.function["functionName"]
    assert function["environment_variables"] == described.function["environmentVariables"]
    assert function["log_config"][0]["project"] == described.function["logConfig"]["project"]
    triggers = {
        one["trigger_name"]: json.loads(one["trigger_config"]) for one in made["alicloud_fcv3_trigger"]
    }
    assert triggers == {one["triggerName"]: one["triggerConfig"] for one in described.function["triggers"]}
    alias = only(made, "alicloud_fcv3_alias")
    assert list(alias["additional_version_weight"].values()) == ["0.2"]

    role, granted = only(made, "alicloud_ram_role"), only(made, "alicloud_ram_policy")
    assert json.loads(role["assume_role_policy_document"]) == policy("function-trust.json")
    assert json.loads(granted["policy_document"]) == resources["Role"]["Policies"][0]["PolicyDocument"]
    assert len(made["alicloud_resource_manager_service_linked_role"]) == 2

    alarms = {one["name"]: one for one in made["alicloud_cms_alarm"]}
    for one in template("alarms.yaml", SUFFIX).values():
        alarm = alarms.pop(one["Properties"]["RuleName"])
        assert json.loads(alarm["metric_dimensions"]) == one["Properties"]["Resources"]
        assert alarm["metric"] == one["Properties"]["MetricName"]
    assert alarms == {}
    project = described.function["logConfig"]["project"]
    log = template(
        "sls/template.json", SUFFIX, Project=project, ProjectName=project, ActionPolicy="sls.builtin"
    )
    alerts = [one["Properties"] for one in log.values() if one["Type"] == "ALIYUN::SLS::Alert"]
    assert sorted(map(leaves, made["alicloud_sls_alert"])) == sorted(map(leaves, alerts))
    text = json.dumps(made, ensure_ascii=False)
    assert "${" not in text.replace("$${", "").replace("${exp_id}", "")
    assert REGION in text


@pytest.mark.in_ci
def test_every_value_is_one_that_the_provider_takes(workplace):
    """Of each argument that takes certain values only, the evaluated one is among them."""
    made = workplace.apply()
    found = [
        (place, value)
        for kind, configurations in made.items()
        for one in configurations
        for place, value in arguments(kind, one)
        if place in ALLOWED
    ]
    assert {place for place, _ in found} == set(ALLOWED)
    wrong = [(place, value) for place, value in found if value not in ALLOWED[place]]
    assert wrong == []


@pytest.mark.in_ci
def test_a_release_changes_the_alias_alone(workplace):
    """Nothing changes without a change; a canary and its promotion change the alias, and the new release is added."""
    workplace.apply(releases=["1"])
    assert "No changes." in workplace.run("plan", "-no-color", *options(releases=["1"]))
    made = workplace.apply(canary="2")
    assert {kind: len(one) for kind, one in made.items()} == {
        "alicloud_fcv3_function_version": 1,
        "alicloud_fcv3_alias": 1,
    }
    made = workplace.apply(live="2")
    assert {kind: len(one) for kind, one in made.items()} == {"alicloud_fcv3_alias": 1}
    assert only(made, "alicloud_fcv3_alias")["additional_version_weight"] in (None, {})


@pytest.mark.in_ci
def test_the_records_survive_a_destroy(workplace):
    """`terraform destroy` refuses; after the guide's `terraform state rm` it removes everything else."""
    workplace.apply()
    refused = workplace.run("destroy", "-auto-approve", "-no-color", *options(), ends=1)
    assert "prevent_destroy" in refused
    (line,) = re.findall(r"^terraform (state rm .*)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    workplace.run(*shlex.split(line))
    assert "Destroy complete!" in workplace.run("destroy", "-auto-approve", "-no-color", *options())
    assert workplace.run("state", "list") == ""


@pytest.mark.one_of("file", "pattern", "text", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("file", "pattern", "text"),
    [
        ("main.tf", r"alicloud_message_service_queue\.dead_letters\.queue_name", "local.nothing"),
        ("function.tf", r"\[var\.live\]\.version_id", "[var.live].version"),
        ("log.tf", r"= each\.value\.start$", "= each.value.begin"),
        ("main.tf", r"= local\.table\.TimeToLive", '= "long"'),
    ],
)
def test_a_mistake_is_found(workplace, file, pattern, text):
    """A reference, a member or a type that is wrong ends the plan."""
    path = workplace.folder / file
    changed, times = re.subn(pattern, text, path.read_text(), flags=re.MULTILINE)
    assert times
    path.write_text(changed)
    workplace.run("plan", "-no-color", "-input=false", *options(), ends=1)
