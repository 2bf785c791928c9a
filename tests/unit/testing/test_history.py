"""The history checker: one hand-made history per broken invariant, and good ones on which it is silent."""

from __future__ import annotations

import pytest

from hpoq.testing.history import History

CONFLICT = {"code": "IdempotencyConflict", "message": "another request", "retryable": False}
REFUSED = {"code": "InvalidRequest", "message": "a member is missing", "retryable": False}
LOST = {"code": "Throttled", "message": "given up", "retryable": True}


def row(outcome, *, message="M1", key="K1", experiment=None, error=None):
    return {"messageId": message, "key": key, "outcome": outcome, "experimentId": experiment, "error": error}


def event(outcome, *, message="M1", key="K1", experiment=None, error=None, **changes):
    """Return an event whose id is made of key and outcome, with `changes` to its data."""
    data = {"idempotencyKey": key, "messageId": message, "requestId": "r-1", "attempts": 1, "timings": {}}
    if experiment:
        data["experimentId"] = experiment
    if error:
        data["error"] = error
    return {
        "specversion": "1.0",
        "id": f"{key}-{outcome}-{(error or {}).get('code', '')}",
        "type": f"com.hpoq.experiment.{outcome}.v1",
        "source": "function",
        "subject": experiment or key,
        "time": "2026-01-02T03:04:05.678Z",
        "data": {**data, **changes},
    }


def good(**changes):
    """Return a finished history: a created message, its duplicate, a rejected, a failed and a conflicting one."""
    history = History(
        rows=[
            row("retry"),
            row("created", experiment="E1"),
            row("duplicate", experiment="E1"),
            row("rejected", message="M2", key="K2", error=REFUSED),
            row("failed", message="M3", key="K3", error=LOST),
            row("duplicate", message="M4", key="K3"),
            row("rejected", message="M5", error=CONFLICT),
        ],
        events=[
            event("created", experiment="E1"),
            event("created", experiment="E1"),
            event("rejected", message="M2", key="K2", error=REFUSED),
            event("failed", message="M3", key="K3", error=LOST),
            event("rejected", message="M5", error=CONFLICT),
        ],
        experiments=[("K1", "E1"), ("", "E0")],
        complete=True,
        finished=True,
    )
    history.watched = changes.pop("watched", False)
    for name, more in changes.items():
        getattr(history, name).extend(more)
    return history


def test_a_good_history_is_silent():
    """Repeats, duplicates, refusals, failures and conflicts break nothing."""
    assert good().broken() == []
    assert History(complete=True, finished=True).broken() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {"experiments": [("K1", "E2")], "events": [event("created", experiment="E1")]},
            "I1: 2 experiments carry the key K1",
            id="two experiments for a key",
        ),
        pytest.param(
            {"rows": [row("created", message="M9", key="K9")]},
            "I2: message M9 ended as created without an event",
            id="an end without an event",
        ),
        pytest.param(
            {"rows": [row("rejected", message="M2", key="K1", error=REFUSED)]},
            "I2: message M2 says rejected, but experiment E1 carries its key K1",
            id="rejected although created",
        ),
        pytest.param(
            {"rows": [row("failed", message="M3", key="K1", error=LOST)]},
            "I2: message M3 says failed, but experiment E1 carries its key K1",
            id="failed although created",
        ),
        pytest.param(
            {"events": [{**event("created", experiment="E1"), "id": "other"}]},
            "I3: the created events of K1 have 2 ids",
            id="two ids for a key and type",
        ),
        pytest.param(
            {"events": [event("failed", message="M3", key="K3", error={**LOST, "message": "no quota"})]},
            "I3: events of the id K3-failed-Throttled have 2 different contents",
            id="two contents for an id",
        ),
        pytest.param(
            {"events": [event("failed", key="K2", error=LOST)]},
            "I3: the key K2 has events of several outcomes: failed, rejected",
            id="two outcomes for a key",
        ),
        pytest.param(
            {"rows": [row("duplicate", message="M9", key="K9")]},
            "I6: message M9 is a duplicate, but its key K9 has no event",
            id="a duplicate of nothing",
        ),
        pytest.param(
            {
                "events": [event("created", key="K9", experiment="E1")],
                "rows": [row("created", key="K9", experiment="E1")],
            },
            "I6: the created event of K9 names experiment E1, which carries the key K1",
            id="another key's experiment",
        ),
        pytest.param(
            {"events": [event("created", key="K9", experiment="E9")]},
            "unexpected: an event names experiment E9, which does not exist",
            id="an experiment that does not exist",
        ),
        pytest.param(
            {"experiments": [("K9", "E9")]},
            "I6: no created event names experiment E9, which carries the key K9",
            id="an experiment that was never announced",
        ),
        pytest.param(
            {"rows": [row("finished", message="M9", key="K9")]},
            "I2: message M9 ended as finished without an event",
            id="a result without an event",
        ),
        pytest.param(
            {
                "events": [
                    event("finished", experiment="E1"),
                    {**event("finished", experiment="E1"), "id": "other"},
                ]
            },
            "I7: experiment E1 has 2 finished events",
            id="two results of an experiment",
        ),
        pytest.param(
            {"events": [event("finished", experiment="E0", key="K9")]},
            "I7: experiment E0 has a finished event of K9, and no created event",
            id="a result before its creation",
        ),
        pytest.param(
            {"watched": True},
            "I7: experiment E1 was created and followed, and has no finished event",
            id="an experiment without a result",
        ),
    ],
)
def test_each_broken_invariant_is_reported(changes, sentence):
    """One history per kind, which breaks nothing else."""
    broken = good(**changes).broken()
    # A second experiment of a key can only be unannounced too: one created event names one experiment.
    # Two ids of a result are two ids of its key and type, too.
    implied = ("I6: no created event names experiment E2", "I3: the finished events of K1 have 2 ids")
    assert [one for one in broken if not one.startswith(implied)] == [sentence]


@pytest.mark.parametrize("outcome", ["failed", "rejected"])
def test_a_key_is_not_both_created_and_refused(outcome):
    """Each sentence that applies is there: the experiment exists, and the key has two outcomes."""
    broken = good(events=[event(outcome, message="M8", error=LOST)]).broken()
    assert broken == [
        f"I2: event K1-{outcome}-Throttled says {outcome}, but experiment E1 carries its key K1",
        f"I3: the key K1 has events of several outcomes: created, {outcome}",
    ]


def test_what_may_be_missing_is_not_reported():
    """A duplicate or an experiment proves nothing where the history is not whole, or not at its end."""
    history = good(rows=[row("duplicate", message="M9", key="K9")], experiments=[("K8", "E8")])
    history.complete = False
    assert history.broken() == []
    history = good(experiments=[("K8", "E8")])
    history.finished = False
    assert history.broken() == []


@pytest.mark.parametrize(
    "change", [{"messageId": "M7"}, {"requestId": "r-2"}, {"attempts": 4}, {"timings": {"create": 3}}]
)
def test_an_event_composed_anew_may_differ_in_its_circumstances(change):
    """After its retention a key is adopted again, by another delivery at another time."""
    again = {**event("created", experiment="E1", **change), "time": "2027-01-01T00:00:00.000Z"}
    assert good(events=[{**again, "traceparent": "00-1-2-01"}]).broken() == []


@pytest.mark.parametrize("change", [{"source": "other"}, {"subject": "E9"}, {"specversion": "0.3"}])
def test_an_event_composed_anew_says_the_same(change):
    """Whatever does not belong to one delivery is the same in every event of an id."""
    broken = good(events=[{**event("created", experiment="E1"), **change}]).broken()
    assert broken == ["I3: events of the id K1-created- have 2 different contents"]


def test_a_redriven_failure_is_not_final():
    """A dead letter that was sent again may fail for another reason, and be created in the end."""
    history = good(
        rows=[row("failed", message="M3", key="K3", error=LOST), row("created", message="M3", key="K3")],
        events=[
            event("failed", message="M3", key="K3", error={**LOST, "message": "no quota"}),
            event("created", message="M3", key="K3", experiment="E3"),
        ],
        experiments=[("K3", "E3")],
    )
    history.redriven = {"K3"}
    assert history.broken() == []
    history.redriven = set()
    assert len(history.broken()) == 4
