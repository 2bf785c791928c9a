"""Powertools' idempotency over the stores of hpoq: SQLite, Redis, Tablestore.

All functions that a persistence layer of Powertools protects share it, and Powertools' own layers keep the state of a
single call on it. A nested or parallel call then writes under the key of another one, and a call that outlived its
claim deletes or overwrites what another one wrote since. Here a call's configuration, key and fencing token are bound
when it claims, and every later write is a compare-and-set on that token. Without boto3, call
`fcruntime.powertools.idempotency_without_boto3` before importing this module.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord

from fcruntime.powertools import read_unique_name, running_context
from hpoq.clock import Clock, SystemClock
from hpoq.idempotency.record import Record, State
from hpoq.idempotency.store import Store, repeat_if_unavailable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.idempotency.config import IdempotencyConfig

_MOST_TRIES = 5
_STATUS = {State.IN_PROGRESS: "INPROGRESS", State.COMPLETED: "COMPLETED"}


class ClaimLost(Exception):
    """The call outlived its claim on `key`; another call claimed it since, and nothing was written."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"another call has claimed {key} since; the result of this call was not stored")


class StorePersistenceLayer(BasePersistenceLayer):
    """Keeps idempotency records in `store`, e.g. `hpoq.idempotency.store.open_store(url)`.

    Serves any number of functions, threads and nested calls. A claim ends with the remaining time of its invocation,
    by the registered context or else by the one that `fcruntime.lambda_handler` made. Without either it lasts as long
    as the record. `clock` is for tests.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if name := read_unique_name():
            # Every key begins with it. By default Powertools uses "test-func" for all functions of a store.
            os.environ.setdefault("AWS_LAMBDA_FUNCTION_NAME", name)
        self._store = store
        self._clock = clock or SystemClock()
        self._bound: ContextVar[StorePersistenceLayer | None] = ContextVar("bound", default=None)
        self._calls: dict[tuple[int, int], list[tuple[object, StorePersistenceLayer]]] = {}
        self._caches: dict[int, Any] = {}
        self._claim: Record | None = None

    def configure(self, config: IdempotencyConfig, *args: Any, **options: Any) -> None:
        """Configure the next call of this thread or task."""
        super().configure(config, *args, **options)
        bound = copy.copy(self)
        bound.bind(config, *args, **options)
        if not isinstance(config.response_hook, _Plain):
            config.response_hook = _Plain(config.response_hook)  # type: ignore[assignment]
        self._bound.set(bound)

    def bind(self, config: IdempotencyConfig, *args: Any, **options: Any) -> None:
        """Configure this copy for one call, without the state of any other."""
        self.configured, self._claim = False, None
        # Powertools does not reset what a configuration leaves out.
        self.payload_validation_enabled = False
        super().configure(config, *args, **options)
        if self.use_local_cache:
            # One cache per configuration, for all of its calls.
            self._cache = self._caches.setdefault(id(config), self._cache)

    def save_inprogress(self, data: Any, remaining_time_in_millis: int | None = None) -> None:
        bound, context = self._bound.get() or self, running_context()
        if remaining_time_in_millis is None and context is not None:
            remaining_time_in_millis = context.get_remaining_time_in_millis()
        BasePersistenceLayer.save_inprogress(bound, data, remaining_time_in_millis)
        self._calls.setdefault(_place(data), []).append((data, bound))

    def save_success(self, data: Any, result: Any) -> None:
        """Store the result of a call. Raises ClaimLost if another call has claimed the key since."""
        bound = self._take_claimed_call(data) or self._bound.get() or self
        BasePersistenceLayer.save_success(bound, data, result)

    def delete_record(self, data: Any, exception: Exception) -> None:
        """Release the claim, unless another call has claimed the key since.

        Outside of a call that claimed with `data`, release the key no matter who claimed it.
        """
        bound = self._take_claimed_call(data) or (self._bound.get() or self).unclaimed()
        BasePersistenceLayer.delete_record(bound, data, exception)

    def unclaimed(self) -> StorePersistenceLayer:
        """Return a copy without a claim."""
        made = copy.copy(self)
        setattr(made, "_claim", None)  # noqa: B010 - a member of this class
        return made

    def get_record(self, data: Any) -> DataRecord | None:
        found: DataRecord | None = BasePersistenceLayer.get_record(self._bound.get() or self, data)
        return found

    def _take_claimed_call(self, data: object) -> StorePersistenceLayer | None:
        """Remove and return the layer of this thread's last call that claimed with `data`, or return None."""
        claimed = self._calls.get(_place(data))
        if not claimed:
            return None
        _, bound = claimed.pop()
        if not claimed:
            del self._calls[_place(data)]
        return bound

    def _put_record(self, data_record: DataRecord) -> None:
        now = self._clock.now()
        expires = float(data_record.expiry_timestamp or now)
        deadline = data_record.in_progress_expiry_timestamp
        lease_until = expires if deadline is None else deadline / 1000
        claim = Record(
            data_record.idempotency_key,
            State.IN_PROGRESS,
            data_record.payload_hash,
            self._clock.new_id(),
            now,
            lease_until,
            max(expires, lease_until),
            published_at=now,  # there is no event to publish, so a store may let it expire
        )
        for _ in range(_MOST_TRIES):
            existing = repeat_if_unavailable(lambda: self._store.insert(claim), self._clock)
            if existing is None or (_is_free(existing, now) and self._replace(claim, existing)):
                self._claim = claim
                return
            if not _is_free(existing, now):
                found = _StoredRecord.from_record(existing)
                self._validate_payload(data_payload=data_record, stored_data_record=found)
                raise IdempotencyItemAlreadyExistsError(old_data_record=found)
        raise IdempotencyItemAlreadyExistsError

    def _get_record(self, idempotency_key: str) -> DataRecord:
        existing = self._read(idempotency_key)
        if existing is None or existing.state not in _STATUS:
            raise IdempotencyItemNotFoundError
        return _StoredRecord.from_record(existing)

    def _update_record(self, data_record: DataRecord) -> None:
        claim = self._require_claim(data_record)
        done = replace(
            claim,
            state=State.COMPLETED,
            event=data_record.response_data,
            expires_at=float(data_record.expiry_timestamp or claim.expires_at),
        )
        if not self._replace(done, claim):
            raise ClaimLost(claim.key)

    def _delete_record(self, data_record: DataRecord) -> None:
        existing = self._claim or self._read(data_record.idempotency_key)
        if existing is not None:
            # If another call has claimed the key since, there is nothing to release.
            self._replace(replace(existing, state=State.FAILED), existing)

    def _read(self, key: str) -> Record | None:
        return repeat_if_unavailable(lambda: self._store.get(key), self._clock)

    def _replace(self, record: Record, existing: Record) -> bool:
        return repeat_if_unavailable(lambda: self._store.replace(record, existing.version), self._clock)

    def _require_claim(self, data_record: DataRecord) -> Record:
        if self._claim is None or self._claim.key != data_record.idempotency_key:
            raise ClaimLost(data_record.idempotency_key)
        return self._claim

    def _save_to_cache(self, data_record: DataRecord) -> None:
        super()._save_to_cache(_StoredRecord.like(data_record))


def _place(data: object) -> tuple[int, int]:
    """Return what identifies a call in `_calls`: nested calls may share one object, and end in reverse order."""
    return threading.get_ident(), id(data)


def _is_free(existing: Record, now: float) -> bool:
    """Return whether the key of a record may be claimed."""
    if existing.state not in _STATUS or existing.expires_at <= now:
        return True
    return existing.state is State.IN_PROGRESS and existing.lease_until <= now


class _StoredRecord(DataRecord):
    """A stored record that distinguishes an empty response from none, which Powertools does not."""

    @classmethod
    def from_record(cls, record: Record) -> _StoredRecord:
        return cls(
            record.key,
            STATUS_CONSTANTS[_STATUS[record.state]],
            int(record.expires_at),
            int(record.lease_until * 1000),
            record.event or "",
            record.fingerprint,
        )

    @classmethod
    def like(cls, record: DataRecord) -> _StoredRecord:
        made = cls(record.idempotency_key)
        made.__dict__.update(record.__dict__)
        return made

    def response_json_as_dict(self) -> Any:
        value = json.loads(self.response_data) if self.response_data else None
        return _Full(value) if not value and value is not None else value


class _Full(dict[str, Any]):
    """Wraps an empty response, so that Powertools counts it as one; `_Plain` unwraps it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return True


class _Plain:
    """A response hook that unwraps empty responses, and passes them to the user's own hook if there is one."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def __call__(self, response: Any, record: DataRecord) -> Any:
        plain = response.value if isinstance(response, _Full) else response
        return self._hook(plain, record) if self._hook else plain
