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
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.redis import RedisCachePersistenceLayer

from fcruntime import Fc3Context, json_handler
from fcruntime.context import Deadline
from hpoq.idempotency.powertools import StorePersistenceLayer
from hpoq.testing import MemoryStore
from support.powertools import config

# Older releases give a layer nothing for an empty result, so that none can tell it from no result.
tells_empty_results = pytest.mark.skipif(
    "if response is not None" not in inspect.getsource(IdempotencyHandler),
    reason="this release of Powertools does not tell its layer of empty results",
)


class Cache:
    """The three calls that Powertools' own layer makes, over a correct store."""

    def __init__(self):
        self._kept, self._lock, self.ahead = {}, threading.Lock(), 0.0

    def _now(self):
        return time.time() + self.ahead

    def get(self, name):
        with self._lock:
            value, until = self._kept.get(name, (None, 0))
            return value if until > self._now() else None

    def set(self, name, value, ex=None, nx=False):
        with self._lock:
            standing = self._kept.get(name)
            if nx and standing and standing[1] > self._now():
                return None
            self._kept[name] = (
                value.encode() if isinstance(value, str) else value,
                self._now() + (ex or 3600),
            )
            return True

    def delete(self, name):
        with self._lock:
            self._kept.pop(name, None)

    def get_connection_kwargs(self):
        return {}


@pytest.fixture(params=["ours", pytest.param("upstream", marks=pytest.mark.xfail(strict=True))])
def layer(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield (
            StorePersistenceLayer(MemoryStore())
            if request.param == "ours"
            else RedisCachePersistenceLayer(client=Cache())
        )


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


def test_a_call_that_exceeded_its_time_deletes_nothing(layer):
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


def test_a_call_that_exceeded_its_time_overwrites_nothing(layer):
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
def test_an_empty_result_is_returned_again(layer, result):
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config())
    def run(order):
        calls.append(order)
        return result

    first, again = run(order=1), run(order=1)
    assert (first, type(again), again) == (result, type(result), result)
    assert calls == [1]


def test_each_configuration_is_applied(layer):
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


def test_a_second_configuration_validates_no_payload_that_only_the_first_does(layer):
    checked = config(event_key_jmespath="id", payload_validation_jmespath="amount")
    unchecked = config(event_key_jmespath="id")

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=checked)
    def pay(order):
        return "paid"

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=unchecked)
    def ship(order):
        return "shipped"

    pay(order={"id": 1, "amount": 5})
    ship(order={"id": 1, "amount": 5})
    assert ship(order={"id": 1, "amount": 6}) == "shipped"


def test_an_identical_retry_passes_the_validation_of_its_payload(layer):
    checked = config(event_key_jmespath="id", payload_validation_jmespath="amount")

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=checked)
    def pay(order):
        return {"paid": order["amount"]}

    assert pay(order={"id": 1, "amount": 5}) == {"paid": 5}
    assert pay(order={"id": 1, "amount": 5}) == {"paid": 5}
    with pytest.raises(IdempotencyValidationError):
        pay(order={"id": 1, "amount": 6})


def test_a_claim_ends_with_its_invocation_without_a_registered_context(layer, monkeypatch):
    """A claim ends with its invocation and not before.

    Upstream's lasts as long as the record, or, in older releases, no time at all.
    """
    left, calls = [60.0], []
    monkeypatch.setattr(Deadline, "remaining", lambda _: left[0])

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=IdempotencyConfig())
    def run(order):
        calls.append(order)
        raise SystemExit

    function = json_handler(lambda event, context: run(order=event))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for error in (SystemExit, IdempotencyAlreadyInProgressError):
            with pytest.raises(error):
                function(b'{"id": 1}', Fc3Context("r-1"))
        left[0] = 0.001
        for _ in range(2):
            with pytest.raises(SystemExit):
                function(b'{"id": 2}', Fc3Context("r-1"))
            time.sleep(0.002)
    assert [order["id"] for order in calls] == [1, 2, 2]


def frozen_once_it_read(layer, action):
    """Has `action` happen, and a minute pass, when a call has just read what stands for its key."""
    ours = isinstance(layer, StorePersistenceLayer)
    place, name = (layer._store, "insert") if ours else (layer.client, "get")
    read = getattr(place, name)

    def hooked(*arguments):
        setattr(place, name, read)
        found = read(*arguments)
        thread = threading.Thread(target=action)
        thread.start()
        thread.join()
        if not ours:
            layer.client.ahead += 60  # its lock lasts for ten seconds
        return found

    setattr(place, name, hooked)


def test_taking_over_an_abandoned_claim_repeats_nothing_done_meanwhile(layer):
    """A dies; B and C both find its claim; C takes it and completes before B goes on."""
    calls = []

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config(millis=1))
    def run(order):
        calls.append(order)
        if len(calls) == 1:
            raise SystemExit
        return {"call": len(calls)}

    with pytest.raises(SystemExit):
        run(order=1)
    time.sleep(0.002)
    frozen_once_it_read(layer, lambda: run(order=1))
    assert run(order=1) == {"call": 2}
    assert run(order=1) == {"call": 2}
    assert len(calls) == 2


def test_functions_that_share_a_store_have_keys_of_their_own(monkeypatch):
    """Two deployments of one function have different keys, where Powertools would name both "test-func".

    On FC 2.0 they may have one name in two services.
    """
    store, calls = MemoryStore(), []

    def run(order):
        calls.append(order)

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "")
    for service, name in (("", "staging"), ("", "production"), ("a", "orders"), ("b", "orders")):
        monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")
        monkeypatch.setenv("FC_FUNCTION_NAME", name)
        monkeypatch.setenv("FC_SERVICE_NAME", service)
        protected = idempotent_function(
            run,
            data_keyword_argument="order",
            persistence_store=StorePersistenceLayer(store),
            config=config(),
        )
        protected(order=1)
    names = [key.partition(".")[0] for key in store._rows]
    assert names == ["staging", "production", "a$orders", "b$orders"]
    assert len(calls) == 4
