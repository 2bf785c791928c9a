"""An experiment is followed to its end by watch messages, and its result is published once."""

import json
from base64 import b64decode
from dataclasses import replace

import pytest
import structlog

from alilocal.core.http import Response
from fcruntime.triggers import KINDS
from hpoq.contract.identity import PRODUCER, WATCH, derive_event_id, derive_key
from hpoq.errors import StoreUnavailable
from hpoq.processing.envelope import Envelope, seal, unseal
from hpoq.processing.ledger import Ledger
from hpoq.processing.watchorder import GuardLimits, WatchOrder, decode_order, encode_order, identify_watch
from hpoq.testing import smq_event, smq_stream_event
from hpoqctl.watchview import find_watching
from support.budget import CI_BUDGET
from support.request import make_document, request
from support.world import WatchedWorld

GET, LIST, STOP = "GetHpoExperiment", "ListHpoTrials", "StopHpoExperiment"
KEY = derive_key(PRODUCER, "k")
DAY = 86_400.0


@pytest.fixture
def world():
    with WatchedWorld(seed=1) as running:
        yield running


def guarded(mode="maximize", **guard):
    """Return a request with a guard; without `mode` no direction is stated."""
    document = make_document("k")
    run = document["experiment"]["HpoExperimentConfiguration"]["yml_config"]
    run["tuner"]["class_args"] = {"optimize_mode": mode} if mode else {}
    run.pop("assessor", None)
    return json.dumps({**document, "guard": guard} if guard else document)


def create(world, body=None, message_id="M1"):
    """Deliver a request, and return the experiment that it made."""
    (row,) = world.deliver(smq_event(message_id, body or request("k")))
    assert row["outcome"] == "created", row
    return world.cloud.experiments[-1]


def metric(trial):
    return trial.metrics[-1]["default"]


def seal_watch(order, **members):
    """Return the watch message for `order`, under the key that derives from it."""
    key = derive_key(WATCH, order.identity)
    return seal(Envelope(WATCH, order.identity, key, encode_order(order).encode(), **members)).decode()


def watch_record(world, made):
    return world.store.get(derive_key(WATCH, identify_watch(KEY, made.experiment_id)))


def test_the_result_is_published(world):
    """The event has the best trial, the trials by status, the times and the identity of the request."""
    made = create(world)
    assert world.follow()[-1] == "finished"
    assert world.event_types == ["created", "finished"]
    (event,) = world.events[1:]
    data = event["data"]
    best = max(made.trials, key=metric)
    assert event["id"] == derive_event_id(KEY, "finished")
    assert event["subject"] == data["experimentId"] == made.experiment_id
    assert (data["idempotencyKey"], data["producerKey"], data["messageId"]) == (KEY, "k", "M1")
    assert data["status"] == "FINISHED"
    assert data["bestTrial"] == {
        "trialId": best.trial_id,
        "metric": metric(best),
        "hyperparameters": best.hyperparameters,
    }
    assert data["trials"] == {"SUCCEEDED": len(made.trials)}
    assert data["startedAt"] < data["endedAt"]
    assert "warnings" not in data
    assert world.broken(finished=True) == []


def test_the_warnings_of_the_request_are_not_repeated(world):
    """`created` has the warnings of the request; those of `finished` are about the result alone."""
    create(world, guarded(None))
    world.follow()
    created, finished = world.events
    assert "best-trial.ambiguous" not in {one["rule"] for one in created["data"]["warnings"]}
    assert [one["rule"] for one in finished["data"]["warnings"]] == ["best-trial.ambiguous"]


def test_without_a_watch_queue_nothing_is_followed(world):
    """The setting alone decides: without it no watch message is sent."""
    world.settings = {}
    create(world)
    assert world.watch_queue.messages == []


def test_without_a_direction_both_best_trials_are_given(world):
    """Where neither tuner nor assessor states a direction, the event has both trials and a warning."""
    made = create(world, guarded(None))
    world.follow()
    (data,) = world.results
    assert "bestTrial" not in data
    assert {mode: trial["trialId"] for mode, trial in data["bestTrialByMode"].items()} == {
        "maximize": max(made.trials, key=metric).trial_id,
        "minimize": min(made.trials, key=metric).trial_id,
    }
    assert [warning["rule"] for warning in data["warnings"]] == ["best-trial.ambiguous"]


def test_a_deleted_experiment_ends_as_deleted(world):
    """A deleted experiment ends with DELETED and the last status that was seen, once it was missing twice."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    world.poll()
    made.deleted = True
    assert world.follow() == ["watching", "finished"]
    (data,) = world.results
    assert (data["status"], data["lastStatus"], data["trials"]) == ("DELETED", "RUNNING", {})


def test_an_experiment_is_not_deleted_because_the_user_is_wrong(world):
    """The service has one code for a missing experiment and a wrong user; only who may list can tell."""
    made = create(world)
    made.deleted = True
    world.cloud.faults.add(
        service="paiautoml",
        operation="ListHpoExperiments",
        kind="status",
        status=403,
        code="INVALID_USER_OR_EXP",
        when="before",
    )
    world.later(60)
    with structlog.testing.capture_logs() as lines:
        assert world.poll() == ["watching"]
    failed = [line["error"] for line in lines if line["event"] == "watch.look-failed"]
    assert any("ListHpoExperiments" in error for error in failed)
    assert world.follow() == ["watching", "finished"]
    assert [data["status"] for data in world.results] == ["DELETED"]


@pytest.mark.parametrize("operation", [GET, "ListHpoTrials"])
def test_an_experiment_that_is_missed_once_keeps_its_result(world, operation):
    """The service may fail to find an experiment that exists, for example in one of its replicas."""
    create(world)
    world.cloud.faults.add(
        "status", service="paiautoml", operation=operation, status=400, code="INVALID_USER_OR_EXP"
    )
    assert world.follow() == ["watching", "finished"]
    assert [data["status"] for data in world.results] == ["FINISHED"]


def test_an_experiment_that_never_ends_is_given_up(world):
    """After HPOQ_WATCH_MAX_DAYS the event says UNKNOWN with the last status seen."""
    made = create(world)
    made.fail("RUNNING")
    world.settings["HPOQ_WATCH_MAX_DAYS"] = "1"
    world.follow(1800)
    (data,) = world.results
    assert (data["status"], data["lastStatus"]) == ("UNKNOWN", "RUNNING")
    assert DAY <= world.clock.now() - made.gmt_create_time <= DAY + 3600


@pytest.mark.one_of("operation", budget=CI_BUDGET)
@pytest.mark.parametrize("operation", [GET, LIST])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 400, "code": "Throttling.User", "when": "before"},
        {"kind": "status", "status": 403, "code": "Forbidden.RAM", "when": "before"},
        {"kind": "status", "status": 400, "code": "INVALID_INPUT_PARAMS", "when": "before"},
        {"kind": "status", "status": 404, "code": "SomethingElse", "when": "before"},
        {"kind": "status", "status": 503, "when": "before"},
        {"kind": "foreign", "status": 404, "when": "before"},
        {"kind": "truncate", "when": "after"},
        {"kind": "reset", "when": "after"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('code') or fault.get('status')}",
)
def test_a_failed_call_never_ends_the_following(world, operation, fault):
    """Whatever a look meets, the experiment is looked at again, and its result is published in the end."""
    create(world)
    world.cloud.faults.add(service="paiautoml", operation=operation, times=12, **fault)
    world.later(60)
    (row,) = world.deliver(smq_stream_event(world.take()))
    assert (row["outcome"], row["error"] is None) == ("watching", False)
    outcomes = world.follow(600)
    assert outcomes[-1] == "finished"
    assert set(outcomes[:-1]) == {"watching"}
    assert [data["status"] for data in world.results] == ["FINISHED"]


def test_only_the_greatest_age_bounds_failures(world):
    """If nothing is ever answered, the event says UNKNOWN at the greatest age."""
    create(world)
    world.settings["HPOQ_WATCH_MAX_DAYS"] = "1"
    world.cloud.faults.add(
        service="paiautoml", operation=GET, kind="status", status=503, when="before", times=None
    )
    world.follow(1800)
    assert [(data["status"], data.get("lastStatus")) for data in world.results] == [("UNKNOWN", None)]


def test_one_look_per_experiment_and_event(world):
    """Copies of one watch message in one event cost one call, and one of them goes on."""
    create(world)
    world.later(60)
    (body,) = world.take().values()
    rows = world.deliver(smq_stream_event({"A": body, "B": body, "C": body}))
    assert sorted(row["outcome"] for row in rows) == ["duplicate", "duplicate", "finished"]
    assert world.calls(GET) == 1


def test_copies_never_multiply_chains(world):
    """Each copy of an earlier watch message is dropped, so that one message stays in the queue."""
    made = create(world)
    made.fail("RUNNING")
    seen = {}
    for _ in range(12):
        world.later(600)
        bodies = world.take()
        copies = {**seen, **bodies, **{f"{name}'": body for name, body in bodies.items()}}
        world.deliver(smq_stream_event(copies))
        seen.update(bodies)
        assert len(world.watch_queue.messages) == 1
    made.failed_as = "FINISHED"
    world.follow(600)
    world.deliver(smq_stream_event(seen))
    assert len(world.results) == 1
    assert world.watch_queue.messages == []


def test_a_redriven_watch_message_starts_no_second_chain(world):
    """An operator's redrive of an old watch message is a copy like any other."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    first = world.take()
    world.deliver(smq_stream_event(first))
    (body,) = first.values()
    again = seal(replace(unseal(b64decode(body)), redriven=True)).decode()
    (row,) = world.deliver(smq_event("R1", again))
    assert row["outcome"] == "duplicate"
    assert len(world.watch_queue.messages) == 1


def test_a_second_created_event_starts_no_second_chain(world):
    """If the record of the created event is not marked as published, the start is repeated, and merges."""
    made = create(world)
    made.fail("RUNNING")
    record = world.store.get(KEY)
    assert world.store.replace(replace(record, published_at=None), record.version)
    (row,) = world.deliver(smq_event("M1", request("k")))
    assert row["outcome"] == "created"
    assert len(world.watch_queue.messages) == 2
    world.later(60)
    assert sorted(world.poll()) == ["duplicate", "watching"]
    assert len(world.watch_queue.messages) == 1


def test_a_first_watch_message_that_cannot_be_sent_is_repeated(world):
    """The record is not marked as published before the first watch message is in its queue."""
    world.cloud.faults.add(
        service="smq", operation="SendMessage", kind="status", status=403, code="AccessDenied", when="before"
    )
    (row,) = world.deliver(smq_event("M1", request("k")))
    assert row["outcome"] == "retry"
    assert world.store.get(KEY).published_at is None
    (row,) = world.deliver(smq_event("M1", request("k")))
    assert row["outcome"] == "created"
    assert world.follow()[-1] == "finished"


def test_an_experiment_is_followed_once_it_is_announced(world):
    """Each delivery that cannot publish the event would otherwise begin another chain."""
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=3)
    assert world.deliver(smq_event("M1", request("k")))[0]["outcome"] == "retry"
    assert world.watch_queue.messages == []
    assert world.deliver(smq_event("M1", request("k")))[0]["outcome"] == "created"
    assert len(world.watch_queue.messages) == 1


@pytest.mark.parametrize("policy", ["raise", "requeue"])
def test_a_watch_message_that_cannot_be_sent_on_is_retried(world, policy):
    """If the next watch message cannot be sent, the present one comes back, and nothing is lost."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    bodies = world.take()
    world.cloud.faults.add(
        service="smq", operation="SendMessage", kind="status", status=403, code="AccessDenied", when="before"
    )
    (row,) = world.deliver(smq_stream_event(bodies), HPOQ_BATCH_POLICY=policy)
    assert (row["outcome"], row["experimentId"]) == ("retry", made.experiment_id)
    if policy == "raise":
        (row,) = world.deliver(smq_stream_event(bodies))
        assert row["outcome"] == "watching"
    assert len(world.watch_queue.messages) == 1
    made.failed_as = "FINISHED"
    world.later(600)
    assert world.poll() == ["finished"]


def test_a_result_that_cannot_be_published_is_published_later(world):
    """The stored result is published by the next delivery of its watch message, under the same id."""
    create(world)
    world.later(60)
    bodies = world.take()
    world.cloud.faults.add(service="smq", operation="PublishMessage", kind="reset", when="after", times=3)
    (row,) = world.deliver(smq_stream_event(bodies))
    assert row["outcome"] == "retry"
    (row,) = world.deliver(smq_stream_event(bodies))
    assert row["outcome"] == "finished"
    (row,) = world.deliver(smq_stream_event(bodies))
    assert row["outcome"] == "duplicate"
    assert world.calls(GET) == 1
    assert len({event["id"] for event in world.events if "finished" in event["type"]}) == 1


def test_a_queue_that_does_not_answer_for_a_while_needs_no_operator(world):
    """The message comes back, and the log says why."""
    world.cloud.faults.add(service="smq", operation="SendMessage", kind="status", status=503, times=3)
    with structlog.testing.capture_logs() as lines:
        (row,) = world.deliver(smq_event("M1", request("k")))
    assert row["outcome"] == "retry"
    events = [line["event"] for line in lines]
    assert ("watch.send-failed" in events, "operator.needed" in events) == (True, False)


def test_an_experiment_that_can_no_longer_be_followed_is_still_announced(world):
    """If the setting was removed before the first watch message was sent, the log says that there is none."""
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=3)
    assert world.deliver(smq_event("M1", request("k")))[0]["outcome"] == "retry"
    with structlog.testing.capture_logs() as lines:
        (row,) = world.deliver(smq_event("M1", request("k")), HPOQ_WATCH_QUEUE="")
    assert row["outcome"] == "created"
    missed = [line["experiment_id"] for line in lines if line["event"] == "watch.not-started"]
    assert missed == [row["experimentId"]]


def test_the_guard_of_an_experiment_is_kept_while_no_queue_is_set(world):
    """The message waits until the setting is back; then the experiment is followed and stopped."""
    world.settings["HPOQ_WATCH_MIN_SECONDS"] = "20"
    event = smq_event("M1", guarded(maxHours=0.01))
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=3)
    assert world.deliver(event)[0]["outcome"] == "retry"
    (row,) = world.deliver(event, HPOQ_WATCH_QUEUE="")
    assert (row["outcome"], row["error"]["code"]) == ("retry", "WatchQueueMissing")
    assert world.deliver(event)[0]["outcome"] == "created"
    world.follow(20)
    (data,) = world.results
    assert (data["stoppedBy"], data["limit"]) == ("guard", "maxHours")


def test_the_attempts_of_a_result_are_the_looks_that_it_took(world):
    made = create(world)
    made.fail("RUNNING")
    for _ in range(2):
        world.later(600)
        assert world.poll() == ["watching"]
    made.fail("FINISHED")
    world.later(600)
    assert world.poll() == ["finished"]
    (data,) = world.results
    assert data["attempts"] == 3


def test_a_repeated_send_gets_no_result_that_is_not_out(world):
    """A result that could not be published yet is still to be announced by its own watch message."""
    made = create(world)
    made.fail("FINISHED")
    world.later(60)
    bodies = world.take()
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=3)
    assert [row["outcome"] for row in world.deliver(smq_stream_event(bodies))] == ["retry"]
    world.deliver(smq_event("M2", request("k")))
    assert world.event_types == ["created", "created"]


@pytest.mark.parametrize("trigger", KINDS)
def test_a_watch_message_is_known_by_its_envelope(world, trigger):
    """Which queue brings a watch message makes no difference, and a pinned source of requests does not refuse it."""
    create(world)
    world.later(60)
    (body,) = world.take().values()
    (row,) = world.deliver(smq_event("W1", body, queue="hpo-requests"), HPOQ_TRIGGER=trigger)
    assert row["outcome"] == "finished"


def test_without_its_queue_a_watch_message_waits(world):
    """If the setting was removed, a watch message that must go on is retried, and one that finds the end is not."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    bodies = world.take()
    with structlog.testing.capture_logs() as lines:
        (row,) = world.deliver(smq_stream_event(bodies), HPOQ_WATCH_QUEUE="")
    assert (row["outcome"], row["error"]["code"]) == ("retry", "WatchQueueMissing")
    assert [line["code"] for line in lines if line["event"] == "operator.needed"] == ["WatchQueueMissing"]
    made.failed_as = "FINISHED"
    (row,) = world.deliver(smq_stream_event(bodies), HPOQ_WATCH_QUEUE="")
    assert row["outcome"] == "finished"


def test_an_unreadable_watch_message_is_dead_lettered(world):
    """Unreadable content is rejected under a key of its own and kept; the chain goes on."""
    create(world)
    world.later(60)
    (body,) = world.take().values()
    spoiled = seal(replace(unseal(b64decode(body)), body=b'{"watch":{}}')).decode()
    settings = {"HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    (row,) = world.deliver(smq_event("W1", spoiled), **settings)
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "WatchInvalid")
    assert len(world.cloud.queues.get("hpo-requests-dead").messages) == 1
    (row,) = world.deliver(smq_event("W2", body))
    assert row["outcome"] == "finished"


def test_a_look_belongs_to_the_trace_of_its_request(world):
    """Each call about an experiment is found by the trace that its request named."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen = []
    world.on_request = lambda request: seen.append(
        (request.header("x-acs-action"), request.header("traceparent"))
    )
    world.deliver(smq_event("M1", json.dumps({**json.loads(request("k")), "traceparent": parent})))
    world.later(60)
    world.poll()
    assert ("GetHpoExperiment", parent) in seen


def test_the_record_shows_the_last_look(world):
    """The record of the watch has the service's last status and the time of the next look."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    world.poll()
    watch = json.loads(watch_record(world, made).watch_order)["watch"]
    assert watch["lastStatus"] == "RUNNING"
    assert watch["nextAt"] == pytest.approx(world.clock.now() + 60, abs=1)


@pytest.mark.parametrize(
    ("limit", "guard"),
    [
        ("maxHours", {"maxHours": 0.01}),
        ("maxFailedTrials", {"maxFailedTrials": 1}),
        ("targetMetric", {"targetMetric": -1e9}),
    ],
)
def test_a_guard_stops_the_experiment(world, limit, guard):
    """The limit that is reached stops the experiment, and the result says which one it was."""
    world.settings["HPOQ_WATCH_MIN_SECONDS"] = "20"
    made = create(world, guarded(**guard))
    world.later(20)
    made.fail_trial(next(trial.sequence for trial in made.trials if trial.status == "RUNNING"))
    with structlog.testing.capture_logs() as lines:
        assert world.follow(20)[-1] == "finished"
    assert [line["limit"] for line in lines if line["event"] == "guard.stopped"] == [limit]
    (data,) = world.results
    assert (data["status"], data["stoppedBy"], data["limit"]) == ("USER_CANCELED", "guard", limit)
    assert world.calls(STOP) == 1


def test_a_guards_stop_that_is_refused_when_repeated_is_named(world):
    """The answer to the first call was lost, and the service refuses to stop what is being stopped."""
    world.settings["HPOQ_WATCH_MIN_SECONDS"] = "20"
    create(world, guarded(maxHours=0.01))
    world.cloud.faults.add(service="paiautoml", operation=STOP, kind="reset", when="after")
    world.cloud.faults.add(
        service="paiautoml", operation=STOP, kind="status", status=400, code="INVALID_INPUT_PARAMS"
    )
    assert world.follow(20)[-1] == "finished"
    (data,) = world.results
    assert (data["status"], data["stoppedBy"]) == ("USER_CANCELED", "guard")


@pytest.mark.parametrize(
    "fault", [{"status": 400, "code": "Throttling.User"}, {"status": 503}], ids=["throttled", "failed"]
)
def test_a_guards_stop_that_failed_is_tried_again_soon(world, fault):
    """The experiment runs on meanwhile, and may be so old that it is looked at twice an hour only."""
    made = create(world, guarded(maxHours=10))
    made.fail("RUNNING")
    world.later(10 * 3600)
    world.cloud.faults.add(service="paiautoml", operation=STOP, kind="status", times=3, **fault)
    assert world.poll() == ["watching"]
    world.later(60)
    assert world.poll() == ["watching"]
    assert made.status == "TERMINATING"


def test_a_guard_that_is_not_reached_stops_nothing(world):
    """An experiment that keeps within its guard ends by itself."""
    create(world, guarded(maxHours=1, maxFailedTrials=1, targetMetric=1e9))
    world.follow()
    (data,) = world.results
    assert data["status"] == "FINISHED"
    assert "stoppedBy" not in data
    assert world.calls(STOP) == 0


def test_the_hours_of_a_guard_are_checked_in_time(world):
    """A look is planned at the end of the hours, however long the usual delay is."""
    made = create(world, guarded(maxHours=5))
    made.fail("RUNNING")
    for _ in range(5 * 360 - 1):
        world.later(10)
        world.poll()
    assert world.calls(STOP) == 0
    world.later(30)
    world.poll()
    assert world.calls(STOP) == 1


def test_a_guard_without_a_watch_queue_is_refused(world):
    """A limit that nothing checks is refused, with the setting that is missing; the key stays free."""
    world.settings = {}
    (row,) = world.deliver(smq_event("M1", guarded(maxHours=1)))
    assert row["outcome"] == "rejected"
    (violation,) = row["error"]["violations"]
    assert (violation["pointer"], violation["rule"]) == ("/guard", "guard.unwatched")
    assert "HPOQ_WATCH_QUEUE" in violation["message"]
    assert world.store.get(KEY) is None


def test_a_guard_is_part_of_the_request(world):
    """A request that is repeated with another guard is a conflict, so that no guard is silently ignored."""
    create(world, guarded(maxHours=1))
    (row,) = world.deliver(smq_event("M2", guarded(maxHours=2)))
    assert row["error"]["code"] == "IdempotencyConflict"


def test_the_guard_survives_the_instance_that_created_the_experiment(world):
    """A guard is in the record from the claim on: a delivery that only adopts the experiment knows it too."""
    world.fail_create("reset", when="after", times=None)
    world.cloud.behaviour.list_lag_seconds = 5
    (row,) = world.deliver(smq_event("M1", guarded(maxHours=0.01)))
    assert row["outcome"] == "retry"
    world.cloud.faults.clear()
    world.later(600)
    (row,) = world.deliver(smq_event("M2", guarded(maxHours=2)))
    assert row["error"]["code"] == "IdempotencyConflict"
    (made,) = world.cloud.experiments
    made.gmt_create_time = world.clock.now()
    world.later(15)
    made.fail("RUNNING")
    world.later(45)
    world.poll()
    assert world.calls(STOP) == 1


def test_a_repeated_send_gets_the_result_too(world):
    """Who sends a request again after its experiment has ended gets both stored events, each under its id."""
    create(world)
    (row,) = world.deliver(smq_event("M2", request("k")))
    assert (row["outcome"], world.event_types) == ("duplicate", ["created", "created"])
    world.follow()
    (row,) = world.deliver(smq_event("M3", request("k")))
    assert row["outcome"] == "duplicate"
    assert world.event_types == ["created", "created", "finished", "created", "finished"]
    assert world.broken(finished=True) == []


@pytest.mark.parametrize("days", [30, 40])
def test_a_send_after_the_retention_gets_the_result_too(world, days):
    """The key is announced again, whether the record of the result has expired with it or not."""
    made = create(world)
    made.fail("RUNNING")
    world.later(2 * 86_400)
    made.fail("FINISHED")
    world.follow()
    expires_at = world.store.get(derive_key(PRODUCER, "k")).expires_at
    world.later(expires_at - world.clock.now() + (days - 30) * 86_400)
    (row,) = world.deliver(smq_event("M2", request("k")))
    assert (row["outcome"], row["experimentId"]) == ("created", made.experiment_id)
    world.follow()
    assert world.event_types == ["created", "finished", "created", "finished"]
    assert len({event["id"] for event in world.events}) == 2
    assert world.broken(finished=True) == []


def test_a_watch_message_that_comes_after_the_retention_changes_no_result(world):
    """Its experiment may be deleted by then: consumers would get another result under the same id."""
    made = create(world)
    world.later(60)
    copy = world.take()
    world.deliver(smq_stream_event(copy))
    world.follow()
    world.later(40 * DAY)
    made.deleted = True
    (row,) = world.deliver(smq_stream_event(copy))
    assert (row["outcome"], world.event_types) == ("duplicate", ["created", "finished"])


@pytest.mark.parametrize("failing", [1, 2])
def test_a_repeated_result_that_fails_comes_back(world, failing):
    """The repeated send is answered by both events, or it comes back."""
    create(world)
    world.follow()
    world.cloud.faults.add(
        "status", service="smq", operation="PublishMessage", status=503, nth=failing, times=3
    )
    (row,) = world.deliver(smq_event("M2", request("k")))
    assert row["outcome"] == "retry"
    (row,) = world.deliver(smq_event("M2", request("k")))
    assert (row["outcome"], world.event_types[-1]) == ("duplicate", "finished")


def test_two_copies_of_a_watch_message_cost_one_look(world):
    """If a crash left two watch messages with one number, one call serves both in one event, and they merge."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    first = world.take()
    world.deliver(smq_stream_event(first))
    record = watch_record(world, made)
    assert world.store.replace(replace(record, sequence=0), record.version)
    world.later(60)
    looks = world.calls(GET)
    world.deliver(smq_stream_event({**first, **world.take()}))
    assert world.calls(GET) == looks + 1
    world.later(60)
    assert sorted(world.poll()) == ["duplicate", "watching"]


def test_an_end_that_was_not_a_stop_names_nobody(world):
    """A stop that came too late did not stop the experiment, although it was noted."""
    made = create(world)
    made.fail("RUNNING")
    world.cloud.faults.add(
        service="paiautoml", operation=STOP, kind="status", status=503, when="before", times=None
    )
    stop = json.dumps({"stop": {"idempotencyKey": "k"}})
    (row,) = world.deliver(smq_event("S1", stop))
    assert row["outcome"] == "retry"
    made.failed_as = "FAILED"
    (row,) = world.deliver(smq_event("S1", stop))
    assert row["outcome"] == "stopping"
    world.follow()
    assert [(data["status"], data.get("stoppedBy")) for data in world.results] == [("FAILED", None)]


def test_a_watch_message_that_was_sent_on_is_acknowledged(world, monkeypatch):
    """If the number of the next message cannot be recorded, that message takes over; nothing comes twice."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    save = Ledger.save

    def fail_after_the_send(ledger, record, expected):
        if record.sequence:
            raise StoreUnavailable("lost")
        return save(ledger, record, expected)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", fail_after_the_send)
        with structlog.testing.capture_logs() as lines:
            assert world.poll() == ["watching"]
    assert [line["error"] for line in lines if line["event"] == "requeue.unrecorded"] == ["lost"]
    assert len(world.watch_queue.messages) == 1
    made.failed_as = "FINISHED"
    # Its claim was not released, and ends with its lease.
    world.later(100)
    assert world.poll() == ["finished"]


def test_a_forged_watch_message_is_rejected(world):
    """A watch message for an experiment that its request did not create announces nothing, and stops nothing."""
    create(world)
    other = world.cloud.experiments[-1]
    world.deliver(smq_event("M2", request("other")))
    mine = derive_key(PRODUCER, "other")
    order = WatchOrder(mine, other.experiment_id, 0.0, guard=GuardLimits(max_hours=0.001))
    key, body = derive_key(WATCH, order.identity), seal_watch(order)
    settings = {"HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    rows = [world.deliver(smq_event("F1", body), **settings)[0] for _ in range(2)]
    assert [row["outcome"] for row in rows] == ["rejected", "duplicate"]
    assert rows[0]["key"] == key
    assert rows[0]["error"]["code"] == "WatchInvalid"
    assert world.event_types == ["created", "created", "rejected"]
    assert world.calls(GET) == world.calls(STOP) == 0
    assert len(world.cloud.queues.get("hpo-requests-dead").messages) == 1
    world.follow()
    assert len(world.results) == 2


def test_a_watch_message_under_the_key_of_a_request_leaves_the_request_alone(world):
    """The key of a watch message derives from what it follows, also if all else in the message is genuine."""
    create(world)
    record = world.store.get(KEY)
    order = decode_order(record.watch_order)
    forged = seal(Envelope(WATCH, order.identity, KEY, encode_order(order).encode(), sequence=9))
    (row,) = world.deliver(smq_event("F1", forged.decode()))
    assert row["outcome"] == "retry"
    assert world.store.get(KEY) == record


def test_a_chain_goes_on_after_its_key_was_used_again(world):
    """Only the first look asks whose experiment it is: a key is free again after its retention."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    assert world.poll() == ["watching"]
    made.fail("FINISHED")
    world.overwrite(replace(world.store.get(KEY), experiment_id="another"))
    world.follow()
    assert [result["experimentId"] for result in world.results] == [made.experiment_id]


def watch_for(world, seconds, step=1800.0):
    """Advance the clock in steps, and deliver the watch messages that are due."""
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        world.later(step)
        world.poll(HPOQ_BATCH_POLICY="requeue")


def fail_sends(world):
    """Make the next send to a queue fail, with all its repetitions."""
    world.cloud.faults.add(service="smq", operation="SendMessage", kind="status", status=500, times=3)


def answer_calls(world, operation, answer):
    """Answer all calls of `operation` with the object that `answer` makes of the request."""
    handle = world.cloud.handle

    def handle_others(one):
        if one.header("x-acs-action") != operation:
            return handle(one)
        return Response(200, (("Content-Type", "application/json"),), json.dumps(answer(one)).encode())

    world.cloud.handle = handle_others


def test_one_failed_send_delays_the_next_look_little(world, monkeypatch):
    """The looks that went well do not count as failures, which would delay the next one by an hour."""
    made = create(world)
    monkeypatch.setattr(type(made), "status", "RUNNING")
    watch_for(world, 900, step=60)
    while not world.watch_queue.shows_any():
        world.later(10)
    fail_sends(world)
    assert world.poll(HPOQ_BATCH_POLICY="requeue") == ["retry"]
    world.later(60)
    assert world.poll(HPOQ_BATCH_POLICY="requeue") == ["watching"]


def test_a_chain_of_weeks_survives_failures(world, monkeypatch):
    """How long an experiment was followed is not how long its watch message was tried."""
    settings = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    made = create(world)
    monkeypatch.setattr(type(made), "status", "RUNNING")
    watch_for(world, 7 * DAY, step=4 * 3600)
    while not world.watch_queue.shows_any():
        world.later(60)
    fail_sends(world)
    assert world.poll(**settings) == ["retry"]

    def fail(*_):
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "insert", fail)
        world.later(60)
        assert world.poll(**settings) == ["retry"]
    assert not world.waiting("hpo-requests-dead")
    world.later(60)
    assert world.poll(**settings) == ["watching"]


def test_hours_are_kept_while_trials_cannot_be_listed(world, monkeypatch):
    """A limit that needs no listing of trials stops the experiment, whatever the listing answers."""
    made = create(world, guarded(maxHours=0.01, maxFailedTrials=3))
    monkeypatch.setattr(type(made), "status", "RUNNING")
    answer = {"RequestId": "R", "ExperimentId": made.experiment_id, "Status": "RUNNING"}
    answer_calls(world, GET, lambda _: answer)
    world.cloud.faults.add(service="paiautoml", operation=LIST, kind="status", status=403, times=None)
    world.later(61)
    assert world.poll() == ["watching"]
    assert world.calls(STOP) == 1


def forge(experiment_id="e", key=KEY, created_at=1.8e9):
    """Return a watch message as anybody who may send to the queue can write it."""
    return seal_watch(WatchOrder(key, experiment_id, created_at))


@pytest.mark.parametrize(
    "body",
    [forge(""), forge(".."), forge(key="k"), forge(created_at=float("nan")), forge(created_at=float("inf"))],
    ids=["no id", "no id for a path", "no key", "not a number", "never"],
)
def test_a_watch_message_that_cannot_be_followed_is_rejected(world, body):
    """A watch message that cannot be followed is rejected instead of coming back for ever."""
    (row,) = world.deliver(smq_event("F1", body))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "WatchInvalid")


def deliver_watch(world, order, settings=None, message_id="F1", **members):
    """Deliver a watch message for `order`, as anybody who may send to the queue can write it."""
    (row,) = world.deliver(smq_event(message_id, seal_watch(order, **members)), **settings or {})
    return row


def test_a_watch_message_that_comes_before_its_request_announces_nothing(world):
    """Whoever knows a producer's key cannot use up the result of its experiment; the content is kept."""
    settings = {"HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    row = deliver_watch(world, WatchOrder(KEY, "nosuch1", 1.0), settings)
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "WatchInvalid")
    assert len(world.cloud.queues.get("hpo-requests-dead").messages) == 1
    create(world)
    world.follow()
    assert world.event_types == ["rejected", "created", "finished"]
    assert [result["status"] for result in world.results] == ["FINISHED"]


@pytest.mark.parametrize("topic", ["works", "fails"])
def test_a_rejected_watch_message_is_followed_once_its_request_has_the_experiment(world, topic):
    """A watch message that came too early must not end the chain that the request starts later."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    first = world.take()
    record = world.store.get(KEY)
    world.overwrite(replace(record, watch_order=None, experiment_id=None))
    if topic == "fails":
        world.cloud.faults.add(service="smq", operation="PublishMessage", kind="status", status=500, times=3)
    early = deliver_watch(world, WatchOrder(KEY, made.experiment_id, 1.0), sequence=9)
    assert early["outcome"] == ("rejected" if topic == "works" else "retry")
    world.overwrite(record)
    (row,) = world.deliver(smq_stream_event(first))
    assert row["outcome"] == "watching"
    made.fail("FINISHED")
    world.follow()
    assert [result["status"] for result in world.results] == ["FINISHED"]


def test_a_watch_message_that_is_redriven_too_early_is_kept_again(world):
    """The record of its request is lost and not restored yet: the message may be the last one of its chain."""
    made = create(world)
    made.fail("RUNNING")
    world.later(60)
    world.take()
    record = world.store._rows.pop(KEY)
    settings = {"HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    dead = world.cloud.queues.get("hpo-requests-dead")
    order = WatchOrder(KEY, made.experiment_id, 1.0)
    assert deliver_watch(world, order, settings)["outcome"] == "rejected"
    for copies in (2, 3):
        redrive = f"R{copies}"
        assert deliver_watch(world, order, settings, redrive, redriven=True)["outcome"] == "rejected"
        assert deliver_watch(world, order, settings, redrive, redriven=True)["outcome"] == "duplicate"
        assert len(dead.messages) == copies, "each redrive once, however often it is delivered"
    world.store._rows[KEY] = record
    assert deliver_watch(world, order, settings, "R4", redriven=True)["outcome"] == "watching"


def test_a_watch_message_says_nothing_but_what_is_followed(world, monkeypatch):
    """Its age, names, guard and trace are those of the request's record, at the first look and at later ones."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = create(world, json.dumps({**json.loads(guarded("minimize")), "traceparent": trace}))
    forged = WatchOrder(
        KEY,
        made.experiment_id,
        1.0,
        mode="maximize",
        guard=GuardLimits(max_hours=0.001),
        message_id="M666",
        producer_key="somebody-else",
        name="fake",
        workspace_id="w666",
        traceparent=trace.replace("0af", "bad"),
        last_status="FAILED",
    )
    order = decode_order(world.store.get(KEY).watch_order)
    with monkeypatch.context() as patch:
        patch.setattr(type(made), "status", "RUNNING")
        for number in range(3):
            world.later(60)
            assert deliver_watch(world, forged, sequence=10 * number)["outcome"] == "watching"
            found = decode_order(watch_record(world, made).watch_order)
            assert replace(found, last_status=None, next_at=None) == replace(order, next_at=None)
            world.take()
    assert world.calls(STOP) == 0
    row = deliver_watch(world, forged, sequence=90)
    assert (row["outcome"], row["messageId"]) == ("finished", "M1")
    created, finished = world.events
    for name in ("producerKey", "messageId", "name", "workspaceId"):
        assert finished["data"].get(name) == created["data"].get(name)
    assert finished["traceparent"] == trace
    assert finished["data"]["bestTrial"]["trialId"] == min(made.trials, key=metric).trial_id
    assert watch_record(world, made).message_id == "M1"


def test_the_envelope_of_a_watch_message_does_not_age_its_experiment(world):
    """The time of the first delivery in an envelope says nothing about the experiment."""
    made = create(world)
    made.fail("RUNNING")
    row = deliver_watch(world, WatchOrder(KEY, made.experiment_id, 1.0), since=1.0)
    assert row["outcome"] == "watching"


def test_an_invalid_trace_affects_no_other_message(world):
    """An invalid trace is ignored, as in a request; the other messages of the event are processed."""
    made = create(world)
    world.take()
    body = seal_watch(WatchOrder(KEY, made.experiment_id, world.clock.now(), traceparent="x"))
    rows = world.deliver(smq_stream_event({"F1": body, "M2": request("other")}))
    assert [row["outcome"] for row in rows] == ["watching", "created"]


def test_a_deleted_watch_queue_needs_an_operator(world):
    """A watch queue that does not exist is reported to the operator at each delivery, and the request waits."""
    with structlog.testing.capture_logs() as lines:
        (row,) = world.deliver(smq_event("M1", request("k")), HPOQ_WATCH_QUEUE="deleted")
    assert (row["outcome"], row["error"]["code"]) == ("retry", "QueueNotExist")
    assert [line["code"] for line in lines if line["event"] == "operator.needed"] == ["QueueNotExist"]


@pytest.mark.parametrize("looks", [0, 1, 3])
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_watch_message_that_is_made_anew_continues_the_chain(world, looks, is_lost):
    """Whether the old one is lost or not, one chain goes on, and one result is published (I7)."""
    made = create(world)
    made.fail("RUNNING")
    for _ in range(looks):
        world.later(120)
        assert world.poll() == ["watching"]
    (message,) = world.watch_queue.messages
    if is_lost:
        world.watch_queue.purge()
    watching = find_watching(world.store.get, world.store.get(KEY), world.clock.now(), "")
    (row,) = world.deliver(smq_event("M2", seal(watching.make_message()).decode()))
    assert row["outcome"] == "watching"
    if not is_lost:
        world.deliver(smq_stream_event({message.message_id: message.body}))
    made.fail("FAILED")
    world.follow()
    assert world.event_types == ["created", "finished"]
    assert world.broken(finished=True) == []
