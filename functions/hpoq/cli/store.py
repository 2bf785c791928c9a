"""The store that a command reads: a URL's, a running local cloud's, or the settings' own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from hpoq.cli.cloud import TABLE, loopback_credentials
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import chain, from_environment
from hpoq.cloud.transport import Transport
from hpoq.errors import SettingsError
from hpoq.idempotency.store import Store, open_store
from hpoq.settings import Settings

_LOCAL = "tablestore://{host}/{table}?instance=local&scheme=http"


def store_url(settings: Settings, url: str | None, endpoint: str | None) -> str:
    """Where the records are. Raises SettingsError if nothing tells."""
    if url is None and endpoint is not None:
        return _LOCAL.format(host=urlsplit(endpoint).netloc or endpoint, table=TABLE)
    chosen = url or settings.store
    if chosen is None:
        raise SettingsError(
            ["give --store, or set HPOQ_STORE, or give the --endpoint of a running hpoq local"]
        )
    return chosen


def find_store(settings: Settings, url: str | None, endpoint: str | None) -> Store:
    """The store, signed for as the environment says. Raises SettingsError."""
    chosen = store_url(settings, url, endpoint)
    file = unquote(urlsplit(chosen).path.removeprefix("/"))
    if chosen.startswith("sqlite:") and not Path(file).is_file():
        raise SettingsError([f"{file}: no such file, and to look must not make one"])
    credentials = from_environment()
    if "scheme=http" in chosen:
        credentials = chain(credentials, loopback_credentials)
    return open_store(chosen, Transport(new_session(1), SystemClock()), credentials)
