"""A request and its answer as they are on the wire, and the ways in which an exchange breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

NO_CONTENT = 204

Headers = tuple[tuple[str, str], ...]


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    `target` is the request target exactly as sent, never decoded: both signature schemes need it so.
    `abandoned` says whether the caller has stopped waiting; a long poll ends when it turns true.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    abandoned: Callable[[], bool] = _never

    @cached_property
    def path(self) -> str:
        """The raw path, `/` if there is none."""
        return self.target.partition("?")[0] or "/"

    @property
    def query(self) -> str:
        """The raw text after the first `?`, empty if there is none."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The value of header `name` in any case, several values joined by commas; None if absent."""
        values = self._by_name.get(name.lower())
        if values is None:
            return None
        return values[0] if len(values) == 1 else ",".join(values)

    def headers_from(self, prefix: str) -> list[tuple[str, str]]:
        """The headers whose lower-case names begin with `prefix`, each by that name, sorted."""
        found = [name for name in self._by_name if name.startswith(prefix)]
        return [(name, ",".join(self._by_name[name])) for name in sorted(found)]

    def header_values(self, name: str) -> list[str]:
        """Every value of header `name` in any case, trimmed, in the order sent."""
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
        """The decoded parameters in the order sent."""
        pairs = []
        for part in filter(None, self.query.split("&")):
            name, _, value = (part.replace("+", " ") if plus_is_space else part).partition("=")
            pairs.append((unquote(name), unquote(value)))
        return pairs


class Response(NamedTuple):
    """One HTTP answer. `cut` is the number of body bytes after which the connection breaks, None for all;
    `drip` the seconds that each of them takes, None for no time at all."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    cut: int | None = None
    drip: float | None = None

    @property
    def sent_body(self) -> bytes:
        """The part of the body that the caller gets."""
        return self.body if self.cut is None else self.body[: self.cut]

    @property
    def sent_headers(self) -> Headers:
        """The headers with the length of the whole body, which a 204 must not have."""
        if self.status == NO_CONTENT:
            return self.headers
        return (*self.headers, ("Content-Length", str(len(self.body))))


class Broken(Exception):
    """The exchange ends without an answer."""


class Refused(Broken):
    """The connection is not taken: nothing was sent."""


class Reset(Broken):
    """The connection is dropped once the request is sent."""


class Stalled(Broken):
    """No answer comes, for `seconds` or, with None, for as long as the caller waits."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__()


class ServiceError(Exception):
    """A service refuses a call: HTTP status, the service's own code, a sentence, and headers to add.

    `detail` tells what RAM lacks, where the service says so.
    """

    detail: Mapping[str, str] = MappingProxyType({})

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(f"{status} {code}: {message}")
