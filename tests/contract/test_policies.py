"""The function's RAM policy: with it everything goes, without any one of its actions a named part does not.

What is refused is lost nowhere: once the action is granted, the same message ends as it should have.
"""

import json
from pathlib import Path

import pytest

import alilocal
from alilocal.tablestore.model import STRING
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.function import EventFailed, Function
from hpoq.testing import FakeClock, smq_event, smq_stream_event

ROOT = Path(__file__).parents[2]
POLICY = json.loads((ROOT / "infra/serverless/policies/function.json").read_text())
REQUEST = (ROOT / "events/requests/minimal.json").read_text()
CONTEXT = Fc3Context("r-1", FunctionInfo(timeout=300))


def actions():
    for statement in POLICY["Statement"]:
        yield from statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]


def without(action):
    """The policy less one action."""
    kept = json.loads(json.dumps(POLICY))
    for statement in kept["Statement"]:
        named = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [one for one in named if one != action]
    kept["Statement"] = [statement for statement in kept["Statement"] if statement["Action"]]
    return kept


class Deployed:
    """The function as it is deployed, with a role of its own, over a cloud whose time the test moves."""

    def __init__(self, cloud, clock):
        self.cloud, self.clock = cloud, clock
        for name in ("hpo-requests", "hpo-requests-dead"):
            cloud.queues.create(name)
        cloud.topics.create("hpo-results")
        cloud.tables.create("hpoq", [("key", STRING)])

    def grant(self, policy):
        self.cloud.credentials.register(
            "STS.role", "secret", user_id=self.cloud.account_id, security_token="token", policy=policy
        )

    def deliver(self, message_id, **settings):
        """The outcome of one delivery, and whether the event was acknowledged."""
        return self.deliver_event(smq_event(message_id, REQUEST), **settings)

    def deliver_event(self, event, **settings):
        """The outcome of its first message, and whether it was acknowledged."""
        environ = {
            "HPOQ_REGION": self.cloud.region,
            "HPOQ_ACCOUNT_ID": self.cloud.account_id,
            "HPOQ_PAIAUTOML_ENDPOINT": self.cloud.endpoint,
            "HPOQ_SMQ_ENDPOINT": self.cloud.endpoint,
            "HPOQ_STORE": "tablestore://localhost/hpoq?instance=local&scheme=http",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.role",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
            "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
            **settings,
        }
        function = Function(environ, session=self.cloud.session(), clock=self.clock)
        try:
            report, acknowledged = function.handle(event, CONTEXT), True
        except EventFailed as exc:
            report, acknowledged = exc.report.as_json(), False
        return report["messages"][0]["outcome"], acknowledged

    def later(self):
        self.clock.advance(600)

    def fault(self, kind, when, **options):
        self.cloud.faults.add(
            kind, service="paiautoml", operation="CreateHpoExperiment", when=when, **options
        )


@pytest.fixture
def deployed():
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        yield Deployed(cloud, clock)


def creates(deployed):
    """A first delivery."""
    return deployed.deliver("M1")


def repeats(deployed):
    """A message that comes again."""
    return deployed.deliver("M1"), deployed.deliver("M1")


def repeats_at_once(deployed):
    """Messages of one event that come again, known by one read"""
    event = smq_stream_event({"M1": REQUEST, "M2": REQUEST})
    deployed.deliver_event(event)
    before = len(deployed.cloud.requests)
    assert deployed.deliver_event(event) == ("duplicate", True)
    return len(deployed.cloud.requests) - before


def reconciles(deployed):
    """A create that took effect and whose answer is lost."""
    deployed.fault("reset", "after")
    return deployed.deliver("M2")


def requeues(deployed):
    """A message that must come again, sent back by itself."""
    deployed.fault("status", "before", status=400, code="Throttling.User", times=None)
    outcome = deployed.deliver("M3", HPOQ_BATCH_POLICY="requeue")
    deployed.cloud.faults.clear()
    return outcome


LOOK_AHEAD = "ots:BatchGetRow"
PARTS = {
    "paiautoml:CreateHpoExperiment": (creates, ("created", True)),
    "paiautoml:ListHpoExperiments": (reconciles, ("created", True)),
    "ots:PutRow": (creates, ("created", True)),
    LOOK_AHEAD: (repeats_at_once, 1),
    "ots:GetRow": (repeats, (("created", True), ("duplicate", True))),
    "mns:PublishMessage": (creates, ("created", True)),
    "mns:SendMessage": (requeues, ("retry", True)),
}


def test_every_action_has_its_part():
    assert set(actions()) == set(PARTS)


@pytest.mark.parametrize("action", PARTS)
def test_what_an_action_is_for(deployed, action):
    """With the policy as it stands, the part that needs the action goes well."""
    part, expected = PARTS[action]
    deployed.grant(POLICY)
    assert part(deployed) == expected
    assert not [
        entry
        for entry in deployed.cloud.requests
        if entry.status == 403 and entry.code != "OTSConditionCheckFail"
    ]


def test_without_a_look_ahead_each_message_is_read_by_itself(deployed):
    deployed.grant(without(LOOK_AHEAD))
    assert repeats_at_once(deployed) == 5


@pytest.mark.parametrize("action", sorted(PARTS.keys() - {LOOK_AHEAD}))
def test_without_an_action_its_part_waits(deployed, action):
    """Without it the event is not acknowledged and nothing is lost: it ends well once the action is granted."""
    part, expected = PARTS[action]
    deployed.grant(without(action))
    refused = part(deployed)
    assert refused != expected
    assert (refused if isinstance(refused[1], bool) else refused[-1])[1] is False
    deployed.cloud.faults.clear()
    deployed.grant(POLICY)
    for message in {"M1", "M2", "M3"} if part is not requeues else {"M3"}:
        for _ in range(6):
            deployed.later()
            outcome, _ = deployed.deliver(message)
            if outcome == "duplicate":
                break
        assert outcome == "duplicate"
    published = [json.loads(one.body) for one in deployed.cloud.topics["hpo-results"].published]
    assert len({event["id"] for event in published}) == len(deployed.cloud.experiments)
    assert {event["type"] for event in published} == {"com.hpoq.experiment.created.v1"}
