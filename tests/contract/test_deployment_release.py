"""release.py with the Serverless Devs CLI itself; what the CLI calls is a stand-in for its components.

Each command that release.py runs passes through the CLI in at least one test. What release.py decides in between is
tested with the stand-in alone, because the CLI takes half a second per call.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from deploymentfiles import ACCOUNT, FOLDER, INSTANCE, LOG_TEMPLATE, deployment, lay_out, rendered

from support.budget import CI_BUDGET
from support.processes import run_program
from support.tools import NODE_MODULES, need_node, skip_without

STUB, KEEP_COMPILED = map(Path(__file__).with_name, ("componentstub.cjs", "keepcompiled.cjs"))
CLI = NODE_MODULES / ".bin/s"
FC3 = os.environ.get("TEST_FC3_TREE")
WITHOUT_CLI = """#!/bin/sh
case "$*" in {calls}) ;; *) exec {cli} "$@" ;; esac
case $1 in function) kind=fc3;; *) kind=ros;; esac
shift
exec node {folder}/$kind/index.js "$@"
"""

# fc3's own schema where it can be had, and its rules for what s.yaml says in our own words.
OWN_SCHEMA = {
    "type": "object",
    "required": ["region", "functionName", "runtime", "code", "handler"],
    "properties": {
        "region": {"pattern": "^[a-z]+-[a-z]+(-[0-9])?$"},
        "runtime": {"enum": ["python3", "python3.9", "python3.10", "python3.12", "custom.debian12"]},
        "code": {"type": "string"},
        "cpu": {"type": "number", "minimum": 0.05, "maximum": 16},
        "memorySize": {"type": "integer", "minimum": 128, "maximum": 32768, "multipleOf": 64},
        "diskSize": {"enum": [512, 10240]},
        "timeout": {"type": "integer", "minimum": 1, "maximum": 86400},
        "instanceConcurrency": {"type": "integer", "minimum": 1, "maximum": 200},
        "environmentVariables": {"type": "object", "additionalProperties": {"type": "string"}},
        "triggers": {
            "type": "array",
            "items": {
                "required": ["triggerName", "triggerType", "triggerConfig"],
                "properties": {"triggerType": {"enum": ["eventbridge", "mns_topic", "timer", "http"]}},
            },
        },
    },
}


class Operator:
    """One who has the CLI, and a folder with what infra/serverless has."""

    def __init__(self, folder):
        self.folder = lay_out(folder)
        for kind in ("fc3", "ros"):
            (self.folder / kind).mkdir()
            shutil.copy(STUB, self.folder / kind / "index.js")
        self.change(r"component: (\w+)", r"component: ./\1")
        self.environ = {
            "PATH": f"{CLI.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            # Otherwise each call starts processes that report it to its maker and look for a newer version.
            "NODE_ENV": "test",
            "TABLESTORE_INSTANCE": INSTANCE,
            "AccountID": ACCOUNT,
            "AccessKeyID": "test-access-key-id",
            "AccessKeySecret": "test-access-key-secret",
        }

    def keep_compiled(self, folder):
        """Let the CLI keep its compiled code in `folder`, because compiling is half of each call."""
        if (NODE_MODULES / "v8-compile-cache").is_dir():
            self.environ |= {
                "NODE_OPTIONS": f'--require "{KEEP_COMPILED}"',
                "NODE_PATH": str(NODE_MODULES),
                "V8_COMPILE_CACHE_CACHE_DIR": str(folder),
            }

    def do_without_cli(self, calls="*"):
        """Put a command `s` on the PATH that calls the components by itself, for `calls` that match a pattern."""
        (self.folder / "props.json").write_text(json.dumps(deployment().function))
        cli = self.folder / "bin/s"
        cli.parent.mkdir()
        cli.write_text(WITHOUT_CLI.format(folder=self.folder, calls=calls, cli=CLI))
        cli.chmod(0o755)
        self.environ["PATH"] = f"{cli.parent}{os.pathsep}{os.environ['PATH']}"

    def change(self, pattern, text):
        file = self.folder / "s.yaml"
        changed, times = re.subn(pattern, text, file.read_text())
        assert times
        file.write_text(changed)

    def run(self, *command, **environ):
        return run_program([*command], cwd=self.folder, env={**self.environ, **environ})

    def release(self, *arguments, ends=0, **environ):
        done = self.run(sys.executable, str(self.folder / "release.py"), *arguments, **environ)
        assert done.returncode == ends, done.stdout + done.stderr
        return done.stderr

    def given(self, versions, live, weights=None):
        """Begin with so many versions, and the alias at `live`."""
        alias = {"aliasName": "live", "versionId": live, "additionalVersionWeight": weights or {}}
        numbers = [{"versionId": str(number + 1)} for number in range(versions)]
        state = {"calls": [], "versions": numbers, "alias": alias, "trigger": None}
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    @property
    def live(self):
        alias = self.state["alias"]
        return alias["versionId"], alias["additionalVersionWeight"]


@pytest.fixture
def operator(tmp_path, installs):
    need_node("@serverless-devs/s")
    operator = Operator(tmp_path)
    operator.keep_compiled(installs / "compiled")
    return operator


@pytest.fixture
def operator_without_cli(tmp_path):
    need_node()
    operator = Operator(tmp_path)
    operator.do_without_cli()
    return operator


@pytest.fixture(params=["fc3", "own"])
def schema(request):
    if request.param == "own":
        return OWN_SCHEMA
    if not FC3:
        skip_without("the source of fc3")
    return json.loads((Path(FC3) / "src/schema.json").read_text())


def unknown_options(command, *arguments):
    """Return the options of a call that fc3's help does not have."""
    text = (Path(FC3) / "src/commands-help" / f"{command}.ts").read_text()
    if command in ("alias", "version"):
        text = text.partition(f"    {arguments[0]}: {{")[2].partition("\n    },\n")[0]
    options = [word for word in arguments if word.startswith("-")]
    return [option for option in options if not re.search(rf"['\"`\s]{option}[,\s'\"]", text)]


def test_verify(operator, schema):
    """`s verify` renders s.yaml and finds that it keeps the component's schema."""
    (operator.folder / "schema.json").write_text(json.dumps(schema))
    done = operator.run("s", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_verify_finds_a_mistake_in_the_file(operator, schema):
    (operator.folder / "schema.json").write_text(json.dumps(schema))
    operator.change("memorySize: .*", "memorySize: 500")
    done = operator.run("s", "verify")
    assert done.returncode != 0
    assert "memorySize must be multiple of 64" in done.stdout


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("runtime: .*", "runtime: python3.13"),
        (" +handler: hpoq.handler.handler\n", ""),
        ("triggerType: .*", "triggerType: eventBridge"),
        ("timeout: 240", "timeout: 240s"),
        ("HPOQ_CONCURRENCY: '16'", "HPOQ_CONCURRENCY: 16"),
    ],
)
def test_schema_finds_mistakes(schema, pattern, text):
    """The test's own rules and fc3's schema find the same mistakes."""
    changed, times = re.subn(pattern, text, rendered((FOLDER / "s.yaml").read_text()))
    assert times
    props = yaml.safe_load(changed)["resources"]["function"]["props"]
    assert not jsonschema.Draft7Validator(schema).is_valid(props)


def test_schema(schema):
    """The function's properties keep the schema of the fc3 component."""
    jsonschema.Draft7Validator(schema).validate(deployment().function)


def test_the_tablestore_instance_must_be_named(operator):
    del operator.environ["TABLESTORE_INSTANCE"]
    done = operator.run("s", "verify")
    assert done.returncode != 0
    assert "TABLESTORE_INSTANCE" in done.stdout + done.stderr


def test_a_first_deployment(operator):
    """The resources that the triggers name are created before the triggers; HPOQ_NAME ends all names."""
    # One call of each kind passes through the CLI.
    operator.do_without_cli('"log deploy"*|"alarms deploy"*|*"--trigger requests"*')
    operator.release("deploy", HPOQ_NAME="staging")
    state = operator.state
    assert state["calls"] == [
        *[["ros", "deploy", "-y"]] * 2,
        ["fc3", "deploy", "--function", "-y"],
        ["fc3", "version", "publish"],
        ["fc3", "invoke", "--qualifier", "1", "--event", "[]"],
        ["fc3", "alias", "publish", "--alias-name", "live", "--version-id", "1", "--vw", "{}"],
        ["fc3", "deploy", "--trigger", "requests", "-y"],
        ["fc3", "deploy", "--trigger", "watch", "-y"],
        ["ros", "deploy", "-y"],
    ]
    assert (operator.folder / LOG_TEMPLATE).is_file()
    assert operator.live == ("1", {})
    assert (state["latest"]["functionName"], state["latest"]["role"]) == ("hpoq-staging", "hpoq-staging")
    environ, trigger = state["latest"]["environmentVariables"], state["trigger"]["triggerConfig"]
    queue = trigger["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"]
    assert queue == environ["HPOQ_WATCH_QUEUE"] == "hpo-watch-staging"
    assert environ["HPOQ_QUEUE"] == "hpo-requests-staging"
    assert environ["HPOQ_NAME"] == "staging"
    assert environ["HPOQ_OUTPUT"] == "smq://hpo-results-staging"
    dead_letters = trigger["runOptions"]["deadLetterQueue"]["Arn"]
    assert dead_letters.endswith(f":{ACCOUNT}:/queues/hpo-requests-dead-staging")
    check_options(operator)


def check_options(operator):
    """Check that every command and option used is in the component's own help, if its source is available."""
    for words in [words[1:] for words in operator.state["calls"] if words[0] == "fc3"] if FC3 else ():
        assert not unknown_options(*words)


def test_canary_promote_rollback(operator_without_cli):
    """A canary gets its share, a promotion all calls; a rollback gives them to the version before, or a named one."""
    operator = operator_without_cli
    operator.given(1, "1")
    operator.release("canary", "0.1")
    assert operator.live == ("1", {"2": 0.1})
    operator.release("promote")
    assert operator.live == ("2", {})
    operator.release("rollback")
    assert operator.live == ("1", {})
    operator.release("rollback", "--to", "2")
    assert operator.live == ("2", {})
    check_options(operator)


def test_rollback_of_a_canary(operator_without_cli):
    """A rollback drops the canary; the version that took the rest of the calls takes all."""
    operator = operator_without_cli
    operator.given(3, "2", {"3": 0.5})
    done = operator.run(sys.executable, "release.py", "rollback")
    assert operator.live == ("2", {})
    # So that nobody runs it once more, which goes back to version 1.
    assert done.stdout.endswith("Version 2 takes all calls.\n")


def test_before_a_first_deployment(operator):
    """If a query fails, the CLI prints only its name and exits with 0; that counts as a missing resource."""
    said = operator.release("canary", "0.1", ends=1)
    assert "s function alias get --alias-name live gave no answer" in said
    assert len(operator.state["calls"]) == 1


def test_missing_versions_and_canaries(operator_without_cli):
    operator = operator_without_cli
    operator.given(1, "1")
    assert "no canary" in operator.release("promote", ends=1)
    assert "no version before 1" in operator.release("rollback", ends=1)
    assert operator.live == ("1", {})


def test_nothing_runs_after_a_failed_step(operator_without_cli):
    """After a failed step only its reason is asked for, and the alias stays."""
    operator = operator_without_cli
    operator.given(1, "1")
    said = operator.release("canary", "0.1", ends=1, STUB_FAILS="version publish", STUB_REASON="no quota")
    assert "s function version publish" in said
    assert "no quota" in said
    assert operator.state["calls"] == [
        ["fc3", "alias", "get", "--alias-name", "live"],
        ["fc3", "deploy", "--function", "-y"],
        ["fc3", "version", "publish"],
        ["fc3", "version", "publish"],
    ]
    assert operator.live == ("1", {})


def test_a_release_that_broke_off_is_completed_with_its_version(operator):
    """Function Compute publishes nothing if nothing has changed: the newest version is what is deployed."""
    operator.given(2, "1")
    operator.do_without_cli('*"--function -y"|*" invoke "*')
    reason = "VersionPublishError: no changes were made since last publish"
    operator.release("canary", "0.1", STUB_FAILS="version publish", STUB_REASON=reason)
    assert operator.live == ("1", {"2": 0.1})
    check_options(operator)


def test_a_canary_of_the_live_version_is_refused(operator_without_cli):
    """If nothing has changed since the live version, it would share the calls with itself."""
    operator = operator_without_cli
    operator.given(2, "2")
    nothing = {"STUB_FAILS": "version publish", "STUB_REASON": "VersionPublishError: no changes"}
    said = operator.release("canary", "0.1", ends=1, **nothing)
    assert "Nothing has changed since version 2, which takes the calls already." in said
    assert operator.live == ("2", {})


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize("words", [["deploy"], ["canary", "0.1"]], ids=" ".join)
def test_a_version_that_does_not_start_gets_no_calls(operator_without_cli, words):
    """A new version processes an event without messages before the alias names it; --unchecked does without."""
    operator = operator_without_cli
    operator.given(1, "1")
    failure = '{"errorMessage": "No module named hpoq", "errorType": "ImportModuleError"}'
    said = operator.release(*words, ends=1, STUB_ANSWERS=failure)
    assert "Version 2 fails, so the alias was not changed" in said
    assert "No module named hpoq" in said
    assert operator.live == ("1", {})
    operator.release(*words, "--unchecked", STUB_ANSWERS=failure)
    assert "3" in (operator.live[0], *operator.live[1])


@pytest.mark.in_ci
def test_remove(operator):
    """Queues, records and log go with `--data`; test_release_safety.py tests that they stay without it."""
    operator.given(1, "1")
    operator.release("remove", "--data", "--yes", "--force")
    assert operator.state["calls"] == [["fc3", "remove", "-y"], *[["ros", "remove", "-y"]] * 3]


@pytest.mark.parametrize(
    "arguments", [[], ["canary"], ["canary", "1"], ["canary", "x"], ["undo"]], ids=" ".join
)
def test_wrong_usage(arguments):
    """release.py exits with 2 if its arguments are wrong."""
    done = subprocess.run(
        [sys.executable, FOLDER / "release.py", *arguments], capture_output=True, timeout=60
    )
    assert done.returncode == 2


def test_without_the_cli(tmp_path):
    """release.py names the missing command `s` and shows no traceback."""
    done = run_program([sys.executable, FOLDER / "release.py", "promote"], env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "npm install -g @serverless-devs/s" in done.stderr
    assert "Traceback" not in done.stderr
