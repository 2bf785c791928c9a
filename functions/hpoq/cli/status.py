"""`hpoq status`: one message's life, as its record tells it. Reads, and never writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

import click
from rich.table import Table
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from fcruntime.triggers import KINDS
from hpoq.cli.files import read_documents
from hpoq.cli.life import Life, life_of
from hpoq.cli.output import console, print_json
from hpoq.cli.store import find_store
from hpoq.clock import SystemClock
from hpoq.contract.fingerprint import fingerprint
from hpoq.contract.keys import CONFLICT, PRODUCER, derive_key
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected, SettingsError, StoreError
from hpoq.idempotency.store import Store
from hpoq.settings import Settings

_STYLES = {"unseen": "yellow", "abandoned": "yellow", "given up": "red", "published": "green"}


@dataclass(frozen=True)
class _Sought:
    """A key, and the fingerprint of the request that asks for it where there is one."""

    key: str
    fingerprint: str | None = None


@click.command(name="status")
@click.argument("paths", nargs=-1, metavar="[FILE]...")
@click.option("--key", "keys", multiple=True, help="The key, as events, logs and the tag hpoq-key have it.")
@click.option("--message-id", "message_ids", multiple=True, help="The id that the source gave the message.")
@click.option(
    "--source",
    type=click.Choice(sorted(set(KINDS))),
    default="smq",
    show_default=True,
    help="The source of --message-id.",
)
@click.option(
    "--idempotency-key", "producer_keys", multiple=True, help="The producer's own key, as the request has it."
)
@click.option("--store", "url", metavar="URL", help="Where records are kept; by default HPOQ_STORE.")
@click.option("--endpoint", metavar="URL", help="A running `hpoq local`, whose records are read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    paths: tuple[str, ...],
    keys: tuple[str, ...],
    message_ids: tuple[str, ...],
    source: str,
    producer_keys: tuple[str, ...],
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Explain what became of messages: by key, by message id, by the producer's key, or by request FILE.

    Says how each stands, what the next delivery will do, and what an operator may do. Exit code 1 means that a
    message has no record.
    """
    sought = [_Sought(key) for key in keys]
    sought += [_Sought(derive_key(source, message_id)) for message_id in message_ids]
    sought += [_Sought(derive_key(PRODUCER, key)) for key in producer_keys]
    sought += _of_files(paths)
    if not sought:
        raise click.UsageError("give --key, --message-id, --idempotency-key or a FILE")
    settings = _settings()
    try:
        store = find_store(settings, url, endpoint)
        lives = [_life(store, one, settings) for one in sought]
        store.close()
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from exc
    except StoreError as exc:
        raise click.ClickException(str(exc)) from exc
    if as_json:
        rows: list[JsonValue] = [life.as_json() for life in lives]
        print_json({"messages": rows})
    else:
        for life in lives:
            _tell(life)
    raise SystemExit(0 if all(life.record for life in lives) else 1)


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from exc


def _of_files(paths: tuple[str, ...]) -> Iterator[_Sought]:
    for document in read_documents(paths, yaml=True):
        try:
            request = parse_request(document.data).request
        except RequestRejected as exc:
            raise click.UsageError(f"{document.place}: {exc}") from exc
        if request.idempotency_key is None:
            raise click.UsageError(f"{document.place}: it has no idempotencyKey; give its --message-id")
        yield _Sought(derive_key(PRODUCER, request.idempotency_key), fingerprint(request))


def _life(store: Store, sought: _Sought, settings: Settings) -> Life:
    record = store.get(sought.key)
    if record is not None and sought.fingerprint not in (None, record.fingerprint):
        refusal = derive_key(CONFLICT, f"{sought.key}:{sought.fingerprint}")
        return life_of(refusal, store.get(refusal), SystemClock().now(), settings, conflicts_with=sought.key)
    return life_of(sought.key, record, SystemClock().now(), settings)


def _tell(life: Life) -> None:
    out = console()
    out.print(Text(f"{life.key}  ").append(life.standing.value, _STYLES.get(life.standing.value, "bold")))
    for line in life.lines():
        out.print(Text(f"  {line}"))
    table = Table.grid(padding=(0, 2))
    for name, value in life.facts(_moment):
        table.add_row(Text(f"  {name}", "dim"), Text(value))
    if life.record is not None:
        out.print(table)
    if life.event is not None:
        out.print(json.dumps(life.event, ensure_ascii=False, indent=2), markup=False)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
