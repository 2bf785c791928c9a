"""Random schedules: deliveries, crashes, zombies, faults and time, against the invariants.

At any effect on the outside an invocation may be killed, or held up while the time goes on and another
invocation of the same message runs to its end; it then goes on as a zombie. The one hold-up left out is that
between an invocation's last look at its lease and the sending of its create: no client can close that window
(see `hpoq.processing.reconcile`).
"""

import copy
import json
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from points import Points
from world import World

import alilocal
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.errors import StoreUnavailable
from hpoq.function import EventFailed
from hpoq.testing import FakeClock, smq_event

REQUEST = json.loads((Path(__file__).parents[2] / "events" / "requests" / "minimal.json").read_text())
CONTEXT = Fc3Context("r-1", FunctionInfo(timeout=300))
MESSAGES = ("M1", "M2")
CREATE, LIST, PUBLISH = "CreateHpoExperiment", "ListHpoExperiments", "PublishMessage"
LONG = 1500
OFFSETS = st.sampled_from([0.0, -0.5, 0.5, 0.25])
SPARED = (f"before {CREATE}",)


class Killed(BaseException):
    """The process is gone: nothing below it may be caught, or written afterwards."""


class Skewed:
    """The world's clock as an instance sees it whose own is `offset` seconds off."""

    def __init__(self, clock, offset):
        self._clock = clock
        self._offset = offset

    def now(self):
        return self._clock.now() + self._offset

    def __getattr__(self, name):
        return getattr(self._clock, name)


class Flaky:
    """A store of whose calls some are lost before they took place, or their answers after."""

    def __init__(self, store, failures):
        self._store = store
        self._failures = failures

    def _call(self, method, *arguments):
        failure = self._failures.pop(0) if self._failures else None
        if failure == "before":
            raise StoreUnavailable("lost on the way there")
        answer = getattr(self._store, method)(*arguments)
        if failure == "after":
            raise StoreUnavailable("lost on the way back")
        return answer

    def insert(self, record):
        return self._call("insert", record)

    def replace(self, record, expected):
        return self._call("replace", record, expected)


class Schedules(RuleBasedStateMachine):
    """Instances whose clocks are up to `skew` seconds apart, which is what `settings` allow for."""

    skew = 10
    settings: ClassVar = {}

    @initialize(lag=st.sampled_from([0, 5, 14]), tag_filter=st.sampled_from(["honoured", "ignored"]))
    def begin(self, lag, tag_filter):
        cloud = alilocal.LocalCloud(seed=1)
        cloud.queues.create("hpo-requests")
        cloud.topics.create("hpo-results")
        self.world = World(cloud, FakeClock(cloud.clock.now()))
        self.world.settings = {"HPOQ_MAX_ATTEMPTS": "50", "HPOQ_CALL_ATTEMPTS": "2", **self.settings}
        self.store_failures = []
        cloud.behaviour.list_lag_seconds = lag
        cloud.behaviour.tag_filter = tag_filter

    def deliver(self, message, points=None, offset=0.0):
        """Deliver once; what the function reports, None if it was killed."""
        function = self.world.function(clock=Skewed(self.world.clock, offset * self.skew))
        function._store = Flaky(function._store, self.store_failures)
        if points is not None:
            session, store = function._session, function._store
            send = session.send

            def counted(request, **options):
                name = request.headers.get("x-acs-action") or PUBLISH
                return points.around(name, send)(request, **options)

            session.send = counted
            function._store = points.around_store(copy.copy(store))
        event = smq_event(message, json.dumps({**REQUEST, "idempotencyKey": message}))
        try:
            report = function.handle(event, CONTEXT)
        except EventFailed as exc:
            report = exc.report.as_json()
        except Killed:
            return None
        self.world.history.add_report(report)
        return report["messages"][0]["outcome"]

    @rule(message=st.sampled_from(MESSAGES), offset=OFFSETS)
    def plainly(self, message, offset):
        self.deliver(message, offset=offset)

    @rule(message=st.sampled_from(MESSAGES), at=st.integers(1, 14), offset=OFFSETS)
    def killed(self, message, at, offset):
        def die():
            raise Killed

        self.deliver(message, Points(at, die, SPARED), offset)

    @rule(
        message=st.sampled_from(MESSAGES),
        at=st.integers(1, 14),
        seconds=st.sampled_from([0, 5, 60, 95, 120, 400]),
        others=st.lists(OFFSETS, min_size=1, max_size=2),
        offset=OFFSETS,
    )
    def overtaken(self, message, at, seconds, others, offset):
        def others_run():
            for other in others:
                self.world.later(seconds)
                self.deliver(message, offset=other)

        self.deliver(message, Points(at, others_run, SPARED), offset)

    @rule(failures=st.lists(st.sampled_from(["before", "after", None]), min_size=1, max_size=5))
    def the_store_breaks(self, failures):
        self.store_failures += failures

    @rule(seconds=st.sampled_from([1, 10, 30, 91, 106, 500]))
    def time_goes_on(self, seconds):
        self.world.later(seconds)

    @rule(
        kind=st.sampled_from(["reset", "stall", "truncate", "malformed", "html", "throttle", "unavailable"]),
        operation=st.sampled_from([CREATE, CREATE, LIST, PUBLISH]),
        when=st.sampled_from(["before", "after"]),
        times=st.integers(1, 3),
    )
    def something_breaks(self, kind, operation, when, times):
        fault = {"kind": kind}
        if kind == "throttle":
            fault, when = {"kind": "status", "status": 400, "code": "Throttling.User"}, "before"
        elif kind == "unavailable":
            fault = {"kind": "status", "status": 503, "code": "ServiceUnavailable"}
        service = "smq" if operation == PUBLISH else "paiautoml"
        self.world.cloud.faults.add(service=service, operation=operation, when=when, times=times, **fault)

    @invariant()
    def nothing_is_broken(self):
        assert self.world.broken() == []

    def teardown(self):
        """Once nothing breaks any more, every message comes to its end: one experiment, one event id."""
        if not hasattr(self, "world"):
            return
        self.world.cloud.faults.clear()
        self.store_failures.clear()
        for message in MESSAGES:
            outcomes = []
            while outcomes[-1:] not in (["created"], ["duplicate"]):
                assert len(outcomes) < 5, outcomes
                self.world.later(LONG)
                outcomes.append(self.deliver(message))
        assert len(self.world.cloud.experiments) == len(MESSAGES)
        assert len({event["id"] for event in self.world.events}) == len(MESSAGES)
        assert self.world.broken() == []
        self.world.cloud.close()


class FarApart(Schedules):
    """Clocks that are five minutes apart to either side, and settings that say so."""

    skew = 600
    settings: ClassVar = {"HPOQ_CLOCK_SKEW_SECONDS": "600", "HPOQ_LEASE_SECONDS": "700"}


def case(machine, step_count, examples):
    made = type(f"{machine.__name__}{step_count}", (machine,), {}).TestCase
    made.settings = settings(
        max_examples=examples,
        stateful_step_count=step_count,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return made


# 10,000 schedules in all, in parts that can be run side by side.
TestShort = case(Schedules, 6, 4500)
TestMiddling = case(Schedules, 12, 2500)
TestLong = case(Schedules, 25, 500)
TestFarApart = case(FarApart, 8, 2500)
