"""Each error code of the runbook occurs under the fault that its row describes, and what the row says about it is so.

A row that says that `operator.needed` is logged is checked against the log, and one whose message waits or comes
back against the outcome. `hpoq status` explains the record that is left.
"""

import json
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from test_fences import act_and_hide, fail
from test_situations import EVENT, THROTTLED, make_by_hand

import hpoq
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.contract import request as contract
from hpoq.contract.identity import derive_key, digest
from hpoq.errors import StoreUnavailable
from hpoq.processing import lifecycle, pace
from hpoq.processing.envelope import Envelope, seal, unseal
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.settings import Settings
from hpoq.testing import smq_event, smq_stream_event
from hpoqctl.recordview import explain_record
from support.deployment import DEAD_LETTER_QUEUE, WATCH_QUEUE
from support.request import make_document, request
from support.world import CallTimes

RUNBOOK = (Path(hpoq.__file__).parent / "RUNBOOK.md").read_text()
KEY = derive_key("smq", "M1")
TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
LATER = 200
TWO = smq_stream_event({"M1": request(Name="a"), "M2": request(Name="b")})
ALONE = {"HPOQ_CONCURRENCY": "1"}


def read_rows():
    """Return what the runbook says about each code of the function itself."""
    table = RUNBOOK.partition("## Error codes")[2].partition("Codes of the services, by class")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*)", table, re.MULTILINE))


ROWS = read_rows()


def claimed(world, **changes):
    """Leave the record of an owner of M1 that took its claim just now, or with `changes`."""
    delivery = Delivery(KEY, "f", KEY, digest(request().encode()), message_id="M1")
    record = lifecycle.claim(delivery, "another", world.clock.now(), TERMS)
    world.store.insert(replace(record, **changes))
    return record


def copy(sequence):
    return smq_event("M9", seal(Envelope("smq", "M1", KEY, request().encode(), sequence=sequence)))


def sent_back(world, sequence):
    claimed(world, sequence=sequence, lease_until=world.clock.now(), not_before=world.clock.now() + 30)


def invalid(world, _patch):
    return world.deliver(smq_event("M1", '{"experiment": {"Nmae": 1}}'))


def undecodable(world, _patch):
    return world.deliver(json.dumps([{"messageId": "M1", "messageBody": 5}]).encode())


def conflict(world, _patch):
    world.deliver(smq_event("M1", request("k")))
    return world.deliver(smq_event("M2", request("k", Name="another")))


def in_progress(world, _patch):
    claimed(world)
    return world.deliver(EVENT)


def held_back(world, patch):
    patch.setattr(pace, "_FIRST_SECONDS", 600.0)
    world.cloud.faults.add(**THROTTLED)
    return world.deliver(TWO, **ALONE)


def not_due(world, _patch):
    sent_back(world, 1)
    return world.deliver(copy(1))


def superseded(world, _patch):
    sent_back(world, 2)
    return world.deliver(copy(1))


def in_doubt(world, _patch):
    fail(world, kind="reset")
    world.deliver(EVENT)
    return world.deliver(EVENT)


def incomplete(world, _patch):
    world.cloud.behaviour.listing_total_offset = 1
    fail(world, kind="reset")
    world.deliver(EVENT)
    world.later(LATER)
    return world.deliver(EVENT)


def ambiguous(world, _patch):
    make_by_hand(world, make_document()["experiment"])
    fail(world, kind="reset")
    world.deliver(EVENT)
    world.later(LATER)
    return world.deliver(EVENT)


def used_up(world, _patch):
    claimed(world, attempts=10)
    world.later(LATER)
    return world.deliver(EVENT)


def dead_letter_failed(world, patch):
    world.settings["HPOQ_DEAD_LETTER_QUEUE"] = DEAD_LETTER_QUEUE
    world.cloud.faults.add("reset", service="smq", operation="SendMessage", times=None)
    return used_up(world, patch)


def deadline_near(world, _patch):
    world.call_times = lambda operation: CallTimes(until_answered=24)
    return world.deliver(TWO, Fc3Context("r", FunctionInfo(timeout=60)), **ALONE)


def no_time_left(world, _patch):
    slow = [CallTimes(before_first_byte=80)]
    world.call_times = lambda _operation: slow.pop() if slow else CallTimes()
    return world.deliver(EVENT)


def clock_off(world, _patch):
    return world.deliver(TWO, offset=60, **ALONE)


def endpoint_changed(world, _patch):
    act_and_hide(world)
    world.deliver(EVENT)
    world.later(LATER)
    world.cloud.faults.clear()
    return world.deliver(EVENT, HPOQ_PAIAUTOML_ENDPOINT="http://127.0.0.1:9")


def unknown_source(world, _patch):
    return world.deliver(EVENT, HPOQ_TRIGGER="kafka")


def envelope_invalid(world, _patch):
    return world.deliver(copy(1), HPOQ_NAMESPACE="another")


def defect(world, patch):
    def break_down(_body, _attributes):
        raise RuntimeError("canary")

    patch.setattr(contract, "parse_request", break_down)
    return world.deliver(EVENT)


def store_unavailable(world, patch):
    def refuse(_record):
        raise StoreUnavailable("timed out")

    patch.setattr(world.store, "insert", refuse)
    return world.deliver(EVENT)


def record_unreadable(world, _patch):
    world.store._rows[KEY] = "{}", None
    return world.deliver(EVENT)


def claim_lost(world, _patch):
    def take_over(received):
        record = world.store.get(KEY)
        if received.header("x-acs-action") == "CreateHpoExperiment" and record.owner != "another":
            world.store.replace(replace(record, owner="another"), record.version)

    world.on_request = take_over
    return world.deliver(EVENT)


def unavailable(world, _patch):
    fail(world, kind="refuse", times=None)
    return world.deliver(EVENT)


def no_credentials(world, _patch):
    return world.deliver(EVENT, ALIBABA_CLOUD_ACCESS_KEY_ID="", ALIBABA_CLOUD_ACCESS_KEY_SECRET="")


def unknown_end(world, _patch):
    fail(world, kind="reset")
    return world.deliver(EVENT)


def stop(world, **target):
    return world.deliver(smq_event("S1", json.dumps({"stop": target})))


def unknown_key(world, _patch):
    return stop(world, idempotencyKey="k")


def nothing_to_stop(world, _patch):
    fail(world, kind="status", status=400, code="INVALID_INPUT_PARAMS", times=None)
    world.deliver(smq_event("M1", request("k")))
    return stop(world, idempotencyKey="k")


def request_in_progress(world, _patch):
    fail(world, kind="reset")
    world.deliver(smq_event("M1", request("k")))
    return stop(world, idempotencyKey="k")


def experiment_not_found(world, _patch):
    stop(world, experimentId="sNoSuch")
    world.later(LATER)
    return stop(world, experimentId="sNoSuch")


def stop_unconfirmed(world, patch):
    world.deliver(smq_event("M1", request("k")))
    patch.setattr(PaiAutoMl, "stop_hpo_experiment", lambda *_, **__: None)
    return stop(world, idempotencyKey="k")


def follow(world):
    """Create an experiment that is followed; return the body of its watch message."""
    world.deliver(EVENT, HPOQ_WATCH_QUEUE=WATCH_QUEUE)
    (sent,) = world.cloud.queues.get(WATCH_QUEUE).messages
    return sent.body


def watch_queue_missing(world, _patch):
    return world.deliver(smq_event("W1", follow(world)))


def watch_invalid(world, _patch):
    spoiled = replace(unseal(b64decode(follow(world))), body=b'{"watch":{}}')
    return world.deliver(smq_event("W1", seal(spoiled)), HPOQ_WATCH_QUEUE=WATCH_QUEUE)


def own_event(world, _patch):
    world.deliver(EVENT)
    return world.deliver(smq_event("E1", json.dumps(world.events[-1])))


FAULTS = {
    "InvalidRequest": invalid,
    "Undecodable": undecodable,
    "IdempotencyConflict": conflict,
    "InProgress": in_progress,
    "HeldBack": held_back,
    "NotDue": not_due,
    "Superseded": superseded,
    "InDoubt": in_doubt,
    "Incomplete": incomplete,
    "Ambiguous": ambiguous,
    "AttemptsUsedUp": used_up,
    "DeadLetterFailed": dead_letter_failed,
    "DeadlineNear": deadline_near,
    "NoTimeLeft": no_time_left,
    "ClockOff": clock_off,
    "EndpointChanged": endpoint_changed,
    "UnknownSource": unknown_source,
    "EnvelopeInvalid": envelope_invalid,
    "OwnEvent": own_event,
    "UnknownKey": unknown_key,
    "NothingToStop": nothing_to_stop,
    "RequestInProgress": request_in_progress,
    "ExperimentNotFound": experiment_not_found,
    "StopUnconfirmed": stop_unconfirmed,
    "WatchQueueMissing": watch_queue_missing,
    "WatchInvalid": watch_invalid,
    "InternalError": defect,
    "StoreUnavailable": store_unavailable,
    "RecordUnreadable": record_unreadable,
    "ClaimLost": claim_lost,
    "Unavailable": unavailable,
    "NoCredentials": no_credentials,
    "UnknownEnd": unknown_end,
}
ENDS = {"InvalidRequest": "rejected", "Undecodable": "rejected", "IdempotencyConflict": "rejected"}
ENDS |= {
    "Superseded": "duplicate",
    "OwnEvent": "duplicate",
    "AttemptsUsedUp": "failed",
    "WatchInvalid": "rejected",
}
ENDS |= dict.fromkeys(("UnknownKey", "NothingToStop", "ExperimentNotFound"), "rejected")


def test_every_diagnosis_is_tested():
    """The runbook has no code whose fault is not known here."""
    assert FAULTS.keys() == {code for code in ROWS if code not in ("Throttled", "Denied", "Invalid")}


@pytest.mark.parametrize("code", FAULTS)
def test_a_diagnosis_fits_its_fault(world, monkeypatch, code):
    """The fault gives that code and outcome, and `operator.needed` with the next step exactly if the row says so."""
    with structlog.testing.capture_logs() as lines:
        rows = FAULTS[code](world, monkeypatch)
    (row,) = (row for row in rows if row["error"] and row["error"]["code"] == code)
    assert row["outcome"] == ENDS.get(code, "retry")
    needed = [line for line in lines if line["event"] == "operator.needed"]
    logged = {line["code"] for line in needed}
    means, _, _ = ROWS[code].partition(" | ")
    assert (code in logged) is ("`operator.needed` is logged" in means)
    assert all(line["advice"] for line in needed)


@pytest.mark.parametrize("code", ["Ambiguous", "Incomplete", "Unavailable", "UnknownEnd"])
def test_status_repeats_the_diagnosis(world, monkeypatch, code):
    """`hpoq status` shows the last error with what to do, and names the commands that the runbook names."""
    FAULTS[code](world, monkeypatch)
    record = world.store.get(KEY)
    lines = [*explain_record(KEY, record, world.clock.now(), Settings()).lines()]
    number = next(
        number for number, line in enumerate(lines) if line.startswith(f"The last error was {code}")
    )
    named = {command for command in ("doctor", "resolve") if f"hpoq {command}" in lines[number + 1]}
    assert named == {command for command in ("doctor", "resolve") if f"hpoq {command}" in ROWS[code]}
