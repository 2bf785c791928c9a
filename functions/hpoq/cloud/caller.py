"""A signed call with its repetitions, as every client makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fcruntime.dataclass import dataclass
from hpoq.cloud.credentials import Credentials, CredentialsProvider
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.retry import MayRetry, RetryPolicy
from hpoq.cloud.transport import Response, SignedRequest, Transport

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Where and how a client calls. Time-outs in seconds, as `Transport.send` defines them."""

    transport: Transport
    endpoint: Endpoint
    credentials: CredentialsProvider
    connect_timeout: float
    read_timeout: float
    retry: RetryPolicy

    def call(
        self,
        sign: Callable[[Credentials], SignedRequest],
        read: Callable[[Response, Credentials], T],
        *,
        may_retry: MayRetry,
        give_up_at: float | None,
        not_after: float | None = None,
        extra_seconds: float = 0.0,
    ) -> T:
        """Sign anew, send and read, until there is a result; raises CallError.

        `give_up_at` and `not_after` bound every try as `Transport.send` says.
        `extra_seconds` is added to the read time-out, for a service that is asked to hold its answer.
        """

        def attempt() -> T:
            credentials = self.credentials()
            response = self.transport.send(
                sign(credentials),
                connect_timeout=self.connect_timeout,
                read_timeout=self.read_timeout + extra_seconds,
                give_up_at=give_up_at,
                not_after=not_after,
            )
            return read(response, credentials)

        return self.retry.call(
            attempt, may_retry=may_retry, clock=self.transport.clock, give_up_at=give_up_at
        )


class ServiceClient:
    """What every client is made of.

    A client holds no connection of its own, so that it may be made for each invocation with the credentials
    of that invocation, over a transport that stays. Time-outs are in seconds.
    """

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
        where = Endpoint.parse(endpoint)
        self._caller = Caller(
            transport, where, credentials, connect_timeout, read_timeout, retry or RetryPolicy()
        )
