"""`hpoq status`: explain the state of a message from its record, or show the queues. It reads and never writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import click
from rich.table import Table
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from hpoq.contract.request import compute_fingerprint
from hpoq.errors import StoreError
from hpoq.settings import Settings
from hpoqctl.checking import check_document, derive_own_key, refuse_invalid
from hpoqctl.files import read_requests
from hpoqctl.output import console, json_option, print_json
from hpoqctl.overview import format_overview, read_last_hour, survey_queues
from hpoqctl.recordview import Explanation, explain_request
from hpoqctl.services import (
    check_keys,
    derive_keys,
    explain_store_failure,
    find_store,
    find_target,
    is_key,
    name_key_options,
    read_clock,
    read_settings,
    source_option,
    store_option,
    store_url,
    usage_errors,
)
from hpoqctl.watchview import Watching, find_watching

_STYLES = {"unseen": "yellow", "abandoned": "yellow", "given up": "red", "published": "green"}


@dataclass(frozen=True)
class _Sought:
    """A key, and the fingerprint of the request that asks for it, or None if only the key is known."""

    key: str
    fingerprint: str | None = None


@click.command(name="status")
@click.argument("targets", nargs=-1, metavar="[KEY|FILE]...")
@click.option("--key", "keys", multiple=True, help="The key, as in events, in logs and in the tag hpoq-key.")
@click.option("--message-id", "message_ids", multiple=True, help="The id of the message at its source.")
@source_option
@click.option(
    "--idempotency-key", "producer_keys", multiple=True, help="The producer's own key, as in the request."
)
@store_option
@click.option("--endpoint", metavar="URL", help="Read the records of a running `hpoq local`.")
@click.option("--log", metavar="URL", help="The log project, for the overview. Default: the deployment's.")
@json_option
@usage_errors()
def command(
    targets: tuple[str, ...],
    keys: tuple[str, ...],
    message_ids: tuple[str, ...],
    source: str,
    producer_keys: tuple[str, ...],
    url: str | None,
    endpoint: str | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Explain the state of messages: by KEY, by message id, by the producer's key, or by request FILE.

    The command prints the state of each message, what the next delivery does, what an operator can do, and what the
    producer of a rejected request must change. If the experiment is followed to its end, it also prints when the
    function last checked it, the status that it found, and when the next check is due.

    Without a message it shows how many messages are in each queue, how long the oldest has waited, and the outcomes
    of the last hour, if the log can be read.

    Exit code 1 means that a message has no record, or that a queue could not be read.
    """
    check_keys(keys)
    settings = read_settings()
    namespace = settings.namespace
    sought = [_Sought(key) for key in (*keys, *derive_keys(source, message_ids, producer_keys, namespace))]
    sought += _read_targets(targets, namespace)
    if not sought:
        _show_overview(settings, endpoint, log, as_json=as_json)
    store_at = store_url(settings, url, endpoint)
    try:
        store, now = find_store(store_at), read_clock(store_at)
        explanations = [explain_request(store.get, one.key, one.fingerprint, now, settings) for one in sought]
        watched = [find_watching(store.get, one.record, one.now, namespace) for one in explanations]
        store.close()
    except StoreError as exc:
        raise click.ClickException(explain_store_failure(exc, store_at)) from exc
    if as_json:
        rows: list[JsonValue] = [
            {**explanation.as_json(), "watch": None if watching is None else watching.as_json()}
            for explanation, watching in zip(explanations, watched, strict=True)
        ]
        print_json({"messages": rows})
    else:
        for explanation, watching in zip(explanations, watched, strict=True):
            _print_explanation(explanation, watching)
    raise SystemExit(0 if all(explanation.record for explanation in explanations) else 1)


def _show_overview(settings: Settings, endpoint: str | None, log: str | None, *, as_json: bool) -> NoReturn:
    target = find_target(settings, None, endpoint)
    states, hour = survey_queues(target, settings), read_last_hour(target, settings, log)
    if as_json:
        queues: list[JsonValue] = [state.as_json() for state in states]
        print_json({"queues": queues, "lastHour": hour.as_json()})
    else:
        for line in format_overview(states, hour, read_clock(target.endpoint)):
            console().print(line)
        console().print("For one message: hpoq status KEY, --message-id ID, or FILE")
    raise SystemExit(1 if any(state.error for state in states) else 0)


def _read_targets(targets: tuple[str, ...], namespace: str) -> Iterator[_Sought]:
    """Yield what each KEY or FILE asks for. A file that has the name of a key is read."""
    paths = list[str]()
    for target in targets:
        if target == "-" or os.path.lexists(target):
            paths.append(target)
        elif is_key(target):
            yield _Sought(target)
        else:
            is_path = "." in target or os.sep in target
            raise click.BadParameter(f"{target} does not exist.{'' if is_path else name_key_options(target)}")
    for document in read_requests(paths):
        request = refuse_invalid(check_document(document)).request
        key = derive_own_key(document.data, request, namespace)
        if key is None:
            raise click.UsageError(
                f"{document.place} has no idempotencyKey. Give the --message-id of its message."
            )
        yield _Sought(key, compute_fingerprint(request.wire()))


def _print_explanation(explanation: Explanation, watching: Watching | None) -> None:
    out, standing = console(), explanation.standing.value
    out.print(Text(f"{explanation.key}  ").append(standing, _STYLES.get(standing, "bold")))
    for line in explanation.lines():
        out.print(Text(f"  {line}"))
    for line in watching.lines() if watching else ():
        out.print(Text(f"  {line}"))
    table = Table.grid(padding=(0, 2))
    for name, value in explanation.facts():
        table.add_row(Text(f"  {name}", "dim"), Text(value))
    if explanation.record is not None:
        out.print(table)
    for event in (explanation.event, watching and watching.result):
        if event is not None:
            out.print(json.dumps(event, ensure_ascii=False, indent=2), markup=False)
