"""The deployment guide: its commands exist, its tables are those of the files and the code."""

import ast
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from deploymentfiles import FOLDER, ROOT, deployment, policy
from test_policies import PARTS

from hpoq.cloud.eventbridge import EventBridge
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.smq import Smq
from hpoq.cloud.tablestore import Tablestore
from support.processes import run_program
from support.tools import NODE_MODULES, need_node, skip_without

GUIDE = (FOLDER / "README.md").read_text()
CLIENTS = {"paiautoml": PaiAutoMl, "mns": Smq, "ots": Tablestore, "eventbridge": EventBridge}
HPOQ = ROOT / "functions/hpoq"
# What is not deployed, and the clients themselves.
ELSEWHERE = {"__main__.py", "cloud", "producer", "testing"}
CLI = NODE_MODULES / ".bin/s"


def members_used(file):
    """Return the names of the members that `file` uses, methods among them."""
    return {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}


def calls_of_the_function():
    """Each RAM action that the deployed code needs: the client's method, and the modules that call it."""
    files = [file for file in sorted(HPOQ.rglob("*.py")) if file.relative_to(HPOQ).parts[0] not in ELSEWHERE]
    used = {file.relative_to(HPOQ).as_posix(): members_used(file) for file in files}
    found = {}
    for service, client in CLIENTS.items():
        # `call` sends any operation; only the methods of the operations use it.
        methods = [name for name, member in vars(client).items() if inspect.isfunction(member)]
        for method in (name for name in methods if not name.startswith("_") and name != "call"):
            if places := [place for place, names in used.items() if method in names]:
                operation = "".join(part.capitalize() for part in method.split("_"))
                found[f"{service}:{operation}"] = (f"{client.__name__}.{method}", places)
    return found


def actions(document):
    for statement in document["Statement"]:
        named = statement["Action"]
        yield from ((one, statement["Resource"]) for one in ([named] if isinstance(named, str) else named))


def permissions_table():
    lines = ["| action | on | call | in | without it fails |", "|---|---|---|---|---|"]
    calls = calls_of_the_function()
    for action, resource in actions(policy("function.json")):
        call, places = calls[action]
        part = PARTS[action, resource][0].__doc__.strip().rstrip(".")
        where = ", ".join(f"[{place}](../../functions/hpoq/{place})" for place in places)
        lines.append(f"| `{action}` | `{resource}` | `{call}` | {where} | {part[0].lower()}{part[1:]} |")
    return "\n".join(lines)


def test_the_policy_has_what_the_code_calls():
    """No call lacks its action, and no action its call."""
    assert {action for action, _ in actions(policy("function.json"))} == set(calls_of_the_function())


def test_permissions_table():
    """`python tests/contract/test_deployment_guide.py` prints what belongs there."""
    listed = re.search(r"<!-- permissions -->\n(.*?)\n<!-- /permissions -->", GUIDE, re.DOTALL)
    assert listed is not None
    assert listed[1] == permissions_table()


def test_the_deployers_actions_are_explained():
    """Each action of the deployer's policy is in the guide's table once, and no others are."""
    table = GUIDE.partition("| actions | for |")[2].partition("\n\n")[0]
    explained = re.findall(r"`(\w+:[\w*]+)`", table)
    assert sorted(explained) == sorted(action for action, _ in actions(policy("deployer.json")))


def test_the_deployers_actions_are_calls_of_fc3():
    tree = os.environ.get("TEST_FC3_TREE")
    if not tree:
        skip_without("the source of fc3")
    source = "".join(file.read_text() for file in (Path(tree) / "src").rglob("*.ts"))
    for action, _ in actions(policy("deployer.json")):
        service, _, operation = action.partition(":")
        if service == "fc":
            assert re.search(rf"\.{operation[0].lower()}{operation[1:]}(WithOptions)?\(", source), action


def commands():
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


def commands_of(*beginning):
    return [words for words in commands() if tuple(words[: len(beginning)]) == beginning]


def test_every_command_is_checked_below():
    known = [
        ("hpoq",),  # test_readme.py
        ("python3", "infra/serverless/release.py"),
        ("s",),
        ("terraform",),
        ("npm", "install"),
        ("export",),
    ]
    for words in commands():
        assert any(tuple(words[: len(one)]) == one for one in known), words


def shown(*command):
    done = run_program(command, check=True, cwd=ROOT)
    return done.stdout + done.stderr


@pytest.mark.parametrize("words", commands_of("hpoq", "doctor"), ids=" ".join)
def test_the_doctors_time_out_is_the_functions(words):
    """test_readme.py checks the options of every `hpoq` command; here is the number."""
    given = dict(itertools.pairwise(words))
    assert given.get("--function-timeout", "240") == str(deployment().function["timeout"])


@pytest.mark.parametrize("words", commands_of("python3", "infra/serverless/release.py"), ids=" ".join)
def test_release_commands(words):
    """test_deployment_release.py runs them; here are the guide's own words."""
    text = shown(sys.executable, *words[1:3], "--help")
    assert all(word in text for word in words[3:] if word.startswith("-"))


@pytest.mark.parametrize("words", commands_of("s"), ids=" ".join)
def test_serverless_devs_commands(words):
    """Each option of an `s` command in the guide exists in the Serverless Devs CLI."""
    need_node("@serverless-devs/s")
    text = shown(CLI, *words[1:3], "--help")
    assert all(re.search(rf"(^|\s|,){word}[\s,]", text) for word in words[3:] if word.startswith("-"))


def test_the_guide_installs_the_tested_cli():
    [words] = commands_of("npm", "install")
    name, _, version = words[-1].rpartition("@")
    packages = json.loads((ROOT / "tests/contract/sdks/package.json").read_text())
    assert packages["dependencies"][name] == version


@pytest.mark.parametrize("words", commands_of("terraform"), ids=" ".join)
def test_terraform_commands(words):
    """Every command is Terraform's, and every variable the files'; none that must be given is missing."""
    if words[1] == "apply":
        files = "".join(file.read_text() for file in (FOLDER / "terraform").glob("*.tf"))
        blocks = dict(re.findall(r'^variable "(\w+)" {\n(.*?)^}', files, re.DOTALL | re.MULTILINE))
        given = {word.partition("=")[0] for word in words if "=" in word}
        required = {name for name, block in blocks.items() if "default " not in block}
        assert required <= given <= set(blocks)
    if shutil.which("terraform") is None:
        skip_without("terraform")
    assert f"terraform [global options] {words[1]}" in shown("terraform", words[1], "-help")


def numbers():
    """Each name and number of the table that says why, such as `timeout` and 240."""
    table = GUIDE.partition("| number | why |")[2].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        yield from re.findall(r"`(\w+)` ([\w.]+)", row.split("|")[1])


def test_numbers_are_those_of_the_files():
    d = deployment()
    everything = json.dumps([d.function, d.resources])
    listed = dict(numbers())
    assert len(listed) > 15
    for name, number in listed.items():
        assert re.search(rf'"{name}": "?{re.escape(number)}"?[,}}]', everything), (name, number)


if __name__ == "__main__":
    print(permissions_table())  # noqa: T201
