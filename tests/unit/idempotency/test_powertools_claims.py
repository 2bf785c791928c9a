"""What the layer for Powertools claims, stores, returns and releases, call by call."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.serialization.custom_dict import CustomDictSerializer

from fcruntime import Fc3Context, json_handler
from fcruntime.context import Deadline
from hpoq.errors import StoreUnavailable
from hpoq.idempotency.powertools import ClaimLost, StorePersistenceLayer
from hpoq.idempotency.record import State
from hpoq.testing import FakeClock, MemoryStore

MINUTE = 60_000  # milliseconds


@pytest.fixture
def clock():
    return FakeClock(time.time())


@pytest.fixture
def store():
    return MemoryStore()


def open_layer(store, clock=None, **options):
    """Return a layer over `store` that is configured for one call of a function."""
    layer = StorePersistenceLayer(store, clock)
    layer.configure(IdempotencyConfig(**options), "run")
    return layer


def order(number=1):
    """Return a new payload, because the object itself distinguishes two calls."""
    return {"id": number}


def the_record(store):
    (key,) = store._rows
    return store.get(key)


def change(store, **members):
    record = the_record(store)
    assert store.replace(replace(record, **members), record.version)


def in_another_thread(action):
    """Return what `action` returns in a thread in which the layer is not configured."""
    results = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join()
    (result,) = results
    return result


@pytest.mark.parametrize(
    ("state", "lease", "expiry", "is_free"),
    [
        (State.IN_PROGRESS, 0.5, 9, False),
        (State.IN_PROGRESS, 0, 9, True),
        (State.IN_PROGRESS, 0.5, 0, True),
        (State.COMPLETED, -9, 0.5, False),
        (State.COMPLETED, 9, 0, True),
        (State.FAILED, 9, 9, True),
    ],
)
def test_a_key_is_free_once_its_claim_or_its_record_has_ended(clock, store, state, lease, expiry, is_free):
    """A claim holds until its lease ends, a result until it expires, and a key that was released not at all."""
    open_layer(store, clock).save_inprogress(order(), MINUTE)
    owner = the_record(store).owner
    change(store, state=state, lease_until=clock.now() + lease, expires_at=clock.now() + expiry)
    second = open_layer(store, clock)
    if is_free:
        second.save_inprogress(order(), MINUTE)
    else:
        with pytest.raises(IdempotencyItemAlreadyExistsError):
            second.save_inprogress(order(), MINUTE)
    assert (the_record(store).owner != owner) == is_free


def test_a_stated_time_goes_before_that_of_the_invocation(store, monkeypatch):
    """A context that the function registers knows more than the adapter around it."""
    monkeypatch.setattr(Deadline, "remaining", lambda _: 1000.0)
    function = json_handler(lambda event, context: open_layer(store).save_inprogress(order(), MINUTE))
    before = time.time()
    function(b"{}", Fc3Context("r-1"))
    assert before + 59 < the_record(store).lease_until < time.time() + 61


def test_without_a_context_a_claim_lasts_as_long_as_its_record(store):
    """Without a context it is not known when a function that died would have ended."""
    with pytest.warns(UserWarning, match="remaining time"):
        open_layer(store).save_inprogress(order())
    assert the_record(store).lease_until == the_record(store).expires_at


def test_a_result_is_kept_for_the_configured_time_after_its_call(store):
    """A claim that lasts for longer does not lengthen the time for which the result is kept."""
    layer, payload = open_layer(store, expires_after_seconds=60), order()
    layer.save_inprogress(payload, 10 * MINUTE)
    assert the_record(store).expires_at == the_record(store).lease_until
    layer.save_success(payload, "done")
    assert the_record(store).expires_at < time.time() + 61


def test_a_claim_is_read_as_powertools_reads_it(store):
    """Powertools compares the end of a claim in milliseconds, and finds no response in it."""
    open_layer(store).save_inprogress(order(), MINUTE)
    change(store, lease_until=4_000_000_000.5, fingerprint="f")
    found = open_layer(store).get_record(order())
    assert (found.status, found.in_progress_expiry_timestamp) == ("INPROGRESS", 4_000_000_000_500)
    assert (found.idempotency_key, found.payload_hash) == (the_record(store).key, "f")
    assert (found.response_data, found.response_json_as_dict()) == ("", None)


def test_a_repeated_call_costs_one_call_of_the_store(store):
    """The claim that fails has shown the result already."""
    payload = order()
    layer = open_layer(store)
    layer.save_inprogress(payload, MINUTE)
    layer.save_success(payload, "done")
    with pytest.raises(IdempotencyItemAlreadyExistsError) as caught:
        open_layer(SimpleNamespace(insert=store.insert)).save_inprogress(order(), MINUTE)
    assert caught.value.old_data_record.response_json_as_dict() == "done"


def test_a_result_without_a_claim_of_its_key_is_not_stored(store):
    """A call stores its result only under the key that it has claimed."""
    layer, claimed = open_layer(store), order()

    def save(payload):
        with pytest.raises(ClaimLost) as caught:
            layer.save_success(payload, "done")
        assert f"{caught.value.key} since; the result of this call was not stored" in str(caught.value)
        return caught.value.key

    without_a_claim = save(order())
    assert in_another_thread(lambda: save(order())) == without_a_claim
    layer.save_inprogress(claimed, MINUTE)
    assert save(order(2)) != the_record(store).key == without_a_claim
    assert the_record(store).state is State.IN_PROGRESS


def test_calls_may_end_in_any_order(store):
    """Two calls of one thread, as tasks of an event loop are, store their results under their own keys."""
    layer, first, second = open_layer(store), order(1), order(2)
    layer.save_inprogress(first, MINUTE)
    layer.configure(IdempotencyConfig(), "run")
    layer.save_inprogress(second, MINUTE)
    layer.save_success(first, "first")
    layer.save_success(second, "second")
    assert [store.get(key).event for key in store._rows] == ['"first"', '"second"']
    assert layer._calls == {}, "nothing is kept of calls that have ended"


def test_a_call_may_end_with_an_equal_payload(store):
    """The payload of a call need not be the same object at its end."""
    layer = open_layer(store)
    claimed, equal = order(), order()
    layer.save_inprogress(claimed, MINUTE)
    layer.save_success(equal, "done")
    assert the_record(store).event == '"done"'


def test_a_call_may_go_on_in_another_thread(store):
    """A thread in which the layer is not configured uses its last configuration."""
    layer, payload = open_layer(store), order()
    in_another_thread(lambda: layer.save_inprogress(payload, MINUTE))
    assert in_another_thread(lambda: layer.get_record(order())).status == "INPROGRESS"
    in_another_thread(lambda: layer.delete_record(order(), None))
    assert the_record(store).state is State.FAILED


def test_a_key_is_released_from_outside_whoever_claimed_it(clock, store):
    """Outside of a call, the claim that an earlier call lost is not taken for that of the key."""
    layer, lost = open_layer(store, clock), order()
    layer.save_inprogress(lost, MINUTE)
    change(store, lease_until=clock.now())
    open_layer(store, clock).save_inprogress(order(), MINUTE)
    layer.delete_record(order(), None)
    assert the_record(store).state is State.FAILED


def test_a_key_is_released_under_the_configuration_of_the_caller(store):
    """Another configuration of the layer has other keys."""
    layer = open_layer(store)
    layer.save_inprogress(order(), MINUTE)
    in_another_thread(lambda: layer.configure(IdempotencyConfig(), "another function"))
    layer.delete_record(order(), None)
    assert the_record(store).state is State.FAILED


def test_a_key_that_was_released_has_no_record_for_powertools(store):
    """Powertools asks again after a claim that failed, and claims anew if there is nothing."""
    layer, payload = open_layer(store), order()
    with pytest.raises(IdempotencyItemNotFoundError):
        layer.get_record(order())
    layer.save_inprogress(payload, MINUTE)
    layer.delete_record(payload, None)
    with pytest.raises(IdempotencyItemNotFoundError):
        layer.get_record(order())


def test_releasing_a_key_without_a_record_does_nothing(store):
    """There is nothing to release."""
    open_layer(store).delete_record(order(), None)
    assert store._rows == {}


def test_a_released_key_that_another_call_takes_first_is_its_own(clock, store):
    """Of two calls that find a released key, the second one finds the result of the first."""
    first, second, payload = open_layer(store, clock), open_layer(store, clock), order()
    first.save_inprogress(payload, MINUTE)
    first.delete_record(payload, None)
    insert = store.insert

    def take_first(record):
        store.insert = insert
        found = insert(record)
        first.save_inprogress(payload, MINUTE)
        first.save_success(payload, "first")
        return found

    store.insert = take_first
    with pytest.raises(IdempotencyItemAlreadyExistsError) as caught:
        second.save_inprogress(order(), MINUTE)
    assert caught.value.old_data_record.response_json_as_dict() == "first"


def test_a_key_that_keeps_changing_hands_is_not_claimed(clock, store):
    """A call gives up after five tries."""
    open_layer(store, clock).save_inprogress(order(), MINUTE)
    change(store, state=State.FAILED)
    tries = []
    store.replace = lambda record, expected: tries.append(record)
    with pytest.raises(IdempotencyItemAlreadyExistsError):
        open_layer(store, clock).save_inprogress(order(), MINUTE)
    assert len(tries) == 5


def test_a_configuration_is_not_changed_by_each_call(store):
    """Each call configures the layer anew, with the same configuration."""
    shared = IdempotencyConfig(response_hook=lambda response, record: response)
    layer = StorePersistenceLayer(store)
    layer.configure(shared, "run")
    hook = shared.response_hook
    layer.configure(shared, "run")
    assert shared.response_hook is hook


@pytest.mark.parametrize("result", [7, None])
def test_a_result_passes_through_its_serializer(store, result):
    """A serializer gets what it made of the result, and nothing of a result of None."""
    serializer = CustomDictSerializer(to_dict=lambda value: {"n": value}, from_dict=lambda made: made["n"])

    def run(order):
        return result

    protected = idempotent_function(
        run,
        data_keyword_argument="order",
        persistence_store=StorePersistenceLayer(store),
        output_serializer=serializer,
    )
    with pytest.warns(UserWarning, match="remaining time"):
        assert [protected(order=order()) for _ in range(2)] == [result] * 2


class Flaky:
    """A store of which every other call fails: its write is lost on the way there, or its answer on the way back."""

    def __init__(self, store, lost):
        self._store, self._lost, self._calls = store, lost, 0

    def __getattr__(self, name):
        def call(*arguments):
            self._calls += 1
            fails = self._calls % 2 == 1
            if fails and self._lost == "request":
                raise StoreUnavailable("lost on the way there")
            answer = getattr(self._store, name)(*arguments)
            if fails:
                raise StoreUnavailable("lost on the way back")
            return answer

        return call


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_store_that_does_not_answer_at_once_is_asked_again(clock, store, lost):
    """Without that, a function would have its effect once more because its result could not be saved."""
    layer, payload = open_layer(Flaky(store, lost), clock), order()
    layer.save_inprogress(payload, MINUTE)
    layer.delete_record(payload, ValueError())
    layer.save_inprogress(payload, MINUTE)
    layer.save_success(payload, {"number": 2})
    assert layer.get_record(payload).response_json_as_dict() == {"number": 2}
    assert len(clock.slept) >= 5
