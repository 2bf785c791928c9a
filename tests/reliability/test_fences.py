"""What keeps a key to one experiment and a message in one place when copies, redrives and operators interfere.

Each test is the smallest form of a schedule in which an earlier version broke an invariant.
"""

import base64
import json
from dataclasses import replace

import pytest
from test_situations import CREATE, EVENT, calls, deliver_until_done, outcomes

from hpoq.contract.identity import derive_key, find_marker_keys
from hpoq.errors import StoreUnavailable
from hpoq.idempotency.record import State
from hpoq.processing import lifecycle
from hpoq.processing.envelope import Envelope, seal
from hpoq.testing import MemoryStore, smq_event, smq_stream_event
from hpoqctl.deadletters import recover_envelopes
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, TOPIC
from support.request import request
from support.world import CallTimes, WatchedWorld

KEY = derive_key("smq", "M1")
LIST = "ListHpoExperiments"
REQUEUE = {"HPOQ_BATCH_POLICY": "requeue"}
DENIED = {"status": 403, "code": "Forbidden.RAM"}
THROTTLED = {"status": 400, "code": "Throttling.User"}
LATER = 400


def codes(rows):
    return [row["error"] and row["error"]["code"] for row in rows]


def fail(world, operation=CREATE, kind="status", **options):
    world.cloud.faults.add(kind, service="paiautoml", operation=operation, **options)


def act_and_hide(world):
    """Make the next create act without an answer, and the searches of that delivery fail."""
    fail(world, kind="reset", when="after", times=1)
    fail(world, LIST, kind="reset", times=4)


def take(world, queue=QUEUE):
    """Remove all messages from `queue`; return them as ids and bodies."""
    found = world.cloud.queues.get(queue)
    taken = [(message.message_id, message.body) for message in found.messages]
    for message_id, _ in taken:
        found._messages.pop(message_id)
    return taken


def copies(world):
    return [smq_event(message_id, body) for message_id, body in take(world)]


def dead_letters(world):
    """Return the envelopes in the dead-letter queue, marked as redriven."""
    bodies = [base64.b64decode(body) for _, body in take(world, DEAD_LETTER_QUEUE)]
    found = [envelope for body in bodies for envelope in recover_envelopes(body, None)]
    return [replace(envelope, redriven=True) for envelope in found]


@pytest.fixture
def dead(world):
    world.settings["HPOQ_DEAD_LETTER_QUEUE"] = DEAD_LETTER_QUEUE
    return world.cloud.queues.get(DEAD_LETTER_QUEUE)


# Redrives.


@pytest.mark.parametrize("settings", [{}, REQUEUE], ids=["raise", "requeue"])
def test_a_redriven_message_fails_again_only_once(world, dead, settings):
    """Only the first take-over of a redriven event counts as its redrive, so dead letters do not multiply."""
    world.settings |= {"HPOQ_MAX_ATTEMPTS": "2"}
    fail(world, times=None, status=500, code="InternalError")
    for number in (1, 2):
        deliver_until_done(world, smq_event(f"M{number}", request()), every=LATER)
    events = {f"R{number}": seal(envelope) for number, envelope in enumerate(dead_letters(world))}
    assert len(events) == 2
    # Out of phase: one of them is delivered alone first.
    world.deliver(smq_event("R0", events["R0"]), **settings)
    event = smq_stream_event(events)
    for _ in range(20):
        world.later(LATER)
        rows = world.deliver(event, **settings)
        for copy in copies(world):
            world.later(LATER)
            world.deliver(copy, **settings)
        if "retry" not in outcomes(rows) and not world.cloud.queues.get(QUEUE).messages:
            break
    assert len(dead.messages) == 2
    assert outcomes(world.deliver(event, **settings)) == ["duplicate"] * 2
    assert len(dead.messages) == 2


def test_a_redriven_rejection_is_read_again(world, dead):
    """A message without an id is rejected and kept. In its queue it gets an id, so its redrive creates."""
    assert outcomes(world.deliver(json.dumps([{"messageBody": request()}]).encode())) == ["rejected"]
    (letter,) = dead_letters(world)
    assert outcomes(world.deliver(smq_event("R1", seal(letter)))) == ["created"]
    assert outcomes(world.deliver(smq_event("R1", seal(letter)))) == ["duplicate"]
    assert len(world.cloud.experiments) == 1


def test_a_redriven_rejection_is_kept_again_once(world, dead):
    """What still cannot be read is rejected under the same event id, and its content goes back."""
    world.deliver(smq_event("M1", '{"hpoq":{"key":0}}'))
    (letter,) = dead_letters(world)
    for outcome, letters in (("rejected", 1), ("duplicate", 0)):
        assert outcomes(world.deliver(smq_event("R1", seal(letter)))) == [outcome]
        assert len(dead_letters(world)) == letters
    assert len({event["id"] for event in world.events}) == 1


def test_a_redrive_that_is_throttled_stays_out_of_the_dead_letter_queue(world, dead):
    """A message's age begins anew with its redrive, however long ago it was first delivered."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "2", **REQUEUE}
    fail(world, times=None, **DENIED)
    world.deliver(EVENT)
    for _ in range(3):
        world.later(3600)
        for copy in copies(world):
            world.deliver(copy)
    world.later(2 * 86_400)
    (dead_letter,) = dead_letters(world)
    world.deliver(smq_event("R1", seal(replace(dead_letter, renewed=world.clock.now()))))
    assert dead.messages == []
    world.cloud.faults.clear()
    world.later(60)
    assert outcomes(world.deliver(*copies(world))) == ["created"]


@pytest.mark.parametrize("policy", [{}, REQUEUE], ids=["raise", "requeue"])
def test_what_only_resembles_an_envelope_holds_up_no_event(world, dead, policy):
    """It is rejected with an event, and its content is kept; the other messages of its event are processed."""
    event = smq_stream_event({"P1": '{"hpoq":{"key":0}}', "M2": request()})
    assert outcomes(world.deliver(event, **policy)) == ["rejected", "created"]
    assert sorted(world.event_types) == ["created", "rejected"]
    assert [letter.body for letter in dead_letters(world)] == [b'{"hpoq":{"key":0}}']


def test_a_redrive_under_another_namespace_is_kept(world, dead):
    """`hpoq redrive` without the function's HPOQ_NAMESPACE must lose no message and delay no other."""
    (envelope,) = recover_envelopes(request().encode(), "M1")
    event = smq_stream_event({"R1": seal(replace(envelope, redriven=True)), "M2": request()})
    rows = world.deliver(event, HPOQ_NAMESPACE="team-a", **REQUEUE)
    assert [(row["outcome"], row["error"] and row["error"]["code"]) for row in rows] == [
        ("retry", "EnvelopeInvalid"),
        ("created", None),
    ]
    assert len(world.events) == 1
    (right,) = recover_envelopes(request().encode(), "M1", "team-a")
    event = smq_event("R1", seal(replace(right, redriven=True)))
    assert outcomes(world.deliver(event, HPOQ_NAMESPACE="team-a")) == ["created"]
    assert world.broken() == []


# Copies.


@pytest.mark.parametrize("messages", [1, 8, 12])
def test_copies_of_many_messages_of_one_key_merge(world, messages):
    """However many messages bring a key, and however often each is delivered, the next rounds have few copies."""
    fail(world, times=None, **DENIED)
    waiting = [smq_event(f"M{number}", request("k")) for number in range(messages)]
    sizes = []
    for _ in range(5):
        for event in waiting * 2:
            world.deliver(event, **REQUEUE)
            world.later(40)
        waiting = copies(world)
        sizes.append(len(waiting))
        world.later(LATER)
    assert sizes[0] <= 2 * messages
    assert max(sizes[1:]) <= 2
    world.cloud.faults.clear()
    for event in waiting:
        world.deliver(event, **REQUEUE)
    assert len(world.cloud.experiments) == 1
    assert world.broken() == []


def test_a_send_repeated_after_copies_is_answered(world):
    """The copies of the first message were answered by its event; the second message gets it again."""
    fail(world, times=1, **DENIED)
    world.deliver(smq_event("M1", request("k")), **REQUEUE)
    world.later(60)
    assert outcomes(world.deliver(*copies(world), **REQUEUE)) == ["created"]
    world.later(60)
    assert outcomes(world.deliver(smq_event("M2", request("k")), **REQUEUE)) == ["duplicate"]
    assert len(world.events) == 2


def test_a_send_repeated_while_the_newest_copy_is_lost_is_answered(world):
    """The queue lost the copy, or an operator purged it: the producer's next message goes on in its place."""
    fail(world, times=1, **DENIED)
    world.deliver(smq_event("M1", request("k")), **REQUEUE)
    assert len(copies(world)) == 1
    world.later(LATER)
    assert outcomes(world.deliver(smq_event("M2", request("k")), **REQUEUE)) == ["created"]


def test_a_resolution_is_not_overwritten_by_the_number_of_a_copy(world):
    """An operator decides between the release of a key and the record of the copy that was sent back."""
    decided = []

    def decide(operation):
        if operation == "SendMessage" and not decided:
            record = world.store.get(KEY)
            decided.append(lifecycle.resolve_experiment(record, "s-by-hand", world.clock.now()))
            assert world.store.replace(decided[0], record.version)
        return CallTimes()

    world.call_times = decide
    fail(world, kind="reset", when="before", times=1)
    world.deliver(EVENT, **REQUEUE)
    assert world.store.get(KEY).experiment_id == "s-by-hand"
    world.later(LATER)
    (row,) = world.deliver(*copies(world), **REQUEUE)
    assert (row["outcome"], row["experimentId"]) == ("created", "s-by-hand")
    assert calls(world) == 1


class LateStore(MemoryStore):
    """A store whose first write fails, and is carried out when `land` is called."""

    def __init__(self):
        super().__init__()
        self.held = None

    def replace(self, record, expected):
        if self.held is None:
            self.held = (record, expected)
            raise StoreUnavailable("timed out")
        return super().replace(record, expected)

    def land(self):
        return super().replace(*self.held)


def test_a_late_write_of_an_owner_finds_another_version(world):
    """A write that the store carries out after it was repeated must not take the nonce back."""
    world.store = store = LateStore()
    fail(world, times=2, **THROTTLED)
    fail(world, kind="reset", when="before", times=1)
    world.deliver(EVENT, HPOQ_CALL_ATTEMPTS="3")
    before = store.get(KEY)
    assert before.generation == 2
    assert store.land() is not True
    assert store.get(KEY) == before


# Markers.


def test_every_create_carries_a_marker_when_the_setting_changes(world):
    """A throttled create under one setting does not strip the next one, under the other, of its marker."""
    fail(world, times=3, **THROTTLED)
    world.deliver(EVENT, HPOQ_MARKER="tag")
    act_and_hide(world)
    world.later(LATER)
    world.deliver(EVENT, HPOQ_MARKER="description")
    (experiment,) = world.cloud.experiments
    assert find_marker_keys(experiment.tags, experiment.description) == {KEY}
    row = deliver_until_done(world, EVENT, every=LATER, HPOQ_MARKER="description")
    assert (row["outcome"], row["experimentId"]) == ("created", experiment.experiment_id)
    assert len(world.cloud.experiments) == 1


def test_every_create_carries_a_marker_when_the_service_refuses_tags(world):
    """The request adapts, is throttled, and adapts again in the next delivery."""
    world.settings |= {"HPOQ_MARKER": "tag", "HPOQ_CALL_ATTEMPTS": "1"}
    world.cloud.behaviour.create_tags = "refused"
    fail(world, nth=2, times=1, **THROTTLED)
    assert deliver_until_done(world)["outcome"] == "created"
    (experiment,) = world.cloud.experiments
    assert find_marker_keys(experiment.tags, experiment.description) == {KEY}


# Lost records.


def test_a_copy_whose_record_is_lost_adopts(world):
    """A copy's number proves that its message was processed before, so its experiment may exist."""
    act_and_hide(world)
    world.deliver(EVENT, **REQUEUE)
    (copy,) = copies(world)
    world.later(LATER)
    world.cloud.faults.clear()
    world.store = MemoryStore()
    assert outcomes(world.deliver(copy, **REQUEUE)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_copy_whose_record_is_lost_waits_for_a_create_under_way(world):
    """It is not known when the lost owner sent its create, so absence is not concluded at once."""
    fail(world, kind="late", times=1, seconds=50)
    world.deliver(EVENT, **REQUEUE)
    (copy,) = copies(world)
    world.store = MemoryStore()
    world.cloud.behaviour.nonce_memory_seconds = 0
    assert deliver_until_done(world, copy, HPOQ_DATE_WINDOW_SECONDS="0")["outcome"] == "created"
    world.later(LATER)
    assert len(world.cloud.experiments) == 1


@pytest.mark.parametrize("answer", ["created", "lost"])
def test_a_record_that_is_lost_during_the_create_is_written_anew(world, answer):
    """A failover of the store may lose a claim, and the next delivery, which finds no record, would create again."""
    lost = []

    def lose(request):
        if request.header("x-acs-action") == CREATE and not lost:
            lost.append(world.store._rows.popitem())

    world.on_request = lose
    world.cloud.behaviour.nonce_memory_seconds = 0
    if answer == "lost":
        act_and_hide(world)
    world.deliver(EVENT)
    assert lost
    world.cloud.faults.clear()
    assert deliver_until_done(world)["experimentId"] is not None
    assert len(world.cloud.experiments) == 1


def test_a_redriven_message_whose_record_expired_adopts(world, dead):
    """The dead letter contains the time since when its experiment may exist, and the search goes back that far."""
    world.settings |= {"HPOQ_MAX_AGE_HOURS": "1"}
    fail(world, kind="reset", when="after", times=1)
    fail(world, LIST, times=None, **DENIED)
    assert deliver_until_done(world, every=600)["outcome"] == "failed"
    (dead_letter,) = dead_letters(world)
    world.cloud.faults.clear()
    world.later(8 * 86_400)
    world.store = MemoryStore()
    assert outcomes(world.deliver(smq_event("R1", seal(dead_letter)))) == ["created"]
    assert len(world.cloud.experiments) == 1


# Answers, endpoints and sources.


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "EXECUTION_ERROR"),
        (400, "SAVE_FAILED"),
        (409, "ExperimentAlreadyExists"),
        (400, "InvalidResponse"),
        (403, "Signature.NonceUsed"),
        (400, "JOB_SUBMIT_FAILED"),
        (404, "BackendGone"),
        (200, "SAVE_FAILED"),
        (408, "BackendSlow"),
        (425, "TooEarly"),
        (429, "X"),
    ],
)
def test_an_undocumented_code_proves_nothing(world, status, code):
    """An undocumented code after the service acted leads to no second experiment."""
    fail(world, when="after", times=1, status=status, code=code)
    assert deliver_until_done(world, every=120)["outcome"] == "created"
    assert len(world.cloud.experiments) == 1


def test_a_changed_endpoint_does_not_end_a_doubt(world):
    """The experiment may exist where the create was sent, so the message waits until the endpoint is set back."""
    act_and_hide(world)
    world.deliver(EVENT)
    world.later(LATER)
    world.cloud.faults.clear()
    asked = calls(world, LIST)
    for _ in range(3):
        assert codes(world.deliver(EVENT, HPOQ_PAIAUTOML_ENDPOINT="http://127.0.0.1:9")) == [
            "EndpointChanged"
        ]
        world.later(LATER)
    assert (calls(world), calls(world, LIST)) == (1, asked)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


MOVED = {"HPOQ_PAIAUTOML_ENDPOINT": "http://127.0.0.1:9"}
UNKNOWN_THERE = {"status": 400, "code": "INVALID_USER_OR_EXP"}


@pytest.mark.parametrize("is_known", [False, True])
def test_a_changed_endpoint_does_not_end_a_watch(is_known):
    """The service of another region does not know the experiment; another name of the same service does."""
    with WatchedWorld() as world:
        world.deliver(EVENT)
        world.later(LATER)
        if is_known:
            assert world.follow(**MOVED)[-1] == "finished"
        else:
            fail(world, "GetHpoExperiment", times=None, **UNKNOWN_THERE)
            assert world.poll(**MOVED) == ["watching"]
            world.cloud.faults.clear()
            assert world.follow()[-1] == "finished"
        assert [result["status"] for result in world.results] == ["FINISHED"]


def test_a_changed_endpoint_does_not_end_a_stop(world):
    """The experiment of a request is stopped where it was created."""
    world.deliver(smq_event("M1", request("k")))
    world.later(1)
    stop = smq_event("S1", '{"stop": {"idempotencyKey": "k"}}')
    fail(world, "GetHpoExperiment", times=None, **UNKNOWN_THERE)
    world.later(LATER)
    assert codes(world.deliver(stop, **MOVED)) == ["EndpointChanged"]
    world.cloud.faults.clear()
    assert outcomes(world.deliver(stop)) == ["stopping"]


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_trigger_that_is_pinned_wrongly_loses_nothing(world, in_doubt):
    """Valid messages wait at their source for the setting to be corrected, and are not rejected."""
    event = smq_stream_event({"M1": request(), "M2": request(Name="y")})
    if in_doubt:
        act_and_hide(world)
        world.deliver(event)
        world.later(LATER)
        world.cloud.faults.clear()
    published = len(world.events)
    for _ in range(2):
        rows = world.deliver(event, HPOQ_TRIGGER="kafka")
        assert set(outcomes(rows)) == {"retry"}
        assert set(codes(rows)) == {"UnknownSource"}
    assert len(world.events) == published
    world.deliver(event)
    assert len(world.cloud.experiments) == 2
    assert world.broken() == []


def test_a_cloud_event_with_other_content_is_a_conflict(world):
    """Two events with one source and id and different content are a conflict: the second one is rejected."""

    def cloud_event(message_id, name):
        event = {
            "specversion": "1.0",
            "id": "7",
            "source": "/team",
            "type": "x",
            "data": json.loads(request(Name=name)),
        }
        return smq_event(message_id, json.dumps(event))

    assert outcomes(world.deliver(cloud_event("M1", "first"))) == ["created"]
    assert outcomes(world.deliver(cloud_event("M2", "first"))) == ["duplicate"]
    (row,) = world.deliver(cloud_event("M3", "SECOND"))
    assert (row["outcome"], row["error"]["code"]) == ("rejected", "IdempotencyConflict")
    assert len(world.cloud.experiments) == 1


def on_bus(name):
    event = {"specversion": "1.0", "id": "7", "source": "/team", "type": "x"}
    return json.dumps({**event, "data": json.loads(request(Name=name))}).encode()


def in_rabbitmq(name):
    delivery = {"envelope": {"routingKey": "q"}, "props": {"messageId": "7"}, "body": request(Name=name)}
    return json.dumps([delivery]).encode()


def in_two_queues(name):
    return smq_event("M7", request(Name=name), queue=name)


@pytest.mark.parametrize("make_event", [on_bus, in_rabbitmq, in_two_queues])
def test_an_id_that_is_used_again_is_a_conflict(world, make_event):
    """A source whose ids come from producers, or hold in one queue only, can bring two requests under one id.

    The second one gets an answer.
    """
    assert outcomes(world.deliver(make_event("first"))) == ["created"]
    assert outcomes(world.deliver(make_event("first"))) == ["duplicate"]
    for outcome in ("rejected", "duplicate"):
        (row,) = world.deliver(make_event("second"))
        assert row["outcome"] == outcome
    assert world.event_types == ["created", "rejected"]
    assert world.events[1]["data"]["error"]["code"] == "IdempotencyConflict"


def test_an_invalid_request_that_is_published_again_is_a_duplicate(world):
    """The bus writes another time into the second copy; what the producer wrote is the same."""
    event = {**json.loads(on_bus("x")), "data": {"experiment": {"Nmae": 1}}}
    for time, outcome, data in (
        ("1", "rejected", {}),
        ("2", "duplicate", {}),
        ("3", "rejected", {"stop": 1}),
    ):
        copy = {**event, "aliyunpublishtime": time, "data": event["data"] | data}
        assert outcomes(world.deliver(json.dumps([copy]).encode())) == [outcome]
    codes = [one["data"]["error"]["code"] for one in world.events]
    assert codes == ["InvalidRequest", "IdempotencyConflict"]


@pytest.mark.parametrize("fault", [None, "reset"])
def test_deployments_of_one_account_take_no_experiment_of_each_other(world, fault):
    """With a name of its own, a deployment has other keys, and therefore other markers and nonces."""
    assert outcomes(world.deliver(smq_event("M1", request("nightly")))) == ["created"]
    if fault:
        fail(world, kind=fault, when="before", times=1)
    world.store = MemoryStore()
    event = smq_event("M2", request("nightly", Name="other"))
    named = {"HPOQ_NAME": "staging", "HPOQ_QUEUE": QUEUE, "HPOQ_OUTPUT": f"smq://{TOPIC}"}
    assert deliver_until_done(world, event, **named)["outcome"] == "created"
    assert [one.name for one in world.cloud.experiments][1:] == ["other"]


def test_a_redriven_conflict_does_not_touch_the_first_request(world):
    """Another request under the key goes on with the first one's search; its redrive and number are its own."""
    act_and_hide(world)
    world.deliver(smq_event("M1", request("k")))
    world.later(LATER)
    key = derive_key("producer", "k")
    body = request("k", Name="other").encode()
    other = Envelope("smq", "M2", derive_key("smq", "M2"), body, sequence=9, redriven=True)
    fail(world, LIST, times=None, **DENIED)
    world.deliver(smq_event("R2", seal(other)))
    record = world.store.get(key)
    assert (record.state, record.redriven, record.sequence) == (State.IN_PROGRESS, None, 0)
