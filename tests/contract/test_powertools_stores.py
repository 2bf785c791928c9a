"""Powertools' idempotency utility with records in each kind of store: the contract of a persistence layer."""

import threading
import time

import pytest
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
)

from fcruntime import Fc3Context, lambda_context
from fcruntime.context import FunctionInfo
from hpoq.idempotency import redis
from hpoq.idempotency.powertools import StorePersistenceLayer
from hpoq.idempotency.store import open_store
from hpoq.testing import FakeClock, MemoryStore
from support.powertools import config


@pytest.fixture(params=["sqlite", "redis", "tablestore"])
def store(request, store_urls):
    opened = open_store(store_urls[request.param]())
    yield opened
    opened.close()


@pytest.fixture
def ours(store):
    return StorePersistenceLayer(store)


def test_a_function_that_raises_may_be_called_again(ours):
    """A function that raises gives its claim up and can be called again."""
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=ours, config=config())
    def run(order):
        calls.append(order)
        if len(calls) == 1:
            raise ValueError("first")
        return "done"

    with pytest.raises(ValueError, match="first"):
        run(order=1)
    assert run(order=1) == "done"
    assert run(order=1) == "done"
    assert len(calls) == 2


def test_a_record_can_be_deleted(ours):
    """A deleted record no longer protects: the function runs again."""
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=ours, config=config())
    def run(order):
        calls.append(order)
        return len(calls)

    assert (run(order=1), run(order=1)) == (1, 1)
    ours.delete_record(1, None)
    assert run(order=1) == 2


def test_a_call_in_progress_is_an_error(ours):
    """A second call is refused while the first one is in progress."""

    @idempotent_function(data_keyword_argument="order", persistence_store=ours, config=config())
    def run(order):
        with pytest.raises(IdempotencyAlreadyInProgressError):
            run(order=order)
        return order

    assert run(order=1) == 1


def test_a_response_hook_gets_the_stored_result(ours):
    """A user's response hook gets the stored result and its record."""
    seen = []

    def hook(response, record):
        seen.append((response, record.status))
        return response

    @idempotent_function(
        data_keyword_argument="order", persistence_store=ours, config=config(response_hook=hook)
    )
    def run(order):
        return {}

    run(order=1)
    assert run(order=1) == {}
    assert seen == [({}, "COMPLETED")]


@pytest.mark.parametrize("result", [{"a": 1}, {}])
def test_the_local_cache_answers_without_the_store(result):
    """With the local cache a repeated call does not read the store."""
    store = MemoryStore()
    cached = StorePersistenceLayer(store)
    options = config(use_local_cache=True)

    @idempotent_function(data_keyword_argument="order", persistence_store=cached, config=options)
    def run(order):
        return result

    run(order=1)
    store.get = store.insert = None
    assert run(order=1) == result


def test_records_outlast_their_layer(tmp_path):
    """A new layer on the same store replays the result of an earlier one."""

    def protected(calls):
        def run(order):
            calls.append(order)
            return {"made": order}

        layer = StorePersistenceLayer(open_store(f"sqlite:///{tmp_path}/records"))
        return idempotent_function(
            run, data_keyword_argument="order", persistence_store=layer, config=config()
        )

    first, second = [], []
    assert protected(first)(order=1) == protected(second)(order=1) == {"made": 1}
    assert (first, second) == ([1], [])


def test_a_claim_ends_with_the_invocation():
    """A claim ends with the remaining time of Lambda's context, which is made from FC's."""
    store = MemoryStore()
    options = IdempotencyConfig()
    before = time.time()
    options.register_lambda_context(lambda_context(Fc3Context("r", FunctionInfo(timeout=60))))
    after = time.time()
    kept = []

    @idempotent_function(
        data_keyword_argument="order", persistence_store=StorePersistenceLayer(store), config=options
    )
    def run(order):
        kept.extend(store.get(key) for key in store._rows)
        return order

    run(order=1)
    (record,) = kept
    assert before + 59 < record.lease_until < after + 61


def test_a_call_that_exceeded_its_time_changes_nothing(ours):
    """If A takes too long and B claims and completes, A neither overwrites nor deletes what B wrote."""
    late = [{"fails": False}, {"fails": True}]
    calls = []

    def run(order):
        calls.append(order)
        if len(calls) % 2:
            time.sleep(0.002)
            protected(order=order)
            if order["fails"]:
                raise TimeoutError("too late")
            return {"by": "A"}
        return {"by": "B"}

    protected = idempotent_function(
        run, data_keyword_argument="order", persistence_store=ours, config=config(millis=1)
    )
    for order, error in zip(late, (IdempotencyPersistenceLayerError, TimeoutError), strict=True):
        with pytest.raises(error):
            protected(order=order)
        assert protected(order=order) == {"by": "B"}
    assert len(calls) == 4


def test_one_of_many_simultaneous_calls_runs(ours):
    """Of many calls at the same time, exactly one runs the function."""
    calls, others, results = [], threading.Semaphore(0), []

    @idempotent_function(data_keyword_argument="order", persistence_store=ours, config=config())
    def run(order):
        calls.append(order)
        for _ in range(7):
            assert others.acquire(timeout=30)
        return "done"

    def call():
        try:
            results.append(run(order=1))
        except IdempotencyAlreadyInProgressError:
            others.release()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (calls, results) == ([1], ["done"])
    assert run(order=1) == "done"


def test_an_expired_record_is_ignored(store):
    """After its expiry a record no longer protects."""
    calls = []

    def protected(clock):
        def run(order):
            calls.append(order)
            return len(calls)

        layer = StorePersistenceLayer(store, clock)
        return idempotent_function(
            run, data_keyword_argument="order", persistence_store=layer, config=config()
        )

    today, tomorrow = FakeClock(time.time()), FakeClock(time.time() + 86_400)
    assert [protected(clock)(order=1) for clock in (today, today, tomorrow)] == [1, 1, 2]


def test_redis_removes_its_records(redis_server):
    """Every record in Redis is removed 7 days after its own expiry, including claims of functions that died."""
    kept = 7 * 86_400_000
    store = open_store(f"{redis_server}?prefix=powertools-ttl:")
    seen = []

    @idempotent_function(
        data_keyword_argument="order", persistence_store=StorePersistenceLayer(store), config=config()
    )
    def run(order):
        (name,) = store._client.keys("powertools-ttl:*")
        seen.append(store._client.pttl(name))

    run(order=1)
    (name,) = store._client.keys("powertools-ttl:*")
    seen.append(store._client.pttl(name))
    store.close()
    assert len(seen) == 2
    kept = redis._KEPT_SECONDS * 1000  # how long the store keeps any record after its expiry
    assert all(3_000_000 < left - kept <= 3_601_000 for left in seen)
