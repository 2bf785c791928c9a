"""policies/operator.json: it is enough for the commands that the guides give to an operator, and for nothing else."""

import json

import pytest
from click.testing import CliRunner
from deploymentfiles import policy

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.testing import smq_event
from hpoqctl.app import app
from support.clock import give_commands_the_clock_of
from support.deployment import (
    CONTEXT,
    DEAD_LETTER_QUEUE,
    QUEUE,
    WATCH_QUEUE,
    create_resources,
    function_environment,
    make_function,
    tablestore_url,
)
from support.request import REQUEST

KEY = derive_key(PRODUCER, "order-1")
SERVICES = {"paiautoml": "paiautoml", "smq": "mns", "tablestore": "ots"}
COMMANDS = [
    "doctor --function-timeout 240",
    "status",
    f"status --key {KEY}",
    "status --message-id M1",
    "audit --rate 1000",
    "send request.json",
    "send --wait request.json --timeout 0.2",
    "stop request.json",
    "trials {experiment}",
    "dead list",
    "dead list --from hpo-requests",
    "dead show order-2",
    "dead redrive --dry-run",
    "dead redrive --match order-2",
    "dead drop --match order-3",
    "dead drop --match order-4 --from hpo-requests",
    f"resolve {KEY} --none",
    f"forget {KEY}",
]


class Account:
    """A deployment in the local cloud, with one request that has ended and two dead letters, and an operator."""

    def __init__(self, server, granted):
        self.server, self.cloud = server, server.cloud
        create_resources(self.cloud)
        self.cloud.tables.create("hpoq", [("key", STRING)])
        function = make_function(self.cloud, HPOQ_STORE=tablestore_url(server))
        function.handle(smq_event("M1", keyed(1)), CONTEXT)
        function.close()
        for number in (2, 3):
            body = smq_event(f"M{number}", keyed(number)).decode()
            self.cloud.queues.get(DEAD_LETTER_QUEUE).send(body)
        self.cloud.queues.get(QUEUE).send(keyed(4))
        self.cloud.credentials.register("LTAIoperator", "secret", user_id="7", policy=granted)
        self._first = len(self.cloud.requests)

    def run(self, command):
        """Run a command of the guides with the operator's key, and return its end."""
        (experiment,) = self.cloud.experiments
        environ = function_environment(
            self.server,
            HPOQ_STORE=tablestore_url(self.server),
            HPOQ_WATCH_QUEUE=WATCH_QUEUE,
            ALIBABA_CLOUD_ACCESS_KEY_ID="LTAIoperator",
            ALIBABA_CLOUD_ACCESS_KEY_SECRET="secret",
        )
        words = command.format(experiment=experiment.experiment_id).split()
        return CliRunner().invoke(app, words, env=environ)

    @property
    def calls(self):
        return [one for one in list(self.cloud.requests)[self._first :] if one.caller == "LTAIoperator"]

    @property
    def refused(self):
        return [
            (one.operation, one.code) for one in self.calls if one.status == 403 and not is_condition(one)
        ]


def keyed(number):
    """A request whose experiment others than the function may see."""
    document = json.loads(REQUEST)
    document["experiment"]["Accessibility"] = "PUBLIC"
    return json.dumps(document | {"idempotencyKey": f"order-{number}"})


def is_condition(call):
    """A write that its condition refuses, which is not a matter of permissions."""
    return call.code == "OTSConditionCheckFail"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_text(keyed(9))


def test_every_command_of_an_operator_is_allowed(folder, monkeypatch):
    """No call of a command is refused, and each action of the policy is used by one of them."""
    with alilocal.serve() as server:
        give_commands_the_clock_of(server.cloud, monkeypatch)
        account = Account(server, policy("operator.json"))
        for command in COMMANDS:
            account.run(command)
            assert account.refused == [], command
        used = {
            f"{SERVICES[one.service]}:{one.operation}" for one in account.calls if one.service in SERVICES
        }
    used |= {name.replace(":Batch", ":") for name in used}
    granted = {
        action
        for statement in policy("operator.json")["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    # The overview of `hpoq status` reads the log, which the local cloud does not have.
    assert granted - used == {"log:GetLogStoreLogs"}


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("mns:SendMessage", "send request.json"),
        ("mns:GetQueueAttributes", "status"),
        ("ots:GetRow", f"status --key {KEY}"),
        ("paiautoml:ListHpoExperiments", "audit --rate 1000"),
    ],
)
def test_without_an_action_its_command_fails(folder, action, command):
    """A command whose action the policy does not allow ends with 1."""
    denied = policy("operator.json")
    denied["Statement"].append({"Effect": "Deny", "Action": action, "Resource": "*"})
    with alilocal.serve() as server:
        account = Account(server, denied)
        assert account.run(command).exit_code == 1
        assert account.refused


def test_an_operator_creates_no_experiment_and_forges_no_event(folder):
    """Experiments come from requests only, and events from the function only."""
    text = json.dumps(policy("operator.json"))
    for action in (
        "CreateHpoExperiment",
        "DeleteHpoExperiment",
        "PublishMessage",
        "DeleteRow",
        "DeleteTable",
    ):
        assert action not in text
