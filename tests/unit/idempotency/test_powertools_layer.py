"""Powertools' idempotency over hpoq's stores: what upstream's own layers get wrong does not happen here.

The parameter `upstream` runs the same on Powertools' own cache layer over a correct store: there each of these tests
must fail, or it shows nothing.
"""

import inspect
import threading
import time
import warnings

import pytest
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.base import IdempotencyHandler
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.redis import RedisCachePersistenceLayer

from hpoq.idempotency.powertools import StorePersistenceLayer
from hpoq.testing import MemoryStore

# Older releases give a layer nothing for an empty result, so that none can tell it from no result.
tells_empty_results = pytest.mark.skipif(
    "if response is not None" not in inspect.getsource(IdempotencyHandler),
    reason="this release of Powertools does not tell its layer of empty results",
)


class Cache:
    """The three calls that Powertools' own layer makes, over a correct store."""

    def __init__(self):
        self._kept, self._lock = {}, threading.Lock()

    def get(self, name):
        with self._lock:
            value, until = self._kept.get(name, (None, 0))
            return value if until > time.time() else None

    def set(self, name, value, ex=None, nx=False):
        with self._lock:
            standing = self._kept.get(name)
            if nx and standing and standing[1] > time.time():
                return None
            self._kept[name] = (
                value.encode() if isinstance(value, str) else value,
                time.time() + (ex or 3600),
            )
            return True

    def delete(self, name):
        with self._lock:
            self._kept.pop(name, None)

    def get_connection_kwargs(self):
        return {}


class Remaining:
    """A context whose remaining time the test says."""

    def __init__(self, millis):
        self.millis = millis

    def get_remaining_time_in_millis(self):
        return self.millis


@pytest.fixture(params=["ours", pytest.param("upstream", marks=pytest.mark.xfail(strict=True))])
def layer(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield (
            StorePersistenceLayer(MemoryStore())
            if request.param == "ours"
            else RedisCachePersistenceLayer(client=Cache())
        )


def config(millis=60_000, **options):
    made = IdempotencyConfig(**options)
    made.register_lambda_context(Remaining(millis))
    return made


def test_a_nested_call_keeps_its_keys_apart(layer):
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def inner(order):
        calls.append("inner")
        return {"inner": order}

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def outer(order):
        calls.append("outer")
        inner(order=order)
        return {"outer": order}

    assert outer(order=1) == {"outer": 1}
    assert outer(order=1) == {"outer": 1}
    assert inner(order=1) == {"inner": 1}
    assert calls == ["outer", "inner"]


def test_parallel_calls_keep_their_keys_apart(layer):
    first_runs, second_done = threading.Event(), threading.Event()

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def first(order):
        first_runs.set()
        assert second_done.wait(10)
        return {"first": order}

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def second(order):
        return {"second": order}

    results = []
    thread = threading.Thread(target=lambda: results.append(first(order=1)))
    thread.start()
    assert first_runs.wait(10)
    second(order=1)
    second_done.set()
    thread.join()
    assert results == [{"first": 1}]
    assert first(order=1) == {"first": 1}
    assert second(order=1) == {"second": 1}


def test_one_that_outlived_its_time_deletes_nothing(layer):
    """A takes too long, B claims and completes, A fails: a third call gets B's result."""
    calls = []

    def run(order):
        calls.append(len(calls))
        if len(calls) == 1:
            time.sleep(0.002)
            protected(order=order)
            raise TimeoutError("too late")
        return {"by": len(calls)}

    run.__qualname__ = "run"
    protected = idempotent_function(
        run, data_keyword_argument="order", persistence_store=layer, config=config(millis=1)
    )
    with pytest.raises((TimeoutError, IdempotencyPersistenceLayerError)):
        protected(order=1)
    assert protected(order=1) == {"by": 2}
    assert len(calls) == 2


def test_one_that_outlived_its_time_overwrites_nothing(layer):
    calls = []

    def run(order):
        calls.append(len(calls))
        mine = len(calls)
        if mine == 1:
            time.sleep(0.002)
            protected(order=order)
        return {"by": mine}

    protected = idempotent_function(
        run, data_keyword_argument="order", persistence_store=layer, config=config(millis=1)
    )
    with pytest.raises(IdempotencyPersistenceLayerError, match="Failed to update record"):
        protected(order=1)
    assert protected(order=1) == {"by": 2}


@tells_empty_results
@pytest.mark.parametrize("result", [{}, [], 0, "", False])
def test_an_empty_result_is_replayed_as_it_was(layer, result):
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def run(order):
        calls.append(order)
        return result

    first, again = run(order=1), run(order=1)
    assert (first, type(again), again) == (result, type(result), result)
    assert calls == [1]


def test_a_second_configuration_counts(layer):
    by_id = config(event_key_jmespath="id")
    by_name = config(event_key_jmespath="name")
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=by_id)
    def first(order):
        calls.append(order)

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=by_name)
    def second(order):
        calls.append(order)

    first(order={"id": 1, "name": "a"})
    second(order={"id": 1, "name": "a"})
    second(order={"id": 2, "name": "a"})
    assert len(calls) == 2


def test_an_identical_retry_passes_the_validation_of_its_payload(layer):
    checked = config(event_key_jmespath="id", payload_validation_jmespath="amount")

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=checked)
    def pay(order):
        return {"paid": order["amount"]}

    assert pay(order={"id": 1, "amount": 5}) == {"paid": 5}
    assert pay(order={"id": 1, "amount": 5}) == {"paid": 5}
    with pytest.raises(IdempotencyValidationError):
        pay(order={"id": 1, "amount": 6})
