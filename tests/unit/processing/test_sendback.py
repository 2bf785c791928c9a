import io
import random
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from hpoq.clock import Budget
from hpoq.cloud.smq import fits
from hpoq.contract.events import EventError
from hpoq.contract.identity import WATCH, derive_key
from hpoq.errors import CallError, Denied, NotFound, Unavailable
from hpoq.idempotency.record import State
from hpoq.observability import logs
from hpoq.observability.measures import Measures, collect_into
from hpoq.processing import lifecycle
from hpoq.processing.envelope import MOST_SEQUENCE, Envelope, seal, unseal
from hpoq.processing.intake import Rejected
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Action, Delivery, Terms
from hpoq.processing.outcome import Outcome, Retry
from hpoq.processing.pace import Pace
from hpoq.processing.sendback import DeadLetters, SendBack
from hpoq.testing import FakeClock, MemoryStore

TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3, delay=30)
KEY = derive_key("smq", "M1")
ENVELOPE = Envelope("smq", "M1", KEY, b"{}")
DELIVERY = Delivery(KEY, "f", KEY, "b", message_id="M1")
ERROR = EventError("code", "message", retryable=True)
BUDGET = Budget.lasting(7.0, FakeClock())
NOISE = random.Random(1).randbytes(65_536)


class Queues:
    """A queue service that notes what it gets, and fails if `error` is set."""

    def __init__(self, error=None):
        self.sent = []
        self.error = error

    def send_message(self, queue, body, *, delay_seconds=0, budget=None):
        if self.error:
            raise self.error
        self.sent.append((queue, unseal(body), delay_seconds, budget))


UNAVAILABLE = Unavailable("no", service="smq", operation="SendMessage")


@pytest.fixture
def clock():
    return FakeClock(10_000.0)


@pytest.fixture
def ledger(clock):
    return Ledger(MemoryStore(), clock, TERMS, lambda: 0.0)


def make(ledger, clock, queues, dead=None):
    return SendBack(lambda: queues, "q", dead, ledger, clock, BUDGET, Pace(clock))


def released(ledger, clock, **changes):
    """Return the record of the message after an attempt that gave its claim back."""
    claim = ledger.open(DELIVERY).record
    record = replace(lifecycle.release(claim, None, clock.now(), counts=True), **changes)
    return ledger.save(record, claim.version)


def retry(record=None):
    return Retry(Outcome.RETRY, KEY, "M1", error=ERROR, record=record)


def intake(envelope=ENVELOPE, delivery=DELIVERY):
    return Rejected(delivery, envelope, ERROR)


def test_a_message_is_sent_back_numbered_and_recorded(ledger, clock):
    """The copy has the next number and the delay of the message; the record then drops every older copy."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    record = released(ledger, clock, attempts=3, sequence=4)
    redriven = replace(ENVELOPE, sequence=2, redriven=True)
    assert sender.send(sender.seal(intake(redriven), retry(record)))
    assert queues.sent == [("q", replace(ENVELOPE, sequence=5, since=10_000.0), 120, BUDGET)]
    stored = ledger.get(KEY)
    assert (stored.sequence, stored.not_before) == (5, 10_120.0)
    assert lifecycle.decide(stored, replace(DELIVERY, sequence=4), 10_200.0) is Action.DROP


def test_a_copy_is_due_when_its_queue_shows_it(ledger, clock):
    """Its delay counts from before the send: a copy after a slow send is not early by the time that the send took."""

    class Slow(Queues):
        def send_message(self, *arguments, **options):
            super().send_message(*arguments, **options)
            clock.advance(2)

    queues, began = Slow(), clock.now()
    sender = make(ledger, clock, queues)
    assert sender.send(sender.seal(intake(), retry(released(ledger, clock))))
    ((_, _, delay, _),) = queues.sent
    assert ledger.get(KEY).not_before == began + delay


def test_a_message_that_another_delivery_holds_is_sent_back_as_it_was(ledger, clock):
    """Whoever holds the key numbers the copies; this one keeps its number and whether it was redriven."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    redriven = replace(ENVELOPE, sequence=2, redriven=True)
    assert sender.send(sender.seal(intake(redriven), retry()))
    assert queues.sent == [("q", replace(redriven, since=10_000.0), 30, BUDGET)]


@pytest.mark.parametrize(("held", "delay"), [(-5, 30), (20, 30), (90.5, 91), (1e9, 3600)])
def test_a_message_that_another_delivery_holds_waits_for_its_end(ledger, clock, held, delay):
    """Its copies are not numbered, so few deliveries make few; a lease of a clock that is ahead does not count."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    assert sender.send(sender.seal(intake(), replace(retry(), due=clock.now() + held)))
    ((_, _, sent_delay, _),) = queues.sent
    assert sent_delay == delay


def test_a_send_that_failed_is_not_recorded(ledger, clock):
    """The message is still with its source, so no copy is older than it."""
    sender = make(ledger, clock, Queues(UNAVAILABLE))
    record = released(ledger, clock)
    assert not sender.send(sender.seal(intake(), retry(record)))
    assert ledger.get(KEY) == record


def test_a_copy_whose_record_was_taken_over_stays_in_the_queue(ledger, clock):
    """The next owner's record stays as it is; two copies then have one number until the next send."""
    sender = make(ledger, clock, Queues())
    sealed = sender.seal(intake(), retry(released(ledger, clock)))
    taken = ledger.open(DELIVERY).record
    assert sender.send(sealed)
    assert ledger.get(KEY) == taken


def test_a_time_that_only_a_clock_ahead_can_have_written_delays_nothing(ledger, clock):
    """SMQ would keep the message for up to 7 days."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    record = released(ledger, clock, not_before=clock.now() + 86_400)
    for throttled in (False, True):
        assert sender.send(sender.seal(intake(), replace(retry(record), throttled=throttled)))
        record = ledger.get(KEY)
    assert [sent[2] <= 30 for sent in queues.sent] == [True, True]


AGE = TERMS.max_age


@pytest.mark.parametrize(
    ("envelope", "recorded", "age", "queue"),
    [
        (ENVELOPE, {}, 2 * AGE + 1, "q"),
        (replace(ENVELOPE, since=10_000.0), None, 2 * AGE, "q"),
        (replace(ENVELOPE, since=10_000.0), None, 2 * AGE + 1, "dead"),
        (ENVELOPE, None, 2 * AGE + 1, "q"),
        (replace(ENVELOPE, since=10_000.0), {"renewed_at": 10_002.0}, 2 * AGE + 1, "q"),
        (ENVELOPE, {"state": State.COMPLETED}, 2 * AGE, "q"),
        (ENVELOPE, {"state": State.COMPLETED}, 2 * AGE + 1, "dead"),
        (replace(ENVELOPE, since=10_000.0, renewed=10_002.0), None, 2 * AGE + 1, "q"),
        (replace(ENVELOPE, since=10_000.0, renewed=10_002.0), None, 2 * AGE + 3, "dead"),
    ],
)
def test_what_comes_back_for_too_long_goes_into_the_dead_letter_queue(
    ledger, clock, envelope, recorded, age, queue
):
    """A message that comes back for twice the greatest age is a dead letter, and a redrive renews it.

    That is one without a record, or with an event that cannot be published. The record of any other one ends earlier.
    """
    queues = Queues()
    record = None if recorded is None else released(ledger, clock, **recorded)
    clock.advance(age)
    sender = make(ledger, clock, queues, "dead")
    assert sender.send(sender.seal(intake(envelope), retry(record)))
    ((sent_to, sent, delay, _),) = queues.sent
    has_ended = record is not None and record.state is State.COMPLETED
    assert (sent_to, delay) == (queue, 0 if queue == "dead" else 3600 if has_ended else 30)
    assert (sent.kind, sent.message_id, sent.body) == ("smq", "M1", b"{}")


def test_without_a_dead_letter_queue_it_goes_on(ledger, clock):
    """Without a dead-letter queue, an old message is still sent back to its own queue."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    assert sender.send(sender.seal(intake(replace(ENVELOPE, since=1.0)), retry()))
    assert [queue for queue, *_ in queues.sent] == ["q"]


def test_the_highest_number_is_one_that_an_envelope_can_carry(ledger, clock):
    """A forged number at the limit does not make the copy that follows older than its record."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    record = released(ledger, clock, sequence=MOST_SEQUENCE)
    assert sender.send(sender.seal(intake(), retry(record)))
    assert queues.sent[0][1].sequence == ledger.get(KEY).sequence == MOST_SEQUENCE


@pytest.mark.parametrize("envelope", [None, replace(ENVELOPE, body=NOISE)], ids=["undecodable", "too large"])
def test_what_cannot_be_sent_as_it_was_is_not_sealed(ledger, clock, envelope):
    """The source keeps it: the event fails and is delivered again."""
    assert make(ledger, clock, Queues()).seal(intake(envelope), retry()) is None


def test_a_dead_letter_is_the_message_under_its_key(clock):
    """A dead letter is the whole envelope, with the time of its first delivery. It is counted, and is a warning."""
    queues, measures = Queues(), Measures()
    with collect_into(measures), capture_logs() as lines:
        assert DeadLetters(lambda: queues, "dead", BUDGET).put(ENVELOPE, 9.0)
    assert queues.sent == [("dead", replace(ENVELOPE, since=9.0), 0, BUDGET)]
    assert measures.counts == {"dead_lettered": 1}
    assert [(line["log_level"], line["event"]) for line in lines] == [("warning", "message.dead-lettered")]


@pytest.mark.parametrize(("queue", "envelope"), [(None, ENVELOPE), ("dead", None)])
def test_without_a_queue_or_an_envelope_nothing_is_put_anywhere(queue, envelope):
    """Without a dead-letter queue or an envelope, a message may be given up at once."""
    queues = Queues()
    assert DeadLetters(lambda: queues, queue, BUDGET).put(envelope, 9.0)
    assert queues.sent == []


@pytest.mark.parametrize(
    ("error", "envelope"), [(UNAVAILABLE, ENVELOPE), (None, replace(ENVELOPE, body=NOISE))]
)
def test_a_dead_letter_that_cannot_be_put_keeps_the_message_alive(error, envelope):
    """A message without its dead letter must not be given up."""
    with capture_logs() as lines:
        assert not DeadLetters(lambda: Queues(error), "dead", BUDGET).put(envelope, 9.0)
    assert [line["event"] for line in lines] == ["deadletter.failed" if error else "deadletter.too-large"]


def test_what_the_queue_service_quotes_of_a_message_is_masked(ledger, clock):
    """The secrets of a request are known only while it is processed, and it is sent back afterwards."""
    quoting = CallError("invalid: hunter22-hunter22", service="smq", operation="SendMessage")
    kept = replace(ENVELOPE, body=b'{"password": "hunter22-hunter22"}')
    with capture_logs() as lines:
        assert not DeadLetters(lambda: Queues(quoting), "dead", BUDGET).put(kept, 9.0)
        sealed = make(ledger, clock, Queues()).seal(replace(intake(), envelope=kept), retry())
        assert not make(ledger, clock, Queues(quoting)).send(sealed)
    assert ["hunter22" in line["error"] for line in lines] == [False, False]
    assert ["invalid: ***" in line["error"] for line in lines] == [True, True]


def test_what_the_queue_service_quotes_is_masked_for_an_operator_too():
    """A permission that is missing is logged once more, with what the service says about it."""
    denied = Denied("no: hunter22-hunter22", service="smq", operation="SendMessage")
    kept, lines = replace(ENVELOPE, body=b'{"password": "hunter22-hunter22"}'), io.StringIO()
    logs.configure("ERROR", lines)
    assert not DeadLetters(lambda: Queues(denied), "dead", BUDGET).put(kept, 9.0)
    assert ["operator.needed" in line for line in lines.getvalue().splitlines()] == [False, True]
    assert "hunter22" not in lines.getvalue()


SINCE = 1_800_000_000.0


def find_largest(is_taken):
    """Return the largest envelope of random bytes that is taken."""
    least, most = 0, len(NOISE)
    while most - least > 1:
        size = (least + most) // 2
        taken = is_taken(replace(ENVELOPE, body=NOISE[:size]))
        least, most = (size, most) if taken else (least, size)
    assert least > 0
    return replace(ENVELOPE, body=NOISE[:least], since=SINCE)


def test_a_dead_letter_that_is_put_can_be_redriven_and_sent_back():
    """Room is left for what a redrive and a later send add to the envelope."""
    largest = find_largest(lambda envelope: DeadLetters(Queues, "dead", BUDGET).put(envelope, SINCE))
    redriven = replace(largest, redriven=True, renewed=1_800_000_000.123, sequence=MOST_SEQUENCE)
    assert fits(seal(redriven))


def test_a_message_that_is_sent_back_can_be_given_up_and_redriven(ledger, clock):
    """Otherwise it would be sent back for ever, because it could neither be created nor be given up."""
    clock.advance(SINCE)
    sender = make(ledger, clock, Queues())
    largest = find_largest(lambda envelope: sender.seal(intake(envelope), retry()))
    numbered = replace(largest, sequence=MOST_SEQUENCE)
    assert DeadLetters(Queues, "dead", BUDGET).put(numbered, SINCE)
    redriven = replace(numbered, redriven=True, renewed=1_800_000_000.123)
    assert sender.seal(intake(redriven), retry())


@pytest.mark.parametrize(("watch_queue", "sent_to"), [("w", "w"), (None, "q")])
def test_a_watch_message_is_sent_back_to_its_own_queue_after_the_usual_delay(
    ledger, clock, watch_queue, sent_to
):
    """The attempts of a watch message are looks at an experiment, so they do not lengthen its delay."""
    queues = Queues()
    sender = replace(make(ledger, clock, queues), watch_queue=watch_queue)
    record = released(ledger, clock, attempts=3)
    assert sender.send(sender.seal(intake(replace(ENVELOPE, kind=WATCH)), retry(record)))
    ((queue, _, delay, _),) = queues.sent
    assert (queue, delay) == (sent_to, 30)


def test_a_throttled_message_comes_back_no_earlier_than_it_may_be_tried(ledger, clock):
    """The wait that its record states holds in a burst, too."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    record = released(ledger, clock, not_before=clock.now() + 5_000)
    assert sender.send(sender.seal(intake(), replace(retry(record), throttled=True)))
    assert queues.sent[0][2] == 5_000


@pytest.mark.parametrize(
    ("age", "counted", "logged"),
    [
        (0, {"requeued": 1}, ("info", "message.requeued", "q")),
        (2 * AGE + 1, {"dead_lettered": 1}, ("warning", "message.dead-lettered", "dead")),
    ],
)
def test_where_a_message_went_is_counted_and_logged(ledger, clock, age, counted, logged):
    """A dead letter is logged as a warning, because an operator must look at it."""
    sender = make(ledger, clock, Queues(), "dead")
    sealed = sender.seal(intake(replace(ENVELOPE, since=clock.now())), retry())
    clock.advance(age)
    measures = Measures()
    with collect_into(measures), capture_logs() as lines:
        assert sender.send(sealed)
    assert measures.counts == counted
    assert [(line["log_level"], line["event"], line["queue"]) for line in lines] == [logged]


@pytest.mark.parametrize(("age", "least", "most"), [(0, 15, 30), (4_000, 500, 1_000)])
def test_a_throttled_message_waits_longer_the_longer_it_was_tried(ledger, clock, age, least, most):
    """While nothing is created, it comes back after a quarter of its age, less up to a half by chance."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    clock.advance(4_000)
    first = replace(ENVELOPE, since=clock.now() - age)
    assert sender.send(sender.seal(intake(first), replace(retry(), throttled=True)))
    assert least <= queues.sent[0][2] <= most


def test_a_message_that_no_record_notes_waits_longer_the_longer_it_was_tried(ledger, clock):
    """Its copies do not merge, so that their number must not grow. Other messages that succeed prove nothing."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    first = replace(ENVELOPE, since=clock.now() - 4_000)
    assert sender.send(sender.seal(intake(first), replace(retry(), unrecorded=True)))
    assert 500 <= queues.sent[0][2] <= 1_000


def test_a_throttled_watch_message_waits_as_usual(ledger, clock):
    """How long its experiment was followed is not how long it was tried."""
    queues = Queues()
    sender = make(ledger, clock, queues)
    clock.advance(4_000)
    watched = replace(ENVELOPE, kind=WATCH, since=clock.now() - 4_000)
    assert sender.send(sender.seal(intake(watched), replace(retry(), throttled=True)))
    assert queues.sent[0][2] == 30


def test_a_watch_message_counts_from_its_own_first_delivery(ledger, clock):
    """Its record may be weeks old; that of any other message says when it was first claimed."""
    sender = make(ledger, clock, Queues())
    record = released(ledger, clock)
    clock.advance(100)
    watched, other = (
        sender.seal(intake(replace(ENVELOPE, kind=kind)), retry(record)) for kind in (WATCH, "smq")
    )
    assert (watched.since, other.since) == (clock.now(), clock.now() - 100)


def test_a_message_that_is_too_old_stays_with_its_source_if_there_is_no_other_place(ledger, clock):
    """The source's own dead-letter setting takes it. With a dead-letter queue it goes there."""
    old = intake(replace(ENVELOPE, since=clock.now()))
    clock.advance(2 * AGE + 1)
    assert make(ledger, clock, Queues()).seal(old, retry()) is None
    assert make(ledger, clock, Queues(), "dead").seal(old, retry()) is not None


def test_only_watch_messages_go_to_the_watch_queue(ledger, clock):
    """Any other message goes back to where it came from."""
    queues = Queues()
    sender = replace(make(ledger, clock, queues), watch_queue="w")
    assert sender.send(sender.seal(intake(), retry()))
    assert [queue for queue, *_ in queues.sent] == ["q"]


def test_what_becomes_of_a_message_is_logged_under_its_key(ledger, clock):
    """A send that fails, and a number that cannot be recorded, name the error."""
    sealed = make(ledger, clock, Queues()).seal(intake(), retry(released(ledger, clock)))
    ledger.open(DELIVERY)
    with capture_logs() as lines:
        assert not make(ledger, clock, Queues(UNAVAILABLE)).send(sealed)
        assert make(ledger, clock, Queues()).send(sealed)
    assert [line["event"] for line in lines] == ["requeue.failed", "message.requeued", "requeue.unrecorded"]
    assert {(line["key"], line["message_id"]) for line in lines} == {(KEY, "M1")}
    assert "SendMessage" in lines[0]["error"]
    assert "taken over" in lines[2]["error"]


def test_a_queue_that_does_not_exist_needs_an_operator(ledger, clock):
    """Nothing can be sent back, or given up, until it is made."""
    missing = NotFound("no queue", service="smq", operation="SendMessage", code="QueueNotExist")
    sender = make(ledger, clock, Queues(missing))
    with capture_logs() as lines:
        assert not sender.send(sender.seal(intake(), retry()))
        assert not DeadLetters(lambda: Queues(missing), "dead", BUDGET).put(ENVELOPE, 9.0)
    failed = ["requeue.failed", "operator.needed", "deadletter.failed", "operator.needed"]
    assert [line["event"] for line in lines] == failed


def test_a_watch_message_is_logged_under_the_key_of_its_request(ledger, clock):
    """An alert that follows a message by its key must see both the failed send and the end."""
    watched = intake(replace(ENVELOPE, kind=WATCH))
    sealed = make(ledger, clock, Queues()).seal(watched, replace(retry(), key="request"))
    with capture_logs() as lines:
        assert not make(ledger, clock, Queues(UNAVAILABLE)).send(sealed)
    assert [(line["event"], line["key"]) for line in lines] == [("requeue.failed", "request")]


def test_a_dead_letter_keeps_the_time_of_the_first_delivery():
    """Only a message that was never sent again has none yet."""
    queues = Queues()
    assert DeadLetters(lambda: queues, "dead", BUDGET).put(replace(ENVELOPE, since=5.0), 9.0)
    assert queues.sent[0][1].since == 5.0
