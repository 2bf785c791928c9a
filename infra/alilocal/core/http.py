"""A request and its answer as they are on the wire, and the ways in which an exchange can fail."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_WITHOUT_BODY = (204, 304)

Headers = tuple[tuple[str, str], ...]


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    `target` is the request target exactly as sent and never decoded, because the signatures cover it in this form.
    `abandoned` returns True once the caller has stopped waiting; a long poll then ends. `is_late` is True for a
    request that something held back: nobody waits for its answer, so that a long poll does not wait either. `port` is
    the port on which the request arrived, or None if it needed no port.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    abandoned: Callable[[], bool] = _never
    is_late: bool = False
    port: int | None = None

    @cached_property
    def path(self) -> str:
        """The raw path; `/` if it is empty."""
        return self.target.partition("?")[0] or "/"

    @property
    def query(self) -> str:
        """The raw text after the first `?`; empty if there is none."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the header `name`, several values joined by commas, or None if it is missing."""
        values = self._by_name.get(name.lower())
        if values is None:
            return None
        return values[0] if len(values) == 1 else ",".join(values)

    @cached_property
    def authority(self) -> str:
        """The host and port under which the caller reaches the cloud, for URLs in answers.

        The vendor's SDK fc2 for Node.js leaves the port out of `Host`.
        """
        host = self.header("Host") or "localhost"
        has_port = re.search(r":\d+$", host) is not None
        return host if has_port or self.port is None or not is_own_host(host) else f"{host}:{self.port}"

    def sent_at(self) -> float | None:
        """Return when the caller sent the request, by its own clock, or None if no header says that."""
        text = self.header("x-acs-date") or self.header("x-ots-date")
        try:
            if text is not None:
                return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
            return read_http_date(self.header("date") or "")
        except (ValueError, OverflowError):
            return None

    def headers_from(self, prefix: str) -> list[tuple[str, str]]:
        """Return the headers whose lower-case names begin with `prefix`, sorted by name."""
        found = [name for name in self._by_name if name.startswith(prefix)]
        return [(name, ",".join(self._by_name[name])) for name in sorted(found)]

    def header_values(self, name: str) -> list[str]:
        """Return all values of the header `name` in the order sent, without surrounding spaces."""
        return self._by_name.get(name.lower(), [])

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found = {name.lower(): [value.strip()] for name, value in self.headers}
        if len(found) < len(self.headers):
            found = {name: [] for name in found}
            for name, value in self.headers:
                found[name.lower()].append(value.strip())
        return found

    def query_pairs(self, *, plus_is_space: bool) -> list[tuple[str, str]]:
        """Return the decoded parameters of the query in the order sent."""
        pairs = []
        for part in filter(None, self.query.split("&")):
            name, _, value = (part.replace("+", " ") if plus_is_space else part).partition("=")
            pairs.append((unquote(name), unquote(value)))
        return pairs


def read_http_date(text: str) -> float:
    """Return the seconds since the epoch of a `Date` header; raises ValueError.

    A date without an offset, or with `-0000`, is in UTC, whatever the time zone of this machine.
    """
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, OverflowError):
        raise ValueError(text) from None


def is_own_host(host: str) -> bool:
    """Return whether a `Host` header names this machine by an address or as localhost.

    A page of another site can make its own name lead to this machine, and its requests then carry that name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def is_container_host(host: str) -> bool:
    """Return whether a `Host` header has a name that containers use: `alilocal:7600`, `host.docker.internal`.

    The name of a site has a dot, and none ends in `.internal`, which is reserved.
    """
    name = host.partition(":")[0]
    return name.endswith(".internal") or _LABEL.fullmatch(name) is not None


_LABEL = re.compile(r"[A-Za-z0-9_-]+")


class Response(NamedTuple):
    """One HTTP answer.

    `cut` is the number of body bytes after which the connection breaks, or None. `drip` is the number of seconds that
    each byte of the body takes, or None for an answer without delay.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    cut: int | None = None
    drip: float | None = None

    @property
    def sent_body(self) -> bytes:
        """The part of the body that the caller gets."""
        return b"" if self.status in _WITHOUT_BODY else self.body[: self.cut]

    @property
    def sent_headers(self) -> Headers:
        """The headers with the length of the whole body, unless the status has none, as 204."""
        if self.status in _WITHOUT_BODY:
            return self.headers
        return (*self.headers, ("Content-Length", str(len(self.body))))


class Broken(Exception):
    """The exchange ends without an answer."""


class Refused(Broken):
    """The connection is refused, and nothing was sent."""


class Reset(Broken):
    """The connection is dropped after the request was sent."""


class Stalled(Broken):
    """No answer comes for `seconds`, or for as long as the caller waits if they are None."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__()


class ServiceError(Exception):
    """A service refuses a call, with an HTTP status, the service's own code, a message, and headers to add.

    `detail` says which permission is missing, if the service shows that.
    """

    detail: Mapping[str, str] = MappingProxyType({})

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(f"{status} {code}: {message}")
