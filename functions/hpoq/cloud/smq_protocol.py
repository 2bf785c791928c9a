"""How any operation of SMQ is called: signed headers out, XML in, errors by class.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/request-protocol-description.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import TypeVar

from hpoq.cloud.answers import read_xml
from hpoq.cloud.caller import ServiceClient
from hpoq.cloud.classify import error_of
from hpoq.cloud.credentials import Credentials
from hpoq.cloud.retry import MayRetry, harmless_to_repeat
from hpoq.cloud.signing import mns_authorization
from hpoq.cloud.transport import Response, SignedRequest
from hpoq.errors import UnknownEnd

T = TypeVar("T")

SERVICE = "smq"
VERSION = "2015-06-06"
NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
_XML = "text/xml;charset=UTF-8"


class SmqProtocol(ServiceClient):
    """A client that can call operations of SMQ."""

    def call(
        self,
        operation: str,
        method: str,
        target: str,
        read: Callable[[bytes], T],
        body: bytes,
        give_up_at: float | None,
        extra_seconds: float = 0.0,
        may_retry: MayRetry = harmless_to_repeat,
    ) -> T:
        """Call `operation` and `read` its answer; raises CallError.

        `target` is the percent-encoded path and query. What `read` raises as ValueError is an unknown end.
        """

        def sign(credentials: Credentials) -> SignedRequest:
            return self._signed(operation, method, target, body, credentials)

        def read_or_raise(response: Response, credentials: Credentials) -> T:
            return _read(operation, response, read, credentials)

        return self._caller.call(
            sign,
            read_or_raise,
            may_retry=may_retry,
            give_up_at=give_up_at,
            extra_seconds=extra_seconds,
        )

    def _signed(
        self, operation: str, method: str, target: str, body: bytes, credentials: Credentials
    ) -> SignedRequest:
        endpoint = self._caller.endpoint
        headers = {
            "Date": formatdate(self._caller.transport.clock.now(), usegmt=True),
            "Host": endpoint.host,
            "x-mns-version": VERSION,
        }
        if body:
            headers["Content-Type"] = _XML
        headers["Authorization"] = mns_authorization(method, target, headers, credentials)
        if credentials.security_token is not None:
            headers["security-token"] = credentials.security_token
        headers["User-Agent"] = "hpoq"
        return SignedRequest(SERVICE, operation, method, endpoint, target, headers, body)


def _read(operation: str, response: Response, read: Callable[[bytes], T], credentials: Credentials) -> T:
    answer = read_xml(response)
    if not answer.is_success:
        secrets = credentials.secrets()
        raise error_of(answer, service=SERVICE, operation=operation, names_resource=True, secrets=secrets)
    try:
        return read(response.body)
    except ValueError as exc:
        raise UnknownEnd(
            f"unreadable answer: {exc}",
            service=SERVICE,
            operation=operation,
            request_id=answer.request_id,
            http_status=response.status,
        ) from exc
