"""Every fault at every call: the invariants are kept, and the outcome is of the right class.

What a fault means depends on whether the service may have acted: only that separates a retry from a doubt. The
service's own refusal, in its form and with its code, proves that it did not act. Any other answer proves nothing: it
may be that of a proxy which had passed the request on.
"""

import contextlib

import pytest

from alilocal.tablestore.model import STRING
from alilocal.tablestore.plainbuffer import Cell
from hpoq.cloud.answers import documented_codes
from hpoq.contract.identity import MOST_TAGS, derive_key
from hpoq.errors import Throttled
from hpoq.function import EventFailed
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body
from support.budget import sample_by_default
from support.calls import raising_at_call
from support.deployment import CONTEXT, QUEUE
from support.request import request
from support.world import CallTimes, World

THROTTLING = sorted(code for code, kind in documented_codes().items() if kind is Throttled)
CREATE, LIST = "CreateHpoExperiment", "ListHpoExperiments"
CALLS = {CREATE: "paiautoml", LIST: "paiautoml", "PublishMessage": "smq", "SendMessage": "smq"}


def request_event(message_id="M1", *, tags=0):
    """Return the event of one message whose request has `tags` tags of its own."""
    own = [{"Key": f"k{n}", "Value": "v"} for n in range(tags)]
    return smq_event(message_id, encode_body(request(Tag=own) if own else request()))


EVENT = request_event()


def status(number, code=None):
    """Return an answer of the service itself: its form, its request id and a code."""
    return {"kind": "status", "status": number, **({"code": code} if code else {})}


NOT_SENT = {"refuse": {"kind": "refuse"}}
# The service's own answers, which prove that it did not act.
OWN_BUSY = {code: status(400, code) for code in THROTTLING} | {"429": status(429)}
OWN_REFUSALS = {
    "expired token": status(403, "InvalidSecurityToken.Expired"),
    "clock skew": status(400, "InvalidTimeStamp.Expired"),
    "forbidden": status(403, "Forbidden.RAM"),
    "quota": status(400, "QuotaExceeded"),
}
# Its own answers that prove nothing.
OWN_FAILURES = {str(number): status(number) for number in (500, 502, 503, 504)}
# Answers of something between the caller and the service.
FOREIGN = {
    f"foreign {number}": {"kind": "foreign", "status": number}
    for number in (200, 302, 400, 403, 404, 408, 429, 502)
}
BROKEN = {
    kind: {"kind": kind}
    for kind in ("reset", "stall", "drip", "truncate", "malformed", "wrong_content_type", "html")
}
# The request itself arrives later, once its sender has given up, or a second time.
LATE = {f"late {seconds} s": {"kind": "late", "seconds": seconds} for seconds in (30, 120, 400)}
COPIES = {f"copy after {seconds} s": {"kind": "copy", "seconds": seconds} for seconds in (30, 120, 400)}

FAULTS = {
    **{(name, "before"): fault for name, fault in {**NOT_SENT, **OWN_BUSY, **OWN_REFUSALS}.items()},
    **{
        (name, when): fault
        for name, fault in {**OWN_FAILURES, **FOREIGN, **BROKEN}.items()
        for when in ("before", "forwarded", "after")
    },
    **{(name, "before"): fault for name, fault in {**LATE, **COPIES}.items()},
}
SLOW = {
    "stands still between two writes for 5 s": CallTimes(between_writes=5),
    "stands still between two writes for 310 s": CallTimes(between_writes=310),
    "connects in 5 s": CallTimes(before_first_byte=5),
    "connects in 78 s": CallTimes(before_first_byte=78),
    "connects in 310 s": CallTimes(before_first_byte=310),
    "acts after 60 s": CallTimes(until_acted=60),
    "answers after 60 s": CallTimes(until_answered=60),
}


class Deliveries:
    """The deliveries of one message until nothing of it is under way any more."""

    def __init__(self, world, event, **settings):
        self.world = world
        self.event = event
        # With a short page no search finds by luck what it must find by reading on.
        self.settings = {"HPOQ_REQUEUE_DELAY_SECONDS": "1", "HPOQ_LIST_PAGE_SIZE": "1", **settings}
        self.queue = world.cloud.queues.get(QUEUE)
        self.outcomes = []
        self.has_others = False

    def run(self):
        """Deliver what was not acknowledged and what is in the queue until there is nothing more."""
        pending = [self.event]
        while pending or self.queue.messages or self.world.cloud.late:
            assert len(self.outcomes) < 60, self.outcomes
            if pending and not self._is_acknowledged(pending[0]):
                pending.append(pending[0])
            del pending[:1]
            if len(self.outcomes) == 1 and not self.has_others:
                self._make_others()
            # The first successor comes while there is doubt, the last ones when the gateway has forgotten.
            self.world.later({1: 1, 2: 120, 3: 120}.get(len(self.outcomes), 900))
            for message in self.queue.receive(16):
                pending.append(smq_stream_event({message.message_id: message.body}))
                self.queue.delete(message.receipt_handle)
        return self

    def _is_acknowledged(self, event):
        try:
            report, acknowledged = self.world.function(**self.settings).handle(event, CONTEXT), True
        except EventFailed as exc:
            report, acknowledged = exc.report.as_json(), False
        self.world.history.add_report(report)
        self.outcomes += [row["outcome"] for row in report["messages"]]
        return acknowledged

    def _make_others(self):
        """Make experiments of other messages, which come before ours in every listing."""
        self.has_others = True
        faults, times = self.world.cloud.faults.all(), self.world.call_times
        self.world.cloud.faults.restore([])
        self.world.call_times = lambda _operation: CallTimes()
        for name in ("O1", "O2"):
            self.world.deliver(request_event(name))
        self.world.call_times = times
        self.world.cloud.faults.restore(faults)

    def check(self):
        """The message was created, once, and whatever of it comes again is a duplicate."""
        world = self.world
        ended = [outcome for outcome in self.outcomes if outcome != "retry"]
        # Of several copies that were sent back the older ones are dropped, which may come before the end.
        was_sent_back = any(entry.operation == "SendMessage" for entry in world.cloud.requests)
        assert "created" in (ended if was_sent_back else ended[:1])
        assert set(ended) <= {"created", "duplicate"}
        assert len(world.cloud.experiments) == 3
        assert len({event["id"] for event in world.events}) == 3
        assert world.broken(finished=True) == []
        assert [row["outcome"] for row in world.deliver(self.event)] == ["duplicate"]


def lead_to(world, operation):
    """Make the first delivery call `operation`, if a smooth one does not; return the settings for it."""
    if operation in (LIST, "SendMessage"):
        # A create whose end is unknown, and whose experiment is not listed at once.
        world.cloud.faults.add(service="paiautoml", operation=CREATE, kind="reset", when="after")
        world.cloud.behaviour.list_lag_seconds = 5
    return {"HPOQ_BATCH_POLICY": "requeue" if operation == "SendMessage" else "raise"}


def run_with_fault(world, fault, operation, times, *, tags=0, **settings):
    """Apply `fault` to the first calls of `operation`; deliver a message until its end, and check the history."""
    settings = {**lead_to(world, operation), **settings}
    world.cloud.faults.add(
        service=CALLS[operation], operation=operation, when=fault[1], times=times, **FAULTS[fault]
    )
    Deliveries(world, request_event(tags=tags), **settings).run().check()


@pytest.mark.one_of("operation", "times")
@pytest.mark.parametrize("times", [1, 3, 7])
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("fault", sample_by_default(FAULTS, 3), ids="-".join)
def test_every_fault_at_every_call(world, operation, fault, times):
    """Whatever breaks, however often: one experiment, one event, and the message is created in the end."""
    run_with_fault(world, fault, operation, times)


@pytest.mark.one_of("marker", "operation", "tags")
@pytest.mark.parametrize("marker", ["both", "tag", "description"])
@pytest.mark.parametrize("tags", [0, MOST_TAGS])
@pytest.mark.parametrize("operation", [CREATE, LIST])
@pytest.mark.parametrize("fault", sample_by_default(FAULTS, 1), ids="-".join)
def test_every_fault_with_every_marker(world, operation, fault, tags, marker):
    """A fault does no harm, wherever the marker of an experiment is."""
    run_with_fault(world, fault, operation, 1, tags=tags, HPOQ_MARKER=marker)


# While its date is valid, only the gateway's memory distinguishes a second copy from the first.
WITHOUT_MEMORY = {fault for fault in FAULTS if fault[0] != "copy after 30 s"}


@pytest.mark.one_of("memory")
@pytest.mark.parametrize(
    ("memory", "fault"),
    [
        (memory, fault)
        for memory in (0, 900, 1860)
        for fault in sample_by_default(FAULTS)
        if memory or fault in WITHOUT_MEMORY
    ],
)
def test_every_fault_of_the_create_with_every_memory_of_nonces(world, memory, fault):
    """A fault does no harm, however long the gateway remembers the nonces of creates."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    run_with_fault(world, fault, CREATE, 2)


@pytest.mark.one_of("memory")
@pytest.mark.parametrize("memory", [900, 1860])
@pytest.mark.parametrize("fault", [*LATE, *COPIES])
def test_a_late_create_whose_date_stays_valid(world, fault, memory):
    """The gateway's memory of nonces is enough where creates are not dated back."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    run_with_fault(world, (fault, "before"), CREATE, 1, HPOQ_DATE_WINDOW_SECONDS="0")


@pytest.mark.one_of("memory", "tags")
@pytest.mark.parametrize("tags", [0, MOST_TAGS])
@pytest.mark.parametrize("memory", [0, 900])
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("slow", SLOW)
def test_every_slow_call(world, operation, slow, memory, tags):
    """Wherever a call spends its time: one experiment, one event."""
    world.cloud.behaviour.nonce_memory_seconds = memory
    settings = lead_to(world, operation)
    left = [SLOW[slow]] * 2
    world.call_times = lambda called: left.pop() if left and called == operation else CallTimes()
    Deliveries(world, request_event(tags=tags), **settings).run().check()


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_what_a_fault_of_the_create_means(world, fault):
    """A create that certainly did not act is repeated; the experiment of any other is searched for."""
    name, when = fault
    world.cloud.faults.add(service="paiautoml", operation=CREATE, when=when, times=9, **FAULTS[fault])
    (row,) = world.deliver(EVENT)
    calls = [entry.operation for entry in world.cloud.requests if entry.service == "paiautoml"]
    if name in OWN_REFUSALS:
        assert calls == [CREATE]
        assert row["outcome"] == "retry"
    elif name in OWN_BUSY or name in NOT_SENT:
        assert calls == [CREATE] * 3
        assert row["outcome"] == "retry"
    elif name in COPIES or fault == ("wrong_content_type", "after"):
        # The answer is whole, and it is the service's own.
        assert calls == [CREATE]
        assert row["outcome"] == "created"
    else:
        assert calls.count(CREATE) == 1
        assert LIST in calls
        assert row["outcome"] == ("created" if when == "after" else "retry")


def test_one_failing_message_does_not_hold_up_the_others(world):
    """Under requeue, the other messages are done in the first delivery, and the failing one comes back alone."""
    bodies = {f"M{n}": request(f"k{n}") for n in range(8)}
    world.cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        status=403,
        code="Forbidden",
        when="before",
        times=1,
    )
    settings = {"HPOQ_BATCH_POLICY": "requeue", "HPOQ_CONCURRENCY": "1"}
    rows = world.deliver(smq_stream_event(bodies), **settings)
    assert [row["outcome"] for row in rows] == ["retry"] + ["created"] * 7
    assert len(world.cloud.queues.get(QUEUE).messages) == 1


STORE_CALLS = ("PutRow", "GetRow")
STORE_FAULTS = {
    "busy": status(503, "OTSServerBusy"),
    "conflict": status(409, "OTSRowOperationConflict"),
    "time-out": status(503, "OTSTimeout"),
    "internal": status(500, "OTSInternalServerError"),
    "auth": status(403, "OTSAuthFailed"),
    **BROKEN,
}


@pytest.mark.one_of("nth")
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", STORE_FAULTS)
@pytest.mark.parametrize("operation", STORE_CALLS)
def test_every_fault_of_the_store(world, operation, fault, when, nth):
    """Whatever breaks at any write or read of a record: one experiment, one event."""
    world.cloud.tables.create("records", [("key", STRING)])
    store = "tablestore://localhost/records?instance=local&scheme=http"
    world.cloud.faults.add(
        service="tablestore", operation=operation, when=when, nth=nth, times=2, **STORE_FAULTS[fault]
    )
    for _ in range(6):
        (row,) = world.deliver(EVENT, HPOQ_STORE=store)
        if row["outcome"] != "retry":
            break
        world.later(120)
    assert row["outcome"] in ("created", "duplicate")
    world.cloud.faults.clear()
    assert world.deliver(EVENT, HPOQ_STORE=store)[0]["outcome"] == "duplicate"
    assert len(world.cloud.experiments) == 1
    assert len({event["id"] for event in world.events}) == 1


def test_a_record_of_a_later_version_is_left_alone(world):
    """An instance of an older version neither reads nor overwrites what it does not know."""
    table = world.cloud.tables.create("records", [("key", STRING)])
    store = "tablestore://localhost/records?instance=local&scheme=http"
    later = [Cell("v", 2), Cell("state", "IN_PROGRESS"), Cell("owner", "o"), Cell("body", '{"v": 2}')]
    table.put((derive_key("smq", "M1"),), later)
    assert world.deliver(EVENT, HPOQ_STORE=store)[0]["outcome"] == "retry"
    assert table.rows[(derive_key("smq", "M1"),)]["body"] == '{"v": 2}'
    assert world.cloud.experiments == []


@pytest.mark.in_ci
@pytest.mark.parametrize("error", [MemoryError, RecursionError, KeyboardInterrupt])
def test_an_error_of_the_machine_at_any_moment(error):
    """Whatever is raised in whichever function, and although the instance goes on: one experiment, one event."""
    raised, number = ["in the first"], 1
    while raised:
        with World(seed=1) as world:
            world.fail_create("reset", when="after")
            function = world.function(HPOQ_CONCURRENCY="1", HPOQ_MAX_ATTEMPTS="3")
            with raising_at_call(number, error) as raised, contextlib.suppress(EventFailed, error):
                function.handle(EVENT, CONTEXT)
            for _ in range(3):
                world.later(400)
                with contextlib.suppress(EventFailed):
                    function.handle(EVENT, CONTEXT)
            assert len(world.cloud.experiments) == 1, raised
            assert {event["type"].split(".")[-2] for event in world.events} == {"created"}, raised
            assert world.broken() == [], raised
        number += 37
