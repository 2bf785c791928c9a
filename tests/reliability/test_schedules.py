"""Random schedules: deliveries, copies, crashes, zombies, faults, slow calls, two versions and time.

Five messages are in the source queue: a request under a producer's key, the same one sent again, another request
under that key (a conflict), one that is known by its message id, and one with as many tags as the service takes. An
instance gets what is visible, up to a batch. At any effect on the outside it may be killed, or held up while time
goes on and other instances get the same event; it then goes on as a zombie. Calls may be slow before their first
byte, between two writes, until the service acts and until it answers. What a call sent may arrive late, or twice. The
service may list experiments in another form, a cache may repeat its listings, and a connection may deliver an answer
twice, so that a create gets the answer to the one before it. An instance may be of a later version, which has other
settings, whose contract refuses a request that the earlier one takes and whose records have a member that the earlier
one does not know. Events may be delivered again although they succeeded. The clock of an instance may be set while it
works, and an operator may resolve keys meanwhile.

A second machine follows each experiment to its end: watch messages come with the others, experiments end at any time
in any status or are deleted, guards and stop messages stop them, and each must have exactly one result.

At the end everything that broke is repaired, dead letters are redriven, and every message must have come to its end.
"""

import contextlib
import functools
import json
import threading
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
from points import Points

from alilocal.smq.errors import MessageNotExist
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import from_environment
from hpoq.cloud.transport import Transport
from hpoq.contract import request as contract
from hpoq.contract.identity import MOST_TAGS, PRODUCER, derive_key
from hpoq.errors import RequestRejected, StoreUnavailable, Violation
from hpoq.function import EventFailed
from hpoq.idempotency.record import State
from hpoq.processing.envelope import seal
from hpoq.settings import Settings
from hpoq.testing import smq_stream_event
from hpoqctl import resolve
from hpoqctl.deadletters import recover_envelopes
from support.budget import examples
from support.clock import SkewedClock
from support.deployment import CONTEXT, DEAD_LETTER_QUEUE, QUEUE, WATCH_QUEUE, function_environment
from support.listings import LISTINGS, cache_listings, change_listing, change_new_ids
from support.request import make_document
from support.schedules import booleans, check_schedules, integers, lists, rule, sampled_from, tuples
from support.sending import intercept
from support.world import CallTimes, World, marked_experiments

CREATE, LIST, PUBLISH = "CreateHpoExperiment", "ListHpoExperiments", "PublishMessage"
GET, TRIALS, STOP, SEND = "GetHpoExperiment", "ListHpoTrials", "StopHpoExperiment", "SendMessage"
ENDS = ("FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL")
REPAIRED_EVERY = 2_000
LEASE = 90.0
READ_TIME_OUT = 25.0
ALMOST = 0.5
OFFSETS = sampled_from([0.0, -0.5, 0.5, 0.25])
INSTANCES = tuples(OFFSETS, sampled_from([1, 1, 1, 2]))
LATE_WRITES = (1, 40, 95, 400)
REFUSED_BY_VERSION_2 = "taken by version 1 only"
# Settings that an operator may change while messages are being processed.
SETTINGS_OF_VERSION_2 = {
    "HPOQ_MARKER": "description",
    "HPOQ_BATCH_POLICY": "requeue",
    "HPOQ_DATE_WINDOW_SECONDS": "0",
    "HPOQ_LIST_PAGE_SIZE": "50",
    "HPOQ_CALL_ATTEMPTS": "5",
}


MESSAGES = {
    "keyed": make_document("k", Name="keyed"),
    "sent again": make_document("k", Name="keyed"),
    "conflict": make_document("k", Name="another"),
    "by message id": make_document(Name="by id", Description=REFUSED_BY_VERSION_2),
    "full of tags": make_document(
        "tags", Name="t", Tag=[{"Key": f"k{n}", "Value": "v"} for n in range(MOST_TAGS)]
    ),
}
KEYED, TAGGED = (derive_key(PRODUCER, key) for key in ("k", "tags"))


def what_the_account_shows(key, marked):
    """Return the experiment with the operator's `key`, or None if there is none."""
    return next((made for made_key, made in marked if made_key == key), None)


def an_overlooked_experiment(_key, _marked):
    """Say that there is none, whatever the account shows."""
    return


def an_experiment_of_another(key, marked):
    """Return an experiment with another key, if there is one."""
    return next((made for made_key, made in marked if made_key != key), None)


DECISIONS = [what_the_account_shows, an_overlooked_experiment, an_experiment_of_another]


class Killed(BaseException):
    """The process is gone: nothing below it may be caught, or written afterwards."""


class DeathWithTheCreate:
    """Kills the instance right after its create has left, unless the service answers it."""

    event = b""

    def around(self, name, effect):
        def killed(*args, **kwargs):
            try:
                return effect(*args, **kwargs)
            except OSError:
                if name == CREATE:
                    raise Killed from None
                raise

        return killed

    def around_store(self, store):
        return store


class Store:
    """A store of whose writes some are lost on the way there, come late, or have their answers lost on the way back.

    A failure is `before`, `after`, or the seconds after which the write comes.
    """

    def __init__(self, store, failures, version, clock):
        self._store = store
        self._failures = failures
        self._version = version
        self._clock = clock

    def __getattr__(self, name):
        return getattr(self._store, name)

    def _call(self, method, record, *arguments):
        failure = self._failures.pop(0) if self._failures else None
        if failure == "before":
            raise StoreUnavailable("lost on the way there")
        if self._version == 2 and record.later is None:
            record = replace(record, later='{"v":2,"watch":{"polls":1}}')
        if isinstance(failure, int):
            write = functools.partial(getattr(self._store, method), record, *arguments)
            self._clock.call_at(self._clock.now() + failure, write)
            raise StoreUnavailable("under way")
        answer = getattr(self._store, method)(record, *arguments)
        if failure == "after":
            raise StoreUnavailable("lost on the way back")
        return answer

    def insert(self, record):
        return self._call("insert", record)

    def replace(self, record, expected):
        return self._call("replace", record, expected)


class Frozen:
    """A delivery that stands still at a point, in a thread of its own, until it is thawed. One thread runs at a time.

    `deliver` is called with what freezes it. It may end before that is called.
    """

    def __init__(self, deliver):
        self._deliver = deliver
        self._frozen, self._thawed = threading.Semaphore(0), threading.Semaphore(0)
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._frozen.acquire()

    def _run(self):
        try:
            self._deliver(self._freeze)
        except Exception as exc:  # noqa: BLE001 - raised again by `thaw`
            self._error = exc
        self._frozen.release()

    def _freeze(self):
        self._frozen.release()
        self._thawed.acquire()

    def thaw(self):
        """Let the delivery go on to its end."""
        self._thawed.release()
        self._thread.join()
        if self._error is not None:
            raise self._error


class Schedules:
    """Instances whose clocks are up to `skew` seconds apart, which is what `settings` allow for."""

    lease = LEASE
    skew = 10.0
    settings: ClassVar = {}
    messages: ClassVar = MESSAGES
    sources: ClassVar = [QUEUE]

    @rule(
        lag=sampled_from([0, 5, 14.5]),
        tag_filter=sampled_from(["honoured", "ignored", "refused"]),
        policy=sampled_from(["raise", "requeue"]),
        attempts=sampled_from(["50", "3"]),
        memory=sampled_from([0, 0, 900, 1860]),
        date_window=sampled_from(["900", "0"]),
        throttled_nonce=sampled_from(["kept", "used"]),
        marker=sampled_from(["both", "both", "tag", "description"]),
        listing=sampled_from([None, None, *LISTINGS]),
        tags=sampled_from(["accepted", "accepted", "accepted", "refused"]),
        repeated_answers=sampled_from([0, 0, 1]),
        page_size=sampled_from(["3", "1"]),
        cache_seconds=sampled_from([0, 0, 0, 3_000]),
    )
    def begin(
        self,
        lag,
        tag_filter,
        policy,
        attempts,
        memory,
        date_window,
        throttled_nonce,
        marker,
        listing=None,
        tags="accepted",
        repeated_answers=0,
        page_size="3",
        cache_seconds=0,
    ):
        self.world = World(seed=1)
        if listing is not None:
            change_listing(self.world, LISTINGS[listing])
        if cache_seconds:
            cache_listings(self.world, cache_seconds)
        self.world.settings = {
            "HPOQ_MAX_ATTEMPTS": attempts,
            "HPOQ_CALL_ATTEMPTS": "2",
            "HPOQ_CONCURRENCY": "1",
            "HPOQ_BATCH_POLICY": policy,
            "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE,
            "HPOQ_MARKER": marker,
            "HPOQ_DATE_WINDOW_SECONDS": date_window,
            "HPOQ_LIST_PAGE_SIZE": page_size,
            **self.settings,
        }
        cloud = self.world.cloud
        cloud.behaviour.list_lag_seconds = lag
        cloud.behaviour.tag_filter = tag_filter
        cloud.behaviour.create_tags = tags
        cloud.behaviour.nonce_memory_seconds = self.memory = memory
        cloud.behaviour.throttled_nonce = throttled_nonce
        self.queue = cloud.queues.get(QUEUE)
        self.dead = cloud.queues.get(DEAD_LETTER_QUEUE)
        self.frozen = []
        self.watched = {}
        self.versions = 2
        # Neither many attempts nor its date stops a late create, so a failure can be wrong: the residual risk.
        self.fails_too_soon = attempts == "3" and date_window == "0"
        # Otherwise a search cannot correct an operator who errs.
        self.lists_plainly = listing is None
        self.store_failures = []
        self.slow_calls = []
        self.slowest_act = 0
        self.new_ids = []
        self.repeated_answers = repeated_answers
        change_new_ids(self.world, self.new_ids)
        self.world.call_times = self.call_times
        self.queues = [cloud.queues.get(name) for name in self.sources]
        self.stops = []
        self.ids = {name: self.queue.send(body) for name, body in write_messages(type(self), tags).items()}

    def call_times(self, operation):
        for slow in self.slow_calls:
            if slow[0] == operation:
                self.slow_calls.remove(slow)
                return slow[1]
        return CallTimes()

    def run(self, event, instance, points=None, clock=None):
        """Hand the event to a fresh instance, with `clock` if given; return whether it was acknowledged."""
        offset, version = instance[0], min(instance[1], self.versions)
        changed = SETTINGS_OF_VERSION_2 if version == 2 else {}
        if clock is not None:
            clock.set(offset * self.skew)
        function = self.world.function(clock, offset=offset * self.skew, **changed)
        function._store = Store(function._store, self.store_failures, version, self.world.clock)
        intercept(function._session, self.repeat_answers())
        if points is not None:

            def counted(send, request, **options):
                name = request.headers.get("x-acs-action") or request.method
                return points.around(name, send)(request, **options)

            intercept(function._session, counted)
            points.around_store(function._store)
        with pytest.MonkeyPatch.context() as patch:
            if version == 2:
                patch.setattr(contract, "parse_request", stricter(contract.parse_request))
            try:
                report, acknowledged = function.handle(event, CONTEXT), True
            except EventFailed as exc:
                report, acknowledged = exc.report.as_json(), False
            except Killed:
                return False
        self.world.history.add_report(report)
        return acknowledged

    def repeat_answers(self):
        """Return what gives creates the answer to the one before them, as often as is still wanted."""
        latest = []

        def repeat(send, request, **options):
            answer = send(request, **options)
            if request.headers.get("x-acs-action") != CREATE or b"ExperimentId" not in answer.content:
                return answer
            latest.append(answer)
            if len(latest) > 1 and self.repeated_answers:
                self.repeated_answers -= 1
                return latest[-2]
            return answer

        return repeat

    def deliver(self, count, instance, points=None, *, clock=None, acknowledge=True):
        """Receive up to `count` messages, hand them to an instance, and delete them if it acknowledges."""
        received = [(queue, message) for queue in self.queues for message in queue.receive(count)]
        if not received:
            return
        messages = [message for _, message in received]
        self.watched |= {
            message.message_id: message.body for queue, message in received if queue.name == WATCH_QUEUE
        }
        event = smq_stream_event({message.message_id: message.body for message in messages})
        if points is not None:
            points.event = event
        if self.run(event, instance, points, clock) and acknowledge:
            for queue, message in received:
                # Its visibility may have ended meanwhile; then it is delivered again.
                with contextlib.suppress(MessageNotExist):
                    queue.delete(message.receipt_handle)

    @rule(count=integers(1, 5), instance=INSTANCES, acknowledge=sampled_from([True, True, True, False]))
    def plainly(self, count, instance, acknowledge):
        self.deliver(count, instance, acknowledge=acknowledge)

    @rule(count=integers(1, 5), at=integers(1, 40), instance=INSTANCES)
    def killed(self, count, at, instance):
        def die():
            raise Killed

        self.deliver(count, instance, Points(at, die))

    @rule(
        count=integers(1, 3),
        at=integers(1, 24),
        seconds=sampled_from([0, 5, 60, 95, 120, 170, 400]),
        others=lists(INSTANCES, min_size=1, max_size=2),
        instance=INSTANCES,
    )
    def overtaken(self, count, at, seconds, others, instance):
        def others_run():
            for other in others:
                self.world.later(seconds)
                self.run(points.event, other)

        points = Points(at, others_run)
        self.deliver(count, instance, points)

    @rule(count=integers(1, 3), at=integers(1, 24), offset=OFFSETS)
    def an_instance_is_frozen(self, count, at, offset):
        # Of the first version, because what the second one changes is changed for all.
        self.frozen.append(Frozen(lambda freeze: self.deliver(count, (offset, 1), Points(at, freeze))))

    @rule(index=integers(0, 2))
    def a_frozen_instance_goes_on(self, index):
        if self.frozen:
            self.frozen.pop(index % len(self.frozen)).thaw()

    @rule(count=integers(1, 5), at=integers(1, 40), instance=INSTANCES, offset=OFFSETS)
    def a_clock_is_set(self, count, at, instance, offset):
        """Set the clock of an instance while it works, within what the settings allow for."""
        clock = SkewedClock(self.world.clock, 0.0)
        self.deliver(count, instance, Points(at, lambda: clock.set(offset * self.skew)), clock=clock)

    @rule(
        stall=sampled_from(["none", "to the last moment", "too long by the skew"]),
        is_killed=booleans(),
        gap=sampled_from([7, 31, 47]),
        index=integers(0, 4),
        decision=sampled_from(DECISIONS),
        is_claimed_meanwhile=booleans(),
    )
    def an_operator_resolves_a_key_whose_create_is_late(
        self, stall, is_killed, gap, index, decision, is_claimed_meanwhile
    ):
        """Decide about a key again and again, until no doubt about its create can be left."""

        def claim():
            # What is delivered once more meets what the operator has recorded.
            self.deliver(5, (0.0, 1), acknowledge=False)

        self.create_late(stall, is_killed=is_killed, instance=(-0.5, 1))
        ends_at = self.world.clock.now() + self.lease + 2 * self.skew
        while self.world.clock.now() < ends_at:
            # As many decisions for a long lease as for a short one.
            self.world.later(gap * self.lease / LEASE)
            self.resolve(index, decision, claim if is_claimed_meanwhile else None)
        self.deliver(5, (0.5, 1))

    @rule(
        count=integers(1, 5),
        at=integers(1, 30),
        index=integers(0, 4),
        decision=sampled_from(DECISIONS),
        instance=INSTANCES,
    )
    def an_operator_resolves_a_key_meanwhile(self, count, at, index, decision, instance):
        self.deliver(count, instance, Points(at, lambda: self.resolve(index, decision)))

    def resolve(self, index, choose, meanwhile=None):
        """Decide about one of the keys in progress as `hpoq resolve` does, whose calls meet no faults.

        `choose` decides, given the key and the experiments with their keys. `meanwhile` is called before the first
        call of the service, if it is not None.
        """
        records = [self.world.store.get(key) for key in sorted(self.world.store._rows)]
        open_keys = [one.key for one in records if one.state is State.IN_PROGRESS and one.place is not None]
        # What only the gateway's memory of nonces keeps out may act after an operator's decision.
        if not open_keys or self.versions == 1:
            return
        key, faults = open_keys[index % len(open_keys)], self.world.cloud.faults
        choose = choose if self.lists_plainly else what_the_account_shows
        decision = resolve._Decision(key, choose(key, marked_experiments(self.world.cloud)))
        taken, waiting = [], [meanwhile or (lambda: None)]

        def ask(send, request, **options):
            if waiting:
                waiting.pop()()
                taken.extend(faults.all())
                faults.clear()
            return send(request, **options)

        session = self.world.cloud.session()
        intercept(session, ask)
        environ = function_environment(self.world.cloud, **self.world.settings)
        endpoint = environ["HPOQ_PAIAUTOML_ENDPOINT"]
        client = PaiAutoMl(Transport(session, self.world.clock), endpoint, from_environment(environ))
        service = resolve._Service(client, endpoint, Settings.from_environment(environ))
        with contextlib.suppress(resolve.RefusedError):
            resolve._record(self.world.store, service, decision, self.world.clock.now())
        for fault in taken:
            faults._append(fault)

    @rule(
        failures=lists(
            sampled_from(["before", "after", None, *LATE_WRITES, *LATE_WRITES]), min_size=1, max_size=5
        )
    )
    def the_store_breaks(self, failures):
        self.store_failures += failures

    @rule(written=sampled_from([0, "null", " ", None]))
    def an_experiment_is_created_without_an_id(self, written):
        self.new_ids.append(written)
        self.lists_plainly = False

    @rule(seconds=sampled_from([1, 10, 31, 91, 106, 161, 500]))
    def time_goes_on(self, seconds):
        self.world.later(seconds)

    @rule(
        kind=sampled_from(["reset", "stall", "truncate", "malformed", "html", "throttle", "unavailable"]),
        operation=sampled_from([CREATE, CREATE, LIST, PUBLISH]),
        when=sampled_from(["before", "forwarded", "after"]),
        times=integers(1, 3),
    )
    def something_breaks(self, kind, operation, when, times):
        fault = {"kind": kind}
        if kind == "throttle":
            fault, when = {"kind": "status", "status": 400, "code": "Throttling.User"}, "before"
        elif kind == "unavailable":
            fault = {"kind": "status", "status": 503, "code": "ServiceUnavailable"}
        service = "smq" if operation == PUBLISH else "paiautoml"
        self.world.cloud.faults.add(service=service, operation=operation, when=when, times=times, **fault)

    @rule(
        status=sampled_from([200, 302, 400, 403, 404, 408, 429, 502]),
        body=sampled_from(["html", "empty", "json"]),
        operation=sampled_from([CREATE, CREATE, LIST, PUBLISH]),
        when=sampled_from(["before", "after"]),
    )
    def another_answers(self, status, body, operation, when):
        service = "smq" if operation == PUBLISH else "paiautoml"
        self.world.cloud.faults.add(
            "foreign", service=service, operation=operation, when=when, status=status, body=body
        )

    @property
    def longest_act(self):
        """How long a service may take to act without a second experiment, if the gateway remembers no nonces."""
        return self.lease - self.skew - ALMOST

    def may_act_after(self, seconds):
        """Return whether a create that arrives so late acts in time, even if it is a slow one on its way."""
        return seconds + self.slowest_act <= self.longest_act

    def let_a_create_arrive_late(self, kind, seconds):
        # Of a second copy only the gateway's memory of nonces knows; a late one must act in time without it.
        in_time = self.may_act_after(seconds)
        is_remembered = self.memory > seconds and (in_time or not self.fails_too_soon)
        if is_remembered or (kind == "late" and in_time):
            if not in_time:
                # Only that memory refuses a second create, and a version that rejects makes none.
                self.versions = 1
            self.world.cloud.faults.add(kind, service="paiautoml", operation=CREATE, seconds=seconds)

    @rule(kind=sampled_from(["late", "copy"]), seconds=sampled_from([1, 30, 60, 79, 300, 800]))
    def a_create_arrives_late(self, kind, seconds):
        self.let_a_create_arrive_late(kind, seconds)

    @rule(
        seconds=sampled_from([30, 79, 300, 800]),
        gaps=lists(sampled_from([1, 31, 62, 93, 124]), min_size=1, max_size=4),
        successors=lists(INSTANCES, min_size=4, max_size=4),
        instance=INSTANCES,
    )
    def successors_come_while_a_create_is_late(self, seconds, gaps, successors, instance):
        self.let_a_create_arrive_late("late", seconds)
        self.deliver(5, instance)
        for gap, successor in zip(gaps, successors, strict=False):
            self.world.later(gap)
            self.deliver(5, successor)

    @rule(
        stall=sampled_from(["none", "to the last moment", "too long by the skew", "too long by the read"]),
        is_killed=booleans(),
        is_late=sampled_from([True, True, False]),
        offsets=sampled_from([(-0.5, 0.5), (-0.5, 0.5), (0.5, -0.5)]),
        gap=sampled_from([7, 31, 47]),
        search=sampled_from([0, 0, 20]),
    )
    def a_create_is_as_late_as_it_may_be(self, stall, is_killed, is_late, offsets, gap, search=0):
        """Stall an owner before its create, and deliver successors until no doubt about it can be left.

        The answer to the second listing of each takes `search` seconds.
        """
        self.create_late(stall, is_killed=is_killed, is_late=is_late, instance=(offsets[0], 1))
        ends_at = self.world.clock.now() + self.lease + 2 * self.skew
        while self.world.clock.now() < ends_at:
            # As many successors for a long lease as for a short one.
            self.world.later(gap * self.lease / LEASE)
            self.slow_calls += [(LIST, CallTimes()), (LIST, CallTimes(until_answered=search))]
            self.deliver(5, (offsets[1], 1))

    def create_late(self, stall, *, is_killed, is_late=True, instance):
        """Let an instance stall before its create, which may arrive as late as it is allowed to."""
        moments = {
            "none": 0.0,
            "to the last moment": self.lease - self.skew - READ_TIME_OUT - ALMOST,
            "too long by the skew": self.lease - READ_TIME_OUT - ALMOST,
            "too long by the read": self.lease - self.skew - ALMOST,
        }
        self.slow_calls.append((CREATE, CallTimes(before_first_byte=moments[stall])))
        if is_late:
            self.let_a_create_arrive_late("late", self.lease - self.skew - ALMOST)
        self.deliver(5, instance, DeathWithTheCreate() if is_killed else None)

    @rule(
        operation=sampled_from([CREATE, CREATE, LIST, PUBLISH]),
        before_first_byte=sampled_from([0, 20, 54, 60, 78, 310]),
        between_writes=sampled_from([0, 0, 20, 310]),
        until_acted=sampled_from([0, 13, 24, 60, 79]),
        until_answered=sampled_from([0, 5, 20]),
    )
    def a_call_is_slow(self, operation, before_first_byte, between_writes, until_acted, until_answered):
        late = [
            fault.seconds
            for fault in self.world.cloud.faults.all()
            if fault.kind in ("late", "copy") and fault.operation == CREATE and fault.hits == 0
        ]
        if operation == CREATE and until_acted + max(late, default=0) > self.longest_act:
            # What is on its way for long must be carried out at once.
            until_acted = 0
        if operation == CREATE:
            self.slowest_act = max(self.slowest_act, until_acted)
        times = CallTimes(before_first_byte, between_writes, until_acted, until_answered)
        self.slow_calls.append((operation, times))

    @rule()
    def dead_letters_are_redriven(self):
        self.redrive()

    def redrive(self):
        for message in self.dead.receive(16):
            (envelope,) = recover_envelopes(message.body.encode(), None)
            self.world.history.redriven.add(envelope.key)
            if b'"idempotencyKey"' in envelope.body:
                self.world.history.redriven |= {KEYED, TAGGED}
            self.queue.send(seal(replace(envelope, redriven=True)).decode())
            self.dead.delete(message.receipt_handle)

    def find_broken(self, **options):
        """Return what breaks an invariant; `options` are those of `World.broken`."""
        return self.world.broken(**options)

    def end(self):
        """Once nothing breaks any more, every message comes to its end: one experiment, one event id."""
        self.world.cloud.faults.clear()
        self.store_failures.clear()
        self.new_ids.clear()
        self.repeated_answers = 0
        self.slow_calls.clear()
        for _ in range(12):
            self.world.later(REPAIRED_EVERY)
            self.redrive()
            if self.frozen:
                self.frozen.pop().thaw()
            # Each delivery that was not acknowledged may have left a copy of its message.
            for _ in range(8 + sum(len(queue.messages) for queue in self.queues) // 5):
                self.deliver(5, (0.0, 1))
            if not self.frozen and not any(queue.messages for queue in (*self.queues, self.dead)):
                break
        for frozen in self.frozen:
            frozen.thaw()
        assert [queue.messages for queue in self.queues] == [[] for _ in self.queues]
        assert self.dead.messages == []
        self.check()
        self.world.cloud.close()

    def check(self):
        broken = self.find_broken(finished=True)
        assert broken == [], broken
        by_name = Counter(made.name for made in self.world.cloud.experiments)
        assert by_name["keyed"] + by_name["another"] == 1
        assert by_name["t"] == 1
        of_message = {name: set() for name in MESSAGES}
        for event in self.world.events:
            for name, message_id in self.ids.items():
                is_result = event["type"].endswith("finished.v1")
                if event["data"]["messageId"] == message_id and not is_result:
                    of_message[name].add(event["type"].split(".")[-2])
        assert of_message["by message id"] in (
            {"created"},
            {"rejected"},
            {"failed", "created"},
            {"failed", "rejected"},
        )
        assert by_name["by id"] == ("created" in of_message["by message id"])
        assert of_message["full of tags"] >= {"created"}


@functools.cache
def write_messages(machine, tags):
    """Return the bodies of the messages of `machine`, by their names."""
    bodies = {name: json.dumps(document) for name, document in machine.messages.items()}
    if tags == "refused":
        # Then the service refuses what brings tags of its own.
        document = json.loads(bodies["full of tags"])
        del document["experiment"]["Tag"]
        bodies["full of tags"] = json.dumps(document)
    return bodies


def stricter(parse):
    """Return the contract of a later version, which refuses what the earlier one takes."""

    def parse_request(body, attributes):
        if REFUSED_BY_VERSION_2.encode() in body:
            raise RequestRejected([Violation("/experiment/Description", "stricter", "not any more")])
        return parse(body, attributes)

    return parse_request


class Followed(Schedules):
    """Experiments that are followed to their ends, some of them with a guard, and stopped by messages."""

    settings: ClassVar = {
        "HPOQ_WATCH_QUEUE": WATCH_QUEUE,
        "HPOQ_WATCH_MIN_SECONDS": "20",
        "HPOQ_WATCH_MAX_SECONDS": "400",
        "HPOQ_WATCH_MAX_DAYS": "0.1",
    }
    messages: ClassVar = {
        **MESSAGES,
        "full of tags": {**MESSAGES["full of tags"], "guard": {"maxHours": 0.02, "maxFailedTrials": 1}},
    }

    sources: ClassVar = [QUEUE, WATCH_QUEUE]
    was_missed = False

    @rule(status=sampled_from([*ENDS, "RUNNING", "UNKNOWN", "TERMINATING"]), index=integers(0, 2))
    def an_experiment_changes(self, status, index):
        for made in self.world.cloud.experiments[index : index + 1]:
            made.fail(status)

    @rule(index=integers(0, 2))
    def an_experiment_is_deleted(self, index):
        for made in self.world.cloud.experiments[index : index + 1]:
            # A deleted experiment can be found by no search any more.
            if any(event["data"].get("experimentId") == made.experiment_id for event in self.world.events):
                made.deleted = True

    @rule(key=sampled_from(["k", "tags", "unknown"]))
    def a_stop_is_sent(self, key):
        self.stops.append(self.queue.send(json.dumps({"stop": {"idempotencyKey": key}})))

    @rule(
        kind=sampled_from(["reset", "stall", "truncate", "html"]),
        operation=sampled_from([GET, TRIALS, STOP, SEND]),
        when=sampled_from(["before", "forwarded", "after"]),
        times=integers(1, 4),
    )
    def the_following_breaks(self, kind, operation, when, times):
        service = "smq" if operation == SEND else "paiautoml"
        self.world.cloud.faults.add(service=service, operation=operation, when=when, times=times, kind=kind)

    @rule(operation=sampled_from([GET, TRIALS]))
    def an_experiment_is_missed_once(self, operation):
        # What is missed for long counts as deleted.
        if not self.was_missed:
            self.was_missed = True
            self.world.cloud.faults.add(
                "status", service="paiautoml", operation=operation, status=400, code="INVALID_USER_OR_EXP"
            )

    @rule(seconds=sampled_from([1, 30, 300]), kind=sampled_from(["late", "copy"]))
    def a_watch_message_arrives_late(self, seconds, kind):
        self.world.cloud.faults.add(kind, service="smq", operation=SEND, seconds=seconds)

    @rule(at=integers(1, 12), instance=INSTANCES)
    def an_end_is_killed(self, at, instance):
        """Kill a delivery at a later point: watch messages are the last ones of an event."""

        def die():
            raise Killed

        self.world.later(61)
        self.deliver(5, instance, Points(at, die))

    def check(self):
        self.world.history.watched = True
        super().check()
        self.deliver_watch_messages_after_the_retention()
        answered = {event["data"].get("messageId") for event in self.world.events}
        assert set(self.stops) <= answered
        deleted = {made.experiment_id for made in self.world.cloud.experiments if made.deleted}
        results = [event["data"] for event in self.world.events if event["type"].endswith("finished.v1")]
        assert {data["experimentId"] for data in results if data["status"] == "DELETED"} <= deleted

    def deliver_watch_messages_after_the_retention(self):
        """Deliver them once more, with all experiments deleted: they announce nothing."""
        deleted, events = [made.deleted for made in self.world.cloud.experiments], len(self.world.events)
        for made in self.world.cloud.experiments:
            made.deleted = True
        self.world.later(40 * 86_400)
        if self.watched:
            self.run(smq_stream_event(self.watched), (0.0, 1))
        assert len(self.world.events) == events
        for made, was_deleted in zip(self.world.cloud.experiments, deleted, strict=True):
            made.deleted = was_deleted


class FarApart(Schedules):
    """Clocks that are five minutes apart to either side, and settings that say so."""

    lease = 700.0
    skew = 600.0
    settings: ClassVar = {"HPOQ_CLOCK_SKEW_SECONDS": "600", "HPOQ_LEASE_SECONDS": "700"}


def test_a_nonce_that_the_gateway_remembers_ends_with_its_memory():
    """A create that reached the gateway alone is made again once the gateway has forgotten its nonce."""
    machine = Schedules()
    machine.begin(
        lag=0,
        tag_filter="honoured",
        policy="raise",
        attempts="50",
        memory=1860,
        date_window="900",
        throttled_nonce="kept",
        marker="both",
    )
    machine.something_breaks(kind="reset", operation=CREATE, times=1, when="forwarded")
    machine.successors_come_while_a_create_is_late(
        seconds=800, gaps=[1], successors=[(0.0, 1)] * 4, instance=(0.0, 1)
    )
    machine.end()


# TEST_BUDGET=10 runs ten times as many; `schedules.py` runs any number.
@pytest.mark.parametrize(
    ("machine", "steps", "count"),
    [(Schedules, 6, 60), (Schedules, 12, 36), (Schedules, 25, 12), (FarApart, 8, 27), (Followed, 10, 9)],
)
def test_random_schedules(machine, steps, count, pytestconfig):
    """Every invariant holds after each step and in the end. --hypothesis-seed chooses other schedules."""
    first = int(pytestconfig.getoption("--hypothesis-seed") or 0)
    check_schedules(range(first, first + examples(count)), [machine], steps)
