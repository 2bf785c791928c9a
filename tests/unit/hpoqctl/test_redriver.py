"""What `hpoq redrive` does with dead letters while time passes, over the local cloud on a clock of the test's."""

import base64
import contextlib
import json
import random
from dataclasses import dataclass, field, replace

import pytest

import alilocal
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import derive_key
from hpoq.processing.envelope import Envelope, seal, unseal
from hpoq.testing import FakeClock, smq_event, smq_stream_event
from hpoqctl.queueclient import QueueClient
from hpoqctl.redrive import Plan, Redriver
from support.budget import CI_BUDGET
from support.sending import intercept

REQUEST = json.dumps({"experiment": {"Name": "x"}})
DEAD, QUEUE = "dead", "requests"
PLAN = Plan(source=DEAD, queue=QUEUE)


@dataclass
class World:
    """A cloud with a queue and a dead-letter queue. Every call takes `call_seconds`, half of it on its way.

    The operator's clock is ahead of the cloud's by `ahead` seconds.
    """

    visibility: int = 30
    call_seconds: float = 0.0
    ahead: float = 0.0
    clock: FakeClock = field(default_factory=FakeClock)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.cloud = alilocal.LocalCloud(clock=self.clock, seed=1)
        self.dead = self.cloud.queues.create(DEAD, visibility_timeout=self.visibility)
        self.queue = self.cloud.queues.create(QUEUE)
        self.session = self.cloud.session()

        def slow_send(send, request, **options):
            self.clock.advance(self.call_seconds / 2)
            self.calls.append(request.method)
            answer = send(request, **options)
            self.clock.advance(self.call_seconds / 2)
            return answer

        intercept(self.session, slow_send)

    def add(self, *numbers):
        for number in numbers:
            self.dead.send(smq_event(f"M{number}", REQUEST).decode())

    def redriver(self, **options):
        credentials = Credentials(self.cloud.access_key_id, self.cloud.access_key_secret)
        clock = OperatorClock(self)
        smq = QueueClient(Transport(self.session, clock), self.cloud.endpoint, lambda: credentials)
        return Redriver(smq, clock, replace(PLAN, **options))

    def redrive(self, **options):
        return self.redriver(**options).run()

    @property
    def sent(self):
        """The envelopes in the queue."""
        return [unseal(base64.b64decode(message.body)) for message in self.queue.messages]

    @property
    def sent_ids(self):
        return sorted(envelope.message_id for envelope in self.sent)

    @property
    def states(self):
        return sorted(self.dead.states().values())


class OperatorClock:
    """The clock of the machine on which the command runs."""

    def __init__(self, world):
        self._world = world

    def now(self):
        return self._world.clock.now() + self._world.ahead

    def __getattr__(self, name):
        return getattr(self._world.clock, name)


def ids(*numbers):
    return sorted(f"M{number}" for number in numbers)


@pytest.mark.one_of("visibility", budget=CI_BUDGET)
@pytest.mark.parametrize("visibility", [1, 2, 5, 30])
@pytest.mark.parametrize("rate", [0.01, 0.2, 1, 3, 100])
def test_a_run_longer_than_the_visibility_moves_each_dead_letter_once(visibility, rate):
    """However slow the rate is, no dead letter is lost, moved twice, or reported as an error."""
    world = World(visibility)
    world.add(*range(40))
    report = world.redrive(pause=1 / rate)
    assert (report.error, report.left, report.invisible) == (None, [], 0)
    assert world.sent_ids == ids(*range(40))
    assert len(report.moved) == 40
    assert world.dead.messages == []


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.9, 1.3])
def test_slow_calls_do_not_move_a_dead_letter_twice(seconds):
    """Visibility that ends between two calls costs a renewal or a repeat, never a second message."""
    world = World(visibility=2, call_seconds=seconds)
    world.add(*range(20))
    report = world.redrive()
    assert report.error is None
    assert len(world.sent_ids) == len(set(world.sent_ids)) == len(report.moved)
    moved = {row["messageId"] for row in report.moved}
    left = {row["messageId"] for row in report.left}
    assert moved == set(world.sent_ids)
    assert left == set(ids(*range(20))) - moved
    assert all("visibility" in row["reason"] for row in report.left)


@pytest.mark.parametrize("seconds", [3, 10])
def test_a_visibility_shorter_than_a_call_is_reported(seconds):
    """Nothing can be moved safely then; the run ends and says why."""
    world = World(visibility=2, call_seconds=seconds)
    world.add(*range(20))
    report = world.redrive()
    assert (report.error, report.moved, world.sent_ids, report.is_success) == (None, [], [], False)
    assert "visibility time-out of 2 s" in report.left[0]["reason"]
    assert len(world.dead.messages) == 20


def test_a_dead_letter_whose_receipt_is_lost_before_its_message_is_sent_is_not_sent():
    """Another receiver may hold it by then; it is moved if it comes again."""
    world = World(visibility=4)
    world.add(1, 2)
    redriver = world.redriver()
    renew = redriver._renew

    def stand_still_once(held):
        redriver._renew = renew
        world.clock.advance(10)
        return renew(held)

    redriver._renew = stand_still_once
    report = redriver.run()
    assert (report.error, report.left) == (None, [])
    assert world.sent_ids == ids(1, 2)
    assert world.dead.messages == []


def test_a_dead_letter_that_comes_again_after_its_message_was_sent_is_only_deleted():
    """A receipt that is lost between sending and deleting is no error; the message is not sent again."""
    world = World(visibility=4)
    world.add(1, 2)
    redriver = world.redriver()
    delete = redriver._delete

    def stand_still_once(held):
        redriver._delete = delete
        world.clock.advance(10)
        delete(held)
        assert report.may_come_again == {held.message_id}

    redriver._delete, report = stand_still_once, redriver.report
    assert redriver.run() is report
    assert (report.error, report.may_come_again) == (None, set())
    assert world.sent_ids == ids(1, 2)
    assert world.dead.messages == []


def test_a_receipt_that_stays_lost_is_reported():
    """What was sent and could not be deleted in the end may be moved again by the next run."""
    world = World(visibility=4)
    world.add(1)
    redriver = world.redriver(limit=1)
    delete = redriver._delete
    redriver._delete = lambda held: (world.clock.advance(10), delete(held))
    report = redriver.run()
    assert (report.error, len(report.moved), len(report.may_come_again)) == (None, 1, 1)
    assert report.as_json()["mayComeAgain"] == sorted(report.may_come_again)


def test_a_dead_letter_that_another_receiver_holds_is_not_reported_as_deleted():
    """A deletion checks the receipt first: whoever holds the dead letter by then may be about to move it."""
    world = World(visibility=4)
    world.add(1)
    redriver = world.redriver(is_deletion=True)
    redriver._on_dead_letter = lambda _: (world.clock.advance(10), world.dead.receive(1))
    report = redriver.run()
    assert (report.error, report.moved, report.may_come_again) == (None, [], set())
    assert [row["messageId"] for row in report.left] == ["M1"]
    assert "visibility" in report.left[0]["reason"]


def test_a_dead_letter_that_comes_again_is_announced_once():
    """Whoever watches the run counts dead letters, not how often they were received."""
    world = World(visibility=4)
    world.add(1)
    redriver, announced = world.redriver(), []
    redriver._on_dead_letter = lambda one: (announced.append(one), world.clock.advance(10))
    report = redriver.run()
    assert (len(report.moved), len(announced)) == (1, 1)


def test_a_lost_receipt_is_not_renewed_again():
    """The rest of a dead letter whose first message was sent is sent without another call for its receipt."""
    world = World(visibility=4)
    world.dead.send(smq_stream_event({f"M{number}": REQUEST for number in range(3)}).decode())
    redriver = world.redriver()
    send = redriver._smq.send_message
    redriver._smq.send_message = lambda *message, **options: (
        world.clock.advance(10),
        send(*message, **options),
    )
    report = redriver.run()
    assert (world.sent_ids, report.error) == (ids(0, 1, 2), None)
    assert world.calls.count("PUT") == 1


@pytest.mark.parametrize(("seconds", "is_renewed"), [(14, False), (16, True)])
def test_a_dead_letter_is_renewed_before_less_than_half_of_its_visibility_is_left(seconds, is_renewed):
    """What is left must outlast the calls that send its messages and delete it."""
    world = World(visibility=30)
    world.add(1)
    redriver = world.redriver()
    redriver._on_dead_letter = lambda _: world.clock.advance(seconds)
    redriver.run()
    before_sending = world.calls[: world.calls.index("POST")]
    assert ("PUT" in before_sending) is is_renewed


def test_a_dead_letter_stays_hidden_while_its_messages_are_sent():
    """One with many messages is renewed between them, however long they take together."""
    world = World(visibility=4, call_seconds=1)
    bodies = {f"M{number}": REQUEST for number in range(10)}
    world.dead.send(smq_stream_event(bodies).decode())
    report = world.redrive()
    assert (world.sent_ids, report.may_come_again, world.dead.messages) == (sorted(bodies), set(), [])
    assert world.calls.count("DELETE") == 1


def test_a_receipt_is_valid_from_the_moment_its_renewal_is_sent():
    """The queue may have taken the call at once, so its duration does not count as visibility."""
    world = World(visibility=4, call_seconds=1)
    world.add(1)
    redriver, valid = world.redriver(), []
    hide = redriver._hide

    def note_end(held, seconds):
        begun_at = world.clock.monotonic()
        try:
            return hide(held, seconds)
        finally:
            valid.append((held.ends_at - begun_at, seconds))

    redriver._hide = note_end
    redriver._on_dead_letter = lambda _: world.clock.advance(1)
    redriver.run()
    assert valid == [(4, 4)]


@pytest.mark.parametrize("code", ["MessageNotExist", "ReceiptHandleError"])
def test_either_answer_to_a_lost_receipt_is_understood(code):
    """The documentation names both."""
    world = World(visibility=1, call_seconds=0.9)
    world.cloud.behaviour.expired_receipt = code
    world.add(*range(5))
    report = world.redrive()
    assert report.error is None
    assert len(world.sent_ids) == len(set(world.sent_ids))


def test_a_queue_that_is_deleted_meanwhile_is_an_error():
    """Only a lost receipt is tolerated, not everything that is not found."""
    world = World()
    world.add(1)
    redriver = world.redriver(limit=1)
    delete = redriver._delete
    redriver._delete = lambda held: (world.cloud.queues.delete(DEAD), delete(held))
    report = redriver.run()
    assert report.error is not None
    assert report.error.code == "QueueNotExist"
    assert report.invisible is None


@pytest.mark.parametrize(("limit", "number"), [(1, 16), (17, 32)])
def test_a_limit_hides_no_other_dead_letter(limit, number):
    """Only as many are received as may be moved."""
    world = World(visibility=900)
    world.add(*range(number))
    assert len(world.redrive(limit=limit).moved) == limit
    assert world.states == ["active"] * 15
    assert max(message.dequeue_count for message in world.dead.messages) == 0


def test_a_limit_does_not_slow_down_the_search_for_what_matches():
    """Most of what a pattern looks at is not moved, so many are received at once."""
    world = World(visibility=900)
    world.add(*range(32))
    assert len(world.redrive(pattern="M31", limit=1).moved) == 1
    assert world.calls.count("GET") < 32


def test_a_limit_counts_dead_letters():
    """A dead letter with many messages is one dead letter."""
    world = World()
    for first in (1, 3, 5):
        bodies = {f"M{first}": REQUEST, f"M{first + 1}": REQUEST}
        world.dead.send(smq_stream_event(bodies).decode())
    assert len(world.redrive(limit=2).moved) == 4
    assert len(world.dead.messages) == 1


@pytest.mark.parametrize("options", [{"pattern": "M7"}, {"is_dry_run": True}, {"pattern": "M7", "limit": 1}])
def test_what_is_not_moved_is_visible_when_the_run_ends(options):
    """Dead letters that are only looked at are given back, and not counted as invisible."""
    world = World(visibility=900)
    world.add(*range(40))
    report = world.redrive(**options)
    assert set(world.states) == {"active"}
    assert report.invisible == 0


@pytest.mark.parametrize("broken", [KeyboardInterrupt, ValueError])
def test_a_run_that_is_broken_off_gives_back_what_it_holds(broken):
    """Ctrl-C hides no dead letter, and the report says what was done until then."""
    world = World(visibility=900)
    world.add(*range(16))
    redriver = world.redriver()
    move, moves = redriver._move, []

    def stop(held, dead_letter):
        moves.append(held)
        if len(moves) == 3:
            raise broken
        return move(held, dead_letter)

    redriver._move = stop
    with contextlib.nullcontext() if broken is KeyboardInterrupt else pytest.raises(broken):
        redriver.run()
    world.clock.advance(1)
    assert world.states == ["active"] * 14
    assert len(redriver.report.moved) == 2
    assert redriver.report.is_interrupted == (broken is KeyboardInterrupt)


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_interrupted_at_its_end_gives_back_all_the_same(times):
    """With many dead letters Ctrl-C is likely to come then. A second one ends the run at once."""
    world = World(visibility=900)
    world.add(*range(40))
    redriver = world.redriver(is_dry_run=True)
    hide, hidden = redriver._hide, []

    def interrupt(held, seconds):
        if seconds == 1:
            hidden.append(held)
            if len(hidden) in (5, 6)[:times]:
                raise KeyboardInterrupt
        return hide(held, seconds)

    redriver._hide = interrupt
    with pytest.raises(KeyboardInterrupt) if times == 2 else contextlib.nullcontext():
        redriver.run()
    assert redriver.report.invisible is None, "nobody waits for the counters after Ctrl-C"
    world.clock.advance(1)
    assert world.states.count("active") == (40 if times == 1 else 4)


def test_a_message_that_cannot_be_sent_stays_in_the_dead_letter_queue():
    """A dead letter is deleted only after its message was sent."""
    world = World()
    world.add(1)
    world.cloud.faults.add(service="smq", operation="SendMessage", kind="refuse", when="before", times=None)
    report = world.redrive()
    assert report.error is not None
    assert (report.moved, world.sent_ids, len(world.dead.messages)) == ([], [], 1)
    assert set(world.states) == {"active"}


def come_back(world):
    """Make each message that is sent a dead letter at once, as a function does with one that it rejects."""

    def send_back(send, request, **options):
        answer = send(request, **options)
        for message in world.queue.receive(16) or ():
            world.clock.advance(1)
            world.dead.send(base64.b64decode(message.body).decode())
            world.queue.delete(message.receipt_handle)
        return answer

    intercept(world.session, send_back)


@pytest.mark.parametrize("options", [{}, {"limit": 9}, {"pattern": "*"}])
def test_a_message_that_comes_back_during_the_run_is_moved_once(options):
    """Otherwise the run would never end. The message stays in the dead-letter queue, and the report says why."""
    world = World()
    world.add(1, 2)
    come_back(world)
    report = world.redrive(**options)
    assert sorted(row["messageId"] for row in report.moved) == ids(1, 2)
    left = {(row["messageId"], row["reason"]) for row in report.left}
    assert left == {(one, "its message was given up again during the run") for one in ids(1, 2)}
    assert not report.is_success
    assert len(world.dead.messages) == 2


def test_copies_of_a_message_are_all_moved():
    """They were in the dead-letter queue before; each but one is a duplicate."""
    world = World()
    world.add(1, 1, 1)
    world.clock.advance(60)
    assert len(world.redrive().moved) == 3
    assert world.dead.messages == []


@pytest.mark.parametrize("ahead", [-600, 600])
def test_what_comes_back_is_known_by_the_clock_of_the_service(ahead):
    """The operator's clock may be wrong."""
    world = World(ahead=ahead)
    world.add(1, 1)
    come_back(world)
    world.clock.advance(60)
    report = world.redrive(limit=9)
    assert [row["messageId"] for row in report.moved] == ids(1, 1)
    assert len(report.left) == 2


def test_what_comes_back_is_known_by_the_first_time_that_its_message_was_sent():
    """The second copy is sent after the first one has come back."""
    world = World()
    world.add(1, 1)
    come_back(world)
    world.clock.advance(60)
    report = world.redrive(limit=9, pause=5)
    assert (len(report.moved), len(report.left)) == (2, 2)


def test_a_dead_letter_that_does_not_match_hides_no_others():
    """Dead letters that a filter passes over stay hidden until the end, however short the visibility is."""
    world = World(visibility=1, call_seconds=0.1)
    world.add(*range(60), 777)
    report = world.redrive(pattern="M777")
    assert [row["messageId"] for row in report.moved] == ["M777"]
    assert len(report.left) == 60
    assert set(world.states) == {"active"}


def test_what_another_receiver_holds_is_counted():
    """An operator must know that there are dead letters that this run did not see."""
    world = World(visibility=60)
    world.add(1, 2, 3, 4)
    world.dead.receive(3)
    report = world.redrive()
    assert (len(report.moved), report.invisible) == (1, 3)
    assert report.as_json()["invisible"] == 3


def test_a_pattern_distinguishes_capitals_from_small_letters():
    """Names and ids that differ in nothing else are those of different messages."""
    world = World()
    world.add(1)
    report = world.redrive(pattern="m1")
    assert (report.moved, report.has_match, world.states) == ([], False, ["active"])


def test_a_redriven_message_is_marked():
    """The envelope is marked as redriven, and when; its sequence number is the dead letter's."""
    world = World()
    world.add(1)
    key = derive_key("smq", "M2")
    world.dead.send(base64.b64encode(seal(Envelope("smq", "M2", key, b"\xff\xfe", sequence=5))))
    now = world.clock.now()
    world.redrive()
    reported = {one.message_id: (one.sequence, one.redriven, one.body) for one in world.sent}
    assert reported == {"M1": (0, True, REQUEST.encode()), "M2": (5, True, b"\xff\xfe")}
    assert {one.renewed for one in world.sent} == {now}


def test_what_is_reported_of_a_message_contains_no_secret():
    """Its id, its name and the producer's key may contain one; the pattern that was shown still matches."""
    world = World()
    secret = "EXAMPLE-SECRET-VALUE"
    request = {"idempotencyKey": f"run?token={secret}", "experiment": {"Name": f"--password={secret}"}}
    members = {"id": "1", "source": f"https://user:{secret}@example.com/", "data": request}
    world.dead.send(json.dumps({"specversion": "1.0", "type": "t", **members}))
    report = world.redrive(pattern="run?token=***")
    (row,) = report.moved
    assert secret not in json.dumps(report.as_json())
    assert (row["producerKey"], row["name"]) == ("run?token=***", "--password=***")
    assert row["messageId"] == '{"id":"1","source":"https://user:***@example.com/"}'
    (envelope,) = world.sent
    assert secret in envelope.message_id


def test_a_dead_letter_is_known_by_the_id_that_its_message_had():
    """A queue's dead-letter policy gives the message a new id; the key is the original's."""
    world = World(visibility=1)
    message_id = world.queue.send(REQUEST)
    world.queue.dead_letter(DEAD, max_receive_count=1)
    world.queue.receive(1)
    world.clock.advance(60)
    smq = world.redriver()._smq
    assert smq.receive_messages(QUEUE) == ()
    (dead,) = world.dead.messages
    assert dead.message_id != message_id
    world.redrive()
    (envelope,) = world.sent
    assert (envelope.message_id, envelope.key) == (message_id, derive_key("smq", message_id))


def test_a_dead_letter_with_one_unreadable_item_stays_whole():
    """No message of it is sent: its deletion would take the unreadable one with it."""
    world = World()
    event = json.loads(smq_stream_event({"M1": REQUEST, "M2": REQUEST}))
    del event[1]["data"]["messageBody"]
    world.dead.send(json.dumps(event))
    report = world.redrive()
    assert (report.moved, world.sent_ids, len(world.dead.messages)) == ([], [], 1)
    assert "key" in report.left[0]["reason"]


@pytest.mark.parametrize("is_known", [False, True])
def test_a_new_message_is_sent_once_although_its_end_is_unknown(is_known):
    """Each copy of a message without a key would create an experiment; copies of one with a key do not."""
    world = World()
    world.dead.send(smq_event("M1", REQUEST).decode() if is_known else REQUEST)
    world.cloud.faults.add("reset", service="smq", operation="SendMessage", when="after", times=1)
    report = world.redrive(as_new=True)
    assert len(world.queue.messages) == 1 + is_known
    assert (report.error is None) == is_known
    assert len(world.dead.messages) == 1 - is_known


def test_new_messages_whose_keys_are_not_known_are_not_taken_for_one():
    """A dead letter that arrives during the run is another one, not the first that came back."""
    world = World(call_seconds=2)
    world.dead.send(REQUEST)
    redriver = world.redriver(as_new=True)
    send = redriver._smq.send_message

    def send_while_another_comes(*message, **options):
        if not world.queue.messages:
            world.clock.advance(5)
            world.dead.send(REQUEST.replace("x", "y"))
        return send(*message, **options)

    redriver._smq.send_message = send_while_another_comes
    report = redriver.run()
    assert (len(report.moved), report.left, len(world.queue.messages)) == (2, [], 2)


@pytest.mark.parametrize("is_dry_run", [False, True])
def test_a_deletion_takes_no_message_that_does_not_match(is_dry_run):
    """The dead letter of an event has several messages. It is deleted if all match, or if its own id does."""
    world = World()
    event = smq_stream_event(
        {"M1": json.dumps({**json.loads(REQUEST), "idempotencyKey": "k1"}), "M2": REQUEST}
    )
    letter_id = world.dead.send(event.decode())
    report = world.redrive(is_deletion=True, is_dry_run=is_dry_run, pattern="k1")
    assert (report.moved, len(world.dead.messages), report.is_success) == ([], 1, False)
    assert ["its own id" in row["reason"] for row in report.left] == [True, True]
    world.clock.advance(60)
    report = world.redrive(is_deletion=True, is_dry_run=is_dry_run, pattern=letter_id)
    assert [row["messageId"] for row in report.moved] == ["M1", "M2"]
    assert len(world.dead.messages) == is_dry_run


def test_a_dead_letter_is_moved_as_a_whole_if_one_of_its_messages_matches():
    """The others are duplicates or are due anyway, so nothing is lost, as it would be with a deletion."""
    world = World()
    event = smq_stream_event(
        {"M1": json.dumps({**json.loads(REQUEST), "idempotencyKey": "k1"}), "M2": REQUEST}
    )
    world.dead.send(event.decode())
    report = world.redrive(pattern="k1")
    assert [row["messageId"] for row in report.moved] == ["M1", "M2"]
    assert len(world.dead.messages) == 0


def test_messages_of_a_namespace_keep_their_keys():
    """Keys are derived in the function's namespace, for a producer's own key too."""
    world = World()
    world.add(1)
    world.dead.send(json.dumps({**json.loads(REQUEST), "idempotencyKey": "k"}))
    report = world.redrive(namespace="team-a")
    expected = {derive_key("smq", "M1", "team-a"), derive_key("producer", "k", "team-a")}
    assert {row["key"] for row in report.moved} == expected
    assert len(world.queue.messages) == 2


def test_messages_of_a_pinned_source_keep_their_keys():
    """A failed call is read under the source that the function is set to."""
    world = World()
    world.dead.send(json.dumps({"requestContext": {"requestId": "r-1"}, "requestPayload": REQUEST}))
    report = world.redrive(trigger="smq-topic")
    assert [row["key"] for row in report.moved] == [derive_key("smq-topic", "r-1")]


def test_a_large_typical_message_is_moved_and_an_incompressible_one_stays():
    """What does not fit in its envelope is left where it is, with the reason."""
    world = World()
    large = json.dumps({"experiment": {"Name": "x"}, "text": "typical " * 8000})[:65_000]
    incompressible = base64.b64encode(random.Random(1).randbytes(48_000)).decode()
    world.dead.send(seal(Envelope("smq", "M1", derive_key("smq", "M1"), large.encode())))
    world.dead.send(smq_event("M2", incompressible[:64_000]).decode())
    report = world.redrive()
    assert [row["messageId"] for row in report.moved] == ["M1"]
    assert [row["messageId"] for row in report.left] == ["M2"]
    assert "too large" in report.left[0]["reason"]
