"""A burst of messages against a quota: the function's own code on many instances, in simulated time.

Queue, event stream and PAI AutoML are those of the local cloud, and its rate limit is the quota. Each instance lives
on and takes one batch after the other from the event stream, as Function Compute calls it.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from unittest import mock

import requests
from requests.adapters import BaseAdapter

import alilocal
from alilocal.eventstream import EventStream
from fcruntime import Fc3Context, FunctionInfo
from hpoq.function import EventFailed, Function
from hpoq.idempotency.record import Record, Version
from hpoq.observability import logs
from hpoq.testing import MemoryStore
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, create_resources, function_environment
from support.request import make_document
from support.simulation import SimulatedClock, SimulatedPool
from support.world import marked_experiments, operation_of

CREATE = "CreateHpoExperiment"
# As shipped, in infra/serverless/s.yaml.
SHIPPED = {
    "HPOQ_BATCH_POLICY": "requeue",
    "HPOQ_REQUEUE_DELAY_SECONDS": "60",
    "HPOQ_MAX_ATTEMPTS": "10",
    "HPOQ_MAX_AGE_HOURS": "72",
    "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE,
    "HPOQ_CONCURRENCY": "16",
    "HPOQ_CONNECT_TIMEOUT_SECONDS": "3",
    "HPOQ_READ_TIMEOUT_SECONDS": "25",
    "HPOQ_CALL_ATTEMPTS": "3",
    "HPOQ_LEASE_SECONDS": "90",
    "HPOQ_CLOCK_SKEW_SECONDS": "10",
    "HPOQ_CONSISTENCY_SECONDS": "15",
    "HPOQ_DEADLINE_RESERVE_SECONDS": "3",
}
FUNCTION_SECONDS = 240
BATCH = 16
WINDOW_SECONDS = 3
# How often an instance without a batch looks for one.
_IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class Times:
    """How many seconds calls take: a create, an answer that refuses one, a call of the store, any other call."""

    create: float = 1.0
    refusal: float = 0.05
    store: float = 0.01
    other: float = 0.02


NO_TIME = Times(0, 0, 0, 0)


@dataclass(frozen=True)
class Burst:
    """What happens in a run.

    `quotas` are numbers of creates per second, each with the moment from which it applies. A quota of 0 is an outage,
    in which creates are throttled or have the fault `outage`. `deployments` are numbers of messages, each with the
    moment at which a deployment of its own gets them. Each deployment has `instances`, and `settings` beside those
    that are shipped.
    """

    deployments: Sequence[tuple[float, int]]
    quotas: Sequence[tuple[float, float]] = ((0.0, 10.0),)
    instances: int = 100
    times: Times = Times()
    outage: dict[str, object] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    seed: int = 1

    @property
    def messages(self) -> int:
        """The number of messages of all deployments."""
        return sum(messages for _, messages in self.deployments)

    def allowed(self, until: float) -> float:
        """Return how many creates the quota allows until a moment; it begins with those of one second saved up."""
        periods = zip(self.quotas, [*(moment for moment, _ in self.quotas[1:]), math.inf], strict=True)
        rated = sum(quota * max(0.0, min(end, until) - moment) for (moment, quota), end in periods)
        return self.quotas[0][1] + rated

    def ideal_end(self) -> float:
        """Return the moment at which the quota has allowed all messages."""
        low, high = 0.0, 1e7
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if self.allowed(middle) >= self.messages else (middle, high)
        return high


@dataclass(frozen=True)
class Figures:
    """The results of a run.

    `quota_used` is the share of the creates that the quota allowed until the last one, `least_minute` that of the
    worst minute before the end of the ideal. `longest_wait` is in ends of the ideal.
    """

    messages: int
    lost_or_double: int
    failed: int
    dead_lettered: int
    quota_used: float
    least_minute: float
    creates_per_experiment: float
    deliveries_per_message: float
    longest_wait: float
    instance_seconds: float
    defects: tuple[str, ...] = ()

    def missed(self, *, quota_used: float = 0.95, creates: float = 1.2, deliveries: float = 3.0) -> list[str]:
        """Return what misses its target."""
        held = {
            "experiments lost or made twice": self.lost_or_double == 0,
            "messages failed": self.failed == 0,
            "messages dead-lettered": self.dead_lettered == 0,
            f"quota used: {self.quota_used:.3f}": self.quota_used >= quota_used,
            f"creates per experiment: {self.creates_per_experiment:.3f}": self.creates_per_experiment
            <= creates,
            f"deliveries per message: {self.deliveries_per_message:.2f}": self.deliveries_per_message
            <= deliveries,
            f"longest wait: {self.longest_wait:.2f}": self.longest_wait <= 1.5,
            f"defects: {self.defects[:1]}": not self.defects,
        }
        return [what for what, is_held in held.items() if not is_held]


def run(burst: Burst) -> Figures:
    """Run a burst to its end."""
    logs.configure("CRITICAL", sys.stderr)
    this = _Run(burst)

    def make_pool(most: int, _name: str) -> SimulatedPool:
        return SimulatedPool(this.clock, most)

    # Nothing that the simulation makes is garbage before its end, and looking for it takes a third of the time.
    gc.disable()
    try:
        with (
            mock.patch("hpoq.processing.batch.ThreadPoolExecutor", make_pool),
            contextlib.closing(this.cloud),
            # All activities have one thread, whose variables they leave behind in the state of their last switch.
            ThreadPoolExecutor(1) as thread,
        ):
            return thread.submit(this.go).result()
    finally:
        gc.enable()


class _Run:
    """One run of a burst."""

    def __init__(self, burst: Burst) -> None:
        self.burst = burst
        self.clock = SimulatedClock(seed=burst.seed)
        self.cloud = alilocal.LocalCloud(seed=burst.seed, clock=self.clock)
        create_resources(self.cloud)
        self.limit = self.cloud.limits.add(burst.quotas[0][1], service="paiautoml", operation=CREATE)
        self.session = self.cloud.session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _TimedAdapter(self))
        self.creates = 0
        self.created_at: list[float] = []
        self._began = self.clock.monotonic()
        self._deliveries = self._invocations = 0
        self._instance_seconds = 0.0
        self._outcomes: Counter[str] = Counter()
        self._defects: list[str] = []

    def go(self) -> Figures:
        """Run the burst, and return its figures."""
        self.clock.start(self._change_quotas)
        for number, (moment, messages) in enumerate(self.burst.deployments):
            self._deploy(f"{QUEUE}-{number}", moment, messages)
        self.clock.run()
        return self._count()

    @property
    def seconds(self) -> float:
        """The seconds since the beginning."""
        return self.clock.monotonic() - self._began

    def _change_quotas(self) -> None:
        for moment, quota in self.burst.quotas[1:]:
            self.clock.sleep(moment - self.seconds)
            self.limit.per_second, self.limit.burst = quota, max(1.0, quota)
            self.cloud.faults.clear()
            if quota == 0:
                self.limit.buckets.clear()
                self.limit.burst = 0.0
            if quota == 0 and self.burst.outage is not None:
                self.cloud.faults.add(service="paiautoml", operation=CREATE, times=None, **self.burst.outage)

    def _deploy(self, name: str, moment: float, messages: int) -> None:
        queue = self.cloud.queues.create(name)
        stream = EventStream(
            self.cloud,
            queue=name,
            invoke=self._invoke,
            batch_size=BATCH,
            batch_window_seconds=WINDOW_SECONDS,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue=DEAD_LETTER_QUEUE,
            concurrency=self.burst.instances,
        )
        own = {"HPOQ_QUEUE": name, "HPOQ_NAMESPACE": name}
        environ = function_environment(self.cloud, **SHIPPED, **self.burst.settings, **own)
        store = _TimedStore(self.clock, self.burst.times.store)

        def serve(function: Function) -> None:
            while queue.shows_any() or queue.next_change() is not None:
                self._called = function
                if not stream.step():
                    self.clock.sleep(_IDLE_SECONDS)

        def begin() -> None:
            self.clock.sleep(moment)
            body = base64.b64encode(json.dumps(make_document()).encode()).decode()
            for _ in range(messages):
                queue.send(body)
            for number in range(self.burst.instances):
                clock = _InstanceClock(self.clock, f"{self.burst.seed} {name} {number}")
                function = Function(environ, session=self.session, clock=clock, store=store)
                self.clock.start(lambda function=function: serve(function))

        self.clock.start(begin)

    def _invoke(self, event: bytes) -> None:
        # The instance that called `step`: nothing waits between there and here.
        function, began = self._called, self.clock.monotonic()
        self._invocations += 1
        context = Fc3Context(f"r-{self._invocations}", FunctionInfo(timeout=FUNCTION_SECONDS))
        try:
            report = function.handle(event, context)
        except EventFailed as exc:
            self._outcomes.update(exc.report.summary)
            raise
        except Exception as exc:
            self._defects.append(repr(exc))
            raise
        else:
            self._outcomes.update(report["summary"])
        finally:
            self._deliveries += event.count(b'"messageId"')
            self._instance_seconds += self.clock.monotonic() - began

    def _count(self) -> Figures:
        burst, created = self.burst, self.created_at
        end, ideal = max(created, default=math.inf), burst.ideal_end()
        keys = [key for key, _ in marked_experiments(self.cloud)]
        by_minute = Counter(int(moment // 60) for moment in created)
        shares = [
            by_minute[minute] / can
            for minute in range(int(ideal // 60))
            if (can := burst.allowed(60.0 * minute + 60) - burst.allowed(60.0 * minute)) > 0
        ]
        return Figures(
            messages=burst.messages,
            lost_or_double=abs(burst.messages - len(set(keys))) + len(keys) - len(set(keys)),
            failed=self._outcomes["failed"] + self._outcomes["rejected"],
            dead_lettered=len(self.cloud.queues.get(DEAD_LETTER_QUEUE).messages),
            quota_used=len(created) / burst.allowed(end),
            least_minute=min(shares, default=1.0),
            creates_per_experiment=self.creates / max(1, len(created)),
            deliveries_per_message=self._deliveries / burst.messages,
            longest_wait=end / ideal,
            instance_seconds=self._instance_seconds,
            defects=tuple(self._defects),
        )


class _TimedAdapter(BaseAdapter):
    """The cloud's adapter, whose calls take time and are counted."""

    def __init__(self, this: _Run) -> None:
        super().__init__()
        self._run = this
        self._inner = this.cloud.adapter()

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
        this, clock, times = self._run, self._run.clock, self._run.burst.times
        if operation_of(request) != CREATE:
            clock.sleep(times.other)
            return self._inner.send(request, **options)
        this.creates += 1
        clock.sleep(times.refusal)
        answer = self._inner.send(request, **options)
        if answer.ok:
            this.created_at.append(this.seconds)
            clock.sleep(times.create - times.refusal)
        return answer

    def close(self) -> None:
        self._inner.close()


class _TimedStore(MemoryStore):
    """A store whose calls take time."""

    def __init__(self, clock: SimulatedClock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        self._clock.sleep(self._seconds)
        return super().get_many(keys)

    def insert(self, record: Record) -> Record | None:
        self._clock.sleep(self._seconds)
        return super().insert(record)

    def replace(self, record: Record, expected: Version) -> bool:
        self._clock.sleep(self._seconds)
        return super().replace(record, expected)


class _InstanceClock:
    """The simulation's clock, with random numbers of one instance."""

    def __init__(self, clock: SimulatedClock, seed: str) -> None:
        self.now, self.monotonic, self.sleep = clock.now, clock.monotonic, clock.sleep
        self.new_id: Callable[[], str] = clock.new_id
        self.random: Callable[[], float] = random.Random(seed).random
