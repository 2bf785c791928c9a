"""deploy-workflow.yaml: it keeps GitHub's schema and zizmor's rules, and its steps run in the local cloud."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jsonschema
import pytest
import yaml
from deploymentfiles import FOLDER, lay_out, policy
from installing import packages_in

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.testing import smq_event
from support.deployment import CONTEXT, QUEUE, create_resources, make_function, tablestore_url
from support.processes import run_program
from support.request import REQUEST

WORKFLOW = FOLDER / "deploy-workflow.yaml"
ROOT = Path(__file__).parents[2]
# Notes its calls. Version 1 is live, and what is published is version 2; a canary is in the file `canary`.
S = """#!/bin/sh
cd '{folder}'
echo "$*" >> calls
case "$*" in
*" alias publish "*) for weights; do :; done; echo "$weights" > canary ;;
*" alias get "*)
  weights=$(cat canary 2>/dev/null || echo '{{}}')
  printf '%s\\n' '{{"versionId": "1", "additionalVersionWeight": '"$weights"'}}' ;;
*" version "*) echo '{{"versionId": "2"}}' ;;
*" invoke "*) printf '%s\\n' '{{"body": "{{\\"summary\\": {{}}}}"}}' ;;
esac
"""
HPOQ = """#!{python}
import sys
if sys.argv[1] != "package":
    from hpoqctl import main
    main()
"""


def read_workflow():
    # YAML 1.1 reads `on` as true.
    return yaml.safe_load(WORKFLOW.read_text().replace("\non:", '\n"on":'))


def test_it_keeps_the_schema_of_github(installs):
    """Every key is one that GitHub knows."""
    packages = packages_in(installs / "check-jsonschema", ["check-jsonschema==0.39.0"])
    [file] = packages.glob("check_jsonschema/builtin_schemas/vendor/github-workflows.json")
    validator = jsonschema.Draft7Validator(json.loads(file.read_text()))
    assert [error.message for error in validator.iter_errors(read_workflow())] == []
    assert not validator.is_valid(read_workflow() | {"permission": {}})


def test_it_keeps_the_rules_of_zizmor(installs):
    """Actions are pinned, permissions are the least, and no step can read what it does not need."""
    program = packages_in(installs / "zizmor", ["zizmor==1.32.0"]) / "bin/zizmor"
    done = run_program([program, "--offline", "--no-progress", "--min-severity", "medium", WORKFLOW])
    assert done.returncode == 0, done.stdout + done.stderr


class Runner:
    """Runs the steps as GitHub does, with the key of an operator of the local cloud, and without the vendor's CLI."""

    def __init__(self, server, folder):
        self.server, self.folder, self.work = server, folder, lay_out(folder).parents[1]
        create_resources(server.cloud)
        server.cloud.tables.create("hpoq", [("key", STRING)])
        server.cloud.credentials.register("LTAIdeploy", "secret", user_id="7", policy=policy("operator.json"))
        # The local cloud has no administrators of workspaces, who see PRIVATE experiments as well.
        request = json.loads(REQUEST)
        request["experiment"]["Accessibility"] = "PUBLIC"
        (self.work / "request.json").write_text(json.dumps(request))
        (folder / "bin").mkdir()
        programs = {"s": S, "hpoq": HPOQ, "pip": "#!/bin/sh\n", "npm": "#!/bin/sh\n"}
        for name, text in programs.items():
            file = folder / "bin" / name
            file.write_text(text.format(python=sys.executable, folder=str(folder)))
            file.chmod(0o755)
        self.outcomes = {}

    def run(self):
        """Run all steps; those after a failure only if their condition says so."""
        (job,) = read_workflow()["jobs"].values()
        failed = False
        for step in (step for step in job["steps"] if "run" in step):
            condition, name = step.get("if"), step.get("id", step["name"])
            if condition is not None:
                assert condition == "(failure() || cancelled()) && steps.deploy.outcome != 'skipped'"
                is_wanted = failed and self.outcomes["deploy"] != "skipped"
            else:
                is_wanted = not failed
            ended = self._run_step(job, step) if is_wanted else None
            self.outcomes[name] = "skipped" if ended is None else "success" if ended == 0 else "failure"
            failed = failed or ended not in (None, 0)
        return not failed

    def _run_step(self, job, step):
        given = {**job["env"], **step.get("env", {})}
        secrets = {
            "ACCOUNT_ID": self.server.cloud.account_id,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIdeploy",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        }
        environ = {
            name: re.sub(r"\$\{\{ secrets\.(\w+) }}", lambda found: secrets[found[1]], str(value))
            for name, value in given.items()
        }
        # What the workflow names in the real cloud is at the local one.
        here = {"HPOQ_SMQ_ENDPOINT": self.server.url, "HPOQ_PAIAUTOML_ENDPOINT": self.server.url}
        if "HPOQ_STORE" in environ:
            here["HPOQ_STORE"] = tablestore_url(self.server)
        return subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=self.work,
            env={"PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}", **environ, **here},
            check=False,
            timeout=120,
        ).returncode

    @property
    def aliases(self):
        """What the alias was pointed at, one after the other: the version, and the canary with its share."""
        found = re.findall(
            r"alias publish --alias-name live --version-id (\d) --vw (.*)",
            (self.folder / "calls").read_text(),
        )
        return [(version, json.loads(weights)) for version, weights in found]


@pytest.fixture
def runner(tmp_path):
    """A runner beside a function that processes what is sent."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not on this machine")
    stopped = threading.Event()
    with alilocal.serve() as server:
        made = Runner(server, tmp_path)
        function = make_function(
            server.cloud, HPOQ_STORE=tablestore_url(server), HPOQ_PAIAUTOML_ENDPOINT=server.url
        )

        def process():
            queue = server.cloud.queues.get(QUEUE)
            while not stopped.wait(0.05):
                for message in queue.receive(16):
                    function.handle(smq_event(message.message_id, base64.b64decode(message.body)), CONTEXT)
                    queue.delete(message.receipt_handle)

        thread = threading.Thread(target=process)
        thread.start()
        yield made
        stopped.set()
        thread.join()
        function.close()


def test_a_push_is_deployed_as_a_canary_and_then_promoted(runner):
    """The key needs operator.json only, and every variable that a command needs is set."""
    assert runner.run()
    assert runner.aliases == [("1", {"2": 0.1}), ("2", {})]
    assert len(runner.server.cloud.experiments) == 1
    assert runner.outcomes["Drop the canary"] == "skipped"


def test_a_canary_whose_request_fails_is_dropped(runner):
    """The version that was live before takes all calls."""
    (runner.work / "request.json").write_text("{}")
    assert not runner.run()
    assert runner.aliases == [("1", {"2": 0.1}), ("1", {})]


def test_a_build_that_fails_changes_nothing(runner):
    """No rollback follows, which would send the calls to the version before the live one."""
    (runner.folder / "bin/pip").write_text("#!/bin/sh\nexit 1\n")
    assert not runner.run()
    assert not (runner.folder / "calls").exists()


def test_every_command_of_it_exists():
    """The programs are those of the repository, and the CLI is the release that the guide installs."""
    text = WORKFLOW.read_text()
    for file in re.findall(r"python3 (\S+)", text):
        assert (ROOT / file).exists()
    (release,) = re.findall(r"@serverless-devs/s@([\d.]+)", text)
    assert f"@serverless-devs/s@{release}" in (FOLDER / "README.md").read_text()
