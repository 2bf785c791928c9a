"""The files of infra/serverless fit what the vendor publishes: its SDK's models, ROS types and Terraform arguments.

Terraform's provider itself comes from a registry of its own; Pulumi's package, which is generated from the
provider's schema, is on the Python index and has its arguments.
"""

import ast
import copy
import functools
import gzip
import io
import json
import re
import shutil
import tarfile

import hcl2
import pytest
from alibabacloud_fc20230330.models import EventBridgeTriggerConfig
from deploymentfiles import ACCOUNT, FOLDER, INSTANCE, LOG_TEMPLATE, REGION, deployment, policy, read_template
from installing import packages_in

from support.processes import run_program
from support.tools import skip_without

TERRAFORM = shutil.which("terraform")
JUDGES = [
    "ros-cdk-mns==1.15.0",
    "ros-cdk-ots==1.15.0",
    "ros-cdk-ram==1.15.0",
    "ros-cdk-sls==1.15.0",
    "ros-cdk-cms==1.15.0",
]


def known_to_sdk(config):
    """Return what the SDK's model of a trigger keeps of `config`."""
    return EventBridgeTriggerConfig().from_map(config).to_map()


def test_the_sdk_knows_every_member_of_the_trigger():
    """Every member of its configuration, at every depth; fc3's schema takes anything there."""
    config = deployment().trigger["triggerConfig"]
    assert known_to_sdk(config) == config
    config["runOptions"]["batchWindow"]["countBasedWindow"] = 16
    assert known_to_sdk(config) != config


@pytest.fixture
def ros_types(installs):
    """What each resource type and property type of ROS takes, from the assemblies of Alibaba's own CDK."""
    return read_ros_types(packages_in(installs, JUDGES))


@functools.cache
def read_ros_types(folder):
    types = {}
    for file in folder.glob("ros_cdk_*/_jsii/*.tgz"):
        with tarfile.open(fileobj=io.BytesIO(file.read_bytes())) as package:
            data = package.extractfile("package/.jsii").read()
            code = next(
                package.extractfile(member).read().decode()
                for member in package.getmembers()
                if re.fullmatch(r"package/lib/\w+\.generated\.js", member.name)
            )
        assembly = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        types |= assembly["types"]
        named = re.findall(r'^(Ros\w+)\.ROS_RESOURCE_TYPE_NAME = "([\w:]+)"', code, re.MULTILINE)
        types |= {ros: types[f"{assembly['name']}.{cdk}Props"] for cdk, ros in named}
    return types


def alternatives(kind):
    """Return the references and primitives in a type of jsii; of collections, those of the elements."""
    if "union" in kind:
        return [found for one in kind["union"]["types"] for found in alternatives(one)]
    if "collection" in kind:
        return alternatives(kind["collection"]["elementtype"])
    return [kind]


PRIMITIVES = {"string": str, "number": (int, float), "boolean": bool, "any": object}


def ros_name(name):
    """Return the name in a template of what the CDK calls `name`."""
    return "TTL" if name == "ttl" else name[0].upper() + name[1:]


def ros_problems(types, described, given, place):
    """Return the differences between `given` and the type `described`."""
    known = {ros_name(one["name"]): one for one in described["properties"]}
    yield from (
        f"{place}.{name} is missing"
        for name in known
        if not known[name].get("optional") and name not in given
    )
    for name, value in given.items():
        if name not in known:
            yield f"{place}.{name} is unknown"
            continue
        kinds = alternatives(known[name]["type"])
        nested = [types[kind["fqn"]] for kind in kinds if "properties" in types.get(kind.get("fqn"), {})]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and set(one) <= {"Ref", "Fn::GetAtt", "Fn::Sub"}:
                continue
            if isinstance(one, dict) and nested:
                yield from ros_problems(types, nested[0], one, f"{place}.{name}")
            elif not any(isinstance(one, PRIMITIVES.get(kind.get("primitive"), ())) for kind in kinds):
                yield f"{place}.{name} is {one!r}"


def template_problems(types, template):
    for name, resource in template["Resources"].items():
        yield from ros_problems(types, types[resource["Type"]], resource["Properties"], name)


@pytest.mark.parametrize("file", ["resources.yaml", "alarms.yaml", LOG_TEMPLATE])
def test_ros_template(ros_types, file):
    """Each ROS template keeps the schemas of ROS's resource types."""
    template = copy.deepcopy(read_template(file))
    assert list(template_problems(ros_types, template)) == []


@pytest.mark.parametrize(
    ("file", "resource", "name", "value"),
    [
        ("alarms.yaml", "DeadLetters", "MetricsName", "ActiveMessages"),
        ("alarms.yaml", "DeadLetters", "Escalations", {"Critical": {"Limit": "1"}}),
        ("alarms.yaml", "DeadLetters", "ContactGroups", None),
        ("resources.yaml", "Requests", "VisibilityTimeOut", 900),
        ("resources.yaml", "Requests", "VisibilityTimeout", "long"),
        ("resources.yaml", "Requests", "DlqPolicy", {"Enabled": True}),
        ("resources.yaml", "Records", "PrimaryKey", [{"Name": "key"}]),
        (
            "resources.yaml",
            "Role",
            "Policies",
            [{"PolicyName": "x", "PolicyDocument": {"Version": "1", "Rules": []}}],
        ),
        ("resources.yaml", "Results", "TopicName", None),
        (LOG_TEMPLATE, "Logstore", "Ttl", 30),
        (LOG_TEMPLATE, "Index", "KeyIndices", [{"Name": "message"}]),
        (LOG_TEMPLATE, "HpoqDefect", "Detail", {"Name": "x", "DisplayName": "x", "Schedule": {}}),
    ],
)
def test_ros_template_finds_mistakes(ros_types, file, resource, name, value):
    template = copy.deepcopy(read_template(file))
    properties = template["Resources"][resource]["Properties"]
    if value is None:
        del properties[name]
    else:
        properties[name] = copy.deepcopy(value)
    assert list(template_problems(ros_types, template))


PULUMI = {
    "alicloud_message_service_queue": "message/service_queue.py:ServiceQueue",
    "alicloud_message_service_topic": "message/service_topic.py:ServiceTopic",
    "alicloud_ots_instance": "ots/instance.py:Instance",
    "alicloud_ots_table": "ots/table.py:Table",
    "alicloud_ram_role": "ram/role.py:Role",
    "alicloud_ram_policy": "ram/policy.py:Policy",
    "alicloud_ram_role_policy_attachment": "ram/role_policy_attachment.py:RolePolicyAttachment",
    "alicloud_resource_manager_service_linked_role": "resourcemanager/service_linked_role.py:ServiceLinkedRole",
    "alicloud_log_project": "log/project.py:Project",
    "alicloud_log_store": "log/store.py:Store",
    "alicloud_log_dashboard": "log/dashboard.py:Dashboard",
    "alicloud_sls_index": "sls/index.py:Index",
    "alicloud_sls_alert": "sls/alert.py:Alert",
    "alicloud_cms_alarm": "cms/alarm.py:Alarm",
    "alicloud_fcv3_function": "fc/v3_function.py:V3Function",
    "alicloud_fcv3_function_version": "fc/v3_function_version.py:V3FunctionVersion",
    "alicloud_fcv3_alias": "fc/v3_alias.py:V3Alias",
    "alicloud_fcv3_trigger": "fc/v3_trigger.py:V3Trigger",
}
META = {"for_each", "depends_on", "lifecycle"}


@pytest.fixture
def pulumi(installs):
    return packages_in(installs, ["pulumi-alicloud==4.0.0"]) / "pulumi_alicloud"


@functools.cache
def classes(file):
    """Return the classes of a module of Pulumi, by name; the modules are large."""
    return {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}


def parameters(file, name):
    """Return the parameters of the class `name`: whether each is required, and its annotation."""
    nodes = classes(file)[name].body
    [init] = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    arguments = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {one.arg: (default is None, ast.unparse(one.annotation)) for one, default in arguments}


def blocks(body):
    """Return the arguments and the blocks of `body`, dynamic ones too, except those of Terraform itself."""
    body = {name: value for name, value in body.items() if name not in META and not name.startswith("__")}
    for dynamic in body.pop("dynamic", []):
        for name, block in dynamic.items():
            body[name.strip('"')] = block["content"]
    return body


def terraform_problems(module, known, body, place):
    given = blocks(body)
    # Pulumi names lists in the plural.
    names = {name: next((one for one in (name, f"{name}s") if one in known), None) for name in given}
    required = {name for name, (is_required, _) in known.items() if is_required}
    yield from (f"{place}.{name} is missing" for name in required - set(names.values()))
    for name, value in given.items():
        if names[name] is None:
            yield f"{place}.{name} is unknown"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            nested = re.search(r"'(\w+Args)'", known[names[name]][1])
            if nested is None:
                yield f"{place}.{name} is no block"
                continue
            inner = parameters(module / "_inputs.py", nested[1])
            for one in value:
                yield from terraform_problems(module, inner, one, f"{place}.{name}")


@functools.cache
def read_terraform(text):
    return hcl2.loads(text)


def terraform_resources(files):
    for text in files:
        for block in read_terraform(text).get("resource", []):
            [(kind, named)] = (
                (kind.strip('"'), named) for kind, named in block.items() if not kind.startswith("__")
            )
            [body] = named.values()
            yield kind, body


def all_terraform_problems(pulumi, files):
    for kind, body in terraform_resources(files):
        path, _, name = PULUMI[kind].partition(":")
        file = pulumi / path
        yield from terraform_problems(file.parent, parameters(file, f"{name}Args"), body, kind)


def terraform_files():
    return [file.read_text() for file in sorted((FOLDER / "terraform").glob("*.tf"))]


def test_terraform_arguments(pulumi):
    """Each resource has the provider's required arguments, and none that the provider does not have."""
    assert {kind for kind, _ in terraform_resources(terraform_files())} == set(PULUMI)
    assert list(all_terraform_problems(pulumi, terraform_files())) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("visibility_timeout", "visibility_time_out"),
        ("max_receive_count", "max_receives"),
        ("memory_size", "memory"),
        ("pre_stop {", "prestop {"),
        ("policy_type = .*", ""),
        ("qualifier     = .*", ""),
    ],
)
def test_terraform_arguments_finds_mistakes(pulumi, pattern, text):
    changed = [re.sub(pattern, text, file) for file in terraform_files()]
    assert changed != terraform_files()
    assert list(all_terraform_problems(pulumi, changed))


EVALUATED = [
    "s.yaml",
    "resources.yaml",
    "alarms.yaml",
    "sls/alerts.json",
    "sls/dashboard.json",
    "sls/index.json",
    "terraform/locals.tf",
    "terraform/variables.tf",
]


@pytest.fixture
def terraform(tmp_path):
    """Terraform on what needs no provider: the variables, and what is read from the files beside."""
    if TERRAFORM is None:
        skip_without("terraform")
    folder = tmp_path / "serverless/terraform"
    folder.mkdir(parents=True)
    (folder.parent / "sls").mkdir()
    for file in EVALUATED:
        shutil.copy(FOLDER / file, folder.parent / file)
    log = (FOLDER / "terraform/log.tf").read_text()
    (folder / "log.tf").write_text(log.partition("\nresource ")[0])

    def evaluate(expression, **variables):
        options = [
            f"-var={name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in variables.items()
        ]
        return run_program([TERRAFORM, "console", *options], cwd=folder, input=f"jsonencode({expression})\n")

    return evaluate


def values(**given):
    return {"region": REGION, "instance": INSTANCE, "releases": ["1", "2"], "live": "1"} | given


def answer_of(shown):
    """Return the value in the output of the Terraform console, without its warnings."""
    line = next((line for line in shown.stdout.splitlines() if line.startswith('"')), None)
    assert line is not None, shown.stdout + shown.stderr
    return json.loads(json.loads(line))


def test_terraform_is_formatted():
    """`terraform fmt` would change nothing."""
    if TERRAFORM is None:
        skip_without("terraform")
    done = run_program([TERRAFORM, "fmt", "-check", "-diff", FOLDER / "terraform"])
    assert done.returncode == 0, done.stdout


def test_terraform_reads_what_serverless_devs_deploys(terraform):
    """The function, its trigger and the resources below them are the same, value for value."""
    account = "$${config('AccountID')}"
    function = f'jsondecode(replace(jsonencode(local.function), "{account}", "{ACCOUNT}"))'
    shown = terraform(f"{{function = {function}, resources = local.base}}", **values())
    read = answer_of(shown)
    d = deployment()
    assert read["function"] == d.function
    assert {name: one["Properties"] for name, one in read["resources"].items()} == d.resources


def test_terraform_creates_the_log_from_the_files(terraform):
    """Terraform fills the names of the log and the function into the files."""
    wanted = "{dashboard = local.dashboard, index = local.index, alerts = local.alerts}"
    read = answer_of(terraform(wanted, **values()))

    def said(name):
        text = (FOLDER / "sls" / f"{name}.json").read_text()
        return json.loads(text.replace("${logstore}", "hpoq").replace("${function}", "hpoq"))

    assert read["dashboard"] == said("dashboard")
    assert read["index"] == said("index")
    assert read["alerts"] == {alert["name"]: alert for alert in said("alerts")}


def test_terraform_takes_every_value_from_the_files():
    """Outside its variables it states no number of its own that the files have."""
    for text in (FOLDER.joinpath("terraform", name).read_text() for name in ("main.tf", "function.tf")):
        assert set(re.findall(r"= (\d+(?:\.\d+)?)\n", text)) <= {"30"}  # days that the log is kept


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"live": "3"}, "Must be one of the releases."),
        ({"canary": "1"}, "and not the live one"),
        ({"canary": "3"}, "Must be one of the releases"),
        ({"canary": "2", "canary_weight": 1}, "more than 0 and less than 1"),
        ({"instance": "x"}, "3 to 16"),
    ],
)
def test_terraform_refuses_wrong_variables(terraform, variables, problem):
    assert problem in terraform("var.live", **values(**variables)).stderr


def test_terraform_takes_a_canary(terraform):
    shown = terraform("[var.live, var.canary, var.canary_weight]", **values(canary="2", canary_weight=0.2))
    assert answer_of(shown) == ["1", "2", 0.2]


def test_policies_are_short_enough():
    """RAM takes policies of up to 6,144 characters."""
    for file in (FOLDER / "policies").glob("*.json"):
        assert len(json.dumps(policy(file.name), separators=(",", ":"))) <= 6144, file.name
