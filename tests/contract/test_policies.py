"""The function's RAM policy: with it everything works, and without any one of its grants a named part does not.

Nothing that is refused is lost: once the action is granted, the same message ends as it should have.
"""

import json
from pathlib import Path

import pytest

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.function import EventFailed, Function
from hpoq.testing import FakeClock, smq_event, smq_stream_event
from support.deployment import CONTEXT, create_resources, function_environment, published_events
from support.request import REQUEST

ROOT = Path(__file__).parents[2]
POLICY = json.loads((ROOT / "infra/serverless/policies/function.json").read_text())


def grants():
    """Return each action of the policy with the resource that it is granted for."""
    for statement in POLICY["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        yield from ((action, statement["Resource"]) for action in actions)


def without(grant):
    """Return the policy without one grant."""
    kept = [one for one in grants() if one != grant]
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in kept]
    return {"Version": "1", "Statement": statements}


class Deployed:
    """The function as it is deployed, with a role of its own, over a cloud whose time the test moves."""

    def __init__(self, cloud, clock):
        self.cloud, self.clock = cloud, clock
        create_resources(cloud)
        cloud.buses.create("hpo-results")
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
        environ = function_environment(
            self.cloud,
            HPOQ_STORE="tablestore://localhost/hpoq?instance=local&scheme=http",
            ALIBABA_CLOUD_ACCESS_KEY_ID="STS.role",
            ALIBABA_CLOUD_ACCESS_KEY_SECRET="secret",
            ALIBABA_CLOUD_SECURITY_TOKEN="token",
        )
        function = Function({**environ, **settings}, session=self.cloud.session(), clock=self.clock)
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


def gives_up(deployed):
    """A message that is given up, put into the dead-letter queue."""
    deployed.fault("status", "before", status=400, code="Throttling.User", times=None)
    deployed.deliver("M4")
    deployed.later()
    outcome = deployed.deliver("M4", HPOQ_MAX_AGE_HOURS="0.1", HPOQ_DEAD_LETTER_QUEUE="hpo-requests-dead")
    deployed.cloud.faults.clear()
    return outcome


def publishes_to_a_bus(deployed):
    """An event for a bus of EventBridge."""
    return deployed.deliver("M5", HPOQ_OUTPUT="eventbridge://hpo-results")


FOLLOWED = {"HPOQ_WATCH_QUEUE": "hpo-watch"}


def starts_to_follow(deployed):
    """The first watch message of a new experiment."""
    return deployed.deliver("M6", **FOLLOWED)


def finishes(deployed):
    """An experiment that has ended, and its best trial"""
    if not deployed.cloud.experiments:
        deployed.deliver("M7", **FOLLOWED)
    deployed.later()
    (message,) = deployed.cloud.queues.get("hpo-watch").receive(16)
    deployed.cloud.queues.get("hpo-watch").delete(message.receipt_handle)
    return deployed.deliver_event(smq_event(message.message_id, message.body), **FOLLOWED)


def stops(deployed):
    """A stop message."""
    if not deployed.cloud.experiments:
        deployed.deliver("M8")
        deployed.cloud.experiments[0].fail("RUNNING")
    (made,) = deployed.cloud.experiments
    return deployed.deliver_event(smq_event("S1", json.dumps({"stop": {"experimentId": made.experiment_id}})))


TABLE = "acs:ots:*:*:instance/*/table/hpoq"
EXPERIMENT = "acs:paiautoml:*:*:hpoexperiment/*"
LOOK_AHEAD = ("ots:BatchGetRow", TABLE)
PARTS = {
    ("paiautoml:CreateHpoExperiment", "*"): (creates, ("created", True)),
    ("paiautoml:ListHpoExperiments", "*"): (reconciles, ("created", True)),
    ("ots:PutRow", TABLE): (creates, ("created", True)),
    LOOK_AHEAD: (repeats_at_once, 1),
    ("ots:GetRow", TABLE): (repeats, (("created", True), ("duplicate", True))),
    ("mns:PublishMessage", "acs:mns:*:*:/topics/hpo-results/messages"): (creates, ("created", True)),
    ("eventbridge:PutEvents", "acs:eventbridge:*:*:eventbus/hpo-results"): (
        publishes_to_a_bus,
        ("created", True),
    ),
    ("mns:SendMessage", "acs:mns:*:*:/queues/hpo-requests/messages"): (requeues, ("retry", True)),
    ("mns:SendMessage", "acs:mns:*:*:/queues/hpo-requests-dead/messages"): (gives_up, ("failed", True)),
    ("mns:SendMessage", "acs:mns:*:*:/queues/hpo-watch/messages"): (starts_to_follow, ("created", True)),
    ("paiautoml:GetHpoExperiment", EXPERIMENT): (finishes, ("finished", True)),
    ("paiautoml:ListHpoTrials", EXPERIMENT): (finishes, ("finished", True)),
    ("paiautoml:StopHpoExperiment", "*"): (stops, ("stopping", True)),
}
MESSAGES = {requeues: {"M3"}, gives_up: {"M4"}, publishes_to_a_bus: {"M5"}, starts_to_follow: {"M6"}}
# Without these a message waits that is not one of a request.
AFTERWARDS = {grant for grant, (part, _) in PARTS.items() if part in (finishes, stops)}


def name_grant(grant):
    """Return a short name for a grant, as the id of its test."""
    action, resource = grant
    return f"{action} {resource.rpartition(':')[2]}"


def test_every_grant_has_its_part():
    """Each action on each resource is tried below."""
    assert set(grants()) == set(PARTS)


@pytest.mark.parametrize("grant", PARTS, ids=name_grant)
def test_what_a_grant_is_for(deployed, grant):
    """With the whole policy, the part that needs the grant succeeds."""
    part, expected = PARTS[grant]
    deployed.grant(POLICY)
    assert part(deployed) == expected
    assert not [
        entry
        for entry in deployed.cloud.requests
        if entry.status == 403 and entry.code != "OTSConditionCheckFail"
    ]


def test_without_a_look_ahead_each_message_is_read_by_itself(deployed):
    """Each claim is refused, and its record read. The second message is also read before it would wait for a turn."""
    deployed.grant(without(LOOK_AHEAD))
    assert repeats_at_once(deployed) == 6


@pytest.mark.parametrize("grant", sorted(PARTS.keys() - {LOOK_AHEAD} - AFTERWARDS), ids=name_grant)
def test_without_a_grant_its_part_waits(deployed, grant):
    """Without it the event is not acknowledged and nothing is lost: it succeeds once the grant is there."""
    part, expected = PARTS[grant]
    deployed.grant(without(grant))
    refused = part(deployed)
    assert refused != expected
    assert (refused if isinstance(refused[1], bool) else refused[-1])[1] is False
    deployed.cloud.faults.clear()
    deployed.grant(POLICY)
    for message in MESSAGES.get(part, {"M1", "M2", "M3"}):
        for _ in range(6):
            deployed.later()
            outcome, _ = deployed.deliver(message)
            if outcome == "duplicate":
                break
        assert outcome == "duplicate"
    published = published_events(deployed.cloud)
    assert len({event["id"] for event in published}) == len(deployed.cloud.experiments)
    assert {event["type"] for event in published} == {"com.hpoq.experiment.created.v1"}


@pytest.mark.parametrize("grant", sorted(AFTERWARDS), ids=name_grant)
def test_without_a_grant_the_end_of_an_experiment_waits(deployed, grant):
    """Without it the message comes again, by the trigger or as the next watch message, and then succeeds."""
    part, expected = PARTS[grant]
    deployed.grant(without(grant))
    assert part(deployed) in (("watching", True), ("retry", False))
    deployed.grant(POLICY)
    assert part(deployed) == expected
