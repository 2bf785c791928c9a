"""The client of Tablestore's wide-column API, version 2015-12-31: conditional reads and writes of single rows.

Source: the HTTP interface (https://help.aliyun.com/document_detail/27299.html) and the official SDK. Every call is
tried once, because only the caller knows whether a write with an unknown end may be repeated.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from hpoq.cloud import ots_wire
from hpoq.cloud.answers import FOREIGN_ANSWER, scrub
from hpoq.cloud.caller import RetryPolicy, ServiceClient
from hpoq.cloud.ots_wire import ColumnValue, Condition, Row, WireError
from hpoq.cloud.signing import Credentials, CredentialsProvider, format_time
from hpoq.cloud.transport import Response, Transport
from hpoq.errors import CallError, Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd

T = TypeVar("T")

SERVICE = "tablestore"
VERSION = "2015-12-31"
MOST_ROWS = 100
"""How many rows one BatchGetRow may ask for."""
_CODE = re.compile(r"OTS[A-Za-z]{1,80}")
_KINDS: dict[str, type[CallError]] = {
    "OTSConditionCheckFail": Conflict,
    "OTSObjectNotExist": NotFound,
    "OTSAuthFailed": Denied,
    "OTSNoPermissionAccess": Denied,
    "OTSQuotaExhausted": Denied,
    # The service has not carried out a call that it answers with one of these; the SDK repeats even writes.
    "OTSRowOperationConflict": Throttled,
    "OTSTableNotReady": Throttled,
    "OTSPartitionUnavailable": Throttled,
    "OTSServerBusy": Throttled,
    "OTSNotEnoughCapacityUnit": Throttled,
    "OTSOperationConflict": Throttled,
    "OTSOperationThrottled": Throttled,
    "OTSCapacityUnitExhausted": Throttled,
}


class Tablestore(ServiceClient):
    """Puts and gets rows in the tables of `instance`. Every method raises CallError."""

    service = SERVICE

    def __init__(
        self, transport: Transport, endpoint: str, instance: str, credentials: CredentialsProvider
    ) -> None:
        retry = RetryPolicy(attempts=1)
        super().__init__(transport, endpoint, credentials, connect_timeout=2.0, read_timeout=5.0, retry=retry)
        self._instance = instance

    def put_row(self, table: str, key: Row, columns: Row, condition: Condition) -> bool:
        """Replace the whole row if `condition` holds. Return False if it does not.

        If a write took place although its end was unknown, a repetition finds that its condition fails.
        """
        try:
            self.call("PutRow", ots_wire.encode_put_row(table, key, columns, condition), lambda _: None)
        except Conflict:  # no other code of the service is one
            return False
        return True

    def get_row(self, table: str, key: Row) -> dict[str, ColumnValue] | None:
        """Return the attribute columns of a row as the last finished write left them, or None if there is no row."""
        return self.call("GetRow", ots_wire.encode_get_row(table, key), ots_wire.decode_row)

    def batch_get_row(self, table: str, keys: Sequence[Row]) -> list[dict[str, ColumnValue] | None]:
        """Return the attribute columns of up to MOST_ROWS rows, in the order of `keys`, in one call.

        An item is None if there is no such row, or if the service could not read it now.
        """

        def read(body: bytes) -> list[dict[str, ColumnValue] | None]:
            rows = ots_wire.decode_rows(body)
            if len(rows) != len(keys):
                raise WireError("the response is about other rows")
            return rows

        return self.call("BatchGetRow", ots_wire.encode_batch_get_row(table, keys), read)

    def get_range(
        self, table: str, column: str, after: str | None, limit: int
    ) -> tuple[list[tuple[str, dict[str, ColumnValue]]], str | None]:
        """Return the key and the columns of up to `limit` rows, in the order of their key, the text `column`.

        They begin with the key `after`, or with the first one if it is None. The second item is the key to go on
        with, or None after the last row.
        """
        request = ots_wire.encode_get_range(table, column, after, limit)
        return self.call("GetRange", request, partial(ots_wire.decode_range, column=column))

    def call(self, operation: str, body: bytes, read: Callable[[bytes], T]) -> T:
        """Call `operation`, and return what `read` makes of the answer's body.

        If `read` raises ValueError or KeyError, the end is unknown.
        """

        def read_answer(response: Response, credentials: Credentials) -> T:
            if not 200 <= response.status < 300:
                raise _read_error(operation, response, credentials)
            # A proxy may answer instead of the service. To believe in a write that did not happen would be worse
            # than to repeat one that did.
            if response.headers.get("x-ots-contentmd5") != _md5(response.body):
                raise UnknownEnd(FOREIGN_ANSWER, service=SERVICE, operation=operation)
            try:
                return read(response.body)
            except (ValueError, KeyError) as exc:
                raise UnknownEnd(f"unreadable answer: {exc}", service=SERVICE, operation=operation) from exc

        sign = partial(self._sign, operation, body)
        return self._call(operation, "POST", f"/{operation}", sign, read_answer, body=body)

    def _sign(self, operation: str, body: bytes, credentials: Credentials) -> dict[str, str]:
        headers = {
            "x-ots-accesskeyid": credentials.access_key_id,
            "x-ots-apiversion": VERSION,
            "x-ots-contentmd5": _md5(body),
            "x-ots-date": format_time(int(self._transport.clock.now())) + ".000Z",
            "x-ots-instancename": self._instance,
        }
        if credentials.security_token is not None:
            headers["x-ots-ststoken"] = credentials.security_token
        headers["x-ots-signature"] = signature(operation, headers, credentials)
        return headers | {"Host": self._endpoint.host, "User-Agent": "hpoq"}


def signature(operation: str, headers: dict[str, str], credentials: Credentials) -> str:
    """Return the value of `x-ots-signature` (version 2) over `headers`, whose names all begin with `x-ots-`."""
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    text = f"/{operation}\nPOST\n\n{lines}"
    key = credentials.access_key_secret.encode()
    return base64.b64encode(hmac.digest(key, text.encode(), "sha1")).decode()


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _read_error(operation: str, response: Response, credentials: Credentials) -> CallError:
    """Return the error that an answer reports, classified by its code.

    The end is unknown if the answer does not come from the service, or if neither code nor status is conclusive.
    """
    code, message = ots_wire.decode_error(response.body) or ("", "")
    kind: type[CallError] = UnknownEnd
    # The error page of a proxy may happen to be a valid protobuf message, but has none of the service's codes.
    if _CODE.fullmatch(code):
        is_settled = 400 <= response.status < 500
        kind = _KINDS.get(code, Invalid if is_settled else UnknownEnd)
    else:
        code, message = "", f"{FOREIGN_ANSWER}, HTTP status {response.status}"
    return kind(
        scrub(message, credentials.secrets()) or f"HTTP status {response.status}",
        service=SERVICE,
        operation=operation,
        code=code or None,
        request_id=response.headers.get("x-ots-requestid"),
        http_status=response.status,
    )
