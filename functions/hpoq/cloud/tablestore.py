"""The client of Tablestore's wide-column API, version 2015-12-31: single rows, on condition.

Source: the HTTP interface (https://help.aliyun.com/document_detail/27299.html) and the official SDK. Every call is
tried once: what a broken one means is for the caller to say.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TypeVar

from hpoq.cloud import ots_wire
from hpoq.cloud.answers import scrub
from hpoq.cloud.caller import ServiceClient
from hpoq.cloud.credentials import Credentials, CredentialsProvider
from hpoq.cloud.ots_wire import ColumnValue, Condition, Row, WireError
from hpoq.cloud.retry import RetryPolicy
from hpoq.cloud.transport import Response, SignedRequest, Transport
from hpoq.errors import CallError, Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd

T = TypeVar("T")

SERVICE = "tablestore"
VERSION = "2015-12-31"
MOST_ROWS = 100
"""How many rows one BatchGetRow may ask for."""
_CONDITION_FAILED = "OTSConditionCheckFail"
_KINDS: dict[str, type[CallError]] = {
    _CONDITION_FAILED: Conflict,
    "OTSObjectNotExist": NotFound,
    "OTSAuthFailed": Denied,
    "OTSNoPermissionAccess": Denied,
    "OTSQuotaExhausted": Denied,
    # None of these has been carried out; the SDK repeats even writes after them.
    **dict.fromkeys(
        (
            "OTSRowOperationConflict",
            "OTSTableNotReady",
            "OTSPartitionUnavailable",
            "OTSServerBusy",
            "OTSNotEnoughCapacityUnit",
            "OTSOperationConflict",
            "OTSOperationThrottled",
            "OTSCapacityUnitExhausted",
        ),
        Throttled,
    ),
}


class Tablestore(ServiceClient):
    """Puts and gets rows of the tables of `instance`. Raises CallError."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        instance: str,
        credentials: CredentialsProvider,
        *,
        connect_timeout: float = 2.0,
        read_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            transport,
            endpoint,
            credentials,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retry=RetryPolicy(attempts=1),
        )
        self._instance = instance

    def put_row(self, table: str, key: Row, columns: Row, condition: Condition) -> bool:
        """Write the whole row if `condition` holds; False if it does not.

        Repeated after an unknown end, a write that had taken place fails its condition.
        """
        try:
            self.call("PutRow", ots_wire.put_row(table, key, columns, condition))
        except Conflict as exc:
            if exc.code == _CONDITION_FAILED:
                return False
            raise
        return True

    def get_row(self, table: str, key: Row) -> dict[str, ColumnValue] | None:
        """The attribute columns of the row, as the last finished write left them; None if there is none."""
        answer = self.call("GetRow", ots_wire.get_row(table, key))
        try:
            return ots_wire.row_of(answer)
        except (WireError, UnicodeDecodeError) as exc:
            raise UnknownEnd(f"unreadable answer: {exc}", service=SERVICE, operation="GetRow") from exc

    def batch_get_row(self, table: str, keys: Sequence[Row]) -> list[dict[str, ColumnValue] | None]:
        """The attribute columns of up to MOST_ROWS rows, in the order of `keys`, in one call.

        None for a row that is not there, or that the service could not read now.
        """
        answer = self.call("BatchGetRow", ots_wire.batch_get_row(table, keys))
        try:
            rows = ots_wire.rows_of(answer)
            if len(rows) != len(keys):
                raise WireError("a response about other rows")
        except (WireError, UnicodeDecodeError) as exc:
            raise UnknownEnd(f"unreadable answer: {exc}", service=SERVICE, operation="BatchGetRow") from exc
        return rows

    def call(self, operation: str, body: bytes) -> bytes:
        """The body of the service's answer to `operation`."""

        def sign(credentials: Credentials) -> SignedRequest:
            return self._signed(operation, body, credentials)

        def read(response: Response, credentials: Credentials) -> bytes:
            if not 200 <= response.status < 300:
                raise _error(operation, response, credentials)
            # Whatever stands between may answer in the service's place, and a write that is only believed to be
            # there is worse than one that failed.
            if response.headers.get("x-ots-contentmd5") != _md5(response.body):
                raise UnknownEnd("not the service's own answer", service=SERVICE, operation=operation)
            return response.body

        return self._caller.call(sign, read, may_retry=lambda _: False, give_up_at=None)

    def _signed(self, operation: str, body: bytes, credentials: Credentials) -> SignedRequest:
        moment = datetime.fromtimestamp(self._caller.transport.clock.now(), timezone.utc)
        headers = {
            "x-ots-accesskeyid": credentials.access_key_id,
            "x-ots-apiversion": VERSION,
            "x-ots-contentmd5": _md5(body),
            "x-ots-date": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "x-ots-instancename": self._instance,
        }
        if credentials.security_token is not None:
            headers["x-ots-ststoken"] = credentials.security_token
        headers["x-ots-signature"] = signature(operation, headers, credentials)
        endpoint = self._caller.endpoint
        headers |= {"Host": endpoint.host, "User-Agent": "hpoq"}
        return SignedRequest(SERVICE, operation, "POST", endpoint, f"/{operation}", headers, body)


def signature(operation: str, headers: dict[str, str], credentials: Credentials) -> str:
    """The value of `x-ots-signature` (version 2) over `headers`, all of which are `x-ots-*`."""
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    text = f"/{operation}\nPOST\n\n{lines}"
    key = credentials.access_key_secret.encode()
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha1).digest()).decode()


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _error(operation: str, response: Response, credentials: Credentials) -> CallError:
    """The error by its code. Whatever the code does not settle, a 5xx above all, has an unknown end."""
    code, message = ots_wire.error_of(response.body) or (None, "")
    unsettled = UnknownEnd if response.status >= 500 or response.status < 400 else Invalid
    kind = _KINDS.get(code or "", unsettled)
    return kind(
        scrub(message, credentials.secrets()) or f"HTTP status {response.status}",
        service=SERVICE,
        operation=operation,
        code=None if code is None else scrub(code, credentials.secrets())[:120],
        request_id=response.headers.get("x-ots-requestid"),
        http_status=response.status,
    )
