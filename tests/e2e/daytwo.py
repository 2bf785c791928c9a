"""Follow the deployment guide in the local cloud, from an empty account to a removal, and print each step.

    python tests/e2e/daytwo.py

Deployed are the queues, the topic, the table and the role of infra/serverless, under the name `staging`. A version of
the function is a process's own `Function`; the alias gives the canary its share of the messages. Commands are those
of an operator: `hpoq ...` and `release.py remove --data`, with a stand-in for the vendor's CLI.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/contract")]

from deploymentfiles import deployment, lay_out  # noqa: E402
from test_alarms import fires  # noqa: E402

import alilocal  # noqa: E402
from alilocal.tablestore.model import STRING, Options  # noqa: E402
from hpoq.function import EventFailed, Function  # noqa: E402
from hpoq.observability import logs  # noqa: E402
from hpoq.testing import smq_event  # noqa: E402
from support.deployment import CONTEXT, function_environment  # noqa: E402
from support.request import REQUEST  # noqa: E402

NAME = "staging"
CLI = (
    "#!{python}\nimport pathlib, sys\npathlib.Path({log!r}).open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
)
HPOQ = "#!{python}\nfrom hpoqctl import main\nmain()\n"


def show(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Account:
    """An account of the local cloud, and what an operator does with it."""

    def __init__(self, server, folder):
        self.server, self.cloud, self.folder = server, server.cloud, folder
        self.described = deployment(f"-{NAME}")
        self.settings = self.described.settings
        self.versions, self.live, self.canary = {}, None, None
        self.key = None
        self.delivered = 0
        (folder / "bin").mkdir()
        for name, text in (("s", CLI), ("hpoq", HPOQ)):
            file = folder / "bin" / name
            file.write_text(text.format(python=sys.executable, log=str(folder / "calls")))
            file.chmod(0o755)

    @property
    def queue(self):
        return self.cloud.queues.get(self.settings.queue)

    @property
    def dead(self):
        return self.cloud.queues.get(self.settings.dead_letter_queue)

    def create_resources(self):
        """Create what resources.yaml describes."""
        resources = self.described.resources
        for name in ("DeadLetters", "Requests", "Watch"):
            given = resources[name]
            self.cloud.queues.create(
                given["QueueName"],
                visibility_timeout=given.get("VisibilityTimeout", 30),
                message_retention_period=given["MessageRetentionPeriod"],
            )
        self.cloud.topics.create(resources["Results"]["TopicName"])
        table = resources["Records"]
        options = Options(time_to_live=table["TimeToLive"], max_versions=table["MaxVersions"])
        self.cloud.tables.create(table["TableName"], [("key", STRING)], options)

    def rotate(self, key):
        """Give the role a new key; the old one is no longer valid."""
        policy = self.described.resources["Role"]["Policies"][0]["PolicyDocument"]
        local = json.loads(
            json.dumps(policy).replace(self.described.resources["Instance"]["InstanceName"], "*")
        )
        self.cloud.credentials.register(
            key, "secret", user_id=self.cloud.account_id, security_token="token", policy=local
        )
        old, self.key = self.key, key
        if old is not None:
            self.cloud.credentials.forget(old)

    def publish(self, version, **settings):
        """Publish a version of the function."""
        self.versions[version] = settings

    def call(self, version, message):
        place = f"127.0.0.1:{self.server.port}/hpoq?instance=local&scheme=http"
        keys = {
            "HPOQ_STORE": f"tablestore://{place}",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.key,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
            "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
        }
        variables = self.described.function["environmentVariables"]
        environ = {**variables, **function_environment(self.server, **keys), **self.versions[version]}
        function = Function(environ)
        if version == 2:
            # Version 2 is refused by the service, as one that sends too many requests.
            throttling = {"status": 400, "code": "Throttling.User", "when": "before", "times": None}
            self.cloud.faults.add(
                "status", service="paiautoml", operation="CreateHpoExperiment", **throttling
            )
        try:
            return function.handle(smq_event(message.message_id, base64.b64decode(message.body)), CONTEXT)[
                "summary"
            ]
        except EventFailed as exc:
            return exc.report.as_json()["summary"]
        finally:
            self.cloud.faults.clear()
            function.close()

    def process(self):
        """Deliver what waits in the queue, a tenth of it to the canary; return the outcomes by version."""
        outcomes = {}
        while messages := self.queue.receive(16):
            for message in messages:
                self.delivered += 1
                version = self.canary if self.canary and self.delivered % 10 == 0 else self.live
                for outcome, number in self.call(version, message).items():
                    if number:
                        key = (version, outcome)
                        outcomes[key] = outcomes.get(key, 0) + 1
                self.queue.delete(message.receipt_handle)
        return {
            f"version {version} {outcome}": number for (version, outcome), number in sorted(outcomes.items())
        }

    def run(self, *words, ends=0, **environ):
        """Run a command of the operator, and return what it prints."""
        given = {
            "PATH": os.pathsep.join((str(self.folder / "bin"), os.environ["PATH"])),
            "HPOQ_NAME": NAME,
            "HPOQ_SMQ_ENDPOINT": self.server.url,
            "TABLESTORE_INSTANCE": "hpoq-test",
            **environ,
        }
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        show(f"  $ {' '.join(str(word) for word in words if word != sys.executable)}")
        for line in (done.stdout + done.stderr).splitlines()[:6]:
            show(f"    {line}")
        if done.returncode != ends:
            raise SystemExit(f"it ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def send(self, first, last):
        for number in range(first, last):
            self.queue.send(
                base64.b64encode(
                    json.dumps(json.loads(REQUEST) | {"idempotencyKey": f"k{number}"}).encode()
                ).decode()
            )


def follow(account):
    """Follow the guide step by step; an assertion that fails ends it."""
    endpoint = ("--endpoint", account.server.url)
    show("1. An empty account: create queues, topic, records and role")
    assert not account.cloud.tables.list()
    account.create_resources()
    account.rotate("STS.first")

    show("2. Deploy version 1, send a request, and see its state")
    account.publish(1)
    account.live = 1
    (account.folder / "request.json").write_text(json.dumps(json.loads(REQUEST) | {"idempotencyKey": "k0"}))
    account.run("hpoq", "send", "request.json", *endpoint)
    show(f"  {account.process()}")
    assert "created" in account.run("hpoq", "status", "request.json", *endpoint)

    show("3. Publish version 2 as a canary for a tenth of the calls: it is throttled, and gives up at once")
    account.publish(2, HPOQ_MAX_AGE_HOURS="0.0000001", HPOQ_CALL_ATTEMPTS="1")
    account.canary = 2
    account.send(1, 21)
    outcomes = account.process()
    show(f"  {outcomes}")
    assert outcomes["version 1 created"] >= 18

    show("4. Promote it all the same, until the alarm fires")
    account.live, account.canary = 2, None
    account.send(21, 24)
    show(f"  {account.process()}")
    waiting = [len(account.dead.messages)] * 5
    assert fires("hpoq-dead-letters", ActiveMessages=waiting)
    show(f"  alarm hpoq-dead-letters-{NAME}: {waiting[0]} in the dead-letter queue")
    account.run("hpoq", "dead", "list")

    show("5. Roll back to version 1")
    account.live = 1

    show("6. Redrive the dead letters")
    account.run("hpoq", "dead", "redrive", "--dry-run")
    account.run("hpoq", "dead", "redrive")
    show(f"  {account.process()}")
    assert not fires("hpoq-dead-letters", ActiveMessages=[len(account.dead.messages)] * 5)

    show("7. Rotate the credentials")
    account.rotate("STS.second")
    account.send(24, 26)
    outcomes = account.process()
    show(f"  {outcomes}")
    assert outcomes == {"version 1 created": 2}

    show("8. Audit: every key has one experiment")
    account.run("hpoq", "audit", "--rate", "1000", *endpoint)
    assert len(account.cloud.experiments) == 26

    show("9. Remove everything: refused while a message waits, followed experiments included")
    release = (sys.executable, lay_out(account.folder / "copy") / "release.py", "remove", "--data")
    account.send(26, 27)
    account.run(*release, "--yes", ends=1)
    show(f"  {account.process()}")
    account.run(*release, "--yes", ends=1)
    account.run(*release, "--force", ends=1)
    account.run(*release, "--force", "--yes")
    removed = (account.folder / "calls").read_text().split()
    assert removed.count("remove") == 4
    show("Done.")


def main():
    logs.configure("ERROR", sys.stderr)
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as name, alilocal.serve() as server:
        follow(Account(server, Path(name)))


if __name__ == "__main__":
    main()
