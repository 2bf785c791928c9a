"""Situations in which an earlier version broke an invariant, each as small as it can be.

The crash, fault and schedule machines contain them as well; here each is named.
"""

import base64
import contextlib
import functools
import itertools
import json
import random

import pytest
import requests
import structlog
from points import Points

from alilocal.core.http import Response
from fcruntime import Fc3Context
from fcruntime.triggers import EventUnreadable
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.contract import request as contract
from hpoq.contract.identity import MOST_TAGS
from hpoq.errors import RequestRejected, StoreUnavailable, Violation
from hpoq.function import EventFailed
from hpoq.processing import lifecycle
from hpoq.processing.envelope import Envelope, seal
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from support.budget import CI_BUDGET
from support.clock import SkewedClock
from support.deployment import CONTEXT, DEAD_LETTER_QUEUE, QUEUE
from support.listings import LISTINGS, change_listing, change_rows
from support.request import make_document, request
from support.sending import intercept
from support.world import CallTimes, WatchedWorld, World, marked_experiments

CREATE = "CreateHpoExperiment"
THROTTLED = {
    "kind": "status",
    "service": "paiautoml",
    "operation": CREATE,
    "status": 400,
    "code": "Throttling.User",
    "times": None,
}


EVENT = smq_event("M1", request())


def outcomes(rows):
    return [row["outcome"] for row in rows]


def calls(world, operation=CREATE):
    return sum(entry.operation == operation for entry in world.cloud.requests)


def deliver_until_done(world, event=EVENT, *, times=60, every=60, **settings):
    """Deliver again and again until the message has ended; return its last row."""
    for _ in range(times):
        (row,) = world.deliver(event, **settings)
        if row["outcome"] != "retry":
            return row
        world.later(every)
    return row


class Queue:
    """The source queue under the policy `requeue`: what is due is delivered, some of it twice."""

    def __init__(self, world, *, twice=0.0, **settings):
        self.world = world
        self.settings = {"HPOQ_BATCH_POLICY": "requeue", **settings}
        self.queue = world.cloud.queues.get(QUEUE)
        self.random = random.Random(7)
        self.twice = twice
        self.deliveries = 0

    def send(self, *bodies):
        for body in bodies:
            self.queue.send(body)

    def run(self, seconds, step=60):
        """Deliver what becomes visible within `seconds`; return how many messages the queue ever held at once."""
        most = 0
        for _ in range(int(seconds // step)):
            most = max(most, len(self.queue.messages))
            for message in self.queue.receive(16) or ():
                event = smq_stream_event({message.message_id: message.body})
                for _ in range(2 if self.random.random() < self.twice else 1):
                    self.deliveries += 1
                    self.world.deliver(event, **self.settings)
                self.queue.delete(message.receipt_handle)
            self.world.later(step)
        return most


@pytest.mark.parametrize("body", ["html", "empty", "json"])
@pytest.mark.parametrize(
    "status", [200, 204, 302, 400, 401, 403, 404, 408, 409, 413, 425, 429, 500, 502, 504]
)
def test_an_answer_that_is_not_the_services_proves_nothing(world, status, body):
    """After such an answer to a create that was acted on, the experiment is searched for, not made again."""
    world.cloud.faults.add(
        "foreign", service="paiautoml", operation=CREATE, when="after", status=status, body=body
    )
    row = deliver_until_done(world)
    assert row["outcome"] == "created"
    assert calls(world) == 1
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


@pytest.mark.one_of("tags", budget=CI_BUDGET)
@pytest.mark.parametrize("marker", ["both", "tag", "description"])
@pytest.mark.parametrize("tags", [0, MOST_TAGS - 1, MOST_TAGS])
def test_a_marker_that_is_not_in_a_tag_is_found(world, tags, marker):
    """An empty filtered list proves nothing about an experiment whose marker is elsewhere."""
    own = [{"Key": f"k{n}", "Value": "v"} for n in range(tags)]
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="after")
    world.cloud.behaviour.list_lag_seconds = 5
    event = smq_event("M1", request(Tag=own))
    assert outcomes(world.deliver(event, HPOQ_MARKER=marker)) == ["retry"]
    for n in range(55):
        world.deliver(smq_event(f"O{n}", request(f"other-{n}")))
    world.later(200)
    assert outcomes(world.deliver(event, HPOQ_MARKER=marker)) == ["created"]
    assert len(world.cloud.experiments) == 56
    assert world.broken(finished=True) == []


@pytest.mark.one_of("before", budget=CI_BUDGET)
@pytest.mark.parametrize("before", ["description", "both"])
@pytest.mark.parametrize("after", ["tag", "both"])
def test_a_marker_setting_that_changed_is_remembered(world, before, after):
    """The search trusts the tag filter only if every create of the key carried the tag, whatever is set now."""
    world.cloud.behaviour.create_tags = "refused"
    world.cloud.faults.add(
        "reset", service="paiautoml", operation=CREATE, when="after", nth=1 if before == "description" else 2
    )
    world.cloud.behaviour.list_lag_seconds = 5
    assert outcomes(world.deliver(EVENT, HPOQ_MARKER=before)) == ["retry"]
    world.cloud.behaviour.create_tags = "accepted"
    for n in range(55):
        world.deliver(smq_event(f"O{n}", request(f"other-{n}")))
    world.later(200)
    assert outcomes(world.deliver(EVENT, HPOQ_MARKER=after)) == ["created"]
    assert len(world.cloud.experiments) == 56


@pytest.mark.parametrize("seconds", [1, 30, 120, 400, 1000])
@pytest.mark.parametrize("kind", ["late", "copy"])
@pytest.mark.parametrize("memory", [900, 1860])
def test_a_create_that_arrives_late(world, memory, kind, seconds):
    """A late copy and the create of a successor exclude each other at the gateway: same nonce, and an old date."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    world.cloud.faults.add(kind, service="paiautoml", operation=CREATE, seconds=seconds)
    row = deliver_until_done(world)
    world.later(5_000)
    assert row["outcome"] == "created"
    assert len(world.cloud.experiments) == 1
    assert outcomes(world.deliver(EVENT)) == ["duplicate"]
    assert world.broken(finished=True) == []


@pytest.mark.one_of("memory", budget=CI_BUDGET)
@pytest.mark.parametrize("throttled", ["kept", "used"])
@pytest.mark.parametrize("memory", [0, 900, 1860])
def test_a_create_that_the_gateway_took_and_the_service_did_not(world, memory, throttled):
    """The nonce stays after such an end, so the next create waits until the gateway forgets it, and then is sent."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    world.cloud.behaviour.throttled_nonce = throttled
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="forwarded")
    world.cloud.faults.add(
        "status", service="paiautoml", operation=CREATE, status=400, code="Throttling.User", times=2
    )
    row = deliver_until_done(world, HPOQ_MAX_ATTEMPTS="3")
    assert row["outcome"] == "created"
    assert len(world.cloud.experiments) == 1


@pytest.mark.parametrize("before", ["both", "description", "tag"])
def test_a_marker_that_the_service_refuses_does_not_use_up_a_nonce_that_stays(world, before):
    """An uncertain key keeps its nonce: a marker that its create must do without is not tried each time anew."""
    world.cloud.behaviour.create_tags = "refused"
    world.cloud.behaviour.nonce_memory_seconds = 900
    world.fail_create("reset", when="forwarded", times=2)
    assert outcomes(world.deliver(EVENT, HPOQ_MARKER=before)) == ["retry"]
    world.later(300)
    assert deliver_until_done(world, every=300, HPOQ_MARKER="both")["outcome"] == "created"
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


@pytest.mark.parametrize("spelling", ["http://LOCALHOST/", "localhost:80"])
def test_another_spelling_of_the_endpoint_is_not_another_endpoint(world, spelling):
    """A create in doubt is searched for at the same service, even if its endpoint is written differently."""
    world.cloud.behaviour.list_lag_seconds = 5
    world.fail_create("reset", when="after")
    world.deliver(EVENT)
    world.later(200)
    assert outcomes(world.deliver(EVENT, HPOQ_PAIAUTOML_ENDPOINT=spelling)) == ["created"]
    assert len(world.cloud.experiments) == 1


@pytest.mark.parametrize(
    "way",
    [
        "bus",
        "queue",
        "topic",
        "topic on a bus",
        "data",
        "array",
        "text",
        "base64",
        "another event",
        "queue on a bus",
        "RocketMQ on a bus",
        "Kafka Connect",
        "a template",
        "deep in data",
        "beside another item",
    ],
)
def test_events_that_lead_back_to_the_function_do_not_circle(world, way):
    """A subscription or a rule that leads from the output to the function must not make an event of each event."""
    ways = {
        "bus": lambda event: json.dumps(event).encode(),
        "queue": lambda event: smq_event("E1", json.dumps(event)),
        "topic": lambda event: json.dumps(
            {"TopicName": "t", "MessageId": "E1", "Message": json.dumps(event)}
        ),
        "data": lambda event: smq_event("E1", json.dumps(event["data"])),
        "array": lambda event: smq_event("E1", json.dumps([event])),
        "text": lambda event: smq_event("E1", json.dumps(encode_body(json.dumps(event)))),
        "base64": lambda event: smq_event("E1", json.dumps(_on_bus(event, encode_body(json.dumps(event))))),
        "another event": lambda event: smq_event("E1", json.dumps({**event, "type": "own", "data": event})),
        "topic on a bus": lambda event: smq_event(
            "E1", json.dumps(_on_bus(event, {"body": json.dumps(event), "attrs": {}}))
        ),
        "queue on a bus": lambda event: smq_event(
            "E1", json.dumps(_on_bus(event, {"messageId": "E0", "messageBody": json.dumps(event)}))
        ),
        "RocketMQ on a bus": lambda event: smq_event(
            "E1",
            json.dumps(_on_bus(event, {"topic": "t", "systemProperties": {}, "body": json.dumps(event)})),
        ),
        "Kafka Connect": lambda event: smq_event("E1", json.dumps({"schema": {}, "payload": event})),
        "a template": lambda event: smq_event("E1", json.dumps({"result": event})),
        "deep in data": lambda event: smq_event("E1", json.dumps(_on_bus(event, {"detail": event}))),
        "beside another item": lambda event: smq_event("E1", json.dumps([event, {"a": 1}])),
    }
    world.deliver(EVENT)
    world.deliver(smq_event("M2", "no request"))
    for event in world.events:
        (row,) = world.deliver(ways[way](event))
        assert (row["outcome"], row["error"]["code"]) == ("duplicate", "OwnEvent")
    assert world.event_types == ["created", "rejected"]
    assert world.broken(finished=True) == []


def _on_bus(event, data):
    """Return the CloudEvent of a bus that carries `data`."""
    return {"specversion": "1.0", "id": event["id"], "source": "bus", "type": "mns:Message", "data": data}


@pytest.mark.parametrize("most", [1000, 0])
def test_an_answer_that_comes_once_more_announces_nothing_in_a_later_event(world, monkeypatch, most):
    """Its experiment is that of an earlier message, as long as the instance remembers that: it keeps the last few."""
    monkeypatch.setattr("hpoq.function._MOST_IDS", most)
    function, answers = world.function(), []

    def repeat(send, request, **options):
        answer = send(request, **options)
        if request.headers.get("x-acs-action") != CREATE:
            return answer
        assert answer.content  # what was read can be read again
        answers.append(answer)
        return answers[-2:][0]

    intercept(function._session, repeat)
    rows = [function.handle(smq_event(f"M{n}", request()), CONTEXT)["messages"][0] for n in range(2)]
    own = dict(marked_experiments(world.cloud))
    assert [row["experimentId"] == own[row["key"]] for row in rows] == [True, most > 0]
    assert len(function._keys_by_id) == (2 if most else 1)


def test_an_answer_that_comes_too_late_announces_nothing_in_a_later_event(world):
    """Behind a proxy that gives it to the next create, the experiment that was adopted meanwhile is not announced."""
    function, late = world.function(), []

    def delay(send, request, **options):
        answer = send(request, **options)
        if request.headers.get("x-acs-action") != CREATE:
            return answer
        late.append(answer)
        if len(late) == 1:
            assert answer.content  # what was read can be read again
            raise requests.ReadTimeout
        return late[-2]

    intercept(function._session, delay)
    rows = [function.handle(smq_event(f"M{n}", request()), CONTEXT)["messages"][0] for n in range(2)]
    own = dict(marked_experiments(world.cloud))
    assert [row["experimentId"] == own[row["key"]] for row in rows] == [True, True]


def test_a_zombie_at_the_gateway(world):
    """An instance that was frozen before its first byte finds that its successor has used the nonce."""
    held = []
    function = world.function()

    def stand_still(send, request, **options):
        if request.headers.get("x-acs-action") == CREATE and not held:
            held.append(request)
            raise KeyboardInterrupt
        return send(request, **options)

    intercept(function._session, stand_still)
    with pytest.raises(KeyboardInterrupt):
        function.handle(EVENT, None)
    assert deliver_until_done(world)["outcome"] == "created"
    world.cloud.adapter().send(held[0])
    assert world.cloud.requests[-1].code in ("SignatureNonceUsed", "InvalidTimeStamp.Expired")
    assert len(world.cloud.experiments) == 1


def test_an_event_that_was_cut_off_fails(world):
    """What cannot be read as a whole fails, so that it is delivered again; nothing is published about it."""
    whole = smq_stream_event({f"M{n}": request(f"k{n}") for n in range(16)})
    for length in (1, 2, len(whole) // 2, len(whole) - 1):
        with pytest.raises(EventUnreadable):
            world.function().handle(whole[:length], None)
    assert world.events == []
    assert world.cloud.experiments == []


def test_a_listing_that_never_adds_up_needs_an_operator(world):
    """The doubt stays, attempts do not count, searches get rarer, and an operator's decision ends it."""
    world.cloud.behaviour.listing_total_offset = 1
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    with structlog.testing.capture_logs() as lines:
        for _ in range(200):
            (row,) = world.deliver(EVENT, HPOQ_MAX_ATTEMPTS="3")
            assert row["outcome"] == "retry"
            world.later(120)
    record = world.store.get(row["key"])
    assert record.attempts <= 3
    assert calls(world, "ListHpoExperiments") < 400
    advice = [line["advice"] for line in lines if line["event"] == "operator.needed"]
    assert advice
    assert f"hpoq resolve {row['key']}" in advice[-1]
    resolved = lifecycle.resolve_none(record, world.clock.now())
    assert world.store.replace(resolved, record.version)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


@pytest.mark.parametrize("offset", [8 * 3600, 10 * 365 * 86_400, -8 * 3600])
def test_a_clock_that_is_off_by_hours_does_not_hold_the_key_for_hours(world, offset):
    """What its instance writes about the claim follows the time of the answer that refused the create.

    The next create is found again without the gateway's memory of nonces.
    """
    world.cloud.behaviour.nonce_memory_seconds = 0
    (row,) = world.deliver(EVENT, offset=offset)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "InvalidTimeStamp.Expired")
    world.later(60)
    world.fail_create("reset", when="after")
    world.cloud.faults.add("status", service="paiautoml", operation="ListHpoExperiments", status=503, times=3)
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.later(300)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_clock_that_is_ahead_by_hours_holds_no_abandoned_key_after_a_conflict(world):
    """The conflict's delivery takes the first request over, cannot search for its experiment, and gives it back."""
    first, conflict = smq_event("M1", request("k")), smq_event("M2", request("k", Name="another"))
    world.fail_create("reset", when="before")
    assert outcomes(world.deliver(first)) == ["retry"]
    world.later(400)
    assert outcomes(world.deliver(conflict, offset=8 * 3600)) == ["retry"]
    world.later(60)
    assert outcomes(world.deliver(first)) == ["created"]


@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_a_clock_that_is_set_while_a_message_is_processed(seconds):
    """Whenever that happens, the message ends with the next delivery after the lease, also without nonces."""
    for at in itertools.count(1):
        with World() as world:
            world.cloud.behaviour.nonce_memory_seconds = 0
            clock = SkewedClock(world.clock, 0.0)
            points = Points(at, functools.partial(clock.set, seconds))
            function = world.function(clock)
            intercept(function._session, points.around_call)
            points.around_store(world.store)
            with contextlib.suppress(EventFailed):
                function.handle(EVENT, CONTEXT)
            if at > len(points.names):
                return
            world.later(200)
            assert outcomes(world.deliver(EVENT))[0] in ("created", "duplicate"), points.names[at - 1]
            assert len(world.cloud.experiments) == 1
            assert world.broken() == []


def test_a_clock_that_is_ahead_by_hours_does_not_delay_a_result():
    """It can neither look at the experiment nor send the next watch message, so the present one comes back."""
    with WatchedWorld() as world:
        world.deliver(EVENT)
        world.later(60)
        (body,) = world.take().values()
        assert outcomes(world.deliver(smq_event("W1", body), offset=8 * 3600)) == ["retry"]
        world.later(60)
        assert outcomes(world.deliver(smq_event("W1", body))) in (["watching"], ["finished"])


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_wrong_dates_in_answers_neither_hold_nor_end_a_message(world, date):
    """A proxy's clock may be wrong. Creates wait until it is right, and nothing is concluded from its dates."""
    handle = misdate_answers(world, date)
    world.cloud.faults.add(**THROTTLED)
    function = world.function()
    for _ in range(3):
        with pytest.raises(EventFailed) as failed:
            function.handle(EVENT, None)
        world.later(60)
    assert failed.value.report.results[0].error.code == "ClockOff"
    world.cloud.handle = handle
    world.cloud.faults.clear()
    assert outcomes(world.deliver(EVENT)) == ["created"]


def misdate_answers(world, date):
    """Give every answer of the cloud this date; return its handler without that."""
    handle = world.cloud.handle

    def misdate(request):
        answer = handle(request)
        headers = [(name, value) for name, value in answer.headers if name.lower() != "date"]
        return answer._replace(headers=(*headers, ("Date", date)))

    world.cloud.handle = misdate
    return handle


def test_dates_from_before_the_first_delivery_keep_no_message_for_ever(world):
    """A date that is earlier than the claim is wrong, so the machine's clock tells the age of the message."""
    misdate_answers(world, "Mon, 01 Jan 2001 00:00:00 GMT")
    world.cloud.faults.add(**THROTTLED)
    rows = []
    for _ in range(5):
        rows += world.deliver(EVENT)
        world.later(86_400)
    assert outcomes(rows) == ["retry", "retry", "retry", "failed", "duplicate"]


def test_dates_from_before_an_experiment_keep_it_under_its_guard():
    """A date that is earlier than its creation is wrong, so the machine's clock tells its age."""
    with WatchedWorld() as world:
        body = json.dumps({**make_document("k"), "guard": {"maxHours": 1}})
        assert outcomes(world.deliver(smq_event("M1", body))) == ["created"]
        world.cloud.experiments[0].fail("RUNNING")
        misdate_answers(world, "Mon, 01 Jan 2001 00:00:00 GMT")
        world.later(2 * 3600)
        world.poll()
        assert world.calls("StopHpoExperiment") == 1


def test_a_listing_that_takes_longer_than_a_claim_needs_an_operator(world):
    """An account with very many experiments is not listed for hours in vain without anybody learning of it."""
    world.call_times = lambda operation: CallTimes(
        until_answered=4.0 if operation.startswith("List") else 0.0
    )
    for number in range(30):
        world.deliver(smq_event(f"E{number}", request(f"e{number}")))
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            (row,) = world.deliver(EVENT, HPOQ_LIST_PAGE_SIZE="1", HPOQ_MAX_ATTEMPTS="3")
            world.later(120)
    assert (row["outcome"], len(world.cloud.experiments)) == ("retry", 30)
    advice = [line["advice"] for line in lines if line["event"] == "operator.needed"]
    assert f"hpoq resolve {row['key']}" in advice[-1]
    assert calls(world, "ListHpoExperiments") < 400


def test_a_listing_whose_pages_are_too_large_needs_an_operator(world, monkeypatch):
    """It cannot be read however often, and the message would end as failed beside its experiment."""
    monkeypatch.setitem(Transport.__init__.__kwdefaults__, "max_bytes", 20_000)
    change_listing(world, lambda page, _: {**page, "Rest": "x" * 10_000 * len(page["Experiments"])})
    world.settings |= {"HPOQ_MARKER": "description", "HPOQ_MAX_ATTEMPTS": "2"}
    for name in ("O1", "O2"):
        world.deliver(smq_event(name, request(name)))
    world.fail_create("reset", when="after")
    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            assert outcomes(world.deliver(EVENT)) == ["retry"]
            world.later(400)
    (error, *_) = [line["error"] for line in lines if line["event"] == "operator.needed"]
    assert "HPOQ_LIST_PAGE_SIZE" in error
    assert deliver_until_done(world, HPOQ_LIST_PAGE_SIZE="1")["outcome"] == "created"
    assert len(world.cloud.experiments) == 3


def test_a_doubt_that_never_ends_is_given_up_by_age(world):
    """HPOQ_MAX_AGE_HOURS ends a doubt that no operator resolves: a dead letter, and an event that says why."""
    world.cloud.behaviour.listing_total_offset = 1
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    row = deliver_until_done(world, times=100, every=3600, HPOQ_DEAD_LETTER_QUEUE=DEAD_LETTER_QUEUE)
    assert (row["outcome"], row["error"]["code"]) == ("failed", "Incomplete")
    assert len(world.cloud.queues.get(DEAD_LETTER_QUEUE).messages) == 1
    assert world.clock.now() - world.store.get(row["key"]).claimed_at < 80 * 3600


def test_an_untagged_experiment_of_the_same_name(world):
    """An experiment without a marker causes no doubt where the service is seen to keep markers."""
    world.deliver(smq_event("M0", request("mine", Description="the first")))
    make_by_hand(world, make_document(Description="made by hand")["experiment"])
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    assert deliver_until_done(world)["outcome"] == "created"
    assert len(world.cloud.experiments) == 3


@pytest.mark.parametrize("marker", ["both", "tag", "description"])
def test_the_first_request_of_an_account_beside_an_unmarked_experiment(world, marker):
    """If nothing shows that the service keeps markers, an operator decides, and the message comes to its end."""
    make_by_hand(world, make_document()["experiment"])
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    row = deliver_until_done(world, every=120, HPOQ_MARKER=marker)
    if row["outcome"] == "retry":
        assert row["error"]["code"] == "Ambiguous"
        record = world.store.get(row["key"])
        assert world.store.replace(lifecycle.resolve_none(record, world.clock.now()), record.version)
        (row,) = world.deliver(EVENT, HPOQ_MARKER=marker)
    assert row["outcome"] == "created"
    assert len(world.cloud.experiments) == 2


def release_uncertain(world, event=EVENT):
    """Leave the end of a create unknown, and throttle the next one, which proves nothing about the first."""
    world.deliver(event)
    world.later(200)
    world.cloud.faults.add(**THROTTLED | {"times": 1})
    assert outcomes(world.deliver(event, HPOQ_CALL_ATTEMPTS="1")) == ["retry"]


@pytest.mark.parametrize("memory", [0, 900])
def test_a_create_that_acts_after_every_margin_is_found_before_the_next_one(world, memory):
    """A throttled successor ends no doubt about an earlier create, so a search precedes each create of its key."""
    world.settings["HPOQ_DATE_WINDOW_SECONDS"] = "0"
    world.cloud.behaviour.nonce_memory_seconds = memory
    world.cloud.faults.add("late", service="paiautoml", operation=CREATE, seconds=300)
    release_uncertain(world)
    world.later(2_000)  # the first create has acted, and the gateway has forgotten its nonce
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_decision_outlives_a_throttled_create(world):
    """Once an operator has decided that no experiment exists, no search asks the same question again."""
    make_by_hand(world, make_document()["experiment"])
    world.cloud.faults.add("reset", service="paiautoml", operation=CREATE, when="before")
    row = deliver_until_done(world, every=120, times=3)
    assert row["error"]["code"] == "Ambiguous"
    record = world.store.get(row["key"])
    assert world.store.replace(lifecycle.resolve_none(record, world.clock.now()), record.version)
    world.cloud.faults.add(**THROTTLED | {"times": 1})
    assert outcomes(world.deliver(EVENT, HPOQ_CALL_ATTEMPTS="1")) == ["retry"]
    world.later(60)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 2


def make_by_hand(world, body):
    """Create an experiment as a person would, without a marker."""
    cloud = world.cloud
    credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
    client = PaiAutoMl(Transport(world.session(), world.clock), cloud.endpoint, lambda: credentials)
    client.create_hpo_experiment(body, nonce="by-hand")


@pytest.mark.one_of("copies", budget=CI_BUDGET)
@pytest.mark.parametrize("copies", [1, 2, 4])
def test_copies_of_a_throttled_message_merge(world, copies):
    """However many copies there are, one goes on: throttling neither counts nor multiplies."""
    world.cloud.faults.add(
        "status", service="paiautoml", operation=CREATE, status=400, code="Throttling.User", times=None
    )
    queue = Queue(world, HPOQ_MAX_ATTEMPTS="20", HPOQ_REQUEUE_DELAY_SECONDS="60")
    queue.send(request("k"))
    (message,) = queue.queue.receive(1)
    event = smq_stream_event({message.message_id: message.body})
    for _ in range(copies):
        world.deliver(event, **queue.settings)
    queue.queue.delete(message.receipt_handle)
    queue.run(3600)
    assert len(queue.queue.messages) == 1
    assert world.events == []
    world.cloud.faults.clear()
    queue.run(600)
    assert len(world.cloud.experiments) == 1
    assert queue.queue.messages == []


def test_repeated_events_do_not_multiply_messages(world):
    """An hour of refusals with every twentieth event delivered twice leaves as many messages as there were."""
    world.cloud.faults.add(
        "status", service="paiautoml", operation=CREATE, status=403, code="Forbidden.RAM", times=None
    )
    queue = Queue(world, twice=0.05, HPOQ_REQUEUE_DELAY_SECONDS="60")
    queue.send(*(request(f"k{n}") for n in range(4)))
    assert queue.run(3600) <= 8
    assert len(queue.queue.messages) <= 5
    world.cloud.faults.clear()
    queue.run(1200)
    assert len(world.cloud.experiments) == 4
    assert queue.queue.messages == []
    assert world.broken(finished=True) == []


def test_failed_is_final_except_through_a_redrive(world):
    """A second copy of a message that was given up changes nothing; a redrive reconciles and creates."""
    settings = {"HPOQ_MAX_ATTEMPTS": "2", "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE}
    world.cloud.faults.add("status", service="paiautoml", operation=CREATE, status=503, times=None)
    row = deliver_until_done(world, every=300, **settings)
    assert row["outcome"] == "failed"
    world.cloud.faults.clear()
    assert outcomes(world.deliver(EVENT, **settings)) == ["duplicate"]
    assert world.cloud.experiments == []
    envelope = Envelope("smq", "M1", row["key"], request().encode(), redriven=True)
    redriven = smq_event("M9", seal(envelope).decode())
    world.later(2000)
    assert outcomes(world.deliver(redriven, **settings)) == ["created"]
    assert len(world.cloud.experiments) == 1


@pytest.mark.one_of("size", budget=CI_BUDGET)
@pytest.mark.parametrize("size", [44_037, 50_000, 60_000])
def test_large_messages_are_sent_back(world, size):
    """A body that is large but compressible goes back to its queue, and its neighbours do not wait for it."""
    world.cloud.faults.add(
        "status", service="paiautoml", operation=CREATE, status=400, code="Throttling.User", times=None
    )
    bodies = {
        f"M{n}": request(f"k{n}", Description=" ".join(f"word{i % 997}" for i in range(size // 8)))
        for n in range(16)
    }
    rows = world.deliver(smq_stream_event(bodies), HPOQ_BATCH_POLICY="requeue")
    assert outcomes(rows) == ["retry"] * 16
    assert len(world.cloud.queues.get(QUEUE).messages) == 16


def test_what_an_incompressible_message_costs_its_neighbours(world):
    """A message that cannot be sent back fails its event; neighbours that are done are duplicates then."""
    noise = random.Random(1).randbytes(34_000).hex()
    world.cloud.faults.add(**{**THROTTLED, "nth": 2})
    bodies = {"M1": request("k1"), "M2": request("k2", Description=noise)}
    settings = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_CONCURRENCY": "1"}
    assert outcomes(world.deliver(smq_stream_event(bodies), **settings)) == ["created", "retry"]
    assert world.cloud.queues.get(QUEUE).messages == []
    world.cloud.faults.clear()
    assert outcomes(world.deliver(smq_stream_event(bodies), **settings)) == ["duplicate", "created"]


@pytest.mark.parametrize("event", [EVENT, smq_event("M2", request("a producer's key"))])
def test_a_canary_with_a_stricter_contract_adopts(world, event):
    """A request that a newer contract refuses, but whose experiment exists, is announced as created."""
    function = world.function()
    function._store = DyingStore(function._store)
    with pytest.raises(Killed):
        function.handle(event, None)
    assert len(world.cloud.experiments) == 1
    world.later(300)

    def refuse(_body, _attributes):
        raise RequestRejected([Violation("/experiment", "stricter", "not any more")])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "parse_request", refuse)
        row = deliver_until_done(world, event)
    assert row["outcome"] == "created"
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


class Killed(BaseException):
    """The process is gone: nothing below it may be caught, or written afterwards."""


class DyingStore:
    """Kills the instance when it saves how a message ended."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def replace(self, record, expected):
        raise Killed


def test_a_record_with_a_later_versions_members(world):
    """A member that this version does not know is written back, and does not make the record unreadable."""
    assert outcomes(world.deliver(EVENT)) == ["created"]
    ((key, (text, version)),) = world.store._rows.items()
    unpublished = {**json.loads(text), "published_at": None, "watch": {"polls": 3}}
    for format_version in (1, 2):
        world.store._rows[key] = json.dumps({**unpublished, "v": format_version}), version
        assert outcomes(world.deliver(EVENT)) == ["created"]
        written = json.loads(world.store._rows[key][0])
        assert (written["watch"], written["v"]) == ({"polls": 3}, format_version)


@pytest.mark.parametrize("memory", [900, 1860])
def test_a_throttled_successor_keeps_the_nonce_of_a_late_create(world, memory):
    """Throttling proves nothing about an earlier create: its late copy still collides with the successor's."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    settings = {"HPOQ_DATE_WINDOW_SECONDS": "0"}
    world.cloud.faults.add("late", service="paiautoml", operation=CREATE, seconds=130)
    assert outcomes(world.deliver(EVENT, **settings)) == ["retry"]
    world.later(60)
    world.cloud.faults.add(
        "status", service="paiautoml", operation=CREATE, status=400, code="Throttling.User"
    )
    row = deliver_until_done(world, every=30, **settings)
    world.later(5_000)
    assert row["outcome"] == "created"
    assert len(world.cloud.experiments) == 1


def test_a_cloud_event_in_http_binary_mode_is_one_request(world):
    """A repeat is answered again, and another request under its source and id is a conflict."""

    def call(request_id, body):
        event = {
            "version": "v1",
            "rawPath": "/",
            "headers": {
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": "e-1",
                "ce-source": "/orders",
                "ce-type": "order",
            },
            "body": body,
            "isBase64Encoded": False,
            "requestContext": {"requestId": request_id, "http": {"method": "POST", "path": "/"}},
        }
        return outcomes(world.deliver(json.dumps(event).encode(), Fc3Context(request_id)))

    assert call("r-1", request()) == ["created"]
    assert call("r-2", request()) == ["duplicate"]
    assert len(world.events) == 2
    assert call("r-3", request(Name="another")) == ["rejected"]
    assert world.events[-1]["data"]["error"]["code"] == "IdempotencyConflict"
    assert len(world.cloud.experiments) == 1


def test_a_redrive_before_the_failed_event_is_out_tries_again(world):
    """A message that an operator redrove must not end with the answer that it was given up."""
    world.cloud.queues.create("hpo-requests-dead")
    settings = {"HPOQ_MAX_ATTEMPTS": "1", "HPOQ_DEAD_LETTER_QUEUE": "hpo-requests-dead"}
    world.cloud.faults.add("status", service="paiautoml", operation=CREATE, status=503, times=None)
    world.deliver(EVENT, **settings)
    world.later(300)
    world.cloud.faults.add("refuse", service="smq", operation="PublishMessage", times=None)
    (row,) = world.deliver(EVENT, **settings)
    assert row["outcome"] == "retry"
    world.cloud.faults.clear()
    envelope = Envelope("smq", "M1", row["key"], request().encode(), redriven=True)
    world.later(2000)
    assert outcomes(world.deliver(smq_event("M9", seal(envelope).decode()), **settings)) == ["created"]


class StoreDown:
    """A store that does not answer while `down`."""

    def __init__(self, store):
        self.store = store
        self.down = True

    def __getattr__(self, name):
        if self.down:
            raise StoreUnavailable("the store is down")
        return getattr(self.store, name)


@pytest.mark.one_of("hours", budget=CI_BUDGET)
@pytest.mark.parametrize("hours", [1, 6])
def test_an_outage_of_the_store_does_not_multiply_messages(world, hours):
    """With every twentieth event delivered twice and nowhere to number copies, few deliveries keep them few."""
    world.store = StoreDown(world.store)
    queue = Queue(world, twice=0.05)
    queue.send(*(request(f"k{n}") for n in range(4)))
    assert queue.run(hours * 3600) <= 20
    world.store.down = False
    queue.run(2 * 3600)
    assert len(world.cloud.experiments) == 4
    assert queue.queue.messages == []
    assert world.event_types == ["created"] * 4


def bodies_alone(*bodies):
    """Return the event of a stream whose transform, `$.data.messageBody`, takes bodies out of their deliveries."""
    return json.dumps(bodies).encode()


@pytest.mark.parametrize("form", ["text", "base64", "object", "changed order"])
def test_a_message_that_was_sent_back_passes_a_transform(world, form):
    """It has no id but that in its envelope, and comes back as any form of the body that a transform makes."""
    forms = {
        "text": lambda body: base64.b64decode(body).decode(),
        "base64": lambda body: body,
        "object": lambda body: json.loads(base64.b64decode(body)),
        "changed order": lambda body: dict(reversed(json.loads(base64.b64decode(body)).items())),
    }
    settings = {"HPOQ_BATCH_POLICY": "requeue"}
    world.fail_create("status", status=403, code="Forbidden.RAM")
    assert outcomes(world.deliver(bodies_alone(request("k")), **settings)) == ["retry"]
    ((_, body),) = world.waiting()
    world.later(60)
    assert outcomes(world.deliver(bodies_alone(forms[form](body), request("k2")), **settings)) == [
        "created",
        "created",
    ]
    assert len(world.cloud.experiments) == 2
    assert world.broken(finished=True) == []


@pytest.mark.one_of("marker", "when", budget=CI_BUDGET)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("marker", ["both", "tag", "description"])
@pytest.mark.parametrize("listing", LISTINGS)
def test_a_listing_in_another_form(world, listing, marker, when):
    """An experiment is found in every form of listing, and its absence is concluded from it in the end."""
    for n in range(7):
        world.deliver(smq_event(f"O{n}", request(f"other-{n}", Description="d")), HPOQ_MARKER=marker)
    change_listing(world, LISTINGS[listing])
    world.fail_create("reset", when=when)
    event = smq_event("M1", request(Description="d"))
    settings = {"HPOQ_MARKER": marker, "HPOQ_LIST_PAGE_SIZE": "4"}
    assert deliver_until_done(world, event, every=300, **settings)["outcome"] == "created"
    assert len(world.cloud.experiments) == 8


def test_a_listing_that_cannot_be_read_needs_an_operator(world):
    """Rows in an unknown form last until somebody acts, unlike an outage: searches get rarer, and it is logged."""
    world.deliver(smq_event("O1", request("other")))
    change_listing(world, change_rows(Tags=lambda _: "hpoq-key"))
    world.fail_create("reset")
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            assert outcomes(world.deliver(EVENT, HPOQ_MAX_ATTEMPTS="3")) == ["retry"]
            world.later(120)
    assert any("hpoq resolve" in line["advice"] for line in lines if line["event"] == "operator.needed")
    assert calls(world, "ListHpoExperiments") < 100


CHANGED_VALUES = {"cut": lambda key: key[:32], "masked": lambda _: "***", "missing": lambda _: None}


@pytest.mark.parametrize("value", CHANGED_VALUES)
def test_tags_whose_values_were_changed_do_not_show_that_markers_are_kept(world, value):
    """A service may cut or mask the values of tags: a marker that is no key says nothing about any key."""
    change = CHANGED_VALUES[value]
    world.deliver(smq_event("O1", request("other", Name="other")), HPOQ_MARKER="tag")
    change_listing(
        world, change_rows(Tags=lambda tags: [tag | {"Value": change(tag["Value"])} for tag in tags])
    )
    world.fail_create("reset", when="after")
    for _ in range(3):
        (row,) = world.deliver(EVENT, HPOQ_MARKER="tag")
        world.later(600)
    assert row["error"]["code"] == "Ambiguous"
    assert len(world.cloud.experiments) == 2


def test_tags_that_are_set_later_do_not_show_that_creates_keep_them(world):
    """A service may drop the tags of a create and keep those that a person sets: one marker in a tag is no proof."""
    world.cloud.behaviour.create_tags = "dropped"
    settings = {"HPOQ_MARKER": "tag"}
    world.deliver(smq_event("O1", request("other", Name="other")), **settings)
    world.cloud.experiments[0].tags = (("team", "x"),)
    world.fail_create("reset", when="after")
    row = deliver_until_done(world, every=300, times=20, **settings)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "Ambiguous")
    assert len(world.cloud.experiments) == 2


@pytest.mark.parametrize("kind", [[], {}, ["com.hpoq.experiment.created.v1"], 5, None])
def test_an_event_whose_type_is_not_text_is_rejected(world, kind):
    """A message that resembles an event of ours is rejected, and does not fail its batch for ever."""
    event = {"specversion": "1.0", "type": kind, "source": "com.hpoq.experiment.x", "id": "1", "data": 5}
    assert outcomes(world.deliver(smq_event("M1", json.dumps(event)))) == ["rejected"]


@pytest.mark.parametrize("marker", ["both", "tag", "description"])
@pytest.mark.parametrize("age", [(), (("Age", "300"),)])
def test_a_cache_in_front_of_the_listing(world, age, marker):
    """A cache answers each address as it did first: a listing from before the experiment proves no absence.

    The newest page, which has one row, shows another experiment.
    """
    world.settings |= {"HPOQ_MARKER": marker, "HPOQ_LIST_PAGE_SIZE": "1"}
    world.deliver(smq_event("O1", request("other")))
    handle, cached = world.cloud.handle, {}

    def handle_or_repeat(request):
        if request.method != "GET":
            return handle(request)
        if request.target in cached:
            return cached[request.target]
        answer = handle(request)
        cached[request.target] = answer._replace(headers=(*answer.headers, *age))
        return answer

    world.cloud.handle = handle_or_repeat
    world.cloud.behaviour.list_lag_seconds = 5
    world.cloud.behaviour.nonce_memory_seconds = 0
    world.fail_create("reset", when="after")
    world.deliver(EVENT)
    world.deliver(smq_event("O2", request("another")))
    assert deliver_until_done(world, every=200)["outcome"] == "created"
    assert len(world.cloud.experiments) == 3


@pytest.mark.parametrize("form", [str.lower, str.capitalize])
def test_a_status_in_another_case_is_an_end(form):
    """A service may write its statuses in another case; an experiment that has ended is not followed on."""
    with WatchedWorld() as world:
        world.deliver(EVENT)
        handle = world.cloud.handle

        def change(request):
            answer = handle(request)
            if request.header("x-acs-action") != "GetHpoExperiment":
                return answer
            document = json.loads(answer.body)
            return answer._replace(body=json.dumps(document | {"Status": form(document["Status"])}).encode())

        world.cloud.handle = change
        assert world.follow(600)[-1] == "finished"
        assert [result["status"] for result in world.results] == ["FINISHED"]


def refuse(world, is_refused, code, message):
    """Make the service refuse the creates whose body `is_refused` chooses, in its own form."""
    handle = world.cloud.handle

    def handle_or_refuse(request):
        if request.header("x-acs-action") != CREATE or not is_refused(json.loads(request.body)):
            return handle(request)
        body = json.dumps({"RequestId": "r", "Code": code, "Message": message})
        return Response(400, (("Content-Type", "application/json"),), body.encode())

    world.cloud.handle = handle_or_refuse


def has_our_tag(body):
    return any(tag["Key"] == "hpoq-key" for tag in body.get("Tag", ()))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INVALID_INPUT_PARAMS", "Tag is not supported"),
        ("INVALID_INPUT_PARAMS", "标签不合法"),
        ("INVALID_INPUT_PARAMS", "too many labels"),
        ("InvalidTagKey.Malformed", "bad key"),
        ("InvalidParameter", "the parameter is invalid"),
    ],
)
def test_a_marker_tag_that_is_refused_in_any_words(world, code, message):
    """A request that the service takes without our tag is created with the marker in its description."""
    refuse(world, has_our_tag, code, message)
    event = smq_event("M1", request(Tag=[{"Key": f"t{n}", "Value": "v"} for n in range(MOST_TAGS - 1)]))
    assert outcomes(world.deliver(event)) == ["created"]
    assert "[hpoq-key: " in world.cloud.experiments[0].description


def test_a_refused_description_that_must_carry_the_marker_is_explained(world):
    """With as many tags as the service takes, only the producer can make room for the marker."""
    refuse(
        world,
        lambda body: "[hpoq-key" in body["Description"],
        "INVALID_INPUT_PARAMS",
        "Description is too long",
    )
    tags = [{"Key": f"t{n}", "Value": "v"} for n in range(MOST_TAGS)]
    (row,) = world.deliver(smq_event("M1", request(Tag=tags, Description="d")))
    assert row["outcome"] == "rejected"
    assert "hpoq adds 49 characters to the description" in row["error"]["message"]
    assert "use fewer than 20 tags" in row["error"]["message"]


@pytest.mark.parametrize(
    "form", [lambda event: event[1:-1], lambda event: event], ids=["one event", "an array"]
)
def test_an_event_from_a_streams_dead_letter_queue(world, form):
    """Moved to the queue as it is, also twice, it brings its messages back under the ids that they had."""
    event = smq_stream_event({"M1": request()})
    letter = form(event).decode()
    moved = [smq_event("L1", letter), smq_event("L2", encode_body(letter)), event]
    rows = [row for one in moved for row in world.deliver(one)]
    assert [(row["messageId"], row["outcome"]) for row in rows] == [
        ("M1", "created"),
        ("M1", "duplicate"),
        ("M1", "duplicate"),
    ]
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


@pytest.mark.parametrize("dead_letter_queue", [None, DEAD_LETTER_QUEUE])
def test_an_instance_whose_clock_is_days_ahead_gives_nothing_up(world, dead_letter_queue):
    """The services' answers show the time: the message is not too old, and its experiment is found later."""
    world.fail_create("reset", when="after")
    world.cloud.behaviour.list_lag_seconds = 5
    if dead_letter_queue is not None:
        world.settings["HPOQ_DEAD_LETTER_QUEUE"] = dead_letter_queue
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.later(20)
    assert outcomes(world.deliver(EVENT, offset=4 * 86_400)) == ["retry"]
    world.later(500)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1
    assert world.broken(finished=True) == []


def test_an_instance_whose_clock_is_months_ahead_ends_no_watch():
    """The service refuses its calls by their date, which says nothing about the experiment."""
    with WatchedWorld() as world:
        world.deliver(EVENT)
        world.later(100)
        event = smq_stream_event(world.take())
        assert outcomes(world.deliver(event, offset=40 * 86_400)) == ["retry"]
        world.later(100)
        assert outcomes(world.deliver(event)) == ["finished"]
        assert [result["status"] for result in world.results] == ["FINISHED"]
        assert world.broken(finished=True) == []


def test_a_long_lease_of_a_dead_instance_does_not_multiply_messages(world):
    """Copies that wait for the end of the lease come back at it, although every fifth event is delivered twice."""

    class Dead(BaseException):
        pass

    def die(record):
        insert(record)
        raise Dead

    queue = Queue(world, twice=0.2, HPOQ_LEASE_SECONDS="1800")
    queue.send(*(request(f"k{n}") for n in range(4)))
    insert, world.store.insert = world.store.insert, die
    for message_id, body in world.waiting():
        with pytest.raises(Dead):
            world.function(**queue.settings).handle(smq_stream_event({message_id: body}), CONTEXT)
    world.store.insert = insert
    assert queue.run(1700, step=20) <= 8
    assert queue.deliveries <= 40
    assert world.events == []
