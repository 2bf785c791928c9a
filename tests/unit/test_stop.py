"""A stop message stops the experiment that it names, once or many times, and is answered by an event of its own."""

import json

import pytest

from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.contract.identity import PRODUCER, STOP, derive_event_id, derive_key
from hpoq.errors import StoreUnavailable
from hpoq.idempotency.record import State
from hpoq.testing import MemoryStore, smq_event
from support.request import request
from support.world import CallTimes, WatchedWorld

STOP_CALL = "StopHpoExperiment"
DEAD = {"HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}


@pytest.fixture
def world():
    with WatchedWorld(seed=1) as running:
        yield running


def stop(key=None, **target):
    """Return a stop message with a key of its own, if any."""
    return json.dumps({"stop": target} if key is None else {"stop": target, "idempotencyKey": key})


def deliver(world, body, message_id="S1", **settings):
    """Deliver one message, and return the row of its report."""
    (row,) = world.deliver(smq_event(message_id, body), **settings)
    return row


def create(world):
    """Create an experiment under the producer's key `k` that runs, and return it."""
    assert deliver(world, request("k"), "M1")["outcome"] == "created"
    world.later(10)
    return world.cloud.experiments[-1]


@pytest.mark.parametrize("name", ["idempotencyKey", "experimentId", "key of the events"])
def test_a_stop_stops_what_it_names(world, name):
    """The request's key, as its producer wrote it or as events show it, and the experiment's id name it."""
    made = create(world)
    target = {
        "idempotencyKey": {"idempotencyKey": "k"},
        "experimentId": {"experimentId": made.experiment_id},
        "key of the events": {"idempotencyKey": derive_key(PRODUCER, "k")},
    }[name]
    row = deliver(world, stop(**target))
    assert (row["outcome"], row["experimentId"]) == ("stopping", made.experiment_id)
    event = world.events[-1]
    key = derive_key("smq", "S1")
    assert event["type"] == "com.hpoq.experiment.stopping.v1"
    assert event["id"] == derive_event_id(key, "stopping")
    assert event["subject"] == event["data"]["experimentId"] == made.experiment_id
    assert event["data"]["idempotencyKey"] == key
    assert event["data"]["status"] == "TERMINATING"
    assert made.stopped_at is not None


def test_the_result_says_that_a_request_stopped_it(world):
    """The finished event that follows has the service's status, and says who stopped the experiment."""
    create(world)
    deliver(world, stop(idempotencyKey="k"))
    world.follow()
    (data,) = world.results
    assert (data["status"], data["stoppedBy"]) == ("USER_CANCELED", "request")
    assert "limit" not in data
    assert world.broken(finished=True) == []


def test_repeated_stops_are_harmless(world):
    """Each message is answered, the service is asked to stop once, and a repeat of one message is a duplicate."""
    create(world)
    rows = [deliver(world, stop(idempotencyKey="k"), name) for name in ("S1", "S1", "S2", "S3")]
    assert [row["outcome"] for row in rows] == ["stopping", "duplicate", "stopping", "stopping"]
    world.later(60)
    assert deliver(world, stop(idempotencyKey="k"), "S4")["outcome"] == "stopping"
    assert world.events[-1]["data"]["status"] == "USER_CANCELED"
    assert len({event["id"] for event in world.events}) == 5


def test_a_stop_without_a_watch_queue(world):
    """Stops work without the watch queue, too; only no result follows."""
    world.settings = {}
    create(world)
    assert deliver(world, stop(idempotencyKey="k"))["outcome"] == "stopping"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_an_experiment_that_has_ended_is_answered_with_its_status(world, status):
    """A stop that comes too late calls nothing and is answered with the status in which the experiment ended."""
    made = create(world)
    made.fail(status)
    assert deliver(world, stop(idempotencyKey="k"))["outcome"] == "stopping"
    assert world.events[-1]["data"]["status"] == status
    assert world.calls(STOP_CALL) == 0
    world.follow()
    assert "stoppedBy" not in world.results[0]


def test_a_stop_waits_for_a_request_in_progress(world):
    """While the request's experiment is not created yet, its stop is retried."""
    world.fail_create("reset", when="before")
    assert deliver(world, request("k"), "M1")["outcome"] == "retry"
    row = deliver(world, stop(idempotencyKey="k"))
    assert (row["outcome"], row["error"]["code"]) == ("retry", "RequestInProgress")
    world.later(600)
    assert deliver(world, request("k"), "M1")["outcome"] == "created"
    assert deliver(world, stop(idempotencyKey="k"))["outcome"] == "stopping"


def test_a_stop_that_waits_for_too_long_is_given_up(world):
    """A stop is bounded by its age like any message, and goes into the dead-letter queue."""
    world.fail_create("reset", when="before", times=None)
    world.cloud.behaviour.tag_filter = "refused"
    deliver(world, request("k"), "M1")
    settings = {**DEAD, "HPOQ_MAX_AGE_HOURS": "1"}
    assert deliver(world, stop(idempotencyKey="k"), **settings)["outcome"] == "retry"
    world.later(3700)
    row = deliver(world, stop(idempotencyKey="k"), **settings)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "RequestInProgress")
    assert len(world.cloud.queues.get("hpo-requests-dead").messages) == 1


def test_an_experiment_that_does_not_exist_is_rejected_once_that_is_sure(world):
    """A new experiment may not be visible yet, so the first delivery waits for the consistency margin."""
    assert deliver(world, stop(experimentId="sNoSuch"))["outcome"] == "retry"
    world.later(20)
    row = deliver(world, stop(experimentId="sNoSuch"))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "ExperimentNotFound")


def test_the_event_of_a_stop_goes_on_with_its_trace(world):
    create(world)
    traced = {**json.loads(stop(idempotencyKey="k")), "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    deliver(world, json.dumps(traced))
    assert world.events[-1]["traceparent"] == traced["traceparent"]


def test_secrets_of_a_stop_are_masked(world):
    """A producer may write an address with its password as a key."""
    create(world)
    deliver(world, stop("https://u:hunter22-hunter22@h/1", idempotencyKey="k"))
    assert world.event_types[-1] == "stopping"
    assert "hunter22-hunter22" not in json.dumps(world.events)


def test_a_stop_has_an_identity_of_its_own(world):
    """A stop may have the very key of the request that it stops; neither takes the other for itself."""
    create(world)
    row = deliver(world, stop("k", idempotencyKey="k"))
    assert (row["outcome"], row["key"]) == ("stopping", derive_key(STOP, "k"))
    assert world.store.get(derive_key(PRODUCER, "k")).state is State.COMPLETED
    assert deliver(world, request("k"), "M2")["outcome"] == "duplicate"
    assert deliver(world, stop("k", idempotencyKey="k"), "S2")["outcome"] == "duplicate"
    row = deliver(world, stop("k", experimentId="other"), "S3")
    assert row["error"]["code"] == "IdempotencyConflict"


def test_a_stop_in_a_cloud_event_is_known_by_its_source_and_id(world):
    """The CloudEvent around a stop identifies it, whichever message brings it."""
    create(world)
    event = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t"}
    body = json.dumps({**event, "data": {"stop": {"idempotencyKey": "k"}}})
    rows = [deliver(world, body, name) for name in ("S1", "S2")]
    assert [row["outcome"] for row in rows] == ["stopping", "duplicate"]
    assert rows[0]["key"] == rows[1]["key"]


@pytest.mark.parametrize("operation", ["GetHpoExperiment", STOP_CALL])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 400, "code": "Throttling.User", "when": "before"},
        {"kind": "status", "status": 403, "code": "Forbidden.RAM", "when": "before"},
        {"kind": "status", "status": 503, "when": "before"},
        {"kind": "reset", "when": "after"},
        {"kind": "foreign", "status": 404, "when": "before"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('code') or fault.get('status')}",
)
def test_a_failed_call_is_tried_again(world, operation, fault):
    """Whatever a stop meets, it is retried, and answered once the service answers."""
    made = create(world)
    world.cloud.faults.add(service="paiautoml", operation=operation, times=3, **fault)
    outcomes = [deliver(world, stop(idempotencyKey="k"))["outcome"] for _ in range(6)]
    assert set(outcomes[: outcomes.index("stopping")]) <= {"retry"}
    assert set(outcomes[outcomes.index("stopping") + 1 :]) == {"duplicate"}
    assert made.stopped_at is not None


@pytest.mark.parametrize("operation", ["GetHpoExperiment", STOP_CALL])
@pytest.mark.parametrize(
    ("timeout", "seconds"), [(300, 90 - 10), (50, 50 - 3)], ids=["the lease less the skew", "the invocation"]
)
def test_calls_that_hang_end_while_their_outcome_can_be_saved(world, operation, timeout, seconds):
    """After the lease another delivery has the key, and the last seconds of an invocation are for its records."""
    made = create(world)
    world.call_times = lambda called: CallTimes(until_answered=60.0 if called == operation else 0.0)
    began = world.clock.now()
    context = Fc3Context("r-1", FunctionInfo(timeout=timeout))
    event = smq_event("S1", stop(experimentId=made.experiment_id))
    (row,) = world.deliver(event, context, HPOQ_CALL_ATTEMPTS="10")
    assert row["outcome"] == "retry"
    assert world.calls(operation) > 1
    assert world.clock.now() - began <= seconds


def test_a_stop_whose_end_stays_unknown_is_given_up(world):
    """A stop that never gets an answer ends as failed after HPOQ_MAX_ATTEMPTS."""
    create(world)
    world.cloud.faults.add(
        service="paiautoml", operation=STOP_CALL, kind="status", status=503, when="before", times=None
    )
    outcomes = [deliver(world, stop(idempotencyKey="k"), HPOQ_MAX_ATTEMPTS="2")["outcome"] for _ in range(2)]
    assert outcomes == ["retry", "failed"]


def test_a_stop_whose_owners_died_is_given_up(world):
    """Its attempts are used up, and nobody knows what they did."""

    class Dying(MemoryStore):
        is_dying = True

        def replace(self, record, expected):
            if self.is_dying:
                raise StoreUnavailable("the owner died")
            return super().replace(record, expected)

    world.store = Dying()
    rows = [deliver(world, stop(experimentId="s1"), HPOQ_MAX_ATTEMPTS="1")]
    world.store.is_dying = False
    world.later(200)
    rows.append(deliver(world, stop(experimentId="s1"), HPOQ_MAX_ATTEMPTS="1"))
    assert [row["outcome"] for row in rows] == ["retry", "failed"]
    assert world.calls("GetHpoExperiment") == 1


def test_a_refused_stop_of_a_running_experiment_is_rejected(world):
    """If the service refuses to stop an experiment that still runs, the answer has the service's error."""
    create(world)
    world.cloud.faults.add(
        service="paiautoml",
        operation=STOP_CALL,
        kind="status",
        status=400,
        code="INVALID_INPUT_PARAMS",
        when="before",
    )
    row = deliver(world, stop(idempotencyKey="k"))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "INVALID_INPUT_PARAMS")


def test_a_stop_that_waited_for_its_request_finds_a_new_experiment(world):
    """An experiment may be new, and not visible yet, however long its stop has waited."""
    world.cloud.behaviour.list_lag_seconds = 10
    world.fail_create("status", status=429, code="Throttling.User", times=3)
    assert deliver(world, request("k"), "M1")["outcome"] == "retry"
    body = stop(idempotencyKey="k")
    assert deliver(world, body)["error"]["code"] == "RequestInProgress"
    world.later(60)
    assert deliver(world, request("k"), "M1")["outcome"] == "created"
    assert deliver(world, body)["outcome"] == "retry"
    world.later(11)
    assert deliver(world, body)["outcome"] == "stopping"


def test_a_refused_stop_is_not_named_at_a_later_end(world):
    """An experiment that somebody else stops later was not stopped by the request."""
    made = create(world)
    world.cloud.faults.add(
        service="paiautoml", operation=STOP_CALL, kind="status", status=400, code="INVALID_INPUT_PARAMS"
    )
    assert deliver(world, stop(idempotencyKey="k"))["outcome"] == "rejected"
    made.fail("SYS_CANCELED")
    world.follow()
    assert [(one["status"], "stoppedBy" in one) for one in world.results] == [("SYS_CANCELED", False)]


def test_a_stop_after_a_refused_one_is_named(world):
    """The note of a refused stop does not keep out that of the next one."""
    create(world)
    world.cloud.faults.add(
        service="paiautoml", operation=STOP_CALL, kind="status", status=400, code="INVALID_INPUT_PARAMS"
    )
    assert deliver(world, stop(idempotencyKey="k"))["outcome"] == "rejected"
    assert deliver(world, stop(idempotencyKey="k"), "S2")["outcome"] == "stopping"
    world.follow()
    assert [one["stoppedBy"] for one in world.results] == ["request"]
