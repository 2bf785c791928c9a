"""A create whose end is unknown is reconciled, never repeated blindly."""

import pytest

from hpoq.function import EventFailed
from hpoq.processing import lifecycle
from hpoq.testing import smq_event
from support.deployment import CONTEXT
from support.request import REQUEST, request

EVENT = smq_event("M1", REQUEST)


def outcomes(rows):
    return [row["outcome"] for row in rows]


def test_time_out_after_the_service_acted(world):
    """A create that times out after it took effect is found and adopted at once."""
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="stall", when="after")
    (row,) = world.deliver(EVENT)
    assert row["outcome"] == "created"
    assert row["experimentId"] == world.cloud.experiments[0].experiment_id
    assert len(world.cloud.experiments) == 1
    assert world.broken() == []


@pytest.mark.parametrize("kind", ["stall", "reset", "truncate", "malformed", "html"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_broken_answers(world, kind, when):
    """Whatever breaks the answer of a create, and whether the service acted: one experiment in the end."""
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind=kind, when=when)
    for _ in range(4):
        rows = world.deliver(EVENT)
        if outcomes(rows) != ["retry"]:
            break
        world.later(30)
    assert outcomes(rows) == ["created"]
    assert len(world.cloud.experiments) == 1
    assert outcomes(world.deliver(EVENT)) == ["duplicate"]
    assert world.broken() == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_after_the_service_acted(world, status):
    """A 5xx says nothing about the effect: the experiment is searched for."""
    world.cloud.faults.add(
        service="paiautoml",
        operation="CreateHpoExperiment",
        kind="status",
        when="after",
        status=status,
        code="InternalError",
    )
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_service_that_did_not_act_is_asked_again_only_after_the_doubt(world):
    """Absence proves nothing until lease and consistency margin are over; then one create is sent."""
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="reset", when="before")
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.later(30)
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["error"]["code"]) == ("retry", "InDoubt")
    assert world.cloud.experiments == []
    world.later(60)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1


def test_a_listing_that_lags(world):
    """An experiment that the listing shows late is adopted once it is listed."""
    world.cloud.behaviour.list_lag_seconds = 12
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="reset", when="after")
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    world.later(20)
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1
    assert world.broken() == []


@pytest.mark.parametrize("tag_filter", ["ignored", "refused"])
def test_a_service_that_does_not_filter_by_tag(world, tag_filter):
    """Where the tag filter is ignored or refused, the rows' own tags decide, over all pages."""
    world.cloud.behaviour.tag_filter = tag_filter
    for n in range(7):
        world.deliver(smq_event(f"O{n}", request(f"other-{n}")))
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="stall", when="after")
    assert outcomes(world.deliver(EVENT, HPOQ_LIST_PAGE_SIZE="3")) == ["created"]
    assert len(world.cloud.experiments) == 8
    assert world.broken() == []


def test_the_marker_in_the_description(world):
    """With the marker in the description, an experiment is adopted even if the service refuses tags."""
    world.cloud.behaviour.create_tags = "refused"
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="stall", when="after")
    (row,) = world.deliver(EVENT, HPOQ_MARKER="description")
    assert row["outcome"] == "created"
    (experiment,) = world.cloud.experiments
    assert f"[hpoq-key: {row['key']}]" in experiment.description


def test_a_listing_that_fails_keeps_the_doubt(world):
    """While the listing fails, nothing is created."""
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="reset", when="after")
    world.cloud.faults.add(
        service="paiautoml",
        operation="ListHpoExperiments",
        kind="status",
        status=503,
        when="before",
        times=50,
    )
    for _ in range(3):
        assert outcomes(world.deliver(EVENT)) == ["retry"]
        world.later(200)
    assert len(world.cloud.experiments) == 1
    world.cloud.faults.clear()
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1
    assert world.broken() == []


def test_a_refused_connection_leaves_no_doubt(world):
    """A request that never left needs no reconciliation: the next delivery creates at once."""
    world.cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="refuse", when="before", times=3
    )
    assert outcomes(world.deliver(EVENT)) == ["retry"]
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert [entry.operation for entry in world.cloud.requests if entry.service == "paiautoml"].count(
        "ListHpoExperiments"
    ) == 0


def test_a_service_that_drops_tags(world):
    """A service that takes tags and forgets them shows the marker in the description."""
    world.cloud.behaviour.create_tags = "dropped"
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="stall", when="after")
    assert outcomes(world.deliver(EVENT)) == ["created"]
    assert len(world.cloud.experiments) == 1
    assert world.broken() == []


def test_a_service_that_drops_the_only_marker(world):
    """With the tag as the only marker nothing is created; an operator is needed, who can resolve the key."""
    world.cloud.behaviour.create_tags = "dropped"
    world.cloud.faults.add(service="paiautoml", operation="CreateHpoExperiment", kind="stall", when="after")
    for _ in range(3):
        (row,) = world.deliver(EVENT, HPOQ_MARKER="tag")
        assert row["outcome"] == "retry"
        world.later(200)
    assert row["error"]["code"] == "Ambiguous"
    (experiment,) = world.cloud.experiments
    record = world.store.get(row["key"])
    found = lifecycle.resolve_experiment(record, experiment.experiment_id, world.clock.now())
    assert world.store.replace(found, record.version)
    (row,) = world.deliver(EVENT)
    assert (row["outcome"], row["experimentId"]) == ("created", experiment.experiment_id)
    assert len(world.cloud.experiments) == 1


def test_a_machine_that_slept_over_its_lease(world):
    """A create that waits to be repeated while the machine sleeps is not sent once its lease is over."""
    function = world.function(HPOQ_CALL_ATTEMPTS="2")
    world.cloud.faults.add(
        service="paiautoml", operation="CreateHpoExperiment", kind="status", status=400, code="Throttling"
    )
    sleep = world.clock.sleep

    def suspended(seconds):
        sleep(seconds)
        world.clock.suspend(300)

    world.clock.sleep = suspended
    with pytest.raises(EventFailed):
        function.handle(EVENT, CONTEXT)
    world.clock.sleep = sleep
    assert world.cloud.experiments == []
    assert [entry.operation for entry in world.cloud.requests].count("CreateHpoExperiment") == 1


def test_a_message_that_comes_back_after_its_retention(world):
    """If a record has expired, its experiment is announced again, although the service cannot be searched."""
    (first,) = world.deliver(EVENT)
    denied = {"kind": "status", "status": 403, "code": "Forbidden.RAM", "times": None}
    world.cloud.faults.add(service="paiautoml", operation="ListHpoExperiments", **denied)
    world.later(40 * 86_400)
    (again,) = world.deliver(EVENT)
    assert (again["outcome"], again["experimentId"]) == ("created", first["experimentId"])
    assert len(world.cloud.experiments) == 1
    assert len({event["id"] for event in world.events}) == 1
    assert world.broken() == []
