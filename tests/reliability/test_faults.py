"""Every fault at every call: the invariants are kept, and the outcome is of the right class.

What a fault means depends on whether the service may have acted: only that separates a retry from a doubt.
"""

import json
from pathlib import Path

import pytest

from alilocal.tablestore.model import STRING
from alilocal.tablestore.plainbuffer import Cell
from hpoq.cloud.classify import documented_codes
from hpoq.contract.keys import derive_key
from hpoq.errors import Throttled
from hpoq.testing import smq_event, smq_stream_event
from hpoq.testing.events import encode_body

REQUEST = (Path(__file__).parents[2] / "events" / "requests" / "minimal.json").read_text()
EVENT = smq_event("M1", encode_body(REQUEST))
THROTTLING = sorted(code for code, kind in documented_codes().items() if kind is Throttled)


def status(number, code=None):
    return {"kind": "status", "status": number, **({"code": code} if code else {})}


BROKEN = {
    kind: {"kind": kind}
    for kind in ("reset", "stall", "drip", "truncate", "malformed", "wrong_content_type", "html")
}
SERVER_ERRORS = {str(number): status(number) for number in (500, 502, 503, 504)}
BUSY = {code: status(400, code) for code in THROTTLING} | {"429": status(429)}
REFUSED = {
    "expired token": status(403, "InvalidSecurityToken.Expired"),
    "clock skew": status(400, "InvalidTimeStamp.Expired"),
    "forbidden": status(403, "Forbidden.RAM"),
    "quota": status(400, "QuotaExceeded"),
}
FAULTS = {
    **{(name, "before"): fault for name, fault in {"refuse": {"kind": "refuse"}, **BUSY, **REFUSED}.items()},
    **{
        (name, when): fault
        for name, fault in {**BROKEN, **SERVER_ERRORS}.items()
        for when in ("before", "after")
    },
}
CALLS = {
    "CreateHpoExperiment": "paiautoml",
    "ListHpoExperiments": "paiautoml",
    "PublishMessage": "smq",
    "SendMessage": "smq",
}


def until_done(world, **settings):
    """Deliver until the message has ended, and whatever is sent back too; the outcomes on the way."""
    queue = world.cloud.queues.get("hpo-requests")
    outcomes, event = [], EVENT
    for _ in range(12):
        (row,) = world.deliver(event, **settings)
        outcomes.append(row["outcome"])
        if row["outcome"] != "retry":
            return outcomes
        world.later(120)
        taken = queue.receive(16)
        if taken:
            event = smq_stream_event({taken[0].message_id: taken[0].body})
            for message in taken:
                queue.delete(message.receipt_handle)
    raise AssertionError(outcomes)


@pytest.mark.parametrize("times", [1, 3, 7])
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_every_fault_at_every_call(world, operation, fault, times):
    """Whatever breaks, however often: one experiment, one event, and the message is created in the end."""
    policy = "requeue" if operation == "SendMessage" else "raise"
    if operation in ("ListHpoExperiments", "SendMessage"):
        # What leads there: a create whose end is unknown.
        world.cloud.faults.add(
            service="paiautoml", operation="CreateHpoExperiment", kind="reset", when="after"
        )
        world.cloud.behaviour.list_lag_seconds = 5
    world.cloud.faults.add(
        service=CALLS[operation], operation=operation, when=fault[1], times=times, **FAULTS[fault]
    )
    outcomes = until_done(world, HPOQ_BATCH_POLICY=policy, HPOQ_REQUEUE_DELAY_SECONDS="0")
    assert set(outcomes[:-1]) <= {"retry"}
    assert outcomes[-1] == "created"
    assert len(world.cloud.experiments) == 1
    assert len({event["id"] for event in world.events}) == 1
    assert world.broken() == []


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_what_a_fault_of_the_create_means(world, fault):
    """A create that surely did not happen is repeated at once or at the next delivery; any other is looked for."""
    name, when = fault
    world.cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", when=when, times=9, **FAULTS[fault]
    )
    (row,) = world.deliver(EVENT)
    calls = [entry.operation for entry in world.cloud.requests if entry.service == "paiautoml"]
    if name in BROKEN or name in SERVER_ERRORS:
        assert calls.count("CreateHpoExperiment") == 1
        # The one of these whose answer can be read all the same.
        assert ("ListHpoExperiments" in calls) != (fault == ("wrong_content_type", "after"))
        assert row["outcome"] == ("created" if when == "after" else "retry")
    elif name in REFUSED:
        assert calls == ["CreateHpoExperiment"]
        assert row["outcome"] == "retry"
    else:
        assert calls == ["CreateHpoExperiment"] * 3
        assert row["outcome"] == "retry"


def test_one_message_that_always_fails_holds_up_nobody(world):
    """Under requeue its neighbours are done in the first delivery, and it comes back alone."""
    bodies = {f"M{n}": json.dumps({**json.loads(REQUEST), "idempotencyKey": f"k{n}"}) for n in range(8)}
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
    assert len(world.cloud.queues.get("hpo-requests").messages) == 1


STORE_CALLS = ("PutRow", "GetRow")
STORE_FAULTS = {
    "busy": status(503, "OTSServerBusy"),
    "conflict": status(409, "OTSRowOperationConflict"),
    "time-out": status(503, "OTSTimeout"),
    "internal": status(500, "OTSInternalServerError"),
    "auth": status(403, "OTSAuthFailed"),
    **BROKEN,
}


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
