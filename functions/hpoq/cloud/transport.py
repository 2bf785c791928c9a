"""One signed request out, one answer in: the single place where a broken exchange gets its ending."""

from __future__ import annotations

import math
from collections.abc import Mapping

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ClosedPoolError, ConnectTimeoutError, NewConnectionError

from fcruntime.dataclass import dataclass, field
from hpoq.clock import Clock
from hpoq.cloud.connections import Exchange, TooLate
from hpoq.cloud.endpoint import Endpoint
from hpoq.errors import CallError, NoTimeLeft, Unavailable, UnknownEnd
from hpoq.observability.trace import traceparent

_CHUNK = 64 * 1024
_NEVER_SENT = (ClosedPoolError, ConnectTimeoutError, NewConnectionError, ConnectionRefusedError)


@dataclass(frozen=True)
class SignedRequest:
    """A request that is sent byte for byte as it was signed.

    `target` is the percent-encoded path and query, `headers` the complete set, `Authorization` included. The
    text form shows neither headers nor body.
    """

    service: str
    operation: str
    method: str
    endpoint: Endpoint
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Response:
    """An answer, whatever its status. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class AnswerTooLarge(OSError):
    """The answer was cut off at the size that the transport takes."""


class Transport:
    """Sends requests over the connections of `session`; safe to share between threads.

    Make one for each instance of the function, over `connections.new_session()`. Any other session works too,
    the local cloud's for one; then its exceptions alone tell whether a request was sent, and its own reading
    of the time-outs holds.
    `least_seconds` is the time below which a request is not begun, `most_bytes` the largest answer taken.
    """

    def __init__(
        self,
        session: requests.Session,
        clock: Clock,
        *,
        least_seconds: float = 0.25,
        most_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self.clock = clock
        self._session = session
        self._least_seconds = least_seconds
        self._most_bytes = most_bytes

    def send(
        self,
        request: SignedRequest,
        *,
        connect_timeout: float,
        read_timeout: float,
        give_up_at: float | None = None,
        not_after: float | None = None,
    ) -> Response:
        """Send `request` and read its answer.

        `connect_timeout` bounds each attempt to connect, `read_timeout` everything from the first byte sent
        to the last byte read, both in seconds. Both shrink to what is left until `give_up_at`, a value of the
        monotonic clock, and `not_after`, one of the wall clock, which goes on where the other may stand still
        (a suspended machine); the first byte never leaves later than `least_seconds` before either. Looking
        up a name takes as long as the resolver lets it.

        The trace of the message under way goes along in a header of its own, which no signature covers.

        Raises NoTimeLeft and Unavailable if nothing was sent, UnknownEnd once something may have been.
        """
        prepared = _prepare(request)
        if carried := traceparent():
            prepared.headers["traceparent"] = carried

        def left() -> float:
            monotonic = math.inf if give_up_at is None else give_up_at - self.clock.monotonic()
            wall = math.inf if not_after is None else not_after - self.clock.now()
            return min(monotonic, wall)

        if left() < self._least_seconds:
            raise _no_time_left(request)
        connect, read = min(connect_timeout, left()), min(read_timeout, left())
        exchange = Exchange(
            self.clock.monotonic, read_seconds=read_timeout, left=left, least_seconds=self._least_seconds
        )
        with exchange.on_this_thread():
            try:
                return self._exchange(prepared, connect, read)
            except TooLate as exc:
                raise _no_time_left(request) from exc
            # Whatever breaks once a byte has left, expected or not, leaves the end unknown.
            except Exception as exc:
                if exchange.sent is not True and not isinstance(exc, (requests.RequestException, OSError)):
                    raise
                raise _ending(request, exchange, exc) from exc

    def _exchange(self, prepared: requests.PreparedRequest, connect: float, read: float) -> Response:
        answer = self._session.send(
            prepared, stream=True, timeout=(connect, read), verify=True, allow_redirects=False, proxies={}
        )
        with answer:
            body = self._read(answer)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, headers, body)

    def _read(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for chunk in answer.iter_content(_CHUNK):
            body += chunk
            if len(body) > self._most_bytes:
                raise AnswerTooLarge
        return bytes(body)


def _prepare(request: SignedRequest) -> requests.PreparedRequest:
    """Filled in by hand, since `prepare()` would encode the URL and add headers of its own."""
    for name, value in request.headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"header {name}: must be printable ASCII")
    prepared = requests.PreparedRequest()
    prepared.method = request.method
    prepared.url = request.endpoint.url(request.target)
    prepared.headers = CaseInsensitiveDict(request.headers)
    prepared.headers["Content-Length"] = str(len(request.body))
    prepared.body = request.body or None
    return prepared


def _ending(request: SignedRequest, exchange: Exchange, exc: Exception) -> CallError:
    unsent = exchange.sent is False or (exchange.sent is None and _says_unsent(exc))
    kind = Unavailable if unsent else UnknownEnd
    return kind(_reason(exc), service=request.service, operation=request.operation)


def _says_unsent(exc: Exception) -> bool:
    """Whether an exception of a session that is not ours proves that nothing was sent."""
    return isinstance(exc, requests.ConnectTimeout) or any(
        isinstance(cause, _NEVER_SENT) for cause in _causes(exc)
    )


def _causes(exc: BaseException) -> list[BaseException]:
    """`exc` and what it wraps: as an argument, as a reason (urllib3) or as its cause."""
    found: list[BaseException] = []
    pending: list[object] = [exc]
    while pending and len(found) < 16:
        item = pending.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            pending += [*item.args, getattr(item, "reason", None), item.__cause__]
    return found


def _reason(exc: Exception) -> str:
    """The innermost cause, by its type alone where its text could quote the URL."""
    innermost = _causes(exc)[-1]
    text = innermost.strerror if isinstance(innermost, OSError) and innermost.strerror else None
    return f"{type(innermost).__name__}: {text}" if text else type(innermost).__name__


def _no_time_left(request: SignedRequest) -> NoTimeLeft:
    return NoTimeLeft("too little time is left", service=request.service, operation=request.operation)
