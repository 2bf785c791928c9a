"""`hpoq forget`: remove from the record of a key what its producer wrote. The key and its outcome stay.

A record that is deleted lets a repeated message create a second experiment. Therefore a record is never deleted, but
stripped: what is left is the key, hashes, ids and the outcome, and a repeated message is still a duplicate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import click

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import SystemClock
from hpoq.contract.finding import get_member
from hpoq.idempotency.record import Record, State, decode
from hpoq.idempotency.store import Store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Standing
from hpoq.processing.watchorder import decode_order, encode_order
from hpoqctl.output import json_option, print_change
from hpoqctl.recordview import NO_RECORD, format_time
from hpoqctl.services import (
    RefusedError,
    change_records,
    find_one_key,
    key_options,
    read_settings,
    scan_records,
    store_option,
    store_url,
    usage_errors,
)
from hpoqctl.watchview import find_watching

# The table is read at the rate of `hpoq audit`.
_PAUSE_SECONDS = 0.2
_FORGOTTEN = "Removed by hpoq forget."
# Members of an event's data that contain nothing that a producer wrote.
_KEPT = frozenset(
    {
        "idempotencyKey",
        "requestId",
        "experimentId",
        "attempts",
        "timings",
        "status",
        "lastStatus",
        "trials",
        "startedAt",
        "endedAt",
        "stoppedBy",
        "limit",
    }
)
_ENDED = (Standing.PUBLISHED, Standing.GIVEN_UP, Standing.EXPIRED)
_REFUSALS = {
    Standing.UNSEEN: NO_RECORD,
    Standing.HELD: "it is still being processed. Run the command again after it has ended.",
    Standing.ABANDONED: "it has not ended, and its experiment may exist. Run the command again after it has ended.",
    Standing.UNPUBLISHED: "its event is not published yet. Run the command again after that: hpoq status shows it.",
}
_LATER = "a later version of hpoq wrote its record. Run the command of that version."
_FOLLOWED = "its experiment is still followed. Wait until its result is published, or stop it: hpoq stop"


@click.command(name="forget")
@key_options
@store_option
@click.option("--endpoint", metavar="URL", help="Use the records of a running `hpoq local`.")
@json_option
@usage_errors()
def command(
    key: str | None,
    message_id: str | None,
    source: str,
    producer_key: str | None,
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Remove from the record of KEY what its producer wrote: names, the producer's key, ids, messages, parameters.

    The record itself stays until it expires, with the key, hashes and the outcome. So a message that comes again
    still creates nothing; if the producer sends the request again, its event is published again without these
    members. Only a message that has ended can be forgotten and, if its experiment is followed, only after the result
    is published. The command reads every record, to find the result of the experiment and the
    requests that were refused because they had the same key. In Tablestore this needs ots:GetRange.

    The command does not touch the experiment, the queues, the log, or events that were already published.

    Exit code 1 means that nothing was removed.
    """
    settings = read_settings()
    sought = find_one_key(key, message_id, source, producer_key, settings.namespace)
    reason, lines = change_records(
        store_url(settings, url, endpoint),
        lambda store, now: _forget(store, sought, now, settings.namespace),
    )
    print_change(sought, "forgotten", reason, lines, as_json=as_json)
    raise SystemExit(0 if reason is None else 1)


def _forget(store: Store, key: str, now: float, namespace: str) -> Iterator[str]:
    """Strip the records of `key`, and yield sentences on what happens next. Raises RefusedError, StoreError."""
    record = store.get(key)
    standing = lifecycle.find_standing(record, now)
    if record is None or standing not in _ENDED:
        raise RefusedError(_REFUSALS[standing])
    watching = find_watching(store.get, record, now, namespace)
    if watching is not None and not watching.is_over:
        raise RefusedError(_FOLLOWED)
    records = [record, *_find_others(store, key, now)]
    if any(one.later is not None for one in records):
        raise RefusedError(_LATER)
    for one in records:
        if not store.replace(strip_record(one), one.version):
            raise RefusedError("a delivery changed the record in the meantime. Run the command again.")
    yield f"A message that comes again still creates nothing, until {format_time(record.expires_at)}."
    if record.experiment_id is not None:
        yield f"Experiment {record.experiment_id} is not deleted. Delete it in the console of PAI."
    if record.state is State.FAILED:
        yield f"Its message may be in the dead-letter queue: hpoq dead drop --match {key}"


def _find_others(store: Store, key: str, now: float) -> Iterator[Record]:
    """Yield the other records whose event is about `key`: its experiment's result, and requests that it refused."""
    for other, text in scan_records(store, lambda: SystemClock().sleep(_PAUSE_SECONDS)):
        if other == key or key not in text:
            continue
        record = decode(other, text)
        if record.event is None or get_member(json.loads(record.event), "data", "idempotencyKey") != key:
            continue
        if lifecycle.find_standing(record, now) not in _ENDED:
            raise RefusedError(_REFUSALS[Standing.UNPUBLISHED])
        yield record


def strip_record(record: Record) -> Record:
    """Return `record` without anything that a producer wrote."""
    order = None if record.watch_order is None else decode_order(record.watch_order)
    if order is not None:
        order = replace(
            order, message_id=None, producer_key=None, name=None, workspace_id=None, traceparent=None
        )
    stripped = replace(
        record,
        event=None if record.event is None else json.dumps(_strip_event(json.loads(record.event))),
        message_id=None,
        last_error=None,
        watch_order=None if order is None else encode_order(order),
    )
    return lifecycle.next_version(stripped)


def _strip_event(event: JsonObject) -> JsonObject:
    data = event.get("data")
    members = data if isinstance(data, dict) else {}
    kept: JsonObject = {name: value for name, value in members.items() if name in _KEPT}
    error = members.get("error")
    if isinstance(error, dict):
        kept["error"] = {
            "code": error.get("code"),
            "message": _FORGOTTEN,
            "retryable": error.get("retryable"),
            "violations": [],
        }
    stripped: JsonObject = {name: value for name, value in event.items() if name != "traceparent"}
    return stripped | {"data": kept}
