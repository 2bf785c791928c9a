"""Operations on the account, of which little is documented: forms are those that aliyun-mns-sdk reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alilocal.core.http import Request, Response
from alilocal.core.service import Call, Route
from alilocal.smq import wire
from alilocal.smq.calls import query
from alilocal.smq.xml import parse


@dataclass
class AccountAttributes:
    """What can be set on the account: the bucket of its logs, which nothing is written to here."""

    logging_bucket: str = ""


def _about_account(request: Request) -> bool:
    return query(request).get("accountmeta", "").lower() == "true"


class AccountCalls:
    """The handlers and their routes."""

    def __init__(self, account: AccountAttributes) -> None:
        self._account = account

    def routes(self) -> Sequence[Route]:
        unused = "logs are not written to the bucket"
        return (
            Route("SetAccountAttributes", "PUT", "/", self._set, _about_account, unused),
            Route("GetAccountAttributes", "GET", "/", self._get, _about_account, unused),
            Route("OpenService", "POST", "/commonbuy/openservice", self._open),
        )

    def _set(self, call: Call) -> Response:
        given = wire.flat(parse(call.request.body, "Account"))
        self._account.logging_bucket = given.get("LoggingBucket", "")
        return wire.response(204, call.request_id)

    def _get(self, call: Call) -> Response:
        members = [("LoggingBucket", self._account.logging_bucket)]
        return wire.response(200, call.request_id, "Account", members)

    def _open(self, call: Call) -> Response:
        return wire.response(201, call.request_id, "OpenService", [("OrderId", call.request_id)])
