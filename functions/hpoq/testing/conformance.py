"""The conformance suite of idempotency stores: a function that checks every rule of the protocol.

def test_my_store(tmp_path):
    run_store_conformance(lambda: MyStore(tmp_path / "records"))
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hpoq.idempotency.record import Record, State, Version
from hpoq.idempotency.store import Store

MakeStore = Callable[[], Store]

_RACERS = 16
_MANY = 120


class ConformanceError(AssertionError):
    """A store breaks a rule; the message names it."""


def run_store_conformance(make_store: MakeStore) -> None:
    """Check the store that `make_store` opens against every rule of the `Store` protocol.

    `make_store` is called several times, and must open the same records each time; at first there are none. Raises
    ConformanceError for the first broken rule.
    """
    for number, rule in enumerate(_RULES):
        rule(make_store, f"00000000-0000-5000-8000-{number:012d}")


def _demand(holds: bool, rule: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise ConformanceError(rule)


def _record(key: str, owner: str = "owner-1") -> Record:
    return Record(
        key=key,
        state=State.IN_PROGRESS,
        fingerprint="f" * 64,
        owner=owner,
        claimed_at=1.5,
        lease_until=91.25,
        # In the far future, because a store may remove a published record that has expired.
        expires_at=4_102_444_800.0,
        doubt_until=106.25,
    )


def _unseen_key_has_no_record(make_store: MakeStore, key: str) -> None:
    store = make_store()
    _demand(store.get(key) is None, "get of an unseen key must be None")
    wrote = store.replace(_record(key), Version(State.IN_PROGRESS, "owner-1"))
    _demand(not wrote and store.get(key) is None, "replace of an unseen key must write nothing")
    store.close()


def _insert_is_read_back_whole(make_store: MakeStore, key: str) -> None:
    store = make_store()
    record = replace(_record(key), event='{"name":"测试 \\u0000"}', attempts=7, experiment_id="sORVEck")
    _demand(store.insert(record) is None, "insert of an unseen key must succeed")
    _demand(store.get(key) == record, "get must return every member as it was inserted")
    store.close()


def _many_are_read_at_once(make_store: MakeStore, key: str) -> None:
    store = make_store()
    keys = [key[:-8] + f"{number:08d}" for number in range(1000, 1000 + _MANY)]
    _demand(store.get_many(keys) == {}, "get_many of unseen keys must find nothing")
    records = {one: _record(one) for one in keys[::3]}
    for record in records.values():
        store.insert(record)
    _demand(store.get_many(keys) == records, "get_many must find each record that get finds, and no other")
    store.close()


def _insert_never_overwrites(make_store: MakeStore, key: str) -> None:
    store = make_store()
    first = _record(key)
    store.insert(first)
    _demand(store.insert(_record(key, "owner-2")) == first, "a second insert must return the existing record")
    _demand(store.get(key) == first, "a second insert must change nothing")
    store.close()


def _insert_can_be_repeated(make_store: MakeStore, key: str) -> None:
    store = make_store()
    store.insert(_record(key))
    _demand(store.insert(_record(key)) is None, "inserting an equal record again must succeed")
    store.close()


def _replace_compares_state_and_owner(make_store: MakeStore, key: str) -> None:
    store = make_store()
    first = _record(key)
    store.insert(first)
    later = replace(first, lease_until=200.0)
    for wrong in (Version(State.IN_PROGRESS, "owner-2"), Version(State.COMPLETED, "owner-1")):
        _demand(not store.replace(later, wrong), "replace must refuse another state or owner")
    _demand(store.get(key) == first, "a refused replace must change nothing")
    _demand(store.replace(later, first.version), "replace must accept the present version")
    _demand(store.get(key) == later, "replace must write the whole record")
    store.close()


def _replace_can_be_repeated(make_store: MakeStore, key: str) -> None:
    store = make_store()
    first = _record(key)
    store.insert(first)
    ended = replace(first, state=State.COMPLETED, event="{}", published_at=3.0)
    for _ in range(2):
        _demand(store.replace(ended, first.version), "writing an equal record again must succeed")
    store.close()


def _records_outlive_the_connection(make_store: MakeStore, key: str) -> None:
    store = make_store()
    store.insert(_record(key))
    store.close()
    again = make_store()
    _demand(again.get(key) == _record(key), "a record must outlive the store object that wrote it")
    again.close()


def _one_insert_wins(make_store: MakeStore, key: str) -> None:
    stores = [make_store() for _ in range(_RACERS)]
    with ThreadPoolExecutor(_RACERS) as pool:
        owners = [f"owner-{n}" for n in range(_RACERS)]
        answers = list(pool.map(lambda s, o: s.insert(_record(key, o)), stores, owners))
    _demand(answers.count(None) == 1, "exactly one of several concurrent inserts must succeed")
    winner = stores[0].get(key)
    losers = [answer for answer in answers if answer is not None]
    _demand(
        all(answer == winner for answer in losers),
        "each other insert must return the record that was written",
    )
    for store in stores:
        store.close()


def _one_takeover_wins(make_store: MakeStore, key: str) -> None:
    store = make_store()
    first = _record(key)
    store.insert(first)
    with ThreadPoolExecutor(_RACERS) as pool:
        owners = [f"taker-{n}" for n in range(_RACERS)]
        wins = list(pool.map(lambda o: store.replace(replace(first, owner=o), first.version), owners))
    _demand(
        wins.count(True) == 1, "exactly one of several concurrent take-overs on one store object must succeed"
    )
    store.close()


_RULES: tuple[Callable[[MakeStore, str], None], ...] = (
    _unseen_key_has_no_record,
    _insert_is_read_back_whole,
    _many_are_read_at_once,
    _insert_never_overwrites,
    _insert_can_be_repeated,
    _replace_compares_state_and_owner,
    _replace_can_be_repeated,
    _records_outlive_the_connection,
    _one_insert_wins,
    _one_takeover_wins,
)
