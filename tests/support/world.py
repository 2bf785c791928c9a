"""The function in this process, over an embedded cloud, on one clock that the test moves.

The clock of the function is the clock of the cloud: a function that waits lets the cloud's time go on too, and what
is due on the way (a late request, an answer that nobody waits for any more) happens at its moment. A call takes the
time that the test gives it, and meets its time-outs and the deadlines of its exchange as a real connection would.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import NewConnectionError

import alilocal
from alilocal.core.http import Request
from hpoq.cloud import connections
from hpoq.contract.events import outcome_of
from hpoq.contract.identity import WATCH, derive_key, find_marker_keys
from hpoq.function import EventFailed, Function
from hpoq.idempotency.record import encode
from hpoq.processing.watchorder import identify_watch
from hpoq.testing import MemoryStore, smq_stream_event
from hpoq.testing.history import History
from support.clock import SkewedClock, WorldClock
from support.deployment import (
    CONTEXT,
    QUEUE,
    WATCH_QUEUE,
    create_resources,
    function_environment,
    published_events,
)


@dataclass(frozen=True)
class CallTimes:
    """How many seconds the parts of one call take on the world's clock."""

    before_first_byte: float = 0.0
    """Name look-up and connect, which no time-out bounds."""
    between_writes: float = 0.0
    """If not 0, the request leaves in two writes, and the instance is suspended for so long between them."""
    until_acted: float = 0.0
    """From the last byte until the service acts, which it also does if the caller has given up by then."""
    until_answered: float = 0.0
    """From the action until its answer arrives."""


class _Caller:
    """What a connection of `hpoq.cloud.connections` does for the exchange of its thread, if there is one."""

    def __init__(self, timeout: object) -> None:
        self._exchange = connections._current_exchange()
        self._read_seconds = timeout[1] if isinstance(timeout, tuple) else timeout
        if self._exchange:
            self._exchange.join()

    def begin_write(self) -> None:
        """Raise the error of an exchange that is too late for the next write."""
        if self._exchange:
            self._exchange.begin_write()

    def sign(self, request: requests.PreparedRequest) -> None:
        """Sign the request anew, as an exchange does that signs once its connection is established."""
        if hasattr(self._exchange, "sign"):
            request.headers.update(self._exchange.sign())

    def take_back(self) -> None:
        """Record that nothing was sent, because the connection was refused."""
        if self._exchange:
            self._exchange.sent = False

    def seconds_left(self) -> float:
        """Return the seconds until the caller gives up."""
        if self._exchange is None:
            return math.inf if self._read_seconds is None else self._read_seconds
        try:
            return self._exchange.seconds_left()
        except TimeoutError:
            return 0.0


class _TimedAdapter(BaseAdapter):
    """The cloud's adapter, whose calls take time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._clock = world.clock
        self._inner = world.cloud.adapter()

    def send(self, request, *, timeout=None, **options):
        times = self._world.call_times(operation_of(request))
        caller = _Caller(timeout)
        if times.before_first_byte:
            self._clock.advance(times.before_first_byte)
            caller.sign(request)
        caller.begin_write()
        if times.between_writes:
            self._clock.advance(times.between_writes)
            caller.begin_write()
        if times.until_acted > caller.seconds_left():
            acts_at = self._clock.now() + times.until_acted
            self._clock.call_at(acts_at, functools.partial(self._act_unawaited, request.copy()))
        self._wait(times.until_acted, caller, request)
        try:
            answer = self._inner.send(request, timeout=timeout, **options)
        except requests.ReadTimeout:
            self._clock.advance(caller.seconds_left())
            raise
        except requests.ConnectionError as exc:
            if any(isinstance(cause, NewConnectionError) for cause in exc.args):
                caller.take_back()
            raise
        self._wait(times.until_answered, caller, request)
        return answer

    def close(self):
        self._inner.close()

    def _wait(self, seconds, caller, request):
        left = caller.seconds_left()
        self._clock.advance(min(seconds, left))
        if seconds > left:
            raise requests.ReadTimeout("Read timed out.", request=request)

    def _act_unawaited(self, request):
        with contextlib.suppress(requests.RequestException):
            self._inner.send(request)


def operation_of(request: requests.PreparedRequest) -> str:
    """Return the operation of a request, by its header or its path."""
    action = request.headers.get("x-acs-action")
    if action:
        return action
    path = request.path_url.partition("?")[0]
    if path.startswith("/topics/"):
        return "PublishMessage"
    return "SendMessage" if path.startswith("/queues/") and request.method == "POST" else path.strip("/")


@dataclass
class World:
    """A cloud with its queues and topic, and a store and a clock that all instances of the function share.

    A context manager. `call_times` gives the times of a call by its operation; by default it takes none. `on_request`
    is called with each request that reaches the cloud, before it is answered.
    """

    seed: int | None = None
    clock: WorldClock = field(default_factory=WorldClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    settings: dict = field(default_factory=dict)
    history: History = field(default_factory=lambda: History(complete=True))
    early: list = field(default_factory=list)
    call_times: Callable[[str], CallTimes] = lambda _operation: CallTimes()
    on_request: Callable[[Request], object] = lambda _request: None
    creates: list[Request] = field(default_factory=list)
    cloud: alilocal.LocalCloud = field(init=False)

    def __post_init__(self):
        self.clock.cloud = self.cloud = alilocal.LocalCloud(seed=self.seed, clock=self.clock)
        create_resources(self.cloud)
        self._handle = self.cloud.handle
        self.cloud.handle = self._observe

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.cloud.close()

    def _observe(self, request):
        if request.header("x-acs-action") == "CreateHpoExperiment":
            self.creates.append(request)
        self.on_request(request)
        return self._handle(request)

    def session(self):
        """Return a session to the cloud whose calls take the time that `call_times` gives them."""
        session = self.cloud.session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter(self))
        return session

    def function(self, clock=None, *, offset=0.0, **settings):
        """Return a fresh instance, as after a cold start, whose clock is `offset` seconds ahead, or `clock`."""
        environ = function_environment(self.cloud, **{**self.settings, **settings})
        return Function(
            environ,
            session=self.session(),
            clock=clock or (SkewedClock(self.clock, offset) if offset else self.clock),
            store=None if "HPOQ_STORE" in environ else self.store,
            wrap_publisher=lambda publisher: (
                publisher if "HPOQ_STORE" in environ else _Outbox(publisher, self)
            ),
        )

    def deliver(self, event, context=CONTEXT, *, offset=0.0, **settings):
        """Deliver to a fresh instance; return the rows of its report, whether it acknowledged or failed."""
        try:
            report = self.function(offset=offset, **settings).handle(event, context)
        except EventFailed as exc:
            report = exc.report.as_json()
        self.history.add_report(report)
        return report["messages"]

    def fail_create(self, kind, *, when="before", **options):
        """Add a fault to the next create, or to those that `options` choose."""
        self.cloud.faults.add(
            service="paiautoml", operation="CreateHpoExperiment", kind=kind, when=when, **options
        )

    def later(self, seconds):
        """Move the clock on by `seconds`."""
        self.clock.advance(seconds)

    def overwrite(self, record):
        """Write `record` over the record of its key, whatever version that has."""
        self.store._rows[record.key] = encode(record), record.version

    def waiting(self, queue=QUEUE):
        """Return the id and the body of each message in `queue`."""
        return [(message.message_id, message.body) for message in self.cloud.queues.get(queue).messages]

    @property
    def events(self):
        """The events that reached the topic, oldest first."""
        return published_events(self.cloud)

    @property
    def event_types(self):
        """The outcomes of the events that reached the topic."""
        return [event["type"].split(".")[-2] for event in self.events]

    @property
    def nonces(self):
        """The signature nonces of the creates, in order."""
        return [request.header("x-acs-signature-nonce") for request in self.creates]

    def broken(self, *, finished=False):
        """Return what the history contradicts, seen from outside; `finished` if nothing is under way any more."""
        self.history.events = self.events
        self.history.experiments = marked_experiments(self.cloud)
        self.history.finished = finished
        return [*self.history.broken(), *self.early]


@dataclass
class WatchedWorld(World):
    """A world whose function follows experiments to their ends."""

    def __post_init__(self):
        super().__post_init__()
        self.settings = {"HPOQ_WATCH_QUEUE": WATCH_QUEUE, **self.settings}
        self.watch_queue = self.cloud.queues.get(WATCH_QUEUE)

    def take(self):
        """Take the watch messages that are due out of their queue; return their bodies by id."""
        taken = {}
        for message in self.watch_queue.receive(16):
            taken[message.message_id] = message.body
            self.watch_queue.delete(message.receipt_handle)
        return taken

    def poll(self, **settings):
        """Deliver the watch messages that are due; return the outcomes."""
        bodies = self.take()
        return (
            [row["outcome"] for row in self.deliver(smq_stream_event(bodies), **settings)] if bodies else []
        )

    def follow(self, seconds=60.0, most=200, **settings):
        """Advance the clock and deliver watch messages until none is left; return all outcomes."""
        outcomes = []
        for _ in range(most):
            if not self.watch_queue.messages:
                return outcomes
            self.later(seconds)
            outcomes += self.poll(**settings)
        raise AssertionError("the experiment is still followed after all deliveries")

    @property
    def results(self):
        """The data of the finished events that reached the topic."""
        return [event["data"] for event in self.events if outcome_of(event) == "finished"]

    def calls(self, operation):
        """Return how often `operation` was called."""
        return sum(entry.operation == operation for entry in self.cloud.requests)


def marked_experiments(cloud):
    """Return the key and the id of each experiment that carries a marker, once per key."""
    return [
        (key, experiment.experiment_id)
        for experiment in cloud.experiments
        for key in find_marker_keys(experiment.tags, experiment.description)
    ]


@dataclass
class _Outbox:
    """A publisher that checks whether what it publishes is on record; only the answer to a dry run is not."""

    publisher: object
    world: World

    def publish(self, event, *, budget=None):
        data, is_dry_run = event["data"], outcome_of(event) == "accepted"
        key = data["idempotencyKey"]
        if outcome_of(event) == "finished":
            key = derive_key(WATCH, identify_watch(key, data["experimentId"]))
        record = self.world.store.get(key)
        conflict = data.get("error", {}).get("code") == "IdempotencyConflict"
        stored = json.loads((record and record.event) or "{}").get("id")
        if not conflict and not is_dry_run and stored != event["id"]:
            self.world.early.append(f"I4: {event['id']} was published before its record was durable")
        self.publisher.publish(event, budget=budget)
