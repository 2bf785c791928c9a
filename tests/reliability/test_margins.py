"""The margins that I1 rests on, each at its worst case, without the gateway's memory of nonces.

An owner sends its create at the last moment that it may, the service acts as late as it is allowed to and lists the
experiment as late as it is allowed to, while a successor whose clock is ahead by the whole skew tries repeatedly.
With every margin there is one experiment. Without any one of them there are two, so each is needed, and this test
would find its loss. The same holds for the random schedules.
"""

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
from test_schedules import INSTANCES, MESSAGES, Schedules

from hpoq.processing import creation, ledger, lifecycle
from hpoq.testing import smq_event, smq_stream_event
from hpoqctl import resolve
from support.budget import sample_by_default
from support.request import REQUEST
from support.schedules import check_schedules, rule
from support.sending import intercept
from support.world import CallTimes, World

EVENT = smq_event("M1", REQUEST)
CREATE = "CreateHpoExperiment"
LEASE, SKEW, READ, CONSISTENCY = 90.0, 10.0, 25.0, 15.0
ALMOST = 0.5
# What the settings allow: a service that acts within a lease less the skew, and lists within the consistency margin.
ACTS_AFTER = LEASE - SKEW - ALMOST
LISTS_AFTER = CONSISTENCY - ALMOST
HEIRS_EVERY = 7.0
LAST_HEIR = 240.0


class Killed(BaseException):
    """The process is gone: nothing below it may be caught, or written afterwards."""


def die_with_the_create(function):
    """Kill the instance right after its create has left."""

    def killed(send, request, **options):
        try:
            return send(request, **options)
        except OSError:
            if request.headers.get("x-acs-action") == CREATE:
                raise Killed from None
            raise

    intercept(function._session, killed)


def run(*, stall, killed):
    """Return what is broken after an owner stalled for `stall` seconds before its create, and successors came."""
    with World(seed=1) as world:
        world.cloud.behaviour.nonce_memory_seconds = 0
        world.cloud.behaviour.list_lag_seconds = LISTS_AFTER
        world.settings = {"HPOQ_MAX_ATTEMPTS": "50"}
        world.cloud.faults.add(service="paiautoml", operation=CREATE, kind="late", seconds=ACTS_AFTER)
        stalls = [CallTimes(before_first_byte=stall)]
        world.call_times = lambda operation: stalls.pop() if stalls and operation == CREATE else CallTimes()
        began = world.clock.now()
        owner = world.function(offset=-SKEW / 2)
        if killed:
            die_with_the_create(owner)
        with contextlib.suppress(Killed, Exception):
            owner.handle(EVENT, None)
        while world.clock.now() < began + LAST_HEIR:
            world.deliver(EVENT, offset=SKEW / 2)
            world.later(HEIRS_EVERY)
        world.later(LISTS_AFTER)
        world.deliver(EVENT)
        experiments = len(world.cloud.experiments)
        return [*world.broken(), *([] if experiments == 1 else [f"{experiments} experiments"])]


# The first byte leaves when the whole read time-out still fits before the lease's end, less the skew.
LATEST = LEASE - SKEW - READ - ALMOST
WORST_CASES = {
    "killed after a create at the last moment": {"stall": LATEST, "killed": True},
    "killed after a create at once": {"stall": 0.0, "killed": True},
    "an unknown end at the last moment": {"stall": LATEST, "killed": False},
    "an unknown end at once": {"stall": 0.0, "killed": False},
    "a create that would leave a little too late": {"stall": LATEST + 1.0, "killed": False},
    "a create that would leave too late by the skew": {"stall": LEASE - READ - ALMOST, "killed": True},
    "a create that would leave with the lease": {"stall": LEASE - SKEW - ALMOST, "killed": True},
    "a create that would leave after the lease": {"stall": LEASE, "killed": True},
}


@pytest.mark.parametrize("case", WORST_CASES)
def test_every_margin_at_its_worst(case):
    """With all margins there is one experiment, however late each delayed step is."""
    assert run(**WORST_CASES[case]) == []


def without_the_skew(patch):
    patch_start(patch, lambda record, terms: record.lease_until - terms.read)


def without_the_read_time_out(patch):
    patch_start(patch, lambda record, terms: record.lease_until - terms.skew)


def patch_start(patch, latest_start):
    """Change the latest start of a create where it is sent, not the doubt that is derived from it."""
    changed = SimpleNamespace(**{**vars(lifecycle), "latest_start": latest_start})
    patch.setattr(creation, "lifecycle", changed)


def without_the_consistency_margin(patch):
    patch.setattr(lifecycle, "doubt_after_send", lambda sent_at, terms: sent_at + terms.lease)


def with_a_doubt_that_begins_with_the_claim(patch):
    patch_claim(patch, lambda made: made.claimed_at + LEASE + CONSISTENCY)


def without_the_consistency_margin_of_a_claim(patch):
    patch_claim(patch, lambda made: made.doubt_until - CONSISTENCY)


def patch_claim(patch, doubt_until):
    """Change the doubt of a claim alone, not that after a send."""
    claim = lifecycle.claim

    def hasty(*arguments):
        made = claim(*arguments)
        return lifecycle.replace(made, doubt_until=doubt_until(made))

    patch.setattr(ledger, "lifecycle", SimpleNamespace(**{**vars(lifecycle), "claim": hasty}))


def with_a_lease_that_ends_early_for_the_doubt(patch):
    patch.setattr(
        lifecycle, "doubt_after_send", lambda sent_at, terms: sent_at + terms.lease - SKEW + terms.consistency
    )


def with_a_lease_that_does_not_count_for_the_doubt(patch):
    patch.setattr(
        lifecycle, "doubt_after_send", lambda sent_at, terms: sent_at + terms.read + terms.consistency
    )


def without_doubt(patch):
    patch.setattr(lifecycle, "is_in_doubt", lambda _doubt_until, _now: False)


def without_the_doubt_of_an_ended_key(patch):
    left = lifecycle.doubt_left
    ended = lifecycle.State.COMPLETED, lifecycle.State.REJECTED, lifecycle.State.FAILED
    patch.setattr(lifecycle, "doubt_left", lambda record: None if record.state in ended else left(record))


def with_a_resolution_without_a_search(patch):
    patch.setattr(resolve, "find", lambda *_arguments, **_options: None)


def with_a_resolution_in_half_the_doubt(patch):
    def is_in_doubt(doubt_until, now):
        return lifecycle.is_in_doubt(doubt_until, now + LEASE / 2)

    patch.setattr(resolve, "lifecycle", SimpleNamespace(**{**vars(lifecycle), "is_in_doubt": is_in_doubt}))


def with_a_resolution_that_overwrites_a_claim(patch):
    record = resolve._record

    class Store:
        def __init__(self, store):
            self.get, self._replace = store.get, store.replace

        def replace(self, record, _expected):
            return self._replace(record, self.get(record.key).version)

    patch.setattr(resolve, "_record", lambda store, *given: record(Store(store), *given))


REMOVALS = [
    without_the_skew,
    without_the_read_time_out,
    without_the_consistency_margin,
    without_the_consistency_margin_of_a_claim,
    with_a_doubt_that_begins_with_the_claim,
    with_a_lease_that_ends_early_for_the_doubt,
    with_a_lease_that_does_not_count_for_the_doubt,
    without_doubt,
]


@pytest.mark.parametrize("remove", REMOVALS)
def test_each_margin_is_needed(remove, monkeypatch):
    """Without any one margin one of the worst cases makes a second experiment: these cases can fail."""
    remove(monkeypatch)
    assert any(run(**case) for case in WORST_CASES.values())


class AtTheMargins(Schedules):
    """The random schedules where nothing but the margins helps: no nonce is remembered, and listings are late."""

    messages: ClassVar = {"keyed": MESSAGES["keyed"]}

    # Without the rules that do not affect the margins, few schedules are enough.
    plainly = killed = overtaken = the_store_breaks = something_breaks = another_answers = None
    a_create_arrives_late = successors_come_while_a_create_is_late = a_call_is_slow = (
        dead_letters_are_redriven
    ) = an_experiment_is_created_without_an_id = an_instance_is_frozen = a_frozen_instance_goes_on = None

    @rule()
    def begin(self):
        super().begin(
            lag=LISTS_AFTER,
            tag_filter="honoured",
            policy="raise",
            attempts="50",
            memory=0,
            date_window="900",
            throttled_nonce="kept",
            marker="both",
        )

    @rule(instance=INSTANCES)
    def the_message_comes_again_after_its_failure_has_expired(self, instance):
        """Its experiment exists: the answer to its create was lost, and no listing came until it was given up."""
        event = smq_stream_event({self.ids["keyed"]: json.dumps(self.messages["keyed"])})
        faults = self.world.cloud.faults
        faults.add("reset", service="paiautoml", operation=CREATE, when="after")
        faults.add("status", service="paiautoml", operation="ListHpoExperiments", status=503, times=None)
        self.run(event, instance)
        self.world.later(4 * 86_400)
        self.run(event, instance)
        faults.clear()
        self.world.later(40 * 86_400)
        self.run(event, instance)

    def find_broken(self, **options):
        """Return what breaks I1. What is given up in doubt may have an experiment, which I2 and I3 would report."""
        return [one for one in super().find_broken(**options) if one.startswith("I1")]

    def check(self):
        broken = self.find_broken(finished=True)
        assert broken == [], broken


class OperatorsAtTheMargins(AtTheMargins):
    """Those with an operator who resolves the key, and may err."""

    an_operator_resolves_a_key_meanwhile = a_clock_is_set = time_goes_on = (
        a_create_is_as_late_as_it_may_be
    ) = the_message_comes_again_after_its_failure_has_expired = None


def run_schedules(count, machine=AtTheMargins):
    """Run random schedules, the same every time, until one breaks an invariant."""
    check_schedules(range(count), [machine], steps=2)


def test_random_schedules_keep_to_the_margins():
    """With all margins there is one experiment in any schedule."""
    run_schedules(50)


@pytest.mark.parametrize("remove", sample_by_default([*REMOVALS, without_the_doubt_of_an_ended_key]))
def test_random_schedules_need_each_margin(remove, monkeypatch):
    """Without any one margin some schedule makes a second experiment: the machine can see its loss."""
    remove(monkeypatch)
    with pytest.raises(AssertionError, match="I1: 2 experiments"):
        run_schedules(400)


@pytest.mark.parametrize(
    "weaken",
    [
        with_a_resolution_without_a_search,
        with_a_resolution_in_half_the_doubt,
        with_a_resolution_that_overwrites_a_claim,
    ],
)
def test_random_schedules_need_what_a_resolution_checks(weaken, monkeypatch):
    """An operator may overlook an experiment, decide too early, or while a delivery claims the key."""
    weaken(monkeypatch)
    with pytest.raises(AssertionError, match=r"I1: \d experiments"):
        run_schedules(100, OperatorsAtTheMargins)


def test_a_failed_key_is_searched_for(monkeypatch):
    """A key that comes back after its end may have an experiment; without that doubt it gets a second one."""

    def experiments():
        with World(seed=1) as world:
            world.cloud.behaviour.nonce_memory_seconds = 0
            world.deliver(EVENT)
            ((key, (text, version)),) = world.store._rows.items()
            failed = json.dumps({**json.loads(text), "state": "FAILED", "experiment_id": None})
            world.store._rows[key] = failed, replace(version, state="FAILED")
            world.later(40 * 86_400)
            world.deliver(EVENT)
            return len(world.cloud.experiments)

    assert experiments() == 1
    monkeypatch.setattr(lifecycle, "doubt_left", lambda record: None)
    assert experiments() == 2
