"""Every store against every other: the same calls, in any order, have the same answers."""

import multiprocessing
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from racing import NOW, race

from hpoq.idempotency.record import State
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Delivery, Terms
from hpoq.testing import MemoryStore, run_store_conformance
from support.budget import examples

KEYS = [str(uuid.UUID(int=number)) for number in range(3)]
OWNERS = ["owner-1", "owner-2", "owner-3"]
TERMS = Terms(lease=90, skew=10, consistency=15, retention=10**9, max_attempts=3)
SKEWS = st.sampled_from([-300.0, 0.0, 300.0])


class Agreement(RuleBasedStateMachine):
    """Drives all stores through the transitions of the life cycle, and through wrong ones."""

    stores = ()

    def __init__(self):
        super().__init__()
        self.now = NOW
        for store in self.stores:
            store.forget()

    def ask(self, call):
        """Return what all stores answer to `call`."""
        answers = [call(store) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    @rule(key=st.sampled_from(KEYS), owner=st.sampled_from(OWNERS), skew=SKEWS)
    def opens(self, key, owner, skew):
        now = self.now + skew
        delivery = Delivery(key, "f", key, "b")
        wanted = lifecycle.claim(delivery, owner, now, TERMS)
        standing = self.ask(lambda store: store.insert(wanted))
        if standing is not None and lifecycle.decide(standing, delivery, now) is Action.TAKE_OVER:
            taken = lifecycle.take_over(standing, delivery, owner, now, TERMS)
            assert self.ask(lambda store: store.replace(taken, standing.version))

    @rule(key=st.sampled_from(KEYS), owner=st.sampled_from(OWNERS), end=st.sampled_from(list(State)))
    def ends(self, key, owner, end):
        """Replace a record in the name of a process that believes it has the claim."""
        standing = self.ask(lambda store: store.get(key))
        if standing is None:
            return
        mine = replace(standing, owner=owner)
        ended = {
            State.IN_PROGRESS: lifecycle.release(mine, None, self.now, counts=True),
            State.COMPLETED: lifecycle.complete(mine, "s1", '{"é":1}', self.now, TERMS),
            State.REJECTED: lifecycle.reject(mine, "{}", self.now, TERMS),
            State.FAILED: lifecycle.fail(mine, "{}", self.now, TERMS),
        }[end]
        done = self.ask(lambda store: store.replace(ended, mine.version))
        assert done == (standing.owner == owner or ended == standing)

    @rule(key=st.sampled_from(KEYS))
    def publishes(self, key):
        standing = self.ask(lambda store: store.get(key))
        if standing is not None and standing.event is not None:
            out = lifecycle.mark_published(standing, self.now)
            assert self.ask(lambda store: store.replace(out, standing.version))
            assert self.ask(lambda store: store.replace(out, standing.version))

    @rule(seconds=st.sampled_from([1.0, 91.0, 1000.0]))
    def time_goes_on(self, seconds):
        self.now += seconds


class Renewed:
    """A store that can be emptied, by being made anew."""

    def __init__(self, make):
        self._make = make
        self._store = None

    def forget(self):
        self.close()
        self._store = self._make()

    def close(self):
        if self._store is not None:
            self._store.close()

    def __getattr__(self, name):
        return getattr(self._store, name)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "tablestore"])
def test_conformance(store_urls, kind):
    """Every store, opened by its URL, keeps every rule of the protocol."""
    url = store_urls[kind]()
    run_store_conformance(lambda: open_store(url))


def test_all_stores_agree(store_urls):
    """Whatever is asked of them in whatever order, all stores answer as the model does."""
    stores = [Renewed(lambda make=make: open_store(make())) for make in store_urls.values()]

    class Machine(Agreement):
        pass

    Machine.stores = (Renewed(MemoryStore), *stores)
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples(25),
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        for store in stores:
            store.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "tablestore"])
def test_processes_race(store_urls, kind):
    """Of processes that race for a key exactly one inserts it, and at most one takes it over."""
    context = multiprocessing.get_context("forkserver")
    # It imports the stores once for the racers of all kinds. They share no connection: it opens none.
    context.set_forkserver_preload(["hpoq.idempotency.redis", "hpoq.idempotency.tablestore"])
    start, answers, url = context.Barrier(4, timeout=60), context.Queue(), store_urls[kind]()
    racers = [context.Process(target=race, args=(url, f"racer-{n}", start, answers)) for n in range(4)]
    for racer in racers:
        racer.start()
    won = [answers.get(timeout=300) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(inserted for inserted, _ in won) == 50
    assert sum(taken for _, taken in won) <= 50
    store = open_store(url)
    owners = [store.get(str(uuid.UUID(int=number))) for number in range(50)]
    store.close()
    assert sum(record.attempts == 2 for record in owners) == sum(taken for _, taken in won)
