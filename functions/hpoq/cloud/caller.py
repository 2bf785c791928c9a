"""Make a signed call, and repeat it if that is safe: the part that all clients of the cloud share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, TypeAlias, TypeVar

from fcruntime.dataclass import dataclass
from hpoq.clock import Budget
from hpoq.cloud.connections import IDLE_SECONDS
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.signing import Credentials, CredentialsProvider
from hpoq.cloud.transport import Request, Response, Transport
from hpoq.errors import CallError, NotSent, Throttled, Unavailable, UnknownEnd
from hpoq.observability.measures import count

T = TypeVar("T")

# SMQ and Tablestore name the request in a header, the other services in the body.
_REQUEST_ID_HEADERS = frozenset({"x-mns-request-id", "x-ots-requestid"})

Errors: TypeAlias = tuple[type[CallError], ...]

NO_ACTION: Errors = (Throttled, Unavailable)
"""The errors after which any call can be repeated: the service certainly did not act."""
TRANSIENT: Errors = (*NO_ACTION, UnknownEnd)
"""The errors after which a read can be repeated, and a call that may act twice."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried, and how long to wait between two tries.

    Before each repetition the client waits for a random part of a bound that starts at `base_seconds` and doubles
    up to `cap_seconds`, in addition to the wait that the service asked for.
    """

    attempts: int = 4
    base_seconds: float = 0.2
    cap_seconds: float = 5.0

    def start(self, budget: Budget, retry_on: Errors) -> Retries:
        """Return the state of one call's tries. Only an error of `retry_on` may be followed by another one."""
        if self.attempts < 1:
            raise ValueError("a retry policy needs at least one attempt")
        return Retries(self, budget, retry_on)


class Retries:
    """The tries of one call. The caller loops itself, as `ServiceClient._call` does: that keeps the stack short."""

    def __init__(self, policy: RetryPolicy, budget: Budget, retry_on: Errors) -> None:
        self._policy = policy
        self._budget = budget
        self._retry_on = retry_on
        self._failed = 0
        self._unknown: UnknownEnd | None = None

    def wait_or_raise(self, error: CallError) -> None:
        """Wait until the next try, or raise `error` if there is none.

        There is none if the error is not one of `retry_on`, if all attempts are used, or if the budget would have too
        little time left after the wait. If an earlier try had an unknown end and this one was not sent, the end of
        the call is still unknown, so the earlier error is raised.
        """
        self._failed += 1
        if isinstance(error, UnknownEnd):
            self._unknown = error
        bound = min(self._policy.cap_seconds, self._policy.base_seconds * 2.0 ** (self._failed - 1))
        wait = (error.retry_after or 0.0) + self._budget.clock.random() * bound
        is_last = self._failed >= self._policy.attempts
        latest = self._budget.seconds_left() - self._budget.least_seconds
        if is_last or not isinstance(error, self._retry_on) or wait >= latest:
            if self._unknown is not None and isinstance(error, NotSent):
                raise self._unknown from error
            raise error
        count("retries")
        self._budget.clock.sleep(wait)


def is_own_answer(response: Response) -> bool:
    """Return whether an answer names its request, as those of all services do, and reports no failure of theirs.

    A gateway or a proxy that answers in the service's place may pass on the service's own answer later.
    """
    names_request = not _REQUEST_ID_HEADERS.isdisjoint(response.headers)
    return response.status < 500 and (names_request or b"equestId" in response.body)


class ServiceClient:
    """Base class of the clients. Each client is one class that knows one service.

    A client has no connection of its own: the transport has them and outlives it. So a client may be built for
    each invocation, with the credentials of that invocation. Time-outs are in seconds.
    """

    service: ClassVar[str]

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        credentials: CredentialsProvider,
        *,
        connect_timeout: float = 3.0,
        read_timeout: float = 10.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._transport = transport
        self._endpoint = Endpoint.parse(endpoint)
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retry = retry or RetryPolicy()

    def clock_error(self) -> float:
        """Return by how many seconds, at least, this machine's clock is ahead, or behind if it is negative."""
        return self._transport.clock_error()

    def present_time(self) -> float:
        """Return the time in seconds since the epoch, by this machine's clock or, if earlier, by the services'.

        Claims are released at this time: with a clock that is ahead by hours, they would hold the key for as long. A
        clock that is behind does no harm.
        """
        return self.correct_time(self._transport.clock.now())

    def correct_time(self, moment: float) -> float:
        """Return `moment`, a time of this machine's clock, by the services' clock if that is earlier."""
        return moment - max(self.clock_error(), 0.0)

    def _call(
        self,
        operation: str,
        method: str,
        target: str,
        sign: Callable[[Credentials], Mapping[str, str]],
        read: Callable[[Response, Credentials], T],
        *,
        body: bytes = b"",
        retry_on: Errors = TRANSIENT,
        budget: Budget | None = None,
        extra_seconds: float = 0.0,
        max_idle_seconds: float = IDLE_SECONDS,
        check: Callable[[], None] = lambda: None,
        is_own: Callable[[Response], bool] = is_own_answer,
    ) -> T:
        """Call `operation` and return what `read` makes of the answer. Raises CallError.

        `target` is the percent-encoded path and query. Each try is signed again, with the credentials of that
        moment, after `check`, which may raise. `extra_seconds` lengthens the read time-out, for a service that is
        asked to delay its answer. `max_idle_seconds` and `is_own` are those of `Request`.
        """
        budget = budget or Budget(self._transport.clock)
        retries = self._retry.start(budget, retry_on)
        while True:
            try:
                check()
                credentials = self._credentials()
                signer = partial(sign, credentials)
                response = self._transport.send(
                    Request(
                        self.service,
                        operation,
                        method,
                        self._endpoint,
                        target,
                        signer,
                        body,
                        max_idle_seconds,
                        is_own,
                    ),
                    connect_timeout=self._connect_timeout,
                    read_timeout=self._read_timeout + extra_seconds,
                    budget=budget,
                )
                return read(response, credentials)
            except CallError as error:
                retries.wait_or_raise(error)
