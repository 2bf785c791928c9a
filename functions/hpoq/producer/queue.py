"""The queue of requests, for producers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import requests

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonValue
from fcruntime.triggers.identity import identify_body
from hpoq.clock import Budget, SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import CredentialsProvider
from hpoq.cloud.smq import Smq
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import CLOUDEVENT, PRODUCER, STOP, derive_key, derive_message_key
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import parse_request
from hpoq.contract.stop import StopRequest
from hpoq.producer.build import Request
from hpoq.producer.credentials import standard_credentials

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class SentRequest:
    """A request in the queue.

    `message_id` is the queue's id of the message; `key` is the idempotency key in the events about the request.
    """

    message_id: str
    key: str


class Queue:
    """A queue of requests, for producers. Use it as a context manager if `open` created it.

    `namespace` must be the function's HPOQ_NAMESPACE (by default its HPOQ_NAME), because the keys that `send` returns
    are derived from it.
    """

    def __init__(self, smq: Smq, name: str, *, namespace: str = "") -> None:
        self.name = name
        self.namespace = namespace
        self._smq = smq
        self._session: requests.Session | None = None

    @classmethod
    def open(
        cls,
        name: str,
        endpoint: str,
        credentials: CredentialsProvider | None = None,
        *,
        namespace: str = "",
    ) -> Queue:
        """Return the queue `name` at `endpoint` (see `hpoq.cloud.smq.default_endpoint`), with its own connections.

        If `credentials` is None, they come from the standard chain: the environment, profiles of the vendor's
        command line, the role of an ECS instance (see `hpoq.producer.credentials`). Proxies and certificate
        authorities of the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, SSL_CERT_FILE) are used.
        """
        session = new_session(trust_environment=True)
        smq = Smq(Transport(session, SystemClock()), endpoint, credentials or standard_credentials())
        queue = cls(smq, name, namespace=namespace)
        queue._session = session
        return queue

    def close(self) -> None:
        """Close the connections that `open` created."""
        if self._session is not None:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(
        self,
        request: Request | ExperimentRequest | StopRequest | Mapping[str, JsonValue],
        *,
        idempotency_key: str | None = None,
        delay_seconds: int = 0,
        budget: Budget | None = None,
    ) -> SentRequest:
        """Check `request`, a model or a document in any form that the contract accepts, and put it into the queue.

        A request with a key, its own or `idempotency_key`, is idempotent: a send with an unknown end is repeated,
        and the caller may send again after any error, even days later, without a second experiment. A CloudEvent is
        idempotent too, because its source and id act as the key. Any other message creates an experiment of its own,
        so UnknownEnd is raised at once.

        `budget` limits the time, for example `Budget.lasting(10)` of `hpoq.clock`. Raises RequestRejected with
        every violation, before anything is sent; ValueError if the request has another key already; CallError.
        """
        if isinstance(request, Request):
            request = request.document
        given = request.wire() if isinstance(request, (ExperimentRequest, StopRequest)) else request
        valid = _parse(given)
        if idempotency_key is not None:
            if valid.idempotency_key not in (None, idempotency_key):
                raise ValueError("the request has another idempotencyKey of its own")
            valid = _parse({**valid.wire(), "idempotencyKey": idempotency_key})
        event = identify_body(_encode(given)) if valid.idempotency_key is None else None
        message_id = self._smq.send_message(
            self.name,
            _encode(valid.wire() if event is None else given),
            delay_seconds=delay_seconds,
            repeatable=valid.idempotency_key is not None or event is not None,
            budget=budget,
        )
        if event is None:
            kind = PRODUCER if isinstance(valid, ExperimentRequest) else STOP
            key = derive_message_key(valid.idempotency_key, message_id, self.namespace, kind)
        else:
            key = derive_key(CLOUDEVENT, event, self.namespace)
        return SentRequest(message_id, key)


def _parse(document: Mapping[str, JsonValue]) -> ExperimentRequest | StopRequest:
    return parse_request(json.dumps(document).encode()).request


def _encode(document: Mapping[str, JsonValue]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
