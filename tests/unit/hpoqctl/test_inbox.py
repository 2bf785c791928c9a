"""How `hpoq send --wait` polls for the events of what it sent, and which message an event answers."""

import pytest

import alilocal
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.contract.events import outcome_of
from hpoq.contract.identity import CONFLICT, derive_event_id, derive_key
from hpoq.contract.request import compute_fingerprint, parse_request
from hpoq.producer import SentRequest
from hpoq.testing import FakeClock
from hpoqctl.inbox import Answers, Inbox, collect_answers, open_inbox
from hpoqctl.queueclient import QueueClient
from support.request import request

A, B = (parse_request(request("k", Name=name).encode()).request for name in "ab")
OTHER_A = parse_request(request("k", Name="a", Description="other").encode()).request


def event(outcome, message, **data):
    """Return an event of the key k that `message` caused."""
    return {
        "type": f"com.hpoq.experiment.{outcome}.v1",
        "id": outcome,
        "data": {"idempotencyKey": "k", "messageId": message, **data},
    }


def conflict(request, message):
    """Return the refusal of `request`, as the function publishes it for every send of it."""
    key = derive_key(CONFLICT, f"k:{compute_fingerprint(request.wire())}")
    refused = event("rejected", message, error={"code": "IdempotencyConflict"})
    return {**refused, "id": derive_event_id(key, "rejected")}


def outcomes(answers):
    return [outcome_of(answers.events.get(index, {})) for index in range(len(answers.sent))]


def test_polls_wait_on_the_server_until_the_end():
    """However little time is left, a poll waits on the server: each one is a call that the service bills."""
    clock = FakeClock()
    with alilocal.LocalCloud(clock=clock) as cloud:
        cloud.queues.create("inbox")
        keys = Credentials(cloud.access_key_id, cloud.access_key_secret)
        smq = QueueClient(Transport(cloud.session(), clock), cloud.endpoint, lambda: keys)
        answers, allowed = Answers([SentRequest("M1", "k")]), iter(range(7))
        collect_answers(Inbox(smq, "inbox"), answers, clock, 30.0, lambda count: next(allowed))
    assert answers.missing == answers.sent


def open_inbox_in(cloud):
    cloud.topics.create("results")
    keys = Credentials(cloud.access_key_id, cloud.access_key_secret)
    smq = QueueClient(Transport(cloud.session(), FakeClock(cloud.clock.now())), cloud.endpoint, lambda: keys)
    return open_inbox(smq, "results", cloud.account_id, cloud.region)


@pytest.mark.parametrize(
    ("operation", "left"), [("Unsubscribe", "subscription hpoq-wait-"), ("DeleteQueue", "queue hpoq-wait-")]
)
def test_what_cannot_be_removed_is_named(capsys, operation, left):
    """Otherwise a queue that nobody knows of would receive every later event."""
    with alilocal.LocalCloud() as cloud:
        cloud.faults.add("status", service="smq", operation=operation, status=403, code="AccessDenied")
        with open_inbox_in(cloud):
            pass
    said = " ".join(capsys.readouterr().err.split())
    assert f"The {left}" in said
    assert "AccessDenied" in said


@pytest.mark.parametrize(
    ("operation", "code"), [("Unsubscribe", "SubscriptionNotExist"), ("DeleteQueue", "QueueNotExist")]
)
def test_what_somebody_else_removed_is_not_named(capsys, operation, code):
    """A clean-up by another program needs no attention."""
    with alilocal.LocalCloud() as cloud:
        cloud.faults.add("status", service="smq", operation=operation, status=404, code=code)
        with open_inbox_in(cloud):
            pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("is_refused_first", [False, True])
def test_different_requests_of_one_key_have_different_answers(is_refused_first):
    """A created event does not answer another request of its key, which is refused."""
    answers = Answers([SentRequest("M1", "k"), SentRequest("M2", "k"), SentRequest("M3", "k")], [A, B, A])
    events = [event("created", "M1", name="a", experimentId="e"), conflict(B, "M2")]
    for one in reversed(events) if is_refused_first else events:
        answers.add(one)
    assert outcomes(answers) == ["created", "rejected", "created"]


def test_a_refusal_that_is_published_again_answers_the_repeated_send():
    """It has the id of the first refused message, and its own id derives from the request."""
    answers = Answers([SentRequest("M3", "k")], [B])
    answers.add(conflict(A, "M1"))
    assert outcomes(answers) == [""]
    answers.add(conflict(B, "M2"))
    assert outcomes(answers) == ["rejected"]


def test_an_event_of_an_earlier_message_answers_only_its_own_request():
    """The name shows which request it is about; if the names are the same, a refusal shows it."""
    answers = Answers([SentRequest("M3", "k")], [B])
    answers.add(event("created", "M1", name="a", experimentId="e"))
    assert outcomes(answers) == [""]
    answers = Answers([SentRequest("M3", "k"), SentRequest("M4", "k")], [A, OTHER_A])
    answers.add(event("created", "M1", name="a", experimentId="e"))
    assert outcomes(answers) == ["", ""]
    answers.add(conflict(OTHER_A, "M4"))
    assert outcomes(answers) == ["created", "rejected"]


def test_a_result_belongs_to_the_request_that_created_its_experiment():
    """The finished event of another request's experiment is not the result of a refused one."""
    answers = Answers([SentRequest("M1", "k"), SentRequest("M2", "k")], [A, B], to_end=True)
    answers.add(event("finished", "M1", experimentId="e"))
    answers.add(event("created", "M1", name="a", experimentId="e"))
    answers.add(conflict(B, "M2"))
    answers.add(event("finished", "M1", experimentId="e"))
    assert (list(answers.results), answers.is_complete) == ([0], True)


def test_a_dry_run_is_answered_by_its_own_event_only():
    """The created event of the same request does not answer it."""
    dry = A.model_copy(update={"dry_run": True})
    answers = Answers([SentRequest("M1", "k"), SentRequest("M2", "k")], [dry, A])
    answers.add(event("created", "M2", name="a"))
    assert outcomes(answers) == ["", "created"]
    answers.add(event("accepted", "M1", name="a"))
    assert outcomes(answers) == ["accepted", "created"]
