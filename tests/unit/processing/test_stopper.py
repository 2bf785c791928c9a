"""What a stop message does, step by step, and the note of who stops an experiment."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from fcruntime.triggers import Message
from hpoq.clock import Budget
from hpoq.cloud.experiments import Experiment
from hpoq.contract.events import ServiceError
from hpoq.contract.identity import PRODUCER, STOPPED, derive_key
from hpoq.errors import Conflict, Denied, Invalid, NotFound, Throttled, Unavailable, UnknownEnd
from hpoq.idempotency.record import Record, State
from hpoq.processing.creation import GivenUp, Postponed, Refused, Stopped
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.processing.outcome import as_event_error
from hpoq.processing.stop import StopNotes, Stopper
from hpoq.processing.watchorder import MOVED
from hpoq.testing import FakeClock, MemoryStore
from support.reading import read_message

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3)
KEY = derive_key(PRODUCER, "k", "team-a")
BUDGET = Budget(FakeClock())


def failure(kind, **members):
    return kind("no", service="paiautoml", operation="any", code="C", http_status=400, **members)


class Service:
    """A client whose experiment has the statuses `statuses`, one after the other; errors are raised."""

    def __init__(self, statuses=("RUNNING",), stopped="TERMINATING"):
        self.statuses, self.stopped, self.calls = list(statuses), stopped, []

    def _answer(self, value):
        if isinstance(value, Exception):
            raise value
        return value

    def get_hpo_experiment(self, experiment_id, *, budget):
        assert budget is BUDGET, "every call keeps to the time of the message"
        self.calls.append(("get", experiment_id))
        status = self._answer(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        return Experiment("s1", None, None, None, status, (), None, deleted=False)

    def stop_hpo_experiment(self, experiment_id, *, budget):
        assert budget is BUDGET
        self.calls.append(("stop", experiment_id))
        return self._answer(self.stopped)


class World:
    """A stop message that is carried out with a service, a store in memory and a claim."""

    def __init__(self, service=None, place=None):
        self.clock = FakeClock(10_000.0)
        self.ledger = Ledger(MemoryStore(), self.clock, TERMS, lambda: 0.0)
        self.notes = StopNotes(self.ledger, self.clock, "team-a")
        self.service = service or Service()
        self.claim = self.ledger.open(Delivery("stop", "f", "stop", "b")).record
        self.stopper = Stopper(self.service, self.ledger, self.notes, self.clock, place)

    def record(self, key=KEY, **changes):
        """Record a request under `key`."""
        claim = self.ledger.open(Delivery(key, "f", key, "b")).record
        self.ledger.save(replace(claim, **{"state": State.COMPLETED, **changes}), claim.version)

    def stop(self, name='"experimentId": "s1"', **changes):
        request = read_message(Message("smq", "S1", f'{{"stop": {{{name}}}}}'.encode())).request
        return self.stopper.stop(request, replace(self.claim, **changes), BUDGET)


BY_KEY = '"idempotencyKey": "k"'


def test_a_running_experiment_is_noted_and_stopped():
    """The note comes first, so that the end is ascribed also if this instance dies in between."""
    world = World()
    world.service.stop_hpo_experiment = lambda experiment_id, *, budget: world.notes.find(experiment_id)
    assert world.stop() == Stopped(world.claim, "s1", "request")


@pytest.mark.parametrize("name", [BY_KEY, f'"idempotencyKey": "{KEY}"'], ids=["the producer's", "ours"])
def test_a_request_is_found_by_its_key(name):
    """The key is that of its producer, in the namespace, or the one that events show."""
    world = World()
    world.record(experiment_id="s1", published_at=1.0)
    assert world.stop(name) == Stopped(world.claim, "s1", "TERMINATING")
    assert world.service.calls == [("get", "s1"), ("stop", "s1")]


def test_a_producers_key_that_looks_like_the_key_of_another_request_names_its_own():
    """A producer may choose any text as its key, also one that an event of another request shows."""
    world = World()
    shown = derive_key(PRODUCER, "another", "team-a")
    world.record(shown, experiment_id="s9")
    world.record(derive_key(PRODUCER, shown, "team-a"), experiment_id="s1")
    assert world.stop(f'"idempotencyKey": "{shown}"') == Stopped(world.claim, "s1", "TERMINATING")


def test_a_name_that_is_not_a_key_is_not_looked_up_as_one():
    """A record under the name itself belongs to somebody else."""
    world = World()
    world.record("not-a-key", experiment_id="s1")
    assert world.stop('"idempotencyKey": "not-a-key"').error.code == "UnknownKey"


@pytest.mark.parametrize(
    ("recorded", "code", "retryable"),
    [
        (None, "UnknownKey", False),
        ({"state": State.IN_PROGRESS}, "RequestInProgress", True),
        ({"state": State.REJECTED}, "NothingToStop", False),
    ],
)
def test_a_request_without_an_experiment_cannot_be_stopped(recorded, code, retryable):
    """A request in progress may still make one: its stop waits, at no cost of attempts."""
    world = World()
    if recorded is not None:
        world.record(**recorded)
    ending = world.stop(BY_KEY)
    assert (ending.error.code, ending.error.retryable) == (code, retryable)
    assert "idempotencyKey" in ending.error.message
    kind = (
        Postponed(world.claim, ending.error, None, counts=False)
        if retryable
        else Refused(world.claim, ending.error)
    )
    assert ending == kind
    assert world.service.calls == []


def test_a_stop_whose_attempts_are_used_up_is_given_up():
    """Earlier owners died, and the service is not asked again."""
    world = World()
    ending = world.stop(attempts=4)
    assert ending == GivenUp(replace(world.claim, attempts=4), ending.error)
    assert (ending.error.code, ending.error.retryable) == ("AttemptsUsedUp", True)
    assert ending.error.message
    assert isinstance(world.stop(attempts=3), Stopped)


@pytest.mark.parametrize(
    ("statuses", "stopped", "ending", "note"),
    [
        (["FINISHED"], "TERMINATING", "FINISHED", None),
        (["RUNNING"], "TERMINATING", "TERMINATING", "request"),
        (["RUNNING", "TERMINATING"], None, "TERMINATING", "request"),
        (["RUNNING", "USER_CANCELED"], None, "USER_CANCELED", "request"),
        (["RUNNING", "FINISHED"], failure(Invalid), "FINISHED", "request"),
        (["RUNNING", "TERMINATING"], failure(Conflict), "TERMINATING", "request"),
    ],
)
def test_an_experiment_that_ends_or_is_being_stopped_confirms_a_stop(statuses, stopped, ending, note):
    """It may end on its own in between, and a refusal may mean that."""
    world = World(Service(statuses, stopped))
    assert world.stop() == Stopped(world.claim, "s1", ending)
    assert world.notes.find("s1") == note


@pytest.mark.parametrize("kind", [Invalid, Conflict])
def test_a_refused_stop_of_a_running_experiment_is_refused(kind):
    """The error is the service's, and the note is withdrawn."""
    refusal = failure(kind)
    world = World(Service(stopped=refusal))
    assert world.stop() == Refused(world.claim, as_event_error(refusal))
    assert world.notes.find("s1") is None


@pytest.mark.parametrize(
    ("kind", "note"),
    [(Denied, None), (Throttled, None), (NotFound, None), (Unavailable, None), (UnknownEnd, "request")],
)
def test_only_a_stop_that_may_have_had_effect_stays_noted(kind, note):
    """While it waits for an operator, somebody may stop the experiment in the console."""
    world = World(Service(stopped=failure(kind)))
    assert world.stop().error.retryable
    assert world.notes.find("s1") == note


def test_a_stop_whose_refusal_cannot_be_checked_stays_noted():
    """The refusal may be that of a repetition."""
    world = World(Service(["RUNNING", failure(Throttled)], failure(Denied)))
    assert isinstance(world.stop(), Postponed)
    assert world.notes.find("s1") == "request"


def test_a_stop_without_an_effect_is_tried_again():
    """An answer without a status is no proof that the service has acted; the attempt counts."""
    world = World(Service(stopped=None))
    ending = world.stop()
    assert ending == Postponed(world.claim, ending.error, None, counts=True)
    assert (ending.error.code, ending.error.retryable) == ("StopUnconfirmed", True)
    assert ending.error.message


@pytest.mark.parametrize(
    ("name", "published_at", "waited", "is_postponed"),
    [
        ('"experimentId": "s1"', None, 14.9, True),
        ('"experimentId": "s1"', None, 15, False),
        (BY_KEY, 10_020.0, 34.9, True),
        (BY_KEY, 10_020.0, 35, False),
        (BY_KEY, None, 1000, True),
    ],
)
def test_an_experiment_that_is_not_found_may_be_too_new(name, published_at, waited, is_postponed):
    """It counts from the claim, or from the event of the request, whose stop may have waited for long."""
    world = World(Service([failure(NotFound, request_id="R")]))
    world.record(experiment_id="s1", published_at=published_at)
    world.clock.advance(waited)
    world.claim = replace(world.claim, searches=1)
    ending = world.stop(name)
    if is_postponed:
        assert ending == Postponed(world.claim, ending.error, None, counts=False)
        assert (ending.error.code, ending.error.retryable) == ("C", True)
    else:
        assert ending == Refused(world.claim, ending.error)
        assert (ending.error.code, ending.error.retryable) == ("ExperimentNotFound", False)
        assert ending.error.service == ServiceError("C", "no", "R", 400)
        assert ending.error.message


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "searches", "is_postponed"),
    [(BY_KEY, 0, True), (BY_KEY, 1, False), ('"experimentId": "s1"', 0, False)],
)
def test_a_recorded_experiment_must_be_missed_twice(name, searches, is_postponed, attempts):
    """It was created, so one answer does not prove that it was deleted; an id alone may be wrong.

    What other attempts met does not matter.
    """
    world = World(Service([failure(NotFound)]))
    world.record(experiment_id="s1", published_at=10_000.0)
    world.clock.advance(100)
    ending = world.stop(name, attempts=attempts, searches=searches)
    assert isinstance(ending, Postponed) == is_postponed
    if is_postponed:
        assert (ending.error.code, ending.error.retryable) == ("C", True)
        assert (ending.counts, ending.inconclusive) == (False, True), "it waits before it looks again"


@pytest.mark.parametrize(
    ("kind", "place", "is_waiting"),
    [
        (NotFound, "https://there", True),
        (NotFound, "https://here", False),
        (NotFound, None, False),
        (Throttled, "https://there", False),
    ],
)
def test_a_request_whose_experiment_only_another_endpoint_knows_is_stopped_later(kind, place, is_waiting):
    """An operator is told to set the endpoint back, which costs no attempt."""
    world = World(Service([failure(kind)]), "https://here")
    world.record(experiment_id="s1", published_at=1.0, place=place)
    with capture_logs() as lines:
        ending = world.stop(BY_KEY)
    assert (ending == Postponed(world.claim, MOVED, None, counts=False)) is is_waiting
    assert [line["place"] for line in lines if line.get("code") == MOVED.code] == [place] * is_waiting


@pytest.mark.parametrize(
    ("kind", "counts", "is_logged"),
    [(Denied, False, True), (Invalid, False, True), (Throttled, False, False), (UnknownEnd, True, False)],
)
def test_a_call_that_fails_is_repeated(kind, counts, is_logged):
    """An unknown end is an attempt. What lasts until an operator acts is logged for one."""
    world = World(Service([failure(kind)]))
    with capture_logs() as lines:
        ending = world.stop()
    assert ending == Postponed(
        world.claim, replace(as_event_error(failure(kind)), retryable=True), None, counts=counts
    )
    assert [line["event"] for line in lines] == ["operator.needed"] * is_logged


@pytest.fixture
def notes():
    clock = FakeClock()
    return StopNotes(Ledger(MemoryStore(), clock, TERMS, lambda: 0.0), clock, "team-a")


def test_the_first_note_stays(notes):
    """The event of the end names who stopped the experiment first."""
    notes.add("s1", "guard:maxHours")
    notes.add("s1", "request")
    assert notes.find("s1") == "guard:maxHours"
    assert notes.find("s2") is None


def test_a_note_is_taken_back_by_its_writer_alone(notes):
    """A stop that the service refuses says nothing about one that is under way."""
    notes.withdraw("s1", "request")
    assert notes.find("s1") is None
    notes.add("s1", "guard:maxHours")
    notes.withdraw("s1", "request")
    assert notes.find("s1") == "guard:maxHours"
    notes.withdraw("s1", "guard:maxHours")
    assert notes.find("s1") is None
    notes.add("s1", "request")
    assert notes.find("s1") == "request"


def test_a_note_is_remembered_as_long_as_an_ended_key(notes):
    """It is a record under a key of its own, which a store may let expire: there is no event to publish."""
    now = notes.clock.now()
    notes.add("s1", "request")
    record = notes.ledger.get(derive_key(STOPPED, "s1", "team-a"))
    assert record == Record(
        key=derive_key(STOPPED, "s1", "team-a"),
        state=State.COMPLETED,
        fingerprint="note",
        owner=record.owner,
        claimed_at=now,
        lease_until=now,
        expires_at=now + 1000,
        experiment_id="s1",
        published_at=now,
        stopped_by="request",
    )
    assert record.owner
