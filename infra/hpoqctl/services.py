"""The services that a command works on: the store with the records, the queue of requests, and the output topic."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import click
import requests

from alilocal.core.credentials import ACCOUNT_ID, REGION
from fcruntime.triggers import KINDS
from fcruntime.triggers.sources import EVENTBRIDGE
from hpoq.clock import SystemClock
from hpoq.cloud import paiautoml
from hpoq.cloud.connections import new_session
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.signing import CredentialsProvider, chain, from_environment
from hpoq.cloud.smq import default_endpoint
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import CLOUDEVENT, PRODUCER, derive_key
from hpoq.errors import (
    Answered,
    CallError,
    NoCredentials,
    NotFound,
    SettingsError,
    StoreError,
    StoreUnavailable,
    Unavailable,
)
from hpoq.idempotency.store import Store, open_store, split_store_url
from hpoq.idempotency.tablestore import TablestoreStore
from hpoq.producer.credentials import standard_credentials
from hpoq.settings import QUEUE_FORM, QUEUE_NAME, Settings
from hpoqctl.experimentlog import Experiments
from hpoqctl.pipeline import DEAD_LETTER_QUEUE, QUEUE, local_store_url, loopback_credentials
from hpoqctl.queueclient import QueueClient

_CLOCK_SECONDS = 5
_ROWS = 500
_SMQ_HOST = re.compile(r"([0-9]+)\.mns\.([a-z0-9-]+?)(?:-internal(?:-vpc)?)?\.aliyuncs\.com")
_NO_STORE = (
    "The store with the records is not known. Give --store URL or set HPOQ_STORE; for a running `hpoq local`, give "
    "--endpoint http://127.0.0.1:7600."
)
_NO_ENDPOINT = (
    "The endpoint of SMQ is not known. Set HPOQ_ACCOUNT_ID and HPOQ_REGION, or HPOQ_SMQ_ENDPOINT; for a running "
    "`hpoq local`, give --endpoint http://127.0.0.1:7600."
)
_NO_EXPERIMENTS = (
    "The endpoint of PAI AutoML is not known. Set HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT; for a running "
    "`hpoq local`, give --endpoint http://127.0.0.1:7600."
)


source_option = click.option(
    "--source",
    type=click.Choice(sorted({*KINDS, CLOUDEVENT})),
    default="smq",
    show_default=True,
    help="The source of --message-id.",
)
"""The option of each command that finds a message by its id."""

store_option = click.option(
    "--store", "url", metavar="URL", help="The store with the records. Default: HPOQ_STORE."
)
"""The option of each command that reads the records."""

smq_endpoint_option = click.option(
    "--endpoint", metavar="URL", help="The base URL of SMQ. Default: from the HPOQ_ settings."
)
"""The option of each command that works on a queue."""

_Command = TypeVar("_Command", bound=Callable[..., object])


def key_options(command: _Command) -> _Command:
    """Add the argument KEY and the options that can replace it, which `find_one_key` reads."""
    options = (
        click.argument("key", required=False),
        click.option("--message-id", help="The id of the message at its source, instead of KEY."),
        source_option,
        click.option("--idempotency-key", "producer_key", help="The producer's own key, instead of KEY."),
    )
    for add in reversed(options):
        command = add(command)
    return command


@dataclass(frozen=True)
class Target:
    """The queue to send to and the output topic, or None if events go elsewhere.

    `account_id` and `region` are None if neither the endpoint nor the settings contain them.
    """

    smq: QueueClient
    queue: str
    topic: str | None
    account_id: str | None
    region: str | None
    endpoint: str

    @property
    def is_local(self) -> bool:
        """Whether this is a local cloud."""
        return is_local_cloud(self.endpoint)


def is_local_cloud(url: str) -> bool:
    """Return whether the URL of an endpoint or of a store is that of a local cloud: it uses plain HTTP.

    Plain HTTP is accepted for loopback only.
    """
    parts = urlsplit(url)
    return parts.scheme == "http" or dict(parse_qsl(parts.query)).get("scheme") == "http"


def open_transport() -> Transport:
    """Return a transport with connections of its own, through the proxy of the environment."""
    return Transport(new_session(1, trust_environment=True), SystemClock())


def name_dead_letter_queue(settings: Settings) -> str:
    """Return the name of the dead-letter queue: the setting, or else the deployment's default name."""
    suffix = f"-{settings.name}" if settings.name else ""
    return settings.dead_letter_queue or f"{DEAD_LETTER_QUEUE}{suffix}"


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn SettingsError, whose problems are the user's to solve, into click.UsageError."""
    try:
        yield
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc


@usage_errors()
def read_settings() -> Settings:
    """Return the settings of the environment. Raises click.UsageError if one is invalid."""
    return Settings.from_environment(os.environ)


def derive_keys(
    source: str, message_ids: Sequence[str], producer_keys: Sequence[str], namespace: str
) -> list[str]:
    """Return the keys of messages that `source` knows by these ids, and of requests with these idempotencyKeys."""
    # A CloudEvent's key is derived from its own source and id, whatever service delivers it.
    kind = CLOUDEVENT if source == EVENTBRIDGE.kind else source
    keys = [derive_key(kind, message_id, namespace) for message_id in message_ids]
    return keys + [derive_key(PRODUCER, key, namespace) for key in producer_keys]


def find_one_key(
    key: str | None, message_id: str | None, source: str, producer_key: str | None, namespace: str
) -> str:
    """Return the key that the options of `key_options` mean. Raises click.UsageError unless it is exactly one."""
    keys = [key] if key is not None else []
    check_keys(keys)
    message_ids, producer_keys = ([one] if one is not None else [] for one in (message_id, producer_key))
    keys += derive_keys(source, message_ids, producer_keys, namespace)
    if len(keys) != 1:
        raise click.UsageError("Give exactly one of KEY, --message-id and --idempotency-key.")
    return keys[0]


def store_url(settings: Settings, url: str | None, endpoint: str | None) -> str:
    """Return the store's URL: `url`, that of the local cloud at `endpoint`, or the settings' one.

    Raises SettingsError if there is none.
    """
    if url is None and endpoint is not None:
        return local_store_url(Endpoint.parse(endpoint).host)
    chosen = url or settings.store
    if chosen is None:
        raise SettingsError([_NO_STORE])
    return chosen


def find_store(url: str) -> Store:
    """Open the store at `url` with the credentials of the environment. Raises SettingsError."""
    file = unquote(split_store_url(url).path.removeprefix("/"))
    # Opening it would create an empty one.
    if url.startswith("sqlite:") and not Path(file).is_file():
        raise SettingsError([f"The store's file {file} does not exist. Correct --store or HPOQ_STORE."])
    return open_store(url, open_transport(), find_credentials(is_local=is_local_cloud(url)))


def read_clock(url: str) -> float:
    """Return the present time on the clock of the store or endpoint at `url`, in seconds since the epoch.

    A local cloud's clock may be advanced, and its functions follow it; elsewhere it is this machine's time.
    """
    if is_local_cloud(url):
        # An answer without a time comes from another program than a local cloud.
        with (
            contextlib.suppress(requests.RequestException, ValueError, KeyError, TypeError),
            new_session(1) as session,
        ):
            answer = session.get(f"http://{urlsplit(url).netloc}/_alilocal/clock", timeout=_CLOCK_SECONDS)
            return float(answer.json()["now"])
    return SystemClock().now()


def find_credentials(*, is_local: bool) -> CredentialsProvider:
    """Return the credentials of the environment or, for a local cloud, its well-known ones; else the whole chain."""
    return chain(from_environment(), loopback_credentials) if is_local else standard_credentials()


def check_queue(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Return the name of a queue that an option gives, if it is valid or missing."""
    if name is not None and not re.fullmatch(QUEUE_NAME, name):
        raise click.BadParameter(f"the name of a queue must be {QUEUE_FORM}")
    return name


queue_option = click.option(
    "--queue", callback=check_queue, help=f"The queue to send to. Default: HPOQ_QUEUE, or {QUEUE}."
)
"""The option of each command that sends to the queue of requests."""


def find_target(settings: Settings, queue: str | None, endpoint: str | None) -> Target:
    """Return the queue and the topic at `endpoint`, or at the settings' endpoint if it is None.

    Calls are signed with the credentials of the environment. Raises SettingsError.
    """
    url = endpoint or settings.smq_endpoint
    account_id, region = settings.account_id, settings.region
    if url is None:
        if not account_id or not region:
            raise SettingsError([_NO_ENDPOINT])
        url = default_endpoint(account_id, region)
    parsed = Endpoint.parse(url)
    host = _SMQ_HOST.fullmatch(parsed.host)
    if host:
        account_id, region = host[1], host[2]
    is_local = is_local_cloud(str(parsed))
    if is_local:
        account_id, region = ACCOUNT_ID, REGION
    scheme, _, topic = settings.output.partition("://")
    smq = QueueClient(open_transport(), url, find_credentials(is_local=is_local))
    own_topic = topic if scheme == "smq" else None
    return Target(smq, queue or settings.queue, own_topic, account_id, region, str(parsed))


def check_keys(keys: Iterable[str], command: str = "") -> None:
    """Raise click.UsageError if one of `keys` is not a key; `command` is the command to use instead, if not this one.

    Without this check, a part of a key or a message's id would look like a key that was never seen.
    """
    for key in keys:
        if not is_key(key):
            form = "A key is a UUID of 36 characters, in lower case; --json prints it in full."
            raise click.UsageError(f"{key!r} is not a key. {form}{name_key_options(key, command)}")


def name_key_options(text: str, command: str = "") -> str:
    """Return a sentence with the options to use if `text`, which is not a key, is another name of the message."""
    give = f"use {command}" if command else "give"
    return f" For a producer's own key, {give} --idempotency-key {text}, and for a message's id --message-id {text}."


def is_key(text: str) -> bool:
    """Return whether `text` has the form of the keys that hpoq derives."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def explain_unreachable(exc: CallError, endpoint: str) -> str:
    """Return a message for the user of a command: what failed, and what to do about it."""
    if isinstance(exc, NoCredentials):
        return (
            "no credentials. Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or run "
            f"`aliyun configure`. What was tried: {exc.message}"
        )
    if isinstance(exc, Unavailable):
        with contextlib.suppress(SettingsError):
            endpoint = str(Endpoint.parse(endpoint))
        hint = (
            "Is `hpoq local` running?"
            if is_local_cloud(endpoint)
            else "Check the endpoint, the network and HTTPS_PROXY."
        )
        return f"nothing answers at {endpoint} ({exc.message}). {hint}"
    return str(exc)


class RefusedError(Exception):
    """A command does not change a record; the message says why."""


def change_records(url: str, change: Callable[[Store, float], Iterable[str]]) -> tuple[str | None, list[str]]:
    """Call `change` with the store at `url` and the time; return why it changed nothing, or None, and its sentences.

    Raises SettingsError.
    """
    try:
        with contextlib.closing(find_store(url)) as store:
            return None, list(change(store, read_clock(url)))
    except RefusedError as exc:
        return str(exc), []
    except StoreError as exc:
        return explain_store_failure(exc, url), []


def explain_store_failure(exc: StoreError, url: str) -> str:
    """Return why the store at `url` could not be used, and what to do about it, without a password in the URL."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    place = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    if not isinstance(exc, StoreUnavailable):
        return str(exc)
    if isinstance(exc.__cause__, NoCredentials):
        return explain_unreachable(exc.__cause__, url)
    if isinstance(exc.__cause__, Answered):
        return f"the store {place} refuses the call ({exc}). Run `hpoq doctor`, which shows what is missing."
    hint = (
        "Is `hpoq local` running?" if is_local_cloud(url) else "Check --store or HPOQ_STORE, and the network."
    )
    return f"the store {place} does not answer ({exc}). {hint}"


def explain_failure(exc: CallError, target: Target, option: str = "--queue") -> str:
    """Return what failed at the queue or the topic of `target`, and what to do about it.

    `option` is the command's option that names the queue.
    """
    if isinstance(exc, NotFound) and exc.code == "QueueNotExist":
        return (
            f"{exc.code}: there is no queue {target.queue} at {target.endpoint}. Create it, or give {option}."
        )
    if isinstance(exc, NotFound) and exc.code == "TopicNotExist":
        return f"{exc.code}: there is no topic {target.topic} at {target.endpoint}. Create it, or set HPOQ_OUTPUT."
    return explain_unreachable(exc, target.endpoint)


def experiments_endpoint(settings: Settings, endpoint: str | None) -> str:
    """Return `endpoint`, or the settings' endpoint of PAI AutoML if it is None. Raises SettingsError."""
    url = endpoint or settings.paiautoml_endpoint
    if url is None:
        if not settings.region:
            raise SettingsError([_NO_EXPERIMENTS])
        url = paiautoml.default_endpoint(settings.region)
    return url


def open_experiments(url: str) -> Experiments:
    """Return the client of PAI AutoML at `url`, with the credentials of the environment. Raises SettingsError."""
    credentials = find_credentials(is_local=is_local_cloud(str(Endpoint.parse(url))))
    return Experiments(open_transport(), url, credentials)


def scan_records(store: Store, wait: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of every record, and call `wait` before each call of a service.

    Raises StoreUnavailable, and SettingsError for a store whose records cannot be listed.
    """
    if isinstance(store, TablestoreStore):
        yield from _scan_tablestore(store, wait)
        return
    scan: Callable[[], Iterator[tuple[str, str]]] | None = getattr(store, "scan", None)
    if scan is None:
        raise SettingsError(["The records of this store cannot be listed. Give --store URL."])
    yield from scan()


def _scan_tablestore(store: TablestoreStore, wait: Callable[[], None]) -> Iterator[tuple[str, str]]:
    after: str | None = None
    while True:
        wait()
        try:
            rows, after = store.client.get_range(store.table, "key", after, _ROWS)
        except CallError as exc:
            raise StoreUnavailable(str(exc)) from exc
        yield from ((key, str(columns.get("body"))) for key, columns in rows)
        if after is None:
            return
