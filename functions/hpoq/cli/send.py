"""`hpoq send`: request messages into the queue."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from hpoq.cli.cloud import QUEUE, loopback_credentials
from hpoq.cli.files import Document, read_documents
from hpoq.cli.output import console, notes, print_json, with_progress
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import chain, from_environment
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.smq import Smq, default_endpoint
from hpoq.cloud.transport import Transport
from hpoq.contract.request import parse_request
from hpoq.errors import CallError, RequestRejected, SettingsError
from hpoq.processing.keys import PRODUCER, derive_key
from hpoq.settings import Settings


@click.command(name="send")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--queue", help=f"The queue; by default HPOQ_QUEUE or {QUEUE}.")
@click.option("--endpoint", metavar="URL", help="SMQ's base URL; by default from the HPOQ_ settings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(paths: Sequence[str], queue: str | None, endpoint: str | None, as_json: bool) -> None:
    """Enqueue requests, and report each one's message id and idempotency key.

    A FILE holds one request, or one a line in a .jsonl file; folders and - for standard input will do too.
    Requests go out as they are: what the contract says of one comes back as an event (see `hpoq check`).
    A repeated `hpoq send` creates nothing twice only for requests that bring their idempotencyKey.
    """
    documents = list(read_documents(paths))
    try:
        settings = Settings.from_environment(os.environ)
        client = _client(settings, endpoint)
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    sent: list[dict[str, JsonValue]] = []
    error: CallError | None = None
    progress = with_progress(documents, "Sending")
    try:
        sent.extend(_send(client, queue or settings.queue, document) for document in progress)
    except CallError as exc:
        error = exc
    _show(sent, error, len(documents), as_json=as_json)
    raise SystemExit(1 if error else 0)


def _client(settings: Settings, endpoint: str | None) -> Smq:
    url = endpoint or settings.smq_endpoint
    if url is None:
        if not settings.account_id or not settings.region:
            raise SettingsError(
                ["give --endpoint, or set HPOQ_SMQ_ENDPOINT, or HPOQ_ACCOUNT_ID and HPOQ_REGION"]
            )
        url = default_endpoint(settings.account_id, settings.region)
    credentials = from_environment()
    if Endpoint.parse(url).scheme == "http":
        credentials = chain(credentials, loopback_credentials)
    return Smq(Transport(new_session(1), SystemClock()), url, credentials)


def _send(client: Smq, queue: str, document: Document) -> dict[str, JsonValue]:
    message = client.send_message(queue, document.data)
    return {
        "path": document.place,
        "messageId": message.message_id,
        "key": _key(document, message.message_id),
    }


def _key(document: Document, message_id: str) -> str:
    """The key the function will derive; a request that it rejects keeps the key of its message."""
    try:
        producer_key = parse_request(document.data).request.idempotency_key
    except RequestRejected:
        producer_key = None
    return derive_key(PRODUCER, producer_key) if producer_key is not None else derive_key("smq", message_id)


def _show(sent: list[dict[str, JsonValue]], error: CallError | None, total: int, *, as_json: bool) -> None:
    if as_json:
        document: dict[str, JsonValue] = {"sent": list(sent)}
        if error:
            document["error"] = str(error)
        print_json(document)
        return
    for row in sent:
        console().print(Text(f"{row['messageId']}  {row['key']}  {row['path']}"))
    if error:
        notes().print(f"{len(sent)} of {total} sent; then: {error}", style="red")
