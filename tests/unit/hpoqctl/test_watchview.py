"""What `hpoq status` says about an experiment that is followed."""

import json
from dataclasses import replace

import pytest

import alilocal
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import WATCH, derive_key
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.processing.watchorder import WatchOrder, encode_order, identify_watch
from hpoq.testing import FakeClock, MemoryStore
from hpoqctl.audit import Auditor
from hpoqctl.watchview import find_watching

TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
KEY = derive_key("producer", "k")
ORDER = WatchOrder(KEY, "s1", 1000.0)
WATCH_KEY = derive_key(WATCH, identify_watch(KEY, "s1"), "n")
OTHER_KEY = derive_key(WATCH, identify_watch(KEY, "s1"), "other")
CLAIM = lifecycle.claim(Delivery(KEY, "f", "m", "b"), "owner", 990.0, TERMS)
DONE = replace(
    lifecycle.complete(CLAIM, "s1", json.dumps({"id": "e"}), 1000.0, TERMS), watch_order=encode_order(ORDER)
)
RESOLVED = replace(CLAIM, experiment_id="s1", watch_order=encode_order(replace(ORDER, experiment_id="")))
PUBLISHED = lifecycle.mark_published(DONE, 1100.0)


def look(at, number=1, **order):
    """Return the record after a look at the experiment."""
    claimed = lifecycle.claim(Delivery(WATCH_KEY, "watch", "m", "b"), "owner", at, TERMS)
    released = lifecycle.release(claimed, None, at, counts=True)
    order = encode_order(replace(ORDER, **order))
    return replace(released, attempts=number, watch_order=order, experiment_id="s1")


def ended(published):
    """Return the record of an experiment that has ended."""
    event = json.dumps({"id": "f", "data": {"status": "FINISHED"}})
    record = lifecycle.complete(look(2000.0), "s1", event, 2000.0, TERMS)
    return lifecycle.mark_published(record, 2001.0) if published else record


def explain(watched, now, record=DONE):
    """Return the sentences and the JSON for the record of the watch messages, or None."""
    store = MemoryStore()
    if watched is not None:
        store.insert(watched)
    watching = find_watching(store.get, record, now, "n")
    if watching is None:
        return None
    return " ".join(watching.lines()), watching.as_json()


def test_before_the_first_look():
    """Nothing has been seen yet, and nothing is late."""
    text, document = explain(None, 1030.0)
    assert text == "Its experiment is followed. It has not been checked yet."
    assert (document["key"], document["looks"], document["lastLookAt"]) == (WATCH_KEY, 0, None)


def test_a_first_look_that_is_late():
    """A first watch message that is lost is reported, from the publication of the created event on."""
    text, document = explain(None, 1600.0, PUBLISHED)
    assert "It has not been checked yet." in text
    assert "That was 500 s ago." in text
    assert f"hpoq redrive --watch {KEY}" in text
    assert document["nextLookAt"] == 1100.0


def test_between_two_looks():
    """The number of checks, the last status and both times are shown."""
    record = look(1060.0, 2, last_status="RUNNING", next_at=1120.0)
    text, document = explain(record, 1100.0)
    assert "2 checks, the last one at 1970-01-01 00:17:40 UTC with the status RUNNING" in text
    assert "The next check is due at 1970-01-01 00:18:40 UTC." in text
    assert "ago" not in text
    shown = {name: document[name] for name in ("looks", "lastLookAt", "lastStatus", "nextLookAt", "result")}
    assert shown == {
        "looks": 2,
        "lastLookAt": 1060.0,
        "lastStatus": "RUNNING",
        "nextLookAt": 1120.0,
        "result": None,
    }


def test_during_a_look():
    """While a delivery checks the experiment, its claim is not mistaken for the last check."""
    claimed = lifecycle.claim(Delivery(WATCH_KEY, "f", "m", "b"), "owner", 1060.0, TERMS)
    text, document = explain(replace(claimed, watch_order=encode_order(ORDER)), 1061.0)
    assert "A delivery is checking it now." in text
    assert document["lastLookAt"] is None


def test_a_look_that_is_late():
    """A look that is overdue by minutes is reported, with what to check."""
    text, _ = explain(look(1060.0, next_at=1120.0), 1600.0)
    assert "That was 480 s ago. Check that HPOQ_WATCH_QUEUE has a trigger." in text
    assert f"hpoq redrive --dry-run --match {WATCH_KEY}" in text


@pytest.mark.parametrize(("published", "words"), [(True, "was published"), (False, "is not published yet")])
def test_after_the_end(published, words):
    """The status of the end and the finished event replace what was said about looks."""
    text, document = explain(ended(published), 3000.0)
    assert text == f"Its experiment has ended with the status FINISHED; the finished event {words}."
    assert document["result"] == {"id": "f", "data": {"status": "FINISHED"}}
    assert (document["nextLookAt"], document["lastLookAt"]) == (None, None)


@pytest.mark.parametrize("record", [None, CLAIM, replace(DONE, watch_order=None), RESOLVED])
def test_an_experiment_that_is_not_followed(record):
    """Without an announced experiment, or HPOQ_WATCH_QUEUE at its creation, there is nothing to say or send."""
    assert explain(None, 1030.0, record) is None


@pytest.mark.parametrize(
    ("watched", "hours", "is_overdue"),
    [
        (None, 2.1, True),
        (None, 1.9, False),
        (look(1060.0, next_at=1120.0), 2.1, True),
        (look(1060.0, next_at=1120.0), 1.9, False),
        (ended(True), 9.0, False),
        (replace(look(1060.0, next_at=1120.0), key=OTHER_KEY), 9.0, False),
    ],
)
def test_an_audit_lists_experiments_that_are_not_checked_any_more(watched, hours, is_overdue):
    """It counts from the time of the next check, or from the created event for the first check.

    What another namespace in the same store follows is not listed.
    """
    store = SqliteStore(":memory:")
    for record in (lifecycle.mark_published(DONE, 1000.0), watched):
        if record is not None:
            store.insert(record)
    clock, until = FakeClock(), 1000.0 + hours * 3600
    with alilocal.LocalCloud(clock=clock) as cloud:
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        client = PaiAutoMl(Transport(cloud.session(), clock), cloud.endpoint, lambda: credentials)
        auditor = Auditor(store, client, clock, since=until, until=until, namespace="n")
        audit = auditor.run()
    store.close()
    assert audit.overdue == [KEY] * is_overdue
    assert audit.as_json()["overdueChecks"] == [KEY] * is_overdue


def test_a_rejected_watch_message_is_no_end():
    """One that came before its request had its experiment was rejected; the experiment is still followed."""
    claim = lifecycle.claim(Delivery(WATCH_KEY, "watch", "m", "b"), "owner", 900.0, TERMS)
    rejected = lifecycle.mark_published(lifecycle.reject(claim, "{}", 901.0, TERMS), 902.0)
    watching = find_watching({WATCH_KEY: rejected}.get, DONE, 1030.0, "n")
    assert not watching.is_over
    assert watching.make_message().key == WATCH_KEY
    assert explain(rejected, 1600.0, PUBLISHED) == explain(None, 1600.0, PUBLISHED)
