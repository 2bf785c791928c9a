"""Send one request and read one answer.

This is the only place that decides how an interrupted exchange has ended: *not sent*, or *unknown*. It also records
the newest observation of how far this machine's clock is from the servers' clocks, from the date of their answers.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property, partial

import requests
from urllib3.exceptions import ClosedPoolError, ConnectTimeoutError, NewConnectionError

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock
from hpoq.cloud.connections import IDLE_SECONDS, Exchange, TooLate, environment_settings, signs_late
from hpoq.cloud.endpoint import Endpoint
from hpoq.errors import CallError, Incomplete, NoTimeLeft, Unavailable, UnknownEnd
from hpoq.observability.measures import Call, trace_call, traceparent

_CHUNK_BYTES = 64 * 1024
_MAX_READING_AGE_SECONDS = 300.0
_UNSENT_CAUSES = (ClosedPoolError, ConnectTimeoutError, NewConnectionError, ConnectionRefusedError)


@dataclass(frozen=True)
class Request:
    """A request that is signed when it is sent.

    `target` is the percent-encoded path and query. `sign` returns the complete headers, including
    `Authorization`; headers and body are sent byte for byte as they were signed. `repr` shows neither. A pooled
    connection that was idle for `max_idle_seconds` is replaced before the request is sent. `is_own` says whether an
    answer is the service's own; the connection of another one is not used again. If it raises OSError, the end is
    unknown.
    """

    service: str
    operation: str
    method: str
    endpoint: Endpoint
    target: str
    sign: Callable[[], Mapping[str, str]] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    max_idle_seconds: float = IDLE_SECONDS
    is_own: Callable[[Response], bool] = field(default=lambda _: True, repr=False)


@dataclass(frozen=True)
class Response:
    """An answer of any status. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @cached_property
    def document(self) -> JsonObject | None:
        """The JSON object in the body, or None if it is something else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


@dataclass(frozen=True)
class ClockReading:
    """How many seconds this machine's clock was ahead of a server's: at least `least`, at most `most`.

    `taken_at` and `taken_monotonic` are the time of the observation, by this machine's two clocks.
    """

    least: float
    most: float
    taken_at: float
    taken_monotonic: float

    @classmethod
    def from_answer(cls, headers: Mapping[str, str], sent_at: float, clock: Clock) -> ClockReading | None:
        """Compare `clock` with the date of an answer that has just arrived; None if the answer has no date.

        `sent_at` is when the first byte of the request left. The server read its clock at some moment between
        that and now, and cut the date off to whole seconds.
        """
        date = read_date(headers)
        if date is None:
            return None
        now = clock.now()
        return cls(sent_at - (date + 1), now - date, taken_at=now, taken_monotonic=clock.monotonic())

    def find_error(self, step: float = 0.0) -> float:
        """Return the smallest error that explains the reading: positive if ahead, negative if behind, else 0.0.

        `step` is by how many seconds the clock was set after the reading.
        """
        return max(self.least + step, 0.0) or min(self.most + step, 0.0)


class AnswerMisplaced(OSError):
    """A connection delivered the answer to another request."""


class AnswerTooLarge(OSError):
    """The answer was larger than the transport's limit, and was not read to its end."""


class AnswerCached(OSError):
    """The answer comes from a cache: it is about an earlier request, of this instance or of another one."""


class Transport:
    """Sends requests over the connections of `session`; safe to share between threads.

    Build one for each instance of the function, over `connections.new_session()`. Other sessions work too, such
    as the local cloud's. They apply the time-outs in their own way, and only their exceptions show whether a
    request was sent. Answers of more than `max_bytes` are not accepted.
    """

    def __init__(self, session: requests.Session, clock: Clock, *, max_bytes: int = 4 * 1024 * 1024) -> None:
        self.clock = clock
        self._session = session
        self._max_bytes = max_bytes
        self._reading: ClockReading | None = None

    def clock_error(self) -> float:
        """Return by how many seconds, at least, this machine's clock is off: positive if ahead, negative if behind.

        0.0 if the newest answer agrees with the clock, if it is older than 5 minutes by either clock, or if no
        answer had a date. A clock that was set back after that answer is off by as much.
        """
        reading = self._reading
        if reading is None:
            return 0.0
        age = self.clock.now() - reading.taken_at
        monotonic_age = self.clock.monotonic() - reading.taken_monotonic
        if max(age, monotonic_age) > _MAX_READING_AGE_SECONDS:
            return 0.0
        # A positive difference is no step but a suspension, in which the monotonic clock may stand still.
        step = min(age - monotonic_age, 0.0)
        return reading.find_error(step)

    def send(
        self, request: Request, *, connect_timeout: float, read_timeout: float, budget: Budget | None = None
    ) -> Response:
        """Sign `request`, send it and read its answer.

        `connect_timeout` bounds each attempt to connect, `read_timeout` the time from the first byte sent to the
        last byte read, both in seconds. Both shrink to what is left of `budget`. Resolving a host name is not
        bounded. A connection of `connections` signs the request once it is established; for any other session
        the request is signed directly before it is handed over.

        Raises NoTimeLeft or Unavailable if nothing was sent, UnknownEnd if something may have been.
        """
        budget = budget or Budget(self.clock)
        url = request.endpoint.url(request.target)
        # Without Content-Length `requests` would send the body in chunks.
        unsigned = {"Content-Length": str(len(request.body))}
        adapter = self._session.get_adapter(url)
        headers = unsigned if signs_late(adapter) else _sign(request)
        prepared = _prepare(request, url, headers)
        left = budget.seconds_left()
        if left < budget.least_seconds:
            raise _no_time_left(request)
        timeouts = min(connect_timeout, left), min(read_timeout, left)
        exchange = Exchange(partial(_sign, request), read_timeout, budget, request.max_idle_seconds)
        begun_at = self.clock.now()
        call = Call(request.service, request.operation, request.method, url)
        with exchange, trace_call(call):
            try:
                # `session.send` would also look for cookies and redirects, which takes as long as signing.
                settings = environment_settings(self._session, url)
                answer = adapter.send(prepared, stream=True, timeout=timeouts, **settings)
                call.status = answer.status_code
                response = self._read(answer, exchange.sent_at or begun_at)
                if _is_repeated(response, exchange):
                    raise AnswerMisplaced(errno.EBADMSG, "the answer to an earlier request")
                exchange.accepted = request.is_own(response)
                return response
            except TooLate as exc:
                raise _no_time_left(request) from exc
            # Whatever fails once a byte has left, expected or not, leaves the end unknown.
            except Exception as exc:
                if exchange.sent is not True and not isinstance(exc, OSError):  # includes RequestException
                    raise
                raise _classify(request, exchange, exc) from exc

    def _read(self, answer: requests.Response, sent_at: float) -> Response:
        headers = dict(answer.headers.lower_items())
        body = bytearray()
        with answer:
            # An ordinary gateway may give every answer the age 0, and two of them "0, 0".
            if headers.get("age", "").strip("0, "):
                raise AnswerCached(errno.EBADMSG, "the answer comes from a cache in front of the service")
            self._reading = ClockReading.from_answer(headers, sent_at, self.clock) or self._reading
            # Not from `answer.raw`: a foreign session may have read the answer already, to keep it.
            for chunk in answer.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > self._max_bytes:
                    text = "the answer is too large; if it is a listing of experiments, lower HPOQ_LIST_PAGE_SIZE"
                    raise AnswerTooLarge(errno.EMSGSIZE, text)
        return Response(answer.status_code, headers, bytes(body))


def read_date(headers: Mapping[str, str]) -> float | None:
    """Return when a server made an answer, in seconds since the epoch, or None if that is unknown.

    Names of `headers` are in lower case, or compare in any case. Tablestore has a date header of its own; the
    standard one may come from a proxy.
    """
    try:
        if "x-ots-date" in headers:
            moment = datetime.fromisoformat(headers["x-ots-date"].removesuffix("Z"))
        else:
            moment = parsedate_to_datetime(headers["date"])
        # Without a zone `timestamp` would read it as this machine's local time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def _prepare(request: Request, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    """Return `request` as the session sends it.

    The members are set one by one because `prepare()` would encode the URL again and add headers of its own. A plain
    dictionary of headers is made in a twentieth of the time, and nobody looks one up in another case.
    """
    prepared = requests.PreparedRequest()
    prepared.method = request.method
    prepared.url = url
    prepared.headers = dict(headers)  # type: ignore[assignment]
    prepared.body = request.body or None
    return prepared


def _sign(request: Request) -> Mapping[str, str]:
    """Sign `request` and return all of its headers.

    The trace of the current message is added as a header that no signature covers.
    """
    headers = dict(request.sign())
    text = "".join(headers.values())
    if not (text.isascii() and text.isprintable()):
        wrong = next(name for name, value in headers.items() if not (value.isascii() and value.isprintable()))
        raise ValueError(f"header {wrong}: must be printable ASCII")
    headers["Content-Length"] = str(len(request.body))
    if current := traceparent():
        headers["traceparent"] = current
    return headers


def _is_repeated(response: Response, exchange: Exchange) -> bool:
    """Return whether its connection delivered the answer `response` to the request before, too.

    A proxy may deliver an answer twice, and then each request on its connection gets the answer to the one before.
    Two answers of a service differ in the request id, at least; one without a date may be a fixed text.
    """
    if not response.headers.keys() & {"date", "x-ots-date"}:
        return False
    return exchange.is_repeated(hash((*response.headers.items(), response.body)))


def _classify(request: Request, exchange: Exchange, exc: Exception) -> CallError:
    is_unsent = exchange.sent is False or (exchange.sent is None and _proves_unsent(exc))
    # A listing of that size, or from a cache, stays unreadable, so an operator has to know.
    unknown = Incomplete if isinstance(exc, (AnswerTooLarge, AnswerCached)) else UnknownEnd
    kind = Unavailable if is_unsent else unknown
    return kind(_describe(exc), service=request.service, operation=request.operation)


def _proves_unsent(exc: Exception) -> bool:
    """Return whether the exception of a session other than ours proves that nothing was sent."""
    return isinstance(exc, requests.ConnectTimeout) or any(
        isinstance(cause, _UNSENT_CAUSES) for cause in _find_causes(exc)
    )


def _find_causes(exc: BaseException) -> list[BaseException]:
    """Return `exc` and the exceptions it wraps: as an argument, as a reason (urllib3) or as its cause."""
    found: list[BaseException] = []
    pending: list[object] = [exc]
    while pending:
        item = pending.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            pending += [*item.args, getattr(item, "reason", None), item.__cause__]
    return found


def _describe(exc: Exception) -> str:
    """Describe the innermost cause, without its own text if that may quote the URL."""
    innermost = _find_causes(exc)[-1]
    text = innermost.strerror if isinstance(innermost, OSError) else None
    return f"{type(innermost).__name__}: {text}" if text else type(innermost).__name__


def _no_time_left(request: Request) -> NoTimeLeft:
    return NoTimeLeft("too little time is left", service=request.service, operation=request.operation)
